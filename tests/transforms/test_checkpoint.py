"""Checkpoints: the same derivatives, less memory, and recomputation that survives."""

import functools
import tracemalloc

import numpy as np
import pytest

import funcad
import funcad.numpy as fnp
from differences import assert_close, assert_same
from funcad import lax
from funcad.core.tracing import Primitive, registry
from funcad.errors import (
    ConcretizationError,
    ForwardModeError,
    PolicyError,
    StaticArgumentError,
)

POLICIES = funcad.checkpoint_policies
X = np.array([0.5, 1.2])
V = np.array([1.0, -2.0])
ROWS = np.array([[0.5, 1.2], [-0.3, 0.7], [2.0, -1.0]])


def wave(x):
    return np.tanh(np.sin(x) * x)


def branching(x):
    """Python control flow that depends on values, and another path for each row."""
    for _ in range(2 if x[0] > 0 else 1):
        x = np.sin(x) * x
    return np.exp(x) if x[0] < 1 else x


def twice(f):
    return lambda x: np.sum(f(f(x)))


def assert_equal(got, want):
    got, want = funcad.tree.leaves(got), funcad.tree.leaves(want)
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        assert g.dtype == w.dtype
        np.testing.assert_array_equal(g, w)


@pytest.fixture
def counted():
    """A sine that counts its evaluations."""
    count = 0

    def evaluate(x):
        nonlocal count
        count += 1
        return np.sin(x)

    sine = Primitive(
        "counted_sine",
        evaluate,
        lambda x: (x.shape, x.dtype),
        jvp=lambda ans, primals, tangents, params: (
            None if tangents[0] is None else tangents[0] * np.cos(primals[0])
        ),
        batch=lambda values, axes: (sine(values[0]), axes[0]),
    )

    def evaluations():
        nonlocal count
        taken, count = count, 0
        return taken

    yield sine, evaluations
    del registry["counted_sine"]


# ---------------------------------------------------------------- the same derivatives


DERIVATIVES = {
    "value": lambda f: f,
    "grad": funcad.grad,
    "jvp": lambda f: lambda x: funcad.jvp(f, (x,), (V,)),
    "linearize": lambda f: lambda x: funcad.linearize(f, x)[1](V),
    "hvp": lambda f: lambda x: funcad.hvp(f, (x,), (V,)),
    "jvp of jvp": lambda f: (
        lambda x: funcad.jvp(lambda x: funcad.jvp(f, (x,), (V,))[1], (x,), (V,))
    ),
}
HIGHER = {
    "grad of grad": lambda f: funcad.grad(lambda x: np.sum(funcad.grad(f)(x) ** 2)),
    "grad of jvp": lambda f: funcad.grad(lambda x: funcad.jvp(f, (x,), (V,))[1]),
    "hessian": funcad.hessian,
    "jacrev of jacrev": lambda f: funcad.jacrev(funcad.jacrev(f)),
    "jacrev of jacfwd": lambda f: funcad.jacrev(funcad.jacfwd(f)),
}


@pytest.mark.parametrize("f", [wave, branching])
@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives_are_those_without_a_checkpoint_to_the_last_bit(name, f):
    transform = DERIVATIVES[name]
    plain, checked = twice(f), twice(funcad.checkpoint(f))
    for x in (X, -X):
        assert_equal(transform(checked)(x), transform(plain)(x))
        assert_equal(transform(funcad.checkpoint(checked))(x), transform(plain)(x))


@pytest.mark.parametrize("f", [wave, branching])
@pytest.mark.parametrize("name", HIGHER)
def test_higher_derivatives_are_those_without_a_checkpoint(name, f):
    transform = HIGHER[name]
    plain, checked = twice(f), twice(funcad.checkpoint(f))
    for x in (X, -X):
        assert_close(transform(checked)(x), transform(plain)(x), rtol=1e-12)
        nested = funcad.checkpoint(checked)
        assert_close(transform(nested)(x), transform(plain)(x), rtol=1e-12)


def test_the_fourth_derivative_goes_through_checkpoints():
    f, g = wave, funcad.checkpoint(wave)
    for _ in range(4):
        f, g = funcad.grad(f), funcad.grad(g)
    assert_close(g(0.7), f(0.7), rtol=1e-10)


