"""Reading and writing entries.

==============  =========================================  =======================
primitive       meaning                                    transpose
==============  =========================================  =======================
``index``       ``x[template]``: integers, slices,         ``embed``
                ellipsis and newaxis
``embed``       zeros but for ``out[template] = x``        ``index``
``gather``      ``x[i, j, ...]``: integer arrays for the   ``scatter_sum``
                leading axes
``scatter_sum`` zeros, then ``out[i, j, ...] += x``        ``gather``
``owners``      which update writes an entry (integers)
==============  =========================================  =======================

Every NumPy index is a composition of these with ``transpose``: funcad.numpy.indexing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from funcad.backends import backend_of, namespace
from funcad.core.tracing import Array, Operand, Params, Primitive, shape_of
from funcad.primitives.code import call, subscript
from funcad.primitives.elementwise import select
from funcad.primitives.families import linear
from funcad.primitives.shape import (
    Shape,
    batch_first,
    batches_to_front,
    move_axis,
)

Template = tuple[Any, ...]
_SPECIMEN = np.empty(())


# ------------------------------------------------------------------- basic indexing


def _index_batch(values: Any, axes: Any, template: Template) -> tuple[Array, int]:
    x = batch_first(values[0], axes[0])
    return index(x, template=(slice(None), *template)), 0


def _index_code(
    operands: Sequence[Operand], params: Params, out: str | None
) -> str | None:
    (x,) = operands
    if out is not None or x.weak:
        return None
    return f"{x.text}[{subscript(params['template'])}]"


index = linear(
    "index",
    lambda x, template: x[template],
    lambda x, template: (np.broadcast_to(_SPECIMEN, x.shape)[template].shape, x.dtype),
    transpose=lambda ct, x, template: embed(ct, shape=x.shape, template=template),
    batch=_index_batch,
    code=_index_code,
    view="always",
)


def _embed(x: Array, shape: Shape, template: Template, out: Array = None) -> Array:
    if out is None:
        out = namespace(x).zeros(shape, x.dtype)
    else:
        out[...] = 0
    out[template] = x
    return out


def _embed_batch(
    values: Any, axes: Any, shape: Shape, template: Template
) -> tuple[Array, int]:
    x = batch_first(values[0], axes[0])
    shape = (x.shape[0], *shape)
    return embed(x, shape=shape, template=(slice(None), *template)), 0


embed = linear(
    "embed",
    _embed,
    lambda x, shape, template: (shape, x.dtype),
    transpose=lambda ct, x, shape, template: index(ct, template=template),
    batch=_embed_batch,
    code=call("embed"),
)

# ----------------------------------------------------------- gathering and scattering


def _gather_abstract(x: Any, *indices: Any) -> tuple[Shape, Any]:
    gathered = np.broadcast_shapes(*[shape_of(i) for i in indices])
    return (*gathered, *x.shape[len(indices) :]), x.dtype


def _index_rank(indices: Sequence[Array], axes: Sequence[int | None]) -> int:
    return max(
        len(shape_of(i)) - (a is not None) for i, a in zip(indices, axes, strict=True)
    )


def _gather_batch(values: Any, axes: Any) -> tuple[Array, int]:
    (x, *indices), (x_axis, *index_axes) = values, axes
    rank = _index_rank(indices, index_axes)
    if all(a is None for a in index_axes):
        return gather(move_axis(x, x_axis, len(indices)), *indices), rank
    indices, size = batches_to_front(indices, index_axes, rank)
    if x_axis is None:
        return gather(x, *indices), 0
    return gather(batch_first(x, x_axis), _rows(x, size, rank), *indices), 0


def _rows(like: Array, size: int, rank: int) -> Array:
    """Each example's own number, to be broadcast against its index arrays."""
    return namespace(like).arange(size).reshape((size, *(1,) * rank))


def _gather_code(
    operands: Sequence[Operand], params: Params, out: str | None
) -> str | None:
    x, *indices = operands
    if out is not None or x.weak or not indices:
        return None
    return f"{x.text}[{', '.join([i.text for i in indices])}]"


gather = linear(
    "gather",
    lambda x, *indices: x[indices],
    _gather_abstract,
    transpose=lambda ct, x, *indices: scatter_sum(ct, *indices, shape=x.shape),
    batch=_gather_batch,
    code=_gather_code,
)


