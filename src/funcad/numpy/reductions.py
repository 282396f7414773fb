"""Reductions, cumulative functions, positions and sorting."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.tracing import Array, dtype_of, shape_of
from funcad.numpy.dispatch import METHODS, as_operand, implements, refuse
from funcad.primitives import reduction as p
from funcad.primitives.elementwise import absolute, divide, real, select, sqrt, square
from funcad.primitives.shape import Shape, convert, reduce_sum, reshape

_NO = np._NoValue  # type: ignore[attr-defined]
Axis = int | tuple[int, ...] | None


def axes_of(axis: Axis, rank: int) -> Shape:
    """Axes as a tuple of non-negative integers; ``None`` means all."""
    if axis is None:
        return tuple(range(rank))
    if type(axis) is int and -rank <= axis < rank:
        return (axis % rank,)
    return np.lib.array_utils.normalize_axis_tuple(axis, rank)  # type: ignore[no-any-return]


def axis_of(axis: int, rank: int) -> int:
    """One axis as a non-negative integer."""
    return np.lib.array_utils.normalize_axis_index(operator.index(axis), rank)  # type: ignore[no-any-return]


def _given(value: Any) -> Any:
    return None if value is _NO else value


def _typed(x: Array, dtype: Any) -> Array:
    return x if dtype is None else convert(x, dtype=np.dtype(dtype))


def _masked(x: Array, where: Any, neutral: Any) -> Array:
    if where is _NO or where is None or where is True:
        return x
    return select(where, x, neutral)


def _keep(keepdims: Any) -> bool:
    return keepdims is not _NO and bool(keepdims)


@implements(np.sum)
def sum(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = _NO,
    initial: Any = _NO,
    where: Any = _NO,
) -> Array:
    refuse("np.sum", out=out)
    x = _typed(_masked(as_operand(a), where, 0), dtype)
    total = reduce_sum(x, axis=axes_of(axis, len(x.shape)), keepdims=_keep(keepdims))
    return total if _given(initial) is None else total + initial


@implements(np.prod)
def prod(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = _NO,
    initial: Any = _NO,
    where: Any = _NO,
) -> Array:
    refuse("np.prod", out=out)
    x = _typed(_masked(as_operand(a), where, 1), dtype)
    axes = axes_of(axis, len(x.shape))
    total = p.reduce_prod(x, axis=axes, keepdims=_keep(keepdims))
    return total if _given(initial) is None else total * initial


def _extremum(name: str, primitive: Any, combine: Any) -> Any:
    def extremum(
        a: Array,
        axis: Axis = None,
        out: Any = None,
        keepdims: Any = _NO,
        initial: Any = _NO,
        where: Any = _NO,
    ) -> Array:
        refuse(f"np.{name}", out=out)
        if where is not _NO and where is not True:
            if _given(initial) is None:
                raise ValueError(
                    f"np.{name} with where= needs initial=, the value of an empty "
                    "selection."
                )
            a = select(where, a, initial)
        axes = axes_of(axis, len(a.shape))
        if _given(initial) is not None and 0 in [a.shape[i] for i in axes]:
            shape = p.reduced_shape(a.shape, axes, _keep(keepdims))
            return namespace(a).full(shape, initial, a.dtype)
        if 0 in [a.shape[i] for i in axes] and 0 not in p.reduced_shape(
            a.shape, axes, False
        ):
            raise ValueError(
                f"zero-size array to reduction operation {name}, which has no "
                f"identity: shape {a.shape}, axes {axes}. Give initial=."
            )
        best = primitive(a, axis=axes, keepdims=_keep(keepdims))
        return best if _given(initial) is None else combine(best, initial)

    return extremum


max = implements(np.max)(_extremum("max", p.reduce_max, np.maximum))
min = implements(np.min)(_extremum("min", p.reduce_min, np.minimum))


def _count(shape: Shape, axes: Shape) -> int:
    return math.prod([shape[a] for a in axes])


@implements(np.mean)
def mean(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = _NO,
    where: Any = _NO,
) -> Array:
    refuse("np.mean", out=out)
    if where is not _NO and where is not True:
        count = np.sum(np.broadcast_to(where, a.shape), axis=axis, keepdims=keepdims)
        total = sum(a, axis, dtype, keepdims=keepdims, where=where)
        return divide(total, convert(count, dtype=dtype_of(total)))
    x = _typed(a, dtype)
    half = x.dtype == np.float16 and dtype is None
    if half:
        x = convert(x, dtype=np.dtype(np.float32))
    elif x.dtype.kind in "bui":
        x = convert(x, dtype=np.dtype(np.float64))
    axes = axes_of(axis, len(x.shape))
    total = reduce_sum(x, axis=axes, keepdims=_keep(keepdims))
    ans = divide(total, _count(x.shape, axes))
    return convert(ans, dtype=np.dtype(np.float16)) if half else ans


@implements(np.var)
def var(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: Any = _NO,
    *,
    correction: Any = _NO,
) -> Array:
    refuse("np.var", out=out)
    ddof = ddof if correction is _NO else correction
    x = _typed(a, dtype)
    axes = axes_of(axis, len(x.shape))
    centred = x - mean(x, axes, keepdims=True)
    if dtype_of(centred).kind == "c":
        powers = square(real(centred)) + square(np.imag(centred))
    else:
        powers = square(centred)
    total = reduce_sum(powers, axis=axes, keepdims=_keep(keepdims))
    return divide(total, np.maximum(_count(x.shape, axes) - ddof, 0).item())


@implements(np.std)
def std(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: Any = _NO,
    *,
    correction: Any = _NO,
) -> Array:
    return sqrt(var(a, axis, dtype, out, ddof, keepdims, correction=correction))


@implements(np.ptp)
def ptp(a: Array, axis: Axis = None, out: Any = None, keepdims: Any = _NO) -> Array:
    refuse("np.ptp", out=out)
    return max(a, axis, keepdims=keepdims) - min(a, axis, keepdims=keepdims)


def _logical(name: str, primitive: Any) -> Any:
    def logical(
        a: Array, axis: Axis = None, out: Any = None, keepdims: Any = _NO
    ) -> Array:
        refuse(f"np.{name}", out=out)
        axes = axes_of(axis, len(a.shape))
        return primitive(a, axis=axes, keepdims=_keep(keepdims))

    return logical


any = implements(np.any)(_logical("any", p.reduce_any))
all = implements(np.all)(_logical("all", p.reduce_all))


@implements(np.count_nonzero)
def count_nonzero(a: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    return sum(convert(a != 0, dtype=np.dtype(np.intp)), axis, keepdims=keepdims)


def _positions(name: str, primitive: Any) -> Any:
    def position(
        a: Array, axis: int | None = None, out: Any = None, *, keepdims: Any = _NO
    ) -> Array:
        refuse(f"np.{name}", out=out)
        rank = len(a.shape)
        if axis is None:
            best = position(reshape(a, shape=(math.prod(a.shape),)), 0)
            return reshape(best, shape=(1,) * rank) if _keep(keepdims) else best
        axis = axis_of(axis, rank)
        if a.shape[axis] == 0:
            raise ValueError(f"attempt to get {name} of an empty sequence")
        best = primitive(a, axis=axis)
        if _keep(keepdims):
            best = reshape(best, shape=(*a.shape[:axis], 1, *a.shape[axis + 1 :]))
        return best

    return position


argmax = implements(np.argmax)(_positions("argmax", p.argmax))
argmin = implements(np.argmin)(_positions("argmin", p.argmin))


def _flat_or_axis(a: Array, axis: int | None) -> tuple[Array, int]:
    if axis is None:
        return reshape(a, shape=(math.prod(a.shape),)), 0
    return a, axis_of(axis, len(a.shape))


@implements(np.cumsum)
def cumsum(
    a: Array, axis: int | None = None, dtype: Any = None, out: Any = None
) -> Array:
    refuse("np.cumsum", out=out)
    x, axis = _flat_or_axis(_typed(a, dtype), axis)
    return p.cumsum(x, axis=axis, reverse=False)


@implements(np.cumprod)
def cumprod(
    a: Array, axis: int | None = None, dtype: Any = None, out: Any = None
) -> Array:
    refuse("np.cumprod", out=out)
    x, axis = _flat_or_axis(_typed(a, dtype), axis)
    return p.cumprod(x, axis=axis)


@implements(np.sort)
def sort(
    a: Array,
    axis: int | None = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: Any = None,
) -> Array:
    refuse("np.sort", order=order)
    x, axis = _flat_or_axis(a, axis)
    return p.sort(x, axis=axis)


@implements(np.argsort)
def argsort(
    a: Array,
    axis: int | None = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: Any = None,
) -> Array:
    refuse("np.argsort", order=order)
    x, axis = _flat_or_axis(a, axis)
    return p.argsort(x, axis=axis)


def _reduce(function: Any) -> Any:
    def reduce(
        a: Array,
        axis: Axis = 0,
        dtype: Any = None,
        out: Any = None,
        keepdims: bool = False,
        initial: Any = _NO,
        where: Any = _NO,
    ) -> Array:
        refuse("reduce", out=out and out[0])
        a = _typed(a, dtype)
        return function(a, axis, keepdims=keepdims, initial=initial, where=where)

    return reduce


def _accumulate(primitive: Any, **params: Any) -> Any:
    def accumulate(
        a: Array, axis: int = 0, dtype: Any = None, out: Any = None
    ) -> Array:
        refuse("accumulate", out=out and out[0])
        a = _typed(a, dtype)
        return primitive(a, axis=axis_of(axis, len(a.shape)), **params)

    return accumulate


METHODS.update(
    {
        (np.add, "reduce"): _reduce(sum),
        (np.multiply, "reduce"): _reduce(prod),
        (np.maximum, "reduce"): _reduce(max),
        (np.minimum, "reduce"): _reduce(min),
        (np.add, "accumulate"): _accumulate(p.cumsum, reverse=False),
        (np.multiply, "accumulate"): _accumulate(p.cumprod),
        (np.maximum, "accumulate"): _accumulate(p.cummax),
        (np.minimum, "accumulate"): _accumulate(p.cummin),
    }
)


def vector_norm_2(x: Array, axes: Shape, keepdims: bool) -> Array:
    """Euclidean length, whose derivative at zero is zero rather than NaN."""
    size = absolute(x) if dtype_of(x).kind == "c" else x
    total = reduce_sum(square(size), axis=axes, keepdims=keepdims)
    zero = total == 0
    return select(zero, 0.0, sqrt(select(zero, 1.0, total)))


def ndim(x: Array) -> int:
    """Number of axes."""
    return len(shape_of(x))
