"""Compiled functions beside jax.jit and PyTorch: speed, compilation, overhead, memory.

Everything runs in this one process, the libraries taking turns, so that the machine's
noise hits all equally; figures are medians. Before a thing is timed, its results are
compared across the libraries.

    python bench/jit.py --out bench/results/jit.md
    python bench/jit.py --quick --only transformer
"""

from __future__ import annotations

import argparse
import functools
import gc
import pathlib
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

import funcad
import models
from _machine import describe_machine
from _timing import interleaved_medians
from eager import (
    SIZES,
    Effort,
    Findings,
    Row,
    Target,
    call_all,
    check_agreement,
    in_ms,
    table,
    threads,
)
from funcad.backends.threads import thread_count
from libraries import Library, installed
from models import Batch, map_leaves

# At most so many times the peer's time: (jax.jit, PyTorch), by width of the model.
GOALS = {64: (1.1, None), 128: (0.9, 1.1)}
COMPILATION, OVERHEAD, MEMORY = 0.15, 3.0, 1.1

FUNCAD = "funcad.jit"
PLAIN = "funcad.jit, plain NumPy lines"
Libraries = dict[str, Library]


# --- sections ------------------------------------------------------------------------


def measure_transformer(libraries: Libraries, effort: Effort) -> Findings:
    """value_and_grad of the character transformer, float32."""
    found = Findings([], [], [], [])
    for sizes in SIZES:
        runs = transformer_runs(libraries, sizes)
        check_agreement(f"transformer {sizes}", call_all(runs), 1e-3)
        seconds = effort.medians(runs)
        found.times.append(Row(f"transformer {sizes}, ms", in_ms(seconds)))
        to_jax, to_torch = GOALS[sizes.width]
        for peer, goal in (("jax.jit", to_jax), ("PyTorch", to_torch)):
            if goal is not None and peer in seconds:
                title = f"transformer {sizes}: funcad.jit / {peer}"
                found.targets.append(
                    Target(title, seconds[FUNCAD] / seconds[peer], goal)
                )
    return found


def transformer_runs(
    libraries: Libraries, sizes: models.Sizes
) -> dict[str, Callable[[], Any]]:
    rng = np.random.default_rng(0)
    params = models.transformer_params(rng, sizes)
    batch = models.transformer_batch(rng, sizes)
    heads = sizes.heads

    def plain(params: Any) -> Any:
        return models.transformer_loss(np, params, batch, heads)

    def fused(params: Any) -> Any:
        return models.nn_transformer_loss(params, batch, heads)

    runs: dict[str, Callable[[], Any]] = {
        FUNCAD: functools.partial(funcad.jit(funcad.value_and_grad(fused)), params),
        PLAIN: functools.partial(funcad.jit(funcad.value_and_grad(plain)), params),
        "funcad, eager": functools.partial(funcad.value_and_grad(fused), params),
    }
    if "JAX, no jit" in libraries:
        import jax

        own = functools.partial(map_leaves, libraries["JAX, no jit"].asarray)
        compiled = jax.jit(jax.value_and_grad(jax_loss(Batch(*own(batch)), heads)))
        at = own(params)
        runs["jax.jit"] = lambda: jax.block_until_ready(compiled(at))
    if "PyTorch" in libraries:
        library = libraries["PyTorch"]
        own = functools.partial(map_leaves, library.asarray)
        tensors = Batch(*own(batch))
        runs["PyTorch"] = functools.partial(
            library.value_and_grad(
                lambda p: library.transformer_loss(p, tensors, heads)
            ),
            own(params),
        )
    return runs


def jax_loss(batch: Batch, heads: int) -> Callable[[Any], Any]:
    import jax.numpy as jnp

    return lambda params: models.transformer_loss(jnp, params, batch, heads)


def measure_compilation(libraries: Libraries, effort: Effort) -> Findings:
    """Time to stage and compile the gradient of the larger transformer."""
    sizes = SIZES[-1]
    rng = np.random.default_rng(0)
    params = models.transformer_params(rng, sizes)
    batch = models.transformer_batch(rng, sizes)

    def loss(params: Any) -> Any:
        return models.transformer_loss(np, params, batch, sizes.heads)

    def compile_funcad() -> None:
        funcad.jit(funcad.value_and_grad(loss)).lower(params).compile()

    runs: dict[str, Callable[[], None]] = {FUNCAD: compile_funcad}
    if "JAX, no jit" in libraries:
        import jax

        own = functools.partial(map_leaves, libraries["JAX, no jit"].asarray)
        at, jax_batch = own(params), Batch(*own(batch))

        def compile_jax() -> None:
            jax.clear_caches()
            gradient = jax.value_and_grad(jax_loss(jax_batch, sizes.heads))
            jax.jit(gradient).lower(at).compile()

        runs["jax.jit"] = compile_jax
    seconds = {
        name: statistics.median([seconds_of(run) for _ in range(3)])
        for name, run in runs.items()
    }
    found = Findings([Row(f"staging and compiling {sizes}, ms", in_ms(seconds))])
    if "jax.jit" in seconds:
        ratio = seconds[FUNCAD] / seconds["jax.jit"]
        title = f"staging and compiling transformer {sizes}: funcad.jit / jax.jit"
        return found._replace(targets=[Target(title, ratio, COMPILATION)])
    return found


