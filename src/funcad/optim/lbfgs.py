"""L-BFGS: Newton's method with a Hessian guessed from the last few steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from funcad import tree
from funcad.backends import namespace
from funcad.core.errors import ArgumentError
from funcad.core.tracing import Array, dtype_of, shape_of
from funcad.flatten import ravel_pytree
from funcad.optim.base import GradientTransformationExtraArgs, PyTree
from funcad.optim.leaves import NO_STATE, check_match, check_state, incremented
from funcad.optim.line_search import Point, wolfe
from funcad.optim.vectors import (
    at_least_one,
    at_point,
    finite_value,
    function_given,
    length,
    number_like,
    real_vector,
    rounding,
)
from funcad.transforms.reverse import value_and_grad, value_and_grad_as


class LBFGSState(NamedTuple):
    """The state of :func:`lbfgs`.

    Attributes
    ----------
    count : int array, shape ()
        Updates so far.
    steps, differences : arrays, shape (m, n)
        The last steps, the newest first, and what they changed in the gradient.
    curvatures : array, shape (m,)
        Inner product of each step with its difference; 0 where there is none yet.
    step_size : float array, shape ()
        What the line search chose; 0 where nothing decreased the loss.
    value : float array, shape ()
        The loss after the last update; not a number before the first one.
    grad : pytree
        Its gradient there.
    """

    count: Array
    steps: Array
    differences: Array
    curvatures: Array
    step_size: Array
    value: Array
    grad: PyTree


def lbfgs(
    memory_size: int = 10,
    scale_init_precond: bool = True,
    max_linesearch_steps: int = 20,
) -> GradientTransformationExtraArgs:
    """Limited-memory BFGS with a line search for the strong Wolfe conditions.

    Parameters
    ----------
    memory_size : int
        How many steps to remember.
    scale_init_precond : bool
        Whether the guess begins with the identity scaled to the curvature of the last
        step (before the first step, to steps of length 1 at most), or with the identity
        itself.
    max_linesearch_steps : int
        How many points a line search may try, each of which costs a gradient.

    Returns
    -------
    GradientTransformationExtraArgs
        ``update(grads, state, params, *, value_fn, value=None)``: ``value_fn(params)``
        is the loss whose gradient ``grads`` is, and ``value`` its value, if it is
        there already.

    Raises
    ------
    ArgumentError
        From the factory, for arguments out of range; from ``update``, without the
        parameters or ``value_fn``.
    NonFiniteError
        From ``update``, if the loss or the gradient is not finite.

    See Also
    --------
    value_and_grad_from_state : saves a gradient a step.

    Notes
    -----
    Both gradients whose difference is remembered are of the same ``value_fn``, so that
    batches may change from step to step.  A step along which the slope does not grow
    is not remembered: the guess stays positive.  If no step decreases the loss,
    updates are zero and the memory is emptied.  The parameters are real; ``update``
    branches on values and cannot itself be transformed.

    References
    ----------
    J. Nocedal and S. Wright, *Numerical optimization*, 2006, algorithms 7.4 and 7.5.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> def rosenbrock(x):
    ...     return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    >>> optimiser = optim.lbfgs()
    >>> value_and_grad = optim.value_and_grad_from_state(rosenbrock)
    >>> x = np.array([-1.2, 1.0])
    >>> state = optimiser.init(x)
    >>> for _ in range(40):
    ...     value, g = value_and_grad(x, state=state)
    ...     updates, state = optimiser.update(
    ...         g, state, x, value=value, value_fn=rosenbrock
    ...     )
    ...     x = optim.apply_updates(x, updates)
    >>> x.round(6)
    array([1., 1.])
    """
    name = "lbfgs"
    memory_size = at_least_one("memory_size", memory_size)
    max_linesearch_steps = at_least_one("max_linesearch_steps", max_linesearch_steps)

    def init(params: PyTree) -> LBFGSState:
        x, _ = real_vector(name, params)
        memory = namespace(x).zeros((memory_size, *shape_of(x)), dtype_of(x))
        return LBFGSState(
            count=number_like(x, 0),
            steps=memory,
            differences=memory,
            curvatures=namespace(x).zeros(memory_size, dtype_of(x)),
            step_size=number_like(x, 0.0),
            value=number_like(x, math.nan),
            grad=tree.map(np.zeros_like, params),
        )

    def update(
        grads: PyTree,
        state: LBFGSState = NO_STATE,
        params: PyTree = None,
        *,
        value_fn: Any = None,
        value: Any = None,
        **extra: Any,
    ) -> tuple[PyTree, LBFGSState]:
        check_state(state, LBFGSState)
        value_fn = function_given(name, "value_fn", value_fn)
        x, g, unravel = at_point(name, grads, params)
        check_match("gradients", grads, "state", state.grad)
        old = finite_value(name, value_fn(params) if value is None else value)
        if not np.any(g):
            return unravel(np.zeros_like(x)), state._replace(
                count=incremented(state.count),
                step_size=number_like(x, 0.0),
                value=number_like(x, old),
                grad=grads,
            )
        p = -_preconditioned(state, g, scale_init_precond)
        derivative = value_and_grad(value_fn)

        def phi(step: float) -> Point:
            value, gradient = derivative(unravel(x + step * p))
            v, _ = ravel_pytree(gradient)
            return Point(step, float(value), float(v @ p), (gradient, v))

        found = wolfe(
            phi,
            Point(0.0, old, float(g @ p), (grads, g)),
            max_linesearch_steps,
            rounding(x, old),
        )
        if found.step == 0 and value is not None:
            finite_value(name, value_fn(params))  # is that why nothing is lower?
        gradient, v = found.gradient
        s = found.step * p
        return unravel(s), LBFGSState(
            incremented(state.count),
            *_remembered(state, s, v.astype(dtype_of(x)) - g),
            number_like(x, found.step),
            number_like(x, found.value),
            gradient,
        )

    return GradientTransformationExtraArgs(init, update)


def value_and_grad_from_state(
    value_fn: Callable[..., Any],
) -> Callable[..., tuple[Any, PyTree]]:
    """``value_and_grad`` that takes what the last line search left, if there is one.

    The line search of :func:`lbfgs` ends with the value and the gradient at the new
    parameters, which is where the next step begins.

    Parameters
    ----------
    value_fn : callable
        The loss; the same at every step.

    Returns
    -------
    callable
        ``(params, *args, state, **kwargs) -> (value, gradient)``.  ``state`` is that of
        :func:`lbfgs`, or of a chain with it, and ``params`` are those that the update
        led to: a state does not know of changes made in between.

    Raises
    ------
    ArgumentError
        If there is no state of :func:`lbfgs` in ``state``.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> loss = lambda x: np.sum(x**2)
    >>> state = optim.lbfgs().init(np.ones(2))
    >>> value, g = optim.value_and_grad_from_state(loss)(np.ones(2), state=state)
    >>> float(value), g
    (2.0, array([2., 2.]))
    """
    compute = value_and_grad_as(value_fn, "value_and_grad_from_state")

    def from_state(
        params: PyTree, *args: Any, state: Any, **kwargs: Any
    ) -> tuple[Any, PyTree]:
        known = [
            part
            for part in tree.leaves(state, is_leaf=_is_state)
            if isinstance(part, LBFGSState)
        ]
        if not known:
            raise ArgumentError(
                "value_and_grad_from_state: there is no state of optim.lbfgs in the "
                f"{type(state).__name__} that was given. Use funcad.value_and_grad "
                "with other optimisers."
            )
        if math.isfinite(float(known[0].value)):
            return known[0].value, known[0].grad
        return compute(params, *args, **kwargs)

    return from_state


def _is_state(part: Any) -> bool:
    return isinstance(part, LBFGSState)


# ------------------------------------------------------------------------- machinery


def _preconditioned(state: LBFGSState, g: Array, scaled: bool) -> Array:
    """The guessed inverse Hessian times the gradient, by the two-loop recursion."""
    pairs = [
        (s, y, float(c))
        for s, y, c in zip(state.steps, state.differences, state.curvatures)
        if float(c) > 0
    ]
    weights = []
    q = g
    for s, y, c in pairs:
        weights.append(float(s @ q) / c)
        q = q - weights[-1] * y
    if scaled and pairs:
        _, y, c = pairs[0]
        q = q * (c / length(y) / length(y))
    elif scaled:
        q = q / max(1.0, length(g))
    for (s, y, c), weight in zip(reversed(pairs), reversed(weights)):
        q = q + (weight - float(y @ q) / c) * s
    if not 0 < float(q @ g) < math.inf:
        return g / max(1.0, length(g))
    return q


def _remembered(state: LBFGSState, s: Array, y: Array) -> tuple[Array, Array, Array]:
    """Memory with one pair more, if the slope grew along the step."""
    if not np.any(s):
        return state.steps, state.differences, np.zeros_like(state.curvatures)
    curvature = s @ y
    smallest = float(np.finfo(dtype_of(s)).eps) * length(y) * length(y)
    if not smallest < float(curvature) < math.inf:
        return state.steps, state.differences, state.curvatures
    return (
        _pushed(state.steps, s),
        _pushed(state.differences, y),
        _pushed(state.curvatures, curvature),
    )


def _pushed(memory: Array, newest: Array) -> Array:
    return np.concatenate([newest[None], memory[:-1]])
