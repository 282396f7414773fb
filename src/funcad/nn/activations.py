"""Activations, entry by entry, and softmax and its relatives, over axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from funcad.core.tracing import Array, dtype_of, shape_of
from funcad.numpy.checks import check_array, check_boolean, check_mask
from funcad.numpy.reductions import axes_of
from funcad.primitives import elementwise, nn

Axis = int | tuple[int, ...]


def relu(x: Array) -> Array:
    """Rectified linear unit, ``max(x, 0)``, whose derivative at 0 is 0.

    Parameters
    ----------
    x : array

    Returns
    -------
    array

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> nn.relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    check_array("relu", "x", x)
    return nn.relu(x)


def leaky_relu(x: Array, negative_slope: float = 1e-2) -> Array:
    """``x`` where it is positive or zero, and ``negative_slope * x`` elsewhere.

    Parameters
    ----------
    x : array
    negative_slope : float

    Returns
    -------
    array

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> nn.leaky_relu(np.array([-1.0, 2.0]))
    array([-0.01,  2.  ])
    """
    check_array("leaky_relu", "x", x)
    check_array("leaky_relu", "negative_slope", negative_slope)
    return np.where(x >= 0, x, negative_slope * x)


def elu(x: Array, alpha: float = 1.0) -> Array:
    """Exponential linear unit: ``x`` where positive, ``alpha * expm1(x)`` elsewhere.

    Parameters
    ----------
    x : array
    alpha : float

    Returns
    -------
    array

    References
    ----------
    D.-A. Clevert, T. Unterthiner and S. Hochreiter, *Fast and accurate deep network
    learning by exponential linear units*, arXiv:1511.07289.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> nn.elu(np.array([-1.0, 2.0]))
    array([-0.63212056,  2.        ])
    """
    check_array("elu", "x", x)
    check_array("elu", "alpha", alpha)
    positive = x > 0
    # an exponential of large entries would overflow in the branch that is not taken
    return np.where(positive, x, alpha * np.expm1(np.where(positive, 0, x)))


def gelu(x: Array, approximate: bool = True) -> Array:
    """Gaussian error linear unit, x times the normal distribution function of x.

    Parameters
    ----------
    x : array
    approximate : bool
        Whether to use the approximation by tanh, which differs from the exact function
        by less than 5e-4 and is faster.

    Returns
    -------
    array

    References
    ----------
    D. Hendrycks and K. Gimpel, *Gaussian error linear units*, arXiv:1606.08415.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> nn.gelu(np.array([-1.0, 0.0, 1.0]))
    array([-0.15880801,  0.        ,  0.84119199])
    >>> nn.gelu(np.array([-1.0, 0.0, 1.0]), approximate=False)
    array([-0.15865525,  0.        ,  0.84134475])
    """
    check_array("gelu", "x", x)
    check_boolean("gelu", "approximate", approximate)
    if approximate:
        return nn.through_gate(nn.gelu, nn.gelu_gate, x)
    return nn.through_gate(nn.gelu_exact, nn.gelu_exact_gate, x)


def silu(x: Array) -> Array:
    """Sigmoid linear unit (swish), ``x * sigmoid(x)``.

    Parameters
    ----------
    x : array

    Returns
    -------
    array

    References
    ----------
    S. Elfwing, E. Uchibe and K. Doya, *Sigmoid-weighted linear units for neural
    network function approximation in reinforcement learning*, arXiv:1702.03118.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> nn.silu(np.array([-1.0, 0.0, 1.0]))
    array([-0.26894142,  0.        ,  0.73105858])
    """
    check_array("silu", "x", x)
    return nn.through_gate(nn.silu, nn.logistic, x)


swish = silu


def sigmoid(x: Array) -> Array:
    """Logistic function, ``1 / (1 + exp(-x))``.

    Parameters
    ----------
    x : array

    Returns
    -------
    array

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> nn.sigmoid(np.array([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ])
    """
    check_array("sigmoid", "x", x)
    return nn.logistic(x)


