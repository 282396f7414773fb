"""``checkpoint``: what is inside a function is computed again in the backward pass.

The function is recorded while it runs, and its call becomes one operation,
``checkpoint_call``, with values from outside and chosen values from inside as its only
residuals.  The derivative of the call is a call of the derivative's program, which
starts over from the residuals, and so is its transpose: thus a checkpoint stays one in
derivatives of any order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcad.compile.dead_code import eliminate_dead_code
from funcad.core import tree
from funcad.core.errors import PolicyError
from funcad.core.program import Program, Var
from funcad.core.tracing import (
    Array,
    Params,
    Primitive,
    Tracer,
    array_type_of,
    aval_of,
    bind,
    dtype_of,
    shape_of,
)
from funcad.primitives.barrier import behind_barriers
from funcad.primitives.naming import named
from funcad.transforms.arguments import wraps
from funcad.transforms.calls import spread
from funcad.transforms.custom_calls import values_in_reverse
from funcad.transforms.derived import (
    avals_out,
    batched,
    differentiated,
    divided,
)
from funcad.transforms.linear import Linear, LinearTrace, transpose
from funcad.transforms.recording import (
    Chooses,
    Shared,
    forget,
    recall,
    record,
    remember,
)
from funcad.transforms.static import StaticArguments, joined

__all__ = ["checkpoint", "checkpoint_name", "remat"]

Policy = Callable[..., bool]


def checkpoint(
    f: Callable[..., Any] | None = None,
    policy: Policy | None = None,
    static_argnums: int | Sequence[int] = (),
) -> Any:
    """Function whose inside is computed again in the backward pass, and not stored.

    Of what ``f`` computes, reverse mode keeps the arguments (and what the policy
    chooses) instead of every intermediate result, at the price of a second evaluation.
    The result and its derivatives are those of ``f``.

    Parameters
    ----------
    f : callable
        Function of pytrees; Python control flow may depend on values.  Arrays are
        traced; other arguments are passed as they are.
    policy : callable, optional
        ``policy(primitive, *avals, **params) -> bool``, whether to store the result of
        an operation inside; see :mod:`funcad.checkpoint_policies`.  By default,
        nothing is stored.
    static_argnums : int or sequence of int, optional
        Positional arguments that are passed as they are, arrays too: those by which
        ``f`` branches where transforms around it leave arguments without a value.

    Returns
    -------
    callable
        Function with the arguments and result of ``f``; a decorator if only keywords
        are given.

    Raises
    ------
    PolicyError
        If the policy is not callable, or returns something else than a ``bool``.
    StaticArgumentError
        If ``static_argnums`` are no integers, or there is no such argument.

    Notes
    -----
    What ``f`` computes from values that it closes over alone, before these meet an
    argument, is not recomputed: pass them as arguments, too.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> @funcad.checkpoint
    ... def layer(x):
    ...     return np.tanh(np.sin(x)) if x[0] > 0 else x
    >>> funcad.grad(lambda x: np.sum(layer(layer(x))))(np.array([0.5, 1.0]))
    array([0.52973197, 0.15143675])
    """
    if policy is not None:
        _check_policy(policy)
    if f is None:
        return functools.partial(
            checkpoint, policy=policy, static_argnums=static_argnums
        )
    chooses = None if policy is None else _choice(policy)

    shared = Shared()

    @wraps(f, "checkpoint")
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        return _run(f, args, kwargs, chooses, shared)

    if static_argnums == ():
        return checkpointed
    chosen = StaticArguments(f, static_argnums, None, "checkpoint")

    @wraps(f, "checkpoint")
    def with_static(*args: Any, **kwargs: Any) -> Any:
        static, (rest, named) = chosen.part(args, kwargs)

        def of_rest(*rest: Any, **named: Any) -> Any:
            full, keywords = joined(static, rest, named)
            return f(*full, **keywords)

        return _run(of_rest, rest, named, chooses, shared)

    return with_static


remat = checkpoint


def checkpoint_name(x: Any, name: str) -> Any:
    """The same values, under a name that checkpoint policies may refer to.

    Parameters
    ----------
    x : pytree of arrays
        Values inside a function that is given to :func:`checkpoint`.
    name : str
        Their name.

    Returns
    -------
    pytree of arrays
        The values.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> save = funcad.checkpoint_policies.save_only_these_names("hidden")
    >>> @funcad.checkpoint(policy=save)
    ... def f(x):
    ...     return np.sin(funcad.checkpoint_name(np.exp(x), "hidden"))
    >>> float(funcad.grad(f)(0.0))
    0.5403023058681398
    """
    if not isinstance(name, str):
        raise TypeError(
            f"checkpoint_name takes a string as name, not {name!r} of type "
            f"{type(name).__name__}."
        )
    return tree.map(lambda leaf: bind(named, (leaf,), {"name": name}), x)


def _check_policy(policy: Any) -> None:
    if not callable(policy):
        raise PolicyError(
            f"policy of checkpoint must be a function, not {policy!r} of type "
            f"{type(policy).__name__}. Take one of funcad.checkpoint_policies, such as "
            "dots_saveable, or leave it out to store nothing."
        )
    import inspect

    try:
        signature = inspect.signature(policy)
    except (TypeError, ValueError):  # a callable that does not say
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        name = getattr(policy, "__name__", type(policy).__name__)
        raise PolicyError(
            f"checkpoint calls its policy as policy(primitive, *avals, **params), and "
            f"{name}{signature} cannot be called with a primitive and one aval: "
            f"{error}. Write def policy(primitive, *avals, **params)."
        ) from None


def _choice(policy: Policy) -> Chooses:
    def chooses(primitive: Primitive, operands: Sequence[Any], params: Params) -> bool:
        answer = policy(primitive, *map(aval_of, operands), **params)
        if not isinstance(answer, (bool, np.bool_)):
            name = getattr(policy, "__name__", type(policy).__name__)
            raise PolicyError(
                f"the policy of checkpoint, {name}, must return True or False for "
                f"each operation, and for {primitive} it returned {answer!r} of type "
                f"{type(answer).__name__}. A maker of policies, such as "
                "checkpoint_policies.save_only_these_names, is to be called first."
            )
        return bool(answer)

    return chooses


def _run(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    chooses: Chooses | None = None,
    shared: Callable[[Program], Program] = lambda program: program,
) -> Any:
    recording = record(f, args, kwargs, "checkpoint", chooses)
    params = {"program": shared(recording.program), "saved": recording.chosen}
    remember(checkpoint_call, params, recording.values, recording.results)
    try:
        results = recall(checkpoint_call, recording.operands, params)
    finally:
        forget(params)
    return recording.out_tree.unflatten(results[: len(recording.outs)])


# ------------------------------------------------------------------- checkpoint_call


def _impl(*args: Array, program: Program, saved: int) -> tuple[Array, ...]:
    return tuple(program.evaluate(args))


def _abstract(*args: Any, program: Program, saved: int) -> list[Any]:
    return avals_out(program)


def _dual(primals: Sequence[Array], tangents: Sequence[Any], params: Params) -> Any:
    program, saved = params["program"], params["saved"]
    array_type = array_type_of(primals)

    def of_values() -> Params:
        return params | {"program": values_in_reverse(program, array_type)}

    reverse = any(type(t) is Linear for t in tangents)
    results = recall(checkpoint_call, primals, params, of_values if reverse else None)
    mask = tuple([t is not None for t in tangents])
    derive = divided if reverse else differentiated
    form = derive(program, mask, array_type)
    if not any(form.nonzero):
        return results, None
    count = len(program.outputs)
    cut, used = tangent_program(form.program, count, saved, sum(mask))
    residuals = [*primals, *results[count - saved :]]
    operands = [x for x, u in zip(residuals, used, strict=True) if u]
    operands += [t for t in tangents if t is not None]
    out_tangents = bind(checkpoint_call, operands, {"program": cut, "saved": 0})
    return results, spread(out_tangents, form.nonzero)


def tangent_program(
    program: Program, count: int, saved: int, tangents: int
) -> tuple[Program, list[bool]]:
    """The tangents alone of a program of values and tangents, from saved values.

    Parameters
    ----------
    program : Program
        From inputs and ``tangents`` of them to ``count`` outputs and their tangents.
    count, saved, tangents : int
        The last ``saved`` of the outputs are values that need not be computed.

    Returns
    -------
    program : Program
        From those inputs and saved values that it needs, and then the tangents.
    used : list of bool
        Which of inputs and saved values it takes.
    """
    key = tangent_program, saved
    found = program.derived.get(key)
    if found is not None:
        return found  # type: ignore[no-any-return]
    inputs = list(program.inputs)
    primals, directions = inputs[: len(inputs) - tangents], inputs[-tangents:]
    given = [
        v if type(v) is Var and v not in primals else Var(shape_of(v), dtype_of(v))
        for v in program.outputs[count - saved : count]
    ]
    # an equation whose results are all given is dead: they are this program's inputs
    fresh = set(given)
    equations = [
        e
        if fresh.isdisjoint(e.outputs)
        else e._replace(
            outputs=[
                Var(v.shape, v.dtype, v.weak) if v in fresh else v for v in e.outputs
            ]
        )
        for e in program.equations
    ]
    residuals = [*primals, *given]
    cut = eliminate_dead_code(
        Program([*residuals, *directions], equations, program.outputs[count:])
    )
    read = {v for e in cut.equations for v in e.inputs if type(v) is Var}
    read.update(v for v in cut.outputs if type(v) is Var)
    used = [v in read for v in residuals]
    kept = [v for v, u in zip(residuals, used, strict=True) if u]
    result = Program([*kept, *directions], cut.equations, cut.outputs), used
    return program.derived.setdefault(key, result)  # type: ignore[no-any-return]


def _transpose(cts: Sequence[Any], args: Sequence[Any], params: Params) -> list[Any]:
    program = params["program"]
    linear = [type(a) is Var for a in args]
    nonzero = [ct is not None for ct in cts]

    def backward(residuals: Sequence[Array], given: Sequence[Array]) -> list[Any]:
        residuals = behind_barriers(residuals)
        trace = LinearTrace([*given, *residuals])
        held = iter(residuals)
        operands = [
            trace.variable(a.shape, a.dtype) if m else next(held)
            for a, m in zip(args, linear)
        ]
        del residuals, held
        variables = [x for x, m in zip(operands, linear) if m]
        recorded = trace.program(variables, program.evaluate(operands))
        trace.alive = False
        del operands
        return transpose(recorded, spread(given, nonzero), consume=True)

    given = [ct for ct in cts if ct is not None]
    residuals = [a for a, m in zip(args, linear) if not m]
    return spread(again(backward, residuals, given), linear)


def again(backward: Callable[..., Any], *operands: list[Array]) -> Any:
    """Run a function that captures no tracers, as a checkpoint under transforms."""
    if any(isinstance(x, Tracer) for xs in operands for x in xs):
        return _run(backward, operands, {})
    return backward(*operands)


def _batch(values: Any, axes: Any, program: Program, saved: int) -> Any:
    size = next(v.shape[a] for v, a in zip(values, axes) if a is not None)
    form = batched(program, tuple(axes), size, array_type_of(values))
    params = {"program": form.program, "saved": saved}
    return bind(checkpoint_call, values, params), form.axes


checkpoint_call = Primitive(
    "checkpoint_call",
    _impl,
    _abstract,
    dual=_dual,
    transpose=_transpose,
    batch=_batch,
    body=lambda params: params["program"],
    multiple=True,
    family="call",
)
