"""Samples of every primitive: calls that are legal, and what they should give.

For each primitive the table holds strategies for its operands and parameters, with 0-d,
empty and broadcast operands among them; an independent reference in NumPy; and what is
known of it: the operands it can be differentiated in, those in which it is linear, and
whether it is analytic.  The tests of ``primitives/test_every_primitive.py`` are read
off this table, so a new primitive needs a row here and no test of its own.

A :class:`Call` describes operands and does not hold them: their values are drawn from
a random generator as often as a test wants (one set for a plain call, several for the
examples of a ``vmap``).  Values keep away from kinks and singularities.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import math
import pkgutil
import warnings
from collections.abc import Callable, Sequence
from types import EllipsisType
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
        if isinstance(self.domain, Matrices):
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
    """

    calls: Calls
    reference: Callable[..., Any]
    smooth: Sequence[int] = ()
    linear: Callable[[int], list[Shape]] = lambda n: []
    analytic: bool = False
    inexact: bool = True
    domains: tuple[Domain, ...] = ()


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


for _name, _domain in {
    **dict.fromkeys(("exp", "exp2", "expm1", "square"), REAL),
    **dict.fromkeys(("sin", "cos", "sinh", "cosh", "tanh", "arcsinh"), REAL),
    **dict.fromkeys(("log", "log2", "log10", "sqrt"), POSITIVE),
    **dict.fromkeys(("tan",), SMALL),
    **dict.fromkeys(("arcsin", "arccos", "arctan", "arctanh"), UNIT),
    "arccosh": ABOVE_ONE,
    "log1p": ABOVE_MINUS_ONE,
    "reciprocal": NONZERO,
}.items():
    entrywise(_name, _domain, smooth=(0,), analytic=True)

for _name in ("negative", "positive", "conjugate", "real", "imag"):
    entrywise(_name, REAL, smooth=(0,), linear=first)
for _name, _domain in {
    "deg2rad": REAL,
    "rad2deg": REAL,
    "cbrt": NONZERO,
    "absolute": NONZERO,
    "fabs": NONZERO,
    "sign": NONZERO,
}.items():
    entrywise(_name, _domain, smooth=(0,))


def _erf(x: Any) -> Any:
    from scipy.special import erf

    return erf(x)


entrywise("erf", REAL, reference=_erf, smooth=(0,), analytic=True)

entrywise("add", REAL, REAL, smooth=(0, 1), linear=jointly, analytic=True)
entrywise("subtract", REAL, REAL, smooth=(0, 1), linear=jointly, analytic=True)
entrywise("multiply", REAL, REAL, smooth=(0, 1), linear=every, analytic=True)
entrywise("divide", REAL, NONZERO, smooth=(0, 1), linear=first, analytic=True)
entrywise("power", POSITIVE, NATURAL, smooth=(0, 1), analytic=True)
entrywise("float_power", POSITIVE, NATURAL, smooth=(0, 1), analytic=True)
for _name in ("logaddexp", "logaddexp2"):
    entrywise(_name, REAL, REAL, smooth=(0, 1))
for _name in ("hypot", "arctan2"):
    entrywise(_name, NONZERO, NONZERO, smooth=(0, 1))
for _name in ("maximum", "minimum", "fmax", "fmin"):
    entrywise(_name, LEFT, RIGHT, smooth=(0, 1))
entrywise("copysign", NONZERO, NONZERO, smooth=(0, 1))
entrywise("heaviside", LEFT, RIGHT, smooth=(1,))
for _name in ("remainder", "fmod"):
    entrywise(_name, DIVIDEND, DIVISOR, smooth=(0, 1))
entrywise(
    "select",
    TRUTH,
    REAL,
    REAL,
    reference=np.where,
    smooth=(1, 2),
    linear=lambda n: [(1, 2)],
)

entrywise("stop_gradient", REAL, reference=np.array)
entrywise("floor_divide", DIVIDEND, DIVISOR)
for _name in ("floor", "ceil", "trunc", "rint", "signbit"):
    entrywise(_name, LEFT)
for _name in ("isnan", "isinf", "isfinite", "logical_not"):
    entrywise(_name, REAL)
for _name in (
    *("nextafter", "equal", "not_equal", "less", "less_equal", "greater"),
    *("greater_equal", "logical_and", "logical_or", "logical_xor"),
):
    entrywise(_name, LEFT, RIGHT)
