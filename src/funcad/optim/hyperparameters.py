"""Numbers that steer an optimiser: what they may be, and how they keep to a dtype.

A hyper-parameter is a Python number, a NumPy or CuPy scalar, or a tracer (so that a
whole training run can be differentiated with respect to its learning rate).  Only
numbers whose value is there to be read are checked.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from funcad.core.errors import ArgumentError, is_user_file
from funcad.core.tracing import Array, dtype_of, shape_of

Schedule = Callable[[Array], Array]


def weak(value: Array) -> Array:
    """A NumPy scalar as a Python number, which takes the dtype of what it meets.

    A ``numpy.float64`` times a float32 array is a float64 array (NEP 50); a Python
    number leaves the array's dtype alone.  Anything but a scalar of NumPy's passes.
    """
    if isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0:
        return value.item()
    return value


def in_dtype_of(leaf: Array, value: Array) -> Array:
    """``value`` such that arithmetic with ``leaf`` stays in the leaf's dtype."""
    if isinstance(value, (int, float)):
        return value
    return value.astype(dtype_of(leaf))


def scaled(factor: Array, leaf: Array) -> Array:
    """``factor * leaf``, in the leaf's dtype."""
    return in_dtype_of(leaf, factor) * leaf


def shifted(offset: Array, leaf: Array) -> Array:
    """``leaf + offset``, in the leaf's dtype; no pass over it for an offset of zero."""
    if isinstance(offset, (int, float)) and offset == 0:
        return leaf
    return leaf + in_dtype_of(leaf, offset)


def called() -> str:
    """The function of funcad's that the user's line calls: ``sgd``, not its parts."""
    name, frame = "", sys._getframe(1)
    while frame is not None and not is_user_file(frame.f_code.co_filename):
        name, frame = frame.f_code.co_name, frame.f_back  # type: ignore[assignment]
    return name


def number(name: str, value: Array, function: str = "") -> Array:
    """``value``, if it is one real number; NumPy's scalars become Python's.

    A message names the function that the user calls, if it is given no other.
    """
    value = weak(value)
    if isinstance(value, (int, float)):
        if math.isnan(value):
            raise ArgumentError(
                f"{function or called()}: {name} is NaN. Give it a number."
            )
        return value
    if not hasattr(value, "dtype"):
        raise ArgumentError(
            f"{function or called()}: {name} must be a real number, and is {value!r}, "
            f"a {type(value).__name__}."
        )
    if shape_of(value) != () or value.dtype.kind not in "biuf":
        raise ArgumentError(
            f"{function or called()}: {name} must be one real number, and is an array "
            f"of shape {shape_of(value)} and dtype {value.dtype}. For a factor of its "
            "own for each leaf, combine optim.masked transformations."
        )
    return value


def scheduled(schedule: Schedule, count: Array) -> Array:
    """What a schedule says at a step, if it is one real number."""
    return number("the value of the schedule", schedule(count), "update")


def nonnegative(name: str, value: Array) -> Array:
    """``value``, if it is a number that is not negative."""
    value = number(name, value)
    return _within(name, value, lambda x: x >= 0, "0 or greater")


def positive(name: str, value: Array) -> Array:
    """``value``, if it is a number greater than zero."""
    value = number(name, value)
    return _within(name, value, lambda x: x > 0, "greater than 0")


def decay_rate(name: str, value: Array) -> Array:
    """``value``, if it can be the decay of a moving average: in [0, 1)."""
    value = number(name, value)
    return _within(name, value, lambda x: 0 <= x < 1, "at least 0 and less than 1")


def step_size(name: str, value: Array | Schedule) -> Array | Schedule:
    """``value``, if it is a non-negative number or a function of the step count."""
    return value if callable(value) else nonnegative(name, value)


def memory_dtype(name: str, value: Any) -> np.dtype[Any] | None:
    """The dtype in which to keep an average, if it has room for fractions."""
    if value is None:
        return None
    try:
        dtype = np.dtype(value)
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind in "biuSUOMm":
        raise ArgumentError(
            f"{called()}: {name} must be a floating-point or complex dtype, and is "
            f"{value!r}. Write {name}=np.float32 or so, or leave it out to keep each "
            "parameter's own."
        )
    return dtype


def _within(name: str, value: Any, condition: Callable[[Any], bool], what: str) -> Any:
    if isinstance(value, (int, float)) and not condition(value):
        raise ArgumentError(f"{called()}: {name} must be {what}, and is {value!r}.")
    return value
