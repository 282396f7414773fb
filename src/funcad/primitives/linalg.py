"""Linear systems and inverses of stacks of matrices.

One factorisation serves an operation and all of its derivatives, of whatever order: the
caller factorises ``stop_gradient(a)`` once, and primitives such as
:func:`factored_solve` compute with the factors, while ``a`` itself is an operand only
for the sake of its tangent.  Right-hand sides are matrices.

Derivatives follow M. Giles, "An extended collection of matrix derivative results for
forward and reverse mode automatic differentiation" (2008), I. Murray, "Differentiation
of the Cholesky decomposition" (2016), and G. Golub and V. Pereyra, "The differentiation
of pseudo-inverses and nonlinear least squares problems whose variables separate"
(1973).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from funcad.backends import backend_of, namespace
from funcad.core.counting import each_matrix, entries, nothing, untouched
from funcad.core.errors import DegenerateError
from funcad.core.tracing import Array, Params, Primitive, dtype_of, shape_of
from funcad.primitives.contraction import adjoint, matmul, swap_last
from funcad.primitives.elementwise import (
    absolute,
    broadcast_shapes,
    multiply,
    select,
    stop_gradient,
)
from funcad.primitives.families import Rule, linear, one_at_a_time, sum_of_jvps
from funcad.primitives.reduction import reduce_max
from funcad.primitives.shape import (
    Shape,
    batch_first,
    batches_to_front,
    broadcast_to,
    convert,
    pad,
    reduce_sum,
    reshape,
    split,
    sum_to,
)

# ------------------------------------------------------------- helpers of many rules


def batch_stacks(primitive: Primitive, *cores: int) -> Rule:
    """Batch axes in front are further leading axes, which every function here takes.

    ``cores`` are the ranks of the operands without leading axes, 2 if not given.
    """

    def batch(values: Any, axes: Any, **params: Any) -> Any:
        ranks = [
            len(shape_of(v)) - (a is not None)
            for v, a in zip(values, axes, strict=True)
        ]
        own = cores or (2,) * len(ranks)
        lead = max(r - core for r, core in zip(ranks, own, strict=True))
        values = [
            v if a is None else batches_to_front([v], [a], lead + core)[0][0]
            for v, a, core in zip(values, axes, own, strict=True)
        ]
        out = primitive(*values, **params)
        return out, [0] * len(out) if primitive.multiple else 0

    return batch


def _inexact(*operands: Any) -> np.dtype[Any]:
    """``numpy.linalg`` takes integers for numbers of double precision."""
    dtypes = [x.dtype for x in operands]
    return np.result_type(*[d if d.kind in "fc" else np.float64 for d in dtypes])


def _common(a: Array, b: Array) -> tuple[Array, Array]:
    """Operands of one dtype and one stack, which is what every library can take."""
    dtype = _inexact(a, b)
    lead = broadcast_shapes([a.shape[:-2], b.shape[:-2]])
    xp = namespace(a, b)
    return tuple(  # type: ignore[return-value]
        xp.broadcast_to(x.astype(dtype, copy=False), (*lead, *x.shape[-2:]))
        for x in (a, b)
    )


def beside(x: Array, constant: Any) -> Array:
    """A constant in the memory where ``x`` lives."""
    return backend_of(x).from_host(constant)


def eye_like(a: Array, dtype: Any = None) -> Array:
    """The unit matrix as wide as ``a``, where ``a`` lives."""
    return beside(a, np.eye(a.shape[-1], dtype=dtype or a.dtype))


def hermitian_part(t: Array) -> Array:
    """The symmetric or Hermitian part of each matrix."""
    return 0.5 * (t + adjoint(t))


def diagonal_of(a: Array) -> Array:
    """The diagonal of each square matrix; of more entries, none is looked at."""
    on = beside(a, np.eye(a.shape[-1], dtype=bool))
    return reduce_sum(select(on, a, 0.0), axis=(len(a.shape) - 1,), keepdims=False)


def trace_of(a: Array) -> Array:
    """The trace of each square matrix."""
    return reduce_sum(diagonal_of(a), axis=(len(a.shape) - 2,), keepdims=False)


def column(v: Array) -> Array:
    """A stack of vectors as matrices of one column."""
    return reshape(v, shape=(*v.shape, 1))


def row(v: Array) -> Array:
    """A stack of vectors as matrices of one row."""
    return reshape(v, shape=(*v.shape[:-1], 1, v.shape[-1]))


def triangle_of(t: Array, lower: bool, offset: int = 0) -> Array:
    """Entries of one triangle; diagonals up to ``offset`` away from the main one."""
    rows, columns = t.shape[-2:]
    keep = np.tri(rows, columns, offset if lower else offset - 1) == lower
    return select(beside(t, keep), t, 0.0)


# ---------------------------------------------------------- divisions that may fail


def _guard(t: Array, d: Array, scale: Array, tolerance: float, why: str) -> Array:
    if bool((abs(d) <= tolerance * scale).any()):
        raise DegenerateError(why)
    return t


def _guard_batch(values: Any, axes: Any, tolerance: float, why: str) -> Any:
    (t, d, scale), (axis, *rest) = values, axes
    rank = max(
        len(shape_of(v)) - (a is not None)
        for v, a in zip((d, scale), rest, strict=True)
    )
    (d, scale), size = batches_to_front((d, scale), rest, rank)
    if axis is None:
        t, axis = broadcast_to(t, shape=(size, *t.shape)), 0
    return guard(batch_first(t, axis), d, scale, tolerance=tolerance, why=why), 0


# A tangent or cotangent passes unchanged where no |d| is within tolerance * scale, and
# raises the error that ``why`` explains elsewhere: what is about to be divided by d has
# no derivative then.  It is linear, so that a derivative that nobody asks for is never
# computed and raises nothing.
guard = linear(
    "guard",
    _guard,
    lambda t, d, scale, tolerance, why: (t.shape, t.dtype),
    transpose=lambda ct, t, d, scale, tolerance, why: guard(
        ct, d, scale, tolerance=tolerance, why=why
    ),
    batch=_guard_batch,
    traffic=untouched,
)
guard.definition = """
def guard(t, d, scale, tolerance, why):
    if (abs(d) <= tolerance * scale).any():
        raise ValueError(why)
    return t
