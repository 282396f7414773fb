"""``matmul_standardize``: a product shifted and scaled over axes to mean 0, variance 1.

With y = c r as in funcad.primitives.nn, and m(.) for the mean over the axes, the
tangents of y and r are r (t - m(t) - y m(y t)) and -r^2 m(y t).

Over rows of a product X = A B of matrices, both steps are changes of the operands.
With the mean taken off the rows of B, those of X come out centred.  Such a row, a B,
has the mean square a G a' / n, with the Gram matrix G = B B', so that it can be scaled
in A, before the product.  Where rows of X are long beside those of A, both are cheap,
and no pass over X is left.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from funcad.core.tracing import Array, shape_of
from funcad.primitives import nn
from funcad.primitives.fused import (
    OF_OPERANDS,
    Rows,
    plus,
    product_through,
    row_dot,
    row_sum,
)
from funcad.primitives.shape import Shape, reduce_sum

# ---------------------------------------------------------------------- block by block


def _begin(a: Array, b: Array, axis: Shape) -> Any:
    if _centres(a, b, axis):
        return _centred(b), _scale
    return b, _centre_and_scale


def _scale(x: Array, axis: Shape, eps: float) -> tuple[Array]:
    r = row_dot(x, x, axis)
    _squares_to_factors(r, x.size // r.size, eps)
    x *= r
    return (r,)


def _squares_to_factors(squares: Array, n: int, eps: float) -> None:
    """From sums of squares over n entries, in place."""
    squares += n * eps
    np.sqrt(squares, out=squares)
    np.divide(math.sqrt(n), squares, out=squares)


def _centre_and_scale(x: Array, axis: Shape, eps: float) -> tuple[Array]:
    mean = row_sum(x, axis)
    mean /= x.size // mean.size
    x -= mean
    return _scale(x, axis, eps)


def _block_tangent(t: Array, stats: Any, results: Any, axis: Shape) -> None:
    (y, r), (out,), n = results, stats, _count(t, axis)
    mean = row_dot(y, t, axis)
    mean /= n
    t -= row_sum(t, axis) / n
    t -= y * mean
    t *= r
    np.multiply(mean, r * -r, out=out)


def _begin_back(a: Array, b: Array, axis: Shape) -> Any:
    """As on the way forward, centring the right operand centres what it is for.

    The left operand's cotangent is C (I - 1 1'/n) B', the right's A' C (I - 1 1'/n).
    """
    if _centres(a, b, axis):
        return _centred(b), _write_off_centre, _centre
    return b, _write_cotangent, None


def _write_off_centre(out: Array, cts: Any, results: Any, axis: Shape) -> None:
    _write_unscaled(out, cts, results, axis)
    out *= results[1]


def _write_cotangent(out: Array, cts: Any, results: Any, axis: Shape) -> None:
    _write_unscaled(out, cts, results, axis)
    mean = row_sum(out, axis)
    mean /= out.size // mean.size
    out -= mean
    out *= results[1]


def _write_unscaled(out: Array, cts: Any, results: Any, axis: Shape) -> None:
    (ct, ct_r), (y, r) = cts, results
    along = row_dot(y, ct, axis)
    along += r * ct_r
    along /= -(y.size // r.size)
    np.multiply(y, along, out=out)
    out += ct


def _centres(a: Array, b: Array, axis: Shape) -> bool:
    """Whether rows of a product are to be centred by centring the right operand.

    The mean of a row of A B is that of the rows of B, weighted.
    """
    return a.ndim == b.ndim == 2 and axis == (1,) and 4 * len(b) <= len(a)


def _centred(b: Array) -> Array:
    return b - row_sum(b, (1,)) / b.shape[1]


def _centre(b: Array) -> None:
    b -= row_sum(b, (1,)) / b.shape[1]


def _count(x: Array, axis: Shape) -> int:
    shape = shape_of(x)
    return math.prod([shape[k] for k in axis])


# ------------------------------------------------------------------- in the operands

_PASS = 32
"""How many products an entry of a result may take in the time of a pass over it."""

_CONDITION = 32
"""How many times as large as a G a' may be what it is bounded by, |a|^2 |G|.

