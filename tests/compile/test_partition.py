"""Programs mean the same when threads share stretches of them, by all primitives."""

from __future__ import annotations

import functools
import threading

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

import funcad
from funcad.backends import threads
from funcad.compile.compiled import Compiled
from funcad.compile.in_parts import in_parts
from funcad.compile.partition import partition
from funcad.compile.simplify import simplify
from funcad.core.program import Program, Var
from funcad.core.tracing import bind, registry
from funcad.primitives.parts import SUM
from funcad.testing import _check_parts, _Tolerance
from program_checks import assert_well_formed
from properties import as_tuple, assert_close, for_all, generators
from samples import SAMPLES
from samples.table import EVERY_DTYPE, HERE, import_every_module
from test_random_programs import gradient_of, programs

import_every_module()

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

ALWAYS = float("-inf")  # seconds that sharing has to save

AS_FITS = _Tolerance(None, None, None)

WITH_RULE = sorted(name for name, p in registry.items() if p.parts is not None)


def in_parts_of(program: Program) -> list:
    """The stretches of a partitioned program."""
    return [e for e in program.equations if e.primitive is in_parts]


def shared(program: Program, count: int) -> Program:
    return partition(program, functools.partial(Compiled, threads=1), count, ALWAYS)


# ------------------------------------------------------------------------- the rules


@pytest.mark.parametrize("name", WITH_RULE)
def test_parts_of_the_operands_make_up_the_result(name):
    row = SAMPLES[name]
    through = row.through or (lambda p, *xs, **params: p(*xs, **params))
    checked = []

    # the entrywise ones have one rule between them
    share = 0.2 if registry[name].family == "elementwise" else 1

    @for_all(row.calls(EVERY_DTYPE), generators(), share=share)
    def check(call, rng):
        params = {k: "numpy" if v is HERE else v for k, v in call.params.items()}
        operands = call.draw(rng)
        assume(any(n > 1 for op in call.operands for n in op.shape))
        program = funcad.make_program(
            lambda *xs: through(registry[name], *xs, **params)
        )(*operands)
        values = dict(zip(program.inputs, operands, strict=True))
        for e in program.equations:
            given = [values[v] if type(v) is Var else v for v in e.inputs]
            outs = list(as_tuple(bind(e.primitive, given, e.params)))
            values.update(zip(e.outputs, outs, strict=True))
            if e.primitive.name == name:
                answers = _check_parts(e.primitive, given, e.params, outs, AS_FITS)
                checked.append(answers)

    # a rule that never has an answer is no rule
    assert sum(checked)


# -------------------------------------------------------------------- whole programs


def test_batches_of_random_programs_mean_the_same_in_parts():
    seen = set()

    @for_all(programs(), generators(), st.sampled_from([2, 3]), share=1)
    def check(program, rng, count):
        stacks = [np.stack(xs) for xs in zip(*(program.draw(rng) for _ in range(6)))]

        def total(*xs):
            losses = funcad.vmap(program)(*xs)
            # a sum of all examples that all examples need
            return np.mean(losses * losses / (1 + np.max(losses)))

        for f in (funcad.vmap(gradient_of(program)), funcad.value_and_grad(total)):
            staged = funcad.make_program(f)(*stacks)
            after = shared(staged, count)
            assert_well_formed(after)
            seen.add(len(in_parts_of(after)))
            want = staged.evaluate(stacks)
            run = Compiled(staged, threads=count, least=ALWAYS, threshold=1)
            for got in (after.evaluate(stacks), run(*stacks), run(*stacks)):
                for x, y in zip(got, want, strict=True):
                    assert x.dtype == y.dtype
                    assert_close(x, y, rtol=1e-9, atol=1e-9)

    assert {1, 2} <= seen


def loss(params, x, y):
    for w, b in params:
        x = np.tanh(x @ w + b)
    return np.mean((x - y) ** 2)


def network(rows, dtype=np.float64):
    rng = np.random.default_rng(0)
    params = [(rng.normal(size=(8, 8)).astype(dtype), np.zeros(8, dtype))] * 2
    x, y = rng.normal(size=(2, rows, 8)).astype(dtype)
    return params, x, y


