"""Functions whose derivative or batched form the user gives: ``custom_jvp`` and kin."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from funcad.core import tree
from funcad.core.errors import CustomRuleError
from funcad.core.tracing import Array, Primitive
from funcad.transforms.arguments import (
    bind_arguments,
    check_leaves,
    wraps,
    zero_tangent,
)
from funcad.transforms.custom_calls import (
    call,
    custom_jvp_call,
    custom_vjp_call,
    custom_vmap_call,
    top_trace,
)
from funcad.transforms.custom_rules import (
    Arguments,
    JvpRule,
    Result,
    SymbolicZero,
    VjpRule,
    VmapRule,
)
from funcad.transforms.descriptions import line_of, located, shown

__all__ = ["SymbolicZero", "custom_jvp", "custom_vjp", "custom_vmap"]


class _Custom:
    """A function with rules of its own.

    ``primitive`` says what the rules are for, ``flat_rule`` calls them.
    """

    primitive: Primitive
    flat_rule: type[JvpRule | VjpRule | VmapRule]
    __name__: str

    def __init__(
        self, fun: Any = None, nondiff_argnums: int | Sequence[int] = ()
    ) -> None:
        transform = type(self).__name__
        if fun is None:
            raise TypeError(
                f"{transform} takes a function and was given none. To decorate one "
                f"with options, write @functools.partial(funcad.{transform}, "
                "nondiff_argnums=(0,))."
            )
        wraps(fun, transform)(self)
        self.fun = fun
        self.nondiff_argnums = _argnums(nondiff_argnums, transform)
        if self.nondiff_argnums:
            _check_position(fun, self.nondiff_argnums[-1], transform)
        self._rules: tuple[Callable[..., Any], ...] = ()
        self._options: Any = None
        self._positional = _positional_count(fun)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != self._positional:
            args = self._by_position(args, kwargs)
        for x in args:
            if type(x) not in _PLAIN:
                trace = top_trace(tree.leaves(args))
                break
        else:
            trace = None
        if trace is None:
            out = self.fun(*args)
            if type(out) in _PLAIN or self.primitive is custom_vmap_call:
                return out
            trace = top_trace(tree.leaves(out))
            if trace is None:
                return out
        arguments = Arguments(args, self.nondiff_argnums, self.__name__)
        result = Result()

        def function(leaves: Sequence[Array]) -> list[Array]:
            out = self.fun(*arguments.full(leaves))
            outs, treedef = tree.flatten(out)
            check_leaves(outs, treedef, self.__name__, "output")
            result.settle(out, treedef, self.fun)
            return outs

        rule = self.flat_rule(
            self.__name__, self._rules, arguments, result, self._options
        )
        outs = call(self.primitive, arguments.taken(), function, rule, trace)
        return tree.unflatten(result.treedef, outs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.__name__}>"

    def _by_position(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, ...]:
        """The arguments by position, as rules are given them, defaults included."""
        if isinstance(self.fun, np.ufunc) and not kwargs:
            return args  # its defaults say where to write, and are no operands
        try:
            signature = inspect.signature(self.fun)
        except (TypeError, ValueError):
            if not kwargs:
                return args
            raise CustomRuleError(
                f"{self.__name__} is called with keyword arguments "
                f"({', '.join(kwargs)}), and has no signature that says which position "
                "they have. Pass all arguments by position."
            ) from None
        bound = bind_arguments(self.__name__, signature, args, kwargs)
        if bound.kwargs:
            raise CustomRuleError(
                f"{self.__name__} is called with arguments that can only be passed by "
                f"keyword ({', '.join(bound.kwargs)}), and rules are given arguments "
                "by position. Make them positional parameters of the function, or let "
                "it close over them."
            )
        bound.apply_defaults()
        return bound.args

    def _define(self, method: str, *rules: Any) -> None:
        for rule in rules:
            if not callable(rule):
                raise TypeError(
                    f"{method} of {self.__name__} takes functions and was given "
                    f"{rule!r} of type {type(rule).__name__}."
                )
        self._rules = rules


# what holds no tracer
_PLAIN = {np.ndarray, np.float64, np.float32, float, int, bool, complex, str}


def _argnums(numbers: Any, transform: str) -> tuple[int, ...]:
    chosen = numbers if isinstance(numbers, (tuple, list, set)) else (numbers,)
    for n in chosen:
        if (
            not isinstance(n, (int, np.integer))
            or isinstance(n, (bool, np.bool_))
            or n < 0
        ):
            raise TypeError(
                f"nondiff_argnums of {transform} holds positions of arguments, "
                f"integers from 0 on, and {numbers!r} was given."
            )
    return tuple(sorted({operator.index(n) for n in chosen}))


def _check_position(f: Callable[..., Any], n: int, transform: str) -> None:
    """Refuse the number of an argument that a function cannot be given."""
    try:
        inspect.signature(f).bind_partial(*[None] * (n + 1))
    except ValueError:
        return  # it has no signature that says so
    except TypeError as error:
        raise TypeError(
            f"nondiff_argnums of {transform} holds {n}, and {getattr(f, '__name__', f)}"
            f" has no argument of that position: {error}."
        ) from None


def _positional_count(f: Callable[..., Any]) -> int | None:
    """Number of arguments of a function that takes nothing but positional ones."""
    code = getattr(f, "__code__", None)
    if (
        code is None
        or code.co_kwonlyargcount
        or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    ):
        return None
    return int(code.co_argcount)


class custom_jvp(_Custom):
    """A function with a derivative that is not that of its operations.

    Parameters
    ----------
    fun : callable
        Function of pytrees of arrays.  Keyword arguments and defaults are passed on
        by position.
    nondiff_argnums : int or sequence of int, optional
        Arguments that are not differentiated and need not be arrays, such as
        functions.

    See Also
    --------
    custom_vjp : for rules that exist in reverse mode only.

    Notes
    -----
    The function itself is run where nothing is differentiated.  Its rule,
    ``rule(*nondiff, primals, tangents)``, returns the value and its tangent, computed
    from tuples of the other arguments and of their tangents, and linear in the
    tangents.  It serves forward and reverse mode, and it is differentiated for higher
    derivatives.  A derivative with respect to what the function closes over is an
    error: it would be missing.  A rule that closes over a traced value of a function
    under ``jit`` is one, too: that value is gone when the rule runs.

    Examples
    --------
    log(1 + exp(x)) by itself overflows, and its derivative is then inf / inf:

    >>> import numpy as np
    >>> import funcad
    >>> @funcad.custom_jvp
    ... def log1pexp(x):
    ...     return np.logaddexp(0.0, x)
    >>> @log1pexp.defjvp
    ... def log1pexp_jvp(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return log1pexp(x), t / (1 + np.exp(-x))
    >>> float(funcad.grad(log1pexp)(100.0))
    1.0
    """

    primitive = custom_jvp_call
    flat_rule = JvpRule

    def defjvp(
        self, jvp: Callable[..., Any], symbolic_zeros: bool = False
    ) -> Callable[..., Any]:
        """Define the rule; a decorator.

        Parameters
        ----------
        jvp : callable
            ``jvp(*nondiff, primals, tangents) -> (out, tangent of out)``.  The
            tangent of an integer or boolean is a zero of dtype ``funcad.float0``.
        symbolic_zeros : bool, optional
            Whether tangents that are known to be zero are given as
            ``funcad.SymbolicZero``, with a shape and a dtype, instead of as arrays.

        Returns
        -------
        callable
            The rule.
        """
        self._define("defjvp", jvp)
        self._options = bool(symbolic_zeros)
        return jvp

    def defjvps(self, *jvps: Callable[..., Any] | None) -> None:
        """Define the rule as a sum with one term an argument.

        Parameters
        ----------
        *jvps : callable or None
            For each argument ``jvp(t, ans, *primals)``, the tangent of the value
            ``ans`` for the tangent ``t`` of that argument alone; ``None`` where the
            derivative is zero.

        Examples
        --------
        >>> import numpy as np
        >>> import funcad
        >>> @funcad.custom_jvp
        ... def f(x, y):
        ...     return np.sin(x) * y
        >>> f.defjvps(
        ...     lambda t, ans, x, y: t * np.cos(x) * y,
        ...     lambda t, ans, x, y: t * np.sin(x),
        ... )
        >>> [float(d) for d in funcad.grad(f, (0, 1))(0.0, 2.0)]
        [2.0, 0.0]
        """
        if self.nondiff_argnums:
            raise TypeError(
                f"defjvps of {self.__name__} has one rule for each argument, and "
                f"nondiff_argnums={self.nondiff_argnums} have none. Use defjvp, or "
                "leave out nondiff_argnums and give None for those arguments."
            )
        self._define("defjvps", *(jvp for jvp in jvps if jvp is not None))

        def total(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
            if len(primals) != len(jvps):
                raise CustomRuleError(
                    f"defjvps of {self.__name__} was given {len(jvps)} rules, and the "
                    f"function is called with {len(primals)} arguments. Give one rule "
                    "for each argument, None where the derivative is zero.",
                    next((line_of(r) for r in jvps if r is not None), None),
                )
            ans = self(*primals)
            terms = []
            for jvp, t in zip(jvps, tangents):
                leaves = tree.leaves(t)
                zeros = [isinstance(x, SymbolicZero) for x in leaves]
                if jvp is None or all(zeros):
                    continue
                if any(zeros):
                    t = tree.map(_explicit, t)
                term = jvp(t, ans, *primals)
                if tree.structure(term) != tree.structure(ans):
                    _refuse_term(self.__name__, jvp, term, ans)
                terms.append(term)
            if not terms:
                return ans, tree.map(zero_tangent, ans)
            return ans, tree.map(lambda *ts: functools.reduce(_add, ts), *terms)

        first = next((jvp for jvp in jvps if jvp is not None), self.fun)
        functools.update_wrapper(total, first)
        self._rules = (total,)
        self._options = True


def _explicit(t: Any) -> Any:
    if not isinstance(t, SymbolicZero):
        return t
    return np.zeros(t.shape, t.dtype)


def _add(x: Any, y: Any) -> Any:
    return x if getattr(x, "dtype", None) == zero_tangent(0).dtype else x + y


def _refuse_term(name: str, jvp: Any, term: Any, ans: Any) -> NoReturn:
    raise CustomRuleError(
        f"The rule {located(jvp)}, one of defjvps of {name}, returned a tangent of "
        "another structure than the value has:\n"
        f"    value:   {shown(ans)}\n"
        f"    tangent: {shown(term)}",
        line_of(jvp),
    )


class custom_vjp(_Custom):
    """A function with rules of its own for reverse mode.

    Parameters
    ----------
    fun : callable
        Function of pytrees of arrays.  Keyword arguments and defaults are passed on
        by position.
    nondiff_argnums : int or sequence of int, optional
        Arguments that are not differentiated and need not be arrays, such as
        functions.

    See Also
    --------
    custom_jvp : for rules that serve forward mode as well.

    Notes
    -----
    ``grad``, ``vjp`` and ``jacrev`` run ``fwd`` in the place of the function, and then
    ``bwd``; both are differentiated for higher derivatives, so that
    ``jvp(grad(f))`` works.  ``jvp`` of the function itself is an error.

    Examples
    --------
    A gradient that is clipped on its way back:

    >>> import numpy as np
    >>> import funcad
    >>> @funcad.custom_vjp
    ... def clip_gradient(limit, x):
    ...     return x
    >>> def fwd(limit, x):
    ...     return x, limit
    >>> def bwd(limit, ct):
    ...     return None, np.clip(ct, -limit, limit)
    >>> clip_gradient.defvjp(fwd, bwd)
    >>> float(funcad.grad(lambda x: 10 * clip_gradient(2.0, x))(1.0))
    2.0
    """

    primitive = custom_vjp_call
    flat_rule = VjpRule

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Define the rules.

        Parameters
        ----------
        fwd : callable
            Takes the arguments of the function, all of them, and returns
            ``(out, residuals)``; the residuals are a pytree of what ``bwd`` needs.
        bwd : callable
            ``bwd(*nondiff, residuals, cotangent)`` returns a tuple with a cotangent
            for each argument that is not in ``nondiff_argnums``; ``None`` stands for
            zeros.
        """
        self._define("defvjp", bwd, fwd)
        self._rules = (fwd, bwd)


class custom_vmap(_Custom):
    """A function with a batched form of its own.

    Parameters
    ----------
    fun : callable
        Function of pytrees of arrays, for one example.  Keyword arguments and defaults
        are passed on by position.

    Notes
    -----
    Under ``vmap``, the rule is called in the place of the function.  Derivatives are
    those of the function, and under ``vmap`` those of the rule, in either order.

    Examples
    --------
    A routine that solves for many right-hand sides at once:

    >>> import numpy as np
    >>> import funcad
    >>> @funcad.custom_vmap
    ... def solve(a, b):
    ...     return np.linalg.solve(a, b)
    >>> @solve.def_vmap
    ... def solve_many(axis_size, in_batched, a, b):
    ...     a_batched, b_batched = in_batched
    ...     if b_batched and not a_batched:
    ...         return np.linalg.solve(a, b.T).T, True
    ...     a = a if a_batched else np.stack([a] * axis_size)
    ...     b = b if b_batched else np.stack([b] * axis_size)
    ...     return np.linalg.solve(a, b[..., None])[..., 0], True
    >>> funcad.vmap(solve, (None, 0))(2 * np.eye(2), np.arange(4.0).reshape(2, 2))
    array([[0. , 0.5],
           [1. , 1.5]])
    """

    primitive = custom_vmap_call
    flat_rule = VmapRule

    def __init__(self, fun: Callable[..., Any]) -> None:
        super().__init__(fun)

    def def_vmap(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Define the rule; a decorator.

        Parameters
        ----------
        rule : callable
            ``rule(axis_size, in_batched, *args) -> (out, out_batched)``.  ``args`` are
            stacked along axis 0 where ``in_batched``, a tuple of pytrees of booleans,
            says so; ``out_batched`` has a boolean for each leaf of ``out``.

        Returns
        -------
        callable
            The rule.
        """
        self._define("def_vmap", rule)
        return rule
