"""Functions of single entries: the table of ufuncs, and compositions of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from funcad.core.tracing import Array, Tracer, dtype_of, registry, shape_of
from funcad.numpy.dispatch import (
    PRIMITIVES,
    as_operand,
    as_operands,
    implements,
    refuse,
)
from funcad.primitives import elementwise as p
from funcad.primitives.shape import convert

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


@implements(np.where)
def where(condition: Array, *branches: Array) -> Array:
    if len(branches) != 2:
        raise ValueError(
            "np.where of a traced array takes three arguments, (condition, x, y): the "
            "positions where a condition holds have no fixed number."
        )
    return p.select(*as_operands(condition, *branches))


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
    for bound, combine in (
        (a_min if min is np._NoValue else min, p.maximum),  # type: ignore[attr-defined]
        (a_max if max is np._NoValue else max, p.minimum),  # type: ignore[attr-defined]
    ):
        if bound is not None and bound is not np._NoValue:  # type: ignore[attr-defined]
            a = combine(a, as_operand(bound, a))
    return a


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


@implements(np.round)
def round(a: Array, decimals: int = 0, out: Any = None) -> Array:
    refuse("np.round", out=out)
    if dtype_of(a).kind not in "fc":
        return a
    if decimals == 0:
        return p.rint(a)
    return p.divide(p.rint(p.multiply(a, 10.0**decimals)), 10.0**decimals)


@implements(np.nan_to_num)
def nan_to_num(
    x: Array,
    copy: bool = True,
    nan: float = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Array:
    if dtype_of(x).kind != "f":
        refuse("np.nan_to_num", dtype=dtype_of(x) if dtype_of(x).kind == "c" else None)
        return x
    limits = np.finfo(dtype_of(x))
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    x = p.select(p.isnan(x), nan, x)
    x = p.select(p.equal(x, np.inf), high, x)
    return p.select(p.equal(x, -np.inf), low, x)


@implements(np.isclose)
def isclose(
    a: Array, b: Array, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Array:
    near = p.absolute(a - b) <= atol + rtol * p.absolute(b)
    close = (near & p.isfinite(b)) | p.equal(a, b)
    return close | (p.isnan(a) & p.isnan(b)) if equal_nan else close


@implements(np.allclose)
def allclose(
    a: Array, b: Array, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    return bool(np.all(isclose(a, b, rtol, atol, equal_nan)))


@implements(np.array_equal)
def array_equal(a1: Array, a2: Array, equal_nan: bool = False) -> bool:
    if shape_of(a1) != shape_of(a2):
        return False
    same = p.equal(a1, a2)
    return bool(np.all(same | (p.isnan(a1) & p.isnan(a2)) if equal_nan else same))


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
    return convert(x, dtype=np.dtype(dtype))


@implements(np.diff)
def diff(a: Array, n: int = 1, axis: int = -1) -> Array:
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n}")
    if not shape_of(a):
        raise ValueError("diff requires input that is at least one dimensional")
    a = np.moveaxis(a, axis, -1)
    for _ in range(n):
        a = (
            p.not_equal(a[..., 1:], a[..., :-1])
            if dtype_of(a).kind == "b"
            else (a[..., 1:] - a[..., :-1])
        )
    return np.moveaxis(a, -1, axis)