def test_vmap_of_a_checkpoint_and_a_checkpoint_of_vmap():
    plain = funcad.grad(lambda x: np.sum(funcad.vmap(twice(wave))(x)))(ROWS)
    checked = twice(funcad.checkpoint(wave))
    for f in (
        lambda x: np.sum(funcad.vmap(checked)(x)),
        lambda x: np.sum(funcad.checkpoint(funcad.vmap(checked))(x)),
        lambda x: np.sum(funcad.vmap(funcad.checkpoint(checked))(x)),
    ):
        assert_equal(funcad.grad(f)(ROWS), plain)
    assert_equal(funcad.vmap(funcad.grad(checked))(ROWS), plain)


def test_a_checkpoint_under_vmap_may_branch_by_what_is_not_mapped():
    @funcad.checkpoint
    def f(x, sign):
        return np.sin(x) if sign > 0 else np.cos(x)

    got = funcad.vmap(f, (0, None))(ROWS, np.float64(-1.0))
    np.testing.assert_array_equal(got, np.cos(ROWS))


def test_what_is_not_known_is_refused_as_a_condition():
    checked = funcad.checkpoint(branching)
    with pytest.raises(ConcretizationError, match="vmap"):
        funcad.vmap(checked)(ROWS)
    with pytest.raises(ConcretizationError, match="jit, make_program or vmap"):
        funcad.jit(checked)(X)


def test_closures_over_tracers_and_keywords_and_pytrees():
    def loss(wrap, w):
        @wrap
        def f(x, *, scale, label):
            assert label == "a string"
            return {"out": np.tanh(x["in"] @ w["w"]) * scale, "same": x["in"]}

        out = f({"in": X}, scale=w["scale"], label="a string")
        return np.sum(out["out"]) + np.sum(out["same"] * w["w"][0])

    w = {"w": np.array([[0.3, 1.0], [-0.2, 0.5]]), "scale": np.array(1.5)}
    got = funcad.grad(functools.partial(loss, funcad.checkpoint))(w)
    assert_equal(got, funcad.grad(functools.partial(loss, lambda f: f))(w))


def test_a_python_number_keeps_following_the_dtype_of_arrays():
    x = np.ones(3, np.float32)
    got = funcad.grad(lambda s: np.sum(funcad.checkpoint(lambda s: s * x)(s)))(2.0)
    assert float(got) == 3.0
    out, f_vjp = funcad.vjp(funcad.checkpoint(lambda s: s * x), 2.0)
    assert out.dtype == np.float32
    f_vjp(out)


def test_results_that_are_constants_integers_or_arguments():
    @funcad.checkpoint
    def f(x, n):
        return x, np.sum(x) * n, n + 1, 3.0, None

    x, total, m, three, none = f(X, np.array(2))
    assert (int(m), three, none) == (3, 3.0, None)
    assert_equal(funcad.grad(lambda x: f(x, np.array(2))[1])(X), np.array([2.0, 2.0]))


def test_a_linear_function_is_transposed_through_a_checkpoint():
    f = funcad.checkpoint(lambda x: 3.0 * x + x[::-1])
    (got,) = funcad.linear_transpose(f, X)(V)
    np.testing.assert_array_equal(got, 3.0 * V + V[::-1])


def test_on_the_arrays_of_another_library(library):
    x = library.from_host(X)
    got = funcad.grad(twice(funcad.checkpoint(wave)))(x)
    want = funcad.grad(twice(wave))(x)
    assert type(got) is type(want)
    np.testing.assert_array_equal(library.to_host(got), library.to_host(want))
    chain = funcad.checkpoint_chain([wave] * 6, "revolve", slots=2)
    plain = funcad.checkpoint_chain([wave] * 6, "store-all")
    got, want = (funcad.grad(lambda x, c=c: np.sum(c(x)))(x) for c in (chain, plain))
    np.testing.assert_array_equal(library.to_host(got), library.to_host(want))


# ------------------------------------------------------ evaluations, memory, residuals


def test_a_checkpoint_runs_once_forward_and_once_backward(counted):
    sine, evaluations = counted
    f = funcad.checkpoint(lambda x: np.sum(sine(np.cos(sine(x)))))
    f(X)
    assert evaluations() == 2
    funcad.jvp(f, (X,), (V,))
    assert evaluations() == 2
    _, f_vjp = funcad.vjp(f, X)
    assert evaluations() == 2
    f_vjp(np.float64(1.0))
    # the last sine is not read by any derivative
    assert evaluations() == 1


def test_a_nested_checkpoint_runs_once_more(counted):
    sine, evaluations = counted
    inner = funcad.checkpoint(lambda x: sine(np.cos(sine(x))))
    _, f_vjp = funcad.vjp(funcad.checkpoint(lambda x: inner(inner(x))), X)
    assert evaluations() == 4
    f_vjp(X)
    assert evaluations() <= 6


