"""``profile``: run a function and report where the time went."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from funcad.core import tree
from funcad.core.errors import ArgumentError
from funcad.core.tracing import array_type_of
from funcad.profiling import shortcuts  # noqa: F401
from funcad.profiling.reading import resolved
from funcad.profiling.recording import ProfileTrace, aval, profiled, root
from funcad.profiling.report import Profile
from funcad.transforms.arguments import argument_name, check_leaves, wraps


def profile(
    f: Callable[..., Any], *, warmup: int = 0, repeat: int = 1
) -> Callable[..., Profile]:
    """Function that runs ``f`` and says where the time went.

    Parameters
    ----------
    f : callable
        Function of pytrees of arrays, plain or made by any transforms.
    warmup : int, optional
        How often to run it before: a first run also stages what is jitted, imports
        what is imported on demand and asks the system for memory.
    repeat : int, optional
        How often to run it; the fastest of these runs is reported.

    Returns
    -------
    callable
        Takes the arguments of ``f`` and returns a `~funcad.profiling.Profile`, whose
        ``result`` is what ``f`` returned.

    Raises
    ------
    LeafTypeError
        If an argument or a result of ``f`` is no array and no number.

    Notes
    -----
    Operations are seen if they depend on an argument of ``f``, by way of any number of
    transforms: those of the backward pass of a gradient too, each at the user's line
    whose derivative it is part of.  A jitted function, a loop of ``funcad.lax`` and a
    checkpoint are seen from inside, equation by equation, in the form in which they
    run: a compiled program as it was compiled, in which a loop is one equation.
    Everything else is counted together as time outside of operations: Python's own,
    and what is done with arrays that depend on no argument.

    Where arrays are on a GPU, each operation is waited for, so that none is counted
    for another; operations that would overlap do not, then.

    The time that recording takes is measured too, of one operation in eight; it is
    stated in the report and not counted there.  What remains is that operations of a
    plain function pass through funcad, as they do in every transform, which is time
    outside of operations.  Both together take 1 to 2 us where the caches are warm, and
    2 to 3 us (5 us or more in a gradient) where an operation's arrays push all else out
    of them: under 5% of an operation of a plain function from about 50 us on, of one of
    a gradient from about 200 us on, of one inside of a jitted function, which becomes 1
    to 2 us longer, from 50 us on.  Besides, a call takes 0.1 ms once (two cores of an
    AMD EPYC, ``bench/profile_overhead.py``).

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> def loss(w, x):
    ...     return np.sum(np.tanh(x @ w) ** 2)
    >>> report = funcad.profile(funcad.grad(loss))(np.ones((3, 2)), np.ones((4, 3)))
    >>> report.result.shape
    (3, 2)
    >>> [row.name for row in report.by_primitive() if row.calls == 2]  # x @ w, x.T @ ct
    ['matmul']
    """
    wraps(f, "profile")
    _check_count("warmup", warmup, 0)
    _check_count("repeat", repeat, 1)
    name = getattr(f, "__name__", type(f).__name__)

    @wraps(f, "profile")
    def profiled(*args: Any, **kwargs: Any) -> Profile:
        leaves, treedef = tree.flatten((args, kwargs))
        check_leaves(leaves, treedef, "profile", name=argument_name)
        array_type = array_type_of(leaves)
        for _ in range(warmup):
            _run(f, leaves, treedef, array_type)
        run = _run(f, leaves, treedef, array_type)
        for _ in range(repeat - 1):
            run = min(run, _run(f, leaves, treedef, array_type), key=_duration)
        arguments = {id(root(x)) for x in leaves}
        return Profile(
            name=name,
            result=run.result,
            resolve=lambda: resolved(run.log, run.start, arguments),
            seconds=_duration(run) * 1e-9,
            array_type=array_type,
        )

    return profiled


def _check_count(name: str, count: Any, least: int) -> None:
    if not isinstance(count, (int, np.integer)) or isinstance(count, bool):
        raise TypeError(
            f"{name} of profile is how often to run the function, an integer, not "
            f"{count!r} of type {type(count).__name__}."
        )
    if count < least:
        raise ArgumentError(
            f"{name} of profile is how often to run the function, at least {least}, "
            f"not {count}."
        )


# ----------------------------------------------------------------------------- running


class Run(NamedTuple):
    """What one run of the function left."""

    result: Any
    log: list[Any]
    start: int
    stop: int


def _duration(run: Run) -> int:
    return run.stop - run.start


def _run(
    f: Callable[..., Any], leaves: Sequence[Any], treedef: Any, array_type: type
) -> Run:
    trace = ProfileTrace(leaves, array_type)
    watched = [profiled(trace, x, *aval(x)) if _is_watched(x) else x for x in leaves]
    try:
        args, kwargs = tree.unflatten(treedef, watched)
        del watched
        start = time.perf_counter_ns()
        result = f(*args, **kwargs)
        stop = time.perf_counter_ns()
        outs, out_tree = tree.flatten(result)
        check_leaves(outs, out_tree, "profile", "output")
    finally:
        trace.alive = False
        trace.append = None
    # deaths from here on are none of the function's; references call their own list
    log = trace.log[:]
    trace.log.clear()
    result = tree.unflatten(out_tree, [trace.unpack(x) for x in outs])
    return Run(result, log, start, stop)


def _is_watched(x: Any) -> bool:
    """Whether a leaf becomes a tracer: sizes, counts and flags stay what they are."""
    return not isinstance(x, (int, np.integer, np.bool_))
