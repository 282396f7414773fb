"""``associative_scan``: all partial results in a logarithmic number of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import funcad.numpy as fnp
from funcad.core import tree
from funcad.core.errors import ArgumentError, CarryError
from funcad.core.tracing import Array, aval_of, shape_of
from funcad.lax.carries import check_callable
from funcad.transforms.arguments import check_leaves


def associative_scan(
    fn: Callable[..., Any], elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """Partial results of an associative function along an axis.

    Neighbours are combined in pairs, the results of these in pairs again, and so on, so
    that the function is called on whole arrays about ``2 log2(n)`` times.

    Parameters
    ----------
    fn : callable
        ``fn(a, b)`` on pytrees like ``elems``, entry by entry along the axis, and
        associative: ``fn(a, fn(b, c)) == fn(fn(a, b), c)``.
    elems : pytree of arrays
        What to combine, of one length along the axis.
    reverse : bool, optional
        Whether to start from the end: the arguments of ``fn`` are then in that order.
    axis : int, optional
        The axis, negative from the end.

    Returns
    -------
    pytree of arrays
        Like ``elems``; entry i combines the entries 0 to i (or the last one to i).

    Raises
    ------
    ArgumentError
        If the arrays differ in length along the axis, or there are none.
    CarryError
        If ``fn`` returns arrays of another shape or dtype than those of ``elems``.

    References
    ----------
    R. E. Ladner and M. J. Fischer, "Parallel prefix computation", Journal of the ACM
    27 (1980), 831-838.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import lax
    >>> lax.associative_scan(np.maximum, np.array([3, 1, 4, 1, 5]))
    array([3, 3, 4, 4, 5])

    A linear recurrence y = a y + b, whose steps compose:

    >>> a, b = np.array([1.0, 0.5, 0.5]), np.array([1.0, 2.0, 4.0])
    >>> step = lambda f, g: (f[0] * g[0], g[0] * f[1] + g[1])
    >>> lax.associative_scan(step, (a, b))[1]
    array([1.  , 2.5 , 5.25])
    """
    check_callable(fn, "associative_scan", "its first argument")
    leaves, treedef = tree.flatten(elems)
    check_leaves(leaves, treedef, "associative_scan", "elems")
    axes = _checked_axes(leaves, axis)
    if reverse:
        leaves = [fnp.flip(x, a) for x, a in zip(leaves, axes)]

    def combine(left: list[Array], right: list[Array]) -> list[Array]:
        result = fn(tree.unflatten(treedef, left), tree.unflatten(treedef, right))
        outs, found = tree.flatten(result)
        if found != treedef:
            tree.check_same_structure(
                treedef,
                result,
                "the elems of associative_scan",
                "what its function returns",
            )
        for x, out in zip(left, outs):
            if aval_of(x) != aval_of(out):
                raise CarryError(
                    "associative_scan: its function must return arrays like those that "
                    f"it is given; it was given {aval_of(x)} and returned "
                    f"{aval_of(out)}."
                )
        return outs

    outs = _partial_results(combine, leaves, axes)
    if reverse:
        outs = [fnp.flip(x, a) for x, a in zip(outs, axes)]
    return tree.unflatten(treedef, outs)


def _partial_results(
    combine: Callable[..., list[Array]], xs: list[Array], axes: list[int]
) -> list[Array]:
    count = shape_of(xs[0])[axes[0]]
    if count < 2:
        return xs

    def part(values: list[Array], start: int, stop: int | None, step: int) -> list[Any]:
        return [
            v[(*(slice(None),) * a, slice(start, stop, step))]
            for v, a in zip(values, axes)
        ]

    even = count - count % 2
    odds = _partial_results(
        combine, combine(part(xs, 0, even, 2), part(xs, 1, even, 2)), axes
    )
    firsts = part(xs, 0, 1, 1)
    if count > 2:
        last = (count - 1) // 2
        rest = combine(part(odds, 0, last, 1), part(xs, 2, None, 2))
        firsts = [
            fnp.concatenate([x, y], axis=a) for x, y, a in zip(firsts, rest, axes)
        ]
    return [_interleaved(x, y, a) for x, y, a in zip(firsts, odds, axes)]


def _interleaved(evens: Array, odds: Array, axis: int) -> Array:
    """Entries of two arrays in turns, the first of which may have one more."""
    count = odds.shape[axis]
    before = (slice(None),) * axis
    pairs = fnp.stack([evens[(*before, slice(0, count))], odds], axis=axis + 1)
    shape = (*odds.shape[:axis], 2 * count, *odds.shape[axis + 1 :])
    turns = fnp.reshape(pairs, shape)
    if evens.shape[axis] == count:
        return turns
    return fnp.concatenate([turns, evens[(*before, slice(count, None))]], axis=axis)


def _checked_axes(leaves: list[Array], axis: int) -> list[int]:
    if not leaves:
        raise ArgumentError("associative_scan: elems has no arrays.")
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise TypeError(
            f"associative_scan: axis must be an integer, not {axis!r} of type "
            f"{type(axis).__name__}."
        )
    for x in leaves:
        rank = len(shape_of(x))
        if not -rank <= axis < rank:
            raise ArgumentError(
                f"associative_scan: there is no axis {axis} in {aval_of(x)}."
            )
    axes = [axis % len(shape_of(x)) for x in leaves]
    sizes = {shape_of(x)[a] for x, a in zip(leaves, axes)}
    if len(sizes) > 1:
        found = ", ".join(str(aval_of(x)) for x in leaves)
        raise ArgumentError(
            f"associative_scan: the arrays of elems must be equally long along axis "
            f"{axis}, and are {found}."
        )
    return axes
