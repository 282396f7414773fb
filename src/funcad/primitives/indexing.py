"""Reading and writing entries.

==============  =========================================  =======================
primitive       meaning                                    transpose
==============  =========================================  =======================
``index``       ``x[template]``: integers, slices,         ``embed``
                ellipsis and newaxis
``embed``       zeros but for ``out[template] = x``        ``index``
``assemble``    zeros, then ``out[template] += x`` for     ``index``
                each of several
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
from funcad.core.counting import each_operand, each_result, entries, size_in_bytes
from funcad.core.program import Var
from funcad.core.tracing import (
    Array,
    Operand,
    Params,
    Primitive,
    bind,
    dtype_of,
    shape_of,
)
from funcad.primitives.code import call, subscript
from funcad.primitives.elementwise import add, also, select
from funcad.primitives.families import linear
from funcad.primitives.parts import SUM, Axes, Parts, aligned, part_of
from funcad.primitives.shape import (
    Shape,
    batch_first,
    batches_to_front,
    broadcast_to,
    convert,
    move_axis,
    sum_to,
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


def _kept(template: Template, rank: int) -> dict[int, int]:
    """Which axis of the result each axis becomes that a template takes all of."""
    used = sum(entry is not None and entry is not Ellipsis for entry in template)
    rest = (slice(None),) * (rank - used)
    if Ellipsis not in template:
        template = (*template, Ellipsis)
    kept: dict[int, int] = {}
    axis = result = 0
    for entry in template:
        for one in rest if entry is Ellipsis else (entry,):
            if one == slice(None):
                kept[axis] = result
            axis += one is not None
            result += one is None or isinstance(one, slice)
    return kept


def _index_parts(
    axes: Axes, shapes: Sequence[Shape], params: Params, count: int
) -> Parts | None:
    """Of an index: along an axis that is taken whole."""
    (at,), (shape,) = axes, shapes
    axis = _kept(params["template"], len(shape)).get(at)  # type: ignore[arg-type]
    return None if axis is None else Parts((at,), (axis,), params)


index = linear(
    "index",
    lambda x, template: x[template],
    lambda x, template: (np.broadcast_to(_SPECIMEN, x.shape)[template].shape, x.dtype),
    transpose=lambda ct, x, template: embed(ct, shape=x.shape, template=template),
    batch=_index_batch,
    code=_index_code,
    parts=_index_parts,
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


def _embed_parts(
    axes: Axes, shapes: Sequence[Shape], params: Params, count: int
) -> Parts | None:
    """Of an embedding: along an axis that is written whole."""
    templates = (params["template"],)
    return _written_in_parts(axes, shapes, templates, params, count)


def _written_in_parts(
    axes: Axes,
    shapes: Sequence[Shape],
    templates: Sequence[Template],
    params: Params,
    count: int,
) -> Parts | None:
    shape = params["shape"]
    whole = np.broadcast_to(_SPECIMEN, shape)
    if any(s != whole[t].shape for s, t in zip(shapes, templates, strict=True)):
        return None
    kept = [_kept(template, len(shape)) for template in templates]
    for axis in range(len(shape)):
        wanted = tuple([k.get(axis) for k in kept])
        if None not in wanted and all(a in (None, w) for a, w in zip(axes, wanted)):
            params = {**params, "shape": part_of(shape, axis, count)}
            return Parts(wanted, (axis,), params)
    return None


embed = linear(
    "embed",
    _embed,
    lambda x, shape, template: (shape, x.dtype),
    transpose=lambda ct, x, shape, template: index(ct, template=template),
    batch=_embed_batch,
    code=call("embed"),
    parts=_embed_parts,
)
embed.definition = """
def embed(x, shape, template):
    out = np.zeros(shape, x.dtype)
    out[template] = x
    return out
"""


def _assemble(
    *parts: Array, shape: Shape, templates: tuple[Template, ...], out: Array = None
) -> Array:
    if out is None:
        dtype = np.result_type(*[x.dtype for x in parts])
        out = namespace(*parts).zeros(shape, dtype)
    else:
        out[...] = 0
    for x, template in zip(parts, templates, strict=True):
        out[template] += x
    return out


def _assemble_abstract(*parts: Any, shape: Shape, templates: Any) -> tuple[Shape, Any]:
    return shape, np.result_type(*[x.dtype for x in parts])


def _assemble_jvp(
    ans: Array, primals: Any, tangents: Any, params: Params
) -> Array | None:
    moving = [i for i, t in enumerate(tangents) if t is not None]
    templates = tuple([params["templates"][i] for i in moving])
    parts = [tangents[i] for i in moving]
    t = bind(assemble, parts, {"shape": params["shape"], "templates": templates})
    return t if t.dtype == ans.dtype else convert(t, dtype=ans.dtype)


def _assemble_transpose(ct: Array, args: Sequence[Any], params: Params) -> Any:
    return [
        sum_to(index(ct, template=template), x) if type(x) is Var else None
        for x, template in zip(args, params["templates"], strict=True)
    ]


def _assemble_batch(
    values: Any, axes: Any, shape: Shape, templates: Any
) -> tuple[Array, int]:
    parts, size = batches_to_front(values, axes)
    parts = [
        broadcast_to(x, shape=(size, *shape_of(x))) if a is None else x
        for x, a in zip(parts, axes, strict=True)
    ]
    templates = tuple([(slice(None), *template) for template in templates])
    return bind(assemble, parts, {"shape": (size, *shape), "templates": templates}), 0


def _assemble_parts(
    axes: Axes, shapes: Sequence[Shape], params: Params, count: int
) -> Parts | None:
    """Of a sum of embeddings: along an axis that all of them write whole."""
    return _written_in_parts(axes, shapes, params["templates"], params, count)


assemble = Primitive(
    "assemble",
    _assemble,
    _assemble_abstract,
    jvp=_assemble_jvp,
    transpose=_assemble_transpose,
    batch=_assemble_batch,
    flops=lambda inputs, outputs, params: sum(map(entries, inputs)),
    code=call("assemble"),
    parts=_assemble_parts,
    definition="""
