"""``numpy.linalg``: factorisations, solutions, inverses, norms.

Functions whose derivatives need a factorisation make it once, of ``stop_gradient(a)``,
and hand it on together with ``a``: :mod:`funcad.primitives.linalg` says how.
"""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np

from funcad.core.errors import ConcretizationError
from funcad.core.tracing import Array, Tracer, dtype_of, shape_of
from funcad.numpy.dispatch import as_operand, as_operands, implements, refuse
from funcad.numpy.products import check_inner, dot
from funcad.numpy.reductions import axes_of, vector_norm_2
from funcad.primitives import determinants as d
from funcad.primitives import factorization as f
from funcad.primitives import linalg as p
from funcad.primitives.contraction import adjoint
from funcad.primitives.elementwise import (
    absolute,
    isnan,
    multiply,
    power,
    real,
    select,
    sign,
    stop_gradient,
)
from funcad.primitives.indexing import take_along
from funcad.primitives.reduction import reduce_max, reduce_min
from funcad.primitives.shape import (
    broadcast_to,
    convert,
    move_axis,
    reduce_sum,
    reshape,
    split,
    transpose,
)
from funcad.primitives.sorting import argsort

# -------------------------------------------------------------------- what is accepted


def operand_of(name: str, a: Any, *others: Any) -> Array:
    """A matrix or stack of matrices whose dtype LAPACK knows; integers made float64."""
    a = as_operand(a, *others)
    dtype = dtype_of(a)
    if dtype.kind in "bui":
        return convert(a, dtype=np.dtype(np.float64))
    if dtype.char not in "fdFD":
        raise TypeError(f"array type {dtype.name} is unsupported in linalg ({name})")
    return a


def matrices(name: str, a: Any, *others: Any) -> Array:
    """The same, of two dimensions at least."""
    a = as_operand(a, *others)
    shape = shape_of(a)
    if len(shape) < 2:
        raise np.linalg.LinAlgError(
            f"{len(shape)}-dimensional array given to {name}. Array must be at least "
            "two-dimensional"
        )
    return operand_of(name, a)


def square(name: str, a: Any, *others: Any) -> Array:
    """The same, with as many rows as columns."""
    a = as_operand(a, *others)
    shape = shape_of(a)
    if len(shape) >= 2 and shape[-1] != shape[-2]:
        raise np.linalg.LinAlgError(
            f"Last 2 dimensions of the array given to {name} must be square, not "
            f"{shape}"
        )
    return matrices(name, a)


def _result(name: str, *parts: Array) -> Any:
    """NumPy's named tuple for the results of a function."""
    return _result_types()[name](*parts)


@functools.cache
def _result_types() -> dict[str, Any]:
    one = np.eye(1)
    functions = ("slogdet", "eigh", "eig", "svd", "qr")
    return {name: type(getattr(np.linalg, name)(one)) for name in functions}


# ------------------------------------------------------------------ systems, inverses


@implements(np.linalg.solve)
def solve(a: Array, b: Array) -> Array:
    a, b = as_operands(a, b)
    a, b = square("solve", a), operand_of("solve", b)
    rank = len(shape_of(b))
    if rank == 0:
        raise ValueError("solve: the right-hand side is a scalar; pass a vector")
    check_inner("solve", a.shape, b.shape, a.shape[-1], b.shape[max(-2, -rank)])
    if rank == 1:
        x = p.solve(a, p.column(b))
        return reshape(x, shape=x.shape[:-1])
    return p.solve(a, b)


@implements(np.linalg.inv)
def inv(a: Array) -> Array:
    return p.inv(square("inv", a))


