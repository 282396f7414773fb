"""The tape gives what `funcad.vjp` and `funcad.grad` give, of whatever is computed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume

import funcad
from funcad import tape
from funcad.core.tracing import dtype_of, registry
from properties import as_tuple, direction, for_all, generators, host, placed
from random_programs import programs
from samples import SAMPLES
from samples.table import EVERY_DTYPE, HERE, import_every_module

import_every_module()

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

# their derivatives are the user's own, which the tests of transforms have
CALLS = {"custom_vjp_call", "custom_vjp_tangent", "pure_callback", "while"}
SMOOTH = sorted(n for n, row in SAMPLES.items() if row.smooth and n not in CALLS)
SHARES = {"numpy": 0.08, "double": 0.04, "cupy": 0.04}


def applied(library, name, call):
    params = {k: library.name if v is HERE else v for k, v in call.params.items()}
    through = SAMPLES[name].through or (lambda p, *xs, **params: p(*xs, **params))
    return lambda *xs: as_tuple(through(registry[name], *xs, **params))


def tensor(x):
    """A leaf that requires a gradient, of a value in any library."""
    return tape.Tensor(x, requires_grad=True)


def same(got, want):
    assert got.dtype == dtype_of(want)
    assert got.shape == np.shape(host(want))
    np.testing.assert_array_equal(host(got.array), host(want))


def zero_or(gradient, x):
    """A gradient, or the explicit zero that the transforms give in its place."""
    return tape.Tensor(0 * x) if gradient is None else gradient


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_of_every_primitive_are_those_of_vjp(library, name):
    row = SAMPLES[name]
    if row.host_only and library.name != "numpy":
        pytest.skip(f"{library.name} has no {name}")

    @for_all(row.calls(EVERY_DTYPE), generators(), share=SHARES[library.name])
    def check(call, rng):
        free = [
            i
            for i, op in enumerate(call.operands)
            if op.is_inexact and i in row.smooth and not op.is_number
        ]
        assume(free)
        values = placed(library, call.draw(rng))
        function = applied(library, name, call)

        def of_free(*xs):
            full = list(values)
            for i, x in zip(free, xs, strict=True):
                full[i] = x
            return function(*full)

        primals = [values[i] for i in free]
        outs, pullback = funcad.vjp(of_free, *primals)
        smooth = [dtype_of(y).kind in "fc" for y in outs]
        cotangents = tuple(
            library.from_host(direction(rng, host(y)))
            if s
            else np.zeros(np.shape(host(y)), funcad.float0)
            for y, s in zip(outs, smooth)
        )
        wants = pullback(cotangents)

        leaves = [tensor(x) for x in primals]
        results = of_free(*leaves)
        for result, out in zip(results, outs, strict=True):
            same(result, out)
        chosen = [i for i, y in enumerate(results) if y.requires_grad]
        assert chosen == [i for i in chosen if smooth[i]]
        gradients = [None] * len(leaves)
        if chosen:
            gradients = tape.grad(
                [results[i] for i in chosen],
                leaves,
                [cotangents[i] for i in chosen],
                allow_unused=True,
            )
        for got, want, x in zip(gradients, wants, primals, strict=True):
            same(zero_or(got, x), want)


def test_gradients_of_random_programs_are_those_of_grad():
    @for_all(programs(), generators(), share=2)
    def check(program, rng):
        inputs = program.draw(rng)
        wants = funcad.grad(program, tuple(range(len(inputs))))(*inputs)
        leaves = [tensor(x) for x in inputs]
        program(*leaves).backward()
        for leaf, x, want in zip(leaves, inputs, wants, strict=True):
            np.testing.assert_allclose(
                zero_or(leaf.grad, x).numpy(), want, rtol=1e-10, atol=1e-12
            )


def test_second_derivatives_of_random_programs_are_those_of_grad_of_grad():
    def slope(gradients, directions):
        return sum(np.sum(g * v) for g, v in zip(gradients, directions, strict=True))

    @for_all(programs(), generators(), share=1)
    def check(program, rng):
        inputs, directions = program.draw(rng), program.draw(rng)
        numbers = tuple(range(len(inputs)))
        first = funcad.grad(program, numbers)
        wants = funcad.grad(lambda *xs: slope(first(*xs), directions), numbers)(*inputs)
        leaves = [tensor(x) for x in inputs]
        gradients = tape.grad(
            program(*leaves), leaves, create_graph=True, allow_unused=True
        )
        total = slope([g if g is not None else 0.0 for g in gradients], directions)
        seconds = [None] * len(leaves)
        if isinstance(total, tape.Tensor) and total.requires_grad:
            seconds = tape.grad(total, leaves, allow_unused=True)
        for got, x, want in zip(seconds, inputs, wants, strict=True):
            scale = 1 + np.abs(want).max(initial=0)
            np.testing.assert_allclose(
                zero_or(got, x).numpy(), want, rtol=1e-9, atol=1e-11 * scale
            )


def test_the_program_of_a_graph_computes_what_the_tape_did():
    @for_all(programs(), generators(), share=1)
    def check(program, rng):
        inputs, others = program.draw(rng), program.draw(rng)
        leaves = [tensor(x) for x in inputs]
        y = program(*leaves)
        assume(y.requires_grad)
        graph = y.graph()
        graph.validate()
        assume(len(graph.inputs) == len(inputs))
        np.testing.assert_array_equal(graph(*[x[()] for x in inputs])[0], y.item())
        # where values decide nothing, the program is the function
        if "where" not in repr(program):
            np.testing.assert_allclose(
                graph(*[x[()] for x in others])[0], program(*others), rtol=1e-12
            )