"""


def _fence_jvp(t: Array, ans: Array, x: Array, *rest: Array, **params: Any) -> Array:
    return guard(t, *rest, **params)


# A value that may be used anywhere, but differentiated only where guard lets it.
fence = Primitive(
    "fence",
    lambda x, d, scale, tolerance, why: x,
    lambda x, d, scale, tolerance, why: (x.shape, x.dtype),
    jvp=sum_of_jvps(_fence_jvp, None, None),
    family="linalg",
)
fence.definition = """
def fence(x, d, scale, tolerance, why):
    return x
"""


def _fence_batch(values: Any, axes: Any, **params: Any) -> Any:
    size = next(v.shape[a] for v, a in zip(values, axes, strict=True) if a is not None)
    values = [
        broadcast_to(v, shape=(size, *shape_of(v))) if a is None else batch_first(v, a)
        for v, a in zip(values, axes, strict=True)
    ]
    rank = max(len(v.shape) for v in values[1:])
    d, scale = batches_to_front(values[1:], (0, 0), rank - 1)[0]
    return fence(values[0], d, scale, **params), 0


fence.batch = _fence_batch
fence.flops, fence.traffic = nothing, untouched


def rounding(x: Any, n: int) -> float:
    """A relative difference that ``n`` roundings in the precision of ``x`` can make."""
    return 10 * max(n, 1) * float(np.finfo(dtype_of(x)).eps)


def half_of_the_digits(x: Array) -> float:
    """Half of the digits: where the square of a condition number eats up them all."""
    return 10 * float(np.finfo(dtype_of(x)).eps) ** 0.5


def largest(v: Array) -> Array:
    """The largest modulus in each vector of a stack, kept as an axis; no derivative."""
    v = stop_gradient(v)
    if v.shape[-1] == 0:
        return absolute(v)
    return reduce_max(absolute(v), axis=(len(v.shape) - 1,), keepdims=True)


# -------------------------------------------------- triangular factors with pivoting


def _lu_factor(a: Array) -> tuple[Array, Array]:
    a = a.astype(_inexact(a), copy=False)
    return backend_of(a).lu_factor(a)


def _lu_abstract(a: Any) -> list[tuple[Shape, Any]]:
    pivots = (*a.shape[:-2], min(a.shape[-2:]))
    return [(a.shape, _inexact(a)), (pivots, np.dtype(np.int32))]


def _lu_jvp(ans: Any, primals: Any, tangents: Any, params: Params) -> Any:
    """With P A = L U and C = L^-1 P dA U^-1:  dL = L low(C),  dU = upp(C) U.

    ``low`` is the part below the diagonal and ``upp`` the rest; the rows of a tall L
    and the columns of a wide U that stand outside the square part follow from
    P dA = dL U + L dU.
    """
    (lu, pivots), (t,) = ans, tangents
    rows, columns = lu.shape[-2:]
    k = min(rows, columns)
    permuted = matmul(permutation_matrix(pivots, rows, t), t)
    lower, upper = unpack_lu(lu)
    head = take_block(lu, k, k)
    if rows >= columns:
        right = swap_last(
            triangular_solve(swap_last(upper), swap_last(permuted), lower=True)
        )
        c = unit_lower_solve(head, take_block(right, k, k))
        d_upper = matmul(triangle_of(c, lower=False), upper)
        d_lower = right - matmul(lower, triangle_of(c, lower=False))
    else:
        left = unit_lower_solve(head, permuted)
        square = take_block(upper, k, k)
        c = swap_last(
            triangular_solve(
                swap_last(square), swap_last(take_block(left, k, k)), lower=True
            )
        )
        d_lower = matmul(lower, triangle_of(c, lower=True, offset=-1))
        d_upper = left - matmul(triangle_of(c, lower=True, offset=-1), upper)
    below = triangle_of(_grown(d_lower, rows, columns), lower=True, offset=-1)
    return below + triangle_of(_grown(d_upper, rows, columns), lower=False), None


def take_block(x: Array, rows: int, columns: int) -> Array:
    """The first rows and columns of each matrix."""
    for axis, n in ((-2, rows), (-1, columns)):
        if x.shape[axis] != n:
            sizes = (n, x.shape[axis] - n)
            x = split(x, sizes=sizes, axis=len(x.shape) + axis)[0]
    return x


def _grown(x: Array, rows: int, columns: int) -> Array:
    """Each matrix with rows and columns of zeros added behind."""
    more = ((0, rows - x.shape[-2]), (0, columns - x.shape[-1]))
    if more == ((0, 0), (0, 0)):
        return x
    return pad(x, widths=((0, 0),) * (len(x.shape) - 2) + more)


def unpack_lu(lu: Array) -> tuple[Array, Array]:
    """Both triangular factors from the one matrix that holds them."""
    rows, columns = lu.shape[-2:]
    k = min(rows, columns)
    lower = triangle_of(take_block(lu, rows, k), lower=True, offset=-1)
    ones = beside(lu, np.eye(rows, k, dtype=dtype_of(lu)))
    return lower + ones, triangle_of(take_block(lu, k, columns), lower=False)


def unit_lower_solve(lu: Array, b: Array) -> Array:
    """Solve with the lower triangle of ``lu``, on whose diagonal there are ones."""
    return triangular_solve(unpack_lu(lu)[0], b, lower=True)


lu_factor = Primitive(
    "lu_factor",
    _lu_factor,
    _lu_abstract,
    jvp=_lu_jvp,
    multiple=True,
    family="linalg",
)
lu_factor.definition = """
def lu_factor(a):
    dtype = a.dtype if a.dtype.kind in "fc" else np.float64
    *lead, rows, columns = a.shape
    lu = np.array(a, dtype).reshape(int(np.prod(lead)), rows, columns)
    pivots = np.empty((len(lu), min(rows, columns)), np.int32)
    each = np.arange(len(lu))
    for i in range(pivots.shape[1]):
        column = lu[:, i:, i]
        pivots[:, i] = other = i + (abs(column.real) + abs(column.imag)).argmax(1)
        lu[each, other], lu[:, i] = lu[:, i].copy(), lu[each, other]
        pivot = lu[:, i, i, None]
        lu[:, i + 1 :, i] /= np.where(pivot == 0, 1, pivot)
        lu[:, i + 1 :, i + 1 :] -= lu[:, i + 1 :, i, None] * lu[:, i, None, i + 1 :]
    return lu.reshape(a.shape), pivots.reshape(*lead, pivots.shape[1])
