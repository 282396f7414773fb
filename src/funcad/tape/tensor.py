"""Tensors: arrays that remember how they were computed, so far as gradients need it."""

from __future__ import annotations

import itertools
import math
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcad import numpy as fnp
from funcad.backends import backend_of, namespace
from funcad.core import tree
from funcad.core.errors import (
    DerivativeLossError,
    InputDtypeError,
    LeafTypeError,
    MutationError,
    TangentMismatchError,
    TapeError,
)
from funcad.core.program import Program
from funcad.core.tracing import (
    LOWEST_LEVEL,
    PYTHON_SCALARS,
    Array,
    Params,
    Primitive,
    ShapedArray,
    Trace,
    Tracer,
    aval_of,
    bind,
)
from funcad.tape.nodes import Extras, Node, Operation, Selection, linearise
from funcad.tape.recording import check_flag, recording
from funcad.transforms.custom_calls import refuse_captured
from funcad.transforms.linear import LinearTrace


class TapeTrace(Trace):
    """Computes with the arrays of tensors, and records what needs a gradient.

    There is one, below the transforms: a transform of a function that uses tensors
    computes with its own tracers, which hold tensors.
    """

    __slots__ = ()
    computes_at_once = True

    def __init__(self) -> None:
        super().__init__()
        self.level = LOWEST_LEVEL

    def process(
        self, primitive: Primitive, args: Sequence[Array], params: Params
    ) -> Any:
        values = []
        parents = []
        for arg in args:
            if isinstance(arg, Tensor):
                values.append(arg._value)
                parents.append(arg._node)
            else:
                values.append(arg)
                parents.append(None)
        jvp = primitive.jvp
        if (
            not recording.get(True)
            or (jvp is None and primitive.dual is None)
            or not any(parents)
        ):
            ans = bind(primitive, values, params)
            if primitive.multiple:
                # a function with a rule of its own may have closed over a tensor
                refuse_captured(ans, self.level - 1)
                return tuple([attach(a, None) for a in ans])
            return attach(ans, None)
        if None in parents:
            values = [v if p else immutable(v) for v, p in zip(values, parents)]
        program = None
        if jvp is not None:
            ans = bind(primitive, values, params)
        else:
            wanted = [parent is not None for parent in parents]
            trace = LinearTrace(values)
            trace.level = self.level - 1
            ans, program = linearise(trace, primitive, values, wanted, params, None)
            trace.alive = False
            # linearised once more, it runs on tensors and not for this trace
            params = {name: p for name, p in params.items() if p is not self}
        node = Operation(tuple(parents), (primitive, values, params, ans, program))
        if not primitive.multiple:
            return attach(ans, node if ans.dtype.kind in "fc" else None)
        depends = program.outputs if program else [True] * len(ans)
        return tuple(
            [
                attach(a, None)
                if a.dtype.kind not in "fc" or d is None
                else attach(a, Selection((node,), (i, len(ans))))
                for i, (a, d) in enumerate(zip(ans, depends))
            ]
        )


TAPE = TapeTrace()


