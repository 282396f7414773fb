"""Programs made of a program: its derivative, its transpose, its batched form.

A primitive whose parameters hold programs (a jitted call, a loop, a checkpoint) has
rules that transform them.  What they need is here: each function runs a program under
the traces of a transform inside a Stage trace, which writes the result down, and keeps
it in ``program.derived`` so that it is made once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from funcad.compile.dead_code import eliminate_dead_code
from funcad.core.program import Equation, Program, Var, mapped
from funcad.core.tracing import PYTHON_SCALARS, Array, Tracer, dtype_of, shape_of
from funcad.transforms.batch import Batch, BatchTrace
from funcad.transforms.dual import Dual, DualTrace
from funcad.transforms.linear import Linear, LinearTrace, transpose
from funcad.transforms.stage import Staged, StageTrace

Mask = tuple[bool, ...]


class Linearization(NamedTuple):
    """A program split into what runs at once and what is linear in the tangents."""

    known: Program
    """From the inputs to the outputs, and then the residuals."""
    linear: Program
    """From the residuals, and then the tangents, to the tangents of the outputs."""
    nonzero: Mask
    """Which outputs have a tangent; ``linear`` returns those alone."""


class Transposition(NamedTuple):
    """A program that is linear in some of its inputs, run backwards."""

    program: Program
    """From the other inputs, and then the cotangents, to cotangents of the inputs."""
    nonzero: Mask
    """Which of the linear inputs have a cotangent; ``program`` returns those alone."""


class ForwardDerivative(NamedTuple):
    """A program together with its directional derivative."""

    program: Program
    """From inputs, and then tangents, to outputs, and then their tangents."""
    nonzero: Mask
    """Which outputs have a tangent; ``program`` returns those alone."""


class Batching(NamedTuple):
    """A program for all examples at once."""

    program: Program
    axes: tuple[int | None, ...]
    """Where the examples are in each output; ``None`` where all are the same."""


def avals_out(program: Program) -> list[tuple[tuple[int, ...], Any]]:
    """Shape and dtype of each output, a Python type for the dtype of its numbers."""

    def kind(v: Any) -> Any:
        if type(v) in PYTHON_SCALARS:
            return type(v)
        return getattr(v, "weak", None) or dtype_of(v)

    return [(shape_of(v), kind(v)) for v in program.outputs]


def close(program: Program) -> tuple[Program, list[Tracer]]:
    """Make inputs of the tracers that a program has captured.

    Returns
    -------
    program : Program
        Takes them before its own inputs.
    captured : list of Tracer
        What to pass for them.
    """
    captured: dict[int, tuple[Tracer, Var]] = {}

    def closed(v: Any) -> Any:
        if not isinstance(v, Tracer):
            return v
        if id(v) not in captured:
            captured[id(v)] = (v, Var(v.shape, v.dtype, v.weak))
        return captured[id(v)][1]

    equations = [
        e._replace(inputs=[closed(v) for v in e.inputs])
        if any(isinstance(v, Tracer) for v in e.inputs)
        else e
        for e in program.equations
    ]
    outputs = [closed(v) for v in program.outputs]
    if not captured:
        return program, []
    tracers, variables = zip(*captured.values())
    return Program([*variables, *program.inputs], equations, outputs), list(tracers)


def own_constants(program: Program, copies: dict[int, Any] | None = None) -> Program:
    """The program with copies of the arrays that others may write into later.

    ``copies`` are those made so far, of arrays and programs, by identity.
    """
    known: dict[int, Any] = {} if copies is None else copies

    def own(x: Any) -> Any:
        kind = type(x)
        if kind is Program:
            if id(x) not in known:
                known[id(x)] = own_constants(x, known)
            return known[id(x)]
        if kind is Var or isinstance(x, Tracer) or not is_writeable(x):
            return x
        if id(x) not in known:
            known[id(x)] = copy = x.copy()
            if hasattr(copy, "setflags"):
                copy.setflags(write=False)  # one copy will do
        return known[id(x)]

    equations = []
    for e in program.equations:
        inputs = [own(v) for v in e.inputs]
        params = {k: mapped(v, own) for k, v in e.params.items()}
        changed = any(a is not b for a, b in zip(inputs, e.inputs)) or any(
            v is not e.params[k] for k, v in params.items()
        )
        equations.append(e._replace(inputs=inputs, params=params) if changed else e)
    outputs = [own(v) for v in program.outputs]
    pairs = [*zip(equations, program.equations), *zip(outputs, program.outputs)]
    if all(a is b for a, b in pairs):
        return program
    return Program(program.inputs, equations, outputs)


def is_writeable(x: Any) -> bool:
    """Whether it is an array that somebody may write into."""
    flags = getattr(x, "flags", None)
    return bool(shape_of(x) if flags is not None else ()) and getattr(
        flags, "writeable", True
    )


def linearized(program: Program, mask: Mask, array_type: type) -> Linearization:
    """Split a program by which of its inputs have tangents.

    Parameters
    ----------
    program : Program
        Without captured tracers.
    mask : tuple of bool
        Whether each input has a tangent.
    array_type : type
        Of the arrays that the program will run on.

    Returns
    -------
    Linearization
    """
    return once(program, _linearize, mask, array_type)  # type: ignore[no-any-return]


def transposed(
    program: Program, linear: Mask, cotangents: Mask, array_type: type
) -> Transposition:
    """Run a program backwards from its outputs to the inputs in which it is linear.

    Parameters
    ----------
    program : Program
        Without captured tracers.
    linear : tuple of bool
        Which inputs are to be transposed.
    cotangents : tuple of bool
        Which outputs have a cotangent that is not zero.
    array_type : type
        Of the arrays that the program will run on.

    Returns
    -------
    Transposition
    """
    return once(program, _transpose, linear, cotangents, array_type)  # type: ignore[no-any-return]


def differentiated(program: Program, mask: Mask, array_type: type) -> ForwardDerivative:
    """The program of values and tangents, in one; parameters as for `linearized`."""
    return once(program, _differentiate, mask, array_type)  # type: ignore[no-any-return]


def divided(program: Program, mask: Mask, array_type: type) -> ForwardDerivative:
    """As `differentiated`, but that what follows tangents depends on them alone.

    Of a loop or a branch that computes values and tangents in one, the tangents cannot
    be transposed; here each is two equations.
    """
    return once(program, _divide, mask, array_type)  # type: ignore[no-any-return]


def batched(
    program: Program, axes: tuple[int | None, ...], size: int, array_type: type
) -> Batching:
    """The program for ``size`` examples, which lie along ``axes`` of the inputs."""
    return once(program, _batch, axes, size, array_type)  # type: ignore[no-any-return]


def once(program: Program, derive: Callable[..., Any], *how: Any) -> Any:
    """What ``derive(program, *how)`` gives, made once for each program."""
    key = (derive, *how)
    found = program.derived.get(key)
    if found is None:
        # two threads may both get here: the first one's result is everybody's
        found = program.derived.setdefault(key, derive(program, *how))
    return found


# ------------------------------------------------------------------------ how they run


def _variables(program: Program) -> list[Var]:
    return [Var(v.shape, v.dtype, v.weak) for v in program.inputs]


def _tangents(
    trace: LinearTrace, variables: Sequence[Var], mask: Sequence[bool]
) -> list[Linear]:
    return [trace.variable(v.shape, v.dtype) for v, m in zip(variables, mask) if m]


def _bare(x: Any, trace: StageTrace) -> Any:
    """What a program writes for a value: the variable of this trace's tracer."""
    return x.variable if type(x) is Staged and x._trace is trace else x


