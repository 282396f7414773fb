"""The Profile trace, which times every operation that reaches it.

Its tracers hold the values, so a function runs as it always does.  Transforms inside of
the profiled function have higher levels and unwrap to these tracers: what arrives here
is what is really computed, the operations of derivatives among them.

The cost of watching must not hide what is watched, so that an operation leaves a tuple
in a list and nothing more; :mod:`funcad.profiling.reading` works out of the list what
it means, when the function has returned.  Most operations come by a still shorter way,
:mod:`funcad.profiling.shortcuts`, which leaves the same.
"""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from funcad.backends import backend_of_type
from funcad.compile.compiled import compiled
from funcad.core.errors import USER_FILES
from funcad.core.program import Equation, Program, mapped
from funcad.core.tracing import (
    PYTHON_SCALARS,
    Array,
    Params,
    Primitive,
    Trace,
    Tracer,
    array_type_of,
    bind,
    dtype_of,
    recover,
    shape_of,
)
from funcad.profiling.report import Span

Aval = tuple[tuple[int, ...], Any]

_now = time.perf_counter_ns
_thread = threading.get_ident
_frame = sys._getframe
_proxy = weakref.proxy
_references = weakref.getweakrefcount
_ndarray = np.ndarray
_NO_MEMORY = (Tracer, np.generic, *PYTHON_SCALARS)
# to ask a number itself takes longer than to record the operation
NUMBERS: dict[type, Aval] = {t: ((), np.result_type(t)) for t in PYTHON_SCALARS}


UNTIMED = 0b111
"""Bits of an operation's start with any of which the time to record it is not taken.

To look at the clock is a good part of it, and one operation in eight says what it is;
the first one always does.
"""


class Profiled(Tracer):
    """A value, the operations on which are timed."""

    # not asked for anew: that takes as long as a step of the recording
    __slots__ = ("dtype", "shape", "value")
    dtype: Any
    shape: tuple[int, ...]
    value: Array

    @property
    def weak(self) -> type | None:  # type: ignore[override]
        kind = type(self.value)
        if kind in PYTHON_SCALARS:
            return kind
        return getattr(self.value, "weak", None)

    @property
    def array_type(self) -> type:
        return getattr(self.value, "array_type", type(self.value))

    @property
    def keeps_lines(self) -> bool:
        return True

    def concrete(self, purpose: str) -> Array:
        value = self.value
        return value.concrete(purpose) if isinstance(value, Tracer) else value


class Event(NamedTuple):
    """What is written down of an operation, as a plain tuple of these."""

    primitive: Primitive
    params: Params
    start: int
    stop: int
    """In nanoseconds."""
    code: Any
    """The user's, or ``None`` where none is."""
    offset: int
    """Of the instruction in the code."""
    held: Any
    """Weak reference to the result, an array in memory of its own; ``None`` where it
    is a view, an empty tuple where it is a number; else a list of the `Held` of the
    results."""
    thread: int
    shape: Any
    """Of the result, or shapes and dtypes of the results where ``held`` is a list."""
    dtype: Any
    inputs: Sequence[Any]
    """Shape, dtype, shape, and so on; each is an item of the tuple."""
    recorded: int
    """When recording ended, or 0 where it was not looked at."""


class Held(NamedTuple):
    """The memory that a result lies in."""

    reference: Any
    """A weak one."""
    identities: list[int]
    """Of the array that owns it, and of all weak references to that, by one of which
    it is known if it is the result of another operation."""
    nbytes: int


class Body(NamedTuple):
    """What is written down of one run of a compiled program."""

    thread: int
    equations: list[Equation]
    stamps: list[tuple[int, int]]
    """Numbers of equations, and when they began and ended, in turns."""
    working: int
    """Bytes that the program takes while it runs, results included."""
    held: list[Held]


