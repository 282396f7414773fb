"""What funcad asks of an array library beyond NumPy's own protocols."""

from __future__ import annotations

from typing import Any


class Backend:
    """An array library; methods do what it spells differently from the others."""

    name: str
    namespace: Any

    @property
    def special(self) -> Any:
        """The library's ``scipy.special``, imported where it is first needed."""
        raise NotImplementedError

    @property
    def linalg(self) -> Any:
        """The library's ``scipy.linalg``, imported where it is first needed."""
        raise NotImplementedError

    @property
    def sparse_linalg(self) -> Any:
        """The library's ``scipy.sparse.linalg``, imported where it is first needed."""
        raise NotImplementedError

    def linear_operator(
        self, shape: tuple[int, int], dtype: Any, **products: Any
    ) -> Any:
        """An operator of ``sparse_linalg`` by its ``matvec``, ``rmatvec``, ..."""
        return self.sparse_linalg.LinearOperator(shape, dtype=dtype, **products)

    def from_host(self, x: Any) -> Any:
        """Copy a NumPy array into this library's memory."""
        raise NotImplementedError

    def to_host(self, x: Any) -> Any:
        """Copy an array of this library into a NumPy array."""
        raise NotImplementedError

    def synchronize(self) -> None:
        """Wait until all that was begun is done, where calls return before it is."""

    def add_at(self, x: Any, index: tuple[Any, ...], updates: Any) -> None:
        """``x[index] += updates`` in place, adding up where an index repeats."""
        raise NotImplementedError

    def solve_triangular(self, a: Any, b: Any, lower: bool) -> Any:
        """Solve ``a @ x = b`` for stacks of one shape and dtype, ``a`` triangular."""
        raise NotImplementedError

    def lu_factor(self, a: Any) -> tuple[Any, Any]:
        """Triangular factors of a stack, packed as in LAPACK, and int32 pivots."""
        raise NotImplementedError

    def lu_solve(self, lu: Any, pivots: Any, b: Any, transposed: bool) -> Any:
        """Solve with such factors, for stacks of one shape and dtype."""
        raise NotImplementedError

    def solve_sylvester(self, a: Any, b: Any, q: Any) -> Any:
        """Solve ``a @ x + x @ b = q`` for stacks of one shape and dtype."""
        raise NotImplementedError(f"{self.name} has no solve_sylvester")
