"""Products of matrices that are normalised before they leave the cache.

``softmax(a @ b)`` as two operations writes the product to memory and reads it again.
Here a block of rows of the product is normalised in the place where it was computed,
which is its place in the result; the way back needs the result and a number a row, so
that nothing else of the product's size is ever there.  Some functions of rows can be
folded into the operands, and need no pass over the product.

A primitive ``matmul_...`` made here has two relatives.  With X = A B, the derivative of
the rows' function N at X is a matrix a row, T, that is known from the results.  The
tangent and the cotangents

    dN = T (dA B + A dB),        A' = T'(N') B',  B' = A' T'(N')

(primes for transposes and cotangents) are ``..._tangent`` and ``..._cotangent``: linear
maps that are each other's transpose.  What derivatives of these are needed for second
and higher orders is composed of plain products and of the rows' own primitives.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from funcad.core.counting import entries
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
from funcad.primitives import product_parts as parts
from funcad.primitives.code import call
from funcad.primitives.contraction import matmul
from funcad.primitives.nn import dot_over, sum_over
from funcad.primitives.product_parts import (
    accumulate,
    factors_of,
    flattened,
    on_host,
    operand_cotangent,
    part_of,
    product_dtype,
    product_shape,
    restored,
)
from funcad.primitives.shape import (
    Shape,
    batch_first,
    broadcast_to,
    reduced_shape,
    reshape,
    zeros,
)


class Rows(NamedTuple):
    """A function of the rows of a product, and its derivative.

    Parameters
    ----------
    name : str
        ``matmul_`` and this are the names of the primitives.
    plain : callable
        ``plain(x, **params)``, the results, by the implementation for whole arrays.
    begin : callable
        ``begin(a, b, axis) -> (b, finish)``; ``finish(x, axis, **params)`` turns a
        block of the product ``a @ b`` into that of the first result, in place, and
        gives the others; ``None`` where it has spoilt the block, to be computed anew.
    careful : callable
        ``finish`` for that block and those after it.
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
        ``begin_back(a, b, axis) -> (b, write, settle)``; ``write(out, cts, results,
        axis)`` writes a block of the product's cotangent, of which ``out @ b.T`` is a
        part of the left operand's.  The right operand's is ``a.T @ out``, which
        ``settle``, if it is not ``None``, changes in place.
    folded, folded_back : callable or None
        ``folded(a, b, out, **params)`` and ``folded_back(cts, a, b, results, wrt)``,
        for matrices and over the last axis: the other results and the operands'
        cotangents by products that need no passes over them; ``None`` where that does
        not pay.
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
    careful: Callable[..., Any]
    tangent: Callable[..., Any]
    cotangent: Callable[..., Any]
    tangent_jvp: Callable[..., Any]
    cotangent_jvp: Callable[..., Any]
    block_tangent: Callable[..., Any]
    begin_back: Callable[..., Any]
    folded: Callable[..., Any] | None
    folded_back: Callable[..., Any] | None
    reduced: tuple[bool, ...]
    weights: tuple[float, float]
    definitions: tuple[str, str, str]


