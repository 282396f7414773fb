"""Fourier transforms: theorems, sizes, norms, and what NumPy refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcad
import funcad.numpy as fnp
from funcad.testing import check_grads

NORMS = [None, "backward", "ortho", "forward"]
norms = pytest.mark.parametrize("norm", NORMS)


def signal(*shape, seed=0, real=False):
    re, im = np.random.default_rng(seed).normal(size=(2, *shape))
    return re if real else re + 1j * im


def test_gradient_of_spectral_energy_is_that_of_parseval():
    # sum |fft(x)|^2 = n sum |x|^2
    x = signal(7, real=True)
    gradient = funcad.grad(lambda x: np.sum(np.abs(np.fft.fft(x)) ** 2))(x)
    np.testing.assert_allclose(gradient, 2 * 7 * x, rtol=1e-13)


@given(n=st.integers(1, 9))
def test_gradient_of_half_a_spectrum_counts_each_mirrored_frequency_once(n):
    # half the spectrum's energy: frequencies 0 and n/2 are their own mirror images
    x = signal(n, real=True)
    gradient = funcad.grad(lambda x: np.sum(np.abs(np.fft.rfft(x)) ** 2))(x)
    j = np.arange(n)
    want = sum(
        2 * np.real(np.exp(2j * np.pi * k * j / n) * np.fft.fft(x)[k])
        for k in range(n // 2 + 1)
    )
    np.testing.assert_allclose(gradient, want, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("n", [4, 5])
def test_irfft_does_not_depend_on_imaginary_parts_of_unmirrored_frequencies(n):
    z = signal(n // 2 + 1)
    w = signal(n, seed=1, real=True)
    gradient = funcad.grad(lambda z: np.sum(w * np.fft.irfft(z, n)))(z)
    assert gradient[0].imag == 0
    assert n % 2 == 1 or gradient[-1].imag == 0
    assert np.all(gradient[1 : (n + 1) // 2].imag != 0)


def test_derivative_of_a_circular_convolution_is_a_circular_correlation():
    x, k, ct = (signal(6, seed=s, real=True) for s in range(3))

    def convolved(x):
        return np.fft.irfft(np.fft.rfft(x) * np.fft.rfft(k), 6)

    _, f_vjp = funcad.vjp(convolved, x)
    (got,) = f_vjp(ct)
    want = [sum(ct[(i + j) % 6] * k[j] for j in range(6)) for i in range(6)]
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_spectral_derivative_is_the_derivative_of_a_periodic_function():
    t = np.arange(16) * (2 * np.pi / 16)

    def derivative(a):
        frequencies = np.fft.fftfreq(16, 1 / 16)
        return np.fft.ifft(1j * frequencies * np.fft.fft(np.sin(a + t))).real

    _, got = funcad.jvp(derivative, (0.3,), (1.0,))
    np.testing.assert_allclose(got, -np.sin(0.3 + t), atol=1e-13)


@norms
@pytest.mark.parametrize("n", [None, 3, 5, 8])
@pytest.mark.parametrize(
    ("name", "real"),
    [
        ("fft", False),
        ("ifft", False),
        ("rfft", True),
        ("irfft", False),
        ("hfft", False),
        ("ihfft", True),
    ],
)
def test_transforms_have_right_derivatives_cropped_padded_and_scaled(
    name, real, n, norm
):
    transform = getattr(np.fft, name)
    x = signal(5, 2, real=real)
    check_grads(lambda x: transform(x, n, axis=0, norm=norm), (x,), order=2)


def test_inverse_transforms_undo_under_every_norm():
    x = signal(3, 4, 5)
    for norm in NORMS:
        (back,) = funcad.make_program(
            lambda x, norm=norm: np.fft.ifftn(np.fft.fftn(x, norm=norm), norm=norm)
        )(x).evaluate([x])
        np.testing.assert_allclose(back, x, rtol=1e-12)


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_dtypes_of_values_and_gradients_are_numpys(name, dtype):
    transform = getattr(np.fft, name)
    x = signal(6, real=True).astype(dtype)
    value, f_vjp = funcad.vjp(transform, x)
    assert value.dtype == transform(x).dtype
    (gradient,) = f_vjp(np.ones_like(value))
    assert gradient.dtype == dtype


def test_float16_is_what_one_irfft_keeps_and_several_axes_do_not():
    x = np.ones((4, 4), np.float16)
    for function in (np.fft.irfft, np.fft.irfftn, np.fft.irfft2):
        (got,) = funcad.make_program(function)(x).evaluate([x])
        assert got.dtype == function(x).dtype


def test_no_axes_leave_the_array_as_it_is():
    x = signal(3, real=True)
    (got,) = funcad.make_program(lambda x: np.fft.fftn(x, axes=()))(x).evaluate([x])
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_sizes_without_axes_are_of_the_last_axes():
    x = signal(2, 3, 4)
    for call in (
        lambda x: np.fft.fftn(x, (2, 5)),
        lambda x: np.fft.irfftn(x, (4, 4), axes=(0, 1)),
        lambda x: np.fft.fftn(x, (None, 5), axes=(0, 1)),
        lambda x: np.fft.irfftn(x, (2, None), axes=(0, 1)),
    ):
        (got,) = funcad.make_program(call)(x).evaluate([x])
        np.testing.assert_allclose(got, call(x), rtol=1e-13, atol=1e-13)


def test_sizes_without_axes_are_deprecated_as_in_numpy():
    x = signal(2, 3)
    with pytest.warns(DeprecationWarning, match="axes"):
        funcad.make_program(lambda x: np.fft.fftn(x, (2, 5)))(x)
    with pytest.warns(DeprecationWarning, match="None"):
        funcad.make_program(lambda x: np.fft.fftn(x, (None,), (0,)))(x)


BAD = {
    "no points": (lambda x: np.fft.fft(x, 0), (3,)),
    "negative size": (lambda x: np.fft.ifft(x, -2), (3,)),
    "empty axis": (np.fft.fft, (2, 0)),
    "empty axis of many": (np.fft.fftn, (0, 2)),
    "one frequency": (np.fft.irfft, (1,)),
    "fractional size": (lambda x: np.fft.fft(x, 2.5), (3,)),
    "text for a size": (lambda x: np.fft.rfft(x, "3"), (3,)),
    "no axis": (np.fft.fft, ()),
    "wrong axis": (lambda x: np.fft.fft(x, axis=1), (3,)),
    "wrong axis with size": (lambda x: np.fft.fft(x, 3, axis=1), (3,)),
    "two axes of one": (np.fft.fft2, (3,)),
    "wrong norm": (lambda x: np.fft.fft(x, norm="unitary"), (3,)),
    "wrong norm of hfft": (lambda x: np.fft.hfft(x, norm="unitary"), (3,)),
    "wrong norm of many": (lambda x: np.fft.fftn(x, norm="unitary"), (3,)),
    "fewer sizes than axes": (lambda x: np.fft.fftn(x, (2,), (0, 1)), (3, 3)),
    "more sizes than axes": (lambda x: np.fft.rfft2(x, (2, 2), (0,)), (3, 3)),
    "real over no axes": (lambda x: np.fft.rfftn(x, axes=()), (3,)),
    "real from no axes": (lambda x: np.fft.irfftn(x, axes=()), (3,)),
    "zero among sizes": (lambda x: np.fft.fftn(x, (0, 2), (0, 1)), (3, 3)),
    "shift of no axis": (lambda x: np.fft.fftshift(x, 2), (3,)),
    "unknown argument": (lambda x: np.fft.fft(x, m=2), (3,)),
}


@pytest.mark.parametrize("case", BAD)
def test_what_numpy_refuses_is_refused_with_the_same_type(case):
    call, shape = BAD[case]
    x = np.ones(shape)
    with pytest.raises(Exception) as theirs:
        call(x)
    for transform in (funcad.make_program, funcad.vmap):
        operand = x if transform is funcad.make_program else x[None]
        with pytest.raises(type(theirs.value)):
            transform(call)(operand)


@pytest.mark.parametrize("name", ["rfft", "ihfft", "rfftn", "rfft2"])
def test_real_transforms_of_complex_entries_are_type_errors(name):
    function = getattr(np.fft, name)
    with pytest.raises(TypeError):
        function(signal(3, 3))
    with pytest.raises(TypeError, match="takes real entries, not complex128"):
        funcad.make_program(function)(signal(3, 3))


def test_out_is_refused_by_name():
    with pytest.raises(TypeError, match="out"):
        funcad.grad(lambda x: np.fft.fft(x, out=np.empty(3, complex)).real.sum())(
            np.ones(3)
        )


def test_the_namespace_has_what_numpys_has_and_takes_tracers():
    assert set(dir(fnp.fft)) == set(np.fft.__all__)
    np.testing.assert_allclose(
        funcad.grad(lambda x: fnp.fft.rfft(x)[0].real)(np.ones(3)), np.ones(3)
    )
