"""``funcad.numpy`` as a namespace: NumPy's names, and what is its own."""

import numpy as np
import pytest

import funcad
import funcad.numpy as fnp
from differences import assert_close, assert_same
from funcad.numpy.dispatch import FUNCTIONS, PRIMITIVES

X = np.array([0.3, -1.2, 2.5])


def test_names_are_numpys_own():
    assert fnp.tanh is np.tanh
    assert fnp.linalg.svd is np.linalg.svd
    assert fnp.fft.rfft is np.fft.rfft
    assert fnp.float32 is np.float32
    assert fnp.pi == np.pi
    with pytest.raises(AttributeError, match="nonsense"):
        fnp.nonsense  # noqa: B018


def test_dir_lists_what_can_be_traced_and_nothing_else():
    listed = set(dir(fnp))
    assert {"tanh", "sum", "where", "at", "asarray", "array", "take"} <= listed
    assert not {"fft", "unique", "nonzero", "loadtxt"} & listed
    for name in listed - {"at", "array", "asarray"}:
        assert getattr(np, name) in (*FUNCTIONS, *PRIMITIVES)


def test_arrays_are_made_of_nested_lists_with_tracers():
    def f(x, y):
        return np.sum(fnp.array([[x, 1], [y, x * y]]) ** 2)

    assert_close(funcad.grad(f, (0, 1))(2.0, 3.0), (40.0, 30.0))
    assert_same(fnp.asarray([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]]))
    assert_same(fnp.asarray(2.5), np.array(2.5))
    assert_same(fnp.array([]), np.array([]))


def test_asarray_leaves_arrays_and_array_copies_them():
    assert fnp.asarray(X) is X
    copied = fnp.array(X)
    assert copied is not X
    assert_same(copied, X)


def test_a_dtype_may_be_asked_for():
    for make in (fnp.asarray, fnp.array):
        assert make(X, dtype=np.float32).dtype == np.float32
        assert make([1, 2], np.float32).dtype == np.float32
        out, tangent = funcad.jvp(lambda x, m=make: m([x, 1], "f4"), (2.0,), (1.0,))
        assert_same(out, np.array([2.0, 1.0], np.float32))
        assert_same(tangent, np.array([1.0, 0.0], np.float32))


def test_lists_of_what_is_no_number_are_refused():
    with pytest.raises((TypeError, ValueError)):
        funcad.grad(lambda x: np.sum(fnp.array([x, "text"])))(1.0)


def test_take_reads_plain_arrays_at_traced_positions():
    table = np.arange(12.0).reshape(4, 3)
    out = funcad.vmap(lambda i: fnp.take(table, i, axis=0))(np.array([3, 0]))
    assert_same(out, table[[3, 0]])
    assert_same(fnp.take(table, [[0, 5], [11, -1]]), np.take(table, [[0, 5], [11, -1]]))
    assert_same(fnp.take([1.0, 2.0], 1), np.float64(2.0))
    gradient = funcad.grad(lambda t: np.sum(fnp.take(t, np.array([0, 0, 2])) ** 2))(X)
    assert_close(gradient, np.array([4 * X[0], 0.0, 2 * X[2]]))
