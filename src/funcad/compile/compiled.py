"""A program as a function of flat arguments."""

from __future__ import annotations

from typing import Any

from funcad.compile.dead_code import eliminate_dead_code
from funcad.core.program import Program


def compiled(program: Program) -> Any:
    """The callable form of a program, made once."""
    found = program.derived.get(compiled)
    if found is None:
        optimized = eliminate_dead_code(program)

        def run(*args: Any) -> tuple[Any, ...]:
            return tuple(optimized.evaluate(args))

        found = program.derived.setdefault(compiled, run)
    return found
