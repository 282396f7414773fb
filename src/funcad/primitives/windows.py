"""Windows that slide over the last axes: as a view, and reduced where they stand.

================  =====================================  =============================
primitive         meaning                                transpose
================  =====================================  =============================
``windows``       each window's entries, a view          ``fold``
``fold``          windows put back, overlaps added up    ``windows``
``window_sum``    sum of each window                     ``fold`` of equal entries
``window_max``    largest entry of each window
``window_pick``   sum of the entries of t where x is     ``window_place``
                  the maximum of the window
``window_place``  to all places where x is the maximum   ``window_pick``
``conv``          y from x and k, as a correlation       see :func:`convolving`
``conv_back``     x from y and k, its transpose in x     see :func:`convolving`
``conv_kernel``   k from x and y, its transpose in k     see :func:`convolving`
================  =====================================  =============================

Window number i of an axis begins at ``i * stride - padding`` and has every
``dilation``-th entry from there; what it has outside of the array is no entry at all
(for a convolution, zero).  Parameters are tuples, an item for each of the axes;
``padding`` holds pairs.  ``size`` in parameters is that of these axes in the result.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.tracing import Array, Primitive, bind, dtype_of, shape_of
from funcad.primitives.families import linear, multilinear, sum_of_jvps
from funcad.primitives.indexing import index
from funcad.primitives.shape import (
    Shape,
    batch_first,
    broadcast_to,
    move_axis,
    reshape,
    sum_to,
)

Pairs = tuple[tuple[int, int], ...]
Slices = tuple[slice, ...]


def extent(window: int, dilation: int) -> int:
    """From the first entry of a window to the last."""
    return dilation * (window - 1) + 1


def windows_along(
    n: int, window: int, stride: int, dilation: int, padding: tuple[int, int] = (0, 0)
) -> int:
    """How many windows fit into ``n`` entries and the padding; at most 0 if none."""
    return (n + sum(padding) - extent(window, dilation)) // stride + 1


def _view(x: Array, window: Shape, stride: Shape, dilation: Shape) -> Array:
    """Windows over the last axes: (..., size of the result, window)."""
    lead = x.ndim - len(window)
    size = [
        windows_along(*axis)
        for axis in zip(x.shape[lead:], window, stride, dilation, strict=True)
    ]
    steps = x.strides[lead:]
    return namespace(x).lib.stride_tricks.as_strided(
        x,
        (*x.shape[:lead], *size, *window),
        (
            *x.strides[:lead],
            *(s * step for s, step in zip(stride, steps, strict=True)),
            *(d * step for d, step in zip(dilation, steps, strict=True)),
        ),
    )


def _taps(
    n: Shape, size: Shape, window: Shape, stride: Shape, dilation: Shape, padding: Pairs
) -> Iterator[tuple[Shape, Slices, Slices]]:
    """For each place in the window, which windows have an entry there, and where.

    Yields the place, the windows' slices and the entries' slices.
    """
    axes = []
    for m, count, w, s, d, (before, _) in zip(
        n, size, window, stride, dilation, padding, strict=True
    ):
        taps = []
        for step in range(w):
            offset = step * d - before
            first = max(0, -(offset // s))
            last = min(count - 1, (m - 1 - offset) // s)
            if first <= last:
                at = first * s + offset
                entries = slice(at, at + s * (last - first) + 1, s)
                taps.append((step, slice(first, last + 1), entries))
        axes.append(taps)
    for taken in itertools.product(*axes):
        place, outer, inner = (tuple([tap[i] for tap in taken]) for i in range(3))
        yield place, outer, inner  # type: ignore[misc]


def _batch_first(primitive: Any) -> Any:
    """Batch rule of what leaves all axes but the last ones alone."""

    def batch(values: Any, axes: Any, /, **params: Any) -> tuple[Array, int]:
        size = next(v.shape[a] for v, a in zip(values, axes) if a is not None)
        values = [
            broadcast_to(v, shape=(size, *shape_of(v)))
            if a is None
            else batch_first(v, a)
            for v, a in zip(values, axes)
        ]
        return bind(primitive(), values, params), 0

    return batch


# --------------------------------------------------------------------- views and back


def _windows(x: Array, window: Shape, stride: Shape, dilation: Shape) -> Array:
    view = _view(x, window, stride, dilation)
    if namespace(x) is np:
        view.flags.writeable = False  # an entry of x is in many places
    return view


def _windows_abstract(
    x: Any, window: Shape, stride: Shape, dilation: Shape
) -> tuple[Shape, Any]:
    lead = len(x.shape) - len(window)
    axes = zip(x.shape[lead:], window, stride, dilation, strict=True)
    size = [windows_along(*axis) for axis in axes]
    return (*x.shape[:lead], *size, *window), x.dtype


def _windows_transpose(
    ct: Array, x: Any, window: Shape, stride: Shape, dilation: Shape
) -> Array:
    size = x.shape[len(x.shape) - len(window) :]
    return fold(ct, size=size, stride=stride, dilation=dilation)


windows = linear(
    "windows",
    _windows,
    _windows_abstract,
    transpose=_windows_transpose,
    batch=_batch_first(lambda: windows),
)


def _fold(y: Array, size: Shape, stride: Shape, dilation: Shape) -> Array:
    rank = len(size)
    lead, count, window = (
        y.shape[: -2 * rank],
        y.shape[-2 * rank : -rank],
        y.shape[-rank:],
    )
    out = namespace(y).zeros((*lead, *size), y.dtype)
    padding = ((0, 0),) * rank
    for place, outer, inner in _taps(size, count, window, stride, dilation, padding):
        out[(..., *inner)] += y[(..., *outer, *place)]
    return out


fold = linear(
    "fold",
    _fold,
    lambda y, size, stride, dilation: (
        (*y.shape[: -2 * len(size)], *size),
        y.dtype,
    ),
    transpose=lambda ct, y, size, stride, dilation: windows(
        ct, window=y.shape[-len(size) :], stride=stride, dilation=dilation
    ),
    batch=_batch_first(lambda: fold),
)

# -------------------------------------------------------------------------- reductions


def _pooled_shape(
    shape: Shape, window: Shape, stride: Shape, dilation: Shape, padding: Pairs
) -> Shape:
    lead = len(shape) - len(window)
    axes = zip(shape[lead:], window, stride, dilation, padding, strict=True)
    return (*shape[:lead], *[windows_along(*axis) for axis in axes])


def _taps_of(x: Array, out: Array, window: Shape, /, **geometry: Any) -> Any:
    """Slices of the windows and of the entries, with an ellipsis before them."""
    rank = len(window)
    for _, outer, inner in _taps(
        x.shape[x.ndim - rank :], out.shape[x.ndim - rank :], window, **geometry
    ):
        yield (..., *outer), (..., *inner)


def _window_sum(x: Array, window: Shape, **geometry: Any) -> Array:
    out = namespace(x).zeros(*_window_sum_abstract(x, window, **geometry))
    for outer, inner in _taps_of(x, out, window, **geometry):
        out[outer] += x[inner]
    return out


def _window_sum_abstract(x: Any, window: Shape, **geometry: Any) -> tuple[Shape, Any]:
    dtype = x.dtype
    if dtype.kind in "bui":
        dtype = np.empty(0, dtype).sum().dtype
    return _pooled_shape(x.shape, window, **geometry), dtype


def _window_sum_transpose(
    ct: Array, x: Any, window: Shape, stride: Shape, dilation: Shape, padding: Pairs
) -> Array:
    rank = len(window)
    entries = x.shape[len(x.shape) - rank :]
    padded = [n + b + a for n, (b, a) in zip(entries, padding, strict=True)]
    repeated = reshape(ct, shape=(*ct.shape, *(1,) * rank))
    repeated = broadcast_to(repeated, shape=(*ct.shape, *window))
    out = fold(repeated, size=tuple(padded), stride=stride, dilation=dilation)
    if tuple(padded) != entries:
        inside = [slice(b, b + n) for n, (b, _) in zip(entries, padding, strict=True)]
        out = index(out, template=(..., *inside))
    return out


window_sum = linear(
    "window_sum",
    _window_sum,
    _window_sum_abstract,
    transpose=_window_sum_transpose,
    batch=_batch_first(lambda: window_sum),
)


def _least(dtype: Any) -> Any:
    if dtype.kind == "f":
        return -np.inf
    return np.iinfo(dtype).min if dtype.kind in "ui" else False


def _window_max(x: Array, window: Shape, **geometry: Any) -> Array:
    shape = _pooled_shape(x.shape, window, **geometry)
    out = namespace(x).full(shape, _least(x.dtype), x.dtype)
    for outer, inner in _taps_of(x, out, window, **geometry):
        np.maximum(out[outer], x[inner], out=out[outer])
    return out


def _pick(t: Array, x: Array, best: Array, window: Shape, **geometry: Any) -> Array:
    out = namespace(t).zeros(best.shape, t.dtype)
    for outer, inner in _taps_of(x, best, window, **geometry):
        out[outer] += t[inner] * (x[inner] == best[outer])
    return out


def _place(ct: Array, x: Array, best: Array, window: Shape, **geometry: Any) -> Array:
    out = namespace(ct).zeros(x.shape, ct.dtype)
    for outer, inner in _taps_of(x, best, window, **geometry):
        out[inner] += ct[outer] * (x[inner] == best[outer])
    return out


def _window_max_jvp(t: Array, ans: Array, x: Array, **params: Any) -> Array:
    """Where several entries attain the maximum, each gets an equal share."""
    xp = namespace(x)
    ones = xp.broadcast_to(xp.ones((), dtype_of(x)), shape_of(x))
    return window_pick(t, x, ans, **params) / window_pick(ones, x, ans, **params)


window_max = Primitive(
    "window_max",
    _window_max,
    lambda x, window, **geometry: (
        _pooled_shape(x.shape, window, **geometry),
        x.dtype,
    ),
    jvp=sum_of_jvps(_window_max_jvp),
    batch=_batch_first(lambda: window_max),
    family="windows",
)
window_pick = linear(
    "window_pick",
    _pick,
    lambda t, x, best, **params: (best.shape, t.dtype),
    transpose=lambda ct, t, x, best, **params: window_place(ct, x, best, **params),
    batch=_batch_first(lambda: window_pick),
)
window_place = linear(
    "window_place",
    _place,
    lambda ct, x, best, **params: (x.shape, ct.dtype),
    transpose=lambda t, ct, x, best, **params: window_pick(t, x, best, **params),
    batch=_batch_first(lambda: window_place),
)

# ------------------------------------------------------------------------ convolutions

# A convolution is a trilinear form: the sum of k * x * y over windows, their places and
# all of these axes, which are samples, groups, and channels of a group in x and in y.
_AXES = {"x": "ngc", "k": "goc", "y": "ngo"}

_BLOCK = 1 << 20
"""Bytes of a block of columns, which should stay in a core's cache."""

