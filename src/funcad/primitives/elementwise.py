"""Functions applied entry by entry, which broadcast and promote as NumPy's ufuncs do.

A declaration names the implementation and, for each operand, the partial derivative as
a function of the result and the operands.  The tangent of the result is then the sum of
the operands' tangents weighted by the partials, which is one equation of a linear
program however many operands there are: the primitive ``weighted_sum``.
"""

from __future__ import annotations

import functools
import inspect
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcad.backends import namespace
from funcad.core.counting import DIVISION, ELEMENTARY, each_result, nothing, untouched
from funcad.core.errors import RegistrationError
from funcad.core.program import Var
from funcad.core.tracing import (
    PYTHON_SCALARS,
    Array,
    Operand,
    Params,
    Primitive,
    Tracer,
    bind,
    dtype_of,
    shape_of,
)
from funcad.primitives.code import Code, arguments, builtin, call, infix, plain, ufunc
from funcad.primitives.families import one_at_a_time
from funcad.primitives.parts import entrywise_parts
from funcad.primitives.shape import (
    batches_to_front,
    broadcast_to,
    convert,
    sum_to,
)

Rule = Callable[..., Any]


def elementwise(
    name: str,
    function: Callable[..., Any],
    *partials: Rule | None,
    jvp: Rule | None = None,
    transpose: Rule | None = None,
    weight: float = 1,
    code: Code | None = None,
) -> Primitive:
    """A function applied entry by entry to operands that broadcast.

    Parameters
    ----------
    name : str
        Name of the primitive.
    function : callable
        The implementation.
    *partials : callable or None
        For each operand, one or two, ``partial(ans, *operands)``, the derivative of the
        result with respect to that operand (the Python integers 1 and -1 cost no
        multiplication), or ``None`` where it is zero.
    jvp : callable, optional
        The whole JVP rule, for functions that have no such partials.
    transpose : callable, optional
        The whole transpose rule, for functions that are linear.
    weight : float, optional
        Operations that an entry of the result counts for, in the units of
        :mod:`funcad.core.counting`.
    code : callable, optional
        What compiled programs write, where the implementation is no ufunc of NumPy's.

    Returns
    -------
    Primitive
        With the rules that follow.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from funcad.extend import elementwise
    >>> sinc_of = elementwise(
    ...     "sinc_of",
    ...     lambda x: np.sin(x) / x,
    ...     lambda ans, x: (np.cos(x) - ans) / x,
    ... )
    >>> funcad.vmap(funcad.grad(sinc_of))(np.array([np.pi / 2, np.pi]))
    array([-0.40528473, -0.31830989])
    """
    if len(partials) > 2 or not all(p is None or callable(p) for p in partials):
        raise RegistrationError(
            f"elementwise takes a function for the partial derivative in each operand, "
            f"of which there are one or two, and {name} was given {len(partials)}: "
            f"{partials}. For more operands write jvp=sum_of_jvps(...)."
        )
    count = len(partials)
    for f, wanted in (function, count), *((p, 1 + count) for p in partials):
        if f and count and not _takes(f, wanted):
            kind = "implementation" if f is function else "partial derivative"
            takes = ["x", "x, y"][count - 1]
            raise RegistrationError(
                f"elementwise: {name} was given {count} partial derivatives, so that "
                f"it has {count} operands, and the {kind} {f!r} cannot be called with "
                f"{wanted} arguments. Give one partial for each operand, called as "
                f"partial(ans, {takes})."
            )
    if any(partials):
        jvp = (_unary_jvp if len(partials) == 1 else _binary_jvp)(*partials)  # type: ignore[arg-type]
    primitive = Primitive(
        name,
        function,
        entrywise_abstract(function),
        jvp=jvp,
        transpose=transpose,
        flops=each_result(weight),
        code=code or ufunc(function),
        blocks=lambda shapes, params, lead: params,
        parts=entrywise_parts,
        family="elementwise",
    )
    primitive.batch = functools.partial(_batch, primitive)
    primitive.simplify = functools.partial(_unbroadcast, primitive)
    return primitive


def _takes(f: Any, count: int) -> bool:
    """Whether a function can be called with so many arguments, as far as it says."""
    if isinstance(f, np.ufunc):
        return f.nin == count
    code = getattr(f, "__code__", None)
    if code is None or inspect.ismethod(f):
        return True
    least = code.co_argcount - len(f.__defaults__ or ())
    most = code.co_argcount if not code.co_flags & inspect.CO_VARARGS else count
    return bool(least <= count <= most)


