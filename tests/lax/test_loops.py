"""``scan``, ``map``, ``fori_loop`` and ``while_loop``: their own behaviour."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcad
import funcad.numpy as fnp
from differences import assert_close, assert_same
from funcad import lax, tree
from funcad.core.errors import ConcretizationError, UnboundedLoopError
from properties import generators, host


def primitives(f, *args):
    return [e.primitive.name for e in funcad.make_program(f)(*args).equations]


# -------------------------------------------------------------------------------- scan


def test_given_arrays_the_function_gets_arrays_and_runs_once_a_step():
    seen = []

    def step(carry, x):
        seen.append((type(carry), type(x)))
        return carry + x, carry * x if carry > 1 else -x

    total, ys = lax.scan(step, 0.0, np.array([1.0, 2.0, 3.0]))
    assert len(seen) == 3
    assert seen[1] == (np.float64, np.float64)
    assert_same((total, ys), (np.float64(6.0), np.array([-1.0, -2.0, 9.0])))


@given(generators(), st.integers(0, 5), st.booleans())
def test_scan_of_sums_is_cumsum(rng, length, reverse):
    xs = rng.standard_normal((length, 2))
    init = np.zeros(2)
    step = lambda c, x: (c + x, c + x)  # noqa: E731
    order = slice(None, None, -1 if reverse else 1)
    want = np.cumsum(xs[order], axis=0)[order]
    for run in (lambda f: f, funcad.jit):
        total, sums = run(lambda i, x: lax.scan(step, i, x, reverse=reverse))(init, xs)
        assert_close(sums, want)
        assert_close(total, np.sum(xs, axis=0))


@pytest.mark.parametrize("jit", [False, True])
def test_a_scan_of_no_steps_returns_the_initial_carry_and_empty_outputs(jit):
    def f(w, h, xs):
        step = lambda h, x: ((h[0] * w + x, h[1]), (h[0], np.sum(x)))  # noqa: E731
        return lax.scan(step, (h, 1), xs)

    args = 2.0, np.array([1.0, 2.0]), np.empty((0, 2))
    (h, one), (ys, sums) = (funcad.jit(f) if jit else f)(*args)
    assert_close(h, args[1])
    assert one == 1
    assert ys.shape == (0, 2)
    assert sums.shape == (0,)
    gradients = funcad.grad(lambda *a: np.sum(f(*a)[0][0]), (0, 1, 2))(*args)
    assert_close(gradients, (0.0, np.ones(2), np.empty((0, 2))))
    batched = funcad.vmap(f, (0, None, None))(np.array([1.0, 2.0]), *args[1:])
    assert batched[1][0].shape == (2, 0, 2)


def test_a_number_in_the_carry_takes_the_dtype_that_a_step_gives_it():
    xs = np.ones((3, 2), np.float32)
    f = lambda xs: lax.scan(lambda c, x: (c + np.sum(x), c), 0.0, xs)  # noqa: E731
    for total, ys in (f(xs), funcad.jit(f)(xs)):
        assert total.dtype == ys.dtype == np.float32
        assert_close(ys, np.array([0, 2, 4]))
    integers = lambda xs: lax.scan(lambda c, x: (c + x[0] / 2, None), 1, xs)[0]  # noqa: E731
    assert_close(integers(xs), funcad.jit(integers)(xs))


def test_a_number_that_is_returned_takes_the_dtype_of_the_carry():
    init = np.zeros((), np.float32)
    f = lambda c: lax.scan(lambda c, _: (1.0, c), c, length=2)  # noqa: E731
    for run in (f, funcad.jit(f)):
        total, ys = run(init)
        assert_same((np.asarray(total), ys), (np.float32(1), np.float32([0, 1])))


def test_a_number_that_is_differentiated_follows_the_dtype_of_arrays():
    xs = np.ones((3, 2), np.float32)

    def f(w, h):
        return np.sum(lax.scan(lambda h, x: (np.tanh(h * w + x), None), h, xs)[0])

    def g(w, h):
        for x in xs:
            h = np.tanh(h * w + x)
        return np.sum(h)

    for h in (xs[0], 0.5):
        got, want = (
            (funcad.value_and_grad(k, 0)(0.5, h), funcad.jvp(k, (0.5, h), (1.0, h)))
            for k in (lambda w, h: f(w, h + xs[0]), lambda w, h: g(w, h + xs[0]))
        )
        assert_same(got, want, rtol=1e-6)


def test_scan_leaves_one_equation_whatever_its_length():
    def f(w, xs):
        return lax.scan(lambda c, x: (np.tanh(c * w + x), c), 0.0, xs)

    short, long = (
        funcad.make_program(f)(1.0, np.zeros(n)).equations for n in (2, 1000)
    )
    assert len(short) == len(long)
    assert [e.primitive.name for e in long].count("scan") == 1


def test_a_loop_over_constants_is_staged_where_its_function_closes_over_tracers():
    xs = np.arange(100.0)
    f = lambda w: lax.scan(lambda c, x: (c * w + x, None), 0.0, xs)[0]  # noqa: E731
    assert "scan" in primitives(f, 0.5)
    assert len(primitives(f, 0.5)) < 5
    want = sum((99 - i) * 0.5 ** (98 - i) * i for i in range(99))
    assert_close(funcad.grad(f)(0.5), want)


def test_python_branches_on_values_where_there_are_values():
    def f(w):
        step = lambda c, x: ((c * w if x > 1 else c + w), c)  # noqa: E731
        return lax.scan(step, w, np.array([0.0, 2.0, 3.0]))[0]

    assert_close(f(1.5), 2 * 1.5**3)
    assert_close(funcad.grad(f)(1.5), 6 * 1.5**2)
    assert_close(funcad.jvp(f, (1.5,), (1.0,))[1], 6 * 1.5**2)
    with pytest.raises(ConcretizationError, match=r"loop of funcad\.lax.*lax\.cond"):
        funcad.jit(
            lambda c: lax.scan(lambda c, _: (c if c > 0 else -c, c), c, length=2)
        )(1.0)


def test_a_closure_over_arrays_of_two_transforms():
    def f(w):
        def inner(v):
            return lax.scan(lambda c, x: (c * w * v + x, None), 0.0, np.arange(4.0))[0]

        return funcad.grad(inner)(w) * w

    def g(w):
        def inner(v):
            c = 0.0
            for x in np.arange(4.0):
                c = c * w * v + x
            return c

        return funcad.grad(inner)(w) * w

    assert_close(funcad.grad(f)(0.7), funcad.grad(g)(0.7))
    assert_close(funcad.jit(funcad.grad(f))(0.7), funcad.grad(g)(0.7))


def test_a_counter_in_the_carry_of_a_linear_function():
    def f(x):
        def step(carry, y):
            i, total = carry
            return (i + 1, total + i * y), total * i

        (_, total), ys = lax.scan(step, (0, np.zeros(2)), x)
        return total, ys

    x = np.arange(6.0).reshape(3, 2)
    cts = np.array([1.0, -1.0]), np.arange(6.0).reshape(3, 2) + 1
    (ct,) = funcad.linear_transpose(f, x)(cts)
    t = np.cos(x)
    pairs = zip(cts, f(t))
    assert_close(np.sum(ct * t), sum(np.sum(c * y) for c, y in pairs))


def test_arrays_of_a_library_stay_in_it(library):
    xp = library.namespace
    xs = library.from_host(np.arange(6.0).reshape(3, 2))
    w = library.from_host(np.array([0.5, -0.5]))

    def f(w, xs):
        def step(c, x):
            c = lax.cond(np.sum(x) > 2, lambda c: np.sin(c) * w, lambda c: c + w, c)
            return c + x, np.sum(c)

        c, ys = lax.scan(step, xp.zeros(2), xs)
        c = lax.fori_loop(0, 3, lambda i, c: c * w + i, c)
        c = lax.while_loop(lambda c: np.sum(c * c) > 1e-2, lambda c: c * 0.5, c)
        return np.sum(c), np.sum(ys * ys)

    plain = f(w, xs)
    assert type(plain[1]) is type(np.sum(xs)) or plain[1].shape == ()
    assert_close([host(y) for y in funcad.jit(f)(w, xs)], [host(y) for y in plain])
    out, tangents = funcad.jvp(f, (w, xs), (w, xs))
    assert all(type(t) is type(o) for t, o in zip(tangents, out))
    for g in (
        funcad.grad(lambda w: f(w, xs)[1]),
        funcad.jit(funcad.grad(lambda w: f(w, xs)[1])),
    ):
        assert type(g(w)) is type(w)
    batched = funcad.vmap(f, (None, 1))(w, library.from_host(np.ones((3, 4, 2))))
    assert type(batched[0]) is type(w)


# -------------------------------------------------------------- what reverse mode keeps


def kept(f, *args):
    """Residuals of a loop: arrays that its linear equation holds."""
    _, f_jvp = funcad.linearize(f, *args)
    return [
        v
        for e in f_jvp.program.equations
        if e.primitive.name == "scan"
        for v in e.inputs
        if isinstance(v, np.ndarray)
    ]


def test_reverse_mode_keeps_what_the_backward_pass_reads():
    w, h = np.eye(3), np.zeros(3)
    xs = np.ones((50, 3))

    def f(w, h):
        return lax.scan(lambda h, x: (np.tanh(w @ h + x), None), h, xs)[0]

    arrays = kept(f, w, h)
    # the weights themselves; each step's carry, and its slope of tanh
    assert any(v is w for v in arrays)
    stacked = [v for v in arrays if v.shape[:1] == (50,)]
    assert sum(v.nbytes for v in stacked) == 2 * xs.nbytes
    # without a derivative in the weights, the carry is not read
    of_h = kept(lambda h: f(w, h), h)
    assert sum(v.nbytes for v in of_h if v.shape[:1] == (50,)) == xs.nbytes


def test_a_linear_loop_keeps_nothing_for_each_step():
    xs = np.ones((50, 3))
    w = np.eye(3)
    arrays = kept(lambda h: lax.scan(lambda h, x: (w @ h + x, None), h, xs)[0], xs[0])
    assert not [v for v in arrays if v.shape[:1] == (50,)]


def test_inputs_and_outputs_are_read_where_they_are():
    xs, h = np.full((50, 3), 0.5), np.ones(3)

    def product(h, xs):
        return lax.scan(lambda h, x: (h * x, None), h, xs)[0]

    assert any(v is xs for v in kept(lambda h: product(h, xs), h))

    def exponential(h):
        step = lambda h, x: (h + x, np.exp(h + x))  # noqa: E731
        return lax.scan(step, h, xs)

    (_, ys), f_jvp = funcad.linearize(exponential, h)
    (equation,) = f_jvp.program.equations
    stacked = [v for v in equation.inputs if getattr(v, "shape", ())[:1] == (50,)]
    assert len(stacked) == 1
    assert stacked[0] is ys


def test_what_depends_on_constants_alone_is_computed_before_the_loop():
    w, h, xs = np.full(3, 0.5), np.ones(3), np.ones((50, 3))

    def f(w, h):
        step = lambda h, x: (h * np.exp(np.sin(w)) + x, None)  # noqa: E731
        return lax.scan(step, h, xs)[0]

    stacked = [v for v in kept(f, w, h) if v.shape[:1] == (50,)]
    # the carry, which the derivative in w reads
    assert [v.shape for v in stacked] == [(50, 3)]
    program = funcad.make_program(lambda w: funcad.grad(lambda w: np.sum(f(w, h)))(w))(
        w
    )
    inside = [
        e.primitive.name
        for loop in program.equations
        if loop.primitive.name == "scan"
        for e in loop.params["body"].equations
    ]
    assert "exp" not in inside
    assert "sin" not in inside


def test_forward_mode_is_one_loop():
    f = lambda x: lax.scan(lambda c, _: (np.sin(c) * x, c), x, length=5)  # noqa: E731
    program = funcad.make_program(lambda x: funcad.jvp(f, (x,), (1.0,)))(0.5)
    loops = [e for e in program.equations if e.primitive.name == "scan"]
    assert len(loops) == 1
    assert len(loops[0].outputs) == 4


def test_only_what_is_batched_is_computed_for_each_example():
    def f(w, x):
        step = lambda c, _: ((np.sin(c[0]), c[1] * w), c)  # noqa: E731
        return lax.scan(step, (x, x), length=3)[0]

    program = funcad.make_program(funcad.vmap(f, (0, None), out_axes=(None, 0)))(
        np.ones(4), 0.5
    )
    (loop,) = [e for e in program.equations if e.primitive.name == "scan"]
    assert [v.shape for v in loop.outputs[:2]] == [(), (4,)]


# --------------------------------------------------------------------------------- map


@given(generators(), st.integers(1, 7), st.integers(1, 8))
def test_map_is_a_loop_and_takes_several_at_a_time(rng, length, batch_size):
    xs = {"a": rng.standard_normal((length, 2)), "b": rng.standard_normal(length)}

    def f(x):
        return {"sum": np.sum(np.sin(x["a"])) * x["b"], "pair": (x["a"], x["b"])}

    want = tree.map(
        lambda *rows: np.stack(rows),
        *[f(tree.map(lambda v, i=i: v[i], xs)) for i in range(length)],
    )
    assert_close(lax.map(f, xs), want)
    assert_close(lax.map(f, xs, batch_size=batch_size), want)
    jitted = funcad.jit(lambda xs: lax.map(f, xs, batch_size=batch_size))
    assert_close(jitted(xs), want)
    total = lambda xs: np.sum(lax.map(f, xs, batch_size=batch_size)["sum"])  # noqa: E731
    plain = lambda xs: np.sum(funcad.vmap(f)(xs)["sum"])  # noqa: E731
    assert_close(funcad.grad(total)(xs), funcad.grad(plain)(xs))


# --------------------------------------------------------------------------- fori_loop


def test_fori_loop_counts_in_python_numbers():
    x = np.ones(2, np.float32)
    f = lambda x: lax.fori_loop(0, 3, lambda i, c: c * i + 1, x)  # noqa: E731
    for run in (f, funcad.jit(f)):
        assert_same(run(x), np.full(2, 5, np.float32))


@pytest.mark.parametrize(("lower", "upper"), [(0, 0), (5, 2), (2, 5), (-3, 1)])
def test_fori_loop_is_a_range(lower, upper):
    want = sum(range(lower, upper))
    add = lambda i, total: total + i  # noqa: E731
    assert lax.fori_loop(lower, upper, add, 0) == want
    assert funcad.jit(lambda c: lax.fori_loop(lower, upper, add, c))(0) == want
    traced = funcad.jit(lambda a, b: lax.fori_loop(a, b, add, 0))
    assert traced(lower, upper) == want
    assert traced(np.int64(lower), np.int64(upper)) == want
    bounds = np.array([lower, upper, upper + 1])
    batched = funcad.vmap(lambda b: lax.fori_loop(lower, b, add, 0))(bounds)
    assert batched.tolist() == [sum(range(lower, b)) for b in bounds]


def test_fori_loop_with_bounds_that_are_numbers_has_a_reverse_mode():
    f = lambda x: lax.fori_loop(1, 4, lambda i, c: c * x + i, x)  # noqa: E731
    assert_close(funcad.grad(f)(2.0), 4 * 2**3 + 2 * 2 + 2)
    assert "scan" in primitives(f, 2.0)
    with pytest.raises(UnboundedLoopError):
        funcad.jit(
            funcad.grad(lambda x, n: lax.fori_loop(0, n, lambda i, c: c * x, x))
        )(2.0, 3)


# -------------------------------------------------------------------------- while_loop


def collatz(n):
    """Number of steps from n to 1, and the largest number on the way."""

    def step(state):
        n, count, top = state
        n = lax.cond(n % 2 == 0, lambda n: n // 2, lambda n: 3 * n + 1, n)
        return n, count + 1, np.maximum(top, n)

    return lax.while_loop(lambda s: s[0] != 1, step, (n, 0, n))[1:]


def test_while_loop_runs_stages_and_batches():
    want = {6: (8, 16), 7: (16, 52), 27: (111, 9232), 1: (0, 1)}
    numbers = np.array(list(want))
    for n in numbers:
        assert tuple(map(int, collatz(n))) == want[n]
        assert tuple(map(int, funcad.jit(collatz)(n))) == want[n]
    counts, tops = funcad.vmap(collatz)(numbers)
    assert [*zip(counts, tops)] == list(want.values())
    counts, tops = funcad.jit(funcad.vmap(funcad.vmap(collatz)))(numbers.reshape(2, 2))
    assert counts.tolist() == [[8, 16], [111, 0]]
    assert tops.tolist() == [[16, 52], [9232, 1]]


def newton(a):
    """The square root, with the number of steps that it took."""
    far = lambda s: np.abs(s[0] ** 2 - a) > 1e-13 * a  # noqa: E731
    return lax.while_loop(
        far, lambda s: ((s[0] + a / s[0]) / 2, s[1] + 1), ((1 + a) / 2, 0)
    )


def test_while_loop_has_a_forward_mode_of_any_order():
    root = lambda a: newton(a)[0]  # noqa: E731
    slope = lambda a: funcad.jvp(root, (a,), (1.0,))[1]  # noqa: E731
    curvature = lambda a: funcad.jvp(slope, (a,), (1.0,))[1]  # noqa: E731
    for a in (2.0, 0.3, 1.0):
        assert_close(slope(a), 0.5 / np.sqrt(a), rtol=1e-6)
        assert_close(funcad.jacfwd(root)(a), 0.5 / np.sqrt(a), rtol=1e-6)
        assert_close(funcad.jit(slope)(a), slope(a))
        assert_close(funcad.linearize(root, a)[1](1.0), slope(a))
    assert_close(curvature(2.0), -0.25 * 2.0**-1.5, rtol=1e-3)
    a = np.array([2.0, 0.3, 1.0])
    assert_close(funcad.vmap(slope)(a), np.array([slope(x) for x in a]))
    assert_close(funcad.vmap(newton)(a)[1], np.array([newton(x)[1] for x in a]))
    batched = funcad.jvp(funcad.vmap(root), (a,), (np.ones(3),))[1]
    assert_close(batched, np.array([slope(x) for x in a]))


def test_a_jitted_while_loop_may_count_in_numbers_in_forward_mode():
    def double(x):
        return lax.while_loop(
            lambda s: s[0] < 3, lambda s: (s[0] + 1, 2 * s[1]), (0, x)
        )

    (_, x), (_, rate) = funcad.jvp(
        funcad.jit(lambda x: double(x)), (np.float64(0.5),), (np.float64(1.0),)
    )
    assert_same((x, rate), (np.float64(4.0), np.float64(8.0)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_while_loop_keeps_the_values_of_examples_that_are_done(axis):
    rng = np.random.default_rng(0)
    xs = np.exp(rng.standard_normal((4, 2, 3)))
    halve = lambda x: lax.while_loop(lambda x: np.sum(x) > 1, lambda x: x / 2, x)  # noqa: E731
    got = funcad.vmap(halve, axis, axis)(np.moveaxis(xs, 0, axis))
    want = np.stack([halve(x) for x in xs])
    assert_close(np.moveaxis(got, axis, 0), want)


def test_while_loop_with_a_condition_that_is_the_same_for_all_examples():
    def f(x, w):
        return lax.while_loop(
            lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * w), (0, x)
        )

    program = funcad.make_program(funcad.vmap(f, (0, None), (None, 0)))(np.ones(3), 2.0)
    (loop,) = [e for e in program.equations if e.primitive.name == "while"]
    assert [v.shape for v in loop.outputs] == [(), (3,)]
    assert_close(
        funcad.vmap(f, (None, 0), (None, 0))(1.0, np.arange(3.0))[1],
        np.arange(3.0) ** 3,
    )
    # the carry takes a step to become batched, and the condition another
    g = lambda w: lax.while_loop(  # noqa: E731
        lambda s: s[0] < 9, lambda s: (s[1], s[2], s[2] + w), (0.0, 0.0, 0.0)
    )
    ws = np.array([1.0, 3.0, 20.0])
    assert_close(np.stack(funcad.vmap(g)(ws), -1), np.array([g(float(w)) for w in ws]))


def test_while_loop_over_constants_that_closes_over_tracers():
    def f(w):
        return lax.while_loop(lambda c: c < 10.0, lambda c: c * w, 1.0)

    assert_close(funcad.jvp(f, (2.0,), (1.0,)), (16.0, 32.0))
    assert_close(funcad.jit(f)(2.0), 16.0)
    g = lambda limit: lax.while_loop(lambda c: c < limit, lambda c: c * 2.0, 1.0)  # noqa: E731
    assert funcad.vmap(g)(np.array([1.0, 5.0, 40.0])).tolist() == [1, 8, 64]
    assert_close(funcad.grad(lambda x: g(x) * x)(5.0), 8.0)


def test_reverse_mode_of_a_while_loop_says_what_to_use_instead():
    f = lambda x: lax.while_loop(lambda c: c < 10.0, lambda c: c * x, x)  # noqa: E731
    for g in (funcad.grad(f), funcad.jit(funcad.grad(f)), funcad.grad(funcad.jit(f))):
        with pytest.raises(UnboundedLoopError) as caught:
            g(2.0)
        assert isinstance(caught.value, (NotImplementedError, ValueError))
        assert "while_loop" in str(caught.value)
        assert "funcad.lax.scan" in str(caught.value)
        assert "test_loops.py" in str(caught.value)
    with pytest.raises(UnboundedLoopError):
        funcad.vmap(funcad.grad(f))(np.array([2.0, 3.0]))


def test_no_reverse_mode_is_needed_where_the_loop_has_no_derivative():
    def f(x):
        steps = lax.while_loop(lambda n: n * n < 50, lambda n: n + 1, 0)
        return x * steps

    assert_close(funcad.grad(f)(2.0), 8.0)
    assert_close(funcad.jit(funcad.grad(f))(2.0), 8.0)
    counted = lambda x: x * funcad.stop_gradient(newton(x)[1])  # noqa: E731
    assert_close(funcad.grad(lambda x: x * float(newton(2.0)[1]))(2.0), newton(2.0)[1])
    assert fnp.isfinite(funcad.jvp(counted, (2.0,), (1.0,))[1])


def test_pythons_booleans_have_an_inverse_in_loops_and_branches():
    """As NumPy's: of Python's own, ``~False`` is -1."""

    def flipped(x):
        steps = lax.fori_loop(0, 3, lambda i, c: (~c[0], c[1] * x), (False, x))
        rows = lax.scan(lambda c, _: (~c, c), False, length=3)
        count = lax.while_loop(
            lambda s: s[0] < 3, lambda s: (s[0] + 1, ~s[1]), (0, True)
        )
        one = lax.cond(x > 0, lambda b: ~b, lambda b: b, True)
        other = lax.switch(1, [lambda b: b, lambda b: ~b], False)
        return steps, rows, count[1], one, other

    for f in (flipped, funcad.jit(flipped)):
        steps, (last, rows), flag, one, other = f(1.5)
        assert [bool(v) for v in (steps[0], last, flag, one, other)] == [
            *(True, True, False, False, True)
        ]
        assert {np.asarray(v).dtype.kind for v in (last, rows, flag, one, other)} == {
            "b"
        }
        assert rows.tolist() == [False, True, False] and float(steps[1]) == 1.5**4
