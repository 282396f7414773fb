"""``profile``: the Profile trace, which times every operation that reaches it.

Its tracers hold the values, so a function runs as it always does.  Transforms inside of
the profiled function have higher levels and unwrap to these tracers: what arrives here
is what is really computed, the operations of derivatives among them.

The cost of watching must not hide what is watched, so that an operation leaves a tuple
in a list and nothing more; lines, flops and memory are worked out of the list when the
function has returned.
"""

from __future__ import annotations

import math
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from funcad.backends import backend_of_type
from funcad.compile.compiled import compiled
from funcad.core import tree
from funcad.core.errors import RUN_AT, ArgumentError, is_user_file
from funcad.core.program import Equation, Program
from funcad.core.tracing import (
    PYTHON_SCALARS,
    Array,
    Params,
    Primitive,
    ShapedArray,
    Trace,
    Tracer,
    array_type_of,
    aval_of,
    bind,
    dtype_of,
    recover,
    shape_of,
)
from funcad.profiling.report import Operation, Profile, Span
from funcad.transforms.arguments import argument_name, check_leaves, wraps
from funcad.transforms.linear import transpose

__all__ = ["profile"]


def profile(
    f: Callable[..., Any], *, warmup: int = 0, repeat: int = 1
) -> Callable[..., Profile]:
    """Function that runs ``f`` and says where the time went.

    Parameters
    ----------
    f : callable
        Function of pytrees of arrays, plain or made by any transforms.
    warmup : int, optional
        How often to run it before: a first run also stages what is jitted, imports
        what is imported on demand and asks the system for memory.
    repeat : int, optional
        How often to run it; the fastest of these runs is reported.

    Returns
    -------
    callable
        Takes the arguments of ``f`` and returns a `Profile`, whose ``result`` is what
        ``f`` returned.

    Raises
    ------
    LeafTypeError
        If an argument or a result of ``f`` is no array and no number.

    Notes
    -----
    Operations are seen if they depend on an argument of ``f``, by way of any number of
    transforms: those of the backward pass of a gradient too, each at the user's line
    whose derivative it is part of.  A jitted function, a loop of ``funcad.lax`` and a
    checkpoint are seen from inside, equation by equation, in the form in which they
    run: a compiled program as it was compiled, in which a loop is one equation.
    Everything else is counted together as time outside of operations: Python's own,
    and what is done with arrays that depend on no argument.

    Where arrays are on a GPU, each operation is waited for, so that none is counted
    for another; operations that would overlap do not, then.

    The time that recording takes is measured too; it is stated in the report and not
    counted there.  What remains is that operations of a plain function pass through
    funcad, as they do in every transform, which is time outside of operations.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> def loss(w, x):
    ...     return np.sum(np.tanh(x @ w) ** 2)
    >>> report = funcad.profile(funcad.grad(loss))(np.ones((3, 2)), np.ones((4, 3)))
    >>> report.result.shape
    (3, 2)
    >>> [row.name for row in report.by_primitive() if row.calls == 2]  # x @ w, x.T @ ct
    ['matmul']
    """
    wraps(f, "profile")
    _check_count("warmup", warmup, 0)
    _check_count("repeat", repeat, 1)
    name = getattr(f, "__name__", type(f).__name__)

    @wraps(f, "profile")
    def profiled(*args: Any, **kwargs: Any) -> Profile:
        leaves, treedef = tree.flatten((args, kwargs))
        check_leaves(leaves, treedef, "profile", name=argument_name)
        for _ in range(warmup):
            _run(f, leaves, treedef)
        runs = [_run(f, leaves, treedef) for _ in range(repeat)]
        run = min(runs, key=lambda run: run.stop - run.start)
        arguments = {id(_root(x)) for x in leaves}
        return Profile(
            name=name,
            result=run.result,
            resolve=lambda: _resolved(run, arguments),
            seconds=(run.stop - run.start) * 1e-9,
            array_type=array_type_of(leaves),
        )

    return profiled


def _check_count(name: str, count: Any, least: int) -> None:
    if not isinstance(count, (int, np.integer)) or isinstance(count, bool):
        raise TypeError(
            f"{name} of profile is how often to run the function, an integer, not "
            f"{count!r} of type {type(count).__name__}."
        )
    if count < least:
        raise ArgumentError(
            f"{name} of profile is how often to run the function, at least {least}, "
            f"not {count}."
        )


# ----------------------------------------------------------------------------- running


class Run(NamedTuple):
    """What one run of the function left."""

    result: Any
    log: list[Any]
    start: int
    stop: int


