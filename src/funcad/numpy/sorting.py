"""Sorting, searching, sets, and the positions where a condition holds.

The derivative of sorted entries follows the permutation.  Where the size of a result
depends on values (``unique``, ``nonzero``, ``compress``), those must be known: under
``jvp`` and ``grad`` they are, inside ``vmap`` and in staged programs they are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.tracing import Array, dtype_of, shape_of
from funcad.numpy.dispatch import (
    FUNCTIONS,
    as_array,
    as_operand,
    as_operands,
    implements,
    refuse,
)
from funcad.numpy.reductions import axis_of, flat_or_axis, known_value, value_of
from funcad.primitives import sorting as p
from funcad.primitives.elementwise import equal, logical_not, select
from funcad.primitives.indexing import gather, take_along
from funcad.primitives.shape import concatenate as joined
from funcad.primitives.shape import convert

# ----------------------------------------------------------------------------- sorting


def _check_kind(kind: Any, stable: Any) -> None:
    np.sort(np.empty(0), kind=kind, stable=stable)  # NumPy's own errors


@implements(np.sort)
def sort(
    a: Array,
    axis: int | None = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: Any = None,
) -> Array:
    refuse("np.sort", order=order)
    _check_kind(kind, stable)
    if axis is not None:
        axis_of(axis, len(a.shape))
    x, axis = flat_or_axis(a, axis)
    return p.sort(x, axis=axis)


@implements(np.argsort)
def argsort(
    a: Array,
    axis: int | None = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: Any = None,
) -> Array:
    refuse("np.argsort", order=order)
    _check_kind(kind, stable)
    x, axis = flat_or_axis(a, axis)
    return p.argsort(x, axis=axis)


@implements(np.sort_complex)
def sort_complex(a: Array) -> Array:
    a = as_operand(a)
    ordered = sort(a, -1)
    if dtype_of(a).kind == "c":
        return ordered
    small = dtype_of(a).char in "bhBH"
    return convert(ordered, dtype=np.dtype(np.complex64 if small else np.complex128))


@implements(np.argpartition)
def argpartition(
    a: Array,
    kth: Any,
    axis: int | None = -1,
    kind: str = "introselect",
    order: Any = None,
) -> Array:
    refuse("np.argpartition", order=order)
    x, axis = flat_or_axis(a, axis)
    places = np.asarray(value_of(kth, "np.partition: the use of kth"))
    np.partition(np.zeros(1), places * 0, kind=kind)  # type: ignore[call-overload]
    n = x.shape[axis]
    if n == 0:
        return p.argsort(x, axis=axis)
    for k in places.ravel().tolist():
        if not -n <= k < n:
            raise ValueError(f"kth(={k}) out of bounds ({n})")
    return p.argpartition(
        x, axis=axis, kth=tuple(places.tolist()) if places.ndim else int(places)
    )


@implements(np.partition)
def partition(
    a: Array,
    kth: Any,
    axis: int | None = -1,
    kind: str = "introselect",
    order: Any = None,
) -> Array:
    refuse("np.partition", order=order)
    if axis is not None:
        axis_of(axis, len(a.shape))
    x, axis = flat_or_axis(a, axis)
    return take_along(x, argpartition(x, kth, axis, kind), axis)


@implements(np.lexsort)
def lexsort(keys: Sequence[Array], axis: int = -1) -> Array:
    keys = as_operands(*keys)
    if not keys:
        raise TypeError("need sequence of keys with len > 0 in lexsort")
    rank = len(shape_of(keys[0]))
    if any(shape_of(k) != shape_of(keys[0]) for k in keys):
        raise ValueError(
            f"all keys need to be the same shape: {[*map(shape_of, keys)]}"
        )
    if rank == 0 and axis in (0, -1):
        return convert(keys[0] * 0, dtype=np.dtype(np.intp))
    axis = axis_of(axis, rank)
    order = p.argsort(keys[0], axis=axis)
    for key in keys[1:]:
        later = p.argsort(take_along(key, order, axis), axis=axis)
        order = take_along(order, later, axis)
    return order


# --------------------------------------------------------------------------- searching


@implements(np.searchsorted)
def searchsorted(a: Array, v: Any, side: str = "left", sorter: Any = None) -> Array:
    a, v = as_operands(a, v)
    np.searchsorted(np.empty(0), 0.0, side=side)  # type: ignore[call-overload]
    if len(shape_of(a)) != 1:
        raise ValueError(
            "np.searchsorted searches an array of one axis, not one of shape "
            f"{shape_of(a)}. Use funcad.vmap for several at once."
        )
    if sorter is not None:
        sorter = as_operand(sorter, a)
        if dtype_of(sorter).kind not in "ui":
            raise TypeError("sorter must only contain integers")
        if shape_of(sorter) != shape_of(a):
            raise ValueError("sorter.size must equal a.size")
        a = gather(a, sorter)
    return p.searchsorted(a, v, side=side)


@implements(np.digitize)
def digitize(x: Array, bins: Array, right: bool = False) -> Array:
    x, bins = as_operands(x, bins)
    if "c" in (dtype_of(x).kind, dtype_of(bins).kind):
        raise TypeError("x may not be complex")
    if len(shape_of(bins)) != 1:
        raise ValueError(f"object of shape {shape_of(bins)} is no sequence of bins")
    side = "left" if right else "right"
    count = shape_of(bins)[0]
    known = known_value(bins) if count else np.empty(0)
    if known is not None:
        rising = bool((known[1:] >= known[:-1]).all())
        if not rising and not bool((known[1:] <= known[:-1]).all()):
            raise ValueError("bins must be monotonically increasing or decreasing")
        return (
            p.searchsorted(bins, x, side=side)
            if rising
            else count - p.searchsorted(np.flip(bins), x, side=side)
        )
    falling = count - p.searchsorted(np.flip(bins), x, side=side)
    return select(bins[0] <= bins[-1], p.searchsorted(bins, x, side=side), falling)


# ------------------------------------------------------ where a condition holds


@implements(np.nonzero)
def nonzero(a: Array) -> tuple[Array, ...]:
    if not shape_of(a):
        raise ValueError(
            "Calling nonzero on 0d arrays is not allowed. Write np.atleast_1d(x)."
        )
    return value_of(a, "np.nonzero (or np.where)").nonzero()  # type: ignore[no-any-return]


@implements(np.flatnonzero)
def flatnonzero(a: Array) -> Array:
    return nonzero(np.ravel(a))[0]


@implements(np.argwhere)
def argwhere(a: Array) -> Array:
    if not shape_of(a):
        return argwhere(np.ravel(a))[:, :0]
    return np.stack(nonzero(a), -1)


@implements(np.extract)
def extract(condition: Any, arr: Array) -> Array:
    condition, arr = as_operands(condition, arr)
    chosen = flatnonzero(value_of(condition, "np.extract: the condition"))
    return FUNCTIONS[np.take](np.ravel(arr), chosen)


@implements(np.compress)
def compress(
    condition: Any, a: Array, axis: int | None = None, out: Any = None
) -> Array:
    refuse("np.compress", out=out)
    condition, a = as_operands(condition, a)
    if len(shape_of(condition)) != 1:
        raise ValueError("condition must be a 1-d array")
    chosen = flatnonzero(value_of(condition, "np.compress: the condition"))
    return FUNCTIONS[np.take](a, chosen, axis)


# -------------------------------------------------------------------------------- sets


@implements(np.unique)
def unique(
    ar: Array,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    known = value_of(as_operand(ar), "np.unique")
    _, first, *rest = namespace(known).unique(
        known,
        return_index=True,
        return_inverse=return_inverse,
        return_counts=return_counts,
        axis=axis,
        equal_nan=equal_nan,
    )
    values = FUNCTIONS[np.take](ar, first, axis)
    found = (values, first, *rest) if return_index else (values, *rest)
    return found if len(found) > 1 else values


@implements(np.unique_values)
def unique_values(x: Array) -> Array:
    return unique(x, equal_nan=False)


@implements(np.unique_counts)
def unique_counts(x: Array) -> Any:
    return _as(np.unique_counts, unique(x, return_counts=True, equal_nan=False))


@implements(np.unique_inverse)
def unique_inverse(x: Array) -> Any:
    return _as(np.unique_inverse, unique(x, return_inverse=True, equal_nan=False))


@implements(np.unique_all)
def unique_all(x: Array) -> Any:
    return _as(np.unique_all, unique(x, True, True, True, equal_nan=False))


def _as(function: Any, parts: Any) -> Any:
    """The parts as the named tuple that a function of NumPy's returns."""
    return type(function(np.empty(0)))(*parts)


