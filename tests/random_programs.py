"""Programs put together at random.

A program is a short list of steps, each a function of earlier values: primitives of the
sample table applied entry by entry, and what surrounds them in ordinary code (sums,
products, reshaping, indexing, matrix products).  Values may be used many times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from funcad.backends import backend_of
from funcad.core.tracing import registry
from samples import SAMPLES
from samples.table import import_every_module

import_every_module()


class Step(NamedTuple):
    """One line of a program: its text, and its function of all values so far."""

    text: str
    function: Callable[[list[Any]], Any]


class Program:
    """A scalar function of a list of arrays."""

    def __init__(self, shapes: list[tuple[int, ...]], steps: list[Step]) -> None:
        self.shapes = shapes
        self.steps = steps

    def __call__(self, *inputs: Any) -> Any:
        values = list(inputs)
        for step in self.steps:
            values.append(step.function(values))
        # the sum of a bounded function of the results that nothing else bounds
        return sum(np.sum(np.tanh(v)) for v in values[-2:])

    def __repr__(self) -> str:
        names = [f"v{i}: {s}" for i, s in enumerate(self.shapes)]
        lines = [f"v{len(names) + i} = {s.text}" for i, s in enumerate(self.steps)]
        return "\n".join([f"program({', '.join(names)})", *lines])

    def draw(self, rng: np.random.Generator) -> list[Any]:
        """Inputs, or directions."""
        return [rng.uniform(-1, 1, shape) for shape in self.shapes]


# ---------------------------------------------------------------------------- steps

ENTRYWISE = sorted(
    name
    for name, row in SAMPLES.items()
    if row.domains and len(row.smooth) == len(row.domains) and hasattr(np, name)
)


def entrywise_step(draw: Any, values: list[Any]) -> Step:
    """A function of NumPy's, its operands brought into its domain."""
    name = draw(st.sampled_from(ENTRYWISE))
    domains = SAMPLES[name].domains
    places = [draw(st.integers(0, len(values) - 1)) for _ in domains]
    intervals = [draw(st.sampled_from(domain.intervals)) for domain in domains]
    primitive = registry[name]

    def function(values: list[Any]) -> Any:
        operands = [
            low + (high - low) * (0.5 + 0.45 * np.tanh(values[i]))
            for i, (low, high) in zip(places, intervals, strict=True)
        ]
        return primitive(*operands)

    text = ", ".join(f"{iv} <- v{i}" for i, iv in zip(places, intervals, strict=True))
    return Step(f"{name}({text})", function)


def arithmetic_step(draw: Any, values: list[Any]) -> Step:
    i, j = (draw(st.integers(0, len(values) - 1)) for _ in range(2))
    symbol, function = draw(
        st.sampled_from(
            [
                ("v{i} + v{j}", lambda v: v[i] + v[j]),
                ("v{i} - v{j}", lambda v: v[i] - v[j]),
                ("v{i} * v{j}", lambda v: v[i] * v[j]),
                ("v{i} / (2 + v{j} ** 2)", lambda v: v[i] / (2 + v[j] ** 2)),
                ("0.5 * v{i} - 1", lambda v: 0.5 * v[i] - 1),
                ("v{i} ** 3 / 4", lambda v: v[i] ** 3 / 4),
                ("where(v{i} > 0, v{j}, -v{j})", _where(i, j)),
            ]
        )
    )
    return Step(symbol.format(i=i, j=j), function)


def _where(i: int, j: int) -> Callable[[list[Any]], Any]:
    # v squared times sign: smooth where the condition changes
    return lambda v: np.where(v[i] > 0, v[i] ** 2, -(v[i] ** 2)) * v[j]


