"""Eigenvalues, singular values and orthogonal factors of stacks of matrices.

Where a function needs values and never vectors (``eigvalsh``, ``svdvals``, a nuclear
norm), it factorises ``stop_gradient(a)`` once and hands the factors, together with
``a``, to :data:`eigenvalues` or :data:`singular_values`: their first derivative needs
no gap between values, so that it is there where values repeat.  The derivative of
vectors divides by gaps, which :data:`funcad.primitives.linalg.guard` refuses where
there are none.  Vectors are determined up to a sign or phase, and their derivative up
to one imaginary number each; functions that do not depend on the phase have one
derivative.

Operands are matrices of floats or complex numbers.  Derivatives follow M. Giles, "An
extended collection of matrix derivative results for forward and reverse mode automatic
differentiation" (2008), J. Townsend, "Differentiating the singular value decomposition"
(2016), and S. Walter and L. Lehmann, "Algorithmic differentiation of linear algebra
functions with application in optimum experimental design" (2010).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.counting import each_matrix, nothing, untouched
from funcad.core.tracing import Array, Params, Primitive, dtype_of
from funcad.primitives.contraction import adjoint, matmul, swap_last
from funcad.primitives.elementwise import (
    conjugate,
    imag,
    multiply,
    real,
    select,
    stop_gradient,
)
from funcad.primitives.families import sum_of_jvps
from funcad.primitives.linalg import (
    batch_stacks,
    beside,
    column,
    diagonal_of,
    factored_solve,
    guard,
    half_of_the_digits,
    hermitian_part,
    largest,
    lu_factor,
    rounding,
    row,
    take_block,
    triangle_of,
    triangular_solve,
)
from funcad.primitives.shape import Shape, concatenate, convert, reduce_sum, split


def _real_dtype(dtype: Any) -> Any:
    return np.empty(0, dtype).real.dtype


def _off_diagonal(sums: Array) -> Array:
    """The same matrices with an infinite diagonal, to divide by."""
    on = beside(sums, np.eye(sums.shape[-1], dtype=bool))
    return select(on, np.inf, sums)


def _columns_dot(u: Array, x: Array) -> Array:
    """The inner product of each column of ``u`` with that of ``x``."""
    u = conjugate(u) if dtype_of(u).kind == "c" else u
    return reduce_sum(multiply(u, x), axis=(len(x.shape) - 2,), keepdims=False)


def _real_part(x: Array) -> Array:
    return real(x) if dtype_of(x).kind == "c" else x


def _over(t: Array, d: Array, scale: Array, n: int, why: str) -> Array:
    """t / d, refused where d vanishes next to ``scale`` but for ``n`` roundings.

    It is guarded on both sides, one of which a cotangent meets first.
    """
    params = {"tolerance": rounding(scale, n), "why": why}
    held = stop_gradient(d)
    return guard(guard(t, held, scale, **params) / d, held, scale, **params)


# ------------------------------------------------------------- Hermitian eigenvectors

_REPEATED_EIGENVALUES = (
    "the derivative of eigenvectors does not exist where eigenvalues repeat (to "
    "working precision). Where only values are needed, use np.linalg.eigvalsh or "
    "np.linalg.eigvals, whose first derivative is finite there; for a function of the "
    "matrix use funcad.scipy.linalg.expm, sqrtm or logm, or np.linalg.inv."
)


def _eigenvalues_of_a(t: Array, ans: Array, a: Array, w: Array, v: Array) -> Array:
    """dw_i = v_i^H dA v_i; dA is the Hermitian part of the tangent."""
    v = eigenvectors(a, w, v)
    return _real_part(_columns_dot(v, matmul(hermitian_part(t), v)))


def _eigenvectors_of_a(t: Array, ans: Array, a: Array, w: Array, v: Array) -> Array:
    """dV = V K with K_ij = (V^H dA V)_ij / (w_j - w_i), and zero on the diagonal."""
    w = eigenvalues(a, w, v)
    gaps = _off_diagonal(row(w) - column(w))
    inner = matmul(adjoint(ans), matmul(hermitian_part(t), ans))
    turn = _over(inner, gaps, column(largest(w)), a.shape[-1], _REPEATED_EIGENVALUES)
    return matmul(ans, turn)


# The values and vectors of a, given as w and v; a is there for its tangent alone.
eigenvalues = Primitive(
    "eigenvalues",
    lambda a, w, v: w,
    lambda a, w, v: (w.shape, w.dtype),
    jvp=sum_of_jvps(_eigenvalues_of_a, None, None),
    family="linalg",
)
eigenvalues.definition = """
def eigenvalues(a, w, v):
    return w
