"""Linear algebra where derivatives are delicate, against what a mathematician says."""

from __future__ import annotations

import numpy as np
import pytest

import funcad
from differences import directional_derivative
from funcad.errors import DegenerateError
from funcad.primitives import linalg as p

LinAlgError = np.linalg.LinAlgError


def rng(seed=0):
    return np.random.default_rng(seed)


def matrix(n=3, dtype=float, seed=0):
    x = rng(seed).normal(size=(n, n))
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng(seed + 1).normal(size=(n, n))
    return (x + 2 * n * np.eye(n)).astype(dtype)


def rotation(n, seed=0, dtype=float):
    x = rng(seed).normal(size=(n, n))
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng(seed + 1).normal(size=(n, n))
    return np.linalg.qr(x)[0]


def along(f, t):
    """The derivative of a function along a direction, as a function."""
    return lambda a: funcad.jvp(f, (a,), (t,))[1]


def close(got, want, rtol=1e-9, atol=1e-9):
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


# ------------------------------------------------------------------ course exercises


def test_gradient_of_the_trace_of_a_product_with_an_inverse():
    a, x, b = matrix(4, seed=1), matrix(4, seed=2), matrix(4, seed=3)
    got = funcad.grad(lambda x: np.trace(a @ np.linalg.inv(x) @ b))(x)
    inverse = np.linalg.inv(x)
    close(got, -(inverse @ b @ a @ inverse).T)
    solved = funcad.grad(lambda x: np.trace(a @ np.linalg.solve(x, b)))(x)
    close(solved, got)


def test_hessian_of_a_third_of_the_cube_of_the_length():
    x = rng().normal(size=5)
    length = np.linalg.norm(x)
    got = funcad.hessian(lambda x: np.linalg.norm(x) ** 3 / 3)(x)
    close(got, length * np.eye(5) + np.outer(x, x) / length)


def test_derivatives_of_a_loss_through_the_solution_of_a_system():
    a, b, y = matrix(4), rng(1).normal(size=4), rng(2).normal(size=4)

    def loss(a, b):
        return 0.5 * np.sum((np.linalg.solve(a, b) - y) ** 2)

    x = np.linalg.solve(a, b)
    by_b = np.linalg.solve(a.T, x - y)
    got_a, got_b = funcad.grad(loss, (0, 1))(a, b)
    close(got_b, by_b)
    close(got_a, -np.outer(by_b, x))


def test_derivative_of_the_nuclear_norm_is_the_product_of_the_singular_vectors():
    x = rng().normal(size=(5, 3))
    u, _, vh = np.linalg.svd(x, full_matrices=False)
    close(funcad.grad(lambda x: np.linalg.norm(x, "nuc"))(x), u @ vh)


# --------------------------------------------------------- one factorisation for all

B = np.arange(3.0)
# NumPy's functions as they were before a test counts calls of them
NP = {name: getattr(np.linalg, name) for name in np.linalg.__all__}
FACTORED_ONCE = {
    "solve": lambda a: np.sum(NP["solve"](a, B) ** 2),
    "det": lambda a: NP["det"](a) ** 2,
    "slogdet": lambda a: NP["slogdet"](a)[1] ** 2,
    "inv": lambda a: np.sum(NP["inv"](a) ** 2),
    "pinv": lambda a: np.sum(NP["pinv"](a) ** 2),
    "eigvalsh": lambda a: np.sum(NP["eigvalsh"](a) ** 3),
    "eigh": lambda a: np.sum(NP["eigh"](a)[1] ** 3),
    "svdvals": lambda a: np.sum(NP["svdvals"](a) ** 3),
    "lstsq": lambda a: np.sum(NP["lstsq"](a, B, None)[0] ** 3),
    "cholesky": lambda a: np.sum(NP["cholesky"](a) ** 3),
}