def _both(ar1: Array, ar2: Array) -> tuple[Array, Array, Array]:
    """Two sets raveled, and their members one after the other."""
    one, two = (np.ravel(x) for x in (as_array(ar1, ar2), as_array(ar2, ar1)))
    return one, two, joined(one, two, axis=0)


@implements(np.union1d)
def union1d(ar1: Array, ar2: Array) -> Array:
    return unique(_both(ar1, ar2)[2])


@implements(np.intersect1d)
def intersect1d(
    ar1: Array, ar2: Array, assume_unique: bool = False, return_indices: bool = False
) -> Any:
    one, two, members = _both(ar1, ar2)
    one, two = (convert(x, dtype=dtype_of(members)) for x in (one, two))
    where1, where2 = (
        np.arange(x.shape[0]) if assume_unique else unique(x, return_index=True)[1]
        for x in (one, two)
    )
    take = FUNCTIONS[np.take]
    first, second = take(one, where1), take(two, where2)
    order = p.argsort(first, axis=0)
    first, where1 = take(first, order), take(where1, order)
    chosen = flatnonzero(
        value_of(isin(first, second, assume_unique=True), "np.intersect1d")
    )
    values, where1 = take(first, chosen), take(where1, chosen)
    if not return_indices:
        return values
    order = p.argsort(second, axis=0)
    found = p.searchsorted(take(second, order), values, side="left")
    return values, where1, take(where2, take(order, found))