"""
eigenvalues.batch = batch_stacks(eigenvalues, 2, 1, 2)
eigenvalues.flops, eigenvalues.traffic = nothing, untouched
eigenvectors = Primitive(
    "eigenvectors",
    lambda a, w, v: v,
    lambda a, w, v: (v.shape, v.dtype),
    jvp=sum_of_jvps(_eigenvectors_of_a, None, None),
    family="linalg",
)
eigenvectors.definition = """
def eigenvectors(a, w, v):
    return v
"""
eigenvectors.batch = batch_stacks(eigenvectors, 2, 1, 2)
eigenvectors.flops, eigenvectors.traffic = nothing, untouched


def _eigh_jvp(ans: Any, primals: Any, tangents: Any, params: Params) -> Any:
    (w, v), (a,), (t,) = ans, primals, tangents
    return _eigenvalues_of_a(t, w, a, w, v), _eigenvectors_of_a(t, v, a, w, v)


eigh = Primitive(
    "eigh",
    lambda a, uplo: tuple(namespace(a).linalg.eigh(a, UPLO=uplo)),
    lambda a, uplo: [(a.shape[:-1], _real_dtype(a.dtype)), (a.shape, a.dtype)],
    jvp=_eigh_jvp,
    multiple=True,
    family="linalg",
)
eigh.definition = """
def eigh(a, uplo):
    return tuple(np.linalg.eigh(a, UPLO=uplo))
"""
eigh.batch = batch_stacks(eigh)
# here and below: Golub and Van Loan, Matrix Computations, sections 8.3, 7.5, 8.6, 5.2
eigh.flops = each_matrix(lambda m, n: 9 * n**3)


# --------------------------------------------------------------- general eigenvectors

_DEFECTIVE = (
    "the derivative of eigenvalues and eigenvectors does not exist at a defective "
    "matrix, which has too few eigenvectors (to half of the digits). Use a function of "
    "the matrix that is smooth there: its trace, np.linalg.det, "
    "funcad.scipy.linalg.expm or powers."
)


def _moved(t: Array, v: Array) -> Array:
    """V^-1 dA V, where the factors of V show that its inverse means anything."""
    factors = lu_factor(stop_gradient(v))
    pivots = diagonal_of(factors[0])
    params = {"tolerance": half_of_the_digits(v), "why": _DEFECTIVE}
    t = guard(t, pivots, largest(pivots), **params)
    moved = factored_solve(v, *factors, matmul(t, v), transposed=False)
    return guard(moved, pivots, largest(pivots), **params)


def _general_values_of_a(t: Array, ans: Array, a: Array, w: Array, v: Array) -> Array:
    """dw_i = (V^-1 dA V)_ii."""
    v = general_eigenvectors(a, w, v)
    return diagonal_of(_moved(t, v))


def _general_vectors_of_a(t: Array, ans: Array, a: Array, w: Array, v: Array) -> Array:
    """dV = V K with K_ij = (V^-1 dA V)_ij / (w_j - w_i), then kept at length one."""
    w = general_eigenvalues(a, w, v)
    gaps = _off_diagonal(row(w) - column(w))
    scale = column(largest(w))
    turn = _over(_moved(t, ans), gaps, scale, a.shape[-1], _REPEATED_EIGENVALUES)
    change = matmul(ans, turn)
    return change - multiply(ans, row(_columns_dot(ans, change)))


# As above, for matrices that need not be Hermitian; values and vectors are complex.
general_eigenvalues = Primitive(
    "general_eigenvalues",
    lambda a, w, v: w,
    lambda a, w, v: (w.shape, w.dtype),
    jvp=sum_of_jvps(_general_values_of_a, None, None),
    family="linalg",
)
general_eigenvalues.definition = """
def general_eigenvalues(a, w, v):
    return w
