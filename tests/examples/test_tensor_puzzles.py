"""Each puzzle's line against a loop written from its specification."""

import ast
import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcad
from differences import directional_derivative
from funcad.examples import tensor_puzzles as puzzles

# ------------------------------------------------------------ the specifications


def spec_ones(n):
    out = np.empty(n, int)
    for i in range(n):
        out[i] = 1
    return out


def spec_sum(x):
    total = x.dtype.type(0)
    for entry in x:
        total += entry
    return total


def spec_outer(x, y):
    out = np.empty((len(x), len(y)))
    for i in range(len(x)):
        for j in range(len(y)):
            out[i, j] = x[i] * y[j]
    return out


def spec_diag(x):
    out = np.empty(len(x))
    for i in range(len(x)):
        out[i] = x[i, i]
    return out


def spec_eye(n):
    out = np.zeros((n, n), int)
    for i in range(n):
        out[i, i] = 1
    return out


def spec_triu(x):
    out = np.zeros(x.shape)
    for i in range(x.shape[0]):
        for j in range(i, x.shape[1]):
            out[i, j] = x[i, j]
    return out


def spec_cumsum(x):
    out, total = np.empty(len(x)), 0.0
    for i, entry in enumerate(x):
        total += entry
        out[i] = total
    return out


def spec_diff(x):
    out = np.empty(max(len(x) - 1, 0))
    for i in range(1, len(x)):
        out[i - 1] = x[i] - x[i - 1]
    return out


def spec_vstack(x, y):
    out = np.empty((2, len(x)))
    for i in range(len(x)):
        out[0, i] = x[i]
        out[1, i] = y[i]
    return out


def spec_roll(x, shift):
    out = np.empty(len(x))
    for i in range(len(x)):
        out[(i + shift) % len(x)] = x[i]
    return out


def spec_flip(x):
    out = np.empty(len(x))
    for i in range(len(x)):
        out[len(x) - 1 - i] = x[i]
    return out


def spec_compress(m, x):
    out, place = np.zeros(len(x)), 0
    for i in range(len(x)):
        if m[i]:
            out[place] = x[i]
            place += 1
    return out


def spec_pad_to(x, n):
    out = np.zeros(n)
    for i in range(min(n, len(x))):
        out[i] = x[i]
    return out


def spec_sequence_mask(x, lengths):
    out = np.zeros(x.shape)
    for i in range(x.shape[0]):
        for j in range(min(lengths[i], x.shape[1])):
            out[i, j] = x[i, j]
    return out


def spec_bincount(x, n):
    out = np.zeros(n, int)
    for entry in x:
        out[entry] += 1
    return out


def spec_scatter_add(values, index, n):
    out = np.zeros(n)
    for value, i in zip(values, index, strict=True):
        out[i] += value
    return out


def spec_flatten(x):
    out = []
    for row in x:
        for entry in row:
            out.append(entry)
    return np.array(out)


def spec_linspace(start, stop, n):
    out = np.empty(n)
    for i in range(n):
        out[i] = start if i == 0 else start + i * (stop - start) / (n - 1)
    return out


def spec_heaviside(x, y):
    out = np.empty(len(x))
    for i in range(len(x)):
        if x[i] == 0:
            out[i] = y[i]
        else:
            out[i] = 1 if x[i] > 0 else 0
    return out


def spec_repeat(x, n):
    out = []
    for entry in x:
        for _ in range(n):
            out.append(entry)
    return np.array(out)


def spec_bucketize(x, edges):
    out = np.zeros(len(x), int)
    for i in range(len(x)):
        for edge in edges:
            if edge <= x[i]:
                out[i] += 1
    return out


# ------------------------------------------------------------ arguments, and the table

SIZE = st.integers(1, 7)
SMALL = st.integers(-4, 4).map(float)  # with zeros and ties


@st.composite
def vectors(draw, entries=SMALL, size=SIZE, dtype=float):
    n = draw(size)
    return np.array(draw(st.lists(entries, min_size=n, max_size=n)), dtype)


@st.composite
def matrices(draw, square=False):
    rows, columns = draw(SIZE), draw(SIZE)
    columns = rows if square else columns
    return np.reshape(draw(vectors(size=st.just(rows * columns))), (rows, columns))


