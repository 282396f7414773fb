"""The operators, methods and attributes of a NumPy array, installed on tracers."""

from __future__ import annotations

import math
import operator
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.errors import (
    ConcretizationError,
    DerivativeLossError,
    LeafTypeError,
    MutationError,
    UnsupportedFunctionError,
)
from funcad.core.tracing import Array, Primitive, ShapedArray, Tracer, bind
from funcad.numpy import indexing, joining, products, reductions, shaping, sorting
from funcad.numpy.dispatch import (
    OPERANDS,
    as_operand,
    call_function,
    call_ufunc,
    unsupported,
)
from funcad.primitives import elementwise as p
from funcad.primitives.shape import as_dtype


def _operand(self: Tracer, other: Any) -> Any:
    """The other operand as an array; its own operators have their turn otherwise."""
    if getattr(other, "__array_ufunc__", other) is None:
        return NotImplemented
    try:
        return as_operand(other, self)
    except LeafTypeError:
        return NotImplemented


def _factor(self: Tracer, other: Any) -> Any:
    """As `_operand`; a list times a whole number is left to Python, and repeated."""
    repeats = isinstance(other, (list, tuple)) and not self.shape
    if repeats and self.dtype.kind in "iub":
        return NotImplemented
    return _operand(self, other)


def _binary(
    primitive: Primitive, operand: Callable[[Tracer, Any], Any] = _operand
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def forward(self: Tracer, other: Any) -> Any:
        if not isinstance(other, OPERANDS):
            other = operand(self, other)
            if other is NotImplemented:
                return other
        return bind(primitive, (self, other), {})

    def reflected(self: Tracer, other: Any) -> Any:
        if not isinstance(other, OPERANDS):
            other = operand(self, other)
            if other is NotImplemented:
                return other
        return bind(primitive, (other, self), {})

    return forward, reflected


def _unary(primitive: Primitive) -> Callable[..., Any]:
    return lambda self: bind(primitive, (self,), {})


BINARY = {
    "add": p.add,
    "sub": p.subtract,
    "mul": p.multiply,
    "truediv": p.divide,
    "floordiv": p.floor_divide,
    "mod": p.remainder,
    "pow": p.power,
    "and": p.bitwise_and,
    "or": p.bitwise_or,
    "xor": p.bitwise_xor,
    "lshift": p.left_shift,
    "rshift": p.right_shift,
}
COMPARISONS = {
    "eq": p.equal,
    "ne": p.not_equal,
    "lt": p.less,
    "le": p.less_equal,
    "gt": p.greater,
    "ge": p.greater_equal,
}
UNARY = {"neg": p.negative, "pos": p.positive, "abs": p.absolute, "invert": p.invert}


def _iterate(self: Tracer) -> Iterator[Array]:
    if not self.shape:
        raise TypeError("iteration over a 0-d array")
    return iter(joining.unstack(self))


def _length(self: Tracer) -> int:
    if not self.shape:
        raise TypeError("len() of unsized object")
    return self.shape[0]


def _array(self: Tracer, dtype: Any = None, copy: Any = None) -> Any:
    self.concrete("np.asarray (or np.array)")
    raise DerivativeLossError(
        "np.asarray (or np.array) of a traced array, "
        f"{ShapedArray(self.shape, self.dtype)}, would lose its derivative. Write "
        "np.stack([x, y]) or, for nested lists too, fnp.array([x, y]) (import "
        "funcad.numpy as fnp) instead of np.array([x, y]), leave np.asarray(x) out, "
        "and use funcad.stop_gradient(x) where the plain value is wanted. SciPy's "
        "functions are in funcad.scipy; another that is not NumPy's cannot be traced: "
        "compose it from NumPy's."
    )


class _CudaInterface:
    """What CuPy asks an operand that is no array of its own for.

    Its array's ``__array_ufunc__`` asks too, in compiled code without a frame of its
    own, and must hear that there is none: it leaves the operation to the tracer then.
    """

    def __get__(self, tracer: Any, owner: Any) -> Any:
        asking = sys._getframe(1).f_globals.get("__name__", "")
        if not asking.startswith("cupy"):
            raise AttributeError("__cuda_array_interface__")
        raise DerivativeLossError(
            "a CuPy function was called on a traced array. Call NumPy's function of "
            "the same name: np.sum(x) instead of cupy.sum(x) stays on the GPU if x is "
            "there."
        )


def _cupy_kernel(self: Tracer, kernel: Any, *args: Any, **kwargs: Any) -> Any:
    """CuPy's own override hook, by which ``cupy.sin(tracer)`` arrives."""
    name = kernel.name.removeprefix("cupy_")
    ufunc = getattr(np, name, None)
    if not isinstance(ufunc, np.ufunc):
        raise unsupported(f"cupy.{name}")
    return call_ufunc(self, ufunc, "__call__", *args, **kwargs)


def _concrete(kind: Callable[[Any], Any], what: str) -> Callable[[Tracer], Any]:
    return lambda self: kind(self.concrete(what))


_AS_INDEX = "the use as an index, a length or a number of times"
_refused = threading.local()
"""The tracer and the call that were last refused an index."""


def _index(self: Tracer) -> int:
    try:
        return operator.index(self.concrete(_AS_INDEX))
    except ConcretizationError:
        _refused.index = id(self), *_place(sys._getframe(1))
        raise


def _place(frame: types.FrameType) -> tuple[int, int]:
    return id(frame), frame.f_lasti


def _refuse_again(self: Tracer, caller: types.FrameType) -> None:
    """Raise the error of an index once more where NumPy has put its own in its place.

    ``np.zeros(n)`` takes every TypeError of ``__index__`` for that of an object which
    is no number, and then asks for its repr, within the same call: the same step of
    the same frame.
    """
    refused, _refused.index = getattr(_refused, "index", None), None
    if refused == (id(self), *_place(caller)):
        self.concrete(_AS_INDEX)


def _number(what: str) -> Callable[[Tracer], Any]:
    def refuse_number(self: Tracer) -> Any:
        self.concrete(what)
        raise DerivativeLossError(
            f"{what} of a traced array, {ShapedArray(self.shape, self.dtype)}, would "
            "lose its derivative. Python's float() is also what math.sin(x) and "
            "a[i] = x with a plain array a call: write np.sin(x), and "
            "np.stack([x, y]) or fnp.at(a)[i].set(x) (import funcad.numpy as fnp). "
            "Comparisons and np functions take x as it is; x.item() is the plain value."
        )

    return refuse_number


def _in_place(name: str, instead: str) -> Callable[..., Any]:
    def refuse_write(self: Tracer, *args: Any, **kwargs: Any) -> Any:
        raise MutationError(
            f"x.{name}() writes into its array, and a traced array, "
            f"{ShapedArray(self.shape, self.dtype)}, is never written into. Write "
            f"x = {instead} (import funcad.numpy as fnp)."
        )

    return refuse_write


def _item(self: Tracer, *args: int) -> Any:
    value = indexing.getitem(self, args) if args else self
    value = value.concrete("item()") if isinstance(value, Tracer) else value
    return value.item() if hasattr(value, "item") else value


def _tolist(self: Tracer) -> Any:
    value = self.concrete("tolist()")
    return value.tolist() if hasattr(value, "tolist") else value


def _repr(self: Tracer) -> str:
    _refuse_again(self, sys._getframe(1))
    kind = type(self).__name__
    inner = getattr(self, "primal", getattr(self, "value", None))
    text = f"{kind}({ShapedArray(self.shape, self.dtype)}"
    return text + (f", {inner!r})" if inner is not None else ")")


def _reshape(self: Tracer, *shape: Any, order: str = "C", copy: Any = None) -> Array:
    return shaping.reshape(self, shape[0] if len(shape) == 1 else shape, order)


def _transpose(self: Tracer, *axes: Any) -> Array:
    if len(axes) == 1 and (axes[0] is None or not isinstance(axes[0], int)):
        (axes,) = axes
    return shaping.transpose(self, axes or None)


def _astype(
    self: Tracer,
    dtype: Any,
    order: str = "K",
    casting: str = "unsafe",
    subok: bool = True,
    copy: bool = True,
) -> Array:
    dtype = np.dtype(dtype)
    if casting != "unsafe" and not np.can_cast(self.dtype, dtype, casting):  # type: ignore[arg-type]
        raise TypeError(
            f"Cannot cast array data from {self.dtype} to {dtype} according to the "
            f"rule {casting!r}"
        )
    return as_dtype(self, dtype, copy)


def _view(self: Tracer, *args: Any, **kwargs: Any) -> Any:
    raise UnsupportedFunctionError(
        "x.view() looks at the bytes of an array, and a traced array, "
        f"{ShapedArray(self.shape, self.dtype)}, has none. Write x.astype(dtype) to "
        "convert it, and x.real and x.imag for the parts of complex numbers."
    )


def _conjugate(self: Tracer) -> Array:
    return bind(p.conjugate, (self,), {}) if self.dtype.kind == "c" else self


def _namespace(self: Tracer, *, api_version: str | None = None) -> Any:
    import funcad.numpy

    if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
        raise ValueError(
            f"funcad.numpy follows version 2024.12 of the Array API standard and those "
            f"before it, not {api_version!r}"
        )
    return funcad.numpy


def _device(self: Tracer) -> Any:
    """What the array underneath says; where there is none, what a new one says."""
    return namespace(self).empty(0).device


def _to_device(self: Tracer, device: Any, /, *, stream: Any = None) -> Array:
    if stream is not None:
        raise ValueError("to_device of a traced array takes no stream=. Leave it out.")
    if device != _device(self):
        raise ValueError(
            f"a traced array is on the device {_device(self)!r} and stays there. Write "
            'funcad.device_put(x, "gpu") or funcad.device_put(x, "cpu") instead of '
            f"x.to_device({device!r})."
        )
    return self


def _dlpack(
    self: Tracer,
    *,
    stream: Any = None,
    max_version: Any = None,
    dl_device: Any = None,
    copy: bool | None = None,
) -> Any:
    self.concrete("from_dlpack")
    raise DerivativeLossError(
        "from_dlpack of a traced array, "
        f"{ShapedArray(self.shape, self.dtype)}, would lose its derivative: another "
        "library cannot be traced. Use funcad.stop_gradient(x) where the plain value "
        "is wanted."
    )


_METHODS: dict[str, Any] = {
    "__array_ufunc__": call_ufunc,
    "__array_function__": call_function,
    "__array__": _array,
    "__array_namespace__": _namespace,
    "__dlpack__": _dlpack,
    "__dlpack_device__": _dlpack,
    "__cupy_override_elementwise_kernel__": _cupy_kernel,
    "__cuda_array_interface__": _CudaInterface(),
    "__getitem__": indexing.getitem,
    "__setitem__": indexing.setitem,
    "__iter__": _iterate,
    "__contains__": lambda self, value: bool(np.any(self == value)),
    "__len__": _length,
    "__bool__": _concrete(bool, "the truth value (in if, while, and, or, not)"),
    "__float__": _number("float()"),
    "__complex__": _number("complex()"),
    "__int__": _concrete(int, "int()"),
    "__trunc__": _concrete(math.trunc, "math.trunc"),
    "__floor__": _concrete(math.floor, "math.floor"),
    "__ceil__": _concrete(math.ceil, "math.ceil"),
    "__index__": _index,
    "__format__": lambda self, spec: format(
        self.concrete("formatting") if spec else repr(self), spec
    ),
    "__repr__": _repr,
    "__hash__": None,
    "__copy__": lambda self: self,
    "__deepcopy__": lambda self, memo: self,
    "__matmul__": lambda self, other: products.matmul(self, other),
    "__rmatmul__": lambda self, other: products.matmul(other, self),
    "__divmod__": lambda self, other: (self // other, self % other),
    "__rdivmod__": lambda self, other: np.divmod(other, self),
    "__round__": lambda self, n=0: np.round(self, n),
    "ndim": property(lambda self: len(self.shape)),
    "size": property(lambda self: math.prod(self.shape)),
    "itemsize": property(lambda self: self.dtype.itemsize),
    "nbytes": property(lambda self: self.size * self.dtype.itemsize),
    "device": property(_device),
    "to_device": _to_device,
    "flat": property(shaping.ravel),
    "view": _view,
    "choose": indexing.choose,
    "T": property(shaping.transpose),
    "mT": property(shaping.matrix_transpose),
    "real": property(np.real),
    "imag": property(np.imag),
    "item": _item,
    "tolist": _tolist,
    "reshape": _reshape,
    "transpose": _transpose,
    "astype": _astype,
    "flatten": lambda self, order="C": shaping.ravel(self, order),
    "ravel": shaping.ravel,
    "copy": shaping.copy,
    "conj": _conjugate,
    "conjugate": _conjugate,
    "dot": products.dot,
    "clip": lambda self, min=None, max=None, out=None: np.clip(self, min, max, out),
    "round": np.round,
    "take": indexing.take,
    "repeat": shaping.repeat,
    "squeeze": shaping.squeeze,
    "swapaxes": shaping.swapaxes,
    "diagonal": shaping.diagonal,
    "trace": shaping.trace,
}
_METHODS |= {
    name: _in_place(name, instead)
    for name, instead in {
        "sort": "np.sort(x)",
        "fill": "np.full_like(x, value)",
        "put": "fnp.at(x)[i].set(values)",
        "partition": "np.sort(x)",
        "resize": "np.reshape(x, shape)",
    }.items()
}
_METHODS |= {
    name: getattr(reductions, name)
    for name in (
        *("sum", "prod", "max", "min", "mean", "var", "std", "any", "all", "argmax"),
        *("argmin", "cumsum", "cumprod"),
    )
}
_METHODS |= {
    name: getattr(sorting, name)
    for name in ("argsort", "argpartition", "searchsorted", "nonzero")
}
_METHODS["compress"] = lambda self, condition, axis=None, out=None: sorting.compress(
    condition, self, axis, out
)
for _name, _primitive in BINARY.items():
    _forward, _reflected = _binary(_primitive, _factor if _name == "mul" else _operand)
    _METHODS |= {f"__{_name}__": _forward, f"__r{_name}__": _reflected}
for _name, _primitive in COMPARISONS.items():
    _METHODS[f"__{_name}__"] = _binary(_primitive)[0]
for _name, _primitive in UNARY.items():
    _METHODS[f"__{_name}__"] = _unary(_primitive)

for _name, _method in _METHODS.items():
    setattr(Tracer, _name, _method)
