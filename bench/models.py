"""The models that are timed, each written once against an array namespace ``xp``.

The same lines run under NumPy, funcad (where ``xp`` is NumPy itself), autograd and JAX,
and the chain and the MLP under PyTorch too. The transformer has a second form there,
made of PyTorch's own fused layers, because that is how it is written in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Tree = Any  # nested dicts and lists of arrays


def map_leaves(f: Callable[[Any], Any], tree: Tree) -> Tree:
    """The tree of ``f(leaf)``, leaves visited in the order of `leaves`."""
    if isinstance(tree, dict):
        return {key: map_leaves(f, tree[key]) for key in sorted(tree)}
    if isinstance(tree, (list, tuple)):
        return [map_leaves(f, child) for child in tree]
    return f(tree)


def leaves(tree: Tree) -> list[Any]:
    """Arrays of a tree, dicts by sorted key."""
    found: list[Any] = []
    map_leaves(found.append, tree)
    return found


# --- a chain of small operations -----------------------------------------------------

CHAIN_ROUND = 10


def chain(xp: Any, x: Any, operations: int) -> Any:
    """Elementwise operations one after another, and the sum of the last result.

    Each round has ten: three products or quotients, two sums, a difference, tanh, sin,
    exp and sqrt; ``x`` and each intermediate ``y`` are used more than once, so that
    cotangents are added up on the way back. `operations` does not count the sum.
    """
    y = x
    for _ in range(operations // CHAIN_ROUND):
        y = xp.tanh(y * x) + xp.sin(y)
        y = xp.sqrt(xp.exp(y) + x) - 1.0
        y = y * x / 1.25
    return xp.sum(y)


def chain_input(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.2, 0.9, (8, 8))


# --- a multi-layer perceptron --------------------------------------------------------

MLP_EXAMPLES = 128
MLP_SIZES = (64, 128, 128, 10)


def mlp_loss(xp: Any, params: Tree, x: Any, y: Any) -> Any:
    """Cross-entropy of one example, or the sum over the rows of a batch of them."""
    for layer in params["hidden"]:
        x = xp.tanh(x @ layer["weight"] + layer["bias"])
    logits = x @ params["output"]["weight"] + params["output"]["bias"]
    return xp.sum(xp.log(xp.sum(xp.exp(logits), -1)) - xp.sum(logits * y, -1))


def mlp_params(rng: np.random.Generator) -> Tree:
    layers = [
        {"weight": _normal(rng, n, m, scale=n**-0.5), "bias": np.zeros(m, np.float32)}
        for n, m in zip(MLP_SIZES[:-1], MLP_SIZES[1:], strict=True)
    ]
    return {"hidden": layers[:-1], "output": layers[-1]}


def mlp_batch(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of all examples, and their labels as one-hot rows."""
    x = _normal(rng, MLP_EXAMPLES, MLP_SIZES[0])
    y = np.eye(MLP_SIZES[-1], dtype=np.float32)
    return x, y[rng.integers(0, MLP_SIZES[-1], MLP_EXAMPLES)]


# --- a decoder-only character transformer --------------------------------------------


class Sizes(NamedTuple):
    """Sizes of a transformer and of its batch."""

    batch: int
    length: int
    width: int
    layers: int
    heads: int = 4
    vocabulary: int = 65

    def __str__(self) -> str:
        return f"B{self.batch} T{self.length} D{self.width} L{self.layers}"


class Batch(NamedTuple):
    """What the transformer is given besides its parameters."""

    tokens: Any
    """int64, (batch, length)"""
    targets: Any
    """int64, (batch, length)"""
    onehot: Any
    """float32, (batch, length, vocabulary): the targets again"""
    mask: Any
    """float32, (length, length): 0 on what may be attended to, -1e9 on the rest"""


def transformer_loss(xp: Any, params: Tree, batch: Batch, heads: int) -> Any:
    """Mean cross-entropy of the next character, of every position of the batch."""
    h = params["token"][batch.tokens] + params["position"]
    for block in params["blocks"]:
        h = h + _attention(
            xp, block, _normalised(xp, block["norm1"], h), batch.mask, heads
        )
        h = h + _feed_forward(xp, block, _normalised(xp, block["norm2"], h))
    logits = _normalised(xp, params["norm"], h) @ params["head"]
    logits = logits - xp.max(logits, axis=-1, keepdims=True)
    log_normaliser = xp.log(xp.sum(xp.exp(logits), axis=-1))
    return xp.mean(log_normaliser - xp.sum(logits * batch.onehot, axis=-1))


