"""Samples of products that are normalised where they are computed."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from funcad.core.tracing import registry
from samples.table import (
    SAMPLES,
    Call,
    Operand,
    Samples,
    Shape,
    broadcasting,
    dtypes_of,
    jointly,
    shapes,
)

_KINDS = "efd"


def _operands(draw: Any, dtypes: str) -> tuple[list[Operand], Any, Shape]:
    """Two factors, the shape of their product, and axes of it that are not empty."""
    lead = draw(shapes(max_rank=2, sizes=(2, 1, 0)))
    left, right = draw(broadcasting(2, lead))
    rows, inner, columns = (
        draw(st.sampled_from(s)) for s in ((2, 3, 1, 0), (2, 1), (3, 1, 2, 0))
    )
    shape = (*np.broadcast_shapes(left, right), rows, columns)
    axes = [k for k, n in enumerate(shape) if n]
    if not axes:
        columns, shape = 2, (*shape[:-1], 2)
        axes = [len(shape) - 1]
    axis = tuple(sorted(draw(st.sets(st.sampled_from(axes), min_size=1))))
    dtype = draw(dtypes_of(_KINDS, dtypes))
    factors = [
        Operand((*left, rows, inner), dtype),
        Operand((*right, inner, columns), dtype),
    ]
    return factors, shape, axis


def _params(name: str, axis: Shape) -> dict[str, Any]:
    return {"axis": axis} | ({"eps": 0.1} if name == "standardize" else {})


def _value_calls(name: str) -> Any:
    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        factors, _, axis = _operands(draw, dtypes)
        return Call(tuple(factors), _params(name, axis))

    return calls


def _linear_calls(draw: Any, dtypes: str) -> Any:
    factors, shape, axis = _operands(draw, dtypes)
    wrt = draw(st.sampled_from([(0,), (1,), (0, 1)]))
    return factors, shape, {"axis": axis, "wrt": wrt}


@st.composite
def _tangent_calls(draw: Any, dtypes: str) -> Call:
    factors, _, params = _linear_calls(draw, dtypes)
    return Call((*(factors[i] for i in params["wrt"]), *factors), params)


def _cotangent_calls(name: str) -> Any:
    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        factors, shape, params = _linear_calls(draw, dtypes)
        kept = tuple(1 if k in params["axis"] else n for k, n in enumerate(shape))
        cts = [Operand(s, factors[0].dtype) for s in (shape, kept)[: _COUNTS[name]]]
        return Call((*cts, *factors), params)

    return calls


_COUNTS = {"softmax": 1, "standardize": 2}


def _softmax(a: Any, b: Any, axis: Shape) -> tuple[Any, ...]:
    e = np.exp(a @ b)
    return (e / np.sum(e, axis=axis, keepdims=True),)


def _standardize(a: Any, b: Any, axis: Shape, eps: float = 0.1) -> tuple[Any, ...]:
    x = a @ b
    x = x - np.mean(x, axis=axis, keepdims=True)
    r = 1 / np.sqrt(np.mean(x * x, axis=axis, keepdims=True) + eps)
    return x * r, r


def _softmax_map(t: Any, results: Any, axis: Shape) -> tuple[Any, ...]:
    (s,) = results
    return (s * (t - np.sum(s * t, axis=axis, keepdims=True)),)


def _standardize_map(t: Any, results: Any, axis: Shape) -> tuple[Any, ...]:
    y, r = results
    along = np.mean(y * t, axis=axis, keepdims=True)
    return r * (t - np.mean(t, axis=axis, keepdims=True) - y * along), -r * r * along


def _summed(x: Any, shape: Shape) -> Any:
    x = np.sum(x, axis=tuple(range(x.ndim - len(shape))))
    ones = tuple(k for k, n in enumerate(shape[:-2]) if n == 1)
    return np.sum(x, axis=ones, keepdims=True)


def _each(formula: Any) -> Any:
    """A formula of several results in double precision, as `exact` is of one."""

    def rounded(*operands: Any, **params: Any) -> tuple[Any, ...]:
        wide = formula(*[np.asarray(x, np.float64) for x in operands], **params)
        return tuple(np.asarray(x).astype(operands[0].dtype) for x in wide)

    return rounded


def _tangent(value: Any, rows: Any) -> Any:
    def formula(*args: Any, axis: Shape, wrt: Shape) -> Any:
        *ts, a, b = args
        t = sum(x @ b if i == 0 else a @ x for i, x in zip(wrt, ts, strict=True))
        return rows(t, value(a, b, axis), axis)

    return _each(formula)


def _cotangent(value: Any, rows: Any) -> Any:
    def formula(*args: Any, axis: Shape, wrt: Shape) -> Any:
        *cts, a, b = args
        results = value(a, b, axis)
        c = rows(cts[0], results, axis)[0]
        if len(cts) > 1:
            y, r = results
            c = c - y * (r * r * cts[1] * (r.size / max(y.size, 1)))
        both = c @ np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2) @ c
        return [_summed(both[i], (a, b)[i].shape) for i in wrt]

    return _each(formula)


def _with_results(name: str) -> Any:
    """Call a relative with the results at its last two operands, the factors."""

    def through(primitive: Any, *operands: Any, **params: Any) -> Any:
        a, b = operands[-2:]
        value = registry[f"matmul_{name}"]
        results = value(a, b, **_params(name, params["axis"]))
        return primitive(*operands, *results, **params)

    return through


for _name, _value, _rows in (
    ("softmax", _softmax, _softmax_map),
    ("standardize", _standardize, _standardize_map),
):
    SAMPLES[f"matmul_{_name}"] = Samples(
        _value_calls(_name), _each(_value), smooth=(0, 1)
    )
    SAMPLES[f"matmul_{_name}_tangent"] = Samples(
        _tangent_calls,
        _tangent(_value, _rows),
        smooth=(0, 1, 2, 3),
        linear=lambda n: jointly(n - 2),
        through=_with_results(_name),
    )
    SAMPLES[f"matmul_{_name}_cotangent"] = Samples(
        _cotangent_calls(_name),
        _cotangent(_value, _rows),
        smooth=(0, 1, 2, 3),
        linear=lambda n: jointly(n - 2),
        through=_with_results(_name),
    )
