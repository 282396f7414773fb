"""Functions of neural networks that are worth a pass over memory less.

Each could be composed from others, at two to five times the cost: a composition makes
an array of every intermediate value, and on a CPU the time of these functions is the
time of writing such arrays.  Here the values between stay in a block that fits the
cache, or in the result itself.

==============================  =====================================================
``relu``, ``logistic``          ``max(x, 0)`` and ``1 / (1 + exp(-x))``
``silu``                        ``x * logistic(x)``
``gelu``, ``gelu_exact``        x times the normal distribution function
``multiply_add``                ``x * y + z``
``softmax``, ``logsumexp``      over axes; minus infinity is a masked entry
``standardize``, ``rms_scale``  over axes, to variance or mean square 1
==============================  =====================================================

Their Jacobians are symmetric matrices, diagonal or one for each row, so that the
tangent maps, ``softmax_tangent`` and the like, are their own transposes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcad.backends import backend_of, namespace
from funcad.core.tracing import Array, Params, Primitive, bind, dtype_of, shape_of
from funcad.primitives.elementwise import broadcast_shapes, elementwise, weighted_sum
from funcad.primitives.families import one_at_a_time, sum_of_jvps
from funcad.primitives.reduction import reduction
from funcad.primitives.shape import (
    Shape,
    batch_first,
    broadcast_to,
    reduce_sum,
    reduced_shape,
    sum_to,
)

Kernel = Callable[..., None]

# ----------------------------------------------------------------------- activations

_BLOCK = 96 * 1024  # bytes: with operands and result, fits a core's cache


def in_blocks(kernel: Kernel) -> Callable[..., Array]:
    """Implementation of an elementwise function by a kernel that works in place.

    ``kernel(*operands, out, spare)`` writes the result into ``out`` and may use
    ``spare``, an array of the same size.  Host arrays are taken block by block, so that
    all passes but one find what they need in the cache.
    """

    def impl(*operands: Array) -> Array:
        operands = tuple([_inexact(x) for x in operands])
        xp = namespace(*operands)
        first = operands[0]
        if any(x.shape != first.shape for x in operands):
            operands = tuple(xp.broadcast_arrays(*operands))
            first = operands[0]
        out = xp.empty(first.shape, first.dtype)
        step = max(_BLOCK // first.dtype.itemsize, 1)
        if (
            xp is not np
            or first.size <= step
            or not all(x.flags.c_contiguous for x in operands)
        ):
            kernel(*operands, out, xp.empty(first.shape, first.dtype))
            return out[()]
        flat = [x.reshape(-1) for x in (*operands, out)]
        spare = np.empty(step, first.dtype)
        for start in range(0, first.size, step):
            blocks = [x[start : start + step] for x in flat]
            kernel(*blocks, spare[: blocks[0].size])
        return out

    return impl


def _inexact(x: Array) -> Array:
    """Floats and complex numbers as they are; integers as float64."""
    if not hasattr(x, "dtype"):
        x = np.asarray(x)
    return x if x.dtype.kind in "fc" else x * 1.0


def activation(
    name: str,
    value: Kernel,
    slope: Kernel,
    curvature: Callable[[Array], Array],
    definitions: tuple[str | None, str | None] = (None, None),
) -> tuple[Primitive, Primitive]:
    """A function of one operand, and its tangent map ``t * slope(x)``.

    The tangent map is a primitive, so that what is kept for the way back is the
    operand, which is there anyway, and no array of slopes.

    Parameters
    ----------
    name : str
        Name of the primitive; that of the tangent map is ``name_tangent``.
    value, slope : callable
        ``kernel(x, out, spare)``, see :func:`in_blocks`.
    curvature : callable
        The second derivative, composed of public functions.
    definitions : tuple of str, optional
        Of the function and of its tangent map, see `Primitive`.
    """

    def tangent_kernel(t: Array, x: Array, out: Array, spare: Array) -> None:
        slope(x, out, spare)
        out *= t

    tangent = elementwise(
        f"{name}_tangent",
        in_blocks(tangent_kernel),
        jvp=sum_of_jvps(
            lambda dt, ans, t, x: tangent(dt, x),
            lambda dx, ans, t, x: dx * (t * curvature(x)),
        ),
        transpose=_self_adjoint(lambda: tangent),
    )
    primitive = elementwise(
        name, in_blocks(value), jvp=sum_of_jvps(lambda t, ans, x: tangent(t, x))
    )
    primitive.definition, tangent.definition = definitions
    return primitive, tangent


def _self_adjoint(primitive: Callable[[], Primitive]) -> Callable[..., Any]:
    """Transpose rule of a map of its first operand that is its own transpose."""

    def rule(ct: Array, aval: Any, t: Any, *rest: Array, **params: Any) -> Array:
        return sum_to(bind(primitive(), (ct, *rest), params), aval)

    def transpose(ct: Array, args: Sequence[Any], params: Params) -> Any:
        others = [None] * (len(args) - 1)
        return one_at_a_time(primitive().name, [rule, *others])(ct, args, params)

    return transpose


# the slope at zero is zero, as jax.nn and torch have it
relu = elementwise("relu", lambda x: np.maximum(x, 0), lambda ans, x: ans > 0)


def _logistic(x: Array, out: Array, spare: Array) -> None:
    # exp overflows to infinity where the result is zero to all digits
    with np.errstate(over="ignore"):
        np.exp(np.negative(x, out=out), out=out)
    out += 1
    np.divide(1, out, out=out)


logistic = elementwise("logistic", in_blocks(_logistic), lambda ans, x: ans * (1 - ans))
logistic.definition = """
def logistic(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))
"""


def _silu(x: Array, out: Array, spare: Array) -> None:
    _logistic(x, out, spare)
    out *= x


def _silu_slope(x: Array, out: Array, spare: Array) -> None:
    """The slope is s (1 + x (1 - s)) with the logistic function s."""
    _logistic(x, spare, out)
    np.subtract(1, spare, out=out)
    out *= x
    out += 1
    out *= spare


def _silu_curvature(x: Array) -> Array:
    """The second derivative is s (1 - s) (2 + x (1 - 2 s))."""
    s = logistic(x)
    return s * (1 - s) * (2 + x * (1 - 2 * s))


silu, silu_tangent = activation(
    "silu",
    _silu,
    _silu_slope,
    _silu_curvature,
    (
        """
