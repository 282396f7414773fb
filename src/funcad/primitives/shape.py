"""Linear functions that move, copy or add up entries.

``broadcast_to`` and ``reduce_sum`` are each other's transpose, as are ``split`` and
``concatenate``; ``reshape``, ``transpose`` and ``convert`` are their own.  All axes in
parameters are non-negative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.counting import each_operand, nothing
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
from funcad.primitives.code import call, literal, method, subscript
from funcad.primitives.families import Rule, linear
from funcad.primitives.parts import SUM, Axes, Parts, along_parts, part_of, same_parts

Shape = tuple[int, ...]

# ----------------------------------------------------------- helpers of many rules


def sum_to(ct: Array, aval: Any) -> Array:
    """Undo broadcasting and promotion: the transpose of NumPy's implicit conversions.

    Parameters
    ----------
    ct : array
        Cotangent of a broadcast operand.
    aval : object with shape and dtype
        The operand as it was.

    Returns
    -------
    array
        Summed over broadcast axes, in the operand's dtype; the real part where the
        operand was real and the cotangent is complex.
    """
    shape = aval.shape
    if ct.shape != shape:
        extra = len(ct.shape) - len(shape)
        axes = tuple(range(extra)) + tuple(
            i + extra
            for i, n in enumerate(shape)
            if n == 1 and ct.shape[i + extra] != 1
        )
        if axes:
            ct = reduce_sum(ct, axis=axes, keepdims=False)
        if ct.shape != shape:
            ct = reshape(ct, shape=shape)
    if ct.dtype != aval.dtype:
        ct = convert(ct, dtype=aval.dtype)
    return ct


def batch_first(value: Array, axis: int) -> Array:
    """``value`` with its batch axis moved to the front."""
    return move_axis(value, axis, 0)


def move_axis(value: Array, source: int, destination: int) -> Array:
    """One axis moved; both positions non-negative."""
    if source == destination:
        return value
    order = [i for i in range(len(value.shape)) if i != source]
    order.insert(destination, source)
    return transpose(value, axes=tuple(order))


def batches_to_front(
    values: Sequence[Array], axes: Sequence[int | None], rank: int | None = None
) -> tuple[list[Array], int]:
    """Bring every batch axis to the front, before ``rank`` logical dimensions.

    Operands of lower rank are padded behind the batch axis as broadcasting would; those
    that are not batched stay as they are.
    """
    out = []
    size = 1
    for value, axis in zip(values, axes, strict=True):
        if axis is not None:
            value = batch_first(value, axis)
            size, *rest = value.shape
            if rank is not None and len(rest) < rank:
                padded = (size, *(1,) * (rank - len(rest)), *rest)
                value = reshape(value, shape=padded)
        out.append(value)
    return out, size


def zeros(aval: Any, like: Array) -> Array:
    """Zeros of an operand's shape and dtype, in the memory where ``like`` lives."""
    return namespace(like).zeros(aval.shape, aval.dtype)


def shifted(axes: Sequence[int], batch_axis: int) -> tuple[int, ...]:
    """Logical axes as axes of an array with a batch axis."""
    return tuple(a + (a >= batch_axis) for a in axes)


# ------------------------------------------------------------------- the primitives


def _convert(x: Array, dtype: Any, out: Array = None) -> Array:
    if out is not None:
        out[...] = x
        return out
    # a number becomes NumPy's scalar, which arrays of every library can meet
    x = x if hasattr(x, "astype") else np.asarray(x)[()]
    # compiled programs give NumPy's scalar types for dtypes
    if x.dtype.kind == "c" and np.dtype(dtype).kind not in "cb":
        x = x.real
    return x.astype(dtype, copy=False)


def _convert_jvp(
    ans: Array, primals: Any, tangents: Any, params: Params
) -> Array | None:
    if params["dtype"].kind not in "fc":
        return None
    return bind(convert, tangents, params)


def _convert_code(
    operands: Sequence[Operand], params: Params, out: str | None
) -> str | None:
    (x,), dtype = operands, params["dtype"]
    if x.weak:
        return None
    text = x.text
    if x.dtype.kind == "c" and dtype.kind not in "cb":
        text += ".real"
    if out is not None:
        return f"convert({text}, {literal(dtype)}, out={out})"
    return f"{text}.astype({literal(dtype)}, copy=False)"


