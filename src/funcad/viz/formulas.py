"""What one operation computes, and its derivatives, as formulas.

A formula is what the operation's ``code`` rule writes; that of a derivative is put
together from the program that ``jvp`` or ``vjp`` of the operation alone is staged to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from funcad.compile.expressions import expression
from funcad.compile.simplify import simplify
from funcad.core.errors import FuncadError
from funcad.core.printing import Inner, Names, equation_pieces
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import PYTHON_SCALARS, Array, shape_of
from funcad.core.validation import programs_in
from funcad.transforms.forward import jvp
from funcad.transforms.reverse import vjp
from funcad.transforms.stage import ShapeDtypeStruct, make_program

_LONGEST = 60
_PLACE = "\ufffc{}\ufffc"
_PLACES = re.compile("\ufffc(\\d+)\ufffc")


class Operation(NamedTuple):
    """An equation as a function of some of its operands, for some of its results."""

    equation: Equation
    moving: list[Var]
    results: list[Var]

    @property
    def operands(self) -> list[Var]:
        """All variables that it reads."""
        return list(dict.fromkeys(v for v in self.equation.inputs if type(v) is Var))

    def at(self, values: dict[Var, Array]) -> tuple[Callable[..., Any], list[Array]]:
        """The function, the other operands standing still, and where it is taken."""

        def function(*moved: Array) -> list[Array | None]:
            given = values | dict(zip(self.moving, moved, strict=True))
            program = Program(self.operands, [self.equation], self.results)
            return program.evaluate([given[v] for v in self.operands])

        return function, [values[v] for v in self.moving]


def formulas(e: Equation, names: dict[Var, str]) -> list[str]:
    """How each result of an equation is computed from variables of these names."""
    return _calls(e, [text_of(v, names) for v in e.inputs])  # type: ignore[return-value]


def tangent_formulas(
    operation: Operation, names: dict[Var, str], tangents: Sequence[str]
) -> list[str]:
    """How the tangents of an operation's results are computed.

    Parameters
    ----------
    operation : Operation
        What is differentiated.
    names : dict
        Names of its operands and results.
    tangents : sequence of str
        Names of the tangents of what moves.

    Returns
    -------
    list of str
        A formula for each result; where it cannot be written or would be too long to be
        read, one of partial derivatives.
    """

    def both(function: Any, point: list[Any], ts: list[Any]) -> Any:
        return jvp(function, point, ts)

    texts = _written(both, operation, names, operation.moving, tangents)
    xs, ys = ([names[v] for v in vs] for vs in (operation.moving, operation.results))
    return [
        text or " + ".join(f"∂{y}/∂{x} · {t}" for x, t in zip(xs, tangents))
        for y, text in zip(ys, texts or [None] * len(ys))
    ]


def cotangent_formulas(
    operation: Operation, names: dict[Var, str], cotangents: Sequence[str]
) -> list[str]:
    """How the cotangents of what moves are computed.

    Parameters and result are those of :func:`tangent_formulas`, but that the
    cotangents are those of the results.
    """

    def both(function: Any, point: list[Any], cts: list[Any]) -> Any:
        results, pullback = vjp(function, *point)
        return results, pullback(cts)

    texts = _written(both, operation, names, operation.results, cotangents)
    xs, ys = ([names[v] for v in vs] for vs in (operation.moving, operation.results))
    return [
        text or " + ".join(f"{ct} · ∂{y}/∂{x}" for y, ct in zip(ys, cotangents))
        for x, text in zip(xs, texts or [None] * len(xs))
    ]


def _written(
    derivative: Callable[..., Any],
    operation: Operation,
    names: dict[Var, str],
    directions: list[Var],
    direction_names: Sequence[str],
) -> list[str | None] | None:
    """Formulas of a derivative, a function of one and of the point and directions.

    ``None`` stands for a formula that is too long, and for all of them if the
    derivative cannot be staged.
    """
    operands, results = operation.operands, operation.results

    def both(values: list[Any], ts: list[Any]) -> Any:
        at = operation.at(dict(zip(operands, values, strict=True)))
        return derivative(*at, ts)

    try:
        program = make_program(both)(
            [v.weak(0) if v.weak else _like(v) for v in operands],
            [_like(v) for v in directions],
        )
    except FuncadError:  # a custom rule that branches on values, say
        return None
    program = simplify(program)
    given = [*(names[v] for v in operands), *direction_names]
    known: dict[Var, str | None] = dict(zip(program.inputs, given, strict=True))
    for v, result in zip(program.outputs, results):
        if isinstance(v, Var):
            known.setdefault(v, names[result])
    for e in program.equations:
        texts = _calls(e, [text_of(v, known) for v in e.inputs])
        for v, text in zip(e.outputs, texts):
            readable = text is not None and len(text) <= _LONGEST
            known.setdefault(v, text if readable else None)
    return [text_of(v, known) for v in program.outputs[len(results) :]]


def _like(v: Var) -> ShapeDtypeStruct:
    return ShapeDtypeStruct(v.shape, v.dtype)


def text_of(v: Any, names: Any) -> Any:
    """What stands for an input of an equation."""
    if isinstance(v, Var):
        return names[v]
    if v is None or shape_of(v):
        return Names().value(v).text
    return number_text(v)


def number_text(x: Any, digits: int = 6) -> str:
    """A number in few digits."""
    x = x if type(x) in PYTHON_SCALARS else x.item()
    if isinstance(x, (bool, int)):
        return str(x)
    return f"{x + 0.0:.{digits}g}"  # no minus before a zero


def _calls(e: Equation, texts: Sequence[str | None]) -> list[str | None]:
    """The expressions for the results of an equation, given those for its inputs."""
    known = [text for text in texts if text is not None]
    if len(known) < len(texts):
        return [None] * len(e.outputs)
    places = [_PLACE.format(i) for i in range(len(known))]
    plain = [Var(v.shape, v.dtype) if isinstance(v, Var) else v for v in e.inputs]
    whole = expression(e._replace(inputs=plain), places, None)
    if whole is None:
        whole = f"{_head(e)}({', '.join(places)})"
    whole = _PLACES.sub(lambda found: _in_place(found, known), whole)
    whole = whole.replace("np.", "").replace(", copy=False", "")
    if not e.primitive.multiple:
        return [whole]
    if len(e.outputs) == 1:
        is_tuple = whole.startswith("(") and whole.endswith(",)")
        return [whole[1:-2] if is_tuple else whole]
    return [f"{whole}[{i}]" for i in range(len(e.outputs))]


def _head(e: Equation) -> str:
    """What stands before the operands of an equation that has no formula of its own."""
    if programs_in(e.params):  # a function of the user's, perhaps
        return getattr(e.params.get("rule"), "name", e.primitive.name)
    pieces = equation_pieces(e._replace(inputs=()), Names(), Inner())
    return "".join(p.text for p in pieces)


def _in_place(found: re.Match[str], texts: Sequence[str]) -> str:
    """An operand where it stands, in parentheses if it would be read wrongly."""
    text = texts[int(found[1])]
    before, after = found.string[: found.start()], found.string[found.end() :]
    if before.endswith(("(", ", ")) and after.startswith((")", ", ")):
        return text
    own = _operators(text)
    left, right = before[-3:], after[:3]
    if left in _LOOSE and right in _LOOSE:
        loose = not own - _TIGHT - ({"-x"} if not left else set())
    else:  # (a * b) * c is read from the left
        loose = not left and right == " * " and own <= {" *", "-x"}
    return text if not own or loose else f"({text})"


_LOOSE = {"", " + ", " - "}
_TIGHT = {" *", " @", " /", " //", " %", " **"}
_OPERATOR = re.compile(r" (?:[-+*@/%]|//|\*\*)(?= )")


def _operators(text: str) -> set[str]:
    """The operators of a formula outside of its parentheses."""
    depth, outside = 0, ""
    for c in text:
        depth -= c in ")]"
        outside += c if depth == 0 else ""
        depth += c in "(["
    found = {*_OPERATOR.findall(outside), *(["-x"] if text.startswith("-") else [])}
    return found | {" +"} if text.endswith("j") else found  # 1+2j
