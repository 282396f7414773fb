"""``scipy.linalg`` on arrays and tracers.

Names and arguments are SciPy's, but for those that say how to compute (``overwrite_a``,
``check_finite``, ``lapack_driver``).  Without a tracer among the operands SciPy's own
function answers (``cupyx``'s for CuPy arrays); leading axes are stacks of matrices.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from funcad.backends import backend_of
from funcad.core.errors import UnsupportedFunctionError
from funcad.core.tracing import Array, Tracer, dtype_of, shape_of
from funcad.numpy import matrices as m
from funcad.numpy.dispatch import as_operand, as_operands, refuse
from funcad.numpy.products import check_inner
from funcad.primitives import factorization as f
from funcad.primitives import linalg as p
from funcad.primitives import matrix_functions as functions
from funcad.primitives.contraction import adjoint, matmul, swap_last
from funcad.primitives.elementwise import conjugate, multiply, select
from funcad.primitives.indexing import gather
from funcad.primitives.shape import (
    broadcast_to,
    concatenate,
    convert,
    pad,
    reduce_sum,
    reshape,
)

__all__ = [
    "block_diag",
    "cho_factor",
    "cho_solve",
    "cholesky",
    "circulant",
    "det",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "expm",
    "hankel",
    "inv",
    "khatri_rao",
    "logm",
    "lstsq",
    "lu",
    "lu_factor",
    "lu_solve",
    "norm",
    "pinv",
    "qr",
    "solve",
    "solve_sylvester",
    "solve_triangular",
    "sqrtm",
    "svd",
    "svdvals",
    "toeplitz",
]


def _traced(args: Any) -> bool:
    for x in args:
        if isinstance(x, Tracer):
            return True
        if isinstance(x, (tuple, list)) and _traced(x):
            return True
    return False


_HINTS = frozenset(("check_finite", "overwrite_a", "overwrite_b"))


def _plainly(implementation: Callable[..., Any]) -> Callable[..., Any]:
    """Leave calls without a tracer among the arguments to the library."""
    name = implementation.__name__

    @functools.wraps(implementation)
    def called(*args: Any, **kwargs: Any) -> Any:
        if _traced(args) or _traced(kwargs.values()):
            # what does not change the result is nothing to refuse
            return implementation(
                *args, **{k: v for k, v in kwargs.items() if k not in _HINTS}
            )
        backend = backend_of(*args, *kwargs.values())
        function = getattr(backend.linalg, name, None)
        if function is None:
            raise UnsupportedFunctionError(
                f"scipy.linalg.{name}: {backend.name} has no such function. Call it on "
                "the host, with funcad.device_put, or compose it from functions that "
                "are there."
            )
        return function(*args, **kwargs)

    return called


# ------------------------------------------------------------------- linear systems


@_plainly
def solve(
    a: Array,
    b: Array,
    lower: bool = False,
    *,
    assume_a: str | None = None,
    transposed: bool = False,
) -> Array:
    """Solve ``a @ x = b``.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrix.
    b : array, shape (n,), (n, k) or (..., n, k)
        Right-hand sides.
    lower : bool, optional
        Which triangle is there, where ``assume_a`` says that one is enough.
    assume_a : str, optional
        What is known of the matrix, by SciPy's names.  Of a symmetric, Hermitian or
        triangular matrix only one triangle is looked at.
    transposed : bool, optional
        Whether to solve with the transposed matrix.

    Returns
    -------
    array
        Of the shape of ``b``.

    Raises
    ------
    LinAlgError
        If the matrix is singular, or not positive definite where that was said.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> b = np.array([2.0, 4.0])
    >>> funcad.grad(lambda s: np.sum(linalg.solve(s * np.eye(2), b)))(2.0).item()
    -1.5
    """
    a, b = as_operands(a, b)
    a, b = np.atleast_2d(a), np.atleast_1d(b)
    a, b = m.square("solve", a), m.operand_of("solve", b)
    a = _assumed(a, assume_a, lower)
    shape = b.shape
    if math.prod(a.shape) == 1 and shape[-2:][0] != 1:  # a number divides anything
        b = reshape(b, shape=(*shape[:-2], 1, math.prod(shape[-2:])))
        x = p.solve(a, b)
        return reshape(x, shape=(*x.shape[:-2], *shape[-2:]))
    vector, b = _right_side("solve", a, b)
    if assume_a in _POSITIVE:
        factor = p.cholesky(swap_last(a) if transposed else a)
        return _left_side(_with_cholesky(factor, b), vector)
    x = p.factored_solve(*p.with_factors(a, b), b, transposed=bool(transposed))
    return _left_side(x, vector)


def _with_cholesky(lower: Array, b: Array) -> Array:
    x = p.triangular_solve(lower, b, lower=True)
    return p.triangular_solve(  # type: ignore[no-any-return]
        adjoint(lower), x, lower=False
    )


_GENERAL = (None, "general", "gen", "diagonal", "tridiagonal", "banded")
_POSITIVE = ("positive definite", "pos")


def _assumed(a: Array, what: str | None, lower: bool) -> Array:
    if what in _GENERAL:
        return a
    if what in ("symmetric", "sym", "hermitian", "her", *_POSITIVE):
        half = p.triangle_of(a, lower, -1 if lower else 1)
        other = swap_last(half) if what in ("symmetric", "sym") else adjoint(half)
        on = p.beside(a, np.eye(a.shape[-1], dtype=bool))
        return half + other + select(on, a, 0.0)
    if what in ("upper triangular", "lower triangular"):
        return p.triangle_of(a, what == "lower triangular")
    raise ValueError(f"{what} is not a recognized matrix structure")


def _right_side(name: str, a: Array, b: Array) -> tuple[bool, Array]:
    """A right-hand side as a matrix, and whether it was a vector."""
    rank = len(shape_of(b))
    if rank == 0:
        raise ValueError(f"{name}: the right-hand side is a scalar; pass a vector")
    check_inner(name, a.shape, b.shape, a.shape[-2], b.shape[max(-2, -rank)])
    return rank == 1, p.column(b) if rank == 1 else b


def _left_side(x: Array, vector: bool) -> Array:
    return reshape(x, shape=x.shape[:-1]) if vector else x


@_plainly
def inv(a: Array) -> Array:
    """Inverse of a matrix.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrix.

    Returns
    -------
    array
        Of the same shape.

    Raises
    ------
    LinAlgError
        If the matrix is singular.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> funcad.grad(lambda a: linalg.inv(a)[0, 0])(2 * np.eye(2))[0, 0].item()
    -0.25
    """
    return m.inv(a)


@_plainly
def det(a: Array) -> Array:
    """Determinant of a matrix; its derivative, the cofactors, is finite everywhere.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrix.

    Returns
    -------
    array, shape (...)
        The determinant.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> funcad.grad(linalg.det)(np.diag([0.0, 3.0]))
    array([[3., 0.],
           [0., 0.]])
    """
    return m.det(_double(m.square("det", a)))


def _double(a: Array) -> Array:
    """In double precision, which some of SciPy's functions give for single too."""
    wide = np.result_type(dtype_of(a), np.float64)
    return a if dtype_of(a) == wide else convert(a, dtype=wide)


