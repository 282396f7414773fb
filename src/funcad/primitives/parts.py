"""Rules ``parts``: how an operation works on equal parts of its operands.

A rule is given, for each operand, the axis along which it comes in parts, or ``None``
where it is whole.  It answers with the axes that it wants (it may ask for parts of
what is whole, never for the whole of what is in parts), the axis along which each
result is then in parts, and the parameters for a part; or ``None`` where a part of the
operands is not enough.  A result of which each part gives a summand is in parts along
``SUM``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from funcad.core.tracing import Params

Shape = tuple[int, ...]
Axes = Sequence[int | None]

SUM = "sum"
"""In the place of an axis: the results of the parts are to be added up."""


class Parts(NamedTuple):
    """The answer of a rule.

    Parameters
    ----------
    operands : tuple of (int or None)
        For each operand the axis along which it is wanted in parts.
    results : tuple of (int or str)
        For each result the axis along which it is in parts, or ``SUM``.
    params : dict
        For a part.
    """

    operands: tuple[int | None, ...]
    results: tuple[int | str, ...]
    params: Params


def entrywise_parts(
    axes: Axes, shapes: Sequence[Shape], params: Params, count: int
) -> Parts | None:
    """Of operations that take the same entries of operands that broadcast."""
    found = aligned(axes, shapes)
    if found is None:
        return None
    axis, wanted = found
    if "shape" in params:  # which may have more axes than all of them
        shape = params["shape"]
        axis += len(shape) - max(map(len, shapes))
        params = {**params, "shape": part_of(shape, axis, count)}
    return Parts(wanted, (axis,), params)


def aligned(
    axes: Axes, shapes: Sequence[Shape]
) -> tuple[int, tuple[int | None, ...]] | None:
    """The axis of what operands broadcast to, and those of the operands."""
    behind = {len(s) - a for s, a in zip(shapes, axes) if a is not None}
    if len(behind) != 1:
        return None
    (back,) = behind
    wanted = [
        len(s) - back if len(s) >= back and s[len(s) - back] != 1 else None
        for s in shapes
    ]
    return max(map(len, shapes)) - back, tuple(wanted)


def part_of(shape: Shape, axis: int, count: int) -> Shape:
    """Shape of a part."""
    return (*shape[:axis], shape[axis] // count, *shape[axis + 1 :])


def along_parts(results: int) -> Any:
    """Of operations along ``axis``, of which operands and results keep all axes."""

    def parts(
        axes: Axes, shapes: Sequence[Shape], params: Params, count: int
    ) -> Parts | None:
        found = aligned(axes, shapes)
        if found is None:
            return None
        at, wanted = found
        axis = params["axis"]
        if at == axis or (isinstance(axis, tuple) and at in axis):
            return None
        return Parts(wanted, (at,) * results, params)

    return parts


def leading_parts(behind: Any) -> Any:
    """Of operations over the last axes; ``behind(params)`` says how many these are."""

    def parts(
        axes: Axes, shapes: Sequence[Shape], params: Params, count: int
    ) -> Parts | None:
        (at, *more) = {a for a in axes if a is not None}
        # what is done over the last axes changes their number, but not for an operand
        if more or any(at >= len(s) - behind(params) for s in shapes):
            return None
        return Parts((at,) * len(axes), (at,), params)

    return parts


def same_parts(
    axes: Axes, shapes: Sequence[Shape], params: Params, count: int
) -> Parts | None:
    """Of operations on single entries of one operand."""
    return Parts(tuple(axes), (axes[0],), params)  # type: ignore[arg-type]
