"""The one primitive of random numbers: a stretch of a Philox stream, as a distribution.

A key is 128 bits, two uint64 words.  Philox4x64-10 encrypts a 256-bit counter under the
key, so that block number n of a stream is a pure function of the key and of n.  The
counter's words are ``(n, word, 0, stream)``, which keeps what is drawn with a key apart
from the keys that are derived of it:

==========  ==========  =================================================
stream      word
==========  ==========  =================================================
DRAWS       0           what ``normal``, ``uniform``, ... of the key use up
CHILDREN    0           ``split``: child i is the i-th pair of words
FOLDED      the number  ``fold_in``: the first pair of words
==========  ==========  =================================================

On a CPU the stream is ``numpy.random.Philox`` and the distributions are those of
``numpy.random.Generator``.  On a GPU a kernel computes the same words from the key in
the GPU's memory (CuPy's own Philox is seeded from the host, which would have to fetch
the key), and the distributions are formulas of these words: uniform numbers are the
CPU's bit for bit; normal and exponential ones, which NumPy draws by rejection, are
equal in distribution alone.

References
----------
J. Salmon, M. Moraes, R. Dror and D. Shaw, *Parallel random numbers: as easy as 1, 2,
3*, SC 2011.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from funcad.backends import backend_of
from funcad.core.counting import ELEMENTARY, each_result
from funcad.core.tracing import Array, Primitive, shape_of
from funcad.primitives.shape import batches_to_front

DRAWS, CHILDREN, FOLDED = 0, 1, 2

Shape = tuple[int, ...]


def _draw(
    key: Array, word: Array, distribution: str, shape: Shape, dtype: Any, stream: int
) -> Array:
    draw = draw_on_host if isinstance(key, np.ndarray) else draw_on_device
    return draw(key, word, distribution, shape, dtype, stream)


def _abstract(
    key: Any, word: Any, distribution: str, shape: Shape, dtype: Any, stream: int
) -> tuple[Shape, Any]:
    return (*np.broadcast_shapes(key.shape[:-1], shape_of(word)), *shape), dtype


def _batch(values: Any, axes: Any, **params: Any) -> tuple[Array, int]:
    # Keys of shape (..., 2) broadcast against words of shape (...).
    (key, word), (key_axis, word_axis) = values, axes
    key_rank = len(key.shape) - 1 - (key_axis is not None)
    word_rank = len(shape_of(word)) - (word_axis is not None)
    rank = max(key_rank, word_rank)
    (key,), _ = batches_to_front([key], [key_axis], rank + 1)
    (word,), _ = batches_to_front([word], [word_axis], rank)
    return random_draw(key, word, **params), 0


random_draw = Primitive(
    "random_draw",
    _draw,
    _abstract,
    batch=_batch,
    # ten rounds of two products give four words; a function makes a number of one
    flops=each_result(ELEMENTARY),
    family="random",
)
"""``random_draw(key, word, distribution, shape, dtype, stream)``.

Parameters
----------
key : array of uint64, shape (..., 2)
    Keys; the leading axes are a batch.
word : int or array of integers, shape (...)
    Second words of the counters, broadcast against the batch of keys.
distribution : str
    ``"bits"`` (uint64), ``"uniform"`` in [0, 1), ``"normal"`` or ``"exponential"``.
shape, dtype
    Of what is drawn with one key.
stream : int
    Last word of the counters.
"""


def draw_on_host(
    key: Array, word: Array, distribution: str, shape: Shape, dtype: Any, stream: int
) -> Array:
    """Draw with NumPy, with one key after the other."""
    word = np.asarray(word).astype(np.uint64)
    batch = np.broadcast_shapes(key.shape[:-1], word.shape)
    if not batch:
        return sample(philox(key, word, stream), distribution, shape, dtype)
    keys, words = np.broadcast_to(key, (*batch, 2)), np.broadcast_to(word, batch)
    out = np.empty((*batch, *shape), dtype)
    for i in np.ndindex(batch):
        out[i] = sample(philox(keys[i], words[i], stream), distribution, shape, dtype)
    return out


def philox(key: Array, word: Array, stream: int) -> np.random.Philox:
    """NumPy's generator at the beginning of a stream."""
    return np.random.Philox(key=key, counter=np.array([0, word, 0, stream], np.uint64))


