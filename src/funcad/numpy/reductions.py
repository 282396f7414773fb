"""Reductions, running (cumulative) functions, positions, and ufuncs' own methods."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.errors import ConcretizationError, FuncadError, MutationError
from funcad.core.tracing import Array, Primitive, Tracer, bind, dtype_of, shape_of
from funcad.numpy.dispatch import METHODS, as_operand, implements, refuse
from funcad.primitives import elementwise as e
from funcad.primitives import reduction as p
from funcad.primitives.elementwise import absolute, divide, real, select, square
from funcad.primitives.indexing import gather, index, scatter_sum
from funcad.primitives.shape import (
    Shape,
    concatenate,
    convert,
    move_axis,
    reduce_sum,
    reshape,
    split,
    transpose,
)

_NO = np._NoValue  # type: ignore[attr-defined]
Axis = int | tuple[int, ...] | None


def axes_of(axis: Axis, rank: int) -> Shape:
    """Axes as a tuple of non-negative integers; ``None`` means all."""
    if axis is None:
        return tuple(range(rank))
    if type(axis) is int and -rank <= axis < rank:
        return (axis % rank,)
    try:
        return np.lib.array_utils.normalize_axis_tuple(axis, rank)  # type: ignore[no-any-return]
    except TypeError as error:
        if isinstance(error, FuncadError):
            raise
        raise TypeError(
            "axis is an integer, a tuple of integers or None (all axes), not "
            f"{axis!r} of type {type(axis).__name__}."
        ) from None


def ufunc_axes(axis: Axis, rank: int) -> Shape:
    """Axes of what NumPy reduces by a ufunc, which takes 0 and -1 for no axes too."""
    if rank == 0 and type(axis) is int and axis in (0, -1):
        return ()
    return axes_of(axis, rank)


def axis_of(axis: int, rank: int) -> int:
    """One axis as a non-negative integer."""
    return np.lib.array_utils.normalize_axis_index(operator.index(axis), rank)  # type: ignore[no-any-return]


def value_of(x: Array, purpose: str) -> Array:
    """The value of an array, by which the form of a result is decided."""
    return x.concrete(purpose) if isinstance(x, Tracer) else x


def known_value(x: Array) -> Array | None:
    """The value of an array, or ``None`` where it is not known yet."""
    try:
        return value_of(x, "the check of values")
    except ConcretizationError:
        return None


def given(value: Any) -> bool:
    """Whether an argument was given, and not as its default."""
    return value is not _NO and value is not None


def typed(x: Array, dtype: Any) -> Array:
    """``x`` in a dtype, if one is given."""
    return x if dtype is None or x.dtype == dtype else convert(x, dtype=np.dtype(dtype))


def mask_of(where: Any, x: Array) -> Array | None:
    """``where`` of a reduction as an array that broadcasts to ``x``, if given."""
    if not given(where) or where is True:
        return None
    where = as_operand(where, x)
    if dtype_of(where).kind != "b":
        raise TypeError(
            f"where= of a reduction must be boolean, not {dtype_of(where)}. Write a "
            "comparison, as in x != 0."
        )
    shape = shape_of(where)
    if np.broadcast_shapes(shape, shape_of(x)) != shape_of(x):
        raise ValueError(
            f"where= of a reduction has shape {shape}, which does not broadcast to the "
            f"array's {shape_of(x)}."
        )
    return where


def masked(x: Array, where: Any, neutral: Any) -> Array:
    """``x`` with a neutral value where a reduction is to leave entries out."""
    mask = mask_of(where, x)
    return x if mask is None else select(mask, x, neutral)


def kept(keepdims: Any) -> bool:
    """``keepdims`` as a boolean."""
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
    x = typed(masked(as_operand(a), where, 0), dtype)
    axes = ufunc_axes(axis, len(x.shape))
    total = reduce_sum(x, axis=axes, keepdims=kept(keepdims))
    return _with_initial(e.add, typed(total, dtype), initial)


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
    x = typed(masked(as_operand(a), where, 1), dtype)
    axes = ufunc_axes(axis, len(x.shape))
    total = p.reduce_prod(x, axis=axes, keepdims=kept(keepdims))
    return _with_initial(e.multiply, typed(total, dtype), initial)


def _with_initial(combine: Primitive, total: Array, initial: Any) -> Array:
    """A reduction that starts from a value, which takes the reduction's dtype."""
    if not given(initial):
        return total
    start = convert(as_operand(initial, total), dtype=dtype_of(total))
    return bind(combine, (total, start), {})


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
        if given(initial):
            initial = convert(as_operand(initial, a), dtype=dtype_of(a))
        axes = ufunc_axes(axis, len(a.shape))
        mask = mask_of(where, a)
        if mask is not None:
            if not given(initial):
                raise ValueError(
                    f"np.{name} with where= needs initial=, the value of an empty "
                    "selection."
                )
            a = select(mask, a, initial)
        if 0 in [a.shape[i] for i in axes]:
            shape = p.reduced_shape(a.shape, axes, kept(keepdims))
            if given(initial):
                return np.broadcast_to(namespace(a).asarray(initial), shape)
            if 0 not in p.reduced_shape(a.shape, axes, False):
                raise ValueError(
                    f"zero-size array to reduction operation {name}, which has no "
                    f"identity: shape {a.shape}, axes {axes}. Give initial=."
                )
        best = primitive(a, axis=axes, keepdims=kept(keepdims))
        return best if not given(initial) else bind(combine, (best, initial), {})

    extremum.__name__ = extremum.__qualname__ = name
    return extremum