@st.composite
def with_second(draw, first, entries=SMALL, dtype=float, swapped=False):
    """An array, and a vector with an entry for each of its rows."""
    x = draw(first)
    y = draw(vectors(entries, st.just(len(x)), dtype))
    return (y, x) if swapped else (x, y)


def one(arguments):
    return arguments.map(lambda x: (x,))


def like(args):
    """Arguments of the same shapes: entries in another order, other numbers."""

    def changed(x, rng):
        return rng.permuted(x.ravel()).reshape(x.shape) if np.ndim(x) else x - 1

    orders = st.integers(0, 99).map(np.random.default_rng)
    return orders.map(lambda rng: [changed(x, rng) for x in args])


INDEX = vectors(st.integers(0, 4), dtype=int)
VECTOR = vectors()

# puzzle: its arguments, which of them are static, and which have derivatives
TABLE = {
    "ones": (st.tuples(SIZE), (0,), ()),
    "sum": (one(VECTOR), (), (0,)),
    "outer": (st.tuples(VECTOR, VECTOR), (), (0, 1)),
    "diag": (one(matrices(square=True)), (), (0,)),
    "eye": (st.tuples(SIZE), (0,), ()),
    "triu": (one(matrices()), (), (0,)),
    "cumsum": (one(VECTOR), (), (0,)),
    "diff": (one(VECTOR), (), (0,)),
    "vstack": (with_second(VECTOR), (), (0, 1)),
    "roll": (st.tuples(VECTOR, st.integers(-9, 9)), (1,), (0,)),
    "flip": (one(VECTOR), (), (0,)),
    "compress": (
        with_second(VECTOR, st.booleans(), bool, swapped=True),
        (),
        (1,),
    ),
    "pad_to": (st.tuples(VECTOR, SIZE), (1,), (0,)),
    "sequence_mask": (with_second(matrices(), st.integers(0, 8), int), (), (0,)),
    "bincount": (st.tuples(INDEX, st.integers(5, 7)), (1,), ()),
    "scatter_add": (
        st.tuples(with_second(VECTOR, st.integers(0, 4), int), st.integers(5, 7)).map(
            lambda pair: (*pair[0], pair[1])
        ),
        (2,),
        (0,),
    ),
    "flatten": (one(matrices()), (), (0,)),
    "linspace": (st.tuples(SMALL, SMALL, SIZE), (2,), (0, 1)),
    "heaviside": (with_second(VECTOR), (), (1,)),
    "repeat": (st.tuples(VECTOR, st.integers(0, 4)), (1,), (0,)),
    "bucketize": (st.tuples(VECTOR, VECTOR.map(np.sort)), (), ()),
}
DIFFERENTIABLE = sorted(name for name, row in TABLE.items() if row[2])
BATCHED = sorted(name for name in TABLE if name not in ("ones", "eye"))

every_puzzle = pytest.mark.parametrize("name", sorted(TABLE))


def of(name):
    return getattr(puzzles, name), globals()[f"spec_{name}"], *TABLE[name]


# ------------------------------------------------------------ the rules of the game


def test_there_are_twenty_one_puzzles():
    assert len(TABLE) == 21
    assert sorted(TABLE) == puzzles.__all__


NODES = (
    *(ast.operator, ast.cmpop, ast.unaryop, ast.expr_context),
    *(ast.Return, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Subscript, ast.Slice),
    *(ast.Tuple, ast.Constant, ast.Name, ast.Attribute, ast.Call, ast.NamedExpr),
)


def breaches(source):
    """What in a solution is against the rules."""
    definition = ast.parse(source).body[0]
    _, *statements = definition.body  # the first is the docstring
    found = []
    if len(statements) != 1 or statements[0].lineno != statements[0].end_lineno:
        found.append("not one line")
    if any(len(line) >= 80 for line in source.splitlines()[-1:]):
        found.append("80 columns or more")
    given = {a.arg for a in definition.args.args}
    for node in ast.walk(statements[-1]):
        if not isinstance(node, NODES):
            found.append(type(node).__name__)
        if isinstance(node, ast.NamedExpr):
            given.add(node.target.id)
        if isinstance(node, ast.Attribute) and node.attr not in ("shape", "size"):
            found.append(f".{node.attr}")
        if isinstance(node, ast.Call) and not (
            isinstance(node.func, ast.Name) and node.func.id in ("arange", "where")
        ):
            found.append("a call")
    for node in ast.walk(statements[-1]):
        if isinstance(node, ast.Name) and node.id not in {*given, "arange", "where"}:
            found.append(node.id)
    return found


