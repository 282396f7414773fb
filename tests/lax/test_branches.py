"""``cond`` and ``switch``: their own behaviour."""

from __future__ import annotations

import numpy as np
import pytest

import funcad
from differences import assert_close, assert_same
from funcad import lax


def test_a_predicate_with_a_value_is_pythons_if():
    def never(x):
        raise AssertionError

    for pred in (True, np.bool_(True), np.array(True)):
        assert lax.cond(pred, lambda x: x + 1, never, 1) == 2
        assert lax.cond(~np.asarray(pred), never, lambda x: x - 1, 1) == 0
    # also where its operands are tracers
    f = lambda x: lax.cond(x > 0, lambda: x * x, lambda: never(x))  # noqa: E731
    assert_close(funcad.grad(f)(3.0), 6.0)


def test_without_operands_branches_close_over_what_they_read():
    def f(x, y):
        return lax.cond(np.sum(x) > 0, lambda: x * y, lambda: y - 1.0)

    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    for sign in (1, -1):
        assert_close(funcad.jit(f)(sign * x, y), f(sign * x, y))
        total = lambda *args: np.sum(f(*args) ** 2)  # noqa: E731
        got = funcad.jit(funcad.grad(total, (0, 1)))(sign * x, y)
        assert_close(got, funcad.grad(total, (0, 1))(sign * x, y))
    stacked = np.stack([x, -x])
    assert_close(
        funcad.vmap(f, (0, None))(stacked, y), np.stack([f(v, y) for v in stacked])
    )


def test_one_branch_is_run_where_the_predicate_is_not_batched():
    def f(flag, x):
        return lax.cond(flag, np.sin, lambda x: x * 2.0, x)

    batched = funcad.vmap(f, (None, 0))
    program = funcad.make_program(batched)(True, np.ones(3))
    assert [e.primitive.name for e in program.equations] == ["convert", "cond"]
    assert_close(funcad.jit(batched)(True, np.ones(3)), np.sin(np.ones(3)))
    assert_close(funcad.jit(batched)(False, np.ones(3)), np.full(3, 2.0))


def test_one_branch_is_run_under_jit():
    ran = []

    def counted(name):
        def call(x):
            ran.append(name)
            return x

        return call

    f = funcad.jit(lambda n, x: lax.switch(n, [np.sin, np.cos, np.exp], x))
    for n, g in ((0, np.sin), (1, np.cos), (2, np.exp), (-5, np.sin), (9, np.exp)):
        assert_close(f(n, 0.5), g(0.5))
    # Python's own switch runs the chosen function alone
    assert lax.switch(1, [counted("a"), counted("b")], 2) == 2
    assert ran == ["b"]


def test_an_index_is_clamped():
    functions = [lambda x, k=k: x * k for k in range(3)]
    indices = np.array([-7, -1, 0, 1, 2, 3, 100])
    want = np.array([0.0, 0.0, 0.0, 1.0, 2.0, 2.0, 2.0])
    f = lambda i, x: lax.switch(i, functions, x)  # noqa: E731
    assert_close(np.array([f(i, 1.0) for i in indices]), want)
    assert_close(np.array([funcad.jit(f)(i, 1.0) for i in indices]), want)
    assert_close(funcad.vmap(f, (0, None))(indices, 1.0), want)
    unsigned = indices[2:].astype(np.uint8)
    assert_close(funcad.vmap(f, (0, None))(unsigned, 1.0), want[2:])
    slope = funcad.vmap(funcad.grad(f, 1), (0, None))
    assert_close(slope(indices, 1.0), want)


def test_branches_with_residuals_of_different_shapes():
    w = np.linspace(0.1, 1.0, 6).reshape(2, 3)

    def f(i, x):
        branches = [
            lambda x: np.sum(np.sin(w @ x)),
            lambda x: np.prod(np.exp(x)) * np.sum(x),
            lambda x: 3.0,
            lambda x: x[0],
        ]
        return lax.switch(i, branches, x)

    x = np.array([0.1, 0.2, 0.3])
    gradient = funcad.grad(f, 1)
    for i in range(4):
        assert_close(funcad.jit(gradient)(i, x), gradient(i, x))
        hessian = funcad.hessian(f, 1)
        assert_close(funcad.jit(hessian)(i, x), hessian(i, x))
        tangent = lambda i, x: funcad.jvp(lambda x: f(i, x), (x,), (x,))  # noqa: E731
        assert_close(funcad.jit(tangent)(i, x), tangent(i, x))
    rows = funcad.vmap(gradient, (0, None))(np.arange(4), x)
    assert_close(rows, np.stack([gradient(i, x) for i in range(4)]))


def test_numbers_of_a_branch_follow_the_arrays_of_another():
    def f(flag, x):
        return lax.cond(flag, lambda x: (x, 1), lambda x: (0.0, 2), x)

    x = np.float32(0.5)
    for flag, want in ((True, (x, 1)), (False, (np.float32(0), 2))):
        value, n = funcad.jit(f)(flag, x)
        assert_same(np.asarray(value), want[0])
        assert n == want[1]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_a_branch_of_any_order(order):
    f = lambda x: lax.cond(x > 0, np.sin, np.exp, x)  # noqa: E731
    for _ in range(order):
        f = funcad.grad(f)
    rate = {1: np.cos, 2: lambda x: -np.sin(x), 3: lambda x: -np.cos(x)}[order]
    xs = np.array([0.5, -0.5, 2.0])
    want = np.where(xs > 0, rate(xs), np.exp(xs))
    assert_close(funcad.vmap(f)(xs), want)
    assert_close(np.array([funcad.jit(f)(x) for x in xs]), want)
    assert_close(funcad.jit(funcad.vmap(f))(xs), want)


def test_a_branch_in_a_loop_in_a_branch():
    def f(x):
        def step(c, t):
            return lax.switch(t, [np.sin, np.cos, lambda c: c * x], c), c

        def loop(x):
            return lax.scan(step, x, np.array([0, 1, 2, 1]))[0]

        return lax.cond(x > 0, loop, lambda x: -x, x)

    g = lambda x: np.cos(np.cos(np.sin(x)) * x)  # noqa: E731
    for transform in (lambda f: f, funcad.jit):
        assert_close(transform(f)(0.5), g(0.5))
        assert_close(transform(funcad.grad(f))(0.5), funcad.grad(g)(0.5))
        assert_close(transform(funcad.grad(f))(-0.5), -1.0)
        second = transform(funcad.grad(funcad.grad(f)))
        assert_close(second(0.5), funcad.grad(funcad.grad(g))(0.5))
    xs = np.array([0.5, -0.5, 1.0])
    want = np.array([funcad.grad(g)(0.5), -1.0, funcad.grad(g)(1.0)])
    assert_close(funcad.vmap(funcad.grad(f))(xs), want)
