"""``vjp``, ``grad``, ``value_and_grad`` and ``linear_transpose``."""

import dataclasses
import functools
import inspect

import numpy as np
import pytest

import funcad
from differences import (
    assert_close,
    assert_same,
    directional_derivative,
    normal_like,
    pairing,
)
from funcad import tree
from funcad.core.errors import (
    InputDtypeError,
    MissingRuleError,
    NonlinearError,
    NonScalarOutputError,
)

X = np.array([0.3, -1.2, 2.5])


@tree.register_dataclass
@dataclasses.dataclass
class Layer:
    w: object
    b: object


def loss(params, x, scale=1.0):
    """Mean of squares of a small network."""
    h = np.tanh(params["layer"].w @ x + params["layer"].b)
    return scale * np.mean(h**2) + params["bias"][0] * 0.1


PARAMS = {
    "layer": Layer(np.linspace(-1, 1, 12).reshape(4, 3), np.zeros(4)),
    "bias": [np.array(0.5), None],
}


def numerical_gradient(f, x):
    """Gradient of a scalar function of one array, entry by entry."""
    basis = np.eye(x.size).reshape(-1, *x.shape)
    columns = [directional_derivative(f, (x,), (e,))[0] for e in basis]
    return np.reshape(columns, x.shape)


# ---------------------------------------------------------------------- grad


def test_gradient_is_that_of_the_differences_for_every_leaf():
    gradient = funcad.grad(loss)(PARAMS, X)
    assert tree.structure(gradient) == tree.structure(PARAMS)
    leaves, treedef = tree.flatten(PARAMS)
    for i, g in enumerate(tree.leaves(gradient)):

        def only(x, i=i):
            return loss(tree.unflatten(treedef, [*leaves[:i], x, *leaves[i + 1 :]]), X)

        assert_close(g, numerical_gradient(only, leaves[i]))


def test_value_and_grad_gives_both():
    value, gradient = funcad.value_and_grad(loss)(PARAMS, X)
    assert value == loss(PARAMS, X)
    assert_same(gradient, funcad.grad(loss)(PARAMS, X))


def test_argnums_choose_what_is_differentiated():
    def f(x, y, z):
        return np.sum(x**2 * y) + z

    x, y, z = X, X + 1, 3.0
    gx, gy, gz = 2 * x * y, x**2, 1.0
    for argnums, wanted in [
        (0, gx),
        (1, gy),
        (-1, gz),
        (-3, gx),
        ((0,), (gx,)),
        ((1, 0), (gy, gx)),
        ([0, -1], (gx, gz)),
        ((0, 1, 2), (gx, gy, gz)),
        (np.int64(1), gy),
    ]:
        assert_close(funcad.grad(f, argnums=argnums)(x, y, z), wanted)
        assert_close(funcad.grad(f, argnums)(x, y, z), wanted)


@pytest.mark.parametrize("argnums", [3, -4, (0, 5), "x", 1.0])
def test_argnums_out_of_range_are_refused(argnums):
    with pytest.raises(TypeError, match="argument"):
        funcad.grad(lambda x, y, z: x, argnums)(1.0, 2.0, 3.0)


def test_the_same_argument_twice_is_refused():
    with pytest.raises((TypeError, ValueError), match="twice"):
        funcad.grad(lambda x, y: x * y, (0, -2))(1.0, 2.0)


def test_keyword_arguments_are_passed_on_and_held_constant():
    wanted = tree.map(lambda g: g, funcad.grad(lambda p: loss(p, X, 3.0))(PARAMS))
    assert_close(funcad.grad(loss)(PARAMS, x=X, scale=3.0), wanted)
    assert_close(funcad.grad(loss)(PARAMS, X, scale=3.0), wanted)


def test_auxiliary_results_come_beside_the_gradient():
    def f(x):
        return np.sum(x**2), {"x": x, "text": "note", "n": 3}

    gradient, aux = funcad.grad(f, has_aux=True)(X)
    (value, same), again = funcad.value_and_grad(f, has_aux=True)(X)
    assert_close(gradient, 2 * X)
    assert_close(again, 2 * X)
    assert value == np.sum(X**2)
    for a in (aux, same):
        assert_same(a["x"], X)
        assert (a["text"], a["n"]) == ("note", 3)


def test_integers_are_refused_unless_allowed():
    n = np.array([1, 2])

    def f(p):
        return np.sum(p["x"] * p["n"])

    with pytest.raises(InputDtypeError, match=r"\['n'\] is int64\[2\]"):
        funcad.grad(f)({"x": X[:2], "n": n})
    gradient = funcad.grad(f, allow_int=True)({"x": X[:2], "n": n})
    assert_same(gradient["x"], np.array([1.0, 2.0]))
    assert gradient["n"].dtype == funcad.float0
    assert gradient["n"].shape == (2,)


