"""Chains of layers: every strategy gives the same, and takes what theory says."""

import functools
import tracemalloc

import numpy as np
import pytest

import funcad
from differences import assert_close
from funcad.core.tracing import Primitive, registry
from funcad.errors import ChainError, ScheduleError
from funcad.transforms.schedules import costs, schedule

STRATEGIES = {
    "recompute-all": {},
    "sqrt": {},
    "revolve": {},
    "revolve with 1 slot": {"slots": 1},
    "revolve with 2 slots": {"slots": 2},
    "revolve with many slots": {"slots": 50},
}
N = 7
X = np.array([0.5, 1.2])
V = np.array([1.0, -2.0])
ROWS = np.array([[0.5, 1.2], [-0.3, 0.7], [2.0, -1.0]])
RNG = np.random.default_rng(0)
WEIGHTS = [RNG.normal(size=(2, 2)) for _ in range(N)]


def chained(layers, name):
    return funcad.checkpoint_chain(layers, name.split()[0], **STRATEGIES[name])


def stored(layers):
    return funcad.checkpoint_chain(layers, "store-all")


def wave(x):
    return np.tanh(np.sin(x) * x)


def dense(w, x):
    return np.tanh(x @ w) + x


def assert_equal(got, want):
    got, want = funcad.tree.leaves(got), funcad.tree.leaves(want)
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(g, w)


every = pytest.mark.parametrize("name", STRATEGIES)


def both(layers, name):
    return (
        lambda x, c=c: np.sum(c(x)) for c in (chained(layers, name), stored(layers))
    )


@every
def test_gradients_are_equal_to_the_last_bit(name):
    chain, plain = both([wave] * N, name)
    assert_equal(chain(X), plain(X))
    assert_equal(funcad.grad(chain)(X), funcad.grad(plain)(X))
    assert_equal(
        funcad.grad(plain)(X), funcad.grad(lambda x: np.sum(_loop(wave, x)))(X)
    )


def _loop(layer, x):
    for _ in range(N):
        x = layer(x)
    return x


@every
def test_gradients_of_parameters_that_layers_take(name):
    chain, plain = (
        lambda ws, x, c=c: np.sum(c(ws, x))
        for c in (chained([dense] * N, name), stored([dense] * N))
    )
    got, want = (funcad.grad(f, (0, 1))(WEIGHTS, X) for f in (chain, plain))
    assert_equal(got, want)


@every
def test_gradients_of_parameters_that_layers_close_over(name):
    def loss(make, ws):
        return np.sum(make([functools.partial(dense, w) for w in ws])(X))

    got = funcad.grad(lambda ws: loss(lambda ls: chained(ls, name), ws))(WEIGHTS)
    assert_equal(got, funcad.grad(lambda ws: loss(stored, ws))(WEIGHTS))


@every
def test_layers_may_branch_by_values_and_differ(name):
    def branching(x):
        return np.sin(x) if x[0] > 0.4 else x * 2 + 1

    layers = [branching, wave, lambda x: x * np.arange(2.0), branching, np.cos, wave]
    chain, plain = both(layers, name)
    assert_equal(funcad.grad(chain)(X), funcad.grad(plain)(X))


@every
def test_states_are_pytrees_whose_structure_may_change(name):
    layers = [
        lambda x: {"a": np.sin(x), "b": np.stack([x, x])},
        lambda s: {"a": s["a"] * 2, "b": s["b"] * s["a"]},
        lambda s: (s["a"], s["b"][0], np.arange(2)),
        lambda s: (s[0] * s[1], s[2] + 1),
        lambda s: s[0] * s[1],
    ]
    chain, plain = both(layers, name)
    assert_equal(funcad.grad(chain)(X), funcad.grad(plain)(X))


