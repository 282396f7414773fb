"""What rows of the sample table are made of: domains, calls, shapes, families."""

from __future__ import annotations

import functools
import importlib
import itertools
import math
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

import funcad

Shape = tuple[int, ...]
Generator = np.random.Generator

EVERY_DTYPE = "?bilefdFD"
"""Characters of the dtypes that samples are made of; a primitive may take fewer."""

DOUBLE = "dD"
"""Dtypes in which finite differences are accurate."""

HERE = "here"
"""Stands in parameters for the name of the array library that a test runs on."""


def import_every_module() -> None:
    """Import all of funcad, so that every primitive is registered."""
    for module in pkgutil.walk_packages(funcad.__path__, "funcad."):
        if module.name.startswith("funcad.examples") or "__main__" in module.name:
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            # a library that this machine has not, such as CuPy
            if (error.name or "funcad").partition(".")[0] == "funcad":
                raise


# --------------------------------------------------------------------------- domains


class Domain(NamedTuple):
    """Where the entries of an operand come from.

    Real numbers lie in one of the ``intervals``, integers among ``integers``, complex
    numbers have their real part in an interval.  ``kinds``, if given, are the only
    dtypes that the operand may have.
    """

    intervals: tuple[tuple[float, float], ...]
    integers: tuple[int, ...]
    kinds: str | None = None

    def draw(self, rng: Generator, shape: Shape, dtype: np.dtype) -> np.ndarray:
        if dtype.kind in "bui":
            return rng.choice(self.integers, shape).astype(dtype)
        low, high = np.array(self.intervals)[
            rng.integers(len(self.intervals), size=shape)
        ].T
        values = (low + (high - low) * rng.random(shape[::-1])).T
        if dtype.kind == "c":
            values = values + 0.5j * rng.uniform(-1, 1, shape)
        return values.astype(dtype)


class Distinct(NamedTuple):
    """Entries that are all different, for functions that depend on their order."""

    def draw(self, rng: Generator, shape: Shape, dtype: np.dtype) -> np.ndarray:
        if dtype.kind == "b":
            return rng.integers(0, 2, shape).astype(bool)
        if dtype.kind in "ui":
            return rng.integers(-3, 4, shape).astype(dtype)
        size = math.prod(shape)
        values = rng.permutation(size) + 0.5 * rng.random(size) - size / 2
        values = values.reshape(shape)
        if dtype.kind == "c":
            values = values + 1j * rng.uniform(-1, 1, shape)
        return (0.25 * values).astype(dtype)


class Below(NamedTuple):
    """Indices of an axis of ``n`` entries, from either end."""

    n: int

    def draw(self, rng: Generator, shape: Shape, dtype: np.dtype) -> np.ndarray:
        return rng.integers(-self.n, max(self.n, 1), shape).astype(dtype)


class Words(NamedTuple):
    """Words of random keys."""

    def draw(self, rng: Generator, shape: Shape, dtype: np.dtype) -> np.ndarray:
        return rng.integers(0, 2**63, shape).astype(dtype)


class Matrices(NamedTuple):
    """Well conditioned square matrices, made Hermitian and positive if asked."""

    positive: bool = False

    def direction(self, t: np.ndarray) -> np.ndarray:
        """The nearest direction that does not leave the domain."""
        return 0.5 * (t + np.swapaxes(t, -1, -2).conj()) if self.positive else t

    def draw(self, rng: Generator, shape: Shape, dtype: np.dtype) -> np.ndarray:
        n = shape[-1]
        if dtype.kind in "bui":
            x = (
                np.zeros(shape, dtype)
                if dtype.kind == "b"
                else rng.integers(0, 2, shape)
            )
            x = x + np.swapaxes(x, -1, -2) if self.positive else x
            return (x + (1 if dtype.kind == "b" else 2 * n + 1) * np.eye(n)).astype(
                dtype
            )
        x = 0.5 * rng.standard_normal(shape)
        if dtype.kind == "c":
            x = x + 0.5j * rng.standard_normal(shape)
        if self.positive:
            x = x @ np.swapaxes(x, -1, -2).conj() + np.eye(n)
        else:
            x = x + 2 * n * np.eye(n) * np.where(rng.random(n) < 0.3, -1, 1)
        return x.astype(dtype)


def fractions(low: float, high: float) -> tuple[tuple[float, float], ...]:
    """Intervals of numbers between -2 and 2 whose fractional part is in a range."""
    return tuple((k + low, k + high) for k in range(-2, 2))