def test_integers_that_are_not_differentiated_are_welcome():
    assert_close(funcad.grad(lambda x, n, flag: np.sum(x**n))(X, 2, True), 2 * X)


def test_a_python_number_has_a_gradient():
    for x in (3.0, np.float64(3.0), np.array(3.0)):
        assert_close(funcad.grad(lambda v: v**3)(x), 27.0)


def test_python_numbers_do_not_widen_single_precision():
    x32 = X.astype(np.float32)
    value, gradient = funcad.value_and_grad(lambda s: np.sum(s * x32))(2.0)
    assert value.dtype == np.float32
    assert_close(gradient, np.sum(x32))
    value, gradient = funcad.value_and_grad(lambda v: np.sum(2.0 * v) / 3)(x32)
    assert (value.dtype, gradient.dtype) == (np.float32, np.float32)


def test_python_numbers_stay_weak_through_their_own_arithmetic():
    x32 = X.astype(np.float32)

    def f(s):
        return np.sum((s * s + 1.0 - s / 2) * x32)

    value, gradient = funcad.value_and_grad(f)(2.0)
    assert value.dtype == f(2.0).dtype == np.float32
    assert_close(gradient, 3.5 * np.sum(x32), rtol=1e-6)
    _, tangent = funcad.jvp(f, (2.0,), (1.0,))
    assert tangent.dtype == np.float32


def test_gradient_of_a_function_that_ignores_its_argument_is_zero():
    assert_same(funcad.grad(lambda x: 3.0)(X), np.zeros(3))
    assert_same(funcad.grad(lambda p: p["a"])({"a": 1.0, "b": X})["b"], np.zeros(3))


def test_gradient_with_respect_to_nothing_is_nothing():
    assert funcad.grad(lambda p: 1.0)({}) == {}
    assert funcad.grad(lambda p, x: np.sum(x))(None, X) is None


def test_gradient_of_the_identity_and_of_outputs_that_are_inputs():
    assert_same(funcad.grad(lambda x: x)(2.0), np.ones(()))
    out, pullback = funcad.vjp(lambda x: (x, x, {"same": x}), X)
    assert_close(pullback((X, X, {"same": X}))[0], 3 * X)


def test_name_and_docstring_are_kept():
    def named(x):
        """Say what it is."""
        return np.sum(x)

    for transform in (
        *(funcad.grad, funcad.value_and_grad, funcad.jacfwd, funcad.jacrev),
        *(funcad.hessian, funcad.jacobian, funcad.vmap, funcad.make_program),
    ):
        transformed = transform(named)
        assert transformed.__name__ == "named"
        assert transformed.__doc__ == "Say what it is."
        assert inspect.unwrap(transformed) is named


def test_callables_without_a_name_are_taken():
    class Model:
        def __call__(self, x):
            return np.sum(x**2)

    partial = functools.partial(lambda a, x: a * np.sum(x), 2.0)
    for transform in (funcad.grad, funcad.vmap, funcad.make_program, funcad.jacfwd):
        assert transform.__name__ in transform(Model()).__name__
        assert transform(partial)(X) is not None
    assert_close(funcad.grad(Model())(X), 2 * X)
    assert_close(funcad.grad(partial)(X), np.full(3, 2.0))
    assert_close(funcad.grad(np.sum)(X), np.ones(3))
    assert_close(funcad.grad(np.linalg.norm)(X), X / np.linalg.norm(X))


def test_transforms_decorate_functions_and_methods():
    @funcad.grad
    def slope(x):
        return np.sum(x**2)

    class Model:
        def __init__(self, scale):
            self.scale = scale

        def value(self, x):
            return self.scale * np.sum(x**2)

        @funcad.vmap
        def doubled(self_and_row):
            return 2 * self_and_row

        def slopes(self, x):
            return funcad.grad(self.value)(x)

        slope_of = None

        @staticmethod
        @funcad.grad
        def static(x):
            return np.sum(x**3)

    Model.slope_of = funcad.grad(Model.value, argnums=1)
    assert_close(slope(X), 2 * X)
    assert_close(Model(3.0).slopes(X), 6 * X)
    assert_close(Model(3.0).slope_of(X), 6 * X)
    assert_close(Model(3.0).static(X), 3 * X**2)