def assemble(*parts, shape, templates, out=None):
    if out is None:
        out = np.empty(shape, np.result_type(*[x.dtype for x in parts]))
    out[...] = 0
    for x, template in zip(parts, templates, strict=True):
        out[template] += x
    return out
""",
    family="linear",
)
"""``assemble(*parts, shape, templates)``: the sum of as many ``embed``."""

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


def _gather_parts(
    axes: Axes, shapes: Sequence[Shape], params: Params, count: int
) -> Parts | None:
    """Of a gather: parts of what is gathered, or of the indices."""
    (at, *index_axes), (_, *index_shapes) = axes, shapes
    rank = max(map(len, index_shapes), default=0)
    if at is None:
        found = aligned(index_axes, index_shapes)
        return None if found is None else Parts((None, *found[1]), found[:1], {})
    if at < len(index_shapes) or any(a is not None for a in index_axes):
        return None
    return Parts(tuple(axes), (at - len(index_shapes) + rank,), {})


gather = linear(
    "gather",
    lambda x, *indices: x[indices],
    _gather_abstract,
    transpose=lambda ct, x, *indices: scatter_sum(ct, *indices, shape=x.shape),
    batch=_gather_batch,
    # of the operand no more is read than what is gathered
    traffic=lambda inputs, outputs, params: (
        sum(map(size_in_bytes, (*inputs[1:], *outputs))),
        size_in_bytes(outputs[0]),
    ),
    code=_gather_code,
    parts=_gather_parts,
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


def _scatter_parts(
    axes: Axes, shapes: Sequence[Shape], params: Params, count: int
) -> Parts | None:
    """Of a scatter-add: parts of the updates, or of what each of them is."""
    (at, *index_axes), (updates, *index_shapes) = axes, shapes
    rank = max(map(len, index_shapes), default=0)
    if at is not None and at >= rank:
        if any(a is not None for a in index_axes):
            return None
        axis = at - rank + len(index_shapes)
        shape = part_of(params["shape"], axis, count)
        return Parts(tuple(axes), (axis,), {"shape": shape})
    gathered = updates[:rank]
    found = aligned((at, *index_axes), (gathered, *index_shapes))
    return None if found is None else Parts(found[1], (SUM,), params)


scatter_sum = linear(
    "scatter_sum",
    _scatter_sum,
    lambda updates, *indices, shape: (shape, updates.dtype),
    transpose=lambda ct, updates, *indices, shape: gather(ct, *indices),
    batch=_scatter_batch,
    flops=each_operand(1),
    parts=_scatter_parts,
)
scatter_sum.definition = """
def scatter_sum(updates, *indices, shape):
    out = np.zeros(shape, updates.dtype)
    np.add.at(out, indices, updates)
    return out
"""


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
    flops=each_result(1),
    family="indexing",
)
owners.definition = """
def owners(*indices, shape, turn):
    flat = 0
    for i, n in zip(np.broadcast_arrays(*indices), shape):
        flat = flat * n + np.where(i < 0, i + n, i).ravel()
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    left = np.searchsorted(ordered, ordered, side="left")
    right = np.searchsorted(ordered, ordered, side="right")
    place = np.arange(ordered.size)
    chosen = place == (left + turn if turn >= 0 else right + turn)
    chosen &= (place >= left) & (place < right)
    out = np.full(int(np.prod(shape)), -1)
    out[ordered[chosen]] = order[chosen]
    return out.reshape(shape)
"""


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


def _parts(x: Any, definition: Any) -> tuple[Sequence[Any], tuple[Template, ...]]:
    """What was embedded to make an operand, and where."""
    equation = definition(x)
    if equation is not None and equation.primitive is embed:
        return equation.inputs, (equation.params["template"],)
    if equation is not None and equation.primitive is assemble:
        return equation.inputs, equation.params["templates"]
    return (), ()


def _simpler_sum_of_parts(x: Any, y: Any, definition: Any) -> Any:
    """Parts are added up in one array, not each in an array of its own."""
    (xs, left), (ys, right) = _parts(x, definition), _parts(y, definition)
    if not xs or not ys or (x.shape, x.dtype) != (y.shape, y.dtype):
        return None
    # what has been put together before is of one dtype; many parts are not looked at
    # anew with each one more
    if any(
        dtype_of(part) != x.dtype
        for parts in (xs, ys)
        if len(parts) == 1
        for part in parts
    ):
        return None
    return assemble, [*xs, *ys], {"shape": x.shape, "templates": (*left, *right)}


also(add, _simpler_sum_of_parts)