REAL = Domain(((-2, 2),), (-3, -2, -1, 0, 1, 2, 3))
NONZERO = Domain(((-2, -0.4), (0.4, 2)), (-3, -2, -1, 1, 2, 3))
POSITIVE = Domain(((0.4, 2.5),), (1, 2, 3))
UNIT = Domain(((-0.8, 0.8),), (0,))
ABOVE_ONE = Domain(((1.3, 3),), (2, 3))
ABOVE_MINUS_ONE = Domain(((-0.7, 2),), (0, 1, 2))
SMALL = Domain(((-1.2, 1.2),), (-1, 0, 1))
NATURAL = Domain(((-2, 2),), (0, 1, 2, 3))
# real numbers of these two are never equal, nor integers, nor halves of odd ones
LEFT = Domain(fractions(0.1, 0.4), (-3, -2, -1, 0, 1, 2, 3))
RIGHT = Domain(fractions(0.6, 0.9), (-3, -2, -1, 0, 1, 2, 3))
# a number of the first is never a multiple of one of the second
DIVIDEND = Domain(fractions(0.35, 0.65), (-3, -2, -1, 0, 1, 2, 3))
DIVISOR = Domain(((-1.05, -1.01), (1.01, 1.05)), (-3, -2, -1, 1, 2, 3))
SHIFT = Domain(((0, 1),), (0, 1, 2, 3))
TRUTH = Domain(((0, 1),), (0, 1), kinds="?l")


# ----------------------------------------------------------------------------- calls


class Operand(NamedTuple):
    """Shape, dtype and domain of an operand; a Python type stands for its numbers."""

    shape: Shape
    dtype: Any
    domain: Any = REAL

    @property
    def is_number(self) -> bool:
        """Whether it is a Python number."""
        return isinstance(self.dtype, type)

    @property
    def is_inexact(self) -> bool:
        """Whether it can have a tangent."""
        return np.dtype(self.dtype).kind in "fc"

    def draw(self, rng: Generator) -> Any:
        """Values of the operand in host memory."""
        values = self.domain.draw(rng, self.shape, np.dtype(self.dtype))
        if self.is_number:
            return self.dtype(values[()].item())
        # results of NumPy's functions are scalars where arrays of no dimension might be
        return values[()] if self.shape == () and rng.random() < 0.5 else values

    def direction(self, rng: Generator) -> Any:
        """A tangent of the operand, or a cotangent."""
        t = rng.uniform(-1, 1, self.shape)
        if np.dtype(self.dtype).kind == "c":
            t = t + 1j * rng.uniform(-1, 1, self.shape)
        if hasattr(self.domain, "direction"):
            t = self.domain.direction(t)
        return self.dtype(t[()]) if self.is_number else t.astype(self.dtype)


class Call(NamedTuple):
    """A legal call of a primitive, but for the values of its operands."""

    operands: tuple[Operand, ...]
    params: dict[str, Any]

    def draw(self, rng: Generator) -> list[Any]:
        """Values of all operands."""
        return [operand.draw(rng) for operand in self.operands]


Calls = Callable[[str], st.SearchStrategy[Call]]


def every(n: int) -> list[Shape]:
    """Each of ``n`` operands by itself."""
    return [(i,) for i in range(n)]


def jointly(n: int) -> list[Shape]:
    """All ``n`` operands at once."""
    return [tuple(range(n))]


def first(n: int) -> list[Shape]:
    """The first operand."""
    return [(0,)]


class Samples(NamedTuple):
    """What the table says of a primitive.

    Parameters
    ----------
    calls : callable
        ``calls(dtypes)``, a strategy for calls with arrays of these dtypes.
    reference : callable
        The function itself, of NumPy arrays and the primitive's parameters.
    smooth : container of int
        Operands in which there is a derivative.
    linear : callable
        ``linear(n)``, groups of the ``n`` operands in which it is jointly linear.
    analytic : bool
        Whether the reference is analytic and takes complex numbers.
    inexact : bool
        Whether it takes floats and complex numbers.
    domains : tuple of Domain
        Of the operands, if the function is one of entries.
    through : callable
        ``through(primitive, *operands, **params)`` calls the primitive, where further
        operands (the factors of a matrix) follow from those that are drawn.
    host_only : bool
        Whether CuPy lacks it, so that an error is what is expected there.
    """

    calls: Calls
    reference: Callable[..., Any]
    smooth: Sequence[int] = ()
    linear: Callable[[int], list[Shape]] = lambda n: []
    analytic: bool = False
    inexact: bool = True
    domains: tuple[Domain, ...] = ()
    through: Callable[..., Any] | None = None
    host_only: bool = False


EVERY = range(1000)
SAMPLES: dict[str, Samples] = {}


# ---------------------------------------------------------------------------- shapes


def shapes(
    min_rank: int = 0, max_rank: int = 3, sizes: Sequence[int] = (2, 3, 1, 0)
) -> st.SearchStrategy[Shape]:
    """Small shapes, empty ones among them."""
    dims = st.lists(st.sampled_from(sizes), min_size=min_rank, max_size=max_rank)
    return dims.map(tuple)


