"""Whether operations on tensors are recorded: a state of each thread, on by default."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

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


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Do not record what is computed in this block, in this thread.

    What is computed does not require a gradient then, and tensors that do may be
    updated in place.  Also a decorator, ``@no_grad()``.

    Examples
    --------
    >>> from funcad import tape
    >>> w = tape.Tensor(2.0, requires_grad=True)
    >>> with tape.no_grad():
    ...     w -= 0.5
    >>> w
    Tensor(1.5, requires_grad=True)
    """
    with recorded(False):
        yield


@contextlib.contextmanager
def enable_grad() -> Iterator[None]:
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
    with recorded(True):
        yield


@contextlib.contextmanager
def recorded(wanted: bool) -> Iterator[None]:
    """Switch recording on or off for a block."""
    before = is_grad_enabled()
    recording.set(wanted)
    try:
        yield
    finally:
        recording.set(before)
