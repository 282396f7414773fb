"""Arrays made from shapes, ranges and other arrays; ``asarray`` and ``full``."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from funcad.backends import backend_of, namespace
from funcad.core.errors import ConcretizationError
from funcad.core.tracing import PYTHON_SCALARS, Array, Tracer, dtype_of, shape_of
from funcad.numpy.dispatch import as_operand, as_operands, implements
from funcad.numpy.indexing import within
from funcad.numpy.reductions import axis_of
from funcad.numpy.shaping import int_shape
from funcad.primitives.elementwise import (
    absolute,
    divide,
    exp,
    floor,
    floor_divide,
    log,
    power,
    remainder,
)
from funcad.primitives.shape import convert, move_axis

_PLAIN = (np.ndarray, np.generic, *PYTHON_SCALARS)

# ------------------------------------------------------------------ funcad's own names


def asarray(
    a: Any,
    dtype: Any = None,
    order: Any = None,
    *,
    device: Any = None,
    copy: bool | None = None,
) -> Any:
    """An array or tracer of what is given; lists may hold tracers.

    Parameters
    ----------
    a : array, tracer, number or nested list of these
        What to convert.
    dtype : dtype, optional
        Dtype of the result.
    order : {"K", "A", "C", "F"}, optional
        How a plain array is to lie in memory.
    device : optional
        Where the array is to be; nothing moves, so that it is where ``a`` is already.
    copy : bool, optional
        Whether a plain array is copied: always, never (``ValueError`` where that is
        impossible), or only if it must be, which is what ``None`` means.

    Returns
    -------
    array
        Unchanged if it is an array of that dtype already.

    Examples
    --------
    >>> import funcad
    >>> import funcad.numpy as fnp
    >>> funcad.grad(lambda x: fnp.sum(fnp.asarray([x, x**2])))(3.0).item()
    7.0
    """
    if not isinstance(a, _PLAIN):
        if isinstance(a, (list, tuple)) and _holds_arrays(a):
            a = as_operand(a)
        if isinstance(a, Tracer):
            check_device(device)
            return a if dtype is None else convert(a, dtype=np.dtype(dtype))
        if backend_of(a) is not backend_of():
            kept = a if dtype is None else a.astype(dtype, copy=False)
            if copy is False and kept is not a:
                raise ValueError(
                    f"an array of {a.dtype} cannot become one of {kept.dtype} without "
                    "a copy, which copy=False forbids"
                )
            return kept.copy() if copy and kept is a else kept
    return np.asarray(a, dtype, order, device=device, copy=copy)


def array(
    object: Any,
    dtype: Any = None,
    *,
    copy: bool | None = True,
    order: Any = "K",
    ndmin: int = 0,
) -> Any:
    """Like :func:`asarray`; a plain array is copied.

    Parameters
    ----------
    object : array, tracer, number or nested list of these
        What to convert.
    dtype : dtype, optional
        Dtype of the result.
    copy : bool, optional
        As for :func:`asarray`.
    order : {"K", "A", "C", "F"}, optional
        How a plain array is to lie in memory.
    ndmin : int, optional
        Number of axes that the result has at least; new ones come first.

    Returns
    -------
    array
        A new array, or a tracer.
    """
    a = asarray(object, dtype, order, copy=copy)
    missing = ndmin - len(a.shape)
    return np.reshape(a, (1,) * missing + a.shape) if missing > 0 else a


def full(
    shape: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "C",
    *,
    device: Any = None,
) -> Any:
    """An array of one value, which may be traced.

    Parameters
    ----------
    shape : int or tuple of int
        Shape of the result.
    fill_value : number, array or tracer
        The value, or an array that broadcasts to ``shape``.
    dtype : dtype, optional
        Dtype of the result; that of ``fill_value`` without it.
    order : {"C", "F"}, optional
        How a plain array is to lie in memory.
    device : optional
        Where the array is to be; where ``fill_value`` is.

    Returns
    -------
    array
        Of that shape.

    Examples
    --------
    >>> import funcad
    >>> import funcad.numpy as fnp
    >>> funcad.grad(lambda x: fnp.sum(fnp.full((2, 3), x)))(1.5).item()
    6.0
    """
    if isinstance(fill_value, _PLAIN):
        return np.full(shape, fill_value, dtype, order, device=device)  # type: ignore[call-overload]
    fill_value = as_operand(fill_value)
    if not isinstance(fill_value, Tracer):
        xp = namespace(fill_value)
        where = {"order": order, "device": device} if xp is np else {}
        return xp.full(shape, fill_value, dtype, **where)
    check_device(device)
    return np.broadcast_to(asarray(fill_value, dtype), int_shape(shape))


def _holds_arrays(values: Any) -> bool:
    """Whether a nested list holds tracers or arrays of another library than NumPy."""
    return any(
        _holds_arrays(v)
        if isinstance(v, (list, tuple))
        else not isinstance(v, _PLAIN) and hasattr(v, "__array_function__")
        for v in values
    )


def check_device(device: Any) -> None:
    """Raise NumPy's own error for a device that it does not know."""
    if device is not None:
        np.empty(0, device=device)