def sample(
    stream: np.random.Philox, distribution: str, shape: Shape, dtype: Any
) -> Array:
    """The numbers at the beginning of a stream, as NumPy draws them."""
    if distribution == "bits":
        return stream.random_raw(math.prod(shape)).reshape(shape)
    generator = np.random.Generator(stream)
    draws: dict[str, Any] = {
        "uniform": generator.random,
        "normal": generator.standard_normal,
        "exponential": generator.standard_exponential,
    }
    x = draws[distribution](shape, np.float64 if dtype == np.float64 else np.float32)
    return rounded(x, distribution, dtype, np)


def draw_on_device(
    key: Array, word: Array, distribution: str, shape: Shape, dtype: Any, stream: int
) -> Array:
    """Draw where the keys are, for all of them at once."""
    if isinstance(word, np.ndarray):
        raise TypeError("a number on the host was folded into a key on a device")
    xp = backend_of(key).namespace
    word = xp.asarray(word).astype(np.uint64)
    batch = np.broadcast_shapes(key.shape[:-1], word.shape)
    keys = xp.broadcast_to(key, (*batch, 2)).reshape(-1, 2)
    words = xp.broadcast_to(word, batch).reshape(-1)
    count = math.prod(shape)
    # In single precision a word gives two numbers; of either there are pairs enough.
    size = count if distribution == "bits" or dtype == np.float64 else count // 2
    bits = stream_words(keys, words, stream, size // 4 + 1)
    x = distributed(bits, distribution, dtype, xp)[:, :count]
    return rounded(x, distribution, dtype, xp).reshape((*batch, *shape))


def stream_words(keys: Array, words: Array, stream: int, blocks: int) -> Array:
    """The words of the first blocks of several streams, on the device of the keys.

    Parameters
    ----------
    keys : array of uint64, shape (n, 2)
    words : array of uint64, shape (n,)
    stream, blocks : int

    Returns
    -------
    array of uint64, shape (n, 4 * blocks)
        Those of a library that is neither NumPy nor CuPy pass through the host.
    """
    backend = backend_of(keys)
    if backend.name == "cupy":
        from funcad.backends.philox import philox_words

        return philox_words(keys, words, stream, blocks)
    pairs = zip(backend.to_host(keys), backend.to_host(words), strict=True)
    rows = [philox(key, word, stream).random_raw(4 * blocks) for key, word in pairs]
    return backend.from_host(np.array(rows, np.uint64).reshape(-1, 4 * blocks))


def distributed(bits: Array, distribution: str, dtype: Any, xp: Any) -> Array:
    """Rows of uint64 words as numbers of a distribution.

    The uniform numbers are NumPy's: the upper 53 bits of a word, or the upper 24 of its
    lower and then of its upper half.  Normal ones come in pairs, by Box and Muller.
    """
    if distribution == "bits":
        return bits
    if dtype == np.float64:
        uniform = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    else:
        lower = (bits & np.uint64(0xFFFFFFFF)) >> np.uint64(8)
        halves = xp.stack([lower, bits >> np.uint64(40)], axis=-1)
        uniform = (
            halves.reshape(len(bits), 2 * bits.shape[1]).astype(np.float32) * 2.0**-24
        )
    if distribution == "uniform":
        return uniform
    if distribution == "exponential":
        return -xp.log1p(-uniform)
    radius = xp.sqrt(-2.0 * xp.log1p(-uniform[:, ::2]))
    angle = (2.0 * math.pi) * uniform[:, 1::2]
    pairs = xp.stack([radius * xp.cos(angle), radius * xp.sin(angle)], axis=-1)
    return pairs.reshape(uniform.shape)


def rounded(x: Array, distribution: str, dtype: Any, xp: Any) -> Array:
    """Float32 draws as float16, uniform ones downwards so that they stay below one."""
    if dtype == np.float16 and distribution == "uniform":
        x = xp.floor(x * 2.0**11) * 2.0**-11
    return x if x.dtype == dtype else x.astype(dtype)
