"""Jacobians, Hessians and Gauss-Newton matrices as SciPy's linear operators."""

import warnings

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import least_squares, minimize
from scipy.sparse.linalg import (
    LinearOperator,
    bicg,
    cg,
    eigsh,
    gmres,
    lobpcg,
    lsmr,
    lsqr,
    minres,
    svds,
)

import funcad
from funcad import tree
from funcad.core.errors import (
    DerivativeLossError,
    InputDtypeError,
    LeafTypeError,
    NonScalarOutputError,
    OutputDtypeError,
)
from properties import generators, host

X = {"w": np.array([[0.3, -1.2], [0.7, 2.0]]), "b": np.array([0.5, -0.1])}
V = np.array([0.3, -1.0, 2.0, 0.1, 0.4, -0.7])


def model(p):
    return {"h": np.tanh(p["w"] @ p["b"]), "sum": np.sum(p["w"] ** 3)}


def loss(p):
    return np.sum(np.exp(p["b"]) * (p["w"] @ p["b"])) + np.sum(p["w"] ** 4)


def dense_jacobian(f, x, **options):
    """The whole matrix, for vectors in the order of ``ravel_pytree``."""
    vector, unravel = funcad.ravel_pytree(x)
    return funcad.jacfwd(lambda v: funcad.ravel_pytree(f(unravel(v)))[0], **options)(
        vector
    )


def dense_hessian(f, x):
    vector, unravel = funcad.ravel_pytree(x)
    return funcad.hessian(lambda v: f(unravel(v)))(vector)


def assert_is(operator, matrix, rtol=1e-12):
    """All products are those of the matrix, for vectors, columns and blocks."""
    rng = np.random.default_rng(0)
    m, n = matrix.shape
    assert operator.shape == matrix.shape
    assert operator.dtype == matrix.dtype
    for kind in (float, complex):
        vs = rng.normal(size=(n, 3)).astype(kind)
        us = rng.normal(size=(m, 3)).astype(kind)
        if kind is complex:
            vs, us = vs + 1j * rng.normal(size=(n, 3)), us * (1 - 0.5j)
        adjoint = matrix.conj().T
        for got, wanted in [
            (operator @ vs, matrix @ vs),
            (operator @ vs[:, 0], matrix @ vs[:, 0]),
            (operator.matvec(vs[:, :1]), matrix @ vs[:, :1]),
            (operator.rmatvec(us[:, 0]), adjoint @ us[:, 0]),
            (operator.H @ us, adjoint @ us),
            (operator.T @ us, matrix.T @ us),
        ]:
            assert got.shape == wanted.shape
            assert got.dtype == wanted.dtype
            np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol)


