"""Evaluation traces, as numbers, as tables and as pictures."""

from __future__ import annotations

import importlib.util
import shutil
import unicodedata
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

import funcad
from funcad.core.tracing import registry
from funcad.errors import (
    ArgumentError,
    ConcretizationError,
    ForwardModeError,
    InputDtypeError,
    LeafTypeError,
    NonScalarOutputError,
    TangentMismatchError,
    TreeStructureError,
    UnboundedLoopError,
)
from funcad.viz.evaluation import accented, subscripted, value_text
from properties import assert_close, for_all, generators, placed
from random_programs import programs

trace = funcad.viz.trace
SVG = "{http://www.w3.org/2000/svg}"
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
DOT = pytest.param(
    "dot", marks=pytest.mark.skipif(shutil.which("dot") is None, reason="no graphviz")
)


def f(x1, x2):
    return x1 * x2 + np.sin(x1)


def named(steps):
    """The last values of each name; combining marks are hard to see in a test."""
    return {unicodedata.normalize("NFD", s.name): s.values for s in steps}


def dotted(name):
    return unicodedata.normalize("NFD", accented(name, "\u0307"))


def barred(name):
    return unicodedata.normalize("NFD", accented(name, "\u0304"))


# ------------------------------------------------------------------------- the numbers


def test_values_and_derivatives_are_those_of_the_engine():
    @for_all(programs(), generators(), share=0.6)
    def check(program, rng):
        inputs, direction = program.draw(rng), program.draw(rng)
        value, tangent = funcad.jvp(program, inputs, direction)
        forward = trace(program, *inputs, seed=tuple(direction))
        np.testing.assert_array_equal(forward.nodes[-1].value, value)
        np.testing.assert_array_equal(forward.steps[-1].values[0], tangent)
        reverse = trace(program, *inputs, mode="reverse")
        want = funcad.grad(program, tuple(range(len(inputs))))(*inputs)
        got = [s.values[0] for s in reverse.steps[-len(inputs) :]]
        for a, b in zip(got, want, strict=True):
            assert_close(a, b, 1e-12, 1e-12)


def test_forward_mode_shows_a_sweep_for_each_input():
    t = trace(f, 2.0, 5.0)
    assert t.sweeps == ["along x1", "along x2"]
    want = funcad.grad(f, (0, 1))(2.0, 5.0)
    np.testing.assert_array_equal(t.steps[-1].values, want)
    assert [n.name for n in t.nodes] == ["v₋₁", "v₀", "v₁", "v₂", "v₃", "y"]
    values = [2.0, 5.0, 10.0, np.sin(2.0), f(2.0, 5.0), f(2.0, 5.0)]
    np.testing.assert_allclose([n.value for n in t.nodes], values, 1e-15)


def test_reverse_mode_adds_up_the_adjoints_of_what_is_used_twice():
    t = trace(f, 2.0, 5.0, mode="reverse")
    v = subscripted("v", -1)
    first, second = [s for s in t.steps if s.name == accented(v, "\u0304")]
    assert first.values[0] == pytest.approx(np.cos(2.0))
    assert second.values[0] == pytest.approx(np.cos(2.0) + 5.0)
    assert second.expression.startswith(f"{second.name} + ")


def test_adjoints_come_in_the_opposite_order_of_the_values():
    t = trace(lambda x: np.exp(np.sin(x) * x), 1.0, mode="reverse")
    # each node is finished before an earlier one is begun
    order = [step.node for step in t.steps[:-1]]
    assert order == sorted(order, reverse=True)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_an_adjoint_is_the_derivative_of_the_result_by_the_node(mode):
    x = np.array([0.3, -1.2, 2.5])

    def rest(h):
        return np.sum(np.tanh(h) * 2)

    t = trace(
        lambda x: rest(x**2), x, mode=mode, seed=None if mode == "reverse" else (x,)
    )
    square = next(i for i, n in enumerate(t.nodes) if "**" in n.expression)
    (values,) = [s.values for s in t.steps if s.node == square]
    want = funcad.grad(rest)(x**2) if mode == "reverse" else 2 * x * x
    np.testing.assert_allclose(values[0], want, 1e-14)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_pytrees_name_their_leaves(mode):
    params = {"b": np.zeros(2), "w": np.ones((3, 2))}
    x = np.arange(6.0).reshape(2, 3)
    t = trace(lambda p: np.sum(np.tanh(x @ p["w"] + p["b"])), params, mode=mode)
    assert [n.expression for n in t.nodes[:3]] == ["p['b']", "p['w']", "constant"]
    assert t.nodes[2].name == "c₁"
    if mode == "reverse":
        want = funcad.grad(lambda p: np.sum(np.tanh(x @ p["w"] + p["b"])))(params)
        got = named(t.steps)
        for leaf in want:
            np.testing.assert_array_equal(got[barred(f"p['{leaf}']")][0], want[leaf])


