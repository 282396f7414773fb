"""Densities and distribution functions of the common distributions, SciPy's names.

``stats.norm.logpdf(x, loc, scale)`` and its kin take arrays and tracers in every
argument, and have derivatives in each that is continuous:

>>> import numpy as np
>>> import funcad
>>> from funcad.scipy import stats
>>> data = np.array([1.0, 2.0, 6.0])
>>> loss = lambda loc: -np.sum(stats.norm.logpdf(data, loc))
>>> float(funcad.grad(loss)(0.0))
-9.0

A distribution is a table entry: the logarithm of its density in standard form, its
support, the parameters that are legal, and such distribution functions as have names in
:mod:`funcad.scipy.special`.  As in SciPy, results are in double precision, minus
infinity (or zero) outside of the support, and NaN where a parameter is not legal.
There, derivatives are zero.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcad.backends import backend_of, namespace
from funcad.core.errors import InputDtypeError
from funcad.core.tracing import Array, Tracer, dtype_of, shape_of
from funcad.numpy.dispatch import as_operands
from funcad.primitives.elementwise import (
    absolute,
    exp,
    expm1,
    floor,
    isnan,
    log,
    log1p,
    logical_and,
    logical_not,
    logical_or,
    select,
    sqrt,
)
from funcad.primitives.linalg import cholesky, triangular_solve
from funcad.primitives.shape import convert, reshape
from funcad.primitives.special import (
    betainc,
    betaincc,
    betaincinv,
    betaln,
    expit,
    gammainc,
    gammaincc,
    gammainccinv,
    gammaincinv,
    gammaln,
    log_expit,
    log_ndtr,
    logit,
    ndtr,
    ndtri,
    stdtr,
    xlog1py,
    xlogy,
)
from funcad.transforms.arguments import bind_arguments

__all__ = [
    "bernoulli",
    "beta",
    "binom",
    "cauchy",
    "chi2",
    "dirichlet",
    "expon",
    "gamma",
    "geom",
    "gumbel_l",
    "gumbel_r",
    "halfnorm",
    "laplace",
    "logistic",
    "lognorm",
    "multivariate_normal",
    "norm",
    "pareto",
    "poisson",
    "rayleigh",
    "t",
    "uniform",
    "weibull_min",
]

Formula = Callable[..., Array]

_DOUBLE = np.dtype(np.float64)
_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def _in_double(name: str, values: Sequence[Any]) -> list[Array]:
    """Operands as arrays of one library, in double precision."""
    values = as_operands(*values)
    xp = namespace(*values)
    out = []
    for x in values:
        if dtype_of(x).kind == "c":
            raise InputDtypeError(
                f"scipy.stats.{name} takes real numbers, and an argument is "
                f"{dtype_of(x)}. Write np.real(x) if that is meant."
            )
        if not isinstance(x, Tracer):
            x = xp.asarray(x)
        out.append(x if dtype_of(x) == _DOUBLE else convert(x, dtype=_DOUBLE))
    return out


def _both(*conditions: Array) -> Array:
    total = conditions[0]
    for condition in conditions[1:]:
        total = logical_and(total, condition)
    return total


def _chosen(inside: Array, value: Array, legal: Array, outside: Any) -> Array:
    """A value inside of the support, another outside, NaN for illegal parameters."""
    out = select(inside, value, select(legal, outside, math.nan))
    return out if isinstance(out, Tracer) else out[()]


def _placed(end: float, loc: Array, scale: Array) -> Any:
    """An end of the support; one that is infinite moves with no parameter."""
    return end if math.isinf(end) else end * scale + loc


class Distribution:
    """A family of distributions of one variable.

    Parameters
    ----------
    name : str
        SciPy's.
    shapes : str
        Names of the parameters beside ``loc`` and ``scale``.
    log_density : callable
        ``log_density(z, *shapes)`` in standard form, inside of the support.
    support : pair of float
        Least and greatest value in standard form; inside of it is 1/2, or 2.
    legal : callable, optional
        Whether shape parameters are legal; all positive, if not given.
    discrete : bool
        Whether values are integers, so that there is no ``scale``.
    upper : callable, optional
        ``upper(*shapes)``, the greatest value where it depends on parameters.
    **functions : callable
        ``cdf``, ``sf``, ``logcdf``, ``logsf``, ``ppf`` and ``isf`` in standard form.
    """

    def __init__(
        self,
        name: str,
        shapes: str,
        log_density: Formula,
        support: tuple[float, float] = (-math.inf, math.inf),
        *,
        legal: Formula | None = None,
        discrete: bool = False,
        upper: Formula | None = None,
        **functions: Formula,
    ) -> None:
        self.name = name
        self._shapes = shapes.split()
        self._log_density = log_density
        self._low, self._high = support
        self._legal = legal
        self._upper = upper
        self._discrete = discrete
        # a value inside of every support, to compute with where there is none
        self._safe = 1.0 if self._low == 1 or discrete else 0.5
        kind = "pmf" if discrete else "pdf"
        self._publish(f"log{kind}", "x", self._log_of_density)
        self._publish(kind, "x", lambda *a: exp(self._log_of_density(*a)))
        for label, formula in functions.items():
            if label in ("ppf", "isf"):
                run = self._quantile(formula, label)
            else:
                run = self._distribution(formula, label)
            self._publish(label, "q" if label in ("ppf", "isf") else "x", run)

    def __repr__(self) -> str:
        return f"<funcad.scipy.stats.{self.name}>"

    def _publish(self, label: str, first: str, run: Formula) -> None:
        """Make a method of that name, with SciPy's arguments."""
        name = f"{self.name}.{label}"
        if self._discrete and first == "x":
            first = "k"
        keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [inspect.Parameter(n, keyword) for n in (first, *self._shapes)]
        parameters.append(inspect.Parameter("loc", keyword, default=0))
        if not self._discrete:
            parameters.append(inspect.Parameter("scale", keyword, default=1))
        signature = inspect.Signature(parameters)

        def method(*args: Any, **kwargs: Any) -> Any:
            bound = bind_arguments(f"scipy.stats.{name}", signature, args, kwargs)
            bound.apply_defaults()
            values = _in_double(name, list(bound.arguments.values()))
            if self._discrete:
                values.append(namespace(*values).ones(()))
            return run(*values)

        what = _WHAT[label]
        listed = "\n".join(f"{n} : array" for n in signature.parameters)
        method.__doc__ = (
            f"{what} of ``scipy.stats.{self.name}``.\n\nParameters\n----------\n"
            f"{listed}\n\nReturns\n-------\narray\n"
        )
        method.__name__ = label
        method.__qualname__ = name
        method.__signature__ = signature  # type: ignore[attr-defined]
        setattr(self, label, method)

    def _standard(self, x: Array, shapes: Any, loc: Array, scale: Array) -> Any:
        """Standardised value, legality, and parameters that do no harm."""
        legal = scale > 0
        if self._legal is not None:
            legal = logical_and(legal, self._legal(*shapes))
        elif shapes:
            legal = _both(legal, *[s > 0 for s in shapes])
        legal = _both(legal, *[logical_not(isnan(v)) for v in (x, loc)])
        scale = select(legal, scale, 1.0)
        # parameters of one are legal everywhere, and one is a fraction's limit
        shapes = [select(legal, s, _HARMLESS.get(self.name, 1.0)) for s in shapes]
        return (x - loc) / scale, legal, shapes, scale

    def _log_of_density(self, x: Array, *parameters: Array) -> Array:
        *shapes, loc, scale = parameters
        z, legal, shapes, scale = self._standard(x, shapes, loc, scale)
        high = self._high if self._upper is None else self._upper(*shapes)
        inside = _both(legal, z >= self._low, z <= high)
        if self._discrete:
            inside = logical_and(inside, z == floor(z))
        z = select(inside, z, self._safe)
        value = self._log_density(z, *shapes)
        return _chosen(inside, value - log(scale), legal, -math.inf)

    def _distribution(self, formula: Formula, label: str) -> Formula:
        falling, logarithmic = "sf" in label, "log" in label

        def run(x: Array, *parameters: Array) -> Array:
            *shapes, loc, scale = parameters
            z, legal, shapes, scale = self._standard(x, shapes, loc, scale)
            inside = _both(legal, z > self._low, z < self._high)
            value = formula(select(inside, z, self._safe), *shapes)
            none, all_of_it = (-math.inf, 0.0) if logarithmic else (0.0, 1.0)
            if falling:
                none, all_of_it = all_of_it, none
            ends = select(z <= self._low, none, all_of_it)
            return _chosen(inside, value, legal, ends)

        return run

    def _quantile(self, formula: Formula, label: str) -> Formula:
        def run(q: Array, *parameters: Array) -> Array:
            *shapes, loc, scale = parameters
            _, legal, shapes, scale = self._standard(q, shapes, loc, scale)
            inside = _both(legal, q > 0, q < 1)
            value = formula(select(inside, q, 0.5), *shapes) * scale + loc
            low, high = (0, 1) if label == "ppf" else (1, 0)
            ends = select(q == high, _placed(self._high, loc, scale), math.nan)
            ends = select(q == low, _placed(self._low, loc, scale), ends)
            return _chosen(inside, value, legal, ends)

        return run