convert = Primitive(
    "convert",
    _convert,
    lambda x, dtype: (shape_of(x), dtype),
    jvp=_convert_jvp,
    transpose=lambda ct, args, params: (
        bind(convert, (ct,), {"dtype": args[0].dtype}),
    ),
    batch=lambda values, axes, dtype: (convert(values[0], dtype=dtype), axes[0]),
    flops=nothing,
    code=_convert_code,
    blocks=lambda shapes, params, lead: params,
    parts=same_parts,
    view="same dtype",
    family="linear",
)
convert.definition = """
def convert(x, dtype):
    x = np.asarray(x)[()]
    if x.dtype.kind == "c" and np.dtype(dtype).kind not in "cb":
        x = x.real
    return x.astype(dtype)
"""


copy = linear(
    "copy",
    lambda x: x.copy(),
    lambda x: (x.shape, x.dtype),
    transpose=lambda ct, x: ct,
    batch=lambda values, axes: (copy(*values), *axes),
    code=method("copy", takes_out=False),
    parts=same_parts,
)
copy.simplify = lambda inputs, params, definition: inputs[0]
"""The same entries in memory of their own, into which the caller may write."""


def as_dtype(x: Array, dtype: Any, copied: bool) -> Array:
    """Entries in another dtype, or a copy of them where it is theirs already."""
    same = copied and dtype_of(x) == dtype and getattr(x, "weak", None) is None
    return copy(x) if same and hasattr(x, "dtype") else convert(x, dtype=dtype)


def _reshape_batch(values: Any, axes: Any, shape: Shape) -> tuple[Array, int]:
    x = batch_first(values[0], axes[0])
    return reshape(x, shape=(x.shape[0], *shape)), 0


def _reshape(x: Array, shape: Shape, out: Array = None) -> Array:
    if out is None:
        return x.reshape(shape)
    out.reshape(x.shape)[...] = x
    return out


def _reshape_code(
    operands: Sequence[Operand], params: Params, out: str | None
) -> str | None:
    if operands[0].weak:
        return None
    if out is not None:
        return call("reshape")(operands, params, out)
    return f"{operands[0].text}.reshape({literal(params['shape'])})"


def _reshape_blocks(shapes: Sequence[Shape], params: Params, lead: int) -> Any:
    shape = params["shape"]
    if shape[:lead] != shapes[0][:lead] or 0 in shape:
        return None
    return {"shape": (-1, *shape[lead:])}


def _reshape_parts(
    axes: Axes, shapes: Sequence[Shape], params: Params, count: int
) -> Parts | None:
    """Of a reshape: the entries of a part stay together if as many lie before it."""
    ((at,), (shape,), new) = axes, shapes, params["shape"]
    assert at is not None
    lead = math.prod(shape[:at])
    before = 1
    for axis, n in enumerate(new):
        if before == lead and n % count == 0 and n:
            return Parts((at,), (axis,), {"shape": part_of(new, axis, count)})
        before *= n
    return None


reshape = linear(
    "reshape",
    _reshape,
    lambda x, shape: (shape, x.dtype),
    transpose=lambda ct, x, shape: reshape(ct, shape=x.shape),
    batch=_reshape_batch,
    code=_reshape_code,
    blocks=_reshape_blocks,
    parts=_reshape_parts,
    view="contiguous",
)


def _transpose_batch(values: Any, axes: Any, /, **params: Any) -> tuple[Array, int]:
    (x,), (axis,) = values, axes
    order = (axis, *shifted(params["axes"], axis))
    return transpose(x, axes=order), 0


def _transpose_code(
    operands: Sequence[Operand], params: Params, out: str | None
) -> str | None:
    if out is not None or operands[0].weak:
        return None
    if params["axes"] == (1, 0):
        return f"{operands[0].text}.T"
    return f"{operands[0].text}.transpose({literal(params['axes'])})"


def inverse_order(axes: Sequence[int]) -> tuple[int, ...]:
    """The order of axes that undoes another."""
    inverse = [0] * len(axes)
    for i, a in enumerate(axes):
        inverse[a] = i
    return tuple(inverse)


def _transpose_parts(
    axes: Axes, shapes: Sequence[Shape], params: Params, count: int
) -> Parts | None:
    """Of a permutation of axes."""
    return Parts(tuple(axes), (params["axes"].index(axes[0]),), params)


transpose = linear(
    "transpose",
    lambda x, axes: x.transpose(axes),
    lambda x, axes: (tuple([x.shape[a] for a in axes]), x.dtype),
    transpose=lambda ct, x, axes: transpose(ct, axes=inverse_order(axes)),
    batch=_transpose_batch,
    code=_transpose_code,
    parts=_transpose_parts,
    view="always",
)


def _broadcast_batch(values: Any, axes: Any, shape: Shape) -> tuple[Array, int]:
    (x,), size = batches_to_front(values, axes, len(shape))
    return broadcast_to(x, shape=(size, *shape)), 0


