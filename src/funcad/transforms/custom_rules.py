"""The user's rules in terms of leaves: what they are given, and what they must return.

A rule takes and returns pytrees; transforms handle leaves.  The classes here stand
between: they call the rule, check what it returns against what it should, and say in
the error where the rule is and what both sides look like.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from funcad.core import tree
from funcad.core.errors import CustomRuleError, MissingRuleError, TreeStructureError
from funcad.core.tracing import (
    PYTHON_SCALARS,
    Array,
    ShapedArray,
    Tracer,
    aval_of,
    dtype_of,
    shape_of,
)
from funcad.primitives.reduction import reduce_sum
from funcad.primitives.shape import broadcast_to, convert, move_axis
from funcad.transforms.arguments import (
    check_leaves,
    float0,
    has_tangent,
    is_array,
    zero_tangent,
)
from funcad.transforms.batch import Batch
from funcad.transforms.calls import spread
from funcad.transforms.custom_calls import (
    Examples,
    Mask,
    backward,
    explicit_tangents,
    forward,
    one_of,
    zeros_like_type,
)
from funcad.transforms.descriptions import (
    line_of,
    located,
    name_of,
    shown,
    shown_avals,
)

Axes = tuple[int | None, ...]


class SymbolicZero:
    """A tangent that is zero, for rules that ask for ``symbolic_zeros=True``."""

    __slots__ = ("dtype", "shape")
    __array_ufunc__ = None

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape = shape
        self.dtype = dtype

    def __repr__(self) -> str:
        return f"SymbolicZero({ShapedArray(self.shape, self.dtype)})"


# -------------------------------------------------------------------------- arguments


def _is_none(x: Any) -> bool:
    return x is None


class _Hole:
    """Stands among static leaves where a traced one was."""


_HOLE = _Hole()


class Arguments:
    """How the positional arguments of a call are made of leaves.

    Leaves of the arguments that are not differentiated are what they are, but for
    tracers among them, which are the first leaves.
    """

    def __init__(self, args: Sequence[Any], nondiff: Sequence[int], name: str) -> None:
        self.count = len(args)
        self.nondiff = tuple(n for n in nondiff if n < self.count)
        self.name = name
        self.static: list[tuple[Any, list[Any]]] = []
        held: list[Any] = []
        for n in self.nondiff:
            leaves, treedef = tree.flatten(args[n])
            traced = [isinstance(x, Tracer) for x in leaves]
            held += [x for x, t in zip(leaves, traced) if t]
            kept = [_HOLE if t else x for x, t in zip(leaves, traced)]
            self.static.append((treedef, kept))
        self.held = len(held)
        chosen = tuple(x for n, x in enumerate(args) if n not in self.nondiff)
        leaves, self.treedef = tree.flatten(chosen)
        if not all(is_array(x) for x in leaves):
            self._refuse(leaves)
        self.leaves: list[Any] = [*held, *leaves]

    def _refuse(self, leaves: Sequence[Any]) -> NoReturn:
        try:
            check_leaves(leaves, self.treedef, self.name)
        except TypeError as error:
            raise type(error)(
                f"{str(error).partition(' Keep it out')[0]} Name the argument in "
                "nondiff_argnums, or let the function close over it."
            ) from None
        raise AssertionError("one of the leaves is no array")

    def taken(self) -> list[Any]:
        """The leaves, which are not kept here."""
        leaves = self.leaves
        del self.leaves
        return leaves

    def of_rule(self, leaves: Sequence[Any]) -> list[Any]:
        """The arguments in ``nondiff_argnums``."""
        held = iter(leaves[: self.held])
        return [
            tree.unflatten(treedef, [next(held) if x is _HOLE else x for x in kept])
            for treedef, kept in self.static
        ]

    def differentiable(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """The other arguments, or their tangents."""
        return tree.unflatten(self.treedef, leaves[self.held :])  # type: ignore[no-any-return]

    def full(self, leaves: Sequence[Any]) -> list[Any]:
        """All arguments in order."""
        if not self.nondiff:
            return list(self.differentiable(leaves))
        nondiff = iter(self.of_rule(leaves))
        rest = iter(self.differentiable(leaves))
        return [
            next(nondiff) if n in self.nondiff else next(rest)
            for n in range(self.count)
        ]

    def refuse_tangents(self, tangents: Sequence[Any]) -> None:
        """Refuse tangents of the arguments that are not differentiated."""
        if any(t is not None for t in tangents[: self.held]):
            raise CustomRuleError(
                f"{self.name} is differentiated with respect to an argument that is "
                f"in its nondiff_argnums={self.nondiff}, for which its rule says "
                "nothing. Take the argument out of nondiff_argnums, or wrap it in "
                "funcad.stop_gradient where its derivative is not wanted."
            )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Arguments)
            and (self.count, self.nondiff, self.held, self.treedef)
            == (other.count, other.nondiff, other.held, other.treedef)
            and all(
                t == s and len(a) == len(b) and all(map(_same, a, b))
                for (t, a), (s, b) in zip(self.static, other.static)
            )
        )

    def __hash__(self) -> int:
        return hash((self.count, self.nondiff, self.held))


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    return type(a) is type(b) and type(a) in (str, *PYTHON_SCALARS) and bool(a == b)


class Result:
    """Structure of a function's result, which the function or a rule is first to say.

    ``source`` is what errors call the first.
    """

    def __init__(self) -> None:
        self.treedef: Any = None
        self.source = ""
        self.shown = ""

    def settle(self, value: Any, treedef: Any, rule: Any) -> None:
        """Note the structure of a result, or refuse one of another structure."""
        if self.treedef is None:
            self.treedef = treedef
            self.source = located(rule)
            self.shown = shown(value)
        elif self.treedef != treedef:
            raise CustomRuleError(
                f"The results of a function and of its rule differ in structure:\n"
                f"    {self.source}: {self.shown}\n"
                f"    {located(rule)}: {shown(value)}\n"
                f"  Let {name_of(rule)} return what the function returns.",
                line_of(rule),
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Result) and self.treedef == other.treedef

    def __hash__(self) -> int:
        return 0


class FlatRule:
    """What the rules have in common: what they are called, and their results' check.

    Parameters
    ----------
    name : str
        Of the function.
    rules : tuple of callable
        The user's, the one that errors name first.
    arguments : Arguments
        Of the call.
    result : Result
        Of the call.
    """

    def __init__(
        self,
        name: str,
        rules: tuple[Any, ...],
        arguments: Arguments,
        result: Result,
        options: Any = None,
    ) -> None:
        self.name = name
        self.rules = rules
        self.arguments = arguments
        self.result = result
        self.options = options

    @property
    def described(self) -> str:
        """The user's rule, and where it is."""
        return located(self.rules[0])

    @property
    def __name__(self) -> str:
        return name_of(self.rules[0]) if self.rules else "none"

    def check_results(
        self, outs: Sequence[Array], variables: Sequence[Any], size: int | None = None
    ) -> None:
        """Refuse results that have other shapes or dtypes than the function's."""
        many = () if size is None else (size,)
        expected = [ShapedArray((*many, *shape_of(v)), dtype_of(v)) for v in variables]
        for x, v, e in zip(outs, variables, expected):
            if shape_of(x) != e.shape or not _same_dtype(x, e, v):
                raise CustomRuleError(
                    f"The results of {self.name} and of its rule {self.described} "
                    "differ in shape or dtype:\n"
                    f"    {self.name}: {shown_avals(self.result.treedef, expected)}\n"
                    f"    {self.__name__}: "
                    f"{shown_avals(self.result.treedef, [aval_of(y) for y in outs])}\n"
                    f"  Let {self.__name__} return what {self.name} returns.",
                    line_of(self.rules[0]),
                )

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    def __repr__(self) -> str:
        return self.__name__


