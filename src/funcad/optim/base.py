"""What a gradient transformation is, and how several of them make one.

An optimiser is a pair of pure functions::

    state = optimiser.init(params)
    updates, state = optimiser.update(grads, state, params)
    params = optim.apply_updates(params, updates)

Nothing is written in place: every call returns new values and leaves the old ones as
they were.  A state is a pytree of arrays, so it can be saved as arrays, mapped by
``funcad.tree.map``, moved to a GPU, batched by ``vmap`` and differentiated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from funcad import tree
from funcad.core.errors import ArgumentError
from funcad.optim.leaves import (
    NO_STATE,
    check_match,
    check_state,
    check_trainable,
    converted,
    foreign_state,
)

PyTree = Any


class GradientTransformation(NamedTuple):
    """A pair of pure functions that turn gradients into updates.

    Attributes
    ----------
    init : callable
        ``init(params) -> state``.
    update : callable
        ``update(grads, state, params=None) -> (updates, state)``; the updates are what
        is to be *added* to the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> halve = optim.GradientTransformation(
    ...     init=lambda params: optim.EmptyState(),
    ...     update=lambda grads, state, params=None: (0.5 * grads, state),
    ... )
    >>> optimiser = optim.chain(halve, optim.sgd(1.0))
    >>> params = np.array([1.0, 2.0])
    >>> updates, state = optimiser.update(params, optimiser.init(params))
    >>> updates
    array([-0.5, -1. ])
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[..., tuple[PyTree, PyTree]]


class GradientTransformationExtraArgs(GradientTransformation):
    """A transformation whose ``update`` takes the loss, or more, beside its gradient.

    A line search, or a product with a Hessian, needs the function whose gradient was
    given, at other points and in other directions.  It comes with every call, by
    keyword, because it belongs to the call: it closes over the step's batch.  So::

        updates, state = optimiser.update(grads, state, params, value_fn=loss)

    :func:`chain` hands what it is given on to those of its members that take it, as
    optax does, and a member takes what it knows and ignores the rest.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> by_value = optim.GradientTransformationExtraArgs(
    ...     init=lambda params: optim.EmptyState(),
    ...     update=lambda grads, state, params=None, *, value, **extra: (
    ...         grads * value, state
    ...     ),
    ... )
    >>> params = np.array([1.0, 2.0])
    >>> optimiser = optim.chain(by_value, optim.sgd(0.1))
    >>> optimiser.update(params, optimiser.init(params), value=10.0)[0]
    array([-1., -2.])
    """

    __slots__ = ()


class EmptyState(NamedTuple):
    """The state of a transformation that remembers nothing."""


class MaskedState(NamedTuple):
    """The state of :func:`masked`: the inner one's, for the chosen leaves alone."""

    inner_state: PyTree


def apply_updates(params: PyTree, updates: PyTree) -> PyTree:
    """Parameters plus updates, each in its parameter's dtype.

    Parameters
    ----------
    params : pytree of arrays
        Parameters, real or complex.
    updates : pytree of arrays
        Updates of the same structure and shapes.

    Returns
    -------
    pytree of arrays
        New parameters; the old ones are left as they were.

    Raises
    ------
    TreeStructureError
        If the structures or shapes differ; the message names the path.
    InputDtypeError
        If a parameter is an integer or a boolean, which cannot take a small step, or
        is real and its update complex.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> optim.apply_updates({"w": np.ones(2)}, {"w": np.array([0.5, -1.0])})
    {'w': array([1.5, 0. ])}
    """
    check_match("updates", updates, "parameters", params)
    check_trainable(params)
    return tree.map(lambda p, u: converted(p + u, p, "apply_updates"), params, updates)


def chain(*transforms: GradientTransformation) -> GradientTransformation:
    """Apply transformations one after the other, the first one first.

    Parameters
    ----------
    *transforms : GradientTransformation
        Each receives the updates of the one before it.

    Returns
    -------
    GradientTransformation
        Its state is the tuple of theirs.  If one of them takes further arguments of
        ``update``, so does the chain.

    Examples
    --------
    Clip the gradients, then take a step against what is left:

    >>> import numpy as np
    >>> from funcad import optim
    >>> optimiser = optim.chain(optim.clip_by_global_norm(1.0), optim.sgd(0.1))
    >>> params = np.zeros(2)
    >>> updates, _ = optimiser.update(np.array([3.0, 4.0]), optimiser.init(params))
    >>> updates
    array([-0.06, -0.08])
    """
    for i, transform in enumerate(transforms):
        if type(transform) in (list, tuple):
            raise ArgumentError(
                f"chain: argument {i} is a {type(transform).__name__}, and each is one "
                "transformation. Write optim.chain(*transforms)."
            )
        _check_transformation(
            f"chain: argument {i}", transform, "chain(optim.clip(1.0), optim.adam(0.1))"
        )

    def init(params: PyTree) -> PyTree:
        return tuple([transform.init(params) for transform in transforms])

    takes_extra = [
        isinstance(transform, GradientTransformationExtraArgs)
        for transform in transforms
    ]

    def update(
        updates: PyTree, state: PyTree = NO_STATE, params: PyTree = None, **extra: Any
    ) -> tuple[PyTree, PyTree]:
        if not isinstance(state, tuple) or len(state) != len(transforms):
            raise foreign_state(
                state,
                f"that of this chain is a tuple of {len(transforms)} states, one for "
                "each transformation",
            )
        following = []
        for transform, own, takes in zip(transforms, state, takes_extra, strict=True):
            given = extra if takes else {}
            updates, own = transform.update(updates, own, params, **given)
            following.append(own)
        return updates, tuple(following)

    if any(takes_extra):
        return GradientTransformationExtraArgs(init, update)
    return GradientTransformation(
        init,
        lambda updates, state=NO_STATE, params=None: update(updates, state, params),
    )


