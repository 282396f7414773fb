"""``barrier``, the identity that what is computed twice on purpose hides behind.

Its results are new variables that no pass may take for its operands or for the results
of another barrier, so what is computed from them is not merged with what was computed
from the operands: that is how a recomputation survives common-subexpression
elimination.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from funcad.core.program import Var
from funcad.core.tracing import (
    Array,
    Operand,
    Params,
    Primitive,
    bind,
    dtype_of,
    shape_of,
)


def _abstract(*operands: Any) -> list[Any]:
    return [(shape_of(x), getattr(x, "weak", None) or dtype_of(x)) for x in operands]


def _jvp(ans: Any, primals: Any, tangents: Any, params: Params) -> Any:
    given = [t for t in tangents if t is not None]
    if not given:
        return None
    kept = iter(bind(barrier, given, {}))
    return tuple(None if t is None else next(kept) for t in tangents)


def _transpose(cts: Sequence[Any], args: Sequence[Any], params: Params) -> list[Any]:
    return [ct if type(a) is Var else None for ct, a in zip(cts, args)]


def _code(operands: Sequence[Operand], params: Params, out: str | None) -> str | None:
    # as they are, in nobody's memory but their own
    return None if out else f"({', '.join(x.text for x in operands)},)"


def _batch(values: Sequence[Array], axes: Sequence[Any]) -> Any:
    return bind(barrier, values, {}), list(axes)


barrier = Primitive(
    "barrier",
    lambda *operands: operands,
    _abstract,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    code=_code,
    flops=lambda inputs, outputs, params: 0,
    multiple=True,
    opaque=True,
    family="barrier",
)