# -------------------------------------------------------------------- like other arrays


def _filled(value: Any) -> Any:
    def like(
        a: Array,
        dtype: Any = None,
        order: Any = "K",
        subok: bool = True,
        shape: Any = None,
        *,
        device: Any = None,
    ) -> Array:
        check_device(device)
        new = a.shape if shape is None else int_shape(shape)
        return namespace(a).full(new, value, dtype or a.dtype)

    return like


zeros_like = implements(np.zeros_like, np.empty_like)(_filled(0))
ones_like = implements(np.ones_like)(_filled(1))


@implements(np.full_like)
def full_like(
    a: Array,
    fill_value: Any,
    dtype: Any = None,
    order: Any = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Array:
    check_device(device)
    a = as_operand(a, fill_value)
    new = shape_of(a) if shape is None else int_shape(shape)
    value = convert(as_operand(fill_value, a), dtype=np.dtype(dtype or dtype_of(a)))
    if isinstance(value, np.generic):
        return namespace(a).full(new, value, value.dtype)
    return np.broadcast_to(value, new)


# ------------------------------------------------------------------------------- ranges


@implements(np.linspace)
def linspace(
    start: Array,
    stop: Array,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    check_device(device)
    num = _count(num)
    start, stop = as_operands(start, stop)
    inexact = _inexact(start, stop)
    kept = inexact if dtype is None else np.dtype(dtype)
    start, stop = convert(start, dtype=inexact), convert(stop, dtype=inexact)
    parts = num - 1 if endpoint else num
    delta = stop - start
    shape = shape_of(delta)
    steps = namespace(start, stop).arange(num).astype(_real(inexact))
    steps = steps.reshape((num, *(1,) * len(shape)))
    step = divide(delta, parts) if parts > 0 else np.asarray(np.nan, inexact)[()]
    points = start + steps * (step if parts > 0 else delta)
    if endpoint and num > 1:
        last = np.reshape(np.broadcast_to(stop, shape), (1, *shape))
        points = np.concatenate([points[:-1], last])
    if kept.kind in "iu":
        points = floor(points)
    points = convert(points, dtype=kept)
    points = move_axis(points, 0, axis_of(axis, len(shape) + 1))
    return (points, step) if retstep else points


def _count(num: Any) -> int:
    num = operator.index(num)
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    return num


def _inexact(*operands: Array) -> np.dtype[Any]:
    """The dtype in which a range is computed."""
    numbers = [
        type(x) if type(x) in PYTHON_SCALARS else getattr(x, "weak", None)
        for x in operands
    ]
    kinds = [n(0) if n else dtype_of(x) for n, x in zip(numbers, operands)]
    return np.result_type(*kinds, 0.0)


def _real(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.empty(0, dtype).real.dtype


@implements(np.logspace)
def logspace(
    start: Array,
    stop: Array,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: int = 0,
) -> Array:
    start, stop, base = as_operands(start, stop, base)
    rank = max(len(shape_of(x)) for x in (start, stop, base))
    if shape_of(base):
        # the exponents get an axis, at that place among those of the base, too
        start, stop, base = (_of_rank(x, rank) for x in (start, stop, base))
        base = np.expand_dims(base, axis)
    points = power(base, linspace(start, stop, num, endpoint, axis=axis))
    return points if dtype is None else convert(points, dtype=np.dtype(dtype))


def _of_rank(x: Array, rank: int) -> Array:
    shape = shape_of(x)
    return np.reshape(x, (1,) * (rank - len(shape)) + shape)


@implements(np.geomspace)
def geomspace(
    start: Array,
    stop: Array,
    num: int = 50,
    endpoint: bool = True,
    dtype: Any = None,
    axis: int = 0,
) -> Array:
    num = _count(num)
    start, stop = as_operands(start, stop)
    for x in (start, stop):
        if _is_zero_somewhere(x):
            raise ValueError("Geometric sequence cannot include zero")
    # NumPy computes in double precision unless a dtype is asked for
    inexact = _inexact(start, stop, np.zeros((), dtype))
    start, stop = convert(start, dtype=inexact), convert(stop, dtype=inexact)
    # turned so that the start is a positive number, as is the stop but for spirals
    size = absolute(start)
    sign = start / size
    exponents = linspace(
        convert(log(size), dtype=inexact), log(stop / sign), num, endpoint
    )
    points = sign * exp(exponents)
    shape = shape_of(points)[1:]
    ends = [np.broadcast_to(x, shape)[None] for x in (start, stop)]
    if num > 0:
        points = np.concatenate([ends[0], points[1:]])
    if num > 1 and endpoint:
        points = np.concatenate([points[:-1], ends[1]])
    points = move_axis(points, 0, axis_of(axis, len(shape) + 1))
    return points if dtype is None else convert(points, dtype=np.dtype(dtype))


def _is_zero_somewhere(x: Array) -> bool:
    try:
        return bool(np.any(x == 0))
    except ConcretizationError:
        return False


# ----------------------------------------------------------------------- grids, indices


@implements(np.meshgrid)
def meshgrid(
    *xi: Array, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> tuple[Array, ...]:
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    xs = as_operands(*xi)
    rank = len(xs)
    order = list(range(rank))
    if indexing == "xy" and rank > 1:
        order[:2] = 1, 0
    sizes = [math.prod(shape_of(x)) for x in xs]
    grids = [
        np.reshape(x, (1,) * place + (-1,) + (1,) * (rank - place - 1))
        if sizes[i]
        else np.reshape(x, (1,) * place + (0,) + (1,) * (rank - place - 1))
        for i, (x, place) in enumerate(zip(xs, order, strict=True))
    ]
    if sparse:
        return tuple(grids)
    full_shape = np.broadcast_shapes(*[g.shape for g in grids])
    return tuple([np.broadcast_to(g, full_shape) for g in grids])


@implements(np.ix_)
def ix_(*args: Any) -> tuple[Array, ...]:
    out = []
    for place, x in enumerate(as_operands(*args)):
        if len(shape_of(x)) != 1:
            raise ValueError("Cross index must be 1 dimensional")
        if dtype_of(x).kind == "b":
            (x,) = np.nonzero(x)
        (n,) = shape_of(x)
        shape = (1,) * place + (n,) + (1,) * (len(args) - place - 1)
        out.append(np.reshape(x, shape))
    return tuple(out)


def _two_axes(arr: Array) -> tuple[int, int]:
    if len(arr.shape) != 2:
        raise ValueError("input array must be 2-d")
    return arr.shape  # type: ignore[no-any-return]


def _placed(arr: Array, positions: Any) -> tuple[Array, ...]:
    from_host = backend_of(arr).from_host
    return tuple([from_host(i) for i in positions])


@implements(np.triu_indices_from)
def triu_indices_from(arr: Array, k: int = 0) -> tuple[Array, ...]:
    rows, columns = _two_axes(arr)
    return _placed(arr, np.triu_indices(rows, k, columns))


@implements(np.tril_indices_from)
def tril_indices_from(arr: Array, k: int = 0) -> tuple[Array, ...]:
    rows, columns = _two_axes(arr)
    return _placed(arr, np.tril_indices(rows, k, columns))


@implements(np.diag_indices_from)
def diag_indices_from(arr: Array) -> tuple[Array, ...]:
    shape = arr.shape
    if len(shape) < 2:
        raise ValueError("input array must be at least 2-d")
    if len(set(shape)) > 1:
        raise ValueError("All dimensions of input must be of equal length")
    return _placed(arr, np.diag_indices(shape[0], len(shape)))


@implements(np.unravel_index)
def unravel_index(indices: Any, shape: Any, order: str = "C") -> tuple[Array, ...]:
    _check_order(order)
    sizes = int_shape(shape)
    indices = _integers(as_operand(indices), "indices")
    out = []
    for n in reversed(sizes) if order == "C" else sizes:
        out.append(remainder(indices, n))
        indices = floor_divide(indices, n)
    return tuple(out[::-1] if order == "C" else out)


@implements(np.ravel_multi_index)
def ravel_multi_index(
    multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C"
) -> Array:
    _check_order(order)
    sizes = int_shape(dims)
    indices = as_operands(*multi_index)
    if len(indices) != len(sizes):
        raise ValueError(
            f"parameter multi_index must be a sequence of length {len(sizes)}"
        )
    indices = [_integers(x, "multi_index") for x in indices]
    modes = [mode] * len(sizes) if isinstance(mode, str) else list(mode)
    total: Any = 0
    triples = list(zip(indices, sizes, modes, strict=True))
    for i, n, how in triples if order == "C" else reversed(triples):
        total = total * n + within(i, n, how)
    return convert(total, dtype=np.dtype(np.intp))


def _check_order(order: str) -> None:
    if order not in ("C", "F"):
        raise ValueError(f"only 'C' or 'F' order is permitted, not {order!r}")


def _integers(x: Array, what: str) -> Array:
    if dtype_of(x).kind not in "iu":
        raise TypeError(f"only int indices permitted: {what} is of {dtype_of(x)}")
    return convert(x, dtype=np.dtype(np.intp))


@implements(np.can_cast)
def can_cast(from_: Any, to: Any, casting: str = "safe") -> bool:
    return np.can_cast(dtype_of(from_), to, casting)  # type: ignore[arg-type]
