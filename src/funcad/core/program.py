"""Programs: the one intermediate representation, a list of equations over variables.

Linear programs recorded by ``linearize`` and functions staged by ``make_program`` are
both of this form.  Inputs of an equation are variables or values; the arrays among the
values are the program's constants (the residuals, in a linear program).
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from funcad.core.errors import CustomRuleError, MissingRuleError, ProgramError, run_at
from funcad.core.tracing import (
    Array,
    Primitive,
    ShapedArray,
    Trace,
    Tracer,
    bind,
    shape_of,
)

if TYPE_CHECKING:
    from funcad.core.cost import Cost
    from funcad.core.drawing import Drawing


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


def variable(shape: tuple[int, ...], dtype: Any) -> Var:
    """A variable of that aval; a Python type stands for its numbers."""
    if isinstance(dtype, type):
        return Var(shape, np.dtype(dtype), dtype)
    return Var(shape, dtype)


def mapped(param: Any, f: Callable[[Any], Any]) -> Any:
    """``f`` of a parameter, or of the entries of tuples in it.

    A tuple none of whose entries becomes another object stays the same one.
    """
    if type(param) is not tuple:
        return f(param)
    entries = tuple([mapped(x, f) for x in param])
    return param if all(map(operator.is_, entries, param)) else entries


def outputs_of(
    primitive: Primitive, operands: Sequence[Any], params: dict[str, Any]
) -> tuple[Var, ...]:
    """New variables for the results of a primitive, as its shape rule has them."""
    if primitive.abstract is None:
        try:
            avals = [(params["shape"], params["dtype"])]
        except KeyError:
            raise MissingRuleError(
                f"{primitive.name} has no shape rule, which only primitives with the "
                "parameters shape and dtype can do without. Make it with abstract=, "
                "such as lambda x: (x.shape, x.dtype)."
            ) from None
    elif primitive.multiple:
        avals = primitive.abstract(*operands, **params)
    else:
        avals = [primitive.abstract(*operands, **params)]
    try:
        return tuple([variable(*aval) for aval in avals])
    except TypeError:
        returned = avals if primitive.multiple else avals[0]
        kind = "a list of pairs" if primitive.multiple else "a pair"
        raise CustomRuleError(
            f"The rule abstract of {primitive.name} returns {kind} (shape, dtype), and "
            f"returned {returned!r}."
        ) from None


class Variable(Tracer):
    """A tracer that stands for a variable of a program; its trace knows the arrays."""

    __slots__ = ("variable",)

    def __init__(self, trace: Trace, variable: Var) -> None:
        self._trace = trace
        self.variable = variable

    @property
    def shape(self) -> tuple[int, ...]:
        return self.variable.shape

    @property
    def dtype(self) -> Any:
        return self.variable.dtype

    @property
    def weak(self) -> type | None:  # type: ignore[override]
        return self.variable.weak

    @property
    def array_type(self) -> type:
        return self._trace.array_type  # type: ignore[attr-defined, no-any-return]


class Equation(NamedTuple):
    """``outputs = primitive(*inputs, **params)``."""

    primitive: Primitive
    inputs: Sequence[Any]
    params: dict[str, Any]
    outputs: Sequence[Var]
    line: tuple[str, int] | None = None


class Program:
    """A function as a list of equations, in the order in which they run.

    ``print(program)`` shows it as text, and a notebook in colours.  Two programs are
    equal if they compute the same in the same steps, whatever their variables are
    called; a program can be copied and pickled.

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
        it is made once; no part of what is compared, copied and saved.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> program = funcad.make_program(lambda x: np.sum(np.sin(x)))(np.zeros(3))
    >>> program(np.array([0.0, np.pi / 2, np.pi / 6]))
    [np.float64(1.5)]
    >>> program.cost().flops
    27
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
        """Run the equations on arrays, or on the tracers of any transform.

        Shapes and dtypes are not looked at: calling the program checks them.
        """
        try:
            env: dict[Var, Any] = dict(zip(self.inputs, args, strict=True))
        except (TypeError, ValueError) as error:
            self._refuse(args, error)
        for equation, last in zip(self.equations, _last_uses(self)):
            primitive, inputs, params, outputs, line = equation
            values = [env[v] if type(v) is Var else v for v in inputs]
            if line is None:
                result = bind(primitive, values, params)
            else:
                result = run_at(line, bind, primitive, values, params)
            if primitive.multiple:
                env.update(zip(outputs, result, strict=True))
            else:
                env[outputs[0]] = result
            for v in last:
                del env[v]
            del values, result
        return [env[v] if type(v) is Var else v for v in self.outputs]

    def _refuse(self, args: Any, error: Exception) -> NoReturn:
        kind = type(args).__name__
        several = isinstance(args, (list, tuple))
        given = f"a {kind} of {len(args)}" if several else f"an object of type {kind}"
        raise ProgramError(
            "evaluate takes a list of arrays, one for each input of the program, of "
            f"which there are {len(self.inputs)}, and was given {given}. Write "
            "program.evaluate([x, ...]) or program(x, ...)."
        ) from error

    def __call__(self, *args: Array) -> list[Array | None]:
        """Run the program on arguments that are checked first.

        Parameters
        ----------
        *args : arrays
            One for each input, of its shape and dtype, or tracers of any transform.

        Returns
        -------
        list of arrays
            The outputs; ``None`` for a zero of a linear program.

        Raises
        ------
        ProgramError
            If the number of arguments, a shape or a dtype is not that of the inputs.
        """
        from funcad.core.validation import checked_arguments

        return self.evaluate(checked_arguments(self, args))

    def __str__(self) -> str:
        return self.pretty()

    __repr__ = __str__

    def pretty(self, lines: bool = False) -> str:
        """Typed text, an equation a line; programs that parameters hold come after it.

        Parameters
        ----------
        lines : bool
            Whether to add the user's source line that each equation comes from.

        Returns
        -------
        str
            The text.
        """
        from funcad.core.printing import as_text

        return as_text(self, lines)

    def _repr_html_(self) -> str:
        from funcad.core.printing import as_html

        return as_html(self)

    def validate(self, linear: bool | Sequence[int] = False) -> None:
        """Check that the program is well formed.

        Every variable is defined before it is read, and once; the result of every
        equation has the shape and dtype that its primitive says; no tracer of a
        transform that has ended is among the values.  Programs in parameters are
        checked, too.

        Parameters
        ----------
        linear : bool or sequence of int, optional
            Whether to check that the outputs are linear in the inputs, or the numbers
            of those inputs in which they should be.

        Raises
        ------
        ProgramError
            If it is not; the message names the equation and the user's line.
        """
        from funcad.core.validation import validate

        validate(self, linear)

    def cost(self) -> Cost:
        """Floating-point operations and bytes moved, an equation and in total.

        Returns
        -------
        Cost
            With the totals ``flops`` and ``bytes`` and the ``rows`` of the equations;
            it prints as a table.
        """
        from funcad.core.cost import cost_of

        return cost_of(self)

    def draw(self, engine: str | None = None) -> Drawing:
        """Picture of the program as a graph.

        Parameters
        ----------
        engine : {"dot", "python"}, optional
            What lays it out: graphviz's ``dot``, which is used where it is installed,
            or funcad itself.

        Returns
        -------
        Drawing
            SVG, which a notebook shows; its ``save(path)`` writes a file.
        """
        from funcad.core.drawing import draw

        return draw(self, engine)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the program to a file, which holds no code and no pickle.

        Parameters
        ----------
        path : str or path
            Replaced in one step, so that no half-written file is ever there.

        Raises
        ------
        ProgramError
            If a parameter is something that a file cannot hold, such as a function.
        """
        from funcad.core.files import save

        save(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Program:
        """Read a program that :meth:`save` has written; see `funcad.load_program`."""
        from funcad.core.files import load_program

        return load_program(path)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Program):
            return NotImplemented
        from funcad.core.comparison import same_programs

        return same_programs(self, other)

    def __hash__(self) -> int:
        # what differs rarely though programs differ, such as constants, is left out
        inputs = [(v.shape, v.dtype, v.weak) for v in self.inputs]
        names = [e.primitive.name for e in self.equations]
        return hash((tuple(inputs), tuple(names), len(self.outputs)))

    def __copy__(self) -> Program:
        return Program(list(self.inputs), list(self.equations), list(self.outputs))

    def __reduce__(self) -> tuple[Any, ...]:
        values = [v for e in self.equations for v in e.inputs] + list(self.outputs)
        for v in values:
            if isinstance(v, Tracer):
                raise ProgramError(
                    "this program cannot be copied deeply or pickled: it holds a "
                    f"tracer, {ShapedArray(v.shape, v.dtype)}, of a transform around "
                    "it. Pass that value as an argument of the function."
                )
        return Program, (self.inputs, self.equations, self.outputs)


def letters(i: int) -> str:
    """a, b, ..., z, ba, bb, ...: names of variables, in base 26."""
    name = ""
    while True:
        i, digit = divmod(i, 26)
        name = chr(ord("a") + digit) + name
        if i == 0:
            return name


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
