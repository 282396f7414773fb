"""Trompt, a network for tables, written twice: as it reads, and as it runs fast.

::

    python -m funcad.examples.trompt            # trains; root mean squared errors
    python -m funcad.examples.trompt --speed    # rows per second of each way to train

A cell of Trompt looks at the columns of a row through prompts.  In shapes, B is the
batch, C the columns, P the prompts, d the width, and L the cells:

1. *Importances*, (B, P, C).  Prompts E (P, d) and the last cell's output O (B, P, d) go
   through a dense layer, ``[E, O] W + b + E + O``; products with the embeddings of the
   columns (C, d) and a softmax over the columns weigh the columns for each prompt.
2. *Features*, (B, C, d): a number times a vector plus a vector, rectified, normalised.
3. *Expansion*, (B, P, C, d): each prompt has its own multiple of the features, plus its
   own number.  It is linear here.  The importances' sum over the columns is the output.

One head for all cells weighs the prompts' outputs and ends in a small network; the loss
is the mean of all cells' squared errors.  `naive` is that, word for word.  `rearranged`
is the same function: the expansion being linear, the sum over the columns can come
first, and then neither the expansion nor even an output (B, P, d) has to exist.

References
----------
K.-Y. Chen et al., *Trompt: towards a better deep neural network for tabular data*, ICML
2023, arXiv:2305.18446.  There the expansion is rectified and normalised.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import funcad
from funcad import nn, optim, tree
from funcad.examples.command import (
    UsageError,
    positive,
    require_packages,
    run_command,
    seed,
)

Array = Any
Params = dict[str, Any]
Model = Callable[[Params, Array], Array]


class Sizes(NamedTuple):
    """Sizes of a network; by default the paper's, for a table of eight columns."""

    columns: int = 8
    prompts: int = 128
    width: int = 128
    cells: int = 6


def init_params(rng: np.random.Generator, sizes: Sizes, dtype: Any = "f4") -> Params:
    """Random parameters: those of the cells stacked, and those of the head.

    Parameters
    ----------
    rng : numpy.random.Generator
    sizes : Sizes
    dtype : dtype, optional

    Returns
    -------
    dict
        Of arrays of `dtype`.
    """
    columns, prompts, width, cells = sizes

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (scale * rng.standard_normal(shape)).astype(dtype)

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, dtype)

    return {
        "prompt": normal(cells, prompts, width, scale=0.1),
        "column": normal(cells, columns, width, scale=0.1),
        "dense": normal(cells, 2 * width, width, scale=(2 * width) ** -0.5),
        "dense_bias": zeros(cells, width),
        "feature": normal(cells, columns, width),
        "feature_bias": normal(cells, columns, width),
        "scale": np.ones((cells, width), dtype),
        "shift": zeros(cells, width),
        "expand": normal(cells, prompts),
        "expand_bias": zeros(cells, prompts),
        "start": normal(prompts, width, scale=0.1),
        "attend": normal(width, scale=width**-0.5),
        "hidden": normal(width, width, scale=width**-0.5),
        "hidden_bias": zeros(width),
        "out": normal(width, scale=width**-0.5),
        "out_bias": zeros(),
    }


# ------------------------------------------------------------------ as it reads


