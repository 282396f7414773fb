"""Calls of Fourier transforms."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from functions.table import of_one, row, some
from samples.table import EVERY_DTYPE, shapes

_REAL = "?bilefd"
_NORMS = [None, "backward", "ortho", "forward"]
_SIZES = (2, 3, 4, 1, 0)


def _filled(draw: Any, shape: Any, axes: Any, least: int) -> Any:
    """The shape, but for axes that have too few entries to be transformed."""
    axes = [a % len(shape) for a in axes]
    return tuple(
        draw(st.integers(least, 5)) if i in axes and n < least else n
        for i, n in enumerate(shape)
    )


def _one_dimension(least: int) -> Any:
    def form(draw: Any) -> Any:
        shape = draw(shapes(min_rank=1, sizes=_SIZES))
        params = some(
            draw,
            n=st.integers(1, 7),
            axis=st.integers(-len(shape), len(shape) - 1),
            norm=_NORMS,
        )
        # zeros are put in where an axis is empty, if its size is given
        if "n" not in params:
            shape = _filled(draw, shape, [params.get("axis", -1)], least)
        return shape, params

    return form


def _many_dimensions(least: int, two: bool) -> Any:
    def form(draw: Any) -> Any:
        shape = draw(shapes(min_rank=2 if two else 1, sizes=_SIZES))
        rank = len(shape)
        axis = st.integers(-rank, rank - 1)
        # the same axis may come twice
        params = some(
            draw, axes=st.lists(axis, min_size=1, max_size=3).map(tuple), norm=_NORMS
        )
        axes = params.get("axes", (-2, -1) if two else range(rank))
        if draw(st.booleans()) and ("axes" in params or two):
            sizes = st.sampled_from((-1, *range(1, 6)))
            params["s"] = tuple(draw(sizes) for _ in axes)
            return _filled(draw, shape, axes, 1), params
        return _filled(draw, shape, axes, least), params

    return form


for _name, _kinds, _least in [
    ("fft", EVERY_DTYPE, 1),
    ("ifft", EVERY_DTYPE, 1),
    ("rfft", _REAL, 1),
    ("irfft", EVERY_DTYPE, 2),
    ("hfft", EVERY_DTYPE, 2),
    ("ihfft", _REAL, 1),
]:
    row(f"fft.{_name}", of_one(_one_dimension(_least), _kinds))

for _name, _kinds, _least in [
    ("fft", EVERY_DTYPE, 1),
    ("ifft", EVERY_DTYPE, 1),
    ("rfft", _REAL, 1),
    ("irfft", EVERY_DTYPE, 2),
]:
    row(f"fft.{_name}2", of_one(_many_dimensions(_least, True), _kinds))
    row(f"fft.{_name}n", of_one(_many_dimensions(_least, False), _kinds))


def _shift(draw: Any) -> Any:
    shape = draw(shapes(min_rank=1))
    axis = st.integers(-len(shape), len(shape) - 1)
    several = st.lists(axis, min_size=1, max_size=3)
    return shape, some(draw, axes=st.one_of(st.none(), axis, several))


row("fft.fftshift", of_one(_shift))
row("fft.ifftshift", of_one(_shift))
