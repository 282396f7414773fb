"""Samples of calls of functions with rules of the user's own, and of foreign code.

Where there is no forward mode, the samples are integers: derivatives of these are in
``transforms/test_custom.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import funcad
from funcad.core.tracing import Primitive, ShapedArray, dtype_of, shape_of
from samples.calls import pairs, staged, weighted
from samples.table import (
    SAMPLES,
    Call,
    Domain,
    Operand,
    Samples,
    dtypes_of,
    first,
    shapes,
    st,
)

with_jvp = funcad.custom_jvp(weighted)


@with_jvp.defjvp
def weighted_jvp(primals: Any, tangents: Any) -> Any:
    (x, y), (s, t) = primals, tangents
    tangent = s * np.cos(y) - x * np.sin(y) * t
    return weighted(x, y), (tangent, np.sum(s))


with_vjp = funcad.custom_vjp(weighted)
with_vjp.defvjp(lambda x, y: (weighted(x, y), None), lambda _, ct: (None, None))

with_vmap = funcad.custom_vmap(weighted)


@with_vmap.def_vmap
def weighted_vmap(size: int, in_batched: Any, x: Any, y: Any) -> Any:
    x_batched, _ = in_batched
    axes = tuple(range(1, x.ndim)) if x_batched else None
    return (x * np.cos(y), np.sum(x, axis=axes)), (True, x_batched)


def through(custom: Any) -> Any:
    """Calls the primitive as the staged function does."""

    def call(primitive: Primitive, x: Any, y: Any) -> Any:
        (equation,) = staged(custom, x, y).equations
        assert equation.primitive is primitive
        return primitive(x, y, **equation.params)

    return call


for _name, _custom in {
    "custom_jvp_call": with_jvp,
    "custom_vmap_call": with_vmap,
}.items():
    SAMPLES[_name] = Samples(
        pairs,
        weighted,
        smooth=(0, 1),
        linear=first,
        analytic=True,
        through=through(_custom),
    )


@st.composite
def integers(draw: Any, dtypes: str) -> Call:
    shape, dtype = draw(shapes()), draw(dtypes_of("bil", dtypes))
    return Call((Operand(shape, dtype), Operand(shape, dtype)), {})


SAMPLES["custom_vjp_call"] = Samples(
    integers, weighted, inexact=False, through=through(with_vjp)
)


def entrywise(x: Any, y: Any) -> Any:
    return x + y


def call_foreign(primitive: Primitive, x: Any, y: Any) -> Any:
    def stage_this(x: Any, y: Any) -> Any:
        out = funcad.ShapeDtypeStruct(shape_of(x), dtype_of(x))
        return funcad.pure_callback(entrywise, out, x, y, vmap_method="sequential")

    (equation,) = staged(stage_this, x, y).equations
    return primitive(x, y, **equation.params)


SAMPLES["pure_callback"] = Samples(
    integers, entrywise, inexact=False, through=call_foreign
)


@st.composite
def zero_tangents(draw: Any, dtypes: str) -> Call:
    shape, dtype = draw(shapes()), draw(dtypes_of("bil", dtypes))
    zero = Domain(((0, 0),), (0,))
    return Call((Operand(shape, dtype), Operand(shape, dtype, zero)), {})


def call_tangent(primitive: Primitive, x: Any, t: Any) -> Any:
    class Nothing:
        def batched(self, *_: Any) -> Nothing:
            return self

    avals = (ShapedArray(shape_of(t), np.dtype(float)),)
    return primitive(x, t, pullback=Nothing(), mask=(True,), avals=avals)


SAMPLES["custom_vjp_tangent"] = Samples(
    zero_tangents,
    lambda x, t: np.zeros(np.shape(t)),
    inexact=False,
    through=call_tangent,
)
