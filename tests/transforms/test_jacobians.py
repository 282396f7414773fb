"""``jacfwd``, ``jacrev``, ``jacobian``, ``hessian`` and ``hvp``."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

import funcad
from differences import assert_close, assert_same, directional_derivative
from funcad import tree
from funcad.core.errors import InputDtypeError, OutputDtypeError

X = np.array([0.3, -1.2, 2.5])
BOTH = pytest.mark.parametrize("transform", [funcad.jacfwd, funcad.jacrev])
ALL = pytest.mark.parametrize(
    "transform", [funcad.jacfwd, funcad.jacrev, funcad.jacobian]
)


def numerical_jacobian(f, x):
    """Columns by finite differences, of shape ``f(x).shape + x.shape``."""
    columns = [
        directional_derivative(f, (x,), (np.reshape(e, x.shape),))[0]
        for e in np.eye(x.size)
    ]
    return np.moveaxis(
        np.reshape(columns, (*x.shape, *np.shape(f(x)))),
        range(x.ndim),
        range(-x.ndim, 0),
    )


FUNCTIONS = [
    lambda x: np.sin(x),
    lambda x: np.sum(x**2),
    lambda x: np.outer(np.exp(x), x),
    lambda x: x[::-1][:2] * x[0],
    lambda x: np.stack([x, x**2]),
    lambda x: np.linalg.inv(np.eye(3) * 3 + np.outer(x, x)),
]


@ALL
@pytest.mark.parametrize("f", FUNCTIONS)
def test_jacobians_are_those_of_the_differences(transform, f):
    out = transform(f)(X)
    assert out.shape == np.shape(f(X)) + X.shape
    assert_close(out, numerical_jacobian(f, X))


@BOTH
def test_jacobian_of_an_array_of_any_rank(transform):
    x = np.linspace(-1, 1, 6).reshape(2, 3)
    out = transform(lambda v: np.cumsum(v, axis=1) @ v.T)(x)
    assert out.shape == (2, 2, 2, 3)
    assert_close(out, numerical_jacobian(lambda v: np.cumsum(v, axis=1) @ v.T, x))
    assert_close(transform(lambda s: s * x)(2.0), x)


@ALL
def test_blocks_stand_where_the_leaves_stand(transform):
    def f(p, scale):
        return [np.outer(p["a"], p["b"]) * scale], {"s": np.sum(p["a"])}

    p = {"a": X, "b": np.array([1.0, -2.0])}
    blocks = transform(f)(p, 2.0)
    (out,), rest = blocks
    assert_close(out["a"], np.einsum("ik,j->ijk", np.eye(3), p["b"]) * 2)
    assert_close(out["b"], np.einsum("i,jk->ijk", X, np.eye(2)) * 2)
    assert_close(rest, {"s": {"a": np.ones(3), "b": np.zeros(2)}})
    both = transform(f, argnums=(1, 0))(p, 2.0)
    assert_close(both[0][0][0], np.outer(X, p["b"]))
    assert_close(both[0][0][1], out)


@ALL
def test_auxiliary_results_and_keywords_pass_through(transform):
    def f(x, power=2):
        return x**power, {"text": "aux", "x": x}

    out, aux = transform(f, has_aux=True)(X, power=3)
    assert_close(out, np.diag(3 * X**2))
    assert aux["text"] == "aux"
    assert_same(aux["x"], X)


@ALL
def test_nothing_to_differentiate_gives_empty_trees(transform):
    assert transform(lambda p: np.sum(X))({}) == {}
    assert transform(lambda p: {})(X) == {}
    out = transform(lambda x: x * 2)(np.empty(0))
    assert out.shape == (0, 0)
    assert transform(lambda x: np.sum(x))(np.empty((0, 2))).shape == (0, 2)


@ALL
def test_holomorphic_jacobians_are_complex_derivatives(transform):
    z = X + 0.5j
    out = transform(lambda z: z**2 * 1j, holomorphic=True)(z)
    assert_close(out, np.diag(2j * z))
    with pytest.raises(InputDtypeError, match="complex inputs"):
        transform(lambda z: z, holomorphic=True)(X)
    with pytest.raises(InputDtypeError, match="real floating-point inputs"):
        transform(lambda z: z)(z)


@ALL
def test_integers_have_no_jacobian(transform):
    with pytest.raises(InputDtypeError, match=r"\['n'\] is int64"):
        transform(lambda p: p["x"] * p["n"])({"x": X, "n": np.arange(3)})


def test_complex_outputs_of_real_inputs_have_columns_but_no_rows():
    def f(x):
        return x * 1j + x**2

    wanted = np.diag(1j + 2 * X)
    assert_close(funcad.jacfwd(f)(X), wanted)
    assert_close(funcad.jacobian(f)(X), wanted)
    with pytest.raises(OutputDtypeError, match=r"complex128\[3\].*Use jacfwd"):
        funcad.jacrev(f)(X)


def test_integer_outputs_have_columns_without_values_and_no_rows():
    def f(x):
        return x, np.argmax(x)

    for transform in (funcad.jacfwd, funcad.jacobian):
        _, integers = transform(f)(X)
        assert (integers.shape, integers.dtype) == ((3,), funcad.float0)
    with pytest.raises(OutputDtypeError, match=r"\[1\] is int64\[\]"):
        funcad.jacrev(f)(X)


def test_jacobian_chooses_the_mode_that_needs_fewer_passes(monkeypatch):
    from funcad.transforms import jacobians

    used = []
    for name in ("_by_rows", "_by_columns"):
        original = getattr(jacobians, name)
        monkeypatch.setattr(
            jacobians,
            name,
            lambda *a, name=name, original=original: (used.append(name), original(*a))[
                1
            ],
        )
    funcad.jacobian(lambda x: np.outer(x, x))(X)
    funcad.jacobian(lambda x: np.sum(x))(X)
    assert used == ["_by_columns", "_by_rows"]


@given(hnp.arrays(float, 3, elements={"min_value": -2, "max_value": 2}))
def test_both_modes_agree(x):
    def f(v):
        return np.array([1.0, 2.0]) * np.sum(np.sin(v) * v[::-1]), np.cumprod(v)

    assert_close(funcad.jacfwd(f)(x), funcad.jacrev(f)(x), rtol=1e-9, atol=1e-12)


# ------------------------------------------------------------------------- second order


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def test_hessian_is_the_jacobian_of_the_gradient():
    hessian = funcad.hessian(rosenbrock)(X)
    assert_close(hessian, numerical_jacobian(funcad.grad(rosenbrock), X), rtol=1e-6)
    assert_close(hessian, hessian.T)
    for outer in (funcad.jacfwd, funcad.jacrev):
        for inner in (funcad.jacfwd, funcad.jacrev, funcad.grad):
            assert_close(outer(inner(rosenbrock))(X), hessian)


def test_hessian_of_a_tree_is_a_tree_of_blocks():
    def f(p, q):
        return np.sum(p["a"] ** 2 * q) + np.prod(p["b"])

    p = {"a": X, "b": np.array([2.0, 5.0])}
    blocks = funcad.hessian(f)(p, 3.0)
    assert_close(blocks["a"]["a"], 6 * np.eye(3))
    assert_close(blocks["a"]["b"], np.zeros((3, 2)))
    assert_close(blocks["b"]["b"], np.array([[0.0, 1.0], [1.0, 0.0]]))
    both = funcad.hessian(f, argnums=(0, 1))(p, 3.0)
    assert_close(both[1][0]["a"], 2 * X)
    assert_close(both[0]["a"][1], 2 * X)
    hessian, aux = funcad.hessian(lambda x: (np.sum(x**3), "aux"), has_aux=True)(X)
    assert_close(hessian, np.diag(6 * X))
    assert aux == "aux"


def test_hessian_of_a_vector_function_has_a_matrix_for_each_output():
    out = funcad.hessian(lambda x: np.stack([x[0] * x[1], x[2] ** 2]))(X)
    assert out.shape == (2, 3, 3)
    assert_close(out[0], np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    assert_close(out[1], np.diag([0.0, 0.0, 2.0]))


def test_hvp_is_the_hessian_times_a_vector():
    v = np.array([1.0, -2.0, 0.5])
    wanted = funcad.hessian(rosenbrock)(X) @ v
    assert_close(funcad.hvp(rosenbrock, (X,), (v,)), wanted)
    assert_close(funcad.jvp(funcad.grad(rosenbrock), (X,), (v,))[1], wanted)
    reverse = funcad.grad(lambda x: funcad.grad(rosenbrock)(x) @ v)(X)
    assert_close(reverse, wanted)


def test_hvp_takes_all_arguments_and_argnums():
    def f(p, x):
        return np.sum(np.sin(p["w"] * x)) * p["b"]

    p = {"w": X, "b": 2.0}
    tangents = ({"w": np.ones(3), "b": 1.0}, X**2)
    for argnums in (0, 1, (0, 1)):
        wanted = funcad.jvp(funcad.grad(f, argnums), (p, X), tangents)[1]
        out = funcad.hvp(f, (p, X), tangents, argnums=argnums)
        assert tree.structure(out) == tree.structure(wanted)
        assert_same(out, wanted)


def test_the_jacobian_by_an_integer_has_no_values():
    def f(x, n):
        return {"a": x["w"] * n, "b": np.sum(x["k"] * x["w"])}

    x = {"w": np.array([1.0, 2.0]), "k": np.array([3, 4])}
    found = funcad.jacrev(f, argnums=(0, 1), allow_int=True)(x, 2)
    assert_same(found["a"][0]["w"], 2 * np.eye(2))
    assert_same(found["b"][0]["w"], np.array([3.0, 4.0]))
    for zero, shape in (
        (found["a"][0]["k"], (2, 2)),
        (found["a"][1], (2,)),
        (found["b"][0]["k"], (2,)),
        (found["b"][1], ()),
    ):
        assert zero.shape == shape
        assert zero.dtype == funcad.float0
    assert funcad.jacrev(np.sin, allow_int=True)(3).dtype == funcad.float0
    with pytest.raises(InputDtypeError, match="jacrev takes real"):
        funcad.jacrev(f, argnums=1)(x, 2)


def test_the_hessian_of_a_holomorphic_function():
    z = np.array([1.0 + 2.0j, 3.0 - 1.0j])
    found = funcad.hessian(lambda z: z[0] ** 3 * z[1], holomorphic=True)(z)
    expected = np.array([[6 * z[0] * z[1], 3 * z[0] ** 2], [3 * z[0] ** 2, 0.0]])
    assert_close(found, expected)
    with pytest.raises(InputDtypeError, match="^hessian takes real"):
        funcad.hessian(lambda z: z[0] ** 3)(z)


def test_the_hessian_is_named_after_the_function():
    assert funcad.hessian(np.sum).__qualname__ == "hessian(sum)"
