"""Calls of functions that join, split, insert, delete and pad."""

import numpy as np
from hypothesis import strategies as st

from functions.shaping import axis_in
from functions.table import of_one, row, some
from samples.table import (
    EVERY_DTYPE,
    Call,
    Distinct,
    Operand,
    axis_of,
    dtypes_of,
    shapes,
)


def listed(f, *operands, **params):
    """The operands in one list."""
    return f(list(operands), **params)


def operands_of(draw, dtypes, *given, kinds=EVERY_DTYPE):
    return tuple(Operand(shape, draw(dtypes_of(kinds, dtypes))) for shape in given)


# ------------------------------------------------------------------------------ joining


@st.composite
def _concatenate(draw, dtypes):
    if draw(st.integers(0, 3)) == 0:
        given = draw(st.lists(shapes(max_rank=2), min_size=1, max_size=3))
        return Call(operands_of(draw, dtypes, *given), {"axis": None})
    shape, axis = draw(axis_of())
    sizes = draw(st.lists(st.integers(0, 2), min_size=1, max_size=3))
    given = [(*shape[:axis], n, *shape[axis + 1 :]) for n in sizes]
    params = {"axis": axis - len(shape) * draw(st.booleans())}
    return Call(operands_of(draw, dtypes, *given), params | _casting(draw))


def _casting(draw):
    return some(draw, dtype=["c16"], casting=["same_kind", "unsafe", "safe"])


@st.composite
def _stack(draw, dtypes):
    shape = draw(shapes(max_rank=2))
    count = draw(st.integers(1, 3))
    params = some(draw, axis=axis_in(len(shape) + 1)) | _casting(draw)
    return Call(operands_of(draw, dtypes, *[shape] * count), params)


def _alike(min_rank, casting=True):
    """Arrays of one shape."""

    @st.composite
    def calls(draw, dtypes):
        shape = draw(shapes(min_rank=min_rank))
        count = draw(st.integers(1, 3))
        params = _casting(draw) if casting else {}
        return Call(operands_of(draw, dtypes, *[shape] * count), params)

    return calls


@st.composite
def _columns(draw, dtypes):
    n = draw(st.integers(0, 3))
    given = draw(st.lists(st.sampled_from([(n,), (n, 2), (n, 0)]), min_size=1))
    return Call(operands_of(draw, dtypes, *given[:3]), {})


@st.composite
def _append(draw, dtypes):
    if draw(st.booleans()):
        given = draw(shapes(max_rank=2)), draw(shapes(max_rank=2))
        return Call(operands_of(draw, dtypes, *given), {})
    shape, axis = draw(axis_of())
    other = (*shape[:axis], draw(st.integers(0, 2)), *shape[axis + 1 :])
    return Call(operands_of(draw, dtypes, shape, other), {"axis": axis})


@st.composite
def _block(draw, dtypes):
    m, n, i, j = (draw(st.integers(0, 2)) for _ in range(4))
    given = (m, n), (m, j), (i, n), (i, j)
    return Call(operands_of(draw, dtypes, *given), {})


@st.composite
def _block_of_vectors(draw, dtypes):
    given = [(draw(st.integers(1, 2)),), (), (1, 1, 2)]
    return Call(operands_of(draw, dtypes, *given), {})


row("concatenate", _concatenate, apply=listed)
row("stack", _stack, apply=listed)
row("vstack", _alike(0), apply=listed)
row("hstack", _alike(0), apply=listed)
row("dstack", _alike(0, casting=False), apply=listed)
row("column_stack", _columns, apply=listed)
row("append", _append)
row("block", _block, apply=lambda f, a, b, c, d: f([[a, b], [c, d]]))
row("block", _alike(0, casting=False), apply=listed)
row("block", _alike(0, casting=False), apply=lambda f, *xs: f([[x] for x in xs]))


# ---------------------------------------------------------------------------- splitting


def _sections(draw, n, uneven):
    divisors = [d for d in range(1, 4) if uneven or n % d == 0]
    return draw(st.sampled_from(divisors) | st.lists(st.integers(-4, 4), max_size=3))


def _split(uneven):
    def form(draw):
        shape, axis = draw(axis_of())
        params = {"indices_or_sections": _sections(draw, shape[axis], uneven)}
        return shape, params | ({"axis": axis} if axis or draw(st.booleans()) else {})

    return form


def _split_along(least, axis_of_rank):
    def form(draw):
        shape = draw(shapes(min_rank=least))
        n = shape[axis_of_rank(len(shape))]
        return shape, {"indices_or_sections": _sections(draw, n, uneven=False)}

    return form


def _unstack(draw):
    shape = draw(shapes(min_rank=1))
    # of nothing at all, nothing is traced
    shape = tuple(n or 2 for n in shape)
    return shape, some(draw, axis=axis_in(len(shape)))


row("split", of_one(_split(uneven=False)))
row("array_split", of_one(_split(uneven=True)))
row("hsplit", of_one(_split_along(1, lambda rank: min(rank - 1, 1))))
row("vsplit", of_one(_split_along(2, lambda rank: 0)))
row("dsplit", of_one(_split_along(3, lambda rank: 2)))
row("unstack", of_one(_unstack))


# --------------------------------------------------------------- inserting and deleting


def _places(draw, n, one_more):
    last = n if one_more else n - 1
    place = st.integers(-n, last)
    bound = st.none() | place
    choices = [
        st.builds(slice, bound, bound, st.sampled_from([None, 1, 2, -1])),
        st.lists(place, max_size=3),
        st.lists(place, max_size=3).map(lambda p: np.array(p, int)),
        st.lists(st.booleans(), min_size=n, max_size=n).map(
            lambda p: np.array(p, bool)
        ),
    ]
    return draw(st.one_of(place, *choices) if last >= -n else st.just([]))


