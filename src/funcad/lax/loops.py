"""``scan``, ``map``, ``fori_loop`` and ``while_loop``.

Given arrays they are Python's loops.  Given tracers they stage their function once, and
leave one equation, whatever the number of steps.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import funcad.numpy as fnp
from funcad.backends import namespace
from funcad.core import tree
from funcad.core.errors import ArgumentError, CarryError, ConcretizationError
from funcad.core.tracing import (
    PYTHON_SCALARS,
    Array,
    Tracer,
    array_type_of,
    dtype_of,
    shape_of,
)
from funcad.lax.carries import (
    Aval,
    Carry,
    check_callable,
    check_predicate,
    have_values,
    is_scalar_of,
    is_traced,
    joined,
    kind_of,
    looks,
    staged,
)
from funcad.transforms.arguments import check_leaves
from funcad.transforms.batch import vmap
from funcad.transforms.control.scan import loop
from funcad.transforms.control.while_loop import repeat


def scan(
    f: Callable[..., Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """Carry a value through a function along the leading axis of arrays.

    The meaning is that of::

        carry, ys = init, []
        for x in xs:
            carry, y = f(carry, x)
            ys.append(y)
        return carry, np.stack(ys)

    and so it is run, given arrays.  Given tracers, or where ``f`` closes over some, it
    is one equation: ``f`` is staged once, and its derivative, its transpose and its
    batched form are loops too.  Reverse mode keeps of each step what the backward pass
    reads, and of the loop's constants and inputs no copies.  Where ``f`` branches on
    values in Python and these are there (as in ``grad``), the loop is unrolled; where
    they are not (as in ``jit`` and ``vmap``), write `cond`.

    Parameters
    ----------
    f : callable
        ``f(carry, x) -> (carry, y)``, which returns a carry of the structure, shapes
        and dtypes that it is given.
    init : pytree of arrays
        Initial carry.  A Python number in it takes the dtype of what ``f`` makes of it.
    xs : pytree of arrays, optional
        Arrays whose leading axes are equally long.
    length : int, optional
        Number of steps, needed only where ``xs`` has no arrays.
    reverse : bool, optional
        Whether to go from the end; ``ys`` is in the order of ``xs`` all the same.
    unroll : int or bool, optional
        Accepted for JAX's sake; it changes nothing.

    Returns
    -------
    carry : pytree of arrays
        The final carry.
    ys : pytree of arrays
        The outputs, stacked along a new leading axis.

    Raises
    ------
    CarryError
        If ``f`` does not return a pair, or a carry of other shapes or dtypes.
    TreeStructureError
        If it returns a carry of another structure.
    ArgumentError
        If the arrays of ``xs`` differ in length from each other or from ``length``.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad import lax
    >>> def leaky_sum(rate, xs):
    ...     return lax.scan(lambda s, x: (rate * s + x, s), 0.0, xs)
    >>> total, before = leaky_sum(0.5, np.array([1.0, 2.0, 4.0]))
    >>> float(total), before
    (5.25, array([0. , 1. , 2.5]))
    >>> float(funcad.grad(lambda r: leaky_sum(r, np.array([1.0, 2.0, 4.0]))[0])(0.5))
    3.0
    """
    check_callable(f, "scan", "its first argument")
    _check_unroll("scan", unroll)
    leaves, xs_tree = tree.flatten(xs)
    check_leaves(leaves, xs_tree, "scan", "xs")
    steps = _length("scan", leaves, xs_tree, length)
    return _scan(
        "scan", f, Carry(init, "scan", "init"), leaves, xs_tree, steps, reverse
    )


def map(f: Callable[..., Any], xs: Any, *, batch_size: int | None = None) -> Any:
    """Apply a function to the slices of arrays, one after the other.

    As ``vmap(f)(xs)``, but in a loop: `scan` without a carry.

    Parameters
    ----------
    f : callable
        Function of a slice of ``xs``.
    xs : pytree of arrays
        Arrays whose leading axes are equally long.
    batch_size : int, optional
        Number of slices to take at a time, by ``vmap``.

    Returns
    -------
    pytree of arrays
        The results, stacked along a new leading axis.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import lax
    >>> lax.map(lambda row: np.sum(row**2), np.arange(6.0).reshape(3, 2))
    array([ 1., 13., 41.])
    """
    check_callable(f, "map", "its first argument")
    leaves, xs_tree = tree.flatten(xs)
    check_leaves(leaves, xs_tree, "map", "xs")
    steps = _length("map", leaves, xs_tree, None)
    empty = Carry(None, "map", "init")
    if batch_size is None:
        one = lambda _, x: (None, f(x))  # noqa: E731
        return _scan("map", one, empty, leaves, xs_tree, steps, False)[1]
    size = _integer("map", batch_size, "batch_size")
    if size < 1:
        raise ArgumentError(f"map: batch_size must be at least 1, not {size}.")
    rounds, rest = divmod(steps, size)
    results = []
    if rounds or not rest:
        whole = rounds * size
        inner = [
            fnp.reshape(x[:whole], (rounds, size, *shape_of(x)[1:])) for x in leaves
        ]
        many = lambda _, x: (None, vmap(f)(x))  # noqa: E731
        ys = _scan("map", many, empty, inner, xs_tree, rounds, False)[1]
        results.append(
            tree.map(lambda y: fnp.reshape(y, (whole, *shape_of(y)[2:])), ys)
        )
    if rest:
        left = [x[steps - rest :] for x in leaves]
        results.append(vmap(f)(tree.unflatten(xs_tree, left)))
    if len(results) == 1:
        return results[0]
    return tree.map(lambda *parts: fnp.concatenate(parts), *results)


def fori_loop(
    lower: Any,
    upper: Any,
    body_fun: Callable[..., Any],
    init_val: Any,
    *,
    unroll: int | bool | None = None,
) -> Any:
    """Apply a function for each integer of a range.

    The meaning is that of::

        val = init_val
        for i in range(lower, upper):
            val = body_fun(i, val)
        return val

    With bounds that are integers it is a `scan`, which has a reverse mode; with bounds
    that are tracers it is a `while_loop`, which has none.

    Parameters
    ----------
    lower, upper : int
        Bounds of the range.
    body_fun : callable
        ``body_fun(i, val) -> val``, which keeps structure, shapes and dtypes.
    init_val : pytree of arrays
        Initial value.
    unroll : int or bool, optional
        Accepted for JAX's sake; it changes nothing.

    Returns
    -------
    pytree of arrays
        The final value.

    Examples
    --------
    >>> from funcad import lax
    >>> lax.fori_loop(1, 6, lambda i, product: i * product, 1)
    120
    """
    check_callable(body_fun, "fori_loop", "body_fun")
    if unroll is not None:
        _check_unroll("fori_loop", unroll)
    lower, upper = (_bound(x, n) for x, n in ((lower, "lower"), (upper, "upper")))
    kinds = [kind_of(lower), kind_of(upper)]
    number = all(isinstance(k, type) for k in kinds)
    carry = Carry(init_val, "fori_loop", "init_val")
    if not have_values([lower, upper]):
        start = lower if number else fnp.asarray(lower, dtype=joined(*kinds))

        def step(state: Any) -> Any:
            i, val = state
            return i + 1, body_fun(i, val)

        state = Carry((start, init_val), "fori_loop", "init_val")
        return _while("fori_loop", lambda s: s[0] < upper, step, state)[1]
    # what has a value may be a tracer of grad all the same
    first, last = (
        int(x.concrete("a bound") if isinstance(x, Tracer) else x)
        for x in (lower, upper)
    )
    steps = range(first, max(first, last))
    if not steps and not is_traced(carry.leaves):
        return init_val
    return _scan(
        "fori_loop",
        lambda val, i: (body_fun(i, val), None),
        carry,
        [steps if number else np.arange(first, steps.stop, dtype=joined(*kinds))],
        tree.structure(0),
        len(steps),
        False,
    )[0]


def while_loop(
    cond_fun: Callable[..., Any], body_fun: Callable[..., Any], init_val: Any
) -> Any:
    """Apply a function as long as a condition holds.

    The meaning is that of::

        val = init_val
        while cond_fun(val):
            val = body_fun(val)
        return val

    It has forward mode (``jvp``, ``jacfwd``) and no reverse mode, since how much that
    would have to keep is not known; `scan` and `fori_loop` have both.  Under ``vmap``
    the loop goes on until every example is done.

    Parameters
    ----------
    cond_fun : callable
        ``cond_fun(val)``, one boolean.
    body_fun : callable
        ``body_fun(val) -> val``, which keeps structure, shapes and dtypes.
    init_val : pytree of arrays
        Initial value.

    Returns
    -------
    pytree of arrays
        The final value.

    Raises
    ------
    CarryError
        If ``body_fun`` returns other shapes or dtypes than it is given.
    TreeStructureError
        If it returns another structure.
    BranchError
        If ``cond_fun`` does not return one boolean.
    UnboundedLoopError
        In reverse mode.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad import lax
    >>> def newton(a):
    ...     far = lambda x: np.abs(x * x - a) > 1e-12
    ...     return lax.while_loop(far, lambda x: (x + a / x) / 2, a)
    >>> root, slope = funcad.jvp(newton, (2.0,), (1.0,))
    >>> round(float(root), 6), round(float(slope), 6)
    (1.414214, 0.353553)
    """
    check_callable(cond_fun, "while_loop", "cond_fun")
    check_callable(body_fun, "while_loop", "body_fun")
    carry = Carry(init_val, "while_loop", "init_val")
    return _while("while_loop", cond_fun, body_fun, carry)


# ---------------------------------------------------------------- loops of known length


def _scan(
    name: str,
    f: Callable[..., Any],
    carry: Carry,
    xs: list[Any],
    xs_tree: Any,
    length: int,
    reverse: bool,
) -> tuple[Any, Any]:
    """`scan` along arrays, or along a range, whose slices are Python's integers."""
    values = [*carry.leaves, *[x for x in xs if type(x) is not range]]
    if length and not is_traced(values):
        result = _run(name, f, carry, xs, xs_tree, length, reverse, whole=False)
        if result is not None:
            return result
    try:
        return _stage(name, f, carry, xs, xs_tree, length, reverse)
    except ConcretizationError:
        if not length or not have_values(values):
            raise
    # f branches on values that are there
    return _run(name, f, carry, xs, xs_tree, length, reverse, whole=True)  # type: ignore[return-value]


