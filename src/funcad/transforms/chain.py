"""``checkpoint_chain``: a chain of layers whose backward pass follows a schedule.

The layers up to the first that the schedule records are recorded as programs, and
their chain is one operation, ``chain_call``, whose results are the last state and those
that the schedule holds; the other layers run as they are.  The derivative of the call
is ``chain_tangent``, whose transpose follows the schedule to its end.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from funcad.core import tree
from funcad.core.errors import ChainError, FuncadError, ScheduleError
from funcad.core.program import Equation, Program, Var
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
from funcad.transforms.arguments import check_leaves
from funcad.transforms.calls import spread
from funcad.transforms.checkpoint import again, checkpoint_call, tangent_program
from funcad.transforms.custom_calls import values_in_reverse
from funcad.transforms.derived import (
    avals_out,
    batched,
    divided,
    linearized,
    transposed,
)
from funcad.transforms.linear import Linear
from funcad.transforms.recording import (
    Recorded,
    Recording,
    RecordTrace,
    Shared,
    forget,
    known,
    placeholder,
    recall,
    record,
    remember,
)
from funcad.transforms.schedules import (
    Action,
    Advance,
    Backward,
    Free,
    Record,
    Restore,
    Store,
    check_schedule,
    schedule,
)

__all__ = ["checkpoint_chain"]

Layer = Callable[..., Any]
Mask = tuple[bool, ...]
Programs = tuple[Program, ...]


def checkpoint_chain(
    layers: Sequence[Layer],
    strategy: str = "sqrt",
    *,
    slots: int | None = None,
    memory: int | None = None,
) -> Callable[..., Any]:
    """Composition of layers that trades memory of the backward pass for evaluations.

    All strategies give the same value and the same gradient.

    Parameters
    ----------
    layers : sequence of callables
        ``layer(state) -> state``, or ``layer(params, state) -> state``.  States are
        pytrees of arrays; Python control flow may depend on values.
    strategy : {"store-all", "recompute-all", "sqrt", "revolve"}
        For n layers, ``"store-all"`` keeps what every layer's derivative reads, as
        without a chain; ``"sqrt"`` holds about 2 sqrt(n) states and evaluates layers
        less than 2 n times; ``"recompute-all"`` holds one state and evaluates
        n (n + 1) / 2 times; ``"revolve"`` evaluates as few times as ``slots`` allow.
    slots : int, optional
        How many states ``"revolve"`` may hold; by default about log2(n).
    memory : int, optional
        Bytes that the states which ``"revolve"`` holds may take, instead of ``slots``;
        they are counted by the state that the chain is given.

    Returns
    -------
    callable
        ``chain(state)``, or ``chain(params, state)`` where ``params`` is a sequence
        with an entry for each layer.

    Raises
    ------
    ScheduleError
        If there is no such schedule.
    ChainError
        If a layer is not callable, or cannot take the state that the one before it
        returned.

    Notes
    -----
    As for :func:`~funcad.checkpoint`, what a layer computes from values that it closes
    over alone is not computed again.  Under ``jit`` the schedule is written out, so
    that the compiled program has as many equations as layers are evaluated.

    References
    ----------
    A. Griewank and A. Walther, Algorithm 799: revolve, ACM Transactions on
    Mathematical Software 26 (2000), 19-45.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> chain = funcad.checkpoint_chain([np.sin] * 100, "revolve", slots=5)
    >>> funcad.grad(lambda x: np.sum(chain(x)))(np.array([0.5, 1.0]))
    array([0.03283332, 0.00369862])

    >>> dense = lambda w, x: np.tanh(x @ w)
    >>> chain = funcad.checkpoint_chain([dense] * 9)
    >>> ws = [np.eye(2)] * 9
    >>> gradient = funcad.grad(lambda ws, x: np.sum(chain(ws, x)))(ws, np.ones(2))
    >>> len(gradient), gradient[0].shape
    (9, (2, 2))
    """
    layers = _checked_layers(layers)
    if memory is None:
        check_schedule(len(layers), strategy, slots)
    elif slots is not None or strategy != "revolve":
        raise ScheduleError(
            "checkpoint_chain takes either slots= or memory= as the budget of the "
            f'strategy "revolve", and was given memory={memory!r}, slots={slots!r} and '
            f"strategy={strategy!r}."
        )

    shared = Shared()

    def chain(*args: Any) -> Any:
        bound, state = _bound(layers, args)
        leaves, treedef = tree.flatten(state)
        check_leaves(leaves, treedef, "checkpoint_chain")
        budget = slots if memory is None else _slots(memory, leaves)
        return _run(bound, state, strategy, budget, shared)

    return chain


def _checked_layers(given: Any) -> tuple[Layer, ...]:
    try:
        layers: tuple[Layer, ...] = tuple(given)
    except TypeError:
        raise ChainError(
            "checkpoint_chain takes a sequence of layers, not "
            f"{given!r} of type {type(given).__name__}. For a single function write "
            "funcad.checkpoint(f)."
        ) from None
    if not layers:
        raise ChainError("checkpoint_chain was given no layers.")
    for i, layer in enumerate(layers):
        if not callable(layer):
            raise ChainError(
                f"checkpoint_chain: layer {i} of {len(layers)} is {layer!r} of type "
                f"{type(layer).__name__}, which is not callable. A layer is a function "
                "of the state, or of its parameters and the state."
            )
    return layers


def _bound(
    layers: tuple[Layer, ...], args: tuple[Any, ...]
) -> tuple[list[tuple[Layer, tuple[Any, ...]]], Any]:
    """Each layer with what it takes before the state, and the state."""
    if len(args) == 1:
        return [(layer, ()) for layer in layers], args[0]
    if len(args) != 2:
        raise TypeError(
            "a chain of layers takes a state, or the layers' parameters and a state, "
            f"and was given {len(args)} arguments."
        )
    params, state = args
    if not isinstance(params, (list, tuple)) or len(params) != len(layers):
        given = type(params).__name__
        if isinstance(params, (list, tuple)):
            given += f" of {len(params)}"
        raise ChainError(
            f"a chain of {len(layers)} layers takes a list of {len(layers)} parameters "
            f"before the state, one for each layer, and was given a {given}. Where the "
            "layers have none, call the chain with the state alone."
        )
    return [(layer, (p,)) for layer, p in zip(layers, params, strict=True)], state


def _slots(memory: Any, leaves: Sequence[Array]) -> int:
    number = isinstance(memory, (int, float, np.integer, np.floating))
    if isinstance(memory, bool) or not number or not math.isfinite(memory):
        raise ScheduleError(
            f"memory of checkpoint_chain is a number of bytes, not {memory!r} of type "
            f"{type(memory).__name__}."
        )
    size = sum(_bytes(x) for x in leaves)
    if memory < size or size == 0:
        raise ScheduleError(
            f"memory={memory:g} bytes do not hold the state that the chain starts "
            f"from, {', '.join(str(aval_of(x)) for x in leaves)}, which takes {size} "
            "bytes. Give memory for one state at the least."
        )
    return int(memory // size)


def _bytes(x: Array) -> int:
    size = dtype_of(x).itemsize
    for n in shape_of(x):
        size *= n
    return size


def _run(
    bound: Sequence[tuple[Layer, tuple[Any, ...]]],
    state: Any,
    strategy: str,
    slots: int | None,
    shared: Shared,
) -> Any:
    plan = _Plan(len(bound), strategy, slots)
    if plan.count:
        state = _call(bound[: plan.count], state, plan, shared)
    for i in range(plan.count, len(bound)):
        state = _applied(_plainly, bound, i, state)
    return state


def _plainly(layer: Layer, params: tuple[Any, ...], state: Any) -> Any:
    return layer(*params, state)


def _recorded(layer: Layer, params: tuple[Any, ...], state: Any) -> Recording:
    return record(layer, (*params, state), {}, "checkpoint_chain")


class _Plan:
    """A schedule, split where the first layer is recorded.

    Parameters
    ----------
    length, strategy, slots
        Of the schedule.

    Attributes
    ----------
    count : int
        Layers before that one.
    held : list of int
        States, other than the first, that are held once these have run.
    """

    def __init__(self, length: int, strategy: str, slots: int | None) -> None:
        self.params: Params = {"length": length, "strategy": strategy, "slots": slots}
        self.held: list[int] = []
        for action in self.actions():
            match action:
                case Store(i) if i:
                    self.held.append(i)
                case Record(i):
                    self.count = i
                    break

    def actions(self) -> Iterator[Action]:
        """All actions."""
        return schedule(
            self.params["length"], self.params["strategy"], self.params["slots"]
        )

    def rest(self) -> Iterator[Action]:
        """The actions that take a cotangent back from state ``count``."""
        actions = self.actions()
        for action in actions:
            if action == Backward(self.count) and isinstance(action, Backward):
                break
        return actions


def _call(
    bound: Sequence[tuple[Layer, tuple[Any, ...]]],
    state: Any,
    plan: _Plan,
    shared: Shared,
) -> Any:
    programs: list[Program] = []
    operands: list[Array] = []
    values: list[Array] = []
    held: list[Array] = []
    for i in range(len(bound)):
        if i in plan.held:
            held += [x.value for x in tree.leaves(state)]
        count = 0 if i == 0 else len(tree.leaves(state))
        recording = _applied(_recorded, bound, i, state)
        # layers that do the same are the same program, whose derivative is made once
        programs.append(shared(recording.program))
        extras = recording.operands[: len(recording.operands) - count]
        operands += extras
        values += map(known, extras)
        state = _state(recording)
    leaves, treedef = tree.flatten(state)
    called = {"programs": tuple(programs), **plan.params}
    remember(chain_call, called, values, [*(x.value for x in leaves), *held])
    count = len(leaves)
    del state, leaves, held, values, recording
    try:
        results = recall(chain_call, operands, called)
    finally:
        forget(called)
    return tree.unflatten(treedef, results[:count])


def _state(recording: Recording) -> Any:
    """The state that a layer has come to, every leaf of it as a tracer."""
    ended = RecordTrace(array_type_of(recording.results))
    ended.alive = False
    return recording.out_tree.unflatten(
        [
            x if type(x) is Recorded else Recorded(ended, placeholder(x), known(x))
            for x in recording.outs
        ]
    )


def _applied(
    how: Callable[[Layer, tuple[Any, ...], Any], Any],
    bound: Sequence[tuple[Layer, tuple[Any, ...]]],
    i: int,
    state: Any,
) -> Any:
    """What a layer gives, or why it cannot take the state that it was given."""
    try:
        return how(*bound[i], state)
    except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        if i == 0:
            raise
        message = (
            f"checkpoint_chain: layer {i} ({_name(bound[i][0])}) failed on the state "
            f"that layer {i - 1} ({_name(bound[i - 1][0])}) returned, "
            f"{tree.map(lambda x: str(aval_of(x)), state)}."
        )
        if isinstance(error, FuncadError):
            error.add_note(message)
            raise
        raise ChainError(
            f"{message} The state that a layer returns must be one that the next layer "
            f"takes: {error}"
        ) from error


def _name(layer: Layer) -> str:
    if isinstance(layer, functools.partial):
        layer = layer.func
    return getattr(layer, "__name__", type(layer).__name__)


# ----------------------------------------------------------------------- chain_call
#
# Its operands are all those of the first program, which are state 0, and then for each
# further program those that come before the state, its extras.  Its results are the
# last state and the states that the schedule holds by then.


def _parts(
    values: Sequence[Any], programs: Sequence[Program]
) -> tuple[list[Any], list[list[Any]], list[Any]]:
    """State 0, the extras of each layer, and what is left of a list of operands."""
    at = len(programs[0].inputs)
    state = list(values[:at])
    extras: list[list[Any]] = [[]]
    for before, program in itertools.pairwise(programs):
        count = len(program.inputs) - len(before.outputs)
        extras.append(list(values[at : at + count]))
        at += count
    return state, extras, list(values[at:])


def _plan(params: Params) -> _Plan:
    return _Plan(params["length"], params["strategy"], params["slots"])


def _impl(*operands: Array, programs: Programs, **params: Any) -> tuple[Array, ...]:
    plan = _plan(params)
    state, extras, _ = _parts(operands, programs)
    held: list[Array] = []
    for i, program in enumerate(programs):
        if i in plan.held:
            held += state
        state = program.evaluate([*extras[i], *state])
    return (*state, *held)


def _results(states: Sequence[Sequence[Any]], plan: _Plan) -> list[Any]:
    """What belongs to each result, of what belongs to each leaf of each state."""
    return [x for i in (plan.count, *plan.held) for x in states[i]]


def _abstract(*operands: Any, programs: Programs, **params: Any) -> list[Any]:
    return _results([[], *map(avals_out, programs)], _plan(params))


def _whole(programs: Programs, plan: _Plan) -> Program:
    """The chain as one program, of a call for each layer."""
    key = (_whole, programs, tuple(plan.held))
    if key in programs[0].derived:
        return programs[0].derived[key]  # type: ignore[no-any-return]
    first = [_fresh(v) for v in programs[0].inputs]
    inputs = list(first)
    states: list[list[Var]] = [first]
    equations = []
    for i, program in enumerate(programs):
        extras: list[Var] = []
        if i:
            count = len(program.inputs) - len(states[i])
            extras = [_fresh(v) for v in program.inputs[:count]]
            inputs += extras
        outputs = [_fresh(placeholder(v)) for v in program.outputs]
        call = {"program": program, "saved": 0}
        equations.append(
            Equation(checkpoint_call, [*extras, *states[i]], call, tuple(outputs))
        )
        states.append(outputs)
    return programs[0].derived.setdefault(  # type: ignore[no-any-return]
        key, Program(inputs, equations, _results(states, plan))
    )


def _fresh(v: Var) -> Var:
    return Var(v.shape, v.dtype, v.weak)


def _masks(
    programs: Programs, mask: Mask, array_type: type
) -> tuple[list[Mask], list[Mask]]:
    """Which leaves of each state, and which extras of each layer, have tangents."""
    state, extras, _ = _parts(mask, programs)
    states = [tuple(state)]
    for program, extra in zip(programs, extras, strict=True):
        both = (*extra, *states[-1])
        states.append(
            linearized(program, both, array_type).nonzero
            if any(both)
            else (False,) * len(program.outputs)
        )
    return states, [tuple(extra) for extra in extras]


def _dual(primals: Sequence[Array], tangents: Sequence[Any], params: Params) -> Any:
    programs, plan = params["programs"], _plan(params)
    array_type = array_type_of(primals)

    def of_values() -> Params:
        values = tuple([values_in_reverse(p, array_type) for p in programs])
        return params | {"programs": values}

    reverse = any(type(t) is Linear for t in tangents)
    results = recall(chain_call, primals, params, of_values if reverse else None)
    mask = tuple([t is not None for t in tangents])
    states, _ = _masks(programs, mask, array_type)
    nonzero = _results(states, plan)
    if not any(nonzero):
        return results, None
    given = [t for t in tangents if t is not None]
    held = results[len(programs[-1].outputs) :]
    operands = [*primals, *held, *given]
    out = bind(chain_tangent, operands, params | {"mask": mask})
    return results, spread(out, nonzero)


def _transpose(cts: Sequence[Any], args: Sequence[Any], params: Params) -> list[Any]:
    whole = {"program": _whole(params["programs"], _plan(params)), "saved": 0}
    return checkpoint_call.transpose(cts, args, whole)  # type: ignore[misc, no-any-return]


def _batch(values: Any, axes: Any, programs: Programs, **params: Any) -> Any:
    plan = _plan(params)
    size = next(v.shape[a] for v, a in zip(values, axes) if a is not None)
    like = array_type_of(values)
    state, extras, _ = _parts(axes, programs)
    states, forms = [state], []
    for program, extra in zip(programs, extras, strict=True):
        form = batched(program, (*extra, *states[-1]), size, like)
        forms.append(form.program)
        states.append(list(form.axes))
    params["programs"] = tuple(forms)
    return bind(chain_call, values, params), _results(states, plan)


chain_call = Primitive(
    "chain_call",
    _impl,
    _abstract,
    dual=_dual,
    transpose=_transpose,
    batch=_batch,
    body=lambda params: _whole(params["programs"], _plan(params)),
    multiple=True,
    family="call",
)


# --------------------------------------------------------------------- chain_tangent
#
# Its operands are those of the chain, the states that are held, and the tangents of the
# chain's operands.  All but the transpose is that of one program.


def _tangent_whole(params: Params) -> Program:
    """The derivative of a chain as one program, of tangents from held states."""
    programs, mask, plan = params["programs"], params["mask"], _plan(params)
    key = (_tangent_whole, programs, mask, tuple(plan.held))
    if key in programs[0].derived:
        return programs[0].derived[key]  # type: ignore[no-any-return]
    whole = _whole(programs, plan)
    count = len(whole.outputs)
    saved = count - len(programs[-1].outputs)
    form = divided(whole, mask, array_type_of(whole.inputs))
    cut, used = tangent_program(form.program, count, saved, sum(mask))
    taken = iter(cut.inputs)
    residuals = [*whole.inputs, *whole.outputs[count - saved :]]
    inputs = [next(taken) if u else _fresh(v) for v, u in zip(residuals, used)]
    return programs[0].derived.setdefault(  # type: ignore[no-any-return]
        key, Program([*inputs, *taken], cut.equations, cut.outputs)
    )


def _tangent_impl(*operands: Array, **params: Any) -> tuple[Array, ...]:
    return tuple(_tangent_whole(params).evaluate(operands))


def _tangent_abstract(
    *operands: Any, programs: Programs, mask: Mask, **params: Any
) -> list[Any]:
    plan = _plan(params)
    states, _ = _masks(programs, mask, array_type_of(operands))
    avals = [
        [],
        *([(v.shape, v.dtype) for v in map(placeholder, p.outputs)] for p in programs),
    ]
    pairs = zip(_results(avals, plan), _results(states, plan), strict=True)
    return [aval for aval, nonzero in pairs if nonzero]


def _tangent_dual(
    primals: Sequence[Array], tangents: Sequence[Any], params: Params
) -> Any:
    call = {"program": _tangent_whole(params), "saved": 0}
    return checkpoint_call.dual(primals, tangents, call)  # type: ignore[misc]


def _tangent_batch(values: Any, axes: Any, **params: Any) -> Any:
    return checkpoint_call.batch(values, axes, program=_tangent_whole(params), saved=0)  # type: ignore[misc]


def _tangent_transpose(
    cts: Sequence[Any], args: Sequence[Any], params: Params
) -> list[Any]:
    programs, plan, mask = params["programs"], _plan(params), params["mask"]
    nonzero = [ct is not None for ct in cts]
    count = len(args) - sum(mask)

    def backward(residuals: list[Array], given: list[Array]) -> list[Any]:
        return _follow(programs, plan, mask, residuals, spread(given, nonzero))

    residuals = list(args[:count])
    # a state is gone once its slot is free
    args[:count] = [None] * count  # type: ignore[index]
    given = [ct for ct in cts if ct is not None]
    back: list[Any] = again(backward, residuals, given)
    return [None] * count + back


def _follow(
    programs: Programs,
    plan: _Plan,
    mask: Mask,
    residuals: list[Array],
    cts: list[Any],
) -> list[Any]:
    """Take cotangents back through a chain, by the actions of its schedule.

    ``residuals`` is emptied.
    """
    like = array_type_of(residuals)
    values = programs
    if any(isinstance(x, Tracer) for x in residuals):
        values = tuple([values_in_reverse(p, like) for p in programs])
    first, extras, rest = _parts(behind_barriers(residuals), programs)
    residuals.clear()
    masks, extra_masks = _masks(programs, mask, like)
    # cotangents of the last state, and of those that were held
    given = iter(cts)
    arriving = {
        i: [next(given) if m else None for m in masks[i]]
        for i in (plan.count, *plan.held)
    }
    ct = arriving.pop(plan.count)
    held = {0: first}
    for i in plan.held:
        size = len(programs[i - 1].outputs)
        held[i], rest = rest[:size], rest[size:]
    del first, rest
    records: dict[int, list[Array]] = {}
    found: list[list[Any]] = [[] for _ in programs]
    state: list[Array] = []
    for action in plan.rest():
        match action:
            case Store(i):
                held[i] = state
            case Restore(i):
                state = behind_barriers(held[i])
            case Free(i):
                del held[i]
            case Advance(start, stop):
                for i in range(start, stop):
                    state = values[i].evaluate([*extras[i], *state])
            case Record(i):
                both = (*extra_masks[i], *masks[i])
                size = len(programs[i].outputs)
                known_part = linearized(programs[i], both, like).known
                results = known_part.evaluate([*extras[i], *state])
                state, records[i] = results[:size], results[size:]
                del results
            case Backward(i):
                state = []
                both = (*extra_masks[i], *masks[i])
                back = _taken_back(programs[i], both, like, records.pop(i), ct)
                found[i], ct = back[: len(extras[i])], back[len(extras[i]) :]
                if i in arriving:
                    ct = [_sum(a, b) for a, b in zip(ct, arriving.pop(i))]
    cotangents = [*ct, *itertools.chain(*found)]
    chosen = [*masks[0], *itertools.chain(*extra_masks)]
    return [c for c, m in zip(cotangents, chosen, strict=True) if m]


def _taken_back(
    program: Program, mask: Mask, like: type, residuals: list[Array], cts: list[Any]
) -> list[Any]:
    """Cotangents of the inputs of a layer's program."""
    parts = linearized(program, mask, like)
    wanted = [ct for ct, m in zip(cts, parts.nonzero, strict=True) if m]
    given = [ct for ct in wanted if ct is not None]
    if not given:
        return [None] * len(mask)
    linear = (False,) * len(residuals) + (True,) * sum(mask)
    nonzero = tuple([ct is not None for ct in wanted])
    back = transposed(parts.linear, linear, nonzero, like)
    operands = [*residuals, *given]
    residuals.clear()
    return spread(spread(back.program.evaluate(operands), back.nonzero), mask)


def _sum(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    return a + b


chain_tangent = Primitive(
    "chain_tangent",
    _tangent_impl,
    _tangent_abstract,
    dual=_tangent_dual,
    transpose=_tangent_transpose,
    batch=_tangent_batch,
    body=_tangent_whole,
    multiple=True,
    family="call",
)
