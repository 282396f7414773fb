"""Compiled programs: functions of flat arguments, made of the source that they show.

A :class:`Compiled` is made for the arrays of one library, NumPy's unless said
otherwise.  Those of another library get a function of their own, without a workspace,
in which ``np`` is that library's namespace.
"""

from __future__ import annotations

import functools
import itertools
import linecache
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from funcad.backends import backend_of, backend_of_type
from funcad.compile.expressions import nbytes
from funcad.compile.fuse import BLOCK, LARGE, Step, fuse
from funcad.compile.partition import LEAST, partition
from funcad.compile.plan import THRESHOLD, Place, Plan, plan
from funcad.compile.simplify import simplify
from funcad.compile.source import Source, write
from funcad.core.errors import format_line
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import Array, raise_explained

_numbers = itertools.count(1)
# in funcad's own folder, so that errors name the user's line and not this one
_FOLDER = os.path.dirname(os.path.abspath(__file__))


class Memory(NamedTuple):
    """Bytes that a compiled program needs."""

    arguments: int
    """Its arguments, if they are NumPy arrays in memory of their own."""
    constants: int
    """Arrays that the program holds."""
    workspace: int
    """Memory kept between calls for intermediate values, for each call at a time."""
    temporaries: int
    """The most that other values hold at once, outputs among them."""
    outputs: int
    """What is left of a call."""

    @property
    def peak(self) -> int:
        """The most that is in use at once, arguments and constants included."""
        return self.arguments + self.constants + self.workspace + self.temporaries

    def __str__(self) -> str:
        rows = [*zip(self._fields, self), ("peak", self.peak)]
        return "\n".join(f"{name:<12}{size / 2**20:10.3f} MiB" for name, size in rows)


