"""Discrete Fourier transforms.

==========  ==========================================  ===========================
primitive   meaning                                     transpose
==========  ==========================================  ===========================
``fft``     over axes, forwards or (``inverse``) back   itself: its matrix is symmetric
``rfft``    of real entries, half of the spectrum       ``irfft`` of weighted entries
``irfft``   real entries from half a spectrum           ``rfft``, weighted
==========  ==========================================  ===========================

``norm`` is "backward", "ortho" or "forward", as in NumPy.  No axis of a transform may
have size zero; the other axes may.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from funcad.backends import backend_of, namespace
from funcad.core.counting import Rule
from funcad.core.tracing import Array, dtype_of
from funcad.primitives.elementwise import conjugate
from funcad.primitives.families import linear
from funcad.primitives.shape import Shape, batch_first, sum_to

SWAPPED = {"backward": "forward", "ortho": "ortho", "forward": "backward"}
"""The norm by which the inverse transform has this one's factor."""


def _spectral(dtype: Any) -> Any:
    return np.result_type(dtype, 1j)


def _real(dtype: Any) -> Any:
    return np.result_type(np.empty(0, dtype).real.dtype, 1.0)


def _resized(shape: Shape, axis: int, n: int) -> Shape:
    return (*shape[:axis], n, *shape[axis + 1 :])


def _flops(half: float) -> Rule:
    """5 n log2 n for n complex numbers (Cooley and Tukey 1965), half for real ones."""

    def flops(inputs: Any, outputs: Any, params: Any) -> float:
        wide = max(inputs[0], outputs[0], key=lambda v: math.prod(v.shape))
        axes = params.get("axes", (params.get("axis"),))
        n = math.prod([wide.shape[a] for a in axes])
        return half * 5 * math.prod(wide.shape) * math.log2(max(n, 1))

    return flops


# -------------------------------------------------------------------------- complex


def _fft(x: Array, axes: Shape, inverse: bool, norm: str) -> Array:
    xp = namespace(x)
    if not x.size:
        return xp.zeros(x.shape, _spectral(x.dtype))
    transform = xp.fft.ifftn if inverse else xp.fft.fftn
    return transform(x, axes=axes, norm=norm)


def _fft_batch(values: Any, axes: Any, /, **params: Any) -> tuple[Array, int]:
    x = batch_first(values[0], axes[0])
    params["axes"] = tuple([a + 1 for a in params["axes"]])
    return fft(x, **params), 0


fft = linear(
    "fft",
    _fft,
    lambda x, axes, inverse, norm: (x.shape, _spectral(x.dtype)),
    transpose=lambda ct, x, **params: sum_to(fft(ct, **params), x),
    batch=_fft_batch,
    flops=_flops(1),
)
fft.definition = """
def fft(x, axes, inverse, norm):
    transform = np.fft.ifftn if inverse else np.fft.fftn
    return transform(x, axes=axes, norm=norm)
"""

# ----------------------------------------------------------------------------- real


def _rfft_abstract(x: Any, axis: int, norm: str) -> tuple[Shape, Any]:
    n = x.shape[axis] // 2 + 1
    return _resized(x.shape, axis, n), _spectral(x.dtype)


def _rfft(x: Array, axis: int, norm: str) -> Array:
    xp = namespace(x)
    if not x.size:
        return xp.zeros(*_rfft_abstract(x, axis, norm))
    return xp.fft.rfft(x, axis=axis, norm=norm)


def _weights(like: Array, axis: int, n: int, inner: float) -> Array:
    """Factors of the half spectrum of ``n`` real entries.

    Frequencies that have a mirror image, all but the first and, for even ``n``, the
    last, get ``inner``; the others get 1.
    """
    weights = np.full(n // 2 + 1, inner, np.finfo(dtype_of(like)).dtype)
    weights[0] = 1
    if n % 2 == 0:
        weights[-1] = 1
    shape = [1] * len(like.shape)
    shape[axis] = weights.size
    return backend_of(like).from_host(weights.reshape(shape))


def _rfft_transpose(ct: Array, x: Any, axis: int, norm: str) -> Array:
    """Re sum_k c_k w^(jk), where w = exp(-2 pi i / n), over half of the frequencies.

    ``irfft`` adds up the mirror images too, which are the conjugates: 2 Re where there
    is one.
    """
    n = x.shape[axis]
    halved = conjugate(ct) * _weights(ct, axis, n, 0.5)
    return sum_to(irfft(halved, axis=axis, n=n, norm=SWAPPED[norm]), x)


def _rfft_batch(values: Any, axes: Any, axis: int, norm: str) -> tuple[Array, int]:
    return rfft(batch_first(values[0], axes[0]), axis=axis + 1, norm=norm), 0


rfft = linear(
    "rfft",
    _rfft,
    _rfft_abstract,
    transpose=_rfft_transpose,
    batch=_rfft_batch,
    flops=_flops(0.5),
)
rfft.definition = """
def rfft(x, axis, norm):
    return np.fft.rfft(x, axis=axis, norm=norm)
"""


def _irfft_abstract(x: Any, axis: int, n: int, norm: str) -> tuple[Shape, Any]:
    return _resized(x.shape, axis, n), _real(x.dtype)


def _irfft(x: Array, axis: int, n: int, norm: str) -> Array:
    xp = namespace(x)
    shape, dtype = _irfft_abstract(x, axis, n, norm)
    if not x.size:
        return xp.zeros(shape, dtype)
    # CuPy gives float32 where NumPy gives float16
    return xp.fft.irfft(x, n, axis=axis, norm=norm).astype(dtype, copy=False)


def _irfft_transpose(ct: Array, x: Any, axis: int, n: int, norm: str) -> Array:
    spectrum = conjugate(rfft(ct, axis=axis, norm=SWAPPED[norm]))
    return sum_to(spectrum * _weights(spectrum, axis, n, 2.0), x)


def _irfft_batch(values: Any, axes: Any, /, **params: Any) -> tuple[Array, int]:
    params["axis"] += 1
    return irfft(batch_first(values[0], axes[0]), **params), 0


irfft = linear(
    "irfft",
    _irfft,
    _irfft_abstract,
    transpose=_irfft_transpose,
    batch=_irfft_batch,
    flops=_flops(0.5),
)
irfft.definition = """
def irfft(x, axis, n, norm):
    return np.fft.irfft(x, n=n, axis=axis, norm=norm)
"""
