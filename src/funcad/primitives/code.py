"""How ``code`` rules write Python: what expressions are put together from.

A rule gets operands as text and returns the text of an expression over ``np``.  Where
``out`` names an array, the expression writes into it and is that array; a rule that
cannot do so returns ``None``.  A rule may call its primitive's own implementation by
the primitive's name, which compiled programs know.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcad.core.tracing import Operand, Params

Code = Callable[[Sequence[Operand], Params, str | None], str | None]


def literal(value: Any) -> str:
    """Source of a parameter: numbers, strings, dtypes, slices, tuples of these."""
    if isinstance(value, tuple):
        inside = ", ".join(map(literal, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, np.dtype):
        return _dtype(value)
    if value is Ellipsis:
        return "..."
    if isinstance(value, np.integer):
        return repr(int(value))
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(float(value))!r})"
    return repr(value)


def _dtype(dtype: np.dtype[Any]) -> str:
    if dtype.isbuiltin == 1 and getattr(np, dtype.name, None) is dtype.type:
        return f"np.{dtype.name}"
    return f"np.dtype({dtype.str!r})"


def subscript(template: tuple[Any, ...]) -> str:
    """What stands between the brackets of ``x[...]``."""
    return ", ".join(map(_place, template)) or "()"


def _place(place: Any) -> str:
    if not isinstance(place, slice):
        return literal(place)
    parts = ["" if v is None else literal(v) for v in (place.start, place.stop)]
    return ":".join(parts if place.step is None else [*parts, literal(place.step)])


def arguments(operands: Sequence[Operand], out: str | None, **params: Any) -> str:
    """Operands, parameters and ``out=``, as they stand in a call."""
    parts = [x.text for x in operands]
    parts += [f"{k}={literal(v)}" for k, v in params.items()]
    if out is not None:
        parts.append(f"out={out}")
    return ", ".join(parts)


def infix(symbol: str, function: str) -> Code:
    """An operator, which leaves Python numbers what they are; into ``out``, a ufunc."""

    def code(operands: Sequence[Operand], params: Params, out: str | None) -> str:
        if out is not None:
            return f"np.{function}({arguments(operands, out)})"
        if len(operands) == 1:
            return f"{symbol}{operands[0].text}"
        return f" {symbol} ".join([x.text for x in operands])

    return code


def builtin(function: str, ufunc: str) -> Code:
    """A function of Python's, which leaves numbers what they are; or else a ufunc."""

    def code(operands: Sequence[Operand], params: Params, out: str | None) -> str:
        name = function if out is None else f"np.{ufunc}"
        return f"{name}({arguments(operands, out)})"

    return code


def call(function: str) -> Code:
    """A function that takes ``out=``, as every ufunc does."""

    def code(operands: Sequence[Operand], params: Params, out: str | None) -> str:
        return f"{function}({arguments(operands, out, **params)})"

    return code


def plain(template: str) -> Code:
    """An expression of the operands, in braces by number, that takes no ``out``."""

    def code(
        operands: Sequence[Operand], params: Params, out: str | None
    ) -> str | None:
        if out is not None:
            return None
        return template.format(*[x.text for x in operands])

    return code


def method(name: str, takes_out: bool = True) -> Code:
    """A method of the first operand, which is an array."""

    def code(
        operands: Sequence[Operand], params: Params, out: str | None
    ) -> str | None:
        x, *rest = operands
        if x.weak or (out is not None and not takes_out):
            return None
        given = {k: v for k, v in params.items() if k != "keepdims" or v}
        return f"{x.text}.{name}({arguments(rest, out, **given)})"

    return code


def ufunc(function: Any) -> Code | None:
    """The rule of one of NumPy's ufuncs; ``None`` for any other function."""
    if not isinstance(function, np.ufunc) or function.nout != 1:
        return None
    name = function.__name__
    return call(f"np.{name}") if getattr(np, name, None) is function else None
