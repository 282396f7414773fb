"""Tracers in other libraries' Array API code, and what such code asks of arrays."""

import os
import subprocess
import sys

import array_api_compat
import array_api_extra
import numpy as np
import pytest

import funcad
import funcad.numpy as fnp
from differences import assert_close, assert_same, directional_derivative
from funcad.core.errors import ConcretizationError, DerivativeLossError

X = np.array([[0.3, -1.2], [2.5, 0.7], [-0.4, 1.9]])

TRANSFORMS = {
    "jvp": lambda f: funcad.jvp(f, (X,), (X,)),
    "vmap": lambda f: funcad.vmap(f)(X[None]),
    "staged": lambda f: funcad.make_program(f)(X),
    "nested": lambda f: funcad.jvp(lambda x: funcad.vmap(f)(x[None]), (X,), (X,)),
}

# Run with SCIPY_ARRAY_API=1, which must be set before SciPy is imported.
SCIPYS = """
import numpy as np
import funcad
from differences import assert_close, directional_derivative
from scipy.integrate import trapezoid
from scipy.spatial.transform import Rotation
from scipy.special import softmax
from scipy.stats import kurtosis

x = np.array([[0.3, -1.2, 0.8], [2.5, 0.7, -0.1], [-0.4, 1.9, 0.6], [1.1, 0.2, -0.9]])
functions = [
    lambda v: softmax(v, axis=1),
    lambda v: trapezoid(v**2, dx=0.3, axis=0),
    lambda v: kurtosis(v, axis=0),
    lambda v: Rotation.from_rotvec(v[0]).as_matrix(),
]
for f in functions:
    weights = np.cos(np.arange(np.size(f(x)))).reshape(np.shape(f(x)))

    def loss(v):
        return np.sum(f(v) * weights)

    gradient = funcad.grad(loss)(x)
    for i in np.ndindex(x.shape):
        t = np.zeros_like(x)
        t[i] = 1.0
        (wanted,) = directional_derivative(loss, (x,), (t,))
        assert_close(gradient[i], wanted, rtol=1e-6, atol=1e-8)
    assert_close(funcad.vmap(f)(np.stack([x, -x]))[1], f(-x), rtol=1e-12)
print("differentiated", len(functions))
"""


