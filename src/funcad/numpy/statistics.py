"""Order statistics, averages, covariances, counts, and reductions that ignore NaN."""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.errors import UnsupportedArgumentError
from funcad.core.tracing import PYTHON_SCALARS, Array, dtype_of, shape_of
from funcad.numpy import reductions as r
from funcad.numpy.dispatch import as_array, as_operand, as_operands, implements, refuse
from funcad.numpy.reductions import Axis, axes_of, given, kept, known_value, mask_of
from funcad.primitives import elementwise as p
from funcad.primitives.elementwise import floor, isnan, select
from funcad.primitives.indexing import gather, index, scatter_sum
from funcad.primitives.shape import (
    Shape,
    concatenate,
    convert,
    reduce_sum,
    reshape,
    transpose,
)
from funcad.primitives.sorting import argsort, searchsorted, sort

_NO = np._NoValue  # type: ignore[attr-defined]
_INDEX = np.dtype(np.intp)

# --------------------------------------------------------------------- order statistics


def _in_front(a: Array, axis: Axis) -> tuple[Array, Shape]:
    """The reduced axes as one, in front of the others, and which they were."""
    axes = axes_of(axis, len(a.shape))
    rest = [i for i in range(len(a.shape)) if i not in axes]
    count = r.size_of(a.shape, axes)
    x = transpose(a, axes=(*axes, *rest))
    return reshape(x, shape=(count, *[a.shape[i] for i in rest])), axes


def _kept_shape(ans: Array, a: Array, axes: Shape, keepdims: Any) -> Array:
    """Put the reduced axes back as ones; those before them are of the quantiles."""
    if not kept(keepdims):
        return ans
    lead = shape_of(ans)[: len(shape_of(ans)) - len(a.shape) + len(axes)]
    shape = (*lead, *[1 if i in axes else n for i, n in enumerate(a.shape)])
    return reshape(ans, shape=shape)