def _same_dtype(x: Any, aval: ShapedArray, like: Any = None) -> bool:
    """Whether dtypes agree, or one of the two is a number's, which follows others."""
    weak = type(x) in PYTHON_SCALARS or type(like) in PYTHON_SCALARS
    weak = weak or bool(getattr(x, "weak", None) or getattr(like, "weak", None))
    return weak or dtype_of(x) == aval.dtype


def _pair(returned: Any, rule: Any, of: str) -> tuple[Any, Any]:
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        got = (
            f"{len(returned)} values: {shown(returned)}"
            if isinstance(returned, (tuple, list))
            else shown(returned)
        )
        raise CustomRuleError(
            f"The rule {located(rule)} must return a pair, {of}, and it returned "
            f"{got}.",
            line_of(rule),
        )
    return returned[0], returned[1]


# ------------------------------------------------------------------------- custom_jvp


def _is_number(x: Any) -> bool:
    """Whether it is a Python number, or stands for one."""
    return type(x) in PYTHON_SCALARS or getattr(x, "weak", None) is not None


def _following(t: Any, x: Any) -> Any:
    """A tangent in its value's dtype, as the number that it is of would follow it."""
    if isinstance(t, SymbolicZero) or not is_array(t) or type(t) in PYTHON_SCALARS:
        return t
    same_kind = dtype_of(t).kind == dtype_of(x).kind
    return convert(t, dtype=dtype_of(x)) if same_kind else t


