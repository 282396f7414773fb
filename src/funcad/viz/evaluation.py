"""Evaluation traces: what a function computes, and its derivative beside it.

A node is a value that a function computes, v₁, v₂, ... after the inputs ..., v₋₁, v₀
(numbered as in A. Griewank and A. Walther, *Evaluating derivatives*, SIAM 2008, section
2.2).  Forward mode carries a tangent v̇ to each, in the same order; reverse mode an
adjoint v̄, the derivative of the result by the node, in the opposite order.  The numbers
are those of the Dual trace, and of one operation's transpose after the other; the
formulas beside them are read off the programs that ``jvp`` and ``vjp`` write.
"""

from __future__ import annotations

import inspect
import itertools
import unicodedata
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from funcad.core import tree
from funcad.core.errors import (
    ArgumentError,
    ConcretizationError,
    InputDtypeError,
    NonScalarOutputError,
)
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import (
    PYTHON_SCALARS,
    Array,
    Tracer,
    array_type_of,
    aval_of,
    bind,
    dtype_of,
    shape_of,
)
from funcad.transforms.arguments import (
    check_leaves,
    check_tangents,
    has_tangent,
    leaf_names,
    wraps,
    zero_tangent,
)
from funcad.transforms.dual import Dual, DualTrace
from funcad.transforms.forward import matching_leaves, record
from funcad.transforms.linear import transpose
from funcad.transforms.recording import RecordTrace
from funcad.viz.formulas import (
    Operation,
    cotangent_formulas,
    formulas,
    number_text,
    tangent_formulas,
    text_of,
)

if TYPE_CHECKING:
    from funcad.core.drawing import Drawing

_DOT, _BAR = "\u0307", "\u0304"  # over the letter before
_SUBSCRIPTS = str.maketrans("-0123456789", "₋₀₁₂₃₄₅₆₇₈₉")
_MOST_ENTRIES = 4


class Node(NamedTuple):
    """A value of the function."""

    name: str
    expression: str
    value: Array
    operands: tuple[int, ...] = ()
    """Numbers of the nodes that it is computed from."""
    equation: Equation | None = None
    """What computes it, if it is neither an input nor an output."""


class Step(NamedTuple):
    """A line of the derivative: a tangent, or what an adjoint has come to."""

    name: str
    expression: str
    values: tuple[Array, ...]
    """One for each sweep."""
    node: int
    """Number of the node that it belongs to."""


def trace(
    f: Callable[..., Any], *args: Any, mode: str = "forward", seed: Any = None
) -> EvaluationTrace:
    """Every value that a function computes, with its tangents or its adjoint.

    Parameters
    ----------
    f : callable
        Function of pytrees of arrays, which may branch by values.  What a jitted or
        checkpointed function computes is shown operation by operation, too; a loop of
        ``funcad.lax`` and a function with a custom rule are one operation each.
    *args : pytree
        Arguments at which to differentiate.
    mode : {"forward", "reverse"}, optional
        Whether to carry tangents along with the values, or adjoints back from the
        results.
    seed : pytree, optional
        In forward mode the tangents of the arguments, a tuple as for ``jvp``.  Left
        out, there is a sweep for each leaf of floats, with ones in that leaf and zeros
        in the others: where these are numbers, the partial derivatives.  In reverse
        mode the cotangent of the result, as for ``vjp``; left out, it is 1, and the
        result has to be a real scalar.

    Returns
    -------
    EvaluationTrace
        Prints as a table; its ``draw()`` is a picture.

    Raises
    ------
    ArgumentError
        If there is no such mode.
    NonScalarOutputError
        If the result is no real scalar in reverse mode and there is no seed.
    TangentMismatchError, TreeStructureError
        If the seed has not the structure, shapes or dtypes that it should have.
    InputDtypeError
        If no argument is a float or complex number.
    ConcretizationError
        If a value is traced by a transform around the call.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> f = lambda x1, x2: x1 * x2 + np.sin(x1)
    >>> print(funcad.viz.trace(f, 2.0, 5.0, mode="reverse"))
    node  computed as     value
    v₋₁   x1                  2
    v₀    x2                  5
    v₁    v₋₁ * v₀           10
    v₂    sin(v₋₁)     0.909297
    v₃    v₁ + v₂       10.9093
    y     v₃            10.9093
    <BLANKLINE>
    adjoint  computed as        value
    ȳ        seed                   1
    v̄₃       ȳ                      1
    v̄₁       v̄₃                     1
    v̄₂       v̄₃                     1
    v̄₋₁      v̄₂ * cos(v₋₁)  -0.416147
    v̄₋₁      v̄₋₁ + v̄₁ * v₀    4.58385
    v̄₀       v̄₁ * v₋₁               2
    x̄1       v̄₋₁              4.58385
    x̄2       v̄₀                     2
    """
    if mode not in _MODES:
        raise ArgumentError(
            f'mode of trace is "forward" or "reverse", not {mode!r}: forward carries '
            "tangents along with the values, reverse carries adjoints back."
        )
    wraps(f, "trace", "trace(f, x)")
    return _MODES[mode](_run(f, args), seed)


