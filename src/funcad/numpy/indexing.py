"""Indexing as NumPy spells it, and updates that return a new array."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.errors import ConcretizationError, MutationError
from funcad.core.tracing import Array, ShapedArray, Tracer, bind, dtype_of, shape_of
from funcad.numpy.dispatch import (
    PYTHON_SCALARS,
    as_operand,
    as_operands,
    implements,
    refuse,
)
from funcad.numpy.reductions import axis_of
from funcad.primitives import indexing as p
from funcad.primitives.elementwise import (
    divide,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    remainder,
    select,
)
from funcad.primitives.shape import (
    Shape,
    convert,
    inverse_order,
    move_axis,
    reshape,
    transpose,
)

_BASIC = (int, slice, type(None), type(Ellipsis))


def getitem(x: Array, key: Any) -> Array:
    """``x[key]`` for every index that NumPy knows."""
    if type(key) is not tuple:
        key = (key,)
    for part in key:
        if type(part) not in _BASIC:
            break
    else:
        _check_integers(x, key)
        return bind(p.index, (x,), {"template": key})
    selection = Selection(x, key)
    return selection.read(x)


def _check_integers(x: Array, key: tuple[Any, ...]) -> None:
    """Raise NumPy's own error for an index that does not fit."""
    np.broadcast_to(_NOTHING, x.shape)[key]


_NOTHING = np.empty(())


def check_bounds(indices: Array, n: int, axis: int) -> None:
    """Refuse positions outside of an axis of size ``n``, where they are known."""
    if isinstance(indices, Tracer) or namespace(indices) is not np:
        return
    if np.size(indices):
        low, high = np.min(indices), np.max(indices)
        if low < -n or high >= n:
            raise IndexError(
                f"index {low if low < -n else high} is out of bounds for axis {axis} "
                f"with size {n}"
            )


class Selection:
    """A NumPy index with arrays in it, as a basic index and then a gather.

    ``x[key]`` is: ``basic`` index, the indexed axes to the front, ``gather``, and the
    gathered axes to where NumPy puts them.
    """

    def __init__(self, x: Array, key: tuple[Any, ...]) -> None:
        key = _plain(key, x)
        used = sum(_axes_used(part) for part in key)
        if not any(part is Ellipsis for part in key):
            key = (*key, Ellipsis)
        basic: list[Any] = []
        arrays: list[Array] = []
        places: list[int] = []
        runs = (
            0  # of array indices next to one another, an empty ellipsis between or not
        )
        for previous, part in zip((None, *key), key):
            runs += _picks(part) and not _picks(previous)
            if part is Ellipsis:
                basic.extend([slice(None)] * (len(x.shape) - used))
            elif part is None or isinstance(part, slice):
                basic.append(part)
            elif isinstance(part, bool):  # picks a new axis once, or not at all
                arrays.append(namespace(x).zeros(int(part), np.intp))
                places.append(len(basic))
                basic.append(None)
            else:
                arrays.append(part)
                places.append(len(basic))
                basic.append(slice(None))
        self.basic = tuple(basic)
        self.arrays = arrays
        self.places = places
        self.landing = places[0] if runs == 1 else 0
        self.shape = np.broadcast_to(_NOTHING, x.shape)[self.basic].shape
        self._check_bounds()

    def _check_bounds(self) -> None:
        shapes = [shape_of(i) for i in self.arrays]
        try:
            np.broadcast_shapes(*shapes)
        except ValueError:
            raise IndexError(
                "shape mismatch: indexing arrays could not be broadcast together with "
                f"shapes {' '.join(map(str, shapes))}"
            ) from None
        for axis, i in zip(self.places, self.arrays, strict=True):
            check_bounds(i, self.shape[axis], axis)

    @property
    def order(self) -> Shape:
        """Axes after the basic index, the gathered ones first."""
        rest = [i for i in range(len(self.shape)) if i not in self.places]
        return (*self.places, *rest)

    def read(self, x: Array) -> Array:
        """The entries of ``x``."""
        if any(part != slice(None) for part in self.basic):
            x = bind(p.index, (x,), {"template": self.basic})
        if not self.arrays:
            return x
        if self.order != tuple(range(len(self.shape))):
            x = transpose(x, axes=self.order)
        out = bind(p.gather, (x, *self.arrays), {})
        rank = len(out.shape) - len(self.shape) + len(self.arrays)
        if self.landing == 0 or rank == 0:
            return out
        rest = range(rank, len(out.shape))
        front = rest[: self.landing]
        back = rest[self.landing :]
        return transpose(out, axes=(*front, *range(rank), *back))


