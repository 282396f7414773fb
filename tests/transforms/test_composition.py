"""Transforms of transforms: any order, any depth, across threads and exceptions."""

import functools
import itertools
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcad
import funcad.numpy as fnp
from differences import assert_close, assert_same, directional_derivative
from funcad.core.errors import EscapedTracerError

X = np.array([0.3, -1.2, 2.5])

# ----------------------------------------------------------------- chains of transforms

RATE = 0.5 + 1j


def wave(x):
    """Im exp((1/2 + i) x), whose n-th derivative is Im (1/2 + i)^n exp(...)."""
    return np.sin(x) * np.exp(x / 2)


def derivative_of_wave(x, order):
    return (RATE**order * np.exp(RATE * x)).imag


def forward(f):
    return lambda x: funcad.jvp(f, (x,), (1.0,))[1]


def linearized(f):
    return lambda x: funcad.linearize(f, x)[1](1.0)


def pulled_back(f):
    def g(x):
        y, pullback = funcad.vjp(f, x)
        return pullback(np.ones_like(y))[0]

    return g


def batched(f):
    return lambda x: funcad.vmap(f)(np.stack([x, 2.0 * x]))[0]


def batched_last(f):
    return lambda x: funcad.vmap(f, out_axes=-1)(fnp.array([x, 3.0, x]))[-1]


def staged(f):
    return lambda x: funcad.make_program(f)(x).evaluate([x])[0]


DERIVATIVES = {
    "grad": funcad.grad,
    "jvp": forward,
    "linearize": linearized,
    "vjp": pulled_back,
    "jacfwd": funcad.jacfwd,
    "jacrev": funcad.jacrev,
}
IDENTITIES = {
    "vmap": batched,
    "vmap last": batched_last,
    "stage": staged,
    "jit": funcad.jit,
}
TRANSFORMS = DERIVATIVES | IDENTITIES


def check_chain(names, x=0.7):
    f = wave
    for name in names:
        f = TRANSFORMS[name](f)
    order = sum(name in DERIVATIVES for name in names)
    assert_close(f(x), derivative_of_wave(x, order), rtol=1e-10)


@pytest.mark.parametrize(
    "names", list(itertools.product(TRANSFORMS, repeat=2)), ids="-".join
)
def test_every_transform_of_every_transform(names):
    check_chain(names)


@given(st.lists(st.sampled_from(sorted(TRANSFORMS)), min_size=3, max_size=5))
def test_chains_of_transforms_of_any_depth(names):
    check_chain(names)


def test_six_derivatives_in_a_row():
    for transform in (funcad.grad, forward, linearized):
        f = wave
        for order in range(1, 7):
            f = transform(f)
            if order < 5 or transform is not funcad.grad:
                assert_close(f(0.7), derivative_of_wave(0.7, order), rtol=1e-9)


def test_grad_of_grad_of_grad():
    cube = funcad.grad(funcad.grad(funcad.grad(lambda x: x**4)))
    assert_close(cube(1.5), 36.0)


# ------------------------------------------------------------------ particular nestings


def energy(x):
    return np.sum(np.sin(x) * x**2) + np.prod(x)


def hessian_of(f, x):
    columns = [
        directional_derivative(funcad.grad(f), (x,), (e,))[0] for e in np.eye(len(x))
    ]
    return np.stack(columns, axis=-1)


def test_vmap_of_grad_and_of_hessian():
    rows = np.stack([X, X + 1, -X])
    assert_close(
        funcad.vmap(funcad.grad(energy))(rows),
        np.stack([funcad.grad(energy)(r) for r in rows]),
    )
    assert_close(
        funcad.vmap(funcad.hessian(energy))(rows),
        np.stack([hessian_of(energy, r) for r in rows]),
        rtol=1e-6,
        atol=1e-8,
    )


def test_jvp_of_vmap_of_vjp():
    def pullbacks(rows):
        def one(row):
            y, pullback = funcad.vjp(lambda v: np.tanh(v) * v[0], row)
            return pullback(y)[0]

        return funcad.vmap(one)(rows)

    rows = np.stack([X, X - 1])
    t = np.cos(rows)
    out, tangent = funcad.jvp(pullbacks, (rows,), (t,))
    assert_close(out, np.stack([pullbacks(rows[i : i + 1])[0] for i in range(2)]))
    (wanted,) = directional_derivative(pullbacks, (rows,), (t,))
    assert_close(tangent, wanted)


