"""Samples of special functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import special

from backend_double import DoubleBackend
from samples.table import (
    ABOVE_MINUS_ONE,
    NONZERO,
    POSITIVE,
    REAL,
    SAMPLES,
    SMALL,
    UNIT,
    Call,
    Domain,
    Operand,
    Samples,
    broadcasting,
    dtypes_of,
    entrywise,
    shapes,
)

PROBABILITY = Domain(((0.1, 0.9),), (0, 1))
INNER = Domain(((0.1, 0.9),), (0,))
ORDER = Domain(((0, 3),), (0, 1, 2, 3), kinds="?bl")
FIRST = Domain(((1, 3),), (1, 2, 3), kinds="bl")
ABOVE_TWO = Domain(((2.2, 4),), (2, 3, 4))
SHAPE = Domain(((0.4, 3), (27, 30)), (1, 2, 3))
NOT_A_POLE = Domain(((-1.7, -1.3), (0.3, 2.5)), (1, 2, 3))
WIDTH = Domain(((0.4, 0.6), (1.5, 1.7)), (1, 2))
RESIDUAL = Domain(((-1.2, -0.9), (0.7, 1.1)), (-3, 0, 3))


def _only(function: Any, *kinds: str) -> Any:
    """A function of operands of these kinds (the last one says it of the rest)."""

    def checked(*operands: Any) -> Any:
        for i, x in enumerate(operands):
            if np.result_type(x).kind not in kinds[min(i, len(kinds) - 1)]:
                raise TypeError("not an operand of this function")
        return function(*operands)

    return checked


def _of_reals(function: Any) -> Any:
    """A function that has all derivatives here at real numbers alone."""
    return _only(function, "biuf")


def _row(name: str, *domains: Domain, **known: Any) -> None:
    """A function of SciPy's."""
    known = {"reference": getattr(special, name, None), **known}
    known.setdefault("smooth", range(len(domains)))
    known.setdefault("host_only", not hasattr(DoubleBackend.special, name))
    entrywise(name, *domains, **known)


for _name, _domain in {
    **dict.fromkeys(("erf", "erfc", "erfcx", "erfi", "dawsn"), SMALL),
    **dict.fromkeys(("ndtr", "log_ndtr"), REAL),
    **dict.fromkeys(("expi", "exp1", "spence"), POSITIVE),
}.items():
    _row(_name, _domain, analytic=_name in ("erf", "erfi", "ndtr"))
_row("erfinv", UNIT)
_row("erfcinv", Domain(((0.2, 1.8),), (1,)))
_row("ndtri", PROBABILITY)
_row("ndtri_exp", Domain(((-3, -0.1),), (-3, -2, -1)))
_row("owens_t", REAL, REAL)

for _name in ("expit", "log_expit", "exprel", "cosm1", "exp10", "sindg", "cosdg"):
    _row(_name, REAL)
_row("logit", PROBABILITY)
for _name in ("tandg", "cotdg"):
    _row(_name, Domain(((20, 70),), (30, 60)))
_row("boxcox", POSITIVE, REAL)
_row("boxcox1p", ABOVE_MINUS_ONE, REAL)
for _name in ("inv_boxcox", "inv_boxcox1p"):
    _row(_name, Domain(((0.1, 0.9),), (0, 1)), Domain(((-0.9, 1.5),), (0, 1)))

for _name in ("xlogy", "xlog1py"):
    _row(_name, REAL, POSITIVE, analytic=True)
_row("entr", POSITIVE)
for _name in ("rel_entr", "kl_div"):
    _row(_name, POSITIVE, POSITIVE)
for _name in ("huber", "pseudo_huber"):
    _row(_name, WIDTH, RESIDUAL)

_row("loggamma", POSITIVE, reference=_of_reals(special.loggamma))
for _name in ("gamma", "gammaln", "rgamma", "psi"):
    _row(_name, NOT_A_POLE, reference=_of_reals(getattr(special, _name)))
_row("gammasgn", NOT_A_POLE, smooth=())
_row("polygamma", ORDER, NOT_A_POLE, smooth=(1,))
for _name in ("beta", "betaln"):
    _row(_name, SHAPE, SHAPE)


@st.composite
def _multigammaln_calls(draw: Any, dtypes: str) -> Call:
    kind = draw(dtypes_of("bilefd", dtypes))
    operand = Operand(draw(shapes()), kind, ABOVE_TWO)
    return Call((operand,), {"d": draw(st.integers(1, 3))})


SAMPLES["multigammaln"] = Samples(
    _multigammaln_calls,
    special.multigammaln,
    smooth=(0,),
    host_only=not hasattr(DoubleBackend.special, "multigammaln"),
)

for _name in ("gammainc", "gammaincc"):
    _row(_name, SHAPE, SHAPE)
for _name in ("betainc", "betaincc"):
    _row(_name, SHAPE, SHAPE, INNER)
for _name in ("gammaincinv", "gammainccinv"):
    _row(_name, SHAPE, INNER, reference=_only(getattr(special, _name), "biuf", "f"))
for _name in ("betaincinv", "betainccinv"):
    _reference = _only(getattr(special, _name), "biuf", "biuf", "f")
    _row(_name, SHAPE, SHAPE, INNER, reference=_reference)
_row("stdtr", SHAPE, NONZERO)


def _cast(formula: Any, like: Any) -> Any:
    """A formula in double precision with the dtypes of a function of SciPy's."""

    def rounded(*operands: Any, **params: Any) -> Any:
        wide = [np.asarray(x, np.float64) for x in operands]
        return np.asarray(formula(*wide, **params)).astype(like(*operands).dtype)

    return rounded


