"""``scipy.special`` on arrays and tracers.

Plain arrays go to SciPy's own functions (``cupyx.scipy.special`` for CuPy's), whatever
keyword arguments come along; on tracers each function is a primitive with the
derivative that its docstring states, or a composition.  SciPy's own functions reach the
same primitives when they are called on a tracer, if they are ufuncs.

Formulas are cited from the NIST Digital Library of Mathematical Functions (DLMF,
https://dlmf.nist.gov).  ``__all__`` lists what there is.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special as _scipys

from funcad.core.tracing import Primitive, Tracer, dtype_of, shape_of
from funcad.numpy.dispatch import PRIMITIVES, as_operands, implements, refuse
from funcad.numpy.reductions import axes_of
from funcad.primitives import elementwise as _e
from funcad.primitives import nn as _nn
from funcad.primitives import special as _p
from funcad.primitives.shape import convert, reshape

Axis = int | tuple[int, ...] | None
Function = Callable[..., Any]


def _library_or_none(name: str, args: Any) -> tuple[Function | None, Any]:
    """The library's own function for plain arguments, ``None`` for traced ones."""
    if any(isinstance(x, (Tracer, list, tuple)) for x in args):
        args = as_operands(*args)
    if any(isinstance(x, Tracer) for x in args):
        return None, args
    return _p.library_function(name, *args), args


def _function(
    name: str,
    parameters: str,
    summary: str,
    derivative: str,
    results: str = "array",
    primitive: Primitive | None = None,
) -> Function:
    """A ufunc of SciPy's, with its docstring, on arrays and tracers.

    Parameters
    ----------
    name : str
        SciPy's.
    parameters : str
        Names of the operands.
    summary : str
        What the function is.
    derivative : str
        Its derivative, with a reference, for the docstring.
    results : str
        Names of several results.
    primitive : Primitive, optional
        If not that of the same name.
    """
    primitive = primitive or getattr(_p, name)
    names = parameters.split()

    def function(*args: Any, **kwargs: Any) -> Any:
        own, args = _library_or_none(name, args)
        if own is not None:
            return own(*args, **kwargs)
        if len(args) != len(names):
            raise TypeError(
                f"scipy.special.{name} takes {len(names)} arrays, {', '.join(names)}, "
                f"and {len(args)} were given."
            )
        refuse(f"scipy.special.{name}", **kwargs)
        return primitive(*args)

    operands = "\n".join(f"{n} : array" for n in names)
    returned = "\n".join(f"{n.strip()} : array" for n in results.split(","))
    function.__doc__ = (
        f"{summary}.\n\nParameters\n----------\n{operands}\n\nReturns\n-------\n"
        f"{'array' if results == 'array' else returned}\n\n"
        f"Notes\n-----\nDerivative: {derivative}.\n"
    )
    function.__name__ = function.__qualname__ = name
    positional = inspect.Parameter.POSITIONAL_ONLY
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(n, positional) for n in names]
    )
    ufunc = getattr(_scipys, name, None)
    if isinstance(ufunc, np.ufunc):
        PRIMITIVES[ufunc] = primitive
    return function


# ---------------------------------------------------------------------- error functions

