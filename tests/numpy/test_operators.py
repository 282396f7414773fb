"""Operators, methods and attributes of tracers are those of NumPy's arrays."""

import copy
import math
import operator
from fractions import Fraction

import numpy as np
import pytest

import backend_double
import funcad
from differences import assert_close, assert_same, directional_derivative
from funcad.core.errors import DerivativeLossError, MutationError
from funcad.core.tracing import Tracer

X = np.array([[0.71, -1.33, 2.17], [1.93, 0.43, -0.67]])
Y = np.array([1.3, 0.8, 2.7])
INTS = np.array([[3, 1, 4], [1, 5, 9]])
MASK = np.array([True, False, True])

ARITHMETIC = ["add", "sub", "mul", "truediv", "floordiv", "mod"]
COMPARISONS = ["eq", "ne", "lt", "le", "gt", "ge"]
BITS = ["and_", "or_", "xor", "lshift", "rshift"]
OTHERS = [
    pytest.param(Y, id="array"),
    pytest.param(1.7, id="float"),
    pytest.param(2, id="int"),
    pytest.param(np.float32(1.5), id="numpy scalar"),
    pytest.param([1.1, 2.2, 3.3], id="list"),
]


def traced_value(f, x):
    """Value of ``f(x)`` under jvp, held against vmap, a staged program and NumPy."""
    wanted = f(x)
    if x.dtype.kind in "fc":
        value, _ = funcad.jvp(f, (x,), (np.ones_like(x),))
        assert_same(value, wanted)
    assert_same(funcad.vmap(f)(np.stack([x, x])), np.stack([wanted, wanted]))
    assert_same(funcad.make_program(f)(x).evaluate([x]), [np.asarray(wanted)])
    return wanted


@pytest.mark.parametrize("name", ARITHMETIC + COMPARISONS)
@pytest.mark.parametrize("other", OTHERS)
def test_binary_operators_and_their_reflections_are_those_of_arrays(name, other):
    op = getattr(operator, name)
    traced_value(lambda x: op(x, other), X)
    traced_value(lambda x: op(other, x), X)


@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.parametrize("other", OTHERS[:2])
def test_derivatives_of_binary_operators_are_those_of_the_differences(name, other):
    op = getattr(operator, name)
    for f in (lambda x: op(x, other), lambda x: op(other, x), lambda x: op(x, x + 0.3)):
        tangent = np.cos(X)
        _, out = funcad.jvp(f, (X,), (tangent,))
        (wanted,) = directional_derivative(f, (X,), (tangent,))
        assert_close(out, wanted)


@pytest.mark.parametrize("name", BITS)
def test_operators_on_bits_are_those_of_arrays(name):
    op = getattr(operator, name)
    traced_value(lambda x: op(x, 3), INTS)
    traced_value(lambda x: op(3, x), INTS)
    traced_value(lambda x: op(x, np.array([1, 2, 3])), INTS)
    if name.endswith("_") or name == "xor":
        traced_value(lambda x: op(x, x[::-1]), MASK)


def test_powers_take_arrays_and_numbers_on_either_side():
    traced_value(lambda x: x**2, X)
    traced_value(lambda x: x**-1, X)
    traced_value(lambda x: abs(x) ** 0.5, X)
    traced_value(lambda x: 2.0**x, X)
    traced_value(lambda x: Y**x, X)
    traced_value(lambda x: INTS**x, np.array([1, 2, 3]))


def test_unary_operators_are_those_of_arrays():
    for f in (operator.neg, operator.pos, abs):
        traced_value(f, X)
        traced_value(f, INTS)
    traced_value(operator.invert, INTS)
    traced_value(operator.invert, MASK)


def test_rounding_has_no_derivative_and_keeps_the_value():
    value, tangent = funcad.jvp(lambda x: round(x, 1), (2.68,), (1.0,))
    assert (value, tangent) == (2.7, 0.0)


def test_divmod_gives_quotient_and_remainder_on_either_side():
    for f in (lambda x: divmod(x, Y), lambda x: divmod(Y, x), lambda x: divmod(x, 0.7)):
        value, _ = funcad.jvp(f, (X,), (X,))
        assert_same(value, f(X))


@pytest.mark.parametrize("f", [lambda x: x @ Y, lambda x: np.ones((4, 2)) @ x])
def test_matrix_product_operator_takes_an_array_on_either_side(f):
    traced_value(f, X)


def test_matrix_product_operator_takes_lists():
    traced_value(lambda x: x @ [1.0, 2.0, 3.0], X)
    traced_value(lambda x: [1.0, 2.0] @ x, X)


def test_lists_meet_the_arrays_of_another_library():
    x = backend_double.Array(X)

    def f(x):
        return ([1.0, 2.0] @ (x + [1.0, 2.0, 3.0])) * [2.0, 1.0, 0.5]

    out, _ = funcad.jvp(f, (x,), (x,))
    assert_same(out.get(), f(X))