def test_results_are_any_pytree_with_a_seed():
    def g(x):
        return {"sum": np.sum(x), "twice": (2 * x, 3.0)}

    x = np.arange(3.0)
    seed = {"sum": 1.0, "twice": (np.ones(3), 0.0)}
    t = trace(g, x, mode="reverse", seed=seed)
    names = [n.name for n in t.nodes[-3:]]
    assert names == ["y['sum']", "y['twice'][0]", "y['twice'][1]"]
    np.testing.assert_array_equal(t.steps[-1].values[0], np.full(3, 3.0))
    forward = named(trace(g, x, seed=(x,)).steps)
    np.testing.assert_array_equal(forward[dotted("y['twice'][0]")][0], 2 * x)
    # what does not depend on the arguments has no tangent
    assert dotted("y['twice'][1]") not in forward


def test_jitted_and_checkpointed_functions_are_seen_from_inside():
    want = trace(lambda x: np.sin(np.cos(x)), 2.0, mode="reverse")
    for wrap in (funcad.jit, funcad.checkpoint):
        got = trace(wrap(lambda x: np.sin(np.cos(x))), 2.0, mode="reverse")
        assert str(got) == str(want)
    nested = funcad.jit(lambda x: funcad.jit(np.cos)(x))
    assert "cos(v₀)" in str(trace(nested, 2.0))


def test_custom_rules_are_used_and_are_one_operation():
    @funcad.custom_vjp
    def clipped(x):
        return 3.0 * x

    clipped.defvjp(lambda x: (3.0 * x, None), lambda _, ct: (np.clip(ct, -1, 1),))
    t = trace(lambda x: 5.0 * clipped(x), 2.0, mode="reverse")
    assert t.steps[-1].values[0] == 1.0
    assert "clipped(v₀)" in str(t)
    with pytest.raises(ForwardModeError, match="clipped"):
        trace(clipped, 2.0)


def test_a_rule_that_branches_by_values_is_written_with_partial_derivatives():
    @funcad.custom_jvp
    def plus(x):
        return np.maximum(x, 0)

    @plus.defjvp
    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        return plus(x), t if x > 0 else 0.0 * t

    t = trace(plus, 2.0)
    assert t.steps[1].values[0] == 1.0
    assert t.steps[1].expression.startswith("∂v₁/∂v₀ · v")
    assert "∂v₁/∂v₀" in trace(plus, 2.0, mode="reverse").steps[2].expression


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_loops_are_one_operation_and_python_branches_by_values(mode):
    def g(x):
        y = funcad.lax.fori_loop(0, 3, lambda i, c: c * x, x)
        return y if y > 1 else x

    t = trace(g, 2.0, mode=mode)
    assert t.nodes[-1].value == 16.0
    assert t.steps[-1].values[0] == 32.0
    assert trace(g, 0.5, mode=mode).steps[-1].values[0] == 1.0


def test_what_has_several_results_is_several_nodes():
    a = np.array([[2.0, 1.0], [1.0, 3.0]])
    t = trace(lambda a: np.linalg.eigh(a)[0][1], a, mode="reverse")
    assert [n.expression[-3:] for n in t.nodes if "eigh" in n.expression] == [
        "[0]",
        "[1]",
    ]
    want = funcad.grad(lambda a: np.linalg.eigh(a)[0][1])(a)
    np.testing.assert_array_equal(t.steps[-1].values[0], want)


