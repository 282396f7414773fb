"""Special functions, entry by entry: SciPy's names, operands and dtypes.

A declaration names SciPy's function, whose twin in ``cupyx.scipy.special`` serves
CuPy's arrays, and the partial derivatives.  Their formulas are those of the NIST
Digital Library of Mathematical Functions (DLMF, https://dlmf.nist.gov), by section:

===============================================================  =====================
exponential integrals, sine and cosine integrals                 6.2
error functions, Dawson's and Fresnel's integrals                7.2, 7.10
gamma, beta, digamma, polygamma functions                        5.2, 5.12, 5.15
incomplete gamma and beta functions                              8.8, 8.17
Airy and Bessel functions                                        9.2, 10.6, 10.29
hypergeometric functions, elliptic integrals                     13.3, 15.5, 16.3, 19.4
zeta function, dilogarithm                                       25.11, 25.12
Lambert's function                                               4.13
===============================================================  =====================

Where such a formula subtracts what is nearly equal, a series takes its place:
derivatives are as accurate as the functions, for tiny and for huge operands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from funcad.backends import backend_of, namespace
from funcad.core.counting import SPECIAL, each_result
from funcad.core.errors import MissingRuleError, UnsupportedFunctionError
from funcad.core.tracing import (
    Array,
    Params,
    Primitive,
    bind,
    dtype_of,
    registry,
    shape_of,
)
from funcad.primitives.elementwise import (
    absolute,
    cos,
    cosh,
    elementwise,
    entrywise_abstract,
    exp,
    isinf,
    log,
    log1p,
    logical_and,
    logical_or,
    power,
    real,
    select,
    sign,
    sin,
    sinh,
    sqrt,
    weighted_sum,
)
from funcad.primitives.families import Rule
from funcad.primitives.shape import convert

_PI = math.pi
_SQRT_PI = math.sqrt(math.pi)
_SQRT_2PI = math.sqrt(2 * math.pi)


def library_function(name: str, *operands: Array) -> Callable[..., Any]:
    """SciPy's function of that name, or its twin in the library of the operands."""
    backend = backend_of(*operands)
    function = getattr(backend.special, name, None)
    if function is None:
        raise UnsupportedFunctionError(
            f"scipy.special.{name}: the special functions of {backend.name} lack it. "
            'Compute it on the host, with funcad.device_put(x, "cpu").'
        )
    return function  # type: ignore[no-any-return]


def special(name: str, *partials: Rule | None, impl: Rule | None = None) -> Primitive:
    """A function of SciPy's.

    Parameters
    ----------
    name : str
        Of the function and of the primitive.
    *partials : callable or None
        For each operand ``partial(ans, *operands)``, or ``None`` where the derivative
        is zero.
    impl : callable, optional
        The implementation, where it is not simply SciPy's function.
    """

    def scipys(*operands: Array) -> Array:
        return library_function(name, *operands)(*operands)

    jvp = _weighted(partials) if any(partials) else None
    return elementwise(name, impl or scipys, jvp=jvp, weight=SPECIAL)


def _weighted(partials: Sequence[Rule | None]) -> Rule:
    def jvp(ans: Array, primals: Any, tangents: Any, params: Params) -> Array | None:
        dtype = dtype_of(ans)
        operands = [_widened(x, dtype) for x in primals]
        terms: tuple[Array, ...] = ()
        for partial, t in zip(partials, tangents, strict=True):
            if partial is not None and t is not None:
                terms += (t, partial(ans, *operands, **params))
        if not terms:
            return None
        return bind(weighted_sum, terms, {"shape": shape_of(ans), "dtype": dtype})

    return jvp


def _widened(x: Array, dtype: Any) -> Array:
    """Half precision and integers as the floats that SciPy computes with."""
    own = getattr(x, "dtype", None)
    if own is None or (own.kind in "fc" and own.itemsize > 2):
        return x
    return convert(x, dtype=np.dtype(dtype.type(0).real.dtype))


def unknown(name: str, operand: str) -> Rule:
    """Partial derivative that is not implemented."""

    def partial(*operands: Array, **params: Any) -> NoReturn:
        raise MissingRuleError(
            f"scipy.special.{name} has no derivative with respect to {operand} here. "
            f"Hold it constant: funcad.stop_gradient({operand})."
        )

    return partial


def _beside(ans: Array, x: Array) -> Array:
    """A number of Python's as an array where the result lives."""
    return namespace(ans).asarray(x) if type(x) in (int, float) else x


def _real_only(name: str, partial: Rule) -> Rule:
    """A partial derivative that is known for real operands alone."""

    def checked(ans: Array, *operands: Array) -> Array:
        if dtype_of(ans).kind == "c":
            raise MissingRuleError(
                f"scipy.special.{name} has no derivative at complex numbers here. "
                "Take it of real ones."
            )
        return partial(ans, *operands)

    return checked


def _polynomial(x: Array, coefficients: Sequence[float]) -> Array:
    """Horner's scheme; the constant term comes first."""
    total: Array = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        total = c + x * total
    return total


def _either(
    condition: Array, x: Array, yes: Rule, no: Rule, ok: float, other: float
) -> Array:
    """``yes(x)`` where a condition holds and ``no(x)`` elsewhere.

    Each is computed at numbers of its own domain alone (``ok`` and ``other`` stand in
    for the rest), so that neither spoils the derivative of the other.
    """
    return select(
        condition, yes(select(condition, x, ok)), no(select(condition, other, x))
    )


# ----------------------------------------------------------------- error functions

_DOUBLE_FACTORIALS = [math.prod(range(1, 2 * k + 2, 2)) for k in range(15)]


def _erfcx_slope(ans: Array, x: Array) -> Array:
    """2 x erfcx(x) - 2 / sqrt(pi), which for large x is the series of DLMF 7.12.1."""
    far = real(x) > 10
    series = [(-0.5) ** k * f for k, f in enumerate(_DOUBLE_FACTORIALS)]

    def beyond(x: Array) -> Array:
        w = 1 / x
        return (-1 / _SQRT_PI) * w * w * _polynomial(w * w, series)

    return _either(
        far, x, beyond, lambda x: 2 * (x * ans) - 2 / _SQRT_PI, ok=11.0, other=0.0
    )


