"""Programs: the one intermediate representation, a list of equations over variables.

Linear programs recorded by ``linearize`` and functions staged by ``make_program`` are
both of this form.  Inputs of an equation are variables or values; the arrays among the
values are the program's constants (the residuals, in a linear program).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from funcad.core.errors import format_line
from funcad.core.tracing import Array, Primitive, ShapedArray, bind, shape_of


class Var:
    """A variable of a program; its identity is its name.

    ``weak`` is the type of the Python number that it stands for, if it does: a number
    follows the dtype of the arrays that it meets.
    """

    __slots__ = ("dtype", "shape", "weak")

    def __init__(
        self, shape: tuple[int, ...], dtype: Any, weak: type | None = None
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.weak = weak

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __repr__(self) -> str:
        return f"Var({ShapedArray(self.shape, self.dtype)})"


class Equation(NamedTuple):
    """``outputs = primitive(*inputs, **params)``."""

    primitive: Primitive
    inputs: Sequence[Any]
    params: dict[str, Any]
    outputs: Sequence[Var]
    line: tuple[str, int] | None = None


class Program:
    """A function as a list of equations, in the order in which they run.

    Parameters
    ----------
    inputs : sequence of Var
        Variables that the arguments are bound to.
    equations : list of Equation
        What is computed, each from inputs and earlier outputs.
    outputs : sequence of Var, arrays or None
        What is returned; ``None`` stands for a zero of a linear program.

    Attributes
    ----------
    derived : dict
        What has been made of this program (its derivative, its compiled form), so that
        it is made once.
    """

    __slots__ = ("derived", "equations", "inputs", "outputs")

    def __init__(
        self, inputs: Sequence[Var], equations: list[Equation], outputs: Sequence[Any]
    ) -> None:
        self.inputs = inputs
        self.equations = equations
        self.outputs = outputs
        self.derived: dict[Any, Any] = {}

    @property
    def constants(self) -> list[Array]:
        """The distinct arrays that the equations and outputs hold."""
        values = [v for e in self.equations for v in e.inputs] + list(self.outputs)
        arrays = (v for v in values if not isinstance(v, Var) and shape_of(v))
        return list({id(v): v for v in arrays}.values())

    def evaluate(self, args: Sequence[Array]) -> list[Array | None]:
        """Run the equations on arrays, or on the tracers of any transform."""
        env: dict[Var, Any] = dict(zip(self.inputs, args, strict=True))
        for equation, last in zip(self.equations, _last_uses(self)):
            primitive, inputs, params, outputs, _ = equation
            values = [env[v] if type(v) is Var else v for v in inputs]
            result = bind(primitive, values, params)
            if primitive.multiple:
                env.update(zip(outputs, result, strict=True))
            else:
                env[outputs[0]] = result
            for v in last:
                del env[v]
            del values, result
        return [env[v] if type(v) is Var else v for v in self.outputs]

    def __str__(self) -> str:
        return self.pretty()

    def pretty(self, lines: bool = False) -> str:
        """Typed text, an equation a line.

        Parameters
        ----------
        lines : bool
            Whether to add the user's source line that each equation comes from.

        Returns
        -------
        str
            The text.
        """
        names: dict[Var, str] = {}

        def name(v: Any) -> str:
            if isinstance(v, Var):
                return names.setdefault(v, letters(len(names)))
            if v is None:
                return "0"
            if shape_of(v):
                return f"<{ShapedArray(v.shape, v.dtype)}>"
            return str(v)

        def typed(v: Any) -> str:
            if isinstance(v, Var):
                return f"{name(v)}:{ShapedArray(v.shape, v.dtype)}"
            return name(v)

        text = [f"program({', '.join(map(typed, self.inputs))}) {{"]
        for equation in self.equations:
            inputs = " ".join(map(name, equation.inputs))
            params = ", ".join(f"{k}={_param(v)}" for k, v in equation.params.items())
            left = ", ".join(map(typed, equation.outputs))
            row = f"  {left} = {equation.primitive.name}"
            row += (f"[{params}]" if params else "") + f" {inputs}"
            if lines and equation.line:
                row += f"  # {format_line(equation.line)}"
            text.append(row)
        text.append(f"  return ({', '.join(map(name, self.outputs))})")
        return "\n".join([*text, "}"])

    __repr__ = __str__


def _last_uses(program: Program) -> list[list[Var]]:
    """What no later equation reads, nor the caller, after each equation."""
    found = program.derived.get(_last_uses)
    if found is not None and len(found) == len(program.equations):
        return found  # type: ignore[no-any-return]
    later = {v for v in program.outputs if type(v) is Var}
    last: list[list[Var]] = []
    for equation in reversed(program.equations):
        here = {v for v in (*equation.inputs, *equation.outputs) if type(v) is Var}
        last.append(list(here - later))
        later |= here
    last.reverse()
    program.derived[_last_uses] = last
    return last


def _param(value: Any) -> str:
    if isinstance(value, ShapedArray):
        return str(value)
    return getattr(value, "__name__", None) or str(value)


def letters(i: int) -> str:
    """a, b, ..., z, ba, bb, ...: names of variables, in base 26."""
    name = ""
    while True:
        i, digit = divmod(i, 26)
        name = chr(ord("a") + digit) + name
        if i == 0:
            return name
