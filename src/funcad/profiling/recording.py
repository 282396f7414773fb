"""The Profile trace, which times every operation that reaches it.

Its tracers hold the values, so a function runs as it always does.  Transforms inside of
the profiled function have higher levels and unwrap to these tracers: what arrives here
is what is really computed, the operations of derivatives among them.

The cost of watching must not hide what is watched, so that an operation leaves a tuple
in a list and nothing more; :mod:`funcad.profiling.reading` works out of the list what
it means, when the function has returned.
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
from funcad.core.errors import RUN_AT, is_user_file
from funcad.core.program import Equation, Program
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
from funcad.transforms.linear import transpose

Aval = tuple[tuple[int, ...], Any]

_now = time.perf_counter_ns
_thread = threading.get_ident
_frame = sys._getframe
_reference = weakref.ref
_ndarray = np.ndarray
_TRANSPOSE = transpose.__code__
_NO_MEMORY = (Tracer, np.generic, *PYTHON_SCALARS)
# to ask a number itself takes longer than to record the operation
_NUMBERS: dict[type, Aval] = {t: ((), np.result_type(t)) for t in PYTHON_SCALARS}


class Profiled(Tracer):
    """A value, the operations on which are timed."""

    __slots__ = ("aval", "value")

    def __init__(self, trace: Trace, value: Array, aval: Aval) -> None:
        self._trace = trace
        self.value = value
        self.aval = aval

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval[0]

    @property
    def dtype(self) -> Any:
        return self.aval[1]

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
    inputs: list[Aval]
    outputs: Aval | list[Aval]
    """One aval where the result is an array in memory of its own, which is most."""
    start: int
    stop: int
    """In nanoseconds; when recording ended is the log's next entry."""
    place: Any
    """The user's code, or a file where the next is the number of a line."""
    offset: int
    backward: bool
    """Whether it is part of the transpose of an equation."""
    held: Any
    """Weak reference to the array; else, of the memory that results lie in, weak
    reference, identity, bytes, and so on."""
    identity: int
    thread: int | None = None
    """``None`` where it is the one that the function was called in."""


class Body(NamedTuple):
    """What is written down of one run of a compiled program."""

    thread: int
    equations: list[Equation]
    stamps: list[tuple[int, int]]
    """Numbers of equations, and when they began and ended, in turns."""
    working: int
    """Bytes that the program takes while it runs, results included."""
    held: Sequence[Any]
    """Of the memory that its results lie in, as in `Event`."""


class _Ends(dict[str, bool]):
    """Whether the search for the user's frame ends in a file, found out once."""

    def __missing__(self, filename: str) -> bool:
        ends = self[filename] = filename == RUN_AT.co_filename or is_user_file(filename)
        return ends


