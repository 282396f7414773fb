"""Schedules, followed without arrays, beside theory and beside brute force."""

import functools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcad.errors import ScheduleError
from funcad.transforms.schedules import (
    STRATEGIES,
    Advance,
    Backward,
    Free,
    Record,
    Restore,
    Store,
    costs,
    default_slots,
    fewest_evaluations,
    schedule,
)

LENGTHS = [*range(1, 34), 100, 1000, 1024]


def follow(actions, n):
    """Refuse what no chain could do; the number of steps taken back, in order."""
    current, held, recorded, back = 0, set(), [], n
    for action in actions:
        match action:
            case Store(state):
                assert current == state and state not in held
                held.add(state)
            case Restore(state):
                assert state in held
                current = state
            case Free(state):
                held.remove(state)
            case Advance(start, stop):
                assert current == start < stop <= n
                current = stop
            case Record(layer):
                assert current == layer and layer not in recorded
                recorded.append(layer)
                current = layer + 1
            case Backward(layer):
                assert layer == back - 1 == recorded.pop()
                back = layer
    assert back == 0 and not held and not recorded


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("n", LENGTHS)
def test_a_schedule_takes_every_layer_back_in_order_and_leaves_nothing(n, strategy):
    if strategy == "recompute-all" and n > 100:
        n = 100
    follow(schedule(n, strategy), n)


@given(st.integers(1, 300), st.integers(1, 40))
def test_revolve_takes_every_layer_back_with_any_number_of_slots(n, slots):
    follow(schedule(n, "revolve", slots), n)


@pytest.mark.parametrize("n", LENGTHS)
def test_store_all_holds_n_records_and_evaluates_n_layers(n):
    assert costs(schedule(n, "store-all")) == (n, 0, n, n)


@pytest.mark.parametrize("n", LENGTHS)
def test_recompute_all_holds_one_state_and_evaluates_half_the_square(n):
    assert costs(schedule(n, "recompute-all")) == (n * (n + 1) // 2, 1, 1, min(n, 2))


@pytest.mark.parametrize("n", LENGTHS)
def test_sqrt_holds_two_roots_and_evaluates_each_layer_less_than_twice(n):
    cost = costs(schedule(n, "sqrt"))
    assert cost.evaluations < 2 * n
    assert cost.held <= 2 * math.sqrt(n)
    assert n < 4 or cost.held >= 1.3 * math.sqrt(n)


@functools.cache
def brute_force(n, slots):
    """Fewest evaluations, by trying every place for the next state that is held."""
    if n == 1:
        return 1
    if slots == 1:
        return n * (n + 1) // 2
    return min(
        m + brute_force(m, slots) + brute_force(n - m, slots - 1) for m in range(1, n)
    )


@given(st.integers(1, 60), st.integers(1, 12))
def test_revolve_needs_as_few_evaluations_as_brute_force_finds(n, slots):
    cost = costs(schedule(n, "revolve", slots))
    assert cost.evaluations == brute_force(n, slots) == fewest_evaluations(n, slots)
    assert cost.slots <= slots and cost.records == 1 and cost.held <= slots + 1


@pytest.mark.parametrize("n", [100, 1000, 1024])
@pytest.mark.parametrize("slots", [2, 3, 10, 31, 1024, 10**9])
def test_revolve_reaches_the_binomial_optimum_of_long_chains(n, slots):
    cost = costs(schedule(n, "revolve", slots))
    assert cost.evaluations == fewest_evaluations(n, slots)
    assert cost.held <= slots + 1


def test_slots_that_are_not_given_grow_as_the_logarithm():
    assert [default_slots(n) for n in (1, 2, 3, 64, 1024, 1025)] == [1, 1, 2, 6, 10, 11]
    assert costs(schedule(1024, "revolve")).slots == 10


def test_the_forward_pass_is_the_first_part_and_stores_only():
    for strategy in STRATEGIES:
        actions = list(schedule(50, strategy))
        first = next(i for i, a in enumerate(actions) if isinstance(a, Record))
        assert all(isinstance(a, Store | Advance) for a in actions[:first])


@pytest.mark.parametrize("slots", [0, -1, -100])
def test_no_slots_make_no_schedule(slots):
    with pytest.raises(ScheduleError, match=rf"at least one slot.*slots={slots}"):
        schedule(10, "revolve", slots)


@pytest.mark.parametrize("slots", [2.0, "3", True, [1]])
def test_slots_are_an_integer(slots):
    with pytest.raises(ScheduleError, match="slots of a schedule must be an integer"):
        schedule(10, "revolve", slots)


def test_slots_are_for_revolve_alone():
    with pytest.raises(ScheduleError, match='"sqrt" has no choice of slots.*slots=3'):
        schedule(10, "sqrt", 3)


def test_an_unknown_strategy_is_told_the_known_ones():
    with pytest.raises(ValueError, match="'sqtr'.*store-all.*revolve"):
        schedule(10, "sqtr")


@pytest.mark.parametrize("n", [0, -2, 1.5, None])
def test_a_chain_has_layers(n):
    with pytest.raises(ScheduleError, match="layer"):
        schedule(n, "store-all")
