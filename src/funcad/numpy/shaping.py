"""Shapes: reshaping, moving axes, turning, repeating, triangles and diagonals."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.tracing import Array, Tracer, dtype_of
from funcad.numpy.dispatch import (
    PYTHON_SCALARS,
    as_operand,
    as_operands,
    implements,
    refuse,
)
from funcad.numpy.indexing import take
from funcad.numpy.reductions import axes_of, axis_of
from funcad.primitives import shape as p
from funcad.primitives.elementwise import select
from funcad.primitives.indexing import gather, index
from funcad.primitives.shape import Shape, convert, move_axis
from funcad.primitives.windows import windows


def int_shape(shape: Any) -> tuple[int, ...]:
    """A shape given as an integer or a sequence of integers."""
    if isinstance(shape, (tuple, list, np.ndarray)):
        return tuple([operator.index(n) for n in shape])
    return (operator.index(shape),)


def is_fortran(name: str, order: Any, shape: Shape) -> bool:
    """Whether entries are to be counted with the first axis fastest.

    Orders that depend on how an array lies in memory are refused, but for shapes that
    all orders count alike.
    """
    if order == "C" or order is None:
        return False
    np.ravel(np.empty(0), order=order)  # NumPy's own error for what is no order
    letter = order.upper()
    if letter in "AK" and sum(n > 1 for n in shape) > 1:
        refuse(name, order=order)
    return bool(letter == "F")


@implements(np.reshape)
def reshape(
    a: Array, /, shape: Any = None, order: str = "C", *, copy: Any = None
) -> Array:
    if order in ("K", "k"):
        raise ValueError("order 'K' is not permitted for reshaping")
    if shape is None:
        raise TypeError("reshape() missing 1 required positional argument: 'shape'")
    if is_fortran("np.reshape", order, a.shape):
        turned = reshape(transpose(a), int_shape(shape)[::-1])
        return transpose(turned)
    # NumPy takes any negative number for the one that is to be found out
    new = tuple([max(n, -1) for n in int_shape(shape)])
    if -1 in new:
        size = math.prod(a.shape)
        known = math.prod([n for n in new if n != -1])
        if new.count(-1) > 1 or known == 0 or size % known:
            np.broadcast_to(0.0, a.shape).reshape(new)  # NumPy's own error
        new = tuple([size // known if n == -1 else n for n in new])
    elif math.prod(new) != math.prod(a.shape):
        raise ValueError(f"cannot reshape array of shape {a.shape} into shape {new}")
    return a if new == a.shape else p.reshape(a, shape=new)


@implements(np.ravel)
def ravel(a: Array, order: str = "C") -> Array:
    if is_fortran("np.ravel", order, a.shape):
        a = transpose(a)
    return a if len(a.shape) == 1 else p.reshape(a, shape=(math.prod(a.shape),))


@implements(np.transpose)
def transpose(a: Array, axes: Any = None) -> Array:
    rank = len(a.shape)
    if isinstance(axes, (int, np.integer)):
        axes = (axes,)
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


@implements(np.rollaxis)
def rollaxis(a: Array, axis: int, start: int = 0) -> Array:
    rank = len(a.shape)
    axis = axis_of(axis, rank)
    start = operator.index(start)
    if not -rank <= start <= rank:
        raise np.exceptions.AxisError(
            f"'start' arg requires {-rank} <= start < {rank + 1}, but {start} was "
            "passed in"
        )
    start += rank * (start < 0)
    return move_axis(a, axis, start - (axis < start))


@implements(np.rot90)
def rot90(m: Array, k: int = 1, axes: Any = (0, 1)) -> Array:
    axes = tuple(axes)
    if len(axes) != 2:
        raise ValueError("len(axes) must be 2.")
    rank = len(m.shape)
    if any(not -rank <= a < rank for a in axes):
        raise ValueError(f"Axes={axes} out of range for array of ndim={rank}.")
    i, j = axes_of(axes[0], rank)[0], axes_of(axes[1], rank)[0]
    if i == j:
        raise ValueError("Axes must be different.")
    k = operator.index(k) % 4
    if k > 1:  # half a turn
        m = flip(m, (i, j))
    return flip(swapaxes(m, i, j), i) if k % 2 else m


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
    new = int_shape(shape)
    if np.broadcast_shapes(array.shape, new) != new:
        raise ValueError(f"cannot broadcast shape {array.shape} to shape {new}")
    return p.broadcast_to(array, shape=new)


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Array, subok: bool = False) -> tuple[Array, ...]:
    parts = arrays_of(args)
    shape = np.broadcast_shapes(*[x.shape for x in parts])
    return tuple([np.broadcast_to(x, shape) for x in parts])


def arrays_of(parts: Any) -> list[Array]:
    """What is to be joined or meets in one function: arrays, no numbers or lists."""
    parts = as_operands(*parts)
    xp = namespace(*parts)
    return [
        xp.asarray(x) if isinstance(x, (np.generic, *PYTHON_SCALARS)) else x
        for x in parts
    ]


def at_least_1d(x: Array) -> Array:
    """One axis at least."""
    return x if x.shape else p.reshape(x, shape=(1,))


def at_least_2d(x: Array) -> Array:
    """Two axes at least, new ones in front."""
    return x if len(x.shape) > 1 else p.reshape(x, shape=(1, *(x.shape or (1,))))


def at_least_3d(x: Array) -> Array:
    """Three axes at least, as ``np.dstack`` wants them."""
    if len(x.shape) >= 3:
        return x
    shape = {0: (1, 1, 1), 1: (1, *x.shape, 1), 2: (*x.shape, 1)}[len(x.shape)]
    return p.reshape(x, shape=shape)


def _each(raised: Callable[[Array], Array]) -> Callable[..., Any]:
    def atleast(*arys: Array) -> Any:
        out = tuple(map(raised, arrays_of(arys)))
        return out[0] if len(out) == 1 else out

    return atleast


atleast_1d = implements(np.atleast_1d)(_each(at_least_1d))
atleast_2d = implements(np.atleast_2d)(_each(at_least_2d))
atleast_3d = implements(np.atleast_3d)(_each(at_least_3d))


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
    a = as_operand(a, shift)
    if axis is None:
        return reshape(roll(ravel(a), shift, 0), a.shape)
    np.lib.array_utils.normalize_axis_tuple(axis, len(a.shape), allow_duplicate=True)
    shifts, axes = np.broadcast_arrays(shift, axis)
    if len(shifts.shape) > 1:
        raise ValueError("'shift' and 'axis' should be scalars or 1D sequences")
    shifts = ravel(as_operand(shifts))
    for k, i in enumerate(np.ravel(axes).tolist()):
        i = axis_of(i, len(a.shape))
        n = a.shape[i]
        if not n:
            continue
        if isinstance(shifts, Tracer):
            places = namespace(a).arange(n) - index(shifts, template=(k,))
            a = take(a, np.remainder(places, n), i)
        elif s := int(shifts[k]) % n:
            first, last = p.split(a, sizes=(n - s, s), axis=i)
            a = p.concatenate(last, first, axis=i)
    return a


@implements(np.repeat)
def repeat(a: Array, repeats: Any, axis: int | None = None) -> Array:
    if isinstance(repeats, Tracer):
        repeats = repeats.concrete("np.repeat by a traced number of times")
    a = as_operand(a)
    if axis is None or not a.shape and axis in (0, -1):
        a, axis = ravel(a), 0
    axis = axis_of(axis, len(a.shape))
    counts = np.asarray(repeats)
    if counts.size != 1:
        rows = np.repeat(np.arange(a.shape[axis]), repeats)
        return take(a, namespace(a).asarray(rows), axis)
    # NumPy's own errors for counts that are negative or no integers
    lead, (n, *rest) = a.shape[:axis], a.shape[axis:]
    count = np.repeat(np.empty(min(n, 1)), counts).shape[0]
    spread = p.reshape(a, shape=(*lead, n, 1, *rest))
    spread = p.broadcast_to(spread, shape=(*lead, n, count, *rest))
    return p.reshape(spread, shape=(*lead, n * count, *rest))


@implements(np.tile)
def tile(A: Array, reps: Any) -> Array:
    counts = int_shape(reps)
    rank = max(len(counts), len(A.shape))
    counts = (1,) * (rank - len(counts)) + counts
    shape = (1,) * (rank - len(A.shape)) + A.shape
    out = tuple([c * s for c, s in zip(counts, shape, strict=True)])
    if min(out, default=0) < 0:
        raise ValueError(f"negative dimensions are not allowed: reps={reps}")
    if 0 in shape:
        return p.reshape(A, shape=out)
    spread = p.reshape(A, shape=tuple([n for s in shape for n in (1, s)]))
    full = tuple([n for c, s in zip(counts, shape, strict=True) for n in (c, s)])
    return p.reshape(p.broadcast_to(spread, shape=full), shape=out)


@implements(np.resize)
def resize(a: Array, new_shape: Any) -> Array:
    new = int_shape(new_shape)
    if min(new, default=0) < 0:
        raise ValueError("all elements of `new_shape` must be non-negative")
    flat, size = ravel(a), math.prod(new)
    count = flat.shape[0]
    if size == 0 or count == 0:
        return namespace(a).zeros(new, a.dtype)
    copies = tile(flat, -(-size // count))
    return reshape(index(copies, template=(slice(0, size),)), new)


def _triangle(mask: Any) -> Any:
    def triangle(m: Array, k: int = 0) -> Array:
        if not m.shape:
            raise TypeError("a triangle is taken of matrices, not of a 0-d array")
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


@implements(np.diagflat)
def diagflat(v: Array, k: int = 0) -> Array:
    return diag(ravel(v), k)


@implements(np.trace)
def trace(
    a: Array, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None
) -> Array:
    return np.sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@implements(np.linalg.trace)
def matrix_trace(x: Array, /, *, offset: int = 0, dtype: Any = None) -> Array:
    return trace(x, offset, -2, -1, dtype)


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
    return p.copy(a)


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(
    x: Array,
    window_shape: Any,
    axis: Any = None,
    *,
    subok: bool = False,
    writeable: bool = False,
) -> Array:
    refuse("np.lib.stride_tricks.sliding_window_view", writeable=writeable or None)
    rank = len(x.shape)
    window = int_shape(window_shape)
    if min(window, default=0) < 0:
        raise ValueError("`window_shape` cannot contain negative values")
    axes = tuple(range(rank))
    if axis is not None:
        axes = np.lib.array_utils.normalize_axis_tuple(axis, rank, allow_duplicate=True)
    if len(window) != len(axes):
        raise ValueError(
            f"sliding_window_view: a window_shape of {len(window)} sizes for "
            f"{len(axes)} axes of an array of shape {x.shape}. Give a size for each "
            "axis."
        )
    for i, n in zip(axes, window, strict=True):
        if x.shape[i] < n:
            raise ValueError(
                "window shape cannot be larger than input array shape: a window of "
                f"{n} entries along axis {i} of size {x.shape[i]}"
            )
        # one axis after another, as the same one may come again
        x = move_axis(x, i, len(x.shape) - 1)
        x = windows(x, window=(n,), stride=(1,), dilation=(1,))
        x = move_axis(x, len(x.shape) - 2, i)
    return x