class Tensor(Tracer):
    """An array that remembers how it was computed.

    What is computed from a tensor that requires a gradient requires one, too, and can
    be asked for it by `backward`.  Tensors have the operators and methods of NumPy's
    arrays, and can be given to NumPy's functions, to those of `funcad.nn`, and to
    transformed functions, together with arrays.

    Parameters
    ----------
    x : array_like
        A number, (nested) list, NumPy or CuPy array; copied.  A tensor is detached.
    requires_grad : bool, optional
        Whether to record what is computed from it.
    dtype : dtype, optional
        Of the tensor; by default that of ``x``.

    Raises
    ------
    InputDtypeError
        If an integer or boolean is to require a gradient.
    LeafTypeError
        If ``x`` is no array.
    DerivativeLossError
        If ``x`` is, or holds, a value that a transform is computing with.

    Notes
    -----
    The array of a tensor is its own, and never written into: ``t.numpy()`` is
    read-only, and ``t += u`` gives ``t`` a new array, so that what was computed from
    the old one keeps its derivatives.  Writable arrays that operations mix with
    tensors are copied when they are recorded; a tensor is not.

    Methods that PyTorch adds have its names (``view``, ``permute``, ``clamp``, ...) and
    take ``dim`` and ``keepdim``; ``t.transpose(i, j)`` swaps two axes and
    ``t.flatten(i)`` begins at an axis, as there.  ``max``, ``min``, ``repeat``,
    ``std`` and ``var`` are NumPy's, and take ``axis``.

    Gradients of complex tensors are those of `funcad.grad`, du/dx - i du/dy, the
    conjugates of PyTorch's.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.tape import Tensor
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> y = np.exp(x) @ x
    >>> y.backward()
    >>> x.grad
    Tensor([ 5.43656366, 22.1671683 ])
    """

    # most tensors have no value for the last two: the node of a leaf that does not
    # require a gradient for now, and the tensor whose .data this one is
    __slots__ = ("__weakref__", "_node", "_value", "_frozen", "_source")

    _frozen: Node | None
    _source: weakref.ref[Tensor]

    # there is one trace, so that it need not be put into each
    _trace = TAPE

    def __init__(self, x: Any, requires_grad: bool = False, *, dtype: Any = None):
        self._value = _owned(x, dtype, f"{type(self).__name__}(x): x")
        self._node: Node | None = None
        if requires_grad is not False:
            self.requires_grad = requires_grad

    # ------------------------------------------------------------------- as a tracer

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self._value.shape

    @property
    def dtype(self) -> Any:
        """Dtype of the array."""
        return self._value.dtype

    @property
    def array_type(self) -> type:
        """Type of the array: NumPy's or CuPy's."""
        return type(self._value)

    def concrete(self, purpose: str) -> Array:
        return self._value

    # ---------------------------------------------------------------------- gradients

    @property
    def requires_grad(self) -> bool:
        """Whether what is computed from this tensor is recorded; leaves can be set."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        check_flag(type(self).__name__, "requires_grad", wanted)
        if not self.is_leaf:
            if wanted:
                return
            raise TapeError(
                f"requires_grad = False: this tensor, {aval_of(self)}, was computed "
                f"from others ({self._node!r}), so it stays in their graph. Write "
                "t = t.detach()."
            )
        if not wanted:
            if self._node is not None:
                if self._node.extras is not None:
                    self._node.extras.retains = False
                self._frozen, self._node = self._node, None
        elif self._node is None:
            if self.dtype.kind not in "fc":
                raise InputDtypeError(
                    "requires_grad=True: floats and complex numbers have derivatives, "
                    f"and the tensor is {aval_of(self)}. Write Tensor(x, "
                    "requires_grad=True, dtype=float), or leave requires_grad out."
                )
            # the same leaf as before, with the gradient that it had
            self._node = getattr(self, "_frozen", None)
            if self._node is None:
                self._node = Node((), aval_of(self))
            if self._node.extras is None:
                self._node.extras = Extras()
            self._node.extras.retains = True

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad`, and return the tensor itself."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user and not recorded as a result."""
        return self._node is None or type(self._node) is Node

    @property
    def grad_fn(self) -> Node | None:
        """The recorded operation that it is the result of; ``None`` for a leaf."""
        return None if self.is_leaf else self._node

    @property
    def grad(self) -> Tensor | None:
        """Sum of the gradients that `backward` has found, ``None`` before the first.

        It can be set: to ``None``, or to a tensor of the same shape and dtype.
        """
        node = self._node or getattr(self, "_frozen", None)
        extras = node.extras if node is not None else None
        if not self.is_leaf and (extras is None or not extras.retains):
            warnings.warn(
                "the gradient of a tensor that was computed from others is not kept, "
                "so its .grad is None. Call t.retain_grad() before backward(), or use "
                "funcad.tape.grad(y, t).",
                stacklevel=2,
            )
        return None if extras is None else extras.grad

    @grad.setter
    def grad(self, value: Any) -> None:
        node = self._node or getattr(self, "_frozen", None)
        if node is None:
            if value is None:
                return
            raise TapeError(
                f".grad = ...: this tensor, {aval_of(self)}, does not require a "
                "gradient. Write t.requires_grad = True first."
            )
        if value is not None:
            value = as_tensor(value, ".grad = ...: the value")
            _check_aval(self, value, ".grad = ...", TangentMismatchError)
        if node.extras is None:
            node.extras = Extras()
        node.extras.grad = value

    def zero_grad_(self) -> None:
        """Forget the gradient: `grad` is ``None`` again.

        Examples
        --------
        >>> from funcad.tape import Tensor
        >>> x = Tensor(3.0, requires_grad=True)
        >>> (x * x).backward()
        >>> x.zero_grad_()
        >>> (2 * x).backward()
        >>> x.grad
        Tensor(2.0)
        """
        self.grad = None

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> None:
        """Add this tensor's gradient to ``.grad`` of each leaf that it depends on.

        Parameters
        ----------
        gradient : array, optional
            Gradient of something with respect to this tensor, of its shape and dtype;
            one, for a real scalar.
        retain_graph : bool, optional
            Whether another walk through this graph may follow; by default as
            ``create_graph``.  What is kept for it is freed otherwise, operation by
            operation.
        create_graph : bool, optional
            Whether the gradients are recorded, so that they can be differentiated.
        inputs : Tensor or sequence of Tensor, optional
            The only tensors whose ``.grad`` is added to; by default all leaves.

        Raises
        ------
        TapeError
            If the tensor requires no gradient, is no scalar and has no ``gradient``, or
            if the graph has been freed.
        TangentMismatchError
            If ``gradient`` has another shape or dtype than the tensor.

        Examples
        --------
        >>> import numpy as np
        >>> from funcad.tape import Tensor
        >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
        >>> y = x**2
        >>> y.backward(np.array([1.0, 0.0, 1.0]), retain_graph=True)
        >>> x.grad
        Tensor([2., 0., 6.])
        >>> y.sum().backward()
        >>> x.grad
        Tensor([ 4.,  4., 12.])
        """
        from funcad.tape.backward import run_backward

        run_backward(self, gradient, retain_graph, create_graph, inputs)

    def retain_grad(self) -> None:
        """Keep the gradient of a tensor that is no leaf in its `grad`, too."""
        self._extras("retain_grad").retains = True

    def register_hook(self, hook: Callable[[Tensor], Any]) -> RemovableHook:
        """Call a function with the gradient of this tensor, whenever it is found.

        Parameters
        ----------
        hook : callable
            Takes the gradient; what it returns, if not ``None``, takes its place.

        Returns
        -------
        RemovableHook
            Whose ``remove()`` takes the hook away.

        Raises
        ------
        TapeError
            If the tensor requires no gradient.

        Examples
        --------
        >>> from funcad.tape import Tensor
        >>> x = Tensor(3.0, requires_grad=True)
        >>> handle = x.register_hook(lambda g: 10 * g)
        >>> (x * x).backward()
        >>> x.grad
        Tensor(60.0)
        """
        if not callable(hook):
            raise TypeError(
                f"register_hook takes a function of the gradient, not {hook!r} of type "
                f"{type(hook).__name__}."
            )
        return RemovableHook(self._extras("register_hook").hooks, hook)

    def _extras(self, caller: str) -> Extras:
        if self._node is None:
            raise TapeError(
                f"{caller}: this tensor, {aval_of(self)}, does not require a gradient, "
                "so none will be found. Write Tensor(x, requires_grad=True)."
            )
        if self._node.extras is None:
            self._node.extras = Extras()
        return self._node.extras

    def graph(self) -> Program:
        """What this tensor was computed from, as a program.

        Returns
        -------
        Program
            Its inputs are the leaves that require a gradient, in the order in which
            they were made; it can be printed, drawn, counted and run on other values.

        Raises
        ------
        TapeError
            If the tensor is a leaf, or if its graph has been freed.

        Examples
        --------
        >>> from funcad.tape import Tensor
        >>> x = Tensor(3.0, requires_grad=True)
        >>> y = x * x + 1.0
        >>> print(y.graph())
        program(a:float64[]) {
          b:float64[] = multiply a a
          c:float64[] = add b 1.0
          return (c)
        }
        """
        from funcad.tape.graph import program_of

        return program_of(self)

    # ------------------------------------------------------------------------- values

    def detach(self) -> Tensor:
        """The same value, outside of the graph: a constant.

        Examples
        --------
        >>> from funcad.tape import Tensor
        >>> x = Tensor(3.0, requires_grad=True)
        >>> (x * x.detach()).backward()
        >>> x.grad
        Tensor(3.0)
        """
        return attach(self._value, None)

    @property
    def data(self) -> Tensor:
        """The value outside of the graph; set or updated in place, it is replaced.

        The new value has the same shape and dtype.  What has been computed before from
        the old one keeps its derivatives.

        Examples
        --------
        >>> from funcad.tape import Tensor
        >>> w = Tensor([1.0, 2.0], requires_grad=True)
        >>> w.data.mul_(0.5)
        Tensor([0.5, 1. ])
        >>> w
        Tensor([0.5, 1. ], requires_grad=True)
        """
        tensor = self.detach()
        # weakly: a value that is kept keeps no graph
        tensor._source = weakref.ref(self)
        return tensor

    @data.setter
    def data(self, value: Any) -> None:
        value = as_tensor(value, ".data = ...: the value")
        _check_aval(self, value, ".data = ...", ValueError)
        self._value = value._value

    def copy_(self, value: Any) -> Tensor:
        """Take over the value of another tensor or array, in place; returns itself."""
        return self._updated("t.copy_(u)", as_tensor(value, "t.copy_(u): u"))

    @property
    def array(self) -> Array:
        """The value as an array of its library, NumPy's read-only, CuPy's a copy."""
        return _exposed(self._value)

    def numpy(self) -> np.ndarray[Any, Any]:
        """The value as a read-only NumPy array that shares memory with the tensor.

        Returns
        -------
        ndarray

        Raises
        ------
        DerivativeLossError
            If the tensor requires a gradient: write ``t.detach().numpy()``.
        DeviceError
            If it is on a GPU: nothing moves between devices by itself.

        Examples
        --------
        >>> from funcad.tape import Tensor
        >>> Tensor([1.0, 2.0]).numpy()
        array([1., 2.])
        """
        if self._node is not None:
            raise DerivativeLossError(
                f"numpy(): this tensor, {aval_of(self)}, requires a gradient, which "
                "an array would lose. Write t.detach().numpy()."
            )
        if backend_of(self._value).name != "numpy":
            from funcad.core.errors import DeviceError

            raise DeviceError(
                f"numpy(): this tensor, {aval_of(self)}, is on a GPU, and nothing "
                'moves between devices by itself. Write funcad.device_put(t, "cpu")'
                ".numpy(), or t.array for the array where it is."
            )
        return np.asarray(_exposed(self._value))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if self._node is not None:
            raise DerivativeLossError(
                f"np.asarray (or np.array) of a tensor, {aval_of(self)}, that requires "
                "a gradient would lose it. Write t.detach().numpy() for the plain "
                "value; NumPy's functions take t as it is, and np.stack([t, u]) makes "
                "one tensor of several."
            )
        return np.array(self.numpy(), dtype, copy=copy)

    def __repr__(self) -> str:
        value = self._value
        if value.shape == ():
            text = repr(value.item())
        else:
            text = np.array2string(
                backend_of(value).to_host(value)
                if backend_of(value).name != "numpy"
                else value,
                separator=", ",
                prefix=f"{type(self).__name__}(",
            )
        if value.dtype not in (np.float64, np.int64, np.bool_, np.complex128):
            text += f", dtype={value.dtype}"
        if self._node is not None:
            text += (
                ", requires_grad=True" if self.is_leaf else f", grad_fn={self._node!r}"
            )
        return f"{type(self).__name__}({text})"

    def __format__(self, spec: str) -> str:
        if not self.shape:
            return format(self._value.item(), spec)
        if spec:
            raise TypeError(
                f"the format {spec!r} is for numbers, and this tensor is "
                f"{aval_of(self)}. Write it without, or for entries: t.tolist()."
            )
        return repr(self)

    def __float__(self) -> float:
        return float(self._number(float))

    def __int__(self) -> int:
        return int(self._number(int))

    def __complex__(self) -> complex:
        return complex(self._number(complex))

    def _number(self, kind: type) -> Array:
        if self._node is not None:
            raise DerivativeLossError(
                f"{kind.__name__}() of a tensor, {aval_of(self)}, that requires a "
                "gradient would lose it. Python's float() is also what math.sin(t) and "
                "a[i] = t with a plain array a call: write np.sin(t), np.stack([t, u]) "
                "or fnp.at(a)[i].set(t) (import funcad.numpy as fnp), and t.item() for "
                "the plain value."
            )
        return self._value

    # as PyTorch's, tensors are told apart by identity in sets and dictionaries
    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.is_leaf:
            raise TapeError(
                f"this tensor, {aval_of(self)}, cannot be copied deeply or pickled: it "
                f"was computed from others ({self._node!r}). Write t.detach()."
            )
        return _restored, (type(self), self._value, self.requires_grad)

    def __copy__(self) -> Tensor:
        restored, args = self.__reduce__()
        # the array is shared: nobody writes into it
        copied: Tensor = restored(*args)
        if self._node is not None and self.grad is not None:
            copied.grad = self.grad.detach()
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        memo[id(self)] = copied = self.__copy__()
        return copied

    # ----------------------------------------------------------------------- in place

    def __setitem__(self, key: Any, value: Any) -> None:
        raise MutationError(
            f"a tensor, {aval_of(self)}, cannot be written into: t[i] = v would change "
            "values that derivatives may still need. Write t = fnp.at(t)[i].set(v) "
            "with import funcad.numpy as fnp (and .add, .multiply for t[i] += v), or "
            "t.data = fnp.at(t.detach())[i].set(v) to update a parameter."
        )

    def _check_update(self, what: str) -> None:
        if self._node is not None and self.is_leaf and recording.get(True):
            raise MutationError(
                f"{what}: this tensor, {aval_of(self)}, is a leaf that requires a "
                "gradient, and recording the change would make it a result. Write "
                "u = t + v for a new value, and put updates of parameters under "
                "with no_grad():."
            )

    def _updated(self, what: str, result: Any) -> Tensor:
        """Take the place of the result of an operation in place."""
        if result is NotImplemented:
            return result
        self._check_update(what)
        if result.shape != self.shape:
            raise MutationError(
                f"{what}: the result has shape {result.shape} and the tensor has shape "
                f"{self.shape}, which an operation in place cannot change. Write "
                "t = t + u."
            )
        if result.dtype != self.dtype:
            if not np.can_cast(result.dtype, self.dtype, "same_kind"):
                raise MutationError(
                    f"{what}: the result is {aval_of(result)} and the tensor is "
                    f"{aval_of(self)}, whose dtype an operation in place cannot "
                    "change. Write t = t + u."
                )
            result = result.astype(self.dtype)
        reference = getattr(self, "_source", None)
        source = None if reference is None else reference()
        if source is not None:
            if source._value is not self._value:
                raise MutationError(
                    f"{what}: this is the .data of a tensor, {aval_of(self)}, that has "
                    "been given another value since. Write t.data anew."
                )
            source._value = result._value
        self._value = result._value
        if recording.get(True):
            before, self._node = self._node, result._node
            retains = before is not None and before.extras and before.extras.retains
            if retains and self._node is not None:
                self.retain_grad()
        return self


