"""Every operation: its value, and gradients of gradients of gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

import funcad
from funcad import graph
from funcad.backends import backend_of
from funcad.errors import GraphError
from funcad.graph import Evaluator, Variable, gradients, sum_op
from properties import (
    ATOL,
    RTOL,
    assert_close,
    central_difference,
    for_all,
    generators,
    host,
    placed,
)


class Case(NamedTuple):
    """An operation at some shapes, and what NumPy computes there."""

    shapes: list[tuple[int, ...]]
    build: Callable[..., Any]
    numpy: Callable[..., Any]
    low: float = 0.3
    high: float = 1.7
    signed: bool = True

    def draw(self, rng: np.random.Generator, dtype: Any = float) -> list[Any]:
        """Values of the operands, away from where derivatives jump."""
        values = []
        for shape in self.shapes:
            x = rng.uniform(self.low, self.high, shape)
            if self.signed:
                x = x * rng.choice([-1.0, 1.0], shape)
            values.append(np.asarray(x, dtype))
        return values


def softmax_of(x, axis):
    powers = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return powers / np.sum(powers, axis=axis, keepdims=True)


def normalized(x, ndim, eps):
    axes = tuple(range(-ndim, 0))
    centred = x - np.mean(x, axis=axes, keepdims=True)
    return centred / np.sqrt(np.mean(centred**2, axis=axes, keepdims=True) + eps)


SHAPES = array_shapes(min_dims=0, max_dims=3, max_side=3)
FULL = array_shapes(min_dims=1, max_dims=3, max_side=4)


@st.composite
def pairs(draw, build, reference):
    shapes = draw(
        mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3, min_side=1)
    )
    return Case(list(shapes.input_shapes), build, reference)


@st.composite
def entrywise(draw, build, reference, **domain):
    return Case([draw(SHAPES)], build, reference, **domain)


@st.composite
def with_constant(draw, build, reference):
    shape = draw(SHAPES)
    c = draw(st.sampled_from([2, -1.5, np.float64(0.5), np.full(shape, 0.7)]))
    return Case([shape], lambda x: build(x, c), lambda x: reference(x, c))


@st.composite
def reductions(draw, build, reference):
    shape = draw(FULL)
    axes = st.integers(-len(shape), len(shape) - 1)
    dims = st.lists(axes, unique_by=lambda d: d % len(shape), min_size=1)
    dim = draw(st.none() | axes | dims | dims.map(tuple))
    keepdim = draw(st.booleans())
    axis = tuple(dim) if isinstance(dim, list) else dim
    return Case(
        [shape],
        lambda x: build(x, dim=dim, keepdim=keepdim),
        lambda x: reference(x, axis=axis, keepdims=keepdim),
    )


@st.composite
def powers(draw):
    exponent = draw(st.sampled_from([2, 3, -1, 0.5, 2.5, 0]))
    return Case(
        [draw(SHAPES)],
        lambda x: graph.power(x, exponent),
        lambda x: x**exponent,
        signed=False,
    )


@st.composite
def expansions(draw, build=None):
    shapes = draw(
        mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3, min_side=1)
    )
    small, target = shapes.input_shapes[0], shapes.result_shape
    if build is None:
        return Case(
            [small],
            lambda x: graph.broadcast(x, small, target),
            lambda x: np.broadcast_to(x, target),
        )
    return Case([small, target], build, lambda x, y: np.broadcast_to(x, y.shape))


@st.composite
def transposes(draw):
    shape = draw(array_shapes(min_dims=2, max_dims=3, max_side=3))
    axis = st.integers(-len(shape), len(shape) - 1)
    dim0, dim1 = draw(axis), draw(axis)
    return Case(
        [shape],
        lambda x: graph.transpose(x, dim0=dim0, dim1=dim1),
        lambda x: np.swapaxes(x, dim0, dim1),
    )


def factors(draw):
    """Shapes of a matrix product: 2-D, batched on either side or both."""
    n, k, m = (draw(st.integers(1, 4)) for _ in range(3))
    batch = draw(
        mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=2, min_side=1)
    ).input_shapes
    return [(*batch[0], n, k), (*batch[1], k, m)], m


@st.composite
def products(draw):
    return Case(factors(draw)[0], graph.matmul, np.matmul)


@st.composite
def softmaxes(draw):
    shape = draw(FULL)
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    return Case(
        [shape], lambda x: graph.softmax(x, dim=dim), lambda x: softmax_of(x, dim)
    )


@st.composite
def norms(draw):
    shape = draw(array_shapes(min_dims=1, max_dims=3, min_side=2, max_side=4))
    n = draw(st.integers(1, len(shape)))
    eps = draw(st.sampled_from([1e-5, 0.1]))
    wanted = draw(st.sampled_from([tuple, list]))(shape[-n:])
    return Case(
        [shape],
        lambda x: graph.layernorm(x, normalized_shape=wanted, eps=eps),
        lambda x: normalized(x, n, eps),
    )


@st.composite
def fused_norms(draw):
    shapes, m = factors(draw)
    return Case(
        shapes,
        lambda a, b: graph.matmul_layernorm(a, b, normalized_shape=(m,), eps=0.1),
        lambda a, b: normalized(a @ b, 1, 0.1),
    )


@st.composite
def fused_softmaxes(draw):
    shapes, _ = factors(draw)
    dim = draw(st.sampled_from([-1, -2]))
    return Case(
        shapes,
        lambda a, b: graph.matmul_softmax(a, b, dim=dim),
        lambda a, b: softmax_of(a @ b, dim),
    )


CASES = {
    "add": pairs(graph.add, np.add),
    "sub": pairs(graph.sub, np.subtract),
    "mul": pairs(graph.mul, np.multiply),
    "div": pairs(graph.div, np.divide),
    "add_by_const": with_constant(graph.add_by_const, np.add),
    "sub_by_const": with_constant(graph.sub_by_const, np.subtract),
    "rsub_by_const": with_constant(graph.rsub_by_const, lambda x, c: c - x),
    "mul_by_const": with_constant(graph.mul_by_const, np.multiply),
    "div_by_const": with_constant(graph.div_by_const, np.divide),
    "rdiv_by_const": with_constant(graph.rdiv_by_const, lambda x, c: c / x),
    "greater": pairs(graph.greater, lambda x, y: 0 * x + (x > y)),
    "zeros_like": entrywise(graph.zeros_like, np.zeros_like),
    "ones_like": entrywise(graph.ones_like, np.ones_like),
    "log": entrywise(graph.log, np.log, signed=False),
    "exp": entrywise(graph.exp, np.exp),
    "sqrt": entrywise(graph.sqrt, np.sqrt, signed=False),
    "relu": entrywise(graph.relu, lambda x: x * (x > 0)),
    "power": powers(),
    "sum_op": reductions(graph.sum_op, np.sum),
    "mean": reductions(graph.mean, np.mean),
    "matmul": products(),
    "expand_as": expansions(graph.expand_as),
    "broadcast": expansions(),
    "transpose": transposes(),
    "softmax": softmaxes(),
    "layernorm": norms(),
    "matmul_layernorm": fused_norms(),
    "matmul_softmax": fused_softmaxes(),
}


def variables(case):
    return [Variable(name) for name in "ab"[: len(case.shapes)]]


def test_every_operation_has_a_case():
    assert set(CASES) == set(graph.ops.__all__)


@pytest.mark.parametrize("name", CASES)
def test_values_are_numpys_in_either_precision(name):
    @for_all(
        CASES[name], generators(), st.sampled_from([np.float64, np.float32]), share=0.4
    )
    def check(case, rng, dtype):
        values = case.draw(rng, dtype)
        xs = variables(case)
        (got,) = Evaluator([case.build(*xs)]).run(dict(zip(xs, values, strict=True)))
        want = case.numpy(*values)
        # an array of constants is float64, and meets what it meets as an array
        assert got.dtype == np.asarray(want).dtype
        rough = dtype == np.float32
        assert_close(got, want, 1e-4 if rough else 1e-12, 1e-5 if rough else 1e-12)


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_three_orders_are_those_of_the_plain_function(name):
    @for_all(CASES[name], generators(), share=0.12)
    def check(case, rng):
        values = case.draw(rng)
        xs = variables(case)
        node, plain = case.build(*xs), case.numpy
        shape = np.shape(plain(*values))
        for order in range(3):
            weights = rng.uniform(-1, 1, shape)
            node, plain = weighted(node, weights), weighted_plain(plain, weights)
            grads = gradients(node, xs)
            wanted = funcad.grad(plain, tuple(range(len(xs))))(*values)
            given = dict(zip(xs, values, strict=True))
            found = Evaluator(grads).run(given)
            for got, want in zip(found, wanted, strict=True):
                assert_close(got, want, 1e-8, 1e-8)
            if order == 0 and name not in ("greater",):
                check_by_differences(plain, values, found, rng)
            # differentiate the gradient of the last operand next
            node = grads[-1]
            plain = gradient_of_last(plain, len(xs))
            shape = np.shape(values[-1])


def weighted(node, weights):
    return sum_op(node * weights)


def weighted_plain(f, weights):
    return lambda *xs: np.sum(f(*xs) * weights)


def gradient_of_last(f, n):
    return funcad.grad(f, n - 1)


def check_by_differences(f, values, grads, rng):
    directions = [rng.uniform(-1, 1, np.shape(x)) for x in values]
    (slope,) = central_difference(f, values, directions)
    along = sum(np.sum(g * d) for g, d in zip(grads, directions, strict=True))
    np.testing.assert_allclose(along, slope, rtol=10 * RTOL, atol=10 * ATOL)


@pytest.mark.parametrize("name", CASES)
def test_float32_stays_float32_to_the_second_order(name):
    @for_all(CASES[name], generators(), share=0.04)
    def check(case, rng):
        values = case.draw(rng, np.float32)
        if case.numpy(*values).dtype != np.float32:
            return  # a float64 constant
        xs = variables(case)
        first = gradients(case.build(*xs), xs)
        second = gradients(sum_op(0.5 * first[0]), xs)
        for out in Evaluator(first + second).run(dict(zip(xs, values, strict=True))):
            assert out.dtype == np.float32


@pytest.mark.parametrize("name", CASES)
def test_arrays_of_another_library_stay_there(name, library):
    @for_all(CASES[name], generators(), share=0.04)
    def check(case, rng):
        values = case.draw(rng)
        xs = variables(case)
        node = case.build(*xs)
        if any(np.ndim(c) for c in node.attrs.values() if hasattr(c, "dtype")):
            return  # an array of constants lives in one library
        nodes = [node, *gradients(node, xs)]
        want = Evaluator(nodes).run(dict(zip(xs, values, strict=True)))
        there = placed(library, values)
        got = Evaluator(nodes).run(dict(zip(xs, there, strict=True)))
        for x, y in zip(got, want, strict=True):
            assert backend_of(x) is library
            assert_close(host(x), y, 1e-12, 1e-12)


# ---------------------------------------------------------------- names and attributes

X, Y = Variable("X"), Variable("Y")


@pytest.mark.parametrize(
    "op, attrs",
    [
        (graph.sum_op, {"dim": (0, 1), "keepdim": True}),
        (graph.mean, {"dim": -1, "keepdim": False}),
        (graph.broadcast, {"input_shape": (3,), "target_shape": (2, 3)}),
        (graph.transpose, {"dim0": 0, "dim1": -1}),
        (graph.softmax, {"dim": 1}),
        (graph.layernorm, {"normalized_shape": (4,), "eps": 1e-3}),
        (graph.power, {"exponent": 0.5}),
        (graph.add_by_const, {"constant": 2.0}),
        (graph.sub_by_const, {"constant": 2.0}),
        (graph.mul_by_const, {"constant": 2.0}),
        (graph.div_by_const, {"constant": 2.0}),
    ],
    ids=str,
)
def test_attributes_have_their_names_by_keyword_and_by_position(op, attrs):
    assert op(X, **attrs).attrs == attrs
    assert op(X, *attrs.values()).attrs == attrs
    assert op(A=X, **attrs).inputs == (X,)


def test_the_fused_operations_have_two_operands_and_attributes():
    node = graph.matmul_layernorm(X, Y, (3,), 1e-3)
    assert node.inputs == (X, Y)
    assert node.attrs == {"normalized_shape": (3,), "eps": 1e-3}
    node = graph.matmul_softmax(A=X, B=Y, dim=0)
    assert node.inputs == (X, Y)
    assert node.attrs == {"dim": 0}


def test_defaults_are_pytorchs():
    assert graph.softmax(X).attrs["dim"] == -1
    assert graph.layernorm(X, [2, 3]).attrs == {"normalized_shape": (2, 3), "eps": 1e-5}
    assert graph.sum_op(X).attrs == {"dim": None, "keepdim": False}


def test_the_signature_of_an_operation_is_its_functions():
    names = list(inspect.signature(graph.layernorm).parameters)
    assert names == ["A", "normalized_shape", "eps"]
    assert "variance" in graph.layernorm.__doc__


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: graph.matmul(X), r"matmul: missing a required argument: 'B'"),
        (lambda: graph.exp(X, dim=0), "exp: got an unexpected keyword argument 'dim'"),
        (lambda: graph.exp("x"), "operands of exp are nodes, arrays and numbers"),
        (lambda: graph.exp([1.0]), "operands of exp .* of type list"),
        (lambda: graph.add_by_const(X, Y), "constant is an attribute.*node Y.*add"),
        (lambda: graph.add_by_const(X, "a"), "'a' of type str"),
        (lambda: graph.power(X, Y), "exponent is an attribute.*log"),
        (lambda: graph.power(X, None), "exponent is a number"),
        (lambda: graph.sum_op(X, dim="rows"), "dim is an axis .* 'rows'"),
        (lambda: graph.softmax(X, dim=(0, 1.5)), "dim is an axis"),
        (lambda: graph.transpose(X, 0, "T"), "dim1 is the number of an axis"),
        (lambda: graph.broadcast(X, (3,), (4,)), r"\(3,\) does not broadcast to .*4"),
        (lambda: graph.broadcast(X, (2, 3), (3,)), "does not broadcast"),
        (lambda: graph.broadcast(X, (3,), (-1, 3)), "target_shape is a tuple"),
        (lambda: graph.layernorm(X, ()), "normalized_shape is empty"),
        (lambda: graph.layernorm(X, (2.5,)), "normalized_shape is a tuple"),
        (lambda: graph.layernorm(X, (2,), eps="small"), "eps is a number"),
        (lambda: graph.layernorm(X, (2,), eps=-5.0), "eps is 0 or greater.*-5.0"),
        (lambda: graph.matmul_layernorm(X, Y, (2,), eps=np.nan), "eps is 0 or greater"),
        (lambda: graph.layernorm(X, (2,), eps=1j), "eps is 0 or greater.*1j"),
        (lambda: graph.matmul_layernorm(X, Y, ()), "normalized_shape is empty"),
        (lambda: graph.constant([1.0]), "constant is an array or a number"),
        (lambda: 2**X, "graph.exp"),
    ],
)
def test_what_cannot_be_made_is_refused(make, message):
    with pytest.raises(GraphError, match=message):
        make()


def test_what_a_fused_operation_normalises_is_the_product():
    x, y = np.ones((2, 4, 3)), np.ones((3, 5))
    shaped = graph.matmul_layernorm(X, Y, (4, 5))
    assert Evaluator([shaped]).run({X: x, Y: y})[0].shape == (2, 4, 5)
    with pytest.raises(GraphError, match=r"\(5, 4\), and that shape is \(4, 5\)"):
        Evaluator([graph.matmul_layernorm(X, Y, (5, 4))]).run({X: x, Y: y})


@pytest.mark.parametrize(
    "node, value, message",
    [
        (graph.layernorm(X, (3,)), np.ones((3, 2)), r"normalized_shape is \(3,\)"),
        (graph.broadcast(X, (3,), (2, 3)), np.ones(2), r"input_shape is \(3,\)"),
        (graph.sum_op(X, dim=2), np.ones((2, 2)), "axis 2 is out of bounds"),
        (graph.transpose(X, 0, 1), np.ones(2), "axis"),
        (graph.softmax(X, dim=0), np.ones((0, 2)), "no entries"),
        (graph.expand_as(X, np.ones(2)), np.ones(3), "broadcast"),
    ],
)
def test_what_does_not_fit_when_it_is_run_names_the_node(node, value, message):
    with pytest.raises(GraphError, match=rf"(?s){node.name} = .*X: float64.*{message}"):
        Evaluator([node]).run({X: value})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fused_operations_run_and_differentiate_without_the_product(dtype):
    a, b = Variable("a"), Variable("b")
    outs = [
        graph.matmul_softmax(a, b, dim=-1),
        graph.matmul_layernorm(a, b, normalized_shape=(5,)),
    ]
    grads = [g for y in outs for g in gradients(sum_op(y * y), [a, b])]
    like = {
        a: funcad.ShapeDtypeStruct((3, 4), dtype),
        b: funcad.ShapeDtypeStruct((4, 5), dtype),
    }
    program = Evaluator(outs + grads).lower(like).optimized
    names = [e.primitive.name for e in program.equations]
    assert {"matmul_softmax", "matmul_standardize"} <= set(names)
    assert "matmul" not in names