@_plainly
def pinv(
    a: Array, *, atol: Any = None, rtol: Any = None, return_rank: bool = False
) -> Any:
    """Pseudo-inverse of a matrix, differentiated as one of constant rank.

    Parameters
    ----------
    a : array, shape (..., m, n)
        The matrix.
    atol : float, optional
        Singular values up to ``atol + rtol`` times the largest are taken for zero; 0
        if not given.
    rtol : float, optional
        The larger side of the matrix times the machine precision if not given.
    return_rank : bool, optional
        Whether to return the number of singular values that are not zero, too.

    Returns
    -------
    array, shape (..., n, m)
        The pseudo-inverse; or a tuple of it and the rank.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> column = np.array([[2.0], [0.0]])
    >>> funcad.grad(lambda a: linalg.pinv(a)[0, 0])(column)
    array([[-0.25],
           [ 0.  ]])
    """
    a = m.matrices("pinv", a)
    factors = f.svd(p.stop_gradient(a), full_matrices=False)
    s = factors[1]
    if (atol is not None and atol < 0) or (rtol is not None and rtol < 0):
        raise ValueError("atol and rtol values must be positive.")
    if rtol is None:
        rtol = max(a.shape[-2:]) * float(np.finfo(dtype_of(a)).eps) if not atol else 0.0
    largest = _leading(p.largest(s))
    # what is added to the tolerance, relative to the largest singular value
    relative = rtol if not atol else rtol + atol / select(largest == 0, 1.0, largest)
    out = p.pinv(a, *factors, relative, hermitian=False)
    if not return_rank:
        return out
    kept = s > (p.column(relative) if shape_of(relative) else relative) * p.largest(s)
    return out, np.sum(kept, axis=-1)


def _leading(x: Array) -> Array:
    return reshape(x, shape=x.shape[:-1]) if x.shape[-1] else np.sum(x, axis=-1)