_hook_numbers = itertools.count()


class RemovableHook:
    """A hook that can be taken away again."""

    __slots__ = ("_hooks", "_key")

    def __init__(
        self, hooks: dict[int, Callable[[Any], Any]], hook: Callable[[Any], Any]
    ) -> None:
        self._hooks = hooks
        # never that of another hook, also after removals
        self._key = next(_hook_numbers)
        hooks[self._key] = hook

    def remove(self) -> None:
        """Do not call the hook any more; a second time does nothing."""
        self._hooks.pop(self._key, None)


_new_tensor = object.__new__


def attach(value: Array, node: Node | None) -> Tensor:
    """A tensor of a value that nobody writes into, at its place in the graph."""
    tensor = _new_tensor(Tensor)
    tensor._value = value
    tensor._node = node
    return tensor


def immutable(x: Any) -> Any:
    """A value that stays as it is, whatever its owner does: a copy, if need be."""
    if isinstance(x, (np.generic, *PYTHON_SCALARS)):
        return x
    if type(x) is np.ndarray and x.base is None and not x.flags.writeable:
        return x
    return x.copy()


def as_tensor(x: Any, what: str) -> Tensor:
    """A tensor as it is, and one of a copy of anything else, which messages call so."""
    return x if isinstance(x, Tensor) else attach(_owned(x, None, what), None)


