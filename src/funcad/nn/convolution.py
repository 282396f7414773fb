"""Convolutions over one to three axes, and their transposes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from funcad.core.errors import ArgumentError
from funcad.core.tracing import Array, shape_of
from funcad.numpy.checks import check_array, integers
from funcad.primitives import convolution as p
from funcad.primitives.windows import extent, windows_along

Sizes = int | Sequence[int]
Padding = str | int | Sequence[int | Sequence[int]]
Pairs = tuple[tuple[int, int], ...]


def conv(
    x: Array,
    kernel: Array,
    stride: Sizes = 1,
    padding: Padding = "valid",
    dilation: Sizes = 1,
    groups: int = 1,
    *,
    bias: Array | None = None,
) -> Array:
    """Slide a kernel over one, two or three axes and sum up the products.

    Channels come before these axes, and the kernel is not flipped (a correlation),
    both as in PyTorch, whose weights have the same shapes.

    Parameters
    ----------
    x : array, shape ``(n, channels, *size)`` or ``(channels, *size)``
        Examples, or a single one.
    kernel : array, shape ``(outputs, channels // groups, *window)``
        Its rank says over how many axes it slides. The initialisers draw kernels when
        told of the axes, as in ``nn.initializers.he_normal(in_axis=1, out_axis=0)``.
    stride : int or sequence of int
        Steps from one window to the next, for all axes or for each.
    padding : {"valid", "same"}, int, or sequence of int or of pairs of int
        Zeros before and after the entries of an axis: none; as many as make the result
        ``ceil(size / stride)``, an odd one at the end; a number for all axes; a number
        or a pair (before, after) for each.
    dilation : int or sequence of int
        Steps from one entry under the window to the next.
    groups : int
        Groups of channels that are convolved each by itself.
    bias : array, shape (outputs,), optional
        What is added to each of the outputs.

    Returns
    -------
    array, shape ``(n, outputs, *windows)`` or ``(outputs, *windows)``
        With ``(size + padding - dilation * (window - 1) - 1) // stride + 1`` windows
        along an axis.

    Raises
    ------
    ValueError
        If shapes do not fit, or a window is larger than what it is to slide over.

    See Also
    --------
    conv_transpose : The transpose, which makes the axes longer.

    References
    ----------
    V. Dumoulin and F. Visin, *A guide to convolution arithmetic for deep learning*,
    arXiv:1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> x = np.array([[0.0, 0.0, 1.0, 2.0, 3.0]])
    >>> nn.conv(x, np.array([[[-1.0, 1.0]]]))
    array([[0., 1., 1., 1.]])
    >>> nn.conv(x, np.ones((2, 1, 3)), stride=2, padding="same")
    array([[0., 3., 5.],
           [0., 3., 5.]])
    """
    single, (n, channels, *size), (outputs, each, *window) = _shapes("conv", x, kernel)
    groups = _groups("conv", groups)
    if channels != each * groups:
        raise ValueError(
            f"conv: x of shape {shape_of(x)} has {channels} channels, and a kernel of "
            f"shape {shape_of(kernel)} in {groups} groups takes {groups} * {each}. The "
            "kernel must be (outputs, channels // groups, ...)."
        )
    _check_division("conv", "outputs", outputs, groups)
    steps, pads, dilations, count = window_geometry(
        "conv", size, window, stride, padding, dilation
    )
    y = p.conv(
        x.reshape((n, groups, each, *size)),
        kernel.reshape((groups, outputs // groups, each, *window)),
        size=count,
        stride=steps,
        padding=pads,
        dilation=dilations,
    )
    return _finished("conv", y, (outputs, *count), None if single else n, bias)


def conv_transpose(
    x: Array,
    kernel: Array,
    stride: Sizes = 1,
    padding: Padding = "valid",
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    *,
    bias: Array | None = None,
) -> Array:
    """Transpose of `conv` with the same kernel, stride, padding, dilation and groups.

    Each entry of ``x`` adds the kernel, times the entry, to a window of the result.

    Parameters
    ----------
    x : array, shape ``(n, channels, *size)`` or ``(channels, *size)``
        Examples, or a single one.
    kernel : array, shape ``(channels, outputs // groups, *window)``
        The kernel of a `conv` from ``outputs`` to ``channels``.
    stride : int or sequence of int
        Steps from one window to the next, for all axes or for each.
    padding : {"valid", "same"}, int, or sequence of int or of pairs of int
        What is left out of the result before and after: nothing; as much as makes the
        result ``size * stride``; a number for all axes; a number or a pair for each.
    output_padding : int or sequence of int
        Further entries at the end of each axis, fewer than its stride: as many as the
        windows of the `conv` left over.
    dilation : int or sequence of int
        Steps from one entry under the window to the next.
    groups : int
        Groups of channels, each by itself.
    bias : array, shape (outputs,), optional
        What is added to each of the outputs.

    Returns
    -------
    array, shape ``(n, outputs, *result)`` or ``(outputs, *result)``
        With ``(size - 1) * stride + dilation * (window - 1) + 1 - padding +
        output_padding`` entries along an axis.

    Raises
    ------
    ValueError
        If shapes do not fit, or nothing would be left of the result.

    References
    ----------
    V. Dumoulin and F. Visin, *A guide to convolution arithmetic for deep learning*,
    arXiv:1603.07285, chapter 4.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> x = np.array([[1.0, 2.0, 3.0]])
    >>> nn.conv_transpose(x, np.ones((1, 1, 2)), stride=2)
    array([[1., 1., 2., 2., 3., 3.]])
    >>> nn.conv_transpose(x, np.ones((1, 1, 2)))
    array([[1., 3., 5., 3.]])
    """
    name = "conv_transpose"
    single, (n, channels, *size), (inputs, each, *window) = _shapes(name, x, kernel)
    groups = _groups(name, groups)
    if channels != inputs:
        raise ValueError(
            f"conv_transpose: x of shape {shape_of(x)} has {channels} channels, and "
            f"the kernel of shape {shape_of(kernel)} takes {inputs}. The kernel must "
            "be (channels, outputs // groups, ...)."
        )
    _check_division(name, "channels", channels, groups)
    steps, dilations = (
        for_each(name, what, value, len(size), 1)
        for what, value in (("stride", stride), ("dilation", dilation))
    )
    extra = for_each(name, "output_padding", output_padding, len(size), 0)
    extents = [extent(w, d) for w, d in zip(window, dilations, strict=True)]
    if padding == "same":
        if any(extra):
            raise ArgumentError(
                'conv_transpose: with padding="same" the size of the result is known; '
                "leave output_padding out, or give the padding in numbers."
            )
        result = [m * s for m, s in zip(size, steps, strict=True)]
        pads = _same(result, extents, steps)
    else:
        if any(e >= s for e, s in zip(extra, steps, strict=True)):
            raise ArgumentError(
                f"conv_transpose: the output_padding {output_padding} is not less than "
                f"the stride {stride}, so that another window would fit in."
            )
        pads = _pairs(name, padding, len(size))
        result = [
            (m - 1) * s + e - sum(pair) + more
            for m, s, e, pair, more in zip(
                size, steps, extents, pads, extra, strict=True
            )
        ]
    if min(result) < 1 or min(size) < 1:
        raise ValueError(
            f"conv_transpose: x of shape {shape_of(x)} and a kernel of shape "
            f"{shape_of(kernel)} with padding {padding} give a result of size "
            f"{tuple(result)}. Every axis must have an entry."
        )
    y = p.conv_back(
        x.reshape((n, groups, channels // groups, *size)),
        kernel.reshape((groups, channels // groups, each, *window)),
        size=tuple(result),
        stride=steps,
        padding=pads,
        dilation=dilations,
    )
    outputs = groups * each
    return _finished(name, y, (outputs, *result), None if single else n, bias)


# ---------------------------------------------------------------------- what all share


def window_geometry(
    name: str,
    size: Sequence[int],
    window: Sequence[int],
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
) -> tuple[tuple[int, ...], Pairs, tuple[int, ...], tuple[int, ...]]:
    """Stride, padding and dilation of each axis, and how many windows it has.

    Raises
    ------
    ValueError
        If a window is larger than what it slides over.
    """
    steps = for_each(name, "stride", stride, len(size), 1)
    dilations = for_each(name, "dilation", dilation, len(size), 1)
    extents = [extent(w, d) for w, d in zip(window, dilations, strict=True)]
    if padding == "same":
        pads = _same(size, extents, steps)
    else:
        pads = _pairs(name, padding, len(size))
    count = tuple(
        windows_along(n, w, s, d, pair)
        for n, w, s, d, pair in zip(size, window, steps, dilations, pads, strict=True)
    )
    if min(window) < 1 or min(count) < 1:
        raise ValueError(
            f"{name}: a window of {tuple(window)} entries, dilation {dilations}, does "
            f"not fit into axes of {tuple(size)} entries with padding {pads}. Pad "
            "more, or make the window smaller."
        )
    return steps, pads, dilations, count


def for_each(
    name: str, what: str, value: Sizes, rank: int, least: int
) -> tuple[int, ...]:
    """A number for each axis, from one or several."""
    sizes = integers(value)
    if sizes is not None and not isinstance(value, Sequence):
        sizes *= rank
    if sizes is None or len(sizes) != rank or min(sizes, default=least) < least:
        raise ArgumentError(
            f"{name}: {what}={value!r} must be an integer from {least} on, or a "
            f"sequence of {rank} of them, one for each axis that the window slides "
            "over."
        )
    return sizes


def _pairs(name: str, padding: Padding, rank: int) -> Pairs:
    """Padding before and after each axis."""
    if padding == "valid":
        return ((0, 0),) * rank
    wrong = ArgumentError(
        f'{name}: padding={padding!r} must be "valid", "same", an integer from 0 on, '
        f"or a sequence of {rank} integers or pairs (before, after), one for each axis "
        "that the window slides over."
    )
    if isinstance(padding, str):
        raise wrong
    given = padding if isinstance(padding, Sequence) else [padding] * rank
    pairs: list[Any] = [
        integers(v if isinstance(v, Sequence) else (v, v)) or () for v in given
    ]
    if len(pairs) != rank or any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
        raise wrong
    return tuple(pairs)


def _same(size: Sequence[int], extents: Sequence[int], steps: Sequence[int]) -> Pairs:
    """Padding that gives ceil(size / stride) windows, an odd entry at the end."""
    pairs = []
    for n, reach, s in zip(size, extents, steps, strict=True):
        total = max((-(-n // s) - 1) * s + reach - n, 0)
        pairs.append((total // 2, total - total // 2))
    return tuple(pairs)


def _shapes(name: str, x: Array, kernel: Array) -> tuple[bool, Any, Any]:
    """Whether x is a single example, its shape with the axis of examples, kernel's."""
    check_array(name, "x", x)
    check_array(name, "kernel", kernel)
    shape, weights = shape_of(x), shape_of(kernel)
    if not 3 <= len(weights) <= 5:
        raise ValueError(
            f"{name}: the kernel has shape {weights}; it must have two axes of "
            "channels, and then one to three axes that it slides over."
        )
    single = len(shape) == len(weights) - 1
    if not single and len(shape) != len(weights):
        raise ValueError(
            f"{name}: a kernel of shape {weights} slides over the last "
            f"{len(weights) - 2} axes of x, which has shape {shape}; x must be (n, "
            "channels, ...) or (channels, ...) with as many axes after the channels."
        )
    return single, (1, *shape) if single else shape, weights


def _groups(name: str, groups: int) -> int:
    (count,) = integers((groups,)) or (0,)
    if count < 1:
        raise ArgumentError(f"{name}: groups={groups!r} must be an integer from 1 on.")
    return count


def _check_division(name: str, what: str, channels: int, groups: int) -> None:
    if channels % groups:
        raise ValueError(
            f"{name}: {channels} {what} do not divide into {groups} groups of one size."
        )


def _finished(
    name: str, y: Array, shape: tuple[int, ...], n: int | None, bias: Array | None
) -> Array:
    """The result with its groups of channels as one axis, and the bias added."""
    y = y.reshape(shape if n is None else (n, *shape))
    if bias is None:
        return y
    check_array(name, "bias", bias)
    if shape_of(bias) != shape[:1]:
        raise ValueError(
            f"{name}: the bias has shape {shape_of(bias)} and must have shape "
            f"{shape[:1]}, an entry for each channel of the result."
        )
    return y + bias.reshape((shape[0], *(1,) * (len(shape) - 1)))
