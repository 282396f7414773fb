"""Programs as text and as HTML: one layout, of pieces that each have a kind.

An equation is a line, with the equals signs under one another.  A program in the
parameters of an equation is given a name there and written out after the program that
holds it, once, however often it is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, NamedTuple

from funcad.core.errors import format_line
from funcad.core.program import Equation, Program, Var, letters
from funcad.core.tracing import PYTHON_SCALARS, ShapedArray, Tracer, aval_of

_WIDEST_LEFT = 40
_WIDEST_LINE = 100
_LONGEST_PARAM = 60

_COLOURS = {
    "type": "color:#2a8c82",
    "primitive": "font-weight:bold",
    "param": "color:#8a6d3b",
    "value": "color:#3b6fb6",
    "keyword": "color:#888",
    "line": "color:#888",
}


class Piece(NamedTuple):
    """Text of one kind, by which HTML colours it."""

    text: str
    kind: str = ""


class Row(NamedTuple):
    """A line of text: what it defines, what by, and where the user wrote it."""

    left: list[Piece]
    right: list[Piece]
    line: tuple[str, int] | None = None


def as_text(program: Program, lines: bool = False) -> str:
    """The program as text; ``lines`` adds the user's own at the end of each."""
    return "\n".join(
        "".join(piece.text for piece in pieces)
        for block in _blocks(program)
        for pieces, _ in _aligned(block, lines)
    )


def as_html(program: Program) -> str:
    """The program as HTML, in colours, with the user's lines as tooltips."""
    rows = []
    for block in _blocks(program):
        for pieces, line in _aligned(block, False):
            text = "".join(_span(piece) for piece in pieces)
            where = escape(format_line(line), quote=True)
            rows.append(f'<span title="{where}">{text}</span>' if where else text)
    style = "max-height:40em;overflow:auto;line-height:1.35;text-align:left"
    return f'<pre class="funcad-program" style="{style}">' + "\n".join(rows) + "</pre>"


def _span(piece: Piece) -> str:
    style = _COLOURS.get(piece.kind)
    text = escape(piece.text)
    return f'<span style="{style}">{text}</span>' if style else text


def type_name(v: Any) -> str:
    """Type of a variable or array: ``float64[2,3]``, or ``float`` of a number."""
    weak = getattr(v, "weak", None) or (type(v) if type(v) in PYTHON_SCALARS else None)
    return weak.__name__ if weak else str(aval_of(v))


class Names:
    """Names of the variables of one program, in the order in which they are met."""

    def __init__(self) -> None:
        self._names: dict[Var, str] = {}

    def __getitem__(self, v: Var) -> str:
        return self._names.setdefault(v, letters(len(self._names)))

    @classmethod
    def of(cls, program: Program) -> Names:
        """The names that the text of a program gives."""
        names = cls()
        for v in [*program.inputs, *(v for e in program.equations for v in e.outputs)]:
            names[v]
        return names

    def value(self, v: Any) -> Piece:
        """What is written for an input of an equation."""
        if isinstance(v, Var):
            return Piece(self[v])
        if v is None:
            return Piece("0", "value")
        if isinstance(v, Tracer):
            return Piece(f"<traced {type_name(v)}>", "value")
        if type(v) in PYTHON_SCALARS:
            return Piece(repr(v), "value")
        if not hasattr(v, "dtype"):
            return Piece(_short(repr(v)), "value")
        if v.shape:
            return Piece(f"<{type_name(v)}>", "value")
        return Piece(f"{v.item()}:{type_name(v)}", "value")


