"""``jit``: stage a function once for each signature, and run its compiled program."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from funcad.compile.compiled import compiled
from funcad.core import tree
from funcad.core.errors import StaticArgumentError, format_line, user_line
from funcad.core.program import Program
from funcad.core.tracing import Array, Tracer, array_type_of
from funcad.transforms.arguments import argument_name, check_leaves, wraps
from funcad.transforms.calls import call
from funcad.transforms.derived import close, own_constants
from funcad.transforms.lowered import Lowered
from funcad.transforms.signatures import Signature, differences, signature_of
from funcad.transforms.stage import refuse_kept_tracers, stage
from funcad.transforms.static import Static, StaticArguments, joined

__all__ = ["CacheInfo", "Jitted", "RecompilationWarning", "jit"]

CACHE_SIZE = 256
"""Signatures that a jitted function keeps; the oldest one goes first."""

PATIENCE = 12
"""Compilations of one function after which one more brings a warning."""


class RecompilationWarning(UserWarning):
    """A jitted function is compiled again and again, for ever new signatures."""


class CacheInfo(NamedTuple):
    """What a jitted function has compiled, as ``functools.lru_cache`` counts it."""

    hits: int
    misses: int
    maxsize: int
    currsize: int


class Entry(NamedTuple):
    """What is kept for a signature."""

    program: Program
    out_tree: Any
    array_type: type
    captured: Sequence[Tracer]
    """Tracers of outer transforms, the program's first arguments."""

    @property
    def run(self) -> Callable[..., tuple[Array, ...]]:
        """The compiled program, made when it is first run on arrays."""
        return compiled(self.program, self.array_type)

    def result(self, outs: Sequence[Array]) -> Any:
        """The function's result from the program's."""
        return outs[0] if self.out_tree is _LEAF else self.out_tree.unflatten(outs)


_LEAF = tree.structure(0)


def jit(
    f: Callable[..., Any] | None = None,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Sequence[str] | None = None,
    inline: bool = False,
) -> Any:
    """Compile a function: it is staged once for each signature of its arguments.

    A signature is the structure of the arguments, the shape and dtype of each leaf (of
    a Python number, its type) and the values of static arguments.

    Where a large program works on the rows of a batch alike, as many threads as BLAS
    may use (``OPENBLAS_NUM_THREADS``) share them.

    Parameters
    ----------
    f : callable
        Function of pytrees of arrays that returns a pytree of arrays.  It is run with
        tracers that have a shape and a dtype but no value, once for each signature:
        whatever else it does happens then only, and arrays that it closes over are
        constants from then on.
    static_argnums : int or sequence of int, optional
        Positional arguments that are no arrays but part of the signature; they must
        be hashable, and a new value is a new signature.
    static_argnames : str or sequence of str, optional
        The same, by name.
    inline : bool, optional
        Whether a call inside of another staged function leaves its equations there
        instead of one equation, ``jit_call``.

    Returns
    -------
    Jitted
        A function that returns what ``f`` returns, and has the methods ``lower`` (its
        program, source and costs), ``cache_info`` and ``clear_cache``.

    Raises
    ------
    ConcretizationError
        If ``f`` branches on a value, or counts by one.
    StaticArgumentError
        If a static argument is not hashable, or does not exist.
    EscapedTracerError
        If ``f`` keeps a traced value somewhere.

    Warns
    -----
    RecompilationWarning
        Once, when a function has been compiled for many signatures, with the argument
        that changed.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> @funcad.jit
    ... def normalized(x):
    ...     return x / np.sqrt(np.sum(x**2))
    >>> normalized(np.array([3.0, 4.0]))
    array([0.6, 0.8])
    >>> normalized.cache_info()
    CacheInfo(hits=0, misses=1, maxsize=256, currsize=1)
    """
    if f is None:
        return functools.partial(
            jit,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
            inline=inline,
        )
    return Jitted(f, static_argnums, static_argnames, inline)


