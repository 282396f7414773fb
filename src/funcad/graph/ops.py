"""The operations: each is a function of arrays, of which nodes can be made.

The function's first parameters are its operands, the others are attributes of its
nodes.  There are no rules of differentiation here: they come from the engine.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcad import nn
from funcad.backends import namespace
from funcad.core.errors import GraphError
from funcad.core.tracing import PYTHON_SCALARS, Array, Tracer, dtype_of, shape_of
from funcad.graph.nodes import Node, Op, as_nodes
from funcad.transforms.arguments import is_array

__all__ = [
    "add",
    "add_by_const",
    "broadcast",
    "div",
    "div_by_const",
    "exp",
    "expand_as",
    "greater",
    "layernorm",
    "log",
    "matmul",
    "matmul_layernorm",
    "matmul_softmax",
    "mean",
    "mul",
    "mul_by_const",
    "ones_like",
    "power",
    "rdiv_by_const",
    "relu",
    "rsub_by_const",
    "softmax",
    "sqrt",
    "sub",
    "sub_by_const",
    "sum_op",
    "transpose",
    "zeros_like",
]

Axis = int | Sequence[int] | None


class Function(Op):
    """The operation that a function of arrays is.

    ``check`` may look at a node's attributes when the node is made.
    """

    def __init__(
        self, function: Callable[..., Array], operands: int, check: Any = None
    ) -> None:
        self.name = function.__name__
        self.__doc__ = function.__doc__
        self.__signature__ = inspect.signature(function)
        self._function = function
        self._operands = operands
        self._check = check

    def __call__(self, *args: Any, **kwargs: Any) -> Node:
        try:
            bound = self.__signature__.bind(*args, **kwargs)
        except TypeError as error:
            raise GraphError(
                f"{self.name}: {error}. It is called as {self.name}"
                f"{self.__signature__.replace(return_annotation=inspect._empty)}."
            ) from None
        bound.apply_defaults()
        arguments = list(bound.arguments.items())
        operands = as_nodes(self, [x for _, x in arguments[: self._operands]])
        attrs = dict(arguments[self._operands :])
        for attribute, value in attrs.items():
            if isinstance(value, Node):
                raise GraphError(
                    f"{self.name}: {attribute} is an attribute, which is known when "
                    f"the node is made, and it was given the node {value.name}."
                    + _INSTEAD.get(attribute, "")
                )
        if self._check is not None:
            self._check(**attrs)
        return Node(self, operands, attrs)

    def compute(self, node: Node, input_values: Sequence[Array]) -> Array:
        return self._function(*input_values, **node.attrs)


_INSTEAD = {
    "constant": " Use the operation of two nodes instead: add, sub, mul, div.",
    "exponent": " Write exp(exponent * log(A)) for a power that is computed.",
}


def operation(
    operands: int, check: Callable[..., None] | None = None
) -> Callable[[Callable[..., Array]], Function]:
    """Make an operation of a function whose first parameters are operands."""
    return lambda function: Function(function, operands, check)


# ------------------------------------------------------------------------- arithmetic


@operation(2)
def add(A: Array, B: Array) -> Array:
    """Sum, ``A + B``; operands broadcast, here and below, as in NumPy.

    Parameters
    ----------
    A, B : Node, array or number

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, add
    >>> x, y = Variable("x"), Variable("y")
    >>> Evaluator([add(x, y), x + y]).run({x: np.ones(2), y: 2.0})
    [array([3., 3.]), array([3., 3.])]
    """
    return np.add(A, B)


@operation(2)
def sub(A: Array, B: Array) -> Array:
    """Difference, ``A - B``.

    Parameters
    ----------
    A, B : Node, array or number

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, sub
    >>> x, y = Variable("x"), Variable("y")
    >>> Evaluator([sub(x, y), x - y]).run({x: np.ones(2), y: 2.0})
    [array([-1., -1.]), array([-1., -1.])]
    """
    return np.subtract(A, B)


@operation(2)
def mul(A: Array, B: Array) -> Array:
    """Product of entries, ``A * B``.

    Parameters
    ----------
    A, B : Node, array or number

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, mul
    >>> x, y = Variable("x"), Variable("y")
    >>> Evaluator([mul(x, y), x * y]).run({x: np.ones(2), y: 2.0})
    [array([2., 2.]), array([2., 2.])]
    """
    return np.multiply(A, B)


@operation(2)
def div(A: Array, B: Array) -> Array:
    """Quotient, ``A / B``.

    Parameters
    ----------
    A, B : Node, array or number

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, div
    >>> x, y = Variable("x"), Variable("y")
    >>> Evaluator([div(x, y), x / y]).run({x: np.ones(2), y: 2.0})
    [array([0.5, 0.5]), array([0.5, 0.5])]
    """
    return np.true_divide(A, B)


def _check_constant(constant: Any) -> None:
    if not is_array(constant):
        raise GraphError(
            f"a constant is an array or a number, not {constant!r} of type "
            f"{type(constant).__name__}. Write np.asarray(...)."
        )


@operation(1, _check_constant)
def add_by_const(A: Array, constant: Any) -> Array:
    """Sum with a constant, a number or an array: ``A + constant``.

    Parameters
    ----------
    A : Node, array or number
    constant : number or array
        A Python number follows the dtype of ``A``.

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, add_by_const
    >>> x = Variable("x")
    >>> Evaluator([add_by_const(x, 3), x + 3]).run({x: np.array([1.0, 2.0])})
    [array([4., 5.]), array([4., 5.])]
    """
    return np.add(A, constant)


@operation(1, _check_constant)
def sub_by_const(A: Array, constant: Any) -> Array:
    """Difference to a constant, ``A - constant``.

    Parameters
    ----------
    A : Node, array or number
    constant : number or array
        A Python number follows the dtype of ``A``.

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, sub_by_const
    >>> x = Variable("x")
    >>> Evaluator([sub_by_const(x, 3), x - 3]).run({x: np.array([1.0, 2.0])})
    [array([-2., -1.]), array([-2., -1.])]
    """
    return np.subtract(A, constant)


@operation(1, _check_constant)
def rsub_by_const(A: Array, constant: Any) -> Array:
    """Difference of a constant, ``constant - A``.

    Parameters
    ----------
    A : Node, array or number
    constant : number or array
        A Python number follows the dtype of ``A``.

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, rsub_by_const
    >>> x = Variable("x")
    >>> Evaluator([rsub_by_const(x, 3), 3 - x]).run({x: np.array([1.0, 2.0])})
    [array([2., 1.]), array([2., 1.])]
    """
    return np.subtract(constant, A)


@operation(1, _check_constant)
def mul_by_const(A: Array, constant: Any) -> Array:
    """Product with a constant, ``A * constant``.

    Parameters
    ----------
    A : Node, array or number
    constant : number or array
        A Python number follows the dtype of ``A``.

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, mul_by_const
    >>> x = Variable("x")
    >>> Evaluator([mul_by_const(x, 3), x * 3]).run({x: np.array([1.0, 2.0])})
    [array([3., 6.]), array([3., 6.])]
    """
    return np.multiply(A, constant)


@operation(1, _check_constant)
def div_by_const(A: Array, constant: Any) -> Array:
    """Quotient by a constant, ``A / constant``.

    Parameters
    ----------
    A : Node, array or number
    constant : number or array
        A Python number follows the dtype of ``A``.

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, div_by_const
    >>> x = Variable("x")
    >>> Evaluator([div_by_const(x, 4), x / 4]).run({x: np.array([1.0, 2.0])})
    [array([0.25, 0.5 ]), array([0.25, 0.5 ])]
    """
    return np.true_divide(A, constant)


@operation(1, _check_constant)
def rdiv_by_const(A: Array, constant: Any) -> Array:
    """Quotient of a constant, ``constant / A``.

    Parameters
    ----------
    A : Node, array or number
    constant : number or array
        A Python number follows the dtype of ``A``.

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, rdiv_by_const
    >>> x = Variable("x")
    >>> Evaluator([rdiv_by_const(x, 4), 4 / x]).run({x: np.array([1.0, 2.0])})
    [array([4., 2.]), array([4., 2.])]
    """
    return np.true_divide(constant, A)


# --------------------------------------------------------------- functions of entries


@operation(2)
def greater(A: Array, B: Array) -> Array:
    """One where ``A`` is greater than ``B``, else zero, in the operands' dtype.

    It is a factor that switches entries on and off, and its gradient is zero.

    Parameters
    ----------
    A, B : Node, array or number

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, greater
    >>> x = Variable("x")
    >>> Evaluator([greater(x, 0), x > 0]).run({x: np.array([-1.0, 0.0, 2.0])})
    [array([0., 0., 1.]), array([0., 0., 1.])]
    """
    kinds = [x if type(x) in PYTHON_SCALARS else dtype_of(x) for x in (A, B)]
    return np.greater(A, B).astype(np.result_type(*kinds))


@operation(1)
def zeros_like(A: Array) -> Array:
    """Zeros of the shape and dtype of ``A``.

    Parameters
    ----------
    A : Node, array or number

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, zeros_like
    >>> x = Variable("x")
    >>> Evaluator([zeros_like(x)]).run({x: np.array([1.0, 2.0])})
    [array([0., 0.])]
    """
    return _filled(A, 0)


@operation(1)
def ones_like(A: Array) -> Array:
    """Ones of the shape and dtype of ``A``.

    Parameters
    ----------
    A : Node, array or number

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, ones_like
    >>> x = Variable("x")
    >>> Evaluator([ones_like(x)]).run({x: np.array([1.0, 2.0])})
    [array([1., 1.])]
    """
    return _filled(A, 1)


def _filled(A: Array, value: int) -> Array:
    """A view of one entry, which the compiler sees to be the same everywhere."""
    entry = namespace(A).asarray(value, dtype=dtype_of(A))
    return np.broadcast_to(entry, shape_of(A))


@operation(1)
def log(A: Array) -> Array:
    """Natural logarithm.

    Parameters
    ----------
    A : Node, array or number

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, log
    >>> x = Variable("x")
    >>> Evaluator([log(x)]).run({x: np.array([1.0, 10.0])})
    [array([0.        , 2.30258509])]
    """
    return np.log(A)


@operation(1)
def exp(A: Array) -> Array:
    """Exponential.

    Parameters
    ----------
    A : Node, array or number

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, exp
    >>> x = Variable("x")
    >>> Evaluator([exp(x)]).run({x: np.array([0.0, 1.0])})
    [array([1.        , 2.71828183])]
    """
    return np.exp(A)


@operation(1)
def sqrt(A: Array) -> Array:
    """Square root.

    Parameters
    ----------
    A : Node, array or number

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, sqrt
    >>> x = Variable("x")
    >>> Evaluator([sqrt(x)]).run({x: np.array([4.0, 9.0])})
    [array([2., 3.])]
    """
    return np.sqrt(A)


def _check_exponent(exponent: Any) -> None:
    if not is_array(exponent):
        raise GraphError(
            f"power: the exponent is a number, not {exponent!r} of type "
            f"{type(exponent).__name__}."
        )


@operation(1, _check_exponent)
def power(A: Array, exponent: Any) -> Array:
    """Power with a number for exponent, ``A ** exponent``.

    Parameters
    ----------
    A : Node, array or number
    exponent : number

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, power
    >>> x = Variable("x")
    >>> Evaluator([power(x, 3), x**0.5]).run({x: np.array([1.0, 4.0])})
    [array([ 1., 64.]), array([1., 2.])]
    """
    return np.power(A, exponent)


@operation(1)
def relu(A: Array) -> Array:
    """Positive part; its derivative at zero is zero.

    Parameters
    ----------
    A : Node, array or number

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, relu
    >>> x = Variable("x")
    >>> Evaluator([relu(x)]).run({x: np.array([-1.0, 2.0])})
    [array([0., 2.])]
    """
    return nn.relu(A)


# ------------------------------------------------------------------- sums and products


def _check_dim(dim: Any, keepdim: Any = False) -> None:
    entries = dim if isinstance(dim, (tuple, list)) else [dim]
    if not all(isinstance(d, (int, np.integer)) for d in entries if dim is not None):
        raise GraphError(
            f"dim is an axis or a tuple of axes, and was given as {dim!r}. Write "
            "dim=0, dim=(0, 1), or dim=None for all axes."
        )


@operation(1, _check_dim)
def sum_op(A: Array, dim: Axis = None, keepdim: bool = False) -> Array:
    """Sum over an axis or several, or over all of them.

    Parameters
    ----------
    A : Node, array or number
    dim : int, tuple of int or None, optional
        The axes; ``None`` is all of them.
    keepdim : bool, optional
        Whether axes that are summed over stay, with length 1.

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, sum_op
    >>> x = Variable("x")
    >>> Evaluator([sum_op(x, dim=1, keepdim=True)]).run({x: np.ones((2, 3))})
    [array([[3.],
            [3.]])]
    """
    return np.sum(A, axis=dim, keepdims=keepdim)


@operation(1, _check_dim)
def mean(A: Array, dim: Axis = None, keepdim: bool = False) -> Array:
    """Mean over an axis or several, or over all of them.

    Parameters
    ----------
    A : Node, array or number
    dim : int, tuple of int or None, optional
        The axes; ``None`` is all of them.
    keepdim : bool, optional
        Whether axes that are averaged over stay, with length 1.

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, mean
    >>> x = Variable("x")
    >>> Evaluator([mean(x, dim=(0, 1))]).run({x: np.eye(2)})
    [np.float64(0.5)]
    """
    return np.mean(A, axis=dim, keepdims=keepdim)


@operation(2)
def matmul(A: Array, B: Array) -> Array:
    """Matrix product, ``A @ B``, of the last two axes; the axes before are a batch.

    Parameters
    ----------
    A, B : Node, array or number

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, matmul
    >>> x, y = Variable("x"), Variable("y")
    >>> batch = np.ones((5, 2, 3))
    >>> (product,) = Evaluator([matmul(x, y)]).run({x: batch, y: np.ones((3, 4))})
    >>> product.shape
    (5, 2, 4)
    """
    return np.matmul(A, B)


# ------------------------------------------------------------------------------ shapes


@operation(2)
def expand_as(A: Array, B: Array) -> Array:
    """``A``, broadcast to the shape of ``B``.

    Parameters
    ----------
    A, B : Node, array or number

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, expand_as
    >>> x, y = Variable("x"), Variable("y")
    >>> Evaluator([expand_as(x, y)]).run({x: np.array([1.0, 2.0]), y: np.eye(2)})
    [array([[1., 2.],
            [1., 2.]])]
    """
    return np.broadcast_to(A, shape_of(B))


def _check_shape(shape: Any, attribute: str) -> tuple[int, ...]:
    if not all(isinstance(n, (int, np.integer)) and n >= 0 for n in _shape(shape)):
        raise GraphError(
            f"{attribute} is a tuple of axes' lengths, not {shape!r}. Write (2, 3)."
        )
    return _shape(shape)


def _check_shapes(input_shape: Any, target_shape: Any) -> None:
    shapes = [
        _check_shape(input_shape, "input_shape"),
        _check_shape(target_shape, "target_shape"),
    ]
    try:
        fits = np.broadcast_shapes(*shapes) == shapes[1]
    except ValueError:
        fits = False
    if not fits:
        raise GraphError(
            f"broadcast: an array of shape {shapes[0]} does not broadcast to shape "
            f"{shapes[1]}: axes are aligned at the end, and only those of length 1 are "
            "repeated."
        )


@operation(1, _check_shapes)
def broadcast(
    A: Array, input_shape: Sequence[int], target_shape: Sequence[int]
) -> Array:
    """``A``, which has the shape ``input_shape``, broadcast to ``target_shape``.

    Parameters
    ----------
    A : Node, array or number
    input_shape : tuple of int
        The shape of ``A``.
    target_shape : tuple of int
        The shape of the result.

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, broadcast
    >>> x = Variable("x")
    >>> y = broadcast(x, input_shape=(2,), target_shape=(2, 2))
    >>> Evaluator([y]).run({x: np.array([1.0, 2.0])})
    [array([[1., 2.],
            [1., 2.]])]
    """
    _check_is(shape_of(A), _shape(input_shape), "broadcast", "input_shape")
    return np.broadcast_to(A, _shape(target_shape))


def _check_axes(**axes: Any) -> None:
    for name, axis in axes.items():
        if not isinstance(axis, (int, np.integer)):
            raise GraphError(
                f"transpose: {name} is the number of an axis, not {axis!r}."
            )


@operation(1, _check_axes)
def transpose(A: Array, dim0: int, dim1: int) -> Array:
    """``A`` with two axes swapped.

    Parameters
    ----------
    A : Node, array or number
    dim0, dim1 : int
        The axes.

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, transpose
    >>> x = Variable("x")
    >>> Evaluator([transpose(x, 0, 1)]).run({x: np.array([[1.0, 2.0]])})
    [array([[1.],
            [2.]])]
    """
    return np.swapaxes(A, dim0, dim1)


# ------------------------------------------------------------------------ along an axis


@operation(1, _check_dim)
def softmax(A: Array, dim: Axis = -1) -> Array:
    """Exponentials divided by their sum over ``dim``, also of large entries.

    Parameters
    ----------
    A : Node, array or number
    dim : int, tuple of int or None, optional
        The axes over which entries sum to one; ``None`` is all of them.

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, softmax
    >>> x = Variable("x")
    >>> Evaluator([softmax(x, dim=0)]).run({x: np.array([1e4, 1e4, -1e4])})
    [array([0.5, 0.5, 0. ])]
    """
    return nn.softmax(A, axis=_axes(dim))


def _check_norm(normalized_shape: Any, eps: Any) -> None:
    if not _check_shape(normalized_shape, "normalized_shape"):
        raise GraphError(
            "normalized_shape is empty: it is the shape of the last axes, of one at "
            "least, over which the mean is taken."
        )
    if not is_array(eps):
        raise GraphError(f"eps is a number, not {eps!r} of type {type(eps).__name__}.")
    if not isinstance(eps, Tracer) and (np.iscomplexobj(eps) or not np.all(eps >= 0)):
        raise GraphError(f"eps is 0 or greater, and {eps!r} was given.")


@operation(1, _check_norm)
def layernorm(
    A: Array, normalized_shape: int | Sequence[int], eps: float = 1e-5
) -> Array:
    """Shift and scale to mean 0 and variance 1 over the last axes.

    Parameters
    ----------
    A : Node, array or number
    normalized_shape : int or tuple of int
        The shape of the last axes, over which the mean is taken.
    eps : float, optional
        Added to the variance.

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, layernorm
    >>> x = Variable("x")
    >>> Evaluator([layernorm(x, (2,))]).run({x: np.array([[1e3, -1e3]])})
    [array([[ 1., -1.]])]
    """
    return nn.layer_norm(
        A, axis=_last(shape_of(A), normalized_shape, "layernorm"), eps=eps
    )


@operation(2, _check_norm)
def matmul_layernorm(
    A: Array,
    B: Array,
    normalized_shape: int | Sequence[int],
    eps: float = 1e-5,
) -> Array:
    """Layer norm of a matrix product, in one operation.

    Parameters
    ----------
    A, B : Node, array or number
    normalized_shape : int or tuple of int
        The shape of the last axes, over which the mean is taken.
    eps : float, optional
        Added to the variance.

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, matmul_layernorm
    >>> x, y = Variable("x"), Variable("y")
    >>> normalized = matmul_layernorm(x, y, normalized_shape=(2,))
    >>> Evaluator([normalized]).run({x: np.eye(2) * 1e3, y: np.eye(2)})
    [array([[ 1., -1.],
            [-1.,  1.]])]
    """
    axes = _last(_product_shape(A, B), normalized_shape, "matmul_layernorm")
    return nn.matmul_layer_norm(A, B, axis=axes, eps=eps)


@operation(2, _check_dim)
def matmul_softmax(A: Array, B: Array, dim: Axis = -1) -> Array:
    """Softmax of a matrix product, in one operation.

    Parameters
    ----------
    A, B : Node, array or number
    dim : int, tuple of int or None, optional
        The axes over which entries sum to one; ``None`` is all of them.

    Returns
    -------
    Node

    Examples
    --------
    >>> import numpy as np
    >>> from funcad.graph import Evaluator, Variable, matmul_softmax
    >>> x, y = Variable("x"), Variable("y")
    >>> Evaluator([matmul_softmax(x, y)]).run({x: np.eye(2), y: np.ones((2, 2))})
    [array([[0.5, 0.5],
            [0.5, 0.5]])]
    """
    return nn.matmul_softmax(A, B, axis=_axes(dim))


def _product_shape(A: Array, B: Array) -> tuple[int, ...]:
    """The shape of a matrix product."""
    a, b = shape_of(A), shape_of(B)
    batch = np.broadcast_shapes(a[:-2], b[:-2])
    return (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


def _last(found: tuple[int, ...], normalized_shape: Any, name: str) -> tuple[int, ...]:
    """The last axes of a shape, which must be these."""
    shape = _shape(normalized_shape)
    _check_is(found[-len(shape) :], shape, name, "normalized_shape")
    return tuple(range(-len(shape), 0))


def _check_is(
    found: tuple[int, ...], wanted: tuple[int, ...], name: str, attribute: str
) -> None:
    if found != wanted:
        raise ValueError(
            f"{name}: {attribute} is {wanted}, and that shape is {found} in the value."
        )


def _shape(shape: Any) -> tuple[int, ...]:
    return tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)


def _axes(dim: Any) -> Any:
    return tuple(dim) if isinstance(dim, list) else dim


def _examples() -> dict[str, Any]:
    """The examples of the operations, for doctest, which looks at functions only."""
    return {name: globals()[name].__doc__ for name in __all__}


__test__ = _examples()