class Compiled:
    """A program as a function, ``compiled(*arguments) -> tuple of outputs``.

    Parameters
    ----------
    program : Program
        Without tracers among its constants.
    array_type : type, optional
        Of the arrays that it runs on.
    threshold : int, optional
        Bytes from which on intermediate values lie in the workspace.
    block, large : int, optional
        Bytes of a block, and of the arrays that are taken in blocks.
    threads : int, optional
        How many may share it, those that BLAS may use if not given.
    least : float, optional
        Seconds that sharing a stretch of it has to save.

    Attributes
    ----------
    program : Program
        What it was made of.
    optimized : Program
        What runs, before threads were given parts of it.
    function : callable
        The bare function: errors that it raises have not been explained.
    """

    __slots__ = (
        "__weakref__",
        "_array_type",
        "_backend",
        "_plan",
        "_source",
        "_spare",
        "_stamped",
        "filename",
        "function",
        "optimized",
        "program",
    )

    def __init__(
        self,
        program: Program,
        array_type: type = np.ndarray,
        threshold: int = THRESHOLD,
        block: int = BLOCK,
        large: int = LARGE,
        threads: int | None = None,
        least: float = LEAST,
    ) -> None:
        backend = backend_of_type(array_type)
        on_host = backend.namespace is np
        self.program = program
        self.optimized = program = simplify(program)
        self._array_type = array_type
        self._backend = backend
        if on_host:
            part = functools.partial(
                Compiled, threshold=threshold, block=block, large=large // 2, threads=1
            )
            program = partition(program, part, threads, least)
            steps = fuse(program, block, large)
            self._plan: Plan = plan(program, steps, threshold)
        else:
            steps = [Step((e,)) for e in program.equations]
            self._plan = plan(program, steps, None)
        self._source: Source = write(program, steps, self._plan)
        self._spare: list[tuple[Array, ...]] = []
        self._stamped: tuple[Callable[..., Any], list[Equation]] | None = None
        self.filename = os.path.join(_FOLDER, f"<program {next(_numbers)}>")
        self.function = self._define(self._source.text)
        self._show_in_tracebacks()

    def __call__(self, *args: Array) -> tuple[Any, ...]:
        try:
            return self.function(*args)  # type: ignore[no-any-return]
        except Exception as error:
            if len(args) == len(self.program.inputs):
                backend = backend_of(*args)
                if backend is not self._backend:
                    array_type = next(type(x) for x in args if backend_of(x) is backend)
                    return compiled(self.program, array_type)(*args)
            self.explain(error)

    @property
    def source(self) -> str:
        """The text of the function, after those of the parts that threads run."""
        texts = [
            part.source.replace("def compiled(", f"def {name}(", 1)
            for name, part in self._parts()
        ]
        return "\n\n".join([*texts, self._source.text])

    @property
    def constants(self) -> dict[str, Any]:
        """Arrays that the source has names for."""
        return self._source.constants

    @property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """What the source calls that is not NumPy's."""
        return self._source.functions

    def _parts(self) -> Iterator[tuple[str, Compiled]]:
        for name, function in self._source.functions.items():
            if isinstance(function, Compiled):
                yield name, function

    def memory(self) -> Memory:
        """What it needs to run.

        Returns
        -------
        Memory
        """
        outputs = {id(v): v for v in self.optimized.outputs if v is not None}
        return Memory(
            sum(map(nbytes, self.optimized.inputs)),
            sum(map(nbytes, self.optimized.constants)),
            self._plan.workspace + self._plan.elsewhere,
            self._plan.temporaries,
            sum(map(nbytes, outputs.values())),
        )

    @property
    def working(self) -> int:
        """Bytes that it takes while it runs, outputs included, arguments not."""
        plan = self._plan
        return plan.workspace + plan.elsewhere + plan.temporaries

    def clear(self) -> None:
        """Let go of the memory that is kept between calls."""
        self._spare.clear()
        for _, part in self._parts():
            part.clear()

    def stamped(self) -> tuple[Callable[..., Any], list[Equation]]:
        """The function with two arguments more, ``stamp`` and ``now``, for a profiler.

        Returns
        -------
        function : callable
            Calls ``stamp((k, now()))`` before equation number ``k`` and after it; in a
            loop over blocks, for each block.  One thread runs all of it.  (To call a
            list's method and a clock's here takes 0.14 us, and a function that calls
            them 0.23.)
        equations : list of Equation
            What the numbers mean.
        """
        if self._stamped is not None:
            return self._stamped
        if any(self._parts()):
            alone = Compiled(self.program, self._array_type, threads=1)
            self._stamped = alone.stamped()
            return self._stamped
        head, *body = self._source.text.rstrip("\n").split("\n")
        computed = self._source.equations[1:]
        text = [head.replace("(", "(stamp, now, ", 1)]
        equations: list[Equation] = []
        for line, equation in zip(body, computed, strict=True):
            if equation is None:
                text.append(line)
                continue
            indent = line[: len(line) - len(line.lstrip())]
            stamp = f"{indent}stamp(({len(equations)}, now()))"
            text += [stamp, line, stamp]
            equations.append(equation)
        self._stamped = self._define("\n".join(text)), equations
        return self._stamped

    def explain(self, error: Exception) -> NoReturn:
        """Raise what the function raised as the eager operation would have.

        A note names the user's line that the equation comes from.
        """
        frame, number = None, 0
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self.filename:
                frame, number = trace.tb_frame, trace.tb_lineno
            trace = trace.tb_next
        equations = self._source.equations
        equation = equations[number - 1] if 0 < number <= len(equations) else None
        if frame is None or equation is None:
            raise error
        if equation.line is not None:
            error.add_note(f"in a compiled function, from {format_line(equation.line)}")
        names = self._source.names
        operands = [
            frame.f_locals.get(names[v]) if type(v) is Var else v
            for v in equation.inputs
        ]
        raise_explained(error, equation.primitive.name, operands)

    def __repr__(self) -> str:
        return f"<compiled program of {len(self.optimized.equations)} equations>"

    # ---------------------------------------------------------------------------- how

    def _define(self, text: str) -> Callable[..., Any]:
        source = self._source
        names: dict[str, Any] = {
            "np": self._backend.namespace,
            "spare": self._spare,
            "take_workspace": _taker(self._spare, source.places, self._plan.workspace),
            **source.functions,
            **source.constants,
        }
        exec(compile(text, self.filename, "exec"), names)
        return names[source.name]  # type: ignore[no-any-return]

    def _show_in_tracebacks(self) -> None:
        text = self._source.text
        lines = text.splitlines(keepends=True)
        linecache.cache[self.filename] = (len(text), None, lines, self.filename)
        weakref.finalize(self, linecache.cache.pop, self.filename, None)


def _taker(
    spare: list[tuple[Array, ...]], places: Sequence[Place], size: int
) -> Callable[[], tuple[Array, ...]]:
    """Function that gives the arrays of a workspace that no other call is using."""

    def take_workspace() -> tuple[Array, ...]:
        try:
            return spare.pop()
        except IndexError:
            return workspace(places, size)

    return take_workspace


def workspace(places: Sequence[Place], size: int) -> tuple[Array, ...]:
    """New memory, and the arrays that lie in it."""
    block = np.empty(size + 64, np.uint8)
    start = -block.__array_interface__["data"][0] % 64
    arrays = []
    for offset, shape, dtype in places:
        begin = start + offset
        stop = begin + nbytes(Var(shape, dtype))
        arrays.append(block[begin:stop].view(dtype).reshape(shape))
    return tuple(arrays)


def compiled(program: Program, array_type: type = np.ndarray) -> Compiled:
    """The compiled form of a program, made once.

    Parameters
    ----------
    program : Program
        Without tracers among its constants.
    array_type : type, optional
        Of the arrays that it is to run on; calls with another library's arrays are
        right too, but slower.

    Returns
    -------
    Compiled
    """
    key = (compiled, array_type)
    found = program.derived.get(key)
    if found is None:
        # two threads may both get here: the first one's result is everybody's
        found = program.derived.setdefault(key, Compiled(program, array_type))
    return found  # type: ignore[no-any-return]
