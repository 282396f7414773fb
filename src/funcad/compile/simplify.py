"""The passes from program to program, in their order."""

from __future__ import annotations

from funcad.compile.algebra import apply_algebra
from funcad.compile.common_subexpressions import merge_common_subexpressions
from funcad.compile.constant_folding import fold_constants
from funcad.compile.dead_code import eliminate_dead_code
from funcad.compile.inline import inline
from funcad.core.program import Program

PASSES = (
    inline,
    eliminate_dead_code,
    fold_constants,
    apply_algebra,
    merge_common_subexpressions,
    eliminate_dead_code,
)


def simplify(program: Program) -> Program:
    """The same function in fewer and cheaper equations.

    Every pass takes time in proportion to the length of the program, and one round of
    them leaves hardly anything to a second.  Results share memory with arguments,
    constants and one another only where they did before.
    """
    for transformation in PASSES:
        program = transformation(program)
    return program
