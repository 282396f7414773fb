"""Primitives that call a function whose derivative or batched form the user has given.

``custom_jvp_call``, ``custom_vjp_call`` and ``custom_vmap_call`` have the function and
the rule, both of flat leaves, in their parameters.  A transform that the rule is for
runs the rule; every other one runs the function, or keeps the call.  Where values are
there, the function is called as it is, so that Python may branch on them; where there
are none (a staged or linear program is being written), the parameters hold its program,
and the call is one equation, which can be differentiated and batched later.

A trace is found by the arguments, as ``bind`` finds it, and by what the function and
the rule close over, which shows when they run: :class:`Captured`.  What a program
closes over becomes its first inputs; ``captured`` counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from funcad.backends import backend_of_type
from funcad.compile.compiled import compiled
from funcad.compile.dead_code import eliminate_dead_code
from funcad.core.counting import nothing
from funcad.core.errors import (
    ConcretizationError,
    CustomRuleError,
    EscapedTracerError,
    ForwardModeError,
)
from funcad.core.program import Equation, Program, Var, mapped
from funcad.core.tracing import (
    Array,
    Params,
    Primitive,
    Trace,
    Tracer,
    array_type_of,
    aval_of,
    bind,
    dtype_of,
    raise_escaped,
    shape_of,
)
from funcad.primitives.shape import broadcast_to, move_axis
from funcad.transforms.arguments import has_tangent, zero_tangent
from funcad.transforms.batch import Batch, BatchTrace
from funcad.transforms.calls import jit_call, spread
from funcad.transforms.derived import avals_out, close, once
from funcad.transforms.dual import Dual, DualTrace
from funcad.transforms.linear import LinearTrace, transpose
from funcad.transforms.stage import Staged, StageTrace

Function = Any  # a Program, or a callable from a sequence of leaves to one
Mask = tuple[bool, ...]


class Captured(Exception):
    """A function closes over a tracer of a higher level than its arguments have."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace


def call(
    primitive: Primitive,
    leaves: Sequence[Array],
    function: Function,
    rule: Any,
    trace: Trace | None,
) -> Sequence[Array]:
    """Call a function of leaves under the transforms of its arguments.

    Parameters
    ----------
    primitive : Primitive
        One of those below, which says what the rule is for.
    leaves : sequence of arrays
        What the function is given.
    function : callable
        From a sequence of leaves to the leaves of the result.
    rule : object
        The user's rule in terms of leaves.
    trace : Trace or None
        That of the highest level among the leaves and what the function closes over,
        as far as it is known.
    """
    captured = 0
    while True:
        try:
            return _apply(primitive, leaves, function, rule, captured, trace)
        except Captured as found:
            if not found.trace.alive:
                raise_escaped(rule.name)
            if trace is None or found.trace.level > trace.level:
                trace = found.trace
                continue
            # that of this very trace can be told apart where it is an argument
            if isinstance(function, Program):
                raise CustomRuleError(
                    f"{rule.name}: its rule {rule.described} closes over a value that "
                    "is being transformed. Make that value an argument of the "
                    "function, and of the rule."
                ) from None
            function, tracers = close(program_of(function, leaves))
            leaves, captured = [*tracers, *leaves], len(tracers)


def top_trace(values: Sequence[Any]) -> Trace | None:
    """The trace of the highest level among the values' tracers."""
    top = None
    for x in values:
        if isinstance(x, Tracer) and (top is None or x._trace.level > top.level):
            top = x._trace
    return top


def _apply(
    primitive: Primitive,
    leaves: Sequence[Array],
    function: Function,
    rule: Any,
    captured: int,
    trace: Trace | None = None,
) -> Sequence[Array]:
    trace = trace or top_trace(leaves)
    if trace is None:
        outs = run(function, leaves)
        if primitive is not custom_vmap_call:
            refuse_captured(outs, 0)
        return outs
    if not trace.alive:
        raise_escaped(rule.name)
    if not trace.computes_at_once:
        # it writes the call down, for later
        program, found = close(program_of(function, leaves))
        refuse_captured(found, trace.level)
        params = {"function": program, "rule": rule, "captured": captured + len(found)}
        return bind(primitive, [*found, *leaves], params)  # type: ignore[no-any-return]
    params = {"function": function, "rule": rule, "captured": captured, "trace": trace}
    results: Sequence[Array] = trace.process(primitive, leaves, params)
    refuse_captured(results, trace.level)
    return results