def _unary_jvp(partial: Rule) -> Rule:
    def jvp(ans: Array, primals: Any, tangents: Any, params: Params) -> Array:
        terms = (tangents[0], partial(ans, primals[0]))
        return bind(weighted_sum, terms, _like(ans))

    return jvp


def _binary_jvp(left: Rule | None, right: Rule | None) -> Rule:
    def jvp(ans: Array, primals: Any, tangents: Any, params: Params) -> Array | None:
        x, y = primals
        s, t = tangents
        terms: tuple[Array, ...] = ()
        if s is not None and left is not None:
            terms = (s, left(ans, x, y))
        if t is not None and right is not None:
            terms += (t, right(ans, x, y))
        if not terms:
            return None
        return bind(weighted_sum, terms, _like(ans))

    return jvp


def _like(ans: Array) -> Params:
    try:
        return {"shape": ans.shape, "dtype": ans.dtype}
    except AttributeError:  # a Python number
        return {"shape": (), "dtype": dtype_of(ans)}


def _batch(
    primitive: Primitive,
    values: Sequence[Array],
    axes: Sequence[int | None],
    **params: Any,
) -> tuple[Array, int]:
    ranks = [
        len(shape_of(v)) - (a is not None) for v, a in zip(values, axes, strict=True)
    ]
    rank = max(ranks)
    positions = {a for a in axes if a is not None}
    aligned = len(positions) == 1 and all(
        r == rank if a is not None else r == 0 for r, a in zip(ranks, axes, strict=True)
    )
    if aligned:
        return bind(primitive, values, params), positions.pop()
    values, _ = batches_to_front(values, axes, rank)
    return bind(primitive, values, params), 0


def _unbroadcast(
    primitive: Primitive, inputs: Sequence[Any], params: Params, definition: Rule
) -> Any:
    """Operands as they were before they were broadcast, where the others suffice."""
    narrow = inputs
    for i, x in enumerate(inputs):
        source = _before_broadcast(x, definition)
        # an array made of a number does not follow the others' dtype; a number does
        if source is None or type(source) in PYTHON_SCALARS:
            continue
        if getattr(source, "weak", None) is None:
            fewer = [*narrow[:i], source, *narrow[i + 1 :]]
            before, after = (
                broadcast_shapes([shape_of(v) for v in vs]) for vs in (narrow, fewer)
            )
            if before == after:
                narrow = fewer
    return None if narrow is inputs else (primitive, narrow, params)


def _before_broadcast(x: Any, definition: Rule) -> Any:
    """What an operand is a broadcast of, if it is one."""
    if type(x) is np.ndarray:
        # one entry, seen many times: what broadcasting a constant leaves
        return x.flat[0] if x.size > 1 and not any(x.strides) else None
    equation = definition(x)
    if equation is None or equation.primitive is not broadcast_to:
        return None
    return equation.inputs[0]


def entrywise_abstract(ufunc: Callable[..., Any]) -> Rule:
    """Shape rule of a function of entries, whose dtypes are found by trying it."""

    @functools.lru_cache(maxsize=1024)
    def result_dtype(kinds: tuple[Any, ...]) -> Any:
        operands = [k(1) if isinstance(k, type) else np.empty(0, k) for k in kinds]
        result = ufunc(*operands)
        return (
            type(result) if type(result) in PYTHON_SCALARS else np.asarray(result).dtype
        )

    def abstract(*operands: Any) -> tuple[tuple[int, ...], Any]:
        kinds = tuple([_kind(x) for x in operands])
        return broadcast_shapes([shape_of(x) for x in operands]), result_dtype(kinds)

    return abstract


def _kind(x: Any) -> Any:
    """Dtype of an array; type of a Python number, or of what stands for one."""
    if isinstance(x, (Tracer, Var)):
        return x.weak or x.dtype
    return x.dtype if hasattr(x, "dtype") else type(x)


