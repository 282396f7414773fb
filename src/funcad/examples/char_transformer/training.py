"""Training, one step at a time: ``value_and_grad`` of the loss, then AdamW.

All functions here are pure.  What is random in a step depends on the run's key and the
step's number alone, so a run that is taken up again makes the very same steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from funcad import optim, random, tree, value_and_grad
from funcad.examples.char_transformer import model
from funcad.examples.char_transformer.settings import Settings
from funcad.examples.char_transformer.text import Batch, Corpus, sample_batch

Array = Any
Place = Callable[[Any], Any]
"""Moves a tree of arrays to the device that the model runs on."""


class State(NamedTuple):
    """What a step changes."""

    params: model.Params
    optimiser: Any


class Keys(NamedTuple):
    """One key for each thing that is random in a run."""

    params: Array
    batches: Array
    dropout: Array
    evaluation: Array
    sample: Array


def split_key(key: Array) -> Keys:
    """The keys of a run, from the one key of its seed."""
    return Keys(*random.split(key, len(Keys._fields)))


def init_state(keys: Keys, vocabulary: int, settings: Settings) -> State:
    """Where training begins."""
    params = model.init_params(keys.params, vocabulary, settings)
    return State(params, make_optimiser(settings).init(params))


def make_optimiser(settings: Settings) -> optim.GradientTransformation:
    """AdamW with clipped gradients and a learning rate that rises, then falls.

    Weight decay is for matrices, and leaves the norms' gains alone.
    """
    schedule = optim.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=settings.learning_rate,
        warmup_steps=min(settings.warmup, settings.steps // 10),
        decay_steps=settings.steps,
        end_value=settings.final_learning_rate,
    )
    return optim.chain(
        optim.clip_by_global_norm(settings.clip),
        optim.adamw(
            schedule,
            b2=settings.beta2,
            weight_decay=settings.weight_decay,
            mask=lambda params: tree.map(lambda p: p.ndim > 1, params),
        ),
    )


def make_step(
    settings: Settings, corpus: Corpus, keys: Keys, place: Place
) -> Callable[[State, int], tuple[State, float]]:
    """A step of training.

    Returns
    -------
    callable
        ``step(state, number)`` returns the next state, and the loss before the step.
    """
    optimiser = make_optimiser(settings)
    dropout_key = place(keys.dropout)

    def loss(params: model.Params, batch: Batch, key: Array) -> Array:
        return model.loss(params, batch, settings.heads, settings.dropout, key)

    def step(state: State, number: int) -> tuple[State, float]:
        batch_key = random.fold_in(keys.batches, number)
        batch = sample_batch(batch_key, corpus.training, settings.batch, settings.block)
        value, grads = value_and_grad(loss)(
            state.params, place(batch), random.fold_in(dropout_key, number)
        )
        updates, optimiser_state = optimiser.update(
            grads, state.optimiser, state.params
        )
        params = optim.apply_updates(state.params, updates)
        return State(params, optimiser_state), float(value)

    return step


def make_evaluation(
    settings: Settings, tokens: np.ndarray, key: Array, place: Place
) -> Callable[[model.Params, Callable[[], None]], float]:
    """Mean loss over some batches of a text, without gradient and without dropout.

    Returns
    -------
    callable
        ``evaluation(params, check)``, which calls ``check()`` before each batch.  The
        batches are always the same, so that the losses of different parameters compare.
    """

    def batch_loss(params: model.Params, i: int) -> float:
        batch_key = random.fold_in(key, i)
        batch = sample_batch(batch_key, tokens, settings.batch, settings.block)
        return float(model.loss(params, place(batch), settings.heads))

    def evaluation(params: model.Params, check: Callable[[], None]) -> float:
        total = 0.0
        for i in range(settings.eval_batches):
            check()
            total += batch_loss(params, i)
        return total / settings.eval_batches

    return evaluation
