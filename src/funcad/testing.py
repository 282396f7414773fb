"""Numerical checks of derivatives and of ``vmap``, for users' own functions and rules.

Derivatives are held against central differences along random directions, which are the
same in every run; ``vmap`` is held against a Python loop.  A check that fails raises an
``AssertionError`` that names the leaf of the pytree and shows both values.

>>> import numpy as np
>>> from funcad import testing
>>> testing.check_grads(lambda x: np.tanh(x) * x, (np.arange(3.0),), order=2)

==========  ========================  ======================================
dtype       step of the differences   tolerance, absolute and relative
==========  ========================  ======================================
float64     1e-5                      1e-6 for derivatives, 1e-10 for vmap
float32     1e-2                      2e-2 for derivatives, 1e-4 for vmap
float16     1e-1                      2e-1 for derivatives, 2e-2 for vmap
==========  ========================  ======================================

Complex dtypes are as their parts, and the least precise dtype decides.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from funcad.backends import backend_of
from funcad.core import tree
from funcad.core.errors import ArgumentError, CustomRuleError, NonlinearError
from funcad.core.tracing import Primitive, bind, dtype_of, shape_of
from funcad.primitives.parts import SUM
from funcad.transforms.arguments import (
    check_leaves,
    has_tangent,
    leaf_names,
    zero_tangent,
)
from funcad.transforms.batch import vmap
from funcad.transforms.forward import jvp
from funcad.transforms.reverse import linear_transpose, vjp
from funcad.transforms.stage import make_program

__all__ = ["check_grads", "check_jvp", "check_primitive", "check_vjp", "check_vmap"]

Function = Callable[..., Any]


def check_grads(
    f: Function,
    args: Sequence[Any],
    order: int,
    modes: Sequence[str] = ("fwd", "rev"),
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Check the derivatives of a function, forward and reverse, up to an order.

    Parameters
    ----------
    f : callable
        Function of pytrees of arrays.
    args : sequence of pytrees
        Where to check; floats and complex numbers are differentiated.  A function
        needs to be smooth there, a step ``eps`` to either side.
    order : int
        From order 2 on, all sequences of the modes are checked.
    modes : sequence of {"fwd", "rev"}
        ``jvp``, ``vjp`` or both.
    atol, rtol : float, optional
        Tolerances, by default those of the dtypes, listed above.
    eps : float, optional
        Step of the central differences, by default that of the dtypes.

    Raises
    ------
    AssertionError
        If a derivative differs from its central difference.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad import testing
    >>> testing.check_grads(lambda p: p["w"] @ p["w"], ({"w": np.ones(2)},), order=2)
    >>> wrong = lambda x: x * funcad.stop_gradient(x)
    >>> testing.check_grads(wrong, (2.0,), order=1, modes=["fwd"])
    Traceback (most recent call last):
      ...
    AssertionError: jvp differs from central differences at the output, float64[]:
    ...
    """
    wanted = (modes,) if isinstance(modes, str) else tuple(modes)
    if not wanted or not set(wanted) <= {"fwd", "rev"}:
        raise ArgumentError(
            f'check_grads: modes are "fwd", "rev" or both, and {modes!r} was given.'
        )
    _check_order("check_grads", order)
    args, tolerance = _checked("check_grads", args, atol, rtol, eps, f=f)
    _check_orders(f, args, order, wanted, tolerance, "")


