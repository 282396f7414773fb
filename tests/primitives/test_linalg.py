"""Formulas that derivatives of linear algebra must agree with."""

from __future__ import annotations

import numpy as np
import pytest

import funcad
from funcad.backends import backend_of, elimination
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_factors_with_pivots_are_those_of_the_matrix(dtype):
    rng = np.random.default_rng(0)
    few = ((4, 4), (2, 5, 3), (3, 5), (2, 1, 3, 3), (0, 3, 3), (2, 0, 0))
    for shape in (*few, (50, 3, 3), (5, 8, 4, 2), (40, 2, 4), (33, 1, 1), (40, 8, 8)):
        a = rng.normal(size=shape).astype(dtype)
        if np.dtype(dtype).kind == "c":
            a = a + (1j * rng.normal(size=shape)).astype(dtype)
        lu, pivots = p.lu_factor(a)
        lower, upper = p.unpack_lu(lu)
        exchanged = p.permutation_matrix(pivots, shape[-2], a)
        assert lu.dtype == lower.dtype == upper.dtype == dtype
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(exchanged @ a, lower @ upper, atol=100 * eps)


def test_systems_with_stacks_on_either_side_are_solved_one_by_one():
    a = np.stack([matrix(3), matrix(3) + np.eye(3)])
    b = np.random.default_rng(0).normal(size=(4, 1, 3, 2))
    want = np.linalg.solve(a, b)
    np.testing.assert_allclose(p.solve(a, b), want, rtol=1e-12)
    np.testing.assert_allclose(p.solve(a[0], b), np.linalg.solve(a[0], b), rtol=1e-12)
    transposed = p.factored_solve(*p.with_factors(a), b[0], transposed=True)
    want = np.linalg.solve(np.swapaxes(a, -1, -2), b[0])
    np.testing.assert_allclose(transposed, want, rtol=1e-12)


def test_empty_matrices_are_factored_and_solved():
    for shape, right in (((0, 0), (0, 2)), ((3, 0, 0), (3, 0, 1)), ((2, 2), (2, 0))):
        a, b = np.ones(shape) + np.eye(shape[-1]), np.ones(right)
        assert p.solve(a, b).shape == right
    assert np.linalg.det(np.ones((0, 0))) == 1
    assert funcad.jvp(np.linalg.det, (np.ones((0, 0)),), (np.ones((0, 0)),))[0] == 1


def test_guard_lets_pass_what_may_be_divided_and_no_derivative_else():
    t = np.ones(3)
    params = {"tolerance": 1e-3, "why": "no gap."}
    assert p.guard(t, np.array([1.0, 2.0]), 10.0, **params) is t
    for d in (np.array([1.0, 0.0]), np.array([1.0, -1e-4])):
        with pytest.raises(funcad.errors.DegenerateError, match="no gap"):
            p.guard(t, d, 10.0, **params)
    zero = np.zeros(2)
    program = funcad.make_program(lambda t: (t, p.guard(t, zero, 1.0, **params)))(t)
    with pytest.raises(funcad.errors.DegenerateError):
        program.evaluate([t])
    x = p.fence(t, zero, 1.0, **params)
    assert x is t
    with pytest.raises(funcad.errors.DegenerateError):
        funcad.grad(lambda t: np.sum(p.fence(t, zero, 1.0, **params)))(t)


def test_singular_matrices_have_factors_and_no_solutions():
    for a in (np.zeros((2, 2)), np.ones((3, 2, 2))):
        lu, pivots = p.lu_factor(a)
        assert np.isfinite(lu).all()
        with pytest.raises(np.linalg.LinAlgError, match="Singular"):
            p.factored_solve(a, lu, pivots, np.ones((2, 1)), transposed=False)


@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.parametrize("name", ["numpy", "double"])
def test_many_small_systems_are_solved_as_one_by_one(name, dtype):
    from backend_double import Array

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(10, 5, 4, 4)), rng.normal(size=(10, 5, 4, 2)).astype(dtype)
    a = a + (1j * rng.normal(size=a.shape) if dtype is complex else 0)
    x, y = (a, b) if name == "numpy" else (Array(a), Array(b))
    for transposed in (False, True):
        got = p.factored_solve(*p.with_factors(x, y), y, transposed=transposed)
        want = np.linalg.solve(np.swapaxes(a, -1, -2) if transposed else a, b)
        got = got if name == "numpy" else got.get()
        np.testing.assert_allclose(got, want, rtol=1e-10)
    flat = a.reshape(-1, 4, 4)
    lu, pivots = backend_of().lu_factor(flat[:1])
    both = elimination.factorise(
        np if name == "numpy" else backend_of(x).namespace,
        flat if name == "numpy" else Array(flat),
    )
    lus, exchanged = (v if name == "numpy" else v.get() for v in both)
    np.testing.assert_allclose(lus[:1], lu, rtol=1e-12)
    np.testing.assert_array_equal(exchanged[:1], pivots)
