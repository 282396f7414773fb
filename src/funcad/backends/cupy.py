"""CuPy as a backend: arrays in a GPU's memory.  Imported only where CuPy is in use."""

from __future__ import annotations

import warnings
from typing import Any

import cupy
import cupyx
import numpy as np

from funcad.backends.base import Backend
from funcad.backends.elimination import factorise, flat, substitute


class CupyBackend(Backend):
    """Arrays in a GPU's memory."""

    name = "cupy"
    namespace = cupy

    @property
    def special(self) -> Any:
        import cupyx.scipy.special

        return cupyx.scipy.special

    @property
    def linalg(self) -> Any:
        import cupyx.scipy.linalg

        return cupyx.scipy.linalg

    @property
    def sparse_linalg(self) -> Any:
        import cupyx.scipy.sparse.linalg

        return cupyx.scipy.sparse.linalg

    def from_host(self, x: Any) -> Any:
        return cupy.asarray(x)

    def to_host(self, x: Any) -> Any:
        return cupy.asnumpy(x)

    def synchronize(self) -> None:
        cupy.cuda.get_current_stream().synchronize()

    def add_at(self, x: Any, index: tuple[Any, ...], updates: Any) -> None:
        if x.dtype.kind == "c":  # of which x.real and x.imag are views
            self.add_at(x.real, index, updates.real)
            self.add_at(x.imag, index, updates.imag)
        elif x.dtype.kind == "f":
            cupyx.scatter_add(x, index, updates)
        else:  # CuPy adds few integer types; modulo 2^64 one of them stands for all
            total = x.astype(cupy.uint64)
            cupyx.scatter_add(total, index, updates.astype(cupy.uint64))
            x[...] = total.astype(x.dtype)

    def solve_triangular(self, a: Any, b: Any, lower: bool) -> Any:
        if b.size == 0:
            return cupy.zeros(b.shape, b.dtype)
        return self.linalg.solve_triangular(a, b, lower=lower)

    def lu_factor(self, a: Any) -> tuple[Any, Any]:
        *lead, rows, columns = a.shape
        lu = cupy.empty(a.shape, a.dtype)
        pivots = cupy.empty((*lead, min(rows, columns)), cupy.int32)
        if _more_matrices_than_rows(a):
            factors, exchanged = factorise(cupy, a.reshape(-1, rows, columns))
            return factors.reshape(lu.shape), exchanged.reshape(pivots.shape)
        if a.size:
            with warnings.catch_warnings():  # a pivot that is zero is no error yet
                warnings.simplefilter("ignore", RuntimeWarning)
                for i in np.ndindex(*lead):
                    lu[i], pivots[i] = self.linalg.lu_factor(a[i], check_finite=False)
        return lu, pivots

    def lu_solve(self, lu: Any, pivots: Any, b: Any, transposed: bool) -> Any:
        out = cupy.zeros(b.shape, b.dtype)
        if b.size and _more_matrices_than_rows(lu):
            return substitute(cupy, *flat(lu, pivots, b), transposed).reshape(b.shape)
        if b.size:
            for i in np.ndindex(b.shape[:-2]):
                out[i] = self.linalg.lu_solve(
                    (lu[i], pivots[i]), b[i], trans=int(transposed), check_finite=False
                )
        return out


def _more_matrices_than_rows(a: Any) -> bool:
    """Whether steps in all matrices together are fewer calls than matrices."""
    rows = a.shape[-2]
    return bool(a.size) and a.size > rows * rows * a.shape[-1]