@every
def test_second_derivatives(name):
    chain, plain = both([wave] * N, name)
    assert_equal(funcad.jvp(chain, (X,), (V,)), funcad.jvp(plain, (X,), (V,)))
    assert_equal(funcad.hvp(chain, (X,), (V,)), funcad.hvp(plain, (X,), (V,)))

    def square(f):
        return funcad.grad(lambda x: np.sum(funcad.grad(f)(x) ** 2))

    assert_close(square(chain)(X), square(plain)(X), rtol=1e-11)
    assert_close(funcad.hessian(chain)(X), funcad.hessian(plain)(X), rtol=1e-11)

    def along(f):
        return funcad.grad(lambda x: funcad.jvp(f, (x,), (V,))[1])

    assert_close(along(chain)(X), along(plain)(X), rtol=1e-11)


@every
def test_under_vmap_and_linearize(name):
    chain, plain = both([wave] * N, name)
    want = funcad.vmap(funcad.grad(plain))(ROWS)
    assert_equal(funcad.vmap(funcad.grad(chain))(ROWS), want)

    def total(x):
        return np.sum(funcad.vmap(chain)(x))

    assert_close(funcad.grad(total)(ROWS), want, rtol=1e-13)
    got = funcad.linearize(chain, X)[1](V)
    assert_close(got, funcad.linearize(plain, X)[1](V), rtol=1e-13)
    assert_close(funcad.jacrev(chain)(X), funcad.jacrev(plain)(X), rtol=1e-13)


@every
def test_under_jit(name):
    chain, plain = both([wave] * N, name)
    want = funcad.grad(plain)(X)
    assert_close(funcad.jit(funcad.grad(chain))(X), want, rtol=1e-13)
    assert_close(funcad.grad(funcad.jit(chain))(X), want, rtol=1e-13)
    assert_close(funcad.jit(chain)(X), plain(X), rtol=1e-13)


@every
def test_jit_computes_as_often_as_the_schedule_says(name):
    layers = [lambda x: np.tanh(np.sin(x))] * N
    chain, _ = both(layers, name)
    optimized = funcad.jit(funcad.grad(chain)).lower(X).optimized
    tanhs = [e for e in optimized.equations if e.primitive.name == "tanh"]
    strategy, slots = name.split()[0], STRATEGIES[name].get("slots")
    assert len(tanhs) == costs(schedule(N, strategy, slots)).evaluations


def test_a_compiled_gradient_takes_less_memory_and_is_the_same():
    x = RNG.normal(size=(100, 20))
    weights = [RNG.normal(size=(20, 20)) for _ in range(12)]
    peaks = []
    for strategy in ("store-all", "sqrt"):
        chain = funcad.checkpoint_chain([dense] * 12, strategy)
        gradient = funcad.grad(lambda ws, x, c=chain: np.sum(c(ws, x) ** 2), (0, 1))
        jitted = funcad.jit(gradient)
        assert_equal(jitted(weights, x), gradient(weights, x))
        peaks.append(jitted.lower(weights, x).memory().peak)
    assert peaks[1] < 0.8 * peaks[0]


@every
def test_a_pullback_may_be_used_twice(name):
    chain = chained([wave] * N, name)
    _, f_vjp = funcad.vjp(chain, X)
    first = f_vjp(V)
    assert_equal(f_vjp(V), first)


@every
def test_evaluations_and_memory_are_those_of_the_schedule(name):
    count = 0

    def evaluate(x):
        nonlocal count
        count += 1
        return x * x

    layer = Primitive(
        "counted_square",
        evaluate,
        lambda x: (x.shape, x.dtype),
        jvp=lambda ans, x, t, params: None if t[0] is None else t[0] * (x[0] * 2.0),
    )
    n, x = 40, np.linspace(0.5, 1.0, 40_000)
    gradient = funcad.grad(lambda x: np.sum(chained([layer] * n, name)(x)))
    try:
        gradient(x)
        count = 0
        tracemalloc.start()
        gradient(x)
        peak = tracemalloc.get_traced_memory()[1] / x.nbytes
        tracemalloc.stop()
    finally:
        del registry["counted_square"]
    strategy, slots = name.split()[0], STRATEGIES[name].get("slots")
    theory = costs(schedule(n, strategy, slots))
    assert count == theory.evaluations
    assert theory.held - 1 <= peak <= theory.held + 7


