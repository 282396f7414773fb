"""Optimisers as pairs of pure functions, in the manner of optax.

>>> import numpy as np
>>> from funcad import optim
>>> params = {"w": np.array([1.0, -2.0])}
>>> optimiser = optim.adamw(learning_rate=0.1)
>>> state = optimiser.init(params)
>>> for _ in range(100):
...     grads = {"w": 2 * params["w"]}
...     updates, state = optimiser.update(grads, state, params)
...     params = optim.apply_updates(params, updates)
>>> bool(np.all(np.abs(params["w"]) < 0.1))
True

Those that use curvature take the loss itself, too:

>>> loss = lambda params: np.sum((params["w"] - 1) ** 4)
>>> optimiser = optim.newton_cg()
>>> params = {"w": np.array([1.5, -2.0])}
>>> state = optimiser.init(params)
>>> for _ in range(20):
...     grads = {"w": 4 * (params["w"] - 1) ** 3}
...     updates, state = optimiser.update(grads, state, params, value_fn=loss)
...     params = optim.apply_updates(params, updates)
>>> bool(np.all(np.abs(params["w"] - 1) < 0.01))
True

The other optimisers are chains of building blocks, which can be chained anew: here with
clipped gradients, a schedule, and no decay of biases and gains.

>>> from funcad import tree
>>> schedule = optim.warmup_cosine_decay_schedule(0.0, 1e-3, 100, 2000)
>>> optimiser = optim.chain(
...     optim.clip_by_global_norm(1.0),
...     optim.adamw(
...         schedule, mask=lambda params: tree.map(lambda p: p.ndim > 1, params)
...     ),
... )
"""

from funcad.optim.base import (
    EmptyState,
    GradientTransformation,
    GradientTransformationExtraArgs,
    MaskedState,
    apply_updates,
    chain,
    identity,
    masked,
    set_to_zero,
    stateless,
)
from funcad.optim.clipping import clip, clip_by_global_norm, global_norm
from funcad.optim.hyperparameters import Schedule
from funcad.optim.lbfgs import LBFGSState, lbfgs, value_and_grad_from_state
from funcad.optim.optimizers import adagrad, adam, adamw, lion, rmsprop, sgd
from funcad.optim.schedules import (
    constant_schedule,
    cosine_decay_schedule,
    exponential_decay,
    join_schedules,
    linear_schedule,
    piecewise_constant_schedule,
    polynomial_schedule,
    warmup_cosine_decay_schedule,
)
from funcad.optim.second_order import NewtonState, gauss_newton, newton_cg
from funcad.optim.transformations import (
    ScaleByAdamState,
    ScaleByLionState,
    ScaleByRmsState,
    ScaleByRssState,
    ScaleByScheduleState,
    ScaleByStddevState,
    TraceState,
    add_decayed_weights,
    scale,
    scale_by_adam,
    scale_by_learning_rate,
    scale_by_lion,
    scale_by_rms,
    scale_by_rss,
    scale_by_schedule,
    scale_by_stddev,
    trace,
)

__all__ = [
    "EmptyState",
    "GradientTransformation",
    "GradientTransformationExtraArgs",
    "LBFGSState",
    "MaskedState",
    "NewtonState",
    "ScaleByAdamState",
    "ScaleByLionState",
    "ScaleByRmsState",
    "ScaleByRssState",
    "ScaleByScheduleState",
    "ScaleByStddevState",
    "Schedule",
    "TraceState",
    "adagrad",
    "adam",
    "adamw",
    "add_decayed_weights",
    "apply_updates",
    "chain",
    "clip",
    "clip_by_global_norm",
    "constant_schedule",
    "cosine_decay_schedule",
    "exponential_decay",
    "gauss_newton",
    "global_norm",
    "identity",
    "join_schedules",
    "lbfgs",
    "lion",
    "linear_schedule",
    "masked",
    "newton_cg",
    "piecewise_constant_schedule",
    "polynomial_schedule",
    "rmsprop",
    "scale",
    "scale_by_adam",
    "scale_by_learning_rate",
    "scale_by_lion",
    "scale_by_rms",
    "scale_by_rss",
    "scale_by_schedule",
    "scale_by_stddev",
    "set_to_zero",
    "sgd",
    "stateless",
    "trace",
    "value_and_grad_from_state",
    "warmup_cosine_decay_schedule",
]
