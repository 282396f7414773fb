"""Reductions where values are equal, absent or not finite, and malformed ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import funcad
from differences import assert_close, assert_same

X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


@st.composite
def arrays_and_axes(draw):
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4))
    n = int(np.prod(shape))
    x = np.reshape(draw(st.permutations(range(n))), shape) / 3.0 - n / 7.0
    axes = (
        st.lists(st.integers(0, len(shape) - 1), unique=True) if shape else st.just([])
    )
    axis = tuple(a - draw(st.sampled_from([0, len(shape)])) for a in draw(axes))
    return x, draw(st.sampled_from([None, axis])), draw(st.booleans())


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "var", "std"])
@given(arrays_and_axes())
def test_reductions_take_every_axis_and_keep_dimensions(name, drawn):
    x, axis, keepdims = drawn

    def f(v):
        return getattr(np, name)(v, axis=axis, keepdims=keepdims)

    with np.errstate(all="ignore"):
        wanted = f(x)
        value, _ = funcad.jvp(f, (x,), (x,))
        assert_same(value, wanted, rtol=1e-10)
        batched = funcad.vmap(f, in_axes=x.ndim)(np.stack([x, -x], axis=x.ndim))
        assert_close(batched, np.stack([wanted, f(-x)]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["max", "min"])
def test_equal_extrema_share_the_derivative(name):
    f = getattr(np, name)
    x = np.array([1.0, 2.0, 2.0, 1.0])
    wanted = [0.0, 0.5, 0.5, 0.0] if name == "max" else [0.5, 0.0, 0.0, 0.5]
    assert_same(funcad.grad(f)(x), np.array(wanted))
    _, tangent = funcad.jvp(f, (x,), (np.array([1.0, 2.0, 4.0, 9.0]),))
    assert tangent == (3.0 if name == "max" else 5.0)


def test_running_extrema_give_the_derivative_to_the_entry_that_attained_them():
    x = np.array([2.0, 1.0, 3.0, 0.0])
    jacobian = funcad.jacrev(np.maximum.accumulate)(x)
    wanted = np.zeros((4, 4))
    wanted[[0, 1, 2, 3], [0, 0, 2, 2]] = 1
    assert_same(jacobian, wanted)


@pytest.mark.parametrize("zeros", [[], [1], [0, 2], [0, 1, 2, 3]])
def test_derivative_of_a_product_is_right_where_factors_are_zero(zeros):
    x = np.array([2.0, 3.0, 5.0, 7.0])
    x[zeros] = 0
    wanted = np.array([np.prod(np.delete(x, i)) for i in range(4)])
    assert_same(funcad.grad(np.prod)(x), wanted)
    second = funcad.hessian(np.prod)(x)
    for i in range(4):
        for j in range(4):
            rest = np.prod(np.delete(x, [i, j])) if i != j else 0.0
            assert_close(second[i, j], rest)


def test_derivative_of_a_running_product_is_right_where_factors_are_zero():
    x = np.array([2.0, 0.0, 5.0, 0.0, 3.0])
    jacobian = funcad.jacfwd(np.cumprod)(x)
    for n in range(5):
        for i in range(5):
            wanted = np.prod(np.delete(x[: n + 1], i)) if i <= n else 0.0
            assert_close(jacobian[n, i], wanted)


def test_sorting_carries_derivatives_to_where_entries_came_from():
    x = np.array([3.0, 1.0, 2.0])
    assert_same(funcad.jacrev(np.sort)(x), np.eye(3)[[1, 2, 0]])
    assert_same(funcad.jacfwd(np.sort)(x), np.eye(3)[[1, 2, 0]])


def test_masked_reductions_give_no_derivative_to_what_is_left_out():
    mask = np.array([True, False, True])
    for f, wanted in [
        (lambda x: np.sum(x, where=mask), [1.0, 0.0, 1.0]),
        (lambda x: np.mean(x, where=mask), [0.5, 0.0, 0.5]),
        (lambda x: np.max(x, where=mask, initial=-9.0), [0.0, 0.0, 1.0]),
    ]:
        x = np.array([1.0, np.nan, 2.0])
        assert_same(funcad.grad(f)(x), np.array(wanted))


def test_low_precision_is_kept():
    for dtype in (np.float16, np.float32, np.complex64):
        x = np.array([[0.5, 1, 2], [3, 4, 5]], dtype)
        for f in (np.sum, np.mean, np.prod, np.max, np.std, np.cumsum):
            value, tangent = funcad.jvp(f, (x,), (x,))
            assert value.dtype == f(x).dtype
            assert tangent.dtype == value.dtype


MALFORMED = [
    (np.exceptions.AxisError, lambda x: np.sum(x, axis=2)),
    (np.exceptions.AxisError, lambda x: np.max(x, axis=-3)),
    (np.exceptions.AxisError, lambda x: np.mean(x, axis=(0, 5))),
    (ValueError, lambda x: np.sum(x, axis=(0, 0))),
    (ValueError, lambda x: np.sum(x, axis=(0, -2))),
    (TypeError, lambda x: np.sum(x, axis=1.0)),
    (TypeError, lambda x: np.sum(x, axis="rows")),
    (TypeError, lambda x: np.sum(x, nonsense=1)),
    (np.exceptions.AxisError, lambda x: np.cumsum(x, axis=2)),
    (np.exceptions.AxisError, lambda x: np.sort(x, axis=2)),
    (np.exceptions.AxisError, lambda x: np.argmax(x, axis=2)),
    (TypeError, lambda x: np.argmax(x, axis=1.5)),
    (ValueError, lambda x: np.max(x[:0])),
    (ValueError, lambda x: np.max(x, where=x > 0)),
    (ValueError, lambda x: np.argmin(x[:0])),
    (np.exceptions.AxisError, lambda x: np.add.reduce(x, 4)),
    (np.exceptions.AxisError, lambda x: np.add.accumulate(x, 4)),
    (ValueError, lambda x: np.where(x > 0, x, np.ones(5))),
    (ValueError, lambda x: x + np.ones(5)),
    (TypeError, lambda x: np.sin()),
    (TypeError, lambda x: np.add(x)),
    (TypeError, lambda x: x & 1),
    (TypeError, lambda x: ~x),
    (TypeError, lambda x: np.left_shift(x, 1)),
]


@pytest.mark.parametrize("number", range(len(MALFORMED)))
@pytest.mark.parametrize("transform", ["jvp", "vmap", "staged"])
def test_malformed_calls_raise_the_error_that_numpy_raises(number, transform):
    error, f = MALFORMED[number]
    with pytest.raises(error):
        f(X)
    with pytest.raises(error):
        {
            "jvp": lambda: funcad.jvp(f, (X,), (X,)),
            "vmap": lambda: funcad.vmap(f)(X[None]),
            "staged": lambda: funcad.make_program(f)(X),
        }[transform]()
