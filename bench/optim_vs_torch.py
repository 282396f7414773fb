"""Every optimiser beside torch's: how far apart after 50 steps, and how long a step.

Deviations are of float64 parameters that both sides move by the same random gradients;
torch has no Lion, so that one is compared with its published formula in torch
operations.  Times are of a step (update and apply) in float32 at a small transformer's
sizes, 100 arrays of 10,000 parameters, in turns; torch moves its parameters in place,
with the loop over parameters that is its default on a CPU and with foreach=True.

Half of funcad's time can be the system's, which maps fresh memory at every step: glibc
returns freed memory at once, until a program has freed a large array, as the gradient
of a large model does.  The column "kept" is after that.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from _machine import describe_machine
from _timing import interleaved_medians
from funcad import optim

STEPS = 50
TOLERANCE = 1e-12
LEAVES, SIZE = 100, 10_000

Pair = tuple[optim.GradientTransformation, Callable[..., torch.optim.Optimizer]]


class Lion(torch.optim.Optimizer):
    """Chen et al., 'Symbolic discovery of optimization algorithms', program 1."""

    def __init__(self, params: Any, foreach: bool | None = None, **settings: Any):
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            (b1, b2), lr = group["betas"], group["lr"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                direction = torch.sign(b1 * m + (1 - b1) * p.grad)
                p -= lr * (direction + group["weight_decay"] * p)
                m.mul_(b2).add_(p.grad, alpha=1 - b2)


def torch_optimiser(kind: type, **settings: Any) -> Callable[..., Any]:
    return lambda params, foreach=None: kind(params, foreach=foreach, **settings)


def pairs() -> dict[str, Pair]:
    sgd, rmsprop = torch.optim.SGD, torch.optim.RMSprop
    rms = {"lr": 0.01, "alpha": 0.9, "eps": 1e-8}
    return {
        "sgd": (optim.sgd(0.1), torch_optimiser(sgd, lr=0.1)),
        "sgd, momentum": (
            optim.sgd(0.1, momentum=0.9),
            torch_optimiser(sgd, lr=0.1, momentum=0.9),
        ),
        "sgd, Nesterov": (
            optim.sgd(0.1, momentum=0.9, nesterov=True),
            torch_optimiser(sgd, lr=0.1, momentum=0.9, nesterov=True),
        ),
        "adam": (optim.adam(0.01), torch_optimiser(torch.optim.Adam, lr=0.01)),
        "adamw": (
            optim.adamw(0.01, weight_decay=0.1),
            torch_optimiser(torch.optim.AdamW, lr=0.01, weight_decay=0.1),
        ),
        "rmsprop": (
            optim.rmsprop(0.01, eps_in_sqrt=False),
            torch_optimiser(rmsprop, **rms),
        ),
        "rmsprop, centered, momentum": (
            optim.rmsprop(0.01, eps_in_sqrt=False, centered=True, momentum=0.5),
            torch_optimiser(rmsprop, **rms, centered=True, momentum=0.5),
        ),
        "adagrad": (
            optim.adagrad(0.1, initial_accumulator_value=0.1, eps=0.0),
            torch_optimiser(
                torch.optim.Adagrad, lr=0.1, initial_accumulator_value=0.1, eps=0.0
            ),
        ),
        "lion (formula)": (
            optim.lion(0.01, weight_decay=0.1),
            torch_optimiser(Lion, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1),
        ),
    }


def deviation(ours: optim.GradientTransformation, theirs: Callable[..., Any]) -> float:
    """Largest difference of a parameter, relative to its size where that is above 1."""
    random = np.random.default_rng(0)
    shapes = [(7, 5), (5,), (3, 2, 4), ()]
    params = [np.asarray(random.normal(size=shape)) for shape in shapes]
    tensors = [torch.tensor(p, requires_grad=True) for p in params]
    optimiser, state = theirs(tensors), ours.init(params)
    for _ in range(STEPS):
        grads = [np.asarray(random.normal(size=shape)) for shape in shapes]
        updates, state = ours.update(grads, state, params)
        params = optim.apply_updates(params, updates)
        for tensor, g in zip(tensors, grads, strict=True):
            tensor.grad = torch.tensor(g)
        optimiser.step()
    return max(
        float(np.max(np.abs(p - tensor.detach().numpy()) / np.maximum(np.abs(p), 1)))
        for p, tensor in zip(params, tensors, strict=True)
    )


def timed_steps(
    ours: optim.GradientTransformation, theirs: Callable[..., Any]
) -> dict[str, Callable[[], None]]:
    random = np.random.default_rng(0)
    params = [random.normal(size=SIZE).astype(np.float32) for _ in range(LEAVES)]
    grads = [random.normal(size=SIZE).astype(np.float32) for _ in range(LEAVES)]
    held = {"params": params, "state": ours.init(params)}

    def step() -> None:
        updates, held["state"] = ours.update(grads, held["state"], held["params"])
        held["params"] = optim.apply_updates(held["params"], updates)

    def torch_step(foreach: bool | None) -> Callable[[], None]:
        tensors = [torch.tensor(p, requires_grad=True) for p in params]
        for tensor, g in zip(tensors, grads, strict=True):
            tensor.grad = torch.tensor(g)
        return theirs(tensors, foreach=foreach).step

    return {
        "funcad": step,
        "torch": torch_step(None),
        "foreach": torch_step(True),
    }


def milliseconds(rounds: int) -> dict[str, dict[str, float]]:
    table = {}
    for name, pair in pairs().items():
        seconds = interleaved_medians(timed_steps(*pair), rounds=rounds, budget=5.0)
        table[name] = {library: 1e3 * taken for library, taken in seconds.items()}
    return table


def release_large_array() -> None:
    np.ones(31 << 17)  # 31 MiB, just under the most that glibc learns from


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=pathlib.Path, help="write the table to this file")
    arguments = parser.parse_args()

    apart = {name: deviation(*pair) for name, pair in pairs().items()}
    failed = [name for name, largest in apart.items() if not largest <= TOLERANCE]
    fresh = milliseconds(arguments.rounds)
    release_large_array()
    kept = milliseconds(arguments.rounds)
    rows = []
    for name, largest in apart.items():
        times = [fresh[name]["funcad"], *kept[name].values()]
        ratios = [kept[name]["funcad"] / kept[name][x] for x in ("torch", "foreach")]
        cells = [f"{largest:.1e}", *[f"{x:.2f}" for x in times + ratios]]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    verdict = f"FAIL: {', '.join(failed)}" if failed else "pass"
    report = "\n".join(
        [
            "# Optimisers beside torch's",
            "",
            describe_machine("numpy", "torch"),
            f"- largest relative deviation after {STEPS} float64 steps; "
            f"milliseconds of a float32 step of {LEAVES} x {SIZE:,} parameters, "
            f"medians of {arguments.rounds} interleaved rounds, "
            f"torch on {torch.get_num_threads()} threads",
            "",
            "| | max deviation | funcad ms | kept | torch ms | foreach "
            "| kept / torch | kept / foreach |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            *rows,
            "",
            f"Deviations at most {TOLERANCE:.0e}: {verdict}. Lion's torch side is its "
            "formula written with torch's operations, without foreach.",
        ]
    )
    print(report)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(report + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