def as_matrix(x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.asmatrix(x)


# --------------------------------------------------------------------------- Jacobians


def test_a_jacobian_is_the_matrix_on_raveled_trees():
    operator = funcad.linear_operator(model, X)
    assert isinstance(operator, LinearOperator)
    assert_is(operator, dense_jacobian(model, X))


@given(generators(), st.integers(1, 4), st.integers(1, 5))
def test_matvec_and_rmatvec_are_adjoint(rng, m, n):
    a, x = rng.normal(size=(m, n)), rng.normal(size=n)
    operator = funcad.linear_operator(lambda x: np.sin(a @ x) * a[:, 0], x)
    v, u = rng.normal(size=n), rng.normal(size=m)
    np.testing.assert_allclose(
        u @ operator.matvec(v), operator.rmatvec(u) @ v, rtol=1e-10, atol=1e-12
    )


def test_a_holomorphic_jacobian_has_the_adjoint_not_the_transpose():
    z = np.array([1.0 + 2j, -0.5j, 0.3])

    def f(z):
        return np.stack([z[0] * z[1], 1j * np.exp(z[2]), z[0] ** 2 + z[2], z[1]])

    operator = funcad.linear_operator(f, z, holomorphic=True)
    matrix = dense_jacobian(f, z, holomorphic=True)
    assert matrix.dtype == complex
    assert_is(operator, matrix)


def test_complex_results_of_real_numbers_have_an_adjoint_too():
    x = np.array([0.5, -1.0, 2.0])

    def f(x):
        return np.stack([x[0] * x[1] * 1j, np.exp(1j * x[2]), x[0] + 0j])

    assert_is(funcad.linear_operator(f, x), dense_jacobian(f, x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_have_the_dtype_of_a_matrix_times_the_vector(dtype):
    x = np.array([1.0, 2.0], dtype)
    for operator in (
        funcad.linear_operator(lambda x: x**2, x),
        funcad.hessian_operator(lambda x: np.sum(x**3), x),
    ):
        assert operator.dtype == dtype
        for kind in (np.float32, np.float64, np.complex64, np.int64):
            wanted = np.eye(2, dtype=dtype) @ np.ones(2, kind)
            assert operator.matvec(np.ones(2, kind)).dtype == wanted.dtype
            assert operator.rmatvec(np.ones(2, kind)).dtype == wanted.dtype


def test_leaves_of_several_dtypes_are_seen_in_their_common_one():
    x = {"a": np.ones(2, np.float32), "b": np.array(2.0)}
    operator = funcad.linear_operator(lambda x: x["a"] * x["b"], x)
    assert (operator.shape, operator.dtype) == ((2, 3), np.float64)
    np.testing.assert_allclose(operator @ np.eye(3), [[2, 0, 1], [0, 2, 1]])


def test_numbers_and_scalars_are_vectors_of_one_entry():
    operator = funcad.linear_operator(lambda x: x**2, 3.0)
    np.testing.assert_array_equal(operator @ np.array([1.0]), [6.0])
    assert funcad.hessian_operator(lambda x: x**3, 2.0).matvec([1.0]) == [12.0]


def test_the_function_runs_once_however_many_products_are_taken():
    calls = []

    def f(x):
        calls.append(1)
        return np.sum(np.sin(x) ** 2)

    x = np.ones(3)
    operators = [
        funcad.linear_operator(f, x),
        funcad.hessian_operator(f, x),
        funcad.gauss_newton_operator(lambda x: x, f, x),
    ]
    assert len(calls) == 3
    for operator in operators:
        for _ in range(3):
            operator.matvec(x)
            operator @ np.eye(3)
            operator.rmatvec(np.ones(operator.shape[0]))
    assert len(calls) == 3


def test_what_does_not_depend_on_the_argument_has_rows_of_zeros():
    operator = funcad.linear_operator(lambda x: [np.ones(2), x[:1]], np.ones(3))
    np.testing.assert_array_equal(operator @ np.ones(3), [0, 0, 1])
    np.testing.assert_array_equal(operator.rmatvec(np.ones(3)), [1, 0, 0])
    constant = funcad.linear_operator(lambda x: np.ones(2), np.ones(3))
    np.testing.assert_array_equal(constant @ np.eye(3), np.zeros((2, 3)))
    np.testing.assert_array_equal(constant.rmatvec(np.ones(2)), np.zeros(3))
    flat = funcad.hessian_operator(lambda x: np.sum(x), np.ones(3))
    np.testing.assert_array_equal(flat @ np.ones(3), np.zeros(3))


def test_nothing_to_differentiate_makes_an_operator_without_columns():
    assert funcad.linear_operator(lambda p: np.ones(2), {}).shape == (2, 0)
    assert funcad.linear_operator(lambda p: p, {}).shape == (0, 0)
    assert funcad.hessian_operator(lambda p: np.sum(np.ones(2)), {}).shape == (0, 0)
    operator = funcad.linear_operator(lambda x: x, np.ones(3))
    assert (operator @ np.ones((3, 0))).shape == (3, 0)


def test_matrices_of_other_kinds_are_multiplied_by_too():
    operator = funcad.linear_operator(lambda x: x**2, np.array([1.0, 2.0]))
    wanted = np.diag([2.0, 4.0])
    np.testing.assert_array_equal(operator.matmat(as_matrix(np.eye(2))), wanted)
    np.testing.assert_array_equal(
        operator.matmat(scipy.sparse.eye_array(2, format="csr")), wanted
    )
    np.testing.assert_array_equal(operator @ as_matrix([[1.0], [1.0]]), [[2.0], [4.0]])


def test_numpys_dot_is_a_product():
    operator = funcad.linear_operator(lambda x: x**2, np.array([1.0, 2.0]))
    np.testing.assert_array_equal(np.dot(operator, np.ones(2)), [2.0, 4.0])
    np.testing.assert_array_equal(np.dot(operator, np.eye(2)), np.diag([2.0, 4.0]))
    with pytest.raises(TypeError, match="no implementation found"):
        np.sort(operator)


def test_operators_add_and_multiply_as_scipys_do():
    a = funcad.linear_operator(np.sin, np.zeros(3))
    h = funcad.hessian_operator(lambda x: np.sum(x**2), np.ones(3))
    np.testing.assert_allclose((2 * a + h @ a) @ np.ones(3), 4.0)


# ---------------------------------------------------------------------------- Hessians


def test_a_hessian_is_the_matrix_on_raveled_trees():
    assert_is(funcad.hessian_operator(loss, X), dense_hessian(loss, X))
    flat = funcad.Flatten(X)
    assert_is(
        funcad.hessian_operator(lambda p: loss(p.tree), flat), dense_hessian(loss, X)
    )


def test_a_hessian_of_a_jitted_function_is_that_of_the_function():
    operator = funcad.hessian_operator(funcad.jit(loss), X)
    np.testing.assert_allclose(operator @ V, dense_hessian(loss, X) @ V, rtol=1e-12)


def test_gauss_newton_is_the_jacobian_around_the_hessian_of_the_loss():
    target = {"h": np.array([1.0, 0.0]), "sum": 3.0}

    def of_result(out):
        parts = tree.map(lambda o, t: np.sum(np.cosh(o - t)), out, target)
        return sum(tree.leaves(parts))

    jacobian = dense_jacobian(model, X)
    curvature = dense_hessian(of_result, model(X))
    operator = funcad.gauss_newton_operator(model, of_result, X)
    assert_is(operator, jacobian.T @ curvature @ jacobian, rtol=1e-9)


def test_gauss_newton_of_a_linear_model_is_the_hessian():
    a = np.random.default_rng(0).normal(size=(4, 3))
    x = np.array([0.1, 0.2, -0.3])
    f = lambda r: np.sum(np.logaddexp(0, r))  # noqa: E731
    got = funcad.gauss_newton_operator(lambda x: a @ x, f, x) @ np.eye(3)
    wanted = funcad.hessian(lambda x: f(a @ x))(x)
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


# ------------------------------------------------------------------- SciPy's algorithms


def test_scipys_eigenvalues_singular_values_and_solutions_are_the_matrixs():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(12, 8))
    x = rng.normal(size=8)

    def f(x):
        return np.tanh(a @ x)

    matrix = funcad.jacfwd(f)(x)
    operator = funcad.linear_operator(f, x)
    got = np.sort(svds(operator, k=3, return_singular_vectors=False))
    wanted = np.linalg.svd(matrix, compute_uv=False)
    np.testing.assert_allclose(got, wanted[:3][::-1], rtol=1e-9)

    def g(x):
        return np.sum(np.logaddexp(0, a @ x)) + x @ x

    h = funcad.hessian(g)(x)
    operator = funcad.hessian_operator(g, x)
    largest = eigsh(operator, k=2, return_eigenvectors=False)
    np.testing.assert_allclose(np.sort(largest), np.linalg.eigvalsh(h)[-2:], rtol=1e-9)
    smallest, _ = lobpcg(operator, rng.normal(size=(8, 1)), largest=False, maxiter=99)
    np.testing.assert_allclose(smallest, np.linalg.eigvalsh(h)[:1], rtol=1e-6)
    solution, failed = cg(operator, x, rtol=1e-12)
    assert not failed
    np.testing.assert_allclose(h @ solution, x, rtol=1e-8)


@pytest.mark.parametrize("solve", [lsqr, lsmr])
def test_scipys_least_squares_take_jacobian_operators(solve):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 4)), rng.normal(size=7)
    operator = funcad.linear_operator(lambda x: np.tanh(a @ x), rng.normal(size=4))
    matrix = operator @ np.eye(4)
    solution = solve(operator, b, atol=1e-13, btol=1e-13)[0]
    wanted = np.linalg.lstsq(matrix, b)[0]
    np.testing.assert_allclose(solution, wanted, rtol=1e-8)


