"""Products of matrices that are normalised before they leave the cache.

``softmax(a @ b)`` as two operations writes the product to memory and reads it again.
Here a block of rows of the product is normalised in the place where it was computed,
which is its place in the result; the way back needs the result and a number a row, so
that nothing else of the product's size is ever there.

============================  ====================================================
``matmul_softmax``            softmax of a product over axes
``matmul_standardize``        a product shifted and scaled over axes to mean 0 and
                              variance 1, and the factors
============================  ====================================================

Each has two relatives.  With X = A B, the derivative of the rows' function N at X is a
matrix a row, T, that is known from the results.  The tangent and the cotangents

    dN = T (dA B + A dB),        A' = T'(N') B',  B' = A' T'(N')

(primes for transposes and cotangents) are ``..._tangent`` and ``..._cotangent``: linear
maps that are each other's transpose.  What derivatives of these are needed for second
and higher orders is composed of plain products and of the rows' own primitives.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from funcad.core.counting import ELEMENTARY, entries
from funcad.core.errors import NonlinearError
from funcad.core.program import Var
from funcad.core.tracing import (
    Array,
    Operand,
    Params,
    Primitive,
    bind,
    dtype_of,
    shape_of,
)
from funcad.primitives import nn
from funcad.primitives.code import call
from funcad.primitives.contraction import left_cotangent, matmul, right_cotangent
from funcad.primitives.elementwise import broadcast_shapes
from funcad.primitives.shape import (
    Shape,
    batch_first,
    broadcast_to,
    reduce_sum,
    reduced_shape,
    reshape,
    zeros,
)

Index = tuple[slice, ...]

CHUNK = 2 * 2**20
"""Bytes of the part of a product that is computed at once.

