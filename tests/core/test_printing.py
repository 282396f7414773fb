"""Programs as text and as HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np

import funcad
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import Primitive, ShapedArray, registry

X = np.array([0.3, -1.2, 2.5])
FLOAT = np.dtype(float)


def staged(f, *args):
    return funcad.make_program(f)(*args)


def one_equation(primitive="sin", inputs=None, params=None, outputs=None, line=None):
    x = Var((3,), FLOAT)
    inputs = [x] if inputs is None else inputs
    outputs = outputs or (Var((3,), FLOAT),)
    equation = Equation(registry[primitive], inputs, params or {}, outputs, line)
    return Program([x], [equation], list(outputs))


def test_equals_signs_are_under_one_another():
    text = str(staged(lambda x, s: (np.linalg.eigh(np.outer(x, x) * s)[1], x[0]), X, 2))
    rows = text.splitlines()
    equations = [row for row in rows if " = " in row]
    assert len({row.index(" = ") for row in equations}) == 1
    assert len(equations) == len(rows) - 3


def test_a_long_list_of_results_does_not_push_the_others_aside():
    parts = tuple(Var((1,), FLOAT) for _ in range(9))
    x, y = Var((9,), FLOAT), Var((9,), FLOAT)
    program = Program(
        [x],
        [
            Equation(registry["sin"], [x], {}, (y,)),
            Equation(registry["split"], [y], {"sizes": (1,) * 9, "axis": 0}, parts),
        ],
        [parts[0]],
    )
    assert str(program).splitlines()[1] == "  b:float64[9] = sin a"


def test_numbers_of_python_have_the_name_of_their_type():
    text = str(staged(lambda x, n, z: x * 2 + n + z, 1.5, 2, 1j))
    assert text.startswith("program(a:float, b:int, c:complex) {")
    assert "d:float   = multiply a 2\n" in text


def test_scalars_of_numpy_are_told_from_numbers_of_python():
    text = str(staged(lambda x: (x * np.float32(0.5), x * 0.5), X.astype(np.float32)))
    assert "multiply a 0.5:float32[]\n" in text
    assert "multiply a 0.5\n" in text


def test_parameters_are_written_as_python_has_them():
    for given, written in [
        ("same", "'same'"),
        (("a", 1), "('a', 1)"),
        ((2,), "(2,)"),
        (slice(None, 5), ":5"),
        (slice(1, None, -2), "1::-2"),
        (Ellipsis, "..."),
        (None, "None"),
        (np.dtype("f4"), "float32"),
        (float, "float"),
        (np.sin, "sin"),
        (ShapedArray((2, 3), FLOAT), "float64[2,3]"),
    ]:
        text = str(one_equation(params={"p": given}))
        assert f"sin[p={written}] a" in text
    assert "sin[p=<float64[3]>] a" in str(one_equation(params={"p": X}))
    assert "sin[p=[1, 2]] a" in str(one_equation(params={"p": [1, 2]}))


def test_a_long_text_in_a_parameter_is_cut_short_and_stays_on_its_line():
    text = str(one_equation(params={"why": "because\n" * 50}))
    assert len(text.splitlines()) == 4
    assert "..." in text


def test_programs_in_parameters_are_named_and_written_after():
    inner = funcad.jit(lambda x: np.sin(x) * 2.0)
    text = str(staged(lambda x: inner(inner(x)), X))
    assert text.count("program=p1") == 2
    main, nested = text.split("\n\n")
    assert nested.startswith("p1 = program(a:float64[3]) {\n  b:float64[3] = sin a\n")
    assert main.endswith("}") and nested.endswith("}")


def test_programs_within_programs_within_programs_are_each_written_once():
    inner = one_equation()
    middle = one_equation("jit_call", params={"program": inner, "name": "f"})
    branches = {"branches": (inner, middle), "name": "g"}
    text = str(one_equation("jit_call", params=branches))
    assert "branches=(p1, p2)" in text
    assert text.count("p1 = program(") == text.count("p2 = program(") == 1
    assert "program=p1" in text


def test_the_users_lines_are_aligned_and_only_where_they_are_known():
    program = staged(lambda x: np.sum(np.sin(x) * 2.0), X)
    rows = program.pretty(lines=True).splitlines()[1:-2]
    assert len({row.index("  # ") for row in rows}) == 1
    assert all(f"{__file__}:" in row for row in rows)
    assert "#" not in one_equation().pretty(lines=True)
    assert "#" not in str(program)


def test_a_program_without_equations_is_written():
    x = Var((3,), FLOAT)
    assert str(Program([x], [], [x])) == "program(a:float64[3]) {\n  return (a)\n}"
    assert str(Program([], [], [])) == "program() {\n  return ()\n}"


def test_captured_tracers_are_shown_as_such():
    texts = []

    def f(x):
        texts.append(str(funcad.make_program(lambda y: y * x)(2.0)))
        return x

    funcad.grad(f)(3.0)
    assert "multiply a <traced float>" in texts[0]


class Checker(HTMLParser):
    """Collects the text and the tooltips, and checks that tags are closed."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.tooltips = [], "", []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tooltips += [value for key, value in attrs if key == "title"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_html_says_what_the_text_says():
    program = staged(lambda x: np.sum(funcad.jit(np.sin)(x) * 2.0) + X, X)
    checker = Checker()
    checker.feed(program._repr_html_())
    assert not checker.open
    assert checker.text == str(program)
    assert all(__file__ in tooltip for tooltip in checker.tooltips)
    assert len(checker.tooltips) == len(program.equations) + 1


def test_html_is_escaped():
    evil = "</pre><script>alert(1)</script>\"'&"
    primitive = Primitive("script", np.sin, lambda x: (x.shape, x.dtype))
    del registry["script"]
    primitive.name = "<script>"
    x, y = Var((), FLOAT), Var((), FLOAT)
    equation = Equation(primitive, [x], {"why": evil}, (y,), (f'{evil}".py', 1))
    html = Program([x], [equation], [y])._repr_html_()
    assert "<script" not in html and re.search(r"&lt;script&gt;", html)
    checker = Checker()
    checker.feed(html)
    assert not checker.open
