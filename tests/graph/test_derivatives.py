"""Gradients as graphs: by the engine, by hand, and both in one graph."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

import funcad
from funcad import graph, nn
from funcad.errors import GraphError
from funcad.graph import Evaluator, Op, Variable, gradients, sum_op, topological_sort
from properties import assert_close, for_all, generators

X, W = Variable("x"), Variable("w")


def run(nodes, **values):
    evaluator = Evaluator(nodes)
    return evaluator.run({x: values[x.name] for x in evaluator.variables})


# ------------------------------------------------------------------ random graphs

STEPS = {
    "add": (2, lambda a, b: a + b, lambda a, b: a + b),
    "sub": (2, lambda a, b: a - b, lambda a, b: a - b),
    "mul": (2, lambda a, b: a * b, lambda a, b: a * b),
    "div": (2, lambda a, b: a / (2 + b * b), lambda a, b: a / (2 + b * b)),
    "scale": (1, lambda a: 0.5 * a - 1, lambda a: 0.5 * a - 1),
    "exp": (1, lambda a: graph.exp(-a * a), lambda a: np.exp(-a * a)),
    "log": (1, lambda a: graph.log(1.5 + a * a), lambda a: np.log(1.5 + a * a)),
    "sqrt": (1, lambda a: graph.sqrt(1 + a**2), lambda a: np.sqrt(1 + a**2)),
    "matmul": (2, lambda a, b: a @ b, lambda a, b: a @ b),
    "transpose": (
        1,
        lambda a: graph.transpose(a, 0, 1),
        lambda a: np.swapaxes(a, 0, 1),
    ),
    "softmax": (1, graph.softmax, nn.softmax),
    "layernorm": (
        1,
        lambda a: graph.layernorm(a, (3,), eps=0.5),
        lambda a: nn.layer_norm(a, eps=0.5),
    ),
    "mean": (
        1,
        lambda a: a + graph.mean(a, dim=0, keepdim=True),
        lambda a: a + np.mean(a, axis=0, keepdims=True),
    ),
}
CHOICES = st.lists(
    st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 9), st.integers(0, 9)),
    min_size=1,
    max_size=8,
)


def follow(choices, values, which):
    """The same steps on nodes (1) or on arrays (2), every value bounded."""
    values = list(values)
    for name, i, j in choices:
        step = STEPS[name]
        operands = [values[i % len(values)], values[j % len(values)]][: step[0]]
        values.append(step[which](*operands))
    return values[-1]


def bounded_sum(y):
    return np.sum(np.exp(-y * y))


def test_random_graphs_agree_with_plain_code_in_value_and_two_gradients():
    @for_all(CHOICES, generators(), share=0.6)
    def check(choices, rng):
        values = [rng.uniform(-1, 1, (3, 3)) for _ in range(2)]
        y = follow(choices, [X, W], 1)
        total = sum_op(graph.exp(-y * y))
        first = gradients(total, [X, W])
        second = gradients(sum_op(first[0] * first[0] + first[1]), [X, W])
        got = run([total, *first, *second, X, W], x=values[0], w=values[1])

        def plain(x, w):
            return bounded_sum(follow(choices, [x, w], 2))

        def plain_again(x, w):
            gx, gw = funcad.grad(plain, (0, 1))(x, w)
            return np.sum(gx * gx + gw)

        want = [
            plain(*values),
            *funcad.grad(plain, (0, 1))(*values),
            *funcad.grad(plain_again, (0, 1))(*values),
        ]
        for a, b in zip(got, want):
            assert_close(a, b, 1e-7, 1e-8)


# -------------------------------------------------------------------- what gradients do


def test_gradients_are_nodes_whose_gradients_are_nodes():
    y = X**4
    for derivative in (32.0, 48.0, 48.0, 24.0, 0.0):
        (y,) = gradients(y, [X])
        assert isinstance(y, graph.Node)
        np.testing.assert_allclose(run([y], x=2.0), [derivative])


def test_the_gradient_of_an_array_is_that_of_its_sum():
    (g,) = gradients(X * X, [X])
    np.testing.assert_array_equal(run([g], x=np.array([1.0, 2.0]))[0], [2.0, 4.0])


def test_uses_add_up():
    y = X * X + graph.exp(X) * X
    (g,) = gradients(y, [X])
    x = np.array([0.3, -1.2])
    np.testing.assert_allclose(run([g], x=x)[0], 2 * x + np.exp(x) * (1 + x))


def test_what_was_broadcast_is_summed():
    y = sum_op(X * W + W)
    gx, gw = gradients(y, [X, W])
    x, w = np.ones((2, 3)), np.array([[1.0], [2.0]])
    got = run([gx, gw], x=x, w=w)
    np.testing.assert_array_equal(got[0], [[1, 1, 1], [2, 2, 2]])
    np.testing.assert_array_equal(got[1], [[6.0], [6.0]])


def test_nodes_on_the_way_and_the_output_itself_have_gradients():
    h = graph.exp(X)
    y = sum_op(h * h)
    gh, gy, gx = gradients(y, [h, y, X])
    x = np.array([0.0, 1.0])
    got = run([gh, gy, gx], x=x)
    np.testing.assert_allclose(got[0], 2 * np.exp(x))
    np.testing.assert_allclose(got[1], 1.0)
    np.testing.assert_allclose(got[2], 2 * np.exp(2 * x))


@pytest.mark.parametrize("unknown", [Variable("w"), X * X, graph.exp(X) + 1])
def test_gradients_are_zero_where_the_output_does_not_depend(unknown):
    (g,) = gradients(sum_op(X), [unknown])
    x = np.ones(3, np.float32)
    values = {v.name: x for v in topological_sort([g]) if v.op is graph.placeholder}
    (got,) = run([g], **values)
    np.testing.assert_array_equal(got, np.zeros(3))
    assert got.dtype == np.float32


def test_a_gradient_that_is_zero_stays_so_where_a_derivative_is_infinite():
    mask = graph.greater(graph.sqrt(X), 0.5)
    (g,) = gradients(sum_op(mask * X + graph.ones_like(graph.log(X))), [X])
    (h,) = gradients(sum_op(g * g), [X])
    with np.errstate(all="ignore"):
        first, second = run([g, h], x=np.array([0.0, 4.0]))
    np.testing.assert_array_equal(first, [0.0, 1.0])
    np.testing.assert_array_equal(second, [0.0, 0.0])


def test_gradients_that_are_zero_are_arrays_for_whoever_asks():
    (g,) = gradients(graph.greater(X, W), [X])
    x, w = np.ones((2, 3)), np.zeros(3)
    got = run([g, g + 1, Swish()(g, beta=1.0)], x=x, w=w)
    np.testing.assert_array_equal(got[0], np.zeros((2, 3)))
    np.testing.assert_array_equal(got[1], np.ones((2, 3)))
    np.testing.assert_array_equal(got[2], np.zeros((2, 3)))
    got[0][:] = 7  # the caller's own
    node, ones = gradients(X * W, [X, W])[0], np.ones(3)
    np.testing.assert_array_equal(node.op.compute(node, [x, w, ones + x]), w + 0 * x)


def test_no_nodes_have_no_gradients():
    assert gradients(X * W, []) == []


def test_a_constant_output_has_zero_gradient():
    (g,) = gradients(graph.constant(np.ones(2)), [X])
    np.testing.assert_array_equal(run([g], x=np.ones(3))[0], np.zeros(3))


def test_only_what_is_asked_for_is_built():
    y = X
    for _ in range(5):
        y = y * W
    (g,) = gradients(y, [X])
    # one product rule a factor, and the seed
    assert len(topological_sort([g])) == len(topological_sort([y])) + 6


def test_integers_have_no_gradient_and_stop_none():
    labels = Variable("labels")
    loss = sum_op(W * labels)
    (g,) = gradients(loss, [W])
    np.testing.assert_array_equal(
        run([g], w=np.ones(3), labels=np.arange(3))[0], [0.0, 1.0, 2.0]
    )
    with pytest.raises(GraphError, match=r"labels is int64\[3\].*x.astype\(float\)"):
        run(gradients(loss, [labels]), w=np.ones(3), labels=np.arange(3))


class Rounded(Op):
    """Integers on the way from a variable to the output."""

    def compute(self, node, input_values):
        return np.round(input_values[0]).astype(int)


def test_integers_on_the_way_have_zero_gradient():
    y = sum_op(Rounded()(X) * X)
    (g,) = gradients(y, [X])
    np.testing.assert_array_equal(run([g], x=np.array([1.2, 2.9]))[0], [1.0, 3.0])


def test_complex_gradients_are_funcads():
    y = graph.exp(X) * X
    (g,) = gradients(y, [X])
    x = np.array([1 + 2j, -0.5j])
    pull = funcad.vjp(lambda x: np.exp(x) * x, x)[1]
    np.testing.assert_allclose(run([g], x=x)[0], pull(np.ones(2, complex))[0])


# -------------------------------------------------------------- operations of the user


class Swish(Op):
    """A computation alone."""

    def compute(self, node, input_values):
        x = input_values[0]
        return x / (1 + np.exp(-node.attrs["beta"] * x))


class MulByHand(Op):
    """With a rule, in the manner of an exercise."""

    def __call__(self, node_A, node_B):
        name = f"({node_A.name}*{node_B.name})"
        return graph.Node(inputs=[node_A, node_B], op=self, attrs={}, name=name)

    def compute(self, node, input_values):
        assert len(input_values) == 2
        return input_values[0] * input_values[1]

    def gradient(self, node, output_grad):
        return [output_grad * node.inputs[1], output_grad * node.inputs[0]]


class SoftmaxByHand(Op):
    def __call__(self, node_A, dim=-1):
        return graph.Node(op=self, inputs=[node_A], attrs={"dim": dim})

    def compute(self, node, input_values):
        x, dim = input_values[0], node.attrs["dim"]
        powers = np.exp(x - np.max(x, axis=dim, keepdims=True))
        return powers / np.sum(powers, axis=dim, keepdims=True)

    def gradient(self, node, output_grad):
        product = output_grad * node
        total = sum_op(product, dim=node.attrs["dim"], keepdim=True)
        return [product - node * total]


class HalfByHand(MulByHand):
    """One rule of its own, the other the engine's."""

    def gradient(self, node, output_grad):
        return [Op.gradient(self, node, output_grad)[0], output_grad * node.inputs[0]]


