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
from funcad.primitives.elementwise import broadcast_shapes, conjugate
from funcad.primitives.families import multilinear
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


matmul = multilinear(
    "matmul",
    _matmul,
    _matmul_abstract,
    transposes=[left_cotangent, right_cotangent],
    batch=_matmul_batch,
    # a product and a sum for each entry of a row, in each result
    flops=lambda inputs, outputs, params: 2 * entries(outputs[0]) * inputs[0].shape[-1],
    code=_matmul_code,
)
