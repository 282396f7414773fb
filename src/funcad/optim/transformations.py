"""The building blocks of optimisers: each turns updates into better scaled ones.

Every formula is written per leaf with plain operators, so that it runs on NumPy and
CuPy arrays and on tracers alike.  What remembers something keeps it in a NamedTuple:
trees of moments with the parameters' structure, and step counters.

A step counter is an int64 array of shape ``()``, not a Python int: it saves to a file
and moves to a GPU like every other leaf, stays exact for 9e18 steps, and ``jit`` sees
one dtype, where a Python int would be compiled in as a constant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from funcad import tree
from funcad.core.errors import ArgumentError
from funcad.core.tracing import Array
from funcad.optim.base import GradientTransformation, PyTree, masked, stateless
from funcad.optim.hyperparameters import (
    Schedule,
    decay_rate,
    memory_dtype,
    nonnegative,
    number,
    scaled,
    scheduled,
    shifted,
    step_size,
)
from funcad.optim.leaves import (
    NO_STATE,
    abs_squared,
    average_of_squares,
    bias_correction,
    check_epsilon,
    check_match,
    check_state,
    converted,
    filled_squares,
    incremented,
    map_step,
    moving_average,
    zero_count,
    zeros_like,
)


class ScaleByScheduleState(NamedTuple):
    """The state of :func:`scale_by_schedule`: how many steps were taken."""

    count: Array


class TraceState(NamedTuple):
    """The state of :func:`trace`: the decayed sum of all updates."""

    trace: PyTree


class ScaleByAdamState(NamedTuple):
    """The state of :func:`scale_by_adam`: steps, first and second moments."""

    count: Array
    mu: PyTree
    nu: PyTree


class ScaleByLionState(NamedTuple):
    """The state of :func:`scale_by_lion`: the moving average of the gradients."""

    mu: PyTree


class ScaleByRmsState(NamedTuple):
    """The state of :func:`scale_by_rms`: steps and second moments."""

    count: Array
    nu: PyTree


class ScaleByStddevState(NamedTuple):
    """The state of :func:`scale_by_stddev`: steps, first and second moments."""

    count: Array
    mu: PyTree
    nu: PyTree


class ScaleByRssState(NamedTuple):
    """The state of :func:`scale_by_rss`: the sum of all squared updates."""

    sum_of_squares: PyTree


def scale(step_size: Array) -> GradientTransformation:
    """Multiply the updates by a number.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> optim.scale(-0.5).update(np.array([2.0]), optim.EmptyState())[0]
    array([-1.])
    """
    step_size = number("step_size", step_size)
    return stateless(
        lambda updates, params: tree.map(lambda u: scaled(step_size, u), updates)
    )


def scale_by_schedule(step_size_fn: Schedule) -> GradientTransformation:
    """Multiply the updates by a function of the number of steps taken before.

    Parameters
    ----------
    step_size_fn : callable
        From the step count, 0 at the first update, to the factor.

    Returns
    -------
    GradientTransformation

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> halving = optim.scale_by_schedule(lambda count: 0.5**count)
    >>> state = halving.init(np.ones(1))
    >>> for _ in range(3):
    ...     updates, state = halving.update(np.ones(1), state)
    >>> updates
    array([0.25])
    """
    if not callable(step_size_fn):
        raise ArgumentError(
            "scale_by_schedule: step_size_fn must be a function of the step count, and "
            f"is {step_size_fn!r}. For a constant factor write optim.scale."
        )

    def init(params: PyTree) -> ScaleByScheduleState:
        return ScaleByScheduleState(zero_count(params))

    def update(
        updates: PyTree, state: ScaleByScheduleState = NO_STATE, params: PyTree = None
    ) -> tuple[PyTree, ScaleByScheduleState]:
        check_state(state, ScaleByScheduleState)
        factor = scheduled(step_size_fn, state.count)
        updates = tree.map(lambda u: scaled(factor, u), updates)
        return updates, ScaleByScheduleState(incremented(state.count))

    return GradientTransformation(init, update)


def scale_by_learning_rate(
    learning_rate: Array | Schedule, *, flip_sign: bool = True
) -> GradientTransformation:
    """Multiply by the learning rate, and by -1 to go down where gradients point up.

    Parameters
    ----------
    learning_rate : float or callable
        A number, or a schedule: a function of the step count.
    flip_sign : bool
        Whether to multiply by -1 too.

    Returns
    -------
    GradientTransformation

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> optim.scale_by_learning_rate(0.5).update(np.ones(1), optim.EmptyState())[0]
    array([-0.5])
    """
    learning_rate = step_size("learning_rate", learning_rate)
    sign = -1 if flip_sign else 1
    if callable(learning_rate):
        schedule: Schedule = learning_rate
        return scale_by_schedule(lambda count: sign * scheduled(schedule, count))
    return scale(sign * learning_rate)


def add_decayed_weights(
    weight_decay: Array = 0.0,
    mask: PyTree | Callable[[PyTree], PyTree] | None = None,
) -> GradientTransformation:
    """Add a multiple of the parameters to the updates.

    Parameters
    ----------
    weight_decay : float
        The factor.
    mask : pytree of bool or callable, optional
        Which parameters to decay, as for :func:`masked`; all of them without it.

    Returns
    -------
    GradientTransformation
        Its ``update`` needs the parameters.

    References
    ----------
    I. Loshchilov and F. Hutter, *Decoupled weight decay regularization*, ICLR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> decay = optim.add_decayed_weights(0.1)
    >>> params = np.array([10.0])
    >>> decay.update(np.zeros(1), decay.init(params), params)[0]
    array([1.])
    """
    weight_decay = nonnegative("weight_decay", weight_decay)

    def decayed(updates: PyTree, params: PyTree) -> PyTree:
        if params is None and tree.leaves(updates):
            raise ArgumentError(
                "update: weight decay needs the parameters, and params is None. Write "
                "optimiser.update(grads, state, params)."
            )
        check_match("gradients", updates, "parameters", params)
        return tree.map(lambda u, p: u + scaled(weight_decay, p), updates, params)

    transformation = stateless(decayed)
    return transformation if mask is None else masked(transformation, mask)


def trace(
    decay: Array, nesterov: bool = False, accumulator_dtype: Any = None
) -> GradientTransformation:
    """Momentum: add up the updates, each step decaying what was added before.

    ``t = g + decay * t``, and the update is ``t``, or ``g + decay * t`` with the new
    ``t`` for Nesterov's.

    Parameters
    ----------
    decay : float
        In [0, 1).
    nesterov : bool
        Whether to look one step ahead.
    accumulator_dtype : dtype, optional
        In which to keep the sum; by default each parameter's own.

    Returns
    -------
    GradientTransformation

    References
    ----------
    I. Sutskever, J. Martens, G. Dahl and G. Hinton, *On the importance of
    initialization and momentum in deep learning*, ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> momentum = optim.trace(0.5)
    >>> state = momentum.init(np.ones(1))
    >>> for _ in range(3):
    ...     updates, state = momentum.update(np.ones(1), state)
    >>> updates
    array([1.75])
    """
    decay = decay_rate("decay", decay)
    accumulator_dtype = memory_dtype("accumulator_dtype", accumulator_dtype)

    def init(params: PyTree) -> TraceState:
        return TraceState(zeros_like(params, accumulator_dtype))

    def update(
        updates: PyTree, state: TraceState = NO_STATE, params: PyTree = None
    ) -> tuple[PyTree, TraceState]:
        check_state(state, TraceState)

        def step(g: Array, t: Array) -> tuple[Array, Array]:
            summed = g + scaled(decay, t)
            ahead = g + scaled(decay, summed) if nesterov else summed
            return ahead, converted(summed, t)

        updates, summed = map_step(step, updates, state.trace)
        return updates, TraceState(summed)

    return GradientTransformation(init, update)


def scale_by_adam(
    b1: Array = 0.9,
    b2: Array = 0.999,
    eps: Array = 1e-8,
    eps_root: Array = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Divide a moving average of the gradients by their root mean square.

    With ``mu = b1 mu + (1 - b1) g`` and ``nu = b2 nu + (1 - b2) |g|^2`` the update is
    ``mu / (1 - b1^t) / (sqrt(nu / (1 - b2^t) + eps_root) + eps)`` in step t = 1, 2, ...

    Parameters
    ----------
    b1, b2 : float
        Decays of the two averages, in [0, 1).
    eps : float
        Added outside of the square root.
    eps_root : float
        Added inside of the square root; positive where the training step itself is to
        be differentiated, since the root has no derivative at zero.
    mu_dtype : dtype, optional
        In which to keep the first moments; by default each parameter's own.
    nesterov : bool
        Whether to look one step ahead (NAdam).

    Returns
    -------
    GradientTransformation

    References
    ----------
    D. Kingma and J. Ba, *Adam: a method for stochastic optimization*, ICLR 2015,
    algorithm 1; T. Dozat, *Incorporating Nesterov momentum into Adam*, 2016.

    Examples
    --------
    The first update is the sign of the gradient, nearly:

    >>> import numpy as np
    >>> from funcad import optim
    >>> adam = optim.scale_by_adam()
    >>> grads = np.array([1e-3, -1e3])
    >>> adam.update(grads, adam.init(grads))[0].round(4)
    array([ 1., -1.])
    """
    b1, b2 = decay_rate("b1", b1), decay_rate("b2", b2)
    eps, eps_root = nonnegative("eps", eps), nonnegative("eps_root", eps_root)
    mu_dtype = memory_dtype("mu_dtype", mu_dtype)

    def init(params: PyTree) -> ScaleByAdamState:
        check_epsilon("eps", eps, params)
        return ScaleByAdamState(
            count=zero_count(params),
            mu=zeros_like(params, mu_dtype),
            nu=filled_squares(params, 0.0),
        )

    def update(
        updates: PyTree, state: ScaleByAdamState = NO_STATE, params: PyTree = None
    ) -> tuple[PyTree, ScaleByAdamState]:
        check_state(state, ScaleByAdamState)
        count = incremented(state.count)
        of_mu, of_nu = 1 / bias_correction(b1, count), 1 / bias_correction(b2, count)
        of_next = 1 / bias_correction(b1, count + 1)

        def step(g: Array, m: Array, v: Array) -> tuple[Array, Array, Array]:
            mean = moving_average(b1, m, g)
            square = average_of_squares(b2, v, g)
            if nesterov:
                # The mean of the next step, if its gradient were this one again.
                ahead = scaled(b1 * of_next, mean) + scaled((1 - b1) * of_mu, g)
            else:
                ahead = scaled(of_mu, mean)
            root = np.sqrt(shifted(eps_root, scaled(of_nu, square)))
            return ahead / shifted(eps, root), converted(mean, m), square

        updates, mu, nu = map_step(step, updates, state.mu, state.nu)
        return updates, ScaleByAdamState(count, mu, nu)

    return GradientTransformation(init, update)


