"""Functions with rules of their own, under every transform and in wrong hands."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcad
import funcad.numpy as fnp
from differences import assert_close, assert_same, directional_derivative
from funcad import errors, tree

# ------------------------------------------- rules that say what is true change nothing


def wave(x):
    return np.sin(x) * np.exp(x / 2)


RATE = 0.5 + 1j


def derivative_of_wave(x, order):
    return (RATE**order * np.exp(RATE * x)).imag


def slope(x):
    return np.exp(x / 2) * (np.cos(x) + np.sin(x) / 2)


def with_jvp(f=wave):
    g = funcad.custom_jvp(f)

    @g.defjvp
    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        return f(x), t * slope(x)

    return g


def with_jvp_of_itself():
    g = funcad.custom_jvp(wave)
    g.defjvp(lambda primals, tangents: (g(primals[0]), tangents[0] * slope(*primals)))
    return g


def with_symbolic_zeros():
    g = funcad.custom_jvp(lambda x, rate: np.sin(x) * np.exp(x * rate))

    @g.defjvp
    def rule(primals, tangents):
        raise AssertionError("replaced below")

    def with_zeros(primals, tangents):
        (x, _), (t, zero) = primals, tangents
        assert isinstance(zero, funcad.SymbolicZero)
        return wave(x), t * slope(x)

    g.defjvp(with_zeros, symbolic_zeros=True)
    return lambda x: g(x, 0.5)


def with_jvps():
    g = funcad.custom_jvp(lambda x, scale, count: np.sin(x) * np.exp(x * scale))
    g.defjvps(
        lambda t, ans, x, scale, count: t * (np.cos(x) * np.exp(x * scale) + scale * ans),
        lambda t, ans, x, scale, count: t * x * ans,
        None,
    )
    return lambda x: g(x, 0.5, count=3)


def with_vjp():
    g = funcad.custom_vjp(wave)
    g.defvjp(lambda x: (wave(x), {"x": x}), lambda r, ct: (ct * slope(r["x"]),))
    return g


def with_vmap():
    g = funcad.custom_vmap(wave)
    g.def_vmap(lambda size, in_batched, x: (wave(x), in_batched[0]))
    return g


def with_all():
    g = funcad.custom_vmap(with_jvp())
    g.def_vmap(lambda size, in_batched, x: (with_jvp()(x), in_batched[0]))
    return with_jvp(g)


def with_two_arguments_and_trees():
    g = funcad.custom_jvp(
        lambda p, s: {"wave": np.sin(p["x"]) * s[0], "count": 3, "none": None}
    )

    @g.defjvp
    def rule(primals, tangents):
        (p, s), (dp, ds) = primals, tangents
        sine = np.sin(p["x"])
        return (
            {"wave": sine * s[0], "count": 3, "none": None},
            {
                "wave": dp["x"] * np.cos(p["x"]) * s[0] + sine * ds[0],
                "count": np.zeros((), funcad.float0),
                "none": None,
            },
        )

    return lambda x: g({"x": x, "i": 2}, (np.exp(x / 2),))["wave"]


FORWARD = {
    "jvp": with_jvp,
    "jvp of itself": with_jvp_of_itself,
    "symbolic zeros": with_symbolic_zeros,
    "jvps": with_jvps,
    "vmap": with_vmap,
    "nested": with_all,
    "trees": with_two_arguments_and_trees,
}
CUSTOM = FORWARD | {"vjp": with_vjp}


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


REVERSE = {"grad": funcad.grad, "vjp": pulled_back, "jacrev": funcad.jacrev}
DERIVATIVES = REVERSE | {
    "jvp": forward,
    "linearize": linearized,
    "jacfwd": funcad.jacfwd,
}
TRANSFORMS = DERIVATIVES | {
    "vmap": batched,
    "vmap last": batched_last,
    "stage": staged,
    "jit": funcad.jit,
}


def check_chain(custom, names, x=0.7):
    innermost = next((n for n in names if n in DERIVATIVES), "grad")
    if custom == "vjp" and innermost not in REVERSE:
        names = ("grad", *names)
    f = CUSTOM[custom]()
    for name in names:
        f = TRANSFORMS[name](f)
    order = sum(name in DERIVATIVES for name in names)
    assert_close(f(x), derivative_of_wave(x, order), rtol=1e-10)


@pytest.mark.parametrize("custom", CUSTOM)
def test_every_transform_of_every_transform_of_a_function_with_a_rule(custom):
    check_chain(custom, ())
    for names in itertools.product(TRANSFORMS, repeat=2):
        check_chain(custom, names)


@pytest.mark.parametrize("custom", CUSTOM)
@given(st.lists(st.sampled_from(sorted(TRANSFORMS)), min_size=3, max_size=4))
def test_chains_of_transforms_of_any_depth_of_a_function_with_a_rule(custom, names):
    check_chain(custom, names)
