"""Dead code: equations whose results nobody reads."""

from __future__ import annotations

from funcad.core.program import Program, Var


def eliminate_dead_code(program: Program) -> Program:
    """The program without the equations that its outputs do not depend on."""
    live = {v for v in program.outputs if type(v) is Var}
    kept = []
    for equation in reversed(program.equations):
        if not live.isdisjoint(equation.outputs):
            kept.append(equation)
            live.update(v for v in equation.inputs if type(v) is Var)
    if len(kept) == len(program.equations):
        return program
    return Program(program.inputs, kept[::-1], program.outputs)
