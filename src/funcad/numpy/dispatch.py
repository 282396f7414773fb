"""How NumPy's functions find funcad: tables from NumPy's own function objects.

``np.tanh(tracer)`` arrives at :func:`call_ufunc`, ``np.sum(tracer)`` at
:func:`call_function`; both look up what stands for the function on tracers.  Arrays
without a tracer among them never come here: NumPy (or CuPy) computes with them itself.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.errors import (
    LeafTypeError,
    UnsupportedArgumentError,
    UnsupportedFunctionError,
)
from funcad.core.tracing import PYTHON_SCALARS, Array, Primitive, Tracer, bind

Function = Callable[..., Any]

PRIMITIVES: dict[Any, Primitive] = {}
"""Ufuncs that are primitives."""

FUNCTIONS: dict[Any, Function] = {}
"""NumPy's functions, and ufuncs that are compositions."""

METHODS: dict[tuple[Any, str], Function] = {}
"""``reduce`` and ``accumulate`` of ufuncs."""

LATE: list[str] = []
"""Modules with more of the tables, imported in turn until a function is found."""

_accepted: dict[Any, frozenset[str]] = {}
OPEN: set[Any] = set()
"""Functions that pass arguments of any name on to the user's own function."""

OPERANDS = (Tracer, np.ndarray, np.generic, *PYTHON_SCALARS)


def implements(*functions: Any) -> Callable[[Function], Function]:
    """Declare what stands for these NumPy functions on tracers."""

    def register(implementation: Function) -> Function:
        parameters = inspect.signature(implementation).parameters
        names = frozenset(parameters)
        for function in functions:
            FUNCTIONS[function] = implementation
            _accepted[function] = names
            if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                OPEN.add(function)
        return implementation

    return register


def refuse(name: str, **arguments: Any) -> None:
    """Refuse arguments that were given and cannot be honoured on tracers."""
    for argument, value in arguments.items():
        if value is not None and value is not np._NoValue:  # type: ignore[attr-defined]
            raise UnsupportedArgumentError(
                f"{name} of a traced array does not take {argument}=. "
                + _ADVICE.get(argument, "Leave it out.")
            )


_ADVICE = {
    "out": "Use the value that it returns; traced arrays are not written into.",
    "where": "Write np.where(condition, f(x), otherwise) instead, with a safe x where "
    "the condition is false.",
    "order": "Traced arrays have no memory order; leave it out.",
    "casting": "Convert with x.astype(dtype) first.",
    "dtype": "Convert with x.astype(dtype) first.",
    "initial": "Combine with the initial value afterwards, as in "
    "np.maximum(x.max(), initial).",
}


def call_ufunc(
    tracer: Tracer, ufunc: Any, method: str, *inputs: Any, **kwargs: Any
) -> Any:
    """``Tracer.__array_ufunc__``."""
    if method == "__call__":
        primitive = PRIMITIVES.get(ufunc)
        if primitive is not None and not kwargs:
            # bind, where there is nothing to look for: the operand is the tracer
            if len(inputs) == 1 and tracer._trace.alive:
                return tracer._trace.process(primitive, inputs, {})
            for x in inputs:
                if not isinstance(x, OPERANDS):
                    inputs = tuple(as_operands(*inputs))
            return bind(primitive, inputs, {})
        implementation = primitive or FUNCTIONS.get(ufunc)
        if implementation is not None:
            accepted = {
                k: kwargs.pop(k) for k in _accepted.get(ufunc, ()) & kwargs.keys()
            }
            refuse(f"np.{ufunc.__name__}", **kwargs)
            return implementation(*as_operands(*inputs), **accepted)
    function = METHODS.get((ufunc, method))
    if function is None:
        if _imported_more():
            return call_ufunc(tracer, ufunc, method, *inputs, **kwargs)
        known = getattr(np, ufunc.__name__, None) is ufunc
        name = ("np." if known else "the ufunc ") + ufunc.__name__
        raise unsupported(name + ("" if method == "__call__" else f".{method}"))
    return function(*inputs, **kwargs)


def call_function(
    tracer: Tracer, function: Any, types: Any, args: Any, kwargs: dict[str, Any]
) -> Any:
    """``Tracer.__array_function__``."""
    implementation = FUNCTIONS.get(function)
    if implementation is None:
        if _imported_more():
            return call_function(tracer, function, types, args, kwargs)
        raise unsupported(_name(function))
    if kwargs and not (kwargs.keys() <= _accepted[function] or function in OPEN):
        for name in kwargs.keys() - _accepted[function]:
            refuse(_name(function), **{name: kwargs[name]})
        kwargs = {k: v for k, v in kwargs.items() if k in _accepted[function]}
    return implementation(*args, **kwargs)


def _imported_more() -> bool:
    """Import the next module that waits in ``LATE``; false if there is none."""
    if not LATE:
        return False
    module = LATE[0]
    importlib.import_module(module)
    # only now, so that another thread waits for it too
    if LATE and LATE[0] == module:
        LATE.pop(0)
    return True


def unsupported(name: str) -> UnsupportedFunctionError:
    """The error for a function that cannot be traced."""
    return UnsupportedFunctionError(
        f"{name} cannot be traced by funcad. "
        + _INSTEAD.get(
            name.removeprefix("np."),
            "Compose it from functions that can (dir(funcad.numpy) lists them), or "
            "call it on plain arrays, outside of what is transformed.",
        )
    )


_UPDATE = (
    "It writes into an array, and traced arrays are never written into. Write "
    "fnp.at(x)[i].set(v) with import funcad.numpy as fnp."
)
_INSTEAD = {
    "copyto": "np.full and np.full_like end here when what to fill with is traced and "
    "the array is not: write np.broadcast_to(value, shape).",
    "put_along_axis": "It writes into an array, and traced arrays are never written "
    "into. Write fnp.put_along_axis(x, i, v, axis, inplace=False) with import "
    "funcad.numpy as fnp.",
    **dict.fromkeys(["put", "place", "putmask"], _UPDATE),
    **dict.fromkeys(["fill_diagonal"], _UPDATE),
}


def _name(function: Any) -> str:
    module = getattr(function, "__module__", None) or "numpy"
    return f"{module.replace('numpy', 'np', 1)}.{function.__name__}"


def as_operand(x: Any, *others: Array) -> Array:
    """An operand that is not an array yet, as one in the library of the others.

    Lists may hold tracers.
    """
    if isinstance(x, OPERANDS) or hasattr(x, "__array_function__"):
        return x
    if isinstance(x, (list, tuple)) and x:
        array = FUNCTIONS[np.stack]([as_operand(v) for v in x])
    else:
        array = np.asarray(x)
        if array.dtype.kind not in "biufc":
            raise LeafTypeError(
                f"an operand of type {type(x).__name__} ({x!r}) meets a traced array "
                "and is no array and no number. Convert it, as in float(x), first."
            )
    return namespace(*others).asarray(array) if type(array) is np.ndarray else array


def as_array(x: Any, *others: Any) -> Array:
    """An operand as an array, numbers too, in the library of the others."""
    x = as_operand(x, *others)
    return x if hasattr(x, "dtype") else namespace(x, *others).asarray(x)


def as_operands(*xs: Any) -> list[Array]:
    """Operands that meet in one operation, each as an array or a number."""
    return [as_operand(x, *xs) for x in xs]