def _dawsn_slope(ans: Array, x: Array) -> Array:
    """1 - 2 x dawsn(x), which for large real x is a series as erfcx has."""

    def direct(x: Array) -> Array:
        return 1 - 2 * (x * ans)

    if dtype_of(ans).kind == "c":
        return direct(x)
    series = [0.5**k * f for k, f in enumerate(_DOUBLE_FACTORIALS)]

    def beyond(x: Array) -> Array:
        w = 1 / x
        return -0.5 * w * w * _polynomial(w * w, series)

    return _either(absolute(x) > 10, x, beyond, direct, ok=11.0, other=0.0)


def _log_ndtr_slope(ans: Array, x: Array) -> Array:
    """Density over distribution, sqrt(2 / pi) / erfcx(-x / sqrt(2)) where x < 0."""
    low = real(x) < 0
    above = select(low, -math.log(2), ans)
    return _either(
        low,
        x,
        lambda x: math.sqrt(2 / _PI) / erfcx(x * -math.sqrt(0.5)),
        lambda x: exp(-0.5 * x * x - above) / _SQRT_2PI,
        ok=-1.0,
        other=0.0,
    )


erf = special("erf", lambda ans, x: (2 / _SQRT_PI) * exp(-x * x))
erfc = special("erfc", lambda ans, x: (-2 / _SQRT_PI) * exp(-x * x))
erfcx = special("erfcx", _erfcx_slope)
erfi = special("erfi", lambda ans, x: (2 / _SQRT_PI) * exp(x * x))
erfinv = special("erfinv", lambda ans, x: (_SQRT_PI / 2) * exp(ans * ans))
erfcinv = special("erfcinv", lambda ans, x: (-_SQRT_PI / 2) * exp(ans * ans))
dawsn = special("dawsn", _dawsn_slope)
ndtr = special("ndtr", lambda ans, x: exp(-0.5 * x * x) / _SQRT_2PI)
log_ndtr = special("log_ndtr", _log_ndtr_slope)
ndtri = special("ndtri", lambda ans, x: _SQRT_2PI * exp(0.5 * ans * ans))
ndtri_exp = special("ndtri_exp", lambda ans, y: 1 / _log_ndtr_slope(y, ans))
owens_t = special(
    "owens_t",
    lambda ans, h, a: (
        exp(-0.5 * h * h) * erf(a * h * math.sqrt(0.5)) / (-2 * _SQRT_2PI)
    ),
    lambda ans, h, a: exp(-0.5 * h * h * (1 + a * a)) / (2 * _PI * (1 + a * a)),
)

# ------------------------------------------------ logistic functions and transforms

expit = special("expit", lambda ans, x: ans * expit(-x))
logit = special("logit", lambda ans, x: 1 / (x * (1 - x)))
log_expit = special("log_expit", lambda ans, x: expit(-x))


def _exprel_slope(x: Array) -> Array:
    """(x e^x - e^x + 1) / x^2, the sum of (k + 1) x^k / (k + 2)! for small x."""
    series = [(k + 1) / math.factorial(k + 2) for k in range(19)]
    return _either(
        absolute(x) < 1,
        x,
        lambda x: _polynomial(x, series),
        # without e^x beside one, of which the larger would swallow the smaller
        lambda x: (exp(x) - exprel(x)) / x,
        ok=0.0,
        other=1.0,
    )


exprel = special("exprel", lambda ans, x: _exprel_slope(x))


def _boxcox_slope(ans: Array, logarithm: Array, lmbda: Array) -> Array:
    """Derivative of (x^lmbda - 1) / lmbda with respect to lmbda, from log(x)."""
    u = lmbda * logarithm
    small = absolute(u) < 1
    inside = select(small, logarithm, 0.0)
    near = inside * inside * _exprel_slope(select(small, u, 0.0))
    grown = 1 + lmbda * ans  # x^lmbda
    far = xlogy_of(grown, select(small, 0.0, logarithm)) - select(small, 0.0, ans)
    return select(small, near, far / select(small, 1.0, lmbda))


def xlogy_of(x: Array, logarithm: Array) -> Array:
    """``x * logarithm``, zero where x is zero."""
    zero = x == 0
    return x * select(zero, 0.0, logarithm)


def _inv_boxcox_slope(grown: Array, y: Array, lmbda: Array) -> Array:
    """Derivative of (1 + lmbda y)^(1 / lmbda) with respect to lmbda.

    It is y^2 g(lmbda y) times the function, where g(u) is (u / (1 + u) - log(1 + u))
    / u^2, the sum of (-1)^(k+1) (k + 1) u^k / (k + 2).
    """
    series = [(-1) ** (k + 1) * (k + 1) / (k + 2) for k in range(26)]
    g = _either(
        absolute(lmbda * y) < 0.25,
        lmbda * y,
        lambda u: _polynomial(u, series),
        lambda u: (u / (1 + u) - log1p(u)) / (u * u),
        ok=0.0,
        other=1.0,
    )
    return grown * y * y * g


boxcox = special(
    "boxcox",
    lambda ans, x, lmbda: power(x, lmbda - 1),
    lambda ans, x, lmbda: _boxcox_slope(ans, log(x), lmbda),
)
boxcox1p = special(
    "boxcox1p",
    lambda ans, x, lmbda: exp((lmbda - 1) * log1p(x)),
    lambda ans, x, lmbda: _boxcox_slope(ans, log1p(x), lmbda),
)
inv_boxcox = special(
    "inv_boxcox",
    lambda ans, y, lmbda: ans / (1 + lmbda * y),
    lambda ans, y, lmbda: _inv_boxcox_slope(ans, y, lmbda),
)
inv_boxcox1p = special(
    "inv_boxcox1p",
    lambda ans, y, lmbda: (1 + ans) / (1 + lmbda * y),
    lambda ans, y, lmbda: _inv_boxcox_slope(1 + ans, y, lmbda),
)
cosm1 = special("cosm1", lambda ans, x: -sin(x))
exp10 = special("exp10", lambda ans, x: math.log(10) * ans)
sindg = special("sindg", lambda ans, x: (_PI / 180) * cosdg(x))
cosdg = special("cosdg", lambda ans, x: (-_PI / 180) * sindg(x))
tandg = special("tandg", lambda ans, x: (_PI / 180) * (1 + ans * ans))
cotdg = special("cotdg", lambda ans, x: (-_PI / 180) * (1 + ans * ans))

