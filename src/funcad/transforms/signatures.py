"""Signatures: what a compiled function depends on besides the values of arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from funcad.core import tree
from funcad.core.tracing import (
    PYTHON_SCALARS,
    ShapedArray,
    array_type_of,
    dtype_of,
    shape_of,
)
from funcad.transforms.arguments import argument_name, check_leaves, is_array
from funcad.transforms.static import Static


class Signature(NamedTuple):
    """Structure, shapes, dtypes and static values of a call; hashable if those are."""

    treedef: Any
    avals: tuple[Any, ...]
    """Shape and dtype in turns for each leaf; ``None`` and the type for a number."""
    static: tuple[tuple[int | str, type, Any], ...]
    array_type: type


def signature_of(static: Static, leaves: Sequence[Any], treedef: Any) -> Signature:
    """The signature of a call with these static arguments and leaves."""
    avals: list[Any] = []
    array_type: type = np.ndarray
    for x in leaves:
        kind = type(x)
        if kind is np.ndarray:
            avals += (x.shape, x.dtype)
        elif kind in PYTHON_SCALARS:
            avals += (None, kind)
        else:
            if not is_array(x):
                check_leaves(leaves, treedef, "jit", name=argument_name)
            weak = getattr(x, "weak", None)
            avals += (None, weak) if weak else (shape_of(x), dtype_of(x))
            if array_type is np.ndarray:
                array_type = array_type_of((x,))
    # 1, 1.0 and True are equal, and mean different things
    values = tuple([(place, type(value), value) for place, value in static])
    return Signature(treedef, tuple(avals), values, array_type)


def differences(one: Signature, two: Signature) -> list[str]:
    """What changed from one signature to the other, a sentence an argument."""
    found = []
    before = {place: (kind, value) for place, kind, value in one.static}
    for place, kind, value in two.static:
        if place in before and before[place] != (kind, value):
            found.append(
                f"the static argument {place!r} was {before[place][1]!r} and is "
                f"{value!r}"
            )
    if one.treedef != two.treedef:
        found.append(
            f"the structure of the arguments was {one.treedef} and is {two.treedef}"
        )
    else:
        for path, a, b in zip(_names(two.treedef), _avals(one), _avals(two)):
            if a != b:
                found.append(f"{path} was {a} and is {b}")
    if one.array_type is not two.array_type:
        found.append(
            f"arrays were {one.array_type.__module__}.{one.array_type.__name__} and "
            f"are {two.array_type.__module__}.{two.array_type.__name__}"
        )
    return found


def _names(treedef: Any) -> Iterator[str]:
    paths, _ = tree.flatten_with_path(treedef.unflatten([0] * treedef.num_leaves))
    return (argument_name(path) for path, _ in paths)


def _avals(signature: Signature) -> Iterator[str]:
    pairs = iter(signature.avals)
    for shape, dtype in zip(pairs, pairs, strict=True):
        if shape is None:
            yield f"a Python {dtype.__name__}"
        else:
            yield str(ShapedArray(shape, dtype))
