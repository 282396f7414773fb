"""Loops and branches of ``funcad.lax`` against Python's, under every transform."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import funcad
from control_models import MODELS, Python
from differences import assert_close, is_inexact, normal_like
from funcad import lax, tree
from funcad.core.tracing import dtype_of
from funcad.transforms.control import bodies
from properties import generators, host

LENGTHS = st.integers(1, 4)


@pytest.fixture(autouse=True)
def _compiled_at_once(monkeypatch):
    """Short loops run as long ones do; their interpreted form has the sample table."""
    monkeypatch.setattr(bodies, "PATIENCE", 0)


def check(name, transform, rng, length, examples=2):
    """``transform(f, arguments, rng)`` gives the same for both kinds of control."""
    model = MODELS[name]
    arguments = model.arguments(rng, length)
    seed = rng.integers(2**32)

    def outcome(control):
        def function(*args):
            return model.function(control, *args)

        return transform(function, arguments, np.random.default_rng(seed))

    assert_close(outcome(lax), outcome(Python), rtol=1e-9, atol=1e-11)


def directions(values, rng):
    return tree.map(
        lambda x: (
            normal_like(x, rng)
            if is_inexact(x)
            else np.zeros(np.shape(x), funcad.float0)
        ),
        values,
    )


def without_integers(values):
    return [host(x) for x in tree.leaves(values) if dtype_of(x) != funcad.float0]


def scalar(f, rng):
    """A real scalar function of all results, with weights drawn at random."""
    seed = rng.integers(2**32)

    def weighted(*args):
        weights = np.random.default_rng(seed)
        total = 0.0
        for y in tree.leaves(f(*args)):
            w = normal_like(np.empty(np.shape(y), complex), weights)
            total = total + np.sum(np.real(w * y))
        return total

    return weighted


def value(f, args, rng):
    return f(*args)


def jvp(f, args, rng):
    return without_integers(funcad.jvp(f, args, directions(args, rng)))


def linearize(f, args, rng):
    out, tangents = funcad.linearize(f, *args)
    return without_integers((out, tangents(*directions(args, rng))))


def vjp(f, args, rng):
    out, pullback = funcad.vjp(f, *args)
    return without_integers(pullback(directions(out, rng)))


def grad_of_some(f, args, rng):
    """With respect to one argument, the others being constants."""
    g = scalar(f, rng)
    return [
        without_integers(funcad.grad(g, i, allow_int=True)(*args))
        for i in range(len(args))
        if not any(np.iscomplexobj(x) for x in tree.leaves(args[i]))
    ]


def second_order(f, args, rng):
    """Forward over reverse, and reverse over reverse."""
    g = scalar(f, rng)

    def pulled(*primals):
        return without_zeros(funcad.vjp(g, *primals)[1](1.0))

    def without_zeros(values):
        return [x for x in tree.leaves(values) if dtype_of(x) != funcad.float0]

    tangents = directions(args, rng)
    over = funcad.jvp(pulled, args, tangents)
    out, pullback = funcad.vjp(pulled, *args)
    return without_integers((over, pullback(directions(out, rng))))


def jit(f, args, rng):
    return funcad.jit(f)(*args)


def staged(f, args, rng):
    return funcad.make_program(f)(*args).evaluate(tree.leaves(args))


def jit_of_vjp(f, args, rng):
    out = f(*args)
    pulled = funcad.jit(lambda args, cts: without_zeros(funcad.vjp(f, *args)[1](cts)))

    def without_zeros(values):
        return [x for x in tree.leaves(values) if dtype_of(x) != funcad.float0]

    cts = directions(out, rng)
    if any(dtype_of(x) == funcad.float0 for x in tree.leaves(cts)):
        return without_zeros(funcad.vjp(funcad.jit(f), *args)[1](cts))
    return pulled(args, cts)


def vjp_of_jit(f, args, rng):
    return vjp(funcad.jit(f), args, rng)


def forward_of_linear(f, args, rng):
    """The transpose of the linearised function is a linear function itself."""
    out, pullback = funcad.vjp(f, *args)
    cts = directions(out, rng)
    chosen = [i for i, x in enumerate(tree.leaves(cts)) if is_inexact_leaf(x)]
    assume(chosen)
    leaves, treedef = tree.flatten(cts)

    def of_cotangents(some):
        full = list(leaves)
        for i, ct in zip(chosen, some, strict=True):
            full[i] = ct
        back = tree.leaves(pullback(tree.unflatten(treedef, full)))
        return [x for x in back if dtype_of(x) != funcad.float0]

    some = [leaves[i] for i in chosen]
    return funcad.jvp(of_cotangents, (some,), (directions(some, rng),))


def is_inexact_leaf(x):
    return dtype_of(x) != funcad.float0


TRANSFORMS = [
    value,
    jvp,
    linearize,
    vjp,
    grad_of_some,
    second_order,
    jit,
    staged,
    jit_of_vjp,
    vjp_of_jit,
    forward_of_linear,
]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda f: f.__name__)
def test_control_flow_is_that_of_python(name, transform):
    @settings(max_examples=4)
    @given(generators(), LENGTHS)
    def run(rng, length):
        check(name, transform, rng, length)

    run()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("inner", [value, vjp, jvp, second_order, jit])
def test_control_flow_is_batched(name, inner):
    """Any of the leaves may be batched, along any axis."""

    @settings(max_examples=6)
    @given(generators(), LENGTHS, st.data())
    def run(rng, length, data):
        model = MODELS[name]
        size = 3
        rows = [model.arguments(rng, length) for _ in range(size)]
        leaves, treedef = tree.flatten(rows[0])
        mapped = data.draw(
            st.lists(st.booleans(), min_size=len(leaves), max_size=len(leaves))
        )
        assume(any(mapped))
        axes = [
            data.draw(st.integers(0, np.ndim(x))) if m else None
            for x, m in zip(leaves, mapped, strict=True)
        ]
        columns = list(zip(*[tree.leaves(row) for row in rows], strict=True))
        stacked = [
            column[0] if a is None else np.stack(column, a)
            for column, a in zip(columns, axes, strict=True)
        ]
        seed = rng.integers(2**32)

        def one(control):
            def f(*leaves):
                args = tree.unflatten(treedef, leaves)
                function = lambda *args: model.function(control, *args)  # noqa: E731
                return inner_without_host(function, args, np.random.default_rng(seed))

            return f

        def inner_without_host(function, args, rng):
            if inner is value:
                return function(*args)
            if inner is jit:
                return funcad.jit(function)(*args)
            g = scalar(function, rng)
            tangents = directions(rows[0], rng)

            def gradient(*args):
                cts = funcad.vjp(g, *args)[1](np.float64(1.0))
                return [x for x in tree.leaves(cts) if dtype_of(x) != funcad.float0]

            if inner is vjp:
                return gradient(*args)
            if inner is jvp:
                return funcad.jvp(g, args, tangents)[1]
            return funcad.jvp(gradient, args, tangents)[1]

        got = funcad.vmap(one(lax), tuple(axes))(*stacked)
        wants = [
            one(Python)(*[c[0] if a is None else c[i] for c, a in zip(columns, axes)])
            for i in range(size)
        ]
        want = tree.map(lambda *ys: np.stack(ys), *wants)
        assert_close(got, want, rtol=1e-9, atol=1e-11)

    run()


def test_the_derivative_of_a_batched_loop_is_that_of_its_examples():
    rng = np.random.default_rng(0)
    model = MODELS["branching"]
    w, h, xs = model.arguments(rng, 3)
    hs = np.stack([h, -h, h + 1])
    xss = np.stack([xs, -xs, xs[::-1]])

    def total(control, w, hs, xss):
        f = lambda h, xs: model.function(control, w, h, xs)  # noqa: E731
        if control is lax:
            carry, ys = funcad.vmap(f)(hs, xss)
        else:
            import funcad.numpy as fnp

            rows = [f(h, xs) for h, xs in zip(hs, xss)]
            carry, ys = (fnp.stack(c) for c in zip(*rows))
        return np.sum(np.sin(carry)) + np.sum(ys**2)

    for i in range(3):
        assert_close(
            funcad.grad(lambda *a: total(lax, *a), i)(w, hs, xss),
            funcad.grad(lambda *a: total(Python, *a), i)(w, hs, xss),
        )
    assert_close(
        funcad.jit(funcad.grad(lambda *a: total(lax, *a)))(w, hs, xss),
        funcad.grad(lambda *a: total(Python, *a))(w, hs, xss),
    )
