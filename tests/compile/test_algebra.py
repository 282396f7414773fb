"""Algebra: which identities are applied, and where they would not hold."""

import numpy as np
import pytest

import funcad
import funcad.numpy as fnp
from funcad.compile.algebra import apply_algebra
from funcad.compile.dead_code import eliminate_dead_code
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import Primitive, registry
from program_checks import (
    as_part,
    assert_same_bits,
    assert_well_formed,
    counts,
    evaluated,
)
from properties import for_all, generators

FLOAT = np.dtype(float)
X = np.array([[0.3, -0.0, 2.5], [0.0, np.nan, -np.inf]])
SINGLE = X.astype("f")
COMPLEX = np.array([complex(-0.0, np.inf), complex(0.0, -0.0), 1 - 2j])
INTEGERS = np.array([[3, 0, -2]])

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

p = registry


def simplest(f, *args, zeros=True):
    """What is left of a function, which gives the same bits."""
    program = funcad.make_program(f)(*args)
    after = eliminate_dead_code(as_part(apply_algebra, program))
    assert_well_formed(after)
    wants = program.evaluate(args)
    for got, want in zip(evaluated(after, args), wants, strict=True):
        assert_same_bits(got, want, zeros)
    return counts(after)


# ------------------------------------------------------------------------ arithmetic


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * 1,
        lambda x: 1.0 * x,
        lambda x: x * np.float32(1),
        lambda x: x / 1,
        lambda x: x - 0,
        lambda x: x - 0.0,
        lambda x: np.negative(-x),
        lambda x: +x,
        lambda x: x**1,
        lambda x: funcad.stop_gradient(x),
        lambda x: np.conjugate(x),
        lambda x: np.real(x),
    ],
)
@pytest.mark.parametrize("x", [X, SINGLE, X[0, 0], np.zeros((0, 2))], ids=str)
def test_operations_that_change_nothing_disappear(f, x):
    assert simplest(f, x) == {}


@pytest.mark.parametrize(
    "f, primitive",
    [
        (lambda x: x + 0.0, "add"),
        (lambda x: x + 0, "add"),
        (lambda x: x - -0.0, "subtract"),
        (lambda x: x * 0, "multiply"),
        (lambda x: x - x, "subtract"),
        (lambda x: x / x, "divide"),
        (lambda x: 0 - x, "subtract"),
    ],
)
def test_a_zero_of_the_other_sign_and_nan_forbid_other_identities(f, primitive):
    assert simplest(f, X) == {primitive: 1}


def test_zero_may_be_added_to_integers():
    assert simplest(lambda n: n + 0, INTEGERS) == {}
    assert simplest(lambda n: n * 1, INTEGERS) == {}


@pytest.mark.parametrize(
    "f, x",
    [
        (lambda n: n * 1.0, INTEGERS),
        (lambda n: n / 1, INTEGERS),
        (lambda n: n - 0.0, INTEGERS),
        (lambda b: b * 1, INTEGERS > 0),
        (lambda b: b + 0, INTEGERS > 0),
        (lambda x: x * np.float64(1), SINGLE),
        (lambda x: x * 1j, X),
    ],
)
def test_operations_that_change_the_dtype_stay(f, x):
    assert sum(simplest(f, x).values()) == 1


@pytest.mark.parametrize("f", [lambda z: z * 1, lambda z: 1.0 * z, lambda z: z / 1])
def test_an_infinite_part_of_a_complex_number_forbids_to_drop_a_factor_of_one(f):
    assert sum(simplest(f, COMPLEX).values()) == 1


def test_broadcasting_against_a_one_is_kept():
    ones = np.ones((2, 3))
    assert simplest(lambda x: x * ones, X[0]) == {"multiply": 1}
    assert simplest(lambda x: x * np.float64(1), X[0]) == {}


def test_numbers_stay_numbers():
    program = funcad.make_program(lambda n, x: (n * 1, (n * 1) * x))(2.0, SINGLE)
    after = as_part(apply_algebra, program)
    assert counts(after) == {"multiply": 1}
    assert type(after.evaluate([2.0, SINGLE])[0]) is float
    for got, want in zip(
        evaluated(after, [0.1, SINGLE]), program.evaluate([0.1, SINGLE]), strict=True
    ):
        assert_same_bits(got, want)
    # a number of Python that is made NumPy's is another thing
    assert simplest(lambda n: np.positive(n), 2.0) == {"positive": 1}
    assert simplest(lambda n: n**2, 2.0) == {"power": 1}