class EvaluationTrace:
    """What a function computes at a point and its derivative there, step by step.

    Attributes
    ----------
    mode : str
        ``"forward"`` or ``"reverse"``.
    nodes : list of Node
        The inputs, the arrays that the function closes over, the results of its
        operations, and its outputs.
    steps : list of Step
        The tangents or adjoints, in the order in which they are computed.
    sweeps : list of str
        What the values of a step are.
    """

    def __init__(
        self, mode: str, nodes: list[Node], steps: list[Step], sweeps: list[str]
    ) -> None:
        self.mode = mode
        self.nodes = nodes
        self.steps = steps
        self.sweeps = sweeps

    def __str__(self) -> str:
        return "\n\n".join(map(_text_table, self._tables()))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(map(_html_table, self._tables())) + f"<div>{self.draw()}</div>"

    def draw(self, engine: str | None = None) -> Drawing:
        """Picture of the nodes as a graph, with their values and derivatives.

        Parameters
        ----------
        engine : {"dot", "python"}, optional
            What lays it out, as for ``Program.draw``.

        Returns
        -------
        Drawing
            SVG, which a notebook shows; its ``save(path)`` writes a file.
        """
        from funcad.core import drawing

        last = {step.node: step for step in self.steps}
        boxes, uses = [], []
        for i, node in enumerate(self.nodes):
            lines = [f"{node.name} = {node.expression}", value_text(node.value)]
            if i in last:
                values = ", ".join(map(value_text, last[i].values))
                lines.append(f"{last[i].name} = {values}")
            lines, tooltip = [drawing.short(line) for line in lines], "\n".join(lines)
            if node.equation is None:
                fill = drawing.OUTPUT if node.operands else drawing.INPUT
                boxes.append(drawing.Box(tuple(lines), fill, tooltip, False))
            else:
                tooltip = drawing.tooltip_of(tooltip, node.equation)
                boxes.append(
                    drawing.Box(tuple(lines), drawing.fill_of(node.equation), tooltip)
                )
            uses += [drawing.Use(k, i, [self.nodes[k].name]) for k in node.operands]
        return drawing.picture([drawing.graph(boxes, uses)], engine)

    def _tables(self) -> list[list[list[str]]]:
        """Cells of the tables that are printed, heads first."""
        head = ["node", "computed as", "value"]
        rows = [[n.name, n.expression, value_text(n.value)] for n in self.nodes]
        steps = [[s.name, s.expression, *map(value_text, s.values)] for s in self.steps]
        if self.mode == "reverse":
            return [[head, *rows], [["adjoint", "computed as", "value"], *steps]]
        beside = dict(zip([s.node for s in self.steps], steps, strict=True))
        none = [""] * (2 + len(self.sweeps))
        rows = [row + beside.get(i, none) for i, row in enumerate(rows)]
        return [[[*head, "tangent", "computed as", *self.sweeps], *rows]]


