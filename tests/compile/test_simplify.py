"""All passes one after the other."""

import numpy as np

import funcad
from funcad.compile.simplify import simplify
from program_checks import assert_same_bits, counts

X = np.arange(6.0).reshape(2, 3)


def simplified(f, *args):
    program = funcad.make_program(f)(*args)
    after = simplify(program)
    for got, want in zip(after.evaluate(args), program.evaluate(args), strict=True):
        assert_same_bits(got, want, zeros=False)
    return counts(after)


def test_calls_share_what_they_have_in_common():
    @funcad.jit
    def inner(x, scale):
        return np.sin(x) * scale

    found = simplified(lambda x: inner(x, 1.0) + inner(x, 1.0) * np.sin(x), X)
    assert found == {"sin": 1, "multiply": 1, "add": 1}


def test_arguments_of_calls_that_are_constants_are_folded():
    @funcad.jit
    def inner(x, y):
        return x * np.sum(np.cos(y))

    assert simplified(lambda x: inner(x, X), X) == {"multiply": 1}


def test_a_derivative_loses_its_signs_broadcasts_and_repetitions():
    def f(x):
        centred = x - np.mean(x, -1, keepdims=True)
        return np.sum(np.tanh(centred * centred))

    program = funcad.make_program(funcad.grad(f))(X)
    found = simplified(funcad.grad(f), X)
    before = counts(program)
    assert before["broadcast_to"] == 1 and "broadcast_to" not in found
    assert found["multiply"] < before["multiply"]


def test_nothing_is_done_twice():
    program = funcad.make_program(funcad.grad(lambda x: np.sum(np.sin(x) / x)))(X + 1)
    once = simplify(program)
    assert simplify(once) is once
