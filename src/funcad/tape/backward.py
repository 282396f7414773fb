"""Walking backwards: the nodes below some values, in reverse, summing cotangents."""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from funcad.backends import namespace
from funcad.core.errors import TangentMismatchError, TapeError
from funcad.core.tracing import PYTHON_SCALARS, Array, aval_of, dtype_of, shape_of
from funcad.tape.nodes import Extras, Node, Selection, Walk, raise_freed
from funcad.tape.recording import check_flag, recorded
from funcad.tape.tensor import Tensor, as_tensor, attach, immutable
from funcad.transforms.arguments import check_tangents

_by_number = operator.attrgetter("number")
_accumulating = threading.Lock()


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of outputs with respect to inputs, returned and not accumulated.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
        What to differentiate.
    inputs : Tensor or sequence of Tensor
        What to differentiate with respect to: leaves, or values on the way.
    grad_outputs : array or sequence of arrays, optional
        A gradient for each output, of its shape and dtype; ``None`` stands for one,
        for a real scalar.
    retain_graph : bool, optional
        Whether another walk through this graph may follow; by default as
        ``create_graph``.
    create_graph : bool, optional
        Whether the gradients are recorded, so that they can be differentiated.
    allow_unused : bool, optional
        Whether to return ``None`` for an input that no output depends on.

    Returns
    -------
    tuple of Tensor
        A gradient for each input.

    Raises
    ------
    TapeError
        If an output or an input requires no gradient, an output is no scalar and has
        no gradient given, an input is not used, or the graph has been freed.
    TangentMismatchError
        If a gradient has not the shape and dtype of its output.

    Examples
    --------
    >>> from funcad import tape
    >>> x = tape.Tensor(2.0, requires_grad=True)
    >>> (dx,) = tape.grad(x**3, x, create_graph=True)
    >>> dx
    Tensor(12.0, grad_fn=<multiply>)
    >>> tape.grad(dx, x)
    (Tensor(12.0),)
    """
    check_flag("grad", "allow_unused", allow_unused)
    heads = _several(outputs, "grad", "outputs")
    targets = _several(inputs, "grad", "inputs")
    if grad_outputs is None:
        grad_outputs = [None] * len(heads)
    elif not isinstance(grad_outputs, (list, tuple)):
        grad_outputs = [grad_outputs]
    nodes = [_node_of(x, "grad", f"inputs[{i}]") for i, x in enumerate(targets)]
    found: dict[Node, Any] = {}
    _walk(
        "grad",
        *(heads, grad_outputs, retain_graph, create_graph),
        wanted=set(nodes),
        deliver=found.__setitem__,
    )
    if not allow_unused:
        for i, node in enumerate(nodes):
            if node not in found:
                raise TapeError(
                    f"grad: no output depends on inputs[{i}], "
                    f"{aval_of(targets[i])}, so it has no gradient. Write "
                    "allow_unused=True to be given None there, or leave it out."
                )
    return tuple([_as_tensor(found[n]) if n in found else None for n in nodes])


def run_backward(
    tensor: Tensor,
    gradient: Any,
    retain_graph: bool | None,
    create_graph: bool,
    inputs: Tensor | Sequence[Tensor] | None,
) -> None:
    """Add gradients to the leaves, as `Tensor.backward` says."""
    wanted = None
    if inputs is not None:
        targets = _several(inputs, "backward", "inputs")
        wanted = {
            _node_of(x, "backward", f"inputs[{i}]") for i, x in enumerate(targets)
        }
    _walk(
        "backward",
        *([tensor], [gradient], retain_graph, create_graph),
        wanted=wanted,
        deliver=_accumulate,
    )


def topological_order(nodes: Iterable[Node]) -> list[Node]:
    """These nodes and all below them, each before its parents."""
    seen = set(nodes)
    waiting = list(seen)
    while waiting:
        for parent in waiting.pop().parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return sorted(seen, key=_by_number, reverse=True)


def _walk(
    caller: str,
    outputs: Sequence[Tensor],
    gradients: Sequence[Any],
    retain_graph: bool | None,
    create_graph: bool,
    wanted: set[Node] | None,
    deliver: Callable[[Node, Any], None],
) -> None:
    """Pull cotangents of outputs back, and deliver those of the nodes that are wanted.

    Where ``wanted`` is ``None``, these are the leaves and what retains its gradient.
    """
    check_flag(caller, "create_graph", create_graph)
    if retain_graph is not None:
        check_flag(caller, "retain_graph", retain_graph)
    if len(gradients) != len(outputs):
        raise TangentMismatchError(
            f"{caller}: there are {len(outputs)} outputs and {len(gradients)} "
            "gradients of them. Give one for each, or None."
        )
    pending: dict[Node, Any] = {}
    for i, (y, g) in enumerate(zip(outputs, gradients)):
        what = "the tensor" if caller == "backward" else f"outputs[{i}]"
        node = _node_of(y, caller, what)
        _add(pending, node, _seed(y, g, caller, what, create_graph))
    order = topological_order(pending)
    leading = set(order) if wanted is None else _leading_to(wanted, order)
    for node in order:
        if node.record is None and not leading.isdisjoint(node.parents):
            raise_freed(caller)
    retain = create_graph if retain_graph is None else retain_graph
    walk = Walk(retain, attach if create_graph else None)
    try:
        with recorded(create_graph):
            for node in order:
                ct = pending.pop(node, None)
                parents = node.parents
                pulled = [parent in leading for parent in parents]
                if ct is not None:
                    if node.extras is not None:
                        ct = _deliver(node, ct, wanted, walk, deliver)
                    elif wanted is not None and node in wanted:
                        deliver(node, ct)
                    if type(node) is Selection:
                        _collect(node, ct, pending)
                    elif True in pulled:
                        for parent, c in zip(parents, node.pull(ct, pulled, walk)):
                            if c is None or parent not in leading:
                                continue
                            if parent in pending:
                                _add(pending, parent, c)
                            else:
                                pending[parent] = c
                if True in pulled and not retain:
                    node.free()
    finally:
        walk.trace.alive = False


def _leading_to(wanted: set[Node], order: Sequence[Node]) -> set[Node]:
    """Nodes from which one of those that are wanted can be reached."""
    leading: set[Node] = set()
    for node in reversed(order):
        if node in wanted or not leading.isdisjoint(node.parents):
            leading.add(node)
    return leading


def _collect(node: Selection, ct: Any, pending: dict[Node, Any]) -> None:
    """One of the cotangents of an operation, which is visited after all its results."""
    i, count = node.record
    cts = pending.setdefault(node.operation, [None] * count)
    cts[i] = ct if cts[i] is None else cts[i] + ct


def _add(pending: dict[Node, Any], node: Node, ct: Any) -> None:
    if node in pending:
        # popped, a sum that nobody else holds is added to in place by NumPy
        pending[node] = pending.pop(node) + ct
    else:
        pending[node] = ct


def _deliver(
    node: Node,
    ct: Any,
    wanted: set[Node] | None,
    walk: Walk,
    deliver: Callable[[Node, Any], None],
) -> Any:
    """Call the hooks of a node, and keep or return its gradient."""
    extras: Any = node.extras
    for hook in list(extras.hooks.values()):
        out = hook(_as_tensor(ct))
        if out is not None:
            ct = _given(out, ct, "the gradient", "backward", "result of a hook")
            ct = ct if walk.attach else _value(ct)
    if node in wanted if wanted is not None else extras.retains:
        deliver(node, ct)
    return ct


def _accumulate(node: Node, ct: Any) -> None:
    # two threads may walk to the same leaf
    with _accumulating:
        if node.extras is None:
            node.extras = Extras()
        before = node.extras.grad
        if before is not None:
            ct = (before if isinstance(ct, Tensor) else before._value) + ct
        node.extras.grad = _as_tensor(ct)


def _as_tensor(ct: Any) -> Tensor:
    return ct if isinstance(ct, Tensor) else attach(ct, None)


def _value(x: Any) -> Array:
    return x._value if isinstance(x, Tensor) else x


def _several(xs: Any, caller: str, what: str) -> Sequence[Any]:
    if isinstance(xs, Tensor):
        return (xs,)
    if isinstance(xs, Iterable) and not hasattr(xs, "dtype"):
        return tuple(xs)
    raise TapeError(
        f"{caller}: {what} is a Tensor or a sequence of them, not {xs!r} of type "
        f"{type(xs).__name__}."
    )


def _node_of(x: Any, caller: str, what: str) -> Node:
    if not isinstance(x, Tensor):
        raise TapeError(
            f"{caller}: {what} is {x!r} of type {type(x).__name__}, not a Tensor. "
            "Write Tensor(x, requires_grad=True) before what is to be differentiated."
        )
    if x._node is None:
        raise TapeError(
            f"{caller}: {what}, {aval_of(x)}, does not require a gradient: it was "
            "computed from nothing that does, under no_grad(), from a detached value, "
            "or by operations without a derivative. Write "
            "Tensor(x, requires_grad=True) for what is to be differentiated."
        )
    return x._node


def _seed(y: Tensor, gradient: Any, caller: str, what: str, create_graph: bool) -> Any:
    """Cotangent of an output: the one that was given, or one."""
    value = y._value
    if gradient is None:
        kind = dtype_of(value).kind
        if math.prod(shape_of(value)) != 1 or kind == "c":
            argument = "gradient" if caller == "backward" else "grad_outputs"
            raise TapeError(
                f"{caller}: {what} is {aval_of(value)}, and a gradient of one is meant "
                "only for a real scalar. Reduce it, as in y.sum(), or write "
                f"{argument}=, an array of its shape and dtype."
            )
        return namespace(value).ones(shape_of(value), dtype_of(value))[()]
    ct = _given(gradient, value, what, caller, "gradient")
    return ct if create_graph else _value(ct)


def _given(x: Any, like: Any, name: str, caller: str, what: str) -> Any:
    """A gradient of the user's, which must have the shape and dtype of a value."""
    if not isinstance(x, PYTHON_SCALARS) and not hasattr(x, "dtype"):
        x = as_tensor(x, f"{caller}: the {what} of {name}")
    (ct,) = check_tangents([like], [x], lambda: [name], caller, what)
    if isinstance(ct, Tensor):
        return ct
    # transposes ask for shapes, which Python's numbers have not
    return dtype_of(like).type(ct) if type(ct) in PYTHON_SCALARS else immutable(ct)