erf = _function(
    "erf",
    "z",
    "Error function, the integral of ``2 exp(-t**2) / sqrt(pi)`` from 0 to z",
    "``2 exp(-z**2) / sqrt(pi)`` (DLMF 7.10.1)",
)
erfc = _function(
    "erfc",
    "x",
    "Complementary error function, ``1 - erf(x)``",
    "``-2 exp(-x**2) / sqrt(pi)`` (DLMF 7.10.1)",
)
erfcx = _function(
    "erfcx",
    "x",
    "Scaled complementary error function, ``exp(x**2) erfc(x)``",
    "``2 x erfcx(x) - 2 / sqrt(pi)`` (from DLMF 7.2.2), for large x by the series of "
    "DLMF 7.12.1",
)
erfi = _function(
    "erfi",
    "z",
    "Imaginary error function, ``-i erf(i z)``",
    "``2 exp(z**2) / sqrt(pi)``",
)
erfinv = _function(
    "erfinv",
    "y",
    "Inverse of the error function",
    "``sqrt(pi) / 2 exp(erfinv(y)**2)`` (DLMF 7.17.1)",
)
erfcinv = _function(
    "erfcinv",
    "y",
    "Inverse of the complementary error function",
    "``-sqrt(pi) / 2 exp(erfcinv(y)**2)``",
)
dawsn = _function(
    "dawsn",
    "x",
    "Dawson's integral, ``exp(-x**2)`` times the integral of ``exp(t**2)``",
    "``1 - 2 x dawsn(x)`` (DLMF 7.10.4), for large x by a series",
)
ndtr = _function(
    "ndtr",
    "x",
    "Distribution function of the standard normal distribution",
    "its density, ``exp(-x**2 / 2) / sqrt(2 pi)``",
)
log_ndtr = _function(
    "log_ndtr",
    "x",
    "Logarithm of the normal distribution function",
    "density over distribution, by ``erfcx`` where x is negative",
)
ndtri = _function(
    "ndtri",
    "y",
    "Quantile of the standard normal distribution, the inverse of ``ndtr``",
    "``sqrt(2 pi) exp(ndtri(y)**2 / 2)``",
)
ndtri_exp = _function(
    "ndtri_exp",
    "y",
    "Inverse of ``log_ndtr``",
    "distribution over density at the result",
)
owens_t = _function(
    "owens_t",
    "h a",
    "Owen's T function",
    "``-exp(-h**2/2) erf(a h / sqrt(2)) / (2 sqrt(2 pi))`` and ``exp(-h**2 (1 + a**2)"
    " / 2) / (2 pi (1 + a**2))`` (Owen 1956)",
)
stdtr = _function(
    "stdtr",
    "df t",
    "Distribution function of Student's t distribution",
    "the density, and in df that of the incomplete beta function (DLMF 8.17)",
)

# -------------------------------------------- logistic functions and transforms of data

expit = _function(
    "expit",
    "x",
    "Logistic function, ``1 / (1 + exp(-x))``",
    "``expit(x) expit(-x)``",
)
logit = _function(
    "logit",
    "x",
    "Log-odds, ``log(x / (1 - x))``",
    "``1 / (x (1 - x))``",
)
log_expit = _function(
    "log_expit",
    "x",
    "Logarithm of the logistic function",
    "``expit(-x)``",
)
boxcox = _function(
    "boxcox",
    "x lmbda",
    "Box-Cox transform, ``(x**lmbda - 1) / lmbda``, or ``log(x)`` for ``lmbda = 0``",
    "``x**(lmbda - 1)``, and ``log(x)**2 exprel'(lmbda log(x))``",
)
boxcox1p = _function(
    "boxcox1p",
    "x lmbda",
    "Box-Cox transform of ``1 + x``",
    "as that of ``boxcox``",
)
inv_boxcox = _function(
    "inv_boxcox",
    "y lmbda",
    "Inverse of ``boxcox`` in x",
    "``x / (1 + lmbda y)`` at the result x, and by a series in lmbda",
)
inv_boxcox1p = _function(
    "inv_boxcox1p",
    "y lmbda",
    "Inverse of ``boxcox1p`` in x",
    "as that of ``inv_boxcox``",
)
exprel = _function(
    "exprel",
    "x",
    "``(exp(x) - 1) / x``, and 1 at zero",
    "``(exp(x) - exprel(x)) / x``, by its series for small x",
)
cosm1 = _function(
    "cosm1",
    "x",
    "``cos(x) - 1``, accurate for small x",
    "``-sin(x)``",
)
exp10 = _function(
    "exp10",
    "x",
    "Powers of ten",
    "``log(10) 10**x``",
)
sindg = _function(
    "sindg",
    "x",
    "Sine of an angle in degrees",
    "``pi / 180 cosdg(x)``",
)
cosdg = _function(
    "cosdg",
    "x",
    "Cosine of an angle in degrees",
    "``-pi / 180 sindg(x)``",
)
tandg = _function(
    "tandg",
    "x",
    "Tangent of an angle in degrees",
    "``pi / 180 (1 + tandg(x)**2)``",
)
cotdg = _function(
    "cotdg",
    "x",
    "Cotangent of an angle in degrees",
    "``-pi / 180 (1 + cotdg(x)**2)``",
)

