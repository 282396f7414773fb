"""A decoder-only transformer: characters in, a prediction of each next one out.

The parameters are nested dicts of arrays, and the model is a plain function of them
that calls NumPy, so that ``funcad.value_and_grad`` can differentiate it as it stands.

In shapes, B is the batch, T the number of characters in a window, C the channels, H the
heads, and V the size of the vocabulary.

References
----------
A. Vaswani et al., *Attention is all you need*, NeurIPS 2017, for attention; A. Radford
et al., *Language models are unsupervised multitask learners*, 2019 (GPT-2), for the
norms before each layer and the initial weights.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from funcad import nn, random
from funcad.examples.char_transformer.settings import Settings
from funcad.examples.char_transformer.text import Batch

Array = Any
Params = dict[str, Any]


def transformer(
    params: Params, tokens: Array, heads: int, dropout: float = 0.0, key: Any = None
) -> Array:
    """What the model makes of each character and those before it.

    Parameters
    ----------
    params : nested dict of arrays
        From :func:`init_params`.
    tokens : int, (B, T)
        Numbers of characters; T is at most the block size.
    heads : int
        Attention heads.
    dropout : float
        Share of activations to leave out in training.
    key : random key, optional
        Decides which; without it none are left out.

    Returns
    -------
    float, (B, T, C)
        Multiplied by the output layer, these are the logits of the next character.
    """

    def drop(h: Array, place: int) -> Array:
        if key is None or dropout == 0:
            return h
        return nn.dropout(random.fold_in(key, place), h, dropout)

    length = tokens.shape[-1]
    h = params["token"][tokens] + params["position"][:length]
    h = drop(h, 0)
    for i, block in enumerate(params["blocks"]):
        h = h + drop(attention(block["attention"], h, heads), 2 * i + 1)
        h = h + drop(feed_forward(block["feed_forward"], h), 2 * i + 2)
    return nn.layer_norm(h, params["norm"])


def attention(weights: Params, h: Array, heads: int) -> Array:
    """Each character gathers what it needs from those before it, in several heads."""
    by_head = (*h.shape[:-1], heads, h.shape[-1] // heads)
    q, k, v = np.split(nn.layer_norm(h, weights["norm"]) @ weights["qkv"], 3, axis=-1)
    gathered = nn.dot_product_attention(
        q.reshape(by_head), k.reshape(by_head), v.reshape(by_head), is_causal=True
    )
    return gathered.reshape(h.shape) @ weights["out"]


def feed_forward(weights: Params, h: Array) -> Array:
    """Each character thinks about what it has gathered, by itself."""
    return nn.gelu(nn.layer_norm(h, weights["norm"]) @ weights["up"]) @ weights["down"]


def output_layer(params: Params) -> Array:
    """The matrix, (C, V), from the model's last channels to logits.

    A tied model uses the embedding of the characters a second time.
    """
    return params["out"] if "out" in params else params["token"].T


def loss(
    params: Params, batch: Batch, heads: int, dropout: float = 0.0, key: Any = None
) -> Array:
    """Mean cross-entropy, in nats, of all next characters in a batch."""
    h = transformer(params, batch.tokens, heads, dropout, key)
    logits = h @ output_layer(params)
    return np.mean(nn.softmax_cross_entropy(logits, batch.targets))


def next_logits(params: Params, tokens: Array, heads: int) -> Array:
    """Logits, (B, V), of the one character that follows on all of `tokens`."""
    return transformer(params, tokens, heads)[:, -1] @ output_layer(params)


def init_params(key: Any, vocabulary: int, settings: Settings) -> Params:
    """Random weights, and norms that change nothing yet.

    What is added to the residual stream, by two layers in each block, starts smaller,
    so that their sum starts about as large as one of them.
    """
    channels, dtype = settings.channels, np.dtype(settings.dtype)
    residual = 1 / math.sqrt(2 * settings.layers)
    keys = iter(random.split(key, 3 + 4 * settings.layers))

    def weight(*shape: int, scale: float = 1.0) -> Array:
        return 0.02 * scale * random.normal(next(keys), shape, dtype)

    def norm() -> Array:
        return np.ones(channels, dtype)

    def block() -> Params:
        return {
            "attention": {
                "norm": norm(),
                "qkv": weight(channels, 3 * channels),
                "out": weight(channels, channels, scale=residual),
            },
            "feed_forward": {
                "norm": norm(),
                "up": weight(channels, 4 * channels),
                "down": weight(4 * channels, channels, scale=residual),
            },
        }

    params = {
        "token": weight(vocabulary, channels),
        "position": weight(settings.block, channels),
        "blocks": [block() for _ in range(settings.layers)],
        "norm": norm(),
    }
    return params if settings.tied else params | {"out": weight(channels, vocabulary)}
