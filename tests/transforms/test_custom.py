"""Functions with rules of their own, under every transform and in wrong hands."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcad
import funcad.numpy as fnp
from differences import assert_close, assert_same, directional_derivative
from funcad import errors

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
        lambda t, ans, x, scale, count: (
            t * (np.cos(x) * np.exp(x * scale) + scale * ans)
        ),
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
@settings(max_examples=15)
@given(st.lists(st.sampled_from(sorted(TRANSFORMS)), min_size=3, max_size=4))
def test_chains_of_transforms_of_any_depth_of_a_function_with_a_rule(custom, names):
    check_chain(custom, names)


@pytest.mark.parametrize("custom", CUSTOM)
@settings(max_examples=8)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
    st.integers(0, 2**32 - 1),
)
def test_gradient_and_hessian_of_arrays_are_those_without_the_rule(custom, shape, seed):
    x = np.random.default_rng(seed).uniform(-1, 1, shape)

    def energy(f):
        return lambda x: np.sum(f(x) ** 2 * np.arange(x.size).reshape(x.shape))

    g, h = energy(CUSTOM[custom]()), energy(wave)
    assert_close(g(x), h(x))
    assert_close(funcad.grad(g)(x), funcad.grad(h)(x))
    assert_close(funcad.jit(funcad.grad(g))(x), funcad.grad(h)(x))
    assert_close(funcad.grad(funcad.jit(g))(x), funcad.grad(h)(x))
    assert_close(funcad.hvp(g, (x,), (x,)), funcad.hvp(h, (x,), (x,)))
    for axis in (0, -1):
        check_mapped(g, h, np.stack([x, x + 1, -x], axis), axis)


def check_mapped(g, h, stacked, axis):
    for transform in (
        lambda f: funcad.vmap(funcad.grad(f), axis, axis),
        lambda f: funcad.jit(funcad.vmap(funcad.grad(f), axis, axis)),
        lambda f: funcad.vmap(funcad.jit(funcad.grad(f)), axis, axis),
        lambda f: funcad.vmap(funcad.grad(funcad.jit(f)), axis, axis),
        lambda f: funcad.grad(lambda a: np.sum(funcad.vmap(f, axis)(a))),
    ):
        assert_close(transform(g)(stacked), transform(h)(stacked))


# -------------------------------------------------------------------- what is evaluated


def test_without_a_transform_the_function_is_called_as_it_is():
    seen = []

    @funcad.custom_jvp
    def f(x, y=2):
        seen.append((x, y))
        return x * y

    x = np.arange(3.0)
    assert_same(f(x), 2 * x)
    assert seen[0][0] is x
    assert f.__name__ == "f"


def test_the_rule_is_what_is_differentiated():
    for transform in (
        funcad.grad,
        forward,
        linearized,
        pulled_back,
        lambda f: funcad.grad(funcad.jit(f)),
        lambda f: funcad.jit(funcad.grad(f)),
        lambda f: funcad.grad(lambda x: funcad.vmap(f)(x[None])[0]),
        lambda f: lambda x: funcad.vmap(funcad.grad(f))(x[None])[0],
        lambda f: funcad.grad(funcad.jit(lambda x: funcad.vmap(f)(x[None])[0])),
        lambda f: funcad.grad(
            lambda x: funcad.make_program(f)(x).evaluate([x])[0],
        ),
    ):
        f = funcad.custom_jvp(lambda x: x * 1.0)
        f.defjvp(lambda primals, tangents: (primals[0], 10.0 * tangents[0]))
        assert_close(transform(f)(np.float64(1.0)), 10.0)
        if transform not in (forward, linearized):
            g = funcad.custom_vjp(lambda x: x * 1.0)
            g.defvjp(lambda x: (x, None), lambda _, ct: (10.0 * ct,))
            assert_close(transform(g)(np.float64(1.0)), 10.0)


def test_functions_and_rules_may_branch_on_values():
    @funcad.custom_jvp
    def f(x):
        return x if x > 0 else 0.0 * x

    @f.defjvp
    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        return f(x), 3.0 * t if x > 0 else 0.0 * t

    @funcad.custom_vjp
    def g(x):
        return x if x > 0 else 0.0 * x

    g.defvjp(lambda x: (g(x), 3.0 if x > 0 else 0.0), lambda factor, ct: (factor * ct,))
    for h in (f, g):
        assert_close([funcad.grad(h)(x) for x in (2.0, -2.0)], [3.0, 0.0])
        square = funcad.grad(funcad.grad(lambda x, h=h: h(x) ** 2))
        assert_close([square(x) for x in (2.0, -2.0)], [18.0, 0.0])


def plus_one(f):
    return lambda x: f(x) + 1


def test_staged_calls_are_one_equation_each():
    for custom, name in (
        (with_jvp(), "custom_jvp_call"),
        (with_vjp(), "custom_vjp_call"),
        (with_vmap(), "custom_vmap_call"),
    ):
        program = funcad.make_program(plus_one(custom))(0.5)
        assert [e.primitive.name for e in program.equations] == [name, "add"]
        assert name in str(program)
        assert_close(program.evaluate([0.7]), [wave(0.7) + 1])


def test_a_function_of_weak_numbers_keeps_them_weak():
    f = funcad.custom_jvp(lambda x, n: x * n)
    f.defjvps(lambda t, ans, x, n: t * n, lambda t, ans, x, n: t * x)
    x = np.ones(3, np.float32)
    for g in (f, funcad.jit(f)):
        assert g(x, 2.0).dtype == np.float32
        y, t = funcad.jvp(g, (x, 2.0), (x, 1.0))
        assert y.dtype == t.dtype == np.float32
        gradient = funcad.grad(lambda x, g=g: np.sum(g(x, 2.0)))(x)
        assert gradient.dtype == np.float32


# ---------------------------------------------------------- arguments and their forms


def test_keyword_arguments_and_defaults_reach_the_rule_by_position():
    @funcad.custom_jvp
    def f(x, scale=3.0, *rest):
        return x * scale

    seen = []

    @f.defjvp
    def rule(primals, tangents):
        seen.append(primals[1:])
        return f(*primals), tangents[0] * primals[1] + primals[0] * tangents[1]

    assert_close(funcad.grad(lambda x: f(x=x))(2.0), 3.0)
    assert_close(funcad.grad(lambda x: f(x, scale=5.0))(2.0), 5.0)
    assert_close(funcad.grad(lambda s: f(scale=s, x=2.0))(4.0), 2.0)
    assert [len(s) for s in seen] == [1, 1, 1]
    g = funcad.custom_vjp(lambda x, scale=3.0: x * scale)
    g.defvjp(lambda x, s: (x * s, (x, s)), lambda r, ct: (ct * r[1], ct * r[0]))
    assert_close(funcad.grad(lambda x: g(scale=7.0, x=x))(2.0), 7.0)


def test_arguments_that_can_only_be_passed_by_keyword_are_refused():
    f = funcad.custom_jvp(lambda x, *, scale: x * scale)
    with pytest.raises(
        errors.CustomRuleError, match="only be passed by keyword.*scale"
    ):
        f(1.0, scale=2.0)


def test_arguments_that_are_not_differentiated_come_first():
    @lambda f: funcad.custom_jvp(f, nondiff_argnums=(0, 2))
    def apply(f, x, mode, y):
        assert mode == "sum"
        return f(x) + y

    @apply.defjvp
    def rule(f, mode, primals, tangents):
        (x, _), (dx, dy) = primals, tangents
        y, t = funcad.jvp(f, (x,), (dx,))
        return apply(f, x, mode, primals[1]), 2 * t + dy

    @lambda f: funcad.custom_vjp(f, nondiff_argnums=(0, 2))
    def apply_vjp(f, x, mode, y):
        return f(x) + y

    def bwd(f, mode, x, ct):
        assert mode == "sum"
        return 2 * ct * funcad.grad(f)(x), ct

    apply_vjp.defvjp(lambda f, x, mode, y: (f(x) + y, x), bwd)
    for g in (apply, apply_vjp):
        for h in (g, funcad.jit(g, static_argnums=(0, 2))):
            gradient = funcad.grad(lambda x, y, h=h: h(np.sin, x, "sum", y), (0, 1))
            assert_close(gradient(0.3, 2.0), (2 * np.cos(0.3), 1.0))
            rows = funcad.vmap(gradient)(np.array([0.3, 0.6]), np.zeros(2))
            assert_close(rows, (2 * np.cos([0.3, 0.6]), np.ones(2)))
            second = funcad.grad(funcad.grad(lambda x, h=h: h(np.sin, x, "sum", 1.0)))
            assert_close(second(0.3), -2 * np.sin(0.3))


def test_traced_values_that_are_not_differentiated_are_mapped_and_staged():
    f = funcad.custom_jvp(lambda x, n: x * n, nondiff_argnums=1)
    f.defjvp(lambda n, primals, tangents: (primals[0] * n, 10 * n * tangents[0]))
    g = funcad.custom_vjp(lambda x, n: x * n, nondiff_argnums=1)
    g.defvjp(lambda x, n: (x * n, None), lambda n, _, ct: (10 * n * ct,))
    for h in (f, g):
        gradient = funcad.grad(h)
        many = funcad.vmap(gradient, (None, 0))(2.0, np.arange(3.0))
        assert_close(many, 10 * np.arange(3.0))
        assert_close(funcad.jit(gradient)(2.0, 3.0), 30.0)
        assert_close(funcad.grad(funcad.jit(h))(2.0, 3.0), 30.0)
        with pytest.raises(errors.CustomRuleError, match="nondiff_argnums=.1,."):
            funcad.grad(h, 1)(2.0, 3.0)


def test_methods_can_have_rules():
    class Scale:
        def __init__(self, factor):
            self.factor = factor

        @lambda f: funcad.custom_jvp(f, nondiff_argnums=0)
        def __call__(self, x):
            return x * self.factor

        @__call__.defjvp
        def rule(self, primals, tangents):
            return primals[0] * self.factor, 10 * self.factor * tangents[0]

    assert_close(funcad.grad(Scale(3.0))(1.0), 30.0)
    assert_close(Scale(3.0)(2.0), 6.0)


def test_integers_have_float0_tangents_and_no_cotangents():
    @funcad.custom_jvp
    def f(x, i):
        return x * i, i + 1

    @f.defjvp
    def rule(primals, tangents):
        assert tangents[1].dtype == funcad.float0
        return f(*primals), (tangents[0] * primals[1], tangents[1])

    (y, j), (t, zero) = funcad.jvp(f, (2.0, 3), (1.0, np.zeros((), funcad.float0)))
    assert (y, j, t) == (6.0, 4, 3.0)
    assert zero.dtype == funcad.float0
    rows = funcad.vmap(funcad.grad(lambda x, i: f(x, i)[0]), (None, 0))
    assert_close(rows(2.0, np.arange(3)), np.arange(3.0))

    g = funcad.custom_vjp(lambda x, i: (x * i, i))
    g.defvjp(lambda x, i: ((x * i, i), i), lambda i, ct: (ct[0] * i, None))
    assert_close(funcad.grad(lambda x: g(x, 3)[0])(2.0), 3.0)
    gradient = funcad.grad(lambda x, i: g(x, i)[0], (0, 1), allow_int=True)(2.0, 3)
    assert gradient[1].dtype == funcad.float0
    assert_close(rows(2.0, np.arange(3)), np.arange(3.0))


def test_none_stands_for_zero_cotangents_of_a_whole_argument():
    f = funcad.custom_vjp(lambda p, x: p["a"] * x + p["b"][0])
    f.defvjp(
        lambda p, x: (f.fun(p, x), x), lambda x, ct: ({"a": ct * x, "b": None}, None)
    )
    got = funcad.grad(f, (0, 1))({"a": 2.0, "b": [3.0]}, 5.0)
    assert_close(got, ({"a": 5.0, "b": [0.0]}, 0.0))
    f.defvjp(lambda p, x: (f.fun(p, x), x), lambda x, ct: (None, 1.0))
    got = funcad.grad(f, (0, 1))({"a": 2.0, "b": [3.0]}, np.float32(5.0))
    assert_close(got, ({"a": 0.0, "b": [0.0]}, 1.0))
    assert got[1].dtype == np.float32


def test_an_unused_result_has_an_explicit_zero_cotangent():
    f = funcad.custom_vjp(lambda x: (x, {"second": 2 * x}))

    def bwd(_, ct):
        first, second = ct
        assert second["second"].shape == (3,)
        return (first + second["second"],)

    f.defvjp(lambda x: (f.fun(x), None), bwd)
    assert_close(funcad.grad(lambda x: np.sum(f(x)[0]))(np.ones(3)), np.ones(3))


def test_residuals_may_hold_what_is_no_array():
    f = funcad.custom_vjp(lambda x: np.sum(x))
    f.defvjp(
        lambda x: (np.sum(x), {"shape": x.shape, "how": "ones", "x": x, "none": None}),
        lambda r, ct: (ct * getattr(np, r["how"])(r["shape"]) + 0 * r["x"],),
    )
    for g in (f, funcad.jit(f)):
        assert_close(funcad.grad(g)(np.zeros((2, 3))), np.ones((2, 3)))
        assert_close(funcad.vmap(funcad.grad(g))(np.zeros((2, 3))), np.ones((2, 3)))


def test_shared_arguments_of_a_mapped_function_get_the_sum_of_cotangents():
    f = funcad.custom_vjp(lambda w, x: w * np.sum(x))
    f.defvjp(
        lambda w, x: (w * np.sum(x), (w, x)),
        lambda r, ct: (ct * np.sum(r[1]), ct * r[0] * np.ones(np.shape(r[1]))),
    )
    rows = np.arange(6.0).reshape(2, 3)

    def loss(w, rows):
        return np.sum(funcad.vmap(f, (None, 0))(w, rows) * np.array([1.0, 2.0]))

    for g in (loss, funcad.jit(loss)):
        got = funcad.grad(g, (0, 1))(3.0, rows)
        assert_close(got, (3.0 + 2 * 12.0, np.outer([3.0, 6.0], np.ones(3))))


# ---------------------------------------------------------------------------- closures


def custom_of(scale, kind):
    """x -> scale * x, which closes over scale, as its rule does."""
    if kind == "jvp":
        f = funcad.custom_jvp(lambda x: scale * x)
        f.defjvp(lambda primals, tangents: (scale * primals[0], scale * tangents[0]))
    elif kind == "vjp":
        f = funcad.custom_vjp(lambda x: scale * x)
        f.defvjp(lambda x: (scale * x, None), lambda _, ct: (scale * ct,))
    else:
        f = funcad.custom_vmap(lambda x: scale * x)
        f.def_vmap(lambda size, in_batched, x: (scale * x, in_batched[0]))
    return f


@pytest.mark.parametrize("kind", ("jvp", "vjp", "vmap"))
def test_functions_that_close_over_mapped_values(kind):
    scales = np.array([1.0, 2.0, 3.0])
    over = funcad.vmap(lambda s, x: custom_of(s, kind)(x), (0, None))
    assert_close(over(scales, 5.0), 5 * scales)
    sum_over = funcad.grad(lambda x: np.sum(over(scales, x)))
    if kind == "vjp":
        # bwd runs when vmap has ended
        with pytest.raises(errors.EscapedTracerError, match="Make the value an arg"):
            sum_over(5.0)
    else:
        assert_close(sum_over(5.0), 6.0)
    inner = funcad.vmap(lambda s: funcad.grad(custom_of(s, kind))(5.0))
    assert_close(inner(scales), scales)
    program = funcad.make_program(over)(scales, 5.0)
    assert_close(program.evaluate([scales, 5.0])[0], 5 * scales)
    if kind != "vmap":
        both = funcad.vmap(lambda s, x: custom_of(s, kind)(x))
        assert_close(both(scales, scales), scales**2)
    if kind == "jvp":
        sums = funcad.grad(lambda x: np.sum(both(scales, x)))(scales)
        assert_close(sums, scales)


@pytest.mark.parametrize("kind", ("jvp", "vjp", "vmap"))
def test_functions_that_close_over_staged_values(kind):
    def f(scale, x):
        return custom_of(scale * 2, kind)(x)

    program = funcad.make_program(f)(3.0, 5.0)
    assert_close(program.evaluate([3.0, 5.0])[0], 30.0)
    only_captured = funcad.make_program(lambda s: custom_of(s, kind)(5.0))(3.0)
    assert_close(only_captured.evaluate([3.0])[0], 15.0)
    gradient = funcad.make_program(funcad.grad(f, 1))(3.0, 5.0)
    assert_close(gradient.evaluate([3.0, 5.0])[0], 6.0)


@pytest.mark.parametrize("kind", ("jvp", "vjp"))
def test_a_rule_that_closes_over_a_staged_value_cannot_run_later(kind):
    def f(scale, x):
        return custom_of(scale, kind)(x)

    program = funcad.make_program(f)(3.0, 5.0)
    with pytest.raises(errors.EscapedTracerError, match="Make the value an argument"):
        funcad.grad(lambda x: program.evaluate([3.0, x])[0])(5.0)


@pytest.mark.parametrize("kind", ("jvp", "vjp", "vmap"))
def test_jit_says_that_a_rule_keeps_what_it_closes_over(kind):
    def f(scale, x):
        return custom_of(scale, kind)(x)

    with pytest.raises(errors.EscapedTracerError, match="custom_vjp.*an argument"):
        funcad.jit(f)(3.0, 5.0)
    if kind != "vmap":
        assert_close(funcad.jit(funcad.grad(f, 1))(3.0, 5.0), 3.0)


@pytest.mark.parametrize("kind", ("jvp", "vjp"))
def test_a_derivative_with_respect_to_what_a_function_closes_over_is_refused(kind):
    for f in (
        lambda s: custom_of(s, kind)(5.0),
        lambda s: custom_of(s, kind)(s),
        lambda s: funcad.vmap(lambda x: custom_of(s, kind)(x))(np.ones(2))[0],
        lambda s: funcad.make_program(custom_of(s, kind))(1.0).evaluate([1.0])[0],
    ):
        for transform in (funcad.grad, forward):
            with pytest.raises(errors.CustomRuleError, match="closes over.*argument"):
                transform(f)(3.0)


@pytest.mark.parametrize("kind", ("jvp", "vjp"))
def test_derivatives_of_the_rule_with_respect_to_what_it_closes_over(kind):
    def slope_of(s):
        return funcad.grad(custom_of(s**2, kind))(1.0)

    assert_close(funcad.grad(slope_of)(3.0), 6.0)
    slopes = funcad.vmap(funcad.grad(slope_of))(np.arange(3.0))
    assert_close(slopes, 2 * np.arange(3.0))


def test_custom_vmap_differentiates_what_the_function_closes_over():
    assert_close(funcad.grad(lambda s: custom_of(s, "vmap")(5.0))(3.0), 5.0)
    assert_close(funcad.grad(lambda s: custom_of(s, "vmap")(s))(3.0), 6.0)
    sums = funcad.grad(
        lambda s: np.sum(funcad.vmap(custom_of(s, "vmap"))(np.arange(3.0)))
    )
    assert_close(sums(3.0), 3.0)


# ------------------------------------------------------------------------- custom_vmap


def counted_solve():
    """Solves linear systems, and notes how many at a time."""
    sizes = []

    @funcad.custom_vmap
    def solve(a, b):
        return np.linalg.solve(a, b)

    @solve.def_vmap
    def rule(size, in_batched, a, b):
        a_batched, b_batched = in_batched
        sizes.append((size, a_batched, b_batched))
        if not a_batched:
            return np.linalg.solve(a, b.T).T, True
        return np.linalg.solve(a, b[..., None] if b_batched else b[:, None])[
            ..., 0
        ], True

    return solve, sizes


A = np.array([[3.0, 1.0], [0.5, 2.0]])
B = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.25]])


def test_the_rule_is_given_which_arguments_are_mapped():
    solve, sizes = counted_solve()
    assert_close(solve(A, B[0]), np.linalg.solve(A, B[0]))
    assert sizes == []
    got = funcad.vmap(solve, (None, 0))(A, B)
    assert_close(got, np.linalg.solve(A, B.T).T)
    got = funcad.vmap(solve, (None, 1))(A, B.T)
    assert_close(got, np.linalg.solve(A, B.T).T)
    many = np.stack([A, 2 * A, A.T])
    assert_close(
        funcad.vmap(solve)(many, B), np.linalg.solve(many, B[..., None])[..., 0]
    )
    assert sizes == [(3, False, True), (3, False, True), (3, True, True)]


@pytest.mark.parametrize(
    "through",
    [
        lambda f: f,
        funcad.jit,
        lambda f: lambda *xs: funcad.make_program(f)(*xs).evaluate(xs)[0],
    ],
)
def test_derivatives_of_mapped_functions_are_those_of_the_rule(through):
    def reference(a, b):
        return np.linalg.solve(a, b)

    solve, sizes = counted_solve()
    solve = through(solve)

    def total(f):
        return lambda a, b: np.sum(np.sin(funcad.vmap(f, (None, 0))(a, b)))

    for transform in (
        lambda f: funcad.grad(total(f), (0, 1)),
        lambda f: funcad.vmap(
            funcad.grad(lambda a, b: np.sum(np.sin(f(a, b))), (0, 1)), (None, 0)
        ),
        lambda f: funcad.vmap(
            lambda a, b: funcad.jvp(f, (a, b), (2 * a + 1, b))[1], (None, 0)
        ),
        lambda f: funcad.vmap(
            lambda a, b: funcad.hessian(lambda b: np.sum(np.sin(f(a, b))))(b),
            (None, 0),
        ),
        lambda f: funcad.jit(
            funcad.vmap(funcad.grad(lambda a, b: f(a, b)[0] ** 2, 1), (None, 0))
        ),
    ):
        sizes.clear()
        assert_close(transform(solve)(A, B), transform(reference)(A, B))
        assert sizes


def test_a_rule_that_differs_shows_under_vmap_and_nowhere_else():
    f = funcad.custom_vmap(lambda x: x**2)
    f.def_vmap(lambda size, in_batched, x: (100 * x**2, True))
    for g in (f, funcad.jit(f)):
        check_hundredfold(g)


def check_hundredfold(g):
    xs = np.array([1.0, 2.0])
    assert_close(g(3.0), 9.0)
    assert_close(funcad.grad(g)(3.0), 6.0)
    assert_close(funcad.vmap(g)(xs), 100 * xs**2)
    assert_close(funcad.vmap(funcad.grad(g))(xs), 200 * xs)
    assert_close(funcad.grad(lambda x: np.sum(funcad.vmap(g)(x)))(xs), 200 * xs)
    assert_close(funcad.vmap(funcad.grad(funcad.grad(g)))(xs), np.full(2, 200.0))
    assert_close(funcad.vmap(lambda x: funcad.jvp(g, (x,), (1.0,))[1])(xs), 200 * xs)


def test_nested_vmaps_run_the_rule_once():
    f = funcad.custom_vmap(lambda x, y: x * y)
    calls = []

    @f.def_vmap
    def rule(size, in_batched, x, y):
        calls.append(size)
        return x * y, True

    got = funcad.vmap(funcad.vmap(f, (0, None)), (None, 0))(
        np.arange(3.0), np.arange(2.0)
    )
    assert_close(got, np.outer(np.arange(2.0), np.arange(3.0)))
    assert calls == [3]


def test_results_that_are_the_same_for_all_examples():
    f = funcad.custom_vmap(lambda x: (x, {"two": 2.0}))
    f.def_vmap(lambda size, in_batched, x: ((x, {"two": 2.0}), (True, {"two": False})))
    got = funcad.vmap(f)(np.arange(3.0))
    assert_close(got, (np.arange(3.0), {"two": np.full(3, 2.0)}))


# -------------------------------------------------------------------- classic functions


def test_stable_derivative_of_log1pexp():
    @funcad.custom_jvp
    def log1pexp(x):
        return np.log1p(np.exp(x))

    @log1pexp.defjvp
    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        return log1pexp(x), (1 - 1 / (1 + np.exp(x))) * t

    with np.errstate(over="ignore"):
        assert_close(funcad.grad(log1pexp)(1000.0), 1.0)
    xs = np.linspace(-2, 2, 5)
    assert_close(funcad.vmap(funcad.grad(log1pexp))(xs), 1 / (1 + np.exp(-xs)))
    second = funcad.jit(funcad.vmap(funcad.grad(funcad.grad(log1pexp))))
    assert_close(second(xs), 1 / (2 + np.exp(xs) + np.exp(-xs)))


def test_straight_through_estimator():
    hard = funcad.custom_jvp(lambda x: np.round(x))
    hard.defjvps(lambda t, ans, x: t)
    x = np.array([0.2, 1.7])
    assert_close(funcad.grad(lambda x: np.sum(hard(x) ** 2))(x), np.array([0.0, 4.0]))
    soft = funcad.custom_vjp(np.sign)
    soft.defvjp(lambda x: (np.sign(x), x), lambda x, ct: (ct * (np.abs(x) < 1),))
    assert_close(
        funcad.jit(funcad.grad(lambda x: np.sum(soft(x))))(x), np.array([1.0, 0.0])
    )


def test_fixed_point_by_implicit_differentiation():
    """The derivative of x* = f(a, x*) is that of f, not that of the iteration."""

    @lambda f: funcad.custom_vjp(f, nondiff_argnums=0)
    def fixed_point(f, a, guess):
        x = guess
        for _ in range(60):
            x = f(a, x)
        return x

    def fwd(f, a, guess):
        x = fixed_point.fun(f, a, guess)
        return x, (a, x)

    def bwd(f, residuals, ct):
        a, x = residuals
        _, pull_x = funcad.vjp(lambda x: f(a, x), x)
        u = ct
        for _ in range(60):
            u = ct + pull_x(u)[0]
        return funcad.vjp(lambda a: f(a, x), a)[1](u)[0], None

    fixed_point.defvjp(fwd, bwd)

    def newton(a, x):
        return 0.5 * (x + a / x)

    def root(a):
        return fixed_point(newton, a, 1.0)

    assert_close(root(2.0), np.sqrt(2.0))
    assert_close(funcad.grad(root)(2.0), 0.5 / np.sqrt(2.0))
    assert_close(funcad.jit(funcad.grad(root))(2.0), 0.5 / np.sqrt(2.0))
    a = np.array([1.0, 2.0, 3.0])
    assert_close(funcad.vmap(funcad.grad(root))(a), 0.5 / np.sqrt(a))
    assert_close(funcad.grad(funcad.grad(root))(2.0), -0.25 * 2.0**-1.5, rtol=1e-6)


def test_gradient_clipping_inside_of_a_training_step():
    @funcad.custom_vjp
    def clip(x, bound):
        return x

    clip.defvjp(
        lambda x, bound: (x, bound),
        lambda bound, ct: (np.clip(ct, -bound, bound), None),
    )

    def loss(w, x):
        return np.sum(clip(w * x, 0.1) ** 2)

    w, x = np.array([1.0, 2.0]), np.array([3.0, 0.001])
    wanted = np.clip(2 * w * x, -0.1, 0.1) * x
    for gradient in (funcad.grad(loss), funcad.jit(funcad.grad(loss))):
        assert_close(gradient(w, x), wanted)
    rows = funcad.vmap(funcad.grad(loss), (None, 0))(w, np.stack([x, x]))
    assert_close(rows, np.stack([wanted, wanted]))


def test_second_derivatives_through_custom_vjp_differentiate_both_rules():
    f = funcad.custom_vjp(lambda x: np.sum(x**3))
    f.defvjp(lambda x: (np.sum(x**3), x**2), lambda square, ct: (3.0 * square * ct,))
    x = np.array([0.3, -1.0])
    assert_close(funcad.hessian(f)(x), np.diag(6 * x))
    assert_close(funcad.hvp(f, (x,), (x,)), 6 * x * x)
    assert_close(funcad.jacrev(funcad.grad(f))(x), np.diag(6 * x))
    (wanted,) = directional_derivative(funcad.grad(f), (x,), (x,))
    assert_close(funcad.jvp(funcad.jit(funcad.grad(f)), (x,), (x,))[1], wanted)


# ------------------------------------------------------------------------ other traces


def test_a_linear_function_with_a_rule_can_be_transposed():
    f = funcad.custom_jvp(lambda x: 3.0 * x)
    f.defjvps(lambda t, ans, x: 3.0 * t)
    g = funcad.custom_vjp(lambda x: 3.0 * x)
    h = funcad.custom_vmap(lambda x: 3.0 * x)
    h.def_vmap(lambda size, in_batched, x: (30.0 * x, True))
    for linear in (f, g, h):
        assert_close(funcad.linear_transpose(linear, 1.0)(np.float64(2.0)), (6.0,))
    many = funcad.vmap(lambda x, ct: funcad.linear_transpose(h, x)(ct)[0])
    assert_close(many(np.ones(2), np.ones(2)), np.full(2, 30.0))


def test_arrays_of_another_library_stay_there(library):
    x = library.from_host(np.array([0.3, 0.6]))
    for make in CUSTOM.values():
        f = make()
        gradient = funcad.grad(lambda x, f=f: f(x).sum())
        for got in (gradient(x), funcad.jit(gradient)(x)):
            assert type(got) is type(x)
            assert_close(library.to_host(got), slope(np.array([0.3, 0.6])))
        rows = funcad.vmap(funcad.grad(f))(x)
        assert type(rows) is type(x)
        assert_close(library.to_host(rows), slope(np.array([0.3, 0.6])))


def test_programs_with_the_same_rule_are_made_of_equal_rules():
    f = with_jvp()
    one, other = (funcad.make_program(f)(0.5).equations[0] for _ in range(2))
    assert one.params["rule"] == other.params["rule"]
    assert hash(one.params["rule"]) == hash(other.params["rule"])
    assert (
        one.params["rule"]
        != funcad.make_program(with_jvp())(0.5).equations[0].params["rule"]
    )


# ------------------------------------------------------------------------- wrong input


def function_with(jvp=None, fwd=None, bwd=None, rule=None, f=None):
    """A function of a pytree with these rules, and what to differentiate or map."""
    f = f or (lambda p: {"y": p["a"] * 2.0})
    p = {"a": np.ones(3)}
    if jvp is not None:
        g = funcad.custom_jvp(f)
        g.defjvp(jvp)
        return lambda: funcad.jvp(g, (p,), (p,))
    if rule is not None:
        g = funcad.custom_vmap(f)
        g.def_vmap(rule)
        return lambda: funcad.vmap(g)(p)
    g = funcad.custom_vjp(f)
    g.defvjp(fwd or (lambda p: (f(p), p)), bwd)
    return lambda: funcad.vjp(g, p)[1]({"y": np.ones(3)})


WRONG = {
    "no pair": (
        {"jvp": lambda primals, tangents: {"y": primals[0]["a"]}},
        ["must return a pair", "{'y': float64[3]}"],
    ),
    "three values": (
        {"jvp": lambda primals, tangents: (1.0, 1.0, 1.0)},
        ["must return a pair", "3 values"],
    ),
    "tangent of another structure": (
        {"jvp": lambda primals, tangents: ({"y": primals[0]["a"]}, [1.0])},
        ["structure", "value:   {'y': float64[3]}", "tangent: [float64[]]"],
    ),
    "tangent of another shape": (
        {"jvp": lambda primals, tangents: ({"y": primals[0]["a"]}, {"y": np.ones(2)})},
        ["shape or dtype", "value:   {'y': float64[3]}", "tangent: {'y': float64[2]}"],
    ),
    "tangent of another dtype": (
        {
            "jvp": lambda primals, tangents: (
                {"y": primals[0]["a"]},
                {"y": tangents[0]["a"].astype(np.float32)},
            )
        },
        ["shape or dtype", "tangent: {'y': float32[3]}"],
    ),
    "tangent of an integer": (
        {"jvp": lambda primals, tangents: ({"y": 3}, {"y": 0.0})},
        ["value:   {'y': int64[]}", "tangent: {'y': float64[]}", "funcad.float0"],
    ),
    "fwd without residuals": (
        {"fwd": lambda p: {"y": p["a"]}, "bwd": lambda r, ct: (None,)},
        ["must return a pair", "residuals"],
    ),
    "bwd without a tuple": (
        {"bwd": lambda r, ct: {"a": ct["y"]}},
        ["must return a tuple", "arguments:  ({'a': float64[3]},)"],
    ),
    "too many cotangents": (
        {"bwd": lambda r, ct: ({"a": ct["y"]}, None)},
        ["2 cotangents for 1 arguments", "cotangents: ({'a': float64[3]}, None)"],
    ),
    "cotangent of another structure": (
        {"bwd": lambda r, ct: ({"b": ct["y"]},)},
        ["another structure", "({'a': float64[3]},)", "({'b': float64[3]},)"],
    ),
    "an array for a whole argument": (
        {"bwd": lambda r, ct: (ct["y"],)},
        ["another structure", "({'a': float64[3]},)", "(float64[3],)"],
    ),
    "cotangent of another shape": (
        {"bwd": lambda r, ct: ({"a": np.ones(4)},)},
        ["shape or dtype", "({'a': float64[3]},)", "({'a': float64[4]},)"],
    ),
    "cotangent of another dtype": (
        {"bwd": lambda r, ct: ({"a": ct["y"] * 1j},)},
        ["shape or dtype", "({'a': complex128[3]},)"],
    ),
    "cotangent that is no array": (
        {"bwd": lambda r, ct: ({"a": "none"},)},
        ["shape or dtype", "({'a': <str>},)"],
    ),
    "vmap rule without flags": (
        {"rule": lambda size, in_batched, p: {"y": p["a"]}},
        ["must return a pair", "booleans"],
    ),
    "flags of another structure": (
        {"rule": lambda size, in_batched, p: ({"y": p["a"]}, True)},
        ["boolean for each leaf", "out:         {'y': float64[3]}", "True"],
    ),
    "flags that are no booleans": (
        {"rule": lambda size, in_batched, p: ({"y": p["a"]}, {"y": 0})},
        ["boolean for each leaf", "out_batched: {'y': 0}"],
    ),
    "flags that are not true": (
        {"rule": lambda size, in_batched, p: ({"y": p["a"][:2]}, {"y": True})},
        ["axis of 3 examples", "(2,)"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_results_of_rules_are_shown_beside_what_they_should_be(case):
    rules, said = WRONG[case]
    with pytest.raises(errors.CustomRuleError) as caught:
        function_with(**rules)()
    message = str(caught.value)
    for part in (*said, "<lambda> (", "test_custom.py:"):
        assert part in message
    assert isinstance(caught.value, (TypeError, ValueError))


STAGED = {
    "structure": (
        {"jvp": lambda primals, tangents: (primals[0]["a"], tangents[0]["a"])},
        ["structure", ": {'y': float64[3]}", ": float64[3]"],
    ),
    "shape": (
        {"jvp": lambda primals, tangents: ({"y": np.ones(2)}, {"y": np.ones(2)})},
        ["shape or dtype", "{'y': float64[3]}", "{'y': float64[2]}"],
    ),
    "fwd of another dtype": (
        {
            "fwd": lambda p: ({"y": p["a"].astype(np.float32)}, None),
            "bwd": lambda r, ct: (None,),
        },
        ["shape or dtype", "{'y': float64[3]}", "{'y': float32[3]}"],
    ),
}


@pytest.mark.parametrize("case", STAGED)
def test_rules_of_a_staged_function_return_what_it_returns(case):
    rules, said = STAGED[case]
    f = funcad.custom_jvp if "jvp" in rules else funcad.custom_vjp
    g = f(lambda p: {"y": p["a"] * 2.0})
    (g.defjvp if "jvp" in rules else g.defvjp)(*rules.values())
    p = {"a": np.ones(3)}
    with pytest.raises(errors.CustomRuleError) as caught:
        funcad.vjp(funcad.jit(g), p)
    for part in (*said, "test_custom.py:"):
        assert part in str(caught.value)


def test_a_mapped_rule_of_a_staged_function_returns_what_it_returns():
    g = funcad.custom_vmap(lambda x: x * 2.0)
    g.def_vmap(lambda size, in_batched, x: (x.astype(np.float32), True))
    with pytest.raises(errors.CustomRuleError, match=r"float64\[3\][^$]*float32\[3\]"):
        funcad.vmap(funcad.jit(g))(np.ones(3))


def test_a_missing_rule_is_an_error_only_where_it_is_needed():
    f = funcad.custom_jvp(lambda x: x * 2.0)
    g = funcad.custom_vjp(lambda x: x * 2.0)
    h = funcad.custom_vmap(lambda x: x * 2.0)
    for custom in (f, g, h):
        assert custom(1.0) == 2.0
        assert funcad.jit(custom)(1.0) == 2.0
    assert_close(funcad.vmap(f)(np.ones(2)), np.full(2, 2.0))
    assert_close(funcad.grad(h)(1.0), 2.0)
    for custom, transform, advice in (
        (f, forward, "defjvp"),
        (f, funcad.grad, "defjvp"),
        (g, funcad.grad, "defvjp"),
        (h, lambda f: lambda x: funcad.vmap(f)(np.ones(2)), "def_vmap"),
    ):
        for through in (lambda f: f, funcad.jit):
            with pytest.raises(errors.MissingRuleError, match=advice):
                transform(through(custom))(1.0)


def test_rules_of_a_ufunc_are_given_its_operands_alone():
    product = funcad.custom_vjp(np.multiply)
    product.defvjp(lambda x, y: (x * y, (x, y)), lambda xy, ct: (xy[1] * ct, -ct))
    assert funcad.grad(product, argnums=(0, 1))(2.0, 3.0) == (3.0, -1.0)
    sine = funcad.custom_jvp(np.sin)
    sine.defjvp(lambda primals, tangents: (np.sin(*primals), 7 * tangents[0]))
    assert funcad.grad(sine)(2.0) == 7.0


@pytest.mark.parametrize(
    "transform", (forward, linearized, funcad.jacfwd, lambda f: forward(funcad.jit(f)))
)
def test_forward_mode_of_custom_vjp_offers_custom_jvp(transform):
    with pytest.raises(errors.ForwardModeError, match="wave.*funcad.custom_jvp"):
        transform(with_vjp())(0.5)


def test_forward_mode_over_forward_mode_and_under_vmap_of_custom_vjp():
    f = with_vjp()
    for g in (
        funcad.grad(forward(f)),
        lambda x: funcad.vmap(forward(f))(np.array([x]))[0],
        lambda x: forward(lambda x: funcad.vmap(f)(fnp.array([x]))[0])(x),
    ):
        with pytest.raises(errors.ForwardModeError, match="custom_jvp"):
            g(0.5)


def test_linearize_of_custom_vjp_can_be_transposed():
    value, f_jvp = funcad.linearize(with_vjp(), 0.5)
    assert_close(value, wave(0.5))
    assert_close(funcad.linear_transpose(f_jvp, 0.5)(np.float64(1.0)), (slope(0.5),))


def test_a_tangent_of_zeros_is_no_forward_mode():
    f, g = with_jvp(lambda x: x), with_vjp()
    f.defjvp(lambda primals, tangents: (primals[0], np.float64(0.0)))
    assert_close(funcad.grad(lambda x: g(f(x)))(0.5), 0.0)
    assert_close(forward(lambda x: g(f(x)))(0.5), 0.0)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: funcad.custom_jvp(3),
        lambda: funcad.custom_vjp(lambda x: x, nondiff_argnums="x"),
        lambda: funcad.custom_jvp(lambda x: x, nondiff_argnums=(0.5,)),
        lambda: funcad.custom_jvp(lambda x: x, nondiff_argnums=-1),
        lambda: funcad.custom_vjp(lambda x: x, nondiff_argnums=3),
        lambda: funcad.custom_jvp(nondiff_argnums=(0,)),
        lambda: funcad.custom_jvp(lambda x: x).defjvp(None),
        lambda: funcad.custom_jvp(lambda x: x).defjvps(1.0),
        lambda: funcad.custom_jvp(lambda x: x, nondiff_argnums=0).defjvps(None),
        lambda: funcad.custom_vjp(lambda x: x).defvjp(lambda x: x, 3),
        lambda: funcad.custom_vmap(lambda x: x).def_vmap("rule"),
    ],
)
def test_what_is_no_function_or_no_position_is_refused(attempt):
    with pytest.raises(TypeError, match="function|position|defjvps"):
        attempt()


def test_positions_of_optional_and_further_arguments_can_be_named():
    def f(x, n=2, *more):
        return x**n

    for n in 1, 2, 7:
        g = funcad.custom_jvp(f, nondiff_argnums=n)
        assert g(3.0) == 9.0


def test_a_call_that_does_not_fit_is_refused_by_the_name_of_the_function():
    @funcad.custom_vjp
    def f(x, *, scale=2.0):
        return scale * x

    assert f(3.0) == 6.0
    with pytest.raises(TypeError, match=r"^f: missing.*called as f\(x, \*, scale"):
        f()


def test_one_rule_for_each_argument():
    f = funcad.custom_jvp(lambda x, y: x * y)
    f.defjvps(lambda t, ans, x, y: t * y)
    with pytest.raises(errors.CustomRuleError, match="1 rules.*2 arguments"):
        funcad.grad(f)(1.0, 2.0)
    f.defjvps(lambda t, ans, x, y: (t, t), None)
    with pytest.raises(errors.CustomRuleError, match="tangent: .float64"):
        funcad.grad(f)(1.0, 2.0)
    f.defjvps(None, None)
    assert_close(funcad.grad(f)(1.0, 2.0), 0.0)


def test_arguments_that_are_no_arrays_belong_in_nondiff_argnums():
    f = with_jvp(lambda x, how: x)
    with pytest.raises(errors.LeafTypeError, match="'up'.*nondiff_argnums"):
        funcad.grad(lambda x: f(x, "up"))(1.0)


def test_tracers_that_escape_are_named():
    kept = []
    funcad.grad(lambda x: kept.append(x) or x)(1.0)
    with pytest.raises(errors.EscapedTracerError, match="wave"):
        with_jvp()(kept[0])
    f = funcad.custom_jvp(lambda x: x * kept[0])
    with pytest.raises(errors.EscapedTracerError):
        f(1.0)


def test_an_error_in_a_rule_is_the_users_own():
    f = funcad.custom_jvp(lambda x: x)
    f.defjvp(lambda primals, tangents: {}["missing"])
    with pytest.raises(KeyError, match="missing"):
        funcad.grad(f)(1.0)