"""
general_eigenvalues.batch = batch_stacks(general_eigenvalues, 2, 1, 2)
general_eigenvalues.flops, general_eigenvalues.traffic = nothing, untouched
general_eigenvectors = Primitive(
    "general_eigenvectors",
    lambda a, w, v: v,
    lambda a, w, v: (v.shape, v.dtype),
    jvp=sum_of_jvps(_general_vectors_of_a, None, None),
    family="linalg",
)
general_eigenvectors.definition = """
def general_eigenvectors(a, w, v):
    return v
"""
general_eigenvectors.batch = batch_stacks(general_eigenvectors, 2, 1, 2)
general_eigenvectors.flops, general_eigenvectors.traffic = nothing, untouched


def _complex_dtype(dtype: Any) -> Any:
    return np.result_type(dtype, np.complex64)


def _eig(a: Array) -> tuple[Array, Array]:
    w, v = namespace(a).linalg.eig(a)
    dtype = _complex_dtype(a.dtype)
    return w.astype(dtype, copy=False), v.astype(dtype, copy=False)


def _eig_jvp(ans: Any, primals: Any, tangents: Any, params: Params) -> Any:
    (w, v), (a,), (t,) = ans, primals, tangents
    return _general_values_of_a(t, w, a, w, v), _general_vectors_of_a(t, v, a, w, v)


eig = Primitive(
    "eig",
    _eig,
    lambda a: [
        (a.shape[:-1], _complex_dtype(a.dtype)),
        (a.shape, _complex_dtype(a.dtype)),
    ],
    jvp=_eig_jvp,
    multiple=True,
    family="linalg",
)
eig.definition = """
def eig(a):
    dtype = np.result_type(a.dtype, np.complex64)
    return tuple(x.astype(dtype) for x in np.linalg.eig(a))
