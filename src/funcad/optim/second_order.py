"""Newton's method and Gauss-Newton, without their matrices.

A step minimises a quadratic model of the loss, m(p) = g.p + p.(B + damping I).p / 2.
B is the Hessian for :func:`newton_cg` and the Gauss-Newton matrix for
:func:`gauss_newton`; conjugate gradients, SciPy's or CuPy's, need its products with
vectors alone, each of which costs about two gradients.  The damping follows how well
the model predicted the loss, as Levenberg and Marquardt have it, and a line search
sees to it that the loss decreases.

Both take the loss itself beside its gradient: see
:class:`~funcad.optim.GradientTransformationExtraArgs`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from funcad.backends import backend_of
from funcad.core.tracing import Array, dtype_of
from funcad.optim.base import GradientTransformationExtraArgs, PyTree
from funcad.optim.hyperparameters import nonnegative
from funcad.optim.leaves import NO_STATE, check_state, incremented
from funcad.optim.line_search import backtracking
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
from funcad.transforms.operators import gauss_newton_operator, hessian_operator

MORE, LESS = 4.0, 1 / 3
"""What damping is multiplied by after a bad and after a good prediction."""
BAD, GOOD = 0.25, 0.75
"""Actual decrease over predicted decrease: below is bad, above is good."""


class NewtonState(NamedTuple):
    """The state of :func:`newton_cg` and :func:`gauss_newton`; all of shape ().

    Attributes
    ----------
    count : int array
        Updates so far.
    damping : float array
        Of the next update.
    products : int array
        Products with the matrix in the last update.
    step_size : float array
        What the line search chose; 0 where nothing decreased the loss.
    value : float array
        The loss after the last update; not a number before the first one.
    """

    count: Array
    damping: Array
    products: Array
    step_size: Array
    value: Array


def newton_cg(
    damping: float = 1e-3,
    cg_steps: int = 50,
    cg_rtol: float | None = None,
    max_backtracks: int = 25,
) -> GradientTransformationExtraArgs:
    """Newton's method with conjugate gradients on Hessian-vector products.

    Parameters
    ----------
    damping : float
        Multiple of the identity that is added to the Hessian at first.  It grows
        fourfold where the quadratic model predicts the loss badly, and shrinks to a
        third where it predicts it well; zero stays zero.
    cg_steps : int
        Most products with the Hessian in the solution of a step.
    cg_rtol : float, optional
        How much of the gradient the solution may leave; by default
        ``min(0.5, sqrt(|g|))``, which is loose far from a minimum and makes
        convergence faster than linear near it.  SciPy's least is 1e-5.
    max_backtracks : int
        How often the line search may halve a step.

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

    Notes
    -----
    Where a direction of negative curvature is met, the solution takes the step along
    it that the same positive curvature would ask for, and ends: each step goes down,
    whatever the Hessian is, and away from a saddle point if the gradient has a part
    along its negative curvature.  If no step decreases the loss, as at a minimum to
    rounding, or where the gradient is zero, updates are zero.  The parameters are real;
    SciPy computes with values, so ``update`` cannot itself be transformed.

    References
    ----------
    J. Nocedal and S. Wright, *Numerical optimization*, 2006, algorithm 7.1.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad import optim
    >>> def rosenbrock(x):
    ...     return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    >>> optimiser = optim.newton_cg()
    >>> x = np.array([-1.2, 1.0])
    >>> state = optimiser.init(x)
    >>> for _ in range(30):
    ...     g = funcad.grad(rosenbrock)(x)
    ...     updates, state = optimiser.update(g, state, x, value_fn=rosenbrock)
    ...     x = optim.apply_updates(x, updates)
    >>> x.round(6)
    array([1., 1.])
    """

    def problem(value_fn: Any = None, **extra: Any) -> tuple[Any, Any]:
        value_fn = function_given("newton_cg", "value_fn", value_fn)
        return value_fn, lambda params: hessian_operator(value_fn, params)

    return _damped("newton_cg", problem, damping, cg_steps, cg_rtol, max_backtracks)


def gauss_newton(
    damping: float = 1e-3,
    cg_steps: int = 50,
    cg_rtol: float | None = None,
    max_backtracks: int = 25,
) -> GradientTransformationExtraArgs:
    """Damped Gauss-Newton steps (Levenberg-Marquardt), by conjugate gradients.

    Parameters
    ----------
    damping, cg_steps, cg_rtol, max_backtracks
        As for :func:`newton_cg`.

    Returns
    -------
    GradientTransformationExtraArgs
        ``update(grads, state, params, *, model_fn, loss_fn, value=None)``, where the
        loss whose gradient ``grads`` is is ``loss_fn(model_fn(params))``:
        ``model_fn`` returns residuals, predictions or logits, ``loss_fn`` a scalar
        that is convex in them.

    Raises
    ------
    ArgumentError
        From the factory, for arguments out of range; from ``update``, without the
        parameters, ``model_fn`` or ``loss_fn``.
    NonFiniteError
        From ``update``, if the loss or the gradient is not finite.

    Notes
    -----
    The matrix is :func:`funcad.gauss_newton_operator`: the Hessian without the second
    derivatives of the model.  It has no negative eigenvalues, so that every solution
    is a step down; where residuals are small it is close to the Hessian.

    References
    ----------
    J. Martens, *Deep learning via Hessian-free optimization*, ICML 2010.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad import optim
    >>> t = np.linspace(0, 1, 20)
    >>> y = 2 * np.exp(-3 * t)
    >>> residuals = lambda p: p[0] * np.exp(-p[1] * t) - y
    >>> squares = lambda r: np.sum(r**2) / 2
    >>> optimiser = optim.gauss_newton()
    >>> p = np.array([1.0, 0.0])
    >>> state = optimiser.init(p)
    >>> for _ in range(15):
    ...     g = funcad.grad(lambda p: squares(residuals(p)))(p)
    ...     updates, state = optimiser.update(
    ...         g, state, p, model_fn=residuals, loss_fn=squares
    ...     )
    ...     p = optim.apply_updates(p, updates)
    >>> p.round(6)
    array([2., 3.])
    """

    def problem(
        model_fn: Any = None, loss_fn: Any = None, **extra: Any
    ) -> tuple[Any, Any]:
        model = function_given("gauss_newton", "model_fn", model_fn)
        loss = function_given("gauss_newton", "loss_fn", loss_fn)
        return (
            lambda params: loss(model(params)),
            lambda params: gauss_newton_operator(model, loss, params),
        )

    return _damped("gauss_newton", problem, damping, cg_steps, cg_rtol, max_backtracks)


# ------------------------------------------------------------------------- machinery


def _damped(
    name: str,
    problem: Callable[..., tuple[Any, Any]],
    damping: float,
    cg_steps: int,
    cg_rtol: float | None,
    max_backtracks: int,
) -> GradientTransformationExtraArgs:
    """The method; ``problem`` gives the loss and its matrix from further arguments."""
    damping = nonnegative("damping", damping)
    cg_steps = at_least_one("cg_steps", cg_steps)
    max_backtracks = at_least_one("max_backtracks", max_backtracks)
    cg_rtol = None if cg_rtol is None else nonnegative("cg_rtol", cg_rtol)

    def init(params: PyTree) -> NewtonState:
        vector, _ = real_vector(name, params)
        return NewtonState(
            count=number_like(vector, 0),
            damping=number_like(vector, float(damping)),
            products=number_like(vector, 0),
            step_size=number_like(vector, 0.0),
            value=number_like(vector, math.nan),
        )

    def update(
        grads: PyTree,
        state: NewtonState = NO_STATE,
        params: PyTree = None,
        *,
        value: Any = None,
        **extra: Any,
    ) -> tuple[PyTree, NewtonState]:
        check_state(state, NewtonState)
        value_fn, matrix = problem(**extra)
        x, g, unravel = at_point(name, grads, params)
        old = finite_value(name, value_fn(params) if value is None else value)

        def following(
            damping: float, products: int, step: float, value: float
        ) -> NewtonState:
            return NewtonState(
                incremented(state.count),
                number_like(x, damping),
                number_like(x, products),
                number_like(x, step),
                number_like(x, value),
            )

        damping = float(state.damping)
        if not np.any(g):
            return unravel(np.zeros_like(x)), following(damping, 0, 0.0, old)
        operator = matrix(params)
        p, products = _direction(operator, g, damping, cg_steps, cg_rtol)
        slope = float(g @ p)
        predicted = -(slope + float(p @ operator.matvec(p)) / 2)
        slack = rounding(x, old)
        step, new, full = backtracking(
            lambda step: float(value_fn(unravel(x + step * p))),
            old,
            slope,
            max_backtracks,
            slack,
        )
        if step == 0 and value is not None:
            finite_value(name, value_fn(params))  # is that why nothing is lower?
        # where the decrease is within rounding, its size says nothing
        if not predicted <= slack:
            ratio = (old - full) / predicted
            if not ratio >= BAD:  # also where one of them is not finite
                damping *= MORE
            elif ratio > GOOD:
                damping *= LESS
        updates = unravel(step * p)
        return updates, following(damping, products + 1, step, new)

    return GradientTransformationExtraArgs(init, update)


class _NotPositive(Exception):
    """Conjugate gradients met a direction in which the matrix is not positive."""


def _direction(
    operator: Any, g: Array, damping: float, steps: int, rtol: float | None
) -> tuple[Array, int]:
    """Solve ``(operator + damping) p = -g`` as far as the matrix is positive.

    Returns
    -------
    direction : array, shape (n,)
        One in which the loss decreases.
    products : int
        How many products with the operator it took.
    """
    library = backend_of(g).sparse_linalg
    # the solvers have no half precision, and square what they are given
    b = -g.astype(np.result_type(dtype_of(g), np.float32))
    norm = length(b)
    b = b / norm
    products = 0
    solution = np.zeros_like(b)
    last = b

    def product(v: Array) -> Array:
        nonlocal products, last
        last = np.ravel(v)
        out = operator.matvec(last) + damping * last
        products += 1
        # CuPy's first product is with the zero that it starts from
        if not 0 < float(last @ out) < math.inf and np.any(last):
            raise _NotPositive(float(last @ out))
        return out

    def keep(p: Array) -> None:
        nonlocal solution
        solution = p.copy()

    damped = library.LinearOperator(operator.shape, matvec=product, dtype=b.dtype)
    rtol = min(0.5, math.sqrt(norm)) if rtol is None else rtol
    try:
        p, _ = library.cg(damped, b, maxiter=steps, atol=rtol, callback=keep)
    except _NotPositive as met:
        # one step more, with the curvature's absolute value; the solution is conjugate
        # to the new direction, so that the slope along it is still the gradient's
        step = float(b @ last) / abs(met.args[0] or math.nan)
        p = solution + step * last if math.isfinite(step) else solution
    p = (norm * p).astype(dtype_of(g))
    return (p if -math.inf < float(g @ p) < 0 else -g), products
