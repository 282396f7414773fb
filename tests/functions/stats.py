"""Calls of the distributions of ``scipy.stats``."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import funcad.scipy
from functions.table import row
from samples.table import (
    NONZERO,
    POSITIVE,
    REAL,
    Call,
    Domain,
    Matrices,
    Operand,
    broadcasting,
    dtypes_of,
    shapes,
)

SHIFT = Domain(((-0.3, 0.2),), (0,))
WIDTH = Domain(((0.9, 1.2),), (1,))
INNER = Domain(((0.35, 0.6),), ())
FRACTION = Domain(((0.2, 0.8),), ())
ABOVE = Domain(((1.7, 3),), (2, 3))
COUNT = Domain((), (0, 1, 2, 3), kinds="l")
NONE = Domain((), (0,), kinds="l")
MANY = Domain((), (3, 4, 5), kinds="l")

# where x lies, and the domains of the shape parameters
_CONTINUOUS: dict[str, Any] = {
    **dict.fromkeys(("norm", "logistic", "cauchy", "gumbel_l", "gumbel_r"), (REAL,)),
    "laplace": (NONZERO,),
    "t": (NONZERO, POSITIVE),
    **dict.fromkeys(("expon", "halfnorm", "rayleigh"), (ABOVE,)),
    **dict.fromkeys(("gamma", "chi2", "lognorm", "weibull_min"), (ABOVE, POSITIVE)),
    "uniform": (INNER,),
    "beta": (INNER, POSITIVE, POSITIVE),
    "pareto": (ABOVE, POSITIVE),
}
_DISCRETE: dict[str, Any] = {
    "poisson": (COUNT, POSITIVE),
    "bernoulli": (Domain((), (0, 1), kinds="l"), FRACTION),
    "binom": (COUNT, MANY, FRACTION),
    "geom": (Domain((), (1, 2, 3), kinds="l"), FRACTION),
}
_HOST_ONLY = ("t.cdf", "t.sf", "beta.sf", "gamma.isf", "chi2.isf")
_LABELS = (
    *("logpdf", "pdf", "logpmf", "pmf", "cdf", "sf", "logcdf", "logsf", "ppf", "isf"),
)


def _shifted(name: str, domains: Any, label: str) -> Any:
    """Arguments in order; loc near zero and scale near one keep x in the support."""
    first, *parameters = domains
    if label in ("ppf", "isf"):
        first = FRACTION
    if name == "laplace" and label not in ("ppf", "isf"):
        parameters = [*parameters, Domain(((-0.3, 0.2),), (0,)), WIDTH]
    elif name in _DISCRETE:
        parameters = [*parameters, NONE]
    else:
        parameters = [*parameters, SHIFT, WIDTH]
    return of_several_kinds(first, *parameters)


def of_several_kinds(*domains: Domain) -> Any:
    """Calls with arrays that broadcast; domains without intervals are of integers."""

    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        operands = []
        for shape, domain in zip(
            draw(broadcasting(len(domains))), domains, strict=True
        ):
            kinds = domain.kinds or ("lfd" if domain.integers else "fd")
            allowed = kinds if domain.kinds else dtypes
            operands.append(Operand(shape, draw(dtypes_of(kinds, allowed)), domain))
        return Call(tuple(operands), {})

    return calls


for _name, _domains in (_CONTINUOUS | _DISCRETE).items():
    for _label in _LABELS:
        if hasattr(getattr(funcad.scipy.stats, _name), _label):
            row(
                f"scipy.stats.{_name}.{_label}",
                _shifted(_name, _domains, _label),
                tolerance=1e-11,
                # CuPy lacks what these are made of
                host_only=f"{_name}.{_label}" in _HOST_ONLY,
                # densities are exponentials of what is tested, and the others are
                # special functions that have tests of their own
                order=2 if _label in ("logpdf", "logpmf") else 1,
            )


@st.composite
def _by_keyword(draw: Any, dtypes: str) -> Call:
    x, scale, a = draw(broadcasting(3))
    kinds = [draw(dtypes_of("fd", dtypes)) for _ in range(3)]
    domains = (ABOVE, WIDTH, POSITIVE)
    parts = zip((x, scale, a), kinds, domains, strict=True)
    return Call(tuple(Operand(*part) for part in parts), {})


row(
    "scipy.stats.gamma.logpdf",
    _by_keyword,
    apply=lambda f, x, scale, a: f(x, scale=scale, a=a),
    tolerance=1e-11,
)


@st.composite
def _normal_calls(draw: Any, dtypes: str) -> Call:
    n = draw(st.sampled_from((1, 2, 3)))
    lead = draw(shapes(max_rank=2, sizes=(2, 3, 1)))
    kind = draw(dtypes_of("fd", dtypes))
    form = draw(st.sampled_from(("matrix", "diagonal", "number")))
    shape = {"matrix": (n, n), "diagonal": (n,), "number": ()}[form]
    cov = Operand(shape, kind, Matrices(positive=True) if form == "matrix" else WIDTH)
    return Call((Operand((*lead, n), kind), Operand((n,), kind), cov), {})


for _label in ("logpdf", "pdf"):
    row(f"scipy.stats.multivariate_normal.{_label}", _normal_calls, tolerance=1e-11)


def _fractions(f: Any, x: Any, alpha: Any) -> Any:
    """Of the fractions, the last is left out."""
    return f(x / (1 + np.sum(x, axis=0)), alpha)


@st.composite
def _dirichlet_calls(draw: Any, dtypes: str) -> Call:
    n = draw(st.sampled_from((1, 2, 3)))
    rest = draw(st.sampled_from(((), (2,), (1,))))
    kinds = [draw(dtypes_of("d", dtypes)) for _ in range(2)]
    x, alpha = (n, *rest), (n + 1,)
    return Call(
        (Operand(x, kinds[0], POSITIVE), Operand(alpha, kinds[1], POSITIVE)), {}
    )


for _label in ("logpdf", "pdf"):
    row(
        f"scipy.stats.dirichlet.{_label}",
        _dirichlet_calls,
        apply=_fractions,
        tolerance=1e-11,
    )