BLAS shares it among threads and packs the right operand anew for each, so that a
smaller part, which would fit the cache of one core, costs more than it saves.
"""

BLOCK = 2**20
"""Bytes of the block of it that is then taken through all passes of normalising."""


class Rows(NamedTuple):
    """A function of the rows of a product, and its derivative.

    Parameters
    ----------
    name : str
        ``matmul_`` and this are the names of the primitives.
    plain : callable
        ``plain(x, **params)``, the results, by the implementation for whole arrays.
    begin : callable
        ``begin(a, b, axis, **params) -> (b, finish)``; ``finish(x, stats, again)``
        turns a block of the product ``a @ b`` into that of the first result, in place,
        and writes the others; ``again()`` computes the block anew.
    tangent, cotangent : callable
        ``tangent(t, results, axis)`` and ``cotangent(cts, results, axis)``: T and its
        transpose, composed of primitives.
    tangent_jvp, cotangent_jvp : callable
        ``(ans, t, results, changes, axis)``, derivatives of these with respect to the
        results, whose changes are given.
    block_tangent : callable
        ``block_tangent(t, stats, results, axis)``, the tangent on blocks of arrays, in
        place, and that of the other results into ``stats``.
    begin_back : callable
        ``begin_back(a, b, axis) -> (b, write, settle)``; ``write(out, cts, results)``
        writes a block of the product's cotangent, of which ``out @ b.T`` is a part of
        the left operand's and ``settle(a.T @ out)`` is the right operand's.
    reduced : tuple of bool
        Whether the axes are of size one in a result.
    weights : tuple of float
        Operations for each entry of the product: of the function, of its derivative.
    definitions : tuple of str
        Source over ``np`` of the primitive and of its relatives.
    """

    name: str
    plain: Callable[..., Any]
    begin: Callable[..., Any]
    tangent: Callable[..., Any]
    cotangent: Callable[..., Any]
    tangent_jvp: Callable[..., Any]
    cotangent_jvp: Callable[..., Any]
    block_tangent: Callable[..., Any]
    begin_back: Callable[..., Any]
    reduced: tuple[bool, ...]
    weights: tuple[float, float]
    definitions: tuple[str, str, str]


def product_through(rows: Rows) -> Primitive:
    """The primitive ``matmul_name`` and its relatives.

    Parameters
    ----------
    rows : Rows

    Returns
    -------
    Primitive
        ``(a, b, axis, **params)``, whose results are a tuple.  ``axis`` counts the axes
        of the product from the front.
    """
    name = f"matmul_{rows.name}"
    tangent, cotangent = _linear_maps(rows, name)

    def impl(a: Array, b: Array, axis: Shape, out: Array = None, **params: Any) -> Any:
        if not _in_blocks(a, b):
            return _into(out, rows.plain(matmul.impl(a, b), axis=axis, **params))
        if out is None:
            out = np.empty(_product_shape(a, b), a.dtype)
        stats = [
            np.empty(reduced_shape(out.shape, axis, True), a.dtype)
            for reduced in rows.reduced
            if reduced
        ]
        if 0 < out.nbytes <= BLOCK:
            # nothing is to be parted, and all of that takes longer than the product
            b, finish = rows.begin(a, b, axis, **params)
            np.matmul(a, b, out=out)
            finish(out, stats, functools.partial(np.matmul, a, b, out=out))
            return (out, *stats)
        a, b, axis, (out, *stats), flat = _flattened(a, b, axis, [out, *stats])
        b, finish = rows.begin(a, b, axis, **params)
        for chunk in _chunks(out.shape, a, axis):
            x, factors = _part(out, chunk), _factors(chunk, a, b)
            np.matmul(*factors, out=x)
            own = [_part(v, chunk) for v in stats]
            for index in _blocks(x.shape, axis, BLOCK // x.itemsize):
                again = functools.partial(_again, x, factors, index)
                finish(_part(x, index), [_part(v, index) for v in own], again)
        return _restored((out, *stats), flat)

    def abstract(a: Any, b: Any, axis: Shape, **params: Any) -> Any:
        shape, dtype = _product_shape(a, b), _product_dtype(a, b)
        return [
            (reduced_shape(shape, axis, True) if r else shape, dtype)
            for r in rows.reduced
        ]

    def jvp(ans: Any, primals: Any, tangents: Any, params: Params) -> Any:
        wrt = tuple([i for i, t in enumerate(tangents) if t is not None])
        if not wrt:
            return None
        given = [tangents[i] for i in wrt]
        return bind(
            tangent, (*given, *primals, *ans), {"axis": params["axis"], "wrt": wrt}
        )

    def batch(values: Any, axes: Any, axis: Shape, **params: Any) -> Any:
        placed = list(zip(values, axes, strict=True))
        operands = _operands_with_batch(placed, _batch_size(values, axes), ())
        params["axis"] = tuple([i + 1 for i in axis])
        return bind(primitive, operands, params), [0] * len(rows.reduced)

    def flops(inputs: Any, outputs: Any, params: Params) -> float:
        return entries(outputs[0]) * (2 * inputs[0].shape[-1] + rows.weights[0])

    def code(
        operands: Sequence[Operand], params: Params, out: str | None
    ) -> str | None:
        if out is not None and len({x.dtype for x in operands}) > 1:
            return None
        return call(name)(operands, params, out)

    primitive = Primitive(
        name,
        impl,
        abstract,
        jvp=jvp,
        batch=batch,
        flops=flops,
        code=code,
        definition=rows.definitions[0],
        multiple=True,
        family="product along axes",
    )
    return primitive


def _linear_maps(rows: Rows, name: str) -> tuple[Primitive, Primitive]:
    """The tangent of the results, and the cotangents of the operands.

    ``wrt`` says with respect to which of the two operands: the tangent takes as many
    tangents, before the operands and the results, the cotangent gives as many results.
    """
    count = len(rows.reduced)

    # -- the tangent

    def tangent_impl(*args: Array, axis: Shape, wrt: Shape) -> Any:
        ts, (a, b), results = _split(args, len(wrt))
        if not _in_blocks(*args):
            t = _product_rule(a, b, dict(zip(wrt, ts, strict=True)))
            return rows.tangent(t, results, axis)
        pairs = [(t, b) if i == 0 else (a, t) for i, t in zip(wrt, ts, strict=True)]
        # tangents of the left operand have its shape
        (x, y), *more = pairs
        x, y, flat_axis, results, flat = _flattened(x, y, axis, results)
        pairs = [(x, y), *(_flattened(*pair, axis, [])[:2] for pair in more)]
        outs = [np.empty(v.shape, v.dtype) for v in results]
        for chunk in _chunks(outs[0].shape, x, flat_axis):
            t, *rest = [_part(v, chunk) for v in outs]
            own = [_part(v, chunk) for v in results]
            np.matmul(*_factors(chunk, *pairs[0]), out=t)
            for pair in pairs[1:]:
                t += np.matmul(*_factors(chunk, *pair))
            for index in _blocks(t.shape, flat_axis, BLOCK // t.itemsize):
                stats, here = ([_part(v, index) for v in vs] for vs in (rest, own))
                rows.block_tangent(_part(t, index), stats, here, flat_axis)
        return _restored(tuple(outs), flat)

    def tangent_abstract(*args: Any, axis: Shape, wrt: Shape) -> Any:
        return [(shape_of(x), dtype_of(x)) for x in args[-count:]]

    def tangent_jvp(ans: Any, primals: Any, tangents: Any, params: Params) -> Any:
        wrt, axis = params["wrt"], params["axis"]
        ts, (a, b), results = _split(primals, len(wrt))
        dts, changed, changes = _split(tangents, len(wrt))
        dts = {i: dt for i, dt in zip(wrt, dts, strict=True) if dt is not None}
        total: Any = [None] * count
        if dts:
            held = {"axis": axis, "wrt": tuple(dts)}
            total = bind(tangent, (*dts.values(), a, b, *results), held)
        ts = dict(zip(wrt, ts, strict=True))
        mixed = _mixed_product(ts, *changed)
        if mixed is not None:
            total = _added(total, rows.tangent(mixed, results, axis))
        if any(x is not None for x in changes):
            t = _product_rule(a, b, ts)
            total = _added(total, rows.tangent_jvp(ans, t, results, changes, axis))
        return total

    def tangent_transpose(cts: Any, args: Any, params: Params) -> Any:
        wrt = params["wrt"]
        ts, (a, b), results = _split(args, len(wrt))
        _check_linear(f"{name}_tangent", (a, b, *results), f"the first {len(wrt)}")
        chosen = [type(t) is Var for t in ts]
        held = {
            "axis": params["axis"],
            "wrt": tuple([i for i, c in zip(wrt, chosen, strict=True) if c]),
        }
        cts = _explicit(cts, results)
        found = iter(bind(cotangent, (*cts, a, b, *results), held))
        return [next(found) if c else None for c in chosen] + [None] * (2 + count)

    def tangent_batch(values: Any, axes: Any, axis: Shape, wrt: Shape) -> Any:
        size = _batch_size(values, axes)
        ts, ab, results = _split(list(zip(values, axes, strict=True)), len(wrt))
        # an operand has a batch axis if its tangent has, as they have one shape
        repeated = [*range(len(ts)), *(len(ts) + i for i in wrt)]
        factors = _operands_with_batch([*ts, *ab], size, repeated)
        values = (*factors, *(_with_batch(size, *x) for x in results))
        axis = tuple([i + 1 for i in axis])
        return bind(tangent, values, {"axis": axis, "wrt": wrt}), [0] * count

    # -- the cotangents

    def cotangent_impl(*args: Array, axis: Shape, wrt: Shape) -> Any:
        cts, (a, b), results = _split(args, count)
        shapes = [(a, b)[i].shape for i in wrt]
        if not _in_blocks(*args):
            c = rows.cotangent(cts, results, axis)
            return tuple([_operand_cotangent(i, c, a, b) for i in wrt])
        if a.ndim == b.ndim == 2 and 0 < cts[0].nbytes <= BLOCK:
            b, write, settle = rows.begin_back(a, b, axis)
            c = np.empty(cts[0].shape, a.dtype)
            write(c, cts, results)
            products = [c @ b.T if i == 0 else a.T @ c for i in wrt]
            if 1 in wrt:
                settle(products[-1])
            return tuple(products)
        a, b, axis, arrays, _ = _flattened(a, b, axis, [*cts, *results])
        shape = arrays[0].shape
        new = np.empty if arrays[0].size else np.zeros
        outs = [new((a, b)[i].shape, a.dtype) for i in wrt]
        spare = None
        b, write, settle = rows.begin_back(a, b, axis)
        for chunk in _chunks(shape, a, axis):
            given = [_part(v, chunk) for v in arrays]
            if spare is None or spare.shape != given[0].shape:
                spare = np.empty(given[0].shape, a.dtype)
            for index in _blocks(spare.shape, axis, BLOCK // a.itemsize):
                here = [_part(v, index) for v in given]
                write(_part(spare, index), here[:count], here[count:])
            for i, out in zip(wrt, outs, strict=True):
                _accumulate(out, i, spare, chunk, a, b)
        if 1 in wrt:
            settle(outs[-1])
        return tuple([x.reshape(n) for x, n in zip(outs, shapes, strict=True)])

    def cotangent_abstract(*args: Any, axis: Shape, wrt: Shape) -> Any:
        ab = args[count : count + 2]
        return [(shape_of(ab[i]), dtype_of(ab[i])) for i in wrt]

    def cotangent_jvp(ans: Any, primals: Any, tangents: Any, params: Params) -> Any:
        wrt, axis = params["wrt"], params["axis"]
        cts, (a, b), results = _split(primals, count)
        dcts, (da, db), changes = _split(tangents, count)
        total: Any = [None] * len(wrt)
        if any(x is not None for x in dcts):
            dcts = _explicit(dcts, results)
            total = bind(cotangent, (*dcts, a, b, *results), params)
        crossed = [(da, db)[1 - i] for i in wrt]  # a's cotangent is a multiple of b
        moved = any(x is not None for x in changes)
        if moved or any(x is not None for x in crossed):
            c = rows.cotangent(cts, results, axis)
            for k, i in enumerate(wrt):
                if crossed[k] is not None:
                    ab = (a, db) if i == 0 else (da, b)
                    term = _operand_cotangent(i, c, *ab)
                    total = [*total[:k], _plus(total[k], term), *total[k + 1 :]]
        if moved:
            dc = rows.cotangent_jvp(c, cts, results, changes, axis)
            total = _added(total, [_operand_cotangent(i, dc, a, b) for i in wrt])
        return total

    def cotangent_transpose(ts: Any, args: Any, params: Params) -> Any:
        cts, (a, b), results = _split(args, count)
        _check_linear(f"{name}_cotangent", (a, b, *results), f"the first {count}")
        given = {i: t for i, t in zip(params["wrt"], ts, strict=True) if t is not None}
        held = {"axis": params["axis"], "wrt": tuple(given)}
        outs = bind(tangent, (*given.values(), a, b, *results), held)
        outs = [x if type(ct) is Var else None for x, ct in zip(outs, cts, strict=True)]
        return [*outs] + [None] * (2 + count)

    def cotangent_batch(values: Any, axes: Any, axis: Shape, wrt: Shape) -> Any:
        size = _batch_size(values, axes)
        cts, ab, results = _split(list(zip(values, axes, strict=True)), count)
        # a cotangent for each example is that of an operand for each example
        cts, results = ([_with_batch(size, *x) for x in xs] for xs in (cts, results))
        factors = _operands_with_batch(ab, size, wrt)
        axis = tuple([i + 1 for i in axis])
        outs = bind(cotangent, (*cts, *factors, *results), {"axis": axis, "wrt": wrt})
        ranks = [len(shape_of(v)) - (k is not None) for v, k in ab]
        # without the axes that the operand was padded with
        outs = [
            reshape(x, shape=(size, *x.shape[len(x.shape) - ranks[i] :]))
            for i, x in zip(wrt, outs, strict=True)
        ]
        return outs, [0] * len(wrt)

    # -- both

    def flops(inputs: Any, outputs: Any, params: Params) -> float:
        a, x = inputs[-count - 2], inputs[-count]
        each = 2 * a.shape[-1] * len(params["wrt"])
        return entries(x) * (each + rows.weights[1])

    tangent = Primitive(
        f"{name}_tangent",
        tangent_impl,
        tangent_abstract,
        jvp=tangent_jvp,
        transpose=tangent_transpose,
        batch=tangent_batch,
        flops=flops,
        definition=rows.definitions[1],
        multiple=True,
        family="product along axes",
    )
    cotangent = Primitive(
        f"{name}_cotangent",
        cotangent_impl,
        cotangent_abstract,
        jvp=cotangent_jvp,
        transpose=cotangent_transpose,
        batch=cotangent_batch,
        flops=flops,
        definition=rows.definitions[2],
        multiple=True,
        family="product along axes",
    )
    return tangent, cotangent


# ---------------------------------------------------------------- parts of a product


def _blocks(shape: Shape, axis: Shape, limit: int) -> Iterable[Index | None]:
    """Parts of an array of at most ``limit`` entries that hold whole rows.

    Rows are those over ``axis``; the last axis is never parted.  ``None`` stands for
    the whole.
    """
    size = math.prod(shape)
    if size <= limit:
        return (None,) if size else ()
    free = [k for k, n in enumerate(shape[:-1]) if k not in axis and n > 1]
    return _parts(tuple([slice(0, n) for n in shape]), free, size, limit)


def _parts(index: Index, free: Sequence[int], size: int, limit: int) -> Iterator[Index]:
    """An index parted along free axes until no part is too large."""
    if size <= limit or not free:
        yield index
        return
    k, *rest = free
    n = index[k].stop
    size //= n
    step = max(limit // size, 1)
    for start in range(0, n, step):
        here = slice(start, min(start + step, n))
        yield from _parts((*index[:k], here, *index[k + 1 :]), rest, size * step, limit)


def _chunks(shape: Shape, a: Array, axis: Shape) -> Iterable[Index | None]:
    """Parts of a product that BLAS computes at once.

    They have several times as many rows as the right operand has, so that what is done
    once for each part with an array of the right operand's size does not count.
    """
    least = 8 * a.shape[-1] * shape[-1]
    return _blocks(shape, axis, max(CHUNK // a.itemsize, least))


def _part(x: Array, index: Index | None) -> Array:
    """A part of an array that may be of size one where the product is not."""
    if index is None:
        return x
    return x[tuple([slice(None) if n == 1 else i for i, n in zip(index, x.shape)])]


def _factors(index: Index | None, a: Array, b: Array) -> tuple[Array, Array]:
    """The parts of the operands whose product is a part of the product."""
    if index is None:
        return a, b
    return a[_own(index, a, -1)], b[_own(index, b, -2)]


def _own(index: Index, x: Array, summed: int) -> Index:
    """What a part of the product is of an operand; ``summed`` is its inner axis."""
    index = index[len(index) - x.ndim :]
    own = [slice(None) if n == 1 else i for i, n in zip(index, x.shape, strict=True)]
    own[summed] = slice(None)
    return tuple(own)


def _again(x: Array, factors: tuple[Array, Array], index: Index | None) -> None:
    """Compute a part of a product anew."""
    np.matmul(*_factors(index, *factors), out=_part(x, index))


def _accumulate(
    out: Array, i: int, c: Array, index: Index | None, a: Array, b: Array
) -> None:
    """Add the cotangent of operand ``i`` that belongs to a part of the product's."""
    x, y = _factors(index, a, b)
    part, first = out, True
    if index is not None:
        operand, summed, across = ((a, -1, -1), (b, -2, -2))[i]
        part = out[_own(index, operand, summed)]
        # the parts that differ in these axes alone have the same cotangent to add to
        lacking = len(index) - operand.ndim
        shared = [
            s
            for k, s in enumerate(index)
            if k < lacking
            or operand.shape[k - lacking] == 1
            or k == len(index) + across
        ]
        first = not any(s.start for s in shared)
    factors = (c, y.swapaxes(-1, -2)) if i == 0 else (x.swapaxes(-1, -2), c)
    if first and part.shape == _product_shape(*factors):
        np.matmul(*factors, out=part)
        return
    ct = _operand_cotangent(i, c, x, y)
    if first:
        part[...] = ct
    else:
        part += ct


