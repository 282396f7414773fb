"""A run: steps, evaluations and checkpoints, from the first step or from the last one.

A step makes a new state and leaves the old one whole, so a run can be stopped and saved
between any two of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from funcad import device_put, random
from funcad.examples.char_transformer import checkpoint
from funcad.examples.char_transformer.settings import Settings
from funcad.examples.char_transformer.text import Corpus
from funcad.examples.char_transformer.training import (
    Place,
    State,
    init_state,
    make_evaluation,
    make_step,
    split_key,
)

SECONDS_BETWEEN_CHECKPOINTS = 30


class Evaluation(NamedTuple):
    """Mean losses at some step, over batches of either part of the text."""

    step: int
    training: float
    validation: float


class Progress(NamedTuple):
    """How far a run has come."""

    key: Any
    """The run's random key, of which `split_key` makes all others."""
    state: State
    losses: tuple[float, ...]
    """Of every step so far, on the step's own batch."""
    evaluations: tuple[Evaluation, ...]

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return len(self.losses)


class Stopped(Exception):
    """The user asked the run to stop; raised where it can be saved."""


def begin(settings: Settings, corpus: Corpus) -> Progress:
    """Before the first step."""
    key = random.key(settings.seed)
    state = init_state(split_key(key), len(corpus.vocabulary), settings)
    return Progress(key, state, losses=(), evaluations=())


def train(
    progress: Progress,
    settings: Settings,
    corpus: Corpus,
    place: Place,
    save: Callable[[Progress], None],
    check: Callable[[], None],
) -> Progress:
    """Go on to the last step.

    Parameters
    ----------
    progress : Progress
        Where to go on.
    settings, corpus
        What to train, and on what.
    place : callable
        Moves a tree of arrays to the device that the model runs on.
    save : callable
        Called after each evaluation, every half minute, and before a stop.
    check : callable
        Called where the run may stop, and raises `Stopped` if it has to.
    """
    keys = split_key(progress.key)
    step = make_step(settings, corpus, keys, place)
    training_loss, validation_loss = [
        make_evaluation(settings, tokens, keys.evaluation, place)
        for tokens in (corpus.training, corpus.validation)
    ]

    def evaluated(progress: Progress) -> Progress:
        params = progress.state.params
        found = Evaluation(
            progress.step, training_loss(params, check), validation_loss(params, check)
        )
        say(
            f"step {found.step}: training loss {found.training:.4f}, "
            f"validation loss {found.validation:.4f}"
        )
        return progress._replace(evaluations=(*progress.evaluations, found))

    def stepped(progress: Progress) -> Progress:
        state, loss = step(progress.state, progress.step)
        advance(loss)
        return progress._replace(state=state, losses=(*progress.losses, loss))

    saved = time.monotonic()
    with progress_bar(progress.step, settings) as (advance, say):
        try:
            while True:
                due = is_due(progress, settings)
                if due:
                    progress = evaluated(progress)
                if due or time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                    save(progress)
                    saved = time.monotonic()
                if progress.step == settings.steps:
                    return progress
                check()
                progress = stepped(progress)
        except Stopped:
            save(progress)
            raise


def is_due(progress: Progress, settings: Settings) -> bool:
    """Whether an evaluation is due, and has not been made before a checkpoint."""
    at = progress.step
    done = bool(progress.evaluations) and progress.evaluations[-1].step == at
    return not done and (at % settings.eval_every == 0 or at == settings.steps)


@contextlib.contextmanager
def progress_bar(
    step: int, settings: Settings
) -> Iterator[tuple[Callable[[float], None], Callable[[str], None]]]:
    """A bar in tokens: ``advance(loss)`` after each step, ``say(line)`` above it."""
    from tqdm import tqdm

    tokens = settings.batch * settings.block
    with tqdm(
        total=settings.steps * tokens,
        initial=step * tokens,
        unit="tok",
        unit_scale=True,
        dynamic_ncols=True,
        # A log file need not hold ten lines a second.
        mininterval=0.1 if sys.stderr.isatty() else 10.0,
    ) as bar:

        def advance(loss: float) -> None:
            bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            bar.update(tokens)

        def say(line: str) -> None:
            tqdm.write(line)
            sys.stdout.flush()

        yield advance, say


@contextlib.contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """Let Ctrl-C raise `Stopped` where the given function is called next.

    A second Ctrl-C interrupts at once.
    """
    stopped = False

    def stop(signum: int, frame: Any) -> None:
        nonlocal stopped
        stopped = True
        signal.signal(signal.SIGINT, before)

    def check() -> None:
        if stopped:
            raise Stopped

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


# ---------------------------------------------------------------------- checkpoints


def save(path: Path, progress: Progress, identity: dict[str, Any]) -> None:
    """Write a run's checkpoint; `identity` is what no other run shares."""
    params, optimiser = device_put(progress.state, "cpu")
    arrays = {
        "step": np.array(progress.step),
        "key": progress.key,
        "losses": np.array(progress.losses, np.float64),
        "evaluations": np.array(progress.evaluations, np.float64).reshape(-1, 3),
        **checkpoint.flatten("params", params),
        **checkpoint.flatten("optimiser", optimiser),
    }
    checkpoint.save(path, arrays, identity)


def resume(path: Path, start: Progress, identity: dict[str, Any]) -> Progress:
    """Where a checkpoint left off; `start` is where its run began.

    Raises
    ------
    UsageError
        If the checkpoint is damaged or of another run.
    """
    arrays = checkpoint.load(path, identity)
    state = State(
        checkpoint.unflatten("params", arrays, start.state.params),
        checkpoint.unflatten("optimiser", arrays, start.state.optimiser),
    )
    evaluations = [
        Evaluation(int(step), training, validation)
        for step, training, validation in arrays["evaluations"].tolist()
    ]
    losses = arrays["losses"].tolist()
    return Progress(arrays["key"], state, tuple(losses), tuple(evaluations))


def identify(settings: Settings, text: str) -> dict[str, Any]:
    """What two runs share if they learn the same parameters."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return dataclasses.asdict(settings) | {"text": f"sha256 {digest[:16]}"}
