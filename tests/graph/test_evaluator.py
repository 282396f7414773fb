"""Running graphs: inputs, sharing, memory, compiled programs, and transforms."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest

import funcad
from funcad import graph
from funcad.errors import GraphError, LeafTypeError, MixedBackendsError
from funcad.graph import Evaluator, Op, Variable, gradients, sum_op

X, W = Variable("x"), Variable("w")
HIDDEN = graph.relu(X @ W)
LOSS = graph.mean(HIDDEN * HIDDEN)
STEP = Evaluator([LOSS, *gradients(LOSS, [X, W])])


def values(rng=None, dtype=float):
    rng = rng or np.random.default_rng(0)
    return {
        X: rng.normal(size=(5, 3)).astype(dtype),
        W: rng.normal(size=(3, 4)).astype(dtype),
    }


def plain(x, w):
    h = np.maximum(x @ w, 0)
    return np.mean(h * h)


def test_results_are_a_list_in_the_order_of_the_nodes():
    given = values()
    got = STEP.run(given)
    assert isinstance(got, list)
    want = [plain(*given.values()), *funcad.grad(plain, (0, 1))(*given.values())]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_variables_nodes_twice_and_nothing_can_be_evaluated():
    x = np.ones(2)
    got = Evaluator([X, X + 1, X, graph.constant(3.0)]).run({X: x})
    np.testing.assert_array_equal(got[0], x)
    np.testing.assert_array_equal(got[1], x + 1)
    np.testing.assert_array_equal(got[2], x)
    assert got[3] == 3.0
    assert Evaluator([]).run({}) == []


def test_inputs_are_left_alone():
    given = values()
    kept = {k: v.copy() for k, v in given.items()}
    for _ in range(3):
        STEP.run(given)
    for k, v in given.items():
        np.testing.assert_array_equal(v, kept[k])


def test_results_of_earlier_runs_are_left_alone():
    given = values()
    first = STEP.run(given)
    kept = [np.array(y) for y in first]
    STEP.run(values(np.random.default_rng(1)))
    for a, b in zip(first, kept, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("x", [2.0, np.float32(2), np.array(2.0), 2, True])
def test_numbers_are_values(x):
    (got,) = Evaluator([X * 0.5 + 1]).run({X: x})
    assert got == x * 0.5 + 1
    assert np.result_type(got) == np.result_type(x * 0.5 + 1)


def test_python_numbers_among_constants_keep_the_dtype():
    y = 1 - graph.power(X, 2) / 3.5 + graph.greater(X, 0) * 2
    assert Evaluator([y]).run({X: np.ones(2, np.float32)})[0].dtype == np.float32
    assert Evaluator([y]).run({X: np.ones(2, np.float16)})[0].dtype == np.float16


def test_constants_of_numpys_own_promote_as_numpy_does():
    y = X * np.float64(2)
    assert Evaluator([y]).run({X: np.ones(2, np.float32)})[0].dtype == np.float64


# --------------------------------------------------------------------------- bad inputs


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d: {X: d[X]}, "no value for w,.*depend on x, w"),
        (lambda d: {}, "no value for x, w,"),
        (lambda d: d | {Variable("extra"): 1.0}, "a value for extra, which none"),
        (lambda d: d | {HIDDEN: 1.0}, rf"{HIDDEN.name} = relu.*computed from others"),
        (lambda d: d | {"x": 1.0}, "'x' of type str, which is no Variable"),
        (lambda d: list(d.values()), "takes a dict from Variable to array.*list"),
        (lambda d: None, "was given a NoneType"),
    ],
)
@pytest.mark.parametrize("method", ["run", "lower"])
def test_missing_and_extra_inputs_are_named(change, message, method):
    with pytest.raises(GraphError, match=f"{method}.*{message}"):
        getattr(STEP, method)(change(values()))


@pytest.mark.parametrize(
    "value", [[1.0, 2.0], None, "1", np.array(["a"]), np.array([None])]
)
def test_values_that_are_no_arrays_of_numbers_are_named(value):
    with pytest.raises(LeafTypeError, match=r"the value of w is of type .*np.asarray"):
        STEP.run(values() | {W: value})


def test_a_shape_error_names_the_node_its_inputs_and_its_line():
    y = graph.exp(X) @ W  # the line
    with pytest.raises(GraphError) as caught:
        Evaluator([y]).run({X: np.ones((2, 3)), W: np.ones((4, 2))})
    message = str(caught.value)
    assert f"{y.name} = matmul({y.inputs[0].name}, w) cannot be computed" in message
    assert f"{y.inputs[0].name}: float64[2,3], w: float64[4,2]" in message
    assert re.search(
        r"test_evaluator.py:\d+: y = graph.exp\(X\) @ W  # the line", message
    )
    assert isinstance(caught.value, ValueError)


def test_an_error_in_a_gradient_names_what_it_is_the_gradient_of():
    g = Variable("g")
    (node,) = graph.exp.gradient(graph.exp(X), g)
    with pytest.raises(GraphError, match=rf"(?s){node.name} = vjp\(exp_.*g: float64"):
        Evaluator([node]).run({X: np.ones(3), g: np.ones(2)})


def test_an_error_while_running_names_the_line_of_the_node():
    y = graph.log(X)  # in this line
    evaluator = Evaluator([y])
    evaluator.run({X: np.ones(2)})
    with np.errstate(all="raise"), pytest.raises(FloatingPointError) as caught:
        evaluator.run({X: np.zeros(2)})
    assert any("# in this line" in note for note in caught.value.__notes__)


def test_a_failed_run_does_not_spoil_the_next():
    evaluator = Evaluator([X @ W])
    with pytest.raises(GraphError):
        evaluator.run({X: np.ones((2, 3)), W: np.ones((4, 2))})
    assert evaluator.run({X: np.ones((2, 3)), W: np.ones((3, 2))})[0].shape == (2, 2)


# ----------------------------------------------------------- sharing, freeing, program


class Counted(Op):
    """Counts how often its computation is staged."""

    def __init__(self):
        self.times = 0

    def compute(self, node, input_values):
        self.times += 1
        return input_values[0] * 3


def test_a_graph_is_staged_once_for_each_combination_of_shapes_and_dtypes():
    op = Counted()
    evaluator = Evaluator([op(X)])
    for _ in range(3):
        evaluator.run({X: np.ones(2)})
    assert op.times == 1
    evaluator.run({X: np.ones(3)})
    evaluator.run({X: np.ones(3, np.float32)})
    assert op.times == 3


def primitives(program):
    return [e.primitive.name for e in program.equations]


def test_common_work_is_done_once():
    a, b = graph.exp(X @ W), graph.exp(X @ W)  # two nodes each
    lowered = Evaluator([a + b, a * b]).lower(values())
    assert sorted(primitives(lowered.optimized)) == ["add", "exp", "matmul", "multiply"]


def test_gradients_cost_what_those_of_grad_cost():
    lowered = STEP.lower(values())
    direct = funcad.jit(funcad.value_and_grad(plain, (0, 1))).lower(*values().values())
    assert primitives(lowered.optimized).count("matmul") == 3
    assert lowered.cost().flops <= 1.1 * direct.cost().flops


def test_gradients_of_gradients_cost_what_those_of_grad_cost():
    y, f = graph.log(1 + graph.exp(X)), lambda x: np.sum(np.log(1 + np.exp(x)))
    for _ in range(3):
        (y,) = gradients(y, [X])
        f = summed(funcad.grad(f))
    lowered = Evaluator([y]).lower({X: np.ones(5)})
    direct = funcad.jit(f).lower(np.ones(5))
    assert len(lowered.optimized.equations) <= len(direct.optimized.equations) + 3


def summed(f):
    return lambda x: np.sum(f(x))


def test_what_no_result_needs_is_not_computed():
    y = X @ W
    (g,) = gradients(sum_op(y), [X])  # does not need the product
    assert primitives(Evaluator([g]).lower(values()).optimized).count("matmul") == 1


def test_memory_of_dead_values_is_used_again():
    y, size = X, 200_000
    for _ in range(30):
        y = graph.transpose(graph.exp(graph.transpose(y, 0, 1)) * 0.1, 0, 1) + X
    evaluator = Evaluator([y])
    given = {X: np.ones((2, size // 2))}
    evaluator.run(given)
    tracemalloc.start()
    evaluator.run(given)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 8 * size  # of 90 values
    assert evaluator.lower(given).memory().peak < 8 * 8 * size


def test_the_program_and_its_source_can_be_shown():
    lowered = STEP.lower(values())
    assert str(lowered.program).startswith("program(a:float64[5,3], b:float64[3,4])")
    assert " @ " in lowered.source and "np.greater" in lowered.source
    assert [line for *_, line in lowered.program.equations if line[0] == __file__]
    lowered.program.validate()


def test_lowering_needs_no_arrays():
    shapes = {
        X: funcad.ShapeDtypeStruct((5, 3), "float32"),
        W: funcad.ShapeDtypeStruct((3, 4), "float32"),
    }
    outs = STEP.lower(shapes).program.outputs
    assert [(v.shape, v.dtype) for v in outs] == [
        ((), np.float32),
        ((5, 3), np.float32),
        ((3, 4), np.float32),
    ]


def test_an_evaluator_prints_its_graph():
    y = graph.Node(graph.mul, [X, W], {}, name="product")
    z = graph.Node(graph.sum_op, [y], {"dim": 0, "keepdim": False}, name="total")
    evaluator = Evaluator([z])
    assert str(evaluator) == (
        "graph(x, w) {\n"
        "  product = mul(x, w)\n"
        "  total = sum_op(product, dim=0, keepdim=False)\n"
        "  return (total)\n"
        "}"
    )
    assert repr(evaluator) == "<evaluator of 4 nodes, variables x, w>"
    assert "vjp(product, operand=0)(" in str(Evaluator(gradients(z, [X])))


@pytest.mark.parametrize("engine", ["python", None])
def test_a_graph_is_drawn_with_a_box_for_each_node(engine, tmp_path):
    drawing = STEP.draw(engine)
    for node in STEP._order:
        assert node.name in drawing.svg
    drawing.save(tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text().startswith("<svg")
    assert drawing.svg.count('class="node"') == len(STEP._order) + 3


def test_a_graph_with_constants_and_a_deep_one_are_drawn():
    y = X + np.ones(3) + graph.exp(2.0)
    for _ in range(50):
        y = graph.exp(y)
    svg = Evaluator([y]).draw("python").svg
    assert "constant(value=2.0)" in svg


# ------------------------------------------------------------------- depth, transforms


def chain(steps):
    y = X
    for i in range(steps):
        y = y * 0.9999 + (W if i % 1000 == 0 else 1e-4)
    return y


def test_ten_thousand_nodes_in_a_row_need_no_recursion():
    y = chain(5_000)
    assert len(graph.topological_sort([y])) == 10_002
    (value,) = Evaluator([y]).run({X: 1.0, W: 2.0})
    want = 1.0
    for i in range(5_000):
        want = want * 0.9999 + (2.0 if i % 1000 == 0 else 1e-4)
    np.testing.assert_allclose(value, want)
    repr(y)
    del y  # freed without recursion, too


def test_gradients_of_deep_graphs_need_no_recursion():
    first = gradients(chain(1_500), [X])
    assert len(graph.topological_sort(first)) > 6_000
    (slope,) = Evaluator(first).run({X: 1.0, W: 2.0})
    np.testing.assert_allclose(slope, 0.9999**1_500)


def test_a_run_goes_through_every_transform():
    def f(w, x):
        return Evaluator([LOSS]).run({X: x, W: w})[0]

    given = values()
    x, w = given[X], given[W]
    want = funcad.grad(plain, 1)(x, w)
    np.testing.assert_allclose(funcad.grad(f)(w, x), want)
    np.testing.assert_allclose(funcad.jit(funcad.grad(f))(w, x), want)
    t = np.ones_like(w)
    np.testing.assert_allclose(
        funcad.jvp(lambda w: f(w, x), (w,), (t,))[1], np.sum(want * t)
    )
    each = funcad.vmap(f, in_axes=(None, 0))(w, x[:, None, :])
    np.testing.assert_allclose(np.mean(each), plain(x, w))


def test_a_graph_in_a_transform_may_hold_its_values_as_constants():
    def f(a):
        return Evaluator([sum_op(X * a)]).run({X: np.arange(3.0)})[0]

    assert funcad.grad(f)(2.0) == 3.0
    np.testing.assert_allclose(funcad.vmap(f)(np.array([1.0, 2.0])), [3.0, 6.0])


def test_arrays_of_another_library_meet_numbers_and_not_numpys_arrays(library):
    x = library.from_host(np.ones(3))
    (got,) = Evaluator([2 * X + 1 > 0]).run({X: x})
    np.testing.assert_array_equal(library.to_host(got), np.ones(3))
    if library.name != "numpy":
        y = X + np.ones(3)
        with pytest.raises(MixedBackendsError, match="different libraries"):
            Evaluator([y]).run({X: x})


def test_an_attribute_that_is_missing_is_named():
    class Scale(graph.Op):
        def compute(self, node, input_values):
            return input_values[0] * node.attrs["factor"]

    x = Variable("x")
    with pytest.raises(GraphError, match=r"Scale\(x\) cannot be .*KeyError: 'factor'"):
        Evaluator([Scale()(x)]).run({x: 1.0})