def seconds_of(run: Callable[[], Any]) -> float:
    gc.collect()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure_overhead(libraries: Libraries, effort: Effort) -> Findings:
    """Microseconds of a call of a function of three arguments that does nothing."""
    x, y, z = np.ones((3, 4))
    first = funcad.jit(lambda x, y, z: x)
    runs: dict[str, Callable[[], Any]] = {
        FUNCAD: lambda: first(x, y, z),
        "a Python function": functools.partial(lambda x, y, z: x, x, y, z),
    }
    if "JAX, no jit" in libraries:
        import jax

        own = libraries["JAX, no jit"].asarray
        jitted = jax.jit(lambda x, y, z: x)
        runs["jax.jit"] = functools.partial(jitted, *map(own, (x, y, z)))
    seconds = interleaved_medians(
        runs, rounds=effort.rounds, budget=effort.budget, shortest=0.05
    )
    micros = {name: s * 1e6 for name, s in seconds.items()}
    return Findings(
        times=[Row("call of a function of 3 arguments, us", micros)],
        targets=[
            Target("overhead of a call with 3 arguments, us", micros[FUNCAD], OVERHEAD)
        ],
    )


def measure_memory(libraries: Libraries, effort: Effort) -> Findings:
    """Most bytes in use while a gradient runs, against what the plan says."""
    found = Findings([], [], [], [])
    for sizes in SIZES:
        rng = np.random.default_rng(0)
        params = models.transformer_params(rng, sizes)
        batch = models.transformer_batch(rng, sizes)
        for name, loss in (
            ("funcad.nn", models.nn_transformer_loss),
            ("plain NumPy", functools.partial(models.transformer_loss, np)),
        ):
            loss = functools.partial(loss, batch=batch, heads=sizes.heads)
            gradient = funcad.value_and_grad(loss)
            lowered = funcad.jit(gradient).lower(params)
            run = lowered.compile()
            memory = lowered.memory()
            planned = memory.workspace + memory.temporaries
            # the workspace is made in the first call, and kept
            measured = peak_bytes(functools.partial(run, params))
            eager = peak_bytes(functools.partial(gradient, params))
            figures = {
                "in use": measured / 2**20,
                "planned": planned / 2**20,
                "of that kept": memory.workspace / 2**20,
                "eager": eager / 2**20,
            }
            found.memory.append(Row(f"transformer {sizes}, {name}, MiB", figures))
            title = f"memory in use / planned, transformer {sizes}, {name}"
            found.targets.append(Target(title, measured / planned, MEMORY))
    return found


def peak_bytes(run: Callable[[], Any]) -> int:
    """Most bytes that tracemalloc sees in the first two calls over those before."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        run()
        run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before


SECTIONS: dict[str, Callable[[Libraries, Effort], Findings]] = {
    "transformer": measure_transformer,
    "compilation": measure_compilation,
    "overhead": measure_overhead,
    "memory": measure_memory,
}


# --- report --------------------------------------------------------------------------


def report(found: list[Findings], heading: list[str]) -> str:
    """The whole report in Markdown."""
    lines = ["# Compiled functions", "", *heading]
    for part in found:
        if part.times:
            lines += ["", *table(part.times)]
    memory = [row for part in found for row in part.memory]
    if memory:
        lines += ["", "## Memory while a gradient runs", "", *table(memory)]
    lines += ["", "## Targets", "", "| | | at most | |", "| --- | ---: | ---: | --- |"]
    lines += [str(target) for part in found for target in part.targets]
    return "\n".join(lines)


ABOUT = """\
- medians of at most {rounds} interleaved rounds in one process; {threads}
- {funcad}: the loss written with funcad.nn; PyTorch: with its own fused layers; jax.jit
  and "{plain}": with the plain lines of bench/models.py
- stretches that funcad.jit shares among {shared} threads are run with BLAS at one"""


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

    machine = describe_machine("numpy", "torch", "jax", "jaxlib")
    libraries, absent = installed()
    gc.freeze()
    for name, reason in absent.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    effort = Effort(5, 1.0) if arguments.quick else Effort(21, 5.0)
    found = []
    for name in arguments.only or SECTIONS:
        print(f"measuring {name}", file=sys.stderr)
        found.append(SECTIONS[name](libraries, effort))
    about = ABOUT.format(
        rounds=effort.rounds,
        threads=threads(libraries),
        funcad=FUNCAD,
        plain=PLAIN,
        shared=thread_count(),
    )
    text = report(found, [machine, about])
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
