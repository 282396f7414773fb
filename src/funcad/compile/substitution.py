"""Substitution: variables of which a pass has found that something else is equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from funcad.core.program import Equation, Var


def resolved(values: Sequence[Any], same: Mapping[Var, Any]) -> Sequence[Any]:
    """The values, with what is the same in the place of variables."""
    for v in values:
        if type(v) is Var and v in same:
            return [same.get(v, v) if type(v) is Var else v for v in values]
    return values


def substituted(equation: Equation, same: Mapping[Var, Any]) -> Equation:
    """The equation with its inputs resolved."""
    inputs = resolved(equation.inputs, same)
    if inputs is equation.inputs:
        return equation
    primitive, _, params, outputs, line = equation
    return Equation(primitive, inputs, params, outputs, line)
