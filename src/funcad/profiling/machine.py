"""What the machine can do, measured: the two peaks that operations are judged by."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from funcad.backends import backend_of_type


class Peaks(NamedTuple):
    """Rates that hardly an operation exceeds."""

    flops: float
    """Floating-point operations a second of a product of large matrices."""
    bytes: float
    """Bytes a second, read and written, of the copy of a large array."""


@functools.lru_cache(maxsize=64)
def peaks(array_type: type, dtype: Any) -> Peaks:
    """Peaks of the machine where arrays of this type are; measured once, quickly.

    Parameters
    ----------
    array_type : type
        Class of arrays, which says where they are.
    dtype : dtype
        Of the matrices: floating-point numbers, or complex ones.

    Returns
    -------
    Peaks
    """
    backend = backend_of_type(array_type)
    xp = backend.namespace
    # what keeps two cores busy for milliseconds is nothing to a GPU
    n, size = (512, 2**25) if backend.name == "numpy" else (4096, 2**29)
    matrix = xp.ones((n, n), dtype)
    source = xp.zeros(size, np.uint8)

    def seconds(call: Callable[[], Any]) -> float:
        taken = []
        for _ in range(4):
            start = time.perf_counter()
            call()
            backend.synchronize()
            taken.append(time.perf_counter() - start)
        return min(taken)

    multiply_adds = n**3 * (4 if np.dtype(dtype).kind == "c" else 1)
    return Peaks(
        flops=2 * multiply_adds / seconds(lambda: matrix @ matrix),
        bytes=2 * size / seconds(source.copy),
    )