def _broadcast_code(
    operands: Sequence[Operand], params: Params, out: str | None
) -> str | None:
    if out is not None:
        return None
    return f"np.broadcast_to({operands[0].text}, {literal(params['shape'])})"


def _broadcast_parts(
    axes: Axes, shapes: Sequence[Shape], params: Params, count: int
) -> Parts | None:
    """Of a broadcast: what is in parts has more than one entry there."""
    ((at,), (shape,), new) = axes, shapes, params["shape"]
    assert at is not None
    axis = at + len(new) - len(shape)
    return Parts((at,), (axis,), {"shape": part_of(new, axis, count)})


broadcast_to = linear(
    "broadcast_to",
    lambda x, shape: namespace(x).broadcast_to(x, shape),
    lambda x, shape: (shape, x.dtype),
    transpose=lambda ct, x, shape: sum_to(ct, x),
    batch=_broadcast_batch,
    code=_broadcast_code,
    parts=_broadcast_parts,
    view="always",
)


def _sum(x: Array, axis: Shape, keepdims: bool) -> Array:
    return x.sum(axis=axis, keepdims=keepdims)


def reduced_shape(shape: Shape, axis: Shape, keepdims: bool) -> Shape:
    """Shape of a reduction's result."""
    if keepdims:
        return tuple([1 if i in axis else n for i, n in enumerate(shape)])
    return tuple([n for i, n in enumerate(shape) if i not in axis])


def _sum_abstract(x: Any, axis: Shape, keepdims: bool) -> tuple[Shape, Any]:
    dtype = x.dtype
    if dtype.kind in "bui":
        dtype = np.empty(0, dtype).sum().dtype
    return reduced_shape(x.shape, axis, keepdims), dtype


def reduction_blocks(shapes: Sequence[Shape], params: Params, lead: int) -> Any:
    """Blocks of a reduction over axes behind the first ones."""
    axis = params["axis"]
    if not axis or min(axis) < lead:
        return None
    return {**params, "axis": tuple([a - lead + 1 for a in axis])}


def reduction_parts(
    axes: Axes, shapes: Sequence[Shape], params: Params, count: int
) -> Parts | None:
    """Of reductions over ``axis``."""
    (at,) = axes
    assert at is not None
    if at in params["axis"]:
        return None
    before = 0 if params["keepdims"] else sum(a < at for a in params["axis"])
    return Parts((at,), (at - before,), params)


def _sum_parts(
    axes: Axes, shapes: Sequence[Shape], params: Params, count: int
) -> Parts | None:
    """Of sums over ``axis``."""
    if axes[0] in params["axis"]:
        return Parts((axes[0],), (SUM,), params)
    return reduction_parts(axes, shapes, params, count)


def _sum_code(
    operands: Sequence[Operand], params: Params, out: str | None
) -> str | None:
    (x,), axis = operands, params["axis"]
    rank, n = len(x.shape), x.shape[-1] if x.shape else 0
    if (
        axis != (rank - 1,)
        or rank < 2
        or x.dtype.char not in "fd"
        or not 8 <= n <= 1024
        or math.prod(x.shape) < 8192
    ):
        return method("sum")(operands, params, out)
    # BLAS adds up short rows several times as fast as NumPy does
    ones = f"np.ones({(n, 1) if params['keepdims'] else n}, {literal(x.dtype)})"
    return f"np.matmul({x.text}, {ones}{'' if out is None else f', out={out}'})"


def spread(reduced: Array, shape: Shape, axis: Shape, keepdims: bool) -> Array:
    """A reduction's result, repeated along the axes that it was reduced over."""
    if not keepdims and len(axis) < len(shape):
        reduced = reshape(reduced, shape=reduced_shape(shape, axis, True))
    return broadcast_to(reduced, shape=shape)


def _sum_transpose(ct: Array, x: Any, axis: Shape, keepdims: bool) -> Array:
    return spread(ct, x.shape, axis, keepdims)


def _sum_batch(
    values: Any, axes: Any, axis: Shape, keepdims: bool
) -> tuple[Array, int]:
    x = batch_first(values[0], axes[0])
    axis = tuple(a + 1 for a in axis)
    return reduce_sum(x, axis=axis, keepdims=keepdims), 0


reduce_sum = linear(
    "reduce_sum",
    _sum,
    _sum_abstract,
    transpose=_sum_transpose,
    batch=_sum_batch,
    flops=each_operand(1),
    code=_sum_code,
    blocks=reduction_blocks,
    parts=_sum_parts,
)


