"""``Program.validate``: what is well formed passes, and what is broken is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import funcad
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import registry
from funcad.errors import ProgramError
from funcad.transforms.derived import batched, differentiated, linearized, transposed
from properties import for_all, generators
from random_programs import programs

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

X = np.array([0.3, -1.2, 2.5])


def staged(f, *args):
    return funcad.make_program(f)(*args)


# ----------------------------------------------------------------- what is well formed


def test_staged_programs_and_their_gradients_are_well_formed():
    @for_all(programs(), generators(), share=2)
    def check(program, rng):
        inputs = program.draw(rng)
        staged(program, *inputs).validate()
        staged(funcad.grad(program), *inputs).validate()
        staged(funcad.vmap(program), *[np.stack([x, x]) for x in inputs]).validate()


def test_linearised_programs_are_linear():
    @for_all(programs(), generators(), share=2)
    def check(program, rng):
        _, tangent_map = funcad.linearize(program, *program.draw(rng))
        tangent_map.program.validate(linear=True)


def test_programs_made_of_a_program_are_well_formed():
    @for_all(programs(), generators(), share=2)
    def check(program, rng):
        inputs = program.draw(rng)
        written = staged(program, *inputs)
        mask = (True,) * len(inputs)
        parts = linearized(written, mask, np.ndarray)
        parts.known.validate()
        count = len(parts.linear.inputs)
        tangents = range(count - len(inputs), count)
        parts.linear.validate(linear=tangents)
        linear = tuple(i in tangents for i in range(count))
        back = transposed(
            parts.linear, linear, (True,) * sum(parts.nonzero), np.ndarray
        )
        back.program.validate(linear=[len(back.program.inputs) - 1])
        differentiated(written, mask, np.ndarray).program.validate()
        batched(written, (0,) * len(inputs), 2, np.ndarray).program.validate()


def test_programs_are_well_formed_after_all_passes():
    @for_all(programs(), generators(), share=2)
    def check(program, rng):
        for f in (program, funcad.grad(program)):
            funcad.jit(f).lower(*program.draw(rng)).optimized.validate()


def test_programs_of_jitted_functions_are_well_formed():
    inner = funcad.jit(lambda x: np.sum(np.tanh(x) * 2.0))
    for f in (inner, funcad.grad(inner), funcad.jit(funcad.grad(inner))):
        staged(f, X).validate()
    funcad.linearize(inner, X)[1].program.validate(linear=True)


def test_numbers_are_told_from_arrays():
    program = staged(lambda x, s: x * s + 1.5, X.astype(np.float32), 2.0)
    assert [v.weak for v in program.inputs] == [None, float]
    program.validate()


# ---------------------------------------------------------------------- what is broken


def mutations(program: Program) -> dict[str, Program]:
    """The program broken in every way at every place, by name."""
    equations = program.equations
    broken: dict[str, Program] = {}

    def put(name: str, i: int, *new: Equation) -> None:
        changed = [*equations[:i], *new, *equations[i + 1 :]]
        broken[f"{name}, equation {i}"] = Program(
            program.inputs, changed, program.outputs
        )

    used = {v for e in equations for v in e.inputs if isinstance(v, Var)}
    used |= {v for v in program.outputs if isinstance(v, Var)}
    stranger = Var((2,), np.dtype(float))
    for i, e in enumerate(equations):
        out = e.outputs[0]
        if any(v in used for v in e.outputs):
            put("left out", i)
        put("twice", i, e, e)
        # what is read in place of a variable was never defined
        for k, v in enumerate(e.inputs):
            if isinstance(v, Var):
                inputs = [*e.inputs]
                inputs[k] = stranger
                put(f"operand {k} unknown", i, e._replace(inputs=inputs))
                inputs = [*e.inputs]
                inputs[k] = "text"
                put(f"operand {k} a text", i, e._replace(inputs=inputs))
        put("itself", i, e._replace(inputs=[out, *e.inputs[1:]]))
        wrong = {
            "shape": Var((*out.shape, 7), out.dtype),
            "dtype": Var(out.shape, np.dtype("int8" if out.dtype != "i1" else "f4")),
        }
        for what, v in wrong.items():
            # the wrong type from here on
            renamed = [
                f._replace(inputs=[v if w is out else w for w in f.inputs])
                for f in equations[i + 1 :]
            ]
            first = e._replace(outputs=(v, *e.outputs[1:]))
            outputs = [v if w is out else w for w in program.outputs]
            broken[f"{what} of the result, equation {i}"] = Program(
                program.inputs, [*equations[:i], first, *renamed], outputs
            )
        put("a result more", i, e._replace(outputs=(*e.outputs, Var((), out.dtype))))
        put("no result", i, e._replace(outputs=()))
        put("a parameter more", i, e._replace(params={**e.params, "colour": 1}))
        put("no primitive", i, e._replace(primitive="sin"))
        for key in e.params:
            fewer = {k: p for k, p in e.params.items() if k != key}
            put(f"without {key}", i, e._replace(params=fewer))
        put("defines an input", i, e._replace(outputs=(program.inputs[0],)))
    broken["unknown output"] = Program(program.inputs, equations, [stranger])
    broken["output a text"] = Program(program.inputs, equations, ["text"])
    broken["input twice"] = Program(
        [*program.inputs, program.inputs[0]], equations, program.outputs
    )
    broken["input no variable"] = Program(
        [*program.inputs, 1.0], equations, program.outputs
    )
    return broken


def test_programs_that_are_broken_do_not_pass():
    @for_all(programs(), generators(), st.data(), share=2)
    def check(program, rng, data):
        written = staged(program, *program.draw(rng))
        broken = mutations(written)
        names = st.lists(st.sampled_from(sorted(broken)), min_size=8, max_size=8)
        for name in data.draw(names):
            with pytest.raises(ProgramError):
                broken[name].validate()
                raise AssertionError(f"{name} passed in\n{broken[name]}")


def by_hand(
    primitive: Any = "sin", inputs: Any = None, output: Any = None, params: Any = None
) -> Program:
    x = Var((3,), np.dtype(float))
    out = Var((3,), np.dtype(float)) if output is None else output
    inputs = [x] if inputs is None else inputs
    equation = Equation(
        registry[primitive], inputs, params or {}, (out,), (__file__, 1)
    )
    return Program([x], [equation], [out])


def test_a_wrong_type_is_named_with_both_types_the_equation_and_the_users_line():
    with pytest.raises(ProgramError) as caught:
        by_hand(output=Var((4,), np.dtype("f4"))).validate()
    text = str(caught.value)
    assert "declared float32[4]" in text and "says float64[3]" in text
    assert "in b:float32[4] = sin a" in text
    assert f'{__file__}:1: """' in text


