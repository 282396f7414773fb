"""Calls of SciPy's special functions."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from scipy import special

import funcad.scipy
from backend_double import DoubleBackend
from functions.table import axes_or_none, of_one, of_several, row, some
from samples import SAMPLES
from samples.table import (
    NONZERO,
    POSITIVE,
    REAL,
    UNIT,
    Call,
    Domain,
    Operand,
    broadcasting,
    dtypes_of,
    entrywise_calls,
    shapes,
)

REAL_KINDS = "bilefd"


_OTHERS = (
    *("polygamma", "zeta", "multigammaln", "lambertw"),
    *("expm1", "log1p", "exp2", "cbrt", "sinc"),
    *("softmax", "logsumexp"),
)


def _plain(draw: Any) -> Any:
    return draw(shapes()), {}


def _lacks(name: str) -> bool:
    """Whether CuPy has no function of that name."""
    return not hasattr(DoubleBackend.special, name)


# Those that are primitives are called as the table of samples calls them.
for _name in funcad.scipy.special.__all__:
    if _name in SAMPLES and _name not in _OTHERS and not _name.startswith("hyp"):
        _sample = SAMPLES[_name]
        row(
            f"scipy.special.{_name}",
            _sample.calls,
            smooth=tuple(_sample.smooth),
            host_only=_sample.host_only,
        )

# whose parameters have no derivatives
_PARAMETER = Domain((), (1, 2, 3), kinds="l")
for _name, _count in {"hyp0f1": 1, "hyp1f1": 2, "hyp2f1": 3}.items():
    row(
        f"scipy.special.{_name}",
        entrywise_calls(getattr(special, _name), *(_count * [_PARAMETER]), UNIT),
        smooth=(_count,),
        host_only=True,
    )
row(
    "scipy.special.digamma",
    of_one(_plain, "bilefd", POSITIVE),
)
for _name, _domain in {"expm1": REAL, "exp2": REAL, "cbrt": NONZERO}.items():
    row(f"scipy.special.{_name}", of_one(_plain, REAL_KINDS, _domain))
row("scipy.special.log1p", of_one(_plain, "bilefdFD", POSITIVE))
row(
    "scipy.special.factorial",
    # SciPy has other dtypes where there are none, and for scalars
    of_one(lambda draw: (draw(shapes(1, sizes=(2, 3, 1))), {}), "ilfd", POSITIVE),
    host_only=True,
)


def _polygamma(f: Any, x: Any, n: int) -> Any:
    return f(n, x)


row(
    "scipy.special.polygamma",
    of_one(
        lambda draw: (draw(shapes()), {"n": draw(st.integers(0, 3))}),
        REAL_KINDS,
        POSITIVE,
    ),
    apply=_polygamma,
)
row(
    "scipy.special.multigammaln",
    of_one(
        lambda draw: (draw(shapes()), {"d": draw(st.integers(1, 3))}),
        "ilefd",
        Domain(((1.2, 4),), (2, 3)),
    ),
    host_only=_lacks("multigammaln"),
)
row(
    "scipy.special.zeta",
    of_several(Domain(((1.2, 4),), (2, 3)), POSITIVE, kinds="ilefd"),
)
row(
    "scipy.special.zeta",
    of_one(_plain, "ilefd", Domain(((-2.5, -1.1), (-0.9, 0.8), (1.2, 4)), (2, 3))),
    host_only=True,
)
row(
    "scipy.special.lambertw",
    of_one(
        lambda draw: (draw(shapes()), some(draw, k=(0, 1, -1))),
        "bilefdFD",
        POSITIVE,
    ),
    host_only=_lacks("lambertw"),
)


def _along(draw: Any) -> Any:
    shape = draw(shapes(sizes=(2, 3, 1)))
    return shape, some(draw, axis=axes_or_none(len(shape)))


for _name in ("softmax", "log_softmax"):
    row(f"scipy.special.{_name}", of_one(_along, "ilefdD"))


def _sums(draw: Any) -> Any:
    shape, params = _along(draw)
    chosen = some(draw, keepdims=st.booleans(), return_sign=st.booleans())
    return shape, params | chosen


row("scipy.special.logsumexp", of_one(_sums, "ilefdD"))


@st.composite
def _weighted(draw: Any, dtypes: str) -> Call:
    a, b = draw(broadcasting(2, draw(shapes(sizes=(2, 3, 1)))))
    rank = max(len(a), len(b))
    params = some(
        draw,
        axis=axes_or_none(rank),
        keepdims=st.booleans(),
        return_sign=st.booleans(),
    )
    kinds = [draw(dtypes_of("fd", dtypes)) for _ in range(2)]
    signs = POSITIVE if draw(st.booleans()) else NONZERO
    if not params.get("return_sign"):
        signs = POSITIVE
    return Call((Operand(a, kinds[0], REAL), Operand(b, kinds[1], signs)), params)


row(
    "scipy.special.logsumexp",
    _weighted,
    apply=lambda f, a, b, **params: f(a, b=b, **params),
)
