"""Tracers, traces and ``bind``: how an operation finds the transform that handles it.

A transform runs the user's function on *tracers*, stand-ins for arrays.  Every
operation on them ends in :func:`bind`, which hands it to the trace of the highest
level among its operands, or, where there is no tracer, to the array library.  The
trace unwraps its own tracers, binds again on what was inside (which may be tracers of
an outer transform), applies its rule and wraps the result.

Levels come from one counter that only ever grows: a transform that starts inside
another has the higher level, whichever thread it runs in, and an exception leaves no
state behind that would have to be restored.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from funcad.backends import backend_of
from funcad.core.errors import (
    EscapedTracerError,
    FuncadError,
    LeafTypeError,
    MissingRuleError,
    MixedBackendsError,
    ProgramError,
    RegistrationError,
    UnsupportedFunctionError,
)

Array = Any  # a NumPy or CuPy array, a scalar, or a tracer that stands for one
Params = dict[str, Any]

LOWEST_LEVEL = 2
"""Below every transform: the level of tracers that outlive the calls they are made in.

The level below it is for the tangents of what these tracers hold.
"""

_levels = itertools.count(LOWEST_LEVEL + 1)
PYTHON_SCALARS = (bool, int, float, complex)


class ShapedArray(NamedTuple):
    """Shape and dtype of a value that is not there (an *aval*)."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


def shape_of(x: Array) -> tuple[int, ...]:
    """Shape of an array, tracer or Python scalar."""
    try:
        return x.shape  # type: ignore[no-any-return]
    except AttributeError:
        return np.shape(x)


def dtype_of(x: Array) -> np.dtype[Any]:
    """Dtype of an array, tracer or Python scalar (``float64`` for a Python float)."""
    try:
        return x.dtype  # type: ignore[no-any-return]
    except AttributeError:
        if not isinstance(x, PYTHON_SCALARS):
            raise LeafTypeError(
                f"{x!r} of type {type(x).__name__} is no array and no number. Write "
                "np.array(...) around it."
            ) from None
        return np.result_type(x)


def aval_of(x: Array) -> ShapedArray:
    """Shape and dtype of a value, whatever holds it."""
    return ShapedArray(shape_of(x), dtype_of(x))


def array_type_of(values: Sequence[Any]) -> type:
    """Type of the first array among values, looking through tracers; else NumPy's."""
    types = [getattr(x, "array_type", type(x)) for x in values]
    return next((t for t in types if hasattr(t, "__array_function__")), np.ndarray)


class Operand(NamedTuple):
    """An operand of an equation as compiled programs see it."""

    text: str
    """The expression that stands for it in the source."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    weak: type | None = None
    """The type of a Python number."""


class Trace:
    """One running transform: what it does with an operation on its tracers."""

    __slots__ = ("alive", "level")
    computes_at_once = False
    """Whether a function that it is given runs on its tracers now, on values if there
    are any; otherwise the call is written down for later."""

    def __init__(self) -> None:
        self.level = next(_levels)
        self.alive = True

    def process(
        self, primitive: Primitive, args: Sequence[Array], params: Params
    ) -> Any:
        """Apply ``primitive`` to ``args``, at least one of which is this trace's."""
        raise NotImplementedError


class Tracer:
    """A stand-in for an array inside a transform.

    ``funcad.numpy`` installs the operators and methods of a NumPy array on this class.
    """

    __slots__ = ("_trace",)
    _trace: Trace
    weak: type | None = None
    """Type of the Python number that this tracer stands for, if it is for one."""

    @property
    def keeps_lines(self) -> bool:
        """Whether the transform wants to know the user's line of every operation."""
        return False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array that this tracer stands for."""
        raise NotImplementedError

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the array that this tracer stands for."""
        raise NotImplementedError

    @property
    def array_type(self) -> type:
        """Type of the array underneath, which chooses where operations run."""
        raise NotImplementedError

    def concrete(self, purpose: str) -> Array:
        """Value of the array, for control flow; raises where there is none."""
        raise NotImplementedError


