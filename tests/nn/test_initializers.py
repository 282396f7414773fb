"""First values of parameters."""

import math

import numpy as np
import pytest
import scipy.stats

import funcad
from funcad import random
from funcad.errors import ArgumentError, LeafTypeError, RandomKeyError
from funcad.nn import initializers

MADE = {
    "constant": initializers.constant(0.5),
    "uniform": initializers.uniform(),
    "normal": initializers.normal(),
    "truncated_normal": initializers.truncated_normal(),
    "orthogonal": initializers.orthogonal(),
    **{
        name: getattr(initializers, name)()
        for name in initializers.__all__
        if name.startswith(("glorot", "lecun", "he"))
    },
}
every = pytest.mark.parametrize(
    "init",
    [initializers.zeros, initializers.ones, *MADE.values()],
    ids=["zeros", "ones", *MADE],
)


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_initialiser_gives_the_shape_and_dtype_asked_for(init, dtype):
    key = random.key(0)
    weight = init(key, (4, 3), dtype)
    assert weight.shape == (4, 3)
    assert weight.dtype == dtype
    assert init(key, (4, 3)).dtype == np.float64
    np.testing.assert_array_equal(init(key, [4, 3], dtype), weight)


@pytest.mark.parametrize("name", MADE)
def test_the_default_dtype_can_be_set_where_the_initialiser_is_made(name):
    make = getattr(initializers, name)
    init = make(0.5, dtype="f") if name == "constant" else make(dtype="f")
    assert init(random.key(0), (4, 3)).dtype == np.float32


def test_constants_are_what_they_say():
    key = random.key(0)
    np.testing.assert_array_equal(initializers.zeros(key, (2,)), [0, 0])
    np.testing.assert_array_equal(initializers.ones(key, (2,)), [1, 1])
    rows = initializers.constant(np.arange(2.0))(key, (3, 2))
    np.testing.assert_array_equal(rows, [[0, 1]] * 3)


@pytest.mark.parametrize(
    "init, distribution",
    [
        (initializers.uniform(0.3), scipy.stats.uniform(0, 0.3)),
        (initializers.normal(0.3), scipy.stats.norm(0, 0.3)),
        (initializers.truncated_normal(0.3), scipy.stats.truncnorm(-2, 2, 0, 0.3)),
        (
            initializers.truncated_normal(2.0, lower=0.5, upper=4.0),
            scipy.stats.truncnorm(0.5, 4, 0, 2.0),
        ),
        (
            initializers.truncated_normal(1.0, lower=-math.inf, upper=-1.0),
            scipy.stats.truncnorm(-np.inf, -1),
        ),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_follow_the_distribution_of_the_name(init, distribution, dtype):
    x = init(random.key(3), (20_000,), dtype)
    # the key is fixed, so that this passes always or never
    assert scipy.stats.kstest(x, distribution.cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    "name, variance",
    [
        ("glorot_normal", 2 / (100 + 300)),
        ("glorot_uniform", 2 / (100 + 300)),
        ("lecun_normal", 1 / 100),
        ("lecun_uniform", 1 / 100),
        ("he_normal", 2 / 100),
        ("he_uniform", 2 / 100),
    ],
)
def test_variances_are_those_of_the_papers(name, variance):
    x = MADE[name](random.key(0), (100, 300))
    np.testing.assert_allclose(x.var(), variance, rtol=0.03)
    assert abs(x.mean()) < 5 * np.sqrt(variance / x.size)
    bound = np.sqrt(3 * variance) if "uniform" in name else 2.28 * np.sqrt(variance)
    assert bound * 0.98 < np.abs(x).max() < bound


@pytest.mark.parametrize(
    "mode, n",
    [("fan_in", 90), ("fan_out", 180), ("fan_avg", 135), ("fan_geo_avg", 90 * 2**0.5)],
)
def test_the_positions_of_a_kernel_count_and_batches_do_not(mode, n):
    init = initializers.variance_scaling(
        1.5, mode, "normal", in_axis=2, out_axis=3, batch_axis=0
    )
    x = init(random.key(0), (20, 9, 10, 20))
    np.testing.assert_allclose(x.var(), 1.5 / n, rtol=0.05)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (2, 3, 4)])
