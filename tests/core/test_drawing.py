"""``Program.draw``: pictures by graphviz and by funcad itself, and the layout."""

from __future__ import annotations

import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import strategies as st

import funcad
from funcad.core import drawing
from funcad.core.layout import layered, layers
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import registry
from funcad.errors import ArgumentError
from properties import for_all, generators
from random_programs import programs

X = np.array([0.3, -1.2, 2.5])
SVG = "{http://www.w3.org/2000/svg}"

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs graphviz")
ENGINES = ["python", pytest.param("dot", marks=needs_dot)]


def mlp(w, b, x):
    for _ in range(3):
        x = np.tanh(x @ w + b)
    return np.mean(x**2)


GRADIENT = funcad.make_program(funcad.grad(mlp))(np.eye(3), X, X[None])


def parsed(picture):
    return ElementTree.fromstring(str(picture))


def nodes_of(root):
    return [g for g in root.iter(f"{SVG}g") if g.get("class") == "node"]


def texts_of(root):
    return ["".join(t.itertext()) for t in root.iter(f"{SVG}text")]


def boxes_of(root):
    """Left, top, right and bottom of the boxes of a picture by funcad."""
    frames = []
    for node in nodes_of(root):
        (rect,) = node.iter(f"{SVG}rect")
        x, y, w, h = (float(rect.get(k)) for k in ("x", "y", "width", "height"))
        frames.append((x, y, x + w, y + h))
    return frames


@pytest.mark.parametrize("engine", ENGINES)
def test_a_picture_has_a_box_for_each_input_equation_and_output(engine):
    root = parsed(GRADIENT.draw(engine))
    count = len(GRADIENT.inputs) + len(GRADIENT.equations) + len(GRADIENT.outputs)
    assert len(nodes_of(root)) == count
    texts = texts_of(root)
    for equation in GRADIENT.equations:
        assert any(equation.primitive.name in text for text in texts)
    assert any("a:float64[3,3]" in text for text in texts)


@pytest.mark.parametrize("engine", ENGINES)
def test_tooltips_give_the_whole_equation_and_the_users_line(engine):
    svg = str(GRADIENT.draw(engine))
    assert "reduce_sum[axis=(0, 1), keepdims=False]" in svg
    assert f"{__file__}:" in svg


@pytest.mark.parametrize("engine", ENGINES)
def test_programs_in_parameters_are_drawn_too(engine):
    f = funcad.jit(lambda x: np.sin(x) * 2.0)
    texts = texts_of(parsed(funcad.make_program(lambda x: f(f(x)))(X).draw(engine)))
    assert sum("jit_call p1" in text for text in texts) == 2
    assert sum("sin" in text for text in texts) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_texts_are_escaped(engine):
    evil = '"]; </svg><script>&\\\f'
    x, y = Var((), np.dtype(float)), Var((), np.dtype(float))
    equation = Equation(registry["sin"], [x], {"why": evil}, (y,), (evil, 1))
    svg = str(Program([x], [equation], [y]).draw(engine))
    assert "<script" not in svg
    assert len(nodes_of(ElementTree.fromstring(svg))) == 3


def test_boxes_do_not_overlap_and_edges_lead_from_box_to_box():
    @for_all(programs(), generators(), share=1)
    def check(program, rng):
        inputs = program.draw(rng)
        written = funcad.make_program(funcad.grad(program))(*inputs)
        root = parsed(written.draw("python"))
        frames = boxes_of(root)
        for i, (l1, t1, r1, b1) in enumerate(frames):
            for l2, t2, r2, b2 in frames[:i]:
                assert r1 <= l2 or r2 <= l1 or b1 <= t2 or b2 <= t1
        width, height = float(root.get("width")), float(root.get("height"))
        assert all(min(frame) >= -1 for frame in frames)
        assert all(r < width and b < height for _, _, r, b in frames)
        reads = [
            len({v for v in e.inputs if isinstance(v, Var)}) for e in written.equations
        ]
        paths = [p for p in root.iter(f"{SVG}path") if p.get("class") == "edge"]
        outputs = [v for v in written.outputs if isinstance(v, Var)]
        assert len(paths) <= sum(reads) + len(outputs)
        for path in paths:
            words = path.get("d").replace("M", "").replace("C", "").split()
            ends = [tuple(map(float, words[k].split(","))) for k in (0, -1)]
            for (x, y), side in zip(ends, (3, 1), strict=True):
                assert any(f[0] <= x <= f[2] and abs(f[side] - y) < 0.2 for f in frames)


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 20))
    size = st.tuples(st.floats(10, 200), st.floats(10, 60))
    sizes = [draw(size) for _ in range(count)]
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    edges = draw(st.sets(pairs, max_size=40))
    return sizes, sorted({(min(e), max(e)) for e in edges if e[0] != e[1]})


