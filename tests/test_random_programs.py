"""Programs put together at random, and every nesting of the transforms on them.

A program is a short list of steps, each a function of earlier values: primitives of the
sample table applied entry by entry, and what surrounds them in ordinary code (sums,
products, reshaping, indexing, matrix products).  Values may be used many times.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

import funcad
from funcad.backends import backend_of
from funcad.core.tracing import registry
from properties import assert_close, for_all, generators, host, placed
from samples import SAMPLES
from samples.table import import_every_module

import_every_module()

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


class Step(NamedTuple):
    """One line of a program: its text, and its function of all values so far."""

    text: str
    function: Callable[[list[Any]], Any]


class Program:
    """A scalar function of a list of arrays."""

    def __init__(self, shapes: list[tuple[int, ...]], steps: list[Step]) -> None:
        self.shapes = shapes
        self.steps = steps

    def __call__(self, *inputs: Any) -> Any:
        values = list(inputs)
        for step in self.steps:
            values.append(step.function(values))
        # the sum of a bounded function of the results that nothing else bounds
        return sum(np.sum(np.tanh(v)) for v in values[-2:])

    def __repr__(self) -> str:
        names = [f"v{i}: {s}" for i, s in enumerate(self.shapes)]
        lines = [f"v{len(names) + i} = {s.text}" for i, s in enumerate(self.steps)]
        return "\n".join([f"program({', '.join(names)})", *lines])

    def draw(self, rng: np.random.Generator) -> list[Any]:
        """Inputs, or directions."""
        return [rng.uniform(-1, 1, shape) for shape in self.shapes]


# ---------------------------------------------------------------------------- steps

ENTRYWISE = sorted(
    name
    for name, row in SAMPLES.items()
    if row.domains and len(row.smooth) == len(row.domains) and hasattr(np, name)
)


def entrywise_step(draw: Any, values: list[Any]) -> Step:
    """A function of NumPy's, its operands brought into its domain."""
    name = draw(st.sampled_from(ENTRYWISE))
    domains = SAMPLES[name].domains
    places = [draw(st.integers(0, len(values) - 1)) for _ in domains]
    intervals = [draw(st.sampled_from(domain.intervals)) for domain in domains]
    primitive = registry[name]

    def function(values: list[Any]) -> Any:
        operands = [
            low + (high - low) * (0.5 + 0.45 * np.tanh(values[i]))
            for i, (low, high) in zip(places, intervals, strict=True)
        ]
        return primitive(*operands)

    text = ", ".join(f"{iv} <- v{i}" for i, iv in zip(places, intervals, strict=True))
    return Step(f"{name}({text})", function)


def arithmetic_step(draw: Any, values: list[Any]) -> Step:
    i, j = (draw(st.integers(0, len(values) - 1)) for _ in range(2))
    symbol, function = draw(
        st.sampled_from(
            [
                ("v{i} + v{j}", lambda v: v[i] + v[j]),
                ("v{i} - v{j}", lambda v: v[i] - v[j]),
                ("v{i} * v{j}", lambda v: v[i] * v[j]),
                ("v{i} / (2 + v{j} ** 2)", lambda v: v[i] / (2 + v[j] ** 2)),
                ("0.5 * v{i} - 1", lambda v: 0.5 * v[i] - 1),
                ("v{i} ** 3 / 4", lambda v: v[i] ** 3 / 4),
                ("where(v{i} > 0, v{j}, -v{j})", _where(i, j)),
            ]
        )
    )
    return Step(symbol.format(i=i, j=j), function)


def _where(i: int, j: int) -> Callable[[list[Any]], Any]:
    # v squared times sign: smooth where the condition changes
    return lambda v: np.where(v[i] > 0, v[i] ** 2, -(v[i] ** 2)) * v[j]