def scale_by_lion(
    b1: Array = 0.9, b2: Array = 0.99, mu_dtype: Any = None
) -> GradientTransformation:
    """The sign of ``b1 mu + (1 - b1) g``, where ``mu = b2 mu + (1 - b2) g`` follows.

    Parameters
    ----------
    b1 : float
        Share of the average in the update, in [0, 1).
    b2 : float
        Decay of the average, in [0, 1).
    mu_dtype : dtype, optional
        In which to keep the average; by default each parameter's own.

    Returns
    -------
    GradientTransformation

    References
    ----------
    X. Chen et al., *Symbolic discovery of optimization algorithms*, NeurIPS 2023,
    program 1.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> lion = optim.scale_by_lion()
    >>> grads = np.array([0.5, 0.0, -2.0])
    >>> lion.update(grads, lion.init(grads))[0]
    array([ 1.,  0., -1.])
    """
    b1, b2 = decay_rate("b1", b1), decay_rate("b2", b2)
    mu_dtype = memory_dtype("mu_dtype", mu_dtype)

    def init(params: PyTree) -> ScaleByLionState:
        return ScaleByLionState(zeros_like(params, mu_dtype))

    def update(
        updates: PyTree, state: ScaleByLionState = NO_STATE, params: PyTree = None
    ) -> tuple[PyTree, ScaleByLionState]:
        check_state(state, ScaleByLionState)

        def step(g: Array, m: Array) -> tuple[Array, Array]:
            direction = np.sign(moving_average(b1, m, g))
            return direction, converted(moving_average(b2, m, g), m)

        updates, mu = map_step(step, updates, state.mu)
        return updates, ScaleByLionState(mu)

    return GradientTransformation(init, update)


