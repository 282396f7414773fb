"""Schedules at their corners and in between."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcad
from funcad import optim
from funcad.core.errors import ArgumentError

values = st.floats(-10, 10)
steps = st.integers(1, 1000)
counts = st.integers(0, 3000)

EXAMPLES = {
    "constant": optim.constant_schedule(0.3),
    "linear": optim.linear_schedule(0.0, 1.0, 10, 5),
    "polynomial": optim.polynomial_schedule(1.0, 0.1, 2.0, 10),
    "exponential": optim.exponential_decay(1.0, 10, 0.5, 5, staircase=True),
    "cosine": optim.cosine_decay_schedule(1.0, 10, 0.1),
    "warmup": optim.warmup_cosine_decay_schedule(0.0, 1.0, 5, 10, 0.1),
    "piecewise": optim.piecewise_constant_schedule(1.0, {5: 0.1}),
    "joined": optim.join_schedules(
        [optim.constant_schedule(1.0), optim.linear_schedule(1.0, 0.0, 5)], [5]
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_scalar_count_gives_a_python_float(name):
    schedule = EXAMPLES[name]
    kinds = [type(schedule(c)) for c in (7, np.int64(7), np.array(7), np.int32(7))]
    assert kinds == [float] * 4


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_array_of_counts_gives_the_values_one_by_one(name):
    schedule = EXAMPLES[name]
    expected = [schedule(count) for count in range(20)]
    got = np.broadcast_to(schedule(np.arange(20)), 20)
    np.testing.assert_allclose(got, expected, rtol=1e-15)


@given(values, values, steps, st.integers(0, 50))
def test_a_line_meets_its_ends_and_its_middle(start, end, length, begin):
    schedule = optim.linear_schedule(start, end, 2 * length, begin)
    close = {"rel": 1e-12, "abs": 1e-12}
    assert schedule(0) == pytest.approx(start, **close)
    assert schedule(begin) == pytest.approx(start, **close)
    assert schedule(begin + length) == pytest.approx((start + end) / 2, **close)
    assert schedule(begin + 2 * length) == end
    assert schedule(begin + 5 * length) == end


@given(values, steps, st.floats(0, 1), st.floats(0.5, 3), counts)
def test_cosine_decay_follows_its_formula(start, length, alpha, exponent, count):
    schedule = optim.cosine_decay_schedule(start, length, alpha, exponent)
    wave = (0.5 * (1 + math.cos(math.pi * min(count, length) / length))) ** exponent
    expected = start * ((1 - alpha) * wave + alpha)
    assert schedule(count) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert schedule(0) == pytest.approx(start, rel=1e-12, abs=1e-12)
    assert schedule(length) == pytest.approx(alpha * start, rel=1e-12, abs=1e-12)


@given(values, values, values, st.integers(0, 100), steps)
def test_warmup_meets_the_peak_and_the_end(start, peak, end, warmup, fall):
    schedule = optim.warmup_cosine_decay_schedule(
        start, peak, warmup, warmup + 2 * fall, end
    )
    close = {"rel": 1e-12, "abs": 1e-12}
    assert schedule(0) == pytest.approx(start if warmup else peak, **close)
    assert schedule(warmup) == pytest.approx(peak, **close)
    assert schedule(warmup + fall) == pytest.approx((peak + end) / 2, **close)
    assert schedule(warmup + 2 * fall) == pytest.approx(end, **close)
    assert schedule(warmup + 9 * fall) == pytest.approx(end, **close)
    if warmup:
        before = peak - (peak - start) / warmup
        assert schedule(warmup - 1) == pytest.approx(before, rel=1e-9, abs=1e-9)


def test_warmup_follows_nanogpts_schedule():
    """nanoGPT: linear from 0, then a cosine from 1e-3 to 1e-4 until step 2000."""
    schedule = optim.warmup_cosine_decay_schedule(0.0, 1e-3, 100, 2000, 1e-4)
    for count in (0, 1, 50, 99, 100, 101, 1000, 1999, 2000, 5000):
        if count < 100:
            expected = 1e-3 * count / 100
        else:
            progress = min(count - 100, 1900) / 1900
            expected = 1e-4 + 0.5 * (1 + math.cos(math.pi * progress)) * 9e-4
        assert schedule(count) == pytest.approx(expected, rel=1e-12)


def test_pieces_change_at_their_boundaries():
    schedule = optim.piecewise_constant_schedule(2.0, {20: 0.5, 10: 0.1})
    got = [schedule(count) for count in (0, 9, 10, 19, 20, 1000)]
    assert got == pytest.approx([2.0, 2.0, 0.2, 0.2, 0.1, 0.1], rel=1e-15)
    assert optim.piecewise_constant_schedule(2.0)(5) == 2.0


@given(st.floats(0.1, 10), steps, st.floats(0.1, 3.0), st.integers(0, 20), counts)
def test_exponential_decay_follows_its_formula(start, length, rate, begin, count):
    times = max(count - begin, 0) / length
    times = min(times, 50.0)
    count = begin + round(times * length)
    times = (count - begin) / length
    schedule = optim.exponential_decay(start, length, rate, begin)
    assert schedule(count) == pytest.approx(start * rate**times, rel=1e-9)
    stairs = optim.exponential_decay(start, length, rate, begin, staircase=True)
    assert stairs(count) == pytest.approx(start * rate ** math.floor(times), rel=1e-9)


def test_exponential_decay_and_growth_end_at_the_end_value():
    decay = optim.exponential_decay(1.0, 1, 0.5, end_value=0.3)
    growth = optim.exponential_decay(1.0, 1, 2.0, end_value=5.0)
    assert [decay(count) for count in range(4)] == [1.0, 0.5, 0.3, 0.3]
    assert [growth(count) for count in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_joined_schedules_each_count_from_their_own_beginning():
    line = optim.linear_schedule(0.0, 1.0, 4)
    schedule = optim.join_schedules([line, line, line], [2, 6])
    got = [schedule(count) for count in range(11)]
    expected = [0, 0.25, 0, 0.25, 0.5, 0.75, 0, 0.25, 0.5, 0.75, 1.0]
    assert got == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: optim.linear_schedule(0.0, 1.0, 0),
            "transition_steps must be greater than 0, and is 0",
        ),
        (
            lambda: optim.linear_schedule(0.0, 1.0, 5, -1),
            "transition_begin must be 0 or greater, and is -1",
        ),
        (
            lambda: optim.cosine_decay_schedule(1.0, -5),
            "decay_steps must be greater than 0, and is -5",
        ),
        (
            lambda: optim.cosine_decay_schedule(None, 5),
            "init_value must be a real number, and is None, a NoneType",
        ),
        (
            lambda: optim.warmup_cosine_decay_schedule(0.0, 1.0, 100, 100),
            "decay_steps = 100 must be greater than warmup_steps = 100",
        ),
        (
            lambda: optim.piecewise_constant_schedule(1.0, {10: -0.5}),
            "scale at step 10 must be 0 or greater, and is -0.5",
        ),
        (
            lambda: optim.exponential_decay(1.0, 10, 0.0),
            "decay_rate must be greater than 0, and is 0.0",
        ),
        (
            lambda: optim.join_schedules([optim.constant_schedule(1.0)], [3]),
            "1 schedules have 0 boundaries between them, and 1 were given: [3]",
        ),
        (
            lambda: optim.join_schedules([optim.constant_schedule(1.0)] * 3, [3, 3]),
            "the boundaries must increase, and are [3, 3]",
        ),
        (
            lambda: optim.join_schedules([1.0, 2.0], [5]),
            "join_schedules: schedules[0] is 1.0, and must be a function",
        ),
        (
            lambda: optim.join_schedules(optim.constant_schedule(1.0), 5),
            "join_schedules: schedules must be a list, and is <function",
        ),
        (
            lambda: optim.join_schedules([optim.constant_schedule(1.0)] * 2, 5),
            "join_schedules: boundaries must be a list, and is 5",
        ),
        (
            lambda: optim.join_schedules([optim.constant_schedule(1.0)] * 2, ["a"]),
            "join_schedules: a boundary must be a real number, and is 'a', a str",
        ),
        (
            lambda: optim.piecewise_constant_schedule(1.0, [10]),
            "must be a dict from steps to factors, such as {1000: 0.1}, and is [10]",
        ),
        (
            lambda: optim.linear_schedule(0.0, 1.0, 0),
            "linear_schedule: transition_steps must be greater than 0, and is 0",
        ),
        (
            lambda: optim.scale_by_schedule(0.1),
            "step_size_fn must be a function of the step count, and is 0.1",
        ),
    ],
)
def test_a_schedule_that_cannot_be_names_what_is_wrong(make, message):
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a", "a real number, and is 'a', a str"),
        (None, "a real number, and is None"),
        ([0.1], r"a real number, and is \[0.1\]"),
        (np.ones(3), r"one real number, and is an array of shape \(3,\)"),
        (1j, "a real number, and is 1j"),
        (np.nan, "is NaN"),
    ],
)
@pytest.mark.parametrize("make", [optim.sgd, optim.adam, optim.scale_by_schedule])
def test_a_schedule_that_returns_no_number_is_refused(make, value, message):
    optimiser = make(lambda count: value)
    params = np.ones(3)
    with pytest.raises(ArgumentError, match="update: the value of the sch.*" + message):
        optimiser.update(params, optimiser.init(params))


@pytest.mark.parametrize("value", [1, True, np.float32(1), np.array(1.0), np.int8(1)])
def test_a_schedule_may_return_any_real_number(value):
    optimiser = optim.sgd(lambda count: value)
    params = np.ones(3)
    updates, _ = optimiser.update(params, optimiser.init(params))
    np.testing.assert_array_equal(updates, -1.0)


def test_a_schedule_may_switch_updates_off_in_a_program_too():
    optimiser = optim.scale_by_schedule(lambda count: count < 1)
    params = np.ones(3)
    for update in (optimiser.update, funcad.jit(optimiser.update)):
        state = optimiser.init(params)
        for expected in (1.0, 0.0):
            updates, state = update(params, state)
            np.testing.assert_array_equal(updates, expected)
