"""Operations of the user's own, with a ``forward`` and a ``backward``."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from funcad.backends import namespace
from funcad.core.errors import CustomRuleError, UnsupportedFunctionError
from funcad.core.tracing import Tracer, aval_of
from funcad.tape.nodes import Node, Walk, attached_results, raise_freed
from funcad.tape.recording import no_grad, recording
from funcad.tape.tensor import Tensor, as_tensor, attach


class Context:
    """What a `Function` keeps from its ``forward`` for its ``backward``.

    Any attribute may be set on it; tensors go through ``save_for_backward``, which
    gives them back as values of the graph where the gradient is itself recorded.

    Attributes
    ----------
    needs_input_grad : tuple of bool
        For each argument, whether its gradient is wanted.
    """

    needs_input_grad: tuple[bool, ...] = ()
    _saved: Sequence[Any] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep arguments, results or other tensors for ``backward``."""
        for i, x in enumerate(tensors):
            if x is not None and not isinstance(x, Tensor):
                raise TypeError(
                    f"save_for_backward takes tensors, and the one numbered {i} is of "
                    f"type {type(x).__name__}. Set other things as attributes, as in "
                    "ctx.shape = x.shape."
                )
        self._saved = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What was given to ``save_for_backward``."""
        return tuple(self._saved)


class Function:
    """An operation with a derivative of the user's own.

    Subclasses have two static methods: ``forward(ctx, *args)``, which is given the
    arguments of `apply` and computes the result, or a tuple of results, without being
    recorded; and ``backward(ctx, *gradients)``, which is given a gradient for each
    result and returns one for each argument of ``forward`` (``None`` for no gradient).

    Examples
    --------
    >>> from funcad import tape
    >>> class Cube(tape.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...
    ...     @staticmethod
    ...     def backward(ctx, gradient):
    ...         (x,) = ctx.saved_tensors
    ...         return 3 * x * x * gradient
    >>> x = tape.Tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    Tensor(12.0)
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        """Compute the result; to be written by subclasses."""
        raise NotImplementedError("a Function needs a static method forward(ctx, ...).")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Compute the gradients; to be written by subclasses."""
        raise NotImplementedError(
            "a Function needs a static method backward(ctx, ...) to be differentiated."
        )

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Call ``forward``, and record that ``backward`` belongs to it.

        Parameters
        ----------
        *args : Tensor or anything else
            Given to ``forward`` as they are.

        Returns
        -------
        Tensor or tuple of Tensor
            What ``forward`` returned.

        Raises
        ------
        UnsupportedFunctionError
            If an argument is a value that a transform is computing with.
        CustomRuleError
            If the result is no tensor or array.
        """
        for x in args:
            if isinstance(x, Tracer) and not isinstance(x, Tensor):
                raise UnsupportedFunctionError(
                    f"{cls.__name__}.apply is given a {type(x).__name__} "
                    f"{aval_of(x)}, a value that a transform is computing with, and "
                    "the transforms do not know the backward of a tape's Function. "
                    "Write the rule with funcad.custom_vjp, which tensors go through "
                    "as well."
                )
        parents = tuple([x._node if isinstance(x, Tensor) else None for x in args])
        ctx = Context()
        ctx.needs_input_grad = tuple([node is not None for node in parents])
        with no_grad():
            out = cls.forward(ctx, *args)
        outs = out if isinstance(out, tuple) else (out,)
        results = [_result(x, cls, parents) for x in outs]
        if not any(parents) or not recording.get(True):
            return tuple(results) if isinstance(out, tuple) else results[0]
        # a result that was saved is found again by its place, so that no record holds
        # itself; what else was saved is kept as it is now
        places = {id(x): i for i, x in enumerate(outs)}
        for x in args:
            places.pop(id(x), None)
        ctx._saved = [
            x if x is None else places.get(id(x), attach(x._value, x._node))
            for x in ctx._saved
        ]
        several = isinstance(out, tuple)
        values = [x._value for x in results]
        avals = [aval_of(x) if isinstance(x, Tensor) else None for x in args]
        node = Call(parents, (cls, ctx, values if several else values[0], avals))
        attached = attached_results(node.record[2], node, several, attach)
        return (
            tuple([x if isinstance(x, Tensor) else attach(x, None) for x in attached])
            if several
            else attached
            if isinstance(attached, Tensor)
            else attach(attached, None)
        )


class Call(Node):
    """A call of a `Function`; ``record`` holds it, its context, results and avals."""

    __slots__ = ()

    @property
    def name(self) -> str:
        return "freed" if self.record is None else self.record[0].__name__

    def pull(self, ct: Any, wanted: Sequence[bool], walk: Walk) -> Sequence[Any]:
        record = self.record
        if record is None:
            raise_freed("backward")
        function, ctx, ans, avals = record
        several = isinstance(ans, list)
        values, cts = (ans, ct) if several else ([ans], [ct])
        results = ans
        if walk.attach is not None:
            results = attached_results(ans, self, several, walk.attach)
        results = [_tensor(x) for x in (results if several else [results])]
        # a context of its own for each walk
        ctx = copy.copy(ctx)
        ctx._saved = [results[x] if type(x) is int else x for x in ctx._saved]
        out = function.backward(
            ctx,
            *[
                attach(namespace(v).zeros(v.shape, v.dtype), None)
                if c is None
                else _tensor(c)
                for v, c in zip(values, cts)
            ],
        )
        outs = tuple(out) if isinstance(out, (tuple, list)) else (out,)
        # arguments that were left to their defaults may have no gradient
        while len(outs) > len(avals) and outs[-1] is None:
            outs = outs[:-1]
        if len(outs) != len(avals):
            raise CustomRuleError(
                f"{function.__name__}.backward returned {len(outs)} gradients, and "
                f"forward takes {len(avals)} arguments. Return one for each, None "
                "where there is none."
            )
        return [
            _gradient(g, aval, i, function, walk) if w else None
            for i, (g, aval, w) in enumerate(zip(outs, avals, wanted))
        ]

    def free(self) -> None:
        self.record = None


def _tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else attach(x, None)


def _result(x: Any, cls: type, parents: Sequence[Any]) -> Tensor:
    if isinstance(x, Tensor):
        return attach(x._value, None)
    if isinstance(x, (list, dict, set)) or x is None or isinstance(x, str):
        raise CustomRuleError(
            f"{cls.__name__}.forward returned {x!r} of type {type(x).__name__}, and "
            "results are tensors or arrays, or a tuple of them."
        )
    return as_tensor(x, f"{cls.__name__}.forward: the result")


def _gradient(gradient: Any, aval: Any, i: int, function: type, walk: Walk) -> Any:
    """A gradient that ``backward`` returned, checked."""
    if gradient is None:
        return None
    what = f"{function.__name__}.backward: the gradient of argument {i}"
    gradient = as_tensor(gradient, what)
    if aval_of(gradient) != aval:
        raise CustomRuleError(
            f"{function.__name__}.backward returned {aval_of(gradient)} as the "
            f"gradient of argument {i}, which is {aval}; shapes and dtypes must be "
            "equal."
        )
    return gradient._value if walk.attach is None else gradient