def _flattened(
    a: Array, b: Array, axis: Shape, arrays: Sequence[Array]
) -> tuple[Array, Array, Shape, list[Array], Shape | None]:
    """A stack of matrices times one matrix as a product of two matrices.

    ``arrays`` are of the product's shape, but for axes of size one.  The last result is
    the shape of the stack, ``None`` where all stays as it is.
    """
    if b.ndim > 2 or a.ndim == 2 or axis != (a.ndim - 1,):
        return a, b, axis, list(arrays), None
    lead = a.shape[:-1]
    rows = math.prod(lead)
    a, *arrays = [x.reshape(rows, x.shape[-1]) for x in (a, *arrays)]
    return a, b, (1,), arrays, lead


def _restored(arrays: Sequence[Array], lead: Shape | None) -> tuple[Array, ...]:
    if lead is None:
        return tuple(arrays)
    return tuple([x.reshape(*lead, x.shape[-1]) for x in arrays])


def _in_blocks(*arrays: Array) -> bool:
    """Whether these are arrays of the host, of one dtype that BLAS knows."""
    first = arrays[0].dtype
    if first.char not in "fd":
        return False
    for x in arrays:
        if type(x) is not np.ndarray or x.dtype != first:
            return False
    return True


def _into(out: Array | None, results: tuple[Array, ...]) -> tuple[Array, ...]:
    if out is None:
        return results
    out[...] = results[0]
    return (out, *results[1:])