# ----------------------------------------------------------- logarithms and information

xlogy = _function(
    "xlogy",
    "x y",
    "``x log(y)``, and zero where x is zero",
    "``log(y)``, and ``x / y``, which is 0 where both are",
)
xlog1py = _function(
    "xlog1py",
    "x y",
    "``x log(1 + y)``, and zero where x is zero",
    "``log(1 + y)``, and ``x / (1 + y)``",
)
entr = _function(
    "entr",
    "x",
    "Entropy, ``-x log(x)``, 0 at zero, minus infinity for negative x",
    "``-log(x) - 1``; 0 for negative x",
)
rel_entr = _function(
    "rel_entr",
    "x y",
    "Relative entropy, ``x log(x / y)``",
    "``log(x / y) + 1`` and ``-x / y``; 0 outside of the domain",
)
kl_div = _function(
    "kl_div",
    "x y",
    "``x log(x / y) - x + y``",
    "``log(x / y)`` and ``1 - x / y``; 0 outside of the domain",
)
huber = _function(
    "huber",
    "delta r",
    "Huber's loss",
    "``max(abs(r) - delta, 0)``, and r clipped to ``[-delta, delta]``",
)
pseudo_huber = _function(
    "pseudo_huber",
    "delta r",
    "Smooth variant of Huber's loss, ``delta**2 (s - 1)``, ``s = sqrt(1 + (r / "
    "delta)**2)``",
    "``delta (s - 1)**2 / s`` and ``r / s``",
)

# ---------------------------------------------------------------------- gamma functions

gamma = _function(
    "gamma",
    "z",
    "Gamma function",
    "``gamma(z) psi(z)`` (DLMF 5.2.2)",
)
gammaln = _function(
    "gammaln",
    "x",
    "Logarithm of the absolute value of the gamma function",
    "``psi(x)`` (DLMF 5.2.2)",
)
loggamma = _function(
    "loggamma",
    "z",
    "Principal branch of the logarithm of the gamma function",
    "``psi(z)`` (DLMF 5.2.2)",
)
rgamma = _function(
    "rgamma",
    "z",
    "Reciprocal of the gamma function",
    "``-psi(z) / gamma(z)``, by reflection (DLMF 5.5.3) left of 1/2",
)
gammasgn = _function(
    "gammasgn",
    "x",
    "Sign of the gamma function",
    "zero",
)
psi = _function(
    "psi",
    "z",
    "Digamma function, the logarithmic derivative of the gamma function",
    "``polygamma(1, z)`` (DLMF 5.15.1)",
)
beta = _function(
    "beta",
    "a b",
    "Beta function",
    "``beta(a, b) (psi(a) - psi(a + b))`` in a, and alike in b (DLMF 5.12.1)",
)
betaln = _function(
    "betaln",
    "a b",
    "Logarithm of the absolute value of the beta function",
    "``psi(a) - psi(a + b)`` in a, and alike in b",
)
digamma = _function(
    "digamma",
    "z",
    "Digamma function, under its other name ``psi``",
    "``polygamma(1, z)`` (DLMF 5.15.1)",
    primitive=_p.psi,
)

# -------------------------------------------------- incomplete gamma and beta functions