@pytest.mark.parametrize(
    "program, message",
    [
        (by_hand(inputs=[Var((3,), np.dtype(float))]), "read before it is defined"),
        (by_hand(inputs=["text"]), "'text' is no array and no number"),
        (by_hand(inputs=[None]), "None is no array"),
        (
            by_hand("reshape", params={"shape": (7,), "colour": 1}),
            "reshape does not take",
        ),
        (by_hand("matmul"), r"matmul does not take float64\[3\]: TypeError"),
        (by_hand(output=Var([3], np.dtype(float))), "not a tuple of sizes"),
        (
            by_hand(output=Var((3,), "text")),
            "which are not a tuple of sizes and a dtype",
        ),
        (by_hand(output=Var((-3,), np.dtype(float))), "not a tuple of sizes"),
        (
            by_hand(output=Var((3,), np.dtype(float), float)),
            "said to be a Python number",
        ),
    ],
)
def test_each_fault_has_its_message(program, message):
    with pytest.raises(ProgramError, match=message):
        program.validate()


def test_a_program_within_a_program_is_checked_and_named():
    bad = by_hand(output=Var((4,), np.dtype(float)))
    outer = by_hand("jit_call", params={"program": bad, "name": "f"})
    with pytest.raises(ProgramError, match="in a program held by jit_call: the result"):
        outer.validate()


def test_a_call_is_given_what_the_program_takes():
    inner = by_hand()
    for inputs in ([], [2.0], [X, X], [X.astype("f4")], [X[:2]]):
        params = {"program": inner, "name": "f"}
        with pytest.raises(ProgramError, match="calls takes float64"):
            by_hand("jit_call", inputs=inputs, params=params).validate()


def test_a_tracer_whose_transform_has_ended_is_refused():
    kept = []
    funcad.vmap(lambda x: kept.append(x) or x)(X)
    with pytest.raises(ProgramError, match="of a transform that has ended"):
        by_hand("add", inputs=[1.0, kept[0]]).validate()


def test_a_tracer_whose_transform_is_running_is_not():
    def f(x):
        program = funcad.make_program(lambda y: y * x)(2.0)
        program.validate()
        return program.evaluate([2.0])[0]

    assert funcad.grad(f)(3.0) == 2.0