def _linearize(program: Program, mask: Mask, array_type: type) -> Linearization:
    stage, dual = StageTrace(array_type), DualTrace()
    inputs = _variables(program)
    primals = [Staged(stage, v) for v in inputs]
    linear = LinearTrace(primals or [Staged(stage, Var((), float))])
    tangents = _tangents(linear, inputs, mask)
    given = iter(tangents)
    duals = [Dual(dual, x, next(given)) if m else x for x, m in zip(primals, mask)]
    pairs = [dual.unpack(x) for x in program.evaluate(duals)]
    recorded = linear.program(tangents, [t for _, t in pairs if t is not None])
    recorded = eliminate_dead_code(recorded)
    residuals: dict[Var, None] = {}
    equations = []
    for e in recorded.equations:
        bare = [_bare(v, stage) for v in e.inputs]
        for v, b in zip(e.inputs, bare):
            if b is not v:
                residuals[b] = None
        equations.append(Equation(e.primitive, bare, e.params, e.outputs, e.line))
    known = Program(
        inputs, stage.equations, [*(_bare(p, stage) for p, _ in pairs), *residuals]
    )
    return Linearization(
        eliminate_dead_code(known),
        Program([*residuals, *recorded.inputs], equations, recorded.outputs),
        tuple([t is not None for _, t in pairs]),
    )