# ------------------------------------------------------------------------- the values


class _Run(NamedTuple):
    """A function that has run at a point: what it computed, and how."""

    program: Program
    """Of the path taken; its inputs are the leaves, and then what it closes over."""
    leaves: list[Array]
    treedef: Any
    out_tree: Any
    values: dict[Var, Array]
    names: dict[Var, str]
    nodes: list[Node]
    """Of the inputs, the other variables, and the outputs."""
    smooth: list[int]
    """Numbers of the leaves that have tangents."""

    @property
    def moving(self) -> list[Var]:
        """The variables of these leaves."""
        return [self.program.inputs[i] for i in self.smooth]

    def marked(self, v: Var, mark: str) -> str:
        """Name of a variable's tangent or adjoint."""
        return accented(self.names[v], mark)

    @property
    def outputs(self) -> list[tuple[int, Any]]:
        """The outputs, each with the number of its node."""
        first = len(self.nodes) - len(self.program.outputs)
        return list(enumerate(self.program.outputs, first))


def _run(f: Callable[..., Any], args: tuple[Any, ...]) -> _Run:
    leaves, treedef = tree.flatten(args)
    check_leaves(leaves, treedef, "trace")
    names = _argument_names(f, args)
    smooth = [i for i, x in enumerate(leaves) if has_tangent(x)]
    if not smooth:
        given = ", ".join(f"{n}: {aval_of(x)}" for n, x in zip(names, leaves))
        raise InputDtypeError(
            "trace shows derivatives with respect to floats and complex numbers, of "
            f"which there are none among the arguments ({given or 'there are none'}). "
            "Pass floats, such as 2.0 instead of 2."
        )
    _refuse_tracers(leaves, names)
    program, constants, outs, out_tree = _path_taken(f, leaves, treedef)
    _refuse_tracers(constants, ["an array that the function closes over"])
    values = dict(zip(program.inputs, [*leaves, *constants], strict=True))
    nodes: list[Node] = []
    node_of: dict[Var, int] = {}
    letters: dict[Var, str] = {}

    def add(v: Var, name: str, text: str, e: Equation | None = None) -> None:
        reads = e.inputs if e else ()
        operands = dict.fromkeys(node_of[u] for u in reads if type(u) is Var)
        letters[v], node_of[v] = name, len(nodes)
        nodes.append(Node(name, text, values[v], tuple(operands), e))

    for i, v in enumerate(program.inputs[: len(leaves)]):
        add(v, subscripted("v", i + 1 - len(leaves)), names[i])
    for i, v in enumerate(program.inputs[len(leaves) :]):
        add(v, subscripted("c", i + 1), "constant")
    first = len(nodes) - 1
    for e in program.equations:
        operands = [values[v] if type(v) is Var else v for v in e.inputs]
        results = bind(e.primitive, operands, e.params)
        values.update(zip(e.outputs, results if e.primitive.multiple else [results]))
        for v, text in zip(e.outputs, formulas(e, letters)):
            add(v, subscripted("v", len(nodes) - first), text, e)
    taken = any(name.startswith("y") for name in names)
    paths = tree.flatten_with_path(tree.unflatten(out_tree, outs))[0]
    for (path, _), v in zip(paths, program.outputs, strict=True):
        name = ("result" if taken else "y") + tree.keystr(path)
        text = text_of(v, letters)
        if type(v) is Var:
            nodes.append(Node(name, text, values[v], (node_of[v],)))
        else:
            nodes.append(Node(name, text, v))
    return _Run(program, leaves, treedef, out_tree, values, letters, nodes, smooth)


