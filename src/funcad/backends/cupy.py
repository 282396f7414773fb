"""CuPy as a backend: arrays in a GPU's memory.  Imported only where CuPy is in use."""

from __future__ import annotations

from typing import Any

import cupy
import cupyx

from funcad.backends.base import Backend


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

    def from_host(self, x: Any) -> Any:
        return cupy.asarray(x)

    def to_host(self, x: Any) -> Any:
        return cupy.asnumpy(x)

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
