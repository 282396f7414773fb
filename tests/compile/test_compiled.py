"""Compiled programs do what evaluated ones do."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import funcad
from funcad.backends import backend_of
from funcad.compile.compiled import Compiled, compiled
from funcad.core.program import Program, Var
from funcad.core.tracing import registry
from properties import as_tuple, for_all, generators, host, placed
from samples import SAMPLES
from samples.table import EVERY_DTYPE, HERE, import_every_module
from test_random_programs import gradient_of, numbers, programs

import_every_module()

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

SHARES = {"numpy": 0.3, "double": 0.15, "cupy": 0.15}


def assert_same(got: Any, want: Any) -> None:
    """The same type, shape, dtype and bits; NumPy's scalars count as arrays."""
    kinds = [np.ndarray if isinstance(x, np.generic) else type(x) for x in (got, want)]
    assert kinds[0] is kinds[1]
    if hasattr(want, "dtype"):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
    np.testing.assert_array_equal(host(got), host(want))


def compile_everything(program: Program, library: Any) -> Compiled:
    """Compiled with a place in the workspace for every value, however small."""
    return Compiled(program, type(library.from_host(np.zeros(1))), threshold=1)


# ----------------------------------------------------------------- every primitive


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_primitive_compiles_to_what_it_computes(name, library):
    row = SAMPLES[name]
    if row.host_only and library.name != "numpy":
        pytest.skip(f"{library.name} has no {name}")

    @for_all(
        row.calls(EVERY_DTYPE), generators(), st.booleans(), share=SHARES[library.name]
    )
    def check(call, rng, held):
        params = {k: library.name if v is HERE else v for k, v in call.params.items()}
        operands = placed(library, call.draw(rng))
        through = row.through or (lambda p, *xs, **kw: p(*xs, **kw))
        is_number = [type(x) in (bool, int, float, complex) for x in operands]
        fixed = [held and n and not all(is_number) for n in is_number]

        def function(*xs):
            given = iter(xs)
            xs = [x if f else next(given) for x, f in zip(operands, fixed)]
            # with something after it, so that results can lie in the workspace
            out = as_tuple(through(registry[name], *xs, **params))
            return [*out, *[np.negative(o * 2) for o in out if o.dtype.kind in "fc"]]

        free = [x for x, f in zip(operands, fixed) if not f]
        want = function(*free)
        program = funcad.make_program(function)(*free)
        for c in (compiled(program), compile_everything(program, library)):
            for _ in range(2):  # the second time in a used workspace
                for got, expected in zip(c(*free), want, strict=True):
                    assert_same(got, expected)


# -------------------------------------------------------------------- whole programs


def test_gradients_of_random_programs_compile_to_what_they_compute(library):
    @for_all(programs(), generators(), share=2 if library.name == "numpy" else 1)
    def check(program, rng):
        inputs = placed(library, program.draw(rng))
        staged = funcad.make_program(gradient_of(program))(*inputs)
        want = staged.evaluate(inputs)
        for c in (compiled(staged), compile_everything(staged, library)):
            for _ in range(2):
                for got, expected in zip(c(*inputs), want, strict=True):
                    assert backend_of(got) is library
                    assert_same(got, expected)


def test_hessian_vector_products_and_batches_compile_to_what_they_compute():
    @for_all(programs(), generators(), share=1)
    def check(program, rng):
        inputs, tangents = program.draw(rng), program.draw(rng)

        def product(*xs):
            return funcad.hvp(program, xs[: len(inputs)], xs[len(inputs) :], argnums)

        argnums = numbers(program)
        stacked = [np.stack([x, -x]) for x in (*inputs, *tangents)]
        for f, xs in ((product, (*inputs, *tangents)), (funcad.vmap(product), stacked)):
            staged = funcad.make_program(f)(*xs)
            want = staged.evaluate(xs)
            c = Compiled(staged, threshold=1)
            for _ in range(2):
                for got, expected in zip(c(*xs), want, strict=True):
                    assert_same(got, expected)


# ------------------------------------------------------------------------- workspace


def chain(x):
    for _ in range(6):
        x = np.tanh(x * x + 1) - x
    return np.sum(x), x.T


@pytest.fixture
def large():
    return np.random.default_rng(0).normal(size=(200, 100))


def test_results_and_arguments_are_never_workspace_memory(large):
    program = funcad.make_program(chain)(large)
    c = compiled(program)
    before = large.copy()
    first = c(large)
    kept = [np.copy(x) for x in first]
    c(2 * large)
    for got, want in zip(first, kept, strict=True):
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(large, before)


def test_a_view_that_is_returned_keeps_its_memory_out_of_the_workspace(large):
    def f(x):
        y = np.exp(x) * 2
        return y[3], np.reshape(y.T, (-1,)), np.broadcast_to(y[0], (4, 100))

    c = compiled(funcad.make_program(f)(large))
    first = c(large)
    c(large + 1)
    for got, want in zip(first, f(large), strict=True):
        np.testing.assert_array_equal(got, want)


def test_threads_have_workspaces_of_their_own(large):
    c = compiled(funcad.make_program(chain)(large))
    inputs = [large * k for k in range(8)]
    want = [chain(x) for x in inputs]
    wrong = []

    def run(k):
        for _ in range(20):
            for got, expected in zip(c(inputs[k]), want[k], strict=True):
                if not np.array_equal(got, expected):
                    wrong.append(k)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_the_workspace_is_kept_between_calls_and_cleared_on_request(large):
    c = compiled(funcad.make_program(chain)(large))
    c(large)
    (first,) = c._spare
    c(large)
    assert c._spare[0] is first
    c.clear()
    assert not c._spare
    np.testing.assert_array_equal(c(large)[0], chain(large)[0])


# ---------------------------------------------------------------------------- errors


def test_an_error_is_the_eager_one_and_names_the_line_of_the_equation():
    def f(x):
        return np.linalg.cholesky(x @ x.T - 10 * np.eye(3))

    x = np.zeros((3, 3))
    with pytest.raises(np.linalg.LinAlgError):
        f(x)
    with pytest.raises(np.linalg.LinAlgError) as caught:
        compiled(funcad.make_program(f)(x))(x)
    assert any("np.linalg.cholesky" in note for note in caught.value.__notes__)


def test_the_source_is_what_tracebacks_show():
    import linecache

    c = compiled(funcad.make_program(lambda x: np.sin(x) * 2)(1.0))
    assert linecache.getline(c.filename, 1) == c.source.splitlines(keepends=True)[0]


# ---------------------------------------------------------------------------- source


def test_the_source_of_a_small_function_reads_like_numpy():
    def loss(w, x):
        hidden = np.tanh(x @ w)
        return np.mean(hidden[:, 0] ** 2)

    program = funcad.make_program(loss)(np.zeros((3, 2)), np.zeros((4, 3)))
    lines = [
        line.strip()
        for line in compiled(program).source.splitlines()
        if not line.strip().startswith("#")
    ]
    assert lines == [
        "def compiled(a, b):",
        "c = np.matmul(b, a)",
        "d = np.tanh(c)",
        "e = d[:, 0]",
        "f = np.square(e)",
        "g = f.sum(axis=(0,))",
        "h = g / 4",
        "return (h,)",
    ]


def test_outputs_that_are_inputs_constants_or_numbers_are_returned():
    x = Var((2,), np.dtype(float))
    k = np.arange(3)
    out = compiled(Program([x], [], [x, k, 2.5, None, np.float32(1)]))(np.ones(2))
    assert out[0] is not None
    assert out[1] is k
    assert out[2:] == (2.5, None, np.float32(1))
