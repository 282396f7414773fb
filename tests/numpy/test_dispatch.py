"""Every NumPy function on tracers, from one table, against NumPy and loops.

A row is a function and calls of it.  Arrays in a call are what transforms trace (those
of floats and complex numbers are differentiated too); numbers, tuples and lists of
numbers stay as they are.
"""

from typing import NamedTuple

import numpy as np
import pytest

import backend_double
import funcad
import funcad.numpy as fnp
from differences import (
    assert_close,
    assert_same,
    directional_derivative,
    is_double,
    is_inexact,
    normal_like,
    pairing,
)
from funcad import tree
from funcad.core.errors import ConcretizationError
from funcad.numpy.dispatch import FUNCTIONS, METHODS, PRIMITIVES


class Call(NamedTuple):
    args: tuple
    kwargs: dict


def call(*args, **kwargs):
    return Call(args, kwargs)


TABLE = {}


def row(functions, *calls):
    for function in functions if isinstance(functions, list) else [functions]:
        TABLE.setdefault(function, []).extend(calls)


def spread(shape, low=-2.0, high=2.0):
    """Distinct numbers, a clear gap between any two and none near zero, mixed up."""
    n = int(np.prod(shape))
    points = low + (high - low) * (np.arange(n) + 0.37) / max(n, 1)
    return points[np.random.default_rng(n).permutation(n)].reshape(shape)


def complex_spread(shape):
    return spread(shape) + 1j * spread(shape, 0.3, 1.5)[..., ::-1]


V = spread(4)
W = spread(4, 0.4, 2.6)
M = spread((3, 4))
N = spread((4, 3), -1.0, 1.7)
T = spread((2, 3, 4))
ZERO_D = np.array(0.73)
EMPTY = np.empty((0, 3))
CV = complex_spread(4)
CM = complex_spread((3, 4))
M32 = M.astype(np.float32)
INTS = np.array([[3, -1, 4, 1], [-5, 9, 2, 6], [8, 7, -2, 5]])
COUNTS = np.array([3, 1, 4, 2], np.int32)
MASK = np.array([True, False, True, True])
BYTES = np.array([7, 200, 33], np.uint8)

# ------------------------------------------------------------------------------- ufuncs

