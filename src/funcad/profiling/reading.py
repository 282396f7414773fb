"""What the log of a Profile trace says: operations, and the memory alive after each."""

from __future__ import annotations

import math
import statistics
import weakref
from collections.abc import Sequence
from typing import Any

from funcad.core.errors import BackwardLine, line_in
from funcad.core.tracing import Params, Primitive, ShapedArray, aval_of
from funcad.profiling.recording import Body, Event, Held
from funcad.profiling.report import Operation, Span

_INPUTS = Event._fields.index("inputs")
_REFERENCES = (weakref.ref, weakref.ProxyType)


def resolved(
    log: Sequence[Any], begin: int, arguments: set[int]
) -> tuple[list[Operation], list[Span], float]:
    """What a log says.

    Parameters
    ----------
    log : sequence
        As `ProfileTrace` writes it.
    begin : int
        When the function was called, in nanoseconds.
    arguments : set of int
        Identities of the memory that the function was given.

    Returns
    -------
    operations : list of Operation
        In the order in which they ended.
    spans : list of Span
        What they are part of.
    recording : float
        Seconds that it took to write the log.
    """
    operations: list[Operation] = []
    spans: list[Span] = []
    memory = _Memory(arguments)
    lines: dict[Any, Any] = {}
    watching = 0
    recorded: list[int] = []
    unmeasured = 0
    for entry in log:
        if type(entry) in _REFERENCES:
            memory.free(entry)
        elif type(entry) is Span:
            spans.append(
                entry._replace(
                    start=(entry.start - begin) * 1e-9, seconds=entry.seconds * 1e-9
                )
            )
        elif type(entry) is list:
            memory.hold(entry)
        elif type(entry) is Body:
            timed, stamping = _timed(entry.stamps)
            watching += stamping
            for number, start, duration in timed:
                e = entry.equations[number]
                operations.append(
                    _operation(
                        e.primitive,
                        e.params,
                        [aval_of(v) for v in e.inputs],
                        [aval_of(v) for v in e.outputs],
                        start=(start - begin) * 1e-9,
                        seconds=duration * 1e-9,
                        line=e.line,
                        thread=entry.thread,
                        view=e.primitive.view == "always",
                        live=memory.live + entry.working,
                    )
                )
            memory.hold(entry.held)
        else:
            *fields, recorded_at = entry
            event = Event._make((*fields[:_INPUTS], fields[_INPUTS:], recorded_at))
            if event.recorded:
                recorded.append(event.recorded - event.stop)
            else:
                unmeasured += 1
            held = event.held
            if type(held) is list:
                outputs = [ShapedArray(*aval) for aval in event.shape]
                view = not memory.hold(held) and bool(held)
            else:
                outputs = [ShapedArray(event.shape, event.dtype)]
                view = held is None
                if type(held) is weakref.ProxyType:
                    memory.add(held, id(held), _nbytes(outputs[0]))
            line = _line(event.code, event.offset, lines)
            operations.append(
                _operation(
                    event.primitive,
                    event.params,
                    [
                        ShapedArray(*pair)
                        for pair in zip(event.inputs[::2], event.inputs[1::2])
                    ],
                    outputs,
                    start=(event.start - begin) * 1e-9,
                    seconds=(event.stop - event.start) * 1e-9,
                    line=line,
                    thread=event.thread,
                    backward=type(line) is BackwardLine,
                    # a result that lies in its operand's memory was not computed
                    view=view,
                    live=memory.live,
                )
            )
    recording: float = sum(recorded)
    if recorded:
        # now and then another thread, or the collector, has its turn meanwhile
        recording += unmeasured * statistics.median(recorded)
    return operations, spans, (watching + recording) * 1e-9


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

    def hold(self, held: Sequence[Held]) -> bool:
        """Count memory that results lie in; whether some of it is new."""
        fresh = False
        for reference, identities, nbytes in held:
            if not any(i in self._sizes for i in identities):
                self.add(reference, identities[0], nbytes)
                fresh = True
        return fresh

    def add(self, reference: Any, identity: int, nbytes: int) -> None:
        """Count memory that is freed when a reference is found dead."""
        self._sizes[identity] = nbytes
        self._of[id(reference)] = identity
        self.live += nbytes

    def free(self, reference: Any) -> None:
        """Take off what a reference was to, if it is the one that was counted."""
        identity = self._of.pop(id(reference), None)
        if identity is not None:
            self.live -= self._sizes.pop(identity)


def _nbytes(aval: ShapedArray) -> int:
    return math.prod(aval.shape) * aval.dtype.itemsize


def _line(code: Any, offset: int, known: dict[Any, Any]) -> tuple[str, int] | None:
    """File and number of the line that an offset of the user's code belongs to."""
    if code is None:
        return None
    # hashing code takes long, and it stays alive in the log
    key = id(code), offset
    if key not in known:
        numbers = (
            number
            for first, end, number in code.co_lines()
            if first <= offset < end and number is not None
        )
        known[key] = line_in(code, next(numbers, code.co_firstlineno))
    return known[key]  # type: ignore[no-any-return]