def test_a_method_is_decorated_in_the_class_body():
    class Model:
        scale = 2.0

        @lambda f: funcad.grad(f, argnums=1)
        def slope(self, x):
            return self.scale * np.sum(x**2)

        @lambda f: funcad.vmap(f, in_axes=(None, 0))
        def norms(self, x):
            return self.scale * np.sum(x**2)

        @lambda f: funcad.jacfwd(f, argnums=1)
        def jacobian(self, x):
            return self.scale * x**2

        @lambda f: funcad.make_program(f, static_argnums=0)
        def program(self, x):
            return self.scale * x

    model = Model()
    assert_close(model.slope(X), 4 * X)
    assert_close(model.jacobian(X), np.diag(4 * X))
    assert_close(model.program(X).evaluate([X])[0], 2 * X)
    assert_close(model.norms(np.stack([X, X])), np.full(2, 2 * np.sum(X**2)))


# ------------------------------------------------------------------ complex numbers


def test_gradient_of_a_real_function_of_complex_numbers_is_jaxs():
    """For u(x + iy) it is du/dx - i du/dy."""
    z = np.array([1.0 + 2.0j, -0.5 + 0.3j])

    def u(z):
        return np.sum(np.abs(z) ** 2 * z.real + np.sin(z).imag)

    def parts(x, y):
        return u(x + 1j * y)

    dx = numerical_gradient(lambda x: parts(x, z.imag), z.real.copy())
    dy = numerical_gradient(lambda y: parts(z.real, y), z.imag.copy())
    assert_close(funcad.grad(u)(z), dx - 1j * dy)


def test_gradient_of_a_holomorphic_function_is_its_complex_derivative():
    z = 0.7 - 0.4j
    for f, df in [
        (np.sin, np.cos),
        (lambda z: z**3, lambda z: 3 * z**2),
        (lambda z: np.exp(1j * z), lambda z: 1j * np.exp(1j * z)),
        (lambda z: 1 / z, lambda z: -1 / z**2),
        (np.log, lambda z: 1 / z),
    ]:
        assert_close(funcad.grad(f, holomorphic=True)(z), df(z))


def test_holomorphic_needs_complex_input_and_output():
    with pytest.raises(InputDtypeError, match="complex inputs"):
        funcad.grad(lambda z: z, holomorphic=True)(1.0)
    with pytest.raises(NonScalarOutputError, match="complex scalar"):
        funcad.grad(np.abs, holomorphic=True)(1.0 + 1j)
    with pytest.raises(NonScalarOutputError, match="holomorphic=True"):
        funcad.grad(np.sin)(1.0 + 1j)


def test_cotangents_pass_between_real_and_complex():
    z, x = np.array([1.0 + 2.0j]), np.array([0.3])

    def f(x, z):
        return x * z + 1j * x, (x * z).real

    out, pullback = funcad.vjp(f, x, z)
    rng = np.random.default_rng(0)
    cts = tuple(normal_like(y, rng) for y in out)
    ts = (normal_like(x, rng), normal_like(z, rng))
    _, tangents = funcad.jvp(f, (x, z), ts)
    pulled = pullback(cts)
    assert [p.dtype for p in pulled] == [np.float64, np.complex128]
    np.testing.assert_allclose(pairing(pulled, ts), pairing(cts, tangents))


# ----------------------------------------------------------------------------- vjp


def test_vjp_pulls_any_cotangent_back_any_number_of_times():
    def f(p, x):
        return {"y": p["w"] @ x, "z": (np.sum(p["w"]), p["b"] * x)}

    w = np.arange(6.0).reshape(2, 3)
    p = {"w": w, "b": 2.0}
    out, pullback = funcad.vjp(f, p, X)
    rng = np.random.default_rng(0)
    for _ in range(2):
        cts = tree.map(lambda y: normal_like(y, rng), out)
        ts = tree.map(lambda x: normal_like(x, rng), (p, X))
        _, tangents = funcad.jvp(f, (p, X), ts)
        pulled = pullback(cts)
        assert tree.structure(pulled) == tree.structure((p, X))
        np.testing.assert_allclose(
            pairing(tree.leaves(pulled), tree.leaves(ts)),
            pairing(tree.leaves(cts), tree.leaves(tangents)),
        )


def test_vjp_of_integers_and_auxiliary_results():
    out, pullback, aux = funcad.vjp(lambda x, n: (x**n, n), X, 3, has_aux=True)
    ct_x, ct_n = pullback(np.ones(3))
    assert aux == 3
    assert_close(ct_x, 3 * X**2)
    assert ct_n.dtype == funcad.float0
    (out, n), pullback = funcad.vjp(lambda x, n: (x**n, n + 1), X, 3)
    assert_close(pullback((np.ones(3), np.zeros((), funcad.float0)))[0], 3 * X**2)