@pytest.fixture
def factorisations(monkeypatch):
    """Names of the factorisations that run."""
    from funcad.backends.numpy import NumpyBackend

    # the names of NumPy's tuples are looked up once
    funcad.jvp(NP["slogdet"], (np.eye(1),), (np.eye(1),))
    names = []

    def counted(name, function):
        def call(*args, **kwargs):
            names.append(name)
            return function(*args, **kwargs)

        return call

    for name in ("solve", "inv", "det", "slogdet", "svd", "eigh", "eig", "cholesky"):
        monkeypatch.setattr(np.linalg, name, counted(name, NP[name]))
    factor = counted("lu_factor", NumpyBackend.lu_factor)
    monkeypatch.setattr(NumpyBackend, "lu_factor", lambda self, a: factor(self, a))
    return names


@pytest.mark.parametrize("name", FACTORED_ONCE)
def test_one_factorisation_serves_the_value_and_its_gradient(name, factorisations):
    a = matrix() @ matrix().T
    funcad.value_and_grad(FACTORED_ONCE[name])(a)
    assert len(factorisations) == 1


def test_one_factorisation_serves_the_hessian_of_a_solution(factorisations):
    funcad.hessian(FACTORED_ONCE["solve"])(matrix())
    assert factorisations == ["lu_factor"]


# ---------------------------------------------------------- determinants, also singular


def adjugate_transposed(a):
    n = len(a)
    return np.array(
        [
            [
                (-1) ** (i + j)
                * np.linalg.det(np.delete(np.delete(a, i, axis=0), j, axis=1))
                for j in range(n)
            ]
            for i in range(n)
        ]
    )


def of_rank(rank, n=4, dtype=float):
    s = np.array([3.0, 2.0, 1.5, 1.0][:n])
    s[rank:] = 0
    return rotation(n, 1, dtype) @ np.diag(s) @ rotation(n, 2, dtype)


EXACTLY_SINGULAR = [
    np.zeros((3, 3)),
    np.diag([0.0, 2.0, 3.0]),
    np.diag([0.0, 0.0, 3.0]),
    np.ones((3, 3)),
    np.arange(9.0).reshape(3, 3),
    np.eye(3),
    np.array([[2.0]]),
    np.array([[0.0]]),
    np.array([[1.0, 2.0], [2.0, 4.0]]),
]


@pytest.mark.parametrize(
    "a", [*EXACTLY_SINGULAR, *(of_rank(r) for r in range(5)), of_rank(3, 4, complex)]
)
def test_derivatives_of_a_determinant_are_cofactors_also_where_it_is_zero(a):
    n = len(a)
    det = np.linalg.det
    holomorphic = a.dtype.kind == "c"
    got = funcad.grad(det, holomorphic=holomorphic)(a)
    close(got, adjugate_transposed(a))
    # to the second order: cofactors of a + t are a quadratic polynomial for n <= 3, and
    # one of degree n - 1 in general, whose derivative five points give exactly
    t = matrix(n, a.dtype) - 2 * n * np.eye(n)
    _, got = funcad.jvp(funcad.grad(det, holomorphic=holomorphic), (a,), (t,))
    (want,) = directional_derivative(adjugate_transposed, (a,), (t,), step=0.1)
    close(got, want)
    twice = funcad.grad(
        lambda a: np.sum(np.real(t * funcad.grad(det, holomorphic=holomorphic)(a)))
    )(a)
    close(twice, want)


def test_third_derivative_of_a_determinant_is_right_or_an_error():
    t = [rng(i).normal(size=(3, 3)) for i in range(3)]

    def third(a):
        return along(along(along(np.linalg.det, t[0]), t[1]), t[2])(a)

    # of a cubic form, the third derivative is the polarised form, the same everywhere
    signs = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    want = sum(
        (-1) ** (3 - sum(c))
        * np.linalg.det(sum(ci * ti for ci, ti in zip(c, t, strict=True)))
        for c in signs
    )
    close(third(matrix()), want)
    for singular in (np.zeros((3, 3)), np.arange(9.0).reshape(3, 3)):
        with pytest.raises(LinAlgError):
            third(singular)


# ------------------------------------------------ repeated values, deficient ranks