def refuse_captured(values: Sequence[Any], level: int) -> None:
    """Report tracers of a higher level than the trace that made these results."""
    trace = top_trace(values)
    if trace is not None and trace.level > level:
        raise Captured(trace)


def run(function: Function, leaves: Sequence[Array]) -> Sequence[Array]:
    """The function itself."""
    if not isinstance(function, Program):
        return function(leaves)  # type: ignore[no-any-return]
    if top_trace(leaves) is None:
        return compiled(function, array_type_of(leaves))(*leaves)
    return function.evaluate(leaves)


def program_of(
    function: Function, leaves: Sequence[Array], array_type: type | None = None
) -> Program:
    """Program of a function of leaves that look like these."""
    if isinstance(function, Program):
        return function
    trace = StageTrace(array_type or array_type_of(leaves))
    inputs = [Var(shape_of(x), dtype_of(x), _weak(x)) for x in leaves]
    try:
        outs = function([Staged(trace, v) for v in inputs])
        outputs = [
            x.variable if type(x) is Staged and x._trace is trace else x for x in outs
        ]
    finally:
        trace.alive = False
    return Program(inputs, trace.equations, outputs)


def _weak(x: Any) -> type | None:
    if isinstance(x, Tracer):
        return x.weak
    return type(x) if type(x) in (bool, int, float, complex) else None


def _impl(
    *args: Array, function: Function, rule: Any, captured: int, trace: Any = None
) -> tuple[Array, ...]:
    return tuple(run(function, args))


def _abstract(*args: Any, function: Function, **_: Any) -> list[Any]:
    return avals_out(program_of(function, args))


def _body(params: Params) -> Program:
    return params["function"]  # type: ignore[no-any-return]


def _transpose(cts: Sequence[Any], args: Sequence[Any], params: Params) -> Any:
    linear = tuple([type(a) is Var for a in args])
    rest = [a for a, m in zip(args, linear) if not m]
    avals = tuple([(a.shape, a.dtype) for a in args if type(a) is Var])
    given = _explicit(cts, params["outputs"], rest)
    back = Transposed(params["function"], linear, avals)
    return spread(back([*rest, *given]), linear)


def _explicit(
    cts: Sequence[Array | None], outputs: Sequence[Var], like: Sequence[Any]
) -> list[Array]:
    """Cotangents of those outputs that have one, zeros made explicit."""
    like = [*like, *cts]
    return [
        zeros_like_type(v.shape, v.dtype, like) if ct is None else ct
        for ct, v in zip(cts, outputs)
        if has_tangent(v)
    ]


def zeros_like_type(shape: tuple[int, ...], dtype: Any, like: Sequence[Any]) -> Array:
    """Zeros where other values live."""
    space = backend_of_type(array_type_of(like)).namespace
    return space.zeros(shape, dtype)


def ran(rule: Any, method: Callable[..., Any], *args: Any) -> Any:
    """What a rule gives; explains the tracers that it closes over and that are gone."""
    try:
        return method(*args)
    except EscapedTracerError as error:
        raise EscapedTracerError(
            f"{rule.name}: its rule {rule.described} uses a value that it closes over, "
            "and the function that this value belongs to has ended (it was staged by "
            "jit or make_program, or its transform returned) before the rule ran. Make "
            f"the value an argument of {rule.name}: the rule is given it then."
        ) from error


# -------------------------------------------------------------------- one batch of many