@every_puzzle
def test_a_solution_keeps_to_the_rules(name):
    assert breaches(inspect.getsource(getattr(puzzles, name))) == []
    assert puzzles.arange is np.arange and puzzles.where is np.where


@pytest.mark.parametrize(
    "line, breach",
    [
        ("return cumsum(x)", "a call"),
        ("return x.sum()", "a call"),
        ("return x.T", ".T"),
        ("return x if x.size else 0", "IfExp"),
        ("return [y for y in x]", "ListComp"),
        ("return pi * x", "pi"),
        ("return x" + 36 * " + x", "80 columns or more"),
        ("x = x + 1; return x", "not one line"),
        ("return (\n        x)", "not one line"),
    ],
)
def test_the_rules_refuse_what_is_against_them(line, breach):
    assert breach in breaches(f'def f(x):\n    """Some puzzle."""\n    {line}\n')


# ------------------------------------------------------------ what they compute


@every_puzzle
def test_a_solution_agrees_with_its_specification(name):
    solution, spec, arguments, _, _ = of(name)

    @given(arguments)
    def check(args):
        got, want = np.asarray(solution(*args)), np.asarray(spec(*args))
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-12)

    check()


@pytest.mark.parametrize("name", ["sum", "cumsum", "compress", "pad_to", "scatter_add"])
def test_products_with_comparisons_keep_single_precision(name):
    solution, _, arguments, _, differentiable = of(name)

    @given(arguments)
    def check(args):
        args = list(args)
        for k in differentiable:
            args[k] = args[k].astype(np.float32)
        assert solution(*args).dtype == np.float32

    check()


@pytest.mark.parametrize("name", BATCHED)
def test_a_solution_runs_under_vmap(name):
    solution, spec, arguments, static, _ = of(name)

    @given(arguments, st.data())
    def check(args, data):
        mapped = len(args) - len(static)  # static arguments are the last
        examples = [args[:mapped], data.draw(like(args[:mapped]))]
        batch = [np.stack(pair) for pair in zip(*examples, strict=True)]
        got = funcad.vmap(lambda *arrays: solution(*arrays, *args[mapped:]))(*batch)
        wants = [spec(*example, *args[mapped:]) for example in examples]
        np.testing.assert_allclose(got, np.stack(wants), rtol=1e-12)

    check()


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_a_solution_has_the_gradient_of_its_specification(name):
    solution, spec, arguments, _, differentiable = of(name)

    @given(arguments, st.integers(0, 99))
    def check(args, seed):
        rng = np.random.default_rng(seed)
        weights = rng.normal(size=np.shape(spec(*args)))

        def along(f):
            def scalar(*primals):
                full = list(args)
                for k, x in zip(differentiable, primals, strict=True):
                    full[k] = x
                return np.sum(weights * f(*full))

            return scalar

        primals = [args[k] for k in differentiable]
        tangents = [rng.normal(size=np.shape(x)) for x in primals]
        grads = funcad.grad(along(solution), tuple(range(len(primals))))(*primals)
        got = sum(np.sum(g * t) for g, t in zip(grads, tangents, strict=True))
        (want,) = directional_derivative(along(spec), primals, tangents)
        np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-8)

    check()


@pytest.mark.parametrize("name", BATCHED)
def test_a_solution_can_be_compiled(name):
    solution, spec, arguments, static, _ = of(name)
    compiled = funcad.jit(solution, static_argnums=static)
    # one example: each has new shapes
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, 4)
    examples = {
        "diag": (np.eye(3) * 2,),
        "triu": (np.ones((3, 2)),),
        "flatten": (np.arange(6.0).reshape(2, 3),),
        "sequence_mask": (np.ones((2, 3)), np.array([1, 3])),
        "linspace": (1.0, 3.0, 5),
        "compress": (x == 1, x * 1.5),
        "bincount": (x, 3),
        "scatter_add": (x * 1.5, x, 3),
    }
    kinds = {1: (x * 1.5,), 2: (x * 1.5, 2 if static else x - 1.0)}
    arity = len(inspect.signature(solution).parameters)
    args = examples.get(name, kinds.get(arity))
    np.testing.assert_allclose(compiled(*args), spec(*args), rtol=1e-12)
