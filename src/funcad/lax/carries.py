"""What a loop carries: its structure and types, which every step must keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from funcad.core import tree
from funcad.core.errors import BranchError, CarryError, ConcretizationError
from funcad.core.program import Program
from funcad.core.tracing import (
    PYTHON_SCALARS,
    Array,
    ShapedArray,
    Tracer,
    dtype_of,
    shape_of,
)
from funcad.primitives.shape import convert
from funcad.transforms.arguments import check_leaves, is_array
from funcad.transforms.derived import close
from funcad.transforms.stage import ShapeDtypeStruct, stage

Kind = Any
"""A dtype, or the type of a Python number, which follows the arrays that it meets."""


def kind_of(x: Array) -> Kind:
    """Dtype of an array, type of a Python number or of what stands for one."""
    if type(x) in PYTHON_SCALARS:
        return type(x)
    return getattr(x, "weak", None) or dtype_of(x)


def joined(*kinds: Kind) -> np.dtype[Any]:
    """The dtype that NumPy gives to the sum of values of these kinds."""
    return np.result_type(*[k(1) if isinstance(k, type) else k for k in kinds])


def same_kind(one: Kind, two: Kind) -> bool:
    """Whether two kinds are equal; a dtype and a type never are."""
    return one is two or (type(one) is type(two) and one == two)


def converted(x: Array, kind: Kind) -> Array:
    """A number as a scalar of the dtype that is wanted, if it follows that one."""
    own = kind_of(x)
    if isinstance(kind, type) or not isinstance(own, type) or joined(own, kind) != kind:
        return x
    return convert(x, dtype=kind) if isinstance(x, Tracer) else kind.type(x)


def with_inverse(x: Any) -> Any:
    """A leaf, Python's True and False as NumPy's: of those ``~x`` is the other one."""
    return np.bool_(x) if type(x) is bool else x


class Aval(NamedTuple):
    """Shape and kind of a leaf."""

    shape: tuple[int, ...]
    kind: Kind

    @classmethod
    def of(cls, x: Array) -> Aval:
        """What a value looks like."""
        return cls(shape_of(x), kind_of(x))

    def specimen(self) -> Any:
        """Something to stage a function with."""
        return self.kind(0) if self.weak else ShapeDtypeStruct(self.shape, self.kind)

    @property
    def weak(self) -> bool:
        """Whether this is a Python number."""
        return isinstance(self.kind, type)

    def __str__(self) -> str:
        if self.weak:
            return f"a Python {self.kind.__name__}"
        return str(ShapedArray(self.shape, self.kind))


class Carry:
    """Structure and types of a carry, from its initial value.

    A Python number among its leaves takes the dtype of what a step makes of it.
    """

    def __init__(self, init: Any, name: str, given: str) -> None:
        leaves, self.treedef = tree.flatten(init)
        check_leaves(leaves, self.treedef, name, given)
        self.leaves: list[Array] = [with_inverse(x) for x in leaves]
        self.avals = [Aval.of(x) for x in self.leaves]
        self.name = name

    def initial(self) -> list[Array]:
        """The leaves of the initial value, numbers in the dtypes that they have got."""
        return [converted(x, a.kind) for x, a in zip(self.leaves, self.avals)]

    def specimen(self) -> Any:
        """Something to stage a step with."""
        return self.tree([a.specimen() for a in self.avals])

    def tree(self, leaves: Sequence[Any]) -> Any:
        """The carry with these leaves."""
        return tree.unflatten(self.treedef, leaves)

    def accept(self, value: Any) -> list[Array]:
        """Leaves of what a step returns, refused if they are of another type.

        Widens the types of Python numbers that the steps before have carried.
        """
        leaves, treedef = tree.flatten(value)
        if treedef != self.treedef:
            tree.check_same_structure(
                self.treedef,
                value,
                f"the carry that {self.name} gives to its function",
                "the carry that the function returns",
            )
        check_leaves(leaves, treedef, self.name, "output")
        differ = False
        for i, (x, aval) in enumerate(zip(leaves, self.avals)):
            kind = kind_of(x)
            if same_kind(kind, aval.kind):
                differ |= shape_of(x) != aval.shape
                continue
            if aval.weak and shape_of(x) == ():
                self.avals[i] = Aval((), joined(kind, aval.kind))
            leaves[i] = converted(x, self.avals[i].kind)
            differ |= Aval.of(leaves[i]) != self.avals[i]
        if differ:
            self._refuse(leaves)
        return leaves

    def _refuse(self, leaves: Sequence[Array]) -> None:
        paths, _ = tree.flatten_with_path(self.tree(leaves))
        rows = [
            f"    carry{tree.keystr(path)}: {aval} given, {Aval.of(x)} returned"
            for (path, x), aval in zip(paths, self.avals)
            if Aval.of(x) != aval
        ]
        raise CarryError(
            f"{self.name}: every step must return a carry with the shapes and dtypes "
            "that it was given, and this one's differ in\n"
            + "\n".join(rows)
            + "\n  Convert what is returned with x.astype(dtype) or np.reshape, or "
            "start from an initial value that has the shape and dtype of what is "
            "returned."
        )


def is_traced(values: Sequence[Any]) -> bool:
    """Whether there is a tracer among values."""
    return any(isinstance(x, Tracer) for x in values)


def have_values(values: Sequence[Any]) -> bool:
    """Whether Python could branch by these values."""
    try:
        for x in values:
            if isinstance(x, Tracer):
                x.concrete("the value")
    except ConcretizationError:
        return False
    return True


def check_callable(f: Any, name: str, what: str) -> None:
    """Refuse what is no function."""
    if not callable(f):
        raise TypeError(
            f"{name}: {what} must be a function, not {f!r} of type {type(f).__name__}."
        )


def staged(
    f: Callable[..., Any], args: tuple[Any, ...], name: str, array_type: type
) -> tuple[Program, list[Tracer], Any]:
    """Program of a body, tracers that it takes first, and its result's structure."""
    program, out_tree, _ = stage(f, args, name, array_type)
    closed, captured = close(program)
    return closed, captured, out_tree


def looks(value: Any) -> str:
    """What a value is, for messages."""
    return str(Aval.of(value)) if is_array(value) else f"of type {type(value).__name__}"


def is_scalar_of(value: Any, kinds: str) -> bool:
    """Whether this is one value whose dtype is of one of the kinds."""
    return is_array(value) and shape_of(value) == () and dtype_of(value).kind in kinds


def check_predicate(value: Any, name: str, what: str) -> Any:
    """Refuse a predicate that is not one boolean; the predicate."""
    if is_scalar_of(value, "b"):
        return value
    advice = (
        "Reduce it with np.any or np.all, or use np.where to choose entry by entry."
        if is_array(value) and shape_of(value)
        else "Compare it: x != 0, x > 0."
    )
    raise BranchError(
        f"{name}: {what} must be one boolean, and is {looks(value)}. {advice}"
    )
