"""``jit``: one staging a signature, under every transform, and what it refuses."""

import functools
import gc
import pickle
import threading
import warnings
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import assume

import funcad
import funcad.numpy as fnp
from funcad import errors
from funcad.compile.compiled import Compiled
from funcad.core.tracing import aval_of
from funcad.transforms import jit as module
from properties import for_all, generators, host, placed
from test_random_programs import EXACT, numbers, programs

X = np.array([0.3, -1.2, 2.5])


def close(got, want):
    scale = 1 + np.abs(host(want)).max(initial=0)
    assume(np.isfinite(scale))
    np.testing.assert_allclose(host(got) / scale, host(want) / scale, **EXACT)


def counted(f):
    """A function that counts how often it is run, and the count."""
    runs = []

    @functools.wraps(f)
    def g(*args, **kwargs):
        runs.append(1)
        return f(*args, **kwargs)

    return g, runs


# --------------------------------------------------------------------------- signatures


def test_a_function_is_staged_once_for_each_shape_and_dtype():
    f, runs = counted(lambda x: np.sin(x) * 2)
    jitted = funcad.jit(f)
    for _ in range(3):
        np.testing.assert_array_equal(jitted(X), np.sin(X) * 2)
    assert len(runs) == 1
    jitted(X[:2])
    jitted(X.astype(np.float32))
    jitted(X[:2])
    assert len(runs) == 3
    assert jitted.cache_info() == (3, 3, module.CACHE_SIZE, 3)


def test_numbers_of_one_type_share_a_signature_and_follow_the_arrays_they_meet():
    x = X.astype(np.float32)
    f, runs = counted(lambda x, s: (x * s, s * 2))
    jitted = funcad.jit(f)
    for s in (2.0, 3.5, -1.0):
        (scaled, double), (want, number) = jitted(x, s), f(x, s)
        assert scaled.dtype == want.dtype == np.float32
        np.testing.assert_array_equal(scaled, want)
        assert (double, type(double)) == (number, type(number))
    assert len(runs) == 1 + 3
    assert jitted(x, 2)[0].dtype == np.float32
    assert jitted(x, np.float64(2))[0].dtype == np.float64
    assert jitted.cache_info().misses == 3


def test_numbers_stay_numbers_in_a_jitted_function_inside_another():
    def f(x):
        return funcad.vmap(np.sin)(np.stack([x, 2 * x]))[0]

    assert funcad.jit(funcad.jit(f))(0.7) == f(0.7)
    x = X.astype(np.float32)
    scaled = funcad.jit(lambda s: funcad.jit(lambda t: t * x)(s))
    assert scaled(2.0).dtype == np.float32


def test_arrays_that_it_closes_over_are_constants_from_then_on():
    a, b = np.ones(3), np.ones(3)

    def f(x):
        total, _ = funcad.lax.scan(lambda c, k: (c + k * b, None), x, np.arange(2.0))
        return x + a, x + 2 * a, total, a

    for jitted in (funcad.jit(f), funcad.jit(lambda x: funcad.jit(f)(x))):
        a[:], b[:] = 1.0, 1.0
        want = [np.array(v) for v in jitted(X)]
        a[:], b[:] = 5.0, 5.0
        for got, w in zip(jitted(X), want, strict=True):
            np.testing.assert_array_equal(got, w)


def test_a_result_that_is_a_constant_is_the_callers_own():
    ones = np.ones(3)
    jitted = funcad.jit(lambda x: (ones, np.zeros(2), np.exp(ones)))
    want = [np.array(v) for v in jitted(1.0)]
    for _ in range(2):
        for got, w in zip(jitted(1.0), want, strict=True):
            np.testing.assert_array_equal(got, w)
            got[:] = 7.0
    np.testing.assert_array_equal(ones, np.ones(3))


