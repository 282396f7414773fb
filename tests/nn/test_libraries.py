"""Models stay in the memory of their arrays, whichever library these belong to."""

import numpy as np
import pytest

import funcad
from funcad import nn, random
from funcad.backends import backend_of
from funcad.testing import check_grads, check_vmap


def block(params, x, mask):
    """A block of a transformer with something of everything in it."""
    q = x.reshape(*x.shape[:-1], 2, x.shape[-1] // 2)
    mixed = nn.dot_product_attention(q, q, q, mask=mask, is_causal=True)
    h = nn.layer_norm(x + mixed.reshape(x.shape), params["scale"], params["bias"])
    h = nn.linear(nn.gelu(h), params["weight"], params["bias"])
    gates = (nn.relu, nn.leaky_relu, nn.elu, nn.silu, nn.sigmoid, nn.softplus)
    h = sum(gate(h) for gate in gates) + nn.gelu(h, approximate=False)
    return nn.rms_norm(h, params["scale"]) + nn.softmax(h) + nn.log_softmax(h, axis=0)


def loss(params, ids, labels, mask):
    logits = block(params, nn.embedding(params["table"], ids), mask)
    one_hot = nn.one_hot(labels, logits.shape[-1])
    return (
        np.mean(nn.softmax_cross_entropy(logits, labels))
        + np.mean(nn.softmax_cross_entropy(logits, one_hot))
        + np.mean(nn.logsumexp(logits, axis=-1, b=params["scale"] ** 2))
    )


@pytest.fixture
def example(library):
    rng = np.random.default_rng(0)
    params = {
        "table": rng.normal(size=(7, 4)),
        "weight": rng.normal(size=(4, 4)),
        "scale": rng.normal(size=4),
        "bias": rng.normal(size=4),
    }
    ids, labels = rng.integers(0, 4, (2, 3))
    mask = np.array([[1, 1, 0], [0, 0, 1], [1, 0, 1]], bool)
    args = params, ids, labels, mask
    return args, funcad.tree.map(library.from_host, args)


def test_a_loss_and_its_gradient_are_the_same_in_every_library(library, example):
    on_host, args = example
    value, gradient = funcad.value_and_grad(loss)(*args)
    expected, expected_gradient = funcad.value_and_grad(loss)(*on_host)
    assert np.isfinite(expected)
    np.testing.assert_allclose(float(value), float(expected), rtol=1e-12)
    for got, want in zip(
        funcad.tree.leaves(gradient), funcad.tree.leaves(expected_gradient), strict=True
    ):
        assert backend_of(got) is library
        np.testing.assert_allclose(library.to_host(got), want, rtol=1e-9, atol=1e-12)


def test_derivatives_and_batches_are_right_in_every_library(example):
    _, (params, ids, labels, mask) = example
    check_grads(lambda p: loss(p, ids, labels, mask), (params,), order=2)
    stacked = funcad.tree.map(lambda x: np.stack([x, 2 * x]), params)
    check_vmap(loss, (stacked, ids, labels, mask), (0, None, None, None))


def test_initialisers_and_dropout_follow_the_key(library):
    key = library.from_host(random.key(0))
    for init in (
        nn.initializers.zeros,
        nn.initializers.constant(2.0),
        nn.initializers.he_normal(),
        nn.initializers.glorot_uniform(),
        nn.initializers.normal(),
    ):
        assert backend_of(init(key, (3, 2), np.float32)) is library
    x = library.from_host(np.ones(4))
    assert backend_of(nn.dropout(key, x, 0.5)) is library


def test_a_loss_is_staged_to_the_value_that_it_has(library, example):
    _, args = example
    program = funcad.make_program(loss)(*args)
    (value,) = program.evaluate(funcad.tree.leaves(args))
    np.testing.assert_allclose(float(value), float(loss(*args)), rtol=1e-12)
