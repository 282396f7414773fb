"""A checkpointing schedule as a film: which states are held, and what is computed."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from funcad.core.errors import ArgumentError
from funcad.transforms.schedules import (
    Advance,
    Backward,
    Free,
    Record,
    Restore,
    Store,
    costs,
    default_slots,
    schedule,
)

STORED, RECORDED, CURRENT = "#4878d0", "#ee854a", "#222222"
COMPUTED, TAKEN = "#6acc64", "#d65f5f"
EMPTY, GRAY = "#f2f2f2", "#aaaaaa"


class Frame(NamedTuple):
    """What a schedule has come to after one step."""

    doing: str
    layer: int | None
    """The layer that is computed or taken back."""
    backward: bool
    """Whether it is taken back."""
    current: int
    """The current state."""
    stored: frozenset[int]
    recorded: frozenset[int]
    back: int
    """The state that the cotangent has come to."""
    evaluations: int


def frames(strategy: str, n: int, slots: int | None = None) -> list[Frame]:
    """Each step of a schedule, layers of an advance one by one.

    Parameters
    ----------
    strategy, n, slots
        Of :func:`~funcad.transforms.schedules.schedule`.

    Returns
    -------
    list of Frame
    """
    current, back, evaluations = 0, n, 0
    stored: set[int] = set()
    recorded: set[int] = set()
    film: list[Frame] = []

    def show(doing: str, layer: int | None = None, backward: bool = False) -> None:
        held = frozenset(stored), frozenset(recorded)
        film.append(Frame(doing, layer, backward, current, *held, back, evaluations))

    for action in schedule(n, strategy, slots):
        match action:
            case Store(state):
                stored.add(state)
                show(f"store state {state}")
            case Restore(state):
                current = state
                show(f"go back to state {state}")
            case Free(state):
                stored.remove(state)
            case Advance(start, stop):
                for i in range(start, stop):
                    current = i + 1
                    evaluations += 1
                    show(f"evaluate layer {i}", i)
            case Record(i):
                current = i + 1
                evaluations += 1
                recorded.add(i)
                show(f"evaluate and record layer {i}", i)
            case Backward(i):
                back = i
                recorded.remove(i)
                show(f"take the cotangent back through layer {i}", i, backward=True)
    return film


class Animation:
    """A film of a schedule, which a notebook shows.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
        What it is drawn in.
    frames : list of Frame
        Its steps.
    """

    def __init__(
        self, figure: Any, film: list[Frame], draw: Any, moving: list[Any], fps: int
    ) -> None:
        self.figure = figure
        self.frames = film
        self._draw = draw
        self._moving = sorted(moving, key=lambda artist: artist.zorder)
        self._fps = fps
        self._gif: bytes | None = None

    def draw(self, i: int) -> Any:
        """Draw one step; the figure."""
        self._draw(i)
        return self.figure

    def gif(self) -> bytes:
        """The film as a GIF, made by Pillow."""
        if self._gif is None:
            import io

            from PIL.Image import Dither

            pictures = self._pictures()
            palette = _palette()
            first, *others = [
                p.quantize(palette=palette, dither=Dither.NONE) for p in pictures
            ]
            file = io.BytesIO()
            # the last step stays a while
            each = 1000 // self._fps
            first.save(
                file,
                "GIF",
                save_all=True,
                append_images=others,
                duration=[each] * len(others) + [5 * each],
                loop=0,
            )
            self._gif = file.getvalue()
        return self._gif

    def _pictures(self) -> list[Any]:
        """A picture of each step: what stays is drawn once, what moves on top of it."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from PIL.Image import fromarray

        canvas = FigureCanvasAgg(self.figure)
        for artist in self._moving:
            artist.set_animated(True)
        canvas.draw()
        for artist in self._moving:
            artist.set_animated(False)
        still = canvas.copy_from_bbox(self.figure.bbox)
        pictures = []
        for i in range(len(self.frames)):
            canvas.restore_region(still)
            self._draw(i)
            for artist in self._moving:
                artist.draw(canvas.get_renderer())
            pictures.append(fromarray(np.array(canvas.buffer_rgba())).convert("RGB"))
        return pictures

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the film as a GIF.

        Parameters
        ----------
        path : str or path
            Where to.
        """
        pathlib.Path(path).write_bytes(self.gif())

    def _repr_html_(self) -> str:
        import base64

        text = base64.b64encode(self.gif()).decode()
        return f'<img src="data:image/gif;base64,{text}" alt="checkpointing schedule">'


def _palette() -> Any:
    """A picture whose colours are those of all steps, and shades where they meet."""
    import PIL.Image
    from matplotlib.colors import to_rgb

    colors = np.array(
        [to_rgb(c) for c in (STORED, RECORDED, CURRENT, COMPUTED, TAKEN, GRAY, "k")]
    )
    # none so near to white that Pillow takes it for white
    share = np.linspace(0, 0.9, 31)[:, None, None]
    shades = (colors + share * (1 - colors)).reshape(-1, 3)
    shades = 255 * np.vstack([shades, [to_rgb(EMPTY), to_rgb("w")]])
    image = PIL.Image.new("P", (1, 1))
    image.putpalette(np.rint(shades).astype(np.uint8).tobytes())
    return image


def checkpoint_schedule(
    strategy: str, n: int, slots: int | None = None, *, fps: int = 3
) -> Animation:
    """Film of how a chain of layers is differentiated.

    Parameters
    ----------
    strategy : {"store-all", "recompute-all", "sqrt", "revolve"}
        Strategy of :func:`funcad.checkpoint_chain`.
    n : int
        Number of layers.
    slots : int, optional
        States that ``"revolve"`` may hold.
    fps : int, optional
        Steps a second.

    Returns
    -------
    Animation
        A notebook shows it; ``save(path)`` writes a GIF.

    Raises
    ------
    ScheduleError
        If there is no such schedule.
    ArgumentError
        If ``fps`` is no integer from 1 to 100.

    Examples
    --------
    >>> import funcad
    >>> film = funcad.viz.checkpoint_schedule("revolve", 6, slots=2)
    >>> film.frames[-1].evaluations, len(film.frames)
    (14, 28)
    """
    if not isinstance(fps, (int, np.integer)) or not 1 <= fps <= 100:
        raise ArgumentError(
            "fps of checkpoint_schedule is how many steps are shown a second, an "
            f"integer from 1 to 100, not {fps!r}."
        )
    film = frames(strategy, n, slots)
    from matplotlib.figure import Figure

    total = costs(schedule(n, strategy, slots))
    figure = Figure(figsize=(max(7.5, min(14.0, 0.55 * n + 2)), 4.2), dpi=80)
    upper, lower = figure.subplots(2, 1, height_ratios=(1, 1.5))
    figure.subplots_adjust(left=0.09, right=0.97, top=0.83, bottom=0.13, hspace=0.55)
    title = figure.suptitle("", fontsize=10)
    show_chain, moving_above = _chain_of(upper, n)
    show_history, moving_below = _history_of(lower, film, n)
    name = strategy
    if strategy == "revolve":
        count = default_slots(n) if slots is None else slots
        name += f", {count} slot{'s' * (count != 1)}"

    def draw(i: int) -> None:
        frame = film[i]
        show_chain(frame)
        show_history(i)
        phase = "backward" if frame.back < n else "forward"
        title.set_text(
            f"{name}, {n} layers: step {i + 1} of {len(film)} ({phase})\n"
            f"{frame.doing}; {frame.evaluations} of {total.evaluations} evaluations, "
            f"{len(frame.stored) + len(frame.recorded)} held (at most {total.held})"
        )

    draw(0)
    return Animation(figure, film, draw, [title, *moving_above, *moving_below], fps)


def _chain_of(ax: Any, n: int) -> tuple[Callable[[Frame], None], list[Any]]:
    """Draw states as circles and layers as lines between them.

    How to show a step in their colours, and what changes with it.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    size = max(20.0, min(260.0, 5200.0 / (n + 1)))
    lines = LineCollection([[(i + 0.26, 0), (i + 0.74, 0)] for i in range(n)])
    ax.add_collection(lines)
    circles = ax.scatter(range(n + 1), [0] * (n + 1), s=size, zorder=3)
    (tip,) = ax.plot([], [], ls="", markersize=9)
    ax.set_xticks(range(0, n + 1, 1 if n <= 20 else n // 10))
    ax.set_yticks([])
    ax.set_xlim(-0.7, n + 0.7)
    ax.set_ylim(-1, 1)
    for side in ax.spines.values():
        side.set_visible(False)
    ax.tick_params(length=0)
    ax.set_xlabel("state", fontsize=9, labelpad=1)
    marks = [
        Line2D([], [], marker="o", ls="", color=STORED, label="stored"),
        Line2D([], [], marker="o", ls="", color=RECORDED, label="recorded"),
        Line2D([], [], marker="o", ls="", mfc=EMPTY, mec=CURRENT, label="current"),
        Line2D([], [], marker="o", ls="", mfc=EMPTY, mec=TAKEN, label="cotangent"),
        Line2D([], [], marker=">", color=COMPUTED, label="evaluated"),
        Line2D([], [], marker="<", color=TAKEN, label="taken back"),
    ]
    ax.legend(
        handles=marks,
        ncols=6,
        fontsize=8,
        frameon=False,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.72),
    )

    def show(frame: Frame) -> None:
        at_work = TAKEN if frame.backward else COMPUTED
        lines.set_color([at_work if i == frame.layer else GRAY for i in range(n)])
        lines.set_linewidth([3.0 if i == frame.layer else 1.0 for i in range(n)])
        if frame.layer is None:
            tip.set_data([], [])
        else:
            tip.set_data([frame.layer + (0.28 if frame.backward else 0.72)], [0])
            tip.set_marker("<" if frame.backward else ">")
            tip.set_color(at_work)
        circles.set_facecolor([_face(frame, i) for i in range(n + 1)])
        edges = [_edge(frame, i, n) for i in range(n + 1)]
        circles.set_edgecolor(edges)
        circles.set_linewidth([1.0 if edge == GRAY else 2.4 for edge in edges])

    return show, [lines, circles, tip]


def _face(frame: Frame, state: int) -> str:
    if state in frame.recorded:
        return RECORDED
    return STORED if state in frame.stored else EMPTY


def _edge(frame: Frame, state: int, n: int) -> str:
    if state == frame.back < n:
        return TAKEN
    return CURRENT if state == frame.current and not frame.backward else GRAY


def _history_of(
    ax: Any, film: list[Frame], n: int
) -> tuple[Callable[[int], None], list[Any]]:
    """Draw what is computed and held, step by step.

    How to show it up to a step, and what changes with it.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.ticker import MaxNLocator

    held = LineCollection([], linewidths=2)
    ax.add_collection(held)
    points = ax.scatter([], [], s=14, zorder=3)
    now = ax.axvline(0, color=GRAY, lw=0.8)
    ax.set_xlim(-1, len(film))
    ax.set_ylim(-0.5, n + 0.5)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("step", fontsize=9)
    ax.set_ylabel("state, layer", fontsize=9)
    ax.grid(alpha=0.2)
    bars = [
        (state, start, stop, color)
        for state in range(n)
        for color, kind in ((STORED, "stored"), (RECORDED, "recorded"))
        for start, stop in _runs([state in getattr(f, kind) for f in film])
    ]
    dots: list[tuple[float, float, str]] = [
        (i, f.layer + 0.5, TAKEN if f.backward else COMPUTED)
        for i, f in enumerate(film)
        if f.layer is not None
    ]

    def show(step: int) -> None:
        begun = [bar for bar in bars if bar[1] <= step]
        held.set_segments(
            [
                [(start - 0.5, state), (min(stop, step) + 0.5, state)]
                for state, start, stop, _ in begun
            ]
        )
        held.set_color([color for *_, color in begun])
        seen = [dot for dot in dots if dot[0] <= step]
        points.set_offsets([dot[:2] for dot in seen] or [(-9.0, -9.0)])
        points.set_facecolor([color for *_, color in seen] or [EMPTY])
        now.set_xdata([step, step])

    return show, [held, now, points]


def _runs(flags: list[bool]) -> list[tuple[int, int]]:
    """First and last place of each run of true flags."""
    runs: list[tuple[int, int]] = []
    for i, flag in enumerate(flags):
        if flag and i and flags[i - 1]:
            runs[-1] = (runs[-1][0], i)
        elif flag:
            runs.append((i, i))
    return runs
