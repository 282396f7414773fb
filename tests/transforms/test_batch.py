"""``vmap``: axes, sizes, prefixes, and what it refuses."""

import re
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import funcad
from differences import assert_close, assert_same
from funcad import tree
from funcad.core.errors import BatchSizeError, ConcretizationError, TreeStructureError

Pair = namedtuple("Pair", "first second")
X = np.arange(12.0).reshape(3, 4)
T = np.arange(24.0).reshape(2, 3, 4)


@st.composite
def arrays_and_axes(draw):
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3))
    x = np.arange(float(np.prod(shape))).reshape(shape)
    in_axis = draw(st.integers(-len(shape), len(shape) - 1))
    return x, in_axis, draw(st.integers(-len(shape), len(shape) - 1))


@given(arrays_and_axes())
def test_any_axis_goes_in_and_comes_out_anywhere(drawn):
    x, in_axis, out_axis = drawn
    f = funcad.vmap(lambda v: np.sin(v) + np.sum(v), in_axes=in_axis, out_axes=out_axis)
    rows = [np.sin(v) + np.sum(v) for v in np.moveaxis(x, in_axis, 0)]
    assert_same(f(x), np.stack(rows, axis=out_axis))


def test_arguments_may_have_axes_of_their_own():
    def f(x, y, z):
        return x @ y + z

    x, y = T, np.arange(12.0).reshape(4, 3)
    out = funcad.vmap(f, in_axes=(1, -1, None))(x, y, 2.0)
    assert_same(out, np.stack([T[:, i] @ y[:, i] + 2.0 for i in range(3)]))
    out = funcad.vmap(f, in_axes=[1, -1, None])(x, y, 2.0)
    assert_same(out, np.stack([T[:, i] @ y[:, i] + 2.0 for i in range(3)]))


def test_in_axes_may_be_prefixes_of_the_arguments():
    def f(p, pair):
        return p["w"] * pair.first + p["b"][0] * pair.second[1] + p["b"][1]

    p = {"w": X, "b": [np.arange(3.0), 10.0]}
    pair = Pair(X.T, (None, 2.0))
    out = funcad.vmap(f, in_axes=({"w": 0, "b": [0, None]}, Pair(1, None)))(p, pair)
    wanted = [X[i] * X[i] + i * 2.0 + 10.0 for i in range(3)]
    assert_same(out, np.stack(wanted))
    whole = funcad.vmap(lambda p: p["a"] + p["b"], in_axes=({"a": 0, "b": None},))
    assert_same(whole({"a": X, "b": 1.0}), X + 1)


def test_out_axes_may_be_prefixes_of_the_result():
    def f(x):
        return {"a": x, "b": (x * 2, np.sum(x))}, 5.0

    out, five = funcad.vmap(f, out_axes=({"a": -1, "b": (1, 0)}, None))(X)
    assert_same(out, {"a": X.T, "b": (2 * X.T, X.sum(1))})
    assert five == 5.0
    assert_same(funcad.vmap(f)(X)[1], np.full(3, 5.0))


def test_keyword_arguments_are_mapped_over_their_first_axis():
    out = funcad.vmap(lambda x, y: x * y["k"])(X, y={"k": np.arange(3.0)})
    assert_same(out, X * np.arange(3.0)[:, None])
    out = funcad.vmap(lambda x, y: x * y, in_axes=1)(X, y=np.arange(4.0))
    assert_same(out, (X * np.arange(4.0)).T)


def test_results_that_do_not_depend_on_the_example_are_repeated():
    out = funcad.vmap(lambda x: (1.0, np.ones(2), x.shape, None))(X)
    assert_same(out[0], np.ones(3))
    assert_same(out[1], np.ones((3, 2)))
    assert_same(out[2], (np.full(3, 4),))
    assert out[3] is None
    out = funcad.vmap(lambda x: np.arange(2.0), out_axes=1)(X)
    assert_same(out, np.repeat(np.arange(2.0)[:, None], 3, axis=1))


def test_axis_size_maps_a_function_of_nothing():
    assert_same(
        funcad.vmap(lambda: np.arange(2), axis_size=3)(), np.tile([0, 1], (3, 1))
    )
    out = funcad.vmap(lambda x: x, in_axes=None, axis_size=2)(X)
    assert_same(out, np.stack([X, X]))
    assert_same(funcad.vmap(lambda x: 2 * x, axis_size=3)(X), 2 * X)


def test_no_examples_give_no_results():
    out = funcad.vmap(lambda x: (np.sum(x), x * 2))(np.empty((0, 4)))
    assert_same(out, (np.empty(0), np.empty((0, 4))))


def test_what_is_not_mapped_may_be_anything():
    class Config:
        scale = 3.0

    out = funcad.vmap(lambda c, x, s: c.scale * x, in_axes=(None, 0, None))(
        Config(), X, "s"
    )
    assert_same(out, 3 * X)


