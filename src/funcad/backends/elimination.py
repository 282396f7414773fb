"""Gaussian elimination in many small matrices at once, for any array library.

Libraries factorise one matrix at a call, and a call costs more than a small matrix.
Here each step is taken in all matrices of a stack together, with factors and pivots as
LAPACK's ``getrf`` has them.  Stacks have one leading axis.
"""

from __future__ import annotations

from typing import Any


def factorise(xp: Any, a: Any) -> tuple[Any, Any]:
    """Triangular factors of each matrix, packed into one, and its int32 pivots."""
    lu = a.copy()
    count, rows, columns = lu.shape
    pivots = xp.zeros((count, min(rows, columns)), xp.int32)
    each = xp.arange(count)
    for j in range(min(rows, columns)):
        below = lu[:, j:, j]
        size = abs(below.real) + abs(below.imag) if lu.dtype.kind == "c" else abs(below)
        chosen = size.argmax(axis=1) + j
        pivots[:, j] = chosen
        _exchange(lu, each, j, chosen)
        pivot = lu[:, j, j]
        pivot = xp.where(pivot == 0, xp.ones_like(pivot), pivot)
        factors = lu[:, j + 1 :, j] / pivot[:, None]
        lu[:, j + 1 :, j] = factors
        rest = lu[:, j + 1 :, j + 1 :]
        lu[:, j + 1 :, j + 1 :] = rest - factors[:, :, None] * lu[:, j, None, j + 1 :]
    return lu, pivots


def substitute(xp: Any, lu: Any, pivots: Any, b: Any, transposed: bool) -> Any:
    """Solve with such factors, none of which is singular."""
    x = b.copy()
    count, n, _ = x.shape
    each = xp.arange(count)
    if not transposed:
        for j in range(n):
            _exchange(x, each, j, pivots[:, j])
        for i in range(1, n):
            x[:, i] = x[:, i] - _row_times(lu[:, i, :i], x[:, :i])
        for i in reversed(range(n)):
            known = _row_times(lu[:, i, i + 1 :], x[:, i + 1 :])
            x[:, i] = (x[:, i] - known) / lu[:, i, i, None]
        return x
    for i in range(n):
        known = _row_times(lu[:, :i, i], x[:, :i])
        x[:, i] = (x[:, i] - known) / lu[:, i, i, None]
    for i in reversed(range(n - 1)):
        x[:, i] = x[:, i] - _row_times(lu[:, i + 1 :, i], x[:, i + 1 :])
    for j in reversed(range(n)):
        _exchange(x, each, j, pivots[:, j])
    return x


def flat(lu: Any, pivots: Any, b: Any) -> tuple[Any, Any, Any]:
    """Factors, pivots and right-hand sides with their leading axes made one."""
    n = lu.shape[-1]
    return lu.reshape(-1, n, n), pivots.reshape(-1, n), b.reshape(-1, n, b.shape[-1])


def _exchange(x: Any, each: Any, j: int, chosen: Any) -> None:
    """Exchange row ``j`` of each matrix with the one that is chosen in it."""
    moved = x[each, chosen]
    x[each, chosen] = x[:, j].copy()
    x[:, j] = moved


def _row_times(row: Any, x: Any) -> Any:
    return (row[:, :, None] * x).sum(axis=1)
