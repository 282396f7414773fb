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

The Jacobians of those over axes are symmetric matrices, one for each row, so that their
tangent maps, ``softmax_tangent`` and the like, are their own transposes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcad.backends import backend_of, namespace
from funcad.core.counting import DIVISION, ELEMENTARY, SPECIAL, each_operand
from funcad.core.tracing import (
    Array,
    Operand,
    Params,
    Primitive,
    bind,
    dtype_of,
    shape_of,
)
from funcad.primitives.code import Code, call
from funcad.primitives.elementwise import (
    broadcast_shapes,
    elementwise,
    stop_gradient,
    weighted_sum,
)
from funcad.primitives.families import one_at_a_time, sum_of_jvps
from funcad.primitives.parts import along_parts
from funcad.primitives.reduction import reduction
from funcad.primitives.shape import (
    Shape,
    batch_first,
    broadcast_to,
    reduce_sum,
    reduced_shape,
    reduction_blocks,
    sum_to,
)

Kernel = Callable[..., None]

# ----------------------------------------------------------------------- activations

_BLOCK = 512 * 1024  # bytes: small beside a shared cache, large beside a call


def in_blocks(kernel: Kernel) -> Callable[..., Array]:
    """Implementation of an elementwise function by a kernel that works in place.

    ``kernel(*operands, out, spare)`` writes the result into ``out`` and may use
    ``spare``, an array of the same size.  Host arrays are taken block by block, so that
    all passes but one find what they need in the cache.
    """

    def impl(*operands: Array, out: Array = None) -> Array:
        operands = tuple([_inexact(x) for x in operands])
        xp = namespace(*operands)
        first = operands[0]
        if any(x.shape != first.shape for x in operands):
            operands = tuple(xp.broadcast_arrays(*operands))
            first = operands[0]
        given = out is not None
        out = out if given else xp.empty(first.shape, first.dtype)
        step = max(_BLOCK // first.dtype.itemsize, 1)
        if (
            xp is not np
            or first.size <= step
            or not all(x.flags.c_contiguous for x in (*operands, out))
        ):
            kernel(*operands, out, xp.empty(first.shape, first.dtype))
            return out if given else out[()]
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


def gated(
    name: str,
    value: Kernel,
    slope: Kernel,
    curvature: Callable[[Array], Array],
    definitions: tuple[str | None, str | None] = (None, None),
) -> Primitive:
    """A function ``x * gate(x)`` whose gate, the dear part of it, is computed once.

    The primitive takes the gate as an operand and ``x`` carries the whole derivative,
    so that the gate is to be computed from ``stop_gradient(x)``, as `through_gate`
    does.  Its slope is another primitive, ``name_slope(x, gate)``.

    Parameters
    ----------
    name : str
        Name of the primitive.
    value, slope : callable
        ``kernel(x, gate, out, spare)``, see :func:`in_blocks`.
    curvature : callable
        The second derivative as a function of x, composed of public functions.
    definitions : tuple of str, optional
        Of the function and of its slope, see `Primitive`.

    Returns
    -------
    Primitive
    """
    slope_of = elementwise(
        f"{name}_slope",
        in_blocks(slope),
        lambda ans, x, gate: curvature(x),
        None,
        weight=8,
        code=call(f"{name}_slope"),
    )
    primitive = elementwise(
        name,
        in_blocks(value),
        lambda ans, x, gate: slope_of(x, gate),
        None,
        weight=2,
        code=call(name),
    )
    primitive.definition, slope_of.definition = definitions
    return primitive


def through_gate(function: Primitive, gate: Primitive, x: Array) -> Array:
    """``x * gate(x)`` by the primitives that stand for both."""
    return function(x, gate(stop_gradient(x)))


def _self_adjoint(primitive: Callable[[], Primitive]) -> Callable[..., Any]:
    """Transpose rule of a map of its first operand that is its own transpose."""

    def rule(ct: Array, aval: Any, t: Any, *rest: Array, **params: Any) -> Array:
        return sum_to(bind(primitive(), (ct, *rest), params), aval)

    def transpose(ct: Array, args: Sequence[Any], params: Params) -> Any:
        others = [None] * (len(args) - 1)
        return one_at_a_time(primitive().name, [rule, *others])(ct, args, params)

    return transpose


# the slope at zero is zero, as jax.nn and torch have it
relu = elementwise(
    "relu",
    lambda x: np.maximum(x, 0),
    lambda ans, x: ans > 0,
    code=lambda operands, params, out: (
        f"np.maximum({operands[0].text}, 0{'' if out is None else f', out={out}'})"
    ),
)


def _logistic(x: Array, out: Array, spare: Array) -> None:
    # exp overflows to infinity where the result is zero to all digits
    with np.errstate(over="ignore"):
        np.exp(np.negative(x, out=out), out=out)
    out += 1
    np.divide(1, out, out=out)


logistic = elementwise(
    "logistic",
    in_blocks(_logistic),
    lambda ans, x: ans * (1 - ans),
    weight=ELEMENTARY + DIVISION + 2,
    code=call("logistic"),
)
logistic.definition = """
def logistic(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-1.0 * x))
"""


def _silu_slope(x: Array, gate: Array, out: Array, spare: Array) -> None:
    """The slope is s (1 + x (1 - s)) with the logistic function s."""
    np.subtract(1, gate, out=out)
    out *= x
    out += 1
    out *= gate


def _silu_curvature(x: Array) -> Array:
    """The second derivative is s (1 - s) (2 + x (1 - 2 s))."""
    s = logistic(x)
    return s * (1 - s) * (2 + x * (1 - 2 * s))


silu = gated(
    "silu",
    lambda x, gate, out, spare: np.multiply(x, gate, out=out),
    _silu_slope,
    _silu_curvature,
    (
        """
def silu(x, gate):
    return 1.0 * x * gate
""",
        """
def silu_slope(x, gate):
    return gate * (1 + 1.0 * x * (1 - gate))
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


def _times_gate(x: Array, gate: Array, out: Array, spare: Array) -> None:
    # zero times minus infinity is no number
    if namespace(x) is not np or not x.size or x.min() == -np.inf:
        x = np.maximum(x, -_FLAT, out=spare)
    np.multiply(x, gate, out=out)


def _gelu_gate(x: Array, out: Array, spare: Array) -> None:
    """(1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u)), whose exponential is the cheaper."""
    # what overflows, or is infinite, ends as a gate of 0 or 1
    with np.errstate(over="ignore"):
        np.multiply(x, x, out=out)
        out *= -2 * _B
        out -= 2 * _A
        out *= x
        np.exp(out, out=out)
    out += 1
    np.divide(1, out, out=out)


def _gelu_slope(x: Array, gate: Array, out: Array, spare: Array) -> None:
    """The slope is g (1 + x (1 - g) 2 u') with the gate g."""
    bounded = _bounded(x, spare)
    np.multiply(bounded, bounded, out=out)
    out *= 6 * _B
    out += 2 * _A
    out *= bounded
    np.subtract(1, gate, out=spare)
    out *= spare
    out += 1
    out *= gate


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


gelu_gate = elementwise(
    "gelu_gate",
    in_blocks(_gelu_gate),
    lambda ans, x: ans * (1 - ans) * (2 * _A + 6 * _B * x * x),
    weight=ELEMENTARY + DIVISION + 5,
    code=call("gelu_gate"),
)
gelu_gate.definition = """
def gelu_gate(x):
    x = np.clip(x, -40, 40)
    u = x * (0.7978845608028654 + 0.035677408136300125 * x**2)
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-2 * u))
"""
gelu = gated(
    "gelu",
    _times_gate,
    _gelu_slope,
    _gelu_curvature,
    (
        """
def gelu(x, gate):
    return np.maximum(x, -40) * gate
""",
        """
def gelu_slope(x, gate):
    x = np.clip(x, -40, 40)
    change = 2 * 0.7978845608028654 + 6 * 0.035677408136300125 * x**2
    return gate * (1 + x * (1 - gate) * change)
""",
    ),
)


def _gelu_exact_gate(x: Array, out: Array, spare: Array) -> None:
    """The distribution function of the normal distribution."""
    out[...] = backend_of(x).special.erf(_bounded(x, spare) * math.sqrt(0.5))
    out += 1
    out *= 0.5


def _normal_density(x: Array) -> Array:
    return np.exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))


def _gelu_exact_slope(x: Array, gate: Array, out: Array, spare: Array) -> None:
    """The slope is gate + x density."""
    bounded = _bounded(x, spare)
    np.multiply(bounded, _normal_density(bounded), out=out)
    out += gate


def _gelu_exact_curvature(x: Array) -> Array:
    """The second derivative is (2 - x^2) density."""
    x = np.clip(x, -_FLAT, _FLAT)
    return (2 - x * x) * _normal_density(x)


gelu_exact_gate = elementwise(
    "gelu_exact_gate",
    in_blocks(_gelu_exact_gate),
    lambda ans, x: _normal_density(x),
    weight=SPECIAL + 3,
    code=call("gelu_exact_gate"),
)
gelu_exact_gate.definition = """
def gelu_exact_gate(x):
    import math

    gate = np.vectorize(math.erfc, "d")(np.clip(x, -40, 40) * -(2**-0.5)) / 2
    return gate.astype(x.dtype if x.dtype.kind == "f" else float)[()]
"""
gelu_exact = gated(
    "gelu_exact",
    _times_gate,
    _gelu_exact_slope,
    _gelu_exact_curvature,
    (
        """
def gelu_exact(x, gate):
    return np.maximum(x, -40) * gate
""",
        """
def gelu_exact_slope(x, gate):
    x = 1.0 * np.clip(x, -40, 40)
    return gate + x * np.exp(x * x * -0.5) / (2 * np.pi) ** 0.5
""",
    ),
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


def _multiply_add_code(
    operands: Sequence[Operand], params: Params, out: str | None
) -> str | None:
    if out is None:
        return call("multiply_add")(operands, params, None)
    x, y, z = operands
    shape = broadcast_shapes([x.shape, y.shape])
    alike = broadcast_shapes([shape, z.shape]) == shape
    if not alike or len({v.dtype for v in operands if not v.weak}) > 1:
        return None
    return f"np.add(np.multiply({x.text}, {y.text}, out={out}), {z.text}, out={out})"


multiply_add = elementwise(
    "multiply_add",
    _multiply_add,
    jvp=_multiply_add_jvp,
    code=_multiply_add_code,
    weight=2,
)
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


def sum_over(x: Array, axis: Shape) -> Array:
    """Sum that keeps the axes."""
    n = _rows(x, axis)
    if n:
        sums = x.reshape(-1, n) @ np.ones(n, x.dtype)
        return sums.reshape(*x.shape[:-1], 1)
    return x.sum(axis=axis, keepdims=True)


def dot_over(x: Array, y: Array, axis: Shape) -> Array:
    """Sum of products that keeps the axes."""
    if axis == (x.ndim - 1,) and namespace(x, y) is np and x.dtype.char in "fd":
        return np.einsum("...i,...i->...", x, y)[..., None]
    return (x * y).sum(axis=axis, keepdims=True)


def _count(x: Array, axis: Shape) -> int:
    return math.prod(x.shape[a] for a in axis)


# Up to here an exponential of float32 neither overflows nor, summed up, loses digits.
_LIMIT = 60.0
_LEAST = math.exp(-_LIMIT)


def _exponentials(
    x: Array, axis: Shape, out: Array = None
) -> tuple[Array, Array, Array | float]:
    """``exp(x - shift)``, its sums and the shift, which is zero where that is safe.

    The sums and the shift keep the axes.  In a row of nothing but minus infinity, all
    entries are zero and so is the sum.
    """
    if namespace(x) is np and x.dtype.char in "fd" and x.size and x.max() < _LIMIT:
        e = np.exp(x, out=out)
        total = sum_over(e, axis)
        if total.min() > _LEAST:
            return e, total, 0.0
    shift = x.max(axis=axis, keepdims=True)
    shift = namespace(x).where(shift == -np.inf, 0, shift)
    e = np.exp(x - shift, out=out)
    return e, sum_over(e, axis), shift


def _along(
    name: str,
    impl: Callable[..., Any],
    jvp: Callable[..., Any],
    transpose: Callable[..., Any] | None = None,
    reduced: Sequence[bool] = (False,),
    multiple: bool = False,
    writes: bool = True,
    weight: float = 1,
) -> Primitive:
    """A function along axes of operands of one rank, all of which it keeps.

    ``reduced`` says of each result whether the axes are of size one in it, ``writes``
    whether the implementation can be told where to write the first, ``weight`` how
    many operations an entry of the operand counts for.
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
        flops=each_operand(weight),
        code=_along_code(name) if writes else None,
        blocks=reduction_blocks,
        parts=along_parts(len(reduced)),
        multiple=multiple,
        family="along axes",
    )
    return primitive


def _along_code(name: str) -> Code:
    def code(
        operands: Sequence[Operand], params: Params, out: str | None
    ) -> str | None:
        dtypes = {x.dtype for x in operands}
        if out is not None and (len(dtypes) > 1 or dtypes.pop().char == "e"):
            return None
        return call(name)(operands, params, out)

    return code


# --------------------------------------------------------------------------- softmax


def _softmax(x: Array, axis: Shape, out: Array = None) -> Array:
    e, total, _ = _exponentials(x, axis, out)
    total = namespace(x).where(total == 0, 1, total)
    e *= 1 / total
    return e


softmax = _along(
    "softmax",
    _softmax,
    sum_of_jvps(lambda t, ans, x, axis: softmax_tangent(t, ans, axis=axis)),
    # maximum, difference, exponential, sum, product
    weight=ELEMENTARY + 4,
)
softmax.definition = """
def softmax(x, axis):
    shift = x.max(axis=axis, keepdims=True)
    e = np.exp(x - np.where(shift == -np.inf, 0, shift))
    total = e.sum(axis=axis, keepdims=True)
    return e / np.where(total == 0, 1, total)
"""


def _softmax_tangent(t: Array, s: Array, axis: Shape, out: Array = None) -> Array:
    out = np.subtract(t, dot_over(t, s, axis), out=out)
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
    # a dot product, a difference, a product
    weight=4,
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
    # maximum, difference, exponential, sum
    weight=ELEMENTARY + 3,
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

    def impl(
        x: Array, axis: Shape, eps: float, out: Array = None
    ) -> tuple[Array, Array]:
        if x.dtype.char == "e":  # its squares overflow from 256 on
            wide = impl(x.astype(np.float32), axis, eps)
            return tuple(v.astype(x.dtype) for v in wide)  # type: ignore[return-value]
        n = _count(x, axis)
        y = np.subtract(x, sum_over(x, axis) / n, out=out) if centred else x
        r = dot_over(y, y, axis)
        r /= n
        r += eps
        r = 1 / np.sqrt(r)
        if centred:
            y *= r
            return y, r
        return np.multiply(y, r, out=out), r

    def impl_tangent(
        t: Array, y: Array, r: Array, axis: Shape, out: Array = None
    ) -> Array:
        n = _count(t, axis)
        out = np.multiply(y, dot_over(y, t, axis) / -n, out=out)
        out += t
        if centred:
            out -= sum_over(t, axis) / n
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
        # a dot product, a multiple added to t, a factor; a mean taken off
        weight=7 if centred else 5,
    )
    # a mean taken off; a dot product, a factor
    weight = 5 if centred else 3
    return (
        _along(name, impl, jvp, reduced=(False, True), multiple=True, weight=weight),
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
