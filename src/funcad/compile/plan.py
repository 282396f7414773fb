"""Memory of a program's intermediate values, planned from their lifetimes.

A large value that a ``code`` rule can write where it is told is given a place in one
*workspace*, which outlives the call: memory that is fresh from the system costs as much
time as the arithmetic on it.  Places are handed on as soon as nothing can look at them:
views, and results that may be views, count as uses of what they are made of, and what a
program returns never lies in the workspace.  Of other values the plan says after which
step they can be let go.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import Operand, dtype_of, shape_of

THRESHOLD = 16 * 1024
"""Bytes from which on a value is given a place in the workspace."""

_ALIGNMENT = 64
_SMALL = 4096  # bytes up to which nobody minds that a value lives on
_NEVER = 1 << 60


class Place(NamedTuple):
    """Where in the workspace an array lies."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Plan(NamedTuple):
    """Where values lie and when they can be let go.

    Parameters
    ----------
    places : dict of Var to Place
        Values that lie in the workspace.
    fresh : set of Var
        Values that are to be written into new arrays, lest they be views.
    released : list of lists of Var
        For each step, the other values that nothing needs after it.
    workspace : int
        Bytes.
    temporaries : int
        The most bytes of values outside the workspace that are held at once, the
        program's results among them.
    """

    places: dict[Var, Place]
    fresh: set[Var]
    released: list[list[Var]]
    workspace: int
    temporaries: int


def nbytes(v: Any) -> int:
    """Bytes of the entries of a variable or array."""
    return math.prod(shape_of(v)) * int(dtype_of(v).itemsize)


def operand(v: Any, text: str) -> Operand:
    """What a ``code`` rule is told of an input of an equation."""
    if isinstance(v, Var):
        return Operand(text, v.shape, v.dtype, v.weak)
    weak = None if hasattr(v, "dtype") else type(v)
    return Operand(text, shape_of(v), dtype_of(v), weak)


def expression(equation: Equation, texts: Sequence[str], out: str | None) -> str | None:
    """What the primitive's ``code`` rule writes, if it has one that can."""
    rule = equation.primitive.code
    if rule is None or (out is not None and equation.primitive.multiple):
        return None
    operands = [operand(v, t) for v, t in zip(equation.inputs, texts, strict=True)]
    text = rule(operands, equation.params, out)
    assert text is None or isinstance(text, str)
    return text


def plan(program: Program, threshold: int | None = THRESHOLD) -> Plan:
    """Plan the memory of a program that runs equation after equation.

    Parameters
    ----------
    program : Program
        What is to run.
    threshold : int or None
        Bytes from which on values lie in the workspace; ``None`` for none at all.

    Returns
    -------
    Plan
    """
    return _Planner(program, _NEVER if threshold is None else threshold).plan()