Its rounding errors are as many times those of a row that is added up itself.
"""


def _folded(a: Array, b: Array, out: Array, eps: float) -> tuple[Array] | None:
    """The product of A's rows, scaled by what A G A' says, and B, centred."""
    if not _folds(a, b):
        return None
    b, gram, most = _with_gram(b)
    # what is no number here is one of the ill-conditioned
    with np.errstate(all="ignore"):
        scaled = a @ gram
        r = row_dot(scaled, a, (1,))
        _squares_to_factors(r, b.shape[1], eps)
        np.multiply(a, r, out=scaled)
        if not row_dot(scaled, scaled, (1,)).max() < most:
            return None
    np.matmul(scaled, b, out=out)
    return (r,)


def _folded_back(
    cts: Any, a: Array, b: Array, results: Any, wrt: Shape
) -> list[Array] | None:
    """Cotangents of the operands from that of Y, C, without that of X.

    That is R (C - W Y), centred, for the diagonal matrices R of the factors r and W of
    w = m(y c), increased by r c_r / n for the cotangent of r.  With S = R A and B
    centred, so that Y = S B, the operands' are

        R (C B' - W S G)  and  S' C - (W S)' S B, centred,

    and n m(y c) is the product of a row of S by that of C B'.
    """
    if not _folds(a, b) or 0 not in wrt:
        return None
    (ct, ct_r), (_, r) = cts, results
    b, gram, most = _with_gram(b)
    scaled = a * r
    with np.errstate(all="ignore"):
        if not row_dot(scaled, scaled, (1,)).max() < most:
            return None
    of_a = ct @ b.T
    along = row_dot(scaled, of_a, (1,))
    along += r * ct_r
    along /= b.shape[1]
    spare = scaled @ gram
    spare *= along
    of_a -= spare
    of_a *= r
    if 1 not in wrt:
        return [of_a]
    np.multiply(scaled, along, out=spare)
    of_b = scaled.T @ ct
    of_b -= (spare.T @ scaled) @ b
    _centre(of_b)
    return [of_a, of_b]


def _folds(a: Array, b: Array) -> bool:
    """Whether this takes less time than passes over the product do.

    It takes products of A by a square matrix, and passes over arrays of A's size.
    """
    (rows, inner), columns = a.shape, b.shape[1]
    return 0 < 8 * inner <= rows and inner * (3 + inner / _PASS) <= columns


def _with_gram(b: Array) -> tuple[Array, Array, Any]:
    """B, centred, the Gram matrix G, and what squares of rows of R A must not reach.

    They have a G a' = n where the variance is not small beside eps.  Where entries of G
    are too small for all their digits, it is, or these squares are no numbers.
    """
    b = _centred(b)
    with np.errstate(all="ignore"):
        gram = b @ b.T
        # the largest sum of a row is not less than |G|
        return b, gram, _CONDITION * b.shape[1] / np.abs(gram).sum(axis=1).max()


# ----------------------------------------------------------------------- derivatives


def _mean_of_product(x: Array, y: Array, axis: Shape) -> Array:
    return reduce_sum(x * y, axis=axis, keepdims=True) / _count(x, axis)


def _tangent(t: Array, results: Any, axis: Shape) -> list[Array]:
    y, r = results
    return [
        nn.standardize_tangent(t, y, r, axis=axis),
        -r * (r * _mean_of_product(y, t, axis)),  # r * r may overflow
    ]


def _cotangent(cts: Any, results: Any, axis: Shape) -> Array:
    (ct, ct_r), (y, r) = cts, results
    return nn.standardize_tangent(ct, y, r, axis=axis) - y * (
        r * (r * ct_r) / _count(y, axis)
    )


def _change(
    ans: Array, t: Array, results: Any, changes: Any, axis: Shape
) -> Array | None:
    rule = nn.standardize_tangent.jvp
    return rule(ans, (t, *results), (None, *changes), {"axis": axis})  # type: ignore


def _tangent_jvp(
    ans: Any, t: Array, results: Any, changes: Any, axis: Shape
) -> list[Array | None]:
    (y, r), (dy, dr) = results, changes
    change = None
    if dy is not None:
        change = -r * (r * _mean_of_product(dy, t, axis))
    if dr is not None:
        change = plus(change, -2 * r * dr * _mean_of_product(y, t, axis))
    first = nn.standardize_tangent(t, y, r, axis=axis)
    return [_change(first, t, results, changes, axis), change]


def _cotangent_jvp(
    ans: Array, cts: Any, results: Any, changes: Any, axis: Shape
) -> Array | None:
    (ct, ct_r), (y, r), (dy, dr) = cts, results, changes
    first = nn.standardize_tangent(ct, y, r, axis=axis)
    change = _change(first, ct, results, changes, axis)
    scaled = r * ct_r / -_count(y, axis)
    if dy is not None:
        change = plus(change, dy * (r * scaled))
    if dr is not None:
        change = plus(change, y * (2 * dr * scaled))
    return change


# ---------------------------------------------------------------------- the primitives

matmul_standardize = product_through(
    Rows(
        "standardize",
        plain=lambda x, axis, eps: nn.standardize.impl(x, axis=axis, eps=eps),
        begin=_begin,
        careful=_centre_and_scale,
        tangent=_tangent,
        cotangent=_cotangent,
        tangent_jvp=_tangent_jvp,
        cotangent_jvp=_cotangent_jvp,
        block_tangent=_block_tangent,
        begin_back=_begin_back,
        folded=_folded,
        folded_back=_folded_back,
        reduced=(False, True),
        weights=(5, 7),
        definitions=(
            """
def matmul_standardize(a, b, axis, eps):
    x = a @ b
    x = x - x.mean(axis=axis, keepdims=True)
    r = 1 / np.sqrt((x * x).mean(axis=axis, keepdims=True) + eps)
    return x * r, r
""",
            """
def matmul_standardize_tangent(*args, axis, wrt):
    *ts, a, b, y, r = args
    t = sum(x @ b if i == 0 else a @ x for i, x in zip(wrt, ts))
    mean = t.mean(axis=axis, keepdims=True)
    along = (y * t).mean(axis=axis, keepdims=True)
    return r * (t - mean - y * along), -r * (r * along)
""",
            """
def matmul_standardize_cotangent(ct, ct_r, a, b, y, r, axis, wrt):
    count = int(np.prod([y.shape[k] for k in axis]))
    along = (y * ct).mean(axis=axis, keepdims=True) + r * ct_r / count
    c = r * (ct - ct.mean(axis=axis, keepdims=True) - y * along)
"""
            + OF_OPERANDS,
        ),
    )
)
