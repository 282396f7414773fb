"""``scan``, a loop of known length, as a primitive.

Operands are the constants of the loop, the initial carry and the stacked inputs; the
body goes from constants, carry and a slice of each input to the next carry and a slice
of each output.

- Forward mode carries the tangents along, in one loop.
- Linearised, it is two loops: the first one also returns the residuals, and the second
  one is linear in the tangents.  Of the residuals only those that are new in each step
  are stacked: what depends on the constants alone is computed once and before, and an
  input or output of the loop is read where it is.
- The transpose runs the linear loop in the other direction, with the cotangents of the
  carry as its carry; those of the constants add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from funcad.backends import backend_of_type, namespace
from funcad.core.program import Program, Var
from funcad.core.tracing import (
    Array,
    Params,
    Primitive,
    array_type_of,
    bind,
    dtype_of,
    shape_of,
)
from funcad.primitives.shape import move_axis
from funcad.transforms.calls import spread
from funcad.transforms.control.bodies import (
    chosen,
    depends,
    fixpoint,
    numbered,
    recorded,
    repeated,
    runner,
    with_axis,
    written,
    zeros_in_program,
    zeros_like,
)
from funcad.transforms.derived import (
    Mask,
    avals_out,
    batched,
    differentiated,
    linearized,
    once,
    transposed,
)

Values = Sequence[Any]


def loop(
    body: Program,
    constants: Values,
    carry: Values,
    xs: Values,
    length: int,
    reverse: bool,
) -> tuple[list[Array], list[Array]]:
    """Run a body without captured tracers ``length`` times.

    Parameters
    ----------
    body : Program
        From constants, carry and slices of ``xs`` to the carry and slices of ``ys``.
    constants, carry, xs : sequences of arrays
        Operands; the leading axis of each of ``xs`` is as long as the loop.
    length : int
        Number of steps.
    reverse : bool
        Whether to go from the last slice to the first.

    Returns
    -------
    carry, ys : lists of arrays
        The final carry, and the stacked outputs.
    """
    params = {
        "body": body,
        "constants": len(constants),
        "carries": len(carry),
        "length": length,
        "reverse": reverse,
    }
    outs = bind(scan, (*constants, *carry, *xs), params)
    return list(outs[: len(carry)]), list(outs[len(carry) :])


def _parted(values: Values, params: Params) -> tuple[Values, Values, Values]:
    """Constants, carry and inputs, or what belongs to each of them."""
    first = params["constants"]
    second = first + params["carries"]
    return values[:first], values[first:second], values[second:]


def _impl(
    *args: Array,
    body: Program,
    constants: int,
    carries: int,
    length: int,
    reverse: bool,
) -> tuple[Array, ...]:
    run = runner(body, length, array_type_of(args))
    held = args[:constants]
    carry: Sequence[Array] = args[constants : constants + carries]
    xs = args[constants + carries :]
    weak = [v.weak for v in body.inputs[constants:]]
    numbers = any(weak)
    avals = _stacked(avals_out(body)[carries:], length)
    ys: list[Array] = []
    for i in reversed(range(length)) if reverse else range(length):
        inner = [*carry, *[x[i] for x in xs]]
        if numbers:
            inner = [numbered(w, v) for w, v in zip(weak, inner)]
        outs = run(*held, *inner)
        carry = outs[:carries]
        if not ys:
            xp = namespace(*args, *outs)
            ys = [xp.empty(*aval) for aval in avals]
        for y, out in zip(ys, outs[carries:]):
            y[i] = out
    if not ys:
        ys = [namespace(*args).empty(*aval) for aval in avals]
    return (*carry, *ys)


def _stacked(avals: Values, length: int) -> list[tuple[tuple[int, ...], Any]]:
    """Avals of the outputs from those of a slice, where a number may be a type."""
    return [
        ((length, *shape), dtype_of(dtype(0)) if isinstance(dtype, type) else dtype)
        for shape, dtype in avals
    ]


def _abstract(
    *args: Any, body: Program, constants: int, carries: int, length: int, reverse: bool
) -> list[Any]:
    avals = avals_out(body)
    return [*avals[:carries], *_stacked(avals[carries:], length)]


# ------------------------------------------------------------------------ forward mode


def _dual(primals: Values, tangents: Values, params: Params) -> Any:
    rule = _linearize if recorded(tangents) else _differentiate
    return rule(primals, tangents, params)


def _directions(
    primals: Values, tangents: Values, mask: Mask, params: Params
) -> tuple[list[Any], list[Any], list[Any]]:
    """Tangents of constants, carry and inputs; zeros where a carry has one later."""
    full = [
        zeros_like(p, primals) if m and t is None else t
        for p, t, m in zip(primals, tangents, mask, strict=True)
    ]
    constants, carry, xs = (
        chosen(v, m)
        for v, m in zip(_parted(full, params), _parted(mask, params), strict=True)
    )
    return constants, carry, xs


def _loop(
    body: Program, values: Values, directions: Values, params: Params
) -> tuple[list[Array], list[Array]]:
    """A loop whose constants, carry and inputs are values and then tangents."""
    constants, carry, xs = ([*v, *t] for v, t in zip(values, directions, strict=True))
    return loop(body, constants, carry, xs, params["length"], params["reverse"])


class _Forward(NamedTuple):
    """A body with the tangents of its carry."""

    mask: Mask
    """Which operands have a tangent, in the course of the loop."""
    body: Program
    nonzero: Mask
    """Which outputs have a tangent."""


def _differentiate(primals: Values, tangents: Values, params: Params) -> Any:
    given = tuple([t is not None for t in tangents])
    form: _Forward = once(
        params["body"],
        _forward,
        given,
        params["constants"],
        params["carries"],
        array_type_of(primals),
    )
    values = _parted(primals, params)
    directions = _directions(primals, tangents, form.mask, params)
    count, y_count = params["carries"], len(params["body"].outputs) - params["carries"]
    carry, ys = _loop(form.body, values, directions, params)
    outs = (*carry[:count], *ys[:y_count])
    return outs, spread([*carry[count:], *ys[y_count:]], form.nonzero)


def _forward(
    body: Program, given: Mask, constants: int, carries: int, array_type: type
) -> _Forward:
    params = {"constants": constants, "carries": carries}

    def step(mask: Mask) -> Mask:
        out = differentiated(body, mask, array_type).nonzero[:carries]
        return _carried(mask, out, constants)

    mask = fixpoint(given, step)
    form = differentiated(body, mask, array_type)
    count = len(body.inputs)
    directions = _parted(
        spread(form.program.inputs[count:], mask),
        params,
    )
    inputs: list[Var] = []
    for own, extra in zip(_parted(form.program.inputs[:count], params), directions):
        inputs += [*own, *[v for v in extra if v is not None]]
    outs = form.program.outputs[: len(body.outputs)]
    rates = spread(form.program.outputs[len(body.outputs) :], form.nonzero)
    carry_mask = mask[constants : constants + carries]
    outputs = [
        *outs[:carries],
        *_carry_rates(rates[:carries], carry_mask, body, array_type),
        *outs[carries:],
        *[t for t in rates[carries:] if t is not None],
    ]
    return _Forward(
        mask,
        Program(inputs, form.program.equations, outputs),
        (*carry_mask, *form.nonzero[carries:]),
    )


def _carried(mask: Mask, carry: Values, constants: int) -> Mask:
    """The mask of the operands in which the carry's part is another."""
    return (*mask[:constants], *carry, *mask[constants + len(carry) :])


