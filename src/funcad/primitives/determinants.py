"""Determinants of stacks of matrices and their derivatives.

Like :func:`funcad.primitives.linalg.factored_solve`, these compute with the triangular
factors of a matrix, which is an operand only for the sake of its tangent.  The
determinant is a polynomial, so that it has derivatives at singular matrices too: the
first are the cofactors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.counting import each_matrix
from funcad.core.tracing import Array, Params, Primitive, dtype_of
from funcad.primitives.contraction import matmul, swap_last
from funcad.primitives.elementwise import (
    broadcast_shapes,
    imag,
    multiply,
    real,
    stop_gradient,
)
from funcad.primitives.families import one_at_a_time, sum_of_jvps
from funcad.primitives.linalg import (
    batch_stacks,
    column,
    diagonal_of,
    eye_like,
    factored_solve,
    guard,
    half_of_the_digits,
    largest,
    solve_with,
    trace_of,
)
from funcad.primitives.shape import Shape, reduce_sum, sum_to


def _pivot_sign(lu: Array, pivots: Array) -> tuple[Array, Array]:
    """The diagonal of the upper factor, and the sign of the row exchanges."""
    xp = namespace(lu)
    swaps = (pivots != xp.arange(pivots.shape[-1])).sum(axis=-1)
    return lu.diagonal(0, -2, -1), (1 - 2 * (swaps % 2)).astype(lu.dtype)


def _slogdet(a: Array, lu: Array, pivots: Array) -> tuple[Array, Array]:
    diagonal, sign = _pivot_sign(lu, pivots)
    size = abs(diagonal)
    zero = size == 0
    xp = namespace(lu)
    units = diagonal / xp.where(zero, size.dtype.type(1), size)
    with np.errstate(divide="ignore"):
        return sign * units.prod(axis=-1), xp.log(size).sum(axis=-1)


def _slogdet_jvp(ans: Any, primals: Any, tangents: Any, params: Params) -> Any:
    """d log det A = tr(A^-1 dA), whose imaginary part turns the sign."""
    (sign, _), (a, lu, pivots), (t, _, _) = ans, primals, tangents
    if t is None:
        return None
    trace = trace_of(factored_solve(a, lu, pivots, t, transposed=False))
    if dtype_of(a).kind != "c":
        return None, trace
    return sign * (1j * imag(trace)), real(trace)


def _slogdet_abstract(a: Any, lu: Any, pivots: Any) -> list[tuple[Shape, Any]]:
    dtype = lu.dtype
    return [(a.shape[:-2], dtype), (a.shape[:-2], np.empty(0, dtype).real.dtype)]


slogdet = Primitive(
    "slogdet",
    _slogdet,
    _slogdet_abstract,
    jvp=_slogdet_jvp,
    multiple=True,
    family="linalg",
)
slogdet.definition = """
def slogdet(a, lu, pivots):
    return tuple(np.linalg.slogdet(a))
"""
slogdet.batch = batch_stacks(slogdet, 2, 2, 1)
slogdet.flops = each_matrix(lambda m, n: n)


def _det(a: Array, lu: Array, pivots: Array) -> Array:
    diagonal, sign = _pivot_sign(lu, pivots)
    return sign * diagonal.prod(axis=-1)


def _det_jvp(t: Array, ans: Array, a: Array, lu: Array, pivots: Array) -> Array:
    """Jacobi: d det A is the sum of dA times the cofactors of A."""
    terms = multiply(t, cofactors(a, lu, pivots))
    rank = len(terms.shape)
    return reduce_sum(terms, axis=(rank - 2, rank - 1), keepdims=False)


det = Primitive(
    "det",
    _det,
    lambda a, lu, pivots: (a.shape[:-2], lu.dtype),
    jvp=sum_of_jvps(_det_jvp, None, None),
    family="linalg",
)
det.definition = """
def det(a, lu, pivots):
    return np.linalg.det(a)
