"""Static arguments: those that belong to a signature instead of being arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from funcad.core.errors import StaticArgumentError

Static = tuple[tuple[int | str, Any], ...]
"""Place (number or name) and value of each static argument of a call."""

_BY_POSITION = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


class StaticArguments:
    """Which arguments of a function are static, by position and by name.

    Parameters
    ----------
    f : callable
        The function; what is given by number is static by name too, and the other way
        round.
    numbers : int, sequence of int or None
        Positional arguments.
    names : str, sequence of str or None
        Arguments by name.
    transform : str
        What errors call the transform.
    """

    __slots__ = ("given_names", "given_numbers", "names", "numbers")

    def __init__(
        self,
        f: Callable[..., Any],
        numbers: int | Sequence[int] | None,
        names: str | Sequence[str] | None,
        transform: str,
    ) -> None:
        self.given_numbers, self.given_names = numbers, names
        chosen = integers(numbers, transform)
        named = _strings(names, transform)
        positional, known, open_ended = _parameters(f)
        if known is not None:
            for name in named:
                if name not in known and not open_ended:
                    raise StaticArgumentError(
                        f"{transform} was given static_argnames={names!r}, and "
                        f"{_name(f)} has no parameter {name!r}. It has "
                        f"{', '.join(known) or 'none'}."
                    )
            if positional is not None:
                for n in chosen:
                    if not -len(positional) <= n < len(positional):
                        raise StaticArgumentError(
                            f"{transform} was given static_argnums={numbers!r}, and "
                            f"{_name(f)} takes {len(positional)} positional arguments."
                        )
                chosen = [n % len(positional) for n in chosen]
                named += [positional[n] for n in chosen if positional[n] not in named]
                chosen += [
                    n
                    for n, name in enumerate(positional)
                    if name in named and n not in chosen
                ]
        self.numbers = tuple(chosen)
        self.names = frozenset(named)

    def part(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Static, tuple[Any, ...]]:
        """The static arguments of a call, and the call with ``None`` in their place."""
        if not self.numbers and not self.names:
            return (), (args, kwargs)
        numbers = {n % len(args) for n in self.numbers if -len(args) <= n < len(args)}
        names = self.names & kwargs.keys()
        static: Static = (
            *((n, args[n]) for n in sorted(numbers)),
            *((name, kwargs[name]) for name in sorted(names)),
        )
        rest = tuple([None if i in numbers else x for i, x in enumerate(args)])
        return static, (rest, {k: v for k, v in kwargs.items() if k not in names})


def joined(static: Static, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Arguments and keyword arguments of a call, the static ones in their places."""
    if not static:
        return args, kwargs
    full, named = list(args), dict(kwargs)
    for place, value in static:
        if isinstance(place, str):
            named[place] = value
        else:
            full[place] = value
    return full, named


def integers(numbers: Any, transform: str) -> list[int]:
    """Numbers of static arguments as a list, or the error that says what they are."""
    if numbers is None:
        return []
    chosen = list(numbers) if isinstance(numbers, (tuple, list, set)) else [numbers]
    for n in chosen:
        if not isinstance(n, (int, np.integer)) or isinstance(n, bool):
            raise StaticArgumentError(
                f"static_argnums of {transform} must be an integer or a sequence of "
                f"integers, not {numbers!r}. They are numbers of positional arguments; "
                "names go into static_argnames."
            )
    return [int(n) for n in chosen]


def _strings(names: Any, transform: str) -> list[str]:
    if names is None:
        return []
    several = isinstance(names, Iterable) and not isinstance(names, str)
    chosen = list(names) if several else [names]
    for name in chosen:
        if not isinstance(name, str):
            raise StaticArgumentError(
                f"static_argnames of {transform} must be a string or a sequence of "
                f"strings, not {names!r}. Numbers go into static_argnums."
            )
    return chosen


def _parameters(
    f: Callable[..., Any],
) -> tuple[list[str] | None, list[str] | None, bool]:
    """Names of the positional parameters and of all, and whether any name is taken.

    ``None`` stands for names that are not known: those of ``*args``, or all of them.
    """
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return None, None, True
    kinds = {p.kind for p in parameters}
    positional = [p.name for p in parameters if p.kind in _BY_POSITION]
    return (
        None if inspect.Parameter.VAR_POSITIONAL in kinds else positional,
        [p.name for p in parameters],
        inspect.Parameter.VAR_KEYWORD in kinds,
    )


def _name(f: Callable[..., Any]) -> str:
    return getattr(f, "__name__", type(f).__name__)
