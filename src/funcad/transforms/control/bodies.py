"""What the rules of loops and branches do with the programs that they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from funcad.backends import backend_of_type, namespace
from funcad.compile.compiled import compiled
from funcad.core.program import Program, Var
from funcad.core.tracing import Array, Tracer, dtype_of, shape_of
from funcad.primitives.shape import broadcast_to, move_axis
from funcad.transforms.derived import Mask
from funcad.transforms.linear import Linear
from funcad.transforms.stage import Staged, StageTrace

PATIENCE = 64
"""Steps from which on a body is compiled."""


def written(
    run: Callable[..., Iterable[Any]], inputs: Sequence[Var], array_type: type
) -> Program:
    """Program of a function of flat arguments that look like ``inputs``."""
    trace = StageTrace(array_type)
    own = [Var(v.shape, v.dtype, v.weak) for v in inputs]
    outs = run(*[Staged(trace, v) for v in own])
    bare = [x.variable if type(x) is Staged and x._trace is trace else x for x in outs]
    return Program(own, trace.equations, bare)


def runner(program: Program, steps: int, array_type: type) -> Callable[..., Any]:
    """The program as a function of flat arguments that is to run ``steps`` times.

    It is compiled once it has run often enough to make up for that.  A short loop in a
    function that is staged anew by each call (``grad`` without ``jit``) never has.
    """
    count = program.derived.get(runner, 0) + steps
    if count < PATIENCE:
        program.derived[runner] = count
        return lambda *args: program.evaluate(args)
    return compiled(program, array_type)


def fixpoint(mask: Mask, step: Callable[[Mask], Mask]) -> Mask:
    """The least mask that holds the given one and what ``step`` makes of it."""
    while True:
        grown = tuple([a or b for a, b in zip(mask, step(mask), strict=True)])
        if grown == mask:
            return mask
        mask = grown


def depends(program: Program, mask: Mask) -> Mask:
    """Which outputs are computed from the chosen inputs."""
    live = {v for v, m in zip(program.inputs, mask, strict=True) if m}
    for e in program.equations:
        if any(type(v) is Var and v in live for v in e.inputs):
            live.update(e.outputs)
    return tuple([type(v) is Var and v in live for v in program.outputs])


def recorded(tangents: Sequence[Any]) -> bool:
    """Whether tangents are written down instead of computed.

    Then primals and tangents are to be two computations, and the first one has to keep
    what the second one reads.
    """
    return any(type(t) is Linear for t in tangents)


def zeros_in_program(v: Any, array_type: type) -> Array:
    """Zeros that look like ``v``, a constant of a program; they take no memory."""
    xp = backend_of_type(array_type).namespace
    return xp.broadcast_to(xp.zeros((), dtype_of(v)), shape_of(v))


def zeros_like(v: Any, like: Sequence[Any]) -> Array:
    """Zeros that look like ``v``, where the arrays among ``like`` live."""
    return namespace(*like).zeros(shape_of(v), dtype_of(v))


def chosen(values: Sequence[Any], mask: Sequence[bool]) -> list[Any]:
    """The values in the true places."""
    return [v for v, m in zip(values, mask, strict=True) if m]


def numbered(weak: type | None, value: Array) -> Array:
    """A value as the Python number that a program wants in its place, if it does."""
    if weak is None or type(value) is weak or isinstance(value, Tracer):
        return value
    return weak(value)


def repeated(value: Array, size: int, xp: Any) -> Array:
    """A value for each example, along the first axis."""
    value = value if isinstance(value, Tracer) else xp.asarray(value)
    return broadcast_to(value, shape=(size, *value.shape))


def with_axis(value: Array, axis: int | None, wanted: int, size: int, xp: Any) -> Array:
    """A result of a batched program with its examples along the axis that is wanted."""
    if axis is None:
        return move_axis(repeated(value, size, xp), 0, wanted)
    return move_axis(value, axis, wanted)
