"""What the commands of the examples share: options, errors in a line, exit codes."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib.util
import sys
from collections.abc import Callable
from typing import Any


class UsageError(Exception):
    """What the user has to change: printed as one line, and the exit code is 2."""


def run_command(program: str, execute: Callable[[Any], Any], options: Any) -> int:
    """Execute a command whose options have been parsed.

    Parameters
    ----------
    program : str
        Its name, which begins what it prints of errors.
    execute : callable
        Takes the options; what it returns, if anything, is the exit code.
    options : argparse.Namespace

    Returns
    -------
    int
        Exit code: 0, 2 for what the user has to change, 130 for Ctrl-C.
    """
    try:
        return execute(options) or 0
    except UsageError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130


def require_packages(*names: str) -> None:
    """Refuse to begin what could not be finished."""
    absent = [name for name in names if importlib.util.find_spec(name) is None]
    if absent:
        raise UsageError(
            f"{' and '.join(absent)} must be installed: pip install 'funcad[examples]'"
        )


def keep_freed_memory() -> None:
    """Have the C library keep what one step frees for the next one.

    A step allocates tens of megabytes and frees them again.  glibc gives them back to
    the system each time, and the page faults of the next step cost an eighth of it.
    """
    trim_threshold, mmap_threshold = -1, -3  # from malloc.h
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_threshold, 32 << 20)
        mallopt(trim_threshold, 1 << 30)


def positive(argument: str) -> int:
    """An integer of at least 1."""
    value = int(argument)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def seed(bits: int) -> Callable[[str], int]:
    """A seed of so many bits: what reads it from the command line."""

    def seed(argument: str) -> int:
        value = int(argument)
        if not 0 <= value < 2**bits:
            raise argparse.ArgumentTypeError(f"{value} is not from 0 to 2**{bits} - 1")
        return value

    return seed
