"""``funcad.numpy`` in which every array is a tracer, for the conformance suite.

``ARRAY_API_TESTS_MODULE=array_api_traced`` makes array-api-tests create its arrays
here: they are tracers of a trace that does nothing and never ends, so that each
function of the suite runs funcad's implementation instead of NumPy's.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import funcad.numpy as fnp
from funcad.core.tracing import Trace, Tracer, bind, dtype_of, shape_of


class Known(Tracer):
    """An array, known and of any dtype."""

    __slots__ = ("value",)

    def __init__(self, trace: Trace, value: Any) -> None:
        self._trace = trace
        self.value = value

    shape = property(lambda self: shape_of(self.value))
    dtype = property(lambda self: dtype_of(self.value))
    array_type = property(lambda self: np.ndarray)

    def concrete(self, purpose: str) -> Any:
        return self.value

    # the suite looks at values, and has no derivatives to lose
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self.value, dtype)

    def __float__(self) -> float:
        return float(self.value)

    def __complex__(self) -> complex:
        return complex(self.value)

    def __repr__(self) -> str:
        return f"Known({self.value!r})"

    def __array_namespace__(self, *, api_version: Any = None) -> Any:
        super().__array_namespace__(api_version=api_version)
        import array_api_traced

        return array_api_traced


class KnownTrace(Trace):
    """Computes with what is known, and wraps all that comes out."""

    def process(self, primitive: Any, args: Any, params: Any) -> Any:
        out = bind(primitive, [plain(x) for x in args], params)
        return tuple(map(traced, out)) if primitive.multiple else traced(out)


TRACE = KnownTrace()


def plain(x: Any) -> Any:
    return x.value if isinstance(x, Known) else x


def traced(x: Any) -> Any:
    """A result with tracers for its arrays."""
    if isinstance(x, (np.ndarray, np.generic)):
        return Known(TRACE, x)
    if isinstance(x, (tuple, list)):
        parts = map(traced, x)
        return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
    return x


def _making(function: Any) -> Any:
    @functools.wraps(function)
    def make(*args: Any, **kwargs: Any) -> Any:
        return traced(function(*args, **kwargs))

    return make


class _Extension:
    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return _making(getattr(self._module, name))

    def __dir__(self) -> Any:
        return dir(self._module)


linalg = _Extension(fnp.linalg)
fft = _Extension(fnp.fft)
__array_api_version__ = fnp.__array_api_version__


def __getattr__(name: str) -> Any:
    value = getattr(fnp, name)
    plainly = isinstance(value, type) or not callable(value)
    return value if plainly or name.startswith("__") else _making(value)
