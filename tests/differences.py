"""Finite differences and comparisons of pytrees, against which derivatives are held."""

import numpy as np

from funcad import tree


def is_inexact(x):
    """Whether a leaf has a tangent: an array or number, real or complex."""
    return np.result_type(x).kind in "fc"


def is_double(x):
    """Whether finite differences of a function of this leaf are accurate."""
    return np.result_type(x) in (np.float64, np.complex128)


def normal_like(x, rng):
    """A random array of a leaf's shape and dtype."""
    dtype = np.result_type(x)
    out = rng.normal(size=np.shape(x))
    if dtype.kind == "c":
        out = out + 1j * rng.normal(size=np.shape(x))
    return np.asarray(out).astype(dtype)


def directional_derivative(f, primals, tangents, step=1e-3):
    """Derivative of ``f(*primals)`` along tangents, by central differences.

    Fornberg (1988), table 1: the weights of order four.
    """

    def at(h):
        moved = tree.map(
            lambda x, t: x if t is None else x + h * t,
            primals,
            tangents,
            is_leaf=lambda x: x is None,
        )
        # booleans have no difference
        return [np.asarray(y) * 1 for y in tree.leaves(f(*moved))]

    return [
        (8 * (near - back) - (far - farther)) / (12 * step)
        for near, back, far, farther in zip(
            at(step), at(-step), at(2 * step), at(-2 * step), strict=True
        )
    ]


def pairing(cotangents, tangents):
    """The real bilinear pairing by which transposes are defined."""
    return sum(
        np.sum(np.real(np.asarray(c) * np.asarray(t)))
        for c, t in zip(cotangents, tangents, strict=True)
    )


def assert_close(actual, expected, rtol=1e-7, atol=1e-9):
    """Equal structure, shapes and dtypes' kinds, and entries equal within tolerance."""
    leaves, treedef = tree.flatten(actual)
    wanted, wanted_treedef = tree.flatten(expected)
    assert treedef == wanted_treedef
    for x, y in zip(leaves, wanted, strict=True):
        assert np.shape(x) == np.shape(y)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


def assert_same(actual, expected, rtol=1e-12):
    """What NumPy gives: containers, shapes, dtypes and entries."""
    leaves, treedef = tree.flatten(actual)
    wanted, wanted_treedef = tree.flatten(expected)
    assert treedef == wanted_treedef
    for x, y in zip(leaves, wanted, strict=True):
        assert np.shape(x) == np.shape(y)
        assert np.result_type(x) == np.result_type(y)
        if np.result_type(y).itemsize and np.result_type(y).kind in "fc":
            rtol = max(rtol, 8 * float(np.finfo(np.result_type(y)).eps))
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-14 if rtol < 1e-8 else 1e-6)