def _run(
    name: str,
    f: Callable[..., Any],
    carry: Carry,
    xs: list[Any],
    xs_tree: Any,
    length: int,
    reverse: bool,
    whole: bool,
) -> tuple[Any, Any] | None:
    """Python's loop; nothing where the first step gives tracers, unless it is wanted.

    Then ``f`` closes over some, and one staged body is better than many copies of it.
    """
    leaves = carry.leaves
    rows: list[list[Any]] = []
    y_tree: Any = None
    for i in reversed(range(length)) if reverse else range(length):
        x = tree.unflatten(xs_tree, [x[i] for x in xs])
        new, y = _pair(name, f(carry.tree(leaves), x))
        leaves = carry.accept(new)
        row, found = tree.flatten(y)
        if not rows:
            y_tree = found
            if not whole and is_traced([*leaves, *row]):
                return None
        elif found != y_tree:
            tree.check_same_structure(
                y_tree,
                y,
                f"the output of the first step of {name}",
                f"that of step {len(rows)}",
            )
        check_leaves(row, found, name, "output")
        rows.append(row)
    if reverse:
        rows.reverse()
    ys = [_stack(name, column) for column in zip(*rows)]
    return carry.tree(leaves), tree.unflatten(y_tree, ys)


def _stage(
    name: str,
    f: Callable[..., Any],
    carry: Carry,
    xs: list[Any],
    xs_tree: Any,
    length: int,
    reverse: bool,
) -> tuple[Any, Any]:
    slices = [
        Aval((), int) if type(x) is range else Aval(shape_of(x)[1:], dtype_of(x))
        for x in xs
    ]
    specimen = tree.unflatten(xs_tree, [a.specimen() for a in slices])

    def step(value: Any, x: Any) -> Any:
        new, y = _pair(name, f(value, x))
        return carry.accept(new), y

    operands = [np.arange(x.start, x.stop) if type(x) is range else x for x in xs]
    array_type = array_type_of([*carry.leaves, *operands])
    while True:
        before = list(carry.avals)
        args = (carry.specimen(), specimen)
        body, captured, out_tree = staged(step, args, name, array_type)
        if carry.avals == before:
            break
    outs, ys = loop(body, captured, carry.initial(), operands, length, reverse)
    _, y_tree = out_tree.unflatten(range(len(outs) + len(ys)))
    return carry.tree(outs), tree.unflatten(tree.structure(y_tree), ys)