def _delete(draw):
    if draw(st.integers(0, 3)) == 0:
        shape = draw(shapes(max_rank=2))
        n = int(np.prod(shape))
        return shape, {"obj": _places(draw, n, one_more=False)}
    shape, axis = draw(axis_of())
    return shape, {"obj": _places(draw, shape[axis], one_more=False), "axis": axis}


@st.composite
def _insert(draw, dtypes):
    shape, axis = draw(axis_of())
    obj = _places(draw, shape[axis], one_more=True)
    rest = (*shape[:axis], *shape[axis + 1 :])
    if isinstance(obj, int):
        values = draw(st.sampled_from([(), rest, (2, *rest) if axis == 0 else rest]))
    else:
        values = draw(st.sampled_from([(), (1,) * len(shape), (1,)]))
    kind = draw(dtypes_of("lefdFD", dtypes))
    # values take the dtype of the array, so theirs is no wider
    operands = Operand(shape, kind), Operand(values, kind)
    return Call(operands, {"obj": obj, "axis": axis})


@st.composite
def _insert_flat(draw, dtypes):
    shape = draw(shapes(max_rank=2))
    obj = _places(draw, int(np.prod(shape)), one_more=True)
    kind = draw(dtypes_of("lefdFD", dtypes))
    return Call((Operand(shape, kind), Operand((), kind)), {"obj": obj})


def inserting(f, arr, values, obj, **params):
    return f(arr, obj, values, **params)


row("delete", of_one(_delete))
row("insert", _insert, apply=inserting)
row("insert", _insert_flat, apply=inserting)


def _trim(draw):
    return draw(shapes(min_rank=1)), some(draw, trim=["f", "b", "fb", "BF"])


row("trim_zeros", of_one(_trim), concrete=True)


# ------------------------------------------------------------------ along and over axes


def _along(draw):
    shape = tuple(n or 2 for n in draw(shapes(min_rank=1)))
    functions = [np.sum, np.cumsum, lambda v: v[:, None] * v[::-1], lambda v: v[0]]
    return shape, {
        "func1d": draw(st.sampled_from(functions)),
        "axis": draw(axis_in(len(shape))),
    }


def _over(draw):
    shape = draw(shapes(min_rank=1))
    axes = st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True)
    return shape, {
        "func": draw(st.sampled_from([np.sum, np.prod])),
        "axes": draw(axes | axis_in(len(shape))),
    }


row(
    "apply_along_axis",
    of_one(_along, kinds="lefdFD"),
    apply=lambda f, x, func1d, axis: f(func1d, axis, x),
)
row(
    "apply_over_axes",
    of_one(_over, kinds="lefdFD"),
    apply=lambda f, x, func, axes: f(func, x, axes),
)


# ------------------------------------------------------------------------------ padding

WIDTHS = st.integers(0, 3)


def _widths(draw, rank, **limits):
    width = st.integers(**limits) if limits else WIDTHS
    pair = st.tuples(width, width)
    whole = [width, pair, pair.map(lambda p: [p])]
    whole.append(st.lists(pair, min_size=rank, max_size=rank).filter(len))
    if rank and np.lib.NumpyVersion(np.__version__) >= "2.2.0":
        axes = st.integers(-rank, rank - 1)
        whole.append(st.dictionaries(axes, width | pair, max_size=1))
    return draw(st.one_of(whole))


def _pad(mode, sizes=(2, 3, 1), **arguments):
    def form(draw):
        shape = draw(shapes(min_rank=1, sizes=sizes))
        params = {"pad_width": _widths(draw, len(shape)), "mode": mode}
        return shape, params | some(draw, **arguments)

    return form


LENGTHS = st.none() | st.integers(1, 4) | st.just(((1, 2),))
NUMBERS = st.sampled_from([0, 1, (0, 2), ((3, 1),)])
for _mode, _known in {
    "constant": {"constant_values": NUMBERS},
    "edge": {},
    "wrap": {},
    "mean": {"stat_length": LENGTHS},
    "median": {"stat_length": LENGTHS},
}.items():
    row("pad", of_one(_pad(_mode, **_known), kinds="bilefdFD"))
# ramps that meet zero and odd reflections are differences, of which half precision
# leaves nothing
for _mode, _known in {
    "reflect": {"reflect_type": ["even", "odd"]},
    "symmetric": {"reflect_type": ["even", "odd"]},
    "linear_ramp": {"end_values": NUMBERS},
}.items():
    row("pad", of_one(_pad(_mode, **_known), kinds="bilfdFD"))
for _mode in ("maximum", "minimum"):
    row(
        "pad",
        of_one(_pad(_mode, stat_length=LENGTHS), kinds="bilefd", domain=Distinct()),
    )
row("pad", of_one(_pad("constant", sizes=(2, 0, 1))))


@st.composite
def _pad_values(draw, dtypes):
    shape = draw(shapes(min_rank=1))
    kind = draw(dtypes_of("lfdFD", dtypes))
    values = draw(st.sampled_from([(), (1,), (2,), (len(shape), 2), (1, 2)]))
    mode = draw(st.sampled_from(["constant", "linear_ramp"]))
    if mode == "linear_ramp":
        shape = tuple(n or 2 for n in shape)
    params = {"pad_width": _widths(draw, len(shape)), "mode": mode}
    return Call((Operand(shape, kind), Operand(values, kind)), params)


def padded(f, x, values, pad_width, mode):
    names = {"constant": "constant_values", "linear_ramp": "end_values"}
    return f(x, pad_width, mode, **{names[mode]: values})


row("pad", _pad_values, apply=padded)
