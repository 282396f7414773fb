"""Calls of functions that make views of windows."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from functions.table import of_one, row
from samples.table import shapes


def _sliding(draw: Any) -> Any:
    shape = draw(shapes(sizes=(2, 3, 4, 1, 0)))
    rank = len(shape)
    axes = range(rank)
    params: dict[str, Any] = {}
    if rank and draw(st.booleans()):
        # the same axis may come twice
        axes = draw(st.lists(st.integers(-rank, rank - 1), max_size=3))
        params["axis"] = tuple(axes)
    left = list(shape)
    window = []
    for axis in axes:
        window.append(draw(st.integers(0, left[axis])))
        left[axis] -= window[-1] - 1
    params["window_shape"] = tuple(window)
    if len(window) == 1 and draw(st.booleans()):
        params["window_shape"] = window[0]
    return shape, params


row("lib.stride_tricks.sliding_window_view", of_one(_sliding))
