"""The building blocks under transforms of functions, and on a device."""

import numpy as np
import pytest

import funcad
from backend_double import Array as DeviceArray
from funcad import optim, tree

# Epsilons under the root, because these training steps are differentiated.
OPTIMISERS = {
    "sgd": optim.sgd,
    "nesterov": lambda lr: optim.sgd(lr, momentum=0.9, nesterov=True),
    "adam": lambda lr: optim.adam(lr, eps_root=1e-3),
    "nadam": lambda lr: optim.adam(lr, eps_root=1e-3, nesterov=True),
    "adamw": lambda lr: optim.adamw(
        lr, eps_root=1e-3, weight_decay=0.1, mask={"w": True, "b": False}
    ),
    "rmsprop": lambda lr: optim.rmsprop(lr, eps=1e-2),
    "centered": lambda lr: optim.rmsprop(
        lr, eps=1e-2, centered=True, momentum=0.5, bias_correction=True
    ),
    "adagrad": optim.adagrad,
    "lion": optim.lion,
    "clipped": lambda lr: optim.chain(
        optim.clip_by_global_norm(0.1), optim.clip(0.05), optim.sgd(lr)
    ),
    "cosine": lambda lr: optim.sgd(
        optim.warmup_cosine_decay_schedule(0.0, lr, 2, 10, 0.1)
    ),
    "exponential": lambda lr: optim.sgd(
        optim.exponential_decay(lr, 2, 0.5, end_value=0.01)
    ),
    "piecewise": lambda lr: optim.sgd(optim.piecewise_constant_schedule(lr, {1: 0.5})),
}

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(8, 3)), RANDOM.normal(size=8)
PARAMS = {"w": RANDOM.normal(size=3), "b": np.zeros(())}


def loss(params):
    return np.mean((X @ params["w"] + params["b"] - Y) ** 2)


