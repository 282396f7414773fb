"""Convolutions against their definition, SciPy and each other."""

import itertools
import math

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

import funcad
from funcad import nn
from funcad.testing import check_grads, check_vmap
from properties import assert_close, generators, host, pairing


def conv_by_hand(x, kernel, stride, padding, dilation, groups):
    """The definition, entry by entry; stride, padding and dilation for each axis."""
    n, channels, *size = x.shape
    outputs, each, *window = kernel.shape
    padded = np.pad(x, [(0, 0), (0, 0), *padding])
    count = [
        (m + b + a - d * (w - 1) - 1) // s + 1
        for m, (b, a), d, w, s in zip(size, padding, dilation, window, stride)
    ]
    y = np.zeros((n, outputs, *count))
    for o, c in itertools.product(range(outputs), range(each)):
        channel = o // (outputs // groups) * each + c
        for at, place in itertools.product(np.ndindex(*count), np.ndindex(*window)):
            entry = [i * s + p * d for i, s, p, d in zip(at, stride, place, dilation)]
            y[(slice(None), o, *at)] += (
                padded[(slice(None), channel, *entry)] * kernel[(o, c, *place)]
            )
    return y


@st.composite
def convolutions(draw):
    """Shapes of x and a kernel that fit, and the arguments of the convolution."""
    rank = draw(st.integers(1, 3))
    groups, each, outputs = (draw(st.integers(1, 2)) for _ in range(3))

    def numbers(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    window, stride, dilation = numbers(1, 3), numbers(1, 3), numbers(1, 2)
    padding = tuple(zip(numbers(0, 2), numbers(0, 2), strict=True))
    size = tuple(
        max(d * (w - 1) + 1 - b - a, 1) + more
        for w, d, (b, a), more in zip(window, dilation, padding, numbers(0, 2))
    )
    shape = (draw(st.integers(1, 2)), groups * each, *size)
    kernel = (groups * outputs, each, *window)
    arguments = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }
    return shape, kernel, arguments


@given(convolutions(), generators())
def test_conv_is_what_its_definition_says(case, rng):
    shape, weights, arguments = case
    x, kernel = rng.normal(size=shape), rng.normal(size=weights)
    got = nn.conv(x, kernel, **arguments)
    assert_close(got, conv_by_hand(x, kernel, **arguments), 1e-10, 1e-10)


@given(convolutions(), generators())
def test_conv_transpose_is_the_transpose_of_conv(case, rng):
    shape, weights, arguments = case
    x, kernel = rng.normal(size=shape), rng.normal(size=weights)
    y, f_vjp = funcad.vjp(lambda x: nn.conv(x, kernel, **arguments), x)
    ct = rng.normal(size=y.shape)
    over = [
        (n + b + a - d * (w - 1) - 1) % s
        for n, w, s, d, (b, a) in zip(
            shape[2:],
            weights[2:],
            arguments["stride"],
            arguments["dilation"],
            arguments["padding"],
        )
    ]
    got = nn.conv_transpose(ct, kernel, output_padding=over, **arguments)
    (want,) = f_vjp(ct)
    assert_close(got, want, 1e-12, 1e-12)
    assert np.isclose(pairing([ct], [y]), pairing([got], [x]))


@given(convolutions(), generators())
def test_conv_agrees_with_scipy(case, rng):
    (n, _, *size), (outputs, _, *window), arguments = case
    size = [max(m, w) for m, w in zip(size, window)]
    x, kernel = rng.normal(size=(n, 1, *size)), rng.normal(size=(outputs, 1, *window))
    # stride and dilation by leaving entries out and putting zeros in
    stride, dilation = arguments["stride"], arguments["dilation"]
    spread = np.zeros((outputs, *[d * (w - 1) + 1 for d, w in zip(dilation, window)]))
    spread[(slice(None), *[slice(None, None, d) for d in dilation])] = kernel[:, 0]
    x = np.pad(x, [(0, 0), (0, 0), *[(2 * d, 2 * d) for d in dilation]])
    got = nn.conv(x, kernel, stride, "valid", dilation)
    chosen = tuple(slice(None, None, s) for s in stride)
    for i, o in itertools.product(range(n), range(outputs)):
        want = scipy.signal.correlate(x[i, 0], spread[o], "valid", "direct")
        assert_close(got[i, o], want[chosen], 1e-10, 1e-10)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("function", [nn.conv, nn.conv_transpose])
