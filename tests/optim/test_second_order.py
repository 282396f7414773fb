"""Newton's method and Gauss-Newton, and L-BFGS where they behave alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcad
from funcad import optim, tree
from funcad.core.errors import (
    ArgumentError,
    DerivativeLossError,
    InputDtypeError,
    LeafTypeError,
    NonFiniteError,
    NonScalarOutputError,
    TreeStructureError,
)
from properties import generators, host


def squares(r):
    return np.sum(r**2) / 2


def newton(params, loss):
    return {"value_fn": loss}


def residuals(params, loss):
    """The identity for the model, whose Gauss-Newton matrix is the Hessian."""
    return {"model_fn": lambda params: params, "loss_fn": loss}


METHODS = {
    "newton_cg": (optim.newton_cg, newton),
    "gauss_newton": (optim.gauss_newton, residuals),
    "lbfgs": (optim.lbfgs, newton),
}
EACH = pytest.mark.parametrize("name", METHODS)


def minimise(name, loss, params, steps, **options):
    """Losses before each step and after the last, parameters and state at the end."""
    factory, extra = METHODS[name]
    optimiser = factory(**options)
    state = optimiser.init(params)
    values = [float(loss(params))]
    for _ in range(steps):
        grads = funcad.grad(loss)(params)
        updates, state = optimiser.update(grads, state, params, **extra(params, loss))
        params = optim.apply_updates(params, updates)
        values.append(float(loss(params)))
    return values, params, state


def rosenbrock(p):
    x = np.stack([p["x"], p["y"]])
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


START = {"x": -1.2, "y": 1.0}


# ------------------------------------------------------------------------- convergence


@pytest.mark.parametrize("name", ["newton_cg", "lbfgs"])
def test_rosenbrocks_valley_is_walked_to_its_end(name):
    values, params, _ = minimise(name, rosenbrock, START, 60)
    np.testing.assert_allclose([params["x"], params["y"]], 1.0, rtol=1e-6)
    assert all(b <= a * (1 + 1e-14) for a, b in zip(values, values[1:]))


def test_gauss_newton_walks_it_in_a_few_steps():
    def model(p):
        return np.stack([10 * (p["y"] - p["x"] ** 2), 1 - p["x"]]) * np.sqrt(2)

    optimiser = optim.gauss_newton()
    params, state = START, optimiser.init(START)
    for _ in range(30):
        grads = funcad.grad(lambda p: squares(model(p)))(params)
        updates, state = optimiser.update(
            grads, state, params, model_fn=model, loss_fn=squares
        )
        params = optim.apply_updates(params, updates)
    np.testing.assert_allclose([params["x"], params["y"]], 1.0, rtol=1e-6)


@given(generators(), st.integers(1, 6))
def test_one_undamped_newton_step_solves_a_quadratic_problem(rng, n):
    a = rng.normal(size=(n, n))
    matrix, b = a @ a.T + np.eye(n), rng.normal(size=n)

    def loss(x):
        return x @ matrix @ x / 2 - b @ x

    wanted = np.linalg.solve(matrix, b)
    x = rng.normal(size=n)
    # SciPy stops at a residual of 1e-5 of the gradient
    _, found, _ = minimise("newton_cg", loss, x, 2, damping=0.0, cg_rtol=0.0)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)
    optimiser = optim.gauss_newton(damping=0.0, cg_rtol=0.0)
    state = optimiser.init(x)
    for _ in range(2):
        updates, state = optimiser.update(
            funcad.grad(loss)(x),
            state,
            x,
            model_fn=lambda x: (a.T @ x, x),
            loss_fn=lambda r: squares(r[0]) + squares(r[1]) - b @ r[1],
        )
        x = x + updates
    np.testing.assert_allclose(x, wanted, rtol=1e-6, atol=1e-7)


def test_newton_converges_faster_than_linearly():
    def loss(x):
        return np.sum(np.cosh(x)) + np.sum(x) ** 2

    x = np.array([0.5, -0.3, 0.8])
    optimiser = optim.newton_cg(damping=0.0)
    state = optimiser.init(x)
    norms = []
    for _ in range(6):
        g = funcad.grad(loss)(x)
        norms.append(np.linalg.norm(g))
        updates, state = optimiser.update(g, state, x, value_fn=loss)
        x = x + updates
    rates = [b / a for a, b in zip(norms, norms[1:]) if b > 1e-14]
    assert rates[-1] < 1e-2 * rates[0]
    assert norms[-1] < 1e-12


@EACH
def test_every_step_goes_down_in_a_network(name):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 1))
    params = [rng.normal(size=(3, 5)), rng.normal(size=(5, 1))]

    def loss(params):
        return np.mean((np.tanh(x @ params[0]) @ params[1] - y) ** 2)

    values, moved, _ = minimise(name, loss, params, 15)
    assert all(b <= a for a, b in zip(values, values[1:]))
    assert values[-1] < 0.5 * values[0]
    assert tree.structure(moved) == tree.structure(params)


def test_damping_follows_the_quality_of_the_model():
    def loss(x):
        return np.sum(np.sqrt(1 + x**2))

    def damping_after(steps, x, **options):
        return float(minimise("newton_cg", loss, x, steps, **options)[2].damping)

    # at a distance the curvature promises too much; close by it is right
    assert damping_after(1, np.array([5.0])) > 1e-3
    assert damping_after(3, np.array([0.1])) < 1e-3
    assert damping_after(1, np.array([5.0]), damping=0.0) == 0.0


def test_damping_shortens_the_step():
    lengths = []
    for damping in (0.0, 1.0, 100.0):
        _, x, _ = minimise("newton_cg", squares, np.ones(3), 1, damping=damping)
        lengths.append(np.linalg.norm(x - 1))
        np.testing.assert_allclose(x, 1 - 1 / (1 + damping))
    assert lengths == sorted(lengths, reverse=True)


# ------------------------------------------------------- curvature that is not positive


@pytest.mark.parametrize("name", ["newton_cg", "lbfgs"])
@given(x=st.lists(st.floats(-3, 3), min_size=2, max_size=2))
def test_steps_go_down_wherever_the_hessian_is_indefinite(name, x):
    def loss(x):
        return np.cos(x[0]) * np.cos(2 * x[1]) + np.sum(x**4) / 20

    values, _, _ = minimise(name, loss, np.array(x), 8)
    assert all(b <= a + 1e-14 * abs(a) for a, b in zip(values, values[1:]))
    assert np.all(np.isfinite(values))


def test_newton_leaves_a_saddle_along_its_negative_curvature():
    def loss(x):
        return x[0] ** 2 - x[1] ** 2 + x[1] ** 4 / 2

    values, x, _ = minimise("newton_cg", loss, np.array([1e-3, 1e-6]), 25)
    np.testing.assert_allclose(np.abs(x), [0.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(values[-1], -0.5)


def test_a_concave_function_is_descended_without_end():
    values, x, _ = minimise("newton_cg", lambda x: -squares(x), np.array([1.0]), 5)
    assert values == sorted(values, reverse=True)
    assert np.isfinite(x).all()


def test_a_flat_function_takes_the_gradient_for_the_direction():
    values, x, _ = minimise("newton_cg", np.sum, np.array([1.0, 2.0]), 1, damping=0.0)
    np.testing.assert_array_equal(x, [0.0, 1.0])
    assert values == [3.0, 1.0]


def test_lbfgs_forgets_steps_whose_curvature_is_not_positive():
    optimiser = optim.lbfgs(memory_size=3)
    x = np.array([0.1])
    state = optimiser.init(x)
    for _ in range(2):
        g = funcad.grad(np.sum)(np.cos(x)) * -np.sin(x)
        updates, state = optimiser.update(g, state, x, value_fn=lambda x: np.cos(x)[0])
        x = x + updates
        assert np.all(state.curvatures >= 0)
    values, _, state = minimise("lbfgs", lambda x: -squares(x), np.ones(1), 2)
    np.testing.assert_array_equal(state.curvatures, 0.0)
    assert values == sorted(values, reverse=True)


# ----------------------------------------------------------- values that are not finite


@EACH
def test_steps_stop_short_of_where_the_loss_is_not_finite(name):
    def loss(x):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sum(x - np.log(x) * 1e-3)

    values, x, _ = minimise(name, loss, np.array([1.0, 5.0]), 60)
    assert np.all(np.isfinite(values))
    assert np.all(x > 0)
    assert values[-1] < 0.05


@EACH
def test_a_gradient_or_a_loss_that_is_not_finite_is_refused(name):
    factory, extra = METHODS[name]
    optimiser = factory()
    params = {"w": np.ones(2)}
    state = optimiser.init(params)
    good = extra(params, lambda p: squares(p["w"]))
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(NonFiniteError, match=r"the gradient at \['w'\] is not fin"):
            optimiser.update({"w": np.array([bad, 1.0])}, state, params, **good)
        with pytest.raises(NonFiniteError, match=f"the loss is {bad}"):
            optimiser.update(params, state, params, **good, value=bad)
    with pytest.raises(FloatingPointError):
        optimiser.update(params, state, params, **good, value=np.nan)


@pytest.mark.parametrize("name", ["newton_cg", "lbfgs"])
@pytest.mark.parametrize(
    ("loss", "was"),
    [
        (lambda x: x**2, r"float64\[2\]"),
        (lambda x: np.sum(x**2, keepdims=True), r"float64\[1\]"),
        (lambda x: np.sum(x) * 1j, r"complex128\[\]"),
        (lambda x: (np.sum(x), x), "of type tuple"),
        (lambda x: None, "of type NoneType"),
    ],
)
def test_a_loss_that_is_no_real_number_is_refused(name, loss, was):
    optimiser, x = METHODS[name][0](), np.ones(2)
    state = optimiser.init(x)
    with pytest.raises(NonScalarOutputError, match=f"{name} minimises .* is {was}"):
        optimiser.update(x, state, x, value_fn=loss)
    with pytest.raises(LeafTypeError, match=f"{name}: its output is of type str"):
        optimiser.update(x, state, x, value_fn=lambda x: "low")


@EACH
@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.float32, 1e30), (np.float64, 1e200), (np.float64, 1e10)]
)
def test_gradients_whose_squares_overflow_are_followed(name, dtype, scale):
    scale = dtype(scale)

    def loss(x):
        return scale * np.sum(np.abs(x - 1) ** 2)

    with np.errstate(over="ignore"):
        values, x, _ = minimise(name, loss, np.array([0.0, 3.0], dtype), 3)
    assert values[-1] < 1e-10 * values[0]
    np.testing.assert_allclose(x, 1, atol=1e-5)


@pytest.mark.parametrize("name", ["newton_cg", "gauss_newton"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_undamped_steps_do_not_depend_on_the_unit_of_the_loss(name, dtype):
    start = np.array([0.0, 3.0], dtype)
    for scale in np.array([1e-30, 1e30], dtype):
        loss = lambda x, scale=scale: scale * squares(x - 1)  # noqa: E731
        _, x, _ = minimise(name, loss, start, 3, damping=0.0)
        np.testing.assert_allclose(x, 1, atol=1e-5)


def test_a_hessian_that_is_not_finite_gives_a_step_down_and_no_nan():
    # the second derivative of |x|^1.5 at zero is infinite, and its first is not
    def loss(x):
        return np.sum(np.abs(x) ** 1.5 - x)

    x = np.array([0.0, 2.0])
    with np.errstate(divide="ignore", invalid="ignore"):
        assert not np.isfinite(funcad.hvp(loss, (x,), (x + 1,))).all()
        values, x, _ = minimise("newton_cg", loss, x, 4)
    assert values[-1] < values[0] and np.all(np.isfinite(x))


@EACH
def test_where_no_step_decreases_the_loss_updates_are_zero(name):
    """A gradient of the wrong sign leads nowhere down."""
    factory, extra = METHODS[name]
    optimiser = factory()
    x = np.array([1.0, 2.0])
    updates, state = optimiser.update(-x, optimiser.init(x), x, **extra(x, squares))
    np.testing.assert_array_equal(updates, 0.0)
    assert float(state.step_size) == 0.0
    assert float(state.value) == 2.5


@EACH
def test_a_gradient_of_zero_moves_nothing(name):
    x = {"a": np.zeros((2, 2)), "b": np.zeros(3, np.float32)}

    def loss(p):
        return np.sum(p["a"] ** 2) + np.sum(p["b"] ** 2)

    values, moved, state = minimise(name, loss, x, 2)
    assert values == [0.0, 0.0, 0.0]
    for leaf, old in zip(tree.leaves(moved), tree.leaves(x), strict=True):
        assert leaf.dtype == old.dtype
        np.testing.assert_array_equal(leaf, 0.0)
    assert int(state.count) == 2


@EACH
def test_at_a_minimum_to_rounding_nothing_grows_and_nothing_breaks(name):
    def loss(x):
        return np.sum(np.cosh(x - 0.3)) + 1e6

    values, x, _ = minimise(name, loss, np.array([0.1, 2.0]), 40)
    assert values[-1] <= values[0]
    np.testing.assert_allclose(x, 0.3, atol=1e-3)


# ------------------------------------------------------------------------------ dtypes


@EACH
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_updates_and_parameters_keep_their_dtypes(name, dtype):
    params = {"a": np.ones((2, 2), dtype), "b": np.full(3, 2.0, np.float32)}

    def loss(p):
        return np.sum(p["a"].astype(float) ** 2) + np.sum(p["b"].astype(float) ** 4)

    values, moved, _ = minimise(name, loss, params, 8)
    assert moved["a"].dtype == dtype
    assert moved["b"].dtype == np.float32
    assert values[-1] < 0.5 * values[0]


@EACH
def test_a_state_is_a_tree_of_arrays_whose_structure_stays(name):
    params = {"w": np.ones((2, 2)), "b": np.ones(2)}
    _, _, first = minimise(name, lambda p: squares(p["w"]) + squares(p["b"]), params, 0)
    _, _, last = minimise(name, lambda p: squares(p["w"]) + squares(p["b"]), params, 3)
    assert tree.structure(first) == tree.structure(last)
    for a, b in zip(tree.leaves(first), tree.leaves(last), strict=True):
        assert isinstance(b, np.ndarray)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)


@EACH
def test_states_and_parameters_are_left_as_they_were(name):
    factory, extra = METHODS[name]
    optimiser = factory()
    x = np.array([1.0, -2.0])
    state = optimiser.init(x)
    kept = tree.map(np.copy, (state, x))

    def loss(x):
        return np.sum(np.cosh(x))

    for _ in range(2):
        g = funcad.grad(loss)(x)
        again = optimiser.update(g, state, x, **extra(x, loss))
        first = optimiser.update(g, state, x, **extra(x, loss))
        for a, b in zip(tree.leaves(again), tree.leaves(first), strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(tree.leaves(kept), tree.leaves((state, x)), strict=True):
        np.testing.assert_array_equal(a, b)


@EACH
def test_flattened_trees_and_empty_trees_are_parameters(name):
    flat = funcad.Flatten({"w": np.ones((2, 2)), "b": np.full(2, 3.0)})
    values, moved, _ = minimise(name, lambda p: p.dot(p), flat, 3)
    assert isinstance(moved, funcad.Flatten)
    assert values[-1] < 1e-3 * values[0]
    _, moved, _ = minimise(name, lambda p: np.sum(np.ones(1)), {}, 1)
    assert moved == {}


@EACH
def test_steps_on_another_librarys_arrays_are_numpys(name, library):
    def loss(p):
        return np.sum(np.cosh(p["w"])) + np.sum(p["w"]) * np.sum(p["b"] ** 2)

    params = {"w": np.array([0.5, 1.5]), "b": np.array([1.0])}
    wanted, there, _ = minimise(name, loss, params, 4)
    got, moved, state = minimise(name, loss, tree.map(library.from_host, params), 4)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    for leaf, w in zip(tree.leaves(moved), tree.leaves(there), strict=True):
        assert type(leaf) is type(library.from_host(np.ones(1)))
        np.testing.assert_allclose(host(leaf), w, rtol=1e-4)
    assert {type(leaf) for leaf in tree.leaves(state)} == {type(leaf)}


# ------------------------------------------------------------------- further arguments


@EACH
def test_a_chain_hands_the_loss_to_those_who_take_it(name):
    factory, extra = METHODS[name]
    x = np.array([1.0, 2.0])
    optimiser = optim.chain(
        optim.clip_by_global_norm(10.0), factory(), optim.scale(0.5)
    )
    assert isinstance(optimiser, optim.GradientTransformationExtraArgs)
    updates, _ = optimiser.update(x, optimiser.init(x), x, **extra(x, squares))
    alone = factory()
    wanted, _ = alone.update(x, alone.init(x), x, **extra(x, squares))
    np.testing.assert_allclose(updates, 0.5 * wanted)


def test_a_chain_of_plain_transformations_takes_no_more_than_before():
    optimiser = optim.chain(optim.scale(2.0))
    with pytest.raises(TypeError, match="value_fn"):
        optimiser.update(np.ones(1), optimiser.init(np.ones(1)), value_fn=squares)


def test_arguments_of_others_are_ignored():
    optimiser = optim.newton_cg()
    x = np.ones(2)
    updates, _ = optimiser.update(
        x, optimiser.init(x), x, value_fn=squares, loss_fn=None, something=3
    )
    assert np.all(updates < 0)


@EACH
def test_a_value_that_is_given_is_not_computed_again(name):
    calls = []

    def loss(x):
        calls.append(1)
        return squares(x)

    counts = []
    for known in ({}, {"value": 2.5}):
        factory, extra = METHODS[name]
        optimiser = factory()
        x = np.array([1.0, 2.0])
        calls.clear()
        _, state = optimiser.update(x, optimiser.init(x), x, **extra(x, loss), **known)
        counts.append(len(calls))
        assert float(state.value) < 2.5
    assert counts[1] == counts[0] - 1


@EACH
def test_what_update_needs_is_named_if_it_is_absent(name):
    factory, extra = METHODS[name]
    optimiser = factory()
    x = np.ones(2)
    state = optimiser.init(x)
    missing = "model_fn" if name == "gauss_newton" else "value_fn"
    with pytest.raises(ArgumentError, match=f"{missing} is not given") as caught:
        optimiser.update(x, state, x)
    assert f"optimiser.update(grads, state, params, {missing}=...)" in str(caught.value)
    with pytest.raises(ArgumentError, match="3.0, not a function"):
        optimiser.update(x, state, x, **{missing: 3.0})
    with pytest.raises(ArgumentError, match="needs the parameters"):
        optimiser.update(x, state, **extra(x, squares))
    with pytest.raises(TreeStructureError, match="gradients"):
        optimiser.update({"w": x}, state, x, **extra(x, squares))
    with pytest.raises(TreeStructureError, match=r"\(2,\) in the parameters, \(3,\)"):
        optimiser.update(np.ones(3), state, x, **extra(x, squares))


@EACH
def test_a_loss_that_is_never_finite_is_not_hidden_by_a_value_that_is(name):
    factory, extra = METHODS[name]
    x = np.ones(2)
    given = extra(x, lambda x: np.nan * squares(x))
    with pytest.raises(NonFiniteError, match=f"{name}: the loss is nan"):
        factory().update(x, factory().init(x), x, value=1.0, **given)


@EACH
def test_parameters_that_are_no_floats_are_refused(name):
    factory, _ = METHODS[name]
    with pytest.raises(InputDtypeError, match=r"\['n'\] has dtype int64"):
        factory().init({"n": np.arange(2)})
    with pytest.raises(InputDtypeError, match="real and imaginary parts as two"):
        factory().init({"z": np.ones(2) * 1j})
    with pytest.raises(InputDtypeError, match="takes real gradients"):
        x = np.ones(2)
        factory().update(x * 1j, factory().init(x), x, **METHODS[name][1](x, squares))


@EACH
def test_an_update_inside_of_a_transform_is_refused(name):
    factory, extra = METHODS[name]
    optimiser = factory()
    x = np.ones((2, 3))

    def step(x):
        return optimiser.update(x, optimiser.init(x), x, **extra(x, squares))[0]

    for transform in (funcad.vmap(step), funcad.jit(step)):
        with pytest.raises(DerivativeLossError, match="outside of jit, vmap and grad"):
            transform(x)


@pytest.mark.parametrize("name", ["newton_cg", "gauss_newton"])
@pytest.mark.parametrize(
    ("argument", "value", "match"),
    [
        ("damping", -1.0, "0 or greater"),
        ("damping", np.nan, "NaN"),
        ("cg_steps", 0, "at least 1"),
        ("cg_steps", 2.0, "an integer"),
        ("cg_rtol", -0.1, "0 or greater"),
        ("max_backtracks", 0, "at least 1"),
        ("max_backtracks", True, "an integer"),
    ],
)
def test_arguments_out_of_range_are_refused(name, argument, value, match):
    with pytest.raises(ArgumentError, match=f"{argument}.*{match}"):
        METHODS[name][0](**{argument: value})


def test_masks_are_refused_by_methods_that_take_the_whole_loss():
    with pytest.raises(ArgumentError, match="functions of all parameters"):
        optim.masked(optim.newton_cg(), {"w": True, "b": False})
