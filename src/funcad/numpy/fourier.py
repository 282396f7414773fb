"""``numpy.fft``: discrete Fourier transforms over any axes, cropped or padded."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcad.core.tracing import Array
from funcad.numpy.dispatch import as_operand, implements, refuse
from funcad.numpy.reductions import axis_of
from funcad.primitives import fft as p
from funcad.primitives.elementwise import conjugate
from funcad.primitives.indexing import index
from funcad.primitives.shape import pad

Sizes = Sequence[int | None] | None
Axes = Sequence[int] | None

# ---------------------------------------------------------------------- one dimension


def _norm(norm: str | None) -> str:
    norm = "backward" if norm is None else norm
    if norm not in p.SWAPPED:
        raise ValueError(
            f'Invalid norm value {norm}; should be "backward", "ortho" or "forward".'
        )
    return norm


def _resized(x: Array, axis: int, size: int) -> Array:
    """The first ``size`` entries along an axis, or all of them and zeros after them."""
    n = x.shape[axis]
    if size < n:
        before = (slice(None),) * axis
        return index(x, template=(*before, slice(size)))
    if size > n:
        widths = [(0, 0)] * len(x.shape)
        widths[axis] = (0, size - n)
        return pad(x, widths=tuple(widths))
    return x


def _points(name: str, n: Any, shape: tuple[int, ...], axis: int) -> int:
    size = operator.index(n)
    if size < 1:
        raise ValueError(
            f"Invalid number of FFT data points ({size}) specified: np.fft.{name} of "
            f"an array of shape {shape} along axis {axis}. Give it n=1 or more."
        )
    return size


def _complex(name: str, inverse: bool) -> Callable[..., Array]:
    def transform(
        a: Array,
        n: int | None = None,
        axis: int = -1,
        norm: str | None = None,
        out: Any = None,
    ) -> Array:
        refuse(f"np.fft.{name}", out=out)
        a, norm = as_operand(a), _norm(norm)
        axis = axis_of(axis, len(a.shape))
        size = _points(name, a.shape[axis] if n is None else n, a.shape, axis)
        x = _resized(a, axis, size)
        return p.fft(x, axes=(axis,), inverse=inverse, norm=norm)

    return transform


fft = implements(np.fft.fft)(_complex("fft", inverse=False))
ifft = implements(np.fft.ifft)(_complex("ifft", inverse=True))


def _check_real(name: str, a: Array) -> None:
    if a.dtype.kind == "c":
        raise TypeError(
            f"np.fft.{name} takes real entries, not {a.dtype}. Write "
            f"np.fft.{name.replace('rfft', 'fft').replace('ihfft', 'ifft')}, or give "
            "it the real part."
        )


@implements(np.fft.rfft)
def rfft(
    a: Array,
    n: int | None = None,
    axis: int = -1,
    norm: str | None = None,
    out: Any = None,
) -> Array:
    refuse("np.fft.rfft", out=out)
    return _rfft("rfft", as_operand(a), n, axis, _norm(norm))


def _rfft(name: str, a: Array, n: Any, axis: int, norm: str) -> Array:
    axis = axis_of(axis, len(a.shape))
    size = _points(name, a.shape[axis] if n is None else n, a.shape, axis)
    _check_real(name, a)
    return p.rfft(_resized(a, axis, size), axis=axis, norm=norm)


@implements(np.fft.irfft)
def irfft(
    a: Array,
    n: int | None = None,
    axis: int = -1,
    norm: str | None = None,
    out: Any = None,
) -> Array:
    refuse("np.fft.irfft", out=out)
    return _irfft("irfft", as_operand(a), n, axis, _norm(norm))


def _irfft(name: str, a: Array, n: Any, axis: int, norm: str) -> Array:
    axis = axis_of(axis, len(a.shape))
    size = 2 * (a.shape[axis] - 1) if n is None else n
    size = _points(name, size, a.shape, axis)
    return p.irfft(_resized(a, axis, size // 2 + 1), axis=axis, n=size, norm=norm)


@implements(np.fft.hfft)
def hfft(
    a: Array,
    n: int | None = None,
    axis: int = -1,
    norm: str | None = None,
    out: Any = None,
) -> Array:
    refuse("np.fft.hfft", out=out)
    a, norm = as_operand(a), p.SWAPPED[_norm(norm)]
    return _irfft("hfft", _conjugate(a), n, axis, norm)


@implements(np.fft.ihfft)
def ihfft(
    a: Array,
    n: int | None = None,
    axis: int = -1,
    norm: str | None = None,
    out: Any = None,
) -> Array:
    refuse("np.fft.ihfft", out=out)
    norm = p.SWAPPED[_norm(norm)]
    return conjugate(_rfft("ihfft", as_operand(a), n, axis, norm))


def _conjugate(a: Array) -> Array:
    return conjugate(a) if a.dtype.kind == "c" else a


# ------------------------------------------------------------------- many dimensions


def _sizes_and_axes(
    name: str, a: Array, s: Sizes, axes: Axes, half: bool = False
) -> tuple[list[int], list[int]]:
    """Sizes and non-negative axes of a transform, by the rules of NumPy 2.

    ``half`` says that the last axis holds half of a spectrum.
    """
    rank = len(a.shape)
    if s is not None and axes is None:
        warnings.warn(
            f"np.fft.{name}: `axes` should not be `None` if `s` is not `None` "
            "(deprecated in NumPy 2.0). Pass axes=range(-len(s), 0).",
            DeprecationWarning,
            stacklevel=4,
        )
        axes = range(-len(s), 0)
    places = range(rank) if axes is None else axes
    places = [axis_of(i, rank) for i in places]
    sizes = [a.shape[i] for i in places]
    if half and sizes:
        sizes[-1] = 2 * (sizes[-1] - 1)
    if s is None:
        return sizes, places
    if len(s) != len(places):
        raise ValueError(
            f"np.fft.{name}: Shape and axes have different lengths: s={s} and "
            f"axes={axes}. Give a size for each axis."
        )
    if None in s:
        warnings.warn(
            f"np.fft.{name}: `None` in `s` is deprecated in NumPy 2.0. Write the size "
            "of the axis in its place.",
            DeprecationWarning,
            stacklevel=4,
        )
    given = [a.shape[i] if n == -1 else n for n, i in zip(s, places, strict=True)]
    return [m if n is None else n for n, m in zip(given, sizes, strict=True)], places


def _last(name: str, places: list[int]) -> int:
    if not places:
        raise IndexError(
            f"np.fft.{name} over no axes: it needs one at least, which is halved."
        )
    return places[-1]


def _over(
    name: str, a: Array, sizes: list[int], places: list[int], inverse: bool, norm: str
) -> Array:
    """Complex transforms over axes, the last one first."""
    if len(set(places)) < len(places):  # the transform of a transform
        for n, i in zip(sizes[::-1], places[::-1], strict=True):
            a = _over(name, a, [n], [i], inverse, norm)
        return a
    if not places:
        return a
    for n, i in zip(sizes, places, strict=True):
        a = _resized(a, i, _points(name, n, a.shape, i))
    return p.fft(a, axes=tuple(places), inverse=inverse, norm=norm)


def _complex_nd(name: str, inverse: bool, default: Axes) -> Callable[..., Array]:
    def transform(
        a: Array,
        s: Sizes = None,
        axes: Axes = default,
        norm: str | None = None,
        out: Any = None,
    ) -> Array:
        refuse(f"np.fft.{name}", out=out)
        a = as_operand(a)
        sizes, places = _sizes_and_axes(name, a, s, axes)
        return _over(name, a, sizes, places, inverse, _norm(norm))

    return transform


def _rfft_nd(name: str, default: Axes) -> Callable[..., Array]:
    def transform(
        a: Array,
        s: Sizes = None,
        axes: Axes = default,
        norm: str | None = None,
        out: Any = None,
    ) -> Array:
        refuse(f"np.fft.{name}", out=out)
        a, norm = as_operand(a), _norm(norm)
        sizes, places = _sizes_and_axes(name, a, s, axes)
        last = _last(name, places)
        a = _rfft(name, a, sizes[-1], last, norm)
        return _over(name, a, sizes[:-1], places[:-1], False, norm)

    return transform


def _irfft_nd(name: str, default: Axes) -> Callable[..., Array]:
    def transform(
        a: Array,
        s: Sizes = None,
        axes: Axes = default,
        norm: str | None = None,
        out: Any = None,
    ) -> Array:
        refuse(f"np.fft.{name}", out=out)
        a, norm = as_operand(a), _norm(norm)
        sizes, places = _sizes_and_axes(name, a, s, axes, half=True)
        last = _last(name, places)
        # NumPy transforms these from the first axis on
        a = _over(name, a, sizes[-2::-1], places[-2::-1], True, norm)
        return _irfft(name, a, sizes[-1], last, norm)

    return transform


fftn = implements(np.fft.fftn)(_complex_nd("fftn", False, None))
ifftn = implements(np.fft.ifftn)(_complex_nd("ifftn", True, None))
fft2 = implements(np.fft.fft2)(_complex_nd("fft2", False, (-2, -1)))
ifft2 = implements(np.fft.ifft2)(_complex_nd("ifft2", True, (-2, -1)))
rfftn = implements(np.fft.rfftn)(_rfft_nd("rfftn", None))
rfft2 = implements(np.fft.rfft2)(_rfft_nd("rfft2", (-2, -1)))
irfftn = implements(np.fft.irfftn)(_irfft_nd("irfftn", None))
irfft2 = implements(np.fft.irfft2)(_irfft_nd("irfft2", (-2, -1)))

# --------------------------------------------------------------------------- shifting


def _shifting(sign: int) -> Callable[..., Array]:
    def shift(x: Array, axes: int | Sequence[int] | None = None) -> Array:
        rank = len(x.shape)
        if axes is None:
            axes = range(rank)
        elif isinstance(axes, (int, np.integer)):
            axes = (axes,)
        places = [axis_of(i, rank) for i in axes]
        halves = [sign * (x.shape[i] // 2) for i in places]
        return np.roll(x, halves, places)

    return shift


fftshift = implements(np.fft.fftshift)(_shifting(1))
ifftshift = implements(np.fft.ifftshift)(_shifting(-1))