def _picks(part: Any) -> bool:
    """Whether an entry of an index is an array that picks positions."""
    return not (part is None or part is Ellipsis or isinstance(part, slice))


def _plain(key: tuple[Any, ...], x: Array) -> tuple[Any, ...]:
    """Lists and integers become arrays, masks the positions where they hold."""
    parts = [_part(part) for part in key]
    rank, used = len(x.shape), sum(map(_axes_used, parts))
    if sum(part is Ellipsis for part in parts) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    if used > rank:
        raise IndexError(
            f"too many indices for array: array is {rank}-dimensional, but {used} were "
            "indexed"
        )
    xp = namespace(x)
    out: list[Any] = []
    axis = 0
    for part in parts:
        n = rank - used if part is Ellipsis else _axes_used(part)
        if not _picks(part):
            out.append(part)
        elif dtype_of(part).kind == "b":
            out.extend(_positions(part, x.shape[axis : axis + n], axis))
        else:
            out.append(part)
        axis += n
    return tuple(
        [xp.asarray(part) if type(part) is np.ndarray else part for part in out]
    )


def _part(part: Any) -> Any:
    """One entry of an index, with an array for whatever picks positions."""
    if not _picks(part):
        return part
    if isinstance(part, (list, tuple)):
        part = as_operand(part) if len(part) else np.empty(0, np.intp)
    elif isinstance(part, (bool, np.generic)):
        part = np.asarray(part)
    elif not hasattr(part, "dtype") and hasattr(part, "__index__"):
        part = np.asarray(operator.index(part))
    if getattr(part, "dtype", np.dtype(object)).kind not in "bui":
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and "
            "integer or boolean arrays are valid indices, not "
            + (
                str(ShapedArray(part.shape, part.dtype))
                if hasattr(part, "dtype")
                else repr(part)
            )
        )
    return part


def _axes_used(part: Any) -> int:
    """How many axes of the array an entry of an index is for."""
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    if isinstance(part, slice) or part.dtype.kind != "b":
        return 1
    return len(part.shape)


def _positions(mask: Array, shape: Shape, axis: int) -> tuple[Any, ...]:
    if isinstance(mask, Tracer):
        aval = ShapedArray(mask.shape, mask.dtype)
        try:
            mask = mask.concrete("indexing with a traced boolean mask")
        except ConcretizationError:
            raise ConcretizationError(
                f"indexing with a traced boolean mask, {aval}: how many entries it "
                "selects is not known inside vmap or while a function is staged. Write "
                "np.where(mask, x, 0) and reduce over all entries instead."
            ) from None
    for i, (n, m) in enumerate(zip(shape, mask.shape, strict=True)):
        if m not in (n, 0):  # a mask of none picks none
            raise IndexError(
                f"boolean index did not match indexed array along axis {axis + i}; "
                f"size of axis is {n} but size of corresponding boolean axis is {m}"
            )
    return tuple(mask.nonzero()) if mask.shape else (bool(mask),)