entrywise("invert", REAL, inexact=False)
for _name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    entrywise(_name, REAL, REAL, inexact=False)
for _name in ("left_shift", "right_shift"):
    entrywise(_name, REAL, SHIFT, inexact=False)


# ---------------------------------------------------------------------- weighted sum


@st.composite
def _weighted_sum_calls(draw: Any, dtypes: str) -> Call:
    inexact = [np.dtype(c) for c in dtypes if c in "efdFD"]
    shape = draw(shapes())
    pairs = draw(st.integers(1, 3))
    operands = []
    for operand_shape in draw(broadcasting(2 * pairs, shape)):
        dtype = draw(st.sampled_from(inexact))
        operands.append(Operand(operand_shape, dtype))
    for i in range(1, 2 * pairs, 2):
        if draw(st.booleans()):
            operands[i] = Operand((), draw(st.sampled_from((int, float))))
    kinds = [op.dtype for op in operands if not op.is_number]
    dtype = np.result_type(*kinds, draw(st.sampled_from(inexact)))
    return Call(tuple(operands), {"shape": shape, "dtype": dtype})


def _weighted_sum(*terms: Any, shape: Shape, dtype: Any) -> Any:
    total = sum(t * c for t, c in zip(terms[::2], terms[1::2], strict=True))
    return np.broadcast_to(total, shape).astype(dtype)


SAMPLES["weighted_sum"] = Samples(
    _weighted_sum_calls,
    _weighted_sum,
    smooth=EVERY,
    linear=lambda n: [tuple(range(0, n, 2)), tuple(range(1, n, 2))],
)


# ------------------------------------------------------------- shapes and conversions


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


@st.composite
def _convert_calls(draw: Any, dtypes: str) -> Call:
    dtype = draw(st.sampled_from([*map(np.dtype, dtypes), float]))
    shape = () if dtype is float else draw(shapes())
    target = draw(st.sampled_from([np.dtype(c) for c in dtypes]))
    return Call((Operand(shape, dtype),), {"dtype": target})


def _astype(x: Any, dtype: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        return np.asarray(x).astype(dtype)


SAMPLES["convert"] = Samples(_convert_calls, _astype, smooth=(0,), linear=first)


def _reshape_call(draw: Any) -> Any:
    shape = draw(shapes())
    size = math.prod(shape)
    ones = draw(st.lists(st.integers(0, len(shape)), max_size=2))
    padded = list(shape)
    for place in ones:
        padded.insert(place, 1)
    choices = [(size,), tuple(padded), shape[::-1]]
    if len(shape) > 1:
        choices.append((shape[0], math.prod(shape[1:])))
    return shape, {"shape": draw(st.sampled_from(choices))}


unary("reshape", _reshape_call, np.reshape, **LINEAR)


def _transpose_call(draw: Any) -> Any:
    shape = draw(shapes())
    return shape, {"axes": tuple(draw(st.permutations(range(len(shape)))))}


unary("transpose", _transpose_call, np.transpose, **LINEAR)


def _broadcast_call(draw: Any) -> Any:
    full = draw(shapes())
    (shape,) = draw(broadcasting(1, full))
    return shape, {"shape": full}


unary("broadcast_to", _broadcast_call, np.broadcast_to, **LINEAR)


def _reduction_call(draw: Any, allow_empty: bool = True) -> Any:
    shape = draw(shapes())
    chosen = draw(st.sets(st.integers(0, len(shape) - 1))) if shape else set()
    if not allow_empty:
        shape = tuple(n or (2 if i in chosen else 0) for i, n in enumerate(shape))
    return shape, {"axis": tuple(sorted(chosen)), "keepdims": draw(st.booleans())}


def _extremum_call(draw: Any) -> Any:
    return _reduction_call(draw, allow_empty=False)


unary("reduce_sum", _reduction_call, np.sum, **LINEAR)
unary("reduce_prod", _reduction_call, np.prod, smooth=(0,), analytic=True)
unary("reduce_any", _reduction_call, np.any, kinds="?bilefdFD")
unary("reduce_all", _reduction_call, np.all, kinds="?bilefdFD")
unary("reduce_max", _extremum_call, np.max, domain=Distinct(), smooth=(0,))
unary("reduce_min", _extremum_call, np.min, domain=Distinct(), smooth=(0,))


@st.composite
def _concatenate_calls(draw: Any, dtypes: str) -> Call:
    shape, axis = draw(axis_of())
    operands = []
    for _ in range(draw(st.integers(1, 3))):
        size = draw(st.sampled_from((1, 2, 0)))
        part = (*shape[:axis], size, *shape[axis + 1 :])
        operands.append(Operand(part, draw(dtypes_of(EVERY_DTYPE, dtypes))))
    return Call(tuple(operands), {"axis": axis})


SAMPLES["concatenate"] = Samples(
    _concatenate_calls,
    lambda *parts, axis: np.concatenate(parts, axis),
    smooth=EVERY,
    linear=jointly,
    analytic=True,
)


def _split_call(draw: Any) -> Any:
    shape, axis = draw(axis_of())
    sizes = tuple(draw(st.lists(st.integers(0, 2), min_size=1, max_size=3)))
    shape = (*shape[:axis], sum(sizes), *shape[axis + 1 :])
    return shape, {"sizes": sizes, "axis": axis}


unary(
    "split",
    _split_call,
    lambda x, sizes, axis: tuple(np.split(x, np.cumsum(sizes)[:-1], axis)),
    **LINEAR,
)


def _pad_call(draw: Any) -> Any:
    shape = draw(shapes())
    width = st.integers(0, 2)
    return shape, {"widths": tuple((draw(width), draw(width)) for _ in shape)}


def _pad(x: Any, widths: Any) -> Any:
    return np.pad(x, widths) if widths else x


unary("pad", _pad_call, _pad, **LINEAR)


def _move_call(draw: Any) -> Any:
    return draw(shapes()), {"target": HERE, "source": HERE}


unary("move", _move_call, lambda x, target, source: x, **LINEAR)


# -------------------------------------------------------------------------- indexing


@st.composite
def templates(draw: Any, shape: Shape) -> tuple[int | slice | None | EllipsisType, ...]:
    """Basic indices of an array of this shape."""
    parts: list[Any] = []
    for n in shape:
        kind = draw(st.sampled_from(("all", "slice", "integer")))
        if kind == "integer" and n:
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "slice":
            bound = st.none() | st.integers(-n - 1, n + 1)
            step = st.sampled_from((None, 1, 2, -1, -2))
            parts.append(slice(draw(bound), draw(bound), draw(step)))
        else:
            parts.append(slice(None))
    if draw(st.booleans()):
        # axes that an ellipsis, or nothing at all, stands for
        cut = draw(st.integers(0, len(parts)))
        rest = draw(st.integers(cut, len(parts)))
        parts[cut:rest] = [Ellipsis]
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), None)
    return tuple(parts)


def _index_call(draw: Any) -> Any:
    shape = draw(shapes())
    return shape, {"template": draw(templates(shape))}


unary("index", _index_call, lambda x, template: np.asarray(x)[template], **LINEAR)


def _embed_call(draw: Any) -> Any:
    shape = draw(shapes())
    template = draw(templates(shape))
    return np.empty(shape)[template].shape, {"shape": shape, "template": template}


def _embed(x: Any, shape: Shape, template: Any) -> Any:
    out = np.zeros(shape, np.asarray(x).dtype)
    out[template] = x
    return out


unary("embed", _embed_call, _embed, **LINEAR)


@st.composite
def _gathering(draw: Any, whole: bool) -> tuple[Shape, list[Operand], Shape]:
    """A shape, indices of its leading axes (of all axes, if ``whole``), their shape."""
    shape = draw(shapes(min_rank=1))
    count = len(shape) if whole else draw(st.integers(1, len(shape)))
    full = draw(shapes(max_rank=2))
    if 0 in shape[:count]:
        full = (*full, 0)
    # an axis without entries has no index but an empty one
    arrays = [
        a if n else full
        for a, n in zip(draw(broadcasting(count, full)), shape, strict=False)
    ]
    indices = [
        Operand(a, draw(st.sampled_from((np.dtype("l"), np.dtype("i")))), Below(n))
        for a, n in zip(arrays, shape, strict=False)
    ]
    return shape, indices, np.broadcast_shapes(*arrays)


@st.composite
def _gather_calls(draw: Any, dtypes: str) -> Call:
    shape, indices, _ = draw(_gathering(whole=False))
    x = Operand(shape, draw(dtypes_of(EVERY_DTYPE, dtypes)))
    return Call((x, *indices), {})


SAMPLES["gather"] = Samples(
    _gather_calls,
    lambda x, *indices: x[indices],
    smooth=(0,),
    linear=first,
    analytic=True,
)


@st.composite
def _scatter_calls(draw: Any, dtypes: str) -> Call:
    shape, indices, gathered = draw(_gathering(whole=False))
    rest = shape[len(indices) :]
    updates = Operand((*gathered, *rest), draw(dtypes_of("bilefdFD", dtypes)))
    return Call((updates, *indices), {"shape": shape})


def _scatter_sum(updates: Any, *indices: Any, shape: Shape) -> Any:
    updates = np.asarray(updates)
    out = np.zeros(shape, updates.dtype)
    indices = np.broadcast_arrays(*indices)
    for place in np.ndindex(indices[0].shape):
        out[tuple(int(i[place]) for i in indices)] += updates[place]
    return out


SAMPLES["scatter_sum"] = Samples(
    _scatter_calls, _scatter_sum, smooth=(0,), linear=first, analytic=True
)


@st.composite
def _owners_calls(draw: Any, dtypes: str) -> Call:
    shape, indices, _ = draw(_gathering(whole=True))
    return Call(tuple(indices), {"shape": shape, "turn": draw(st.integers(-2, 1))})


def _owners(*indices: Any, shape: Shape, turn: int) -> Any:
    writers: dict[Shape, list[int]] = {place: [] for place in np.ndindex(shape)}
    indices = np.broadcast_arrays(*indices)
    for update, place in enumerate(np.ndindex(indices[0].shape)):
        entry = tuple(int(i[place]) % n for i, n in zip(indices, shape, strict=True))
        writers[entry].append(update)
    out = np.full(shape, -1)
    for entry, updates in writers.items():
        if -len(updates) <= turn < len(updates):
            out[entry] = updates[turn]
    return out


SAMPLES["owners"] = Samples(_owners_calls, _owners, inexact=False)


# ---------------------------------------------------------------------- along an axis


def _axis_call(draw: Any, allow_empty: bool = True) -> Any:
    shape, axis = draw(axis_of(allow_empty))
    return shape, {"axis": axis}


def _argmax_call(draw: Any) -> Any:
    return _axis_call(draw, allow_empty=False)


def _cumsum_call(draw: Any) -> Any:
    shape, params = _axis_call(draw)
    return shape, params | {"reverse": draw(st.booleans())}


def _cumsum(x: Any, axis: int, reverse: bool) -> Any:
    return (
        np.flip(np.cumsum(np.flip(x, axis), axis), axis)
        if reverse
        else np.cumsum(x, axis)
    )


unary("cumsum", _cumsum_call, _cumsum, **LINEAR)
unary("cumprod", _axis_call, np.cumprod, smooth=(0,), analytic=True)
for _name, _ufunc in (("cummax", np.maximum), ("cummin", np.minimum)):
    unary(_name, _axis_call, _ufunc.accumulate, domain=Distinct(), smooth=(0,))
unary("argmax", _argmax_call, np.argmax, domain=Distinct())
unary("argmin", _argmax_call, np.argmin, domain=Distinct())
unary(
    "argsort",
    _axis_call,
    functools.partial(np.argsort, kind="stable"),
    domain=Distinct(),
)
unary("sort", _axis_call, np.sort, domain=Distinct(), smooth=(0,))


# ------------------------------------------------------------ products, linear algebra


@st.composite
def _matmul_calls(draw: Any, dtypes: str) -> Call:
    a, b = draw(broadcasting(2, draw(shapes(max_rank=2))))
    size = st.sampled_from((2, 3, 1, 0))
    rows, inner, columns = draw(size), draw(size), draw(size)
    x = Operand((*a, rows, inner), draw(dtypes_of(EVERY_DTYPE, dtypes)))
    y = Operand((*b, inner, columns), draw(dtypes_of(EVERY_DTYPE, dtypes)))
    return Call((x, y), {})


SAMPLES["matmul"] = Samples(
    _matmul_calls, np.matmul, smooth=(0, 1), linear=every, analytic=True
)


def _square(draw: Any, dtypes: str, domain: Any) -> Operand:
    lead = draw(shapes(max_rank=2, sizes=(2, 1, 0)))
    n = draw(st.sampled_from((2, 3, 1, 0)))
    return Operand((*lead, n, n), draw(dtypes_of("?bilfdFD", dtypes)), domain)


def _square_calls(domain: Any) -> Calls:
    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        return Call((_square(draw, dtypes, domain),), {})

    return calls


def _solve_calls(**params: Any) -> Calls:
    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        a, b = draw(broadcasting(2, draw(shapes(max_rank=2, sizes=(2, 1, 0)))))
        n, columns = (
            draw(st.sampled_from((2, 3, 1, 0))),
            draw(st.sampled_from((2, 1, 0))),
        )
        kinds = "?bilfdFD"
        matrix = Operand((*a, n, n), draw(dtypes_of(kinds, dtypes)), Matrices())
        right = Operand((*b, n, columns), draw(dtypes_of(kinds, dtypes)))
        return Call((matrix, right), {k: draw(v) for k, v in params.items()})

    return calls


def _triangular_solve(a: Any, b: Any, lower: bool) -> Any:
    return np.linalg.solve(np.tril(a) if lower else np.triu(a), b)


SAMPLES["solve"] = Samples(
    _solve_calls(),
    np.linalg.solve,
    smooth=(0, 1),
    linear=lambda n: [(1,)],
    analytic=True,
)
SAMPLES["triangular_solve"] = Samples(
    _solve_calls(lower=st.booleans()),
    _triangular_solve,
    smooth=(0, 1),
    linear=lambda n: [(1,)],
    analytic=True,
)
SAMPLES["inv"] = Samples(
    _square_calls(Matrices()), np.linalg.inv, smooth=(0,), analytic=True
)
SAMPLES["cholesky"] = Samples(
    _square_calls(Matrices(positive=True)), np.linalg.cholesky, smooth=(0,)
)
SAMPLES["slogdet"] = Samples(
    _square_calls(Matrices()), lambda a: tuple(np.linalg.slogdet(a)), smooth=(0,)
)


# ---------------------------------------------------------------------------- random


@st.composite
def _random_calls(draw: Any, dtypes: str) -> Call:
    batch = draw(shapes(max_rank=2))
    keys, words = draw(broadcasting(2, batch))
    uint64 = np.dtype(np.uint64)
    distribution = draw(st.sampled_from(("bits", "uniform")))
    dtype = uint64 if distribution == "bits" else draw(dtypes_of("fd", "fd"))
    return Call(
        (Operand((*keys, 2), uint64, Words()), Operand(words, uint64, Words())),
        {
            "distribution": distribution,
            "shape": draw(shapes(max_rank=2)),
            "dtype": dtype,
            "stream": draw(st.integers(0, 2)),
        },
    )


def _random(
    key: Any, word: Any, distribution: str, shape: Shape, dtype: Any, stream: int
) -> Any:
    batch = np.broadcast_shapes(key.shape[:-1], np.shape(word))
    keys, words = np.broadcast_to(key, (*batch, 2)), np.broadcast_to(word, batch)
    out = np.empty((*batch, *shape), dtype)
    for place in np.ndindex(batch):
        counter = np.array([0, words[place], 0, stream], np.uint64)
        philox = np.random.Philox(key=keys[place], counter=counter)
        if distribution == "bits":
            out[place] = philox.random_raw(math.prod(shape)).reshape(shape)
        else:
            out[place] = np.random.Generator(philox).random(shape, dtype)
    return out


SAMPLES["random_draw"] = Samples(_random_calls, _random, inexact=False)


# ------------------------------------------------------------------- neural networks

_REAL_NUMBERS = "?bilefd"
_FLOATS = "efd"


def _exact(formula: Callable[..., Any]) -> Callable[..., Any]:
    """A formula in double precision whose result has the dtype of the operands."""

    def rounded(*operands: Any, **params: Any) -> Any:
        dtype = np.result_type(*operands)
        wide = [np.asarray(x, np.float64) for x in operands]
        return np.asarray(formula(*wide, **params)).astype(
            dtype if dtype.kind == "f" else np.float64
        )

    return rounded


def _logistic(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _silu_slope(x: Any) -> Any:
    return _logistic(x) + x * _logistic(x) * _logistic(-x)


def _gelu_gate(x: Any) -> Any:
    return _logistic(math.sqrt(8 / math.pi) * (x + 0.044715 * x**3))


def _gelu_slope(x: Any) -> Any:
    inner = math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * x**2)
    return _gelu_gate(x) + x * _gelu_gate(x) * _gelu_gate(-x) * inner


