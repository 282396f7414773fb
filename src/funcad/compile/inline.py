"""Inlining: a call of a program, replaced by the equations of the program."""

from __future__ import annotations

from typing import Any

from funcad.core.program import Equation, Program, Var


def inline(program: Program) -> Program:
    """The program with every call replaced by what it calls, to any depth.

    A call is an equation of a primitive whose ``body`` rule gives a program.  Equations
    keep the user's line that they were staged from, and take that of the call where
    they have none.
    """
    if not any(_body(equation) for equation in program.equations):
        return program
    equations: list[Equation] = []
    outputs = _write(program, {v: v for v in program.inputs}, equations, None)
    return Program(program.inputs, equations, outputs)


def _body(equation: Equation) -> Program | None:
    rule = equation.primitive.body
    return None if rule is None else rule(equation.params)


def _write(
    program: Program,
    env: dict[Var, Any],
    equations: list[Equation],
    line: tuple[str, int] | None,
) -> list[Any]:
    """Append a program's equations, over fresh variables; what its outputs become.

    ``env`` says what stands for its inputs.
    """
    for equation in program.equations:
        inputs = [env[v] if type(v) is Var else v for v in equation.inputs]
        at = equation.line or line
        body = _body(equation)
        if body is None:
            results = [Var(v.shape, v.dtype, v.weak) for v in equation.outputs]
            equations.append(
                equation._replace(inputs=inputs, outputs=tuple(results), line=at)
            )
        else:
            arguments = dict(zip(body.inputs, inputs, strict=True))
            results = _write(body, arguments, equations, at)
        env.update(zip(equation.outputs, results, strict=True))
    return [env[v] if type(v) is Var else v for v in program.outputs]