def test_residuals_are_the_arguments_alone():
    w, x = np.eye(2), X

    def f(w, x):
        return np.tanh(np.sin(np.exp(x @ w)))

    _, f_vjp = funcad.vjp(funcad.checkpoint(f), w, x)
    held = list(f_vjp.program.constants)
    assert len(held) == 2 and held[0] is w and held[1] is x
    assert len(f_vjp.program.equations) == 1


def test_peak_memory_of_checkpointed_layers_is_that_of_their_arguments():
    def layer(x):
        for _ in range(10):
            x = np.sin(np.cos(x))
        return x

    def peak(f):
        gradient = funcad.grad(lambda x: np.sum(f(f(f(f(f(f(x))))))))
        x = np.linspace(0, 1, 20_000)
        tracemalloc.start()
        gradient(x)
        states = tracemalloc.get_traced_memory()[1] / x.nbytes
        tracemalloc.stop()
        return states

    assert peak(layer) > 6 * 20
    assert peak(funcad.checkpoint(layer)) < 6 + 20 + 10


# ----------------------------------------------------------------------------- staging


def names(program):
    return [e.primitive.name for e in program.equations]


def flat_names(program):
    """Names of the equations, those inside of calls included."""
    found = []
    for e in program.equations:
        inner = e.primitive.body and e.primitive.body(e.params)
        found += flat_names(inner) if inner else [e.primitive.name]
    return found


def test_a_staged_checkpoint_is_one_equation():
    program = funcad.make_program(lambda x: np.sum(funcad.checkpoint(wave)(x)))(X)
    assert names(program) == ["checkpoint_call", "reduce_sum"]


def test_a_staged_gradient_computes_again_behind_a_barrier():
    def f(x):
        return np.sum(funcad.checkpoint(wave)(x))

    program = funcad.make_program(funcad.grad(f))(X)
    assert names(program)[-1] == "checkpoint_call"
    assert flat_names(program).count("barrier") == 1
    assert flat_names(program).count("sin") == 2
    assert_equal(program.evaluate([X])[0], funcad.grad(f)(X))


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: funcad.jit(funcad.grad(f)),
        lambda f: funcad.grad(funcad.jit(f)),
        lambda f: funcad.jit(funcad.vmap(funcad.grad(funcad.jit(f)))),
        lambda f: lambda x: funcad.hvp(funcad.jit(f), (x,), (x,)),
        lambda f: funcad.jit(lambda x: funcad.hvp(f, (x,), (x,))),
    ],
)
def test_jit_and_a_checkpoint_in_any_order(transform):
    wrapped = funcad.checkpoint(funcad.jit(funcad.checkpoint(wave)))
    x = ROWS if "vmap" in str(transform.__code__.co_names) else X
    assert_close(transform(twice(wrapped))(x), transform(twice(wave))(x), rtol=1e-12)


def test_recomputation_survives_the_passes_of_jit():
    def count(f):
        both = funcad.value_and_grad(lambda x: np.sum(f(f(x))))
        lowered = funcad.jit(both).lower(X)
        return flat_names(lowered.optimized).count("tanh")

    assert count(wave) == 2
    assert count(funcad.checkpoint(wave)) == 4


# ---------------------------------------------------------------------------- policies


def residuals(f, *args):
    """Shapes of what the linear program holds."""
    _, f_vjp = funcad.vjp(f, *args)
    return sorted(a.shape for a in f_vjp.program.constants)


W1, W2, INPUT = np.ones((3, 5)), np.ones((5, 7)), np.linspace(0.1, 0.7, 6).reshape(2, 3)


def network(w1, w2, x):
    hidden = funcad.checkpoint_name(np.tanh(x @ w1), "hidden")
    return np.tanh(funcad.checkpoint_name(hidden @ w2, "logits"))


