"""Each optimiser against its published formula, written out here a second time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcad import optim, tree
from funcad.core.errors import ArgumentError, InputDtypeError

rates = st.floats(1e-4, 1.0)
decays = st.floats(0.0, 0.99)
epsilons = st.floats(1e-8, 1e-2)
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from([np.float32, np.float64])
maybe_momentum = st.none() | decays


def sgd_formula(lr, momentum, nesterov):
    def step(p, g, memory, t):
        if momentum is None:
            return p - lr * g, memory
        velocity = momentum * memory.get("velocity", 0 * g) + g
        direction = g + momentum * velocity if nesterov else velocity
        return p - lr * direction, {"velocity": velocity}

    return step


def adam_formula(lr, b1, b2, eps, weight_decay=0.0):
    """Kingma and Ba, algorithm 1; Loshchilov and Hutter, algorithm 2."""

    def step(p, g, memory, t):
        m = b1 * memory.get("m", 0 * g) + (1 - b1) * g
        v = b2 * memory.get("v", 0 * np.abs(g)) + (1 - b2) * np.abs(g) ** 2
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        step = m_hat / (np.sqrt(v_hat) + eps) + weight_decay * p
        return p - lr * step, {"m": m, "v": v}

    return step


def nadam_formula(lr, b1, b2, eps):
    """Dozat, algorithm 2 with a constant decay."""

    def step(p, g, memory, t):
        m = b1 * memory.get("m", 0 * g) + (1 - b1) * g
        v = b2 * memory.get("v", 0 * g) + (1 - b2) * g**2
        m_bar = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        return p - lr * m_bar / (np.sqrt(v / (1 - b2**t)) + eps), {"m": m, "v": v}

    return step


def rmsprop_formula(
    lr, decay, eps, start, inside, centered, momentum, nesterov, corrected
):
    def step(p, g, memory, t):
        v = decay * memory.get("v", start + 0 * g) + (1 - decay) * g**2
        m = decay * memory.get("m", 0 * g) + (1 - decay) * g
        weight = 1 - decay**t if corrected else 1.0
        square = v / weight - ((m / weight) ** 2 if centered else 0.0)
        square = np.maximum(square, 0.0)
        root = np.sqrt(square + eps) if inside else np.sqrt(square) + eps
        direction = lr * g / root
        memory = {"v": v, "m": m, "velocity": memory.get("velocity", 0 * g)}
        if momentum is not None:
            memory["velocity"] = momentum * memory["velocity"] + direction
            if nesterov:
                direction = direction + momentum * memory["velocity"]
            else:
                direction = memory["velocity"]
        return p - direction, memory

    return step


def adagrad_formula(lr, start, eps):
    def step(p, g, memory, t):
        total = memory.get("total", start + 0 * g) + g**2
        return p - lr * g / np.sqrt(total + eps), {"total": total}

    return step


def lion_formula(lr, b1, b2, weight_decay):
    """Chen et al., program 1."""

    def step(p, g, memory, t):
        m = memory.get("m", 0 * g)
        direction = np.sign(b1 * m + (1 - b1) * g) + weight_decay * p
        return p - lr * direction, {"m": b2 * m + (1 - b2) * g}

    return step


def sample_tree(random, dtype):
    """Matrices, a vector, a scalar, an empty array and a missing leaf, nested."""

    def draw(*shape):
        x = random.normal(size=shape)
        if np.dtype(dtype).kind == "c":
            x = x + 1j * random.normal(size=shape)
        return np.asarray(x, dtype)

    return {
        "layers": [(draw(3, 2), draw(2)), (draw(2, 1), None)],
        "gain": draw(),
        "empty": draw(0, 3),
    }


def check(optimiser, formula, dtype, seed, steps=5):
    """Both ways, and that nothing changes dtype, structure or an input's bytes."""
    random = np.random.default_rng(seed)
    params = sample_tree(random, dtype)
    state = optimiser.init(params)
    wide = np.result_type(dtype, np.float64)
    expected = [p.astype(wide) for p in tree.leaves(params)]
    memories = [{} for _ in expected]
    tolerance = 1e4 * np.finfo(dtype).eps
    for t in range(1, steps + 1):
        grads = sample_tree(random, dtype)
        before = content((grads, state, params))
        updates, following = optimiser.update(grads, state, params)
        moved = optim.apply_updates(params, updates)
        assert content((grads, state, params)) == before
        assert tree.structure(following) == tree.structure(state)
        assert described(following) == described(state)
        assert described(updates) == described(params) == described(moved)
        params, state = moved, following
        for i, g in enumerate(tree.leaves(grads)):
            expected[i], memories[i] = formula(
                expected[i], g.astype(wide), memories[i], t
            )
    for got, wanted in zip(tree.leaves(params), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


def content(values):
    return [np.asarray(leaf).tobytes() for leaf in tree.leaves(values)]


def described(values):
    return [(leaf.shape, leaf.dtype) for leaf in tree.leaves(values)]


@given(rates, maybe_momentum, st.booleans(), dtypes, seeds)
def test_sgd_follows_its_formula(lr, momentum, nesterov, dtype, seed):
    nesterov = nesterov and momentum is not None
    optimiser = optim.sgd(lr, momentum, nesterov)
    check(optimiser, sgd_formula(lr, momentum, nesterov), dtype, seed)


@given(rates, decays, decays, epsilons, dtypes, seeds)
def test_adam_follows_its_formula(lr, b1, b2, eps, dtype, seed):
    check(
        optim.adam(lr, b1, b2, eps), adam_formula(lr, b1, b2, eps), dtype, seed, steps=7
    )


@given(rates, decays, decays, epsilons, dtypes, seeds)
def test_nadam_follows_its_formula(lr, b1, b2, eps, dtype, seed):
    optimiser = optim.adam(lr, b1, b2, eps, nesterov=True)
    check(optimiser, nadam_formula(lr, b1, b2, eps), dtype, seed)


@given(rates, decays, decays, epsilons, st.floats(0.0, 0.5), dtypes, seeds)
def test_adamw_follows_its_formula(lr, b1, b2, eps, weight_decay, dtype, seed):
    optimiser = optim.adamw(lr, b1, b2, eps, weight_decay=weight_decay)
    check(optimiser, adam_formula(lr, b1, b2, eps, weight_decay), dtype, seed)


@given(
    rates,
    st.floats(0.1, 0.99),
    st.floats(1e-4, 1e-2),
    st.floats(0.05, 1.0),
    st.booleans(),
    st.booleans(),
    maybe_momentum,
    st.booleans(),
    st.booleans(),
    seeds,
)
def test_rmsprop_follows_its_formula(
    lr, decay, eps, start, inside, centered, momentum, nesterov, corrected, seed
):
    # The centered form is a difference of moments: begun at zero it is all rounding at
    # first, and in float32 it has few digits.
    start = start if centered else 0.0
    nesterov = nesterov and momentum is not None
    settings = (decay, eps, start, inside, centered, momentum, nesterov, corrected)
    check(optim.rmsprop(lr, *settings), rmsprop_formula(lr, *settings), float, seed)


@given(rates, st.floats(1e-3, 1.0), st.floats(0.0, 1e-2), dtypes, seeds)
def test_adagrad_follows_its_formula(lr, start, eps, dtype, seed):
    check(optim.adagrad(lr, start, eps), adagrad_formula(lr, start, eps), dtype, seed)


@given(rates, decays, decays, st.floats(0.0, 0.5), seeds)
def test_lion_follows_its_formula(lr, b1, b2, weight_decay, seed):
    # In float64: a sign in float32 differs where its argument is all rounding.
    optimiser = optim.lion(lr, b1, b2, weight_decay=weight_decay)
    check(optimiser, lion_formula(lr, b1, b2, weight_decay), float, seed)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_parameters_have_real_second_moments(dtype):
    check(optim.adamw(0.1), adam_formula(0.1, 0.9, 0.999, 1e-8, 1e-4), dtype, 0)
    state = optim.adam(0.1).init(np.ones(2, dtype))
    assert state[0].mu.dtype == dtype
    assert state[0].nu.dtype == np.finfo(dtype).dtype


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "make",
    [
        lambda lr: optim.sgd(lr, momentum=0.9),
        lambda lr: optim.adam(lr, eps=1e-4),
        lambda lr: optim.adamw(lr, eps=1e-4),
        lambda lr: optim.rmsprop(lr, eps=1e-4, centered=True, momentum=0.5),
        lambda lr: optim.adagrad(lr, eps=1e-4),
        lambda lr: optim.lion(lr),
        lambda lr: optim.chain(optim.clip_by_global_norm(1.0), optim.clip(0.5)),
    ],
)
@pytest.mark.parametrize(
    "learning_rate",
    [np.float64(0.1), np.array(0.1), lambda count: np.float64(0.1) / (1 + count)],
)
def test_a_float64_learning_rate_does_not_widen_anything(make, dtype, learning_rate):
    params = {"w": np.ones((2, 2), dtype), "s": np.ones((), dtype)}
    optimiser = make(learning_rate)
    state = optimiser.init(params)
    floating = [x.dtype for x in tree.leaves(state) if x.dtype.kind == "f"]
    for _ in range(2):
        updates, state = optimiser.update(params, state, params)
    assert {x.dtype for x in tree.leaves(updates)} == {np.dtype(dtype)}
    assert [x.dtype for x in tree.leaves(state) if x.dtype.kind == "f"] == floating
    assert set(floating) <= {np.dtype(dtype)}