def _product_shape(a: Any, b: Any) -> Shape:
    lead = a.shape[:-2]
    if lead != b.shape[:-2]:
        lead = broadcast_shapes([lead, b.shape[:-2]])
    return (*lead, a.shape[-2], b.shape[-1])


def _product_dtype(a: Any, b: Any) -> Any:
    return a.dtype if a.dtype == b.dtype else np.result_type(a.dtype, b.dtype)


# ---------------------------------------------------------------- sums of what is there


def _split(args: Sequence[Any], first: int) -> tuple[Any, Any, Any]:
    """What comes before the operands, the two operands, the results."""
    return args[:first], args[first : first + 2], args[first + 2 :]


def _plus(x: Array | None, y: Array | None) -> Array | None:
    return y if x is None else x if y is None else x + y


def _added(xs: Sequence[Array | None], ys: Sequence[Array | None]) -> list[Any]:
    return [_plus(x, y) for x, y in zip(xs, ys, strict=True)]


def _product_rule(a: Array, b: Array, ts: dict[int, Array]) -> Any:
    """The product's tangent, from those of the operands that have one."""
    left = matmul(ts[0], b) if 0 in ts else None
    return _plus(left, matmul(a, ts[1]) if 1 in ts else None)


def _mixed_product(ts: dict[int, Array], da: Array | None, db: Array | None) -> Any:
    """How the product's tangent changes with the operands."""
    left = matmul(ts[0], db) if 0 in ts and db is not None else None
    return _plus(left, matmul(da, ts[1]) if 1 in ts and da is not None else None)


