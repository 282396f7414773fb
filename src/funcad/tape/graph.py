"""The record below a tensor as a program, which can be printed, drawn and run."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from funcad.core import tree
from funcad.core.errors import TapeError
from funcad.core.program import Equation, Program, Var, outputs_of
from funcad.core.tracing import Array, aval_of
from funcad.tape.backward import topological_order
from funcad.tape.function import Call
from funcad.tape.nodes import Node, Selection, raise_freed
from funcad.tape.tensor import Tensor
from funcad.transforms.callback import Callback, pure_callback_call


def program_of(tensor: Tensor) -> Program:
    """What a tensor was computed from; see `Tensor.graph`."""
    if tensor.grad_fn is None:
        raise TapeError(
            f"graph(): this tensor, {aval_of(tensor)}, is a leaf: it was computed from "
            "nothing that requires a gradient. Write Tensor(x, requires_grad=True) for "
            "what it depends on."
        )
    variables: dict[Node, Any] = {}
    inputs: list[Var] = []
    equations: list[Equation] = []
    for node in reversed(topological_order([tensor.grad_fn])):
        if node.record is None:
            raise_freed("graph()")
        if type(node) is Node:
            inputs.append(Var(*node.record))
            variables[node] = inputs[-1]
        elif type(node) is Selection:
            variables[node] = variables[node.operation][node.record[0]]
        elif isinstance(node, Call):
            equations.append(_call(node, variables))
            outputs = equations[-1].outputs
            variables[node] = (
                outputs if isinstance(node.record[2], list) else outputs[0]
            )
        else:
            primitive, values, params = node.record[:3]
            operands = _operands(node, variables, values)
            outputs = outputs_of(primitive, operands, params)
            equations.append(Equation(primitive, operands, params, outputs))
            variables[node] = outputs if primitive.multiple else outputs[0]
    return Program(inputs, equations, [variables[tensor.grad_fn]])


def _operands(
    node: Node, variables: dict[Node, Any], values: Sequence[Array]
) -> list[Any]:
    return [
        v if parent is None else variables[parent]
        for v, parent in zip(values, node.parents)
    ]


def _call(node: Call, variables: dict[Node, Any]) -> Equation:
    """A `Function` as foreign code, which has kept no arguments to be run on."""
    function, _, ans, _ = node.record
    results = ans if isinstance(ans, list) else [ans]

    @functools.wraps(function, updated=())
    def forward(*args: Any) -> Any:
        raise TapeError(
            f"a program made by graph() holds a call of {function.__name__}, whose "
            "arguments a tape does not keep, so that it cannot be run. Compute the "
            "value again on tensors."
        )

    operands = [variables[parent] for parent in node.parents if parent is not None]
    avals = tuple([aval_of(x) for x in results])
    params = {
        "callback": Callback(
            forward,
            tree.structure(((0,) * len(operands), {})),
            tree.structure((0,) * len(results)),
        ),
        "avals": avals,
        "vmap_method": None,
        "loops": (),
    }
    outputs = tuple([Var(*aval) for aval in avals])
    return Equation(pure_callback_call, operands, params, outputs)
