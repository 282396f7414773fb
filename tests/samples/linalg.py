"""Samples of matrix products and linear algebra."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from funcad.primitives import linalg
from samples.table import (
    EVERY_DTYPE,
    NONZERO,
    POSITIVE,
    REAL,
    SAMPLES,
    Call,
    Calls,
    Matrices,
    Operand,
    Samples,
    broadcasting,
    dtypes_of,
    every,
    first,
    shapes,
)


@st.composite
def _matmul_calls(draw: Any, dtypes: str) -> Call:
    a, b = draw(broadcasting(2, draw(shapes(max_rank=2))))
    size = st.sampled_from((2, 3, 1, 0))
    rows, inner, columns = draw(size), draw(size), draw(size)
    x = Operand((*a, rows, inner), draw(dtypes_of(EVERY_DTYPE, dtypes)))
    y = Operand((*b, inner, columns), draw(dtypes_of(EVERY_DTYPE, dtypes)))
    return Call((x, y), {})


SAMPLES["matmul"] = Samples(
    _matmul_calls, np.matmul, smooth=(0, 1), linear=every, analytic=True
)


def _square(draw: Any, dtypes: str, domain: Any) -> Operand:
    lead = draw(shapes(max_rank=2, sizes=(2, 1, 0)))
    n = draw(st.sampled_from((2, 3, 1, 0)))
    return Operand((*lead, n, n), draw(dtypes_of("?bilfdFD", dtypes)), domain)


def _square_calls(domain: Any) -> Calls:
    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        return Call((_square(draw, dtypes, domain),), {})

    return calls


def _solve_calls(**params: Any) -> Calls:
    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        a, b = draw(broadcasting(2, draw(shapes(max_rank=2, sizes=(2, 1, 0)))))
        n, columns = (
            draw(st.sampled_from((2, 3, 1, 0))),
            draw(st.sampled_from((2, 1, 0))),
        )
        kinds = "?bilfdFD"
        matrix = Operand((*a, n, n), draw(dtypes_of(kinds, dtypes)), Matrices())
        right = Operand((*b, n, columns), draw(dtypes_of(kinds, dtypes)))
        return Call((matrix, right), {k: draw(v) for k, v in params.items()})

    return calls


def _triangular_solve(a: Any, b: Any, lower: bool) -> Any:
    return np.linalg.solve(np.tril(a) if lower else np.triu(a), b)


def factored(primitive: Any, a: Any, *rest: Any, **params: Any) -> Any:
    """A call with the triangular factors of the matrix between it and the rest."""
    return primitive(*linalg.with_factors(a, *rest), *rest, **params)


def _factored_solve(a: Any, b: Any, transposed: bool) -> Any:
    return np.linalg.solve(np.swapaxes(a, -1, -2) if transposed else a, b)


SAMPLES["factored_solve"] = Samples(
    _solve_calls(transposed=st.booleans()),
    _factored_solve,
    smooth=(0, 1),
    linear=lambda n: [(1,)],
    analytic=True,
    through=factored,
)
SAMPLES["triangular_solve"] = Samples(
    _solve_calls(lower=st.booleans()),
    _triangular_solve,
    smooth=(0, 1),
    linear=lambda n: [(1,)],
    analytic=True,
)
SAMPLES["inv"] = Samples(
    _square_calls(Matrices()), np.linalg.inv, smooth=(0,), analytic=True
)
SAMPLES["cholesky"] = Samples(
    _square_calls(Matrices(positive=True)), np.linalg.cholesky, smooth=(0,)
)


@st.composite
def _rectangular_calls(draw: Any, dtypes: str) -> Call:
    lead = draw(shapes(max_rank=1, sizes=(2, 1, 0)))
    m, n = (draw(st.sampled_from((2, 3, 1, 4, 0))) for _ in range(2))
    dtype = draw(dtypes_of("fdFD", dtypes))
    return Call((Operand((*lead, m, n), dtype, Dominant()),), {})


class Dominant(NamedTuple):
    """Matrices whose rows need not be exchanged for elimination, nor are near to it."""

    def draw(self, rng: Any, shape: Any, dtype: Any) -> Any:
        x = Matrices().draw(rng, (*shape[:-2], max(shape[-2:]), max(shape[-2:])), dtype)
        x = x[..., : shape[-2], : shape[-1]]
        return x[..., rng.permutation(shape[-2]), :]


def _lu(a: Any) -> Any:
    """Elimination with exchanges of rows, by the book."""
    lu = a.copy()
    for x in lu.reshape(math.prod(a.shape[:-2]), *a.shape[-2:]):
        for k in range(min(x.shape)):
            size = np.abs(x[k:, k].real) + np.abs(x[k:, k].imag)
            p = k + np.argmax(size)
            x[[k, p]] = x[[p, k]]
            x[k + 1 :, k] /= x[k, k]
            x[k + 1 :, k + 1 :] -= np.outer(x[k + 1 :, k], x[k, k + 1 :])
    return lu


# the pivots, which are integers, are what row_order is of
SAMPLES["lu_factor"] = Samples(
    _rectangular_calls, _lu, smooth=(0,), through=lambda primitive, a: primitive(a)[0]
)


class Pivots(NamedTuple):
    """Exchanges of each row with one that is not above it."""

    rows: int

    def draw(self, rng: Any, shape: Any, dtype: Any) -> Any:
        least = np.broadcast_to(np.arange(shape[-1]), shape)
        return rng.integers(least, self.rows).astype(dtype)


@st.composite
def _pivot_calls(draw: Any, dtypes: str) -> Call:
    lead = draw(shapes(max_rank=1, sizes=(2, 1, 0)))
    rows = draw(st.sampled_from((2, 3, 1, 4, 0)))
    exchanges = draw(st.integers(0, rows))
    operand = Operand((*lead, exchanges), np.dtype(np.int32), Pivots(rows))
    return Call((operand,), {"rows": rows})


def _row_order(pivots: Any, rows: int) -> Any:
    order = np.zeros((*pivots.shape[:-1], rows), np.intp)
    for i in np.ndindex(pivots.shape[:-1]):
        order[i] = np.arange(rows)
        for k, p in enumerate(pivots[i]):
            order[i][[k, p]] = order[i][[p, k]]
    return order


SAMPLES["row_order"] = Samples(_pivot_calls, _row_order, inexact=False)


@st.composite
def _guard_calls(draw: Any, dtypes: str) -> Call:
    d, scale = draw(broadcasting(2))
    dtype = draw(dtypes_of("fdFD", dtypes))
    real = np.dtype(dtype.char.lower())
    return Call(
        (
            Operand(draw(shapes()), dtype),
            Operand(d, draw(st.sampled_from((dtype, real))), NONZERO),
            Operand(scale, real, POSITIVE),
        ),
        {"tolerance": 1e-3, "why": "too small"},
    )


SAMPLES["fence"] = Samples(
    _guard_calls, lambda x, d, scale, tolerance, why: x, smooth=(0,), analytic=True
)
SAMPLES["guard"] = Samples(
    _guard_calls,
    lambda t, d, scale, tolerance, why: t,
    smooth=(0,),
    linear=first,
    analytic=True,
)


# ---------------------------------------------------------------------- determinants


def _float_calls(domain: Any, *more: Any, kinds: str = "fdFD") -> Calls:
    """Calls with square matrices, and more of the same shape."""

    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        lead = draw(shapes(max_rank=1, sizes=(2, 1, 0)))
        n = draw(st.sampled_from((2, 3, 1, 0)))
        dtype = draw(dtypes_of(kinds, dtypes))
        domains = (domain, *more)
        return Call(tuple(Operand((*lead, n, n), dtype, d) for d in domains), {})

    return calls


def _cofactors(a: Any) -> Any:
    """Determinants of what is left without a row and a column."""
    n = a.shape[-1]
    out = np.zeros_like(a)
    for i, j in np.ndindex(n, n):
        minor = np.delete(np.delete(a, i, -2), j, -1)
        out[..., i, j] = (-1) ** (i + j) * np.linalg.det(minor)
    return out


def _cofactor_change(a: Any, t: Any) -> Any:
    """Exact at any step, as cofactors of matrices up to 3 by 3 are quadratic."""
    return (_cofactors(a + t) - _cofactors(a - t)) / 2


SAMPLES["slogdet"] = Samples(
    _float_calls(Matrices()),
    lambda a: tuple(np.linalg.slogdet(a)),
    smooth=(0,),
    through=factored,
)
SAMPLES["det"] = Samples(
    _float_calls(Matrices()),
    np.linalg.det,
    smooth=(0,),
    analytic=True,
    through=factored,
)
SAMPLES["cofactors"] = Samples(
    _float_calls(Matrices()), _cofactors, smooth=(0,), analytic=True, through=factored
)
SAMPLES["cofactor_change"] = Samples(
    _float_calls(Matrices(), REAL),
    _cofactor_change,
    smooth=(0, 1),
    linear=lambda n: [(1,)],
    analytic=True,
    through=factored,
)