def test_second_derivatives_are_traces_of_derivatives():
    t = trace(funcad.grad(lambda x: x**3), 2.0)
    assert t.nodes[-1].value == 12.0
    assert t.steps[-1].values == (12.0,)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_integers_and_what_nothing_depends_on(mode):
    t = trace(lambda x, n, z: x[n] * n, np.arange(3.0), np.array(2), 1.0, mode=mode)
    if mode == "reverse":
        np.testing.assert_array_equal(t.steps[-2].values[0], [0, 0, 2])
        assert t.steps[-1].values[0] == 0.0 and t.steps[-1].expression == "0"
    else:
        assert t.sweeps == ["along x", "along z"]
        assert t.steps[-1].values == (2.0, 0.0)


def test_results_that_are_arguments_or_constants():
    t = trace(lambda x: (x, x, 3.0), 2.0, mode="reverse", seed=(1.0, 2.0, 5.0))
    assert t.steps[-1].values[0] == 3.0
    jitted = funcad.jit(lambda x: (x * np.ones(2), np.ones(2)))
    assert len(trace(jitted, 2.0).steps) == 3
    seed = (np.ones(2), np.ones(2))
    assert trace(jitted, 2.0, mode="reverse", seed=seed).steps[-1].values[0] == 2.0
    assert trace(lambda x: None, 2.0).nodes[-1].expression == "x"
    assert trace(lambda x: 3.0, 2.0, mode="reverse").steps[-1].values[0] == 0.0


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_what_is_held_constant_has_no_derivative(mode):
    t = trace(lambda x: x * funcad.stop_gradient(x), 3.0, mode=mode)
    assert t.steps[-1].values[0] == 3.0
    assert 1 not in [step.node for step in t.steps]


def test_forward_mode_goes_where_reverse_mode_cannot():
    def g(x):
        return funcad.lax.while_loop(lambda c: c < 10, lambda c: c * c, x)

    assert trace(g, 2.0).steps[-1].values[0] == funcad.jvp(g, (2.0,), (1.0,))[1] == 32
    with pytest.raises(UnboundedLoopError):
        trace(g, 2.0, mode="reverse")


def test_complex_constants_stand_in_parentheses():
    nodes = trace(lambda z: np.real((z * (1 + 2j)) ** 2), 0.5 + 0j).nodes
    assert nodes[1].expression == "v₀ * (1+2j)"


def test_dtypes_are_kept():
    x = np.ones(3, np.float32)
    t = trace(lambda x, a: np.sum(x * a), x, 2.0, mode="reverse")
    assert {n.value.dtype for n in t.nodes if hasattr(n.value, "dtype")} == {
        np.dtype(np.float32)
    }
    assert t.steps[-2].values[0].dtype == np.float32
    z = trace(lambda z: np.real(z * np.conj(z)), 2.0 + 1j, mode="reverse")
    assert z.steps[-1].values[0] == 4 - 2j


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_any_library_of_arrays(library, mode):
    a, x = np.ones((3, 3)), np.arange(3.0)
    (la, lx) = placed(library, [a, x])
    t = trace(lambda a, x: (np.tanh(a @ x) ** 2).sum(), la, lx, mode=mode)
    assert str(t) == str(
        trace(lambda a, x: (np.tanh(a @ x) ** 2).sum(), a, x, mode=mode)
    )
    assert all(
        isinstance(v, type(lx)) for s in t.steps for v in s.values if v.shape == (3,)
    )


# ------------------------------------------------------------------------ the formulas

PLAIN = str.maketrans("₋₀₁₂₃₄₅₆₇₈₉\u0307\u0304", "m0123456789tb")
SCOPE = dict(registry) | {name: getattr(np, name) for name in np.__all__}


def plain(text):
    """A formula with names that Python can read."""
    return unicodedata.normalize("NFD", text).translate(PLAIN)


