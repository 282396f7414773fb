"""Compiled programs do what evaluated ones do."""

from __future__ import annotations

import importlib.util
import pathlib
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import funcad
from funcad.backends import backend_of
from funcad.compile.compiled import Compiled, compiled
from funcad.compile.fuse import LARGE
from funcad.core.program import Program, Var
from funcad.core.tracing import Primitive, registry
from properties import as_tuple, for_all, generators, host, placed
from samples import SAMPLES
from samples.table import EVERY_DTYPE, HERE, import_every_module
from test_random_programs import gradient_of, numbers, programs

import_every_module()

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

SHARES = {"numpy": 0.2, "double": 0.1, "cupy": 0.1}


def assert_same(got: Any, want: Any) -> None:
    """The same type, shape, dtype and bits; NumPy's scalars count as arrays."""
    kinds = [np.ndarray if isinstance(x, np.generic) else type(x) for x in (got, want)]
    assert kinds[0] is kinds[1]
    if hasattr(want, "dtype"):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
    np.testing.assert_array_equal(host(got), host(want))


def compile_in_ways(program: Program, library: Any) -> list[Compiled]:
    """As it comes; all values in the workspace; and fused, in blocks of some bytes."""
    array_type = type(library.from_host(np.zeros(1)))
    return [
        compiled(program, array_type),
        Compiled(program, array_type, threshold=1, large=1 << 50),
        *[
            Compiled(program, array_type, threshold=1, block=size, large=1)
            for size in (24, 4000)
        ],
    ]


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
        for c in compile_in_ways(program, library):
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
        for c in compile_in_ways(staged, library):
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
            for c in compile_in_ways(staged, backend_of()):
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


def softened(x, mask, bias):
    for _ in range(3):
        x = np.tanh(x * 0.5 + mask) + bias
        x = x / np.sqrt(np.sum(x * x, -1, keepdims=True) + 1)
    return x, np.sum(x, -1)


def test_chains_on_large_arrays_run_block_by_block_and_agree():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 3, 10, 20))
    mask, bias = rng.normal(size=(10, 20)), rng.normal(size=(1, 1, 1, 20))
    program = funcad.make_program(softened)(x, mask, bias)
    want = softened(x, mask, bias)
    for size in (1600, 4000, 9000):  # blocks of 1, 2 and 5 rows of (10, 20)
        c = Compiled(program, threshold=1, block=size, large=1)
        assert "for start in range(0, 18, " in c.source
        for _ in range(2):
            for got, expected in zip(c(x, mask, bias), want, strict=True):
                np.testing.assert_allclose(got, expected, rtol=1e-13)
    rows = x[..., ::2, :]  # operands need not be contiguous
    c = Compiled(
        funcad.make_program(softened)(rows, mask[::2], bias), block=4000, large=1
    )
    for got, expected in zip(
        c(rows, mask[::2], bias), softened(rows, mask[::2], bias), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-13)


def test_a_loop_reads_like_numpy():
    def f(x, y):
        return np.exp(x * y) + y

    x = np.zeros((8, 1000))
    c = Compiled(funcad.make_program(f)(x, x[0]), block=16000, large=1)
    lines = [
        line
        for line in c.source.splitlines()
        if not line.strip().startswith("#") or "operations" in line
    ]
    assert lines == [
        "def compiled(a, b):",
        "    workspace = take_workspace()",
        "    w0, = workspace[0:12]",
        "    # 3 operations on 2 of 8 rows at a time",
        "    e = np.empty((8, 1000), np.float64)",
        "    for start in range(0, 8, 2):",
        "        rows = slice(start, start + 2)",
        "        a_ = a[rows]",
        "        c = np.multiply(a_, b, out=w0)",
        "        d = np.exp(c, out=w0)",
        "        e_ = np.add(d, b, out=e[rows])",
        "    spare.append(workspace)",
        "    return (e,)",
    ]


def test_it_may_be_called_while_it_runs(large):
    inner = []

    def meddle(x):
        if not inner:
            inner.append(None)
            inner[0] = c(3 * large)
        return x

    meddling = Primitive("meddling", meddle, lambda x: (x.shape, x.dtype))
    try:

        def f(x):
            y = np.exp(x) * 2
            return np.sum(meddling(np.tanh(x)) * y - y / 3)

        def plain(x):
            y = np.exp(x) * 2
            return np.sum(np.tanh(x) * y - y / 3)

        c = Compiled(funcad.make_program(f)(large))
        assert c(large)[0] == plain(large)
        assert inner[0][0] == plain(3 * large)
    finally:
        del registry["meddling"]


# ----------------------------------------------------------------------------- memory


def benchmark_models() -> Any:
    """The models of the benchmarks, which are no package."""
    path = pathlib.Path(__file__).parents[2] / "bench" / "models.py"
    spec = importlib.util.spec_from_file_location("benchmark_models", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def transformer_gradient(written: str) -> tuple[Any, list[Any]]:
    models = benchmark_models()
    sizes = models.Sizes(batch=8, length=32, width=64, layers=2)
    rng = np.random.default_rng(0)
    params = models.transformer_params(rng, sizes)
    batch = models.transformer_batch(rng, sizes)

    def loss(params):
        if written == "plain":
            return models.transformer_loss(np, params, batch, sizes.heads)
        return models.nn_transformer_loss(params, batch, sizes.heads)

    f = funcad.value_and_grad(loss)
    return funcad.make_program(f)(params), funcad.tree.leaves(params)


@pytest.mark.parametrize("written", ["plain", "nn"])
@pytest.mark.parametrize("large", [LARGE, 64 * 1024])
def test_the_memory_in_use_is_what_the_plan_says(written, large):
    program, leaves = transformer_gradient(written)
    c = Compiled(program, large=large, block=64 * 1024)
    want = program.evaluate(leaves)
    for got, expected in zip(c(*leaves), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)
    c.clear()
    memory = c.memory()
    tracemalloc.start()
    try:
        c(*leaves)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    planned = memory.workspace + memory.temporaries
    assert 0.8 * planned < peak < 1.1 * planned
    assert "workspace" in str(memory)


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
        "c = b @ a",
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
    # the caller may write into it
    assert out[1] is not k
    np.testing.assert_array_equal(out[1], k)
    assert out[2:] == (2.5, None, np.float32(1))
