"""Pytrees as vectors: ``ravel_pytree`` copies the leaves, ``Flatten`` does not."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core import tree
from funcad.core.errors import ArgumentError, MutationError
from funcad.core.tracing import Array, ShapedArray, aval_of, dtype_of, shape_of

__all__ = ["Flatten", "ravel_pytree"]


def ravel_pytree(pytree: Any) -> tuple[Array, Callable[[Array], Any]]:
    """A pytree of arrays as one vector, and the way back.

    Parameters
    ----------
    pytree : pytree of arrays
        What to ravel.

    Returns
    -------
    vector : array, shape (n,)
        The leaves raveled and concatenated, in their common dtype.
    unravel : callable
        Makes a pytree of the same structure, shapes and dtypes from such a vector,
        which may be of any dtype that is real if the vector is.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> vector, unravel = funcad.ravel_pytree({"w": np.ones((2, 2)), "b": np.zeros(1)})
    >>> vector
    array([0., 1., 1., 1., 1.])
    >>> unravel(2 * vector)["b"]
    array([0.])
    """
    leaves, treedef = tree.flatten(pytree)
    shapes = [shape_of(x) for x in leaves]
    dtypes = [dtype_of(x) for x in leaves]
    vector = _ravel(leaves)
    (count,), dtype = shape_of(vector), dtype_of(vector)

    def unravel(v: Array) -> Any:
        narrowed = dtype_of(v).kind == "c" and dtype.kind != "c"
        if shape_of(v) != (count,) or narrowed:
            raise ArgumentError(
                f"unravel takes {ShapedArray((count,), dtype)}, which is what "
                f"ravel_pytree gave, and got {aval_of(v)}."
                + (" Write v.real to drop imaginary parts." if narrowed else "")
            )
        ends = list(itertools.accumulate(math.prod(s) for s in shapes))
        parts = np.split(v, ends[:-1]) if leaves else []
        return tree.unflatten(
            treedef,
            [
                part.reshape(shape) if part.dtype == own else _back(part, shape, own)
                for part, shape, own in zip(parts, shapes, dtypes, strict=True)
            ],
        )

    return vector, unravel


def _ravel(leaves: list[Array]) -> Array:
    if not leaves:
        return np.zeros(0)
    dtype = np.result_type(*[dtype_of(x) for x in leaves])
    flat = [np.ravel(x) for x in leaves]
    return np.concatenate([x if x.dtype == dtype else x.astype(dtype) for x in flat])


def _back(part: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    if part.dtype.kind == "c" and dtype.kind != "c":
        part = part.real
    return part.reshape(shape).astype(dtype)


class Flatten:
    """A pytree of arrays seen as one vector: its leaves raveled, end to end.

    Nothing is copied until :meth:`ravel` is called; arithmetic works leaf by leaf.  A
    ``Flatten`` is itself a pytree and so passes through every transform:
    ``grad(loss)(Flatten(params))`` is a ``Flatten``.

    Parameters
    ----------
    tree : pytree of arrays
        What to see as a vector; kept as :attr:`tree`.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> v = funcad.Flatten({"w": np.ones((2, 2)), "b": np.zeros(1)})
    >>> len(v), v[0].item(), v[1:3]
    (5, 0.0, array([1., 1.]))
    >>> (v - 0.5 * v).norm().item()
    1.0
    >>> funcad.grad(lambda p: np.sum(p.tree["w"] ** 2))(v).ravel()
    array([0., 2., 2., 2., 2.])
    """

    __slots__ = ("tree",)
    __array_ufunc__ = None  # array + Flatten asks Flatten.__radd__

    def __init__(self, tree: Any) -> None:
        self.tree = tree

    # ------------------------------------------------------------------ as an array

    @property
    def leaves(self) -> list[Array]:
        """The leaves of the tree, in the order of the vector."""
        return tree.leaves(self.tree)

    def __len__(self) -> int:
        return sum(math.prod(shape_of(x)) for x in self.leaves)

    @property
    def size(self) -> int:
        """Number of entries of the vector."""
        return len(self)

    @property
    def shape(self) -> tuple[int]:
        """Shape of the vector, ``(len(self),)``."""
        return (len(self),)

    @property
    def ndim(self) -> int:
        """Number of axes, one."""
        return 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Common dtype of the leaves."""
        leaves = self.leaves
        if not leaves:
            return np.dtype(np.float64)
        return np.result_type(*[dtype_of(x) for x in leaves])

    def ravel(self) -> Array:
        """The vector itself, a new array of shape ``(len(self),)``."""
        return _ravel(self.leaves)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self.ravel(), dtype)

    def __getitem__(self, key: Any) -> Array:
        if isinstance(key, slice):
            return self._slice(range(len(self))[key])
        try:
            i = operator.index(key)
        except TypeError:
            raise TypeError(
                f"a Flatten is read by integers and slices, not by {key!r}; "
                "v.ravel()[...] takes every NumPy index."
            ) from None
        n = len(self)
        if not -n <= i < n:
            raise IndexError(f"index {i} is out of bounds for a Flatten of length {n}")
        (entry,) = self._slice(range(n)[i % n : i % n + 1]).reshape(1)
        return entry

    def _slice(self, wanted: range) -> Array:
        """Entries from those leaves only that the range meets."""
        backwards = wanted.step < 0
        forward = wanted[::-1] if backwards else wanted
        parts = []
        start = 0
        for leaf in self.leaves:
            size = math.prod(shape_of(leaf))
            first = forward.start + max(
                0, -(-(start - forward.start) // forward.step) * forward.step
            )
            stop = min(start + size, forward.stop)
            if first < stop:
                parts.append(
                    np.ravel(leaf)[first - start : stop - start : forward.step]
                )
            start += size
        if not parts:
            return namespace(*self.leaves).zeros(0, self.dtype)
        dtype = self.dtype
        parts = [x if x.dtype == dtype else x.astype(dtype) for x in parts]
        out = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return out[::-1] if backwards else out

    def __setitem__(self, key: Any, value: Any) -> None:
        raise MutationError(
            "a Flatten cannot be written into, as the arrays of its tree belong to "
            "others. Write v.ravel() for an array of its own, or funcad.tree.map for a "
            "new tree."
        )

    def __iter__(self) -> Iterator[Array]:
        return iter(self.ravel())

    def __repr__(self) -> str:
        return f"Flatten({self.tree!r})"

    # ------------------------------------------------------------------- arithmetic

    def _combine(self, other: Any, operation: Callable[[Any, Any], Any]) -> Flatten:
        if isinstance(other, Flatten):
            return Flatten(tree.map(operation, self.tree, other.tree))
        if shape_of(other) == ():
            return Flatten(tree.map(lambda x: operation(x, other), self.tree))
        if shape_of(other) == self.shape:
            leaves, treedef = tree.flatten(self.tree)
            ends = list(itertools.accumulate(math.prod(shape_of(x)) for x in leaves))
            parts = np.split(other, ends[:-1])
            return Flatten(
                tree.unflatten(
                    treedef,
                    [
                        operation(x, part.reshape(shape_of(x)))
                        for x, part in zip(leaves, parts, strict=True)
                    ],
                )
            )
        raise ValueError(
            f"operands could not be combined: a Flatten of length {len(self)} and an "
            f"array of shape {shape_of(other)}. Use a scalar, a Flatten of the same "
            "structure, or a vector of that length."
        )

    def __add__(self, other: Any) -> Flatten:
        return self._combine(other, operator.add)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Flatten:
        return self._combine(other, operator.sub)

    def __rsub__(self, other: Any) -> Flatten:
        return self._combine(other, lambda x, y: y - x)

    def __mul__(self, other: Any) -> Flatten:
        return self._combine(other, operator.mul)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Flatten:
        return self._combine(other, operator.truediv)

    def __rtruediv__(self, other: Any) -> Flatten:
        return self._combine(other, lambda x, y: y / x)

    def __neg__(self) -> Flatten:
        return Flatten(tree.map(operator.neg, self.tree))

    def dot(self, other: Any) -> Array:
        """Inner product with another Flatten, or with a vector of its length.

        Parameters
        ----------
        other : Flatten or array, shape (n,)
            No complex conjugate is taken, as in ``np.dot``.

        Returns
        -------
        array, shape ()
            The sum of products of entries.
        """
        products = [np.sum(x) for x in (self * other).leaves]
        return sum(products[1:], products[0]) if products else np.float64(0.0)

    __matmul__ = dot
    __rmatmul__ = dot

    def norm(self) -> Array:
        """Euclidean length of the vector, a scalar."""
        squares = [np.linalg.norm(np.ravel(x)) for x in self.leaves]
        return np.linalg.norm(np.stack(squares)) if squares else np.float64(0.0)

    def zeros_like(self) -> Flatten:
        """A Flatten of zeros with the structure, shapes and dtypes of this one."""
        return Flatten(tree.map(np.zeros_like, self.tree))


tree.register_pytree_node(
    Flatten, lambda v: ((v.tree,), None), lambda _, children: Flatten(children[0])
)