def silu(x):
    with np.errstate(over="ignore"):
        return x / (1 + np.exp(-x))
""",
        """
def silu_tangent(t, x):
    with np.errstate(over="ignore"):
        s = 1 / (1 + np.exp(-x))
    return t * (s * (1 + x * (1 - s)))
""",
    ),
)

# GELU is x times a gate, which from |x| = _FLAT on is 0 or 1 to all digits of float64;
# powers of larger entries could only overflow.  The approximate gate is
# (1 + tanh(u)) / 2 with u = x (A + B x^2).
_A = math.sqrt(2 / math.pi)
_B = 0.044715 * _A
_FLAT = 40.0


def _bounded(x: Array, spare: Array) -> Array:
    """``x``, or where it has extreme entries a copy with those replaced by +-_FLAT."""
    if namespace(x) is np and x.size and -_FLAT < x.min() and x.max() < _FLAT:
        return x
    return np.minimum(np.maximum(x, -_FLAT, out=spare), _FLAT, out=spare)


def _gelu_gate(x: Array, out: Array) -> None:
    np.multiply(x, x, out=out)
    out *= _B
    out += _A
    out *= x
    np.tanh(out, out=out)
    out += 1
    out *= 0.5


def _gelu(x: Array, out: Array, spare: Array) -> None:
    bounded = _bounded(x, spare)
    _gelu_gate(bounded, out)
    # from below only: zero times minus infinity is no number
    out *= x if bounded is x else np.maximum(x, -_FLAT, out=spare)


def _gelu_slope(x: Array, out: Array, spare: Array) -> None:
    """The slope is g (1 + x (1 - g) 2 u') with the gate g."""
    bounded = _bounded(x, out)
    _gelu_gate(bounded, spare)
    if bounded is x:
        np.multiply(x, x, out=out)
        out *= 6 * _B
        out += 2 * _A
        out *= x
    else:
        out *= 6 * _B * bounded * bounded + 2 * _A
    out *= 1 - spare
    out += 1
    out *= spare


def _gelu_curvature(x: Array) -> Array:
    """The second derivative is (1 - w^2) (u' + x (u'' / 2 - w u'^2)) with w = tanh(u).

    Here u' = A + 3 B x^2 and x u'' / 2 = 3 B x^2.
    """
    x = np.clip(x, -_FLAT, _FLAT)
    square = x * x
    u = x * (_A + _B * square)
    slope = _A + 3 * _B * square
    w = np.tanh(u)
    return (1 - w * w) * (_A + 6 * _B * square - x * w * slope * slope)


gelu, gelu_tangent = activation(
    "gelu",
    _gelu,
    _gelu_slope,
    _gelu_curvature,
    (
        """
def gelu(x):
    bounded = np.clip(x, -40, 40)
    u = bounded * (0.7978845608028654 + 0.035677408136300125 * bounded**2)
    return np.maximum(x, -40) * (0.5 * (1 + np.tanh(u)))
""",
        """
def gelu_tangent(t, x):
    x = np.clip(x, -40, 40)
    a, b = 0.7978845608028654, 0.035677408136300125
    gate = 0.5 * (1 + np.tanh(x * (a + b * x**2)))
    return t * (gate * (1 + x * (1 - gate) * (2 * a + 6 * b * x**2)))
""",
    ),
)


def _normal_gate(x: Array, out: Array) -> None:
    """The distribution function of the normal distribution."""
    out[...] = backend_of(x).special.erf(x * math.sqrt(0.5))
    out += 1
    out *= 0.5


def _normal_density(x: Array) -> Array:
    return np.exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))


