"""Sliding windows: as views, and their maxima and means."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcad
from funcad import nn
from funcad.testing import check_grads, check_vmap
from properties import assert_close, generators


@st.composite
def poolings(draw):
    """A shape of x and arguments that fit it."""
    rank = draw(st.integers(1, 3))

    def numbers(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    window, stride, dilation = numbers(1, 3), numbers(1, 3), numbers(1, 2)
    # less padding than a window, and no array that fits in between its places
    padding = tuple((draw(st.integers(0, w - 1)), draw(st.integers(0, w - 1)))
                    for w in window)  # fmt: skip
    size = tuple(
        max(d * (w - 1) + 1 - b - a, d) + more
        for w, d, (b, a), more in zip(window, dilation, padding, numbers(0, 2))
    )
    shape = (*draw(st.sampled_from([(), (2,), (2, 3)])), *size)
    arguments = {"window": window, "stride": stride, "padding": padding}
    return shape, arguments, dilation


def windows_by_hand(x, window, stride, padding, dilation):
    """Each window as a list of its entries; NaN stands for places of the padding."""
    rank = len(window)
    padded = np.pad(
        x, [(0, 0)] * (x.ndim - rank) + list(padding), constant_values=np.nan
    )
    extents = tuple(d * (w - 1) + 1 for w, d in zip(window, dilation))
    view = np.lib.stride_tricks.sliding_window_view(
        padded, extents, tuple(range(x.ndim - rank, x.ndim))
    )
    steps = [slice(None, None, s) for s in stride]
    places = [slice(None, None, d) for d in dilation]
    view = view[(..., *steps, *places)]
    return view.reshape((*view.shape[:-rank], -1))


@given(poolings(), generators())
def test_max_pool_is_the_largest_entry_of_each_window(case, rng):
    shape, arguments, dilation = case
    x = rng.normal(size=shape)
    entries = windows_by_hand(x, **arguments, dilation=dilation)
    want = np.nanmax(entries, axis=-1)
    got = nn.max_pool(x, **arguments, dilation=dilation)
    np.testing.assert_array_equal(got, want)


@given(poolings(), generators(), st.booleans())
def test_average_pool_is_the_mean_of_each_window(case, rng, included):
    shape, arguments, _ = case
    x = rng.normal(size=shape)
    entries = windows_by_hand(x, **arguments, dilation=(1,) * len(arguments["window"]))
    if included:
        want = np.nansum(entries, axis=-1) / entries.shape[-1]
    else:
        want = np.nanmean(entries, axis=-1)
    got = nn.average_pool(x, **arguments, count_include_pad=included)
    assert_close(got, want, 1e-12, 1e-12)


@given(poolings(), generators())
def test_derivatives_are_right_to_second_order(case, rng):
    shape, arguments, dilation = case
    x = 0.1 * rng.permutation(int(np.prod(shape))).reshape(shape)

    def squared(x):
        y = nn.max_pool(x, **arguments, dilation=dilation)
        z = nn.average_pool(x, **arguments, count_include_pad=False)
        return np.sum(y * y), np.sum(z * z)

    check_grads(squared, (x,), order=2)


@given(poolings(), generators())
def test_vmap_is_a_loop(case, rng):
    shape, arguments, dilation = case
    x = rng.normal(size=(*shape, 2))

    def pooled(x):
        y = nn.max_pool(x, **arguments, dilation=dilation)
        return y, nn.average_pool(x, **arguments)

    check_vmap(pooled, (x,), -1)
    check_vmap(funcad.grad(lambda x: sum(map(np.sum, pooled(x)))), (x,), -1)


def test_ties_share_the_derivative_equally():
    x = np.array([[1.0, 1.0], [0.0, 1.0]])
    gradient = funcad.grad(lambda x: nn.max_pool(x, (2, 2)).sum())(x)
    np.testing.assert_allclose(gradient, np.array([[1, 1], [0, 1]]) / 3)
    np.testing.assert_array_equal(gradient, funcad.grad(np.max)(x))


def test_padding_never_attains_the_maximum():
    x = np.full((1, 3), -np.inf)
    y, f_vjp = funcad.vjp(lambda x: nn.max_pool(x, (2,), 1, padding=[1]), x)
    np.testing.assert_array_equal(y, np.full((1, 4), -np.inf))
    # shares of windows with one, two, two and one entries
    np.testing.assert_array_equal(f_vjp(np.ones((1, 4)))[0], [[1.5, 1, 1.5]])
    least = np.full((1, 3), np.iinfo(np.int8).min, np.int8)
    got = nn.max_pool(least, (3,), 1, "same")
    assert got.dtype == np.int8
    np.testing.assert_array_equal(got, least)


def test_nan_goes_through():
    x = np.array([1.0, np.nan, 2.0, 3.0])
    np.testing.assert_array_equal(nn.max_pool(x, (2,)), [np.nan, 3])
    np.testing.assert_array_equal(nn.average_pool(x, (2,)), [np.nan, 2.5])


def test_windows_do_not_overlap_unless_a_stride_says_so():
    x = np.arange(6.0)
    np.testing.assert_array_equal(nn.max_pool(x, (2,)), [1, 3, 5])
    np.testing.assert_array_equal(nn.max_pool(x, (2,), 1), [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(nn.average_pool(x, (4,)), [1.5])


def test_one_number_stands_for_all_axes_but_examples_and_channels():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 6))
    np.testing.assert_array_equal(nn.max_pool(x, 2), nn.max_pool(x, (2, 2)))
    y = x.reshape(2, 3, 2, 2, 3, 2)
    np.testing.assert_array_equal(nn.max_pool(x, 2), y.max(axis=(3, 5)))
    assert_close(nn.average_pool(x, 2), y.mean(axis=(3, 5)), 1e-14, 1e-14)


def test_average_pool_is_a_convolution():
    x = np.random.default_rng(0).normal(size=(2, 1, 7, 6))
    want = nn.conv(x, np.full((1, 1, 3, 2), 1 / 6), (2, 1), [(1, 0), (1, 1)])
    got = nn.average_pool(x, (3, 2), (2, 1), [(1, 0), (1, 1)])
    assert_close(got, want, 1e-14, 1e-14)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.complex64, np.int32])
def test_dtypes_are_those_of_means(dtype):
    x = np.arange(6).astype(dtype)
    for included in (True, False):
        y = nn.average_pool(x, (2,), padding=[1], count_include_pad=included)
        assert y.dtype == np.mean(x.reshape(2, 3), axis=0).dtype
    if np.dtype(dtype).kind == "f":
        for pool in (nn.max_pool, nn.average_pool):
            assert pool(x, (2,)).dtype == dtype
            gradient = funcad.grad(lambda x, pool=pool: pool(x, (2,)).sum())(x)
            assert gradient.dtype == dtype


x2 = np.ones((2, 3, 4, 4))
WRONG = {
    "window too large": (lambda: nn.max_pool(x2, (5, 1)), "does not fit"),
    "no entries at all": (lambda: nn.max_pool(np.ones((2, 0)), (1,)), "does not fit"),
    "empty window": (lambda: nn.average_pool(x2, (0, 1)), r"window=\(0, 1\) must be"),
    "window of zero": (lambda: nn.max_pool(x2, 0), "max_pool: window=0 must be"),
    "window of 2.0": (lambda: nn.max_pool(x2, 2.0), "max_pool: window=2.0 must be"),
    "no window": (lambda: nn.average_pool(x2, None), "window=None must be"),
    "padding wider than the window": (
        lambda: nn.max_pool(x2, (1, 2), padding=[(1, 0), (0, 0)]),
        "in the padding alone",
    ),
    "an array between two places": (
        lambda: nn.max_pool(np.ones(1), (2,), 1, [1], dilation=2),
        "in the padding alone",
    ),
    "one number for no axes": (lambda: nn.max_pool(np.ones((3, 3)), 2), "Give a seq"),
    "more sizes than axes": (lambda: nn.max_pool(np.ones(3), (1, 1)), "Give a seq"),
    "more strides than sizes": (lambda: nn.max_pool(x2, (2, 2), (1, 1, 1)), "stride"),
    "stride of zero": (lambda: nn.average_pool(x2, (2, 2), 0), "stride=0"),
    "unknown padding": (lambda: nn.average_pool(x2, 2, padding="full"), "'full'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_shapes_are_value_errors_that_say_them(case):
    call, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_complex_numbers_have_no_maximum():
    with pytest.raises(TypeError, match="complex128 have no order"):
        nn.max_pool(np.ones(4, complex), (2,))


# ------------------------------------------------------------------ windows as a view

sliding = np.lib.stride_tricks.sliding_window_view


def test_the_derivative_of_windows_counts_how_many_an_entry_is_in():
    x = np.zeros((5, 4))
    gradient = funcad.grad(lambda x: np.sum(sliding(x, (3, 2))))(x)
    np.testing.assert_array_equal(
        gradient, np.outer([1, 2, 3, 2, 1], [1, 2, 2, 1]).astype(float)
    )


def test_a_moving_average_is_written_with_windows():
    x = np.random.default_rng(0).normal(size=7)

    def smoothed(x):
        return np.mean(sliding(x, 3), axis=-1)

    check_grads(lambda x: smoothed(x) ** 2, (x,), order=2)
    assert_close(smoothed(x), nn.average_pool(x, (3,), 1), 1e-14, 1e-14)


def test_traced_windows_are_read_only_views_as_numpys_are():
    x = np.arange(5.0)
    (view,) = funcad.make_program(lambda x: sliding(x, 2))(x).evaluate([x])
    assert np.shares_memory(view, x)
    assert not view.flags.writeable
    with pytest.raises(TypeError, match="writeable"):
        funcad.make_program(lambda x: sliding(x, 2, writeable=True))(x)


@pytest.mark.parametrize(
    ("window", "axis"),
    [
        (-1, 0),
        ((3, 5), None),
        (3, None),
        ((2, 2), (0,)),
        (2, 2),
        ((3, 2), (0, 0)),
        (2.5, 0),
    ],
)
def test_windows_that_numpy_refuses_are_refused_with_the_same_type(window, axis):
    x = np.ones((3, 4))
    with pytest.raises(Exception) as theirs:
        sliding(x, window, axis)
    with pytest.raises(type(theirs.value)):
        funcad.make_program(lambda x: sliding(x, window, axis))(x)
