"""How much slower a function is while ``funcad.profile`` records its operations.

Chains of one operation on arrays of several sizes, run plainly and under the profiler
in turns, in one process; figures are medians, and ratios of them.

    python bench/profile_overhead.py --out bench/results/profile_overhead.md
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

import funcad
from _machine import describe_machine
from _timing import interleaved_medians

LENGTH = 40
SIZES = {
    "tanh": (1_000, 4_000, 16_000, 64_000),
    "matrix product": (32, 64, 128, 256),
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


def measure(name: str, size: int, rounds: int) -> str:
    """A row of the table."""
    f, args = chain(name), arguments(name, size)
    forms = {"plain": f, "gradient": funcad.grad(f), "jitted": funcad.jit(f)}
    runs = {}
    for form, g in forms.items():
        profiled = funcad.profile(g)
        runs[form] = lambda g=g: g(*args)
        runs[f"{form}, profiled"] = lambda profiled=profiled: profiled(*args)
    seconds = interleaved_medians(runs, rounds=rounds, budget=2.0)
    reports = [funcad.profile(f)(*args) for _ in range(9)]
    counted = sorted(sum(o.seconds for o in r.operations) for r in reports)[4]
    recording = sorted(r.overhead / len(r.operations) for r in reports)[4]
    each = seconds["plain"] / (LENGTH + 1)
    ratios = [seconds[f"{form}, profiled"] / seconds[form] for form in forms]
    cells = [
        f"{name}, {size}",
        f"{each * 1e6:.1f}",
        *(f"{ratio:.3f}" for ratio in ratios),
        f"{counted / seconds['plain']:.3f}",
        f"{recording * 1e6:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    head = (
        *("operation", "us an operation", "plain", "gradient", "jitted"),
        *("seconds reported", "us to record one"),
    )
    lines = [
        "# What profiling costs",
        "",
        describe_machine("numpy"),
        "",
        f"Chains of {LENGTH} operations. *plain*, *gradient* and *jitted*: time of the "
        "profiled function over that of the function, with all that `profile` does. "
        "*seconds reported*: what the report says that the operations of the plain "
        "chain took, over the time of the chain without a profiler.",
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