def naive(params: Params, x: Array) -> Array:
    """What each cell predicts, with a loop over columns and prompts.

    Parameters
    ----------
    params : dict
        As `init_params` makes them.
    x : array, (B, C)

    Returns
    -------
    array, (L, B)
    """
    cells, columns, _ = params["column"].shape
    prompts, width = params["start"].shape
    rows = (x.shape[0], prompts, width)
    output = np.broadcast_to(params["start"], rows)
    predictions = []
    for cell in range(cells):
        prompt = np.broadcast_to(params["prompt"][cell], rows)
        joined = np.concatenate([prompt, output], axis=-1)
        mixed = joined @ params["dense"][cell] + params["dense_bias"][cell]
        mixed = mixed + prompt + output
        scores = [mixed @ params["column"][cell, c] for c in range(columns)]
        importances = nn.softmax(np.stack(scores, axis=-1))

        scale, shift = params["scale"][cell], params["shift"][cell]
        features = []
        for c in range(columns):
            weight, bias = params["feature"][cell, c], params["feature_bias"][cell, c]
            line = x[:, c, None] * weight + bias
            features.append(nn.layer_norm(nn.relu(line), scale, shift))

        expanded = []
        for p in range(prompts):
            weight, bias = params["expand"][cell, p], params["expand_bias"][cell, p]
            of_prompt = [feature * weight + bias for feature in features]
            expanded.append(np.stack(of_prompt, axis=1))
        expansion = np.stack(expanded, axis=1)  # (B, P, C, d)
        output = np.sum(importances[..., None] * expansion, axis=2)

        attention = nn.softmax(output @ params["attend"])
        pooled = np.sum(attention[..., None] * output, axis=1)
        predictions.append(_head(params, pooled))
    return np.stack(predictions)


def _head(params: Params, pooled: Array) -> Array:
    hidden = nn.relu(pooled @ params["hidden"] + params["hidden_bias"])
    return hidden @ params["out"] + params["out_bias"]


# ------------------------------------------------------------------ as it runs fast


def rearranged(params: Params, x: Array) -> Array:
    """What `naive` computes, without the arrays whose size has both P and d.

    The output of a cell, ``O = w (M F) + v`` with importances M, features F and the
    expansion's w and v, is needed in three places, always in a product; each is taken
    apart so that the axis of length d is gone before the axis of prompts comes.

    - In the next cell's scores, ``([E, O] W + b + E + O) K^T`` with its columns K.  The
      summands of E are the same for all rows.  In that of O, the weights and K^T make a
      matrix A (d, C), and ``O A = w (M (F A)) + v (1 A)``: per row, products of (P, C)
      with (C, C) instead of (P, 2 d) with (2 d, d).
    - In the attention of the head, a vector in the place of A, so it goes along.
    - In the head's sum of outputs by attention a, ``a O = ((a w) M) F + a v``.

    The first cell's importances are the same for all rows.  The scale and shift of the
    features' norm go into A and into the head.

    Parameters
    ----------
    params : dict
        As `init_params` makes them.
    x : array, (B, C)

    Returns
    -------
    array, (L, B)
    """
    cells, columns, width = params["column"].shape
    w, v = params["expand"], params["expand_bias"]

    # what is the same for all rows, for all cells at once
    column_t = np.swapaxes(params["column"], 1, 2)  # (L, d, C)
    folded = params["dense"] @ column_t
    of_prompt, of_output = folded[:, :width] + column_t, folded[:, width:] + column_t
    own = params["prompt"] @ of_prompt + params["dense_bias"][:, None] @ column_t
    first = nn.softmax(own[0] + params["start"] @ of_output[0])  # (P, C)
    of_output = of_output[1:]
    own = own[1:] + v[:-1, :, None] * np.sum(of_output, axis=1)[:, None]
    own = np.swapaxes(own, 1, 2)  # (L - 1, C, P)

    # what each cell's features are read by: the next cell (the last has none), the head
    readers = np.concatenate([of_output, np.zeros_like(column_t[:1])])
    attend = np.broadcast_to(params["attend"][:, None], (cells, width, 1))
    readers = np.concatenate([readers, attend], axis=2)  # (L, d, C + 1)
    scale, shift = params["scale"][:, None], params["shift"][:, None]

    # features of all cells, (L, C, B, d), and how they read, (L, B, C + 1, C)
    line = np.stack([params["feature"], params["feature_bias"]], axis=2)
    x_and_one = np.stack([x.T, np.ones_like(x.T)], axis=2)  # (C, B, 2)
    features = nn.layer_norm(nn.relu(x_and_one @ line))
    flat = features.reshape(cells, -1, width)
    read = flat @ (np.swapaxes(scale, 1, 2) * readers) + shift @ readers
    read = read.reshape(cells, columns, -1, columns + 1).transpose(0, 2, 3, 1)

    weights, offsets = [], []
    importances = first.T
    for cell in range(cells):  # importances: (B, C, P)
        product = read[cell] @ importances * w[cell]
        attention = product[:, -1] + v[cell] * np.sum(params["attend"])
        attention = nn.softmax(attention)  # (B, P)
        weights.append(_applied(importances, attention * w[cell]))
        offsets.append(attention @ v[cell])
        if cell < cells - 1:
            importances = nn.softmax(product[:, :-1] + own[cell], axis=1)

    weight = np.stack(weights)[:, :, None]  # (L, B, 1, C)
    pooled = (weight @ np.swapaxes(features, 1, 2))[:, :, 0] * scale
    total = np.sum(weight, axis=3)
    return _head(params, pooled + total * shift + np.stack(offsets)[..., None])


