"""Fused products beside their compositions: seconds and memory, forward and backward.

`nn.matmul_softmax(a, b)` is timed beside `nn.softmax(np.matmul(a, b))` and beside the
same in lines of NumPy, and the pullbacks (`vjp`) of the three beside each other;
layer_norm likewise.  Operands are float32.
The calls alternate in one process, so that drifts of the machine hit both alike.

Ratios are of medians: how many times as fast the fused function is.  "product" and
"products" are the parts of the composition's forward and backward times that the one
and the two products alone take.  Memory is the most bytes that tracemalloc sees held
over what there was before, as a ratio likewise.
"""

from __future__ import annotations

import argparse
import functools
import gc
import pathlib
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import funcad
from _machine import describe_machine
from funcad import nn

SIZES = (64, 128, 256, 512, 1024, 2048)
SQUARE = [(n, n, n) for n in SIZES]
TALL = [(2048, k, n) for k in (64, 128, 256) for n in (64, 256, 1024, 2048)]
TALL += [(m, 64, 64) for m in (512, 16384)]


def lines_of_softmax(a: Any, b: Any) -> Any:
    x = np.matmul(a, b)
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def lines_of_layer_norm(a: Any, b: Any) -> Any:
    x = np.matmul(a, b)
    centred = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5)


# fused, composed of funcad's functions, composed of NumPy's
FUNCTIONS: dict[str, tuple[Callable[..., Any], ...]] = {
    "softmax": (
        nn.matmul_softmax,
        lambda a, b: nn.softmax(np.matmul(a, b)),
        lines_of_softmax,
    ),
    "layer norm": (
        nn.matmul_layer_norm,
        lambda a, b: nn.layer_norm(np.matmul(a, b)),
        lines_of_layer_norm,
    ),
}
COMPOSED = "composed", "lines"
SIDES = "forward", "backward"

NEVER_SLOWER = 0.97
"""Medians of the same calls differ by three in a hundred from run to run."""

FASTER = 1.3
"""Where less than half of the composition's time is products."""


class Row(NamedTuple):
    """What was found for one function and shape; ratios by side and composition."""

    name: str
    milliseconds: float
    products: dict[str, float]
    speed: dict[tuple[str, str], float]
    memory: dict[tuple[str, str], float]

    def __str__(self) -> str:
        cells = [
            self.name,
            f"{self.milliseconds:.3f}",
            *[f"{100 * part:.0f}%" for part in self.products.values()],
            *[f"{x:.2f}" for x in (*self.speed.values(), *self.memory.values())],
        ]
        return f"| {' | '.join(cells)} |"


def alternating_medians(
    runs: Mapping[str, Callable[[], Any]], budget: float, least: int = 5
) -> dict[str, float]:
    """Median seconds of single calls that take turns, each after one untimed call."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    begin = time.perf_counter()
    gc.collect()
    while (
        time.perf_counter() - begin < budget
        or len(min(taken.values(), key=len)) < least
    ):
        for name, run in runs.items():
            run()
            start = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def peak(run: Callable[[], Any]) -> int:
    """Most bytes that a call holds, its result included."""
    gc.collect()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def pullback(function: Callable[..., Any], a: Any, b: Any, ct: Any) -> Any:
    f_vjp = funcad.vjp(function, a, b)[1]
    return lambda: f_vjp(ct)


def measure(kind: str, shape: tuple[int, int, int], budget: float) -> Row:
    m, k, n = shape
    rng = np.random.default_rng(0)
    a = rng.normal(0, k**-0.5, (m, k)).astype(np.float32)
    b = rng.normal(size=(k, n)).astype(np.float32)
    ct = rng.normal(size=(m, n)).astype(np.float32)
    runs: dict[str, Callable[[], Any]] = {
        "product, forward": lambda: np.matmul(a, b),
        "product, backward": lambda: (np.matmul(ct, b.T), np.matmul(a.T, ct)),
    }
    for name, f in zip(("fused", *COMPOSED), FUNCTIONS[kind]):
        runs[f"{name}, forward"] = functools.partial(f, a, b)
        runs[f"{name}, backward"] = pullback(f, a, b, ct)
    seconds = alternating_medians(runs, budget)
    memory = {name: peak(run) for name, run in runs.items()}

    def ratios(of: Mapping[str, float]) -> dict[tuple[str, str], float]:
        return {
            (side, name): of[f"{name}, {side}"] / of[f"fused, {side}"]
            for side in SIDES
            for name in COMPOSED
        }

    return Row(
        f"{kind} | {m} x {k} x {n}",
        1e3 * seconds["composed, forward"],
        {s: seconds[f"product, {s}"] / seconds[f"composed, {s}"] for s in SIDES},
        ratios(seconds),
        ratios(memory),
    )


def verdicts(rows: Sequence[Row]) -> Iterator[str]:
    """Lines that say of each goal whether it is reached, and where it is least so."""
    for title, goal, share in (
        ("never slower", NEVER_SLOWER, 1.0),
        ("faster where products take under half", FASTER, 0.5),
    ):
        for side in SIDES:
            for name in COMPOSED:
                meant = [row for row in rows if row.products[side] < share]
                if not meant:
                    continue
                worst = min(meant, key=lambda row: row.speed[side, name])
                least = worst.speed[side, name]
                reached = sum(row.speed[side, name] >= goal for row in meant)
                yield (
                    f"| {title}, {side}, {name} | {goal} | {reached} of {len(meant)} "
                    f"| {least:.2f}: {worst.name.replace(' |', ',')} "
                    f"| {'pass' if least >= goal else 'FAIL'} |"
                )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--budget", type=float, default=4, help="seconds a row")
    parser.add_argument("--out", type=pathlib.Path, help="write the table to this file")
    arguments = parser.parse_args()
    rows = [
        measure(kind, shape, arguments.budget)
        for shapes in (SQUARE, TALL)
        for shape in shapes
        for kind in FUNCTIONS
    ]
    report = "\n".join(
        [
            "# Fused products",
            "",
            describe_machine("numpy"),
            "- float32, (m, k) times (k, n); how many times as fast the fused function "
            "is, and how many times as much memory the composition holds",
            "- medians of calls that take turns; product, products: what these alone "
            "take of the composition's forward and backward time",
            "- composed: of `np.matmul` and `nn.softmax` or `nn.layer_norm`; lines: of "
            "NumPy's functions, as one writes the formulas",
            "",
            "| | m x k x n | composed ms | product | products, backward "
            "| forward: composed | lines | backward: composed | lines "
            "| memory, forward: composed | lines | backward: composed | lines |",
            f"| --- | --- |{' ---: |' * 11}",
            *map(str, rows),
            "",
            "## Goals",
            "",
            f"A ratio of {NEVER_SLOWER} is not told from 1: medians of the same calls "
            "differ by that much from run to run.",
            "",
            "| | at least | rows that reach it | least | |",
            "| --- | ---: | ---: | --- | --- |",
            *verdicts(rows),
        ]
    )
    print(report)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(report + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
