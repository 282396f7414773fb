"""Affine maps, look-ups, one-hot vectors and dropout."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import funcad
from funcad import nn, random
from funcad.errors import ArgumentError, RandomKeyError
from funcad.testing import check_grads, check_vmap

dtypes = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (0,)])
def test_linear_multiplies_the_last_axis_and_adds_the_bias(lead):
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(*lead, 4)), rng.normal(size=(4, 2)), np.ones(2)
    expected = np.einsum("...i,ij->...j", x, weight)
    np.testing.assert_allclose(nn.linear(x, weight), expected, atol=1e-14)
    np.testing.assert_allclose(nn.linear(x, weight, bias), expected + 1, atol=1e-14)
    check_grads(nn.linear, (x, weight, bias), order=2)


def test_vmap_of_linear_is_a_loop():
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.normal(size=s) for s in ((3, 2, 4), (3, 4, 5), (3, 5)))
    check_vmap(nn.linear, (x, weight, bias))
    check_vmap(nn.linear, (x, weight[0], bias[0]), (0, None, None))


def test_linear_names_shapes_that_do_not_fit():
    with pytest.raises(
        ValueError, match=r"x has shape \(3,\).*weight has shape \(4, 2\)"
    ):
        nn.linear(np.zeros(3), np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"bias has shape \(4,\).*shape \(2,\)"):
        nn.linear(np.zeros(4), np.zeros((4, 2)), np.zeros(4))


@given(
    ids=hnp.arrays(np.int64, hnp.array_shapes(min_side=0), elements=st.integers(-5, 4))
)
def test_embedding_looks_rows_up(ids):
    table = np.random.default_rng(0).normal(size=(5, 2, 3))
    np.testing.assert_array_equal(nn.embedding(table, ids), table[ids])


@given(ids=hnp.arrays(np.int64, (7,), elements=st.integers(0, 4)))
def test_gradients_of_rows_looked_up_twice_add_up(ids):
    table = np.random.default_rng(0).normal(size=(5, 3))
    counts = np.bincount(ids, minlength=5)[:, None]
    gradient = funcad.grad(lambda t: np.sum(nn.embedding(t, ids)))(table)
    np.testing.assert_array_equal(gradient, np.broadcast_to(counts, (5, 3)))


def test_embedding_has_right_derivatives_and_batches():
    rng = np.random.default_rng(0)
    table, ids = rng.normal(size=(5, 3)), np.array([[0, 4, 4], [1, -1, 0]])
    check_grads(lambda t: nn.embedding(t, ids) ** 2, (table,), order=2)
    check_vmap(nn.embedding, (table, ids), (None, 0))
    check_vmap(nn.embedding, (np.stack([table, -table]), ids))


def test_embedding_names_what_cannot_be_looked_up():
    table = np.zeros((5, 3))
    with pytest.raises(
        ValueError, match="ids must be integers, and have dtype float64"
    ):
        nn.embedding(table, np.zeros(3))
    with pytest.raises(ValueError, match="dtype bool"):
        nn.embedding(table, np.zeros(5, bool))
    with pytest.raises(ValueError, match="the table is a scalar"):
        nn.embedding(1.0, np.array([0]))
    with pytest.raises(IndexError, match="5 is out of bounds"):
        nn.embedding(table, np.array([5]))


@given(
    labels=hnp.arrays(
        np.int64, hnp.array_shapes(max_dims=2), elements=st.integers(-2, 6)
    ),
    axis=st.integers(-2, 1),
)
def test_one_hot_is_one_at_the_label_and_zero_elsewhere(labels, axis):
    hot = nn.one_hot(labels, 5, axis=axis)
    classes = np.moveaxis(hot, axis, -1)
    assert classes.shape == (*labels.shape, 5)
    for place in np.ndindex(labels.shape):
        expected = [float(k == labels[place]) for k in range(5)]
        np.testing.assert_array_equal(classes[place], expected)


def test_one_hot_has_the_dtype_asked_for_and_refuses_floats():
    assert nn.one_hot(np.array([1]), 3).dtype == np.float64
    assert nn.one_hot(np.array([1]), 3, dtype=np.float32).dtype == np.float32
    np.testing.assert_array_equal(nn.one_hot(1, 3), [0, 1, 0])
    with pytest.raises(ValueError, match="labels must be integers, not float64"):
        nn.one_hot(np.array([1.0]), 3)
    check_vmap(lambda x: nn.one_hot(x, 3), (np.array([0, 2, 1]),))


# -------------------------------------------------------------------------- dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@dtypes
def test_dropout_keeps_the_expectation_and_the_dtype(rate, dtype):
    x = np.ones((100, 1000), dtype)
    y = nn.dropout(random.key(0), x, rate)
    assert y.dtype == dtype
    assert np.all((y == 0) | (np.abs(y.astype(float) * (1 - rate) - 1) < 2e-3))
    # five standard deviations of the mean of 100,000 coins
    deviation = np.sqrt(rate / (1 - rate) / x.size)
    assert abs(y.mean(dtype=np.float64) - 1) < 5 * deviation + 1e-3
    assert abs(np.mean(y == 0) - rate) < 5 * np.sqrt(rate * (1 - rate) / x.size)


def test_dropout_is_the_same_for_the_same_key_and_differs_for_another():
    x = np.ones(100)
    first, again = (nn.dropout(random.key(1), x, 0.5) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != nn.dropout(random.key(2), x, 0.5)).any()


def test_the_derivative_of_dropout_is_its_mask():
    x = np.random.default_rng(0).normal(size=20)
    mask = nn.dropout(random.key(0), np.ones(20), 0.25)
    gradient = funcad.grad(lambda v: np.sum(nn.dropout(random.key(0), v, 0.25)))(x)
    np.testing.assert_array_equal(gradient, mask)
    check_grads(lambda v: nn.dropout(random.key(0), v, 0.25), (x,), order=2)


def test_dropout_does_nothing_at_rate_zero_or_after_training():
    x = np.random.default_rng(0).normal(size=20)
    np.testing.assert_array_equal(nn.dropout(random.key(0), x, 0.0), x)
    np.testing.assert_array_equal(
        nn.dropout(random.key(0), x, 0.5, deterministic=True), x
    )


def test_vmap_over_keys_drops_differently_in_each_example():
    keys, x = random.split(random.key(0), 3), np.ones((3, 50))
    check_vmap(lambda k, v: nn.dropout(k, v, 0.5), (keys, x))
    masks = funcad.vmap(lambda k, v: nn.dropout(k, v, 0.5), (0, None))(keys, x[0])
    assert len({mask.tobytes() for mask in masks}) == 3


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0, float("nan")])
def test_dropout_refuses_a_rate_that_is_none(rate):
    with pytest.raises(ArgumentError, match="must be from 0 to 1"):
        nn.dropout(random.key(0), np.ones(3), rate)


@pytest.mark.parametrize("rate", ["a", None, np.ones(2) / 4])
def test_dropout_refuses_a_rate_that_is_no_number(rate):
    with pytest.raises(ArgumentError, match="dropout: rate must be one real number"):
        nn.dropout(random.key(0), np.ones(2), rate)


def test_dropout_asks_for_its_key_in_its_own_name_and_only_where_it_draws():
    with pytest.raises(RandomKeyError, match="dropout takes a random key"):
        nn.dropout(None, np.ones(2), 0.5)
    with pytest.raises(RandomKeyError, match=r"funcad\.nn\.dropout\(key, \.\.\.\)"):
        nn.dropout(random.split(random.key(0)), np.ones(2), 0.5)
    np.testing.assert_array_equal(
        nn.dropout(None, np.ones(2), 0.5, deterministic=True), np.ones(2)
    )


@pytest.mark.parametrize("count", [4.0, -1, None, "4"])
def test_one_hot_refuses_what_is_no_number_of_classes(count):
    with pytest.raises(ArgumentError, match="one_hot: num_classes must be an integer"):
        nn.one_hot(np.array([1]), count)


def test_one_hot_refuses_a_dtype_of_no_numbers():
    with pytest.raises(ArgumentError, match="one_hot: dtype must be one of numbers"):
        nn.one_hot(np.array([1]), 4, dtype=str)
    assert nn.one_hot(np.array([1]), 0).shape == (1, 0)
