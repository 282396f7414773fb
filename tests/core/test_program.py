"""Programs: made by hand, run under every trace, and read as text."""

import numpy as np
import pytest

import funcad
from differences import assert_close, assert_same
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import ShapedArray, registry
from funcad.transforms.linear import transpose

X = np.array([0.3, -1.2, 2.5])
FLOAT = np.dtype(float)


def var(*shape, dtype=FLOAT):
    return Var(shape, dtype)


def by_hand():
    """sum(sin(x) * c), with a second output that is x itself."""
    x, sine, product, total = var(3), var(3), var(3), var()
    equations = [
        Equation(registry["sin"], [x], {}, (sine,)),
        Equation(registry["multiply"], [sine, X], {}, (product,)),
        Equation(
            registry["reduce_sum"],
            [product],
            {"axis": (0,), "keepdims": False},
            (total,),
            (__file__, 1),
        ),
    ]
    return Program([x], equations, [total, x, X, 2.0])


def test_a_program_evaluates_its_equations_in_order():
    out = by_hand().evaluate([X])
    assert_close(out, [np.sum(np.sin(X) * X), X, X, 2.0])


def test_a_program_is_differentiated_batched_and_staged_by_evaluating_it():
    program = by_hand()

    def f(x):
        return program.evaluate([x])[0]

    assert_close(funcad.grad(f)(X), np.cos(X) * X)
    rows = np.stack([X, X + 1])
    assert_close(funcad.vmap(f)(rows), np.sin(rows) @ X)
    assert_close(funcad.make_program(f)(X).evaluate([rows[1]]), [f(rows[1])])


def test_an_equation_may_have_several_results_or_none_that_is_used():
    x, left, right = var(3), var(1), var(2)
    split = Equation(
        registry["split"], [x], {"sizes": (1, 2), "axis": 0}, (left, right)
    )
    program = Program([x], [split], [right, None])
    assert_same(program.evaluate([X]), [X[1:], None])
    (ct,) = transpose(program, [np.ones(2), None])
    assert_same(ct, np.array([0.0, 1.0, 1.0]))


def test_text_has_an_equation_a_line():
    assert str(by_hand()).splitlines() == [
        "program(a:float64[3]) {",
        "  b:float64[3] = sin a",
        "  c:float64[3] = multiply b <float64[3]>",
        "  d:float64[] = reduce_sum[axis=(0,), keepdims=False] c",
        "  return (d, a, <float64[3]>, 2.0)",
        "}",
    ]
    assert repr(by_hand()) == str(by_hand())


def test_text_names_lines_where_they_are_known():
    rows = by_hand().pretty(lines=True).splitlines()
    assert rows[3].endswith(
        f'# {__file__}:1: """Programs: made by hand, run under every '
        'trace, and read as text."""'
    )
    assert "#" not in rows[1]


def test_a_zero_of_a_linear_program_is_shown_as_such():
    assert "return (0)" in str(Program([var(3)], [], [None]))


def test_constants_are_distinct_arrays():
    program = by_hand()
    assert [c is X for c in program.constants] == [True]


def test_variables_know_their_form():
    v = var(2, 3)
    assert (v.ndim, v.shape, v.dtype) == (2, (2, 3), FLOAT)
    assert repr(v) == "Var(float64[2,3])"
    assert str(ShapedArray((), np.dtype(np.int8))) == "int8[]"
    assert len({var(3), var(3)}) == 2


def test_the_number_of_arguments_is_checked():
    with pytest.raises(ValueError, match="argument"):
        by_hand().evaluate([])
