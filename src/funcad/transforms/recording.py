"""The Record trace: a function is run and, at the same time, written down.

Its tracers have a value wherever one is there to be had, so Python may branch by it;
what is left afterwards is the :class:`~funcad.core.program.Program` of the path taken.
A value is computed as far down as nothing of the computation is kept: of a number that
is being differentiated in reverse it is the primal alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any, NamedTuple

from funcad.core import tree
from funcad.core.errors import ConcretizationError, ForwardModeError, user_line
from funcad.core.program import Equation, Program, Var, Variable, outputs_of
from funcad.core.tracing import (
    PYTHON_SCALARS,
    Array,
    Params,
    Primitive,
    ShapedArray,
    Trace,
    Tracer,
    array_type_of,
    bind,
    dtype_of,
    raise_escaped,
    shape_of,
)
from funcad.transforms.arguments import check_leaves, has_tangent, is_array
from funcad.transforms.batch import Batch
from funcad.transforms.dual import Dual
from funcad.transforms.linear import LinearTrace

UNKNOWN: Any = object()
"""The value of what has none: it is staged, or not the same in every example."""

SHARED = 256
"""Programs that a function keeps for its next calls."""

Chooses = Callable[[Primitive, Sequence[Any], Params], bool]


class Recorded(Variable):
    """A variable of the program that is being written, and its value."""

    __slots__ = ("value",)

    def __init__(self, trace: Trace, variable: Var, value: Array) -> None:
        super().__init__(trace, variable)
        self.value = value

    def concrete(self, purpose: str) -> Array:
        if self.value is UNKNOWN:
            raise ConcretizationError(
                f"{purpose} of a value, {ShapedArray(self.shape, self.dtype)}, that "
                "jit, make_program or vmap around funcad.checkpoint does not know: it "
                "is staged, or differs from example to example. With import "
                "funcad.numpy as fnp, write np.where(condition, a, b) instead of if, "
                "fnp.take(a, i) instead of a[i] of a plain array or list."
            )
        value = self.value
        return value.concrete(purpose) if isinstance(value, Tracer) else value


class Recording(NamedTuple):
    """A program that was written down, what it has run on, and what that gave."""

    program: Program
    operands: list[Array]
    """What it takes: what the function has captured, and then its arguments."""
    results: list[Array]
    """What it returns: the function's results, and then the chosen values."""
    chosen: int
    """How many chosen values there are."""
    outs: list[Array]
    """The function's results, as tracers of a trace that has ended."""
    out_tree: Any

    @property
    def values(self) -> list[Array]:
        """The known parts of the operands."""
        return [known(x) for x in self.operands]


def record(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    transform: str,
    chooses: Chooses | None = None,
) -> Recording:
    """Run a function and write it down.

    Parameters
    ----------
    f : callable
        Function of pytrees.
    args, kwargs : tuple and dict
        Its arguments, of which arrays and tracers are traced.
    transform : str
        Who asks, for messages.
    chooses : callable, optional
        ``chooses(primitive, operands, params)`` says which operations' results to
        return beside the function's own.

    Returns
    -------
    Recording
    """
    leaves, treedef = tree.flatten((args, kwargs))
    traced = [is_array(x) and type(x) not in PYTHON_SCALARS for x in leaves]
    arrays = [x for x, t in zip(leaves, traced) if t]
    trace = RecordTrace(array_type_of(arrays), chooses)
    inputs = [trace.variable(x) for x in arrays]
    given = iter(inputs)
    inner = [next(given) if t else x for x, t in zip(leaves, traced)]
    variables = [x.variable for x in inputs]
    inner_args, inner_kwargs = tree.unflatten(treedef, inner)
    # the values of the arguments are not kept longer than the function keeps them
    del leaves, inputs, given, inner
    try:
        outs, out_tree = tree.flatten(f(*inner_args, **inner_kwargs))
        check_leaves(outs, out_tree, transform, "output")
        outputs = [trace.output(x) for x in outs]
    finally:
        trace.alive = False
    captured = [x for x, _ in trace.captured.values()]
    variables = [*(v for _, v in trace.captured.values()), *variables]
    chosen = {v: x for v, x in trace.chosen.items() if v not in variables}
    return Recording(
        Program(variables, trace.equations, [*outputs, *chosen]),
        [*captured, *arrays],
        [*map(known, outs), *chosen.values()],
        len(chosen),
        outs,
        out_tree,
    )


