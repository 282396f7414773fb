"""Calls of products of arrays."""

import numpy as np
from hypothesis import strategies as st

from functions.table import row, some
from samples.table import (
    EVERY_DTYPE,
    Call,
    Operand,
    broadcasting,
    dtypes_of,
    shapes,
)

SIZES = st.integers(0, 3)


def products(form):
    """Calls with several arrays; ``form(draw)`` gives shapes and parameters."""

    @st.composite
    def calls(draw, dtypes):
        given, params = form(draw)
        kinds = [draw(dtypes_of(EVERY_DTYPE, dtypes)) for _ in given]
        operands = [Operand(s, k) for s, k in zip(given, kinds)]
        return Call(tuple(operands), params)

    return calls


def _stacks(draw):
    return draw(broadcasting(2, draw(shapes(max_rank=2))))


def _matmul(draw):
    m, k, n = draw(SIZES), draw(SIZES), draw(SIZES)
    lead, other = _stacks(draw)
    left = draw(st.sampled_from([(k,), (*lead, m, k)]))
    right = draw(st.sampled_from([(k,), (*other, k, n)]))
    return (left, right), {}


def _matrices(draw):
    m, k, n = draw(SIZES), draw(SIZES), draw(SIZES)
    lead, other = _stacks(draw)
    return ((*lead, m, k), (*other, k, n)), {}


def _matvec(draw):
    m, k = draw(SIZES), draw(SIZES)
    lead, other = _stacks(draw)
    return ((*lead, m, k), (*other, k)), {}


def _vecmat(draw):
    m, k = draw(SIZES), draw(SIZES)
    lead, other = _stacks(draw)
    return ((*other, k), (*lead, k, m)), {}


def _vecdot(draw):
    k = draw(SIZES)
    lead, other = _stacks(draw)
    axis = draw(st.integers(0, min(len(lead), len(other))))
    cut = [(*s[: len(s) - axis], k, *s[len(s) - axis :]) for s in (lead, other)]
    return cut, {"axis": -1 - axis} if axis or draw(st.booleans()) else {}


def _dot(draw):
    k = draw(SIZES)
    left = draw(st.sampled_from([(), (k,), (2, k), (2, 1, k)]))
    right = draw(st.sampled_from([(), (k,), (k, 2), (3, k, 1)]))
    return (left, right), {}


def _inner(draw):
    k = draw(SIZES)
    lead, other = draw(shapes(max_rank=2)), draw(shapes(max_rank=2))
    if draw(st.integers(0, 3)) == 0:
        return ((), (*lead, k)), {}
    return ((*lead, k), (*other, k)), {}


def _vdot(draw):
    shape = draw(shapes())
    return (shape, draw(st.sampled_from([shape, shape[::-1]]))), {}


def _pair(draw):
    return (draw(shapes(max_rank=2)), draw(shapes(max_rank=2))), {}


def _tensordot(draw):
    summed = draw(shapes(max_rank=2))
    lead, trail = draw(shapes(max_rank=1)), draw(shapes(max_rank=1))
    if draw(st.booleans()):
        return ((*lead, *summed), (*summed, *trail)), {"axes": len(summed)}
    x, y = (*summed, *lead), (*trail, *summed)
    left = [i - len(x) * draw(st.booleans()) for i in range(len(summed))]
    right = [j + len(trail) for j in range(len(summed))]
    order = draw(st.permutations(range(len(summed))))
    axes = [left[i] for i in order], [right[i] for i in order]
    if len(summed) == 1 and draw(st.booleans()):
        axes = axes[0][0], axes[1][0]
    return (x, y), {"axes": axes}


row("matmul", products(_matmul))
row("linalg.matmul", products(_matrices))
row("vecdot", products(_vecdot))
row("linalg.vecdot", products(_vecdot))
if hasattr(np, "matvec"):
    row("matvec", products(_matvec))
    row("vecmat", products(_vecmat))
row("dot", products(_dot), method="dot")
row("inner", products(_inner))
row("vdot", products(_vdot))
row("outer", products(_pair))
row("kron", products(_pair))
row("tensordot", products(_tensordot))
row("linalg.tensordot", products(_tensordot))


# ------------------------------------------------------------------------------- einsum


@st.composite
def _subscripts(draw):
    """Terms, a result, and the shapes of the operands."""
    size = {c: draw(st.sampled_from([2, 3, 1, 0])) for c in "ijkl"}
    dots = draw(shapes(max_rank=2)) if draw(st.integers(0, 2)) == 0 else None
    terms, given = [], []
    for _ in range(draw(st.integers(1, 4))):
        term = draw(st.text("ijkl", max_size=3))
        shape = [1 if draw(st.integers(0, 5)) == 0 else size[c] for c in term]
        # subscripts that repeat in one term are of one size
        shape = tuple(shape[term.index(c)] for c in term)
        if dots is not None and draw(st.booleans()):
            (extra,) = draw(broadcasting(1, dots))
            at = draw(st.integers(0, len(term)))
            shape = (*shape[:at], *extra, *shape[at:])
            term = term[:at] + "..." + term[at:]
        terms.append(term)
        given.append(shape)
    subscripts = ",".join(terms)
    if draw(st.booleans()):
        used = sorted(set(subscripts) - set(",."))
        kept = draw(st.permutations(used))[: draw(st.integers(0, len(used)))]
        result = "".join(kept)
        if "..." in subscripts:
            at = draw(st.integers(0, len(result)))
            result = result[:at] + "..." + result[at:]
        subscripts += "->" + result
    return subscripts, given


def _einsum(draw):
    subscripts, given = draw(_subscripts())
    optimize = [False, True, "greedy", "optimal"]
    return given, {"subscripts": subscripts} | some(draw, optimize=optimize)


def contracted(f, *operands, subscripts, **params):
    return f(subscripts, *operands, **params)


row("einsum", products(_einsum), apply=contracted, tolerance=1e-11)


def order(f, *operands, subscripts, **params):
    """The order of the contractions as a number."""
    path, _ = f(subscripts, *operands, **params)
    return int("".join(str(i) for step in path[1:] for i in step))


row("einsum_path", products(_einsum), apply=order, smooth=())