class JvpRule(FlatRule):
    """``rule(*nondiff, primals, tangents) -> (out, tangent of out)``."""

    def derivative(
        self, primals: Sequence[Array], tangents: Sequence[Any]
    ) -> tuple[list[Array], list[Any]]:
        """Results and their tangents (``None`` for zero), leaf by leaf."""
        if not self.rules:
            raise MissingRuleError(
                f"{self.name} is a custom_jvp function that is being differentiated, "
                "and it has no rule. Write @{0}.defjvp above the rule, def "
                "rule(primals, tangents), or use {0}.defjvps.".format(self.name)
            )
        (rule,) = self.rules
        arguments = self.arguments
        zero = _symbolic if self.options else zero_tangent
        given = [
            zero(x) if t is None else t
            for x, t in zip(primals[arguments.held :], tangents[arguments.held :])
        ]
        out, tangent = _pair(
            rule(
                *arguments.of_rule(primals),
                arguments.differentiable(primals),
                arguments.differentiable([*primals[: arguments.held], *given]),
            ),
            rule,
            "the value of the function and its tangent",
        )
        outs, treedef = tree.flatten(out)
        check_leaves(outs, treedef, name_of(rule), "output")
        self.result.settle(out, treedef, rule)
        found, tangent_tree = tree.flatten(tangent)
        if tangent_tree != treedef:
            self._refuse(out, tangent, "structure")
        if any(map(_is_number, primals)):
            found = [_following(t, x) for x, t in zip(outs, found)]
        for x, t in zip(outs, found):
            if isinstance(t, SymbolicZero):
                if t.shape != shape_of(x):
                    self._refuse(out, tangent, "shape or dtype")
            elif not is_array(t) or shape_of(t) != shape_of(x):
                self._refuse(out, tangent, "shape or dtype")
            elif not (
                _same_dtype(t, aval_of(x), x)
                if has_tangent(x)
                else dtype_of(t) == float0
            ):
                self._refuse(out, tangent, "shape or dtype")
        return outs, [
            None if isinstance(t, SymbolicZero) or not has_tangent(x) else t
            for x, t in zip(outs, found)
        ]

    def _refuse(self, out: Any, tangent: Any, what: str) -> NoReturn:
        advice = (
            "The tangent of an integer or boolean is np.zeros(shape, funcad.float0)."
            if not all(has_tangent(x) for x in tree.leaves(out))
            else "A tangent has the structure, shape and dtype of its value."
        )
        raise CustomRuleError(
            f"The value and the tangent that the rule {self.described} of {self.name} "
            f"returned differ in {what}:\n"
            f"    value:   {shown(out)}\n"
            f"    tangent: {shown(tangent)}\n"
            f"  {advice}",
            line_of(self.rules[0]),
        )

    def batched(self, axes: Axes, examples: Examples) -> BatchedJvpRule:
        """The rule for all examples at once."""
        return BatchedJvpRule(self, axes, examples)


