"""Pooling: windows that slide over the last axes, each reduced to one entry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from funcad.backends import backend_of
from funcad.core.tracing import Array, dtype_of, shape_of
from funcad.nn.convolution import Padding, Sizes, for_each, window_geometry
from funcad.numpy.checks import check_array, check_boolean
from funcad.primitives import windows as p


def max_pool(
    x: Array,
    window: Sizes,
    stride: Sizes | None = None,
    padding: Padding = "valid",
    dilation: Sizes = 1,
) -> Array:
    """Largest entry of each window.

    Where several entries of a window attain the maximum, each of them gets an equal
    share of the derivative, as in ``np.max``.

    Parameters
    ----------
    x : array, shape ``(..., *size)``
        Of real numbers.
    window : int or sequence of int
        Entries under a window: a number for each of the last axes, or one number for
        all axes but the first two, which are taken for examples and channels.
    stride : int or sequence of int, optional
        Steps from one window to the next; by default those that leave no overlap, the
        size of the window.
    padding : {"valid", "same"}, int, or sequence of int or of pairs of int
        Places before and after the entries of an axis, as for `conv`; they never
        attain the maximum.
    dilation : int or sequence of int
        Steps from one entry under the window to the next.

    Returns
    -------
    array, shape ``(..., *windows)``

    Raises
    ------
    ValueError
        If shapes do not fit, or a window has no entry.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad import nn
    >>> x = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])
    >>> nn.max_pool(x, (2,))
    array([3., 4., 9.])
    >>> funcad.grad(lambda x: np.sum(nn.max_pool(x, (3,), stride=1)))(x)
    array([0., 0., 2., 0., 1., 1.])
    """
    check_array("max_pool", "x", x)
    if dtype_of(x).kind not in "fiub":
        raise TypeError(
            f"max_pool: entries of dtype {dtype_of(x)} have no order. Give it real "
            "numbers, such as np.abs(x)."
        )
    params, _ = _pooling("max_pool", x, window, stride, padding, dilation)
    return p.window_max(x, **params)


def average_pool(
    x: Array,
    window: Sizes,
    stride: Sizes | None = None,
    padding: Padding = "valid",
    *,
    count_include_pad: bool = True,
) -> Array:
    """Mean of each window.

    The mean over whole axes is ``np.mean(x, axis=(-2, -1))``.

    Parameters
    ----------
    x : array, shape ``(..., *size)``
    window : int or sequence of int
        Entries under a window: a number for each of the last axes, or one number for
        all axes but the first two, which are taken for examples and channels.
    stride : int or sequence of int, optional
        Steps from one window to the next; by default those that leave no overlap, the
        size of the window.
    padding : {"valid", "same"}, int, or sequence of int or of pairs of int
        Places before and after the entries of an axis, as for `conv`.
    count_include_pad : bool
        Whether places of the padding count as entries, which are zero. Otherwise the
        mean is taken over the entries of ``x`` alone.

    Returns
    -------
    array, shape ``(..., *windows)``
        In float64 where ``x`` holds integers.

    Raises
    ------
    ValueError
        If shapes do not fit, or a window has no entry.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> x = np.array([1.0, 3.0, 5.0, 7.0])
    >>> nn.average_pool(x, (2,))
    array([2., 6.])
    >>> nn.average_pool(x, (2,), padding=[1])
    array([0.5, 4. , 3.5])
    >>> nn.average_pool(x, (2,), padding=[1], count_include_pad=False)
    array([1., 4., 7.])
    """
    check_array("average_pool", "x", x)
    check_boolean("average_pool", "count_include_pad", count_include_pad)
    params, counts = _pooling("average_pool", x, window, stride, padding, 1)
    total = p.window_sum(x, **params)
    whole = math.prod(params["window"])
    entries = _outer(counts)
    if count_include_pad or (entries == whole).all():
        return total / whole
    dtype = dtype_of(total)
    real = np.finfo(dtype).dtype if dtype.kind in "fc" else np.dtype(np.float64)
    return total / backend_of(x).from_host(entries.astype(real))


def _pooling(
    name: str,
    x: Array,
    window: Sizes,
    stride: Sizes | None,
    padding: Padding,
    dilation: Sizes,
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Parameters of the primitive, and how many entries the windows of an axis have."""
    shape = shape_of(x)
    rank = len(window) if isinstance(window, Sequence) else max(len(shape) - 2, 0)
    sizes = for_each(name, "window", window, rank, 1)
    if not 1 <= len(sizes) <= len(shape):
        raise ValueError(
            f"{name}: a window of {window} does not fit x, which has shape {shape}. "
            "Give a sequence with a size for each of the last axes that it slides "
            "over, or, for arrays of three axes or more, one number for all but the "
            "first two."
        )
    entries = shape[len(shape) - len(sizes) :]
    steps, pads, dilations, number = window_geometry(
        name, entries, sizes, sizes if stride is None else stride, padding, dilation
    )
    counts = [
        _entries(*axis)
        for axis in zip(entries, sizes, steps, dilations, pads, number, strict=True)
    ]
    if any(count.min() == 0 for count in counts):
        raise ValueError(
            f"{name}: with padding {pads}, a window of {sizes} over axes of {entries} "
            "entries has places in the padding alone. Pad or dilate less."
        )
    params = {"window": sizes, "stride": steps, "padding": pads, "dilation": dilations}
    return params, counts


def _entries(
    n: int, window: int, stride: int, dilation: int, pads: tuple[int, int], number: int
) -> np.ndarray:
    """How many entries, not places of the padding, each window of an axis has."""
    first = np.arange(number) * stride - pads[0]
    places = first[:, None] + np.arange(window) * dilation
    return ((places >= 0) & (places < n)).sum(axis=1)


def _outer(counts: list[np.ndarray]) -> np.ndarray:
    """Product of the axes' numbers, for each window."""
    product = np.ones((), int)
    for count in counts:
        product = product[..., None] * count
    return product
