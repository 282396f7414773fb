"""Samples of the primitives of checkpoints, and of the identities that serve them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from funcad.core.tracing import Primitive
from samples.calls import pairs, staged, weighted
from samples.table import (
    SAMPLES,
    Call,
    Operand,
    Samples,
    dtypes_of,
    first,
    shapes,
    unary,
)

unary(
    "barrier",
    lambda draw: (draw(shapes()), {}),
    lambda x: x,
    smooth=(0,),
    linear=first,
    analytic=True,
)
unary(
    "name",
    lambda draw: (draw(shapes()), {"name": "x"}),
    lambda x, name: x,
    smooth=(0,),
    linear=first,
    analytic=True,
)


def checkpoint_weighted(primitive: Primitive, x: Any, y: Any) -> Any:
    return primitive(x, y, program=staged(weighted, x, y), saved=1)


SAMPLES["checkpoint_call"] = SAMPLES["jit_call"]._replace(through=checkpoint_weighted)

# Three layers, of which the schedule holds the state before the last one.
SCHEDULE = {"length": 4, "strategy": "revolve", "slots": 2}


def chain_weighted(primitive: Primitive, x: Any, y: Any) -> Any:
    once = staged(lambda x, y: x * np.cos(y), x, y)
    again = staged(lambda y, x: x * np.cos(y), y, once.outputs[0])
    third = staged(lambda y, x: x * np.cos(y), y, again.outputs[0])
    return primitive(x, y, y, y, programs=(once, again, third), **SCHEDULE)


SAMPLES["chain_call"] = Samples(
    pairs,
    lambda x, y: (x * np.cos(y) * np.cos(y) * np.cos(y), x * np.cos(y) * np.cos(y)),
    smooth=(0, 1),
    linear=first,
    analytic=True,
    through=chain_weighted,
)


@st.composite
def triples(draw: Any, dtypes: str) -> Call:
    """A state, a state that is held, and a tangent."""
    shape, dtype = draw(shapes()), draw(dtypes_of("fdFD", dtypes))
    return Call((Operand(shape, dtype),) * 3, {})


def chain_of_sines(primitive: Primitive, x: Any, held: Any, t: Any) -> Any:
    layers = (staged(np.sin, x),) * 3
    return primitive(x, held, t, programs=layers, mask=(True,), **SCHEDULE)


def tangents_of_sines(x: Any, held: Any, t: Any) -> Any:
    before = np.cos(np.sin(x)) * (np.cos(x) * t)
    return np.cos(held) * before, before


SAMPLES["chain_tangent"] = Samples(
    triples,
    tangents_of_sines,
    smooth=(0, 1, 2),
    linear=lambda n: [(2,)],
    analytic=True,
    through=chain_of_sines,
)
