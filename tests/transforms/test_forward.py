"""``jvp`` and ``linearize``: values, directions, structures, control flow."""

import re
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import funcad
from differences import assert_close, assert_same, directional_derivative, normal_like
from funcad import tree
from funcad.core.errors import TangentMismatchError

Pair = namedtuple("Pair", "first second")
X = np.array([0.3, -1.2, 2.5])


def smooth(p):
    """A function of a nested structure that uses every leaf."""
    a, (b, c) = p["a"], p["more"]
    return {"sum": np.sum(np.sin(a) * b), "pair": Pair(np.exp(c), [a * c, None])}


PARAMS = {"a": X, "more": (X + 1, np.array(0.4))}


def test_jvp_gives_the_value_and_the_directional_derivative():
    rng = np.random.default_rng(0)
    tangents = tree.map(lambda x: normal_like(x, rng), PARAMS)
    out, tangent = funcad.jvp(smooth, (PARAMS,), (tangents,))
    assert_same(out, smooth(PARAMS))
    numerical = directional_derivative(smooth, (PARAMS,), (tangents,))
    assert tree.structure(tangent) == tree.structure(out)
    for t, wanted in zip(tree.leaves(tangent), numerical, strict=True):
        assert_close(t, wanted)


def test_linearize_gives_the_same_and_runs_the_function_once():
    runs = []

    def counted(p):
        runs.append(p)
        return smooth(p)

    out, f_jvp = funcad.linearize(counted, PARAMS)
    rng = np.random.default_rng(0)
    for _ in range(3):
        tangents = tree.map(lambda x: normal_like(x, rng), PARAMS)
        wanted = funcad.jvp(smooth, (PARAMS,), (tangents,))
        assert_same(out, wanted[0])
        assert_close(f_jvp(tangents), wanted[1])
    assert len(runs) == 1


@given(
    hnp.arrays(
        float, hnp.array_shapes(max_dims=2, max_side=4), elements=st.floats(-3, 3)
    )
)
def test_the_derivative_is_linear_in_the_tangent(x):
    rng = np.random.default_rng(0)
    s, t = normal_like(x, rng), normal_like(x, rng)
    _, f_jvp = funcad.linearize(lambda v: np.tanh(v) * np.sum(v**2), x)
    assert_close(f_jvp(2.0 * s - t), 2.0 * f_jvp(s) - f_jvp(t), rtol=1e-9)
    assert_close(f_jvp(0.0 * t), 0.0 * x)


def test_arguments_are_any_pytrees():
    od = OrderedDict(b=X, a=X * 2)
    primals = ([X, (X,)], Pair(X, 2.0), od, None, {"k": X})

    def f(u, v, w, nothing, d):
        assert nothing is None
        assert type(v) is Pair
        assert list(w) == ["b", "a"]
        return [u[0] * u[1][0], v.second * w["a"] + d["k"]]

    tangents = tree.map(np.ones_like, primals)
    out, tangent = funcad.jvp(f, primals, tangents)
    assert_close(out, f(*primals))
    assert_close(tangent, [2 * X, 2 * X + 2.0 + 1.0])


def test_primals_and_tangents_may_be_lists():
    out, tangent = funcad.jvp(np.multiply, [2.0, 3.0], [1.0, 10.0])
    assert (out, tangent) == (6.0, 23.0)


def test_a_result_that_does_not_depend_on_the_input_has_tangent_zero():
    out, tangent = funcad.jvp(lambda x: (1.0, X, np.sign(x), 3), (2.0,), (1.0,))
    assert_close(out, (1.0, X, 1.0, 3))
    assert_same(tangent[:3], (np.zeros(()), np.zeros(3), np.zeros(())))
    assert tangent[3].dtype == funcad.float0


