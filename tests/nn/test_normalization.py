"""Layer normalisation and its relative without a mean."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import funcad
from funcad import nn
from funcad.errors import ArgumentError
from funcad.testing import check_grads, check_vmap

AXES = [-1, 0, 1, (0, 1), (-1, 0), (0, 1, 2)]
dtypes = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
arrays = hnp.arrays(np.float64, (2, 3, 4), elements=st.floats(-30, 30, width=32))


def layer_norm_by_hand(x, scale, bias, axis, eps):
    mean, variance = np.mean(x, axis, keepdims=True), np.var(x, axis, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * scale + bias


def rms_norm_by_hand(x, scale, axis, eps):
    return x / np.sqrt(np.mean(x**2, axis, keepdims=True) + eps) * scale


def parameters(rng, shape, axis):
    """Scale and bias of an axis, and both as they broadcast against the array."""
    axes = sorted(a % 3 for a in np.atleast_1d(axis))
    sizes = tuple(shape[a] for a in axes)
    kept = tuple(n if a in axes else 1 for a, n in enumerate(shape))
    scale, bias = rng.normal(size=(2, *sizes))
    return scale, bias, scale.reshape(kept), bias.reshape(kept)


@given(x=arrays, axis=st.sampled_from(AXES), eps=st.sampled_from([1e-5, 1e-2, 1.0]))
def test_normalisation_is_what_its_formula_says(x, axis, eps):
    scale, bias, *kept = parameters(np.random.default_rng(0), x.shape, axis)
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(
        nn.layer_norm(x, scale, bias, axis=axis, eps=eps),
        layer_norm_by_hand(x, *kept, axis, eps),
        **close,
    )
    np.testing.assert_allclose(
        nn.rms_norm(x, scale, axis=axis, eps=eps),
        rms_norm_by_hand(x, kept[0], axis, eps),
        **close,
    )


@given(x=arrays, shift=st.floats(-100, 100), factor=st.floats(1e-2, 1e2))
def test_layer_norm_gives_mean_zero_and_variance_one(x, shift, factor):
    x = x + np.arange(4.0)  # no row is constant
    y = nn.layer_norm(x, eps=0)
    np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=-1), 1, rtol=1e-12)
    np.testing.assert_allclose(
        nn.layer_norm(factor * x + shift, eps=0), y, rtol=1e-8, atol=1e-8
    )


def test_parameters_may_be_left_out():
    rng = np.random.default_rng(0)
    x, (scale, bias) = rng.normal(size=(3, 4)), rng.normal(size=(2, 4))
    plain = nn.layer_norm(x)
    np.testing.assert_array_equal(nn.layer_norm(x, bias=bias), plain + bias)
    np.testing.assert_array_equal(nn.layer_norm(x, scale), plain * scale)
    np.testing.assert_allclose(
        nn.layer_norm(x, scale, bias), plain * scale + bias, rtol=1e-15
    )
    np.testing.assert_array_equal(nn.rms_norm(x) * scale, nn.rms_norm(x, scale))
    np.testing.assert_allclose(nn.layer_norm(x, 2.0, 1.0), 2 * plain + 1, rtol=1e-15)


@pytest.mark.parametrize("axis", [-1, 0, (0, 2)])
def test_normalisation_has_right_derivatives_to_second_order(axis):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 4))
    scale, bias, *_ = parameters(rng, x.shape, axis)

    def layer_norm(x, scale, bias):
        return nn.layer_norm(x, scale, bias, axis=axis, eps=0.1)

    def rms_norm(x, scale):
        return nn.rms_norm(x, scale, axis=axis, eps=0.1)

    check_grads(layer_norm, (x, scale, bias), order=2)
    check_grads(rms_norm, (x, scale), order=2)


def test_third_derivatives_go_through_the_tangent_map():
    x = np.random.default_rng(0).normal(size=(2, 3))
    check_grads(lambda v: nn.layer_norm(v, eps=0.5), (x,), order=3)
    check_grads(lambda v: nn.rms_norm(v, eps=0.5), (x,), order=3)


@dtypes
def test_normalisation_and_its_derivatives_keep_the_dtype(dtype):
    x = np.linspace(-2, 2, 12).astype(dtype).reshape(3, 4)
    scale, bias = np.ones(4, dtype), np.zeros(4, dtype)
    for function in (nn.layer_norm, lambda x, scale, bias: nn.rms_norm(x, scale)):
        gradient = funcad.grad(
            lambda *args, f=function: np.sum(f(*args) ** 2), argnums=(0, 1)
        )
        assert function(x, scale, bias).dtype == dtype
        for slope in gradient(x, scale, bias):
            assert slope.dtype == dtype
        second = funcad.jvp(gradient, (x, scale, bias), (x, scale, bias))[1]
        assert {t.dtype for t in second} == {np.dtype(dtype)}
        assert function(x.astype(int), 1.0, 0.0).dtype == np.float64


def test_float16_does_not_overflow_where_its_square_would():
    x = np.array([[1e4, -1e4, 0, 0]], np.float16)
    root = np.sqrt(2)
    np.testing.assert_allclose(nn.layer_norm(x), [[root, -root, 0, 0]], rtol=1e-3)
    np.testing.assert_allclose(nn.rms_norm(x), [[root, -root, 0, 0]], rtol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e4, 1e-4, 0])
def test_normalisation_is_stable_for_large_small_and_constant_rows(dtype, size):
    rng = np.random.default_rng(0)
    x = (size * rng.normal(size=(3, 8))).astype(dtype)
    t, ct = rng.normal(size=(2, 3, 8)).astype(dtype)
    wide = x.astype(np.float64), t.astype(np.float64), ct.astype(np.float64)
    for function, by_hand in (
        (nn.layer_norm, lambda x: layer_norm_by_hand(x, 1, 0, -1, 1e-5)),
        (nn.rms_norm, lambda x: rms_norm_by_hand(x, 1, -1, 1e-6)),
    ):

        def first(x, t, ct, f=function):
            return funcad.vjp(f, x)[1](ct)[0]

        def second(x, t, ct, f=function):
            return funcad.jvp(lambda v: first(v, t, ct, f), (x,), (t,))[1]

        np.testing.assert_allclose(function(x), by_hand(wide[0]), rtol=1e-4, atol=1e-5)
        for order in (first, second):
            with np.errstate(all="raise", under="ignore"):
                got, want = order(x, t, ct), order(*wide, f=by_hand)
            assert np.isfinite(got).all()
            largest = np.abs(want).max()
            np.testing.assert_allclose(got, want, rtol=2e-3, atol=1e-4 * largest)


@pytest.mark.parametrize("shape", [(3, 4), (1, 5000), (300, 128), (2, 3, 4)])
def test_normalisation_is_the_same_in_any_layout_and_for_long_rows(shape):
    rng = np.random.default_rng(0)
    x, ct = rng.normal(size=(2, *shape))
    for function in (nn.layer_norm, nn.rms_norm):
        value, pullback = funcad.vjp(function, x)
        strided, strided_pullback = funcad.vjp(lambda v, f=function: f(v, axis=0), x.T)
        np.testing.assert_allclose(strided, value.T, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(
            strided_pullback(ct.T)[0], pullback(ct)[0].T, rtol=1e-9, atol=1e-12
        )


def test_vmap_of_normalisation_is_a_loop():
    rng = np.random.default_rng(0)
    x, scale, bias = rng.normal(size=(3, 2, 4)), *rng.normal(size=(2, 3, 4))

    def slopes(x, scale, bias):
        return funcad.grad(
            lambda *args: np.sum(np.sin(nn.layer_norm(*args))), argnums=(0, 1, 2)
        )(x, scale, bias)

    for function in (nn.layer_norm, slopes):
        check_vmap(function, (x, scale, bias))
        check_vmap(function, (x, scale[0], bias), (0, None, 0))
        check_vmap(function, (x[0], scale, bias), (None, 0, 0))
    check_vmap(lambda v: nn.layer_norm(v, axis=0), (x,), in_axes=1)
    check_vmap(nn.rms_norm, (x, scale), in_axes=(0, 0))
    check_vmap(funcad.vjp(nn.layer_norm, x[0])[1], (x,))
    check_vmap(funcad.hessian(lambda v: np.sum(nn.rms_norm(v) ** 3)), (x,))


def test_a_parameter_that_does_not_fit_is_an_error_that_names_the_shape_to_give():
    x = np.zeros((2, 3, 4))
    with pytest.raises(ValueError, match=r"scale has shape \(3,\).*shape \(4,\)"):
        nn.layer_norm(x, np.ones(3), np.zeros(4))
    with pytest.raises(ValueError, match=r"bias has shape \(3, 4\).*shape \(4,\)"):
        nn.layer_norm(x, np.ones(4), np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"scale has shape \(4,\).*shape \(2, 3\)"):
        nn.rms_norm(x, np.ones(4), axis=(0, 1))
    with pytest.raises(ValueError, match=r"shape \(2, 0\) is over no entries"):
        nn.layer_norm(np.zeros((2, 0)))
    with pytest.raises(ValueError, match="out of bounds"):
        nn.rms_norm(x, axis=3)


@pytest.mark.parametrize("eps", [-1.0, np.nan, np.float64(-1), None, "a", np.ones(3)])
@pytest.mark.parametrize(
    ("name", "operands"),
    [("layer_norm", 1), ("rms_norm", 1), ("matmul_layer_norm", 2)],
)
def test_an_eps_that_is_negative_or_no_number_is_refused(name, operands, eps):
    with pytest.raises(ArgumentError, match=f"{name}: eps must be"):
        getattr(nn, name)(*[np.eye(3)] * operands, eps=eps)


@pytest.mark.parametrize("eps", [0, 1, 1e-5, np.float32(1e-5), np.array(1e-5)])
def test_an_eps_is_any_number_from_zero_on(eps):
    assert np.isfinite(nn.layer_norm(np.arange(3.0), eps=eps)).all()
