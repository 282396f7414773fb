"""What the caller of a program may write into."""

import numpy as np
import pytest

import funcad
from funcad.compile.visible import visible
from funcad.core.program import Program
from program_checks import evaluated
from properties import for_all, generators
from random_programs import programs

X = np.arange(6.0).reshape(2, 3)

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def test_results_are_visible_and_what_they_are_views_of():
    def f(x):
        hidden = np.sin(x)
        base = np.cos(hidden)
        return np.exp(base), base[0].T, x.reshape(6)

    program = funcad.make_program(f)(X)
    names = {v: e.primitive.name for e in program.equations for v in e.outputs}
    seen = {names.get(v, "argument") for v in visible(program)}
    assert seen == {"exp", "cos", "index", "transpose", "reshape", "argument"}


def test_operands_of_what_may_be_a_view_are_visible():
    program = funcad.make_program(lambda z: np.real(np.exp(z)))(X + 1j)
    assert visible(program) == {v for e in program.equations for v in e.outputs}


def test_what_is_not_visible_shares_no_memory_with_the_results():
    @for_all(programs(), generators(), share=2)
    def check(function, rng):
        args = [np.asarray(x) for x in function.draw(rng)]
        every = tuple(range(len(args)))
        program = funcad.make_program(funcad.value_and_grad(function, every))(*args)
        shown = visible(program)
        hidden = [v for e in program.equations for v in e.outputs if v not in shown]
        whole = Program(program.inputs, program.equations, program.outputs + hidden)
        values = evaluated(whole, args)
        count = len(program.outputs)
        for out in values[:count]:
            assert not any(np.shares_memory(out, v) for v in values[count:])
