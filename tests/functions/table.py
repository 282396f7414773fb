"""What rows of the table of functions are made of.

A row is a function's name and a strategy for calls of it.  Names are NumPy's, without
the module (``"median"``, ``"linalg.norm"``, ``"fft.fft"``), or SciPy's in full
(``"scipy.special.erf"``).  A call holds operands, which are the arrays that transforms
trace, and parameters, which are passed by keyword and stay as they are::

    row("clip", of_one(lambda draw: (draw(shapes()), {"a_min": -0.5, "a_max": 0.5})))

Where arguments are not simply operands and then keywords, ``apply`` says how they are
passed (``lambda f, *xs, **params: f(list(xs), **params)`` for ``np.stack``).  Values
keep away from kinks and singularities; those have tests of their own.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Container
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

import funcad.numpy
import funcad.scipy
from samples.table import (
    EVERY,
    EVERY_DTYPE,
    REAL,
    Call,
    Calls,
    Domain,
    Operand,
    Shape,
    broadcasting,
    dtypes_of,
)


def plainly(f: Callable[..., Any], *operands: Any, **params: Any) -> Any:
    """Operands in order, parameters by keyword."""
    return f(*operands, **params)


class Row(NamedTuple):
    """A function and calls of it.

    Parameters
    ----------
    name : str
        NumPy's or SciPy's name.
    calls : callable
        ``calls(dtypes)``, a strategy for calls with arrays of these dtypes.
    apply : callable
        ``apply(f, *operands, **params)`` calls the function.
    smooth : container of int
        Operands in which there is a derivative.
    method : str
        Name of the array method that does the same, called as
        ``x.method(*others, **params)`` on the first operand.
    concrete : bool
        Whether the form of the result depends on values, so that only the transforms
        that know them (``jvp``, ``vjp`` and their kin) can go through.
    order : int
        Up to which order derivatives are checked, at most 2.
    tolerance : float
        Relative and absolute, of values in double precision; 1e-12 unless the result
        is found by another way than NumPy's.
    host_only : bool
        Whether CuPy lacks it, so that an error is what is expected there.
    by_protocol : bool
        Whether NumPy's own function finds funcad when it is given a tracer, as all do
        but those that make arrays.
    """

    name: str
    calls: Calls
    apply: Callable[..., Any] = plainly
    smooth: Container[int] = EVERY
    method: str = ""
    concrete: bool = False
    order: int = 2
    tolerance: float = 1e-12
    host_only: bool = False
    by_protocol: bool = True

    @property
    def plain(self) -> Callable[..., Any]:
        """The library's own function."""
        import scipy.linalg
        import scipy.special
        import scipy.stats

        root, path = (scipy, self.name[6:]) if self._is_scipys else (np, self.name)
        return operator.attrgetter(path)(root)

    @property
    def ours(self) -> Callable[..., Any]:
        """What funcad has under the same name."""
        if self._is_scipys:
            return operator.attrgetter(self.name[6:])(funcad.scipy)
        return operator.attrgetter(self.name)(funcad.numpy)

    @property
    def dispatches(self) -> bool:
        """Whether the library's own function finds funcad when given a tracer."""
        if self._is_scipys:
            return isinstance(self.plain, np.ufunc)
        return self.by_protocol

    @property
    def _is_scipys(self) -> bool:
        return self.name.startswith("scipy.")


ROWS: list[Row] = []


def row(name: str, calls: Calls, **known: Any) -> None:
    """Add a row to the table; a function may have several."""
    ROWS.append(Row(name, calls, **known))


def of_one(
    form: Callable[..., tuple[Shape, dict[str, Any]]],
    kinds: str = EVERY_DTYPE,
    domain: Any = REAL,
) -> Calls:
    """Calls with one array; ``form(draw)`` gives its shape and the parameters."""

    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        shape, params = form(draw)
        return Call(
            (Operand(shape, draw(dtypes_of(kinds, dtypes)), domain),), dict(params)
        )

    return calls


def of_several(
    *domains: Domain,
    kinds: str = EVERY_DTYPE,
    params: Callable[..., dict[str, Any]] = lambda draw: {},
) -> Calls:
    """Calls with arrays that broadcast, a domain for each; ``params(draw)``."""

    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        operands = [
            Operand(shape, draw(dtypes_of(kinds, dtypes)), domain)
            for shape, domain in zip(
                draw(broadcasting(len(domains))), domains, strict=True
            )
        ]
        return Call(tuple(operands), params(draw))

    return calls


def some(draw: Any, **choices: Any) -> dict[str, Any]:
    """Keyword arguments, each left out or drawn (from a strategy, or a sequence)."""
    chosen = {}
    for name, values in choices.items():
        if draw(st.booleans()):
            strategy = (
                values
                if isinstance(values, st.SearchStrategy)
                else st.sampled_from(values)
            )
            chosen[name] = draw(strategy)
    return chosen


def axes_or_none(rank: int) -> st.SearchStrategy[Any]:
    """``axis`` of a reduction: an integer of either sign, a tuple, or ``None``."""
    if rank == 0:
        return st.sampled_from([None, ()])
    single = st.integers(-rank, rank - 1)
    several = st.lists(
        single, min_size=1, max_size=rank, unique_by=lambda a: a % rank
    ).map(tuple)
    return st.one_of(st.none(), single, several)