def _gelu_exact(x: Array, out: Array, spare: Array) -> None:
    bounded = _bounded(x, spare)
    _normal_gate(bounded, out)
    out *= x if bounded is x else np.maximum(x, -_FLAT, out=spare)


def _gelu_exact_slope(x: Array, out: Array, spare: Array) -> None:
    """The slope is gate + x density."""
    bounded = _bounded(x, out)
    _normal_gate(bounded, spare)
    np.multiply(bounded, _normal_density(bounded), out=out)
    out += spare


def _gelu_exact_curvature(x: Array) -> Array:
    """The second derivative is (2 - x^2) density."""
    x = np.clip(x, -_FLAT, _FLAT)
    return (2 - x * x) * _normal_density(x)


gelu_exact, gelu_exact_tangent = activation(
    "gelu_exact", _gelu_exact, _gelu_exact_slope, _gelu_exact_curvature
)


def _multiply_add(x: Array, y: Array, z: Array) -> Array:
    product = x * y
    shape = shape_of(product)
    if (
        shape
        and dtype_of(z) == product.dtype
        and broadcast_shapes([shape, shape_of(z)]) == shape
    ):
        product += z
        return product
    return product + z


def _multiply_add_jvp(ans: Array, primals: Any, tangents: Any, params: Params) -> Array:
    x, y, _ = primals
    terms = []
    for t, partial in zip(tangents, (y, x, 1), strict=True):
        if t is not None:
            terms += [t, partial]
    return weighted_sum(*terms, shape=shape_of(ans), dtype=dtype_of(ans))


multiply_add = elementwise("multiply_add", _multiply_add, jvp=_multiply_add_jvp)
multiply_add.definition = """
def multiply_add(x, y, z):
    return x * y + z
"""

# ------------------------------------------------------------------------ over axes


def _rows(x: Array, axis: Shape) -> int:
    """Length of the rows, where they can be added up by a product with a vector.

    BLAS adds up short rows ten times as fast as NumPy, but plainly from left to right,
    which is no longer as accurate where rows are long.
    """
    if (
        axis == (x.ndim - 1,)
        and namespace(x) is np
        and x.dtype.char in "fd"
        and 0 < x.shape[-1] <= 4096
        and x.flags.c_contiguous
    ):
        return x.shape[-1]  # type: ignore[no-any-return]
    return 0


def _sum(x: Array, axis: Shape) -> Array:
    """Sum that keeps the axes."""
    n = _rows(x, axis)
    if n:
        sums = x.reshape(-1, n) @ np.ones(n, x.dtype)
        return sums.reshape(*x.shape[:-1], 1)
    return x.sum(axis=axis, keepdims=True)


def _dot(x: Array, y: Array, axis: Shape) -> Array:
    """Sum of products that keeps the axes."""
    if axis == (x.ndim - 1,) and namespace(x, y) is np and x.dtype.char in "fd":
        return np.einsum("...i,...i->...", x, y)[..., None]
    return (x * y).sum(axis=axis, keepdims=True)


def _count(x: Array, axis: Shape) -> int:
    return math.prod(x.shape[a] for a in axis)


