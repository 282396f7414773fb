"""Delicate points of the special functions, and malformed calls of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special as scipys

import backend_double
import funcad
import funcad.primitives.special as primitives
from funcad import errors
from funcad.scipy import special

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def slope(f, x, order=1):
    """Derivative of a function of one number."""
    for _ in range(order):
        f = funcad.grad(f)
    return float(f(np.float64(x)))


_FAR = scipys.ndtri_exp(-1e10)

# function, point, derivative that a mathematician would give
POINTS = {
    "erfcx far out": (special.erfcx, 1e8, -1 / math.sqrt(math.pi) * 1e-16),
    "dawsn far out": (special.dawsn, 1e8, -0.5e-16),
    "erfinv near one": (
        special.erfinv,
        1 - 2**-53,
        0.5 * math.sqrt(math.pi) * math.exp(scipys.erfinv(1 - 2**-53) ** 2),
    ),
    "log_ndtr far left": (special.log_ndtr, -1e100, 1e100),
    "log_ndtr at the left": (special.log_ndtr, -30.0, 30.033259667433676),
    "log_ndtr far right": (special.log_ndtr, 1e100, 0.0),
    "ndtri_exp far left": (special.ndtri_exp, -1e10, -1 / (_FAR + 1 / _FAR)),
    "expit at the left": (special.expit, -700.0, math.exp(-700)),
    "expit at the right": (special.expit, 700.0, math.exp(-700)),
    "logit near zero": (special.logit, 1e-300, 1e300),
    "log_expit at the left": (special.log_expit, -1e5, 1.0),
    "log_expit at the right": (special.log_expit, 700.0, math.exp(-700)),
    "xlogy in y at 0, 0": (lambda y: special.xlogy(0.0, y), 0.0, 0.0),
    "xlogy in x": (lambda x: special.xlogy(x, 3.0), 0.0, math.log(3)),
    "xlog1py in y": (lambda y: special.xlog1py(0.0, y), -1.0, 0.0),
    "entr at zero": (special.entr, 0.0, math.inf),
    "entr of the negative": (special.entr, -1.0, 0.0),
    "rel_entr in y at 0, 0": (lambda y: special.rel_entr(0.0, y), 0.0, 0.0),
    "rel_entr of huge by tiny": (
        lambda x: special.rel_entr(x, 1e-300),
        1e300,
        600 * math.log(10) + 1,
    ),
    "kl_div near its minimum": (lambda x: special.kl_div(x, 1.0), 1 + 2**-50, 2**-50),
    "kl_div in y at 0": (lambda y: special.kl_div(0.0, y), 2.0, 1.0),
    "i0 at zero": (special.i0, 0.0, 0.0),
    "i1 at zero": (special.i1, 0.0, 0.5),
    "i0e far out": (
        special.i0e,
        1e8,
        -0.5e-12 / math.sqrt(2 * math.pi) * (1 + 3 / 8e8),
    ),
    "i1e far out": (
        special.i1e,
        1e8,
        -0.5e-12 / math.sqrt(2 * math.pi) * (1 - 9 / 8e8),
    ),
    "i1e at zero": (special.i1e, 0.0, 0.5),
    "j1 at zero": (special.j1, 0.0, 0.5),
    "gammaln far out": (special.gammaln, 1e100, 100 * math.log(10)),
    "rgamma at a pole": (special.rgamma, -3.0, -6.0),
    "rgamma at zero": (special.rgamma, 0.0, 1.0),
    "betaln of huge and one": (lambda a: special.betaln(a, 1.0), 1e12, -1e-12),
    "lambertw at zero": (lambda z: np.real(special.lambertw(z)), 0.0, 1.0),
    "sici at zero": (lambda x: special.sici(x)[0], 0.0, 1.0),
    "shichi at zero": (lambda x: special.shichi(x)[0], 0.0, 1.0),
    "expi near zero": (special.expi, 1e-300, 1e300),
    "exprel at zero": (special.exprel, 0.0, 0.5),
    "spence at one": (special.spence, 1.0, -1.0),
    "boxcox at lambda zero": (
        lambda p: special.boxcox(2.0, p),
        0.0,
        math.log(2) ** 2 / 2,
    ),
    "boxcox at x zero": (lambda p: special.boxcox(0.0, p), 2.0, 0.25),
    "inv_boxcox at lambda zero": (
        lambda p: special.inv_boxcox(2.0, p),
        0.0,
        -2 * math.exp(2),
    ),
    "gammainc at zero": (lambda x: special.gammainc(1.0, x), 0.0, 1.0),
    "gammainc at infinity": (lambda x: special.gammainc(2.0, x), math.inf, 0.0),
    "betainc at zero": (lambda x: special.betainc(1.0, 3.0, x), 0.0, 3.0),
    "zeta at zero": (special.zeta, 0.0, -0.5 * math.log(2 * math.pi)),
    "zeta at minus two": (special.zeta, -2.0, -0.030448457058393275),
    "ellipk at zero": (special.ellipk, 0.0, math.pi / 8),
    "ellipe at zero": (special.ellipe, 0.0, -math.pi / 8),
    "huber beyond its width": (lambda r: special.huber(1.0, r), -1e300, -1.0),
}


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_derivatives_at_delicate_points(point):
    f, x, want = point
    np.testing.assert_allclose(slope(f, x), want, rtol=1e-12, atol=0)


SECOND = {
    "xlogy in y": (lambda y: special.xlogy(0.0, y), 2.0, 0.0),
    "i1 at zero": (special.i1, 0.0, 0.0),
    "j1 near zero": (special.j1, 1e-10, -0.375e-10),
    "sici at zero": (lambda x: special.sici(x)[0], 0.0, 0.0),
    "lambertw at zero": (lambda z: np.real(special.lambertw(z)), 0.0, -2.0),
    "exprel at zero": (special.exprel, 0.0, 1 / 3),
    "rgamma at zero": (special.rgamma, 0.0, 2 * np.euler_gamma),
    "log_ndtr far left": (special.log_ndtr, -1e10, -1.0),
    "gammainc at zero": (lambda x: special.gammainc(2.0, x), 0.0, 1.0),
    "ellipk at zero": (special.ellipk, 0.0, 9 * math.pi / 64),
    "kl_div": (lambda x: special.kl_div(x, 2.0), 2.0, 0.5),
}


@pytest.mark.parametrize("point", SECOND.values(), ids=SECOND)
def test_second_derivatives_at_delicate_points(point):
    f, x, want = point
    np.testing.assert_allclose(slope(f, x, 2), want, rtol=1e-10, atol=1e-14)


def test_mixed_derivative_of_xlogy_where_x_is_zero():
    mixed = funcad.grad(funcad.grad(special.xlogy, 1), 0)(0.0, 4.0)
    np.testing.assert_allclose(mixed, 0.25)


def test_slope_of_lambertw_grows_without_bound_towards_the_branch_point():
    f = lambda z: np.real(special.lambertw(z))  # noqa: E731
    assert slope(f, np.nextafter(-math.exp(-1), 0)) > 1e7


def test_softmax_and_logsumexp_do_not_see_a_common_shift():
    x = np.array([0.0, 1.0, 2.0])
    for f in (special.softmax, special.log_softmax, special.logsumexp):
        near = funcad.jacobian(f)(x)
        far = funcad.jacobian(f)(x + 2.0**20)
        np.testing.assert_allclose(far, near, rtol=1e-14)


def test_logsumexp_ignores_a_huge_term_of_weight_zero():
    a, b = np.array([1e4, 1.0, 2.0]), np.array([0.0, 1.0, -0.5])
    gradient = funcad.grad(lambda a: special.logsumexp(a, b=b, return_sign=True)[0])(a)
    weighted = np.array([0.0, math.exp(1), -0.5 * math.exp(2)])
    np.testing.assert_allclose(gradient, weighted / weighted.sum(), rtol=1e-13)


# ------------------------------------------------- derivatives in shape parameters


@pytest.mark.parametrize("a", [1e-3, 0.3, 2.0, 24.9, 25.1, 400.0, 1e3])
@pytest.mark.parametrize("ratio", [0.5, 0.98, 1.0, 1.02])
def test_shape_derivative_of_gammainc_agrees_with_its_own_integral(a, ratio):
    x = a * ratio if a > 1 else ratio
    edges = np.linspace(-math.log1p(60 / a) - 9 / min(a, 1) ** 0.5, 0, 401)
    nodes, weights = np.polynomial.legendre.leggauss(16)
    u = (edges[:-1, None] + np.diff(edges)[:, None] * (nodes + 1) / 2).ravel()
    w = (np.diff(edges)[:, None] * weights / 2).ravel()
    t = x * np.exp(u)
    log_density = a * np.log(t) - t - scipys.gammaln(a)
    rest = 0.0
    if a < 1:  # what lies below the least t, where the density is a power
        low = x * math.exp(edges[0])
        power = low**a / scipys.gamma(a + 1)
        rest = power * (math.log(low) - scipys.psi(a + 1))
    want = np.sum(w * np.exp(log_density) * (np.log(t) - scipys.psi(a))) + rest
    got = slope(lambda a: special.gammainc(a, x), a)
    # for large a, the logarithm of the density of the reference loses digits
    np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-12 + 1e-15 * a**0.5)


def test_betainc_with_an_integer_shape_is_a_power():
    # I_x(a, 1) = x^a and I_x(1, b) = 1 - (1 - x)^b
    for x in (0.1, 0.5, 0.9):
        for a in (0.01, 0.5, 3.0, 40.0, 1e4):
            log = math.log(x)
            got = slope(lambda a, x=x: special.betainc(a, 1.0, x), a)
            np.testing.assert_allclose(got, log * x**a, atol=2e-13)
            got = slope(lambda a, x=x: special.betainc(a, 1.0, x), a, 2)
            np.testing.assert_allclose(got, log**2 * x**a, atol=2e-13 + 1e-11)
            log = math.log1p(-x)
            got = slope(lambda b, x=x: special.betainc(1.0, b, x), a)
            np.testing.assert_allclose(got, -log * (1 - x) ** a, atol=2e-13)


def test_shape_derivatives_beyond_order_two_are_refused():
    with pytest.raises(errors.MissingRuleError, match=r"gammainc.*shape"):
        slope(lambda a: special.gammainc(a, 2.0), 1.0, 3)
    with pytest.raises(errors.MissingRuleError, match=r"betainc.*shapes"):
        slope(lambda a: special.betainc(a, 2.0, 0.5), 1.0, 3)


@pytest.mark.parametrize("name", ["jv", "yv", "iv", "kv", "ive", "kve"])
def test_derivatives_in_the_order_of_bessel_functions_are_refused(name):
    with pytest.raises(errors.MissingRuleError, match=f"{name} .*order"):
        slope(lambda v: getattr(special, name)(v, 2.0), 1.0)


# -------------------------------------------------------------------- complex numbers


@pytest.mark.parametrize(
    "name", ["erf", "erfc", "gamma", "loggamma", "psi", "expi", "lambertw", "spence"]
)
def test_first_derivatives_at_complex_numbers(name):
    f, plain = getattr(special, name), getattr(scipys, name)
    z, t, h = 1.3 + 0.4j, 0.6 - 0.8j, 1e-5
    if name == "psi":
        with pytest.raises(errors.MissingRuleError, match=r"psi.*complex"):
            funcad.jvp(f, (z,), (t,))
        return
    got = funcad.jvp(f, (z,), (t,))[1]
    want = (plain(z + h * t) - plain(z - h * t)) / (2 * h)
    np.testing.assert_allclose(got, want, rtol=1e-8)


# -------------------------------------------------------- dispatch, dtypes, bad input


def test_scipys_own_ufuncs_take_tracers():
    x = np.array([0.5, 1.5])
    got = funcad.grad(lambda x: np.sum(scipys.gammaln(x) * scipys.sici(x)[0]))(x)
    want = funcad.grad(lambda x: np.sum(special.gammaln(x) * special.sici(x)[0]))(x)
    np.testing.assert_array_equal(got, want)
    for f in (scipys.zeta, lambda z: np.real(scipys.lambertw(z))):
        assert np.isfinite(slope(f, 2.5))


def test_plain_arrays_go_to_scipy_with_every_argument():
    out = np.empty(2)
    assert special.erf(np.array([0.1, 0.2]), out=out) is out
    np.testing.assert_array_equal(special.gamma([1, 2, 3]), [1.0, 1.0, 2.0])


def test_lists_may_hold_tracers():
    got = funcad.grad(lambda x: np.sum(special.erf([x, 2 * x])))(0.0)
    np.testing.assert_allclose(got, 6 / math.sqrt(math.pi))


@pytest.mark.parametrize(
    "call",
    [
        lambda f, x: f.erfinv(x * 1j),
        lambda f, x: f.gammaln(x + 1j),
        lambda f, x: f.polygamma(1, x + 1j),
        lambda f, x: f.gammainc(x),
        lambda f, x: f.beta(x, np.ones(3)),
        lambda f, x: f.softmax(x, axis=3),
        lambda f, x: f.multigammaln(x, 2.5),
        lambda f, x: f.multigammaln(x - 9, 2),
        lambda f, x: f.logsumexp(x, axis=2),
        lambda f, x: f.logsumexp(x, b=np.ones(3)),
    ],
)
def test_malformed_calls_raise_what_scipy_raises(call):
    x = np.array([0.5, 0.7])
    with pytest.raises(Exception) as plain:
        call(scipys, x)
    with pytest.raises(Exception) as ours:
        funcad.jvp(lambda x: call(special, x), (x,), (x,))
    mro = [c for c in type(plain.value).__mro__ if c not in (Exception, BaseException)]
    assert isinstance(ours.value, tuple(mro[:-1]))


def test_unsupported_arguments_are_named():
    with pytest.raises(TypeError, match="out="):
        funcad.grad(lambda x: special.erf(x, out=np.empty(())))(0.5)


def test_what_another_library_lacks_is_named():
    x = backend_double.Array(np.array([0.5]))
    with pytest.raises(
        errors.UnsupportedFunctionError, match=r"scipy\.special\.spence"
    ):
        special.spence(x)
    with pytest.raises(
        errors.UnsupportedFunctionError, match=r"scipy\.special\.betaincc"
    ):
        funcad.jvp(lambda x: special.betaincc(2.0, 3.0, x), (x,), (x,))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4])
def test_bessel_functions_of_integer_order_without_the_librarys(n, sign):
    x = np.array([-30.0, -7.5, -1.0, 0.0, 1e-5, 2.0, 5.9, 8.5, 60.0])
    name = "jv" if sign == 1 else "iv"
    got = getattr(primitives, name)(n, backend_double.Array(x)).get()
    want = getattr(scipys, name)(n, x)
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def test_dtypes_are_scipys():
    for dtype in (np.float16, np.float32, np.float64, np.int8, np.bool_):
        x = np.ones(2, dtype)
        for f in (special.erf, special.expm1, special.log1p, special.psi):
            plain = getattr(scipys, f.__name__)(x).dtype
            assert funcad.eval_shape(f, x).dtype == plain