ANY = ["positive", "negative", "conjugate", "square", "absolute", "sign"]
REAL = [
    *("exp", "exp2", "expm1", "sin", "cos", "sinh", "cosh", "tanh", "arctan"),
    *("arcsinh", "deg2rad", "rad2deg", "cbrt", "fabs", "floor", "ceil", "trunc"),
    *("rint", "isnan", "isinf", "isfinite", "signbit", "logical_not"),
]
POSITIVE = ["log", "log2", "log10", "log1p", "sqrt", "reciprocal"]
INSIDE = ["arcsin", "arccos", "arctanh"]
COMPLEX = [
    *("exp", "log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "reciprocal"),
    *("arctan", "arcsinh", "arcsin", "arccos", "expm1", "log1p", "log2", "log10"),
    *("exp2", "arctanh", "arccosh", "isfinite"),
]
for name in [*ANY, *REAL]:
    f = getattr(np, name)
    row(f, call(M), call(ZERO_D), call(EMPTY), call(M32), call(np.array([1, 2, 3])))
for name in POSITIVE:
    f = getattr(np, name)
    row(f, call(np.abs(M)), call(ZERO_D), call(EMPTY), call(np.abs(M32)))
for name in INSIDE:
    row(getattr(np, name), call(M / 3), call(ZERO_D), call(EMPTY), call(M32 / 3))
row(np.tan, call(M / 2), call(ZERO_D), call(EMPTY), call(M32 / 2))
row(np.arccosh, call(np.abs(M) + 1.2), call(np.array(1.73)), call(EMPTY))
for name in [*ANY, *COMPLEX]:
    row(getattr(np, name), call(CM * 0.4), call(CV.astype(np.complex64)))
row(np.invert, call(INTS), call(MASK), call(BYTES))

COLUMN = spread((3, 1), 0.3, 1.4)
SAFE = spread((3, 4), 0.45, 1.9)
for name in [
    *("add", "subtract", "multiply", "divide", "maximum", "minimum", "fmax", "fmin"),
    *("hypot", "arctan2", "logaddexp", "logaddexp2", "copysign", "remainder", "fmod"),
    *("floor_divide", "equal", "not_equal", "less", "less_equal", "greater"),
    *("greater_equal", "logical_and", "logical_or", "logical_xor", "heaviside"),
]:
    f = getattr(np, name)
    row(f, call(M, SAFE), call(M, COLUMN), call(V, SAFE), call(ZERO_D, SAFE))
    row(f, call(M, 0.61), call(0.61, SAFE), call(M32, 0.5), call(2.5, np.abs(M32)))
    row(f, call(EMPTY, np.full(3, 0.5)), call(INTS, W), call(M32, W[:4]))
for name in ["add", "subtract", "multiply", "divide", "equal", "not_equal"]:
    row(getattr(np, name), call(CM, SAFE), call(M, CV), call(CV, CV[::-1]))
    row(getattr(np, name), call(2.0, CV), call(CM.astype(np.complex64), 2.0))
for name in ["add", "subtract", "multiply", "maximum", "remainder", "floor_divide"]:
    row(getattr(np, name), call(INTS, COUNTS), call(BYTES, 3), call(INTS, 2))
for f in [np.power, np.float_power]:
    row(f, call(SAFE, V), call(M, 2), call(M, 3.0), call(SAFE, -1.5), call(2.0, V))
    row(f, call(M, 0), call(M, 1), call(np.zeros(2), 2.0), call(CM, 2), call(CV, CV))
    row(f, call(EMPTY, 2.0), call(M, np.array([0, 1, 2, 3])), call(SAFE, COLUMN))
    row(f, call(M32, 2), call(np.abs(M32), 0.5), call(np.array([0.0, 2.0]), 3))
for f in [np.bitwise_and, np.bitwise_or, np.bitwise_xor]:
    row(f, call(INTS, COUNTS), call(INTS, 5), call(MASK, MASK[::-1]), call(BYTES, 3))
for f in [np.left_shift, np.right_shift]:
    row(f, call(INTS + 10, COUNTS), call(BYTES, 1))
row(np.divmod, call(M, SAFE), call(M, 0.61), call(0.61, SAFE), call(INTS, COUNTS))
row([np.degrees, np.radians], call(M), call(M32), call(EMPTY))
row(np.nextafter, call(M, SAFE), call(ZERO_D, 1.0))

# -------------------------------------------------------------------------- elementwise

row(
    np.where,
    *(call(M > 0, M, SAFE), call(MASK, M, 0.0), call(MASK, 1.5, V)),
    *(call(MASK, COLUMN, V), call(True, V, W), call(M > 0, M32, 1.0)),
    *(call(MASK, CV, V), call(COUNTS, V, W), call(MASK, COUNTS, V)),
)
row(
    np.clip,
    *(call(M, -1.0, 1.0), call(M, None, 0.5), call(M, -0.5, None)),
    *(call(M, np.full(4, -0.71), COLUMN), call(M, min=-1.0), call(M, max=1.0)),
    *(call(M32, 0, 1), call(INTS, 0, 5), call(EMPTY, 0, 1), call(ZERO_D, 1.0, 2.0)),
)
row([np.real, np.imag], call(M), call(CM), call(ZERO_D), call(M32), call(INTS))
row([np.real, np.imag], call(CV.astype(np.complex64)), call(EMPTY))
row(np.angle, call(CM), call(CM, deg=True), call(np.abs(M)), call(M32))
row(
    np.round,
    *(call(M), call(M, 1), call(M * 100, decimals=-1), call(M32, 2)),
    *(call(INTS), call(CM, 1)),
)
row(
    np.nan_to_num,
    call(np.array([1.5, np.inf, -2.0])),
    call(np.array([1.5, np.nan, -np.inf]), nan=3.0, neginf=-1.0),
    call(np.array([np.inf, np.nan], np.float32), posinf=7.0),
    call(INTS),
)
row(
    np.isclose,
    *(call(M, M + 1e-9), call(M, 0.5, atol=1.0), call(M, SAFE, rtol=1.0)),
    call(np.array([np.nan, np.inf, 1.0]), np.array([np.nan, np.inf, 2.0])),
    call(np.array([np.nan, 1.0]), np.array([np.nan, 2.0]), equal_nan=True),
    call(np.array([np.inf, -np.inf]), np.array([1.0, np.inf])),
)
row(np.allclose, call(M, M + 1e-9), call(M, SAFE), call(M, V, rtol=9.0), call(M32, M32))
row(np.allclose, call(np.array([np.nan]), np.array([np.nan]), equal_nan=True))
row(np.array_equal, call(M, M), call(M, SAFE), call(M, V))
row(np.array_equal, call(np.array([np.nan]), np.array([np.nan]), equal_nan=True))
row([np.isrealobj, np.iscomplexobj], call(M), call(CM), call(ZERO_D))
row(np.result_type, call(M32, M), call(M32, 1.0), call(M32, np.int8), call(CM, M32))
row(
    np.astype,
    *(call(M, np.float32), call(M, np.complex128), call(M, int), call(INTS, float)),
    *(call(ZERO_D, np.float32), call(MASK, float), call(M, bool), call(M, np.float64)),
)
row(
    np.diff,
    *(call(M), call(M, 2), call(M, axis=0), call(M, n=3, axis=-1), call(V)),
    *(call(MASK), call(INTS), call(CV), call(M, n=0)),
)

# --------------------------------------------------------------------------- reductions

for f in [np.sum, np.prod, np.max, np.min, np.mean, np.any, np.all]:
    row(f, call(T), call(T, axis=1), call(T, axis=-1), call(T, axis=(0, 2)), call(V))
    row(f, call(T, axis=(-1, 0), keepdims=True), call(T, keepdims=True), call(M32))
    row(f, call(T, 0), call(M32, axis=0), call(INTS), call(INTS, axis=1), call(MASK))
    row(f, call(ZERO_D), call(T, axis=()), call(np.empty((3, 0)), axis=0))
for f in [np.sum, np.prod, np.mean]:
    row(
        f, call(CM), call(CM, axis=0), call(M, dtype=np.float32), call(M32, dtype=float)
    )
    row(f, call(M, where=MASK), call(M, axis=1, where=M > -1.0), call(BYTES))
for f in [np.sum, np.prod]:
    row(f, call(np.empty((0, 3)), axis=0), call(np.empty(0)), call(M, initial=2.5))
    row(f, call(M, axis=0, initial=2.5, where=MASK), call(INTS, dtype=float))
for f in [np.max, np.min]:
    row(
        f,
        call(M, initial=0.1),
        call(M, axis=0, initial=0.1),
        call(np.empty(0), initial=1.0),
    )
    row(f, call(M, axis=1, initial=0.1, where=MASK))
row(np.prod, call(np.array([0.0, 2.0, 3.0])), call(np.array([0.0, 2.0, 0.0])))
for f in [np.var, np.std]:
    row(
        f,
        call(T),
        call(T, axis=1),
        call(T, axis=(0, -1), keepdims=True),
        call(V, ddof=1),
    )
    row(f, call(M, axis=0, correction=1), call(M32), call(CM, axis=1), call(INTS))
    row(f, call(M32, axis=-1, ddof=1), call(INTS, axis=0), call(M, dtype=np.float32))
row(np.ptp, call(M), call(M, axis=0), call(M, axis=-1, keepdims=True), call(INTS))
row(
    np.count_nonzero,
    call(M),
    call(INTS, axis=0),
    call(MASK),
    call(M, axis=1, keepdims=True),
)
for f in [np.argmax, np.argmin]:
    row(f, call(M), call(M, axis=0), call(M, -1), call(T, axis=1, keepdims=True))
    row(f, call(M, keepdims=True), call(INTS, axis=1), call(ZERO_D), call(M32))
for f in [np.cumsum, np.cumprod]:
    row(f, call(M), call(M, axis=0), call(T, -1), call(V), call(CM, axis=1), call(INTS))
    row(
        f,
        call(M32, axis=1),
        call(M, dtype=np.float32),
        call(ZERO_D),
        call(EMPTY, axis=0),
    )
row(np.cumprod, call(np.array([2.0, 0.0, 3.0, 0.0, 5.0])))
for f in [np.sort, np.argsort]:
    row(
        f,
        call(M),
        call(M, axis=0),
        call(M, None),
        call(T, axis=1),
        call(INTS),
        call(M32),
    )
    row(f, call(M, kind="stable"), call(M, stable=True), call(EMPTY))

# ----------------------------------------------------------------------------- indexing

row(
    np.take,
    *(call(M, np.array([0, 2, -1]), axis=1), call(M, np.array([[0, 5], [11, -2]]))),
    *(call(M, [0, 0, 1], 0), call(M, 2, axis=-1), call(T, np.array([1, 0]), axis=1)),
    *(call(M, np.array([5, -7]), axis=0, mode="wrap"), call(M, 1), call(V, COUNTS - 1)),
    *(call(M, np.array([5, -7]), axis=1, mode="clip"), call(M, np.array([], int))),
)
row(
    np.take_along_axis,
    call(M, np.argsort(M, axis=1), axis=1),
    call(M, np.array([[0, 2, -1, 1]]), axis=0),
    call(M, np.array([3, 3, 0]), axis=None),
    call(T, np.array([[[1], [2], [0]]]), -1),
)

# ------------------------------------------------------------------------------ shaping

row(
    np.reshape,
    *(call(M, (4, 3)), call(M, -1), call(M, (2, -1, 3)), call(ZERO_D, (1, 1))),
    *(call(EMPTY, (3, 0)), call(M, 12), call(INTS, (6, 2)), call(M32, (2, 6))),
    *(call(M, (2, 6), order="C"), call(EMPTY, (-1, 3))),
)
row(np.ravel, call(M), call(ZERO_D), call(EMPTY), call(T))
row(np.transpose, call(T), call(T, (1, 0, 2)), call(T, axes=(-1, 0, 1)), call(ZERO_D))
row(np.transpose, call(V), call(T, [2, 1, 0]))
row(np.swapaxes, call(T, 0, 2), call(T, -1, 1), call(M, 0, 0))
row([np.matrix_transpose, np.linalg.matrix_transpose], call(M), call(T), call(EMPTY))
row(
    np.moveaxis,
    *(call(T, 0, -1), call(T, (0, 1), (-1, -2)), call(T, [2, 0], [0, 1])),
    call(T, -1, 0),
)
row(np.expand_dims, call(M, 0), call(M, -1), call(M, (0, 2)), call(ZERO_D, 0))
row(np.expand_dims, call(M, axis=[0, -1]))
ONES = spread((1, 3, 1))
row(np.squeeze, call(ONES), call(ONES, 0), call(ONES, axis=(0, -1)), call(ONES, -1))
row(np.broadcast_to, call(V, (3, 4)), call(COLUMN, (2, 3, 4)), call(ZERO_D, 3))
row(np.broadcast_to, call(ZERO_D, ()), call(EMPTY[:, :1], (0, 3)))
row(np.broadcast_arrays, call(M, V), call(COLUMN, ZERO_D, V), call(V, 1.0))
row(
    np.concatenate,
    *(call([M, SAFE]), call((M, COLUMN), axis=1), call([M, V], axis=None)),
    *(call([M, M32], -1), call([M, INTS]), call([CM, M]), call([M], axis=0)),
    *(call([EMPTY, N]), call([M, SAFE], dtype=np.float32), call([INTS, COUNTS[None]])),
)
row(
    np.stack,
    *(call([M, SAFE]), call([V, W], axis=1), call([V, W], -1), call([ZERO_D, 1.0])),
    *(
        call([V, COUNTS]),
        call([V, W], dtype=np.float32),
        call([V, [1.0, 2.0, 3.0, 4.0]]),
    ),
)
row(
    [np.atleast_1d, np.atleast_2d, np.atleast_3d],
    call(ZERO_D),
    call(V),
    call(M),
    call(T),
)
row([np.atleast_1d, np.atleast_2d, np.atleast_3d], call(ZERO_D, V), call(V, M, 1.0))
row([np.vstack, np.hstack, np.column_stack, np.dstack], call([V, W]), call([M, SAFE]))
row([np.hstack, np.dstack], call([ZERO_D, ZERO_D + 1]))
row(np.vstack, call([V, M]), call([V, W], dtype=np.float32), call([ZERO_D, ZERO_D]))
row(np.column_stack, call([COLUMN[:, 0], M]))
for f in [np.split, np.array_split]:
    row(f, call(M, 3), call(M, 2, axis=1), call(V, [1, 3]), call(M, [1], axis=-1))
    row(f, call(V, [3, 1]), call(V, [1, 1, 9]), call(V, [-1]), call(V, np.int64(2)))
row(np.array_split, call(M, 2), call(V, 3), call(V, 6), call(T, 3, axis=2))
row(np.hsplit, call(M, 2), call(V, 2), call(M, [1, 3]))
row(np.vsplit, call(M, 3), call(M, [1]))
row(np.dsplit, call(T, 2), call(T, [1]))
row(np.unstack, call(M), call(M, axis=1), call(T, axis=-1), call(V))
row(np.flip, call(M), call(M, 0), call(M, -1), call(T, (0, 2)), call(ZERO_D))
row([np.flipud, np.fliplr], call(M), call(T))
row(
    np.roll,
    *(
        call(M, 1),
        call(M, 1, axis=0),
        call(M, -2, axis=1),
        call(M, (1, 2), axis=(0, 1)),
    ),
    *(
        call(M, 5, axis=(0, 1)),
        call(V, 7),
        call(EMPTY, 1, axis=0),
        call(M, (1, 1), axis=0),
    ),
    call(M, (1, 2), axis=(1, 1)),
)
row(np.repeat, call(M, 2), call(M, 3, axis=0), call(M, [1, 0, 2], axis=0), call(V, 2))
row(np.repeat, call(M, [2], axis=-1), call(ZERO_D, 3), call(V, 0))
row(np.tile, call(V, 2), call(M, (2, 1)), call(V, (3, 1)), call(M, 2), call(ZERO_D, 3))
row(np.tile, call(M, ()), call(V, (2, 0)), call(M, [1, 2]))
row(
    np.pad,
    *(call(V, 2), call(M, ((1, 2), (0, 1))), call(M, 1, constant_values=1.5)),
    *(call(M, 1, mode="edge"), call(M, 2, "reflect"), call(M, 2, "symmetric")),
    *(call(M, 1, "wrap"), call(V, (1, 2)), call(M, [(1, 0), (2, 0)])),
    *(call(M, ((1, 1), (2, 0)), constant_values=((1.0, 2.0), (3.0, 4.0))), call(M, 0)),
    *(call(INTS, 1, constant_values=7), call(M32, 1), call(M, (1, 2), "edge")),
)
row(
    [np.tril, np.triu], call(M), call(M, 1), call(M, k=-1), call(T), call(INTS), call(V)
)
row(np.diagonal, call(M), call(M, 1), call(M, -1), call(T, axis1=1, axis2=2))
row(np.diagonal, call(T, 1, -1, 0), call(M, 7), call(M, offset=-2))
row(np.linalg.diagonal, call(M), call(T), call(T, offset=1), call(T, offset=-1))
row(
    np.diag,
    call(V),
    call(V, 1),
    call(V, k=-2),
    call(M),
    call(M, 1),
    call(INTS),
    call(M, -1),
)
row(
    np.trace,
    call(M),
    call(M, 1),
    call(T, axis1=1, axis2=2),
    call(T, -1, 2, 0),
    call(INTS),
)
row(np.trace, call(M, dtype=np.float32))
for f in [np.zeros_like, np.ones_like]:
    row(f, call(M), call(M32), call(M, dtype=int), call(M, shape=(2,)), call(ZERO_D))
row(np.empty_like, call(EMPTY), call(M, shape=(0, 2)), call(M32, shape=0))
row(np.full_like, call(M, 2.5), call(M32, 2.5), call(V, ZERO_D), call(V, W), call(M, V))
row(
    np.full_like,
    call(M, 1.5, dtype=np.float32),
    call(V, 1, shape=(2, 2)),
    call(COUNTS, 2.7),
)
row([np.shape, np.ndim, np.size], call(M), call(ZERO_D), call(EMPTY))
row(np.size, call(M, 0), call(M, axis=-1))
row(np.copy, call(M), call(ZERO_D), call(INTS))

# ----------------------------------------------------------------------------- products

STACK, STACK2 = spread((2, 3, 4)), spread((2, 4, 3), -1, 2)
row(
    [np.matmul, np.linalg.matmul],
    *(call(M, N), call(STACK, STACK2), call(STACK, N), call(M, STACK2), call(M32, N)),
    *(call(INTS, N), call(CM, N), call(STACK[:, None], STACK2[:1]), call(N, EMPTY.T)),
    *(call(INTS, INTS.T), call(EMPTY, N[:3]), call(M32, M32.T)),
)
row(np.matmul, call(V, W), call(M, V), call(V, N), call(STACK, V), call(V, STACK2))
row(
    np.dot,
    *(
        call(V, W),
        call(M, N),
        call(M, V),
        call(V, N),
        call(STACK, STACK2),
        call(2.0, M),
    ),
    *(call(ZERO_D, V), call(STACK, V), call(V, STACK2), call(CV, V), call(M, 3.0)),
    call(INTS, COUNTS),
)
row(np.vdot, call(V, W), call(CV, CV[::-1]), call(M, N), call(CV, V), call(INTS, N))
row(
    np.inner,
    call(V, W),
    call(M, V),
    call(M, SAFE),
    call(T, M),
    call(2.0, V),
    call(CM, V),
)
row(np.outer, call(V, W), call(M, V), call(CV, V), call(ZERO_D, V), call(V, [1.0, 2.0]))
row([np.vecdot, np.linalg.vecdot], call(M, SAFE), call(M, V), call(CM, CM[:, ::-1]))
row(np.vecdot, call(M, SAFE, axis=0), call(V, W), call(CV, V))
row(np.linalg.vecdot, call(V, W))
row(
    [np.tensordot, np.linalg.tensordot],
    *(call(M, N, axes=1), call(T, T, axes=3), call(T, STACK2, axes=([0, 2], [0, 1]))),
    *(call(V, W, axes=0), call(T, N, axes=((-1,), (0,))), call(CM, N, axes=1)),
    *(call(M, SAFE), call(T, M, axes=([1, 2], [0, 1]))),
)
row(np.tensordot, call(M, N, axes=(1, 0)), call(INTS, N, 1))
row(
    np.einsum,
    *(call("ij,jk->ik", M, N), call("ij,jk", M, N), call("ij->ji", M), call("ij->", M)),
    *(
        call("bij,bjk->bik", STACK, STACK2),
        call("...ij,jk->...ik", T, N),
        call("i,i", V, W),
    ),
    *(call("i,j->ij", V, W), call("ij->i", M), call("ij,ij->", M, SAFE), call("ij", M)),
)

SPD = np.array([[4.0, 0.5, -0.3], [0.5, 3.0, 0.8], [-0.3, 0.8, 2.5]])
SPDS = np.stack([SPD, SPD + np.eye(3)])
SQUARE = SPD + spread((3, 3), -0.4, 0.4)
HERMITIAN = SPD + 0.3j * (np.triu(np.ones((3, 3)), 1) - np.tril(np.ones((3, 3)), -1))
row(
    np.linalg.solve,
    *(call(SQUARE, M), call(SQUARE, M[:, 0]), call(SPDS, M), call(SPDS, STACK2[:, :3])),
    *(call(SQUARE, STACK[..., :2]), call(HERMITIAN, M), call(SQUARE.astype("f4"), M32)),
    *(call(INTS[:, :3], M), call(SQUARE, CM[:, 0])),
)
row(np.linalg.inv, call(SQUARE), call(SPDS), call(HERMITIAN), call(SPD.astype("f4")))
row(np.linalg.inv, call(INTS[:, :3]), call(np.empty((0, 2, 2))))
row(np.linalg.slogdet, call(SQUARE), call(SPDS), call(HERMITIAN), call(-SPD))
row(np.linalg.cholesky, call(SPD), call(SPDS), call(SPD.astype("f4")))
row(
    np.linalg.cholesky,
    call(SPD, upper=True),
    call(HERMITIAN),
    call(HERMITIAN, upper=True),
)
row(
    np.linalg.norm,
    *(call(V), call(M), call(M, axis=0), call(M, axis=1, keepdims=True), call(V, 1)),
    *(call(V, np.inf), call(V, -np.inf), call(V, 3), call(V, 0), call(M, "fro")),
    *(call(M, 1), call(M, -1), call(M, np.inf), call(M, -np.inf), call(CV), call(CM)),
    *(
        call(T, axis=(0, 2)),
        call(T, 1, axis=(2, 0), keepdims=True),
        call(M32),
        call(INTS),
    ),
    *(call(M, 1, axis=1), call(V, 2), call(M, -np.inf, axis=(1, 0))),
)
row(
    np.linalg.vector_norm,
    *(call(V), call(M), call(M, axis=0), call(T, axis=(0, 1), ord=1), call(V, ord=3)),
    *(call(V, ord=np.inf), call(M, axis=-1, keepdims=True), call(V, ord=0), call(CM)),
    call(V, ord=-np.inf),
)

# ------------------------------------------------------------------- reduce, accumulate

for ufunc in [np.add, np.multiply, np.maximum, np.minimum]:
    row((ufunc, "reduce"), call(M), call(M, 1), call(T, axis=(0, -1)), call(V))
    row((ufunc, "reduce"), call(T, axis=None), call(M, axis=0, keepdims=True))
    row((ufunc, "reduce"), call(M, axis=1, initial=0.1), call(INTS), call(M32))
    row((ufunc, "accumulate"), call(M), call(M, 1), call(T, axis=-1), call(INTS))
    row((ufunc, "accumulate"), call(M32, axis=1), call(V))
row((np.add, "reduce"), call(M, dtype=np.float32), call(M, where=MASK, axis=1))

# ---------------------------------------------------------------------------- the tests

# Functions whose result is a Python value, or decides about Python values.
STATIC = {np.shape, np.ndim, np.size, np.isrealobj, np.iscomplexobj, np.result_type}
CONCRETE = {np.allclose, np.array_equal}
# Step functions in the small: their finite differences mean nothing.
ROUGH = {np.nextafter}
# NumPy reads half of the matrix, and the derivative is that of the Hermitian part.
HERMITIAN_ONLY = {np.linalg.cholesky}
# NumPy's own function looks for tracers in its first argument only.
FIRST_ONLY = {np.take, np.full_like}


def resolve(key):
    return getattr(key[0], key[1]) if isinstance(key, tuple) else key


def title(key):
    if isinstance(key, tuple):
        return f"{key[0].__name__}.{key[1]}"
    module = (
        key.__module__ if "linalg" in (getattr(key, "__module__", "") or "") else ""
    )
    return f"linalg.{key.__name__}" if module else key.__name__


def cases(exclude=()):
    return [
        pytest.param(key, one, id=f"{title(key)}-{i}")
        for key, calls in TABLE.items()
        if key not in exclude
        for i, one in enumerate(calls)
    ]


def is_leaf(x):
    """Lists of numbers are arguments as they are, lists of arrays are pytrees."""
    return x is None or (
        isinstance(x, (list, tuple))
        and not any(isinstance(v, np.ndarray) for v in tree.leaves(x))
    )


def split_call(key, one, traced):
    """A function of the arrays of a call, and those arrays."""
    leaves, treedef = tree.flatten((one.args, one.kwargs), is_leaf=is_leaf)
    places = [
        i for i, x in enumerate(leaves) if isinstance(x, np.ndarray) and traced(x)
    ]
    function = resolve(key)

    def f(*arrays):
        full = list(leaves)
        for i, x in zip(places, arrays, strict=True):
            full[i] = x
        args, kwargs = tree.unflatten(treedef, full)
        return function(*args, **kwargs)

    return f, [leaves[i] for i in places]


def everything(x):
    return True


def zero_like(x):
    return np.zeros(np.shape(x), x.dtype)


def test_rows_are_of_functions_that_can_be_traced():
    keys = {*FUNCTIONS, *PRIMITIVES, *METHODS}
    assert [title(key) for key in TABLE if key not in keys] == []


@pytest.mark.parametrize("key, one", cases(exclude=STATIC))
def test_value_under_jvp_is_that_of_numpy(key, one):
    f, arrays = split_call(key, one, is_inexact)
    with np.errstate(all="ignore"):
        out, _ = funcad.jvp(f, arrays, [zero_like(x) for x in arrays])
        assert_same(out, f(*arrays))


@pytest.mark.parametrize("key, one", cases(exclude=STATIC | CONCRETE | ROUGH))
def test_jvp_is_the_directional_derivative(key, one):
    f, arrays = split_call(key, one, is_inexact)
    rng = np.random.default_rng(1)
    tangents = [normal_like(x, rng) for x in arrays]
    if key in HERMITIAN_ONLY:
        tangents = [t + np.conj(np.swapaxes(t, -1, -2)) for t in tangents]
    with np.errstate(all="ignore"):
        out, tangent = funcad.jvp(f, arrays, tangents)
        for y, t in zip(tree.leaves(out), tree.leaves(tangent), strict=True):
            assert np.shape(t) == np.shape(y)
            assert t.dtype == (y.dtype if is_inexact(y) else funcad.float0)
        if not all(map(is_double, arrays)):
            return
        numerical = directional_derivative(f, arrays, tangents)
    for t, wanted, y in zip(
        tree.leaves(tangent), numerical, tree.leaves(out), strict=True
    ):
        if is_double(y):
            assert_close(t, wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("key, one", cases(exclude=STATIC | CONCRETE))
def test_vjp_is_the_transpose_of_jvp(key, one):
    f, arrays = split_call(key, one, is_inexact)
    rng = np.random.default_rng(2)
    tangents = [normal_like(x, rng) for x in arrays]
    with np.errstate(all="ignore"):
        _, tangent = funcad.jvp(f, arrays, tangents)
        out, pullback = funcad.vjp(f, *arrays)
        outs, treedef = tree.flatten(out)
        cotangents = [
            normal_like(y, rng)
            if is_inexact(y)
            else np.zeros(np.shape(y), funcad.float0)
            for y in outs
        ]
        pulled = pullback(tree.unflatten(treedef, cotangents))
    for x, ct in zip(arrays, pulled, strict=True):
        assert (np.shape(ct), ct.dtype) == (x.shape, x.dtype)
    floats = [is_inexact(y) for y in outs]
    left = pairing(
        [c for c, ok in zip(cotangents, floats) if ok],
        [t for t, ok in zip(tree.leaves(tangent), floats) if ok],
    )
    single = any(not is_double(y) for y in [*arrays, *outs] if is_inexact(y))
    np.testing.assert_allclose(
        left,
        pairing(pulled, tangents),
        rtol=2e-3 if single else 1e-9,
        atol=1e-4 if single else 1e-10,
    )


def variations(x, count=3):
    """A stack of arrays that lie in the same domain as one."""
    if not is_inexact(x) or not np.isfinite(x).all():
        return np.stack([np.roll(x, k) for k in range(count)])
    rng = np.random.default_rng(3)
    noise = [0 * x] + [0.004 * normal_like(x, rng) for _ in range(count - 1)]
    return np.stack([(x + d).astype(x.dtype) for d in noise])


@pytest.mark.parametrize("key, one", cases(exclude=STATIC | CONCRETE))
def test_vmap_is_a_loop(key, one):
    f, arrays = split_call(key, one, everything)
    stacked = [variations(x) for x in arrays]
    with np.errstate(all="ignore"):
        loop = [f(*[x[k] for x in stacked]) for k in range(3)]
        wanted = tree.map(lambda *rows: np.stack(rows), *loop)
        assert_same(funcad.vmap(f)(*stacked), wanted, rtol=1e-11)


@pytest.mark.parametrize("key, one", cases(exclude=STATIC | CONCRETE))
def test_vmap_of_one_operand_along_its_last_axis_is_a_loop(key, one):
    f, arrays = split_call(key, one, everything)
    for place, x in enumerate(arrays):
        if place and key in FIRST_ONLY:
            continue
        axes = [-1 if i == place else None for i in range(len(arrays))]
        stacked = variations(x)
        with np.errstate(all="ignore"):
            loop = [
                f(*[row if i == place else y for i, y in enumerate(arrays)])
                for row in stacked
            ]
            wanted = tree.map(lambda *rows: np.stack(rows, -1), *loop)
            given = [
                np.moveaxis(stacked, 0, -1) if i == place else y
                for i, y in enumerate(arrays)
            ]
            out = funcad.vmap(f, in_axes=axes, out_axes=-1)(*given)
            assert_same(out, wanted, rtol=1e-11)


@pytest.mark.parametrize("key, one", cases(exclude=STATIC | CONCRETE))
def test_staged_program_computes_what_numpy_computes(key, one):
    f, arrays = split_call(key, one, everything)
    with np.errstate(all="ignore"):
        expected = tree.leaves(f(*arrays))
        program = funcad.make_program(f)(*arrays)
        assert_same(program.evaluate(arrays), expected)
        shapes = tree.leaves(funcad.eval_shape(f, *arrays))
    for struct, y in zip(shapes, expected, strict=True):
        assert (struct.shape, struct.dtype) == (np.shape(y), np.result_type(y))


@pytest.mark.parametrize("key, one", cases(exclude=STATIC | CONCRETE))
def test_results_stay_in_the_library_of_the_arrays(key, one):
    f, arrays = split_call(key, one, everything)
    inside = [backend_double.Array(x) for x in arrays]
    floats = [i for i, x in enumerate(arrays) if is_inexact(x)]

    def of_floats(*given):
        full = list(inside)
        for i, x in zip(floats, given, strict=True):
            full[i] = x
        return f(*full)

    with np.errstate(all="ignore"):
        wanted = f(*arrays)
        runs = [funcad.make_program(f)(*inside).evaluate(inside)]
        if floats and floats[0] == 0:
            given = [inside[i] for i in floats]
            runs += [funcad.jvp(of_floats, given, given)[0]]
    for out in runs:
        for x, y in zip(tree.leaves(out), tree.leaves(wanted), strict=True):
            assert type(x) is backend_double.Array
            assert_same(x.get(), np.asarray(y))


@pytest.mark.parametrize("key, one", [c for c in cases() if c.values[0] is np.take])
def test_take_from_plain_arrays_at_batched_positions_is_a_loop(key, one):
    array, indices, *rest = one.args
    stacked = variations(np.asarray(indices))

    def take(i):
        return fnp.take(array, i, *rest, **one.kwargs)

    wanted = np.stack([np.take(array, i, *rest, **one.kwargs) for i in stacked])
    assert_same(funcad.vmap(take)(stacked), wanted)
    assert_same(
        funcad.make_program(take)(stacked[0]).evaluate([stacked[0]]), [wanted[0]]
    )


@pytest.mark.parametrize("key, one", [c for c in cases() if c.values[0] in STATIC])
def test_questions_about_the_form_are_answered_by_every_tracer(key, one):
    f, arrays = split_call(key, one, everything)
    seen = []

    def ask(*xs):
        seen.append(f(*xs))
        return xs[0]

    expected = f(*arrays)
    funcad.make_program(ask)(*arrays)
    funcad.vmap(ask)(*[x[None] for x in arrays])
    funcad.linearize(ask, *arrays)
    assert seen == [expected] * 3


@pytest.mark.parametrize("key, one", [c for c in cases() if c.values[0] in CONCRETE])
def test_answers_about_values_need_values(key, one):
    f, arrays = split_call(key, one, is_inexact)
    if f(*arrays) is False and len({x.shape for x in arrays}) > 1:
        return  # decided by the shapes alone
    with pytest.raises(ConcretizationError, match="test_dispatch.py"):
        funcad.make_program(f)(*arrays)
    with pytest.raises(ConcretizationError, match="inside vmap"):
        funcad.vmap(f)(*[x[None] for x in arrays])


# Methods of an array with the arguments of the function of the same name.
SAME_METHOD = [
    *("sum", "prod", "max", "min", "mean", "var", "std", "any", "all", "argmax"),
    *("argmin", "cumsum", "cumprod", "argsort", "reshape", "ravel", "transpose"),
    *("swapaxes", "squeeze", "repeat", "take", "diagonal", "trace", "clip", "round"),
    *("dot", "copy", "astype", "conjugate"),
]


@pytest.mark.parametrize(
    "key, one",
    [c for c in cases() if getattr(c.values[0], "__name__", "") in SAME_METHOD],
)
def test_method_of_a_tracer_is_that_of_an_array(key, one):
    array, *rest = one.args
    if not isinstance(array, np.ndarray) or "linalg" in title(key):
        return
    name = key.__name__
    rest = [x for x in rest if x is not None] if name == "clip" else rest
    if len(rest) < len(one.args) - 1 or {"correction", "axes"} & one.kwargs.keys():
        return  # what the methods of NumPy's arrays do not take either

    def method(x):
        return getattr(x, name)(*rest, **one.kwargs)

    with np.errstate(all="ignore"):
        assert_same(funcad.vmap(method)(array[None]), np.asarray(method(array))[None])
        if is_inexact(array):
            out, _ = funcad.jvp(method, (array,), (zero_like(array),))
            assert_same(out, method(array))