def structural_step(draw: Any, values: list[Any]) -> Step:
    i = draw(st.integers(0, len(values) - 1))
    shape = values[i].shape
    rank = len(shape)
    axis = draw(st.integers(-rank, rank - 1)) if rank else None
    keepdims = draw(st.booleans())
    choices: list[tuple[str, Callable[[Any], Any]]] = [
        ("ravel", np.ravel),
        ("transpose", np.transpose),
        ("v[None]", lambda x: x[None]),
        ("stack([v, v ** 2])", lambda x: np.stack([x, x**2])),
        (f"mean {axis}", lambda x: np.mean(x, axis=axis, keepdims=keepdims)),
        (f"sum {axis}", lambda x: np.sum(x, axis=axis, keepdims=keepdims)),
        (f"prod {axis}", lambda x: np.prod(x, axis=axis)),
        ("pad", lambda x: np.pad(x, 1, constant_values=0.5)),
    ]
    if rank:
        n = shape[axis]
        numbers = draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=4))
        choices += [
            (f"take {numbers} {axis}", lambda x: np.take(x, numbers, axis)),
            ("v[::-1]", lambda x: x[::-1]),
            ("v[..., 0]", lambda x: x[..., 0]),
            (f"v[{numbers}]", _rows([k % shape[0] for k in numbers])),
            (f"cumsum {axis}", lambda x: np.cumsum(x, axis)),
            (f"cumprod {axis}", lambda x: np.cumprod(x, axis)),
            (f"concatenate {axis}", lambda x: np.concatenate([x, 2 * x], axis)),
            (f"flip, diff {axis}", lambda x: np.diff(np.flip(x, axis), axis=axis)),
            (f"std {axis}", lambda x: np.sqrt(1 + np.var(x, axis=axis))),
            ("v @ v.T", lambda x: x @ x.T if x.ndim < 3 else x),
            ("einsum", lambda x: np.einsum("i...,i...->...", x, np.cos(x))),
        ]
    name, function = draw(st.sampled_from(choices))
    return Step(f"{name} of v{i}", lambda v: function(v[i]))


def _rows(numbers: list[int]) -> Callable[[Any], Any]:
    return lambda x: x[numbers]


def product_step(draw: Any, values: list[Any]) -> Step:
    """A product of matrices, or the solution of equations."""
    matrices = [i for i, v in enumerate(values) if v.ndim == 2 and v.size]
    if not matrices:
        return arithmetic_step(draw, values)
    i = draw(st.sampled_from(matrices))
    rows, columns = values[i].shape
    fitting = [
        j for j, v in enumerate(values) if v.ndim in (1, 2) and v.shape[0] == columns
    ]
    if fitting and draw(st.booleans()):
        j = draw(st.sampled_from(fitting))
        return Step(f"v{i} @ v{j}", lambda v: v[i] @ v[j])

    def gram(x: Any) -> Any:
        return np.tanh(x) @ np.tanh(x).T + 2 * _identity(x, rows)

    name, function = draw(
        st.sampled_from(
            [
                ("solve", lambda x: np.linalg.solve(gram(x), x)),
                ("inv", lambda x: np.linalg.inv(gram(x))),
                ("cholesky", lambda x: np.linalg.cholesky(gram(x))),
                ("slogdet", lambda x: np.linalg.slogdet(gram(x))[1]),
            ]
        )
    )
    return Step(f"{name}(gram matrix of v{i})", lambda v: function(v[i]))


def _identity(x: Any, n: int) -> Any:
    return backend_of(x).from_host(np.eye(n))


STEPS = (
    *(entrywise_step, entrywise_step, arithmetic_step, arithmetic_step),
    *(structural_step, structural_step, product_step),
)


@st.composite
def programs(draw: Any) -> Program:
    """Programs of up to eight steps that stay small and finite."""
    shape = st.sampled_from([(), (3,), (2, 3), (2, 2), (1, 2)])
    shapes = draw(st.lists(shape, min_size=1, max_size=2))
    rng = np.random.default_rng(0)
    values: list[Any] = [np.asarray(rng.uniform(-1, 1, s)) for s in shapes]
    steps: list[Step] = []
    for _ in range(draw(st.integers(1, 8))):
        step = draw(st.sampled_from(STEPS))(draw, values)
        try:
            value = np.asarray(step.function(values))
        except ValueError:  # shapes that do not broadcast
            continue
        if not 0 < value.size <= 24 or value.ndim > 3:
            continue
        values.append(value)
        steps.append(step)
    assume(steps)
    return Program(shapes, steps)


# ------------------------------------------------------------------------ comparisons


def assert_derivative(
    got: Any, f: Callable[..., Any], inputs: Any, tangents: Any
) -> None:
    """``got`` is the derivative of ``f`` (a host function) along ``tangents``.

    Differences with two steps say how accurate they are; a program on which they are
    not accurate proves nothing, and is passed over.
    """
    got = np.asarray(host(got))

    def difference(h: float) -> Any:
        above = f(*[x + h * t for x, t in zip(inputs, tangents, strict=True)])
        below = f(*[x - h * t for x, t in zip(inputs, tangents, strict=True)])
        return (host(above) - host(below)) / (2 * h)

    fine, coarse = difference(1e-5), difference(2e-5)
    scale = 1e-3 + np.abs(fine).max(initial=0)
    doubt = np.abs(fine - coarse).max(initial=0)
    assume(np.isfinite(scale) and doubt < 1e-4 * scale)
    np.testing.assert_allclose(got, fine, rtol=0, atol=1e-3 * scale)