def test_hessian_of_a_vmap():
    rows = np.stack([np.ones(3), X])

    def f(x):
        return np.sum(funcad.vmap(lambda r: np.sin(r @ x) * x[0])(rows))

    assert_close(funcad.hessian(f)(X), hessian_of(f, X), rtol=1e-6, atol=1e-8)


def test_grad_inside_a_vmapped_function_that_closes_over_its_tracers():
    def f(a, x):
        inner = funcad.grad(lambda v: np.sum(a * v**3) + np.sum(a**2) * v[0])
        return inner(x) * a

    a = np.stack([X, 2 * X])
    out = funcad.vmap(f, in_axes=(0, None))(a, X)
    wanted = [3 * v**2 * X**2 + np.sum(v**2) * v * np.eye(3)[0] for v in a]
    assert_close(out, np.stack(wanted))
    jacobian = funcad.vmap(funcad.jacrev(f), in_axes=(0, None))(a, X)
    for k in range(2):
        assert_close(jacobian[k], funcad.jacfwd(f)(a[k], X))


def test_vmap_of_grad_of_vmap():
    data = np.arange(6.0).reshape(2, 3) / 3

    def loss(w):
        return np.mean(funcad.vmap(lambda row: np.tanh(row @ w))(data))

    ws = np.stack([X, X * 2])
    assert_close(
        funcad.vmap(funcad.grad(loss))(ws), np.stack([funcad.grad(loss)(w) for w in ws])
    )


def test_all_orders_of_two_jacobians_agree():
    wanted = hessian_of(energy, X)
    jacobians = (funcad.jacfwd, funcad.jacrev, funcad.jacobian)
    for outer, inner in itertools.product(jacobians, repeat=2):
        assert_close(outer(inner(energy))(X), wanted, rtol=1e-6, atol=1e-8)


def test_a_pullback_may_be_called_inside_other_transforms():
    y, pullback = funcad.vjp(lambda x: np.outer(x, x) * x[0], X)
    cts = np.stack([np.eye(3), np.ones((3, 3))])
    assert_close(
        funcad.vmap(pullback)(cts)[0], np.stack([pullback(ct)[0] for ct in cts])
    )
    _, tangent = funcad.jvp(lambda ct: pullback(ct)[0], (y,), (cts[0],))
    assert_close(tangent, pullback(cts[0])[0])
    _, f_jvp = funcad.linearize(np.sin, X)
    assert_close(
        funcad.grad(lambda t: np.sum(f_jvp(t) ** 2))(X), 2 * np.cos(X) ** 2 * X
    )
    assert_close(funcad.vmap(f_jvp)(np.eye(3)), np.diag(np.cos(X)))


def test_derivative_of_a_gradient_step_with_respect_to_the_step_size():
    def trained(rate):
        x = X
        for _ in range(3):
            x = x - rate * funcad.grad(lambda v: np.sum(v**4))(x)
        return np.sum(x**2)

    (wanted,) = directional_derivative(trained, (0.01,), (1.0,), step=1e-4)
    assert_close(funcad.grad(trained)(0.01), wanted, rtol=1e-6)
    assert_close(funcad.jvp(trained, (0.01,), (1.0,))[1], wanted, rtol=1e-6)


def test_structures_pass_through_every_nesting():
    def loss(p, row):
        return np.sum(np.tanh(p["w"] @ row) ** 2) + p["b"][0]

    p = {"w": np.linspace(0, 1, 6).reshape(2, 3), "b": [0.5, None]}
    rows = np.stack([X, X + 1])
    per_example = funcad.vmap(funcad.value_and_grad(loss), in_axes=(None, 0))(p, rows)
    for k, row in enumerate(rows):
        value, gradient = funcad.value_and_grad(loss)(p, row)
        assert_close(per_example[0][k], value)
        assert_close(per_example[1]["w"][k], gradient["w"])
    blocks = funcad.hessian(lambda p: loss(p, X))(p)
    assert blocks["w"]["w"].shape == (2, 3, 2, 3)
    assert blocks["w"]["b"][0].shape == (2, 3)


# --------------------------------------------------------------- perturbation confusion


