"""Shapes that do not fit, and the derivatives of joining, splitting and padding."""

import numpy as np
import pytest

import funcad
import funcad.numpy as fnp
from differences import assert_same

X = np.arange(6.0).reshape(2, 3)

MALFORMED = [
    (ValueError, lambda x: x.reshape(4, 2)),
    (ValueError, lambda x: x.reshape(-1, 4)),
    (ValueError, lambda x: x.reshape(-1, -1)),
    (TypeError, lambda x: x.reshape(2.0, 3)),
    (TypeError, lambda x: np.reshape(x, "a")),
    (ValueError, lambda x: x.transpose(0)),
    (ValueError, lambda x: x.transpose(0, 0)),
    (np.exceptions.AxisError, lambda x: x.transpose(0, 2)),
    (np.exceptions.AxisError, lambda x: np.swapaxes(x, 0, 2)),
    (np.exceptions.AxisError, lambda x: np.moveaxis(x, 3, 0)),
    (ValueError, lambda x: np.moveaxis(x, (0, 1), 0)),
    (ValueError, lambda x: np.squeeze(x, 0)),
    (np.exceptions.AxisError, lambda x: np.squeeze(x, 2)),
    (np.exceptions.AxisError, lambda x: np.expand_dims(x, 4)),
    (ValueError, lambda x: np.expand_dims(x, (0, 0))),
    (ValueError, lambda x: np.broadcast_to(x, (3, 2))),
    (ValueError, lambda x: np.broadcast_to(x, (3,))),
    (ValueError, lambda x: np.broadcast_arrays(x, np.ones(2))),
    (ValueError, lambda x: np.concatenate([x, np.ones((2, 2))])),
    (ValueError, lambda x: np.concatenate([x, np.ones(3)])),
    (np.exceptions.AxisError, lambda x: np.concatenate([x, x], axis=2)),
    (ValueError, lambda x: np.concatenate([x[0, 0], x[0, 0]])),
    (ValueError, lambda x: np.stack([x, x[0]])),
    (np.exceptions.AxisError, lambda x: np.stack([x, x], axis=3)),
    (ValueError, lambda x: np.split(x, 2, axis=1)),
    (IndexError, lambda x: np.split(x, 2, axis=2)),
    (ValueError, lambda x: np.array_split(x, 0)),
    (ValueError, lambda x: np.hsplit(x[0, 0], 1)),
    (ValueError, lambda x: np.vsplit(x[0], 1)),
    (ValueError, lambda x: np.dsplit(x, 1)),
    (np.exceptions.AxisError, lambda x: np.flip(x, 2)),
    (ValueError, lambda x: np.fliplr(x[0])),
    (np.exceptions.AxisError, lambda x: np.roll(x, 1, axis=2)),
    (ValueError, lambda x: np.pad(x, -1)),
    (ValueError, lambda x: np.pad(x, ((1, 1), (1, 1), (1, 1)))),
    (ValueError, lambda x: np.pad(x, 1, mode="nonsense")),
    (ValueError, lambda x: np.repeat(x, [1, 2], axis=1)),
    (IndexError, lambda x: np.take(x, [9])),
    (IndexError, lambda x: np.take(x, [-4], axis=1)),
    (np.exceptions.AxisError, lambda x: np.take(x, [0], axis=2)),
    (ValueError, lambda x: np.diag(x[None])),
    (ValueError, lambda x: np.diagonal(x[0])),
    (ValueError, lambda x: np.diagonal(x, axis1=0, axis2=0)),
    (ValueError, lambda x: np.trace(x[0])),
    (ValueError, lambda x: np.matrix_transpose(x[0])),
    (ValueError, lambda x: np.take_along_axis(x, np.array([0]), axis=1)),
    (ValueError, lambda x: np.unstack(x[0, 0])),
    (ValueError, lambda x: np.clip(x, np.ones(2), 1.0)),
    (ValueError, lambda x: np.diff(x, n=-1)),
    (ValueError, lambda x: np.diff(x[0, 0])),
]


