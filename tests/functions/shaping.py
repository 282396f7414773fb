"""Calls of functions that reshape, turn, repeat and cut arrays."""

import math

import numpy as np
from hypothesis import strategies as st

from functions.table import of_one, of_several, row, some
from samples.table import REAL, broadcasting, shapes

ORDERS = st.sampled_from(["C", "F"])
SHIFTS = st.integers(-3, 3)


def passing(*names):
    """Pass these parameters by position, as methods and old functions want them."""

    def apply(f, *operands, **params):
        positional = [params.pop(name) for name in names if name in params]
        return f(*operands, *positional, **params)

    return apply


def axis_in(rank):
    return st.integers(-rank, rank - 1)


def axes_in(rank, max_size=None):
    """Different axes of either sign, as a tuple."""
    if rank == 0:
        return st.just(())
    return st.lists(axis_in(rank), max_size=max_size, unique_by=lambda a: a % rank).map(
        tuple
    )


def with_axis(**others):
    """A shape, perhaps ``axis`` of it, and other arguments, perhaps."""

    def form(draw):
        shape = draw(shapes(min_rank=1))
        return shape, some(draw, axis=axis_in(len(shape)), **others)

    return form


# --------------------------------------------------------------------------- reshaping


def _reshape(draw):
    shape = draw(shapes())
    size = math.prod(shape)
    choices = [(size,), size, shape[::-1], [1, *shape], (*shape, 1)]
    if size:
        choices += [-1, (-1, *shape[1:]) if shape else (-1, 1)]
    return shape, {"shape": draw(st.sampled_from(choices))} | some(draw, order=ORDERS)


def _flatten(draw):
    return draw(shapes()), some(draw, order=ORDERS)


row("reshape", of_one(_reshape), apply=passing("shape"), method="reshape")
row("ravel", of_one(_flatten), method="ravel")
row("ravel", of_one(_flatten), method="flatten")


def _transpose(draw):
    shape = draw(shapes())
    signed = [i - len(shape) * draw(st.booleans()) for i in range(len(shape))]
    return shape, some(draw, axes=st.permutations(signed).map(tuple))


def _swapaxes(draw):
    shape = draw(shapes(min_rank=1))
    axis = axis_in(len(shape))
    return shape, {"axis1": draw(axis), "axis2": draw(axis)}


def _moveaxis(draw):
    shape = draw(shapes(min_rank=1))
    source = draw(axes_in(len(shape)))
    order = draw(st.permutations(range(len(shape))))
    destination = tuple(order[: len(source)])
    if len(source) == 1 and draw(st.booleans()):
        return shape, {"source": source[0], "destination": destination[0]}
    return shape, {"source": source, "destination": list(destination)}


def _rollaxis(draw):
    shape = draw(shapes(min_rank=1))
    n = len(shape)
    return shape, {"axis": draw(axis_in(n))} | some(draw, start=st.integers(-n, n))


def _matrices(draw):
    return draw(shapes(min_rank=2)), {}


row("transpose", of_one(_transpose), apply=passing("axes"), method="transpose")
row("swapaxes", of_one(_swapaxes), apply=passing("axis1", "axis2"), method="swapaxes")
row("moveaxis", of_one(_moveaxis))
row("rollaxis", of_one(_rollaxis))
row("matrix_transpose", of_one(_matrices))
row("linalg.matrix_transpose", of_one(_matrices))


def _expand_dims(draw):
    shape = draw(shapes(max_rank=2))
    if draw(st.booleans()):
        return shape, {"axis": draw(axis_in(len(shape) + 1))}
    return shape, {"axis": draw(axes_in(len(shape) + 2).filter(lambda a: len(a) == 2))}


def _squeeze(draw):
    shape = draw(shapes(sizes=(1, 1, 2, 0)))
    ones = [i for i, n in enumerate(shape) if n == 1]
    several = [i for i in ones if draw(st.booleans())]
    choices = [st.none(), st.just(tuple(several))]
    if ones:
        choices.append(st.sampled_from(ones).map(lambda i: i - len(shape)))
    return shape, some(draw, axis=st.one_of(choices))


def _broadcast_to(draw):
    full = draw(shapes())
    (shape,) = draw(broadcasting(1, full))
    return shape, {"shape": full}


def _any(draw):
    return draw(shapes()), {}


row("expand_dims", of_one(_expand_dims))
row("squeeze", of_one(_squeeze), method="squeeze")
row("broadcast_to", of_one(_broadcast_to))
row("broadcast_arrays", of_several(REAL, REAL, REAL))
row("copy", of_one(_flatten), method="copy")
for name in ("atleast_1d", "atleast_2d", "atleast_3d"):
    row(name, of_one(_any))
    row(name, of_several(REAL, REAL))


