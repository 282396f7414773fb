"""Reductions over axes, and their running (cumulative) and sliding forms.

Axes in parameters are non-negative; reductions take a tuple of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.counting import each_operand, entries
from funcad.core.tracing import Array, Operand, Params, Primitive, bind, shape_of
from funcad.primitives.code import Code, method
from funcad.primitives.elementwise import select
from funcad.primitives.families import Rule, linear, multilinear, sum_of_jvps
from funcad.primitives.indexing import index, take_along
from funcad.primitives.parts import Axes, Parts, along_parts
from funcad.primitives.shape import (
    Shape,
    batch_first,
    batches_to_front,
    broadcast_to,
    concatenate,
    convert,
    move_axis,
    pad,
    reduce_sum,
    reduced_shape,
    reduction_blocks,
    reduction_parts,
    reshape,
    split,
    spread,
    sum_to,
    transpose,
)


def reduction(
    name: str,
    impl: Rule,
    dtype: Rule,
    jvp: Rule | None = None,
    code: Code | None = None,
    weight: float = 1,
) -> Primitive:
    """A reduction with parameters ``axis`` (a tuple) and ``keepdims``.

    Parameters
    ----------
    name : str
        Name of the primitive.
    impl : callable
        ``impl(x, axis=, keepdims=)``.
    dtype : callable
        The result's dtype from the operand's.
    jvp : callable, optional
        ``jvp(t, ans, x, axis=, keepdims=)``.
    weight : float, optional
        Operations that an entry of the operand counts for.
    code : callable, optional
        As for :class:`~funcad.extend.Primitive`.

    Returns
    -------
    Primitive
        With the rules that follow.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.extend import reduction
    >>> energy = reduction(
    ...     "energy",
    ...     lambda x, axis, keepdims: (x**2).sum(axis, keepdims=keepdims),
    ...     lambda dtype: dtype,
    ...     lambda t, ans, x, axis, keepdims: (2 * x * t).sum(axis, keepdims=keepdims),
    ... )
    >>> funcad.grad(lambda x: energy(x, axis=(0,), keepdims=False))(np.arange(3.0))
    array([0., 2., 4.])
    """

    def abstract(x: Any, axis: Shape, keepdims: bool) -> tuple[Shape, Any]:
        return reduced_shape(x.shape, axis, keepdims), dtype(x.dtype)

    def batch(values: Any, axes: Any, axis: Shape, keepdims: bool) -> Any:
        x = batch_first(values[0], axes[0])
        params = {"axis": tuple(a + 1 for a in axis), "keepdims": keepdims}
        return bind(primitive, (x,), params), 0

    primitive = Primitive(
        name,
        impl,
        abstract,
        jvp=None if jvp is None else sum_of_jvps(jvp),
        batch=batch,
        flops=each_operand(weight),
        code=code,
        blocks=reduction_blocks,
        parts=reduction_parts,
        family="reduction",
    )
    return primitive


def _same(dtype: Any) -> Any:
    return dtype


def _extremum_jvp(t: Array, ans: Array, x: Array, axis: Shape, keepdims: bool) -> Array:
    """Where several entries attain the extremum, each gets an equal share."""
    chosen = convert(x == spread(ans, x.shape, axis, keepdims), dtype=x.dtype)
    count = reduce_sum(chosen, axis=axis, keepdims=keepdims)
    # a NaN equals nothing, not even itself
    count = select(count == 0, 1, count)
    return reduce_sum(t * chosen, axis=axis, keepdims=keepdims) / count


def _product_jvp(t: Array, ans: Array, x: Array, axis: Shape, keepdims: bool) -> Array:
    """By halving: (ab)' = a'b + ab' never divides, so that zeros do no harm."""
    rest = tuple(i for i in range(len(x.shape)) if i not in axis)
    order = (*axis, *rest)
    kept = tuple([x.shape[i] for i in rest])
    x, t = (transpose(v, axes=order) for v in (x, t))
    count = 1
    for n in x.shape[: len(axis)]:
        count *= n
    x, t = (reshape(v, shape=(count, *kept)) for v in (x, t))
    if count == 0:
        return convert(ans * 0, dtype=ans.dtype)
    while count > 1:
        half, odd = divmod(count, 2)
        sizes = (half, half, odd)
        x0, x1, x2 = split(x, sizes=sizes, axis=0)
        t0, t1, t2 = split(t, sizes=sizes, axis=0)
        t = t0 * x1 + x0 * t1
        x = x0 * x1
        if odd:
            x, t = concatenate(x, x2, axis=0), concatenate(t, t2, axis=0)
        count = half + odd
    t = reshape(t, shape=ans.shape)
    return t if t.dtype == ans.dtype else convert(t, dtype=ans.dtype)