@implements(np.linalg.tensorsolve)
def tensorsolve(a: Array, b: Array, axes: Any = None) -> Array:
    a, b = as_operands(a, b)
    rank = len(a.shape)
    if axes is not None:
        order = list(range(rank))
        for k in axes:
            order.remove(k)
            order.insert(rank, k)
        a = transpose(a, axes=tuple(order))
    shape = a.shape[-(rank - len(shape_of(b))) :]
    size = math.prod(shape)
    if math.prod(a.shape) != size**2:
        raise np.linalg.LinAlgError(
            f"tensorsolve: shapes {a.shape} and {shape_of(b)} do not fit: they must "
            "satisfy prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim])"
        )
    b = reshape(b, shape=(math.prod(shape_of(b)),))
    return reshape(solve(reshape(a, shape=(size, size)), b), shape=shape)


@implements(np.linalg.tensorinv)
def tensorinv(a: Array, ind: int = 2) -> Array:
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    shape = a.shape
    if not shape:
        raise TypeError("tensorinv: a number was given; pass an array of dimensions")
    columns = math.prod(shape[ind:])
    rows = math.prod(shape[:ind])
    out = inv(reshape(a, shape=(columns, rows) if rows == columns else (rows, columns)))
    return reshape(out, shape=shape[ind:] + shape[:ind])


@implements(np.linalg.pinv)
def pinv(
    a: Array,
    rcond: Any = None,
    hermitian: bool = False,
    *,
    rtol: Any = np._NoValue,  # type: ignore[attr-defined]
) -> Array:
    a = matrices("pinv", a, rcond)
    hermitian = hermitian and 0 not in a.shape[-2:]
    if hermitian:
        a = square("pinv", a)
    if rcond is None:
        rcond = 1e-15 if rtol is np._NoValue else rtol  # type: ignore[attr-defined]
    elif rtol is not np._NoValue:  # type: ignore[attr-defined]
        raise ValueError("`rtol` and `rcond` can't be both set.")
    if rcond is None:
        rcond = _precision(a)
    return _pinv(a, _singular_factors(a, hermitian), as_operand(rcond, a), hermitian)


def _precision(a: Array, dtype: Any = None) -> float:
    return max(a.shape[-2:]) * float(np.finfo(dtype or dtype_of(a)).eps)


def _singular_factors(a: Array, hermitian: bool = False) -> tuple[Array, ...]:
    a = stop_gradient(a)
    if hermitian:
        w, v = f.eigh(a, uplo="L")
        return v, w, adjoint(v)
    return f.svd(a, full_matrices=False)  # type: ignore[no-any-return]


def _pinv(a: Array, factors: Any, rcond: Any, hermitian: bool) -> Array:
    lead = a.shape[:-2]
    rank = len(shape_of(rcond))
    if rank > len(lead):  # one matrix, several tolerances
        lead = shape_of(rcond)
        a, *factors = [
            broadcast_to(x, shape=(*lead, *x.shape[x.ndim - core :]))
            for x, core in zip((a, *factors), (2, 2, 1, 2), strict=True)
        ]
    if rank:
        rcond = broadcast_to(stop_gradient(rcond), shape=lead)
    return p.pinv(a, *factors, rcond, hermitian=hermitian)


@implements(np.linalg.lstsq)
def lstsq(a: Array, b: Array, rcond: Any = None) -> tuple[Array, ...]:
    a, b = as_operands(a, b)
    vector = len(shape_of(b)) == 1
    if vector:
        b = p.column(b)
    for x in (a, b):
        if len(shape_of(x)) != 2:
            raise np.linalg.LinAlgError(
                f"{len(shape_of(x))}-dimensional array given to lstsq. Array must be "
                "two-dimensional"
            )
    m, n = a.shape
    if m != b.shape[0]:
        raise np.linalg.LinAlgError(
            f"lstsq: shapes {a.shape} and {b.shape} do not fit: Incompatible dimensions"
        )
    if rcond is None:
        rcond = max(n, m) * float(np.finfo(np.float64).eps)
    x, residuals, rank, s = least_squares(
        operand_of("lstsq", a), operand_of("lstsq", b), rcond
    )
    if vector:
        x = reshape(x, shape=(n,))
    return x, residuals, rank, s


