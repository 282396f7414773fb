"""``pure_callback``: foreign code called from a function that is staged or mapped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcad.backends import backend_of, namespace
from funcad.core import tree
from funcad.core.counting import nothing
from funcad.core.errors import (
    ArgumentError,
    BatchSizeError,
    CallbackError,
    MissingRuleError,
    UnsupportedArgumentError,
)
from funcad.core.tracing import (
    PYTHON_SCALARS,
    Array,
    Params,
    Primitive,
    ShapedArray,
    bind,
    dtype_of,
    shape_of,
)
from funcad.primitives.shape import broadcast_to, move_axis, reshape
from funcad.transforms.arguments import argument_name, check_leaves, is_array, wraps
from funcad.transforms.descriptions import line_of, located, shown, shown_avals

__all__ = ["pure_callback"]

_METHODS = (None, "sequential", "expand_dims", "broadcast_all")


def pure_callback(
    callback: Callable[..., Any],
    result_shape_dtypes: Any,
    *args: Any,
    vmap_method: str | None = None,
    **kwargs: Any,
) -> Any:
    """Call a function that funcad cannot trace: compiled, from another library.

    Parameters
    ----------
    callback : callable
        Function of arrays.  It must depend on nothing but its arguments, and do
        nothing but return its result: it may be called more often than it is written,
        or not at all.
    result_shape_dtypes : pytree
        What it returns: leaves with a ``shape`` and a ``dtype``, such as
        ``ShapeDtypeStruct``.
    *args, **kwargs : pytree
        Its arguments, arrays and numbers.  It is given them as they are, on the device
        where they are, read-only; its results must be there, too.
    vmap_method : {None, "sequential", "expand_dims", "broadcast_all"}, optional
        What ``vmap`` does: ``"sequential"`` calls the function for one example after
        another; the other two call it once, with the axis of examples in front of each
        array.  That axis has length 1 in arguments that are not mapped with
        ``"expand_dims"``, and these are repeated with ``"broadcast_all"``.

    Returns
    -------
    pytree of arrays
        What the callback returns, with the structure of ``result_shape_dtypes``.

    Raises
    ------
    CallbackError
        If the result is not what ``result_shape_dtypes`` says.
    MissingRuleError
        If the call is differentiated; ``custom_jvp`` and ``custom_vjp`` give it a
        derivative.

    Examples
    --------
    >>> import math
    >>> import numpy as np
    >>> import funcad
    >>> gamma = np.vectorize(math.gamma, otypes=[float])
    >>> @funcad.jit
    ... def f(x):
    ...     out = funcad.ShapeDtypeStruct(x.shape, x.dtype)
    ...     return 2 * funcad.pure_callback(gamma, out, x, vmap_method="expand_dims")
    >>> f(np.array([3.0, 4.0]))
    array([ 4., 12.])
    """
    form = "pure_callback(f, ShapeDtypeStruct(shape, dtype), x)"
    wraps(callback, "pure_callback", form)
    if vmap_method not in _METHODS:
        raise ArgumentError(
            f"pure_callback: vmap_method is one of {_METHODS}, not {vmap_method!r}."
        )
    leaves, treedef = tree.flatten((args, kwargs))
    check_leaves(leaves, treedef, "pure_callback", name=argument_name)
    structs, out_tree = tree.flatten(result_shape_dtypes)
    outs = bind(
        pure_callback_call,
        leaves,
        {
            "callback": Callback(callback, treedef, out_tree),
            "avals": tuple([_aval(x) for x in structs]),
            "vmap_method": vmap_method,
            "loops": (),
        },
    )
    return tree.unflatten(out_tree, outs)


def _aval(x: Any) -> ShapedArray:
    try:
        return ShapedArray(tuple(map(int, x.shape)), np.dtype(x.dtype))
    except (AttributeError, TypeError):
        raise UnsupportedArgumentError(
            "pure_callback: result_shape_dtypes holds "
            f"{x!r} of type {type(x).__name__}, which has no shape and dtype. Write "
            "funcad.ShapeDtypeStruct(shape, dtype) for each result."
        ) from None


class Callback:
    """A foreign function of leaves, which it is given as a pytree."""

    def __init__(self, f: Callable[..., Any], treedef: Any, out_tree: Any) -> None:
        self.f = f
        self.treedef = treedef
        self.out_tree = out_tree

    @property
    def __name__(self) -> str:
        return str(getattr(self.f, "__name__", type(self.f).__name__))

    def __call__(
        self, leaves: Sequence[Array], avals: Sequence[ShapedArray]
    ) -> list[Array]:
        """The leaves of the result, which must be what ``avals`` say."""
        args, kwargs = tree.unflatten(self.treedef, [_read_only(x) for x in leaves])
        result = self.f(*args, **kwargs)
        outs, treedef = tree.flatten(result)
        same = treedef == self.out_tree
        if same:
            outs = [_number(x, a, leaves) for x, a in zip(outs, avals, strict=True)]
        if not same or not all(
            is_array(x) and shape_of(x) == a.shape and dtype_of(x) == a.dtype
            for x, a in zip(outs, avals, strict=True)
        ):
            self._refuse(result, avals)
        arrays = [x for x in leaves if type(x) not in PYTHON_SCALARS]
        here = backend_of(*arrays)
        for x in outs:
            if arrays and backend_of(x) is not here and shape_of(x):
                raise CallbackError(
                    f"pure_callback: {self._located()} was given arrays of "
                    f"{here.name} and returned one of {backend_of(x).name}. Nothing "
                    "moves between host and device by itself: return the result where "
                    "the arguments are, or move those with funcad.device_put first."
                )
        # what the callback keeps or was given, it or others may write to later
        return [x.copy() if isinstance(x, np.ndarray) else x for x in outs]

    def _refuse(self, result: Any, avals: Sequence[ShapedArray]) -> None:
        raise CallbackError(
            f"pure_callback: {self._located()} returned something else than "
            "result_shape_dtypes says:\n"
            f"    declared: {shown_avals(self.out_tree, avals)}\n"
            f"    returned: {shown(result)}\n"
            "  Declare what it returns, or let it return that: x.astype(dtype), "
            "x.reshape(shape).",
            line_of(self.f),
        )

    def _located(self) -> str:
        return located(self.f)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Callback) and (
            self.f is other.f
            and self.treedef == other.treedef
            and self.out_tree == other.out_tree
        )

    def __hash__(self) -> int:
        return hash(id(self.f))

    def __repr__(self) -> str:
        return self.__name__


def _read_only(x: Any) -> Any:
    if not isinstance(x, np.ndarray):
        return x
    view = x.view()
    view.flags.writeable = False
    return view


def _number(x: Any, aval: ShapedArray, like: Sequence[Any]) -> Any:
    """A number of Python where an array without dimensions is declared."""
    if type(x) in PYTHON_SCALARS and aval.shape == ():
        if np.can_cast(type(x), aval.dtype, "same_kind"):
            return namespace(*like).asarray(x, aval.dtype)
    return x


# A loop over examples is how many there are, and which operands are mapped, on axis 0.
Loop = tuple[int, tuple[bool, ...]]


def _impl(
    *args: Array,
    callback: Callback,
    avals: Sequence[ShapedArray],
    vmap_method: str | None,
    loops: Sequence[Loop],
) -> tuple[Array, ...]:
    if not loops:
        return tuple(callback(args, avals))
    (size, mapped), *rest = loops
    rows = [
        _impl(
            *[x[i] if m else x for x, m in zip(args, mapped)],
            callback=callback,
            avals=avals,
            vmap_method=vmap_method,
            loops=rest,
        )
        for i in range(size)
    ]
    space = namespace(*args)
    if not rows:
        inner = [n for n, _ in rest]
        return tuple([space.zeros((0, *inner, *s), dtype) for s, dtype in avals])
    return tuple([space.stack(column) for column in zip(*rows)])


def _abstract(
    *args: Any, avals: Sequence[ShapedArray], loops: Sequence[Loop], **_: Any
) -> list[Any]:
    sizes = [size for size, _ in loops]
    return [((*sizes, *shape), dtype) for shape, dtype in avals]


def _dual(primals: Any, tangents: Any, params: Params) -> Any:
    name = params["callback"].__name__
    raise MissingRuleError(
        f"pure_callback: {name} is foreign code, whose derivative funcad cannot know. "
        "Wrap the function that calls it in funcad.custom_jvp or funcad.custom_vjp, "
        "with a rule for the derivative; or put its arguments into "
        "funcad.stop_gradient where none is wanted."
    )


def _batch(
    values: Sequence[Array],
    axes: Sequence[int | None],
    callback: Callback,
    avals: Sequence[ShapedArray],
    vmap_method: str | None,
    loops: Sequence[Loop],
) -> Any:
    if vmap_method is None:
        raise BatchSizeError(
            f"pure_callback: {callback.__name__} is mapped by vmap, and vmap_method "
            'does not say how. Write vmap_method="sequential" to call it for one '
            'example after another, or "expand_dims" or "broadcast_all" where it can '
            "handle a further axis in front."
        )
    size = next(shape_of(v)[a] for v, a in zip(values, axes) if a is not None)
    mapped = tuple([a is not None for a in axes])
    values = [v if a is None else move_axis(v, a, 0) for v, a in zip(values, axes)]
    if vmap_method == "sequential":
        loops = ((size, mapped), *loops)
    else:
        count = size if vmap_method == "broadcast_all" else 1
        values = [
            v if m else _in_front(v, count) for v, m in zip(values, mapped, strict=True)
        ]
        avals = tuple([ShapedArray((size, *shape), dtype) for shape, dtype in avals])
    outs = bind(
        pure_callback_call,
        values,
        {
            "callback": callback,
            "avals": avals,
            "vmap_method": vmap_method,
            "loops": loops,
        },
    )
    return outs, (0,) * len(outs)


def _in_front(x: Any, count: int) -> Array:
    """An array with a further axis in front."""
    x = x if hasattr(x, "dtype") else np.asarray(x)
    shape = shape_of(x)
    if count == 1:
        return reshape(x, shape=(1, *shape))
    return broadcast_to(x, shape=(count, *shape))


pure_callback_call = Primitive(
    "pure_callback",
    _impl,
    _abstract,
    dual=_dual,
    batch=_batch,
    # what the user's own code computes is not known
    flops=nothing,
    multiple=True,
    opaque=True,
    family="call",
)