def _operand_cotangent(i: int, c: Array, a: Array, b: Array) -> Array:
    """Cotangent of an operand, from the product's."""
    return left_cotangent(c, a, a, b) if i == 0 else right_cotangent(c, b, a, b)


def _explicit(cts: Sequence[Array | None], avals: Sequence[Any]) -> list[Array]:
    like = next(ct for ct in cts if ct is not None)
    return [
        zeros(aval, like) if ct is None else ct
        for ct, aval in zip(cts, avals, strict=True)
    ]


def _check_linear(name: str, others: Sequence[Any], linear: str) -> None:
    if any(type(x) is Var for x in others):
        raise NonlinearError(
            f"{name} is linear in {linear} operands only. Use funcad.vjp, which "
            "linearises the function first."
        )


# ------------------------------------------------------------------- stacks of examples

Placed = tuple[Array, "int | None"]


def _batch_size(values: Sequence[Array], axes: Sequence[int | None]) -> int:
    return next(
        shape_of(v)[k] for v, k in zip(values, axes, strict=True) if k is not None
    )


def _with_batch(size: int, value: Array, axis: int | None) -> Array:
    """An array with its batch axis in front, repeated if it has none."""
    if axis is None:
        return broadcast_to(value, shape=(size, *shape_of(value)))
    return batch_first(value, axis)