@pytest.mark.parametrize("outer", DERIVATIVES.values(), ids=DERIVATIVES)
@pytest.mark.parametrize("inner", DERIVATIVES.values(), ids=DERIVATIVES)
def test_perturbations_of_nested_derivatives_are_told_apart(outer, inner):
    """Siskind and Pearlmutter (2005): d/dx [x d/dy (x + y)] is 1, not 2."""
    nested = outer(lambda x: x * inner(lambda y: x + y)(1.0))
    assert_close(nested(1.0), 1.0)
    nested = outer(lambda x: x * inner(lambda y: x * y)(2.0))
    assert_close(nested(3.0), 6.0)
    # d/dx [x d/dy (x y^2)] at x = 3, y = 2 is d/dx (2 x^2 y) = 4 x y
    nested = outer(lambda x: x * inner(lambda y: x * y * y)(2.0))
    assert_close(nested(3.0), 24.0)


def test_derivatives_of_shifted_functions_are_told_apart():
    """Manzyuk et al. (2019): the derivative of a shift, taken of itself."""

    def slope(g):
        return lambda x: forward(lambda u: g(x + u))(0.0)

    assert_close(slope(slope(np.exp))(1.0), np.e)
    assert_close(slope(slope(slope(np.sin)))(0.4), -np.cos(0.4))


def test_a_tangent_is_not_mistaken_for_that_of_a_closed_over_value():
    def f(x):
        def g(y):
            return x * x * y

        return funcad.jvp(g, (x,), (x,))[1]

    assert_close(f(2.0), 8.0)
    assert_close(funcad.grad(f)(2.0), 12.0)


def test_constants_of_an_inner_transform_may_be_tracers_of_all_outer_ones():
    def f(a, b):
        def row(c):
            return funcad.grad(lambda d: np.sin(a * d) * b + c * d**2)(a + b)

        return np.sum(funcad.vmap(row)(fnp.array([a, b, a * b])))

    def closed(a, b):
        d = a + b
        cs = a + b + a * b
        return 3 * a * b * np.cos(a * d) + 2 * d * cs

    for argnums in (0, 1):
        t = (1.0 - argnums, float(argnums))
        (wanted,) = directional_derivative(closed, (0.7, -0.3), t)
        assert_close(funcad.grad(f, argnums)(0.7, -0.3), wanted)
        assert_close(funcad.jacfwd(f, argnums)(0.7, -0.3), wanted)


# ---------------------------------------------------------------------- escaped tracers