def test_scipys_array_api_functions_are_differentiated_and_batched():
    tests = os.path.dirname(os.path.dirname(__file__))
    path = os.pathsep.join([tests, *filter(None, sys.path)])
    run = subprocess.run(
        [sys.executable, "-c", SCIPYS],
        env=os.environ | {"SCIPY_ARRAY_API": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "differentiated 4\n"


@pytest.mark.parametrize(
    "f",
    [
        array_api_extra.cov,
        lambda x: array_api_extra.kron(x, x[:2]),
        array_api_extra.sinc,
        lambda x: array_api_extra.atleast_nd(x, ndim=4) ** 3,
    ],
)
def test_functions_of_array_api_extra_are_differentiated(f):
    weights = np.cos(np.arange(np.size(f(X)))).reshape(np.shape(f(X)))
    gradient = funcad.grad(lambda x: np.sum(f(x) * weights))(X)
    t = np.array([[0.2, -0.4], [0.5, 0.1], [0.3, -0.7]])
    (wanted,) = directional_derivative(lambda x: np.sum(f(x) * weights), (X,), (t,))
    assert_close(np.sum(gradient * t), wanted, rtol=1e-6, atol=1e-8)
    _, curvature = funcad.jvp(funcad.grad(lambda x: np.sum(f(x) * weights)), (X,), (t,))
    (wanted,) = directional_derivative(
        funcad.grad(lambda x: np.sum(f(x) * weights)), (X,), (t,)
    )
    assert_close(curvature, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("run", TRANSFORMS.values(), ids=TRANSFORMS)
def test_tracers_have_what_the_standard_asks_of_arrays(run):
    def f(x):
        assert array_api_compat.array_namespace(x) is fnp
        assert array_api_compat.is_array_api_obj(x)
        assert x.__array_namespace__() is fnp
        assert x.__array_namespace__(api_version="2024.12") is fnp
        assert (x.shape, x.ndim, x.size, x.dtype) == ((3, 2), 2, 6, np.float64)
        assert x.device == array_api_compat.device(x) == "cpu"
        assert x.to_device("cpu") is x
        assert array_api_compat.to_device(x, "cpu") is x
        assert x.T.shape == x.mT.shape == (2, 3)
        return fnp.matrix_transpose(x) @ x

    run(f)


def test_the_namespace_says_which_standard_it_follows():
    assert fnp.__array_api_version__ == "2024.12"
    info = fnp.__array_namespace_info__()
    assert info.devices() == np.__array_namespace_info__().devices()
    assert info.dtypes()["float64"] == np.float64
    with pytest.raises(ValueError, match="2024.12"):
        funcad.jvp(lambda x: x.__array_namespace__(api_version="2099.12"), (X,), (X,))


def test_a_tracer_stays_on_its_device_and_exports_no_memory():
    with pytest.raises(ValueError, match="device_put"):
        funcad.jvp(lambda x: x.to_device("gpu"), (X,), (X,))
    with pytest.raises(ValueError, match="stream"):
        funcad.jvp(lambda x: x.to_device("cpu", stream=1), (X,), (X,))
    for f in (np.from_dlpack, fnp.from_dlpack, lambda x: x.__dlpack_device__()):
        with pytest.raises(DerivativeLossError, match="stop_gradient"):
            funcad.jvp(f, (X,), (X,))
        with pytest.raises(ConcretizationError, match="from_dlpack"):
            funcad.vmap(f)(X)


def test_the_bytes_of_a_tracer_are_not_looked_at():
    with pytest.raises(TypeError, match=r"x\.astype\(dtype\)"):
        funcad.grad(lambda x: np.sum(x.view(np.int64)))(X)


def test_a_conversion_that_casting_forbids_is_refused_as_numpy_refuses_it():
    for run in (lambda f: f(X), lambda f: funcad.jvp(f, (X,), (X,))):
        with pytest.raises(TypeError, match="annot cast"):
            run(lambda x: x.astype(np.float32, casting="safe"))
    out, _ = funcad.jvp(
        lambda x: x.astype(np.complex128, "C", "safe", True, False), (X,), (X,)
    )
    assert_same(out, X.astype(np.complex128))


NAMES = [
    *("asarray", "astype", "broadcast_arrays", "can_cast", "concat", "cumulative_sum"),
    *("expand_dims", "finfo", "flip", "isdtype", "matrix_transpose", "meshgrid"),
    *("permute_dims", "result_type", "searchsorted", "take_along_axis", "unstack"),
    *("vecdot", "unique_all", "unique_counts", "unique_inverse", "unique_values"),
]


@pytest.mark.parametrize("name", NAMES)
def test_functions_of_the_standard_are_there(name):
    assert callable(getattr(fnp, name))


@pytest.mark.parametrize("run", TRANSFORMS.values(), ids=TRANSFORMS)
def test_dtypes_of_tracers_are_those_of_arrays(run):
    def f(x):
        assert fnp.result_type(x, fnp.float32) == np.float64
        assert fnp.can_cast(x, fnp.complex128)
        assert not fnp.can_cast(x, fnp.float32)
        assert fnp.isdtype(x.dtype, "real floating")
        assert fnp.finfo(x).eps == np.finfo(np.float64).eps
        assert fnp.astype(x, fnp.float32, copy=False, device="cpu").dtype == np.float32
        with pytest.raises(TypeError):
            fnp.can_cast(x, "nonsense")
        return fnp.asarray(x, dtype=fnp.complex128, device="cpu", copy=False)

    run(f)


def test_grids_and_positions_of_tracers():
    v, w = np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0])
    outs, tangents = funcad.jvp(
        lambda v: fnp.meshgrid(v, w, indexing="ij"), (v,), (np.ones(2),)
    )
    assert_same(tuple(outs), tuple(np.meshgrid(v, w, indexing="ij")))
    assert_same(tangents[0], np.ones((2, 3)))
    found = funcad.vmap(lambda x: fnp.searchsorted(w, x))(np.array([3.5, 9.0]))
    assert_same(found, np.array([1, 3]))
