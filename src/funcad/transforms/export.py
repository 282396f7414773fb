"""``export``: a function as a Python module that needs NumPy alone."""

from __future__ import annotations

import inspect
import keyword
import os
import pathlib
from collections.abc import Callable
from typing import Any

from funcad.compile.module import Parameter, module
from funcad.compile.naming import identifier, unique
from funcad.core.errors import ArgumentError, ExportError, user_line
from funcad.transforms.arguments import wraps
from funcad.transforms.jit import Jitted, jit

__all__ = ["export"]


def export(
    f: Callable[..., Any],
    *args: Any,
    path: str | os.PathLike[str] | None = None,
    name: str | None = None,
    **kwargs: Any,
) -> str:
    """Write a function down as a Python module that needs NumPy alone.

    The module holds one function, straight-line code for arguments of the structure,
    shapes and dtypes given here: the optimized program, with the names of the user's
    own variables where the lines that it comes from assign them.

    Parameters
    ----------
    f : callable
        Function of pytrees of arrays, such as ``funcad.grad(loss)``; a jitted function
        too.
    *args : pytree
        Arguments, arrays or ``ShapeDtypeStruct``.
    path : path, optional
        File to write.
    name : str, optional
        Name of the function in the module; by default, made from that of ``f``.
    **kwargs : pytree
        Keyword arguments.

    Returns
    -------
    str
        The source of the module.

    Raises
    ------
    ExportError
        If ``f`` uses what NumPy has no function for, closes over tracers, or takes or
        returns objects of a class of its own.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> def norm(x):
    ...     return np.sqrt(np.sum(x * x))
    >>> text = funcad.export(norm, np.zeros(3))
    >>> for line in text.splitlines()[-4:]:
    ...     print(line)
        a = x * x
        b = a.sum(axis=(0,))
        c = np.sqrt(b)
        return c
    """
    wraps(f, "export", "export(f, x)")
    if name is not None and not _is_free(name):
        raise ArgumentError(
            "export: name must be a name for the module's function, an identifier that "
            f"is no keyword and not np, which the module calls NumPy; not {name!r}. "
            'Write name="step", or leave it out to have it made from that of f.'
        )
    jitted = f if isinstance(f, Jitted) else jit(f)
    lowered = jitted.lower_as("export", args, kwargs)
    if len(lowered.program.inputs) != lowered.in_tree.num_leaves:
        raise ExportError(
            f"export: {lowered.name} closes over a traced value, which has no place in "
            "a module. Export it outside of the transform, or pass the value."
        )
    name = unique(identifier(_spoken(f)), ["np"]) if name is None else name
    text = module(
        lowered.optimized,
        _parameters(f, lowered.in_tree, len(args)),
        lowered.out_tree,
        name,
        _summary(f),
        user_line(),
    )
    if path is not None:
        pathlib.Path(path).write_text(text, encoding="utf-8")
    return text


def _is_free(name: Any) -> bool:
    """Whether a module may call its function so."""
    valid = isinstance(name, str) and name.isidentifier()
    return valid and not keyword.iskeyword(name) and name != "np"


def _spoken(f: Any) -> str:
    """Name of a function, after the transforms that it went through."""
    return getattr(f, "__qualname__", type(f).__name__).rpartition(".")[2]


def _summary(f: Any) -> str:
    first = (inspect.getdoc(f) or "").partition("\n")[0].replace("\\", "/")
    text = f"{_spoken(f)}: {first}" if first else f"{_spoken(f)}."
    return text.replace('"""', "'''")


def _parameters(f: Any, in_tree: Any, count: int) -> list[Parameter]:
    """Names of the arguments, those of the function where it says them."""
    positional, keywords = in_tree.children()
    try:
        known = [
            p.name
            for p in inspect.signature(f).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        known = []
    names = list(keywords._node[1] or ())
    found = [
        Parameter(unique(identifier(name), ["np"]), child, True)
        for name, child in zip(names, keywords.children())
    ]
    for i, child in enumerate(positional.children()):
        name = known[i] if i < len(known) else f"x{i + 1}"
        taken = ["np", *(p.name for p in found)]
        found.insert(i, Parameter(unique(identifier(name), taken), child, False))
    return found
