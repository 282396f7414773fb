"""The Linear trace, which records a linear program, and the transpose of programs.

``linearize`` is forward mode whose tangents are the tracers of this trace: the primal
part of a function runs at once, and what happens to the tangents is written down.
Walked backwards, the record is reverse mode.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from funcad.core.errors import (
    BACKWARD,
    ConcretizationError,
    MissingRuleError,
    user_line,
)
from funcad.core.program import Equation, Program, Var, Variable, variable
from funcad.core.tracing import (
    Array,
    Params,
    Primitive,
    Trace,
    Tracer,
    array_type_of,
)

_new_equation = tuple.__new__


class Linear(Variable):
    """A variable of the linear program that is being recorded."""

    __slots__ = ()

    def concrete(self, purpose: str) -> Array:
        raise ConcretizationError(
            f"{purpose} of the argument of a function given to linear_transpose: it "
            "has no value, and a linear function does not branch on values. Use "
            "funcad.vjp, which evaluates the function at a point."
        )


class LinearTrace(Trace):
    """Writes down the linear operations that it meets.

    ``primals`` are the values whose tangents the program's inputs are.  The user's
    lines are kept if one of them wants it: to find a line takes as long as an
    operation.
    """

    __slots__ = ("equations", "keeps_lines", "primals")

    def __init__(self, primals: Sequence[Array]) -> None:
        super().__init__()
        self.equations: list[Equation] = []
        self.primals = primals
        self.keeps_lines = any(x.keeps_lines for x in primals if isinstance(x, Tracer))

    @property
    def array_type(self) -> type:
        """Type of the arrays that the tangents will be."""
        return array_type_of(self.primals)

    def process(
        self, primitive: Primitive, args: Sequence[Array], params: Params
    ) -> Any:
        if primitive.transpose is None:
            _refuse(primitive)
        inputs = [
            arg.variable if type(arg) is Linear and arg._trace is self else arg
            for arg in args
        ]
        line = user_line(above=2) if self.keeps_lines else None
        abstract = primitive.abstract
        if abstract is None:
            var = Var(params["shape"], params["dtype"])
        elif primitive.multiple:
            outputs = tuple([variable(*aval) for aval in abstract(*args, **params)])
            self.equations.append(Equation(primitive, inputs, params, outputs, line))
            return tuple([Linear(self, var) for var in outputs])
        else:
            var = Var(*abstract(*args, **params))
        self.equations.append(
            _new_equation(Equation, (primitive, inputs, params, (var,), line))
        )
        return Linear(self, var)

    def variable(self, shape: tuple[int, ...], dtype: Any) -> Linear:
        """A new input of the program."""
        return Linear(self, Var(shape, dtype))

    def program(self, inputs: Iterable[Linear], outputs: Iterable[Any]) -> Program:
        """What was recorded; outputs that are not linear in the inputs are zeros."""
        return Program(
            [x.variable for x in inputs],
            self.equations,
            [
                x.variable if type(x) is Linear and x._trace is self else None
                for x in outputs
            ],
        )


def _refuse(primitive: Primitive) -> NoReturn:
    raise MissingRuleError(
        f"{primitive} has no transpose rule, as functions that are not linear have "
        "none, and is applied to what must be linear: to the argument of a function "
        "given to linear_transpose, or to a tangent in a rule, such as that of a "
        "custom_jvp. Use funcad.vjp for functions that are not linear; in a rule, take "
        "sums of tangents and products of them with values alone. Give the primitive a "
        "transpose rule if it is one of your own that is linear."
    )


def transpose(
    program: Program, cotangents: Sequence[Array | None], consume: bool = False
) -> list[Array | None]:
    """Run a linear program backwards.

    Parameters
    ----------
    program : Program
        Linear in its inputs.
    cotangents : sequence of arrays or None
        One for each output, ``None`` for zero.
    consume : bool
        Whether to drop each equation, and with it the residuals that it holds, once it
        has been walked.

    Returns
    -------
    list of arrays or None
        A cotangent for each input, ``None`` for zero.
    """
    pending: dict[Var, Array] = {}
    for var, ct in zip(program.outputs, cotangents, strict=True):
        if var is not None and ct is not None:
            pending[var] = pending[var] + ct if var in pending else ct
    equations = program.equations
    for equation in _drain(equations) if consume else reversed(equations):
        primitive, inputs, params, outputs, line = equation
        if primitive.multiple:
            ct = [pending.pop(var, None) for var in outputs]
            if all(c is None for c in ct):
                continue
            params = params | {"outputs": outputs}
            if not consume:
                inputs = list(inputs)
        else:
            ct = pending.pop(outputs[0], None)
            if ct is None:
                continue
        if line is None:
            cts = primitive.transpose(ct, inputs, params)  # type: ignore[misc]
        else:
            call = BACKWARD[line]
            cts = call(primitive.transpose, ct, inputs, params)
        for var, c in zip(inputs, cts):
            if c is None:
                continue
            if var not in pending:
                pending[var] = c
            elif line is None:
                # popped, a sum that nobody else holds is added to in place by NumPy
                pending[var] = pending.pop(var) + c
            else:
                pending[var] = call(operator.add, pending.pop(var), c)
        del equation, inputs, ct, cts
    return [pending.get(var) for var in program.inputs]


def _drain(equations: list[Equation]) -> Iterable[Equation]:
    while equations:
        yield equations.pop()