def _method(name: str) -> Callable[..., Any]:
    return lambda x, axis, keepdims: getattr(x, name)(axis=axis, keepdims=keepdims)


def _promoted(dtype: Any) -> Any:
    return np.empty(0, dtype).prod().dtype


def _boolean(dtype: Any) -> Any:
    return np.dtype(bool)


reduce_max = reduction(
    "reduce_max", _method("max"), _same, _extremum_jvp, code=method("max")
)
reduce_min = reduction(
    "reduce_min", _method("min"), _same, _extremum_jvp, code=method("min")
)
reduce_prod = reduction(
    "reduce_prod", _method("prod"), _promoted, _product_jvp, code=method("prod")
)
reduce_any = reduction("reduce_any", _method("any"), _boolean, code=method("any"))
reduce_all = reduction("reduce_all", _method("all"), _boolean, code=method("all"))


# ---------------------------------------------------------- positions along one axis

_ENTRIES = each_operand(1)


def positional(
    name: str,
    impl: Rule,
    result: Rule,
    jvp: Rule | None = None,
    flops: Rule = _ENTRIES,
    code: Code | None = None,
) -> Primitive:
    """A function along one ``axis``; ``result(shape, dtype, axis)`` gives its aval."""

    def batch(values: Any, axes: Any, axis: int, **params: Any) -> Any:
        x = batch_first(values[0], axes[0])
        return bind(primitive, (x,), {"axis": axis + 1, **params}), 0

    def parts(
        axes: Axes, shapes: Sequence[Shape], params: Params, count: int
    ) -> Parts | None:
        ((at,), (shape,), axis) = axes, shapes, params["axis"]
        assert at is not None
        if at == axis:
            return None
        removed = len(result(shape, np.dtype(float), axis)[0]) < len(shape)
        return Parts((at,), (at - (removed and axis < at),), params)

    primitive = Primitive(
        name,
        impl,
        lambda x, axis, **params: result(x.shape, x.dtype, axis),
        jvp=None if jvp is None else sum_of_jvps(jvp),
        batch=batch,
        flops=flops,
        code=code,
        parts=parts,
        family="along axis",
    )
    return primitive


def _without_axis(shape: Shape, dtype: Any, axis: int) -> tuple[Shape, Any]:
    return (*shape[:axis], *shape[axis + 1 :]), np.dtype(np.intp)


def _unchanged(shape: Shape, dtype: Any, axis: int) -> tuple[Shape, Any]:
    return shape, dtype


argmax = positional(
    "argmax",
    lambda x, axis: x.argmax(axis=axis),
    _without_axis,
    code=method("argmax", takes_out=False),
)
argmin = positional(
    "argmin",
    lambda x, axis: x.argmin(axis=axis),
    _without_axis,
    code=method("argmin", takes_out=False),
)


# ------------------------------------------------------------------------ cumulative


def _cumsum(x: Array, axis: int, reverse: bool) -> Array:
    if not reverse:
        return x.cumsum(axis=axis)
    xp = namespace(x)
    return xp.flip(xp.flip(x, axis).cumsum(axis=axis), axis)


def _cumsum_batch(values: Any, axes: Any, axis: int, reverse: bool) -> Any:
    x = batch_first(values[0], axes[0])
    return cumsum(x, axis=axis + 1, reverse=reverse), 0


def _cumsum_code(
    operands: Sequence[Operand], params: Params, out: str | None
) -> str | None:
    if params["reverse"]:
        return None
    return method("cumsum")(operands, {"axis": params["axis"]}, out)


cumsum = linear(
    "cumsum",
    _cumsum,
    lambda x, axis, reverse: (x.shape, np.empty(0, x.dtype).cumsum().dtype),
    transpose=lambda ct, x, axis, reverse: cumsum(ct, axis=axis, reverse=not reverse),
    batch=_cumsum_batch,
    flops=each_operand(1),
    code=_cumsum_code,
    parts=along_parts(1),
)
cumsum.definition = """
def cumsum(x, axis, reverse):
    if reverse:
        return np.flip(np.flip(x, axis).cumsum(axis), axis)
    return x.cumsum(axis)
"""