RUNS = {
    "jvp": lambda f: funcad.jvp(f, (X,), (X,)),
    "linearize": lambda f: funcad.linearize(f, X),
    "grad": lambda f: funcad.grad(lambda x: np.sum(f(x)))(X),
    "vjp": lambda f: funcad.vjp(f, X),
    "vmap": lambda f: funcad.vmap(f)(np.stack([X, X])),
    "stage": lambda f: funcad.make_program(f)(X),
    "linear_transpose": lambda f: funcad.linear_transpose(f, X),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_tracer_used_after_its_transform_is_an_error(run):
    kept = []

    def f(x):
        kept.append(2.0 * x)
        return x + x

    run(f)
    (escaped,) = kept
    for use in (
        lambda: escaped + 1.0,
        lambda: np.sum(escaped),
        lambda: escaped[0],
        lambda: funcad.grad(lambda y: np.sum(escaped * y))(X),
        lambda: funcad.vmap(lambda y: y * escaped)(np.ones((2, 3))),
        lambda: funcad.make_program(lambda y: y * escaped)(X),
        lambda: funcad.grad(lambda v: np.sum(v))(escaped),
        lambda: funcad.jvp(np.sin, (escaped,), (X,)),
        lambda: funcad.vmap(np.sin)(escaped),
        lambda: funcad.grad(lambda y: escaped[0])(X),
    ):
        with pytest.raises(
            EscapedTracerError, match=r"(?s)already returned.*test_compos"
        ):
            use()


def test_a_tracer_that_leaves_an_inner_transform_is_an_error_in_the_outer_one():
    kept = []

    def inner(y):
        kept.append(y)
        return y * y

    def outer(x):
        funcad.grad(inner)(x)
        return x * kept[-1]

    for transform in (funcad.grad, forward, batched, staged):
        with pytest.raises(EscapedTracerError):
            transform(outer)(2.0)
        with pytest.raises(EscapedTracerError):
            transform(lambda x: (funcad.grad(inner)(x), kept[-1])[1])(2.0)


def test_a_tracer_of_an_outer_transform_does_not_escape_through_an_inner_one():
    def outer(x):
        y, pullback = funcad.vjp(lambda v: v * x, x)
        return pullback(y)[0] + y

    assert_close(funcad.grad(outer)(2.0), 3 * 2.0**2 + 2 * 2.0)


# ------------------------------------------------------------------ exceptions, threads


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_an_exception_from_inside_leaves_nothing_behind(run):
    kept = []

    def fails(x):
        kept.append(x)
        raise Interrupted

    with pytest.raises(Interrupted):
        run(fails)
    with pytest.raises(EscapedTracerError):
        kept[0] + 1.0
    run(lambda x: 2.0 * x)
    assert_same(funcad.grad(lambda x: np.sum(x**2))(X), 2 * X)


def test_an_exception_caught_inside_an_outer_transform_lets_it_go_on():
    def f(x):
        try:
            funcad.grad(lambda y: (_ for _ in ()).throw(Interrupted))(x)
        except Interrupted:
            return x**3
        return x

    assert_close(funcad.grad(f)(2.0), 12.0)
    assert_close(funcad.vmap(f)(X), X**3)


def test_threads_run_transforms_at_the_same_time():
    barrier = threading.Barrier(8)
    results = [None] * 8

    def f(x, n):
        for _ in range(20):
            x = np.sin(x) + n * x / 7
        return np.sum(x)

    def work(n):
        barrier.wait()
        gradients = []
        for _ in range(5):
            slope = funcad.grad(f)(X, n)
            rows = funcad.vmap(funcad.grad(f), in_axes=(0, None))(np.stack([X, -X]), n)
            curve = funcad.hvp(lambda x: f(x, n), (X,), (np.ones(3),))
            gradients.append((slope, rows, curve))
        results[n] = gradients

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, gradients in enumerate(results):
        slope = funcad.grad(f)(X, n)
        rows = np.stack([slope, funcad.grad(f)(-X, n)])
        curve = funcad.hvp(lambda x, n=n: f(x, n), (X,), (np.ones(3),))
        assert len(gradients) == 5
        for got in gradients:
            assert_same(got, (slope, rows, curve))


def test_a_tracer_may_be_computed_with_in_another_thread():
    def f(x):
        out = []
        thread = threading.Thread(target=lambda: out.append(np.sin(x) * x))
        thread.start()
        thread.join()
        return np.sum(out[0])

    assert_close(funcad.grad(f)(X), np.cos(X) * X + np.sin(X))


# ---------------------------------------------------------------------- depth, mutation


def long_chain(x, n=10_000):
    for i in range(n):
        x = x * 0.9999 if i % 2 else np.sin(x)
    return x


@functools.cache
def slope_of_long_chain(x):
    slope, n = 1.0, 10_000
    for i in range(n):
        slope, x = (
            (slope * 0.9999, x * 0.9999) if i % 2 else (slope * np.cos(x), np.sin(x))
        )
    return slope


@pytest.mark.parametrize("name", ["grad", "jvp", "linearize", "vjp"])
def test_chains_of_ten_thousand_operations_need_no_recursion(name):
    assert_close(
        DERIVATIVES[name](long_chain)(0.7), slope_of_long_chain(0.7), rtol=1e-8
    )


def test_long_chains_are_batched_staged_and_differentiated_twice():
    assert_close(
        batched(funcad.grad(long_chain))(0.7), slope_of_long_chain(0.7), rtol=1e-8
    )
    program = funcad.make_program(funcad.grad(long_chain))(0.7)
    assert len(program.equations) > 10_000
    assert_close(program.evaluate([0.7])[0], slope_of_long_chain(0.7), rtol=1e-8)
    (wanted,) = directional_derivative(slope_of_long_chain, (0.7,), (1.0,))
    assert_close(funcad.hvp(long_chain, (0.7,), (1.0,)), wanted, rtol=1e-5)


def test_no_transform_writes_into_its_arguments():
    x, w = X.copy(), np.eye(3)

    def f(x, w):
        y = fnp.at(w @ x)[0].add(x[1])
        return np.sum(np.sort(y) * np.cumsum(x))

    funcad.grad(f, (0, 1))(x, w)
    funcad.hessian(f, (0, 1))(x, w)
    funcad.vmap(f, in_axes=(None, 0))(x, np.stack([w, w]))
    out, pullback = funcad.vjp(f, x, w)
    ct = np.array(2.0)
    pullback(ct)
    assert_same((x, w, ct), (X, np.eye(3), np.array(2.0)))