def test_signs_are_taken_into_what_follows():
    y = X[::-1]
    assert simplest(lambda x, y: x + -y, X, y) == {"subtract": 1}
    assert simplest(lambda x, y: -x + y, X, y) == {"subtract": 1}
    assert simplest(lambda x, y: x - -y, X, y) == {"add": 1}
    assert simplest(lambda x, y: -x * -y, X, y) == {"multiply": 1}
    assert simplest(lambda x: -x * 3, X) == {"multiply": 1}
    assert simplest(lambda x: -(0.5 * x), X) == {"multiply": 1}
    assert simplest(lambda x: -x / 3, X) == {"divide": 1}
    assert simplest(lambda x: x * -1, X) == {"negative": 1}


def test_signs_stay_where_taking_them_would_change_the_result():
    bytes_ = np.array([1, 2, 200], np.uint8)
    wide = np.array([1000, 2000, 3000])
    assert simplest(lambda b, w: w + -b, bytes_, wide) == {"negative": 1, "add": 1}
    assert simplest(lambda b: -b * 3, bytes_) == {"negative": 1, "multiply": 1}
    assert simplest(lambda b: -(b * 3), bytes_) == {"multiply": 1, "negative": 1}
    # -(x * 0) is not x * -0, an integer without a sign
    assert simplest(lambda x: -(x * 0), X) == {"multiply": 1, "negative": 1}


def test_the_sign_of_a_quotient_is_that_of_the_smaller_operand():
    program = funcad.make_program(lambda x, y: -x / y)(X, X[:, :1])
    after = eliminate_dead_code(apply_algebra(program))
    assert [e.outputs[0].shape for e in after.equations] == [(2, 1), (2, 3)]
    assert counts(after) == {"negative": 1, "divide": 1}
    wants = program.evaluate([X, X[:, :1]])
    assert_same_bits(after.evaluate([X, X[:, :1]])[0], wants[0])


def test_the_sign_of_a_sum_is_taken_once():
    program = funcad.make_program(lambda x: np.sum(-x, 1))(X)
    after = eliminate_dead_code(apply_algebra(program))
    assert [e.outputs[0].shape for e in after.equations] == [(2,), (2,)]
    assert_same_bits(after.evaluate([X])[0], program.evaluate([X])[0], zeros=False)
    unsigned = np.array([1, 2], np.uint8)
    assert simplest(lambda n: np.sum(-n), unsigned) == {"negative": 1, "reduce_sum": 1}


@pytest.mark.parametrize("dtype", "efd")
@pytest.mark.parametrize("c", [2, 0.5, -4, 64.0, 2**14, 2**-14])
def test_dividing_by_a_power_of_two_is_multiplying(dtype, c):
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([1, 3 * tiny, 5 * tiny, np.finfo(dtype).max, -0.0, np.nan], dtype)
    assert simplest(lambda x: x / c, x) == {"multiply": 1}


def test_dividing_by_other_numbers_stays():
    assert simplest(lambda x: x / 3, X) == {"divide": 1}
    assert simplest(lambda x: x / 2**200, X) == {"divide": 1}
    assert simplest(lambda x: np.sum(x) / 2, X) == {"reduce_sum": 1, "divide": 1}
    assert simplest(lambda x: x / 0, X) == {"divide": 1}
    assert simplest(lambda n: n / 2, INTEGERS) == {"divide": 1}


@pytest.mark.parametrize(
    "exponent, primitive",
    [(2, "square"), (2.0, "square"), (0.5, "sqrt"), (-1, "reciprocal"), (3, "power")],
)
@pytest.mark.parametrize("x", [X, SINGLE, np.array([-np.inf, -0.0, 0.0, 2.0])], ids=str)
def test_powers_are_computed_as_the_operator_does(x, exponent, primitive):
    assert simplest(lambda x: x**exponent, x) == {primitive: 1}
    program = apply_algebra(funcad.make_program(lambda x: x**exponent)(x))
    assert_same_bits(program.evaluate([x])[0], x**exponent)


def test_powers_of_integers_and_of_other_dtypes_stay():
    assert simplest(lambda n: n**2, INTEGERS) == {"power": 1}
    assert simplest(lambda n: n**0.5, INTEGERS + 3) == {"power": 1}
    assert simplest(lambda x: x ** np.float64(2), SINGLE) == {"power": 1}


