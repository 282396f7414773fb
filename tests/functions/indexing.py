"""Calls of functions that read entries at given positions."""

import math

import numpy as np
from hypothesis import strategies as st

from functions.table import row, some
from samples.table import (
    EVERY_DTYPE,
    Below,
    Call,
    Domain,
    Operand,
    axis_of,
    broadcasting,
    dtypes_of,
    shapes,
)

INTEGERS = st.sampled_from([np.dtype("l"), np.dtype("i"), np.dtype("b")])
ANYWHERE = Domain(((0, 1),), tuple(range(-9, 10)))
MODES = st.sampled_from(["wrap", "clip"])


@st.composite
def _take(draw, dtypes):
    shape, axis = draw(axis_of(allow_empty=False))
    n = shape[axis]
    params = {"axis": axis - len(shape) * draw(st.booleans())}
    if draw(st.integers(0, 3)) == 0 and 0 not in shape:
        n, params = math.prod(shape), {}
    params |= some(draw, mode=MODES)
    domain = ANYWHERE if "mode" in params else Below(n)
    x = Operand(shape, draw(dtypes_of(EVERY_DTYPE, dtypes)))
    return Call((x, Operand(draw(shapes(max_rank=2)), draw(INTEGERS), domain)), params)


@st.composite
def _take_along_axis(draw, dtypes):
    shape, axis = draw(axis_of(allow_empty=False))
    x, i = draw(broadcasting(1, shape))[0], draw(broadcasting(1, shape))[0]
    x = (1,) * (len(shape) - len(x)) + x
    i = (1,) * (len(shape) - len(i)) + i
    i = (*i[:axis], draw(st.integers(0, 3)), *i[axis + 1 :])
    positions = Operand(i, draw(INTEGERS), Below(x[axis]))
    operand = Operand(x, draw(dtypes_of(EVERY_DTYPE, dtypes)))
    return Call((operand, positions), {"axis": axis - len(shape) * draw(st.booleans())})


@st.composite
def _take_along_all(draw, dtypes):
    shape = draw(shapes(sizes=(1, 2, 3)))
    n = draw(st.integers(0, 3))
    positions = Operand((n,), draw(INTEGERS), Below(math.prod(shape)))
    x = Operand(shape, draw(dtypes_of(EVERY_DTYPE, dtypes)))
    return Call((x, positions), {"axis": None})


@st.composite
def _choose(draw, dtypes):
    count = draw(st.integers(1, 3))
    chosen, *choices = draw(broadcasting(count + 1))
    params = some(draw, mode=MODES)
    domain = ANYWHERE if params else Domain(((0, 1),), tuple(range(count)))
    options = [Operand(s, draw(dtypes_of(EVERY_DTYPE, dtypes))) for s in choices]
    return Call((Operand(chosen, draw(INTEGERS), domain), *options), params)


@st.composite
def _put_along_axis(draw, dtypes):
    call = draw(_take_along_axis(dtypes))
    x, i = call.operands
    value = draw(st.sampled_from([i.shape, ()]))
    return call._replace(operands=(x, i, Operand(value, x.dtype)))


def putting(f, x, i, v, **params):
    """NumPy writes into its operand; funcad returns what that would be."""
    if f is not np.put_along_axis:
        return f(x, i, v, inplace=False, **params)
    x = x.copy()
    f(x, i, v, **params)
    return x


def choosing(f, chosen, *choices, **params):
    return f(chosen, list(choices), **params)


row("take", _take, method="take")
row("take_along_axis", _take_along_axis)
row("take_along_axis", _take_along_all)
row(
    "put_along_axis",
    _put_along_axis,
    apply=putting,
    smooth=(0, 2),
    by_protocol=False,
)
row("choose", _choose, apply=choosing)


# ------------------------------------------------------------------- indices themselves


@st.composite
def _unravel_index(draw, dtypes):
    dims = draw(shapes(min_rank=1, sizes=(1, 2, 3)))
    size = Domain(((0, 1),), tuple(range(math.prod(dims))))
    operand = Operand(draw(shapes(max_rank=2)), draw(INTEGERS), size)
    return Call((operand,), {"shape": dims} | some(draw, order=["C", "F"]))


@st.composite
def _ravel_multi_index(draw, dtypes):
    dims = draw(shapes(min_rank=1, sizes=(1, 2, 3)))
    params = some(draw, order=["C", "F"], mode=MODES)
    if "mode" in params and draw(st.booleans()):
        params["mode"] = tuple(draw(MODES) for _ in dims)
    operands = [
        Operand(
            s,
            draw(INTEGERS),
            ANYWHERE if "mode" in params else Domain(((0, 1),), tuple(range(n))),
        )
        for s, n in zip(draw(broadcasting(len(dims))), dims)
    ]
    return Call(tuple(operands), {"dims": dims} | params)


@st.composite
def _cross(draw, dtypes):
    sizes = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    return Call(tuple(Operand((n,), draw(INTEGERS), ANYWHERE) for n in sizes), {})


row("unravel_index", _unravel_index, smooth=())
row(
    "ravel_multi_index",
    _ravel_multi_index,
    apply=lambda f, *xs, **params: f(xs, **params),
    smooth=(),
)
row("ix_", _cross, smooth=())
