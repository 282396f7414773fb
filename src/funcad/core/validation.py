"""Whether a program is well formed: types, scoping, linearity, and its arguments.

Types and linearity are checked by running rules of primitives on stand-ins for arrays
that have a shape and a dtype and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from funcad.backends import backend_of
from funcad.core.errors import ConcretizationError, ProgramError
from funcad.core.printing import Inner, Names, equation_pieces, type_name
from funcad.core.program import Equation, Program, Var, Variable, outputs_of
from funcad.core.tracing import (
    PYTHON_SCALARS,
    Array,
    Params,
    Primitive,
    Trace,
    Tracer,
    array_type_of,
    aval_of,
    dtype_of,
    shape_of,
)

__all__ = ["checked_arguments", "validate"]


def validate(program: Program, linear: bool | Sequence[int] = False) -> None:
    """Raise :class:`ProgramError` unless the program is well formed.

    Parameters
    ----------
    program : Program
        The program; those in its parameters are checked, too.
    linear : bool or sequence of int, optional
        Whether its outputs should be linear in the inputs, or in those of these
        numbers.
    """
    _Check(program).run()
    if linear is not False:
        numbers = range(len(program.inputs)) if linear is True else linear
        for n in numbers:
            if not 0 <= n < len(program.inputs):
                raise ProgramError(
                    f"validate(linear={linear!r}): there is no input {n!r}; the "
                    f"program has {len(program.inputs)} inputs, counted from 0."
                )
        depends = _check_linear(program, {program.inputs[n] for n in numbers})
        for v, d in zip(program.outputs, depends):
            if not d and not _is_zero(v):
                raise ProgramError(
                    "the program is not linear in its inputs: an output of type "
                    f"{type_name(v)} does not depend on them. A zero is written None."
                )


def checked_arguments(program: Program, args: Sequence[Array]) -> list[Array]:
    """The arguments of a call of a program, or the error that says what they are not.

    A Python number stands for an array without axes, as in NumPy.
    """
    if len(args) != len(program.inputs):
        types = ", ".join(map(type_name, program.inputs))
        raise ProgramError(
            f"this program takes {len(program.inputs)} arguments ({types}) and was "
            f"called with {len(args)}. Arguments are the leaves of the function's "
            "pytrees: write program(*funcad.tree.leaves(args))."
        )
    return [_checked(i, v, x) for i, (v, x) in enumerate(zip(program.inputs, args))]


_KINDS = "biufc"


def _checked(i: int, v: Var, x: Any) -> Array:
    if type(x) in PYTHON_SCALARS:
        if v.weak is type(x):
            return x
        ranks = [_KINDS.index(np.dtype(t).kind) for t in (v.dtype, type(x))]
        if v.weak is None and not v.shape and ranks[0] >= ranks[1]:
            return v.dtype.type(x)
    elif _is_array(x) and aval_of(x) == aval_of(v):
        # a scalar of NumPy's would not follow the dtype of the arrays that it meets
        return v.weak(x) if v.weak and isinstance(x, (np.generic, np.ndarray)) else x
    given = type_name(x) if _is_array(x) else f"of type {type(x).__name__}"
    raise ProgramError(
        f"argument {i} of this program should be {type_name(v)}, and was {given}. "
        "Convert it with astype or reshape, or stage the function anew for it with "
        "funcad.make_program."
    )


def _is_array(x: Any) -> bool:
    return type(x) in PYTHON_SCALARS or (hasattr(x, "dtype") and hasattr(x, "shape"))


# ------------------------------------------------------------------------- stand-ins


class StandIn(Variable):
    """What is known of a variable without running anything."""

    __slots__ = ()

    def concrete(self, purpose: str) -> Array:
        raise ConcretizationError(f"{purpose} of a variable of a program.")


class StandInTrace(Trace):
    """Follows shapes and dtypes from result to result."""

    __slots__ = ("array_type",)

    def __init__(self, array_type: type) -> None:
        super().__init__()
        self.array_type = array_type

    def process(
        self, primitive: Primitive, args: Sequence[Array], params: Params
    ) -> Any:
        results = tuple([StandIn(self, v) for v in outputs_of(primitive, args, params)])
        return results if primitive.multiple else results[0]


# ------------------------------------------------------------------ types and scoping


class _Check:
    """One pass over a program in the order in which it runs."""

    def __init__(
        self, program: Program, within: str = "", checked: set[int] | None = None
    ) -> None:
        self.program = program
        self.within = within
        # programs within programs, each of which may be held many times
        self.checked = set() if checked is None else checked
        self.names = Names.of(program)
        self.trace = StandInTrace(array_type_of(program.constants))
        self.known: dict[Var, StandIn] = {}

    def run(self) -> None:
        try:
            for v in self.program.inputs:
                self.check_form(v, None)
                self.define(v, None)
            for equation in self.program.equations:
                self.check(equation)
            for v in self.program.outputs:
                self.value(v, None)
        finally:
            self.trace.alive = False

    def fail(self, problem: str, equation: Equation | None) -> NoReturn:
        raise ProgramError(
            f"{self.within}{problem}{_where(equation, self.names)}",
            equation.line if equation else None,
        )

    def check_form(self, v: Any, equation: Equation | None) -> None:
        if not isinstance(v, Var):
            self.fail(f"{v!r} stands where a variable is defined.", equation)
        if not isinstance(v.dtype, np.dtype) or not _is_shape(v.shape):
            self.fail(
                f"the variable {self.names[v]} has shape {v.shape!r} and dtype "
                f"{v.dtype!r}, which are not a tuple of sizes and a dtype.",
                equation,
            )
        if v.weak is not None and (
            v.weak not in PYTHON_SCALARS or v.shape or v.dtype != np.dtype(v.weak)
        ):
            self.fail(
                f"the variable {self.names[v]} is {aval_of(v)} and is said to be a "
                f"Python number of type {v.weak!r}.",
                equation,
            )

    def define(self, v: Var, equation: Equation | None) -> None:
        if v in self.known:
            self.fail(f"the variable {self.names[v]} is defined twice.", equation)
        self.known[v] = StandIn(self.trace, v)

    def value(self, v: Any, equation: Equation | None) -> Any:
        if isinstance(v, Var):
            if v not in self.known:
                self.fail(
                    f"a variable of type {type_name(v)} is read before it is defined.",
                    equation,
                )
            return self.known[v]
        if isinstance(v, Tracer):
            if not v._trace.alive:
                self.fail(
                    f"it holds a tracer, {type_name(v)}, of a transform that has "
                    "ended. Return values from the transformed function instead of "
                    "storing them.",
                    equation,
                )
        elif not _is_array(v) and not (v is None and equation is None):
            self.fail(f"the value {v!r} is no array and no number.", equation)
        return v

    def check(self, equation: Equation) -> None:
        primitive, inputs, params, outputs, _ = equation
        if not isinstance(primitive, Primitive):
            self.fail(f"{primitive!r} is no primitive.", equation)
        args = [self.value(v, equation) for v in inputs]
        for nested in programs_in(params):
            if id(nested) not in self.checked:
                self.checked.add(id(nested))
                where = f"{self.within}in a program held by {primitive.name}: "
                _Check(nested, where, self.checked).run()
        if primitive.body is not None:
            self.check_call(equation)
        try:
            wanted = outputs_of(primitive, args, params)
        except Exception as error:
            types = ", ".join(map(type_name, inputs)) or "no operands"
            self.fail(
                f"{primitive.name} does not take {types}: "
                f"{type(error).__name__}: {_first_line(error)}",
                equation,
            )
        for v in outputs:
            self.check_form(v, equation)
        got, want = (
            [(v.shape, v.dtype, v.weak) if isinstance(v, Var) else v for v in variables]
            for variables in (outputs, wanted)
        )
        if got != want:
            types, right = (
                ", ".join(type_name(v) if isinstance(v, Var) else repr(v) for v in vs)
                for vs in (outputs, wanted)
            )
            self.fail(
                f"the result of {primitive.name} is declared {types or 'as nothing'} "
                f"and its shape rule says {right or 'nothing'}.",
                equation,
            )
        for v in outputs:
            self.define(v, equation)

    def check_call(self, equation: Equation) -> None:
        """The operands of a call have the types of the inputs of what is called."""
        body = equation.primitive.body(equation.params)  # type: ignore[misc]
        given, taken = (
            [(shape_of(v), dtype_of(v)) for v in values]
            for values in (equation.inputs, body.inputs)
        )
        if given != taken:
            left, right = (
                ", ".join(map(type_name, values)) or "nothing"
                for values in (equation.inputs, body.inputs)
            )
            self.fail(
                f"{equation.primitive.name} is given {left}, and the program that it "
                f"calls takes {right}.",
                equation,
            )


def programs_in(params: Any) -> list[Program]:
    """The programs that parameters hold."""
    if isinstance(params, Program):
        return [params]
    if isinstance(params, dict):
        params = tuple(params.values())
    if isinstance(params, (tuple, list)):
        return [p for v in params for p in programs_in(v)]
    return []


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, tuple) and all(
        isinstance(n, (int, np.integer)) and n >= 0 for n in shape
    )


def _where(equation: Equation | None, names: Names) -> str:
    if equation is None:
        return ""
    left = ", ".join(
        f"{names[v]}:{type_name(v)}" if isinstance(v, Var) else repr(v)
        for v in equation.outputs
    )
    try:
        right = "".join(p.text for p in equation_pieces(equation, names, Inner()))
    except Exception:  # a broken equation may not even print
        right = repr(equation.primitive)
    return f"\n  in {left} = {right}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


# -------------------------------------------------------------------------- linearity


def _check_linear(program: Program, linear: set[Var]) -> list[bool]:
    """Walk through the program and transpose each equation, on stand-ins.

    An equation is linear in what depends on the linear inputs if it can be transposed
    in it.  If it is linear in that *together* with a further operand, which does not
    depend on the inputs and is not zero, then what it computes is a linear function
    and a constant: it is affine.  The body of a call is checked by itself.

    Returns
    -------
    list of bool
        Which outputs depend on the linear inputs.
    """
    trace = StandInTrace(array_type_of(program.constants))
    names = Names.of(program)

    def fail(problem: str, equation: Equation) -> NoReturn:
        raise ProgramError(
            f"the program is not linear in its inputs: {problem}"
            f"{_where(equation, names)}",
            equation.line,
        )

    dependent = set(linear)
    try:
        for equation in program.equations:
            primitive, inputs, params, outputs, _ = equation
            free = {
                i for i, v in enumerate(inputs) if isinstance(v, Var) and v in dependent
            }
            if not free:
                continue
            if primitive.body is not None:
                body = primitive.body(params)
                depends = _check_linear(body, {body.inputs[i] for i in free})
                dependent.update(v for v, d in zip(outputs, depends) if d)
                continue
            dependent.update(outputs)
            if primitive.transpose is None:
                fail(f"{primitive.name} is not linear, it has no transpose.", equation)
            try:
                _transposed(equation, free, trace)
            except Exception as error:
                fail(_first_line(error), equation)
            for i, v in enumerate(inputs):
                if i in free or _is_zero(v):
                    continue
                try:
                    cts = _transposed(equation, {*free, i}, trace)
                except Exception:  # not linear in both at once, as it should be
                    continue
                if cts[i] is not None:
                    fail(
                        f"operand {i} of {primitive.name} does not depend on the "
                        "inputs and is added to what does.",
                        equation,
                    )
    finally:
        trace.alive = False
    return [isinstance(v, Var) and v in dependent for v in program.outputs]


def _transposed(equation: Equation, free: set[int], trace: StandInTrace) -> list[Any]:
    """Cotangents of the operands, if those numbered in ``free`` are variables."""
    primitive, inputs, params, outputs, _ = equation
    args = [
        Var(shape_of(v), dtype_of(v))
        if i in free
        else StandIn(trace, v)
        if isinstance(v, Var)
        else v
        for i, v in enumerate(inputs)
    ]
    cts: Any = [StandIn(trace, Var(v.shape, v.dtype)) for v in outputs]
    if primitive.multiple:
        params = params | {"outputs": outputs}
    else:
        (cts,) = cts
    return list(primitive.transpose(cts, args, params))  # type: ignore[misc]


def _is_zero(v: Any) -> bool:
    """Whether a constant is known to be zero."""
    if v is None:
        return True
    if isinstance(v, (Var, Tracer)):
        return False
    return not backend_of(v).to_host(v).any() if hasattr(v, "dtype") else v == 0
