"""Equations as Python expressions, by the ``code`` rules of their primitives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from funcad.core.program import Equation, Var
from funcad.core.tracing import Operand, dtype_of, shape_of


def expression(
    e: Equation,
    texts: Sequence[str],
    out: str | None,
    shapes: Sequence[tuple[int, ...]] | None = None,
) -> str | None:
    """What the primitive's ``code`` rule writes, if it has one that can.

    Parameters
    ----------
    e : Equation
        What is to be computed.
    texts : sequence of str
        What stands for its inputs.
    out : str or None
        Where the (first) result is to be written, if anywhere.
    shapes : sequence of tuples, optional
        Of the inputs, where these are not the whole inputs.

    Returns
    -------
    str or None
        An expression.
    """
    rule = e.primitive.code
    if rule is None:
        return None
    if shapes is None:
        shapes = [v.shape if type(v) is Var else shape_of(v) for v in e.inputs]
    operands = [_operand(*x) for x in zip(e.inputs, texts, shapes, strict=True)]
    return rule(operands, e.params, out)  # type: ignore[no-any-return]


def _operand(v: Any, text: str, shape: tuple[int, ...]) -> Operand:
    if type(v) is Var:
        return Operand(text, shape, v.dtype, v.weak)
    weak = None if hasattr(v, "dtype") else type(v)
    return Operand(text, shape, dtype_of(v), weak)


def writes_once(e: Equation, text: str) -> bool:
    """Whether an expression is one ufunc, whose result may lie where an operand does.

    NumPy sees to it that other overlaps do no harm either.
    """
    return (
        e.primitive.family == "elementwise"
        and text.startswith("np.")
        and text.count("out=") == 1
    )


def nbytes(v: Any) -> int:
    """Bytes of the entries of a variable or array."""
    if type(v) is not Var:
        v = Var(shape_of(v), dtype_of(v))
    return math.prod(v.shape) * v.dtype.itemsize  # type: ignore[no-any-return]