def _owned(x: Any, dtype: Any, what: str) -> Array:
    """A copy of what a tensor is made of."""
    if isinstance(x, Tensor):
        x = x._value
    held = next((v for v in tree.leaves(x) if isinstance(v, Tracer)), None)
    if held is not None:
        kind = (
            "a list of tensors would lose their gradients. Write np.stack([t, u])"
            if isinstance(held, Tensor)
            else "a value that a transform (grad, vmap, jit, ...) is computing with "
            "cannot be recorded by a tape. Make tensors outside of the transformed "
            "function, and use plain functions of arrays inside"
        )
        raise DerivativeLossError(
            f"{what} is or holds {type(held).__name__} "
            f"{ShapedArray(held.shape, held.dtype)}: {kind}."
        )
    xp = namespace(x)
    array = xp.array(x, dtype=dtype)
    if array.dtype.kind not in "biufc":
        raise LeafTypeError(
            f"{what} is {x!r} of type {type(x).__name__}, which makes an array of "
            f"dtype {array.dtype} and not of numbers."
        )
    # a scalar costs NumPy less than an array of no dimension
    return array[()] if xp is np and array.shape == () else array


def _exposed(value: Array) -> Array:
    if isinstance(value, np.generic):
        return value
    if type(value) is not np.ndarray:
        return value.copy()
    value = value.view()
    value.flags.writeable = False
    return value