# concatenate and split --------------------------------------------------------------


def _concatenate_jvp(
    ans: Array, primals: Any, tangents: Any, params: Params
) -> Array | None:
    parts = [
        _typed(t, ans.dtype)
        if t is not None
        else namespace(x).zeros(shape_of(x), ans.dtype)
        for x, t in zip(primals, tangents, strict=True)
    ]
    return bind(concatenate, parts, params)


def _typed(t: Array, dtype: Any) -> Array:
    return t if t.dtype == dtype else convert(t, dtype=dtype)


def _concatenate_transpose(ct: Array, args: Sequence[Any], params: Params) -> Any:
    sizes = [shape_of(a)[params["axis"]] for a in args]
    parts = split(ct, sizes=tuple(sizes), axis=params["axis"])
    return [
        sum_to(part, a) if type(a) is Var else None
        for a, part in zip(args, parts, strict=True)
    ]


def _concatenate_batch(
    values: Sequence[Array], axes: Sequence[int | None], axis: int
) -> tuple[Array, int]:
    size = next(v.shape[a] for v, a in zip(values, axes, strict=True) if a is not None)
    parts = [
        broadcast_to(v, shape=(size, *shape_of(v))) if a is None else batch_first(v, a)
        for v, a in zip(values, axes, strict=True)
    ]
    return concatenate(*parts, axis=axis + 1), 0


def _concatenate_abstract(*operands: Any, axis: int) -> tuple[Shape, Any]:
    shape = list(operands[0].shape)
    shape[axis] = sum(x.shape[axis] for x in operands)
    dtypes = {x.dtype for x in operands}
    dtype = dtypes.pop() if len(dtypes) == 1 else np.result_type(*dtypes)
    return tuple(shape), dtype


def _concatenate_code(
    operands: Sequence[Operand], params: Params, out: str | None
) -> str | None:
    if any(x.weak for x in operands):
        return None
    parts = ", ".join([x.text for x in operands])
    into = "" if out is None else f", out={out}"
    return f"np.concatenate([{parts}], axis={params['axis']}{into})"


concatenate = Primitive(
    "concatenate",
    lambda *parts, axis: namespace(*parts).concatenate(parts, axis=axis),
    _concatenate_abstract,
    jvp=_concatenate_jvp,
    transpose=_concatenate_transpose,
    batch=_concatenate_batch,
    flops=nothing,
    code=_concatenate_code,
    parts=along_parts(1),
    family="linear",
)


def _split(x: Array, sizes: Shape, axis: int) -> tuple[Array, ...]:
    start = 0
    parts = []
    before = (slice(None),) * axis
    for size in sizes:
        parts.append(x[(*before, slice(start, start + size))])
        start += size
    return tuple(parts)


def _split_transpose(cts: Any, x: Any, sizes: Shape, axis: int, outputs: Any) -> Array:
    like = next(ct for ct in cts if ct is not None)
    parts = [
        zeros(aval, like) if ct is None else ct
        for ct, aval in zip(cts, outputs, strict=True)
    ]
    return bind(concatenate, parts, {"axis": axis})


def _split_abstract(x: Any, sizes: Shape, axis: int) -> list[tuple[Shape, Any]]:
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    return [((*before, size, *after), x.dtype) for size in sizes]


def _split_batch(values: Any, axes: Any, sizes: Shape, axis: int) -> tuple[Any, Any]:
    x = batch_first(values[0], axes[0])
    return split(x, sizes=sizes, axis=axis + 1), [0] * len(sizes)


def _split_code(
    operands: Sequence[Operand], params: Params, out: str | None
) -> str | None:
    (x,), sizes, axis = operands, params["sizes"], params["axis"]
    if out is not None or x.weak:
        return None
    start, parts = 0, []
    for size in sizes:
        place = (*(slice(None),) * axis, slice(start, start + size))
        parts.append(f"{x.text}[{subscript(place)}]")
        start += size
    return f"({', '.join(parts)},)"


def _split_parts(
    axes: Axes, shapes: Sequence[Shape], params: Params, count: int
) -> Parts | None:
    """Of a split along another axis."""
    if axes[0] == params["axis"]:
        return None
    return Parts(tuple(axes), (axes[0],) * len(params["sizes"]), params)  # type: ignore[arg-type]


split = linear(
    "split",
    _split,
    _split_abstract,
    transpose=_split_transpose,
    batch=_split_batch,
    code=_split_code,
    parts=_split_parts,
    view="always",
    multiple=True,
)


# pad --------------------------------------------------------------------------------


