"""Normalisation of activations over axes of each example."""

from __future__ import annotations

import numpy as np

from funcad.core.tracing import Array, dtype_of, shape_of
from funcad.numpy.checks import broadcasts, check_array, check_number
from funcad.numpy.reductions import axes_of
from funcad.primitives import nn

Axis = int | tuple[int, ...]


def layer_norm(
    x: Array,
    scale: Array | None = None,
    bias: Array | None = None,
    axis: Axis = -1,
    eps: float = 1e-5,
) -> Array:
    """Shift and scale to mean 0 and variance 1 over ``axis``, then by parameters.

    Parameters
    ----------
    x : array
    scale, bias : array, optional
        Factor and summand of the normalised entries, whose shape is that of ``axis`` in
        ``x`` or broadcasts to it.
    axis : int or tuple of int
    eps : float
        Added to the variance.

    Returns
    -------
    array
        ``(x - mean) / sqrt(variance + eps) * scale + bias``, of the shape of ``x``.

    Raises
    ------
    ValueError
        If the scale or bias does not fit the axes.

    References
    ----------
    J. L. Ba, J. R. Kiros and G. E. Hinton, *Layer normalization*, arXiv:1607.06450.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> nn.layer_norm(np.array([1.0, 2.0, 3.0]), np.ones(3), np.zeros(3)).round(3)
    array([-1.225,  0.   ,  1.225])
    """
    check_array("layer_norm", "x", x)
    check_number("layer_norm", "eps", eps, 0)
    axes = _axes(x, axis, "layer_norm")
    y, _ = nn.standardize(_inexact(x), axis=axes, eps=eps)
    if scale is not None:
        scale = aligned(scale, shape_of(x), axes, "layer_norm", "scale")
    if bias is not None:
        bias = aligned(bias, shape_of(x), axes, "layer_norm", "bias")
    if scale is None:
        return y if bias is None else y + bias
    return y * scale if bias is None else nn.multiply_add(y, scale, bias)


def rms_norm(
    x: Array, scale: Array | None = None, axis: Axis = -1, eps: float = 1e-6
) -> Array:
    """Scale to mean square 1 over ``axis``, then by a parameter.

    Parameters
    ----------
    x : array
    scale : array, optional
        Factor of the normalised entries, whose shape is that of ``axis`` in ``x`` or
        broadcasts to it.
    axis : int or tuple of int
    eps : float
        Added to the mean square.

    Returns
    -------
    array
        ``x / sqrt(mean(x**2) + eps) * scale``, of the shape of ``x``.

    Raises
    ------
    ValueError
        If the scale does not fit the axes.

    References
    ----------
    B. Zhang and R. Sennrich, *Root mean square layer normalization*, arXiv:1910.07467.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> nn.rms_norm(np.array([3.0, 4.0]), np.ones(2)).round(3)
    array([0.849, 1.131])
    """
    check_array("rms_norm", "x", x)
    check_number("rms_norm", "eps", eps, 0)
    axes = _axes(x, axis, "rms_norm")
    y, _ = nn.rms_scale(_inexact(x), axis=axes, eps=eps)
    return (
        y
        if scale is None
        else y * aligned(scale, shape_of(x), axes, "rms_norm", "scale")
    )


def _inexact(x: Array) -> Array:
    """Integers and booleans as float64, floats as they are."""
    return x if dtype_of(x).kind in "fc" else x * 1.0


def _axes(x: Array, axis: Axis, name: str) -> tuple[int, ...]:
    shape = shape_of(x)
    axes = tuple(sorted(axes_of(axis, len(shape))))
    if any(shape[a] == 0 for a in axes):
        raise ValueError(
            f"{name} over axis {axis} of an array of shape {shape} is over no entries "
            "at all, which have no mean. Give it at least one entry there."
        )
    return axes


def aligned(
    parameter: Array,
    of: tuple[int, ...],
    axes: tuple[int, ...],
    name: str,
    what: str,
) -> Array:
    """A parameter whose dimensions stand where the axes stand in a shape."""
    check_array(name, what, parameter)
    shape, sizes = shape_of(parameter), tuple(of[a] for a in axes)
    if not broadcasts(shape, sizes):
        raise ValueError(
            f"{name}: its {what} has shape {shape}, and the axes {axes} of x, whose "
            f"shape is {of}, have sizes {sizes}. Give a {what} of shape {sizes}."
        )
    padded = (1,) * (len(sizes) - len(shape)) + shape
    rank = len(of)
    if axes == tuple(range(rank - len(axes), rank)):
        return parameter
    target = [1] * rank
    for a, n in zip(axes, padded, strict=True):
        target[a] = n
    return np.reshape(parameter, tuple(target))