class _Planner:
    def __init__(self, program: Program, threshold: int) -> None:
        self.program = program
        self.threshold = threshold
        self.owners: dict[Var, frozenset[Var]] = {
            v: frozenset() for v in program.inputs
        }
        """Whose memory a value may be looking at; the arguments' is not ours."""
        self.contiguous: set[Var] = set(program.inputs)
        self.writes: set[Var] = set()
        self.in_place: dict[Var, list[Var]] = {}
        self.views: set[Var] = set()
        self.viewable: set[Var] = set()

    def plan(self) -> Plan:
        for equation in self.program.equations:
            self._classify(equation)
        last = self._last_uses()
        kept = {
            o
            for v in self.program.outputs
            if type(v) is Var
            for o in self.owners.get(v, ())
        }
        planned = {v for v in self.writes if v not in kept}
        places, size = self._places(planned, last)
        released, temporaries = self._released(places, last)
        fresh = {v for v in self.writes & kept if v in self.viewable}
        return Plan(places, fresh, released, size, temporaries)

    # ------------------------------------------------------------------ what is made

    def _classify(self, e: Equation) -> None:
        """Find out whose memory the results are."""
        operands = [v for v in e.inputs if type(v) is Var]
        seen = frozenset[Var]().union(*[self.owners[v] for v in operands])
        view = e.primitive.view
        if view == "always" or (
            view == "contiguous" and all(v in self.contiguous for v in operands)
        ):
            for out in e.outputs:
                self.owners[out] = seen
                self.views.add(out)
                if view == "contiguous":
                    self.contiguous.add(out)
            return
        # what has no axes is a scalar, which cannot be written into
        large = any(v.shape and nbytes(v) >= self.threshold for v in e.outputs)
        texts = ["x"] * len(e.inputs)
        text = None
        if (seen or large) and e.primitive.code is not None:
            text = expression(e, texts, "w")
        for out in e.outputs:
            own = text is not None and (large or not view)
            self.owners[out] = frozenset([out]) if own else seen | {out}
        if text is not None and large:
            (out,) = e.outputs
            if view:
                self.viewable.add(out)
            self.writes.add(out)
            self.contiguous.add(out)
            # a single ufunc may write over an operand; NumPy sees to the rest
            if (
                e.primitive.family == "elementwise"
                and text.startswith("np.")
                and text.count("out=") == 1
            ):
                self.in_place[out] = [
                    v
                    for v in operands
                    if v in self.writes and (v.shape, v.dtype) == (out.shape, out.dtype)
                ]
        elif all(v in self.contiguous or v.shape == () for v in operands):
            if text is not None:
                self.contiguous.update(e.outputs)

    def _last_uses(self) -> dict[Var, int]:
        last: dict[Var, int] = {}
        for i, e in enumerate(self.program.equations):
            for v in (*e.inputs, *e.outputs):
                if type(v) is Var:
                    last[v] = i
                    for o in self.owners[v]:
                        last[o] = i
        for v in self.program.outputs:
            if type(v) is Var:
                last[v] = _NEVER
                for o in self.owners[v]:
                    last[o] = _NEVER
        return last

    # ------------------------------------------------------------------ the workspace

    def _places(
        self, planned: set[Var], last: dict[Var, int]
    ) -> tuple[dict[Var, Place], int]:
        """Best fit: the smallest gap that is large enough, or else the end."""
        places: dict[Var, Place] = {}
        free: list[list[int]] = []  # gaps, [start, stop], in order
        size = 0
        ending: dict[int, list[Var]] = {}
        handed_on: set[Var] = set()
        for v in planned:
            ending.setdefault(last[v], []).append(v)
        for i, e in enumerate(self.program.equations):
            for v in e.outputs:
                if v not in planned:
                    continue
                heir = next(
                    (
                        x
                        for x in self.in_place.get(v, ())
                        if x in places and last[x] == i and x not in handed_on
                    ),
                    None,
                )
                if heir is not None:
                    handed_on.add(heir)
                    places[v] = places[heir]
                    continue
                need = _rounded(nbytes(v))
                fitting = [gap for gap in free if gap[1] - gap[0] >= need]
                if fitting:
                    gap = min(fitting, key=lambda g: (g[1] - g[0], g[0]))
                    start = gap[0]
                    gap[0] += need
                    if gap[0] == gap[1]:
                        free.remove(gap)
                else:
                    start = size
                    if free and free[-1][1] == size:
                        start = free.pop()[0]
                    size = start + need
                places[v] = Place(start, v.shape, v.dtype)
            for v in ending.get(i, ()):
                if v not in handed_on:
                    start = places[v].offset
                    _give_back(free, start, start + _rounded(nbytes(v)))
        return places, size

    # ------------------------------------------------------------------ everything else

    def _released(
        self, places: dict[Var, Place], last: dict[Var, int]
    ) -> tuple[list[list[Var]], int]:
        released: list[list[Var]] = [[] for _ in self.program.equations]
        held = most = 0
        leaving: dict[int, int] = {}
        for i, e in enumerate(self.program.equations):
            for v in e.outputs:
                if v in places:
                    continue
                owners = [o for o in self.owners[v] if o not in places]
                if not owners or not any(nbytes(o) > _SMALL for o in owners):
                    continue
                if last[v] != _NEVER:
                    released[last[v]].append(v)
                if v not in self.views:
                    held += nbytes(v)
                    leaving[last[v]] = leaving.get(last[v], 0) + nbytes(v)
            most = max(most, held)
            held -= leaving.get(i, 0)
        return released, most


def _rounded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _give_back(free: list[list[int]], start: int, stop: int) -> None:
    """Make a gap, one with its neighbours."""
    place = next((k for k, gap in enumerate(free) if gap[0] > start), len(free))
    free.insert(place, [start, stop])
    if place + 1 < len(free) and free[place + 1][0] == stop:
        free[place][1] = free.pop(place + 1)[1]
    if place and free[place - 1][1] == start:
        free[place - 1][1] = free.pop(place)[1]
