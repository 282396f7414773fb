"""Inlining: calls of programs, at any depth."""

import numpy as np
import pytest

import funcad
from funcad.compile.inline import inline
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import Primitive, dtype_of, registry, shape_of
from program_checks import (
    assert_identical,
    assert_same_bits,
    assert_well_formed,
    copied,
    counts,
)
from properties import for_all, generators
from random_programs import programs

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

X = np.array([0.3, -1.2, 2.5])


@pytest.fixture(scope="module")
def call():
    """A primitive that is nothing but a call of the program in its parameters."""
    primitive = Primitive(
        "call_of_the_tests",
        lambda *args, program: tuple(program.evaluate(args)),
        lambda *args, program: [
            (shape_of(v), getattr(v, "weak", None) or dtype_of(v))
            for v in program.outputs
        ],
        body=lambda params: params["program"],
        multiple=True,
    )
    yield primitive
    del registry[primitive.name]


def program_of(f, *args):
    return funcad.make_program(f)(*args)


def test_a_call_becomes_the_equations_that_it_calls(call):
    inner = program_of(lambda x, y: (np.sin(x) * y, x + y), X, X)
    program = program_of(lambda x: call(x, 2 * x, program=inner), X)
    assert counts(program) == {"multiply": 1, call.name: 1}
    flat = inline(program)
    assert counts(flat) == {"multiply": 2, "sin": 1, "add": 1}
    for got, want in zip(flat.evaluate([X]), program.evaluate([X]), strict=True):
        assert_same_bits(got, want)


def test_calls_in_calls_are_inlined_and_variables_of_each_call_are_its_own(call):
    inner = program_of(lambda x: np.tanh(x), X)
    middle = program_of(lambda x: call(call(x, program=inner)[0] + x, program=inner), X)
    program = program_of(
        lambda x: call(x, program=middle)[0] * call(-x, program=middle)[0], X
    )
    before = copied(program)
    flat = inline(program)
    assert_identical(program, before)
    assert counts(flat) == {"tanh": 4, "add": 2, "negative": 1, "multiply": 1}
    assert_well_formed(flat)
    assert_same_bits(flat.evaluate([X])[0], program.evaluate([X])[0])


def test_only_chosen_calls_are_inlined(call):
    inner = program_of(funcad.jit(lambda x: np.sin(x)), X)
    program = program_of(lambda x: call(x, program=inner), X)
    assert inline(program, ()) is program
    flat = inline(program, (call,))
    assert counts(flat) == {"jit_call": 1}
    assert counts(inline(program)) == {"sin": 1}


def test_outputs_that_are_inputs_or_constants_need_no_equation(call):
    inner = Program([x := Var((3,), X.dtype), y := Var((3,), X.dtype)], [], [y, X, x])
    outs = [Var((3,), X.dtype) for _ in range(3)]
    argument = Var((3,), X.dtype)
    equation = Equation(call, [argument, X], {"program": inner}, tuple(outs))
    program = inline(Program([argument], [equation], [*outs, argument]))
    assert not program.equations
    assert [v is w for v, w in zip(program.outputs, [X, X, argument, argument])] == [
        True
    ] * 4


def test_lines_are_those_of_the_body_or_else_of_the_call(call):
    x, y = Var((3,), X.dtype), Var((3,), X.dtype)
    plain = Program([x], [Equation(registry["sin"], [x], {}, (y,))], [y])
    known = Program(
        [x], [Equation(registry["cos"], [x], {}, (y,), ("body.py", 3))], [y]
    )
    argument, s, c = (Var((3,), X.dtype) for _ in range(3))
    flat = inline(
        Program(
            [argument],
            [
                Equation(call, [argument], {"program": plain}, (s,), ("user.py", 7)),
                Equation(call, [argument], {"program": known}, (c,), ("user.py", 8)),
            ],
            [s, c],
        )
    )
    assert [e.line for e in flat.equations] == [("user.py", 7), ("body.py", 3)]


def test_a_body_may_refuse_to_be_inlined(call):
    inner = program_of(lambda x: np.tanh(x), X)
    program = program_of(lambda x: call(x, program=inner), X)
    rule, call.body = call.body, lambda params: None
    try:
        assert inline(program) is program
    finally:
        call.body = rule


def test_a_program_without_calls_is_returned_itself():
    program = program_of(lambda x: np.tanh(x), X)
    assert inline(program) is program


def test_random_programs_that_call_each_other_mean_the_same(call):
    @for_all(programs(), generators(), share=2)
    def check(function, rng):
        args = [np.asarray(x) for x in function.draw(rng)]
        every = tuple(range(len(args)))
        inner = program_of(funcad.value_and_grad(function, every), *args)

        def outer(*xs):
            value, *gradients = call(*xs, program=inner)
            again, *_ = call(*map(np.tanh, gradients), program=inner)
            return value, again, gradients

        program = program_of(outer, *args)
        flat = inline(program)
        assert call.name not in counts(flat)
        assert len(flat.equations) == 2 * len(inner.equations) + len(args)
        assert_well_formed(flat)
        for got, want in zip(flat.evaluate(args), program.evaluate(args), strict=True):
            assert_same_bits(got, want)