def _normalised(xp: Any, norm: Tree, h: Any) -> Any:
    centred = h - xp.mean(h, axis=-1, keepdims=True)
    variance = xp.mean(centred * centred, axis=-1, keepdims=True)
    return centred / xp.sqrt(variance + 1e-5) * norm["scale"] + norm["shift"]


def _attention(xp: Any, block: Tree, h: Any, mask: Any, heads: int) -> Any:
    batch, length, width = h.shape
    size = width // heads
    qkv = xp.reshape(h @ block["qkv"], (batch, length, 3, heads, size))
    qkv = xp.transpose(qkv, (2, 0, 3, 1, 4))
    q, k, v = qkv[0], qkv[1], qkv[2]
    scores = xp.matmul(q, xp.swapaxes(k, -1, -2)) * (1 / math.sqrt(size)) + mask
    weights = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
    weights = weights / xp.sum(weights, axis=-1, keepdims=True)
    mixed = xp.transpose(xp.matmul(weights, v), (0, 2, 1, 3))
    return xp.reshape(mixed, (batch, length, width)) @ block["project"]


def _feed_forward(xp: Any, block: Tree, h: Any) -> Any:
    a = h @ block["up"] + block["up_bias"]
    gate = 1 + xp.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a * a * a))
    return (0.5 * a * gate) @ block["down"] + block["down_bias"]


def nn_transformer_loss(params: Tree, batch: Batch, heads: int) -> Any:
    """`transformer_loss` as one writes it with the functions of funcad.nn."""
    from funcad import nn

    def normalised(norm: Tree, h: Any) -> Any:
        return nn.layer_norm(h, norm["scale"], norm["shift"])

    h = params["token"][batch.tokens] + params["position"]
    for block in params["blocks"]:
        qkv = normalised(block["norm1"], h) @ block["qkv"]
        by_head = (*h.shape[:-1], heads, h.shape[-1] // heads)
        q, k, v = (x.reshape(by_head) for x in np.split(qkv, 3, axis=-1))
        mixed = nn.dot_product_attention(q, k, v, is_causal=True)
        h = h + mixed.reshape(h.shape) @ block["project"]
        a = normalised(block["norm2"], h) @ block["up"] + block["up_bias"]
        h = h + nn.gelu(a) @ block["down"] + block["down_bias"]
    logits = normalised(params["norm"], h) @ params["head"]
    return np.mean(nn.softmax_cross_entropy(logits, batch.targets))


def torch_transformer_loss(params: Tree, batch: Batch, heads: int) -> Any:
    """`transformer_loss` as one writes it in PyTorch."""
    from torch.nn import functional as F

    width = params["head"].shape[0]

    def normalised(norm: Tree, h: Any) -> Any:
        return F.layer_norm(h, (width,), norm["scale"], norm["shift"])

    h = params["token"][batch.tokens] + params["position"]
    for block in params["blocks"]:
        qkv = normalised(block["norm1"], h) @ block["qkv"]
        qkv = qkv.unflatten(-1, (3, heads, width // heads)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=True)
        h = h + mixed.transpose(1, 2).flatten(2) @ block["project"]
        a = normalised(block["norm2"], h) @ block["up"] + block["up_bias"]
        h = h + F.gelu(a, approximate="tanh") @ block["down"] + block["down_bias"]
    logits = normalised(params["norm"], h) @ params["head"]
    return F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())


def transformer_params(rng: np.random.Generator, sizes: Sizes) -> Tree:
    width = sizes.width

    def weight(*shape: int) -> np.ndarray:
        return _normal(rng, *shape, scale=0.02)

    def norm() -> Tree:
        return {"scale": np.ones(width, np.float32), "shift": _zeros(width)}

    def block() -> Tree:
        return {
            "norm1": norm(),
            "qkv": weight(width, 3 * width),
            "project": weight(width, width),
            "norm2": norm(),
            "up": weight(width, 4 * width),
            "up_bias": _zeros(4 * width),
            "down": weight(4 * width, width),
            "down_bias": _zeros(width),
        }

    return {
        "token": weight(sizes.vocabulary, width),
        "position": weight(sizes.length, width),
        "blocks": [block() for _ in range(sizes.layers)],
        "norm": norm(),
        "head": weight(width, sizes.vocabulary),
    }


def transformer_batch(rng: np.random.Generator, sizes: Sizes) -> Batch:
    tokens, targets = rng.integers(
        0, sizes.vocabulary, (2, sizes.batch, sizes.length), dtype=np.int64
    )
    onehot = (targets[..., None] == np.arange(sizes.vocabulary)).astype(np.float32)
    mask = np.triu(np.full((sizes.length, sizes.length), -1e9, np.float32), 1)
    return Batch(tokens, targets, onehot, mask)


def _normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    return scale * rng.standard_normal(shape, np.float32)


def _zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)