@pytest.mark.parametrize("solve", [bicg, cg, gmres, minres])
def test_scipys_solvers_take_hessian_operators(solve):
    a = np.random.default_rng(0).normal(size=(7, 4))
    b = np.arange(4.0)
    operator = funcad.hessian_operator(lambda x: np.sum(np.cosh(a @ x)), np.zeros(4))
    solution, failed = solve(operator, b, rtol=1e-12)
    assert not failed
    np.testing.assert_allclose(operator @ solution, b, atol=1e-9)


def test_nonlinear_least_squares_take_jacobian_operators():
    t = np.linspace(0, 1, 20)
    residuals = lambda p: p[0] * np.exp(-p[1] * t) - 2 * np.exp(-3 * t)  # noqa: E731
    found = least_squares(
        residuals,
        np.array([1.0, 0.0]),
        jac=lambda p: funcad.linear_operator(residuals, p),
        tr_solver="lsmr",
    )
    np.testing.assert_allclose(found.x, [2.0, 3.0], rtol=1e-6)


def test_numpy_says_the_dtype_of_an_operator():
    operator = funcad.linear_operator(np.sin, np.ones(2, np.float32))
    assert np.result_type(operator, np.float16) == np.float32
    assert np.result_type(np.ones(2), operator, float) == np.float64
    assert np.common_type(operator, np.ones(2, complex)) is np.complex128


