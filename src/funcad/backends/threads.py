"""Work on host arrays that several threads share.

NumPy lets go of the interpreter lock inside its functions, so that threads which call
them on large arrays run at once.  BLAS has threads of its own, which wait for the next
product with their core kept busy: while ours work, BLAS works with one in each.

Handing work to another thread takes 10 to 300 us, and each return into the interpreter
may have to wait for its lock: this is for a few large parts, not for many small ones.
"""

from __future__ import annotations

import contextvars
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")


def thread_count() -> int:
    """How many threads work may be shared among.

    As many as BLAS may use (what ``OPENBLAS_NUM_THREADS`` or `threadpoolctl
    <https://github.com/joblib/threadpoolctl>`_ left it), if there are cores for them.
    One on a thread that has a part of shared work already, and where NumPy's BLAS is
    not an OpenBLAS that can be told how many to use.

    Returns
    -------
    int
    """
    if getattr(_here, "has_part", False) or _blas() is None:
        return 1
    return min(_blas_threads(), _core_count())


def together(parts: Sequence[Callable[[], T]]) -> list[T]:
    """Call functions of no arguments, at once where there are threads for them.

    Parameters
    ----------
    parts : sequence of callable
        That do not depend on one another.  The last is called on this thread; the
        others see its context (``np.errstate`` and other context variables).

    Returns
    -------
    list
        What they return.

    Raises
    ------
    Exception
        What the first of them that fails raises, after all of them have ended.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.backends.threads import together
    >>> x = np.ones((2, 1000))
    >>> together([lambda: float(x[0].sum()), lambda: float(x[1].sum())])
    [1000.0, 1000.0]
    """
    if len(parts) < 2 or thread_count() < 2:
        return [part() for part in parts]
    *others, own = parts
    with _blas_on_one_thread():
        pool = _pool()
        futures: list[Future[T]] = [
            pool.submit(contextvars.copy_context().run, part) for part in others
        ]
        try:
            _here.has_part = True
            last = own()
        finally:
            _here.has_part = False
            # nobody may go on while a part still writes into what is theirs
            for future in futures:
                future.exception()
    return [*[future.result() for future in futures], last]


# ---------------------------------------------------------------------------- threads

_here = threading.local()


def _begin() -> None:
    _here.has_part = True


@functools.cache
def _pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    workers = max((os.cpu_count() or 1) - 1, 1)
    return ThreadPoolExecutor(workers, "funcad", initializer=_begin)


def _core_count() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


# ------------------------------------------------------------------------------- BLAS


@functools.cache
def _blas() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """Functions that get and set how many threads NumPy's BLAS uses, if it has them."""
    import ctypes

    try:
        # symbols are looked for in what the module is linked with, too
        library = ctypes.CDLL(np._core._multiarray_umath.__file__)  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return None
    for prefix in ("scipy_", ""):
        for suffix in ("64_", ""):
            name = f"{prefix}openblas_%s_num_threads{suffix}"
            try:
                return library[name % "get"], library[name % "set"]
            except AttributeError:
                continue
    return None


_lock = threading.Lock()
_holders = 0  # calls of together that are under way
_before = 1  # how many threads BLAS had before the first of them


def _blas_threads() -> int:
    functions = _blas()
    assert functions is not None
    with _lock:
        return _before if _holders else functions[0]()


@contextmanager
def _blas_on_one_thread() -> Iterator[None]:
    global _holders, _before
    functions = _blas()
    assert functions is not None
    get, put = functions
    with _lock:
        if not _holders:
            _before = get()
            put(1)
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if not _holders:
                put(_before)


def _after_fork() -> None:
    """In a new process there are no threads, nobody holds a lock, BLAS is as before."""
    global _lock, _holders
    _pool.cache_clear()
    _lock = threading.Lock()
    if _holders:
        _holders = 0
        functions = _blas()
        assert functions is not None
        functions[1](_before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