def test_vmap_of_vmap_maps_two_axes():
    def outer(x, y):
        return x * y

    table = funcad.vmap(funcad.vmap(outer, (None, 0)), (0, None))
    assert_same(
        table(np.arange(3.0), np.arange(4.0)), np.outer(np.arange(3.0), np.arange(4.0))
    )
    inner = funcad.vmap(funcad.vmap(np.sum, 1, 0), 2, -1)
    assert_same(inner(T), T.sum(0))


def test_closures_over_arrays_and_over_tracers_of_an_outer_vmap():
    def f(x):
        return funcad.vmap(lambda y: np.sum(x * y) + X[0, 1])(T[0])

    assert_same(funcad.vmap(f)(X), X @ T[0].T + 1.0)


def test_per_example_gradients_are_those_of_a_loop():
    def loss(w, x, y):
        return np.sum((np.tanh(x @ w) - y) ** 2)

    w, y = np.linspace(-1, 1, 8).reshape(4, 2), np.ones((3, 2))
    out = funcad.vmap(funcad.grad(loss), in_axes=(None, 0, 0))(w, X / 9, y)
    wanted = np.stack([funcad.grad(loss)(w, X[i] / 9, y[i]) for i in range(3)])
    assert_close(out, wanted)
    mean = funcad.grad(lambda w: np.mean(funcad.vmap(loss, (None, 0, 0))(w, X / 9, y)))
    assert_close(mean(w), wanted.mean(0))


def test_dtypes_and_integers_are_kept():
    for dtype in (np.float32, np.int8, bool, np.complex64):
        assert funcad.vmap(lambda x: x[::-1])(X.astype(dtype)).dtype == dtype
    assert funcad.vmap(lambda x: x * 2.0)(X.astype(np.float32)).dtype == np.float32


# ------------------------------------------------------------------------------ errors


def test_sizes_that_differ_are_listed_with_their_paths():
    with pytest.raises(BatchSizeError) as caught:
        funcad.vmap(lambda p, y, k: y, in_axes=(0, 1, 0))(
            {"a": np.ones((3, 2)), "b": [np.ones(4)]}, np.ones((2, 5)), np.ones(3)
        )
    text = str(caught.value)
    for row in (
        "args[0]['a']: 3 (axis 0 of shape (3, 2))",
        "args[0]['b'][0]: 4 (axis 0 of shape (4,))",
        "args[1]: 5 (axis 1 of shape (2, 5))",
        "args[2]: 3",
    ):
        assert row in text
    assert "test_batch.py" in text
    with pytest.raises(BatchSizeError, match=r"kwargs\['k'\]: 2"):
        funcad.vmap(lambda x, k: x)(X, k=np.ones(2))
    with pytest.raises(BatchSizeError, match="axis_size: 7"):
        funcad.vmap(lambda x: x, axis_size=7)(X)


def test_axes_that_do_not_exist_are_refused():
    with pytest.raises(
        BatchSizeError, match=r"axis 2 of args\[0\], an array of shape \(3, 4\)"
    ):
        funcad.vmap(lambda x: x, in_axes=2)(X)
    with pytest.raises(BatchSizeError, match="axis -3"):
        funcad.vmap(lambda x: x, in_axes=-3)(X)
    with pytest.raises(BatchSizeError, match=r"shape \(\).*Write None"):
        funcad.vmap(lambda x: x)(1.0)
    with pytest.raises(BatchSizeError, match="axis 3 of an output that has 2 axes"):
        funcad.vmap(lambda x: x, out_axes=3)(X)


def test_nothing_to_map_over_is_refused():
    with pytest.raises(BatchSizeError, match="axis_size="):
        funcad.vmap(lambda x: x, in_axes=None)(X)


def test_in_axes_must_fit_the_arguments():
    with pytest.raises(TreeStructureError, match="in_axes of vmap"):
        funcad.vmap(lambda x, y: x, in_axes=(0, 0, 0))(X, X)
    with pytest.raises(TreeStructureError, match="in_axes of vmap"):
        funcad.vmap(lambda p: p["a"], in_axes=({"b": 0},))({"a": X})
    with pytest.raises(TypeError, match="integers and None"):
        funcad.vmap(lambda x: x, in_axes=0.5)(X)
    with pytest.raises(TypeError, match="integers and None"):
        funcad.vmap(lambda x: x, in_axes=True)(X)


def test_out_axes_must_fit_the_result():
    with pytest.raises(TreeStructureError, match="out_axes of vmap"):
        funcad.vmap(lambda x: (x, x), out_axes=(0, 0, 0))(X)
    with pytest.raises(BatchSizeError, match="differs from example to example"):
        funcad.vmap(lambda x: x, out_axes=None)(X)
    with pytest.raises(TypeError, match="integers and None"):
        funcad.vmap(lambda x: x, out_axes="a")(X)