# Up to here an exponential of float32 neither overflows nor, summed up, loses digits.
_LIMIT = 60.0
_LEAST = math.exp(-_LIMIT)


def _exponentials(x: Array, axis: Shape) -> tuple[Array, Array, Array | float]:
    """``exp(x - shift)``, its sums and the shift, which is zero where that is safe.

    The sums and the shift keep the axes.  In a row of nothing but minus infinity, all
    entries are zero and so is the sum.
    """
    if namespace(x) is np and x.dtype.char in "fd" and x.size and x.max() < _LIMIT:
        e = np.exp(x)
        total = _sum(e, axis)
        if total.min() > _LEAST:
            return e, total, 0.0
    shift = x.max(axis=axis, keepdims=True)
    shift = namespace(x).where(shift == -np.inf, 0, shift)
    e = np.exp(x - shift)
    return e, _sum(e, axis), shift


def _along(
    name: str,
    impl: Callable[..., Any],
    jvp: Callable[..., Any],
    transpose: Callable[..., Any] | None = None,
    reduced: Sequence[bool] = (False,),
    multiple: bool = False,
) -> Primitive:
    """A function along axes of operands of one rank, all of which it keeps.

    ``reduced`` says of each result whether the axes are of size one in it.
    """

    def abstract(*operands: Any, axis: Shape, **params: Any) -> Any:
        shape = operands[0].shape
        dtype = operands[0].dtype
        results = [
            (reduced_shape(shape, axis, True) if r else shape, dtype) for r in reduced
        ]
        return results if multiple else results[0]

    def batch(values: Any, axes: Any, axis: Shape, **params: Any) -> Any:
        size = next(v.shape[a] for v, a in zip(values, axes) if a is not None)
        values = [
            broadcast_to(v, shape=(size, *v.shape)) if a is None else batch_first(v, a)
            for v, a in zip(values, axes)
        ]
        params["axis"] = tuple(a + 1 for a in axis)
        out = bind(primitive, values, params)
        return out, [0] * len(reduced) if multiple else 0

    primitive = Primitive(
        name,
        impl,
        abstract,
        jvp=jvp,
        transpose=transpose,
        batch=batch,
        multiple=multiple,
        family="along axes",
    )
    return primitive


# --------------------------------------------------------------------------- softmax


def _softmax(x: Array, axis: Shape) -> Array:
    e, total, _ = _exponentials(x, axis)
    total = namespace(x).where(total == 0, 1, total)
    e *= 1 / total
    return e


softmax = _along(
    "softmax",
    _softmax,
    sum_of_jvps(lambda t, ans, x, axis: softmax_tangent(t, ans, axis=axis)),
)
softmax.definition = """
def softmax(x, axis):
    shift = x.max(axis=axis, keepdims=True)
    e = np.exp(x - np.where(shift == -np.inf, 0, shift))
    total = e.sum(axis=axis, keepdims=True)
    return e / np.where(total == 0, 1, total)
"""


def _softmax_tangent(t: Array, s: Array, axis: Shape) -> Array:
    out = t - _dot(t, s, axis)
    out *= s
    return out


def _softmax_tangent_jvp(
    ds: Array, ans: Array, t: Array, s: Array, axis: Shape
) -> Array:
    inner = reduce_sum(s * t, axis=axis, keepdims=True)
    changed = reduce_sum(ds * t, axis=axis, keepdims=True)
    return ds * (t - inner) - s * changed


softmax_tangent = _along(
    "softmax_tangent",
    _softmax_tangent,
    sum_of_jvps(
        lambda dt, ans, t, s, axis: softmax_tangent(dt, s, axis=axis),
        _softmax_tangent_jvp,
    ),
    transpose=_self_adjoint(lambda: softmax_tangent),
)
softmax_tangent.definition = """
def softmax_tangent(t, s, axis):
    return s * (t - (s * t).sum(axis=axis, keepdims=True))
"""


def _logsumexp(x: Array, axis: Shape, keepdims: bool) -> Array:
    _, total, shift = _exponentials(x, axis)
    # the logarithm of nothing at all is minus infinity, without a warning
    empty = total == 0
    total = namespace(x).where(empty, 1, total)
    out = namespace(x).where(empty, -np.inf, np.log(total) + shift)
    return out if keepdims else out.reshape(reduced_shape(x.shape, axis, False))[()]