def _refuse_tracers(values: Sequence[Array], names: Sequence[str]) -> None:
    for x, name in zip(values, itertools.cycle(names)):
        if isinstance(x, Tracer):
            raise ConcretizationError(
                f"trace shows values, and {name}, {aval_of(x)}, belongs to a transform "
                "around the call. Trace the transformed function instead, as in "
                "trace(funcad.grad(f), x)."
            )


def _path_taken(
    f: Callable[..., Any], leaves: Sequence[Array], treedef: Any
) -> tuple[Program, list[Array], list[Any], Any]:
    """The program of what the function does, and the arrays that it closes over."""
    from funcad.compile.inline import inline
    from funcad.transforms.calls import jit_call
    from funcad.transforms.checkpoint import checkpoint_call

    recorder = RecordTrace(array_type_of(leaves))
    inputs = [recorder.variable(x) for x in leaves]
    try:
        outs, out_tree = tree.flatten(f(*tree.unflatten(treedef, inputs)))
        check_leaves(outs, out_tree, "trace", "output")
        outputs = [recorder.output(x) for x in outs]
    finally:
        recorder.alive = False
    captured = list(recorder.captured.values())
    variables = [*(x.variable for x in inputs), *(v for _, v in captured)]
    program = Program(variables, recorder.equations, outputs)
    # a custom rule's call holds a program, too, and its derivative is not that one's
    program = inline(program, (jit_call, checkpoint_call))
    return program, [x for x, _ in captured], outs, out_tree


def _argument_names(f: Callable[..., Any], args: tuple[Any, ...]) -> list[str]:
    """Names of the leaves of the arguments, by the function's own parameters."""
    names = [f"x{i + 1}" for i in range(len(args))]
    try:
        parameters = inspect.signature(f).parameters
    except (TypeError, ValueError):  # a function of C has none
        parameters = {}  # type: ignore[assignment]
    for i, (name, parameter) in enumerate(parameters.items()):
        if i < len(args) and parameter.kind <= parameter.POSITIONAL_OR_KEYWORD:
            names[i] = name
    return [
        name + tree.keystr(path)
        for name, x in zip(names, args)
        for path, _ in tree.flatten_with_path(x)[0]
    ]


# ------------------------------------------------------------------------ forward mode


def _forward(run: _Run, seed: Any) -> EvaluationTrace:
    point = [run.leaves[i] for i in run.smooth]
    if seed is None:
        names = [run.nodes[i].expression for i in run.smooth]
        sweeps = [f"along {name}" for name in names]
        seeds = [
            [_ones(x, i == k) for i, x in enumerate(point)] for k in range(len(point))
        ]
    else:
        sweeps, seeds = ["value"], [_given_tangents(run, seed)]
    columns = [_tangents(run, tangents) for tangents in seeds]
    number = {v: i for i, v in enumerate(run.names)}
    steps = [
        Step(run.marked(v, _DOT), "seed", tuple([c[v] for c in columns]), number[v])
        for v in run.moving
    ]
    for e in run.program.equations:
        moving, results = ([v for v in vs if v in columns[0]] for vs in _variables(e))
        if not results:
            continue
        dots = [run.marked(v, _DOT) for v in moving]
        texts = tangent_formulas(Operation(e, moving, results), run.names, dots)
        for v, text in zip(results, texts, strict=True):
            values = tuple([c[v] for c in columns])
            steps.append(Step(run.marked(v, _DOT), text, values, number[v]))
    for i, v in run.outputs:
        if type(v) is Var and v in columns[0]:
            name, values = run.nodes[i].name, tuple([c[v] for c in columns])
            steps.append(Step(accented(name, _DOT), run.marked(v, _DOT), values, i))
    return EvaluationTrace("forward", run.nodes, steps, sweeps)


