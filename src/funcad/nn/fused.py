"""Products of matrices, normalised in the place where they are computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from funcad.core.tracing import Array, bind, dtype_of, shape_of
from funcad.nn.activations import softmax
from funcad.nn.normalization import aligned, layer_norm
from funcad.numpy.checks import check_array, check_number
from funcad.numpy.products import check_inner
from funcad.numpy.reductions import axes_of
from funcad.primitives import nn
from funcad.primitives.contraction import swap_last
from funcad.primitives.fused_layer_norm import matmul_standardize
from funcad.primitives.fused_softmax import matmul_softmax as fused_softmax

Axis = int | tuple[int, ...]


def matmul_layer_norm(
    a: Array,
    b: Array,
    scale: Array | None = None,
    bias: Array | None = None,
    axis: Axis = -1,
    eps: float = 1e-5,
) -> Array:
    """``layer_norm(a @ b, scale, bias, axis, eps)``, block by block in one array.

    Parameters
    ----------
    a : array, shape (..., m, k)
    b : array, shape (..., k, n)
    scale, bias : array, optional
        Factor and summand of the normalised entries, whose shape is that of ``axis`` in
        the product or broadcasts to it.
    axis : int or tuple of int
        Axes of the product.
    eps : float
        Added to the variance.

    Returns
    -------
    array, shape (..., m, n)

    Raises
    ------
    ValueError
        If the shapes, the axes or the parameters do not fit.

    See Also
    --------
    layer_norm

    Notes
    -----
    The product is normalised block by block where it is computed, and its derivatives
    need no more than the result and a number a row: an array of the product's size is
    there once, where the composition has two.  Over the last axis, where that is long
    beside the rows of ``a``, the operands are changed so that their product comes out
    normalised, which takes about half of the composition's time.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> a, b = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    >>> nn.matmul_layer_norm(a, b).round(3)
    array([[-1.225,  0.   ,  1.225]])
    """
    shape = _product_shape("matmul_layer_norm", a, b)
    check_number("matmul_layer_norm", "eps", eps, 0)
    if shape is None:
        return layer_norm(np.matmul(a, b), scale, bias, axis, eps)
    axes = _axes(axis, shape, "matmul_layer_norm")
    if scale is not None:
        scale = aligned(scale, shape, axes, "matmul_layer_norm", "scale")
    if bias is not None:
        bias = aligned(bias, shape, axes, "matmul_layer_norm", "bias")
    y = _through(matmul_standardize, a, b, len(shape), axes, {"eps": eps})
    if scale is None:
        return y if bias is None else y + bias
    return y * scale if bias is None else nn.multiply_add(y, scale, bias)


def matmul_softmax(a: Array, b: Array, axis: Axis = -1) -> Array:
    """``softmax(a @ b, axis)``, block by block in one array.

    Parameters
    ----------
    a : array, shape (..., m, k)
    b : array, shape (..., k, n)
    axis : int or tuple of int
        Axes of the product.

    Returns
    -------
    array, shape (..., m, n)

    Raises
    ------
    ValueError
        If the shapes or the axes do not fit.

    See Also
    --------
    softmax

    Notes
    -----
    The product is normalised block by block where it is computed, and its derivatives
    need no more than the result: an array of the product's size is there once, where
    the composition has two.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> nn.matmul_softmax(np.eye(2), np.array([[1e4, 1e4], [0.0, -1e4]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    shape = _product_shape("matmul_softmax", a, b)
    if shape is None:
        return softmax(np.matmul(a, b), axis)
    axes = _axes(axis, shape, "matmul_softmax")
    return _through(fused_softmax, a, b, len(shape), axes, {})


def _through(
    primitive: Any, a: Array, b: Array, rank: int, axes: Any, params: Any
) -> Array:
    """The first result of a primitive, which has whole rows of the product to itself.

    Columns are rows of the transposed product.
    """
    rows, columns = rank - 2, rank - 1
    if columns in axes or rows not in axes:
        return bind(primitive, (a, b), params | {"axis": axes})[0]
    axes = tuple(sorted(columns if k == rows else k for k in axes))
    a, b = swap_last(b), swap_last(a)
    return swap_last(bind(primitive, (a, b), params | {"axis": axes})[0])


def _product_shape(name: str, a: Array, b: Array) -> tuple[int, ...] | None:
    """Shape of the product of matrices; ``None`` for vectors and integers.

    Integers have no derivative, and vectors make nothing that could be saved.
    """
    check_array(name, "a", a)
    check_array(name, "b", b)
    left, right = shape_of(a), shape_of(b)
    if len(left) < 2 or len(right) < 2:
        return None
    if dtype_of(a).kind not in "fc" and dtype_of(b).kind not in "fc":
        return None
    if left[-1] != right[-2]:
        check_inner(name, left, right, left[-1], right[-2])
    if left[:-2] == right[:-2]:
        return (*left[:-1], right[-1])
    try:
        lead = np.broadcast_shapes(left[:-2], right[:-2])
    except ValueError:
        raise ValueError(
            f"{name}: the stacks of matrices of shapes {left} and {right} do not "
            f"broadcast: {left[:-2]} and {right[:-2]}."
        ) from None
    return (*lead, left[-2], right[-1])


def _axes(axis: Axis, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    axes = axes_of(axis, len(shape))
    if len(axes) > 1:
        axes = tuple(sorted(axes))
    if 0 in shape and 0 in [shape[k] for k in axes]:
        raise ValueError(
            f"{name} over axis {axis} of a product of shape {shape} is over no entries "
            "at all, and has no value. Give it at least one entry there."
        )
    return axes