@st.composite
def broadcasting(draw: Any, count: int, full: Shape | None = None) -> list[Shape]:
    """Shapes that broadcast with each other, and to ``full`` at most."""
    if full is None:
        full = draw(shapes())
    out = []
    for _ in range(count):
        kept = full[draw(st.integers(0, len(full))) :] if draw(st.booleans()) else full
        squeezed = (
            draw(st.integers(0, 2 ** len(kept) - 1)) if draw(st.booleans()) else 0
        )
        out.append(tuple(1 if squeezed >> i & 1 else n for i, n in enumerate(kept)))
    return out


@st.composite
def axis_of(draw: Any, allow_empty: bool = True) -> tuple[Shape, int]:
    """A shape and one of its axes."""
    shape = draw(shapes(min_rank=1))
    axis = draw(st.integers(0, len(shape) - 1))
    if shape[axis] == 0 and not allow_empty:
        shape = (*shape[:axis], 2, *shape[axis + 1 :])
    return shape, axis


def dtypes_of(kinds: str, dtypes: str) -> st.SearchStrategy[np.dtype]:
    """One of those ``dtypes`` that are among ``kinds``."""
    return st.sampled_from([np.dtype(c) for c in dtypes if c in kinds])


# ------------------------------------------------------------------------ entrywise

_NUMBERS = (float, int, complex)


@functools.lru_cache
def loops(
    function: Callable[..., Any], domains: tuple[Domain, ...], dtypes: str
) -> list[tuple[Any, ...]]:
    """Combinations of dtypes and Python numbers that NumPy takes, arrays among them."""
    several = len(domains) > 1
    # beside others, an operand may be an integer, which has no tangent
    chars = dtypes + "".join(c for c in "?bl" if several and c not in dtypes)
    choices = [
        [np.dtype(c) for c in domain.kinds or chars]
        + [
            n
            for n in _NUMBERS
            if several and not domain.kinds and np.dtype(n).char in chars
        ]
        for domain in domains
    ]
    found = []
    for kinds in itertools.product(*choices):
        specimens = [k(1) if isinstance(k, type) else np.ones(1, k) for k in kinds]
        if all(isinstance(k, type) for k in kinds):
            continue
        try:
            function(*specimens)
        except TypeError:
            continue
        found.append(kinds)
    return found


def entrywise_calls(function: Callable[..., Any], *domains: Domain) -> Calls:
    """Calls with operands that broadcast, numbers of Python among them."""

    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        kinds = draw(st.sampled_from(loops(function, domains, dtypes)))
        operands = [
            Operand(() if isinstance(kind, type) else shape, kind, domain)
            for kind, shape, domain in zip(
                kinds, draw(broadcasting(len(domains))), domains, strict=True
            )
        ]
        return Call(tuple(operands), {})

    return calls


def entrywise(name: str, *domains: Domain, reference: Any = None, **known: Any) -> None:
    """A row for a function of entries; NumPy's of the same name is the reference."""
    function = reference or getattr(np, name)
    calls = entrywise_calls(function, *domains)
    SAMPLES[name] = Samples(calls, function, domains=domains, **known)


def unary(
    name: str,
    calls: Callable[..., Any],
    reference: Callable[..., Any],
    kinds: str = EVERY_DTYPE,
    domain: Any = REAL,
    **known: Any,
) -> None:
    """A row for a function of one array; ``calls(draw)`` gives shape and parameters."""

    @st.composite
    def whole(draw: Any, dtypes: str) -> Call:
        shape, params = calls(draw)
        dtype = draw(dtypes_of(kinds, dtypes))
        return Call((Operand(shape, dtype, domain),), params)

    SAMPLES[name] = Samples(whole, reference, **known)


LINEAR: dict[str, Any] = {"smooth": (0,), "linear": first, "analytic": True}


def reduction_call(draw: Any, allow_empty: bool = True) -> Any:
    shape = draw(shapes())
    chosen = draw(st.sets(st.integers(0, len(shape) - 1))) if shape else set()
    if not allow_empty:
        shape = tuple(n or (2 if i in chosen else 0) for i, n in enumerate(shape))
    return shape, {"axis": tuple(sorted(chosen)), "keepdims": draw(st.booleans())}


def extremum_call(draw: Any) -> Any:
    return reduction_call(draw, allow_empty=False)


def axis_call(draw: Any, allow_empty: bool = True) -> Any:
    shape, axis = draw(axis_of(allow_empty))
    return shape, {"axis": axis}


def exact(formula: Callable[..., Any]) -> Callable[..., Any]:
    """A formula in double precision whose result has the dtype of the operands."""

    def rounded(*operands: Any, **params: Any) -> Any:
        dtype = np.result_type(*operands)
        wide = [np.asarray(x, np.float64) for x in operands]
        return np.asarray(formula(*wide, **params)).astype(
            dtype if dtype.kind == "f" else np.float64
        )

    return rounded