gammainc = _function(
    "gammainc",
    "a x",
    "Regularised lower incomplete gamma function",
    "``x**(a-1) exp(-x) / gamma(a)`` in x (DLMF 8.8.13); in a by recurrence (DLMF "
    "8.8.5) and differences of eighth order, to about 1e-13, up to order 2",
)
gammaincc = _function(
    "gammaincc",
    "a x",
    "Regularised upper incomplete gamma function",
    "that of ``-gammainc``",
)
gammaincinv = _function(
    "gammaincinv",
    "a y",
    "Inverse of ``gammainc`` in x",
    "from those of ``gammainc``, implicitly",
)
gammainccinv = _function(
    "gammainccinv",
    "a y",
    "Inverse of ``gammaincc`` in x",
    "from those of ``gammaincc``, implicitly",
)
betainc = _function(
    "betainc",
    "a b x",
    "Regularised incomplete beta function",
    "``x**(a-1) (1-x)**(b-1) / beta(a, b)`` in x (DLMF 8.17.1); in a and b by "
    "recurrence (DLMF 8.17.20, 8.17.21) and differences of eighth order, to about "
    "1e-13, up to order 2",
)
betaincc = _function(
    "betaincc",
    "a b x",
    "Complement of ``betainc``",
    "that of ``-betainc``",
)
betaincinv = _function(
    "betaincinv",
    "a b y",
    "Inverse of ``betainc`` in x",
    "from those of ``betainc``, implicitly",
)
betainccinv = _function(
    "betainccinv",
    "a b y",
    "Inverse of ``betaincc`` in x",
    "from those of ``betaincc``, implicitly",
)

# ------------------------------------------------------------ Bessel and Airy functions

j0 = _function(
    "j0",
    "x",
    "Bessel function of the first kind of order 0",
    "``-j1(x)`` (DLMF 10.6.3)",
)
j1 = _function(
    "j1",
    "x",
    "Bessel function of the first kind of order 1",
    "``(j0(x) - jv(2, x)) / 2`` (DLMF 10.6.1)",
)
jv = _function(
    "jv",
    "v z",
    "Bessel function of the first kind",
    "``(jv(v-1, z) - jv(v+1, z)) / 2`` in z (DLMF 10.6.1), and none in the order",
)
y0 = _function(
    "y0",
    "x",
    "Bessel function of the second kind of order 0",
    "``-y1(x)`` (DLMF 10.6.3)",
)
y1 = _function(
    "y1",
    "x",
    "Bessel function of the second kind of order 1",
    "``y0(x) - y1(x) / x`` (DLMF 10.6.2)",
)
yn = _function(
    "yn",
    "n x",
    "Bessel function of the second kind of integer order",
    "``(yn(n-1, x) - yn(n+1, x)) / 2`` in x (DLMF 10.6.1)",
)
yv = _function(
    "yv",
    "v z",
    "Bessel function of the second kind",
    "``(yv(v-1, z) - yv(v+1, z)) / 2`` in z (DLMF 10.6.1), and none in the order",
)
i0 = _function(
    "i0",
    "x",
    "Modified Bessel function of the first kind of order 0",
    "``i1(x)`` (DLMF 10.29.3)",
)
i1 = _function(
    "i1",
    "x",
    "Modified Bessel function of the first kind of order 1",
    "``(i0(x) + iv(2, x)) / 2`` (DLMF 10.29.1)",
)
iv = _function(
    "iv",
    "v z",
    "Modified Bessel function of the first kind",
    "``(iv(v-1, z) + iv(v+1, z)) / 2`` in z (DLMF 10.29.1), and none in the order",
)
i0e = _function(
    "i0e",
    "x",
    "``exp(-abs(x)) i0(x)``",
    "``i1e(x) - sign(x) i0e(x)``, for large x by the expansion of DLMF 10.40.1",
)
i1e = _function(
    "i1e",
    "x",
    "``exp(-abs(x)) i1(x)``",
    "``(i0e(x) + ive(2, x)) / 2 - sign(x) i1e(x)``, for large x by the expansion of "
    "DLMF 10.40.1",
)
ive = _function(
    "ive",
    "v z",
    "``exp(-abs(real(z))) iv(v, z)``",
    "``(ive(v-1, z) + ive(v+1, z)) / 2 - sign(z) ive(v, z)`` in real z, and none in "
    "the order",
)
k0 = _function(
    "k0",
    "x",
    "Modified Bessel function of the second kind of order 0",
    "``-k1(x)`` (DLMF 10.29.3)",
)
k1 = _function(
    "k1",
    "x",
    "Modified Bessel function of the second kind of order 1",
    "``-k0(x) - k1(x) / x`` (DLMF 10.29.2)",
)
kn = _function(
    "kn",
    "n x",
    "Modified Bessel function of the second kind of integer order",
    "``-(kn(n-1, x) + kn(n+1, x)) / 2`` in x (DLMF 10.29.1)",
)
kv = _function(
    "kv",
    "v z",
    "Modified Bessel function of the second kind",
    "``-(kv(v-1, z) + kv(v+1, z)) / 2`` in z (DLMF 10.29.1), and none in the order",
)
k0e = _function(
    "k0e",
    "x",
    "``exp(x) k0(x)``",
    "``k0e(x) - k1e(x)``, for large x by the expansion of DLMF 10.40.2",
)
k1e = _function(
    "k1e",
    "x",
    "``exp(x) k1(x)``",
    "``k1e(x) - k0e(x) - k1e(x) / x``, for large x by the expansion of DLMF 10.40.2",
)
kve = _function(
    "kve",
    "v z",
    "``exp(z) kv(v, z)``",
    "``kve(v, z) - (kve(v-1, z) + kve(v+1, z)) / 2`` in z, and none in the order",
)
airy = _function(
    "airy",
    "z",
    "Airy functions and their derivatives",
    "``Ai', z Ai, Bi', z Bi`` (DLMF 9.2.1)",
    results="Ai, Aip, Bi, Bip",
)

