"""First values of parameters: functions of a random key, a shape and a dtype.

Names and meanings are those of ``jax.nn.initializers``: `zeros` and `ones` are
initialisers; `normal`, `he_normal` and the others make one.

>>> from funcad import nn, random
>>> init = nn.initializers.he_normal()
>>> weight = init(random.key(0), (512, 256), "float32")
>>> weight.shape, weight.dtype, round(float(weight.std() * 16), 1)
((512, 256), dtype('float32'), 1.0)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from funcad import random
from funcad.backends import namespace
from funcad.core.errors import ArgumentError
from funcad.core.tracing import Array
from funcad.numpy.checks import check_array, check_number, described, integers
from funcad.primitives.special import erf

__all__ = [
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "zeros",
]

Initializer = Callable[..., Array]
Shape = Sequence[int]
Axes = int | Sequence[int]


def zeros(key: Array, shape: Shape, dtype: Any = np.float64) -> Array:
    """Zeros, whatever the key.

    Parameters
    ----------
    key : array of uint64, shape (2,)
        Decides only where the array is made, on CPU or GPU.
    shape : tuple of int
    dtype : dtype

    Returns
    -------
    array

    Examples
    --------
    >>> from funcad import nn, random
    >>> nn.initializers.zeros(random.key(0), (2,))
    array([0., 0.])
    """
    return namespace(key).zeros(random.checked_shape(shape, "zeros"), dtype)


def ones(key: Array, shape: Shape, dtype: Any = np.float64) -> Array:
    """Ones, whatever the key.

    Parameters
    ----------
    key : array of uint64, shape (2,)
        Decides only where the array is made, on CPU or GPU.
    shape : tuple of int
    dtype : dtype

    Returns
    -------
    array

    Examples
    --------
    >>> from funcad import nn, random
    >>> nn.initializers.ones(random.key(0), (2,))
    array([1., 1.])
    """
    return namespace(key).ones(random.checked_shape(shape, "ones"), dtype)


def constant(value: Array, dtype: Any = np.float64) -> Initializer:
    """Initialiser that fills with one value, or broadcasts an array.

    Parameters
    ----------
    value : float or array
    dtype : dtype
        Where none is given to the initialiser.

    Returns
    -------
    callable
        ``init(key, shape, dtype)``.

    Examples
    --------
    >>> from funcad import nn, random
    >>> nn.initializers.constant(0.5)(random.key(0), (2,))
    array([0.5, 0.5])
    """
    check_array("constant", "value", value)

    def init(key: Array, shape: Shape, dtype: Any = dtype) -> Array:
        sizes = random.checked_shape(shape, "constant")
        return namespace(key).full(sizes, value, dtype)

    return init


def uniform(scale: float = 1e-2, dtype: Any = np.float64) -> Initializer:
    """Initialiser that draws evenly from ``[0, scale)``.

    Parameters
    ----------
    scale : float
    dtype : dtype
        Where none is given to the initialiser.

    Returns
    -------
    callable
        ``init(key, shape, dtype)``.

    Examples
    --------
    >>> from funcad import nn, random
    >>> x = nn.initializers.uniform(2.0)(random.key(0), (1000,))
    >>> bool(x.min() >= 0), bool(x.max() < 2), bool(abs(x.mean() - 1) < 0.1)
    (True, True, True)
    """
    _check_number("uniform", "scale", scale)

    def draw(key: Array, shape: Shape, dtype: Any) -> Array:
        return random.uniform(key, shape, dtype) * scale

    return _initializer("uniform", draw, dtype)


def normal(stddev: float = 1e-2, dtype: Any = np.float64) -> Initializer:
    """Initialiser that draws from a normal distribution of mean 0.

    Parameters
    ----------
    stddev : float
    dtype : dtype
        Where none is given to the initialiser.

    Returns
    -------
    callable
        ``init(key, shape, dtype)``.

    Examples
    --------
    >>> from funcad import nn, random
    >>> x = nn.initializers.normal(0.02)(random.key(0), (1000,))
    >>> bool(abs(x.std() - 0.02) < 0.002)
    True
    """
    _check_number("normal", "stddev", stddev, 0)

    def draw(key: Array, shape: Shape, dtype: Any) -> Array:
        return random.normal(key, shape, dtype) * stddev

    return _initializer("normal", draw, dtype)


def truncated_normal(
    stddev: float = 1e-2,
    dtype: Any = np.float64,
    lower: float = -2.0,
    upper: float = 2.0,
) -> Initializer:
    """Initialiser that draws from a normal distribution cut off on both sides.

    Parameters
    ----------
    stddev : float
        Standard deviation before cutting off.
    dtype : dtype
        Where none is given to the initialiser.
    lower, upper : float
        Bounds, in units of ``stddev``.

    Returns
    -------
    callable
        ``init(key, shape, dtype)``.

    Examples
    --------
    >>> from funcad import nn, random
    >>> x = nn.initializers.truncated_normal(1.0)(random.key(0), (1000,))
    >>> bool(abs(x).max() <= 2), bool(abs(x.std() - 0.88) < 0.06)
    (True, True)
    """
    _check_number("truncated_normal", "stddev", stddev, 0)
    _check_number("truncated_normal", "lower", lower)
    _check_number("truncated_normal", "upper", upper)
    if not lower < upper:
        raise ArgumentError(
            f"truncated_normal: the lower bound {lower} is not below the upper {upper}."
        )
    low, high = math.erf(lower * math.sqrt(0.5)), math.erf(upper * math.sqrt(0.5))

    def draw(key: Array, shape: Shape, dtype: Any) -> Array:
        unit = random.uniform(key, shape, dtype)
        # rounding could give 1, whose normal quantile is infinite
        limit = 1 - float(np.finfo(unit.dtype).eps)
        drawn = math.sqrt(2) * _erf_inverse(
            np.clip(low + (high - low) * unit, -limit, limit)
        )
        return np.clip(drawn, lower, upper) * stddev

    return _initializer("truncated_normal", draw, dtype)


def variance_scaling(
    scale: float,
    mode: Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"],
    distribution: Literal["truncated_normal", "normal", "uniform"],
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: Any = np.float64,
) -> Initializer:
    """Initialiser whose variance is ``scale / n``, for n inputs or outputs of a unit.

    Parameters
    ----------
    scale : float
    mode : {"fan_in", "fan_out", "fan_avg", "fan_geo_avg"}
        What n is: inputs, outputs, or the arithmetic or geometric mean of both.
    distribution : {"truncated_normal", "normal", "uniform"}
    in_axis, out_axis : int or sequence of int
        Axes of inputs and outputs; all others but those of ``batch_axis`` multiply
        both, as the positions of a convolution's kernel do.
    batch_axis : int or sequence of int
        Axes of separate weights, which do not count.
    dtype : dtype
        Where none is given to the initialiser.

    Returns
    -------
    callable
        ``init(key, shape, dtype)``.

    Raises
    ------
    ArgumentError
        If the mode or distribution is none of those listed.

    Examples
    --------
    >>> from funcad import nn, random
    >>> init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
    >>> x = init(random.key(0), (100, 50))
    >>> bool(abs(x.var() - 2 / 50) < 0.004)
    True
    """
    arguments = scale, mode, distribution, in_axis, out_axis, batch_axis, dtype
    return _scaled("variance_scaling", *arguments)


def _scaled(
    name: str,
    scale: float,
    mode: str,
    distribution: str,
    in_axis: Axes,
    out_axis: Axes,
    batch_axis: Axes,
    dtype: Any,
) -> Initializer:
    """`variance_scaling`, by the name of the initialiser."""
    _check_number(name, "scale", scale, 0)
    inward, outward, batch = (
        _axes(name, what, axes)
        for what, axes in (
            ("in_axis", in_axis),
            ("out_axis", out_axis),
            ("batch_axis", batch_axis),
        )
    )
    if mode not in _FANS:
        raise ArgumentError(
            f"variance_scaling: the mode {mode!r} is none of {', '.join(_FANS)}."
        )
    if distribution not in ("truncated_normal", "normal", "uniform"):
        raise ArgumentError(
            f"variance_scaling: the distribution {distribution!r} is none of "
            "truncated_normal, normal, uniform."
        )

    def draw(key: Array, shape: Shape, dtype: Any) -> Array:
        inputs, outputs = _fans(name, shape, inward, outward, batch)
        deviation = math.sqrt(scale / max(_FANS[mode](inputs, outputs), 1))
        if distribution == "normal":
            return random.normal(key, shape, dtype) * deviation
        if distribution == "uniform":
            bound = math.sqrt(3) * deviation
            return random.uniform(key, shape, dtype, -bound, bound)
        return truncated_normal(deviation / _TRUNCATED_DEVIATION)(key, shape, dtype)

    return _initializer(name, draw, dtype)


_FANS: dict[str, Callable[[float, float], float]] = {
    "fan_in": lambda inputs, outputs: inputs,
    "fan_out": lambda inputs, outputs: outputs,
    "fan_avg": lambda inputs, outputs: (inputs + outputs) / 2,
    "fan_geo_avg": lambda inputs, outputs: math.sqrt(inputs * outputs),
}

# of the standard normal distribution cut off at +-2: 1 - 4 phi(2) / (2 Phi(2) - 1)
_TRUNCATED_DEVIATION = math.sqrt(
    1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))
)


def _fans(
    name: str, shape: Shape, in_axis: Shape, out_axis: Shape, batch_axis: Shape
) -> tuple[int, int]:
    def size(axes: Shape) -> int:
        return math.prod(shape[a] for a in axes)

    if len(shape) < 2:
        raise ArgumentError(
            f"{name}: a weight of shape {shape} has no axes of inputs "
            "and outputs; it needs two axes at least. For a bias use zeros."
        )
    inputs, outputs = size(in_axis), size(out_axis)
    field = math.prod(shape) // max(inputs * outputs * size(batch_axis), 1)
    return inputs * field, outputs * field


def _scaling(
    name: str, reference: str, scale: float, mode: Any, distribution: Any
) -> Callable[..., Initializer]:
    """Maker of the initialiser that is `variance_scaling` with fixed arguments."""

    def make(
        in_axis: Axes = -2,
        out_axis: Axes = -1,
        batch_axis: Axes = (),
        dtype: Any = np.float64,
    ) -> Initializer:
        arguments = scale, mode, distribution, in_axis, out_axis, batch_axis, dtype
        return _scaled(name, *arguments)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""``variance_scaling({scale}, "{mode}", "{distribution}")``.

    Parameters
    ----------
    in_axis, out_axis, batch_axis : int or sequence of int
        Axes of inputs, of outputs and of separate weights.
    dtype : dtype
        Where none is given to the initialiser.

    Returns
    -------
    callable
        ``init(key, shape, dtype)``.

    References
    ----------
    {reference}

    Examples
    --------
    >>> from funcad import nn, random
    >>> nn.initializers.{name}()(random.key(0), (3, 2)).shape
    (3, 2)
    """
    return make


