"""Schedules: functions from the step count, 0 at the first step, to a number.

A schedule of a Python or NumPy integer is a Python float, which leaves the dtype of
what it multiplies alone; of an array of counts it is an array, for plotting.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Any

import numpy as np

from funcad.core.errors import ArgumentError
from funcad.core.tracing import Array
from funcad.optim.hyperparameters import Schedule, nonnegative, number, positive, weak


def constant_schedule(value: Array) -> Schedule:
    """The same value at every step.

    Examples
    --------
    >>> from funcad import optim
    >>> optim.constant_schedule(0.1)(1000)
    0.1
    """
    value = number("value", value)
    return lambda count: value


def linear_schedule(
    init_value: Array,
    end_value: Array,
    transition_steps: int,
    transition_begin: int = 0,
) -> Schedule:
    """From one value to another on a straight line.

    Parameters
    ----------
    init_value, end_value : float
        Value until ``transition_begin``, and from ``transition_steps`` later on.
    transition_steps : int
        Length of the line.
    transition_begin : int
        Where the line begins.

    Returns
    -------
    callable

    Examples
    --------
    >>> from funcad import optim
    >>> schedule = optim.linear_schedule(0.0, 1.0, transition_steps=4)
    >>> [schedule(count) for count in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """
    return polynomial_schedule(
        init_value, end_value, 1, transition_steps, transition_begin
    )


def polynomial_schedule(
    init_value: Array,
    end_value: Array,
    power: Array,
    transition_steps: int,
    transition_begin: int = 0,
) -> Schedule:
    """From one value to another as ``end + (init - end) * (1 - t)**power``.

    Parameters
    ----------
    init_value, end_value : float
        Value until ``transition_begin``, and from ``transition_steps`` later on.
    power : float
        Exponent, greater than 0.
    transition_steps : int
        Steps in which t goes from 0 to 1.
    transition_begin : int
        Where the transition begins.

    Returns
    -------
    callable

    Examples
    --------
    >>> from funcad import optim
    >>> schedule = optim.polynomial_schedule(1.0, 0.0, power=2, transition_steps=2)
    >>> [schedule(count) for count in (0, 1, 2)]
    [1.0, 0.25, 0.0]
    """
    init_value = number("init_value", init_value)
    end_value = number("end_value", end_value)
    power = positive("power", power)
    steps = positive("transition_steps", transition_steps)
    begin = nonnegative("transition_begin", transition_begin)

    def schedule(count: Array) -> Array:
        remaining = 1 - np.clip(count - begin, 0, steps) / steps
        return weak((init_value - end_value) * remaining**power + end_value)

    return schedule


def exponential_decay(
    init_value: Array,
    transition_steps: int,
    decay_rate: Array,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: Array | None = None,
) -> Schedule:
    """``init_value * decay_rate**(count / transition_steps)``.

    Parameters
    ----------
    init_value : float
        Value until ``transition_begin``.
    transition_steps : int
        Steps in which the value is multiplied by ``decay_rate`` once.
    decay_rate : float
        Greater than 0; greater than 1 for growth.
    transition_begin : int
        Where the decay begins.
    staircase : bool
        Whether to decay at once after each ``transition_steps``, and not in between.
    end_value : float, optional
        Where a decay, or a growth, ends.

    Returns
    -------
    callable

    Examples
    --------
    >>> from funcad import optim
    >>> schedule = optim.exponential_decay(1.0, 10, 0.5, end_value=0.2)
    >>> [schedule(count) for count in (0, 10, 20, 30)]
    [1.0, 0.5, 0.25, 0.2]
    """
    init_value = number("init_value", init_value)
    steps = positive("transition_steps", transition_steps)
    decay_rate = positive("decay_rate", decay_rate)
    begin = nonnegative("transition_begin", transition_begin)
    if end_value is not None:
        end_value = number("end_value", end_value)

    def schedule(count: Array) -> Array:
        times = np.maximum(count - begin, 0) / steps
        value = init_value * decay_rate ** (np.floor(times) if staircase else times)
        if end_value is not None:
            # Decay ends at or above the end value, growth at or below it.
            low, high = np.minimum(value, end_value), np.maximum(value, end_value)
            value = np.where(decay_rate < 1, high, low)
        return weak(value)

    return schedule


def cosine_decay_schedule(
    init_value: Array, decay_steps: int, alpha: Array = 0.0, exponent: Array = 1.0
) -> Schedule:
    """From a value down to a fraction of it, along half a cosine wave.

    Parameters
    ----------
    init_value : float
        Value at step 0.
    decay_steps : int
        Step from which on the value is ``alpha * init_value``.
    alpha : float
        That fraction.
    exponent : float
        Power to which the cosine wave, between 1 and 0, is raised.

    Returns
    -------
    callable

    References
    ----------
    I. Loshchilov and F. Hutter, *SGDR: stochastic gradient descent with warm restarts*,
    ICLR 2017, equation 5.

    Examples
    --------
    >>> from funcad import optim
    >>> schedule = optim.cosine_decay_schedule(1.0, decay_steps=100)
    >>> [round(schedule(count), 4) for count in (0, 50, 100, 1000)]
    [1.0, 0.5, 0.0, 0.0]
    """
    init_value = number("init_value", init_value)
    steps = positive("decay_steps", decay_steps)
    alpha = number("alpha", alpha)
    exponent = positive("exponent", exponent)

    def schedule(count: Array) -> Array:
        wave = 0.5 * (1 + np.cos(math.pi * (np.clip(count, 0, steps) / steps)))
        return weak(init_value * ((1 - alpha) * wave**exponent + alpha))

    return schedule


def warmup_cosine_decay_schedule(
    init_value: Array,
    peak_value: Array,
    warmup_steps: int,
    decay_steps: int,
    end_value: Array = 0.0,
    exponent: Array = 1.0,
) -> Schedule:
    """Up on a straight line, then down along half a cosine wave.

    Parameters
    ----------
    init_value : float
        Value at step 0.
    peak_value : float
        Value at step ``warmup_steps``.
    warmup_steps : int
        Length of the rise, which may be 0.
    decay_steps : int
        Length of rise and fall together.
    end_value : float
        Value from step ``decay_steps`` on.
    exponent : float
        Power to which the cosine wave is raised.

    Returns
    -------
    callable

    Examples
    --------
    >>> from funcad import optim
    >>> schedule = optim.warmup_cosine_decay_schedule(0.0, 1.0, 10, 110, 0.5)
    >>> [round(schedule(count), 4) for count in (0, 5, 10, 60, 110)]
    [0.0, 0.5, 1.0, 0.75, 0.5]
    """
    peak_value = number("peak_value", peak_value)
    end_value = number("end_value", end_value)
    warmup = nonnegative("warmup_steps", warmup_steps)
    decay = positive("decay_steps", decay_steps)
    if not warmup < decay:
        raise ArgumentError(
            "warmup_cosine_decay_schedule: "
            f"decay_steps counts rise and fall together, so decay_steps = {decay} must "
            f"be greater than warmup_steps = {warmup}."
        )
    # Down to end_value from peak_value: the wave goes from one to zero.
    wave = cosine_decay_schedule(1.0, decay - warmup, exponent=exponent)

    def fall(count: Array) -> Array:
        return end_value + (peak_value - end_value) * wave(count)

    if warmup == 0:
        return lambda count: weak(fall(count))
    rise = linear_schedule(init_value, peak_value, warmup)
    return join_schedules([rise, fall], [warmup])


def piecewise_constant_schedule(
    init_value: Array, boundaries_and_scales: Mapping[int, float] | None = None
) -> Schedule:
    """A constant that is multiplied by a factor at each of some steps.

    Parameters
    ----------
    init_value : float
        Value before the first boundary.
    boundaries_and_scales : dict of int to float
        From the step at which the value changes to its factor, not negative.

    Returns
    -------
    callable

    Examples
    --------
    >>> from funcad import optim
    >>> schedule = optim.piecewise_constant_schedule(1.0, {100: 0.5, 200: 0.1})
    >>> [schedule(count) for count in (0, 99, 100, 200)]
    [1.0, 1.0, 0.5, 0.05]
    """
    init_value = number("init_value", init_value)
    if not isinstance(boundaries_and_scales, (Mapping, NoneType)):
        raise ArgumentError(
            "piecewise_constant_schedule: boundaries_and_scales must be a dict from "
            f"steps to factors, such as {{1000: 0.1}}, and is {boundaries_and_scales!r}"
            "."
        )
    scales = {
        number("a boundary", boundary): nonnegative(f"scale at step {boundary}", scale)
        for boundary, scale in sorted((boundaries_and_scales or {}).items())
    }

    def schedule(count: Array) -> Array:
        value = init_value
        for boundary, scale in scales.items():
            value = np.where(count < boundary, value, value * scale)
        return weak(value)

    return schedule


def join_schedules(
    schedules: Sequence[Schedule], boundaries: Sequence[int]
) -> Schedule:
    """One schedule after the other, each counting from 0 where it begins.

    Parameters
    ----------
    schedules : sequence of callable
        Schedules.
    boundaries : sequence of int
        Steps at which the second, third, ... of them begin, increasing.

    Returns
    -------
    callable

    Examples
    --------
    >>> from funcad import optim
    >>> rise = optim.linear_schedule(0.0, 1.0, 10)
    >>> schedule = optim.join_schedules([rise, optim.constant_schedule(1.0)], [10])
    >>> [schedule(count) for count in (0, 5, 10, 20)]
    [0.0, 0.5, 1.0, 1.0]
    """
    schedules = _listed("schedules", schedules)
    boundaries = [number("a boundary", b) for b in _listed("boundaries", boundaries)]
    for i, function in enumerate(schedules):
        if not callable(function):
            raise ArgumentError(
                f"join_schedules: schedules[{i}] is {function!r}, and must be a "
                "function of the step count. Write optim.constant_schedule(value) for "
                "a constant."
            )
    if len(schedules) != len(boundaries) + 1:
        raise ArgumentError(
            f"join_schedules: {len(schedules)} schedules have "
            f"{max(len(schedules) - 1, 0)} boundaries between them, and "
            f"{len(boundaries)} were given: {boundaries}."
        )
    if any(a >= b for a, b in zip(boundaries, boundaries[1:], strict=False)):
        raise ArgumentError(
            f"join_schedules: the boundaries must increase, and are {boundaries}."
        )

    def schedule(count: Array) -> Array:
        value = schedules[0](count)
        for boundary, following in zip(boundaries, schedules[1:], strict=True):
            value = np.where(count < boundary, value, following(count - boundary))
        return weak(value)

    return schedule


def _listed(name: str, values: Any) -> list[Any]:
    if not isinstance(values, Iterable):
        raise ArgumentError(
            f"join_schedules: {name} must be a list, and is {values!r}. Write "
            "join_schedules([first, second], [boundary])."
        )
    return list(values)
