"""``np.pad`` in each of its modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from funcad.backends import backend_of, namespace
from funcad.core.errors import UnsupportedArgumentError
from funcad.core.tracing import Array
from funcad.numpy.creation import full_like, linspace
from funcad.numpy.dispatch import as_operand, implements
from funcad.numpy.indexing import take
from funcad.numpy.reductions import axis_of
from funcad.primitives import shape as p
from funcad.primitives.elementwise import select
from funcad.primitives.indexing import index
from funcad.primitives.shape import convert

Widths = list[tuple[int, int]]
_NO = np._NoValue  # type: ignore[attr-defined]

_ARGUMENTS = {
    "constant": "constant_values",
    "linear_ramp": "end_values",
    "maximum": "stat_length",
    "mean": "stat_length",
    "median": "stat_length",
    "minimum": "stat_length",
    "reflect": "reflect_type",
    "symmetric": "reflect_type",
    "edge": "",
    "empty": "",
    "wrap": "",
}
"""The one keyword argument that each mode takes."""


@implements(np.pad)
def pad(
    array: Array,
    pad_width: Any,
    mode: Any = "constant",
    constant_values: Any = _NO,
    end_values: Any = _NO,
    stat_length: Any = _NO,
    reflect_type: Any = _NO,
) -> Array:
    given = {
        "constant_values": constant_values,
        "end_values": end_values,
        "stat_length": stat_length,
        "reflect_type": reflect_type,
    }
    array = as_operand(array, constant_values, end_values)
    widths = _widths(pad_width, len(array.shape))
    if callable(mode):
        raise UnsupportedArgumentError(
            "np.pad of a traced array does not take mode= as a function, which would "
            "write into the array. Name a mode, or use np.concatenate."
        )
    if mode not in _ARGUMENTS:
        raise ValueError(f"mode {mode!r} is not supported")
    for name, value in given.items():
        if value is not _NO and name != _ARGUMENTS[mode]:
            raise ValueError(f"unsupported keyword arguments for mode {mode!r}: {name}")
    if 0 in array.shape and mode not in ("constant", "empty"):
        for axis, (n, width) in enumerate(zip(array.shape, widths, strict=True)):
            if n == 0 and any(width):
                raise ValueError(
                    f"can't extend empty axis {axis} using modes other than 'constant' "
                    "or 'empty'"
                )
        return p.pad(array, widths=tuple(widths))
    return _MODES[mode](array, widths, given.get(_ARGUMENTS[mode], _NO))


def _widths(pad_width: Any, rank: int) -> Widths:
    if isinstance(pad_width, dict):
        widths = [(0, 0)] * rank
        for axis, width in pad_width.items():
            if isinstance(width, (int, np.integer)):
                width = (width, width)
            if not isinstance(width, tuple) or len(width) != 2:
                raise TypeError(
                    "the values of pad_width are integers or pairs of integers, not "
                    f"{width!r}"
                )
            widths[axis_of(axis, rank)] = width
        pad_width = widths
    given = np.asarray(pad_width)
    if given.dtype.kind != "i":
        raise TypeError("`pad_width` must be of integral type.")
    pairs = np.broadcast_to(given, (rank, 2)).tolist()
    if min([w for pair in pairs for w in pair], default=0) < 0:
        raise ValueError("index can't contain negative values")
    return [(before, after) for before, after in pairs]


def _pairs(values: Any, array: Array) -> list[tuple[Array, Array]]:
    """What is given for each side of each axis."""
    rank = len(array.shape)
    if isinstance(values, (int, float, complex)):
        return [(values, values)] * rank
    values = np.broadcast_to(as_operand(values, array), (rank, 2))
    return [(values[i, 0], values[i, 1]) for i in range(rank)]


def _constant(array: Array, widths: Widths, values: Any) -> Array:
    if values is _NO or isinstance(values, (int, float, complex)) and values == 0:
        return p.pad(array, widths=tuple(widths))

    def block(x: Array, axis: int, width: int, value: Array) -> Array:
        shape = (*x.shape[:axis], width, *x.shape[axis + 1 :])
        return full_like(x, value, shape=shape)

    return _by_blocks(array, widths, block, _pairs(values, array))


def _linear_ramp(array: Array, widths: Widths, values: Any) -> Array:
    def block(x: Array, axis: int, width: int, value: Array, edge: int) -> Array:
        place = (slice(None),) * axis
        ramp = linspace(
            value,
            index(x, template=(*place, edge)),
            width,
            endpoint=False,
            dtype=x.dtype,
            axis=axis,
        )
        return ramp if edge == 0 else np.flip(ramp, axis)

    pairs = _pairs(0 if values is _NO else values, array)
    ends = [((before, 0), (after, -1)) for before, after in pairs]
    return _by_blocks(array, widths, lambda x, i, w, end: block(x, i, w, *end), ends)


def _statistic(function: Callable[..., Any]) -> Callable[..., Array]:
    def statistic(array: Array, widths: Widths, lengths: Any) -> Array:
        rank = len(array.shape)
        if lengths is _NO or lengths is None:
            pairs: list[Any] = [(None, None)] * rank
        else:
            known = np.asarray(lengths)
            if known.size and known.min() < 0:
                raise ValueError("index can't contain negative values")
            pairs = np.broadcast_to(known, (rank, 2)).astype(np.intp).tolist()
        chosen = [
            tuple([n if m is None else min(m, n) for m in pair])
            for pair, n in zip(pairs, array.shape, strict=True)
        ]
        if function in (np.max, np.min) and any(0 in pair for pair in chosen):
            raise ValueError("stat_length of 0 yields no value for padding")
        ends = [((a, slice(0, a)), (b, slice(-b, None))) for a, b in chosen]
        return _by_blocks(array, widths, block, ends)

    def block(x: Array, axis: int, width: int, end: tuple[int, slice]) -> Array:
        length, entries = end
        part = x
        if length < x.shape[axis]:
            part = index(x, template=(*(slice(None),) * axis, entries))
        value = function(part, axis=axis, keepdims=True)
        if x.dtype.kind in "iu" and value.dtype.kind == "f":
            value = np.round(value)
        shape = (*x.shape[:axis], width, *x.shape[axis + 1 :])
        return np.broadcast_to(convert(value, dtype=x.dtype), shape)

    return statistic


def _by_blocks(
    array: Array,
    widths: Widths,
    block: Callable[[Array, int, int, Any], Array],
    ends: list[Any],
) -> Array:
    """Pad an axis after the other, ``block`` giving what comes before and after."""
    for axis, (width, pair) in enumerate(zip(widths, ends, strict=True)):
        parts = [
            block(array, axis, w, end) if w else None
            for w, end in zip(width, pair, strict=True)
        ]
        joined = [x for x in (parts[0], array, parts[1]) if x is not None]
        array = p.concatenate(*joined, axis=axis) if len(joined) > 1 else array
    return array


def _by_positions(mode: str) -> Callable[..., Array]:
    """A mode that copies entries: pad the positions, then take them."""

    def copied(array: Array, widths: Widths, reflect_type: Any) -> Array:
        if reflect_type not in (_NO, "even", "odd"):
            raise ValueError(f"reflect_type is 'even' or 'odd', not {reflect_type!r}")
        if reflect_type == "odd":
            return _reflected_odd(array, widths, mode)
        for axis, (before, after) in enumerate(widths):
            n = array.shape[axis]
            if before or after:
                positions = np.pad(np.arange(n), (before, after), mode=mode)  # type: ignore[call-overload]
                array = take(array, namespace(array).asarray(positions), axis)
        return array

    return copied


def _reflected_odd(array: Array, widths: Widths, mode: str) -> Array:
    """Reflections through the points at the edges, ``2 * edge - reflected``.

    Again and again reflected, block ``m`` of the line is the array itself for even
    ``m`` and the negative of its mirror image for odd ``m``, shifted by multiples of
    the entries at the two edges.
    """
    dtype = array.dtype
    if dtype.kind == "b":
        array = convert(array, dtype=np.dtype(np.intp))
    for axis, (before, after) in enumerate(widths):
        n = array.shape[axis]
        if not before and not after:
            continue
        if n == 1 and mode == "reflect":
            array = take(array, np.zeros(before + 1 + after, np.intp), axis)
            continue
        block, place = np.divmod(np.arange(-before, n + after), n - (mode == "reflect"))
        odd = block % 2
        out = take(array, np.where(odd, n - 1 - place, place), axis)
        out = out * _along(1 - 2 * odd, array, axis)
        for edge, count in ((-1, block + odd), (0, odd - block)):
            entry = index(array, template=(*(slice(None),) * axis, edge, ..., None))
            entry = p.move_axis(entry, len(entry.shape) - 1, axis)
            count = _along(count, array, axis)
            # an infinite edge is nowhere but where it is counted
            out = select(count != 0, out + count * entry, out)
        array = out
    return array if array.dtype == dtype else convert(array, dtype=dtype)


def _along(weights: Any, array: Array, axis: int) -> Array:
    shape = [1] * len(array.shape)
    shape[axis] = weights.size
    weights = weights.reshape(shape)
    if array.dtype.kind in "iufc":
        weights = weights.astype(array.dtype)
    return backend_of(array).from_host(weights)


_MODES: dict[str, Callable[..., Array]] = {
    "constant": _constant,
    "empty": lambda array, widths, _: p.pad(array, widths=tuple(widths)),
    "edge": _by_positions("edge"),
    "wrap": _by_positions("wrap"),
    "reflect": _by_positions("reflect"),
    "symmetric": _by_positions("symmetric"),
    "linear_ramp": _linear_ramp,
    "maximum": _statistic(np.max),
    "minimum": _statistic(np.min),
    "mean": _statistic(np.mean),
    "median": _statistic(np.median),
}
