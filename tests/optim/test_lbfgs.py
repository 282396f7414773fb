"""What is L-BFGS's own: its memory, its line search and what that leaves."""

import math

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

import funcad
from funcad import optim
from funcad.core.errors import ArgumentError, TreeStructureError
from funcad.optim.lbfgs import LBFGSState, _preconditioned
from funcad.optim.line_search import ENOUGH, FLATTER, Point, backtracking, wolfe
from properties import generators


def run(loss, x, steps, **options):
    optimiser = optim.lbfgs(**options)
    state = optimiser.init(x)
    value_and_grad = optim.value_and_grad_from_state(loss)
    for _ in range(steps):
        value, g = value_and_grad(x, state=state)
        updates, state = optimiser.update(g, state, x, value=value, value_fn=loss)
        x = optim.apply_updates(x, updates)
    return x, state


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def test_it_needs_about_as_many_gradients_as_scipys():
    x = np.full(10, -1.2)
    calls = []

    def loss(x):
        calls.append(1)
        return rosenbrock(x)

    found, state = run(loss, x, 75)
    theirs = scipy.optimize.minimize(
        rosenbrock, x, method="L-BFGS-B", jac=funcad.grad(rosenbrock)
    )
    assert float(state.value) < 1e-10
    np.testing.assert_allclose(found, 1.0, rtol=1e-4)
    assert len(calls) < 2 * theirs.nfev


@given(generators(), st.integers(1, 5), st.integers(1, 5))
def test_the_guess_maps_each_remembered_difference_to_its_step(rng, n, m):
    """The secant condition, which the newest pair satisfies exactly."""
    a = rng.normal(size=(n, n))
    matrix = a @ a.T + np.eye(n)
    steps = rng.normal(size=(m, n))
    differences = steps @ matrix
    state = LBFGSState(
        count=np.array(m),
        steps=steps,
        differences=differences,
        curvatures=np.sum(steps * differences, axis=1),
        step_size=np.array(1.0),
        value=np.array(0.0),
        grad=np.zeros(n),
    )
    got = _preconditioned(state, differences[0], True)
    np.testing.assert_allclose(got, steps[0], rtol=1e-8, atol=1e-10)


def test_the_memory_holds_the_newest_steps_first():
    x = np.array([-1.2, 1.0])
    optimiser = optim.lbfgs(memory_size=2)
    state = optimiser.init(x)
    updates = []
    for _ in range(4):
        g = funcad.grad(rosenbrock)(x)
        update, state = optimiser.update(g, state, x, value_fn=rosenbrock)
        updates.append(update)
        np.testing.assert_allclose(
            state.differences[0], funcad.grad(rosenbrock)(x + update) - g, rtol=1e-9
        )
        x = x + update
    np.testing.assert_array_equal(state.steps, [updates[3], updates[2]])
    np.testing.assert_allclose(
        state.curvatures, np.sum(state.steps * state.differences, axis=1)
    )


def test_the_gradient_that_the_line_search_ended_with_is_used_again():
    calls = []

    def loss(x):
        calls.append(1)
        return np.sum(np.cosh(x))

    x = np.array([0.3, -0.2])
    optimiser = optim.lbfgs()
    state = optimiser.init(x)
    value_and_grad = optim.value_and_grad_from_state(loss)
    value, g = value_and_grad(x, state=state)
    assert len(calls) == 1
    updates, state = optimiser.update(g, state, x, value=value, value_fn=loss)
    x = x + updates
    count = len(calls)
    for chained in (state, (optim.EmptyState(), (state,))):
        value, g = value_and_grad(x, state=chained)
        assert len(calls) == count
        np.testing.assert_allclose(value, np.sum(np.cosh(x)), rtol=1e-15)
        np.testing.assert_allclose(g, np.sinh(x), rtol=1e-12)


def test_a_state_of_another_optimiser_holds_no_gradient():
    value_and_grad = optim.value_and_grad_from_state(rosenbrock)
    x = np.ones(2)
    with pytest.raises(ArgumentError, match="no state of optim.lbfgs"):
        value_and_grad(x, state=optim.adam(0.1).init(x))


def test_a_state_of_other_parameters_is_refused():
    optimiser, x = optim.lbfgs(), np.ones(2)
    state = optimiser.init(np.ones(3))
    with pytest.raises(TreeStructureError, match=r"\(3,\) in the state, \(2,\) in the"):
        optimiser.update(x, state, x, value_fn=rosenbrock)