class Inner:
    """Programs met in parameters: their names, and those still to be written out."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self.waiting: list[tuple[str, Program]] = []

    def name(self, program: Program) -> str:
        """The name of a program, which is the same wherever it is met."""
        number = self._numbers.setdefault(id(program), len(self._numbers) + 1)
        name = f"p{number}"
        if number > len(self.waiting):
            self.waiting.append((name, program))
        return name


def _blocks(program: Program) -> Iterator[list[Row]]:
    """Rows of the program, and then of each program that is met in parameters."""
    inner = Inner()
    yield _rows(program, "", inner)
    for name, nested in inner.waiting:  # grows on the way
        yield _rows(nested, name, inner)


def _rows(program: Program, name: str, inner: Inner) -> list[Row]:
    names = Names.of(program)
    head = [Piece(f"\n{name} = ")] if name else []
    head += [Piece("program", "keyword"), Piece("(")]
    head += [*_separated([_typed(v, names) for v in program.inputs]), Piece(") {")]
    rows = [Row(head, [])]
    for equation in program.equations:
        left = _separated([_typed(v, names) for v in equation.outputs])
        right = equation_pieces(equation, names, inner)
        rows.append(Row([Piece("  "), *left], right, equation.line))
    outputs = _separated([[names.value(v)] for v in program.outputs])
    end = [Piece("  "), Piece("return", "keyword"), Piece(" ("), *outputs, Piece(")")]
    return [*rows, Row(end, []), Row([Piece("}")], [])]


def equation_pieces(equation: Equation, names: Names, inner: Inner) -> list[Piece]:
    """The right-hand side of an equation: primitive, parameters, inputs."""
    pieces = [Piece(equation.primitive.name, "primitive")]
    params = ", ".join(f"{k}={_param(v, inner)}" for k, v in equation.params.items())
    if params:
        pieces.append(Piece(f"[{params}]", "param"))
    for v in equation.inputs:
        pieces += [Piece(" "), names.value(v)]
    return pieces


def _typed(v: Var, names: Names) -> list[Piece]:
    return [Piece(f"{names[v]}:"), Piece(type_name(v), "type")]


def _separated(groups: Sequence[list[Piece]]) -> list[Piece]:
    pieces: list[Piece] = []
    for i, group in enumerate(groups):
        pieces += [Piece(", "), *group] if i else group
    return pieces


def _param(value: Any, inner: Inner) -> str:
    if isinstance(value, Program):
        return inner.name(value)
    if isinstance(value, ShapedArray):
        return str(value)
    if isinstance(value, (tuple, list)) and value:
        items = ", ".join(_param(v, inner) for v in value)
        comma = "," if len(value) == 1 and isinstance(value, tuple) else ""
        return f"[{items}]" if isinstance(value, list) else f"({items}{comma})"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"<{type_name(value)}>"
    if isinstance(value, slice):
        parts = ["" if v is None else str(v) for v in (value.start, value.stop)]
        return ":".join(parts if value.step is None else [*parts, str(value.step)])
    if isinstance(value, str):
        return _short(repr(value))
    if value is Ellipsis:
        return "..."
    return getattr(value, "__name__", None) or _short(str(value))


def _short(text: str) -> str:
    text = text.replace("\n", " ")
    return text if len(text) <= _LONGEST_PARAM else text[: _LONGEST_PARAM - 3] + "..."


def _aligned(
    rows: list[Row], lines: bool
) -> Iterator[tuple[list[Piece], tuple[str, int] | None]]:
    """The pieces of each row, padded so that what belongs together is aligned."""
    widths = [_width(row.left) for row in rows if row.right]
    left = max((w for w in widths if w <= _WIDEST_LEFT), default=0)
    whole = [
        [*row.left, Piece(" " * (left - _width(row.left)) + " = "), *row.right]
        if row.right
        else row.left
        for row in rows
    ]
    ends = [_width(pieces) for pieces, row in zip(whole, rows) if row.right]
    end = max((w for w in ends if w <= _WIDEST_LINE), default=0)
    for pieces, row in zip(whole, rows):
        if lines and row.line:
            pad = " " * (end - _width(pieces)) + "  "
            pieces = [*pieces, Piece(f"{pad}# {format_line(row.line)}", "line")]
        yield pieces, row.line


def _width(pieces: Sequence[Piece]) -> int:
    return sum(len(piece.text) for piece in pieces)