@pytest.mark.parametrize(
    "f", [lambda x: x**2, lambda x: x**0.5, lambda x: x // 2, lambda x: x % 2, abs]
)
@pytest.mark.parametrize("number", [3, 3.0])
def test_operators_leave_numbers_what_they_are(f, number):
    a = X.astype(np.float32)
    for got in (funcad.jit(f)(number), funcad.make_program(f)(number)(number)[0]):
        assert type(got) is type(f(number)) and got == f(number)
    for got in (
        funcad.jit(lambda x, a: f(x) * a)(number, a),
        funcad.vmap(lambda a, x: f(x) * a, (0, None))(a, number),
        funcad.jvp(lambda x: f(x) * a, (float(number),), (1.0,))[0],
    ):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, f(number) * a)


def test_powers_of_numbers_are_infinite_where_those_of_arrays_are():
    with np.errstate(all="ignore"):
        assert funcad.jit(lambda x: x**-1)(0.0) == np.inf
        assert funcad.grad(lambda x: x**0.5)(0.0) == np.inf
        assert np.isnan(funcad.jit(lambda x: x**0.5)(-1.0))


def test_true_one_and_one_point_zero_are_different_static_values():
    jitted = funcad.jit(lambda x, n: x * (2 if n is True else n), static_argnums=1)
    for n in (1, 1.0, True, 1):
        want = X * (2 if n is True else n)
        np.testing.assert_array_equal(jitted(X, n), want)
    assert jitted.cache_info().misses == 3


def test_the_structure_of_the_arguments_is_part_of_the_signature():
    f, runs = counted(lambda p: sum(funcad.tree.leaves(p)))
    jitted = funcad.jit(f)
    jitted({"a": X, "b": X})
    jitted({"b": X, "a": X})
    jitted([X, X])
    jitted((X, X))
    jitted((X, None, X))
    assert len(runs) == 4


def test_results_have_the_structure_that_the_function_gives_them():
    Point = namedtuple("Point", "x y")
    f = lambda x: {"p": Point(x + 1, [x * 2, None]), "n": 3, "c": np.ones(2)}  # noqa: E731
    got, want = funcad.jit(f)(X), f(X)
    assert funcad.tree.structure(got) == funcad.tree.structure(want)
    assert got["n"] == 3
    np.testing.assert_array_equal(got["p"].y[0], X * 2)


def test_a_function_of_nothing_is_compiled_too():
    assert funcad.jit(lambda: 3.0)() == 3.0
    np.testing.assert_array_equal(funcad.jit(lambda: (np.ones(2), {}))()[0], np.ones(2))


def test_a_copy_that_is_returned_is_the_callers_own():
    for f in (
        lambda x: x.copy(),
        np.copy,
        lambda x: x.astype(float),
        lambda x: np.copy(x) * 1.0,
    ):
        x = X.copy()
        funcad.jit(f)(x)[0] = 100.0
        np.testing.assert_array_equal(x, X)
    lowered = funcad.jit(lambda x: np.sum(x.copy() * x.astype(float))).lower(X)
    names = [e.primitive.name for e in lowered.optimized.equations]
    assert names == ["multiply", "reduce_sum"]


def test_static_arguments_are_static_by_number_and_by_name():
    def power(x, n, *, scale=1.0):
        return x**n * scale

    for options in ({"static_argnums": 1}, {"static_argnames": "n"}):
        jitted = funcad.jit(power, **options)
        np.testing.assert_array_equal(jitted(X, 2), X**2)
        np.testing.assert_array_equal(jitted(X, n=2), X**2)
        np.testing.assert_array_equal(jitted(n=3, x=X), X**3)
        assert jitted.cache_info().misses == 3
    jitted = funcad.jit(power, static_argnums=(-1,), static_argnames=["scale"])
    np.testing.assert_array_equal(jitted(X, 2, scale=2.0), X**2 * 2)


def test_loops_may_count_by_a_static_argument():
    @functools.partial(funcad.jit, static_argnums=1)
    def iterate(x, n):
        for _ in range(n):
            x = np.sin(x)
        return x

    np.testing.assert_allclose(iterate(X, 3), np.sin(np.sin(np.sin(X))))


