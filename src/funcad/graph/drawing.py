"""Graphs of nodes as pictures: a box for each node, laid out as programs are."""

from __future__ import annotations

from collections.abc import Sequence

from funcad.core.drawing import INPUT, OUTPUT, Box, Drawing, Use, graph, picture
from funcad.core.errors import format_line
from funcad.graph.derivatives import vjp
from funcad.graph.nodes import Node, constant, placeholder

_OPERATION, _GRADIENT = "#e3eefb", "#fde7cf"


def draw(
    eval_nodes: Sequence[Node], order: Sequence[Node], engine: str | None
) -> Drawing:
    """Picture of nodes, given inputs first, and of which of them are results.

    Gradients that the engine computes have a colour of their own; what they need of the
    operation that they belong to are its operands.
    """
    numbers = {node: i for i, node in enumerate(order)}
    boxes = [_box(node) for node in order]
    uses = [
        Use(numbers[x], numbers[node], [x.name])
        for node in order
        for x in dict.fromkeys(node.inputs)
    ]
    for node in eval_nodes:
        uses.append(Use(numbers[node], len(boxes), [node.name]))
        label = f"return {node.name}"
        boxes.append(Box((label,), OUTPUT, label, False))
    return picture([graph(boxes, uses)], engine)


def _box(node: Node) -> Box:
    tooltip = f"{node.name} = {node.expression()}\n{format_line(node.line)}".strip()
    tooltip = "".join(c for c in tooltip if c == "\n" or c.isprintable())
    if node.op is placeholder:
        return Box((node.name,), INPUT, tooltip, False)
    if node.op is constant:
        return Box((node.expression(),), INPUT, tooltip, False)
    if node.op is vjp:
        forward, i = node.attrs["node"], node.attrs["operand"]
        text = f"of {forward.name} in {forward.inputs[i].name}"
        return Box((node.name, text), _GRADIENT, tooltip)
    attributes = [f"{k}={v}" for k, v in node.attrs.items() if len(str(v)) < 24]
    lines = [node.name, *([", ".join(attributes)] if attributes else [])]
    return Box(tuple(lines), _OPERATION, tooltip)