def test_unscaled_it_begins_with_the_gradient_itself():
    x = np.array([3.0, 4.0])
    loss = lambda x: x @ x / 20  # noqa: E731
    for scaled, wanted in ((False, -0.1), (True, -0.1)):
        optimiser = optim.lbfgs(scale_init_precond=scaled, max_linesearch_steps=1)
        update, _ = optimiser.update(x / 10, optimiser.init(x), x, value_fn=loss)
        np.testing.assert_allclose(update, wanted * x)
    loss = lambda x: x @ x  # noqa: E731
    update, _ = optim.lbfgs().update(2 * x, optim.lbfgs().init(x), x, value_fn=loss)
    assert np.linalg.norm(update) <= 10 * (1 + 1e-12)


def test_after_a_search_that_found_nothing_it_begins_anew():
    x, state = run(rosenbrock, np.array([-1.2, 1.0]), 3)
    assert np.any(state.curvatures)
    _, state = optim.lbfgs().update(
        -funcad.grad(rosenbrock)(x), state, x, value_fn=rosenbrock
    )
    np.testing.assert_array_equal(state.curvatures, 0.0)


@pytest.mark.parametrize(
    ("argument", "value"), [("memory_size", 0), ("max_linesearch_steps", 1.5)]
)
def test_arguments_out_of_range_are_refused(argument, value):
    with pytest.raises(ArgumentError, match=f"lbfgs: {argument}"):
        optim.lbfgs(**{argument: value})


# ----------------------------------------------------------------------- line searches

LINES = {
    "far": (lambda t: (t - 40) ** 2, lambda t: 2 * (t - 40)),
    "near": (lambda t: (t - 0.01) ** 2, lambda t: 2 * (t - 0.01)),
    "steep": (lambda t: -t / (t**2 + 2), lambda t: (t**2 - 2) / (t**2 + 2) ** 2),
    "kinked": (lambda t: abs(t - 0.3), lambda t: float(np.sign(t - 0.3))),
    "wavy": (
        lambda t: (t - 3) ** 2 / 5 - math.sin(4 * t) / 3,
        lambda t: 2 * (t - 3) / 5 - 4 * math.cos(4 * t) / 3,
    ),
    "edge": (
        lambda t: -t - math.log(2 - t) if t < 2 else math.nan,
        lambda t: -1 + 1 / (2 - t) if t < 2 else math.nan,
    ),
}


@pytest.mark.parametrize("line", sorted(LINES.keys() - {"kinked"}))
def test_a_search_ends_where_the_strong_wolfe_conditions_hold(line):
    phi, slope = LINES[line]
    start = Point(0.0, phi(0.0), slope(0.0), None)
    found = wolfe(lambda t: Point(t, phi(t), slope(t), None), start, 30, 0.0)
    assert found.step > 0
    assert found.value <= start.value + ENOUGH * found.step * start.slope
    assert abs(found.slope) <= -FLATTER * start.slope


def test_a_search_that_cannot_satisfy_them_ends_lower_all_the_same():
    phi, slope = LINES["kinked"]
    start = Point(0.0, phi(0.0), slope(0.0), None)
    found = wolfe(lambda t: Point(t, phi(t), slope(t), None), start, 20, 0.0)
    assert 0 < found.step and found.value < start.value


def test_a_function_that_is_nowhere_finite_leads_nowhere():
    start = Point(0.0, 1.0, -1.0, "kept")
    nowhere = wolfe(lambda t: Point(t, math.nan, math.nan, None), start, 10, 0.0)
    assert nowhere is start
    assert backtracking(lambda t: math.inf, 1.0, -1.0, 10, 0.0) == (0.0, 1.0, math.inf)


def test_backtracking_takes_the_first_half_that_is_low_enough():
    tried = []

    def phi(t):
        tried.append(t)
        return (t - 0.1) ** 2

    assert backtracking(phi, 0.01, -0.2, 20, 0.0) == (0.125, phi(0.125), 0.81)
    assert tried[:4] == [1.0, 0.5, 0.25, 0.125]
    assert backtracking(phi, 0.01, -0.2, 2, 0.0)[0] == 0.0
