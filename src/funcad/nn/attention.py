"""Scaled dot-product attention."""

from __future__ import annotations

import math

import numpy as np

from funcad.backends import namespace
from funcad.core.tracing import Array, dtype_of, shape_of
from funcad.numpy.checks import broadcasts, check_array, check_boolean, check_number
from funcad.primitives.nn import softmax


def dot_product_attention(
    query: Array,
    key: Array,
    value: Array,
    bias: Array | None = None,
    mask: Array | None = None,
    *,
    scale: float | None = None,
    is_causal: bool = False,
) -> Array:
    """Averages of values, weighted by how well their keys match a query.

    The layout is that of ``jax.nn``: positions first, then heads.  ``torch`` has them
    the other way round.

    Parameters
    ----------
    query : array, shape (..., T, N, H)
        Batches, T positions, N heads of H channels.
    key : array, shape (..., S, N, H)
    value : array, shape (..., S, N, D)
    bias : array, optional
        Added to the scores; broadcasts to shape (..., N, T, S).
    mask : array of bool, optional
        Which keys a query may attend to; broadcasts to shape (..., N, T, S).
    scale : float, optional
        Factor of the products; ``1 / sqrt(H)`` by default.
    is_causal : bool
        Whether position t attends only to positions up to t.

    Returns
    -------
    array, shape (..., T, N, D)
        ``softmax(scale * query @ key.T + bias) @ value`` of each head.  A query that
        may attend to nothing gets zeros.

    Raises
    ------
    ValueError
        If shapes do not fit, or the mask is not boolean.

    References
    ----------
    A. Vaswani et al., *Attention is all you need*, arXiv:1706.03762, section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> q = k = np.zeros((1, 3, 1, 2))
    >>> v = np.arange(3.0).reshape(1, 3, 1, 1)
    >>> nn.dot_product_attention(q, k, v, is_causal=True).ravel()
    array([0. , 0.5, 1. ])
    """
    name = "dot_product_attention"
    check_array(name, "query", query)
    check_array(name, "key", key)
    check_array(name, "value", value)
    check_boolean(name, "is_causal", is_causal)
    _check_shapes(shape_of(query), shape_of(key), shape_of(value))
    length, heads, size = shape_of(query)[-3:]
    span = shape_of(key)[-3]
    if scale is None:
        scale = 1 / math.sqrt(size)
    if isinstance(scale, float):
        check_number(name, "scale", scale)
    else:  # also an array, of a factor for each head
        check_array(name, "scale", scale)
    # the smaller operand is scaled, not the scores
    q, k, v = (np.swapaxes(x, -3, -2) for x in (query * scale, key, value))
    scores = q @ np.swapaxes(k, -1, -2)
    if bias is not None:
        _check_broadcast(bias, shape_of(scores), "bias")
        scores = scores + bias
    if is_causal:
        positions = namespace(query).arange(max(length, span))
        past = positions[:length, None] >= positions[:span]
        mask = past if mask is None else np.logical_and(_boolean(mask), past)
    if mask is not None:
        mask = _boolean(mask)
        _check_broadcast(mask, shape_of(scores), "mask")
        # as a summand, which unlike a selection costs nothing on the way back
        masking = np.where(mask, 0.0, -np.inf).astype(dtype_of(scores))
        scores = scores + masking
    weights = softmax(scores, axis=(len(shape_of(scores)) - 1,))
    return np.swapaxes(weights @ v, -3, -2)


def _boolean(mask: Array) -> Array:
    check_array("dot_product_attention", "mask", mask)
    if dtype_of(mask).kind != "b":
        raise ValueError(
            f"dot_product_attention: the mask has dtype {dtype_of(mask)} and must be "
            "boolean. Pass numbers that are to be added to the scores as bias=."
        )
    return mask


def _check_shapes(
    query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...]
) -> None:
    fits = (
        min(len(query), len(key), len(value)) >= 3
        and query[-2:] == key[-2:]
        and key[-3:-1] == value[-3:-1]
        and query[:-3] == key[:-3] == value[:-3]
        and query[-1] > 0
        and key[-3] > 0
    )
    if not fits:
        raise ValueError(
            f"dot_product_attention: query {query}, key {key} and value {value} must "
            "have shapes (..., T, N, H), (..., S, N, H) and (..., S, N, D) with equal "
            "batches, heads N and channels H, and S and H not zero. Arrays with heads "
            "before positions, as in PyTorch, need np.swapaxes(x, -3, -2)."
        )


def _check_broadcast(x: Array, scores: tuple[int, ...], what: str) -> None:
    check_array("dot_product_attention", what, x)
    shape = shape_of(x)
    if not broadcasts(shape, scores):
        raise ValueError(
            f"dot_product_attention: the {what} has shape {shape}, which does not "
            f"broadcast to that of the scores (..., N, T, S), {scores}."
        )
