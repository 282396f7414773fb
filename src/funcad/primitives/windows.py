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
================  =====================================  =============================

Window number i of an axis begins at ``i * stride - padding`` and has every
``dilation``-th entry from there; what it has outside of the array is no entry at all.
Parameters are tuples, an item for each of the axes; ``padding`` holds pairs.  ``size``
in parameters is that of these axes in the result.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.counting import Rule, each_operand, entries, untouched
from funcad.core.tracing import Array, Primitive, bind, dtype_of, shape_of
from funcad.primitives.families import linear, sum_of_jvps
from funcad.primitives.indexing import index
from funcad.primitives.parts import leading_parts
from funcad.primitives.shape import (
    Shape,
    batch_first,
    broadcast_to,
    reshape,
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


def sliding_view(x: Array, window: Shape, stride: Shape, dilation: Shape) -> Array:
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


def taps(
    n: Shape, size: Shape, window: Shape, stride: Shape, dilation: Shape, padding: Pairs
) -> Iterator[tuple[Shape, Slices, Slices]]:
    """For each place in the window, which windows have an entry there, and where.

    Yields the place, the windows' slices and the entries' slices.
    """
    axes = []
    for m, count, w, s, d, (before, _) in zip(
        n, size, window, stride, dilation, padding, strict=True
    ):
        places = []
        for step in range(w):
            offset = step * d - before
            first = max(0, -(offset // s))
            last = min(count - 1, (m - 1 - offset) // s)
            if first <= last:
                at = first * s + offset
                entries = slice(at, at + s * (last - first) + 1, s)
                places.append((step, slice(first, last + 1), entries))
        axes.append(places)
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

_LEADING = leading_parts(lambda params: len(params["window"]))


def _windows(x: Array, window: Shape, stride: Shape, dilation: Shape) -> Array:
    view = sliding_view(x, window, stride, dilation)
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
    parts=_LEADING,
    traffic=untouched,
)
_VIEW = """\
    spans = [d * (w - 1) + 1 for w, d in zip(window, dilation)]
    axes = tuple(range(-len(window), 0))
    view = np.lib.stride_tricks.sliding_window_view(x, spans, axes)
    view = view[(..., *[slice(None, None, s) for s in (*stride, *dilation)])]
"""
"""What definitions have in common: the windows over the last axes of x."""

windows.definition = f"""
def windows(x, window, stride, dilation):
{_VIEW}\
    return view
"""


def _fold(y: Array, size: Shape, stride: Shape, dilation: Shape) -> Array:
    rank = len(size)
    lead, count, window = (
        y.shape[: -2 * rank],
        y.shape[-2 * rank : -rank],
        y.shape[-rank:],
    )
    out = namespace(y).zeros((*lead, *size), y.dtype)
    padding = ((0, 0),) * rank
    for place, outer, inner in taps(size, count, window, stride, dilation, padding):
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
    parts=leading_parts(lambda params: 2 * len(params["size"])),
    flops=each_operand(1),
)
fold.definition = """
def fold(y, size, stride, dilation):
    rank = len(size)
    out = np.zeros((*y.shape[: -2 * rank], *size), y.dtype)
    for place in np.ndindex(y.shape[-rank:] if y.size else 0):
        along = zip(place, dilation, stride, y.shape[-2 * rank :])
        inner = [slice(p * d, p * d + s * (n - 1) + 1, s) for p, d, s, n in along]
        out[(..., *inner)] += y[(..., *(slice(None),) * rank, *place)]
    return out
"""

# -------------------------------------------------------------------------- reductions


def _each_tap(weight: float) -> Rule:
    """Operations for each entry of each window."""

    def flops(inputs: Any, outputs: Any, params: Any) -> float:
        return weight * entries(outputs[0]) * math.prod(params["window"])

    return flops


def _pooled_shape(
    shape: Shape, window: Shape, stride: Shape, dilation: Shape, padding: Pairs
) -> Shape:
    lead = len(shape) - len(window)
    axes = zip(shape[lead:], window, stride, dilation, padding, strict=True)
    return (*shape[:lead], *[windows_along(*axis) for axis in axes])


def _taps_of(x: Array, out: Array, window: Shape, /, **geometry: Any) -> Any:
    """Slices of the windows and of the entries, with an ellipsis before them."""
    rank = len(window)
    for _, outer, inner in taps(
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
    parts=_LEADING,
    flops=_each_tap(1),
)
window_sum.definition = f"""
def window_sum(x, window, stride, dilation, padding):
    x = np.pad(x, [(0, 0)] * (x.ndim - len(window)) + list(padding))
{_VIEW}\
    return view.sum(axes)
"""


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
    parts=_LEADING,
    flops=_each_tap(1),
    family="windows",
)
window_max.definition = f"""
def window_max(x, window, stride, dilation, padding):
    kind = x.dtype.kind
    least = -np.inf if kind == "f" else kind in "ui" and np.iinfo(x.dtype).min
    widths = [(0, 0)] * (x.ndim - len(window)) + list(padding)
    x = np.pad(x, widths, constant_values=least)
{_VIEW}\
    return view.max(axes)
"""
window_pick = linear(
    "window_pick",
    _pick,
    lambda t, x, best, **params: (best.shape, t.dtype),
    transpose=lambda ct, t, x, best, **params: window_place(ct, x, best, **params),
    batch=_batch_first(lambda: window_pick),
    parts=_LEADING,
    # a comparison, a product and a sum
    flops=_each_tap(3),
)
window_pick.definition = """
def window_pick(t, x, best, window, stride, dilation, padding):
    widths = [(0, 0)] * (x.ndim - len(window)) + list(padding)
    t, x = np.pad(t, widths), np.pad(x, widths)
    out = np.zeros(best.shape, t.dtype)
    for place in np.ndindex(window if best.size else 0):
        along = zip(place, dilation, stride, best.shape[-len(window) :])
        inner = [slice(p * d, p * d + s * (n - 1) + 1, s) for p, d, s, n in along]
        out += t[(..., *inner)] * (x[(..., *inner)] == best)
    return out
"""
window_place = linear(
    "window_place",
    _place,
    lambda ct, x, best, **params: (x.shape, ct.dtype),
    transpose=lambda t, ct, x, best, **params: window_pick(t, x, best, **params),
    batch=_batch_first(lambda: window_place),
    parts=_LEADING,
    flops=lambda inputs, outputs, params: _each_tap(3)(inputs, inputs, params),
)
window_place.definition = """
def window_place(ct, x, best, window, stride, dilation, padding):
    widths = [(0, 0)] * (x.ndim - len(window)) + list(padding)
    inside = [slice(b, b + n) for n, (b, _) in zip(x.shape, widths)]
    x = np.pad(x, widths)
    out = np.zeros(x.shape, ct.dtype)
    for place in np.ndindex(window if best.size else 0):
        along = zip(place, dilation, stride, best.shape[-len(window) :])
        inner = [slice(p * d, p * d + s * (n - 1) + 1, s) for p, d, s, n in along]
        out[(..., *inner)] += ct * (x[(..., *inner)] == best)
    return out[tuple(inside)]
"""
