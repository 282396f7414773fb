"""``export``: modules that run where there is nothing but NumPy."""

import keyword
import subprocess
import sys
import textwrap
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import assume

import funcad
from funcad import errors, lax, nn
from funcad.core.tracing import registry
from properties import as_tuple, assert_close, for_all, generators
from samples import SAMPLES
from samples.table import import_every_module
from test_random_programs import EXACT, numbers, programs

import_every_module()

X = np.array([0.3, -1.2, 2.5])


def run(text, function=None):
    """The function that a module defines."""
    names = {}
    exec(compile(text, "exported", "exec"), names)
    found = [f for k, f in names.items() if callable(f) and k in text]
    return names[function] if function else found[-1]


def mlp_loss(params, x, y):
    """Mean squared error of a network with one hidden layer."""
    h = np.tanh(x @ params["w1"] + params["b1"])
    error = h @ params["w2"] + params["b2"] - y
    return np.mean(error**2)


def mlp_arguments(seed=0):
    rng = np.random.default_rng(seed)
    params = {
        "w1": rng.standard_normal((3, 4)),
        "b1": rng.standard_normal(4),
        "w2": rng.standard_normal((4, 2)),
        "b2": rng.standard_normal(2),
    }
    return params, rng.standard_normal((5, 3)), rng.standard_normal((5, 2))


# ------------------------------------------------------------------ nothing but NumPy

ALONE = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("funcad", "scipy", "cupy"):
            raise ImportError(name + " is not to be had")

sys.meta_path.insert(0, Nothing())
import numpy as np
import exported

try:
    import funcad
except ImportError:
    pass
else:
    raise AssertionError("funcad is there")
arguments = np.load("arguments.npz")
params = {k: arguments[k] for k in ("w1", "b1", "w2", "b2")}
value, gradient = exported.value_and_grad_mlp_loss(
    params, arguments["x"], arguments["y"]
)
np.savez("results.npz", value=value, **gradient)
"""


def test_the_gradient_of_an_mlp_runs_where_funcad_cannot_be_imported(tmp_path):
    both = funcad.value_and_grad(mlp_loss)
    funcad.export(both, *mlp_arguments(), path=tmp_path / "exported.py")
    params, x, y = mlp_arguments(1)
    np.savez(tmp_path / "arguments.npz", x=x, y=y, **params)
    (tmp_path / "alone.py").write_text(ALONE)
    subprocess.run([sys.executable, "alone.py"], cwd=tmp_path, check=True)
    results = np.load(tmp_path / "results.npz")
    value, gradient = both(params, x, y)
    np.testing.assert_allclose(results["value"], value, rtol=1e-14)
    for name, want in gradient.items():
        np.testing.assert_allclose(results[name], want, rtol=1e-13)


def test_the_gradient_of_an_mlp_fits_on_a_slide():
    text = funcad.export(funcad.grad(mlp_loss), *mlp_arguments())
    statements = [
        line
        for line in text.partition('"""\n    w1')[2].splitlines()
        if not line.strip().startswith("#")
    ]
    assert len(statements) < 40
    assert max(map(len, text.splitlines())) <= 100
    for line in ('w1 = params["w1"]', "h = np.tanh(", "error = "):
        assert line in text.replace("'", '"')
    assert "Mean squared error of a network" in text
    assert "params['w1'] : float64[3,4]" in text


def test_nothing_of_the_machine_is_in_the_module():
    text = funcad.export(funcad.grad(mlp_loss), *mlp_arguments())
    assert __file__ not in text
    assert "funcad" not in text.replace("funcad.export", "")


# --------------------------------------------------------------------- means the same


def test_random_gradients_mean_the_same_when_exported():
    @for_all(programs(), generators(), share=2)
    def check(program, rng):
        def f(*xs):
            return funcad.grad(program, numbers(program))(*xs)

        try:
            exported = run(funcad.export(f, *program.draw(rng), name="f"), "f")
        except errors.ExportError as error:
            assert "is not one of NumPy's functions" in str(error)
            return
        inputs = program.draw(rng)
        for got, want in zip(exported(*inputs), f(*inputs), strict=True):
            scale = 1 + np.abs(want).max(initial=0)
            np.testing.assert_allclose(got / scale, want / scale, **EXACT)


