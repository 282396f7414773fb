"""Text as numbers: reading it, splitting it, and cutting batches out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from funcad import random
from funcad.examples.command import UsageError

Array = Any


class Corpus(NamedTuple):
    """A text as numbers, in two parts of which the model learns from the first."""

    vocabulary: str
    """The distinct characters, sorted; a character's number is its place here."""
    training: np.ndarray
    validation: np.ndarray

    def decode(self, tokens: Array) -> str:
        """The text that these numbers stand for."""
        return "".join([self.vocabulary[token] for token in tokens])


class Batch(NamedTuple):
    """Windows of text, and for each position the character that comes next."""

    tokens: Array
    """int64, (batch, block)"""
    targets: Array
    """int64, (batch, block): the same windows, one character further on."""


def read_text(path: Path | None) -> str:
    """The text of a file, or the Python Language Reference where no file is named.

    Raises
    ------
    UsageError
        If there is no such text.
    """
    if path is None:
        try:
            from pydoc_data.topics import topics
        except ImportError:
            raise UsageError(
                "this Python comes without pydoc_data.topics, the text that is learned "
                "by default; name a text file with --text FILE"
            ) from None
        return "\n\n\n".join(topics.values())
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(
            f"cannot read {path}: it is not UTF-8 text (byte {error.start})"
        ) from None


def make_corpus(text: str, block: int) -> Corpus:
    """Number the characters and set the last tenth apart for validation.

    Parameters
    ----------
    text : str
        The whole text.
    block : int
        Length of the windows that are to be cut; both parts must hold one.

    Raises
    ------
    UsageError
        If the text is empty or too short.

    Examples
    --------
    >>> corpus = make_corpus("abracadabra, abracadabra", block=2)
    >>> corpus.vocabulary
    ' ,abcdr'
    >>> corpus.training.tolist()[:4], corpus.decode(corpus.validation)
    ([2, 3, 6, 2], 'bra')
    """
    if not text:
        raise UsageError("the text is empty")
    code_points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    distinct, tokens = np.unique(code_points, return_inverse=True)
    training, validation = np.split(tokens, [9 * len(tokens) // 10])
    if len(validation) <= block:
        # The least length whose last tenth, rounded up, has a character to spare.
        least = 10 * block + 1
        raise UsageError(
            f"the text is too short: {len(text):,} characters, and windows of {block} "
            f"characters need a text of at least {least:,}"
        )
    return Corpus("".join(map(chr, distinct)), training, validation)


def sample_batch(key: Array, tokens: np.ndarray, batch: int, block: int) -> Batch:
    """Windows at random places, which the key alone decides.

    Parameters
    ----------
    key : random key
        From `funcad.random`.
    tokens : int64, (n,)
        A text, with n > block.
    batch, block : int
        Number and length of the windows.

    Examples
    --------
    >>> tokens = np.arange(100)
    >>> first = sample_batch(random.key(0), tokens, batch=2, block=3)
    >>> again = sample_batch(random.key(0), tokens, batch=2, block=3)
    >>> bool(np.all(first.tokens == again.tokens))
    True
    >>> bool(np.all(first.targets == first.tokens + 1))
    True
    """
    starts = random.randint(key, (batch, 1), 0, len(tokens) - block)
    windows = tokens[starts + np.arange(block + 1)]
    return Batch(windows[:, :-1], windows[:, 1:])