class Primitive:
    """One operation and all that is known of it.

    Parameters
    ----------
    name : str
        What programs print.
    impl : callable
        ``impl(*arrays, **params)``, on the arrays of any backend.
    abstract : callable or None
        ``abstract(*operands, **params) -> (shape, dtype)`` from operands' shapes and
        dtypes alone (a list of such pairs where there are several results); ``None``
        where the parameters ``shape`` and ``dtype`` say it already.
    jvp : callable, optional
        ``jvp(ans, primals, tangents, params)``, the tangent of the result; ``None``
        stands for a zero tangent, given and returned.  Without it the operation has
        derivative zero.
    transpose : callable, optional
        ``transpose(ct, args, params)``, a cotangent (or ``None``) for each operand;
        operands in which the operation is to be transposed are ``Var``.  A primitive
        of several results finds ``outputs`` in ``params``, and may empty ``args`` of
        the values that it is done with.
    batch : callable, optional
        ``batch(values, axes, params) -> (result, axis)``, where ``axes`` holds the
        batch axis of each operand or ``None``.
    dual : callable, optional
        ``dual(primals, tangents, params) -> (ans, tangents)``, in place of the
        implementation and ``jvp``, where value and tangent are one computation: that
        of a primitive whose parameters hold a program or a function.
    code : callable, optional
        ``code(operands, params, out)``, the Python expression over ``np`` that
        compiled programs compute the result by; ``operands`` are
        :class:`~funcad.core.tracing.Operand`, an expression and its aval each.  Given
        the name of an array ``out``, it writes the result (the first of several)
        there, or is ``None`` if it cannot.  Without a rule, compiled programs call the
        implementation.
    simplify : callable, optional
        ``simplify(inputs, params, definition)``: an input or a value that is equal to
        the result (a list of them, where it is ``multiple``), or ``(primitive, inputs,
        params)`` of a simpler equation, whose inputs may be such tuples, or ``None``;
        ``definition(x)`` is the equation that computed an input, if any.  A value whose
        shape or dtype is not the result's is not put in its place, so a rule need not
        compare them.
    flops : callable, optional
        ``flops(inputs, outputs, params)``, floating-point operations from avals;
        see :mod:`funcad.core.counting`.
    traffic : callable, optional
        ``traffic(inputs, outputs, params)``, bytes read and bytes written from avals,
        where these are not simply those of all operands and results.
    body : callable, optional
        ``body(params)``, the program that this primitive is nothing but a call of.
    blocks : callable, optional
        ``blocks(shapes, params, lead)``, the parameters with which it works on blocks
        of operands whose first ``lead`` axes have been made one, if rows of that axis
        depend on the operands' same rows alone; else ``None``.
    parts : callable, optional
        ``parts(axes, shapes, params, count)``: how it works on one of ``count`` equal
        parts of its operands, see ``funcad/primitives/parts.py``.
    view : str, optional
        When the result is a view of the first operand: "always", where that is
        "contiguous", or where it has the "same dtype"; otherwise it may be one.
    definition : str, optional
        Source of a function of this name over ``np`` alone, with the implementation's
        parameters: what an exported module defines where there is no ``code``.
    multiple : bool
        Whether the results come as a tuple.
    opaque : bool
        Whether compiling leaves its equations as they are, so that two equal ones stay
        two and one of constants is not computed beforehand: a barrier, or a call of
        the user's own code.
    registered : bool
        Whether programs may be given it by name; what compiling alone makes is not.

    Raises
    ------
    RegistrationError
        If there is another primitive of that name, or if a rule is no function.

    See Also
    --------
    funcad.extend : constructors that write most rules themselves.
    funcad.testing.check_primitive : checks the rules against each other.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.extend import Primitive
    >>> cube = Primitive(
    ...     "cube",
    ...     lambda x: x**3,
    ...     lambda x: (x.shape, x.dtype),
    ...     jvp=lambda ans, xs, tangents, params: 3 * xs[0] ** 2 * tangents[0],
    ...     batch=lambda values, axes: (cube(values[0]), axes[0]),
    ... )
    >>> float(funcad.grad(cube)(2.0))
    12.0
    """

    __slots__ = (
        "abstract",
        "batch",
        "blocks",
        "body",
        "code",
        "definition",
        "dual",
        "family",
        "flops",
        "impl",
        "jvp",
        "multiple",
        "name",
        "opaque",
        "parts",
        "simplify",
        "traffic",
        "transpose",
        "view",
    )

    def __init__(
        self,
        name: str,
        impl: Callable[..., Any],
        abstract: Callable[..., Any] | None,
        *,
        jvp: Callable[..., Any] | None = None,
        transpose: Callable[..., Any] | None = None,
        batch: Callable[..., Any] | None = None,
        dual: Callable[..., Any] | None = None,
        code: Callable[..., Any] | None = None,
        simplify: Callable[..., Any] | None = None,
        flops: Callable[..., Any] | None = None,
        traffic: Callable[..., Any] | None = None,
        body: Callable[..., Any] | None = None,
        blocks: Callable[..., Any] | None = None,
        parts: Callable[..., Any] | None = None,
        definition: str | None = None,
        view: str = "",
        multiple: bool = False,
        opaque: bool = False,
        family: str = "",
        registered: bool = True,
    ) -> None:
        self.name = name
        self.impl = impl
        self.abstract = abstract
        self.jvp = jvp
        self.transpose = transpose
        self.batch = batch
        self.dual = dual
        self.code = code
        self.simplify = simplify
        self.flops = flops
        self.traffic = traffic
        self.body = body
        self.blocks = blocks
        self.parts = parts
        self.definition = definition
        self.view = view
        self.multiple = multiple
        self.opaque = opaque
        self.family = family
        if registered:
            _register(self)

    def __call__(self, *args: Array, **params: Any) -> Any:
        return bind(self, args, params)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return primitive_called, (self.name,)


registry: dict[str, Primitive] = {}

_RULES = (
    *("impl", "abstract", "jvp", "transpose", "batch"),
    *("dual", "code", "simplify", "flops", "body", "parts"),
)


