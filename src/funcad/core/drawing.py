"""Programs as pictures: a graph with a box for each equation, as SVG.

Graphviz's ``dot`` lays it out where it is installed, :mod:`funcad.core.layout`
elsewhere.  A box shows the primitive, the values among its operands, and the variables
that it defines; hovering over it shows the whole equation and the user's line.
Programs in parameters are drawn below the program that holds them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from funcad.core.errors import ArgumentError, format_line
from funcad.core.layout import layered, layers
from funcad.core.printing import Inner, Names, equation_pieces, type_name
from funcad.core.program import Equation, Program, Var
from funcad.core.validation import programs_in

_FONT = "DejaVu Sans Mono, Menlo, Consolas, monospace"
_SIZE = 12.0
_ADVANCE = 0.61 * _SIZE
_LINE = 1.35 * _SIZE
_MARGIN = 16.0
_LONGEST_LABEL = 44
_PATIENCE = 20.0  # seconds that dot may take
_LONGEST_EDGE, _MOST_BENDS = 24, 4000

INPUT, OUTPUT, _TAG = "#fff8dc", "#e8f5e0", "#ffffff"
_FAMILIES = {
    "elementwise": "#e3eefb",
    "linear": "#f2f2f2",
    "multilinear": "#fde7cf",
    "reduction": "#e2f3ee",
    "along axis": "#e2f3ee",
    "along axes": "#e2f3ee",
    "linalg": "#fbdfe3",
    "call": "#ece4f7",
}
_OTHER = "#f7f0e3"


class Drawing:
    """A picture of a program; ``str(drawing)`` is its SVG.

    Parameters
    ----------
    svg : str
        The text of the picture.
    """

    __slots__ = ("svg",)

    def __init__(self, svg: str) -> None:
        self.svg = svg

    def __str__(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<drawing of {self.svg.count(_NODE)} boxes; save(path) writes it>"

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to a file, which should be called something.svg."""
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.svg)


_NODE = 'class="node"'


class Box(NamedTuple):
    """A node of the picture."""

    lines: tuple[str, ...]
    fill: str
    tooltip: str = ""
    heavy: bool = True
    """Whether the first line is bold and the corners are square: an equation."""


class Graph(NamedTuple):
    """Boxes of one program, and edges between them by number, all pointing forward."""

    title: str
    boxes: list[Box]
    edges: list[tuple[int, int]]


def draw(program: Program, engine: str | None = None) -> Drawing:
    """Picture of a program; see `Program.draw`."""
    return picture(graphs_of(program), engine)


def picture(graphs: Sequence[Graph], engine: str | None = None) -> Drawing:
    """Picture of graphs, under one another."""
    if engine not in (None, "dot", "python"):
        raise ArgumentError(
            f'draw: engine={engine!r} is none of "dot", "python" and None.'
        )
    if engine != "python":
        if shutil.which("dot") is None:
            if engine == "dot":
                raise ArgumentError(
                    'draw: engine="dot" needs graphviz, whose program dot is not to be '
                    "found. Leave engine= out, and funcad lays the picture out."
                )
        else:
            svg = _by_dot(graphs)
            if svg is not None:
                return Drawing(svg)
    return Drawing(_by_hand(graphs))


# ------------------------------------------------------------------------- the graph


def graphs_of(program: Program) -> list[Graph]:
    """The graph of a program, and of each that it holds."""
    inner = Inner()
    graphs = [_graph(program, "", inner)]
    for name, nested in inner.waiting:  # grows on the way
        graphs.append(_graph(nested, name, inner))
    return graphs


class Use(NamedTuple):
    """That a box needs what another one defines, by number."""

    source: int
    target: int
    names: list[str]


