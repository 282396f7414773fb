"""A training step of Trompt: naive, rearranged, compiled, and the same in PyTorch.

Everything runs in this one process, the fast ones taking turns; figures are medians.
All begin with the same parameters, and their first two losses must agree.

    python bench/trompt.py --out bench/results/trompt.md
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from _machine import describe_machine
from _timing import interleaved_medians
from funcad.examples import trompt

TIMES_NAIVE = 100
"""How many times the naive step's speed the compiled one is to have."""
NAIVE, EAGER, JIT, TORCH = (
    "naive, eager",
    "rearranged, eager",
    "rearranged, jit",
    "rearranged, PyTorch",
)

Params = dict[str, torch.Tensor]


def rearranged(params: Params, x: torch.Tensor) -> torch.Tensor:
    """`trompt.rearranged`, line by line in PyTorch."""
    cells, columns, width = params["column"].shape
    w, v = params["expand"], params["expand_bias"]

    column_t = params["column"].transpose(1, 2)
    folded = params["dense"] @ column_t
    of_prompt, of_output = folded[:, :width] + column_t, folded[:, width:] + column_t
    own = params["prompt"] @ of_prompt + params["dense_bias"][:, None] @ column_t
    first = F.softmax(own[0] + params["start"] @ of_output[0], -1)
    of_output = of_output[1:]
    own = own[1:] + v[:-1, :, None] * of_output.sum(1)[:, None]
    own = own.transpose(1, 2)

    readers = torch.cat([of_output, torch.zeros_like(column_t[:1])])
    attend = params["attend"][:, None].expand(cells, width, 1)
    readers = torch.cat([readers, attend], 2)
    scale, shift = params["scale"][:, None], params["shift"][:, None]

    line = torch.stack([params["feature"], params["feature_bias"]], 2)
    x_and_one = torch.stack([x.T, torch.ones_like(x.T)], 2)
    features = F.layer_norm(F.relu(x_and_one @ line), (width,))
    flat = features.reshape(cells, -1, width)
    read = flat @ (scale.transpose(1, 2) * readers) + shift @ readers
    read = read.reshape(cells, columns, -1, columns + 1).permute(0, 2, 3, 1)

    weights, offsets = [], []
    importances = first.T
    for cell in range(cells):
        product = read[cell] @ importances * w[cell]
        attention = product[:, -1] + v[cell] * params["attend"].sum()
        attention = F.softmax(attention, -1)
        weights.append(applied(importances, attention * w[cell]))
        offsets.append(attention @ v[cell])
        if cell < cells - 1:
            importances = F.softmax(product[:, :-1] + own[cell], 1)

    weight = torch.stack(weights)[:, :, None]
    pooled = (weight @ features.transpose(1, 2))[:, :, 0] * scale
    pooled = pooled + weight.sum(3) * shift + torch.stack(offsets)[..., None]
    hidden = F.relu(pooled @ params["hidden"] + params["hidden_bias"])
    return hidden @ params["out"] + params["out_bias"]