def test_derivatives_are_right_to_second_order(function, rank, groups):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 2, *(4, 3, 4)[:rank]))
    kernel = rng.normal(size=(2, 2 // groups, *(2, 3, 2)[:rank]))
    bias = rng.normal(size=2 if function is nn.conv else 2 // groups * groups)
    arguments = {
        "stride": (2, 1, 1)[:rank],
        "padding": ((1, 0), (1, 1), (0, 0))[:rank],
        "dilation": (1, 1, 2)[:rank],
        "groups": groups,
    }

    def apply(x, kernel, bias):
        return function(x, kernel, bias=bias, **arguments)

    check_grads(apply, (x, kernel, bias), order=2)


@pytest.mark.parametrize("function", [nn.conv, nn.conv_transpose])
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (2, 1)])
@pytest.mark.parametrize("groups", [1, 2])
def test_vmap_is_a_loop(function, axes, groups):
    rng = np.random.default_rng(0)

    def several(shape, axis):
        return rng.normal(size=shape if axis is None else np.insert(shape, axis, 3))

    x = several((2, 4, 5, 6), axes[0])
    kernel = several((4, 4 // groups, 2, 3), axes[1])
    arguments = {"stride": (2, 1), "padding": 1, "groups": groups}

    def apply(x, kernel):
        return function(x, kernel, **arguments)

    check_vmap(apply, (x, kernel), axes)
    gradient = funcad.grad(lambda x, kernel: np.sum(apply(x, kernel) ** 3), (0, 1))
    check_vmap(gradient, (x, kernel), axes)


def test_single_examples_are_convolved_without_an_axis_of_examples():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(3, 2, 5, 6)), rng.normal(size=(4, 2, 3, 3))
    back = rng.normal(size=(2, 4, 3, 3))
    for function, weights in [(nn.conv, kernel), (nn.conv_transpose, back)]:
        whole = function(x, weights, bias=np.arange(4.0))
        rows = [function(row, weights, bias=np.arange(4.0)) for row in x]
        assert_close(whole, np.stack(rows), 1e-14, 1e-14)


@given(
    n=st.integers(1, 9),
    window=st.integers(1, 4),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
)
def test_same_padding_gives_a_window_for_each_stride(n, window, stride, dilation):
    x, kernel = np.ones((1, 1, n)), np.ones((1, 1, window))
    y = nn.conv(x, kernel, stride, "same", dilation)
    assert y.shape == (1, 1, math.ceil(n / stride))
    z = nn.conv_transpose(x, kernel, stride, "same", dilation=dilation)
    assert z.shape == (1, 1, n * stride)
    # the same windows as those of which it is the transpose
    _, f_vjp = funcad.vjp(lambda z: nn.conv(z, kernel, stride, "same", dilation), z)
    np.testing.assert_array_equal(f_vjp(x)[0], z)


def test_an_odd_number_of_zeros_has_one_more_at_the_end():
    x = np.array([[1.0, 2.0, 3.0]])
    y = nn.conv(x, np.array([[[1.0, 10.0]]]), padding="same")
    np.testing.assert_array_equal(y, [[21, 32, 3]])


def test_padding_is_said_in_one_number_or_for_each_axis_or_side():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 1, 5, 4)), rng.normal(size=(1, 1, 3, 3))
    whole = nn.conv(x, kernel, padding=1)
    for padding in [(1, 1), [1, (1, 1)], ((1, 1), (1, 1)), "same"]:
        np.testing.assert_array_equal(nn.conv(x, kernel, padding=padding), whole)
    for padding in [0, (0, 0), "valid"]:
        y = nn.conv(x, kernel, padding=padding)
        assert_close(y, whole[:, :, 1:-1, 1:-1], 1e-14, 1e-14)