@pytest.mark.parametrize(
    ("optimiser", "steps"),
    [
        (optim.sgd(0.1), 200),
        (optim.sgd(0.02, momentum=0.9), 300),
        (optim.sgd(0.02, momentum=0.9, nesterov=True), 300),
        (optim.adam(0.1), 400),
        (optim.adam(0.1, nesterov=True), 400),
        (optim.adamw(0.1, weight_decay=0.0), 400),
        (optim.rmsprop(optim.cosine_decay_schedule(0.05, 400)), 400),
        (optim.rmsprop(optim.cosine_decay_schedule(0.05, 400), centered=True), 400),
        (optim.adagrad(1.0), 400),
        (optim.lion(optim.linear_schedule(0.05, 0.0, 400), weight_decay=0.0), 400),
    ],
)
def test_each_optimiser_finds_the_minimum_of_a_quadratic(optimiser, steps):
    target = {"a": np.array([1.0, -2.0]), "b": np.array(0.5)}
    curvature = {"a": np.array([1.0, 4.0]), "b": np.array(2.0)}
    params = tree.map(np.zeros_like, target)
    state = optimiser.init(params)
    for _ in range(steps):
        grads = tree.map(lambda c, p, m: c * (p - m), curvature, params, target)
        updates, state = optimiser.update(grads, state, params)
        params = optim.apply_updates(params, updates)
    for p, m in zip(tree.leaves(params), tree.leaves(target), strict=True):
        np.testing.assert_allclose(p, m, atol=2e-3)


