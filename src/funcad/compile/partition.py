"""Partition: stretches of a program that threads share, each with a part of the data.

Most of a program often works on the examples of a batch alike.  An axis of an input or
of a constant is followed through the equations by the primitives' rules ``parts``: what
can be computed from a part of the axis is computed in parts, and sums over the axis are
added up from those of the parts.  Where such a sum is needed again, or a whole value,
all parts have to be there, and another stretch begins.

Threads are given few large parts, as handing them over takes long: a stretch is shared
where that is estimated to save more than it costs.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from funcad.backends.threads import thread_count
from funcad.compile.expressions import nbytes
from funcad.compile.fuse import LARGE
from funcad.compile.in_parts import in_parts
from funcad.core.cost import flops_of, traffic_of
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import ShapedArray, aval_of, shape_of
from funcad.primitives.parts import SUM, Parts, part_of

LEAST = 1e-3
"""Seconds that sharing a stretch has to save."""

MOST = 8
"""Threads at most: they take turns between one operation and the next."""

TURN = 1e-9
"""Square seconds: the interpreter's time for an operation times that to wake a thread.

A thread that comes back from an operation finds the interpreter taken as often as its
operations are short, and then has to be woken: between n of them that take t seconds
together that costs about ``TURN * n * n / t``.  Measured on a virtual machine of two
cores, where waking takes 0.1 to 0.3 ms, which elsewhere takes 0.01 to 0.05.
"""

WAITING = 0.02
"""Seconds lost to the threads of BLAS, which after a product of their own wait for the
next one with their cores kept busy.

OpenBLAS waits so for 2**26 cycles; measured before shared stretches of 35 ms.
"""

SMALL = 5e-6
"""Seconds of a product up to which BLAS computes it alone."""

PRODUCTS, FLOPS, WIDE = 1e11, 1e10, 2e9
"""What a thread computes in a second: in products, otherwise, and that in doubles.