def least_squares(a: Array, b: Array, rcond: float) -> tuple[Array, ...]:
    """Least-squares solutions of stacks of systems, as ``lstsq`` returns them."""
    dtype = np.result_type(dtype_of(a), dtype_of(b))
    a, b = (x if dtype_of(x) == dtype else convert(x, dtype=dtype) for x in (a, b))
    m, n = a.shape[-2:]
    factors = _singular_factors(a)
    s = f.singular_values(a, *factors)
    x = p.matmul(p.pinv(a, *factors, rcond, hermitian=False), b)
    held = factors[1]
    last = (len(held.shape) - 1,)
    rank = reduce_sum(
        held > rcond * p.largest(held) if held.shape[-1] else held > 0,
        axis=last,
        keepdims=False,
    )
    if m > n and _has_full_rank(rank, n):
        error = absolute(b - p.matmul(a, x))
        axis = (len(error.shape) - 2,)
        residuals = reduce_sum(error * error, axis=axis, keepdims=False)
    else:
        residuals = p.beside(s, np.zeros((*x.shape[:-2], 0), dtype_of(s)))
    return x, residuals, convert(rank, dtype=np.dtype(np.int32)), s


def _has_full_rank(rank: Array, n: int) -> bool:
    """NumPy leaves out the residuals of others; where nobody can know, they stay."""
    try:
        value = rank.concrete("the rank") if isinstance(rank, Tracer) else rank
    except ConcretizationError:
        return True
    return bool((value == n).all())


# -------------------------------------------------------------------------- products


@implements(np.linalg.matrix_power)
def matrix_power(a: Array, n: Any) -> Array:
    shape = shape_of(a)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        square("matrix_power", a)
    try:
        n = operator.index(n)
    except TypeError as error:
        raise TypeError("exponent must be an integer") from error
    if n == 0:
        return broadcast_to(p.eye_like(a), shape=shape)
    if n < 0:
        a, n = inv(a), -n
    power_of_two, out = a, None
    while True:
        n, odd = divmod(n, 2)
        if odd:
            out = power_of_two if out is None else p.matmul(out, power_of_two)
        if not n:
            return out
        power_of_two = p.matmul(power_of_two, power_of_two)


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: Any = None) -> Array:
    refuse("np.linalg.multi_dot", out=out)
    arrays = as_operands(*arrays)
    if len(arrays) < 2:
        raise ValueError("Expecting at least two arrays.")
    if len(arrays) == 2:
        return dot(*arrays)
    ranks = [len(shape_of(x)) for x in arrays]
    first, *middle, last = ranks
    if any(r != 2 for r in middle) or not {first, last} <= {1, 2}:
        raise np.linalg.LinAlgError(
            f"multi_dot takes matrices, but for a vector at either end, not arrays of "
            f"{ranks} dimensions"
        )
    if first == 1:
        arrays[0] = p.row(arrays[0])
    if last == 1:
        arrays[-1] = p.column(arrays[-1])
    sizes = [x.shape[0] for x in arrays] + [arrays[-1].shape[1]]
    for x, y in zip(arrays[:-1], arrays[1:], strict=True):
        check_inner("multi_dot", x.shape, y.shape, x.shape[1], y.shape[0])
    product = _multiplied(arrays, _chain_order(tuple(sizes)), 0, len(arrays) - 1)
    rows, columns = product.shape
    kept = ((rows,) if first == 2 else ()) + ((columns,) if last == 2 else ())
    return reshape(product, shape=kept)


@functools.lru_cache(maxsize=256)
def _chain_order(sizes: tuple[int, ...]) -> dict[tuple[int, int], int]:
    """Where to part each run of matrices so that there are fewest multiplications."""
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    cut = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            options = [
                (
                    cost[i, k]
                    + cost[k + 1, j]
                    + sizes[i] * sizes[k + 1] * sizes[j + 1],
                    k,
                )
                for k in range(i, j)
            ]
            cost[i, j], cut[i, j] = min(options)
    return cut


