"""Functions that loop and branch, written for whatever loops and branches they get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import funcad.numpy as fnp
from funcad import lax, tree
from funcad.core.tracing import Tracer


class Python:
    """Python's loops and branches, what those of ``funcad.lax`` are held against."""

    @staticmethod
    def scan(
        f: Any, init: Any, xs: Any = None, length: Any = None, reverse: Any = False
    ):
        carry, rows = init, []
        steps = range(len(tree.leaves(xs)[0]) if length is None else length)
        for i in reversed(steps) if reverse else steps:
            carry, y = f(carry, tree.map(lambda x, i=i: x[i], xs))
            rows.append(y)
        rows = rows[::-1] if reverse else rows
        stack = lambda *leaves: fnp.stack([fnp.asarray(y) for y in leaves])  # noqa: E731
        return carry, tree.map(stack, *rows)

    @staticmethod
    def fori_loop(lower: Any, upper: Any, f: Any, init: Any):
        for i in range(lower, upper):
            init = f(i, init)
        return init

    @staticmethod
    def cond(pred: Any, true_fun: Any, false_fun: Any, *operands: Any):
        if isinstance(pred, Tracer):
            yes, no = true_fun(*operands), false_fun(*operands)
            return tree.map(lambda a, b: fnp.where(pred, a, b), yes, no)
        return true_fun(*operands) if pred else false_fun(*operands)


class Model(NamedTuple):
    """A function of ``(control, *arguments)`` and its arguments."""

    function: Callable[..., Any]
    arguments: Callable[[np.random.Generator, int], tuple[Any, ...]]


def normal(rng: Any, *shape: int) -> Any:
    return 0.5 * rng.standard_normal(shape)


def recurrent(control, params, h, xs, reverse=False):
    def step(h, x):
        h = np.tanh(params["w"] @ h + params["u"] * x)
        return h, {"h": h, "norm": np.sum(h * h), "none": None}

    return control.scan(step, h, xs, reverse=reverse)


def backwards(control, params, h, xs):
    return recurrent(control, params, h, xs, reverse=True)


def counting(control, w, start, xs):
    def step(carry, x):
        count, total = carry["count"], carry["total"]
        total = total * np.cos(w * x["a"]) + x["b"] / (count + 1)
        return {"count": count + 1, "total": total}, (count, total, x["n"] * total)

    return control.scan(step, {"count": 2, "total": start}, xs)


def rotating(control, w, z, xs):
    def step(z, x):
        z = z * np.exp(1j * w) + x
        return z, (np.abs(z) ** 2, z.conj())

    return control.scan(step, z, xs)


def shifting(control, w, register, xs):
    """Each carry takes three steps to depend on the input."""

    def step(register, x):
        a, b, c = register
        return (b, c, np.sin(w) * x), a * 2.0

    return control.scan(step, register, xs)


def invariant(control, w, h, xs):
    """Much that depends on the constants alone."""

    def step(h, x):
        scale = np.exp(w) / (1 + np.sum(np.exp(w)))
        return h * scale + x, np.log1p(scale**2) * h

    return control.scan(step, h, xs)


def squares(control, x, n):
    """Without inputs, and with a carry that is a Python number."""
    return control.scan(lambda c, _: (c + x * c * x, c), 1.0, length=len(n))


def nested(control, w, h, xs):
    def outer(h, x):
        def inner(carry, y):
            g, k = carry
            return (np.sin(g * w) + y * k, k + h[0]), g

        (g, _), seen = control.scan(inner, (h, x[0]), x)
        return g, np.sum(seen, axis=0)

    return control.scan(outer, h, xs)


def branching(control, w, h, xs):
    def step(h, x):
        grow = lambda h, x: (h * x * w, np.sum(h))  # noqa: E731
        h, y = control.cond(np.sum(x) > 0, grow, lambda h, x: (h - x, 2.0), h, x)
        return h, y

    return control.scan(step, h, xs)


def looping_in_a_branch(control, w, h, xs):
    def loop(h):
        return control.scan(lambda c, x: (np.sin(c) * w + x, c), h, xs)[0]

    return control.cond(np.sum(h) > 0, loop, lambda h: h * np.sum(xs, axis=0), h)


def powers(control, w, h, xs):
    return control.fori_loop(
        1,
        4,
        lambda i, c: np.sin(c) * w / i + fnp.take(xs, i % len(xs), axis=0) * (i > 1),
        h,
    )


VECTORS = lambda rng, n: (normal(rng, 3), normal(rng, 3), normal(rng, n, 3))  # noqa: E731

MODELS = {
    "recurrent": Model(
        recurrent,
        lambda rng, n: (
            {"w": normal(rng, 3, 3), "u": normal(rng, 3)},
            normal(rng, 3),
            normal(rng, n, 3),
        ),
    ),
    "backwards": Model(
        backwards,
        lambda rng, n: (
            {"w": normal(rng, 3, 3), "u": normal(rng, 3)},
            normal(rng, 3),
            normal(rng, n, 3),
        ),
    ),
    "counting": Model(
        counting,
        lambda rng, n: (
            normal(rng, 2),
            normal(rng, 2),
            {"a": normal(rng, n, 2), "b": normal(rng, n), "n": rng.integers(0, 4, n)},
        ),
    ),
    "rotating": Model(
        rotating,
        lambda rng, n: (
            normal(rng, 2),
            normal(rng, 2) + 1j * normal(rng, 2),
            normal(rng, n, 2),
        ),
    ),
    "shifting": Model(
        shifting,
        lambda rng, n: (
            normal(rng),
            (normal(rng, 2), normal(rng, 2), normal(rng, 2)),
            normal(rng, n, 2),
        ),
    ),
    "invariant": Model(invariant, VECTORS),
    "squares": Model(squares, lambda rng, n: (normal(rng), normal(rng, n))),
    "nested": Model(
        nested,
        lambda rng, n: (normal(rng, 2), normal(rng, 2), normal(rng, n, 2, 2)),
    ),
    "branching": Model(branching, VECTORS),
    "looping_in_a_branch": Model(looping_in_a_branch, VECTORS),
    "powers": Model(powers, VECTORS),
}

__all__ = ["MODELS", "Model", "Python", "lax"]
