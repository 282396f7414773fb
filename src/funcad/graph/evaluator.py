"""The evaluator: a graph as one function, which ``jit`` stages and compiles.

What nodes have in common, what nobody needs and where values lie in memory is the
business of the compiler, which sees the primitives that all nodes are made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from funcad.core.errors import GraphError, LeafTypeError, format_line, run_at
from funcad.core.tracing import Array, aval_of
from funcad.graph.derivatives import Zero, explicit, line_of, value_of
from funcad.graph.nodes import (
    Node,
    checked_nodes,
    placeholder,
    topological_sort,
)
from funcad.transforms.arguments import is_array
from funcad.transforms.jit import jit
from funcad.transforms.lowered import Lowered
from funcad.transforms.stage import ShapeDtypeStruct

if TYPE_CHECKING:
    from funcad.core.drawing import Drawing

__all__ = ["Evaluator"]


class Evaluator:
    """A function from the values of variables to the values of nodes.

    All nodes are computed together: they are staged once for each combination of
    shapes and dtypes, and compiled as one program, in which what they share is computed
    once and memory is used again as soon as a value is dead.

    Parameters
    ----------
    eval_nodes : sequence of Node
        What is to be computed.

    Attributes
    ----------
    eval_nodes : list of Node
        As above.
    variables : list of Variable
        The variables that they depend on, whose values ``run`` takes.

    Raises
    ------
    GraphError
        If something among ``eval_nodes`` is no node.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, gradients, relu, sum_op
    >>> x, w = Variable("x"), Variable("w")
    >>> loss = sum_op(relu(x @ w))
    >>> evaluator = Evaluator([loss, *gradients(loss, [w])])
    >>> evaluator.run({x: np.eye(2), w: np.array([3.0, -4.0])})
    [np.float64(3.0), array([1., 0.])]
    """

    def __init__(self, eval_nodes: Sequence[Node]) -> None:
        self.eval_nodes = checked_nodes(eval_nodes, "Evaluator")
        self._order = topological_sort(self.eval_nodes)
        self.variables = [x for x in self._order if x.op is placeholder]
        self._known = frozenset(self.variables)

        def evaluate(*values: Array) -> list[Array]:
            return _values(self.eval_nodes, self._order, self.variables, values)

        self._evaluate = jit(evaluate)

    def run(self, input_values: Mapping[Node, Array]) -> list[Array]:
        """Compute the nodes.

        Parameters
        ----------
        input_values : dict from Variable to array
            A value for each of ``variables``: arrays of NumPy or CuPy, numbers, or
            tracers of any of funcad's transforms.

        Returns
        -------
        list of arrays
            The values of ``eval_nodes``.

        Raises
        ------
        GraphError
            If a variable has no value, if there is a value for something else, or if a
            node cannot be computed; the message names the node.
        LeafTypeError
            If a value is no array and no number.
        """
        return self._evaluate(*self._arguments(input_values, "run"))  # type: ignore[no-any-return]

    def lower(self, input_values: Mapping[Node, Any]) -> Lowered:
        """What the graph is compiled to for such values.

        Parameters
        ----------
        input_values : dict from Variable to array or ShapeDtypeStruct
            A value for each of ``variables``, or what it looks like.

        Returns
        -------
        Lowered
            With the ``program`` of all nodes, the ``optimized`` program, its
            ``source``, and what it takes: ``cost()`` and ``memory()``.

        Examples
        --------
        >>> import funcad
        >>> from funcad.graph import Evaluator, Variable, exp
        >>> x = Variable("x")
        >>> evaluator = Evaluator([exp(x) + exp(x)])
        >>> lowered = evaluator.lower({x: funcad.ShapeDtypeStruct((3,), "float32")})
        >>> print(lowered.optimized)
        program(a:float32[3]) {
          b:float32[3] = exp a
          c:float32[3] = add b b
          return (c)
        }
        """
        arguments = self._arguments(input_values, "lower", ShapeDtypeStruct)
        return self._evaluate.lower(*arguments)  # type: ignore[no-any-return]

    def draw(self, engine: str | None = None) -> Drawing:
        """Picture of the graph, a box for each node.

        Parameters
        ----------
        engine : {"dot", "python"}, optional
            What lays it out, as for ``Program.draw``.

        Returns
        -------
        Drawing
            SVG, which a notebook shows; its ``save(path)`` writes a file.  The program
            that the graph becomes is ``lower(input_values).program.draw()``.
        """
        from funcad.graph.drawing import draw

        return draw(self.eval_nodes, self._order, engine)

    def __str__(self) -> str:
        lines = [
            f"{x.name} = {x.expression()}"
            for x in self._order
            if x.op is not placeholder
        ]
        variables = ", ".join(x.name for x in self.variables)
        results = ", ".join(x.name for x in self.eval_nodes)
        body = "".join(f"  {line}\n" for line in lines)
        return f"graph({variables}) {{\n{body}  return ({results})\n}}"

    def __repr__(self) -> str:
        variables = ", ".join(x.name for x in self.variables)
        return f"<evaluator of {len(self._order)} nodes, variables {variables}>"

    def _arguments(
        self, input_values: Any, method: str, *more: type
    ) -> list[Array | ShapeDtypeStruct]:
        """Values of the variables in their order, checked."""
        if not isinstance(input_values, Mapping):
            raise GraphError(
                f"{method} takes a dict from Variable to array, and was given a "
                f"{type(input_values).__name__}. Write {{x: x_value, ...}} with the "
                "Variable objects as keys."
            )
        if input_values.keys() != self._known:
            self._refuse(input_values, method)
        values = [input_values[x] for x in self.variables]
        for x, value in zip(self.variables, values):
            if not (is_array(value) or isinstance(value, more)):
                dtype = f" and dtype {value.dtype}" if hasattr(value, "dtype") else ""
                raise LeafTypeError(
                    f"{method}: the value of {x.name} is of type "
                    f"{type(value).__name__}{dtype}, not an array of numbers or a "
                    "number. Write np.asarray(value, dtype)."
                )
        return values

    def _refuse(self, input_values: Mapping[Any, Any], method: str) -> NoReturn:
        missing = [x.name for x in self.variables if x not in input_values]
        expected = ", ".join(x.name for x in self.variables) or "no variables"
        if missing:
            raise GraphError(
                f"{method}: there is no value for {', '.join(missing)}, which the "
                f"nodes to compute depend on. They depend on {expected}; give each "
                "a value, with the Variable object as key."
            )
        for x in input_values:
            if x in self._known:
                continue
            if not isinstance(x, Node):
                what = f"{x!r} of type {type(x).__name__}, which is no Variable"
            elif x.op is not placeholder:
                what = f"{x.name} = {x.expression()}, which is computed from others"
            else:
                what = f"{x.name}, which none of the nodes to compute depends on"
            raise GraphError(
                f"{method} was given a value for {what}. The nodes to compute depend "
                f"on {expected}; leave everything else out."
            )
        raise AssertionError("variables differ from keys, and none is missing or extra")


def _values(
    eval_nodes: Sequence[Node],
    order: Sequence[Node],
    variables: Sequence[Node],
    values: Sequence[Array],
) -> list[Array]:
    """Values of nodes from those of variables, node by node."""
    found: dict[Node, Array | Zero] = dict(zip(variables, values))
    for node in order:
        if node not in found:
            found[node] = _value(node, [found[x] for x in node.inputs])
    return [explicit(found[x]) for x in eval_nodes]


def _value(node: Node, input_values: list[Array | Zero]) -> Array | Zero:
    line = line_of(node)
    try:
        if line is None:
            value = value_of(node, input_values)
        else:
            value = run_at(line, value_of, node, input_values)
    except GraphError:
        raise
    except Exception as error:
        # an error of funcad's names the line already
        reason = str(error).removesuffix(f"\n  at {format_line(node.line)}")
        if isinstance(error, KeyError):
            # whose text is the key alone
            reason = f"KeyError: {reason}"
        raise GraphError(
            f"{node.name} = {node.expression()} cannot be computed from "
            f"{_described(node, input_values)}. {reason}",
            node.line,
        ) from error
    if not (is_array(value) or type(value) is Zero):
        raise GraphError(
            f"{node.name} = {node.expression()}: compute of {node.op.name} returns an "
            f"array or a number, and it returned {type(value).__name__}.",
            node.line,
        )
    return value


def _described(node: Node, input_values: Sequence[Array | Zero]) -> str:
    """The inputs with their shapes and dtypes."""
    pairs = zip(node.inputs, input_values)
    return ", ".join(f"{x.name}: {aval_of(v)}" for x, v in pairs) or "no inputs"
