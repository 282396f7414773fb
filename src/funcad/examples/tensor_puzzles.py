"""Twenty-one functions of NumPy, each one line of broadcasting.

The rules: one ``return`` of one line under 80 columns, made of ``arange``, ``where``,
indexing, arithmetic, comparison and ``@`` alone; shapes are read from attributes, and
``:=`` may name what is needed twice.  A comparison of a column with a row is a matrix
of booleans, and a product with it picks, counts or adds up: that is most of the art.

Nothing here depends on the values of an array but through arithmetic, so that each
function runs as it stands under ``vmap``, ``grad`` and ``jit``.

>>> import numpy as np
>>> from funcad.examples import tensor_puzzles
>>> tensor_puzzles.scatter_add(np.array([5.0, 1.0, 7.0]), np.array([0, 2, 0]), 3)
array([12.,  0.,  1.])
"""

from __future__ import annotations

from typing import Any

from numpy import arange, where

Array = Any

__all__ = [
    "bincount",
    "bucketize",
    "compress",
    "cumsum",
    "diag",
    "diff",
    "eye",
    "flatten",
    "flip",
    "heaviside",
    "linspace",
    "ones",
    "outer",
    "pad_to",
    "repeat",
    "roll",
    "scatter_add",
    "sequence_mask",
    "sum",
    "triu",
    "vstack",
]


def ones(n: int) -> Array:
    """A vector of `n` ones."""
    return arange(n) * 0 + 1


def sum(x: Array) -> Array:
    """The sum of a vector's entries."""
    return x @ (arange(x.size) >= 0)


def outer(x: Array, y: Array) -> Array:
    """The products of all entries of `x`, by rows, with all entries of `y`."""
    return x[:, None] * y


def diag(x: Array) -> Array:
    """The diagonal of a square matrix."""
    return x[arange(x.shape[0]), arange(x.shape[0])]


def eye(n: int) -> Array:
    """The `n` by `n` identity matrix."""
    return where(arange(n)[:, None] == arange(n), 1, 0)


def triu(x: Array) -> Array:
    """A matrix with zeros below its diagonal."""
    return where(arange(x.shape[0])[:, None] <= arange(x.shape[1]), x, 0)


def cumsum(x: Array) -> Array:
    """The sums of a vector's first 1, 2, ... entries."""
    return (arange(x.size)[:, None] >= arange(x.size)) @ x


def diff(x: Array) -> Array:
    """Each entry but the first less the one before it."""
    return x[1:] - x[:-1]


def vstack(x: Array, y: Array) -> Array:
    """A matrix of two rows."""
    return where(arange(2)[:, None] == 0, x, y)


def roll(x: Array, shift: int) -> Array:
    """A vector whose entries go `shift` places on, and from the end to the start."""
    return x[(arange(x.size) - shift) % x.size]


def flip(x: Array) -> Array:
    """A vector from its end to its start."""
    return x[-1 - arange(x.size)]


def compress(m: Array, x: Array) -> Array:
    """The entries of `x` where the mask `m` holds, moved to the front; then zeros."""
    return ((j := (i := arange(x.size))[:, None]) == m * 1 @ (j < i)) @ (m * x)


def pad_to(x: Array, n: int) -> Array:
    """A vector cut off after `n` entries, or with zeros after its own."""
    return x @ (arange(x.size)[:, None] == arange(n))


def sequence_mask(x: Array, lengths: Array) -> Array:
    """A matrix with zeros in each row after as many entries as its length says."""
    return where(arange(x.shape[1]) < lengths[:, None], x, 0)


def bincount(x: Array, n: int) -> Array:
    """How often each of 0, 1, ..., `n` - 1 is among the entries of `x`."""
    return (arange(n)[:, None] == x) @ (arange(x.size) * 0 + 1)


def scatter_add(values: Array, index: Array, n: int) -> Array:
    """A vector of `n` sums: each value is added to the one that its index names."""
    return values @ (index[:, None] == arange(n))


def flatten(x: Array) -> Array:
    """The rows of a matrix, one after the other, as a vector."""
    return x[arange(x.size) // x.shape[1], arange(x.size) % x.shape[1]]


def linspace(start: Array, stop: Array, n: int) -> Array:
    """Numbers from `start` to `stop` at equal distances, `n` of them."""
    return start + (stop - start) * arange(n) / (n - (n > 1))


def heaviside(x: Array, y: Array) -> Array:
    """0 where `x` is negative, 1 where it is positive, and `y` where it is zero."""
    return where(x == 0, y, x > 0)


def repeat(x: Array, n: int) -> Array:
    """A vector with each entry `n` times in a row."""
    return x[arange(n * x.size) // n]


def bucketize(x: Array, edges: Array) -> Array:
    """For each entry of `x`, how many edges are at or below it."""
    return (edges <= x[:, None]) @ (arange(edges.size) * 0 + 1)