def test_the_kernel_of_ones_is_a_sum_and_that_of_one_place_a_matrix_product():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
    total = nn.conv(x, np.ones((1, 3, 4, 4)))
    assert_close(total[:, 0, 0, 0], x.sum(axis=(1, 2, 3)), 1e-12, 1e-12)
    weight = np.random.default_rng(1).normal(size=(5, 3))
    y = nn.conv(x, weight[:, :, None, None])
    assert_close(y, np.einsum("oc,nchw->nohw", weight, x), 1e-12, 1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.complex64, np.int64])
def test_dtypes_stay_what_they_are(dtype):
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, (2, 2, 5)).astype(dtype)
    kernel = rng.integers(-3, 4, (3, 2, 2)).astype(dtype)
    y = nn.conv(x, kernel)
    assert y.dtype == dtype
    want = conv_by_hand(x.real.astype(float), kernel.real.astype(float), [1], [(0, 0)],
                        [1], 1)  # fmt: skip
    np.testing.assert_array_equal(y, want.astype(dtype))
    wider = nn.conv(x, kernel.real.astype(np.float64))
    assert wider.dtype == np.result_type(dtype, float)
    if np.dtype(dtype).kind == "f":
        gradient = funcad.grad(lambda x: nn.conv(x, kernel).sum())(x)
        assert gradient.dtype == dtype


def test_half_precision_is_summed_up_in_single():
    x = np.full((1, 1, 4096), 1.0, np.float16)
    y = nn.conv(x, np.ones((1, 1, 4096), np.float16))
    assert y.item() == 4096  # one after another would stay at 2048


def test_many_samples_are_computed_in_blocks():
    # more than one block, the last of which is smaller
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(101, 16, 12, 12)), rng.normal(size=(4, 16, 3, 3))
    rows = np.concatenate([nn.conv(x[i : i + 1], kernel) for i in range(101)])
    assert_close(nn.conv(x, kernel), rows, 1e-11, 1e-11)
    gradient = funcad.grad(lambda k, x: np.sum(nn.conv(x, k) ** 2))
    total = sum(gradient(kernel, x[i : i + 1]) for i in range(101))
    assert_close(gradient(kernel, x), total, 1e-10, 1e-10)
    image = funcad.grad(lambda x: np.sum(nn.conv(x, kernel, 2) ** 2))
    assert_close(image(x)[100], image(x[100:])[0], 1e-10, 1e-10)


def test_no_samples_give_no_samples():
    y = nn.conv(np.ones((0, 2, 5)), np.ones((3, 2, 2)))
    assert y.shape == (0, 3, 4)
    gradient = funcad.grad(lambda k: np.sum(nn.conv(np.ones((0, 2, 5)), k)))
    np.testing.assert_array_equal(gradient(np.ones((3, 2, 2))), np.zeros((3, 2, 2)))


def test_a_convolution_runs_where_its_operands_live(library):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 4, 6, 5)), rng.normal(size=(6, 2, 3, 2))
    bias = rng.normal(size=6)

    def loss(x, kernel, bias):
        y = nn.conv(x, kernel, 2, "same", groups=2, bias=bias)
        y = nn.average_pool(nn.max_pool(y, 2, 1), (2, 1), count_include_pad=False)
        return np.sum(y * y)

    gradient = funcad.grad(loss, (0, 1, 2))
    wants = gradient(x, kernel, bias)
    gots = gradient(*map(library.from_host, (x, kernel, bias)))
    for got, want in zip(gots, wants, strict=True):
        assert type(got) is type(library.from_host(want))
        assert_close(host(got), want, 1e-10, 1e-10)


def test_a_staged_convolution_is_one_equation():
    x, kernel = np.ones((1, 1, 2, 5)), np.ones((2, 1, 2, 2))
    program = funcad.make_program(lambda x, k: nn.conv(x[0], k, padding="same"))(
        x, kernel
    )
    names = [equation.primitive.name for equation in program.equations]
    assert names.count("conv") == 1
    (y,) = program.evaluate([x, kernel])
    np.testing.assert_array_equal(y, nn.conv(x[0], kernel, padding="same"))


def test_kernels_are_drawn_by_the_initialisers():
    init = nn.initializers.he_normal(in_axis=1, out_axis=0)
    kernel = init(funcad.random.key(0), (64, 32, 3, 3))
    assert abs(kernel.var() * 32 * 9 - 2) < 0.05