_WHAT = {
    "logpdf": "Logarithm of the density",
    "pdf": "Density",
    "logpmf": "Logarithm of the probability mass",
    "pmf": "Probability mass",
    "cdf": "Distribution function",
    "logcdf": "Logarithm of the distribution function",
    "sf": "Complement of the distribution function",
    "logsf": "Logarithm of the complement of the distribution function",
    "ppf": "Quantile, the inverse of the distribution function,",
    "isf": "Inverse of the complement of the distribution function",
}
_HARMLESS = {"bernoulli": 0.5, "binom": 0.5, "geom": 0.5}


def _fraction(p: Array) -> Array:
    return logical_and(p >= 0, p <= 1)


_POSITIVE = (0.0, math.inf)

norm: Any = Distribution(
    "norm",
    "",
    lambda z: -0.5 * z * z - _LOG_SQRT_2PI,
    cdf=ndtr,
    sf=lambda z: ndtr(-z),
    logcdf=log_ndtr,
    logsf=lambda z: log_ndtr(-z),
    ppf=ndtri,
    isf=lambda q: -ndtri(q),
)


def _log_t(z: Array, df: Array) -> Array:
    """By betaln, whose two gamma functions do not cancel; the normal one at the end."""
    endless = df == math.inf
    df = select(endless, 1.0, df)
    student = (
        -0.5 * log(df) - betaln(0.5, 0.5 * df) - 0.5 * (df + 1) * log1p(z * z / df)
    )
    return select(endless, -0.5 * z * z - _LOG_SQRT_2PI, student)