def _symbolic(x: Array) -> SymbolicZero:
    return SymbolicZero(shape_of(x), dtype_of(x) if has_tangent(x) else float0)


class Batched(FlatRule):
    """A rule for all examples at once."""

    def __init__(self, rule: Any, axes: Any, examples: Examples) -> None:
        super().__init__(rule.name, rule.rules, rule.arguments, rule.result)
        self.rule = rule
        self.axes = axes
        self.examples = examples


class BatchedJvpRule(Batched):
    """The rule of a `JvpRule` for all examples; results have theirs along axis 0."""

    def derivative(
        self, primals: Sequence[Array], tangents: Sequence[Any]
    ) -> tuple[list[Array], list[Any]]:
        """As for `JvpRule`."""
        front = self.examples.front
        with self.examples.entered(primals, tangents) as trace:
            outs, found = self.rule.derivative(
                one_of(trace, primals, self.axes), one_of(trace, tangents, self.axes)
            )
            return (
                [front(trace, x) for x in outs],
                [None if t is None else front(trace, t) for t in found],
            )

    def batched(self, axes: Axes, examples: Examples) -> BatchedJvpRule:
        """The rule for examples of examples."""
        return BatchedJvpRule(self, axes, examples)


# ------------------------------------------------------------------------- custom_vjp


class Primal(NamedTuple):
    """What an argument looks like, and whether it is a number of Python."""

    aval: ShapedArray
    weak: bool


def _is_primal(x: Any) -> bool:
    return isinstance(x, Primal)


class VjpRule(FlatRule):
    """``fwd(*args) -> (out, residuals)``, ``bwd(*nondiff, residuals, ct) -> cts``."""

    def forward(
        self, primals: Sequence[Array]
    ) -> tuple[list[Array], list[Array], Pullback]:
        """Results, residuals, and the way back."""
        if not self.rules:
            raise MissingRuleError(
                f"{self.name} is a custom_vjp function that is being differentiated, "
                f"and it has no rules. Write {self.name}.defvjp(fwd, bwd) after it, "
                "with fwd(*args) -> (out, residuals) and bwd(residuals, cotangent) -> "
                "a tuple of cotangents, one for each argument."
            )
        fwd, bwd = self.rules
        out, residuals = _pair(
            fwd(*self.arguments.full(primals)),
            fwd,
            "the value of the function and the residuals for the backward pass",
        )
        outs, treedef = tree.flatten(out)
        check_leaves(outs, treedef, name_of(fwd), "output")
        self.result.settle(out, treedef, fwd)
        leaves, residual_tree = tree.flatten(residuals)
        arrays = [is_array(x) for x in leaves]
        pullback = Pullback(
            self.name,
            (bwd,),
            self.arguments,
            self.result,
            (
                tuple([aval_of(x) for x in outs]),
                tuple(
                    [
                        Primal(aval_of(x), type(x) in PYTHON_SCALARS)
                        for x in primals[self.arguments.held :]
                    ]
                ),
                residual_tree,
                [_HOLE if a else x for x, a in zip(leaves, arrays)],
            ),
        )
        kept = [x for x, a in zip(leaves, arrays) if a]
        return outs, [*primals[: self.arguments.held], *kept], pullback

    def batched(self, axes: Axes, examples: Examples) -> BatchedVjpRule:
        """The rule for all examples at once."""
        return BatchedVjpRule(self, axes, examples)


