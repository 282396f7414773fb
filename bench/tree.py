"""How long flattening a transformer's parameters takes beside a plain recursive walk.

The goal is at most 3 times the walk. optree and JAX, whose algorithms are in C++, stand
beside it where they are installed; map and unflatten are timed too.
"""

from __future__ import annotations

import argparse
import importlib
import pathlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from _machine import describe_machine
from _timing import interleaved_medians
from funcad.core import tree as funcad_tree

GOAL = 3.0
LAYERS = 16

WALK = "plain recursive walk"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--out", type=pathlib.Path, help="write the table to this file")
    arguments = parser.parse_args()

    params = transformer_params(LAYERS)
    runs: dict[str, Callable[[], Any]] = {WALK: lambda: walk(params)}
    for name, trees in {"funcad": funcad_tree, **installed()}.items():
        runs |= runs_of(name, trees, params)
    seconds = interleaved_medians(runs, rounds=arguments.rounds, budget=10.0)

    report = "\n".join(
        [
            "# Pytrees",
            "",
            describe_machine("numpy", "optree", "jax"),
            f"- parameters of a {LAYERS}-layer transformer in nested dicts, "
            f"{len(walk(params))} leaves",
            f"- medians of {arguments.rounds} interleaved turns",
            "",
            "| | us | of the walk |",
            "| --- | ---: | ---: |",
            *(
                f"| {name} | {taken * 1e6:.1f} | {taken / seconds[WALK]:.2f} |"
                for name, taken in seconds.items()
            ),
            "",
            verdict(seconds),
        ]
    )
    print(report)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(report + "\n")
    return 0


def verdict(seconds: dict[str, float]) -> str:
    ratio = seconds["funcad flatten"] / seconds[WALK]
    lines = f"flatten takes {ratio:.2f} times the plain walk, goal at most {GOAL:g}: "
    lines += "pass." if ratio <= GOAL else "FAIL."
    for label in ("optree", "jax"):
        if f"{label} flatten" in seconds:
            against = seconds["funcad flatten"] / seconds[f"{label} flatten"]
            lines += f" It takes {against:.2f} times {label}'s."
    return lines


def transformer_params(layers: int) -> dict[str, Any]:
    def leaf() -> np.ndarray:
        return np.zeros((2, 2), np.float32)

    def layer() -> dict[str, Any]:
        return {
            "ln1": {"gain": leaf(), "bias": leaf()},
            "attention": {name: leaf() for name in ("wq", "wk", "wv", "wo")},
            "ln2": {"gain": leaf(), "bias": leaf()},
            "mlp": {name: leaf() for name in ("w1", "b1", "w2", "b2")},
        }

    return {
        "token_embedding": leaf(),
        "position_embedding": leaf(),
        "layers": [layer() for _ in range(layers)],
        "ln": {"gain": leaf(), "bias": leaf()},
        "head": {"w": leaf(), "b": leaf()},
    }


def walk(tree: Any) -> list[Any]:
    """The leaves, by what anyone would write first; keys are not even sorted."""
    leaves: list[Any] = []

    def visit(x: Any) -> None:
        if isinstance(x, dict):
            for child in x.values():
                visit(child)
        elif isinstance(x, (list, tuple)):
            for child in x:
                visit(child)
        elif x is not None:
            leaves.append(x)

    visit(tree)
    return leaves


def installed() -> dict[str, Any]:
    """What the same four functions are called elsewhere; absent libraries left out."""
    found: dict[str, Any] = {}
    for name in ("optree.pytree", "jax.tree"):
        try:
            module: ModuleType = importlib.import_module(name)
        except ImportError:
            continue
        found[name.partition(".")[0]] = module
    return found


def runs_of(name: str, trees: Any, params: Any) -> dict[str, Callable[[], Any]]:
    leaves, treedef = trees.flatten(params)
    other = trees.structure(params)
    return {
        f"{name} flatten": lambda: trees.flatten(params),
        f"{name} unflatten": lambda: trees.unflatten(treedef, leaves),
        f"{name} map": lambda: trees.map(_same, params),
        f"{name} map, two trees": lambda: trees.map(_first, params, params),
        f"{name} compare": lambda: treedef == other,
    }


def _same(x: Any) -> Any:
    return x


def _first(x: Any, _: Any) -> Any:
    return x


if __name__ == "__main__":
    sys.exit(main())