def _operands_with_batch(
    placed: Sequence[Placed], size: int, repeated: Sequence[int]
) -> list[Array]:
    """Factors of products, padded behind their batch axes as broadcasting would.

    Those that are ``repeated`` get a batch axis if they have none.
    """
    rank = max(len(shape_of(v)) - (k is not None) for v, k in placed)
    out = []
    for i, (value, axis) in enumerate(placed):
        if axis is not None or i in repeated:
            value = _with_batch(size, value, axis)
            _, *rest = value.shape
            if len(rest) < rank:
                shape = (size, *(1,) * (rank - len(rest)), *rest)
                value = reshape(value, shape=shape)
        out.append(value)
    return out


# ------------------------------------------------------------------------------ softmax

_LEAST = math.exp(-60)  # a smaller sum of exponentials of float32 has lost digits


def _softmax_begin(a: Array, b: Array, axis: Shape) -> Any:
    """Exponentials as they are, until a block is met whose rows must be shifted.

    Its entries are gone by then, so that this one block is computed twice.
    """
    shifted = False

    def finish(x: Array, stats: Any, again: Callable[[], None]) -> None:
        nonlocal shifted
        if not shifted:
            with np.errstate(over="ignore"):
                np.exp(x, out=x)
            total = _sum(x, axis)
            if total.min() > _LEAST and total.max() < np.inf:
                np.divide(1, total, out=total)
                x *= total
                return
            shifted = True
            again()
        top = x.max(axis=axis, keepdims=True)
        # minus infinity less minus infinity is no number
        top[top == -np.inf] = 0
        x -= top
        np.exp(x, out=x)
        total = _sum(x, axis)
        total[total == 0] = 1
        x /= total

    return b, finish


def _softmax_tangent(t: Array, results: Any, axis: Shape) -> list[Array]:
    return [nn.softmax_tangent(t, *results, axis=axis)]


def _softmax_cotangent(cts: Any, results: Any, axis: Shape) -> Array:
    return nn.softmax_tangent(*cts, *results, axis=axis)


def _softmax_change(t: Array, results: Any, changes: Any, axis: Shape) -> Array:
    rule = nn.softmax_tangent.jvp
    return rule(None, (t, *results), (None, *changes), {"axis": axis})  # type: ignore


def _softmax_block_tangent(t: Array, stats: Any, results: Any, axis: Shape) -> None:
    (s,) = results
    t -= _dot(t, s, axis)
    t *= s


def _softmax_begin_back(a: Array, b: Array, axis: Shape) -> Any:
    def write(out: Array, cts: Any, results: Any) -> None:
        (ct,), (s,) = cts, results
        np.subtract(ct, _dot(ct, s, axis), out=out)
        out *= s

    return b, write, _as_it_is


def _as_it_is(ct: Array) -> None:
    pass