"""
lu_factor.batch = batch_stacks(lu_factor)
# here and below: Golub and Van Loan, Matrix Computations, 4th edition, chapters 3 and 4
lu_factor.flops = each_matrix(lambda m, n: min(m, n) ** 2 * (max(m, n) - min(m, n) / 3))


def _row_order(pivots: Array, rows: int) -> Array:
    xp = namespace(pivots)
    count = math.prod(pivots.shape[:-1])
    flat = pivots.reshape((count, pivots.shape[-1]))
    order = xp.zeros((count, rows), xp.intp) + xp.arange(rows)
    each = xp.arange(count)
    for i in range(pivots.shape[-1]):
        other = flat[:, i]
        moved = order[each, other]
        order[each, other] = order[:, i]
        order[:, i] = moved
    return order.reshape((*pivots.shape[:-1], rows))


# Which row of the matrix each row of its factors comes from.
row_order = Primitive(
    "row_order",
    _row_order,
    lambda pivots, rows: ((*pivots.shape[:-1], rows), np.dtype(np.intp)),
    family="linalg",
)
row_order.definition = """
def row_order(pivots, rows):
    flat = pivots.reshape(int(np.prod(pivots.shape[:-1])), pivots.shape[-1])
    order = np.tile(np.arange(rows), (len(flat), 1))
    each = np.arange(len(flat))
    for i in range(flat.shape[1]):
        other = flat[:, i]
        order[each, other], order[:, i] = order[:, i].copy(), order[each, other]
    return order.reshape(*pivots.shape[:-1], rows)
