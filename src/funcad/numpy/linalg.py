"""``numpy.linalg`` on arrays and tracers alike: NumPy's own functions."""

from __future__ import annotations

from typing import Any

import numpy as _np

from funcad.numpy import matrices as _matrices  # noqa: F401


def __getattr__(name: str) -> Any:
    return getattr(_np.linalg, name)


def __dir__() -> list[str]:
    return _np.linalg.__all__
