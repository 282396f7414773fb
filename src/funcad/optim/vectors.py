"""Parameters and gradients as vectors, for methods that see them as one.

Newton's method and its kin need inner products of everything with everything, and
solvers that take vectors; leaf by leaf says less there than ``ravel_pytree``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from funcad import tree
from funcad.backends import namespace
from funcad.core.errors import (
    ArgumentError,
    DerivativeLossError,
    InputDtypeError,
    NonFiniteError,
    NonScalarOutputError,
)
from funcad.core.tracing import Array, Tracer, aval_of, dtype_of, shape_of
from funcad.flatten import ravel_pytree
from funcad.optim.hyperparameters import called
from funcad.optim.leaves import check_match, check_trainable
from funcad.transforms.arguments import check_leaves

PyTree = Any


def real_vector(name: str, params: PyTree) -> tuple[Array, Callable[[Array], PyTree]]:
    """Parameters as a vector, and the way back; refuses what is not real."""
    check_trainable(params)
    paths, _ = tree.flatten_with_path(params)
    for path, leaf in paths:
        where = tree.keystr(path) or "the root"
        if isinstance(leaf, Tracer):
            raise DerivativeLossError(
                f"{name}: the parameter at {where} is a tracer, and a step branches on "
                "the values of the loss. Call init and update outside of jit, vmap and "
                "grad; the loss itself may be jitted."
            )
        if dtype_of(leaf).kind == "c":
            raise InputDtypeError(
                f"{name} takes real parameters, and the one at {where} has dtype "
                f"{dtype_of(leaf)}. Keep its real and imaginary parts as two leaves."
            )
    return ravel_pytree(params)


def at_point(
    name: str, grads: PyTree, params: PyTree
) -> tuple[Array, Array, Callable[[Array], PyTree]]:
    """Parameters and gradient as vectors of one dtype, and the way back to a tree."""
    if params is None and grads is not None:
        raise ArgumentError(
            f"{name} needs the parameters that it steps from. Write "
            "optimiser.update(grads, state, params, ...)."
        )
    check_match("gradients", grads, "parameters", params)
    x, unravel = real_vector(name, params)
    for path, leaf in tree.flatten_with_path(grads)[0]:
        if dtype_of(leaf).kind != "f":
            raise InputDtypeError(
                f"{name} takes real gradients, and the one at "
                f"{tree.keystr(path) or 'the root'} has dtype {dtype_of(leaf)}."
            )
        if not np.all(np.isfinite(leaf)):
            raise NonFiniteError(
                f"{name}: the gradient at {tree.keystr(path) or 'the root'} is not "
                "finite, so that no direction leads down from here. Start elsewhere, "
                "or write the loss so that it does not overflow (nn.softmax_cross_"
                "entropy and its kin do not)."
            )
    g, _ = ravel_pytree(grads)
    return x, g.astype(dtype_of(x)), unravel


def finite_value(name: str, loss: Any) -> float:
    """The loss where a step begins, refused if there is nothing to compare it with."""
    leaves, treedef = tree.flatten(loss)
    check_leaves(leaves, treedef, name, "output")
    alone = len(leaves) == 1 and leaves[0] is loss
    if not alone or shape_of(loss) or dtype_of(loss).kind == "c":
        was = aval_of(loss) if alone else f"of type {type(loss).__name__}"
        raise NonScalarOutputError(
            f"{name} minimises a loss that is a real scalar, and this one is {was}. "
            "Reduce it with np.sum or np.mean, and return no more than that."
        )
    value = float(loss)
    if not math.isfinite(value):
        raise NonFiniteError(
            f"{name}: the loss is {value} at the parameters that were given, so that "
            "no step can be told to decrease it. Start where it is finite."
        )
    return value


def function_given(name: str, argument: str, value: Any) -> Callable[..., Any]:
    """A function that ``update`` must be given by keyword."""
    if not callable(value):
        was = "is not given" if value is None else f"is {value!r}, not a function"
        raise ArgumentError(
            f"update of {name} needs more than the gradient: {argument} {was}. Write "
            f"optimiser.update(grads, state, params, {argument}=...), with a function "
            "for the same batch that the gradient is of."
        )
    return value


def at_least_one(name: str, value: Any) -> int:
    """A number of steps."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise ArgumentError(f"{called()}: {name} must be an integer, and is {value!r}.")
    if value < 1:
        raise ArgumentError(f"{called()}: {name} must be at least 1, and is {value}.")
    return int(value)


def length(vector: Array) -> float:
    """Euclidean norm, also where squares of the entries are too large or too small."""
    largest = float(np.max(np.abs(vector)))
    if not 0 < largest < math.inf:
        return largest
    return largest * float(np.linalg.norm(vector / largest))


def number_like(vector: Array, value: float) -> Array:
    """A number of a state: an int64 or float64 array of shape (), where the vector is.

    Not in the vector's dtype: a loss in half precision may not fit.
    """
    dtype = np.int64 if isinstance(value, int) else np.float64
    return namespace(vector).full((), value, dtype)


def rounding(vector: Array, value: float) -> float:
    """By how much two equal values of a function may differ, at a guess."""
    return 4 * float(np.finfo(dtype_of(vector)).eps) * abs(value)
