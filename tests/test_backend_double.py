"""The stand-in for CuPy refuses what CuPy refuses; else it would find no mistakes."""

import numpy as np
import pytest

import funcad
from backend_double import Array, namespace
from funcad.core.errors import MixedBackendsError


@pytest.fixture
def x():
    return namespace.asarray(np.arange(1.0, 4.0))


@pytest.mark.parametrize(
    "mistake",
    [
        lambda x: np.asarray(x),
        lambda x: x + np.ones(3),
        lambda x: np.ones(3) * x,
        lambda x: np.add(x, np.array(1.0)),
        lambda x: np.concatenate([x, np.ones(3)]),
        lambda x: x[np.array([0, 1])],
        lambda x: x.__setitem__(0, np.array([1.0])),
        lambda x: np.linalg.solve(np.eye(3), x[:, None]),
    ],
)
def test_host_arrays_are_refused(mistake, x):
    with pytest.raises(TypeError):
        mistake(x)


def test_numbers_and_scalars_of_numpy_are_welcome(x):
    for number in (2, 2.0, np.float64(2)):
        np.testing.assert_array_equal((number * x).get(), [2, 4, 6])


def test_results_without_dimensions_stay_arrays(x):
    for y in (x.sum(), np.sum(x), x[0], np.exp(x)[0], np.max(x) + 1):
        assert type(y) is Array
        assert y.shape == ()


def test_what_the_library_lacks_is_lacking_here(x):
    with pytest.raises(NotImplementedError):
        np.maximum.accumulate(x)
    with pytest.raises(ValueError, match="must have"):
        stack = namespace.asarray(np.stack([np.eye(3)] * 2))
        np.linalg.solve(stack, x[:, None])


def test_an_operation_with_a_tracer_is_left_to_the_tracer(x):
    for f in (lambda y: np.sum(x * y), lambda y: np.sum(y * x)):
        gradient = funcad.grad(f)(x)
        assert type(gradient) is Array
        np.testing.assert_array_equal(gradient.get(), [1, 2, 3])


def test_mixing_libraries_in_a_traced_function_says_how_to_move(x):
    with pytest.raises(MixedBackendsError, match="funcad.device_put"):
        funcad.grad(lambda y: np.sum(y * np.ones(3)))(x)
