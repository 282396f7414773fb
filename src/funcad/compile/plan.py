"""Memory of a program's intermediate values, planned from their lifetimes.

A large value that a ``code`` rule can write where it is told is given a place in one
*workspace*, which outlives the call: memory that is fresh from the system costs as much
time as the arithmetic on it.  Places are handed on as soon as nothing can look at them:
views, and results that may be views, count as uses of what they are made of, and what a
program returns never lies in the workspace.  Of other values the plan says after which
step they can be let go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from funcad.compile.expressions import expression, nbytes, writes_once
from funcad.compile.fuse import Step, takes_rows
from funcad.compile.in_parts import in_parts
from funcad.core.program import Equation, Program, Var

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
        Values that are to be written into new arrays.
    scratch : dict of Var to Place
        For values that only a loop over blocks sees, where their blocks lie.
    released : list of lists of Var
        For each step, the other values that nothing needs after it.
    workspace : int
        Bytes.
    elsewhere : int
        Bytes of the workspaces of parts that threads run.
    temporaries : int
        The most bytes of values outside the workspace that are held at once, the
        program's results among them.
    """

    places: dict[Var, Place]
    fresh: set[Var]
    scratch: dict[Var, Place]
    released: list[list[Var]]
    workspace: int
    elsewhere: int
    temporaries: int


def plan(
    program: Program, steps: Sequence[Step], threshold: int | None = THRESHOLD
) -> Plan:
    """Plan the memory of a program that runs step after step.

    Parameters
    ----------
    program : Program
        What is to run.
    steps : list of Step
        Its equations, in order.
    threshold : int or None
        Bytes from which on values lie in the workspace; ``None`` for none at all.

    Returns
    -------
    Plan
    """
    limit = _NEVER if threshold is None else threshold
    least = min(limit - 1, _SMALL)
    if not any(
        e.primitive is in_parts or any(nbytes(v) > least for v in e.outputs)
        for e in program.equations
    ):
        return Plan({}, set(), {}, [[] for _ in steps], 0, 0, 0)
    return _Planner(program, steps, limit).plan()


