"""NumPy as a backend: arrays in the host's memory."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from funcad.backends.base import Backend
from funcad.backends.elimination import factorise, flat, substitute


class NumpyBackend(Backend):
    """Arrays in the host's memory; SciPy is imported where it is first needed."""

    name = "numpy"
    namespace = np

    @property
    def special(self) -> Any:
        import scipy.special

        return scipy.special

    @property
    def linalg(self) -> Any:
        import scipy.linalg

        return scipy.linalg

    @property
    def sparse_linalg(self) -> Any:
        import scipy.sparse.linalg

        return scipy.sparse.linalg

    def linear_operator(
        self, shape: tuple[int, int], dtype: Any, **products: Any
    ) -> Any:
        return _operator_class()(shape, dtype, **products)

    def from_host(self, x: Any) -> Any:
        return x

    def to_host(self, x: Any) -> Any:
        return x

    def add_at(self, x: Any, index: tuple[Any, ...], updates: Any) -> None:
        if updates.size < 512 or x.dtype.kind not in "fc" or x.dtype.char == "e":
            np.add.at(x, index, updates)
        else:
            add_rows(x, index, updates)

    def solve_triangular(self, a: Any, b: Any, lower: bool) -> Any:
        solve_triangular = self.linalg.solve_triangular
        out = np.empty(b.shape, b.dtype)
        for i in np.ndindex(b.shape[:-2]):
            out[i] = solve_triangular(a[i], b[i], lower=lower, check_finite=False)
        return out

    def lu_factor(self, a: Any) -> tuple[Any, Any]:
        *lead, rows, columns = a.shape
        pivots = np.empty((*lead, min(rows, columns)), np.int32)
        if a.size == 0:
            return a.copy(), pivots
        getrf = lapack("getrf", a.dtype)
        if not lead:
            return getrf(a)[:2]
        if _many_small(a):
            return tuple(  # type: ignore[return-value]
                x.reshape(*lead, *x.shape[1:])
                for x in factorise(np, a.reshape(-1, rows, columns))
            )
        # each matrix in the order that LAPACK reads without a copy
        lu = np.empty((*lead, columns, rows), a.dtype).swapaxes(-1, -2)
        for i in np.ndindex(*lead):
            lu[i], pivots[i], _ = getrf(a[i])
        return lu, pivots

    def lu_solve(self, lu: Any, pivots: Any, b: Any, transposed: bool) -> Any:
        if b.size == 0:
            return np.zeros(b.shape, b.dtype)
        getrs = lapack("getrs", b.dtype)
        if b.ndim == 2:
            return getrs(lu, pivots, b, trans=int(transposed))[0]
        if _many_small(lu) and b.shape[-1] <= SMALL:
            return substitute(np, *flat(lu, pivots, b), transposed).reshape(b.shape)
        out = np.empty(b.shape, b.dtype)
        for i in np.ndindex(b.shape[:-2]):
            out[i] = getrs(lu[i], pivots[i], b[i], trans=int(transposed))[0]
        return out

    def solve_sylvester(self, a: Any, b: Any, q: Any) -> Any:
        out = np.zeros(q.shape, q.dtype)
        if q.size:
            for i in np.ndindex(q.shape[:-2]):
                out[i] = sylvester(a[i], b[i], q[i])
        return out


def sylvester(a: Any, b: Any, q: Any) -> Any:
    """Solve ``a @ x + x @ b = q``, and say so where there is no one solution.

    By Bartels and Stewart, "Solution of the matrix equation AX + XB = C" (1972);
    SciPy's function does the same, and keeps LAPACK's warning to itself.
    """
    from scipy.linalg import schur

    r, u = schur(a, output="real", check_finite=False)
    s, v = schur(b.conj().T, output="real", check_finite=False)
    y, scale, info = lapack("trsyl", q.dtype)(r, s, u.conj().T @ q @ v, tranb="C")
    if info:
        raise np.linalg.LinAlgError(
            "solve_sylvester: a and -b have an eigenvalue in common, so that a x + x b "
            "= q has no single solution (the derivative of sqrtm at a singular matrix "
            "ends here)."
        )
    return u @ (scale * y) @ v.conj().T


SMALL = 8
"""Sides of matrices in which steps taken together are faster than calls of LAPACK."""


def _many_small(a: Any) -> bool:
    rows, columns = a.shape[-2:]
    return max(rows, columns) <= SMALL and a.size >= 32 * rows * columns  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=256)
def lapack(name: str, dtype: Any) -> Any:
    """LAPACK's routine for matrices of this dtype."""
    from scipy.linalg import get_lapack_funcs

    return get_lapack_funcs(name, dtype=dtype)


def add_rows(x: Any, index: tuple[Any, ...], updates: Any) -> None:
    """``x[index] += updates`` for index arrays of the leading axes, repeats adding up.

    A sparse matrix with a one for each (row, update) pair times the updates is many
    times as fast as ``np.add.at``, which handles one element at a time.
    """
    from scipy.sparse import csr_array

    lead, rest = x.shape[: len(index)], x.shape[len(index) :]
    count, width = updates.size // math.prod(rest), math.prod(rest)
    wrapped = [np.where(i < 0, i + n, i) for i, n in zip(index, lead, strict=True)]
    rows = np.ravel_multi_index(np.broadcast_arrays(*wrapped), lead).ravel()
    pick = csr_array(
        (np.ones(count, x.dtype), (rows, np.arange(count))),
        shape=(math.prod(lead), count),
    )
    x += (pick @ updates.reshape(count, width)).reshape(x.shape)


@functools.cache
def _operator_class() -> Any:
    """SciPy's ``LinearOperator``, with which ``np.dot`` takes products, too.

    That is how the trust-region methods of ``scipy.optimize.minimize`` multiply by the
    Hessian that they are given.  ``lsmr`` and others ask for the dtype in this way.
    """
    from scipy.sparse.linalg import LinearOperator

    class DerivativeOperator(LinearOperator):
        def __init__(self, shape: tuple[int, int], dtype: Any, **products: Any) -> None:
            super().__init__(dtype, shape)
            self._products = products

        def _matvec(self, v: Any) -> Any:
            return self._products["matvec"](v)

        def _rmatvec(self, v: Any) -> Any:
            return self._products["rmatvec"](v)

        def _matmat(self, v: Any) -> Any:
            return self._products["matmat"](v)

        def _rmatmat(self, v: Any) -> Any:
            return self._products["rmatmat"](v)

        def __array_function__(
            self, function: Any, types: Any, args: Any, kwargs: Any
        ) -> Any:
            if function is np.dot and args[0] is self:
                return self.dot(*args[1:], **kwargs)
            if function in (np.result_type, np.common_type):
                of_dtype = [
                    np.empty(0, x.dtype) if isinstance(x, LinearOperator) else x
                    for x in args
                ]
                return function(*of_dtype)
            return NotImplemented

    return DerivativeOperator