def _restored(kind: type[Tensor], value: Array, requires_grad: bool) -> Tensor:
    tensor = kind.__new__(kind)
    tensor._value = value[()] if value.shape == () else value
    tensor._node = None
    tensor.requires_grad = requires_grad
    return tensor


def _check_aval(tensor: Tensor, value: Any, what: str, error: type[Exception]) -> None:
    if value.shape != tensor.shape or value.dtype != tensor.dtype:
        raise error(
            f"{what}: the tensor is {aval_of(tensor)} and the value given is "
            f"{aval_of(value)}; shapes and dtypes must be equal. Write "
            "value.astype(t.dtype), or reshape it."
        )


# -------------------------------------------------------------- methods and operators


def _in_place(symbol: str, method: str) -> Callable[[Tensor, Any], Any]:
    operation = getattr(Tensor, method)

    def update(self: Tensor, other: Any) -> Any:
        return self._updated(f"t {symbol}= u", operation(self, other))

    return update


for _symbol, _name in {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "truediv",
    "//": "floordiv",
    "%": "mod",
    "**": "pow",
    "@": "matmul",
    "&": "and",
    "|": "or",
    "^": "xor",
}.items():
    _update = _in_place(_symbol, f"__{_name}__")
    setattr(Tensor, f"__i{_name}__", _update)