# ----------------------------------------------------- logarithms and information


def _quotient(x: Array, y: Array) -> Array:
    """x / y, and zero for 0 / 0."""
    both = logical_and(x == 0, y == 0)
    return x / select(both, 1.0, y)


def _log_ratio(x: Array, y: Array) -> Array:
    """log(x / y), accurate where x is near y, without overflow elsewhere."""
    near = logical_and(x < 2 * y, y < 2 * x)
    d = select(near, x - y, 0.0) / select(near, y, 1.0)
    return select(near, log1p(d), log(select(near, 1.0, x)) - log(select(near, 1.0, y)))


def _within(inside: Array, partial: Rule, *operands: Array) -> Array:
    """A partial derivative inside of a domain, and zero outside of it."""
    return select(inside, partial(*[select(inside, x, 1.0) for x in operands]), 0.0)


def _both_positive(x: Array, y: Array) -> Array:
    return logical_and(x >= 0, y >= 0)


xlogy = special("xlogy", lambda ans, x, y: log(y), lambda ans, x, y: _quotient(x, y))
xlog1py = special(
    "xlog1py", lambda ans, x, y: log1p(y), lambda ans, x, y: _quotient(x, 1 + y)
)
# Outside of their domains the following are constant: minus or plus infinity.
entr = special("entr", lambda ans, x: _within(x >= 0, lambda x: -log(x) - 1, x))
rel_entr = special(
    "rel_entr",
    lambda ans, x, y: _within(
        _both_positive(x, y), lambda x, y: _log_ratio(x, y) + 1, x, y
    ),
    lambda ans, x, y: _within(
        _both_positive(x, y), lambda x, y: -_quotient(x, y), x, y
    ),
)
kl_div = special(
    "kl_div",
    lambda ans, x, y: _within(_both_positive(x, y), _log_ratio, x, y),
    lambda ans, x, y: _within(
        _both_positive(x, y), lambda x, y: _quotient(y - x, y), x, y
    ),
)


def _huber_width(ans: Array, delta: Array, r: Array) -> Array:
    delta, size = _beside(ans, delta), absolute(_beside(ans, r))
    return select(logical_and(delta >= 0, size > delta), size - delta, 0.0)


def _huber_slope(ans: Array, delta: Array, r: Array) -> Array:
    delta, r = _beside(ans, delta), _beside(ans, r)
    beyond = absolute(r) > delta
    return select(delta >= 0, select(beyond, delta * sign(r), r), 0.0)


def _pseudo_huber(formula: Rule) -> Rule:
    """A partial from delta, u = r / delta and s = sqrt(1 + u^2); zero at delta = 0."""

    def partial(ans: Array, delta: Array, r: Array) -> Array:
        delta = _beside(ans, delta)
        inside = delta > 0
        u = select(inside, r, 0.0) / select(inside, delta, 1.0)
        return select(inside, formula(delta, u, sqrt(1 + u * u)), 0.0)

    return partial


huber = special("huber", _huber_width, _huber_slope)
pseudo_huber = special(
    "pseudo_huber",
    # delta (s - 1)^2 / s
    _pseudo_huber(lambda delta, u, s: delta * (u * u / (s + 1)) ** 2 / s),
    _pseudo_huber(lambda delta, u, s: delta * u / s),
)

# ----------------------------------------------------------------- gamma functions


def _rgamma_slope(ans: Array, x: Array) -> Array:
    """-psi(x) / gamma(x), by reflection (DLMF 5.5.3) left of 1/2, where psi has poles.

    There 1 / gamma(x) = sin(pi x) gamma(1 - x) / pi, which is smooth.
    """

    def reflected(x: Array) -> Array:
        turn = cos(_PI * x) - sin(_PI * x) * psi(1 - x) / _PI
        return gamma(1 - x) * turn

    left = real(x) < 0.5
    return _either(
        left, x, reflected, lambda x: -(rgamma(x) * psi(x)), ok=0.0, other=1.0
    )


def _polygamma(n: Array, x: Array) -> Array:
    return library_function("polygamma", n, x)(namespace(n, x).asarray(n), x)


gamma = special("gamma", lambda ans, x: ans * psi(x))
gammaln = special("gammaln", lambda ans, x: psi(x))
loggamma = special("loggamma", lambda ans, x: psi(x))
rgamma = special("rgamma", _rgamma_slope)
gammasgn = special("gammasgn")
psi = special("psi", _real_only("psi", lambda ans, x: polygamma(1, x)))
polygamma = special(
    "polygamma", None, lambda ans, n, x: polygamma(n + 1, x), impl=_polygamma
)


def _multigammaln_slope(ans: Array, a: Array, d: int) -> Array:
    total = psi(a)
    for j in range(1, d):
        total = total + psi(a - 0.5 * j)
    return total


multigammaln = special(
    "multigammaln",
    _multigammaln_slope,
    impl=lambda a, d: library_function("multigammaln", a)(a, d),
)
multigammaln.abstract = lambda a, d: (shape_of(a), np.dtype(np.float64))

_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
"""B2, B4, ..., B16."""


def _psi_step(a: Array, b: Array) -> Array:
    """psi(a + b) - psi(a), as differences of powers of 1/a for large a (DLMF 5.11.2).

    With u = 1/a and v = 1/(a + b), u - v is b u v, and each difference of powers
    follows from the one before.
    """
    c = a + b
    far = logical_and(a > 12, c > 12)
    u = 1 / select(far, a, 13.0)
    v = 1 / select(far, c, 13.0)
    b = select(far, b, 0.0)
    difference = b * u * v
    total = log1p(b * u) + difference / 2
    first = step = difference * (u + v)
    w = v * v
    for k, bernoulli in enumerate(_BERNOULLI, 1):
        total = total + bernoulli / (2 * k) * step
        step = u * u * step + w * first
        w = w * v * v
    near = psi(select(far, 1.0, c)) - psi(select(far, 1.0, a))
    return select(far, total, near)