def _carry_rates(
    rates: Values, mask: Mask, body: Program, array_type: type
) -> list[Any]:
    """A tangent, if only zero, for each carry that has one in the course of a loop."""
    return [
        zeros_in_program(v, array_type) if t is None else t
        for t, m, v in zip(rates, mask, body.outputs)
        if m
    ]


# ----------------------------------------------------------------------- linearisation


class _Split(NamedTuple):
    """A loop as one that keeps residuals, and one that is linear in the tangents."""

    mask: Mask
    """Which operands have a tangent, in the course of the loop."""
    prelude: Program
    """From the constants to what depends on nothing else."""
    known: Program
    """The first loop's body, which has what the prelude computes as constants too."""
    linear: Program
    """The second loop's body."""
    from_constants: tuple[int, ...]
    """Which constants, the prelude's results among them, the second loop reads."""
    from_xs: tuple[int, ...]
    """Which inputs it reads."""
    from_ys: tuple[int, ...]
    """Which outputs of the first loop; those after the user's own are residuals."""
    nonzero: Mask
    """Which outputs have a tangent."""


def _linearize(primals: Values, tangents: Values, params: Params) -> Any:
    given = tuple([t is not None for t in tangents])
    split = _split_of(given, array_type_of(primals), params)
    outs, residuals = _known(split, primals, params)
    if not any(split.nonzero):
        return outs, None
    directions = _directions(primals, tangents, split.mask, params)
    carry, ys = _loop(split.linear, residuals, directions, params)
    return outs, spread([*carry, *ys], split.nonzero)