@pytest.mark.parametrize(
    "f, purpose",
    [
        (lambda x: x if x > 0 else -x, "the truth value"),
        (lambda x: float(x), r"float\(\)"),
        (lambda x: int(x), r"int\(\)"),
        (lambda x: [1, 2][x.astype(int)], "the use as an index"),
        (lambda x: range(x.astype(int)), "the use as an index"),
        (lambda x: np.asarray(x), "np.asarray"),
        (lambda x: x.item(), r"item\(\)"),
        (lambda x: x.tolist(), r"tolist\(\)"),
        (lambda x: f"{x:.2f}", "formatting"),
        (lambda x: x and 1, "the truth value"),
        (lambda x: np.array([x, x]), "np.asarray"),
    ],
)
def test_what_needs_one_value_names_the_line_and_the_replacement(f, purpose):
    with pytest.raises(ConcretizationError, match=purpose) as caught:
        funcad.vmap(f)(X[:, 0])
    text = str(caught.value)
    assert re.search(r"inside vmap, (float64|int64|bool)\[\]", text)
    assert "np.where(condition, a, b)" in text
    line = f.__code__.co_firstlineno
    assert f"{__file__}:{line}: (lambda x:" in text


def test_values_under_grad_of_vmap_are_not_known_either():
    def f(x):
        return np.sum(funcad.vmap(lambda v: v if v > 0 else -v)(x))

    with pytest.raises(ConcretizationError, match="inside vmap"):
        funcad.grad(f)(X[0])
    with pytest.raises(ConcretizationError, match="inside vmap"):
        funcad.vmap(funcad.grad(lambda v: v if v > 0 else -v))(X[0])


def test_values_that_are_the_same_for_all_examples_are_known():
    def f(x, flag):
        return x if flag > 0 else -x

    assert_same(funcad.vmap(f, in_axes=(0, None))(X, -1.0), -X)
    assert tree.leaves(funcad.vmap(lambda x: x if X[0, 0] == 0 else 2 * x)(X))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: funcad.vmap(np.add)(X, 2.0), r"args\[1\], .*in_axes=\(0, None\)"),
        (
            lambda: funcad.vmap(lambda p: p)({"a": {"b": 1.0}}),
            r"args\[0\]\['a'\]\['b'\]",
        ),
        (
            lambda: funcad.vmap(np.sin)([1.0, 2.0]),
            r"args\[0\]\[0\].*np\.array\(\.\.\.\)",
        ),
        (lambda: funcad.vmap(lambda x, y: x)(X, y=1.0), r"kwargs\['y'\].*by position"),
        (lambda: funcad.vmap(np.sin)(None), "its arguments hold no arrays"),
        (lambda: funcad.vmap(lambda: 1.0)(), "its arguments hold no arrays"),
        (lambda: funcad.vmap(np.sin, in_axes=None)(X), "every entry of in_axes"),
    ],
)
def test_what_cannot_be_mapped_is_named_with_what_to_write(call, said):
    with pytest.raises(BatchSizeError, match=said):
        call()


@pytest.mark.parametrize("size", [3.0, True, -3, 2.5, "3"])
def test_the_number_of_examples_must_be_one(size):
    with pytest.raises(BatchSizeError, match=f"axis_size of vmap .* is {size!r} of"):
        funcad.vmap(lambda: 1.0, axis_size=size)


def test_the_number_of_examples_may_be_of_numpy():
    assert_same(funcad.vmap(lambda: 1.0, axis_size=np.int64(2))(), np.ones(2))


AS_NUMBER = [
    *(lambda n: np.zeros(n), lambda n: np.full(n, 1.0), lambda n: np.eye(n)),
    *(lambda n: np.arange(n), lambda n: np.ones(4).reshape(n), lambda n: range(n)),
    *(lambda n: [1, 2, 3][n], lambda n: np.ones((n, 2)), lambda n: [1, 2] * n),
    *(lambda n: n * (1, 2), lambda n: np.empty(n), lambda n: [0] * (n > 1)),
]


@pytest.mark.parametrize("f", AS_NUMBER)
def test_a_number_without_a_value_is_no_length_no_index_and_no_repetition(f):
    for call in (
        lambda: funcad.jit(f)(3),
        lambda: funcad.vmap(f)(np.array([1, 2])),
        lambda: funcad.vmap(funcad.checkpoint(f))(np.array([1, 2])),
    ):
        with pytest.raises(ConcretizationError, match=r"import funcad\.numpy"):
            call()


def test_a_number_that_was_refused_can_still_be_shown():
    def f(n):
        for _ in range(2):
            with pytest.raises(ConcretizationError):
                np.zeros(n)
            with pytest.raises(ConcretizationError):
                range(n)
            assert repr(n) == "Staged(int64[])"
        return n

    assert funcad.jit(f)(3) == 3


def test_lists_times_whole_numbers_are_repeated_and_times_others_multiplied():
    repeated = funcad.checkpoint(lambda n: (([1, 2] * n), n * (3,)))(np.int64(2))
    assert repeated == ([1, 2, 1, 2], (3, 3))
    assert_same(funcad.jit(lambda x: [1.0, 2.0] * x)(3.0), np.array([3.0, 6.0]))
    assert_same(funcad.jit(lambda n: [1, 2] * n)(np.array([3, 4])), np.array([3, 8]))