def _run(f: Callable[..., Any], leaves: Sequence[Any], treedef: Any) -> Run:
    trace = ProfileTrace(leaves)
    watched = [Profiled(trace, x, _aval(x)) if _is_watched(x) else x for x in leaves]
    try:
        args, kwargs = tree.unflatten(treedef, watched)
        del watched
        start = time.perf_counter_ns()
        result = f(*args, **kwargs)
        stop = time.perf_counter_ns()
        outs, out_tree = tree.flatten(result)
        check_leaves(outs, out_tree, "profile", "output")
    finally:
        trace.alive = False
    # deaths from here on are none of the function's; references call their own list
    log = trace.log[:]
    trace.log.clear()
    result = tree.unflatten(out_tree, [trace.unpack(x) for x in outs])
    return Run(result, log, start, stop)


def _is_watched(x: Any) -> bool:
    """Whether a leaf becomes a tracer: sizes, counts and flags stay what they are."""
    return not isinstance(x, (int, np.integer, np.bool_))


# ----------------------------------------------------------------------------- tracing


Aval = tuple[tuple[int, ...], Any]

_now = time.perf_counter_ns
_thread = threading.get_ident
_frame = sys._getframe
_reference = weakref.ref
_ndarray = np.ndarray
_TRANSPOSE = transpose.__code__
_NO_MEMORY = (Tracer, np.generic, *PYTHON_SCALARS)


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
    outputs: list[Aval]
    entered: int
    """When recording began, in nanoseconds; when it ended is the log's next entry."""
    start: int
    stop: int
    thread: int
    place: Any
    """The user's code, or a file where the next is the number of a line."""
    offset: int
    backward: bool
    """Whether it is part of the transpose of an equation."""
    held: Sequence[Any]
    """Of the memory that results lie in: weak reference, identity, bytes, and so on."""


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

    __slots__ = ("is_end", "log", "nested", "wait")

    def __init__(self, leaves: Sequence[Any]) -> None:
        super().__init__()
        self.log: list[Any] = []
        self.is_end = _Ends()
        # whether there may be tracers of an outer transform inside of this one's
        self.nested = any(isinstance(x, Tracer) for x in leaves)
        backend = backend_of_type(array_type_of(leaves))
        self.wait = None if backend.name == "numpy" else backend.synchronize

    def process(
        self, primitive: Primitive, args: Sequence[Array], params: Params
    ) -> Any:
        entered = _now()
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
            else:
                values.append(arg)
                inputs.append(_aval(arg))
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
            outputs: Any = ((out.shape, out.dtype),)
            held: Any = (_reference(out, append), id(out), out.nbytes)
        else:
            results = out if primitive.multiple else (out,)
            outputs = [_aval(x) for x in results]
            held = [m for x in results for m in _memory(x, append)]
        is_end = self.is_end
        backward = False
        try:
            frame: Any = _frame(2)  # the nearest are this one and bind's
            while not is_end[(place := frame.f_code).co_filename]:
                frame = frame.f_back
            offset = frame.f_lasti
            if place is RUN_AT:
                place, offset = frame.f_locals["line"]
                backward = frame.f_back.f_code is _TRANSPOSE
        except AttributeError:  # no frame is the user's
            place, offset = None, 0
        if primitive.multiple:
            traced: Any = tuple([Profiled(self, *pair) for pair in zip(out, outputs)])
        else:
            traced = Profiled(self, out, outputs[0])
        append(
            (
                primitive,
                params,
                inputs,
                outputs,
                entered,
                start,
                stop,
                _thread(),
                place,
                offset,
                backward,
                held,
            )
        )
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
            traced: Any = tuple([Profiled(self, x, _aval(x)) for x in results])
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
            return Watched(value, self)
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
        append, wait = stamps.append, self.wait

        def stamp(number: int) -> None:
            if wait is not None:
                wait()
            append((number, _now()))

        try:
            outs = function(stamp, *values)
        except Exception:
            outs = run(*values)  # raises an error that is explained
        _wait_for(outs)
        memory = run.memory()
        working = memory.workspace + memory.temporaries
        held = [m for x in outs for m in _memory(x, self.log.append)]
        self.log.append(Body(_thread(), equations, stamps, working, held))
        return outs

    def unpack(self, x: Any) -> Any:
        """The value that a result of the function stands for."""
        return x.value if type(x) is Profiled and x._trace is self else x


def _aval(x: Any) -> Aval:
    try:
        return x.shape, x.dtype
    except AttributeError:
        return shape_of(x), dtype_of(x)


def _memory(x: Any, died: Callable[[Any], None]) -> tuple[Any, ...]:
    """The memory that a result lies in, where it can be told when it is freed."""
    if isinstance(x, _NO_MEMORY):
        return ()
    x = _root(x)
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
        watched = [Profiled(trace, x, _aval(x)) for x in args]
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


# --------------------------------------------------------------------- what was logged