def _split_of(given: Mask, array_type: type, params: Params) -> _Split:
    body, constants, carries = params["body"], params["constants"], params["carries"]
    return once(body, _split, given, constants, carries, array_type)  # type: ignore[no-any-return]


def _known(
    split: _Split, primals: Values, params: Params
) -> tuple[tuple[Array, ...], tuple[list[Array], list[Array], list[Array]]]:
    """Run the first loop; its results, and what the second one reads of it."""
    constants, carry, xs = _parted(primals, params)
    constants = [*constants, *split.prelude.evaluate(constants)]
    length, reverse = params["length"], params["reverse"]
    carry, ys = loop(split.known, constants, carry, xs, length, reverse)
    own = len(params["body"].outputs) - params["carries"]
    return (*carry, *ys[:own]), (
        [constants[i] for i in split.from_constants],
        [],
        [*[xs[i] for i in split.from_xs], *[ys[i] for i in split.from_ys]],
    )


def _split(
    body: Program, given: Mask, constants: int, carries: int, array_type: type
) -> _Split:
    params = {"constants": constants, "carries": carries}

    def step(mask: Mask) -> Mask:
        out = linearized(body, mask, array_type).nonzero[:carries]
        return _carried(mask, out, constants)

    mask = fixpoint(given, step)
    parts = linearized(body, mask, array_type)
    count = len(body.outputs)
    prelude, known = _without_invariants(parts.known, constants)
    held = list(known.inputs[: constants + len(prelude.outputs)])
    xs = list(known.inputs[len(held) + carries :])
    ys = list(known.outputs[carries:count])

    residuals = parts.known.outputs[count:]
    variables = parts.linear.inputs[: len(residuals)]
    reads: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    for value, variable in zip(residuals, variables, strict=True):
        for place, source in enumerate((held, xs, ys)):
            # an output may be an array, which has no truth value to compare by
            found = [i for i, v in enumerate(source) if v is value]
            if found:
                reads[place].append((found[0], variable))
                break
        else:
            ys.append(value)
            reads[2].append((len(ys) - 1, variable))

    tangents = _parted(spread(parts.linear.inputs[len(residuals) :], mask), params)
    of_constants, of_carry, of_xs = (
        [t for t in part if t is not None] for part in tangents
    )
    inputs = [
        *[v for _, v in reads[0]],
        *of_constants,
        *of_carry,
        *[v for _, v in (*reads[1], *reads[2])],
        *of_xs,
    ]
    rates = spread(parts.linear.outputs, parts.nonzero)
    carry_mask = mask[constants : constants + carries]
    outputs = [
        *_carry_rates(rates[:carries], carry_mask, body, array_type),
        *[t for t in rates[carries:] if t is not None],
    ]
    return _Split(
        mask,
        prelude,
        Program(known.inputs, known.equations, [*known.outputs[:carries], *ys]),
        Program(inputs, parts.linear.equations, outputs),
        tuple([i for i, _ in reads[0]]),
        tuple([i for i, _ in reads[1]]),
        tuple([i for i, _ in reads[2]]),
        (*carry_mask, *parts.nonzero[carries:]),
    )


def _without_invariants(body: Program, constants: int) -> tuple[Program, Program]:
    """Move out of a loop what depends on its constants alone.

    Returns
    -------
    prelude : Program
        From the constants to what the body reads of it.
    body : Program
        Takes the results of the prelude after the constants.
    """
    fixed = set(body.inputs[:constants])
    before, inside = [], []
    for e in body.equations:
        if all(type(v) is not Var or v in fixed for v in e.inputs):
            before.append(e)
            fixed.update(e.outputs)
        else:
            inside.append(e)
    fixed.difference_update(body.inputs)
    read = [v for e in inside for v in e.inputs] + list(body.outputs)
    results = list(dict.fromkeys(v for v in read if type(v) is Var and v in fixed))
    own, rest = body.inputs[:constants], body.inputs[constants:]
    return (
        Program(own, before, results),
        Program([*own, *results, *rest], inside, body.outputs),
    )


# --------------------------------------------------------------------------- transpose


