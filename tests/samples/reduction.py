"""Samples of functions along one axis."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from hypothesis import strategies as st

from samples.table import LINEAR, Distinct, axis_call, unary


def _argmax_call(draw: Any) -> Any:
    return axis_call(draw, allow_empty=False)


def _cumsum_call(draw: Any) -> Any:
    shape, params = axis_call(draw)
    return shape, params | {"reverse": draw(st.booleans())}


def _cumsum(x: Any, axis: int, reverse: bool) -> Any:
    return (
        np.flip(np.cumsum(np.flip(x, axis), axis), axis)
        if reverse
        else np.cumsum(x, axis)
    )


unary("cumsum", _cumsum_call, _cumsum, **LINEAR)
unary("cumprod", axis_call, np.cumprod, smooth=(0,), analytic=True)
for _name, _ufunc in (("cummax", np.maximum), ("cummin", np.minimum)):
    unary(_name, axis_call, _ufunc.accumulate, domain=Distinct(), smooth=(0,))
unary("argmax", _argmax_call, np.argmax, domain=Distinct())
unary("argmin", _argmax_call, np.argmin, domain=Distinct())
unary(
    "argsort",
    axis_call,
    functools.partial(np.argsort, kind="stable"),
    domain=Distinct(),
)
unary("sort", axis_call, np.sort, domain=Distinct(), smooth=(0,))
