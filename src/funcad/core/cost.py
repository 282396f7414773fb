"""What a program costs: floating-point operations and bytes moved.

A primitive's rule ``flops`` counts operations from shapes and dtypes, and its rule
``traffic`` the bytes it reads and writes where these are not simply those of all
operands and results.  A primitive that holds programs and has no rule costs what they
cost, each run once.  :mod:`funcad.core.counting` says what an operation is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from funcad.core.counting import entries, size_in_bytes
from funcad.core.errors import format_line
from funcad.core.printing import Names, type_name
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import (
    PYTHON_SCALARS,
    Params,
    Primitive,
    ShapedArray,
    aval_of,
)
from funcad.core.validation import programs_in

_MOST_ROWS = 60


class EquationCost(NamedTuple):
    """Cost of one equation, with that of the programs in its parameters."""

    result: str
    """The variables that it defines, with their types."""
    primitive: str
    flops: int
    read: int
    """Bytes of what is read."""
    written: int
    """Bytes of what is written."""
    line: tuple[str, int] | None = None
    """File and number of the user's line."""

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return self.read + self.written


class Cost:
    """Cost of a program; prints as a table, in a notebook as an HTML table.

    Parameters
    ----------
    rows : list of EquationCost
        One for each equation.

    Attributes
    ----------
    flops, read, written, bytes : int
        The totals.
    """

    __slots__ = ("flops", "read", "rows", "written")

    def __init__(self, rows: Sequence[EquationCost]) -> None:
        self.rows = list(rows)
        self.flops = sum(row.flops for row in rows)
        self.read = sum(row.read for row in rows)
        self.written = sum(row.written for row in rows)

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return self.read + self.written

    @property
    def intensity(self) -> float:
        """Operations for each byte moved."""
        return self.flops / self.bytes if self.bytes else math.nan

    def __str__(self) -> str:
        table = self._table()
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        lines = []
        for row in table:
            cells = [
                cell.rjust(width) if i in _NUMBERS else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths))
            ]
            lines.append("  ".join(cells).rstrip())
        rule = "-" * (sum(widths[:-1]) + 2 * (len(widths) - 2))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *body = self._table()
        parts = ["<table><thead>", _html_row(head, "th"), "</thead><tbody>"]
        parts += [_html_row(row, "td") for row in body[:-1]]
        return "".join([*parts, "</tbody><tfoot>", _html_row(body[-1], "th")]) + (
            "</tfoot></table>"
        )

    def _table(self) -> list[list[str]]:
        rows = self.rows
        others: list[EquationCost] = []
        if len(rows) > _MOST_ROWS:
            # sorting is stable: among equals, those that come first
            order = sorted(range(len(rows)), key=lambda i: -rows[i].flops)
            others = [rows[i] for i in order[_MOST_ROWS:]]
            rows = [rows[i] for i in sorted(order[:_MOST_ROWS])]
        table = [["result", "primitive", "flops", "share", "bytes", "line"]]
        for r in rows:
            table.append(
                [_short(r.result), r.primitive, f"{r.flops:,}", self._share(r.flops)]
                + [f"{r.bytes:,}", format_line(r.line)]
            )
        if others:
            flops = sum(r.flops for r in others)
            table.append(
                [f"{len(others)} others", "", f"{flops:,}", self._share(flops)]
                + [f"{sum(r.bytes for r in others):,}", ""]
            )
        total = [f"{self.flops:,}", self._share(self.flops), f"{self.bytes:,}", ""]
        return [*table, ["total", "", *total]]

    def _share(self, flops: int) -> str:
        return f"{100 * flops / self.flops:.1f}%" if self.flops else ""


_NUMBERS = (2, 3, 4)
_LONGEST_RESULT = 48


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_RESULT else text[: _LONGEST_RESULT - 3] + "..."


def _html_row(cells: Sequence[str], tag: str) -> str:
    parts = []
    for i, cell in enumerate(cells):
        align = "right" if i in _NUMBERS else "left"
        parts.append(f'<{tag} style="text-align:{align}">{escape(cell)}</{tag}>')
    return f"<tr>{''.join(parts)}</tr>"


def cost_of(program: Program) -> Cost:
    """Cost of each equation of a program; see `Program.cost`."""
    names = Names.of(program)
    return Cost([_equation_cost(e, names) for e in program.equations])


def _equation_cost(equation: Equation, names: Names) -> EquationCost:
    primitive, inputs, params, outputs, line = equation
    result = ", ".join(f"{names[v]}:{type_name(v)}" for v in outputs)
    operands = [_aval(v) for v in inputs]
    results = [_aval(v) for v in outputs]
    flops = flops_of(primitive, operands, results, params)
    distinct = {id(v): v for v in inputs}.values()
    read, written = traffic_of(
        primitive, [_aval(v) for v in distinct if _is_array(v)], results, params, flops
    )
    return EquationCost(result, primitive.name, flops, read, written, line)


def flops_of(
    primitive: Primitive,
    inputs: Sequence[ShapedArray],
    outputs: Sequence[ShapedArray],
    params: Params,
) -> int:
    """Floating-point operations of an equation.

    Parameters
    ----------
    primitive : Primitive
        Whose rule counts; without a rule it is what the programs in its parameters
        cost, or one operation an entry of the results.
    inputs, outputs : sequence of ShapedArray
        Shapes and dtypes of operands and results.
    params : dict
        Its parameters.

    Returns
    -------
    int
    """
    if primitive.flops is not None:
        return int(round(primitive.flops(inputs, outputs, params)))
    nested = programs_in(params)
    if nested:
        return sum(_cost_once(p).flops for p in nested)
    return sum(entries(v) for v in outputs)


def traffic_of(
    primitive: Primitive,
    inputs: Sequence[ShapedArray],
    outputs: Sequence[ShapedArray],
    params: Params,
    flops: int | None = None,
) -> tuple[int, int]:
    """Bytes that an equation reads and writes; parameters as for :func:`flops_of`.

    Programs in parameters are run as often as its ``flops`` make them out to be.
    """
    if primitive.traffic is not None:
        read, written = primitive.traffic(inputs, outputs, params)
        return read, written
    if primitive.view in ("always", "contiguous") or (
        primitive.view and inputs[:1] == outputs
    ):
        return 0, 0
    nested = [_cost_once(p) for p in programs_in(params)]
    if nested:
        if flops is None:
            flops = flops_of(primitive, inputs, outputs, params)
        once = sum(c.flops for c in nested)
        times = flops / once if once else 1
        read, written = sum(c.read for c in nested), sum(c.written for c in nested)
        return round(times * read), round(times * written)
    return sum(map(size_in_bytes, inputs)), sum(map(size_in_bytes, outputs))


def _cost_once(program: Program) -> Cost:
    """The cost of a program that others hold, perhaps many times."""
    found = program.derived.get(cost_of)
    if found is None:
        found = program.derived.setdefault(cost_of, cost_of(program))
    return found  # type: ignore[no-any-return]


def _is_array(v: Any) -> bool:
    return v is not None and type(v) not in PYTHON_SCALARS


def _aval(v: Any) -> ShapedArray:
    if isinstance(v, Var):
        return ShapedArray(v.shape, v.dtype)
    return aval_of(v)
