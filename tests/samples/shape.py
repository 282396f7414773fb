"""Samples of linear functions of shapes, conversions and the plain reductions."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from hypothesis import strategies as st

from samples.table import (
    EVERY,
    EVERY_DTYPE,
    HERE,
    LINEAR,
    SAMPLES,
    Call,
    Distinct,
    Operand,
    Samples,
    axis_of,
    broadcasting,
    dtypes_of,
    extremum_call,
    first,
    jointly,
    reduction_call,
    shapes,
    unary,
)


@st.composite
def _convert_calls(draw: Any, dtypes: str) -> Call:
    dtype = draw(st.sampled_from([*map(np.dtype, dtypes), float]))
    shape = () if dtype is float else draw(shapes())
    target = draw(st.sampled_from([np.dtype(c) for c in dtypes]))
    return Call((Operand(shape, dtype),), {"dtype": target})


def _astype(x: Any, dtype: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        return np.asarray(x).astype(dtype)


SAMPLES["convert"] = Samples(_convert_calls, _astype, smooth=(0,), linear=first)


def _reshape_call(draw: Any) -> Any:
    shape = draw(shapes())
    size = math.prod(shape)
    ones = draw(st.lists(st.integers(0, len(shape)), max_size=2))
    padded = list(shape)
    for place in ones:
        padded.insert(place, 1)
    choices = [(size,), tuple(padded), shape[::-1]]
    if len(shape) > 1:
        choices.append((shape[0], math.prod(shape[1:])))
    return shape, {"shape": draw(st.sampled_from(choices))}


unary("reshape", _reshape_call, np.reshape, **LINEAR)


unary("copy", lambda draw: (draw(shapes()), {}), np.copy, **LINEAR)


def _transpose_call(draw: Any) -> Any:
    shape = draw(shapes())
    return shape, {"axes": tuple(draw(st.permutations(range(len(shape)))))}


unary("transpose", _transpose_call, np.transpose, **LINEAR)


def _broadcast_call(draw: Any) -> Any:
    full = draw(shapes())
    (shape,) = draw(broadcasting(1, full))
    return shape, {"shape": full}


unary("broadcast_to", _broadcast_call, np.broadcast_to, **LINEAR)


unary("reduce_sum", reduction_call, np.sum, **LINEAR)
unary("reduce_prod", reduction_call, np.prod, smooth=(0,), analytic=True)
unary("reduce_any", reduction_call, np.any, kinds="?bilefdFD")
unary("reduce_all", reduction_call, np.all, kinds="?bilefdFD")
unary("reduce_max", extremum_call, np.max, domain=Distinct(), smooth=(0,))
unary("reduce_min", extremum_call, np.min, domain=Distinct(), smooth=(0,))


@st.composite
def _concatenate_calls(draw: Any, dtypes: str) -> Call:
    shape, axis = draw(axis_of())
    operands = []
    for _ in range(draw(st.integers(1, 3))):
        size = draw(st.sampled_from((1, 2, 0)))
        part = (*shape[:axis], size, *shape[axis + 1 :])
        operands.append(Operand(part, draw(dtypes_of(EVERY_DTYPE, dtypes))))
    return Call(tuple(operands), {"axis": axis})


SAMPLES["concatenate"] = Samples(
    _concatenate_calls,
    lambda *parts, axis: np.concatenate(parts, axis),
    smooth=EVERY,
    linear=jointly,
    analytic=True,
)


def _split_call(draw: Any) -> Any:
    shape, axis = draw(axis_of())
    sizes = tuple(draw(st.lists(st.integers(0, 2), min_size=1, max_size=3)))
    shape = (*shape[:axis], sum(sizes), *shape[axis + 1 :])
    return shape, {"sizes": sizes, "axis": axis}


unary(
    "split",
    _split_call,
    lambda x, sizes, axis: tuple(np.split(x, np.cumsum(sizes)[:-1], axis)),
    **LINEAR,
)


def _pad_call(draw: Any) -> Any:
    shape = draw(shapes())
    width = st.integers(0, 2)
    return shape, {"widths": tuple((draw(width), draw(width)) for _ in shape)}


def _pad(x: Any, widths: Any) -> Any:
    return np.pad(x, widths) if widths else x


unary("pad", _pad_call, _pad, **LINEAR)


def _move_call(draw: Any) -> Any:
    return draw(shapes()), {"target": HERE, "source": HERE}


unary("move", _move_call, lambda x, target, source: x, **LINEAR)
