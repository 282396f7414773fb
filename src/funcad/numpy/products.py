"""Products of arrays, all of them compositions of ``matmul``."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np

from funcad.core.tracing import Array, bind, dtype_of, shape_of
from funcad.numpy.dispatch import OPERANDS, as_operands, implements, refuse
from funcad.numpy.reductions import axes_of, axis_of
from funcad.numpy.shaping import arrays_of, diagonal
from funcad.primitives.contraction import matmul as _matmul
from funcad.primitives.elementwise import conjugate, multiply
from funcad.primitives.shape import (
    convert,
    move_axis,
    reduce_sum,
    reshape,
    transpose,
)


@implements(np.matmul, np.linalg.matmul)
def matmul(x1: Array, x2: Array, /) -> Array:
    if not (isinstance(x1, OPERANDS) and isinstance(x2, OPERANDS)):
        x1, x2 = as_operands(x1, x2)
    a, b = shape_of(x1), shape_of(x2)
    if len(a) > 1 and len(b) > 1:
        check_inner("matmul", a, b, a[-1], b[-2])
        return bind(_matmul, (x1, x2), {})
    if not a or not b:
        raise ValueError(
            f"matmul: operands of shapes {a} and {b}; a scalar is multiplied with *"
        )
    check_inner("matmul", a, b, a[-1], b[max(-2, -len(b))])
    if len(a) == 1:
        x1 = reshape(x1, shape=(1, *a))
    if len(b) == 1:
        x2 = reshape(x2, shape=(*b, 1))
    out = _matmul(x1, x2)
    *lead, rows, columns = out.shape
    kept = ([rows] if len(a) > 1 else []) + ([columns] if len(b) > 1 else [])
    return reshape(out, shape=(*lead, *kept))


def check_inner(name: str, a: Any, b: Any, m: int, n: int) -> None:
    if m != n:
        raise ValueError(
            f"{name}: shapes {a} and {b} do not fit: the sizes {m} and {n} that are "
            "summed over differ"
        )


@implements(np.dot)
def dot(a: Array, b: Array, out: Any = None) -> Array:
    refuse("np.dot", out=out)
    a, b = as_operands(a, b)
    x, y = shape_of(a), shape_of(b)
    if not x or not y:
        # Python's numbers are arrays here, whose dtype counts
        return multiply(convert(a, dtype=dtype_of(a)), convert(b, dtype=dtype_of(b)))
    if len(y) <= 2:
        return matmul(a, b)
    return tensordot(a, b, ((-1,), (-2,)))


@implements(np.vdot)
def vdot(a: Array, b: Array, /) -> Array:
    a, b = map(np.ravel, as_operands(a, b))
    return matmul(conjugate(a) if dtype_of(a).kind == "c" else a, b)


@implements(np.inner)
def inner(a: Array, b: Array, /) -> Array:
    a, b = as_operands(a, b)
    if not shape_of(a) or not shape_of(b):
        return multiply(a, b)
    return tensordot(a, b, ((-1,), (-1,)))


@implements(np.outer)
def outer(a: Array, b: Array, out: Any = None) -> Array:
    refuse("np.outer", out=out)
    a, b = map(np.ravel, as_operands(a, b))
    return multiply(np.reshape(a, (-1, 1)), b)


@implements(np.vecdot)
def vecdot(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    x1, x2 = as_operands(x1, x2)
    a, b = shape_of(x1), shape_of(x2)
    for shape in (a, b):
        if not shape:
            raise ValueError(
                f"vecdot: operands of shapes {a} and {b}; a scalar is no vector"
            )
    if axis != -1:
        i, j = axis_of(axis, len(a)), axis_of(axis, len(b))
        x1, x2 = move_axis(x1, i, len(a) - 1), move_axis(x2, j, len(b) - 1)
        a, b = shape_of(x1), shape_of(x2)
    check_inner("vecdot", a, b, a[-1], b[-1])
    product = multiply(_conjugated(x1), x2)
    total = reduce_sum(product, axis=(len(product.shape) - 1,), keepdims=False)
    # sums of small integers are larger integers, products of vectors are not
    kept = dtype_of(product)
    return total if dtype_of(total) == kept else convert(total, dtype=kept)


@implements(np.linalg.vecdot)
def linalg_vecdot(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    return vecdot(x1, x2, axis=axis)


def _conjugated(x: Array) -> Array:
    return conjugate(x) if dtype_of(x).kind == "c" else x


def matvec(x1: Array, x2: Array, /) -> Array:
    x1, x2 = as_operands(x1, x2)
    a, b = shape_of(x1), shape_of(x2)
    if len(a) < 2 or not b:
        raise ValueError(
            f"matvec: operands of shapes {a} and {b} are no matrix and no vector"
        )
    check_inner("matvec", a, b, a[-1], b[-1])
    out = _matmul(x1, reshape(x2, shape=(*b, 1)))
    return reshape(out, shape=out.shape[:-1])


def vecmat(x1: Array, x2: Array, /) -> Array:
    x1, x2 = as_operands(x1, x2)
    a, b = shape_of(x1), shape_of(x2)
    if not a or len(b) < 2:
        raise ValueError(
            f"vecmat: operands of shapes {a} and {b} are no vector and no matrix"
        )
    check_inner("vecmat", a, b, a[-1], b[-2])
    out = _matmul(reshape(_conjugated(x1), shape=(*a[:-1], 1, a[-1])), x2)
    return reshape(out, shape=(*out.shape[:-2], out.shape[-1]))


if hasattr(np, "matvec"):  # NumPy 2.2
    implements(np.matvec)(matvec)
    implements(np.vecmat)(vecmat)


@implements(np.kron)
def kron(a: Array, b: Array) -> Array:
    a, b = as_operands(a, b)
    rank = max(len(shape_of(a)), len(shape_of(b)))
    left, right = ((1,) * (rank - len(shape_of(x))) + shape_of(x) for x in (a, b))
    a = np.reshape(a, tuple([n for m in left for n in (m, 1)]))
    b = np.reshape(b, tuple([n for m in right for n in (1, m)]))
    shape = tuple([m * n for m, n in zip(left, right, strict=True)])
    return reshape(multiply(a, b), shape=shape)


@implements(np.tensordot, np.linalg.tensordot)
def tensordot(a: Array, b: Array, axes: Any = 2) -> Array:
    a, b = as_operands(a, b)
    x, y = shape_of(a), shape_of(b)
    if isinstance(axes, (int, np.integer)):
        left: Any = tuple(range(len(x) - axes, len(x)))
        right: Any = tuple(range(axes))
        if axes > min(len(x), len(y)) and all(
            m == n for m, n in zip(x[-axes:], y, strict=False)
        ):
            raise IndexError(
                f"tensordot: {axes} axes to sum over, of operands of shapes {x} and {y}"
            )
    else:
        left, right = axes
    left, right = axes_of(left, len(x)), axes_of(right, len(y))
    if [x[i] for i in left] != [y[j] for j in right]:
        raise ValueError(
            f"tensordot: shape-mismatch for sum: axes {left} of {x} and {right} of {y}"
        )
    rows = tuple(i for i in range(len(x)) if i not in left)
    columns = tuple(j for j in range(len(y)) if j not in right)
    inner_size = math.prod(x[i] for i in left)
    lead, trail = [x[i] for i in rows], [y[j] for j in columns]
    a = reshape(transpose(a, axes=(*rows, *left)), shape=(math.prod(lead), inner_size))
    b = reshape(
        transpose(b, axes=(*right, *columns)), shape=(inner_size, math.prod(trail))
    )
    return reshape(_matmul(a, b), shape=(*lead, *trail))


# ---------------------------------------------------------------------------- einsum


@implements(np.einsum)
def einsum(*operands: Any, out: Any = None, optimize: Any = True) -> Array:
    refuse("np.einsum", out=out)
    subscripts, arrays = _einsum_arguments(operands)
    shapes = tuple([shape_of(x) for x in arrays])
    terms, result, path = _einsum_plan(subscripts, shapes, _hashable(optimize))
    # integers and booleans are added up in the dtype of the result
    common = np.result_type(*[x.dtype for x in arrays])
    arrays = [convert(x, dtype=common) if x.dtype.kind in "bui" else x for x in arrays]
    pending = list(zip(arrays, terms, strict=True))
    for step in path:
        chosen = [pending.pop(i) for i in sorted(step, reverse=True)]
        kept = set(result).union(*(term for _, term in pending))
        merged = _sum_lone(*chosen[0], kept.union(*(t for _, t in chosen[1:])))
        for other in chosen[1:]:
            merged = _contract(*merged, *_sum_lone(*other, kept | set(merged[1])), kept)
        pending.append(_sum_lone(*merged, kept))
    ((x, term),) = pending
    return transpose(x, axes=tuple([term.index(c) for c in result]))


def _hashable(optimize: Any) -> Any:
    """How the order of contractions is to be found; without a wish, greedily."""
    if optimize is False or optimize is None or optimize is True:
        return "greedy"
    if isinstance(optimize, (list, tuple)):
        return tuple([tuple(x) if isinstance(x, list) else x for x in optimize])
    return optimize


@implements(np.einsum_path)
def einsum_path(
    *operands: Any, optimize: Any = "greedy", einsum_call: bool = False
) -> Any:
    subscripts, arrays = _einsum_arguments(operands)
    specimens = [np.broadcast_to(0.0, shape_of(x)) for x in arrays]
    params: dict[str, Any] = {"optimize": optimize, "einsum_call": einsum_call}
    return np.einsum_path(subscripts, *specimens, **params)


def _einsum_arguments(operands: Any) -> tuple[str, list[Array]]:
    if isinstance(operands[0], str):
        return operands[0].replace(" ", ""), arrays_of(operands[1:])
    # the interleaved form: einsum(a, [0, 1], b, [1, 2], [0, 2])
    arrays = arrays_of(operands[: len(operands) // 2 * 2 : 2])
    lists = operands[1 : len(operands) // 2 * 2 : 2]

    def letters(numbers: Any) -> str:
        return "".join("..." if n is Ellipsis else _letter(n) for n in numbers)

    subscripts = ",".join(map(letters, lists))
    if len(operands) % 2:
        subscripts += "->" + letters(operands[-1])
    return subscripts, arrays


def _letter(n: int) -> str:
    n = operator.index(n)
    return chr(ord("a") + n) if n < 26 else chr(ord("A") + n - 26)


@functools.lru_cache(maxsize=1024)
def _einsum_plan(
    subscripts: str, shapes: tuple[tuple[int, ...], ...], optimize: Any
) -> tuple[tuple[str, ...], str, tuple[tuple[int, ...], ...]]:
    """Subscripts spelled out, and the order of pairwise contractions.

    NumPy checks the arguments and chooses the order: its own errors are raised here.
    """
    if subscripts.partition("->")[0].count(",") + 1 != len(shapes):
        raise ValueError(
            f"einsum: the subscripts {subscripts!r} are not those of {len(shapes)} "
            "operands"
        )
    inputs, arrow, result = subscripts.partition("->")
    terms = inputs.split(",")
    for term, shape in zip(terms, shapes, strict=True):
        if len(shape) != len(term) and "..." not in term:  # a path may not care
            raise ValueError(
                f"einsum: the subscripts {term!r} name {len(term)} axes of an operand "
                f"of shape {shape}."
            )
    specimens = [np.broadcast_to(0.0, shape) for shape in shapes]
    if isinstance(optimize, tuple) and optimize[:1] == ("einsum_path",):
        optimize = list(optimize)
    path, _ = np.einsum_path(subscripts, *specimens, optimize=optimize)
    spare = [c for c in map(chr, range(0x3B1, 0x3B1 + 40)) if c not in subscripts]
    widths = [
        len(shape) - len(term.replace("...", "")) if "..." in term else 0
        for term, shape in zip(terms, shapes, strict=True)
    ]
    dots = "".join(spare[: max(widths)])
    full = tuple(
        term.replace("...", dots[len(dots) - width :])
        for term, width in zip(terms, widths, strict=True)
    )
    for labels, shape in zip(full, shapes, strict=True):
        for c, n in zip(labels, shape, strict=True):
            if shape[labels.index(c)] != n:
                raise ValueError(
                    f"einsum: the axes {c!r} of an operand of shape {shape} differ in "
                    "size."
                )
    if arrow:
        result = result.replace("...", dots)
    else:
        joined = "".join(full)
        once = sorted(c for c in set(joined) if joined.count(c) == 1 and c not in dots)
        result = dots + "".join(once)
    return full, result, tuple(tuple(step) for step in path[1:])


def _sum_lone(x: Array, term: str, kept: set[str]) -> tuple[Array, str]:
    """Take diagonals of repeated subscripts and sum those that nobody else needs."""
    for c in dict.fromkeys(term):
        while term.count(c) > 1:
            i = term.index(c)
            j = term.index(c, i + 1)
            x = diagonal(x, 0, i, j)
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + c
    lone = tuple(i for i, c in enumerate(term) if c not in kept)
    if lone:
        dtype = x.dtype
        x = reduce_sum(x, axis=lone, keepdims=False)
        x = x if x.dtype == dtype else convert(x, dtype=dtype)
        term = "".join(c for c in term if c in kept)
    return x, term


def _contract(x: Array, a: str, y: Array, b: str, kept: set[str]) -> tuple[Array, str]:
    """Contract two operands by one stack of matrix products."""
    shared = [c for c in a if c in b]
    stack = "".join(c for c in shared if c in kept)
    inner_ = "".join(c for c in shared if c not in kept)
    rows = "".join(c for c in a if c not in b)
    columns = "".join(c for c in b if c not in a)
    if not inner_:
        left = _arranged(x, a, stack + rows, len(columns))
        right = _arranged(y, b, stack + columns, 0, len(stack), len(rows))
        return multiply(left, right), stack + rows + columns
    size = dict(zip(a, x.shape, strict=True))
    for c, n in zip(b, y.shape, strict=True):
        size[c] = n if size.get(c, 1) == 1 else size[c]
    x = _spread(x, a, size)
    y = _spread(y, b, size)
    shape = [[size[c] for c in part] for part in (stack, rows, columns)]
    n = math.prod(size[c] for c in inner_)
    x = transpose(x, axes=tuple([a.index(c) for c in stack + rows + inner_]))
    y = transpose(y, axes=tuple([b.index(c) for c in stack + inner_ + columns]))
    x = reshape(x, shape=(*shape[0], math.prod(shape[1]), n))
    y = reshape(y, shape=(*shape[0], n, math.prod(shape[2])))
    out = reshape(_matmul(x, y), shape=tuple(shape[0] + shape[1] + shape[2]))
    return out, stack + rows + columns


def _spread(x: Array, term: str, size: dict[str, int]) -> Array:
    """Broadcast axes of size one to the size that the other operand has there."""
    shape = tuple([size[c] for c in term])
    return x if x.shape == shape else np.broadcast_to(x, shape)


def _arranged(
    x: Array, term: str, order: str, trailing: int, gap_at: int = 0, gap: int = 0
) -> Array:
    """Axes in a new order, with axes of size one put in for the other operand's."""
    x = transpose(x, axes=tuple([term.index(c) for c in order]))
    shape = (*x.shape[:gap_at], *(1,) * gap, *x.shape[gap_at:], *(1,) * trailing)
    return reshape(x, shape=shape)
