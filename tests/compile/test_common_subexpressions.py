"""Common subexpressions: what counts as the same, and what does not."""

import numpy as np
import pytest

import funcad
from funcad.compile.common_subexpressions import merge_common_subexpressions
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import Primitive, registry
from program_checks import as_part, assert_same_bits, counts

X = np.array([0.3, -1.2, 2.5])
FLOAT = np.dtype(float)


def merged(f, *args):
    program = funcad.make_program(f)(*args)
    after = as_part(merge_common_subexpressions, program)
    for got, want in zip(after.evaluate(args), program.evaluate(args), strict=True):
        assert_same_bits(got, want)
    return counts(after)


def test_what_is_computed_twice_is_computed_once():
    assert merged(lambda x: np.sin(x) + np.sin(x), X) == {"sin": 1, "add": 1}


def test_merging_goes_on_from_what_was_merged():
    def f(x):
        return np.exp(np.sin(x)) * 2 + np.exp(np.sin(x)) * 2

    assert merged(f, X) == {"sin": 1, "exp": 1, "multiply": 1, "add": 1}


def test_the_order_of_operands_and_the_operation_matter():
    assert merged(lambda x, y: (x - y) * (y - x) + (x / y), X, X) == {
        "subtract": 2,
        "multiply": 1,
        "divide": 1,
        "add": 1,
    }


def test_parameters_matter():
    x = np.ones((2, 3))
    assert merged(lambda x: (np.sum(x, 0), np.sum(x, 1)), x) == {"reduce_sum": 2}
    assert merged(lambda x: (np.sum(x, 1), np.sum(x, 1)), x) == {"reduce_sum": 1}
    keepdims = merged(lambda x: (np.sum(x, 1), np.sum(x, 1, keepdims=True)), x)
    assert keepdims == {"reduce_sum": 2}


def test_slices_are_compared_by_their_bounds():
    assert merged(lambda x: x[1:] * x[1:] - x[:-1], X) == {
        "index": 2,
        "multiply": 1,
        "subtract": 1,
    }
    assert merged(lambda x: (x[0], x[False]), X)["index"] == 2


@pytest.mark.parametrize(
    "pair",
    [(1, 1.0), (1, True), (0.0, -0.0), (1.0, 1 + 0j), (0j, -0j), (2, 3)],
    ids=repr,
)
def test_numbers_that_differ_in_type_or_in_the_sign_of_zero_are_not_the_same(pair):
    assert merged(lambda x: tuple(x * c for c in pair), X) == {"multiply": 2}


def test_equal_numbers_are_the_same():
    assert merged(lambda x: (x * float("2.5"), x * 2.5), X) == {"multiply": 1}
    assert merged(lambda x: (x + np.nan, x + float("nan")), X) == {"add": 1}


def test_scalars_of_numpy_are_compared_with_their_dtypes():
    assert merged(lambda x: (x * np.float64(2), x * np.float64(2)), X) == {
        "multiply": 1
    }
    single = X.astype("f")
    assert merged(lambda x: (x * np.float64(2), x * np.float32(2)), single) == {
        "multiply": 2
    }
    assert merged(lambda x: (x + np.float64(0), x + np.float64(-0.0)), X) == {"add": 2}


def test_arrays_are_the_same_where_they_are_one_object():
    c, d = X.copy(), X.copy()
    assert merged(lambda x: (x * c, x * c), X) == {"multiply": 1}
    assert merged(lambda x: (x * c, x * d), X) == {"multiply": 2}


def test_all_results_of_an_equation_are_merged():
    assert merged(lambda x: (*np.split(x, 3), *np.split(x, 3)), X) == {"split": 1}


def test_parameters_that_cannot_be_hashed_are_left_alone():
    class Unhashable(list):
        __hash__ = None

    identity = Primitive(
        "identity_of_the_tests",
        lambda x, **params: x,
        lambda x, **params: (x.shape, x.dtype),
    )
    try:
        x = Var((3,), FLOAT)
        a, b, c, d = (Var((3,), FLOAT) for _ in range(4))

        def equation(out, **params):
            return Equation(identity, [x], params, (out,))

        program = Program(
            [x],
            [
                equation(a, mark=Unhashable()),
                equation(b, mark=Unhashable()),
                equation(c, options={"k": [1, 2]}),
                equation(d, options={"k": [1, 2]}),
            ],
            [a, b, c, d],
        )
        after = as_part(merge_common_subexpressions, program)
        assert after.outputs == [a, b, c, c]
        after = merge_common_subexpressions(
            Program([x], [equation(c, start=0), equation(d, start=False)], [c, d])
        )
        assert after.outputs == [c, d]
    finally:
        del registry[identity.name]


def test_programs_in_parameters_are_compared_by_identity():
    run = Primitive(
        "run_of_the_tests",
        lambda x, program: program.evaluate([x])[0],
        lambda x, program: (x.shape, x.dtype),
    )
    try:
        p, q = (funcad.make_program(np.sin)(X) for _ in range(2))
        assert merged(lambda x: (run(x, program=p), run(x, program=p)), X) == {
            run.name: 1
        }
        assert merged(lambda x: (run(x, program=p), run(x, program=q)), X) == {
            run.name: 2
        }
    finally:
        del registry[run.name]


def test_opaque_equations_are_not_merged_nor_what_depends_on_them():
    barrier = Primitive(
        "barrier_of_the_tests",
        lambda x: x,
        lambda x: (x.shape, x.dtype),
        opaque=True,
    )
    try:
        assert merged(lambda x: np.sin(barrier(x)) + np.sin(barrier(x)), X) == {
            barrier.name: 2,
            "sin": 2,
            "add": 1,
        }
    finally:
        del registry[barrier.name]


def test_results_that_the_caller_sees_stay_two():
    def f(x):
        y, z = x * 2, x * 2
        return x * 2, y.T, z.T, x * 2 + 1, x.T, x.T

    program = funcad.make_program(f)(X[None])
    after = merge_common_subexpressions(program)
    assert counts(after) == {"multiply": 3, "transpose": 3, "add": 1}
    outs = after.evaluate([X[None]])
    for i, out in enumerate(outs[:4]):
        assert not any(np.shares_memory(out, other) for other in outs[:i])


def test_a_result_that_the_caller_sees_may_be_used_for_others():
    program = funcad.make_program(lambda x: (np.sin(x), np.cos(np.sin(x))))(X)
    after = merge_common_subexpressions(program)
    assert counts(after) == {"sin": 1, "cos": 1}
    program = funcad.make_program(lambda x: (np.cos(np.sin(x)), np.sin(x)))(X)
    assert counts(merge_common_subexpressions(program)) == {"sin": 1, "cos": 1}


def test_a_program_without_repetition_is_returned_itself():
    program = funcad.make_program(lambda x: np.sin(x) + np.cos(x))(X)
    assert merge_common_subexpressions(program) is program
