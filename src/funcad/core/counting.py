"""What the rules ``flops`` and ``traffic`` of primitives are made of.

The unit is an addition or a multiplication of two real numbers; those of integers, and
comparisons, count alike.  Other functions have the weights of the Livermore loops
(F. H. McMahon, *The Livermore Fortran kernels*, UCRL-53745, 1986): 4 for a division or
a square root, 8 for an exponential, a sine or the like.  A special function counts as
several of these, 40.  An operation on complex numbers counts as four on real ones: a
multiplication with an addition is eight real operations, instead of two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from funcad.core.tracing import Params, dtype_of, shape_of

DIVISION, ELEMENTARY, SPECIAL = 4, 8, 40
"""Weights of a division or square root, an elementary and a special function."""

Rule = Callable[[Sequence[Any], Sequence[Any], Params], float]


def entries(v: Any) -> int:
    """Number of entries, four times that if they are complex."""
    return math.prod(shape_of(v)) * (4 if dtype_of(v).kind == "c" else 1)


def size_in_bytes(v: Any) -> int:
    """Number of bytes of an array of this shape and dtype."""
    return math.prod(shape_of(v)) * int(dtype_of(v).itemsize)


def nothing(inputs: Sequence[Any], outputs: Sequence[Any], params: Params) -> float:
    """The ``flops`` of what copies, moves or selects entries and computes nothing."""
    return 0


def untouched(
    inputs: Sequence[Any], outputs: Sequence[Any], params: Params
) -> tuple[int, int]:
    """The ``traffic`` of what returns an operand as it is, or a view of it."""
    return 0, 0


def each_result(weight: float) -> Rule:
    """``weight`` operations for each entry of the first result."""

    def flops(inputs: Sequence[Any], outputs: Sequence[Any], params: Params) -> float:
        # the absolute value of a complex number is complex work
        kinds = [dtype_of(v).kind for v in (*inputs, *outputs)]
        return weight * math.prod(shape_of(outputs[0])) * (4 if "c" in kinds else 1)

    return flops


def each_operand(weight: float) -> Rule:
    """``weight`` operations for each entry of the first operand."""
    return lambda inputs, outputs, params: weight * entries(inputs[0])


def each_matrix(formula: Callable[[int, int], float], operand: int = 0) -> Rule:
    """``formula(m, n)`` operations for each m by n matrix of a stack of them."""

    def flops(inputs: Sequence[Any], outputs: Sequence[Any], params: Params) -> float:
        stack = inputs[operand]
        *_, m, n = shape_of(stack)
        count = entries(stack) / (m * n) if m * n else 0
        return count * formula(m, n)

    return flops
