"""Points where derivatives are delicate: the value that a mathematician would give.

Where a function has a kink, the derivative is the mean of those from either side, which
for a norm is zero.  Where it has none at all, it is what the limit along the diagonal
says, or zero; each such choice is written at its test.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import funcad

INF, NAN = np.inf, np.nan

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def forward(f, *xs):
    """Partial derivatives by forward mode."""

    def along(i):
        return funcad.jvp(
            lambda x: f(*xs[:i], x, *xs[i + 1 :]), (xs[i],), (np.ones_like(xs[i]),)
        )[1]

    return [float(along(i)) for i in range(len(xs))]


def backward(f, *xs):
    """Partial derivatives by reverse mode."""
    return [float(g) for g in funcad.grad(f, tuple(range(len(xs))))(*xs)]


def check(f, at, first, second=None):
    """Partial derivatives of first order in both modes, and of second order."""
    xs = [np.float64(x) for x in np.atleast_1d(at)]
    assert_allclose(forward(f, *xs), np.atleast_1d(first), rtol=1e-12, atol=1e-15)
    assert_allclose(backward(f, *xs), np.atleast_1d(first), rtol=1e-12, atol=1e-15)
    if second is None:
        return
    wanted = np.atleast_2d(second)
    for i in range(len(xs)):

        def partial(*ys, i=i):
            return funcad.grad(f, i)(*ys)

        for mode in (forward, backward):
            assert_allclose(mode(partial, *xs), wanted[i], rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------------- powers


@pytest.mark.parametrize("exponent", [0, 0.0, np.float64(0), np.array(0.0)])
@pytest.mark.parametrize("x", [0.0, 2.0, -3.0])
def test_x_to_the_zero_is_the_constant_one(exponent, x):
    check(lambda x: x**exponent, x, 0, 0)


def test_zero_to_the_y_is_the_constant_zero_for_positive_y():
    check(lambda y: 0.0**y, 2.5, 0, 0)
    # at y = 0, where it jumps from one to zero, the derivative is taken to be zero too
    check(lambda y: 0.0**y, 0.0, 0, 0)
    assert np.float64(0.0) ** np.float64(0.0) == 1


@pytest.mark.parametrize("two", [2, 2.0, np.float64(2)])
def test_the_square_has_its_derivatives_at_zero(two):
    check(lambda x: x**two, 0.0, 0, 2)
    check(lambda x, y: x**y, [0.0, 2.0], [0, 0])


def test_powers_of_zero_with_other_exponents():
    check(lambda x: x**1, 0.0, 1, 0)
    check(lambda x: x**3, 0.0, 0, 0)
    check(lambda x: x**0.5, 0.0, INF)
    check(lambda x: x**-1, 0.0, -INF)


def test_roots_have_an_endless_slope_at_zero():
    check(np.sqrt, 0.0, INF)
    check(np.cbrt, 0.0, INF)


# ---------------------------------------------------------------- norms and their kin


def test_the_absolute_value_has_the_middle_slope_at_zero():
    check(np.abs, 0.0, 0, 0)
    check(np.fabs, 0.0, 0, 0)
    assert funcad.grad(np.abs)(0j) == 0
    assert funcad.grad(lambda x: np.real(funcad.grad(np.abs)(x + 0j)))(0.0) == 0


@pytest.mark.parametrize("axis", [None, 0])
def test_a_norm_at_zero_has_slope_zero(axis):
    def norm(x):
        return np.sum(np.linalg.norm(x, axis=axis))

    zero = np.zeros(3)
    assert_array_equal(funcad.grad(norm)(zero), zero)
    assert funcad.jvp(norm, (zero,), (np.ones(3),))[1] == 0
    assert_array_equal(funcad.hessian(norm)(zero), np.zeros((3, 3)))


def test_hypot_at_the_origin_is_a_norm():
    check(np.hypot, [0.0, 0.0], [0, 0], [[0, 0], [0, 0]])


def test_arctan2_at_the_origin_has_derivative_zero():
    # the mean over all directions in which the origin may be left
    check(np.arctan2, [0.0, 0.0], [0, 0], [[0, 0], [0, 0]])
    assert funcad.grad(np.angle)(0j) == 0
    # on the cut the angle itself jumps, and its derivative does not
    check(np.arctan2, [0.0, -2.0], [-0.5, 0], [[0, 0.25 * -1], [0.25 * -1, 0]])


def test_the_deviation_of_equal_numbers_has_slope_zero():
    same = np.full(4, 1.5)
    for f in (np.std, np.nanstd, lambda x: np.std(x, ddof=1)):
        assert_array_equal(funcad.grad(f)(same), np.zeros(4))
        assert funcad.jvp(f, (same,), (np.arange(4.0),))[1] == 0
        assert_array_equal(funcad.hessian(f)(same), np.zeros((4, 4)))
    assert_allclose(funcad.hessian(np.var)(same), 2 * (np.eye(4) - 0.25) / 4)
    assert_array_equal(funcad.grad(np.var)(same), np.zeros(4))


def test_huge_and_tiny_lengths():
    check(np.hypot, [3e200, 4e200], [0.6, 0.8])
    check(np.hypot, [3e-200, 4e-200], [0.6, 0.8])
    check(np.arctan2, [1e200, 1e200], [5e-201, -5e-201])
    check(np.arctan2, [1e-200, 1e-200], [5e199, -5e199])


# ------------------------------------------------------------------------------ extrema


@pytest.mark.parametrize("f", [np.maximum, np.minimum, np.fmax, np.fmin])
def test_equal_operands_share_the_slope_of_an_extremum(f):
    check(f, [2.0, 2.0], [0.5, 0.5], [[0, 0], [0, 0]])
    check(f, [INF, INF], [0.5, 0.5])


def test_clip_at_a_bound_has_the_mean_of_the_slopes():
    check(lambda x: np.clip(x, 0, 1), 0.0, 0.5, 0)
    check(lambda x: np.clip(x, 0, 1), 1.0, 0.5, 0)
    check(lambda x: np.clip(x, 0, 1), 0.3, 1, 0)
    check(lambda x: np.clip(x, 0, 1), 7.0, 0, 0)


def test_an_extremum_of_nan_has_value_nan_and_no_slope():
    for f in (np.maximum, np.minimum):
        assert np.isnan(f(np.float64(NAN), 1.0))
        check(f, [NAN, 1.0], [0, 0])
        check(f, [1.0, NAN], [0, 0])
    for f in (np.max, np.min):
        x = np.array([NAN, 1.0])
        value, pullback = funcad.vjp(f, x)
        assert np.isnan(value)
        assert_array_equal(pullback(1.0)[0], [0, 0])
    # which lets a gradient through that is masked afterwards
    got = funcad.grad(lambda x: np.nansum(np.maximum(x, 0.0)))(np.array([NAN, 2.0]))
    assert_array_equal(got, [0, 1])


# ----------------------------------------------------------------------------- branches


def test_where_hides_a_singular_value_and_two_of_them_its_slope():
    # the square root of zero is fine, its endless slope times zero is not: IEEE's NaN,
    # so that the hidden branch is to be given a harmless operand
    def safe(x):
        positive = x > 0
        return np.where(positive, np.sqrt(np.where(positive, x, 1.0)), 0.0)

    check(safe, 0.0, 0, 0)
    check(safe, 4.0, 0.25, -1 / 32)
    check(lambda x: np.where(x > 0, x * x, -x), 0.0, -1, 0)


def test_piecewise_keeps_branches_away_from_where_they_are_singular():
    def f(x):
        return np.piecewise(x, [x > 0], [np.sqrt, lambda v: v * v])

    x = np.array([0.0, 4.0, -1.0])
    assert_array_equal(f(x), [0, 2, 1])
    value, tangent = funcad.jvp(f, (x,), (np.ones(3),))
    assert_array_equal(value, [0, 2, 1])
    assert_array_equal(tangent, [0, 0.25, -2])
    assert_array_equal(funcad.grad(lambda x: np.sum(f(x)))(x), [0, 0.25, -2])
    assert_array_equal(funcad.vmap(f)(x[None]), [[0, 2, 1]])


# ----------------------------------------------------------------------------- products


@pytest.mark.parametrize("zeros", [[1], [0, 2]])
def test_products_with_zeros(zeros):
    x = np.array([2.0, 3.0, 5.0, 7.0])
    x[zeros] = 0
    others = [np.prod(np.delete(x, i)) for i in range(4)]
    assert_array_equal(funcad.grad(np.prod)(x), others)
    assert funcad.jvp(np.prod, (x,), (np.ones(4),))[1] == sum(others)
    want = [
        [0 if i == j else np.prod(np.delete(x, [i, j])) for j in range(4)]
        for i in range(4)
    ]
    assert_array_equal(funcad.hessian(np.prod)(x), want)
    last = lambda x: np.cumprod(x)[-1]  # noqa: E731
    assert_array_equal(funcad.grad(last)(x), others)
    assert_array_equal(funcad.hessian(last)(x), want)


# ---------------------------------------------------------------------------- sorting


def test_ties_are_sorted_in_their_order_and_so_are_derivatives():
    x = np.array([2.0, 1.0, 2.0, 1.0])
    places = np.eye(4)[[1, 3, 0, 2]]
    assert_array_equal(funcad.jacfwd(np.sort)(x), places)
    assert_array_equal(funcad.jacrev(np.sort)(x), places)
    assert_array_equal(funcad.jacfwd(funcad.grad(lambda x: np.sort(x)[0]))(x), 0)


def test_median_and_quantiles_of_ties_follow_the_permutation():
    x = np.array([1.0, 2.0, 2.0, 3.0])
    assert_array_equal(funcad.grad(np.median)(x), [0, 0.5, 0.5, 0])
    got = funcad.grad(lambda x: np.quantile(x, 0.5))(x)
    assert_array_equal(got, [0, 0.5, 0.5, 0])
    assert_array_equal(funcad.grad(np.median)(np.ones(3)), [0, 1, 0])
    # between equal entries a quantile does not move with its share
    assert funcad.grad(lambda q: np.quantile(x, q))(0.5) == 0


# ------------------------------------------------------------------- special functions


def test_sinc_at_zero():
    check(np.sinc, 0.0, 0, -(math.pi**2) / 3)
    third = funcad.grad(funcad.grad(funcad.grad(np.sinc)))
    assert third(0.0) == 0
    assert_allclose(funcad.grad(third)(0.0), math.pi**4 / 5, rtol=1e-12)


@pytest.mark.parametrize("x", [1e-9, 1e-4, 0.01, 0.3, 0.32, 1.0, 30.0])
def test_sinc_near_and_far_from_zero(x):
    u = math.pi * x
    if u < 0.1:
        first = math.pi * (-u / 3 + u**3 / 30 - u**5 / 840)
        second = -(math.pi**2) * (1 / 3 - u**2 / 10 + u**4 / 168)
    else:
        first = math.pi * (math.cos(u) - math.sin(u) / u) / u
        second = math.pi**2 * (
            -math.sin(u) / u - 2 * math.cos(u) / u**2 + 2 * math.sin(u) / u**3
        )
    assert_allclose(funcad.grad(np.sinc)(x), first, rtol=1e-10)
    assert_allclose(funcad.grad(funcad.grad(np.sinc))(x), second, rtol=1e-9)


def test_i0_at_zero():
    check(np.i0, 0.0, 0, 0.5)


# ------------------------------------------------------------------- huge and tiny


def test_exponentials_that_overflow_have_an_endless_slope():
    for f in (np.exp, np.expm1, np.exp2, np.sinh, np.cosh):
        check(f, 2000.0, INF)
    for f in (np.exp, np.expm1, np.exp2):
        check(f, -2000.0, 0, 0)


def test_saturated_functions_have_slope_zero():
    check(np.tanh, 800.0, 0, 0)
    check(np.tanh, -800.0, 0, 0)
    check(np.arctan, 1e200, 0, 0)
    check(np.log1p, 1e-300, 1, -1)
    check(np.expm1, 1e-300, 1, 1)
    check(np.log, 1e-300, 1e300)


def test_logaddexp_of_huge_tiny_and_endless_numbers():
    check(np.logaddexp, [1000.0, 1000.0], [0.5, 0.5], [[0.25, -0.25], [-0.25, 0.25]])
    check(np.logaddexp, [-1000.0, 0.0], [0, 1], [[0, 0], [0, 0]])
    check(np.logaddexp, [1e300, -1e300], [1, 0], [[0, 0], [0, 0]])
    check(np.logaddexp, [-INF, 3.0], [0, 1])
    check(np.logaddexp, [INF, 3.0], [1, 0])
    # the limit along the diagonal
    for f in (np.logaddexp, np.logaddexp2):
        check(f, [-INF, -INF], [0.5, 0.5])
        check(f, [INF, INF], [0.5, 0.5])


@pytest.mark.parametrize("x", [-800.0, -700.0, 0.0, 700.0, 800.0])
def test_a_sigmoid_by_logaddexp_is_right_where_its_quotient_overflows(x):
    def sigmoid(x):
        return np.exp(-np.logaddexp(0.0, -x))

    want = 1 / (2 + math.exp(min(abs(x), 709)) + math.exp(-abs(x)))
    assert_allclose(forward(sigmoid, np.float64(x)), want, rtol=1e-10, atol=1e-300)
    assert_allclose(backward(sigmoid, np.float64(x)), want, rtol=1e-10, atol=1e-300)
    if abs(x) < 709:  # beyond, exp overflows and the chain rule has zero times infinity
        got = funcad.grad(lambda x: 1 / (1 + np.exp(-x)))(x)
        assert_allclose(got, want, rtol=1e-10, atol=1e-300)


def test_division_by_zero_is_that_of_ieee():
    check(lambda x: 1 / x, 0.0, -INF)
    check(np.reciprocal, 0.0, -INF)
    check(np.log, 0.0, INF)
    check(lambda x, y: x / y, [1.0, 0.0], [INF, -INF])


# ------------------------------------------------------------------- NaN and infinity


def test_nan_to_num_has_no_slope_where_it_replaces():
    x = np.array([1.0, NAN, INF, -INF])
    got = funcad.grad(lambda x: np.sum(np.nan_to_num(x)))(x)
    assert_array_equal(got, [1, 0, 0, 0])
    z = np.array([1 + 2j, NAN + 1j, 3 + INF * 1j])
    got = funcad.grad(lambda z: np.sum(np.nan_to_num(z).real))(z)
    assert_array_equal(got, [1, 0, 0])


@pytest.mark.parametrize(
    ("f", "want"),
    [
        (np.nansum, [1, 0, 1, 1]),
        (np.nanprod, [10, 0, 5, 2]),
        (np.nanmean, [1 / 3, 0, 1 / 3, 1 / 3]),
        (np.nanmax, [0, 0, 0, 1]),
        (np.nanmin, [1, 0, 0, 0]),
        (np.nanmedian, [0, 0, 1, 0]),
        (np.nanvar, [2 / 3 * (1 - 8 / 3), 0, 2 / 3 * (2 - 8 / 3), 2 / 3 * (5 - 8 / 3)]),
        (lambda x: np.nanquantile(x, 0.75), [0, 0, 0.5, 0.5]),
        (lambda x: np.nancumsum(x)[-1], [1, 0, 1, 1]),
        (lambda x: np.nancumprod(x)[-1], [10, 0, 5, 2]),
    ],
)
def test_what_ignores_nan_has_no_slope_there(f, want):
    x = np.array([1.0, NAN, 2.0, 5.0])
    assert_allclose(funcad.grad(f)(x), want, rtol=1e-12)
    directions = np.eye(4)
    got = [funcad.jvp(f, (x,), (t,))[1] for t in directions]
    assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize(
    "f", [np.nanmax, np.nanmin, np.nanmean, np.nanmedian, np.nanvar, np.nanstd]
)
def test_nothing_but_nan_gives_nan(f):
    x = np.full(3, NAN)
    value, pullback = funcad.vjp(f, x)
    assert np.isnan(value) and np.isnan(f(x))
    assert pullback(1.0)[0].shape == (3,)
    assert_array_equal(funcad.vmap(f)(np.stack([x, np.ones(3)])), [NAN, f(np.ones(3))])


def test_nan_and_infinity_pass_through():
    check(np.sin, NAN, NAN)
    check(np.square, NAN, NAN)
    check(lambda x: x * x, INF, INF)
    check(np.exp, -INF, 0, 0)
    check(np.tanh, INF, 0)
    x = np.array([1.0, NAN, 2.0])
    assert np.isnan(funcad.jvp(np.median, (x,), (x,))[0])
    assert np.isnan(funcad.jvp(lambda x: np.quantile(x, 0.2), (x,), (x,))[0])
    assert_array_equal(funcad.jvp(np.sort, (x,), (np.arange(3.0),))[1], [0, 2, 1])


# ------------------------------------------------------------------------ empty arrays

EMPTY = np.empty((2, 0))
NOTHING = [
    *(np.sum, np.prod, np.mean, np.var, np.std, np.any, np.all, np.cumsum, np.cumprod),
    *(np.nansum, np.nanprod, np.nanmean, np.nanvar, np.median, np.nanmedian, np.sort),
    *(np.argsort, np.max, np.min, np.ptp, np.argmax, np.argmin, np.nanmax, np.nanmin),
    *(np.unique, np.nonzero, np.diff, np.ediff1d, np.trapezoid, np.gradient, np.unwrap),
    *(np.logaddexp.reduce, np.maximum.reduce, np.hypot.reduce, np.multiply.reduce),
    *(np.maximum.accumulate, np.cov, np.average, np.count_nonzero, np.nanargmax),
    *(np.flatnonzero, np.argwhere, np.sort_complex, np.sinc, np.i0, np.exp, np.clip),
    lambda x: np.quantile(x, 0.5),
    lambda x: np.nanquantile(x, 0.5),
    lambda x: np.max(x, initial=2.0),
    lambda x: np.max(x, axis=0),
    lambda x: np.mean(x, axis=0),
    lambda x: np.median(x, axis=0),
    lambda x: np.partition(x, 0),
    lambda x: np.convolve(x[0], x[1]),
    lambda x: np.correlate(x[0], x[1]),
    lambda x: np.interp(x, np.arange(2.0), np.arange(2.0)),
    lambda x: np.interp(np.ones(2), x[0], x[0]),
    lambda x: np.searchsorted(x[0], 1.0),
    lambda x: np.digitize(x[0], np.arange(2.0)),
    lambda x: np.polyval(x[0], 2.0),
    lambda x: np.vander(x[0], 2),
    lambda x: np.where(x > 0, x, 1.0),
    lambda x: np.select([x > 0], [x]),
    lambda x: np.piecewise(x, [x > 0], [np.sin]),
    lambda x: np.isin(x, [1.0]),
    lambda x: np.histogram(x)[0],
    lambda x: np.add.outer(x, np.ones(2)),
]


@pytest.mark.parametrize("number", range(len(NOTHING)))
def test_empty_arrays_give_what_numpy_gives(number):
    f = NOTHING[number]
    try:
        want = f(EMPTY)
    except Exception as error:
        with pytest.raises(Exception) as caught:
            funcad.jvp(f, (EMPTY,), (EMPTY,))
        kinds = (ValueError, IndexError, TypeError)
        kind = next(k for k in kinds if isinstance(error, k))
        assert isinstance(caught.value, kind)
        return
    value, _ = funcad.jvp(f, (EMPTY,), (EMPTY,))
    for got, wanted in zip(funcad.tree.leaves(value), funcad.tree.leaves(want)):
        assert np.shape(got) == np.shape(wanted)
        assert_allclose(got, wanted)
    assert len(funcad.tree.leaves(value)) == len(funcad.tree.leaves(want))