def test_conjugates_of_conjugates():
    assert simplest(lambda z: np.conjugate(np.conjugate(z)), COMPLEX) == {}
    assert simplest(lambda z: np.conjugate(z), COMPLEX) == {"conjugate": 1}


# ---------------------------------------------------------------------- weighted sums


@pytest.mark.parametrize(
    "f, want",
    [
        (lambda x: -x, {"negative": 1}),
        (lambda x: x + 1, {}),
        (lambda x: x + x, {"add": 1}),
        (lambda x: np.sin(x), {"multiply": 1}),
        (lambda x: x - np.sin(x), {"multiply": 1, "subtract": 1}),
    ],
)
def test_weighted_sums_become_sums_and_products(f, want):
    x = X[0]
    program = funcad.make_program(lambda t: funcad.jvp(f, (x,), (t,))[1])(x)
    assert "weighted_sum" in counts(program)
    assert simplest(lambda t: funcad.jvp(f, (x,), (t,))[1], x) == want


def test_weighted_sums_keep_their_shape_and_dtype():
    row, t = np.ones((2, 3)), np.ones(3, "f")
    found = simplest(lambda t: funcad.jvp(lambda x: x + row, (t,), (t,))[1], t)
    assert found == {"convert": 1, "broadcast_to": 1}


# ------------------------------------------------------------------- shapes and dtypes


def test_conversions_to_the_same_dtype_disappear():
    convert = p["convert"]
    assert simplest(lambda x: convert(x, dtype=FLOAT), X) == {}
    assert simplest(lambda x: convert(x, dtype=np.dtype("f")), X) == {"convert": 1}
    # a number of Python is not an array of the same dtype
    assert simplest(lambda x: convert(x, dtype=FLOAT), 2.0) == {"convert": 1}


@pytest.mark.parametrize(
    "first, second, left",
    [
        ("d", "f", 0),  # there and back
        ("d", "e", 1),
        ("e", "d", 2),  # rounds
        ("F", "f", 2),  # drops what is imaginary; another kind
        ("l", "f", 2),
    ],
)
def test_a_conversion_through_a_wider_dtype_is_one(first, second, left):
    convert = p["convert"]

    def f(x):
        return convert(convert(x, dtype=np.dtype(first)), dtype=np.dtype(second))

    x = np.array([0.1, 3.7], "f")
    assert simplest(f, x).get("convert", 0) == left


def test_integers_are_not_converted_past_a_float():
    convert = p["convert"]
    n = np.array([2**53 + 1])
    assert simplest(
        lambda n: convert(convert(n, dtype=FLOAT), dtype=np.dtype("l")), n
    ) == {"convert": 2}


def test_reshapes_of_reshapes():
    x = np.arange(6.0)
    assert simplest(lambda x: p["reshape"](x, shape=(6,)), x) == {}
    assert simplest(lambda x: x.reshape(2, 3).reshape(6), x) == {}
    assert simplest(lambda x: x.reshape(2, 3).reshape(3, 2), x) == {"reshape": 1}
    assert simplest(lambda x: x[None][0].reshape(3, 2), x) == {"index": 2, "reshape": 1}
    # the copy that the first makes is made once
    assert simplest(lambda x: x.T.reshape(6).reshape(2, 3), X) == {
        "transpose": 1,
        "reshape": 2,
    }


def test_transposes_of_transposes():
    x = np.ones((2, 3, 4))
    assert simplest(lambda x: p["transpose"](x, axes=(0, 1, 2)), x) == {}
    assert simplest(lambda x: x.T.T, x) == {}
    turned = funcad.make_program(lambda x: x.transpose(1, 2, 0).transpose(1, 2, 0))(x)
    after = eliminate_dead_code(apply_algebra(turned))
    assert [e.params for e in after.equations] == [{"axes": (2, 0, 1)}]
    assert simplest(lambda x: x.transpose(1, 2, 0).transpose(1, 2, 0), x) == {
        "transpose": 1
    }


def test_broadcasts_of_broadcasts():
    broadcast = p["broadcast_to"]
    assert simplest(lambda x: broadcast(x, shape=(2, 3)), X) == {}
    assert simplest(
        lambda x: broadcast(broadcast(x, shape=(2, 3)), shape=(4, 2, 3)), X[0]
    ) == {"broadcast_to": 1}


