"""Samples of sorting and of searching in what is sorted."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from samples.table import (
    EVERY_DTYPE,
    SAMPLES,
    Call,
    Distinct,
    Generator,
    Operand,
    Samples,
    Shape,
    axis_call,
    dtypes_of,
    shapes,
    unary,
)


class Ascending(NamedTuple):
    """Entries in order along the last axis."""

    def draw(self, rng: Generator, shape: Shape, dtype: np.dtype) -> np.ndarray:
        return np.sort(Distinct().draw(rng, shape, dtype), axis=-1)


def _argpartition_call(draw: Any) -> Any:
    shape, params = axis_call(draw, allow_empty=False)
    n = shape[params["axis"]]
    kth = st.integers(-n, n - 1)
    return shape, params | {"kth": draw(st.one_of(kth, st.tuples(kth, kth)))}


@st.composite
def _searchsorted_calls(draw: Any, dtypes: str) -> Call:
    lead = draw(shapes(max_rank=1))
    n, m = draw(st.integers(0, 4)), draw(shapes(max_rank=2))
    a, v = (draw(dtypes_of(EVERY_DTYPE, dtypes)) for _ in range(2))
    operands = (
        Operand((*lead, n), a, Ascending()),
        Operand((*lead, *m), v, Distinct()),
    )
    return Call(operands, {"side": draw(st.sampled_from(["left", "right"]))})


def _searchsorted(a: Any, v: Any, side: str) -> Any:
    out = np.empty(v.shape, np.intp)
    for row in np.ndindex(a.shape[:-1]):
        for place in np.ndindex(v.shape[a.ndim - 1 :]):
            x = v[(*row, *place)]
            before = a[row] < x if side == "left" else a[row] <= x
            out[(*row, *place)] = np.sum(before)
    return out


unary(
    "argsort",
    axis_call,
    functools.partial(np.argsort, kind="stable"),
    domain=Distinct(),
)
unary("sort", axis_call, np.sort, domain=Distinct(), smooth=(0,))
unary("argpartition", _argpartition_call, np.argpartition, domain=Distinct())
SAMPLES["searchsorted"] = Samples(_searchsorted_calls, _searchsorted)
