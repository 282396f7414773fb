"""Fused products beside their compositions: seconds and memory, forward and backward.

`nn.matmul_softmax(a, b)` is timed beside `nn.softmax(np.matmul(a, b))` and beside the
same in lines of NumPy, and the pullbacks (`vjp`) of the three beside each other;
layer_norm likewise.  Operands are float32.
The calls alternate in one process, so that drifts of the machine hit both alike.

Ratios are of medians: how many times as fast the fused function is.  "product" is the
part of the composition's forward time that np.matmul alone takes.  Memory is the most
bytes that tracemalloc sees held over what there was before, as a ratio likewise.
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
from collections.abc import Callable, Mapping
from typing import Any

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


def row(kind: str, shape: tuple[int, int, int], budget: float) -> str:
    m, k, n = shape
    rng = np.random.default_rng(0)
    a = rng.normal(0, k**-0.5, (m, k)).astype(np.float32)
    b = rng.normal(size=(k, n)).astype(np.float32)
    ct = rng.normal(size=(m, n)).astype(np.float32)
    runs: dict[str, Callable[[], Any]] = {"product": lambda: np.matmul(a, b)}
    for name, f in zip(("fused", *COMPOSED), FUNCTIONS[kind]):
        runs[name] = functools.partial(f, a, b)
        runs[f"{name}, back"] = pullback(f, a, b, ct)
    seconds = alternating_medians(runs, budget)
    memory = {name: peak(run) for name, run in runs.items()}

    def ratios(of: Mapping[str, float]) -> list[float]:
        return [
            of[f"{name}{side}"] / of[f"fused{side}"]
            for side in ("", ", back")
            for name in COMPOSED
        ]

    cells = [
        f"{1e3 * seconds['composed']:.3f}",
        f"{100 * seconds['product'] / seconds['composed']:.0f}%",
        *(f"{x:.2f}" for x in (*ratios(seconds), *ratios(memory))),
    ]
    return f"| {kind} | {m} x {k} x {n} | {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--budget", type=float, default=1.5, help="seconds a row")
    parser.add_argument("--out", type=pathlib.Path, help="write the table to this file")
    arguments = parser.parse_args()
    rows = [
        row(kind, shape, arguments.budget)
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
            "- medians of calls that take turns; product: what `np.matmul` alone takes "
            "of the composition's forward time",
            "- composed: of `np.matmul` and `nn.softmax` or `nn.layer_norm`; lines: of "
            "NumPy's functions, as one writes the formulas",
            "",
            "| | m x k x n | composed ms | product | forward: composed | lines "
            "| backward: composed | lines | memory, forward: composed | lines "
            "| backward: composed | lines |",
            f"| --- | --- |{' ---: |' * 10}",
            *rows,
        ]
    )
    print(report)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(report + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