class RecordTrace(Trace):
    """Writes down every operation on its tracers, and does it where it can.

    Parameters
    ----------
    array_type : type
        Of the arrays underneath.
    chooses : callable, optional
        ``chooses(primitive, operands, params)`` says which operations' results to
        return beside the function's own.
    """

    __slots__ = (
        *("array_type", "captured", "chooses", "chosen", "equations", "reverse"),
    )

    def __init__(self, array_type: type, chooses: Chooses | None = None) -> None:
        super().__init__()
        self.array_type = array_type
        self.chooses = chooses
        self.equations: list[Equation] = []
        self.captured: dict[int, tuple[Array, Var]] = {}
        self.chosen: dict[Var, Array] = {}
        # whether some value is differentiated in reverse mode outside
        self.reverse = False

    def variable(self, x: Array) -> Recorded:
        """A new input of the program, for a value from outside."""
        return Recorded(self, placeholder(x), self._known(x))

    def _known(self, x: Array) -> Array:
        value = known(x)
        self.reverse |= value is not x
        return value

    def process(
        self, primitive: Primitive, args: Sequence[Array], params: Params
    ) -> Any:
        inputs, values = [], []
        for a in args:
            if type(a) is Recorded and a._trace is self:
                inputs.append(a.variable)
                values.append(a.value)
            else:
                inputs.append(self._capture(a, primitive.name))
                values.append(self._known(a))
        outputs = outputs_of(primitive, args, params)
        self.equations.append(Equation(primitive, inputs, params, outputs, user_line()))
        if any(v is UNKNOWN for v in values):
            results = (UNKNOWN,) * len(outputs)
        elif primitive.multiple:
            results = self._results(primitive, values, params)
        else:
            results = (bind(primitive, values, params),)
        if self.chooses is not None and self.chooses(primitive, args, params):
            self._choose(primitive, inputs, values, params, outputs, results)
        tracers = tuple(map(Recorded, (self,) * len(outputs), outputs, results))
        return tracers if primitive.multiple else tracers[0]

    def _results(
        self, primitive: Primitive, values: Sequence[Array], params: Params
    ) -> Any:
        try:
            return recall(primitive, values, params)
        except ForwardModeError:
            if not self.reverse or primitive.dual is None:
                raise
        # forward mode over reverse mode: the rule for the inner one gives values, too
        linear = LinearTrace(values)
        tangents = [
            linear.variable(shape_of(x), dtype_of(x)) if has_tangent(x) else None
            for x in values
        ]
        try:
            return primitive.dual(values, tangents, params)[0]
        finally:
            linear.alive = False

    def _capture(self, x: Array, doing: str) -> Any:
        """An input of the program for a tracer or array from outside."""
        if isinstance(x, Tracer):
            if not x._trace.alive:
                raise_escaped(doing)
        elif not shape_of(x):
            return x
        if id(x) not in self.captured:
            self.captured[id(x)] = (x, placeholder(x))
        return self.captured[id(x)][1]

    def _choose(
        self,
        primitive: Primitive,
        inputs: Sequence[Any],
        values: Sequence[Array],
        params: Params,
        outputs: Sequence[Var],
        results: Sequence[Array],
    ) -> None:
        if primitive.simplify is not None:
            same = primitive.simplify(inputs, params, lambda var: None)
            if type(same) is Var:
                # of two that are equal, the one that both can be had from
                self.chosen[same] = values[inputs.index(same)]
                return
        self.chosen.update(zip(outputs, results, strict=True))

    def output(self, x: Array) -> Any:
        """An output of the program for a result of the function."""
        if type(x) is Recorded and x._trace is self:
            return x.variable
        return self._capture(x, "the output of checkpoint")


def placeholder(x: Array) -> Var:
    """A variable for a value, which is weak where tracers hold a Python number."""
    shape, dtype = shape_of(x), dtype_of(x)
    while type(x) is Dual:
        x = x.primal
    weak = type(x) if type(x) in PYTHON_SCALARS else getattr(x, "weak", None)
    return Var(shape, dtype, weak)


def known(x: Array) -> Array:
    """As much of a value as can be computed with while nothing is written down.

    Tangents that a linear program records are left behind; what only a program has, or
    what is behind examples, is unknown.
    """
    if not isinstance(x, Tracer):
        return x
    if type(x) is Recorded:
        return x.value
    if type(x) is Dual:
        primal = known(x.primal)
        forward = primal is x.primal and known(x.tangent) is x.tangent
        return x if forward else primal
    if type(x) is Batch and known(x.value) is x.value:
        return x
    return UNKNOWN


def remember(
    primitive: Primitive,
    params: Params,
    operands: Sequence[Array],
    results: Sequence[Array],
) -> None:
    """Keep what a primitive's programs have given this thread, until :func:`forget`."""
    if not any(x is UNKNOWN for x in (*operands, *results)):
        key = remember, get_ident()
        _derived(params)[key] = (primitive, operands, tuple(results))


def forget(params: Params) -> None:
    """Let go of what :func:`remember` keeps."""
    _derived(params).pop((remember, get_ident()), None)


def recall(
    primitive: Primitive,
    operands: Sequence[Array],
    params: Params,
    otherwise: Callable[[], Params] | None = None,
) -> Any:
    """Apply a primitive, unless it has just run on these very operands.

    ``otherwise()`` is what to apply it with then, if that is not ``params``.
    """
    found = _derived(params).get((remember, get_ident()))
    if found is not None:
        same, before, results = found
        if same is primitive and len(before) == len(operands):
            if all(map(_is, before, operands)):
                return results
    return bind(primitive, operands, params if otherwise is None else otherwise())


class Shared:
    """Programs that were recorded before, so that what is made of them is made once."""

    __slots__ = ("_programs",)

    def __init__(self) -> None:
        self._programs: dict[Program, Program] = {}

    def __call__(self, program: Program) -> Program:
        """An equal program from before, if there is one."""
        if len(self._programs) >= SHARED:
            self._programs.clear()
        return self._programs.setdefault(program, program)


def _derived(params: Params) -> dict[Any, Any]:
    """What is kept with the first of a primitive's programs."""
    program = params.get("program") or params.get("programs", (None,))[0]
    return program.derived if isinstance(program, Program) else {}


def _is(x: Any, y: Any) -> bool:
    return x is y