def check_formulas(t, sweep=0):
    known = {plain(n.name): np.asarray(n.value)[()] for n in t.nodes}
    for node in t.nodes[2:]:
        if node.expression != "constant":
            value = eval(plain(node.expression), SCOPE, known)
            assert_close(value, node.value, 1e-5, 1e-7)
    # in the order of steps: an adjoint that is added to is what it has come to
    for step in t.steps:
        if step.expression != "seed" and "∂" not in step.expression:
            value = eval(plain(step.expression), SCOPE, known)
            assert_close(value, step.values[sweep], 1e-5, 1e-7)
        known[plain(step.name)] = step.values[sweep]


FUNCTIONS = [
    f,
    lambda x, y: x / y - y * np.exp(-x * y) / (x + y),
    lambda x, y: -(x + y) * (x - y) ** 3 * np.log(x * y),
    lambda x, y: np.where(x < y, x * y, np.tanh(x)) / np.sqrt(x + y**2),
    lambda x, y: np.arctan2(x, y) - (x - (y - x)) * x ** (y - 1.5),
    lambda x, y: np.sum(np.outer(x * np.ones(3), np.cos(y) * np.arange(3.0)) ** 2),
    lambda x, y: np.mean((np.full((2, 3), 0.2) * x) @ (np.full((3, 4), 0.5) - y)),
    lambda x, y: np.stack([x, y])[1] * np.append(np.exp(x), y)[0],
]


@pytest.mark.parametrize("g", FUNCTIONS)
def test_formulas_give_the_values_beside_them(g):
    forward = trace(g, 1.3, 0.7)
    for sweep in range(2):
        check_formulas(forward, sweep)
    check_formulas(trace(g, 1.3, 0.7, mode="reverse"))


# ---------------------------------------------------------------- tables and pictures


def test_columns_are_aligned_though_marks_take_no_room():
    for line in zip(*str(trace(f, 2.0, 5.0)).splitlines(), strict=False):
        assert line  # there are as many lines as nodes and a head
    lines = str(trace(f, 2.0, 5.0, mode="reverse")).split("\n\n")
    for block in lines:
        rows = block.splitlines()
        widths = {sum(not unicodedata.combining(c) for c in row) for row in rows}
        assert len(widths) == 1


def test_a_notebook_shows_the_table_and_the_picture():
    html = trace(lambda x: x * 2 < 3, 2.0)._repr_html_()
    assert html.count("<tr>") == 5 and "<svg" in html
    ElementTree.fromstring(f"<div>{html}</div>")


@pytest.mark.parametrize("engine", ["python", DOT])
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_a_picture_has_each_node_with_its_values(engine, mode):
    t = trace(f, 2.0, 5.0, mode=mode)
    root = ElementTree.fromstring(str(t.draw(engine)))
    texts = ["".join(e.itertext()) for e in root.iter(f"{SVG}text")]
    joined = unicodedata.normalize("NFD", " ".join(texts).replace("\xa0", " "))
    for node in t.nodes:
        assert f"{node.name} = {node.expression}" in joined
    for name, values in named(t.steps).items():
        if name[0] in "xy":
            shown = ", ".join(map(value_text, values))
            assert f"{name} = {shown}" in joined
    edges = [g for g in root.iter() if g.get("class") == "edge"]
    assert len(edges) == 6


def test_long_values_are_abbreviated():
    assert value_text(np.float32(0.1)) == "0.1"
    assert value_text(-0.0) == "0"
    assert value_text(np.array([1.0, 2.5])) == "[1, 2.5]"
    assert value_text(np.array([[1, 2]])) == "[[1, 2]]"
    assert value_text(np.zeros((0, 3))) == "[]"
    assert value_text(np.zeros((4, 5))) == "float64[4,5], all 0"
    assert value_text(np.arange(9.0)) == "float64[9] in [0, 8]"
    assert value_text(np.arange(9) > 4) == "bool[9], 4 true"
    assert value_text(np.full(9, 3 + 4j)) == "complex128[9], at most 5"
    assert value_text(True) == "True"
    t = trace(lambda x: np.sum(np.sin(x)), np.ones((50, 50)), mode="reverse")
    assert max(map(len, str(t).splitlines())) < 88


