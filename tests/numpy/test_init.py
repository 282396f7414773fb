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
    assert not {"fft", "linalg", "loadtxt", "put"} & listed
    for name in listed - set(fnp.__all__):
        assert getattr(np, name) in (*FUNCTIONS, *PRIMITIVES)
    assert set(fnp.__all__) <= listed


def test_a_name_is_looked_up_once():
    vars(fnp).pop("arctan", None)
    assert fnp.arctan is np.arctan
    assert vars(fnp)["arctan"] is np.arctan


def test_functions_look_for_tracers_in_every_argument():
    table, positions = np.arange(5.0), np.array([1, 3])
    assert_same(
        funcad.vmap(lambda n: fnp.roll(table, n))(positions),
        np.stack([np.roll(table, n) for n in positions]),
    )
    ends = (np.array([2.0, 3.0]),)
    out, tangent = funcad.jvp(
        lambda v: fnp.pad(table, 1, constant_values=v), ends, ends
    )
    assert_same(out, np.pad(table, 1, constant_values=ends[0]))
    assert_same(tangent, np.pad(0 * table, 1, constant_values=ends[0]))
    out, tangent = funcad.jvp(
        lambda v: fnp.pad(table, (1, 2), constant_values=(v, 0.0)), (2.0,), (1.0,)
    )
    assert_same(out, np.pad(table, (1, 2), constant_values=(2.0, 0.0)))
    gradient = funcad.grad(lambda v: np.sum(fnp.full_like(table, v)))
    assert_same(gradient(1.5), np.float64(5.0))


def test_full_takes_a_traced_value():
    assert_same(funcad.grad(lambda v: np.sum(fnp.full((2, 3), v)))(1.5), np.float64(6))
    out, tangent = funcad.jvp(lambda v: fnp.full((2, 3), v, "f4"), (X,), (X,))
    assert_same(out, np.full((2, 3), X, "f4"))
    assert_same(tangent, np.full((2, 3), X, "f4"))
    assert_same(fnp.full(3, 2), np.full(3, 2))
    assert_same(fnp.full((), [1.0][0], np.float32), np.full((), 1.0, np.float32))
    with pytest.raises(ValueError):
        funcad.jvp(lambda v: fnp.full(2, v), (X,), (X,))


def test_numpy_says_what_to_write_where_it_looks_for_no_tracer():
    with pytest.raises(TypeError, match=r"np\.broadcast_to\(value, shape\)"):
        funcad.grad(lambda v: np.sum(np.full_like(X, v)))(1.5)


def test_functions_of_the_memory_of_an_array_leave_tracers_as_they_are():
    for name in ("asanyarray", "ascontiguousarray", "asfortranarray"):
        ours, plain = getattr(fnp, name), getattr(np, name)
        assert_same(ours(2.0), plain(2.0))
        assert_same(ours([[1, 2]], np.float32), plain([[1, 2]], np.float32))
        assert funcad.grad(lambda x, f=ours: np.sum(f(x)))(2.0) == 1.0
        out, _ = funcad.jvp(lambda x, f=ours: f(x, "f4"), (2.0,), (1.0,))
        assert_same(out, plain(2.0, "f4"))


def test_asarray_takes_what_numpys_takes():
    assert fnp.asarray(X, copy=True) is not X
    assert fnp.asarray(X, copy=False, device="cpu") is X
    assert fnp.asarray(np.ones((2, 3)), order="F").flags.f_contiguous
    assert fnp.array(X, ndmin=2).shape == (1, 3)
    for wrong in ({"copy": False, "dtype": np.float32}, {"device": "gpu"}):
        with pytest.raises(ValueError):
            fnp.asarray(X, **wrong)
    with pytest.raises(ValueError, match="evice"):
        funcad.grad(lambda v: np.sum(fnp.asarray(v, device="gpu")))(X)


@pytest.mark.parametrize("dtype", [float, np.float32, int, bool])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_sorting_may_descend(dtype, axis):
    x = np.array([[2, 0, 1, 1], [1, 3, 1, 0], [2, 2, 0, 1]]).astype(dtype)
    wanted = np.flip(np.sort(x, axis), axis)
    places = np.argsort(-x.astype(int), axis, kind="stable")
    for run in (lambda f: f(x), lambda f: funcad.vmap(f)(x[None])[0]):
        assert_same(run(lambda v: fnp.sort(v, axis, descending=True)), wanted)
        assert_same(
            run(lambda v: fnp.argsort(v, axis, descending=True, stable=True)), places
        )
    assert_same(
        fnp.argsort(x, None, descending=True, stable=True),
        np.argsort(-x.astype(int), None, kind="stable"),
    )


def test_limits_are_those_of_an_arrays_dtype():
    seen = []

    def f(x):
        seen.extend([fnp.finfo(x).eps, fnp.finfo(x.dtype).eps])
        return x

    funcad.jvp(f, (np.float32(1),), (np.float32(1),))
    assert seen == [np.finfo(np.float32).eps] * 2
    assert fnp.finfo(X).dtype == np.float64
    assert fnp.iinfo(np.int8).max == fnp.iinfo(np.array(1, np.int8)).max == 127


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