beta = special(
    "beta",
    lambda ans, a, b: -ans * _psi_step(a, b),
    lambda ans, a, b: -ans * _psi_step(b, a),
)
betaln = special(
    "betaln",
    lambda ans, a, b: -_psi_step(a, b),
    lambda ans, a, b: -_psi_step(b, a),
)


# --------------------------------------------- incomplete gamma and beta functions


def _sign_of_gamma(xp: Any, a: Array) -> Array:
    return xp.where((a < 0) & (xp.floor(a) % 2 != 0), -1.0, 1.0)


def _pole(xp: Any, a: Array) -> Array:
    return (a <= 0) & (xp.floor(a) == a)


def _in_double(like: Callable[[], Primitive], formula: Rule) -> Rule:
    """A formula computed in double precision, with the dtypes of another function."""

    def impl(*operands: Array, **params: Any) -> Array:
        xp = namespace(*operands)
        wide = [xp.asarray(x, dtype=xp.float64) for x in operands]
        with np.errstate(all="ignore"):
            out = formula(xp, backend_of(*operands).special, *wide, **params)
        return out.astype(like().abstract(*operands)[1], copy=False)[()]  # type: ignore[misc]

    return impl


def _gamma_density(xp: Any, scipys: Any, a: Array, x: Array) -> Array:
    logarithm = scipys.xlogy(a - 1, x) - x - scipys.gammaln(a)
    zero = _pole(xp, a) | xp.isinf(x)
    return xp.where(zero, 0.0, _sign_of_gamma(xp, a) * xp.exp(logarithm))


def _beta_density(xp: Any, scipys: Any, a: Array, b: Array, x: Array) -> Array:
    logarithm = scipys.xlogy(a - 1, x) + scipys.xlog1py(b - 1, -x) - scipys.betaln(a, b)
    signs = [_sign_of_gamma(xp, v) for v in (a, b, a + b)]
    size = xp.exp(logarithm)
    zero = _pole(xp, a) | _pole(xp, b)
    return xp.where(zero, 0.0, signs[0] * signs[1] * signs[2] * size)


# x^(a-1) e^-x / gamma(a), whose derivative needs no division by x
gamma_density = special(
    "gamma_density",
    lambda ans, a, x: xlogy(ans, x) - ans * psi(a),
    lambda ans, a, x: gamma_density(a - 1, x) - ans,
    impl=_in_double(lambda: gammainc, _gamma_density),
)
# x^(a-1) (1-x)^(b-1) / beta(a, b)
beta_density = special(
    "beta_density",
    lambda ans, a, b, x: xlogy(ans, x) + ans * _psi_step(a, b),
    lambda ans, a, b, x: xlog1py(ans, -x) + ans * _psi_step(b, a),
    lambda ans, a, b, x: (
        (a + b - 1) * (beta_density(a - 1, b, x) - beta_density(a, b - 1, x))
    ),
    impl=_in_double(lambda: betainc, _beta_density),
)

_SHIFT = 25
_STENCILS = {
    0: {0: 1.0},
    1: dict(enumerate((4 / 5, -1 / 5, 4 / 105, -1 / 280), 1)),
    2: {
        0: -205 / 72,
        **dict(enumerate((8 / 5, -1 / 5, 8 / 315, -1 / 560), 1)),
    },
}
"""Central differences of eighth order, B. Fornberg (1988), table 1."""


def _nodes(xp: Any, a: Array, order: int) -> list[tuple[Array, Array]]:
    """Arguments around ``a`` and weights of a derivative of a function of them.

    The step is a twentieth of sqrt(a), the scale on which distributions with a shape
    parameter change with it: truncation and rounding are both about 1e-14.
    """
    h = 0.05 * xp.sqrt(a) if order else 1.0
    mirrored = -1 if order == 1 else 1
    weights = dict(_STENCILS[order])
    if order:
        weights.update({-k: mirrored * w for k, w in weights.items()})
    return [(a + k * h if k else a, w / h**order) for k, w in weights.items()]


def _gammainc_shape(xp: Any, scipys: Any, a: Array, x: Array, order: int) -> Array:
    """Derivative of gammainc with respect to ``a``.

    DLMF 8.8.5, P(a, x) = P(a + 1, x) + x^a e^-x / gamma(a + 1), leads from small ``a``
    to large ones by terms whose derivatives are known; there the derivative is a
    difference of P, or of 1 - P where that is smaller.
    """
    valid = (a >= 0) & (x >= 0) & xp.isfinite(a)
    edge = (x == 0) | xp.isinf(x)
    inside = valid & ~edge
    a, x = xp.where(inside, a, 30.0), xp.where(inside, x, 1.0)
    small = a < _SHIFT
    total = 0.0
    for k in range(_SHIFT):
        n = a + (k + 1)
        term = xp.exp((n - 1) * xp.log(x) - x - scipys.gammaln(n))
        slope = xp.log(x) - scipys.psi(n)
        if order == 2:
            slope = slope * slope - scipys.zeta(2.0, n)
        total = total + xp.where(small, term * slope, 0.0)
    a = xp.where(small, a + _SHIFT, a)
    low = x < a
    for node, weight in _nodes(xp, a, order):
        lower, upper = scipys.gammainc(node, x), scipys.gammaincc(node, x)
        total = total + weight * xp.where(low, lower, -upper)
    return xp.where(inside, total, xp.where(valid, 0.0, math.nan))