def _applied(importances: Array, attention: Array) -> Array:
    """Sums over the prompts, (B, C), of importances (C, P) or (B, C, P)."""
    if importances.ndim == 2:
        return attention @ importances.T
    return (importances @ attention[:, :, None])[:, :, 0]


# ------------------------------------------------------------------ training


def loss(model: Model, params: Params, x: Array, y: Array) -> Array:
    """Squared error, the mean over rows and cells.

    Parameters
    ----------
    model : callable
        `naive` or `rearranged`.
    params : dict
    x : array, (B, C)
    y : array, (B,)

    Returns
    -------
    array, ()
    """
    return np.mean((model(params, x) - y) ** 2)


def predict(params: Params, x: Array) -> Array:
    """The mean of the cells' predictions, (B,)."""
    return np.mean(rearranged(params, x), axis=0)


def make_step(
    model: Model, optimiser: optim.GradientTransformation
) -> Callable[[Params, Any, Array, Array], tuple[Params, Any, Array]]:
    """A training step, ``step(params, state, x, y) -> params, state, loss``."""

    def step(
        params: Params, state: Any, x: Array, y: Array
    ) -> tuple[Params, Any, Array]:
        value, grads = funcad.value_and_grad(lambda p: loss(model, p, x, y))(params)
        updates, state = optimiser.update(grads, state, params)
        return optim.apply_updates(params, updates), state, value

    return step


