"""The picture of a run: its losses against its steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from funcad.examples.char_transformer.run import Evaluation


def plot_losses(
    path: Path, losses: Sequence[float], evaluations: Sequence[Evaluation], title: str
) -> None:
    """Draw the loss of each step, and those of the evaluations.

    Parameters
    ----------
    path : Path
        The PNG file to write.
    losses : sequence of float
        Of each step, on the step's own batch.
    evaluations : sequence of Evaluation
        Of both parts of the text.
    title : str
        What was trained.
    """
    # Without pyplot, so that no window system is needed and no state is left behind.
    from matplotlib.figure import Figure

    steps, training, validation = zip(*evaluations, strict=True)
    figure = Figure(figsize=(7, 4.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(losses, color="0.8", linewidth=0.8, label="each step's batch")
    axes.plot(steps, training, color="C0", marker="o", markersize=3, label="training")
    axes.plot(
        steps,
        validation,
        color="C1",
        marker="o",
        markersize=3,
        label=f"validation, {validation[-1]:.3f} at the end",
    )
    axes.set_title(title)
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats per character)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path)
