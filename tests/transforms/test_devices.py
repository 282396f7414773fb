"""Devices: what there is, and what device_put does with a pytree."""

import sys

import numpy as np
import pytest

import funcad
from funcad.errors import DeviceError, LeafTypeError


def test_the_cpu_is_always_there():
    assert funcad.devices()[0] == "cpu"


def test_arrays_that_are_there_already_are_not_copied():
    x = np.ones(3)
    assert funcad.device_put({"x": x}, "cpu")["x"] is x


def test_it_is_the_identity_to_every_transform():
    f = lambda x: np.sum(funcad.device_put({"x": x}, "cpu")["x"] ** 2)  # noqa: E731
    x = np.arange(3.0)
    np.testing.assert_allclose(funcad.grad(f)(x), 2 * x)
    np.testing.assert_allclose(funcad.hessian(f)(x), 2 * np.eye(3))
    np.testing.assert_allclose(funcad.vmap(f)(np.stack([x, x])), [f(x), f(x)])
    (out,) = funcad.make_program(f)(x).evaluate([x])
    assert out == f(x)


def test_without_cupy_a_gpu_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert funcad.devices() == ["cpu"]
    with pytest.raises(DeviceError, match=r"no GPU here: CuPy cannot be imported") as e:
        funcad.device_put(np.ones(2), "gpu")
    assert __file__ in str(e.value)


def test_unknown_devices_and_leaves_are_refused():
    with pytest.raises(ValueError, match="'tpu'"):
        funcad.device_put(np.ones(2), "tpu")
    with pytest.raises(LeafTypeError, match=r"\['name'\]"):
        funcad.device_put({"name": "weights"}, "cpu")