class Examples:
    """How leaves are mapped by a `vmap`: the trace, and the axes of examples.

    ``trace`` is that of the running ``vmap``, so that what functions close over is
    mapped along; a rule that runs later, for a program, has a trace of its own.
    """

    def __init__(self, trace: BatchTrace | None, size: int) -> None:
        self.trace = trace
        self.size = size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Examples) and self.size == other.size

    def __hash__(self) -> int:
        return hash(self.size)

    @contextmanager
    def entered(self, *values: Sequence[Any]) -> Iterator[BatchTrace]:
        """The trace to run a function of one example under."""
        trace = self.trace
        if trace is not None and trace.alive:
            tops = [top_trace(group) for group in values]
            if all(top is None or top.level < trace.level for top in tops):
                yield trace
                return
        trace = BatchTrace(self.size)
        try:
            yield trace
        finally:
            trace.alive = False

    def front(self, trace: BatchTrace, x: Any) -> Array:
        """A result with the axis of examples first, repeated where all are the same."""
        if type(x) is Batch and x._trace is trace:
            within = top_trace([x.value])
            if self.trace is not None and within is self.trace:
                raise Captured(self.trace)
            return move_axis(x.value, x.axis, 0)
        refuse_captured([x], trace.level)
        shape = (trace.size, *shape_of(x))
        if dtype_of(x).kind == "V":  # float0
            return np.zeros(shape, dtype_of(x))
        return broadcast_to(x if hasattr(x, "dtype") else np.asarray(x), shape=shape)


def one_of(trace: BatchTrace, values: Sequence[Any], axes: Sequence[int | None]) -> Any:
    """Stacked values as those of one example; ``None`` is left alone."""
    return [
        v if v is None or a is None else Batch(trace, v, a)
        for v, a in zip(values, axes, strict=True)
    ]


class BatchedFunction:
    """A function of the examples of all, with the examples along axis 0 of results."""

    def __init__(
        self, function: Function, axes: Sequence[int | None], examples: Examples
    ) -> None:
        self.function = function
        self.axes = axes
        self.examples = examples

    def __call__(self, leaves: Sequence[Array]) -> list[Array]:
        with self.examples.entered(leaves) as trace:
            outs = run(self.function, one_of(trace, leaves, self.axes))
            return [self.examples.front(trace, x) for x in outs]


def _batch_by(primitive_name: str) -> Callable[..., Any]:
    """Batching rule that makes the call of a batched function with a batched rule."""

    def batch(
        values: Sequence[Array],
        axes: Sequence[int | None],
        function: Function,
        rule: Any,
        captured: int,
        trace: Any = None,
    ) -> Any:
        sizes = [shape_of(v)[a] for v, a in zip(values, axes) if a is not None]
        examples = Examples(trace, sizes[0] if sizes else trace.size)
        outs = _apply(
            _primitives[primitive_name],
            values,
            BatchedFunction(function, tuple(axes), examples),
            rule.batched(tuple(axes[captured:]), examples),
            captured,
        )
        return outs, (0,) * len(outs)

    return batch


def _own_tangents(
    primals: Sequence[Array], tangents: Sequence[Any], params: Params
) -> tuple[Sequence[Array], Sequence[Any]]:
    """Primals and tangents of the arguments, where nothing else has a tangent."""
    count, rule = params["captured"], params["rule"]
    if any(t is not None for t in tangents[:count]) or not any(
        t is not None for t in tangents
    ):
        raise CustomRuleError(
            f"{rule.name} closes over a value that is being differentiated, and its "
            f"rule {rule.described} only says how to differentiate with respect to "
            "the arguments. Make that value an argument of the function, and of the "
            "rule; or wrap it in funcad.stop_gradient where its derivative is not "
            "wanted."
        )
    rule.arguments.refuse_tangents(tangents[count:])
    return primals[count:], tangents[count:]


def _check_foretold(outs: Sequence[Array], params: Params) -> None:
    """Refuse results of a rule that are not what the staged function returns."""
    program = params["function"]
    if isinstance(program, Program):
        params["rule"].check_results(outs, program.outputs)


# ------------------------------------------------------------------------- custom_jvp


def _jvp_dual(
    primals: Sequence[Array], tangents: Sequence[Any], params: Params
) -> tuple[Any, Any]:
    rule, trace = params["rule"], params.get("trace")
    primals, tangents = _own_tangents(primals, tangents, params)
    outs, out_tangents = ran(rule, rule.derivative, primals, tangents)
    _check_foretold(outs, params)
    if trace is not None:
        refuse_captured([*outs, *out_tangents], trace.level - 1)
    return outs, out_tangents


