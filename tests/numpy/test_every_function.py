"""What is true of every function of NumPy and SciPy that is traced.

The rows are in ``functions``; each test runs once for each of them.  The library's own
function on plain arrays says what is right.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume

import funcad
from agreement import same
from funcad import tree
from funcad.backends import backend_of
from funcad.core.errors import ConcretizationError, UnsupportedFunctionError
from funcad.core.tracing import aval_of, dtype_of, shape_of
from funcad.numpy.dispatch import FUNCTIONS, METHODS, PRIMITIVES
from functions import ROWS
from functions.table import Row
from properties import (
    assert_close,
    central_difference,
    direction,
    for_all,
    generators,
    host,
    pairing,
    placed,
)
from samples.table import DOUBLE, EVERY_DTYPE, Call

NUMPY = backend_of()
SHARES = {"numpy": 0.3, "double": 0.15, "cupy": 0.15}

pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning"),
]


def rows(condition: Callable[[Row], bool] = lambda row: True) -> Any:
    """Rows to run a test on, each called by its function's name."""
    chosen = [row for row in ROWS if condition(row)]
    return pytest.mark.parametrize("row", chosen, ids=[row.name for row in chosen])


def applied(row: Row, function: Callable[..., Any], call: Call) -> Callable[..., Any]:
    """A function of the operands alone, whose results are a flat list."""
    return lambda *operands: tree.leaves(row.apply(function, *operands, **call.params))


def held(function: Callable[..., Any], operands: Any, free: Any) -> Callable[..., Any]:
    """A function of the free operands, the others being held where they are."""

    def of_free(*values: Any) -> Any:
        full = list(operands)
        for i, value in zip(free, values, strict=True):
            full[i] = value
        return function(*full)

    return of_free


def spellings(row: Row) -> list[Callable[..., Any]]:
    """The functions that a user may call with a tracer."""
    return [row.ours, row.plain] if row.dispatches else [row.ours]


def inexact(call: Call) -> list[int]:
    return [i for i, op in enumerate(call.operands) if op.is_inexact]


def arrays(call: Call) -> list[int]:
    return [i for i, op in enumerate(call.operands) if not op.is_number]


def smooth(row: Row, call: Call) -> list[int]:
    return [i for i in inexact(call) if i in row.smooth]


def smooth_calls(row: Row) -> Any:
    return row.calls(DOUBLE).filter(lambda call: smooth(row, call))


def has_derivative(row: Row) -> bool:
    return not (isinstance(row.smooth, tuple) and not row.smooth)


def test_every_function_that_can_be_traced_has_a_row():
    with_rows = {row.plain for row in ROWS}
    # ufuncs that are primitives are in the table of samples
    functions = {f: f.__name__ for f in FUNCTIONS if f not in PRIMITIVES}
    # at, which writes into its operand, is refused; the ufunc that is called for the
    # method clip of plain arrays has the row of np.clip
    methods = {
        getattr(u, name): f"{u.__name__}.{name}"
        for u, name in METHODS
        if name not in ("at", "__call__")
    }
    everything = functions | methods
    missing = sorted(name for f, name in everything.items() if f not in with_rows)
    assert not missing, f"no rows in tests/functions for {missing}"


@rows()
def test_traced_values_are_those_of_the_plain_call(library, row):
    @for_all(row.calls(EVERY_DTYPE), generators(), share=SHARES[library.name])
    def check(call, rng):
        values = call.draw(rng)
        wants = applied(row, row.plain, call)(*values)
        operands = placed(library, values)
        try:
            for function in spellings(row):
                runs(row, call, applied(row, function, call), operands, wants, library)
        except UnsupportedFunctionError as error:
            # what the other library lacks is an error that names the function
            assert library is not NUMPY and row.host_only, error


def runs(row, call, function, operands, wants, library):
    """Compare results under each transform with those of the plain call."""
    free = inexact(call)
    if free:
        primals = [operands[i] for i in free]
        outs, _ = funcad.jvp(held(function, operands, free), primals, primals)
        same(row, outs, wants, operands)
    traced = arrays(call)
    if traced and not row.concrete:
        of_traced = held(function, operands, traced)
        inputs = [operands[i] for i in traced]
        program = funcad.make_program(of_traced)(*inputs)
        outs = program.evaluate(inputs)
        same(row, outs, wants, operands)
        foretold = funcad.eval_shape(of_traced, *inputs)
        assert [aval_of(x) for x in foretold] == [aval_of(x) for x in wants]
        if library is not NUMPY:
            assert all(backend_of(x) is library for x in outs if shape_of(x))


