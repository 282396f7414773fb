"""Gradients and Hessians of networks, held against forward mode alone.

Reverse mode and forward mode are different programs: ``jacfwd`` transposes nothing.
``grad``, ``hvp`` and ``hessian`` must agree with it to 1e-8, relative to the greatest
entry of each block: the derivative by one matrix, or by a pair of them.

That can hold for a single entry, or for a block that is a difference of nearly equal
terms, only up to the rounding of those terms, whoever computes it.  The derivatives of
cross-entropy are such differences where the softmax is almost one for the label:
``J^T (p - y)``, and ``J^T (diag(p) - p p^T) J`` and a multiple of ``p - y``.  A few
roundings of these terms (``Network.rounding``) are allowed for there; they are nothing
beside 1e-8 of the block unless it cancels to a millionth.  For mean squared error the
bound is 1e-8 of the block and no more.
"""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st

import funcad
from funcad import Flatten, nn, tree
from properties import for_all, generators

RELATIVE = 1e-8
ROUNDINGS = 64
"""How many roundings of its terms an entry may be off, on top."""

ACTIVATIONS = {"identity": lambda x: x, "tanh": np.tanh, "relu": nn.relu}
LOSSES = ("mean squared error", "cross-entropy")
SCALES = (1.0, 1e10, 1e-10)


class Network(NamedTuple):
    """Parameters as a ``Flatten`` of matrices, and what is computed from them."""

    params: Flatten
    output: object
    loss: object
    labels: np.ndarray | None

    def rounding(self):
        """How large rounding of the terms of the derivatives is, in each block."""
        flat = [np.zeros(()) for _ in self.params.leaves]
        if self.labels is None:
            return flat, [flat for _ in flat]
        n = len(self.labels)
        chosen = np.arange(n), self.labels
        terms = [
            lambda p: np.mean(nn.logsumexp(self.output(p), axis=-1)),
            lambda p: np.mean(self.output(p)[chosen]),
        ]
        unit = ROUNDINGS * np.finfo(float).eps
        first = [greatest(funcad.jacfwd(f)(self.params)) for f in terms]
        second = [
            [greatest(row) for row in funcad.jacfwd(funcad.jacfwd(f))(self.params).tree]
            for f in terms
        ]
        slopes = greatest(funcad.jacfwd(self.output)(self.params))
        return (
            [unit * max(pair) for pair in zip(*first, strict=True)],
            [
                [
                    unit * max(second[0][i][j], second[1][i][j], slopes[i] * slopes[j])
                    for j in range(len(slopes))
                ]
                for i in range(len(slopes))
            ],
        )


def greatest(blocks):
    return [np.max(np.abs(block), initial=0.0) for block in tree.leaves(blocks)]


def network(rng, activation, loss, layers, width, samples, inputs, weights, zeros):
    """A network of so many layers; ``zeros`` is the share of weights that are zero."""
    # a softmax of one class is one, and has no derivative
    outputs = max(2, width) if loss == "cross-entropy" else width
    sizes = [*[width] * layers, outputs]
    params = []
    for n, m in zip(sizes[:-1], sizes[1:], strict=True):
        w = weights * rng.normal(size=(n, m))
        params.append(np.where(rng.random((n, m)) < zeros, 0.0, w))
    x = inputs * rng.normal(size=(samples, width))

    def output(p):
        *hidden, last = p.tree
        h = x
        for w in hidden:
            h = ACTIVATIONS[activation](h @ w)
        return h @ last

    if loss == "cross-entropy":
        labels = rng.integers(0, outputs, samples)
        return Network(
            Flatten(params),
            output,
            lambda p: np.mean(nn.softmax_cross_entropy(output(p), labels)),
            labels,
        )
    y = rng.normal(size=(samples, outputs))
    return Network(
        Flatten(params), output, lambda p: np.mean((output(p) - y) ** 2), None
    )


def assert_agree(got, wanted, roundings):
    got, wanted = tree.leaves(got), tree.leaves(wanted)
    assert len(got) == len(wanted) == len(roundings)
    for a, b, rounding in zip(got, wanted, roundings, strict=True):
        assert a.shape == b.shape
        assert np.all(np.isfinite(a)) and np.all(np.isfinite(b))
        allowed = RELATIVE * np.max(np.abs(b), initial=0.0) + rounding
        assert np.max(np.abs(a - b), initial=0.0) <= allowed


