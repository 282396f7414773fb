"""``barrier``, the identity that what is computed twice on purpose hides behind.

Its result is a new variable that no pass may take for its operand or for the result of
another barrier, so what is computed from it is not merged with what was computed from
the operand: that is how a recomputation survives common-subexpression elimination.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from funcad.core.counting import nothing
from funcad.core.tracing import (
    Array,
    Operand,
    Params,
    Primitive,
    bind,
    dtype_of,
    shape_of,
)
from funcad.primitives.parts import same_parts


def _jvp(ans: Any, primals: Any, tangents: Any, params: Params) -> Any:
    return None if tangents[0] is None else bind(barrier, tangents, params)


def _code(operands: Sequence[Operand], params: Params, out: str | None) -> str | None:
    # as it is, in nobody's memory but its own
    return None if out else operands[0].text


barrier = Primitive(
    "barrier",
    lambda x: x,
    lambda x: (shape_of(x), getattr(x, "weak", None) or dtype_of(x)),
    jvp=_jvp,
    transpose=lambda ct, args, params: [ct],
    batch=lambda values, axes: (barrier(*values), *axes),
    code=_code,
    parts=same_parts,
    flops=nothing,
    opaque=True,
    family="barrier",
)


def behind_barriers(values: Sequence[Array]) -> list[Array]:
    """Values, each behind a barrier of its own."""
    return [barrier(x) for x in values]
