"""Scaled dot-product attention."""

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import funcad
from funcad import nn
from funcad.testing import check_grads, check_vmap

attention = nn.dot_product_attention


def naive(query, key, value, bias, mask, scale):
    """One query of one head after another, over the keys that it may attend to."""
    *lead, length, heads, _ = query.shape
    span = key.shape[-3]
    shape = (*lead, heads, length, span)
    bias, mask = np.broadcast_to(bias, shape), np.broadcast_to(mask, shape)
    out = np.zeros((*lead, length, heads, value.shape[-1]))
    for *batch, n, t in np.ndindex((*lead, heads, length)):
        batch = tuple(batch)
        keep = np.flatnonzero(mask[(*batch, n, t)])
        if len(keep):
            scores = key[(*batch, keep, n)] @ query[(*batch, t, n)] * scale
            weights = scipy.special.softmax(scores + bias[(*batch, n, t, keep)])
            out[(*batch, t, n)] = weights @ value[(*batch, keep, n)]
    return out


def inputs(lead=(2,), length=3, span=4, heads=2, size=5, width=3, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(*lead, length, heads, size)),
        rng.normal(size=(*lead, span, heads, size)),
        rng.normal(size=(*lead, span, heads, width)),
    )


@given(
    seed=st.integers(0, 9),
    lead=st.sampled_from([(), (2,), (2, 1), (0,)]),
    length=st.integers(1, 4),
    span=st.integers(1, 4),
    mask=st.none() | hnp.arrays(bool, (2, 4, 4)),
    is_causal=st.booleans(),
    scale=st.none() | st.floats(0.1, 2),
    with_bias=st.booleans(),
)
def test_attention_agrees_with_a_loop(
    seed, lead, length, span, mask, is_causal, scale, with_bias
):
    query, key, value = inputs(lead, length, span, seed=seed)
    if mask is not None:
        mask = mask[:, :length, :span]
    bias = (
        np.random.default_rng(seed).normal(size=(length, span)) if with_bias else None
    )
    allowed = np.ones((length, span), bool) if mask is None else mask
    if is_causal:
        allowed = allowed & np.tri(length, span, dtype=bool)
    got = attention(query, key, value, bias, mask, scale=scale, is_causal=is_causal)
    want = naive(
        query,
        key,
        value,
        0 if bias is None else bias,
        allowed,
        5**-0.5 if scale is None else scale,
    )
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def test_a_query_that_may_attend_to_nothing_gets_zeros_and_no_gradient():
    query, key, value = inputs()
    mask = np.ones((3, 4), bool)
    mask[1] = False
    weights = np.random.default_rng(1).normal(size=(2, 3, 2, 3))

    def loss(q, k, v):
        return np.sum(attention(q, k, v, mask=mask) * weights)

    gradient = funcad.grad(loss, (0, 1, 2))
    with np.errstate(all="raise", under="ignore"):
        out = attention(query, key, value, mask=mask)
        slopes = gradient(query, key, value)
        seconds = funcad.jvp(gradient, (query, key, value), (query, key, value))[1]
    np.testing.assert_array_equal(out[:, 1], 0)
    assert np.abs(out[:, [0, 2]]).min() > 0
    np.testing.assert_array_equal(slopes[0][:, 1], 0)
    assert all(np.isfinite(s).all() for s in (*slopes, *seconds))
    nothing = attention(query, key, value, mask=np.zeros((1, 1), bool))
    np.testing.assert_array_equal(nothing, 0)


def test_causal_attention_does_not_see_the_future():
    query, key, value = inputs(length=4)
    before = attention(query, key, value, is_causal=True)
    key[:, 2:], value[:, 2:] = 7, -7
    after = attention(query, key, value, is_causal=True)
    np.testing.assert_array_equal(after[:, :2], before[:, :2])
    assert (after[:, 2:] != before[:, 2:]).any()


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_has_right_derivatives_to_second_order(is_causal):
    query, key, value = inputs(lead=(), length=3, span=3, heads=1, size=2, width=2)
    bias = np.random.default_rng(0).normal(size=(3, 3))
    check_grads(
        lambda *args: attention(*args, is_causal=is_causal),
        (query, key, value, bias),
        order=2,
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_attention_and_its_derivatives_keep_the_dtype(dtype):
    args = tuple(x.astype(dtype) for x in inputs())
    mask = np.tri(3, 4, dtype=bool)

    def loss(*args):
        return np.sum(attention(*args, mask=mask, is_causal=True) ** 2)

    assert attention(*args, mask=mask).dtype == dtype
    assert {g.dtype for g in funcad.grad(loss, (0, 1, 2))(*args)} == {np.dtype(dtype)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_attention_is_stable_for_large_scores(dtype):
    query, key, value = (x.astype(dtype) for x in inputs(lead=(), span=3))
    query, key = 1e2 * query, 1e2 * key  # scores of about 1e4

    def loss(*args):
        return np.sum(attention(*args, is_causal=True) ** 2)

    gradient = funcad.grad(loss, (0, 1, 2))
    tangents = tuple(np.ones_like(x) for x in (query, key, value))
    with np.errstate(all="raise", under="ignore"):
        out = attention(query, key, value, is_causal=True)
        first = gradient(query, key, value)
        second = funcad.jvp(gradient, (query, key, value), tangents)[1]
    want = naive(query, key, value, 0, np.tri(3, dtype=bool), 5**-0.5)
    np.testing.assert_allclose(out, want, rtol=1e-3, atol=1e-3)
    assert all(np.isfinite(x).all() for x in (*first, *second))


def test_vmap_of_attention_is_a_loop():
    args = inputs(lead=(3,))
    check_vmap(attention, args)
    check_vmap(
        lambda *a: attention(*a, is_causal=True),
        (args[0], *inputs(())[1:]),
        (0, None, None),
    )
    masks = np.random.default_rng(0).random((3, 3, 4)) < 0.5
    check_vmap(lambda *a: attention(*a[:3], mask=a[3]), (*args, masks))

    def slopes(*args):
        return funcad.grad(
            lambda *a: np.sum(attention(*a[:3], mask=a[3]) ** 2), (0, 1, 2)
        )(*args)

    check_vmap(slopes, (*args, masks))


def test_shapes_that_do_not_fit_are_named():
    query, key, value = inputs()
    with pytest.raises(ValueError, match=r"query \(2, 3, 2, 5\), key \(2, 4, 2, 4\)"):
        attention(query, key[..., :4], value)
    with pytest.raises(ValueError, match="equal batches"):
        attention(query, key[:1], value)
    with pytest.raises(ValueError, match="equal batches"):
        attention(query, key, value[:, :3])
    with pytest.raises(ValueError, match="swapaxes"):
        attention(query[0, 0], key, value)
    with pytest.raises(ValueError, match=r"mask has shape \(4, 4\).*\(2, 2, 3, 4\)"):
        attention(query, key, value, mask=np.ones((4, 4), bool))
    with pytest.raises(ValueError, match=r"bias has shape \(1, 2, 2, 3, 4\)"):
        attention(query, key, value, np.zeros((1, 2, 2, 3, 4)))
    with pytest.raises(ValueError, match="dtype int64 and must be boolean.*bias="):
        attention(query, key, value, mask=np.ones((3, 4), int))
