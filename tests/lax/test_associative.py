"""``associative_scan``."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcad
from differences import assert_close
from funcad import lax
from properties import generators, host


@given(generators(), st.integers(0, 9), st.integers(-3, 2), st.booleans())
def test_sums_are_cumsum_along_any_axis(rng, length, axis, reverse):
    shape = [2, 3, 2]
    shape[axis] = length
    x = rng.standard_normal(shape)
    order = (slice(None),) * (axis % 3) + (slice(None, None, -1 if reverse else 1),)
    want = np.cumsum(x[order], axis=axis)[order]
    f = lambda x: lax.associative_scan(np.add, x, reverse, axis)  # noqa: E731
    assert_close(f(x), want)
    assert_close(funcad.jit(f)(x), want)


def compose(f, g):
    """Affine maps x -> a x + b, the first one first."""
    return {"a": f["a"] * g["a"], "b": g["a"] * f["b"] + g["b"]}


@given(generators(), st.integers(1, 9), st.booleans())
def test_it_is_a_scan_of_a_function_that_does_not_commute(rng, length, reverse):
    maps = {"a": rng.standard_normal(length), "b": rng.standard_normal(length)}

    def by_scan(maps):
        def step(before, m):
            after = compose(before, m)
            return after, after

        one = {"a": np.float64(1), "b": np.float64(0)}
        return lax.scan(step, one, maps, reverse=reverse)[1]

    def at_once(maps):
        return lax.associative_scan(compose, maps, reverse=reverse)

    assert_close(at_once(maps), by_scan(maps))
    total = lambda f: lambda maps: np.sum(f(maps)["b"] ** 2)  # noqa: E731
    assert_close(funcad.grad(total(at_once))(maps), funcad.grad(total(by_scan))(maps))
    stacked = {k: np.stack([v, 2 * v, -v]) for k, v in maps.items()}
    got = funcad.vmap(funcad.grad(total(at_once)))(stacked)
    assert_close(got, funcad.vmap(funcad.grad(total(by_scan)))(stacked))


def test_it_takes_a_logarithmic_number_of_calls():
    calls = []

    def add(a, b):
        calls.append(None)
        return a + b

    lax.associative_scan(add, np.ones(1024))
    assert len(calls) <= 20


def test_arrays_of_a_library_stay_in_it(library):
    x = library.from_host(np.arange(5.0))
    out = lax.associative_scan(np.add, x)
    assert type(out) is type(x)
    assert_close(host(out), np.cumsum(np.arange(5.0)))


def test_it_keeps_integers_and_their_dtype():
    x = np.arange(7, dtype=np.int16)
    out = lax.associative_scan(lambda a, b: np.maximum(a, b), x[::-1])
    assert out.dtype == np.int16
    assert (out == 6).all()


@pytest.mark.parametrize(
    ("fn", "elems", "kwargs", "error", "words"),
    [
        (3, np.ones(2), {}, TypeError, "must be a function"),
        (np.add, (), {}, ValueError, "no arrays"),
        (np.add, np.ones(2), {"axis": 1}, ValueError, "no axis 1 in float64"),
        (np.add, np.ones(2), {"axis": 0.5}, TypeError, "axis must be an integer"),
        (
            lambda a, b: a,
            (np.ones(2), np.ones((3, 2))),
            {},
            ValueError,
            "equally long along axis 0.*float64.2., float64.3,2.",
        ),
        (lambda a, b: (a, b), np.ones(2), {}, TypeError, "what its function returns"),
        (lambda a, b: a > b, np.ones(4), {}, TypeError, "float64.2. and returned bool"),
        (lambda a, b: a[:1], np.ones(4), {}, TypeError, "float64.2. and returned floa"),
    ],
)
def test_bad_input_is_refused(fn, elems, kwargs, error, words):
    with pytest.raises(error, match=words):
        lax.associative_scan(fn, elems, **kwargs)