def test_gradient_descent_on_a_quadratic_contracts_at_the_known_rate():
    optimiser = optim.sgd(0.1)
    params, state = np.array([1.0, 1.0]), optimiser.init(np.zeros(2))
    for _ in range(10):
        updates, state = optimiser.update(np.array([1.0, 5.0]) * params, state)
        params = optim.apply_updates(params, updates)
    np.testing.assert_allclose(params, [0.9**10, 0.5**10], rtol=1e-12)


def test_the_learning_rate_schedule_begins_at_step_zero():
    seen = []

    def schedule(count):
        seen.append(int(count))
        return 1.0

    optimiser = optim.sgd(schedule)
    state = optimiser.init(np.ones(1))
    for _ in range(3):
        _, state = optimiser.update(np.ones(1), state)
    assert seen == [0, 1, 2]


def test_moments_can_be_kept_in_another_dtype():
    optimiser = optim.adam(0.1, mu_dtype=np.float16)
    params = np.ones(3, np.float32)
    state = optimiser.init(params)
    for _ in range(2):
        updates, state = optimiser.update(params, state)
    assert state[0].mu.dtype == np.float16
    assert state[0].nu.dtype == updates.dtype == np.float32
    assert optim.sgd(0.1, 0.9, accumulator_dtype="float64").init(params)[
        0
    ].trace.dtype == np.dtype("float64")


def test_half_precision_gradients_do_not_narrow_float32_states():
    optimiser = optim.adamw(0.1)
    params = {"w": np.ones(3, np.float32)}
    state = optimiser.init(params)
    updates, following = optimiser.update({"w": np.ones(3, np.float16)}, state, params)
    assert described(following) == described(state)
    assert optim.apply_updates(params, updates)["w"].dtype == np.float32


def test_float64_gradients_do_not_widen_float32_states_or_parameters():
    for optimiser in (optim.adamw(0.1), optim.lion(0.1), optim.rmsprop(0.1)):
        params = np.ones(3, np.float32)
        state = optimiser.init(params)
        updates, following = optimiser.update(np.ones(3), state, params)
        assert described(following) == described(state)
        assert optim.apply_updates(params, updates).dtype == np.float32


def test_a_state_saved_as_arrays_resumes_to_identical_bits(tmp_path):
    optimiser = optim.adamw(optim.cosine_decay_schedule(0.1, 10))
    random = np.random.default_rng(0)
    params = sample_tree(random, np.float32)
    gradients = [sample_tree(random, np.float32) for _ in range(6)]

    def train(params, state, gradients):
        for grads in gradients:
            updates, state = optimiser.update(grads, state, params)
            params = optim.apply_updates(params, updates)
        return params, state

    middle = train(params, optimiser.init(params), gradients[:3])
    leaves, treedef = tree.flatten(middle)
    np.savez(tmp_path / "state.npz", *leaves)
    with np.load(tmp_path / "state.npz") as file:
        loaded = tree.unflatten(treedef, [file[name] for name in file.files])
    assert content(train(*loaded, gradients[3:])) == content(
        train(*middle, gradients[3:])
    )