def _multiplied(arrays: Any, cut: Any, i: int, j: int) -> Array:
    if i == j:
        return arrays[i]
    k = cut[i, j]
    return p.matmul(_multiplied(arrays, cut, i, k), _multiplied(arrays, cut, k + 1, j))


@implements(np.linalg.outer)
def outer(x1: Array, x2: Array, /) -> Array:
    x1, x2 = as_operands(x1, x2)
    if len(shape_of(x1)) != 1 or len(shape_of(x2)) != 1:
        raise ValueError(
            "Input arrays must be one-dimensional, but they are "
            f"x1.ndim={len(shape_of(x1))} and x2.ndim={len(shape_of(x2))}."
        )
    return multiply(p.column(x1), x2)


@implements(np.cross)
def cross(
    a: Array,
    b: Array,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: int | None = None,
) -> Array:
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = as_operands(a, b)
    if not shape_of(a) or not shape_of(b):
        raise ValueError("At least one array has zero dimension")
    a, b = _last(a, axisa), _last(b, axisb)
    if a.shape[-1] not in (2, 3) or b.shape[-1] not in (2, 3):
        raise ValueError(
            "incompatible dimensions for cross product\n(dimension must be 2 or 3): "
            f"shapes {a.shape} and {b.shape}"
        )
    x, y = _entries(a), _entries(b)
    third = x[0] * y[1] - x[1] * y[0]
    if len(x) == len(y) == 2:
        return third
    zero = 0
    x2, y2 = x[2] if len(x) == 3 else zero, y[2] if len(y) == 3 else zero
    out = np.stack([x[1] * y2 - x2 * y[1], x2 * y[0] - x[0] * y2, third], axis=-1)
    rank = len(out.shape)
    return move_axis(out, rank - 1, axes_of(axisc, rank)[0])


def _last(x: Array, axis: int) -> Array:
    rank = len(x.shape)
    return move_axis(x, axes_of(axis, rank)[0], rank - 1)


def _entries(x: Array) -> list[Array]:
    n = x.shape[-1]
    parts = split(x, sizes=(1,) * n, axis=len(x.shape) - 1)
    return [reshape(part, shape=part.shape[:-1]) for part in parts]