def _dot(x: Array, y: Array, axis: Shape) -> Array:
    """Sum of products that keeps the axes."""
    if axis == (x.ndim - 1,):
        return np.vecdot(x, y)[..., None]
    return nn.dot_over(x, y, axis)


def _sum(x: Array, axis: Shape) -> Array:
    """Sum that keeps the axes."""
    n = x.shape[-1]
    if axis == (x.ndim - 1,) and n <= 4096:
        return np.matmul(x, _ones(n, x.dtype))
    return nn.sum_over(x, axis)


@functools.lru_cache(maxsize=64)
def _ones(n: int, dtype: Any) -> Array:
    return np.ones((n, 1), dtype)


matmul_softmax = product_through(
    Rows(
        "softmax",
        plain=lambda x, axis: (nn.softmax.impl(x, axis=axis),),
        begin=_softmax_begin,
        tangent=_softmax_tangent,
        cotangent=_softmax_cotangent,
        tangent_jvp=lambda ans, t, results, changes, axis: [
            _softmax_change(t, results, changes, axis)
        ],
        cotangent_jvp=lambda ans, cts, results, changes, axis: _softmax_change(
            cts[0], results, changes, axis
        ),
        block_tangent=_softmax_block_tangent,
        begin_back=_softmax_begin_back,
        reduced=(False,),
        weights=(ELEMENTARY + 4, 4),
        definitions=(
            """
def matmul_softmax(a, b, axis):
    x = a @ b
    shift = x.max(axis=axis, keepdims=True)
    e = np.exp(x - np.where(shift == -np.inf, 0, shift))
    total = e.sum(axis=axis, keepdims=True)
    return (e / np.where(total == 0, 1, total),)
""",
            """
def matmul_softmax_tangent(*args, axis, wrt):
    *ts, a, b, s = args
    t = sum(x @ b if i == 0 else a @ x for i, x in zip(wrt, ts))
    return (s * (t - (s * t).sum(axis=axis, keepdims=True)),)
""",
            """
def matmul_softmax_cotangent(ct, a, b, s, axis, wrt):
    c = s * (ct - (s * ct).sum(axis=axis, keepdims=True))
    both = (c @ np.swapaxes(b, -1, -2), a), (np.swapaxes(a, -1, -2) @ c, b)
    outs = []
    for i in wrt:
        out, x = both[i]
        out = out.sum(axis=tuple(range(out.ndim - x.ndim)))
        ones = tuple(k for k, n in enumerate(x.shape[:-2]) if n == 1)
        outs.append(out.sum(axis=ones, keepdims=True))
    return tuple(outs)
""",
        ),
    )
)

# -------------------------------------------------------------------------- normalising
#
# With y = c r as in funcad.primitives.nn, and m(.) for the mean over the axes, the
# tangents of y and r are r (t - m(t) - y m(y t)) and -r^2 m(y t).


def _standardize_begin(a: Array, b: Array, axis: Shape, eps: float) -> Any:
    centred = _centres(a, b, axis)

    def finish(x: Array, stats: Any, again: Callable[[], None]) -> None:
        (r,), n = stats, _count(x, axis)
        if not centred:
            mean = _sum(x, axis)
            mean /= n
            x -= mean
        square = _dot(x, x, axis)
        square /= n
        square += eps
        np.divide(1, np.sqrt(square, out=square), out=r)
        x *= r

    return (_centred(b) if centred else b), finish


def _count(x: Array, axis: Shape) -> int:
    return math.prod(shape_of(x)[k] for k in axis)


def _mean_of_product(x: Array, y: Array, axis: Shape) -> Array:
    return reduce_sum(x * y, axis=axis, keepdims=True) / _count(x, axis)


def _standardize_tangent(t: Array, results: Any, axis: Shape) -> list[Array]:
    y, r = results
    return [
        nn.standardize_tangent(t, y, r, axis=axis),
        -r * (r * _mean_of_product(y, t, axis)),  # r * r may overflow
    ]


def _standardize_cotangent(cts: Any, results: Any, axis: Shape) -> Array:
    (ct, ct_r), (y, r) = cts, results
    return nn.standardize_tangent(ct, y, r, axis=axis) - y * (
        r * (r * ct_r) / _count(y, axis)
    )


def _standardize_change(
    ans: Array, t: Array, results: Any, changes: Any, axis: Shape
) -> Array | None:
    rule = nn.standardize_tangent.jvp
    return rule(ans, (t, *results), (None, *changes), {"axis": axis})  # type: ignore