class Jitted:
    """A jitted function, as `jit` makes it."""

    __name__: str

    def __init__(
        self,
        f: Callable[..., Any],
        static_argnums: int | Sequence[int] | None,
        static_argnames: str | Sequence[str] | None,
        inline: bool,
    ) -> None:
        wraps(f, "jit")(self)
        self._f = f
        self._static = StaticArguments(f, static_argnums, static_argnames, "jit")
        self._inline = inline
        self._entries: dict[Signature, Entry] = {}
        # the same by shapes and dtypes, for calls with nothing but arrays
        self._quick: dict[tuple[Any, ...], tuple[Callable[..., Any], Any]] = {}
        # programs of functions that close over tracers, found again by equality
        self._open: dict[Program, Program] = {}
        self._latest: Signature | None = None
        self._hits = self._misses = 0
        self._warned = False
        self._lock = threading.Lock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not kwargs:
            avals: list[Any] = []
            for x in args:
                if type(x) is not np.ndarray:
                    break
                avals += (x.shape, x.dtype)
            else:
                found = self._quick.get(tuple(avals))
                if found is not None:
                    run, out_tree = found
                    self._hits += 1
                    outs = run(*args)
                    return outs[0] if out_tree is _LEAF else out_tree.unflatten(outs)
        return self._call(args, kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The stages of the function for these arguments, which it is not run on.

        Parameters
        ----------
        *args, **kwargs : pytree
            Arguments, arrays or ``ShapeDtypeStruct``.

        Returns
        -------
        Lowered
            The program, the optimized program, the source, and what they cost.
        """
        return self.lower_as("jit", args, kwargs)

    def lower_as(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Lowered:
        """`lower` for the function of that ``name`` that the user has called."""
        static, dynamic = self._static.part(args, kwargs)
        program, out_tree, captured = self._stage(static, dynamic, name)
        leaves, in_tree = tree.flatten(dynamic)
        return Lowered(
            own_constants(program),
            in_tree,
            out_tree,
            captured,
            self.__name__,
            array_type_of(leaves),
        )

    def cache_info(self) -> CacheInfo:
        """How often a signature was found and compiled, and how many are kept."""
        return CacheInfo(self._hits, self._misses, CACHE_SIZE, len(self._entries))

    def clear_cache(self) -> None:
        """Forget all that was compiled, and the memory that it keeps to work in."""
        with self._lock:
            for kept in (self._entries, self._quick, self._open):
                kept.clear()
            self._latest = None

    def __repr__(self) -> str:
        return f"<jitted {self.__name__}>"

    def __reduce__(self) -> tuple[Any, ...]:
        static = self._static
        return jit, (self._f, static.given_numbers, static.given_names, self._inline)

    # ------------------------------------------------------------ finding and compiling

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        static, dynamic = self._static.part(args, kwargs)
        leaves, treedef = tree.flatten(dynamic)
        signature = signature_of(static, leaves, treedef)
        try:
            entry = self._entries.get(signature)
        except TypeError:
            _refuse_unhashable(signature)
            raise
        if entry is None:
            entry = self._compile(signature, static, dynamic)
        else:
            self._hits += 1
        if not entry.captured and not any(isinstance(x, Tracer) for x in leaves):
            run = entry.run
            outs = run(*leaves)
            if not kwargs and all(type(x) is np.ndarray for x in args):
                self._quick[signature.avals] = run, entry.out_tree
            return entry.result(outs)
        check_leaves(leaves, treedef, "jit", name=argument_name)
        leaves = [*entry.captured, *leaves]
        if self._inline:
            return entry.result(entry.program.evaluate(leaves))
        return entry.result(call(entry.program, leaves, self.__name__))

    def _compile(
        self, signature: Signature, static: Static, dynamic: tuple[Any, ...]
    ) -> Entry:
        program, out_tree, captured = self._stage(static, dynamic)
        with self._lock:
            self._misses += 1
            latest, self._latest = self._latest, signature
            warn = self._misses > PATIENCE and not self._warned and latest is not None
            self._warned |= warn
        if warn:
            self._warn(latest, signature)
        if out_tree == _LEAF:
            out_tree = _LEAF
        if captured:
            # the next call captures other tracers, most likely in the same program
            known = self._open.get(program)
            if known is None:
                known = own_constants(program)
                with self._lock:
                    if len(self._open) >= CACHE_SIZE:
                        self._open.clear()
                    known = self._open.setdefault(known, known)
            return Entry(known, out_tree, signature.array_type, captured)
        program = own_constants(program)
        entry = Entry(program, out_tree, signature.array_type, ())
        with self._lock:
            self._entries[signature] = entry
            if len(self._entries) > CACHE_SIZE:
                del self._entries[next(iter(self._entries))]
                self._quick.clear()
        return entry

    def _stage(
        self, static: Static, dynamic: tuple[Any, ...], name: str = "jit"
    ) -> tuple[Program, Any, Sequence[Tracer]]:
        def call_with(args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
            full, named = joined(static, args, kwargs)
            return self._f(*full, **named)

        program, out_tree, trace = stage(call_with, dynamic, name)
        refuse_kept_tracers(trace, self.__name__)
        program, captured = close(program)
        return program, out_tree, captured

    def _warn(self, latest: Signature | None, signature: Signature) -> None:
        changed = differences(latest, signature) if latest is not None else []
        warnings.warn(
            f"jit has compiled {self.__name__} {self._misses} times, each time for new "
            f"shapes, dtypes or static values. Since the time before: "
            f"{'; '.join(changed[:3]) or 'what the function closes over changed'}. "
            "Pad the arrays to a few shapes, or pass as an array what is static now.\n"
            f"  at {format_line(user_line())}",
            RecompilationWarning,
            stacklevel=5,
        )


def _refuse_unhashable(signature: Signature) -> None:
    """Say which static argument, or which part of the structure, is not hashable."""
    for place, kind, value in signature.static:
        try:
            hash(value)
        except TypeError:
            raise StaticArgumentError(
                f"jit: the static argument {place!r} is of type {kind.__name__}, "
                "which is not hashable, so what is compiled for it could not be found "
                "again. Pass arrays as arguments that are not static, and tuples "
                "instead of lists."
            ) from None
    try:
        hash(signature.treedef)
    except TypeError:
        raise StaticArgumentError(
            "jit: the structure of the arguments holds a value that is not hashable, "
            f"in the static fields of a registered class: {signature.treedef}. Make "
            "that field a leaf, or a hashable value such as a tuple."
        ) from None