def _transpose(
    program: Program, linear: Mask, cotangents: Mask, array_type: type
) -> Transposition:
    stage = StageTrace(array_type)
    inputs = _variables(program)
    rest = [Staged(stage, v) for v, m in zip(inputs, linear) if not m]
    outputs = [
        Var(shape, dtype if not isinstance(dtype, type) else dtype_of(dtype(0)))
        for (shape, dtype), m in zip(avals_out(program), cotangents)
        if m
    ]
    given = iter([Staged(stage, v) for v in outputs])
    cts = [next(given) if m else None for m in cotangents]
    trace = LinearTrace([Staged(stage, Var((), float))])
    variables = _tangents(trace, inputs, linear)
    free, held = iter(variables), iter(rest)
    outs = program.evaluate([next(free) if m else next(held) for m in linear])
    recorded = trace.program(variables, outs)
    back = transpose(recorded, cts)
    return Transposition(
        eliminate_dead_code(
            Program(
                [*(x.variable for x in rest), *outputs],
                stage.equations,
                [_bare(ct, stage) for ct in back if ct is not None],
            )
        ),
        tuple([ct is not None for ct in back]),
    )


def _differentiate(program: Program, mask: Mask, array_type: type) -> ForwardDerivative:
    stage, dual = StageTrace(array_type), DualTrace()
    inputs = _variables(program)
    directions = [Var(v.shape, v.dtype) for v, m in zip(inputs, mask) if m]
    given = iter(directions)
    duals = [
        Dual(dual, Staged(stage, v), Staged(stage, next(given)))
        if m
        else Staged(stage, v)
        for v, m in zip(inputs, mask)
    ]
    pairs = [dual.unpack(x) for x in program.evaluate(duals)]
    outputs = [p for p, _ in pairs] + [t for _, t in pairs if t is not None]
    return ForwardDerivative(
        eliminate_dead_code(
            Program(
                [*inputs, *directions],
                stage.equations,
                [_bare(x, stage) for x in outputs],
            )
        ),
        tuple([t is not None for _, t in pairs]),
    )


def _divide(program: Program, mask: Mask, array_type: type) -> ForwardDerivative:
    known, linear, nonzero = linearized(program, mask, array_type)
    count = len(program.outputs)
    # the linear program's first inputs are the variables of the residuals
    directions = linear.inputs[len(known.outputs) - count :]
    return ForwardDerivative(
        Program(
            [*known.inputs, *directions],
            [*known.equations, *linear.equations],
            [*known.outputs[:count], *linear.outputs],
        ),
        nonzero,
    )


def _batch(
    program: Program, axes: tuple[int | None, ...], size: int, array_type: type
) -> Batching:
    stage, trace = StageTrace(array_type), BatchTrace(size)
    inputs = [
        Var(v.shape, v.dtype, v.weak)
        if a is None
        else Var((*v.shape[:a], size, *v.shape[a:]), v.dtype)
        for v, a in zip(program.inputs, axes)
    ]
    values: list[Array] = [
        Staged(stage, v) if a is None else Batch(trace, Staged(stage, v), a)
        for v, a in zip(inputs, axes)
    ]
    outs = program.evaluate(values)
    unwrapped = [
        (x.value, x.axis) if type(x) is Batch and x._trace is trace else (x, None)
        for x in outs
    ]
    return Batching(
        eliminate_dead_code(
            Program(inputs, stage.equations, [_bare(x, stage) for x, _ in unwrapped])
        ),
        tuple([a for _, a in unwrapped]),
    )
