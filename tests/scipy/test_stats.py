"""Delicate points of the distributions, and malformed calls of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipys

import funcad
from funcad.scipy import stats

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

# a value outside of the support of each, or on its edge, and legal parameters
OUTSIDE = {
    "expon": (-1.0,),
    "gamma": (-1.0, 2.0),
    "beta": (1.5, 2.0, 3.0),
    "uniform": (1.5,),
    "chi2": (-1.0, 3.0),
    "lognorm": (0.0, 1.0),
    "pareto": (0.5, 2.0),
    "halfnorm": (-1.0,),
    "rayleigh": (-1.0,),
    "weibull_min": (-1.0, 2.0),
    "poisson": (-1.0, 2.0),
    "bernoulli": (2.0, 0.3),
    "binom": (6.0, 5.0, 0.3),
    "geom": (0.5, 0.3),
}


def log_density(family):
    return getattr(family, "logpdf", None) or family.logpmf


@pytest.mark.parametrize("name", OUTSIDE)
def test_outside_of_the_support_the_density_is_zero_and_so_are_derivatives(name):
    args = OUTSIDE[name]
    ours = log_density(getattr(stats, name))
    assert ours(*args) == log_density(getattr(scipys, name))(*args) == -np.inf
    gradient = funcad.grad(ours, tuple(range(len(args))))(*args)
    assert [float(g) for g in gradient] == [0.0] * len(args)


INSIDE = {
    "norm": (0.3,),
    "t": (0.3, 2.0),
    "gamma": (0.3, 2.0),
    "beta": (0.3, 2.0, 3.0),
    "poisson": (3.0, 2.0),
    "laplace": (0.3,),
    "logistic": (0.3,),
    "expon": (0.3,),
    "uniform": (0.3,),
    "binom": (2.0, 5.0, 0.3),
}


@pytest.mark.parametrize("name", [n for n in INSIDE if n not in ("poisson", "binom")])
def test_a_scale_that_is_not_positive_gives_nan(name):
    args = (*INSIDE[name], 0.0, -1.0)
    assert np.isnan(stats.__dict__[name].logpdf(*args))
    assert np.isnan(getattr(scipys, name).logpdf(*args))


@pytest.mark.parametrize("name", [n for n in INSIDE if len(INSIDE[n]) > 1])
def test_illegal_parameters_and_nan_give_what_scipy_gives(name):
    for bad in (-1.0, math.nan):
        for i in range(1, len(INSIDE[name])):
            args = list(INSIDE[name])
            args[i] = bad
            ours = log_density(getattr(stats, name))(*args)
            theirs = log_density(getattr(scipys, name))(*args)
            np.testing.assert_array_equal(ours, theirs)


def test_nan_passes_through():
    assert np.isnan(stats.norm.logpdf(math.nan))
    assert np.isnan(stats.gamma.cdf(math.nan, 2.0))


@pytest.mark.parametrize("x", [-1e150, -40.0, 40.0, 1e5])
def test_normal_tails(x):
    for label in ("logpdf", "logcdf", "logsf"):
        ours, theirs = getattr(stats.norm, label), getattr(scipys.norm, label)
        np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-13)
        assert np.isfinite(funcad.grad(ours)(x))


def test_density_of_gamma_at_its_edge():
    # x^(a-1): zero, one, endless
    np.testing.assert_array_equal(
        stats.gamma.logpdf(0.0, np.array([2.0, 1.0, 0.5])), [-np.inf, 0.0, np.inf]
    )
    slope = funcad.grad(stats.gamma.logpdf)(0.0, 1.0)
    assert float(slope) == -1.0


def test_poisson_of_no_events_with_no_mean():
    assert stats.poisson.logpmf(0, 0.0) == 0.0
    assert float(funcad.grad(stats.poisson.logpmf, 1)(0, 0.0)) == -1.0


def test_t_with_many_degrees_of_freedom_is_normal():
    for df in (1e10, math.inf):
        np.testing.assert_allclose(
            stats.t.logpdf(1.5, df), stats.norm.logpdf(1.5), rtol=1e-9
        )
        np.testing.assert_allclose(
            funcad.grad(stats.t.logpdf)(1.5, df), -1.5, rtol=1e-9
        )
    # the derivative of -log beta(1/2, df/2) cancels but for terms of order df^-2
    got = float(funcad.grad(stats.t.logpdf, 1)(1.5, 1e6))
    want = -(1.5**4 - 2 * 1.5**2 - 1) / 4 / 1e12
    np.testing.assert_allclose(got, want, rtol=1e-3)


def test_curvature_of_the_logistic_density_at_its_peak():
    second = funcad.grad(funcad.grad(stats.logistic.logpdf))(0.0)
    np.testing.assert_allclose(second, -0.5)


def test_quantiles_at_the_ends():
    for family in (stats.norm, stats.expon, stats.logistic):
        plain = getattr(scipys, family.name)
        for q in (0.0, 1.0, -0.5):
            np.testing.assert_array_equal(family.ppf(q), plain.ppf(q))
        assert float(funcad.grad(family.ppf, 2)(0.3, 0.0, 2.0)) == family.ppf(0.3)


# ----------------------------------------------------------- of several variables


def test_gradients_of_the_multivariate_normal_have_their_closed_forms():
    rng = np.random.default_rng(0)
    x, mean = rng.normal(size=3), rng.normal(size=3)
    root = rng.normal(size=(3, 3))
    cov = root @ root.T + np.eye(3)
    logpdf = stats.multivariate_normal.logpdf
    in_mean, in_cov = funcad.grad(logpdf, (1, 2))(x, mean, cov)
    weighted = np.linalg.solve(cov, x - mean)
    np.testing.assert_allclose(in_mean, weighted, rtol=1e-10)
    want = 0.5 * (np.outer(weighted, weighted) - np.linalg.inv(cov))
    np.testing.assert_allclose(in_cov, want, rtol=1e-9, atol=1e-12)


def test_one_factorisation_serves_every_vector():
    x, cov = np.zeros((5, 3)), np.eye(3)
    program = str(
        funcad.make_program(lambda x, c: stats.multivariate_normal.logpdf(x, None, c))(
            x, cov
        )
    )
    assert program.count("cholesky") == 1


@pytest.mark.parametrize(
    "args",
    [
        (np.zeros(3), np.zeros(2), np.eye(2)),
        (np.zeros(2), np.zeros((2, 2)), np.eye(2)),
        (np.zeros(2), np.zeros(2), np.eye(3)),
        (np.zeros(2), np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]])),
    ],
)
def test_malformed_normal_distributions_raise_what_scipy_raises(args):
    with pytest.raises(ValueError):
        scipys.multivariate_normal.logpdf(*args)
    with pytest.raises(ValueError):
        funcad.grad(lambda x: stats.multivariate_normal.logpdf(x, *args[1:]))(args[0])


@pytest.mark.parametrize(
    ("x", "alpha"),
    [
        (np.array([0.5, 0.6]), np.ones(2)),
        (np.array([1.5, -0.5]), np.ones(2)),
        (np.array([0.5, 0.5]), np.array([1.0, -1.0])),
        (np.array([0.5, 0.5]), np.ones((2, 2))),
        (np.array([0.2, 0.2, 0.6]), np.ones(5)),
    ],
)
def test_malformed_dirichlet_distributions_raise_what_scipy_raises(x, alpha):
    for family in (scipys.dirichlet, stats.dirichlet):
        with pytest.raises(ValueError):
            family.logpdf(x, alpha)
    with pytest.raises(ValueError):
        funcad.grad(stats.dirichlet.logpdf)(x, alpha)


def test_fractions_that_do_not_add_up_have_density_zero_where_values_are_unknown():
    x = np.array([[0.5, 0.6], [0.5, 0.5]])
    out, slope = funcad.vmap(
        lambda x: funcad.value_and_grad(stats.dirichlet.logpdf)(x, np.ones(2))
    )(x)
    np.testing.assert_array_equal(out, [-np.inf, 0.0])
    np.testing.assert_array_equal(slope[0], [0.0, 0.0])


def test_wrong_arguments_raise_what_scipy_raises():
    for args, kwargs in [((), {}), ((1.0, 2.0, 3.0, 4.0), {}), ((1.0,), {"a": 1})]:
        for family in (scipys.norm, stats.norm):
            with pytest.raises(TypeError):
                family.logpdf(*args, **kwargs)
    with pytest.raises(TypeError, match=r"stats\.norm\.logpdf: .*loc=0, scale=1\)"):
        stats.norm.logpdf(1.0, sd=1.0)
    with pytest.raises(TypeError, match="complex"):
        stats.norm.logpdf(1j)
