"""Samples of primitives whose parameters hold programs.

Their parameters depend on the operands, so that the programs are staged for these when
the primitive is called.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import funcad
from funcad.core.program import Program
from funcad.core.tracing import Primitive, dtype_of, shape_of
from samples.table import (
    EVERY_DTYPE,
    SAMPLES,
    Call,
    Operand,
    Samples,
    dtypes_of,
    first,
    shapes,
    st,
)


def staged(f: Any, *operands: Any) -> Program:
    """The program of a function of operands like these."""
    structs = [
        x
        if type(x) in (bool, int, float, complex)
        else funcad.ShapeDtypeStruct(shape_of(x), dtype_of(x))
        for x in operands
    ]
    return funcad.make_program(f)(*structs)


@st.composite
def pairs(draw: Any, dtypes: str) -> Call:
    """Two operands of one shape and dtype."""
    shape, dtype = draw(shapes()), draw(dtypes_of(EVERY_DTYPE, dtypes))
    return Call((Operand(shape, dtype), Operand(shape, dtype)), {})


def weighted(x: Any, y: Any) -> Any:
    """Linear in the first operand."""
    return x * np.cos(y), np.sum(x)


def call_weighted(primitive: Primitive, x: Any, y: Any) -> Any:
    return primitive(x, y, program=staged(weighted, x, y), name="weighted")


SAMPLES["jit_call"] = Samples(
    pairs,
    weighted,
    smooth=(0, 1),
    linear=first,
    analytic=True,
    through=call_weighted,
)