@implements(np.take)
def take(
    a: Array,
    indices: Any,
    axis: int | None = None,
    out: Any = None,
    mode: str = "raise",
) -> Array:
    refuse("np.take", out=out)
    listed = not hasattr(indices, "dtype")
    a, indices = as_operands(a, indices)
    if axis is None or not shape_of(a) and axis in (0, -1):
        a, axis = np.ravel(a), 0
    rank = len(shape_of(a))
    axis = axis_of(axis, rank)
    n = shape_of(a)[axis]
    indices = indices if hasattr(indices, "dtype") else np.asarray(indices)
    if indices.dtype.kind not in "bui":
        # numbers and lists, but no arrays, are made integers
        if not listed or indices.dtype.kind == "c":
            raise TypeError(
                f"np.take takes positions that are integers, not of {indices.dtype}"
            )
        indices = convert(indices, dtype=np.dtype(np.intp))
    if n == 0 and 0 not in shape_of(indices):
        raise IndexError("cannot do a non-empty take from an empty axes.")
    if indices.dtype.kind == "b" or mode != "raise":
        indices = convert(indices, dtype=np.dtype(np.intp))
    indices = within(indices, n, mode)
    check_bounds(indices, n, axis)
    if type(indices) is np.ndarray:
        indices = namespace(a).asarray(indices)
    picked = p.gather(move_axis(a, axis, 0), indices)
    count = len(shape_of(indices))
    order = (
        *range(count, count + axis),
        *range(count),
        *range(count + axis, len(picked.shape)),
    )
    return transpose(picked, axes=order) if axis and count else picked


def within(i: Array, n: int, mode: str) -> Array:
    """Positions brought inside of an axis of ``n`` entries as ``mode`` says."""
    if mode == "wrap":
        return remainder(i, n) if n else i
    if mode == "clip":
        return minimum(maximum(i, 0), n - 1) if n else i
    if mode != "raise":
        raise ValueError(f"clipmode must be 'clip', 'raise', or 'wrap', not {mode!r}")
    return i


@implements(np.choose)
def choose(a: Array, choices: Any, out: Any = None, mode: str = "raise") -> Array:
    refuse("np.choose", out=out)
    a = as_operand(a)
    options = (
        np.stack(np.broadcast_arrays(*choices))
        if isinstance(choices, (list, tuple))
        else as_operand(choices, a)
    )
    n = options.shape[0]
    if dtype_of(a).kind not in "bui":
        raise TypeError(f"np.choose takes integers to choose by, not {dtype_of(a)}")
    a = within(convert(a, dtype=np.dtype(np.intp)), n, mode)
    known = not isinstance(a, Tracer) and namespace(a) is np
    shape = np.broadcast_shapes(shape_of(a), options.shape[1:])
    if known and 0 not in shape and (np.min(a) < 0 or np.max(a) >= n):
        raise ValueError("invalid entry in choice array")
    options = np.broadcast_to(
        reshape(
            options,
            shape=(
                n,
                *(1,) * (len(shape) - len(options.shape) + 1),
                *options.shape[1:],
            ),
        ),
        (n, *shape),
    )
    return p.take_along(options, np.broadcast_to(a, shape)[None], 0)[0]


@implements(np.take_along_axis)
def take_along_axis(arr: Array, indices: Array, axis: int | None = -1) -> Array:
    arr, indices = as_operands(arr, indices)
    if axis is None:
        arr, axis = np.ravel(arr), 0
    axis = axis_of(axis, len(arr.shape))
    _check_positions(indices)
    if len(shape_of(indices)) != len(arr.shape):
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    shape = list(np.broadcast_shapes(_but(arr, axis), _but(indices, axis)))
    shape[axis] = arr.shape[axis]
    arr = np.broadcast_to(arr, tuple(shape))
    check_bounds(indices, shape[axis], axis)
    shape[axis] = shape_of(indices)[axis]
    return p.take_along(arr, np.broadcast_to(indices, tuple(shape)), axis)


def _check_positions(indices: Array) -> None:
    if dtype_of(indices).kind not in "ui":
        raise IndexError(f"`indices` must be an integer array, not {dtype_of(indices)}")


def _but(x: Array, axis: int) -> Shape:
    shape = shape_of(x)
    return (*shape[:axis], 1, *shape[axis + 1 :])


# ---------------------------------------------------------------------------- updates