custom_jvp_call = Primitive(
    "custom_jvp_call",
    _impl,
    _abstract,
    dual=_jvp_dual,
    transpose=_transpose,
    batch=_batch_by("custom_jvp_call"),
    body=_body,
    multiple=True,
    family="call",
)


# ------------------------------------------------------------------------- custom_vjp


def _vjp_dual(
    primals: Sequence[Array], tangents: Sequence[Any], params: Params
) -> tuple[Any, Any]:
    rule, trace = params["rule"], params.get("trace")
    primals, tangents = _own_tangents(primals, tangents, params)
    outs, residuals, pullback = ran(rule, rule.forward, primals)
    _check_foretold(outs, params)
    if trace is not None:
        refuse_captured([*outs, *residuals], trace.level - 1)
    smooth = tuple([has_tangent(x) for x in outs])
    given = [t for t in tangents if t is not None]
    out_tangents = bind(
        custom_vjp_tangent,
        [*residuals, *given],
        {
            "pullback": pullback,
            "mask": tuple([t is not None for t in tangents]),
            "avals": tuple([aval_of(x) for x, s in zip(outs, smooth) if s]),
        },
    )
    return outs, spread(out_tangents, smooth)


custom_vjp_call = Primitive(
    "custom_vjp_call",
    _impl,
    _abstract,
    dual=_vjp_dual,
    transpose=_transpose,
    batch=_batch_by("custom_vjp_call"),
    body=_body,
    multiple=True,
    family="call",
)


def values_in_reverse(program: Program, array_type: type) -> Program:
    """A program of the same values, as reverse mode computes them.

    Functions that have a rule for that mode alone are replaced by the part of it that
    runs forward, so that forward mode over reverse mode can differentiate the values.

    Parameters
    ----------
    program : Program
        Without captured tracers.
    array_type : type
        Of the arrays that it will run on.

    Returns
    -------
    Program
        The same one if there are no such functions in it.
    """
    return once(program, _values_in_reverse, array_type)  # type: ignore[no-any-return]


def _values_in_reverse(program: Program, array_type: type) -> Program:
    def values(x: Any) -> Any:
        return values_in_reverse(x, array_type) if isinstance(x, Program) else x

    equations = []
    for e in program.equations:
        if e.primitive is custom_vjp_call:
            e = _forward_part(e, array_type)
        else:
            e = e._replace(params={k: mapped(v, values) for k, v in e.params.items()})
        equations.append(e)
    changed = Program(program.inputs, equations, program.outputs)
    return program if changed == program else changed


def _forward_part(e: Equation, array_type: type) -> Equation:
    rule, arguments = e.params["rule"], e.inputs[e.params["captured"] :]
    forward, captured = close(
        program_of(
            lambda leaves: ran(rule, rule.forward, leaves)[0], arguments, array_type
        )
    )
    if captured:
        return e
    _check_foretold(forward.outputs, e.params)
    params = {"program": eliminate_dead_code(forward), "name": rule.name}
    return e._replace(primitive=jit_call, inputs=arguments, params=params)


def _tangent_impl(
    *args: Array, pullback: Any, mask: Mask, avals: Sequence[Any]
) -> tuple[Array, ...]:
    tangents = args[len(args) - sum(mask) :]
    # a tangent that is zero by its value may come of reverse mode, too
    if any(np.any(t != 0) for t in tangents):
        _refuse_forward(pullback)
    return tuple([zeros_like_type(shape, dtype, args) for shape, dtype in avals])


def _refuse_forward(pullback: Any) -> None:
    raise ForwardModeError(
        f"{pullback.name} has a rule for reverse mode alone ({pullback.described}, by "
        "custom_vjp), so jvp, jacfwd and the function that linearize returns cannot "
        "compute its derivative along a tangent. Use grad, vjp or jacrev, or give the "
        "function its rule with funcad.custom_jvp, which serves both modes."
    )


def _tangent_abstract(*args: Any, avals: Sequence[Any], **_: Any) -> Sequence[Any]:
    return avals