# -------------------------------------- hypergeometric functions and elliptic integrals

hyp0f1 = _function(
    "hyp0f1",
    "v z",
    "Confluent hypergeometric limit function 0F1",
    "``hyp0f1(v + 1, z) / v`` in z (DLMF 16.3.1), and none in v",
)
hyp1f1 = _function(
    "hyp1f1",
    "a b x",
    "Confluent hypergeometric function 1F1",
    "``a / b hyp1f1(a + 1, b + 1, x)`` in x (DLMF 13.3.15), and none in a and b",
)
hyp2f1 = _function(
    "hyp2f1",
    "a b c z",
    "Gauss's hypergeometric function 2F1",
    "``a b / c hyp2f1(a + 1, b + 1, c + 1, z)`` in z (DLMF 15.5.1), and none in a, b "
    "and c",
)
ellipk = _function(
    "ellipk",
    "m",
    "Complete elliptic integral of the first kind, of the parameter m",
    "by arithmetic-geometric means (DLMF 19.8.5)",
)
ellipe = _function(
    "ellipe",
    "m",
    "Complete elliptic integral of the second kind, of the parameter m",
    "``(ellipe(m) - ellipk(m)) / (2 m)`` (DLMF 19.4.2), by arithmetic-geometric means"
    " (DLMF 19.8.6)",
)

# ---------------------------------------------------- integrals of elementary functions

expi = _function(
    "expi",
    "x",
    "Exponential integral Ei",
    "``exp(x) / x`` (DLMF 6.2.5)",
)
exp1 = _function(
    "exp1",
    "z",
    "Exponential integral E1",
    "``-exp(-z) / z`` (DLMF 6.2.1)",
)
expn = _function(
    "expn",
    "n x",
    "Exponential integral of order n",
    "``-expn(n - 1, x)`` in x (DLMF 8.19.13)",
)
sici = _function(
    "sici",
    "x",
    "Sine and cosine integrals",
    "``sin(x) / x`` and ``cos(x) / x`` (DLMF 6.2.9, 6.2.11)",
    results="si, ci",
)
shichi = _function(
    "shichi",
    "x",
    "Hyperbolic sine and cosine integrals",
    "``sinh(x) / x`` and ``cosh(x) / x`` (DLMF 6.2.15, 6.2.16)",
    results="shi, chi",
)
fresnel = _function(
    "fresnel",
    "z",
    "Fresnel's integrals",
    "``sin(pi z**2 / 2)`` and ``cos(pi z**2 / 2)`` (DLMF 7.2.7, 7.2.8)",
    results="S, C",
)
spence = _function(
    "spence",
    "z",
    "Spence's function, the dilogarithm of ``1 - z``",
    "``log(z) / (1 - z)`` (DLMF 25.12.2), by its series near 1",
)

# ------------------------------------------------- functions that are not ufuncs