def _pad_transpose(ct: Array, x: Any, widths: Any) -> Array:
    for axis, (before, after) in enumerate(widths):
        if before or after:
            sizes = (before, x.shape[axis], after)
            ct = split(ct, sizes=sizes, axis=axis)[1]
    return ct


def _pad_batch(values: Any, axes: Any, widths: Any) -> tuple[Array, int]:
    x = batch_first(values[0], axes[0])
    return pad(x, widths=((0, 0), *widths)), 0


def _pad(x: Array, widths: Any, out: Array = None) -> Array:
    if out is None:
        sizes = [b + n + a for n, (b, a) in zip(x.shape, widths, strict=True)]
        out = namespace(x).zeros(tuple(sizes), x.dtype)
    else:
        out[...] = 0
    inside = [slice(b, b + n) for n, (b, _) in zip(x.shape, widths, strict=True)]
    out[tuple(inside)] = x
    return out


def _pad_parts(
    axes: Axes, shapes: Sequence[Shape], params: Params, count: int
) -> Parts | None:
    """Of a pad: along an axis that stays as it is."""
    (at,) = axes
    assert at is not None
    return (
        same_parts(axes, shapes, params, count)
        if params["widths"][at] == (0, 0)
        else None
    )


pad = linear(
    "pad",
    _pad,
    lambda x, widths: (
        tuple([b + n + a for n, (b, a) in zip(x.shape, widths, strict=True)]),
        x.dtype,
    ),
    transpose=_pad_transpose,
    batch=_pad_batch,
    code=call("pad"),
    parts=_pad_parts,
)
pad.definition = """
def pad(x, widths):
    return np.pad(x, widths) if widths else x
"""

# ------------------------------------------------------------ what they simplify to


def _before(x: Any, primitive: Primitive, definition: Rule) -> Any:
    """The equation that computed an operand, if it is one of this primitive."""
    equation = definition(x)
    return equation if equation and equation.primitive is primitive else None


def _simpler_convert(inputs: Sequence[Any], params: Params, definition: Rule) -> Any:
    (x,), dtype = inputs, params["dtype"]
    if dtype_of(x) == dtype:
        return x
    equation = _before(x, convert, definition)
    if equation is None:
        return None
    (source,) = equation.inputs
    first = dtype_of(source)
    # what the wider dtype of the same kind holds, it holds without rounding
    if first.kind in ("b", x.dtype.kind) and np.can_cast(first, x.dtype):
        return convert, (source,), params
    return None


def _simpler_reshape(inputs: Sequence[Any], params: Params, definition: Rule) -> Any:
    (x,) = inputs
    if shape_of(x) == params["shape"]:
        return x
    equation = _before(x, reshape, definition)
    if equation is None:
        return None
    (source,) = equation.inputs
    # the first of two may have been a copy, which is not to be made twice
    if shape_of(source) == params["shape"] or not definition(source):
        return reshape, (source,), params
    return None


def _simpler_transpose(inputs: Sequence[Any], params: Params, definition: Rule) -> Any:
    (x,), axes = inputs, params["axes"]
    if axes == tuple(range(len(axes))):
        return x
    equation = _before(x, transpose, definition)
    if equation is None:
        return None
    inner = equation.params["axes"]
    return transpose, equation.inputs, {"axes": tuple([inner[a] for a in axes])}


def _simpler_broadcast(inputs: Sequence[Any], params: Params, definition: Rule) -> Any:
    (x,) = inputs
    if shape_of(x) == params["shape"]:
        return x
    equation = _before(x, broadcast_to, definition)
    return None if equation is None else (broadcast_to, equation.inputs, params)


def _simpler_reduce_sum(inputs: Sequence[Any], params: Params, definition: Rule) -> Any:
    (x,) = inputs
    if not params["axis"]:
        return x
    equation = definition(x)
    if equation and equation.primitive.name == "negative" and x.dtype.kind in "fc":
        # of a large array, the sign is taken once
        total = (reduce_sum, equation.inputs, params)
        return equation.primitive, (total,), {}
    return None


convert.simplify = _simpler_convert
reshape.simplify = _simpler_reshape
transpose.simplify = _simpler_transpose
broadcast_to.simplify = _simpler_broadcast
reduce_sum.simplify = _simpler_reduce_sum
split.simplify = lambda inputs, params, definition: (
    inputs if len(params["sizes"]) == 1 else None
)
concatenate.simplify = lambda inputs, params, definition: (
    inputs[0] if len(inputs) == 1 else None
)
pad.simplify = lambda inputs, params, definition: (
    inputs[0] if not any(map(any, params["widths"])) else None
)
