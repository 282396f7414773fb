"""The pictures of f(x1, x2) = x1 x2 + sin x1 under each trace.

``python docs/pictures/draw.py`` writes them beside this file: the evaluation traces of
forward and reverse mode, and the programs that the Dual, Linear, Batch and Stage traces
make of ``f``, with the transpose of the linear one.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import funcad
from funcad.core.drawing import Drawing

FOLDER = Path(__file__).parent


def f(x1, x2):
    """The function of the pictures."""
    return x1 * x2 + np.sin(x1)


def pictures() -> dict[str, Drawing]:
    """Every picture by its name, laid out by funcad, which is the same everywhere."""
    x = 2.0, 5.0
    number = funcad.ShapeDtypeStruct((), float)
    row = funcad.ShapeDtypeStruct((8,), float)

    def forward(x, t):
        return funcad.jvp(f, x, t)

    pullback = funcad.vjp(f, *map(np.float64, x))[1]
    drawn = {
        "trace_forward": funcad.viz.trace(f, *x),
        "trace_reverse": funcad.viz.trace(f, *x, mode="reverse"),
        "stage": funcad.make_program(f)(number, number),
        "dual": funcad.make_program(forward)((number, number), (number, number)),
        "linear": funcad.linearize(f, *map(np.float64, x))[1].program,
        "transposed": funcad.make_program(pullback)(number),
        "batch": funcad.make_program(funcad.vmap(f, in_axes=(0, None)))(row, number),
    }
    return {name: without_lines(x.draw("python")) for name, x in drawn.items()}


def without_lines(picture: Drawing) -> Drawing:
    """The picture without the places of lines, which are another machine's tomorrow."""
    return Drawing(re.sub(rf"\n[^\n<]*{Path(__file__).name}:\d+[^<]*", "", picture.svg))


if __name__ == "__main__":
    for name, picture in pictures().items():
        picture.save(FOLDER / f"{name}.svg")