def _graph(program: Program, title: str, inner: Inner) -> Graph:
    names = Names.of(program)
    boxes: list[Box] = []
    uses: list[Use] = []
    made_by: dict[Var, int] = {}

    def add(box: Box, inputs: Sequence[Any], outputs: Sequence[Var]) -> None:
        sources: dict[int, dict[str, None]] = {}
        for v in inputs:
            if isinstance(v, Var):
                sources.setdefault(made_by[v], {})[names[v]] = None
        uses.extend(Use(a, len(boxes), list(of)) for a, of in sources.items())
        made_by.update((v, len(boxes)) for v in outputs)
        boxes.append(box)

    for v in program.inputs:
        label = f"{names[v]}:{type_name(v)}"
        add(Box((label,), INPUT, f"input {label}", False), (), (v,))
    for e in program.equations:
        add(_equation_box(e, names, inner), e.inputs, e.outputs)
    for v in program.outputs:
        label = f"return {names.value(v).text}"
        add(Box((label,), OUTPUT, label, False), (v,), ())
    return graph(boxes, uses, title)


def graph(boxes: list[Box], uses: Sequence[Use], title: str = "") -> Graph:
    """Boxes and edges; instead of an edge that is too long, the name of what it brings.

    The longest edges of a long program would run side by side over its whole height.
    """
    layer = layers(len(boxes), [(u.source, u.target) for u in uses])
    spans = [layer[u.target] - layer[u.source] for u in uses]
    longest = _LONGEST_EDGE
    while longest > 2 and sum(n for n in spans if n <= longest) > _MOST_BENDS:
        longest -= 1
    if max(spans, default=0) <= longest:
        return Graph(title, boxes, [(u.source, u.target) for u in uses])
    out: list[Box] = []
    edges: list[tuple[int, int]] = []
    numbers: list[int] = []
    arriving: list[list[tuple[Use, int]]] = [[] for _ in boxes]
    for u, span in zip(uses, spans):
        arriving[u.target].append((u, span))
    for i, box in enumerate(boxes):
        tags = [name for u, n in arriving[i] if n > longest for name in u.names]
        if tags:
            label = short(", ".join(tags))
            out.append(Box((label,), _TAG, f"{label}: defined far above", False))
        numbers.append(len(out))
        if tags:
            edges.append((len(out) - 1, numbers[i]))
        edges += [
            (numbers[u.source], numbers[i]) for u, n in arriving[i] if n <= longest
        ]
        out.append(box)
    return Graph(title, out, edges)


def _equation_box(e: Equation, names: Names, inner: Inner) -> Box:
    full = "".join(piece.text for piece in equation_pieces(e, names, inner))
    nested = " ".join(inner.name(p) for p in programs_in(e.params))
    values = ["\u00b7" if isinstance(v, Var) else names.value(v).text for v in e.inputs]
    if all(v == "\u00b7" for v in values):
        values = []
    head = short(" ".join(filter(None, [e.primitive.name, nested, *values])))
    results = [short(f"{names[v]}:{type_name(v)}") for v in e.outputs]
    if len(results) > 4:
        results = [*results[:3], f"and {len(results) - 3} more"]
    left = ", ".join(f"{names[v]}:{type_name(v)}" for v in e.outputs)
    return Box((head, *results), fill_of(e), tooltip_of(f"{left} = {full}", e))


def fill_of(e: Equation) -> str:
    """Colour of the box of an equation: that of the primitive's family."""
    return _FAMILIES.get(e.primitive.family, _OTHER)


def tooltip_of(text: str, e: Equation) -> str:
    """A text and the user's line."""
    if e.line:
        text += f"\n{format_line(e.line)}"
    # what XML has no place for, such as a form feed in the user's file
    return "".join(c for c in text if c == "\n" or c.isprintable())


def short(text: str) -> str:
    """A text that a box has room for."""
    if len(text) <= _LONGEST_LABEL:
        return text
    return text[: _LONGEST_LABEL - 1] + "\u2026"


# --------------------------------------------------------------------------- as SVG


def _by_hand(graphs: Sequence[Graph]) -> str:
    """The pictures under one another, laid out by funcad."""
    parts: list[str] = []
    width, y = 0.0, _MARGIN
    for graph in graphs:
        if graph.title:
            y += 2 * _LINE
            title = f"{graph.title} ="
            parts.append(_text(_MARGIN, y, title, "font-weight:bold", "start"))
            y += _LINE
        sizes = [_size(box) for box in graph.boxes]
        layout = layered(sizes, graph.edges)
        parts.append(f'<g transform="translate({_MARGIN:g},{y:.1f})">')
        parts += [_curve(path) for path in layout.paths]
        for box, (cx, cy), (w, h) in zip(graph.boxes, layout.centres, sizes):
            parts += _box(box, cx, cy, w, h)
        parts.append("</g>")
        width = max(width, layout.width)
        y += layout.height
    width, height = width + 2 * _MARGIN, y + _MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'font-family="{_FONT}" font-size="{_SIZE:g}">'
    )
    arrow = (
        '<defs><marker id="funcad-arrow" viewBox="0 0 8 8" refX="7" refY="4" '
        'markerWidth="7" markerHeight="7" orient="auto"><path d="M0,0.8 L8,4 L0,7.2 z" '
        'fill="#666"/></marker></defs>'
    )
    ground = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, arrow, ground, *parts, "</svg>"])


