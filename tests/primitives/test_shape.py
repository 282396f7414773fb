"""What many rules stand on: undoing of broadcasting, and moving of axes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import funcad
from funcad.core.tracing import ShapedArray
from funcad.primitives import shape as p
from samples.table import broadcasting, shapes


@given(st.data())
def test_sum_to_is_the_transpose_of_broadcasting(data):
    full = data.draw(shapes())
    (part,) = data.draw(broadcasting(1, full))
    rng = np.random.default_rng(0)
    x, ct = rng.normal(size=part), rng.normal(size=full)
    back = p.sum_to(ct, ShapedArray(part, np.dtype(float)))
    assert back.shape == part
    np.testing.assert_allclose(np.sum(back * x), np.sum(ct * np.broadcast_to(x, full)))


def test_sum_to_takes_the_real_part_for_a_real_operand():
    got = p.sum_to(np.array([1 + 2j, 3 - 1j]), ShapedArray((), np.dtype(np.float32)))
    assert got.dtype == np.float32
    assert got == 4


@given(st.data())
def test_move_axis_is_numpys_moveaxis(data):
    shape = data.draw(shapes(min_rank=1))
    x = np.arange(np.prod(shape)).reshape(shape)
    source, destination = (data.draw(st.integers(0, x.ndim - 1)) for _ in range(2))
    want = np.moveaxis(x, source, destination)
    np.testing.assert_array_equal(p.move_axis(x, source, destination), want)


def test_complex_numbers_are_true_unless_both_parts_are_zero():
    x = np.array([0, 1j, 1])
    np.testing.assert_array_equal(p.convert(x, dtype=np.dtype(bool)), x.astype(bool))


def test_conversion_to_integers_has_no_derivative():
    out, tangent = funcad.jvp(lambda x: x.astype(int), (np.ones(3),), (np.ones(3),))
    assert out.dtype == int
    assert tangent.dtype == funcad.float0


def test_a_zero_cotangent_of_one_part_of_a_split_costs_no_error():
    def f(x):
        first, _ = np.split(x, 2)
        return np.sum(first**2)

    np.testing.assert_array_equal(funcad.grad(f)(np.arange(4.0)), [0, 2, 0, 0])
