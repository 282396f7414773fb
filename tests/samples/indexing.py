"""Samples of reading and writing entries."""

from __future__ import annotations

from types import EllipsisType
from typing import Any

import numpy as np
from hypothesis import strategies as st

from samples.table import (
    EVERY,
    EVERY_DTYPE,
    LINEAR,
    SAMPLES,
    Below,
    Call,
    Operand,
    Samples,
    Shape,
    broadcasting,
    dtypes_of,
    first,
    jointly,
    shapes,
    unary,
)


@st.composite
def templates(draw: Any, shape: Shape) -> tuple[int | slice | None | EllipsisType, ...]:
    """Basic indices of an array of this shape."""
    parts: list[Any] = []
    for n in shape:
        kind = draw(st.sampled_from(("all", "slice", "integer")))
        if kind == "integer" and n:
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "slice":
            bound = st.none() | st.integers(-n - 1, n + 1)
            step = st.sampled_from((None, 1, 2, -1, -2))
            parts.append(slice(draw(bound), draw(bound), draw(step)))
        else:
            parts.append(slice(None))
    if draw(st.booleans()):
        # axes that an ellipsis, or nothing at all, stands for
        cut = draw(st.integers(0, len(parts)))
        rest = draw(st.integers(cut, len(parts)))
        parts[cut:rest] = [Ellipsis]
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), None)
    return tuple(parts)


def _index_call(draw: Any) -> Any:
    shape = draw(shapes())
    return shape, {"template": draw(templates(shape))}


unary("index", _index_call, lambda x, template: np.asarray(x)[template], **LINEAR)


def _embed_call(draw: Any) -> Any:
    shape = draw(shapes())
    template = draw(templates(shape))
    return np.empty(shape)[template].shape, {"shape": shape, "template": template}


def _embed(x: Any, shape: Shape, template: Any) -> Any:
    out = np.zeros(shape, np.asarray(x).dtype)
    out[template] = x
    return out


unary("embed", _embed_call, _embed, **LINEAR)


@st.composite
def _assemble_calls(draw: Any, dtypes: str) -> Call:
    shape = draw(shapes())
    chosen = tuple(draw(st.lists(templates(shape), min_size=1, max_size=3)))
    parts = [
        # booleans are not added up in a number's place
        Operand(np.empty(shape)[t].shape, draw(dtypes_of("bilefdFD", dtypes)))
        for t in chosen
    ]
    return Call(tuple(parts), {"shape": shape, "templates": chosen})


def _assemble(*parts: Any, shape: Shape, templates: Any) -> Any:
    return sum(
        _embed(x, shape, template) for x, template in zip(parts, templates, strict=True)
    )


SAMPLES["assemble"] = Samples(
    _assemble_calls, _assemble, smooth=EVERY, linear=jointly, analytic=True
)


@st.composite
def _gathering(draw: Any, whole: bool) -> tuple[Shape, list[Operand], Shape]:
    """A shape, indices of its leading axes (of all axes, if ``whole``), their shape."""
    shape = draw(shapes(min_rank=1))
    count = len(shape) if whole else draw(st.integers(1, len(shape)))
    full = draw(shapes(max_rank=2))
    if 0 in shape[:count]:
        full = (*full, 0)
    # an axis without entries has no index but an empty one
    arrays = [
        a if n else full
        for a, n in zip(draw(broadcasting(count, full)), shape, strict=False)
    ]
    indices = [
        Operand(a, draw(st.sampled_from((np.dtype("l"), np.dtype("i")))), Below(n))
        for a, n in zip(arrays, shape, strict=False)
    ]
    return shape, indices, np.broadcast_shapes(*arrays)


@st.composite
def _gather_calls(draw: Any, dtypes: str) -> Call:
    shape, indices, _ = draw(_gathering(whole=False))
    x = Operand(shape, draw(dtypes_of(EVERY_DTYPE, dtypes)))
    return Call((x, *indices), {})


SAMPLES["gather"] = Samples(
    _gather_calls,
    lambda x, *indices: x[indices],
    smooth=(0,),
    linear=first,
    analytic=True,
)


@st.composite
def _scatter_calls(draw: Any, dtypes: str) -> Call:
    shape, indices, gathered = draw(_gathering(whole=False))
    rest = shape[len(indices) :]
    updates = Operand((*gathered, *rest), draw(dtypes_of("bilefdFD", dtypes)))
    return Call((updates, *indices), {"shape": shape})


def _scatter_sum(updates: Any, *indices: Any, shape: Shape) -> Any:
    updates = np.asarray(updates)
    out = np.zeros(shape, updates.dtype)
    indices = np.broadcast_arrays(*indices)
    for place in np.ndindex(indices[0].shape):
        out[tuple(int(i[place]) for i in indices)] += updates[place]
    return out


SAMPLES["scatter_sum"] = Samples(
    _scatter_calls, _scatter_sum, smooth=(0,), linear=first, analytic=True
)


@st.composite
def _owners_calls(draw: Any, dtypes: str) -> Call:
    shape, indices, _ = draw(_gathering(whole=True))
    return Call(tuple(indices), {"shape": shape, "turn": draw(st.integers(-2, 1))})


def _owners(*indices: Any, shape: Shape, turn: int) -> Any:
    writers: dict[Shape, list[int]] = {place: [] for place in np.ndindex(shape)}
    indices = np.broadcast_arrays(*indices)
    for update, place in enumerate(np.ndindex(indices[0].shape)):
        entry = tuple(int(i[place]) % n for i, n in zip(indices, shape, strict=True))
        writers[entry].append(update)
    out = np.full(shape, -1)
    for entry, updates in writers.items():
        if -len(updates) <= turn < len(updates):
            out[entry] = updates[turn]
    return out


SAMPLES["owners"] = Samples(_owners_calls, _owners, inexact=False)