def test_two_tracers_of_different_levels_meet_in_one_operation():
    def f(x):
        inner = funcad.jvp(lambda y: y * x + x @ y, (Y,), (np.ones(3),))
        return inner[0] + inner[1]

    value, tangent = funcad.jvp(f, (Y,), (np.ones(3),))
    assert_close(value, Y * Y + Y @ Y + Y + Y.sum())
    assert_close(tangent, Y + Y.sum() + 4)


def test_comparisons_have_no_derivative_and_can_decide():
    def f(x):
        return x * 2 if (x > 0).all() and x[0] != 0 else -x

    assert_same(funcad.grad(lambda x: np.sum(f(x)))(Y), np.full(3, 2.0))
    assert_same(funcad.grad(lambda x: np.sum(f(x)))(-Y), np.full(3, -1.0))


def test_an_operand_that_is_no_number_is_left_to_its_own_operators():
    class Unit:
        def __radd__(self, other):
            return "radd"

        def __mul__(self, other):
            return "mul"

    def f(x):
        assert x + Unit() == "radd"
        assert Unit() * x == "mul"
        assert not (x == "name")
        assert x != "name"
        for bad in ("name", None, Fraction(1, 2), {1: 2}):
            with pytest.raises(TypeError):
                x - bad
            with pytest.raises(TypeError):
                bad - x
        return x

    funcad.jvp(f, (Y,), (Y,))


def test_an_array_updated_in_place_with_a_traced_one_is_an_error():
    def f(x):
        a = np.zeros(3)
        a += x
        return np.sum(a)

    with pytest.raises(TypeError, match="np.add of a traced array does not take out="):
        funcad.grad(f)(Y)


def test_augmented_assignment_to_a_tracer_binds_a_new_value():
    def f(x):
        y = x
        y += 1.0
        y *= x
        y **= 2
        y /= 2.0
        y -= x
        y @= np.eye(3)
        return np.sum(y)

    assert_close(funcad.grad(f)(Y), (Y + 1) * Y * (2 * Y + 1) - 1)


# ------------------------------------------------------------------- Python's protocols


def test_iteration_length_and_unpacking_go_over_the_first_axis():
    def f(x):
        first, second = x
        assert len(x) == 2
        assert len(list(reversed(x))) == 2
        return first * second + sum(row for row in x)

    traced_value(f, X)
    traced_value(lambda x: np.stack([i * v for i, v in enumerate(x[0])]), X)


def test_iteration_and_length_of_a_scalar_are_refused_as_numpy_refuses_them():
    with pytest.raises(TypeError, match="iteration over a 0-d array"):
        funcad.grad(lambda x: sum(x))(1.0)
    with pytest.raises(TypeError, match="unsized"):
        funcad.grad(lambda x: len(x))(1.0)
    with pytest.raises(TypeError, match="len"):
        list(funcad.vmap(lambda x: len(x))(Y))


def test_membership_is_decided_by_values():
    def f(x):
        assert 0.8 in x
        assert 0.9 not in x
        assert 2.1 in np.stack([x, x + 0.8])
        return np.sum(x)

    funcad.grad(f)(Y)


def test_truth_of_more_than_one_entry_is_ambiguous():
    with pytest.raises(ValueError, match="ambiguous"):
        funcad.grad(lambda x: np.sum(x) if x else x)(Y)


def test_tracers_like_arrays_cannot_be_hashed():
    with pytest.raises(TypeError, match="unhashable"):
        funcad.grad(lambda x: {x: 1})(1.0)


def test_plain_values_are_read_by_item_tolist_int_and_format():
    seen = {}

    def f(x):
        y = 2 * x
        seen["item"] = y[0].item()
        seen["item of"] = y.item(2)
        seen["list"] = y.tolist()
        seen["int"] = int(y[2])
        seen["bool"] = bool(y[1])
        seen["text"] = f"{y[0]:.2f}"
        seen["rounded"] = (math.floor(y[0]), math.ceil(y[0]), math.trunc(y[0]))
        seen["ranges"] = list(range(int(y[0])))
        return np.sum(y)

    funcad.grad(f)(Y)
    assert seen == {
        "item": 2.6,
        "item of": 5.4,
        "list": [2.6, 1.6, 5.4],
        "int": 5,
        "bool": True,
        "text": "2.60",
        "rounded": (2, 3, 2),
        "ranges": [0, 1],
    }
    assert type(seen["item"]) is float


@pytest.mark.parametrize(
    "f",
    [
        lambda x: float(x) * x,
        lambda x: complex(x).real * x,
        lambda x: math.sin(x) * x,
        lambda x: math.sqrt(x) + x,
    ],
)
def test_conversion_to_a_plain_number_would_lose_the_derivative(f):
    with pytest.raises(DerivativeLossError, match=r"np\.sin\(x\)"):
        funcad.grad(f)(2.0)


