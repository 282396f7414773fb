"""Whole derivative matrices: Jacobians by either mode, Hessians, and their products.

Each is a composition of the transforms below it and has no rules of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core import tree
from funcad.core.errors import InputDtypeError, OutputDtypeError
from funcad.core.tracing import Array, aval_of, dtype_of, shape_of
from funcad.primitives.shape import reshape, split
from funcad.transforms.arguments import (
    check_argnums,
    check_leaves,
    float0,
    has_tangent,
    leaf_names,
    select_arguments,
    wraps,
    zero_tangent,
)
from funcad.transforms.batch import vmap
from funcad.transforms.forward import Linearized, jvp_as, record
from funcad.transforms.linear import transpose
from funcad.transforms.reverse import grad_as

__all__ = ["hessian", "hvp", "jacfwd", "jacobian", "jacrev"]


def jacfwd(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """Jacobian by forward mode: one column for each input, all at once.

    Best where there are more outputs than inputs.

    Parameters
    ----------
    f : callable
        Function of pytrees of arrays.
    argnums : int or sequence of int, optional
        Positional arguments to differentiate with respect to.
    has_aux : bool, optional
        Whether ``f`` returns ``(out, aux)``; the result is ``(jacobian, aux)`` then.
    holomorphic : bool, optional
        Whether ``f`` is holomorphic, which complex arguments require.

    Returns
    -------
    callable
        Takes the arguments of ``f`` and returns, in place of each leaf of its result, a
        tree like the argument whose leaves have shape ``out.shape + in.shape``.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> funcad.jacfwd(lambda x: x**2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    return _jacobian(f, argnums, has_aux, holomorphic, False, "jacfwd", _by_columns)


def jacrev(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """Jacobian by reverse mode: one row for each output, all at once.

    Best where there are more inputs than outputs.

    Parameters
    ----------
    f : callable
        Function of pytrees of arrays.
    argnums : int or sequence of int, optional
        Positional arguments to differentiate with respect to.
    has_aux : bool, optional
        Whether ``f`` returns ``(out, aux)``; the result is ``(jacobian, aux)`` then.
    holomorphic : bool, optional
        Whether ``f`` is holomorphic, which complex arguments require.
    allow_int : bool, optional
        Whether to accept integer arguments, whose Jacobians are zeros of dtype
        ``funcad.float0``.

    Returns
    -------
    callable
        As for :func:`jacfwd`.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> funcad.jacrev(lambda x: np.sum(x**2))(np.array([1.0, 2.0]))
    array([2., 4.])
    """
    return _jacobian(f, argnums, has_aux, holomorphic, allow_int, "jacrev", _by_rows)


def jacobian(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """Jacobian by forward mode if there are fewer inputs than outputs, else by reverse.

    Parameters
    ----------
    f : callable
        Function of pytrees of arrays.
    argnums : int or sequence of int, optional
        Positional arguments to differentiate with respect to.
    has_aux : bool, optional
        Whether ``f`` returns ``(out, aux)``; the result is ``(jacobian, aux)`` then.
    holomorphic : bool, optional
        Whether ``f`` is holomorphic, which complex arguments require.

    Returns
    -------
    callable
        As for :func:`jacfwd`.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> funcad.jacobian(lambda x: np.array([2.0, 3.0]) * x)(1.0)
    array([2., 3.])
    """
    return _jacobian(f, argnums, has_aux, holomorphic, False, "jacobian", _by_size)


def hessian(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """Matrix of second derivatives: ``jacfwd(jacrev(f))``.

    Parameters
    ----------
    f : callable
        Function of pytrees of arrays.
    argnums : int or sequence of int, optional
        Positional arguments to differentiate with respect to.
    has_aux : bool, optional
        Whether ``f`` returns ``(out, aux)``; the result is ``(hessian, aux)`` then.
    holomorphic : bool, optional
        Whether ``f`` is holomorphic, which complex arguments require.

    Returns
    -------
    callable
        Takes the arguments of ``f``; leaves have shape
        ``out.shape + in.shape + in.shape``.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> funcad.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    options = argnums, has_aux, holomorphic, False, "hessian"
    rows = _jacobian(f, *options, _by_rows)
    return wraps(f, "hessian")(_jacobian(rows, *options, _by_columns))


def hvp(
    f: Callable[..., Any],
    primals: Any,
    tangents: Any,
    argnums: int | Sequence[int] = 0,
) -> Any:
    """Hessian-vector product, at a small multiple of the gradient's cost.

    Forward over reverse: ``jvp(grad(f, argnums), primals, tangents)[1]``.

    Parameters
    ----------
    f : callable
        Function whose result is a real scalar.
    primals, tangents : tuple
        All arguments of ``f``, and the direction.
    argnums : int or sequence of int, optional
        Arguments with respect to which the gradient is taken.

    Returns
    -------
    pytree
        The derivative of the gradient along ``tangents``.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> x, v = np.array([1.0, 2.0]), np.array([1.0, 0.0])
    >>> funcad.hvp(lambda x: np.sum(x**3), (x,), (v,))
    array([6., 0.])
    """
    form = "hvp(f, (x,), (v,))"
    return jvp_as(
        grad_as(f, "hvp", argnums, form=form), primals, tangents, False, "hvp"
    )[1]


# ------------------------------------------------------------------------- machinery


def _jacobian(
    f: Callable[..., Any],
    argnums: int | Sequence[int],
    has_aux: bool,
    holomorphic: bool,
    allow_int: bool,
    name: str,
    matrices: Callable[[Linearized, list[Array], str], list[list[Array]]],
) -> Callable[..., Any]:
    check_argnums(argnums, name)

    @wraps(f, name)
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        chosen, replace = select_arguments(args, argnums, name)
        leaves, treedef = tree.flatten(chosen)
        check_leaves(leaves, treedef, name)
        _check_dtypes(leaves, treedef, holomorphic, allow_int, name)
        varied = [x for x in leaves if has_tangent(x)]
        result = record(f, chosen, kwargs, leaves, treedef, has_aux, name, replace)
        blocks = matrices(result, varied, name)
        if len(varied) < len(leaves):
            blocks = [
                _with_zeros(y, leaves, row) for y, row in zip(result.outputs, blocks)
            ]
        rows = [tree.unflatten(treedef, row) for row in blocks]
        out = tree.unflatten(result.tree, rows)
        return (out, result.aux) if has_aux else out

    return jacobian_of


def _check_dtypes(
    leaves: Sequence[Array],
    treedef: Any,
    holomorphic: bool,
    allow_int: bool,
    name: str,
) -> None:
    for i, x in enumerate(leaves):
        if allow_int and not has_tangent(x):
            continue
        if dtype_of(x).kind != ("c" if holomorphic else "f"):
            raise InputDtypeError(
                f"{name}{' with holomorphic=True' * holomorphic} takes "
                f"{'complex' if holomorphic else 'real floating-point'} inputs, and "
                f"{leaf_names(treedef, leaves)[i]} is {aval_of(x)}."
            )


def _with_zeros(
    output: Array, leaves: Sequence[Array], row: Sequence[Array]
) -> list[Array]:
    """Blocks for all the leaves, those of integers zeros that have no value."""
    found = iter(row)
    shape = shape_of(output)
    return [
        next(found) if has_tangent(x) else np.zeros((*shape, *shape_of(x)), float0)
        for x in leaves
    ]


def _by_columns(
    result: Linearized, leaves: list[Array], name: str
) -> list[list[Array]]:
    def pushforward(*tangents: Array) -> list[Array]:
        outs = result.program.evaluate(tangents)
        return [
            zero_tangent(p) if t is None else t
            for p, t in zip(result.outputs, outs, strict=True)
        ]

    basis, size = _basis(leaves)
    columns = vmap(pushforward, out_axes=-1, axis_size=size)(*basis)
    return [_cut(c, leaves, shape_of(p), -1) for c, p in zip(columns, result.outputs)]


def _by_rows(result: Linearized, leaves: list[Array], name: str) -> list[list[Array]]:
    def pullback(*cotangents: Array) -> list[Array]:
        cts = transpose(result.program, cotangents)
        return [
            zero_tangent(x) if ct is None else ct
            for x, ct in zip(leaves, cts, strict=True)
        ]

    outputs = result.outputs
    _check_outputs(result, leaves, name)
    basis, size = _basis(outputs)
    rows = vmap(pullback, axis_size=size)(*basis)
    by_input = [_cut(r, outputs, shape_of(x), 0) for r, x in zip(rows, leaves)]
    return [[column[i] for column in by_input] for i in range(len(outputs))]


def _by_size(result: Linearized, leaves: list[Array], name: str) -> list[list[Array]]:
    inputs = sum(math.prod(shape_of(x)) for x in leaves)
    outputs = sum(math.prod(shape_of(x)) for x in result.outputs)
    unlike = any(_kind_unlike(x, leaves) for x in result.outputs)
    by = _by_columns if inputs < outputs or unlike else _by_rows
    return by(result, leaves, name)


def _kind_unlike(output: Array, leaves: Sequence[Array]) -> bool:
    """Whether an output is real and the inputs complex, or the other way round."""
    return any(dtype_of(output).kind != dtype_of(x).kind for x in leaves[:1])


def _check_outputs(result: Linearized, leaves: Sequence[Array], name: str) -> None:
    for i, output in enumerate(result.outputs):
        if _kind_unlike(output, leaves):
            wanted = "complex" if dtype_of(leaves[0]).kind == "c" else "real"
            raise OutputDtypeError(
                f"{name} of {wanted} inputs takes functions with {wanted} outputs, and "
                f"{leaf_names(result.tree, result.outputs)[i]} is {aval_of(output)}. "
                "Use jacfwd, which has a column for each input, or funcad.vjp with "
                "cotangents of your choice; leave integers out by has_aux=True."
            )


def _basis(leaves: Sequence[Array]) -> tuple[list[Array], int]:
    """Unit vectors of the space of all leaves, stacked along a first axis."""
    sizes = [math.prod(shape_of(x)) for x in leaves]
    out = []
    start = 0
    for x, n in zip(leaves, sizes, strict=True):
        xp = namespace(x)
        block = xp.eye(sum(sizes), n, -start, dtype=dtype_of(x))
        out.append(block.reshape((sum(sizes), *shape_of(x))))
        start += n
    return out, start


def _cut(
    stacked: Array, leaves: Sequence[Array], shape: tuple[int, ...], axis: int
) -> list[Array]:
    """Cut a stack over the basis into a block for each leaf, in the leaf's shape."""
    sizes = tuple(math.prod(shape_of(x)) for x in leaves)
    blocks = split(stacked, sizes=sizes, axis=axis % len(stacked.shape))
    return [
        reshape(b, shape=(*shape, *shape_of(x)) if axis else (*shape_of(x), *shape))
        for b, x in zip(blocks, leaves, strict=True)
    ]