def test_eigenvalues_have_derivatives_where_they_repeat():
    close(funcad.grad(lambda a: np.sum(np.linalg.eigvalsh(a)))(np.eye(3)), np.eye(3))
    v = rotation(4)
    a = v @ np.diag([1.0, 1.0, 1.0, 2.0]) @ v.T
    got = funcad.grad(lambda a: np.sum(np.linalg.eigvalsh(a) ** 3))(a)
    close(got, 3 * a @ a)
    got = funcad.grad(lambda a: np.sum(np.exp(np.linalg.eigh(a)[0])))(a)
    close(got, v @ np.diag(np.exp([1.0, 1.0, 1.0, 2.0])) @ v.T)
    got = funcad.jvp(lambda a: np.linalg.eigvalsh(a).sum(), (a,), (np.eye(4),))[1]
    close(got, 4)


@pytest.mark.parametrize("a", [np.eye(3), np.zeros((3, 3)), np.diag([1.0, 2.0, 2.0])])
def test_eigenvectors_of_repeated_eigenvalues_have_no_derivative(a):
    v = rotation(3)
    a = v @ a @ v.T

    def mixed(a):
        return np.sum(np.linalg.eigh(a)[1] ** 3)

    with pytest.raises(DegenerateError, match="eigvalsh"):
        funcad.grad(mixed)(a)
    with pytest.raises(LinAlgError, match="repeat"):
        funcad.jvp(mixed, (a,), (a,))
    with pytest.raises(DegenerateError):
        funcad.vmap(funcad.grad(mixed))(np.stack([a, np.diag([1.0, 2.0, 3.0])]))
    program = funcad.make_program(funcad.grad(mixed))(a)
    with pytest.raises(DegenerateError):
        program.evaluate([a])


def test_singular_values_have_derivatives_where_they_repeat_or_vanish():
    nuclear = funcad.grad(lambda a: np.linalg.norm(a, "nuc"))
    q = rotation(4)
    close(nuclear(3 * q), q)
    close(nuclear(np.eye(3)), np.eye(3))
    # a zero contributes nothing, as for the modulus: what remains is U V^T of the rest
    u, v = rotation(4, 1)[:, :2], rotation(3, 2)[:, :2]
    close(nuclear(u @ np.diag([2.0, 2.0]) @ v.T), u @ v.T)
    close(nuclear(np.zeros((2, 3))), np.zeros((2, 3)))
    close(funcad.grad(lambda a: np.linalg.norm(a, 2))(np.zeros((2, 2))), 0)
    got = funcad.grad(lambda a: np.sum(np.linalg.svd(a)[1] ** 2))(q)
    close(got, 2 * q)


@pytest.mark.parametrize(
    "a", [np.eye(3), np.zeros((3, 2)), np.ones((3, 2)), np.diag([1.0, 0.0, 0.0])]
)
def test_singular_vectors_have_no_derivative_where_values_repeat_or_vanish(a):
    with pytest.raises(DegenerateError, match="svdvals"):
        funcad.grad(lambda a: np.sum(np.linalg.svd(a)[0] ** 3))(a)


def test_singular_vectors_have_a_derivative_where_one_value_vanishes():
    a = np.diag([3.0, 2.0, 0.0])

    def first_projector(a):
        u = np.linalg.svd(a)[0][:, :1]
        return np.sum((u @ u.T) * matrix())

    _, got = funcad.jvp(first_projector, (a,), (matrix(seed=1),))
    (want,) = directional_derivative(first_projector, (a,), (matrix(seed=1),))
    close(got, want, 1e-7, 1e-7)


def test_eigenvalues_of_defective_matrices_have_no_derivative():
    jordan = np.array([[1.0, 1.0], [0.0, 1.0]])
    with pytest.raises(DegenerateError, match="defective"):
        funcad.grad(lambda a: np.sum(np.linalg.eigvals(a).real ** 2))(jordan)
    got = funcad.grad(lambda a: np.sum(np.linalg.eigvals(a).real))(np.eye(2))
    close(got, np.eye(2))


def test_pseudo_inverse_of_lower_rank_has_the_derivative_along_constant_rank():
    u, v = rng(1).normal(size=(4, 2)), rng(2).normal(size=(2, 3))
    s, t = rng(3).normal(size=(4, 2)), rng(4).normal(size=(2, 3))

    def pinv(u, v):
        return np.linalg.pinv(u @ v, rcond=1e-10)

    _, got = funcad.jvp(pinv, (u, v), (s, t))
    (want,) = directional_derivative(pinv, (u, v), (s, t))
    close(got, want, 1e-7, 1e-7)
    close(funcad.grad(lambda a: np.sum(np.linalg.pinv(a)))(np.zeros((2, 3))), 0)