"""
det.batch = batch_stacks(det, 2, 2, 1)
det.flops = each_matrix(lambda m, n: n)


def _cofactors(a: Array, lu: Array, pivots: Array) -> Array:
    xp = namespace(lu)
    diagonal, sign = _pivot_sign(lu, pivots)
    if not bool((diagonal == 0).any()):
        total = (sign * diagonal.prod(axis=-1))[..., None, None]
        unit = xp.eye(lu.shape[-1], dtype=lu.dtype)
        return total * solve_with(a, lu, pivots, unit, transposed=True)
    u, s, vh, turn = _singular(a)
    return turn * (u.conj() * _products_without(s)[..., None, :]) @ vh.conj()


def _singular(a: Array) -> tuple[Array, Array, Array, Array]:
    """Singular values and vectors, and the determinant of both sets of vectors."""
    linalg = namespace(a).linalg
    u, s, vh = linalg.svd(a)
    return u, s, vh, (linalg.det(u) * linalg.det(vh))[..., None, None]


def _products_without(s: Array) -> Array:
    """For each entry along the last axis the product of all the others."""
    xp = namespace(s)
    ones = xp.ones((*s.shape[:-1], 1), s.dtype)
    before = xp.concatenate([ones, s[..., :-1]], axis=-1).cumprod(axis=-1)
    after = xp.concatenate([ones, xp.flip(s, -1)[..., :-1]], axis=-1).cumprod(axis=-1)
    return before * xp.flip(after, -1)


def _cofactor_change(a: Array, lu: Array, pivots: Array, t: Array) -> Array:
    """The second derivative of the determinant, in coordinates where A is diagonal.

    With A = U S V^H, N = U^H T V and P_ij the product of all singular values but the
    i-th and the j-th, the cofactors change by conj(U) W conj(V)^H, where W_ii is the
    sum of P_ij N_jj over j, and W_ij = -P_ij N_ji.  No singular value is divided by.
    """
    xp = namespace(a)
    u, s, vh, turn = _singular(a)
    n = s.shape[-1]
    unit = xp.eye(n, dtype=bool)
    products = _products_without(xp.where(unit, s.dtype.type(1), s[..., None, :]))
    products = xp.where(unit, s.dtype.type(0), products)
    moved = u.conj().swapaxes(-1, -2) @ t @ vh.conj().swapaxes(-1, -2)
    sums = products @ moved.diagonal(0, -2, -1)[..., None]
    change = xp.where(unit, sums, -products * moved.swapaxes(-1, -2))
    return turn * (u.conj() @ change @ vh.conj())


def _cofactor_change_of_a(
    s: Array, ans: Array, a: Array, lu: Array, pivots: Array, t: Array
) -> Array:
    """The third derivative of the determinant, from that of det(A) A^-T."""
    s = guard(s, *_pivots_of(lu), tolerance=half_of_the_digits(lu), why=_THIRD)
    inverse = factored_solve(a, lu, pivots, eye_like(lu), transposed=False)
    x, y = matmul(inverse, s), matmul(inverse, t)
    xy = matmul(x, y)
    tr_x, tr_y, tr_xy = (column(column(trace_of(m))) for m in (x, y, xy))
    mixed = (tr_x * tr_y - tr_xy) * inverse
    once = tr_y * matmul(x, inverse) + tr_x * matmul(y, inverse)
    twice = matmul(xy, inverse) + matmul(matmul(y, x), inverse)
    total = column(column(det(a, lu, pivots)))
    return swap_last(total * (mixed - once + twice))


_THIRD = (
    "det: its third derivative at a matrix that is singular to working precision is "
    "not available; the first and the second are."
)


def _pivots_of(lu: Array) -> tuple[Array, Array]:
    """The pivots of a factorisation, and the size of the largest."""
    diagonal = diagonal_of(stop_gradient(lu))
    return diagonal, largest(diagonal)


# The cofactors of a, finite also where a is singular.
cofactors = Primitive(
    "cofactors",
    _cofactors,
    lambda a, lu, pivots: (a.shape, lu.dtype),
    jvp=sum_of_jvps(
        lambda t, ans, a, lu, pivots: cofactor_change(a, lu, pivots, t), None, None
    ),
    family="linalg",
)
cofactors.definition = """
def cofactors(a, lu, pivots):
    if not a.size:
        return np.zeros(a.shape, lu.dtype)
    u, s, vh = np.linalg.svd(a)
    rest = [np.delete(s, i, -1).prod(-1) for i in range(s.shape[-1])]
    turn = (np.linalg.det(u) * np.linalg.det(vh))[..., None, None]
    return turn * (u.conj() * np.stack(rest, -1)[..., None, :]) @ vh.conj()
"""
cofactors.batch = batch_stacks(cofactors, 2, 2, 1)
cofactors.flops = each_matrix(lambda m, n: 2 * n**3)

# Their derivative along t, a symmetric bilinear form and so its own transpose.
cofactor_change = Primitive(
    "cofactor_change",
    _cofactor_change,
    lambda a, lu, pivots, t: (
        (*broadcast_shapes([a.shape[:-2], t.shape[:-2]]), *a.shape[-2:]),
        np.result_type(lu.dtype, t.dtype),
    ),
    jvp=sum_of_jvps(
        _cofactor_change_of_a,
        None,
        None,
        lambda s, ans, a, lu, pivots, t: cofactor_change(a, lu, pivots, s),
    ),
    transpose=one_at_a_time(
        "cofactor_change",
        [
            None,
            None,
            None,
            lambda ct, aval, a, lu, pivots, t: sum_to(
                cofactor_change(a, lu, pivots, ct), aval
            ),
        ],
    ),
    family="linalg",
)
cofactor_change.batch = batch_stacks(cofactor_change, 2, 2, 1, 2)
# a singular value decomposition, two determinants, four products
cofactor_change.flops = each_matrix(lambda m, n: (21 + 4 / 3 + 8) * n**3)