def _transpose(cts: Values, args: Values, params: Params) -> list[Any]:
    body, constants = params["body"], params["constants"]
    carries = params["carries"]
    variable = tuple([type(a) is Var for a in args])

    def step(mask: Mask) -> Mask:
        return _carried(mask, depends(body, mask)[:carries], constants)

    mask = fixpoint(variable, step)
    if all(_parted(mask, params)[1]):
        found = _transpose_linear(cts, args, mask, params)
    else:
        found = _transpose_partly(cts, args, mask, params)
    return [ct if v else None for ct, v in zip(found, variable, strict=True)]


def _transpose_partly(
    cts: Values, args: Values, mask: Mask, params: Params
) -> list[Any]:
    """Cotangents where a part of the carry is not linear, such as a counter.

    Its values are computed forwards, in the first loop of the linearisation, whose
    second loop is linear as a whole.
    """
    like = [v for v in (*cts, *args) if v is not None and type(v) is not Var]
    values = [zeros_like(a, like) if m else a for a, m in zip(args, mask)]
    split = _split_of(mask, array_type_of(like), params)
    _, residuals = _known(split, values, params)
    linear = [
        chosen(v, m) for v, m in zip(_parted(args, params), _parted(mask, params))
    ]
    operands = [[*r, *v] for r, v in zip(residuals, linear, strict=True)]
    own = tuple([m for part in zip(residuals, linear) for m in _flags(*part)])
    inner = {
        **params,
        "body": split.linear,
        "constants": len(operands[0]),
        "carries": len(operands[1]),
        "outputs": chosen(params["outputs"], split.nonzero),
    }
    flat = [v for part in operands for v in part]
    back = _transpose_linear(chosen(cts, split.nonzero), flat, own, inner)
    return spread(chosen(back, own), mask)


def _flags(residuals: Values, linear: Values) -> Mask:
    return (*[False] * len(residuals), *[True] * len(linear))


class _Backward(NamedTuple):
    """The body of the loop that runs backwards."""

    body: Program
    constants: Mask
    """Which of the linear constants have a cotangent."""
    carry: Mask
    """Which carries have one, in the course of the loop."""
    xs: Mask
    """Which of the linear inputs have one."""


def _transpose_linear(
    cts: Values, args: Values, mask: Mask, params: Params
) -> list[Any]:
    """Cotangents of a loop whose whole carry is linear."""
    carries, outputs = params["carries"], params["outputs"]
    like = [v for v in (*cts, *args) if v is not None and type(v) is not Var]
    back: _Backward = once(
        params["body"],
        _backward,
        mask,
        tuple([ct is not None for ct in cts]),
        params["constants"],
        carries,
        array_type_of(like),
    )
    constants, carry, xs = _parted(args, params)
    in_constants, _, in_xs = _parted(mask, params)
    sums = chosen(chosen(constants, in_constants), back.constants)
    carry_cts = [
        zeros_like(v, like) if ct is None else ct
        for ct, v in zip(cts[:carries], outputs)
    ]
    found, of_xs = loop(
        back.body,
        [a for a, m in zip(constants, in_constants) if not m],
        [*[zeros_like(v, like) for v in sums], *chosen(carry_cts, back.carry)],
        [
            *[a for a, m in zip(xs, in_xs) if not m],
            *[ct for ct in cts[carries:] if ct is not None],
        ],
        params["length"],
        not params["reverse"],
    )
    return [
        *spread(spread(found[: len(sums)], back.constants), in_constants),
        *spread(found[len(sums) :], back.carry),
        *spread(spread(of_xs, back.xs), in_xs),
    ]


def _backward(
    body: Program,
    mask: Mask,
    given: Mask,
    constants: int,
    carries: int,
    array_type: type,
) -> _Backward:
    params = {"constants": constants, "carries": carries}
    in_constants, _, in_xs = _parted(mask, params)
    first = sum(in_constants)
    second = first + carries

    def form_for(cotangents: Mask) -> Any:
        return transposed(body, mask, cotangents, array_type)

    def step(cotangents: Mask) -> Mask:
        found = form_for(cotangents).nonzero[first:second]
        return (*found, *cotangents[carries:])

    cotangents = fixpoint(given, step)
    form = form_for(cotangents)
    on_carry = cotangents[:carries]
    nonzero = form.nonzero[:first], form.nonzero[first:second], form.nonzero[second:]
    held = _parted(body.inputs, params)
    linear = chosen(held[0], in_constants)
    sums = chosen(linear, nonzero[0])
    rest = [v for v, m in zip(held[0], in_constants) if not m]
    rest_xs = [v for v, m in zip(held[2], in_xs) if not m]
    arriving = form.program.inputs[len(rest) + len(rest_xs) :]
    inputs = [*rest, *sums, *arriving[: sum(on_carry)], *rest_xs]
    inputs += arriving[sum(on_carry) :]

    def run(*args: Array) -> list[Array]:
        held, args = args[: len(rest)], args[len(rest) :]
        totals, args = args[: len(sums)], args[len(sums) :]
        carry_cts, args = args[: sum(on_carry)], args[sum(on_carry) :]
        xs, y_cts = args[: len(rest_xs)], args[len(rest_xs) :]
        found = form.program.evaluate([*held, *xs, *carry_cts, *y_cts])
        full = spread(found, form.nonzero)
        terms = [ct for ct in full[:first] if ct is not None]
        return [
            *[a + b for a, b in zip(totals, terms, strict=True)],
            *_carry_rates(full[first:second], on_carry, body, array_type),
            *[ct for ct in full[second:] if ct is not None],
        ]

    sums = [Var(v.shape, v.dtype) for v in sums]
    return _Backward(written(run, inputs, array_type), nonzero[0], on_carry, nonzero[2])