def trained(make, learning_rate, params, steps=3):
    optimiser = make(learning_rate)
    state = optimiser.init(params)
    for _ in range(steps):
        grads = funcad.grad(loss)(params)
        updates, state = optimiser.update(grads, state, params)
        params = optim.apply_updates(params, updates)
    return loss(params)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_training_is_differentiable_in_the_learning_rate(name):
    def final(lr):
        return trained(OPTIMISERS[name], lr, PARAMS)

    step = 1e-6
    expected = (final(0.05 + step) - final(0.05 - step)) / (2 * step)
    assert funcad.grad(final)(0.05) == pytest.approx(expected, rel=1e-5)
    forward = funcad.jvp(final, (0.05,), (1.0,))[1]
    assert forward == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_training_is_differentiable_in_the_first_parameters(name):
    def final(params):
        return trained(OPTIMISERS[name], 0.05, params)

    direction = {"w": np.array([0.3, -0.2, 0.5]), "b": np.array(0.7)}
    step = 1e-6
    shifted = [
        tree.map(lambda p, d, s=s: p + s * d, PARAMS, direction) for s in (step, -step)
    ]
    expected = (final(shifted[0]) - final(shifted[1])) / (2 * step)
    grads = funcad.grad(final)(PARAMS)
    along = sum(np.sum(grads[k] * direction[k]) for k in grads)
    assert along == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_ensemble_trains_as_its_members_do(name):
    ensemble = tree.map(lambda p: np.stack([p, 2 * p, p + 1]), PARAMS)
    got = funcad.vmap(lambda params: trained(OPTIMISERS[name], 0.05, params))(ensemble)
    members = [tree.map(lambda p, i=i: p[i], ensemble) for i in range(3)]
    expected = [trained(OPTIMISERS[name], 0.05, params) for params in members]
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    rates = np.array([0.01, 0.05])
    got = funcad.vmap(lambda lr: trained(OPTIMISERS[name], lr, PARAMS))(rates)
    expected = [trained(OPTIMISERS[name], lr, PARAMS) for lr in rates]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_batch_of_states_is_updated_as_each_of_them(name):
    optimiser = OPTIMISERS[name](0.05)
    ensemble = tree.map(lambda p: np.stack([p, 2 * p, p + 1]), PARAMS)
    states = funcad.vmap(optimiser.init)(ensemble)
    for _ in range(3):
        grads = funcad.vmap(funcad.grad(loss))(ensemble)
        updates, states = funcad.vmap(optimiser.update)(grads, states, ensemble)
        ensemble = optim.apply_updates(ensemble, updates)
    counts = [x for x in tree.leaves(states) if x.dtype == np.int64]
    assert all(count.tolist() == [3, 3, 3] for count in counts)
    expected = trained(OPTIMISERS[name], 0.05, tree.map(lambda p: 2 * p, PARAMS))
    got = loss(tree.map(lambda p: p[1], ensemble))
    assert got == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_staged_update_has_the_shapes_and_dtypes_of_the_eager_one(name, dtype):
    params = tree.map(lambda p: p.astype(dtype), PARAMS)
    optimiser = OPTIMISERS[name](0.05)
    state = optimiser.init(params)
    staged = funcad.eval_shape(optimiser.update, params, state, params)
    eager = optimiser.update(params, state, params)
    assert tree.structure(staged) == tree.structure(eager)
    for s, e in zip(tree.leaves(staged), tree.leaves(eager), strict=True):
        assert (s.shape, s.dtype) == (e.shape, e.dtype)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_staged_update_counts_its_steps(name):
    """Were the counter a constant, the bias corrections would be those of step one."""
    optimiser = OPTIMISERS[name](0.05)
    state = optimiser.init(PARAMS)
    program = funcad.make_program(optimiser.update)(PARAMS, state, PARAMS)
    for _ in range(3):
        expected = optimiser.update(PARAMS, state, PARAMS)
        got = program.evaluate(tree.leaves((PARAMS, state, PARAMS)))
        for g, e in zip(got, tree.leaves(expected), strict=True):
            np.testing.assert_allclose(g, e, rtol=1e-12)
        state = expected[1]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_parameters_on_a_device_are_updated_there(name):
    optimiser = OPTIMISERS[name](0.05)
    host = tree.map(lambda p: p.astype(np.float32), PARAMS)
    device = tree.map(DeviceArray, host)
    host_state, device_state = optimiser.init(host), optimiser.init(device)
    for _ in range(3):
        updates, host_state = optimiser.update(host, host_state, host)
        host = optim.apply_updates(host, updates)
        updates, device_state = optimiser.update(device, device_state, device)
        device = optim.apply_updates(device, updates)
    pairs = zip(
        tree.leaves((host, host_state)),
        tree.leaves((device, device_state)),
        strict=True,
    )
    for h, d in pairs:
        assert isinstance(d, DeviceArray)
        assert d.dtype == h.dtype
        np.testing.assert_allclose(d.get(), h, rtol=1e-6)


def test_a_momentum_of_constant_gradients_is_a_geometric_sum():
    transform = optim.trace(0.5)
    state = transform.init(np.ones(1))
    for n in range(1, 6):
        updates, state = transform.update(np.ones(1), state)
        np.testing.assert_allclose(updates, 2 * (1 - 0.5**n))


def test_adam_does_not_see_the_scale_of_the_gradients():
    transform = optim.scale_by_adam(eps=0.0)
    state = scaled_state = transform.init(np.ones(4))
    for grads in np.random.default_rng(0).normal(size=(5, 4)):
        updates, state = transform.update(grads, state)
        scaled_updates, scaled_state = transform.update(1000 * grads, scaled_state)
        np.testing.assert_allclose(updates, scaled_updates, rtol=1e-12)


def test_no_sum_of_squares_is_no_division_by_zero():
    transform = optim.scale_by_rss(initial_accumulator_value=0.0, eps=0.0)
    with np.errstate(all="raise"):
        updates, _ = transform.update(np.array([0.0, 2.0]), transform.init(np.ones(2)))
    np.testing.assert_array_equal(updates, [0.0, 1.0])


def test_a_variance_that_rounding_makes_negative_is_none():
    transform = optim.scale_by_stddev(bias_correction=True)
    state = transform.init(np.ones(100))
    grads = np.random.default_rng(0).normal(size=100) * 1e8
    with np.errstate(all="raise"):
        for _ in range(5):
            updates, state = transform.update(grads, state)
    assert np.all(np.isfinite(updates))
