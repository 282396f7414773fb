"""How far to go in a direction: step sizes that make a function decrease enough.

Numbers here are Python's: a line search branches on the values that it meets.
Values that are not finite count as too great, so that a step never ends at one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

ENOUGH = 1e-4
"""Part of the decrease that the slope promises which a step must make (Armijo)."""
FLATTER = 0.9
"""Part of the slope that may be left at the end of a step (Wolfe)."""


class Point(NamedTuple):
    """A point of the line."""

    step: float
    value: float
    slope: float
    gradient: Any


def backtracking(
    phi: Callable[[float], float],
    value: float,
    slope: float,
    steps: int,
    rounding: float,
) -> tuple[float, float, float]:
    """The first of 1, 1/2, 1/4, ... that makes the function decrease enough.

    Parameters
    ----------
    phi : callable
        The function along the line.
    value, slope : float
        ``phi(0)`` and its derivative there, which is negative.
    steps : int
        How many to try.
    rounding : float
        By how much a value may be greater for rounding alone.

    Returns
    -------
    step, value : float
        The step size and ``phi`` there; 0 and ``phi(0)`` if none is good.
    full : float
        ``phi(1)``.
    """
    full = found = phi(1.0)
    step = 1.0
    for _ in range(steps):
        if found <= value + ENOUGH * step * slope + rounding:
            return step, found, full
        step /= 2
        found = phi(step)
    return 0.0, value, full


def wolfe(
    phi: Callable[[float], Point], start: Point, steps: int, rounding: float
) -> Point:
    """A point that satisfies the strong Wolfe conditions.

    Parameters
    ----------
    phi : callable
        From a step size to the function's value and derivative along the line.
    start : Point
        Where the line begins; its slope is negative.
    steps : int
        How many points to try.
    rounding : float
        By how much a value may be greater for rounding alone.

    Returns
    -------
    Point
        The lowest that decreases enough, if none satisfies both conditions; ``start``,
        if none does that.

    References
    ----------
    J. Nocedal and S. Wright, *Numerical optimization*, 2006, algorithms 3.5 and 3.6.
    """
    low, high = start, None
    step = 1.0
    for _ in range(steps):
        point = phi(step)
        enough = (
            point.value <= start.value + ENOUGH * step * start.slope + rounding
            and math.isfinite(point.slope)
        )
        # near a minimum two values differ by rounding, and slopes say more
        if not enough or point.value > low.value + rounding:
            high = point
        elif abs(point.slope) <= -FLATTER * start.slope:
            return point
        else:
            if point.slope * (step - low.step) >= 0:
                high = low
            low = point
        step = 2 * step if high is None else _between(low, high)
    return low


def _between(low: Point, high: Point) -> float:
    """The minimum of a parabola through two points, kept away from both."""
    width = high.step - low.step
    rise = high.value - low.value - low.slope * width
    fraction = 0.5
    if math.isfinite(rise) and rise > 0:
        fraction = -low.slope * width / (2 * rise)
    elif not math.isfinite(high.value):
        fraction = 0.1
    return low.step + min(max(fraction, 0.1), 0.9) * width
