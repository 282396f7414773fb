"""A profile as a figure: what takes how long, and when it ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from funcad.core.errors import ArgumentError
from funcad.profiling.report import OUTSIDE, Operation, Profile, Row, short_line
from funcad.profiling.units import bytes_text, number_text, seconds_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GREY = "#9a9a9a"


def profile_plot(report: Profile, by: str = "equation", rows: int = 12) -> Figure:
    """Plot where the time of a function went.

    Above, a bar for each row of a table; below, every operation at the time when it
    ran, in the colour of its primitive, and the memory that results took.

    Parameters
    ----------
    report : Profile
        What ``funcad.profile(f)(*args)`` returned.
    by : {"equation", "primitive", "line"}, optional
        What a bar is.
    rows : int, optional
        How many bars there are at most; the others are added up.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> report = funcad.profile(lambda x: np.tanh(x @ x))(np.ones((100, 100)))
    >>> figure = funcad.viz.profile_plot(report)
    >>> figure.savefig("profile.png")  # doctest: +SKIP
    """
    from matplotlib.figure import Figure

    if not isinstance(report, Profile):
        raise TypeError(
            "profile_plot takes what funcad.profile(f)(*args) returns, not "
            f"{type(report).__name__}."
        )
    if rows < 1:
        raise ArgumentError(f"rows of profile_plot must be at least 1, not {rows}.")
    shown = report.table(by).shown(rows)
    colors = _colors(report)
    figure = Figure(figsize=(10, 2.8 + 0.3 * len(shown)), layout="constrained")
    bars, timeline = figure.subplots(2, 1, height_ratios=[0.3 * len(shown) + 0.4, 1.6])
    _draw_bars(bars, shown, colors)
    _draw_timeline(timeline, report, colors)
    figure.suptitle(
        f"{report.name}: {seconds_text(report.seconds)}, "
        f"{len(report.operations)} operations",
        fontsize=11,
    )
    return figure


def _colors(report: Profile) -> dict[str, Any]:
    """A colour for each of the primitives that take longest."""
    from matplotlib import colormaps

    names = [row.name for row in report.by_primitive() if row.name != OUTSIDE]
    chosen = [k for k in range(10) if k != 7]  # grey is for the rest
    return dict(zip(names, [colormaps["tab10"](k) for k in chosen]))


def _draw_bars(axes: Axes, rows: list[Row], colors: dict[str, Any]) -> None:
    places = range(len(rows))
    axes.barh(
        places,
        [100 * row.share for row in rows],
        color=[colors.get(_first(row), _GREY) for row in rows],
    )
    axes.set_yticks(places, [_label(row) for row in rows], fontsize=8)
    axes.invert_yaxis()
    for place, row in zip(places, rows):
        axes.text(
            100 * row.share,
            place,
            f" {_note(row)}",
            va="center",
            fontsize=8,
            color="#444444",
        )
    axes.set_xlim(0, 145 * max(row.share for row in rows))
    axes.set_xticks([t for t in axes.get_xticks() if t <= 100])
    axes.set_xlabel("share of the time, %", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _first(row: Row) -> str:
    """The primitive that takes longest."""
    return row.name.split(" (")[0].split(",")[0]


def _label(row: Row) -> str:
    if row.line is None:
        return row.name
    if not row.operands:
        return short_line(row.line, 48)
    place = short_line(row.line).split(": ")[0]
    return f"{row.name}   {place}"


def _note(row: Row) -> str:
    """Time, calls and rates, in words."""
    parts = [seconds_text(row.seconds)]
    if row.calls > 1:
        parts.append(f"{row.calls} calls")
    if row.flops_per_second:
        parts.append(f"{number_text(row.flops_per_second / 1e9)} GFLOP/s")
    elif row.bytes_per_second:
        parts.append(f"{number_text(row.bytes_per_second / 1e9)} GB/s")
    return ", ".join(parts)


def _draw_timeline(axes: Axes, report: Profile, colors: dict[str, Any]) -> None:
    unit, name = (1e-3, "ms") if report.seconds < 1 else (1.0, "s")
    threads = list(dict.fromkeys(o.thread for o in report.operations))
    groups: dict[str, list[Operation]] = {}
    for o in report.operations:
        groups.setdefault(o.name if o.name in colors else "other", []).append(o)
    for primitive, group in groups.items():
        color = colors.get(primitive, _GREY)
        for k, thread in enumerate(threads):
            times = [
                (o.start / unit, o.seconds / unit) for o in group if o.thread == thread
            ]
            label = primitive if k == 0 else None
            axes.broken_barh(times, (k, 0.9), facecolors=color, label=label)
    axes.set_yticks([])
    axes.set_xlabel(f"{name} since the call", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    if not report.operations:
        return
    axes.legend(
        fontsize=7, ncols=6, loc="lower left", bbox_to_anchor=(0, 1), frameon=False
    )
    memory = axes.twinx()
    memory.step(
        [(o.start + o.seconds) / unit for o in report.operations],
        [o.live / 1e6 for o in report.operations],
        where="post",
        color="black",
        linewidth=0.8,
    )
    memory.set_ylim(bottom=0)
    memory.set_ylabel("MB of results", fontsize=8)
    memory.tick_params(labelsize=8)
    memory.spines[["top", "left"]].set_visible(False)
    memory.set_title(
        f"at most {bytes_text(report.peak_bytes)}", fontsize=8, loc="right"
    )
