"""How much slower a function is while ``funcad.profile`` records its operations.

Chains of one operation on arrays of several sizes, run plainly and under the profiler
in turns, in one process.  Figures are the least CPU time of the thread in many short
turns, and ratios of such: what else the machine does, and what runs beside it on the
same core, is in none of them or in both.

    OPENBLAS_NUM_THREADS=1 python bench/profile_overhead.py \\
        --out bench/results/profile_overhead.md
"""

from __future__ import annotations

import argparse
import functools
import gc
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import funcad
from _machine import describe_machine
from eager import Target

LENGTH = 200
# At most so many percent, for operations that take longer than so many us.
GOAL, FROM = 5.0, 50.0
SIZES = {
    "tanh": (1_000, 4_000, 8_000, 32_000),
    "matrix product": (48, 100, 128, 200),
}


def chain(name: str) -> Callable[..., Any]:
    """A scalar function that does one thing many times."""

    def tanh(x: Any) -> Any:
        for _ in range(LENGTH):
            x = np.tanh(x)
        return np.sum(x)

    def product(x: Any, w: Any) -> Any:
        for _ in range(LENGTH):
            x = x @ w
        return np.sum(x)

    return tanh if name == "tanh" else product


def arguments(name: str, size: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    if name == "tanh":
        return (rng.standard_normal(size),)
    return tuple(rng.standard_normal((2, size, size)) / np.sqrt(size))


def least(runs: Mapping[str, Callable[[], Any]], budget: float) -> dict[str, float]:
    """Least seconds of the thread that a call of each run takes, in turns."""
    taken = dict.fromkeys(runs, float("inf"))
    end = time.perf_counter() + budget
    turns = list(runs.items())
    while time.perf_counter() < end:
        # what was left behind is not for the runs to clean up
        gc.collect()
        turns.reverse()  # each comes last, when all is warm, in half of the rounds
        for name, run in turns:
            start = time.thread_time()
            result = run()
            taken[name] = min(taken[name], time.thread_time() - start)
            del result
    return taken


def measure(name: str, size: int, budget: float) -> tuple[str, list[Target]]:
    """A row of the table, and the targets in it."""
    f, args = chain(name), arguments(name, size)
    cells = [f"{name}, {size}"]
    targets = []
    for form, g in (
        ("plain", f),
        ("gradient", funcad.grad(f)),
        ("jitted", funcad.jit(f)),
    ):
        profiled = funcad.profile(g)
        recorded = len(profiled(*args).operations)
        seconds = least(
            {
                "without": functools.partial(g, *args),
                "with": functools.partial(profiled, *args),
            },
            budget / 3,
        )
        without = seconds["without"] / recorded * 1e6
        more = seconds["with"] / recorded * 1e6 - without
        percent = 100 * more / without
        cells += [f"{without:.1f}", f"{more:.1f}", f"{percent:.1f}%"]
        if without > FROM:
            title = f"{name}, {size}, {form}: {without:.0f} us an operation, % more"
            targets.append(Target(title, percent, GOAL))
    return f"| {' | '.join(cells)} |", targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument(
        "--seconds", type=float, default=15.0, help="for each row of the table"
    )
    options = parser.parse_args()
    head = ["chain of"]
    for form in ("plain", "gradient", "jitted"):
        head += [f"{form}: us an operation", "us more", "more"]
    lines = [
        "# What profiling costs",
        "",
        describe_machine("numpy"),
        "",
        f"Chains of {LENGTH} operations, with all that `profile` does, once a call "
        "too, for each operation that it records: the operations of a gradient are "
        "those of its derivative, too. Least CPU time of the thread in many turns, "
        "with and without in alternation.",
        "",
        f"| {' | '.join(head)} |",
        f"| --- |{' ---: |' * (len(head) - 1)}",
    ]
    # a collection before each turn that walked through all that is imported would push
    # the code that runs once a call out of the caches
    gc.freeze()
    targets: list[Target] = []
    for name, sizes in SIZES.items():
        for size in sizes:
            row, found = measure(name, size, options.seconds)
            lines.append(row)
            targets += found
    lines += ["", "## Targets", "", "| | | at most | |", "| --- | ---: | ---: | --- |"]
    lines += map(str, targets)
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
