"""Gradients as graphs: one operation differentiates all others, and itself.

A node of :data:`vjp` holds another node and the number of an operand.  To compute it is
to linearise that node's operation at its inputs and to transpose (``funcad.vjp``).  Its
own gradient is made in the same way, so there is nothing more to say about gradients of
gradients.  What was broadcast is summed in there, when shapes are known, and it turns
out there which gradients are zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.errors import BackwardLine, GraphError
from funcad.core.tracing import (
    PYTHON_SCALARS,
    Array,
    aval_of,
    dtype_of,
    shape_of,
)
from funcad.graph import ops
from funcad.graph.nodes import (
    Node,
    Op,
    checked_nodes,
    placeholder,
    topological_sort,
)
from funcad.transforms.arguments import check_tangents, has_tangent
from funcad.transforms.linear import transpose
from funcad.transforms.reverse import vjp as engine_vjp

__all__ = ["gradients"]


def gradients(output_node: Node, nodes: Sequence[Node]) -> list[Node]:
    """Gradients of a node with respect to others, as nodes of the same graph.

    Parameters
    ----------
    output_node : Node
        What is differentiated.  If it is an array, then the sum of its entries is.
    nodes : sequence of Node
        With respect to what: variables, or nodes on the way.

    Returns
    -------
    list of Node
        One for each of ``nodes``, of its shape and dtype, to be evaluated or to be
        differentiated again.  Where the output does not depend on a node, the gradient
        is zero, as it is with ``funcad.grad`` and JAX.  That of a variable which turns
        out to hold integers is an error when the graph is run.

    Raises
    ------
    GraphError
        If something given is no node, or if an operation's own ``gradient`` does not
        give a node for each input.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, gradients, log
    >>> x = Variable("x")
    >>> (first,) = gradients(log(x), [x])
    >>> (second,) = gradients(first, [x])
    >>> Evaluator([first, second]).run({x: np.array([1.0, 2.0])})
    [array([1. , 0.5]), array([-1.  , -0.25])]
    """
    (output_node,) = checked_nodes([output_node], "gradients")
    nodes = checked_nodes(nodes, "gradients")
    order = topological_sort([output_node])
    wanted = set(nodes)
    on_the_way: set[Node] = set()
    for node in order:
        if node in wanted or not on_the_way.isdisjoint(node.inputs):
            on_the_way.add(node)
    found = {output_node: ops.ones_like(output_node)}
    for node in reversed(order):
        if node not in found or on_the_way.isdisjoint(node.inputs):
            continue
        total = found[node] if node in wanted else found.pop(node)
        for i, partial in enumerate(_partials(node, total)):
            operand = node.inputs[i]
            if partial is None or operand not in on_the_way:
                continue
            if not _is_engines(partial, node, i):
                partial = checked(partial, node, i)
            known = found.get(operand)
            found[operand] = partial if known is None else add(known, partial)
    return [found[x] if x in found else ops.zeros_like(x) for x in nodes]


def _partials(node: Node, output_grad: Node) -> Sequence[Node | None]:
    """What the operation says the gradients of its operands are."""
    partials = node.op.gradient(node, output_grad)
    if not isinstance(partials, (list, tuple)):
        given = f"a {type(partials).__name__}"
    elif len(partials) != len(node.inputs):
        given = f"{len(partials)} entries"
    else:
        odd = [x for x in partials if not (x is None or isinstance(x, Node))]
        if not odd:
            return partials
        given = f"a {type(odd[0]).__name__} among them"
    raise GraphError(
        f"the gradient of {node.op.name} returns a list of {len(node.inputs)} nodes, "
        f"one for each input of {node!r}, or None for zero; it returned {given}.",
        node.line,
    )


def _is_engines(partial: Node, node: Node, operand: int) -> bool:
    attrs = partial.attrs
    return partial.op is vjp and attrs["node"] is node and attrs["operand"] == operand


class Zero:
    """A gradient that is identically zero, while a graph is run.

    It is no array of zeros, so that it stays zero where a derivative is infinite, and
    nothing is computed with it.
    """

    __slots__ = ("_like", "dtype")

    def __init__(self, like: Array, dtype: Any = None) -> None:
        self._like = like
        self.dtype = dtype or dtype_of(like)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value whose gradient it is."""
        return shape_of(self._like)

    def array(self) -> Array:
        """The zeros."""
        return namespace(self._like).zeros(self.shape, self.dtype)


def explicit(value: Array | Zero) -> Array:
    """A value as others than gradients need it."""
    return value.array() if type(value) is Zero else value


