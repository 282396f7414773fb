"""``numpy.fft`` on arrays and tracers alike: NumPy's own functions."""

from __future__ import annotations

from typing import Any

import numpy as _np


def __getattr__(name: str) -> Any:
    return getattr(_np.fft, name)


def __dir__() -> list[str]:
    return _np.fft.__all__
