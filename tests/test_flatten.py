"""Flatten and ravel_pytree: the vector that a pytree stands for."""

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import funcad
from funcad import Flatten, ravel_pytree, tree

ARRAYS = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    elements=st.floats(-10, 10),
)
TREES = st.recursive(
    ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
).map(lambda x: {"tree": x, "last": np.ones(2)})


def vector_of(x):
    return np.concatenate([np.ravel(leaf) for leaf in tree.leaves(x)])


@given(TREES)
def test_the_vector_is_the_leaves_raveled_end_to_end(x):
    v = Flatten(x)
    expected = vector_of(x)
    assert np.array_equal(v.ravel(), expected)
    assert (v.shape, v.size, v.ndim) == (expected.shape, expected.size, 1)
    assert len(v) == expected.size and v.dtype == expected.dtype
    assert np.array_equal(np.asarray(v), expected)
    assert np.array_equal(list(v), list(expected))


@given(TREES, st.data())
def test_integers_and_slices_read_as_from_the_vector(x, data):
    v, expected = Flatten(x), vector_of(x)
    n = len(expected)
    i = data.draw(st.integers(-n, n - 1))
    assert v[i] == expected[i]
    ends = st.none() | st.integers(-n - 2, n + 2)
    steps = st.none() | st.integers(-4, 4).filter(bool)
    s = slice(data.draw(ends), data.draw(ends), data.draw(steps))
    assert np.array_equal(v[s], expected[s])


@pytest.mark.parametrize(
    "operation", [operator.add, operator.sub, operator.mul, operator.truediv]
)
@given(x=TREES, scalar=st.floats(0.5, 2.0))
def test_arithmetic_with_scalars_flattens_and_vectors_is_that_of_vectors(
    operation, x, scalar
):
    v = Flatten(x) * 0.01 + 1.0
    r = v.ravel()
    for other, plain in [(scalar, scalar), (v + 1.0, r + 1.0), (r + 1.0, r + 1.0)]:
        for got, expected in [
            (operation(v, other), operation(r, plain)),
            (operation(other, v), operation(plain, r)),
        ]:
            assert isinstance(got, Flatten)
            assert tree.structure(got) == tree.structure(v)
            np.testing.assert_allclose(got.ravel(), expected, rtol=1e-14)


@given(TREES)
def test_dot_and_norm_are_those_of_the_vector(x):
    v, r = Flatten(x), vector_of(x)
    np.testing.assert_allclose(v @ (v + 1.0), r @ (r + 1.0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(v.dot(r), r @ r, rtol=1e-12)
    np.testing.assert_allclose(r @ v, r @ r, rtol=1e-12)
    np.testing.assert_allclose(v.norm(), np.linalg.norm(r), rtol=1e-12)
    assert not np.any(v.zeros_like().ravel())
    np.testing.assert_array_equal((-v).ravel(), -r)


def test_reading_copies_nothing_that_it_does_not_need():
    leaf = np.arange(6.0)
    v = Flatten([leaf, np.ones(3)])
    assert np.shares_memory(v[1:4], leaf)
    assert tree.leaves(v)[0] is leaf


def test_each_leaf_keeps_its_dtype_and_the_vector_has_the_common_one():
    v = Flatten({"a": np.ones(2, np.float32), "b": np.ones(2, np.float64)})
    assert v.dtype == v.ravel().dtype == v[:1].dtype == np.float64
    doubled = 2.0 * v
    assert [x.dtype for x in tree.leaves(doubled)] == [np.float32, np.float64]


def test_it_passes_through_every_transform():
    params = Flatten({"w": np.arange(4.0).reshape(2, 2), "b": np.ones(2)})

    def loss(p):
        return np.sum(np.tanh(p.tree["w"] @ p.tree["b"])) + 0.5 * (p @ p) * p[1]

    def loss_of_vector(v):
        return loss(Flatten(unravel(v)))

    vector, unravel = ravel_pytree(params.tree)
    gradient = funcad.grad(loss)(params)
    assert isinstance(gradient, Flatten)
    np.testing.assert_allclose(gradient.ravel(), funcad.grad(loss_of_vector)(vector))
    direction = params * 0.1
    product = funcad.hvp(loss, (params,), (direction,))
    hessian = funcad.hessian(loss_of_vector)(vector)
    np.testing.assert_allclose(product.ravel(), hessian @ direction.ravel())
    stacked = tree.map(lambda x: np.stack([x, 2 * x]), params)
    np.testing.assert_allclose(
        funcad.vmap(loss)(stacked), [loss(params), loss(params * 2.0)]
    )
    assert len(funcad.make_program(loss)(params).inputs) == 2


def test_unravel_is_the_inverse_of_ravel_and_keeps_dtypes():
    x = {"a": np.arange(3, dtype=np.float32), "b": [np.arange(2), np.array(1 + 2j)]}
    vector, unravel = ravel_pytree(x)
    back = unravel(vector)
    tree.map(np.testing.assert_array_equal, back, x)
    assert [v.dtype for v in tree.leaves(back)] == [v.dtype for v in tree.leaves(x)]
    with pytest.raises(ValueError, match=r"complex128\[6\].*got float64\[2\]"):
        unravel(np.zeros(2))


def test_a_complex_vector_is_not_unraveled_into_a_real_tree():
    vector, unravel = ravel_pytree([np.arange(2.0), np.arange(1)])
    with pytest.raises(ValueError, match=r"float64\[3\].*complex128\[3\].*v\.real"):
        unravel(vector + 1j)
    assert unravel(vector.astype(np.float32))[0].dtype == np.float64


def test_ravel_pytree_can_be_differentiated_and_mapped():
    x = {"a": np.array([1.0, 2.0]), "b": np.array(3.0)}
    gradient = funcad.grad(lambda x: np.sum(ravel_pytree(x)[0] ** 2))(x)
    np.testing.assert_allclose(gradient["a"], [2.0, 4.0])
    np.testing.assert_allclose(gradient["b"], 6.0)


def test_bad_use_says_what_to_write_instead():
    v = Flatten({"a": np.zeros(3)})
    with pytest.raises(IndexError, match="index 3 is out of bounds.*length 3"):
        v[3]
    with pytest.raises(TypeError, match=r"v\.ravel\(\)\[\.\.\.\]"):
        v[np.array([0, 1])]
    with pytest.raises(ValueError, match=r"length 3.*shape \(2,\)"):
        v + np.zeros(2)
    with pytest.raises(funcad.errors.MutationError, match=r"v\.ravel\(\)"):
        v[0] = 1.0
    with pytest.raises(funcad.errors.TreeStructureError, match=r"\['a'\]|\['b'\]"):
        v + Flatten({"b": np.zeros(3)})


def test_an_empty_tree_is_an_empty_vector():
    v = Flatten({})
    assert len(v) == 0 and v.ravel().shape == (0,) and v.norm() == 0 and v @ v == 0
