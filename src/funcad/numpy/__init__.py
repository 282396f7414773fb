"""NumPy's names, on arrays and on tracers alike: an Array API namespace.

``import funcad.numpy as fnp`` is for code that prefers not to import NumPy; the
functions are NumPy's own, which find funcad by NumPy's protocols when they are given a
tracer.  What NumPy's protocols do not reach is here: :func:`array`, :func:`asarray`
and :func:`full` of tracers, functions of a plain array with a traced second argument
such as ``take``, :class:`at` for updates, and :func:`put_along_axis` that returns a new
array.
``dir(funcad.numpy)`` lists what can be traced.

Tracers answer ``__array_namespace__`` with this module, so that code written for the
Array API standard, version 2024.12, runs on them.
"""

from __future__ import annotations

import functools as _functools
import importlib as _importlib
from typing import Any

import numpy as _np

from funcad.core.tracing import Tracer as _Tracer
from funcad.numpy import elementwise as _elementwise  # noqa: F401
from funcad.numpy import joining as _joining  # noqa: F401
from funcad.numpy import operators as _operators  # noqa: F401
from funcad.numpy.creation import array, asarray, full
from funcad.numpy.dispatch import FUNCTIONS as _FUNCTIONS
from funcad.numpy.dispatch import LATE as _LATE
from funcad.numpy.dispatch import PRIMITIVES as _PRIMITIVES
from funcad.numpy.dispatch import call_function as _call_function
from funcad.numpy.indexing import at, put_along_axis

__all__ = [
    "argsort",
    "array",
    "asanyarray",
    "asarray",
    "ascontiguousarray",
    "asfortranarray",
    "at",
    "finfo",
    "full",
    "full_like",
    "iinfo",
    "kaiser",
    "pad",
    "put_along_axis",
    "repeat",
    "roll",
    "sort",
    "take",
]

__array_api_version__ = "2024.12"

# Imported when a function of theirs is first called on a tracer.
_ON_DEMAND = [
    f"funcad.numpy.{name}"
    for name in ("statistics", "matrices", "signals", "padding", "fourier")
]
_LATE.extend(_ON_DEMAND)


def _looking_further(name: str) -> Any:
    """NumPy's function, which looks for tracers in its first argument only."""
    function = getattr(_np, name)

    @_functools.wraps(function)
    def looking_further(*args: Any, **kwargs: Any) -> Any:
        for x in args:
            if type(x) not in _PLAIN:
                break
        else:
            if not kwargs:
                return function(*args)
        tracer = _tracer_among((*args, *kwargs.values()))
        if tracer is None:
            return function(*args, **kwargs)
        return _call_function(tracer, function, (), args, kwargs)

    looking_further.__doc__ = f"``numpy.{name}``, any argument of which may be traced."
    return looking_further


_PLAIN = frozenset((_np.ndarray, int, float, type(None), str))
"""Types of the commonest arguments, in which there is no tracer."""


def _tracer_among(values: Any) -> _Tracer | None:
    for x in values:
        if isinstance(x, (list, tuple)):
            x = _tracer_among(x)
        if isinstance(x, _Tracer):
            return x
    return None


def _leaving_tracers(name: str) -> Any:
    """NumPy's function of an array's memory, of which a tracer has none."""
    function = getattr(_np, name)
    least = 1 if "contiguous" in name or "fortran" in name else 0

    @_functools.wraps(function)
    def leaving_tracers(a: Any, dtype: Any = None, *args: Any, **kwargs: Any) -> Any:
        if _tracer_among((a,)) is None:
            return function(a, dtype, *args, **kwargs)
        return array(a, dtype, ndmin=least)

    leaving_tracers.__doc__ = f"``numpy.{name}``; traced arrays stay as they are."
    return leaving_tracers


asanyarray = _leaving_tracers("asanyarray")
ascontiguousarray = _leaving_tracers("ascontiguousarray")
asfortranarray = _leaving_tracers("asfortranarray")
full_like = _looking_further("full_like")
pad = _looking_further("pad")
repeat = _looking_further("repeat")
roll = _looking_further("roll")
take = _looking_further("take")


# What the Array API standard asks of these beyond NumPy's own arguments.


def sort(
    a: Any,
    axis: int | None = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: Any = None,
    descending: bool = False,
) -> Any:
    """``numpy.sort``, or with ``descending=True`` the greatest entries first."""
    out = _np.sort(a, axis, kind, order, stable=stable)
    return _np.flip(out, -1 if axis is None else axis) if descending else out


def argsort(
    a: Any,
    axis: int | None = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: Any = None,
    descending: bool = False,
) -> Any:
    """``numpy.argsort``, or with ``descending=True`` of the greatest entries first."""
    if not descending:
        return _np.argsort(a, axis, kind, order, stable=stable)
    if axis is None:
        a, axis = _np.ravel(a), -1
    # counted from the end, so that a stable order of equal entries is kept
    places = _np.argsort(_np.flip(a, axis), axis, kind, order, stable=stable)
    return _np.shape(a)[axis] - 1 - _np.flip(places, axis)


def finfo(dtype: Any) -> Any:
    """``numpy.finfo`` of a dtype, or of that of an array or tracer."""
    return _np.finfo(_dtype_of(dtype))


def iinfo(dtype: Any) -> Any:
    """``numpy.iinfo`` of a dtype, or of that of an array or tracer."""
    return _np.iinfo(_dtype_of(dtype))


def _dtype_of(x: Any) -> Any:
    return x if isinstance(x, type) else getattr(x, "dtype", x)


def __getattr__(name: str) -> Any:
    if name in ("fft", "linalg"):
        return _importlib.import_module(f"funcad.numpy.{name}")
    if name == "kaiser":
        value = _importlib.import_module("funcad.numpy.signals").kaiser
    else:
        try:
            value = getattr(_np, name)
        except AttributeError:
            raise AttributeError(
                f"neither funcad.numpy nor numpy has an attribute {name!r}"
            ) from None
    # found at once the next time
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    for module in _ON_DEMAND:
        _importlib.import_module(module)
    functions: list[Any] = [*_FUNCTIONS, *_PRIMITIVES]
    names = {str(f.__name__): f for f in functions}
    traced = [name for name, f in names.items() if getattr(_np, name, None) is f]
    return sorted({*traced, *__all__})