"""
row_order.batch = batch_stacks(row_order, 1)
row_order.flops = nothing


def permutation_matrix(pivots: Array, rows: int, like: Array) -> Array:
    """The matrix P of P A = L U, of the dtype of ``like``."""
    numbers = beside(pivots, np.arange(rows))
    order = column(row_order(pivots, rows=rows))
    return convert(order == numbers, dtype=dtype_of(like))


def _refuse_singular(lu: Array) -> None:
    diagonal = lu.diagonal(0, -2, -1)
    if bool((diagonal == 0).any()):
        raise np.linalg.LinAlgError("Singular matrix")


def solve_with(a: Array, lu: Array, pivots: Array, b: Array, transposed: bool) -> Array:
    """The implementation of :func:`factored_solve`."""
    _refuse_singular(lu)
    xp = namespace(lu, b)
    dtype = _inexact(lu, b)
    lu, b = lu.astype(dtype, copy=False), b.astype(dtype, copy=False)
    backend = backend_of(lu)
    if lu.ndim == 2 and b.ndim > 2 and b.size:
        # one system, whose right-hand sides are the columns of all the matrices
        lead, (n, columns) = b.shape[:-2], b.shape[-2:]
        flat = xp.moveaxis(b.reshape((-1, n, columns)), 1, 0).reshape((n, -1))
        x = backend.lu_solve(lu, pivots, flat, transposed)
        x = xp.moveaxis(x.reshape((n, -1, columns)), 0, 1)
        return x.reshape((*lead, n, columns))
    lead = broadcast_shapes([lu.shape[:-2], b.shape[:-2]])
    if lu.shape[:-2] != lead:
        lu = xp.broadcast_to(lu, (*lead, *lu.shape[-2:]))
        pivots = xp.broadcast_to(pivots, (*lead, pivots.shape[-1]))
    if b.shape[:-2] != lead:
        b = xp.broadcast_to(b, (*lead, *b.shape[-2:]))
    return backend.lu_solve(lu, pivots, b, transposed)


def _solve_abstract(a: Any, b: Any) -> tuple[Shape, Any]:
    lead = broadcast_shapes([a.shape[:-2], b.shape[:-2]])
    return (*lead, *b.shape[-2:]), _inexact(a, b)


def _factored_solve_jvp(
    ans: Array, primals: Any, tangents: Any, params: Params
) -> Array | None:
    """From A x = b:  dx = A^-1 (db - dA x), by one solution whatever varies."""
    a, lu, pivots, _ = primals
    t, _, _, change = tangents
    if t is not None:
        moved = matmul(swap_last(t) if params["transposed"] else t, ans)
        change = -moved if change is None else change - moved
    if change is None:
        return None
    return factored_solve(a, lu, pivots, change, **params)  # type: ignore[no-any-return]


# a^-1 b, or with the transposed matrix; a is not looked at, only its factors are.
factored_solve = Primitive(
    "factored_solve",
    solve_with,
    lambda a, lu, pivots, b, transposed: _solve_abstract(lu, b),
    jvp=_factored_solve_jvp,
    transpose=one_at_a_time(
        "factored_solve",
        [
            None,
            None,
            None,
            lambda ct, aval, a, lu, pivots, b, transposed: sum_to(
                factored_solve(a, lu, pivots, ct, transposed=not transposed), aval
            ),
        ],
    ),
    family="linalg",
)
factored_solve.definition = """
def factored_solve(a, lu, pivots, b, transposed):
    return np.linalg.solve(np.swapaxes(a, -1, -2) if transposed else a, b)
