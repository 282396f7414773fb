"""A stretch of a program that threads share: each computes a part of its results."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from funcad.backends.threads import together
from funcad.core.tracing import Array, Primitive
from funcad.primitives.parts import SUM


def _in_parts(
    *operands: Array,
    run: Any,
    axes: Sequence[int | None],
    results: Sequence[int | str],
    count: int,
) -> tuple[Array, ...]:
    wholes = [
        None if axis == SUM else np.empty(_whole(v.shape, axis, count), v.dtype)
        for v, axis in zip(run.program.outputs, results)
    ]

    def share(k: int) -> list[Any]:
        """Run part number ``k``, write its rows, and give its summands."""
        outs = run(*[_part(x, axis, k, count) for x, axis in zip(operands, axes)])
        for x, whole, axis in zip(outs, wholes, results):
            if whole is not None:
                _part(whole, axis, k, count)[...] = x
        return [x for x, whole in zip(outs, wholes) if whole is None]

    shares = together([functools.partial(share, k) for k in range(count)])
    totals = map(_added, zip(*shares))
    return tuple([next(totals) if whole is None else whole for whole in wholes])


def _whole(shape: tuple[int, ...], axis: Any, count: int) -> tuple[int, ...]:
    return (*shape[:axis], shape[axis] * count, *shape[axis + 1 :])


def _part(x: Array, axis: Any, k: int, count: int) -> Array:
    if axis is None:
        return x
    size = x.shape[axis] // count
    return x[(*(slice(None),) * axis, slice(k * size, (k + 1) * size))]


def _added(summands: Sequence[Any]) -> Array:
    total, *rest = summands
    # what is an array of its own has been made for this sum
    own = type(total) is np.ndarray and total.flags.owndata and total.shape
    for x in rest:
        total = np.add(total, x, out=total) if own else total + x
    return total


in_parts = Primitive(
    "in_parts", _in_parts, None, multiple=True, opaque=True, registered=False
)
"""``in_parts(*operands, run, axes, results, count)``: ``run`` on parts of the operands.

Operands without an axis are given whole.  ``run`` is a :class:`Compiled`, whose results
are rows along the axes that ``results`` names, or to be added up.
"""