t: Any = Distribution(
    "t",
    "df",
    _log_t,
    cdf=lambda z, df: stdtr(df, z),
    sf=lambda z, df: stdtr(df, -z),
)
gamma: Any = Distribution(
    "gamma",
    "a",
    lambda z, a: xlogy(a - 1, z) - z - gammaln(a),
    _POSITIVE,
    cdf=lambda z, a: gammainc(a, z),
    sf=lambda z, a: gammaincc(a, z),
    ppf=lambda q, a: gammaincinv(a, q),
    isf=lambda q, a: gammainccinv(a, q),
)
chi2: Any = Distribution(
    "chi2",
    "df",
    lambda z, df: (
        xlogy(0.5 * df - 1, z) - 0.5 * z - gammaln(0.5 * df) - (0.5 * math.log(2)) * df
    ),
    _POSITIVE,
    cdf=lambda z, df: gammainc(0.5 * df, 0.5 * z),
    sf=lambda z, df: gammaincc(0.5 * df, 0.5 * z),
    ppf=lambda q, df: 2 * gammaincinv(0.5 * df, q),
    isf=lambda q, df: 2 * gammainccinv(0.5 * df, q),
)
beta: Any = Distribution(
    "beta",
    "a b",
    lambda z, a, b: xlogy(a - 1, z) + xlog1py(b - 1, -z) - betaln(a, b),
    (0.0, 1.0),
    cdf=lambda z, a, b: betainc(a, b, z),
    sf=lambda z, a, b: betaincc(a, b, z),
    ppf=lambda q, a, b: betaincinv(a, b, q),
)
laplace: Any = Distribution(
    "laplace",
    "",
    lambda z: -absolute(z) - math.log(2),
    cdf=lambda z: _half_of_exponential(-z),
    sf=lambda z: _half_of_exponential(z),
    ppf=lambda q: _laplace_quantile(q),
    isf=lambda q: -_laplace_quantile(q),
)