def _cumprod_jvp(t: Array, ans: Array, x: Array, axis: int) -> Array:
    """By doubling (Hillis and Steele 1986): products only, so that zeros do no harm."""
    x, t = move_axis(x, axis, 0), move_axis(t, axis, 0)
    n = x.shape[0]
    rest = ((0, 0),) * (len(x.shape) - 1)
    shift = 1
    while shift < n:
        before = ((shift, 0), *rest)
        keep = (n - shift, shift)
        x0 = pad(split(x, sizes=keep, axis=0)[0] - 1, widths=before) + 1
        t0 = pad(split(t, sizes=keep, axis=0)[0], widths=before)
        t = t * x0 + x * t0
        x = x * x0
        shift *= 2
    t = move_axis(t, 0, axis)
    return t if t.dtype == ans.dtype else convert(t, dtype=ans.dtype)


def _running_jvp(t: Array, ans: Array, x: Array, axis: int) -> Array:
    """The tangent of the latest entry that attained the running extremum."""
    shape = [1] * len(shape_of(x))
    shape[axis] = x.shape[axis]
    positions = namespace(x).arange(x.shape[axis]).reshape(shape)
    latest = cummax(select(x == ans, positions, 0), axis=axis)
    return take_along(t, latest, axis)


def _accumulate(ufunc: Any) -> Callable[..., Any]:
    def impl(x: Array, axis: int) -> Array:
        xp = namespace(x)
        if xp is np:
            return ufunc.accumulate(x, axis=axis)
        # by doubling, for libraries whose ufuncs have no accumulate
        y = xp.moveaxis(x, axis, 0)
        shift = 1
        while shift < len(y):
            y = xp.concatenate([y[:shift], ufunc(y[shift:], y[:-shift])])
            shift *= 2
        return xp.moveaxis(y, 0, axis)

    return impl


def _cumprod_aval(shape: Shape, dtype: Any, axis: int) -> tuple[Shape, Any]:
    return shape, np.empty(0, dtype).cumprod().dtype


cumprod = positional(
    "cumprod",
    lambda x, axis: x.cumprod(axis=axis),
    _cumprod_aval,
    _cumprod_jvp,
    code=method("cumprod"),
)
cummax = positional("cummax", _accumulate(np.maximum), _unchanged, _running_jvp)
cummin = positional("cummin", _accumulate(np.minimum), _unchanged, _running_jvp)
cummax.definition = """
def cummax(x, axis):
    return np.maximum.accumulate(x, axis=axis)
"""
cummin.definition = """
def cummin(x, axis):
    return np.minimum.accumulate(x, axis=axis)
"""


# --------------------------------------------------------------------------- sliding


def _sliding_dot(a: Array, v: Array) -> Array:
    xp = namespace(a, v)
    if a.ndim == 1:
        return xp.convolve(a, v[::-1], mode="valid")
    shape = (*a.shape[:-1], a.shape[-1] - v.shape[-1] + 1)
    out = xp.empty(shape, np.result_type(a.dtype, v.dtype))
    for row in np.ndindex(shape[:-1]):
        out[row] = _sliding_dot(a[row], v[row])
    return out


def _sliding_aval(a: Any, v: Any) -> tuple[Shape, Any]:
    shape = (*a.shape[:-1], a.shape[-1] - v.shape[-1] + 1)
    return shape, np.result_type(a.dtype, v.dtype)


def _sliding_batch(values: Any, axes: Any) -> tuple[Array, int]:
    (a, v), size = batches_to_front(values, axes)
    if axes[0] is None:
        a = broadcast_to(a, shape=(size, *shape_of(a)))
    if axes[1] is None:
        v = broadcast_to(v, shape=(size, *shape_of(v)))
    return sliding_dot(a, v), 0


def _sliding_transpose(ct: Array, a: Any, left: Array, v: Array) -> Array:
    """Each entry of ``a`` met those of ``v`` in turn, the last one first."""
    ends = v.shape[-1] - 1
    widths = (*((0, 0),) * (len(ct.shape) - 1), (ends, ends))
    backwards = index(v, template=(Ellipsis, slice(None, None, -1)))
    return sum_to(sliding_dot(pad(ct, widths=widths), backwards), a)


sliding_dot = multilinear(
    "sliding_dot",
    _sliding_dot,
    _sliding_aval,
    transposes=[
        _sliding_transpose,
        lambda ct, v, a, right: sum_to(sliding_dot(a, ct), v),
    ],
    batch=_sliding_batch,
    # a product and a sum for each entry of v, in each result
    flops=lambda inputs, outputs, params: 2 * entries(outputs[0]) * inputs[1].shape[-1],
)
"""Dot products of ``v`` with as many entries of ``a`` next to one another, along the
last axis; the axes before it are the same for both."""
sliding_dot.definition = """
def sliding_dot(a, v):
    view = np.lib.stride_tricks.sliding_window_view(a, v.shape[-1], axis=-1)
    return np.matmul(view, v[..., None])[..., 0]
"""