def _tangents(run: _Run, tangents: Sequence[Array]) -> dict[Var, Array]:
    """The tangents of all variables that have one, in one sweep."""
    variables = list(run.names)
    every = Program(run.program.inputs, run.program.equations, variables)
    moved = dict(zip(run.moving, tangents, strict=True))
    dual = DualTrace()
    try:
        inputs = [
            Dual(dual, run.values[v], moved[v]) if v in moved else run.values[v]
            for v in every.inputs
        ]
        found = [dual.unpack(x)[1] for x in every.evaluate(inputs)]
    finally:
        dual.alive = False
    return {v: t for v, t in zip(variables, found, strict=True) if t is not None}


def _variables(e: Equation) -> tuple[list[Var], list[Var]]:
    """What an equation reads, each once, and what it defines."""
    return list(dict.fromkeys(v for v in e.inputs if type(v) is Var)), list(e.outputs)


def _ones(x: Array, ones: bool) -> Array:
    zero = zero_tangent(x)
    return zero + zero.dtype.type(1) if ones else zero


def _given_tangents(run: _Run, seed: Any) -> list[Array]:
    if not isinstance(seed, (tuple, list)):
        raise TypeError(
            "trace takes the tangents of the arguments as a tuple, one entry for each "
            f"argument, and was given a {type(seed).__name__}. Write seed=(t,)."
        )
    given = matching_leaves(run.treedef, tuple(seed), "trace", "seed")
    names = [node.expression for node in run.nodes[: len(run.leaves)]]
    checked = check_tangents(run.leaves, given, lambda: names, "trace", "tangent")
    return [t for t in checked if t is not None]


# ------------------------------------------------------------------------ reverse mode


def _reverse(run: _Run, seed: Any) -> EvaluationTrace:
    number = {v: i for i, v in enumerate(run.names)}
    adjoints: dict[Var, Array] = {}
    steps: list[Step] = []

    def arrive(v: Var, text: str, contribution: Array) -> None:
        name = run.marked(v, _BAR)
        if v in adjoints:
            text, contribution = f"{name} + {text}", adjoints[v] + contribution
        adjoints[v] = contribution
        steps.append(Step(name, text, (contribution,), number[v]))

    pullbacks, active = _recorded(run)
    for (i, v), ct in zip(run.outputs, _seeds(run, seed), strict=True):
        if ct is not None:
            name = accented(run.nodes[i].name, _BAR)
            steps.append(Step(name, "seed", (ct,), i))
            if type(v) is Var and v in active:
                arrive(v, name, ct)
    for operation, linear in reversed(pullbacks):
        cts = [adjoints.get(v) for v in operation.results]
        reached = [v for v in operation.results if v in adjoints]
        if not reached:
            continue
        bars = [run.marked(v, _BAR) for v in reached]
        texts = cotangent_formulas(operation._replace(results=reached), run.names, bars)
        contributions = transpose(linear, cts)
        for v, text, ct in zip(operation.moving, texts, contributions, strict=True):
            if ct is not None:
                arrive(v, text, ct)
    for i in run.smooth:
        v, node = run.program.inputs[i], run.nodes[i]
        value = adjoints.get(v)
        text = "0" if value is None else run.marked(v, _BAR)
        values = (zero_tangent(run.leaves[i]) if value is None else value,)
        steps.append(Step(accented(node.expression, _BAR), text, values, i))
    return EvaluationTrace("reverse", run.nodes, steps, ["value"])


def _recorded(run: _Run) -> tuple[list[tuple[Operation, Program]], set[Var]]:
    """Operations through which tangents go, with their linear programs.

    And the variables that have tangents.
    """
    active = set(run.moving)
    out = []
    for e in run.program.equations:
        operands, results = _variables(e)
        moving = [v for v in operands if v in active]
        if not moving:
            continue
        function, point = Operation(e, moving, results).at(run.values)
        leaves, treedef = tree.flatten(tuple(point))
        linear = record(
            function, tuple(point), {}, leaves, treedef, False, "trace"
        ).program
        kept = [i for i, v in enumerate(linear.outputs) if v is not None]
        if kept:
            results = [results[i] for i in kept]
            outputs = [linear.outputs[i] for i in kept]
            linear = Program(linear.inputs, linear.equations, outputs)
            out.append((Operation(e, moving, results), linear))
            active.update(results)
    return out, active


