"""The shortest ways of operations to the log of a Profile trace.

When an operation returns, its arrays have pushed all else out of the caches.  What is
run and touched then comes back from memory line by line, so that to record an operation
takes the longer the larger it is, and longest by way of functions that call functions.
Each method here is one function, written from a text: it takes the operands apart,
looks at the clock around NumPy's own function, writes down what
`ProfileTrace.record` does, and wraps the result.  Whatever is not an operation on
NumPy's arrays and on numbers goes the ordinary way.
"""

from __future__ import annotations

import sys
import threading
import time
import weakref
from typing import Any

import numpy as np

from funcad.core.errors import USER_FILES
from funcad.core.tracing import Tracer, bind
from funcad.numpy.dispatch import PRIMITIVES
from funcad.numpy.operators import BINARY, COMPARISONS, UNARY
from funcad.primitives.contraction import matmul
from funcad.profiling.recording import NUMBERS, UNTIMED, Profiled

_SHORTCUT = """
def shortcut(primitive, ordinary):
    def {name}({parameters}):
        trace = self._trace
        append = trace.append
        if append is None{unfit}:
            return ordinary({parameters})
{operands}
        impl = primitive.impl
        start = now()
        try:
            out = {result}
        except Exception:
            # the ordinary way explains it
            return ordinary({parameters})
        stop = now()
        frame = getframe(1)
        code = frame.f_code
        untimed = UNTIMED
        try:
            if code is not trace.code:
                if trace.code is None:
                    untimed = 0
                while not USER_FILES[code.co_filename]:
                    frame = frame.f_back
                    code = frame.f_code
                trace.code = code
            offset = frame.f_lasti
        except AttributeError:  # no frame is the user's
            code, offset = None, 0
        if type(out) is not ndarray:
            inputs = {inputs}
            return trace.record(
                primitive, NO_PARAMS, inputs, out, start, stop, code, offset
            )
        traced = Profiled()
        traced._trace = trace
        traced.value = out
        traced.shape = shape = {shape}
        traced.dtype = dtype = {dtype}
        append(
            (
                primitive,
                NO_PARAMS,
                start,
                stop,
                code,
                offset,
                proxy(out, append),
                thread(),
                shape,
                dtype,
                {inputs},
                0 if start & untimed else now(),
            )
        )
        return traced
    return {name}
"""
_ONE = """
        x = self.value
        shape_x = self.shape
        dtype_x = self.dtype
"""
_TWO = """
        x = self.value
        shape_x = self.shape
        dtype_x = self.dtype
        kind = type(other)
        if kind is Profiled and other._trace is trace:
            y = other.value
            shape_y = other.shape
            dtype_y = other.dtype
        elif kind is ndarray:
            y = other
            shape_y = other.shape
            dtype_y = other.dtype
        elif kind in NUMBERS:
            y = other
            shape_y, dtype_y = NUMBERS[kind]
        else:
            return ordinary(self, other)
"""
_REFLECTED = """
        y = self.value
        shape_y = self.shape
        dtype_y = self.dtype
        x = other
        kind = type(other)
        if kind is ndarray:
            shape_x = other.shape
            dtype_x = other.dtype
        elif kind in NUMBERS:
            shape_x, dtype_x = NUMBERS[kind]
        else:
            return ordinary(self, other)
"""
_MATRICES = """
        if len(shape_x) != 2 or len(shape_y) != 2:
            return ordinary(self, other)
"""
_UFUNC = """
        try:
            primitive = PRIMITIVES[ufunc]
        except KeyError:
            return ordinary(self, ufunc, method, *operands)
        if len(operands) != 1:
            for x in operands:
                if type(x) not in KNOWN:
                    return ordinary(self, ufunc, method, *operands)
            return bind(primitive, operands, NO_PARAMS)
"""


def _shortcut(
    name: str,
    parameters: str,
    operands: str,
    result: str,
    unfit: str = "",
    inputs: str = "shape_x, dtype_x, shape_y, dtype_y",
    shape: str = "shape_x if shape_x == shape_y else out.shape",
    dtype: str = "out.dtype",
) -> Any:
    """Function of a primitive and of a method that returns a shortcut of the method."""
    namespace = {
        "KNOWN": {Profiled, np.ndarray, *NUMBERS},
        "NO_PARAMS": {},
        "NUMBERS": NUMBERS,
        "PRIMITIVES": PRIMITIVES,
        "Profiled": Profiled,
        "UNTIMED": UNTIMED,
        "USER_FILES": USER_FILES,
        "bind": bind,
        "getframe": sys._getframe,
        "matmul": np.matmul,
        "ndarray": np.ndarray,
        "now": time.perf_counter_ns,
        "proxy": weakref.proxy,
        "thread": threading.get_ident,
    }
    source = _SHORTCUT.format(
        name=name,
        parameters=parameters,
        unfit=unfit,
        operands=operands.strip("\n"),
        result=result,
        inputs=inputs,
        shape=shape,
        dtype=dtype,
    )
    exec(compile(source, __file__, "exec"), namespace)
    return namespace["shortcut"]


def _install() -> None:
    of_one = {"inputs": "shape_x, dtype_x", "shape": "shape_x"}
    ufunc = _shortcut(
        "call_ufunc",
        "self, ufunc, method, *operands, **options",
        _UFUNC + _ONE,
        "impl(x)",
        ' or options or method != "__call__"',
        **of_one,
    )
    unary = _shortcut("unary", "self", _ONE, "impl(x)", **of_one)
    two = "self, other"
    binary = _shortcut("binary", two, _TWO, "impl(x, y)")
    reflected = _shortcut("reflected", two, _REFLECTED, "impl(x, y)")
    product = _shortcut(
        "product",
        two,
        _TWO + _MATRICES,
        "matmul(x, y)",
        shape="(shape_x[0], shape_y[1])",
        dtype="dtype_x if dtype_x is dtype_y else out.dtype",
    )

    def install(name: str, shortcut: Any, primitive: Any) -> None:
        setattr(Profiled, name, shortcut(primitive, getattr(Tracer, name)))

    install("__array_ufunc__", ufunc, None)
    install("__matmul__", product, matmul)
    for name, primitive in UNARY.items():
        install(f"__{name}__", unary, primitive)
    for name, primitive in (BINARY | COMPARISONS).items():
        install(f"__{name}__", binary, primitive)
    for name, primitive in BINARY.items():
        install(f"__r{name}__", reflected, primitive)


_install()