def test_integers_and_booleans_have_a_tangent_of_no_value():
    zero = np.zeros((), funcad.float0)
    zeros = np.zeros(3, funcad.float0)
    mask = np.array([True, False, True])

    def f(x, n, m):
        return x**n * m, n + 1, ~m

    out, tangent = funcad.jvp(f, (X, 3, mask), (np.ones(3), zero, zeros))
    assert_same(out, f(X, 3, mask))
    assert_close(tangent[0], 3 * X**2 * mask)
    assert [t.dtype for t in tangent[1:]] == [funcad.float0, funcad.float0]
    _, f_jvp = funcad.linearize(f, X, 3, mask)
    assert_close(f_jvp(np.ones(3), zero, zeros)[0], 3 * X**2 * mask)


def test_auxiliary_results_pass_through_without_tangents():
    def f(x):
        return np.sum(x**2), {"twice": 2 * x, "name": "f", "none": None}

    out, tangent, aux = funcad.jvp(f, (X,), (np.ones(3),), has_aux=True)
    assert_close((out, tangent), (np.sum(X**2), 2 * np.sum(X)))
    assert aux["name"] == "f"
    assert_same(aux["twice"], 2 * X)
    out, f_jvp, aux = funcad.linearize(f, X, has_aux=True)
    assert_same(aux["twice"], 2 * X)
    assert_close(f_jvp(np.ones(3)), 2 * np.sum(X))
    with pytest.raises(TypeError, match="returns a pair"):
        funcad.jvp(lambda x: x, (X,), (X,), has_aux=True)


def test_control_flow_on_values_follows_the_values():
    def newton(x):
        y = 1.0
        while abs(y * y - x) > 1e-12:
            y = 0.5 * (y + x / y)
        if y < 1.0:
            return -y
        for _ in range(int(x)):
            y = y * 2.0
        return y

    for x in (0.25, 1.44, 3.61):
        (wanted,) = directional_derivative(newton, (x,), (1.0,))
        assert_close(funcad.jvp(newton, (x,), (1.0,))[1], wanted)
        assert_close(funcad.linearize(newton, x)[1](1.0), wanted)
        assert_close(funcad.grad(newton)(x), wanted)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64])
def test_dtypes_are_kept(dtype):
    x = X.astype(dtype)
    for f in (
        lambda v: 2 * v + 0.5,
        lambda v: v / 3.0 - 1,
        lambda v: np.exp(-(v**2)) * 0.1,
        lambda v: np.where(v.real > 0, v, 0.01 * v),
        lambda v: v @ v,
        lambda v: np.mean(v, keepdims=True),
    ):
        out, tangent = funcad.jvp(f, (x,), (np.ones_like(x),))
        assert out.dtype == tangent.dtype == f(x).dtype
        _, pullback = funcad.vjp(f, x)
        assert pullback(np.ones_like(out))[0].dtype == dtype


def test_a_numbers_tangent_may_be_of_any_float_type():
    out, tangent = funcad.jvp(lambda s: s * X, (2.0,), (np.float32(1.0),))
    assert_close((out, tangent), (2 * X, X))


def test_complex_numbers_have_complex_tangents():
    z, t = X + 1j, np.array([1j, 2.0, 1 - 1j])
    for f in (
        np.exp,
        np.conj,
        np.abs,
        lambda v: v.real * v.imag,
        lambda v: v**2 / v[0],
    ):
        _, tangent = funcad.jvp(f, (z,), (t,))
        (wanted,) = directional_derivative(f, (z,), (t,))
        assert_close(tangent, wanted)


def test_programs_of_linearize_can_be_read():
    _, f_jvp = funcad.linearize(lambda x: np.sum(np.sin(x)), X)
    assert [e.primitive.name for e in f_jvp.program.equations] == [
        "weighted_sum",
        "reduce_sum",
    ]
    assert "float64[3]" in str(f_jvp.program)