def _size(box: Box) -> tuple[float, float]:
    letters = max(map(len, box.lines))
    return letters * _ADVANCE + 16, len(box.lines) * _LINE + 10


def _box(box: Box, cx: float, cy: float, w: float, h: float) -> list[str]:
    radius = 3 if box.heavy else min(h / 2, _LINE)
    y = cy - len(box.lines) * _LINE / 2 + 0.75 * _LINE
    parts = [
        f"<g {_NODE}><title>{escape(box.tooltip)}</title>",
        f'<rect x="{cx - w / 2:.1f}" y="{cy - h / 2:.1f}" width="{w:.1f}" '
        f'height="{h:.1f}" rx="{radius:g}" fill="{box.fill}" stroke="#555"/>',
    ]
    for i, line in enumerate(box.lines):
        bold = "font-weight:bold" if box.heavy and i == 0 else ""
        parts.append(_text(cx, y + i * _LINE, line, bold))
    return [*parts, "</g>"]


def _text(
    x: float, y: float, text: str, style: str = "", anchor: str = "middle"
) -> str:
    styled = f' style="{style}"' if style else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="#111"{styled}>{escape(text)}</text>'


def _curve(path: Sequence[tuple[float, float]]) -> str:
    """A smooth line down through points, straight where it passes a layer."""
    (x, y), *rest = path
    parts = [f"M{x:.1f},{y:.1f}"]
    for i, (u, v) in enumerate(rest):
        if i % 2:
            parts.append(f"L{u:.1f},{v:.1f}")
        else:
            half = (y + v) / 2
            parts.append(f"C{x:.1f},{half:.1f} {u:.1f},{half:.1f} {u:.1f},{v:.1f}")
        x, y = u, v
    return (
        f'<path class="edge" d="{" ".join(parts)}" fill="none" stroke="#666" '
        'stroke-width="1.2" marker-end="url(#funcad-arrow)"/>'
    )


# ------------------------------------------------------------------------- graphviz


def _by_dot(graphs: Sequence[Graph]) -> str | None:
    """The picture that ``dot`` makes; ``None`` if it fails or takes too long."""
    lines = [
        "digraph program {",
        f'node [fontname="{_FONT}" fontsize={_SIZE:g} style=filled color="#555555"];',
        f'graph [fontname="{_FONT}" fontsize={_SIZE:g} nodesep=0.25 ranksep=0.35];',
        'edge [color="#666666" arrowsize=0.6];',
    ]
    for g, graph in enumerate(graphs):
        if graph.title:
            lines += [f"subgraph cluster_{g} {{", f"label={_quoted(graph.title)};"]
        for i, box in enumerate(graph.boxes):
            style = "filled" if box.heavy else "filled,rounded"
            lines.append(
                f"n{g}_{i} [label={_label(box)} shape=box style={_quoted(style)} "
                f"fillcolor={_quoted(box.fill)} tooltip={_quoted(box.tooltip)}];"
            )
        lines += [f"n{g}_{a} -> n{g}_{b};" for a, b in graph.edges]
        if graph.title:
            lines.append("}")
    source = "\n".join([*lines, "}"])
    try:
        run = subprocess.run(
            ["dot", "-Tsvg"],
            input=source.encode(),
            capture_output=True,
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    svg = run.stdout.decode()
    return svg[svg.index("<svg") :]


def _quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def _label(box: Box) -> str:
    first, *rest = (escape(line) for line in box.lines)
    if box.heavy:
        first = f"<b>{first}</b>"
    return f"<{'<br/>'.join([first, *rest])}>"
