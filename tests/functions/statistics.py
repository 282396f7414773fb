"""Calls of order statistics, averages, covariances, counts, and what ignores NaN."""

from __future__ import annotations

import functools

import numpy as np
from hypothesis import strategies as st

from functions.reductions import (
    DISTINCT,
    FILLED,
    TYPES,
    along,
    mostly,
    reduced,
    where_last,
)
from functions.table import axes_or_none, of_one, row, some
from samples.table import (
    NONZERO,
    POSITIVE,
    Call,
    Domain,
    Operand,
    dtypes_of,
    shapes,
)

# --------------------------------------------------------------------- order statistics

CONTINUOUS = [
    *("linear", "hazen", "weibull", "median_unbiased", "normal_unbiased"),
    *("interpolated_inverted_cdf", "midpoint", "averaged_inverted_cdf"),
]
DISCRETE = ["lower", "higher", "nearest", "inverted_cdf", "closest_observation"]
SHARE = st.sampled_from([0, 0.15, 0.5, 0.77, 1.0])
SHARES = st.one_of(SHARE, st.lists(SHARE, min_size=1, max_size=3))
# no entry lies on the border between two pieces
BETWEEN = Domain(((0.11, 0.19), (0.41, 0.44), (0.81, 0.89)), (0, 1))


class WithGaps:
    """Distinct numbers, some of them missing, and a few in each slice that are not."""

    def draw(self, rng, shape, dtype):
        values = DISTINCT.draw(rng, shape, dtype)
        if dtype.kind not in "fc":
            return values
        gaps = np.asarray(rng.random(shape) < 0.5) & bool(shape)
        for axis in range(len(shape)):
            gaps[(*(slice(None),) * axis, slice(0, 2))] = False
        return np.where(gaps, np.nan, values).astype(dtype)


GAPS = WithGaps()


def _quantiles(draw):
    shape, params = reduced(FILLED)(draw)
    q = draw(SHARES)
    method = some(draw, method=CONTINUOUS + DISCRETE)
    return shape, {"q": q} | params | method


def as_percent(f, x, q, **params):
    return f(x, [100 * p for p in q] if isinstance(q, list) else 100 * q, **params)


row("median", of_one(reduced(FILLED), "bilefdFD", DISTINCT))
row("median", of_one(reduced(FILLED), "efdFD", GAPS), smooth=())
row("nanmedian", of_one(reduced(FILLED), "bilefd", GAPS))
for _name, _apply in (("quantile", {}), ("percentile", {"apply": as_percent})):
    row(_name, of_one(_quantiles, "bilfd", DISTINCT), **_apply)
    row(f"nan{_name}", of_one(_quantiles, "bilfd", GAPS), **_apply)


@st.composite
def _of_shares(draw, dtypes):
    """Traced shares, which have a derivative too."""
    shape = draw(shapes(min_rank=1, sizes=(4, 7)))
    q = draw(shapes(max_rank=1))
    x = Operand(shape, draw(dtypes_of("fd", dtypes)), DISTINCT)
    params = {"method": draw(st.sampled_from(CONTINUOUS[:6])), "axis": -1}
    return Call((x, Operand(q, draw(dtypes_of("d", dtypes)), BETWEEN)), params)


for _name in ("quantile", "nanquantile"):
    row(_name, _of_shares)


@st.composite
def _weighted(draw, dtypes, of_axis=True):
    shape = draw(shapes(min_rank=1, sizes=FILLED))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    weights = (shape[axis],) if of_axis and draw(st.booleans()) else shape
    x = Operand(shape, draw(dtypes_of("lfd", dtypes)), DISTINCT)
    w = Operand(weights, draw(dtypes_of("ld", dtypes)), POSITIVE)
    q = draw(st.sampled_from([0.0, 0.31, 1.0]))
    return Call((x, w), {"q": q, "axis": axis, "method": "inverted_cdf"})


def weighing(f, x, weights, **params):
    return f(x, weights=weights, **params)


for _name in ("quantile", "percentile"):
    row(_name, _weighted, apply=weighing)
    # NumPy's own function fails with weights of one axis
    _whole = functools.partial(_weighted, of_axis=False)
    row(f"nan{_name}", _whole, apply=weighing)

# ----------------------------------------------------------------- averages, covariance

row("average", of_one(reduced(FILLED, returned=st.booleans())))


@st.composite
def _averages(draw, dtypes):
    shape = draw(shapes(min_rank=1, sizes=FILLED))
    params = some(draw, keepdims=st.booleans(), returned=st.booleans())
    weights = shape
    if draw(st.booleans()):
        axes = draw(axes_or_none(len(shape)).filter(lambda a: a is not None))
        params["axis"] = axes
        if draw(st.booleans()):
            axes = axes if isinstance(axes, tuple) else (axes,)
            weights = tuple(shape[a] for a in axes)
    x = Operand(shape, draw(dtypes_of("?bilfdFD", dtypes)))
    return Call((x, Operand(weights, draw(dtypes_of("lfd", dtypes)), POSITIVE)), params)


row("average", _averages, apply=weighing)


@st.composite
def _samples(draw, dtypes):
    rows, columns = draw(st.integers(1, 3)), draw(st.sampled_from([2, 3, 5]))
    shape = draw(st.sampled_from([(rows, columns), (columns,)]))
    kinds = [draw(dtypes_of("lfdFD", dtypes)) for _ in range(2)]
    params = some(draw, bias=st.booleans(), ddof=[0, 1])
    if len(shape) == 2 and draw(st.booleans()):
        params["rowvar"] = False
        shape = shape[::-1]
    operands = [Operand(shape, kinds[0], DISTINCT)]
    if draw(st.booleans()):
        operands.append(Operand(shape, kinds[1], DISTINCT))
    return Call(tuple(operands), params)


