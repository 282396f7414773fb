"""How much slower a function is while ``funcad.profile`` records its operations.

Chains of one operation on arrays of several sizes, run plainly and under the profiler
in turns, in one process.  Figures are the least CPU time of the thread in many turns,
and ratios of such: another process on the machine takes none of it.

    OPENBLAS_NUM_THREADS=1 python bench/profile_overhead.py \\
        --out bench/results/profile_overhead.md
"""

from __future__ import annotations

import argparse
import gc
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import funcad
from _machine import describe_machine

LENGTH = 200
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


def least(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Least seconds of the thread that a call of each run takes, in turns."""
    taken = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            gc.collect()
            run()  # brings its code and arrays back into the caches
            start = time.thread_time()
            run()
            taken[name] = min(taken[name], time.thread_time() - start)
    return taken


def measure(name: str, size: int, rounds: int) -> str:
    """A row of the table."""
    f, args = chain(name), arguments(name, size)
    forms = {"plain": f, "gradient": funcad.grad(f), "jitted": funcad.jit(f)}
    runs = {}
    for form, g in forms.items():
        profiled = funcad.profile(g)
        runs[form] = lambda g=g: g(*args)
        runs[f"{form}, profiled"] = lambda profiled=profiled: profiled(*args)
    seconds = least(runs, rounds)
    cells = [f"{name}, {size}"]
    for form, g in forms.items():
        recorded = len(funcad.profile(g)(*args).operations)
        more = seconds[f"{form}, profiled"] - seconds[form]
        cells += [
            f"{seconds[form] / recorded * 1e6:.1f}",
            f"{more / recorded * 1e6:.1f}",
            f"{more / seconds[form]:.1%}",
        ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    head = ["chain of"]
    for form in ("plain", "gradient", "jitted"):
        head += [f"{form}: us an operation", "us more", "more"]
    lines = [
        "# What profiling costs",
        "",
        describe_machine("numpy"),
        "",
        f"Chains of {LENGTH} operations, with all that `profile` does, for each "
        "operation that it records: the operations of a gradient are those of its "
        "derivative, too. Least CPU time of the thread.",
        "",
        f"| {' | '.join(head)} |",
        f"| --- |{' ---: |' * (len(head) - 1)}",
    ]
    for name, sizes in SIZES.items():
        lines += [measure(name, size, options.rounds) for size in sizes]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
