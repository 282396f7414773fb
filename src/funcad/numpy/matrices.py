"""``numpy.linalg``: factorisations, solutions, inverses, norms."""

from __future__ import annotations

from typing import Any

import numpy as np

from funcad.core.errors import UnsupportedArgumentError
from funcad.core.tracing import Array, dtype_of, shape_of
from funcad.numpy.dispatch import as_operands, implements
from funcad.numpy.products import check_inner
from funcad.numpy.reductions import axes_of, vector_norm_2
from funcad.numpy.shaping import matrix_transpose
from funcad.primitives import linalg as p
from funcad.primitives.elementwise import absolute, conjugate
from funcad.primitives.shape import convert


def _square(name: str, a: Array) -> None:
    shape = shape_of(a)
    if len(shape) < 2:
        raise np.linalg.LinAlgError(
            f"{len(shape)}-dimensional array given to {name}. Array must be at least "
            "two-dimensional"
        )
    if shape[-1] != shape[-2]:
        raise np.linalg.LinAlgError(
            f"Last 2 dimensions of the array given to {name} must be square, not "
            f"{shape}"
        )


@implements(np.linalg.solve)
def solve(a: Array, b: Array) -> Array:
    a, b = as_operands(a, b)
    _square("solve", a)
    if len(shape_of(b)) == 1:
        check_inner("solve", a.shape, b.shape, a.shape[-1], b.shape[0])
        return np.squeeze(p.solve(a, np.expand_dims(b, -1)), -1)
    check_inner("solve", a.shape, b.shape, a.shape[-1], b.shape[-2])
    return p.solve(a, b)


@implements(np.linalg.inv)
def inv(a: Array) -> Array:
    _square("inv", a)
    return p.inv(a)


@implements(np.linalg.cholesky)
def cholesky(a: Array, /, *, upper: bool = False) -> Array:
    _square("cholesky", a)
    if upper:
        lower = p.cholesky(matrix_transpose(conjugate(a)))
        return conjugate(matrix_transpose(lower))
    return p.cholesky(a)


@implements(np.linalg.slogdet)
def slogdet(a: Array) -> Any:
    _square("slogdet", a)
    sign, logdet = p.slogdet(a)
    return type(np.linalg.slogdet(np.eye(1)))(sign, logdet)


@implements(np.linalg.norm)
def norm(x: Array, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Array:
    if dtype_of(x).kind in "bui":
        x = convert(x, dtype=np.dtype(np.float64))
    rank = len(x.shape)
    axes = axes_of(axis, rank)
    if (
        ord is None
        or (ord == 2 and len(axes) == 1)
        or (ord == "fro" and len(axes) == 2)
    ):
        return vector_norm_2(x, axes, keepdims)
    if len(axes) == 1:
        return vector_norm(x, axis=axes, keepdims=keepdims, ord=ord)
    if len(axes) == 2 and ord in (1, -1, np.inf, -np.inf):
        summed = axes[0] if ord in (1, -1) else axes[1]
        extreme = np.max if ord > 0 else np.min
        sums = np.sum(absolute(x), axis=summed, keepdims=True)
        best = extreme(sums, axis=axes, keepdims=True)
        return best if keepdims else np.squeeze(best, axes)
    if len(axes) == 2 and ord in (2, -2, "nuc"):
        raise UnsupportedArgumentError(
            f"np.linalg.norm of traced matrices does not take ord={ord!r}, which needs "
            'singular values. Use ord="fro", 1 or np.inf.'
        )
    raise ValueError(f"Invalid norm order {ord!r} for {len(axes)} axes.")


@implements(np.linalg.vector_norm)
def vector_norm(
    x: Array,
    /,
    *,
    axis: Any = None,
    keepdims: bool = False,
    ord: Any = 2,
) -> Array:
    axes = axes_of(axis, len(x.shape))
    if ord == 2:
        return vector_norm_2(x, axes, keepdims)
    size = absolute(x)
    if ord == np.inf:
        return np.max(size, axis=axes, keepdims=keepdims)
    if ord == -np.inf:
        return np.min(size, axis=axes, keepdims=keepdims)
    if ord == 0:
        counted = convert(x != 0, dtype=size.dtype)
        return np.sum(counted, axis=axes, keepdims=keepdims)
    if ord == 1:
        return np.sum(size, axis=axes, keepdims=keepdims)
    return np.sum(size**ord, axis=axes, keepdims=keepdims) ** (1 / ord)