@pytest.mark.parametrize(
    "policy, saved",
    [
        (None, []),
        (POLICIES.nothing_saveable, []),
        (POLICIES.dots_saveable, [(2, 5), (2, 7)]),
        (POLICIES.dots_with_no_batch_dims_saveable, [(2, 5), (2, 7)]),
        (POLICIES.save_only_these_names("hidden"), [(2, 5)]),
        (POLICIES.save_only_these_names("logits"), [(2, 7)]),
        (POLICIES.save_only_these_names("nothing like it"), []),
        (POLICIES.save_any_names_but_these("hidden"), [(2, 7)]),
        (
            POLICIES.save_from_both_policies(
                POLICIES.save_only_these_names("hidden"),
                POLICIES.save_only_these_names("logits"),
            ),
            [(2, 5), (2, 7)],
        ),
    ],
)
def test_a_policy_saves_what_it_says(policy, saved):
    f = funcad.checkpoint(network, policy=policy)
    arguments = [a.shape for a in (W1, W2, INPUT)]
    held = residuals(f, W1, W2, INPUT)
    assert set(held) - set(arguments) == set(saved)
    assert len(held) <= 3 + len(saved)
    loss, plain = (lambda *a, g=g: np.sum(g(*a)) for g in (f, network))
    got, want = (funcad.grad(g, (0, 1, 2))(W1, W2, INPUT) for g in (loss, plain))
    assert_equal(got, want)
    for jitted in (funcad.jit(funcad.grad(loss)), funcad.grad(funcad.jit(loss))):
        assert_close(jitted(W1, W2, INPUT), want[0], rtol=1e-12)


def test_saving_everything_computes_nothing_again(counted):
    sine, evaluations = counted

    def layer(x):
        return sine(np.cos(sine(x)))

    for policy, expected in (
        (POLICIES.everything_saveable, 0),
        (POLICIES.save_anything_except_these_names("other"), 0),
        (POLICIES.nothing_saveable, 1),
    ):
        _, f_vjp = funcad.vjp(funcad.checkpoint(layer, policy=policy), X)
        evaluations()
        f_vjp(X)
        assert evaluations() == expected


def test_what_is_made_of_a_checkpoint_is_made_once():
    f = funcad.checkpoint(wave)
    programs = [funcad.make_program(f)(X).equations[0].params for _ in range(2)]
    assert programs[0]["program"] is programs[1]["program"]


def test_a_named_value_is_not_computed_again(counted):
    sine, evaluations = counted
    policy = POLICIES.save_only_these_names("y")

    @funcad.checkpoint(policy=policy)
    def f(x):
        return np.tanh(funcad.checkpoint_name(sine(x), "y"))

    _, f_vjp = funcad.vjp(f, X)
    evaluations()
    f_vjp(X)
    assert evaluations() == 0


def test_stacks_of_products_have_batch_dimensions():
    q = np.ones((4, 2, 3))

    def f(q, w):
        return (q @ w) @ np.swapaxes(q, 1, 2)

    w = np.ones((3, 3))
    policy = POLICIES.dots_with_no_batch_dims_saveable
    held = residuals(
        funcad.checkpoint(lambda q, w: np.sin(f(q, w)), policy=policy), q, w
    )
    assert (4, 2, 2) not in held


def test_second_order_through_saved_values():
    policy = POLICIES.everything_saveable
    plain, checked = twice(wave), twice(funcad.checkpoint(wave, policy=policy))
    for transform in HIGHER.values():
        assert_close(transform(checked)(X), transform(plain)(X), rtol=1e-12)


def test_checkpoint_is_called_remat_too():
    assert funcad.remat is funcad.checkpoint


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("policy", ["dots_saveable", 3, True])
def test_a_policy_is_a_function(policy):
    with pytest.raises(PolicyError, match=r"policy of checkpoint.*checkpoint_policies"):
        funcad.checkpoint(wave, policy=policy)


def test_a_policy_takes_a_primitive_and_avals():
    with pytest.raises(PolicyError, match=r"<lambda>\(primitive\) cannot.*Write def"):
        funcad.checkpoint(wave, policy=lambda primitive: True)


def test_a_policy_answers_yes_or_no():
    with pytest.raises(PolicyError, match=r"True or False.*returned None.*NoneType"):
        funcad.checkpoint(wave, policy=lambda primitive, *avals, **params: None)(X)


def test_a_maker_of_policies_is_no_policy():
    checked = funcad.checkpoint(wave, policy=POLICIES.save_from_both_policies)
    with pytest.raises(TypeError):
        checked(X)
    with pytest.raises(PolicyError, match="True or False"):
        funcad.checkpoint(wave, policy=lambda *_, **__: wave)(X)


def test_names_are_strings():
    with pytest.raises(TypeError, match="string as name, not 3"):
        funcad.checkpoint_name(X, 3)
    with pytest.raises(PolicyError, match="takes names, which are strings"):
        POLICIES.save_only_these_names(["a"])
    with pytest.raises(PolicyError, match="two policies"):
        POLICIES.save_from_both_policies(POLICIES.dots_saveable, "a")