def test_gradients_do_not_share_memory_that_is_written_to():
    seed = np.ones(3)
    _, pullback = funcad.vjp(lambda x: x * 1.0, X)
    (first,) = pullback(seed)
    (second,) = pullback(2 * seed)
    assert_same((first, second, seed), (np.ones(3), np.full(3, 2.0), np.ones(3)))


# -------------------------------------------------------------------- linear_transpose


def test_linear_transpose_is_the_transpose_of_a_matrix():
    a = np.arange(6.0).reshape(2, 3)

    def f(x):
        return {"y": a @ x + 2 * x[:2], "s": np.sum(x) / 3}

    f_t = funcad.linear_transpose(f, X)
    y, s = np.array([1.0, -2.0]), np.array(0.5)
    (ct,) = f_t({"y": y, "s": s})
    assert_close(ct, a.T @ y + 2 * np.append(y, 0.0) + s / 3)


def test_linear_transpose_takes_shapes_instead_of_values():
    struct = funcad.ShapeDtypeStruct((3,), np.float32)
    (ct,) = funcad.linear_transpose(lambda x: np.cumsum(x) * 2.0, struct)(
        np.ones(3, np.float32)
    )
    assert_same(ct, np.array([6.0, 4.0, 2.0], np.float32))


def test_linear_transpose_of_several_arguments_gives_a_tuple():
    f_t = funcad.linear_transpose(lambda x, y: x - 3 * y["k"], 1.0, {"k": 1.0})
    assert f_t(np.float64(2.0)) == (2.0, {"k": -6.0})


def test_linear_transpose_twice_is_the_function():
    a = np.arange(6.0).reshape(2, 3)
    f_t = funcad.linear_transpose(lambda x: a @ x, X)
    f_tt = funcad.linear_transpose(lambda y: f_t(y)[0], np.ones(2))
    assert_close(f_tt(X)[0], a @ X)


def test_linear_transpose_refuses_what_is_not_linear():
    with pytest.raises(MissingRuleError, match="sin has no transpose rule"):
        funcad.linear_transpose(np.sin, X)
    with pytest.raises(NonlinearError, match=r"multiply: .*Use funcad\.vjp"):
        funcad.linear_transpose(lambda x: x * x, X)(X)
    with pytest.raises(NonlinearError, match="divide"):
        funcad.linear_transpose(lambda x: 1.0 / x, X)(X)
    with pytest.raises(InputDtypeError, match="int64"):
        funcad.linear_transpose(lambda x: 2 * x, np.arange(3))


def test_linear_transpose_differentiates_with_respect_to_what_it_closes_over():
    def f(a):
        (ct,) = funcad.linear_transpose(lambda x: a * x, X)(np.ones(3))
        return np.sum(ct**2)

    assert_close(funcad.grad(f)(X), 2 * X)


# ------------------------------------------------------------------------ stop_gradient


def test_stop_gradient_holds_a_pytree_constant():
    def f(p):
        held = funcad.stop_gradient(p)
        return np.sum(p["a"] * held["a"]) + held["b"] ** 2

    p = {"a": X, "b": 2.0}
    assert_close(funcad.grad(f)(p), {"a": X, "b": 0.0})
    _, tangent = funcad.jvp(f, (p,), (p,))
    assert_close(tangent, np.sum(X * X))
    second = funcad.grad(funcad.grad(lambda x: x * funcad.stop_gradient(x) ** 2))(3.0)
    assert_close(second, 0.0)
    assert_same(funcad.vmap(funcad.stop_gradient)(X), X)


@pytest.mark.parametrize("argnums", [True, (0, None), "a", None, 0.0])
@pytest.mark.parametrize(
    "transform", [funcad.grad, funcad.value_and_grad, funcad.jacrev, funcad.hessian]
)
def test_numbers_of_arguments_are_integers(transform, argnums):
    said = f"argnums of {transform.__name__} must be an integer .*argnums=0 for"
    with pytest.raises(TypeError, match=said):
        transform(np.sum, argnums=argnums)


def test_a_rule_that_is_not_linear_in_its_tangents_is_named_by_its_line():
    @funcad.custom_jvp
    def wave(x):
        return np.sin(x)

    @wave.defjvp
    def rule(primals, tangents):
        return wave(*primals), tangents[0] ** 2

    said = r"(?s)power has no .*a tangent in a rule.*tangents\[0\] \*\* 2"
    with pytest.raises(MissingRuleError, match=said):
        funcad.grad(wave)(1.0)