@pytest.mark.parametrize("f", [np.add, np.multiply, np.maximum, np.less])
def test_what_is_broadcast_by_its_partner_is_not_broadcast_before(f):
    broadcast = p["broadcast_to"]
    name = f.__name__

    def one(x, y):
        return f(broadcast(x, shape=(2, 3)), y)

    def both(x, y):
        return f(broadcast(x, shape=(2, 3)), broadcast(y, shape=(2, 3)))

    assert simplest(one, X[0], X) == {name: 1}
    assert simplest(one, X[0, 0], X) == {name: 1}
    assert simplest(one, X[0], X[:, :1]) == {name: 1}
    assert simplest(both, X[0], X[:, :1]) == {name: 1}
    assert simplest(both, X[0], X[:1]) == {"broadcast_to": 1, name: 1}
    assert simplest(one, X[0], X[0]) == {"broadcast_to": 1, name: 1}


def test_a_number_of_python_that_is_broadcast_decides_about_the_dtype():
    broadcast = p["broadcast_to"]

    def f(n, x):
        return broadcast(n, shape=(2, 3)) * x

    assert simplest(f, 2.0, SINGLE) == {"broadcast_to": 1, "multiply": 1}
    assert simplest(f, np.float64(2), SINGLE) == {"multiply": 1}


def test_sums_over_no_axes():
    for axis in ((), None):
        program = funcad.make_program(lambda x, a=axis: np.sum(x, axis=a))(X[0, 0])
        assert as_part(apply_algebra, program).equations == []
    small = np.ones((2, 3), np.int8)
    assert simplest(lambda n: np.sum(n, axis=()), small) == {"reduce_sum": 1}


def test_parts_that_are_the_whole():
    x = np.arange(6.0).reshape(2, 3)
    assert simplest(lambda x: p["split"](x, sizes=(2,), axis=0)[0], x) == {}
    assert simplest(lambda x: p["concatenate"](x, axis=1), x) == {}
    assert simplest(lambda x: p["pad"](x, widths=((0, 0), (0, 0))), x) == {}
    whole = (slice(None), Ellipsis)
    assert simplest(lambda x: p["index"](x, template=whole), x) == {}
    assert simplest(lambda x: p["embed"](x, shape=(2, 3), template=whole), x) == {}
    for template in ((slice(1, None),), (0,), (None,), (slice(None, None, -1),)):
        found = simplest(lambda x, t=template: p["index"](x, template=t), x)
        assert found == {"index": 1}


# ------------------------------------------------------------------------ the walk


def test_identities_are_applied_to_what_others_left():
    def f(x, y):
        return fnp.negative((x * 1) / 1) + (y.T.T - 0.0)

    assert simplest(f, X, X) == {"subtract": 1}


def test_what_rules_put_together_of_constants_is_computed():
    t, out = Var((3,), FLOAT), Var((3,), FLOAT)
    params = {"shape": (3,), "dtype": FLOAT}
    one = X[0, :1]
    program = Program(
        [t], [Equation(p["weighted_sum"], [one, 2.0, t, 1], params, (out,))], [out]
    )
    after = apply_algebra(program)
    assert counts(after) == {"add": 1}
    assert_same_bits(after.evaluate([X[0]])[0], program.evaluate([X[0]])[0])


def test_equations_of_rules_have_the_line_of_what_they_replace():
    program = funcad.make_program(lambda x: np.sum(-x, 1))(X)
    lines = [e.line for e in apply_algebra(program).equations]
    assert all(line == program.equations[-1].line for line in lines)
    assert lines[0][0] == __file__


def test_a_value_of_another_shape_or_dtype_is_not_put_in_the_place_of_a_result():
    wrong = Primitive(
        "wrong_of_the_tests",
        lambda x: x.astype("f"),
        lambda x: (x.shape, np.dtype("f")),
        simplify=lambda inputs, params, definition: inputs[0],
    )
    try:
        assert simplest(wrong, X) == {wrong.name: 1}
        assert simplest(wrong, SINGLE) == {}
    finally:
        del registry[wrong.name]


