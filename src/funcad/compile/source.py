"""Python source of a program: straight-line code that calls NumPy.

Variables have the letters that the program prints with.  Each equation is a line, an
expression of the primitive's ``code`` rule or a call of its implementation by name,
under a comment with the user's own line that it comes from.  Equations that run block
by block are the body of a loop, in which ``x_`` is the block of ``x``.
"""

from __future__ import annotations

import builtins
import itertools
import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from funcad.compile.expressions import expression
from funcad.compile.fuse import Step, block_params, block_shape, takes_rows
from funcad.compile.in_parts import in_parts
from funcad.compile.plan import Place, Plan
from funcad.core.errors import format_line
from funcad.core.program import Equation, Program, Var, letters
from funcad.core.tracing import PYTHON_SCALARS, bind, registry, shape_of
from funcad.primitives.code import literal

_RESERVED = {
    *(*keyword.kwlist, *keyword.softkwlist, *dir(builtins)),
    *("np", "spare", "workspace", "start", "rows"),
}


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
    steps: Sequence[Step],
    plan: Plan,
    name: str = "compiled",
    names: Mapping[Var, str] | None = None,
    note: Callable[[tuple[str, int]], str] = format_line,
    prefix: str = "",
) -> Source:
    """Python source of a program.

    Parameters
    ----------
    program : Program
        Without tracers among its constants.
    steps : list of Step
        Its equations, in order.
    plan : Plan
        Where its values lie.
    name : str, optional
        Of the function.
    names : mapping of Var to str, optional
        Of variables; the others get letters.
    note : callable, optional
        What is written above the equations of a line of the user's, if anything.
    prefix : str, optional
        What the names of constants begin with.

    Returns
    -------
    Source
    """
    return _Writer(program, steps, plan, names or {}, note, prefix).write(name)


