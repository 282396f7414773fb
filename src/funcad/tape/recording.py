"""Whether operations on tensors are recorded: a state of each thread, on by default."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from funcad.core.errors import UnsupportedFunctionError

# a context variable: each thread, and each asynchronous task, has a value of its own
recording: contextvars.ContextVar[bool] = contextvars.ContextVar("recording")


def is_grad_enabled() -> bool:
    """Whether operations on tensors are recorded in this thread.

    Returns
    -------
    bool

    Examples
    --------
    >>> from funcad import tape
    >>> with tape.no_grad():
    ...     tape.is_grad_enabled()
    False
    """
    return recording.get(True)


def no_grad(function: Any = None) -> Any:
    """Do not record what is computed in this block, in this thread.

    What is computed does not require a gradient then, and tensors that do may be
    updated in place.  Also a decorator, ``@no_grad()`` or ``@no_grad``.

    Examples
    --------
    >>> from funcad import tape
    >>> w = tape.Tensor(2.0, requires_grad=True)
    >>> with tape.no_grad():
    ...     w -= 0.5
    >>> w
    Tensor(1.5, requires_grad=True)
    """
    return Recording(False) if function is None else Recording(False)(function)


def enable_grad(function: Any = None) -> Any:
    """Record what is computed in this block, also inside of `no_grad`.

    Examples
    --------
    >>> from funcad import tape
    >>> w = tape.Tensor(2.0, requires_grad=True)
    >>> with tape.no_grad(), tape.enable_grad():
    ...     y = w * w
    >>> y.requires_grad
    True
    """
    return Recording(True) if function is None else Recording(True)(function)


class Recording:
    """A block in which recording is switched, or a decorator of functions."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(is_grad_enabled())
        recording.set(self._wanted)

    def __exit__(self, *exception: object) -> None:
        recording.set(self._before.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        caller = "enable_grad" if self._wanted else "no_grad"
        if not callable(function):
            raise TypeError(
                f"{caller} decorates functions, not {function!r} of type "
                f"{type(function).__name__}. Write with {caller}(): for a block."
            )
        if _is_resumed(function):
            raise UnsupportedFunctionError(
                f"{caller} decorates functions that return, and "
                f"{function.__name__} is a generator or asynchronous: its body runs "
                f"after the call. Write with {caller}(): inside of it."
            )

        @functools.wraps(function)
        def switched(*args: Any, **kwargs: Any) -> Any:
            with recorded(self._wanted):
                return function(*args, **kwargs)

        return switched


def check_flag(caller: str, name: str, value: Any) -> None:
    """Refuse what is neither True nor False: "no" would be taken for true."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(
            f"{caller}: {name} is True or False, and {value!r} of type "
            f"{type(value).__name__} was given."
        )


def _is_resumed(function: Any) -> bool:
    return (
        inspect.isgeneratorfunction(function)
        or inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
    )


@contextlib.contextmanager
def recorded(wanted: bool) -> Iterator[None]:
    """Switch recording on or off for a block."""
    before = is_grad_enabled()
    recording.set(wanted)
    try:
        yield
    finally:
        recording.set(before)