def _pair(name: str, result: Any) -> tuple[Any, Any]:
    if isinstance(result, (tuple, list)) and len(result) == 2:
        return result[0], result[1]
    kind = type(result).__name__
    if isinstance(result, (tuple, list)):
        kind += f" of length {len(result)}"
    raise CarryError(
        f"{name}: its function must return a pair (carry, y), and returned a {kind}. "
        "Return (carry, None) where there is no output."
    )


def _stack(name: str, column: Sequence[Any]) -> Array:
    shapes = {shape_of(y): None for y in column}
    if len(shapes) > 1:
        one, two, *_ = shapes
        raise CarryError(
            f"{name}: an output has the shape {one} in one step and {two} in another. "
            "Outputs are stacked, so they must have one shape."
        )
    kinds = {kind_of(y): None for y in column}
    dtype = joined(*kinds)
    if is_traced(column):
        return fnp.stack([fnp.asarray(y, dtype=dtype) for y in column])
    xp = namespace(*column)
    out = xp.empty((len(column), *shape_of(column[0])), dtype)
    for i, y in enumerate(column):
        out[i] = y
    return out


# -------------------------------------------------------------------------- while loops


def _while(
    name: str, cond_fun: Callable[..., Any], body_fun: Callable[..., Any], carry: Carry
) -> Any:
    def test(value: Any) -> Any:
        return check_predicate(cond_fun(value), name, "the result of cond_fun")

    leaves = carry.leaves
    if not is_traced(leaves):
        going = test(carry.tree(leaves))
        while not isinstance(going, Tracer):
            if not going:
                return carry.tree(leaves)
            leaves = carry.accept(body_fun(carry.tree(leaves)))
            if is_traced(leaves):
                break
            going = test(carry.tree(leaves))
    # what the functions close over is traced; nothing has happened yet that counts
    array_type = array_type_of([*carry.leaves, *leaves])
    while True:
        before = list(carry.avals)
        body, held, _ = staged(
            lambda value: carry.accept(body_fun(value)),
            (carry.specimen(),),
            name,
            array_type,
        )
        if carry.avals == before:
            break
    condition, for_test, _ = staged(test, (carry.specimen(),), name, array_type)
    return carry.tree(repeat(condition, body, for_test, held, carry.initial()))


