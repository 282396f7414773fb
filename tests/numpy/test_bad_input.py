"""Malformed arguments: tracers raise what NumPy and SciPy raise for the same call.

Calls from the table of functions are spoilt, and the outcome of the library's own
function on plain arrays is compared with that on tracers.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

import funcad
from agreement import same
from funcad import tree
from funcad.numpy.dispatch import FUNCTIONS, PRIMITIVES
from functions import ROWS
from functions.table import Row
from properties import for_all, generators
from samples.table import EVERY_DTYPE, Call, Operand

pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning"),
]


UNDEFINED = {"empty_like"}
"""Functions whose results may hold anything."""


@st.composite
def spoilt_calls(draw: Any, row: Row) -> Call:
    """A call in which a shape or a parameter has been changed for the worse."""
    call = draw(row.calls(EVERY_DTYPE))
    whole = [k for k, v in call.params.items() if type(v) is int]
    kinds = ["shape"] * bool(call.operands) + ["parameter"] * bool(whole)
    assume(kinds)
    if draw(st.sampled_from(kinds)) == "parameter":
        name = draw(st.sampled_from(whole))
        value = draw(st.sampled_from([-17, -5, -1, 4, 9]))
        return call._replace(params=call.params | {name: value})
    i = draw(st.integers(0, len(call.operands) - 1))
    operand = call.operands[i]
    assume(not operand.is_number)
    shape = draw(st.sampled_from(_other_shapes(operand.shape)))
    operands = list(call.operands)
    operands[i] = Operand(shape, operand.dtype)
    return call._replace(operands=tuple(operands))


def _other_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    others: list[tuple[int, ...]] = [(*shape, 5), (5, *shape), ()]
    if shape:
        others += [shape[:-1], shape[1:], (*shape[:-1], 0), (*shape[:-1], 7)]
    return others


def outcome(run: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Results of a call, or its error."""
    try:
        return tree.leaves(run()), None
    except Exception as error:
        return None, error


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_malformed_arguments_have_the_outcome_that_the_library_gives(row):
    @for_all(spoilt_calls(row), generators(), share=0.15)
    def check(call, rng):
        values = [np.asarray(v) for v in call.draw(rng)]

        def apply(function: Callable[..., Any], xs: Any) -> Any:
            return row.apply(function, *xs, **call.params)

        wants, refused = outcome(lambda: apply(row.plain, values))
        if wants is not None and any(np.result_type(y).kind == "O" for y in wants):
            return
        assume(not row.concrete or any(x.dtype.kind in "fc" for x in values))
        results, error = outcome(lambda: traced(row, apply, values))
        if error is None and all(x.dtype.kind not in "fc" for x in values):
            # a program, which is written down without values, cannot complain of them
            zeros = [np.zeros_like(x) for x in values]
            _, refused = outcome(lambda: apply(row.plain, zeros))
        if refused is None:
            assert error is None, f"{error!r} where the library gives {wants}"
            if row.name not in UNDEFINED:
                same(row, results, wants, values)
        else:
            assert error is not None, f"{results} where the library raises {refused!r}"
            assert isinstance(error, _meant(refused)), (
                f"{error!r} where the library raises {refused!r}"
            )


def traced(row: Row, apply: Callable[..., Any], values: list[Any]) -> list[Any]:
    """What comes out of tracers: those of jvp, or of a program for want of floats."""
    free = [i for i, x in enumerate(values) if x.dtype.kind in "fc"]

    def of_some(chosen: list[int]) -> Callable[..., Any]:
        def function(*xs: Any) -> Any:
            full = list(values)
            for i, x in zip(chosen, xs, strict=True):
                full[i] = x
            return tree.leaves(apply(row.ours, full))

        return function

    if free:
        primals = [values[i] for i in free]
        zeros = [np.zeros_like(x) for x in primals]
        return funcad.jvp(of_some(free), primals, zeros)[0]
    program = funcad.make_program(of_some(list(range(len(values)))))(*values)
    return program.evaluate(values)


def _meant(error: Exception) -> tuple[type[Exception], ...]:
    """The types of error that say what this one says.

    What NumPy stumbles over in the middle of its own Python code is a malformed
    argument all the same.
    """
    if type(error) in (IndexError, ZeroDivisionError, UnboundLocalError):
        return IndexError, ValueError, ZeroDivisionError
    return (type(error),)


# ------------------------------------------------- arguments that cannot be honoured

UFUNCS = sorted(
    {u for u in [*PRIMITIVES, *FUNCTIONS] if isinstance(u, np.ufunc)}, key=str
)
REFUSED = {
    "out": np.empty(3),
    "where": np.array([True, False, True]),
    "order": "F",
    "casting": "unsafe",
    "dtype": np.dtype(np.float64),
    "subok": False,
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda u: u.__name__)
def test_keyword_of_a_ufunc_that_cannot_be_honoured_is_named(ufunc, name):
    value = REFUSED[name]
    if name == "out" and ufunc.nout > 1:
        value = (value,) * ufunc.nout

    def call(x: Any) -> Any:
        return ufunc(*[x] * ufunc.nin, **{name: value})

    with pytest.raises(TypeError, match=rf"{ufunc.__name__}.*\b{name}\b"):
        funcad.jvp(call, (np.ones(3),), (np.ones(3),))


def _takes_out(function: Any) -> bool:
    return "out" in inspect.signature(function).parameters


WITH_OUT = [row for row in ROWS if row.plain in FUNCTIONS]
WITH_OUT = [r for r in WITH_OUT if not isinstance(r.plain, np.ufunc)]
WITH_OUT = [r for r in WITH_OUT if _takes_out(r.plain)]


@pytest.mark.parametrize("row", WITH_OUT, ids=[row.name for row in WITH_OUT])
def test_out_is_refused_by_name(row):
    @for_all(row.calls(EVERY_DTYPE), generators(), share=0.1)
    def check(call, rng):
        free = [i for i, op in enumerate(call.operands) if op.is_inexact]
        assume(free)
        values = call.draw(rng)

        def with_out(*xs: Any) -> Any:
            full = list(values)
            for i, x in zip(free, xs, strict=True):
                full[i] = x
            function = functools.partial(row.plain, out=np.empty(1))
            return row.apply(function, *full, **call.params)

        primals = [values[i] for i in free]
        with pytest.raises(TypeError, match="out="):
            funcad.jvp(with_out, primals, primals)
