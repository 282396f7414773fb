"""Programs that hold loops and branches: cost, comparison, pickling."""

import pickle

import numpy as np

import funcad
from funcad import lax

XS, W = np.ones((5, 3)), np.ones(3)


def looped(w, xs):
    return lax.scan(lambda c, x: (np.tanh(c * w + x), c), w, xs)


def chosen(flag, w):
    return lax.cond(flag, lambda w: w * w * w, lambda w: w, w)


def repeated(w):
    return lax.while_loop(lambda w: np.sum(w) > 1, lambda w: w * 0.5, w)


def test_a_loop_costs_its_length_times_its_body():
    program = funcad.make_program(looped)(W, XS)
    (loop,) = program.equations
    body = loop.params["body"]
    assert body.cost().flops > 0
    assert program.cost().flops == 5 * body.cost().flops


def test_a_branch_costs_what_the_dearest_one_does():
    program = funcad.make_program(chosen)(True, W)
    *_, branch = program.equations
    costs = [p.cost().flops for p in branch.params["branches"]]
    assert costs[0] == 0
    assert program.cost().rows[-1].flops == costs[1] > 0


def test_programs_compare_and_pickle_with_the_programs_that_they_hold():
    gradient = funcad.grad(lambda w, xs: np.sum(looped(w, xs)[0]))
    for f, args in ((gradient, (W, XS)), (chosen, (True, W)), (repeated, (W,))):
        program = funcad.make_program(f)(*args)
        assert program == funcad.make_program(f)(*args)
        copy = pickle.loads(pickle.dumps(program))
        assert copy == program
        for got, want in zip(copy.evaluate(args), program.evaluate(args), strict=True):
            np.testing.assert_array_equal(got, want)
    shorter = funcad.make_program(gradient)(W, XS[1:])
    assert shorter != funcad.make_program(gradient)(W, XS)