@rows(lambda row: row.dispatches or row.ours is not row.plain)
def test_plain_arrays_give_what_the_library_gives(row):
    @for_all(row.calls(EVERY_DTYPE), generators(), share=0.1)
    def check(call, rng):
        values = call.draw(rng)
        wants = applied(row, row.plain, call)(*values)
        same(row, applied(row, row.ours, call)(*values), wants, values)


@rows(lambda row: not row.concrete)
def test_vmap_agrees_with_a_loop(row):
    @for_all(row.calls(EVERY_DTYPE), generators(), share=0.3)
    def check(call, rng):
        traced = arrays(call)
        assume(traced)
        chosen = [i for i in traced if rng.random() < 0.7] or traced[:1]
        fixed = call.draw(rng)
        draws = [call.draw(rng) for _ in range(2)]
        function = applied(row, row.ours, call)
        axes = [int(rng.integers(0, len(call.operands[i].shape) + 1)) for i in chosen]
        stacked = [
            np.stack([values[i] for values in draws], axis)
            for i, axis in zip(chosen, axes, strict=True)
        ]
        plain = held(applied(row, row.plain, call), fixed, chosen)
        loop = [plain(*[values[i] for i in chosen]) for values in draws]
        outs = funcad.vmap(held(function, fixed, chosen), tuple(axes))(*stacked)
        wants = [np.stack(column) for column in zip(*loop, strict=True)]
        same(row, outs, wants, [*fixed, *stacked])


@rows(lambda row: row.concrete)
def test_results_whose_form_depends_on_values_need_values(row):
    @for_all(row.calls(EVERY_DTYPE), generators(), share=0.1)
    def check(call, rng):
        values = call.draw(rng)
        traced = arrays(call)
        assume(traced)
        of_traced = held(applied(row, row.ours, call), values, traced)
        with pytest.raises(ConcretizationError):
            funcad.make_program(of_traced)(*[values[i] for i in traced])


def differentiated(row: Row, call: Call, rng: Any) -> Any:
    """Functions of the smooth operands, ours and the plain one, and their values."""
    free = smooth(row, call)
    values = call.draw(rng)
    ours = held(applied(row, row.ours, call), values, free)
    plain = held(applied(row, row.plain, call), values, free)
    at = [values[i] for i in free]
    kept = [i for i, y in enumerate(plain(*at)) if dtype_of(y).kind in "fc"]
    assume(kept)

    def only(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *xs: [function(*xs)[i] for i in kept]

    tangents = [call.operands[i].direction(rng) for i in free]
    return only(ours), only(plain), at, tangents


@rows(has_derivative)
def test_first_derivatives_agree_with_finite_differences(row):
    @for_all(smooth_calls(row), generators(), share=0.3)
    def check(call, rng):
        ours, plain, at, tangents = differentiated(row, call, rng)
        outs, pushed = funcad.jvp(ours, at, tangents)
        for got, want in zip(pushed, central_difference(plain, at, tangents)):
            assert_close(got, want)
        _, f_vjp = funcad.vjp(ours, *at)
        cotangents = [direction(rng, host(y)) for y in outs]
        pulled = f_vjp(cotangents)
        assert [aval_of(g) for g in pulled] == [aval_of(x) for x in at]
        assert np.isclose(
            pairing(cotangents, pushed), pairing(pulled, tangents), 1e-8, 1e-8
        )


@rows(lambda row: has_derivative(row) and row.order > 1)
def test_second_derivatives_agree_with_differences_of_the_gradient(row):
    @for_all(smooth_calls(row), generators(), share=0.2)
    def check(call, rng):
        ours, _, at, tangents = differentiated(row, call, rng)
        weights = [direction(rng, host(y)) for y in ours(*at)]

        def scalar(*xs):
            pairs = zip(weights, ours(*xs), strict=True)
            return sum(np.sum(np.real(w * y)) for w, y in pairs)

        gradient = funcad.grad(scalar, tuple(range(len(at))))
        _, got = funcad.jvp(gradient, at, tangents)
        for g, w in zip(got, central_difference(gradient, at, tangents)):
            assert_close(g, w)


@rows(lambda row: bool(row.method))
def test_methods_of_tracers_are_those_of_arrays(row):
    def method(x: Any, *others: Any, **params: Any) -> Any:
        return operator.methodcaller(row.method, *others, **params)(x)

    @for_all(row.calls(EVERY_DTYPE), generators(), share=0.1)
    def check(call, rng):
        values = [np.asarray(v) for v in call.draw(rng)]
        wants = applied(row, method, call)(*values)
        runs(row, call, applied(row, method, call), values, wants, NUMPY)