@_plainly
def lstsq(a: Array, b: Array, cond: Any = None) -> Any:
    """Least-squares solution of ``a @ x = b``, of least norm where there are several.

    Parameters
    ----------
    a : array, shape (..., m, n)
        The matrix.
    b : array, shape (m,), (m, k) or (..., m, k)
        Right-hand sides.
    cond : float, optional
        Singular values up to ``cond`` times the largest are taken for zero; the machine
        precision if not given.

    Returns
    -------
    x : array, shape (..., n) or (..., n, k)
        The solution.
    residuals : array
        Sums of squares of ``b - a @ x``; empty where the rank of any matrix is less
        than ``n`` or there are no more rows than columns.
    rank : int, or array of int
        The rank of ``a``.
    s : array
        Its singular values.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> a = np.array([[1.0], [1.0]])
    >>> funcad.grad(lambda b: linalg.lstsq(a, b)[0][0])(np.array([1.0, 3.0]))
    array([0.5, 0.5])
    """
    a, b = as_operands(a, b)
    a, b = m.matrices("lstsq", a), m.operand_of("lstsq", b)
    vector, b = _right_side("lstsq", a, b)
    if cond is None:
        cond = float(np.finfo(np.result_type(dtype_of(a), dtype_of(b))).eps)
    x, residuals, rank, s = m.least_squares(a, b, cond)
    lead = x.shape[:-2]
    rank = broadcast_to(rank, shape=lead)
    s = broadcast_to(s, shape=(*lead, s.shape[-1]))
    if vector and residuals.shape[-1]:
        residuals = _left_side(residuals, vector)
    return _left_side(x, vector), residuals, rank, s