class ProfileTrace(Trace):
    """Runs every operation at once, and writes down when, on what and where from.

    The log holds the fields of an `Event` for each operation, a `Body` for each run of
    a compiled program, a `Span` for what such runs are part of, and, where an array has
    died, the weak reference to it, in the order in which things happened: what was
    alive when is read off it.
    """

    __slots__ = ("append", "code", "log", "nested", "wait", "watched")

    def __init__(self, leaves: Sequence[Any], array_type: type) -> None:
        super().__init__()
        self.log: list[Any] = []
        # of the user's, that the last operation came from
        self.code: Any = None
        # by identity, of programs that the watched ones keep alive
        self.watched: dict[int, Watched] = {}
        # whether there may be tracers of an outer transform inside of this one's
        self.nested = any(isinstance(x, Tracer) for x in leaves)
        backend = backend_of_type(array_type)
        self.wait = None if backend.name == "numpy" else backend.synchronize
        # how to write into the log, where the shortcuts may
        short = not self.nested and self.wait is None
        self.append = self.log.append if short else None

    def process(
        self, primitive: Primitive, args: Sequence[Array], params: Params
    ) -> Any:
        append = self.append
        if append is None or primitive.dual is not None or len(args) > 2:
            return self._process(primitive, args, params)
        inputs: tuple[Any, ...]
        if len(args) == 1:
            (x,) = args
            inputs = x.shape, x.dtype
            x = y = x.value
            start = _now()
            try:
                out = primitive.impl(x, **params) if params else primitive.impl(x)
            except Exception as error:
                out = recover(error, primitive, (x,), params)
        else:
            x, y = args
            kind = type(x)
            if kind is Profiled and x._trace is self:
                shape_x, dtype_x = x.shape, x.dtype
                x = x.value
            elif kind is _ndarray:
                shape_x, dtype_x = x.shape, x.dtype
            elif kind in NUMBERS:
                shape_x, dtype_x = NUMBERS[kind]
            else:
                return self._process(primitive, args, params)
            kind = type(y)
            if kind is Profiled and y._trace is self:
                shape_y, dtype_y = y.shape, y.dtype
                y = y.value
            elif kind is _ndarray:
                shape_y, dtype_y = y.shape, y.dtype
            elif kind in NUMBERS:
                shape_y, dtype_y = NUMBERS[kind]
            else:
                return self._process(primitive, args, params)
            inputs = shape_x, dtype_x, shape_y, dtype_y
            start = _now()
            try:
                out = primitive.impl(x, y, **params) if params else primitive.impl(x, y)
            except Exception as error:
                out = recover(error, primitive, (x, y), params)
        stop = _now()
        frame: Any = _frame(2)  # the nearest is this one's, the next no user's
        code = frame.f_code
        untimed = UNTIMED
        try:
            if code is not self.code:
                if self.code is None:
                    untimed = 0
                while not USER_FILES[code.co_filename]:
                    frame = frame.f_back
                    code = frame.f_code
                self.code = code
            offset = frame.f_lasti
        except AttributeError:  # no frame is the user's
            code, offset = None, 0
        held: Any = None
        if type(out) is _ndarray:
            if primitive.view != "always":
                if out.base is not None or out is x or out is y or _references(out):
                    return self.record(
                        primitive, params, inputs, out, start, stop, code, offset
                    )
                held = _proxy(out, append)
        elif isinstance(out, np.generic):
            held = ()
        else:
            return self.record(
                primitive, params, inputs, out, start, stop, code, offset
            )
        traced = Profiled()
        traced._trace = self
        traced.value = out
        shape = out.shape
        if shape == inputs[0]:
            shape = inputs[0]  # one tuple less to be kept
        traced.shape = shape
        traced.dtype = dtype = out.dtype
        append(
            (
                primitive,
                params,
                start,
                stop,
                code,
                offset,
                held,
                _thread(),
                shape,
                dtype,
                *inputs,
                0 if start & untimed else _now(),
            )
        )
        return traced

    def _process(
        self, primitive: Primitive, args: Sequence[Array], params: Params
    ) -> Any:
        if primitive.dual is not None and not self.nested:
            entry = self._enter(primitive, args, params)
            if entry is not None:
                return entry
        values = []
        inputs: list[Any] = []
        for arg in args:
            if type(arg) is Profiled and arg._trace is self:
                values.append(arg.value)
                inputs += (arg.shape, arg.dtype)
            else:
                values.append(arg)
                inputs += aval(arg)
                if isinstance(arg, Tracer):
                    self.nested = True
                    self.append = None
        if self.wait is not None:
            self.wait()
        start = _now()
        if self.nested:
            out = bind(primitive, values, params)
        else:
            try:
                out = primitive.impl(*values, **params)
            except Exception as error:
                out = recover(error, primitive, values, params)
        if type(out) is not _ndarray:
            _wait_for(out)
        stop = _now()
        code, offset = self.place(_frame(2))
        return self.record(primitive, params, inputs, out, start, stop, code, offset)

    def record(
        self,
        primitive: Primitive,
        params: Params,
        inputs: Sequence[Any],
        out: Any,
        start: int,
        stop: int,
        code: Any,
        offset: int,
    ) -> Any:
        """Write down an operation of any result, and wrap that."""
        append = self.log.append
        results = out if primitive.multiple else (out,)
        avals = [aval(x) for x in results]
        traced: Any = tuple([profiled(self, x, *a) for x, a in zip(results, avals)])
        held = _held(results, append)
        append(
            (
                *(primitive, params, start, stop, code, offset),
                *(held, _thread(), avals, None, *inputs, _now()),
            )
        )
        return traced if primitive.multiple else traced[0]

    def place(self, frame: Any) -> tuple[Any, int]:
        """The user's code that runs in a frame or has called it, and where in it."""
        while frame is not None:
            code = frame.f_code
            if USER_FILES[code.co_filename]:
                return code, frame.f_lasti
            frame = frame.f_back
        return None, 0

    def _enter(
        self, primitive: Primitive, args: Sequence[Array], params: Params
    ) -> Any:
        """Run a primitive that holds programs or a function, with a look inside.

        ``None`` where there is nothing to be seen.
        """
        values = [self.unpack(a) for a in args]
        if any(isinstance(v, Tracer) for v in values):
            return None
        watched = {k: mapped(v, self._watched) for k, v in params.items()}
        name = f"{primitive.name} {params.get('name', '')}".strip()
        start = _now()
        if any(watched[k] is not v for k, v in params.items()):
            try:
                outs = primitive.impl(*values, **watched)
            except Exception as error:
                outs = recover(error, primitive, values, watched)
            results = outs if primitive.multiple else (outs,)
            self.log.append(_held(results, self.log.append))
            traced: Any = tuple([profiled(self, x, *aval(x)) for x in results])
        elif primitive.body is not None:
            # the user's function
            outs = primitive.impl(*args, **params)
            traced = outs if primitive.multiple else (outs,)
        else:
            return None
        self.log.append(Span(name, start, _now() - start, _thread()))
        return traced if primitive.multiple else traced[0]

    def _watched(self, value: Any) -> Any:
        """What a parameter holds, if it is a program a watched one."""
        if not isinstance(value, Program):
            return value
        if id(value) not in self.watched:
            self.watched[id(value)] = Watched(value, self)
        return self.watched[id(value)]

    def run_compiled(
        self, program: Program, values: Sequence[Array]
    ) -> tuple[Array, ...]:
        """Run a program as it is compiled, with a look at the clock at every line."""
        run = compiled(program, array_type_of(values))
        function, equations = run.stamped()
        stamps: list[tuple[int, int]] = []
        wait = self.wait

        def waited() -> int:
            wait()  # type: ignore[misc]
            return _now()

        try:
            outs = function(stamps.append, _now if wait is None else waited, *values)
        except Exception:
            outs = run(*values)  # raises an error that is explained
        _wait_for(outs)
        working = run.working
        held = _held(outs, self.log.append)
        self.log.append(Body(_thread(), equations, stamps, working, held))
        return outs

    def unpack(self, x: Any) -> Any:
        """The value that a result of the function stands for."""
        return x.value if type(x) is Profiled and x._trace is self else x


