"""Train a network with and without Hessian-vector products, and compare.

``python -m funcad.examples.second_order`` trains a small network on scikit-learn's
handwritten digits, all of them at every step, by gradient descent, Adam, L-BFGS,
Newton's method and Gauss-Newton, and prints the loss against iterations and against
seconds.  Second order pays where steps are few and exact; a step costs as much as tens
of gradients, and which side wins is for the clock to say.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from funcad import Flatten, nn, optim, value_and_grad
from funcad.examples.command import (
    UsageError,
    require_packages,
    run_command,
    seed,
)

PROGRAM = "second_order"
Array = Any


class Problem(NamedTuple):
    """A network, its data, and the loss as a function of the parameters alone."""

    params: Flatten
    """Matrices, where to start; the last row of each is the bias."""
    model: Callable[[Flatten], Any]
    """From parameters to logits, and the parameters that are kept small."""
    loss: Callable[[Any], Array]
    """From what the model returns to the mean cross-entropy and the decay."""
    accuracy: Callable[[Flatten], float]
    """Share of right answers on what was not learned."""

    def value(self, params: Flatten) -> Array:
        """The loss."""
        return self.loss(self.model(params))


class Run(NamedTuple):
    """What a method did: the loss before each step and after the last one."""

    name: str
    losses: list[float]
    seconds: list[float]
    params: Flatten


class Method(NamedTuple):
    """An optimiser, and what its ``update`` needs beside the gradient."""

    optimiser: optim.GradientTransformation
    extra: Callable[[Problem], dict[str, Any]]


def methods(learning_rate: float = 1.0, adam_rate: float = 0.01) -> dict[str, Method]:
    """The methods that are compared, by name."""
    return {
        "gradient descent": Method(optim.sgd(learning_rate), lambda problem: {}),
        "Adam": Method(optim.adam(adam_rate), lambda problem: {}),
        "L-BFGS": Method(optim.lbfgs(), lambda problem: {"value_fn": problem.value}),
        "Newton-CG": Method(
            optim.newton_cg(damping=0.1), lambda problem: {"value_fn": problem.value}
        ),
        "Gauss-Newton": Method(
            optim.gauss_newton(damping=0.1),
            lambda problem: {"model_fn": problem.model, "loss_fn": problem.loss},
        ),
    }


def network(params: Flatten, x: Array) -> Array:
    """Logits of a network whose layers are matrices and whose activation is tanh.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import Flatten
    >>> network(Flatten([np.ones((3, 2)), np.ones((3, 1))]), np.zeros((4, 2))).shape
    (4, 1)
    """
    *hidden, last = params.tree
    for w in hidden:
        x = np.tanh(x @ w[:-1] + w[-1])
    return x @ last[:-1] + last[-1]


def initial(sizes: Sequence[int], seed: int) -> Flatten:
    """Random matrices for layers of these widths, with a row of zeros for the bias."""
    rng = np.random.default_rng(seed)
    return Flatten(
        [
            np.vstack([rng.normal(size=(n, m)) / np.sqrt(n), np.zeros((1, m))])
            for n, m in zip(sizes[:-1], sizes[1:])
        ]
    )


def digits(
    hidden: Sequence[int], examples: int = 1500, seed: int = 0, decay: float = 1e-4
) -> Problem:
    """Classify scikit-learn's digits: images of 8 by 8 pixels in ten classes."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(images))
    x, y = images[order] / 16, labels[order]
    train_x, train_y = x[:examples], y[:examples]
    # what is not learned: at least the last tenth
    test_x, test_y = x[-len(x) // 10 :], y[-len(x) // 10 :]

    def model(params: Flatten) -> tuple[Array, Flatten]:
        return network(params, train_x), params

    def loss(result: tuple[Array, Flatten]) -> Array:
        logits, params = result
        errors = nn.softmax_cross_entropy(logits, train_y)
        return np.mean(errors) + decay / 2 * params.dot(params)

    def accuracy(params: Flatten) -> float:
        return float(np.mean(network(params, test_x).argmax(axis=1) == test_y))

    return Problem(initial([64, *hidden, 10], seed), model, loss, accuracy)


def train(
    name: str,
    method: Method,
    problem: Problem,
    iterations: int,
    seconds: float,
    advance: Callable[[float], None] = lambda loss: None,
) -> Run:
    """Take steps until there are enough of them or the time is over.

    Parameters
    ----------
    name : str
        What the run is called.
    method, problem
        What trains what.
    iterations : int
        Most steps.
    seconds : float
        After how much time no further step begins.
    advance : callable
        Called with the loss before each step.

    Returns
    -------
    Run
    """
    optimiser, extra = method.optimiser, method.extra(problem)
    derivative = value_and_grad(problem.value)
    from_search = optim.value_and_grad_from_state(problem.value)
    params, state = problem.params, optimiser.init(problem.params)
    losses, times = [], []
    start = time.perf_counter()
    while True:
        if isinstance(state, optim.LBFGSState):
            value, grads = from_search(params, state=state)
        else:
            value, grads = derivative(params)
        losses.append(float(value))
        times.append(time.perf_counter() - start)
        if len(losses) > iterations or times[-1] > seconds:
            return Run(name, losses, times, params)
        advance(losses[-1])
        given = {"value": value, **extra} if extra else {}
        updates, state = optimiser.update(grads, state, params, **given)
        params = optim.apply_updates(params, updates)


def table(runs: Sequence[Run], problem: Problem) -> str:
    """Losses after some numbers of iterations and seconds, a column for each method."""
    width = max(len(run.name) for run in runs) + 2
    longest = max(len(run.losses) - 1 for run in runs)
    slowest = max(run.seconds[-1] for run in runs)
    lines = [" " * 18 + "".join(run.name.rjust(width) for run in runs)]
    for count in _ladder(1, longest):
        cells = [
            f"{run.losses[count]:.5f}" if count < len(run.losses) else ""
            for run in runs
        ]
        lines.append(_row(f"{count} iterations", cells, width))
    for limit in _ladder(0.01, slowest):
        cells = [
            f"{loss:.5f}" if (loss := after(run, limit)) is not None else ""
            for run in runs
        ]
        lines.append(_row(f"{limit:g} s", cells, width))
    lines += [
        _row("iterations", [f"{len(run.losses) - 1}" for run in runs], width),
        _row("seconds", [f"{run.seconds[-1]:.2f}" for run in runs], width),
        _row("last loss", [f"{run.losses[-1]:.5f}" for run in runs], width),
        _row(
            "test accuracy", [f"{problem.accuracy(r.params):.1%}" for r in runs], width
        ),
    ]
    return "\n".join(lines)


def after(run: Run, seconds: float) -> float | None:
    """The last loss that a run had reached by then; ``None`` outside of its time."""
    if not run.seconds[0] <= seconds <= run.seconds[-1]:
        return None
    return run.losses[int(np.searchsorted(run.seconds, seconds, side="right")) - 1]


def _ladder(first: float, last: float) -> list[Any]:
    """1, 2, 5, 10, 20, 50, ... from the first to the last."""
    powers = range(int(np.floor(np.log10(first))), int(np.log10(max(last, first))) + 1)
    steps = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    return [
        int(step) if step >= 1 else step
        for step in steps
        if 0.999 * first <= step <= last
    ]


def _row(name: str, cells: Sequence[str], width: int) -> str:
    return name.rjust(18) + "".join(cell.rjust(width) for cell in cells)


_STYLES = ("-", "--", ":", "-.", (0, (4, 1, 1, 1, 1, 1)))
_COLORS = ("#999999", "#E69F00", "#009E73", "#0072B2", "#D55E00")


def plot(runs: Sequence[Run]) -> Any:
    """The losses against iterations and against seconds, as a matplotlib figure."""
    # Without pyplot, so that no window system is needed and no state is left behind.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for run, style, color in zip(runs, _STYLES, _COLORS):
        look = {"label": run.name, "linestyle": style, "color": color}
        left.plot(np.arange(1, len(run.losses) + 1), run.losses, **look)
        right.plot(run.seconds, run.losses, **look)
    left.set_xlabel("iterations + 1")
    left.set_ylabel("loss")
    right.set_xlabel("seconds")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.grid(alpha=0.3)
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside upper center", ncols=5
    )
    return figure


