"""nanoGPT's CPU configuration trained with funcad and with PyTorch, in one run.

Both begin with the same parameters, see the same batches, and take turns of a few
steps, so that the machine's noise hits both equally. The C library is told to keep
freed memory, as the example tells it, which is good for both.

    python bench/nanogpt.py --data tinyshakespeare.txt --out bench/results/nanogpt.md
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from _machine import describe_machine
from funcad import random, tree
from funcad.examples.char_transformer import model, training
from funcad.examples.char_transformer.cli import keep_freed_memory
from funcad.examples.char_transformer.settings import PRESETS, Settings
from funcad.examples.char_transformer.text import (
    Batch,
    Corpus,
    make_corpus,
    read_text,
    sample_batch,
)

GOAL = 1.88
"""Validation loss in nanoGPT's README for this configuration."""
TURN = 50
"""Steps that one library takes while the other waits."""


class Contestant(NamedTuple):
    """A model in training, in one library."""

    step: Callable[[int], float]
    """Trains on the batch of that number and returns its loss."""
    loss: Callable[[Batch], float]
    """Without gradient."""


class Result(NamedTuple):
    """What came of it."""

    step_seconds: list[float]
    first_loss: float
    sampled_loss: float
    whole_loss: float


def funcad_contestant(
    settings: Settings, corpus: Corpus, keys: training.Keys
) -> Contestant:
    state = training.init_state(keys, len(corpus.vocabulary), settings)
    one_step = training.make_step(settings, corpus, keys, lambda batch: batch)

    def step(number: int) -> float:
        nonlocal state
        state, loss = one_step(state, number)
        return loss

    def loss(batch: Batch) -> float:
        return float(model.loss(state.params, batch, settings.heads))

    return Contestant(step, loss)