def test_least_squares_of_lower_rank_gives_what_numpy_gives():
    u, v = rng(1).normal(size=(4, 2)), rng(2).normal(size=(2, 3))
    b = rng(3).normal(size=4)
    value, _ = funcad.jvp(lambda b: np.linalg.lstsq(u @ v, b)[0], (b,), (b,))
    close(value, np.linalg.lstsq(u @ v, b)[0])
    got = funcad.vjp(lambda b: np.linalg.lstsq(u @ v, b), b)[0]
    want = np.linalg.lstsq(u @ v, b)
    assert [np.shape(x) for x in got] == [np.shape(x) for x in want]
    assert int(got[2]) == want[2] == 2
    rows = np.stack([b, 2 * b])
    x, residuals, rank, _ = funcad.vmap(
        lambda b: np.linalg.lstsq(u, b), out_axes=(0, 0, None, None)
    )(rows)
    for i, row in enumerate(rows):
        want = np.linalg.lstsq(u, row)
        close(x[i], want[0])
        close(residuals[i], want[1])
        assert int(rank) == want[2]


@pytest.mark.parametrize("a", [np.ones((3, 2)), np.zeros((3, 3)), np.ones((2, 3))])
def test_orthonormal_factors_of_dependent_columns_have_no_derivative(a):
    with pytest.raises(DegenerateError, match="dependent"):
        funcad.grad(lambda a: np.sum(np.linalg.qr(a)[0]))(a)


@pytest.mark.parametrize("p", [None, 1, -1, np.inf, "fro"])
def test_condition_of_a_singular_matrix_is_infinite_and_has_no_derivative(p):
    a = np.diag([1.0, 0.0])

    def cond(a):
        return np.linalg.cond(a, p)

    value, _ = funcad.vjp(cond, a)
    assert value == np.inf
    with pytest.raises(DegenerateError):
        funcad.grad(cond)(a)
    stack = np.stack([a, matrix(2), np.zeros((2, 2))])
    close(funcad.vmap(cond)(stack), cond(stack))


def test_derivative_of_a_condition_number_is_right():
    close(funcad.grad(np.linalg.cond)(np.diag([4.0, 2.0])), np.diag([0.5, -1.0]))


def test_vector_norms_have_the_derivative_zero_at_zero():
    for ord in (None, 2, 3, 1, np.inf, 2.5):
        got = funcad.grad(lambda x, o=ord: np.linalg.norm(x, o))(np.zeros(3))
        close(got, 0)
    got = funcad.grad(lambda x: np.linalg.norm(x, 3))(np.array([0.0, 2.0]))
    close(got, [0, 1])


# ------------------------------------------- phases of complex vectors, orders, batches


def hermitian(n=3, seed=0):
    x = matrix(n, complex, seed)
    return x + x.conj().T


def weighted(v, w):
    """A projector on vectors, with weights; it does not depend on their phases."""
    return (v * (1 / np.arange(1.0, 1 + w.shape[-1]))) @ np.conj(np.swapaxes(v, -1, -2))


