"""What new primitives are made of: `Primitive`, and constructors for families of them.

======================  ==============================================================
:class:`Primitive`      an operation and all of its rules
:func:`elementwise`     entry by entry, broadcasting: one partial derivative an operand
:func:`reduction`       over axes: a JVP
:func:`linear`          linear in its first operand: a transpose
:func:`multilinear`     a product, linear in each operand: one transpose an operand
:func:`sum_of_jvps`     a JVP rule from one function an operand
:func:`bind`            applies a primitive, as calling it does
:data:`primitives`      all that are registered, by name
:class:`ShapedArray`    shape and dtype of a value that is not there
:func:`aval_of`         that of a value
======================  ==============================================================

A function that needs only a derivative or a batched form of its own is no primitive:
see `funcad.custom_jvp`, `funcad.custom_vjp` and `funcad.custom_vmap`.
`funcad.testing.check_primitive` checks the rules of a primitive against each other.
"""

from collections.abc import Mapping
from types import MappingProxyType

from funcad.core.tracing import (
    Primitive,
    ShapedArray,
    aval_of,
    bind,
    dtype_of,
    registry,
    shape_of,
)
from funcad.primitives.elementwise import elementwise
from funcad.primitives.families import linear, multilinear, sum_of_jvps
from funcad.primitives.reduction import reduction
from funcad.primitives.shape import move_axis

__all__ = [
    "Primitive",
    "ShapedArray",
    "aval_of",
    "bind",
    "dtype_of",
    "elementwise",
    "linear",
    "move_axis",
    "multilinear",
    "primitives",
    "reduction",
    "shape_of",
    "sum_of_jvps",
]

primitives: Mapping[str, Primitive] = MappingProxyType(registry)
"""Every primitive that is registered, by name: a mapping that cannot be written to."""
