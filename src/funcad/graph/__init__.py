"""A declarative graph: write down what is computed, and run it later.

Variables and operations make nodes; an `Evaluator` computes nodes from the values of
variables, and `gradients` makes nodes that are gradients of others.  Operations know
how they are computed; how they are differentiated, the engine knows, to any order.

==================  ====================================================================
building            `Variable`, `Node`, `Op`, `placeholder`, `constant`
differentiating     `gradients`
running             `Evaluator`, `topological_sort`
arithmetic          `add`, `sub`, `mul`, `div`, and `add_by_const`, `sub_by_const`,
                    `mul_by_const`, `div_by_const`, `rsub_by_const`, `rdiv_by_const`
entries             `greater`, `zeros_like`, `ones_like`, `log`, `exp`, `sqrt`,
                    `power`, `relu`
sums and products   `sum_op`, `mean`, `matmul`
shapes              `expand_as`, `broadcast`, `transpose`
along an axis       `softmax`, `layernorm`, `matmul_softmax`, `matmul_layernorm`
==================  ====================================================================

>>> import numpy as np
>>> from funcad import graph
>>> x, w = graph.Variable("x"), graph.Variable("w")
>>> y = graph.sum_op(graph.exp(x @ w))
>>> dy_dx, dy_dw = graph.gradients(y, [x, w])
>>> evaluator = graph.Evaluator([y, dy_dw])
>>> evaluator.run({x: np.eye(2), w: np.zeros(2)})
[np.float64(2.0), array([1., 1.])]
"""

from funcad.graph.derivatives import gradients
from funcad.graph.evaluator import Evaluator
from funcad.graph.nodes import (
    Node,
    Op,
    Variable,
    constant,
    placeholder,
    topological_sort,
)
from funcad.graph.ops import (
    add,
    add_by_const,
    broadcast,
    div,
    div_by_const,
    exp,
    expand_as,
    greater,
    layernorm,
    log,
    matmul,
    matmul_layernorm,
    matmul_softmax,
    mean,
    mul,
    mul_by_const,
    ones_like,
    power,
    rdiv_by_const,
    relu,
    rsub_by_const,
    softmax,
    sqrt,
    sub,
    sub_by_const,
    sum_op,
    transpose,
    zeros_like,
)

__all__ = [
    "Evaluator",
    "Node",
    "Op",
    "Variable",
    "add",
    "add_by_const",
    "broadcast",
    "constant",
    "div",
    "div_by_const",
    "exp",
    "expand_as",
    "gradients",
    "greater",
    "layernorm",
    "log",
    "matmul",
    "matmul_layernorm",
    "matmul_softmax",
    "mean",
    "mul",
    "mul_by_const",
    "ones_like",
    "placeholder",
    "power",
    "rdiv_by_const",
    "relu",
    "rsub_by_const",
    "softmax",
    "sqrt",
    "sub",
    "sub_by_const",
    "sum_op",
    "topological_sort",
    "transpose",
    "zeros_like",
]
