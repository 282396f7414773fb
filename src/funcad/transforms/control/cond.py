"""``cond``, one of several programs chosen by an integer, as a primitive.

Operands are the index, which is in range, and the operands of the branches, which all
take the same ones and return results of the same shapes and dtypes.

- Linearised, each branch returns its residuals next to its results; residuals of
  different branches share a place where they have the same shape and dtype, and what a
  branch leaves empty is zero.
- For a batched index all branches run, and each example selects its own result.  A
  branch that has no finite derivative at the values of another branch's examples makes
  theirs NaN, as with ``where``: give it values at which it has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from funcad.backends import backend_of_type
from funcad.compile.compiled import compiled
from funcad.core.program import Program, Var
from funcad.core.tracing import (
    Array,
    Params,
    Primitive,
    array_type_of,
    bind,
    shape_of,
)
from funcad.primitives.elementwise import select
from funcad.primitives.shape import move_axis, reshape
from funcad.transforms.calls import spread
from funcad.transforms.control.bodies import (
    chosen,
    recorded,
    with_axis,
    written,
    zeros_in_program,
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


def choose(
    index: Array, branches: tuple[Program, ...], operands: Values
) -> tuple[Array, ...]:
    """Run one of several programs without captured tracers.

    Parameters
    ----------
    index : array
        A scalar integer, from 0 to the number of branches without it.
    branches : tuple of Program
        With the same inputs, and outputs of the same shapes and dtypes.
    operands : sequence of arrays
        Their operands.

    Returns
    -------
    tuple of arrays
        The outputs of the branch.
    """
    return bind(cond, (index, *operands), {"branches": branches})  # type: ignore[no-any-return]


def _impl(
    index: Array, *operands: Array, branches: tuple[Program, ...]
) -> tuple[Array, ...]:
    return compiled(branches[int(index)], array_type_of(operands))(*operands)


def _abstract(index: Any, *operands: Any, branches: tuple[Program, ...]) -> list[Any]:
    return avals_out(branches[0])


# ------------------------------------------------------------------------ forward mode


def _dual(primals: Values, tangents: Values, params: Params) -> Any:
    rule = _linearize if recorded(tangents) else _differentiate
    index, *operands = primals
    # the index is an integer
    mask = tuple([t is not None for t in tangents[1:]])
    directions = [t for t in tangents[1:] if t is not None]
    like = array_type_of(primals)
    return rule(index, operands, directions, mask, params["branches"], like)


def _any(masks: Sequence[Mask]) -> Mask:
    return tuple([any(column) for column in zip(*masks, strict=True)])


def _differentiate(
    index: Array,
    operands: Values,
    directions: Values,
    mask: Mask,
    branches: tuple[Program, ...],
    array_type: type,
) -> Any:
    forms = [differentiated(b, mask, array_type) for b in branches]
    nonzero = _any([form.nonzero for form in forms])
    joint = tuple(
        [once(b, _forward, mask, nonzero, array_type) for b in branches],
    )
    count = len(nonzero)
    outs = choose(index, joint, [*operands, *directions])
    return outs[:count], spread(outs[count:], nonzero)


def _forward(body: Program, mask: Mask, nonzero: Mask, array_type: type) -> Program:
    program, own = differentiated(body, mask, array_type)
    count = len(body.outputs)
    rates = _filled(spread(program.outputs[count:], own), nonzero, body, array_type)
    outputs = [*program.outputs[:count], *rates]
    return Program(program.inputs, program.equations, outputs)


def _filled(rates: Values, nonzero: Mask, body: Program, array_type: type) -> list[Any]:
    """The tangents that some branch has, with this one's zeros among them."""
    return [
        zeros_in_program(v, array_type) if t is None else t
        for t, m, v in zip(rates, nonzero, body.outputs, strict=True)
        if m
    ]


# ----------------------------------------------------------------------- linearisation


class _Split(NamedTuple):
    """Branches as some that keep residuals, and some that are linear in tangents."""

    known: tuple[Program, ...]
    linear: tuple[Program, ...]
    """From operands that they read, residuals and tangents to tangents."""
    from_operands: tuple[int, ...]
    nonzero: Mask


def _linearize(
    index: Array,
    operands: Values,
    directions: Values,
    mask: Mask,
    branches: tuple[Program, ...],
    array_type: type,
) -> Any:
    split = once(branches[0], _split, branches[1:], mask, array_type)
    outs = choose(index, split.known, operands)
    count = len(branches[0].outputs)
    outs, residuals = outs[:count], outs[count:]
    if not any(split.nonzero):
        return outs, None
    read = [operands[i] for i in split.from_operands]
    rates = choose(index, split.linear, [*read, *residuals, *directions])
    return outs, spread(rates, split.nonzero)