"""
factored_solve.batch = batch_stacks(factored_solve, 2, 2, 1, 2)
factored_solve.flops = lambda inputs, outputs, params: (
    2 * entries(outputs[0]) * inputs[1].shape[-1]
)


def with_factors(a: Array, *others: Array) -> tuple[Array, Array, Array]:
    """A matrix and its factors, as precise as what they are to meet."""
    dtype = _inexact(a, *others)
    if dtype_of(a).kind != "c":
        dtype = np.empty(0, dtype).real.dtype
    if dtype_of(a) != dtype:
        a = convert(a, dtype=dtype)
    return (a, *lu_factor(stop_gradient(a)))


def solve(a: Array, b: Array) -> Array:
    """Solve ``a @ x = b``; factors ``a`` once, for derivatives of all orders too."""
    return factored_solve(*with_factors(a, b), b, transposed=False)


inv = Primitive(
    "inv",
    lambda a: namespace(a).linalg.inv(a),
    lambda a: (a.shape, _inexact(a)),
    jvp=sum_of_jvps(lambda t, ans, a: -matmul(matmul(ans, t), ans)),
    family="linalg",
)
inv.batch = batch_stacks(inv)
inv.flops = each_matrix(lambda m, n: 2 * n**3)
inv.definition = """
def inv(a):
    return np.linalg.inv(a)
"""


# ------------------------------------------------------------- triangular systems


def _cholesky_jvp(t: Array, ans: Array, a: Array) -> Array:
    """dL = L phi(L^-1 dA L^-H), where phi takes the lower triangle, half the diagonal.

    Murray (2016), equation 8; dA is the Hermitian part of the tangent.
    """
    t = 0.5 * (t + adjoint(t))
    inner = triangular_solve(
        ans, adjoint(triangular_solve(ans, t, lower=True)), lower=True
    )
    n = a.shape[-1]
    phi = np.tri(n, dtype=ans.dtype) - 0.5 * np.eye(n, dtype=ans.dtype)
    return matmul(ans, multiply(adjoint(inner), beside(ans, phi)))


cholesky = Primitive(
    "cholesky",
    lambda a: namespace(a).linalg.cholesky(a),
    lambda a: (a.shape, _inexact(a)),
    jvp=sum_of_jvps(_cholesky_jvp),
    family="linalg",
)
cholesky.batch = batch_stacks(cholesky)
cholesky.flops = each_matrix(lambda m, n: n**3 / 3)
cholesky.definition = """
def cholesky(a):
    return np.linalg.cholesky(a)