def test_a_checkpoint_is_of_a_function():
    with pytest.raises(TypeError, match="checkpoint takes a function"):
        funcad.checkpoint(X)


def test_results_are_arrays():
    with pytest.raises(funcad.errors.LeafTypeError, match="checkpoint: .*output"):
        funcad.checkpoint(lambda x: "no array")(X)


def test_an_error_inside_leaves_the_next_call_as_it_was():
    def f(x):
        if x[0] > 1:
            raise RuntimeError("inside")
        return np.sum(fnp.sin(x))

    checked = funcad.checkpoint(f)
    with pytest.raises(RuntimeError, match="inside"):
        funcad.grad(checked)(2 * X + 1)
    assert_equal(funcad.grad(checked)(X), np.cos(X))


# ------------------------------------------------------------------- loops and branches

MATRIX, POINT = np.arange(9.0).reshape(3, 3) / 9, np.linspace(0.3, 1.0, 3)


def through_scan(x):
    rows = np.stack([x, x, x])
    return lax.scan(lambda c, row: (np.tanh(MATRIX @ c + row), c * c), x, rows)[0]


def through_cond(x):
    return lax.cond(x[0] > 0, lambda x: np.sin(x) * x, np.tanh, x * x)


def through_loop(x):
    return lax.fori_loop(0, 3, lambda i, c: np.sin(MATRIX @ c) * x, x)


def sum_of_sines(f):
    # what comes after reads the values, and not the tangents alone
    return lambda x: np.sum(np.sin(f(x)) ** 2)


NESTINGS = {
    "grad": funcad.grad,
    "jit(grad)": lambda f: funcad.jit(funcad.grad(f)),
    "grad(jit)": lambda f: funcad.grad(funcad.jit(f)),
    "grad of grad": lambda f: funcad.grad(lambda x: np.sum(funcad.grad(f)(x) ** 2)),
    "jit(grad of grad)": lambda f: funcad.jit(
        funcad.grad(lambda x: np.sum(funcad.grad(f)(x) ** 2))
    ),
    "grad of jvp": lambda f: funcad.grad(lambda x: funcad.jvp(f, (x,), (POINT,))[1]),
    "jvp": lambda f: lambda x: funcad.jvp(f, (x,), (POINT,)),
    "vmap(grad)": lambda f: lambda x: funcad.vmap(funcad.grad(f))(np.stack([x, -x])),
    "grad(vmap)": lambda f: funcad.grad(
        lambda x: np.sum(funcad.vmap(f)(np.stack([x, -x])))
    ),
}


@pytest.mark.parametrize("derivative", NESTINGS.values(), ids=NESTINGS)
@pytest.mark.parametrize("inner", [through_scan, through_cond, through_loop])
def test_checkpoints_of_loops_and_branches_have_their_derivatives(inner, derivative):
    f = sum_of_sines(inner)
    want = funcad.tree.leaves(derivative(f)(POINT))
    for checked in (
        funcad.checkpoint(f),
        funcad.checkpoint(f, policy=POLICIES.dots_saveable),
        funcad.checkpoint(f, policy=POLICIES.everything_saveable),
        funcad.checkpoint(lambda x: funcad.checkpoint(f)(1.0 * x)),
    ):
        got = funcad.tree.leaves(derivative(checked)(POINT))
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("derivative", NESTINGS.values(), ids=NESTINGS)
def test_chains_of_loops_have_their_derivatives(derivative):
    layers = [through_scan, np.sin, through_loop]
    chain = funcad.checkpoint_chain(layers, "revolve", slots=1)
    got = derivative(sum_of_sines(chain))(POINT)
    want = derivative(sum_of_sines(lambda x: through_loop(np.sin(through_scan(x)))))(
        POINT
    )
    for g, w in zip(funcad.tree.leaves(got), funcad.tree.leaves(want), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-12)


# ------------------------------------- forward mode over rules for reverse mode alone


def reversible_sine():
    sine = funcad.custom_vjp(np.sin)
    sine.defvjp(lambda x: (np.sin(x), np.cos(x)), lambda c, ct: (ct * c,))
    return sine


def sine_in_a_jit(sine):
    return funcad.jit(lambda x: sine(x) * x)


def sine_by_a_branch(sine):
    def f(x):
        y = sine(x)
        return y * x if y[0] > 0 else y

    return f


def sine_in_a_scan(sine):
    return lambda x: lax.scan(lambda c, _: (sine(c) * x, None), x, None, length=2)[0]