def check(net, rng):
    """``grad``, ``hvp`` and ``hessian`` are what forward mode alone says."""
    p = net.params
    tangent = tree.map(lambda w: rng.uniform(-1, 1, w.shape), p)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        assert np.isfinite(net.loss(p))
        gradient = funcad.grad(net.loss)(p)
        product = funcad.hvp(net.loss, (p,), (tangent,))
        hessian = funcad.hessian(net.loss)(p)
        forward = funcad.jacfwd(net.loss)(p)
        forward_twice = funcad.jacfwd(funcad.jacfwd(net.loss))(p)
        of_first, of_second = net.rounding()
    for tree_like in (gradient, product):
        assert isinstance(tree_like, Flatten)
    assert_agree(gradient, forward, of_first)
    for row, wanted, roundings in zip(
        hessian.tree, forward_twice.tree, of_second, strict=True
    ):
        assert_agree(row, wanted, roundings)
    contracted = [
        sum(
            np.tensordot(block, t, axes=2)
            for block, t in zip(row.tree, tangent.tree, strict=True)
        )
        for row in forward_twice.tree
    ]
    of_products = [
        sum(r * t.size for r, t in zip(row, tangent.tree, strict=True))
        for row in of_second
    ]
    assert_agree(product, contracted, of_products)


@pytest.mark.parametrize("inputs", SCALES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_reverse_mode_agrees_with_forward_mode(activation, loss, inputs):
    @for_all(
        generators(),
        st.integers(1, 3),
        st.integers(1, 3),
        st.sampled_from([1.0, 0.1, 3.0]),
        st.sampled_from([0.0, 0.5, 0.9]),
        share=0.08,
    )
    def agrees(rng, width, samples, weights, zeros):
        for layers in range(1, 7):
            shape = layers, width, samples
            check(network(rng, activation, loss, *shape, inputs, weights, zeros), rng)


@pytest.mark.parametrize("inputs", SCALES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_one_sample_through_one_unit_and_weights_of_zero(activation, loss, inputs):
    rng = np.random.default_rng(0)
    for layers in (1, 6):
        for width, samples, zeros in ((1, 1, 0.0), (1, 1, 1.0), (2, 3, 1.0)):
            shape = layers, width, samples
            check(network(rng, activation, loss, *shape, inputs, 1.0, zeros), rng)


@pytest.mark.parametrize("gap", [0.0, 1.0, 30.0, 700.0, 1e3, 1e10])
def test_cross_entropy_is_right_however_sure_the_softmax_is(gap):
    """Where it saturates, small probabilities keep all of their digits."""
    for label in (0, 1):
        p = Flatten([np.array([[gap, 0.0]])])

        def loss(p, label=label):
            return np.mean(
                nn.softmax_cross_entropy(np.ones((1, 1)) @ p.tree[0], np.array([label]))
            )

        small = 1 / (1 + np.exp(gap)) if gap < 700 else np.exp(-gap)
        value = gap * label + np.log1p(np.exp(-gap))
        np.testing.assert_allclose(loss(p), value, rtol=1e-12, atol=1e-15 * gap)
        gradient = funcad.grad(loss)(p).tree[0][0]
        wanted = (
            np.array([-small, small])
            if label == 0
            else (1 - small) * np.array([1.0, -1.0])
        )
        np.testing.assert_allclose(gradient, wanted, rtol=1e-8, atol=4e-16)
        np.testing.assert_allclose(
            gradient, funcad.jacfwd(loss)(p).tree[0][0], rtol=1e-8, atol=4e-16
        )
        if label == 0 and gap < 700:
            np.testing.assert_allclose(gradient[1], small, rtol=1e-8)
        curvature = small * (1 - small)
        np.testing.assert_allclose(
            funcad.hessian(loss)(p).tree[0].tree[0].reshape(2, 2),
            curvature * np.array([[1.0, -1.0], [-1.0, 1.0]]),
            rtol=1e-8,
            atol=4e-16,
        )
