"""Formulas that derivatives of linear algebra must agree with."""

from __future__ import annotations

import numpy as np
import pytest

import funcad
from funcad.primitives import linalg as p


def matrix(n, dtype=float, positive=False):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, n)).astype(dtype)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.normal(size=(n, n))
    return x @ x.conj().T + np.eye(n) if positive else x + 2 * np.eye(n)


def test_gradient_of_the_logarithm_of_a_determinant_is_the_inverse_transposed():
    a = matrix(4)
    got = funcad.grad(lambda a: np.linalg.slogdet(a)[1])(a)
    np.testing.assert_allclose(got, np.linalg.inv(a).T, rtol=1e-10)


def test_sign_of_a_complex_determinant_turns_at_the_rate_of_its_argument():
    a, t = matrix(3, complex), matrix(3, complex)
    (sign, _), (turned, stretched) = funcad.jvp(
        lambda a: tuple(np.linalg.slogdet(a)), (a,), (t,)
    )
    rate = np.trace(np.linalg.solve(a, t))
    np.testing.assert_allclose(turned, 1j * sign * rate.imag, rtol=1e-10)
    np.testing.assert_allclose(stretched, rate.real, rtol=1e-10)


@pytest.mark.parametrize("dtype", [float, complex])
def test_gradient_of_cholesky_is_hermitian_and_agrees_with_the_determinant(dtype):
    a = matrix(4, dtype, positive=True)

    def half_logdet(a):
        factor = np.linalg.cholesky(a)
        return np.sum(np.log(np.real(np.diagonal(factor))))

    got = funcad.grad(half_logdet)(a)
    np.testing.assert_allclose(got, got.conj().T, atol=1e-12)
    np.testing.assert_allclose(got, 0.5 * np.linalg.inv(a).T, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("lower", [True, False])
def test_triangular_solve_never_looks_at_the_other_triangle(lower):
    a, b = matrix(3), matrix(3)
    other = np.triu(np.ones((3, 3)), 1).astype(bool)
    a[other if lower else other.T] = np.nan
    clean = np.tril(a) if lower else np.triu(a)
    clean[np.isnan(clean)] = 0
    want = np.linalg.solve(clean, b)
    np.testing.assert_allclose(
        p.triangular_solve(a, b, lower=lower), want, rtol=1e-12, atol=1e-12
    )
    got = funcad.grad(lambda a: np.sum(p.triangular_solve(a, b, lower=lower)))(a)
    want = funcad.grad(lambda a: np.sum(np.linalg.solve(a, b)))(clean)
    want[other if lower else other.T] = 0
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_not_a_number_goes_through_solvers_as_in_numpy():
    a = matrix(3)
    a[0, 0] = np.nan
    assert np.isnan(p.triangular_solve(a, np.ones((3, 1)), lower=True)).any()


def test_integers_are_solved_in_double_precision_whatever_stands_beside_them():
    single = np.ones((2, 1), np.float32)
    for integers in (np.int8, np.int64, bool):
        a = np.eye(2, dtype=integers)
        assert np.linalg.solve(a, single).dtype == np.float64
        got = funcad.jvp(lambda b, a=a: np.linalg.solve(a, b), (single,), (single,))[1]
        assert got.dtype == np.float64


def test_singular_matrices_raise_numpys_error():
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        funcad.grad(lambda a: np.sum(np.linalg.inv(a)))(np.zeros((2, 2)))