_BLOCK_ON_DEVICE = 1 << 28
"""The same where each call costs more and there is no such cache."""

_COLUMNS = 256
"""Columns below which a matrix product is slow."""


def _samples_in_block(x: Array, window: Shape, size: Shape) -> int:
    """How many samples have columns that fit into fast memory together."""
    positions = math.prod(size)
    bytes_each = math.prod((*x.shape[1:3], *window)) * positions * x.itemsize
    limit = _BLOCK if namespace(x) is np else _BLOCK_ON_DEVICE
    most = max(limit // bytes_each, -(-_COLUMNS // positions), 1)
    blocks = -(-x.shape[0] // most)
    return -(-x.shape[0] // blocks)


def _blocks(samples: int, step: int) -> Iterator[slice]:
    for start in range(0, samples, step):
        yield slice(start, min(start + step, samples))


def _columns(
    x: Array,
    window: Shape,
    size: Shape,
    stride: Shape,
    padding: Pairs,
    dilation: Shape,
) -> Iterator[tuple[slice, Array]]:
    """Blocks of samples, and what is under each of their windows.

    As an array of shape (groups, channels * window, samples * windows), which the next
    block's is written over.
    """
    xp = namespace(x)
    samples, groups, channels = x.shape[:3]
    step = _samples_in_block(x, window, size)
    source = x
    if any(map(any, padding)):
        source = xp.zeros((step, groups, channels, *_padded(x, padding)), x.dtype)
    rank = len(window)
    last = range(3, 3 + rank)
    view = _view(source, window, stride, dilation)
    view = view.transpose(1, 2, *[i + rank for i in last], 0, *last)
    everything = (slice(None),) * (2 + rank)
    columns = None
    for block in _blocks(samples, step):
        here, count = block, block.stop - block.start
        if source is not x:
            here = slice(count)
            source[(here, ..., *_inside(x.shape[3:], padding))] = x[block]
        if columns is None or count < step:
            columns = xp.empty((groups, channels, *window, count, *size), x.dtype)
        columns[...] = view[(*everything, here)]
        yield block, columns.reshape(groups, channels * math.prod(window), -1)


def _padded(x: Array, padding: Pairs) -> list[int]:
    return [n + b + a for n, (b, a) in zip(x.shape[3:], padding, strict=True)]


def _inside(size: Shape, padding: Pairs) -> Slices:
    return tuple(slice(b, b + n) for n, (b, _) in zip(size, padding, strict=True))


def _rows(y: Array) -> Array:
    """(samples, groups, channels, *size) as (groups, channels, samples * size)."""
    rows = y.transpose(1, 2, 0, *range(3, y.ndim)).reshape(y.shape[1], y.shape[2], -1)
    # a broadcast cotangent would keep BLAS away
    return namespace(y).ascontiguousarray(rows)


def _conv(x: Array, k: Array, size: Shape, **geometry: Any) -> Array:
    groups, channels = k.shape[:2]
    y = namespace(x).zeros((x.shape[0], groups, channels, *size), x.dtype)
    if not (y.size and k.size):
        return y
    matrices = k.reshape(groups, channels, -1)
    for block, columns in _columns(x, k.shape[3:], size, **geometry):
        product = matrices @ columns
        part = product.reshape(groups, channels, -1, *size)
        y[block] = part.transpose(2, 0, 1, *range(3, y.ndim))
    return y


def _conv_kernel(x: Array, y: Array, size: Shape, **geometry: Any) -> Array:
    shape = (*y.shape[1:3], x.shape[2], *size)
    k = namespace(x).zeros((*y.shape[1:3], x.shape[2] * math.prod(size)), x.dtype)
    if k.size and y.size:
        for block, columns in _columns(x, size, y.shape[3:], **geometry):
            k += _rows(y[block]) @ columns.swapaxes(-1, -2)
    return k.reshape(shape)


def _conv_back(
    y: Array, k: Array, size: Shape, stride: Shape, padding: Pairs, dilation: Shape
) -> Array:
    groups, outputs, channels, *window = k.shape
    x = namespace(y).zeros((y.shape[0], groups, channels, *size), y.dtype)
    if not (x.size and y.size and k.size):
        return x
    reach = [extent(w, d) - 1 for w, d in zip(window, dilation, strict=True)]
    rest = tuple([(r - b, r - a) for r, (b, a) in zip(reach, padding, strict=True)])
    if outputs <= channels and set(stride) == {1} and min(map(min, rest)) >= 0:
        # to gather the fewer windows of y takes less time than to add up those of x
        flipped = k.swapaxes(1, 2)[(..., *[slice(None, None, -1)] * len(window))]
        return _conv(y, flipped, size, stride=stride, padding=rest, dilation=dilation)
    padded = tuple(_padded(x, padding))
    whole = padded == size
    matrices = k.reshape(groups, outputs, -1).swapaxes(-1, -2)
    count = y.shape[3:]
    none = ((0, 0),) * len(size)
    for block in _blocks(len(x), _samples_in_block(x, tuple(window), count)):
        rows = _rows(y[block])
        columns = matrices * rows if outputs == 1 else matrices @ rows
        columns = columns.reshape(groups, channels, *window, -1, *count)
        out = x[block]
        if not whole:
            out = namespace(y).zeros((*out.shape[:3], *padded), y.dtype)
        for place, outer, inner in _taps(
            padded, count, tuple(window), stride, dilation, none
        ):
            part = columns[(slice(None), slice(None), *place, slice(None), *outer)]
            out[(..., *inner)] += part.transpose(2, 0, 1, *range(3, x.ndim))
        if not whole:
            x[block] = out[(..., *_inside(size, padding))]
    return x


def convolving(name: str, impl: Any, operands: str, result: str) -> Primitive:
    """Two of the arrays of a convolution, in ``operands``, to the third one.

    The sum of k * x * y is linear in each of the three, and each of the primitives is
    its derivative with respect to one of them, so that they are closed under
    transposition.  A batch axis joins the axis of samples, groups or channels that all
    arrays have which it is an axis of, and no others.
    """

    def wide(a: Array, b: Array, **params: Any) -> Array:
        dtype = np.result_type(a.dtype, b.dtype)
        # there are no fast products of half precision on a CPU, nor accurate sums
        half = dtype.char == "e"
        a, b = (v.astype("f" if half else dtype, copy=False) for v in (a, b))
        out = impl(a, b, **params)
        return out.astype(dtype) if half else out

    def abstract(*values: Any, size: Shape, **geometry: Any) -> tuple[Shape, Any]:
        sizes: dict[str, int] = {}
        for letter, value in zip(operands, values, strict=True):
            sizes.update(zip(_AXES[letter], value.shape[:3], strict=True))
        lead = [sizes[axis] for axis in _AXES[result]]
        return (*lead, *size), np.result_type(*[v.dtype for v in values])

    def transpose_in(target: str) -> Any:
        def transpose(ct: Array, aval: Any, *values: Any, size: Shape, **geometry: Any):
            arrays = dict(zip(operands, values, strict=True)) | {result: ct}
            primitive, order = _CONVOLVING[target]
            pair = [arrays[letter] for letter in order]
            out = primitive(*pair, size=aval.shape[3:], **geometry)
            return sum_to(out, aval)

        return transpose

    def batch(values: Any, axes: Any, /, **params: Any) -> tuple[Array, int]:
        batched = [
            o for o, axis in zip(operands, axes, strict=True) if axis is not None
        ]
        shared = set.intersection(*[set(_AXES[o]) for o in [*batched, result]])
        (joined,) = shared - {"g"} or shared
        merged = []
        for o, value, axis in zip(operands, values, axes, strict=True):
            if axis is not None:
                place = _AXES[o].index(joined)
                value = move_axis(value, axis, place)
                pair = value.shape[place : place + 2]
                before, after = value.shape[:place], value.shape[place + 2 :]
                value = reshape(value, shape=(*before, math.prod(pair), *after))
            merged.append(value)
        out = bind(primitive, merged, params)
        place = _AXES[result].index(joined)
        before, after = out.shape[:place], out.shape[place + 1 :]
        return reshape(out, shape=(*before, *pair, *after)), place

    primitive = multilinear(
        name,
        wide,
        abstract,
        transposes=[transpose_in(operand) for operand in operands],
        batch=batch,
    )
    return primitive


conv = convolving("conv", _conv, "xk", "y")
conv_back = convolving("conv_back", _conv_back, "yk", "x")
conv_kernel = convolving("conv_kernel", _conv_kernel, "xy", "k")
_CONVOLVING = {"y": (conv, "xk"), "x": (conv_back, "yk"), "k": (conv_kernel, "xy")}
