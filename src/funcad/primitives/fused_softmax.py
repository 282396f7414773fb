"""``matmul_softmax``: softmax of a product over axes."""

from __future__ import annotations

import contextvars
from typing import Any

import numpy as np

from funcad.core.counting import ELEMENTARY
from funcad.core.tracing import Array
from funcad.primitives import nn
from funcad.primitives.fused import OF_OPERANDS, Rows, product_through, row_dot, row_sum
from funcad.primitives.shape import Shape


def _begin(a: Array, b: Array, axis: Shape) -> Any:
    return b, _unshifted


def _unshifted(x: Array, axis: Shape) -> tuple[()] | None:
    """Exponentials of entries as they are, which nearly all products allow."""
    factor = _SILENT.copy().run(_exponentials, x, axis)
    if factor is None:
        return None
    x *= factor
    return ()


def _exponentials(x: Array, axis: Shape) -> Array | None:
    """One over their sums, if all of these are numbers that have lost no digits."""
    np.exp(x, out=x)
    total = row_sum(x, axis)
    factor = np.reciprocal(total)
    # infinite or no number if a sum is zero, infinite, or too small or large to square
    squares = np.vdot(total, total) + np.vdot(factor, factor)
    return factor if squares < np.inf else None


_SILENT = contextvars.Context()
"""In which overflow is no warning; this takes less than np.errstate does."""
_SILENT.run(np.seterr, all="ignore")


def _shifted(x: Array, axis: Shape) -> tuple[()]:
    top = x.max(axis=axis, keepdims=True)
    # minus infinity less minus infinity is no number
    top[top == -np.inf] = 0
    x -= top
    np.exp(x, out=x)
    total = row_sum(x, axis)
    total[total == 0] = 1
    x /= total
    return ()


def _begin_back(a: Array, b: Array, axis: Shape) -> Any:
    return b, _write_cotangent, None


def _write_cotangent(out: Array, cts: Any, results: Any, axis: Shape) -> None:
    (ct,), (s,) = cts, results
    np.subtract(ct, row_dot(ct, s, axis), out=out)
    out *= s


def _tangent(t: Array, results: Any, axis: Shape) -> list[Array]:
    return [nn.softmax_tangent(t, *results, axis=axis)]


def _cotangent(cts: Any, results: Any, axis: Shape) -> Array:
    return nn.softmax_tangent(*cts, *results, axis=axis)


def _change(t: Array, results: Any, changes: Any, axis: Shape) -> Array:
    rule = nn.softmax_tangent.jvp
    return rule(None, (t, *results), (None, *changes), {"axis": axis})  # type: ignore


def _block_tangent(t: Array, stats: Any, results: Any, axis: Shape) -> None:
    (s,) = results
    t -= row_dot(t, s, axis)
    t *= s


matmul_softmax = product_through(
    Rows(
        "softmax",
        plain=lambda x, axis: (nn.softmax.impl(x, axis=axis),),
        begin=_begin,
        careful=_shifted,
        tangent=_tangent,
        cotangent=_cotangent,
        tangent_jvp=lambda ans, t, results, changes, axis: [
            _change(t, results, changes, axis)
        ],
        cotangent_jvp=lambda ans, cts, results, changes, axis: _change(
            cts[0], results, changes, axis
        ),
        block_tangent=_block_tangent,
        begin_back=_begin_back,
        folded=None,
        folded_back=None,
        reduced=(False,),
        weights=(ELEMENTARY + 4, 4),
        definitions=(
            """
def matmul_softmax(a, b, axis):
    x = a @ b
    shift = x.max(axis=axis, keepdims=True)
    e = np.exp(x - np.where(shift == -np.inf, 0, shift))
    total = e.sum(axis=axis, keepdims=True)
    return (e / np.where(total == 0, 1, total),)
""",
            """
def matmul_softmax_tangent(*args, axis, wrt):
    *ts, a, b, s = args
    t = sum(x @ b if i == 0 else a @ x for i, x in zip(wrt, ts))
    return (s * (t - (s * t).sum(axis=axis, keepdims=True)),)
""",
            """
def matmul_softmax_cotangent(ct, a, b, s, axis, wrt):
    c = s * (ct - (s * ct).sum(axis=axis, keepdims=True))
"""
            + OF_OPERANDS,
        ),
    )
)