def test_a_layout_puts_every_box_below_those_it_depends_on():
    @for_all(graphs(), share=8)
    def check(graph):
        sizes, edges = graph
        found = layered(sizes, edges)
        for a, b in edges:
            (_, above), (_, below) = found.centres[a], found.centres[b]
            assert above + sizes[a][1] / 2 < below - sizes[b][1] / 2
        frames = [
            (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
            for (x, y), (w, h) in zip(found.centres, sizes, strict=True)
        ]
        for i, (l1, t1, r1, b1) in enumerate(frames):
            assert -1e-6 <= l1 and r1 <= found.width + 1e-6
            assert -1e-6 <= t1 and b1 <= found.height + 1e-6
            for l2, t2, r2, b2 in frames[:i]:
                apart = (l2 - r1, l1 - r2, t2 - b1, t1 - b2)
                assert max(apart) >= -1e-6


def test_edges_that_pass_a_layer_keep_clear_of_its_boxes():
    @for_all(graphs(), share=8)
    def check(graph):
        sizes, edges = graph
        found = layered(sizes, edges)
        layer = layers(len(sizes), edges)
        for (a, b), path in zip(edges, found.paths, strict=True):
            assert len(path) == 2 * (layer[b] - layer[a])
            for (x, top), (_, bottom) in zip(path[1:-1:2], path[2:-1:2], strict=True):
                for (cx, cy), (w, _) in zip(found.centres, sizes, strict=True):
                    if top <= cy <= bottom:
                        assert abs(cx - x) > w / 2


def test_chains_are_drawn_straight_down():
    sizes = [(50.0 + 10 * (i % 3), 20.0) for i in range(30)]
    found = layered(sizes, [(i, i + 1) for i in range(29)])
    xs = [x for x, _ in found.centres]
    assert max(xs) - min(xs) < 1e-6


def test_long_programs_are_drawn_quickly_with_names_for_far_away_values():
    def deep(w, x):
        for _ in range(80):
            x = np.tanh(x @ w)
        return np.sum(x)

    program = funcad.make_program(funcad.grad(deep))(np.eye(3), X[None])
    root = parsed(program.draw("python"))
    assert len(nodes_of(root)) > len(program.equations)
    assert float(root.get("width")) < 4000
    assert any(text == "a" for text in texts_of(root))


def test_a_picture_is_shown_by_notebooks_and_written_to_files(tmp_path):
    picture = GRADIENT.draw("python")
    assert picture._repr_svg_() == str(picture) == picture.svg
    picture.save(tmp_path / "gradient.svg")
    assert (tmp_path / "gradient.svg").read_text("utf-8") == str(picture)
    assert "save(path)" in repr(picture)


def test_without_graphviz_funcad_lays_the_picture_out(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert str(GRADIENT.draw()) == str(GRADIENT.draw("python"))
    with pytest.raises(ArgumentError, match='engine="dot" needs graphviz'):
        GRADIENT.draw("dot")


def test_when_graphviz_fails_funcad_lays_the_picture_out(monkeypatch):
    def fail(*args, **kwargs):
        raise subprocess.TimeoutExpired("dot", 1)

    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/dot")
    monkeypatch.setattr(drawing.subprocess, "run", fail)
    assert str(GRADIENT.draw()) == str(GRADIENT.draw("python"))


def test_an_engine_that_does_not_exist_is_refused():
    with pytest.raises(ArgumentError, match="engine='neato' is none of"):
        GRADIENT.draw("neato")


def test_programs_without_equations_are_drawn():
    x = Var((3,), np.dtype(float))
    for program in (Program([x], [], [x, None, 2.0]), Program([], [], [])):
        assert parsed(program.draw("python")).tag == f"{SVG}svg"