"""
eig.batch = batch_stacks(eig)
eig.flops = each_matrix(lambda m, n: 25 * n**3)


# ------------------------------------------------------------ singular value triples

_REPEATED_SINGULAR_VALUES = (
    "the derivative of singular vectors does not exist where singular values repeat "
    "(to working precision). Where only values are needed, use np.linalg.svdvals or "
    'np.linalg.norm(x, "nuc"), whose first derivative is finite there.'
)
_ZERO_SINGULAR_VALUES = (
    "the derivative of singular vectors does not exist where singular values are zero "
    "(to working precision). Where only values are needed, use np.linalg.svdvals; for "
    "a matrix of constant lower rank use np.linalg.pinv."
)


def _narrow(u: Array, vh: Array, k: int) -> tuple[Array, Array]:
    """The vectors that belong to singular values, both as columns."""
    return take_block(u, u.shape[-2], k), adjoint(take_block(vh, k, vh.shape[-1]))


def _singular_values_of_a(
    t: Array, ans: Array, a: Array, u: Array, s: Array, vh: Array
) -> Array:
    """ds_i = Re u_i^H dA v_i, and zero where s_i is zero, as for a modulus."""
    u, vh = singular_vectors(a, u, s, vh)
    left, right = _narrow(u, vh, ans.shape[-1])
    change = _real_part(_columns_dot(left, matmul(t, right)))
    s = stop_gradient(ans)
    least = rounding(s, max(a.shape[-2:])) / 10 * largest(s)
    return select(s > least, change, 0.0)


def _singular_vectors_jvp(ans: Any, primals: Any, tangents: Any, params: Any) -> Any:
    a, u, s, vh = primals
    if tangents[0] is None:
        return None
    s = singular_values(a, u, s, vh)
    return _singular_vectors_of_a(tangents[0], s, *ans)


def _singular_vectors_of_a(
    t: Array, s: Array, u: Array, vh: Array
) -> tuple[Array, Array]:
    """Townsend (2016), with the parts of U^H dA V = H + K taken one by one.

    With H Hermitian and K antihermitian, the vectors turn by dU = U (E + G) and
    dV = V (E - G), where E_ij = H_ij / (s_j - s_i) and G_ij = K_ij / (s_j + s_i); the
    diagonal of E is zero, and that of G, which is imaginary, divides the change of
    phase evenly.  Where U is tall its columns also move out of their own span, by
    (I - U U^H) dA V / s, and the columns that fill up a square U move against them.
    """
    k = s.shape[-1]
    n = max(u.shape[-2], vh.shape[-1])
    left, right = _narrow(u, vh, k)
    moved = matmul(adjoint(left), matmul(t, right))
    scale = column(largest(s))
    gaps = _off_diagonal(row(s) - column(s))
    sums = row(s) + column(s)
    if dtype_of(moved).kind != "c":
        sums = _off_diagonal(sums)
    e = _over(hermitian_part(moved), gaps, scale, n, _REPEATED_SINGULAR_VALUES)
    skew = 0.5 * (moved - adjoint(moved))
    g = _over(skew, sums, scale, n, _ZERO_SINGULAR_VALUES)
    d_left = _turned(e + g, left, u, s, lambda: matmul(t, right))
    d_right = _turned(e - g, right, adjoint(vh), s, lambda: matmul(adjoint(t), left))
    return d_left, adjoint(d_right)


def _turned(turn: Array, own: Array, full: Array, s: Array, image: Any) -> Array:
    """Change of orthonormal columns that turn among each other and out of their span.

    ``image()`` gives dA times the other side's vectors; ``full`` holds ``own`` and
    perhaps the columns that fill it up.
    """
    k = own.shape[-1]
    inside = matmul(own, turn)
    if own.shape[-2] == k:
        return inside
    out = _over(image(), row(s), row(largest(s)), own.shape[-2], _ZERO_SINGULAR_VALUES)
    return _filled(inside, own, full, out)


def _filled(inside: Array, own: Array, full: Array, out: Array) -> Array:
    """The part of ``out`` outside of the span added, and the other columns' answer."""
    k = own.shape[-1]
    if full.shape[-1] == k:
        return inside + out - matmul(own, matmul(adjoint(own), out))
    sizes = (k, full.shape[-1] - k)
    others = split(full, sizes=sizes, axis=len(full.shape) - 1)[1]
    across = matmul(adjoint(others), out)
    answer = -matmul(own, adjoint(across))
    return concatenate(
        inside + matmul(others, across), answer, axis=len(full.shape) - 1
    )


# The values and vectors of a, given as u, s and vh; a is there for its tangent alone.
singular_values = Primitive(
    "singular_values",
    lambda a, u, s, vh: s,
    lambda a, u, s, vh: (s.shape, s.dtype),
    jvp=sum_of_jvps(_singular_values_of_a, None, None, None),
    family="linalg",
)
singular_values.definition = """
def singular_values(a, u, s, vh):
    return s
"""
singular_values.batch = batch_stacks(singular_values, 2, 2, 1, 2)
singular_values.flops, singular_values.traffic = nothing, untouched
singular_vectors = Primitive(
    "singular_vectors",
    lambda a, u, s, vh: (u, vh),
    lambda a, u, s, vh: [(u.shape, u.dtype), (vh.shape, vh.dtype)],
    jvp=_singular_vectors_jvp,
    multiple=True,
    family="linalg",
)
singular_vectors.definition = """
def singular_vectors(a, u, s, vh):
    return u, vh
"""
singular_vectors.batch = batch_stacks(singular_vectors, 2, 2, 1, 2)
singular_vectors.flops, singular_vectors.traffic = nothing, untouched


def _svd_abstract(a: Any, full_matrices: bool) -> list[tuple[Shape, Any]]:
    *lead, m, n = a.shape
    k = min(m, n)
    left, right = (m, n) if full_matrices else (k, k)
    return [
        ((*lead, m, left), a.dtype),
        ((*lead, k), _real_dtype(a.dtype)),
        ((*lead, right, n), a.dtype),
    ]


def _svd_jvp(ans: Any, primals: Any, tangents: Any, params: Params) -> Any:
    (u, s, vh), (a,), (t,) = ans, primals, tangents
    d_u, d_vh = _singular_vectors_of_a(t, s, u, vh)
    return d_u, _singular_values_of_a(t, s, a, u, s, vh), d_vh