def polygamma(n: Any, x: Any) -> Any:
    """Derivative of order n of the digamma function.

    Parameters
    ----------
    n : array of integers
        Order, not negative.
    x : array

    Returns
    -------
    array
        In double precision, as in SciPy.

    Notes
    -----
    Derivative: ``polygamma(n + 1, x)`` in x (DLMF 5.15.1).

    Examples
    --------
    >>> import funcad
    >>> from funcad.scipy import special
    >>> f = lambda x: special.polygamma(1, x)
    >>> bool(funcad.grad(f)(2.5) == special.polygamma(2, 2.5))
    True
    """
    own, (n, x) = _library_or_none("polygamma", (n, x))
    if own is not None:
        return own(n, x)
    if "c" in (dtype_of(n).kind, dtype_of(x).kind):
        raise TypeError(
            f"scipy.special.polygamma takes real numbers; n is {dtype_of(n)} and x "
            f"{dtype_of(x)}."
        )
    return _p.polygamma(n, x)


def zeta(x: Any, q: Any = None, out: Any = None) -> Any:
    """Riemann's zeta function, or Hurwitz's, the sum of ``(q + k)**-x``.

    Parameters
    ----------
    x : array
    q : array, optional
        Riemann's function without it.

    Returns
    -------
    array

    Notes
    -----
    Derivative: ``-x zeta(x + 1, q)`` in q (DLMF 25.11.17), and in x by the
    Euler-Maclaurin formula (DLMF 25.11.5), for Riemann's function left of -1 by the
    functional equation (DLMF 25.4.1).

    Examples
    --------
    >>> import funcad
    >>> from funcad.scipy import special
    >>> round(float(funcad.grad(special.zeta)(0.0)), 12)  # -log(2 pi) / 2
    -0.918938533205
    """
    own, args = _library_or_none("zeta", (x,) if q is None else (x, q))
    if own is not None:
        return own(*args) if out is None else own(*args, out=out)
    refuse("scipy.special.zeta", out=out)
    return _p.riemann_zeta(*args) if q is None else _p.zeta(*args)


def lambertw(z: Any, k: Any = 0, tol: float = 1e-8) -> Any:
    """Lambert's function w, for which ``w exp(w) = z``.

    Parameters
    ----------
    z : array
    k : array of integers
        Branch.
    tol : float
        Of the iteration.

    Returns
    -------
    array of complex numbers

    Notes
    -----
    Derivative: ``1 / (exp(w) + z)`` in z (DLMF 4.13.4); it is 1 at zero on the
    principal branch, and grows without bound towards the branch point.

    Examples
    --------
    >>> import funcad
    >>> from funcad.scipy import special
    >>> float(funcad.grad(lambda z: special.lambertw(z).real)(0.0))
    1.0
    """
    own, (z, k) = _library_or_none("lambertw", (z, k))
    return _p.lambertw(z, k, tol) if own is None else own(z, k, tol)


def multigammaln(a: Any, d: int) -> Any:
    """Logarithm of the multivariate gamma function.

    Parameters
    ----------
    a : array
        Greater than ``(d - 1) / 2``.
    d : int
        Dimension.

    Returns
    -------
    array

    Notes
    -----
    Derivative: the sum of ``psi(a - j / 2)`` for j below d (from DLMF 35.3.4).

    Examples
    --------
    >>> import funcad
    >>> from funcad.scipy import special
    >>> f = lambda a: special.multigammaln(a, 1)  # the logarithm of gamma
    >>> bool(funcad.grad(f)(2.5) == special.psi(2.5))
    True
    """
    own, (a,) = _library_or_none("multigammaln", (a,))
    if own is not None:
        return own(a, d)
    if np.ndim(d) or d != int(d) or d < 1:
        raise ValueError(
            f"scipy.special.multigammaln: d is a dimension, a positive integer; got {d}"
        )
    return _p.multigammaln(a, d=int(d))


