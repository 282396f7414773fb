"""Repeated and negative indices, and the two ways to add many updates up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcad
from funcad.primitives import indexing as p


@pytest.mark.parametrize("dtype", ["f", "d", "F", "D", "e", "l"])
@pytest.mark.parametrize("shape", [(7,), (7, 3), (4, 5)])
def test_many_updates_add_up_as_few_do(shape, dtype):
    rng = np.random.default_rng(0)
    for leading in range(1, len(shape) + 1):
        indices = [rng.integers(-n, n, (40, 30)) for n in shape[:leading]]
        # exact in every dtype: small integers
        updates = rng.integers(0, 2, (40, 30, *shape[leading:])).astype(dtype)
        want = np.zeros(shape, dtype)
        np.add.at(want, tuple(indices), updates)
        got = p.scatter_sum(updates, *indices, shape=shape)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


def test_many_updates_of_empty_rows_give_an_empty_array():
    rows = np.zeros(600, np.intp)
    assert p.scatter_sum(np.zeros((600, 0)), rows, shape=(3, 0)).shape == (3, 0)


def test_indices_out_of_bounds_are_an_error_also_for_many_updates():
    with pytest.raises((IndexError, ValueError)):
        p.scatter_sum(np.ones(600), np.full(600, 9), shape=(3,))


def test_the_gradient_of_an_embedding_adds_up_the_rows_of_each_word():
    words = np.array([[2, 0, 2], [2, 1, -1]])
    table = np.arange(12.0).reshape(4, 3)
    weights = np.random.default_rng(0).normal(size=(2, 3, 3))
    got = funcad.grad(lambda table: np.sum(weights * table[words]))(table)
    want = np.zeros_like(table)
    for place in np.ndindex(words.shape):
        want[words[place]] += weights[place]
    np.testing.assert_allclose(got, want, rtol=1e-15)


@given(st.lists(st.integers(-3, 2), max_size=8), st.integers(-3, 2))
def test_owners_name_the_update_whose_turn_it_is(places, turn):
    got = p.owners(np.array(places, np.intp), shape=(3,), turn=turn)
    for entry, owner in enumerate(got):
        writers = [i for i, place in enumerate(places) if place % 3 == entry]
        there = -len(writers) <= turn < len(writers)
        assert owner == (writers[turn] if there else -1)


def test_owners_are_found_for_all_examples_at_once():
    places = np.array([[0, 0, 1], [2, 0, -1]])
    find = funcad.vmap(lambda i: p.owners(i, shape=(3,), turn=-1))
    np.testing.assert_array_equal(find(places), [[1, 2, -1], [1, -1, 2]])
    program = funcad.make_program(find)(places)
    assert sum(e.primitive is p.owners for e in program.equations) == 1
