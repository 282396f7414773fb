"""Samples of windows that slide over arrays, pooling and convolutions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st

from samples.table import (
    LINEAR,
    SAMPLES,
    Call,
    Distinct,
    Domain,
    Operand,
    Samples,
    dtypes_of,
    every,
    first,
    shapes,
    unary,
)

_NUMBERS = "ilefdFD"


def _geometry(draw: Any, rank: int, padded: bool = True) -> dict[str, Any]:
    """Parameters of windows over ``rank`` axes, among them ``n``, the axes' sizes."""
    axes: dict[str, list[Any]] = {
        name: [] for name in ("n", "window", "stride", "dilation", "padding", "size")
    }
    for _ in range(rank):
        window = draw(st.sampled_from((2, 1, 3)))
        dilation = draw(st.sampled_from((1, 2)))
        stride = draw(st.sampled_from((1, 2, 3)))
        reach = dilation * (window - 1)
        pad = st.integers(0, min(reach, 2)) if padded else st.just(0)
        padding = draw(pad), draw(pad)
        n = max(reach + 1 - sum(padding), 1) + draw(st.integers(0, 3))
        size = (n + sum(padding) - reach - 1) // stride + 1
        values = (n, window, stride, dilation, padding, size)
        for name, value in zip(axes, values, strict=True):
            axes[name].append(value)
    return {name: tuple(values) for name, values in axes.items()}


def _places(
    window: Any, stride: Any, dilation: Any, size: Any
) -> Iterator[tuple[tuple[int, ...], Any, tuple[int, ...]]]:
    """Every window, every place in it, and the entry there of the padded array."""
    for at in np.ndindex(*size):
        for place in np.ndindex(*window):
            parts = zip(at, stride, place, dilation, strict=True)
            yield at, place, tuple(i * s + p * d for i, s, p, d in parts)


# -------------------------------------------------------------------- views and back


def _windows_call(draw: Any) -> Any:
    geometry = _geometry(draw, draw(st.integers(1, 2)), padded=False)
    shape = (*draw(shapes(max_rank=2)), *geometry["n"])
    return shape, {name: geometry[name] for name in ("window", "stride", "dilation")}


def _windows(x: Any, window: Any, stride: Any, dilation: Any) -> Any:
    n = x.shape[x.ndim - len(window) :]
    size = [
        len(range(0, n_ - d * (w - 1), s))
        for n_, w, s, d in zip(n, window, stride, dilation, strict=True)
    ]
    out = np.zeros((*x.shape[: x.ndim - len(window)], *size, *window), x.dtype)
    for at, place, entry in _places(window, stride, dilation, size):
        out[(..., *at, *place)] = x[(..., *entry)]
    return out


def _fold_call(draw: Any) -> Any:
    geometry = _geometry(draw, draw(st.integers(1, 2)), padded=False)
    shape = (*draw(shapes(max_rank=1)), *geometry["size"], *geometry["window"])
    params = {name: geometry[name] for name in ("stride", "dilation")}
    return shape, {"size": geometry["n"], **params}


def _fold(y: Any, size: Any, stride: Any, dilation: Any) -> Any:
    rank = len(size)
    out = np.zeros((*y.shape[: -2 * rank], *size), y.dtype)
    count, window = y.shape[-2 * rank : -rank], y.shape[-rank:]
    for at, place, entry in _places(window, stride, dilation, count):
        out[(..., *entry)] += y[(..., *at, *place)]
    return out


unary("windows", _windows_call, _windows, **LINEAR)
unary("fold", _fold_call, _fold, _NUMBERS, **LINEAR)

# -------------------------------------------------------------------------- reductions

_POOLING = ("window", "stride", "dilation", "padding")


def _pooling_call(draw: Any) -> Any:
    geometry = _geometry(draw, draw(st.integers(1, 2)))
    shape = (*draw(shapes(max_rank=2)), *geometry["n"])
    return shape, {name: geometry[name] for name in _POOLING}


def _max_call(draw: Any) -> Any:
    """Every window has an entry: no two places have the whole array between them."""
    shape, params = _pooling_call(draw)
    dilation = params["dilation"]
    lead = len(shape) - len(dilation)
    n = [max(n, d) for n, d in zip(shape[lead:], dilation, strict=True)]
    return (*shape[:lead], *n), params


def _outer(x: Any, rank: int, padding: Any, value: Any) -> Any:
    widths = [(0, 0)] * (x.ndim - rank) + list(padding)
    return np.pad(x, widths, constant_values=value)


def _entries(x: Any, window: Any, padding: Any, value: Any, **steps: Any) -> Any:
    """The windows of the padded array, each as a row."""
    rank = len(window)
    padded = _windows(_outer(x, rank, padding, value), window, **steps)
    return padded.reshape((*padded.shape[:-rank], math.prod(window)))


def _window_sum(x: Any, **params: Any) -> Any:
    return _entries(x, value=0, **params).sum(axis=-1)


def _window_max(x: Any, **params: Any) -> Any:
    least = -np.inf if x.dtype.kind == "f" else False
    least = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else least
    return _entries(x, value=least, **params).max(axis=-1)


