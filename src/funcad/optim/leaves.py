"""Arithmetic on the leaves of gradients and parameters that keeps their dtypes.

States are made in the parameters' dtypes and stay in them; where gradients have the
dtypes of their parameters, so do the updates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from funcad import tree
from funcad.core.errors import ArgumentError, InputDtypeError, TreeStructureError
from funcad.core.tracing import Array, dtype_of, shape_of
from funcad.optim.hyperparameters import scaled, weak

PyTree = Any

NO_STATE: Any = object()
"""The default of an update's state: without it, Python's message names no state."""


def converted(x: Array, like: Array, function: str = "update") -> Array:
    """``x`` in the dtype of ``like``, unless that drops its imaginary part."""
    dtype, given = dtype_of(like), dtype_of(x)
    if given == dtype:
        return x
    if given.kind == "c" and dtype.kind != "c":
        raise InputDtypeError(
            f"{function}: complex values do not fit real parameters or a real state: "
            f"{given} does not go into {dtype} without losing its imaginary part. "
            "Give it funcad.tree.map(np.real, ...) of them if the real part is what is "
            "wanted, or make the parameters, or the dtype of the state, complex."
        )
    return x.astype(dtype)


def abs_squared(x: Array) -> Array:
    """The squared absolute value, which is real for complex ``x`` too."""
    if dtype_of(x).kind == "c":
        return x.real * x.real + x.imag * x.imag
    return x * x


def moving_average(decay: Array, average: Array, x: Array) -> Array:
    """``decay * average + (1 - decay) * x``."""
    return scaled(decay, average) + scaled(1 - decay, x)


def average_of_squares(decay: Array, average: Array, x: Array) -> Array:
    """``decay * average + (1 - decay) * |x|**2``, in the dtype of the average."""
    return converted(moving_average(decay, average, abs_squared(x)), average)


def zeros_like(params: PyTree, dtype: Any = None) -> PyTree:
    """A tree of zeros with the parameters' shapes and dtypes, or with one dtype."""
    check_trainable(params)
    return tree.map(lambda p: np.zeros_like(p, dtype=dtype), params)


def filled_squares(params: PyTree, value: Array) -> PyTree:
    """A tree for averages of squares: the parameters' shapes, real, of one value."""
    check_trainable(params)

    def fill(p: Array) -> Array:
        zeros = np.zeros_like(p, dtype=dtype_of(p).type(0).real.dtype)
        return zeros if isinstance(value, float) and value == 0 else zeros + value

    return tree.map(fill, params)


def zero_count(params: PyTree) -> Array:
    """A step counter: an int64 array of shape (), in the memory of the parameters."""
    leaves = tree.leaves(params)
    return np.zeros_like(leaves[0] if leaves else 0, shape=(), dtype=np.int64)


def incremented(count: Array) -> Array:
    """One more; NumPy's scalar result becomes an array again, as the counter began."""
    following = count + 1
    return np.array(following) if isinstance(following, np.generic) else following


def bias_correction(decay: Array, count: Array) -> Array:
    """``1 - decay**count``, the sum of the weights of an average begun at zero."""
    return weak(1 - decay**count)


def check_state(state: Any, own: type[tuple[Any, ...]]) -> None:
    """Refuse every state but those of a transformation's own type."""
    if not isinstance(state, own):
        raise foreign_state(
            state, f"that of this transformation is of type {own.__name__}"
        )


def foreign_state(state: Any, own: str) -> ArgumentError:
    """The error for a state that is not what a clause says, or is not given."""
    if state is NO_STATE:
        return ArgumentError(
            "update: there is no state. Write optimiser.update(grads, state, params), "
            "with optimiser.init(params) for the first state."
        )
    was = type(state).__name__
    if was == "tuple":
        was = f"tuple of length {len(state)}"
    return ArgumentError(
        f"update: the state that was given is of type {was}, and {own}. Pass what this "
        "optimiser's own init(params) or update returned."
    )


def map_step(
    step: Callable[..., tuple[Array, ...]], updates: PyTree, *memories: PyTree
) -> tuple[PyTree, ...]:
    """Apply ``step(g, *memory) -> (update, *memory)`` to each leaf.

    Parameters
    ----------
    step : callable
        From an update and what is remembered for it to the new ones.
    updates, *memories : pytrees of arrays
        Of the same structure and shapes.

    Returns
    -------
    tuple of pytrees
        As many as were given.
    """
    leaves, treedef = tree.flatten(updates)
    check_match("gradients", updates, "state", memories[-1])
    columns = [tree.leaves(memory) for memory in memories]
    rows = [step(*row) for row in zip(leaves, *columns, strict=True)]
    if not rows:
        return updates, *memories
    return tuple(
        [tree.unflatten(treedef, column) for column in zip(*rows, strict=True)]
    )


def check_trainable(params: PyTree) -> None:
    """Refuse integer and boolean parameters, which cannot take a small step."""
    for leaf in tree.leaves(params):
        if dtype_of(leaf).kind not in "fc":
            raise InputDtypeError(
                f"The parameter at {_path(params, leaf)} has dtype {dtype_of(leaf)}; "
                "optimisers move real and complex numbers. Keep integers and booleans "
                "in a tree of their own, beside the parameters, or convert the leaf "
                "with .astype(np.float64)."
            )


def check_epsilon(name: str, value: Array, params: PyTree) -> None:
    """Refuse an epsilon that a parameter's dtype rounds to zero."""
    check_trainable(params)
    if not isinstance(value, float) or value == 0:
        return
    for leaf in tree.leaves(params):
        dtype = dtype_of(leaf)
        if dtype.type(value) == 0:
            raise ArgumentError(
                f"{name} = {value} is zero in {dtype}, the dtype of the parameter at "
                f"{_path(params, leaf)}, so that a gradient of zero would be divided "
                f"by zero. Write {name}=1e-4 or so, or keep the parameters in float32 "
                "and convert them to half precision in the loss."
            )


def check_match(what: str, values: PyTree, whose: str, reference: PyTree) -> None:
    """Refuse a tree whose structure or shapes are not those of its reference.

    NumPy would broadcast the shapes, and the parameters would change theirs.
    """
    leaves, treedef = tree.flatten(values)
    expected, expected_treedef = tree.flatten(reference)
    if treedef != expected_treedef:
        tree.check_same_structure(
            expected_treedef, values, f"the {whose}", f"the {what}"
        )
    for leaf, like in zip(leaves, expected, strict=True):
        if shape_of(leaf) != shape_of(like):
            raise TreeStructureError(
                f"The shapes of the {what} must be those of the {whose}; at "
                f"{_path(values, leaf)}: {shape_of(like)} in the {whose}, "
                f"{shape_of(leaf)} in the {what}. Pass the gradients of these "
                "parameters, and a state that init(params) made of them."
            )


def _path(values: PyTree, leaf: Array) -> str:
    """Where a leaf is in its tree, as it would be written in Python."""
    path_leaves, _ = tree.flatten_with_path(values)
    path = next(path for path, candidate in path_leaves if candidate is leaf)
    return tree.keystr(path) or "the root"
