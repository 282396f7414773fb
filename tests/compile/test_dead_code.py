"""Dead code: equations whose results nobody reads."""

import numpy as np

import funcad
from funcad.compile.dead_code import eliminate_dead_code
from funcad.core.program import Program
from program_checks import assert_same_bits, counts

X = np.array([0.3, -1.2, 2.5])


def live(f, *args):
    program = funcad.make_program(f)(*args)
    after = eliminate_dead_code(program)
    for got, want in zip(after.evaluate(args), program.evaluate(args), strict=True):
        assert_same_bits(got, want)
    return counts(after)


def test_chains_that_lead_nowhere_are_dropped():
    def f(x):
        np.exp(np.sin(np.cos(x)))
        return np.cos(x) * 2

    assert live(f, X) == {"cos": 1, "multiply": 1}


def test_an_equation_lives_while_one_of_its_results_is_read():
    assert live(lambda x: np.split(x, 3)[1], X)["split"] == 1
    assert live(lambda x: (np.split(x, 3), x + 1)[1], X) == {"add": 1}


def test_inputs_stay_though_nobody_reads_them():
    program = funcad.make_program(lambda x, y: (np.sin(x), y * 2)[1])(X, X)
    after = eliminate_dead_code(program)
    assert after.inputs == program.inputs and len(after.equations) == 1


def test_outputs_may_be_inputs_values_and_zeros():
    program = funcad.make_program(lambda x: np.sin(x))(X)
    x = program.inputs[0]
    after = eliminate_dead_code(Program([x], program.equations, [x, X, 2.0, None]))
    assert not after.equations
    assert after.evaluate([X]) == [X, X, 2.0, None]


def test_a_program_without_dead_code_is_returned_itself():
    program = funcad.make_program(lambda x: np.sin(x) * 2)(X)
    assert eliminate_dead_code(program) is program