def test_counters_are_integer_arrays_and_exact():
    optimiser = optim.scale_by_adam()
    state = optimiser.init(np.ones(2))
    assert isinstance(state.count, np.ndarray)
    assert (state.count.shape, state.count.dtype) == ((), np.int64)
    state = state._replace(count=np.array(2**53 + 1))
    _, following = optimiser.update(np.ones(2), state)
    assert isinstance(following.count, np.ndarray)
    assert int(following.count) == 2**53 + 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.sgd(-0.1), "learning_rate must be 0 or greater, and is -0.1"),
        (lambda: optim.sgd(float("nan")), "learning_rate is NaN"),
        (
            lambda: optim.sgd("0.1"),
            "learning_rate must be a real number, and is '0.1', a str",
        ),
        (
            lambda: optim.sgd(np.ones(3)),
            "learning_rate must be one real number, and is an array of shape (3,)",
        ),
        (
            lambda: optim.sgd(0.1, momentum=1.0),
            "sgd: momentum must be at least 0 and less than 1, and is 1.0",
        ),
        (
            lambda: optim.rmsprop(0.1, momentum="a"),
            "rmsprop: momentum must be a real number, and is 'a', a str",
        ),
        (
            lambda: optim.sgd(0.1, nesterov=True),
            "sgd: nesterov=True is a kind of momentum, and there is none",
        ),
        (
            lambda: optim.rmsprop(0.1, nesterov=True),
            "rmsprop: nesterov=True is a kind of momentum, and there is none",
        ),
        (
            lambda: optim.adam(0.1, b1=1.0),
            "adam: b1 must be at least 0 and less than 1, and is 1.0",
        ),
        (
            lambda: optim.adam(0.1, b2=-0.1),
            "b2 must be at least 0 and less than 1, and is -0.1",
        ),
        (lambda: optim.adam(0.1, eps=-1e-8), "eps must be 0 or greater, and is -1e-08"),
        (
            lambda: optim.adamw(0.1, weight_decay=-1.0),
            "adamw: weight_decay must be 0 or greater, and is -1.0",
        ),
        (
            lambda: optim.adagrad(0.1, initial_accumulator_value=-1),
            "initial_accumulator_value must be 0 or greater, and is -1",
        ),
        (
            lambda: optim.rmsprop(0.1, decay=1.5),
            "decay must be at least 0 and less than 1, and is 1.5",
        ),
    ],
)
def test_a_setting_out_of_range_is_named_with_its_value(make, message):
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
    assert "test_optimizers.py" in str(caught.value)


@pytest.mark.parametrize("dtype", [int, bool, str, "nope", object, np.int8])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda dtype: optim.adam(0.1, mu_dtype=dtype), "adam: mu_dtype"),
        (lambda dtype: optim.lion(0.1, mu_dtype=dtype), "lion: mu_dtype"),
        (
            lambda dtype: optim.sgd(0.1, momentum=0.9, accumulator_dtype=dtype),
            "sgd: accumulator_dtype",
        ),
    ],
)
def test_a_memory_without_room_for_fractions_is_refused(make, name, dtype):
    with pytest.raises(ArgumentError, match=f"{name} must be a floating-point or comp"):
        make(dtype)


@pytest.mark.parametrize(
    "optimiser",
    [
        optim.adam(0.1),
        optim.lion(0.1),
        optim.sgd(0.1, 0.9),
        optim.rmsprop(0.1, centered=True),
    ],
)
def test_complex_gradients_of_real_parameters_are_refused(optimiser):
    params = {"w": np.ones(2)}
    with pytest.raises(
        InputDtypeError, match="update: .* complex128 does not go into f"
    ):
        optimiser.update({"w": np.ones(2) * 1j}, optimiser.init(params), params)


def test_a_real_memory_of_complex_gradients_is_refused():
    optimiser = optim.adam(0.1, mu_dtype=np.float32)
    params = np.ones(2) * 1j
    with pytest.raises(InputDtypeError, match="complex128 does not go into float32"):
        optimiser.update(params, optimiser.init(params), params)


def test_an_epsilon_that_half_precision_rounds_to_zero_is_refused():
    params = {"a": np.ones(2, np.float32), "b": [np.ones(2, np.float16)]}
    with pytest.raises(ArgumentError, match="eps = 1e-08 is zero in float16") as caught:
        optim.adam(0.1).init(params)
    assert "['b'][0]" in str(caught.value)
    assert "eps=1e-4" in str(caught.value)