_GLOROT = """X. Glorot and Y. Bengio, *Understanding the difficulty of training deep
    feedforward neural networks*, AISTATS 2010."""
_LECUN = "Y. LeCun et al., *Efficient backprop*, 1998, section 4.6."
_HE = """K. He et al., *Delving deep into rectifiers*, ICCV 2015."""

glorot_normal = _scaling("glorot_normal", _GLOROT, 1.0, "fan_avg", "truncated_normal")
glorot_uniform = _scaling("glorot_uniform", _GLOROT, 1.0, "fan_avg", "uniform")
lecun_normal = _scaling("lecun_normal", _LECUN, 1.0, "fan_in", "truncated_normal")
lecun_uniform = _scaling("lecun_uniform", _LECUN, 1.0, "fan_in", "uniform")
he_normal = _scaling("he_normal", _HE, 2.0, "fan_in", "truncated_normal")
he_uniform = _scaling("he_uniform", _HE, 2.0, "fan_in", "uniform")


def orthogonal(
    scale: float = 1.0, column_axis: int = -1, dtype: Any = np.float64
) -> Initializer:
    """Initialiser that draws orthogonal matrices, all equally likely.

    Parameters
    ----------
    scale : float
        Length of the rows or columns.
    column_axis : int
        Axis of columns; all others together are the rows.
    dtype : dtype
        Where none is given to the initialiser.

    Returns
    -------
    callable
        ``init(key, shape, dtype)``; the shorter of rows and columns are orthogonal.

    References
    ----------
    F. Mezzadri, *How to generate random matrices from the classical compact groups*,
    Notices of the AMS 54 (2007): the signs of R's diagonal make QR unique.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn, random
    >>> q = nn.initializers.orthogonal()(random.key(0), (3, 2))
    >>> np.allclose(q.T @ q, np.eye(2))
    True
    """
    _check_number("orthogonal", "scale", scale)

    def draw(key: Array, shape: Shape, dtype: Any) -> Array:
        if len(shape) < 2:
            raise ArgumentError(
                f"orthogonal: an array of shape {shape} is no matrix; it needs two "
                "axes at least."
            )
        columns = shape[column_axis]
        rows = math.prod(shape) // max(columns, 1)
        tall = random.normal(key, (max(rows, columns), min(rows, columns)), dtype)
        q, r = np.linalg.qr(tall)
        q = q * np.sign(np.diagonal(r))
        q = q if rows >= columns else q.T
        rest = list(shape)
        del rest[column_axis]
        return np.moveaxis(q.reshape(*rest, columns), -1, column_axis) * scale

    return _initializer("orthogonal", draw, dtype)