def test_the_cache_is_bounded_and_can_be_emptied(monkeypatch):
    monkeypatch.setattr(module, "CACHE_SIZE", 3)
    f, runs = counted(lambda x: x * 2)
    jitted = funcad.jit(f)
    for n in range(5):
        jitted(np.ones(n))
    assert jitted.cache_info().currsize == 3
    assert len(runs) == 5
    jitted(np.ones(4))
    assert len(runs) == 5
    jitted(np.ones(0))
    assert len(runs) == 6
    jitted.clear_cache()
    assert jitted.cache_info().currsize == 0
    np.testing.assert_array_equal(jitted(np.ones(4)), 2 * np.ones(4))
    assert len(runs) == 7


def test_many_compilations_bring_one_warning_that_names_what_changed():
    jitted = funcad.jit(lambda p, n: p["x"] * n, static_argnums=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in range(module.PATIENCE):
            jitted({"x": np.ones(n)}, 2)
    with pytest.warns(funcad.RecompilationWarning) as caught:
        jitted({"x": np.ones(100)}, 2)
    text = str(caught[0].message)
    n = module.PATIENCE - 1
    assert f"args[0]['x'] was float64[{n}] and is float64[100]" in text
    assert __file__ in text
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jitted({"x": np.ones(101)}, 2)


def test_the_warning_names_a_static_value_that_changes():
    jitted = funcad.jit(lambda x, n: x * n, static_argnames="n")
    with pytest.warns(funcad.RecompilationWarning, match=r"'n' was 11 and is 12|1 was"):
        for n in range(module.PATIENCE + 1):
            jitted(X, n=n)


# --------------------------------------------------------------- under every transform


def test_random_programs_mean_the_same_when_jitted(library):
    @for_all(programs(), generators(), share=3 if library.name == "numpy" else 1)
    def check(program, rng):
        jitted = funcad.jit(program)
        for _ in range(2):
            inputs = placed(library, program.draw(rng))
            got, want = jitted(*inputs), program(*inputs)
            assert aval_of(got) == aval_of(want)
            close(got, want)


WAYS = {
    "grad(jit(f))": lambda f, n: funcad.grad(funcad.jit(f), n),
    "jit(grad(f))": lambda f, n: funcad.jit(funcad.grad(f, n)),
    "jit(grad(jit(f)))": lambda f, n: funcad.jit(funcad.grad(funcad.jit(f), n)),
    "grad(jit(jit(f)))": lambda f, n: funcad.grad(funcad.jit(funcad.jit(f)), n),
    "inline": lambda f, n: funcad.jit(funcad.grad(funcad.jit(f, inline=True), n)),
}


@pytest.mark.parametrize("way", WAYS)
def test_gradients_through_jit_are_the_eager_ones(library, way):
    @for_all(programs(), generators(), share=1)
    def check(program, rng):
        gradient = WAYS[way](program, numbers(program))
        for _ in range(2):
            inputs = placed(library, program.draw(rng))
            want = funcad.grad(program, numbers(program))(*inputs)
            for g, w in zip(gradient(*inputs), want, strict=True):
                assert aval_of(g) == aval_of(w)
                close(g, w)


SECOND = {
    "hvp(jit(f))": lambda f, n: funcad.jit(f),
    "hvp(f with jit inside)": lambda f, n: lambda *xs: np.tanh(funcad.jit(f)(*xs)),
}


@pytest.mark.parametrize("outside", [False, True])
def test_hessian_vector_products_through_jit_are_the_eager_ones(outside):
    @for_all(programs(), generators(), share=1)
    def check(program, rng):
        inputs, tangents = program.draw(rng), program.draw(rng)
        argnums = numbers(program)

        def product(f):
            return lambda xs, ts: funcad.hvp(f, xs, ts, argnums)

        by_jit = product(funcad.jit(program))
        by_jit = funcad.jit(by_jit) if outside else by_jit
        args = tuple(inputs), tuple(tangents)
        for g, w in zip(by_jit(*args), product(program)(*args), strict=True):
            close(g, w)


def test_vmap_and_jit_exchange():
    @for_all(programs(), generators(), share=1)
    def check(program, rng):
        rows = [program.draw(rng) for _ in range(3)]
        stacked = [np.stack(column) for column in zip(*rows, strict=True)]
        argnums = numbers(program)
        both = funcad.value_and_grad(program, argnums)
        want = funcad.vmap(both)(*stacked)
        for way in (
            funcad.jit(funcad.vmap(both)),
            funcad.vmap(funcad.jit(both)),
            funcad.jit(
                funcad.vmap(funcad.value_and_grad(funcad.jit(program), argnums))
            ),
        ):
            got = way(*stacked)
            for g, w in zip(
                funcad.tree.leaves(got), funcad.tree.leaves(want), strict=True
            ):
                close(g, w)


def test_jvp_and_linear_transpose_go_through_jit():
    f = funcad.jit(lambda x, n: np.sin(x) * n)
    y, t = funcad.jvp(lambda x: f(x, 2), (X,), (np.ones(3),))
    np.testing.assert_allclose(y, np.sin(X) * 2)
    np.testing.assert_allclose(t, np.cos(X) * 2)
    matrix = np.arange(6.0).reshape(2, 3)
    linear = funcad.jit(lambda x, y: (matrix @ x, x + y))
    back = funcad.linear_transpose(linear, X, X)((np.ones(2), X))
    np.testing.assert_allclose(back[0], matrix.T @ np.ones(2) + X)
    np.testing.assert_allclose(back[1], X)


def test_integers_and_results_without_derivative_pass_through():
    @funcad.jit
    def f(x, i):
        return fnp.take(x, i) ** 2, i + 1, x > 0

    out, pullback = funcad.vjp(lambda x: f(x, np.array([0, 2])), X)
    zeros = np.zeros(2, funcad.float0), np.zeros(3, funcad.float0)
    (ct,) = pullback((np.ones(2), *zeros))
    np.testing.assert_allclose(ct, 2 * X * [1, 0, 1])
    assert out[1].tolist() == [1, 3]
    y, t = funcad.jvp(f, (X, np.array([1])), (X, np.zeros(1, funcad.float0)))
    np.testing.assert_allclose(t[0], 2 * X[1] * X[1])
    assert t[1].dtype == funcad.float0


def test_the_gradient_of_a_jitted_function_runs_it_no_more_than_once():
    f, runs = counted(lambda x: np.sum(np.tanh(x) ** 2))
    gradient = funcad.grad(funcad.jit(f))
    for k in range(4):
        np.testing.assert_allclose(gradient(X * k), funcad.grad(f)(X * k))
    assert len(runs) == 1 + 4


def test_forward_and_backward_parts_are_one_equation_each():
    f = funcad.jit(lambda x: np.sum(np.tanh(x) ** 2))
    program = funcad.make_program(funcad.grad(f))(X)
    assert [str(e.primitive) for e in program.equations] == ["jit_call", "jit_call"]
    _, pullback = funcad.vjp(f, X)
    assert [str(e.primitive) for e in pullback.program.equations] == ["jit_call"]
    inlined = funcad.make_program(funcad.grad(funcad.jit(f, inline=True)))(X)
    assert len(inlined.equations) >= 2


def test_a_jitted_closure_follows_the_tracers_that_it_closes_over():
    f, runs = counted(lambda x, y: np.sum(np.sin(x * y)))

    def loss(y, jit):
        return jit(lambda x: f(x, y))(X)

    plain = funcad.grad(loss)(X, lambda g: g)
    np.testing.assert_allclose(funcad.grad(loss)(X, funcad.jit), plain)
    np.testing.assert_allclose(
        funcad.jit(funcad.grad(lambda y: loss(y, funcad.jit)))(X), plain
    )
    stacked = np.stack([X, 2 * X])
    np.testing.assert_allclose(
        funcad.vmap(funcad.grad(lambda y: loss(y, funcad.jit)))(stacked),
        funcad.vmap(funcad.grad(lambda y: loss(y, lambda g: g)))(stacked),
    )


def test_programs_are_compiled_for_the_library_of_their_arrays(library, monkeypatch):
    made = []
    plain = Compiled.__init__

    def recorded(self, program, array_type=np.ndarray, *args, **kwargs):
        made.append(array_type)
        plain(self, program, array_type, *args, **kwargs)

    monkeypatch.setattr(Compiled, "__init__", recorded)
    (x,) = placed(library, [X])

    def loss(x):
        h = funcad.lax.cond(np.sum(x) > 0, np.sin, np.cos, x)
        return np.sum(
            funcad.lax.while_loop(lambda c: np.sum(c) < 9, lambda c: 2 + c, h)
        )

    funcad.grad(funcad.jit(lambda x: np.sum(np.tanh(x) ** 2)))(x)
    funcad.jvp(funcad.jit(loss), (x,), (x,))
    funcad.jit(loss).lower(x).compile()(x)
    assert made
    assert set(made) == {type(x)}


def test_a_closure_over_tracers_is_right_every_time_it_is_called():
    @funcad.jit
    def scaled(x):
        return x * scale[0]

    scale = [2.0]
    assert scaled(3.0) == 6.0
    scaled.clear_cache()

    def f(s):
        scale[0] = s
        return scaled(3.0)

    for s in (1.0, 5.0):
        assert float(funcad.grad(f)(s)) == 3.0
        y, t = funcad.jvp(f, (s,), (1.0,))
        assert (float(y), float(t)) == (3.0 * s, 3.0)


def test_methods_are_jitted_as_functions_of_their_object():
    @funcad.tree.register_pytree_node_class
    class Model:
        def __init__(self, w):
            self.w = w

        def tree_flatten(self):
            return (self.w,), None

        @classmethod
        def tree_unflatten(cls, aux, children):
            return cls(*children)

        @funcad.jit
        def __call__(self, x):
            return np.sum(np.tanh(self.w * x))

    class Scale:
        @functools.partial(funcad.jit, static_argnums=0)
        def __call__(self, x):
            return x * self.factor

        factor = 3.0

    model = Model(X)
    want = funcad.grad(lambda w: np.sum(np.tanh(w * X)))(X)
    np.testing.assert_allclose(funcad.grad(lambda m: m(X))(model).w, want)
    np.testing.assert_allclose(Scale()(X), 3 * X)
    bound = funcad.jit(model.__call__)
    np.testing.assert_allclose(bound(X), model(X))


def test_calls_under_tracers_and_on_arrays_share_the_staging():
    f, runs = counted(lambda x: np.sum(x**2))
    jitted = funcad.jit(f)
    jitted(X)
    funcad.grad(jitted)(X)
    funcad.vmap(jitted)(np.stack([X, X]))
    funcad.make_program(jitted)(X)
    assert len(runs) == 1


def test_threads_may_share_a_jitted_function():
    f = funcad.jit(lambda x: np.sum(np.tanh(x @ x.T)) / x.size)
    gradient = funcad.jit(funcad.grad(f))
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            x = rng.standard_normal((rng.integers(1, 5), 100))
            t = np.tanh(x @ x.T)
            want = ((1 - t * t) + (1 - t * t).T) @ x / x.size
            if not np.allclose(gradient(x), want):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(s,)) for s in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_jitted_function_pickles_as_the_function_that_it_wraps():
    again = pickle.loads(pickle.dumps(funcad.jit(np.sin)))
    np.testing.assert_array_equal(again(X), np.sin(X))


