"""Random numbers: pure functions of their keys, of the right distributions."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import funcad
from backend_double import Array as DeviceArray
from funcad import random
from funcad.core.errors import (
    ArgumentError,
    ConcretizationError,
    LeafTypeError,
    MixedBackendsError,
    RandomKeyError,
)

KEY = random.key(2024)
LEAST_P_VALUE = 1e-4  # with fixed keys a test passes always or never

seeds = st.integers(0, 2**128 - 1)
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)

DRAWS = {
    "bits": lambda key: random.bits(key, (3,)),
    "uniform": lambda key: random.uniform(key, (3,)),
    "uniform float32": lambda key: random.uniform(key, (3,), np.float32, -1.0, 2.0),
    "normal": lambda key: random.normal(key, (2, 3)),
    "normal float32": lambda key: random.normal(key, (3,), np.float32),
    "normal complex": lambda key: random.normal(key, (3,), np.complex64),
    "exponential": lambda key: random.exponential(key, (3,)),
    "gumbel": lambda key: random.gumbel(key, (3,)),
    "bernoulli": lambda key: random.bernoulli(key, 0.3, (8,)),
    "bernoulli of an array": lambda key: random.bernoulli(key, np.array([0.1, 0.9])),
    "categorical": lambda key: random.categorical(key, np.zeros((2, 9)), shape=(3, 2)),
    "randint": lambda key: random.randint(key, (5,), -3, 9),
    "randint int8": lambda key: random.randint(key, (), -128, 128, np.int8),
    "permutation": lambda key: random.permutation(key, 6),
    "permutation of an array": lambda key: random.permutation(
        key, np.arange(12.0).reshape(2, 6), axis=1
    ),
    "choice": lambda key: random.choice(key, np.arange(5.0), (2, 2)),
    "choice by p": lambda key: random.choice(key, 5, (4,), p=np.arange(5.0)),
    "choice without replacement": lambda key: random.choice(key, 5, (4,), False),
    "choice without replacement by p": lambda key: random.choice(
        key, 5, (3,), replace=False, p=np.arange(1.0, 6.0)
    ),
    "split": lambda key: random.split(key, 3),
    "fold_in": lambda key: random.fold_in(key, 7),
}


def equal_bits(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return (a.shape, a.dtype, a.tobytes()) == (b.shape, b.dtype, b.tobytes())


# -------------------------------------------------------------------------- purity


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_key_gives_the_same_numbers_whatever_ran_before(name):
    draw = DRAWS[name]
    before = KEY.tobytes()
    first = draw(KEY)
    np.random.seed(0)  # noqa: NPY002
    for other in DRAWS.values():
        other(random.fold_in(KEY, 1))
    assert equal_bits(draw(KEY), first)
    assert KEY.tobytes() == before


@pytest.mark.parametrize("name", DRAWS)
def test_another_key_gives_other_numbers(name):
    drawn = [np.asarray(DRAWS[name](key)).tobytes() for key in random.split(KEY, 20)]
    assert len(set(drawn)) > 1


@pytest.mark.parametrize("name", DRAWS)
def test_a_batch_of_keys_gives_what_a_loop_over_them_gives(name):
    keys = random.split(KEY, 5)
    batched = funcad.vmap(DRAWS[name])(keys)
    assert equal_bits(batched, np.stack([DRAWS[name](key) for key in keys]))


@pytest.mark.parametrize("name", DRAWS)
def test_batches_of_batches_of_keys_do_too(name):
    keys = random.split(KEY, (2, 3))
    batched = funcad.vmap(funcad.vmap(DRAWS[name]), in_axes=1)(keys)
    looped = [[DRAWS[name](keys[i, j]) for i in range(2)] for j in range(3)]
    assert equal_bits(batched, np.array(looped))


@pytest.mark.parametrize("name", DRAWS)
def test_a_staged_draw_is_the_eager_one(name):
    program = funcad.make_program(DRAWS[name])(KEY)
    other = random.fold_in(KEY, 3)
    (staged,) = program.evaluate([other])
    assert equal_bits(staged, DRAWS[name](other))


def test_keys_and_numbers_to_fold_in_are_batched_separately():
    keys, steps = random.split(KEY, 2), np.arange(3)

    def draw(key, step):
        return random.normal(random.fold_in(key, step), (2,))

    steps_inside = funcad.vmap(funcad.vmap(draw, (None, 0)), (0, None))(keys, steps)
    keys_inside = funcad.vmap(funcad.vmap(draw, (0, None)), (None, 0))(keys, steps)
    both = funcad.vmap(draw)(random.split(KEY, 3), steps)
    for i, j in itertools.product(range(2), range(3)):
        assert equal_bits(steps_inside[i, j], draw(keys[i], steps[j]))
        assert equal_bits(keys_inside[j, i], draw(keys[i], steps[j]))
    assert equal_bits(both[2], draw(random.split(KEY, 3)[2], 2))


@given(seeds, shapes, st.sampled_from([np.float16, np.float32, np.float64]))
def test_draws_have_the_shape_and_dtype_that_was_asked_for(seed, shape, dtype):
    key = random.key(seed)
    for draw in (random.uniform, random.normal, random.exponential, random.gumbel):
        drawn = draw(key, shape, dtype)
        assert (drawn.shape, drawn.dtype) == (shape, dtype)
    assert random.bernoulli(key, 0.5, shape).shape == shape
    assert random.randint(key, shape, 0, 5, np.int16).dtype == np.int16


def test_a_shape_may_be_a_number():
    assert random.normal(KEY, 3).shape == (3,)
    assert random.normal(KEY, np.int64(3)).shape == (3,)
    assert random.split(KEY, 3).shape == (3, 2)
    assert random.split(KEY, (2, 3)).shape == (2, 3, 2)


# ---------------------------------------------------------------------------- keys


@given(seeds, seeds)
def test_different_seeds_give_different_keys(first, second):
    a, b = random.key(first), random.key(second)
    assert (a.dtype, a.shape) == (np.uint64, (2,))
    assert equal_bits(a, b) == (first == second)


def test_draws_are_those_of_numpys_philox_with_the_key():
    generator = np.random.Generator(np.random.Philox(key=KEY))
    assert equal_bits(random.normal(KEY, (5,)), generator.standard_normal(5))
    words = np.random.Philox(key=KEY).random_raw(5)
    assert equal_bits(random.bits(KEY, (5,)), words)


def test_derived_keys_all_differ():
    derived = [
        KEY,
        *random.split(KEY, 500),
        *[random.fold_in(KEY, i) for i in range(500)],
        *[random.fold_in(child, 0) for child in random.split(KEY, 500)],
        *random.bits(KEY, (500, 2)),
    ]
    assert len({key.tobytes() for key in derived}) == len(derived)


def test_the_first_children_do_not_depend_on_their_number():
    assert equal_bits(random.split(KEY, 7)[:2], random.split(KEY))


def test_folding_in_distinguishes_what_seeds_could_confuse():
    """Were seed and number merely added or xored, these pairs would agree."""
    pairs = [(0, 5), (5, 0), (1, 4), (4, 1), (2**64, 5)]
    keys = {random.fold_in(random.key(a), b).tobytes() for a, b in pairs}
    assert len(keys) == len(pairs)


@pytest.mark.parametrize(
    "data", [3, np.int64(3), np.int32(3), np.uint8(3), np.array(3), True + 2]
)
def test_a_number_folds_in_alike_in_every_integer_type(data):
    assert equal_bits(random.fold_in(KEY, data), random.fold_in(KEY, 3))


def test_negative_and_large_numbers_fold_in():
    assert equal_bits(random.fold_in(KEY, -1), random.fold_in(KEY, np.int64(-1)))
    assert equal_bits(random.fold_in(KEY, -1), random.fold_in(KEY, 2**64 - 1))
    assert not equal_bits(random.fold_in(KEY, -1), random.fold_in(KEY, 1))


def test_children_and_parent_are_uncorrelated():
    size = 10_000
    keys = [KEY, *random.split(KEY, 5), *[random.fold_in(KEY, i) for i in range(5)]]
    correlations = np.corrcoef([random.normal(key, (size,)) for key in keys])
    off_diagonal = correlations[~np.eye(len(keys), dtype=bool)]
    assert np.max(np.abs(off_diagonal)) < 4.5 / np.sqrt(size)


def test_consecutive_seeds_are_uncorrelated():
    size = 10_000
    draws = [random.normal(random.key(seed), (size,)) for seed in range(10)]
    correlations = np.corrcoef(draws)[~np.eye(10, dtype=bool)]
    assert np.max(np.abs(correlations)) < 4.5 / np.sqrt(size)


def test_the_bits_of_derived_keys_are_balanced():
    keys = np.concatenate([random.split(KEY, 2000), random.split(random.key(0), 2000)])
    bits = np.unpackbits(keys.view(np.uint8)).reshape(len(keys), 128)
    assert np.max(np.abs(bits.mean(axis=0) - 0.5)) < 4.5 * 0.5 / np.sqrt(len(keys))


# -------------------------------------------------------------------- distributions


def host(key):
    return key


def device(key):
    return DeviceArray(key)


def on_host(x):
    return x.get() if isinstance(x, DeviceArray) else x


@pytest.mark.parametrize("place", [host, device])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("draw", "distribution"),
    [
        (random.uniform, stats.uniform()),
        (random.normal, stats.norm()),
        (random.exponential, stats.expon()),
        (random.gumbel, stats.gumbel_r()),
    ],
)
def test_draws_follow_their_distribution(place, dtype, draw, distribution):
    size = 20_000
    x = on_host(draw(place(KEY), (size,), dtype)).astype(float)
    assert stats.kstest(x, distribution.cdf).pvalue > LEAST_P_VALUE
    error = distribution.std() / np.sqrt(size)
    assert abs(x.mean() - distribution.mean()) < 4 * error
    assert x.std() == pytest.approx(distribution.std(), rel=0.05)
    lag = np.corrcoef(x[:-1], x[1:])[0, 1]
    assert abs(lag) < 4 / np.sqrt(size)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_uniform_numbers_stay_below_one(dtype):
    x = random.uniform(KEY, (100_000,), dtype)
    assert x.min() >= 0
    assert x.max() < 1
    assert x.max() > 0.99


def test_uniform_numbers_fill_their_interval():
    x = random.uniform(KEY, (20_000,), minval=-2.0, maxval=3.0)
    assert stats.kstest(x, stats.uniform(-2, 5).cdf).pvalue > LEAST_P_VALUE


def test_float32_numbers_are_drawn_as_such():
    x = random.uniform(KEY, (1000,), np.float32)
    generator = np.random.Generator(np.random.Philox(key=KEY))
    assert equal_bits(x, generator.random(1000, dtype=np.float32))


def test_complex_normal_numbers_have_variance_one():
    x = random.normal(KEY, (20_000,), np.complex128)
    assert stats.kstest(x.real * np.sqrt(2), "norm").pvalue > LEAST_P_VALUE
    assert stats.kstest(x.imag * np.sqrt(2), "norm").pvalue > LEAST_P_VALUE
    assert abs(np.corrcoef(x.real, x.imag)[0, 1]) < 0.03
    assert random.normal(KEY, (), np.complex64).dtype == np.complex64


@pytest.mark.parametrize("p", [0.0, 0.03, 0.5, 1.0])
def test_bernoulli_is_true_as_often_as_asked(p):
    size = 20_000
    x = random.bernoulli(KEY, p, (size,))
    assert x.dtype == bool
    assert abs(x.mean() - p) <= 4 * np.sqrt(p * (1 - p) / size)


def test_bernoulli_takes_a_probability_for_each_entry():
    p = np.array([[0.1], [0.8]], np.float32)
    x = random.bernoulli(KEY, p, (2, 20_000))
    np.testing.assert_allclose(x.mean(axis=1), [0.1, 0.8], atol=0.02)
    assert random.bernoulli(KEY, p).shape == (2, 1)


def frequencies_fit(drawn, probabilities):
    counts = np.bincount(np.ravel(drawn), minlength=len(probabilities))
    assert len(counts) == len(probabilities)
    possible = probabilities > 0
    assert not np.any(counts[~possible])
    expected = probabilities[possible] / np.sum(probabilities) * np.sum(counts)
    return stats.chisquare(counts[possible], expected).pvalue > LEAST_P_VALUE


def test_categorical_follows_the_softmax_of_the_logits():
    p = np.array([0.5, 0.2, 0.0, 0.3])
    with np.errstate(divide="ignore"):
        logits = np.log(p) + 7.0
    assert frequencies_fit(random.categorical(KEY, logits, shape=(20_000,)), p)
    x = random.categorical(KEY, logits.astype(np.float32), shape=(20_000,))
    assert frequencies_fit(x, p)


def test_categorical_draws_along_any_axis():
    p = np.array([[0.9, 0.1, 0.2], [0.1, 0.9, 0.8]])
    x = random.categorical(KEY, np.log(p), axis=0, shape=(5000, 3))
    assert x.shape == (5000, 3)
    for column in range(3):
        assert frequencies_fit(x[:, column], p[:, column])
    assert random.categorical(KEY, np.log(p), axis=-2).shape == (3,)
    assert random.categorical(KEY, np.log(p)).shape == (2,)
    assert random.categorical(KEY, np.log(p[0])).shape == ()


def test_integers_are_evenly_distributed():
    x = random.randint(KEY, (30_000,), -3, 4)
    assert x.dtype == np.int64
    assert frequencies_fit(x + 3, np.ones(7))


@pytest.mark.parametrize("dtype", "int8 uint8 int16 uint16 int32 int64 uint64".split())
def test_integers_reach_both_ends_of_their_dtype_without_a_warning(dtype):
    info = np.iinfo(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = random.randint(KEY, (4000,), info.min, info.max + 1, dtype)
        single = random.randint(KEY, (), info.min, info.max, dtype)
        top = random.randint(KEY, (4,), info.max, info.max + 1, dtype)
    assert whole.dtype == single.dtype == dtype
    assert np.all(top == info.max)
    half = (int(info.max) + int(info.min) + 1) // 2
    assert abs(np.mean(whole >= half) - 0.5) < 0.04
    bounded = random.randint(KEY, (4000,), info.max - 2, info.max, dtype)
    assert set(bounded.tolist()) == {info.max - 2, info.max - 1}


def test_integers_take_bounds_for_each_entry():
    low, high = np.array([[0], [100]]), np.array([[3], [101]])
    x = random.randint(KEY, (2, 3000), low, high)
    assert frequencies_fit(x[0], np.ones(3))
    assert np.all(x[1] == 100)


def test_every_permutation_is_as_likely():
    keys = random.split(KEY, 3000)
    drawn = funcad.vmap(lambda key: random.permutation(key, 3))(keys)
    codes = drawn @ np.array([9, 3, 1])
    _, counts = np.unique(codes, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > LEAST_P_VALUE


def test_a_permutation_keeps_what_stands_together():
    x = np.arange(20).reshape(5, 4)
    rows = random.permutation(KEY, x)
    assert sorted(rows.tolist()) == x.tolist()
    columns = random.permutation(KEY, x, axis=1)
    assert sorted(columns.T.tolist()) == x.T.tolist()
    assert not equal_bits(rows, x)
    assert random.permutation(KEY, 0).shape == (0,)


def test_choices_are_evenly_distributed():
    assert frequencies_fit(random.choice(KEY, 6, (20_000,)), np.ones(6))


def test_choices_follow_their_probabilities():
    p = np.array([0.0, 0.2, 0.0, 0.7, 0.1, 0.0])
    assert frequencies_fit(random.choice(KEY, 6, (20_000,), p=p), p)
    assert frequencies_fit(random.choice(KEY, 6, (20_000,), p=10 * p), p)


def test_choices_without_replacement_differ_from_each_other():
    keys = random.split(KEY, 500)
    for p in (None, np.array([0.1, 0.1, 0.5, 0.0, 0.3])):
        drawn = funcad.vmap(
            lambda key, p=p: random.choice(key, 5, (3,), replace=False, p=p)
        )(keys)
        assert all(len(set(row)) == 3 for row in drawn.tolist())
        first = np.ones(5) if p is None else p
        assert frequencies_fit(drawn[:, 0], first)


def test_choices_are_taken_along_an_axis():
    x = np.arange(12.0).reshape(3, 4)
    drawn = random.choice(KEY, x, (2, 5), axis=1)
    assert drawn.shape == (3, 2, 5)
    np.testing.assert_array_equal(drawn[1] - drawn[0], 4.0)
    assert random.choice(KEY, [10.0, 20.0]).shape == ()


# -------------------------------------------------------------------- derivatives


def test_uniform_numbers_are_differentiable_in_their_bounds():
    unit = random.uniform(KEY, (4,))

    def total(low, high):
        return np.sum(random.uniform(KEY, (4,), minval=low, maxval=high) ** 2)

    low, high = 0.5, 2.0
    x = low + (high - low) * unit
    by_low, by_high = funcad.grad(total, argnums=(0, 1))(low, high)
    np.testing.assert_allclose(by_low, np.sum(2 * x * (1 - unit)))
    np.testing.assert_allclose(by_high, np.sum(2 * x * unit))


def test_discrete_draws_have_no_derivative():
    weights = np.array([1.0, 2.0, 3.0])

    def through_categorical(logits):
        return weights[1] * random.categorical(KEY, logits) + np.sum(logits)

    def through_bernoulli(p):
        return np.sum(weights * random.bernoulli(KEY, p))

    logits = np.array([0.1, 0.2, 0.3])
    np.testing.assert_array_equal(funcad.grad(through_categorical)(logits), 1.0)
    np.testing.assert_array_equal(funcad.grad(through_bernoulli)(logits), 0.0)


def test_probabilities_can_be_batched():
    p = np.array([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])
    drawn = funcad.vmap(lambda p: random.choice(KEY, 3, (50,), p=p))(p)
    assert set(drawn[0].tolist()) == {1}
    assert set(drawn[1].tolist()) == {0, 2}
    assert equal_bits(drawn[1], random.choice(KEY, 3, (50,), p=p[1]))


# ------------------------------------------------------------------------ devices


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 9, 101])
def test_uniform_numbers_are_the_same_wherever_the_key_is(backend, size, dtype):
    expected = random.uniform(KEY, (size,), dtype)
    here = random.uniform(device(KEY), (size,), dtype)
    assert isinstance(here, DeviceArray)
    assert equal_bits(on_host(here), expected)
    there = random.uniform(backend.asarray(KEY), (size,), dtype)
    assert isinstance(there, backend.ndarray)
    assert equal_bits(there.get() if hasattr(there, "get") else there, expected)


# These have an operand beside the key, which is on the host.
WITH_OPERAND = {
    "bernoulli of an array",
    "categorical",
    "permutation of an array",
    "choice",
    "choice by p",
    "choice without replacement by p",
}


@pytest.mark.parametrize("name", sorted(DRAWS.keys() - WITH_OPERAND))
def test_numbers_are_drawn_where_the_key_is(name):
    drawn = DRAWS[name](device(KEY))
    assert isinstance(drawn, DeviceArray)
    expected = DRAWS[name](KEY)
    assert (drawn.shape, drawn.dtype) == (expected.shape, expected.dtype)


def test_operands_on_a_device_meet_numbers_drawn_there():
    p = np.array([0.0, 0.3, 0.7])
    key, on_device = device(KEY), DeviceArray(p)
    assert frequencies_fit(on_host(random.choice(key, 3, (5000,), p=on_device)), p)
    drawn = random.categorical(key, on_device, shape=(5000,))
    assert frequencies_fit(on_host(drawn), np.exp(p))
    chosen = random.choice(key, on_device, (3,), replace=False)
    assert sorted(on_host(chosen).tolist()) == p.tolist()
    shuffled = random.permutation(key, on_device)
    assert sorted(on_host(shuffled).tolist()) == p.tolist()
    often = on_host(random.bernoulli(key, on_device, (5000, 3))).mean(axis=0)
    np.testing.assert_allclose(often, p, atol=0.04)


def test_derived_keys_are_the_same_wherever_the_key_is():
    assert equal_bits(on_host(random.split(device(KEY), 5)), random.split(KEY, 5))
    for data in (0, 7, -1, np.int32(7)):
        folded = random.fold_in(device(KEY), data)
        assert equal_bits(on_host(folded), random.fold_in(KEY, data))


def test_keys_on_a_device_are_batched_there():
    keys = random.split(KEY, 4)
    drawn = funcad.vmap(lambda key: random.uniform(key, (3,)))(DeviceArray(keys))
    assert isinstance(drawn, DeviceArray)
    expected = [random.uniform(key, (3,)) for key in keys]
    assert equal_bits(on_host(drawn), np.stack(expected))


def test_a_host_number_is_not_folded_into_a_device_key():
    with pytest.raises(MixedBackendsError, match="random_draw"):
        random.fold_in(device(KEY), np.array(3))


# -------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("given_key", "words"),
    [
        (0, ["0 is none", "Write funcad.random.key(0)"]),
        (None, ["None is none"]),
        (np.random.default_rng(0), ["it has a state", "Write funcad.random.key(0)"]),
        (np.random, ["it has a state"]),
        (np.zeros(2), ["an array of shape (2,) and dtype float64 is none"]),
        (np.zeros(3, np.uint64), ["an array of shape (3,) and dtype uint64 is none"]),
        (np.zeros((5, 2), np.uint64), ["of shape (5, 2)", "funcad.vmap(lambda key:"]),
    ],
)
@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("bits", random.bits),
        ("uniform", random.uniform),
        ("normal", random.normal),
        ("exponential", random.exponential),
        ("bernoulli", random.bernoulli),
        ("split", random.split),
        ("fold_in", lambda key: random.fold_in(key, 0)),
        ("categorical", lambda key: random.categorical(key, np.zeros(3))),
        ("randint", lambda key: random.randint(key, (), 0, 3)),
        ("permutation", lambda key: random.permutation(key, 3)),
        ("choice", lambda key: random.choice(key, 3)),
    ],
)
def test_what_is_no_key_is_refused_with_what_to_write(name, draw, given_key, words):
    with pytest.raises(RandomKeyError) as caught:
        draw(given_key)
    message = str(caught.value)
    assert message.startswith(f"{name} takes ")
    assert "test_random.py" in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: random.key(-1), "a seed is from 0 to 2**128 - 1, and -1 is not"),
        (lambda: random.key(0.5), "a seed is an integer, and 0.5 is a float"),
        (lambda: random.key(True), "a seed is an integer, and True is a bool"),
        (
            lambda: random.normal(KEY, np.float32),
            "normal: a shape is an int or a tuple of ints",
        ),
        (lambda: random.normal(KEY, (2, -1)), "normal: a shape has no negative sizes"),
        (lambda: random.normal(KEY, (2,), int), "normal: dtype is int64, and must be"),
        (lambda: random.bits(KEY, (2,), int), "bits: dtype is int64, and must be one"),
        (
            lambda: random.uniform(KEY, (2,), minval=np.zeros(3)),
            "uniform: minval has shape (3,), which does not broadcast to shape=(2,)",
        ),
        (
            lambda: random.bernoulli(KEY, 1.5),
            "bernoulli: a probability is from 0 to 1, and p = 1.5",
        ),
        (lambda: random.bernoulli(KEY, float("nan")), "p = nan"),
        (
            lambda: random.bernoulli(KEY, np.ones(3), (2,)),
            "bernoulli: p has shape (3,), which does not broadcast to shape=(2,)",
        ),
        (
            lambda: random.categorical(KEY, np.zeros((2, 3)), shape=(5,)),
            "logits of shape (2, 3) give indices of shape (2,) along axis 1",
        ),
        (
            lambda: random.categorical(KEY, np.zeros((2, 0))),
            "logits of shape (2, 0) leave no choice along axis 1",
        ),
        (
            lambda: random.categorical(KEY, np.zeros(3), axis=1),
            "an array of shape (3,) has no axis 1",
        ),
        (
            lambda: random.randint(KEY, (), 3, 3),
            "minval = 3 must be less than maxval = 3",
        ),
        (
            lambda: random.randint(KEY, (), 0, 300, np.uint8),
            "the integers between them uint8s, from 0 to 255",
        ),
        (
            lambda: random.randint(KEY, (), 0, 3, float),
            "randint: dtype is float64, and must be an integer one",
        ),
        (
            lambda: random.permutation(KEY, -2),
            "permutation: arange(-2) has no entries; -2 is negative",
        ),
        (
            lambda: random.permutation(KEY, np.zeros(3), axis=1),
            "permutation: an array of shape (3,) has no axis 1",
        ),
        (
            lambda: random.choice(KEY, 3, (4,), replace=False),
            "choice: 4 entries cannot be chosen from 3 without replacement",
        ),
        (lambda: random.choice(KEY, 0, (4,)), "4 entries cannot be chosen from 0."),
        (
            lambda: random.choice(KEY, 3, p=[0.5, 0.5]),
            "3 entries need p of shape (3,), and it has (2,)",
        ),
        (
            lambda: random.choice(KEY, 2, p=[1.5, -0.5]),
            "p has negative, infinite or NaN entries",
        ),
        (
            lambda: random.choice(KEY, 3, (2,), False, p=[1.0, 0.0, 0.0]),
            "2 entries cannot be chosen where p is positive for 1",
        ),
        (
            lambda: random.fold_in(KEY, 0.5),
            "fold_in: the number to fold in must be an integer, and 0.5 is none",
        ),
        (lambda: random.fold_in(KEY, 2**64), "has more than 64 bits"),
        (
            lambda: random.fold_in(KEY, np.arange(3)),
            "an array of shape (3,) was given. For a key for each number write "
            "funcad.vmap(funcad.random.fold_in, in_axes=(None, 0))",
        ),
    ],
)
def test_an_argument_that_cannot_be_honoured_is_named(draw, message):
    with pytest.raises(ArgumentError) as caught:
        draw()
    assert message in str(caught.value)
    assert "test_random.py" in str(caught.value)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda: random.randint(KEY, (3,), 0.5, 2),
            "randint: minval and maxval must be integers, and minval is 0.5 of type",
        ),
        (
            lambda: random.randint(KEY, (3,), 0, np.ones(3)),
            "and maxval is an array of shape (3,) and dtype float64. Write an integer",
        ),
        (lambda: random.gumbel(KEY, -1), "gumbel: a shape has no negative sizes"),
        (lambda: random.gumbel(KEY, (), int), "gumbel: dtype is int64"),
        (
            lambda: random.permutation(KEY, 2.5),
            "permutation takes from an array, or from arange(n) for an integer n, and "
            "was given 2.5",
        ),
        (lambda: random.choice(KEY, None), "choice takes from an array"),
        (
            lambda: random.choice(KEY, 3, replace="no"),
            "choice: replace must be True or False, and is 'no' of type str",
        ),
        (lambda: random.categorical(KEY, 3), "categorical: an array of shape ()"),
    ],
)
def test_an_argument_of_another_kind_is_refused(draw, message):
    with pytest.raises(ArgumentError) as caught:
        draw()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda x: random.uniform(KEY, (2,), minval=x), "uniform: minval is"),
        (lambda x: random.uniform(KEY, (2,), maxval=x), "uniform: maxval is"),
        (lambda x: random.bernoulli(KEY, x), "bernoulli: p is"),
        (lambda x: random.categorical(KEY, x), "categorical: logits is"),
        (lambda x: random.randint(KEY, (2,), x, 3), "randint: minval is"),
    ],
)
@pytest.mark.parametrize("x", [[0.25, 0.75], "a"])
def test_parameters_of_a_distribution_that_are_no_arrays_are_refused(draw, message, x):
    with pytest.raises(LeafTypeError, match=message):
        draw(x)


def test_a_traced_shape_is_said_to_be_traced():
    with pytest.raises(ConcretizationError):
        funcad.jit(lambda n: random.uniform(KEY, n))(3)