GAUGE_INVARIANT = {
    "eigh": (lambda a: weighted(np.linalg.eigh(a)[1], a), hermitian),
    "sizes": (lambda a: np.abs(np.linalg.eigh(a)[1]) ** 2, hermitian),
    "svd": (
        lambda a: weighted(np.linalg.svd(a)[0], a),
        lambda n=3, seed=0: matrix(n, complex, seed),
    ),
    "tall": (
        lambda a: weighted(np.linalg.svd(a[:, :2], full_matrices=False)[0], a[:, :2]),
        lambda n=3, seed=0: matrix(n, complex, seed),
    ),
    "wide": (
        lambda a: weighted(
            np.conj(np.linalg.svd(a[:2], full_matrices=False)[2].T), a[:, :2]
        ),
        lambda n=3, seed=0: matrix(n, complex, seed),
    ),
    "null": (
        lambda a: (
            np.linalg.svd(a[:, :1])[0][:, 1:]
            @ np.conj(np.linalg.svd(a[:, :1])[0][:, 1:].T)
        ),
        lambda n=3, seed=0: matrix(n, complex, seed),
    ),
    "rebuilt": (
        lambda a: (lambda u, s, vh: (u * np.sqrt(s)) @ vh)(*np.linalg.svd(a)),
        lambda n=3, seed=0: matrix(n, complex, seed),
    ),
    "qr": (
        lambda a: np.linalg.qr(a)[0] @ np.diag([1.0, 2.0, 3.0]) @ np.linalg.qr(a)[1],
        lambda n=3, seed=0: matrix(n, complex, seed),
    ),
    "eig": (
        lambda a: (
            np.linalg.eig(a)[1]
            @ np.diag([1.0, 2.0, 3.0])
            @ np.linalg.inv(np.linalg.eig(a)[1])
        ),
        lambda n=3, seed=0: matrix(n, complex, seed),
    ),
}


@pytest.mark.parametrize("name", GAUGE_INVARIANT)
def test_functions_that_do_not_depend_on_phases_have_one_derivative(name):
    function, make = GAUGE_INVARIANT[name]
    a, s, t = make(seed=0), make(seed=5), make(seed=9)
    _, got = funcad.jvp(function, (a,), (t,))
    (want,) = directional_derivative(function, (a,), (t,))
    close(got, want, 1e-6, 1e-6)

    (want,) = directional_derivative(along(function, t), (a,), (s,))
    close(along(along(function, t), s)(a), want, 1e-6, 1e-6)
    c = matrix(3, complex, 7)[: len(want)]

    def loss(a):
        return np.sum(np.real(c * function(a)))

    gradient = funcad.grad(loss)(a)
    close(np.sum(np.real(gradient * t)), np.sum(np.real(c * got)), 1e-8, 1e-8)
    stacked = funcad.vmap(funcad.grad(loss))(np.stack([a, a + s]))
    close(stacked[0], gradient)
    close(stacked[1], funcad.grad(loss)(a + s))
    program = funcad.make_program(funcad.grad(loss))(a)
    close(program.evaluate([a])[0], gradient)
    twice = funcad.grad(lambda a: np.sum(np.real(t * funcad.grad(loss)(a))))(a)
    _, forward = funcad.jvp(funcad.grad(loss), (a,), (t,))
    close(np.sum(np.real(twice * s)), np.sum(np.real(forward * s)), 1e-8, 1e-8)


THRICE = {
    "solve": lambda a: np.sum(np.linalg.solve(a, np.arange(1.0, 4)) ** 2),
    "inv": lambda a: np.sum(np.linalg.inv(a) ** 2),
    "det": lambda a: np.linalg.det(a / 6) ** 2,
    "slogdet": lambda a: np.linalg.slogdet(a)[1] ** 2,
    "pinv": lambda a: np.sum(np.linalg.pinv(a[:, :2]) ** 2),
    "qr": lambda a: np.sum(np.linalg.qr(a)[0] ** 3),
    "wide qr": lambda a: np.sum(np.linalg.qr(a[:2])[1] ** 3) / 100,
    "svd": lambda a: np.sum(np.linalg.svd(a)[0] ** 3),
    "nuc": lambda a: np.linalg.norm(a, "nuc"),
    "eigh": lambda a: np.sum(np.linalg.eigh(a + a.T)[1] ** 3),
    "eigvalsh": lambda a: np.linalg.eigvalsh(a + a.T)[0],
    "eigvals": lambda a: np.sum(np.linalg.eigvals(a).real ** 3) / 100,
    "cholesky": lambda a: np.sum(np.linalg.cholesky(a @ a.T)),
    "lstsq": lambda a: np.sum(np.linalg.lstsq(a[:, :2], np.arange(3.0))[0]),
    "cond": lambda a: np.linalg.cond(a),
}


