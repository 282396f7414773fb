"""What ``profile`` reports: tables of rows, and a sentence on what takes longest."""

from __future__ import annotations

import functools
import html
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from funcad.core.errors import ArgumentError, format_line
from funcad.core.tracing import ShapedArray
from funcad.profiling.chrome import chrome_trace, write_json
from funcad.profiling.machine import peaks
from funcad.profiling.units import bytes_text, number_text, rate_text, seconds_text

Line = tuple[str, int] | None

OUTSIDE = "outside of operations"
SHOWN = 20
"""Rows that are printed of a table."""


class Operation(NamedTuple):
    """One call of a primitive."""

    name: str
    """Of the primitive."""
    line: Line
    """File and line number in the user's code."""
    inputs: tuple[ShapedArray, ...]
    """Shapes and dtypes of the operands."""
    outputs: tuple[ShapedArray, ...]
    """Shapes and dtypes of the results."""
    start: float
    """Seconds since the function was called."""
    seconds: float
    """How long it took."""
    thread: int
    """Identifier of the thread that it ran in."""
    flops: float | None
    """Floating-point operations; ``None`` where the primitive does not say."""
    nbytes: int
    """Bytes of operands and results; none, where the result is a view."""
    live: int
    """Bytes of all results of operations that were alive when it ended."""
    backward: bool = False
    """Whether it is part of a backward pass; those of compiled programs do not say."""


class Span(NamedTuple):
    """The call of a jitted function, a loop, ...: its operations ran within it."""

    name: str
    start: float
    seconds: float
    thread: int


class Row(NamedTuple):
    """Several operations, added up."""

    name: str
    """Primitive, or primitives."""
    operands: str
    """Shapes and dtypes of the operands, where they are the same for all."""
    line: Line
    """File and line number in the user's code, where it is the same for all."""
    calls: int
    """How many operations they are."""
    seconds: float
    """How long they took together."""
    share: float
    """Their part of the time of the function, from 0 to 1."""
    flops_per_second: float | None
    """Floating-point operations a second; ``None`` where a primitive does not say."""
    bytes_per_second: float | None
    """Bytes of operands and results a second; ``None`` where nothing is moved."""
    peak_bytes: int | None
    """Most bytes of results alive at the end of one of them."""


class Table(Sequence[Row]):
    """Rows that print aligned, and show in Jupyter.

    The shares of all rows add up to one: a row for the time outside of operations is
    among them.
    """

    def __init__(self, title: str, rows: Sequence[Row]) -> None:
        self.title = title
        self.rows = tuple(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: Any) -> Any:
        return self.rows[i]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __str__(self) -> str:
        return self.pretty()

    def __repr__(self) -> str:
        return f"<Table: {self.title}, {len(self.rows)} rows>"

    def pretty(self, rows: int = SHOWN) -> str:
        """Aligned text.

        Parameters
        ----------
        rows : int, optional
            How many rows to print; the others are added up in one.

        Returns
        -------
        str
        """
        cells = [[c.strip() for c in _HEAD], *map(_cells, self.shown(rows))]
        numbers = len(_HEAD) - 2
        widths = [max(len(row[i]) for row in cells) for i in range(len(_HEAD))]
        lines = [
            "  ".join(
                cell.rjust(width) if i < numbers else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths))
            ).rstrip()
            for row in cells
        ]
        return "\n".join([self.title, *lines])

    def _repr_html_(self) -> str:
        numbers = len(_HEAD) - 2

        def line(tag: str, cells: Sequence[str], share: float) -> str:
            bar = f"linear-gradient(to right,#8ab4e888 {share:.1%},transparent 0)"
            return (
                f'<tr style="background:{bar}">'
                + "".join(
                    f'<{tag} style="text-align:{"right" if i < numbers else "left"}">'
                    f"{html.escape(cell)}</{tag}>"
                    for i, cell in enumerate(cells)
                )
                + "</tr>"
            )

        shown = self.shown(SHOWN)
        return (
            f"<table><caption>{html.escape(self.title)}</caption><thead>"
            + line("th", _HEAD, 0.0)
            + "</thead><tbody>"
            + "".join(line("td", _cells(row), row.share) for row in shown)
            + "</tbody></table>"
        )

    def shown(self, count: int) -> list[Row]:
        """The first rows, and one for all of the others."""
        if len(self.rows) <= count + 1:
            return list(self.rows)
        rest = self.rows[count:]
        other = Row(
            name=f"{len(rest)} more rows",
            operands="",
            line=None,
            calls=sum(row.calls for row in rest),
            seconds=sum(row.seconds for row in rest),
            share=sum(row.share for row in rest),
            flops_per_second=None,
            bytes_per_second=None,
            peak_bytes=max((row.peak_bytes or 0 for row in rest), default=0) or None,
        )
        return [*self.rows[:count], other]


