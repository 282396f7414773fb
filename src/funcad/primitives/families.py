"""Constructors that make a primitive a declaration of a few lines.

======================================  ============================================
:func:`linear`                          linear in its first operand
:func:`multilinear`                     linear in each operand separately (products)
:func:`sum_of_jvps`                     a JVP rule from one function an operand
:func:`funcad.primitives.elementwise.elementwise`  entry by entry, broadcasting
:func:`funcad.primitives.reduction.reduction`      over axes
======================================  ============================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from funcad.core.counting import nothing
from funcad.core.errors import NonlinearError
from funcad.core.program import Var
from funcad.core.tracing import Array, Params, Primitive, bind

Rule = Callable[..., Any]


def linear(
    name: str,
    impl: Callable[..., Any],
    abstract: Rule,
    *,
    transpose: Rule,
    batch: Rule,
    flops: Rule = nothing,
    traffic: Rule | None = None,
    code: Rule | None = None,
    blocks: Rule | None = None,
    parts: Rule | None = None,
    view: str = "",
    multiple: bool = False,
) -> Primitive:
    """A function that is linear in its first operand; the others are indices or so.

    Parameters
    ----------
    name : str
        Name of the primitive.
    impl : callable
        ``impl(x, *rest, **params)``.
    abstract : callable
        ``abstract(x, *rest, **params) -> (shape, dtype)``.
    transpose : callable
        ``transpose(ct, aval, *rest, **params)``, the cotangent of the first operand,
        of which ``aval`` has the shape and dtype.
    batch : callable
        ``batch(values, axes, **params) -> (result, axis)``.
    flops, code, parts, view, multiple
        As for :class:`~funcad.extend.Primitive`.

    Returns
    -------
    Primitive
        With the JVP rule that follows.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.extend import linear, move_axis
    >>> every_other = linear(
    ...     "every_other",
    ...     lambda x: x[..., ::2],
    ...     lambda x: ((*x.shape[:-1], -(-x.shape[-1] // 2)), x.dtype),
    ...     transpose=lambda ct, x: np.stack([ct, 0 * ct], -1).reshape(
    ...         (*ct.shape[:-1], -1)
    ...     )[..., : x.shape[-1]],
    ...     batch=lambda values, axes: (every_other(move_axis(*values, *axes, 0)), 0),
    ... )
    >>> funcad.grad(lambda x: np.sum(every_other(x) ** 2))(np.arange(3.0))
    array([0., 0., 4.])
    """

    def jvp(ans: Array, primals: Any, tangents: Any, params: Params) -> Array | None:
        if tangents[0] is None:
            return None
        return bind(primitive, (tangents[0], *primals[1:]), params)

    def whole_transpose(ct: Array, args: Sequence[Any], params: Params) -> Any:
        rest = args[1:]
        return (transpose(ct, args[0], *rest, **params), *(None for _ in rest))

    primitive = Primitive(
        name,
        impl,
        abstract,
        jvp=jvp,
        transpose=whole_transpose,
        batch=batch,
        flops=flops,
        traffic=traffic,
        code=code,
        blocks=blocks,
        parts=parts,
        view=view,
        multiple=multiple,
        family="linear",
    )
    return primitive


def multilinear(
    name: str,
    impl: Callable[..., Any],
    abstract: Rule,
    *,
    transposes: Sequence[Rule],
    batch: Rule | None,
    flops: Rule | None = None,
    code: Rule | None = None,
    parts: Rule | None = None,
) -> Primitive:
    """A product: linear in each operand while the others are held.

    Parameters
    ----------
    name : str
        Name of the primitive.
    impl : callable
        ``impl(*operands, **params)``.
    abstract : callable
        ``abstract(*operands, **params) -> (shape, dtype)``.
    transposes : sequence of callable
        ``transposes[i](ct, aval, *operands, **params)`` gives operand i's cotangent;
        ``operands[i]`` itself has a shape and a dtype only.
    batch : callable
        ``batch(values, axes, **params) -> (result, axis)``.
    code, parts : callable, optional
        As for :class:`~funcad.extend.Primitive`.

    Returns
    -------
    Primitive
        With the JVP rule that follows, the product rule.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.extend import multilinear
    >>> pairing = multilinear(
    ...     "pairing",
    ...     lambda x, y: (x * y).sum(),
    ...     lambda x, y: ((), np.result_type(x.dtype, y.dtype)),
    ...     transposes=[lambda ct, a, x, y: ct * y, lambda ct, a, x, y: ct * x],
    ...     batch=None,
    ... )
    >>> funcad.grad(pairing)(np.arange(3.0), np.array([1.0, 2.0, 3.0]))
    array([1., 2., 3.])
    """

    def jvp(ans: Array, primals: Any, tangents: Any, params: Params) -> Array | None:
        total = None
        for i, t in enumerate(tangents):
            if t is not None:
                operands = (*primals[:i], t, *primals[i + 1 :])
                term = bind(primitive, operands, params)
                total = term if total is None else total + term
        return total

    primitive = Primitive(
        name,
        impl,
        abstract,
        jvp=jvp,
        transpose=one_at_a_time(name, transposes),
        batch=batch,
        flops=flops,
        code=code,
        parts=parts,
        family="multilinear",
    )
    return primitive


def one_at_a_time(name: str, transposes: Sequence[Rule | None]) -> Rule:
    """Transpose rule of a function that is linear in one operand at a time."""

    def transpose(ct: Array, args: Sequence[Any], params: Params) -> Any:
        variables = [type(a) is Var for a in args]
        if sum(variables) > 1:
            raise NonlinearError(
                f"{name}: several operands depend on the inputs that are to be "
                "transposed, so the function is not linear in them. Use funcad.vjp, "
                "which linearises the function first."
            )
        cts: list[Array | None] = []
        for rule, arg, variable in zip(transposes, args, variables, strict=True):
            if variable and rule is None:
                raise NonlinearError(
                    f"{name} is not linear in operand {len(cts)}. Use funcad.vjp, "
                    "which linearises the function first."
                )
            cts.append(rule(ct, arg, *args, **params) if variable else None)  # type: ignore[misc]
        return cts

    return transpose


def sum_of_jvps(*rules: Rule | None) -> Rule:
    """JVP rule from one function an operand.

    Parameters
    ----------
    *rules : callable or None
        For each operand ``rule(t, ans, *operands, **params)``, the tangent of the
        result for the tangent of that operand alone; ``None`` where it is zero.

    Returns
    -------
    callable
        ``jvp(ans, primals, tangents, params)``, as :class:`~funcad.extend.Primitive`
        takes it.

    Examples
    --------
    >>> from funcad.extend import sum_of_jvps
    >>> jvp = sum_of_jvps(lambda t, ans, x, y: t * y, lambda t, ans, x, y: x * t)
    >>> jvp(6.0, (2.0, 3.0), (1.0, 10.0), {})
    23.0
    """

    def jvp(ans: Array, primals: Any, tangents: Any, params: Params) -> Array | None:
        total = None
        for rule, t in zip(rules, tangents, strict=True):
            if rule is not None and t is not None:
                term = rule(t, ans, *primals, **params)
                total = term if total is None else total + term
        return total

    return jvp