def _register(primitive: Primitive) -> None:
    """Make a primitive known by its name, which no other one may have.

    A module that is loaded again, or a cell that is run again, defines its primitives
    again: one of the same name whose implementation has the same place replaces the
    first.
    """
    name = primitive.name
    if not isinstance(name, str) or not name.isidentifier():
        raise RegistrationError(
            f"A primitive has a name that programs print, an identifier, not {name!r}."
        )
    for rule in _RULES:
        value = getattr(primitive, rule)
        if not (callable(value) or (value is None and rule != "impl")):
            raise RegistrationError(
                f"The rule {rule} of the primitive {name} is a function, not {value!r} "
                f"of type {type(value).__name__}."
            )
    known = registry.get(name)
    if known is not None and _origin(known.impl) != _origin(primitive.impl):
        raise RegistrationError(
            f"There is a primitive {name} already, implemented by "
            f"{_place(known.impl)}, and programs are saved and loaded by the names of "
            f"primitives. Give the one that {_place(primitive.impl)} implements "
            "another name."
        )
    registry[name] = primitive


def _origin(f: Any) -> Any:
    while isinstance(f, functools.partial):
        f = f.func
    qualname = getattr(f, "__qualname__", None)
    # NumPy's ufuncs say neither, but there is one of each
    return f if qualname is None else (getattr(f, "__module__", None), qualname)


def _place(f: Any) -> str:
    origin = _origin(f)
    return ".".join(map(str, origin)) if isinstance(origin, tuple) else repr(origin)


def primitive_called(name: str) -> Primitive:
    """The primitive of that name; funcad's own are imported if it is not there yet."""
    if name not in registry:
        for package in ("funcad.primitives", "funcad.transforms"):
            path = importlib.import_module(package).__path__
            for module in pkgutil.iter_modules(path, f"{package}."):
                importlib.import_module(module.name)
    if name not in registry:
        raise ProgramError(
            f"there is no primitive called {name!r}. If it is not one of funcad's own, "
            "import the module that defines it first."
        )
    return registry[name]


def bind(primitive: Primitive, args: Sequence[Array], params: Params) -> Any:
    """Apply a primitive to arrays and tracers: the one door of every operation."""
    top = None
    level = 0
    for arg in args:
        if isinstance(arg, Tracer):
            trace = arg._trace
            if trace.level > level:
                top = trace
                level = trace.level
    if top is None:
        try:
            return primitive.impl(*args, **params)
        except Exception as error:
            return recover(error, primitive, args, params)
    if not top.alive:
        raise_escaped(primitive.name)
    return top.process(primitive, args, params)


def recover(
    error: Exception, primitive: Primitive, args: Sequence[Array], params: Params
) -> Any:
    """Second try of an implementation that failed, or the error explained.

    NumPy's functions take Python numbers for arrays; an implementation that calls
    methods of its operands needs them made into arrays first.
    """
    if not isinstance(primitive, Primitive):
        raise TypeError(
            f"bind takes a Primitive and was given {primitive!r} of type "
            f"{type(primitive).__name__}. Those that are registered are found by name "
            "in funcad.extend.primitives."
        ) from error
    numbers = [type(a) in PYTHON_SCALARS for a in args]
    if isinstance(error, AttributeError) and any(numbers):
        args = [np.asarray(a) if n else a for a, n in zip(args, numbers)]
        return primitive.impl(*args, **params)
    raise_explained(error, primitive.name, args)


def raise_escaped(doing: str) -> NoReturn:
    """Refuse a tracer whose transform has ended."""
    raise EscapedTracerError(
        f"{doing}: an operand is a tracer that escaped: the transform (grad, vmap, "
        "...) that made it has already returned. It was probably stored in a global, "
        "an attribute or a list. Return the value from the transformed function "
        "instead, or store funcad.stop_gradient(x) or x.item()."
    )


def raise_explained(error: Exception, name: str, args: Sequence[Array]) -> NoReturn:
    """Re-raise what an implementation raised, explained where funcad knows better."""
    if isinstance(error, FuncadError):
        raise error
    arrays = [a for a in args if hasattr(a, "dtype") and not isinstance(a, np.generic)]
    if len({backend_of(a).name for a in arrays}) > 1:
        kinds = ", ".join(f"{backend_of(a).name} {aval_of(a)}" for a in arrays)
        raise MixedBackendsError(
            f"{name}: its operands are arrays of different libraries: {kinds}. Nothing "
            "moves between host and device by itself: write "
            'funcad.device_put(x, "gpu") or funcad.device_put(x, "cpu") on one of them.'
        ) from error
    if isinstance(error, (NotImplementedError, AttributeError)) and any(
        backend_of(a).name != "numpy" for a in arrays
    ):
        raise UnsupportedFunctionError(
            f"{name}: {backend_of(*arrays).name} cannot do this: {error}"
        ) from error
    raise error


def raise_missing(primitive: Primitive, rule: str, transform: str) -> NoReturn:
    """Refuse a primitive that has no rule for a transform."""
    raise MissingRuleError(
        f"{primitive.name} has no {rule} rule, so {transform} cannot go through it. "
        f"Give the primitive a {rule} rule, or keep the call outside what is "
        "transformed (funcad.stop_gradient on its operands where its derivative is "
        "not wanted)."
    )
