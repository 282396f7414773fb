"""Composable function transforms for plain NumPy and CuPy code.

A transform takes a Python function and returns one, so transforms compose in any order,
on any pytree of arrays, on CPU or GPU:

>>> import numpy as np
>>> import funcad
>>> loss = lambda w, x: np.sum(np.tanh(x @ w) ** 2)
>>> w, x = np.array([1.0, -1.0]), np.arange(6.0).reshape(3, 2)
>>> funcad.grad(loss)(w, x)
array([-3.83820005, -5.75730008])
>>> funcad.vmap(funcad.grad(loss), in_axes=(None, 0))(w, x).shape
(3, 2)
"""

from __future__ import annotations

import importlib
from typing import Any

from funcad import errors, numpy, tree
from funcad.core.program import Program
from funcad.flatten import Flatten, ravel_pytree
from funcad.numpy.dispatch import LATE as _LATE
from funcad.primitives.elementwise import stop_gradient as _stop_gradient
from funcad.transforms.arguments import float0
from funcad.transforms.batch import vmap
from funcad.transforms.devices import device_put, devices
from funcad.transforms.forward import jvp, linearize
from funcad.transforms.jacobians import hessian, hvp, jacfwd, jacobian, jacrev
from funcad.transforms.reverse import grad, linear_transpose, value_and_grad, vjp
from funcad.transforms.stage import ShapeDtypeStruct, eval_shape, make_program

__version__ = "0.1.0"

__all__ = [
    "Flatten",
    "Jitted",
    "Program",
    "RecompilationWarning",
    "ShapeDtypeStruct",
    "checkpoint",
    "checkpoint_chain",
    "checkpoint_name",
    "checkpoint_policies",
    "SymbolicZero",
    "custom_jvp",
    "custom_vjp",
    "custom_vmap",
    "device_put",
    "devices",
    "errors",
    "eval_shape",
    "extend",
    "export",
    "float0",
    "gauss_newton_operator",
    "grad",
    "graph",
    "hessian",
    "hessian_operator",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "lax",
    "linear_operator",
    "linear_transpose",
    "linearize",
    "load_program",
    "make_program",
    "nn",
    "numpy",
    "optim",
    "profile",
    "random",
    "scipy",
    "pure_callback",
    "ravel_pytree",
    "remat",
    "stop_gradient",
    "tape",
    "testing",
    "tree",
    "value_and_grad",
    "viz",
    "vjp",
    "vmap",
]


def stop_gradient(x: Any) -> Any:
    """A pytree whose derivative is taken to be zero.

    Parameters
    ----------
    x : pytree of arrays
        Values to hold constant.

    Returns
    -------
    pytree of arrays
        The same values.

    Examples
    --------
    >>> import funcad
    >>> float(funcad.grad(lambda x: x * funcad.stop_gradient(x))(3.0))
    3.0
    """
    return tree.map(_stop_gradient, x)


# SciPy is slow to import: its functions are declared when one of them is met.
_LATE.append("funcad.scipy.special")
_ON_DEMAND = (
    "checkpoint_policies",
    "extend",
    "graph",
    "lax",
    "nn",
    "optim",
    "random",
    "scipy",
    "tape",
    "testing",
    "viz",
)
_NAMES_ON_DEMAND = {
    "Jitted": "transforms.jit",
    "RecompilationWarning": "transforms.jit",
    "SymbolicZero": "transforms.custom",
    "checkpoint": "transforms.checkpoint",
    "checkpoint_chain": "transforms.chain",
    "checkpoint_name": "transforms.checkpoint",
    "custom_jvp": "transforms.custom",
    "custom_vjp": "transforms.custom",
    "custom_vmap": "transforms.custom",
    "export": "transforms.export",
    "gauss_newton_operator": "transforms.operators",
    "hessian_operator": "transforms.operators",
    "jit": "transforms.jit",
    "linear_operator": "transforms.operators",
    "load_program": "core.files",
    "profile": "profiling",
    "pure_callback": "transforms.callback",
    "remat": "transforms.checkpoint",
}


def __getattr__(name: str) -> Any:
    # what models are built with is imported where it is first used
    if name in _ON_DEMAND:
        return importlib.import_module(f"funcad.{name}")
    if name in _NAMES_ON_DEMAND:
        module = importlib.import_module(f"funcad.{_NAMES_ON_DEMAND[name]}")
        return globals().setdefault(name, getattr(module, name))
    raise AttributeError(f"module 'funcad' has no attribute {name!r}")
