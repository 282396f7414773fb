"""``while``, a loop that ends when a condition says so, as a primitive.

Operands are the constants of the condition, those of the body, and the initial carry.

- Forward mode carries the tangents along; the condition reads values alone.
- There is no reverse mode: how much it would have to keep is not known.
- Batched, the loop goes on until all examples are done, and those that are keep their
  values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from funcad.backends import backend_of_type, namespace
from funcad.compile.compiled import compiled
from funcad.core.errors import UnboundedLoopError
from funcad.core.program import Program, Var
from funcad.core.tracing import (
    Array,
    Params,
    Primitive,
    array_type_of,
    bind,
    shape_of,
)
from funcad.primitives.reduction import reduce_any
from funcad.primitives.shape import move_axis
from funcad.transforms.calls import spread
from funcad.transforms.control.bodies import (
    chosen,
    fixpoint,
    numbered,
    recorded,
    repeated,
    with_axis,
    written,
    zeros_in_program,
    zeros_like,
)
from funcad.transforms.control.cond import by_example
from funcad.transforms.derived import (
    Mask,
    avals_out,
    batched,
    differentiated,
    once,
)

Values = Sequence[Any]


def repeat(
    condition: Program,
    body: Program,
    condition_constants: Values,
    constants: Values,
    carry: Values,
) -> tuple[Array, ...]:
    """Run a body while a condition holds; both without captured tracers.

    Parameters
    ----------
    condition : Program
        From its constants and the carry to one boolean.
    body : Program
        From its constants and the carry to the next carry.
    condition_constants, constants, carry : sequences of arrays
        Operands.

    Returns
    -------
    tuple of arrays
        The final carry.
    """
    params = {
        "condition": condition,
        "body": body,
        "condition_constants": len(condition_constants),
        "constants": len(constants),
    }
    return bind(while_loop, (*condition_constants, *constants, *carry), params)  # type: ignore[no-any-return]


def _parted(values: Values, params: Params) -> tuple[Values, Values, Values]:
    first = params["condition_constants"]
    second = first + params["constants"]
    return values[:first], values[first:second], values[second:]


def _impl(*args: Array, **params: Any) -> tuple[Array, ...]:
    like = array_type_of(args)
    test, run = compiled(params["condition"], like), compiled(params["body"], like)
    for_test, held, carry = _parted(args, params)
    weak = [v.weak for v in params["body"].inputs[len(held) :]]
    numbers = any(weak)
    while test(*for_test, *carry)[0]:
        carry = run(*held, *carry)
        if numbers:
            carry = [numbered(w, v) for w, v in zip(weak, carry)]
    return tuple(carry)


def _abstract(*args: Any, body: Program, **params: Any) -> list[Any]:
    return avals_out(body)


# ------------------------------------------------------------------------ forward mode


class _Forward(NamedTuple):
    """Condition and body with the tangents of the carry."""

    mask: Mask
    """Which operands of the body have a tangent, in the course of the loop."""
    condition: Program
    body: Program


def _dual(primals: Values, tangents: Values, params: Params) -> Any:
    condition, body = params["condition"], params["body"]
    for_test, constants, carry = _parted(primals, params)
    own = tangents[len(for_test) :]
    given = tuple([t is not None for t in own])
    form = once(body, _forward, condition, given, len(carry), array_type_of(primals))
    mask = form.mask[len(constants) :]
    full = [
        zeros_like(p, primals) if m and t is None else t
        for p, t, m in zip((*constants, *carry), own, form.mask, strict=True)
    ]
    directions = chosen(full, form.mask)
    count = len(directions) - sum(mask)
    results = repeat(
        form.condition,
        form.body,
        for_test,
        [*constants, *directions[:count]],
        [*carry, *directions[count:]],
    )
    outs, rates = results[: len(carry)], results[len(carry) :]
    if recorded(tangents):
        # what is recorded has no values, so these have a loop of their own
        outs = repeat(condition, body, for_test, constants, carry)
    return outs, spread(rates, mask)


def _forward(
    body: Program, condition: Program, given: Mask, carries: int, array_type: type
) -> _Forward:
    constants = len(body.inputs) - carries

    def step(mask: Mask) -> Mask:
        found = differentiated(body, mask, array_type).nonzero
        return (*mask[:constants], *found)

    mask = fixpoint(given, step)
    program, nonzero = differentiated(body, mask, array_type)
    own, directions = program.inputs[: len(mask)], program.inputs[len(mask) :]
    count = sum(mask[:constants])
    inputs = [
        *own[:constants],
        *directions[:count],
        *own[constants:],
        *directions[count:],
    ]
    rates = spread(program.outputs[carries:], nonzero)
    outputs = [
        *program.outputs[:carries],
        *[
            zeros_in_program(v, array_type) if t is None else t
            for t, m, v in zip(rates, mask[constants:], body.outputs)
            if m
        ],
    ]
    unread = [Var(v.shape, v.dtype) for v in directions[count:]]
    return _Forward(
        mask,
        Program([*condition.inputs, *unread], condition.equations, condition.outputs),
        Program(inputs, program.equations, outputs),
    )


def _transpose(cts: Values, args: Values, params: Params) -> NoReturn:
    lines = [e.line for e in params["body"].equations if e.line is not None]
    raise UnboundedLoopError(
        "while_loop has no reverse mode (grad, vjp, jacrev): how many steps it takes "
        "is known only when it ends, so what the backward pass reads of each step has "
        "no size. Use funcad.lax.scan, or fori_loop with bounds that are Python "
        "integers (as many steps as it may take, with np.where or cond to leave the "
        "carry as it is once done), or forward mode: funcad.jvp, funcad.jacfwd.",
        lines[0] if lines else None,
    )


# ------------------------------------------------------------------------------- batch


class _Batched(NamedTuple):
    """Condition and body for all examples."""

    condition: Program
    body: Program
    carry: tuple[int | None, ...]
    """Where the examples are in each carry."""
    apart: bool
    """Whether examples end at different times; the carry then begins with which of
    them go on, and ``test`` says so."""
    test: Program


def _batch(values: Values, axes: Values, **params: Any) -> tuple[Any, Any]:
    size = next(shape_of(v)[a] for v, a in zip(values, axes) if a is not None)
    for_test, constants, carry = _parted(values, params)
    form = once(
        params["body"],
        _batched,
        params["condition"],
        tuple(axes),
        params["condition_constants"],
        params["constants"],
        size,
        array_type_of(values),
    )
    axes = _parted(axes, params)[2]
    xp = namespace(*values)
    carry = [
        repeated(v, size, xp) if a is None and b is not None else v
        for v, a, b in zip(carry, axes, form.carry)
    ]
    if not form.apart:
        outs = repeat(form.condition, form.body, for_test, constants, carry)
        return outs, form.carry
    (going,) = form.test.evaluate([*for_test, *carry])
    held = [*for_test, *constants]
    outs = repeat(form.condition, form.body, [], held, [going, *carry])
    return outs[1:], form.carry


def _batched(
    body: Program,
    condition: Program,
    axes: tuple[int | None, ...],
    for_test: int,
    constants: int,
    size: int,
    array_type: type,
) -> _Batched:
    test_axes, held_axes = axes[:for_test], axes[for_test : for_test + constants]
    carry = axes[for_test + constants :]
    while True:
        test = batched(condition, (*test_axes, *carry), size, array_type)
        form = batched(body, (*held_axes, *carry), size, array_type)
        apart = test.axes[0] is not None
        wider = tuple(
            [
                0 if a is None and (apart or b is not None) else a
                for a, b in zip(carry, form.axes, strict=True)
            ]
        )
        if wider == carry:
            break
        carry = wider
    xp = backend_of_type(array_type).namespace

    def step(*args: Array) -> list[Array]:
        return [
            out if wanted is None else with_axis(out, axis, wanted, size, xp)
            for out, axis, wanted in zip(form.program.evaluate(args), form.axes, carry)
        ]

    if not apart:
        stepping = written(step, form.program.inputs, array_type)
        return _Batched(test.program, stepping, carry, False, test.program)

    held = [*test.program.inputs[:for_test], *form.program.inputs[:constants]]
    running = form.program.inputs[constants:]
    going = Var((size,), test.program.outputs[0].dtype)

    def step_apart(*args: Array) -> list[Array]:
        for_it, args = args[:for_test], args[for_test:]
        others, flags = args[:constants], args[constants]
        old = args[constants + 1 :]
        new = [
            _among(flags, x, y, a)
            for x, y, a in zip(step(*others, *old), old, carry, strict=True)
        ]
        return [*test.program.evaluate([*for_it, *new]), *new]

    return _Batched(
        written(
            lambda flags, *rest: [reduce_any(flags, axis=(0,), keepdims=False)],
            [going, *running],
            array_type,
        ),
        written(step_apart, [*held, going, *running], array_type),
        carry,
        True,
        test.program,
    )


def _among(going: Array, new: Array, old: Array, axis: int | None) -> Array:
    """The new values of the examples that go on, the old ones of the others."""
    assert axis is not None
    rank = len(new.shape) - 1
    if axis == 0:
        return by_example(going, new, old, rank)
    moved = by_example(going, move_axis(new, axis, 0), move_axis(old, axis, 0), rank)
    return move_axis(moved, 0, axis)


def _flops(inputs: Any, outputs: Any, params: Params) -> float:
    """Of one step, for how many there are is not known."""
    programs = [v for v in params.values() if isinstance(v, Program)]
    return float(sum(p.cost().flops for p in programs))


while_loop = Primitive(
    "while",
    _impl,
    _abstract,
    dual=_dual,
    transpose=_transpose,
    batch=_batch,
    flops=_flops,
    multiple=True,
    family="control",
)
# the name is a word of Python's, and compiled sources add an underscore
while_loop.definition = """
def while_(*args, condition, body, condition_constants, constants):
    test = args[:condition_constants]
    held = args[condition_constants : condition_constants + constants]
    carry = args[condition_constants + constants :]
    while condition(*test, *carry)[0]:
        carry = body(*held, *carry)
    return tuple(carry)
"""
