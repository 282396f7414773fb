"""Fusion: equations that run together, block by block.

A chain of operations on arrays larger than the cache spends its time on moving them to
and from memory.  Operations whose rows depend on the same rows of their operands alone
(every elementwise one, reductions of what is behind the rows) can instead take a block
of rows that fits the cache all the way through the chain.  This file decides which do:
it puts equations into :class:`Step` and orders the steps; where their values lie, and
what the loop looks like, others decide.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from funcad.compile.expressions import expression, nbytes
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import shape_of

LARGE = 4 * 2**20
"""Bytes from which on an array is worth a loop over blocks.

Measured on two cores with 0.5 MiB of second-level and 32 MiB of shared third-level
cache, ten operations on float32: at 1 MiB an array the calls on blocks cost what the
cache saves, at 4 MiB the loop takes 0.8 of the time, from 16 MiB on half of it.
"""

BLOCK = 256 * 1024
"""Bytes that a block of rows has, in the widest array of the step."""

_LONGEST = 64  # equations in a step
_OPEN = 4  # how many steps back an equation may join


class Step(NamedTuple):
    """Equations that run together: a single one, or several in a loop over blocks.

    Parameters
    ----------
    equations : tuple of Equation
        In order.
    lead : int
        How many first axes of the operands are made one, whose rows the loop is over;
        0 where there is no loop.
    extent : int
        How many rows there are.
    rows : int
        How many a block has.
    """

    equations: tuple[Equation, ...]
    lead: int = 0
    extent: int = 0
    rows: int = 0


def fuse(program: Program, block: int = BLOCK, large: int = LARGE) -> list[Step]:
    """The equations of a program as steps, in an order in which they can run.

    Parameters
    ----------
    program : Program
        What is to run.
    block, large : int, optional
        Bytes of a block, and of the arrays that are taken in blocks.

    Returns
    -------
    list of Step
    """
    if not any(nbytes(v) >= large for e in program.equations for v in e.outputs):
        return [Step((e,)) for e in program.equations]
    groups, member = _group(program, block, large)
    chosen = {g.members[0]: g for g in groups if _worthwhile(g, block)}
    steps: list[list[int]] = []
    for i in range(len(program.equations)):
        g = member.get(i)
        if g is None or g.members[0] not in chosen:
            steps.append([i])
        elif g.members[0] == i:
            steps.append(g.members)
    return [
        _step(program, s, chosen.get(s[0]), block) for s in _ordered(program, steps)
    ]


class _Group:
    """A step that is being put together."""

    def __init__(self, number: int, shape: tuple[int, ...], lead: int) -> None:
        self.number = number
        self.members: list[int] = []
        self.shape = shape  # of the rows' axes
        self.lead = lead
        self.row = 0  # bytes of a row of the widest array
        self.needs = 0  # groups that this one must come after, as bits


class _Domain(NamedTuple):
    """The rows that an equation can be taken in."""

    shape: tuple[int, ...]
    lead: int
    """The most axes that can be made one."""
    itemsize: int


def _group(
    program: Program, block: int, large: int
) -> tuple[list[_Group], dict[int, _Group]]:
    groups: list[_Group] = []
    member: dict[int, _Group] = {}
    place: dict[Var, _Group] = {}  # of results that are computed in a group
    needs: dict[Var, int] = {}  # groups that a value depends on, as bits
    for i, e in enumerate(program.equations):
        inputs = [v for v in e.inputs if type(v) is Var]
        bits = 0
        for v in inputs:
            bits |= needs.get(v, 0)
        domain = _domain(e)
        joined = None
        if domain is not None:
            bits = _closure(bits, groups)
            joined = _join(domain, e, inputs, groups, place, needs, block, large)
        if joined is not None:
            joined.members.append(i)
            joined.needs |= bits & ~(1 << joined.number)
            member[i] = joined
            bits |= 1 << joined.number
        for v in e.outputs:
            needs[v] = bits
            if joined is not None:
                place[v] = joined
    return groups, member


def _join(
    domain: _Domain,
    e: Equation,
    inputs: Sequence[Var],
    groups: list[_Group],
    place: dict[Var, _Group],
    needs: dict[Var, int],
    block: int,
    large: int,
) -> _Group | None:
    """The group that an equation becomes a member of, a new one if need be."""
    for g in reversed(groups[-_OPEN:]):
        lead = min(g.lead, domain.lead)
        row = max(g.row, _bytes(domain, lead))
        if (
            len(g.members) < _LONGEST
            and domain.shape[:lead] == g.shape[:lead]
            and lead > 0
            and max(row, g.row * math.prod(g.shape[lead : g.lead])) <= 2 * block
            and all(
                takes_rows(e, v, lead)
                if place.get(v) is g
                else not _closure(needs.get(v, 0), groups) >> g.number & 1
                for v in inputs
            )
            and _writes(e)
        ):
            g.row = max(row, g.row * math.prod(g.shape[lead : g.lead]))
            g.lead = lead
            g.shape = g.shape[:lead]
            return g
    size = math.prod(domain.shape) * domain.itemsize
    row = _bytes(domain, domain.lead)
    if size < large or row > 2 * block or not _writes(e):
        return None
    g = _Group(len(groups), domain.shape[: domain.lead], domain.lead)
    g.row = row
    groups.append(g)
    return g


def _bytes(domain: _Domain, lead: int) -> int:
    return math.prod(domain.shape[lead:]) * domain.itemsize


def _closure(bits: int, groups: list[_Group]) -> int:
    """Bits of the groups, and of all that those must come after."""
    todo = bits
    while todo:
        low = todo & -todo
        todo ^= low
        more = groups[low.bit_length() - 1].needs & ~bits
        bits |= more
        todo |= more
    return bits


def _domain(e: Equation) -> _Domain | None:
    """Over which rows an equation can be taken block by block, if it can."""
    primitive = e.primitive
    if primitive.blocks is None or primitive.code is None or len(e.outputs) != 1:
        return None
    (out,) = e.outputs
    shapes = [shape_of(v) for v in e.inputs]
    if primitive.family == "elementwise":
        domain = out.shape
        lead = min([_rows_in(shape, domain) for shape in shapes])
    else:
        domain = max(shapes[0], out.shape, key=len)
        lead = min(_prefix(out.shape, domain), _prefix(shapes[0], domain))
    while lead and primitive.blocks(shapes, e.params, lead) is None:
        lead -= 1
    if lead == 0 or 0 in domain:
        return None
    sizes = [v.dtype.itemsize for v in (*e.inputs, out) if hasattr(v, "dtype")]
    return _Domain(domain, lead, max(sizes))


def _writes(e: Equation) -> bool:
    """Whether the result can be written where it is wanted."""
    return expression(e, ["x"] * len(e.inputs), "w") is not None


def _rows_in(shape: tuple[int, ...], widest: tuple[int, ...]) -> int:
    """How many first axes an operand has all of, or none of."""
    if len(shape) < len(widest):
        return len(widest) - len(shape)
    ones = next((i for i, n in enumerate(shape) if n != 1), len(shape))
    return max(_prefix(shape, widest), ones)


def _prefix(shape: tuple[int, ...], other: tuple[int, ...]) -> int:
    same = 0
    for n, m in zip(shape, other):
        if n != m:
            break
        same += 1
    return same


def _worthwhile(g: _Group, block: int) -> bool:
    """Whether there is a chain to speak of, and more than one block of it."""
    return len(g.members) > 1 and math.prod(g.shape) * g.row > block


def _step(
    program: Program, indices: Sequence[int], g: _Group | None, block: int
) -> Step:
    equations = tuple([program.equations[i] for i in indices])
    if g is None:
        return Step(equations)
    extent = math.prod(g.shape)
    most = min(max(block // g.row, 1), extent)
    # blocks of one size, if that can be had without making them much smaller
    tried = range(most, max(most // 2, most - 256), -1)
    divisors = (n for n in tried if extent % n == 0)
    return Step(equations, g.lead, extent, next(divisors, most))


def _ordered(program: Program, steps: Sequence[list[int]]) -> Iterator[list[int]]:
    """The steps in an order in which each finds what it needs."""
    maker: dict[Var, int] = {}
    for k, s in enumerate(steps):
        for i in s:
            maker.update(dict.fromkeys(program.equations[i].outputs, k))
    waiting: list[int] = []
    users: list[list[int]] = [[] for _ in steps]
    ready: list[tuple[int, int]] = []
    for k, s in enumerate(steps):
        needed = {
            maker[v]
            for i in s
            for v in program.equations[i].inputs
            if type(v) is Var and v in maker
        } - {k}
        for m in needed:
            users[m].append(k)
        waiting.append(len(needed))
        if not needed:
            heapq.heappush(ready, (s[-1], k))
    while ready:
        _, k = heapq.heappop(ready)
        yield steps[k]
        for u in users[k]:
            waiting[u] -= 1
            if waiting[u] == 0:
                heapq.heappush(ready, (steps[u][-1], u))


def takes_rows(e: Equation, v: Any, lead: int) -> bool:
    """Whether an equation's rows are rows of this input, not the same for all."""
    if e.primitive.family != "elementwise":
        return True
    shape, wide = shape_of(v), e.outputs[0].shape
    return len(shape) == len(wide) and shape[:lead] == wide[:lead]


def block_shape(step: Step, e: Equation, v: Any) -> tuple[int, ...]:
    """Shape in which an equation of a loop sees an input."""
    shape = shape_of(v)
    if takes_rows(e, v, step.lead):
        return (step.rows, *shape[step.lead :])
    if len(shape) == len(e.outputs[0].shape):  # ones in the place of the rows
        return (1, *shape[step.lead :])
    return shape


def block_params(step: Step, e: Equation) -> dict[str, Any]:
    """Parameters of an equation that runs on blocks."""
    shapes = [shape_of(v) for v in e.inputs]
    params = e.primitive.blocks(shapes, e.params, step.lead)  # type: ignore[misc]
    assert params is not None
    return params  # type: ignore[no-any-return]
