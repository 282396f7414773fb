"""``vmap``: the Batch trace, whose tracers hold an array and its batch axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from funcad.core import tree
from funcad.core.errors import BatchSizeError, ConcretizationError
from funcad.core.tracing import (
    Array,
    Params,
    Primitive,
    Trace,
    Tracer,
    dtype_of,
    raise_missing,
    shape_of,
)
from funcad.primitives.shape import broadcast_to, move_axis
from funcad.transforms.arguments import argument_name, check_leaves, wraps

__all__ = ["Batch", "BatchTrace", "vmap"]


class Batch(Tracer):
    """One example of many: an array whose ``axis`` runs over the examples."""

    __slots__ = ("axis", "value")

    def __init__(self, trace: Trace, value: Array, axis: int) -> None:
        self._trace = trace
        self.value = value
        self.axis = axis

    @property
    def shape(self) -> tuple[int, ...]:
        shape = self.value.shape
        return shape[: self.axis] + shape[self.axis + 1 :]  # type: ignore[no-any-return]

    @property
    def dtype(self) -> Any:
        return self.value.dtype

    @property
    def array_type(self) -> type:
        return getattr(self.value, "array_type", type(self.value))

    @property
    def keeps_lines(self) -> bool:
        return getattr(self.value, "keeps_lines", False)

    def concrete(self, purpose: str) -> Array:
        raise ConcretizationError(
            f"{purpose} of a value inside vmap, {self.dtype}[{_dims(self.shape)}] an "
            "example: it differs from example to example, so Python cannot branch or "
            "count by it, and a plain array or list cannot be indexed by it or take it "
            "in. With import funcad.numpy as fnp, write np.where(condition, a, b) "
            "instead of if, fnp.take(a, i) instead of a[i], fnp.array([x, y]) instead "
            "of np.array([x, y]), a masked sum instead of a loop whose length depends "
            "on values; or call the function in a Python loop."
        )


class BatchTrace(Trace):
    """Runs every operation once for all the examples."""

    __slots__ = ("size",)
    computes_at_once = True

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def process(
        self, primitive: Primitive, args: Sequence[Array], params: Params
    ) -> Any:
        if primitive.batch is None:
            raise_missing(primitive, "batch", "vmap")
        values = []
        axes: list[int | None] = []
        for arg in args:
            if type(arg) is Batch and arg._trace is self:
                values.append(arg.value)
                axes.append(arg.axis)
            else:
                values.append(arg)
                axes.append(None)
        out, axis = primitive.batch(values, axes, **params)
        if primitive.multiple:
            return tuple(
                o if a is None else Batch(self, o, a)
                for o, a in zip(out, axis, strict=True)
            )
        return Batch(self, out, axis)


def vmap(
    f: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    *,
    axis_size: int | None = None,
) -> Callable[..., Any]:
    """Map a function over an axis of its arguments, in one vectorised run.

    Parameters
    ----------
    f : callable
        Function of one example.
    in_axes : int, None or pytree prefix, optional
        The axis of each positional argument (or of each leaf) that runs over the
        examples, negative from the end; ``None`` gives every example the whole value.
        Keyword arguments are mapped over axis 0.
    out_axes : int, None or pytree prefix, optional
        Where the axis of examples goes in each result; ``None`` for results that are
        the same for every example.
    axis_size : int, optional
        Number of examples, needed only where no argument is mapped.

    Returns
    -------
    callable
        Function of stacked arguments that returns stacked results.

    Raises
    ------
    BatchSizeError
        If the mapped axes differ in size or do not exist.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> rows = np.arange(6.0).reshape(2, 3)
    >>> funcad.vmap(lambda v: np.sum(v**2))(rows)
    array([ 5., 50.])
    """
    if axis_size is not None:
        _check_size(axis_size)

    @wraps(f, "vmap")
    def batched(*args: Any, **kwargs: Any) -> Any:
        prefix = tuple(in_axes) if isinstance(in_axes, list) else in_axes
        leaves, treedef = tree.flatten((args, kwargs))
        axes = tree.broadcast_prefix(
            prefix, tree.structure(args), is_leaf=_is_none, what="in_axes of vmap"
        )
        axes += [0] * (len(leaves) - len(axes))
        # what is not mapped may be anything
        mapped = [0 if a is None else x for x, a in zip(leaves, axes, strict=True)]
        check_leaves(mapped, treedef, "vmap", name=argument_name)
        for i, (a, x) in enumerate(zip(axes, leaves, strict=True)):
            if a is not None:
                _check_integer(a, "in_axes")
                rank = len(shape_of(x))
                if not -rank <= a < rank:
                    _refuse_axis(int(a), i, args, kwargs)
                axes[i] = int(a) % rank
        size = _size(axes, leaves, (args, kwargs), axis_size)
        trace = BatchTrace(size)
        inner = [
            x if a is None else Batch(trace, x, a)
            for x, a in zip(leaves, axes, strict=True)
        ]
        try:
            inner_args, inner_kwargs = tree.unflatten(treedef, inner)
            result = f(*inner_args, **inner_kwargs)
            outs, out_tree = tree.flatten(result)
            check_leaves(outs, out_tree, "vmap", "output")
            out_prefix = tree.broadcast_prefix(
                out_axes, out_tree, is_leaf=_is_none, what="out_axes of vmap"
            )
            outs = [
                _stacked(trace, x, a) for x, a in zip(outs, out_prefix, strict=True)
            ]
        finally:
            trace.alive = False
        return tree.unflatten(out_tree, outs)

    return batched


def _is_none(x: Any) -> bool:
    return x is None


def _check_integer(axis: Any, what: str) -> None:
    if not isinstance(axis, (int, np.integer)) or isinstance(axis, bool):
        raise TypeError(
            f"{what} of vmap must hold integers and None, not {axis!r} of type "
            f"{type(axis).__name__}."
        )


def _check_size(size: Any) -> None:
    whole = isinstance(size, (int, np.integer)) and not isinstance(size, bool)
    if not whole or size < 0:
        raise BatchSizeError(
            "axis_size of vmap is a number of examples, an integer that is 0 or "
            f"greater, and is {size!r} of type {type(size).__name__}. Leave it out "
            "where an argument is mapped."
        )


def _refuse_axis(axis: int, i: int, args: Any, kwargs: Any) -> NoReturn:
    """Say which leaf has no such axis, and how not to map it."""
    path, x = tree.flatten_with_path((args, kwargs))[0][i]
    positional = argument_name(path).startswith("args")
    top = args[path[1].idx] if positional else None
    if type(top) in (list, tuple) and not shape_of(x):
        advice = (
            f"vmap maps over the leaves of a {type(top).__name__}, each for itself: "
            f"write np.array(...) around one of numbers."
        )
    elif not positional:
        advice = "Keyword arguments are mapped over axis 0: pass it by position."
    elif len(args) > 1:
        places = ", ".join(
            "None" if k == path[1].idx else "0" for k in range(len(args))
        )
        advice = f"Write None for an argument that is not mapped: in_axes=({places})."
    else:
        advice = "Write None for an argument that is not mapped."
    raise BatchSizeError(
        f"in_axes of vmap asks for axis {axis} of {argument_name(path)}, an array of "
        f"shape {shape_of(x)}, which has {len(shape_of(x))} axes. {advice}"
    )


def _size(
    axes: Sequence[int | None], leaves: Sequence[Any], args: Any, axis_size: int | None
) -> int:
    sizes = {shape_of(x)[a] for x, a in zip(leaves, axes, strict=True) if a is not None}
    if axis_size is not None:
        sizes.add(int(axis_size))
    if len(sizes) == 1:
        return sizes.pop()
    if not sizes:
        why = (
            "every entry of in_axes is None. Map at least one argument"
            if leaves
            else "its arguments hold no arrays. Pass one"
        )
        raise BatchSizeError(
            f"vmap has nothing to map over: {why}, or give axis_size=."
        )
    paths, _ = tree.flatten_with_path(args)
    rows = [
        f"    {argument_name(path)}: {shape_of(x)[a]} (axis {a} of shape {shape_of(x)})"
        for (path, x), a in zip(paths, axes, strict=True)
        if a is not None
    ]
    if axis_size is not None:
        rows.append(f"    axis_size: {axis_size}")
    raise BatchSizeError(
        "vmap needs mapped axes of one size, and got\n"
        + "\n".join(rows)
        + "\n  Pass arrays of equal length there, or in_axes with None for those that "
        "are not mapped."
    )


def _stacked(trace: BatchTrace, x: Any, axis: int | None) -> Array:
    if type(x) is Batch and x._trace is trace:
        if axis is None:
            raise BatchSizeError(
                "out_axes of vmap is None for an output that differs from example to "
                f"example ({dtype_of(x)}[{_dims(x.shape)}] each). Give it an axis, or "
                "reduce over the examples outside vmap."
            )
        rank = len(x.value.shape)
        return move_axis(x.value, x.axis, _out_axis(axis, rank))
    if axis is None:
        return x
    x = x if hasattr(x, "dtype") else np.asarray(x)
    shape = shape_of(x)
    out = broadcast_to(x, shape=(trace.size, *shape))
    return move_axis(out, 0, _out_axis(axis, len(shape) + 1))


def _out_axis(axis: int, rank: int) -> int:
    _check_integer(axis, "out_axes")
    if not -rank <= axis < rank:
        raise BatchSizeError(
            f"out_axes of vmap asks for axis {axis} of an output that has {rank} axes, "
            "the one of the examples included."
        )
    return axis % rank


def _dims(shape: tuple[int, ...]) -> str:
    return ",".join(map(str, shape))