def test_a_traced_value_written_into_a_plain_array_would_lose_its_derivative():
    def one_by_one(x):
        out = np.zeros(3)
        for i in range(3):
            out[i] = x[i] ** 2
        return np.sum(out)

    def at_once(x):
        out = np.zeros(3)
        out[:] = x
        return np.sum(out)

    with pytest.raises(DerivativeLossError, match=r"np\.stack\(\[x, y\]\)"):
        funcad.grad(at_once)(Y)
    with pytest.raises(ValueError, match="sequence") as caught:  # NumPy's own, around
        funcad.grad(one_by_one)(Y)
    assert isinstance(caught.value.__cause__, DerivativeLossError)
    assert "a[i] = x" in str(caught.value.__cause__)


def test_index_of_a_list_by_an_integer_that_is_known():
    table = ["a", "b", "c"]

    def f(x):
        assert table[np.argmax(x)] == "c"
        assert table[np.sum(x > 1).astype(int)] == "c"
        return np.sum(x)

    funcad.grad(f)(Y)


def test_a_float_is_no_index():
    with pytest.raises(TypeError, match="integer"):
        funcad.grad(lambda x: [1, 2, 3][x])(1.0)


def test_copies_of_a_tracer_are_the_tracer():
    def f(x):
        return np.sum(copy.deepcopy(x) * copy.copy(x) * x.copy())

    assert_close(funcad.grad(f)(Y), 3 * Y**2)


def test_text_of_a_tracer_shows_shape_dtype_and_value():
    texts = []

    def f(x):
        texts.append((repr(x), str(x), f"{x}"))
        return np.sum(x)

    funcad.grad(f)(Y)
    funcad.vmap(f)(X)
    funcad.make_program(f)(Y)
    for shown in texts:
        assert all("float64[3]" in text for text in shown)
    assert "2.7" in texts[0][0]


# --------------------------------------------------------------- attributes and methods


def test_attributes_of_form_are_those_of_arrays():
    seen = []

    def f(x):
        names = ("shape", "ndim", "size", "dtype", "itemsize", "nbytes")
        seen.append(tuple(getattr(x, name) for name in names))
        return x

    for x in (X, Y.astype(np.float32), np.array(2.0), np.empty((0, 3))):
        seen.clear()
        f(x)
        funcad.jvp(f, (x,), (np.ones_like(x),))
        funcad.linearize(f, x)
        funcad.vmap(f)(x[None])
        funcad.make_program(f)(x)
        assert seen == seen[:1] * 5


def test_attributes_that_rearrange_are_those_of_arrays():
    z = X + 1j * X[::-1]
    for f in (
        lambda x: x.T,
        lambda x: x.mT,
        lambda x: x.real,
        lambda x: x.imag,
        lambda x: x.conj(),
        lambda x: x.flatten(),
        lambda x: x.transpose(1, 0),
        lambda x: x.transpose((-1, 0)),
        lambda x: x.transpose(),
        lambda x: x.reshape(3, 2),
        lambda x: x.reshape((3, -1)),
        lambda x: x.reshape(-1),
        lambda x: x.astype(np.complex64),
        lambda x: x.swapaxes(0, 1),
        lambda x: x.sum(axis=0, keepdims=True),
        lambda x: x.mean(1),
    ):
        traced_value(f, X)
        traced_value(f, z)


def test_transpose_of_a_vector_is_the_vector_and_mT_refuses_it():
    traced_value(lambda x: x.T, Y)
    with pytest.raises(ValueError, match="two axes"):
        funcad.grad(lambda x: np.sum(x.mT))(Y)


@pytest.mark.parametrize("name", ["sort", "fill", "put", "partition", "resize"])
def test_methods_that_write_are_refused_and_say_what_to_write(name):
    with pytest.raises(MutationError, match=rf"x\.{name}\(\) writes into"):
        funcad.grad(lambda x: getattr(x, name)(0))(Y)


# What an array has and a tracer cannot have, as it has no memory to look into.
NO_MEMORY = {
    *("base", "byteswap", "ctypes", "data", "dump", "dumps", "flags", "getfield"),
    *("setfield", "setflags", "strides", "tobytes", "tofile"),
}


def test_every_public_attribute_of_an_array_is_there_or_left_out_on_purpose():
    public = {n for n in dir(np.ndarray) if not n.startswith("_")}
    missing = {n for n in public if not hasattr(Tracer, n)}
    assert missing == NO_MEMORY


def test_array_namespace_is_that_of_funcad():
    def f(x):
        xp = x.__array_namespace__()
        return xp.sum(xp.exp(x))

    assert_close(funcad.grad(f)(Y), np.exp(Y))


def test_the_method_clip_of_a_plain_array_takes_traced_bounds():
    x = np.array([0.5, 0.8])
    got = funcad.grad(lambda x: np.sum(np.arange(2.0).clip(0, x) ** 2))(x)
    np.testing.assert_array_equal(got, [0.0, 1.6])
    assert funcad.jit(lambda x: np.arange(3.0).clip(x, None))(1.5).tolist() == [
        1.5,
        1.5,
        2,
    ]