class Pullback(FlatRule):
    """Cotangents of the arguments from residuals and cotangents of the results.

    ``options`` are the avals of the results, those of the arguments and whether each
    is a number, and the structure and static leaves of the residuals.
    """

    def __call__(
        self, residuals: Sequence[Array], cotangents: Sequence[Any]
    ) -> list[Array | None]:
        (bwd,) = self.rules
        outs, primals, residual_tree, kept = self.options
        arguments = self.arguments
        arrays = iter(residuals[arguments.held :])
        leaves = [next(arrays) if x is _HOLE else x for x in kept]
        given = spread(cotangents, [a.dtype.kind in "fc" for a in outs])
        like = [*residuals, *cotangents]
        cts = [_zero(a, like) if ct is None else ct for ct, a in zip(given, outs)]
        returned = bwd(
            *arguments.of_rule(residuals),
            tree.unflatten(residual_tree, leaves),
            tree.unflatten(self.result.treedef, cts),
        )
        found = self._leaves(returned)
        return [None] * arguments.held + [
            self._checked(returned, ct, aval, weak)
            for ct, (aval, weak) in zip(found, primals)
        ]

    def _leaves(self, returned: Any) -> list[Any]:
        """Cotangents of all leaves of the arguments, ``None`` for zeros."""
        count = self.arguments.count - len(self.arguments.nondiff)
        if not isinstance(returned, (tuple, list)):
            self._refuse(
                returned,
                f"must return a tuple, one cotangent for each of {count} arguments",
            )
        if len(returned) != count:
            self._refuse(
                returned,
                f"returned {len(returned)} cotangents for {count} arguments",
            )
        returned = tuple(returned)
        leaves, treedef = tree.flatten(returned)
        if treedef == self.arguments.treedef:
            return leaves
        # None stands for the zeros of all leaves below it, an array for itself alone
        full = tree.unflatten(self.arguments.treedef, self.options[1])
        paths, _ = tree.flatten_with_path(full, is_leaf=_is_primal)
        marked = tree.map_with_path(
            lambda path, x: _At(path, x), returned, is_leaf=_is_none
        )
        try:
            found = tree.broadcast_prefix(marked, self.arguments.treedef)
        except TreeStructureError:
            found = None
        if found is None or any(
            at.value is not None and len(at.path) != len(path)
            for at, (path, _) in zip(found, paths)
        ):
            self._refuse(returned, "returned cotangents of another structure")
        return [at.value for at in found]

    def _checked(
        self, returned: Any, ct: Any, aval: ShapedArray, weak: bool
    ) -> Array | None:
        if ct is None or aval.dtype.kind not in "fc" or isinstance(ct, SymbolicZero):
            return None
        number = type(ct) in PYTHON_SCALARS
        if (
            not is_array(ct)
            or shape_of(ct) != aval.shape
            or not (number or weak or dtype_of(ct) == aval.dtype)
            or (dtype_of(ct).kind == "c" and aval.dtype.kind == "f")
            or (not number and dtype_of(ct).kind not in "fc")
        ):
            self._refuse(returned, "returned cotangents of another shape or dtype")
        return aval.dtype.type(ct) if number else ct

    def _refuse(self, returned: Any, what: str) -> NoReturn:
        avals = [aval for aval, _ in self.options[1]]
        raise CustomRuleError(
            f"The rule {self.described} of {self.name} {what}:\n"
            f"    arguments:  {shown_avals(self.arguments.treedef, avals)}\n"
            f"    cotangents: {shown(returned)}\n"
            "  Return a tuple with one cotangent for each argument that is not in "
            "nondiff_argnums, of its structure, shape and dtype; None stands for "
            "zeros.",
            line_of(self.rules[0]),
        )

    def batched(
        self, residual_axes: Axes, axes: Axes, examples: Examples
    ) -> BatchedPullback:
        """The way back for all examples at once."""
        return BatchedPullback(self, (residual_axes, axes), examples)


