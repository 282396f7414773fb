"""Convolutions: a trilinear form of an array, a kernel and the result, in its parts.

===============  ==========================================  ========================
primitive        meaning                                     transposes
===============  ==========================================  ========================
``conv``         y from x and k, as a correlation            ``conv_back`` in x,
                                                             ``conv_kernel`` in k
``conv_back``    x from y and k                              ``conv`` in y,
                                                             ``conv_kernel`` in k
``conv_kernel``  k from x and y                              ``conv_back`` in x,
                                                             ``conv`` in y
===============  ==========================================  ========================

The kernel slides over the last axes as the windows of
:mod:`~funcad.primitives.windows` do, which says what ``stride``, ``dilation``,
``padding`` and ``size`` are; outside of the array there are zeros.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.tracing import Array, Params, Primitive, bind
from funcad.primitives.families import multilinear
from funcad.primitives.parts import SUM, Axes, Parts
from funcad.primitives.shape import Shape, move_axis, reshape, sum_to
from funcad.primitives.windows import Pairs, Slices, extent, sliding_view, taps

# The form is the sum of k * x * y over windows, their places and all of these axes,
# which are samples, groups, and channels of a group in x and in y.
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
    view = sliding_view(source, window, stride, dilation)
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
        for place, outer, inner in taps(
            padded, count, tuple(window), stride, dilation, none
        ):
            part = columns[(slice(None), slice(None), *place, slice(None), *outer)]
            out[(..., *inner)] += part.transpose(2, 0, 1, *range(3, x.ndim))
        if not whole:
            x[block] = out[(..., *_inside(size, padding))]
    return x


def _products(arrays: dict[str, Any]) -> int:
    y, k = arrays["y"], arrays["k"]
    each = 8 if any(v.dtype.kind == "c" for v in arrays.values()) else 2
    return each * math.prod(y.shape) * math.prod(k.shape[2:])


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

    def parts(
        axes: Axes, shapes: Sequence[Shape], params: Params, count: int
    ) -> Parts | None:
        given = {
            _AXES[o][a] if a < 3 else None
            for o, a in zip(operands, axes, strict=True)
            if a is not None
        }
        (shared, *more) = given
        if more or shared is None:
            return None
        *wanted, place = [_AXES[o].find(shared) for o in (*operands, result)]
        results = (SUM if place < 0 else place,)
        return Parts(tuple([None if a < 0 else a for a in wanted]), results, params)

    primitive = multilinear(
        name,
        wide,
        abstract,
        transposes=[transpose_in(operand) for operand in operands],
        batch=batch,
        parts=parts,
        # a product and a sum for each entry of the kernel, in each window
        flops=lambda inputs, outputs, params: _products(
            dict(zip((*operands, result), (*inputs, *outputs), strict=True))
        ),
    )
    return primitive


conv = convolving("conv", _conv, "xk", "y")
conv_back = convolving("conv_back", _conv_back, "yk", "x")
conv_kernel = convolving("conv_kernel", _conv_kernel, "xy", "k")
_CONVOLVING = {"y": (conv, "xk"), "x": (conv_back, "yk"), "k": (conv_kernel, "xy")}

# what NumPy alone computes them by: a product of matrices for each place in the window
conv.definition = """
def conv(x, k, size, stride, padding, dilation):
    dtype = np.result_type(x, k)
    x, k = (v.astype("f" if dtype.char == "e" else dtype) for v in (x, k))
    x = np.pad(x, [(0, 0)] * 3 + list(padding))
    y = np.zeros((len(x), *k.shape[:2], *size), x.dtype)
    for place in np.ndindex(k.shape[3:] if y.size else 0):
        along = zip(place, dilation, stride, size)
        inner = [slice(p * d, p * d + s * (n - 1) + 1, s) for p, d, s, n in along]
        y += np.einsum("goc,ngc...->ngo...", k[(..., *place)], x[(..., *inner)])
    return y.astype(dtype)
"""
conv_back.definition = """
def conv_back(y, k, size, stride, padding, dilation):
    dtype = np.result_type(y, k)
    y, k = (v.astype("f" if dtype.char == "e" else dtype) for v in (y, k))
    padded = [n + b + a for n, (b, a) in zip(size, padding)]
    x = np.zeros((len(y), k.shape[0], k.shape[2], *padded), y.dtype)
    for place in np.ndindex(k.shape[3:] if y.size else 0):
        along = zip(place, dilation, stride, y.shape[3:])
        inner = [slice(p * d, p * d + s * (n - 1) + 1, s) for p, d, s, n in along]
        x[(..., *inner)] += np.einsum("goc,ngo...->ngc...", k[(..., *place)], y)
    inside = [slice(b, b + n) for n, (b, _) in zip(size, padding)]
    return x[(..., *inside)].astype(dtype)
"""
conv_kernel.definition = """
def conv_kernel(x, y, size, stride, padding, dilation):
    dtype = np.result_type(x, y)
    x, y = (v.astype("f" if dtype.char == "e" else dtype) for v in (x, y))
    x = np.pad(x, [(0, 0)] * 3 + list(padding))
    k = np.zeros((*y.shape[1:3], x.shape[2], *size), x.dtype)
    rows = y.reshape(*y.shape[:3], int(np.prod(y.shape[3:])))
    for place in np.ndindex(size if y.size else 0):
        along = zip(place, dilation, stride, y.shape[3:])
        inner = [slice(p * d, p * d + s * (n - 1) + 1, s) for p, d, s, n in along]
        columns = x[(..., *inner)].reshape(*x.shape[:3], rows.shape[3])
        k[(..., *place)] = np.einsum("ngcp,ngop->goc", columns, rows)
    return k.astype(dtype)
"""