def _betainc_shape(
    xp: Any, scipys: Any, a: Array, b: Array, x: Array, orders: tuple[int, int]
) -> Array:
    """Derivative of betainc with respect to ``a`` and ``b``.

    As for gammainc: DLMF 8.17.20 and 8.17.21 lead to large parameters, by terms
    T = x^a (1-x)^b gamma(a+b) / gamma(a+1) gamma(b), or with gamma(a) gamma(b+1).
    """
    valid = (a >= 0) & (b >= 0) & (x >= 0) & (x <= 1) & xp.isfinite(a + b)
    edge = (x == 0) | (x == 1)
    inside = valid & ~edge
    a, b = xp.where(inside, a, 30.0), xp.where(inside, b, 30.0)
    x = xp.where(inside, x, 0.5)
    total = 0.0

    def term(a: Array, b: Array, p: int, q: int) -> Array:
        c = a + b
        logarithm = a * xp.log(x) + b * xp.log1p(-x) + scipys.gammaln(c)
        size = xp.exp(logarithm - scipys.gammaln(a + p) - scipys.gammaln(b + q))
        slopes = (
            *(orders[0] * [xp.log(x) + scipys.psi(c) - scipys.psi(a + p)]),
            *(orders[1] * [xp.log1p(-x) + scipys.psi(c) - scipys.psi(b + q)]),
        )
        if len(slopes) == 1:
            return size * slopes[0]
        second = scipys.zeta(2.0, c)
        if orders != (1, 1):
            second = second - scipys.zeta(2.0, a + p if orders[0] else b + q)
        return size * (slopes[0] * slopes[1] + second)

    if orders[0]:
        small = a < _SHIFT
        for k in range(_SHIFT):
            total = total + xp.where(small, term(a + k, b, 1, 0), 0.0)
        a = xp.where(small, a + _SHIFT, a)
    if orders[1]:
        small = b < _SHIFT
        for k in range(_SHIFT):
            total = total - xp.where(small, term(a, b + k, 0, 1), 0.0)
        b = xp.where(small, b + _SHIFT, b)
    for p, v in _nodes(xp, a, orders[0]):
        for q, w in _nodes(xp, b, orders[1]):
            total = total + v * w * scipys.betainc(p, q, x)
    return xp.where(inside, total, xp.where(valid, 0.0, math.nan))


def _shape_derivative(
    name: str, like: Callable[[], Primitive], formula: Rule, *partials: Rule
) -> Primitive:
    primitive = special(name, *partials, impl=_in_double(like, formula))
    primitive.abstract = lambda *operands, **params: like().abstract(*operands)  # type: ignore[misc]
    return primitive


def _gammainc_shape_in_a(ans: Array, a: Array, x: Array, order: int) -> Array:
    if order == 2:
        return unknown("gammainc", "its shape a, beyond order 2")()
    return gammainc_shape(a, x, order=2)


def _gammainc_shape_in_x(ans: Array, a: Array, x: Array, order: int) -> Array:
    density = gamma_density(a, x)
    if order == 1:
        return xlogy(density, x) - density * psi(a)
    slope = log(select(x == 0, 1.0, x)) - psi(a)
    return density * (slope * slope - polygamma(1, a))


gammainc_shape = _shape_derivative(
    "gammainc_shape",
    lambda: gammainc,
    _gammainc_shape,
    _gammainc_shape_in_a,
    _gammainc_shape_in_x,
)


def _betainc_shape_in(position: int) -> Rule:
    def partial(ans: Array, a: Array, b: Array, x: Array, orders: Any) -> Array:
        if sum(orders) == 2:
            return unknown("betainc", "its shapes a and b, beyond order 2")()
        raised = (orders[0] + 1 - position, orders[1] + position)
        return betainc_shape(a, b, x, orders=raised)

    return partial


def _betainc_shape_in_x(
    ans: Array, a: Array, b: Array, x: Array, orders: tuple[int, int]
) -> Array:
    density = beta_density(a, b, x)
    if sum(orders) == 1:
        if orders[0]:
            return xlogy(density, x) + density * _psi_step(a, b)
        return xlog1py(density, -x) + density * _psi_step(b, a)
    edge = logical_or(x == 0, x == 1)
    inner = select(edge, 0.5, x)
    left = log(inner) + _psi_step(a, b)
    right = log1p(-inner) + _psi_step(b, a)
    second = polygamma(1, a + b)
    if orders == (1, 1):
        return density * (left * right + second)
    first, own = (left, a) if orders[0] else (right, b)
    return density * (first * first + second - polygamma(1, own))


betainc_shape = _shape_derivative(
    "betainc_shape",
    lambda: betainc,
    _betainc_shape,
    _betainc_shape_in(0),
    _betainc_shape_in(1),
    _betainc_shape_in_x,
)

gammainc = special(
    "gammainc",
    lambda ans, a, x: gammainc_shape(a, x, order=1),
    lambda ans, a, x: gamma_density(a, x),
)
gammaincc = special(
    "gammaincc",
    lambda ans, a, x: -gammainc_shape(a, x, order=1),
    lambda ans, a, x: -gamma_density(a, x),
)
betainc = special(
    "betainc",
    lambda ans, a, b, x: betainc_shape(a, b, x, orders=(1, 0)),
    lambda ans, a, b, x: betainc_shape(a, b, x, orders=(0, 1)),
    lambda ans, a, b, x: beta_density(a, b, x),
)
betaincc = special(
    "betaincc",
    lambda ans, a, b, x: -betainc_shape(a, b, x, orders=(1, 0)),
    lambda ans, a, b, x: -betainc_shape(a, b, x, orders=(0, 1)),
    lambda ans, a, b, x: -beta_density(a, b, x),
)


def _implicit(shape_slope: Array, density: Array, ans: Array) -> Array:
    """-F_a / f, by which x(a) of F(a, x(a)) = y changes; zero at the ends."""
    end = logical_or(density == 0, isinf(density))
    return -shape_slope / select(end, math.inf, density)


def _gammaincinv_shape(ans: Array, a: Array, y: Array) -> Array:
    return _implicit(gammainc_shape(a, ans, order=1), gamma_density(a, ans), ans)


def _betaincinv_shape(orders: tuple[int, int]) -> Rule:
    def partial(ans: Array, a: Array, b: Array, y: Array) -> Array:
        slope = betainc_shape(a, b, ans, orders=orders)
        return _implicit(slope, beta_density(a, b, ans), ans)

    return partial


