"""The command: options in, messages, a sample and a picture out."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from funcad import device_put, devices, tree
from funcad.examples.char_transformer import run
from funcad.examples.char_transformer.plot import plot_losses
from funcad.examples.char_transformer.sampling import sample
from funcad.examples.char_transformer.settings import PRESETS, Settings
from funcad.examples.char_transformer.text import make_corpus, read_text
from funcad.examples.char_transformer.training import Place, split_key
from funcad.examples.command import (
    UsageError,
    keep_freed_memory,
    positive,
    require_packages,
    run_command,
    seed,
)

PROGRAM = "char_transformer"
SAMPLE_LENGTH = 300


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        Exit code: 0, 2 for what the user has to change, 130 for a second Ctrl-C.
    """
    options = parse(arguments)
    keep_freed_memory()
    return run_command(PROGRAM, execute, options)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m funcad.examples.{PROGRAM}",
        description="Train a transformer that writes one character after another.",
    )
    parser.add_argument(
        "--text",
        type=Path,
        metavar="FILE",
        help="UTF-8 text to learn; default: the Python Language Reference",
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default="demo",
        help="sizes and hyperparameters (default: %(default)s)",
    )
    parser.add_argument("--steps", type=positive, help="steps, if not the preset's")
    parser.add_argument(
        "--batch", type=positive, help="windows in a step, if not the preset's"
    )
    parser.add_argument(
        "--eval-every",
        type=positive,
        metavar="STEPS",
        help="steps between evaluations, if not the preset's",
    )
    parser.add_argument("--seed", type=seed(128), help="decides all that is random")
    parser.add_argument(
        "--device",
        choices=("cpu", "gpu"),
        default="cpu",
        help="where to train (default: %(default)s)",
    )
    parser.add_argument("--dtype", choices=("float32", "float64"))
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("char-transformer"),
        metavar="DIR",
        help="folder for the checkpoint and loss.png (default: %(default)s)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the checkpoint in DIR, if there is one",
    )
    return parser.parse_args(arguments)


def execute(options: argparse.Namespace) -> int:
    """Train, and show what came of it."""
    require_packages("tqdm", "safetensors", "matplotlib")
    place = placement(options.device)
    settings = chosen_settings(options)
    text = read_text(options.text)
    corpus = make_corpus(text, settings.block)
    identity = run.identify(settings, text)
    path = make_folder(options.out) / "checkpoint.safetensors"

    progress = run.begin(settings, corpus)
    if options.resume and path.exists():
        progress = run.resume(path, progress, identity)
        print(f"resuming at step {progress.step} from {path}")
    elif options.resume:
        print(f"no checkpoint in {options.out}: beginning at step 0")
    elif path.exists():
        kept = path.replace(path.with_name("checkpoint.previous.safetensors"))
        print(f"the checkpoint of an earlier run is kept as {kept}")
    progress = progress._replace(state=place(progress.state))

    parameters = sum(leaf.size for leaf in tree.leaves(progress.state.params))
    print(
        f"{len(text):,} characters, {len(corpus.vocabulary)} distinct; "
        f"{parameters:,} parameters; {settings.steps:,} steps of {settings.batch} x "
        f"{settings.block} characters",
        flush=True,
    )
    start, first = time.perf_counter(), progress.step
    try:
        with run.stoppable() as check:
            progress = run.train(
                progress,
                settings,
                corpus,
                place,
                save=lambda progress: run.save(path, progress, identity),
                check=check,
            )
    except run.Stopped:
        print("stopped and saved; add --resume to go on")
        return 0
    seconds = time.perf_counter() - start

    evaluations = progress.evaluations
    plot_losses(
        options.out / "loss.png",
        progress.losses,
        evaluations,
        title=f"{options.preset}: {parameters:,} parameters",
    )
    newline = corpus.vocabulary.find("\n")
    written = sample(
        progress.state.params,
        split_key(progress.key).sample,
        prompt=[max(newline, 0)],
        length=SAMPLE_LENGTH,
        settings=settings,
        place=place,
    )
    print(f"{progress.step - first:,} steps in {seconds:.1f} s")
    print(f"validation loss {evaluations[-1].validation:.4f}")
    print(f"loss curves in {options.out / 'loss.png'}")
    print(f"\n{corpus.decode(written)}")
    return 0


def placement(device: str) -> Place:
    """The function that moves a tree of arrays to a device."""
    if device not in devices():
        raise UsageError(
            "there is no GPU here that CuPy can use; with one, pip install "
            "'funcad[gpu-cuda12]' (or gpu-cuda13), else train with --device cpu"
        )
    return lambda values: device_put(values, device)


def chosen_settings(options: argparse.Namespace) -> Settings:
    """The preset, with what the command line changes in it."""
    names = ("steps", "batch", "eval_every", "seed", "dtype")
    given = {name: getattr(options, name) for name in names}
    return dataclasses.replace(
        PRESETS[options.preset],
        **{name: value for name, value in given.items() if value is not None},
    )


def make_folder(folder: Path) -> Path:
    """The output folder, made where it is not there yet."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make {folder}: {error.strerror or error}") from None
    return folder