def numbers(program: Program) -> tuple[int, ...]:
    return tuple(range(len(program.shapes)))


def inner(xs: Any, ys: Any) -> Any:
    return sum(np.sum(x * y) for x, y in zip(xs, ys, strict=True))


def gradient_of(program: Program) -> Callable[..., Any]:
    return funcad.grad(program, numbers(program))


def raveled(xs: Any) -> Any:
    return np.concatenate([np.ravel(x) for x in xs])


EXACT = {"rtol": 1e-7, "atol": 1e-9}


# ----------------------------------------------------------------------------- tests


def test_gradients_agree_with_finite_differences():
    @for_all(programs(), generators(), share=6)
    def check(program, rng):
        inputs, directions = program.draw(rng), program.draw(rng)
        gradient = gradient_of(program)(*inputs)
        assert [g.shape for g in gradient] == program.shapes
        assert_derivative(inner(gradient, directions), program, inputs, directions)


def test_forward_mode_agrees_with_reverse_mode():
    @for_all(programs(), generators(), share=4)
    def check(program, rng):
        inputs, tangents = program.draw(rng), program.draw(rng)
        want = inner(gradient_of(program)(*inputs), tangents)
        value, tangent = funcad.jvp(program, inputs, tangents)
        linear = funcad.linearize(program, *inputs)[1](*tangents)
        assert_close(value, program(*inputs), **EXACT)
        assume(np.isfinite(want))
        scale = max(1.0, abs(float(want)))
        assert_close(tangent / scale, want / scale, **EXACT)
        assert_close(linear / scale, want / scale, **EXACT)


def test_hessian_vector_products_agree_with_differences_of_the_gradient():
    @for_all(programs(), generators(), share=4)
    def check(program, rng):
        inputs, tangents = program.draw(rng), program.draw(rng)
        gradient = gradient_of(program)
        product = funcad.hvp(program, inputs, tangents, numbers(program))
        assert_derivative(
            raveled(product), lambda *xs: raveled(gradient(*xs)), inputs, tangents
        )


def test_every_way_to_the_hessian_gives_the_same_matrix():
    @for_all(programs(), generators(), share=2)
    def check(program, rng):
        inputs = program.draw(rng)
        assume(all(math.prod(s) <= 4 for s in program.shapes))
        argnums = numbers(program)
        ways = [
            funcad.hessian(program, argnums)(*inputs),
            funcad.jacrev(funcad.jacrev(program, argnums), argnums)(*inputs),
            funcad.jacrev(funcad.jacfwd(program, argnums), argnums)(*inputs),
            funcad.jacfwd(funcad.jacfwd(program, argnums), argnums)(*inputs),
        ]
        scale = 1 + max(np.abs(h).max() for row in ways[0] for h in row)
        assume(np.isfinite(scale))
        for way in ways[1:]:
            for row, want in zip(way, ways[0], strict=True):
                for h, w in zip(row, want, strict=True):
                    assert_close(h / scale, w / scale, **EXACT)
        tangents = program.draw(rng)
        product = funcad.hvp(program, inputs, tangents, argnums)
        for row, want in zip(ways[0], product, strict=True):
            got = sum(
                np.tensordot(h, t, t.ndim) for h, t in zip(row, tangents, strict=True)
            )
            assert_close(got / scale, want / scale, **EXACT)


def stacks(program: Program, rng: np.random.Generator, size: int) -> Any:
    rows = [program.draw(rng) for _ in range(size)]
    return rows, [np.stack(column) for column in zip(*rows, strict=True)]


def test_vmap_of_values_and_gradients_agrees_with_a_loop():
    @for_all(programs(), generators(), share=4)
    def check(program, rng):
        rows, stacked = stacks(program, rng, 3)
        both = funcad.value_and_grad(program, numbers(program))
        values, gradients = funcad.vmap(both)(*stacked)
        for k, row in enumerate(rows):
            value, gradient = both(*row)
            assert_close(values[k], value, **EXACT)
            for got, want in zip(gradients, gradient, strict=True):
                scale = 1 + np.abs(want).max(initial=0)
                assert_close(got[k] / scale, want / scale, **EXACT)


def test_gradient_of_a_vmap_is_the_vmap_of_gradients():
    @for_all(programs(), generators(), share=3)
    def check(program, rng):
        _, stacked = stacks(program, rng, 2)
        argnums = numbers(program)
        weights = rng.uniform(-1, 1, 2)

        def total(*xs):
            return np.sum(weights * funcad.vmap(program)(*xs))

        of_vmap = funcad.grad(total, argnums)(*stacked)
        vmapped = funcad.vmap(
            lambda w, *xs: [w * g for g in gradient_of(program)(*xs)]
        )(weights, *stacked)
        for got, want in zip(of_vmap, vmapped, strict=True):
            scale = 1 + np.abs(want).max(initial=0)
            assert_close(got / scale, want / scale, **EXACT)


