"""Linear algebra on stacks of matrices.

Derivatives follow M. Giles, "An extended collection of matrix derivative results for
forward and reverse mode automatic differentiation" (2008), and I. Murray,
"Differentiation of the Cholesky decomposition" (2016).  Right-hand sides are matrices.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from funcad.backends import backend_of, namespace
from funcad.core.tracing import Array, Params, Primitive, dtype_of, shape_of
from funcad.primitives.contraction import adjoint, matmul, swap_last
from funcad.primitives.elementwise import broadcast_shapes, imag, multiply, real
from funcad.primitives.families import Rule, one_at_a_time, sum_of_jvps
from funcad.primitives.shape import Shape, batches_to_front, reduce_sum, sum_to


def _batch(primitive: Primitive) -> Rule:
    """Batch axes in front are further leading axes, which every function here takes."""

    def batch(values: Any, axes: Any, **params: Any) -> Any:
        rank = max(
            len(shape_of(v)) - (a is not None)
            for v, a in zip(values, axes, strict=True)
        )
        values, _ = batches_to_front(values, axes, rank)
        out = primitive(*values, **params)
        return out, [0] * len(out) if primitive.multiple else 0

    return batch


def _inexact(*operands: Any) -> np.dtype[Any]:
    """``numpy.linalg`` takes integers for numbers of double precision."""
    dtypes = [x.dtype for x in operands]
    return np.result_type(*[d if d.kind in "fc" else np.float64 for d in dtypes])


def _common(a: Array, b: Array) -> tuple[Array, Array]:
    """Operands of one dtype and one stack, which is what every library can take."""
    dtype = _inexact(a, b)
    lead = broadcast_shapes([a.shape[:-2], b.shape[:-2]])
    xp = namespace(a, b)
    return tuple(  # type: ignore[return-value]
        xp.broadcast_to(x.astype(dtype, copy=False), (*lead, *x.shape[-2:]))
        for x in (a, b)
    )


def _solve_abstract(a: Any, b: Any) -> tuple[Shape, Any]:
    lead = broadcast_shapes([a.shape[:-2], b.shape[:-2]])
    return (*lead, *b.shape[-2:]), _inexact(a, b)


solve = Primitive(
    "solve",
    lambda a, b: namespace(a, b).linalg.solve(*_common(a, b)),
    _solve_abstract,
    # a x = b:  da x + a dx = db
    jvp=sum_of_jvps(
        lambda t, ans, a, b: -solve(a, matmul(t, ans)),
        lambda t, ans, a, b: solve(a, t),
    ),
    transpose=one_at_a_time(
        "solve", [None, lambda ct, aval, a, b: sum_to(solve(swap_last(a), ct), aval)]
    ),
    family="linalg",
)
solve.batch = _batch(solve)


inv = Primitive(
    "inv",
    lambda a: namespace(a).linalg.inv(a),
    lambda a: (a.shape, _inexact(a)),
    jvp=sum_of_jvps(lambda t, ans, a: -matmul(matmul(ans, t), ans)),
    family="linalg",
)
inv.batch = _batch(inv)


def _cholesky_jvp(t: Array, ans: Array, a: Array) -> Array:
    """dL = L phi(L^-1 dA L^-H), where phi takes the lower triangle, half the diagonal.

    Murray (2016), equation 8; dA is the Hermitian part of the tangent.
    """
    t = 0.5 * (t + adjoint(t))
    inner = triangular_solve(
        ans, adjoint(triangular_solve(ans, t, lower=True)), lower=True
    )
    n = a.shape[-1]
    phi = np.tri(n, dtype=ans.dtype) - 0.5 * np.eye(n, dtype=ans.dtype)
    return matmul(ans, multiply(adjoint(inner), _beside(ans, phi)))


def _beside(x: Array, constant: Any) -> Array:
    """A constant in the memory where ``x`` lives."""
    return backend_of(x).from_host(constant)


cholesky = Primitive(
    "cholesky",
    lambda a: namespace(a).linalg.cholesky(a),
    lambda a: (a.shape, _inexact(a)),
    jvp=sum_of_jvps(_cholesky_jvp),
    family="linalg",
)
cholesky.batch = _batch(cholesky)


def _triangle(t: Array, a: Array, lower: bool) -> Array:
    mask = np.tri(a.shape[-1], dtype=a.dtype)
    return multiply(t, _beside(a, mask if lower else mask.T.copy()))


def _triangular_transpose(ct: Array, aval: Any, a: Array, b: Any, lower: bool) -> Array:
    return sum_to(triangular_solve(swap_last(a), ct, lower=not lower), aval)


triangular_solve = Primitive(
    "triangular_solve",
    lambda a, b, lower: backend_of(a, b).solve_triangular(*_common(a, b), lower),
    lambda a, b, lower: _solve_abstract(a, b),
    jvp=sum_of_jvps(
        lambda t, ans, a, b, lower: (
            -triangular_solve(a, matmul(_triangle(t, a, lower), ans), lower=lower)
        ),
        lambda t, ans, a, b, lower: triangular_solve(a, t, lower=lower),
    ),
    transpose=one_at_a_time("triangular_solve", [None, _triangular_transpose]),
    family="linalg",
)
triangular_solve.batch = _batch(triangular_solve)


def _trace(t: Array, a: Array) -> Array:
    eye = _beside(a, np.eye(a.shape[-1], dtype=a.dtype))
    rank = len(a.shape)
    return reduce_sum(multiply(t, eye), axis=(rank - 2, rank - 1), keepdims=False)


def _slogdet_jvp(ans: Any, primals: Any, tangents: Any, params: Params) -> Any:
    """d log det A = tr(A^-1 dA), whose imaginary part turns the sign."""
    (sign, _), (a,), (t,) = ans, primals, tangents
    trace = _trace(solve(a, t), a)
    if dtype_of(a).kind != "c":
        return None, trace
    return sign * (1j * imag(trace)), real(trace)


def _slogdet_abstract(a: Any) -> list[tuple[Shape, Any]]:
    dtype = _inexact(a)
    return [(a.shape[:-2], dtype), (a.shape[:-2], np.empty(0, dtype).real.dtype)]


slogdet = Primitive(
    "slogdet",
    lambda a: tuple(namespace(a).linalg.slogdet(a)),
    _slogdet_abstract,
    jvp=_slogdet_jvp,
    multiple=True,
    family="linalg",
)
slogdet.batch = _batch(slogdet)
