"""What is true of every pass: programs mean the same before and after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import funcad
from funcad.compile.algebra import apply_algebra
from funcad.compile.common_subexpressions import merge_common_subexpressions
from funcad.compile.constant_folding import fold_constants
from funcad.compile.dead_code import eliminate_dead_code
from funcad.compile.inline import inline
from funcad.compile.simplify import simplify
from funcad.core.program import Program, Var
from funcad.core.tracing import registry
from funcad.transforms.derived import (
    batched,
    differentiated,
    linearized,
    transposed,
)
from program_checks import (
    as_part,
    assert_identical,
    assert_same_bits,
    assert_well_formed,
    copied,
    evaluated,
)
from properties import for_all, generators
from random_programs import Program as Function
from random_programs import programs
from samples import SAMPLES
from samples.table import EVERY_DTYPE, HERE

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

Pass = Callable[[Program], Program]

PASSES = [
    inline,
    fold_constants,
    apply_algebra,
    merge_common_subexpressions,
    eliminate_dead_code,
    simplify,
]
# algebra may give a zero the other sign, which division makes an infinity of
REGARDLESS_OF_ZEROS = (apply_algebra, simplify)

every_pass = pytest.mark.parametrize("transformation", PASSES, ids=lambda p: p.__name__)


def check_pass(transformation: Pass, program: Program, args: Any) -> None:
    """The meaning stays, nothing is mutated, and a second time nothing happens."""
    before = copied(program)
    check_meaning(transformation, program, transformation(program), args)
    check_meaning(transformation, program, as_part(transformation, program), args)
    assert_identical(program, before)
    after = transformation(program)
    assert_identical(transformation(after), after)


def check_meaning(
    transformation: Pass, program: Program, after: Program, args: Any
) -> None:
    assert_well_formed(after)
    assert after.inputs == program.inputs
    assert len(after.outputs) == len(program.outputs)
    wants, gots = program.evaluate(args), evaluated(after, args)
    for got, want in zip(gots, wants, strict=True):
        assert_same_bits(got, want, zeros=transformation not in REGARDLESS_OF_ZEROS)


# ------------------------------------------------------------------- what they run on


def staged(function: Function, args: Any) -> Program:
    return funcad.make_program(lambda *xs: function(*xs))(*args)


def specialized(program: Program, values: dict[int, Any]) -> Program:
    """The program with values written in the place of some of its inputs."""
    given = {program.inputs[i]: value for i, value in values.items()}

    def known(vs: Any) -> list[Any]:
        return [given.get(v, v) if type(v) is Var else v for v in vs]

    return Program(
        [v for v in program.inputs if v not in given],
        [e._replace(inputs=known(e.inputs)) for e in program.equations],
        known(program.outputs),
    )


def doubled(program: Program) -> Program:
    """The equations of a program twice, over other variables, and both results."""
    outputs: list[Any] = []
    equations = []
    for _ in range(2):
        env = {v: v for v in program.inputs}
        for e in program.equations:
            env |= {v: Var(v.shape, v.dtype, v.weak) for v in e.outputs}
            inputs = [env[v] if type(v) is Var else v for v in e.inputs]
            outs = tuple(env[v] for v in e.outputs)
            equations.append(e._replace(inputs=inputs, outputs=outs))
        outputs += [env[v] if type(v) is Var else v for v in program.outputs]
    return Program(program.inputs, equations, outputs)


def directions(program: Program, rng: np.random.Generator) -> list[Any]:
    return [np.asarray(rng.uniform(-1, 1, v.shape)) for v in program.inputs]


def forms(
    function: Function, rng: np.random.Generator
) -> list[tuple[Program, list[Any]]]:
    """What the transforms make of a function, with arguments of each."""
    args = [np.asarray(x) for x in function.draw(rng)]
    program = staged(function, args)
    every = (True,) * len(args)
    found = [(program, args)]

    gradient = funcad.value_and_grad(function, tuple(range(len(args))))
    found.append((funcad.make_program(gradient)(*args), args))
    forward = differentiated(program, every, np.ndarray).program
    found.append((forward, [*args, *directions(program, rng)]))
    known, linear, _ = linearized(program, every, np.ndarray)
    residuals = known.evaluate(args)[len(program.outputs) :]
    found.append((linear, [*residuals, *directions(program, rng)]))
    mask = (*(False for _ in residuals), *every)
    back = transposed(linear, mask, (True,) * len(linear.outputs), np.ndarray).program
    found.append((back, [*residuals, np.float64(0.7)]))
    rows = [np.stack([x, 0.5 * x, x]) for x in args]
    whole = funcad.make_program(gradient)(*args)
    found.append((batched(whole, (0,) * len(args), 3, np.ndarray).program, rows))
    return found


# ----------------------------------------------------------------------------- tests


@every_pass
def test_random_programs_and_their_derived_forms_mean_the_same(transformation):
    @for_all(programs(), generators(), share=0.5)
    def check(function, rng):
        for program, args in forms(function, rng):
            check_pass(transformation, program, args)
            check_pass(transformation, doubled(program), args)


@every_pass
def test_random_programs_of_constants_mean_the_same(transformation):
    @for_all(programs(), generators(), st.integers(0, 3), share=2)
    def check(function, rng, chosen):
        args = [np.asarray(x) for x in function.draw(rng)]
        program = funcad.make_program(
            funcad.value_and_grad(function, tuple(range(len(args))))
        )(*args)
        values = {i: x for i, x in enumerate(args) if chosen >> i & 1}
        rest = [x for i, x in enumerate(args) if i not in values]
        check_pass(transformation, specialized(program, values), rest)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_calls_of_every_primitive_mean_the_same(name):
    @for_all(
        SAMPLES[name].calls(EVERY_DTYPE), generators(), st.integers(0, 3), share=0.3
    )
    def check(call, rng, chosen):
        params = {k: "numpy" if v is HERE else v for k, v in call.params.items()}
        through = SAMPLES[name].through or (lambda p, *xs, **kw: p(*xs, **kw))
        args = call.draw(rng)
        program = funcad.make_program(
            lambda *xs: through(registry[name], *xs, **params)
        )(*args)
        values = {i: x for i, x in enumerate(args) if chosen >> i & 1}
        rest = [x for i, x in enumerate(args) if i not in values]
        for transformation in PASSES:
            check_pass(transformation, doubled(program), args)
            check_pass(transformation, specialized(program, values), rest)
