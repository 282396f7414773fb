"""Schedules: which states of a chain of layers to hold, and when to compute them again.

A chain takes state 0 through layers 0, ..., n - 1 to state n, and a cotangent back.
A schedule is a sequence of actions, pure numbers, that any chain can follow; there is
always one *current* state, besides those in slots.

====================  ============================  ==================================
strategy              states held                   evaluations of layers
====================  ============================  ==================================
``"store-all"``       n                             n
``"sqrt"``            at most 2 sqrt(n)             less than 2 n
``"revolve"``         ``slots`` (and the layer      the fewest possible:
                      that is being taken back)     :func:`fewest_evaluations`
``"recompute-all"``   1 (and that layer)            n (n + 1) / 2
====================  ============================  ==================================
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from funcad.core.errors import ScheduleError

STRATEGIES = ("store-all", "recompute-all", "sqrt", "revolve")


class Store(NamedTuple):
    """Hold the current state in a slot."""

    state: int


class Restore(NamedTuple):
    """Make a state that is held the current one."""

    state: int


class Free(NamedTuple):
    """Give up the slot of a state."""

    state: int


class Advance(NamedTuple):
    """Evaluate the layers from the current state, ``start``, up to state ``stop``."""

    start: int
    stop: int


class Record(NamedTuple):
    """Evaluate a layer from the current state, keeping what its derivative reads."""

    layer: int


class Backward(NamedTuple):
    """Take the cotangent back through a layer, giving up what was recorded of it."""

    layer: int


Action = Store | Restore | Free | Advance | Record | Backward


def schedule(n: int, strategy: str, slots: int | None = None) -> Iterator[Action]:
    """The actions by which a chain is differentiated.

    Parameters
    ----------
    n : int
        Number of layers, at least 1.
    strategy : {"store-all", "recompute-all", "sqrt", "revolve"}
        What is held and what is computed again.
    slots : int, optional
        How many states ``"revolve"`` may hold; by default about log2(n).

    Returns
    -------
    iterator of actions
        :class:`Store`, :class:`Restore`, :class:`Free`, :class:`Advance`,
        :class:`Record` and :class:`Backward`.

    Raises
    ------
    ScheduleError
        If there is no such schedule.

    References
    ----------
    A. Griewank and A. Walther, Algorithm 799: revolve, ACM Transactions on
    Mathematical Software 26 (2000), 19-45.

    Examples
    --------
    >>> from funcad.transforms.schedules import schedule
    >>> for action in schedule(3, "revolve", slots=1):
    ...     print(action)
    Store(state=0)
    Advance(start=0, stop=2)
    Record(layer=2)
    Backward(layer=2)
    Restore(state=0)
    Advance(start=0, stop=1)
    Record(layer=1)
    Backward(layer=1)
    Restore(state=0)
    Free(state=0)
    Record(layer=0)
    Backward(layer=0)
    """
    n, slots = check_schedule(n, strategy, slots)
    if strategy == "store-all":
        return _segments(n, n)
    if strategy == "sqrt":
        return _segments(n, math.isqrt(n - 1) + 1)
    return _revolve(n, slots)


def check_schedule(n: Any, strategy: Any, slots: Any) -> tuple[int, int]:
    """Number of layers and of slots of a schedule, or an error if there is none."""
    if strategy not in STRATEGIES:
        names = ", ".join(f'"{name}"' for name in STRATEGIES)
        raise ScheduleError(
            f"there is no checkpointing strategy {strategy!r}. The strategies are "
            f"{names}."
        )
    n = _integer(n, "the number of layers")
    if n < 1:
        raise ScheduleError(
            f"a schedule is for a chain of at least one layer, not of {n}."
        )
    if strategy != "revolve":
        if slots is not None:
            raise ScheduleError(
                f'the strategy "{strategy}" has no choice of slots, and slots={slots!r}'
                ' was given. Use strategy="revolve", or leave slots out.'
            )
        return n, 1
    if slots is None:
        return n, default_slots(n)
    slots = _integer(slots, "slots")
    if slots < 1:
        raise ScheduleError(
            f"a schedule needs at least one slot, for the state that a chain of {n} "
            f"layers starts from, and slots={slots} was given. Use slots=1 for the "
            "least memory."
        )
    return n, slots


def _integer(value: Any, what: str) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise ScheduleError(
            f"{what} of a schedule must be an integer, not {value!r} of type "
            f"{type(value).__name__}."
        ) from None


def default_slots(n: int) -> int:
    """Slots of ``"revolve"`` where none are given: about log2(n), at least 1."""
    return max(1, (n - 1).bit_length())


def fewest_evaluations(n: int, slots: int) -> int:
    """The least number of evaluations of layers that a number of slots allows.

    With r the least number for which C(slots + r, slots) >= n, it is
    n + r n - C(slots + r, slots + 1): each layer once for its backward step, and the
    evaluations of proposition 1 of Griewank and Walther (2000) before it.

    Parameters
    ----------
    n : int
        Number of layers.
    slots : int
        Number of states that may be held.

    Returns
    -------
    int

    Examples
    --------
    >>> from funcad.transforms.schedules import fewest_evaluations
    >>> [fewest_evaluations(100, slots) for slots in (1, 3, 10, 99)]
    [5050, 590, 322, 199]
    """
    r = _repetitions(n, slots)
    return n + r * n - math.comb(slots + r, slots + 1)


class Costs(NamedTuple):
    """What following a schedule takes."""

    evaluations: int
    """How often a layer is evaluated."""
    slots: int
    """How many states are held at most."""
    records: int
    """How many layers are recorded at most."""
    held: int
    """The most states held and layers recorded at one time."""


def costs(actions: Iterable[Action]) -> Costs:
    """Count what a schedule takes.

    Parameters
    ----------
    actions : iterable of actions
        From :func:`schedule`.

    Returns
    -------
    Costs

    Examples
    --------
    >>> from funcad.transforms.schedules import costs, schedule
    >>> costs(schedule(100, "sqrt"))
    Costs(evaluations=190, slots=9, records=10, held=19)
    """
    evaluations = slots = records = 0
    most = [0, 0, 0]
    for action in actions:
        match action:
            case Store():
                slots += 1
            case Free():
                slots -= 1
            case Advance(start, stop):
                evaluations += stop - start
            case Record():
                evaluations += 1
                records += 1
            case Backward():
                records -= 1
        now = (slots, records, slots + records)
        most = [max(m, x) for m, x in zip(most, now, strict=True)]
    return Costs(evaluations, *most)


# ----------------------------------------------------------------- how they are made


def _segments(n: int, length: int) -> Iterator[Action]:
    """Hold the state before each segment; record whole segments, the last one first."""
    *starts, last = range(0, n, length)
    for start in starts:
        yield Store(start)
        yield Advance(start, start + length)
    yield from _taken_back(last, n)
    for start in reversed(starts):
        yield Restore(start)
        yield Free(start)
        yield from _taken_back(start, start + length)


def _taken_back(start: int, stop: int) -> Iterator[Action]:
    yield from map(Record, range(start, stop))
    yield from map(Backward, reversed(range(start, stop)))


def _revolve(n: int, slots: int) -> Iterator[Action]:
    """Spend free slots on the way forward, each where the binomial optimum has it."""
    yield Store(0)
    held = [0]
    for layer in reversed(range(n)):
        start = held[-1]
        if layer < n - 1:
            yield Restore(start)
        while len(held) < slots and layer - start > 1:
            middle = start + _split(layer + 1 - start, slots + 1 - len(held))
            if middle == layer:
                break
            yield Advance(start, middle)
            yield Store(middle)
            held.append(middle)
            start = middle
        if start < layer:
            yield Advance(start, layer)
        else:
            yield Free(held.pop())
        yield Record(layer)
        yield Backward(layer)


def _split(n: int, slots: int) -> int:
    """Where to hold the second state of ``n`` layers, the first being held.

    Writing t for the evaluations, m + t(m, slots) + t(n - m, slots - 1) is least where
    the first part needs one repetition less than the whole, and the second no more.
    """
    r = _repetitions(n, slots)
    return min(math.comb(slots + r - 1, slots), n - math.comb(slots + r - 2, slots - 1))


def _repetitions(n: int, slots: int) -> int:
    """How often a layer is evaluated at most before it is recorded."""
    r, reach = 0, 1
    while reach < n:
        r += 1
        reach = reach * (slots + r) // r
    return r
