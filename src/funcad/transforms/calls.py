"""``jit_call``, the primitive that is a call of a compiled program.

Its rules are programs again, made and compiled once: forward mode splits the program
into a known part, which also returns the residuals, and a part that is linear in the
tangents; reverse mode runs the linear part's transpose.  So ``grad(jit(f))`` has a
compiled forward and a compiled backward program, and keeps both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from funcad.compile.compiled import compiled
from funcad.core.program import Program, Var
from funcad.core.tracing import Array, Params, Primitive, array_type_of, bind
from funcad.transforms.derived import avals_out, batched, linearized, transposed


def call(program: Program, args: Sequence[Array], name: str) -> tuple[Array, ...]:
    """Run a program without captured tracers on arrays, or on tracers as one equation.

    Parameters
    ----------
    program : Program
        What to run.
    args : sequence of arrays
        One for each of its inputs.
    name : str
        What programs that hold the call print.

    Returns
    -------
    tuple of arrays
        Its outputs.
    """
    return bind(jit_call, args, {"program": program, "name": name})  # type: ignore[no-any-return]


def _impl(*args: Array, program: Program, name: str) -> tuple[Array, ...]:
    return compiled(program, array_type_of(args))(*args)


def _abstract(*args: Any, program: Program, name: str) -> list[Any]:
    return avals_out(program)


def _dual(primals: Sequence[Array], tangents: Sequence[Any], params: Params) -> Any:
    program, name = params["program"], params["name"]
    mask = tuple([t is not None for t in tangents])
    parts = linearized(program, mask, array_type_of(primals))
    results = call(parts.known, primals, name)
    count = len(program.outputs)
    outs, residuals = results[:count], results[count:]
    if not any(parts.nonzero):
        return outs, None
    given = [t for t in tangents if t is not None]
    out_tangents = call(parts.linear, (*residuals, *given), f"{name}_tangent")
    return outs, spread(out_tangents, parts.nonzero)


def _transpose(cts: Sequence[Any], args: Sequence[Any], params: Params) -> list[Any]:
    linear = tuple([type(a) is Var for a in args])
    rest = [a for a, m in zip(args, linear) if not m]
    given = [ct for ct in cts if ct is not None]
    mask = tuple([ct is not None for ct in cts])
    like = array_type_of([*given, *rest])
    back = transposed(params["program"], linear, mask, like)
    results = call(back.program, (*rest, *given), f"{params['name']}_transpose")
    return spread(spread(results, back.nonzero), linear)


def spread(values: Sequence[Any], places: Sequence[bool]) -> list[Any]:
    """The values in the true places, in order, and ``None`` in the others."""
    given: Iterator[Any] = iter(values)
    return [next(given) if place else None for place in places]


def _batch(values: Any, axes: Any, program: Program, name: str) -> Any:
    size = next(v.shape[a] for v, a in zip(values, axes) if a is not None)
    form = batched(program, tuple(axes), size, array_type_of(values))
    return call(form.program, values, name), form.axes


jit_call = Primitive(
    "jit_call",
    _impl,
    _abstract,
    dual=_dual,
    transpose=_transpose,
    batch=_batch,
    body=lambda params: params["program"],
    multiple=True,
    family="call",
)
