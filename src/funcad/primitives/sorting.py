"""Order: sorting along an axis, and the places of values in what is sorted.

The derivative of what is sorted follows the permutation; where entries are equal, that
is the one which leaves them in their order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.counting import each_operand, entries
from funcad.core.tracing import Array, Primitive, bind, shape_of
from funcad.primitives.indexing import take_along
from funcad.primitives.reduction import positional
from funcad.primitives.shape import Shape, batches_to_front, broadcast_to

_INDEX = np.dtype(np.intp)


def _comparisons(inputs: Any, outputs: Any, params: Any) -> float:
    """n log2 n for n entries: what sorting by comparison takes, up to terms in n."""
    n = inputs[0].shape[params["axis"]]
    return entries(inputs[0]) * math.log2(max(n, 1))


def _indices(shape: Shape, dtype: Any, axis: int, **params: Any) -> tuple[Shape, Any]:
    return shape, _INDEX


def _unchanged(shape: Shape, dtype: Any, axis: int) -> tuple[Shape, Any]:
    return shape, dtype


def _argsort(x: Array, axis: int) -> Array:
    if namespace(x) is np:
        return np.argsort(x, axis=axis, kind="stable")
    return x.argsort(axis=axis)


argsort = positional("argsort", _argsort, _indices, flops=_comparisons)
sort = positional(
    "sort",
    lambda x, axis: namespace(x).sort(x, axis=axis),
    _unchanged,
    lambda t, ans, x, axis: take_along(t, argsort(x, axis=axis), axis),
    flops=_comparisons,
)
argsort.definition = """
def argsort(x, axis):
    return np.argsort(x, axis=axis, kind="stable")
"""
sort.definition = """
def sort(x, axis):
    return np.sort(x, axis=axis)
"""
argpartition = positional(
    "argpartition",
    lambda x, axis, kth: namespace(x).argpartition(x, kth, axis=axis),
    _indices,
    # the mean of quickselect for the median is 3.4 n (Knuth, volume 3, section 5.2.2)
    flops=each_operand(3.4),
)
argpartition.definition = """
def argpartition(x, axis, kth):
    return np.argpartition(x, kth, axis)
"""


def _searchsorted(a: Array, v: Array, side: str) -> Array:
    xp = namespace(a, v)
    batch = shape_of(a)[:-1]
    if not batch:
        return xp.searchsorted(a, v, side=side)
    out = xp.empty((*batch, *shape_of(v)[len(batch) :]), _INDEX)
    for row in np.ndindex(batch):
        out[row] = xp.searchsorted(a[row], v[row], side=side)
    return out


def _searchsorted_batch(values: Any, axes: Any, side: str) -> tuple[Array, int]:
    (a, v), (a_axis, v_axis) = values, axes
    lead = len(shape_of(a)) - (a_axis is not None) - 1
    if a_axis is None and lead == 0:
        # one sorted array for all examples
        return bind(searchsorted, values, {"side": side}), v_axis
    (a, v), size = batches_to_front(values, axes)
    a, v = (
        broadcast_to(x, shape=(size, *shape_of(x))) if axis is None else x
        for x, axis in ((a, a_axis), (v, v_axis))
    )
    return searchsorted(a, v, side=side), 0


searchsorted = Primitive(
    "searchsorted",
    _searchsorted,
    lambda a, v, side: (shape_of(v), _INDEX),
    batch=_searchsorted_batch,
    # by bisection
    flops=lambda inputs, outputs, params: (
        entries(inputs[1]) * math.log2(shape_of(inputs[0])[-1] + 1)
    ),
    family="order",
)
"""Where each of ``v`` belongs in ``a``, whose last axis is sorted.

Axes of ``a`` before its last are batches, and the first axes of ``v`` too.
"""
searchsorted.definition = """
def searchsorted(a, v, side):
    lead = a.shape[:-1]
    out = np.empty(v.shape, np.intp)
    for row in np.ndindex(lead):
        out[row] = np.searchsorted(a[row], v[row], side=side)
    return out
"""
