"""What a call through ``funcad.numpy`` costs plain arrays above NumPy's own.

The goal is at most 1 us for each of the thirty commonest functions.  Both names are
looked up in their module at every call, as a user's code does.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import timeit
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import funcad.numpy as fnp
from _machine import describe_machine

GOAL = 1e-6
CALLS_A_TURN = 1000

X = np.linspace(0.1, 0.9, 12).reshape(3, 4)
V = np.linspace(0.1, 0.9, 4)
SQUARE = np.eye(3) + 0.1

CALLS: dict[str, Callable[[Any], Any]] = {
    "sin": lambda xp: xp.sin(X),
    "exp": lambda xp: xp.exp(X),
    "log": lambda xp: xp.log(X),
    "tanh": lambda xp: xp.tanh(X),
    "sqrt": lambda xp: xp.sqrt(X),
    "abs": lambda xp: xp.abs(X),
    "add": lambda xp: xp.add(X, V),
    "multiply": lambda xp: xp.multiply(X, V),
    "maximum": lambda xp: xp.maximum(X, 0.5),
    "power": lambda xp: xp.power(X, 2.0),
    "where": lambda xp: xp.where(X > 0.5, X, 0.0),
    "clip": lambda xp: xp.clip(X, 0.2, 0.8),
    "sum": lambda xp: xp.sum(X, axis=0),
    "mean": lambda xp: xp.mean(X, axis=0),
    "var": lambda xp: xp.var(X, axis=0),
    "max": lambda xp: xp.max(X),
    "argmax": lambda xp: xp.argmax(X),
    "cumsum": lambda xp: xp.cumsum(X),
    "sort": lambda xp: xp.sort(X),
    "reshape": lambda xp: xp.reshape(X, (4, 3)),
    "transpose": lambda xp: xp.transpose(X),
    "concatenate": lambda xp: xp.concatenate([X, X]),
    "stack": lambda xp: xp.stack([V, V]),
    "dot": lambda xp: xp.dot(X, V),
    "matmul": lambda xp: xp.matmul(X, V),
    "einsum": lambda xp: xp.einsum("ij,j->i", X, V),
    "take": lambda xp: xp.take(V, 2),
    "asarray": lambda xp: xp.asarray(X),
    "zeros_like": lambda xp: xp.zeros_like(X),
    "linalg.norm": lambda xp: xp.linalg.norm(V),
    "linalg.solve": lambda xp: xp.linalg.solve(SQUARE, V[:3]),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=51)
    parser.add_argument("--out", type=pathlib.Path, help="write the table to this file")
    arguments = parser.parse_args()

    rows = [
        (name, *shortest(partial(call, np), partial(call, fnp), arguments.rounds))
        for name, call in CALLS.items()
    ]

    worst = max(ours - theirs for _, theirs, ours in rows)
    report = "\n".join(
        [
            "# Plain arrays through `funcad.numpy`",
            "",
            describe_machine("numpy"),
            f"- the least of {arguments.rounds} interleaved turns of {CALLS_A_TURN} "
            "calls each, arrays of 12 entries",
            "",
            "| | `numpy`, us | `funcad.numpy`, us | more, us |",
            "| --- | ---: | ---: | ---: |",
            *(
                f"| `{name}` | {theirs * 1e6:.2f} | {ours * 1e6:.2f} | "
                f"{(ours - theirs) * 1e6:.2f} |"
                for name, theirs, ours in rows
            ),
            "",
            f"At most {worst * 1e6:.2f} us more, goal at most {GOAL * 1e6:g}: "
            + ("pass." if worst <= GOAL else "FAIL."),
        ]
    )
    print(report)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(report + "\n")
    return 0


def shortest(
    theirs: Callable[[], Any], ours: Callable[[], Any], rounds: int
) -> tuple[float, float]:
    """Seconds of a call of each; the least, since the difference is below the noise."""
    turns = [
        [timeit.timeit(run, number=CALLS_A_TURN) for run in (theirs, ours)]
        for _ in range(rounds)
    ]
    least, least_ours = (min(column) / CALLS_A_TURN for column in zip(*turns))
    return least, least_ours


if __name__ == "__main__":
    sys.exit(main())
