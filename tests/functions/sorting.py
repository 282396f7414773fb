"""Calls of sorting, searching and sets."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from functions.reductions import DISTINCT, FILLED, along
from functions.table import of_one, of_several, row, some
from samples.sorting import Ascending
from samples.table import (
    EVERY_DTYPE,
    LEFT,
    REAL,
    TRUTH,
    Call,
    Operand,
    dtypes_of,
    shapes,
)

STABLE = {"kind": ["stable", "quicksort", None]}
row("sort", of_one(along(**STABLE), domain=DISTINCT))
row("sort", of_one(along(stable=[True]), domain=DISTINCT))
row(
    "argsort",
    of_one(along(kind=["stable"]), "bilefdFD", DISTINCT),
    method="argsort",
    apply=lambda f, x, **params: f(x, **{"kind": "stable"} | params),
    smooth=(),
)
row("sort_complex", of_one(lambda draw: (draw(shapes(min_rank=1)), {}), "bilfdD"))


def _parted(draw):
    shape, params = along(FILLED)(draw)
    axis = params.get("axis", -1)
    n = int(np.prod(shape)) if axis is None else shape[axis]
    kth = st.integers(-n, n - 1)
    return shape, params | {"kth": draw(st.one_of(kth, st.lists(kth, min_size=1)))}


def ordered_around(f, x, kth, axis=-1):
    """What a partition promises: entries at ``kth``, and sorted ones between them."""
    out = f(x, kth, axis=axis)
    axis = 0 if axis is None else axis
    n = out.shape[axis]
    cuts = sorted({k % n for k in np.atleast_1d(kth).tolist()})
    parts = np.split(out, sorted({c for k in cuts for c in (k, k + 1)}), axis)
    return [np.sort(part, axis) for part in parts]


def ordered_by(f, x, kth, axis=-1):
    def partition(x, kth, axis):
        places = f(x, kth, axis=axis)
        return (
            np.take_along_axis(np.ravel(x) if axis is None else x, places, axis or 0)
            if axis is None
            else np.take_along_axis(x, places, axis)
        )

    return ordered_around(partition, x, kth, axis)


row("partition", of_one(_parted, "bilefd", DISTINCT), apply=ordered_around)
row("argpartition", of_one(_parted, "bilefd", DISTINCT), apply=ordered_by)


@st.composite
def _keys(draw, dtypes):
    shape = draw(shapes(max_rank=2))
    keys = [
        Operand(shape, draw(dtypes_of("?bilfd", dtypes)), LEFT)
        for _ in range(draw(st.integers(1, 3)))
    ]
    return Call(tuple(keys), some(draw, axis=[-1]))


row("lexsort", _keys, apply=lambda f, *keys, **params: f(keys, **params), smooth=())

# --------------------------------------------------------------------------- searching


@st.composite
def _searches(draw, dtypes):
    n = draw(st.sampled_from([0, 1, 4]))
    a = Operand((n,), draw(dtypes_of(EVERY_DTYPE, dtypes)), Ascending())
    v = Operand(draw(shapes()), draw(dtypes_of(EVERY_DTYPE, dtypes)), DISTINCT)
    return Call((a, v), some(draw, side=["left", "right"]))


@st.composite
def _unsorted(draw, dtypes):
    n = draw(st.sampled_from([0, 1, 4]))
    a = Operand((n,), draw(dtypes_of("bilfd", dtypes)), DISTINCT)
    v = Operand(draw(shapes()), draw(dtypes_of("bilfd", dtypes)), DISTINCT)
    return Call((a, v), some(draw, side=["left", "right"]))


row("searchsorted", _searches, smooth=())
row(
    "searchsorted",
    _unsorted,
    apply=lambda f, a, v, **params: f(
        a, v, sorter=np.argsort(a, kind="stable"), **params
    ),
    smooth=(),
)


@st.composite
def _bins(draw, dtypes):
    n = draw(st.sampled_from([1, 2, 4]))
    x = Operand(draw(shapes()), draw(dtypes_of("bilfd", dtypes)), DISTINCT)
    bins = Operand((n,), draw(dtypes_of("bilfd", dtypes)), Ascending())
    return Call(
        (x, bins), {"fall": draw(st.booleans())} | some(draw, right=st.booleans())
    )


def digitized(f, x, bins, fall, **params):
    return f(x, np.flip(bins) if fall else bins, **params)


row("digitize", _bins, apply=digitized, smooth=())

# ------------------------------------------------------------- where a condition holds


def _some_axes(draw):
    return draw(shapes(min_rank=1)), {}


row(
    "nonzero",
    of_one(_some_axes, domain=LEFT),
    method="nonzero",
    smooth=(),
    concrete=True,
)
row("where", of_one(_some_axes, domain=LEFT), smooth=(), concrete=True)
row("flatnonzero", of_one(_some_axes, domain=LEFT), smooth=(), concrete=True)
row("argwhere", of_one(_some_axes, domain=LEFT), smooth=(), concrete=True)


@st.composite
def _chosen(draw, dtypes):
    shape = draw(shapes())
    x = Operand(shape, draw(dtypes_of(EVERY_DTYPE, dtypes)))
    return Call((Operand(shape, np.dtype(bool), TRUTH), x), {})


row("extract", _chosen, concrete=True)


@st.composite
def _compressed(draw, dtypes):
    shape, params = along()(draw)
    axis = params.get("axis")
    n = int(np.prod(shape)) if axis is None else shape[axis]
    x = Operand(shape, draw(dtypes_of(EVERY_DTYPE, dtypes)))
    size = draw(st.integers(0, n))
    return Call((x, Operand((size,), np.dtype(bool), TRUTH)), params)


row(
    "compress",
    _compressed,
    apply=lambda f, x, condition, **params: f(condition, x, **params),
    concrete=True,
)

# -------------------------------------------------------------------------------- sets


def _unique(draw):
    shape = draw(shapes())
    flags = {f"return_{x}": st.booleans() for x in ("index", "inverse", "counts")}
    params = some(draw, equal_nan=st.booleans(), sorted=[True], **flags)
    if shape and 0 not in shape and draw(st.booleans()):
        params["axis"] = draw(st.integers(-len(shape), len(shape) - 1))
    return shape, params


row("unique", of_one(_unique, domain=DISTINCT), concrete=True)
for _name in ("unique_values", "unique_counts", "unique_inverse", "unique_all"):
    row(
        _name,
        of_one(lambda draw: (draw(shapes()), {}), "?bilfd", DISTINCT),
        apply=(lambda f, x: np.sort(f(x)))
        if _name == "unique_values"
        else (lambda f, x: f(x)),
        concrete=True,
    )


class FromGrid:
    """A few numbers that occur again and again, all different in one array."""

    def draw(self, rng, shape, dtype):
        size = int(np.prod(shape))
        return rng.permutation(9)[:size].reshape(shape).astype(dtype) / dtype.type(1)


@st.composite
def _two_sets(draw, dtypes):
    kinds = [draw(dtypes_of("lfd", dtypes)) for _ in range(2)]
    operands = [Operand(draw(shapes(max_rank=2)), k, FromGrid()) for k in kinds]
    return Call(tuple(operands), {})


@st.composite
def _two_unique_sets(draw, dtypes):
    call = draw(_two_sets(dtypes))
    flat = [Operand((int(np.prod(op.shape)),), *op[1:]) for op in call.operands]
    return Call(tuple(flat), some(draw, assume_unique=st.booleans()))


@st.composite
def _two_sets_and_places(draw, dtypes):
    call = draw(_two_unique_sets(dtypes))
    return Call(call.operands, call.params | some(draw, return_indices=st.booleans()))


# not differences: equal entries are what these are about
NOT_SMOOTH = {"smooth": (), "concrete": True}
row("union1d", _two_sets, **NOT_SMOOTH)
row("intersect1d", _two_sets_and_places, **NOT_SMOOTH)
row("setdiff1d", _two_unique_sets, **NOT_SMOOTH)
row("setxor1d", _two_unique_sets, **NOT_SMOOTH)
row("isin", _two_sets, smooth=())
row(
    "isin",
    of_several(
        REAL,
        REAL,
        kinds="?bil",
        params=lambda draw: some(draw, invert=st.booleans(), kind=["sort", "table"]),
    ),
    smooth=(),
)