def gradient_program(rows):
    arguments = network(rows)
    program = funcad.make_program(funcad.value_and_grad(loss))(*arguments)
    return program, funcad.tree.leaves(arguments)


def test_the_gradient_of_a_batch_is_one_stretch_whose_sums_are_added_up():
    program, leaves = gradient_program(16)
    (stretch,) = in_parts_of(shared(simplify(program), 2))
    assert set(stretch.params["results"]) == {SUM}


def test_what_needs_a_sum_over_the_batch_is_another_stretch():
    def normalised(x):
        x = np.tanh(x)
        x = (x - np.mean(x, 0)) / np.std(x, 0)
        return np.sin(x)

    program = funcad.make_program(normalised)(np.zeros((6, 4)))
    after = shared(program, 3)
    # the sum for the mean, that for the variance, and what follows
    assert len(in_parts_of(after)) == 3
    x = np.random.default_rng(0).normal(size=(6, 4))
    assert_close(after.evaluate([x])[0], normalised(x), rtol=1e-13)


def test_a_recomputation_behind_a_barrier_is_part_of_the_stretch():
    def checkpointed(params, x, y):
        return funcad.checkpoint(loss)(params, x, y)

    arguments = network(16)
    program = funcad.make_program(funcad.value_and_grad(checkpointed))(*arguments)
    program = simplify(program)
    assert "barrier" in {e.primitive.name for e in program.equations}
    after = shared(program, 2)
    assert len(in_parts_of(after)) == 1
    leaves = funcad.tree.leaves(arguments)
    for got, want in zip(after.evaluate(leaves), program.evaluate(leaves), strict=True):
        assert_close(got, want, rtol=1e-12)


def test_what_mixes_the_rows_is_computed_whole():
    def f(x):
        return np.exp(np.sort(np.exp(x), axis=0))

    program = funcad.make_program(f)(np.zeros((6, 4)))
    after = shared(program, 2)
    names = [e.primitive.name for e in after.equations]
    assert names == ["in_parts", "sort", "exp"]


@pytest.mark.parametrize("rows", [3, 5, 2, 1])
def test_rows_that_cannot_be_shared_out_are_not(rows):
    program = funcad.make_program(lambda x: np.exp(np.sin(x)))(np.zeros((rows, 5)))
    assert shared(program, 2) is program


def waves(x):
    return np.sum(np.exp(np.sin(x)))


def test_small_programs_and_single_threads_share_nothing():
    program, _ = gradient_program(16)
    assert partition(program, None, threads=2) is program
    large = funcad.make_program(waves)(np.zeros((2000, 1000)))
    assert partition(large, None, threads=1) is large
    assert len(in_parts_of(partition(large, lambda part: part, threads=2))) == 1


def test_rows_that_have_to_be_written_anew_are_not_worth_little_work():
    program = funcad.make_program(lambda x: 2 * x + 1)(np.zeros((2000, 5000)))
    assert partition(program, lambda part: part, threads=2) is program
    program = funcad.make_program(lambda x: np.sum(2 * x + 1, 1))(
        np.zeros((2000, 5000))
    )
    assert len(in_parts_of(partition(program, lambda part: part, threads=2))) == 1


def test_a_product_outside_costs_what_the_threads_of_blas_wait_for_the_next():
    def f(x, w):
        return waves(x @ np.tanh(w @ w))

    shapes = [np.zeros((4000, 500)), np.zeros((500, 500))]
    program = funcad.make_program(f)(*shapes)
    after = partition(program, lambda part: part, threads=2)
    assert after is program

    def without(x, w):
        return waves(x @ np.tanh(w * w))

    program = funcad.make_program(without)(*shapes)
    assert len(in_parts_of(partition(program, lambda part: part, threads=2))) == 1


def test_more_threads_get_more_parts_but_none_with_few_of_them_busy():
    program = funcad.make_program(waves)(np.zeros((2000, 5000)))

    def count(threads):
        after = partition(program, lambda part: part, threads)
        return [e.params["count"] for e in in_parts_of(after)]

    assert count(4) == [4]
    assert count(5) == [5]
    assert count(7) == [5]
    assert count(64) == []