@pytest.mark.parametrize("name", THRICE)
def test_third_derivatives_agree_with_differences_of_the_second(name):
    function = THRICE[name]
    a = matrix() / 2 + np.diag([0.0, 1.0, 3.0])
    r, s, t = (rng(i).normal(size=(3, 3)) for i in (1, 2, 3))

    def second(a):
        return funcad.jvp(lambda a: np.sum(funcad.grad(function)(a) * t), (a,), (s,))[1]

    (want,) = directional_derivative(second, (a,), (r,))
    close(funcad.jvp(second, (a,), (r,))[1], want, 1e-6, 1e-7)
    close(np.sum(funcad.grad(second)(a) * r), want, 1e-6, 1e-7)


# ------------------------------------------------------------------------- wrong input

WIDE, SQUARE, LINE = np.ones((2, 3)), np.eye(2) * 3, np.ones(3)
EIGENVALUES = ("eigh", "eigvalsh", "eig", "eigvals")
WRONG = {
    "solve wide": lambda f, x: f.solve(x(WIDE), x(WIDE)),
    "solve mismatched": lambda f, x: f.solve(x(SQUARE), x(LINE)),
    "solve mismatched matrix": lambda f, x: f.solve(x(SQUARE), x(np.ones((3, 2)))),
    "solve scalar": lambda f, x: f.solve(x(SQUARE), 1.0),
    "solve stacks": lambda f, x: f.solve(x(np.stack([SQUARE] * 2)), np.ones((3, 2, 1))),
    "solve singular": lambda f, x: f.solve(x(np.ones((2, 2))), np.ones(2)),
    "inv singular": lambda f, x: f.inv(x(np.zeros((2, 2)))),
    "tensorsolve": lambda f, x: f.tensorsolve(x(np.ones((2, 3))), np.ones(2)),
    "tensorinv": lambda f, x: f.tensorinv(x(SQUARE), ind=0),
    "tensorinv wide": lambda f, x: f.tensorinv(x(WIDE), ind=1),
    "cholesky": lambda f, x: f.cholesky(x(-SQUARE)),
    "qr mode": lambda f, x: f.qr(x(SQUARE), mode="nonsense"),
    "uplo": lambda f, x: f.eigh(x(SQUARE), UPLO="X"),
    "uplo values": lambda f, x: f.eigvalsh(x(SQUARE), UPLO="X"),
    "both tolerances": lambda f, x: f.pinv(x(SQUARE), rcond=1e-3, rtol=1e-3),
    "both tolerances of the rank": lambda f, x: f.matrix_rank(
        x(SQUARE), tol=1e-3, rtol=1e-3
    ),
    "lstsq": lambda f, x: f.lstsq(x(SQUARE), np.ones(3)),
    "lstsq 1-d": lambda f, x: f.lstsq(x(LINE), np.ones(3)),
    "norm of a vector": lambda f, x: f.norm(x(LINE), ord="fro"),
    "norm of a matrix": lambda f, x: f.norm(x(SQUARE), ord=3),
    "norm of a tensor": lambda f, x: f.norm(x(np.ones((2, 2, 2))), ord=2),
    "norm along nothing": lambda f, x: f.norm(x(SQUARE), axis="x"),
    "norm along twice": lambda f, x: f.norm(x(SQUARE), axis=(0, 0)),
    "norm along what is not": lambda f, x: f.norm(x(SQUARE), axis=5),
    "matrix_norm": lambda f, x: f.matrix_norm(x(LINE)),
    "cond empty": lambda f, x: f.cond(x(np.ones((0, 0)))),
    "cond wide": lambda f, x: f.cond(x(WIDE), 1),
    "cond order": lambda f, x: f.cond(x(SQUARE), 7),
    "power wide": lambda f, x: f.matrix_power(x(WIDE), 2),
    "power fraction": lambda f, x: f.matrix_power(x(SQUARE), 0.5),
    "power singular": lambda f, x: f.matrix_power(x(np.zeros((2, 2))), -1),
    "chain of one": lambda f, x: f.multi_dot([x(SQUARE)]),
    "chain": lambda f, x: f.multi_dot([x(SQUARE), WIDE, SQUARE]),
    "chain of vectors": lambda f, x: f.multi_dot([x(SQUARE), np.ones(2), SQUARE]),
    "outer": lambda f, x: f.outer(x(SQUARE), LINE),
    "cross": lambda f, x: f.cross(x(SQUARE), SQUARE),
    "cross sizes": lambda f, x: np.cross(x(np.ones(4)), np.ones(4)),
    "cross scalar": lambda f, x: np.cross(x(np.ones(())), LINE),
    "half": lambda f, x: f.solve(x(SQUARE.astype(np.float16)), np.ones(2, np.float16)),
    **{
        f"{name} {what}": lambda f, x, name=name, a=a: getattr(f, name)(x(a))
        for name in ("inv", "det", "slogdet", "cholesky", *EIGENVALUES)
        for what, a in {
            "1-d": LINE,
            "wide": WIDE,
            "half": SQUARE.astype(np.float16),
        }.items()
    },
    **{
        f"{name} {what}": lambda f, x, name=name, a=a: getattr(f, name)(x(a))
        for name in ("svd", "svdvals", "qr", "pinv")
        for what, a in {"1-d": LINE, "half": SQUARE.astype(np.float16)}.items()
    },
}