x2, k2 = np.ones((1, 4, 5, 5)), np.ones((6, 4, 3, 3))
WRONG = {
    "other channels": (lambda: nn.conv(x2, np.ones((6, 3, 3, 3))), "4 channels"),
    "groups do not divide the channels": (
        lambda: nn.conv(x2, np.ones((6, 1, 3, 3)), groups=3),
        "in 3 groups",
    ),
    "groups do not divide the outputs": (
        lambda: nn.conv(x2, np.ones((5, 2, 3, 3)), groups=2),
        "5 outputs do not divide",
    ),
    "no groups": (lambda: nn.conv(x2, k2, groups=0), "groups=0"),
    "window too large": (
        lambda: nn.conv(x2, np.ones((1, 4, 3, 8)), padding=1),
        r"\(3, 8\) entries.*\(5, 5\) entries with padding",
    ),
    "dilated window too large": (lambda: nn.conv(x2, k2, dilation=3), "does not fit"),
    "empty window": (lambda: nn.conv(x2, np.ones((1, 4, 0, 3))), "does not fit"),
    "other rank": (lambda: nn.conv(x2, np.ones((6, 4, 3))), r"last 1 axes"),
    "no axes": (lambda: nn.conv(np.ones((2, 2)), np.ones((2, 2))), "kernel has shape"),
    "four axes": (lambda: nn.conv(x2, np.ones((1,) * 6)), "kernel has shape"),
    "stride of zero": (lambda: nn.conv(x2, k2, 0), "stride=0 must be"),
    "too many strides": (lambda: nn.conv(x2, k2, (1, 1, 1)), "stride="),
    "no strides": (lambda: nn.conv(x2, k2, ()), "stride="),
    "dilation of zero": (lambda: nn.conv(x2, k2, dilation=0), "dilation=0 must be"),
    "negative padding": (lambda: nn.conv(x2, k2, padding=-1), "padding=-1 must be"),
    "unknown padding": (lambda: nn.conv(x2, k2, padding="SAME"), "'SAME' must be"),
    "stride of 1.5": (lambda: nn.conv(x2, k2, 1.5), "conv: stride=1.5 must be"),
    "padding of 1.0": (lambda: nn.conv(x2, k2, padding=1.0), "padding=1.0 must be"),
    "no padding": (lambda: nn.conv(x2, k2, padding=None), "padding=None must be"),
    "pair of floats": (lambda: nn.conv(x2, k2, padding=[(1.0, 1), 1]), "must be"),
    "groups of 1.0": (lambda: nn.conv(x2, k2, groups=1.0), "groups=1.0 must be"),
    "too little padding": (lambda: nn.conv(x2, k2, padding=(1,)), "padding="),
    "padding on three sides": (lambda: nn.conv(x2, k2, padding=[(1, 1, 1)] * 2), "="),
    "bias of another size": (lambda: nn.conv(x2, k2, bias=np.ones(4)), "bias has"),
    "transposed, other channels": (
        lambda: nn.conv_transpose(x2, k2),
        "4 channels, and the kernel .* takes 6",
    ),
    "transposed, groups do not divide": (
        lambda: nn.conv_transpose(x2, np.ones((4, 1, 2, 2)), groups=3),
        "4 channels do not divide",
    ),
    "transposed, nothing left": (
        lambda: nn.conv_transpose(x2, np.ones((4, 1, 2, 2)), padding=3),
        r"result of size \(0, 0\)",
    ),
    "transposed, too much output padding": (
        lambda: nn.conv_transpose(x2, np.ones((4, 1, 2, 2)), 2, output_padding=2),
        "output_padding 2 is not less",
    ),
    "transposed, same and output padding": (
        lambda: nn.conv_transpose(x2, np.ones((4, 1, 2, 2)), 2, "same", 1),
        "leave output_padding out",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_shapes_are_value_errors_that_say_them(case):
    call, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_arrays_of_two_libraries_do_not_meet():
    from backend_double import Array

    with pytest.raises(funcad.errors.MixedBackendsError):
        nn.conv(Array(x2), k2)