def test_nested_vmaps_with_shared_inputs_agree_with_loops():
    @for_all(programs(), generators(), share=3)
    def check(program, rng):
        rows, stacked = stacks(program, rng, 2)
        shared, over = program.draw(rng), stacked[0]
        gradient = gradient_of(program)

        def outer(x, scale):
            # the inner vmap closes over a tracer of the outer one
            return funcad.vmap(lambda s: gradient(x * s * scale, *shared[1:]))(
                np.array([0.5, 1.0])
            )

        got = funcad.vmap(outer, in_axes=(0, None))(over, 0.9)
        for k, row in enumerate(rows):
            for i, s in enumerate((0.5, 1.0)):
                want = gradient(row[0] * s * 0.9, *shared[1:])
                for g, w in zip(got, want, strict=True):
                    scale = 1 + np.abs(w).max(initial=0)
                    assert_close(g[k, i] / scale, w / scale, **EXACT)


def test_derivative_of_a_pullback_agrees_with_differences():
    @for_all(programs(), generators(), share=3)
    def check(program, rng):
        inputs, tangents = program.draw(rng), program.draw(rng)

        def pulled(ct, *xs):
            return raveled(funcad.vjp(program, *xs)[1](np.tanh(ct)))

        _, tangent = funcad.jvp(pulled, (np.array(0.7), *inputs), (1.0, *tangents))
        assert_derivative(
            tangent, pulled, [np.array(0.7), *inputs], [np.array(1.0), *tangents]
        )


def test_vmap_of_hessian_vector_products_agrees_with_a_loop():
    @for_all(programs(), generators(), share=2)
    def check(program, rng):
        rows, stacked = stacks(program, rng, 2)
        directions = [program.draw(rng) for _ in rows]
        argnums = numbers(program)

        def product(xs, ts):
            return funcad.hvp(program, xs, ts, argnums)

        columns = tuple(np.stack(column) for column in zip(*directions, strict=True))
        batched = funcad.vmap(product)(tuple(stacked), columns)
        for k, (row, ts) in enumerate(zip(rows, directions, strict=True)):
            for got, want in zip(batched, product(tuple(row), tuple(ts)), strict=True):
                scale = 1 + np.abs(want).max(initial=0)
                assume(np.isfinite(scale))
                assert_close(got[k] / scale, want / scale, **EXACT)


def test_third_derivatives_agree_with_differences_of_the_second():
    @for_all(programs(), generators(), share=2)
    def check(program, rng):
        inputs, tangents, others = (program.draw(rng) for _ in range(3))
        argnums = numbers(program)

        def curvature(*xs):
            return inner(funcad.hvp(program, xs, tangents, argnums), tangents)

        got = inner(funcad.grad(curvature, argnums)(*inputs), others)
        assert_derivative(got, curvature, inputs, others)


def test_staged_gradients_evaluate_to_the_eager_ones():
    @for_all(programs(), generators(), share=3)
    def check(program, rng):
        inputs = program.draw(rng)
        gradient = gradient_of(program)
        staged = funcad.make_program(gradient)(*inputs)
        for got, want in zip(staged.evaluate(inputs), gradient(*inputs), strict=True):
            scale = 1 + np.abs(want).max(initial=0)
            assert_close(got / scale, want / scale, **EXACT)


def test_programs_stay_in_the_library_of_their_arrays(library):
    @for_all(programs(), generators(), share=4 if library.name == "double" else 1)
    def check(program, rng):
        rows, stacked = stacks(program, rng, 2)
        both = funcad.value_and_grad(program, numbers(program))
        tangents = program.draw(rng)
        value, gradient = both(*placed(library, rows[0]))
        want, want_gradient = both(*rows[0])
        assert_close(value, want, **EXACT)
        product = funcad.hvp(
            program,
            placed(library, rows[0]),
            placed(library, tangents),
            numbers(program),
        )
        want_product = funcad.hvp(program, rows[0], tangents, numbers(program))
        batched = funcad.vmap(both)(*placed(library, stacked))[1]
        for x in (value, *gradient, *product, *batched):
            assert backend_of(x) is library
        for got, w in zip(
            (*gradient, *product), (*want_gradient, *want_product), strict=True
        ):
            scale = 1 + np.abs(w).max(initial=0)
            assume(np.isfinite(scale))
            assert_close(host(got) / scale, w / scale, **EXACT)
