"""The exponential, the logarithm and the square root of square matrices.

Sylvester's equation is here too, which the derivative of the square root solves.

The derivative of f at A along E is the upper right block of f([[A, E], [0, A]]), by R.
Mathias, "A chain rule for matrix functions and applications" (1996).  It is linear in
E, its transpose is the derivative at the transpose of A, and its own derivative is
again a block of it: N. Higham and S. Relton, "Higher order Frechet derivatives of
matrix functions and the level-2 condition number" (2014).  Operands are matrices of
floats or complex numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from funcad.backends import backend_of, namespace
from funcad.core.counting import each_matrix, entries
from funcad.core.errors import DegenerateError
from funcad.core.tracing import Array, Params, Primitive, dtype_of
from funcad.primitives.contraction import matmul, swap_last
from funcad.primitives.elementwise import broadcast_shapes
from funcad.primitives.families import one_at_a_time, sum_of_jvps
from funcad.primitives.linalg import batch_stacks
from funcad.primitives.shape import (
    Shape,
    broadcast_to,
    concatenate,
    convert,
    split,
    sum_to,
)


class ComplexResultError(DegenerateError):
    """A function of a real matrix that is complex there."""


def _kept_real(name: str, out: Array, dtype: Any) -> Array:
    """The result for a real matrix, which some algorithms find by complex numbers."""
    if out.dtype.kind == "c" and dtype.kind != "c":
        n, eps = out.shape[-1], float(np.finfo(dtype).eps)
        if bool(abs(out.imag).max() > 100 * n * eps * abs(out).max()):
            raise ComplexResultError(
                f"{name} of this real matrix is complex, since it has eigenvalues "
                "that are negative. Write x.astype(complex) for its argument."
            )
        out = out.real
    return out.astype(dtype, copy=False)


def matrix_function(
    name: str, cubes: float, singular_too: bool = True
) -> tuple[Primitive, Primitive]:
    """A function of matrices that SciPy has, and its derivative along a direction.

    It takes ``cubes`` times n^3 operations.  ``singular_too`` says whether there is a
    derivative at singular matrices.
    """

    def impl(a: Array) -> Array:
        if a.size == 0:
            return a.copy()
        return _kept_real(name, getattr(backend_of(a).linalg, name)(a), a.dtype)

    def change_impl(a: Array, t: Array) -> Array:
        xp = namespace(a, t)
        dtype = np.result_type(a.dtype, t.dtype)
        lead = broadcast_shapes([a.shape[:-2], t.shape[:-2]])
        n = a.shape[-1]
        if t.size == 0 or a.size == 0:
            return xp.zeros((*lead, n, n), dtype)
        # the direction as large as the matrix, lest it decide how f is computed
        size, wanted = abs(t).max(), abs(a).max()
        ratio = size / xp.where(wanted > 0, wanted, 1) if bool(size > 0) else 1
        whole = xp.zeros((*lead, 2 * n, 2 * n), dtype)
        whole[..., :n, :n] = a
        whole[..., n:, n:] = a
        whole[..., :n, n:] = t / ratio
        out = _kept_real(name, getattr(backend_of(a).linalg, name)(whole), dtype)
        out = out[..., :n, n:]
        # by so much does a direction of the matrix's own size change what is smooth
        limit = np.inf if singular_too else 0.1 / float(np.finfo(dtype).eps)
        if not bool((abs(out).max() < limit) | ~xp.isfinite(whole).all()):
            raise DegenerateError(
                f"the derivative of {name} at this matrix is not finite: "
                + ("it overflows." if singular_too else "the matrix is singular.")
            )
        return (out * ratio).astype(dtype, copy=False)

    def abstract(a: Any, t: Any) -> tuple[Shape, Any]:
        lead = broadcast_shapes([a.shape[:-2], t.shape[:-2]])
        return (*lead, *a.shape[-2:]), np.result_type(a.dtype, t.dtype)

    def change_of_a(s: Array, ans: Array, a: Array, t: Array) -> Array:
        # the second derivative is symmetric in both directions
        out = change(_blocks(a, t), _blocks(s, None))
        return _upper_right(out, a.shape[-1])

    change = Primitive(
        f"{name}_change",
        change_impl,
        abstract,
        jvp=sum_of_jvps(change_of_a, lambda s, ans, a, t: change(a, s)),
        transpose=one_at_a_time(
            f"{name}_change",
            [
                None,
                lambda ct, aval, a, t: sum_to(change(swap_last(a), ct), aval),
            ],
        ),
        family="linalg",
    )
    change.batch = batch_stacks(change)
    change.flops = each_matrix(lambda m, n: cubes * (2 * n) ** 3)
    function = Primitive(
        name,
        impl,
        lambda a: (a.shape, a.dtype),
        jvp=sum_of_jvps(lambda t, ans, a: change(a, t)),
        family="linalg",
    )
    function.batch = batch_stacks(function)
    function.flops = each_matrix(lambda m, n: cubes * n**3)
    return function, change


def _blocks(a: Array, corner: Array | None) -> Array:
    """The matrices [[a, corner], [0, a]]."""
    dtype = dtype_of(a) if corner is None else np.result_type(a.dtype, corner.dtype)
    shapes = [a.shape] if corner is None else [a.shape, corner.shape]
    shape = broadcast_shapes(shapes)
    zeros = namespace(a).zeros(shape, dtype)
    a = _shaped(a, shape, dtype)
    corner = zeros if corner is None else _shaped(corner, shape, dtype)
    rank = len(shape)
    above = concatenate(a, corner, axis=rank - 1)
    below = concatenate(zeros, a, axis=rank - 1)
    return concatenate(above, below, axis=rank - 2)


def _shaped(x: Array, shape: Shape, dtype: Any) -> Array:
    x = x if dtype_of(x) == dtype else convert(x, dtype=dtype)
    return x if x.shape == shape else broadcast_to(x, shape=shape)


def _upper_right(x: Array, n: int) -> Array:
    rank = len(x.shape)
    above = split(x, sizes=(n, n), axis=rank - 2)[0]
    return split(above, sizes=(n, n), axis=rank - 1)[1]


# Six products and the solution with a matrix, for Pade's approximant of degree 13, and
# no squarings: Al-Mohy and Higham (2009).
expm, expm_change = matrix_function("expm", 6 * 2 + 8 / 3)
# Schur's form and the way back, and some twelve roots and solutions with triangles:
# Al-Mohy and Higham (2012).
logm, logm_change = matrix_function("logm", 28 + 12 / 3, singular_too=False)


# --------------------------------------------------------- Sylvester, square roots


def _sylvester(a: Array, b: Array, q: Array) -> Array:
    xp = namespace(a, b, q)
    dtype = np.result_type(a.dtype, b.dtype, q.dtype)
    lead = broadcast_shapes([x.shape[:-2] for x in (a, b, q)])
    a, b, q = (
        xp.broadcast_to(x.astype(dtype, copy=False), (*lead, *x.shape[-2:]))
        for x in (a, b, q)
    )
    return backend_of(a, b, q).solve_sylvester(a, b, q)


def _sylvester_abstract(a: Any, b: Any, q: Any) -> tuple[Shape, Any]:
    lead = broadcast_shapes([x.shape[:-2] for x in (a, b, q)])
    return (*lead, *q.shape[-2:]), np.result_type(a.dtype, b.dtype, q.dtype)


def _sylvester_jvp(
    ans: Array, primals: Any, tangents: Any, params: Params
) -> Array | None:
    s, t, change = tangents
    for moved in (
        None if s is None else matmul(s, ans),
        None if t is None else matmul(ans, t),
    ):
        if moved is not None:
            change = -moved if change is None else change - moved
    if change is None:
        return None
    return solve_sylvester(*primals[:2], change)  # type: ignore[no-any-return]


def _sylvester_flops(inputs: Any, outputs: Any, params: Params) -> float:
    """Two Schur forms, four products with their vectors, and substitution.

    R. H. Bartels and G. W. Stewart, *Solution of the equation AX + XB = C*, 1972.
    """
    m, n = inputs[0].shape[-1], inputs[1].shape[-1]
    count = entries(outputs[0]) / (m * n) if m * n else 0
    return count * (25 * (m**3 + n**3) + 5 * m * n * (m + n))


# a x + x b = q
solve_sylvester = Primitive(
    "solve_sylvester",
    _sylvester,
    _sylvester_abstract,
    jvp=_sylvester_jvp,
    transpose=one_at_a_time(
        "solve_sylvester",
        [
            None,
            None,
            lambda ct, aval, a, b, q: sum_to(
                solve_sylvester(swap_last(a), swap_last(b), ct), aval
            ),
        ],
    ),
    family="linalg",
)
solve_sylvester.batch = batch_stacks(solve_sylvester)
solve_sylvester.flops = _sylvester_flops


def _sqrtm(a: Array) -> Array:
    if a.size == 0:
        return a.copy()
    return _kept_real("sqrtm", backend_of(a).linalg.sqrtm(a), a.dtype)


sqrtm = Primitive(
    "sqrtm",
    _sqrtm,
    lambda a: (a.shape, a.dtype),
    # from X X = A:  dX X + X dX = dA
    jvp=sum_of_jvps(lambda t, ans, a: solve_sylvester(ans, ans, t)),
    family="linalg",
)
sqrtm.batch = batch_stacks(sqrtm)
# Schur's form and its root: N. J. Higham, Functions of Matrices, algorithm 6.3
sqrtm.flops = each_matrix(lambda m, n: (28 + 1 / 3) * n**3)