_HEAD = ("share", "time", "calls", "GFLOP/s", "GB/s", "peak", "operation", "line")


def _cells(row: Row) -> list[str]:
    return [
        f"{row.share:.1%}",
        seconds_text(row.seconds),
        str(row.calls or ""),
        rate_text(row.flops_per_second),
        rate_text(row.bytes_per_second),
        "" if row.peak_bytes is None else bytes_text(row.peak_bytes),
        _shortened(f"{row.name} {row.operands}".strip(), 48),
        short_line(row.line),
    ]


def short_line(line: Line, length: int = 48) -> str:
    """The line of the user's code, without the folders of its file."""
    if line is None:
        return ""
    folder, _ = os.path.split(line[0])
    text = format_line(line)
    return _shortened(text[len(folder) + 1 :] if folder else text, length)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


class Profile:
    """Where the time of one call of a function went.

    ``print(report)`` shows it, and Jupyter does; ``report.by_line()`` and its kin are
    the tables.

    Attributes
    ----------
    name : str
        Of the function.
    result : pytree
        What it returned.
    """

    def __init__(
        self,
        name: str,
        result: Any,
        resolve: Callable[[], tuple[list[Operation], list[Span], float]],
        seconds: float,
        array_type: type,
    ) -> None:
        self.name = name
        self.result = result
        self._resolve: Callable[[], Any] | None = resolve
        self._seconds = seconds
        self._array_type = array_type

    def _resolved(self) -> tuple[list[Operation], list[Span], float]:
        # not before it is asked for: what follows the call may be timed, too
        resolve = self._resolve
        if resolve is not None:
            # two threads may both get here, and find the same
            self._found = resolve()
            self._resolve = None
        return self._found

    @property
    def operations(self) -> list[Operation]:
        """Every operation, in the order in which they ended."""
        return self._resolved()[0]

    @property
    def spans(self) -> list[Span]:
        """Calls of jitted functions, loops, ...; what ran in them is an operation."""
        return self._resolved()[1]

    @functools.cached_property
    def _busy(self) -> float:
        return sum(operation.seconds for operation in self.operations)

    @property
    def overhead(self) -> float:
        """Seconds that it took to record the operations, measured."""
        return self._resolved()[2]

    @property
    def seconds(self) -> float:
        """Seconds that the call took, without those that recording took."""
        # operations of several threads may take longer together than the call
        return max(self._seconds - self.overhead, self._busy)

    @property
    def outside(self) -> float:
        """Seconds of the call that were spent outside of operations."""
        return self.seconds - self._busy

    @property
    def peak_bytes(self) -> int:
        """Most bytes of results of operations alive at the end of one.

        The function's arguments, arrays made in other ways, and what an operation
        needs while it runs are not counted.
        """
        return max((operation.live for operation in self.operations), default=0)

    # -------------------------------------------------------------------------- tables

    def by_equation(self) -> Table:
        """Operations on equal shapes at the same line, added up.

        Returns
        -------
        Table
            Sorted by time.
        """
        return self._table(
            "equations", lambda o: (_name(o), _operands(o), o.line), lambda key: key
        )

    def by_primitive(self) -> Table:
        """Operations of the same primitive, added up; sorted by time."""
        return self._table(
            "primitives", lambda o: o.name, lambda name: (name, "", None)
        )

    def by_line(self) -> Table:
        """Operations at the same line of the user's code, added up; sorted by time.

        Those of its derivative count for a line, too.
        """
        return self._table("lines", lambda o: o.line, lambda line: (None, "", line))

    def _table(
        self,
        what: str,
        key: Callable[[Operation], Hashable],
        describe: Callable[[Any], tuple[str | None, str, Line]],
    ) -> Table:
        groups: dict[Any, list[Operation]] = {}
        for operation in self.operations:
            groups.setdefault(key(operation), []).append(operation)
        rows = [self._row(group, *describe(k)) for k, group in groups.items()]
        share = self.outside / self.seconds if self.seconds else 0.0
        rows.append(Row(OUTSIDE, "", None, 0, self.outside, share, None, None, None))
        rows.sort(key=lambda row: -row.seconds)
        return Table(f"{self.name}, by {what}", rows)

    def _row(
        self, group: Sequence[Operation], name: str | None, operands: str, line: Line
    ) -> Row:
        seconds = sum(o.seconds for o in group)
        flops = None if any(o.flops is None for o in group) else _total(group, "flops")
        nbytes = _total(group, "nbytes")
        return Row(
            name=_names(group) if name is None else name,
            operands=operands,
            line=line,
            calls=len(group),
            seconds=seconds,
            share=seconds / self.seconds if self.seconds else 0.0,
            flops_per_second=flops / seconds if flops and seconds else None,
            bytes_per_second=nbytes / seconds if nbytes and seconds else None,
            peak_bytes=max(o.live for o in group),
        )

    # --------------------------------------------------------------------------- words

    @functools.cached_property
    def bottleneck(self) -> str:
        """What takes longest, in a sentence, and what limits it.

        The rates that it is judged by, those of a large matrix product and of a large
        copy, are measured when they are first needed (the roofline of Williams,
        Waterman and Patterson, 2009).
        """
        groups: dict[Any, list[Operation]] = {}
        for operation in self.operations:
            groups.setdefault((operation.name, operation.line), []).append(operation)
        rows = [self._row(g, n, "", line) for (n, line), g in groups.items()]
        worst = max(rows, key=lambda row: row.seconds, default=None)
        if worst is None or self.outside > worst.seconds:
            share = self.outside / self.seconds if self.seconds else 1.0
            return (
                f"The largest part of the time, {share:.0%}, is spent outside of "
                f"operations on the arguments ({seconds_text(self.outside)}): in "
                "Python, and in what depends on no argument. Fewer and larger "
                "operations (funcad.vmap instead of a loop) or a compiled function "
                "(jit) save it."
            )
        group = groups[worst.name, worst.line]
        where = f" at {short_line(worst.line)}" if worst.line else ""
        return (
            f"The largest part of the time, {worst.share:.0%}, is spent in "
            f"{worst.name}{where}. {self._limit(worst, group)}"
        )

    def _limit(self, row: Row, group: Sequence[Operation]) -> str:
        each = row.seconds / row.calls
        if each < SMALL:
            return (
                f"A call takes {seconds_text(each)}, which is the cost of calling "
                "rather than of computing: fewer calls on larger arrays save it."
            )
        dtype = group[0].outputs[0].dtype if group[0].outputs else np.dtype(float)
        if dtype.kind not in "fc" or dtype.char in "egG":
            dtype = np.dtype(float)
        peak = peaks(self._array_type, dtype)
        flops, moved = row.flops_per_second or 0.0, row.bytes_per_second or 0.0
        arithmetic, memory = flops / peak.flops, moved / peak.bytes
        computes = (
            f"It reaches {number_text(flops / 1e9)} GFLOP/s, {arithmetic:.0%} of the "
            f"{number_text(peak.flops / 1e9)} of a large matrix product"
        )
        moves = (
            f"t moves {number_text(moved / 1e9)} GB/s, {memory:.0%} of the "
            f"{number_text(peak.bytes / 1e9)} of a large copy"
        )
        if max(arithmetic, memory) < NEAR:
            reached = f"{computes}, and i{moves}" if flops else f"I{moves}"
            return f"{reached}: " + (
                "neither arithmetic nor memory is its limit."
                if flops
                else "memory is not its limit."
            )
        if arithmetic >= memory:
            return f"{computes}: arithmetic is its limit."
        return (
            f"I{moves}: memory is its limit, and smaller dtypes or fewer passes over "
            "the arrays save time."
        )

    def __str__(self) -> str:
        return self.pretty()

    def __repr__(self) -> str:
        return (
            f"<Profile of {self.name}: {seconds_text(self.seconds)}, "
            f"{len(self.operations)} operations>"
        )

    def pretty(self, by: str = "equation", rows: int = SHOWN) -> str:
        """The report as text.

        Parameters
        ----------
        by : {"equation", "primitive", "line"}, optional
            What a row is.
        rows : int, optional
            How many rows to print.

        Returns
        -------
        str
        """
        return "\n".join(
            [
                self._headline(),
                self.bottleneck,
                self._recorded(),
                "",
                self.table(by).pretty(rows),
            ]
        )

    def _repr_html_(self) -> str:
        sentences = (self._headline(), self.bottleneck, self._recorded())
        return (
            "<div>"
            + "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)
            + "".join(
                f"<details{' open' * (by == 'equation')}><summary>by {by}</summary>"
                f"{self.table(by)._repr_html_()}</details>"
                for by in ("equation", "line", "primitive")
            )
            + "</div>"
        )

    def table(self, by: str) -> Table:
        """One of the three tables.

        Parameters
        ----------
        by : {"equation", "primitive", "line"}
            What a row is.

        Returns
        -------
        Table
        """
        tables = {
            "equation": self.by_equation,
            "primitive": self.by_primitive,
            "line": self.by_line,
        }
        if by not in tables:
            raise ArgumentError(
                f'a profile is shown by "equation", "primitive" or "line", not {by!r}.'
            )
        return tables[by]()

    def _headline(self) -> str:
        return (
            f"{self.name}: {seconds_text(self.seconds)}, "
            f"{len(self.operations)} operations, "
            f"at most {bytes_text(self.peak_bytes)} of results alive."
        )

    def _recorded(self) -> str:
        share = self.overhead / self.seconds if self.seconds else 0.0
        return (
            f"Recording took {seconds_text(self.overhead)} more ({share:.1%}), which "
            "is not counted."
        )

    # ----------------------------------------------------------------------- elsewhere

    def to_chrome_trace(self) -> dict[str, Any]:
        """The operations in the Trace Event Format, which timeline viewers read.

        Returns
        -------
        dict
            As ``json.dump`` takes it.
        """
        return chrome_trace(self)

    def save_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write a file for chrome://tracing or https://ui.perfetto.dev.

        Parameters
        ----------
        path : path
            Of the file; one that exists is replaced.
        """
        write_json(self.to_chrome_trace(), path)

    def plot(self) -> Any:
        """The report as a figure; see `funcad.viz.profile_plot`."""
        from funcad.viz import profile_plot

        return profile_plot(self)


SMALL = 5e-6
"""Seconds under which a call is mostly what NumPy takes for any call."""

NEAR = 0.3
"""Part of a peak from which on it is said to be the limit."""


def _name(operation: Operation) -> str:
    return operation.name + " (backward)" * operation.backward


def _operands(operation: Operation) -> str:
    return " ".join(map(str, operation.inputs))


def _names(group: Iterable[Operation]) -> str:
    """The names of primitives, those that take longest first."""
    seconds: dict[str, float] = {}
    for o in group:
        seconds[o.name] = seconds.get(o.name, 0.0) + o.seconds
    return ", ".join(sorted(seconds, key=lambda name: -seconds[name]))


def _total(group: Iterable[Operation], field: str) -> Any:
    return sum(getattr(o, field) for o in group)
