"""Samples of eigenvalues, singular values, orthogonal factors and matrix functions.

Vectors are determined up to a phase, which LAPACK and funcad's derivatives choose
differently: the rows of complex vectors are tests of their own, in
``primitives/test_linalg.py``, of functions that do not depend on the phase.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from hypothesis import strategies as st

from funcad.primitives import factorization, linalg
from samples.table import (
    REAL,
    SAMPLES,
    Call,
    Calls,
    Operand,
    Samples,
    dtypes_of,
    shapes,
)


def _normal(rng: Any, shape: Any, dtype: Any) -> Any:
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if dtype.kind == "c" else x


def _orthonormal(rng: Any, shape: Any, dtype: Any) -> Any:
    return np.linalg.qr(_normal(rng, shape, dtype))[0]


class Hermitian(NamedTuple):
    """Hermitian matrices with eigenvalues that are well apart."""

    def direction(self, t: Any) -> Any:
        """The nearest direction that does not leave the domain."""
        return 0.5 * (t + np.swapaxes(t, -1, -2).conj())

    def draw(self, rng: Any, shape: Any, dtype: Any) -> Any:
        v = _orthonormal(rng, shape, dtype)
        w = np.arange(shape[-1]) - 0.75 + 0.5 * rng.random(shape[:-1])
        x = (v * w[..., None, :]) @ np.swapaxes(v, -1, -2).conj()
        return self.direction(x).astype(dtype)


class Rectangular(NamedTuple):
    """Matrices with singular values that are well apart, and not zero."""

    def draw(self, rng: Any, shape: Any, dtype: Any) -> Any:
        *lead, m, n = shape
        k = min(m, n)
        u, v = (_orthonormal(rng, (*lead, side, k), dtype) for side in (m, n))
        s = np.arange(k) + 1 + 0.4 * rng.random((*lead, k))
        x = (u * s[..., None, :]) @ np.swapaxes(v, -1, -2)
        return x.astype(dtype)


class Diagonalisable(NamedTuple):
    """Matrices with eigenvalues that are well apart, real or in conjugate pairs."""

    real: bool = False

    def draw(self, rng: Any, shape: Any, dtype: Any) -> Any:
        n = shape[-1]
        w = np.arange(n) + 1 + 0.4 * rng.random(shape[:-1])
        d = w[..., None] * np.eye(n)
        if not self.real and n > 1:
            d[..., 0, 1], d[..., 1, 0], d[..., 1, 1] = 1, -1, d[..., 0, 0]
        v = np.eye(n) + 0.2 * _normal(rng, shape, dtype)
        return (v @ d @ np.linalg.inv(v)).astype(dtype)


SIZES = st.sampled_from((2, 3, 1, 0))


def square(*domains: Any, kinds: str = "fdFD", **params: Any) -> Calls:
    """Calls with square matrices of one dtype."""

    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        lead = draw(shapes(max_rank=1, sizes=(2, 1, 0)))
        n = draw(SIZES)
        dtype = draw(dtypes_of(kinds, dtypes))
        operands = tuple(Operand((*lead, n, n), dtype, d) for d in domains)
        return Call(operands, {k: draw(v) for k, v in params.items()})

    return calls


def rectangular(kinds: str = "fdFD", tall: bool = False, **params: Any) -> Calls:
    """Calls with a matrix that need not be square."""

    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        lead = draw(shapes(max_rank=1, sizes=(2, 1, 0)))
        m, n = draw(SIZES), draw(SIZES)
        if tall:
            m, n = max(m, n), min(m, n)
        dtype = draw(dtypes_of(kinds, dtypes))
        operand = Operand((*lead, m, n), dtype, Rectangular())
        return Call((operand,), {k: draw(v) for k, v in params.items()})

    return calls


# ------------------------------------------------------------------------ eigenvalues


def _with_eigh(primitive: Any, a: Any) -> Any:
    return primitive(a, *factorization.eigh(linalg.stop_gradient(a), uplo="L"))


def _with_eig(primitive: Any, a: Any) -> Any:
    return primitive(a, *factorization.eig(linalg.stop_gradient(a)))


def _complex_eig(a: Any) -> Any:
    w, v = np.linalg.eig(a)
    dtype = np.result_type(a.dtype, np.complex64)
    return w.astype(dtype), v.astype(dtype)


SAMPLES["eigh"] = Samples(
    square(Hermitian(), kinds="fd", uplo=st.sampled_from("LU")),
    lambda a, uplo: tuple(np.linalg.eigh(a, uplo)),
    smooth=(0,),
)
SAMPLES["eigenvalues"] = Samples(
    square(Hermitian()), np.linalg.eigvalsh, smooth=(0,), through=_with_eigh
)
SAMPLES["eigenvectors"] = Samples(
    square(Hermitian(), kinds="fd"),
    lambda a: np.linalg.eigh(a)[1],
    smooth=(0,),
    through=_with_eigh,
)
SAMPLES["eig"] = Samples(
    square(Diagonalisable(real=True), kinds="fd"),
    _complex_eig,
    smooth=(0,),
    host_only=True,
)
SAMPLES["general_eigenvalues"] = Samples(
    square(Diagonalisable()),
    lambda a: _complex_eig(a)[0],
    smooth=(0,),
    through=_with_eig,
    host_only=True,
)
SAMPLES["general_eigenvectors"] = Samples(
    square(Diagonalisable(real=True), kinds="fd"),
    lambda a: _complex_eig(a)[1],
    smooth=(0,),
    through=_with_eig,
    host_only=True,
)


# -------------------------------------------------------------------- singular values


def _with_svd(primitive: Any, a: Any, full_matrices: bool = False) -> Any:
    factors = factorization.svd(linalg.stop_gradient(a), full_matrices=full_matrices)
    return primitive(a, *factors)


@st.composite
def _svd_calls(draw: Any, dtypes: str) -> Call:
    """More columns of vectors than one have no sign alone to be determined up to."""
    call = draw(rectangular(kinds="fd")(dtypes))
    *_, m, n = call.operands[0].shape
    unique = abs(m - n) < 2 and m and n
    return call._replace(params={"full_matrices": bool(unique and draw(st.booleans()))})


SAMPLES["svd"] = Samples(
    _svd_calls,
    lambda a, full_matrices: tuple(np.linalg.svd(a, full_matrices)),
    smooth=(0,),
)
SAMPLES["singular_values"] = Samples(
    rectangular(),
    lambda a: np.linalg.svd(a, compute_uv=False),
    smooth=(0,),
    through=_with_svd,
)
SAMPLES["singular_vectors"] = Samples(
    _svd_calls,
    lambda a, full_matrices: tuple(np.linalg.svd(a, full_matrices))[::2],
    smooth=(0,),
    through=_with_svd,
)

# -------------------------------------------------------- QR, pseudo-inverses


@st.composite
def _qr_calls(draw: Any, dtypes: str) -> Call:
    call = draw(rectangular(tall=True)(dtypes))
    *_, m, n = call.operands[0].shape
    unique = n and (m == n or (m == n + 1 and call.operands[0].dtype.kind == "f"))
    return call._replace(params={"complete": bool(unique and draw(st.booleans()))})


SAMPLES["qr"] = Samples(
    _qr_calls,
    lambda a, complete: tuple(np.linalg.qr(a, "complete" if complete else "reduced")),
    smooth=(0,),
)


@st.composite
def _pinv_calls(draw: Any, dtypes: str) -> Call:
    hermitian = draw(st.booleans())
    form = square(Hermitian()) if hermitian else rectangular()
    (operand,) = draw(form(dtypes)).operands
    return Call((operand,), {"hermitian": hermitian})


def _with_rtol(primitive: Any, a: Any, hermitian: bool) -> Any:
    held = linalg.stop_gradient(a)
    if hermitian:
        w, v = factorization.eigh(held, uplo="L")
        factors = v, w, linalg.adjoint(v)
    else:
        factors = factorization.svd(held, full_matrices=False)
    return primitive(a, *factors, 1e-7, hermitian=hermitian)


SAMPLES["pinv"] = Samples(
    _pinv_calls,
    lambda a, hermitian: np.linalg.pinv(a, 1e-7, hermitian),
    smooth=(0,),
    through=_with_rtol,
)

# --------------------------------------------------------------- matrix functions


def _each(function: Any) -> Any:
    """A function of SciPy for one matrix, or several, on stacks of them."""

    def of_stacks(*operands: Any) -> Any:
        lead = np.broadcast_shapes(*[x.shape[:-2] for x in operands])
        operands = [np.broadcast_to(x, (*lead, *x.shape[-2:])) for x in operands]
        out = np.zeros(operands[-1].shape, np.result_type(*operands))
        if out.size:
            for i in np.ndindex(*lead):
                out[i] = function(*[x[i] for x in operands])
        return out

    return of_stacks


# eigenvalues in the right half plane, and not far from one
NEAR_ONE = Diagonalisable()

for _name in ("expm", "logm", "sqrtm"):
    SAMPLES[_name] = Samples(
        square(NEAR_ONE),
        _each(getattr(scipy.linalg, _name)),
        smooth=(0,),
        host_only=True,
    )


def _frechet(name: str) -> Any:
    function = getattr(scipy.linalg, name)

    def along(a: Any, t: Any) -> Any:
        n = len(a)
        block = np.block([[a, t], [np.zeros((n, n)), a]])
        return function(block)[:n, n:].astype(np.result_type(a, t))

    return _each(along)


for _name in ("expm", "logm"):
    SAMPLES[f"{_name}_change"] = Samples(
        square(NEAR_ONE, REAL),
        _frechet(_name),
        smooth=(0, 1),
        linear=lambda n: [(1,)],
        host_only=True,
    )

SAMPLES["solve_sylvester"] = Samples(
    square(NEAR_ONE, NEAR_ONE, REAL),
    _each(scipy.linalg.solve_sylvester),
    smooth=(0, 1, 2),
    linear=lambda n: [(2,)],
    host_only=True,
)
