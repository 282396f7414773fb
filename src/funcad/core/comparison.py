"""Whether two programs are the same but for the names of their variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from funcad.backends import backend_of
from funcad.core.program import Program, Var
from funcad.core.tracing import Tracer, aval_of

Pairs = dict[tuple[int, int], bool]
"""What is known of programs within programs, which may be held many times."""


def same_programs(left: Program, right: Program, known: Pairs | None = None) -> bool:
    """Whether two programs compute the same in the same steps.

    Parameters
    ----------
    left, right : Program
        Compared equation by equation: primitives, parameters, and constants by dtype
        and bits, so that a NaN equals itself and 0.0 is not -0.0.  The user's lines do
        not matter.
    known : dict, optional
        Which pairs of programs in parameters are the same.

    Returns
    -------
    bool
    """
    pairs: Pairs = {} if known is None else known
    counts = [(len(p.inputs), len(p.equations), len(p.outputs)) for p in (left, right)]
    if counts[0] != counts[1]:
        return False
    renamed: dict[Var, Var] = {}
    taken: set[Var] = set()

    def define(ours: Sequence[Var], theirs: Sequence[Var]) -> bool:
        if len(ours) != len(theirs):
            return False
        for v, w in zip(ours, theirs):
            if (v.shape, v.dtype, v.weak) != (w.shape, w.dtype, w.weak) or w in taken:
                return False
            renamed[v] = w
            taken.add(w)
        return True

    def same_values(ours: Sequence[Any], theirs: Sequence[Any]) -> bool:
        return len(ours) == len(theirs) and all(
            renamed.get(v) is w if isinstance(v, Var) else same(v, w, pairs)
            for v, w in zip(ours, theirs)
        )

    return (
        define(left.inputs, right.inputs)
        and all(
            a.primitive is b.primitive
            and same_values(a.inputs, b.inputs)
            and same(a.params, b.params, pairs)
            and define(a.outputs, b.outputs)
            for a, b in zip(left.equations, right.equations)
        )
        and same_values(left.outputs, right.outputs)
    )


def same(a: Any, b: Any, known: Pairs) -> bool:
    """Whether two constants or parameters are of one type and equal to the last bit."""
    if a is b:
        return True
    if type(a) is not type(b) or isinstance(a, Tracer):
        return False
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(same(x, y, known) for x, y in zip(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k], known) for k in a)
    if isinstance(a, slice):
        parts = (a.start, a.stop, a.step), (b.start, b.stop, b.step)
        return same(*parts, known)
    if isinstance(a, Program):
        pair = id(a), id(b)
        if pair not in known:
            known[pair] = same_programs(a, b, known)
        return known[pair]
    if isinstance(a, (float, complex)) and not hasattr(a, "dtype"):
        return repr(a) == repr(b)
    if hasattr(a, "dtype") and hasattr(a, "shape"):
        return aval_of(a) == aval_of(b) and _bits(a) == _bits(b)
    return bool(a == b)


def _bits(x: Any) -> bytes:
    return backend_of(x).to_host(x).tobytes()  # type: ignore[no-any-return]
