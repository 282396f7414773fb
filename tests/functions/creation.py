"""Calls of functions that make arrays from shapes, ranges and other arrays."""

import numpy as np
from hypothesis import strategies as st

from functions.table import of_one, of_several, row, some
from samples.table import REAL, Call, Domain, Operand, dtypes_of, shapes

SHAPES = shapes(max_rank=2) | st.integers(0, 3)
COUNTS = st.integers(0, 5)


def _like(draw):
    dtypes = [np.float32, complex, int]
    return draw(shapes()), some(
        draw, dtype=dtypes, order=["C", "F", "K"], shape=SHAPES, device=["cpu", None]
    )


for name in ("zeros_like", "ones_like"):
    row(name, of_one(_like), smooth=())


@st.composite
def _full_like(draw, dtypes):
    shape = draw(shapes())
    value = draw(st.sampled_from([(), shape, shape[1:], shape[:1][:0]]))
    kind = draw(dtypes_of("ldD", dtypes))
    return Call((Operand(shape, kind), Operand(value, kind)), {})


row("full_like", _full_like, smooth=(1,))
row("empty_like", of_one(lambda draw: ((0, *draw(shapes(max_rank=2))), {})), smooth=())


def _as_array(draw):
    return draw(shapes()), some(draw, dtype=[float, complex])


for name in ("array", "asarray", "ascontiguousarray", "asfortranarray"):
    row(name, of_one(_as_array), by_protocol=False)
row(
    "full",
    of_one(lambda draw: ((), {"shape": draw(SHAPES)} | some(draw, dtype=[complex]))),
    apply=lambda f, x, shape, **params: f(shape, x, **params),
    by_protocol=False,
)

# ------------------------------------------------------------------------------- ranges


def _range(draw):
    return some(draw, num=COUNTS, endpoint=st.booleans(), axis=[0, -1])


def _linspace(draw):
    return _range(draw) | some(draw, dtype=["c16"], device=["cpu"])


def _with_step(draw):
    # without parts there is no step, and NumPy's is NaN
    return {"num": draw(st.integers(2, 5)), "retstep": True} | some(
        draw, endpoint=st.booleans(), axis=[0, -1]
    )


APART = Domain(((2.5, 3),), (4, 5, 6))
NEAR = Domain(((0.4, 2),), (1, 2, 3))
# points near zero are differences, of which half precision leaves nothing
PRECISE = "?blfdFD"
for _params in (_linspace, _with_step):
    row(
        "linspace",
        of_several(REAL, REAL, kinds=PRECISE, params=_params),
        tolerance=1e-11,
    )
row("logspace", of_several(REAL, REAL, params=_range), tolerance=1e-11)
row("geomspace", of_several(NEAR, APART, params=_range), tolerance=1e-11)


@st.composite
def _logspace_of_base(draw, dtypes):
    shape = draw(shapes(max_rank=2))
    kind = draw(dtypes_of("lfdFD", dtypes))
    base = draw(st.sampled_from([(), shape, shape[1:]]))
    operands = Operand(shape, kind), Operand((), kind), Operand(base, kind, NEAR)
    return Call(operands, {"num": draw(COUNTS)} | some(draw, endpoint=st.booleans()))


row(
    "logspace",
    _logspace_of_base,
    apply=lambda f, start, stop, base, **params: f(start, stop, base=base, **params),
    tolerance=1e-11,
)

# ----------------------------------------------------------------------- grids, indices


@st.composite
def _meshgrid(draw, dtypes):
    given = draw(st.lists(shapes(max_rank=1), min_size=1, max_size=3))
    operands = [Operand(s, draw(dtypes_of("?lfdD", dtypes))) for s in given]
    params = some(draw, copy=st.booleans(), sparse=st.booleans(), indexing=["xy", "ij"])
    return Call(tuple(operands), params)


def _square(draw):
    return (draw(st.integers(0, 3)),) * draw(st.integers(2, 3)), {}


def _triangle(draw):
    return draw(shapes(min_rank=2, max_rank=2)), some(draw, k=st.integers(-3, 3))


row("meshgrid", _meshgrid)
row("tril_indices_from", of_one(_triangle), smooth=())
row("triu_indices_from", of_one(_triangle), smooth=())
row("diag_indices_from", of_one(_square), smooth=())