def broadcast_shapes(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """NumPy's broadcasting of shapes, quick where they agree."""
    first = shapes[0]
    for shape in shapes:
        if shape != first:
            return np.broadcast_shapes(*shapes)
    return first


# --------------------------------------------------------------------- weighted sum


def _weighted_sum(*terms: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    total: Any = None
    for t, c in zip(terms[::2], terms[1::2], strict=True):
        term = t if type(c) is int and c == 1 else t * c
        total = term if total is None else total + term
    if dtype_of(total) != dtype:
        total = convert(total, dtype=dtype)
    return (
        total
        if shape_of(total) == shape
        else namespace(total).broadcast_to(total, shape)
    )


def _weighted_sum_jvp(
    ans: Array, primals: Any, tangents: Any, params: Params
) -> Array | None:
    terms: list[Array] = []
    for i, t in enumerate(tangents):
        if t is not None:
            terms += (t, primals[i ^ 1])
    return bind(weighted_sum, terms, params)


def _weighted_sum_transpose(ct: Array, args: Sequence[Any], params: Params) -> Any:
    cts: list[Array | None] = []
    pairs = iter(args)
    for t, c in zip(pairs, pairs, strict=True):
        if type(t) is Var:
            if type(c) is int:
                term = ct if c == 1 else -ct if c == -1 else ct * c
            else:
                term = ct * c
            if term.shape != t.shape or term.dtype is not t.dtype:
                term = sum_to(term, t)
            cts.append(term)
            cts.append(None)
        else:
            cts.append(None)
            cts.append(sum_to(ct * t, c) if type(c) is Var else None)
    return cts


def _weighted_sum_batch(
    values: Sequence[Array], axes: Sequence[int | None], shape: Any, dtype: Any
) -> tuple[Array, int]:
    values, size = batches_to_front(values, axes, len(shape))
    return bind(weighted_sum, values, {"shape": (size, *shape), "dtype": dtype}), 0


def _weighted_sum_code(
    operands: Sequence[Operand], params: Params, out: str | None
) -> str | None:
    terms = []
    broadcast = broadcast_shapes([x.shape for x in operands])
    dtypes = []
    for t, c in zip(operands[::2], operands[1::2], strict=True):
        if t.weak:
            return None
        dtypes += [t.dtype] + ([c.dtype] if not c.weak else [])
        terms.append(t.text if c.text == "1" else f"{t.text} * {c.text}")
        if c.weak not in (None, float, int) or (
            c.weak and t.dtype.kind not in ("fc" if c.weak is float else "fciu")
        ):
            return None
    if broadcast != params["shape"] or any(d != params["dtype"] for d in dtypes):
        return None
    if out is None:
        return " + ".join(terms)
    if len(terms) == 1:
        _, _, factor = terms[0].partition(" * ")
        return f"np.multiply({operands[0].text}, {factor or 1}, out={out})"
    return f"np.add({' + '.join(terms[:-1])}, {terms[-1]}, out={out})"


weighted_sum = Primitive(
    "weighted_sum",
    _weighted_sum,
    None,
    code=_weighted_sum_code,
    jvp=_weighted_sum_jvp,
    transpose=_weighted_sum_transpose,
    batch=_weighted_sum_batch,
    # a product and a sum for each term
    flops=lambda inputs, outputs, params: (
        (len(inputs) - 1) * each_result(1)(inputs, outputs, params)
    ),
    parts=entrywise_parts,
    family="elementwise",
)


# ------------------------------------------------------------ arithmetic, linear


def _signed(*signs: int) -> Rule:
    """Transpose of a signed sum of the operands."""

    def transpose(ct: Array, args: Sequence[Any], params: Params) -> Any:
        return [
            sum_to(ct if sign > 0 else -ct, a) if type(a) is Var else None
            for sign, a in zip(signs, args, strict=True)
        ]

    return transpose


def _inverse(y: Array) -> Array:
    """1 / y, infinite where a Python number is zero, as NumPy has it for arrays."""
    return 1 / y if type(y) not in (int, float) or y else math.copysign(math.inf, y)


# The operators, unlike the ufuncs, leave Python numbers what they are, so that these
# keep following the dtype of the arrays that they meet (NEP 50).
add = elementwise(
    "add",
    operator.add,
    lambda ans, x, y: 1,
    lambda ans, x, y: 1,
    transpose=_signed(1, 1),
    code=infix("+", "add"),
)
subtract = elementwise(
    "subtract",
    operator.sub,
    lambda ans, x, y: 1,
    lambda ans, x, y: -1,
    transpose=_signed(1, -1),
    code=infix("-", "subtract"),
)
multiply = elementwise(
    "multiply",
    operator.mul,
    lambda ans, x, y: y,
    lambda ans, x, y: x,
    transpose=one_at_a_time(
        "multiply",
        [
            lambda ct, aval, x, y: sum_to(ct * y, aval),
            lambda ct, aval, x, y: sum_to(ct * x, aval),
        ],
    ),
    code=infix("*", "multiply"),
)
divide = elementwise(
    "divide",
    operator.truediv,
    lambda ans, x, y: _inverse(y),
    lambda ans, x, y: -ans / y,
    transpose=one_at_a_time(
        "divide", [lambda ct, aval, x, y: sum_to(ct / y, aval), None]
    ),
    code=infix("/", "divide"),
)
negative = elementwise(
    "negative",
    operator.neg,
    lambda ans, x: -1,
    transpose=_signed(-1),
    code=infix("-", "negative"),
)
positive = elementwise("positive", np.positive, lambda ans, x: 1, transpose=_signed(1))


real = elementwise(
    "real",
    lambda x: namespace(x).real(x),
    jvp=lambda ans, primals, tangents, params: real(*tangents),
    transpose=lambda ct, args, params: (convert(ct, dtype=args[0].dtype),),
    code=plain("np.real({})"),
)
imag = elementwise(
    "imag",
    lambda x: namespace(x).imag(x),
    jvp=lambda ans, primals, tangents, params: imag(*tangents),
    transpose=lambda ct, args, params: (
        convert(ct * -1j if args[0].dtype.kind == "c" else ct * 0, dtype=args[0].dtype),
    ),
    code=plain("np.imag({})"),
)
conjugate = elementwise(
    "conjugate",
    np.conjugate,
    jvp=lambda ans, primals, tangents, params: conjugate(*tangents),
    transpose=lambda ct, args, params: (conjugate(ct),),
)
stop_gradient = elementwise("stop_gradient", lambda x: x, code=plain("{}"))


def _select_jvp(
    ans: Array, primals: Any, tangents: Any, params: Params
) -> Array | None:
    _, x, y = tangents
    if x is None and y is None:
        return None
    t = select(primals[0], 0.0 if x is None else x, 0.0 if y is None else y)
    if t.dtype != ans.dtype:
        t = convert(t, dtype=ans.dtype)
    return t if t.shape == ans.shape else broadcast_to(t, shape=ans.shape)


def _select_transpose(ct: Array, args: Sequence[Any], params: Params) -> Any:
    condition, x, y = args
    return (
        None,
        sum_to(select(condition, ct, 0.0), x) if type(x) is Var else None,
        sum_to(select(condition, 0.0, ct), y) if type(y) is Var else None,
    )


def _select(condition: Array, x: Array, y: Array, out: Array = None) -> Array:
    if out is None:
        return namespace(condition, x, y).where(condition, x, y)
    np.copyto(out, y)
    np.copyto(out, x, where=condition)
    return out


def _select_code(
    operands: Sequence[Operand], params: Params, out: str | None
) -> str | None:
    if out is None:
        return call("np.where")(operands, params, None)
    return call("select")(operands, params, out) if operands[0].dtype == bool else None


select = elementwise(
    "select",
    _select,
    jvp=_select_jvp,
    transpose=_select_transpose,
    code=_select_code,
)

# ------------------------------------------------------- exponentials, logarithms

_LN2, _LN10 = math.log(2), math.log(10)

exp = elementwise("exp", np.exp, lambda ans, x: ans)
exp2 = elementwise("exp2", np.exp2, lambda ans, x: ans * _LN2)
expm1 = elementwise("expm1", np.expm1, lambda ans, x: ans + 1)
log = elementwise("log", np.log, lambda ans, x: reciprocal(x))
log2 = elementwise("log2", np.log2, lambda ans, x: reciprocal(x * _LN2))
log10 = elementwise("log10", np.log10, lambda ans, x: reciprocal(x * _LN10))
log1p = elementwise("log1p", np.log1p, lambda ans, x: reciprocal(1 + x))


def _log_share(ans: Array, x: Array, y: Array, half: float) -> Array:
    """x - ans, and its limit where that is the difference of two infinities."""
    endless = isinf(ans)
    share = select(endless & (x == ans), 0.0, x - ans)
    return select(endless & (x == y), half, share)


logaddexp = elementwise(
    "logaddexp",
    np.logaddexp,
    lambda ans, x, y: exp(_log_share(ans, x, y, -_LN2)),
    lambda ans, x, y: exp(_log_share(ans, y, x, -_LN2)),
)
logaddexp2 = elementwise(
    "logaddexp2",
    np.logaddexp2,
    lambda ans, x, y: exp2(_log_share(ans, x, y, -1.0)),
    lambda ans, x, y: exp2(_log_share(ans, y, x, -1.0)),
)

# -------------------------------------------------------------------------- powers

sqrt = elementwise("sqrt", np.sqrt, lambda ans, x: 0.5 / ans)
length = elementwise(
    # of what is the square root of a sum of squares: no slope at zero, not an endless
    # one, is the middle of all that a norm has there
    "length",
    np.sqrt,
    lambda ans, x: 0.5 / select(ans == 0, math.inf, ans),
)
square = elementwise("square", np.square, lambda ans, x: 2 * x)
cbrt = elementwise("cbrt", np.cbrt, lambda ans, x: 1 / (3 * ans * ans))
reciprocal = elementwise("reciprocal", np.reciprocal, lambda ans, x: -ans * ans)


def _power_base(ans: Array, x: Array, y: Array) -> Array:
    """y x^(y-1), and zero where y is zero, also at x = 0."""
    if type(y) in (int, float, complex):
        if y == 2:
            return 2 * x
        return y * power(x, y - 1) if y else x * 0
    zero = y == 0
    return y * x ** select(zero, 1, y - 1)


def _power_exponent(ans: Array, x: Array, y: Array) -> Array:
    """log(x) x^y, and its limit zero at x = 0 for y > 0."""
    base = select(x == 0, 1, x)
    if dtype_of(base) != dtype_of(ans):  # logarithms of small integers are float16
        base = convert(base, dtype=dtype_of(ans))
    return ans * log(base)


def _power(x: Array, y: Array) -> Array:
    kind = type(x)
    if kind in PYTHON_SCALARS and type(y) in PYTHON_SCALARS:
        if not {kind, type(y)} <= {bool, int}:
            # a number as well, but infinite or NaN where Python raises or turns complex
            return np.power(x, y).item()
    return x**y


def _power_code(operands: Sequence[Operand], params: Params, out: str | None) -> str:
    kinds = {x.weak for x in operands}
    if None not in kinds and not kinds <= {bool, int}:
        return f"np.power({arguments(operands, None)}).item()"
    return infix("**", "power")(operands, params, out)  # type: ignore[return-value]


power = elementwise("power", _power, _power_base, _power_exponent, code=_power_code)
float_power = elementwise("float_power", np.float_power, _power_base, _power_exponent)


def _over(x: Array, size: Array) -> Array:
    """x / size, a cosine, and zero where the size is: the middle of all directions."""
    return x / select(size == 0, math.inf, size)


hypot = elementwise(
    "hypot", np.hypot, lambda ans, x, y: _over(x, ans), lambda ans, x, y: _over(y, ans)
)

# ---------------------------------------------------- trigonometric and hyperbolic

sin = elementwise("sin", np.sin, lambda ans, x: cos(x))
cos = elementwise("cos", np.cos, lambda ans, x: -sin(x))
tan = elementwise("tan", np.tan, lambda ans, x: 1 + ans * ans)
arcsin = elementwise("arcsin", np.arcsin, lambda ans, x: 1 / sqrt(1 - x * x))
arccos = elementwise("arccos", np.arccos, lambda ans, x: -1 / sqrt(1 - x * x))
arctan = elementwise("arctan", np.arctan, lambda ans, x: 1 / (1 + x * x))


def _angle_slope(x: Array, size: Array) -> Array:
    """x / size^2 without the square, which overflows; zero at the origin."""
    size = select(size == 0, math.inf, size)
    return x / size / size


arctan2 = elementwise(
    "arctan2",
    np.arctan2,
    lambda ans, y, x: _angle_slope(x, hypot(x, y)),
    lambda ans, y, x: -_angle_slope(y, hypot(x, y)),
)
sinh = elementwise("sinh", np.sinh, lambda ans, x: cosh(x))
cosh = elementwise("cosh", np.cosh, lambda ans, x: sinh(x))
tanh = elementwise("tanh", np.tanh, lambda ans, x: 1 - ans * ans)


def _sinc_slope(ans: Array, x: Array) -> Array:
    """Of sin(u) / u with u = pi x: (cos(u) - ans) / u, its own series near zero."""
    u = math.pi * x
    near = absolute(u) < 1
    square_of_u = u * u
    series: Any = 0.0
    for k in range(10, 0, -1):
        coefficient = (-1) ** k * 2 * k / math.factorial(2 * k + 1)
        series = series * square_of_u + coefficient
    far = (cos(u) - ans) / select(near, 1.0, u)
    return math.pi * select(near, series * u, far)


sinc = elementwise(
    "sinc", lambda x: namespace(x).sinc(x), _sinc_slope, code=plain("np.sinc({})")
)
arcsinh = elementwise("arcsinh", np.arcsinh, lambda ans, x: 1 / sqrt(x * x + 1))
arccosh = elementwise(
    "arccosh", np.arccosh, lambda ans, x: 1 / (sqrt(x - 1) * sqrt(x + 1))
)
arctanh = elementwise("arctanh", np.arctanh, lambda ans, x: reciprocal(1 - x * x))
deg2rad = elementwise("deg2rad", np.deg2rad, lambda ans, x: math.pi / 180)
rad2deg = elementwise("rad2deg", np.rad2deg, lambda ans, x: 180 / math.pi)

# ----------------------------------------------------- absolute value, extrema, signs


def _absolute_jvp(ans: Array, primals: Any, tangents: Any, params: Params) -> Array:
    (x,), (t,) = primals, tangents
    if dtype_of(x).kind != "c":
        return bind(weighted_sum, (t, sign(x)), _like(ans))
    # d|x| = Re(conj(x) dx) / |x|, and zero at the origin
    return real(t * conjugate(_over(x, ans)))


absolute = elementwise(
    "absolute", operator.abs, jvp=_absolute_jvp, code=builtin("abs", "absolute")
)
fabs = elementwise("fabs", np.fabs, lambda ans, x: sign(x))


def _share(compare: Callable[[Array, Array], Array]) -> Rule:
    """Partial of an extremum: 1 where this operand wins, 1/2 where both are equal."""

    def partial(ans: Array, x: Array, y: Array) -> Array:
        wins = convert(compare(x, y), dtype=ans.dtype)
        return wins + 0.5 * convert(x == y, dtype=ans.dtype)

    return partial


def _swapped(partial: Rule) -> Rule:
    return lambda ans, x, y: partial(ans, y, x)


_greater, _less = _share(lambda x, y: x > y), _share(lambda x, y: x < y)
maximum = elementwise("maximum", np.maximum, _greater, _swapped(_greater))
minimum = elementwise("minimum", np.minimum, _less, _swapped(_less))
_not_nan = {
    # fmax and fmin ignore a NaN, so that the other operand wins against it
    "fmax": _share(lambda x, y: (x > y) | ((y != y) & (x == x))),
    "fmin": _share(lambda x, y: (x < y) | ((y != y) & (x == x))),
}
fmax = elementwise("fmax", np.fmax, _not_nan["fmax"], _swapped(_not_nan["fmax"]))
fmin = elementwise("fmin", np.fmin, _not_nan["fmin"], _swapped(_not_nan["fmin"]))
copysign = elementwise(
    "copysign", np.copysign, lambda ans, x, y: sign(x) * copysign(1.0, y), None
)

# ------------------------------------------------------------- division with remainder

remainder = elementwise(
    "remainder",
    operator.mod,
    lambda ans, x, y: 1,
    lambda ans, x, y: -floor_divide(x, y),
    code=infix("%", "remainder"),
)
fmod = elementwise(
    "fmod", np.fmod, lambda ans, x, y: 1, lambda ans, x, y: -trunc(x / y)
)
floor_divide = elementwise(
    "floor_divide", operator.floordiv, code=infix("//", "floor_divide")
)
fraction = elementwise(
    "fraction",
    lambda x: namespace(x).modf(x)[0],
    lambda ans, x: 1,
    code=plain("np.modf({})[0]"),
)

# ------------------------------------------------------------------ mantissa, exponent


def _ldexp_jvp(ans: Array, primals: Any, tangents: Any, params: Params) -> Array:
    return ldexp(tangents[0], primals[1])


ldexp = elementwise(
    "ldexp",
    np.ldexp,
    jvp=_ldexp_jvp,
    transpose=one_at_a_time(
        "ldexp", [lambda ct, aval, x, n: sum_to(ldexp(ct, n), aval), None]
    ),
)
exponent = elementwise(
    "exponent", lambda x: namespace(x).frexp(x)[1], code=plain("np.frexp({})[1]")
)
mantissa = elementwise(
    "mantissa",
    lambda x: namespace(x).frexp(x)[0],
    jvp=lambda ans, primals, tangents, params: ldexp(*tangents, -exponent(*primals)),
    code=plain("np.frexp({})[0]"),
)

# ------------------------------------------------------ piecewise constant, discrete


def _sign_jvp(ans: Array, primals: Any, tangents: Any, params: Params) -> Array | None:
    """With u = z / |z|, du = (dz - u Re(conj(u) dz)) / |z|; zero at the origin."""
    (x,), (t,) = primals, tangents
    if dtype_of(x).kind != "c":
        return None
    size = absolute(x)
    across = t - ans * real(t * conjugate(ans))
    return across / select(size == 0, math.inf, size)


sign = elementwise("sign", np.sign, jvp=_sign_jvp)
floor = elementwise("floor", np.floor)
ceil = elementwise("ceil", np.ceil)
trunc = elementwise("trunc", np.trunc)
rint = elementwise("rint", np.rint)
heaviside = elementwise(
    "heaviside",
    np.heaviside,
    None,
    lambda ans, x, y: convert(x == 0, dtype=dtype_of(ans)),
)
nextafter = elementwise("nextafter", np.nextafter)
spacing = elementwise("spacing", np.spacing)
signbit = elementwise("signbit", np.signbit)
isnan = elementwise("isnan", np.isnan)
isinf = elementwise("isinf", np.isinf)
isfinite = elementwise("isfinite", np.isfinite)
equal = elementwise("equal", np.equal)
not_equal = elementwise("not_equal", np.not_equal)
less = elementwise("less", np.less)
less_equal = elementwise("less_equal", np.less_equal)
greater = elementwise("greater", np.greater)
greater_equal = elementwise("greater_equal", np.greater_equal)
logical_and = elementwise("logical_and", np.logical_and)
logical_or = elementwise("logical_or", np.logical_or)
logical_xor = elementwise("logical_xor", np.logical_xor)
logical_not = elementwise("logical_not", np.logical_not)
bitwise_and = elementwise("bitwise_and", np.bitwise_and)
bitwise_or = elementwise("bitwise_or", np.bitwise_or)
bitwise_xor = elementwise("bitwise_xor", np.bitwise_xor)
invert = elementwise("invert", np.invert)
left_shift = elementwise("left_shift", np.left_shift)
right_shift = elementwise("right_shift", np.right_shift)
gcd = elementwise("gcd", np.gcd)
lcm = elementwise("lcm", np.lcm)
bitwise_count = elementwise("bitwise_count", np.bitwise_count)

# ------------------------------------------------------------ what they simplify to


def also(primitive: Primitive, rule: Rule) -> None:
    """Give an elementwise primitive a rule that is tried before those that it has."""
    others = primitive.simplify

    def simplify(inputs: Sequence[Any], params: Params, definition: Rule) -> Any:
        found = rule(*inputs, definition=definition)
        return others(inputs, params, definition) if found is None else found  # type: ignore[misc]

    primitive.simplify = simplify


def _is(x: Any, number: int) -> bool:
    """Whether an operand is this number, of Python or NumPy, zero of either sign."""
    return (
        isinstance(x, (int, float, np.integer, np.floating))
        and type(x) is not bool
        and bool(x == number)
    )


def _kinds(*operands: Any) -> str:
    return "".join([dtype_of(x).kind for x in operands])


def _is_factor(c: Any) -> bool:
    """Whether it is a number of Python that is a factor, and can be negated as one."""
    return type(c) in (int, float) and c != 0


def _negated(x: Any, definition: Rule) -> Any:
    """y, where x is -y and the sign can be taken elsewhere without rounding."""
    equation = definition(x)
    if equation is None or equation.primitive is not negative:
        return None
    return equation.inputs[0] if x.dtype.kind == "f" else None


def _is_power_of_two(c: Any) -> bool:
    """Whether dividing by a Python number is multiplying by another, in any dtype."""
    return (
        type(c) in (int, float)
        and 2**-14 <= abs(c) <= 2**14
        and math.frexp(c)[0] in (0.5, -0.5)
    )


def _simpler_product(x: Any, y: Any, definition: Rule) -> Any:
    for a, c in ((x, y), (y, x)):
        if _is(c, 1) and _kinds(a) != "c":  # an infinite part times 0j is not a number
            return a
        if _is(c, -1) and type(c) is int and _kinds(a) == "f":
            return negative, (a,), {}
        if _is_factor(c) and (source := _negated(a, definition)) is not None:
            return multiply, (source, -c), {}
    left, right = _negated(x, definition), _negated(y, definition)
    if left is not None and right is not None:
        return multiply, (left, right), {}
    return None


def _simpler_quotient(x: Any, y: Any, definition: Rule) -> Any:
    if _kinds(x) != "f":
        return None
    if _is(y, 1):
        return x
    if shape_of(x) and _is_power_of_two(y):
        return multiply, (x, 1 / y), {}
    source = _negated(x, definition)
    if source is None:
        return None
    if _is_factor(y):
        return divide, (source, -y), {}
    if type(y) is Var and _kinds(y) == "f" and math.prod(y.shape) < math.prod(x.shape):
        return divide, (source, (negative, (y,), {})), {}
    return None


def _simpler_sum(x: Any, y: Any, definition: Rule) -> Any:
    for a, b in ((x, y), (y, x)):
        # -0.0 + 0.0 is 0.0, so only a sum of integers is rid of its zeros
        if _is(b, 0) and _kinds(a) in "iu":
            return a
        if (source := _negated(b, definition)) is not None:
            return subtract, (a, source), {}
    return None


def _simpler_difference(x: Any, y: Any, definition: Rule) -> Any:
    if _is(y, 0) and math.copysign(1, y) > 0:
        return x
    if (source := _negated(y, definition)) is not None:
        return add, (x, source), {}
    return None


def _simpler_negation(x: Any, definition: Rule) -> Any:
    equation = definition(x)
    if equation is None:
        return None
    if equation.primitive is negative:
        return equation.inputs[0]
    if equation.primitive is multiply and x.dtype.kind == "f":
        a, b = equation.inputs
        for v, c in ((a, b), (b, a)):
            if _is_factor(c):
                return multiply, (v, -c), {}
    return None


def _simpler_power(x: Any, y: Any, definition: Rule) -> Any:
    if type(y) not in (int, float) or _kinds(x) not in "fc" or getattr(x, "weak", None):
        return None
    if y == 1:
        return x
    by = {2: square, 0.5: sqrt, -1: reciprocal}.get(y)
    return None if by is None else (by, (x,), {})


def _simpler_conjugate(x: Any, definition: Rule) -> Any:
    if _kinds(x) != "c":
        return x
    equation = definition(x)
    if equation is None or equation.primitive is not conjugate:
        return None
    return equation.inputs[0]


def _itself(x: Any, definition: Rule) -> Any:
    return x


also(multiply, _simpler_product)
also(divide, _simpler_quotient)
also(add, _simpler_sum)
also(subtract, _simpler_difference)
also(negative, _simpler_negation)
also(power, _simpler_power)
also(conjugate, _simpler_conjugate)
also(positive, _itself)
also(stop_gradient, _itself)
also(real, lambda x, definition: x if _kinds(x) != "c" else None)


def _simpler_weighted_sum(
    inputs: Sequence[Any], params: Params, definition: Rule
) -> Any:
    """Sums and products, of which the identities above are known."""
    total: Any = None
    for t, c in zip(inputs[::2], inputs[1::2], strict=True):
        if type(c) is int and c == 1:
            term = t
        else:
            term = (multiply, (t, c), {})
        total = term if total is None else (add, (total, term), {})
    converted = (convert, (total,), {"dtype": params["dtype"]})
    return broadcast_to, (converted,), {"shape": params["shape"]}


weighted_sum.simplify = _simpler_weighted_sum

# ----------------------------------------------------------------------- what they cost

for _primitive in (stop_gradient, positive, real, imag):
    _primitive.flops = nothing
for _primitive in (stop_gradient, real, imag):
    _primitive.traffic = untouched
for _primitive in (
    *(divide, reciprocal, sqrt, length, hypot, remainder, fmod, floor_divide),
):
    _primitive.flops = each_result(DIVISION)
for _primitive in (
    *(exp, exp2, expm1, log, log2, log10, log1p, logaddexp, logaddexp2, cbrt),
    *(power, float_power, sin, cos, tan, arcsin, arccos, arctan, arctan2, sinh, cosh),
    *(tanh, sinc, arcsinh, arccosh, arctanh, gcd, lcm),
):
    _primitive.flops = each_result(ELEMENTARY)
