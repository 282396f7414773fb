"""Every error that funcad raises, and the user's own line that each one names.

An error says in whole sentences what was wrong, with shapes and dtypes, and what to
write instead; the class adds where: the innermost frame outside funcad and outside
the array libraries.  Each class is also a subclass of the built-in error that a user
of NumPy or JAX would catch.
"""

from __future__ import annotations

import linecache
import os
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_EXAMPLES = os.path.join(_PACKAGE, "examples") + os.sep
_LIBRARIES = tuple(
    f"{os.sep}{place}{os.sep}{name}{os.sep}"
    for place in ("site-packages", "dist-packages")
    for name in ("numpy", "scipy", "cupy", "cupyx")
)


class _UserFiles(dict[str, bool]):
    def __missing__(self, filename: str) -> bool:
        if filename.startswith(_PACKAGE):
            own = filename.startswith(_EXAMPLES)
        else:
            own = not filename.startswith("<frozen") and not any(
                library in filename for library in _LIBRARIES
            )
        self[filename] = own
        return own


USER_FILES = _UserFiles()
"""Whether a file is the user's own, found out once."""


def is_user_file(filename: str) -> bool:
    """Whether a file is the user's own, not funcad's or an array library's."""
    return USER_FILES[filename]


def user_line(above: int = 0) -> tuple[str, int] | None:
    """File and line number of the innermost frame that is the user's own code.

    So many frames ``above`` the caller's are known to be none, and not looked at:
    Python makes an object of each frame that is.
    """
    frame = sys._getframe(1 + above)
    while frame is not None:
        code = frame.f_code
        if USER_FILES[code.co_filename]:
            return line_in(code, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return None


class BackwardLine(tuple[str, int]):
    """The line of an operation whose transpose runs: equal to it, of another type."""

    __slots__ = ()


def run_at(line: tuple[str, int], function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of funcad's for an equation that was written in that line.

    To ``user_line`` this is a frame of the user's: equations of a program run long
    after the line that they come from.
    """
    callers = BACKWARD if type(line) is BackwardLine else _FORWARD
    return callers[line](function, *args)


class _Callers(dict[tuple[str, int], Callable[..., Any]]):
    """For each line, a function that calls another one: its code says to be there."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __missing__(self, line: tuple[str, int]) -> Callable[..., Any]:
        filename, number = line
        code = (lambda function, *args: function(*args)).__code__.replace(
            co_filename=filename, co_firstlineno=number or 0, co_name=self.name
        )
        caller = self[filename, number] = types.FunctionType(code, {})
        return caller


_FORWARD = _Callers("<forward>")
BACKWARD = _Callers("<backward>")
"""Callers for the lines of operations whose transposes run."""


def line_in(code: types.CodeType, number: int) -> tuple[str, int]:
    """The line that code stands at, a `BackwardLine` where it was called for one."""
    line = code.co_filename, number
    return BackwardLine(line) if code.co_name == BACKWARD.name else line


def format_line(line: tuple[str, int] | None) -> str:
    """``file:line: source``, or an empty string where there is no user frame."""
    if line is None:
        return ""
    filename, number = line
    source = linecache.getline(filename, number).strip()
    return f"{filename}:{number}" + (f": {source}" if source else "")


def shortened(x: Any) -> str:
    """The repr of what was given, as much of it as a message has room for."""
    text = repr(x)
    return text if len(text) < 60 else text[:57] + "..."


class FuncadError(Exception):
    """Base class of funcad's errors; appends the user's own line to the message.

    Parameters
    ----------
    message : str
        What was wrong and what to write instead, in whole sentences.
    line : tuple of (str, int), optional
        File and line to name instead of the innermost user frame, for errors whose
        cause lies elsewhere than where they are found.
    """

    def __init__(self, message: str, line: tuple[str, int] | None = None) -> None:
        where = format_line(line or user_line())
        super().__init__(f"{message}\n  at {where}" if where else message)


class NonScalarOutputError(FuncadError, TypeError):
    """``grad`` of a function whose output is not a real scalar."""


class InputDtypeError(FuncadError, TypeError):
    """A derivative with respect to an integer, boolean or otherwise unfit input."""


class OutputDtypeError(FuncadError, TypeError):
    """A Jacobian by rows of an output that is complex where the input is real."""


class LeafTypeError(FuncadError, TypeError):
    """A leaf of a pytree that is no array and no number."""


class TreeStructureError(FuncadError, TypeError, ValueError):
    """Two pytrees that should have the same structure and have not."""


class RegistrationError(FuncadError, TypeError, ValueError):
    """A pytree node or a primitive registered twice, or in a way that cannot work."""


class TangentMismatchError(FuncadError, TypeError, ValueError):
    """A tangent or cotangent whose structure, shape or dtype is not its primal's."""


class BatchSizeError(FuncadError, ValueError):
    """Inputs of ``vmap`` whose mapped axes have different sizes, or do not exist."""


class ConcretizationError(FuncadError, TypeError):
    """A tracer that has no concrete value was asked for one."""


class DerivativeLossError(FuncadError, TypeError):
    """A conversion of a tracer to a plain array, which would drop its derivative."""


class CustomRuleError(FuncadError, TypeError, ValueError):
    """A custom rule, or a rule of a primitive, that does not give what it should."""


class ForwardModeError(FuncadError, TypeError):
    """Forward mode through a function that has a rule for reverse mode alone."""


class CallbackError(FuncadError, TypeError, ValueError):
    """A foreign function whose result is not what was declared."""


class StaticArgumentError(FuncadError, TypeError, ValueError):
    """A static argument that is not hashable, or one that does not exist."""


class LoweredCallError(FuncadError, TypeError):
    """A call of a compiled function with other shapes or dtypes than it is for."""


class ExportError(FuncadError, TypeError):
    """A function that cannot be written down as a module that needs NumPy alone."""


class MutationError(FuncadError, TypeError):
    """An attempt to write into a traced array."""


class TapeError(FuncadError, RuntimeError):
    """A step of `funcad.tape` that the recorded operations do not allow."""


class ModuleError(FuncadError, TypeError, RuntimeError):
    """A module whose parameters are not what they should be, or are not there."""


class EscapedTracerError(FuncadError, RuntimeError):
    """A tracer used after the transform that made it has ended."""


class MissingRuleError(FuncadError, NotImplementedError):
    """A primitive that has no rule for the transform that met it."""


class UnboundedLoopError(MissingRuleError, ValueError):
    """Reverse mode of a ``while_loop``, the number of whose steps is not known."""


class CarryError(FuncadError, TypeError):
    """A loop whose function returns a carry of another type than it was given."""


class BranchError(FuncadError, TypeError):
    """Branches whose results differ in type, or a predicate that is no boolean."""


class UnsupportedFunctionError(FuncadError, TypeError):
    """A NumPy function that funcad cannot trace."""


class UnsupportedArgumentError(FuncadError, TypeError):
    """An argument of a NumPy function that cannot be honoured for a traced array."""


class DegenerateError(FuncadError, np.linalg.LinAlgError):
    """A derivative that does not exist, as of eigenvectors where eigenvalues repeat."""


class MixedBackendsError(FuncadError, TypeError):
    """NumPy and CuPy arrays in one operation."""


class DeviceError(FuncadError, RuntimeError):
    """A device that was asked for and is not there."""


class NonlinearError(FuncadError, TypeError):
    """A function given to ``linear_transpose`` that is not linear."""


class ProgramError(FuncadError, TypeError, ValueError):
    """A program that is not well formed, or that is given what it does not take."""


class ProgramFileError(ProgramError):
    """A file that holds no program that can be read."""


class ArgumentError(FuncadError, ValueError):
    """An argument outside of the values it may take: a rate, a probability, a size."""


class NonFiniteError(FuncadError, FloatingPointError, ValueError):
    """A loss or a gradient that is infinite or not a number, where a step begins."""


class PolicyError(FuncadError, TypeError):
    """A checkpoint policy that is no policy."""


class ScheduleError(FuncadError, ValueError, TypeError):
    """A checkpointing strategy, or a number of slots, that makes no schedule."""


class ChainError(FuncadError, TypeError, ValueError):
    """Layers that make no chain: none, not callable, or not fitting together."""


class GraphError(FuncadError, ValueError, TypeError):
    """A node of a graph that cannot be made, differentiated or computed."""


class RandomKeyError(FuncadError, TypeError):
    """Something that is no random key where a key was expected."""