def test_operations_by_hand_and_by_the_engine_mix():
    swish, softmax = Swish(), SoftmaxByHand()

    @for_all(st.sampled_from([MulByHand(), HalfByHand()]), generators(), share=0.3)
    def check(mul, rng):
        x, w = rng.normal(size=(2, 4, 3))
        y = sum_op(mul(softmax(swish(X, beta=1.5), dim=1), graph.exp(mul(W, X))))
        first = gradients(y, [X, W])
        second = gradients(sum_op(first[0] * first[1]), [X, W])
        third = gradients(sum_op(second[0]), [W])
        got = run([y, *first, *second, *third], x=x, w=w)

        def f(x, w):
            return np.sum(nn.softmax(x / (1 + np.exp(-1.5 * x)), 1) * np.exp(w * x))

        def f2(x, w):
            a, b = funcad.grad(f, (0, 1))(x, w)
            return np.sum(a * b)

        def f3(x, w):
            return np.sum(funcad.grad(f2)(x, w))

        want = [
            f(x, w),
            *funcad.grad(f, (0, 1))(x, w),
            *funcad.grad(f2, (0, 1))(x, w),
            funcad.grad(f3, 1)(x, w),
        ]
        for a, b in zip(got, want, strict=True):
            assert_close(a, b, 1e-8, 1e-8)