def test_name_and_docstring_are_kept():
    def f(x):
        """What f does."""
        return x

    jitted = funcad.jit(f)
    assert (jitted.__name__, jitted.__doc__) == ("f", "What f does.")
    assert repr(jitted) == "<jitted f>"


# ----------------------------------------------------------------------------- lowering


def test_lowering_runs_nothing_and_shows_the_stages():
    f = funcad.jit(lambda p, x: {"y": np.sin(p["w"] * x) * 1.0})
    w = funcad.ShapeDtypeStruct((3,), np.float64)
    lowered = f.lower({"w": w}, w)
    assert [str(e.primitive) for e in lowered.program.equations] == [
        *("multiply", "sin", "multiply")
    ]
    assert "np.sin" in lowered.source
    run = lowered.compile()
    np.testing.assert_allclose(run({"w": X}, X)["y"], np.sin(X * X))
    assert f.cache_info().misses == 0


def test_what_was_compiled_refuses_other_arguments():
    run = funcad.jit(lambda p: p["x"] * 2).lower({"x": X}).compile()
    with pytest.raises(errors.LoweredCallError, match=r"float64\[3\].*float32\[3\]"):
        run({"x": X.astype(np.float32)})
    with pytest.raises(errors.LoweredCallError, match=r"\['x'\].*float64\[2\]"):
        run({"x": X[:2]})
    with pytest.raises(errors.TreeStructureError):
        run({"y": X})
    with pytest.raises(TypeError, match="a Python float"):
        run({"x": 2.0})


