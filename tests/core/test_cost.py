"""``Program.cost``: operations and bytes, from rules that every primitive has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

import funcad
from funcad import nn
from funcad.core.cost import flops_of, traffic_of
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import Primitive, ShapedArray, registry
from funcad.scipy import linalg, special
from properties import for_all
from samples import SAMPLES
from samples.table import import_every_module

import_every_module()

FLOAT = np.dtype(float)


def array(*shape, dtype=float):
    return funcad.ShapeDtypeStruct(shape, dtype)


def cost(f, *args):
    return funcad.make_program(f)(*args).cost()


def test_every_primitive_says_how_many_operations_it_takes():
    own = [registry[name] for name in SAMPLES]
    silent = [p.name for p in own if p.flops is None and p.body is None]
    assert not silent, (
        f"the primitives {silent} have no rule flops: give each one, made of what "
        "there is in funcad.core.counting"
    )


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_costs_are_counts_for_every_legal_call(name):
    primitive = registry[name]

    @for_all(SAMPLES[name].calls("?bilefdFD"), share=0.15)
    def check(call):
        params = {
            k: "numpy" if k in ("target", "source") else v
            for k, v in call.params.items()
        }
        values = call.draw(np.random.default_rng(0))
        assume(any(hasattr(v, "dtype") for v in values))

        def function(*operands):
            through = SAMPLES[name].through or (lambda p, *o, **k: p(*o, **k))
            return through(primitive, *operands, **params)

        total = cost(function, *values)
        assert [row.primitive for row in total.rows][-1] == name
        for row in total.rows:
            assert type(row.flops) is int and row.flops >= 0
            assert type(row.read) is int and row.read >= 0
            assert type(row.written) is int and row.written >= 0
        assert total.flops == sum(row.flops for row in total.rows)
        assert total.bytes == sum(row.bytes for row in total.rows)


@pytest.mark.parametrize(
    "f, args, flops",
    [
        (np.add, (array(3, 4), array(4)), 12),
        (np.exp, (array(3, 4),), 8 * 12),
        (np.sqrt, (array(3, 4),), 4 * 12),
        (special.gammaln, (array(5),), 40 * 5),
        (np.add, (array(3, dtype=complex), array(3)), 4 * 3),
        (np.absolute, (array(3, dtype=complex),), 4 * 3),
        (np.sum, (array(3, 4),), 12),
        (np.max, (array(3, 4),), 12),
        (np.cumsum, (array(12),), 12),
        (np.transpose, (array(3, 4),), 0),
        (lambda x: x[1:].reshape(-1, 2), (array(3, 4),), 0),
        (lambda x: np.concatenate([x, x]), (array(3, 4),), 0),
        (np.matmul, (array(3, 4), array(4, 5)), 2 * 3 * 4 * 5),
        (np.matmul, (array(7, 3, 4), array(4, 5)), 7 * 2 * 3 * 4 * 5),
        (np.matmul, (array(3, 4, dtype=complex), array(4, 5)), 8 * 3 * 4 * 5),
        (np.linalg.inv, (array(2, 6, 6),), 2 * 2 * 6**3),
        (np.linalg.cholesky, (array(6, 6),), 6**3 // 3),
        (np.linalg.eigh, (array(2, 6, 6),), 2 * 9 * 6**3),
        (lambda a: np.linalg.qr(a)[0], (array(9, 6),), 2 * 2 * 36 * (9 - 2)),
        (linalg.expm, (array(3, 3),), 44 * 27 // 3),
        (np.fft.fft, (array(64, dtype=complex),), 5 * 64 * 6),
        (np.fft.rfft, (array(64),), 5 * 64 * 6 // 2),
        (np.sort, (array(3, 64),), 3 * 64 * 6),
        (nn.softmax, (array(3, 5),), 12 * 15),
        (
            lambda x, k: nn.conv(x, k),
            (array(2, 3, 8, 8), array(5, 3, 3, 3)),
            2 * (2 * 5 * 6 * 6) * (3 * 3 * 3),
        ),
    ],
)
def test_operations_are_those_of_the_textbooks(f, args, flops):
    assert cost(f, *args).flops == flops


def test_bytes_are_those_of_operands_and_results():
    (row,) = cost(np.add, array(3, 4), array(4, dtype="f4")).rows
    assert (row.read, row.written, row.bytes) == (96 + 16, 96, 208)
    assert cost(lambda x: x * x, array(5)).read == 40
    assert cost(lambda x: x * 2.0, array(5)).read == 40
    assert cost(lambda x: x * np.ones(5), array(5)).read == 80


def test_views_move_nothing_and_gathering_reads_what_it_takes():
    for f in (np.transpose, np.ravel, lambda x: x[1:, None], lambda x: np.split(x, 2)):
        assert cost(f, array(4, 6)).bytes == 0
    total = cost(lambda x: np.take(x, np.array([1, 2]), axis=0), array(1000, 5))
    assert total.bytes <= 2 * 2 * 5 * 8 + 3 * 2 * 8


def test_a_call_costs_what_its_program_costs():
    def f(x):
        return np.sum(np.tanh(x @ x))

    plain, jitted = cost(f, array(8, 8)), cost(funcad.jit(f), array(8, 8))
    assert (plain.flops, plain.bytes) == (jitted.flops, jitted.bytes)
    assert len(jitted.rows) == 1


def test_a_loop_moves_the_bytes_of_its_body_as_often_as_it_says_it_runs_it():
    body = funcad.make_program(np.sin)(array(4))
    loop = Primitive(
        "loop_for_test",
        np.sin,
        lambda x, program, length: (x.shape, x.dtype),
        flops=lambda i, o, params: params["length"] * params["program"].cost().flops,
    )
    del registry["loop_for_test"]
    x, y = Var((4,), FLOAT), Var((4,), FLOAT)
    equation = Equation(loop, [x], {"program": body, "length": 10}, (y,))
    total = Program([x], [equation], [y]).cost()
    assert (total.flops, total.bytes) == (10 * 4 * 8, 10 * 64)


def test_a_primitive_without_rules_counts_its_results():
    plain = Primitive("plain_for_test", np.sin, None)
    del registry["plain_for_test"]
    avals = [ShapedArray((3, 4), FLOAT)]
    assert flops_of(plain, avals, avals, {}) == 12
    assert traffic_of(plain, avals, avals, {}) == (96, 96)


def test_costs_add_up_over_sizes():
    @for_all(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20))
    def check(m, k, n):
        one = cost(np.matmul, array(m, k), array(k, n)).flops
        two = cost(np.matmul, array(2 * m, k), array(k, n)).flops
        assert (one, two) == (2 * m * k * n, 4 * m * k * n)


def test_the_table_names_the_users_lines_and_adds_up():
    total = cost(lambda x: np.sum(np.tanh(x @ x)), array(8, 8))
    rows = str(total).splitlines()
    assert rows[0].split() == ["result", "primitive", "flops", "share", "bytes", "line"]
    assert rows[2].split()[:4] == ["b:float64[8,8]", "matmul", "1,024", "64.0%"]
    assert f"{__file__}:" in rows[2]
    assert rows[-1].split() == ["total", "1,600", "100.0%", f"{total.bytes:,}"]
    assert total.intensity == total.flops / total.bytes
    assert repr(total) == str(total)


def test_a_long_table_shows_the_dearest_equations_and_the_sum_of_the_others():
    def f(x):
        for _ in range(100):
            x = np.tanh(x + 1.0)
        return x @ x

    rows = str(cost(f, array(8, 8))).splitlines()
    assert len(rows) == 65
    assert any("matmul" in row for row in rows)
    assert rows[-3].startswith("141 others")


def test_a_program_without_equations_costs_nothing():
    total = cost(lambda x: x, array(3))
    assert (total.flops, total.bytes, total.rows) == (0, 0, [])
    assert np.isnan(total.intensity)
    assert str(total).splitlines()[-1].split() == ["total", "0", "0"]
    assert "<td" not in total._repr_html_()


def test_html_is_an_escaped_table():
    total = cost(lambda x: x < 2 if 1 < 2 else x, array(3))
    html = total._repr_html_()
    assert html.count("<tr>") == html.count("</tr>") == 3
    assert "x &lt; 2" in html and "x < 2" not in html