OF_OPERANDS = """\
    both = (c @ np.swapaxes(b, -1, -2), a), (np.swapaxes(a, -1, -2) @ c, b)
    outs = []
    for i in wrt:
        out, x = both[i]
        out = out.sum(axis=tuple(range(out.ndim - x.ndim)))
        ones = tuple(k for k, n in enumerate(x.shape[:-2]) if n == 1)
        outs.append(out.sum(axis=ones, keepdims=True))
    return tuple(outs)
"""
"""The end of the third definition, from the product's cotangent c to the operands'."""


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
        if not on_host(a, b):
            return _into(out, rows.plain(matmul.impl(a, b), axis=axis, **params))
        if out is None:
            out = np.empty(product_shape(a, b), a.dtype)
        if 0 < out.nbytes <= parts.SMALL:
            right, finish = rows.begin(a, b, axis)
            np.matmul(a, right, out=out)
            others = finish(out, axis, **params)
            if others is not None:
                return (out, *others)
        a, b, axis, (out,), lead = flattened(a, b, axis, [out])
        others = None
        if rows.folded is not None and _over_rows(a, b, axis):
            others = rows.folded(a, b, out, **params)
        if others is None:
            others = in_blocks(a, b, out, axis, params)
        return restored((out, *others), lead)

    def in_blocks(a: Array, b: Array, out: Array, axis: Shape, params: Params) -> Any:
        b, finish = rows.begin(a, b, axis)
        others = None
        for chunk in parts.chunks(a, b, out.shape, axis, parts.CHUNK):
            x, factors = part_of(out, chunk), factors_of(chunk, a, b)
            np.matmul(*factors, out=x)
            for index in parts.blocks(x, axis):
                block = part_of(x, index)
                found = finish(block, axis, **params)
                if found is None:
                    finish = rows.careful
                    np.matmul(*factors_of(index, *factors), out=block)
                    found = finish(block, axis, **params)
                if chunk is index is None:
                    return found
                others = others or own_space(out, axis)
                for other, value in zip(others, found, strict=True):
                    part_of(part_of(other, chunk), index)[...] = value
        return others or own_space(out, axis)

    def own_space(out: Array, axis: Shape) -> list[Array]:
        shape = reduced_shape(out.shape, axis, True)
        return [np.empty(shape, out.dtype) for reduced in rows.reduced if reduced]

    def abstract(a: Any, b: Any, axis: Shape, **params: Any) -> Any:
        shape, dtype = product_shape(a, b), product_dtype(a, b)
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
        if not on_host(*args):
            t = _product_rule(a, b, dict(zip(wrt, ts, strict=True)))
            return rows.tangent(t, results, axis)
        pairs = [(t, b) if i == 0 else (a, t) for i, t in zip(wrt, ts, strict=True)]
        # tangents of the left operand have its shape
        (x, y), *more = pairs
        x, y, flat_axis, results, flat = flattened(x, y, axis, results)
        pairs = [(x, y), *(flattened(*pair, axis, [])[:2] for pair in more)]
        outs = [np.empty(v.shape, v.dtype) for v in results]
        for chunk in parts.chunks(x, y, outs[0].shape, flat_axis, parts.CHUNK):
            t, *rest = [part_of(v, chunk) for v in outs]
            own = [part_of(v, chunk) for v in results]
            np.matmul(*factors_of(chunk, *pairs[0]), out=t)
            for pair in pairs[1:]:
                t += np.matmul(*factors_of(chunk, *pair))
            for index in parts.blocks(t, flat_axis):
                stats, here = ([part_of(v, index) for v in vs] for vs in (rest, own))
                rows.block_tangent(part_of(t, index), stats, here, flat_axis)
        return restored(tuple(outs), flat)

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
        _check_linear(f"{name}_tangent", len(wrt), (a, b, *results))
        chosen = tuple([i for i, t in zip(wrt, ts, strict=True) if type(t) is Var])
        held = {"axis": params["axis"], "wrt": chosen}
        found = bind(cotangent, (*_explicit(cts, results), a, b, *results), held)
        of = dict(zip(chosen, found, strict=True))
        return [of.get(i) for i in wrt] + [None] * (2 + count)

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
        if not on_host(*args):
            c = rows.cotangent(cts, results, axis)
            return tuple([operand_cotangent(i, c, a, b) for i in wrt])
        if a.ndim == b.ndim == 2 and 0 < cts[0].nbytes <= parts.SMALL:
            return cotangents_at_once(cts, a, b, results, axis, wrt)
        shapes = [(a, b)[i].shape for i in wrt]
        a, b, axis, arrays, _ = flattened(a, b, axis, [*cts, *results])
        cts, results = arrays[:count], arrays[count:]
        outs = None
        if rows.folded_back is not None and _over_rows(a, b, axis):
            outs = rows.folded_back(cts, a, b, results, wrt)
        if outs is None:
            once = a.ndim == b.ndim == 2 and 0 < cts[0].nbytes <= parts.SPARE
            found = cotangents_at_once if once else cotangents_in_blocks
            outs = found(cts, a, b, results, axis, wrt)
        return tuple([x.reshape(n) for x, n in zip(outs, shapes, strict=True)])

    def cotangents_at_once(
        cts: Any, a: Array, b: Array, results: Any, axis: Shape, wrt: Shape
    ) -> tuple[Array, ...]:
        b, write, settle = rows.begin_back(a, b, axis)
        c = np.empty(cts[0].shape, a.dtype)
        write(c, cts, results, axis)
        outs = [c @ b.T if i == 0 else a.T @ c for i in wrt]
        if settle and 1 in wrt:
            settle(outs[-1])
        return tuple(outs)

    def cotangents_in_blocks(
        cts: Any, a: Array, b: Array, results: Any, axis: Shape, wrt: Shape
    ) -> Sequence[Array]:
        new = np.empty if cts[0].size else np.zeros
        outs = [new((a, b)[i].shape, a.dtype) for i in wrt]
        b, write, settle = rows.begin_back(a, b, axis)
        buffer = None
        size = max(parts.SPARE, cts[0].nbytes // 3)
        for chunk in parts.chunks(a, b, cts[0].shape, axis, size):
            given = [part_of(v, chunk) for v in (*cts, *results)]
            if buffer is None:  # the first chunk is the largest
                buffer = np.empty(given[0].size, a.dtype)
            c = buffer[: given[0].size].reshape(given[0].shape)
            write(c, given[:count], given[count:], axis)
            # the right operand's first: its product takes less of what is in the cache
            for i, out in reversed([*zip(wrt, outs, strict=True)]):
                accumulate(out, i, c, chunk, a, b)
        if settle and 1 in wrt:
            settle(outs[-1])
        return outs

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
                    term = operand_cotangent(i, c, *ab)
                    total = [*total[:k], plus(total[k], term), *total[k + 1 :]]
        if moved:
            dc = rows.cotangent_jvp(c, cts, results, changes, axis)
            total = _added(total, [operand_cotangent(i, dc, a, b) for i in wrt])
        return total

    def cotangent_transpose(ts: Any, args: Any, params: Params) -> Any:
        cts, (a, b), results = _split(args, count)
        _check_linear(f"{name}_cotangent", count, (a, b, *results))
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


def _over_rows(a: Array, b: Array, axis: Shape) -> bool:
    return a.ndim == b.ndim == 2 and axis == (1,)


def _into(out: Array | None, results: tuple[Array, ...]) -> tuple[Array, ...]:
    if out is None:
        return results
    out[...] = results[0]
    return (out, *results[1:])


# ---------------------------------------------------------------- sums of what is there


def _split(args: Sequence[Any], first: int) -> tuple[Any, Any, Any]:
    """What comes before the operands, the two operands, the results."""
    return args[:first], args[first : first + 2], args[first + 2 :]


def plus(x: Array | None, y: Array | None) -> Array | None:
    """Sum of what is there."""
    return y if x is None else x if y is None else x + y


def _added(xs: Sequence[Array | None], ys: Sequence[Array | None]) -> list[Any]:
    return [plus(x, y) for x, y in zip(xs, ys, strict=True)]


def _product_rule(a: Array, b: Array, ts: dict[int, Array]) -> Any:
    """The product's tangent, from those of the operands that have one."""
    left = matmul(ts[0], b) if 0 in ts else None
    return plus(left, matmul(a, ts[1]) if 1 in ts else None)


def _mixed_product(ts: dict[int, Array], da: Array | None, db: Array | None) -> Any:
    """How the product's tangent changes with the operands."""
    left = matmul(ts[0], db) if 0 in ts and db is not None else None
    return plus(left, matmul(da, ts[1]) if 1 in ts and da is not None else None)


def _explicit(cts: Sequence[Array | None], avals: Sequence[Any]) -> list[Array]:
    given = [ct for ct in cts if ct is not None]
    if len(given) == len(cts):
        return given
    return [
        zeros(aval, given[0]) if ct is None else ct
        for ct, aval in zip(cts, avals, strict=True)
    ]


def _check_linear(name: str, linear: int, others: Sequence[Any]) -> None:
    for x in others:
        if type(x) is Var:
            raise NonlinearError(
                f"{name} is linear in the first {linear} operands only. Use "
                "funcad.vjp, which linearises the function first."
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


# ------------------------------------------------------------------ sums along rows


def row_sum(x: Array, axis: Shape) -> Array:
    """Sum that keeps the axes."""
    n = x.shape[-1]
    if axis == (x.ndim - 1,) and n <= 4096:
        if x.ndim == 2:
            return x.dot(_ones(n, x.dtype))[:, None]
        return np.matmul(x, _ones(n, x.dtype))[..., None]
    return sum_over(x, axis)


def row_dot(x: Array, y: Array, axis: Shape) -> Array:
    """Sum of products that keeps the axes."""
    if axis == (x.ndim - 1,):
        return np.vecdot(x, y)[..., None]
    return dot_over(x, y, axis)


@functools.lru_cache(maxsize=64)
def _ones(n: int, dtype: Any) -> Array:
    return np.ones(n, dtype)