def test_complex_singular_values_are_the_matrixs():
    rng = np.random.default_rng(1)
    a = rng.normal(size=(7, 6)) + 1j * rng.normal(size=(7, 6))
    z = rng.normal(size=6) * (1 + 0.5j)
    operator = funcad.linear_operator(lambda z: (a @ z) ** 2, z, holomorphic=True)
    matrix = funcad.jacfwd(lambda z: (a @ z) ** 2, holomorphic=True)(z)
    got = np.sort(svds(operator, k=2, return_singular_vectors=False))
    wanted = np.linalg.svd(matrix, compute_uv=False)[:2][::-1]
    np.testing.assert_allclose(got, wanted, rtol=1e-9)


@pytest.mark.parametrize("method", ["trust-krylov", "trust-ncg", "newton-cg"])
def test_scipys_minimisers_take_hessian_operators(method):
    def rosenbrock(x):
        return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    found = minimize(
        rosenbrock,
        np.array([-1.2, 1.0, 0.5]),
        method=method,
        jac=funcad.grad(rosenbrock),
        hess=lambda x: funcad.hessian_operator(rosenbrock, x),
    )
    np.testing.assert_allclose(found.x, 1.0, rtol=1e-3)


# --------------------------------------------------------------------- other libraries


def test_the_operator_is_of_the_library_of_the_arrays(library):
    x = tree.map(library.from_host, X)
    for operator, matrix in [
        (funcad.linear_operator(model, x), dense_jacobian(model, X)),
        (funcad.hessian_operator(loss, x), dense_hessian(loss, X)),
    ]:
        m, n = matrix.shape
        assert isinstance(operator, library.sparse_linalg.LinearOperator)
        v = library.from_host(np.linspace(-1, 1, n))
        u = library.from_host(np.linspace(-1, 1, m))
        block = library.from_host(np.eye(n)[:, :2])
        for got, wanted in [
            (operator.matvec(v), matrix @ host(v)),
            (operator.rmatvec(u), matrix.T @ host(u)),
            (operator.matmat(block), matrix[:, :2]),
            (operator.rmatmat(library.from_host(np.eye(m))), matrix.T),
        ]:
            assert type(got) is type(v)
            np.testing.assert_allclose(host(got), wanted, rtol=1e-10, atol=1e-12)