class Table(NamedTuple):
    """A table and what is to be predicted from its rows, in two parts."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def california_like(rows: int = 20640, seed: int = 0, dtype: Any = "f4") -> Table:
    """A table made here, of the shape of the California housing data.

    Eight columns, three of them skewed as incomes are.  The target is scikit-learn's
    `make_regression` of them, and what no linear model sees: a bump over two columns,
    as places have, and a product of two others.

    Parameters
    ----------
    rows : int, optional
    seed : int, optional
    dtype : dtype, optional

    Returns
    -------
    Table
        With columns and targets of mean 0 and variance 1; a fifth is for testing.
    """
    from sklearn.datasets import make_regression

    x, linear = make_regression(rows, 8, n_informative=5, random_state=seed)
    noise = np.random.default_rng(seed).normal(size=rows)
    place = np.exp(-((x[:, 6] - 0.5) ** 2) - (x[:, 7] + 0.5) ** 2)
    y = linear / linear.std() + 3 * place + x[:, 0] * np.tanh(x[:, 1]) + 0.2 * noise
    x[:, :3] = np.exp(x[:, :3] / 2)
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(dtype)
    y = ((y - y.mean()) / y.std()).astype(dtype)
    kept = rows - rows // 5
    return Table(x[:kept], y[:kept], x[kept:], y[kept:])


def train(
    table: Table, sizes: Sizes, steps: int, batch: int, seed: int = 0
) -> tuple[Params, list[float]]:
    """Parameters after `steps` steps on random rows, and the loss of each."""
    rng = np.random.default_rng(seed)
    params = init_params(rng, sizes, table.x.dtype)
    schedule = optim.warmup_cosine_decay_schedule(0.0, 2e-3, steps // 10, steps)
    optimiser = optim.adamw(schedule, weight_decay=1e-4)
    state = optimiser.init(params)
    step = funcad.jit(make_step(rearranged, optimiser))
    losses = []
    for _ in range(steps):
        rows = rng.integers(0, len(table.x), batch)
        params, state, value = step(params, state, table.x[rows], table.y[rows])
        losses.append(float(value))
    return params, losses


def root_mean_squared_error(params: Params, table: Table, batch: int = 512) -> float:
    """On the rows for testing."""
    run = funcad.jit(predict)
    parts = np.array_split(table.x_test, -(-len(table.x_test) // batch))
    predicted = np.concatenate([run(params, part) for part in parts])
    return float(np.sqrt(np.mean((predicted - table.y_test) ** 2)))


def ridge_error(table: Table) -> float:
    """The same of ridge regression."""
    from sklearn.linear_model import Ridge

    predicted = Ridge().fit(table.x, table.y).predict(table.x_test)
    return float(np.sqrt(np.mean((predicted - table.y_test) ** 2)))


# ------------------------------------------------------------------ speed


def contestants(
    sizes: Sizes, x: Array, y: Array, seed: int = 0
) -> dict[str, Callable[[], Any]]:
    """For each way to train, a function that makes a step of its own training."""
    optimiser = optim.adamw(1e-3, weight_decay=1e-4)

    def training(make: Callable[..., Any]) -> Callable[[], Any]:
        params = init_params(np.random.default_rng(seed), sizes, x.dtype)
        held = [params, optimiser.init(params)]

        def run() -> Any:
            params, state, value = make(*held, x, y)
            held[:] = params, state
            return value

        return run

    return {
        "naive, eager": training(make_step(naive, optimiser)),
        "rearranged, eager": training(make_step(rearranged, optimiser)),
        "rearranged, jit": training(funcad.jit(make_step(rearranged, optimiser))),
    }


def seconds_of(run: Callable[[], Any], budget: float = 1.0, most: int = 20) -> float:
    """Median seconds of a call, after an untimed one."""
    run()
    taken: list[float] = []
    while len(taken) < most and (not taken or sum(taken) < budget):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


# ------------------------------------------------------------------ the command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        Exit code: 0, 2 for what the user has to change, 130 for Ctrl-C.
    """
    return run_command("trompt", execute, parse(arguments))


def execute(options: argparse.Namespace) -> None:
    """Train and say how well it went, or say how fast steps are."""
    require_packages("sklearn")
    sizes = Sizes(8, 16, 16, 3) if options.quick else Sizes()
    table = california_like(4000 if options.quick else 20640, options.seed)
    if options.batch > len(table.x):
        raise UsageError(
            f"--batch {options.batch} is more than the {len(table.x)} rows that there "
            "are to train on."
        )
    if options.speed:
        x, y = table.x[: options.batch], table.y[: options.batch]
        print(f"{sizes}, batches of {len(x)} rows")
        for name, run in contestants(sizes, x, y, options.seed).items():
            print(f"{name:<20}{len(x) / seconds_of(run):12,.0f} rows per second")
        return

    steps = options.steps or (300 if options.quick else 1500)
    start = time.perf_counter()
    params, losses = train(table, sizes, steps, options.batch, options.seed)
    seconds = time.perf_counter() - start
    count = sum(leaf.size for leaf in tree.leaves(params))
    print(
        f"{count:,} parameters, {steps:,} steps of {options.batch} rows in "
        f"{seconds:.1f} s: {steps * options.batch / seconds:,.0f} rows per second"
    )
    print(
        f"training loss, the last tenth  {np.mean(losses[-(steps // 10 or 1) :]):.4f}"
    )
    print(
        f"test RMSE of Trompt            {root_mean_squared_error(params, table):.4f}"
    )
    print(f"test RMSE of ridge regression  {ridge_error(table):.4f}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m funcad.examples.trompt",
        description="Train Trompt, a network for tables, on a table made here.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a small network and few steps"
    )
    parser.add_argument("--steps", type=positive, help="steps of training")
    parser.add_argument(
        "--batch",
        type=positive,
        default=128,
        help="rows in a step (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=seed(32), default=0, help="decides all that is random"
    )
    parser.add_argument(
        "--speed",
        action="store_true",
        help="time a step written naively, rearranged, and compiled",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