_row(
    "gamma_density",
    SHAPE,
    POSITIVE,
    reference=_cast(
        lambda a, x: x ** (a - 1) * np.exp(-x) / special.gamma(a), special.gammainc
    ),
    host_only=False,
)
_row(
    "beta_density",
    SHAPE,
    SHAPE,
    INNER,
    reference=_only(
        _cast(
            lambda a, b, x: x ** (a - 1) * (1 - x) ** (b - 1) / special.beta(a, b),
            special.betainc,
        ),
        "biuf",
        "biuf",
        "f",
    ),
    host_only=False,
)


def _shape_calls(inner: Domain, **params: Any) -> Any:
    """Shapes a (and b), a point x, and the orders of the derivatives."""

    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        kinds = [draw(dtypes_of("fd", dtypes)) for _ in range(3)]
        several = 3 if "orders" in params else 2
        parts = zip(draw(broadcasting(several)), kinds, strict=False)
        operands = [Operand(shape, kind, SHAPE) for shape, kind in parts]
        operands[-1] = operands[-1]._replace(domain=inner)
        chosen = {k: draw(st.sampled_from(v)) for k, v in params.items()}
        return Call(tuple(operands), chosen)

    return calls


_EDGES = 120 * (np.arange(41) / 40) ** 3
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_U = (_EDGES[:-1, None] + np.diff(_EDGES)[:, None] * (_NODES + 1) / 2).ravel()
_W = (np.diff(_EDGES)[:, None] * _WEIGHTS / 2).ravel()


def _integral(f: Any, *operands: Any) -> Any:
    """Integral from 0 to the last operand, by Gauss's rule in u where t = x e^-u."""
    *shapes, x = [v[..., None] for v in np.broadcast_arrays(*operands)]
    t = x * np.exp(-_U)
    return np.sum(_W * t * f(*shapes, t), axis=-1)


def _gammainc_shape(a: Any, x: Any, order: int) -> Any:
    def slope(a: Any, t: Any) -> Any:
        density = t ** (a - 1) * np.exp(-t) / special.gamma(a)
        first = np.log(t) - special.psi(a)
        return density * (first if order == 1 else first**2 - special.polygamma(1, a))

    return _integral(slope, a, x)


def _betainc_shape(a: Any, b: Any, x: Any, orders: Any) -> Any:
    def slope(a: Any, b: Any, t: Any) -> Any:
        density = t ** (a - 1) * (1 - t) ** (b - 1) / special.beta(a, b)
        total = special.psi(a + b)
        first = {
            0: np.log(t) + total - special.psi(a),
            1: np.log1p(-t) + total - special.psi(b),
        }
        which = (0,) * orders[0] + (1,) * orders[1]
        if len(which) == 1:
            return density * first[which[0]]
        second = special.polygamma(1, a + b)
        if which[0] == which[1]:
            second = second - special.polygamma(1, (a, b)[which[0]])
        return density * (first[which[0]] * first[which[1]] + second)

    return _integral(slope, a, b, x)


SAMPLES["gammainc_shape"] = Samples(
    _shape_calls(POSITIVE, order=(1, 2)),
    _cast(_gammainc_shape, special.gammainc),
    smooth=(1,),
)
SAMPLES["betainc_shape"] = Samples(
    _shape_calls(INNER, orders=((1, 0), (0, 1), (2, 0), (1, 1), (0, 2))),
    _cast(_betainc_shape, special.betainc),
    smooth=(2,),
)

for _name in ("j0", "j1", "i0", "i1"):
    _row(_name, REAL)
for _name in ("i0e", "i1e"):
    _row(_name, NONZERO)
for _name in ("y0", "y1", "k0", "k1", "k0e", "k1e"):
    _row(_name, POSITIVE)
for _name in ("jv", "iv", "yv", "kv", "kve"):
    _row(_name, ORDER, POSITIVE, smooth=(1,))
_row("ive", ORDER, POSITIVE, smooth=(1,), reference=_of_reals(special.ive))
for _name in ("yn", "kn"):
    _row(_name, Domain((), (0, 1, 2, 3), kinds="bl"), POSITIVE, smooth=(1,))
_row("expn", Domain((), (0, 1, 2, 3), kinds="bl"), POSITIVE, smooth=(1,))
_row("hyp0f1", POSITIVE, UNIT, smooth=(1,))
_row("hyp1f1", POSITIVE, POSITIVE, UNIT, smooth=(2,))
_row(
    "hyp2f1",
    *(3 * [POSITIVE]),
    UNIT,
    smooth=(3,),
    # SciPy's is accurate to 1e-8 at complex numbers
    reference=_of_reals(special.hyp2f1),
)
for _name in ("ellipk", "ellipe"):
    _row(_name, UNIT)
_row("zeta", ABOVE_TWO, POSITIVE, reference=_only(special.zeta, "iuf", "biuf"))
_row(
    "riemann_zeta",
    Domain(((-2.5, -1.2), (0.2, 0.7), (1.5, 3)), (2, 3)),
    reference=_of_reals(special.zeta),
)
_row(
    "lambertw",
    Domain(((0.4, 2.5),), (1, 2, 3)),
    Domain(((0, 1),), (-1, 0, 1), kinds="l"),
    Domain(((1e-9, 1e-8),), (1,), kinds="d"),
    smooth=(0,),
)

for _name, _domain in {
    **dict.fromkeys(("sici", "shichi"), POSITIVE),
    "fresnel": SMALL,
    "airy": REAL,
}.items():
    _row(_name, _domain)