def test_the_function_must_be_one():
    for form, call in {
        "jvp(f, (x,), (t,))": lambda: funcad.jvp(3.0, (X,), (X,)),
        "linearize(f, x)": lambda: funcad.linearize(None, X),
        "vjp(f, x)": lambda: funcad.vjp(X, X),
        "grad(f)(x)": lambda: funcad.grad(X),
        "value_and_grad(f)(x)": lambda: funcad.value_and_grad(X),
        "vmap(f)(x)": lambda: funcad.vmap(X),
        "jacfwd(f)(x)": lambda: funcad.jacfwd(X),
        "hessian(f)(x)": lambda: funcad.hessian(None),
        "hvp(f, (x,), (v,))": lambda: funcad.hvp(None, X, X),
        "make_program(f)(x)": lambda: funcad.make_program(X),
        "eval_shape(f, x)": lambda: funcad.eval_shape(None, X),
        "linear_transpose(f, x)": lambda: funcad.linear_transpose(X, X),
        "hessian_operator(f, x)": lambda: funcad.hessian_operator(X, X),
        "linear_operator(f, x)": lambda: funcad.linear_operator(X, X),
        "gauss_newton_operator(model, loss, x)": lambda: funcad.gauss_newton_operator(
            np.sin, X, X
        ),
        "pure_callback(f, ": lambda: funcad.pure_callback(X, X, X),
        "export(f, x)": lambda: funcad.export(X, X),
        "value_and_grad_from_state(f)(x)": lambda: (
            funcad.optim.value_and_grad_from_state(None)
        ),
    }.items():
        name = form.partition("(")[0]
        wanted = f"^{name} takes a function.*Write {re.escape(form)}"
        with pytest.raises(TypeError, match=wanted):
            call()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("hvp", lambda: funcad.hvp(np.sum, X, X)),
        ("hvp", lambda: funcad.hvp(np.sin, (X,), (X,))),
        ("hvp", lambda: funcad.hvp(np.sum, (X,), (3.0,))),
        ("hvp", lambda: funcad.hvp(np.sum, (3,), (np.zeros((), funcad.float0),))),
        ("hessian", lambda: funcad.hessian(np.sum)(3)),
        ("hessian", lambda: funcad.hessian(np.sum, 2)(X)),
        ("hessian", lambda: funcad.hessian(np.argmax)(X)),
        ("value_and_grad", lambda: funcad.value_and_grad(np.sin)(X)),
        ("value_and_grad", lambda: funcad.value_and_grad(np.sum)(3)),
        ("grad", lambda: funcad.grad(np.sum)(3)),
        ("hessian_operator", lambda: funcad.hessian_operator(np.sin, X)),
        ("gauss_newton", lambda: funcad.gauss_newton_operator(np.sin, np.sin, X)),
        ("eval_shape", lambda: funcad.eval_shape(np.sin, "a")),
        ("export", lambda: funcad.export(np.sin, "a")),
    ],
)
def test_an_error_names_the_transform_that_was_called(name, call):
    with pytest.raises(TypeError, match=f"^{name}"):
        call()


def test_tangents_of_another_form_are_refused():
    for tangents in ((X[:2],), (X.astype(np.float32),), (X + 1j,), (1.0,)):
        with pytest.raises(
            TangentMismatchError, match="shapes and dtypes must be equal"
        ):
            funcad.jvp(np.sin, (X,), tangents)
        with pytest.raises(TangentMismatchError):
            funcad.linearize(np.sin, X)[1](*tangents)


@pytest.mark.parametrize("x", [2.0, np.float64(2.0)])
@pytest.mark.parametrize("t", [1j, np.complex128(1j)])
def test_a_real_number_has_no_complex_tangent_or_cotangent(x, t):
    with pytest.raises(TangentMismatchError, match=r"complex128\[\] and the value"):
        funcad.jvp(np.square, (x,), (t,))
    with pytest.raises(TangentMismatchError, match=r"complex128\[\] and the value"):
        funcad.vjp(np.square, x)[1](t)
    assert funcad.jvp(np.square, (1j,), (2.0,))[1] == 4j