"""


def _triangular_transpose(ct: Array, aval: Any, a: Array, b: Any, lower: bool) -> Array:
    return sum_to(triangular_solve(swap_last(a), ct, lower=not lower), aval)


def _triangular_jvp(
    ans: Array, primals: Any, tangents: Any, params: Params
) -> Array | None:
    t, change = tangents
    if t is not None:
        moved = matmul(triangle_of(t, params["lower"]), ans)
        change = -moved if change is None else change - moved
    if change is None:
        return None
    return triangular_solve(primals[0], change, **params)  # type: ignore[no-any-return]


triangular_solve = Primitive(
    "triangular_solve",
    lambda a, b, lower: backend_of(a, b).solve_triangular(*_common(a, b), lower),
    lambda a, b, lower: _solve_abstract(a, b),
    jvp=_triangular_jvp,
    transpose=one_at_a_time("triangular_solve", [None, _triangular_transpose]),
    family="linalg",
)
triangular_solve.definition = """
def triangular_solve(a, b, lower):
    return np.linalg.solve(np.tril(a) if lower else np.triu(a), b)
"""
triangular_solve.batch = batch_stacks(triangular_solve)
triangular_solve.flops = lambda inputs, outputs, params: (
    entries(outputs[0]) * inputs[0].shape[-1]
)


# ----------------------------------------------------------------- pseudo-inverses


def _pinv(
    a: Array, u: Array, s: Array, vh: Array, rtol: Array, hermitian: bool
) -> Array:
    xp = namespace(s)
    size = abs(s)
    if not s.size:
        return vh.conj().swapaxes(-1, -2) @ u.conj().swapaxes(-1, -2)
    kept = size > xp.asarray(rtol)[..., None] * size.max(axis=-1, keepdims=True)
    one = s.dtype.type(1)
    inverted = xp.where(kept, one / xp.where(kept, s, one), s.dtype.type(0))
    v = vh.conj().swapaxes(-1, -2)
    return (v * inverted[..., None, :]) @ u.conj().swapaxes(-1, -2)


def _pinv_of_a(
    t: Array, ans: Array, a: Array, *factors: Array, hermitian: bool
) -> Array:
    """Golub and Pereyra (1973), equation 4.12, where the rank stays what it is.

    dP = -P dA P + P P^H dA^H (I - A P) + (I - P A) dA^H P^H P
    """
    if hermitian:
        t = hermitian_part(t)
    p, p_h, t_h = ans, adjoint(ans), adjoint(t)
    left = matmul(p, matmul(p_h, t_h))
    right = matmul(matmul(t_h, p_h), p)
    change = left - matmul(matmul(left, a), p) + right - matmul(p, matmul(a, right))
    return change - matmul(matmul(p, t), p)


# The pseudo-inverse of a = u s vh, where singular values up to rtol times the largest
# are taken for zero; s may have signs, as the eigenvalues of a Hermitian matrix do.
pinv = Primitive(
    "pinv",
    _pinv,
    lambda a, u, s, vh, rtol, hermitian: (
        (*a.shape[:-2], a.shape[-1], a.shape[-2]),
        a.dtype,
    ),
    jvp=sum_of_jvps(_pinv_of_a, None, None, None, None),
    family="linalg",
)
pinv.definition = """
def pinv(a, u, s, vh, rtol, hermitian):
    size = abs(s)
    kept = size > np.asarray(rtol)[..., None] * size.max(-1, keepdims=True, initial=0)
    inverted = np.where(kept, 1 / np.where(kept, s, 1), 0).astype(s.dtype)
    v, u = (np.conj(np.swapaxes(x, -1, -2)) for x in (vh, u))
    return (v * inverted[..., None, :]) @ u
"""
pinv.batch = batch_stacks(pinv, 2, 2, 1, 2, 0)
# two of the three factors scaled, and multiplied
pinv.flops = each_matrix(lambda m, n: 2 * m * n * min(m, n))