def _resolved(
    run: Run, arguments: set[int]
) -> tuple[list[Operation], list[Span], float]:
    """What the log says: operations, bodies that they are in, seconds of recording."""
    operations: list[Operation] = []
    spans: list[Span] = []
    memory = _Memory(arguments)
    lines: dict[Any, Any] = {}
    recording = 0
    for entry in run.log:
        if type(entry) is int:
            recording += entry
        elif type(entry) is weakref.ref:
            memory.free(entry)
        elif type(entry) is Span:
            spans.append(
                entry._replace(
                    start=(entry.start - run.start) * 1e-9, seconds=entry.seconds * 1e-9
                )
            )
        elif type(entry) is list:
            memory.hold(entry)
        elif type(entry) is Body:
            timed, watching = _timed(entry.stamps)
            recording += watching
            for number, start, duration in timed:
                e = entry.equations[number]
                operations.append(
                    _operation(
                        e.primitive,
                        e.params,
                        [aval_of(v) for v in e.inputs],
                        [aval_of(v) for v in e.outputs],
                        start=(start - run.start) * 1e-9,
                        seconds=duration * 1e-9,
                        line=e.line,
                        thread=entry.thread,
                        view=e.primitive.view == "always",
                        live=memory.live + entry.working,
                    )
                )
            memory.hold(entry.held)
        else:
            event = Event(*entry)
            recording -= event.entered + event.stop - event.start
            fresh = memory.hold(event.held)
            operations.append(
                _operation(
                    event.primitive,
                    event.params,
                    [ShapedArray(*x) for x in event.inputs],
                    [ShapedArray(*x) for x in event.outputs],
                    start=(event.start - run.start) * 1e-9,
                    seconds=(event.stop - event.start) * 1e-9,
                    line=_line(event.place, event.offset, lines),
                    thread=event.thread,
                    backward=event.backward,
                    # a result that lies in its operand's memory was not computed
                    view=bool(event.held) and not fresh,
                    live=memory.live,
                )
            )
    return operations, spans, recording * 1e-9


def _timed(
    stamps: Sequence[tuple[int, int]],
) -> tuple[list[tuple[int, int, int]], int]:
    """Number, start and duration of each equation, and what the stamps took.

    What runs block by block is added up, and put one equation after the other.
    """
    durations: dict[int, int] = {}
    starts: dict[int, int] = {}
    for (number, start), (_, stop) in zip(stamps[::2], stamps[1::2]):
        starts.setdefault(number, start)
        durations[number] = durations.get(number, 0) + stop - start
    timed = []
    end = 0
    for number, duration in durations.items():
        start = max(starts[number], end)
        end = start + duration
        timed.append((number, start, duration))
    # between two equations there is one stamp, at least
    gaps = [b - a for (_, a), (_, b) in zip(stamps[1::2], stamps[2::2])]
    return timed, len(stamps) * min(gaps, default=0)


def _operation(
    primitive: Primitive,
    params: Params,
    inputs: list[ShapedArray],
    outputs: list[ShapedArray],
    view: bool,
    **rest: Any,
) -> Operation:
    flops = primitive.flops
    return Operation(
        name=primitive.name,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        flops=None if flops is None else flops(inputs, outputs, params),
        nbytes=0 if view else sum(map(_nbytes, inputs + outputs)),
        **rest,
    )


class _Memory:
    """Bytes of results that are alive, as the log is gone through."""

    def __init__(self, arguments: set[int]) -> None:
        self.live = 0
        # bytes by the memory's identity; that of the arguments is not counted
        self._sizes = dict.fromkeys(arguments, 0)
        self._of: dict[int, int] = {}

    def hold(self, held: Sequence[Any]) -> bool:
        """Count memory that results lie in; whether some of it is new."""
        parts = iter(held)
        fresh = False
        for reference, identity, size in zip(parts, parts, parts):
            if identity not in self._sizes:
                self._sizes[identity] = size
                self._of[id(reference)] = identity
                self.live += size
                fresh = True
        return fresh

    def free(self, reference: Any) -> None:
        """Take off what a reference was to, if it is the one that was counted."""
        identity = self._of.pop(id(reference), None)
        if identity is not None:
            self.live -= self._sizes.pop(identity)


def _root(x: Any) -> Any:
    """The array whose memory a view lies in."""
    while isinstance(getattr(x, "base", None), type(x)):
        x = x.base
    return x


def _nbytes(aval: ShapedArray) -> int:
    return math.prod(aval.shape) * aval.dtype.itemsize


def _line(place: Any, offset: int, known: dict[Any, Any]) -> tuple[str, int] | None:
    """File and number of the line that an offset of the user's code belongs to."""
    if place is None:
        return None
    if isinstance(place, str):
        return place, offset
    # hashing code takes long, and it stays alive in the log
    key = id(place), offset
    if key not in known:
        numbers = (
            number
            for first, end, number in place.co_lines()
            if first <= offset < end and number is not None
        )
        known[key] = place.co_filename, next(numbers, place.co_firstlineno)
    return known[key]  # type: ignore[no-any-return]
