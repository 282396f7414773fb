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
from samples.factorization import Diagonalisable, Hermitian, Rectangular
from samples.linalg import Dominant
from samples.table import EVERY_DTYPE, REAL, Call, Matrices, Operand

pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning"),
]


UNDEFINED = {"empty_like"}
"""Functions whose results may hold anything."""


def _over_nothing(call: Call) -> bool:
    return any(0 in x.shape for x in call.operands)


def _over_several(call: Call) -> bool:
    of_nothing = any(0 in x.shape for x in call.operands[1:])
    several = type(call.params.get("axis")) is tuple
    return of_nothing or (several and _over_nothing(call))


def _by_slices(call: Call) -> bool:
    weighted = "q" in call.params and len(call.operands) == 2
    differ = weighted and call.operands[0].shape != call.operands[1].shape
    return differ or _over_nothing(call)


ACCIDENTS: dict[str, Callable[[Call], bool]] = {
    # NumPy does not roll along no axes
    "fft.fftshift": lambda call: call.operands[0].shape == (),
    "fft.ifftshift": lambda call: call.operands[0].shape == (),
    # the covariance of more coefficients than there are points is rounding errors
    "polyfit": lambda call: (
        "cov" in call.params
        and call.params["deg"] >= min(call.operands[0].shape, default=0)
    ),
    # the length depends on zeros in front, which a program does not know
    "polymul": lambda call: not any(x.is_inexact for x in call.operands),
    # LAPACK's wrapper makes up the axes that are missing
    "scipy.linalg.lu_factor": lambda call: len(call.operands[0].shape) < 2,
    # the same; and SciPy looks at nothing where there are no columns, nor at ``trans``
    "scipy.linalg.lu_solve": lambda call: (
        len(call.operands[0].shape) < 2
        or 0 in call.operands[1].shape
        or call.params.get("trans", 0) not in (0, 1, 2)
    ),
    # LAPACK refuses to have no columns
    "scipy.linalg.lstsq": lambda call: 0 in call.operands[1].shape[1:],
    "scipy.linalg.solve_triangular": lambda call: (
        call.params.get("trans", 0) not in (0, 1, 2, "T")
    ),
    # SciPy asks a stack of right-hand sides for its only number
    "scipy.linalg.solve": lambda call: (
        np.prod(call.operands[0].shape) == 1 and len(call.operands[1].shape) > 2
    ),
    # of an empty matrix SciPy returns memory as it finds it, and multiplies by a number
    "scipy.linalg.solve_sylvester": lambda call: any(
        0 in x.shape or len(x.shape) < 2 for x in call.operands
    ),
    # of a number SciPy returns the exponential
    "scipy.linalg.sqrtm": lambda call: len(call.operands[0].shape) < 2,
    # over nothing SciPy fails at its own indices, or says that zero is negative
    "scipy.special.logsumexp": _over_nothing,
    # SciPy takes negative dimensions, of which there is no such function
    "scipy.special.multigammaln": lambda call: call.params["d"] < 1,
    # NumPy divides the sizes of the array and of the result
    "average": _over_nothing,
    # NumPy fails to flatten several axes where others are empty, and to find the least
    # of no quantiles
    **dict.fromkeys(("median", "nanmedian", "quantile", "percentile"), _over_several),
    # of no entries NumPy gives one quantile whatever q is, and it gives each slice all
    # the weights of an axis
    **dict.fromkeys(("nanquantile", "nanpercentile"), _by_slices),
}
"""Calls of which the library's outcome is an accident of its implementation."""


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
    domain = operand.domain if _fits(operand, shape) else REAL
    operands[i] = Operand(shape, operand.dtype, domain)
    return call._replace(operands=tuple(operands))


def _fits(operand: Operand, shape: tuple[int, ...]) -> bool:
    """Whether there are matrices of that shape that are as far from singular ones."""
    matrices = (Matrices, Hermitian, Rectangular, Diagonalisable, Dominant)
    same_matrix = len(shape) >= 2 and shape[-2:] == operand.shape[-2:]
    return same_matrix and isinstance(operand.domain, matrices)


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

        assume(row.name not in ACCIDENTS or not ACCIDENTS[row.name](call))
        wants, refused = outcome(lambda: apply(row.plain, values))
        if wants is not None and any(np.result_type(y).kind == "O" for y in wants):
            return
        assume(not row.concrete or any(x.dtype.kind in "fc" for x in values))
        results, error = outcome(lambda: traced(row, apply, values))
        if refused is not None and all(x.dtype.kind not in "fc" for x in values):
            # a program, which is written down without values, cannot complain of them
            for make in (np.zeros_like, np.ones_like):
                others = [make(x) for x in values]
                if outcome(functools.partial(apply, row.plain, others))[1] is None:
                    return
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

    What NumPy stumbles over in the middle of its own Python code, and what the wrapper
    of LAPACK does not take, is a malformed argument all the same.
    """
    if type(error) in (IndexError, ZeroDivisionError, UnboundLocalError):
        return IndexError, ValueError, ZeroDivisionError
    if type(error).__module__ == "_flapack":
        return (ValueError,)
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