def test_a_rule_by_hand_is_what_counts():
    class Straight(Op):
        """Rounded, with the gradient of what is not."""

        def compute(self, node, input_values):
            return np.round(input_values[0])

        def gradient(self, node, output_grad):
            return [output_grad]

    (g,) = gradients(sum_op(Straight()(X) * X), [X])
    np.testing.assert_allclose(run([g], x=np.array([1.2]))[0], [1.0 + 1.2])


def test_none_is_a_zero_gradient():
    class Constant(Op):
        def compute(self, node, input_values):
            return input_values[0] * 2

        def gradient(self, node, output_grad):
            return [None]

    (g,) = gradients(Constant()(X) + X, [X])
    np.testing.assert_array_equal(run([g], x=np.ones(2))[0], np.ones(2))


def by_rule(rule, compute=lambda a, b: a + b):
    class Ruled(Op):
        name = "ruled"

        def compute(self, node, input_values):
            return compute(*input_values)

        def gradient(self, node, output_grad):
            return rule(node, output_grad)

    return Ruled()


@pytest.mark.parametrize(
    "rule, given",
    [
        (lambda node, g: [g], "1 entries"),
        (lambda node, g: [g, g, g], "3 entries"),
        (lambda node, g: g, "a Node"),
        (lambda node, g: None, "a NoneType"),
        (lambda node, g: [g, 1.0], "a float among them"),
    ],
)
def test_a_rule_that_gives_something_else_is_refused(rule, given):
    y = by_rule(rule)(X, W)
    with pytest.raises(GraphError, match=rf"list of 2 nodes.*{y.name} = .*{given}"):
        gradients(y, [X])


@pytest.mark.parametrize(
    "rule, message",
    [
        (
            lambda node, g: [g, g],
            r"input 1, w, is float32\[2,3\].*input is float32\[3\]",
        ),
        (lambda node, g: [sum_op(g), g], r"input 0, x, is float32\[\]"),
        (lambda node, g: [g * np.ones(3), None], r"x, is float64.*is float32"),
    ],
)
def test_a_gradient_of_another_shape_or_dtype_is_refused(rule, message):
    y = by_rule(rule)(X, W)
    x, w = np.ones((2, 3), np.float32), np.ones(3, np.float32)
    with pytest.raises(GraphError, match=rf"(?s){y.name}.*{message}.*Sum over"):
        run(gradients(y, [X, W]), x=x, w=w)


def test_an_operation_without_a_computation_says_so():
    class Nothing(Op):
        pass

    with pytest.raises(GraphError, match="Nothing_.*has no compute"):
        run([Nothing()(X)], x=1.0)


@pytest.mark.parametrize("result", [None, "text", [1.0, 2.0], (1.0,)])
def test_a_computation_that_gives_no_array_is_refused(result):
    op = by_rule(None, lambda a, b: result)
    with pytest.raises(GraphError, match=f"ruled_.*returned {type(result).__name__}"):
        run([op(X, W)], x=1.0, w=1.0)


def test_a_computation_that_branches_on_values_is_refused_with_its_name():
    op = by_rule(None, lambda a, b: a if a > 0 else b)
    with pytest.raises(GraphError, match=r"(?s)ruled_.*np.where\(condition, a, b\)"):
        run([op(X, W)], x=1.0, w=1.0)