def of_functions(defined):
    """A definition, which takes functions where the primitive takes programs."""

    def call(*operands, **params):
        return defined(*operands, **converted(params))

    def converted(params):
        return {k: function(v) for k, v in params.items()}

    def function(value):
        if isinstance(value, tuple):
            return tuple(map(function, value))
        if isinstance(value, funcad.Program):
            return lambda *args: value.evaluate(args)
        return value

    return call


DEFINED = sorted(name for name, p in registry.items() if p.definition)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", DEFINED)
def test_definitions_over_numpy_agree_with_the_implementations(name):
    names = {"np": np}
    exec(registry[name].definition, names)
    defined = names[f"{name}_" if keyword.iskeyword(name) else name]
    row = SAMPLES[name]
    through = row.through or (lambda p, *xs, **params: p(*xs, **params))

    @for_all(row.calls("fdD"), generators())
    def check(call, rng):
        values = call.draw(rng)
        # Python's own error functions are of real numbers
        assume(name not in {"erf", "erfc", "ndtr"} or not np.iscomplexobj(values[0]))
        wants = as_tuple(through(registry[name], *values, **call.params))
        outs = as_tuple(through(of_functions(defined), *values, **call.params))
        assert len(outs) == len(wants)
        for out, want in zip(outs, wants, strict=True):
            assert out.dtype == want.dtype
            inexact = want.dtype.kind in "fc"
            tolerance = 200 * np.finfo(want.dtype).eps if inexact else 0
            assert_close(out, want, rtol=tolerance, atol=tolerance)


ROWS = np.random.default_rng(0).standard_normal((4, 3))
EXPORTED = {
    "one entry": lambda x: x[0, 1] ** 2 + np.sum(x[::-1, 1:] ** 3),
    "running": lambda x: np.sum(np.cumsum(x, 0) ** 2) + np.sum(np.cumprod(x[0])),
    "padded": lambda x: (
        np.sum(np.pad(x, 1) ** 2) + np.sum(np.convolve(x[0], x[1]) ** 2)
    ),
    "system": lambda x: np.sum(np.linalg.solve(x[:3], x[3])) + np.linalg.det(x[1:]),
    "spectrum": lambda x: np.sum(np.linalg.eigh(x @ x.T)[1][0] * np.arange(4)),
    "factors": lambda x: np.sum(np.linalg.svd(x)[1]) + np.linalg.qr(x)[1][0, 1],
    "pooled": lambda x: np.sum(nn.max_pool(x[None, None], 2, 1) ** 2),
    "convolved": lambda x: np.sum(nn.conv(x[None, None], x[None, None, :2, :2]) ** 2),
    "loop": lambda x: lax.scan(
        lambda c, row: ((np.tanh(c[0] + row), c[1] + 1), c[0].sum()), (x[0], 0), x
    )[1].sum(),
    "exact gelu": lambda x: np.sum(nn.gelu(x, approximate=False)),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_gradients_of_indices_systems_and_windows_are_exported(name):
    for f in (EXPORTED[name], funcad.grad(EXPORTED[name])):
        got = run(funcad.export(f, ROWS, name="f"), "f")(ROWS)
        np.testing.assert_allclose(got, f(ROWS), rtol=1e-9, atol=1e-12)


def test_the_functions_of_networks_are_written_out():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 8)).astype(np.float32)
    labels = np.array([[1, 0, 3], [2, 2, 7]])

    def loss(w):
        h = nn.layer_norm(nn.gelu(x @ w))
        q = h.reshape(2, 3, 2, 4)
        h = h + nn.dot_product_attention(q, q, q, is_causal=True).reshape(h.shape)
        return np.mean(nn.softmax_cross_entropy(nn.silu(h) + nn.sigmoid(h), labels))

    w = rng.standard_normal((8, 8)).astype(np.float32)
    gradient = funcad.grad(loss)
    got = run(funcad.export(gradient, w, name="g"), "g")(w)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, gradient(w), rtol=1e-4, atol=1e-6)


