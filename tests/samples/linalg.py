"""Samples of matrix products and linear algebra."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from samples.table import (
    EVERY_DTYPE,
    SAMPLES,
    Call,
    Calls,
    Matrices,
    Operand,
    Samples,
    broadcasting,
    dtypes_of,
    every,
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


SAMPLES["solve"] = Samples(
    _solve_calls(),
    np.linalg.solve,
    smooth=(0, 1),
    linear=lambda n: [(1,)],
    analytic=True,
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
SAMPLES["slogdet"] = Samples(
    _square_calls(Matrices()), lambda a: tuple(np.linalg.slogdet(a)), smooth=(0,)
)
