"""Arguments that are not what a function takes, refused in the function's name.

A number or a boolean may be a tracer, whose value is not looked at.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from funcad.core.errors import ArgumentError, FuncadError, LeafTypeError, shortened
from funcad.core.tracing import Tracer, dtype_of, shape_of
from funcad.transforms.arguments import is_array


def check_array(name: str, what: str, x: Any) -> None:
    """Refuse what is no array, tracer or number.

    Raises
    ------
    LeafTypeError
    """
    if type(x) is np.ndarray and x.dtype.kind in "fciub":  # most often, and fastest
        return
    if is_array(x):
        return
    if isinstance(x, (np.ndarray, np.generic)):
        raise LeafTypeError(
            f"{name}: {what} has dtype {x.dtype}, which no function of numbers takes. "
            "Give it numbers or booleans."
        )
    if isinstance(x, (list, tuple)):
        advice = "Write np.array(...) around it."
    else:
        advice = "Give it an array or a number."
    raise LeafTypeError(f"{name}: {what} is {described(x)} and no array. {advice}")


def check_number(
    name: str, what: str, x: Any, least: float = -np.inf, advice: str = ""
) -> None:
    """Refuse what is not one real number, NaN, and a number less than ``least``.

    The advice is for what is no number, and begins with a space.

    Raises
    ------
    ArgumentError
    """
    if type(x) in (float, int) and x >= least:
        return
    if not is_array(x) or shape_of(x) != () or dtype_of(x).kind not in "iuf":
        raise ArgumentError(
            f"{name}: {what} must be one real number, and is {described(x)}.{advice}"
        )
    if not isinstance(x, Tracer) and not x >= least:
        bound = "a number" if least == -np.inf else f"{least:g} or greater"
        raise ArgumentError(f"{name}: {what} must be {bound}, and is {x}.")


def check_boolean(name: str, what: str, x: Any) -> None:
    """Refuse what is neither true nor false.

    Raises
    ------
    ArgumentError
    """
    if x is True or x is False or isinstance(x, Tracer):
        return
    if not is_array(x) or shape_of(x) != () or dtype_of(x).kind != "b":
        raise ArgumentError(
            f"{name}: {what} must be True or False, and is {described(x)}."
        )


def check_mask(name: str, what: str, mask: Any, shape: tuple[int, ...]) -> None:
    """Refuse what is no array of booleans that broadcasts to a shape.

    Raises
    ------
    LeafTypeError, ArgumentError
    """
    check_array(name, what, mask)
    if dtype_of(mask).kind != "b":
        raise ArgumentError(
            f"{name}: {what} has dtype {dtype_of(mask)} and must be boolean. Write a "
            f"comparison, such as {what}={what} > 0."
        )
    if not broadcasts(shape_of(mask), shape):
        raise ArgumentError(
            f"{name}: {what} has shape {shape_of(mask)}, which does not broadcast to "
            f"{shape}, the shape of x."
        )


def integers(x: Any) -> tuple[int, ...] | None:
    """An integer or several as a tuple, and ``None`` for anything else."""
    given = x if isinstance(x, Sequence) else (x,)
    try:
        return tuple([operator.index(n) for n in given])
    except FuncadError:  # of a tracer, which says what to do
        raise
    except TypeError:
        return None


def broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether an array of a shape becomes one of another shape by broadcasting."""
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def described(x: Any) -> str:
    """A value in words, of which the type or the shape and dtype are wrong."""
    if is_array(x) and shape_of(x) != ():
        return f"an array of shape {shape_of(x)} and dtype {dtype_of(x)}"
    if x is None:
        return "None"
    return f"{shortened(x)} of type {type(x).__name__}"
