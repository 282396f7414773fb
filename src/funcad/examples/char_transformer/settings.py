"""The numbers that decide what is trained and how: three presets of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """One training run, but for its text and the place where it runs.

    Two runs with equal settings and equal text learn equal parameters.
    """

    block: int
    """Characters that the model sees at once."""
    layers: int
    heads: int
    channels: int
    dropout: float
    batch: int
    """Windows of `block` characters in a step."""
    steps: int
    learning_rate: float
    final_learning_rate: float
    warmup: int
    """Steps in which the learning rate rises, a tenth of all steps at most."""
    beta2: float
    """Decay of AdamW's second moment."""
    weight_decay: float
    clip: float
    """Greatest norm of a gradient."""
    eval_every: int
    """Steps from one evaluation to the next."""
    eval_batches: int
    """Batches of each split in an evaluation."""
    tied: bool = True
    """Whether the embedding of characters is the output layer too."""
    seed: int = 1337
    dtype: str = "float32"


PRESETS = {
    # Two minutes on two cores, together with the imports, the sample and the plot.
    "demo": Settings(
        block=64,
        layers=3,
        heads=3,
        channels=96,
        dropout=0.0,
        batch=16,
        steps=2000,
        learning_rate=4e-3,
        final_learning_rate=1e-4,
        warmup=100,
        beta2=0.99,
        weight_decay=0.1,
        clip=1.0,
        eval_every=200,
        eval_batches=20,
    ),
    # nanoGPT's README, "I only have a macbook": validation loss 1.88.
    "nanogpt-cpu": Settings(
        block=64,
        layers=4,
        heads=4,
        channels=128,
        dropout=0.0,
        batch=12,
        steps=2000,
        learning_rate=1e-3,
        final_learning_rate=1e-4,
        warmup=100,
        beta2=0.99,
        weight_decay=0.1,
        clip=1.0,
        eval_every=250,
        eval_batches=20,
    ),
    # nanoGPT's config/train_shakespeare_char.py: validation loss 1.47.
    "nanogpt-gpu": Settings(
        block=256,
        layers=6,
        heads=6,
        channels=384,
        dropout=0.2,
        batch=64,
        steps=5000,
        learning_rate=1e-3,
        final_learning_rate=1e-4,
        warmup=100,
        beta2=0.99,
        weight_decay=0.1,
        clip=1.0,
        eval_every=250,
        eval_batches=200,
    ),
}