@implements(np.median)
def median(
    a: Array,
    axis: Axis = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
) -> Array:
    refuse("np.median", out=out)
    x, axes = _in_front(a, axis)
    ordered = sort(x, axis=0)
    n = x.shape[0]
    middle = index(ordered, template=(slice(max(0, (n - 1) // 2), n // 2 + 1),))
    ans = r.mean(middle, 0)
    if n and dtype_of(a).kind in "fc":  # a NaN is sorted to the end
        last = index(ordered, template=(-1,))
        ans = select(isnan(last), last, ans)
    return _kept_shape(ans, a, axes, keepdims)


@implements(np.nanmedian)
def nanmedian(
    a: Array,
    axis: Axis = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: Any = _NO,
) -> Array:
    refuse("np.nanmedian", out=out)
    if dtype_of(a).kind not in "fc" or 0 in a.shape:
        return median(a, axis, keepdims=kept(keepdims))
    x, axes = _in_front(a, axis)
    ordered = sort(x, axis=0)
    count = _not_nan_count(x)
    low = _along_front(ordered, np.maximum(count - 1, 0) // 2)
    high = _along_front(ordered, count // 2)
    ans = select(count % 2 == 1, low, r.mean(np.stack([low, high]), 0))
    return _kept_shape(ans, a, axes, keepdims)


def _not_nan_count(x: Array) -> Array:
    return reduce_sum(convert(~isnan(x), dtype=_INDEX), axis=(0,), keepdims=False)


def _along_front(x: Array, positions: Array) -> Array:
    """Entries of the first axis at positions that differ over the other axes."""
    grid = [
        namespace(x).arange(n).reshape((n,) + (1,) * (len(x.shape) - 2 - i))
        for i, n in enumerate(x.shape[1:])
    ]
    return gather(x, positions, *grid)


_PLOTTING = {
    # alpha and beta of Hyndman and Fan (1996), "Sample quantiles in statistical
    # packages": the position is n q + alpha + q (1 - alpha - beta), counted from one
    "interpolated_inverted_cdf": (0, 1),
    "hazen": (0.5, 0.5),
    "weibull": (0, 0),
    "median_unbiased": (1 / 3.0, 1 / 3.0),
    "normal_unbiased": (3 / 8.0, 3 / 8.0),
}


def _position(n: Any, q: Array, method: str) -> tuple[Array, bool]:
    """Where a quantile lies among ``n`` sorted entries, and whether it is an entry."""
    if method in _PLOTTING:
        alpha, beta = _PLOTTING[method]
        return n * q + (alpha + q * (1 - alpha - beta)) - 1, False
    if method == "linear":
        return (n - 1) * q, dtype_of(q).kind in "iu"
    if method == "midpoint":
        return 0.5 * (floor((n - 1) * q) + p.ceil((n - 1) * q)), False
    if method == "averaged_inverted_cdf":
        return n * q - 1, False
    if method in ("lower", "higher", "nearest"):
        rounding = {"lower": floor, "higher": p.ceil, "nearest": p.rint}[method]
        return rounding((n - 1) * q), True
    if method in ("inverted_cdf", "closest_observation"):
        at = n * q - (1 if method == "inverted_cdf" else 1.5)
        below = floor(at)
        stays = at == below
        if method == "closest_observation":
            stays = stays & (below % 2 == 1)
        return np.maximum(select(stays, below, below + 1), 0), True
    raise ValueError(
        f"{method!r} is no method of a quantile. Use linear, lower, higher, nearest, "
        "midpoint, inverted_cdf, averaged_inverted_cdf, closest_observation, "
        + ", ".join(_PLOTTING)
        + "."
    )


def _quantile(
    name: str,
    a: Array,
    q: Any,
    axis: Axis,
    method: str,
    keepdims: Any,
    weights: Any,
    ignore_nan: bool,
) -> Array:
    if dtype_of(a).kind == "c":
        raise TypeError(f"{name} takes real numbers, not {dtype_of(a)}.")
    known = known_value(q)
    if known is not None and not np.all((known >= 0) & (known <= 1)):
        raise ValueError("Quantiles must be in the range [0, 1]")
    x, axes = _in_front(a, axis)
    if given(weights):
        weights = _in_front(_weights(name, a, axis, axes, weights, method), axis)[0]
    if x.shape[0] == 0:
        if ignore_nan:
            return _kept_shape(_no_quantile(x, q), a, axes, keepdims)
        raise IndexError(f"{name} of no entries: shape {a.shape}, axis {axis}.")
    if given(weights):
        ans = _weighted_quantile(x, q, weights, ignore_nan)
        return _kept_shape(ans, a, axes, keepdims)
    floats = dtype_of(a).kind == "f"
    ordered = sort(x, axis=0)
    if ignore_nan and floats:
        n: Any = _not_nan_count(x)
        q = reshape(q, shape=shape_of(q) + (1,) * (len(x.shape) - 1))
        pick = _along_front
    else:
        n = x.shape[0]
        pick = gather
    size = n  # which does not widen the precision of the quantiles
    if dtype_of(q).kind == "f" and not isinstance(n, int):
        size = convert(n, dtype=dtype_of(q))
    at, is_entry = _position(size, q, method)
    if is_entry:
        ans = pick(ordered, convert(at, dtype=_INDEX))
    else:
        below = np.clip(floor(at), 0, n - 1)
        above = np.clip(floor(at) + 1, 0, n - 1)
        above = select((at < 0) | (at >= n - 1), below, above)
        low = pick(ordered, convert(below, dtype=_INDEX))
        high = pick(ordered, convert(above, dtype=_INDEX))
        share = at - floor(at)
        if method == "midpoint":
            share = select(share == 0, 0.0, convert(0.5, dtype=dtype_of(share)))
        elif method == "averaged_inverted_cdf":
            share = select(share == 0, 0.5, convert(1.0, dtype=dtype_of(share)))
        if dtype_of(at).kind in "iu":  # as NumPy has it, and quantiles are integers
            share = convert(share, dtype=dtype_of(at))
        if not ignore_nan or not floats:
            share = reshape(share, shape=shape_of(q) + (1,) * (len(x.shape) - 1))
        ans = low + (high - low) * share
    if floats and not ignore_nan:
        last = index(ordered, template=(-1,))  # a NaN is sorted to the end
        ans = select(isnan(last), last, ans)
    return _kept_shape(ans, a, axes, keepdims)


def _no_quantile(x: Array, q: Array) -> Array:
    dtype = dtype_of(x) if dtype_of(x).kind == "f" else np.dtype(float)
    return namespace(x).full((*shape_of(q), *x.shape[1:]), math.nan, dtype)


def _weights(
    name: str, a: Array, axis: Axis, axes: Shape, weights: Any, method: str
) -> Array:
    """Weights of the shape of ``a``, for which they may be given along its axes."""
    if method != "inverted_cdf":
        raise ValueError(
            f"{name}: only method='inverted_cdf' takes weights=, not {method!r}."
        )
    weights = as_operand(weights, a)
    known = known_value(weights)
    if known is not None and (known < 0).any():
        raise ValueError("Weights must be non-negative.")
    return spread_weights(a, axis, axes, weights)


def spread_weights(a: Array, axis: Axis, axes: Shape, weights: Array) -> Array:
    """Weights as NumPy takes them, of the array's shape or of its axes' alone."""
    if shape_of(weights) == a.shape:
        return weights
    if axis is None:
        raise TypeError(
            "Axis must be specified when shapes of a and weights differ: "
            f"{a.shape} and {shape_of(weights)}."
        )
    if shape_of(weights) != tuple([a.shape[i] for i in axes]):
        raise ValueError(
            "Shape of weights must be consistent with shape of a along specified axis: "
            f"{shape_of(weights)}, {a.shape} and axis {axis}."
        )
    order = sorted(range(len(axes)), key=axes.__getitem__)
    weights = transpose(weights, axes=tuple(order))
    full = tuple([n if i in axes else 1 for i, n in enumerate(a.shape)])
    return np.broadcast_to(reshape(weights, shape=full), a.shape)


def _weighted_quantile(x: Array, q: Array, weights: Array, ignore_nan: bool) -> Array:
    """The first entry whose share of the weights before it and its own reaches q."""
    if ignore_nan and dtype_of(x).kind == "f":
        weights = select(isnan(x), 0, weights)
    order = argsort(x, axis=0)
    ordered = np.take_along_axis(x, order, axis=0)
    reached = np.cumsum(np.take_along_axis(weights, order, axis=0), 0, dtype=float)
    reached = reached / reached[-1]
    if dtype_of(q).kind == "f":
        reached = convert(reached, dtype=dtype_of(q))
    reached = select(reached == 0, -1.0, reached)
    lead = len(shape_of(q))
    target = reshape(q, shape=shape_of(q) + (1,) * len(x.shape))
    place = np.sum(reached < target, axis=lead)
    ans = _along_front(ordered, np.minimum(place, x.shape[0] - 1))
    if dtype_of(x).kind == "f" and not ignore_nan:
        ans = select(isnan(ordered[-1]), ordered[-1], ans)
    return ans


def _of_quantiles(function: Any, hundred: bool, ignore_nan: bool, keep: Any) -> Any:
    name = f"np.{function.__name__}"

    def quantile(
        a: Array,
        q: Any,
        axis: Axis = None,
        out: Any = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: Any = keep,
        *,
        weights: Any = None,
    ) -> Array:
        refuse(name, out=out)
        a = as_operand(a, q)
        floats = dtype_of(a).kind == "f"
        if type(q) in PYTHON_SCALARS:  # which keep the precision of the array
            weak = dtype_of(a) if floats else None if method == "linear" else float
            q = namespace(a).asarray(q, weak)
        else:
            q = as_operand(q, a)
        if hundred:
            q = p.divide(q, dtype_of(a).type(100) if floats else 100)
        return _quantile(name, a, q, axis, method, keepdims, weights, ignore_nan)

    return implements(function)(quantile)


quantile = _of_quantiles(np.quantile, False, False, False)
percentile = _of_quantiles(np.percentile, True, False, False)
nanquantile = _of_quantiles(np.nanquantile, False, True, _NO)
nanpercentile = _of_quantiles(np.nanpercentile, True, True, _NO)

# -------------------------------------------------------------- averages, covariances


@implements(np.average)
def average(
    a: Array,
    axis: Axis = None,
    weights: Any = None,
    returned: bool = False,
    *,
    keepdims: Any = _NO,
) -> Any:
    a = as_operand(a, weights)
    axes = axes_of(axis, len(shape_of(a)))
    if weights is None:
        ans = r.mean(a, axes, keepdims=keepdims)
        count = r.size_of(shape_of(a), axes)
        total = namespace(a).full(shape_of(ans), count, dtype_of(ans))
    else:
        weights = spread_weights(a, axis, axes, as_operand(weights, a))
        kinds = [dtype_of(a), dtype_of(weights)]
        if dtype_of(a).kind in "bui":
            kinds.append(np.dtype(np.float64))
        dtype = np.result_type(*kinds)
        total = r.sum(weights, axes, dtype=dtype, keepdims=keepdims)
        known = known_value(total)
        if known is not None and (known == 0).any():
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        weighted = convert(a * weights, dtype=dtype)
        ans = p.divide(r.sum(weighted, axes, keepdims=keepdims), total)
    if not returned:
        return ans
    return ans, np.broadcast_to(total, shape_of(ans))


@implements(np.cov)
def cov(
    m: Array,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Array:
    if ddof is not None and ddof != int(ddof):
        raise ValueError("ddof must be integer")
    m = as_operand(m, y)
    x = _variables(m, rowvar, "m")
    if dtype is None:
        others = [] if y is None else [dtype_of(as_operand(y, m))]
        dtype = np.result_type(dtype_of(m), np.float64, *others)
    x = convert(x, dtype=np.dtype(dtype))
    if shape_of(x)[0] == 0:
        return namespace(x).empty((0, 0), x.dtype)
    if y is not None:
        other = _variables(as_operand(y, m), rowvar, "y")
        x = concatenate(x, convert(other, dtype=np.dtype(dtype)), axis=0)
    if ddof is None:
        ddof = 0 if bias else 1
    n = x.shape[1]
    weights, total, correction = _sample_weights(n, x, fweights, aweights, ddof)
    if weights is None:
        centred = x - r.mean(x, 1, keepdims=True)
        right = centred
    else:
        middle = r.sum(x * weights, 1, keepdims=True) / total
        centred = x - middle
        right = centred * weights
    known = known_value(correction)
    if known is not None and known <= 0:
        correction = 0.0
    products = centred @ np.conj(right.T)
    return np.squeeze(p.divide(products, correction))


def _variables(x: Array, rowvar: bool, name: str) -> Array:
    if len(shape_of(x)) > 2:
        raise ValueError(f"{name} has more than 2 dimensions")
    rows = np.atleast_2d(x)
    return rows.T if not rowvar and len(shape_of(x)) != 1 else rows


def _sample_weights(
    n: int, x: Array, fweights: Any, aweights: Any, ddof: int
) -> tuple[Array | None, Any, Any]:
    """Weights of the samples, their sum, and what the products are divided by."""
    for name, w in (("fweights", fweights), ("aweights", aweights)):
        if w is None:
            continue
        w = as_operand(w, x)
        if not shape_of(w):
            raise IndexError(f"{name} is a number; np.cov takes one for each sample.")
        if len(shape_of(w)) > 1:
            raise RuntimeError(f"cannot handle multidimensional {name}")
        if shape_of(w) != (n,):
            raise RuntimeError(f"incompatible numbers of samples and {name}")
        known = known_value(w)
        if known is None:
            continue
        if name == "fweights" and (known != known.round()).any():
            raise TypeError("fweights must be integer")
        if (known < 0).any():
            raise ValueError(f"{name} cannot be negative")
    if fweights is None and aweights is None:
        return None, n, n - ddof
    fw = None if fweights is None else as_operand(fweights, x) * 1.0
    aw = None if aweights is None else as_operand(aweights, x) * 1.0
    weights = fw if aw is None else aw if fw is None else fw * aw
    total = r.sum(weights)
    if ddof == 0:
        return weights, total, total
    if aw is None:
        return weights, total, total - ddof
    return weights, total, total - ddof * r.sum(weights * aw) / total


@implements(np.corrcoef)
def corrcoef(
    x: Array, y: Any = None, rowvar: bool = True, *, dtype: Any = None
) -> Array:
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.shape:
        return p.divide(c, c)
    spread = p.sqrt(np.real(np.diagonal(c)))
    c = c / spread[:, None] / spread[None, :]
    if c.dtype.kind == "c":
        return np.clip(c.real, -1, 1) + 1j * np.clip(c.imag, -1, 1)
    return np.clip(c, -1, 1)


# ------------------------------------------------------------------------- without NaN


def _numbers(a: Array, where: Any, neutral: Any) -> Array:
    """Entries that are no NaN, and a neutral value for the others."""
    return a if dtype_of(a).kind not in "fc" else select(isnan(a), neutral, a)


def _are_numbers(a: Array, where: Any) -> Any:
    """``where`` of a reduction that leaves every NaN out."""
    if dtype_of(a).kind not in "fc":
        return where
    mask = mask_of(where, a)
    return ~isnan(a) if mask is None else ~isnan(a) & mask


def _nan_total(function: Any, total: Callable[..., Array], neutral: int) -> Any:
    def nan_total(
        a: Array,
        axis: Axis = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = _NO,
        initial: Any = _NO,
        where: Any = _NO,
    ) -> Array:
        refuse(f"np.{function.__name__}", out=out)
        numbers = _numbers(a, where, neutral)
        return total(
            numbers, axis, dtype, keepdims=keepdims, initial=initial, where=where
        )

    return implements(function)(nan_total)


nansum = _nan_total(np.nansum, r.sum, 0)
nanprod = _nan_total(np.nanprod, r.prod, 1)


def _nan_extremum(function: Any, extremum: Callable[..., Array], last: float) -> Any:
    def nan_extremum(
        a: Array,
        axis: Axis = None,
        out: Any = None,
        keepdims: Any = _NO,
        initial: Any = _NO,
        where: Any = _NO,
    ) -> Array:
        refuse(f"np.{function.__name__}", out=out)
        best = extremum(
            _numbers(a, where, _end(a, last)),
            axis,
            keepdims=keepdims,
            initial=initial,
            where=where,
        )
        if dtype_of(a).kind not in "fc" or given(initial):
            return best
        empty = r.all(isnan(a), axis, keepdims=keepdims)
        return select(empty, math.nan, best)

    return implements(function)(nan_extremum)


def _end(a: Array, last: float) -> Any:
    return complex(last, last) if dtype_of(a).kind == "c" else last


nanmax = _nan_extremum(np.nanmax, r.max, -math.inf)
nanmin = _nan_extremum(np.nanmin, r.min, math.inf)


def _nan_position(function: Any, position: Callable[..., Array], last: float) -> Any:
    def nan_position(
        a: Array, axis: int | None = None, out: Any = None, *, keepdims: Any = _NO
    ) -> Array:
        refuse(f"np.{function.__name__}", out=out)
        if dtype_of(a).kind in "fc":
            known = known_value(r.any(r.all(isnan(a), axis)))
            if known is not None and known:
                raise ValueError("All-NaN slice encountered")
        return position(_numbers(a, _NO, _end(a, last)), axis, keepdims=keepdims)

    return implements(function)(nan_position)


nanargmax = _nan_position(np.nanargmax, r.argmax, -math.inf)
nanargmin = _nan_position(np.nanargmin, r.argmin, math.inf)


@implements(np.nanmean)
def nanmean(
    a: Array,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = _NO,
    *,
    where: Any = _NO,
) -> Array:
    r.ufunc_axes(axis, len(a.shape))  # of which NumPy complains first
    where = _are_numbers(a, where)
    return r.mean(a, axis, dtype, out, keepdims, where=where)


def _nan_variance(
    a: Array,
    axis: Axis,
    dtype: Any,
    ddof: float,
    keepdims: Any,
    where: Any,
    mean: Any,
    correction: Any,
) -> Array:
    r.ufunc_axes(axis, len(a.shape))  # of which NumPy complains first
    return r.variance(
        _numbers(a, where, 0),
        axis,
        dtype,
        ddof,
        keepdims,
        _are_numbers(a, where),
        mean,
        correction,
        of_none=math.nan if dtype_of(a).kind in "fc" else 0,
    )


@implements(np.nanvar)
def nanvar(
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
    refuse("np.nanvar", out=out)
    return _nan_variance(a, axis, dtype, ddof, keepdims, where, mean, correction)


@implements(np.nanstd)
def nanstd(
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
    refuse("np.nanstd", out=out)
    return p.length(
        _nan_variance(a, axis, dtype, ddof, keepdims, where, mean, correction)
    )


def _nan_running(function: Any, running: Callable[..., Array], neutral: int) -> Any:
    def nan_running(
        a: Array, axis: int | None = None, dtype: Any = None, out: Any = None
    ) -> Array:
        refuse(f"np.{function.__name__}", out=out)
        return running(_numbers(a, _NO, neutral), axis, dtype)

    return implements(function)(nan_running)


nancumsum = _nan_running(np.nancumsum, r.cumsum, 0)
nancumprod = _nan_running(np.nancumprod, r.cumprod, 1)

# ------------------------------------------------------------------------------ counts


@implements(np.bincount)
def bincount(x: Array, /, weights: Any = None, minlength: int = 0) -> Array:
    if minlength < 0:
        raise ValueError("'minlength' must not be negative")
    x = as_operand(x, weights)
    if len(shape_of(x)) != 1:
        raise ValueError(f"np.bincount takes one axis, not an array of {shape_of(x)}.")
    if dtype_of(x).kind not in "bui":
        raise TypeError(
            f"Cannot cast array data from {dtype_of(x)!r} to int64 according to the "
            "rule 'safe': np.bincount counts integers."
        )
    known = r.value_of(x, "np.bincount: the size of the result")
    if known.size and known.min() < 0:
        raise ValueError("'list' argument must have no negative elements")
    size = max(int(known.max()) + 1 if known.size else 0, minlength)
    if weights is None or not known.size:  # where NumPy does not look at weights
        ones = namespace(known).ones(known.shape, _INDEX)
        return scatter_sum(ones, known, shape=(size,))
    weights = as_operand(weights, x)
    if shape_of(weights) != known.shape:
        raise ValueError("The weights and list don't have the same length.")
    weights = convert(weights, dtype=np.dtype(np.float64))
    return scatter_sum(weights, known, shape=(size,))


@implements(np.histogram_bin_edges)
def histogram_bin_edges(
    a: Array, bins: Any = 10, range: Any = None, weights: Any = None
) -> Array:
    return _edges(np.ravel(as_operand(a, weights)), bins, range)


def _edges(a: Array, bins: Any, limits: Any) -> Array:
    if isinstance(bins, str):
        raise UnsupportedArgumentError(
            f"np.histogram of a traced array does not take bins={bins!r}, whose number "
            "depends on values. Give the number of bins or their edges."
        )
    bins = as_operand(bins, a)
    if len(shape_of(bins)) == 1:
        known = known_value(bins)
        if known is not None and (known[1:] < known[:-1]).any():
            raise ValueError("`bins` must increase monotonically, when an array")
        return bins
    if len(shape_of(bins)):
        raise ValueError("`bins` must be 1d, when an array")
    count = operator.index(bins)
    if count < 1:
        raise ValueError("`bins` must be positive, when an integer")
    if limits is not None:
        first, last = (as_array(limit, a) for limit in limits)
        known = known_value(first > last)
        if known is not None and known:
            raise ValueError("max must be larger than min in range parameter.")
    elif a.shape[0] == 0:
        first, last = as_array(0.0, a), as_array(1.0, a)
    else:
        first, last = r.min(a), r.max(a)
    kinds = np.result_type(dtype_of(a), dtype_of(first), dtype_of(last))
    dtype = kinds if kinds.kind in "fc" else np.dtype(np.float64)
    same = first == last
    first, last = (
        convert(select(same, x + shift, x), dtype=dtype)
        for x, shift in ((first, -0.5), (last, 0.5))
    )
    steps = namespace(a).arange(count + 1)
    edges = select(steps == count, last, first + steps * ((last - first) / count))
    return convert(edges, dtype=dtype)


def _places(a: Array, edges: Array) -> tuple[Array, Array]:
    """The bin of each entry, and whether it lies outside of all of them."""
    last = edges[-1]
    place = searchsorted(edges, a, side="right") - 1
    place = select(a == last, shape_of(edges)[0] - 2, place)
    return place, (place < 0) | (a > last) | isnan(a)


@implements(np.histogram)
def histogram(
    a: Array,
    bins: Any = 10,
    range: Any = None,
    density: bool | None = None,
    weights: Any = None,
) -> tuple[Array, Array]:
    a = as_operand(a, weights)
    if weights is not None:
        weights = as_operand(weights, a)
        if shape_of(weights) != shape_of(a):
            raise ValueError("weights should have the same shape as a.")
        weights = np.ravel(weights)
    a = np.ravel(a)
    edges = _edges(a, bins, range)
    count = shape_of(edges)[0] - 1
    place, outside = _places(a, edges)
    units = namespace(a).ones(a.shape, _INDEX) if weights is None else weights
    if dtype_of(units).kind == "b":
        units = convert(units, dtype=_INDEX)
    # what lies outside is counted in one place more than there are bins
    place = select(outside, count, place)
    counts = scatter_sum(units, place, shape=(count + 1,))[:count]
    if density:
        counts = counts / np.diff(edges) / r.sum(counts)
    return counts, edges


@implements(np.histogramdd)
def histogramdd(
    sample: Any,
    bins: Any = 10,
    range: Any = None,
    density: bool | None = None,
    weights: Any = None,
) -> tuple[Array, tuple[Array, ...]]:
    if isinstance(sample, (list, tuple)):  # of coordinates
        sample = np.atleast_2d(np.stack([as_array(x, weights) for x in sample])).T
    elif len(shape_of(sample)) != 2:
        sample = np.atleast_2d(sample).T
    if len(shape_of(sample)) != 2:
        raise ValueError(
            "np.histogramdd takes a matrix with a point in each row, or a list of the "
            f"coordinates, not an array of shape {shape_of(sample)[::-1]}."
        )
    rows, dims = shape_of(sample)
    if not hasattr(bins, "__len__"):  # as many for each
        bins = (bins,) * dims
    limits = (None,) * dims if range is None else range
    if len(bins) != dims:
        raise ValueError(
            "The dimension of bins must be equal to the dimension of the sample x."
        )
    if len(limits) != dims:
        raise ValueError("range argument must have one entry per dimension")
    flat: Any = 0
    out: Any = False
    edges = []
    for x, n, limit in zip(np.unstack(sample, axis=1), bins, limits, strict=True):
        edges.append(_edges(x, n, limit))
        place, outside = _places(x, edges[-1])
        flat = flat * (shape_of(edges[-1])[0] - 1) + place
        out = out | outside
    sizes = tuple([shape_of(e)[0] - 1 for e in edges])
    total = math.prod(sizes)
    if weights is None or not rows:  # where NumPy does not look at weights
        weights = namespace(sample).ones(rows)
    weights = as_operand(weights, sample)
    if shape_of(weights) != (rows,):
        raise ValueError(
            f"np.histogramdd takes one weight for each of {rows} points; the shape of "
            f"weights is {shape_of(weights)}."
        )
    weights = convert(weights, dtype=np.dtype(np.float64))
    counts = scatter_sum(weights, select(out, total, flat), shape=(total + 1,))
    counts = reshape(counts[:total], shape=sizes)
    if density:
        volume: Any = 1.0
        for i, e in enumerate(edges):
            volume = volume * np.expand_dims(
                np.diff(e), tuple(j for j in builtins.range(dims) if j != i)
            )
        counts = counts / volume / r.sum(counts)
    return counts, tuple(edges)


@implements(np.histogram2d)
def histogram2d(
    x: Array,
    y: Array,
    bins: Any = 10,
    range: Any = None,
    density: bool | None = None,
    weights: Any = None,
) -> tuple[Array, Array, Array]:
    x, y = as_operands(x, y)
    if len(x) != len(y):
        raise ValueError("x and y must have the same length.")
    if hasattr(bins, "__len__") and len(bins) not in (1, 2):
        bins = [bins, bins]
    counts, (first, second) = histogramdd([x, y], bins, range, density, weights)
    return counts, first, second