@_plainly
def norm(a: Array, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Array:
    """Norm of a vector or matrix, of every order.

    Parameters
    ----------
    a : array
        Vectors or matrices.
    ord : {None, int, float, inf, -inf, "fro", "nuc"}, optional
        The order.
    axis : int or tuple of two int, optional
        Where the vectors or matrices are.
    keepdims : bool, optional
        Whether reduced axes stay, with size one.

    Returns
    -------
    array
        The norm.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> funcad.grad(lambda a: linalg.norm(a, "nuc"))(np.eye(2))
    array([[1., 0.],
           [0., 1.]])
    """
    return m.norm(a, ord, axis, keepdims)


# ------------------------------------------------------------------------ triangular


@_plainly
def solve_triangular(
    a: Array,
    b: Array,
    trans: Any = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
) -> Array:
    """Solve ``a @ x = b`` for a triangular matrix.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrix; the other triangle is not looked at.
    b : array, shape (n,), (n, k) or (..., n, k)
        Right-hand sides.
    trans : {0, 1, 2, "N", "T", "C"}, optional
        Whether to solve with the matrix, its transpose or its adjoint.
    lower : bool, optional
        Which triangle there is.
    unit_diagonal : bool, optional
        Whether to take the diagonal, which is not looked at then, for ones.

    Returns
    -------
    array
        Of the shape of ``b``.

    Raises
    ------
    LinAlgError
        If an entry of the diagonal is zero.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> a = np.array([[2.0, 0.0], [1.0, 1.0]])
    >>> solution = lambda b: linalg.solve_triangular(a, b, lower=True)
    >>> funcad.jvp(solution, (np.ones(2),), (np.ones(2),))[1]
    array([0.5, 0.5])
    """
    a, b = as_operands(a, b)
    a, b = m.square("solve_triangular", a), m.operand_of("solve_triangular", b)
    a, lower = _transposed(a, trans), bool(lower) != (_TRANS[trans] > 0)
    if unit_diagonal:
        eye = p.beside(a, np.eye(a.shape[-1], dtype=dtype_of(a)))
        a = p.triangle_of(a, lower, -1 if lower else 1) + eye
    vector, b = _right_side("solve_triangular", a, b)
    return _left_side(p.triangular_solve(a, b, lower=lower), vector)


_TRANS = {0: 0, 1: 1, 2: 2, "N": 0, "T": 1, "C": 2}


def _transposed(a: Array, trans: Any) -> Array:
    if trans not in _TRANS:
        raise ValueError(f"trans must be 0, 1, 2, 'N', 'T' or 'C', not {trans!r}")
    return (a, swap_last(a), adjoint(a))[_TRANS[trans]] if trans else a


# ---------------------------------------------------------------- triangular factors


@_plainly
def lu_factor(a: Array) -> tuple[Array, Array]:
    """Triangular factors of a matrix, for :func:`lu_solve`.

    Parameters
    ----------
    a : array, shape (..., m, n)
        The matrix.

    Returns
    -------
    lu : array, shape (..., m, n)
        The upper factor, and below its diagonal the lower one, whose diagonal is ones.
    piv : array of int, shape (..., min(m, n))
        The row that each row was exchanged with, in turn.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> def solution(a):
    ...     return linalg.lu_solve(linalg.lu_factor(a), np.ones(2))
    >>> funcad.grad(lambda a: np.sum(solution(a)))(np.eye(2))
    array([[-1., -1.],
           [-1., -1.]])
    """
    return p.lu_factor(m.matrices("lu_factor", a))  # type: ignore[no-any-return]


@_plainly
def lu_solve(lu_and_piv: tuple[Array, Array], b: Array, trans: Any = 0) -> Array:
    """Solve ``a @ x = b`` with the factors of ``a``.

    Parameters
    ----------
    lu_and_piv : tuple of two arrays
        What :func:`lu_factor` returned.
    b : array, shape (n,), (n, k) or (..., n, k)
        Right-hand sides.
    trans : {0, 1, 2}, optional
        Whether to solve with the matrix, its transpose or its adjoint.

    Returns
    -------
    array
        Of the shape of ``b``.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> factors = linalg.lu_factor(2 * np.eye(2))
    >>> funcad.grad(lambda b: np.sum(linalg.lu_solve(factors, b)))(np.ones(2))
    array([0.5, 0.5])
    """
    lu_, pivots = lu_and_piv
    b = as_operand(b, lu_)
    lu_ = m.square("lu_solve", lu_, b)
    b = m.operand_of("lu_solve", b)
    if trans not in (0, 1, 2):
        raise ValueError(f"lu_solve: trans must be 0, 1 or 2, not {trans!r}")
    vector, b = _right_side("lu_solve", lu_, b)
    lower, upper = p.unpack_lu(lu_)
    exchanged = p.permutation_matrix(pivots, lu_.shape[-1], lu_)
    if trans == 0:
        x = p.triangular_solve(lower, matmul(exchanged, b), lower=True)
        return _left_side(p.triangular_solve(upper, x, lower=False), vector)
    turned = adjoint if trans == 2 else swap_last
    x = p.triangular_solve(turned(upper), b, lower=True)
    x = p.triangular_solve(turned(lower), x, lower=False)
    return _left_side(matmul(swap_last(exchanged), x), vector)


@_plainly
def lu(a: Array, permute_l: bool = False, p_indices: bool = False) -> Any:
    """Triangular factors of a matrix, ``a = p @ l @ u``.

    Parameters
    ----------
    a : array, shape (..., m, n)
        The matrix.
    permute_l : bool, optional
        Whether to return ``p @ l`` and ``u`` alone.
    p_indices : bool, optional
        Whether to return the permutation as indices, ``a = l[p] @ u``.

    Returns
    -------
    p : array, shape (..., m, m), or of int, shape (..., m)
        The permutation.
    l : array, shape (..., m, k)
        Lower triangular with ones on the diagonal; ``k = min(m, n)``.
    u : array, shape (..., k, n)
        Upper triangular.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> funcad.grad(lambda a: linalg.lu(a)[2][1, 1])(np.array([[2.0, 1], [1, 3]]))
    array([[ 0.25, -0.5 ],
           [-0.5 ,  1.  ]])
    """
    a = m.matrices("lu", a)
    *lead, rows, columns = a.shape
    packed, pivots = p.lu_factor(a)
    lower, upper = p.unpack_lu(packed)
    # SciPy's permutations of one row have dtypes of their own, those of none no rows
    one = rows == columns == 1
    like = np.empty(0, dtype_of(a)) if one else _real_like(a)
    if 0 in a.shape and not permute_l:
        none = np.empty((*lead, 0), np.int32) if p_indices else None
        none = np.empty((*lead, 0, 0), like.dtype) if none is None else none
        return p.beside(a, none), lower, upper
    exchanged = swap_last(p.permutation_matrix(pivots, rows, like))
    if permute_l:
        return matmul(exchanged, lower), upper
    if p_indices:
        numbers = p.beside(pivots, np.arange(rows, dtype=int if one else np.int32))
        whole = multiply(convert(exchanged, dtype=numbers.dtype), numbers)
        rank = len(whole.shape)
        order = reduce_sum(whole, axis=(rank - 1,), keepdims=False)
        return convert(order, dtype=numbers.dtype), lower, upper
    return exchanged, lower, upper


def _real_like(a: Array) -> np.ndarray:
    return np.empty(0, dtype_of(a)).real


@_plainly
def cholesky(a: Array, lower: bool = False) -> Array:
    """Cholesky factor of a Hermitian, positive definite matrix.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrix, differentiated as one that stays Hermitian.
    lower : bool, optional
        Whether to return the lower factor, ``a = c @ c^H``, or the upper one,
        ``a = c^H @ c``.

    Returns
    -------
    array
        Of the same shape.

    Raises
    ------
    LinAlgError
        If the matrix is not positive definite.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> funcad.grad(lambda a: linalg.cholesky(a)[0, 0])(4 * np.eye(2))[0, 0].item()
    0.25
    """
    return m.cholesky(np.atleast_2d(a), upper=not lower)


@_plainly
def cho_factor(a: Array, lower: bool = False) -> tuple[Array, bool]:
    """Cholesky factor of a matrix, for :func:`cho_solve`.

    Parameters
    ----------
    a : array, shape (..., n, n)
        A Hermitian, positive definite matrix.
    lower : bool, optional
        Whether to compute the lower factor.

    Returns
    -------
    c : array, shape (..., n, n)
        The factor.  SciPy leaves anything in the other triangle; of a tracer, zeros.
    lower : bool
        As it was given.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> def solution(a):
    ...     return linalg.cho_solve(linalg.cho_factor(a), np.ones(2))
    >>> funcad.grad(lambda a: np.sum(solution(a)))(np.eye(2))
    array([[-1., -1.],
           [-1., -1.]])
    """
    return cholesky(a, lower=lower), lower


@_plainly
def cho_solve(c_and_lower: tuple[Array, bool], b: Array) -> Array:
    """Solve ``a @ x = b`` with the Cholesky factor of ``a``.

    Parameters
    ----------
    c_and_lower : tuple of array and bool
        What :func:`cho_factor` returned.
    b : array, shape (n,), (n, k) or (..., n, k)
        Right-hand sides.

    Returns
    -------
    array
        Of the shape of ``b``.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> factor = linalg.cho_factor(2 * np.eye(2))
    >>> funcad.grad(lambda b: np.sum(linalg.cho_solve(factor, b)))(np.ones(2))
    array([0.5, 0.5])
    """
    c, lower = c_and_lower
    b = as_operand(b, c)
    c = m.square("cho_solve", c, b)
    vector, b = _right_side("cho_solve", c, m.operand_of("cho_solve", b))
    first = c if lower else adjoint(c)
    return _left_side(_with_cholesky(first, b), vector)


# ------------------------------------------------------------- orthogonal factors


@_plainly
def qr(a: Array, *, mode: str = "full", pivoting: bool = False) -> Any:
    """Orthonormal columns times an upper triangle, ``a = q @ r``.

    Parameters
    ----------
    a : array, shape (..., m, n)
        The matrix.
    mode : {"full", "r", "economic"}, optional
        Whether to fill up ``q`` to a square matrix, or to return ``r`` alone.
    pivoting : bool, optional
        Not there for tracers.

    Returns
    -------
    q : array, shape (..., m, m) or (..., m, k)
        With orthonormal columns; ``k = min(m, n)``.
    r : array, shape (..., m, n) or (..., k, n)
        Upper triangular.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> a = np.array([[3.0], [4.0]])
    >>> length = lambda a: np.abs(linalg.qr(a, mode="economic")[1][0, 0])
    >>> np.round(funcad.grad(length)(a), 3)
    array([[0.6],
           [0.8]])
    """
    if pivoting:
        refuse("scipy.linalg.qr", pivoting=pivoting)
    if mode not in ("full", "r", "economic"):
        if mode == "raw":
            refuse("scipy.linalg.qr", mode=mode)
        raise ValueError(
            "Mode argument should be one of ['full', 'r', 'economic', 'raw']"
        )
    if mode == "economic":
        return tuple(m.qr(a, "reduced"))
    q, r = m.qr(a, "complete")
    return (r,) if mode == "r" else (q, r)


@_plainly
def svd(a: Array, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Singular values and vectors, ``a = u @ diag(s) @ vh``.

    Parameters
    ----------
    a : array, shape (..., m, n)
        The matrix.
    full_matrices : bool, optional
        Whether to fill up the vectors to square matrices.
    compute_uv : bool, optional
        Whether to return the vectors.

    Returns
    -------
    u : array, shape (..., m, m) or (..., m, k)
        Left singular vectors, as columns; ``k = min(m, n)``.
    s : array, shape (..., k)
        Singular values, the largest first.
    vh : array, shape (..., n, n) or (..., k, n)
        Right singular vectors, as rows.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> funcad.grad(lambda a: linalg.svd(a)[1][0])(np.diag([3.0, 1.0]))
    array([[1., 0.],
           [0., 0.]])
    """
    out = m.svd(a, full_matrices, compute_uv)
    return tuple(out) if compute_uv else out


@_plainly
def svdvals(a: Array) -> Array:
    """Singular values, whose first derivative is finite where they repeat.

    Parameters
    ----------
    a : array, shape (..., m, n)
        The matrix.

    Returns
    -------
    array, shape (..., min(m, n))
        Singular values, the largest first.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> funcad.grad(lambda a: np.sum(linalg.svdvals(a)))(np.eye(2))
    array([[1., 0.],
           [0., 1.]])
    """
    return m.svdvals(a)


# -------------------------------------------------------------------- eigenvalues


@_plainly
def eigh(
    a: Array, b: Any = None, *, lower: bool = True, eigvals_only: bool = False
) -> Any:
    """Eigenvalues and eigenvectors of a Hermitian matrix.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrix, differentiated as one that stays Hermitian.
    b : array, shape (..., n, n), optional
        A positive definite matrix, for ``a @ v = b @ v @ diag(w)``.
    lower : bool, optional
        Which triangle to look at.
    eigvals_only : bool, optional
        Whether to return the eigenvalues alone.

    Returns
    -------
    w : array, shape (..., n)
        Eigenvalues, the smallest first.
    v : array, shape (..., n, n)
        Eigenvectors, as columns.

    Raises
    ------
    DegenerateError
        If a derivative of eigenvectors is needed where eigenvalues repeat.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> funcad.grad(lambda a: linalg.eigh(a)[0][1])(np.diag([1.0, 2.0]))
    array([[0., 0.],
           [0., 1.]])
    """
    uplo = "L" if lower else "U"
    if b is None:
        return m.eigvalsh(a, uplo) if eigvals_only else tuple(m.eigh(a, uplo))
    a, b = as_operands(a, b)
    factor = m.cholesky(b, upper=not lower)
    factor = factor if lower else adjoint(factor)
    a = _assumed(m.square("eigh", a), "hermitian", lower)
    inner = p.triangular_solve(factor, a, lower=True)
    inner = p.triangular_solve(factor, adjoint(inner), lower=True)
    if eigvals_only:
        return m.eigvalsh(inner)
    w, v = m.eigh(inner)
    return w, p.triangular_solve(adjoint(factor), v, lower=False)


@_plainly
def eigvalsh(a: Array, b: Any = None, *, lower: bool = True) -> Array:
    """Eigenvalues of a Hermitian matrix, finite derivatives where they repeat.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrix, differentiated as one that stays Hermitian.
    b : array, shape (..., n, n), optional
        A positive definite matrix, for ``a @ v = b @ v @ diag(w)``.
    lower : bool, optional
        Which triangle to look at.

    Returns
    -------
    array, shape (..., n)
        Eigenvalues, the smallest first.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> funcad.grad(lambda a: np.sum(linalg.eigvalsh(a)))(np.eye(2))
    array([[1., 0.],
           [0., 1.]])
    """
    return eigh(a, b, lower=lower, eigvals_only=True)  # type: ignore[no-any-return]


@_plainly
def eig(a: Array) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors of a matrix.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrix.

    Returns
    -------
    w : array of complex, shape (..., n)
        Eigenvalues.
    v : array, shape (..., n, n)
        Eigenvectors, as columns of length one; real where all of them are and values
        are known, as in ``grad``.

    Raises
    ------
    DegenerateError
        If a derivative is needed where there is none: of eigenvectors where
        eigenvalues repeat, of either where the matrix is defective.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> funcad.grad(lambda a: np.sum(linalg.eig(a)[0].real))(np.diag([1.0, 2.0]))
    array([[1., 0.],
           [0., 1.]])
    """
    w, v = m.eig(a)
    return _complex(w), v


def _complex(w: Array) -> Array:
    return convert(w, dtype=np.result_type(dtype_of(w), np.complex64))


@_plainly
def eigvals(a: Array) -> Array:
    """Eigenvalues of a matrix.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrix.

    Returns
    -------
    array of complex, shape (..., n)
        Eigenvalues.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> funcad.grad(lambda a: np.sum(linalg.eigvals(a).real))(np.diag([1.0, 2.0]))
    array([[1., 0.],
           [0., 1.]])
    """
    return _complex(m.eigvals(a))


# ---------------------------------------------------------------- matrix functions


def _of_matrix(name: str, primitive: Any, a: Array) -> Array:
    a = as_operand(a)
    shape = shape_of(a)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise np.linalg.LinAlgError(f"{name} takes square matrices, not shape {shape}")
    a = m.operand_of(name, a)
    try:
        return primitive(a)  # type: ignore[no-any-return]
    except functions.ComplexResultError:
        return primitive(_complex(a))  # type: ignore[no-any-return]


@_plainly
def expm(A: Array) -> Array:
    """Exponential of a matrix.

    Parameters
    ----------
    A : array, shape (..., n, n)
        The matrix.

    Returns
    -------
    array
        Of the same shape.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    >>> rotated = lambda angle: linalg.expm(angle * turn)
    >>> np.round(funcad.jvp(rotated, (0.0,), (1.0,))[1], 12)
    array([[ 0., -1.],
           [ 1.,  0.]])
    """
    A = as_operand(A)
    if shape_of(A) in ((), (1,)):  # SciPy takes it for one of Python's numbers
        A = reshape(_double(A), shape=(1, 1))
    return _of_matrix("expm", functions.expm, A)


@_plainly
def logm(A: Array) -> Array:
    """Principal logarithm of a matrix.

    Parameters
    ----------
    A : array, shape (..., n, n)
        The matrix.

    Returns
    -------
    array
        Of the same shape; complex where a real matrix has negative eigenvalues, for
        which values must be known (under ``make_program`` pass a complex matrix).

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> funcad.grad(lambda a: np.trace(linalg.logm(a)))(np.diag([1.0, 2.0])).round(9)
    array([[1. , 0. ],
           [0. , 0.5]])
    """
    return _of_matrix("logm", lambda a: functions.logm(_double(a)), A)


@_plainly
def sqrtm(A: Array) -> Array:
    """Principal square root of a matrix.

    Parameters
    ----------
    A : array, shape (..., n, n)
        The matrix.

    Returns
    -------
    array
        Of the same shape; complex where a real matrix has negative eigenvalues, for
        which values must be known (under ``make_program`` pass a complex matrix).

    Raises
    ------
    LinAlgError
        If a derivative is needed at a singular matrix.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> funcad.grad(lambda a: np.trace(linalg.sqrtm(a)))(4 * np.eye(2)).round(9)
    array([[0.25, 0.  ],
           [0.  , 0.25]])
    """
    return _of_matrix("sqrtm", functions.sqrtm, A)


@_plainly
def solve_sylvester(a: Array, b: Array, q: Array) -> Array:
    """Solve Sylvester's equation, ``a @ x + x @ b = q``.

    Parameters
    ----------
    a : array, shape (..., m, m)
        The left-hand matrix.
    b : array, shape (..., n, n)
        The right-hand matrix.
    q : array, shape (..., m, n)
        What the sum should be.

    Returns
    -------
    array, shape (..., m, n)
        The solution.

    Raises
    ------
    LinAlgError
        If ``a`` and ``-b`` have an eigenvalue in common.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> equation = lambda q: np.sum(linalg.solve_sylvester(np.eye(2), np.eye(2), q))
    >>> funcad.grad(equation)(np.ones((2, 2)))
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    a, b, q = as_operands(a, b, q)
    a, b = m.square("solve_sylvester", a), m.square("solve_sylvester", b)
    q = m.matrices("solve_sylvester", q)
    if q.shape[-2:] != (a.shape[-1], b.shape[-1]):
        raise ValueError(
            f"solve_sylvester: shapes {a.shape}, {b.shape} and {q.shape} do not fit"
        )
    return functions.solve_sylvester(a, b, q)  # type: ignore[no-any-return]


# ----------------------------------------------------------------- special matrices


@_plainly
def block_diag(*arrs: Array) -> Array:
    """Matrices along the diagonal of a larger one, with zeros elsewhere.

    Parameters
    ----------
    *arrs : array
        The blocks; vectors and numbers are matrices of one row.

    Returns
    -------
    array
        The matrix.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> block = lambda x: linalg.block_diag(x, np.ones((1, 2)))
    >>> funcad.jvp(block, (3.0,), (1.0,))[1]
    array([[1., 0., 0.],
           [0., 0., 0.]])
    """
    blocks = [
        reshape(x, shape=(1, *shape_of(x))[-2:] if shape_of(x) else (1, 1))
        if len(shape_of(x)) < 2
        else x
        for x in as_operands(*arrs)
    ]
    lead = np.broadcast_shapes(*[x.shape[:-2] for x in blocks])
    dtype = np.result_type(*map(dtype_of, blocks))
    width = sum(x.shape[-1] for x in blocks)
    rows, start = [], 0
    for x in blocks:
        x = x if dtype_of(x) == dtype else convert(x, dtype=dtype)
        x = broadcast_to(x, shape=(*lead, *x.shape[-2:]))
        after = width - start - x.shape[-1]
        rows.append(pad(x, widths=((0, 0),) * (len(lead) + 1) + ((start, after),)))
        start = width - after
    return concatenate(*rows, axis=len(lead))


def _entries(x: Array, positions: np.ndarray) -> Array:
    """Entries of vectors at fixed positions, which become the last two axes."""
    lead = x.shape[:-1]
    grid = [
        p.beside(x, np.arange(n).reshape((n, *(1,) * (len(lead) - i + 1))))
        for i, n in enumerate(lead)
    ]
    return gather(x, *grid, p.beside(x, positions))


def _vector(x: Array) -> Array:
    return reshape(x, shape=(1,)) if not shape_of(x) else x


def _joined(*parts: Array) -> Array:
    dtype = np.result_type(*map(dtype_of, parts))
    parts = tuple(x if dtype_of(x) == dtype else convert(x, dtype=dtype) for x in parts)
    lead = np.broadcast_shapes(*[x.shape[:-1] for x in parts])
    parts = tuple(broadcast_to(x, shape=(*lead, x.shape[-1])) for x in parts)
    return concatenate(*parts, axis=len(lead))


@_plainly
def toeplitz(c: Array, r: Array | None = None) -> Array:
    """A matrix that is constant along its diagonals.

    Parameters
    ----------
    c : array, shape (..., m)
        First column.
    r : array, shape (..., n), optional
        First row, whose first entry is not looked at; the conjugate of ``c`` if not
        given.

    Returns
    -------
    array, shape (..., m, n)
        The matrix.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> funcad.grad(lambda c: np.sum(linalg.toeplitz(c)))(np.array([1.0, 2.0, 3.0]))
    array([3., 4., 2.])
    """
    c = _vector(as_operand(c, r))
    if r is None:
        r = conjugate(c) if dtype_of(c).kind == "c" else c
    r = _vector(as_operand(r, c))
    m_, n = c.shape[-1], r.shape[-1]
    # the row without its first entry, backwards, then the column
    values = _joined(np.flip(r[..., 1:], -1), c)
    positions = max(n - 1, 0) + np.arange(m_)[:, None] - np.arange(n)
    return _entries(values, positions)


@_plainly
def circulant(c: Array) -> Array:
    """A square matrix whose columns are the first one, turned around.

    Parameters
    ----------
    c : array, shape (..., n)
        First column.

    Returns
    -------
    array, shape (..., n, n)
        The matrix.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> funcad.grad(lambda c: np.sum(linalg.circulant(c)))(np.array([1.0, 2.0]))
    array([2., 2.])
    """
    c = np.atleast_1d(c)
    n = c.shape[-1]
    return _entries(c, (np.arange(n)[:, None] - np.arange(n)) % max(n, 1))


@_plainly
def hankel(c: Array, r: Array | None = None) -> Array:
    """A matrix that is constant along its antidiagonals.

    Parameters
    ----------
    c : array, shape (m,)
        First column.
    r : array, shape (n,), optional
        Last row, whose first entry is not looked at; zeros if not given.

    Returns
    -------
    array, shape (m, n)
        The matrix.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> funcad.grad(lambda c: np.sum(linalg.hankel(c)))(np.array([1.0, 2.0, 3.0]))
    array([1., 2., 3.])
    """
    c = as_operand(c, r)
    r = np.zeros_like(c) if r is None else as_operand(r, c)
    if not shape_of(c) or not shape_of(r):
        raise ValueError("hankel: a number was given; pass vectors")
    c, r = np.ravel(c), np.ravel(r)
    positions = np.arange(c.shape[-1])[:, None] + np.arange(r.shape[-1])
    return _entries(_joined(c, r[1:]), positions)


@_plainly
def khatri_rao(a: Array, b: Array) -> Array:
    """Kronecker products of corresponding columns.

    Parameters
    ----------
    a : array, shape (..., n, k)
        The left-hand columns.
    b : array, shape (..., m, k)
        The right-hand columns.

    Returns
    -------
    array, shape (..., n * m, k)
        The products.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import linalg
    >>> product = lambda a: np.sum(linalg.khatri_rao(a, np.array([[2.0], [3.0]])))
    >>> funcad.grad(product)(np.ones((2, 1)))
    array([[5.],
           [5.]])
    """
    a, b = as_operands(a, b)
    x, y = shape_of(a), shape_of(b)
    if len(x) < 2 or len(y) < 2:
        raise ValueError("The both arrays should be 2-dimensional.")
    if x[-1] != y[-1]:
        raise ValueError(
            f"khatri_rao: shapes {x} and {y} do not fit: the number of columns differs"
        )
    a = reshape(a, shape=(*x[:-1], 1, x[-1]))
    b = reshape(b, shape=(*y[:-2], 1, *y[-2:]))
    out = multiply(a, b)
    return reshape(out, shape=(*out.shape[:-3], x[-2] * y[-2], x[-1]))