logsumexp = reduction(
    "logsumexp",
    _logsumexp,
    lambda dtype: dtype,
    lambda t, ans, x, axis, keepdims: reduce_sum(
        t * softmax(x, axis=axis), axis=axis, keepdims=keepdims
    ),
)
logsumexp.definition = """
def logsumexp(x, axis, keepdims):
    shift = x.max(axis=axis, keepdims=True)
    shift = np.where(shift == -np.inf, 0, shift)
    total = np.exp(x - shift).sum(axis=axis, keepdims=True)
    with np.errstate(divide="ignore"):
        out = np.log(total) + shift
    return out if keepdims else np.squeeze(out, axis)
"""

# ------------------------------------------------------------------------- normalising


def _normalising(name: str, centred: bool) -> tuple[Primitive, Primitive]:
    """``y = c r``, where c is x minus its mean and r = (mean(c^2) + eps)^(-1/2).

    With m(.) for the mean over the axes, dr = -r^2 m(y dx), and since m(c) = 0

        dy = r (dx - m(dx) - y m(y dx)),

    whose matrix r (1 - 1 1'/n - y y'/n) is symmetric.  Without centring c is x itself,
    and dx - m(dx) becomes dx.  J. L. Ba, J. R. Kiros and G. E. Hinton, *Layer
    normalization*, arXiv:1607.06450; B. Zhang and R. Sennrich, *Root mean square layer
    normalization*, arXiv:1910.07467.
    """

    def impl(x: Array, axis: Shape, eps: float) -> tuple[Array, Array]:
        if x.dtype.char == "e":  # its squares overflow from 256 on
            wide = impl(x.astype(np.float32), axis, eps)
            return tuple(v.astype(x.dtype) for v in wide)  # type: ignore[return-value]
        n = _count(x, axis)
        y = x - _sum(x, axis) / n if centred else x
        r = _dot(y, y, axis)
        r /= n
        r += eps
        r = 1 / np.sqrt(r)
        if centred:
            y *= r
            return y, r
        return y * r, r

    def impl_tangent(t: Array, y: Array, r: Array, axis: Shape) -> Array:
        n = _count(t, axis)
        out = y * (_dot(y, t, axis) / -n)
        out += t
        if centred:
            out -= _sum(t, axis) / n
        out *= r
        return out

    def mean_of_product(x: Array, y: Array, axis: Shape) -> Array:
        return reduce_sum(x * y, axis=axis, keepdims=True) / _count(x, axis)

    def jvp(ans: Any, primals: Any, tangents: Any, params: Params) -> Any:
        (t,), (y, r), axis = tangents, ans, params["axis"]
        if t is None:
            return None
        return tangent(t, y, r, axis=axis), -r * r * mean_of_product(t, y, axis)

    tangent = _along(
        f"{name}_tangent",
        impl_tangent,
        sum_of_jvps(
            lambda dt, ans, t, y, r, axis: tangent(dt, y, r, axis=axis),
            lambda dy, ans, t, y, r, axis: (
                dy * (-r * mean_of_product(y, t, axis))
                - mean_of_product(dy, t, axis) * (r * y)
            ),
            lambda dr, ans, t, y, r, axis: dr * (ans / r),
        ),
        transpose=_self_adjoint(lambda: tangent),
    )
    return (
        _along(name, impl, jvp, reduced=(False, True), multiple=True),
        tangent,
    )


standardize, standardize_tangent = _normalising("standardize", centred=True)
standardize.definition = """
def standardize(x, axis, eps):
    x = x - x.mean(axis=axis, keepdims=True)
    r = 1 / np.sqrt((x * x).mean(axis=axis, keepdims=True) + eps)
    return x * r, r
"""
standardize_tangent.definition = """
def standardize_tangent(t, y, r, axis):
    mean = t.mean(axis=axis, keepdims=True)
    return r * (t - mean - y * (y * t).mean(axis=axis, keepdims=True))
"""
rms_scale, rms_scale_tangent = _normalising("rms_scale", centred=False)
rms_scale.definition = """
def rms_scale(x, axis, eps):
    r = 1 / np.sqrt((x * x).mean(axis=axis, keepdims=True) + eps)
    return x * r, r
"""
rms_scale_tangent.definition = """
def rms_scale_tangent(t, y, r, axis):
    return r * (t - y * (y * t).mean(axis=axis, keepdims=True))
"""
