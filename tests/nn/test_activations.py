"""Activations, softmax and its relatives."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import funcad
from funcad import nn
from funcad.errors import LeafTypeError
from funcad.testing import check_grads, check_vmap

ELEMENTWISE = {
    "relu": (nn.relu, lambda x: np.maximum(x, 0)),
    "leaky_relu": (nn.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x)),
    "elu": (nn.elu, lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)),
    "gelu": (
        nn.gelu,
        lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    ),
    "gelu_exact": (
        lambda x: nn.gelu(x, approximate=False),
        lambda x: x * scipy.stats.norm.cdf(x),
    ),
    "silu": (nn.silu, lambda x: x * scipy.special.expit(x)),
    "sigmoid": (nn.sigmoid, scipy.special.expit),
    "softplus": (nn.softplus, lambda x: np.logaddexp(0, x)),
}
OVER_AXES = {
    "softmax": (nn.softmax, scipy.special.softmax),
    "log_softmax": (nn.log_softmax, scipy.special.log_softmax),
}
LIMITS = {
    # name: (value, slope, curvature) at -1e4 and at 1e4
    "relu": ((0, 0, 0), (1e4, 1, 0)),
    "leaky_relu": ((-100, 0.01, 0), (1e4, 1, 0)),
    "elu": ((-1, 0, 0), (1e4, 1, 0)),
    "gelu": ((0, 0, 0), (1e4, 1, 0)),
    "gelu_exact": ((0, 0, 0), (1e4, 1, 0)),
    "silu": ((0, 0, 0), (1e4, 1, 0)),
    "sigmoid": ((0, 0, 0), (1, 0, 0)),
    "softplus": ((0, 0, 0), (1e4, 1, 0)),
}
functions = pytest.mark.parametrize("name", ELEMENTWISE)
over_axes = pytest.mark.parametrize("name", OVER_AXES)
dtypes = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])

entries = st.floats(-30, 30, width=32)
arrays = hnp.arrays(np.float64, hnp.array_shapes(min_side=0), elements=entries)
matrices = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=2, max_dims=3), elements=entries
)


# ---------------------------------------------------------------------- entry by entry


@functions
@given(x=arrays)
def test_an_activation_is_what_its_formula_says(name, x):
    function, formula = ELEMENTWISE[name]
    np.testing.assert_allclose(function(x), formula(x), rtol=1e-12, atol=1e-12)


@functions
@given(x=hnp.arrays(np.float64, 5, elements=st.floats(-4, 4)))
def test_an_activation_has_right_derivatives_to_second_order(name, x):
    x = np.where(np.abs(x) < 0.01, 0.5, x)  # where relu and the like have a kink
    check_grads(ELEMENTWISE[name][0], (x,), order=2)


@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_third_derivatives_go_through_the_tangent_maps(name):
    check_grads(ELEMENTWISE[name][0], (np.linspace(-3, 3, 7),), order=3, rtol=1e-5)


@functions
@dtypes
def test_an_activation_and_its_derivatives_keep_the_dtype(name, dtype):
    x = np.linspace(-2, 2, 6).astype(dtype)
    function = ELEMENTWISE[name][0]
    slope = funcad.grad(lambda v: np.sum(function(v)))
    assert function(x).dtype == dtype
    assert slope(x).dtype == dtype
    assert funcad.jvp(slope, (x,), (x,))[1].dtype == dtype


@functions
def test_an_activation_takes_integers_numbers_and_empty_arrays(name):
    function, formula = ELEMENTWISE[name]
    np.testing.assert_allclose(function(np.arange(-2, 3)), formula(np.arange(-2.0, 3)))
    np.testing.assert_allclose(function(0.5), formula(0.5))
    np.testing.assert_allclose(funcad.grad(function)(2.0), funcad.grad(function)(2.0))
    assert function(np.zeros((0, 3), np.float32)).shape == (0, 3)


@functions
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("side", [0, 1])
def test_an_activation_is_stable_far_from_zero(name, dtype, side):
    function = ELEMENTWISE[name][0]
    x = np.array([-1e4, 1e4][side], dtype)
    with np.errstate(all="raise", under="ignore"):
        value, slope = funcad.value_and_grad(function)(x)
        curvature = funcad.grad(funcad.grad(function))(x)
        forward = funcad.jvp(funcad.grad(function), (x,), (np.ones((), dtype),))[1]
    expected = LIMITS[name][side]
    got = value, slope, curvature, forward
    np.testing.assert_allclose(got, (*expected, expected[2]), rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(x=st.floats(-(2.0**100), 2.0**100))
def test_gelu_and_its_derivatives_are_finite_for_every_number(dtype, x):
    x = dtype(x)
    slope = funcad.grad(nn.gelu)
    with np.errstate(all="raise", under="ignore"):
        results = nn.gelu(x), slope(x), funcad.grad(slope)(x)
    assert np.isfinite(results).all()


def test_gelu_of_infinities_is_its_limit():
    x = np.array([-np.inf, np.inf])
    np.testing.assert_array_equal(nn.gelu(x), [0, np.inf])
    np.testing.assert_array_equal(funcad.vmap(funcad.grad(nn.gelu))(x), [0, 1])


@functions
def test_an_activation_passes_nan_on(name):
    x = np.array([np.nan, 1.0])
    with np.errstate(invalid="ignore"):
        result = ELEMENTWISE[name][0](x)
    assert np.isnan(result[0])
    assert np.isfinite(result[1])


def test_relu_and_leaky_relu_have_the_slopes_of_jax_nn_at_zero():
    assert funcad.grad(nn.relu)(0.0) == 0
    assert funcad.grad(nn.leaky_relu)(0.0) == 1


@given(x=st.floats(-700, -20))
def test_sigmoid_is_exact_where_it_is_small(x):
    np.testing.assert_allclose(nn.sigmoid(x), scipy.special.expit(x), rtol=1e-13)


@functions
@pytest.mark.parametrize("size", [10, 100_000])
def test_an_activation_is_the_same_in_blocks_and_in_any_layout(name, size):
    function, formula = ELEMENTWISE[name]
    x = np.random.default_rng(0).normal(size=(size, 2)) * 20
    ct = np.random.default_rng(1).normal(size=(2, size))
    value, pullback = funcad.vjp(function, x)
    strided, strided_pullback = funcad.vjp(function, x.T)
    np.testing.assert_allclose(value, formula(x), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(strided, value.T, rtol=1e-14)
    np.testing.assert_allclose(
        strided_pullback(ct)[0],
        pullback(np.ascontiguousarray(ct.T))[0].T,
        rtol=1e-14,
        atol=1e-16,
    )


@functions
def test_vmap_of_an_activation_and_of_its_pullback_is_a_loop(name):
    function = ELEMENTWISE[name][0]
    x = np.random.default_rng(0).normal(size=(3, 4))
    check_vmap(function, (x,), in_axes=1, out_axes=1)
    check_vmap(funcad.grad(lambda v: np.sum(function(v))), (x,))
    pullback = funcad.vjp(function, x[0])[1]
    check_vmap(pullback, (x,))
    # operands that differ in whether they are mapped
    check_vmap(lambda v, t: funcad.jvp(function, (v,), (t,))[1], (x, x[0]), (0, None))


# --------------------------------------------------------------- softmax and relatives


@over_axes
@given(x=matrices, axis=st.sampled_from([0, -1, 1, (0, 1), (-1, 0)]))
def test_softmax_agrees_with_scipy_over_any_axes(name, x, axis):
    ours, theirs = OVER_AXES[name]
    expected = theirs(x, axis=axis)
    np.testing.assert_allclose(ours(x, axis=axis), expected, rtol=1e-12, atol=1e-13)


@given(x=matrices, axis=st.sampled_from([None, 0, -1, (0, 1)]), keepdims=st.booleans())
def test_logsumexp_agrees_with_scipy(x, axis, keepdims):
    ours = nn.logsumexp(x, axis=axis, keepdims=keepdims)
    theirs = scipy.special.logsumexp(x, axis=axis, keepdims=keepdims)
    assert np.shape(ours) == np.shape(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


@given(
    x=hnp.arrays(np.float64, (3, 4), elements=entries),
    b=hnp.arrays(np.float64, (4,), elements=st.sampled_from([0.0, 0.5, 2.0])),
)
def test_weighted_logsumexp_agrees_with_scipy(x, b):
    with np.errstate(divide="ignore"):
        expected = scipy.special.logsumexp(x, axis=1, b=b)
    got = nn.logsumexp(x, axis=1, b=b)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)
    slopes = funcad.grad(lambda v: np.sum(nn.logsumexp(v, 1, b)))(x)
    np.testing.assert_allclose(slopes.sum(axis=1), float(b.any()), rtol=1e-12)


def test_weighted_logsumexp_differentiates_with_respect_to_weights_too():
    x, b = np.array([[1.0, 800.0], [0.3, 2.0]]), np.array([0.5, 2.0])
    check_grads(lambda x, b: nn.logsumexp(x, axis=1, b=b), (x, b), order=2)
    zero = np.array([[1.0, 1e4], [0.3, 2.0]]), np.array([0.5, 0.0])
    check_grads(lambda x: nn.logsumexp(x, axis=1, b=zero[1]), zero[:1], order=2)


@given(x=matrices, shift=st.floats(-1e3, 1e3))
def test_softmax_does_not_see_a_shift_and_sums_to_one(x, shift):
    p = nn.softmax(x)
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-13)
    np.testing.assert_allclose(nn.softmax(x + shift), p, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(
        nn.logsumexp(x + shift, -1), nn.logsumexp(x, -1) + shift, rtol=1e-9, atol=1e-9
    )


@given(
    x=hnp.arrays(np.float64, (2, 3), elements=st.floats(-3, 3)),
    axis=st.sampled_from([0, 1, (0, 1)]),
)
def test_softmax_and_relatives_have_right_derivatives_to_second_order(x, axis):
    for function in (nn.softmax, nn.log_softmax, nn.logsumexp):
        check_grads(lambda v, f=function: f(v, axis=axis), (x,), order=2)


def test_the_hessian_of_logsumexp_is_the_covariance_of_softmax():
    x = np.random.default_rng(0).normal(size=5)
    p = nn.softmax(x)
    np.testing.assert_allclose(
        funcad.hessian(nn.logsumexp)(x), np.diag(p) - np.outer(p, p), atol=1e-15
    )


@dtypes
def test_softmax_and_relatives_keep_the_dtype(dtype):
    x = np.linspace(-2, 2, 6).astype(dtype).reshape(2, 3)
    for function in (nn.softmax, nn.log_softmax, nn.logsumexp):
        slope = funcad.grad(lambda v, f=function: np.sum(f(v, axis=-1) ** 2))
        assert function(x, axis=-1).dtype == dtype
        assert slope(x).dtype == dtype
        assert funcad.jvp(slope, (x,), (x,))[1].dtype == dtype
        assert function(x.astype(int), axis=-1).dtype == np.float64


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "row, p",
    [
        ([1e4, -1e4, 1e4], [0.5, 0, 0.5]),
        ([-1e4, -1e4, -1e4 - 1e3], [0.5, 0.5, 0]),
        ([1e4, 0, 0], [1, 0, 0]),
        ([-1e4, 0, 0], [0, 0.5, 0.5]),
    ],
)
def test_softmax_and_its_derivatives_are_stable_far_from_zero(dtype, row, p):
    # with an ordinary row beside, which must not be harmed
    x = np.array([row, [0, 1, 2]], dtype)
    ordinary = np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum()
    p = np.stack([np.array(p), ordinary])
    t = np.array([[1, 2, 3], [3, 1, 2]], dtype)
    rtol = 1e-5 if dtype == np.float32 else 1e-13
    first = p * (t - np.sum(p * t, -1, keepdims=True))
    near = {"rtol": rtol, "atol": rtol}
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(nn.softmax(x), p, **near)
        np.testing.assert_allclose(funcad.jvp(nn.softmax, (x,), (t,))[1], first, **near)
        np.testing.assert_allclose(funcad.vjp(nn.softmax, x)[1](t)[0], first, **near)
        np.testing.assert_allclose(
            funcad.grad(lambda v: np.sum(nn.logsumexp(v, -1)))(x), p, **near
        )
        np.testing.assert_allclose(
            funcad.hvp(lambda v: np.sum(nn.logsumexp(v, -1)), (x,), (t,)),
            first,
            **near,
        )
        np.testing.assert_allclose(
            funcad.grad(lambda v: np.sum(nn.log_softmax(v) * t))(x),
            t - p * t.sum(-1, keepdims=True),
            rtol=rtol,
            atol=10 * rtol,
        )
        second = funcad.hvp(lambda v: np.sum(nn.softmax(v) * t), (x,), (t,))
    centred = t - np.sum(p * t, -1, keepdims=True)
    variance = np.sum(p * centred**2, -1, keepdims=True)
    np.testing.assert_allclose(second, p * (centred**2 - variance), **near)


@given(
    x=hnp.arrays(np.float64, (4, 5), elements=entries),
    mask=hnp.arrays(bool, (4, 5)),
)
def test_masked_entries_count_for_nothing(x, mask):
    p, log_p = nn.softmax(x, where=mask), nn.log_softmax(x, where=mask)
    for row, keep, q, log_q in zip(x, mask, p, log_p, strict=True):
        np.testing.assert_array_equal(q[~keep], 0)
        np.testing.assert_array_equal(log_q[~keep], -np.inf)
        if keep.any():
            expected = scipy.special.softmax(row[keep])
            np.testing.assert_allclose(q[keep], expected, rtol=1e-12)
            np.testing.assert_allclose(np.exp(log_q[keep]), expected, rtol=1e-11)
    slope = funcad.grad(lambda v: np.sum(nn.softmax(v, where=mask) ** 2))
    assert np.isfinite(slope(x)).all()
    assert np.isfinite(funcad.jvp(slope, (x,), (x,))[1]).all()
    np.testing.assert_array_equal(slope(x)[~mask], 0)


def test_a_row_of_minus_infinity_has_no_probabilities_and_no_nan():
    x = np.array([[-np.inf, -np.inf], [0.0, -np.inf]])
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(nn.softmax(x), [[0, 0], [1, 0]])
        np.testing.assert_array_equal(nn.logsumexp(x, axis=1), [-np.inf, 0])
        slope = funcad.grad(lambda v: np.sum(nn.logsumexp(v, axis=1)[1:]))(x)
    np.testing.assert_array_equal(slope, [[0, 0], [1, 0]])


def test_nan_stays_in_its_row():
    x = np.array([[np.nan, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(nn.softmax(x), [[np.nan, np.nan], [0.5, 0.5]])
    np.testing.assert_array_equal(np.isnan(nn.logsumexp(x, axis=1)), [True, False])


@pytest.mark.parametrize("shape", [(3, 4), (5000, 3), (2, 5000), (2, 3, 4)])
def test_softmax_is_the_same_in_any_layout_and_for_long_rows(shape):
    x = np.random.default_rng(0).normal(size=shape)
    last = scipy.special.softmax(x, axis=-1)
    np.testing.assert_allclose(nn.softmax(x), last, rtol=1e-12)
    np.testing.assert_allclose(nn.softmax(x.T, axis=0), last.T, rtol=1e-12)
    ct = np.random.default_rng(1).normal(size=shape)
    pulled = last * (ct - np.sum(last * ct, axis=-1, keepdims=True))
    np.testing.assert_allclose(
        funcad.vjp(nn.softmax, x)[1](ct)[0], pulled, rtol=1e-10, atol=1e-15
    )


def test_vmap_of_softmax_and_relatives_is_a_loop():
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    for function in (nn.softmax, nn.log_softmax, nn.logsumexp):
        check_vmap(lambda v, f=function: f(v, axis=0), (x,), in_axes=2)
        check_vmap(
            funcad.grad(lambda v, f=function: np.sum(f(v, axis=-1) ** 2)), (x,), 1
        )
    check_vmap(funcad.vjp(nn.softmax, x[0])[1], (x,))
    check_vmap(funcad.hessian(lambda v: nn.softmax(v)[0]), (x[0],))


def test_softmax_over_nothing_is_an_error_that_names_the_shape():
    for function in (nn.softmax, nn.log_softmax, nn.logsumexp):
        with pytest.raises(ValueError, match=r"shape \(2, 0\) is over no entries"):
            function(np.zeros((2, 0)), axis=-1)
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):
        nn.softmax(np.zeros((2, 3)), axis=2)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp", "layer_norm"])
def test_lists_and_axes_that_are_no_integers_are_refused(name):
    f = getattr(nn, name)
    with pytest.raises(LeafTypeError, match=r"type list .* Write np\.array\(\.\.\.\)"):
        f([[1.0, 2.0]])
    for axis in (1.5, "rows", (0, 0.5)):
        with pytest.raises(TypeError, match="axis is an integer, a tuple of integers"):
            f(np.ones((2, 2)), axis=axis)
