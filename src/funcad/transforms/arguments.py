"""What every transform does with the arguments and results of the function it takes."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core import tree
from funcad.core.errors import LeafTypeError, TangentMismatchError, shortened
from funcad.core.tracing import (
    PYTHON_SCALARS,
    Array,
    Tracer,
    aval_of,
    dtype_of,
    raise_escaped,
    shape_of,
)

float0 = np.dtype([("float0", np.void, 0)])
"""Dtype of the tangent of an integer or boolean: it has no value but zero."""


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def wraps(f: Callable[..., Any], transform: str, form: str = "") -> Decorator:
    """Give a transformed function the name and docstring of the function it was.

    ``form`` is how the transform is called, if not as ``transform(f)(x)``.
    """
    if not callable(f):
        raise TypeError(
            f"{transform} takes a function and was given {shortened(f)} of type "
            f"{type(f).__name__}. Write {form or f'{transform}(f)(x)'}: give it the "
            "function itself, not its result."
        )

    def decorate(transformed: Callable[..., Any]) -> Callable[..., Any]:
        functools.update_wrapper(transformed, f)
        qualified = getattr(f, "__qualname__", type(f).__name__)
        # of grad(loss) all, of Model.loss the last part
        spoken = qualified if ")" in qualified else qualified.rpartition(".")[2]
        transformed.__qualname__ = f"{transform}({spoken})"
        if not hasattr(f, "__name__"):
            transformed.__name__ = f"{transform}({type(f).__name__})"
        return transformed

    return decorate


def bind_arguments(
    name: str, signature: inspect.Signature, args: Any, kwargs: Any
) -> inspect.BoundArguments:
    """Which parameter each argument is of, or an error that says whose they are."""
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        shown = signature.replace(return_annotation=inspect.Signature.empty)
        raise TypeError(f"{name}: {error}. It is called as {name}{shown}.") from None


def is_array(x: Any) -> bool:
    """Whether a leaf is an array, a tracer or a number that can be computed with."""
    if isinstance(x, (np.ndarray, np.generic)):
        return x.dtype.kind in "fciub" or x.dtype == float0
    return isinstance(x, (Tracer, *PYTHON_SCALARS)) or (
        getattr(x, "__array_ufunc__", None) is not None
        and hasattr(x, "dtype")
        and hasattr(x, "shape")
    )


def check_leaves(
    leaves: Sequence[Any],
    treedef: Any,
    transform: str,
    what: str = "input",
    name: Callable[[Any], str] = tree.keystr,
) -> None:
    """Refuse leaves that are no arrays, naming the path to the first of them."""
    for i, x in enumerate(leaves):
        if isinstance(x, Tracer) and not x._trace.alive:
            raise_escaped(f"the {what} of {transform}")
        if not is_array(x):
            paths, _ = tree.flatten_with_path(tree.unflatten(treedef, leaves))
            path = name(paths[i][0])
            place = f"the leaf {path} of its {what}" if path else f"its {what}"
            kind = type(x).__name__
            if isinstance(x, (np.ndarray, np.generic)):
                kind += f" and dtype {x.dtype}"
            raise LeafTypeError(
                f"{transform}: {place} is of type {kind} ({shortened(x)}), not an "
                "array or a number. " + _ELSEWHERE.get(what, "")
            )


_ELSEWHERE = {
    "input": "Keep it out of the pytree: pass it as an argument that is not "
    "transformed (for jit, a static argument), or close over it.",
    "output": "Return arrays, numbers and None; further results come out of grad and "
    "its kin by has_aux=True.",
}


def argument_name(path: Any) -> str:
    """Name of a leaf of ``(args, kwargs)``."""
    (kind, *rest) = path
    name = tree.keystr(tuple(rest))
    return ("args" if tree.keystr((kind,)) == "[0]" else "kwargs") + name


def has_tangent(x: Any) -> bool:
    """Whether a value has a tangent: floats and complex numbers do."""
    return dtype_of(x).kind in "fc"


def zero_tangent(x: Array) -> Array:
    """The zero tangent or cotangent of a value, made explicit for the user."""
    if has_tangent(x):
        return namespace(x).zeros(shape_of(x), dtype_of(x))
    return np.zeros(shape_of(x), float0)


def check_tangents(
    primals: Sequence[Array],
    tangents: Sequence[Array],
    paths: Callable[[], Sequence[str]],
    transform: str,
    what: str,
) -> list[Array | None]:
    """Refuse (co)tangents whose shape or dtype is not their primal's.

    Returns
    -------
    list of arrays or None
        The tangents, ``None`` for those of integers and booleans.
    """
    out: list[Array | None] = []
    for i, (p, t) in enumerate(zip(primals, tangents, strict=True)):
        if not has_tangent(p):
            if dtype_of(t) != float0:
                raise TangentMismatchError(
                    f"{transform}: the value {paths()[i]} is {aval_of(p)}, which has "
                    f"no tangent but zero, and its {what} is {aval_of(t)}. Give "
                    "np.zeros(shape, funcad.float0) there, or make the value a float."
                )
            out.append(None)
            continue
        fits = dtype_of(p) == dtype_of(t)
        if not fits and (type(p) in PYTHON_SCALARS or type(t) in PYTHON_SCALARS):
            # of whatever precision, but a real number has a real tangent
            fits = dtype_of(t).kind != "c" or dtype_of(p).kind == "c"
        if not fits or shape_of(p) != shape_of(t):
            raise TangentMismatchError(
                f"{transform}: the {what} of {paths()[i]} is {aval_of(t)} and the "
                f"value is {aval_of(p)}; shapes and dtypes must be equal. Write "
                f"{what}.astype(value.dtype) or reshape it."
            )
        out.append(t)
    return out


def check_argnums(argnums: Any, transform: str) -> None:
    """Refuse numbers of arguments that are none."""
    numbers = argnums if isinstance(argnums, (tuple, list)) else [argnums]
    for n in numbers:
        if not isinstance(n, (int, np.integer)) or isinstance(n, bool):
            raise TypeError(
                f"argnums of {transform} must be an integer or a tuple of integers, "
                f"not {argnums!r}. They are numbers of positional arguments: write "
                "argnums=0 for the first, argnums=(0, 1) for the first two."
            )


def select_arguments(
    args: tuple[Any, ...], argnums: int | Sequence[int], transform: str
) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """The arguments to differentiate, and how to put others in their place.

    ``argnums`` are those that `check_argnums` lets through.

    Returns
    -------
    chosen : pytree
        The argument, or a tuple of them where ``argnums`` is a sequence.
    replace : callable
        Gives all positional arguments from new values of the chosen ones.
    """
    numbers = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    for n in numbers:
        if not -len(args) <= n < len(args):
            raise TypeError(
                f"{transform} was asked for argument {n!r} (argnums={argnums}) and the "
                f"function was called with {len(args)} positional arguments. Pass what "
                "is to be differentiated by position."
            )
    places = [operator.index(n) % len(args) for n in numbers]
    if len(set(places)) < len(places):
        raise ValueError(
            f"{transform} was asked for the same argument twice, by argnums={argnums}."
        )

    if not isinstance(argnums, (tuple, list)):
        (place,) = places

        def replace(new: Any) -> tuple[Any, ...]:
            return (*args[:place], new, *args[place + 1 :])

        return args[place], replace

    def replace_all(new: Any) -> tuple[Any, ...]:
        full = list(args)
        for i, value in zip(places, new, strict=True):
            full[i] = value
        return tuple(full)

    return tuple(args[i] for i in places), replace_all


def leaf_names(treedef: Any, leaves: Sequence[Any]) -> list[str]:
    """Paths of the leaves of a tree, for messages."""
    paths, _ = tree.flatten_with_path(tree.unflatten(treedef, leaves))
    return [tree.keystr(path) or "the value" for path, _ in paths]