def stateless(
    function: Callable[[PyTree, PyTree], PyTree],
) -> GradientTransformation:
    """Make a transformation of a function of the updates and the parameters.

    Parameters
    ----------
    function : callable
        ``function(updates, params) -> updates``; ``params`` may be ``None``.

    Returns
    -------
    GradientTransformation

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> signs = optim.stateless(lambda updates, params: np.sign(updates))
    >>> signs.update(np.array([3.0, -4.0]), optim.EmptyState())[0]
    array([ 1., -1.])
    """
    if not callable(function):
        raise ArgumentError(
            f"stateless: its argument is {function!r}, and must be a function of the "
            "updates and the parameters. Write stateless(lambda updates, params: ...)."
        )

    def update(
        updates: PyTree, state: PyTree = NO_STATE, params: PyTree = None
    ) -> tuple[PyTree, PyTree]:
        # None or () remembers as little.
        if not isinstance(state, EmptyState) and tree.leaves(state):
            check_state(state, EmptyState)
        return function(updates, params), state

    return GradientTransformation(lambda params: EmptyState(), update)


def identity() -> GradientTransformation:
    """Leave the updates as they are."""
    return stateless(lambda updates, params: updates)


def set_to_zero() -> GradientTransformation:
    """Replace the updates by zeros; with :func:`masked`, freezes some parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> frozen = optim.masked(optim.set_to_zero(), {"w": False, "b": True})
    >>> params = {"w": np.ones(2), "b": np.ones(2)}
    >>> optim.chain(optim.sgd(0.5), frozen).update(
    ...     params, (optim.sgd(0.5).init(params), frozen.init(params))
    ... )[0]
    {'b': array([0., 0.]), 'w': array([-0.5, -0.5])}
    """
    return stateless(lambda updates, params: tree.map(np.zeros_like, updates))


def masked(
    inner: GradientTransformation, mask: PyTree | Callable[[PyTree], PyTree]
) -> GradientTransformation:
    """Apply a transformation to some of the leaves, and leave the others alone.

    Parameters
    ----------
    inner : GradientTransformation
        What to apply where the mask is true.
    mask : pytree of bool, or callable
        Has the structure of the parameters or a prefix of it (one bool for a whole
        subtree), or is a function from the parameters to such a tree.

    Returns
    -------
    GradientTransformation
        Its state holds nothing for the leaves that are left alone.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> clip_weights = optim.masked(optim.clip(1.0), {"w": True, "b": False})
    >>> grads = {"w": np.array([5.0]), "b": np.array([5.0])}
    >>> clip_weights.update(grads, clip_weights.init(grads))[0]
    {'b': array([5.]), 'w': array([1.])}
    """
    _check_transformation(
        "masked: the inner transformation", inner, "masked(optim.clip(1.0), mask)"
    )
    if isinstance(inner, GradientTransformationExtraArgs):
        raise ArgumentError(
            "masked: the inner transformation takes functions of all parameters, and "
            "would see some of them alone. Let the function that it is given close "
            "over the parameters that are to stay, and give it the others."
        )

    def chosen(reference: PyTree) -> PyTree:
        choice = mask(reference) if callable(mask) else mask
        for keep in tree.leaves(choice):
            if not isinstance(keep, (bool, np.bool_)):
                raise ArgumentError(
                    "A mask is a pytree of bools, one for each parameter or subtree of "
                    f"parameters, and this one has a leaf {keep!r}. To choose by the "
                    "number of axes write mask=lambda params: "
                    "tree.map(lambda p: p.ndim > 1, params)."
                )
        return choice

    def select(choice: PyTree, values: PyTree) -> PyTree:
        # None is a subtree without leaves, so the inner transformation sees no others.
        return tree.map(lambda keep, part: part if keep else None, choice, values)

    def init(params: PyTree) -> MaskedState:
        return MaskedState(inner.init(select(chosen(params), params)))

    def update(
        updates: PyTree, state: MaskedState = NO_STATE, params: PyTree = None
    ) -> tuple[PyTree, MaskedState]:
        check_state(state, MaskedState)
        choice = chosen(updates if params is None else params)
        selected, inner_state = inner.update(
            select(choice, updates),
            state.inner_state,
            None if params is None else select(choice, params),
        )
        merged = tree.map(
            lambda keep, new, old: new if keep else old, choice, selected, updates
        )
        return merged, MaskedState(inner_state)

    return GradientTransformation(init, update)


def _check_transformation(what: str, given: Any, example: str) -> None:
    if not (hasattr(given, "init") and hasattr(given, "update")):
        raise ArgumentError(
            f"{what} is {given!r}, which is no GradientTransformation. Call the "
            f"function that makes it, as in optim.{example}."
        )