# ---------------------------------------------------------------- turning and repeating


def _flip(draw):
    shape = draw(shapes())
    axes = axes_in(len(shape))
    axis = axis_in(len(shape)) | axes if shape else axes
    return shape, some(draw, axis=st.none() | axis)


def _rot90(draw):
    shape = draw(shapes(min_rank=2))
    pair = axes_in(len(shape)).filter(lambda a: len(a) == 2)
    return shape, some(draw, k=st.integers(-5, 5), axes=pair)


def _roll(draw):
    shape = draw(shapes())
    if not shape or draw(st.booleans()):
        return shape, {"shift": draw(SHIFTS)}
    axis = draw(axis_in(len(shape)) | st.lists(axis_in(len(shape)), min_size=1))
    shift = draw(SHIFTS)
    if isinstance(axis, list) and draw(st.booleans()):
        shift = tuple(draw(SHIFTS) for _ in axis)
    return shape, {"shift": shift, "axis": tuple(np.atleast_1d(axis).tolist())}


def _repeat(draw):
    shape = draw(shapes())
    if not shape or draw(st.booleans()):
        n, params = math.prod(shape), {}
    else:
        axis = draw(axis_in(len(shape)))
        n, params = shape[axis], {"axis": axis}
    count = st.integers(0, 2)
    counts = (
        st.lists(count, min_size=n, max_size=n)
        | count
        | st.lists(count, min_size=1, max_size=1)
    )
    return shape, {"repeats": draw(counts)} | params


def _tile(draw):
    count = st.integers(0, 2)
    return draw(shapes(max_rank=2)), {"reps": draw(count | st.lists(count, max_size=3))}


def _resize(draw):
    return draw(shapes()), {"new_shape": draw(st.integers(0, 7) | shapes(max_rank=2))}


row("flip", of_one(_flip))
row("flipud", of_one(lambda draw: (draw(shapes(min_rank=1)), {})))
row("fliplr", of_one(_matrices))
row("rot90", of_one(_rot90))
row("roll", of_one(_roll))
row("repeat", of_one(_repeat), method="repeat")
row("tile", of_one(_tile))
row("resize", of_one(_resize))


# -------------------------------------------------------------- triangles and diagonals

OFFSETS = st.integers(-3, 3)


def _triangle(draw):
    return draw(shapes(min_rank=1)), some(draw, k=OFFSETS)


def _diag(draw):
    return draw(shapes(min_rank=1, max_rank=2)), some(draw, k=OFFSETS)


def _diagonal(draw):
    shape = draw(shapes(min_rank=2))
    axes = draw(axes_in(len(shape)).filter(lambda a: len(a) == 2))
    given = dict(zip(("axis1", "axis2"), axes)) if draw(st.booleans()) else {}
    return shape, some(draw, offset=OFFSETS) | given


def _trace(draw):
    shape, params = _diagonal(draw)
    return shape, params | some(draw, dtype=st.sampled_from(["c16"]))


row("tril", of_one(_triangle))
row("triu", of_one(_triangle))
row("diag", of_one(_diag))
row("diagflat", of_one(lambda draw: (draw(shapes()), some(draw, k=OFFSETS))))
row("diagonal", of_one(_diagonal), method="diagonal")
row(
    "linalg.diagonal",
    of_one(lambda draw: (draw(shapes(min_rank=2)), some(draw, offset=OFFSETS))),
)
row("trace", of_one(_trace), method="trace")
row(
    "linalg.trace",
    of_one(lambda draw: (draw(shapes(min_rank=2)), some(draw, offset=OFFSETS))),
)

# ---------------------------------------------------------------- questions of the form


def _size(draw):
    shape = draw(shapes(min_rank=1))
    return shape, some(draw, axis=axis_in(len(shape)))


row("shape", of_one(_any), smooth=())
row("ndim", of_one(_any), smooth=())
row("size", of_one(_size), smooth=())
for name in ("isrealobj", "iscomplexobj"):
    row(name, of_one(_any), smooth=())


def _cast(draw):
    to = draw(st.sampled_from([np.int8, np.float32, complex]))
    return draw(shapes()), {"to": to} | some(draw, casting=["safe", "no", "unsafe"])


row("can_cast", of_one(_cast), smooth=())
row(
    "result_type",
    of_several(REAL, REAL),
    # a dtype is no result of a transformed function, but a zero of it is
    apply=lambda f, *xs: np.zeros((), f(*xs, np.float32)),
    smooth=(),
)