def check_jvp(
    f: Function,
    f_jvp: Function,
    args: Sequence[Any],
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Check that a function computes another's values and directional derivatives.

    Parameters
    ----------
    f : callable
        Function of pytrees of arrays.
    f_jvp : callable
        ``f_jvp(primals, tangents) -> (f(*primals), tangents of the output)``, such as
        ``functools.partial(funcad.jvp, f)``.
    args : sequence of pytrees
        Where to check.
    atol, rtol, eps : float, optional
        Tolerances and step, by default those of the dtypes.

    Raises
    ------
    AssertionError
        If a value or derivative differs.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import testing
    >>> def sine_jvp(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return np.sin(x), np.cos(x) * t
    >>> testing.check_jvp(np.sin, sine_jvp, (np.arange(3.0),))
    """
    args, tolerance = _checked("check_jvp", args, atol, rtol, eps, f=f, f_jvp=f_jvp)
    _check_jvp(f, f_jvp, args, tolerance, "jvp")


def check_vjp(
    f: Function,
    f_vjp: Function,
    args: Sequence[Any],
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Check that a function computes another's values and pullbacks.

    The pullback of a random cotangent is multiplied by a random tangent, for one leaf
    of the arguments after another, and compared with the cotangent times the central
    difference.

    Parameters
    ----------
    f : callable
        Function of pytrees of arrays.
    f_vjp : callable
        ``f_vjp(*args) -> (f(*args), pullback)`` where ``pullback(cotangent)`` gives a
        tuple of cotangents of the arguments, such as
        ``functools.partial(funcad.vjp, f)``.
    args : sequence of pytrees
        Where to check.
    atol, rtol, eps : float, optional
        Tolerances and step, by default those of the dtypes.

    Raises
    ------
    AssertionError
        If a value or pullback differs.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import testing
    >>> def sine_vjp(x):
    ...     return np.sin(x), lambda ct: (ct * np.cos(x),)
    >>> testing.check_vjp(np.sin, sine_vjp, (np.arange(3.0),))
    """
    args, tolerance = _checked("check_vjp", args, atol, rtol, eps, f=f, f_vjp=f_vjp)
    _check_vjp(f, f_vjp, args, tolerance, "vjp")


def check_vmap(
    f: Function,
    args: Sequence[Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    atol: float | None = None,
    rtol: float | None = None,
) -> None:
    """Check that ``vmap`` of a function gives what a Python loop over examples gives.

    Parameters
    ----------
    f : callable
        Function of one example.
    args : sequence of pytrees
        Examples, stacked along ``in_axes``.
    in_axes, out_axes : int, None or pytree prefix
        As for ``funcad.vmap``.
    atol, rtol : float, optional
        Tolerances, by default those of the dtypes.

    Raises
    ------
    AssertionError
        If a result differs, in structure, shape, dtype or value.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import testing
    >>> testing.check_vmap(np.dot, (np.eye(3), np.arange(3.0)), in_axes=(1, None))
    """
    args, tolerance = _checked("check_vmap", args, atol, rtol, None, f=f)
    batched = vmap(f, in_axes, out_axes)(*args)
    leaves, treedef = tree.flatten(args)
    prefix = tuple(in_axes) if isinstance(in_axes, list) else in_axes
    axes = tree.broadcast_prefix(prefix, treedef, is_leaf=_is_none, what="in_axes")
    size = next(
        shape_of(x)[a] for x, a in zip(leaves, axes, strict=True) if a is not None
    )
    if not size:
        raise ArgumentError(
            "check_vmap: the axes of in_axes have length 0, so that there is no "
            "example to compare. Give arguments with one at least."
        )
    out_leaves, out_tree = tree.flatten(batched)
    places = tree.broadcast_prefix(
        out_axes, out_tree, is_leaf=_is_none, what="out_axes"
    )
    for i in range(size):
        example = [_taken(x, a, i) for x, a in zip(leaves, axes, strict=True)]
        alone = f(*tree.unflatten(treedef, example))
        got = [_taken(x, a, i) for x, a in zip(out_leaves, places, strict=True)]
        _compare(
            f"vmap differs from a loop at example {i} of",
            "loop",
            tree.unflatten(out_tree, got),
            alone,
            tolerance,
            _precision([*leaves, *out_leaves], _LOOP),
        )


def check_primitive(
    primitive: Primitive,
    args: Sequence[Any],
    params: dict[str, Any] | None = None,
    order: int = 2,
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Check the rules of a primitive against its implementation and each other.

    The shape rule is held against the result, the JVP rule against central differences,
    the transpose rule against the implementation (the two products of a vector with a
    linear function are equal) and, in reverse mode, against the JVP rule, the batching
    rule against a Python loop, the staged program against the implementation, and the
    results of parts against the whole.  Rules that the primitive has not are not
    checked.

    Parameters
    ----------
    primitive : Primitive
        As the constructors of `funcad.extend` make them.
    args : sequence of arrays
        Operands of a call; the implementation needs to be smooth there.
    params : dict, optional
        Parameters of the call.
    order : int, optional
        Up to which the derivatives are checked.
    atol, rtol, eps : float, optional
        Tolerances and step, by default those of the dtypes.

    Raises
    ------
    AssertionError
        That names the primitive and the rule which does not hold.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import testing
    >>> from funcad.extend import elementwise
    >>> softsign = elementwise(
    ...     "softsign",
    ...     lambda x: x / (1 + abs(x)),
    ...     lambda ans, x: 1 / (1 + abs(x)) ** 2,
    ... )
    >>> testing.check_primitive(softsign, (np.array([-2.0, 0.5]),))
    >>> wrong = elementwise("softwrong", lambda x: x / (1 + abs(x)), lambda ans, x: ans)
    >>> testing.check_primitive(wrong, (np.array([-2.0, 0.5]),))
    Traceback (most recent call last):
      ...
    AssertionError: the jvp rule of softwrong: jvp differs from central differences ...
    """
    if not isinstance(primitive, Primitive):
        raise TypeError(
            f"check_primitive takes a Primitive and was given {primitive!r} of type "
            f"{type(primitive).__name__}. Those that are registered are found by name "
            "in funcad.extend.primitives; for functions write check_grads."
        )
    _check_order("check_primitive", order)
    operands, tolerance = _checked("check_primitive", args, atol, rtol, eps)
    args, params = list(operands), params or {}

    def function(*operands: Any) -> Any:
        return bind(primitive, operands, params)

    ans = function(*args)
    outs = list(ans) if primitive.multiple else [ans]
    if primitive.multiple and not isinstance(ans, (tuple, list)):
        raise AssertionError(
            f"the implementation of {primitive.name} returns {type(ans).__name__}, and "
            "multiple=True asks for a tuple."
        )
    with _named(primitive, "abstract"):
        program = make_program(function)(*args)
        _same_avals("it gives", program.outputs, "the result is", outs)
    with _named(primitive, "staged program"):
        staged = program.evaluate(args)
        precision = _precision([*args, *outs], _LOOP)
        title = "it differs from the implementation at"
        _compare(title, "run", staged, outs, tolerance, precision)
    smooth = [i for i, x in enumerate(args) if has_tangent(x)]
    if primitive.transpose is not None:
        for i in smooth:
            with _named(primitive, "transpose"):
                _check_transpose(primitive, args, params, i, tolerance)
    if (primitive.jvp or primitive.dual) and smooth:
        if primitive.jvp is not None:
            for i in smooth:
                with _named(primitive, "jvp"):
                    _check_jvp_rule(primitive, args, params, i, outs)

        def of_smooth(*operands: Any) -> Any:
            full = list(args)
            for i, x in zip(smooth, operands, strict=True):
                full[i] = x
            return function(*full)

        chosen = [args[i] for i in smooth]
        modes = {"jvp": "fwd", "jvp or transpose": "rev"}
        # a conversion to integers has a rule, and no derivative
        for rule, mode in modes.items() if any(map(has_tangent, outs)) else ():
            with _named(primitive, rule):
                check_grads(of_smooth, chosen, order, [mode], atol, rtol, eps)
    if primitive.batch is not None:
        with _named(primitive, "batch"):
            _check_batch(function, args, atol, rtol)
    if primitive.parts is not None:
        with _named(primitive, "parts"):
            _check_parts(primitive, args, params, outs, tolerance)


def _checked(
    caller: str,
    args: Sequence[Any],
    atol: float | None,
    rtol: float | None,
    eps: float | None,
    **functions: Function,
) -> tuple[tuple[Any, ...], _Tolerance]:
    """The arguments and the tolerance, refused where no check can be made of them."""
    for name, f in functions.items():
        if not callable(f):
            raise TypeError(
                f"{caller}: {name} is a function, not {f!r} of type {type(f).__name__}."
            )
    if not isinstance(args, (tuple, list)):
        raise TypeError(
            f"{caller} takes the arguments of the call as a tuple, and args is of type "
            f"{type(args).__name__}. Write (x,) for one argument x."
        )
    for name, value in {"atol": atol, "rtol": rtol, "eps": eps}.items():
        if value is None:
            continue
        real = isinstance(value, (int, float, np.integer, np.floating))
        if not real or not value >= 0 or (name == "eps" and not 0 < value < np.inf):
            least = "a positive number" if name == "eps" else "a number, 0 or greater"
            raise ArgumentError(f"{caller}: {name} is {least}, not {value!r}.")
    return tuple(args), _Tolerance(atol, rtol, eps, caller)


def _check_order(caller: str, order: Any) -> None:
    whole = isinstance(order, (int, np.integer)) and not isinstance(order, bool)
    if not whole or order < 1:
        raise ArgumentError(
            f"{caller}: the order of derivatives is an integer, 1 or more, not "
            f"{order!r}."
        )


def _refuse_constant(caller: str, leaves: Sequence[Any], outs: Sequence[Any]) -> None:
    """Refuse a function without a derivative to compare."""
    for what, values in (("arguments", leaves), ("results", outs)):
        if not any(has_tangent(x) for x in values):
            raise ArgumentError(
                f"{caller}: there is no derivative to compare, as the {what} of the "
                "function hold no floats or complex numbers, but "
                f"{', '.join(map(_aval, values)) or 'nothing'}. Give it floats, as in "
                "x.astype(float), and let it return them."
            )


def _pair(caller: str, name: str, returned: Any) -> tuple[Any, Any]:
    """What a function to be checked returned, refused if it is no pair."""
    if isinstance(returned, (tuple, list)) and len(returned) == 2:
        return returned[0], returned[1]
    second = "its tangent" if name == "f_jvp" else "the pullback"
    raise CustomRuleError(
        f"{caller}: {name} returns a pair of the value and {second}, as "
        f"functools.partial(funcad.{name[2:]}, f) does, and it returned {returned!r} "
        f"of type {type(returned).__name__}."
    )


@contextmanager
def _named(primitive: Primitive, rule: str) -> Iterator[None]:
    """Say of which primitive and rule an error is."""
    try:
        yield
    except Exception as error:
        what = rule if rule == "staged program" else f"{rule} rule"
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        raise AssertionError(
            f"the {what} of {primitive.name}: {kind}{error}"
        ) from error


def _same_avals(what: str, got: Sequence[Any], source: str, wanted: Any) -> None:
    have, want = [_aval(x) for x in got], [_aval(x) for x in wanted]
    if have != want:
        raise AssertionError(f"{what} {', '.join(have)}; {source} {', '.join(want)}.")


def _check_jvp_rule(
    primitive: Primitive, args: list[Any], params: dict[str, Any], i: int, outs: Any
) -> None:
    """Number, shapes and dtypes of the tangents for a tangent of one operand."""
    tangents = _only(i, _direction(args, _TANGENTS))
    ans = tuple(outs) if primitive.multiple else outs[0]
    found = primitive.jvp(ans, args, tangents, params)  # type: ignore[misc]
    if found is None:
        return
    if not primitive.multiple:
        found = [found]
    if len(found) != len(outs):
        raise AssertionError(f"it gives {len(found)} tangents for {len(outs)} results.")
    pairs = [(t, y) for t, y in zip(found, outs, strict=True) if t is not None]
    _same_avals("tangents are", [t for t, _ in pairs], "results", [y for _, y in pairs])


def _check_transpose(
    primitive: Primitive,
    args: list[Any],
    params: dict[str, Any],
    i: int,
    tolerance: _Tolerance,
) -> None:
    """Re(ct . f(x)) = Re(f^T(ct) . x), where the function is linear in operand i."""

    def function(x: Any) -> Any:
        return bind(primitive, [*args[:i], x, *args[i + 1 :]], params)

    outs = tree.leaves(function(args[i]))
    cotangents = _direction(outs, _COTANGENTS)
    given = tree.unflatten(tree.structure(function(args[i])), cotangents)
    try:
        (back,) = linear_transpose(function, args[i])(given)
    except NonlinearError:
        return
    _same_avals("the cotangent is", [back], "the operand", [args[i]])
    left = sum(
        np.sum(np.real(_on_host(c) * _on_host(y)), dtype=float)
        for c, y in zip(cotangents, outs, strict=True)
        if has_tangent(y)
    )
    right = np.sum(np.real(_on_host(back) * _on_host(args[i])), dtype=float)
    bound = _tolerances(tolerance, _precision([*args, *outs], _DIFFERENCES))
    if not abs(left - right) <= bound[0] + bound[1] * abs(left):
        raise AssertionError(
            f"in operand {i}, the product of a cotangent with the result is {left}, "
            f"and that of its transpose with the operand is {right}."
        )


def _check_batch(
    function: Function, args: list[Any], atol: float | None, rtol: float | None
) -> None:
    """``vmap`` over each operand alone, over all of them, and along the last axis."""
    arrays = [i for i, x in enumerate(args) if hasattr(x, "dtype")]
    groups = [[i] for i in arrays] + ([arrays] if len(arrays) > 1 else [])
    for group in groups:
        for axis in (0, -1):
            axes = tuple(axis if i in group else None for i in range(len(args)))
            stacked = [
                x if a is None else _examples(x, a)
                for x, a in zip(args, axes, strict=True)
            ]
            check_vmap(function, stacked, axes, 0, atol, rtol)


def _check_parts(
    primitive: Primitive,
    args: list[Any],
    params: dict[str, Any],
    outs: Sequence[Any],
    tolerance: _Tolerance,
) -> int:
    """Make up the results of those of parts, one an entry of each axis of each operand.

    Gives the number of axes for which the rule has an answer.
    """
    answers = 0
    xp = backend_of(*args).namespace
    precision = _precision([*args, *outs], _LOOP)
    shapes = [shape_of(x) for x in args]
    for i, shape in enumerate(shapes):
        for axis, count in enumerate(shape):
            given = [axis if j == i else None for j in range(len(args))]
            rule: Any = primitive.parts
            parts = rule(given, shapes, params, count) if count > 1 else None
            if parts is None:
                continue
            answers += 1
            pieces = [
                x if a is None else xp.split(x, count, a)
                for x, a in zip(args, parts.operands, strict=True)
            ]
            results = [
                bind(
                    primitive,
                    [
                        x if a is None else x[k]
                        for x, a in zip(pieces, parts.operands, strict=True)
                    ],
                    parts.params,
                )
                for k in range(count)
            ]
            made = zip(*results) if primitive.multiple else [results]
            joined = [
                sum(rs[1:], rs[0]) if at == SUM else xp.concatenate(rs, at)
                for at, rs in zip(parts.results, made, strict=True)
            ]
            title = f"along axis {axis} of operand {i} the parts do not make up, at"
            _compare(title, "whole", joined, outs, tolerance, precision)
    return answers


def _examples(x: Any, axis: int) -> Any:
    """Three examples, near to each other and so in the domain of the function."""
    factors = [dtype_of(x).type(s) for s in (1, 1.001, 0.999)]
    rows = [x * s if has_tangent(x) else x for s in factors]
    return backend_of(x).namespace.stack(rows, axis)


def _is_none(x: Any) -> bool:
    return x is None


def _taken(x: Any, axis: int | None, i: int) -> Any:
    return x if axis is None else x[(slice(None),) * (axis % x.ndim) + (i,)]


# ------------------------------------------------------------ tolerances, directions


class _Tolerance(NamedTuple):
    """What the user gave; ``None`` stands for what fits the dtypes."""

    atol: float | None
    rtol: float | None
    eps: float | None
    caller: str = ""


class _Precision(NamedTuple):
    """Step and tolerance that fit a dtype."""

    eps: float
    tolerance: float


_DIFFERENCES = {
    8: _Precision(1e-5, 1e-6),
    4: _Precision(1e-2, 2e-2),
    2: _Precision(1e-1, 2e-1),
}
_LOOP = {8: _Precision(0, 1e-10), 4: _Precision(0, 1e-4), 2: _Precision(0, 2e-2)}


def _precision(leaves: Sequence[Any], table: dict[int, _Precision]) -> _Precision:
    """The entry of the least precise of the leaves' dtypes, for all of them."""
    sizes = [8]
    for x in leaves:
        dtype = dtype_of(x)
        if dtype.kind in "fc":
            sizes.append(dtype.itemsize // (2 if dtype.kind == "c" else 1))
    return table[min(sizes)]


_TANGENTS, _COTANGENTS = 7001, 7013  # seeds


def _direction(leaves: Sequence[Any], seed: int) -> list[Any]:
    """Normal random tangents where the leaves live, the same in every run.

    Those of integers are zeros of dtype float0.
    """
    rng = np.random.default_rng(seed)
    out = []
    for x in leaves:
        shape, dtype = shape_of(x), dtype_of(x)
        if not has_tangent(x):
            out.append(zero_tangent(x))
            continue
        t = rng.standard_normal(shape)
        if dtype.kind == "c":
            t = t + 1j * rng.standard_normal(shape)
        out.append(backend_of(x).from_host(np.asarray(t).astype(dtype)))
    return out


def _only(chosen: int, directions: Sequence[Any]) -> list[Any]:
    """The direction of one leaf, and no change of the others."""
    return [t if i == chosen else None for i, t in enumerate(directions)]


def _difference(
    f: Function, leaves: Sequence[Any], treedef: Any, tangents: Any, eps: float
) -> list[Any]:
    """Central difference of each leaf of the output, on the host."""

    def at(step: float) -> list[Any]:
        moved = [
            x if t is None or not has_tangent(x) else x + step * t
            for x, t in zip(leaves, tangents, strict=True)
        ]
        return [_on_host(y) for y in tree.leaves(f(*tree.unflatten(treedef, moved)))]

    return [
        (after - before) / (2 * eps) if has_tangent(after) else np.zeros(after.shape)
        for after, before in zip(at(eps), at(-eps), strict=True)
    ]


def _on_host(x: Any) -> Any:
    return np.asarray(backend_of(x).to_host(x))


# ---------------------------------------------------------------------------- checks


def _check_orders(
    f: Function,
    args: tuple[Any, ...],
    order: int,
    modes: tuple[str, ...],
    tolerance: _Tolerance,
    of: str,
) -> None:
    treedef = tree.structure(args)
    if "fwd" in modes:
        name = f"jvp{of}"
        _check_jvp(f, functools.partial(jvp, f), args, tolerance, name)
        if order > 1:
            tangents = tree.unflatten(treedef, _direction(tree.leaves(args), _TANGENTS))

            def forward(*primals: Any) -> Any:
                return _with_tangents(jvp(f, primals, tangents)[1])

            _check_orders(forward, args, order - 1, modes, tolerance, f" of {name}")
    if "rev" in modes:
        name = f"vjp{of}"
        _check_vjp(f, functools.partial(vjp, f), args, tolerance, name)
        if order > 1:
            outs, out_tree = tree.flatten(f(*args))
            cotangents = tree.unflatten(out_tree, _direction(outs, _COTANGENTS))

            def reverse(*primals: Any) -> Any:
                return _with_tangents(vjp(f, *primals)[1](cotangents))

            _check_orders(reverse, args, order - 1, modes, tolerance, f" of {name}")


def _with_tangents(values: Any) -> list[Any]:
    """Leaves that can be differentiated once more."""
    return [x for x in tree.leaves(values) if has_tangent(x)]


def _check_jvp(
    f: Function,
    f_jvp: Function,
    args: tuple[Any, ...],
    tolerance: _Tolerance,
    name: str,
) -> None:
    leaves, treedef = tree.flatten(args)
    check_leaves(leaves, treedef, name)
    directions = _direction(leaves, _TANGENTS)
    value = f(*args)
    outs, out_tree = tree.flatten(value)
    check_leaves(outs, out_tree, name, "output")
    _refuse_constant(tolerance.caller, leaves, outs)
    tangents = tree.unflatten(treedef, directions)
    got_value, got = _pair(tolerance.caller, "f_jvp", f_jvp(args, tangents))
    precision = _precision([*leaves, *outs], _DIFFERENCES)
    _compare(
        f"the value that {name} returns differs at",
        "f",
        got_value,
        value,
        tolerance,
        precision,
    )
    eps = precision.eps if tolerance.eps is None else tolerance.eps
    differences = _difference(f, leaves, treedef, directions, eps)
    expected = [
        d.astype(dtype_of(y)) if has_tangent(y) else zero_tangent(y)
        for d, y in zip(differences, outs, strict=True)
    ]
    _compare(
        f"{name} differs from central differences at",
        f"differences, eps={eps:g}",
        got,
        tree.unflatten(out_tree, expected),
        tolerance,
        precision,
    )


def _check_vjp(
    f: Function,
    f_vjp: Function,
    args: tuple[Any, ...],
    tolerance: _Tolerance,
    name: str,
) -> None:
    leaves, treedef = tree.flatten(args)
    check_leaves(leaves, treedef, name)
    value = f(*args)
    outs, out_tree = tree.flatten(value)
    check_leaves(outs, out_tree, name, "output")
    _refuse_constant(tolerance.caller, leaves, outs)
    cotangents = _direction(outs, _COTANGENTS)
    got_value, pullback = _pair(tolerance.caller, "f_vjp", f_vjp(*args))
    precision = _precision([*leaves, *outs], _DIFFERENCES)
    _compare(
        f"the value that {name} returns differs at",
        "f",
        got_value,
        value,
        tolerance,
        precision,
    )
    eps = precision.eps if tolerance.eps is None else tolerance.eps
    pulled = pullback(tree.unflatten(out_tree, cotangents))
    tree.check_same_structure(treedef, pulled, "the arguments", f"the result of {name}")
    directions = _direction(leaves, _TANGENTS)
    for i, (x, ct) in enumerate(zip(leaves, tree.leaves(pulled), strict=True)):
        path = leaf_names(treedef, leaves)[i]
        if not has_tangent(x):
            continue
        if shape_of(ct) != shape_of(x) or dtype_of(ct) != dtype_of(x):
            raise AssertionError(
                f"{name} gives the argument {path}, {_aval(x)}, a cotangent that is "
                f"{_aval(ct)}."
            )
        difference = _difference(f, leaves, treedef, _only(i, directions), eps)
        terms = [
            np.real(_on_host(c) * d).ravel()
            for c, d, y in zip(cotangents, difference, outs, strict=True)
            if has_tangent(y)
        ]
        products = np.concatenate([np.zeros(0), *terms])
        expected = products.sum(dtype=np.float64)
        got = np.real(_on_host(ct) * _on_host(directions[i])).sum(dtype=np.float64)
        # signs are random, so that this is the size that the sum of products has
        size = np.sqrt(np.square(products, dtype=np.float64).sum())
        atol, rtol = _tolerances(tolerance, precision)
        if not abs(got - expected) <= atol + rtol * size:
            raise AssertionError(
                f"{name} differs from central differences at the argument {path}, "
                f"{_aval(x)}:\n"
                f"    <cotangent of the output, difference>: {expected} (eps={eps:g})\n"
                f"    <cotangent of the argument, tangent>:  {got}\n"
                f"    error {abs(got - expected):.3g}, tolerance "
                f"{atol:g} + {rtol:g} * {size:.3g} = {atol + rtol * size:.3g}"
            )


# -------------------------------------------------------------------------- comparing


def _tolerances(given: _Tolerance, precision: _Precision) -> tuple[float, float]:
    atol = precision.tolerance if given.atol is None else given.atol
    rtol = precision.tolerance if given.rtol is None else given.rtol
    return atol, rtol


def _compare(
    title: str,
    source: str,
    got: Any,
    expected: Any,
    tolerance: _Tolerance,
    precision: _Precision,
) -> None:
    """Refuse trees that differ in structure, or leaves in shape, dtype or value."""
    wanted, treedef = tree.flatten(expected)
    tree.check_same_structure(treedef, got, f"what {source} gives", "what is checked")
    names = leaf_names(treedef, wanted)
    atol, rtol = _tolerances(tolerance, precision)
    for name, x, y in zip(names, tree.leaves(got), wanted, strict=True):
        place = "the output" if name == "the value" else f"the output {name}"
        x, y = _on_host(x), _on_host(y)
        if x.shape != y.shape or x.dtype != y.dtype:
            raise AssertionError(
                f"{title} {place}: it is {_aval(x)}, and {source} gives {_aval(y)}."
            )
        if y.dtype.kind not in "fciub" or not y.size:
            continue
        same = (x == y) | ((x != x) & (y != y))
        error = np.abs(np.where(same, 0, x) - np.where(same, 0, y))
        bound = atol + rtol * np.abs(np.where(same, 0, y))
        if np.all(error <= bound):
            continue
        excess = np.where(np.isnan(error), np.inf, error - bound)
        worst = np.unravel_index(np.argmax(excess), error.shape)
        where = f" (the worst is at [{', '.join(map(str, worst))}])" if worst else ""
        raise AssertionError(
            f"{title} {place}, {_aval(y)}:\n"
            f"    expected ({source}): {_shown(y)}\n"
            f"    got: {_shown(x)}\n"
            f"    error {error[worst]:.3g}, tolerance {atol:g} + {rtol:g} * "
            f"{abs(y[worst]):.3g} = {bound[worst]:.3g}{where}"
        )


def _shown(x: Any) -> str:
    return np.array2string(x, threshold=20, edgeitems=3, separator=", ").replace(
        "\n", "\n        "
    )


def _aval(x: Any) -> str:
    return f"{dtype_of(x)}[{','.join(map(str, shape_of(x)))}]"
