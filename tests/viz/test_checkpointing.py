"""Films of schedules."""

import io

import numpy as np
import pytest

import funcad
from funcad.errors import ArgumentError, ScheduleError
from funcad.transforms.schedules import STRATEGIES, costs, schedule

image = pytest.importorskip("PIL.Image")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_film_ends_with_all_taken_back_and_nothing_held(strategy):
    film = funcad.viz.checkpoint_schedule(strategy, 9)
    last = film.frames[-1]
    assert last.back == 0 and not last.stored and not last.recorded
    cost = costs(schedule(9, strategy))
    assert last.evaluations == cost.evaluations
    assert max(len(f.stored) + len(f.recorded) for f in film.frames) == cost.held


def test_each_step_evaluates_one_layer_at_most():
    frames = funcad.viz.checkpoint_schedule("revolve", 12, slots=3).frames
    for before, after in zip(frames, frames[1:], strict=False):
        assert after.evaluations - before.evaluations == (
            after.layer is not None and not after.backward
        )


def test_a_film_is_saved_as_a_gif_with_a_picture_for_each_step(tmp_path):
    film = funcad.viz.checkpoint_schedule("revolve", 3, slots=1)
    film.save(tmp_path / "film.gif")
    with image.open(tmp_path / "film.gif") as gif:
        # the last picture is shown longer, which a GIF says by its duration
        assert gif.n_frames >= len(film.frames)
        pictures = []
        for i in range(len(film.frames)):
            gif.seek(i)
            pictures.append(np.asarray(gif.convert("RGB")))
    assert not np.array_equal(pictures[0], pictures[1])
    assert 'src="data:image/gif;base64,' in film._repr_html_()


def test_no_schedule_makes_no_film():
    with pytest.raises(ScheduleError, match="at least one slot"):
        funcad.viz.checkpoint_schedule("revolve", 5, slots=0)


@pytest.mark.parametrize("fps", [0, -1, 1.5, None, 1000])
def test_steps_a_second_are_an_integer(fps):
    with pytest.raises(ArgumentError, match="fps of checkpoint_schedule"):
        funcad.viz.checkpoint_schedule("sqrt", 3, fps=fps)


@pytest.mark.parametrize("n", [1, 4, 30])
def test_a_gif_has_the_colours_that_are_drawn(n):
    film = funcad.viz.checkpoint_schedule("sqrt", n)
    # drawn anew, of which a picture in the GIF has the shades
    drawn = film._pictures()
    with image.open(io.BytesIO(film.gif())) as gif:
        for i in (0, gif.n_frames - 1):
            gif.seek(i)
            got = np.asarray(gif.convert("RGB"), int)
            # frames that look the same are one in a GIF: the first and last are not
            want = np.asarray(drawn[0 if i == 0 else -1], int)
            assert np.abs(got - want).max() < 64
            assert (got[0, 0] == 255).all()
