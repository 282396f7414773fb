"""Samples of the fused functions of neural networks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy.special import erf

from funcad.core.tracing import registry
from funcad.primitives.elementwise import stop_gradient
from samples.table import (
    NONZERO,
    POSITIVE,
    REAL,
    SAMPLES,
    Call,
    Calls,
    Domain,
    Operand,
    Samples,
    Shape,
    dtypes_of,
    entrywise,
    exact,
    extremum_call,
    first,
    shapes,
    unary,
)

_REAL_NUMBERS = "?bilefd"
_FLOATS = "efd"


def _logistic(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _silu_slope(x: Any) -> Any:
    return _logistic(x) + x * _logistic(x) * _logistic(-x)


def _gelu_gate(x: Any) -> Any:
    return _logistic(math.sqrt(8 / math.pi) * (x + 0.044715 * x**3))


def _gelu_slope(x: Any) -> Any:
    inner = math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * x**2)
    return _gelu_gate(x) + x * _gelu_gate(x) * _gelu_gate(-x) * inner


def _gelu_exact_gate(x: Any) -> Any:
    return 0.5 * (1 + erf(x / math.sqrt(2)))


def _gelu_exact_slope(x: Any) -> Any:
    density = np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + erf(x / math.sqrt(2))) + x * density


def _entries_call(draw: Any) -> Any:
    return draw(shapes()), {}


unary(
    "relu",
    _entries_call,
    lambda x: np.maximum(x, 0),
    kinds=_REAL_NUMBERS,
    domain=NONZERO,
    smooth=(0,),
)
unary("logistic", _entries_call, exact(_logistic), kinds=_REAL_NUMBERS, smooth=(0,))


def _gated(gate: str) -> Any:
    """Call a primitive with the gate of its last operand behind."""

    def through(primitive: Any, *operands: Any, **params: Any) -> Any:
        x = operands[-1]
        return primitive(*operands, registry[gate](stop_gradient(x)), **params)

    return through


for _name, _gate, _gate_name, _slope in (
    ("silu", _logistic, "logistic", _silu_slope),
    ("gelu", _gelu_gate, "gelu_gate", _gelu_slope),
    ("gelu_exact", _gelu_exact_gate, "gelu_exact_gate", _gelu_exact_slope),
):
    if _gate_name not in SAMPLES:
        unary(_gate_name, _entries_call, exact(_gate), kinds=_REAL_NUMBERS, smooth=(0,))
    unary(
        _name,
        _entries_call,
        exact(lambda x, gate=_gate: x * gate(x)),
        kinds=_REAL_NUMBERS,
        smooth=(0,),
        through=_gated(_gate_name),
    )
    unary(
        f"{_name}_slope",
        _entries_call,
        exact(_slope),
        kinds=_REAL_NUMBERS,
        smooth=(0,),
        through=_gated(_gate_name),
    )

entrywise(
    "multiply_add",
    REAL,
    REAL,
    REAL,
    reference=lambda x, y, z: x * y + z,
    smooth=(0, 1, 2),
    analytic=True,
)


def _over_axes_call(draw: Any) -> Any:
    shape, params = extremum_call(draw)
    return shape, {"axis": params["axis"]}


def _along_calls(*domains: tuple[Domain, bool], **params: Any) -> Calls:
    """Calls with operands of one shape, but for those that keep no more than axes."""

    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        shape, axes = _over_axes_call(draw)
        kept = tuple(1 if i in axes["axis"] else n for i, n in enumerate(shape))
        dtype = draw(dtypes_of(_FLOATS, dtypes))
        operands = [
            Operand(kept if reduced else shape, dtype, domain)
            for domain, reduced in domains
        ]
        return Call(tuple(operands), axes | params)

    return calls


def _softmax(x: Any, axis: Shape) -> Any:
    return np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True)


def _mean(x: Any, axis: Shape) -> Any:
    return np.mean(x, axis=axis, keepdims=True)


SAMPLES["softmax"] = Samples(_along_calls((REAL, False)), exact(_softmax), smooth=(0,))
SAMPLES["softmax_tangent"] = Samples(
    _along_calls((REAL, False), (REAL, False)),
    exact(lambda t, s, axis: s * (t - np.sum(s * t, axis=axis, keepdims=True))),
    smooth=(0, 1),
    linear=first,
)
unary(
    "logsumexp",
    extremum_call,
    exact(lambda x, **params: np.log(np.sum(np.exp(x), **params))),
    kinds=_FLOATS,
    smooth=(0,),
)
for _name, _centred in (
    ("standardize", lambda x, axis: x - _mean(x, axis)),
    ("rms_scale", lambda x, axis: x),
):

    def _scaled(x: Any, axis: Shape, eps: float, centred: Any = _centred) -> Any:
        c = np.asarray(centred(x.astype(np.float64), axis))
        r = 1 / np.sqrt(_mean(c**2, axis) + eps)
        return np.asarray(c * r).astype(x.dtype), np.asarray(r).astype(x.dtype)

    def _scaled_tangent(
        t: Any, y: Any, r: Any, axis: Shape, centred: Any = _centred
    ) -> Any:
        return r * (centred(t, axis) - y * _mean(y * t, axis))

    SAMPLES[_name] = Samples(_along_calls((REAL, False), eps=0.1), _scaled, smooth=(0,))
    SAMPLES[f"{_name}_tangent"] = Samples(
        _along_calls((REAL, False), (REAL, False), (POSITIVE, True)),
        exact(_scaled_tangent),
        smooth=(0, 1, 2),
        linear=first,
    )
