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
    code: Rule | None = None,
    view: str = "",
    multiple: bool = False,
) -> Primitive:
    """A function that is linear in its first operand; the others are indices or so.

    ``transpose(ct, aval, *rest, **params)`` gives the cotangent of the first operand.
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
        code=code,
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
    batch: Rule,
    code: Rule | None = None,
) -> Primitive:
    """A product: linear in each operand while the others are held.

    ``transposes[i](ct, aval, *operands, **params)`` gives operand i's cotangent.
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
        code=code,
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
    """JVP rule from one function an operand, ``rule(t, ans, *operands, **params)``."""

    def jvp(ans: Array, primals: Any, tangents: Any, params: Params) -> Array | None:
        total = None
        for rule, t in zip(rules, tangents, strict=True):
            if rule is not None and t is not None:
                term = rule(t, ans, *primals, **params)
                total = term if total is None else total + term
        return total

    return jvp