def softplus(x: Array) -> Array:
    """Smooth approximation of relu, ``log(1 + exp(x))``.

    Parameters
    ----------
    x : array

    Returns
    -------
    array

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> nn.softplus(np.array([-1e4, 0.0, 1e4]))
    array([0.00000000e+00, 6.93147181e-01, 1.00000000e+04])
    """
    check_array("softplus", "x", x)
    return np.logaddexp(x, 0)


# ------------------------------------------------------------- softmax and relatives


def softmax(x: Array, axis: Axis = -1, where: Array | None = None) -> Array:
    """Exponentials scaled to sum to one over ``axis``.

    Parameters
    ----------
    x : array
    axis : int or tuple of int
    where : array of bool, optional
        Which entries count; the others get 0, as those that are minus infinity do.

    Returns
    -------
    array
        Of the shape of ``x``.  Zeros where no entry counts.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> nn.softmax(np.array([1e4, 1e4, -1e4]))
    array([0.5, 0.5, 0. ])
    """
    x = _masked(x, where, "softmax")
    return nn.softmax(x, axis=_axes(x, axis, "softmax"))


def log_softmax(x: Array, axis: Axis = -1, where: Array | None = None) -> Array:
    """Logarithm of :func:`softmax`, exact where softmax itself is too small a number.

    Parameters
    ----------
    x : array
    axis : int or tuple of int
    where : array of bool, optional
        Which entries count; the others get minus infinity.

    Returns
    -------
    array
        Of the shape of ``x``.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> nn.log_softmax(np.array([1e4, 0.0]))
    array([     0., -10000.])
    """
    x = _masked(x, where, "log_softmax")
    total = nn.logsumexp(x, axis=_axes(x, axis, "log_softmax"), keepdims=True)
    # minus infinity less minus infinity is no number
    return x - np.where(total == -np.inf, 0, total)


def logsumexp(
    a: Array,
    axis: Axis | None = None,
    b: Array | None = None,
    keepdims: bool = False,
) -> Array:
    """Logarithm of the sum of exponentials, ``log(sum(b * exp(a)))``.

    Parameters
    ----------
    a : array
    axis : int or tuple of int, optional
        All axes by default.
    b : array, optional
        Weights, which broadcast against ``a``.
    keepdims : bool

    Returns
    -------
    array
        NaN, as in SciPy, where the weighted sum is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> float(nn.logsumexp(np.array([[1e4, 1e4], [0.0, 0.0]]), axis=1)[1])
    0.6931471805599453
    """
    check_array("logsumexp", "a", a)
    check_boolean("logsumexp", "keepdims", keepdims)
    a = _inexact(a)
    if b is None:
        return nn.logsumexp(a, axis=_axes(a, axis, "logsumexp"), keepdims=keepdims)
    check_array("logsumexp", "b", b)
    # an exponential whose weight is zero must not decide the shift, nor overflow
    a = np.where(b == 0, -np.inf, a + 0 * b)
    axes = _axes(a, axis, "logsumexp")
    shift = elementwise.stop_gradient(np.max(a, axis=axes, keepdims=True))
    shift = np.where(np.isfinite(shift), shift, 0)
    total = np.sum(b * np.exp(a - shift), axis=axes, keepdims=True)
    empty = total == 0
    out = np.where(empty, -np.inf, np.log(np.where(empty, 1, total)) + shift)
    return out if keepdims else np.squeeze(out, axes)


def _masked(x: Array, where: Array | None, name: str) -> Array:
    check_array(name, "x", x)
    x = _inexact(x)
    if where is None:
        return x
    check_mask(name, "where", where, shape_of(x))
    return np.where(where, x, -np.inf)


def _inexact(x: Array) -> Array:
    """Integers and booleans as float64, floats as they are."""
    return x if dtype_of(x).kind in "fc" else x * 1.0


def _axes(x: Array, axis: Any, name: str) -> tuple[int, ...]:
    shape = shape_of(x)
    axes = axes_of(axis, len(shape))
    if any(shape[a] == 0 for a in axes):
        raise ValueError(
            f"{name} over axis {axis} of an array of shape {shape} is over no entries "
            "at all, and has no value. Give it at least one entry there."
        )
    return axes