class _At:
    """A leaf and its path."""

    __slots__ = ("path", "value")

    def __init__(self, path: Any, value: Any) -> None:
        self.path = path
        self.value = value


def _zero(aval: ShapedArray, like: Sequence[Any]) -> Array:
    if aval.dtype.kind in "fc":
        return zeros_like_type(aval.shape, aval.dtype, like)
    return np.zeros(aval.shape, float0)


class BatchedVjpRule(Batched):
    """The rules of a `VjpRule` for all examples; results have theirs along axis 0."""

    def forward(
        self, primals: Sequence[Array]
    ) -> tuple[list[Array], list[Array], BatchedPullback]:
        """As for `VjpRule`."""
        front = self.examples.front
        with self.examples.entered(primals) as trace:
            outs, residuals, pullback = self.rule.forward(
                one_of(trace, primals, self.axes)
            )
            outs = [front(trace, x) for x in outs]
            mapped = [type(x) is Batch and x._trace is trace for x in residuals]
            residuals = [front(trace, x) if m else x for x, m in zip(residuals, mapped)]
        axes = tuple([0 if m else None for m in mapped])
        return (
            outs,
            residuals,
            BatchedPullback(pullback, (axes, self.axes), self.examples),
        )

    def batched(self, axes: Axes, examples: Examples) -> BatchedVjpRule:
        """The rules for examples of examples."""
        return BatchedVjpRule(self, axes, examples)


class BatchedPullback(Batched):
    """A `Pullback` for all examples; ``axes`` are those of residuals and arguments."""

    def __call__(
        self, residuals: Sequence[Array], cotangents: Sequence[Any]
    ) -> list[Array | None]:
        residual_axes, axes = self.axes
        with self.examples.entered(residuals, cotangents) as trace:
            cts = self.rule(
                one_of(trace, residuals, residual_axes),
                one_of(trace, cotangents, (0,) * len(cotangents)),
            )
            cts = [None if ct is None else self.examples.front(trace, ct) for ct in cts]
        # an argument that all examples share is given the sum of what they say
        return [
            ct
            if ct is None
            else reduce_sum(ct, axis=(0,), keepdims=False)
            if a is None
            else move_axis(ct, 0, a)
            for ct, a in zip(cts, axes)
        ]

    def batched(
        self, residual_axes: Axes, axes: Axes, examples: Examples
    ) -> BatchedPullback:
        """The way back for examples of examples."""
        return BatchedPullback(self, (residual_axes, axes), examples)


# ------------------------------------------------------------------------ custom_vmap


class VmapRule(FlatRule):
    """``rule(axis_size, in_batched, *args) -> (out, out_batched)``."""

    def stacked(
        self, size: int, batched: Sequence[bool], values: Sequence[Array]
    ) -> list[Array]:
        """Results for all examples, which are along axis 0 of values and results."""
        if not self.rules:
            raise MissingRuleError(
                f"{self.name} is a custom_vmap function under vmap, and it has no "
                f"rule. Write @{self.name}.def_vmap above the rule, def "
                "rule(axis_size, in_batched, *args), which returns (out, out_batched)."
            )
        (rule,) = self.rules
        treedef = self.arguments.treedef
        out, out_batched = _pair(
            rule(
                size,
                tree.unflatten(treedef, batched),
                *tree.unflatten(treedef, values),
            ),
            rule,
            "the results for all examples and a pytree of booleans that say which of "
            "them have an axis of examples",
        )
        outs, out_tree = tree.flatten(out)
        check_leaves(outs, out_tree, name_of(rule), "output")
        self.result.settle(out, out_tree, rule)
        flags, flags_tree = tree.flatten(out_batched)
        if flags_tree != out_tree or not all(
            isinstance(b, (bool, np.bool_)) for b in flags
        ):
            raise CustomRuleError(
                f"The rule {self.described} of {self.name} must return a pair "
                "(out, out_batched), where out_batched has a boolean for each leaf of "
                "out:\n"
                f"    out:         {shown(out)}\n"
                f"    out_batched: {out_batched!r}",
                line_of(rule),
            )
        for x, b in zip(outs, flags):
            if b and shape_of(x)[:1] != (size,):
                raise CustomRuleError(
                    f"The rule {self.described} of {self.name} says of a result that "
                    f"it has the axis of {size} examples in front, and its shape is "
                    f"{shape_of(x)}:\n"
                    f"    out:         {shown(out)}\n"
                    f"    out_batched: {out_batched!r}",
                    line_of(rule),
                )
        return [x if b else repeated(x, size) for x, b in zip(outs, flags)]

    def forward(self, captured: Mask, own: Mask) -> Any:
        """The rule for tangents of the results."""
        return ForwardVmapRule(self, own, any(captured))

    def transposed(self, captured: Mask, own: Mask, avals: Sequence[Any]) -> Any:
        """The rule for cotangents of operands in which the function is linear."""
        return TransposedVmapRule(self, own, any(captured), avals)


