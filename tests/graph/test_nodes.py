"""How nodes are made and printed, that they do not change, and their order."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import strategies as st

from funcad import graph
from funcad.errors import GraphError
from funcad.graph import Evaluator, Node, Op, Variable, gradients, topological_sort
from properties import for_all


def value(node, **values):
    (got,) = Evaluator([node]).run({x: values[x.name] for x in variables_of(node)})
    return got


def variables_of(node):
    return [x for x in topological_sort([node]) if x.op is graph.placeholder]


A, B = Variable("a"), Variable(name="b")
NUMBERS = np.array([[0.5, -2.0, 3.0], [1.0, 4.0, -0.25]])


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a * b,
        lambda a, b: a / b,
        lambda a, b: -a + +b,
        lambda a, b: 2 + a - 3,
        lambda a, b: 2 - a,
        lambda a, b: 2 * a * 3.5,
        lambda a, b: 2 / a / 4,
        lambda a, b: a**3 - b**2,
        lambda a, b: np.ones((2, 1)) + a,
        lambda a, b: a + np.arange(3.0),
        lambda a, b: np.arange(3.0) - a,
        lambda a, b: np.float64(2) * a,
        lambda a, b: NUMBERS / a,
        lambda a, b: a @ np.ones((3, 2)),
        lambda a, b: np.ones((4, 2)) @ a,
        lambda a, b: (a > b) * 1.0,
        lambda a, b: (a < b) * 1.0,
        lambda a, b: (a > 0.5) * 1.0,
        lambda a, b: (0.5 > a) * 1.0,
        lambda a, b: (np.zeros(3) < a) * 1.0,
    ],
)
def test_operators_take_nodes_numbers_and_arrays_on_either_side(f):
    b = NUMBERS[::-1].copy()
    np.testing.assert_allclose(value(f(A, B), a=NUMBERS, b=b), f(NUMBERS, b))


def test_operators_with_constants_make_the_forms_by_constant():
    made = [A + 1, A - 1, 1 - A, A * 2, A / 2, 2 / A, -A]
    names = ["add", "sub", "rsub", "mul", "div", "rdiv", "mul"]
    assert [x.op.name for x in made] == [f"{name}_by_const" for name in names]
    assert [x.attrs["constant"] for x in made] == [1, 1, 1, 2, 2, 2, -1]
    assert all(x.inputs == (A,) for x in made)


def test_a_node_says_what_it_is():
    node = graph.sum_op(graph.exp(A), dim=0)
    assert isinstance(node, Node)
    assert node.op is graph.sum_op
    assert node.attrs == {"dim": 0, "keepdim": False}
    (inner,) = node.inputs
    assert inner.op is graph.exp and inner.inputs == (A,)
    assert repr(node) == f"<{node.name} = sum_op({inner.name}, dim=0, keepdim=False)>"
    assert node.name.startswith("sum_op_")
    assert A.name == "a" and B.name == "b" and A.op is graph.placeholder
    assert repr(A) == "Variable(name='a')"


def test_a_node_can_be_named():
    node = Node(graph.exp, [A], {}, name="growth")
    assert repr(node) == "<growth = exp(a)>"


def test_names_are_given_to_what_has_none():
    one, two = Variable(), graph.placeholder()
    assert one.name != two.name
    assert isinstance(two, Variable)


def test_arrays_are_shown_by_their_type():
    node = A + np.zeros((2, 3), np.float32)
    assert node.expression() == "add_by_const(a, constant=<float32[2,3]>)"


def test_a_node_knows_where_it_was_made():
    node = graph.exp(A)
    assert node.line[0] == __file__


@pytest.mark.parametrize("field", ["op", "inputs", "attrs", "name", "other"])
def test_nodes_do_not_change(field):
    with pytest.raises(GraphError, match=f"{field} cannot be set"):
        setattr(graph.exp(A), field, None)


def test_attributes_and_inputs_do_not_change():
    dims, constant, operands = [0, 1], np.ones(3), [A]
    node = Node(graph.sum_op, operands, {"dim": dims, "keepdim": False})
    shifted = A + constant
    dims.append(2)
    operands.append(node)  # which would be a cycle
    constant[:] = 7
    assert node.inputs == (A,) and node.attrs["dim"] == (0, 1)
    np.testing.assert_array_equal(value(shifted, a=np.zeros(3)), np.ones(3))
    with pytest.raises(TypeError):
        node.attrs["dim"] = 1


@pytest.mark.parametrize(
    "misuse, message",
    [
        (lambda: bool(A > 0), "no value before its graph is run"),
        (lambda: 1 if A else 2, "a is not true or false"),
        (lambda: float(A), "a is not a number"),
        (lambda: int(A), "a is not a number"),
        (lambda: np.asarray(A), "a is not an array"),
        (lambda: np.stack([A, A]), "a is not an array"),
    ],
)
def test_a_node_is_no_value(misuse, message):
    with pytest.raises(GraphError, match=message):
        misuse()


@pytest.mark.parametrize("misuse", [lambda: np.exp(A), lambda: np.sum(A), lambda: A[0]])
def test_numpys_functions_do_not_take_nodes(misuse):
    with pytest.raises(TypeError):
        misuse()


@pytest.mark.parametrize("other", ["text", None, [1.0], object()])
def test_operators_refuse_what_is_no_value(other):
    for f in (
        lambda: A + other,
        lambda: other * A,
        lambda: A @ other,
        lambda: A > other,
    ):
        with pytest.raises(TypeError, match="unsupported|not supported|can't multiply"):
            f()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Node(Op, [A]), "subclass of graph.Op, not the class"),
        (lambda: Node(None, [A]), "made of an operation"),
        (lambda: Node(graph.exp, A), r"Write inputs=\[a\]"),
        (lambda: Node(graph.exp, [1.0]), "graph.constant"),
        (lambda: Node(graph.exp, [A], {}, name=3), "a string, not 3"),
        (lambda: Variable(3), "a string, not 3"),
        (lambda: topological_sort(A), r"Write \[a\]"),
        (lambda: topological_sort([1]), "takes nodes, not 1 of type int"),
        (lambda: topological_sort(None), "list of nodes, not None"),
        (lambda: gradients("y", [A]), "takes nodes, not 'y'"),
        (lambda: gradients(A, A), r"Write \[a\]"),
        (lambda: gradients(A, [np.ones(2)]), "takes nodes, not <float64"),
        (lambda: Evaluator(A), r"Write \[a\]"),
        (lambda: Evaluator(["a"]), "takes nodes"),
    ],
)
def test_what_is_no_node_is_refused(make, message):
    with pytest.raises(GraphError, match=message):
        make()


# ------------------------------------------------------------------------------- order


def random_graph(draw_choices):
    nodes = [Variable(f"v{i}") for i in range(3)]
    for i, j in draw_choices:
        nodes.append(nodes[i % len(nodes)] + nodes[j % len(nodes)])
    return nodes


def test_every_node_comes_once_and_after_its_inputs():
    choices = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=30)

    @for_all(choices)
    def check(choices):
        nodes = random_graph(choices)
        order = topological_sort(nodes[-2:])
        assert len(set(order)) == len(order)
        assert set(nodes[-2:]) <= set(order)
        place = {node: i for i, node in enumerate(order)}
        for node in order:
            assert all(place[x] < place[node] for x in node.inputs)


def test_the_order_is_the_same_every_time():
    nodes = random_graph([(i, 3 * i + 1) for i in range(40)])
    assert topological_sort(nodes) == topological_sort(nodes)
    assert topological_sort([]) == []


def test_a_graph_whose_paths_are_without_number_is_sorted_at_once():
    x = A
    for _ in range(200):
        x = x + x
    assert len(topological_sort([x])) == 201
    assert value(x, a=2.0**-200) == 1.0


def test_a_copy_of_a_node_is_the_node_and_a_file_is_refused():
    node = A * B
    assert copy.copy(node) is node
    assert copy.deepcopy([node, A]) == [node, A]
    with pytest.raises(GraphError, match=f"{node.name} cannot be pickled"):
        pickle.dumps(node)
