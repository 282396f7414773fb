"""Samples of loops and branches."""

from __future__ import annotations

from typing import Any

import numpy as np

from funcad.core.tracing import Primitive, dtype_of, shape_of
from samples.calls import staged
from samples.table import (
    EVERY_DTYPE,
    NATURAL,
    SAMPLES,
    TRUTH,
    Call,
    Operand,
    Samples,
    dtypes_of,
    shapes,
    st,
)

INTEGER = np.dtype(np.int64)


@st.composite
def recurrences(draw: Any, dtypes: str) -> Call:
    """Factor, initial value and terms of a linear recurrence."""
    shape, dtype = draw(shapes()), draw(dtypes_of(EVERY_DTYPE, dtypes))
    stacked = (draw(st.integers(0, 3)), *shape)
    operands = [Operand(s, dtype) for s in (shape, shape, stacked)]
    return Call(tuple(operands), {"reverse": draw(st.booleans())})


def recurrence(w: Any, c: Any, x: Any) -> Any:
    """Linear in carry and input, with a residual that is the same in each step."""
    return c * w + x, x * np.cos(w) + c


def looped(w: Any, c: Any, xs: Any, reverse: bool) -> Any:
    y = recurrence(w, c, np.zeros(np.shape(c), np.result_type(c)))[1]
    ys = np.empty(np.shape(xs), np.result_type(y))
    for i in range(len(xs))[:: -1 if reverse else 1]:
        c, ys[i] = recurrence(w, c, xs[i])
    return c, ys


def call_scan(primitive: Primitive, w: Any, c: Any, xs: Any, reverse: bool) -> Any:
    slot = np.empty(shape_of(c), dtype_of(xs))
    return primitive(
        w,
        c,
        xs,
        body=staged(recurrence, w, c, slot),
        constants=1,
        carries=1,
        length=shape_of(xs)[0],
        reverse=reverse,
    )


SAMPLES["scan"] = Samples(
    recurrences,
    looped,
    smooth=(0, 1, 2),
    linear=lambda n: [(1, 2)],
    analytic=True,
    through=call_scan,
)


@st.composite
def choices(draw: Any, dtypes: str) -> Call:
    """An index and two operands of one shape and dtype."""
    shape, dtype = draw(shapes()), draw(dtypes_of(EVERY_DTYPE, dtypes))
    operand = Operand(shape, dtype)
    return Call((Operand((), INTEGER, TRUTH), operand, operand), {})


BRANCHES = (
    lambda x, y: (np.sin(x) * y, y),
    lambda x, y: (np.cos(x) * y, x * y),
)


def call_cond(primitive: Primitive, index: Any, x: Any, y: Any) -> Any:
    return primitive(index, x, y, branches=tuple(staged(f, x, y) for f in BRANCHES))


SAMPLES["cond"] = Samples(
    choices,
    lambda index, x, y: BRANCHES[int(index)](x, y),
    smooth=(1, 2),
    linear=lambda n: [(2,)],
    analytic=True,
    through=call_cond,
)


@st.composite
def countdowns(draw: Any, dtypes: str) -> Call:
    """A number of steps, a factor and an initial value."""
    shape, dtype = draw(shapes()), draw(dtypes_of(EVERY_DTYPE, dtypes))
    operand = Operand(shape, dtype)
    return Call((Operand((), INTEGER, NATURAL), operand, operand), {})


def countdown(w: Any, n: Any, x: Any) -> Any:
    return n - 1, w * x


def counted(n: Any, w: Any, x: Any) -> Any:
    while n > 0:
        n, x = countdown(w, n, x)
    return np.asarray(n), x


def call_while(primitive: Primitive, n: Any, w: Any, x: Any) -> Any:
    return primitive(
        w,
        n,
        x,
        condition=staged(lambda n, x: n > 0, n, x),
        body=staged(countdown, w, n, x),
        condition_constants=0,
        constants=1,
    )


# its derivative is tested in tests/lax: it has a forward mode alone
SAMPLES["while"] = Samples(countdowns, counted, inexact=False, through=call_while)
