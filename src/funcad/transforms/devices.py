"""Devices: which there are, and moving a pytree of arrays to one."""

from __future__ import annotations

from typing import Any

from funcad.core import tree
from funcad.core.errors import DeviceError
from funcad.primitives.device import moved
from funcad.transforms.arguments import check_leaves

__all__ = ["device_put", "devices"]

_BACKENDS = {"cpu": "numpy", "gpu": "cupy"}


def devices() -> list[str]:
    """The devices that arrays can be put on.

    Returns
    -------
    list of str
        ``["cpu"]``, or ``["cpu", "gpu"]`` where CuPy is installed and finds a GPU.

    Examples
    --------
    >>> import funcad
    >>> "cpu" in funcad.devices()
    True
    """
    return ["cpu"] if _why_no_gpu() else ["cpu", "gpu"]


def _why_no_gpu() -> str:
    """Why there is no GPU to compute on; empty if there is one."""
    try:
        import cupy
    except ImportError as error:
        return (
            f"CuPy cannot be imported ({error}); install funcad[gpu-cuda12] or -cuda13"
        )
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy finds no GPU ({error})"
    return "" if count else "CuPy finds no GPU"


def device_put(x: Any, device: str) -> Any:
    """Copy the arrays of a pytree to a device; those that are there already stay.

    The only way in which funcad moves anything between host and device.  It can be
    differentiated: cotangents travel the opposite way.

    Parameters
    ----------
    x : pytree of arrays
        What to move.
    device : {"cpu", "gpu"}
        ``"cpu"`` makes NumPy arrays, ``"gpu"`` CuPy arrays.

    Returns
    -------
    pytree of arrays
        With the structure of ``x``.

    Raises
    ------
    DeviceError
        If there is no such device here.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> funcad.device_put({"w": np.ones(2)}, "cpu")
    {'w': array([1., 1.])}
    """
    if device not in _BACKENDS:
        raise ValueError(
            f'device_put knows the devices "cpu" and "gpu", not {device!r}.'
        )
    if device == "gpu" and (reason := _why_no_gpu()):
        raise DeviceError(
            f'device_put: there is no GPU here: {reason}. Write device_put(x, "cpu"), '
            "or look at funcad.devices() first."
        )
    leaves, treedef = tree.flatten(x)
    check_leaves(leaves, treedef, "device_put")
    return tree.unflatten(treedef, [moved(leaf, _BACKENDS[device]) for leaf in leaves])
