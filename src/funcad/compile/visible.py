"""What of a program's memory its caller sees, and may write into.

The results of a program share memory with its arguments, its constants and one another
only where they are views of them.  A pass that put an argument, a constant or another
result in the place of a computed one would change that, so passes ask here first.
"""

from __future__ import annotations

from funcad.compile.expressions import expression
from funcad.core.program import Equation, Program, Var


def visible(program: Program) -> set[Var]:
    """Variables that the program returns, or may return views of."""
    seen = {v for v in program.outputs if type(v) is Var}
    for equation in reversed(program.equations):
        if not seen.isdisjoint(equation.outputs) and not is_fresh(equation):
            seen.update(v for v in equation.inputs if type(v) is Var)
    return seen


def is_fresh(equation: Equation) -> bool:
    """Whether the results are certain to be in memory of their own."""
    if equation.primitive.view:
        return False
    # what can be written into any array is no view
    return expression(equation, ["x"] * len(equation.inputs), "out") is not None