NumPy's exponentials of doubles take 5 to 10 times as long as those of single numbers.
"""

BYTES, CACHED, FRESH = 1.5e10, 4e10, 2.5e9
"""What it moves in a second: arrays, blocks of those, memory new from the system."""

Run = Callable[..., Any]


def partition(
    program: Program,
    compile: Callable[[Program], Run],
    threads: int | None = None,
    least: float = LEAST,
) -> Program:
    """The program with the stretches that threads share as equations of ``in_parts``.

    Parameters
    ----------
    program : Program
        Without tracers among its constants.
    compile : callable
        Makes a function of the program of a part.
    threads : int, optional
        How many there are, those that BLAS may use if not given.
    least : float, optional
        Seconds that a stretch has to save.

    Returns
    -------
    Program
        The program itself where there is no such stretch.
    """
    work = [_work(e) for e in program.equations]
    if sum([w.alone for w in work]) < least:
        return program
    threads = thread_count() if threads is None else threads
    found = _best_seed(program, work, threads, least)
    if found is None:
        return program
    seed, graph = found
    barred: set[int] = set()
    while True:
        followed = graph.follow(seed, barred)
        stretches, whole = graph.stretches(followed)
        savings = [(s, graph.saved(s, followed, work)) for s in stretches if s]
        weak = [members for members, saved in savings if saved < least]
        if not weak:
            break
        for members in weak:
            barred.update(members)
    saved = sum([saved for _, saved in savings])
    alone = [work[i] for before in whole for i in before]
    if any(w.seconds > SMALL and not w.alone for w in alone):
        saved -= WAITING
    if saved < least:
        return program
    equations: list[Equation] = []
    for members, before in zip(stretches, whole, strict=True):
        equations += [program.equations[i] for i in before]
        if members:
            equations.append(graph.shared(members, followed, compile))
    return Program(program.inputs, equations, program.outputs)


class _Work(NamedTuple):
    """Estimates of what an equation takes one thread."""

    seconds: float
    alone: float
    """What of it BLAS does not share among its threads."""


def _work(e: Equation) -> _Work:
    operands = [_aval(v) for v in e.inputs if v is not None]
    results = [ShapedArray(v.shape, v.dtype) for v in e.outputs]
    flops = flops_of(e.primitive, operands, results, e.params)
    if e.primitive.family == "multilinear":
        return _Work(flops / PRODUCTS, 0.0)
    read, written = traffic_of(e.primitive, operands, results, e.params, flops)
    in_blocks = e.primitive.blocks is not None and nbytes(e.outputs[0]) >= LARGE
    rate = FLOPS if results[0].dtype.itemsize <= 4 else WIDE
    seconds = flops / rate + (read + written) / (CACHED if in_blocks else BYTES)
    return _Work(seconds, seconds)


def _aval(v: Any) -> ShapedArray:
    return ShapedArray(v.shape, v.dtype) if type(v) is Var else aval_of(v)


def _best_seed(
    program: Program, work: Sequence[_Work], threads: int, least: float
) -> tuple[Any, _Graph] | None:
    """Key of the input or constant whose parts take most of the work; their number."""
    best, most = None, least
    tried: set[Any] = set()
    # BLAS has one thread for each part, so most of the threads must have parts
    for count in range(min(threads, MOST), max(threads // 2, 1), -1):
        graph = _Graph(program, count)
        for key in graph.sources():
            if key in tried:
                continue
            tried.add(key)
            followed = graph.follow(key, set())
            saved = sum([work[i].alone for i in followed]) * (1 - 1 / count)
            if saved > most:
                best, most = (key, graph), saved
    return best


class _Graph:
    """A program, and who uses its values; ``count`` is the number of parts."""

    def __init__(self, program: Program, count: int) -> None:
        self.program = program
        self.count = count
        self.users: dict[Any, list[int]] = {}
        self.shapes: dict[Any, tuple[int, ...]] = {}
        for i, e in enumerate(program.equations):
            for v in e.inputs:
                if type(v) is Var or shape_of(v):
                    self.users.setdefault(_key(v), []).append(i)
                    self.shapes[_key(v)] = shape_of(v)
        self.returned = {v for v in program.outputs if type(v) is Var}

    def sources(self) -> Iterator[Any]:
        """Inputs and constants whose first axis has enough rows for all parts."""
        made = {v for e in self.program.equations for v in e.outputs}
        for key in self.users:
            rows = self.shapes[key][0] if self.shapes[key] else 0
            if key not in made and rows >= 2 * self.count and rows % self.count == 0:
                yield key

    def follow(self, seed: Any, barred: set[int]) -> dict[int, Parts]:
        """How equations work in parts if a value comes in parts; ``barred`` do not."""
        axes: dict[Any, int] = {seed: 0}
        followed: dict[int, Parts] = {}
        todo = list(dict.fromkeys(self.users[seed]))
        heapq.heapify(todo)
        seen = set(todo)
        while todo:
            i = heapq.heappop(todo)
            e = self.program.equations[i]
            if i in barred or e.primitive.parts is None:
                continue
            given = [axes.get(_key(v)) for v in e.inputs]
            shapes = [shape_of(v) for v in e.inputs]
            parts = e.primitive.parts(given, shapes, e.params, self.count)
            if parts is None:
                continue
            followed[i] = parts
            for v, axis in zip(e.outputs, parts.results, strict=True):
                if isinstance(axis, int):
                    axes[v] = axis
                    fresh = [u for u in self.users.get(v, ()) if u not in seen]
                    seen.update(fresh)
                    for u in fresh:
                        heapq.heappush(todo, u)
        return followed

    def stretches(
        self, followed: dict[int, Parts]
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Equations that work in parts, stretch by stretch, and those before each."""
        made: dict[Var, int] = {}  # in parts, by which stretch
        ready: dict[Var, int] = {}  # before which stretch a value is there as a whole
        stretches: list[list[int]] = [[]]
        whole: list[list[int]] = [[]]
        for i, e in enumerate(self.program.equations):
            parts = followed.get(i)
            level = 0
            for k, v in enumerate(e.inputs):
                if type(v) is Var:
                    in_place = parts is not None and parts.operands[k] is not None
                    level = max(
                        level, made[v] if in_place and v in made else ready.get(v, 0)
                    )
            while len(stretches) <= level:
                stretches.append([])
                whole.append([])
            if parts is None:
                whole[level].append(i)
                ready.update(dict.fromkeys(e.outputs, level))
                continue
            stretches[level].append(i)
            for v, axis in zip(e.outputs, parts.results, strict=True):
                ready[v] = level + 1
                if axis != SUM:
                    made[v] = level
        return stretches, whole

    def results(
        self, members: Sequence[int], followed: dict[int, Parts]
    ) -> list[tuple[Var, int | str]]:
        """What a stretch computes that is needed outside, and along which axis."""
        inside = set(members)
        return [
            (v, axis)
            for i in members
            for v, axis in zip(self.program.equations[i].outputs, followed[i].results)
            if v in self.returned or not inside.issuperset(self.users.get(v, ()))
        ]

    def saved(
        self, members: Sequence[int], followed: dict[int, Parts], work: Sequence[_Work]
    ) -> float:
        """Seconds that sharing a stretch saves."""
        moving = 0.0
        for v, axis in self.results(members, followed):
            # one thread adds up; rows are computed beside where they are to be
            if axis == SUM:
                moving += 3 * nbytes(v) * (self.count - 1) / BYTES
            else:
                moving += nbytes(v) / FRESH
        together = sum([work[i].seconds for i in members]) / self.count
        turns = TURN * len(members) ** 2 / together if together else 0.0
        alone = sum([work[i].alone for i in members])
        return alone * (1 - 1 / self.count) - moving - turns

    def shared(
        self, members: Sequence[int], followed: dict[int, Parts], compile: Run
    ) -> Equation:
        """A stretch as one equation."""
        made: dict[Var, Var] = {}
        operands: list[Any] = []
        inputs: dict[tuple[Any, int | None], Var] = {}

        def operand(v: Any, axis: int | None) -> Any:
            if type(v) is not Var:
                if axis is None:
                    return v
            elif axis is not None and v in made:
                return made[v]
            key = (_key(v), axis)
            if key not in inputs:
                inputs[key] = v if axis is None else self._part(v, axis)
                operands.append(v)
            return inputs[key]

        equations = []
        for i in members:
            e, parts = self.program.equations[i], followed[i]
            ins = [operand(v, a) for v, a in zip(e.inputs, parts.operands, strict=True)]
            outs = tuple(
                [
                    self._part(v, axis)
                    for v, axis in zip(e.outputs, parts.results, strict=True)
                ]
            )
            made.update(zip(e.outputs, outs))
            equations.append(e._replace(inputs=ins, params=parts.params, outputs=outs))
        results = self.results(members, followed)
        program = Program(
            list(inputs.values()), equations, [made[v] for v, _ in results]
        )
        params = {
            "run": compile(program),
            "axes": tuple([axis for _, axis in inputs]),
            "results": tuple([axis for _, axis in results]),
            "count": self.count,
        }
        return Equation(
            in_parts, operands, params, tuple([v for v, _ in results]), None
        )

    def _part(self, v: Any, axis: int | str) -> Var:
        shape = shape_of(v)
        if isinstance(axis, int):
            shape = part_of(shape, axis, self.count)
        return Var(shape, v.dtype, v.weak if type(v) is Var else None)


def _key(v: Any) -> Any:
    """What a value is known by: constants may be equal and yet others."""
    return v if type(v) is Var else id(v)
