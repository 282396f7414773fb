"""Calls of reductions."""

from hypothesis import strategies as st

from functions.table import axes_or_none, of_one, row, some
from samples.table import shapes


def _reduction(draw):
    shape = draw(shapes())
    return shape, some(draw, axis=axes_or_none(len(shape)), keepdims=st.booleans())


row("sum", of_one(_reduction), method="sum")
