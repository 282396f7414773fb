"""Algebra: equations replaced by simpler ones that mean the same.

The identities are rules of the primitives, each in its own room: ``x * 1`` is known to
``multiply``.  Here they are applied until none fits, in one walk: a rule looks only at
what computed its inputs, and that is in its simplest form by then.

Results keep their shapes, dtypes and bits, with two exceptions: a zero may have the
other sign where a sum of zeros is meant (``sum(-x)`` is computed as ``-sum(x)``, and a
sum over no axes is its operand), and ``power`` with the exponents 2, 0.5 and -1 is
computed as the operator ``**`` does it, by ``square``, ``sqrt`` and ``reciprocal``.
What has no axes may be a scalar where it was an array, or the reverse: NumPy gives now
one, now the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from funcad.compile.constant_folding import computed
from funcad.compile.dead_code import eliminate_dead_code
from funcad.compile.substitution import resolved, substituted
from funcad.compile.visible import visible
from funcad.core.program import Equation, Program, Var, outputs_of
from funcad.core.tracing import PYTHON_SCALARS, Primitive, dtype_of, shape_of


def apply_algebra(program: Program) -> Program:
    """The program with its equations in the simplest form that their rules know."""
    walk = _Walk(visible(program))
    for equation in program.equations:
        walk.write(equation)
    if not walk.changed:
        return program
    # what has become part of another equation would be in the way of later passes
    return eliminate_dead_code(
        Program(program.inputs, walk.equations, resolved(program.outputs, walk.same))
    )


class _Walk:
    """The equations written so far, and what takes the place of variables."""

    def __init__(self, shown: set[Var]) -> None:
        self.shown = shown
        self.equations: list[Equation] = []
        self.definitions: dict[Var, Equation] = {}
        self.same: dict[Var, Any] = {}
        self.changed = False

    def definition(self, v: Any) -> Equation | None:
        """The equation that computes a variable, if one does."""
        return self.definitions.get(v) if type(v) is Var else None

    def write(self, equation: Equation) -> Sequence[Any]:
        """Write the simplest form of an equation, and return what its outputs are."""
        equation = substituted(equation, self.same)
        primitive, inputs, params, outputs, line = equation
        simpler = False
        while primitive.simplify is not None:
            found = primitive.simplify(inputs, params, self.definition)
            if found is None:
                break
            if type(found) is tuple:
                primitive, inputs, params = found
                inputs = list(inputs)
                if tuple in set(map(type, inputs)):
                    inputs = [self.term(x, line) for x in inputs]
                self.changed = simpler = True
                continue
            values = found if primitive.multiple else [found]
            if self.may_be(values, primitive, outputs):
                self.same.update(zip(outputs, values, strict=True))
                self.changed = True
                return values
            break
        if simpler:
            equation = Equation(primitive, inputs, params, outputs, line)
        # rules may put together what depends on no input
        known = computed(equation, self.shown)
        if known is not None:
            self.same.update(zip(outputs, known))
            self.changed = True
            return known
        self.equations.append(equation)
        for v in outputs:
            self.definitions[v] = equation
        return outputs

    def may_be(
        self, values: Sequence[Any], primitive: Primitive, outputs: Sequence[Var]
    ) -> bool:
        """Whether results may be replaced by values, and the caller sees no change."""
        if not all(map(_same_aval, values, outputs)):
            return False
        if self.shown.isdisjoint(outputs):
            return True
        # a view is replaced by what it is a view of
        return bool(primitive.view)

    def term(self, x: Any, line: tuple[str, int] | None) -> Any:
        """An input of a rule's result, which may be an equation to be written first."""
        if type(x) is not tuple:
            return x
        primitive, inputs, params = x
        inputs = [self.term(v, line) for v in inputs]
        (output,) = outputs_of(primitive, inputs, params)
        return self.write(Equation(primitive, inputs, params, (output,), line))[0]


def _same_aval(value: Any, var: Var) -> bool:
    return (
        value is not None
        and _weak(value) is var.weak
        and shape_of(value) == var.shape
        and dtype_of(value) == var.dtype
    )


def _weak(value: Any) -> type | None:
    return (
        type(value) if type(value) in PYTHON_SCALARS else getattr(value, "weak", None)
    )
