"""Clipping entry by entry and by the length of all updates together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from funcad import optim, tree
from funcad.core.errors import ArgumentError

arrays = hnp.arrays(
    st.sampled_from([np.float32, np.float64]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    elements=st.floats(-100, 100, width=32),
)
trees = st.fixed_dictionaries({"a": arrays, "b": st.tuples(arrays, arrays)})


def as_vector(updates):
    return np.concatenate([np.ravel(leaf) for leaf in tree.leaves(updates)])


@given(trees)
def test_the_global_norm_is_that_of_all_leaves_as_one_vector(updates):
    expected = np.linalg.norm(as_vector(updates).astype(np.float64))
    np.testing.assert_allclose(optim.global_norm(updates), expected, rtol=1e-5)


@given(trees, st.floats(0.1, 1000.0))
def test_clipping_by_norm_shortens_and_keeps_the_direction(updates, max_norm):
    transform = optim.clip_by_global_norm(max_norm)
    clipped, _ = transform.update(updates, transform.init(updates))
    vector = as_vector(updates).astype(np.float64)
    length = np.linalg.norm(vector)
    expected = vector * min(1.0, max_norm / length) if length > 0 else vector
    np.testing.assert_allclose(as_vector(clipped), expected, rtol=1e-5, atol=1e-30)
    for old, new in zip(tree.leaves(updates), tree.leaves(clipped), strict=True):
        assert (old.shape, old.dtype) == (new.shape, new.dtype)


def test_updates_within_the_limit_keep_their_bits():
    updates = {"a": np.array([0.1, 0.2], np.float32), "b": np.array([0.3])}
    transform = optim.clip_by_global_norm(0.5)
    clipped, _ = transform.update(updates, transform.init(updates))
    for old, new in zip(tree.leaves(updates), tree.leaves(clipped), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_global_norm_has_the_dtype_of_its_leaves():
    assert optim.global_norm([np.ones(3, np.float32)]).dtype == np.float32
    mixed = [np.ones(3, np.float32), np.ones(3)]
    assert optim.global_norm(mixed).dtype == np.float64


def test_squares_that_overflow_half_precision_do_not_spoil_the_norm():
    updates = {"w": np.full(4, 1000.0, np.float16)}
    assert optim.global_norm(updates) == 2000.0
    transform = optim.clip_by_global_norm(1.0)
    clipped, _ = transform.update(updates, transform.init(updates))
    assert clipped["w"].dtype == np.float16
    np.testing.assert_allclose(clipped["w"], 0.5)


def test_the_global_norm_of_complex_integer_and_no_leaves():
    assert optim.global_norm({"a": np.array([3 + 4j])}) == 5.0
    assert optim.global_norm({"a": np.array([3, 4])}) == 5.0
    assert optim.global_norm({}) == 0.0


@given(trees, st.floats(0.1, 50.0))
def test_clip_bounds_every_entry(updates, bound):
    transform = optim.clip(bound)
    clipped, _ = transform.update(updates, transform.init(updates))
    for old, new in zip(tree.leaves(updates), tree.leaves(clipped), strict=True):
        assert old.dtype == new.dtype
        limit = old.dtype.type(bound)
        np.testing.assert_array_equal(new, np.minimum(np.maximum(old, -limit), limit))


@pytest.mark.parametrize("make", [optim.clip, optim.clip_by_global_norm])
@pytest.mark.parametrize("limit", [0.0, -1.0])
def test_a_limit_that_is_not_positive_is_refused(make, limit):
    with pytest.raises(ArgumentError, match=f"must be greater than 0, and is {limit}"):
        make(limit)