def torch_contestant(
    settings: Settings, corpus: Corpus, keys: training.Keys
) -> Contestant:
    start = model.init_params(keys.params, len(corpus.vocabulary), settings)
    params = tree.map(lambda p: torch.tensor(p, requires_grad=True), start)
    leaves = tree.leaves(params)
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in leaves if p.ndim > 1]},
            {"params": [p for p in leaves if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=(0.9, settings.beta2),
        weight_decay=settings.weight_decay,
    )

    def step(number: int) -> float:
        key = random.fold_in(keys.batches, number)
        batch = sample_batch(key, corpus.training, settings.batch, settings.block)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(number, settings)
        optimiser.zero_grad()
        value = torch_loss(params, batch, settings.heads)
        value.backward()
        torch.nn.utils.clip_grad_norm_(leaves, settings.clip)
        optimiser.step()
        return value.item()

    @torch.no_grad()
    def loss(batch: Batch) -> float:
        return torch_loss(params, batch, settings.heads).item()

    return Contestant(step, loss)


def torch_loss(params: Any, batch: Batch, heads: int) -> torch.Tensor:
    """`model.loss` as one writes it in PyTorch."""
    tokens, targets = map(torch.from_numpy, batch)
    width = params["norm"].shape[0]

    def normalised(h: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(h, (width,), gain)

    h = params["token"][tokens] + params["position"][: tokens.shape[1]]
    for block in params["blocks"]:
        weights = block["attention"]
        qkv = normalised(h, weights["norm"]) @ weights["qkv"]
        q, k, v = (
            x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in qkv.split(width, -1)
        )
        gathered = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + gathered.transpose(1, 2).flatten(2) @ weights["out"]
        weights = block["feed_forward"]
        up = normalised(h, weights["norm"]) @ weights["up"]
        h = h + F.gelu(up, approximate="tanh") @ weights["down"]
    logits = normalised(h, params["norm"]) @ params["token"].T
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def learning_rate(step: int, settings: Settings) -> float:
    """Up on a straight line, then down on half a cosine wave."""
    peak, end = settings.learning_rate, settings.final_learning_rate
    warmup = min(settings.warmup, settings.steps // 10)
    if step < warmup:
        return peak * step / warmup
    share = (step - warmup) / (settings.steps - warmup)
    return end + (peak - end) * 0.5 * (1 + math.cos(math.pi * share))


def compete(
    contestants: dict[str, Contestant],
    settings: Settings,
    corpus: Corpus,
    key: Any,
) -> dict[str, Result]:
    """Train all of them in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    first = {}
    for turn in range(0, settings.steps, TURN):
        numbers = range(turn, min(turn + TURN, settings.steps))
        # Who goes first alternates, too.
        names = list(contestants)[:: 1 if turn // TURN % 2 == 0 else -1]
        for name in names:
            for number in numbers:
                start = time.perf_counter()
                loss = contestants[name].step(number)
                seconds[name].append(time.perf_counter() - start)
                first.setdefault(name, loss)
        print(f"{numbers.stop} of {settings.steps} steps", file=sys.stderr, flush=True)
    sampled = [
        sample_batch(
            random.fold_in(key, i), corpus.validation, settings.batch, settings.block
        )
        for i in range(settings.eval_batches)
    ]
    whole = list(consecutive_batches(corpus.validation, settings))
    return {
        name: Result(
            seconds[name],
            first[name],
            statistics.fmean(map(contestant.loss, sampled)),
            statistics.fmean(map(contestant.loss, whole)),
        )
        for name, contestant in contestants.items()
    }


def consecutive_batches(tokens: np.ndarray, settings: Settings) -> Iterator[Batch]:
    """All windows of a text, side by side, but for an incomplete batch at the end."""
    size = settings.batch * settings.block
    for at in range(0, len(tokens) - size, size):
        windows = tokens[at : at + size + 1]
        shape = (settings.batch, settings.block)
        yield Batch(windows[:-1].reshape(shape), windows[1:].reshape(shape))


def report(results: dict[str, Result], settings: Settings, data: pathlib.Path) -> str:
    ours, theirs = results["funcad"], results["PyTorch"]
    apart = abs(ours.first_loss - theirs.first_loss)
    total = sum(ours.step_seconds) / sum(theirs.step_seconds)
    median = statistics.median(ours.step_seconds) / statistics.median(
        theirs.step_seconds
    )
    rows = [
        f"| {name} | {sum(r.step_seconds):.1f} "
        f"| {1e3 * statistics.median(r.step_seconds):.1f} "
        f"| {r.sampled_loss:.4f} | {r.whole_loss:.4f} |"
        for name, r in results.items()
    ]
    complete = settings.steps >= PRESETS["nanogpt-cpu"].steps
    verdict = "pass" if ours.sampled_loss <= GOAL else "FAIL"
    return "\n".join(
        [
            "# nanoGPT's CPU configuration",
            "",
            describe_machine("numpy", "torch"),
            f"- {settings.steps:,} steps of {settings.batch} x {settings.block} "
            f"characters of {data.name}; {settings.layers} layers, {settings.heads} "
            f"heads, {settings.channels} channels, {settings.dtype}, seed "
            f"{settings.seed}; PyTorch on {torch.get_num_threads()} threads",
            f"- the same start and the same batches, in turns of {TURN} steps; first "
            f"losses differ by {apart:.1e}",
            "",
            "| | seconds of training | ms per step, median "
            f"| validation loss, {settings.eval_batches} batches "
            "| validation loss, whole split |",
            "| --- | ---: | ---: | ---: | ---: |",
            *rows,
            "",
            f"funcad / PyTorch: {total:.2f} of all seconds, {median:.2f} of the median "
            "step.",
            *(
                [
                    f"Validation loss at most {GOAL}, the figure of nanoGPT's README: "
                    f"{verdict}."
                ]
                if complete
                else []
            ),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--data", type=pathlib.Path, required=True, help="Tiny Shakespeare"
    )
    parser.add_argument("--steps", type=int, default=PRESETS["nanogpt-cpu"].steps)
    parser.add_argument("--out", type=pathlib.Path, help="write the table to this file")
    arguments = parser.parse_args()
    keep_freed_memory()

    settings = dataclasses.replace(PRESETS["nanogpt-cpu"], steps=arguments.steps)
    corpus = make_corpus(read_text(arguments.data), settings.block)
    keys = training.split_key(random.key(settings.seed))
    contestants = {
        "funcad": funcad_contestant(settings, corpus, keys),
        "PyTorch": torch_contestant(settings, corpus, keys),
    }
    results = compete(contestants, settings, corpus, keys.evaluation)
    table = report(results, settings, arguments.data)
    print(table)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(table + "\n")
    failed = arguments.steps >= PRESETS["nanogpt-cpu"].steps and (
        results["funcad"].sampled_loss > GOAL
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