gammaincinv = special(
    "gammaincinv",
    _gammaincinv_shape,
    lambda ans, a, y: 1 / gamma_density(a, ans),
)
gammainccinv = special(
    "gammainccinv",
    _gammaincinv_shape,
    lambda ans, a, y: -1 / gamma_density(a, ans),
)
betaincinv = special(
    "betaincinv",
    _betaincinv_shape((1, 0)),
    _betaincinv_shape((0, 1)),
    lambda ans, a, b, y: 1 / beta_density(a, b, ans),
)
betainccinv = special(
    "betainccinv",
    _betaincinv_shape((1, 0)),
    _betaincinv_shape((0, 1)),
    lambda ans, a, b, y: -1 / beta_density(a, b, ans),
)


def _stdtr_slope(ans: Array, df: Array, t: Array) -> Array:
    """The density of Student's distribution."""
    half = 0.5 * df
    step = gammaln(half + 0.5) - gammaln(half)
    return exp(step - (half + 0.5) * log1p(t * t / df)) / sqrt(_PI * df)


def _stdtr_shape(ans: Array, df: Array, t: Array) -> Array:
    """From the distribution function 1 - I_x(df/2, 1/2) / 2 at x = df / (df + t^2)."""
    centre = t == 0
    t = select(centre, 1.0, t)
    total = df + t * t
    x = df / total
    along_a = 0.5 * betainc_shape(0.5 * df, 0.5, x, orders=(1, 0))
    along_x = beta_density(0.5 * df, 0.5, x) * (t / total) ** 2
    return select(centre, 0.0, -0.5 * sign(t) * (along_a + along_x))


stdtr = special("stdtr", _stdtr_shape, _stdtr_slope)

# ------------------------------------------------------------------- Bessel functions


def _series_of_bessel(n: int, x: Array, alternating: int) -> Array:
    """J_n(x), or I_n(x), by its power series (DLMF 10.2.2, 10.25.2)."""
    w = 0.25 * x * x
    total = 0.0
    for k in reversed(range(30)):
        total = 1 / (math.factorial(k) * math.factorial(k + n)) + alternating * (
            w * total
        )
    return (0.5 * x) ** n * total


def _bessel(name: str, first: str, second: str, sign: int) -> Rule:
    """J_v or I_v; of an integer order where the library has but those of 0 and 1.

    Then by the power series near zero and by recurrence (DLMF 10.6.1, 10.29.1), which
    is stable for |x| > n, elsewhere.
    """

    def impl(v: Array, x: Array) -> Array:
        scipys = backend_of(v, x).special
        if hasattr(scipys, name) or type(v) is not int:
            return library_function(name, v, x)(v, x)
        n = abs(v)
        near = abs(x) <= 4 + n
        safe = namespace(x).where(near, 5.0 + n, x)
        below, value = getattr(scipys, first)(safe), getattr(scipys, second)(safe)
        for k in range(1, n):
            below, value = value, sign * (2 * k / safe * value - below)
        value = value if n else below
        inner = namespace(x).where(near, x, 0.0)
        out = namespace(x).where(near, _series_of_bessel(n, inner, -sign), value)
        flip = sign == 1 and v < 0 and n % 2
        return (-out if flip else out).astype(getattr(scipys, first)(x).dtype)

    return impl


_in_order = {name: unknown(name, "the order v") for name in ("jv", "iv", "yv", "kv")}

j0 = special("j0", lambda ans, x: -j1(x))
j1 = special("j1", lambda ans, x: 0.5 * (j0(x) - jv(2, x)))
jv = special(
    "jv",
    _in_order["jv"],
    lambda ans, v, x: 0.5 * (jv(v - 1, x) - jv(v + 1, x)),
    impl=_bessel("jv", "j0", "j1", 1),
)
y0 = special("y0", lambda ans, x: -y1(x))
y1 = special("y1", lambda ans, x: y0(x) - ans / x)
yv = special(
    "yv", _in_order["yv"], lambda ans, v, x: 0.5 * (yv(v - 1, x) - yv(v + 1, x))
)
i0 = special("i0", lambda ans, x: i1(x))
i1 = special("i1", lambda ans, x: 0.5 * (i0(x) + iv(2, x)))
iv = special(
    "iv",
    _in_order["iv"],
    lambda ans, v, x: 0.5 * (iv(v - 1, x) + iv(v + 1, x)),
    impl=_bessel("iv", "i0", "i1", -1),
)
k0 = special("k0", lambda ans, x: -k1(x))
k1 = special("k1", lambda ans, x: -k0(x) - ans / x)
kv = special(
    "kv", _in_order["kv"], lambda ans, v, x: -0.5 * (kv(v - 1, x) + kv(v + 1, x))
)
yn = special("yn", None, lambda ans, n, x: 0.5 * (yn(n - 1, x) - yn(n + 1, x)))
kn = special(
    "kn", None, lambda ans, n, x: -0.5 * (kn(absolute(n - 1), x) + kn(n + 1, x))
)


def _scaled(order: int, alternating: int, factor: float, direct: Rule) -> Rule:
    """Derivative of an exponentially scaled Bessel function, from its own difference.

    For |x| > 30 by the term-by-term derivative of the expansion (DLMF 10.40.1 and 2)
    factor x^(-1/2) (1 -+ a_1 / x + a_2 / x^2 -+ ...).
    """
    a = [1.0]
    for k in range(1, 16):
        a.append(a[-1] * (4 * order**2 - (2 * k - 1) ** 2) / (8 * k))
    series = [-factor * (k + 0.5) * alternating**k * c for k, c in enumerate(a)]

    def beyond(x: Array) -> Array:
        w = 1 / absolute(x)
        slope = w * sqrt(w) * _polynomial(w, series)
        return slope if order else sign(x) * slope

    def partial(ans: Array, x: Array) -> Array:
        return _either(absolute(x) > 30, x, beyond, direct, ok=31.0, other=1.0)

    return partial


