"""Handwritten digits to learn from: MNIST's files, or those of scikit-learn.

MNIST's files, and those of its relatives, are in the idx format: two zero bytes, a byte
for the dtype and one for the number of axes, the lengths of the axes as big-endian
32-bit integers, and the entries in C order.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from funcad import random
from funcad.core.tracing import Array
from funcad.examples.command import UsageError

CLASSES = 10


class Split(NamedTuple):
    """Images and what they show."""

    images: np.ndarray
    """float32, (n, rows, pixels)"""
    labels: np.ndarray
    """int64, (n,), from 0 to 9"""


class Digits(NamedTuple):
    """Images to learn from and images to be tested on."""

    training: Split
    test: Split


def load_digits(folder: Path | None, key: Array) -> Digits:
    """Digits in which the training images have mean 0 and variance 1.

    Parameters
    ----------
    folder : Path or None
        Where files of MNIST lie, named as they are published and compressed or not:
        ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, and the same with
        ``t10k``.  One of the two sets is enough.  None stands for scikit-learn's 1,797
        images of 8 rows and 8 pixels.
    key : random key
        Decides which fifth of the images is for testing, where there is one set.

    Returns
    -------
    Digits

    Raises
    ------
    UsageError
        If the files are absent or damaged, or hold no digits.
    """
    sets = [_from_scikit_learn()] if folder is None else _from_folder(folder)
    training, test = sets if len(sets) == 2 else hold_out(sets[0], key)
    if training.images.shape[1:] != test.images.shape[1:]:
        raise UsageError(
            f"the training images have shape {training.images.shape[1:]} and the test "
            f"images {test.images.shape[1:]}: the files belong to different sets"
        )
    mean, deviation = training.images.mean(), training.images.std()
    if deviation == 0:
        raise UsageError("the training images all show the same shade, and no digits")
    return Digits(
        *[Split((x.images - mean) / deviation, x.labels) for x in (training, test)]
    )


def hold_out(whole: Split, key: Array) -> tuple[Split, Split]:
    """A set in two parts: four fifths to learn from and one to be tested on.

    Raises
    ------
    UsageError
        If there are fewer than five images.
    """
    count = len(whole.labels)
    if count < 5:
        raise UsageError(
            f"a fifth of the images is kept for testing, and there are only {count}"
        )
    order = random.permutation(key, count)
    parts = np.split(order, [count - count // 5])
    training, test = [Split(whole.images[i], whole.labels[i]) for i in parts]
    return training, test


def read_idx(path: Path) -> np.ndarray:
    """The array in a file of the idx format, which gzip may have compressed.

    Parameters
    ----------
    path : Path
        A file of unsigned bytes, as all of MNIST's are.

    Returns
    -------
    array of uint8

    Raises
    ------
    UsageError
        If the file cannot be read, is damaged, or is something else.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"cannot decompress {path}: {error}") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise UsageError(
            f"{path} is no idx file of bytes: it begins with {content[:4].hex(' ')!r} "
            "and not with 00 00 08 and the number of axes"
        )
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise UsageError(f"{path} is cut short: it ends within its first {start} bytes")
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    try:
        return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    except ValueError:
        raise UsageError(
            f"{path} is damaged: it announces an array of shape {shape}, which takes "
            f"{math.prod(shape):,} bytes, and holds {len(content) - start:,}"
        ) from None


def _from_folder(folder: Path) -> list[Split]:
    """MNIST's sets that lie in a folder, that for training first."""
    if not os.path.isdir(folder):
        raise UsageError(f"there is no folder {folder}")
    images = {name: _file(folder, name, "images-idx3") for name in ("train", "t10k")}
    found = [_labelled(path, folder, name) for name, path in images.items() if path]
    if not found:
        raise UsageError(
            "there is neither train-images-idx3-ubyte nor t10k-images-idx3-ubyte in "
            f"{folder}, with or without .gz"
        )
    return found


def _labelled(path: Path, folder: Path, name: str) -> Split:
    """The images of a file and the labels of the file that belongs to it."""
    labels_path = _file(folder, name, "labels-idx1")
    if labels_path is None:
        raise UsageError(
            f"there is {path.name}, but no {name}-labels-idx1-ubyte in {folder}, with "
            "or without .gz"
        )
    images, labels = read_idx(path), read_idx(labels_path)
    if images.ndim != 3 or 0 in images.shape:
        raise UsageError(
            f"{path} holds an array of shape {images.shape}, not images of rows of "
            "pixels"
        )
    if labels.shape != images.shape[:1]:
        raise UsageError(
            f"{path} holds {len(images):,} images, and {labels_path} labels of shape "
            f"{labels.shape}: the files do not belong together, or one is damaged"
        )
    if labels.max() >= CLASSES:
        raise UsageError(
            f"{labels_path} holds a label {labels.max()}, and digits are 0 to 9"
        )
    return Split(images.astype(np.float32) / 255, labels.astype(np.int64))


def _file(folder: Path, name: str, kind: str) -> Path | None:
    path = folder / f"{name}-{kind}-ubyte"
    packed = path.with_name(path.name + ".gz")
    return next((x for x in (path, packed) if os.path.exists(x)), None)


def _from_scikit_learn() -> Split:
    try:
        from sklearn import datasets
    except ImportError:
        raise UsageError(
            "the digits that are learned by default are scikit-learn's: pip install "
            "'funcad[examples]', or name a folder with MNIST's files with --data DIR"
        ) from None
    digits = datasets.load_digits()
    return Split(digits.images.astype(np.float32) / 16, digits.target.astype(np.int64))