def _half_of_exponential(z: Array) -> Array:
    """exp(-z) / 2 for positive z, and its complement to one for the others."""
    small = 0.5 * exp(-absolute(z))
    return select(z > 0, small, 1 - small)


def _laplace_quantile(q: Array) -> Array:
    low = q < 0.5
    return select(
        low, log(2 * select(low, q, 0.5)), -log(2 * (1 - select(low, 0.5, q)))
    )


logistic: Any = Distribution(
    "logistic",
    "",
    lambda z: log_expit(z) + log_expit(-z),
    cdf=expit,
    sf=lambda z: expit(-z),
    logcdf=log_expit,
    logsf=lambda z: log_expit(-z),
    ppf=logit,
    isf=lambda q: -logit(q),
)
expon: Any = Distribution(
    "expon",
    "",
    lambda z: -z,
    _POSITIVE,
    cdf=lambda z: -expm1(-z),
    sf=lambda z: exp(-z),
    logsf=lambda z: -z,
    ppf=lambda q: -log1p(-q),
    isf=lambda q: -log(q),
)
uniform: Any = Distribution(
    "uniform",
    "",
    lambda z: 0.0 * z,
    (0.0, 1.0),
    cdf=lambda z: z,
    sf=lambda z: 1 - z,
    ppf=lambda q: q,
    isf=lambda q: 1 - q,
)
cauchy: Any = Distribution("cauchy", "", lambda z: -math.log(math.pi) - log1p(z * z))
halfnorm: Any = Distribution(
    "halfnorm",
    "",
    lambda z: 0.5 * math.log(2 / math.pi) - 0.5 * z * z,
    _POSITIVE,
    sf=lambda z: 2 * ndtr(-z),
)
lognorm: Any = Distribution(
    "lognorm",
    "s",
    lambda z, s: _log_lognorm(z, s),
    _POSITIVE,
    cdf=lambda z, s: ndtr(log(z) / s),
    sf=lambda z, s: ndtr(-log(z) / s),
    logcdf=lambda z, s: log_ndtr(log(z) / s),
    logsf=lambda z, s: log_ndtr(-log(z) / s),
    ppf=lambda q, s: exp(s * ndtri(q)),
)


def _log_lognorm(z: Array, s: Array) -> Array:
    none = z == 0
    logarithm = log(select(none, 1.0, z))
    value = -0.5 * (logarithm / s) ** 2 - logarithm - log(s) - _LOG_SQRT_2PI
    return select(none, -math.inf, value)


pareto: Any = Distribution(
    "pareto",
    "b",
    lambda z, b: log(b) - (b + 1) * log(z),
    (1.0, math.inf),
    cdf=lambda z, b: -expm1(-b * log(z)),
    sf=lambda z, b: exp(-b * log(z)),
    ppf=lambda q, b: exp(-log1p(-q) / b),
)
rayleigh: Any = Distribution(
    "rayleigh",
    "",
    lambda z: log(z) - 0.5 * z * z,
    _POSITIVE,
    cdf=lambda z: -expm1(-0.5 * z * z),
    sf=lambda z: exp(-0.5 * z * z),
    logsf=lambda z: -0.5 * z * z,
    ppf=lambda q: sqrt(-2 * log1p(-q)),
)
weibull_min: Any = Distribution(
    "weibull_min",
    "c",
    lambda z, c: log(c) + xlogy(c - 1, z) - z**c,
    _POSITIVE,
    cdf=lambda z, c: -expm1(-(z**c)),
    sf=lambda z, c: exp(-(z**c)),
    logsf=lambda z, c: -(z**c),
    ppf=lambda q, c: (-log1p(-q)) ** (1 / c),
)
gumbel_r: Any = Distribution(
    "gumbel_r",
    "",
    lambda z: -z - exp(-z),
    cdf=lambda z: exp(-exp(-z)),
    sf=lambda z: -expm1(-exp(-z)),
    logcdf=lambda z: -exp(-z),
    ppf=lambda q: -log(-log(q)),
)
gumbel_l: Any = Distribution(
    "gumbel_l",
    "",
    lambda z: z - exp(z),
    cdf=lambda z: -expm1(-exp(z)),
    sf=lambda z: exp(-exp(z)),
    logsf=lambda z: -exp(z),
    ppf=lambda q: log(-log1p(-q)),
)

# ---------------------------------------------------------------- discrete ones

