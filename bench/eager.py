"""Speed and memory of the eager path, beside autograd, PyTorch and JAX without jit.

Everything runs in this one process, the libraries taking turns, so that the machine's
noise hits all equally; figures are medians. Before a thing is timed, its results are
compared across the libraries.

    python bench/eager.py --out bench/results/eager.md
    python bench/eager.py --quick --only chain
"""

from __future__ import annotations

import argparse
import functools
import gc
import pathlib
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import models
from _machine import describe_machine
from _timing import interleaved_medians
from libraries import Library, installed
from models import Batch, Sizes, Tree, leaves, map_leaves

SIZES = (
    Sizes(batch=16, length=32, width=64, layers=4),
    Sizes(batch=16, length=64, width=128, layers=4),
)
CHAIN = 200
DEPTHS = (100, 1_000, 10_000)
FORWARD = "NumPy forward"
# How much dearer an operation may be in a chain ten times as long and still count as
# linear growth: the values that are kept no longer fit into the caches.
LINEAR = 1.5

Libraries = Mapping[str, Library]


class Effort(NamedTuple):
    """How long to measure."""

    rounds: int
    budget: float
    """Seconds for one library in one row."""

    def medians(self, runs: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
        return interleaved_medians(runs, rounds=self.rounds, budget=self.budget)


class Row(NamedTuple):
    """One line of a table, a figure for each column."""

    title: str
    figures: dict[str, float]


class Target(NamedTuple):
    """A figure and what it must not exceed."""

    title: str
    figure: float
    goal: float

    def __str__(self) -> str:
        verdict = "pass" if self.figure <= self.goal else "FAIL"
        return f"| {self.title} | {self.figure:.2f} | {self.goal:g} | {verdict} |"


class Findings(NamedTuple):
    """What one section found."""

    times: list[Row] = []
    ratios: list[Row] = []
    memory: list[Row] = []
    targets: list[Target] = []


# --- sections ------------------------------------------------------------------------


def measure_chain(libraries: Libraries, effort: Effort) -> Findings:
    """Microseconds per operation of value_and_grad of a chain on 8x8 float64 arrays."""
    x = models.chain_input(np.random.default_rng(0))
    runs = chain_gradients(libraries, x, CHAIN)
    check_agreement("chain", {name: run() for name, run in runs.items()}, 1e-10)
    seconds = effort.medians({FORWARD: lambda: models.chain(np, x, CHAIN)} | runs)
    per_operation = {name: s / CHAIN * 1e6 for name, s in seconds.items()}
    return Findings(
        times=[Row(f"chain of {CHAIN} operations, us each", per_operation)],
        ratios=[Row(f"chain of {CHAIN} operations", over_forward(seconds))],
        targets=[
            *compared("us per operation", seconds, "autograd", 0.6),
            *compared("us per operation", seconds, "PyTorch", 1.25),
        ],
    )


def measure_depth(libraries: Libraries, effort: Effort) -> Findings:
    """Cost per operation of ever longer chains, under Python's own recursion limit."""
    x = models.chain_input(np.random.default_rng(0))
    rows = []
    for depth in DEPTHS:
        runs = chain_gradients(libraries, x, depth)
        seconds = effort.medians(
            {FORWARD: functools.partial(models.chain, np, x, depth)} | runs
        )
        per_operation = {name: s / depth * 1e6 for name, s in seconds.items()}
        rows.append(Row(f"chain of {depth:,} operations, us each", per_operation))
    targets = []
    if "funcad" in libraries:
        shorter, longer = rows[-2].figures["funcad"], rows[-1].figures["funcad"]
        title = "us per operation, {:,} operations / {:,}".format(*DEPTHS[:-3:-1])
        targets = [Target(title, longer / shorter, LINEAR)]
    return Findings(times=rows, targets=targets)


def measure_transformer(libraries: Libraries, effort: Effort) -> Findings:
    """Gradient and Hessian-vector product of the transformer, float32."""
    found = Findings([], [], [], [])
    for sizes in SIZES:
        rng = np.random.default_rng(0)
        params = models.transformer_params(rng, sizes)
        batch = models.transformer_batch(rng, sizes)
        direction = models.transformer_params(rng, sizes)
        gradients, products = {}, {}
        for name, library in libraries.items():
            own = functools.partial(map_leaves, library.asarray)
            loss = functools.partial(
                transformer_loss_of, library, Batch(*own(batch)), sizes.heads
            )
            at = own(params)
            gradients[name] = functools.partial(library.value_and_grad(loss), at)
            products[name] = functools.partial(library.hvp(loss), at, own(direction))
        check_agreement(f"transformer {sizes}, gradient", call_all(gradients), 1e-4)
        check_agreement(f"transformer {sizes}, HVP", call_all(products), 1e-3)

        forward = functools.partial(
            models.transformer_loss, np, params, batch, sizes.heads
        )
        seconds = effort.medians({FORWARD: forward} | gradients)
        found.times.append(Row(f"transformer {sizes}, gradient, ms", in_ms(seconds)))
        found.ratios.append(Row(f"transformer {sizes}", over_forward(seconds)))
        found.targets.extend(
            compared(
                f"gradient of transformer {sizes}",
                seconds,
                "autograd, as installed",
                0.6,
            )
        )
        seconds = effort.medians(products)
        found.times.append(Row(f"transformer {sizes}, HVP, ms", in_ms(seconds)))
    return found


def measure_mlp(libraries: Libraries, effort: Effort) -> Findings:
    """Gradients of an MLP, one an example by vmap (autograd: a loop), and summed."""
    rng = np.random.default_rng(0)
    params = models.mlp_params(rng)
    batch = models.mlp_batch(rng)
    per_example, summed = {}, {}
    for name, library in once_each(libraries).items():
        own = functools.partial(map_leaves, library.asarray)
        loss = functools.partial(models.mlp_loss, library.xp)
        own_params, own_batch = own(params), own(batch)
        per_example[name] = functools.partial(
            library.per_example_grad(loss), own_params, *own_batch
        )
        summed[name] = functools.partial(
            library.value_and_grad(functools.partial(mlp_loss_of, library, own_batch)),
            own_params,
        )
    check_agreement("MLP, per-example gradients", call_all(per_example), 1e-4)
    check_agreement("MLP, gradient", call_all(summed), 1e-4)

    layers = "-".join(map(str, models.MLP_SIZES))
    title = f"MLP {layers}, {models.MLP_EXAMPLES} examples"
    seconds = effort.medians(per_example)
    times = [Row(f"{title}, per-example gradients, ms", in_ms(seconds))]
    forward = functools.partial(models.mlp_loss, np, params, *batch)
    seconds = effort.medians({FORWARD: forward} | summed)
    times.append(Row(f"{title}, gradient of the sum, ms", in_ms(seconds)))
    return Findings(times=times, ratios=[Row(title, over_forward(seconds))])


def measure_memory(libraries: Libraries, effort: Effort) -> Findings:
    """Peak memory of the transformer's gradient against what it must keep."""
    found = Findings([], [], [], [])
    for sizes in SIZES:
        rng = np.random.default_rng(0)
        params = models.transformer_params(rng, sizes)
        batch = models.transformer_batch(rng, sizes)
        figures = {}
        # tracemalloc sees NumPy's arrays, but neither PyTorch's nor JAX's.
        for name in ("funcad", "autograd", "autograd, as installed"):
            if name in libraries:
                loss = functools.partial(
                    transformer_loss_of, libraries[name], batch, sizes.heads
                )
                gradient = functools.partial(
                    libraries[name].value_and_grad(loss), params
                )
                figures[f"{name}, peak"] = peak_bytes(gradient) / 2**20
        if "funcad" in libraries:
            loss = functools.partial(
                transformer_loss_of, libraries["funcad"], batch, sizes.heads
            )
            kept = saved_bytes(loss, params, batch) / 2**20
            figures["funcad, saved"] = kept
            found.targets.append(
                Target(
                    f"peak memory / saved activations, transformer {sizes}",
                    figures["funcad, peak"] / kept,
                    1.2,
                )
            )
        if "PyTorch" in libraries:
            figures["PyTorch, saved"] = (
                torch_saved_bytes(libraries["PyTorch"], params, batch, sizes) / 2**20
            )
        found.memory.append(Row(f"transformer {sizes}, MiB", figures))
    return found


SECTIONS: dict[str, Callable[[Libraries, Effort], Findings]] = {
    "chain": measure_chain,
    "depth": measure_depth,
    "transformer": measure_transformer,
    "mlp": measure_mlp,
    "memory": measure_memory,
}


# --- what the sections time ----------------------------------------------------------


def chain_gradients(
    libraries: Libraries, x: np.ndarray, operations: int
) -> dict[str, Callable[[], Any]]:
    return {
        name: functools.partial(
            library.value_and_grad(
                functools.partial(chain_of, library, operations=operations)
            ),
            library.asarray(x),
        )
        for name, library in once_each(libraries).items()
    }


def once_each(libraries: Libraries) -> Libraries:
    """Without the second autograd, which differs only in the transformer."""
    return {n: lib for n, lib in libraries.items() if n != "autograd, as installed"}


def chain_of(library: Library, x: Any, *, operations: int) -> Any:
    return models.chain(library.xp, x, operations)


def transformer_loss_of(
    library: Library, batch: Batch, heads: int, params: Tree
) -> Any:
    return library.transformer_loss(params, batch, heads)


def mlp_loss_of(library: Library, batch: list[Any], params: Tree) -> Any:
    return models.mlp_loss(library.xp, params, *batch)


# --- memory --------------------------------------------------------------------------


def peak_bytes(run: Callable[[], Any]) -> int:
    """Most bytes that one call holds at once over what there was before it."""
    run()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before


def saved_bytes(loss: Callable[[Tree], Any], params: Tree, batch: Batch) -> int:
    """Bytes of the activations that the gradient has to keep for its backward pass.

    They are the arrays that the linear program of `loss` at `params` holds. An array is
    counted once, however many equations hold it; a view counts as the whole array that
    it keeps alive; the parameters and the batch, which are the caller's, do not count.
    """
    import funcad

    _, linear = funcad.linearize(loss, params)
    given = {id(_owner(leaf)) for leaf in [*leaves(params), *batch]}
    kept = {id(_owner(a)): _owner(a) for a in linear.program.constants}
    return sum(a.nbytes for key, a in kept.items() if key not in given)


def _owner(array: Any) -> Any:
    while isinstance(getattr(array, "base", None), np.ndarray):
        array = array.base
    return array


def torch_saved_bytes(
    library: Library, params: Tree, batch: Batch, sizes: Sizes
) -> int:
    """The same count of what PyTorch keeps, for comparison."""
    import torch

    own = functools.partial(map_leaves, library.asarray)
    params = map_leaves(lambda leaf: leaf.requires_grad_(), own(params))
    batch = Batch(*own(batch))
    given = {t.untyped_storage().data_ptr() for t in [*leaves(params), *batch]}
    storages: dict[int, int] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = library.transformer_loss(params, batch, sizes.heads)
    total = sum(n for pointer, n in storages.items() if pointer not in given)
    del loss  # until here, no storage was freed and its address used again
    return total


# --- agreement and report ------------------------------------------------------------


def call_all(runs: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    return {name: run() for name, run in runs.items()}


def check_agreement(title: str, results: Mapping[str, Tree], tolerance: float) -> None:
    """Exit where two libraries disagree by more than rounding."""
    (first, reference), *others = results.items()
    expected = [np.asarray(leaf) for leaf in leaves(reference)]
    for name, tree in others:
        actual = [np.asarray(leaf) for leaf in leaves(tree)]
        assert len(actual) == len(expected), (title, first, name)
        for a, e in zip(actual, expected):
            error = np.max(np.abs(a - e)) / (np.max(np.abs(e)) + 1e-6)
            if a.shape != e.shape or not error <= tolerance:
                sys.exit(
                    f"{title}: {name} differs from {first} by {error:.1e} of the "
                    f"largest value, at an array of shape {a.shape}; {tolerance:.0e} "
                    "was allowed."
                )


def in_ms(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: s * 1e3 for name, s in seconds.items()}


def over_forward(seconds: Mapping[str, float]) -> dict[str, float]:
    return {n: s / seconds[FORWARD] for n, s in seconds.items() if n != FORWARD}


def compared(
    title: str, seconds: Mapping[str, float], peer: str, goal: float
) -> list[Target]:
    if "funcad" not in seconds or peer not in seconds:
        return []
    ratio = seconds["funcad"] / seconds[peer]
    return [Target(f"{title}, funcad / {peer}", ratio, goal)]


def table(rows: list[Row]) -> list[str]:
    columns = list(dict.fromkeys(name for row in rows for name in row.figures))
    lines = [f"| | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    for row in rows:
        cells = [shown(row.figures.get(column)) for column in columns]
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
    return lines


def shown(figure: float | None) -> str:
    if figure is None:
        return ""
    return f"{figure:.2f}" if figure < 20 else f"{figure:.0f}"


def report(found: list[Findings], heading: list[str]) -> str:
    """The whole report in Markdown."""
    times, ratios, memory, targets = (
        [item for part in parts for item in part] for parts in zip(*found)
    )
    lines = ["# The eager path", "", *heading]
    if times:
        lines += ["", "## Times", "", *table(times)]
    if ratios:
        lines += ["", "## Time of the gradient / time of NumPy's forward pass"]
        lines += ["", *table(ratios)]
    if memory:
        lines += ["", "## Memory of the gradient", "", *COUNTED, "", *table(memory)]
    if targets:
        lines += ["", "## Targets", "", "| | | at most | |"]
        lines += ["| --- | ---: | ---: | --- |", *map(str, targets)]
    return "\n".join(lines)


ABOUT = """\
- medians of at most {rounds} interleaved rounds in one process; {threads}
- autograd as installed promotes the transformer's backward pass to float64, by its
  gradients of mean and max; the column "autograd" is given a mean and a max whose
  gradients stay in float32, to show what it could do"""

COUNTED = """\
Peak: most bytes that tracemalloc sees one value_and_grad hold over what there was
before, its result included. Saved: bytes of the distinct arrays that the linear program
holds, each view counted as the array it keeps alive, without the parameters and the
batch. PyTorch, saved: bytes of the distinct storages that its graph holds, likewise.\
""".split("\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--out", type=pathlib.Path, help="write the report to this file"
    )
    parser.add_argument(
        "--quick", action="store_true", help="few rounds, rough figures"
    )
    parser.add_argument(
        "--only", choices=SECTIONS, action="append", help="this section (repeatable)"
    )
    arguments = parser.parse_args()

    machine = describe_machine("numpy", "autograd", "torch", "jax", "jaxlib")
    libraries, absent = installed()
    # The collections before each turn need not walk through the imported libraries.
    gc.freeze()
    for name, reason in absent.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    effort = Effort(5, 1.0) if arguments.quick else Effort(21, 5.0)
    found = []
    for name in arguments.only or SECTIONS:
        print(f"measuring {name}", file=sys.stderr)
        found.append(SECTIONS[name](libraries, effort))

    heading = [
        machine,
        ABOUT.format(rounds=effort.rounds, threads=threads(libraries)),
        *(f"- left out: {name}" for name in absent),
    ]
    text = report(found, heading)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n")
    return 0


def threads(libraries: Libraries) -> str:
    """How many threads the libraries' own settings come to."""
    if "PyTorch" not in libraries:
        return "BLAS threads as by default"
    count = libraries["PyTorch"].xp.get_num_threads()
    return f"PyTorch with {count} threads, BLAS as by default"


if __name__ == "__main__":
    sys.exit(main())
