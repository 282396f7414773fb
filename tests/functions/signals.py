"""Calls of functions of samples and of polynomials' coefficients."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from functions.reductions import along
from functions.table import of_one, row, some
from samples.sorting import Ascending
from samples.table import (
    EVERY_DTYPE,
    NONZERO,
    POSITIVE,
    Call,
    Distinct,
    Operand,
    dtypes_of,
    shapes,
)

NUMBERS = "bilfdFD"

# ----------------------------------------------------------------- differences and sums


@st.composite
def _diffs(draw, dtypes):
    shape = draw(shapes(min_rank=1))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    dtype = draw(dtypes_of(EVERY_DTYPE, dtypes))
    operands, ends = [Operand(shape, dtype)], []
    for end in ("prepend", "append"):
        if draw(st.booleans()):
            other = list(shape)
            other[axis] = draw(st.integers(0, 2))
            operands.append(Operand(draw(st.sampled_from([(), tuple(other)])), dtype))
            ends.append(end)
    return Call(
        tuple(operands), {"ends": ends, "axis": axis} | some(draw, n=st.integers(0, 3))
    )


def with_ends(f, x, *values, ends, **params):
    return f(x, **dict(zip(ends, values, strict=True)), **params)


row("diff", _diffs, apply=with_ends)


@st.composite
def _ediffs(draw, dtypes):
    dtype = draw(dtypes_of(NUMBERS, dtypes))
    operands, ends = [Operand(draw(shapes()), dtype)], []
    for end in ("to_begin", "to_end"):
        if draw(st.booleans()):
            operands.append(Operand(draw(shapes(max_rank=2)), dtype))
            ends.append(end)
    return Call(tuple(operands), {"ends": ends})


row("ediff1d", _ediffs, apply=with_ends)


@st.composite
def _integrals(draw, dtypes):
    shape = draw(shapes(min_rank=1, sizes=(3, 2, 1)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    operands = [Operand(shape, draw(dtypes_of(NUMBERS, dtypes)))]
    params = {"axis": axis}
    kind = draw(st.sampled_from(["", "dx", "x", "xs"]))
    if kind == "dx":
        params["dx"] = 0.3
    elif kind:
        places = (shape[axis],) if kind == "x" else shape
        operands.append(Operand(places, draw(dtypes_of(NUMBERS, dtypes))))
    return Call(tuple(operands), params)


row("trapezoid", _integrals)


@st.composite
def _gradients(draw, dtypes):
    shape = draw(shapes(min_rank=1, sizes=(3, 5, 4)))
    operands = [Operand(shape, draw(dtypes_of("lfdD", dtypes)))]
    params = some(draw, edge_order=[1, 2])
    kind = draw(st.sampled_from(["", "one", "each", "places"]))
    axes = range(len(shape))
    if kind in ("each", "places") and draw(st.booleans()):
        axes = draw(st.permutations(axes))[:1]
        params["axis"] = axes[0]
    if kind == "one":
        operands.append(Operand((), draw(dtypes_of("fd", dtypes)), POSITIVE))
    elif kind:
        for axis in axes:
            size = (shape[axis],) if kind == "places" else ()
            domain = Ascending() if size else POSITIVE
            operands.append(Operand(size, draw(dtypes_of("d", dtypes)), domain))
    return Call(tuple(operands), params)


row("gradient", _gradients, tolerance=1e-10)


def _phases(draw):
    shape, params = along(or_none=False)(draw)
    return shape, params | some(draw, period=[1.1, 2], discont=[0.9])


row("unwrap", of_one(_phases, "ilfd", Distinct()))

# --------------------------------------------------------------- interpolation, filters


class Places:
    """Numbers between a few increasing ones, and beyond them."""

    def draw(self, rng, shape, dtype):
        return (rng.integers(-1, 4, shape) + rng.uniform(0.2, 0.8, shape)).astype(dtype)


class Grid:
    """Increasing numbers, close to the first integers."""

    def draw(self, rng, shape, dtype):
        n = shape[0]
        return (np.arange(n) + 0.1 * rng.random(n)).astype(dtype)


@st.composite
def _interpolations(draw, dtypes):
    n = draw(st.integers(1, 4))
    x = Operand(draw(shapes()), draw(dtypes_of("fd", dtypes)), Places())
    xp = Operand((n,), draw(dtypes_of("d", dtypes)), Grid())
    fp = Operand((n,), draw(dtypes_of("lfdD", dtypes)))
    params = some(draw, left=[-3.0], right=[2.5])
    if draw(st.booleans()):
        params = {"period": 3.5}
    return Call((x, xp, fp), params)


row("interp", _interpolations, tolerance=1e-11)


@st.composite
def _filters(draw, dtypes):
    operands = [
        Operand((draw(st.integers(1, 4)),), draw(dtypes_of(EVERY_DTYPE, dtypes)))
        for _ in range(2)
    ]
    return Call(tuple(operands), some(draw, mode=["full", "same", "valid"]))


row("convolve", _filters)
row("correlate", _filters)


@st.composite
def _windows(draw, dtypes):
    beta = Operand((), draw(dtypes_of("d", dtypes)), POSITIVE)
    return Call((beta,), {"M": draw(st.sampled_from([0, 1, 2, 5]))})


row(
    "kaiser",
    _windows,
    apply=lambda f, beta, M: f(M, beta),
    by_protocol=False,
    tolerance=1e-11,
)

# -------------------------------------------------------------------------- polynomials

# no leading zero, by which degrees would depend on values
LEADING = NONZERO


@st.composite
def _values(draw, dtypes):
    p = Operand((draw(st.integers(0, 4)),), draw(dtypes_of(NUMBERS, dtypes)))
    return Call((p, Operand(draw(shapes()), draw(dtypes_of(NUMBERS, dtypes)))), {})


@st.composite
def _two_polynomials(draw, dtypes):
    sizes = [(draw(st.integers(1, 4)),) for _ in range(2)]
    kinds = [draw(dtypes_of(NUMBERS, dtypes)) for _ in range(2)]
    return Call(tuple(Operand(n, k, LEADING) for n, k in zip(sizes, kinds)), {})


row("polyval", _values)
for _name in ("polyadd", "polysub", "polymul"):
    row(_name, _two_polynomials)
row("polydiv", _two_polynomials, concrete=True, tolerance=1e-10)


def _order(draw):
    return (draw(st.integers(1, 4)),), some(draw, m=st.integers(0, 3))


row("polyder", of_one(_order, "ilfdD"))
row("polyint", of_one(_order, "ilfdD"))
row(
    "polyint",
    of_one(lambda draw: ((draw(st.integers(1, 4)),), {"m": 2, "k": [1.5, 2.5]}), "fdD"),
)
row("poly", of_one(lambda draw: ((draw(st.integers(1, 4)),), {}), "ilfdD"))


def _vander(draw):
    return (draw(st.integers(0, 3)),), some(
        draw, N=st.integers(0, 5), increasing=st.booleans()
    )


row("vander", of_one(_vander), tolerance=1e-11)


@st.composite
def _polynomials(draw, dtypes):
    """Coefficients of three or fewer, whose roots are apart."""
    n = draw(st.sampled_from([1, 2, 3]))
    dtype = draw(dtypes_of("ldD", dtypes))
    return Call((Operand((n,), dtype, Rooted()),), {})


class Rooted:
    """Coefficients of polynomials with distinct real roots."""

    def draw(self, rng, shape, dtype):
        zeros = np.arange(1, shape[0]) + 0.3 * rng.random(shape[0] - 1)
        return np.atleast_1d(np.poly(zeros) * 1.5).astype(dtype)


row(
    "roots",
    _polynomials,
    apply=lambda f, p: np.sort(np.real(f(p))),
    concrete=True,
    host_only=True,
    tolerance=1e-8,
)


@st.composite
def _fits(draw, dtypes):
    n = draw(st.sampled_from([4, 6]))
    y = draw(st.sampled_from([(n,), (n, 2)]))
    operands = [
        Operand((n,), draw(dtypes_of("fd", dtypes)), Distinct()),
        Operand(y, draw(dtypes_of("fd", dtypes))),
    ]
    params = {"deg": draw(st.integers(0, 2))}
    if draw(st.booleans()):
        operands.append(Operand((n,), draw(dtypes_of("d", dtypes)), POSITIVE))
    params |= some(draw, cov=[True, "unscaled"])
    return Call(tuple(operands), params)


row(
    "polyfit",
    _fits,
    apply=lambda f, x, y, *w, **params: f(x, y, **params, w=w[0] if w else None),
    tolerance=1e-8,
)
