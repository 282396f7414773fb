"""Cross-entropy of softmax."""

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import funcad
from funcad import nn
from funcad.testing import check_grads, check_vmap

logits_and_labels = st.tuples(
    hnp.arrays(np.float64, (2, 3, 5), elements=st.floats(-30, 30, width=32)),
    hnp.arrays(np.int64, (2, 3), elements=st.integers(0, 4)),
)


@given(logits_and_labels)
def test_cross_entropy_agrees_with_scipy_for_integers_and_one_hot(example):
    logits, labels = example
    log_p = scipy.special.log_softmax(logits, axis=-1)
    expected = -np.take_along_axis(log_p, labels[..., None], -1)[..., 0]
    one_hot = nn.one_hot(labels, 5)
    for got in (
        nn.softmax_cross_entropy(logits, labels),
        nn.softmax_cross_entropy_with_integer_labels(logits, labels),
        nn.softmax_cross_entropy(logits, one_hot),
        nn.softmax_cross_entropy(logits, one_hot.astype(int)),
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


@given(logits_and_labels)
def test_the_gradient_is_softmax_minus_one_hot(example):
    logits, labels = example
    one_hot = nn.one_hot(labels, 5)
    for given_labels in (labels, one_hot):
        gradient = funcad.grad(
            lambda x, y=given_labels: np.sum(nn.softmax_cross_entropy(x, y))
        )(logits)
        expected = scipy.special.softmax(logits, axis=-1) - one_hot
        np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-12)


def test_probabilities_as_labels_give_the_cross_entropy():
    rng = np.random.default_rng(0)
    logits, p = rng.normal(size=(3, 5)), rng.dirichlet(np.ones(5), size=3)
    expected = -np.sum(p * scipy.special.log_softmax(logits, axis=-1), axis=-1)
    np.testing.assert_allclose(nn.softmax_cross_entropy(logits, p), expected)
    check_grads(nn.softmax_cross_entropy, (logits, p), order=2)


def test_cross_entropy_has_right_derivatives_to_second_order():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(3, 5)), np.array([0, 4, 4])
    check_grads(lambda x: nn.softmax_cross_entropy(x, labels), (logits,), order=2)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_cross_entropy_keeps_the_dtype(dtype):
    logits = np.linspace(-1, 1, 6).astype(dtype).reshape(2, 3)
    for labels in (np.array([0, 2]), nn.one_hot(np.array([0, 2]), 3, dtype=dtype)):

        def loss(x, y=labels):
            return np.mean(nn.softmax_cross_entropy(x, y))

        assert nn.softmax_cross_entropy(logits, labels).dtype == dtype
        assert funcad.grad(loss)(logits).dtype == dtype
        assert funcad.hvp(loss, (logits,), (logits,)).dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("as_one_hot", [False, True])
def test_cross_entropy_is_stable_for_large_logits(dtype, as_one_hot):
    logits = np.array([[1e4, -1e4, 0], [1e4, -1e4, 0], [-1e4, -1e4, -1e4]], dtype)
    labels = np.array([0, 1, 2])
    t = np.array([[1, 2, 3], [3, 1, 2], [1, 2, 4]], dtype)
    if as_one_hot:
        labels = nn.one_hot(labels, 3, dtype=dtype)

    def loss(x):
        return np.sum(nn.softmax_cross_entropy(x, labels))

    with np.errstate(all="raise", under="ignore"):
        each = nn.softmax_cross_entropy(logits, labels)
        first = funcad.grad(loss)(logits)
        second = funcad.hvp(loss, (logits,), (t,))
    third = 1 / 3
    np.testing.assert_allclose(each, [0, 2e4, np.log(3)], rtol=1e-3)
    np.testing.assert_allclose(
        first, [[0, 0, 0], [1, -1, 0], [third, third, third - 1]], rtol=1e-5
    )
    centred = (t[2] - t[2].mean()) / 3
    np.testing.assert_allclose(second, [[0] * 3, [0] * 3, centred], atol=1e-6)


def test_classes_ruled_out_by_minus_infinity_do_no_harm():
    logits = np.array([[0.0, -np.inf, 0.0]])
    for labels in (np.array([0]), np.array([[1.0, 0, 0]])):
        value, gradient = funcad.value_and_grad(
            lambda x, y=labels: np.sum(nn.softmax_cross_entropy(x, y))
        )(logits)
        np.testing.assert_allclose(value, np.log(2))
        np.testing.assert_allclose(gradient, [[-0.5, 0, 0.5]])


def test_vmap_of_cross_entropy_is_a_loop():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(3, 2, 5)), rng.integers(0, 5, (3, 2))
    check_vmap(nn.softmax_cross_entropy, (logits, labels))
    check_vmap(nn.softmax_cross_entropy, (logits, nn.one_hot(labels, 5)))

    def gradient(x, y):
        return funcad.grad(lambda v: np.sum(nn.softmax_cross_entropy(v, y)))(x)

    check_vmap(gradient, (logits, labels))
    check_vmap(gradient, (logits[0], labels), (None, 0))


def test_labels_that_do_not_fit_are_named():
    logits = np.zeros((2, 3))
    integers = nn.softmax_cross_entropy_with_integer_labels
    with pytest.raises(ValueError, match=r"labels of shape \(2,\), and these.*\(3,\)"):
        nn.softmax_cross_entropy(logits, np.zeros(3, int))
    with pytest.raises(ValueError, match="and dtype float64"):
        integers(logits, np.zeros(2))
    with pytest.raises(
        ValueError, match=r"shape \(2, 3\) and labels of shape \(2, 4\)"
    ):
        nn.softmax_cross_entropy(logits, np.zeros((2, 4)))
    with pytest.raises(ValueError, match="a label is 3, and logits .* classes 0 to 2"):
        integers(logits, np.array([0, 3]))
    with pytest.raises(ValueError, match="a label is -1"):
        integers(logits, np.array([0, -1]))
