"""Calls of reductions, running functions, and the methods of ufuncs."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from functions.table import axes_or_none, of_one, row, some
from samples.table import (
    EVERY_DTYPE,
    NONZERO,
    POSITIVE,
    REAL,
    Call,
    Distinct,
    Operand,
    dtypes_of,
    shapes,
)

DISTINCT = Distinct()
FILLED = (2, 3, 1)
TYPES = [np.float64, np.complex128]


def reduced(sizes=(2, 3, 1, 0), min_rank=0, **others):
    """A shape, perhaps ``axis`` and ``keepdims``, and other arguments, perhaps."""

    def form(draw):
        shape = draw(shapes(min_rank=min_rank, sizes=sizes))
        return shape, some(
            draw, axis=axes_or_none(len(shape)), keepdims=st.booleans(), **others
        )

    return form


def along(sizes=(2, 3, 1, 0), min_rank=1, or_none=True, **others):
    """A shape, perhaps one ``axis``, and other arguments, perhaps."""

    def form(draw):
        shape = draw(shapes(min_rank=min_rank, sizes=sizes))
        axes = st.integers(-len(shape), len(shape) - 1) if shape else st.just(-1)
        if not shape or or_none:
            axes = st.one_of(st.none(), axes)
        if not shape:
            return shape, some(draw, axis=[None], **others)
        return shape, some(draw, axis=axes, **others)

    return form


def masked(form, domain=REAL, kinds=EVERY_DTYPE, first=0):
    """Calls whose second operand is ``where``, which broadcasts to the array."""

    @st.composite
    def calls(draw, dtypes):
        shape, params = form(draw)
        axes = draw(st.integers(0, len(shape)))
        mask = tuple(1 if draw(st.booleans()) else n for n in shape[axes:])
        array = Operand(shape, draw(dtypes_of(kinds, dtypes)), domain)
        return Call((array, Operand(mask, np.dtype(bool))), params)

    return calls


def where_last(f, x, where, **params):
    return f(x, where=where, **params)


INITIAL = st.sampled_from([2, -1])

# --------------------------------------------------------------------------- reductions

for _name in ("sum", "prod"):
    row(_name, of_one(reduced(dtype=TYPES)), method=_name)
    row(_name, masked(reduced(initial=INITIAL)), apply=where_last)
row("mean", of_one(reduced(FILLED, dtype=TYPES)), method="mean")


class MostlyTrue:
    """Truth, with an entry that holds along each axis."""

    def draw(self, rng, shape, dtype):
        out = np.asarray(rng.random(shape) < 0.6)
        out[tuple(slice(0, 2) for _ in shape)] = True
        return out


def mostly(form, kinds=EVERY_DTYPE, domain=REAL):
    """Calls with a mask that leaves something of every slice."""

    @st.composite
    def calls(draw, dtypes):
        shape, params = form(draw)
        array = Operand(shape, draw(dtypes_of(kinds, dtypes)), domain)
        last = Operand(shape[-1:], np.dtype(bool), MostlyTrue())
        return Call((array, last), params)

    return calls


row("mean", mostly(reduced(FILLED, 1)), apply=where_last)
for _name, _domain in (("var", REAL), ("std", DISTINCT)):
    row(
        _name,
        of_one(
            lambda draw: (
                draw(shapes(min_rank=1, sizes=(2, 3))),
                some(draw, axis=[-1, 0], ddof=[0, 1, 0.5], keepdims=st.booleans()),
            ),
            domain=_domain,
        ),
        method=_name,
    )
    row(
        _name,
        mostly(
            lambda draw: (
                draw(shapes(min_rank=1, sizes=(2, 3))),
                some(draw, axis=[-1, None], correction=[0, 1], dtype=TYPES[:1]),
            ),
            "?bilfd",
            _domain,
        ),
        apply=where_last,
    )


def with_mean(f, x, **params):
    return f(x, mean=x.mean(axis=-1, keepdims=True) + 0.5, axis=-1, **params)


for _name in ("var", "std"):
    row(
        _name,
        of_one(
            lambda draw: (
                draw(shapes(min_rank=1, sizes=(2, 3))),
                some(draw, keepdims=st.booleans()),
            ),
            "dD",
            DISTINCT,
        ),
        apply=with_mean,
    )

for _name in ("max", "min", "amax", "amin"):
    _method = {"method": _name} if _name in ("max", "min") else {}
    row(_name, of_one(reduced(FILLED), domain=DISTINCT), **_method)
    row(
        _name,
        masked(
            lambda draw: (
                lambda shape, params: (shape, params | {"initial": draw(INITIAL)})
            )(*reduced()(draw)),
            DISTINCT,
            "bilefd",
        ),
        apply=where_last,
    )
row("ptp", of_one(reduced(FILLED), "bilefdFD", DISTINCT))
for _name in ("any", "all"):
    row(_name, of_one(reduced()), method=_name, smooth=())
    row(_name, masked(reduced()), apply=where_last, smooth=())
row("count_nonzero", of_one(reduced()), smooth=())
for _name in ("argmax", "argmin"):
    row(
        _name,
        of_one(along(FILLED, 0, keepdims=st.booleans()), domain=DISTINCT),
        method=_name,
        smooth=(),
    )

# -------------------------------------------------------------------------- cumulative

for _name in ("cumsum", "cumprod"):
    row(_name, of_one(along(min_rank=0, dtype=TYPES)), method=_name)
for _name in ("cumulative_sum", "cumulative_prod"):
    row(
        _name,
        of_one(
            along(or_none=False, include_initial=st.booleans(), dtype=TYPES),
        ),
        apply=lambda f, x, axis=0, **params: f(x, axis=axis, **params),
    )

# ----------------------------------------------------------------------- ufunc methods


def _reduction(draw):
    shape, params = reduced(FILLED, 1)(draw)
    return shape, params | some(draw, initial=[1])


INTEGRAL = ("?il", "il", "l")
"""Dtypes of functions that have no derivative."""


def _single(draw):
    shape = draw(shapes(min_rank=1, sizes=FILLED))
    axis = st.integers(-len(shape), len(shape) - 1)
    return shape, some(draw, axis=axis, keepdims=st.booleans(), initial=[2])


def _pieces(draw):
    shape = draw(shapes(min_rank=1, sizes=(2, 3)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    places = st.lists(st.integers(0, shape[axis] - 1), min_size=1, max_size=4)
    return shape, {"indices": draw(places), "axis": axis}


def in_order(f, x, indices, axis, **params):
    return f(x, indices, axis, **params)


for _name, _kinds, _domain in [
    *[(n, EVERY_DTYPE, REAL) for n in ("add", "multiply")],
    *[(n, "bilefd", DISTINCT) for n in ("maximum", "minimum", "fmax", "fmin")],
    *[(n, "fd", REAL) for n in ("logaddexp", "logaddexp2")],
    ("hypot", "fd", NONZERO),
    *[(n, "?bilfd", REAL) for n in ("logical_and", "logical_or", "logical_xor")],
    *[(n, "?il", REAL) for n in ("bitwise_and", "bitwise_or", "bitwise_xor")],
    ("gcd", "il", POSITIVE),
]:
    _known = {} if _kinds not in INTEGRAL and "logical" not in _name else {"smooth": ()}
    row(f"{_name}.reduce", of_one(_reduction, _kinds, _domain), **_known)
    row(f"{_name}.accumulate", of_one(along(or_none=False), _kinds, _domain), **_known)
    row(f"{_name}.reduceat", of_one(_pieces, _kinds, _domain), apply=in_order, **_known)
for _name, _kinds, _domain in [
    ("subtract", "ilfdFD", REAL),
    ("divide", "lfdFD", NONZERO),
    ("power", "fd", POSITIVE),
    ("floor_divide", "l", POSITIVE),
    ("remainder", "l", POSITIVE),
    ("fmod", "l", POSITIVE),
    ("arctan2", "fd", POSITIVE),
    ("copysign", "fd", NONZERO),
    ("lcm", "l", POSITIVE),
]:
    _known = {} if _kinds not in INTEGRAL else {"smooth": ()}
    row(f"{_name}.reduce", of_one(_single, _kinds, _domain), **_known)
    _axis = along(FILLED, or_none=False)
    row(f"{_name}.accumulate", of_one(_axis, _kinds, _domain), **_known)
    row(f"{_name}.reduceat", of_one(_pieces, _kinds, _domain), apply=in_order, **_known)