def test_what_the_caller_sees_is_not_an_argument_that_he_did_not_return():
    program = funcad.make_program(lambda x: (x * 1, x.T.T, -(-(x.T)).T, -(x * 1)))(X)
    after = apply_algebra(program)
    one, same, turned, negated = after.evaluate([X])
    assert not np.shares_memory(one, X)
    assert np.shares_memory(same, X)
    assert not np.shares_memory(turned, X)
    assert counts(eliminate_dead_code(after))["multiply"] == 1
    # what is read of an array without axes is a scalar
    program = funcad.make_program(lambda x: p["index"](x, template=()))(np.array(2.0))
    assert apply_algebra(program) is program


def test_a_program_in_simplest_form_is_returned_itself():
    program = funcad.make_program(lambda x: np.sin(x) * 2 + x)(X)
    assert apply_algebra(program) is program


def test_random_powers_of_two_divide_exactly():
    @for_all(generators(), share=4)
    def check(rng):
        dtype = rng.choice(list("efd"))
        x = rng.integers(0, 2**62, 50).astype(np.uint64).view("d")
        x = (x * 10.0 ** rng.integers(-320, 0)).astype(dtype)
        c = float(rng.choice([-1, 1]) * 2.0 ** rng.integers(-14, 15))
        assert simplest(lambda x: x / c, x) == ({"multiply": 1} if c != 1 else {})


# ---------------------------------------------------------------------- sums of parts


def test_gradients_of_slices_are_added_up_in_one_array():
    def f(x):
        return np.sum(x[1:] * x[:-1]) + np.sum(np.sin(x[::2])) - x[0] * x[-1]

    x = np.linspace(-1, 2, 7)
    found = simplest(funcad.grad(f), x)
    assert found["assemble"] == 1
    assert "embed" not in found


def test_a_loop_over_the_rows_of_an_array_has_a_gradient_of_linear_cost():
    def f(x):
        h = x[0]
        for i in range(1, 10):
            h = np.tanh(h + x[i])
        return np.sum(h)

    x = np.linspace(-1, 2, 20).reshape(10, 2)
    found = simplest(funcad.grad(f), x)
    assert found["assemble"] == 1
    assert found["add"] == 9


def test_parts_of_different_dtypes_are_not_added_up_in_one_array():
    embed = p["embed"]

    def f(x, y):
        first = embed(x, shape=(4,), template=(slice(0, 2),))
        return first + embed(y, shape=(4,), template=(slice(1, 4),))

    x, y = np.array([-0.0, 1.5]), np.array([2.5, -0.0, 3.0])
    assert simplest(f, x, y) == {"assemble": 1}
    assert simplest(f, x.astype("f"), y) == {"embed": 2, "add": 1}


def test_a_constant_of_one_entry_seen_many_times_is_that_entry():
    wide = np.broadcast_to(np.float32(0.1), (2, 3))
    program = funcad.make_program(lambda x: wide * x)(np.ones((2, 3), np.float32))
    (equation,) = apply_algebra(program).equations
    assert [np.shape(v) for v in equation.inputs if isinstance(v, np.generic)] == [()]
    # alone it gives the result its shape
    program = funcad.make_program(lambda x: wide * x)(np.float32(2))
    (equation,) = apply_algebra(program).equations
    assert equation.inputs[0] is wide


@pytest.mark.parametrize("shape", [(5, 1), (2, 5, 1)])
def test_an_outer_product_is_a_multiplication(shape):
    x, y = np.linspace(-1, 1, np.prod(shape)).reshape(shape), np.ones((1, 40)) / 3
    lowered = funcad.jit(np.matmul).lower(x, y)
    assert [e.primitive.name for e in lowered.optimized.equations] == ["multiply"]
    np.testing.assert_array_equal(funcad.jit(np.matmul)(x, y), x @ y)


def test_a_sum_of_outer_products_stays_a_matrix_product():
    x, y = np.ones((5, 2)), np.ones((2, 40))
    lowered = funcad.jit(np.matmul).lower(x, y)
    assert [e.primitive.name for e in lowered.optimized.equations] == ["matmul"]


def test_a_sum_of_many_parts_is_one_equation():
    """However many there are, no equation is kept for the first few of them."""

    def f(x):
        return sum(x[i] * x[i + 1] for i in range(100))

    x = np.arange(101.0)
    program = funcad.make_program(funcad.grad(f))(x)
    equations = apply_algebra(program).equations
    assembled = [e for e in equations if e.primitive.name == "assemble"]
    assert [len(e.inputs) for e in assembled] == [200]
    assert not [e for e in equations if e.primitive.name == "embed"]
