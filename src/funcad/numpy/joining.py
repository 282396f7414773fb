"""Joining, splitting, inserting, deleting, and functions of each slice."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from funcad.core.tracing import Array, Tracer, dtype_of
from funcad.numpy.dispatch import as_operand, as_operands, implements, refuse
from funcad.numpy.indexing import take
from funcad.numpy.reductions import axes_of, axis_of
from funcad.numpy.shaping import (
    arrays_of,
    at_least_1d,
    at_least_2d,
    at_least_3d,
    expand_dims,
    ravel,
)
from funcad.primitives import shape as p
from funcad.primitives.indexing import index
from funcad.primitives.shape import convert, move_axis


@implements(np.concatenate)
def concatenate(
    arrays: Any,
    /,
    axis: int | None = 0,
    out: Any = None,
    *,
    dtype: Any = None,
    casting: str = "same_kind",
) -> Array:
    refuse("np.concatenate", out=out)
    return _joined(arrays_of(arrays), axis, dtype, casting)


def _joined(parts: list[Array], axis: int | None, dtype: Any, casting: str) -> Array:
    if axis is None:
        parts, axis = [ravel(x) for x in parts], 0
    rank = len(parts[0].shape)
    axis = axis_of(axis, rank)
    for x in parts[1:]:
        other = list(x.shape)
        if len(other) == rank:
            other[axis] = parts[0].shape[axis]
        if tuple(other) != parts[0].shape:
            raise ValueError(
                "all the input array dimensions except for the concatenation axis must "
                f"match exactly: axis {axis} of shapes {[q.shape for q in parts]}"
            )
    if dtype is not None or casting != "same_kind":
        target = (
            np.result_type(*[x.dtype for x in parts])
            if dtype is None
            else np.dtype(dtype)
        )
        for x in parts:
            if not np.can_cast(x.dtype, target, casting):  # type: ignore[arg-type]
                raise TypeError(
                    f"Cannot cast array data from {x.dtype} to {target} according to "
                    f"the rule {casting!r}"
                )
        parts = [x if x.dtype == target else convert(x, dtype=target) for x in parts]
    return p.concatenate(*parts, axis=axis)


@implements(np.stack)
def stack(
    arrays: Any,
    axis: int = 0,
    out: Any = None,
    *,
    dtype: Any = None,
    casting: str = "same_kind",
) -> Array:
    refuse("np.stack", out=out)
    parts = arrays_of(arrays)
    if not parts:
        raise ValueError("need at least one array to stack")
    if len({x.shape for x in parts}) > 1:
        raise ValueError(
            f"all input arrays must have the same shape, not {[x.shape for x in parts]}"
        )
    axis = axis_of(axis, len(parts[0].shape) + 1)
    return _joined([expand_dims(x, axis) for x in parts], axis, dtype, casting)


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Array:
    return _joined([at_least_2d(x) for x in arrays_of(tup)], 0, dtype, casting)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Array:
    parts = [at_least_1d(x) for x in arrays_of(tup)]
    return _joined(parts, 0 if len(parts[0].shape) == 1 else 1, dtype, casting)


@implements(np.dstack)
def dstack(tup: Any) -> Array:
    return concatenate([at_least_3d(x) for x in arrays_of(tup)], 2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Array:
    columns = [
        x if len(x.shape) > 1 else p.reshape(x, shape=(math.prod(x.shape), 1))
        for x in arrays_of(tup)
    ]
    return concatenate(columns, 1)


@implements(np.append)
def append(arr: Array, values: Array, axis: int | None = None) -> Array:
    return concatenate((arr, values), axis)


@implements(np.block)
def block(arrays: Any) -> Array:
    depth = _depth(arrays)
    leaves: list[Any] = []
    _collect(arrays, leaves)
    parts = arrays_of(leaves)
    rank = max(depth, *[len(x.shape) for x in parts])
    pending = iter([_with_rank(x, rank) for x in parts])

    def join(nested: Any, level: int) -> Array:
        if level == depth:
            return next(pending)
        return concatenate([join(x, level + 1) for x in nested], level - depth)

    return join(arrays, 0)


def _depth(nested: Any) -> int:
    """How deep the lists are, the same everywhere."""
    if isinstance(nested, tuple):
        raise TypeError(
            "np.block takes nested lists, and was given a tuple. Lists are what is "
            "joined, and anything else is a block."
        )
    if not isinstance(nested, list):
        return 0
    if not nested:
        raise ValueError("np.block: a list is empty")
    depths = {_depth(x) for x in nested}
    if len(depths) > 1:
        raise ValueError(f"np.block: list depths are mismatched: {sorted(depths)}")
    return 1 + depths.pop()


def _collect(nested: Any, leaves: list[Any]) -> None:
    if isinstance(nested, list):
        for x in nested:
            _collect(x, leaves)
    else:
        leaves.append(nested)


def _with_rank(x: Array, rank: int) -> Array:
    missing = rank - len(x.shape)
    return p.reshape(x, shape=(1,) * missing + x.shape) if missing > 0 else x


@implements(np.split)
def split(ary: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    axis = axis_of(axis, len(ary.shape))
    n = ary.shape[axis]
    if not hasattr(indices_or_sections, "__len__") and n % indices_or_sections:
        raise ValueError(
            f"array split does not result in an equal division: axis {axis} has size "
            f"{n}, to be cut into {indices_or_sections}"
        )
    return array_split(ary, indices_or_sections, axis)


@implements(np.array_split)
def array_split(ary: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    axis = axis_of(axis, len(ary.shape))
    n = ary.shape[axis]
    if np.ndim(indices_or_sections) == 0:
        sections = int(indices_or_sections)
        if sections <= 0:
            raise ValueError("number sections must be larger than 0.")
        each, extra = divmod(n, sections)
        sizes = (each + 1,) * extra + (each,) * (sections - extra)
        return list(p.split(ary, sizes=sizes, axis=axis))
    cuts = [0, *(operator.index(i) for i in indices_or_sections), n]
    ranges = [range(n)[a:b] for a, b in zip(cuts, [*cuts[1:-1], n], strict=False)]
    sizes = tuple(map(len, ranges))
    adjoining = all(a.stop == b.start for a, b in zip(ranges, ranges[1:], strict=False))
    if adjoining and sum(sizes) == n:
        return list(p.split(ary, sizes=sizes, axis=axis))
    before = (slice(None),) * axis
    return [index(ary, template=(*before, slice(r.start, r.stop))) for r in ranges]


def _split_along(name: str, axis: int, least: int) -> Any:
    def along(ary: Array, indices_or_sections: Any) -> list[Array]:
        if len(ary.shape) < least:
            raise ValueError(
                f"{name} only works on arrays of {least} or more dimensions"
            )
        return split(ary, indices_or_sections, axis)

    return along


@implements(np.hsplit)
def hsplit(ary: Array, indices_or_sections: Any) -> list[Array]:
    if not ary.shape:
        raise ValueError("hsplit only works on arrays of 1 or more dimensions")
    return split(ary, indices_or_sections, 0 if len(ary.shape) == 1 else 1)


vsplit = implements(np.vsplit)(_split_along("vsplit", 0, 2))
dsplit = implements(np.dsplit)(_split_along("dsplit", 2, 3))


@implements(np.unstack)
def unstack(x: Array, /, *, axis: int = 0) -> tuple[Array, ...]:
    if not x.shape:
        raise ValueError("Input array must be at least 1-d.")
    axis = axis_of(axis, len(x.shape))
    parts = p.split(x, sizes=(1,) * x.shape[axis], axis=axis)
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    return tuple([p.reshape(part, shape=shape) for part in parts])


@implements(np.delete)
def delete(arr: Array, obj: Any, axis: int | None = None) -> Array:
    arr = as_operand(arr)
    if axis is None:
        arr, axis = ravel(arr), 0
    axis = axis_of(axis, len(arr.shape))
    kept = np.delete(np.arange(arr.shape[axis]), _known(obj, "np.delete"))
    return take(arr, kept, axis)


@implements(np.insert)
def insert(arr: Array, obj: Any, values: Any, axis: int | None = None) -> Array:
    arr, values = as_operands(arr, values)
    (arr, values) = arrays_of([arr, values])
    if axis is None:
        arr, axis = ravel(arr), 0
    rank = len(arr.shape)
    axis = axis_of(axis, rank)
    n = arr.shape[axis]
    obj = _known(obj, "np.insert")
    places = np.arange(n)[obj] if isinstance(obj, slice) else np.asarray(obj)
    if places.dtype.kind == "b" and places.ndim == 1:
        places = np.flatnonzero(places)
    if places.ndim > 1:
        raise ValueError(
            "index array argument obj to insert must be one dimensional or scalar"
        )
    if places.size == 1:
        # at one place there may be several entries
        values = _with_rank(values, rank)
        if places.ndim == 0:
            values = move_axis(values, 0, axis)
        count = values.shape[axis]
        places = places.ravel()[0]
    else:
        count = places.size
    shape = (*arr.shape[:axis], count, *arr.shape[axis + 1 :])
    values = np.broadcast_to(convert(values, dtype=dtype_of(arr)), shape)
    if places.size == 0 and places.dtype.kind == "f":
        places = places.astype(np.intp)
    # where each entry of the two, joined, goes
    order = np.insert(np.arange(n), places, np.arange(n, n + count))
    return take(concatenate([arr, values], axis), order, axis)


def _known(obj: Any, name: str) -> Any:
    """Positions that decide the shape of a result, which must be known."""
    if isinstance(obj, Tracer):
        return obj.concrete(f"{name} at traced positions")
    return obj


@implements(np.trim_zeros)
def trim_zeros(filt: Array, trim: str = "fb", axis: Any = None) -> Array:
    sides = trim.lower()
    if sides not in ("f", "b", "fb", "bf"):
        raise ValueError(f"unexpected character(s) in `trim`: {trim!r}")
    if not filt.shape:
        return filt
    # zeros are looked for in the values, and the size of the result follows
    places = filt.concrete("np.trim_zeros").nonzero()
    template = [slice(None)] * len(filt.shape)
    for i in axes_of(axis, len(filt.shape)):
        if places[i].size == 0:
            template[i] = slice(0, 0)
        else:
            first = int(places[i].min()) if "f" in sides else None
            last = int(places[i].max()) + 1 if "b" in sides else None
            template[i] = slice(first, last)
    return index(filt, template=tuple(template))


@implements(np.apply_along_axis)
def apply_along_axis(
    func1d: Any, axis: int, arr: Array, *args: Any, **kwargs: Any
) -> Array:
    axis = axis_of(axis, len(arr.shape))
    lead = (*arr.shape[:axis], *arr.shape[axis + 1 :])
    if 0 in lead:
        raise ValueError(
            "Cannot apply_along_axis when any iteration dimensions are 0: axis "
            f"{axis} of shape {arr.shape}"
        )
    moved = move_axis(arr, axis, len(lead))
    lines = p.reshape(moved, shape=(math.prod(lead), arr.shape[axis]))
    results = np.stack([func1d(line, *args, **kwargs) for line in unstack(lines)])
    inner = results.shape[1:]
    results = np.reshape(results, (*lead, *inner))
    # the axes of a result stand where the line was
    source = tuple(range(len(lead), len(lead) + len(inner)))
    return np.moveaxis(results, source, tuple(range(axis, axis + len(inner))))


@implements(np.apply_over_axes)
def apply_over_axes(func: Any, a: Array, axes: Any) -> Array:
    rank = len(a.shape)
    for axis in axes if np.ndim(axes) else (axes,):
        axis = axis + rank if axis < 0 else axis
        reduced = func(a, axis)
        if len(reduced.shape) != rank:
            reduced = np.expand_dims(reduced, axis)
        if len(reduced.shape) != rank:
            raise ValueError(
                "function is not returning an array of the correct shape: "
                f"{reduced.shape} of {a.shape}"
            )
        a = reduced
    return a