# --------------------------------------------------------------------------- linearity


@pytest.mark.parametrize(
    "f, message",
    [
        (np.sin, "sin is not linear, it has no transpose"),
        (lambda x: x * x, "multiply: several operands depend"),
        (lambda x: 1 / x, "divide is not linear in operand 1"),
        (lambda x: x + 1.0, "operand 1 of add does not depend on the inputs"),
        (lambda x: x - X, "operand 1 of subtract does not depend"),
        (lambda x: np.concatenate([x, X]), "operand 1 of concatenate does not depend"),
        (lambda x: np.where(X > 0, x, 1.0), "operand 2 of select does not depend"),
        (lambda x: X, "an output of type .* does not depend"),
        (lambda x: (x, 2.0), "an output of type float does not depend"),
        (funcad.jit(lambda x: x + 1.0), "operand 1 of add|does not depend"),
        (lambda x: x @ np.outer(x, x), "matmul"),
    ],
)
def test_what_is_not_linear_is_named(f, message):
    program = staged(f, X)
    program.validate()
    with pytest.raises(ProgramError, match=message) as caught:
        program.validate(linear=True)
    assert "not linear in its inputs" in str(caught.value)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * 2.0 + x @ np.ones((3, 3)),
        lambda x: np.where(X > 0, x, 0.0),
        lambda x: np.concatenate([x, 0 * X]),
        lambda x: np.fft.rfft(x[::-1]),
        lambda x: np.cumsum(np.take(x, [0, 0, 2])),
        funcad.jit(lambda x: x / 3.0),
        lambda x: (x, np.sum(x)),
    ],
)
def test_what_is_linear_passes(f):
    staged(f, X).validate(linear=True)


def test_linearity_may_be_asked_of_some_inputs():
    program = staged(lambda x, y: x * np.sin(y), X, X)
    program.validate(linear=[0])
    for numbers in ([1], [0, 1], True):
        with pytest.raises(ProgramError, match="not linear"):
            program.validate(linear=numbers)
    with pytest.raises(ProgramError, match=r"there is no input 2.*has 2 inputs"):
        program.validate(linear=[2])


# --------------------------------------------------------------------------- arguments


def test_a_call_checks_its_arguments():
    program = staged(lambda x, s: x * s, X.astype(np.float32), 2.0)
    assert program(X.astype(np.float32), 3.0)[0].dtype == np.float32
    with pytest.raises(ProgramError, match=r"2 arguments \(float32\[3\], float\)"):
        program(X)
    with pytest.raises(
        ProgramError, match=r"argument 0 .* float32\[3\], and was float64"
    ):
        program(X, 2.0)
    with pytest.raises(ProgramError, match=r"argument 0 .* and was float32\[2\]"):
        program(X[:2].astype(np.float32), 2.0)
    with pytest.raises(
        ProgramError, match="argument 1 .* should be float, and was int"
    ):
        program(X.astype(np.float32), 2)
    with pytest.raises(ProgramError, match="argument 1 .* was of type str"):
        program(X.astype(np.float32), "2")


def test_numbers_and_arrays_without_axes_stand_for_one_another():
    number = staged(lambda s: s * np.float32(2), 2.0)
    (out,) = number(np.float64(3.0))
    assert (out, out.dtype) == (6.0, np.float32)
    array = staged(lambda s: s * X, np.array(2.0))
    for s in (2, 2.0, True):
        np.testing.assert_array_equal(array(s)[0], s * X)
    with pytest.raises(ProgramError, match=r"should be int64\[\], and was float"):
        staged(lambda n: n + 1, np.array(2))(2.0)


def test_a_call_takes_the_tracers_of_every_transform():
    program = staged(lambda x, s: np.sum(np.sin(x) * s), X, 2.0)
    gradient = funcad.grad(lambda x: program(x, 2.0)[0])(X)
    np.testing.assert_allclose(gradient, 2 * np.cos(X))
    slope = funcad.grad(lambda s: program(X, s)[0])(2.0)
    np.testing.assert_allclose(slope, np.sum(np.sin(X)))
    rows = np.stack([X, X + 1])
    batch = funcad.vmap(lambda x: program(x, 2.0)[0])(rows)
    np.testing.assert_allclose(batch, 2 * np.sin(rows).sum(1))
    again = staged(lambda x, s: program(x, s)[0], X, 2.0)
    assert again == program
