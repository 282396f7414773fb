"""Memory and evaluations of a chain of layers, strategy by strategy, beside theory.

The gradient of a chain of 16 to 1,024 layers is taken with every strategy of
``checkpoint_chain``.  Each layer counts its evaluations; tracemalloc, which sees
NumPy's arrays, finds the peak of memory.  Both are checked against theory in the same
run: the evaluations exactly, the memory within a few states of what the schedule holds
and what one layer takes while it is at work, which is measured first.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import funcad
from _machine import describe_machine
from funcad.core.tracing import Primitive
from funcad.transforms.schedules import fewest_evaluations

LENGTHS = (16, 32, 64, 128, 256, 512, 1024)
SIZE = 8192
SLACK = 8
"""States that a run may take beyond those of theory, for programs and lists."""


class Strategy(NamedTuple):
    label: str
    strategy: str
    slots: int | None
    evaluations: Callable[[int], float]
    held: Callable[[int], float]
    exact: bool = True
    """Whether ``evaluations`` and ``held`` are exact, or bounds."""


STRATEGIES = (
    Strategy("store-all", "store-all", None, lambda n: n, lambda n: n),
    Strategy(
        "recompute-all", "recompute-all", None, lambda n: n * (n + 1) / 2, lambda n: 2
    ),
    Strategy(
        "sqrt", "sqrt", None, lambda n: 2 * n, lambda n: 2 * math.sqrt(n), exact=False
    ),
    *(
        Strategy(
            f"revolve, {slots} slots",
            "revolve",
            slots,
            lambda n, slots=slots: fewest_evaluations(n, slots),
            lambda n, slots=slots: min(n, slots + 1),
        )
        for slots in (4, 10)
    ),
)


class Run(NamedTuple):
    strategy: Strategy
    n: int
    evaluations: int
    states: float
    """Peak memory, in states."""
    seconds: float
    gradient: np.ndarray
    at_work: float
    """What a layer at work takes, in states."""

    @property
    def theory(self) -> float:
        """Peak memory, in states, that is to be expected."""
        return self.strategy.held(self.n) + self.at_work

    @property
    def faults(self) -> list[str]:
        """What is not as theory has it."""
        theory, held = self.strategy.evaluations(self.n), self.theory
        found = []
        if self.strategy.exact and self.evaluations != theory:
            found.append(f"{self.evaluations} evaluations, not {theory:g}")
        if not self.strategy.exact and self.evaluations >= theory:
            found.append(f"{self.evaluations} evaluations, not less than {theory:g}")
        if self.states > held + SLACK:
            found.append(f"{self.states:.1f} states, more than {held:.1f} + {SLACK}")
        if self.strategy.exact and self.states < held - self.at_work:
            found.append(f"{self.states:.1f} states, too few to be {held:.1f}")
        return [f"{self.strategy.label}, {self.n} layers: {x}" for x in found]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--longest", type=int, default=LENGTHS[-1])
    parser.add_argument("--out", type=pathlib.Path, help="write the table to this file")
    arguments = parser.parse_args()

    x = np.linspace(0.1, 1.0, SIZE)
    measure(STRATEGIES[0], 2, x, 0.0)  # what is imported and cached by the first run
    # a chain of two layers holds two states, and the rest is the layer at work
    two = max(measure(strategy, 2, x, 0.0).states for strategy in STRATEGIES)
    at_work = two - 2
    runs = [
        measure(strategy, n, x, at_work)
        for n in LENGTHS
        if n <= arguments.longest
        for strategy in STRATEGIES
    ]
    faults = [fault for run in runs for fault in run.faults] + disagreements(runs)
    report = "\n".join(
        [
            "# Checkpointing a chain of layers",
            "",
            describe_machine("numpy"),
            f"- states of {x.nbytes // 1024} KiB; peak memory by tracemalloc in states",
            "- theory: evaluations exactly (sqrt: fewer); the states held and "
            f"{at_work:.1f} of the layer at work, and up to {SLACK} for programs",
            "",
            "| layers | strategy | evaluations | theory | peak, states | theory | s |",
            "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
            *map(row, runs),
            "",
            verdict(faults),
        ]
    )
    print(report)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(report + "\n")
        plot(runs, arguments.out.with_suffix(".png"))
    return 1 if faults else 0


def measure(strategy: Strategy, n: int, x: np.ndarray, at_work: float) -> Run:
    layer, count = counting_layer()
    layers, name = [layer] * n, strategy.strategy
    chain = funcad.checkpoint_chain(layers, name, slots=strategy.slots)
    loss = funcad.grad(lambda x: np.sum(chain(x)))
    tracemalloc.start()
    start = time.perf_counter()
    gradient = loss(x)
    seconds = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1] / x.nbytes
    tracemalloc.stop()
    return Run(strategy, n, count(), peak, seconds, gradient, at_work)


def counting_layer() -> tuple[Callable[[Any], Any], Callable[[], int]]:
    """The layer x - x^3 / 100, and how often it has been evaluated."""
    evaluations = 0

    def evaluate(x: Any) -> Any:
        nonlocal evaluations
        evaluations += 1
        y = x * x
        y *= x
        y *= -0.01
        y += x
        return y

    def jvp(ans: Any, primals: Any, tangents: Any, params: Any) -> Any:
        (x,), (t,) = primals, tangents
        return None if t is None else t * (1.0 - 0.03 * (x * x))

    layer = Primitive("layer", evaluate, lambda x: (x.shape, x.dtype), jvp=jvp)
    return layer, lambda: evaluations


def disagreements(runs: list[Run]) -> list[str]:
    """Runs of one length whose gradients differ in any bit."""
    first = {run.n: run.gradient for run in reversed(runs)}
    return [
        f"{run.strategy.label}, {run.n} layers: another gradient"
        for run in runs
        if not np.array_equal(run.gradient, first[run.n])
    ]


def row(run: Run) -> str:
    bound = "" if run.strategy.exact else "< "
    return (
        f"| {run.n} | {run.strategy.label} | {run.evaluations} | "
        f"{bound}{run.strategy.evaluations(run.n):.0f} | {run.states:.1f} | "
        f"{run.theory:.1f} | {run.seconds:.3f} |"
    )


def verdict(faults: list[str]) -> str:
    if not faults:
        return (
            "Evaluations and memory are those of theory, and all gradients of a length "
            "are equal to the last bit: pass."
        )
    return "\n".join(["FAIL:", "", *(f"- {fault}" for fault in faults)])


def plot(runs: list[Run], path: pathlib.Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
    at_work = runs[0].at_work
    panels = (
        (axes[0], "peak memory, in states", "states", "held", at_work),
        (axes[1], "evaluations of a layer", "evaluations", "evaluations", 0.0),
    )
    lengths = np.unique([run.n for run in runs])
    fine = np.unique(np.geomspace(lengths[0], lengths[-1], 60).astype(int))
    for ax, title, measured, theory, more in panels:
        for i, strategy in enumerate(STRATEGIES):
            own = [run for run in runs if run.strategy is strategy]
            line = getattr(strategy, theory)
            values = [line(int(n)) + more for n in fine]
            ax.plot(fine, values, "-", color=f"C{i}", alpha=0.5)
            ax.plot(
                [run.n for run in own],
                [getattr(run, measured) for run in own],
                "osD^v"[i],
                color=f"C{i}",
                markersize=5,
                label=strategy.label,
            )
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xticks(lengths, [str(n) for n in lengths])
        ax.minorticks_off()
        ax.set_xlabel("layers")
        ax.set_title(title)
        ax.grid(alpha=0.3)
    axes[0].plot([], [], "-", color="gray", label="theory")
    axes[0].set_xlabel(f"layers (theory: states held + {at_work:.1f} of one at work)")
    axes[0].legend(fontsize=9)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