def _tangent_dual(
    primals: Sequence[Array], tangents: Sequence[Any], params: Params
) -> tuple[Any, Any]:
    count = sum(params["mask"])
    if any(t is not None for t in tangents[len(tangents) - count :]):
        _refuse_forward(params["pullback"])
    # J(residuals) 0 is zero whatever the residuals are
    return bind(custom_vjp_tangent, primals, params), None


def _tangent_transpose(cts: Sequence[Any], args: Sequence[Any], params: Params) -> Any:
    pullback, mask = params["pullback"], params["mask"]
    count = len(args) - sum(mask)
    back = ran(pullback, pullback, args[:count], cts)
    chosen = [ct for ct, m in zip(back, mask) if m]
    return [None] * count + [
        ct if type(a) is Var else None for ct, a in zip(chosen, args[count:])
    ]


def _tangent_batch(
    values: Sequence[Array],
    axes: Sequence[int | None],
    pullback: Any,
    mask: Mask,
    avals: Sequence[Any],
) -> Any:
    size = next(shape_of(v)[a] for v, a in zip(values, axes) if a is not None)
    count = len(values) - sum(mask)
    places = spread(axes[count:], mask)
    params = {
        "pullback": pullback.batched(
            tuple(axes[:count]), tuple(places), Examples(None, size)
        ),
        "mask": mask,
        "avals": tuple([((size, *shape), dtype) for shape, dtype in avals]),
    }
    return bind(custom_vjp_tangent, values, params), (0,) * len(avals)


custom_vjp_tangent = Primitive(
    "custom_vjp_tangent",
    _tangent_impl,
    _tangent_abstract,
    dual=_tangent_dual,
    transpose=_tangent_transpose,
    batch=_tangent_batch,
    # what the user's own code computes is not known
    flops=nothing,
    multiple=True,
    family="call",
)


# ------------------------------------------------------------------------ custom_vmap


class Forward:
    """Tangents of a function's results, from operands and tangents of some of them."""

    def __init__(self, function: Function, mask: Mask) -> None:
        self.function = function
        self.mask = mask

    def __call__(self, leaves: Sequence[Array]) -> list[Array]:
        count = len(self.mask)
        tangents = spread(leaves[count:], self.mask)
        outs, found = forward(
            lambda duals: run(self.function, duals), leaves[:count], tangents
        )
        return explicit_tangents(outs, found)


def forward(
    function: Callable[[Sequence[Any]], Sequence[Any]],
    primals: Sequence[Array],
    tangents: Sequence[Any],
) -> tuple[list[Array], list[Any]]:
    """Results of a function of leaves, and their tangents (``None`` for zero)."""
    trace = DualTrace()
    duals = [x if t is None else Dual(trace, x, t) for x, t in zip(primals, tangents)]
    try:
        pairs = [trace.unpack(x) for x in function(duals)]
    finally:
        trace.alive = False
    return [p for p, _ in pairs], [t for _, t in pairs]


def explicit_tangents(outs: Sequence[Array], tangents: Sequence[Any]) -> list[Array]:
    """Tangents of those results that have one, zeros made explicit."""
    return [
        zero_tangent(x) if t is None else t
        for x, t in zip(outs, tangents)
        if has_tangent(x)
    ]


class Transposed:
    """A function run backwards, from the other operands and cotangents of results.

    ``avals`` are those of the operands in which it is linear, and of its results.
    """

    def __init__(self, function: Function, linear: Mask, avals: Sequence[Any]) -> None:
        self.function = function
        self.linear = linear
        self.avals = avals

    def __call__(self, leaves: Sequence[Array]) -> list[Array]:
        count = len(self.linear) - sum(self.linear)
        rest, cts = leaves[:count], leaves[count:]
        return backward(
            lambda operands: run(self.function, operands),
            rest,
            cts,
            self.linear,
            self.avals,
        )