unary("window_sum", _pooling_call, _window_sum, **LINEAR)
unary("window_max", _max_call, _window_max, "?bilefd", Distinct(), smooth=(0,))


# few values, so that several entries attain the maximum, and none where it is too large
_FEW = Domain(((1, 1), (2, 2)), (1, 2))


@st.composite
def _pick_calls(draw: Any, dtypes: str) -> Call:
    geometry = _geometry(draw, draw(st.integers(1, 2)))
    lead = draw(shapes(max_rank=1))
    dtype, kind = (draw(dtypes_of(c, dtypes)) for c in (_NUMBERS, _NUMBERS))
    outer = (*lead, *geometry["size"])
    inner = (*lead, *geometry["n"])
    operands = (
        Operand(inner, dtype),
        Operand(inner, kind, _FEW),
        Operand(outer, kind, _FEW),
    )
    return Call(operands, {name: geometry[name] for name in _POOLING})


@st.composite
def _place_calls(draw: Any, dtypes: str) -> Call:
    (t, x, best), params = draw(_pick_calls(dtypes))
    return Call((Operand(best.shape, t.dtype), x, best), params)


def _window_pick(t: Any, x: Any, best: Any, **params: Any) -> Any:
    equal = _entries(x, value=0, **params) == best[..., None]
    return (_entries(t, value=0, **params) * equal).sum(axis=-1).astype(t.dtype)


def _window_place(ct: Any, x: Any, best: Any, **params: Any) -> Any:
    window, padding = params["window"], params.pop("padding")
    rank = len(window)
    padded = _outer(x, rank, padding, 0)
    equal = _windows(padded, **params) == best[(..., *(None,) * rank)]
    n = x.shape[x.ndim - rank :]
    steps = {name: params[name] for name in ("stride", "dilation")}
    spread = ct[(..., *(None,) * rank)] * equal
    out = _fold(spread, padded.shape[x.ndim - rank :], **steps)
    inside = [slice(b, b + n_) for n_, (b, _) in zip(n, padding, strict=True)]
    return out[(..., *inside)]


SAMPLES["window_pick"] = Samples(_pick_calls, _window_pick, smooth=(0,), linear=first)
SAMPLES["window_place"] = Samples(
    _place_calls, _window_place, smooth=(0,), linear=first
)

# ------------------------------------------------------------------------ convolutions


def _convolution_calls(operands: str, result: str) -> Any:
    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        geometry = _geometry(draw, draw(st.sampled_from((1, 1, 2))))
        size = st.sampled_from((2, 1, 3, 0))
        samples, groups, outputs, channels = (draw(size) for _ in range(4))
        shape = {
            "x": (samples, groups, channels, *geometry["n"]),
            "k": (groups, outputs, channels, *geometry["window"]),
            "y": (samples, groups, outputs, *geometry["size"]),
        }
        kinds = [draw(dtypes_of(_NUMBERS, dtypes)) for _ in operands]
        pairs = zip(operands, kinds, strict=True)
        params = {name: geometry[name] for name in ("stride", "padding", "dilation")}
        return Call(
            tuple(Operand(shape[letter], kind) for letter, kind in pairs),
            {"size": shape[result][3:], **params},
        )

    return calls


def _terms(size: Any, window: Any, stride: Any, dilation: Any, padding: Any, n: Any):
    """Which entries of x, k and y meet in the sum."""
    for at, place, entry in _places(window, stride, dilation, size):
        parts = zip(entry, padding, strict=True)
        inner = tuple(i - before for i, (before, _) in parts)
        if all(0 <= i < n_ for i, n_ in zip(inner, n, strict=True)):
            yield (..., *inner), (..., *place), (..., *at)


def _conv(x: Any, k: Any, size: Any, **steps: Any) -> Any:
    out = np.zeros((len(x), *k.shape[:2], *size), np.result_type(x, k))
    for i, p, o in _terms(size, k.shape[3:], n=x.shape[3:], **steps):
        out[o] += np.einsum("ngc,goc->ngo", x[i], k[p])
    return out


def _conv_back(y: Any, k: Any, size: Any, **steps: Any) -> Any:
    shape = (len(y), k.shape[0], k.shape[2], *size)
    out = np.zeros(shape, np.result_type(y, k))
    for i, p, o in _terms(y.shape[3:], k.shape[3:], n=size, **steps):
        out[i] += np.einsum("ngo,goc->ngc", y[o], k[p])
    return out


def _conv_kernel(x: Any, y: Any, size: Any, **steps: Any) -> Any:
    shape = (*y.shape[1:3], x.shape[2], *size)
    out = np.zeros(shape, np.result_type(x, y))
    for i, p, o in _terms(y.shape[3:], size, n=x.shape[3:], **steps):
        out[p] += np.einsum("ngc,ngo->goc", x[i], y[o])
    return out


for _name, _reference, _operands, _result in [
    ("conv", _conv, "xk", "y"),
    ("conv_back", _conv_back, "yk", "x"),
    ("conv_kernel", _conv_kernel, "xy", "k"),
]:
    SAMPLES[_name] = Samples(
        _convolution_calls(_operands, _result),
        _reference,
        smooth=(0, 1),
        linear=every,
        analytic=True,
    )