def test_the_pictures_of_the_documentation_are_what_is_drawn_today():
    spec = importlib.util.spec_from_file_location("draw", PICTURES / "draw.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    drawn = module.pictures()
    assert len(drawn) == 7
    for name, picture in drawn.items():
        assert (PICTURES / f"{name}.svg").read_text(encoding="utf-8") == str(picture)


# -------------------------------------------------------------------------- what fails


@pytest.mark.parametrize("mode", ["backward", "Forward", None, 0])
def test_there_are_two_modes(mode):
    with pytest.raises(ArgumentError, match="mode of trace is"):
        trace(f, 2.0, 5.0, mode=mode)


def test_what_is_traced_is_a_function():
    with pytest.raises(TypeError, match="trace takes a function"):
        trace(3.0, 2.0)


@pytest.mark.parametrize("args", [(), (2, 3), (True, np.arange(3))])
def test_there_is_something_to_differentiate_by(args):
    with pytest.raises(InputDtypeError, match="Pass floats"):
        trace(lambda *xs: 1.0, *args)


def test_arguments_and_results_are_arrays():
    with pytest.raises(LeafTypeError, match="input"):
        trace(f, "a", 2.0)
    with pytest.raises(LeafTypeError, match="output"):
        trace(lambda x: "a", 2.0)


@pytest.mark.parametrize(
    "g", [lambda x: x, lambda x: (x[0], x[1]), lambda x: x[0] > 1, lambda x: None]
)
def test_reverse_mode_starts_from_a_real_scalar_or_a_seed(g):
    with pytest.raises(NonScalarOutputError, match="as seed="):
        trace(g, np.ones(3), mode="reverse")


def test_a_complex_result_needs_a_seed():
    with pytest.raises(NonScalarOutputError, match="complex128"):
        trace(lambda z: z * z, 1j, mode="reverse")
    t = trace(lambda z: z * z, 1j, mode="reverse", seed=1.0 + 0j)
    assert t.steps[-1].values[0] == 2j


def test_seeds_fit_what_they_are_seeds_of():
    with pytest.raises(TypeError, match=r"seed=\(t,\)"):
        trace(f, 2.0, 5.0, seed=1.0)
    with pytest.raises(TreeStructureError, match="seed"):
        trace(f, 2.0, 5.0, seed=(1.0,))
    with pytest.raises(TangentMismatchError, match="x2"):
        trace(f, 2.0, 5.0, seed=(1.0, np.ones(2)))
    with pytest.raises(TangentMismatchError, match="float0"):
        trace(lambda x, n: x * n, 2.0, 3, seed=(1.0, 1))
    with pytest.raises(TreeStructureError, match="seed"):
        trace(f, 2.0, 5.0, mode="reverse", seed=(1.0,))
    with pytest.raises(TangentMismatchError, match=r"float64\[2\]"):
        trace(f, 2.0, 5.0, mode="reverse", seed=np.ones(2))
    with pytest.raises(TangentMismatchError, match=r"complex128\[\] and the value"):
        trace(f, 2.0, 5.0, seed=(1j, 1.0))
    with pytest.raises(TangentMismatchError, match=r"complex128\[\] and the value"):
        trace(f, 2.0, 5.0, mode="reverse", seed=1j)
    zero = np.zeros((), funcad.float0)
    assert trace(lambda x, n: x * n, 2.0, 3, seed=(1.0, zero)).steps[-1].values == (
        3.0,
    )


@pytest.mark.parametrize("transform", [funcad.grad, funcad.jit, funcad.vmap])
def test_values_have_to_be_there(transform):
    x = np.ones(2) if transform is funcad.vmap else 2.0

    def shows_its_argument(x):
        return trace(lambda v: v * v, x).steps[-1].values[0]

    def closes_over_its_argument(x):
        return trace(lambda v: v * x, 2.0).steps[-1].values[0]

    for g in (shows_its_argument, closes_over_its_argument):
        with pytest.raises(ConcretizationError, match="trace shows values"):
            transform(g)(x)


def test_an_engine_that_is_not_there():
    with pytest.raises(ArgumentError, match="engine"):
        trace(f, 2.0, 5.0).draw("neato")