def _svd_flops(inputs: Any, outputs: Any, params: Params) -> float:
    def formula(m: int, n: int) -> float:
        m, n = max(m, n), min(m, n)
        if params["full_matrices"]:
            return 4 * m**2 * n + 8 * m * n**2 + 9 * n**3
        return 14 * m * n**2 + 8 * n**3

    return each_matrix(formula)(inputs, outputs, params)


svd = Primitive(
    "svd",
    lambda a, full_matrices: tuple(
        namespace(a).linalg.svd(a, full_matrices=full_matrices)
    ),
    _svd_abstract,
    jvp=_svd_jvp,
    multiple=True,
    family="linalg",
)
svd.definition = """
def svd(a, full_matrices):
    return tuple(np.linalg.svd(a, full_matrices=full_matrices))
"""
svd.batch = batch_stacks(svd)
svd.flops = _svd_flops


# --------------------------------------------------------- orthonormal times triangular

_DEPENDENT_COLUMNS = (
    "the derivative of a QR factorisation does not exist where the columns of the "
    "matrix are linearly dependent (to working precision)."
)


def _qr(a: Array, complete: bool) -> tuple[Array, Array]:
    mode = "complete" if complete else "reduced"
    q, r = namespace(a).linalg.qr(a, mode=mode)
    return q, r


def _qr_abstract(a: Any, complete: bool) -> list[tuple[Shape, Any]]:
    *lead, m, n = a.shape
    k = m if complete else n
    return [((*lead, m, k), a.dtype), ((*lead, k, n), a.dtype)]


def _qr_jvp(ans: Any, primals: Any, tangents: Any, params: Params) -> Any:
    """Walter and Lehmann (2010), section 3.3, for a matrix that is not wide.

    With T = dA R^-1 and C = Q^H T: dR = (C - W) R and dQ = T - Q (C - W), where the
    antihermitian W is what leaves C - W upper triangular with a real diagonal.
    """
    (q, r), (t,) = ans, tangents
    m, n = t.shape[-2:]
    own, top = take_block(q, m, n), take_block(r, n, n)
    pivots = diagonal_of(stop_gradient(top))
    params = {"tolerance": rounding(top, m), "why": _DEPENDENT_COLUMNS}
    t = guard(t, pivots, largest(pivots), **params)
    t = swap_last(triangular_solve(swap_last(top), swap_last(t), lower=True))
    t = guard(t, pivots, largest(pivots), **params)
    c = matmul(adjoint(own), t)
    below = triangle_of(c, lower=True, offset=-1)
    w = below - adjoint(below)
    if dtype_of(c).kind == "c":
        on = beside(c, np.eye(n, dtype=bool))
        w = w + select(on, convert(imag(c), dtype=dtype_of(c)) * 1j, 0.0)
    upper = triangle_of(c - w, lower=False)
    d_r = matmul(upper, top)
    if r.shape[-2] != n:
        lead = r.shape[:-2]
        zeros = beside(r, np.zeros((*lead, r.shape[-2] - n, n), dtype_of(r)))
        d_r = concatenate(d_r, zeros, axis=len(lead))
    if m == n:
        return matmul(own, w), d_r
    return _filled(matmul(own, w), own, q, t), d_r


def _qr_flops(inputs: Any, outputs: Any, params: Params) -> float:
    """Householder's reflections, and then the columns of Q from them."""

    def formula(m: int, n: int) -> float:
        k = min(m, n)
        triangle = 2 * k**2 * (max(m, n) - k / 3)
        if params["complete"]:
            return triangle + 4 * (m**2 * k - m * k**2 + k**3 / 3)
        return triangle + 2 * k**2 * (m - k / 3)

    return each_matrix(formula)(inputs, outputs, params)


qr = Primitive("qr", _qr, _qr_abstract, jvp=_qr_jvp, multiple=True, family="linalg")
qr.definition = """
def qr(a, complete):
    return tuple(np.linalg.qr(a, mode="complete" if complete else "reduced"))
"""
qr.batch = batch_stacks(qr)
qr.flops = _qr_flops