class _Planner:
    def __init__(self, program: Program, steps: Sequence[Step], threshold: int) -> None:
        self.program = program
        self.steps = steps
        self.threshold = threshold
        self.owners: dict[Var, frozenset[Var]] = dict.fromkeys(
            program.inputs, frozenset()
        )
        """Whose memory a value may be looking at; the arguments' is not ours."""
        self.contiguous: set[Var] = set(program.inputs)
        self.writes: set[Var] = set()
        self.heirs: dict[Var, list[Var]] = {}
        """Operands whose memory a result can take over if they end with the step."""
        self.views: set[Var] = set()
        self.viewable: set[Var] = set()
        self.results: list[list[Var]] = []
        """What each step makes that is needed after it."""
        self.slots: dict[Var, Var] = {}
        """For values that a loop alone sees, what stands for the memory of a block."""

    def plan(self) -> Plan:
        outside = self._used_outside()
        for step in self.steps:
            if step.lead:
                self._classify_loop(step, outside)
            else:
                self._classify(step.equations[0])
                self.results.append(list(step.equations[0].outputs))
        last = self._last_uses()
        kept = {
            o
            for v in self.program.outputs
            if type(v) is Var
            for o in self.owners.get(v, ())
        }
        places, size = self._places(self.writes - kept, last)
        released, temporaries = self._released(places, last)
        elsewhere = sum([_part_memory(step)[0] for step in self.steps])
        fresh = {v for v in self.writes & kept if v in self.viewable}
        scratch = {v: places[slot] for v, slot in self.slots.items()}
        return Plan(places, fresh, scratch, released, size, elsewhere, temporaries)

    # ------------------------------------------------------------------ what is made

    def _classify(self, e: Equation) -> None:
        """Find out whose memory the results are."""
        operands = [v for v in e.inputs if type(v) is Var]
        seen = frozenset[Var]().union(*[self.owners[v] for v in operands])
        view = e.primitive.view
        contiguous = all(v in self.contiguous for v in operands)
        if view == "always" or (
            view == "contiguous"
            and (contiguous or _splits(operands[0].shape, e.outputs[0].shape))
        ):
            for out in e.outputs:
                self.owners[out] = seen
                self.views.add(out)
                if view == "contiguous" and contiguous:
                    self.contiguous.add(out)
            return
        # what has no axes is a scalar, which cannot be written into
        first = e.outputs[0]
        large = first.shape != () and nbytes(first) >= self.threshold
        text = None
        if (seen or large) and e.primitive.code is not None:
            text = expression(e, ["x"] * len(e.inputs), "w")
        for out in e.outputs:
            own = text is not None and (large or not view)
            self.owners[out] = frozenset([out]) if own else seen | {out}
        if text is None:
            return
        if large:
            if view:
                self.viewable.add(first)
            self.writes.add(first)
            self.contiguous.add(first)
            if writes_once(e, text):
                self.heirs[first] = [v for v in operands if self._fits(v, first)]
        elif all(v in self.contiguous or v.shape == () for v in operands):
            self.contiguous.update(e.outputs)

    def _fits(self, v: Var, out: Var) -> bool:
        return v in self.writes and (v.shape, v.dtype) == (out.shape, out.dtype)

    def _used_outside(self) -> set[Var]:
        """Results of loops that are needed after them."""
        home: dict[Var, int] = {}
        outside = {v for v in self.program.outputs if type(v) is Var}
        for k, step in enumerate(self.steps):
            for e in step.equations:
                for v in e.inputs:
                    if type(v) is Var and home.get(v, k) != k:
                        outside.add(v)
                home.update(dict.fromkeys(e.outputs, k))
        return outside

    def _classify_loop(self, step: Step, outside: set[Var]) -> None:
        """Give each block a place, one after the other in as few as will do."""
        inside: dict[Var, Var] = {}  # whose block a value is, or looks at
        last: dict[Var, int] = {}
        whole: dict[Var, list[int]] = {}  # of values from outside, by rows or not
        for t, e in enumerate(step.equations):
            (out,) = e.outputs
            inside[out] = out
            if e.primitive.view == "contiguous" and out not in outside:
                inside[out] = inside.get(e.inputs[0], out)
            last[inside[out]] = t
            for v in e.inputs:
                if type(v) is Var and v in inside:
                    last[inside[v]] = t
                elif type(v) is Var:
                    rows = takes_rows(e, v, step.lead)
                    whole.setdefault(v, []).append(t if rows else _NEVER)
        results = []
        spare: list[Var] = []
        for t, e in enumerate(step.equations):
            (out,) = e.outputs
            text = expression(e, ["x"] * len(e.inputs), "w")
            assert text is not None
            in_place = writes_once(e, text)
            operands = dict.fromkeys([v for v in e.inputs if type(v) is Var])
            done = [
                self.slots[inside[v]]
                for v in operands
                if v in inside and last[inside[v]] == t and inside[v] in self.slots
            ]
            done = list(dict.fromkeys(done))
            if in_place:
                spare += done
            if out in outside:
                results.append(out)
                self.owners[out] = frozenset([out])
                self.writes.add(out)
                self.viewable.add(out)
                self.contiguous.add(out)
                self.heirs[out] = [
                    v
                    for v, uses in whole.items()
                    if self._fits(v, out)
                    and (max(uses) < t or (in_place and max(uses) == t))
                    and not any(v in self.owners[u] for u in whole if u is not v)
                ]
            elif inside[out] is out:
                shape = (step.rows, *out.shape[step.lead :])
                found = next(
                    (s for s in spare if (s.shape, s.dtype) == (shape, out.dtype)), None
                )
                if found is not None:
                    spare.remove(found)
                self.slots[out] = found or Var(shape, out.dtype)
            if not in_place:
                spare += done
        self.results.append(results)

    def _last_uses(self) -> dict[Var, int]:
        last: dict[Var, int] = {}
        for k, step in enumerate(self.steps):
            for e in step.equations:
                for v in (*e.inputs, *e.outputs):
                    if type(v) is Var:
                        last[v] = k
                        for o in self.owners.get(v, ()):
                            last[o] = k
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
        for k, step in enumerate(self.steps):
            results = [v for v in self.results[k] if v in planned]
            for v in results:
                ending.setdefault(last[v], []).append(v)
            blocks: list[Var] = []
            if step.lead:
                slots = [self.slots.get(e.outputs[0]) for e in step.equations]
                blocks = list(dict.fromkeys([s for s in slots if s is not None]))
            for v in (*results, *blocks):
                heir = next(
                    (
                        x
                        for x in self.heirs.get(v, ())
                        if x in places and last[x] == k and x not in handed_on
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
            for v in (*ending.get(k, ()), *blocks):
                if v not in handed_on:
                    start = places[v].offset
                    _give_back(free, start, start + _rounded(nbytes(v)))
        return places, size

    # ------------------------------------------------------------------ everything else

    def _released(
        self, places: dict[Var, Place], last: dict[Var, int]
    ) -> tuple[list[list[Var]], int]:
        released: list[list[Var]] = [[] for _ in self.steps]
        held = most = 0
        leaving: dict[int, int] = {}
        for k, (step, results) in enumerate(zip(self.steps, self.results)):
            for v in results:
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
            most = max(most, held + _part_memory(step)[1])
            held -= leaving.get(k, 0)
        return released, most


def _part_memory(step: Step) -> tuple[int, int]:
    """Bytes of the parts that threads run: their workspaces, and what is beside."""
    e = step.equations[0]
    if e.primitive is not in_parts:
        return 0, 0
    memory, count = e.params["run"].memory(), e.params["count"]
    return count * memory.workspace, count * memory.temporaries


def _splits(shape: Sequence[int], result: Sequence[int]) -> bool:
    """Whether a new shape splits axes alone, for which no layout needs a copy."""
    parts = iter(result)
    for n in shape:
        product = 1
        while product < n:
            part = next(parts, None)
            if not part:
                return False
            product *= part
        if product != n:
            return False
    return all(n == 1 for n in parts)


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
