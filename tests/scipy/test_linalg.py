"""``funcad.scipy.linalg``: what is SciPy's own, delicate points, wrong input."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

import funcad
from differences import directional_derivative
from funcad.errors import DegenerateError, UnsupportedFunctionError
from funcad.scipy import linalg


def matrix(n=3, seed=0, dtype=float):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, n))
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.normal(size=(n, n))
    return x


def positive(n=3, seed=0, dtype=float):
    x = matrix(n, seed, dtype)
    return x @ x.conj().T + n * np.eye(n)


def close(got, want, rtol=1e-8, atol=1e-8):
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


def along(f, t):
    """The derivative of a function along a direction, as a function."""
    return lambda a: funcad.jvp(f, (a,), (t,))[1]


@pytest.mark.parametrize("name", linalg.__all__)
def test_names_are_scipys(name):
    assert callable(getattr(scipy.linalg, name))


def test_plain_arrays_are_left_to_scipy_with_all_of_its_arguments():
    a = positive()
    w, v = linalg.eigh(a, subset_by_index=[1, 2], check_finite=False)
    want = scipy.linalg.eigh(a, subset_by_index=[1, 2])
    close(w, want[0])
    close(v, want[1])
    q, _, pivots = linalg.qr(a, pivoting=True)
    close(q, scipy.linalg.qr(a, pivoting=True)[0])
    assert sorted(pivots) == [0, 1, 2]


@pytest.mark.parametrize("shapes", [((2, 4, 3), (4,)), ((4, 3), (5, 4, 2))])
def test_least_squares_of_stacks_are_scipys(shapes):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=shape) for shape in shapes)
    for got, want in zip(
        funcad.vjp(linalg.lstsq, a, b)[0], scipy.linalg.lstsq(a, b), strict=True
    ):
        close(got, want)


def test_matrix_that_is_not_positive_definite_is_refused_where_it_was_said_to_be():
    b = np.ones(3)
    with pytest.raises(np.linalg.LinAlgError):
        along(lambda a: linalg.solve(a, b, assume_a="pos"), np.eye(3))(-np.eye(3))


def test_arguments_that_say_how_to_compute_are_taken_and_others_refused():
    a = positive()
    got = along(lambda a: linalg.inv(a, check_finite=False, overwrite_a=True), a)(a)
    close(got, -np.linalg.inv(a))
    with pytest.raises(TypeError, match="pivoting"):
        along(lambda a: linalg.qr(a, pivoting=True)[0], a)(a)
    with pytest.raises(TypeError, match="lapack_driver"):
        along(lambda a: linalg.svd(a, lapack_driver="gesvd")[1], a)(a)


def test_what_another_library_lacks_is_an_error_that_names_it():
    from backend_double import Array

    with pytest.raises(UnsupportedFunctionError, match="logm"):
        linalg.logm(Array(np.eye(2)))
    with pytest.raises(UnsupportedFunctionError, match="logm"):
        funcad.vmap(linalg.logm)(Array(np.ones((1, 2, 2))))


# ------------------------------------------------------------------ matrix functions


def test_gradient_of_the_trace_of_a_matrix_function_is_its_derivative_transposed():
    a = positive(4)
    expm, inv, sqrtm = scipy.linalg.expm, np.linalg.inv, scipy.linalg.sqrtm
    close(funcad.grad(lambda a: np.trace(linalg.expm(a / 5)))(a), expm(a / 5).T / 5)
    close(funcad.grad(lambda a: np.trace(linalg.logm(a)))(a), inv(a).T)
    close(funcad.grad(lambda a: np.trace(linalg.sqrtm(a)))(a), inv(sqrtm(a)).T / 2)


def test_exponential_of_commuting_matrices_has_the_derivative_of_numbers():
    a = matrix() / 2
    close(along(linalg.expm, a @ a)(a), a @ a @ scipy.linalg.expm(a))
    close(along(linalg.expm, np.eye(3))(np.zeros((3, 3))), np.eye(3))


@pytest.mark.parametrize("name", ["expm", "logm", "sqrtm"])
@pytest.mark.parametrize("dtype", [float, complex])
def test_derivatives_of_matrix_functions_up_to_the_third(name, dtype):
    function = getattr(linalg, name)
    a = positive(3, dtype=dtype) / 3
    r, s, t = (matrix(3, seed, dtype) for seed in (1, 2, 3))
    first, second = along(function, t), along(along(function, t), s)
    (want,) = directional_derivative(function, (a,), (t,))
    close(first(a), want)
    (want,) = directional_derivative(first, (a,), (s,))
    close(second(a), want)
    (want,) = directional_derivative(second, (a,), (r,))
    close(along(second, r)(a), want)
    close(along(along(function, s), t)(a), second(a))


def test_matrix_functions_are_smooth_where_eigenvalues_repeat():
    for a in (np.eye(3), np.array([[1.0, 1, 0], [0, 1, 1], [0, 0, 1]])):
        t = matrix()
        for function in (linalg.expm, linalg.logm, linalg.sqrtm):
            (want,) = directional_derivative(function, (a,), (t,))
            close(along(function, t)(a), want, 1e-6, 1e-6)


def test_real_matrices_with_negative_eigenvalues_have_complex_functions():
    a, t = np.diag([-1.0, 4.0]), matrix(2)
    for function in (linalg.sqrtm, linalg.logm):
        value, got = funcad.jvp(function, (a,), (t,))
        close(value, function(a))
        (want,) = directional_derivative(lambda a, f=function: f(a + 0j), (a,), (t,))
        close(got, want)
        program = funcad.make_program(function)(a)
        with pytest.raises(DegenerateError, match="astype"):
            program.evaluate([a])


@pytest.mark.filterwarnings("ignore")
def test_square_roots_and_logarithms_of_singular_matrices_have_no_derivative():
    singular = np.diag([0.0, 4.0])
    close(funcad.vjp(linalg.sqrtm, singular)[0], np.diag([0.0, 2.0]))
    with pytest.raises(np.linalg.LinAlgError):
        funcad.grad(lambda a: np.sum(linalg.sqrtm(a)))(singular)
    with pytest.raises(DegenerateError, match="singular"):
        funcad.grad(lambda a: np.sum(linalg.logm(a)))(singular)


def test_sylvesters_equation_without_a_single_solution_is_an_error():
    a = np.eye(2)
    with pytest.raises(np.linalg.LinAlgError, match="eigenvalue in common"):
        funcad.grad(lambda q: np.sum(linalg.solve_sylvester(a, -a, q)))(np.eye(2))


# ----------------------------------------------------------------- factors, structure


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (1, 1)])
@pytest.mark.parametrize("dtype", [float, complex])
def test_derivatives_of_triangular_factors_rebuild_the_direction(shape, dtype):
    rng = np.random.default_rng(0)
    a, t = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    if np.dtype(dtype).kind == "c":
        a = a + 1j * rng.normal(size=shape)
    (p, lower, upper), (_, d_lower, d_upper) = funcad.jvp(linalg.lu, (a,), (t,))
    close(p @ lower @ upper, a)
    close(p @ (d_lower @ upper + lower @ d_upper), t)
    assert not np.triu(d_lower).any()
    assert not np.tril(d_upper, -1).any()


@pytest.mark.parametrize("trans", [0, 1, 2])
def test_solutions_by_factors_agree_with_solutions(trans):
    a, b = matrix(4, 1, complex), matrix(4, 2, complex)
    turned = {0: lambda a: a, 1: lambda a: a.T, 2: lambda a: np.conj(a).T}[trans]

    def by_factors(a, b):
        return linalg.lu_solve(linalg.lu_factor(a), b, trans=trans)

    def directly(a, b):
        return np.linalg.solve(turned(a), b)

    got = funcad.jvp(by_factors, (a, b), (b, a))
    want = funcad.jvp(directly, (a, b), (b, a))
    close(got[0], want[0])
    close(got[1], want[1])
    vector = funcad.jvp(lambda b: by_factors(a, b), (b[0],), (b[0],))[1]
    close(vector, np.linalg.solve(turned(a), b[0]))


@pytest.mark.parametrize("lower", [True, False])
def test_solutions_by_cholesky_factors_agree_with_solutions(lower):
    a, b, t = positive(4, 1, complex), matrix(4, 2, complex), positive(4, 3, complex)

    def by_factors(a):
        return linalg.cho_solve(linalg.cho_factor(a, lower=lower), b)

    close(along(by_factors, t)(a), along(lambda a: np.linalg.solve(a, b), t)(a))


@pytest.mark.parametrize("what", ["sym", "her", "pos", "upper triangular", "gen"])
def test_what_is_assumed_of_a_matrix_is_what_is_looked_at(what):
    a = positive(3, dtype=complex if what == "her" else float)
    a[0, 1] += 0 if what == "gen" else 1
    b = np.arange(3.0)
    got = funcad.vjp(lambda a: linalg.solve(a, b, assume_a=what, lower=False), a)[0]
    close(got, scipy.linalg.solve(a, b, assume_a=what, lower=False))


def test_generalised_eigenvalues_depend_on_both_matrices():
    a, b, s, t = (positive(3, seed) for seed in range(4))
    got = funcad.jvp(linalg.eigvalsh, (a, b), (s, t))
    close(got[0], scipy.linalg.eigvalsh(a, b))
    (want,) = directional_derivative(scipy.linalg.eigvalsh, (a, b), (s, t))
    close(got[1], want)


def test_stacks_are_taken_by_every_function_of_matrices():
    a = np.stack([positive(3, seed) for seed in range(2)])
    b = np.stack([matrix(3, seed) for seed in range(2)])
    calls = [
        lambda a, b: linalg.solve(a, b),
        lambda a, b: linalg.solve_triangular(a, b, trans=1),
        lambda a, b: linalg.lu_solve(linalg.lu_factor(a), b),
        lambda a, b: linalg.cho_solve(linalg.cho_factor(a), b),
        lambda a, b: linalg.eigvalsh(b + np.swapaxes(b, -1, -2), a),
        lambda a, b: linalg.solve_sylvester(a, a, b),
        lambda a, b: linalg.pinv(b, rtol=1e-9),
        lambda a, b: linalg.expm(b),
        lambda a, b: linalg.block_diag(a, b),
        lambda a, b: linalg.toeplitz(a[..., 0], b[..., 0]),
        lambda a, b: linalg.circulant(b[..., 0]),
        lambda a, b: linalg.khatri_rao(a, b),
    ]
    for call in calls:
        _, got = funcad.jvp(call, (a, b), (a, b))
        for i in range(2):
            _, want = funcad.jvp(call, (a[i], b[i]), (a[i], b[i]))
            close(got[i], want)


def test_one_factorisation_serves_expert_and_plain_solutions(monkeypatch):
    from funcad.backends.numpy import NumpyBackend

    count = []
    factor = NumpyBackend.lu_factor

    def counted(self, a):
        count.append(1)
        return factor(self, a)

    monkeypatch.setattr(NumpyBackend, "lu_factor", counted)
    b = np.ones(3)
    funcad.hessian(lambda a: np.sum(linalg.solve(a, b, transposed=True)))(positive())
    assert len(count) == 1


# -------------------------------------------------------------------------- wrong input

SQUARE, WIDE, LINE = np.eye(2) * 3, np.ones((2, 3)), np.ones(3)
WRONG = {
    "solve wide": lambda f, x: f.solve(x(WIDE), WIDE),
    "solve mismatched": lambda f, x: f.solve(x(SQUARE), LINE),
    "solve singular": lambda f, x: f.solve(x(np.zeros((2, 2))), np.ones(2)),
    "solve structure": lambda f, x: f.solve(x(SQUARE), np.ones(2), assume_a="odd"),
    "triangular singular": lambda f, x: f.solve_triangular(
        x(np.zeros((2, 2))), np.ones(2)
    ),
    "triangular mismatched": lambda f, x: f.solve_triangular(x(SQUARE), LINE),
    "cholesky": lambda f, x: f.cholesky(x(-SQUARE)),
    "qr mode": lambda f, x: f.qr(x(SQUARE), mode="odd"),
    "lstsq": lambda f, x: f.lstsq(x(SQUARE), LINE),
    "lstsq 1-d": lambda f, x: f.lstsq(x(LINE), LINE),
    "sylvester": lambda f, x: f.solve_sylvester(x(SQUARE), SQUARE, WIDE),
    "columns": lambda f, x: f.khatri_rao(x(SQUARE), WIDE),
    "columns of a vector": lambda f, x: f.khatri_rao(x(LINE), LINE),
    "lu_solve": lambda f, x: f.lu_solve((x(SQUARE), np.arange(2)), LINE),
    "cho_solve": lambda f, x: f.cho_solve((x(SQUARE), True), LINE),
    "tolerance": lambda f, x: f.pinv(x(SQUARE), rtol=-1),
    "expm 1-d": lambda f, x: f.expm(x(LINE)),
    "sqrtm wide": lambda f, x: f.sqrtm(x(WIDE)),
}


def kind_of(error):
    """The class that a user of SciPy would catch."""
    known = (np.linalg.LinAlgError, TypeError, ValueError)
    return next(kind for kind in known if isinstance(error, kind))


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_raises_what_scipy_raises(name):
    call = WRONG[name]
    operands = []
    with pytest.raises(Exception) as plain:
        call(scipy.linalg, lambda a: operands.append(a) or a)
    first, expected = operands[0], kind_of(plain.value)
    if expected is np.linalg.LinAlgError:  # which is a ValueError
        expected = ValueError

    def traced(x):
        return call(linalg, lambda a: x if a is first else a)

    with pytest.raises(expected):
        funcad.jvp(traced, (first,), (first,))
    with pytest.raises(expected):
        funcad.vmap(traced)(np.stack([first, first]))
