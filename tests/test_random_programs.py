"""Every nesting of the transforms on programs put together at random."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume

import funcad
from funcad.backends import backend_of
from properties import assert_close, for_all, generators, host, placed
from random_programs import Program, programs

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


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