def repeated(x: Array, size: int) -> Array:
    """The same value for every example."""
    x = x if hasattr(x, "dtype") else np.asarray(x)
    return broadcast_to(x, shape=(size, *shape_of(x)))


class Derived(VmapRule):
    """A rule made of another one, for a derivative of its function.

    ``mask`` are the operands that are differentiated, ``lost`` says whether the
    function is differentiated with respect to what it closes over as well.
    """

    def __init__(
        self, rule: Any, mask: Mask, lost: bool, avals: Sequence[Any] = ()
    ) -> None:
        super().__init__(rule.name, rule.rules, rule.arguments, rule.result)
        self.rule = rule
        self.mask = mask
        self.lost = lost
        self.avals = avals

    def check_results(
        self, outs: Sequence[Array], variables: Sequence[Any], size: int | None = None
    ) -> None:
        """The results are the transforms' own."""

    def refuse_lost(self) -> None:
        """Refuse derivatives that the rule says nothing of."""
        if self.lost:
            raise CustomRuleError(
                f"{self.name} closes over a value that is being differentiated, under "
                f"vmap, and its rule {self.described} is given the arguments alone. "
                "Make that value an argument of the function, and of the rule."
            )


class ForwardVmapRule(Derived):
    """From operands and tangents of some of them to the tangents of results."""

    def stacked(
        self, size: int, batched: Sequence[bool], values: Sequence[Array]
    ) -> list[Array]:
        """As for `VmapRule`."""
        self.refuse_lost()
        count = len(self.mask)
        tangents = spread(values[count:], self.mask)
        mapped = spread(batched[count:], self.mask)
        primals = list(values[:count])
        either = list(batched[:count])
        for i, (t, m) in enumerate(zip(tangents, mapped)):
            if t is not None and m != either[i]:
                if m:
                    primals[i] = repeated(primals[i], size)
                else:
                    tangents[i] = repeated(t, size)
                either[i] = True
        outs, found = forward(
            lambda duals: self.rule.stacked(size, either, duals), primals, tangents
        )
        return explicit_tangents(outs, found)


class TransposedVmapRule(Derived):
    """From the other operands and cotangents of results to those of the operands."""

    def stacked(
        self, size: int, batched: Sequence[bool], values: Sequence[Array]
    ) -> list[Array]:
        """As for `VmapRule`."""
        self.refuse_lost()
        count = len(self.mask) - sum(self.mask)
        held = iter(batched[:count])
        flags = [True if m else next(held) for m in self.mask]
        cts = [
            ct if b else repeated(ct, size)
            for ct, b in zip(values[count:], batched[count:])
        ]
        return backward(
            lambda operands: self.rule.stacked(size, flags, operands),
            values[:count],
            cts,
            self.mask,
            [((size, *shape), dtype) for shape, dtype in self.avals],
        )
