"""What errors say of the user's functions and of what they return."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from funcad.core import tree
from funcad.core.tracing import aval_of
from funcad.transforms.arguments import is_array
from funcad.transforms.stage import ShapeDtypeStruct


def name_of(f: Callable[..., Any]) -> str:
    """What errors call a function."""
    f = _innermost(f)
    return getattr(f, "__name__", type(f).__name__)


def line_of(f: Callable[..., Any]) -> tuple[str, int] | None:
    """File and line where a function is defined, if it is defined in Python."""
    f = _innermost(f)
    code = getattr(f, "__code__", None)
    code = code or getattr(type(f).__call__, "__code__", None)
    return None if code is None else (code.co_filename, code.co_firstlineno)


def located(f: Callable[..., Any]) -> str:
    """Name of a function and where it is defined."""
    line = line_of(f)
    return name_of(f) + (f" ({line[0]}:{line[1]})" if line else "")


def _innermost(f: Callable[..., Any]) -> Callable[..., Any]:
    while True:
        if isinstance(f, functools.partial):
            f = f.func
        elif hasattr(f, "__wrapped__"):
            f = f.__wrapped__
        else:
            return f


class _Shown:
    """A leaf as its shape and dtype."""

    def __init__(self, x: Any) -> None:
        known = is_array(x) or (hasattr(x, "shape") and hasattr(x, "dtype"))
        self.text = str(aval_of(x)) if known else f"<{type(x).__name__}>"

    def __repr__(self) -> str:
        return self.text


def shown(x: Any) -> str:
    """A pytree with the shape and dtype of each leaf in its place."""
    return repr(tree.map(_Shown, x))


def shown_avals(treedef: Any, avals: Sequence[Any]) -> str:
    """The same, from the structure and the avals of the leaves."""
    return shown(tree.unflatten(treedef, [ShapeDtypeStruct(*a) for a in avals]))
