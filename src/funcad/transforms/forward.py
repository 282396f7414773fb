"""Forward mode: ``jvp`` and ``linearize``, and what reverse mode is built from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from funcad.core import tree
from funcad.core.program import Program
from funcad.core.tracing import Array, dtype_of, shape_of
from funcad.transforms.arguments import (
    check_leaves,
    check_tangents,
    has_tangent,
    leaf_names,
    wraps,
    zero_tangent,
)
from funcad.transforms.dual import Dual, DualTrace
from funcad.transforms.linear import Linear, LinearTrace

__all__ = ["jvp", "linearize"]


def jvp(
    f: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False
) -> tuple[Any, ...]:
    """Value and directional derivative of a function (Jacobian-vector product).

    Parameters
    ----------
    f : callable
        Function of pytrees of arrays.
    primals : tuple or list
        Arguments at which to differentiate.
    tangents : tuple or list
        Direction, with the structure, shapes and dtypes of ``primals``; the tangent of
        an integer or boolean is a zero of dtype ``funcad.float0``.
    has_aux : bool, optional
        Whether ``f`` returns ``(out, aux)``, of which ``aux`` is passed through.

    Returns
    -------
    primals_out, tangents_out : pytree
        ``f(*primals)`` and its derivative along ``tangents``.
    aux : pytree
        Only if ``has_aux``.

    Raises
    ------
    TangentMismatchError
        If tangents differ from primals in structure, shape or dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> y, dy = funcad.jvp(np.square, (3.0,), (1.0,))
    >>> float(y), float(dy)
    (9.0, 6.0)
    """
    wraps(f, "jvp", "jvp(f, (x,), (t,))")
    return jvp_as(f, primals, tangents, has_aux, "jvp")


def jvp_as(
    f: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool, name: str
) -> tuple[Any, ...]:
    """`jvp` for the function of that ``name`` that the user has called."""
    if not isinstance(primals, (tuple, list)) or not isinstance(
        tangents, (tuple, list)
    ):
        raise TypeError(
            f"{name} takes its primals and tangents as tuples, one entry for each "
            f"argument of the function, and was given a {type(primals).__name__} and a "
            f"{type(tangents).__name__}. Write {name}(f, (x,), (t,))."
        )
    leaves, treedef = tree.flatten(tuple(primals))
    check_leaves(leaves, treedef, name)
    given = matching_leaves(treedef, tuple(tangents), name, "tangents")
    given = check_tangents(
        leaves, given, lambda: leaf_names(treedef, leaves), name, "tangent"
    )
    trace = DualTrace()
    duals = [
        x if t is None else Dual(trace, x, t)
        for x, t in zip(leaves, given, strict=True)
    ]
    try:
        out, aux = _call(f, tree.unflatten(treedef, duals), {}, has_aux, name)
        outs, out_tree = tree.flatten(out)
        check_leaves(outs, out_tree, name, "output")
        pairs = [trace.unpack(x) for x in outs]
        aux = unwrapped(aux, trace)
    finally:
        trace.alive = False
    primals_out = tree.unflatten(out_tree, [p for p, _ in pairs])
    tangents_out = tree.unflatten(
        out_tree, [zero_tangent(p) if t is None else t for p, t in pairs]
    )
    return (primals_out, tangents_out, aux) if has_aux else (primals_out, tangents_out)


def linearize(
    f: Callable[..., Any], *primals: Any, has_aux: bool = False
) -> tuple[Any, ...]:
    """Value of a function and its derivative at a point as a linear function.

    The function runs once; applying the derivative to many tangents costs no further
    evaluation of it.

    Parameters
    ----------
    f : callable
        Function of pytrees of arrays.
    *primals : pytree
        Arguments at which to linearise.
    has_aux : bool, optional
        Whether ``f`` returns ``(out, aux)``, of which ``aux`` is passed through.

    Returns
    -------
    out : pytree
        ``f(*primals)``.
    f_jvp : callable
        ``f_jvp(*tangents)`` gives the derivative along them; ``f_jvp.program`` is the
        linear program that it runs.
    aux : pytree
        Only if ``has_aux``.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> y, f_jvp = funcad.linearize(np.sin, 0.0)
    >>> float(f_jvp(2.0))
    2.0
    """
    wraps(f, "linearize", "linearize(f, x)")
    leaves, treedef = tree.flatten(primals)
    check_leaves(leaves, treedef, "linearize")
    result = record(f, primals, {}, leaves, treedef, has_aux, "linearize")

    def f_jvp(*tangents: Any) -> Any:
        given = matching_leaves(treedef, tangents, "linearize", "tangents")
        given = check_tangents(
            leaves, given, lambda: leaf_names(treedef, leaves), "linearize", "tangent"
        )
        outs = result.program.evaluate([t for t in given if t is not None])
        return tree.unflatten(
            result.tree,
            [
                zero_tangent(p) if t is None else t
                for p, t in zip(result.outputs, outs, strict=True)
            ],
        )

    f_jvp.program = result.program  # type: ignore[attr-defined]
    out = tree.unflatten(result.tree, result.outputs)
    return (out, f_jvp, result.aux) if has_aux else (out, f_jvp)


class Linearized(NamedTuple):
    """A function at a point: its value, and its derivative as a linear program.

    The program's inputs belong to those leaves of the arguments that have tangents.
    """

    outputs: list[Array]
    tree: Any
    program: Program
    aux: Any


def record(
    f: Callable[..., Any],
    chosen: Any,
    kwargs: dict[str, Any],
    leaves: Sequence[Array],
    treedef: Any,
    has_aux: bool,
    transform: str,
    replace: Callable[[Any], tuple[Any, ...]] = lambda args: args,
) -> Linearized:
    """Run ``f`` on Dual tracers whose tangents are recorded.

    ``replace`` gives all positional arguments from those that are differentiated.
    """
    linear = LinearTrace(leaves)
    trace = DualTrace()
    inputs: list[Linear] = []
    duals: list[Any] = []
    for x in leaves:
        if has_tangent(x):
            tangent = linear.variable(shape_of(x), dtype_of(x))
            inputs.append(tangent)
            duals.append(Dual(trace, x, tangent))
        else:
            duals.append(x)
    try:
        args = replace(tree.unflatten(treedef, duals))
        out, aux = _call(f, args, kwargs, has_aux, transform)
        outs, out_tree = tree.flatten(out)
        check_leaves(outs, out_tree, transform, "output")
        pairs = [trace.unpack(x) for x in outs]
        if has_aux:
            aux = unwrapped(aux, trace)
        program = linear.program(inputs, [t for _, t in pairs])
    finally:
        trace.alive = linear.alive = False
    return Linearized([p for p, _ in pairs], out_tree, program, aux)


def _call(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    has_aux: bool,
    transform: str,
) -> tuple[Any, Any]:
    result = f(*args, **kwargs)
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(
            f"{transform} with has_aux=True needs a function that returns a pair "
            f"(out, aux), and it returned a {type(result).__name__}."
        )
    return result


def unwrapped(aux: Any, trace: DualTrace) -> Any:
    """Auxiliary results as their values, without tangents."""
    return tree.map(lambda x: trace.unpack(x)[0], aux)


def matching_leaves(treedef: Any, given: Any, transform: str, what: str) -> list[Any]:
    """Leaves of a tree that must have the structure ``treedef``."""
    leaves, got = tree.flatten(given)
    if got != treedef:
        tree.check_same_structure(
            treedef, given, f"the values of {transform}", f"its {what}"
        )
    check_leaves(leaves, got, transform, what)
    return leaves
