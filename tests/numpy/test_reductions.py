"""Reductions where values are equal, absent or not finite, and malformed ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import funcad
from differences import assert_close, assert_same

X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


@st.composite
def arrays_and_axes(draw):
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4))
    n = int(np.prod(shape))
    x = np.reshape(draw(st.permutations(range(n))), shape) / 3.0 - n / 7.0
    axes = (
        st.lists(st.integers(0, len(shape) - 1), unique=True) if shape else st.just([])
    )
    axis = tuple(a - draw(st.sampled_from([0, len(shape)])) for a in draw(axes))
    return x, draw(st.sampled_from([None, axis])), draw(st.booleans())


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "var", "std"])
@given(arrays_and_axes())
def test_reductions_take_every_axis_and_keep_dimensions(name, drawn):
    x, axis, keepdims = drawn

    def f(v):
        return getattr(np, name)(v, axis=axis, keepdims=keepdims)

    with np.errstate(all="ignore"):
        wanted = f(x)
        value, _ = funcad.jvp(f, (x,), (x,))
        assert_same(value, wanted, rtol=1e-10)
        batched = funcad.vmap(f, in_axes=x.ndim)(np.stack([x, -x], axis=x.ndim))
        assert_close(batched, np.stack([wanted, f(-x)]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["max", "min"])
def test_equal_extrema_share_the_derivative(name):
    f = getattr(np, name)
    x = np.array([1.0, 2.0, 2.0, 1.0])
    wanted = [0.0, 0.5, 0.5, 0.0] if name == "max" else [0.5, 0.0, 0.0, 0.5]
    assert_same(funcad.grad(f)(x), np.array(wanted))
    _, tangent = funcad.jvp(f, (x,), (np.array([1.0, 2.0, 4.0, 9.0]),))
    assert tangent == (3.0 if name == "max" else 5.0)


def test_running_extrema_give_the_derivative_to_the_entry_that_attained_them():
    x = np.array([2.0, 1.0, 3.0, 0.0])
    jacobian = funcad.jacrev(np.maximum.accumulate)(x)
    wanted = np.zeros((4, 4))
    wanted[[0, 1, 2, 3], [0, 0, 2, 2]] = 1
    assert_same(jacobian, wanted)


@pytest.mark.parametrize("zeros", [[], [1], [0, 2], [0, 1, 2, 3]])
def test_derivative_of_a_product_is_right_where_factors_are_zero(zeros):
    x = np.array([2.0, 3.0, 5.0, 7.0])
    x[zeros] = 0
    wanted = np.array([np.prod(np.delete(x, i)) for i in range(4)])
    assert_same(funcad.grad(np.prod)(x), wanted)
    second = funcad.hessian(np.prod)(x)
    for i in range(4):
        for j in range(4):
            rest = np.prod(np.delete(x, [i, j])) if i != j else 0.0
            assert_close(second[i, j], rest)


def test_derivative_of_a_running_product_is_right_where_factors_are_zero():
    x = np.array([2.0, 0.0, 5.0, 0.0, 3.0])
    jacobian = funcad.jacfwd(np.cumprod)(x)
    for n in range(5):
        for i in range(5):
            wanted = np.prod(np.delete(x[: n + 1], i)) if i <= n else 0.0
            assert_close(jacobian[n, i], wanted)


def test_sorting_carries_derivatives_to_where_entries_came_from():
    x = np.array([3.0, 1.0, 2.0])
    assert_same(funcad.jacrev(np.sort)(x), np.eye(3)[[1, 2, 0]])
    assert_same(funcad.jacfwd(np.sort)(x), np.eye(3)[[1, 2, 0]])


def test_masked_reductions_give_no_derivative_to_what_is_left_out():
    mask = np.array([True, False, True])
    for f, wanted in [
        (lambda x: np.sum(x, where=mask), [1.0, 0.0, 1.0]),
        (lambda x: np.mean(x, where=mask), [0.5, 0.0, 0.5]),
        (lambda x: np.max(x, where=mask, initial=-9.0), [0.0, 0.0, 1.0]),
    ]:
        x = np.array([1.0, np.nan, 2.0])
        assert_same(funcad.grad(f)(x), np.array(wanted))


def test_low_precision_is_kept():
    for dtype in (np.float16, np.float32, np.complex64):
        x = np.array([[0.5, 1, 2], [3, 4, 5]], dtype)
        for f in (np.sum, np.mean, np.prod, np.max, np.std, np.cumsum):
            value, tangent = funcad.jvp(f, (x,), (x,))
            assert value.dtype == f(x).dtype
            assert tangent.dtype == value.dtype


MALFORMED = [
    (np.exceptions.AxisError, lambda x: np.sum(x, axis=2)),
    (np.exceptions.AxisError, lambda x: np.max(x, axis=-3)),
    (np.exceptions.AxisError, lambda x: np.mean(x, axis=(0, 5))),
    (ValueError, lambda x: np.sum(x, axis=(0, 0))),
    (ValueError, lambda x: np.sum(x, axis=(0, -2))),
    (TypeError, lambda x: np.sum(x, axis=1.0)),
    (TypeError, lambda x: np.sum(x, axis="rows")),
    (TypeError, lambda x: np.sum(x, nonsense=1)),
    (np.exceptions.AxisError, lambda x: np.cumsum(x, axis=2)),
    (np.exceptions.AxisError, lambda x: np.sort(x, axis=2)),
    (np.exceptions.AxisError, lambda x: np.argmax(x, axis=2)),
    (TypeError, lambda x: np.argmax(x, axis=1.5)),
    (ValueError, lambda x: np.max(x[:0])),
    (ValueError, lambda x: np.max(x, where=x > 0)),
    (ValueError, lambda x: np.argmin(x[:0])),
    (np.exceptions.AxisError, lambda x: np.add.reduce(x, 4)),
    (np.exceptions.AxisError, lambda x: np.add.accumulate(x, 4)),
    (ValueError, lambda x: np.where(x > 0, x, np.ones(5))),
    (ValueError, lambda x: x + np.ones(5)),
    (TypeError, lambda x: np.sin()),
    (TypeError, lambda x: np.add(x)),
    (TypeError, lambda x: x & 1),
    (TypeError, lambda x: ~x),
    (TypeError, lambda x: np.left_shift(x, 1)),
]


@pytest.mark.parametrize("number", range(len(MALFORMED)))
@pytest.mark.parametrize("transform", ["jvp", "vmap", "staged"])
def test_malformed_calls_raise_the_error_that_numpy_raises(number, transform):
    error, f = MALFORMED[number]
    with pytest.raises(error):
        f(X)
    with pytest.raises(error):
        {
            "jvp": lambda: funcad.jvp(f, (X,), (X,)),
            "vmap": lambda: funcad.vmap(f)(X[None]),
            "staged": lambda: funcad.make_program(f)(X),
        }[transform]()


# --------------------------------------------------------- arguments that do not fit

Y = np.array([3.0, 1.0, 2.0])
MASK = np.array([True, False, True])
WRONG = [
    lambda x: np.sum(x, where=np.ones(3)),
    lambda x: np.sum(x, where=np.ones((2, 3), bool)),
    lambda x: np.max(x, where=MASK),
    lambda x: np.fmax.reduce(x, where=MASK),
    lambda x: np.var(x, ddof=1, correction=1),
    lambda x: np.std(x, axis=1),
    lambda x: np.cumulative_sum(x[None]),
    lambda x: np.cumulative_prod(x[None]),
    lambda x: np.nanargmax(x * np.nan),
    lambda x: np.subtract.reduce(x[None], axis=(0, 1)),
    lambda x: np.divide.reduce(x[:0]),
    lambda x: np.fmin.reduce(x[:0]),
    lambda x: np.add.reduceat(x, [0, 3]),
    lambda x: np.quantile(x, 1.5),
    lambda x: np.percentile(x, [-1, 50]),
    lambda x: np.quantile(x, 0.5, method="middle"),
    lambda x: np.quantile(x[:0], 0.5),
    lambda x: np.quantile(x + 0j, 0.5),
    lambda x: np.quantile(x, 0.5, weights=np.ones(3)),
    lambda x: np.quantile(x, 0.5, weights=-np.ones(3), method="inverted_cdf"),
    lambda x: np.quantile(x, 0.5, weights=np.ones(2), method="inverted_cdf"),
    lambda x: np.median(x, axis=1),
    lambda x: np.average(x, weights=np.ones(2)),
    lambda x: np.average(x, weights=np.ones(2), axis=0),
    lambda x: np.average(x, weights=np.zeros(3)),
    lambda x: np.cov(x[None, None]),
    lambda x: np.cov(x, ddof=0.5),
    lambda x: np.cov(x, fweights=[1, 2]),
    lambda x: np.cov(x, fweights=[1, -2, 1]),
    lambda x: np.cov(x, fweights=[1.5, 2, 1]),
    lambda x: np.bincount(x),
    lambda x: np.histogram(x, bins=0),
    lambda x: np.histogram(x, bins=[2.0, 1.0]),
    lambda x: np.histogram(x, range=(2, 1)),
    lambda x: np.histogram(x, weights=np.ones(2)),
    lambda x: np.sort(x, kind="best"),
    lambda x: np.sort(x, kind="stable", stable=True),
    lambda x: np.argsort(x, axis=1),
    lambda x: np.partition(x, 3),
    lambda x: np.partition(x, -4),
    lambda x: np.partition(x, 1.5),
    lambda x: np.argpartition(x, 1, kind="best"),
    lambda x: np.lexsort((x, x[:2])),
    lambda x: np.searchsorted(x[None], 1.0),
    lambda x: np.searchsorted(x, 1.0, side="middle"),
    lambda x: np.searchsorted(x, 1.0, sorter=[0, 1]),
    lambda x: np.digitize(x, [1.0, 3.0, 2.0]),
    lambda x: np.digitize(x + 0j, [1.0, 3.0]),
    lambda x: np.nonzero(x[0]),
    lambda x: np.compress([[True]], x),
    lambda x: np.compress([True] * 4, x),
    lambda x: np.isin(x, [1.0], kind="table"),
    lambda x: np.isin(x, [1.0], kind="best"),
    lambda x: np.select([x > 0], [x, x]),
    lambda x: np.select([], []),
    lambda x: np.select([x], [x]),
    lambda x: np.piecewise(x, [x > 0], [1.0, 2.0, 3.0]),
    lambda x: np.where(x > 0, x),
    lambda x: np.clip(x, 0, 1, min=0),
    lambda x: np.isposinf(x + 0j),
    lambda x: np.frexp(x + 0j),
    lambda x: np.ldexp(x, 1.5),
    lambda x: np.gcd(x, 2),
    lambda x: np.diff(x, -1),
    lambda x: np.diff(x[0]),
    lambda x: np.diff(x, axis=1),
    lambda x: np.diff(x, prepend=np.ones((1, 1))),
    lambda x: np.ediff1d(x, to_end=1j),
    lambda x: np.trapezoid(x, axis=1),
    lambda x: np.gradient(x, 1.0, 2.0),
    lambda x: np.gradient(x, np.ones(2)),
    lambda x: np.gradient(x, edge_order=3),
    lambda x: np.gradient(x[:1]),
    lambda x: np.interp(x, np.ones(2), np.ones(3)),
    lambda x: np.interp(x, np.ones(0), np.ones(0)),
    lambda x: np.interp(x, np.ones(2), np.ones(2), period=0),
    lambda x: np.convolve(x[:0], x),
    lambda x: np.correlate(x[:0], x),
    lambda x: np.convolve(x[None], x),
    lambda x: np.convolve(x, x, mode="most"),
    lambda x: np.i0(x + 0j),
    lambda x: np.polyder(x, -1),
    lambda x: np.polyint(x, -1),
    lambda x: np.polyint(x, 3, k=[1.0, 2.0]),
    lambda x: np.poly(x[None, None]),
    lambda x: np.roots(x[None]),
    lambda x: np.vander(x[None]),
    lambda x: np.polyfit(x, x, -1),
    lambda x: np.polyfit(x, x[:2], 1),
    lambda x: np.polyfit(x[:0], x[:0], 1),
    lambda x: np.polyfit(x, x, 1, w=np.ones(2)),
    lambda x: np.add.outer(x),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_arguments_that_do_not_fit_raise_what_numpy_raises(number):
    f = WRONG[number]
    with pytest.raises(Exception) as plain:
        f(Y)
    kinds = (ZeroDivisionError, IndexError, ValueError, TypeError, RuntimeError)
    kind = next(k for k in kinds if isinstance(plain.value, k))
    with pytest.raises(kind):
        funcad.jvp(f, (Y,), (Y,))


REFUSED = [
    ("out", lambda x: np.sin(x, out=x)),
    ("out", lambda x: np.add(x, 1.0, out=np.ones(3))),
    ("where", lambda x: np.exp(x, where=MASK)),
    ("casting", lambda x: np.exp(x, casting="no")),
    ("order", lambda x: np.exp(x, order="F")),
    ("dtype", lambda x: np.add(x, 1.0, dtype=np.float32)),
    ("out", lambda x: np.sum(x, out=np.ones(()))),
    ("out", lambda x: np.add.reduce(x, out=np.ones(()))),
    ("out", lambda x: np.quantile(x, 0.5, out=np.ones(()))),
    ("out", lambda x: np.nanmax(x, out=np.ones(()))),
    ("out", lambda x: np.clip(x, 0, 1, out=np.ones(3))),
    ("out", lambda x: np.round(x, out=np.ones(3))),
    ("out", lambda x: np.compress(MASK, x, out=np.ones(2))),
    ("where", lambda x: np.subtract.reduce(x, where=MASK)),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_arguments_that_cannot_be_honoured_are_named(number):
    name, f = REFUSED[number]
    with pytest.raises(TypeError, match=rf"\b{name}="):
        funcad.jvp(f, (Y,), (Y,))


def test_ufuncs_that_write_into_their_array_are_refused():
    for ufunc, advice in ((np.add, "add"), (np.subtract, "set"), (np.maximum, "max")):
        with pytest.raises(funcad.errors.MutationError, match=rf"\.{advice}\(v\)"):
            funcad.jvp(lambda x, u=ufunc: u.at(x, [0], 1.0), (Y,), (Y,))


@pytest.mark.parametrize(
    "f",
    [
        np.unique,
        np.nonzero,
        np.flatnonzero,
        np.where,
        lambda x: np.extract(x > 1, x),
        lambda x: np.compress(x > 1, x),
        lambda x: np.union1d(x, [1.0]),
        lambda x: x.nonzero(),
        lambda x: np.bincount(np.astype(x, int)),
    ],
)
def test_sizes_that_depend_on_values_need_values(f):
    want = funcad.tree.leaves(f(Y))
    value, _ = funcad.jvp(f, (Y,), (Y,))
    for got, wanted in zip(funcad.tree.leaves(value), want, strict=True):
        assert_same(got, wanted)
    for inside in (
        lambda: funcad.vmap(f)(Y[None]),
        lambda: funcad.make_program(f)(Y),
        lambda: funcad.vmap(lambda x: funcad.jvp(f, (x,), (x,)))(Y[None]),
    ):
        with pytest.raises(funcad.errors.ConcretizationError):
            inside()


def test_unique_and_masks_have_derivatives_where_values_are_known():
    x = np.array([3.0, 1.0, 3.0, 2.0])
    weights = np.array([1.0, 10.0, 100.0])
    got = funcad.grad(lambda x: weights @ np.unique(x))(x)
    assert_same(got, np.array([100.0, 1, 0, 10]))
    got = funcad.grad(lambda x: np.sum(np.extract(x > 1.5, x) ** 2))(x)
    assert_same(got, np.array([6.0, 0, 6, 4]))
    got = funcad.hessian(lambda x: np.sum(np.compress(x > 1.5, x) ** 2))(x)
    assert_same(got, np.diag([2.0, 0, 2, 2]))


def test_searching_is_batched_over_what_is_searched_and_what_for():
    rows = np.array([[0.0, 1.0, 2.0], [1.0, 1.5, 3.0]])
    points = np.array([[1.0, 2.5], [1.0, -1.0]])
    wanted = np.stack([np.searchsorted(a, v) for a, v in zip(rows, points)])
    assert_same(funcad.vmap(np.searchsorted)(rows, points), wanted)
    searched = funcad.vmap(np.searchsorted, (None, 1), 1)
    assert_same(searched(rows[0], points.T), np.searchsorted(rows[0], points).T)
    searched = funcad.vmap(np.searchsorted, (0, None))
    wanted = np.stack([np.searchsorted(a, points) for a in rows])
    assert_same(searched(rows, points), wanted)
    falling = funcad.vmap(np.digitize, (None, 0))
    wanted = np.stack([np.digitize(points, a) for a in (rows[0], rows[1][::-1])])
    assert_same(falling(points, np.stack([rows[0], rows[1][::-1]])), wanted)


def test_methods_that_arrays_have_beyond_functions():
    x = np.array([3.0, -1.0, 2.0])
    for method in (
        lambda v: v.clip(0),
        lambda v: v.clip(max=1.0),
        lambda v: v.compress([True, False, True]),
        lambda v: v.searchsorted([0.5], "right", np.array([1, 2, 0])),
        lambda v: v.conj(),
        lambda v: v.round(1),
    ):
        assert_same(funcad.jvp(method, (x,), (x,))[0], method(x))
    assert_same(
        np.sort(x)[1], funcad.jvp(lambda v: v[v.argpartition(1)[1]], (x,), (x,))[0]
    )


def test_variance_is_a_method_of_staged_arrays_too():
    program = funcad.make_program(lambda x: x.var())(Y)
    assert_same(program.evaluate([Y]), [np.var(Y)])


def test_a_pullback_takes_a_number_of_python():
    _, pullback = funcad.vjp(lambda x: 2.0 * np.sum(x), Y)
    assert_same(pullback(1.0)[0], np.full(3, 2.0))


@pytest.mark.parametrize("ufunc", [np.add, np.maximum, np.minimum, np.multiply])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int8, bool])
@pytest.mark.parametrize("axis", [0, 1])
def test_many_segments_are_reduced_as_few_are(ufunc, dtype, axis):
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, (30, 40)).astype(dtype)
    n = x.shape[axis]
    for indices in (
        rng.integers(0, n, 20),  # also of one entry, and overlapping
        np.arange(0, n, 3),
        np.r_[np.arange(12), n - 1],  # one is much longer than the others
    ):
        with np.errstate(over="ignore"):
            want = ufunc.reduceat(x, indices, axis=axis)
            got = funcad.jit(lambda x, i=indices: ufunc.reduceat(x, i, axis=axis))(x)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("ufunc", [np.add, np.maximum, np.minimum])
def test_segments_have_the_derivatives_of_their_reductions(ufunc):
    x = np.random.default_rng(0).permutation(60).reshape(2, 30) / 10
    indices = [0, 4, 2, 9, 10, 11, 12, 15, 20, 22, 29]
    ends = [4, 5, 9, 10, 11, 12, 15, 20, 22, 29, 30]

    def one_by_one(x):
        parts = [ufunc.reduce(x[:, i:j], 1) for i, j in zip(indices, ends, strict=True)]
        return np.sum(np.stack(parts) ** 3)

    def at_once(x):
        return np.sum(ufunc.reduceat(x, indices, axis=1) ** 3)

    for derivative in (funcad.grad, funcad.hessian):
        want = derivative(one_by_one)(x)
        np.testing.assert_allclose(derivative(at_once)(x), want, rtol=1e-12)
