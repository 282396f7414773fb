"""Python source of a program: straight-line code that calls NumPy.

Variables have the letters that the program prints with.  Each equation is a line, an
expression of the primitive's ``code`` rule or a call of its implementation by name,
under a comment with the user's own line that it comes from.
"""

from __future__ import annotations

import itertools
import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from funcad.compile.plan import Place, Plan, expression
from funcad.core.errors import format_line
from funcad.core.program import Equation, Program, Var, letters
from funcad.core.tracing import PYTHON_SCALARS, bind, registry
from funcad.primitives.code import literal

_RESERVED = {*keyword.kwlist, *keyword.softkwlist, "np", "spare", "workspace"}


class Source(NamedTuple):
    """The text of a function, and what its names mean.

    Parameters
    ----------
    text : str
        The definition of ``name``.
    name : str
        Of the function.
    constants : dict of str to array
        Arrays that it uses.
    functions : dict of str to callable
        What it calls that is not NumPy's.
    places : list of Place
        The arrays in ``workspace``, in order.
    equations : list of Equation or None
        For each line of the text, the equation that it computes.
    names : dict of Var to str
        The variables' names.
    """

    text: str
    name: str
    constants: dict[str, Any]
    functions: dict[str, Callable[..., Any]]
    places: list[Place]
    equations: list[Equation | None]
    names: dict[Var, str]


def write(
    program: Program,
    plan: Plan,
    name: str = "compiled",
    names: Mapping[Var, str] | None = None,
    note: Callable[[tuple[str, int]], str] = format_line,
) -> Source:
    """Python source of a program.

    Parameters
    ----------
    program : Program
        Without tracers among its constants.
    plan : Plan
        Where its values lie.
    name : str, optional
        Of the function.
    names : mapping of Var to str, optional
        Of variables; the others get letters.
    note : callable, optional
        What is written above the equations of a line of the user's, if anything.

    Returns
    -------
    Source
    """
    return _Writer(program, plan, names or {}, note).write(name)