# --------------------------------------------------------------------------- command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        Exit code: 0, 2 for what the user has to change, 130 for Ctrl-C.
    """
    return run_command(PROGRAM, execute, parse(arguments))


def execute(options: argparse.Namespace) -> None:
    """Train by every method, and print and draw how it went."""
    require_packages("sklearn", "tqdm", *(["matplotlib"] if options.out else []))
    if options.out:
        try:
            options.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot make {options.out}: {error.strerror or error}"
            ) from error

    from tqdm import tqdm

    problem = digits(options.hidden, options.examples, options.seed, options.decay)
    print(f"{len(problem.params):,} parameters, {options.examples:,} images")
    runs = []
    for name, method in methods(options.learning_rate, options.adam_rate).items():
        with tqdm(total=options.iterations, desc=name, leave=False) as bar:

            def advance(loss: float, bar: Any = bar) -> None:
                bar.set_postfix_str(f"loss {loss:.5f}", refresh=False)
                bar.update()

            runs.append(
                train(
                    name, method, problem, options.iterations, options.seconds, advance
                )
            )
    print(table(runs, problem))
    if options.out:
        plot(runs).savefig(options.out / "loss.png", dpi=150)
        print(f"loss curves in {options.out / 'loss.png'}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m funcad.examples.{PROGRAM}",
        description="Train a network with and without Hessian-vector products.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a small network for a second each"
    )
    parser.add_argument(
        "--hidden",
        type=_positive(int),
        nargs="*",
        metavar="WIDTH",
        help="widths of the hidden layers (default: 32 16; quick: 8)",
    )
    parser.add_argument(
        "--examples",
        type=_positive(int),
        metavar="N",
        help="images to learn, 1600 at most (default: 1500; quick: 200)",
    )
    parser.add_argument(
        "--iterations",
        type=_positive(int),
        metavar="N",
        help="most steps of a method (default: 2000; quick: 30)",
    )
    parser.add_argument(
        "--seconds",
        type=_positive(float),
        metavar="S",
        help="time for a method (default: 10; quick: 1)",
    )
    parser.add_argument(
        "--seed", type=seed(32), default=0, help="decides all that is random"
    )
    parser.add_argument(
        "--decay",
        type=_positive(float),
        default=1e-4,
        help="weight of half the squared parameters in the loss (default: %(default)s)",
    )
    parser.add_argument(
        "--learning-rate",
        type=_positive(float),
        default=1.0,
        help="of gradient descent (default: %(default)s)",
    )
    parser.add_argument(
        "--adam-rate",
        type=_positive(float),
        default=0.01,
        help="of Adam (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for loss.png (default: none)"
    )
    options = parser.parse_args(arguments)
    usual = {"hidden": [32, 16], "examples": 1500, "iterations": 2000, "seconds": 10.0}
    quick = {"hidden": [8], "examples": 200, "iterations": 30, "seconds": 1.0}
    for key, default in (quick if options.quick else usual).items():
        if getattr(options, key) is None:
            setattr(options, key, default)
    if options.examples > 1600:
        parser.error("--examples: there are 1797, and some are kept for the test")
    return options


def _positive(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def convert(argument: str) -> Any:
        value = kind(argument)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{argument} is not positive")
        return value

    convert.__name__ = kind.__name__
    return convert


if __name__ == "__main__":
    sys.exit(main())