def kind_of(error):
    """The class that a user of NumPy would catch."""
    known = (LinAlgError, TypeError, ValueError, IndexError)
    return next(kind for kind in known if isinstance(error, kind))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_raises_what_numpy_raises(name):
    call = WRONG[name]
    operands = []
    with pytest.raises(Exception) as plain:
        call(np.linalg, lambda a: operands.append(a) or a)
    expected = kind_of(plain.value)
    first = operands[0]

    def traced(x):
        """The call with its first operand traced."""
        return call(np.linalg, lambda a: x if a is first else a)

    transforms = {
        "jvp": lambda: funcad.jvp(traced, (first,), (first,)),
        "vjp": lambda: funcad.vjp(traced, first),
        "vmap": lambda: funcad.vmap(traced)(np.stack([first, first])),
    }
    if "singular" not in name and name != "cholesky":  # nothing is known of values
        transforms["stage"] = lambda: funcad.make_program(traced)(first)
    for transform in transforms.values():
        with pytest.raises(expected):
            transform()


@pytest.mark.parametrize("name", ["solve", "inv", "det", "eigvalsh", "svdvals", "pinv"])
def test_integer_matrices_are_matrices_of_double_precision(name):
    a = np.array([[2, 1], [1, 3]])
    arguments = (np.ones(2, np.float32),) if name == "solve" else ()
    function = getattr(np.linalg, name)
    want = function(a, *arguments)
    out = funcad.vmap(lambda a: function(a, *arguments))(np.stack([a, a]))
    assert out.dtype == want.dtype
    close(out[0], want)


def test_single_precision_stays_single():
    a = matrix().astype(np.float32)
    for name, function in THRICE.items():
        if name in ("solve", "lstsq"):
            continue
        value, gradient = funcad.value_and_grad(function)(a)
        assert value.dtype == gradient.dtype == np.float32, name


def test_right_sides_of_one_dimension_are_vectors_even_beside_stacks():
    a, b = np.stack([matrix(seed=i) for i in range(3)]), np.arange(3.0)
    value, got = funcad.jvp(lambda b: np.linalg.solve(a, b), (b,), (b,))
    close(value, np.linalg.solve(a, b))
    close(got, np.linalg.solve(a, b))


def test_nothing_of_the_matrix_is_recorded_where_only_the_right_side_varies():
    a = matrix()
    program = funcad.linearize(lambda b: p.solve(a, b), np.ones((3, 1)))[1].program
    assert [e.primitive.name for e in program.equations] == ["factored_solve"]


def test_one_more_solution_gives_the_gradient_in_matrix_and_right_side(monkeypatch):
    from funcad.backends.numpy import NumpyBackend

    count = []
    solve = NumpyBackend.lu_solve

    def counted(self, *args):
        count.append(1)
        return solve(self, *args)

    monkeypatch.setattr(NumpyBackend, "lu_solve", counted)
    funcad.grad(lambda a, b: np.sum(np.linalg.solve(a, b) ** 2), (0, 1))(matrix(), B)
    assert len(count) == 2
