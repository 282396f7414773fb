"""Shapes: reshaping, moving axes, joining, splitting, repeating, padding."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.errors import UnsupportedArgumentError
from funcad.core.tracing import Array, dtype_of, shape_of
from funcad.numpy.dispatch import (
    PYTHON_SCALARS,
    as_operand,
    as_operands,
    implements,
    refuse,
)
from funcad.numpy.indexing import check_bounds
from funcad.numpy.reductions import axes_of, axis_of
from funcad.primitives import shape as p
from funcad.primitives.elementwise import select
from funcad.primitives.indexing import gather, index
from funcad.primitives.shape import Shape, convert, move_axis


def _int_shape(shape: Any) -> tuple[int, ...]:
    if isinstance(shape, (tuple, list)):
        return tuple([operator.index(n) for n in shape])
    return (operator.index(shape),)


@implements(np.reshape)
def reshape(
    a: Array, /, shape: Any = None, order: str = "C", *, copy: Any = None
) -> Array:
    if order != "C":
        refuse("np.reshape", order=order)
    new = _int_shape(shape)
    if -1 in new:
        size = math.prod(a.shape)
        known = math.prod(n for n in new if n != -1)
        if new.count(-1) > 1 or known == 0 or size % known:
            np.broadcast_to(0.0, a.shape).reshape(new)  # NumPy's own error
        new = tuple([size // known if n == -1 else n for n in new])
    elif math.prod(new) != math.prod(a.shape):
        raise ValueError(f"cannot reshape array of shape {a.shape} into shape {new}")
    return a if new == a.shape else p.reshape(a, shape=new)


@implements(np.ravel)
def ravel(a: Array, order: str = "C") -> Array:
    return reshape(a, -1, order)


@implements(np.transpose)
def transpose(a: Array, axes: Any = None) -> Array:
    rank = len(a.shape)
    order = tuple(range(rank))[::-1] if axes is None else axes_of(tuple(axes), rank)
    if len(order) != rank:
        raise ValueError(f"axes {axes} don't match an array of {rank} axes")
    return p.transpose(a, axes=order)


@implements(np.swapaxes)
def swapaxes(a: Array, axis1: int, axis2: int) -> Array:
    rank = len(a.shape)
    order = list(range(rank))
    i, j = axis_of(axis1, rank), axis_of(axis2, rank)
    order[i], order[j] = j, i
    return p.transpose(a, axes=tuple(order))


@implements(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(x: Array, /) -> Array:
    if len(x.shape) < 2:
        raise ValueError(
            f"matrix_transpose takes arrays of two axes or more, not of shape {x.shape}"
        )
    return swapaxes(x, -1, -2)


@implements(np.moveaxis)
def moveaxis(a: Array, source: Any, destination: Any) -> Array:
    rank = len(a.shape)
    src, dst = axes_of(source, rank), axes_of(destination, rank)
    if len(src) != len(dst):
        raise ValueError("moveaxis: as many destinations as sources are needed")
    order = [i for i in range(rank) if i not in src]
    for d, s in sorted(zip(dst, src, strict=True)):
        order.insert(d, s)
    return p.transpose(a, axes=tuple(order))


@implements(np.expand_dims)
def expand_dims(a: Array, axis: Any) -> Array:
    count = 1 if isinstance(axis, (int, np.integer)) else len(axis)
    rank = len(a.shape) + count
    places = axes_of(axis, rank)
    rest = iter(a.shape)
    shape = tuple([1 if i in places else next(rest) for i in range(rank)])
    return p.reshape(a, shape=shape)


@implements(np.squeeze)
def squeeze(a: Array, axis: Any = None) -> Array:
    if axis is None:
        places: Shape = tuple(i for i, n in enumerate(a.shape) if n == 1)
    else:
        places = axes_of(axis, len(a.shape))
        if any(a.shape[i] != 1 for i in places):
            raise ValueError(
                "cannot select an axis to squeeze out which has size not equal to one: "
                f"axis {axis} of shape {a.shape}"
            )
    shape = tuple([n for i, n in enumerate(a.shape) if i not in places])
    return p.reshape(a, shape=shape)


@implements(np.broadcast_to)
def broadcast_to(array: Array, shape: Any, subok: bool = False) -> Array:
    new = _int_shape(shape)
    if np.broadcast_shapes(array.shape, new) != new:
        raise ValueError(f"cannot broadcast shape {array.shape} to shape {new}")
    return p.broadcast_to(array, shape=new)


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Array, subok: bool = False) -> tuple[Array, ...]:
    shape = np.broadcast_shapes(*map(shape_of, args))
    return tuple([np.broadcast_to(a, shape) for a in _arrays(args)])


def _arrays(parts: Any) -> list[Array]:
    parts = as_operands(*parts)
    xp = namespace(*parts)
    return [
        xp.asarray(x) if isinstance(x, (np.generic, *PYTHON_SCALARS)) else x
        for x in parts
    ]


@implements(np.concatenate)
def concatenate(
    arrays: Any, /, axis: int | None = 0, out: Any = None, *, dtype: Any = None
) -> Array:
    refuse("np.concatenate", out=out)
    parts = _arrays(arrays)
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
    if dtype is not None:
        parts = [convert(x, dtype=np.dtype(dtype)) for x in parts]
    return p.concatenate(*parts, axis=axis)


@implements(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None) -> Array:
    refuse("np.stack", out=out)
    parts = _arrays(arrays)
    if not parts:
        raise ValueError("need at least one array to stack")
    if len({x.shape for x in parts}) > 1:
        raise ValueError(
            f"all input arrays must have the same shape, not {[x.shape for x in parts]}"
        )
    axis = axis_of(axis, len(parts[0].shape) + 1)
    parts = [expand_dims(x, axis) for x in parts]
    return concatenate(parts, axis, dtype=dtype)


def _at_least_1d(x: Array) -> Array:
    return x if x.shape else p.reshape(x, shape=(1,))


def _at_least_2d(x: Array) -> Array:
    return x if len(x.shape) > 1 else p.reshape(x, shape=(1, *(x.shape or (1,))))


def _at_least_3d(x: Array) -> Array:
    if len(x.shape) >= 3:
        return x
    shape = {0: (1, 1, 1), 1: (1, *x.shape, 1), 2: (*x.shape, 1)}[len(x.shape)]
    return p.reshape(x, shape=shape)


def _each(raised: Callable[[Array], Array]) -> Callable[..., Any]:
    def atleast(*arys: Array) -> Any:
        out = tuple(map(raised, _arrays(arys)))
        return out[0] if len(out) == 1 else out

    return atleast


atleast_1d = implements(np.atleast_1d)(_each(_at_least_1d))
atleast_2d = implements(np.atleast_2d)(_each(_at_least_2d))
atleast_3d = implements(np.atleast_3d)(_each(_at_least_3d))


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None) -> Array:
    return concatenate([_at_least_2d(x) for x in _arrays(tup)], 0, dtype=dtype)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None) -> Array:
    parts = [_at_least_1d(x) for x in _arrays(tup)]
    return concatenate(parts, 0 if len(parts[0].shape) == 1 else 1, dtype=dtype)


@implements(np.dstack)
def dstack(tup: Any) -> Array:
    return concatenate([_at_least_3d(x) for x in _arrays(tup)], 2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Array:
    parts = _arrays(tup)
    columns = [
        x if len(x.shape) > 1 else p.reshape(x, shape=(math.prod(x.shape), 1))
        for x in parts
    ]
    return concatenate(columns, 1)


@implements(np.split)
def split(ary: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    axis = axis_of(axis, len(ary.shape))
    n = ary.shape[axis]
    if isinstance(indices_or_sections, (int, np.integer)) and n % indices_or_sections:
        raise ValueError(
            f"array split does not result in an equal division: axis {axis} has size "
            f"{n}, to be cut into {indices_or_sections}"
        )
    return array_split(ary, indices_or_sections, axis)


@implements(np.array_split)
def array_split(ary: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    axis = axis_of(axis, len(ary.shape))
    n = ary.shape[axis]
    if isinstance(indices_or_sections, (int, np.integer)):
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


@implements(np.flip)
def flip(m: Array, axis: Any = None) -> Array:
    axes = axes_of(axis, len(m.shape))
    template = tuple(
        [
            slice(None, None, -1) if i in axes else slice(None)
            for i in range(len(m.shape))
        ]
    )
    return index(m, template=template)


@implements(np.flipud)
def flipud(m: Array) -> Array:
    return flip(m, 0)


@implements(np.fliplr)
def fliplr(m: Array) -> Array:
    return flip(m, 1)


@implements(np.roll)
def roll(a: Array, shift: Any, axis: Any = None) -> Array:
    if axis is None:
        return reshape(roll(ravel(a), shift, 0), a.shape)
    shifts, axes = np.broadcast_arrays(shift, axis)
    if shifts.ndim > 1:
        raise ValueError("'shift' and 'axis' should be scalars or 1D sequences")
    for i, s in zip(axes.ravel().tolist(), shifts.ravel().tolist(), strict=True):
        i = axis_of(i, len(a.shape))
        n = a.shape[i]
        if n and s % n:
            first, last = p.split(a, sizes=(n - s % n, s % n), axis=i)
            a = p.concatenate(last, first, axis=i)
    return a


@implements(np.repeat)
def repeat(a: Array, repeats: Any, axis: int | None = None) -> Array:
    if axis is None:
        a, axis = ravel(a), 0
    axis = axis_of(axis, len(a.shape))
    rows = np.repeat(np.arange(a.shape[axis]), np.asarray(repeats))
    return take(a, namespace(a).asarray(rows), axis)


@implements(np.tile)
def tile(A: Array, reps: Any) -> Array:
    counts = _int_shape(reps)
    rank = max(len(counts), len(A.shape))
    counts = (1,) * (rank - len(counts)) + counts
    shape = (1,) * (rank - len(A.shape)) + A.shape
    spread = p.reshape(A, shape=tuple([n for s in shape for n in (1, s)]))
    full = tuple([n for c, s in zip(counts, shape, strict=True) for n in (c, s)])
    out = tuple([c * s for c, s in zip(counts, shape, strict=True)])
    return p.reshape(p.broadcast_to(spread, shape=full), shape=out)


@implements(np.pad)
def pad(
    array: Array, pad_width: Any, mode: str = "constant", constant_values: Any = 0
) -> Array:
    rank = len(array.shape)
    widths = np.broadcast_to(np.asarray(pad_width), (rank, 2)).tolist()
    if min([w for pair in widths for w in pair], default=0) < 0:
        raise ValueError("index can't contain negative values")
    if mode == "constant":
        return _pad_constant(array, widths, constant_values)
    if mode not in ("edge", "wrap", "reflect", "symmetric"):
        # NumPy's own error for what it does not know
        np.pad(np.empty(1), 0, mode=mode)  # type: ignore[call-overload]
        raise UnsupportedArgumentError(
            f"np.pad of a traced array does not take mode={mode!r}. Use constant, "
            "edge, wrap, reflect or symmetric, or np.concatenate."
        )
    # every other mode copies entries: pad the positions, then take them
    for axis, (before, after) in enumerate(widths):
        if before or after:
            positions = np.pad(np.arange(array.shape[axis]), (before, after), mode=mode)  # type: ignore[call-overload]
            array = take(array, namespace(array).asarray(positions), axis)
    return array


def _pad_constant(array: Array, widths: list[list[int]], values: Any) -> Array:
    zeros = p.pad(array, widths=tuple([tuple(w) for w in widths]))
    if isinstance(values, (int, float, complex)) and values == 0:
        return zeros
    for axis, pair in enumerate(np.broadcast_to(values, (len(widths), 2)).tolist()):
        n, (before, _) = array.shape[axis], widths[axis]
        shape = [1] * len(widths)
        shape[axis] = zeros.shape[axis]
        place = namespace(array).arange(shape[axis]).reshape(shape)
        zeros = select(place < before, convert(pair[0], dtype=array.dtype), zeros)
        zeros = select(place >= before + n, convert(pair[1], dtype=array.dtype), zeros)
    return zeros


@implements(np.take)
def take(
    a: Array,
    indices: Any,
    axis: int | None = None,
    out: Any = None,
    mode: str = "raise",
) -> Array:
    refuse("np.take", out=out)
    if axis is None:
        a, axis = ravel(a), 0
    axis = axis_of(axis, len(a.shape))
    indices = indices if hasattr(indices, "dtype") else np.asarray(indices)
    if mode != "raise":
        n = a.shape[axis]
        indices = indices % n if mode == "wrap" else np.clip(indices, 0, n - 1)
    check_bounds(indices, a.shape[axis], axis)
    if type(indices) is np.ndarray:
        indices = namespace(a).asarray(indices)
    out = gather(move_axis(a, axis, 0), indices)
    rank = len(shape_of(indices))
    order = (
        *range(rank, rank + axis),
        *range(rank),
        *range(rank + axis, len(out.shape)),
    )
    return p.transpose(out, axes=order) if axis and rank else out


def _triangle(mask: Any) -> Any:
    def triangle(m: Array, k: int = 0) -> Array:
        x = m if len(m.shape) > 1 else np.broadcast_to(m, (m.shape[0],) * 2)
        rows = namespace(m).arange(x.shape[-2])[:, None]
        columns = namespace(m).arange(x.shape[-1])
        return select(mask(columns - rows, k), x, convert(0, dtype=dtype_of(m)))

    return triangle


tril = implements(np.tril)(_triangle(lambda offset, k: offset <= k))
triu = implements(np.triu)(_triangle(lambda offset, k: offset >= k))


@implements(np.diagonal)
def diagonal(a: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    rank = len(a.shape)
    i, j = axis_of(axis1, rank), axis_of(axis2, rank)
    if i == j:
        raise ValueError("axis1 and axis2 cannot be the same")
    rest = [k for k in range(rank) if k not in (i, j)]
    x = p.transpose(a, axes=(i, j, *rest))
    rows, columns = x.shape[:2]
    count = max(
        0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    )
    steps = namespace(a).arange(count)
    picked = gather(x, steps + max(-offset, 0), steps + max(offset, 0))
    return move_axis(picked, 0, len(rest))


@implements(np.linalg.diagonal)
def matrix_diagonal(x: Array, /, *, offset: int = 0) -> Array:
    return diagonal(x, offset, -2, -1)


@implements(np.diag)
def diag(v: Array, k: int = 0) -> Array:
    if len(v.shape) == 2:
        return diagonal(v, k)
    if len(v.shape) != 1:
        raise ValueError("Input must be 1- or 2-d.")
    n = v.shape[0] + abs(k)
    padded = p.pad(v, widths=((max(-k, 0), max(k, 0)),))
    rows = namespace(v).arange(n)
    column = p.reshape(padded, shape=(n, 1))
    return select(rows == rows[:, None] + k, column, convert(0, dtype=v.dtype))


@implements(np.trace)
def trace(
    a: Array, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None
) -> Array:
    return np.sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


def _filled(value: Any) -> Any:
    def like(
        a: Array,
        dtype: Any = None,
        order: Any = "K",
        subok: bool = True,
        shape: Any = None,
        *,
        device: Any = None,
    ) -> Array:
        new = a.shape if shape is None else _int_shape(shape)
        return namespace(a).full(new, value, dtype or a.dtype)

    return like


zeros_like = implements(np.zeros_like, np.empty_like)(_filled(0))
ones_like = implements(np.ones_like)(_filled(1))


@implements(np.full_like)
def full_like(
    a: Array,
    fill_value: Any,
    dtype: Any = None,
    order: Any = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Array:
    new = shape_of(a) if shape is None else _int_shape(shape)
    value = convert(as_operand(fill_value, a), dtype=np.dtype(dtype or dtype_of(a)))
    if isinstance(value, np.generic):
        return namespace(a).full(new, value, value.dtype)
    return np.broadcast_to(value, new)


@implements(np.shape)
def shape(a: Array) -> Shape:
    return a.shape


@implements(np.ndim)
def ndim(a: Array) -> int:
    return len(a.shape)


@implements(np.size)
def size(a: Array, axis: Any = None) -> int:
    return math.prod(a.shape[i] for i in axes_of(axis, len(a.shape)))


@implements(np.copy)
def copy(a: Array, order: str = "K", subok: bool = False) -> Array:
    return a