def profiled(trace: Trace, value: Array, shape: Any, dtype: Any) -> Profiled:
    """A tracer of a value."""
    traced = Profiled()
    traced._trace = trace
    traced.value = value
    traced.shape = shape
    traced.dtype = dtype
    return traced


def aval(x: Any) -> Aval:
    """Shape and dtype of an array or number."""
    if type(x) in NUMBERS:
        return NUMBERS[type(x)]
    try:
        return x.shape, x.dtype
    except AttributeError:
        return shape_of(x), dtype_of(x)


def _held(results: Sequence[Any], died: Callable[[Any], None]) -> list[Held]:
    """The memory that results lie in, where it can be told when it is freed."""
    held = []
    for x in results:
        if not isinstance(x, _NO_MEMORY):
            x = root(x)
            identities = [id(x), *map(id, weakref.getweakrefs(x))]
            try:
                held.append(Held(weakref.ref(x, died), identities, x.nbytes))
            except TypeError:  # of a class without weak references
                continue
    return held


class Watched(Program):
    """A program in a primitive's parameters, every run of which is recorded."""

    __slots__ = ("_program", "_trace")

    def __init__(self, program: Program, trace: ProfileTrace) -> None:
        super().__init__(program.inputs, program.equations, program.outputs)
        self._program = program
        self._trace = trace
        self.derived = _Derived(
            program.derived, lambda *values: trace.run_compiled(program, values)
        )

    def evaluate(self, args: Sequence[Array]) -> list[Array | None]:
        trace = self._trace
        watched = [profiled(trace, x, *aval(x)) for x in args]
        return [trace.unpack(x) for x in self._program.evaluate(watched)]


class _Derived(dict[Any, Any]):
    """What has been made of a program, but that it is compiled to what is recorded."""

    def __init__(self, derived: dict[Any, Any], run: Callable[..., Any]) -> None:
        super().__init__()
        self._derived = derived
        self._run = run

    def get(self, key: Any, default: Any = None) -> Any:
        if type(key) is tuple and key[0] is compiled:
            return self._run
        return self._derived.get(key, default)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        return self._derived.setdefault(key, default)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._derived[key] = value


def _wait_for(out: Any) -> None:
    """Wait for results of another library than NumPy, whatever the operands were."""
    for x in out if type(out) is tuple else (out,):
        if not isinstance(x, (np.ndarray, np.generic)):
            backend_of_type(getattr(x, "array_type", type(x))).synchronize()


def root(x: Any) -> Any:
    """The array whose memory a view lies in."""
    while isinstance(getattr(x, "base", None), type(x)):
        x = x.base
    return x
