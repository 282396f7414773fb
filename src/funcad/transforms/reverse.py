"""Reverse mode: ``vjp`` and ``grad`` are ``linearize`` and then ``transpose``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core import tree
from funcad.core.errors import InputDtypeError, NonScalarOutputError
from funcad.core.tracing import PYTHON_SCALARS, Array, aval_of, dtype_of, shape_of
from funcad.transforms.arguments import (
    check_argnums,
    check_leaves,
    check_tangents,
    has_tangent,
    leaf_names,
    select_arguments,
    wraps,
    zero_tangent,
)
from funcad.transforms.forward import Linearized, matching_leaves, record
from funcad.transforms.linear import Linear, LinearTrace, transpose
from funcad.transforms.stage import ShapeDtypeStruct

__all__ = ["grad", "linear_transpose", "value_and_grad", "vjp"]


def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """Value of a function and its pullback (vector-Jacobian product).

    Parameters
    ----------
    f : callable
        Function of pytrees of arrays.
    *primals : pytree
        Arguments at which to differentiate.
    has_aux : bool, optional
        Whether ``f`` returns ``(out, aux)``, of which ``aux`` is passed through.

    Returns
    -------
    out : pytree
        ``f(*primals)``.
    f_vjp : callable
        ``f_vjp(cotangent)``, whose argument has the structure, shapes and dtypes of
        ``out``, gives a tuple of cotangents, one for each of ``primals``.
    aux : pytree
        Only if ``has_aux``.

    Raises
    ------
    TangentMismatchError
        If the cotangent differs from the output in structure, shape or dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> y, f_vjp = funcad.vjp(np.multiply, 2.0, 3.0)
    >>> [float(ct) for ct in f_vjp(np.float64(1.0))]
    [3.0, 2.0]
    """
    wraps(f, "vjp", "vjp(f, x)")
    leaves, treedef = tree.flatten(primals)
    check_leaves(leaves, treedef, "vjp")
    result = record(f, primals, {}, leaves, treedef, has_aux, "vjp")

    def f_vjp(cotangents: Any) -> Any:
        given = matching_leaves(result.tree, cotangents, "vjp", "cotangent")
        given = check_tangents(
            result.outputs,
            given,
            lambda: leaf_names(result.tree, result.outputs),
            "vjp",
            "cotangent",
        )
        # transposes ask for shapes, which Python's numbers have not
        given = [
            dtype_of(y).type(ct) if type(ct) in PYTHON_SCALARS else ct
            for y, ct in zip(result.outputs, given, strict=True)
        ]
        cts = transpose(result.program, given)
        return tree.unflatten(treedef, _explicit(leaves, cts))

    f_vjp.program = result.program  # type: ignore[attr-defined]
    out = tree.unflatten(result.tree, result.outputs)
    return (out, f_vjp, result.aux) if has_aux else (out, f_vjp)


def _explicit(leaves: Sequence[Array], cts: Sequence[Array | None]) -> list[Array]:
    """A cotangent for every leaf: zeros made explicit, also for integers."""
    found = iter(cts)
    out = []
    for x in leaves:
        ct = next(found) if has_tangent(x) else None
        out.append(zero_tangent(x) if ct is None else ct)
    return out


def value_and_grad(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """Function that returns the value and the gradient of a scalar function.

    Parameters
    ----------
    f : callable
        Function of any arguments whose result is a real scalar.
    argnums : int or sequence of int, optional
        Positional arguments to differentiate with respect to, pytrees of arrays.
    has_aux : bool, optional
        Whether ``f`` returns ``(value, aux)``, of which ``aux`` is passed through.
    holomorphic : bool, optional
        Whether ``f`` is holomorphic: arguments and result are complex then.
    allow_int : bool, optional
        Whether to accept integer arguments, whose gradients are zeros of dtype
        ``funcad.float0``.

    Returns
    -------
    callable
        Takes the arguments of ``f`` and returns ``(value, gradient)``, or
        ``((value, aux), gradient)``.  The gradient has the structure of the argument,
        or is a tuple of such where ``argnums`` is a sequence.

    Raises
    ------
    NonScalarOutputError
        If the result is not a real scalar.
    InputDtypeError
        If an argument to differentiate is an integer or boolean.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> value, gradient = funcad.value_and_grad(lambda x: np.sum(x**2))(np.arange(3.0))
    >>> float(value), gradient
    (5.0, array([0., 2., 4.]))
    """
    options = argnums, has_aux, holomorphic, allow_int
    return value_and_grad_as(f, "value_and_grad", *options)


def value_and_grad_as(
    f: Callable[..., Any],
    name: str,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    form: str = "",
) -> Callable[..., Any]:
    """`value_and_grad` for the function of that ``name`` that the user has called."""
    check_argnums(argnums, name)

    @wraps(f, name, form)
    def with_gradient(*args: Any, **kwargs: Any) -> Any:
        chosen, replace = select_arguments(args, argnums, name)
        leaves, treedef = tree.flatten(chosen)
        check_leaves(leaves, treedef, name)
        for x in leaves:
            if dtype_of(x).kind != "f":
                _check_input(leaves, treedef, holomorphic, allow_int, name)
                break
        else:
            if holomorphic:
                _check_input(leaves, treedef, holomorphic, allow_int, name)
        result = record(f, chosen, kwargs, leaves, treedef, has_aux, name, replace)
        value = _scalar(f, result, holomorphic, name)
        seed = namespace(value).ones((), dtype_of(value))[()]
        cts = transpose(result.program, [seed], consume=True)
        gradient = tree.unflatten(treedef, _explicit(leaves, cts))
        return ((value, result.aux) if has_aux else value), gradient

    return with_gradient


def grad(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """Function that returns the gradient of a scalar function.

    Parameters
    ----------
    f : callable
        Function of any arguments whose result is a real scalar.
    argnums : int or sequence of int, optional
        Positional arguments to differentiate with respect to, pytrees of arrays.
    has_aux : bool, optional
        Whether ``f`` returns ``(value, aux)``; the result is ``(gradient, aux)`` then.
    holomorphic : bool, optional
        Whether ``f`` is holomorphic: arguments and result are complex then.
    allow_int : bool, optional
        Whether to accept integer arguments, whose gradients are zeros of dtype
        ``funcad.float0``.

    Returns
    -------
    callable
        Takes the arguments of ``f`` and returns the gradient, with the structure of the
        argument, or a tuple of such where ``argnums`` is a sequence.  For a complex
        argument z = x + iy of a real function u it is du/dx - i du/dy, as in JAX.

    Raises
    ------
    NonScalarOutputError
        If the result is not a real scalar.
    InputDtypeError
        If an argument to differentiate is an integer or boolean.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> funcad.grad(lambda x: np.sum(np.tanh(x) ** 2))(np.array([0.0, 1.0]))
    array([0.        , 0.63970001])
    """
    options = {"holomorphic": holomorphic, "allow_int": allow_int}
    return grad_as(f, "grad", argnums, has_aux, **options)


def grad_as(
    f: Callable[..., Any],
    name: str,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    **options: Any,
) -> Callable[..., Any]:
    """`grad` for the function of that ``name`` that the user has called."""
    both = value_and_grad_as(f, name, argnums, has_aux, **options)

    @wraps(f, name)
    def gradient_of(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return gradient_of


def _check_input(
    leaves: Sequence[Array],
    treedef: Any,
    holomorphic: bool,
    allow_int: bool,
    name: str,
) -> None:
    for i, x in enumerate(leaves):
        kind = dtype_of(x).kind
        if kind == "c" or (kind == "f" and not holomorphic):
            continue
        leaf = leaf_names(treedef, leaves)[i]
        if holomorphic:
            raise InputDtypeError(
                f"{name} with holomorphic=True takes complex inputs, and {leaf} is "
                f"{aval_of(x)}. Pass x.astype(complex), or leave holomorphic=False."
            )
        if not allow_int:
            zeros = (
                ", or set allow_int=True for zero gradients there"
                if name in ("grad", "value_and_grad")
                else ""
            )
            raise InputDtypeError(
                f"{name} takes derivatives with respect to floats and complex numbers, "
                f"and {leaf} is {aval_of(x)}. Pass a float ({_as_float(x)}), choose "
                f"other arguments with argnums={zeros}."
            )


def _as_float(x: Any) -> str:
    return f"{float(x)}" if type(x) in (int, bool) else "x.astype(float)"


_LEAF, _NONE = tree.structure(0), tree.structure(None)


def _scalar(
    f: Callable[..., Any], result: Linearized, holomorphic: bool, transform: str
) -> Array:
    name = getattr(f, "__name__", type(f).__name__)
    advice = (
        "Reduce it with np.sum or np.mean, or use funcad.jacrev for a vector of "
        "outputs, funcad.vjp for a given cotangent, has_aux=True for further results."
    )
    if result.tree == _NONE:
        raise NonScalarOutputError(
            f"{transform} takes functions that return a scalar, and {name} returned "
            "None. Is a return statement missing?"
        )
    if result.tree != _LEAF:
        raise NonScalarOutputError(
            f"{transform} takes functions that return one scalar, and {name} returned "
            f"{result.tree}. {advice}"
        )
    (value,) = result.outputs
    if shape_of(value) != ():
        raise NonScalarOutputError(
            f"{transform} takes functions that return a scalar, and {name} returned an "
            f"array {aval_of(value)}. {advice}"
        )
    kind = dtype_of(value).kind
    if kind != ("c" if holomorphic else "f"):
        wanted = "complex" if holomorphic else "real floating-point"
        raise NonScalarOutputError(
            f"{transform}{' with holomorphic=True' * holomorphic} takes functions that "
            f"return a {wanted} scalar, and {name} returned {aval_of(value)}. "
            + (
                "Take np.real(...) or np.abs(...) of it, or set holomorphic=True for "
                "a holomorphic function."
                if kind == "c"
                else "Leave holomorphic=False for a real function."
                if holomorphic
                else "Integers and booleans have no derivative."
            )
        )
    return value


def linear_transpose(f: Callable[..., Any], *primals: Any) -> Callable[..., Any]:
    """Transpose of a function that is linear.

    Parameters
    ----------
    f : callable
        Linear function of pytrees of arrays.
    *primals : pytree
        Arrays or ``ShapeDtypeStruct`` that say what the arguments look like; their
        values do not matter.

    Returns
    -------
    callable
        Takes a cotangent, with the structure of the result of ``f``, and returns a
        tuple of cotangents, one for each of ``primals``.

    Raises
    ------
    NonlinearError
        If ``f`` multiplies two values that both depend on its arguments.
    MissingRuleError
        If ``f`` applies a function that is not linear.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> f_transpose = funcad.linear_transpose(lambda x: 3.0 * x, 1.0)
    >>> float(f_transpose(np.float64(2.0))[0])
    6.0
    """
    wraps(f, "linear_transpose", "linear_transpose(f, x)")
    leaves, treedef = tree.flatten(primals)
    arrays = [0 if isinstance(x, ShapeDtypeStruct) else x for x in leaves]
    check_leaves(arrays, treedef, "linear_transpose")
    for x in leaves:
        if dtype_of(x).kind not in "fc":
            raise InputDtypeError(
                f"linear_transpose takes floats and complex numbers, not {aval_of(x)}."
            )
    trace = LinearTrace(leaves)
    inputs = [trace.variable(shape_of(x), dtype_of(x)) for x in leaves]
    try:
        outs, out_tree = tree.flatten(f(*tree.unflatten(treedef, inputs)))
        check_leaves(outs, out_tree, "linear_transpose", "output")
        program = trace.program(inputs, outs)
    finally:
        trace.alive = False
    avals = [x.variable if isinstance(x, Linear) else x for x in outs]

    def f_transpose(cotangents: Any) -> Any:
        given = matching_leaves(out_tree, cotangents, "linear_transpose", "cotangent")
        given = check_tangents(
            avals,
            given,
            lambda: leaf_names(out_tree, avals),
            "linear_transpose",
            "cotangent",
        )
        cts = transpose(program, given)
        like = next((ct for ct in given if ct is not None), np.float64(0))
        return tree.unflatten(
            treedef,
            [
                namespace(like).zeros(shape_of(x), dtype_of(x)) if ct is None else ct
                for x, ct in zip(leaves, cts, strict=True)
            ],
        )

    return f_transpose