def _updating(method: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The method of that name of an operator, which refuses what is no operand."""
    update = getattr(Tensor, method)

    def updated(self: Tensor, other: Any) -> Any:
        result = update(self, other)
        return function(self, other) if result is NotImplemented else result

    return updated


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: function(self, *args, **kwargs)


for _name in (
    *("exp", "expm1", "log", "log1p", "sqrt", "square", "sign", "abs", "sin", "cos"),
    *("tan", "sinh", "cosh", "tanh", "matmul", "maximum", "minimum", "pow"),
):
    setattr(Tensor, _name, _method(getattr(fnp, _name)))


def _network_function(name: str) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        from funcad import nn

        return getattr(nn, name)(self, *args, **kwargs)

    return method


for _name in ("relu", "sigmoid", "softmax", "log_softmax", "logsumexp"):
    setattr(Tensor, _name, _network_function(_name))


def _along(name: str) -> Callable[..., Any]:
    """A method along axes, which PyTorch's users call by ``dim`` and ``keepdim``."""
    method = getattr(Tensor, name)

    def along(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 2 and isinstance(args[1], bool):
            kwargs["keepdim"] = args[1]
            args = args[:1]
        for own, numpys in (("dim", "axis"), ("keepdim", "keepdims")):
            if own in kwargs:
                if numpys in kwargs:
                    raise TypeError(
                        f"{name}() takes {own}= or {numpys}=, which mean the same, and "
                        "was given both."
                    )
                kwargs[numpys] = kwargs.pop(own)
        return method(self, *args, **kwargs)

    return along


for _name in (
    *("sum", "mean", "prod", "argmax", "argmin", "cumsum", "cumprod"),
    *("softmax", "log_softmax", "logsumexp", "all", "any", "squeeze", "argsort"),
):
    setattr(Tensor, _name, _along(_name))


def _not_along(name: str, instead: str) -> Callable[..., Any]:
    """A method of NumPy's that PyTorch's users expect other results of."""
    method = getattr(Tensor, name)

    def along(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        if "dim" in kwargs or "keepdim" in kwargs:
            raise TypeError(
                f"{name}() of a tensor is NumPy's and takes axis= and keepdims=, not "
                f"dim= and keepdim=: {instead}"
            )
        return method(self, *args, **kwargs)

    return along


for _name in ("max", "min"):
    _instead = (
        f"PyTorch's gives a pair then, with positions. Write t.{_name}(axis=0) for the "
        f"values, and t.arg{_name}(dim=0) for the positions."
    )
    setattr(Tensor, _name, _not_along(_name, _instead))
for _name in ("std", "var"):
    _instead = (
        f"PyTorch's divides by n - 1, and this by n. Write t.{_name}(axis=0, ddof=1), "
        f"or t.{_name}(axis=0) to divide by n."
    )
    setattr(Tensor, _name, _not_along(_name, _instead))


def _view(self: Tensor, *shape: Any) -> Any:
    if len(shape) == 1 and not isinstance(shape[0], (int, tuple, list)):
        return Tracer.view(self, *shape)  # type: ignore[attr-defined]
    return fnp.reshape(self, shape[0] if len(shape) == 1 else shape)


def _transposed(self: Tensor, *axes: Any, **dims: Any) -> Any:
    """PyTorch's meaning of two axes, and NumPy's of all other arguments."""
    if dims or (len(axes) == 2 and all(isinstance(i, (int, np.integer)) for i in axes)):
        return _swapped(self, *axes, **dims)
    return Tracer.transpose(self, *axes)  # type: ignore[attr-defined]


def _swapped(self: Any, dim0: int, dim1: int) -> Any:
    return fnp.swapaxes(self, dim0, dim1)


def _t(self: Tensor) -> Any:
    if len(self.shape) > 2:
        raise ValueError(
            f"t() is the transpose of a matrix, and this tensor is {aval_of(self)}. "
            "Write t.transpose(dim0, dim1)."
        )
    return fnp.transpose(self)


def _flattened(
    self: Tensor, start_dim: Any = 0, end_dim: int = -1, order: str | None = None
) -> Any:
    """PyTorch's meaning of numbers, and NumPy's of an order."""
    if isinstance(start_dim, str) or order is not None:
        return Tracer.flatten(self, order or start_dim)  # type: ignore[attr-defined]
    shape = self.shape or (1,)
    first = np.lib.array_utils.normalize_axis_index(start_dim, len(shape))
    last = np.lib.array_utils.normalize_axis_index(end_dim, len(shape))
    if first > last:
        raise ValueError(
            f"flatten: start_dim={start_dim} comes after end_dim={end_dim} in a tensor "
            f"of shape {self.shape}."
        )
    length = math.prod(shape[first : last + 1])
    return fnp.reshape(self, (*shape[:first], length, *shape[last + 1 :]))


def _permuted(self: Tensor, *axes: Any) -> Any:
    return fnp.permute_dims(self, _unpacked(axes))


def _expanded(self: Tensor, *sizes: Any) -> Any:
    shape = _unpacked(sizes)
    own = (-1,) * (len(shape) - len(self.shape)) + self.shape
    kept = [n if size == -1 else size for size, n in zip(shape, own)]
    return fnp.broadcast_to(self, tuple(kept))


def _unpacked(entries: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments that are given one by one or as one tuple."""
    one = len(entries) == 1 and isinstance(entries[0], (tuple, list))
    return tuple(entries[0]) if one else entries


for _name, _function in {
    "view": _view,
    "transpose": _transposed,
    "flatten": _flattened,
    "expand": _expanded,
    "permute": _permuted,
    "unsqueeze": lambda self, dim: fnp.expand_dims(self, dim),
    "t": _t,
    "clone": fnp.copy,
    "contiguous": lambda self: self,
    "clamp": lambda self, min=None, max=None: fnp.clip(self, min, max),
    "neg": fnp.negative,
    "add": fnp.add,
    "sub": fnp.subtract,
    "mul": fnp.multiply,
    "div": fnp.divide,
    "add_": _updating("__iadd__", fnp.add),
    "sub_": _updating("__isub__", fnp.subtract),
    "mul_": _updating("__imul__", fnp.multiply),
    "div_": _updating("__itruediv__", fnp.divide),
    "zero_": lambda self: self.fill_(0),
    "fill_": lambda self, value: self.copy_(fnp.full_like(self.detach(), value)),
    "dim": lambda self: self.ndim,
    "numel": lambda self: self.size,
}.items():
    if getattr(_function, "__module__", None) == __name__:
        # what Python calls it, where it is given too many arguments or too few
        _function.__name__ = _function.__qualname__ = _name
    setattr(Tensor, _name, _method(_function))