def _standardize_tangent_jvp(
    ans: Any, t: Array, results: Any, changes: Any, axis: Shape
) -> list[Array | None]:
    (y, r), (dy, dr) = results, changes
    change = None
    if dy is not None:
        change = -r * (r * _mean_of_product(dy, t, axis))
    if dr is not None:
        change = _plus(change, -2 * r * dr * _mean_of_product(y, t, axis))
    first = nn.standardize_tangent(t, y, r, axis=axis)
    return [_standardize_change(first, t, results, changes, axis), change]


def _standardize_cotangent_jvp(
    ans: Array, cts: Any, results: Any, changes: Any, axis: Shape
) -> Array | None:
    (ct, ct_r), (y, r), (dy, dr) = cts, results, changes
    first = nn.standardize_tangent(ct, y, r, axis=axis)
    change = _standardize_change(first, ct, results, changes, axis)
    scaled = r * ct_r / -_count(y, axis)
    if dy is not None:
        change = _plus(change, dy * (r * scaled))
    if dr is not None:
        change = _plus(change, y * (2 * dr * scaled))
    return change


def _standardize_block_tangent(t: Array, stats: Any, results: Any, axis: Shape) -> None:
    (y, r), (out,), n = results, stats, _count(t, axis)
    mean = _dot(y, t, axis)
    mean /= n
    t -= _sum(t, axis) / n
    t -= y * mean
    t *= r
    np.multiply(mean, r * -r, out=out)


def _standardize_begin_back(a: Array, b: Array, axis: Shape) -> Any:
    """As on the way forward, centring the right operand centres what it is for.

    The left operand's cotangent is C (I - 1 1'/n) B', the right's A' C (I - 1 1'/n).
    """
    centred = _centres(a, b, axis)

    def write(out: Array, cts: Any, results: Any) -> None:
        (ct, ct_r), (y, r), n = cts, results, _count(out, axis)
        along = _dot(y, ct, axis)
        along += r * ct_r
        along /= -n
        np.multiply(y, along, out=out)
        out += ct
        if not centred:
            out -= _sum(out, axis) / n
        out *= r

    def settle(ct: Array) -> None:
        if centred:
            ct -= _sum(ct, (1,)) / ct.shape[1]

    return (_centred(b) if centred else b), write, settle


def _centres(a: Array, b: Array, axis: Shape) -> bool:
    """Whether rows of a product are to be centred by centring the right operand.

    The mean of a row of A B is that of the rows of B, weighted.
    """
    return a.ndim == b.ndim == 2 and axis == (1,) and 4 * len(b) <= len(a)


def _centred(b: Array) -> Array:
    return b - _sum(b, (1,)) / b.shape[1]


matmul_standardize = product_through(
    Rows(
        "standardize",
        plain=lambda x, axis, eps: nn.standardize.impl(x, axis=axis, eps=eps),
        begin=_standardize_begin,
        tangent=_standardize_tangent,
        cotangent=_standardize_cotangent,
        tangent_jvp=_standardize_tangent_jvp,
        cotangent_jvp=_standardize_cotangent_jvp,
        block_tangent=_standardize_block_tangent,
        begin_back=_standardize_begin_back,
        reduced=(False, True),
        weights=(5, 7),
        definitions=(
            """
def matmul_standardize(a, b, axis, eps):
    x = a @ b
    x = x - x.mean(axis=axis, keepdims=True)
    r = 1 / np.sqrt((x * x).mean(axis=axis, keepdims=True) + eps)
    return x * r, r
""",
            """
def matmul_standardize_tangent(*args, axis, wrt):
    *ts, a, b, y, r = args
    t = sum(x @ b if i == 0 else a @ x for i, x in zip(wrt, ts))
    mean = t.mean(axis=axis, keepdims=True)
    along = (y * t).mean(axis=axis, keepdims=True)
    return r * (t - mean - y * along), -r * (r * along)
""",
            """
def matmul_standardize_cotangent(ct, ct_r, a, b, y, r, axis, wrt):
    count = int(np.prod([y.shape[k] for k in axis]))
    along = (y * ct).mean(axis=axis, keepdims=True) + r * ct_r / count
    c = r * (ct - ct.mean(axis=axis, keepdims=True) - y * along)
    both = (c @ np.swapaxes(b, -1, -2), a), (np.swapaxes(a, -1, -2) @ c, b)
    outs = []
    for i in wrt:
        out, x = both[i]
        out = out.sum(axis=tuple(range(out.ndim - x.ndim)))
        ones = tuple(k for k, n in enumerate(x.shape[:-2]) if n == 1)
        outs.append(out.sum(axis=ones, keepdims=True))
    return tuple(outs)
""",
        ),
    )
)
