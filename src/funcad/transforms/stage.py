"""Staging: the Stage trace, which writes a function down without running it."""

from __future__ import annotations

import gc
import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcad.core import tree
from funcad.core.errors import (
    ArgumentError,
    ConcretizationError,
    EscapedTracerError,
    InputDtypeError,
    StaticArgumentError,
    user_line,
)
from funcad.core.program import Equation, Program, Variable, outputs_of, variable
from funcad.core.tracing import (
    PYTHON_SCALARS,
    Array,
    Params,
    Primitive,
    ShapedArray,
    Trace,
    Tracer,
    array_type_of,
    dtype_of,
    raise_escaped,
    shape_of,
)
from funcad.transforms.arguments import argument_name, check_leaves, float0, wraps
from funcad.transforms.static import integers

__all__ = ["ShapeDtypeStruct", "eval_shape", "make_program"]


class ShapeDtypeStruct:
    """What an array looks like, without the array.

    Parameters
    ----------
    shape : sequence of int
        The shape.
    dtype : dtype
        The dtype.

    Raises
    ------
    ArgumentError
        If the shape is no sequence of integers that are 0 or greater.
    InputDtypeError
        If the dtype is not that of numbers or booleans.

    Examples
    --------
    >>> import funcad
    >>> funcad.ShapeDtypeStruct((2, 3), "float32")
    ShapeDtypeStruct(shape=(2, 3), dtype=float32)
    """

    __slots__ = ("dtype", "shape")
    __array_ufunc__ = None

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        self.shape = _checked_shape(shape)
        self.dtype = _checked_dtype(dtype)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(np.prod(self.shape))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShapeDtypeStruct) and (self.shape, self.dtype) == (
            other.shape,
            other.dtype,
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        return f"ShapeDtypeStruct(shape={self.shape}, dtype={self.dtype})"


def _checked_shape(shape: Any) -> tuple[int, ...]:
    try:
        sizes = tuple([operator.index(n) for n in shape])
    except TypeError:
        sizes = (-1,)
    if any(n < 0 for n in sizes):
        raise ArgumentError(
            "ShapeDtypeStruct: shape must be a tuple of integers that are 0 or "
            f"greater, not {shape!r}. Write ShapeDtypeStruct((2, 3), float) for a "
            "matrix, () for a scalar, x.shape for the shape of an array."
        )
    return sizes


def _checked_dtype(dtype: Any) -> np.dtype[Any]:
    try:
        found: np.dtype[Any] | None = None if dtype is None else np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or (found.kind not in "fciub" and found != float0):
        raise InputDtypeError(
            "ShapeDtypeStruct: dtype must be that of numbers or booleans, not "
            f"{dtype!r}. Write float, np.float32 or the dtype of an array."
        )
    return found


class Staged(Variable):
    """A variable of the program that is being written."""

    __slots__ = ()

    @property
    def keeps_lines(self) -> bool:
        return True

    def concrete(self, purpose: str) -> Array:
        raise ConcretizationError(
            f"{purpose} of a staged value, {ShapedArray(self.shape, self.dtype)}: only "
            "its shape and dtype are known while make_program, eval_shape, jit or a "
            "loop of funcad.lax write the function down. With import funcad.numpy as "
            "fnp, write np.where(condition, a, b) or funcad.lax.cond instead of if, "
            "fnp.take(a, i) instead of a[i] of a plain array or list, "
            "fnp.array([x, y]) instead of np.array([x, y]); "
            "pass numbers that decide about control flow as static arguments or close "
            "over them."
        )


class StageTrace(Trace):
    """Writes down every operation on its tracers."""

    __slots__ = ("array_type", "equations")

    def __init__(self, array_type: type) -> None:
        super().__init__()
        self.array_type = array_type
        self.equations: list[Equation] = []

    def process(
        self, primitive: Primitive, args: Sequence[Array], params: Params
    ) -> Any:
        inputs: list[Any] = []
        for a in args:
            if isinstance(a, Tracer) and not a._trace.alive:
                raise_escaped(primitive.name)
            inputs.append(a.variable if type(a) is Staged and a._trace is self else a)
        outputs = outputs_of(primitive, args, params)
        self.equations.append(Equation(primitive, inputs, params, outputs, user_line()))
        tracers = tuple(Staged(self, var) for var in outputs)
        return tracers if primitive.multiple else tracers[0]


def _number_type(x: Any) -> type | None:
    """Type of a Python number, or of the one that a tracer stands for."""
    return type(x) if type(x) in PYTHON_SCALARS else getattr(x, "weak", None)


def make_program(
    f: Callable[..., Any],
    static_argnums: int | Sequence[int] = (),
    return_shape: bool = False,
) -> Callable[..., Any]:
    """Function that writes ``f`` down as a :class:`~funcad.core.program.Program`.

    Parameters
    ----------
    f : callable
        Function of pytrees of arrays.
    static_argnums : int or sequence of int, optional
        Positional arguments that are constants of the program; they may be anything.
    return_shape : bool, optional
        Whether to return ``(program, out)``, where ``out`` has the structure of the
        result and ``ShapeDtypeStruct`` leaves.

    Returns
    -------
    callable
        Takes the arguments of ``f``, arrays or ``ShapeDtypeStruct``, and returns the
        program, whose inputs are the leaves of the arguments in order.

    Raises
    ------
    StaticArgumentError
        If ``static_argnums`` are no integers, or there is no such argument.
    ConcretizationError
        If ``f`` branches on a value, or counts by one.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> print(funcad.make_program(lambda x: np.sum(np.sin(x)))(np.zeros(3)))
    program(a:float64[3]) {
      b:float64[3] = sin a
      c:float64[]  = reduce_sum[axis=(0,), keepdims=False] b
      return (c)
    }
    """
    return _program_maker(f, static_argnums, return_shape, "make_program")


def _program_maker(
    f: Callable[..., Any],
    static_argnums: int | Sequence[int],
    return_shape: bool,
    name: str,
    form: str = "",
) -> Callable[..., Any]:
    """`make_program` for the function of that ``name`` that the user has called."""
    static = integers(static_argnums, name)

    @wraps(f, name, form)
    def staged(*args: Any, **kwargs: Any) -> Any:
        for n in static:
            if not -len(args) <= n < len(args):
                raise StaticArgumentError(
                    f"{name} was given static_argnums={static_argnums!r}, and "
                    f"the function was called with {len(args)} positional arguments. "
                    "Pass what is static by position."
                )
        chosen = {n % len(args) for n in static}
        dynamic = [None if i in chosen else x for i, x in enumerate(args)]

        def call(dynamic_args: list[Any], kw: dict[str, Any]) -> Any:
            pairs = enumerate(zip(args, dynamic_args, strict=True))
            return f(*[x if i in chosen else traced for i, (x, traced) in pairs], **kw)

        program, out_tree, _ = stage(call, (dynamic, kwargs), name)
        if not return_shape:
            return program
        return program, tree.unflatten(out_tree, [_struct(v) for v in program.outputs])

    return staged


def eval_shape(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Shapes and dtypes of the result of a function, which is not run.

    Parameters
    ----------
    f : callable
        Function of pytrees of arrays.
    *args, **kwargs : pytree
        Its arguments, arrays or ``ShapeDtypeStruct``.

    Returns
    -------
    pytree of ShapeDtypeStruct
        With the structure of the result of ``f``.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> x = funcad.ShapeDtypeStruct((100, 200), np.float32)
    >>> funcad.eval_shape(lambda x: x @ x.T, x)
    ShapeDtypeStruct(shape=(100, 100), dtype=float32)
    """
    staged = _program_maker(f, (), True, "eval_shape", "eval_shape(f, x)")
    return staged(*args, **kwargs)[1]


def stage(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    transform: str,
    array_type: type | None = None,
) -> tuple[Program, Any, StageTrace]:
    """Program of ``f(*args)``, the structure of its result, and the trace that ended.

    ``array_type`` is that of the arrays to come, where those of ``args`` do not say it.
    """
    leaves, treedef = tree.flatten(args)
    arrays = [0 if isinstance(x, ShapeDtypeStruct) else x for x in leaves]
    check_leaves(arrays, treedef, transform, name=argument_name)
    trace = StageTrace(array_type or array_type_of(leaves))
    inputs = [variable(shape_of(x), _number_type(x) or dtype_of(x)) for x in leaves]
    try:
        result = f(*tree.unflatten(treedef, [Staged(trace, v) for v in inputs]))
        outs, out_tree = tree.flatten(result)
        check_leaves(outs, out_tree, transform, "output")
        outputs = [
            x.variable if type(x) is Staged and x._trace is trace else x for x in outs
        ]
    finally:
        trace.alive = False
    return Program(inputs, trace.equations, outputs), out_tree, trace


def refuse_kept_tracers(trace: StageTrace, name: str) -> None:
    """Refuse a function that has kept traced values, after its staging has ended.

    A later call runs the compiled program and would not keep anything.
    """
    # referred to by the caller, by this function and by the count itself
    if sys.getrefcount(trace) > 3:
        gc.collect()
    if sys.getrefcount(trace) <= 3:
        return
    kept = [x for x in gc.get_referrers(trace) if isinstance(x, Staged)]
    if not kept:
        return
    places = {type(x).__name__ for x in gc.get_referrers(*kept)} - {"frame", "list"}
    raise EscapedTracerError(
        f"jit: {name} has kept {len(kept)} traced values, the first of them "
        f"{ShapedArray(kept[0].shape, kept[0].dtype)}, after it returned"
        + (f", in a {', a '.join(sorted(places))}" if places else "")
        + ". It runs once for each signature, with values that are not there, so "
        "appending to a list, setting an attribute or a global is no way to get "
        "results out of it. Return them."
        + (
            " (A rule of custom_jvp, custom_vjp or custom_vmap that closes over a "
            "traced value keeps it, too: make the value an argument of the function.)"
            if "cell" in places
            else ""
        )
    )


def _struct(x: Any) -> ShapeDtypeStruct:
    return ShapeDtypeStruct(shape_of(x), dtype_of(x))