def factorial(n: Any, exact: bool = False) -> Any:
    """Factorial, ``gamma(n + 1)``, and zero for negative n.

    Parameters
    ----------
    n : array
    exact : bool
        Integers of any size from SciPy; plain operands alone.

    Returns
    -------
    array

    Notes
    -----
    Derivative: ``gamma(n + 1) psi(n + 1)``, and zero for negative n.

    Examples
    --------
    >>> import funcad
    >>> from funcad.scipy import special
    >>> float(funcad.grad(special.factorial)(0.0))  # minus Euler's constant
    -0.5772156649015329
    """
    own, (n,) = _library_or_none("factorial", (n,))
    if own is not None:
        return own(n, exact=exact)
    refuse("scipy.special.factorial", exact=exact or None)
    if dtype_of(n).kind not in "iuf":
        raise ValueError(
            "scipy.special.factorial takes integers and real numbers, not "
            f"{dtype_of(n)}; of others, write gamma(n + 1)."
        )
    if 0 in shape_of(n):  # which SciPy returns as it is
        return n
    n = convert(n, dtype=np.dtype(np.float64))
    below = n < 0
    return _e.select(below, 0.0, _p.gamma(_e.select(below, 0.0, n) + 1))


def _as_scipy(name: str, primitive: Primitive) -> Function:
    """A function of NumPy's that SciPy has with other dtypes for small operands."""
    ufunc = getattr(_scipys, name)

    def function(x: Any, /, **kwargs: Any) -> Any:
        own, (x,) = _library_or_none(name, (x,))
        if own is not None:
            return own(x, **kwargs)
        refuse(f"scipy.special.{name}", **kwargs)
        dtype = ufunc(np.empty(0, dtype_of(x))).dtype
        return primitive(x if dtype_of(x) == dtype else convert(x, dtype=dtype))

    function.__doc__ = (
        f"``numpy.{name}``, with the dtypes that SciPy gives it.\n\nParameters\n"
        "----------\nx : array\n\nReturns\n-------\narray\n"
    )
    function.__name__ = function.__qualname__ = name
    return implements(ufunc)(function)


expm1 = _as_scipy("expm1", _e.expm1)
log1p = _as_scipy("log1p", _e.log1p)
exp2 = _as_scipy("exp2", _e.exp2)
cbrt = _as_scipy("cbrt", _e.cbrt)


def sinc(x: Any) -> Any:
    """``numpy.sinc``, which is SciPy's: ``sin(pi x) / (pi x)``.

    Parameters
    ----------
    x : array

    Returns
    -------
    array
    """
    return np.sinc(x)


# --------------------------------------------------------- exponentials along axes


