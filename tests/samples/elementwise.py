"""Samples of functions of single entries."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from samples.table import (
    ABOVE_MINUS_ONE,
    ABOVE_ONE,
    DIVIDEND,
    DIVISOR,
    EVERY,
    LEFT,
    NATURAL,
    NONZERO,
    POSITIVE,
    REAL,
    RIGHT,
    SAMPLES,
    SHIFT,
    SMALL,
    TRUTH,
    UNIT,
    Call,
    Operand,
    Samples,
    Shape,
    broadcasting,
    entrywise,
    every,
    first,
    jointly,
    shapes,
)

for _name, _domain in {
    **dict.fromkeys(("exp", "exp2", "expm1", "square"), REAL),
    **dict.fromkeys(("sin", "cos", "sinh", "cosh", "tanh", "arcsinh"), REAL),
    **dict.fromkeys(("log", "log2", "log10", "sqrt"), POSITIVE),
    **dict.fromkeys(("tan",), SMALL),
    **dict.fromkeys(("arcsin", "arccos", "arctan", "arctanh"), UNIT),
    "arccosh": ABOVE_ONE,
    "log1p": ABOVE_MINUS_ONE,
    "reciprocal": NONZERO,
}.items():
    entrywise(_name, _domain, smooth=(0,), analytic=True)

for _name in ("negative", "positive", "conjugate", "real", "imag"):
    entrywise(_name, REAL, smooth=(0,), linear=first)
for _name, _domain in {
    "deg2rad": REAL,
    "rad2deg": REAL,
    "cbrt": NONZERO,
    "absolute": NONZERO,
    "fabs": NONZERO,
    "sign": NONZERO,
}.items():
    entrywise(_name, _domain, smooth=(0,))


entrywise("add", REAL, REAL, smooth=(0, 1), linear=jointly, analytic=True)
entrywise("subtract", REAL, REAL, smooth=(0, 1), linear=jointly, analytic=True)
entrywise("multiply", REAL, REAL, smooth=(0, 1), linear=every, analytic=True)
entrywise("divide", REAL, NONZERO, smooth=(0, 1), linear=first, analytic=True)
entrywise("power", POSITIVE, NATURAL, smooth=(0, 1), analytic=True)
entrywise("float_power", POSITIVE, NATURAL, smooth=(0, 1), analytic=True)
for _name in ("logaddexp", "logaddexp2"):
    entrywise(_name, REAL, REAL, smooth=(0, 1))
for _name in ("hypot", "arctan2"):
    entrywise(_name, NONZERO, NONZERO, smooth=(0, 1))
for _name in ("maximum", "minimum", "fmax", "fmin"):
    entrywise(_name, LEFT, RIGHT, smooth=(0, 1))
entrywise("length", POSITIVE, reference=np.sqrt, smooth=(0,), analytic=True)
entrywise("sinc", REAL, smooth=(0,))
entrywise("fraction", LEFT, reference=lambda x: np.modf(x)[0], smooth=(0,))
entrywise("mantissa", NONZERO, reference=lambda x: np.frexp(x)[0], smooth=(0,))
entrywise("ldexp", REAL, SHIFT, smooth=(0,), linear=first)
entrywise("copysign", NONZERO, NONZERO, smooth=(0, 1))
entrywise("heaviside", LEFT, RIGHT, smooth=(1,))
for _name in ("remainder", "fmod"):
    entrywise(_name, DIVIDEND, DIVISOR, smooth=(0, 1))
entrywise(
    "select",
    TRUTH,
    REAL,
    REAL,
    reference=np.where,
    smooth=(1, 2),
    linear=lambda n: [(1, 2)],
)

entrywise("stop_gradient", REAL, reference=np.array)
entrywise("floor_divide", DIVIDEND, DIVISOR)
for _name in ("floor", "ceil", "trunc", "rint", "signbit"):
    entrywise(_name, LEFT)
for _name in ("isnan", "isinf", "isfinite", "logical_not"):
    entrywise(_name, REAL)
for _name in (
    *("nextafter", "equal", "not_equal", "less", "less_equal", "greater"),
    *("greater_equal", "logical_and", "logical_or", "logical_xor"),
):
    entrywise(_name, LEFT, RIGHT)
entrywise("invert", REAL, inexact=False)
for _name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    entrywise(_name, REAL, REAL, inexact=False)
entrywise("exponent", NONZERO, reference=lambda x: np.frexp(x)[1])
entrywise("spacing", NONZERO)
for _name in ("gcd", "lcm"):
    entrywise(_name, REAL, REAL, inexact=False)
entrywise("bitwise_count", REAL, inexact=False)
for _name in ("left_shift", "right_shift"):
    entrywise(_name, REAL, SHIFT, inexact=False)


# ---------------------------------------------------------------------- weighted sum


@st.composite
def _weighted_sum_calls(draw: Any, dtypes: str) -> Call:
    inexact = [np.dtype(c) for c in dtypes if c in "efdFD"]
    shape = draw(shapes())
    pairs = draw(st.integers(1, 3))
    operands = []
    for operand_shape in draw(broadcasting(2 * pairs, shape)):
        dtype = draw(st.sampled_from(inexact))
        operands.append(Operand(operand_shape, dtype))
    for i in range(1, 2 * pairs, 2):
        if draw(st.booleans()):
            operands[i] = Operand((), draw(st.sampled_from((int, float))))
    kinds = [op.dtype for op in operands if not op.is_number]
    dtype = np.result_type(*kinds, draw(st.sampled_from(inexact)))
    return Call(tuple(operands), {"shape": shape, "dtype": dtype})


def _weighted_sum(*terms: Any, shape: Shape, dtype: Any) -> Any:
    total = sum(t * c for t, c in zip(terms[::2], terms[1::2], strict=True))
    return np.broadcast_to(total, shape).astype(dtype)


SAMPLES["weighted_sum"] = Samples(
    _weighted_sum_calls,
    _weighted_sum,
    smooth=EVERY,
    linear=lambda n: [tuple(range(0, n, 2)), tuple(range(1, n, 2))],
)
