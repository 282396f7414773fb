"""Samples of Fourier transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from samples.table import first, shapes, unary

_NORMS = st.sampled_from(["backward", "ortho", "forward"])


def _axis_call(draw: Any) -> Any:
    """A shape, one axis of which is not empty, and parameters."""
    shape = draw(shapes(min_rank=1, sizes=(2, 3, 4, 5, 1, 0)))
    axis = draw(st.integers(0, len(shape) - 1))
    shape = (*shape[:axis], shape[axis] or 6, *shape[axis + 1 :])
    return shape, {"axis": axis, "norm": draw(_NORMS)}


def _axes_call(draw: Any) -> Any:
    shape = draw(shapes(min_rank=1, sizes=(2, 3, 4, 5, 1, 0)))
    axes = draw(st.permutations(range(len(shape))))
    axes = tuple(axes[: draw(st.integers(1, len(shape)))])
    shape = tuple(n or (6 if i in axes else 0) for i, n in enumerate(shape))
    params = {"axes": axes, "inverse": draw(st.booleans()), "norm": draw(_NORMS)}
    return shape, params


def _half_call(draw: Any) -> Any:
    shape, params = _axis_call(draw)
    axis = params["axis"]
    n = 2 * shape[axis] - draw(st.integers(1, 2)) or 1
    return shape, {**params, "n": n}


def _fft(x: Any, axes: Any, inverse: bool, norm: str) -> Any:
    """One axis after another, by the definition."""
    out = np.asarray(x) * np.ones((), np.result_type(x.dtype, 1j))
    for axis in axes:
        n = out.shape[axis]
        grid = np.outer(np.arange(n), np.arange(n))
        matrix = np.exp((2j if inverse else -2j) * np.pi * grid / n)
        backward = norm == "backward"
        power = 0.5 if norm == "ortho" else float(backward == inverse)
        moved = np.moveaxis(out, axis, -1) @ matrix / n**power
        out = np.moveaxis(moved, -1, axis)
    return out.astype(np.result_type(x.dtype, 1j))


def _irfft(x: Any, axis: int, n: int, norm: str) -> Any:
    return np.fft.irfft(x, n, axis=axis, norm=norm)


unary("fft", _axes_call, _fft, smooth=(0,), linear=first)
unary("rfft", _axis_call, np.fft.rfft, "?bilefd", smooth=(0,), linear=first)
unary("irfft", _half_call, _irfft, smooth=(0,), linear=first)