poisson: Any = Distribution(
    "poisson",
    "mu",
    lambda k, mu: xlogy(k, mu) - gammaln(k + 1) - mu,
    _POSITIVE,
    legal=lambda mu: mu >= 0,
    discrete=True,
)
bernoulli: Any = Distribution(
    "bernoulli",
    "p",
    lambda k, p: xlogy(k, p) + xlog1py(1 - k, -p),
    (0.0, 1.0),
    legal=_fraction,
    discrete=True,
)
binom: Any = Distribution(
    "binom",
    "n p",
    lambda k, n, p: (
        -betaln(1 + n - k, 1 + k) - log1p(n) + xlogy(k, p) + xlog1py(n - k, -p)
    ),
    _POSITIVE,
    legal=lambda n, p: _both(n >= 0, n == floor(n), _fraction(p)),
    discrete=True,
    upper=lambda n, p: n,
)
geom: Any = Distribution(
    "geom",
    "p",
    lambda k, p: xlog1py(k - 1, -p) + log(p),
    (1.0, math.inf),
    legal=lambda p: logical_and(p > 0, p <= 1),
    discrete=True,
)


# ------------------------------------------------------------ of several variables


class multivariate_normal:
    """The normal distribution of vectors."""

    @staticmethod
    def logpdf(x: Any, mean: Any = None, cov: Any = 1) -> Any:
        """Logarithm of the density of ``scipy.stats.multivariate_normal``.

        Parameters
        ----------
        x : array
            Vectors along the last axis.
        mean : array, optional
            Zero by default.
        cov : array
            Covariance matrix, the diagonal of one, or one number for all variances.

        Returns
        -------
        array
            Without axes of size one, as in SciPy.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the covariance is not positive definite.

        Notes
        -----
        One Cholesky factorisation L of the covariance gives the determinant and the
        distance ``|L^-1 (x - mean)|``.  The gradient in ``cov`` is symmetric.

        Examples
        --------
        >>> import numpy as np
        >>> import funcad
        >>> from funcad.scipy import stats
        >>> x, mean = np.array([1.0, 2.0]), np.zeros(2)
        >>> funcad.grad(stats.multivariate_normal.logpdf, argnums=1)(x, mean)
        array([1., 2.])
        """
        given = [x, cov] if mean is None else [x, cov, mean]
        x, cov, *rest = _in_double("multivariate_normal.logpdf", given)
        mean, cov, dim = _mean_and_covariance(rest[0] if rest else None, cov)
        if not shape_of(x):
            x = reshape(x, shape=(1,))
        if len(shape_of(x)) == 1:
            n = shape_of(x)[0]
            x = reshape(x, shape=(n, 1) if dim == 1 else (1, n))
        if shape_of(x)[-1] not in (1, dim):
            raise ValueError(
                "scipy.stats.multivariate_normal.logpdf: x has vectors of "
                f"{shape_of(x)[-1]} entries and the distribution has {dim}."
            )
        lead = shape_of(x)[:-1]
        x = np.broadcast_to(x, (*lead, dim))
        deviation = x if mean is None else x - mean
        columns = np.transpose(reshape(deviation, shape=(math.prod(lead), dim)))
        factor = cholesky(cov)
        scaled = triangular_solve(factor, columns, lower=True)
        distance = np.sum(scaled * scaled, axis=0)
        half_log_det = np.sum(log(np.diagonal(factor)))
        out = -dim * _LOG_SQRT_2PI - half_log_det - 0.5 * distance
        return np.squeeze(reshape(out, shape=lead))

    @staticmethod
    def pdf(x: Any, mean: Any = None, cov: Any = 1) -> Any:
        """Density of ``scipy.stats.multivariate_normal``.

        Parameters
        ----------
        x, mean, cov : array
            As for :meth:`logpdf`.

        Returns
        -------
        array
        """
        return exp(multivariate_normal.logpdf(x, mean, cov))


