"""``numpy.linalg`` on arrays and tracers alike: NumPy's own functions."""

from __future__ import annotations

from typing import Any

import numpy as _np

from funcad.numpy import matrices as _matrices  # noqa: F401


def __getattr__(name: str) -> Any:
    value = getattr(_np.linalg, name)
    globals()[name] = value  # found at once the next time
    return value


def __dir__() -> list[str]:
    return _np.linalg.__all__