def backward(
    function: Callable[[Sequence[Any]], Sequence[Any]],
    rest: Sequence[Array],
    cotangents: Sequence[Array],
    linear: Mask,
    avals: Sequence[Any],
) -> list[Array]:
    """Cotangents of the operands in which a function of leaves is linear."""
    trace = LinearTrace([*cotangents, *rest])
    variables = [trace.variable(*aval) for aval in avals]
    free: Iterator[Any] = iter(variables)
    held: Iterator[Any] = iter(rest)
    try:
        outs = function([next(free) if m else next(held) for m in linear])
        given = iter(cotangents)
        cts = [next(given) if has_tangent(x) else None for x in outs]
        program = trace.program(variables, outs)
    finally:
        trace.alive = False
    back = transpose(program, cts)
    return [
        zeros_like_type(shape, dtype, [*cotangents, *rest]) if ct is None else ct
        for ct, (shape, dtype) in zip(back, avals)
    ]


def _has_value(x: Any) -> bool:
    if not isinstance(x, Tracer):
        return True
    try:
        x.concrete("the value")
    except ConcretizationError:
        return False
    return True


def _vmap_dual(
    primals: Sequence[Array], tangents: Sequence[Any], params: Params
) -> tuple[Any, Any]:
    function, rule = params["function"], params["rule"]
    captured = params["captured"]
    if all(_has_value(x) for x in primals):
        # no vmap can follow whose rule this would have to be
        found = forward(lambda duals: run(function, duals), primals, tangents)
        if "trace" in params:
            refuse_captured([*found[0], *found[1]], params["trace"].level - 1)
        return found
    mask = tuple([t is not None for t in tangents])
    outs = _apply(custom_vmap_call, primals, function, rule, captured)
    out_tangents = _apply(
        custom_vmap_call,
        [*primals, *(t for t in tangents if t is not None)],
        Forward(function, mask),
        rule.forward(mask[:captured], mask[captured:]),
        captured,
    )
    return outs, spread(out_tangents, [has_tangent(x) for x in outs])


def _vmap_transpose(cts: Sequence[Any], args: Sequence[Any], params: Params) -> Any:
    function, rule = params["function"], params["rule"]
    captured = params["captured"]
    linear = tuple([type(a) is Var for a in args])
    avals = tuple([(a.shape, a.dtype) for a in args if type(a) is Var])
    rest = [a for a, m in zip(args, linear) if not m]
    given = _explicit(cts, params["outputs"], rest)
    back = _apply(
        custom_vmap_call,
        [*rest, *given],
        Transposed(function, linear, avals),
        rule.transposed(linear[:captured], linear[captured:], avals),
        captured - sum(linear[:captured]),
    )
    return spread(back, linear)


def _vmap_batch(
    values: Sequence[Array],
    axes: Sequence[int | None],
    function: Function,
    rule: Any,
    captured: int,
    trace: Any = None,
) -> Any:
    if all(a is None for a in axes[captured:]):
        # what it closes over is mapped and no argument is: the rule has no say
        sizes = [shape_of(v)[a] for v, a in zip(values, axes) if a is not None]
        examples = Examples(trace, sizes[0] if sizes else trace.size)
        outs = BatchedFunction(function, axes, examples)(values)
        return outs, (0,) * len(outs)
    if any(a is not None for a in axes[:captured]):
        raise CustomRuleError(
            f"{rule.name} closes over a value that vmap maps, and its rule "
            f"{rule.described} is given the arguments alone. Make that value an "
            "argument of the function, and of the rule."
        )
    values, axes = values[captured:], axes[captured:]
    size = next(shape_of(v)[a] for v, a in zip(values, axes) if a is not None)
    stacked = [v if a is None else move_axis(v, a, 0) for v, a in zip(values, axes)]
    outs = ran(rule, rule.stacked, size, [a is not None for a in axes], stacked)
    if isinstance(function, Program):
        rule.check_results(outs, function.outputs, size)
    if trace is not None:
        refuse_captured(outs, trace.level - 1)
    return outs, (0,) * len(outs)


custom_vmap_call = Primitive(
    "custom_vmap_call",
    _impl,
    _abstract,
    dual=_vmap_dual,
    transpose=_vmap_transpose,
    batch=_vmap_batch,
    body=_body,
    multiple=True,
    family="call",
)

_primitives = {p.name: p for p in (custom_jvp_call, custom_vjp_call)}
