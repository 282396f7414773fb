"""Timing several ways of doing one thing, in turns, so that noise hits all equally."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def interleaved_medians(
    runs: Mapping[str, Callable[[], Any]],
    *,
    rounds: int,
    budget: float,
    shortest: float = 0.01,
) -> dict[str, float]:
    """Median seconds of one call of each run.

    In every round each run has one turn: an untimed call, which brings its code and
    arrays back into the caches and lets the threads of the run before go to sleep,
    then as many timed calls as fill `shortest` seconds.

    Parameters
    ----------
    runs : mapping of str to callable
        What to time; each is called without arguments.
    rounds : int
        Most turns that a run gets.
    budget : float
        Seconds after which a run gets no further turn; each gets at least one.
    shortest : float
        Least seconds of timed calls in a turn.

    Returns
    -------
    dict of str to float
    """
    calls, samples, spent = {}, {}, {}
    for name, run in runs.items():
        run()
        calls[name] = max(1, round(shortest / _seconds(run, 1)))
        samples[name], spent[name] = [], 0.0
    for _ in range(rounds):
        for name, run in runs.items():
            if spent[name] <= budget:
                start = time.perf_counter()
                run()
                samples[name].append(_seconds(run, calls[name]))
                spent[name] += time.perf_counter() - start
    return {name: statistics.median(taken) for name, taken in samples.items()}


def _seconds(run: Callable[[], Any], calls: int) -> float:
    # What an earlier run left behind is not this one's to clean up; the collector
    # itself stays on, as it is for users.
    gc.collect()
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls
