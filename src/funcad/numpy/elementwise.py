"""Functions of single entries: the table of ufuncs, and compositions of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.tracing import (
    PYTHON_SCALARS,
    Array,
    Tracer,
    dtype_of,
    registry,
    shape_of,
)
from funcad.numpy.dispatch import (
    FUNCTIONS,
    METHODS,
    PRIMITIVES,
    as_operand,
    as_operands,
    implements,
    refuse,
)
from funcad.numpy.reductions import value_of
from funcad.primitives import elementwise as p
from funcad.primitives.shape import as_dtype, convert, reshape

PRIMITIVES.update(
    {
        getattr(np, name): primitive
        for name, primitive in registry.items()
        if primitive.family == "elementwise"
        and isinstance(getattr(np, name, None), np.ufunc)
    }
)
PRIMITIVES.update({np.degrees: p.rad2deg, np.radians: p.deg2rad})


@implements(np.divmod)
def divmod(x1: Array, x2: Array, /) -> tuple[Array, Array]:
    return p.floor_divide(x1, x2), p.remainder(x1, x2)


@implements(np.modf)
def modf(x: Array, /) -> tuple[Array, Array]:
    x = _floating(x)
    return p.fraction(x), p.trunc(x)


@implements(np.frexp)
def frexp(x: Array, /) -> tuple[Array, Array]:
    x = _floating(x)
    return p.mantissa(x), p.exponent(x)


def _floating(x: Array) -> Array:
    """Integers as the floats that hold them, as NumPy's ufuncs convert them."""
    if dtype_of(x).kind not in "bui":
        return x
    return convert(x, dtype=np.sqrt(np.empty(0, dtype_of(x))).dtype)


@implements(np.fix)
def fix(x: Array, out: Any = None) -> Array:
    refuse("np.fix", out=out)
    return p.trunc(x)


# ------------------------------------------------------------------- choice of branches


@implements(np.where)
def where(condition: Array, *branches: Array) -> Any:
    if not branches:
        return FUNCTIONS[np.nonzero](condition)
    if len(branches) != 2:
        raise ValueError(
            "np.where takes one argument, the condition, or three, (condition, x, y): "
            f"{1 + len(branches)} were given."
        )
    return p.select(*as_operands(condition, *branches))


@implements(np.select)
def select(
    condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0
) -> Array:
    if len(condlist) != len(choicelist):
        raise ValueError(
            "np.select needs as many conditions as choices, and was given "
            f"{len(condlist)} and {len(choicelist)}."
        )
    if not len(condlist):
        raise ValueError("np.select with an empty condition list is not possible.")
    conditions = as_operands(*condlist)
    for i, condition in enumerate(conditions):
        if dtype_of(condition).kind != "b":
            raise TypeError(
                f"np.select: condition {i} has dtype {dtype_of(condition)} and must "
                "be boolean. Write a comparison, as in x != 0."
            )
    *choices, result = as_operands(*choicelist, default)
    kinds = [
        x if type(x) in PYTHON_SCALARS else dtype_of(x) for x in (*choices, result)
    ]
    for condition, choice in zip(conditions[::-1], choices[::-1], strict=True):
        result = p.select(condition, choice, result)
    return convert(result, dtype=np.result_type(*kinds))


@implements(np.piecewise)
def piecewise(
    x: Array, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any
) -> Array:
    conditions = _conditions(x, condlist)
    if len(funclist) == len(conditions) + 1:
        somewhere = conditions[0]
        for condition in conditions[1:]:
            somewhere = somewhere | condition
        conditions.append(p.logical_not(somewhere))
    elif len(funclist) != len(conditions):
        raise ValueError(
            f"np.piecewise with {len(conditions)} conditions takes as many functions, "
            f"or one more for all other entries, and was given {len(funclist)}."
        )
    dtype = dtype_of(x)
    result: Array = convert(x * 0, dtype=dtype)
    for condition, branch in zip(conditions, funclist, strict=True):
        if shape_of(condition) != shape_of(x):
            raise IndexError(
                f"np.piecewise: a condition has shape {shape_of(condition)} and the "
                f"array shape {shape_of(x)}."
            )
        if callable(branch):
            branch = branch(_inside(condition, x), *args, **kw)
        value = convert(as_operand(branch, x), dtype=dtype)
        result = p.select(condition, value, result)
    return result


def _conditions(x: Array, condlist: Any) -> list[Array]:
    rank = len(shape_of(x))
    if isinstance(condlist, (list, tuple)):
        plain = isinstance(condlist[0], (bool, int, np.bool_))
        listed = [condlist] if plain and rank else list(condlist)
    else:
        listed = [condlist] if len(shape_of(condlist)) <= rank else list(condlist)
    return [convert(as_operand(c, x), dtype=np.dtype(bool)) for c in listed]


def _inside(condition: Array, x: Array) -> Array:
    """``x``, and where a condition does not hold, an entry for which it does.

    NumPy calls a branch with those entries alone, whose number depends on values; this
    keeps the shape, and keeps the branch away from where it may be singular.
    """
    if 0 in shape_of(x):
        return x
    first = np.argmax(np.ravel(condition))
    return p.select(condition, x, FUNCTIONS[np.take](x, first))


@implements(np.clip)
def clip(
    a: Array,
    a_min: Any = np._NoValue,  # type: ignore[attr-defined]
    a_max: Any = np._NoValue,  # type: ignore[attr-defined]
    out: Any = None,
    *,
    min: Any = np._NoValue,  # type: ignore[attr-defined]
    max: Any = np._NoValue,  # type: ignore[attr-defined]
) -> Array:
    refuse("np.clip", out=out)
    if (min is not np._NoValue or max is not np._NoValue) and (  # type: ignore[attr-defined]
        a_min is not np._NoValue or a_max is not np._NoValue  # type: ignore[attr-defined]
    ):
        raise ValueError("np.clip takes either a_min and a_max or min and max.")
    if (a_min is np._NoValue) != (a_max is np._NoValue):  # type: ignore[attr-defined]
        raise TypeError("np.clip takes a_min and a_max together, or min= or max=.")
    for bound, combine in (
        (a_min if min is np._NoValue else min, p.maximum),  # type: ignore[attr-defined]
        (a_max if max is np._NoValue else max, p.minimum),  # type: ignore[attr-defined]
    ):
        if bound is not None and bound is not np._NoValue:  # type: ignore[attr-defined]
            a = combine(a, as_operand(bound, a))
    return a


# what the method of a plain array calls, of which a bound is traced
METHODS[np._core.umath.clip, "__call__"] = clip  # type: ignore[attr-defined]


@implements(np.real)
def real(val: Array) -> Array:
    return p.real(val) if dtype_of(val).kind == "c" else val


@implements(np.imag)
def imag(val: Array) -> Array:
    return p.imag(val) if dtype_of(val).kind == "c" else np.zeros_like(val)


@implements(np.angle)
def angle(z: Array, deg: bool = False) -> Array:
    radians = p.arctan2(imag(z), real(z))
    return p.rad2deg(radians) if deg else radians


@implements(np.round, np.around)
def round(a: Array, decimals: int = 0, out: Any = None) -> Array:
    refuse("np.round", out=out)
    dtype = dtype_of(a)
    if dtype.kind in "ui" and decimals >= 0:
        return a
    if decimals == 0:
        return p.rint(a)
    up, down = (p.multiply, p.divide) if decimals > 0 else (p.divide, p.multiply)
    scale = 10.0 ** abs(decimals)
    rounded = down(p.rint(up(a, scale)), scale)
    return convert(rounded, dtype=dtype) if dtype.kind in "ui" else rounded


@implements(np.nan_to_num)
def nan_to_num(
    x: Array,
    copy: bool = True,
    nan: float = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Array:
    kind = dtype_of(x).kind
    if kind == "c":
        parts = [nan_to_num(f(x), copy, nan, posinf, neginf) for f in (p.real, p.imag)]
        return parts[0] + 1j * parts[1]
    if kind != "f":
        return x
    limits = np.finfo(dtype_of(x))
    high = float(limits.max) if posinf is None else as_operand(posinf, x)
    low = float(limits.min) if neginf is None else as_operand(neginf, x)
    dtype = dtype_of(x)
    x = p.select(p.isnan(x), as_operand(nan, x), x)
    x = p.select(p.equal(x, np.inf), high, x)
    x = p.select(p.equal(x, -np.inf), low, x)
    return x if dtype_of(x) == dtype else convert(x, dtype=dtype)


@implements(np.real_if_close)
def real_if_close(a: Array, tol: float = 100) -> Array:
    if dtype_of(a).kind != "c":
        return a
    if tol > 1:
        tol = tol * float(np.finfo(dtype_of(a)).eps)
    imaginary = value_of(p.imag(a), "np.real_if_close")
    return p.real(a) if (abs(imaginary) < tol).all() else a


@implements(np.sinc)
def sinc(x: Array) -> Array:
    return p.sinc(x)


# ----------------------------------------------------------------- questions of entries


@implements(np.isclose)
def isclose(
    a: Array, b: Array, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False
) -> Array:
    a, b, rtol, atol = as_operands(a, b, rtol, atol)
    if dtype_of(b).kind in "bui":  # whose differences wrap around, or are none
        b = convert(b, dtype=np.dtype(np.float64))
    near = p.absolute(a - b) <= atol + rtol * p.absolute(b)
    close = (near & p.isfinite(b)) | p.equal(a, b)
    return close | (p.isnan(a) & p.isnan(b)) if equal_nan else close


@implements(np.allclose)
def allclose(
    a: Array, b: Array, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False
) -> bool:
    return bool(np.all(isclose(a, b, rtol, atol, equal_nan)))


@implements(np.array_equal)
def array_equal(a1: Array, a2: Array, equal_nan: bool = False) -> bool:
    a1, a2 = as_operands(a1, a2)
    if shape_of(a1) != shape_of(a2):
        return False
    same = p.equal(a1, a2)
    return bool(np.all(same | (p.isnan(a1) & p.isnan(a2)) if equal_nan else same))


@implements(np.array_equiv)
def array_equiv(a1: Array, a2: Array) -> bool:
    a1, a2 = as_operands(a1, a2)
    try:
        np.broadcast_shapes(shape_of(a1), shape_of(a2))
    except ValueError:
        return False
    return bool(np.all(p.equal(a1, a2)))


def _infinite(name: str, value: float) -> Any:
    def infinite(x: Array, out: Any = None) -> Array:
        refuse(f"np.{name}", out=out)
        if dtype_of(x).kind == "c":
            raise TypeError(
                f"np.{name} is not for complex numbers, which have no sign. Ask for "
                "the real and the imaginary part by themselves."
            )
        return p.equal(x, value)

    return infinite


isposinf = implements(np.isposinf)(_infinite("isposinf", np.inf))
isneginf = implements(np.isneginf)(_infinite("isneginf", -np.inf))


@implements(np.isreal)
def isreal(x: Array) -> Array:
    return p.equal(imag(x), 0)


@implements(np.iscomplex)
def iscomplex(x: Array) -> Array:
    return p.not_equal(imag(x), 0)


@implements(np.isrealobj)
def isrealobj(x: Array) -> bool:
    return dtype_of(x).kind != "c"


@implements(np.iscomplexobj)
def iscomplexobj(x: Array) -> bool:
    return dtype_of(x).kind == "c"


@implements(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    return np.result_type(
        *[x.dtype if isinstance(x, Tracer) else x for x in arrays_and_dtypes]
    )


@implements(np.astype)
def astype(x: Array, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Array:
    return as_dtype(x, np.dtype(dtype), copy)


# ------------------------------------------------------------------------------- outer


def _outer(primitive: Callable[..., Any]) -> Callable[..., Any]:
    def outer(a: Array, b: Array, /) -> Array:
        xp = namespace(a, b)
        a, b = (
            xp.asarray(x) if type(x) in PYTHON_SCALARS else x for x in as_operands(a, b)
        )
        return primitive(reshape(a, shape=shape_of(a) + (1,) * len(shape_of(b))), b)

    return outer


_BINARY: dict[Any, Callable[..., Any]] = {
    **{ufunc: f for ufunc, f in PRIMITIVES.items() if ufunc.nin == 2},
    np.divmod: divmod,
}
METHODS.update({(ufunc, "outer"): _outer(f) for ufunc, f in _BINARY.items()})
