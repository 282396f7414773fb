"""Layers as functions of their parameters: affine maps, look-ups and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from funcad import numpy as fnp
from funcad import random
from funcad.backends import namespace
from funcad.core.errors import ArgumentError
from funcad.core.tracing import Array, dtype_of, shape_of
from funcad.numpy.checks import (
    check_array,
    check_boolean,
    check_number,
    described,
    integers,
)


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Affine map of the last axis, ``x @ weight + bias``.

    Parameters
    ----------
    x : array, shape (..., n)
    weight : array, shape (n, m)
        As in JAX's libraries; PyTorch keeps the transpose.
    bias : array, shape (m,), optional

    Returns
    -------
    array, shape (..., m)

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> nn.linear(np.array([1.0, 2.0]), np.eye(2, 3), np.full(3, 0.5))
    array([1.5, 2.5, 0.5])
    """
    check_array("linear", "x", x)
    check_array("linear", "weight", weight)
    shape, matrix = shape_of(x), shape_of(weight)
    if not shape or len(matrix) != 2 or shape[-1] != matrix[0]:
        raise ValueError(
            f"linear: x has shape {shape} and the weight has shape {matrix}; they must "
            "be (..., n) and (n, m). Write weight.T where the weight is (m, n)."
        )
    y = x @ weight
    if bias is None:
        return y
    check_array("linear", "bias", bias)
    if shape_of(bias) != matrix[1:]:
        raise ValueError(
            f"linear: the bias has shape {shape_of(bias)} and must have shape "
            f"{matrix[1:]}, the width of the weight, whose shape is {matrix}."
        )
    return y + bias


def embedding(table: Array, ids: Array) -> Array:
    """Rows of a table, looked up by number.

    Parameters
    ----------
    table : array, shape (n, ...)
    ids : array of int
        From ``-n`` to ``n - 1``, negative ones from the end.

    Returns
    -------
    array, shape ids.shape + table.shape[1:]

    Raises
    ------
    ValueError
        If the ids are no integers or the table has no rows.
    IndexError
        If an id is out of range; CuPy wraps it around instead.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> nn.embedding(np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([1, 1, 0]))
    array([[2., 3.],
           [2., 3.],
           [0., 1.]])
    """
    check_array("embedding", "table", table)
    check_array("embedding", "ids", ids)
    if not shape_of(table):
        raise ValueError("embedding: the table is a scalar; it must have rows.")
    if dtype_of(ids).kind not in "iu":
        raise ValueError(
            f"embedding: ids must be integers, and have dtype {dtype_of(ids)}. Write "
            "ids.astype(int), or np.take(table, np.flatnonzero(mask), axis=0) for a "
            "mask."
        )
    return fnp.take(table, ids, axis=0)


def one_hot(
    x: Array, num_classes: int, *, dtype: Any = np.float64, axis: int = -1
) -> Array:
    """Vectors that are one at the place of a label and zero elsewhere.

    Parameters
    ----------
    x : array of int
        Labels; those outside of ``0, ..., num_classes - 1`` give zeros.
    num_classes : int
    dtype : dtype
    axis : int
        Where the axis of classes goes in the result.

    Returns
    -------
    array, shape x.shape with ``num_classes`` put in at ``axis``

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> nn.one_hot(np.array([0, 2]), 3)
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    check_array("one_hot", "x", x)
    (count,) = integers((num_classes,)) or (-1,)
    if count < 0:
        raise ArgumentError(
            "one_hot: num_classes must be an integer from 0 on, and is "
            f"{described(num_classes)}."
        )
    dtype = np.dtype(dtype)
    if dtype.kind not in "fciub":
        raise ArgumentError(
            f"one_hot: dtype must be one of numbers or bool, and is {dtype}."
        )
    if dtype_of(x).kind not in "iu":
        raise ValueError(f"one_hot: labels must be integers, not {dtype_of(x)}.")
    rank = len(shape_of(x)) + 1
    axis = np.lib.array_utils.normalize_axis_index(axis, rank)
    shape = [1] * rank
    shape[axis] = count
    classes = namespace(x).arange(count).reshape(shape)
    return (np.expand_dims(x, axis) == classes).astype(dtype)


def dropout(key: Array, x: Array, rate: float, *, deterministic: bool = False) -> Array:
    """Zero each entry with probability ``rate`` and scale the others to keep the mean.

    Parameters
    ----------
    key : array of uint64, shape (2,)
        Random key, see :mod:`funcad.random`.
    x : array
    rate : float
        Probability of zero, from 0 to 1 exclusive.
    deterministic : bool
        Whether to return ``x`` as it is, as one does after training.

    Returns
    -------
    array
        ``x / (1 - rate)`` where it is kept, and 0 elsewhere.

    Raises
    ------
    ArgumentError
        If the rate is not a probability less than 1.

    References
    ----------
    N. Srivastava et al., *Dropout: a simple way to prevent neural networks from
    overfitting*, JMLR 15 (2014).

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn, random
    >>> y = nn.dropout(random.key(0), np.ones(1000), 0.2)
    >>> np.unique(y), bool(abs(y.mean() - 1) < 0.05)
    (array([0.  , 1.25]), True)
    """
    check_array("dropout", "x", x)
    if type(rate) is not float:
        check_number("dropout", "rate", rate)
    check_boolean("dropout", "deterministic", deterministic)
    if not 0 <= rate < 1:
        raise ArgumentError(
            f"dropout: the rate is {rate}, and it must be from 0 to 1, 1 not included."
        )
    if deterministic or rate == 0:
        return x
    key = random.checked_key(key, "dropout", "funcad.nn.dropout")
    kept = random.bernoulli(key, 1 - float(rate), shape_of(x))
    return x * (kept.astype(_inexact_dtype(x)) * (1 / (1 - float(rate))))


def _inexact_dtype(x: Array) -> np.dtype[Any]:
    dtype = dtype_of(x)
    return dtype if dtype.kind in "fc" else np.dtype(np.float64)