def put_along_axis(
    arr: Array, indices: Array, values: Any, axis: int | None, inplace: bool = True
) -> Any:
    """Write values at positions along an axis, into the array or into a copy.

    NumPy's own function writes in place, and so does this one into plain arrays.
    Traced arrays are never written into.

    Parameters
    ----------
    arr : array
        Where to write.
    indices : array of integers
        Positions along ``axis``, as for ``np.take_along_axis``.
    values : array
        What to write; broadcasts to ``indices``.
    axis : int or None
        The axis; the raveled array for ``None``.
    inplace : bool, optional
        Whether to write into ``arr`` itself.

    Returns
    -------
    array or None
        The new array unless ``inplace``.

    Raises
    ------
    MutationError
        If a traced array would be written into, or traced values into a plain one.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad.numpy as fnp
    >>> x, i = np.zeros((2, 3)), np.array([[2], [0]])
    >>> fnp.put_along_axis(x, i, 5.0, axis=1, inplace=False)
    array([[0., 0., 5.],
           [5., 0., 0.]])
    """
    if inplace:
        if any(isinstance(x, Tracer) for x in (arr, indices, values)):
            raise MutationError(
                "put_along_axis writes into its array, and neither is a traced array "
                "written into nor a plain one with traced values. Write x = "
                "fnp.put_along_axis(x, i, v, axis, inplace=False) with import "
                "funcad.numpy as fnp."
            )
        np.put_along_axis(arr, indices, values, axis)
        return None
    arr, indices = as_operands(arr, indices)
    shape = shape_of(arr)
    if axis is None:
        flat = put_along_axis(np.ravel(arr), indices, values, 0, inplace=False)
        return reshape(flat, shape=shape)
    axis = axis_of(axis, len(shape))
    _check_positions(indices)
    if len(shape_of(indices)) != len(shape):
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    key = p.grid_along(indices, shape, axis)
    return at(arr)[key].set(values)


def setitem(x: Tracer, key: Any, value: Any) -> None:
    """Refuse ``x[key] = value``: traced values are never written into."""
    raise MutationError(
        f"a traced array, {ShapedArray(x.shape, x.dtype)}, cannot be written into: "
        "x[i] = v would change a value that derivatives still need. Write "
        "x = fnp.at(x)[i].set(v) with import funcad.numpy as fnp (and .add, .multiply, "
        ".min, .max for x[i] += v and so on)."
    )


class at:
    """Updates of entries that return a new array.

    ``at(x)[i].set(v)`` is what ``x[i] = v`` would make of a copy of ``x``; where an
    index repeats, ``set`` keeps the last value and ``add``, ``subtract``,
    ``multiply``, ``divide``, ``power``, ``min`` and ``max`` use all of them, one after
    the other.  ``apply(f)`` is for functions of one array, and ``get()`` reads.

    Parameters
    ----------
    x : array
        The array to start from, which stays as it is.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad.numpy as fnp
    >>> fnp.at(np.zeros(3))[np.array([0, 0, 2])].add(1.0)
    array([2., 0., 1.])
    >>> fnp.at(np.zeros(3))[1:].set(np.array([5.0, 6.0]))
    array([0., 5., 6.])
    """

    __slots__ = ("_x",)

    def __init__(self, x: Array) -> None:
        self._x = x if hasattr(x, "dtype") else np.asarray(x)

    def __getitem__(self, key: Any) -> _Entries:
        return _Entries(self._x, key)