def _split(
    first: Program, others: tuple[Program, ...], mask: Mask, array_type: type
) -> _Split:
    branches = (first, *others)
    parts = [linearized(b, mask, array_type) for b in branches]
    nonzero = _any([p.nonzero for p in parts])
    count = len(first.outputs)
    # a place for each residual: one of the operands, or one that branches share
    slots: list[Var] = []
    read: dict[int, None] = {}
    places: list[list[tuple[bool, int]]] = []
    for p in parts:
        taken: set[int] = set()
        own: list[tuple[bool, int]] = []
        operands = {v: i for i, v in enumerate(p.known.inputs)}
        for r in p.known.outputs[count:]:
            if r in operands:
                read[operands[r]] = None
                own.append((True, operands[r]))
                continue
            i = next(
                (i for i, s in enumerate(slots) if i not in taken and _alike(s, r)),
                len(slots),
            )
            if i == len(slots):
                slots.append(r)
            taken.add(i)
            own.append((False, i))
        places.append(own)

    known, linear = [], []
    for b, p, own in zip(branches, parts, places):
        residuals = p.known.outputs[count:]
        kept: list[Any] = [
            s.weak(0) if s.weak else zeros_in_program(s, array_type) for s in slots
        ]
        reading = {i: _like(first.inputs[i]) for i in read}
        filled = [_like(s) for s in slots]
        variables = p.linear.inputs[: len(residuals)]
        for (operand, i), r, v in zip(own, residuals, variables, strict=True):
            if operand:
                reading[i] = v
            else:
                kept[i] = r
                filled[i] = v
        known.append(
            Program(
                p.known.inputs, p.known.equations, [*p.known.outputs[:count], *kept]
            )
        )
        inputs = [*reading.values(), *filled, *p.linear.inputs[len(residuals) :]]
        rates = spread(p.linear.outputs, p.nonzero)
        outputs = _filled(rates, nonzero, b, array_type)
        linear.append(Program(inputs, p.linear.equations, outputs))
    return _Split(tuple(known), tuple(linear), tuple(read), nonzero)


def _like(v: Var) -> Var:
    return Var(v.shape, v.dtype, v.weak)


def _alike(v: Any, w: Any) -> bool:
    return (v.shape, v.dtype, v.weak) == (w.shape, w.dtype, w.weak)


# --------------------------------------------------------------------------- transpose


def _transpose(cts: Values, args: Values, params: Params) -> list[Any]:
    index, *operands = args
    branches = params["branches"]
    linear = tuple([type(a) is Var for a in operands])
    given = tuple([ct is not None for ct in cts])
    present = chosen(cts, given)
    rest = [a for a, m in zip(operands, linear) if not m]
    like = array_type_of([*present, *rest])
    forms = [transposed(b, linear, given, like) for b in branches]
    nonzero = _any([form.nonzero for form in forms])
    back = tuple([once(b, _backward, linear, given, nonzero, like) for b in branches])
    found = choose(index, back, [*rest, *present])
    return [None, *spread(spread(found, nonzero), linear)]


def _backward(
    body: Program, linear: Mask, given: Mask, nonzero: Mask, array_type: type
) -> Program:
    program, own = transposed(body, linear, given, array_type)
    outputs = [
        zeros_in_program(v, array_type) if ct is None else ct
        for ct, m, v in zip(
            spread(program.outputs, own), nonzero, chosen(body.inputs, linear)
        )
        if m
    ]
    return Program(program.inputs, program.equations, outputs)


# ------------------------------------------------------------------------------- batch


def _batch(
    values: Values, axes: Values, branches: tuple[Program, ...]
) -> tuple[Any, Any]:
    size = next(shape_of(v)[a] for v, a in zip(values, axes) if a is not None)
    (index, *operands), (index_axis, *operand_axes) = values, axes
    inner = tuple(operand_axes)
    like = array_type_of(values)
    forms = [batched(b, inner, size, like) for b in branches]
    if index_axis is not None:
        rows = [form.program.evaluate(operands) for form in forms]
        outs, avals = rows[0], avals_out(branches[0])
        if len(forms) == 1:
            return tuple(outs), forms[0].axes
        outs = [_first(x, a) for x, a in zip(outs, forms[0].axes)]
        for i, (row, form) in enumerate(zip(rows[1:], forms[1:]), 1):
            outs = [
                by_example(index == i, _first(x, a), old, len(shape))
                for x, a, old, (shape, _) in zip(row, form.axes, outs, avals)
            ]
        return tuple(outs), [0] * len(outs)
    mapped = _any([tuple([a is not None for a in form.axes]) for form in forms])
    joint = tuple([once(b, _batched, inner, size, mapped, like) for b in branches])
    return choose(index, joint, operands), [0 if m else None for m in mapped]


def _first(value: Array, axis: int | None) -> Array:
    return value if axis is None else move_axis(value, axis, 0)


def by_example(condition: Array, new: Array, old: Array, rank: int) -> Array:
    """Select for each example; what is the same for all of them broadcasts.

    Parameters
    ----------
    condition : array
        Booleans, one an example.
    new, old : arrays
        One of which, or both, may lack the examples' axis.
    rank : int
        Number of dimensions of an example's value.
    """
    wide = reshape(condition, shape=(*condition.shape, *(1,) * rank))
    return select(wide, new, old)


def _batched(
    body: Program,
    axes: tuple[int | None, ...],
    size: int,
    mapped: Mask,
    array_type: type,
) -> Program:
    form = batched(body, axes, size, array_type)
    xp = backend_of_type(array_type).namespace

    def run(*args: Array) -> list[Array]:
        return [
            with_axis(out, axis, 0, size, xp) if m else out
            for out, axis, m in zip(form.program.evaluate(args), form.axes, mapped)
        ]

    return written(run, form.program.inputs, array_type)


def _flops(inputs: Values, outputs: Values, params: Params) -> float:
    return float(max(b.cost().flops for b in params["branches"]))


cond = Primitive(
    "cond",
    _impl,
    _abstract,
    dual=_dual,
    transpose=_transpose,
    batch=_batch,
    flops=_flops,
    multiple=True,
    family="control",
)
cond.definition = """
def cond(index, *operands, branches):
    return branches[int(index)](*operands)
"""