# ------------------------------------------------------------------------------- batch


def _batch(values: Values, axes: Values, **params: Any) -> tuple[Any, Any]:
    size = next(shape_of(v)[a] for v, a in zip(values, axes) if a is not None)
    constants, carry, xs = _parted(values, params)
    constant_axes, carry_axes, xs_axes = _parted(axes, params)
    # a slice is taken along the first axis
    xs = [move_axis(x, 0, 1) if a == 0 else x for x, a in zip(xs, xs_axes)]
    slice_axes = [a if a is None else max(a - 1, 0) for a in xs_axes]
    inner = (*constant_axes, *carry_axes, *slice_axes)
    form = once(
        params["body"],
        _batched,
        inner,
        params["constants"],
        params["carries"],
        size,
        array_type_of(values),
    )
    carry = [
        repeated(v, size, namespace(*values)) if a is None and b == 0 else v
        for v, a, b in zip(carry, carry_axes, form.carry)
    ]
    length, reverse = params["length"], params["reverse"]
    carry, ys = loop(form.body, constants, carry, xs, length, reverse)
    return (*carry, *ys), (*form.carry, *[a if a is None else a + 1 for a in form.ys])


class _Batched(NamedTuple):
    """A body for all examples."""

    body: Program
    carry: tuple[int | None, ...]
    """Where the examples are in each carry."""
    ys: tuple[int | None, ...]
    """Where they are in a slice of each output."""


def _batched(
    body: Program,
    axes: tuple[int | None, ...],
    constants: int,
    carries: int,
    size: int,
    array_type: type,
) -> _Batched:
    stop = constants + carries
    while True:
        form = batched(body, axes, size, array_type)
        carry = tuple(
            [
                0 if a is None and b is not None else a
                for a, b in zip(axes[constants:stop], form.axes)
            ]
        )
        if carry == axes[constants:stop]:
            break
        axes = (*axes[:constants], *carry, *axes[stop:])

    xp = backend_of_type(array_type).namespace

    def run(*args: Array) -> list[Array]:
        outs = form.program.evaluate(args)
        return [
            *[
                out if wanted is None else with_axis(out, axis, wanted, size, xp)
                for out, axis, wanted in zip(outs, form.axes, carry)
            ],
            *outs[carries:],
        ]

    return _Batched(
        written(run, form.program.inputs, array_type), carry, form.axes[carries:]
    )


def _flops(inputs: Values, outputs: Values, params: Params) -> float:
    return float(params["length"] * params["body"].cost().flops)


scan = Primitive(
    "scan",
    _impl,
    _abstract,
    dual=_dual,
    transpose=_transpose,
    batch=_batch,
    flops=_flops,
    multiple=True,
    family="control",
)
scan.definition = """
def scan(*args, body, constants, carries, length, reverse):
    held, xs = args[:constants], args[constants + carries :]
    carry, ys = args[constants : constants + carries], []
    for i in reversed(range(length)) if reverse else range(length):
        outs = body(*held, *carry, *[x[i] for x in xs])
        carry = outs[:carries]
        ys.append(outs[carries:])
    if not ys:
        outs = body(*held, *carry, *[np.zeros(x.shape[1:], x.dtype) for x in xs])
        return (*carry, *[np.stack([y])[:0] for y in outs[carries:]])
    return (*carry, *[np.stack(y) for y in zip(*(ys[::-1] if reverse else ys))])
"""