class _Entries:
    """Entries of an array that are to be updated."""

    __slots__ = ("_key", "_x")

    def __init__(self, x: Array, key: Any) -> None:
        self._x = x
        self._key = key if type(key) is tuple else (key,)

    def get(self) -> Array:
        """The entries themselves."""
        return getitem(self._x, self._key)

    def set(self, values: Any) -> Array:
        """Entries replaced by ``values``."""
        return self._update(lambda old, new: new, values, last_only=True)

    def add(self, values: Any) -> Array:
        """``values`` added to the entries, once for each time that an index occurs."""
        x = self._x
        selection = Selection(x, self._key)
        values = self._broadcast(selection, values)
        lead = tuple([selection.shape[i] for i in selection.order])
        if selection.arrays:
            updates = self._gathered_first(selection, values)
            total = p.scatter_sum(updates, *selection.arrays, shape=lead)
            total = transpose(total, axes=inverse_order(selection.order))
        else:
            total = values
        if any(part != slice(None) for part in selection.basic):
            total = p.embed(total, shape=x.shape, template=selection.basic)
        return x + total

    def subtract(self, values: Any) -> Array:
        """``values`` taken off, once for each time that an index occurs."""
        values = as_operand(values, self._x)
        if dtype_of(values).kind == "b":
            raise TypeError(
                "at(x)[...].subtract of booleans: NumPy has no such difference. Use "
                "at(x)[...].set(np.logical_xor(x[...], values))."
            )
        if dtype_of(values).kind == "u":  # whose negative wraps around in their dtype
            values = convert(values, dtype=dtype_of(self._x))
        return self.add(negative(values))

    def multiply(self, values: Any) -> Array:
        """Entries multiplied by ``values``."""
        return self._update(multiply, values)

    def divide(self, values: Any) -> Array:
        """Entries divided by ``values``."""
        if dtype_of(self._x).kind in "bui":
            raise TypeError(
                "at(x)[...].divide keeps the dtype of x, "
                f"{dtype_of(self._x)}, which cannot hold quotients. Write "
                "x.astype(float) first."
            )
        return self._update(divide, values)

    def power(self, values: Any) -> Array:
        """Entries to the power of ``values``."""
        return self._update(power, values)

    def min(self, values: Any) -> Array:
        """The lesser of entries and ``values``."""
        return self._update(minimum, values)

    def max(self, values: Any) -> Array:
        """The greater of entries and ``values``."""
        return self._update(maximum, values)

    def apply(self, function: Callable[[Array], Array]) -> Array:
        """``function`` of the entries, once for each time that an index occurs."""
        kept = dtype_of(self._x)
        return self._update(
            lambda old, _: convert(function(old), dtype=kept), np.zeros((), kept)
        )

    def _broadcast(self, selection: Selection, values: Any) -> Array:
        values = as_operand(values, self._x)
        if isinstance(values, (np.generic, *PYTHON_SCALARS)):
            values = namespace(self._x).asarray(values)
        target = (
            selection.read(np.broadcast_to(_NOTHING, self._x.shape))
            if all(not isinstance(a, Tracer) for a in selection.arrays)
            and namespace(self._x) is np
            else selection.read(self._x)
        )
        if np.result_type(values.dtype, self._x.dtype) != self._x.dtype and (
            values.dtype.kind in "fc"
            and self._x.dtype.kind not in "fc"
            or values.dtype.kind == "c"
        ):
            raise TypeError(
                f"at(x)[...] keeps the dtype of x, {self._x.dtype}, which cannot hold "
                f"values of {values.dtype}. Write x.astype({values.dtype}) first."
            )
        values = convert(values, dtype=self._x.dtype)
        return np.broadcast_to(values, target.shape)

    def _gathered_first(self, selection: Selection, values: Array) -> Array:
        """Updates with the axes of the index arrays in front, as gather has them."""
        rank = len(values.shape) - len(selection.shape) + len(selection.arrays)
        first = selection.landing
        axes = range(len(values.shape))
        gathered = axes[first : first + rank]
        rest = [a for a in axes if a not in gathered]
        return transpose(values, axes=(*gathered, *rest))

    def _update(
        self,
        combine: Callable[[Array, Array], Array],
        values: Any,
        last_only: bool = False,
    ) -> Array:
        """Entries combined with values, one turn after the other where they repeat.

        What is combined is the entries alone: the others may lie where a quotient or a
        power has no derivative.
        """
        shape = self._x.shape
        size = math.prod(shape)
        positions = namespace(self._x).arange(size).reshape(shape)
        flat = np.ravel(getitem(positions, self._key))
        selection = Selection(self._x, self._key)
        values = np.ravel(self._broadcast(selection, values))
        x = reshape(self._x, shape=(size,))
        if size and values.shape[0]:
            turns = [-1] if last_only else range(_most_repeats(flat))
            for turn in turns:
                owner = p.owners(flat, shape=(size,), turn=turn)
                new = values if last_only else combine(p.gather(x, flat), values)
                x = select(owner >= 0, p.gather(new, owner), x)
        return reshape(x, shape=shape)


def _most_repeats(flat: Array) -> int:
    """How often the commonest index occurs; all of them, where that is not known."""
    if isinstance(flat, Tracer):
        return int(flat.shape[0])
    return int(np.unique(flat, return_counts=True)[1].max())