def scale_by_rms(
    decay: Array = 0.9,
    eps: Array = 1e-8,
    initial_scale: Array = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> GradientTransformation:
    """Divide by the root of a moving average of the squared updates.

    Parameters
    ----------
    decay : float
        Decay of the average, in [0, 1).
    eps : float
        Keeps the division finite.
    initial_scale : float
        Where the average begins.
    eps_in_sqrt : bool
        Whether to add ``eps`` under the root, as in ``sqrt(nu + eps)``, or to the root,
        as torch does.
    bias_correction : bool
        Whether to divide the average by ``1 - decay**t``.

    Returns
    -------
    GradientTransformation

    References
    ----------
    G. Hinton, *Neural networks for machine learning*, lecture 6e, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> rms = optim.scale_by_rms(decay=0.75)
    >>> grads = np.array([3.0, -7.0])
    >>> rms.update(grads, rms.init(grads))[0].round(4)
    array([ 2., -2.])
    """
    decay, eps = decay_rate("decay", decay), nonnegative("eps", eps)
    initial_scale = nonnegative("initial_scale", initial_scale)

    def init(params: PyTree) -> ScaleByRmsState:
        check_epsilon("eps", eps, params)
        return ScaleByRmsState(
            zero_count(params), filled_squares(params, initial_scale)
        )

    def update(
        updates: PyTree, state: ScaleByRmsState = NO_STATE, params: PyTree = None
    ) -> tuple[PyTree, ScaleByRmsState]:
        check_state(state, ScaleByRmsState)
        count = incremented(state.count)
        correction = averaging_correction(decay, count, bias_correction)

        def step(g: Array, v: Array) -> tuple[Array, Array]:
            square = average_of_squares(decay, v, g)
            return g / root_with(eps, scaled(correction, square), eps_in_sqrt), square

        updates, nu = map_step(step, updates, state.nu)
        return updates, ScaleByRmsState(count, nu)

    return GradientTransformation(init, update)


def scale_by_stddev(
    decay: Array = 0.9,
    eps: Array = 1e-8,
    initial_scale: Array = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> GradientTransformation:
    """Divide by a moving estimate of the updates' standard deviation.

    Parameters
    ----------
    decay, eps, initial_scale, eps_in_sqrt, bias_correction
        As for :func:`scale_by_rms`; the square of a moving average of the updates is
        taken from the average of their squares.

    Returns
    -------
    GradientTransformation

    References
    ----------
    A. Graves, *Generating sequences with recurrent neural networks*, 2013, equations
    38 to 45.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> stddev = optim.scale_by_stddev(decay=0.5)
    >>> grads = np.array([3.0, -7.0])
    >>> stddev.update(grads, stddev.init(grads))[0].round(4)
    array([ 2., -2.])
    """
    decay, eps = decay_rate("decay", decay), nonnegative("eps", eps)
    initial_scale = nonnegative("initial_scale", initial_scale)

    def init(params: PyTree) -> ScaleByStddevState:
        check_epsilon("eps", eps, params)
        return ScaleByStddevState(
            count=zero_count(params),
            mu=zeros_like(params),
            nu=filled_squares(params, initial_scale),
        )

    def update(
        updates: PyTree, state: ScaleByStddevState = NO_STATE, params: PyTree = None
    ) -> tuple[PyTree, ScaleByStddevState]:
        check_state(state, ScaleByStddevState)
        count = incremented(state.count)
        correction = averaging_correction(decay, count, bias_correction)

        def step(g: Array, m: Array, v: Array) -> tuple[Array, Array, Array]:
            mean = converted(moving_average(decay, m, g), m)
            square = average_of_squares(decay, v, g)
            # Never negative but for rounding.
            variance = np.maximum(
                scaled(correction, square) - abs_squared(scaled(correction, mean)), 0
            )
            return g / root_with(eps, variance, eps_in_sqrt), mean, square

        updates, mu, nu = map_step(step, updates, state.mu, state.nu)
        return updates, ScaleByStddevState(count, mu, nu)

    return GradientTransformation(init, update)


def scale_by_rss(
    initial_accumulator_value: Array = 0.1, eps: Array = 1e-7
) -> GradientTransformation:
    """Divide by the root of the sum of all squared updates so far.

    Parameters
    ----------
    initial_accumulator_value : float
        Where the sum begins.
    eps : float
        Added under the root.

    Returns
    -------
    GradientTransformation

    References
    ----------
    J. Duchi, E. Hazan and Y. Singer, *Adaptive subgradient methods for online learning
    and stochastic optimization*, JMLR 12, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> rss = optim.scale_by_rss(initial_accumulator_value=0.0, eps=0.0)
    >>> state = rss.init(np.ones(1))
    >>> for _ in range(4):
    ...     updates, state = rss.update(np.ones(1), state)
    >>> updates
    array([0.5])
    """
    initial = nonnegative("initial_accumulator_value", initial_accumulator_value)
    eps = nonnegative("eps", eps)

    def init(params: PyTree) -> ScaleByRssState:
        return ScaleByRssState(filled_squares(params, initial))

    def update(
        updates: PyTree, state: ScaleByRssState = NO_STATE, params: PyTree = None
    ) -> tuple[PyTree, ScaleByRssState]:
        check_state(state, ScaleByRssState)

        def step(g: Array, s: Array) -> tuple[Array, Array]:
            total = converted(s + abs_squared(g), s)
            # Where the sum is zero so are all updates, and zero by one is zero.
            root = np.sqrt(np.where(total > 0, shifted(eps, total), 1))
            return g / root, total

        updates, sums = map_step(step, updates, state.sum_of_squares)
        return updates, ScaleByRssState(sums)

    return GradientTransformation(init, update)


def averaging_correction(decay: Array, count: Array, wanted: bool) -> Array:
    """What to multiply a moving average by, so that its weights add up to one."""
    return 1 / bias_correction(decay, count) if wanted else 1.0


def root_with(eps: Array, square: Array, eps_in_sqrt: bool) -> Array:
    """``sqrt(square + eps)`` or ``sqrt(square) + eps``."""
    if eps_in_sqrt:
        return np.sqrt(shifted(eps, square))
    return shifted(eps, np.sqrt(square))
