"""Checkpoints: arrays by name in one safetensors file that is whole at every moment.

A new checkpoint is written beside the old one and renamed onto it, which the operating
system does at once or not at all: whoever is killed, one of the two is there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from funcad import tree
from funcad.examples.command import UsageError

Arrays = dict[str, np.ndarray]


def save(path: Path, arrays: Arrays, settings: Mapping[str, Any]) -> None:
    """Replace a checkpoint by a new one.

    Parameters
    ----------
    path : Path
        The file.
    arrays : dict of str to array
        What to keep.
    settings : mapping of str to JSON value
        What the arrays are worth something with; :func:`load` compares it.

    Raises
    ------
    UsageError
        If the file cannot be written.
    """
    from safetensors.numpy import save as serialise

    # Under one name, because safetensors writes several in any order.
    about = json.dumps({"settings": settings, "digest": _digest(arrays)})
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            file.write(serialise(arrays, {"about": about}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None


def load(path: Path, settings: Mapping[str, Any]) -> Arrays:
    """The arrays of a checkpoint that was saved with the same settings.

    Raises
    ------
    UsageError
        If the file cannot be read, is damaged, or was saved with other settings.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})["about"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        saved, whole = about["settings"], about["digest"] == _digest(arrays)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except (SafetensorError, KeyError, ValueError, TypeError):
        whole = False
    if not whole:
        raise UsageError(
            f"the checkpoint {path} is damaged, or of another program; move it away to "
            "begin anew"
        )
    differing = [
        f"{name} = {saved.get(name)} there and {settings.get(name)} here"
        for name in sorted(saved.keys() | settings.keys())
        if saved.get(name) != settings.get(name)
    ]
    if differing:
        raise UsageError(
            f"the checkpoint {path} is of another run: {', '.join(differing)}; resume "
            "it with its own options, or name another folder with --out"
        )
    return arrays


def flatten(prefix: str, values: Any) -> Arrays:
    """The leaves of a pytree by their paths.

    Examples
    --------
    >>> sorted(flatten("params", {"w": np.ones(2), "b": [np.zeros(1)]}))
    ["params['b'][0]", "params['w']"]
    """
    leaves, _ = tree.flatten_with_path(values)
    return {prefix + tree.keystr(p): np.asarray(leaf) for p, leaf in leaves}


def unflatten(prefix: str, arrays: Arrays, like: Any) -> Any:
    """Inverse of :func:`flatten`: a tree like `like`, in shapes and dtypes too.

    Raises
    ------
    UsageError
        If an array is absent, or has another shape or dtype.
    """

    def leaf(path: Any, expected: Any) -> np.ndarray:
        name = prefix + tree.keystr(path)
        found = arrays.get(name)
        wanted = (np.shape(expected), expected.dtype)
        if found is None or (found.shape, found.dtype) != wanted:
            there = "nothing" if found is None else f"{found.dtype}{list(found.shape)}"
            raise UsageError(
                f"the checkpoint does not fit this program: {name} should be "
                f"{expected.dtype}{list(wanted[0])}, and there is {there}"
            )
        return found

    return tree.map_with_path(leaf, like)


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power failure, where folders can be synced."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
