"""A product of matrices in parts: which there are, what each is a product of.

An index of a part names slices of all axes of the product, and ``None`` the whole.
Operands whose leading axes broadcast have axes of size one, or none, where the product
has its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from funcad.core.tracing import Array
from funcad.primitives.contraction import left_cotangent, right_cotangent
from funcad.primitives.elementwise import broadcast_shapes
from funcad.primitives.shape import Shape

Index = tuple[slice, ...]

CHUNK = 16 * 2**20
"""Bytes of the part of a product that is computed at once, into the result.

They fit the cache that cores share.  BLAS takes longer for several smaller products.
"""

SPARE = 3 * 2**20
"""Bytes of the part of its cotangent that is there at once."""

BLOCK = 2**20
"""Bytes of the block of a computed part that is then taken through all passes."""

SMALL = 2**18
"""Bytes of a product that is done in the time that a look for its parts would take."""

LEAST = 8
"""How many times as many rows as the right operand such parts have at least.

What is done for each with an array of that operand's size does not count then.
"""


def chunks(
    a: Array, b: Array, shape: Shape, axis: Shape, size: int
) -> Iterable[Index | None]:
    """Parts of the product ``a @ b``, of that shape, of about so many bytes."""
    limit = max(size // a.itemsize, LEAST * a.shape[-1] * b.shape[-1])
    return _within(shape, axis, limit)


def blocks(x: Array, axis: Shape) -> Iterable[Index | None]:
    """Parts of an array that are taken through all passes one after the other."""
    return _within(x.shape, axis, BLOCK // x.itemsize)


def _within(shape: Shape, axis: Shape, limit: int) -> Iterable[Index | None]:
    """Parts of at most ``limit`` entries that hold whole rows.

    Rows are those over ``axis``; the last axis is never parted.  ``None`` stands for
    the whole.
    """
    size = math.prod(shape)
    if size <= limit:
        return (None,) if size else ()
    free = [k for k, n in enumerate(shape[:-1]) if k not in axis and n > 1]
    return _parts(tuple([slice(0, n) for n in shape]), free, size, limit)


def _parts(index: Index, free: Sequence[int], size: int, limit: int) -> Iterator[Index]:
    """An index parted along free axes until no part is too large."""
    if size <= limit or not free:
        yield index
        return
    k, *rest = free
    n = index[k].stop
    size //= n
    step = max(limit // size, 1)
    for start in range(0, n, step):
        here = slice(start, min(start + step, n))
        yield from _parts((*index[:k], here, *index[k + 1 :]), rest, size * step, limit)


def part_of(x: Array, index: Index | None) -> Array:
    """A part of an array that may be of size one where the product is not."""
    if index is None:
        return x
    return x[tuple([slice(None) if n == 1 else i for i, n in zip(index, x.shape)])]


def factors_of(index: Index | None, a: Array, b: Array) -> tuple[Array, Array]:
    """The parts of the operands whose product is a part of the product."""
    if index is None:
        return a, b
    return a[_own(index, a, -1)], b[_own(index, b, -2)]


def _own(index: Index, x: Array, summed: int) -> Index:
    """What a part of the product is of an operand; ``summed`` is its inner axis."""
    index = index[len(index) - x.ndim :]
    own = [slice(None) if n == 1 else i for i, n in zip(index, x.shape, strict=True)]
    own[summed] = slice(None)
    return tuple(own)


def accumulate(
    out: Array, i: int, c: Array, index: Index | None, a: Array, b: Array
) -> None:
    """Add the cotangent of operand ``i`` that belongs to a part of the product's."""
    x, y = factors_of(index, a, b)
    part, first = out, True
    if index is not None:
        operand, summed, across = ((a, -1, -1), (b, -2, -2))[i]
        part = out[_own(index, operand, summed)]
        # the parts that differ in these axes alone have the same cotangent to add to
        lacking = len(index) - operand.ndim
        shared = [
            s
            for k, s in enumerate(index)
            if k < lacking
            or operand.shape[k - lacking] == 1
            or k == len(index) + across
        ]
        first = not any(s.start for s in shared)
    factors = (c, y.swapaxes(-1, -2)) if i == 0 else (x.swapaxes(-1, -2), c)
    if first and part.shape == product_shape(*factors):
        np.matmul(*factors, out=part)
        return
    ct = operand_cotangent(i, c, x, y)
    if first:
        part[...] = ct
    else:
        part += ct


def flattened(
    a: Array, b: Array, axis: Shape, arrays: Sequence[Array]
) -> tuple[Array, Array, Shape, list[Array], Shape | None]:
    """A stack of matrices times one matrix as a product of two matrices.

    ``arrays`` are of the product's shape, but for axes of size one.  The last result is
    the shape of the stack, ``None`` where all stays as it is.
    """
    if b.ndim > 2 or a.ndim == 2 or axis != (a.ndim - 1,):
        return a, b, axis, list(arrays), None
    lead = a.shape[:-1]
    rows = math.prod(lead)
    a, *arrays = [x.reshape(rows, x.shape[-1]) for x in (a, *arrays)]
    return a, b, (1,), arrays, lead


def restored(arrays: Sequence[Array], lead: Shape | None) -> tuple[Array, ...]:
    """Arrays of the flat product's shape as those of the stack."""
    if lead is None:
        return tuple(arrays)
    return tuple([x.reshape(*lead, x.shape[-1]) for x in arrays])


def on_host(*arrays: Array) -> bool:
    """Whether these are arrays of the host, of one dtype that BLAS knows."""
    first = arrays[0].dtype
    if first.char not in "fd":
        return False
    for x in arrays:
        if type(x) is not np.ndarray:
            return False
        if x.dtype is not first and x.dtype != first:
            return False
    return True


def product_shape(a: Any, b: Any) -> Shape:
    """Shape of ``a @ b``."""
    lead = a.shape[:-2]
    if lead != b.shape[:-2]:
        lead = broadcast_shapes([lead, b.shape[:-2]])
    return (*lead, a.shape[-2], b.shape[-1])


def product_dtype(a: Any, b: Any) -> Any:
    """Dtype of ``a @ b``."""
    return a.dtype if a.dtype == b.dtype else np.result_type(a.dtype, b.dtype)


def operand_cotangent(i: int, c: Array, a: Array, b: Array) -> Array:
    """Cotangent of an operand, from the product's."""
    return left_cotangent(c, a, a, b) if i == 0 else right_cotangent(c, b, a, b)