def _initializer(
    name: str, draw: Callable[[Array, Shape, Any], Array], dtype: Any
) -> Initializer:
    """An initialiser with a dtype of its own, which says what it is given wrongly."""

    def init(key: Array, shape: Shape, dtype: Any = dtype) -> Array:
        key = random.checked_key(key, name, "init")
        return draw(key, random.checked_shape(shape, name), dtype)

    return init


def _check_number(name: str, what: str, x: Any, least: float = -math.inf) -> None:
    check_number(name, what, x, least, f" Write {name}(...)(key, shape) to draw.")


def _axes(name: str, what: str, axes: Axes) -> tuple[int, ...]:
    checked = integers(axes)
    if checked is None:
        raise ArgumentError(
            f"{name}: {what} must be an integer or several, and is {described(axes)}. "
            f"Write {name}(...)(key, shape) to draw."
        )
    return checked


def _erf_inverse(y: Array) -> Array:
    """Inverse of erf: a guess, S. Winitzki (2008), and Newton's steps from there."""
    log = np.log1p(-y * y)
    a = 2 / (math.pi * 0.147) + 0.5 * log
    x = np.copysign(np.sqrt(np.sqrt(a * a - log / 0.147) - a), y)
    for _ in range(3):
        x = x - (erf(x) - y) * (0.5 * math.sqrt(math.pi)) * np.exp(x * x)
    return x