@implements(np.linalg.cross)
def linalg_cross(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    x1, x2 = as_operands(x1, x2)
    if x1.shape[axis] != 3 or x2.shape[axis] != 3:
        raise ValueError(
            "Both input arrays must be (arrays of) 3-dimensional vectors, but they are "
            f"{x1.shape[axis]} and {x2.shape[axis]} dimensional instead."
        )
    return cross(x1, x2, axis=axis)


# ---------------------------------------------------------------------- determinants


@implements(np.linalg.det)
def det(a: Array) -> Array:
    return d.det(*p.with_factors(square("det", a)))


@implements(np.linalg.slogdet)
def slogdet(a: Array) -> Any:
    return _result("slogdet", *d.slogdet(*p.with_factors(square("slogdet", a))))


# -------------------------------------------------------------------- factorisations


@implements(np.linalg.cholesky)
def cholesky(a: Array, /, *, upper: bool = False) -> Array:
    a = square("cholesky", a)
    return adjoint(p.cholesky(adjoint(a))) if upper else p.cholesky(a)


@implements(np.linalg.qr)
def qr(a: Array, mode: str = "reduced") -> Any:
    if mode not in ("reduced", "complete", "r"):
        if mode in ("raw", "economic", "full", "f", "e"):
            refuse("np.linalg.qr", mode=mode)
        raise ValueError(f"Unrecognized mode '{mode}'")
    a = matrices("qr", a)
    m, n = a.shape[-2:]
    if m >= n:
        q, r = f.qr(a, complete=mode == "complete" and m > n)
    else:
        # the columns beyond the square part do not turn Q
        left, right = split(a, sizes=(m, n - m), axis=len(a.shape) - 1)
        q, r = f.qr(left, complete=False)
        rest = p.matmul(adjoint(q), right)
        r = np.concatenate([r, rest], axis=-1)
    return r if mode == "r" else _result("qr", q, r)


@implements(np.linalg.svd)
def svd(
    a: Array,
    full_matrices: bool = True,
    compute_uv: bool = True,
    hermitian: bool = False,
) -> Any:
    a = matrices("svd", a)
    if hermitian:
        return _hermitian_svd(square("svd", a), compute_uv)
    if not compute_uv:
        return svdvals(a)
    return _result("svd", *f.svd(a, full_matrices=bool(full_matrices)))


def _hermitian_svd(a: Array, compute_uv: bool) -> Any:
    """From eigenvalues, whose signs go with the right-hand vectors."""
    if not compute_uv:
        size = absolute(eigvalsh(a))
        return take_along(size, _descending(size), len(size.shape) - 1)
    w, v = f.eigh(a, uplo="L")
    size = absolute(w)
    order = _descending(size)
    columns = broadcast_to(p.row(order), shape=v.shape)
    s = take_along(size, order, len(size.shape) - 1)
    u = take_along(v, columns, len(v.shape) - 1)
    right = take_along(multiply(v, p.row(sign(w))), columns, len(v.shape) - 1)
    return _result("svd", u, s, adjoint(right))


def _descending(size: Array) -> Array:
    return argsort(-stop_gradient(size), axis=len(size.shape) - 1)


@implements(np.linalg.svdvals)
def svdvals(x: Array, /) -> Array:
    x = matrices("svdvals", x)
    return f.singular_values(x, *_singular_factors(x))


def _triangle(name: str, a: Array, uplo: Any) -> tuple[Array, str]:
    uplo = uplo.upper()
    if uplo not in ("L", "U"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    return square(name, a), uplo


@implements(np.linalg.eigh)
def eigh(a: Array, UPLO: str = "L") -> Any:
    a, uplo = _triangle("eigh", a, UPLO)
    return _result("eigh", *f.eigh(a, uplo=uplo))


@implements(np.linalg.eigvalsh)
def eigvalsh(a: Array, UPLO: str = "L") -> Array:
    a, uplo = _triangle("eigvalsh", a, UPLO)
    return f.eigenvalues(a, *f.eigh(stop_gradient(a), uplo=uplo))


@implements(np.linalg.eig)
def eig(a: Array) -> Any:
    a = square("eig", a)
    w, v = f.eig(a)
    if _are_real(a, w):
        w, v = real(w), real(v)
    return _result("eig", w, v)


@implements(np.linalg.eigvals)
def eigvals(a: Array) -> Array:
    a = square("eigvals", a)
    w = f.general_eigenvalues(a, *f.eig(stop_gradient(a)))
    return real(w) if _are_real(a, w) else w


def _are_real(a: Array, w: Array) -> bool:
    """Whether NumPy would return real numbers; complex ones if nobody can know."""
    if dtype_of(a).kind == "c":
        return False
    try:
        value = w.concrete("the eigenvalues") if isinstance(w, Tracer) else w
    except ConcretizationError:
        return False
    return bool((value.imag == 0).all())


# ----------------------------------------------------------------------------- norms


@implements(np.linalg.norm)
def norm(x: Array, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Array:
    x = as_operand(x)
    if dtype_of(x).kind in "bui":
        x = convert(x, dtype=np.dtype(np.float64))
    rank = len(shape_of(x))
    if axis is None and ord is None:
        return vector_norm_2(x, tuple(range(rank)), keepdims)
    if axis is None:
        axis = tuple(range(rank))
    elif not isinstance(axis, tuple):
        try:
            axis = (operator.index(axis),)
        except TypeError as error:
            raise TypeError(
                "'axis' must be None, an integer or a tuple of integers"
            ) from error
    axes = axes_of(axis, rank)
    if len(axes) == 1:
        return _vector_norm(x, axes, keepdims, 2 if ord is None else ord)
    if len(axes) == 2:
        return _matrix_norm(x, axes, keepdims, "fro" if ord is None else ord)
    raise ValueError("Improper number of dimensions to norm.")


@implements(np.linalg.vector_norm)
def vector_norm(
    x: Array,
    /,
    *,
    axis: Any = None,
    keepdims: bool = False,
    ord: Any = 2,
) -> Array:
    if dtype_of(x).kind in "bui":
        x = convert(x, dtype=np.dtype(np.float64))
    return _vector_norm(x, axes_of(axis, len(x.shape)), keepdims, ord)


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Array, /, *, keepdims: bool = False, ord: Any = "fro") -> Array:
    return norm(x, ord=ord, axis=(-2, -1), keepdims=keepdims)


def _vector_norm(x: Array, axes: Any, keepdims: bool, ord: Any) -> Array:
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order '{ord}' for vectors")
    if ord is None or ord == 2:
        return vector_norm_2(x, axes, keepdims)
    size = absolute(x)
    if ord == np.inf:
        return _largest(size, axes, keepdims)
    if ord == -np.inf:
        return reduce_min(size, axis=axes, keepdims=keepdims)
    if ord == 0:
        counted = convert(x != 0, dtype=dtype_of(size))
        return reduce_sum(counted, axis=axes, keepdims=keepdims)
    if ord == 1:
        return reduce_sum(size, axis=axes, keepdims=keepdims)
    if ord < 0:
        total = reduce_sum(power(size, ord), axis=axes, keepdims=keepdims)
        return power(total, 1 / ord)
    # zero, at entries that are zero and for vectors that are, is the derivative too
    zero = size == 0
    powers = select(zero, 0.0, power(select(zero, 1.0, size), ord))
    total = reduce_sum(powers, axis=axes, keepdims=keepdims)
    zero = total == 0
    return select(zero, 0.0, power(select(zero, 1.0, total), 1 / ord))


def _largest(size: Array, axes: Any, keepdims: bool) -> Array:
    """The maximum of numbers that are not negative, of none of them zero."""
    if any(size.shape[a] == 0 for a in axes):
        return reduce_sum(size, axis=axes, keepdims=keepdims)
    return reduce_max(size, axis=axes, keepdims=keepdims)


def _matrix_norm(x: Array, axes: Any, keepdims: bool, ord: Any) -> Array:
    if ord in ("fro", "f"):
        return vector_norm_2(x, axes, keepdims)
    rows, columns = axes
    if ord in (1, -1, np.inf, -np.inf):
        summed, other = (rows, columns) if ord in (1, -1) else (columns, rows)
        sums = reduce_sum(absolute(x), axis=(summed,), keepdims=True)
        extreme = _largest if ord > 0 else _least
        out = extreme(sums, (other,), True)
    elif ord in (2, -2, "nuc"):
        last = [i for i in range(len(x.shape)) if i not in axes]
        s = svdvals(transpose(x, axes=(*last, rows, columns)))
        reduced = {2: _largest, -2: _least, "nuc": _total}[ord]
        out = reduced(s, (len(s.shape) - 1,), False)
    else:
        raise ValueError("Invalid norm order for matrices.")
    kept = [1 if i in axes else n for i, n in enumerate(x.shape)]
    shape = tuple(
        kept if keepdims else [n for i, n in enumerate(x.shape) if i not in axes]
    )
    return reshape(out, shape=shape)


def _least(size: Array, axes: Any, keepdims: bool) -> Array:
    return reduce_min(size, axis=axes, keepdims=keepdims)


def _total(size: Array, axes: Any, keepdims: bool) -> Array:
    return reduce_sum(size, axis=axes, keepdims=keepdims)


_ILL_CONDITIONED = (
    "the derivative of the condition number is not finite where a singular value is "
    "zero (to working precision)."
)


@implements(np.linalg.cond)
def cond(x: Array, p: Any = None) -> Array:
    x = as_operand(x)
    shape = shape_of(x)
    if len(shape) >= 2 and 0 in shape[-2:]:
        raise np.linalg.LinAlgError("cond is not defined on empty arrays")
    if p is None or p in (2, -2):
        s = svdvals(x)
        n = s.shape[-1]
        parts = (
            split(s, sizes=(1, n - 2, 1), axis=len(s.shape) - 1) if n > 1 else (s, s)
        )
        greatest, least = (
            reshape(v, shape=s.shape[:-1]) for v in (parts[0], parts[-1])
        )
        out = _ratio(least, greatest, max(shape[-2:]), p == -2)
    else:
        x = square("cond", x)
        # in double precision, as NumPy does for single too
        wide = convert(x, dtype=np.result_type(dtype_of(x), np.float64))
        inverse, singular = _inverse_if_any(wide)
        out = norm(wide, p, axis=(-2, -1)) * norm(inverse, p, axis=(-2, -1))
        out = convert(out, dtype=np.finfo(dtype_of(x)).dtype)
        out = _undefined_where(singular, out)
    return _infinite_where_undefined(out, x)


def _ratio(least: Array, greatest: Array, n: int, inverted: bool) -> Array:
    held = stop_gradient(least), stop_gradient(greatest)
    why, tolerance = _ILL_CONDITIONED, p.rounding(least, n) / 10
    least = p.fence(least, *held, tolerance=tolerance, why=why)
    with np.errstate(all="ignore"):
        return least / greatest if inverted else greatest / least


def _inverse_if_any(a: Array) -> tuple[Array, Array]:
    """Inverses, the identity instead of those that do not exist, and which do not."""
    a, lu, pivots = p.with_factors(a)
    zero = p.diagonal_of(lu) == 0
    singular = reduce_max(zero, axis=(len(zero.shape) - 1,), keepdims=False)
    eye = p.beside(a, np.eye(a.shape[-1], dtype=dtype_of(a)))
    a, lu = (select(p.column(p.column(singular)), eye, x) for x in (a, lu))
    return p.factored_solve(a, lu, pivots, eye, transposed=False), singular


def _undefined_where(singular: Array, out: Array) -> Array:
    regular = convert(~singular, dtype=dtype_of(out))
    one = p.beside(out, np.ones((), dtype_of(out)))
    out = p.fence(out, regular, one, tolerance=0.5, why=_ILL_CONDITIONED)
    return select(singular, np.nan, out)


def _infinite_where_undefined(out: Array, x: Array) -> Array:
    axes = (len(x.shape) - 2, len(x.shape) - 1)
    missing = reduce_max(isnan(stop_gradient(x)), axis=axes, keepdims=False)
    undefined = isnan(stop_gradient(out)) & ~missing
    return select(undefined, np.inf, out)


@implements(np.linalg.matrix_rank)
def matrix_rank(
    A: Array, tol: Any = None, hermitian: bool = False, *, rtol: Any = None
) -> Array:
    if rtol is not None and tol is not None:
        raise ValueError("`tol` and `rtol` can't be both set.")
    A = stop_gradient(as_operand(A, tol, rtol))
    rank = len(shape_of(A))
    if rank < 2:
        count = reduce_sum(A != 0, axis=tuple(range(rank)), keepdims=False)
        return convert(count > 0, dtype=np.dtype(np.intp))
    s = svd(A, compute_uv=False, hermitian=hermitian)
    if tol is None:
        relative = _precision(A, dtype_of(s)) if rtol is None else _spread(rtol, A)
        tol = p.largest(s) * relative if s.shape[-1] else 0.0
    else:
        tol = _spread(tol, A)
    return reduce_sum(s > tol, axis=(len(s.shape) - 1,), keepdims=False)


def _spread(tolerance: Any, like: Array) -> Array:
    tolerance = as_operand(tolerance, like)
    return p.column(tolerance) if shape_of(tolerance) else tolerance
