"""Policies of :func:`funcad.checkpoint`: which results inside to store.

A policy is a function ``policy(primitive, *avals, **params) -> bool`` of an operation;
the names are JAX's.

>>> import numpy as np
>>> import funcad
>>> @funcad.checkpoint(policy=funcad.checkpoint_policies.dots_saveable)
... def layer(w, x):
...     return np.tanh(x @ w)
>>> w, x = np.eye(2), np.ones((1, 2))
>>> funcad.grad(lambda w: np.sum(layer(w, x)))(w)
array([[0.41997434, 0.41997434],
       [0.41997434, 0.41997434]])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from funcad.core.errors import PolicyError
from funcad.core.tracing import Primitive

__all__ = [
    "checkpoint_dots",
    "checkpoint_dots_with_no_batch_dims",
    "dots_saveable",
    "dots_with_no_batch_dims_saveable",
    "everything_saveable",
    "nothing_saveable",
    "save_any_names_but_these",
    "save_anything_except_these_names",
    "save_from_both_policies",
    "save_only_these_names",
]

Policy = Callable[..., bool]


def nothing_saveable(primitive: Primitive, *avals: Any, **params: Any) -> bool:
    """Store nothing, compute everything again."""
    return False


def everything_saveable(primitive: Primitive, *avals: Any, **params: Any) -> bool:
    """Store what the derivative reads, as without a checkpoint."""
    return True


def dots_saveable(primitive: Primitive, *avals: Any, **params: Any) -> bool:
    """Store the results of matrix products and convolutions only."""
    return primitive.family == "multilinear"


def dots_with_no_batch_dims_saveable(
    primitive: Primitive, *avals: Any, **params: Any
) -> bool:
    """Store the results of products that are not stacks of products.

    Such is the product with a matrix of weights, but not the one of queries and keys.
    """
    stacked = all(len(aval.shape) > 2 for aval in avals)
    return primitive.family == "multilinear" and not stacked


checkpoint_dots = dots_saveable
checkpoint_dots_with_no_batch_dims = dots_with_no_batch_dims_saveable


def save_only_these_names(*names: str) -> Policy:
    """Policy that stores the values that :func:`funcad.checkpoint_name` gave a name.

    Parameters
    ----------
    *names : str
        The names.

    Returns
    -------
    callable
        The policy.
    """
    chosen = _checked(names, "save_only_these_names")

    def policy(primitive: Primitive, *avals: Any, **params: Any) -> bool:
        return primitive.family == "naming" and params["name"] in chosen

    return policy


def save_any_names_but_these(*names: str) -> Policy:
    """Policy that stores named values, except under these names.

    Parameters
    ----------
    *names : str
        The names.

    Returns
    -------
    callable
        The policy.
    """
    refused = _checked(names, "save_any_names_but_these")

    def policy(primitive: Primitive, *avals: Any, **params: Any) -> bool:
        return primitive.family == "naming" and params["name"] not in refused

    return policy


def save_anything_except_these_names(*names: str) -> Policy:
    """Policy that stores every value, named or not, except under these names.

    Parameters
    ----------
    *names : str
        The names.

    Returns
    -------
    callable
        The policy.
    """
    refused = _checked(names, "save_anything_except_these_names")

    def policy(primitive: Primitive, *avals: Any, **params: Any) -> bool:
        return primitive.family != "naming" or params["name"] not in refused

    return policy


def save_from_both_policies(policy_1: Policy, policy_2: Policy) -> Policy:
    """Policy that stores what either of two policies stores.

    Parameters
    ----------
    policy_1, policy_2 : callable
        The policies.

    Returns
    -------
    callable
        The policy.
    """
    for given in (policy_1, policy_2):
        if not callable(given):
            raise PolicyError(
                "save_from_both_policies takes two policies, which are functions, and "
                f"was given {given!r} of type {type(given).__name__}."
            )

    def policy(primitive: Primitive, *avals: Any, **params: Any) -> bool:
        first = policy_1(primitive, *avals, **params)
        return first or policy_2(primitive, *avals, **params)

    return policy


def _checked(names: tuple[Any, ...], maker: str) -> frozenset[str]:
    for name in names:
        if not isinstance(name, str):
            raise PolicyError(
                f"{maker} takes names, which are strings, and was given {name!r} of "
                f'type {type(name).__name__}. Write {maker}("hidden", "logits").'
            )
    return frozenset(names)