max = implements(np.max, np.amax)(_extremum("max", p.reduce_max, e.maximum))
min = implements(np.min, np.amin)(_extremum("min", p.reduce_min, e.minimum))


def size_of(shape: Shape, axes: Shape) -> int:
    """Number of entries along some axes."""
    return math.prod([shape[a] for a in axes])


@implements(np.mean)
def mean(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = _NO,
    *,
    where: Any = _NO,
) -> Array:
    refuse("np.mean", out=out)
    x = typed(a, dtype)
    half = x.dtype == np.float16 and dtype is None
    if half:
        x = convert(x, dtype=np.dtype(np.float32))
    elif x.dtype.kind in "bui" and dtype is None:
        x = convert(x, dtype=np.dtype(np.float64))
    axes = _mean_axes(axis, x, where)
    count = _count(x, axes, keepdims, where)
    total = reduce_sum(masked(x, where, 0), axis=axes, keepdims=kept(keepdims))
    ans = divide(total, count)
    if half:
        return convert(ans, dtype=np.dtype(np.float16))
    return ans if dtype is None else convert(ans, dtype=np.dtype(dtype))


def _mean_axes(axis: Axis, x: Array, where: Any) -> Shape:
    """Axes of a mean, which NumPy counts as those of a sum where there is a mask."""
    rank = len(x.shape)
    return axes_of(axis, rank) if mask_of(where, x) is None else ufunc_axes(axis, rank)


def _count(x: Array, axes: Shape, keepdims: Any, where: Any) -> Any:
    """How many entries a mean is over: a number, or an array where some are left out.

    Its dtype does not widen that of a quotient by it.
    """
    mask = mask_of(where, x)
    if mask is None:
        return size_of(x.shape, axes)
    mask = np.broadcast_to(mask, x.shape)
    count = reduce_sum(mask, axis=axes, keepdims=kept(keepdims))
    return convert(count, dtype=_real(dtype_of(x)))


def _real(dtype: Any) -> Any:
    """The real dtype of floats and complex numbers, float64 of integers."""
    return np.abs(np.empty(0, dtype)).dtype if dtype.kind in "fc" else np.dtype(float)


_mean = mean


@implements(np.var)
def var(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: Any = _NO,
    *,
    where: Any = _NO,
    mean: Any = _NO,
    correction: Any = _NO,
) -> Array:
    refuse("np.var", out=out)
    return variance(a, axis, dtype, ddof, keepdims, where, mean, correction)


def variance(
    a: Array,
    axis: Axis,
    dtype: Any,
    ddof: float,
    keepdims: Any,
    where: Any,
    mean: Any,
    correction: Any,
    of_none: float = 0,
) -> Array:
    """``np.var``, which divides by ``of_none`` where no degree of freedom is left."""
    if correction is not _NO:
        if ddof != 0:
            raise ValueError("ddof and correction can't be provided simultaneously.")
        ddof = correction
    x = typed(a, dtype)
    axes = _mean_axes(axis, x, where)
    if given(mean):
        middle = as_operand(mean, x)
    else:
        middle = _mean(x, axes, keepdims=True, where=where)
    centred = x - middle
    if dtype_of(centred).kind == "c":
        powers = square(real(centred)) + square(np.imag(centred))
    else:
        powers = square(centred)
    powers = masked(powers, where, 0)
    total = reduce_sum(powers, axis=axes, keepdims=kept(keepdims))
    count = _count(x, axes, keepdims, where) - ddof
    if isinstance(count, (int, float)):
        count = count if count > 0 else of_none
    else:
        count = select(count > 0, count, of_none)
    return divide(total, count)


