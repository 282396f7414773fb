"""Optimisers under their usual names: short chains of the building blocks.

Names, argument order and defaults are those of optax 0.2, so that a training script
written for one runs with the other.  ``learning_rate`` is a number or a schedule (a
function of the step count) everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from funcad.core.errors import ArgumentError
from funcad.core.tracing import Array
from funcad.optim.base import GradientTransformation, PyTree, chain, identity
from funcad.optim.hyperparameters import Schedule, decay_rate
from funcad.optim.transformations import (
    add_decayed_weights,
    scale_by_adam,
    scale_by_learning_rate,
    scale_by_lion,
    scale_by_rms,
    scale_by_rss,
    scale_by_stddev,
    trace,
)

Mask = PyTree | Callable[[PyTree], PyTree] | None


def sgd(
    learning_rate: Array | Schedule,
    momentum: Array | None = None,
    nesterov: bool = False,
    accumulator_dtype: Any = None,
) -> GradientTransformation:
    """Stochastic gradient descent, with momentum where wanted.

    Parameters
    ----------
    learning_rate : float or callable
        Step size, or a schedule of it.
    momentum : float, optional
        Decay of the sum of earlier gradients, in [0, 1).
    nesterov : bool
        Whether the momentum looks one step ahead.
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
    >>> optimiser = optim.sgd(0.1, momentum=0.9)
    >>> params = {"w": np.array([1.0, 2.0])}
    >>> state = optimiser.init(params)
    >>> updates, state = optimiser.update({"w": np.ones(2)}, state, params)
    >>> optim.apply_updates(params, updates)
    {'w': array([0.9, 1.9])}
    """
    return chain(
        _momentum("sgd", momentum, nesterov, accumulator_dtype),
        scale_by_learning_rate(learning_rate),
    )


def adam(
    learning_rate: Array | Schedule,
    b1: Array = 0.9,
    b2: Array = 0.999,
    eps: Array = 1e-8,
    eps_root: Array = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Adam: steps of about the learning rate in every coordinate.

    Parameters
    ----------
    learning_rate : float or callable
        Step size, or a schedule of it.
    b1, b2, eps, eps_root, mu_dtype, nesterov
        As for :func:`scale_by_adam`.

    Returns
    -------
    GradientTransformation

    References
    ----------
    D. Kingma and J. Ba, *Adam: a method for stochastic optimization*, ICLR 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> optimiser = optim.adam(0.5)
    >>> params = np.array([1.0, 2.0])
    >>> updates, state = optimiser.update(np.array([4.0, -0.1]), optimiser.init(params))
    >>> updates.round(4)
    array([-0.5,  0.5])
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
    )


def adamw(
    learning_rate: Array | Schedule,
    b1: Array = 0.9,
    b2: Array = 0.999,
    eps: Array = 1e-8,
    eps_root: Array = 0.0,
    mu_dtype: Any = None,
    weight_decay: Array = 1e-4,
    mask: Mask = None,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Adam with weight decay that the adaptive scaling does not touch.

    Parameters
    ----------
    learning_rate : float or callable
        Step size, or a schedule of it.
    b1, b2, eps, eps_root, mu_dtype, nesterov
        As for :func:`scale_by_adam`.
    weight_decay : float
        Multiplied by the learning rate and the parameters, as in torch.
    mask : pytree of bool or callable, optional
        Which parameters to decay, as for :func:`masked`; all of them without it.

    Returns
    -------
    GradientTransformation
        Its ``update`` needs the parameters.

    References
    ----------
    I. Loshchilov and F. Hutter, *Decoupled weight decay regularization*, ICLR 2019,
    algorithm 2.

    Examples
    --------
    Decay matrices, and no biases:

    >>> import numpy as np
    >>> from funcad import optim, tree
    >>> optimiser = optim.adamw(
    ...     1e-3, mask=lambda params: tree.map(lambda p: p.ndim > 1, params)
    ... )
    >>> params = {"w": np.ones((2, 2)), "b": np.ones(2)}
    >>> updates, state = optimiser.update(
    ...     tree.map(np.zeros_like, params), optimiser.init(params), params
    ... )
    >>> updates["w"]
    array([[-1.e-07, -1.e-07],
           [-1.e-07, -1.e-07]])
    >>> bool(np.any(updates["b"]))
    False
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


def rmsprop(
    learning_rate: Array | Schedule,
    decay: Array = 0.9,
    eps: Array = 1e-8,
    initial_scale: Array = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Array | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> GradientTransformation:
    """RMSProp: gradients divided by the root of their moving mean square.

    Parameters
    ----------
    learning_rate : float or callable
        Step size, or a schedule of it.
    decay, eps, initial_scale, eps_in_sqrt, bias_correction
        As for :func:`scale_by_rms`; for torch's formula write ``eps_in_sqrt=False``.
    centered : bool
        Whether to divide by the standard deviation instead, :func:`scale_by_stddev`.
    momentum : float, optional
        Decay of the sum of earlier steps, in [0, 1).
    nesterov : bool
        Whether the momentum looks one step ahead.

    Returns
    -------
    GradientTransformation

    References
    ----------
    G. Hinton, *Neural networks for machine learning*, lecture 6e, 2012; A. Graves,
    *Generating sequences with recurrent neural networks*, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> optimiser = optim.rmsprop(0.1, decay=0.75)
    >>> params = np.zeros(2)
    >>> updates, state = optimiser.update(np.array([5.0, -3.0]), optimiser.init(params))
    >>> updates.round(4)
    array([-0.2,  0.2])
    """
    scale_by = scale_by_stddev if centered else scale_by_rms
    return chain(
        scale_by(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        _momentum("rmsprop", momentum, nesterov),
    )


def adagrad(
    learning_rate: Array | Schedule,
    initial_accumulator_value: Array = 0.1,
    eps: Array = 1e-7,
) -> GradientTransformation:
    """Adagrad: gradients divided by the root of the sum of all their squares.

    Parameters
    ----------
    learning_rate : float or callable
        Step size, or a schedule of it.
    initial_accumulator_value, eps : float
        As for :func:`scale_by_rss`.

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
    >>> optimiser = optim.adagrad(1.0, initial_accumulator_value=7.0, eps=0.0)
    >>> params = np.zeros(1)
    >>> optimiser.update(np.array([3.0]), optimiser.init(params))[0]
    array([-0.75])
    """
    return chain(
        scale_by_rss(initial_accumulator_value, eps),
        scale_by_learning_rate(learning_rate),
    )


def lion(
    learning_rate: Array | Schedule,
    b1: Array = 0.9,
    b2: Array = 0.99,
    mu_dtype: Any = None,
    weight_decay: Array = 1e-3,
    mask: Mask = None,
) -> GradientTransformation:
    """Lion: steps of the learning rate, up or down in every coordinate.

    Parameters
    ----------
    learning_rate : float or callable
        Step size, or a schedule of it; 3 to 10 times smaller than Adam's.
    b1, b2, mu_dtype
        As for :func:`scale_by_lion`.
    weight_decay : float
        Multiplied by the learning rate and the parameters.
    mask : pytree of bool or callable, optional
        Which parameters to decay, as for :func:`masked`; all of them without it.

    Returns
    -------
    GradientTransformation
        Its ``update`` needs the parameters.

    References
    ----------
    X. Chen et al., *Symbolic discovery of optimization algorithms*, NeurIPS 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import optim
    >>> optimiser = optim.lion(0.5, weight_decay=0.0)
    >>> params = np.zeros(3)
    >>> grads = np.array([1e-3, 0.0, -1e3])
    >>> updates, state = optimiser.update(grads, optimiser.init(params), params)
    >>> updates
    array([-0.5, -0. ,  0.5])
    """
    return chain(
        scale_by_lion(b1, b2, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


def _momentum(
    name: str, momentum: Array | None, nesterov: bool, accumulator_dtype: Any = None
) -> GradientTransformation:
    if momentum is not None:
        momentum = decay_rate("momentum", momentum)
        return trace(momentum, nesterov, accumulator_dtype)
    if nesterov:
        raise ArgumentError(
            f"{name}: nesterov=True is a kind of momentum, and there is none. Write "
            "momentum=0.9 beside it."
        )
    return identity()
