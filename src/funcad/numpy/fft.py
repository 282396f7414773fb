"""``numpy.fft`` on arrays and tracers alike: NumPy's own functions."""

from __future__ import annotations

from typing import Any

import numpy as _np

from funcad.numpy import fourier as _fourier  # noqa: F401


def fftfreq(n: int, d: Any = 1.0, device: Any = None, *, dtype: Any = None) -> Any:
    """``numpy.fft.fftfreq``, in another dtype if the Array API's ``dtype`` is given."""
    out = _np.fft.fftfreq(n, d, device)
    return out if dtype is None else _np.astype(out, dtype)


def rfftfreq(n: int, d: Any = 1.0, device: Any = None, *, dtype: Any = None) -> Any:
    """``numpy.fft.rfftfreq``, in another dtype if one is given, as for fftfreq."""
    out = _np.fft.rfftfreq(n, d, device)
    return out if dtype is None else _np.astype(out, dtype)


def __getattr__(name: str) -> Any:
    value = getattr(_np.fft, name)
    globals()[name] = value  # found at once the next time
    return value


def __dir__() -> list[str]:
    return _np.fft.__all__
