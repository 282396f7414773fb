"""NumPy's names, on arrays and on tracers alike.

``import funcad.numpy as fnp`` is for code that prefers not to import NumPy; the
functions are NumPy's own, which find funcad by NumPy's protocols when they are given a
tracer.  What NumPy's protocols do not reach is here: :func:`array` and
:func:`asarray` of tracers, :func:`take` from a plain array at traced positions, and
:class:`at` for updates.
``dir(funcad.numpy)`` lists what can be traced.
"""

from __future__ import annotations

from typing import Any

import numpy as _np

from funcad.core.tracing import Tracer as _Tracer
from funcad.numpy import elementwise as _elementwise  # noqa: F401
from funcad.numpy import fft as fft
from funcad.numpy import linalg as linalg
from funcad.numpy import operators as _operators  # noqa: F401
from funcad.numpy.dispatch import FUNCTIONS as _FUNCTIONS
from funcad.numpy.dispatch import PRIMITIVES as _PRIMITIVES
from funcad.numpy.dispatch import as_operand as _as_operand
from funcad.numpy.indexing import at
from funcad.primitives.shape import convert as _convert

__all__ = ["array", "asarray", "at", "take"]


def asarray(a: Any, dtype: Any = None) -> Any:
    """An array or tracer of what is given; lists may hold tracers.

    Parameters
    ----------
    a : array, tracer, number or nested list of these
        What to convert.
    dtype : dtype, optional
        Dtype of the result.

    Returns
    -------
    array
        Unchanged if it is an array already.

    Examples
    --------
    >>> import funcad
    >>> import funcad.numpy as fnp
    >>> funcad.grad(lambda x: fnp.sum(fnp.asarray([x, x**2])))(3.0).item()
    7.0
    """
    a = _as_operand(a)
    if not isinstance(a, _Tracer):
        return (
            a.astype(dtype or a.dtype, copy=False)
            if hasattr(a, "dtype")
            else (_np.asarray(a, dtype))
        )
    return a if dtype is None else _convert(a, dtype=_np.dtype(dtype))


def array(object: Any, dtype: Any = None) -> Any:
    """Like :func:`asarray`; a plain array is copied.

    Parameters
    ----------
    object : array, tracer, number or nested list of these
        What to convert.
    dtype : dtype, optional
        Dtype of the result.

    Returns
    -------
    array
        A new array, or a tracer.
    """
    a = asarray(object, dtype)
    return a if isinstance(a, _Tracer) else a.copy()


def take(a: Any, indices: Any, axis: int | None = None, mode: str = "raise") -> Any:
    """Entries of an array at positions, either of which may be traced.

    NumPy's own function finds funcad only where the array is traced.

    Parameters
    ----------
    a : array
        Where to take from.
    indices : array of integers
        Positions along ``axis``.
    axis : int, optional
        The axis; the raveled array without it.
    mode : {"raise", "wrap", "clip"}, optional
        What becomes of positions outside of the axis.

    Returns
    -------
    array
        Of the shape of ``a`` with ``axis`` replaced by the shape of ``indices``.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> import funcad.numpy as fnp
    >>> table = np.array([10.0, 20.0, 30.0])
    >>> funcad.vmap(lambda i: fnp.take(table, i))(np.array([2, 0]))
    array([30., 10.])
    """
    a, indices = _as_operand(a, indices), _as_operand(indices, a)
    return _FUNCTIONS[_np.take](a, indices, axis, mode=mode)


def __getattr__(name: str) -> Any:
    return getattr(_np, name)


def __dir__() -> list[str]:
    names = {f.__name__: f for f in [*_FUNCTIONS, *_PRIMITIVES]}
    traced = [name for name, f in names.items() if getattr(_np, name, None) is f]
    return sorted([*traced, *__all__])