# --------------------------------------------------------------------------- bad input


def message(call, kind, *others):
    with pytest.raises(kind) as caught:
        call()
    for other in others:
        assert isinstance(caught.value, other)
    text = str(caught.value)
    assert __file__ in text
    return text


def test_branching_on_a_value_is_refused_with_advice():
    def f(x):
        if x > 0:
            return x
        return -x

    text = message(lambda: funcad.jit(f)(2.0), errors.ConcretizationError, TypeError)
    assert "np.where" in text
    assert "if x > 0" in text
    text = message(
        lambda: funcad.jit(lambda x, n: [x for _ in range(n)])(X, 3),
        errors.ConcretizationError,
    )
    assert "static" in text


def test_a_static_argument_that_is_not_hashable_is_refused_by_name():
    for options, call in (
        ({"static_argnums": 1}, lambda f: f(X, [1, 2])),
        ({"static_argnames": "n"}, lambda f: f(X, n=np.ones(2))),
        ({"static_argnums": 1}, lambda f: f(X, {"a": X})),
    ):
        f = funcad.jit(lambda x, n: x, **options)
        text = message(lambda: call(f), errors.StaticArgumentError, TypeError)  # noqa: B023
        assert "not hashable" in text
        assert "1" in text or "'n'" in text


def test_static_arguments_that_do_not_exist_are_refused():
    def f(x, n):
        return x

    for options, word in (
        ({"static_argnums": 2}, "takes 2 positional"),
        ({"static_argnums": "n"}, "static_argnames"),
        ({"static_argnums": True}, "integer"),
        ({"static_argnums": (0, 1.5)}, "integer"),
        ({"static_argnames": "m"}, "x, n"),
        ({"static_argnames": [1]}, "strings"),
    ):
        text = message(lambda: funcad.jit(f, **options), errors.StaticArgumentError)  # noqa: B023
        assert word in text