@st.composite
def _weighted_samples(draw, dtypes):
    shape = (draw(st.integers(1, 3)), draw(st.sampled_from([2, 3, 5])))
    x = Operand(shape, draw(dtypes_of("lfdFD", dtypes)), DISTINCT)
    w = Operand(shape[1:], draw(dtypes_of("fd", dtypes)), POSITIVE)
    params = some(draw, ddof=[0, 1], bias=st.booleans())
    if draw(st.booleans()):
        params["fweights"] = [2, 1, 3, 1, 2][: shape[1]]
    return Call((x, w), params)


def of_aweights(f, x, w, **params):
    return f(x, aweights=w, **params)


row("cov", _samples)
row("cov", _weighted_samples, apply=of_aweights)


def without_scale(f, *operands, bias=None, ddof=None, **params):
    return f(*operands, **params)


row("corrcoef", _samples, apply=without_scale)

# ------------------------------------------------------------------------- without NaN

for _name in ("nansum", "nanprod"):
    row(_name, of_one(reduced(dtype=TYPES, initial=[2]), "?bilfd", GAPS))
    row(_name, of_one(reduced(), "dFD", GAPS))
for _name in ("nanmax", "nanmin"):
    row(_name, of_one(reduced(FILLED), "?bilefdFD", GAPS))
row("nanmean", of_one(reduced(FILLED), "?bilfdFD", GAPS))
row("nanmean", mostly(reduced(FILLED, 1), "?bilfd"), apply=where_last)
for _name in ("nanvar", "nanstd"):
    row(
        _name,
        of_one(
            lambda draw: (
                draw(shapes(min_rank=1, sizes=(2, 3))),
                some(draw, axis=[-1, 0], ddof=[0, 1], keepdims=st.booleans()),
            ),
            "?bilfdFD",
            GAPS,
        ),
    )
for _name in ("nanargmax", "nanargmin"):
    row(
        _name,
        of_one(along(FILLED, 0, keepdims=st.booleans()), "?bilfd", GAPS),
        smooth=(),
    )
for _name in ("nancumsum", "nancumprod"):
    row(_name, of_one(along(min_rank=0), "?bilfdFD", GAPS))

# ------------------------------------------------------------------------------ counts

COUNTS = Domain(((0, 5),), (0, 1, 2, 3, 4))


@st.composite
def _counts(draw, dtypes):
    n = draw(st.sampled_from([0, 1, 5]))
    operands = [Operand((n,), np.dtype(np.int64), COUNTS)]
    if draw(st.booleans()):
        operands.append(Operand((n,), draw(dtypes_of("?lfd", dtypes))))
    return Call(tuple(operands), some(draw, minlength=[0, 7]))


row("bincount", _counts, concrete=True)


@st.composite
def _histograms(draw, dtypes):
    shape = draw(shapes(max_rank=2, sizes=(2, 3)))
    operands = [Operand(shape, draw(dtypes_of("ld", dtypes)), DISTINCT)]
    params = some(draw, range=[(-1.3, 1.6)], density=st.booleans())
    if draw(st.booleans()):
        operands.append(Operand(shape, draw(dtypes_of("lfdD", dtypes)), NONZERO))
    bins = draw(st.sampled_from([None, 3, [-2.0, -0.7, 0.55, 3.1]]))
    if bins is not None:
        params["bins"] = bins
    return Call(tuple(operands), params)


def histogram_of(f, x, *weights, **params):
    if weights:
        params["weights"] = weights[0]
    return f(x, **params)


row("histogram", _histograms, apply=histogram_of, smooth=())


@st.composite
def _weighted_histograms(draw, dtypes):
    n = draw(st.sampled_from([2, 5]))
    x = Operand((n,), np.dtype(np.int64), COUNTS)
    w = Operand((n,), draw(dtypes_of("d", dtypes)), POSITIVE)
    return Call(
        (x, w), {"bins": 3, "range": (0, 4)} | some(draw, density=st.booleans())
    )


row("histogram", _weighted_histograms, apply=histogram_of)


@st.composite
def _planes(draw, dtypes):
    n = draw(st.sampled_from([2, 5]))
    x = Operand((n,), np.dtype(np.float64), DISTINCT)
    w = Operand((n,), draw(dtypes_of("d", dtypes)), POSITIVE)
    bins = draw(st.sampled_from([3, [2, 3], [[-2.0, -0.7, 0.55, 3.1], 2]]))
    density = {"range": [(-9, 9), (-9, 9)]} | some(draw, density=st.booleans())
    return Call((x, x, w), {"bins": bins} | draw(st.sampled_from([{}, density])))


def histogram2d_of(f, x, y, w, **params):
    return f(x, y, weights=w, **params)


def histogramdd_of(f, x, y, w, **params):
    return f(np.stack([x, y], -1), weights=w, **params)


row("histogram2d", _planes, apply=histogram2d_of, smooth=(2,))
row("histogramdd", _planes, apply=histogramdd_of, smooth=(2,))


def _edges(draw):
    return draw(shapes()), some(draw, bins=[1, 4], range=[(-1, 2)])


row("histogram_bin_edges", of_one(_edges, "ld", DISTINCT))