@implements(np.std)
def std(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: Any = _NO,
    *,
    where: Any = _NO,
    mean: Any = _NO,
    correction: Any = _NO,
) -> Array:
    refuse("np.std", out=out)
    return e.length(variance(a, axis, dtype, ddof, keepdims, where, mean, correction))


@implements(np.ptp)
def ptp(a: Array, axis: Axis = None, out: Any = None, keepdims: Any = _NO) -> Array:
    refuse("np.ptp", out=out)
    return max(a, axis, keepdims=keepdims) - min(a, axis, keepdims=keepdims)


def _logical(name: str, primitive: Any, neutral: bool) -> Any:
    def logical(
        a: Array,
        axis: Axis = None,
        out: Any = None,
        keepdims: Any = _NO,
        *,
        where: Any = _NO,
    ) -> Array:
        refuse(f"np.{name}", out=out)
        axes = ufunc_axes(axis, len(a.shape))
        a = masked(a, where, neutral)
        return primitive(a, axis=axes, keepdims=kept(keepdims))

    return logical


any = implements(np.any)(_logical("any", p.reduce_any, False))
all = implements(np.all)(_logical("all", p.reduce_all, True))


@implements(np.count_nonzero)
def count_nonzero(a: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    return sum(convert(a != 0, dtype=np.dtype(np.intp)), axis, keepdims=keepdims)


def _positions(name: str, primitive: Any) -> Any:
    def position(
        a: Array, axis: int | None = None, out: Any = None, *, keepdims: Any = _NO
    ) -> Array:
        refuse(f"np.{name}", out=out)
        rank = len(a.shape)
        if axis is None or (not rank and axis in (0, -1)):
            best = position(reshape(a, shape=(math.prod(a.shape),)), 0)
            return reshape(best, shape=(1,) * rank) if kept(keepdims) else best
        axis = axis_of(axis, rank)
        if a.shape[axis] == 0:
            raise ValueError(f"attempt to get {name} of an empty sequence")
        best = primitive(a, axis=axis)
        if kept(keepdims):
            best = reshape(best, shape=(*a.shape[:axis], 1, *a.shape[axis + 1 :]))
        return best

    return position


argmax = implements(np.argmax)(_positions("argmax", p.argmax))
argmin = implements(np.argmin)(_positions("argmin", p.argmin))

# -------------------------------------------------------------------------- cumulative


def flat_or_axis(a: Array, axis: int | None) -> tuple[Array, int]:
    """An array and its axis; raveled, where no axis is given, or there is none."""
    if axis is None or (not a.shape and axis in (0, -1)):
        return reshape(a, shape=(math.prod(a.shape),)), 0
    return a, axis_of(axis, len(a.shape))


@implements(np.cumsum)
def cumsum(
    a: Array, axis: int | None = None, dtype: Any = None, out: Any = None
) -> Array:
    refuse("np.cumsum", out=out)
    x, axis = flat_or_axis(typed(a, dtype), axis)
    return typed(p.cumsum(x, axis=axis, reverse=False), dtype)


@implements(np.cumprod)
def cumprod(
    a: Array, axis: int | None = None, dtype: Any = None, out: Any = None
) -> Array:
    refuse("np.cumprod", out=out)
    x, axis = flat_or_axis(typed(a, dtype), axis)
    return typed(p.cumprod(x, axis=axis), dtype)


def _cumulative(name: str, running: Any, start: int) -> Any:
    def cumulative(
        x: Array,
        /,
        *,
        axis: int | None = None,
        dtype: Any = None,
        out: Any = None,
        include_initial: bool = False,
    ) -> Array:
        refuse(f"np.{name}", out=out)
        x = x if x.shape else reshape(x, shape=(1,))
        rank = len(x.shape)
        if axis is None and rank > 1:
            raise ValueError(
                f"np.{name} of an array of shape {x.shape} needs axis=, one of the "
                "axes that it has."
            )
        along = 0 if axis is None else axis_of(axis, rank)
        total = running(x, along, dtype)
        if not include_initial:
            return total
        shape = (*x.shape[:along], 1, *x.shape[along + 1 :])
        first = namespace(x).full(shape, start, total.dtype)
        return concatenate(first, total, axis=along)

    return cumulative


cumulative_sum = implements(np.cumulative_sum)(_cumulative("cumulative_sum", cumsum, 0))
cumulative_prod = implements(np.cumulative_prod)(
    _cumulative("cumulative_prod", cumprod, 1)
)

# ------------------------------------------------------------- the methods of ufuncs


def _reduce(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def reduce(
        a: Array,
        axis: Axis = 0,
        dtype: Any = None,
        out: Any = None,
        keepdims: bool = False,
        initial: Any = _NO,
        where: Any = _NO,
    ) -> Array:
        refuse(f"np.{name}.reduce", out=out and out[0])
        a = typed(as_operand(a), dtype)
        ans = function(a, axis, keepdims=keepdims, initial=initial, where=where)
        # sums of small integers are larger integers unless a dtype is asked for
        return typed(ans, dtype) if name in ("add", "multiply") else ans

    return reduce


def _logically(function: Callable[..., Any], neutral: bool) -> Callable[..., Any]:
    """``any`` and ``all`` that start from a value."""

    def reduction(
        a: Array, axis: Axis, keepdims: bool, initial: Any, where: Any
    ) -> Array:
        ans = function(a, axis, keepdims=keepdims, where=where)
        combine = e.logical_and if neutral else e.logical_or
        return ans if not given(initial) else bind(combine, (ans, initial), {})

    return reduction


def _in_loop_type(ufunc: Any, a: Array, takes: Any = None) -> Array:
    """Entries in the dtype of the ufunc's results, with which the next step begins."""
    one = np.empty(0, dtype_of(a))
    return convert(a, dtype=takes or ufunc(one, one).dtype)


def _by_halves(ufunc: Any, primitive: Primitive, takes: Any) -> Callable[..., Any]:
    """Reduction by an associative function that has no primitive of its own."""

    def reduction(
        a: Array, axis: Axis, keepdims: bool, initial: Any, where: Any
    ) -> Array:
        a = _in_loop_type(ufunc, a, takes)
        start = initial if given(initial) else ufunc.identity
        if start is not None:
            start = convert(as_operand(start, a), dtype=dtype_of(a))
        elif given(where) and where is not True:
            raise ValueError(
                f"np.{ufunc.__name__}.reduce with where= needs initial=, the value of "
                "an empty selection."
            )
        a = masked(a, where, start)
        axes = ufunc_axes(axis, len(a.shape))
        shape = p.reduced_shape(a.shape, axes, keepdims)
        rest = [i for i in range(len(a.shape)) if i not in axes]
        count = size_of(a.shape, axes)
        if count == 0 and start is None:
            raise ValueError(
                "zero-size array to reduction operation "
                f"{ufunc.__name__}, which has no identity. Give initial=."
            )
        single = count == 1
        a = transpose(a, axes=(*axes, *rest))
        a = reshape(a, shape=(count, *[a.shape[i] for i in range(len(axes), ndim(a))]))
        while count > 1:
            half, odd = divmod(count, 2)
            x, y, last = split(a, sizes=(half, half, odd), axis=0)
            a = bind(primitive, (x, y), {})
            a = concatenate(a, last, axis=0) if odd else a
            count = half + odd
        if count == 0:
            return np.broadcast_to(namespace(a).asarray(start), shape)
        ans = reshape(a, shape=shape)
        if start is not None and (single or given(initial)):
            ans = bind(primitive, (ans, start), {})
        return ans

    return reduction


def _in_turn(ufunc: Any, primitive: Primitive) -> Callable[..., Any]:
    """Reduction from left to right, by a function that is not associative."""

    def reduction(
        a: Array, axis: Axis, keepdims: bool, initial: Any, where: Any
    ) -> Array:
        refuse(f"np.{ufunc.__name__}.reduce", where=None if where is True else where)
        axes = ufunc_axes(axis, len(a.shape))
        if len(axes) > 1:
            raise ValueError(
                f"reduction operation {ufunc.__name__!r} is not reorderable, so at "
                "most one axis may be specified"
            )
        a = _in_loop_type(ufunc, a)
        entries = _entries(a, axes[0]) if axes else [a]
        if given(initial):
            start = convert(as_operand(initial, a), dtype=dtype_of(a))
            if not entries:
                rest = (*a.shape[: axes[0]], *a.shape[axes[0] + 1 :])
                start = np.broadcast_to(namespace(a).asarray(start), rest)
            entries.insert(0, start)
        if not entries:
            raise ValueError(
                "zero-size array to reduction operation "
                f"{ufunc.__name__}, which has no identity. Give initial=."
            )
        ans = functools.reduce(lambda x, y: bind(primitive, (x, y), {}), entries)
        return np.expand_dims(ans, axes) if keepdims else ans

    return reduction


def _entries(a: Array, axis: int) -> list[Array]:
    before = (slice(None),) * axis
    return [index(a, template=(*before, i)) for i in range(a.shape[axis])]


def _accumulate(running: Callable[..., Any], name: str) -> Callable[..., Any]:
    def accumulate(
        a: Array, axis: int = 0, dtype: Any = None, out: Any = None
    ) -> Array:
        refuse(f"np.{name}.accumulate", out=out and out[0])
        a = typed(as_operand(a), dtype)
        ans = running(a, axis=_axis_of_entries(a, axis, "accumulate"))
        return typed(ans, dtype) if name in ("add", "multiply") else ans

    return accumulate


def _axis_of_entries(a: Array, axis: int, method: str) -> int:
    if not a.shape and axis in (0, -1):
        raise TypeError(f"cannot {method} on a scalar")
    return axis_of(axis, len(a.shape))


def _by_doubling(ufunc: Any, primitive: Primitive, takes: Any) -> Callable[..., Any]:
    """Running form of an associative function (Hillis and Steele 1986)."""

    def running(a: Array, axis: int) -> Array:
        a = move_axis(_in_loop_type(ufunc, a, takes), axis, 0)
        n = a.shape[0]
        shift = 1
        while shift < n:
            first, later = split(a, sizes=(shift, n - shift), axis=0)
            earlier, _ = split(a, sizes=(n - shift, shift), axis=0)
            a = concatenate(first, bind(primitive, (earlier, later), {}), axis=0)
            shift *= 2
        return move_axis(a, 0, axis)

    return running


def _running_in_turn(ufunc: Any, primitive: Primitive) -> Callable[..., Any]:
    def running(a: Array, axis: int) -> Array:
        a = _in_loop_type(ufunc, a)
        entries = _entries(a, axis)
        if not entries:
            return a
        steps = itertools.accumulate(entries, lambda x, y: bind(primitive, (x, y), {}))
        return np.stack(list(steps), axis)

    return running


def _reduceat(name: str, reduce: Callable[..., Any]) -> Callable[..., Any]:
    def reduceat(
        a: Array, indices: Any, axis: int = 0, dtype: Any = None, out: Any = None
    ) -> Array:
        refuse(f"np.{name}.reduceat", out=out and out[0])
        axis = _axis_of_entries(a, axis, "reduceat")
        n = a.shape[axis]
        starts = value_of(indices, f"np.{name}.reduceat: the use of the indices")
        starts = np.asarray(starts).tolist()
        for i in starts:
            if not 0 <= i < n:
                raise IndexError(f"index {i} out-of-bounds in {name}.reduceat [0, {n})")
        ends = [j if j > i else i + 1 for i, j in zip(starts, [*starts[1:], n])]
        if len(starts) > _FEW and (at_once := _REDUCED_AT_ONCE.get(name)):
            rows = move_axis(a, axis, 0)
            total = at_once(rows, np.array(starts), np.array(ends), dtype)
            if total is not None:
                return move_axis(total, 0, axis)
        before = (slice(None),) * axis
        parts = []
        for i, j in zip(starts, ends, strict=True):
            part = index(a, template=(*before, slice(i, j)))
            total = reduce(part, axis, dtype)
            if part.shape[axis] == 1:  # is copied, where hypot.reduce takes its size
                total = convert(np.squeeze(part, axis), dtype=dtype_of(total))
            parts.append(total)
        return np.stack(parts, axis)

    return reduceat


_FEW = 8
"""Up to so many segments are reduced one by one."""


def _sums_at_once(a: Array, starts: Any, ends: Any, dtype: Any) -> Array | None:
    """Sums of segments along the first axis, each entry added to its segment's."""
    if dtype_of(a).char == "e":
        return None  # added one by one, halves lose too many digits
    sizes = ends - starts
    segments = np.repeat(np.arange(len(sizes)), sizes)
    entries = np.arange(len(segments)) + np.repeat(ends - np.cumsum(sizes), sizes)
    kept = np.add.reduce(np.empty(0, dtype_of(a)), dtype=dtype).dtype
    a = convert(gather(a, entries), dtype=kept)
    return scatter_sum(a, segments, shape=(len(sizes), *a.shape[1:]))


def _extrema_at_once(
    reduce: Callable[..., Any], least: Callable[[Any], Any]
) -> Callable[..., Any]:
    def at_once(a: Array, starts: Any, ends: Any, dtype: Any) -> Array | None:
        """Extrema of segments as rows, which are filled up to equal lengths."""
        places = starts[:, None] + np.arange((ends - starts).max())
        inside = places < ends[:, None]
        if dtype is not None or dtype_of(a).kind not in "fiu" or inside.mean() < 0.25:
            return None
        rows = gather(a, np.where(inside, places, 0))
        inside = inside.reshape(*inside.shape, *(1,) * (len(rows.shape) - 2))
        return reduce(select(inside, rows, least(dtype_of(a))), 1)

    return at_once


def _least(dtype: Any) -> Any:
    return dtype.type(-np.inf if dtype.kind == "f" else np.iinfo(dtype).min)


def _greatest(dtype: Any) -> Any:
    return dtype.type(np.inf if dtype.kind == "f" else np.iinfo(dtype).max)


_REDUCED_AT_ONCE: dict[str, Callable[..., Any]] = {
    "add": _sums_at_once,
    "maximum": _extrema_at_once(max, _least),
    "minimum": _extrema_at_once(min, _greatest),
}


def _at(name: str) -> Callable[..., Any]:
    update = {"add": "add", "multiply": "multiply", "maximum": "max", "minimum": "min"}
    instead = update.get(name, "set")

    def at(a: Array, *args: Any) -> Array:
        raise MutationError(
            f"np.{name}.at writes into its array, and traced arrays are never written "
            f"into. Write x = fnp.at(x)[i].{instead}(v) with import funcad.numpy as "
            "fnp."
        )

    return at


_TRUTH = np.dtype(bool)
_ASSOCIATIVE: dict[Any, tuple[Primitive, Any]] = {
    np.fmax: (e.fmax, None),
    np.fmin: (e.fmin, None),
    np.logaddexp: (e.logaddexp, None),
    np.logaddexp2: (e.logaddexp2, None),
    np.hypot: (e.hypot, None),
    np.bitwise_and: (e.bitwise_and, None),
    np.bitwise_or: (e.bitwise_or, None),
    np.bitwise_xor: (e.bitwise_xor, None),
    np.logical_xor: (e.logical_xor, _TRUTH),
    np.gcd: (e.gcd, None),
}
_OTHERS = {
    np.subtract: e.subtract,
    np.divide: e.divide,
    np.power: e.power,
    np.floor_divide: e.floor_divide,
    np.remainder: e.remainder,
    np.fmod: e.fmod,
    np.arctan2: e.arctan2,
    np.copysign: e.copysign,
    np.lcm: e.lcm,
}
_REDUCTIONS: dict[Any, Callable[..., Any]] = {
    np.add: sum,
    np.multiply: prod,
    np.maximum: max,
    np.minimum: min,
    np.logical_and: _logically(all, True),
    np.logical_or: _logically(any, False),
    **{u: _by_halves(u, *known) for u, known in _ASSOCIATIVE.items()},
    **{u: _in_turn(u, primitive) for u, primitive in _OTHERS.items()},
}
_RUNNING: dict[Any, Callable[..., Any]] = {
    np.add: functools.partial(p.cumsum, reverse=False),
    np.multiply: p.cumprod,
    np.maximum: p.cummax,
    np.minimum: p.cummin,
    np.logical_and: _by_doubling(np.logical_and, e.logical_and, _TRUTH),
    np.logical_or: _by_doubling(np.logical_or, e.logical_or, _TRUTH),
    **{u: _by_doubling(u, *known) for u, known in _ASSOCIATIVE.items()},
    **{u: _running_in_turn(u, primitive) for u, primitive in _OTHERS.items()},
}
for _ufunc, _function in _REDUCTIONS.items():
    _name = _ufunc.__name__
    METHODS[_ufunc, "reduce"] = _reduce(_function, _name)
    METHODS[_ufunc, "reduceat"] = _reduceat(_name, METHODS[_ufunc, "reduce"])
    METHODS[_ufunc, "accumulate"] = _accumulate(_RUNNING[_ufunc], _name)
    METHODS[_ufunc, "at"] = _at(_name)


def vector_norm_2(x: Array, axes: Shape, keepdims: bool) -> Array:
    """Euclidean length, whose derivative at zero is zero rather than NaN."""
    size = absolute(x) if dtype_of(x).kind == "c" else x
    return e.length(reduce_sum(square(size), axis=axes, keepdims=keepdims))


def ndim(x: Array) -> int:
    """Number of axes."""
    return len(shape_of(x))
