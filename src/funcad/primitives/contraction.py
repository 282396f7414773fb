"""Matrix products; ``einsum``, ``tensordot`` and the like are compositions of it.

``matmul`` takes operands of two dimensions or more, whose leading axes broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from funcad.core.counting import entries
from funcad.core.tracing import Array, Operand, Params, dtype_of, shape_of
from funcad.primitives.elementwise import broadcast_shapes, conjugate, multiply
from funcad.primitives.families import multilinear
from funcad.primitives.parts import SUM, Axes, Parts, aligned
from funcad.primitives.shape import (
    Shape,
    batches_to_front,
    reshape,
    sum_to,
    transpose,
)


def swap_last(x: Array) -> Array:
    """A stack of matrices, each transposed."""
    rank = len(x.shape)
    return transpose(x, axes=(*range(rank - 2), rank - 1, rank - 2))


def adjoint(x: Array) -> Array:
    """A stack of matrices, each transposed and conjugated."""
    x = swap_last(x)
    return conjugate(x) if dtype_of(x).kind == "c" else x


def _matmul(x: Array, y: Array) -> Array:
    if y.ndim == 2 and x.ndim > 2 and x.size:
        # one large product instead of a stack of small ones
        *lead, inner = x.shape
        return (x.reshape(-1, inner) @ y).reshape(*lead, y.shape[-1])
    return np.matmul(x, y)


def _matmul_abstract(x: Any, y: Any) -> tuple[Shape, Any]:
    lead = broadcast_shapes([x.shape[:-2], y.shape[:-2]])
    dtype = x.dtype if x.dtype == y.dtype else np.result_type(x.dtype, y.dtype)
    return (*lead, x.shape[-2], y.shape[-1]), dtype


def left_cotangent(ct: Array, aval: Any, x: Array, y: Array) -> Array:
    """Cotangent of the first operand, of which ``aval`` has the shape and dtype."""
    return sum_to(matmul(ct, swap_last(y)), aval)


def right_cotangent(ct: Array, aval: Any, x: Array, y: Array) -> Array:
    """Cotangent of the second operand."""
    if len(aval.shape) == 2 and len(x.shape) > 2:
        # summing over the leading axes is part of the product
        x = reshape(x, shape=(_rows(x), x.shape[-1]))
        ct = reshape(ct, shape=(_rows(ct), ct.shape[-1]))
    return sum_to(matmul(swap_last(x), ct), aval)


def _rows(x: Array) -> int:
    rows = 1
    for n in x.shape[:-1]:
        rows *= n
    return rows


def _matmul_batch(values: Any, axes: Any) -> tuple[Array, int]:
    rank = max(
        len(shape_of(v)) - (a is not None) for v, a in zip(values, axes, strict=True)
    )
    (x, y), _ = batches_to_front(values, axes, rank)
    return matmul(x, y), 0


def _matmul_code(
    operands: Sequence[Operand], params: Params, out: str | None
) -> str | None:
    x, y = operands
    if len(y.shape) != 2 or len(x.shape) == 2 or 0 in x.shape:
        if out is None:
            return f"{x.text} @ {y.text}"
        return f"np.matmul({x.text}, {y.text}, out={out})"
    *lead, inner = x.shape
    rows, columns = math.prod(lead), y.shape[-1]
    flat = f"{x.text}.reshape({rows}, {inner})"
    product = f"({flat} @ {y.text})"
    if out is not None:
        out = f"{out}.reshape({rows}, {columns})"
        product = f"np.matmul({flat}, {y.text}, out={out})"
    return f"{product}.reshape({', '.join(map(str, (*lead, columns)))})"


def _matmul_parts(
    axes: Axes, shapes: Sequence[Shape], params: Params, count: int
) -> Parts | None:
    """Of products of matrices: a part of the sums is a summand."""
    (i, j), (x, y) = axes, shapes
    # axes counted from the end: 1 and 2 are those of the matrices
    left = None if i is None else len(x) - i
    right = None if j is None else len(y) - j
    rank = max(len(x), len(y))
    if left == 1 or right == 2:
        if left in (None, 1) and right in (None, 2):
            return Parts((len(x) - 1, len(y) - 2), (SUM,), params)
        return None
    if left == 2 or right == 1:
        if left is not None and right is not None:
            return None
        return Parts((i, j), (rank - (left or right),), params)  # type: ignore[operator]
    found = aligned(axes, shapes)
    return None if found is None else Parts(found[1], (found[0],), params)


matmul = multilinear(
    "matmul",
    _matmul,
    _matmul_abstract,
    transposes=[left_cotangent, right_cotangent],
    batch=_matmul_batch,
    # a product and a sum for each entry of a row, in each result
    flops=lambda inputs, outputs, params: 2 * entries(outputs[0]) * inputs[0].shape[-1],
    code=_matmul_code,
    parts=_matmul_parts,
)


_LONG = 32  # entries of a row from which on NumPy's loop over it is worth its start


def _simpler_matmul(inputs: Sequence[Any], params: Params, definition: Any) -> Any:
    """An outer product has nothing to add up, and BLAS is slow at stacks of them."""
    x, y = map(shape_of, inputs)
    return (multiply, inputs, {}) if x[-1] == 1 and y[-1] >= _LONG else None


matmul.simplify = _simpler_matmul
