"""Array libraries: how an array is recognised, and what a library is missing.

NumPy's protocols carry most operations to the library of the array at hand: calling
``np.tanh`` on a CuPy array runs CuPy's.  A :class:`Backend` holds what is left: the
namespace to make new arrays in, the way to and from the host, and the few operations
that the libraries spell differently.
"""

from __future__ import annotations

from typing import Any

from funcad.backends.base import Backend
from funcad.backends.numpy import NumpyBackend

__all__ = [
    "Backend",
    "backend_called",
    "backend_of",
    "backend_of_type",
    "namespace",
    "register_backend",
]

_numpy = NumpyBackend()
_by_type: dict[type, Backend] = {}
_by_name: dict[str, Backend] = {_numpy.name: _numpy}


def register_backend(array_type: type, backend: Backend) -> None:
    """Declare that arrays of this exact type belong to ``backend``."""
    _by_type[array_type] = backend
    _by_name[backend.name] = backend


def backend_of_type(array_type: type) -> Backend:
    """Backend of an array type; NumPy's for whatever is not registered."""
    backend = _by_type.get(array_type)
    if backend is None:
        if array_type.__module__.partition(".")[0] == "cupy":
            backend = backend_called("cupy")
        else:
            backend = _numpy
        _by_type[array_type] = backend
    return backend


def backend_called(name: str) -> Backend:
    """The backend of that name; importing CuPy if it is CuPy's."""
    if name == "cupy" and name not in _by_name:
        from funcad.backends.cupy import CupyBackend

        _by_name[name] = CupyBackend()
    return _by_name[name]


def backend_of(*values: Any) -> Backend:
    """Backend of the arrays among ``values``, looking through tracers.

    NumPy scalars and Python numbers belong nowhere and follow the other operands.
    """
    for value in values:
        backend = backend_of_type(getattr(value, "array_type", type(value)))
        if backend is not _numpy:
            return backend
    return _numpy


def namespace(*values: Any) -> Any:
    """Array module (``numpy`` or ``cupy``) of arrays that are to meet ``values``."""
    return backend_of(*values).namespace