# --------------------------------------------------------------------------- bad input


def test_an_operator_inside_of_a_transform_is_refused():
    def inside(x):
        return funcad.hessian_operator(lambda x: np.sum(x**2), x).matvec(x)

    for transform in (
        lambda f: funcad.vmap(f)(np.ones((2, 3))),
        lambda f: funcad.jvp(f, (V,), (V,)),
        lambda f: funcad.jit(f)(V),
    ):
        with pytest.raises(DerivativeLossError, match="SciPy computes with values"):
            transform(inside)


def test_integers_and_complex_numbers_are_refused_by_name():
    with pytest.raises(InputDtypeError, match=r"\['n'\] is int64.*close over integers"):
        funcad.linear_operator(lambda p: p["x"], {"n": np.arange(2), "x": np.ones(2)})
    with pytest.raises(InputDtypeError, match="holomorphic=True for a holomorphic"):
        funcad.linear_operator(lambda z: z, np.ones(2) * 1j)
    with pytest.raises(InputDtypeError, match="takes complex inputs"):
        funcad.linear_operator(lambda z: z, np.ones(2), holomorphic=True)
    for make in (
        funcad.hessian_operator,
        lambda f, x: funcad.gauss_newton_operator(lambda x: x, f, x),
    ):
        with pytest.raises(InputDtypeError, match="real and imaginary parts"):
            make(lambda z: np.sum(np.abs(z)), np.ones(2) * 1j)


def test_results_without_a_derivative_are_refused():
    with pytest.raises(OutputDtypeError, match=r"\[1\] of this one's is int64"):
        funcad.linear_operator(lambda x: (x, np.argmax(x)), np.ones(2))
    with pytest.raises(OutputDtypeError, match="complex results"):
        funcad.linear_operator(lambda z: z.real, np.ones(2) * 1j, holomorphic=True)
    with pytest.raises(OutputDtypeError, match="models whose results are real"):
        funcad.gauss_newton_operator(lambda x: 1j * x, lambda z: 0.0, np.ones(2))
    with pytest.raises(LeafTypeError, match="not an array"):
        funcad.linear_operator(lambda x: "text", np.ones(2))


def test_hessians_are_of_scalars():
    for make in (
        funcad.hessian_operator,
        lambda f, x: funcad.gauss_newton_operator(lambda x: x, f, x),
    ):
        with pytest.raises(NonScalarOutputError, match=r"float64\[2\]"):
            make(lambda x: x**2, np.ones(2))


def test_what_is_no_function_is_refused():
    for make in (funcad.linear_operator, funcad.hessian_operator):
        with pytest.raises(TypeError, match="takes a function and was given 3"):
            make(3, np.ones(2))
    with pytest.raises(TypeError, match="takes a function and was given 3"):
        funcad.gauss_newton_operator(np.sin, 3, np.ones(2))
    with pytest.raises(LeafTypeError, match="of type str"):
        funcad.linear_operator(np.sin, "text")


def test_vectors_of_another_length_are_refused():
    with pytest.raises(ValueError, match="dimension mismatch"):
        funcad.hessian_operator(loss, X).matvec(np.ones(5))
