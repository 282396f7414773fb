"""Numerical checks of derivatives and of vmap, seen to pass and to fail."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import funcad
from funcad.errors import ArgumentError, TreeStructureError
from funcad.testing import check_grads, check_jvp, check_vjp, check_vmap

DTYPES = [np.float32, np.float64, np.complex64, np.complex128]
MODES = [("fwd",), ("rev",), ("fwd", "rev")]


def numbers(dtype, shape=(3,), seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return (
        x + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else x
    ).astype(dtype)


def smooth(p):
    """A function of a pytree that returns one."""
    y = np.sin(p["x"]) * p["pair"][0]
    return [y, {"total": np.sum(y * p["pair"][1])}]


def point(dtype):
    return {
        "x": numbers(dtype),
        "pair": (numbers(dtype, (), 1), numbers(dtype, (3,), 2)),
    }


# ----------------------------------------------------------------- what is right passes


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("modes", MODES)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_right_derivatives_pass_on_pytrees_of_any_dtype(dtype, modes, order):
    check_grads(smooth, (point(dtype),), order, modes)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_functions_that_are_not_holomorphic_pass_too(dtype):
    def mixed(z, x):
        return np.real(z * np.conj(z)) + x, np.abs(z) * z

    real = np.abs(numbers(dtype))
    check_grads(mixed, (numbers(dtype, seed=1), real), order=2)


def test_integers_numbers_none_and_plain_results_pass():
    def function(x, n, nothing, number):
        return {"power": x**n * number, "count": np.sum(x > 0), "same": n}

    check_grads(function, (np.arange(1.0, 4), np.array(2), None, 3.0), order=2)


@given(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=0, min_side=0, max_dims=2),
        elements=st.floats(-3, 3),
    )
)
def test_smooth_functions_pass_everywhere(x):
    check_grads(lambda v: np.tanh(v) * np.exp(v / 2), (x,), order=2)


def test_checks_leave_their_arguments_as_they_were():
    args = (point(np.float64),)
    before = funcad.tree.map(np.copy, args)
    check_grads(smooth, args, order=2)
    for x, y in zip(funcad.tree.leaves(args), funcad.tree.leaves(before), strict=True):
        np.testing.assert_array_equal(x, y)


# ------------------------------------------------------------------ what is wrong fails


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("modes", MODES)
def test_a_gradient_stopped_in_the_wrong_place_fails(dtype, modes):
    def wrong(x):
        return x * funcad.stop_gradient(np.sin(x))

    with pytest.raises(AssertionError, match="differs from central differences"):
        check_grads(wrong, (numbers(dtype),), order=1, modes=modes)


@pytest.mark.parametrize("modes", [*MODES, "fwd", "rev"])
def test_a_wrong_second_derivative_fails_at_order_two_only(modes):
    def square_and_its_slope(x):
        # a value and first derivative of x^3, and a second derivative of 3 x
        held = funcad.stop_gradient(x)
        return held**3 + 3 * held**2 * (x - held) + 1.5 * held * (x - held) ** 2

    x = np.array([0.5, 1.0])
    check_grads(square_and_its_slope, (x,), order=1, modes=modes)
    with pytest.raises(AssertionError, match="(jvp|vjp) of (jvp|vjp) differs"):
        check_grads(square_and_its_slope, (x,), order=2, modes=modes)


def test_the_error_names_leaf_both_values_and_tolerance():
    def wrong(p):
        return {"good": p["a"], "bad": [p["a"], p["b"] * funcad.stop_gradient(p["b"])]}

    p = {"a": np.ones(2), "b": np.array([1.0, 2.0, 3.0])}
    with pytest.raises(AssertionError) as forward:
        check_grads(wrong, (p,), order=1, modes=["fwd"])
    text = str(forward.value)
    assert (
        "jvp differs from central differences at the output ['bad'][1], float64[3]"
        in text
    )
    assert "expected (differences, eps=1e-05): [" in text
    assert "got: [" in text
    assert "tolerance 1e-06 + 1e-06 *" in text
    assert "(the worst is at [" in text
    with pytest.raises(AssertionError) as reverse:
        check_grads(wrong, (p,), order=1, modes=["rev"])
    text = str(reverse.value)
    assert "at the argument [0]['b'], float64[3]" in text
    assert "<cotangent of the output, difference>: " in text
    assert "<cotangent of the argument, tangent>: " in text
    assert "tolerance 1e-06 + 1e-06 *" in text


def test_one_wrong_entry_of_many_fails():
    def wrong(x):
        weights = np.ones(1000)
        weights[137] = 0
        return np.sum(weights * x**2 + (1 - weights) * x * funcad.stop_gradient(x))

    for mode in ("fwd", "rev"):
        with pytest.raises(AssertionError, match="differs"):
            check_grads(wrong, (np.linspace(0.5, 1, 1000),), order=1, modes=[mode])


def test_a_derivative_that_is_nan_fails():
    def root_or_zero(x):
        return np.where(x > 0, np.sqrt(x), 0.0)

    args = (np.array([-1.0, 1.0]),)
    with np.errstate(invalid="ignore"):
        # backwards, the zero of the branch not taken meets an infinite slope
        with pytest.raises(AssertionError, match="tangent>:  nan"):
            check_grads(root_or_zero, args, order=1, modes=["rev"])
        with pytest.raises(AssertionError, match="got: nan"):
            check_jvp(np.sum, lambda p, t: (np.sum(p[0]), t[0][0] * np.nan), args)


def test_tolerances_and_step_can_be_given():
    def nearly(x):
        return x + 1e-3 * funcad.stop_gradient(x)

    args = (np.ones(3),)
    for mode in ("fwd", "rev"):
        with pytest.raises(AssertionError):
            check_grads(nearly, args, order=1, modes=[mode])
        check_grads(nearly, args, order=1, modes=[mode], atol=1e-2)
        check_grads(nearly, args, order=1, modes=[mode], rtol=1e-2)
    with pytest.raises(AssertionError, match="eps=1"):
        check_grads(np.exp, args, order=1, modes=["fwd"], eps=1.0)


def test_arguments_that_make_no_sense_are_refused():
    with pytest.raises(ArgumentError, match='"fwd", "rev" or both'):
        check_grads(np.sin, (1.0,), order=1, modes=["forward"])
    with pytest.raises(ArgumentError, match='"fwd", "rev" or both'):
        check_grads(np.sin, (1.0,), order=1, modes=[])
    with pytest.raises(ArgumentError, match="1 or more, not 0"):
        check_grads(np.sin, (1.0,), order=0)


X = np.arange(3.0)


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        (lambda: check_grads(np.sum, X, 1), r"check_grads takes.*Write \(x,\)"),
        (lambda: check_vmap(np.sin, X), r"check_vmap takes.*Write \(x,\)"),
        (lambda: check_grads(None, (X,), 1), "check_grads: f is a function, not None"),
        (lambda: check_jvp(np.sin, None, (X,)), "check_jvp: f_jvp is a function"),
        (lambda: check_jvp(np.sin, np.add, (X,)), "check_jvp: f_jvp returns a pair"),
        (lambda: check_vjp(np.sum, np.sum, (X,)), "check_vjp: f_vjp returns a pair"),
        (lambda: check_grads(np.sum, (X,), "a"), "1 or more, not 'a'"),
        (lambda: check_grads(np.sum, (X,), 1.5), "1 or more, not 1.5"),
        (lambda: check_grads(np.sum, (X,), 1, atol="a"), "check_grads: atol .*not 'a'"),
        (lambda: check_vmap(np.sin, (X,), rtol=np.nan), "check_vmap: rtol .*not nan"),
        (lambda: check_grads(np.sum, (X,), 1, eps=0), "eps is a positive number"),
    ],
)
def test_a_call_of_which_no_check_can_be_made_is_refused(attempt, said):
    with pytest.raises((TypeError, ArgumentError), match=said):
        attempt()


@pytest.mark.parametrize(
    ("f", "x", "said"),
    [
        (np.sum, X.astype(int), r"arguments .*int64\[3\]"),
        (np.argmax, X, r"results .*int64\[\]"),
        (lambda x: None, X, "results .*nothing"),
    ],
)
def test_a_check_that_would_compare_no_derivative_is_refused(f, x, said):
    for modes in "fwd", "rev":
        with pytest.raises(ArgumentError, match=f"check_grads: .*{said}"):
            check_grads(f, (x,), 1, modes)
    with pytest.raises(ArgumentError, match="no example to compare"):
        check_vmap(np.sin, (X[:0],))


# ---------------------------------------------------------------------- rules by hand


def product_jvp(primals, tangents):
    (x, y), (s, t) = primals, tangents
    return x * y, s * y + x * t


def product_vjp(x, y):
    return x * y, lambda ct: (ct * y, ct * x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rules_written_by_hand_pass_where_they_are_right(dtype):
    args = numbers(dtype), numbers(dtype, seed=1)
    check_jvp(np.multiply, product_jvp, args)
    check_vjp(np.multiply, product_vjp, args)
    check_jvp(smooth, functools.partial(funcad.jvp, smooth), (point(dtype),))
    check_vjp(smooth, functools.partial(funcad.vjp, smooth), (point(dtype),))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rules_written_by_hand_fail_where_they_are_wrong(dtype):
    args = numbers(dtype), numbers(dtype, seed=1)

    def swapped_jvp(primals, tangents):
        (x, y), (s, t) = primals, tangents
        return x * y, s * x + y * t

    def swapped_vjp(x, y):
        return x * y, lambda ct: (ct * y, ct * y)

    with pytest.raises(AssertionError, match="jvp differs .* at the output, "):
        check_jvp(np.multiply, swapped_jvp, args)
    with pytest.raises(AssertionError, match=r"vjp differs .* at the argument \[1\], "):
        check_vjp(np.multiply, swapped_vjp, args)


def test_rules_with_a_wrong_value_shape_dtype_or_structure_fail():
    args = np.arange(3.0), np.ones(3)
    with pytest.raises(AssertionError, match="the value that jvp returns differs"):
        check_jvp(np.multiply, lambda p, t: (p[0] + p[1], t[0]), args)
    with pytest.raises(AssertionError, match="the value that vjp returns differs"):
        check_vjp(np.multiply, lambda x, y: (x + y, product_vjp(x, y)[1]), args)
    with pytest.raises(AssertionError, match=r"it is float64\[\], .* float64\[3\]"):
        check_jvp(np.multiply, lambda p, t: (p[0] * p[1], np.sum(t[0])), args)
    with pytest.raises(
        AssertionError, match=r"argument \[0\], float64\[3\].*float32\[3\]"
    ):
        check_vjp(
            np.multiply, lambda x, y: (x * y, lambda ct: (ct.astype("f"), ct)), args
        )
    with pytest.raises(TreeStructureError):
        check_vjp(np.multiply, lambda x, y: (x * y, lambda ct: (ct,)), args)


# ----------------------------------------------------------------------------- vmap


@pytest.mark.parametrize("dtype", [np.int64, *DTYPES])
def test_vmap_passes_for_any_axes_and_pytrees(dtype):
    x = np.arange(24).reshape(2, 3, 4).astype(dtype)
    check_vmap(np.sum, (x,))
    check_vmap(lambda a, b: {"product": a @ b, "a": a}, (x, x[0].T), (0, None))
    check_vmap(lambda a, b: (a + b.T, a), (x, x.T), (-1, 0), (0, -1))
    check_vmap(lambda p: p["a"] * p["b"], ({"a": x, "b": x[1]},), ({"a": 1, "b": 0},))
    check_vmap(lambda a: (a, 3.0), (x,), out_axes=(1, None))


def test_vmap_of_a_function_that_is_not_the_same_in_a_loop_fails():
    calls = []

    def counting(x):
        calls.append(x)
        return {"y": x + len(calls)}

    with pytest.raises(AssertionError) as caught:
        check_vmap(counting, (np.arange(3.0),))
    assert "vmap differs from a loop at example 0 of the output ['y']" in str(
        caught.value
    )
    assert "expected (loop): 2." in str(caught.value)
    assert "got: 1." in str(caught.value)


def test_vmap_that_changes_a_dtype_or_shape_fails():
    def eager_only(x):
        return x if isinstance(x, np.ndarray) else x.astype(np.float32)

    with pytest.raises(
        AssertionError, match=r"float32\[2\], and loop gives float64\[2\]"
    ):
        check_vmap(eager_only, (np.ones((3, 2)),))


def test_vmap_holds_nan_equal_to_nan():
    with np.errstate(invalid="ignore"):
        check_vmap(np.sqrt, (np.array([-1.0, 1.0]),))