i0e = special(
    "i0e",
    _scaled(0, -1, 1 / _SQRT_2PI, lambda x: i1e(x) - sign(x) * i0e(x)),
)
i1e = special(
    "i1e",
    _scaled(
        1,
        -1,
        1 / _SQRT_2PI,
        lambda x: 0.5 * (i0e(x) + exp(-absolute(x)) * iv(2, x)) - sign(x) * i1e(x),
    ),
)
k0e = special("k0e", _scaled(0, 1, math.sqrt(_PI / 2), lambda x: k0e(x) - k1e(x)))
k1e = special(
    "k1e",
    _scaled(1, 1, math.sqrt(_PI / 2), lambda x: k1e(x) - k0e(x) - k1e(x) / x),
)
ive = special(
    "ive",
    unknown("ive", "the order v"),
    _real_only(
        "ive",
        lambda ans, v, x: 0.5 * (ive(v - 1, x) + ive(v + 1, x)) - sign(x) * ans,
    ),
)
kve = special(
    "kve",
    unknown("kve", "the order v"),
    lambda ans, v, x: ans - 0.5 * (kve(v - 1, x) + kve(v + 1, x)),
)

# --------------------------------------------- hypergeometric functions, zeta functions

hyp0f1 = special(
    "hyp0f1", unknown("hyp0f1", "v"), lambda ans, v, z: hyp0f1(v + 1, z) / v
)
hyp1f1 = special(
    "hyp1f1",
    unknown("hyp1f1", "a"),
    unknown("hyp1f1", "b"),
    lambda ans, a, b, x: a / b * hyp1f1(a + 1, b + 1, x),
)
hyp2f1 = special(
    "hyp2f1",
    unknown("hyp2f1", "a"),
    unknown("hyp2f1", "b"),
    unknown("hyp2f1", "c"),
    lambda ans, a, b, c, z: a * b / c * hyp2f1(a + 1, b + 1, c + 1, z),
)


def _means(m: Array) -> list[tuple[Array, Array, Array, Array]]:
    """Arithmetic-geometric means a, b of 1 and sqrt(1 - m), and their derivatives."""
    b = sqrt(1 - m)
    steps = [(m * 0 + 1, b, m * 0, -0.5 / b)]
    for _ in range(9):
        a, b, da, db = steps[-1]
        mean = sqrt(a * b)
        slope = 0.5 * (da * b + a * db) / mean
        steps.append((0.5 * (a + b), mean, 0.5 * (da + db), slope))
    return steps


def _ellipk_slope(ans: Array, m: Array) -> Array:
    """From K = pi / (2 agm(1, sqrt(1 - m))) (DLMF 19.8.5)."""
    a, _, da, _ = _means(m)[-1]
    return (-_PI / 2) * da / (a * a)


def _ellipe_slope(ans: Array, m: Array) -> Array:
    """(E - K) / 2m = -K (1/2 + sum of 2^(n-1) c_n^2 / m) / 2 (DLMF 19.8.6)."""
    steps = _means(m)
    total: Array = 0.5
    e: Array = 1.0  # c_n^2 / m
    for n, (a, _, _, _) in enumerate(steps[1:], 1):
        e = m * (e / (4 * a)) ** 2
        total = total + 2.0 ** (n - 1) * e
    return (-_PI / 4) * total / steps[-1][0]


ellipk = special("ellipk", _ellipk_slope)
ellipe = special("ellipe", _ellipe_slope)


def _zeta_slope(x: Array, q: Array) -> Array:
    """Derivative of the sum of (q + k)^-x with respect to x.

    By the Euler-Maclaurin formula (DLMF 25.11.5), differentiated term by term; p and dp
    are x (x + 1) ... and its derivative.
    """
    total = 0.0
    for k in range(14):
        total = total - log(q + k) * power(q + k, -x)
    n = q + 14
    logarithm = log(n)
    tail = power(n, -x)
    rest = 1 / (x - 1)
    total = total - tail * (n * rest * (logarithm + rest) + 0.5 * logarithm)
    p: Array = x
    dp: Array = 1.0
    tail = tail / n
    for j, bernoulli in enumerate(_BERNOULLI, 1):
        scale = bernoulli / math.factorial(2 * j)
        total = total + scale * tail * (dp - p * logarithm)
        tail = tail / n / n
        for i in (2 * j - 1, 2 * j):
            p, dp = p * (x + i), dp * (x + i) + p
    return total


def _riemann_slope(ans: Array, x: Array) -> Array:
    """As zeta, and left of -1 by the functional equation (DLMF 25.4.1)."""

    def reflected(x: Array) -> Array:
        y = 1 - x
        sine, cosine = sin(0.5 * _PI * x), cos(0.5 * _PI * x)
        turn = sine * (math.log(2 * _PI) - psi(y)) + 0.5 * _PI * cosine
        inner = riemann_zeta(y) * turn - sine * _zeta_slope(y, 1.0)
        return 2 * exp(gammaln(y) - y * math.log(2 * _PI)) * inner

    return _either(
        x < -1, x, reflected, lambda x: _zeta_slope(x, 1.0), ok=-2.0, other=3.0
    )


def _riemann_zeta(x: Array) -> Array:
    if namespace(x) is not np:
        raise UnsupportedFunctionError(
            "scipy.special.zeta of one argument: the special functions of "
            f"{backend_of(x).name} have that of two arguments alone. For x > 1, write "
            "zeta(x, 1.0)."
        )
    return library_function("zeta", x)(x)


zeta = special(
    "zeta",
    lambda ans, x, q: _zeta_slope(x, q),
    lambda ans, x, q: -(x * zeta(x + 1, q)),
)
riemann_zeta = special(
    "riemann_zeta", _real_only("zeta", _riemann_slope), impl=_riemann_zeta
)

# --------------------------------------------------- integrals, logarithms, Lambert's


def _over(function: Rule, alternating: int) -> Rule:
    """sin(x) / x or sinh(x) / x, smooth at zero."""
    series = [alternating**k / math.factorial(2 * k + 1) for k in range(11)]

    def quotient(x: Array) -> Array:
        return _either(
            absolute(x) < 1,
            x,
            lambda x: _polynomial(x * x, series),
            lambda x: function(x) / x,
            ok=0.0,
            other=1.0,
        )

    return quotient


