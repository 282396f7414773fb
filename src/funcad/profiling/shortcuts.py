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
from funcad.core.tracing import Tracer
from funcad.numpy.dispatch import PRIMITIVES
from funcad.numpy.operators import BINARY, COMPARISONS, UNARY
from funcad.primitives.contraction import matmul
from funcad.profiling.recording import NUMBERS, Profiled

_SHORTCUT = """
def shortcut(primitive, ordinary):
    def {name}({parameters}):
        trace = self._trace
        append = trace.append
        if append is None{unfit}:
            return ordinary({parameters})
{operands}
        start = now()
        try:
            out = {result}
        except Exception:
            # the ordinary way explains it
            return ordinary({parameters})
        stop = now()
        frame = getframe(1)
        code = frame.f_code
        try:
            if code is not trace.code:
                while not USER_FILES[code.co_filename]:
                    frame = frame.f_back
                    code = frame.f_code
                trace.code = code
            offset = frame.f_lasti
        except AttributeError:  # no frame is the user's
            code, offset = None, 0
        if type(out) is not ndarray or out.base is not None:
            return trace.record(
                primitive, NO_PARAMS, avals, out, start, stop, code, offset
            )
        traced = Profiled()
        traced._trace = trace
        traced.value = out
        traced.shape = shape = out.shape
        traced.dtype = dtype = out.dtype
        append(
            (
                primitive,
                NO_PARAMS,
                avals,
                shape,
                dtype,
                start,
                stop,
                code,
                offset,
                proxy(out, append),
                id(out),
                thread(),
                now(),
            )
        )
        return traced
    return {name}
"""
_ONE = """
        x = self.value
        avals = self.shape, self.dtype
"""
_TWO = """
        x = self.value
        kind = type(other)
        if kind is Profiled and other._trace is trace:
            y = other.value
            avals = self.shape, self.dtype, other.shape, other.dtype
        elif kind is ndarray:
            y = other
            avals = self.shape, self.dtype, y.shape, y.dtype
        elif kind in NUMBERS:
            y = other
            avals = self.shape, self.dtype, *NUMBERS[kind]
        else:
            return ordinary(self, other)
"""
_REFLECTED = """
        y = self.value
        x = other
        kind = type(other)
        if kind is ndarray:
            avals = x.shape, x.dtype, self.shape, self.dtype
        elif kind in NUMBERS:
            avals = *NUMBERS[kind], self.shape, self.dtype
        else:
            return ordinary(self, other)
"""
_MATRICES = """
        if len(avals[0]) != 2 or len(avals[2]) != 2:
            return ordinary(self, other)
"""
_PRIMITIVE = """
        primitive = PRIMITIVES.get(ufunc)
        if primitive is None:
            return ordinary(self, ufunc, method, *inputs)
"""


def _shortcut(
    name: str,
    parameters: str,
    operands: str,
    result: str,
    unfit: str = "",
) -> Any:
    """Function of a primitive and of a method that returns the method's shortcut."""
    namespace = {
        "NO_PARAMS": {},
        "NUMBERS": NUMBERS,
        "PRIMITIVES": PRIMITIVES,
        "Profiled": Profiled,
        "USER_FILES": USER_FILES,
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
    )
    exec(compile(source, __file__, "exec"), namespace)
    return namespace["shortcut"]


def _install() -> None:
    ufunc = _shortcut(
        "call_ufunc",
        "self, ufunc, method, *inputs, **options",
        _PRIMITIVE + _ONE,
        "primitive.impl(x)",
        ' or options or len(inputs) != 1 or method != "__call__"',
    )
    one = _shortcut("unary", "self", _ONE, "primitive.impl(x)")
    two = _shortcut("binary", "self, other", _TWO, "primitive.impl(x, y)")
    reflected = _shortcut("reflected", "self, other", _REFLECTED, "primitive.impl(x, y)")
    product = _shortcut("product", "self, other", _TWO + _MATRICES, "matmul(x, y)")

    def install(name: str, shortcut: Any, primitive: Any) -> None:
        setattr(Profiled, name, shortcut(primitive, getattr(Tracer, name)))

    install("__array_ufunc__", ufunc, None)
    install("__matmul__", product, matmul)
    for name, primitive in UNARY.items():
        install(f"__{name}__", one, primitive)
    for name, primitive in (BINARY | COMPARISONS).items():
        install(f"__{name}__", two, primitive)
    for name, primitive in BINARY.items():
        install(f"__r{name}__", reflected, primitive)


_install()