class _Writer:
    def __init__(
        self,
        program: Program,
        steps: Sequence[Step],
        plan: Plan,
        names: Mapping[Var, str],
        note: Callable[[tuple[str, int]], str],
        prefix: str,
    ) -> None:
        self.program = program
        self.prefix = prefix
        self.steps = steps
        self.plan = plan
        self.lines: list[str] = []
        self.equations: list[Equation | None] = []
        self.note = note
        self.names = dict(names)
        self.taken = {*names.values(), *_RESERVED}
        self.letters = (letters(i) for i in itertools.count())
        self.constants: dict[str, Any] = {}
        self.constant_names: dict[int, str] = {}
        self.functions: dict[str, Callable[..., Any]] = {}
        self.views: dict[Place, str] = {}
        self.user_line: tuple[str, int] | None = None

    def write(self, name: str) -> Source:
        program = self.program
        given = [self._name(v) for v in program.inputs]
        self._line(f"def {name}({', '.join(given)}):")
        head = len(self.lines)
        for e in program.equations:
            for v in e.outputs:  # the letters that the program prints with
                self._name(v)
        for step, released in zip(self.steps, self.plan.released, strict=True):
            if step.lead:
                self._loop(step)
            else:
                self._equation(step.equations[0])
            if released:
                names = ", ".join([self._name(v) for v in released])
                self._line(f"    del {names}")
        results = ", ".join([self._returned(v) for v in program.outputs])
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

    def _noted(self, e: Equation) -> str:
        """What to write above an equation: the user's line, if it is another one."""
        if e.line is None or e.line == self.user_line:
            return ""
        self.user_line = e.line
        return self.note(e.line)

    def _loop(self, step: Step) -> None:
        """Equations that run together, block by block."""
        plan, lead, extent, size = self.plan, step.lead, step.extent, step.rows
        blocks: dict[Var, str] = {}  # what stands for a value's block
        results: dict[Var, str] = {}  # what is to be written in rows
        whole: dict[tuple[Any, bool], str] = {}  # operands, by rows or not
        head: list[str] = []
        held: list[str] = []  # names of blocks that would keep memory alive

        def rows_of(v: Var, name: str) -> str:
            if lead == 1:
                return name
            shape = ", ".join(map(str, (extent, *v.shape[lead:])))
            head.append(f"    {name}_rows = {name}.reshape({shape})")
            return f"{name}_rows"

        def operand(e: Equation, v: Any) -> str:
            if type(v) is Var and v in blocks:
                return blocks[v]
            by_rows = takes_rows(e, v, lead)
            key = (v if type(v) is Var else id(v), by_rows)
            if key not in whole:
                name = self._text(v)
                shape = block_shape(step, e, v)
                if by_rows and not is_number(v):
                    source = rows_of(v, name)
                    body.append((f"        {name}_ = {source}[rows]", None))
                    if type(v) is Var and v not in plan.places and v not in inputs:
                        held.append(f"{name}_")
                        if source != name:
                            held.append(source)
                    name = f"{name}_"
                elif shape != shape_of(v):
                    shown = ", ".join(map(str, shape))
                    head.append(f"    {name}_all = {name}.reshape({shown})")
                    name = f"{name}_all"
                whole[key] = name
            return whole[key]

        inputs = set(self.program.inputs)
        body: list[tuple[str, Equation | None]] = []
        for e in step.equations:
            (out,) = e.outputs
            name = self._name(out)
            texts = [operand(e, v) for v in e.inputs]
            shapes = [block_shape(step, e, v) for v in e.inputs]
            block = e._replace(params=block_params(step, e))
            into = None
            left = name
            if out in plan.places or out in plan.fresh:
                into = f"{rows_of(out, name)}[rows]"
                results[out] = name
                left = f"{name}_"
            elif out in plan.scratch:
                into = self._view(plan.scratch[out])
                if extent % size:
                    into += f"[: {extent} - start]"
            text = expression(block, texts, into, shapes)
            assert text is not None
            self._import(e, text)
            if note := self._noted(e):
                body.append((f"        # {note}", None))
            body.append((f"        {left} = {text}", e))
            blocks[out] = left
        count = len(step.equations)
        self._line(f"    # {count} operations on {size} of {extent} rows at a time")
        for out, name in results.items():
            place = plan.places.get(out)
            made = self._empty(out) if place is None else self._view(place)
            self._line(f"    {name} = {made}")
        for text in head:
            self._line(text)
        self._line(f"    for start in range(0, {extent}, {size}):")
        self._line(f"        rows = slice(start, start + {size})")
        for text, equation in body:
            self._line(text, equation)
        if held:
            self._line(f"    del {', '.join(held)}")

    def _view(self, place: Place) -> str:
        return self.views.setdefault(place, f"w{len(self.views)}")

    def _empty(self, v: Var) -> str:
        return f"np.empty({literal(v.shape)}, {literal(v.dtype)})"

    def _import(self, e: Equation, text: str) -> None:
        """Make the implementation known where an expression calls it."""
        if re.search(rf"(?<![\w.]){re.escape(e.primitive.name)}\(", text):
            self._function(e.primitive.name, e.primitive.impl)

    def _equation(self, e: Equation) -> None:
        if note := self._noted(e):
            self._line(f"    # {note}")
        texts = [self._text(v) for v in e.inputs]
        (first, *rest) = e.outputs
        place = self.plan.places.get(first)
        out = None
        if place is not None:
            out = self._view(place)
        elif first in self.plan.fresh:
            out = self._empty(first)
        text = expression(e, texts, out)
        if text is None:
            text = self._call(e, texts)
        else:
            self._import(e, text)
        left = ", ".join([self._name(v) for v in e.outputs])
        if e.primitive.multiple and not rest:
            left += ","
        self._line(f"    {left} = {text}", e)

    def _call(self, e: Equation, texts: Sequence[str]) -> str:
        """A call of the implementation, by name."""
        numbers = any(is_number(v) for v in e.inputs)
        name = e.primitive.name
        if numbers:
            # implementations that take arrays alone get them from bind
            name = self._function(name, bound(e.primitive))
        else:
            name = self._function(name, e.primitive.impl)
        parts = list(texts)
        for k, v in e.params.items():
            part = e.primitive is in_parts and k == "run"
            parts.append(f"{k}={self._function('part', v) if part else self._param(v)}")
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
        if _is_literal(value):
            return literal(value)
        if type(value) is tuple:
            parts = [self._param(v) for v in value]
            return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
        return self._constant(value)

    def _text(self, v: Any) -> str:
        if type(v) is Var:
            return self._name(v)
        if v is None or v is True or v is False:
            return repr(v)
        if type(v) in (int, float) and v - v == 0:
            return repr(v) if v >= 0 and str(v)[0] != "-" else f"({v!r})"
        return self._constant(v)

    def _returned(self, v: Any) -> str:
        """A result; of a constant the caller gets a copy, to do with as it likes."""
        copied = type(v) is not Var and v is not None and shape_of(v)
        return f"{self._text(v)}.copy()" if copied else self._text(v)

    def _constant(self, value: Any) -> str:
        name = self.constant_names.get(id(value))
        if name is None:
            kind = "body" if isinstance(value, Program) else "k"
            name = f"{self.prefix}{kind}{len(self.constants)}"
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


def is_number(v: Any) -> bool:
    """Whether a value is a Python number, or stands for one."""
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


def bound(primitive: Any) -> Callable[..., Any]:
    """The implementation, which gets its numbers as arrays if it needs them so."""
    function = _BOUND.get(primitive)
    if function is None:

        def function(*args: Any, **params: Any) -> Any:
            return bind(primitive, args, params)

        function = _BOUND.setdefault(primitive, function)
    return function


_BOUND: dict[Any, Callable[..., Any]] = {}
