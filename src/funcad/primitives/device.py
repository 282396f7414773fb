"""Moving arrays between host and device, which happens nowhere else."""

from __future__ import annotations

from typing import Any

from funcad.backends import backend_called, backend_of
from funcad.core.tracing import Array, dtype_of, shape_of
from funcad.primitives.families import linear


def _move(x: Array, target: str, source: str) -> Array:
    here, there = backend_of(x), backend_called(target)
    if here is there:
        return x
    return there.from_host(here.to_host(x))


move = linear(
    "move",
    _move,
    lambda x, target, source: (shape_of(x), dtype_of(x)),
    transpose=lambda ct, x, target, source: move(ct, target=source, source=target),
    batch=lambda values, axes, **params: (move(values[0], **params), axes[0]),
)


def moved(x: Any, target: str) -> Array:
    """``x`` in the memory of the backend called ``target``."""
    return move(x, target=target, source=backend_of(x).name)