@pytest.mark.parametrize("number", range(len(MALFORMED)))
@pytest.mark.parametrize("transform", ["jvp", "vmap", "staged"])
def test_malformed_calls_raise_the_error_that_numpy_raises(number, transform):
    error, f = MALFORMED[number]
    with pytest.raises(error):
        f(X)
    with pytest.raises(error):
        {
            "jvp": lambda: funcad.jvp(f, (X,), (X,)),
            "vmap": lambda: funcad.vmap(f)(X[None]),
            "staged": lambda: funcad.make_program(f)(X),
        }[transform]()


WRONG = [
    *(lambda x: x.reshape(7), lambda x: x.reshape(2, 3, order="Q")),
    *(lambda x: x.reshape(6, order=3), lambda x: np.reshape(x, 6, order="K")),
    *(lambda x: np.reshape(x, (2, "a")), lambda x: np.reshape(x, (-2, 4))),
    *(lambda x: np.ravel(x, order="Q"), lambda x: np.transpose(x, (0,))),
    *(lambda x: np.rollaxis(x, 2), lambda x: np.rollaxis(x, 0, 3)),
    *(lambda x: np.rollaxis(x, 0, -3), lambda x: np.rot90(x[0])),
    *(lambda x: np.rot90(x, axes=(0, 0)), lambda x: np.rot90(x, axes=(0, 2))),
    *(lambda x: np.rot90(x, axes=(0,)), lambda x: np.rot90(x, axes=(0, -2))),
    *(lambda x: np.roll(x, (1, 2), axis=(0, 1, 1)), lambda x: np.roll(x, 1, 2)),
    *(lambda x: np.roll(x, [[1]], [[0]]), lambda x: np.tile(x, -1)),
    *(lambda x: np.repeat(x, -1), lambda x: np.repeat(x, [1, 2])),
    *(lambda x: np.repeat(x, [1.5, 2.5]), lambda x: np.repeat(x, 2, axis=2)),
    *(lambda x: np.resize(x, (-1, 2)), lambda x: np.tril(x[0, 0])),
    *(lambda x: np.broadcast_to(x, -1), lambda x: np.squeeze(x, (0, 0))),
    *(lambda x: np.diag(x[0, 0]), lambda x: np.trace(x, axis1=0, axis2=2)),
    *(lambda x: np.linalg.trace(x[0]), lambda x: np.linalg.diagonal(x[0])),
    *(lambda x: np.lib.stride_tricks.sliding_window_view(x, 3),),
    *(lambda x: np.lib.stride_tricks.sliding_window_view(x, (3, 1)),),
    *(lambda x: np.lib.stride_tricks.sliding_window_view(x, (-1, 1)),),
    *(lambda x: np.lib.stride_tricks.sliding_window_view(x, 1, 2),),
    # joining
    *(lambda x: np.concatenate([x, x], dtype=int), lambda x: np.stack([x], 4)),
    *(lambda x: np.concatenate([x, [1]], casting="no"), lambda x: np.stack(x, 3)),
    *(lambda x: np.hstack([x, x[0]]), lambda x: np.vstack([x, x[:, 0]])),
    *(lambda x: np.dstack([x, x.T]), lambda x: np.column_stack([x, x[0]])),
    *(lambda x: np.append(x, x[0], axis=0), lambda x: np.append(x, x, axis=2)),
    *(lambda x: np.block([x, (x,)]), lambda x: np.block([[x], x])),
    *(lambda x: np.block([[x], []]), lambda x: np.block([[x, x], [x]])),
    *(lambda x: np.split(x[0, 0], 1), lambda x: np.split(x, [1, "a"])),
    *(lambda x: np.array_split(x, -1), lambda x: np.hsplit(x, 2)),
    *(lambda x: np.unstack(x, axis=2), lambda x: np.vsplit(x, 4)),
    *(lambda x: np.delete(x, 6), lambda x: np.delete(x, 2, axis=0)),
    *(lambda x: np.delete(x, [0, 5], axis=1), lambda x: np.delete(x, 0, axis=2)),
    *(lambda x: np.delete(x, 1.5), lambda x: np.delete(x, [True], axis=1)),
    *(lambda x: np.insert(x, 7, 0), lambda x: np.insert(x, 3, 0, axis=0)),
    *(lambda x: np.insert(x, 0, 0, axis=2), lambda x: np.insert(x, 1.5, 0)),
    *(lambda x: np.insert(x, [[0]], 0), lambda x: np.insert(x, 0, x.T, axis=0)),
    *(lambda x: np.apply_along_axis(np.sum, 2, x),),
    *(lambda x: np.apply_along_axis(np.sum, 1, x[:0]),),
    *(lambda x: np.apply_over_axes(lambda v, a: v[0, 0], x, 0),),
    *(lambda x: np.apply_over_axes(np.sum, x, 2),),
    # padding
    *(lambda x: np.pad(x, 1.5), lambda x: np.pad(x, (1, 2, 3))),
    *(lambda x: np.pad(x, 1, "edge", constant_values=1),),
    *(lambda x: np.pad(x, 1, stat_length=1), lambda x: np.pad(x, "a")),
    *(lambda x: np.pad(x, 1, "maximum", stat_length=0),),
    *(lambda x: np.pad(x, 1, "mean", stat_length=-1),),
    *(lambda x: np.pad(x, 1, "mean", end_values=1),),
    *(lambda x: np.pad(x[:0], 1, mode="edge"), lambda x: np.pad(x[:0], 1, "wrap")),
    *(lambda x: np.pad(x[:0], 1, "reflect", reflect_type="odd"),),
    *(lambda x: np.pad(x, 1, constant_values=(1, 2, 3)),),
    # creation
    *(lambda x: np.linspace(x, x, -1), lambda x: np.linspace(x, 1, 2.5)),
    *(lambda x: np.linspace(x, np.ones(2)), lambda x: np.linspace(x, 1, axis=3)),
    *(lambda x: np.linspace(x, 1, device="gpu"), lambda x: np.logspace(x, 1, -1)),
    *(lambda x: np.logspace(x, 1, base=np.ones(2)),),
    *(lambda x: np.geomspace(x + 1, 0), lambda x: np.geomspace(x + 1, 2, -1)),
    *(lambda x: np.zeros_like(x, device="gpu"), lambda x: np.ones_like(x, "nope")),
    *(lambda x: np.zeros_like(x, shape=(-1,)), lambda x: np.full_like(x, [1, 2])),
    *(lambda x: np.meshgrid(x, indexing="yx"), lambda x: np.ix_(x)),
    *(lambda x: np.vander(x), lambda x: np.triu_indices_from(x[0])),
    *(lambda x: np.diag_indices_from(x), lambda x: np.diag_indices_from(x[0])),
    *(lambda x: np.unravel_index(x, 3), lambda x: np.ravel_multi_index((x, x), 9)),
    *(lambda x: x.astype(int, casting="safe"), lambda x: x.astype("nope")),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
@pytest.mark.parametrize("transform", ["jvp", "staged"])
def test_wrong_calls_raise_an_error_of_the_type_of_numpys(number, transform):
    f = WRONG[number]
    with pytest.raises(Exception) as numpys:
        f(X)
    with pytest.raises(numpys.type):
        {
            "jvp": lambda: funcad.jvp(f, (X,), (X,)),
            "staged": lambda: funcad.make_program(f)(X),
        }[transform]()


def test_what_is_padded_from_entries_gives_them_its_derivative():
    x = np.arange(3.0)
    for mode, wanted in [
        ("constant", [1.0, 1.0, 1.0]),
        ("edge", [3.0, 1.0, 3.0]),
        ("reflect", [2.0, 3.0, 2.0]),
        ("symmetric", [2.0, 3.0, 2.0]),
        ("wrap", [2.0, 3.0, 2.0]),
    ]:
        gradient = funcad.grad(lambda v, m=mode: np.sum(np.pad(v, 2, mode=m)))(x)
        counted = np.bincount(np.pad(np.arange(3), 2, mode=mode), minlength=3)
        if mode != "constant":
            wanted = counted.astype(float)
        assert_same(gradient, np.array(wanted))


def test_repeated_entries_add_up_their_derivatives():
    x = np.arange(3.0)
    assert_same(
        funcad.grad(lambda v: np.sum(np.repeat(v, [2, 0, 3])))(x),
        np.array([2.0, 0.0, 3.0]),
    )
    assert_same(funcad.grad(lambda v: np.sum(np.tile(v, 4)))(x), np.full(3, 4.0))


def test_joining_with_plain_arrays_and_numbers_differentiates_the_traced_part():
    plain = np.ones(2)

    def f(x):
        return np.sum(np.concatenate([plain, x, [3.0], [x[0], 4.0]]) ** 2)

    assert_same(funcad.grad(f)(np.array([1.0, 2.0])), np.array([4.0, 4.0]))


def rows(t):
    return [[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]]


def test_nested_lists_of_traced_scalars_become_a_matrix():
    value, tangent = funcad.jvp(lambda t: fnp.array(rows(t)), (0.3,), (1.0,))
    assert_same(value, np.array(rows(0.3)))
    assert_same(
        tangent, np.array([[-np.sin(0.3), -np.cos(0.3)], [np.cos(0.3), -np.sin(0.3)]])
    )


def test_nested_lists_given_to_numpy_say_what_to_write():
    for f in (lambda t: np.stack(rows(t)), lambda t: np.array(rows(t))):
        with pytest.raises(TypeError, match=r"for nested lists too, fnp\.array"):
            funcad.jvp(f, (0.3,), (1.0,))


def test_constants_like_a_tracer_are_plain_arrays():
    seen = []

    def f(x):
        seen.extend([np.zeros_like(x), np.ones_like(x), np.full_like(x, 2)])
        return np.sum(x)

    funcad.grad(f)(X)
    assert all(type(x) is np.ndarray for x in seen)


def test_orders_that_depend_on_the_memory_of_an_array_are_refused():
    for f in (
        lambda x: np.reshape(x, 6, order="A"),
        lambda x: x.ravel("K"),
        lambda x: x.flatten(order="A"),
    ):
        with pytest.raises(TypeError, match="memory order"):
            funcad.jvp(f, (X,), (X,))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sum(x, out=np.empty(())),
        lambda x: np.add(x, 1.0, out=np.empty((2, 3))),
        lambda x: np.concatenate([x, x], out=np.empty((4, 3))),
        lambda x: np.clip(x, 0, 1, out=np.empty((2, 3))),
        lambda x: np.matmul(x, x.T, out=np.empty((2, 2))),
        lambda x: np.add.reduce(x, out=np.empty(3)),
        lambda x: np.maximum.accumulate(x, out=np.empty((2, 3))),
        lambda x: x.mean(out=np.empty(())),
        lambda x: np.einsum("ij->i", x, out=np.empty(2)),
    ],
)
def test_out_is_refused_and_says_to_use_the_value(f):
    with pytest.raises(TypeError, match="does not take out=.*Use the value"):
        funcad.jvp(f, (X,), (X,))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sin(x, where=x > 0),
        lambda x: np.divide(1.0, x, where=x != 0),
    ],
)
def test_where_of_a_ufunc_is_refused_and_says_to_use_np_where(f):
    with pytest.raises(TypeError, match=r"does not take where=.*np\.where\(condition"):
        funcad.jvp(f, (X,), (X,))


@pytest.mark.parametrize(
    "f, argument",
    [
        (lambda x: np.add(x, 1.0, dtype=np.float32), "dtype"),
        (lambda x: np.sin(x, casting="unsafe"), "casting"),
        (lambda x: np.einsum("ij->i", x, dtype=np.float32), "dtype"),
        (lambda x: np.pad(x, 1, mode=lambda *_: None), "mode"),
    ],
)
def test_other_arguments_that_cannot_be_honoured_are_refused_by_name(f, argument):
    with pytest.raises(TypeError, match=f"does not take {argument}="):
        funcad.jvp(f, (X,), (X,))