def value_of(node: Node, input_values: Sequence[Array | Zero]) -> Array | Zero:
    """The value of a node; a gradient's may be a :class:`Zero`."""
    op = node.op
    if isinstance(op, Gradient):
        return op.value(node, input_values)
    return op.compute(node, [explicit(x) for x in input_values])


class Gradient(Op):
    """An operation that takes and gives gradients which may be zero identically."""

    def value(self, node: Node, input_values: Sequence[Array | Zero]) -> Array | Zero:
        """The value of a node."""
        raise NotImplementedError

    def compute(self, node: Node, input_values: Sequence[Array]) -> Array:
        return explicit(self.value(node, input_values))


class Pullback(Gradient):
    """Vector-Jacobian product of a node's operation in one operand."""

    name = "vjp"

    def __call__(self, node: Node, operand: int, output_grad: Node) -> Node:
        """The gradient of an operand of a node from that of the node."""
        return Node(
            self, [*node.inputs, output_grad], {"node": node, "operand": operand}
        )

    def value(self, node: Node, input_values: Sequence[Array | Zero]) -> Array | Zero:
        forward, i = node.attrs["node"], node.attrs["operand"]
        *primals, ct = input_values
        before, x, after = primals[:i], explicit(primals[i]), primals[i + 1 :]
        if not has_tangent(x):
            _refuse_variable(forward.inputs[i], x)
            return Zero(x, dtype_of(ct))
        if type(ct) is Zero:
            return Zero(x)

        def of_operand(x: Array) -> Array | None:
            y = value_of(forward, [*before, x, *after])
            return None if type(y) is Zero else y

        y, pull = engine_vjp(of_operand, x)
        if y is None or not has_tangent(y):
            return Zero(x)
        check_tangents([y], [ct], lambda: [forward.name], "gradients", "gradient")
        if type(ct) in PYTHON_SCALARS:
            ct = dtype_of(y).type(ct)
        (out,) = transpose(pull.program, [ct])
        return Zero(x) if out is None else out

    def expression(self, node: Node) -> str:
        forward, i = node.attrs["node"], node.attrs["operand"]
        return f"vjp({forward.name}, operand={i})({node.inputs[-1].name})"


vjp = Pullback()


def _refuse_variable(operand: Node, x: Array) -> None:
    """What has no tangent has gradient zero on the way, but not at its end."""
    if operand.op is placeholder:
        raise GraphError(
            f"gradients are taken with respect to floats and complex numbers, and the "
            f"value of {operand.name} is {aval_of(x)}. Give it floats: "
            "x.astype(float).",
            operand.line,
        )


class Sum(Gradient):
    """The sum of two gradients of one node."""

    name = "add"

    def value(self, node: Node, input_values: Sequence[Array | Zero]) -> Array | Zero:
        a, b = input_values
        if isinstance(a, Zero):
            return b
        return a if isinstance(b, Zero) else np.add(a, b)


add = Sum()


class Checked(Gradient):
    """A gradient that a rule by hand has given, which must be of its operand's type."""

    name = "checked"

    def __call__(self, partial: Node, node: Node, operand: int) -> Node:
        """The gradient, tied to the operand that it is for."""
        attrs = {"rule": node, "operand": operand}
        return Node(self, [partial, node.inputs[operand]], attrs)

    def value(self, node: Node, input_values: Sequence[Array | Zero]) -> Array | Zero:
        partial, x = input_values
        rule, i = node.attrs["rule"], node.attrs["operand"]
        weak = getattr(partial, "weak", None) or not hasattr(partial, "dtype")
        same = weak or dtype_of(partial) == dtype_of(x) or not has_tangent(x)
        if shape_of(partial) != shape_of(x) or not same:
            raise GraphError(
                f"{rule.name} = {rule.expression()}: the gradient that {rule.op.name} "
                f"gives for its input {i}, {rule.inputs[i].name}, is "
                f"{aval_of(partial)}, and that input is {aval_of(x)}; shapes and "
                "dtypes must be equal. Sum over the axes that were broadcast, or "
                "leave gradient to funcad by not defining it.",
                rule.line,
            )
        return partial

    def gradient(self, node: Node, output_grad: Node) -> Sequence[Node | None]:
        return [output_grad, None]

    def expression(self, node: Node) -> str:
        return f"checked({node.inputs[0].name} for {node.inputs[1].name})"


checked = Checked()


def line_of(node: Node) -> Any:
    """The user's line for what a node computes: of a gradient, that of the operation.

    The profiler counts what runs backwards to the line of what it belongs to.
    """
    forward = node
    while forward.op is vjp:
        forward = forward.attrs["node"]
    if forward is node or forward.line is None:
        return forward.line
    return BackwardLine(forward.line)