@implements(np.setdiff1d)
def setdiff1d(ar1: Array, ar2: Array, assume_unique: bool = False) -> Array:
    one, two, _ = _both(ar1, ar2)
    if not assume_unique:
        one, two = unique(one), unique(two)
    return extract(
        value_of(isin(one, two, assume_unique=True, invert=True), "np.setdiff1d"), one
    )


@implements(np.setxor1d)
def setxor1d(ar1: Array, ar2: Array, assume_unique: bool = False) -> Array:
    one, two, _ = _both(ar1, ar2)
    if not assume_unique:
        one, two = unique(one), unique(two)
    members = sort(joined(one, two, axis=0))
    if not members.shape[0]:
        return members
    same = value_of(equal(members[1:], members[:-1]), "np.setxor1d")
    alone = np.pad(logical_not(same), 1, constant_values=True)
    return extract(alone[1:] & alone[:-1], members)


@implements(np.isin)
def isin(
    element: Array,
    test_elements: Array,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    kind: Any = None,
) -> Array:
    if kind not in (None, "sort", "table"):
        raise ValueError(f"Invalid kind: '{kind}'. Please use None, 'sort' or 'table'.")
    element, test_elements = (
        as_array(element, test_elements),
        as_array(test_elements, element),
    )
    if kind == "table" and {dtype_of(element).kind, dtype_of(test_elements).kind} - {
        *"bui"
    }:
        raise ValueError(
            "The 'table' method is only supported for boolean or integer arrays. "
            "Please select 'sort' or None for kind."
        )
    members = p.sort(np.ravel(test_elements), axis=0)
    n = math.prod(shape_of(test_elements))
    if n == 0:
        found = convert(element != element, dtype=np.dtype(bool)) & False
    else:
        place = p.searchsorted(members, element, side="left")
        found = equal(gather(members, np.minimum(place, n - 1)), element)
    return logical_not(found) if invert else found
