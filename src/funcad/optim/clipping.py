"""Bounds on updates: each entry by itself, or the length of all of them together."""

from __future__ import annotations

import numpy as np

from funcad import tree
from funcad.core.tracing import Array, dtype_of
from funcad.optim.base import GradientTransformation, PyTree, stateless
from funcad.optim.hyperparameters import in_dtype_of, positive, scaled, weak
from funcad.optim.leaves import abs_squared


def global_norm(updates: PyTree) -> Array:
    """The Euclidean norm of all leaves taken as one vector.

    Parameters
    ----------
    updates : pytree of arrays

    Returns
    -------
    scalar
        In the widest of the leaves' real dtypes; half-precision leaves count as
        float32, because their squares would overflow, and integers as float64.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> float(optim.global_norm({"w": np.array([1.0, 2.0]), "b": np.array(2.0)}))
    3.0
    """
    return np.sqrt(sum([_squared_norm(leaf) for leaf in tree.leaves(updates)]))


def clip(max_delta: Array) -> GradientTransformation:
    """Clip every entry of the updates to ``[-max_delta, max_delta]``.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> optim.clip(1.0).update(np.array([0.5, -3.0]), optim.EmptyState())[0]
    array([ 0.5, -1. ])
    """
    max_delta = positive("max_delta", max_delta)

    def clipped(u: Array) -> Array:
        bound = in_dtype_of(u, max_delta)
        return np.clip(u, -bound, bound)

    return stateless(lambda updates, params: tree.map(clipped, updates))


def clip_by_global_norm(max_norm: Array) -> GradientTransformation:
    """Shorten the updates, taken as one vector, to a given length if they are longer.

    Parameters
    ----------
    max_norm : float
        Greatest :func:`global_norm` of the result.

    Returns
    -------
    GradientTransformation

    References
    ----------
    R. Pascanu, T. Mikolov and Y. Bengio, *On the difficulty of training recurrent
    neural networks*, ICML 2013, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> clip = optim.clip_by_global_norm(1.0)
    >>> clip.update(np.array([3.0, 4.0]), optim.EmptyState())[0]
    array([0.6, 0.8])
    >>> clip.update(np.array([0.3, 0.4]), optim.EmptyState())[0]
    array([0.3, 0.4])
    """
    max_norm = positive("max_norm", max_norm)

    def clipped(updates: PyTree, params: PyTree) -> PyTree:
        norm = global_norm(updates)
        limit = in_dtype_of(norm, max_norm)
        # Exactly one where the norm is within the limit.
        factor = weak(limit / np.maximum(norm, limit))
        return tree.map(lambda u: scaled(factor, u), updates)

    return stateless(clipped)


def _squared_norm(x: Array) -> Array:
    dtype = dtype_of(x)
    if dtype.kind not in "fc":
        x = np.multiply(x, 1.0)
    elif dtype == np.float16:
        x = x.astype(np.float32)
    if dtype.kind != "c":
        # One pass, and no array of squares.
        flat = np.reshape(x, -1)
        return flat @ flat
    return np.sum(abs_squared(x))
