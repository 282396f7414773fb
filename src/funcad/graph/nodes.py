"""Nodes and operations: a graph that is written down first and computed later.

A :class:`Node` says which operation is applied to which other nodes, with which
attributes.  It never changes once it is made, and its inputs are there before it is, so
a graph has no cycles.  Shapes and dtypes are those of the arrays that come later.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from funcad.core.errors import GraphError, user_line
from funcad.core.tracing import Array, Tracer, aval_of, shape_of
from funcad.transforms.arguments import is_array

__all__ = ["Node", "Op", "Variable", "constant", "placeholder", "topological_sort"]

_numbers = itertools.count(1)


class Node:
    """An operation applied to other nodes; what it computes is known when it is run.

    Nodes are made by calling operations, such as ``matmul(x, w)``, and by Python's
    operators ``+ - * / ** @ < >`` on nodes, numbers and arrays.  Two nodes are equal
    if they are the same one, so that they can be keys of dictionaries.

    Parameters
    ----------
    op : Op
        The operation.
    inputs : sequence of Node
        Its operands.
    attrs : mapping, optional
        Its attributes: what it is given besides operands, such as an axis.  Lists are
        kept as tuples, and arrays as copies, so that nothing can change later.
    name : str, optional
        What messages and pictures call it: ``matmul_3``, say, unless given.

    Attributes
    ----------
    op, inputs, attrs, name
        As above; they cannot be changed.
    line : tuple of (str, int) or None
        File and line in which the user made the node.

    Raises
    ------
    GraphError
        If ``op`` is no operation, or an input no node.

    Examples
    --------
    >>> from funcad.graph import Evaluator, Variable, exp
    >>> x = Variable("x")
    >>> y = 2 * exp(x) + x
    >>> y.op, len(y.inputs), y.inputs[1] is x
    (add, 2, True)
    >>> Evaluator([y]).run({x: 0.0})
    [np.float64(2.0)]
    """

    __slots__ = ("__weakref__", "attrs", "inputs", "line", "name", "op")

    # so that array + node is the node's business
    __array_ufunc__ = None

    attrs: Mapping[str, Any]
    inputs: tuple[Node, ...]
    line: tuple[str, int] | None
    name: str
    op: Op

    def __init__(
        self,
        op: Op,
        inputs: Sequence[Node] = (),
        attrs: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        if not isinstance(op, Op):
            raise GraphError(
                f"a node is made of an operation, and was given {_described(op)} for "
                "it. Pass an instance of a subclass of graph.Op, not the class."
            )
        if isinstance(inputs, Node):
            raise GraphError(
                f"a node's inputs are a list, and {op.name} was given the node "
                f"{inputs.name}. Write inputs=[{inputs.name}]."
            )
        for x in inputs:
            if not isinstance(x, Node):
                raise GraphError(
                    f"the inputs of a node are nodes, and {op.name} was given "
                    f"{_described(x)}. Write graph.constant(value) for a constant."
                )
        if name is None or name == "":
            name = f"{op.name}_{next(_numbers)}"
        elif not isinstance(name, str):
            raise GraphError(f"the name of a node is a string, not {_described(name)}.")
        kept = {k: _kept(op, k, v) for k, v in (attrs or {}).items()}
        fields = (op, tuple(inputs), MappingProxyType(kept), name, user_line())
        for field, value in zip(("op", "inputs", "attrs", "name", "line"), fields):
            object.__setattr__(self, field, value)

    def __setattr__(self, field: str, value: Any) -> NoReturn:
        raise GraphError(
            f"{self.name}.{field} cannot be set: a node stays what it was made, so "
            "that what was compiled for it stays right. Make another node."
        )

    def __repr__(self) -> str:
        return f"<{self.name} = {self.expression()}>"

    def expression(self) -> str:
        """The operation with its operands' names and its attributes, as text.

        Returns
        -------
        str
        """
        return self.op.expression(self)

    # it never changes, and two that are equal are one

    def __copy__(self) -> Node:
        return self

    def __deepcopy__(self, memo: Any) -> Node:
        return self

    def __reduce__(self) -> NoReturn:
        raise GraphError(
            f"{self.name} cannot be pickled: variables are known by identity, which "
            "no file keeps. Keep the function that makes the graph, or "
            "Evaluator(...).lower(values).source."
        )

    # what would otherwise go wrong in silence

    def __bool__(self) -> bool:
        self._refuse("true or false")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        self._refuse("an array, nor an operand of NumPy's functions")

    def __float__(self) -> float:
        self._refuse("a number")

    __int__ = __complex__ = __float__  # type: ignore[assignment]

    def _refuse(self, what: str) -> NoReturn:
        raise GraphError(
            f"{self.name} is not {what}: a node has no value before its graph is run. "
            "Compute with funcad.graph's operations, and get values by "
            f"graph.Evaluator([{self.name}]).run({{variable: array, ...}})."
        )

    # ----------------------------------------------------------------------- operators

    def __add__(self, other: Any) -> Node:
        return _arithmetic("add", self, other)

    def __radd__(self, other: Any) -> Node:
        return _arithmetic("add", self, other)

    def __sub__(self, other: Any) -> Node:
        return _arithmetic("sub", self, other)

    def __rsub__(self, other: Any) -> Node:
        return _arithmetic("rsub", self, other)

    def __mul__(self, other: Any) -> Node:
        return _arithmetic("mul", self, other)

    def __rmul__(self, other: Any) -> Node:
        return _arithmetic("mul", self, other)

    def __truediv__(self, other: Any) -> Node:
        return _arithmetic("div", self, other)

    def __rtruediv__(self, other: Any) -> Node:
        return _arithmetic("rdiv", self, other)

    def __neg__(self) -> Node:
        return _arithmetic("mul", self, -1)

    def __pos__(self) -> Node:
        return self

    def __pow__(self, exponent: Any) -> Node:
        return _operation("power")(self, exponent)

    def __rpow__(self, base: Any) -> NoReturn:
        raise GraphError(
            f"a power's exponent is a number, and {base!r} ** {self.name} has a node "
            f"there. Write graph.exp({self.name} * np.log({base!r}))."
        )

    def __matmul__(self, other: Any) -> Node:
        return _operation("matmul")(self, other) if _fits(other) else NotImplemented

    def __rmatmul__(self, other: Any) -> Node:
        return _operation("matmul")(other, self) if _fits(other) else NotImplemented

    def __gt__(self, other: Any) -> Node:
        return _operation("greater")(self, other) if _fits(other) else NotImplemented

    def __lt__(self, other: Any) -> Node:
        return _operation("greater")(other, self) if _fits(other) else NotImplemented


def _arithmetic(name: str, node: Node, other: Any) -> Node:
    """An operation of two nodes, or the form of it that takes a constant."""
    if isinstance(other, Node):
        return _operation(name)(node, other)
    if is_array(other):
        return _operation(f"{name}_by_const")(node, other)
    return NotImplemented


def _operation(name: str) -> Any:
    from funcad.graph import ops  # which are made of what is here

    return getattr(ops, name)


def _fits(x: Any) -> bool:
    return isinstance(x, Node) or is_array(x)


def _kept(op: Op, name: str, value: Any) -> Any:
    """An attribute as nothing outside can change it."""
    if isinstance(value, list):
        return tuple([_kept(op, name, v) for v in value])
    if isinstance(value, Tracer) or not hasattr(value, "__array_function__"):
        return value
    return value.copy()


def _short(value: Any) -> str:
    if isinstance(value, Node):
        return value.name
    if is_array(value) and shape_of(value):
        return f"<{aval_of(value)}>"
    text = repr(value)
    return text if len(text) < 40 else text[:37] + "..."


def _described(x: Any) -> str:
    return f"{_short(x)} of type {type(x).__name__}"


class Op:
    """An operation: how nodes of it are made, computed and differentiated.

    A subclass says what is computed, and that is enough: calls make nodes, and the
    derivative is the engine's, of any order.  It may have a rule of its own for either.

    Attributes
    ----------
    name : str
        What nodes of it are called: the class's name, unless the class says otherwise.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Op, Variable, gradients
    >>> class Cube(Op):
    ...     def compute(self, node, input_values):
    ...         return input_values[0] ** 3
    >>> class CubeByHand(Cube):
    ...     def gradient(self, node, output_grad):
    ...         (x,) = node.inputs
    ...         return [3 * x * x * output_grad]
    >>> x = Variable("x")
    >>> for cube in Cube(), CubeByHand():
    ...     first = gradients(cube(x), [x])
    ...     Evaluator(first + gradients(first[0], [x])).run({x: 2.0})
    [np.float64(12.0), np.float64(12.0)]
    [np.float64(12.0), np.float64(12.0)]
    """

    name: str = "Op"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__dict__.get("name", cls.__name__)

    def __call__(self, *inputs: Any, **attrs: Any) -> Node:
        """A node of this operation.

        Parameters
        ----------
        *inputs : Node, array or number
            Operands; what is no node becomes a constant.
        **attrs
            Attributes, which ``compute`` finds in ``node.attrs``.

        Returns
        -------
        Node
        """
        return Node(self, as_nodes(self, inputs), attrs)

    def compute(self, node: Node, input_values: Sequence[Array]) -> Array:
        """The value of a node of this operation.

        The evaluator calls it once for each combination of shapes and dtypes, with
        values that are not there yet: as under ``jit``, it does not branch on them.

        Parameters
        ----------
        node : Node
            The node, for its attributes.
        input_values : list of arrays
            Values of its inputs: arrays, or tracers that stand for them.  Compute with
            NumPy's functions, and change none of them.

        Returns
        -------
        array
        """
        raise NotImplementedError(
            f"the operation {self.name} has no compute(self, node, input_values)"
        )

    def gradient(self, node: Node, output_grad: Node) -> Sequence[Node | None]:
        """Gradients with respect to the inputs of a node, as nodes.

        Unless a subclass overrides it, they come from the engine: ``compute`` is
        linearised at the inputs and transposed.

        Parameters
        ----------
        node : Node
            A node of this operation.
        output_grad : Node
            The gradient with respect to it.

        Returns
        -------
        list of Node or None
            One for each input, of the input's shape; ``None`` stands for zero.
        """
        from funcad.graph.derivatives import vjp

        return [vjp(node, i, output_grad) for i in range(len(node.inputs))]

    def expression(self, node: Node) -> str:
        """What the text of a graph says of a node of this operation.

        Parameters
        ----------
        node : Node
            A node of this operation.

        Returns
        -------
        str
        """
        operands = [x.name for x in node.inputs]
        attributes = [f"{k}={_short(v)}" for k, v in node.attrs.items()]
        return f"{self.name}({', '.join([*operands, *attributes])})"

    def __repr__(self) -> str:
        return self.name


def as_nodes(op: Op, operands: Sequence[Any]) -> list[Node]:
    """Operands as nodes: those that are numbers or arrays become constants."""
    nodes = []
    for x in operands:
        if not _fits(x):
            raise GraphError(
                f"the operands of {op.name} are nodes, arrays and numbers, not "
                f"{_described(x)}."
            )
        nodes.append(x if isinstance(x, Node) else constant(x))
    return nodes


class Placeholder(Op):
    """The operation of a variable, whose value is given when the graph is run."""

    name = "placeholder"

    def __call__(self, name: str | None = None) -> Node:
        return Variable(name)


placeholder = Placeholder()


class Variable(Node):
    """A node whose value is given when the graph is run.

    Parameters
    ----------
    name : str, optional
        What messages call it.

    Examples
    --------
    >>> from funcad.graph import Variable
    >>> Variable(name="x")
    Variable(name='x')
    """

    __slots__ = ()

    def __init__(self, name: str | None = None) -> None:
        super().__init__(placeholder, (), None, name)

    def __repr__(self) -> str:
        return f"Variable(name={self.name!r})"


class Constant(Op):
    """The operation of a value that is part of the graph."""

    name = "constant"

    def __call__(self, value: Any) -> Node:
        """A node that has this value, an array or a number."""
        if not is_array(value):
            raise GraphError(
                f"constant: a constant is an array or a number, not {_described(value)}"
                ". Write np.asarray(...)."
            )
        return Node(self, (), {"value": value})

    def compute(self, node: Node, input_values: Sequence[Array]) -> Array:
        return node.attrs["value"]


constant = Constant()


def topological_sort(nodes: Sequence[Node]) -> list[Node]:
    """All that some nodes are computed from, and they themselves, inputs first.

    Parameters
    ----------
    nodes : sequence of Node
        Where to begin.

    Returns
    -------
    list of Node
        Each node once, after all of its inputs.

    Raises
    ------
    GraphError
        If something among them is no node.

    Examples
    --------
    >>> from funcad.graph import Variable, topological_sort
    >>> x, y = Variable("x"), Variable("y")
    >>> product = x * y
    >>> [node.op for node in topological_sort([product + x])]
    [placeholder, placeholder, mul, add]
    """
    order: dict[Node, None] = {}
    waiting = list(reversed(checked_nodes(nodes, "topological_sort")))
    while waiting:
        node = waiting[-1]
        missing = [x for x in node.inputs if x not in order]
        if missing:
            waiting += reversed(missing)
        else:
            order[waiting.pop()] = None
    return list(order)


def checked_nodes(nodes: Any, name: str) -> list[Node]:
    """A list of nodes, or the error that says what else it is."""
    if isinstance(nodes, Node):
        raise GraphError(
            f"{name} takes a list of nodes and was given the node {nodes.name}. Write "
            f"[{nodes.name}]."
        )
    try:
        found = list(nodes)
    except TypeError:
        raise GraphError(
            f"{name} takes a list of nodes, not {_described(nodes)}."
        ) from None
    for x in found:
        if not isinstance(x, Node):
            raise GraphError(f"{name} takes nodes, not {_described(x)}.")
    return found