def structural_step(draw: Any, values: list[Any]) -> Step:
    i = draw(st.integers(0, len(values) - 1))
    shape = values[i].shape
    rank = len(shape)
    axis = draw(st.integers(-rank, rank - 1)) if rank else None
    keepdims = draw(st.booleans())
    choices: list[tuple[str, Callable[[Any], Any]]] = [
        ("ravel", np.ravel),
        ("transpose", np.transpose),
        ("v[None]", lambda x: x[None]),
        ("stack([v, v ** 2])", lambda x: np.stack([x, x**2])),
        (f"mean {axis}", lambda x: np.mean(x, axis=axis, keepdims=keepdims)),
        (f"sum {axis}", lambda x: np.sum(x, axis=axis, keepdims=keepdims)),
        (f"prod {axis}", lambda x: np.prod(x, axis=axis)),
        ("pad", lambda x: np.pad(x, 1, constant_values=0.5)),
    ]
    if rank:
        n = shape[axis]
        numbers = draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=4))
        choices += [
            (f"take {numbers} {axis}", lambda x: np.take(x, numbers, axis)),
            ("v[::-1]", lambda x: x[::-1]),
            ("v[..., 0]", lambda x: x[..., 0]),
            (f"v[{numbers}]", _rows([k % shape[0] for k in numbers])),
            (f"cumsum {axis}", lambda x: np.cumsum(x, axis)),
            (f"cumprod {axis}", lambda x: np.cumprod(x, axis)),
            (f"concatenate {axis}", lambda x: np.concatenate([x, 2 * x], axis)),
            (f"flip, diff {axis}", lambda x: np.diff(np.flip(x, axis), axis=axis)),
            (f"std {axis}", lambda x: np.sqrt(1 + np.var(x, axis=axis))),
            ("v @ v.T", lambda x: x @ x.T if x.ndim < 3 else x),
            ("einsum", lambda x: np.einsum("i...,i...->...", x, np.cos(x))),
        ]
    name, function = draw(st.sampled_from(choices))
    return Step(f"{name} of v{i}", lambda v: function(v[i]))


def _rows(numbers: list[int]) -> Callable[[Any], Any]:
    return lambda x: x[numbers]


def product_step(draw: Any, values: list[Any]) -> Step:
    """A product of matrices, or the solution of equations."""
    matrices = [i for i, v in enumerate(values) if v.ndim == 2 and v.size]
    if not matrices:
        return arithmetic_step(draw, values)
    i = draw(st.sampled_from(matrices))
    rows, columns = values[i].shape
    fitting = [
        j for j, v in enumerate(values) if v.ndim in (1, 2) and v.shape[0] == columns
    ]
    if fitting and draw(st.booleans()):
        j = draw(st.sampled_from(fitting))
        return Step(f"v{i} @ v{j}", lambda v: v[i] @ v[j])

    def gram(x: Any) -> Any:
        return np.tanh(x) @ np.tanh(x).T + 2 * _identity(x, rows)

    name, function = draw(
        st.sampled_from(
            [
                ("solve", lambda x: np.linalg.solve(gram(x), x)),
                ("inv", lambda x: np.linalg.inv(gram(x))),
                ("cholesky", lambda x: np.linalg.cholesky(gram(x))),
                ("slogdet", lambda x: np.linalg.slogdet(gram(x))[1]),
            ]
        )
    )
    return Step(f"{name}(gram matrix of v{i})", lambda v: function(v[i]))


def _identity(x: Any, n: int) -> Any:
    return backend_of(x).from_host(np.eye(n))


STEPS = (
    *(entrywise_step, entrywise_step, arithmetic_step, arithmetic_step),
    *(structural_step, structural_step, product_step),
)


@st.composite
def programs(draw: Any) -> Program:
    """Programs of up to eight steps that stay small and finite."""
    shape = st.sampled_from([(), (3,), (2, 3), (2, 2), (1, 2)])
    shapes = draw(st.lists(shape, min_size=1, max_size=2))
    rng = np.random.default_rng(0)
    values: list[Any] = [np.asarray(rng.uniform(-1, 1, s)) for s in shapes]
    steps: list[Step] = []
    for _ in range(draw(st.integers(1, 8))):
        step = draw(st.sampled_from(STEPS))(draw, values)
        try:
            value = np.asarray(step.function(values))
        except ValueError:  # shapes that do not broadcast
            continue
        if not 0 < value.size <= 24 or value.ndim > 3:
            continue
        values.append(value)
        steps.append(step)
    assume(steps)
    return Program(shapes, steps)
