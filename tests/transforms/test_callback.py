"""Foreign code called from staged and mapped functions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcad
from differences import assert_close, assert_same
from funcad import errors

X = np.array([[1.0, 2.0, 3.0], [0.5, 1.5, 2.5]])


def like(x):
    return funcad.ShapeDtypeStruct(x.shape, x.dtype)


def doubled(x, **options):
    return funcad.pure_callback(lambda x: 2 * x, like(x), x, **options)


def test_without_a_transform_the_callback_is_called_at_once():
    seen = []

    def callback(x, y, *, scale):
        seen.append((type(x), y, scale))
        return {"out": np.asarray(x * y), "sum": 1.5}

    out = {"out": like(X), "sum": funcad.ShapeDtypeStruct((), float)}
    got = funcad.pure_callback(callback, out, X, 3, scale=[2.0])
    assert_same(got["out"], 3 * X)
    assert got["sum"] == 1.5
    assert seen == [(np.ndarray, 3, [2.0])]


def test_staged_functions_call_it_when_they_run():
    calls = []

    def callback(x):
        calls.append(x.copy())
        return np.sort(x)

    def f(x):
        return funcad.pure_callback(callback, like(x), -x) + 1

    program = funcad.make_program(f)(X)
    assert calls == []
    assert "callback" in str(program)
    assert_close(program.evaluate([X])[0], np.sort(-X) + 1)
    jitted = funcad.jit(f)
    for x in (X, X + 1):
        assert_close(jitted(x), np.sort(-x) + 1)
    assert len(calls) == 3
    assert_close(jitted.lower(X).program.equations[1].outputs[0].shape, X.shape)


def test_a_callback_of_constants_is_a_constant_of_a_staged_function():
    counts = []

    def callback():
        counts.append(0)
        return float(len(counts))

    out = funcad.ShapeDtypeStruct((), float)
    f = funcad.jit(lambda x: x + funcad.pure_callback(callback, out))
    assert [float(f(0.0)), float(f(0.0))] == [1.0, 1.0]


@pytest.mark.parametrize("method", ("sequential", "expand_dims", "broadcast_all"))
@settings(max_examples=10)
@given(
    st.tuples(st.integers(1, 3), st.integers(0, 3), st.integers(1, 2)),
    st.sampled_from([(0, None), (None, 1), (0, 0), (2, 1)]),
    st.sampled_from([(0, 0), (None, 0), (1, None)]),
)
def test_vmap_agrees_with_a_loop_in_any_nesting(method, shape, inner, outer):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=shape), rng.normal(size=(2, *shape))[0]

    def callback(a, b):
        return a * np.cos(b)

    def f(a, b):
        out = funcad.ShapeDtypeStruct(np.broadcast_shapes(a.shape, b.shape), float)
        return funcad.pure_callback(callback, out, a, b, vmap_method=method)

    def stacked(v, *axes):
        for axis in axes:
            if axis is not None:
                v = np.stack([v, v + 1, v - 1], axis)
        return v

    args = stacked(x, inner[0]), stacked(y, inner[1])
    once = funcad.vmap(f, inner)
    assert_close(once(*args), funcad.vmap(callback, inner)(*args))
    assert_close(funcad.jit(once)(*args), funcad.vmap(callback, inner)(*args))
    args = stacked(x, inner[0], outer[0]), stacked(y, inner[1], outer[1])
    wanted = funcad.vmap(funcad.vmap(callback, inner), outer)(*args)
    assert_close(funcad.vmap(once, outer)(*args), wanted)
    assert_close(funcad.vmap(funcad.jit(once), outer)(*args), wanted)


def test_what_each_vmap_method_gives_the_callback():
    shapes = []

    def callback(x, y):
        shapes.append((np.shape(x), np.shape(y)))
        return x + y if np.ndim(y) < 2 else x + y[:, :1]

    rows = np.ones((4, 3))
    y = np.ones(3)
    for method in ("sequential", "expand_dims", "broadcast_all"):
        funcad.vmap(
            lambda x, m=method: funcad.pure_callback(
                callback, like(y), x, y, vmap_method=m
            )
        )(rows)
    assert shapes[:4] == [((3,), (3,))] * 4
    assert shapes[4:] == [((4, 3), (1, 3)), ((4, 3), (4, 3))]


def test_vmap_over_no_examples():
    for method in ("sequential", "expand_dims"):
        got = funcad.vmap(lambda x, m=method: doubled(x, vmap_method=m))(X[:0])
        assert_same(got, X[:0])


def test_vmap_without_a_method_is_an_error_that_lists_them():
    with pytest.raises(errors.BatchSizeError, match="vmap_method.*sequential"):
        funcad.vmap(doubled)(X)


def test_derivatives_are_an_error_that_offers_custom_rules():
    for transform in (
        funcad.grad(lambda x: np.sum(doubled(x))),
        lambda x: funcad.jvp(doubled, (x,), (x,)),
        funcad.grad(funcad.jit(lambda x: np.sum(doubled(x)))),
        funcad.jit(funcad.grad(lambda x: np.sum(doubled(x)))),
    ):
        with pytest.raises(errors.MissingRuleError, match="custom_jvp or"):
            transform(X)


def test_arguments_without_derivative_can_be_passed_under_grad():
    def loss(x):
        return np.sum(x * doubled(funcad.stop_gradient(x)))

    assert_close(funcad.grad(loss)(X), 2 * X)
    assert_close(funcad.jit(funcad.grad(loss))(X), 2 * X)


def test_a_custom_rule_gives_foreign_code_a_derivative_under_every_transform():
    @funcad.custom_jvp
    def gamma(x):
        out = funcad.ShapeDtypeStruct((), np.float64)
        return funcad.pure_callback(math.gamma, out, x, vmap_method="sequential")

    @gamma.defjvp
    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        # gamma' by a central difference
        slope = (gamma(x + 1e-5) - gamma(x - 1e-5)) / 2e-5
        return gamma(x), t * slope

    def g(x):
        return gamma(x) ** 2

    wanted = 2 * 2.0 * 2.0 * (1.5 - 0.5772156649)
    assert_close(funcad.grad(g)(3.0), wanted, rtol=1e-6)
    xs = np.array([3.0, 4.0])
    for gradient in (
        funcad.vmap(funcad.grad(g)),
        funcad.jit(funcad.vmap(funcad.grad(g))),
        funcad.vmap(funcad.grad(funcad.jit(g))),
        funcad.grad(lambda xs: np.sum(funcad.vmap(g)(xs))),
    ):
        assert_close(gradient(xs)[0], wanted, rtol=1e-6)


def test_a_foreign_routine_with_a_batched_form():
    """A solver that takes many right-hand sides at once is called once."""
    calls = []

    def solver(a, b):
        calls.append(b.shape)
        return np.linalg.solve(a, b[..., None])[..., 0]

    @funcad.custom_vjp
    def solve(a, b):
        return funcad.pure_callback(solver, like(b), a, b, vmap_method="expand_dims")

    def bwd(residuals, ct):
        a, x = residuals
        ct_b = solve(a.T, ct)
        return -np.outer(ct_b, x), ct_b

    def fwd(a, b):
        x = solve(a, b)
        return x, (a, x)

    solve.defvjp(fwd, bwd)
    a, rows = np.array([[3.0, 1.0], [0.5, 2.0]]), np.arange(6.0).reshape(3, 2)

    def loss(f):
        return lambda a, rows: np.sum(funcad.vmap(f, (None, 0))(a, rows) ** 3)

    wanted = funcad.grad(loss(np.linalg.solve), (0, 1))(a, rows)
    assert_close(funcad.grad(loss(solve), (0, 1))(a, rows), wanted)
    assert calls == [(3, 2), (3, 2)]
    assert_close(funcad.jit(funcad.grad(loss(solve), (0, 1)))(a, rows), wanted)


def test_arrays_stay_in_their_library(library):
    x = library.from_host(X)
    kinds = []

    def callback(x):
        kinds.append(type(x))
        return x * 2

    def f(x):
        return funcad.pure_callback(callback, like(x), x, vmap_method="sequential")

    for g in (f, funcad.jit(f), funcad.vmap(f)):
        assert type(g(x)) is type(x)
    assert set(kinds) == {type(x)}


def test_results_in_another_library_are_refused(library):
    if library.name == "numpy":
        return
    x = library.from_host(X)
    with pytest.raises(errors.CallbackError, match="arrays of double.*one of numpy"):
        funcad.pure_callback(library.to_host, like(x), x)


def test_callbacks_cannot_write_into_what_they_are_given():
    def callback(x):
        x += 1
        return x

    with pytest.raises(ValueError, match="read-only"):
        funcad.pure_callback(callback, like(X), X)


def test_results_are_not_the_callbacks_own_memory():
    kept = np.zeros(3)

    def callback(x):
        kept[:] = x
        return kept

    first = funcad.pure_callback(callback, like(kept), np.ones(3))
    funcad.pure_callback(callback, like(kept), np.full(3, 2.0))
    assert_same(first, np.ones(3))
    same = funcad.pure_callback(lambda x: x, like(X), X)
    assert not np.shares_memory(same, X)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ({"a": X, "b": 1}, ["{'a': float64[2,3], 'b': int64[]}"]),
        ({"a": X[0]}, ["{'a': float64[3]}"]),
        ({"a": X.astype(np.float32)}, ["{'a': float32[2,3]}"]),
        (X, ["returned: float64[2,3]"]),
        (None, ["returned: None"]),
        ({"a": "text"}, ["{'a': <str>}"]),
        ({"a": 3.0}, ["{'a': float64[]}"]),
    ],
)
@pytest.mark.parametrize("through", (lambda f: f, funcad.jit))
def test_results_that_were_not_declared_are_shown_beside_the_declaration(
    returned, said, through
):
    def callback(x):
        return returned

    f = through(lambda x: funcad.pure_callback(callback, {"a": like(X)}, x))
    with pytest.raises(errors.CallbackError) as caught:
        f(X)
    message = str(caught.value)
    for part in (*said, "declared: {'a': float64[2,3]}", "callback (", "test_callback"):
        assert part in message


def test_a_number_of_another_kind_is_no_result():
    out = funcad.ShapeDtypeStruct((), np.int64)
    assert funcad.pure_callback(lambda: 3, out).dtype == np.int64
    with pytest.raises(errors.CallbackError, match="float64"):
        funcad.pure_callback(lambda: 3.5, out)


@pytest.mark.parametrize(
    ("attempt", "error", "said"),
    [
        (lambda: funcad.pure_callback(3, like(X), X), TypeError, "takes a function"),
        (
            lambda: funcad.pure_callback(np.sin, like(X), X, vmap_method="loop"),
            errors.ArgumentError,
            "vmap_method.*sequential.*'loop'",
        ),
        (
            lambda: funcad.pure_callback(np.sin, (3.0,), X),
            errors.UnsupportedArgumentError,
            "ShapeDtypeStruct",
        ),
        (
            lambda: funcad.pure_callback(np.sin, like(X), "x"),
            errors.LeafTypeError,
            "pure_callback.*'x'",
        ),
    ],
)
def test_wrong_arguments_are_refused(attempt, error, said):
    with pytest.raises(error, match=said):
        attempt()


def test_an_error_in_the_callback_is_the_users_own():
    def callback(x):
        raise KeyError("mine")

    for f in (doubled, funcad.jit(lambda x: x)):
        assert f(X) is not None
    with pytest.raises(KeyError, match="mine"):
        funcad.jit(lambda x: funcad.pure_callback(callback, like(x), x))(X)
