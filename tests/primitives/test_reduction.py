"""Zeros, ties and empty axes under reductions and running functions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcad


def products_of_others(x):
    return [np.prod(np.delete(x, i)) for i in range(len(x))]


@given(st.lists(st.sampled_from([0.0, 0.0, 1.0, -2.0, 3.0]), min_size=1, max_size=6))
def test_gradient_of_a_product_is_the_product_of_the_others_with_zeros_too(entries):
    x = np.array(entries)
    np.testing.assert_array_equal(funcad.grad(np.prod)(x), products_of_others(x))


@given(st.lists(st.sampled_from([0.0, 0.0, 1.0, -2.0, 3.0]), min_size=1, max_size=6))
def test_jacobian_of_cumprod_is_exact_with_zeros_too(entries):
    x = np.array(entries)
    want = np.zeros((len(x), len(x)))
    for i in range(len(x)):
        want[i, : i + 1] = products_of_others(x[: i + 1])
    np.testing.assert_array_equal(funcad.jacfwd(np.cumprod)(x), want)
    np.testing.assert_array_equal(funcad.jacrev(np.cumprod)(x), want)


def test_second_derivative_of_a_product_is_exact_with_zeros_too():
    got = funcad.hessian(np.prod)(np.array([0.0, 0.0, 3.0]))
    np.testing.assert_array_equal(got, [[0, 3, 0], [3, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize("extremum", [np.max, np.min])
def test_entries_that_attain_an_extremum_share_its_derivative(extremum):
    x = np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]])
    got = funcad.grad(lambda x: np.sum(extremum(x, axis=1)))(x)
    np.testing.assert_array_equal(got, np.full((2, 4), 0.25))


def test_a_running_extremum_follows_the_latest_entry_that_attains_it():
    x = np.array([1.0, 3.0, 3.0, 2.0])
    got = funcad.jacfwd(np.maximum.accumulate)(x)
    latest = np.eye(4)[[0, 1, 2, 2]]
    np.testing.assert_array_equal(got, latest)


def test_sorting_is_stable_in_its_derivative():
    x = np.array([2.0, 1.0, 1.0])
    got = funcad.jacfwd(np.sort)(x)
    np.testing.assert_array_equal(got, np.eye(3)[[1, 2, 0]])


@pytest.mark.parametrize("reduction", [np.sum, np.prod])
def test_the_gradient_of_a_reduction_of_nothing_is_empty(reduction):
    assert funcad.grad(reduction)(np.zeros((2, 0))).shape == (2, 0)
