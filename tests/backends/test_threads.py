"""Shared work: every part is done once, alone where there are no threads for it."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from funcad.backends import threads
from funcad.backends.threads import thread_count, together


@pytest.fixture
def two_threads(monkeypatch):
    """A machine of two cores and a BLAS of two threads, whatever there is."""
    state = {"threads": 2}
    functions = (lambda: state["threads"], lambda n: state.update(threads=n))
    monkeypatch.setattr(threads, "_blas", lambda: functions)
    monkeypatch.setattr(threads, "_core_count", lambda: 2)
    return state


def test_results_come_in_the_order_of_the_parts(two_threads):
    assert together([lambda k=k: k * k for k in range(5)]) == [0, 1, 4, 9, 16]
    assert together([]) == []
    assert together([lambda: 3]) == [3]


def test_parts_run_at_once(two_threads):
    both = threading.Barrier(2)
    together([lambda: both.wait(20), lambda: both.wait(20)])


def test_blas_has_one_thread_meanwhile_and_as_many_as_before_afterwards(two_threads):
    seen = together([lambda: two_threads["threads"]] * 3)
    assert seen == [1, 1, 1]
    assert two_threads["threads"] == 2


def test_a_part_shares_its_work_with_nobody(two_threads):
    assert thread_count() == 2
    assert together([thread_count, thread_count]) == [1, 1]
    inner = together([lambda: together([threading.get_ident] * 2)] * 2)
    assert all(first == second for first, second in inner)
    assert thread_count() == 2


@pytest.mark.parametrize("position", [0, 1])
def test_an_error_of_any_part_comes_through_when_all_have_ended(two_threads, position):
    ended = []

    def works():
        ended.append(1)

    def fails():
        raise ValueError("no")

    parts = [works, works]
    parts[position] = fails
    with pytest.raises(ValueError, match="no"):
        together(parts)
    assert ended == [1]
    assert two_threads["threads"] == 2
    assert thread_count() == 2


def test_parts_have_the_callers_error_state(two_threads):
    def part():
        return np.geterr()["divide"]

    with np.errstate(divide="raise"):
        assert together([part, part]) == ["raise", "raise"]


def test_without_threads_the_parts_run_one_after_another(monkeypatch):
    monkeypatch.setattr(threads, "_blas", lambda: None)
    assert thread_count() == 1
    here = threading.get_ident()
    assert together([threading.get_ident] * 3) == [here] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(two_threads):
    together([int, int])
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        os.write(write, bytes(together([lambda: 5, lambda: 6])))
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read() == bytes([5, 6])
    os.waitpid(process, 0)


def test_numpys_blas_says_how_many_threads_it_has():
    functions = threads._blas()
    if functions is None:
        pytest.skip("NumPy's BLAS is not an OpenBLAS with such functions")
    get, put = functions
    before = get()
    put(1)
    try:
        assert get() == 1
        assert thread_count() == 1
    finally:
        put(before)
    assert get() == before