def logsumexp(
    a: Any,
    axis: Axis = None,
    b: Any = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any:
    """Logarithm of the sum of exponentials, ``log(sum(b * exp(a)))``.

    Parameters
    ----------
    a : array
    axis : int or tuple of int, optional
        All axes by default.
    b : array, optional
        Weights of either sign, which broadcast against ``a``.
    keepdims : bool
    return_sign : bool
        Whether to return the logarithm of the absolute value of the sum, and its sign.

    Returns
    -------
    array
        NaN where the sum is negative and the sign is not asked for.
    sign : array
        If ``return_sign``.

    Notes
    -----
    Derivative: the terms over their sum, ``softmax(a)`` without weights.  A term whose
    weight is zero does not count, however large its exponent.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import special
    >>> funcad.grad(special.logsumexp)(np.array([1e4, 1e4, -np.inf]))
    array([0.5, 0.5, 0. ])
    """
    args = (a,) if b is None else (a, b)
    own, args = _library_or_none("logsumexp", args)
    if own is not None:
        rest = {"keepdims": keepdims, "return_sign": return_sign}
        return own(args[0], axis=axis, **rest, **dict(zip("b", args[1:])))
    dtype = np.result_type(*[dtype_of(x) for x in args])
    if dtype.kind not in "fc":
        dtype = np.dtype(np.float64)
    a, *given = [convert(x, dtype=dtype) for x in args]
    if given:
        (b,) = given
        a = a + 0 * b  # of the common shape
    if shape_of(a) == ():
        a = reshape(a, shape=(1,))  # as SciPy has it
    axes = axes_of(axis, len(shape_of(a)))
    empty = 0 in [shape_of(a)[i] for i in axes]
    if b is None and dtype.kind == "f" and not return_sign and not empty:
        return _nn.logsumexp(a, axis=axes, keepdims=keepdims)
    if b is not None:
        a = _e.select(b == 0, -math.inf, a)
    shift = np.max(np.real(a), axis=axes, keepdims=True, initial=-math.inf)
    shift = _e.stop_gradient(_e.select(_e.isfinite(shift), shift, 0.0))
    terms = np.exp(a - shift)
    total = np.sum(terms if b is None else b * terms, axis=axes, keepdims=True)
    none = total == 0
    safe = _e.select(none, 1.0, total)
    if return_sign:
        sign = np.sign(total)
        log = np.log(np.abs(safe))
    elif dtype.kind == "c":
        log = np.log(safe)
    else:
        log = np.log(_e.select(safe > 0, safe, math.nan))
    out = _e.select(none, -math.inf, log + shift)
    results = (out, sign) if return_sign else (out,)
    if not keepdims:
        results = tuple([np.squeeze(x, axes) for x in results])
    return results if return_sign else results[0]


def _exponent(name: str, x: Any, axis: Axis) -> tuple[Any, tuple[int, ...]]:
    """The operand in the dtype of its exponentials, and axes that are not empty."""
    dtype = dtype_of(x)
    if dtype.kind == "b":
        raise TypeError(f"scipy.special.{name} takes no booleans; convert them first.")
    axes = axes_of(axis, len(shape_of(x)))
    if 0 in [shape_of(x)[i] for i in axes]:
        raise ValueError(
            f"scipy.special.{name} over axis {axis} of shape {shape_of(x)} is over no "
            "entries at all."
        )
    if dtype.kind in "ui":
        x = convert(x, dtype=np.exp(np.empty(0, dtype)).dtype)
    return x, axes


def softmax(x: Any, axis: Axis = None) -> Any:
    """Exponentials divided by their sum.

    Parameters
    ----------
    x : array
    axis : int or tuple of int, optional
        All axes by default.

    Returns
    -------
    array

    Notes
    -----
    Derivative: ``s_i (delta_ij - s_j)`` for the result s.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import special
    >>> funcad.jacobian(special.softmax)(np.array([1e4, 1e4]))
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """
    own, (x,) = _library_or_none("softmax", (x,))
    if own is not None:
        return own(x, axis=axis)
    x, axes = _exponent("softmax", x, axis)
    if dtype_of(x).kind == "c":
        shift = np.max(np.real(x), axis=axes, keepdims=True)
        e = np.exp(x - _e.stop_gradient(shift))
        return e / np.sum(e, axis=axes, keepdims=True)
    return _nn.softmax(x, axis=axes)


def log_softmax(x: Any, axis: Axis = None) -> Any:
    """Logarithm of :func:`softmax`, exact where softmax itself is too small a number.

    Parameters
    ----------
    x : array
    axis : int or tuple of int, optional
        All axes by default.

    Returns
    -------
    array

    Notes
    -----
    Derivative: ``delta_ij - s_j`` for the softmax s.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.scipy import special
    >>> funcad.jacobian(special.log_softmax)(np.array([1e4, 0.0]))
    array([[ 0.,  0.],
           [-1.,  1.]])
    """
    own, (x,) = _library_or_none("log_softmax", (x,))
    if own is not None:
        return own(x, axis=axis)
    x, axes = _exponent("log_softmax", x, axis)
    total = logsumexp(x, axis=axes, keepdims=True)
    return x - (total if shape_of(x) else reshape(total, shape=()))


# ufuncs behind functions of SciPy's, which pass a tracer on to them
for _hidden, _primitive in (
    ("_zeta", _p.zeta),
    ("_riemann_zeta", _p.riemann_zeta),
    ("_lambertw", _p.lambertw),
):
    if hasattr(_scipys._ufuncs, _hidden):
        PRIMITIVES[getattr(_scipys._ufuncs, _hidden)] = _primitive

__all__ = sorted(
    name
    for name, value in list(globals().items())
    if callable(value) and hasattr(_scipys, name)
)