# ------------------------------------------------------------------------------ checks


def _integer(name: str, value: Any, what: str) -> int:
    try:
        if isinstance(value, (bool, Tracer)):
            raise TypeError
        return operator.index(value)
    except TypeError:
        kind = "a traced value" if isinstance(value, Tracer) else type(value).__name__
        raise TypeError(
            f"{name}: {what} must be an integer, not {kind}. It is the same whatever "
            "the values are: a Python integer, or a static argument of jit."
        ) from None


def _check_unroll(name: str, unroll: Any) -> None:
    if isinstance(unroll, bool):
        return
    if _integer(name, unroll, "unroll") < 1:
        raise ArgumentError(f"{name}: unroll must be at least 1, not {unroll}.")


def _length(name: str, leaves: Sequence[Any], treedef: Any, length: Any) -> int:
    """Number of steps, which the arrays and ``length`` agree on."""
    if length is not None:
        length = _integer(name, length, "length")
        if length < 0:
            raise ArgumentError(
                f"{name}: length must not be negative, and is {length}."
            )
    paths, _ = tree.flatten_with_path(tree.unflatten(treedef, leaves))
    named = [("xs" + tree.keystr(path), x) for path, x in paths]
    for what, x in named:
        if shape_of(x) == ():
            raise ArgumentError(
                f"{name} goes along the leading axis of each array of xs, and {what} "
                f"is a scalar, {Aval.of(x)}. Close over what is the same in each step, "
                "or repeat it with np.broadcast_to."
            )
    sizes = {shape_of(x)[0] for _, x in named}
    if length is not None:
        sizes.add(length)
    if len(sizes) == 1:
        return int(sizes.pop())
    if not sizes:
        raise ArgumentError(
            f"{name} does not know how many steps to take: xs has no arrays. Give "
            "length=, or arrays to go along."
        )
    rows = [f"    {what}: {shape_of(x)[0]} (shape {shape_of(x)})" for what, x in named]
    if length is not None:
        rows.append(f"    length: {length}")
    raise ArgumentError(
        f"{name} needs leading axes of one length, and got\n" + "\n".join(rows)
    )


def _bound(value: Any, what: str) -> Any:
    if not is_scalar_of(value, "iu"):
        raise TypeError(
            f"fori_loop: {what} must be one integer, and is {looks(value)}. Convert it "
            "with int(...) or x.astype(int)."
        )
    if isinstance(value, (Tracer, np.generic)) or type(value) in PYTHON_SCALARS:
        return value
    return dtype_of(value).type(int(value))