class ProfileTrace(Trace):
    """Runs every operation at once, and writes down when, on what and where from.

    The log holds the fields of an `Event` for each operation, a `Body` for each run of
    a compiled program, a `Span` for what such runs are part of, and, where an array has
    died, the weak reference to it, in the order in which things happened: what was
    alive when is read off it.
    """

    __slots__ = ("is_end", "log", "nested", "thread", "wait", "watched")

    def __init__(self, leaves: Sequence[Any]) -> None:
        super().__init__()
        self.log: list[Any] = []
        self.is_end = _Ends()
        self.thread = _thread()
        # by identity, of programs that the watched ones keep alive
        self.watched: dict[int, Watched] = {}
        # whether there may be tracers of an outer transform inside of this one's
        self.nested = any(isinstance(x, Tracer) for x in leaves)
        backend = backend_of_type(array_type_of(leaves))
        self.wait = None if backend.name == "numpy" else backend.synchronize

    def process(
        self, primitive: Primitive, args: Sequence[Array], params: Params
    ) -> Any:
        if primitive.dual is not None and not self.nested:
            entry = self._enter(primitive, args, params)
            if entry is not None:
                return entry
        values = []
        inputs = []
        for arg in args:
            if type(arg) is Profiled and arg._trace is self:
                values.append(arg.value)
                inputs.append(arg.aval)
            elif type(arg) in _NUMBERS:
                values.append(arg)
                inputs.append(_NUMBERS[type(arg)])
            else:
                values.append(arg)
                inputs.append(aval(arg))
                if isinstance(arg, Tracer):
                    self.nested = True
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
        append = self.log.append
        if type(out) is _ndarray and out.base is None:
            outputs: Any = (out.shape, out.dtype)
            traced: Any = Profiled(self, out, outputs)
            held: Any = _reference(out, append)
        else:
            results = out if primitive.multiple else (out,)
            outputs = [aval(x) for x in results]
            held = [m for x in results for m in _memory(x, append)]
            traced = tuple([Profiled(self, *pair) for pair in zip(results, outputs)])
            if not primitive.multiple:
                (traced,) = traced
        is_end = self.is_end
        backward = False
        try:
            frame: Any = _frame(2)  # the nearest is this one's, the next no user's
            while not is_end[(place := frame.f_code).co_filename]:
                frame = frame.f_back
            offset = frame.f_lasti
            if place is RUN_AT:
                place, offset = frame.f_locals["line"]
                backward = frame.f_back.f_code is _TRANSPOSE
        except AttributeError:  # no frame is the user's
            place, offset = None, 0
        event = (
            primitive,
            params,
            inputs,
            outputs,
            start,
            stop,
            place,
            offset,
            backward,
            held,
            id(out),
        )
        append(event if _thread() == self.thread else (*event, _thread()))
        append(_now())
        return traced

    def _enter(
        self, primitive: Primitive, args: Sequence[Array], params: Params
    ) -> Any:
        """Run a primitive that holds programs or a function, with a look inside.

        ``None`` where there is nothing to be seen.
        """
        values = [self.unpack(a) for a in args]
        if any(isinstance(v, Tracer) for v in values):
            return None
        watched = {k: self._watched(v) for k, v in params.items()}
        name = f"{primitive.name} {params.get('name', '')}".strip()
        start = _now()
        if any(watched[k] is not v for k, v in params.items()):
            try:
                outs = primitive.impl(*values, **watched)
            except Exception as error:
                outs = recover(error, primitive, values, watched)
            results = outs if primitive.multiple else (outs,)
            self.log.append([m for x in results for m in _memory(x, self.log.append)])
            traced: Any = tuple([Profiled(self, x, aval(x)) for x in results])
        elif primitive.body is not None:
            # the user's function
            outs = primitive.impl(*args, **params)
            traced = outs if primitive.multiple else (outs,)
        else:
            return None
        self.log.append(Span(name, start, _now() - start, _thread()))
        return traced if primitive.multiple else traced[0]

    def _watched(self, value: Any) -> Any:
        """A parameter with the programs in it replaced by watched ones."""
        if isinstance(value, Program):
            if id(value) not in self.watched:
                self.watched[id(value)] = Watched(value, self)
            return self.watched[id(value)]
        if type(value) is tuple and any(isinstance(v, Program) for v in value):
            return tuple([self._watched(v) for v in value])
        return value

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
        held = [m for x in outs for m in _memory(x, self.log.append)]
        self.log.append(Body(_thread(), equations, stamps, working, held))
        return outs

    def unpack(self, x: Any) -> Any:
        """The value that a result of the function stands for."""
        return x.value if type(x) is Profiled and x._trace is self else x


def aval(x: Any) -> Aval:
    """Shape and dtype of an array or number."""
    if type(x) in _NUMBERS:
        return _NUMBERS[type(x)]
    try:
        return x.shape, x.dtype
    except AttributeError:
        return shape_of(x), dtype_of(x)


def _memory(x: Any, died: Callable[[Any], None]) -> tuple[Any, ...]:
    """The memory that a result lies in, where it can be told when it is freed."""
    if isinstance(x, _NO_MEMORY):
        return ()
    x = root(x)
    try:
        return weakref.ref(x, died), id(x), x.nbytes
    except TypeError:  # of a class without weak references
        return ()


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
        watched = [Profiled(trace, x, aval(x)) for x in args]
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
