"""Writing: the model predicts a character, one is drawn, and it predicts the next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from funcad import device_put, random
from funcad.examples.char_transformer import model
from funcad.examples.char_transformer.settings import Settings
from funcad.examples.char_transformer.training import Place

TEMPERATURE = 0.8
"""Below one, likely characters are drawn more often than the model would."""


def sample(
    params: model.Params,
    key: Any,
    prompt: Iterable[int],
    length: int,
    settings: Settings,
    place: Place,
) -> list[int]:
    """Characters that follow on a prompt of at least one.

    Parameters
    ----------
    params : nested dict of arrays
    key : random key
        Decides what is drawn.
    prompt : iterable of int
    length : int
        How many characters to draw.
    settings : Settings
    place : callable
        Moves a tree of arrays to the device that holds the parameters.
    """
    tokens = list(prompt)
    for i in range(length):
        window = place(np.array([tokens[-settings.block :]]))
        logits = model.next_logits(params, window, settings.heads)[0]
        logits = device_put(logits, "cpu") / TEMPERATURE
        tokens.append(int(random.categorical(random.fold_in(key, i), logits)))
    return tokens[-length:]