# ------------------------------------------------------------------------ as compiled


@pytest.fixture
def two_threads(monkeypatch):
    """A machine of two cores and a BLAS of two threads, whatever there is."""
    monkeypatch.setattr(threads, "_blas", lambda: (lambda: 2, lambda n: None))
    monkeypatch.setattr(threads, "_core_count", lambda: 2)


def test_the_source_shows_the_part_and_the_call_of_it():
    program, _ = gradient_program(16)
    source = Compiled(program, threads=2, least=ALWAYS).source
    assert source.startswith("def part(")
    assert "def compiled(" in source
    assert "in_parts(" in source and "run=part" in source and "count=2" in source
    compile(source, "source", "exec")


def test_jit_gives_both_threads_work(two_threads):
    here = set()

    def noted(x):
        here.add(threading.get_ident())
        return np.sin(x)

    from funcad.extend import elementwise

    slow = elementwise("slow_sine_of_the_tests", noted, lambda ans, x: np.cos(x))
    try:
        x = np.random.default_rng(0).normal(size=(1000, 2000))
        f = funcad.jit(lambda x: np.max(np.exp(slow(x)), 1))
        np.testing.assert_array_equal(f(x), np.max(np.exp(np.sin(x)), 1))
        assert len(here) == 2
    finally:
        del registry["slow_sine_of_the_tests"]


def test_several_calls_at_once_agree(two_threads):
    program, leaves = gradient_program(64)
    run = Compiled(program, threads=2, least=ALWAYS, threshold=1)
    want = run(*leaves)
    wrong = []

    def call():
        for _ in range(20):
            for x, y in zip(run(*leaves), want, strict=True):
                if not np.array_equal(x, y):
                    wrong.append((x, y))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for t in callers:
        t.start()
    for t in callers:
        t.join()
    assert not wrong


def test_arguments_and_earlier_results_are_left_alone(two_threads):
    program, leaves = gradient_program(16)
    before = [np.copy(x) for x in leaves]
    run = Compiled(program, threads=2, least=ALWAYS, threshold=1)
    first = run(*leaves)
    kept = [np.copy(x) for x in first]
    second = run(*[x + 1 for x in leaves])
    for x, y in zip((*leaves, *first), (*before, *kept), strict=True):
        np.testing.assert_array_equal(x, y)
    assert not any(np.shares_memory(x, y) for x in first for y in second)


def hold_workspaces_at_once(part):
    """Let each of two threads wait, when it has its workspace, for the other's.

    On one core, or a busy machine, the second may begin when the first has ended, and
    work in the memory that the first gave back.
    """
    names = part.function.__globals__
    take = names["take_workspace"]
    both = threading.Barrier(2)

    def take_and_wait():
        workspace = take()
        both.wait(60)
        return workspace

    names["take_workspace"] = take_and_wait


def test_the_memory_in_use_is_what_the_plan_says(two_threads):
    import tracemalloc

    params, x, y = network(40000, np.float32)
    program = funcad.make_program(funcad.value_and_grad(loss))(params, x, y)
    leaves = funcad.tree.leaves((params, x, y))
    run = Compiled(program, threads=2, least=ALWAYS)
    run(*leaves)
    run.clear()
    memory = run.memory()
    [(_, part)] = run._parts()
    hold_workspaces_at_once(part)
    tracemalloc.start()
    try:
        run(*leaves)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    planned = memory.workspace + memory.temporaries
    assert planned == run.working
    assert 0.8 * planned < peak < 1.1 * planned
    run.clear()


def test_an_error_in_a_part_is_the_eager_one_and_names_its_line(two_threads):
    def f(x):
        return np.sin(np.exp(x) / x)

    x = np.zeros((8, 4))
    run = Compiled(funcad.make_program(f)(x), threads=2, least=ALWAYS)
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError) as caught:
        run(x)
    assert any("np.exp(x) / x" in note for note in caught.value.__notes__)


def test_a_profile_shows_the_equations_of_the_parts(two_threads):
    f = funcad.jit(waves)
    report = funcad.profile(f)(np.zeros((1000, 2000)))
    text = str(report)
    assert "sin" in text and "exp" in text and "in_parts" not in text
