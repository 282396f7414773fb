"""What gradients of linear algebra cost beside the plain functions of NumPy.

The goal is that the gradient of ``solve`` costs at most 2.5 times the forward solve at
500x500; the other rows show that no derivative factorises more often than it must.
PyTorch's gradients stand beside them where it is installed.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import funcad
from _machine import describe_machine
from _timing import interleaved_medians

GOAL = 2.5
Case = tuple[str, Callable[[Any, Any], Any], tuple[np.ndarray, ...]]


def cases(n: int) -> list[Case]:
    """Name, function of a library's ``linalg`` and arrays, and the arrays."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((n, n)) + n**0.5 * np.eye(n)
    spd = a @ a.T / n + np.eye(n)
    vector, matrix = rng.standard_normal(n), rng.standard_normal((n, n))
    unit = a * np.exp(-np.linalg.slogdet(a)[1] / n)  # of determinant one
    return [
        ("solve, a vector", lambda la, xs: la.solve(*xs), (a, vector)),
        ("solve, a matrix", lambda la, xs: la.solve(*xs), (a, matrix)),
        ("inv", lambda la, xs: la.inv(*xs), (a,)),
        ("slogdet", lambda la, xs: la.slogdet(*xs)[1], (a,)),
        ("det", lambda la, xs: la.det(*xs), (unit,)),
        ("cholesky", lambda la, xs: la.cholesky(*xs), (spd,)),
        ("eigvalsh", lambda la, xs: la.eigvalsh(*xs), (spd,)),
        ("eigh", lambda la, xs: la.eigh(*xs)[1], (spd,)),
        ("svd", lambda la, xs: la.svd(*xs)[1], (a,)),
        ("qr", lambda la, xs: la.qr(*xs)[1], (a,)),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=pathlib.Path, help="write the table to this file")
    arguments = parser.parse_args()

    torch = _torch()
    lines, solves = [], []
    for name, function, arrays in cases(arguments.size):
        runs = {
            "forward": partial(function, np.linalg, arrays),
            "funcad": partial(gradient, function, arrays),
        }
        if torch:
            runs["PyTorch"] = partial(torch_gradient, torch, function, arrays)
        taken = interleaved_medians(runs, rounds=arguments.rounds, budget=6.0)
        ratio = taken["funcad"] / taken["forward"]
        if name.startswith("solve"):
            solves.append(ratio)
        theirs = f"{taken['PyTorch'] / taken['forward']:.2f}" if torch else "–"
        lines.append(
            f"| {name} | {taken['forward'] * 1e3:.1f} | {taken['funcad'] * 1e3:.1f} | "
            f"{ratio:.2f} | {theirs} |"
        )

    report = "\n".join(
        [
            "# Gradients of linear algebra",
            "",
            describe_machine("numpy", "torch"),
            f"- matrices of {arguments.size} rows and columns, float64; a sum weighted "
            f"at random is differentiated in every operand; medians of "
            f"{arguments.rounds} interleaved turns",
            "",
            "| | NumPy forward, ms | with gradient, ms | ratio | PyTorch's ratio |",
            "| --- | ---: | ---: | ---: | ---: |",
            *lines,
            "",
            f"The gradient of solve costs at most {max(solves):.2f} times the forward "
            f"solve, goal at most {GOAL:g}: "
            + ("pass." if max(solves) <= GOAL else "FAIL."),
        ]
    )
    print(report)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(report + "\n")
    return 0


def gradient(function: Callable[[Any, Any], Any], arrays: Any) -> Any:
    def loss(xs: Any) -> Any:
        y = function(np.linalg, xs)
        return np.sum(y * _weights(np.shape(y)))

    return funcad.grad(loss)(arrays)


_made: dict[tuple[int, ...], np.ndarray] = {}


def _weights(shape: tuple[int, ...]) -> np.ndarray:
    if shape not in _made:
        _made[shape] = np.random.default_rng(1).standard_normal(shape)
    return _made[shape]


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        return None
    return torch


def torch_gradient(torch: Any, function: Callable[[Any, Any], Any], arrays: Any) -> Any:
    xs = [torch.from_numpy(x).requires_grad_() for x in arrays]
    y = function(torch.linalg, xs)
    loss = torch.sum(y * torch.from_numpy(np.asarray(_weights(tuple(y.shape)))))
    return torch.autograd.grad(loss, xs)


if __name__ == "__main__":
    sys.exit(main())