def test_a_classifier_with_integer_labels_is_written_out():
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((6, 4)), rng.integers(0, 3, 6)

    def loss(w):
        logits = x @ w
        log_p = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
        return -np.mean(log_p[np.arange(6), labels])

    w = rng.standard_normal((4, 3))
    both = funcad.value_and_grad(loss)
    got, want = run(funcad.export(both, w, name="f"), "f")(w), both(w)
    np.testing.assert_allclose(got[0], want[0])
    np.testing.assert_allclose(got[1], want[1], rtol=1e-12)


def test_constants_are_kept_to_the_last_bit():
    large = np.random.default_rng(0).standard_normal((20, 10))
    odd = np.array([np.nan, np.inf, -0.0, 1e-320])
    half = np.array([1.5, 2.5], np.float16)
    bits = np.array([[True, False]])
    complex_ = np.array([1 + 2j, complex(-0.0, np.inf)])

    def f(x):
        parts = (large + x, odd * x, half * x, bits & (x > 0), complex_ * x)
        return *parts, np.float32(0.1) * x, large[:0] * x

    exported = run(funcad.export(f, 1.0))
    for got, want in zip(exported(1.0), f(1.0), strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        assert got.tobytes() == want.tobytes()


def test_trees_of_arguments_and_results_keep_their_structure():
    Batch = namedtuple("Batch", "x y")

    def f(params, batch, *, scale, nothing=None):
        a, (b, _) = params
        return {"a": [a * scale["by"], None], "b": (b + batch.x,), "n": 3, "y": batch.y}

    params, batch = [X, (2 * X, None)], Batch(X, 3 * X)
    text = funcad.export(f, params, batch, scale={"by": 2.0}, nothing=None)
    got = run(text)(params, batch, scale={"by": 2.0})
    want = f(params, batch, scale={"by": 2.0})
    assert funcad.tree.structure(got) == funcad.tree.structure(want)
    for g, w in zip(funcad.tree.leaves(got), funcad.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(g, w)


def test_numbers_stay_weak():
    x = X.astype(np.float32)
    exported = run(funcad.export(lambda x, s: x * s, x, 2.0))
    assert exported(x, 3.0).dtype == np.float32


def test_static_arguments_of_a_jitted_function_are_built_in():
    power = funcad.jit(lambda x, n: x**n, static_argnames="n")
    exported = run(funcad.export(power, X, n=3))
    np.testing.assert_allclose(exported(X), X**3)


def test_loops_and_branches_are_functions_of_the_module():

    w = np.random.default_rng(0).standard_normal((3, 3))

    def f(x, n):
        def step(h, t):
            h = np.tanh(w @ h + t)
            return h, np.sum(h)

        h, sums = lax.scan(step, x, np.stack([x, 2 * x, -x]))
        h = lax.cond(np.sum(h) > 0, lambda h: h * 2, lambda h: h - 1, h)
        return np.sum(h * sums) + lax.while_loop(
            lambda c: c < n, lambda c: c * np.sum(x**2), np.sum(x**2)
        )

    x = X + 1
    text = funcad.export(f, x, 1e3)
    assert "tanh(" in text
    for n in (1e3, 1e5):
        np.testing.assert_allclose(run(text, "f")(x, n), f(x, n))
    loss = lambda x: f(x, 0.0)  # noqa: E731
    gradient = funcad.grad(lambda x: loss_without_while(x))

    def loss_without_while(x):
        return lax.scan(lambda h, t: (np.tanh(w @ h + t), None), x, w)[0] @ x

    for forward in (False, True):
        g = (
            (lambda x: funcad.jvp(loss, (x,), (X,))[1])
            if forward
            else funcad.jit(gradient)
        )
        text = funcad.export(g, x, name="g")
        np.testing.assert_allclose(run(text, "g")(2 * x), g(2 * x), rtol=1e-12)


# ------------------------------------------------------------------------------- names


def test_variables_have_the_names_that_the_user_gave_them():
    def f(x):
        angle = x * 2
        wave = np.sin(angle)
        wave = wave + 1
        return wave * angle

    text = funcad.export(f, X)
    assert "angle = x * 2" in text
    assert "wave = np.sin(angle)" in text
    assert "wave2 = wave + 1" in text
    assert "= wave2 * angle" in text


def test_what_is_computed_beside_a_value_does_not_get_its_name():
    def f(x):
        h = np.tanh(x)
        return np.sum(h * x)

    text = funcad.export(funcad.grad(f), X)
    assert "h = np.tanh(x)" in text
    assert text.count("    h = ") == 1


def test_a_loop_of_one_line_names_each_of_its_values():
    def f(x):
        for _ in range(3):
            x = np.sin(2 * x)
        return x + 0

    text = funcad.export(f, X)
    assert "x2 = np.sin(" in text
    assert "x3 = np.sin(" in text


def test_names_that_mean_something_else_are_left_alone():
    def f(np_, a):
        lambda_ = np_ * 2
        sum = lambda_ + a
        return sum * sum

    text = funcad.export(lambda **kw: f(**kw), np_=X, a=X)
    got = run(text)(np_=X, a=X)
    np.testing.assert_array_equal(got, f(X, X))


def test_the_function_is_named_after_what_it_computes():
    def loss(x):
        return np.sum(x**2)

    assert "def value_and_grad_loss(x):" in funcad.export(
        funcad.value_and_grad(loss), X
    )
    assert "def grad_loss(x):" in funcad.export(funcad.grad(loss), X)
    assert "def step(x):" in funcad.export(funcad.grad(loss), X, name="step")
    assert "def sin(x" in funcad.export(np.sin, X)


# --------------------------------------------------------------------------- bad input


def message(call, kind):
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def test_what_numpy_has_no_function_for_is_refused_by_name():
    import scipy.special

    text = message(lambda: funcad.export(scipy.special.gammaln, X), errors.ExportError)
    assert "gammaln" in text
    assert "save" in text


def test_closing_over_a_tracer_is_refused():
    text = message(
        lambda: funcad.grad(lambda y: funcad.export(lambda x: x * y, X))(2.0),
        errors.ExportError,
    )
    assert "closes over" in text


def test_results_of_unknown_classes_are_refused():
    @funcad.tree.register_pytree_node_class
    class Pair:
        def __init__(self, x):
            self.x = x

        def tree_flatten(self):
            return (self.x,), None

        @classmethod
        def tree_unflatten(cls, aux, children):
            return cls(*children)

    assert "Pair" in message(lambda: funcad.export(Pair, X), errors.ExportError)
    text = message(lambda: funcad.export(lambda p: p.x, Pair(X)), errors.ExportError)
    assert "registered class" in text


def test_an_existing_file_is_kept_if_the_export_fails(tmp_path):
    path = tmp_path / "kept.py"
    path.write_text("kept")
    with pytest.raises(errors.ConcretizationError):
        funcad.export(lambda x: x if x else -x, 1.0, path=path)
    assert path.read_text() == "kept"


def test_the_text_survives_strange_docstrings():
    def f(x):
        return x

    f.__doc__ = 'A """quoted""" \\N{BULLET} first line\nand more'
    text = funcad.export(f, X)
    np.testing.assert_array_equal(run(text)(X), X)
    assert textwrap.dedent(text) == text


def test_a_call_of_foreign_code_is_refused_as_such():
    like = funcad.ShapeDtypeStruct((3,), float)

    def f(x):
        return funcad.pure_callback(np.sinh, like, x)

    with pytest.raises(errors.ExportError, match="pure_callback is not one of NumPy's"):
        funcad.export(f, np.ones(3))


def test_a_constant_that_a_module_returns_is_the_callers_own():
    names = {}
    exec(funcad.export(lambda x: (x, np.arange(3.0)), 1.0, name="f"), names)
    names["f"](1.0)[1][:] = 7.0
    np.testing.assert_array_equal(names["f"](1.0)[1], np.arange(3.0))


@pytest.mark.parametrize("name", ["np", "1bad name", "class", "", 3, "a.b"])
def test_the_name_of_the_function_must_be_one(name):
    with pytest.raises(errors.ArgumentError, match="export: name must be"):
        funcad.export(np.sin, np.ones(2), name=name)


def test_the_name_of_the_function_is_taken_as_it_is():
    assert "def match(x)" in funcad.export(np.sin, np.ones(2), name="match")
