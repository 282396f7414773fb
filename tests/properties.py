"""How properties are run, and the numbers that derivatives are compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from funcad.backends import backend_of
from funcad.core.tracing import dtype_of

RTOL, ATOL = 1e-5, 1e-6
"""Tolerance of comparisons with finite differences of functions of order one."""


def generators() -> st.SearchStrategy[np.random.Generator]:
    """Random generators, for values that need not shrink."""
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


def for_all(
    *strategies: st.SearchStrategy[Any], share: float = 1.0
) -> Callable[[Callable[..., None]], None]:
    """Check a property at once, on a share of the examples that the profile asks for.

    A decorator: the function under it takes a value of each strategy.
    """

    def run(check: Callable[..., None]) -> None:
        count = max(1, round(share * settings.default.max_examples))
        settings(max_examples=count, database=None)(given(*strategies)(check))()

    return run


def as_tuple(out: Any) -> tuple[Any, ...]:
    """Results of a function that returns one or several."""
    return tuple(out) if isinstance(out, (tuple, list)) else (out,)


def host(x: Any) -> np.ndarray:
    """A copy of any library's array as NumPy's."""
    return np.asarray(backend_of(x).to_host(x))


def placed(library: Any, values: Any) -> list[Any]:
    """Host values in a library's memory; Python's numbers stay what they are."""
    return [
        v if type(v) in (bool, int, float, complex) else library.from_host(v)
        for v in values
    ]


def assert_close(got: Any, want: Any, rtol: float = RTOL, atol: float = ATOL) -> None:
    """Same shape, and entries that agree."""
    got, want = host(got), host(want)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


def direction(rng: np.random.Generator, x: Any) -> Any:
    """A tangent or cotangent for ``x``, a host value."""
    t = rng.uniform(-1, 1, np.shape(x))
    if dtype_of(x).kind == "c":
        t = t + 1j * rng.uniform(-1, 1, np.shape(x))
    if type(x) in (float, complex):
        return type(x)(t[()])
    t = np.asarray(t, dtype_of(x))
    return t[()] if isinstance(x, np.generic) else t


def central_difference(
    f: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    step: float = 1e-5,
) -> tuple[Any, ...]:
    """Derivative of ``f`` along ``tangents`` by a central difference.

    Primals are host values in double precision; ``f`` may return any library's arrays.
    """

    def at(s: float) -> list[np.ndarray]:
        moved = [x + s * t for x, t in zip(primals, tangents, strict=True)]
        return [host(y) for y in as_tuple(f(*moved))]

    return tuple(
        (above - below) / (2 * step)
        for above, below in zip(at(step), at(-step), strict=True)
    )


def complex_step(
    f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]
) -> tuple[Any, ...]:
    """Derivative of an analytic function of real arrays, exact to rounding.

    Squire and Trapp, "Using complex variables to estimate derivatives of real
    functions" (1998): f'(x) = Im f(x + ih) / h, which subtracts nothing.
    """
    step = 1e-30
    moved = [x + 1j * step * t for x, t in zip(primals, tangents, strict=True)]
    return tuple(np.imag(y) / step for y in as_tuple(f(*moved)))


def pairing(cotangents: Any, tangents: Any) -> float:
    """The real pairing of cotangents with tangents, Re sum(ct * t)."""
    pairs = zip(as_tuple(cotangents), as_tuple(tangents), strict=True)
    return float(sum(np.sum((host(c) * host(t)).real) for c, t in pairs))
