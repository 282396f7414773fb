"""Common subexpressions: what is computed twice is computed once.

Equations are numbered by what they compute: their primitive, their inputs and their
parameters, in which 1, 1.0 and True, and 0.0 and -0.0, are different.  Arrays are the
same where they are one object.  Equations of ``opaque`` primitives, and those whose
parameters cannot be hashed, are left alone; and two results that the caller sees stay
two, for writing into one must not change the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from funcad.compile.substitution import resolved, substituted
from funcad.compile.visible import visible
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import PYTHON_SCALARS


def merge_common_subexpressions(program: Program) -> Program:
    """The program with one equation for each value that several compute."""
    found: dict[Any, Any] = {}
    same: dict[Var, Var] = {}
    kept = []
    shown = visible(program)
    for equation in program.equations:
        equation = substituted(equation, same)
        primitive, inputs, params, outputs, _ = equation
        if not primitive.opaque:
            operands = [v if type(v) is Var else _operand(v) for v in inputs]
            try:
                key = (primitive, *operands, *(_param(params) if params else ()))
                earlier = found.setdefault(key, outputs)
            except TypeError:  # a parameter that cannot be hashed
                earlier = outputs
            if earlier is not outputs and _may_merge(equation, earlier, shown):
                same.update(zip(outputs, earlier, strict=True))
                continue
        kept.append(equation)
    if not same:
        return program
    return Program(program.inputs, kept, resolved(program.outputs, same))


def _may_merge(equation: Equation, earlier: Sequence[Var], shown: set[Var]) -> bool:
    """Whether nobody sees that the results are those of an earlier equation."""
    if shown.isdisjoint(equation.outputs):
        return True
    # views of the same memory are the caller's, too, when they are two
    if shown.isdisjoint(earlier) or equation.primitive.view:
        shown.update(earlier)
        return True
    return False


def _operand(value: Any) -> Any:
    """What values that are the same, and no others, have in common."""
    kind = type(value)
    if kind in PYTHON_SCALARS:
        return kind, repr(value)
    if isinstance(value, np.generic):
        return value.dtype, value.tobytes()
    return id(value)


def _param(value: Any) -> Any:
    """A key of a parameter, which may hold slices, numbers and containers of them."""
    kind = type(value)
    if kind is int or kind is str or value is None:
        return value
    if kind is tuple or kind is list:
        return kind, *map(_param, value)
    if kind is dict:
        return kind, *value, *map(_param, value.values())
    if kind is slice:
        return kind, _param(value.start), _param(value.stop), _param(value.step)
    if kind in PYTHON_SCALARS:
        return kind, repr(value)
    if kind is Program:
        return kind, id(value)
    hash(value)
    return kind, value
