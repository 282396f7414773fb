"""Samples of functions along one axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from samples.table import (
    EVERY_DTYPE,
    LINEAR,
    SAMPLES,
    Call,
    Distinct,
    Operand,
    Samples,
    axis_call,
    dtypes_of,
    every,
    shapes,
    unary,
)


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


# ---------------------------------------------------------------------------- sliding


@st.composite
def _sliding_calls(draw: Any, dtypes: str) -> Call:
    lead = draw(shapes(max_rank=2))
    short = draw(st.integers(1, 3))
    long = short + draw(st.integers(0, 3))
    a, v = (draw(dtypes_of(EVERY_DTYPE, dtypes)) for _ in range(2))
    return Call((Operand((*lead, long), a), Operand((*lead, short), v)), {})


def _sliding_dot(a: Any, v: Any) -> Any:
    n = v.shape[-1]
    starts = range(a.shape[-1] - n + 1)
    products = [a[..., k : k + n] * v for k in starts]
    dtype = np.result_type(a, v)
    if dtype.kind == "b":
        return np.stack([x.any(-1) for x in products], -1)
    return np.stack([x.sum(-1, dtype=dtype) for x in products], -1)


SAMPLES["sliding_dot"] = Samples(
    _sliding_calls, _sliding_dot, smooth=(0, 1), linear=every, analytic=True
)
