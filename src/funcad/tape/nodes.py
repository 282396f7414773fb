"""The record: a node for each operation, from which cotangents are pulled back.

A node knows the nodes of its operands (its *parents*) and what it needs to find their
cotangents from its own: for a primitive its operands and its result, from which it is
linearised and transposed once the cotangent is there.  Nodes point to parents and
never to tensors or to later nodes, so that a record which nobody can reach any more is
freed at once.  Each has a greater number than its parents: the numbers are a
topological order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from funcad.core.errors import TapeError
from funcad.core.program import Program, Var
from funcad.core.tracing import Array, Params, Primitive, dtype_of
from funcad.transforms.linear import Linear, LinearTrace, transpose

_numbers = itertools.count()


class Extras:
    """What few nodes have: a gradient that is kept, and hooks."""

    __slots__ = ("grad", "hooks", "retains")

    def __init__(self, retains: bool = False) -> None:
        self.grad: Any = None
        self.hooks: dict[int, Callable[[Any], Any]] = {}
        self.retains = retains


class Walk:
    """One walk backwards, as the nodes that it visits see it.

    Parameters
    ----------
    retain : bool
        Whether the nodes keep their records.
    attach : callable or None
        Makes a tensor of a value and its node, where the walk is itself recorded.
    """

    __slots__ = ("attach", "retain", "trace")

    def __init__(self, retain: bool, attach: Callable[[Array, Node], Any] | None):
        self.retain = retain
        self.attach = attach
        self.trace = LinearTrace(())


class Node:
    """A value of which a gradient may be asked; by itself, a leaf of the graph."""

    __slots__ = ("extras", "number", "parents", "record")

    def __init__(self, parents: tuple[Node | None, ...], record: Any) -> None:
        self.number = next(_numbers)
        self.parents = parents
        self.record = record
        self.extras: Extras | None = None

    @property
    def name(self) -> str:
        """What it is the result of."""
        return "leaf"

    def pull(self, ct: Any, wanted: Sequence[bool], walk: Walk) -> Sequence[Any]:
        """Cotangents of the parents, from that of the value.

        ``wanted`` says of which parents; ``None`` stands for zero.
        """
        return ()

    def free(self) -> None:
        """Drop what was kept for walks."""

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Operation(Node):
    """The result of a primitive, or the results of one that has several.

    ``record`` holds the primitive, its operands, parameters and result, and the
    derivative as a linear program for those primitives that compute it together with
    their value.
    """

    __slots__ = ()

    @property
    def name(self) -> str:
        return "freed" if self.record is None else self.record[0].name

    def pull(self, ct: Any, wanted: Sequence[bool], walk: Walk) -> Sequence[Any]:
        record = self.record
        if record is None:
            raise_freed("backward")
        primitive, values, params, ans, program = record
        if walk.attach is not None:
            # linearised once more, on tensors, so that derivatives are recorded, too
            values = attached_operands(values, self.parents, walk.attach)
            ans = attached_results(ans, self, primitive.multiple, walk.attach)
            program = None
        consume = not walk.retain
        if program is None:
            ans, program = linearise(walk.trace, primitive, values, wanted, params, ans)
            consume = True
        else:
            wanted = [parent is not None for parent in self.parents]
        cts = transpose(program, ct if primitive.multiple else (ct,), consume)
        if len(cts) == len(wanted):
            return cts
        found = iter(cts)
        return [next(found) if w else None for w in wanted]

    def free(self) -> None:
        self.record = None


class Selection(Node):
    """One of several results; ``record`` is which, and of how many."""

    __slots__ = ()

    @property
    def name(self) -> str:
        return f"{self.operation.name}[{self.record[0]}]"

    @property
    def operation(self) -> Node:
        """The node of the operation."""
        (operation,) = self.parents
        assert operation is not None
        return operation


def linearise(
    trace: LinearTrace,
    primitive: Primitive,
    values: Sequence[Array],
    wanted: Sequence[bool],
    params: Params,
    ans: Any,
) -> tuple[Any, Program]:
    """Result of a primitive, and its derivative at a point as a linear program.

    The program's inputs are the tangents of the operands that are wanted.  The result
    is taken as given where the derivative is a rule of its own.
    """
    trace.primals = values
    inputs = []
    tangents: list[Linear | None] = []
    for v, w in zip(values, wanted):
        if w:
            var = Var(v.shape, v.dtype)
            inputs.append(var)
            tangents.append(Linear(trace, var))
        else:
            tangents.append(None)
    if primitive.jvp is not None:
        out = primitive.jvp(ans, values, tangents, params)
    else:
        ans, out = primitive.dual(values, tangents, params)  # type: ignore[misc]
    if not primitive.multiple:
        outputs: Sequence[Any] = (out.variable if type(out) is Linear else None,)
    elif out is None:
        outputs = (None,) * len(ans)
    else:
        outputs = [t.variable if type(t) is Linear else None for t in out]
    return ans, Program(inputs, trace.equations, outputs)


def attached_operands(
    values: Sequence[Array],
    parents: Sequence[Node | None],
    attach: Callable[[Array, Node], Any],
) -> list[Any]:
    """Operands of an operation as tensors in the graph."""
    return [v if p is None else attach(v, p) for v, p in zip(values, parents)]


def attached_results(
    ans: Any, node: Node, multiple: bool, attach: Callable[[Array, Node], Any]
) -> Any:
    """Results of an operation as tensors in the graph; integers stay as they are."""
    if not multiple:
        return attach(ans, node) if dtype_of(ans).kind in "fc" else ans
    return tuple(
        attach(a, Selection((node,), (i, len(ans)))) if dtype_of(a).kind in "fc" else a
        for i, a in enumerate(ans)
    )


def raise_freed(caller: str) -> NoReturn:
    """Refuse to walk back a second time."""
    raise TapeError(
        f"{caller}: a part of this graph has been walked back already, and what was "
        "kept for that has been freed. Compute the value again, or write "
        "retain_graph=True in the call before this one; several outputs of one graph "
        "go into one call, as in (a + b).backward()."
    )