def _scatter_sum(updates: Array, *indices: Array, shape: Shape) -> Array:
    out = namespace(updates).zeros(shape, updates.dtype)
    backend_of(updates).add_at(out, indices, updates)
    return out


def _scatter_batch(values: Any, axes: Any, shape: Shape) -> tuple[Array, int]:
    (updates, *indices), (axis, *index_axes) = values, axes
    rank = _index_rank(indices, index_axes)
    gathered = len(shape_of(updates)) - (axis is not None) - len(shape) + len(indices)
    if all(a is None for a in index_axes):
        updates = move_axis(updates, axis, gathered)
        k = len(indices)
        shape = (*shape[:k], updates.shape[gathered], *shape[k:])
        return scatter_sum(updates, *indices, shape=shape), k
    indices, size = batches_to_front(indices, index_axes, rank)
    if axis is not None:
        updates = batch_first(updates, axis)
    indices = [_rows(updates, size, rank), *indices]
    return scatter_sum(updates, *indices, shape=(size, *shape)), 0


scatter_sum = linear(
    "scatter_sum",
    _scatter_sum,
    lambda updates, *indices, shape: (shape, updates.dtype),
    transpose=lambda ct, updates, *indices, shape: gather(ct, *indices),
    batch=_scatter_batch,
)


def _owners(*indices: Array, shape: Shape, turn: int) -> Array:
    xp = namespace(*indices)
    indices = xp.broadcast_arrays(*indices)
    flat: Any = 0
    for i, n in zip(indices, shape, strict=True):
        flat = flat * n + xp.where(i < 0, i + n, i).ravel()
    order = xp.argsort(flat, kind="stable")
    ordered = flat[order]
    # each update's turn among those that write the same entry, from the right group end
    left = xp.searchsorted(ordered, ordered, side="left")
    right = xp.searchsorted(ordered, ordered, side="right")
    position = xp.arange(ordered.size)
    chosen = position == (left + turn if turn >= 0 else right + turn)
    chosen &= (position >= left) & (position < right)
    out = xp.full(int(np.prod(shape)), -1)
    out[ordered[chosen]] = order[chosen]
    return out.reshape(shape)


def _owners_batch(values: Any, axes: Any, shape: Shape, turn: int) -> tuple[Array, int]:
    rank = _index_rank(values, axes)
    indices, size = batches_to_front(values, axes, rank)
    rows = _rows(indices[0], size, rank)
    owner = owners(rows, *indices, shape=(size, *shape), turn=turn)
    # updates are numbered through all examples: take off those of the examples before
    updates = math.prod(np.broadcast_shapes(*map(shape_of, indices))[1:])
    before = (rows * updates).reshape((size, *(1,) * len(shape)))
    return select(owner < 0, owner, owner - before), 0


owners = Primitive(
    "owners",
    _owners,
    lambda *indices, shape, turn: (shape, np.dtype(np.intp)),
    batch=_owners_batch,
    family="indexing",
)


# ----------------------------------------------------- NumPy's indices, put together


def take_along(x: Array, indices: Array, axis: int) -> Array:
    """``np.take_along_axis`` for an index array of ``x``'s rank, axis non-negative."""
    return gather(x, *grid_along(indices, shape_of(indices), axis))


def grid_along(indices: Array, shape: Shape, axis: int) -> tuple[Array, ...]:
    """Index arrays that pick ``indices`` along one axis and all there is elsewhere."""
    grid = []
    for i, n in enumerate(shape):
        if i == axis:
            grid.append(indices)
        else:
            place = (1,) * i + (n,) + (1,) * (len(shape) - i - 1)
            # where the indices are; x may be a tangent, which has no place yet
            grid.append(namespace(indices).arange(n).reshape(place))
    return tuple(grid)


# ------------------------------------------------------------ what they simplify to


def _simpler_index(inputs: Sequence[Any], params: Any, definition: Any) -> Any:
    (x,) = inputs
    # of an array without axes, what is read is a copy
    whole = (part is Ellipsis or part == slice(None) for part in params["template"])
    return x if shape_of(x) and all(whole) else None


index.simplify = embed.simplify = _simpler_index
