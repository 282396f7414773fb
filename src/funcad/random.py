"""Random numbers from explicit keys, in the manner of ``jax.random``.

A key is an array of two uint64.  Every function here is a pure function of its key: the
same key gives the same numbers, whatever ran before and under whatever transform.  So
a key is used once; :func:`split` and :func:`fold_in` make new ones of it.

>>> from funcad import random
>>> key, used = random.split(random.key(0))
>>> random.normal(used, (3,)).shape
(3,)

Keys are Philox keys and derived keys are Philox output, so the numbers of different
keys are as independent as the cipher is good.  The key's array type chooses where the
numbers are made: those of a key on a GPU, ``funcad.device_put(key, "gpu")``, are made
there.  Bits and uniform numbers are the same on CPU and GPU; normal and exponential
ones, and what is made of them, are equal in distribution, and on a CPU they are those
of the installed NumPy, whose releases may change how they are made of the bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from funcad.core.errors import ArgumentError, RandomKeyError
from funcad.core.tracing import Array, Tracer, dtype_of, shape_of
from funcad.numpy.checks import (
    broadcasts,
    check_array,
    check_boolean,
    described,
    integers,
)
from funcad.numpy.shaping import take
from funcad.primitives.random import CHILDREN, DRAWS, FOLDED, random_draw

__all__ = [
    "bernoulli",
    "bits",
    "categorical",
    "choice",
    "exponential",
    "fold_in",
    "gumbel",
    "key",
    "normal",
    "permutation",
    "randint",
    "split",
    "uniform",
]

Shape = int | Sequence[int]

_WORD = 1 << 64
_UINT64 = np.dtype(np.uint64)
_FLOAT64 = np.dtype(np.float64)


# ----------------------------------------------------------------------------- keys


def key(seed: int) -> Array:
    """The key of a seed.

    Parameters
    ----------
    seed : int
        From 0 to 2**128 - 1; different seeds give different keys.

    Returns
    -------
    array of uint64, shape (2,)

    Examples
    --------
    >>> from funcad import random
    >>> random.key(42)
    array([42,  0], dtype=uint64)
    """
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise ArgumentError(
            f"key: a seed is an integer, and {seed!r} is a {type(seed).__name__}. For "
            "a key that depends on a traced number write "
            "funcad.random.fold_in(funcad.random.key(0), number)."
        )
    seed = int(seed)
    if not 0 <= seed < _WORD**2:
        raise ArgumentError(f"key: a seed is from 0 to 2**128 - 1, and {seed} is not.")
    return np.array([seed % _WORD, seed // _WORD], np.uint64)


def split(key: Array, num: Shape = 2) -> Array:
    """New keys of a key, which is not to be used again.

    Parameters
    ----------
    key : array of uint64, shape (2,)
    num : int or tuple of int
        How many.

    Returns
    -------
    array of uint64, shape ``(num, 2)`` or ``(*num, 2)``
        Its rows are keys. The first ones do not depend on how many there are.

    Examples
    --------
    >>> from funcad import random
    >>> first, second = random.split(random.key(0))
    >>> first
    array([ 6312158256571094726, 10634814581434429480], dtype=uint64)
    """
    key = checked_key(key, "split")
    return _draw(key, "bits", (*checked_shape(num, "split"), 2), _UINT64, CHILDREN)


def fold_in(key: Array, data: Array) -> Array:
    """The key of a key and a number, such as a step count or the index of a layer.

    Parameters
    ----------
    key : array of uint64, shape (2,)
    data : int, or array or tracer of integers, of shape ()
        Different numbers of 64 bits give different keys.

    Returns
    -------
    array of uint64, shape (2,)

    Examples
    --------
    >>> from funcad import random
    >>> key = random.key(0)
    >>> keys = [random.fold_in(key, step) for step in range(3)]
    >>> len({k.tobytes() for k in keys})
    3
    """
    key = checked_key(key, "fold_in")
    if isinstance(data, int):
        if not -_WORD // 2 <= data < _WORD:
            raise ArgumentError(f"fold_in: {data} has more than 64 bits.")
        data %= _WORD
    elif not hasattr(data, "dtype") or data.dtype.kind not in "iub":
        raise ArgumentError(
            f"fold_in: the number to fold in must be an integer, and {data!r} is none."
        )
    if shape_of(data) != ():
        raise ArgumentError(
            "fold_in: one number is folded in, and an array of shape "
            f"{shape_of(data)} was given. For a key for each number write "
            "funcad.vmap(funcad.random.fold_in, in_axes=(None, 0))(key, numbers)."
        )
    return _draw(key, "bits", (2,), _UINT64, FOLDED, word=data)


# -------------------------------------------------------------- basic distributions


def bits(key: Array, shape: Shape = (), dtype: Any = np.uint64) -> Array:
    """Random bits: every unsigned integer is as likely as any other.

    Parameters
    ----------
    key : array of uint64, shape (2,)
    shape : int or tuple of int
    dtype : dtype
        An unsigned integer dtype.

    Returns
    -------
    array

    Examples
    --------
    >>> from funcad import random
    >>> random.bits(random.key(0), (2,), "uint8").dtype
    dtype('uint8')
    """
    key, dtype = checked_key(key, "bits"), np.dtype(dtype)
    if dtype.kind != "u":
        raise ArgumentError(
            f"bits: dtype is {dtype}, and must be one of uint8, uint16, uint32, uint64."
        )
    drawn = _draw(key, "bits", checked_shape(shape, "bits"), _UINT64)
    return drawn if dtype == _UINT64 else drawn.astype(dtype)


def uniform(
    key: Array,
    shape: Shape = (),
    dtype: Any = np.float64,
    minval: Array = 0.0,
    maxval: Array = 1.0,
) -> Array:
    """Numbers that are evenly distributed over ``[minval, maxval)``.

    Parameters
    ----------
    key : array of uint64, shape (2,)
    shape : int or tuple of int
    dtype : dtype
        float16, float32 or float64; float32 numbers are drawn as such.
    minval, maxval : float or array
        Broadcast against the shape; the result can be differentiated with respect to
        both. Rounding can give ``maxval`` itself where it is not 1.

    Returns
    -------
    array

    Examples
    --------
    >>> from funcad import random
    >>> x = random.uniform(random.key(0), (1000,), minval=-1.0)
    >>> bool(abs(x.mean()) < 0.1)
    True
    """
    key, dtype = checked_key(key, "uniform"), _real(dtype, "uniform")
    shape = checked_shape(shape, "uniform")
    unit = _draw(key, "uniform", shape, dtype)
    low = _fitting(minval, dtype, shape, "uniform", "minval")
    high = _fitting(maxval, dtype, shape, "uniform", "maxval")
    if type(low) is type(high) is float and (low, high) == (0.0, 1.0):
        return unit
    return low + (high - low) * unit


def normal(key: Array, shape: Shape = (), dtype: Any = np.float64) -> Array:
    """Numbers of the standard normal distribution.

    Parameters
    ----------
    key : array of uint64, shape (2,)
    shape : int or tuple of int
    dtype : dtype
        float16, float32, float64, complex64 or complex128; float32 numbers are drawn
        as such. Complex numbers have variance 1, half of it in each part.

    Returns
    -------
    array

    Examples
    --------
    >>> from funcad import random
    >>> x = random.normal(random.key(0), (1000,))
    >>> bool(abs(x.mean()) < 0.1 and abs(x.std() - 1) < 0.1)
    True
    """
    key, shape = checked_key(key, "normal"), checked_shape(shape, "normal")
    if np.dtype(dtype).kind != "c":
        return _draw(key, "normal", shape, _real(dtype, "normal"))
    part = np.dtype(dtype).type(0).real.dtype
    parts = math.sqrt(0.5) * _draw(key, "normal", (2, *shape), _real(part, "normal"))
    return parts[0] + 1j * parts[1]


def exponential(key: Array, shape: Shape = (), dtype: Any = np.float64) -> Array:
    """Numbers of the exponential distribution of mean 1.

    Parameters
    ----------
    key : array of uint64, shape (2,)
    shape : int or tuple of int
    dtype : dtype
        float16, float32 or float64; float32 numbers are drawn as such.

    Returns
    -------
    array

    Examples
    --------
    >>> from funcad import random
    >>> x = random.exponential(random.key(0), (1000,))
    >>> bool(x.min() >= 0 and abs(x.mean() - 1) < 0.1)
    True
    """
    key, dtype = checked_key(key, "exponential"), _real(dtype, "exponential")
    return _draw(key, "exponential", checked_shape(shape, "exponential"), dtype)


# ------------------------------------------------------------- made of the basic ones


def gumbel(key: Array, shape: Shape = (), dtype: Any = np.float64) -> Array:
    """Numbers of the standard Gumbel distribution, minus the log of exponential ones.

    Parameters
    ----------
    key : array of uint64, shape (2,)
    shape : int or tuple of int
    dtype : dtype
        float16, float32 or float64; float32 numbers are drawn as such.

    Returns
    -------
    array

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import random
    >>> x = random.gumbel(random.key(0), (1000,))
    >>> bool(abs(x.mean() - np.euler_gamma) < 0.1)
    True
    """
    key, dtype = checked_key(key, "gumbel"), _real(dtype, "gumbel")
    drawn = _draw(key, "exponential", checked_shape(shape, "gumbel"), dtype)
    return -np.log(np.maximum(drawn, float(np.finfo(drawn.dtype).tiny)))


def bernoulli(key: Array, p: Array = 0.5, shape: Shape | None = None) -> Array:
    """Booleans that are true with probability ``p``.

    Parameters
    ----------
    key : array of uint64, shape (2,)
    p : float or array
        Probabilities.
    shape : int or tuple of int, optional
        What ``p`` is broadcast to; its own shape by default.

    Returns
    -------
    array of bool

    Examples
    --------
    >>> from funcad import random
    >>> x = random.bernoulli(random.key(0), 0.2, (1000,))
    >>> x.dtype, bool(abs(x.mean() - 0.2) < 0.05)
    (dtype('bool'), True)
    """
    if isinstance(p, (int, float)) and not 0 <= p <= 1:
        raise ArgumentError(f"bernoulli: a probability is from 0 to 1, and p = {p}.")
    check_array("bernoulli", "p", p)
    shape = shape_of(p) if shape is None else checked_shape(shape, "bernoulli")
    dtype = dtype_of(p) if dtype_of(p).kind == "f" else _FLOAT64
    drawn = uniform(checked_key(key, "bernoulli"), shape, dtype)
    return drawn < _fitting(p, dtype, shape, "bernoulli", "p")


def categorical(
    key: Array, logits: Array, axis: int = -1, shape: Shape | None = None
) -> Array:
    """Indices that are drawn with probability ``softmax(logits)``.

    Parameters
    ----------
    key : array of uint64, shape (2,)
    logits : array
        Logarithms of probabilities, up to a constant; ``-inf`` for never.
    axis : int
        Axis along which they belong together.
    shape : int or tuple of int, optional
        Shape of the result, to which the shape of the logits without the axis
        broadcasts; that shape by default.

    Returns
    -------
    array of int64

    References
    ----------
    C. Maddison, D. Tarlow and T. Minka, *A-star sampling*, NeurIPS 2014: where the sum
    of a logit and a Gumbel number is largest.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import random
    >>> x = random.categorical(random.key(0), np.log([0.7, 0.2, 0.1]), shape=(1000,))
    >>> [bool(abs(np.mean(x == i) - p) < 0.05) for i, p in enumerate([0.7, 0.2, 0.1])]
    [True, True, True]
    """
    check_array("categorical", "logits", logits)
    dims = shape_of(logits)
    size = _size(dims, axis, "categorical")
    axis %= len(dims)
    batch = dims[:axis] + dims[axis + 1 :]
    shape = batch if shape is None else checked_shape(shape, "categorical")
    if not broadcasts(batch, shape):
        raise ArgumentError(
            f"categorical: logits of shape {dims} give indices of shape {batch} along "
            f"axis {axis}, which does not broadcast to shape={shape}. The shape must "
            "end in that of the indices."
        )
    if size == 0:
        raise ArgumentError(
            f"categorical: logits of shape {dims} leave no choice along axis {axis}."
        )
    dtype = dtype_of(logits) if dtype_of(logits).kind == "f" else _FLOAT64
    noise = gumbel(checked_key(key, "categorical"), (*shape, size), dtype)
    return np.argmax(np.moveaxis(logits, axis, -1) + noise, axis=-1)


def randint(
    key: Array, shape: Shape, minval: Array, maxval: Array, dtype: Any = np.int64
) -> Array:
    """Integers that are evenly distributed over ``minval, ..., maxval - 1``.

    Parameters
    ----------
    key : array of uint64, shape (2,)
    shape : int or tuple of int
    minval, maxval : int or array of integers
        Broadcast against the shape.
    dtype : dtype
        An integer dtype.

    Returns
    -------
    array
        Remainders of 64 random bits, whose probabilities differ by at most ``2**-64``.

    Examples
    --------
    >>> from funcad import random
    >>> dice = random.randint(random.key(0), (1000,), 1, 7)
    >>> int(dice.min()), int(dice.max())
    (1, 6)
    """
    key, shape = checked_key(key, "randint"), checked_shape(shape, "randint")
    dtype = np.dtype(dtype)
    if dtype.kind not in "iu":
        raise ArgumentError(
            f"randint: dtype is {dtype}, and must be an integer one. For real numbers "
            "write funcad.random.uniform."
        )
    for what, bound in (("minval", minval), ("maxval", maxval)):
        check_array("randint", what, bound)
        # an int may be one beyond the greatest of 64 bits
        if not isinstance(bound, int) and dtype_of(bound).kind not in "iub":
            raise ArgumentError(
                "randint: minval and maxval must be integers, and "
                f"{what} is {described(bound)}. Write an integer, or "
                f"{what}.astype(int) for an array."
            )
    drawn = _draw(key, "bits", shape, _UINT64)
    # Sums by np.add, because they may wrap around, of which operators on scalars warn.
    if isinstance(minval, (int, np.integer)) and isinstance(maxval, (int, np.integer)):
        low, high, info = int(minval), int(maxval), np.iinfo(dtype)
        if not info.min <= low < high <= info.max + 1:
            raise ArgumentError(
                f"randint: minval = {low} must be less than maxval = {high}, and the "
                f"integers between them {dtype}s, from {info.min} to {info.max}."
            )
        if high - low < _WORD:
            drawn = drawn % np.uint64(high - low)
        return np.add(drawn.astype(dtype), low)
    low = _fitting(minval, dtype, shape, "randint", "minval")
    high = _fitting(maxval, dtype, shape, "randint", "maxval")
    span = np.maximum(np.subtract(high, low), 1).astype(_UINT64)
    return np.add((drawn % span).astype(dtype), low)


def permutation(key: Array, x: Array, axis: int = 0) -> Array:
    """The entries along an axis in random order.

    Parameters
    ----------
    key : array of uint64, shape (2,)
    x : array, or int for ``arange(x)``
    axis : int
        Axis that is shuffled; what stands along the others stays together.

    Returns
    -------
    array

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import random
    >>> random.permutation(random.key(0), np.array([10.0, 20.0, 30.0])).shape
    (3,)
    >>> sorted(random.permutation(random.key(0), 4).tolist())
    [0, 1, 2, 3]
    """
    key = checked_key(key, "permutation")
    order = np.argsort(bits(key, _length(x, axis, "permutation")))
    return _picked(x, order, axis)


def choice(
    key: Array,
    a: Array,
    shape: Shape = (),
    replace: bool = True,
    p: Array | None = None,
    axis: int = 0,
) -> Array:
    """Random entries along an axis.

    Parameters
    ----------
    key : array of uint64, shape (2,)
    a : array, or int for ``arange(a)``
    shape : int or tuple of int
        How many, in the place of the axis.
    replace : bool
        Whether an entry can be chosen more than once.
    p : array, optional
        Probability of each entry, up to a constant; without it all have the same.
    axis : int
        Axis from which to choose.

    Returns
    -------
    array

    Examples
    --------
    >>> from funcad import random
    >>> hand = random.choice(random.key(0), 52, (5,), replace=False)
    >>> len(set(hand.tolist()))
    5
    """
    key, shape = checked_key(key, "choice"), checked_shape(shape, "choice")
    check_boolean("choice", "replace", replace)
    size, count = _length(a, axis, "choice"), math.prod(shape)
    if count > (size if not replace or size == 0 else count):
        raise ArgumentError(
            f"choice: {count} entries cannot be chosen from {size}"
            + ("." if replace else " without replacement; write replace=True.")
        )
    if p is not None:
        p = _probabilities(p, size, count if not replace else min(count, 1))
        index = _by_sums(key, p, shape) if replace else _by_order(key, p)[:count]
    elif replace:
        index = randint(key, shape, 0, max(size, 1))
    else:
        index = permutation(key, size)[:count]
    return _picked(a, np.reshape(index, shape), axis)


def _by_sums(key: Array, p: Array, shape: tuple[int, ...]) -> Array:
    """Where numbers of (0, 1] fall among the cumulative sums of the probabilities."""
    sums = np.cumsum(p)
    at = sums[-1] * (1 - uniform(key, shape, dtype_of(p)))
    traced = isinstance(at, Tracer)  # which np.searchsorted does not take
    if traced:
        return np.sum(sums < np.expand_dims(at, -1), axis=-1)
    return np.searchsorted(sums, at)


def _by_order(key: Array, p: Array) -> Array:
    """All indices in the order in which they would be drawn one after the other.

    By decreasing sums of log-probabilities and Gumbel numbers (W. Kool, H. van Hoof and
    M. Welling, *Stochastic beams and where to find them*, ICML 2019).
    """
    logits = np.where(p > 0, np.log(np.where(p > 0, p, 1)), -np.inf)
    return np.argsort(-(logits + gumbel(key, shape_of(p), dtype_of(p))))


# ---------------------------------------------------------------- drawing and checking


def _draw(
    key: Array,
    distribution: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    stream: int = DRAWS,
    word: Array = 0,
) -> Array:
    return random_draw(
        key, word, distribution=distribution, shape=shape, dtype=dtype, stream=stream
    )


def checked_key(key: Array, caller: str, path: str | None = None) -> Array:
    """The argument, if it is a key; the path is how the caller is called."""
    if getattr(key, "dtype", None) == _UINT64:
        if key.shape == (2,):
            return key
        if key.shape[-1:] == (2,):
            raise RandomKeyError(
                f"{caller} takes one key, and got an array of keys, of shape "
                f"{key.shape}. To draw with each of them write funcad.vmap(lambda key: "
                f"{path or 'funcad.random.' + caller}(key, ...))(keys)."
            )
    if hasattr(key, "dtype"):
        given = f"an array of shape {key.shape} and dtype {key.dtype} is none"
    elif isinstance(key, (np.random.Generator, np.random.RandomState, ModuleType)):
        given = f"{key!r} is none: it has a state, which each draw would change"
    else:
        given = f"{key!r} is none"
    raise RandomKeyError(
        f"{caller} takes a random key, an array of two uint64, as its first argument, "
        f"and {given}. Write funcad.random.key(0), and funcad.random.split(key) for "
        "more keys."
    )


def checked_shape(shape: Shape, caller: str) -> tuple[int, ...]:
    """The argument as a tuple, if it is a shape."""
    sizes = integers(shape)
    if sizes is None:
        raise ArgumentError(
            f"{caller}: a shape is an int or a tuple of ints, and {shape!r} is neither."
        )
    if any(size < 0 for size in sizes):
        raise ArgumentError(f"{caller}: a shape has no negative sizes, as {sizes} has.")
    return sizes


def _real(dtype: Any, caller: str) -> np.dtype[Any]:
    real: np.dtype[Any] = np.dtype(dtype)
    if real.kind != "f" or real.itemsize > 8:
        raise ArgumentError(
            f"{caller}: dtype is {real}, and must be float16, float32 or float64. For "
            "integers write funcad.random.randint."
        )
    return real


def _fitting(
    value: Array, dtype: Any, shape: tuple[int, ...], caller: str, name: str
) -> Array:
    """An argument that broadcasts against the draws, in their dtype."""
    check_array(caller, name, value)
    if not broadcasts(shape_of(value), shape):
        raise ArgumentError(
            f"{caller}: {name} has shape {shape_of(value)}, which does not broadcast "
            f"to shape={shape}. Write shape={shape_of(value)} to draw for each entry."
        )
    return value.astype(dtype) if hasattr(value, "dtype") else value


def _length(x: Array, axis: int, caller: str) -> int:
    """How many entries ``arange(x)``, or ``x`` along an axis, has."""
    if isinstance(x, (int, np.integer)):
        if x < 0:
            raise ArgumentError(
                f"{caller}: arange({x}) has no entries; {x} is negative."
            )
        return int(x)
    shape = shape_of(x)
    if not shape:
        raise ArgumentError(
            f"{caller} takes from an array, or from arange(n) for an integer n, and "
            f"was given {described(x)}."
        )
    return _size(shape, axis, caller)


def _size(shape: tuple[int, ...], axis: int, caller: str) -> int:
    if not -len(shape) <= axis < len(shape):
        raise ArgumentError(f"{caller}: an array of shape {shape} has no axis {axis}.")
    return shape[axis]


def _picked(x: Array, index: Array, axis: int) -> Array:
    if isinstance(x, (int, np.integer)):
        return index
    return take(x if hasattr(x, "dtype") else np.asarray(x), index, axis)


def _probabilities(p: Array, size: int, needed: int) -> Array:
    """Weights of the entries, whose values are checked where they are at hand."""
    p = p if hasattr(p, "dtype") else np.asarray(p)
    p = p if p.dtype.kind == "f" else p.astype(_FLOAT64)
    if p.shape != (size,):
        raise ArgumentError(
            f"choice: {size} entries need p of shape ({size},), and it has {p.shape}."
        )
    if isinstance(p, np.ndarray):
        if not np.all((p >= 0) & (p < np.inf)):
            raise ArgumentError("choice: p has negative, infinite or NaN entries.")
        if np.count_nonzero(p) < needed:
            raise ArgumentError(
                f"choice: {needed} entries cannot be chosen where p is positive for "
                f"{np.count_nonzero(p)}."
            )
    return p
