"""Samples of the random bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from samples.table import (
    SAMPLES,
    Call,
    Operand,
    Samples,
    Shape,
    Words,
    broadcasting,
    dtypes_of,
    shapes,
)


@st.composite
def _random_calls(draw: Any, dtypes: str) -> Call:
    batch = draw(shapes(max_rank=2))
    keys, words = draw(broadcasting(2, batch))
    uint64 = np.dtype(np.uint64)
    distribution = draw(st.sampled_from(("bits", "uniform")))
    dtype = uint64 if distribution == "bits" else draw(dtypes_of("fd", "fd"))
    return Call(
        (Operand((*keys, 2), uint64, Words()), Operand(words, uint64, Words())),
        {
            "distribution": distribution,
            "shape": draw(shapes(max_rank=2)),
            "dtype": dtype,
            "stream": draw(st.integers(0, 2)),
        },
    )


def _random(
    key: Any, word: Any, distribution: str, shape: Shape, dtype: Any, stream: int
) -> Any:
    batch = np.broadcast_shapes(key.shape[:-1], np.shape(word))
    keys, words = np.broadcast_to(key, (*batch, 2)), np.broadcast_to(word, batch)
    out = np.empty((*batch, *shape), dtype)
    for place in np.ndindex(batch):
        counter = np.array([0, words[place], 0, stream], np.uint64)
        philox = np.random.Philox(key=keys[place], counter=counter)
        if distribution == "bits":
            out[place] = philox.random_raw(math.prod(shape)).reshape(shape)
        else:
            out[place] = np.random.Generator(philox).random(shape, dtype)
    return out


SAMPLES["random_draw"] = Samples(_random_calls, _random, inexact=False)