def sine_in_a_cond(sine):
    return lambda x: lax.cond(x[0] > 0, sine, np.tanh, x * x)


def sine_in_a_scan_of_checkpoints(sine):
    layer = funcad.checkpoint(lambda x: sine(x) * x)
    return lambda x: lax.scan(lambda c, _: (layer(c), None), x, None, length=2)[0]


def sine_in_a_chain(sine):
    return funcad.checkpoint_chain([np.cos, sine, np.tanh, sine], "revolve", slots=1)


def sine_of_examples(sine):
    return lambda x: funcad.vmap(sine)(np.stack([x, 2 * x]))[1] * x


def directional(f):
    return lambda x: funcad.jvp(f, (x,), (np.cos(x),))


FORWARD_OVER_REVERSE = {
    "jvp(grad)": lambda f: directional(funcad.grad(f)),
    "jvp(grad(jit))": lambda f: directional(funcad.grad(funcad.jit(f))),
    "jvp(jit(grad))": lambda f: directional(funcad.jit(funcad.grad(f))),
    "jit(jvp(grad))": lambda f: funcad.jit(directional(funcad.grad(f))),
    "jvp(jvp(grad))": lambda f: directional(directional(funcad.grad(f))),
    "hessian": funcad.hessian,
}


@pytest.mark.parametrize("derivative", FORWARD_OVER_REVERSE)
@pytest.mark.parametrize(
    "function",
    [
        *(lambda sine: lambda x: sine(x) * x, sine_in_a_jit, sine_by_a_branch),
        *(sine_in_a_scan, sine_in_a_cond, sine_in_a_scan_of_checkpoints),
        *(sine_in_a_chain, sine_of_examples),
    ],
)
def test_forward_mode_over_reverse_mode_needs_no_rule_for_forward_mode(
    function, derivative
):
    f = sum_of_sines(function(reversible_sine()))
    staged = "jit" in derivative
    derivative = FORWARD_OVER_REVERSE[derivative]
    if staged and function is sine_by_a_branch:
        with pytest.raises(ConcretizationError):
            derivative(f)(POINT)
        return
    want = funcad.tree.leaves(derivative(sum_of_sines(function(np.sin)))(POINT))
    for checked in (
        f,
        funcad.checkpoint(f),
        funcad.checkpoint(f, policy=POLICIES.everything_saveable),
        funcad.checkpoint(lambda x: funcad.checkpoint(f)(1.0 * x)),
    ):
        got = funcad.tree.leaves(derivative(checked)(POINT))
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("through", [funcad.checkpoint, sine_in_a_chain])
def test_forward_mode_alone_needs_a_rule_for_it(through):
    f = through(reversible_sine())
    for g in (f, funcad.jit(f)):
        with pytest.raises(ForwardModeError, match=r"funcad\.custom_jvp"):
            directional(g)(POINT)


def test_forward_mode_over_what_reverse_mode_leaves_constant_needs_a_rule():
    sine = reversible_sine()
    scaled = funcad.checkpoint(lambda x, c: np.sum(sine(c) * x))
    with pytest.raises(ForwardModeError, match=r"funcad\.custom_jvp"):
        funcad.jvp(funcad.grad(scaled), (POINT, POINT), (POINT, POINT))


def test_static_arguments_are_passed_as_they_are():
    steps = np.array([1, 2, 0])

    @funcad.checkpoint(static_argnums=(1, 2), policy=POLICIES.everything_saveable)
    def f(x, steps, power=2):
        assert type(steps) is np.ndarray
        return np.sum(x[steps > 0] ** power)

    x = np.array([1.0, 2.0, 3.0])
    assert_same(funcad.grad(f)(x, steps), np.array([2.0, 4.0, 0.0]))
    by_name = funcad.grad(lambda x: f(x, steps=steps, power=3))
    assert_same(by_name(x), np.array([3.0, 12.0, 0.0]))
    assert_same(funcad.jit(by_name)(x), np.array([3.0, 12.0, 0.0]))
    without = funcad.checkpoint(lambda x, m: x[m], static_argnums=())
    with pytest.raises(ConcretizationError):
        funcad.jit(lambda x: funcad.vmap(without)(x, x > 0))(x)


@pytest.mark.parametrize("numbers", [5, "a", (0, None), -3])
def test_static_arguments_must_exist(numbers):
    with pytest.raises(StaticArgumentError, match="checkpoint"):
        funcad.checkpoint(lambda x, n: x, static_argnums=numbers)