def applied(importances: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
    if importances.ndim == 2:
        return attention @ importances.T
    return (importances @ attention[:, :, None])[:, :, 0]


def torch_training(
    sizes: trompt.Sizes, x: np.ndarray, y: np.ndarray, seed: int
) -> Callable[[], torch.Tensor]:
    """A function that makes a step, with PyTorch's AdamW in one kernel."""
    initial = trompt.init_params(np.random.default_rng(seed), sizes, x.dtype)
    params = {k: torch.tensor(p, requires_grad=True) for k, p in initial.items()}
    optimiser = torch.optim.AdamW(
        list(params.values()), 1e-3, weight_decay=1e-4, fused=True
    )
    inputs, targets = torch.tensor(x), torch.tensor(y)

    def run() -> torch.Tensor:
        optimiser.zero_grad()
        loss = ((rearranged(params, inputs) - targets) ** 2).mean()
        loss.backward()
        optimiser.step()
        return loss.detach()

    return run


class Contest:
    """The ways to train on batches of one size, and the losses of their first steps.

    The naive one comes last, when all sizes of batches have been timed: its large
    arrays leave the allocator in a state in which it keeps more memory than in a
    training of the others alone.
    """

    def __init__(self, sizes: trompt.Sizes, batch: int) -> None:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((batch, sizes.columns), np.float32)
        y = rng.standard_normal(batch, np.float32)
        self.batch = batch
        self.runs = trompt.contestants(sizes, x, y)
        self.runs[TORCH] = torch_training(sizes, x, y, 0)
        self.naive = self.runs.pop(NAIVE)
        self.losses = [
            {name: float(run()) for name, run in self.runs.items()} for _ in range(2)
        ]

    def fast(self, rounds: int) -> dict[str, float]:
        """Rows per second of all but the naive one."""
        seconds = interleaved_medians(self.runs, rounds=rounds, budget=6.0)
        return {name: self.batch / s for name, s in seconds.items()}

    def slow(self) -> dict[str, float]:
        """Rows per second of the naive one, if all losses agree."""
        for number, losses in enumerate(self.losses, 1):
            losses[NAIVE] = float(self.naive())
            if not np.allclose(list(losses.values()), losses[NAIVE], rtol=1e-4):
                raise SystemExit(f"the losses of step {number} differ: {losses}")
        taken = []
        for _ in range(3):
            start = time.perf_counter()
            self.naive()
            taken.append(time.perf_counter() - start)
        return {NAIVE: self.batch / statistics.median(taken)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--out", type=pathlib.Path, help="write the report to this file"
    )
    parser.add_argument(
        "--batch",
        type=int,
        action="append",
        help="rows in a step (repeatable; default: 64, 128 and 256)",
    )
    parser.add_argument("--quick", action="store_true", help="few rounds, small sizes")
    arguments = parser.parse_args()

    sizes = trompt.Sizes(8, 16, 16, 3) if arguments.quick else trompt.Sizes()
    rounds = 5 if arguments.quick else 41
    batches = arguments.batch or [64, 128, 256]
    machine = describe_machine("numpy", "torch")
    contests = [Contest(sizes, batch) for batch in batches]
    fast = [contest.fast(rounds) for contest in contests]
    found = {c.batch: c.slow() | rates for c, rates in zip(contests, fast)}

    rates = next(iter(found.values()))
    lines = [
        "# Training steps of Trompt",
        "",
        machine,
        f"- {sizes.columns} columns, {sizes.prompts} prompts, width {sizes.width}, "
        f"{sizes.cells} cells, float32; forward, backward and AdamW",
        f"- PyTorch, eager, with {torch.get_num_threads()} threads and its fused "
        "AdamW; BLAS as by default",
        f"- medians of at most {rounds} interleaved rounds in one process; then the "
        "naive step, the median of three: what it leaves in the allocator would change "
        "the others",
        "",
        "Rows per second:",
        "",
        f"| batch | {' | '.join(rates)} | jit / naive | jit / PyTorch |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for batch, rates in found.items():
        shown = " | ".join(
            f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}" for rate in rates.values()
        )
        to_naive, to_torch = rates[JIT] / rates[NAIVE], rates[JIT] / rates[TORCH]
        lines.append(f"| {batch} | {shown} | {to_naive:,.0f} | {to_torch:.2f} |")
    worst = min(r[JIT] / r[NAIVE] for r in found.values())
    least = min(r[JIT] / r[TORCH] for r in found.values())
    lines += [
        "",
        f"Compiled at least {TIMES_NAIVE} times as fast as naive, at every batch: "
        f"{'pass' if worst >= TIMES_NAIVE else 'FAIL'}. "
        f"Ahead of PyTorch at every batch: {'pass' if least > 1 else 'FAIL'}.",
    ]
    text = "\n".join(lines)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