@pytest.mark.parametrize("column_axis", [-1, 0])
def test_orthogonal_rows_or_columns(shape, column_axis):
    x = initializers.orthogonal(2.0, column_axis)(random.key(0), shape)
    assert x.shape == shape
    matrix = np.moveaxis(x, column_axis, -1).reshape(-1, shape[column_axis])
    rows, columns = matrix.shape
    gram = matrix.T @ matrix if rows >= columns else matrix @ matrix.T
    np.testing.assert_allclose(gram, 4 * np.eye(min(rows, columns)), atol=1e-12)


def test_vmap_over_keys_initialises_layers_at_once():
    keys = random.split(random.key(0), 3)
    for name in ("normal", "he_normal", "glorot_uniform"):
        init = MADE[name]
        stacked = funcad.vmap(lambda k, f=init: f(k, (4, 2), np.float32))(keys)
        loop = np.stack([init(k, (4, 2), np.float32) for k in keys])
        np.testing.assert_allclose(stacked, loop, rtol=1e-6)


def test_arguments_that_make_no_sense_are_refused():
    with pytest.raises(ArgumentError, match="mode 'fan' is none of fan_in, fan_out"):
        initializers.variance_scaling(1.0, "fan", "normal")
    with pytest.raises(ArgumentError, match="distribution 'cauchy' is none of"):
        initializers.variance_scaling(1.0, "fan_in", "cauchy")
    with pytest.raises(ArgumentError, match=r"shape \(3,\) has no axes.*For a bias"):
        initializers.he_normal()(random.key(0), (3,))
    with pytest.raises(ArgumentError, match=r"shape \(3,\) is no matrix"):
        initializers.orthogonal()(random.key(0), (3,))
    with pytest.raises(ArgumentError, match="lower bound 2 is not below the upper 1"):
        initializers.truncated_normal(lower=2, upper=1)


MAKERS = ["normal", "uniform", "truncated_normal", "orthogonal", "glorot_uniform"]


@pytest.mark.parametrize("name", MAKERS)
def test_a_key_given_to_what_makes_an_initialiser_is_refused(name):
    with pytest.raises(ArgumentError, match=rf"{name}: .* Write {name}\(\.\.\.\)\(key"):
        getattr(initializers, name)(random.key(0), (3, 3))


@pytest.mark.parametrize("name", [*MAKERS, "he_normal", "constant", "zeros"])
def test_an_initialiser_says_its_own_name(name):
    draw = getattr(initializers, name)
    if name != "zeros":
        draw = draw(0.5) if name == "constant" else draw()
    with pytest.raises(ArgumentError, match=f"{name}: a shape"):
        draw(random.key(0), (3, -3))
    if name not in ("constant", "zeros"):
        with pytest.raises(RandomKeyError, match=f"{name} takes a random key"):
            draw(None, (3, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: initializers.normal(np.nan), "normal: stddev must be 0 or greater"),
        (lambda: initializers.normal(-1.0), "normal: stddev must be 0 or greater"),
        (
            lambda: initializers.uniform(np.nan),
            "uniform: scale must be a number, and is nan",
        ),
        (lambda: initializers.constant(None), "constant: value is None and no array"),
        (
            lambda: initializers.truncated_normal(lower="a"),
            "truncated_normal: lower must be one real number, and is 'a' of type str",
        ),
        (
            lambda: initializers.variance_scaling(-1.0, "fan_in", "normal"),
            "variance_scaling: scale must be 0 or greater, and is -1.0",
        ),
        (
            lambda: initializers.variance_scaling("a", "fan_in", "normal"),
            "variance_scaling: scale must be one real number",
        ),
        (
            lambda: initializers.he_normal(in_axis=1.5),
            "he_normal: in_axis must be an integer",
        ),
        (
            lambda: initializers.glorot_uniform()(random.key(0), (3,)),
            r"glorot_uniform: a weight of shape \(3,\) has no axes",
        ),
    ],
)
def test_a_wrong_argument_of_an_initialiser_is_named(make, message):
    with pytest.raises((ArgumentError, LeafTypeError), match=message):
        make()


def test_a_deviation_may_be_traced():
    def draw(deviation):
        return np.sum(initializers.normal(deviation)(random.key(0), (3,)))

    np.testing.assert_allclose(funcad.grad(draw)(2.0), draw(1.0), rtol=1e-12)
