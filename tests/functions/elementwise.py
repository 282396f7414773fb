"""Calls of functions of single entries: every ufunc, and what is composed of them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from funcad.numpy.dispatch import METHODS
from functions.table import of_one, of_several, row, some
from samples import SAMPLES
from samples.table import (
    DIVIDEND,
    DIVISOR,
    EVERY_DTYPE,
    LEFT,
    NONZERO,
    REAL,
    RIGHT,
    TRUTH,
    Call,
    Operand,
    broadcasting,
    dtypes_of,
    entrywise_calls,
    shapes,
)

INEXACT = "fdFD"
FLOATS = "fd"

# ----------------------------------------------------------------------------- ufuncs

ARRAY_METHODS = {"conjugate": "conjugate"}
for _name, _samples in SAMPLES.items():
    _ufunc = getattr(np, _name, None)
    if isinstance(_ufunc, np.ufunc) and _samples.domains:
        row(
            _name,
            entrywise_calls(_ufunc, *_samples.domains),
            smooth=_samples.smooth,
            method=ARRAY_METHODS.get(_name, ""),
        )
for _name in ("degrees", "radians"):
    row(_name, entrywise_calls(getattr(np, _name), REAL))
row("divmod", entrywise_calls(np.divmod, DIVIDEND, DIVISOR))
row("modf", entrywise_calls(np.modf, LEFT))
row("frexp", entrywise_calls(np.frexp, NONZERO))

OUTER = [ufunc.__name__ for ufunc, method in METHODS if method == "outer"]
for _name in sorted({*OUTER} - {"divmod"}):
    row(
        f"{_name}.outer",
        entrywise_calls(getattr(np, _name), *SAMPLES[_name].domains),
        smooth=SAMPLES[_name].smooth,
    )
row("divmod.outer", entrywise_calls(np.divmod, DIVIDEND, DIVISOR))

# --------------------------------------------------------------------------- branches


@st.composite
def _choices(draw, dtypes):
    count = draw(st.integers(1, 3))
    spread = draw(broadcasting(2 * count + 1))
    conditions = [Operand(s, np.dtype(bool), TRUTH) for s in spread[:count]]
    choices = [
        Operand(s, draw(dtypes_of(EVERY_DTYPE, dtypes))) for s in spread[count:-1]
    ]
    default = draw(st.sampled_from([None, 1, 0.5, "array"]))
    if default == "array":
        choices.append(Operand(spread[-1], draw(dtypes_of(EVERY_DTYPE, dtypes))))
    params = {"count": count}
    if isinstance(default, (int, float)):
        params["default"] = default
    return Call((*conditions, *choices), params)


def _select(f, *operands, count, **params):
    conditions, choices = operands[:count], operands[count : 2 * count]
    if len(operands) > 2 * count:
        params["default"] = operands[-1]
    return f(list(conditions), list(choices), **params)


@st.composite
def _pieces(draw, dtypes):
    shape = draw(shapes())
    params = {"bounds": draw(st.sampled_from([(0.5,), (0.5, 1.5), ()]))}
    params["rest"] = draw(st.booleans())
    return Call((Operand(shape, draw(dtypes_of("fdFD", dtypes)), LEFT),), params)


def _piecewise(f, x, bounds, rest):
    conditions = [x.real < -0.5, *[x.real > b for b in bounds]]
    functions = [lambda v: v * v, 2.0, lambda v, scale=3: scale * v]
    functions = functions[: len(conditions)]
    return f(x, conditions, functions + [lambda v: np.sin(v)] * rest)


row("where", entrywise_calls(np.where, TRUTH, REAL, REAL), smooth=(1, 2))
row("select", _choices, apply=_select)
row("piecewise", _pieces, apply=_piecewise)


@st.composite
def _clips(draw, dtypes):
    x, low, high = draw(broadcasting(3))
    kinds = [draw(dtypes_of("bilefd", dtypes)) for _ in range(3)]
    bounds = draw(st.sampled_from(["both", "min", "max", "numbers"]))
    operands = [Operand(x, kinds[0], LEFT)]
    if bounds in ("both", "min"):
        operands.append(Operand(low, kinds[1], RIGHT))
    if bounds in ("both", "max"):
        operands.append(Operand(high, kinds[2], RIGHT))
    return Call(tuple(operands), {"bounds": bounds})


def _clip(f, x, *limits, bounds):
    if bounds == "numbers":
        return f(x, 0, 1)
    if bounds == "both":
        return f(x, *limits)
    return f(x, **{bounds: limits[0]})


row("clip", _clips, apply=_clip)


def _bounded(draw):
    return draw(shapes()), {"min": 0, "max": 1}


row("clip", of_one(_bounded, "bilefd", LEFT), method="clip")

# ------------------------------------------------------------- rounding and replacing


def _decimals(draw):
    return draw(shapes()), some(draw, decimals=st.integers(-1, 2))


def _of_shape(draw):
    return draw(shapes()), {}


row("round", of_one(_decimals, "bilfdFD", LEFT), method="round", smooth=())
row("around", of_one(_decimals, "bilfdFD", LEFT), smooth=())
row("fix", of_one(_of_shape, "?bilfd", LEFT))


class Unruly:
    """Real numbers, NaN and infinities among them."""

    def draw(self, rng, shape, dtype):
        values = LEFT.draw(rng, shape, dtype)
        if dtype.kind not in "fc":
            return values
        odd = rng.choice([np.nan, np.inf, -np.inf, 0.0], shape)
        return np.where(rng.random(shape) < 0.5, odd, values).astype(dtype)


UNRULY = Unruly()


def _replacements(draw):
    number = st.sampled_from([-3.5, 7.0])
    return draw(shapes()), some(draw, nan=number, posinf=number, neginf=number)


row("nan_to_num", of_one(_replacements, "?bilfdFD"))
row("nan_to_num", of_one(_replacements, "?bilfdFD", UNRULY), smooth=())
row("real_if_close", of_one(_of_shape, "FD"), concrete=True)
row("real_if_close", of_one(_of_shape, "?bilfd"))
row("sinc", of_one(_of_shape, "?bilefdFD"))
row("i0", of_one(_of_shape, "?bilefd"), tolerance=1e-11)

# ------------------------------------------------------------------------------ parts

for _name in ("real", "imag"):
    row(_name, of_one(_of_shape))
    row(_name, of_one(_of_shape, "FD"))


def _degrees(draw):
    return draw(shapes()), some(draw, deg=st.booleans())


row("angle", of_one(_degrees, "lfdFD", NONZERO))


def _dtypes(draw):
    return draw(shapes()), {"dtype": draw(st.sampled_from([float, np.complex128, int]))}


row("astype", of_one(_dtypes, "?bilfd"), apply=lambda f, x, dtype: f(x, dtype))

# -------------------------------------------------------------------------- questions


def _close(draw):
    return some(draw, rtol=[0.5, 1e-3], atol=[0.2], equal_nan=st.booleans())


row("isclose", of_several(REAL, REAL, params=_close), smooth=())
row("isclose", of_several(UNRULY, UNRULY, params=_close), smooth=())
for _name in ("isreal", "iscomplex"):
    row(_name, of_one(_of_shape), smooth=())
for _name in ("isneginf", "isposinf"):
    row(_name, of_one(_of_shape, "?bilefd", UNRULY), smooth=())


@st.composite
def _twice(draw, dtypes):
    """An array, and perhaps the same once more."""
    shape, dtype = draw(shapes()), draw(dtypes_of(EVERY_DTYPE, dtypes))
    operand = Operand(shape, dtype, draw(st.sampled_from([REAL, UNRULY])))
    return Call((operand,), {"offset": draw(st.sampled_from([0, 1]))})


def _with_itself(f, x, offset):
    return f(x, x + offset)


for _name in ("allclose", "array_equal", "array_equiv"):
    row(_name, _twice, apply=_with_itself, smooth=(), concrete=True)
