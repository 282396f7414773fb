"""Conventions at kinks, and dtypes that the sample table's domains keep away from."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcad
from funcad.primitives import elementwise as p
from funcad.primitives import special

NAN = float("nan")


def partials(f, *xs):
    """Derivatives of a function of numbers."""
    gradient = funcad.grad(f, tuple(range(len(xs))))
    return [float(g) for g in gradient(*map(np.float64, xs))]


@pytest.mark.parametrize("extremum", [np.maximum, np.minimum, np.fmax, np.fmin])
def test_equal_operands_share_the_derivative_of_an_extremum(extremum):
    assert partials(extremum, 2.0, 2.0) == [0.5, 0.5]


def test_fmax_and_fmin_differentiate_in_the_operand_that_is_a_number():
    for extremum in (np.fmax, np.fmin):
        assert partials(extremum, 1.0, NAN) == [1.0, 0.0]
        assert partials(extremum, NAN, 1.0) == [0.0, 1.0]


@pytest.mark.parametrize("function", [np.abs, np.fabs, np.sign])
def test_derivative_at_a_symmetric_kink_is_zero(function):
    assert partials(function, 0.0) == [0.0]


def test_complex_absolute_value_has_derivative_zero_at_the_origin():
    assert funcad.grad(np.abs)(np.complex128(0)) == 0


@given(st.complex_numbers(min_magnitude=0.1, max_magnitude=10))
def test_gradient_of_a_real_function_of_a_complex_number(z):
    # u(x + iy) = x^2 + y^2, and the gradient is du/dx - i du/dy
    got = funcad.grad(lambda z: np.abs(z) ** 2)(np.complex128(z))
    np.testing.assert_allclose(got, 2 * np.conj(z), rtol=1e-12)
    got = funcad.grad(lambda z: np.real(z * z))(np.complex128(z))
    np.testing.assert_allclose(got, 2 * z, rtol=1e-12)


@pytest.mark.parametrize(
    ("x", "y", "by_base", "by_exponent"),
    [
        (0.0, 0.0, 0.0, 0.0),
        (0.0, 1.0, 1.0, 0.0),
        (0.0, 2.0, 0.0, 0.0),
        (0.0, 3.5, 0.0, 0.0),
        (3.0, 0.0, 0.0, math.log(3)),
        (-2.0, 3.0, 12.0, NAN),
    ],
)
def test_powers_have_finite_derivatives_wherever_they_exist(x, y, by_base, by_exponent):
    with np.errstate(invalid="ignore"):
        for power in (np.power, np.float_power):
            np.testing.assert_allclose(partials(power, x, y), [by_base, by_exponent])


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, 0.5, 2.0, 1.0, 0.0])
def test_a_python_exponent_is_the_same_as_an_array_of_it(exponent):
    x = np.array([0.5, 1.5])
    number = funcad.jacfwd(funcad.grad(lambda x: np.sum(x**exponent)))(x)
    array = funcad.jacfwd(
        funcad.grad(lambda x: np.sum(x ** np.full(2, exponent * 1.0)))
    )(x)
    np.testing.assert_allclose(number, array, rtol=1e-12, atol=1e-12)


@given(st.floats(-6, 6))
def test_erf_agrees_with_the_standard_library(x):
    np.testing.assert_allclose(special.erf(np.float64(x)), math.erf(x), rtol=1e-13)


def test_small_integers_beside_a_float_do_not_cost_precision():
    seven, hundred = np.int8(7), np.int8(100)
    got = funcad.grad(lambda y: np.power(seven, y))(2.0)
    np.testing.assert_allclose(got, 49 * math.log(7), rtol=1e-14)
    got = funcad.grad(lambda y: np.arctan2(y, hundred))(1.0)
    np.testing.assert_allclose(got, 100 / 10001, rtol=1e-14)
    got = funcad.grad(lambda x: np.arctan2(hundred, x))(1.0)
    np.testing.assert_allclose(got, -100 / 10001, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.complex64])
def test_python_numbers_do_not_widen_a_derivative(dtype):
    def f(x):
        return np.sum(np.real((2 * x + 1) ** 2 / 3 - x * 0.5))

    x = np.ones(3, dtype)
    assert funcad.grad(f)(x).dtype == dtype
    assert funcad.hvp(f, (x,), (x,)).dtype == dtype


def test_what_a_condition_hides_does_not_reach_the_gradient():
    x = np.array([1.0, 2.0])
    hidden = np.array([np.inf, 1.0])
    got = funcad.grad(lambda x: np.sum(np.where([False, True], x, 1.0) * hidden))(x)
    np.testing.assert_array_equal(got, [0.0, 1.0])


def test_stop_gradient_keeps_the_value_and_drops_the_derivative():
    x = np.arange(3.0)
    value, tangent = funcad.jvp(lambda x: x * p.stop_gradient(x), (x,), (np.ones(3),))
    np.testing.assert_array_equal(value, x * x)
    np.testing.assert_array_equal(tangent, x)


@pytest.mark.parametrize(
    ("f", "slopes"),
    [(np.remainder, (1, -2)), (np.fmod, (1, -2)), (np.floor_divide, (0, 0))],
)
def test_division_with_remainder_has_the_slopes_of_its_branch(f, slopes):
    assert partials(f, 5.5, 2.0) == list(slopes)