def test_keeping_a_traced_value_is_refused_at_once():
    kept = []

    class Holder:
        pass

    holder = Holder()

    def in_list(x):
        kept.append(x * 2)
        return x

    def in_attribute(x):
        holder.x = x
        return x

    for f in (in_list, in_attribute):
        text = message(
            lambda: funcad.jit(f)(X),  # noqa: B023
            errors.EscapedTracerError,
            RuntimeError,
        )
        assert f.__name__ in text
    kept.clear()
    del holder.x


def test_a_reference_cycle_is_no_kept_value():
    def f(x):
        def g(n):
            return x if n == 0 else g(n - 1) * 2

        cycle = [g]
        cycle.append(cycle)
        return g(2)

    gc.disable()
    try:
        np.testing.assert_array_equal(funcad.jit(f)(X), 4 * X)
    finally:
        gc.enable()


def test_arguments_and_results_that_are_no_arrays_are_refused():
    text = message(lambda: funcad.jit(lambda x: x)("text"), errors.LeafTypeError)
    assert "jit" in text
    assert "static" in text
    message(lambda: funcad.jit(lambda x: "text")(X), errors.LeafTypeError)
    with pytest.raises(TypeError, match="jit takes a function"):
        funcad.jit(3)


def test_writing_into_an_argument_is_refused():
    def f(x):
        x[0] = 1.0
        return x

    message(lambda: funcad.jit(f)(X), errors.MutationError)


def test_an_error_in_the_function_leaves_nothing_behind():
    f = funcad.jit(lambda x: np.sum(x) if x.ndim == 1 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        f(X[None])
    assert f.cache_info() == (0, 0, module.CACHE_SIZE, 0)
    assert f(X) == np.sum(X)