class _Writer:
    def __init__(
        self,
        program: Program,
        plan: Plan,
        names: Mapping[Var, str],
        note: Callable[[tuple[str, int]], str],
    ) -> None:
        self.program = program
        self.plan = plan
        self.note = note
        self.lines: list[str] = []
        self.equations: list[Equation | None] = []
        self.names = dict(names)
        self.taken = {*names.values(), *_RESERVED}
        self.letters = (letters(i) for i in itertools.count())
        self.constants: dict[str, Any] = {}
        self.constant_names: dict[int, str] = {}
        self.functions: dict[str, Callable[..., Any]] = {}
        self.views: dict[Place, str] = {}

    def write(self, name: str) -> Source:
        program = self.program
        given = [self._name(v) for v in program.inputs]
        self._line(f"def {name}({', '.join(given)}):")
        head = len(self.lines)
        user_line = None
        for equation, released in zip(
            program.equations, self.plan.released, strict=True
        ):
            if equation.line is not None and equation.line != user_line:
                user_line = equation.line
                text = self.note(user_line)
                if text:
                    self._line(f"    # {text}")
            self._equation(equation)
            if released:
                names = ", ".join([self._name(v) for v in released])
                self._line(f"    del {names}", equation)
        results = ", ".join([self._text(v) for v in program.outputs])
        results = f"({results},)" if len(program.outputs) == 1 else f"({results})"
        if self.views:
            self._line("    spare.append(workspace)")
        self._line(f"    return {results}")
        if self.views:
            self._open_workspace(head)
        return Source(
            "\n".join([*self.lines, ""]),
            name,
            self.constants,
            self.functions,
            list(self.views),
            self.equations,
            self.names,
        )

    def _open_workspace(self, head: int) -> None:
        """Take a workspace that no other call is using."""
        names = list(self.views.values())
        rows = ["    workspace = take_workspace()"]
        for k in range(0, len(names), 12):
            part = ", ".join(names[k : k + 12])
            # one slice a line keeps the lines short
            rows.append(f"    {part}, = workspace[{k}:{k + 12}]")
        self.lines[head:head] = rows
        self.equations[head:head] = [None] * len(rows)

    def _line(self, text: str, equation: Equation | None = None) -> None:
        self.lines.append(text)
        self.equations.append(equation)

    def _equation(self, e: Equation) -> None:
        texts = [self._text(v) for v in e.inputs]
        (first, *rest) = e.outputs
        place = None if rest else self.plan.places.get(first)
        out = None
        if place is not None:
            out = self.views.setdefault(place, f"w{len(self.views)}")
        elif first in self.plan.fresh:
            out = f"np.empty({literal(first.shape)}, {literal(first.dtype)})"
        text = expression(e, texts, out)
        if text is None:
            text = self._call(e, texts)
        elif re.search(rf"(?<![\w.]){re.escape(e.primitive.name)}\(", text):
            self._function(e.primitive.name, e.primitive.impl)
        left = ", ".join([self._name(v) for v in e.outputs])
        if e.primitive.multiple and not rest:
            left += ","
        self._line(f"    {left} = {text}", e)

    def _call(self, e: Equation, texts: Sequence[str]) -> str:
        """A call of the implementation, by name."""
        numbers = any(_is_number(v) for v in e.inputs)
        name = e.primitive.name
        if numbers:
            # implementations that take arrays alone get them from bind
            name = self._function(name, _bound(e.primitive))
        else:
            name = self._function(name, e.primitive.impl)
        parts = list(texts)
        for k, v in e.params.items():
            parts.append(f"{k}={self._param(v)}")
        return f"{name}({', '.join(parts)})"

    def _function(self, name: str, function: Callable[..., Any]) -> str:
        """A name for a function; a number is added where it means another already."""
        name = name if name.isidentifier() and name not in _RESERVED else f"{name}_"
        chosen, k = name, 1
        while self.functions.setdefault(chosen, function) is not function:
            k += 1
            chosen = f"{name}{k}"
        return chosen

    def _param(self, value: Any) -> str:
        return literal(value) if _is_literal(value) else self._constant(value)

    def _text(self, v: Any) -> str:
        if type(v) is Var:
            return self._name(v)
        if v is None or v is True or v is False:
            return repr(v)
        if type(v) in (int, float) and v - v == 0:
            return repr(v) if v >= 0 and str(v)[0] != "-" else f"({v!r})"
        return self._constant(v)

    def _constant(self, value: Any) -> str:
        name = self.constant_names.get(id(value))
        if name is None:
            name = f"k{len(self.constants)}"
            self.constant_names[id(value)] = name
            self.constants[name] = value
        return name

    def _name(self, v: Var) -> str:
        name = self.names.get(v)
        if name is None:
            name = next(self.letters)
            while name in self.taken or name in registry:
                name += "_"
            self.taken.add(name)
            self.names[v] = name
        return name


def _is_number(v: Any) -> bool:
    return v.weak is not None if type(v) is Var else type(v) in PYTHON_SCALARS


def _is_literal(value: Any) -> bool:
    """Whether a parameter can be written down as it is."""
    if isinstance(value, tuple):
        return type(value) is tuple and all(map(_is_literal, value))
    if isinstance(value, slice):
        return all(map(_is_literal, (value.start, value.stop, value.step)))
    return (
        value is None
        or value is Ellipsis
        or type(value) in (bool, int, float, str)
        or isinstance(value, (np.integer, np.dtype))
    )


def _bound(primitive: Any) -> Callable[..., Any]:
    """The implementation, which gets its numbers as arrays if it needs them so."""
    function = _BOUND.get(primitive)
    if function is None:

        def function(*args: Any, **params: Any) -> Any:
            return bind(primitive, args, params)

        function = _BOUND.setdefault(primitive, function)
    return function


_BOUND: dict[Any, Callable[..., Any]] = {}