def _mean_and_covariance(mean: Any, cov: Array) -> tuple[Any, Array, int]:
    """The mean as a vector, the covariance as a matrix, and the dimension."""
    if mean is not None and not shape_of(mean):
        mean = reshape(mean, shape=(1,))
    shape = shape_of(cov)
    if mean is not None and len(shape_of(mean)) != 1:
        raise ValueError(
            f"scipy.stats.multivariate_normal: the mean is a vector; its shape is "
            f"{shape_of(mean)}."
        )
    dim = shape_of(mean)[0] if mean is not None else shape[0] if shape else 1
    if dim == 0:
        raise ValueError("scipy.stats.multivariate_normal is of one variable at least.")
    if len(shape) > 2 or shape not in ((), (dim,), (dim, dim)):
        raise ValueError(
            f"scipy.stats.multivariate_normal: the covariance of {dim} variables has "
            f"shape ({dim}, {dim}), or that of its diagonal, ({dim},), or (); it is "
            f"{shape}."
        )
    if len(shape) < 2:
        eye = backend_of(cov).from_host(np.eye(dim))
        cov = cov * eye if not shape else reshape(cov, shape=(dim, 1)) * eye
    return mean, cov, dim


class dirichlet:
    """Dirichlet's distribution, of fractions that add up to one."""

    @staticmethod
    def logpdf(x: Any, alpha: Any) -> Any:
        """Logarithm of the density of ``scipy.stats.dirichlet``.

        Parameters
        ----------
        x : array
            Fractions along the first axis; the last may be left out.
        alpha : array
            Positive concentrations, a vector.

        Returns
        -------
        array
            Minus infinity for what are no fractions that add up to one, where a
            transform does not know the values.

        Raises
        ------
        ValueError
            As in SciPy, for what are no fractions that add up to one, and for an alpha
            that is not positive.

        Examples
        --------
        >>> import numpy as np
        >>> import funcad
        >>> from funcad.scipy import stats
        >>> x = np.array([0.25, 0.75])
        >>> funcad.grad(lambda x: stats.dirichlet.logpdf(x, [2.0, 4.0]))(x)
        array([4., 4.])
        """
        x, alpha = _in_double("dirichlet.logpdf", [x, alpha])
        if len(shape_of(alpha)) != 1:
            raise ValueError(
                "scipy.stats.dirichlet: alpha is a vector; its shape is "
                f"{shape_of(alpha)}."
            )
        size = shape_of(alpha)[0]
        if not shape_of(x) or shape_of(x)[0] not in (size, size - 1):
            raise ValueError(
                f"scipy.stats.dirichlet: x has {size} (or {size - 1}) fractions along "
                f"its first axis, as alpha has entries; its shape is {shape_of(x)}."
            )
        if shape_of(x)[0] == size - 1:
            x = np.concatenate([x, 1 - np.sum(x, axis=0, keepdims=True)])
        if len(shape_of(x)) > 2 or 0 in shape_of(x):
            raise ValueError(
                "scipy.stats.dirichlet: x is a vector, or a matrix with a column for "
                f"each point; its shape is {shape_of(x)}."
            )
        column = reshape(alpha, shape=(size, *(1,) * (len(shape_of(x)) - 1)))
        off = absolute(np.sum(x, axis=0) - 1) > 1e-9
        outside = logical_or(np.any(_outside(x, column), axis=0), off)
        if not isinstance(alpha, Tracer) and np.any(alpha <= 0):
            raise ValueError("scipy.stats.dirichlet: entries of alpha are positive.")
        if not isinstance(outside, Tracer) and np.any(outside):
            raise ValueError(
                "scipy.stats.dirichlet: the entries of x are fractions that add up to "
                "one along the first axis, and positive where alpha is below one."
            )
        safe = select(outside, 0.5, x)
        norming = gammaln(np.sum(alpha)) - np.sum(gammaln(alpha))
        value = norming + np.sum(xlogy(column - 1, safe), axis=0)
        legal = np.all(alpha > 0)
        inside = logical_and(legal, logical_not(outside))
        return np.squeeze(_chosen(inside, value, legal, -math.inf))

    @staticmethod
    def pdf(x: Any, alpha: Any) -> Any:
        """Density of ``scipy.stats.dirichlet``.

        Parameters
        ----------
        x, alpha : array
            As for :meth:`logpdf`.

        Returns
        -------
        array
        """
        return exp(dirichlet.logpdf(x, alpha))


def _outside(x: Array, alpha: Array) -> Array:
    """Where a fraction is negative, above one, or a zero that its density has not."""
    endless = logical_and(x == 0, alpha < 1)
    return logical_or(logical_or(x < 0, x > 1), endless)
