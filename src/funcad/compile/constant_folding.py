"""Constant folding: what depends on no input is computed once, when compiling.

An equation is left to the run where its result would make the program much larger than
its operands do (a number broadcast to an image), where computing it raises an error or
a floating-point warning, which is the user's to see when the program runs, where its
primitive is ``opaque``, and where the caller would get a constant that the next call
is to give again.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from funcad.compile.substitution import resolved, substituted
from funcad.compile.visible import visible
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import (
    PYTHON_SCALARS,
    Tracer,
    bind,
    dtype_of,
    shape_of,
)

GROWTH = 16 * 1024
"""Bytes by which the results of an equation may exceed its operands."""


def fold_constants(program: Program) -> Program:
    """The program without the equations whose operands are all known."""
    known: dict[Var, Any] = {}
    kept = []
    shown = visible(program)
    for equation in program.equations:
        equation = substituted(equation, known)
        values = computed(equation, shown)
        if values is None:
            kept.append(equation)
        else:
            known.update(zip(equation.outputs, values))
    if not known:
        return program
    return Program(program.inputs, kept, resolved(program.outputs, known))


def computed(equation: Equation, shown: set[Var]) -> tuple[Any, ...] | None:
    """Results of an equation of known values, if they may take its place.

    ``shown`` are the variables that the caller sees.
    """
    primitive, inputs, params, outputs, _ = equation
    for v in inputs:
        if type(v) is Var or isinstance(v, Tracer):
            return None
    grown = sum(map(_bytes, outputs)) - sum(map(_bytes, inputs))
    if primitive.opaque or grown > GROWTH:
        return None
    try:
        with np.errstate(divide="raise", over="raise", invalid="raise"):
            result = bind(primitive, inputs, params)
    except Exception:
        return None
    values = tuple(result) if primitive.multiple else (result,)
    if not all(map(_stands_for, values, outputs)):
        return None
    arrays = [v for x, v in zip(values, outputs) if not _is_scalar(x)]
    return values if shown.isdisjoint(arrays) else None


def _bytes(x: Any) -> int:
    return math.prod(shape_of(x)) * dtype_of(x).itemsize


def _is_scalar(x: Any) -> bool:
    """Whether it is a value that nobody can write into."""
    return isinstance(x, (*PYTHON_SCALARS, np.generic))


def _stands_for(value: Any, var: Var) -> bool:
    """Whether a value is what the program says of the variable."""
    number = type(value) if type(value) in PYTHON_SCALARS else None
    return (
        number is var.weak
        and shape_of(value) == var.shape
        and dtype_of(value) == var.dtype
    )