def _gelu_exact(x: Any) -> Any:
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def _gelu_exact_slope(x: Any) -> Any:
    density = np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + _erf(x / math.sqrt(2))) + x * density


def _entries_call(draw: Any) -> Any:
    return draw(shapes()), {}


@st.composite
def _slope_calls(draw: Any, dtypes: str) -> Call:
    dtype = draw(dtypes_of(_FLOATS, dtypes))
    t, x = draw(broadcasting(2))
    return Call((Operand(t, dtype), Operand(x, dtype)), {})


unary(
    "relu",
    _entries_call,
    lambda x: np.maximum(x, 0),
    kinds=_REAL_NUMBERS,
    domain=NONZERO,
    smooth=(0,),
)
unary("logistic", _entries_call, _exact(_logistic), kinds=_REAL_NUMBERS, smooth=(0,))
for _name, _value, _slope in (
    ("silu", lambda x: x * _logistic(x), _silu_slope),
    ("gelu", lambda x: x * _gelu_gate(x), _gelu_slope),
    ("gelu_exact", _gelu_exact, _gelu_exact_slope),
):
    unary(_name, _entries_call, _exact(_value), kinds=_REAL_NUMBERS, smooth=(0,))
    SAMPLES[f"{_name}_tangent"] = Samples(
        _slope_calls,
        _exact(lambda t, x, slope=_slope: t * slope(x)),
        smooth=(0, 1),
        linear=first,
    )

entrywise(
    "multiply_add",
    REAL,
    REAL,
    REAL,
    reference=lambda x, y, z: x * y + z,
    smooth=(0, 1, 2),
    analytic=True,
)


def _over_axes_call(draw: Any) -> Any:
    shape, params = _extremum_call(draw)
    return shape, {"axis": params["axis"]}


def _along_calls(*domains: tuple[Domain, bool], **params: Any) -> Calls:
    """Calls with operands of one shape, but for those that keep no more than axes."""

    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        shape, axes = _over_axes_call(draw)
        kept = tuple(1 if i in axes["axis"] else n for i, n in enumerate(shape))
        dtype = draw(dtypes_of(_FLOATS, dtypes))
        operands = [
            Operand(kept if reduced else shape, dtype, domain)
            for domain, reduced in domains
        ]
        return Call(tuple(operands), axes | params)

    return calls


def _softmax(x: Any, axis: Shape) -> Any:
    return np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True)


def _mean(x: Any, axis: Shape) -> Any:
    return np.mean(x, axis=axis, keepdims=True)


SAMPLES["softmax"] = Samples(_along_calls((REAL, False)), _exact(_softmax), smooth=(0,))
SAMPLES["softmax_tangent"] = Samples(
    _along_calls((REAL, False), (REAL, False)),
    _exact(lambda t, s, axis: s * (t - np.sum(s * t, axis=axis, keepdims=True))),
    smooth=(0, 1),
    linear=first,
)
unary(
    "logsumexp",
    _extremum_call,
    _exact(lambda x, **params: np.log(np.sum(np.exp(x), **params))),
    kinds=_FLOATS,
    smooth=(0,),
)
for _name, _centred in (
    ("standardize", lambda x, axis: x - _mean(x, axis)),
    ("rms_scale", lambda x, axis: x),
):

    def _scaled(x: Any, axis: Shape, eps: float, centred: Any = _centred) -> Any:
        c = np.asarray(centred(x.astype(np.float64), axis))
        r = 1 / np.sqrt(_mean(c**2, axis) + eps)
        return np.asarray(c * r).astype(x.dtype), np.asarray(r).astype(x.dtype)

    def _scaled_tangent(
        t: Any, y: Any, r: Any, axis: Shape, centred: Any = _centred
    ) -> Any:
        return r * (centred(t, axis) - y * _mean(y * t, axis))

    SAMPLES[_name] = Samples(_along_calls((REAL, False), eps=0.1), _scaled, smooth=(0,))
    SAMPLES[f"{_name}_tangent"] = Samples(
        _along_calls((REAL, False), (REAL, False), (POSITIVE, True)),
        _exact(_scaled_tangent),
        smooth=(0, 1, 2),
        linear=first,
    )
