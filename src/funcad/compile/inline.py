"""Inlining: a call of a program, replaced by the equations of the program."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import Primitive


def inline(program: Program, calls: Collection[Primitive] | None = None) -> Program:
    """The program with every call replaced by what it calls, to any depth.

    A call is an equation of a primitive whose ``body`` rule gives a program, or those
    of the given ``calls`` alone.  Equations keep the user's line that they were staged
    from, and take that of the call where they have none.
    """
    if not any(_body(equation, calls) for equation in program.equations):
        return program
    equations: list[Equation] = []
    env = {v: v for v in program.inputs}
    outputs = _write(program, env, equations, None, calls)
    return Program(program.inputs, equations, outputs)


def _body(equation: Equation, calls: Collection[Primitive] | None) -> Program | None:
    rule = equation.primitive.body
    if rule is None or (calls is not None and equation.primitive not in calls):
        return None
    return rule(equation.params)  # type: ignore[no-any-return]


def _write(
    program: Program,
    env: dict[Var, Any],
    equations: list[Equation],
    line: tuple[str, int] | None,
    calls: Collection[Primitive] | None,
) -> list[Any]:
    """Append a program's equations, over fresh variables; what its outputs become.

    ``env`` says what stands for its inputs.
    """
    for equation in program.equations:
        inputs = [env[v] if type(v) is Var else v for v in equation.inputs]
        at = equation.line or line
        body = _body(equation, calls)
        if body is None:
            results = [Var(v.shape, v.dtype, v.weak) for v in equation.outputs]
            equations.append(
                equation._replace(inputs=inputs, outputs=tuple(results), line=at)
            )
        else:
            arguments = dict(zip(body.inputs, inputs, strict=True))
            results = _write(body, arguments, equations, at, calls)
        env.update(zip(equation.outputs, results, strict=True))
    return [env[v] if type(v) is Var else v for v in program.outputs]