def _seeds(run: _Run, seed: Any) -> list[Array | None]:
    """The cotangents of the outputs."""
    outs = [
        node.value for node in run.nodes[len(run.nodes) - len(run.program.outputs) :]
    ]
    if seed is None:
        single = run.out_tree == tree.structure(0)
        if not single or shape_of(outs[0]) != () or dtype_of(outs[0]).kind != "f":
            what = str(aval_of(outs[0])) if single else str(run.out_tree)
            raise NonScalarOutputError(
                "trace in reverse mode starts from the derivative of a real scalar by "
                f"itself, and the function returned {what}. Give the cotangent of the "
                "result as seed=, of the same structure and shapes, or reduce the "
                "result by np.sum or np.mean."
            )
        return [_ones(outs[0], True)]
    given = matching_leaves(run.out_tree, seed, "trace", "seed")
    names = lambda: leaf_names(run.out_tree, outs)  # noqa: E731
    checked = check_tangents(outs, given, names, "trace", "cotangent")
    return [
        dtype_of(y).type(ct) if type(ct) in PYTHON_SCALARS else ct
        for y, ct in zip(outs, checked, strict=True)
    ]


_MODES: dict[str, Callable[[_Run, Any], EvaluationTrace]] = {
    "forward": _forward,
    "reverse": _reverse,
}


# ------------------------------------------------------------------------------- texts


def subscripted(letter: str, number: int) -> str:
    """A letter with a number below the line."""
    return letter + str(number).translate(_SUBSCRIPTS)


def accented(name: str, mark: str) -> str:
    """A name with a mark over its first letter."""
    return unicodedata.normalize("NFC", name[0] + mark + name[1:])


def value_text(x: Array) -> str:
    """A value in few characters: all of a short array, of a long one the range."""
    if type(x) in PYTHON_SCALARS or not shape_of(x):
        return number_text(x)
    if x.size <= _MOST_ENTRIES:
        return _entries(x.tolist())
    if dtype_of(x).kind == "c":
        return f"{aval_of(x)}, at most {number_text(abs(x).max().item())}"
    if dtype_of(x).kind == "b":
        return f"{aval_of(x)}, {number_text(x.sum().item())} true"
    low, high = x.min().item(), x.max().item()
    if low == high:
        return f"{aval_of(x)}, all {number_text(low)}"
    return f"{aval_of(x)} in [{number_text(low, 3)}, {number_text(high, 3)}]"


def _entries(x: Any) -> str:
    if not isinstance(x, (list, tuple)):
        return number_text(x)
    return f"[{', '.join(map(_entries, x))}]"


def _width(text: str) -> int:
    return sum(not unicodedata.combining(c) for c in text)


def _is_number_column(head: str) -> bool:
    return head == "value" or head.startswith("along ")


def _text_table(table: list[list[str]]) -> str:
    widths = [max(map(_width, column)) for column in zip(*table, strict=True)]
    right = [_is_number_column(head) for head in table[0]]
    lines = []
    for row in table:
        cells = []
        for text, width, end in zip(row, widths, right):
            pad = " " * (width - _width(text))
            cells.append(pad + text if end else text + pad)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _html_table(table: list[list[str]]) -> str:
    aligned = ["right" if _is_number_column(head) else "left" for head in table[0]]

    def row(cells: Sequence[str], tag: str) -> str:
        styled = [
            f'<{tag} style="text-align:{side}">{escape(text)}</{tag}>'
            for text, side in zip(cells, aligned)
        ]
        return f"<tr>{''.join(styled)}</tr>"

    head, *body = table
    rows = "".join(row(cells, "td") for cells in body)
    return f"<table><thead>{row(head, 'th')}</thead><tbody>{rows}</tbody></table>"