# --------------------------------------------------------------------------- bad input


def test_memory_chooses_the_slots():
    x = np.ones(1000)
    chain = funcad.checkpoint_chain([wave] * 9, "revolve", memory=3 * x.nbytes + 8)
    program = funcad.make_program(chain)(x)
    assert program.equations[0].params["slots"] == 3


def test_memory_holds_one_state_at_the_least():
    chain = funcad.checkpoint_chain([wave] * 9, "revolve", memory=15)
    with pytest.raises(ScheduleError, match=r"memory=15 bytes.*float64\[2\].*16 bytes"):
        chain(X)


@pytest.mark.parametrize("memory", ["1GB", True, [1], float("nan"), float("inf")])
def test_memory_is_a_number_of_bytes(memory):
    with pytest.raises(ScheduleError, match="number of bytes"):
        funcad.checkpoint_chain([wave], "revolve", memory=memory)(X)


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"strategy": "sqroot"}, "no checkpointing strategy 'sqroot'.*\"sqrt\""),
        ({"strategy": "revolve", "slots": 0}, "at least one slot"),
        ({"strategy": "revolve", "slots": -3}, "slots=-3"),
        ({"strategy": "revolve", "slots": 2.5}, "must be an integer"),
        ({"strategy": "sqrt", "slots": 2}, "no choice of slots"),
        (
            {"strategy": "revolve", "slots": 2, "memory": 100},
            "either slots= or memory=",
        ),
        ({"strategy": "sqrt", "memory": 100}, "either slots= or memory="),
    ],
)
def test_what_makes_no_schedule_is_refused_at_once(arguments, match):
    with pytest.raises(ScheduleError, match=match):
        funcad.checkpoint_chain([wave] * 4, **arguments)


@pytest.mark.parametrize(
    "layers, match",
    [
        ([], "no layers"),
        ([wave, 3, wave], "layer 1 of 3 is 3 of type int"),
        (wave, "a sequence of layers.*checkpoint"),
    ],
)
def test_layers_are_functions(layers, match):
    with pytest.raises(ChainError, match=match):
        funcad.checkpoint_chain(layers)


@every
def test_a_layer_that_cannot_take_the_state_is_named_with_it(name):
    def pair(x):
        return x, x

    def plus(x):
        return x + 1

    def matrix(x):
        return np.ones((3, 3)) @ x

    with pytest.raises(ChainError, match=r"layer 2 \(plus\).*layer 1 \(pair\)"):
        chained([wave, pair, plus, wave], name)(X)
    with pytest.raises(ChainError, match=r"(?s)layer 1 \(matrix\).*float64\[2\]"):
        chained([wave, matrix, wave], name)(X)
    with pytest.raises(funcad.errors.DerivativeLossError) as caught:
        funcad.grad(lambda x: np.sum(chained([pair, wave], name)(x)))(X)
    assert "layer 1 (wave)" in caught.value.__notes__[0]


def test_parameters_are_one_for_each_layer():
    chain = funcad.checkpoint_chain([dense] * N)
    with pytest.raises(ChainError, match=r"list of 7 parameters.*list of 2"):
        chain(WEIGHTS[:2], X)
    with pytest.raises(ChainError, match="given a ndarray"):
        chain(np.ones((7, 2, 2)), X)
    with pytest.raises(TypeError, match="given 3 arguments"):
        chain(WEIGHTS, X, X)


def test_a_state_is_made_of_arrays():
    with pytest.raises(funcad.errors.LeafTypeError, match="checkpoint_chain"):
        funcad.checkpoint_chain([wave] * 3)("no array")