def _expn_slope(ans: Array, n: Array, x: Array) -> Array:
    """-E_(n-1), where E_(-1) = (e^-x + E_0) / x (DLMF 8.19.12)."""
    n = _beside(ans, n)
    zero = n == 0
    least = (exp(-x) + ans) / select(zero, x, 1.0)
    return -select(zero, least, expn(select(zero, 1, n) - 1, x))


def _spence_slope(ans: Array, z: Array) -> Array:
    """log(z) / (1 - z), by the series of log(1 + u) near one."""
    series = [(-1) ** (k + 1) / (k + 1) for k in range(26)]
    return _either(
        absolute(z - 1) < 0.25,
        z,
        lambda z: _polynomial(z - 1, series),
        lambda z: log(z) / (1 - z),
        ok=1.0,
        other=2.0,
    )


expi = special("expi", lambda ans, x: exp(x) / x)
exp1 = special("exp1", lambda ans, x: -exp(-x) / x)
expn = special("expn", None, _expn_slope)
spence = special("spence", _spence_slope)
lambertw = special("lambertw", lambda ans, z, k, tol: 1 / (exp(ans) + z), None, None)


def several(name: str, count: int, slopes: Rule) -> Primitive:
    """A function of SciPy's of one operand that has several results.

    ``slopes(ans, x)`` gives the derivative of each.
    """

    def impl(x: Array) -> tuple[Array, ...]:
        return tuple(library_function(name, x)(x))

    def jvp(ans: Any, primals: Any, tangents: Any, params: Params) -> Any:
        dtype = dtype_of(ans[0])
        (x,), (t,) = [_widened(v, dtype) for v in primals], tangents
        form = {"shape": shape_of(ans[0]), "dtype": dtype}
        return [bind(weighted_sum, (t, slope), form) for slope in slopes(ans, x)]

    first = entrywise_abstract(lambda x: impl(x)[0])
    primitive = Primitive(
        name,
        impl,
        lambda x: count * [first(x)],
        jvp=jvp,
        batch=lambda values, axes: (primitive(*values), count * [axes[0]]),
        flops=each_result(count * SPECIAL),
        multiple=True,
        family="elementwise",
    )
    return primitive


sici = several("sici", 2, lambda ans, x: (_over(sin, -1)(x), cos(x) / x))
shichi = several("shichi", 2, lambda ans, x: (_over(sinh, 1)(x), cosh(x) / x))
fresnel = several(
    "fresnel",
    2,
    lambda ans, x: (sin((_PI / 2) * x * x), cos((_PI / 2) * x * x)),
)
airy = several("airy", 4, lambda ans, x: (ans[1], x * ans[0], ans[3], x * ans[2]))

# ------------------------------------------------------------- what NumPy can do, too

# of x, and y, as arrays of floating-point numbers
_IN_NUMPY = {
    "erf(x)": "np.vectorize(math.erf, 'd')(x)",
    "erfc(x)": "np.vectorize(math.erfc, 'd')(x)",
    "ndtr(x)": "np.vectorize(math.erfc, 'd')(-x * 2**-0.5) / 2",
    "expit(x)": "np.exp(-np.logaddexp(0, -x))",
    "log_expit(x)": "-np.logaddexp(0, -x)",
    "logit(x)": "np.log(x) - np.log1p(-x)",
    "exp10(x)": "10**x",
    "cosm1(x)": "-2 * np.sin(x / 2) ** 2",
    "exprel(x)": "np.where(x == 0, 1, np.expm1(x) / np.where(x == 0, 1, x))",
    "entr(x)": "np.where(x > 0, -x * np.log(np.where(x > 0, x, 1)), "
    "np.where(x == 0, 0, np.where(np.isnan(x), x, -np.inf)))",
    "xlogy(x, y)": "np.where((x == 0) & ~np.isnan(y), 0, "
    "x * np.log(np.where((x == 0) & ~np.isnan(y), 1, y)))",
    "xlog1py(x, y)": "np.where((x == 0) & ~np.isnan(y), 0, "
    "x * np.log1p(np.where((x == 0) & ~np.isnan(y), 0, y)))",
    "rel_entr(x, y)": "np.where((x > 0) & (y > 0), x * np.log(x / y), "
    "np.where((x == 0) & (y >= 0), 0, np.where(np.isnan(x + y), x + y, np.inf)))",
    "kl_div(x, y)": "np.where((x > 0) & (y > 0), x * np.log(x / y) - x + y, "
    "np.where((x == 0) & (y >= 0), y, np.where(np.isnan(x + y), x + y, np.inf)))",
    "huber(x, y)": "np.where(x < 0, np.inf, "
    "np.where(abs(y) <= x, y * y / 2, x * (abs(y) - x / 2)))",
    "pseudo_huber(x, y)": "np.where(x < 0, np.inf, np.where((x == 0) | (y == 0), 0, "
    "x * x * np.expm1(np.log1p((y / np.where(x == 0, 1, x)) ** 2) / 2)))",
}


# SciPy has these in single precision first, which small integers fit into; the others
# take what is not of one floating-point dtype in double precision
_SINGLE_FIRST = {"entr", "rel_entr", "kl_div", "huber", "pseudo_huber"}


def _in_numpy(call: str, formula: str) -> str:
    name, _, names = call.partition("(")
    operands = f"({names.removesuffix(')')},)"
    found = "np.result_type(dtype, np.float32)"
    if name not in _SINGLE_FIRST:
        found = (
            'dtype if dtype.char in "fdFD" and not '
            f"{{np.asarray(v).dtype for v in {operands}}} - {{dtype}} "
            "else np.result_type(dtype, np.float64)"
        )
    modules = "\n    import math\n" if "math." in formula else ""
    return f"""
def {call}:{modules}
    dtype = np.result_type(*{operands})
    dtype = {found}
    {operands} = [np.asarray(v, dtype) for v in {operands}]
    with np.errstate(all="ignore"):
        return np.asarray({formula}, dtype)[()]
"""


for _call, _formula in _IN_NUMPY.items():
    registry[_call.partition("(")[0]].definition = _in_numpy(_call, _formula)
