"""``cond`` and ``switch``: one of several functions, chosen by a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import funcad.numpy as fnp
from funcad.core import tree
from funcad.core.errors import ArgumentError, BranchError
from funcad.core.program import Program, Var
from funcad.core.tracing import Array, Tracer, array_type_of
from funcad.lax.carries import (
    Aval,
    check_callable,
    check_predicate,
    converted,
    have_values,
    is_scalar_of,
    joined,
    looks,
    staged,
    with_inverse,
)
from funcad.primitives.shape import convert
from funcad.transforms.arguments import check_leaves
from funcad.transforms.control.bodies import written
from funcad.transforms.control.cond import choose
from funcad.transforms.derived import avals_out


def cond(
    pred: Any,
    true_fun: Callable[..., Any],
    false_fun: Callable[..., Any],
    *operands: Any,
) -> Any:
    """Apply one of two functions, as a predicate says.

    Where the predicate has a value, this is Python's ``if``.  Where it has none (inside
    ``jit``, ``vmap`` or a loop), both functions are staged, and one of them is run; of
    a predicate that differs between the examples of ``vmap`` both are run, and each
    example selects its result.

    Parameters
    ----------
    pred : scalar bool
        Which function to apply.
    true_fun, false_fun : callable
        Functions of ``*operands`` whose results have the same structure, shapes and
        dtypes.
    *operands : pytrees of arrays
        Their arguments.

    Returns
    -------
    pytree of arrays
        ``true_fun(*operands)`` or ``false_fun(*operands)``.

    Raises
    ------
    BranchError
        If the predicate is not one boolean, or the results differ in shape or dtype
        where both functions are staged.
    TreeStructureError
        If the results differ in structure where both functions are staged.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad import lax
    >>> small, large = lambda x: x**2 / 2, lambda x: np.abs(x) - 0.5
    >>> huber = lambda x: lax.cond(np.abs(x) < 1, small, large, x)
    >>> float(huber(-3.0))
    2.5
    >>> funcad.vmap(funcad.grad(huber))(np.array([0.5, -3.0]))
    array([ 0.5, -1. ])
    """
    check_callable(true_fun, "cond", "true_fun")
    check_callable(false_fun, "cond", "false_fun")
    check_predicate(pred, "cond", "the predicate")
    operands = tree.map(with_inverse, operands)
    if not isinstance(pred, Tracer):
        return true_fun(*operands) if pred else false_fun(*operands)
    if have_values([pred]):
        chosen = true_fun if pred.concrete("the predicate") else false_fun
        return chosen(*operands)
    index = convert(pred, dtype=np.dtype(np.intp))
    names = ("false_fun", "true_fun")
    return _choose("cond", index, (false_fun, true_fun), names, operands)


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """Apply one of several functions, as an index says.

    Runs, stages and batches as `cond` does.

    Parameters
    ----------
    index : scalar int
        Number of the function; below 0 it is the first one, beyond the end the last.
    branches : sequence of callable
        Functions of ``*operands`` whose results have the same structure, shapes and
        dtypes.
    *operands : pytrees of arrays
        Their arguments.

    Returns
    -------
    pytree of arrays
        ``branches[index](*operands)``.

    Raises
    ------
    BranchError
        If the index is not one integer, or the results differ in shape or dtype.
    TreeStructureError
        If the results differ in structure.
    ArgumentError
        If there are no branches.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import lax
    >>> [float(lax.switch(i, [np.sin, np.cos, np.exp], 0.0)) for i in (0, 1, 7)]
    [0.0, 1.0, 1.0]
    """
    try:
        functions = tuple(branches)
    except TypeError:
        raise TypeError(
            "switch: branches must be a sequence of functions, not "
            f"{branches!r} of type {type(branches).__name__}."
        ) from None
    if not functions:
        raise ArgumentError("switch needs at least one branch, and got none.")
    for i, f in enumerate(functions):
        check_callable(f, "switch", f"branch {i}")
    _check_index(index)
    operands = tree.map(with_inverse, operands)
    last = len(functions) - 1
    if have_values([index]):
        value = index.concrete("the index") if isinstance(index, Tracer) else index
        return functions[min(max(int(value), 0), last)](*operands)
    index = fnp.clip(index, 0, last)
    names = tuple(f"branch {i}" for i in range(len(functions)))
    return _choose("switch", index, functions, names, operands)


def _check_index(index: Any) -> None:
    if not is_scalar_of(index, "iu"):
        raise BranchError(
            f"switch: the index must be one integer, and is {looks(index)}. Convert it "
            "with x.astype(int); for a boolean use cond."
        )


def _choose(
    name: str,
    index: Array,
    functions: tuple[Callable[..., Any], ...],
    names: tuple[str, ...],
    operands: tuple[Any, ...],
) -> Any:
    leaves, treedef = tree.flatten(operands)
    check_leaves(leaves, treedef, name, "operands")
    specimens = tree.unflatten(treedef, [Aval.of(x).specimen() for x in leaves])
    array_type = array_type_of([index, *leaves])
    forms = [staged(f, specimens, name, array_type) for f in functions]
    out_tree = forms[0][2]
    for other, (_, _, found) in zip(names[1:], forms[1:]):
        if found != out_tree:
            tree.check_same_structure(
                out_tree,
                found,
                f"the result of {names[0]} of {name}",
                f"that of {other}",
            )
    captured = {id(t): t for _, tracers, _ in forms for t in tracers}
    programs = [_with_inputs(program, own, captured) for program, own, _ in forms]
    kinds = _common(name, names, programs, out_tree)
    outs = choose(
        index,
        tuple([_with_kinds(p, kinds, array_type) for p in programs]),
        [*captured.values(), *leaves],
    )
    return tree.unflatten(out_tree, outs)


def _with_inputs(
    program: Program, own: Sequence[Tracer], captured: dict[int, Tracer]
) -> Program:
    """The program with inputs for what other branches capture."""
    variables = {id(t): v for t, v in zip(own, program.inputs)}
    inputs = [
        variables.get(i) or Var(t.shape, t.dtype, t.weak) for i, t in captured.items()
    ]
    return Program(
        [*inputs, *program.inputs[len(own) :]], program.equations, program.outputs
    )


def _common(
    name: str, names: Sequence[str], programs: Sequence[Program], out_tree: Any
) -> list[Any]:
    """Dtype of each output; Python's numbers follow those of other branches."""
    rows = [[Aval.of(v) for v in p.outputs] for p in programs]
    kinds, wrong = [], []
    for i, column in enumerate(zip(*rows)):
        kind = column[0].kind
        if any(a != column[0] for a in column):
            kind = joined(*[a.kind for a in column])
        kinds.append(kind)
        alike = len({a.shape for a in column}) == 1 and all(
            a.weak or a.kind == kind for a in column
        )
        if not alike:
            wrong.append((i, column))
    if wrong:
        paths, _ = tree.flatten_with_path(tree.unflatten(out_tree, programs[0].outputs))
        lines = [
            f"    {'result' + tree.keystr(paths[i][0])}: "
            + ", ".join(f"{a} from {n}" for n, a in zip(names, column))
            for i, column in wrong
        ]
        raise BranchError(
            f"{name}: all branches must return the same shapes and dtypes, and these "
            "differ in\n" + "\n".join(lines) + "\n  Convert what they return with "
            "x.astype(dtype), np.reshape or np.broadcast_to."
        )
    return kinds


def _with_kinds(program: Program, kinds: Sequence[Any], array_type: type) -> Program:
    """The program with its numbers converted to what other branches return."""
    if all(a[1] == kind for a, kind in zip(avals_out(program), kinds)):
        return program

    def run(*args: Array) -> list[Array]:
        outs = program.evaluate(args)
        return [converted(x, kind) for x, kind in zip(outs, kinds)]

    return written(run, program.inputs, array_type)
