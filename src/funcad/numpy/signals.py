"""Sequences of samples and of coefficients: differences, sums, filters, polynomials."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.tracing import PYTHON_SCALARS, Array, dtype_of, shape_of
from funcad.numpy.dispatch import as_array, as_operand, implements
from funcad.numpy.reductions import axes_of, axis_of, known_value, value_of
from funcad.primitives import elementwise as p
from funcad.primitives.elementwise import select
from funcad.primitives.indexing import gather
from funcad.primitives.reduction import sliding_dot
from funcad.primitives.shape import concatenate as joined
from funcad.primitives.shape import convert, pad, reduce_sum, reshape
from funcad.primitives.sorting import argsort, searchsorted

_NO = np._NoValue  # type: ignore[attr-defined]


# ----------------------------------------------------------------- differences and sums


@implements(np.diff)
def diff(
    a: Array, n: int = 1, axis: int = -1, prepend: Any = _NO, append: Any = _NO
) -> Array:
    if n == 0:
        return a
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n}")
    a = as_operand(a, prepend, append)
    if not shape_of(a):
        raise ValueError("diff requires input that is at least one dimensional")
    axis = axis_of(axis, len(a.shape))
    parts = [_ends(prepend, a, axis), a, _ends(append, a, axis)]
    parts = [x for x in parts if x is not None]
    if len(parts) > 1:
        a = np.concatenate(parts, axis)
    before = (slice(None),) * axis
    for _ in range(n):
        later, earlier = a[(*before, slice(1, None))], a[(*before, slice(None, -1))]
        a = p.not_equal(later, earlier) if a.dtype.kind == "b" else later - earlier
    return a


def _ends(x: Any, a: Array, axis: int) -> Array | None:
    if x is _NO:
        return None
    x = as_array(x, a)
    if shape_of(x):
        return x
    return np.broadcast_to(x, (*a.shape[:axis], 1, *a.shape[axis + 1 :]))


@implements(np.ediff1d)
def ediff1d(ary: Array, to_end: Any = None, to_begin: Any = None) -> Array:
    a = np.ravel(as_array(ary, to_end, to_begin))
    parts = [diff(a) if a.dtype.kind != "b" else a[1:] - a[:-1]]
    for end, place in ((to_begin, 0), (to_end, 2)):
        if end is not None:
            end = np.ravel(as_array(end, a))
            if not np.can_cast(end.dtype, a.dtype, casting="same_kind"):
                raise TypeError(
                    "dtype of `to_end` or `to_begin` must be compatible with input "
                    f"`ary` under the `same_kind` rule: {end.dtype} and {a.dtype}."
                )
            parts.insert(place, convert(end, dtype=a.dtype))
    return np.concatenate(parts)


@implements(np.trapezoid)
def trapezoid(y: Array, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Array:
    y = as_array(y, x, dx)
    axis = axis_of(axis, len(y.shape))
    if x is None:
        width = as_operand(dx, y)
    else:
        x = as_array(x, y)
        if len(shape_of(x)) == 1:
            shape = [1] * len(y.shape)
            shape[axis] = shape_of(x)[0] - 1
            width = reshape(diff(x), shape=tuple(shape))
        else:
            width = diff(x, axis=axis)
    before = (slice(None),) * axis
    pairs = y[(*before, slice(1, None))] + y[(*before, slice(None, -1))]
    return np.sum(width * pairs / 2.0, axis)


@implements(np.gradient)
def gradient(f: Array, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    f = as_array(f, *varargs)
    rank = len(f.shape)
    axes = axes_of(axis, rank)
    if len(varargs) == 0:
        spacings: list[Any] = [1.0] * len(axes)
    elif len(varargs) == 1 and not np.ndim(varargs[0]):
        spacings = [as_operand(varargs[0], f)] * len(axes)
    elif len(varargs) == len(axes):
        spacings = [_spacing(s, f, i) for s, i in zip(varargs, axes, strict=True)]
    else:
        raise TypeError("invalid number of arguments")
    if edge_order > 2:
        raise ValueError("'edge_order' greater than 2 not supported")
    if dtype_of(f).kind in "bui":
        f = convert(f, dtype=np.dtype(np.float64))
    for i in axes:
        if f.shape[i] < edge_order + 1:
            raise ValueError(
                "Shape of array too small to calculate a numerical gradient, at least "
                f"(edge_order + 1) elements are required: shape {f.shape}, axis {i}."
            )
    slopes = tuple(
        [_slopes(f, h, i, edge_order) for h, i in zip(spacings, axes, strict=True)]
    )
    return slopes[0] if len(slopes) == 1 else slopes


def _spacing(s: Any, f: Array, axis: int) -> Array:
    """The distance of samples, or the distances between their given places."""
    s = as_operand(s, f)
    if not shape_of(s):
        return s
    if len(shape_of(s)) != 1:
        raise ValueError("distances must be either scalars or 1d")
    if shape_of(s)[0] != f.shape[axis]:
        raise ValueError(
            "when 1d, distances must match the length of the corresponding dimension"
        )
    if dtype_of(s).kind in "bui":
        s = convert(s, dtype=np.dtype(np.float64))
    return diff(s)


def _slopes(f: Array, h: Array, axis: int, edge_order: int) -> Array:
    """Slopes of parabolas through neighbours, at the ends of polynomials of an order.

    Fornberg (1988), "Generation of finite difference formulas on arbitrarily spaced
    grids", with the distances ``a`` to the sample before and ``b`` to the one after.
    """
    f = np.moveaxis(f, axis, -1)
    n = f.shape[-1]
    uniform = not shape_of(h)

    def distance(i: int) -> Array:
        return h if uniform else h[i]

    if n > 2:
        if uniform:
            inner = (f[..., 2:] - f[..., :-2]) / (2.0 * h)
        else:
            a, b = h[:-1], h[1:]
            inner = (
                -b / (a * (a + b)) * f[..., :-2]
                + (b - a) / (a * b) * f[..., 1:-1]
                + a / (b * (a + b)) * f[..., 2:]
            )
    else:
        inner = f[..., :0]
    if edge_order == 1:
        first = (f[..., 1] - f[..., 0]) / distance(0)
        last = (f[..., -1] - f[..., -2]) / distance(-1)
    else:
        a, b = distance(0), distance(1) if n > 2 else distance(0)
        first = (
            -(2.0 * a + b) / (a * (a + b)) * f[..., 0]
            + (a + b) / (a * b) * f[..., 1]
            - a / (b * (a + b)) * f[..., 2]
        )
        a, b = distance(-2) if n > 2 else distance(-1), distance(-1)
        last = (
            b / (a * (a + b)) * f[..., -3]
            - (b + a) / (a * b) * f[..., -2]
            + (2.0 * b + a) / (b * (a + b)) * f[..., -1]
        )
    whole = np.concatenate([first[..., None], inner, last[..., None]], -1)
    return convert(np.moveaxis(whole, -1, axis), dtype=dtype_of(f))


@implements(np.unwrap)
def unwrap(
    p: Array, discont: Any = None, axis: int = -1, *, period: Any = 2 * math.pi
) -> Array:
    phase = as_array(p, period)
    axis = axis_of(axis, len(phase.shape))
    period = as_operand(period, phase)
    discont = period / 2 if discont is None else as_operand(discont, phase)
    steps = diff(phase, axis=axis)
    kinds = [period if type(period) in PYTHON_SCALARS else dtype_of(period)]
    dtype = np.result_type(dtype_of(steps), *kinds)
    if dtype.kind in "ui":
        high, rest = divmod(period, 2)
        at_boundary = rest == 0
    else:
        high, at_boundary = period / 2, True
    low = -high
    wrapped = np.remainder(steps - low, period) + low
    if at_boundary:
        wrapped = select((wrapped == low) & (steps > 0), high, wrapped)
    shift = select(np.absolute(steps) < discont, 0, wrapped - steps)
    shift = convert(shift, dtype=dtype)
    widths = tuple([(1, 0) if i == axis else (0, 0) for i in range(len(phase.shape))])
    total = convert(np.cumsum(shift, axis), dtype=dtype)
    return convert(phase, dtype=dtype) + pad(total, widths=widths)


# --------------------------------------------------------------- interpolation, filters


@implements(np.interp)
def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Array:
    x, xp, fp = (as_array(v, x, xp, fp) for v in (x, xp, fp))
    double = np.dtype(np.float64)
    kind = np.dtype(np.complex128) if dtype_of(fp).kind == "c" else double
    x, xp = convert(x, dtype=double), convert(xp, dtype=double)
    fp = convert(fp, dtype=kind)
    if len(shape_of(xp)) != 1 or len(shape_of(fp)) != 1:
        raise ValueError("Data points must be 1-D sequences")
    if shape_of(xp)[0] != shape_of(fp)[0]:
        raise ValueError("fp and xp are not of the same length.")
    if shape_of(xp)[0] == 0:
        raise ValueError("array of sample points is empty")
    if period is not None:
        period = as_operand(period, x)
        known = known_value(period)
        if known is not None and known == 0:
            raise ValueError("period must be a non-zero value")
        period = np.absolute(period)
        left = right = None
        x, xp = x % period, xp % period
        order = argsort(xp, axis=0)
        xp, fp = gather(xp, order), gather(fp, order)
        xp = joined(xp[-1:] - period, xp, xp[:1] + period, axis=0)
        fp = joined(fp[-1:], fp, fp[:1], axis=0)
    n = shape_of(xp)[0]
    piece = np.clip(searchsorted(xp, x, side="right") - 1, 0, max(n - 2, 0))
    after = np.minimum(piece + 1, n - 1)
    start, first = gather(xp, piece), gather(fp, piece)
    width = gather(xp, after) - start
    # a last place that occurs twice has a piece of no width before it
    slope = (gather(fp, after) - first) / select(width == 0, 1.0, width)
    out = first + slope * (x - start)
    out = select(x == xp[-1], fp[-1] + slope * (x - xp[-1]), out)
    below = fp[0] if left is None else as_operand(left, x)
    above = fp[-1] if right is None else as_operand(right, x)
    out = select(x < xp[0], below, select(x > xp[-1], above, out))
    return convert(out, dtype=kind)


def _sequences(name: str, a: Any, v: Any) -> tuple[Array, Array]:
    a, v = as_array(a, v), as_array(v, a)
    for x in (a, v):
        if len(x.shape) != 1:
            raise ValueError(f"{name}: an operand of shape {x.shape} is no sequence.")
        if not x.shape[0]:
            raise ValueError(f"{name}: a sequence cannot be empty.")
    return a, v


def _overlaps(a: Array, v: Array, mode: Any) -> Array:
    """Convolution, where ``v`` is no longer than ``a``; ``v`` is reversed already."""
    n, m = a.shape[0], v.shape[0]
    ends = {"full": (m - 1, m - 1), "same": (m // 2, m - 1 - m // 2), "valid": (0, 0)}
    if mode not in ends:
        np.convolve(np.ones(n), np.ones(m), mode=mode)  # NumPy's own errors
        raise ValueError(f"mode must be one of {[*ends]}, not {mode!r}")
    return sliding_dot(pad(a, widths=(ends[mode],)), v)


@implements(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Array:
    a, v = np.atleast_1d(as_array(a, v)), np.atleast_1d(as_array(v, a))
    a, v = _sequences("np.convolve", a, v)
    if a.shape[0] < v.shape[0]:
        a, v = v, a
    return _overlaps(a, v[::-1], mode)


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Array:
    a, v = _sequences("np.correlate", a, v)
    v = np.conj(v) if dtype_of(v).kind == "c" else v
    if a.shape[0] >= v.shape[0]:
        return _overlaps(a, v, mode)
    return _overlaps(v, a, mode)[::-1]


def kaiser(M: int, beta: Any) -> Array:
    """The Kaiser window, as ``numpy.kaiser``, whose shape ``beta`` may be traced.

    Parameters
    ----------
    M : int
        Number of points.
    beta : float
        Shape of the window.

    Returns
    -------
    array, shape (M,)
        The window, with its maximum one.

    Examples
    --------
    >>> import funcad
    >>> import funcad.numpy as fnp
    >>> funcad.grad(lambda beta: fnp.kaiser(5, beta).sum())(2.0).round(6).item()
    -0.839529
    """
    if np.ndim(beta):
        raise ValueError(
            f"kaiser: beta must be a number, and has shape {np.shape(beta)}."
        )
    if M < 1:
        return namespace(beta).zeros(0)
    if M == 1:
        return namespace(beta).ones(1)
    middle = (M - 1) / 2.0
    place = (namespace(beta).arange(M) - middle) / middle
    return np.i0(beta * np.sqrt(1 - place * place)) / np.i0(as_operand(beta))


@implements(np.i0)
def i0(x: Any) -> Array:
    from funcad.primitives.special import i0 as bessel

    x = as_array(x)
    if dtype_of(x).kind == "c":
        raise TypeError("i0 not supported for complex values")
    dtype = dtype_of(x) if dtype_of(x).kind == "f" else np.dtype(np.float64)
    return convert(bessel(convert(x, dtype=dtype)), dtype=dtype)


# -------------------------------------------------------------------------- polynomials


def _coefficients(p: Any, *others: Any) -> Array:
    return np.atleast_1d(as_array(p, *others))


@implements(np.polyval)
def polyval(p: Any, x: Any) -> Array:
    p, x = as_array(p, x), as_array(x, p)
    y = np.zeros_like(x)
    for i in range(len(p)):
        y = y * x + p[i]
    return y


@implements(np.polyadd)
def polyadd(a1: Any, a2: Any) -> Array:
    return _sum_of(a1, a2, p.add)


@implements(np.polysub)
def polysub(a1: Any, a2: Any) -> Array:
    return _sum_of(a1, a2, p.subtract)


def _sum_of(a1: Any, a2: Any, combine: Any) -> Array:
    a1, a2 = _coefficients(a1, a2), _coefficients(a2, a1)
    n = max(len(a1), len(a2))
    return combine(_longer(a1, n), _longer(a2, n))


def _longer(a: Array, n: int) -> Array:
    """Coefficients with zeros in front, ``n`` in all."""
    zeros = namespace(a).zeros(n - len(a), a.dtype)
    return np.concatenate([zeros, a]) if zeros.size else a


@implements(np.polymul)
def polymul(a1: Any, a2: Any) -> Array:
    return convolve(_trimmed(a1, a2), _trimmed(a2, a1))


def _trimmed(p: Any, *others: Any) -> Array:
    """Coefficients without zeros in front, as far as they are known."""
    p = _coefficients(p, *others)
    if not p.shape[0]:
        return namespace(p).zeros(1, p.dtype)
    known = known_value(p)
    if known is None:
        return p
    places = known.nonzero()[0]
    return p[int(places[0]) if places.size else known.shape[0] - 1 :]


@implements(np.polydiv)
def polydiv(u: Any, v: Any) -> tuple[Array, Array]:
    u, v = _coefficients(u, v) + 0.0, _coefficients(v, u) + 0.0
    if len(u.shape) > 1 or len(v.shape) > 1:
        np.polydiv(np.ones(u.shape, u.dtype), np.ones(v.shape, v.dtype))
    dtype = np.result_type(u.dtype, v.dtype)
    if not len(u):
        raise IndexError("np.polydiv: the dividend has no coefficients.")
    u = convert(u, dtype=dtype)
    m, n = u.shape[0] - 1, v.shape[0] - 1
    scale = 1.0 / v[0]
    quotient = []
    rest = u
    for k in range(max(m - n + 1, 1) if m >= n else 0):
        d = scale * rest[k]
        quotient.append(d)
        rest = rest - pad(d * v, widths=((k, m - n - k),))
    q = np.stack(quotient) if quotient else namespace(u).zeros(1, dtype)
    known = value_of(rest, "np.polydiv: the degree of the remainder")
    start = 0
    while start < m and (abs(known[start]) <= 1e-8).all():
        start += 1
    return q, rest[start:]


@implements(np.polyder)
def polyder(p: Any, m: int = 1) -> Array:
    m = operator.index(m)
    if m < 0:
        raise ValueError("Order of derivative must be positive (see polyint)")
    p = as_array(p)
    if len(p.shape) != 1:
        np.polyder(np.broadcast_to(0.0, p.shape), m)  # NumPy's own error
    for _ in range(m):
        n = p.shape[0] - 1
        p = p[:-1] * namespace(p).arange(n, 0, -1)
    return p


@implements(np.polyint)
def polyint(p: Any, m: int = 1, k: Any = None) -> Array:
    m = operator.index(m)
    if m < 0:
        raise ValueError("Order of integral must be positive (see polyder)")
    p = as_array(p, k)
    k = np.zeros(m) if k is None else _coefficients(k, p)
    if k.shape[0] == 1 and m > 1:
        k = k[0] * namespace(k).ones(m)
    if k.shape[0] < m:
        raise ValueError("k must be a scalar or a rank-1 array of length 1 or >m.")
    for i in range(m):
        n = len(p)
        constant = namespace(p).asarray(k[i : i + 1])
        p = np.concatenate([p / namespace(p).arange(n, 0, -1), constant])
    return p


@implements(np.poly)
def poly(seq_of_zeros: Any) -> Array:
    zeros = _coefficients(seq_of_zeros)
    shape = zeros.shape
    if len(shape) == 2 and shape[0] == shape[1] and shape[0]:
        zeros = np.linalg.eigvals(zeros)
    elif len(shape) != 1:
        raise ValueError("input must be 1d or non-empty square 2d array.")
    if not zeros.shape[0]:
        return namespace(zeros).ones(())[()]
    if zeros.dtype.kind in "bui":
        zeros = convert(zeros, dtype=np.dtype(np.float64))
    a = namespace(zeros).ones(1, zeros.dtype)
    for i in range(zeros.shape[0]):
        zero = zeros[i : i + 1]
        a = pad(a, widths=((0, 1),)) - pad(a * zero, widths=((1, 0),))
    if zeros.dtype.kind == "c":
        known = known_value(zeros)
        if known is not None and (np.sort(known) == np.sort(known.conj())).all():
            a = a.real
    return a


@implements(np.roots)
def roots(p: Any) -> Array:
    p = _coefficients(p)
    if len(p.shape) != 1:
        raise ValueError("Input must be a rank-1 array.")
    places = value_of(p, "np.roots: the number of zeros at the ends").nonzero()[0]
    if not places.size:
        return namespace(p).zeros(0)
    first, last = int(places[0]), int(places[-1])
    zeros = p.shape[0] - last - 1
    p = p[first : last + 1]
    if p.dtype.kind not in "fc":
        p = convert(p, dtype=np.dtype(np.float64))
    n = p.shape[0]
    if n < 2:
        return namespace(p).zeros(zeros, p.dtype)
    top = -p[1:] / p[0]
    companion = np.concatenate([top[None], namespace(p).eye(n - 2, n - 1, 0, p.dtype)])
    found = np.linalg.eigvals(companion)
    known = value_of(found, "np.roots")
    if known.dtype.kind == "c" and not known.imag.any():
        found = found.real
    return joined(found, namespace(p).zeros(zeros, found.dtype), axis=0)


@implements(np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Array:
    x = as_array(x)
    if len(x.shape) != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    n = x.shape[0] if N is None else operator.index(N)
    wide = np.result_type(x.dtype, int)
    x = convert(x, dtype=wide)
    ones = namespace(x).ones((x.shape[0], min(n, 1)), wide)
    if n > 1:
        powers = np.broadcast_to(x[:, None], (x.shape[0], n - 1))
        ones = np.concatenate([ones, np.cumprod(powers, 1)], 1)
    return ones if increasing else ones[:, ::-1]


@implements(np.polyfit)
def polyfit(
    x: Any,
    y: Any,
    deg: int,
    rcond: float | None = None,
    full: bool = False,
    w: Any = None,
    cov: Any = False,
) -> Any:
    order = operator.index(deg) + 1
    x, y = as_array(x, y, w) + 0.0, as_array(y, x, w) + 0.0
    if order < 1:
        raise ValueError("expected deg >= 0")
    if len(x.shape) != 1:
        raise TypeError("expected 1D vector for x")
    if x.shape[0] == 0:
        raise TypeError("expected non-empty vector for x")
    if not 1 <= len(y.shape) <= 2:
        raise TypeError("expected 1D or 2D array for y")
    if x.shape[0] != y.shape[0]:
        raise TypeError("expected x and y to have same length")
    if rcond is None:
        rcond = x.shape[0] * float(np.finfo(x.dtype).eps)
    scaled, right = vander(x, order), y
    if w is not None:
        w = as_array(w, x) + 0.0
        if len(w.shape) != 1:
            raise TypeError("expected a 1-d array for weights")
        if w.shape[0] != y.shape[0]:
            raise TypeError("expected w and y to have the same length")
        scaled = scaled * w[:, None]
        right = right * (w[:, None] if len(y.shape) == 2 else w)
    scale = np.sqrt(reduce_sum(scaled * scaled, axis=(0,), keepdims=False))
    scaled = scaled / scale
    c, residuals, rank, s = np.linalg.lstsq(scaled, right, rcond)
    c = (c.T / scale).T
    if full:
        return c, residuals, rank, s, rcond
    if not cov:
        return c
    inner = np.linalg.inv(scaled.T @ scaled) / np.outer(scale, scale)
    if isinstance(cov, str) and cov == "unscaled":
        factor: Any = 1.0
    else:
        if x.shape[0] <= order:
            raise ValueError(
                "the number of data points must exceed order to scale the covariance "
                "matrix"
            )
        factor = np.sum(residuals) if len(y.shape) == 1 else residuals
        factor = factor / (x.shape[0] - order)
    if len(y.shape) == 1:
        return c, inner * factor
    return c, inner[:, :, None] * factor
