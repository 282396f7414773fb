"""Every NumPy index on tracers, and updates of entries, against NumPy itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import backend_double
import funcad
import funcad.numpy as fnp
from differences import (
    assert_close,
    assert_same,
    directional_derivative,
    normal_like,
    pairing,
)
from funcad.core.errors import ConcretizationError

SHAPE = (3, 4, 5)
X = np.random.default_rng(0).permutation(60).reshape(SHAPE) / 7.0 - 4.0
PAIR = np.array([[0, 2], [-1, 1]])
MASK = X > 0

BASIC = [
    *(0, -1, (0, 1), (1, -2, 3), (), ..., None, (..., 0), (0, ..., -1)),
    *(slice(None), slice(1, 3), slice(None, None, -1), slice(None, None, 2)),
    *(slice(5, 1, -2), slice(2, 2), slice(-2, None), (slice(1), slice(None, -1))),
    *((None, 0, ..., None), (slice(None), None, 2), (..., slice(None, None, -2), 1)),
    *(np.int64(2), (np.int8(-1), slice(None)), (0, 0, 0)),
]
ADVANCED = [
    *([0, 2], [[0, 1], [2, -3]], [], np.array([2, 0, 0]), PAIR, np.array(1)),
    *((np.array([0, 1]), np.array([2, -1])), ([0], [1], [2]), (PAIR, PAIR + 1)),
    *(
        (slice(None), np.array([3, 3, 0])),
        (slice(None), PAIR),
        (..., np.array([0, -1])),
    ),
    *((0, np.array([1, 2])), (np.array([1, 2]), 0), (np.array([0, 1]), slice(None), 2)),
    # index arrays apart from one another go to the front, adjacent ones stay in place
    *((np.array([0, 2]), slice(None), np.array([1, 4])), (0, slice(None), PAIR)),
    *((slice(None), np.array([1, 2]), np.array([0, 3])), (slice(None), 1, PAIR)),
    *((PAIR, None, np.array([0, 1])), (None, PAIR, slice(None), np.array([1, 1]))),
    *((slice(None, None, -1), np.array([0, 1])), (slice(1, 3), ..., np.array([4]))),
    *((np.array([[0], [2]]), np.array([1, 3])), (np.array([[0], [2]]), ..., [0, 1])),
    *(np.array([], int), (slice(None), np.array([], int)), (np.array(1), np.array(2))),
    *((np.array([0, 1], np.uint8), slice(None)), (np.array([0, -1], np.int8),)),
    *((np.array(0), slice(None), np.array(1)), (..., [1, 0], [0, 0])),
    # an ellipsis keeps index arrays apart even where it stands for no axis
    *(
        (slice(None), 0, ..., [0]),
        (slice(None), [0, 1], ..., 0),
        (..., 0, [1, 2]),
    ),
]
MASKS = [
    *(MASK, MASK[:, 0, 0], (slice(None), MASK[0, :, 0]), (..., MASK[0, 0])),
    *((MASK[:, :, 0],), (MASK[:, 0, 0], 0), (0, MASK[0]), ([True, False, True],)),
    *((MASK[:, 0, 0], slice(None), np.array([1])), (np.zeros(3, bool),)),
    *((slice(None, None, -1), MASK[0, :, 0], None), np.zeros((3, 4), bool)),
]
EVERY = [*BASIC, *ADVANCED, *MASKS]


def check_reading(x, key):
    """Value, derivative, transpose, vmap and program of ``x[key]``."""
    wanted = x[key]
    rng = np.random.default_rng(1)
    t, ct = normal_like(x, rng), normal_like(wanted, rng)
    value, tangent = funcad.jvp(lambda v: v[key], (x,), (t,))
    assert_same(value, wanted)
    assert_same(tangent, t[key])
    _, pullback = funcad.vjp(lambda v: v[key], x)
    scattered = np.zeros_like(x)
    np.add.at(scattered, key, ct)
    assert_close(pullback(ct)[0], scattered)
    stacked = np.stack([x, -x, 2 * x], axis=-1)
    assert_same(
        funcad.vmap(lambda v: v[key], in_axes=-1)(stacked),
        np.stack([wanted, -wanted, 2 * wanted]),
    )
    assert_same(funcad.make_program(lambda v: v[key])(x).evaluate([x]), [wanted])


@pytest.mark.parametrize("key", EVERY, ids=str)
def test_every_index_reads_what_numpy_reads(key):
    check_reading(X, key)


@given(hnp.basic_indices(SHAPE, allow_newaxis=True, max_dims=6))
def test_basic_indices_read_what_numpy_reads(key):
    check_reading(X, key)


@st.composite
def mixed_indices(draw):
    """Integers, slices, arrays, lists, masks, newaxis and ellipsis, mixed."""
    common = draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=3))
    key, axis, ellipsis = [], 0, False
    while axis < len(SHAPE):
        n = SHAPE[axis]
        kinds = ["int", "slice", "array", "list", "mask", "newaxis", "scalar", "end"]
        kind = draw(st.sampled_from(kinds if ellipsis else [*kinds, "ellipsis"]))
        entries = st.integers(-n, n - 1)
        if kind == "newaxis":
            key.append(None)
            continue
        if kind == "end":
            break
        if kind == "ellipsis":
            key.append(...)
            ellipsis = True
            axis += draw(st.integers(0, len(SHAPE) - axis))
            continue
        if kind == "int":
            key.append(draw(entries))
        elif kind == "slice":
            key.append(draw(st.slices(n)))
        elif kind == "array":
            key.append(draw(hnp.arrays(np.intp, common, elements=entries)))
        elif kind == "list":
            key.append(draw(st.lists(entries, min_size=1, max_size=1)))
        elif kind == "scalar":
            key.append(np.array(draw(entries)))
        else:
            key.append(draw(hnp.arrays(bool, n)))
        axis += 1
    return tuple(key)


@given(mixed_indices())
def test_mixed_indices_read_what_numpy_reads_or_raise_its_error(key):
    try:
        X[key]
    except IndexError:  # index arrays that do not broadcast
        with pytest.raises(IndexError):
            funcad.jvp(lambda v: v[key], (X,), (X,))
    else:
        check_reading(X, key)


ARRAYS_ONLY = [
    key
    for key in ADVANCED
    if any(
        isinstance(part, np.ndarray) and part.size
        for part in (key if isinstance(key, tuple) else (key,))
    )
]


def opened(key):
    """The index arrays of a key, and the key as a function of them."""
    parts = key if isinstance(key, tuple) else (key,)
    places = [i for i, part in enumerate(parts) if isinstance(part, np.ndarray)]

    def closed(arrays):
        full = list(parts)
        for i, array in zip(places, arrays, strict=True):
            full[i] = array
        return tuple(full)

    return closed, [parts[i] for i in places]


@pytest.mark.parametrize("key", ARRAYS_ONLY, ids=str)
@pytest.mark.parametrize("x_axis", [0, None], ids=["x batched", "x the same for all"])
def test_index_arrays_may_differ_from_example_to_example(key, x_axis):
    closed, arrays = opened(key)
    stacked = [np.stack([a, np.flip(a), np.zeros_like(a)], axis=-1) for a in arrays]
    x = np.stack([X, 2 * X, -X]) if x_axis == 0 else X

    def read(v, indices):
        return fnp.at(v)[closed(indices)].get()

    wanted = np.stack(
        [
            (x[k] if x_axis == 0 else x)[closed([s[..., k] for s in stacked])]
            for k in range(3)
        ]
    )
    assert_same(funcad.vmap(read, in_axes=(x_axis, -1))(x, stacked), wanted)


@pytest.mark.parametrize("key", ARRAYS_ONLY, ids=str)
def test_index_arrays_may_be_staged(key):
    closed, arrays = opened(key)
    wanted = X[key]

    def both(v, indices):
        return v[closed(indices)]

    program = funcad.make_program(both)(X, arrays)
    assert_same(program.evaluate([X, *arrays]), [wanted])

    def positions(indices):
        return fnp.at(X)[closed(indices)].get()

    assert_same(funcad.make_program(positions)(arrays).evaluate(arrays), [wanted])


def test_an_index_array_of_one_transform_meets_an_array_of_another():
    def entry(x, i):
        return funcad.grad(lambda v: v[i] ** 2)(x)

    rows = funcad.vmap(entry, in_axes=(None, 0))(X[0, 0], np.array([0, 3]))
    wanted = np.zeros((2, 5))
    wanted[0, 0], wanted[1, 3] = 2 * X[0, 0, 0], 2 * X[0, 0, 3]
    assert_close(rows, wanted)


def test_a_plain_array_at_a_batched_index_says_what_to_write():
    table = np.arange(3.0)
    with pytest.raises(ConcretizationError, match=r"fnp\.take\(a, i\)"):
        funcad.vmap(lambda i: table[i])(np.array([0, 1]))


@pytest.mark.parametrize("wrap", [funcad.vmap, funcad.make_program])
def test_a_traced_mask_is_refused_because_its_result_has_no_shape(wrap):
    with pytest.raises(ConcretizationError, match=r"np\.where\(mask, x, 0\)"):
        wrap(lambda v: v[v > 0])(X)


def test_a_mask_of_values_works_where_values_are_known():
    assert_close(funcad.grad(lambda v: np.sum(v[v > 0] ** 2))(X), 2 * np.maximum(X, 0))


@pytest.mark.parametrize(
    "key",
    [
        *(3, -4, (0, 4), (0, 0, 0, 0), (0, 0, 0, np.array([0])), ([3],), (0, [-5])),
        *((..., ...), (..., ..., [0]), 1.0, (np.array([0.5]),), "a", (MASK[:2],)),
        *((MASK[0],), (np.array([0, 1]), np.array([0, 1, 2])), ({},)),
        *((slice(None), [4]), ([0, 1], [0, 1, 2])),
    ],
    ids=str,
)
@pytest.mark.parametrize("transform", ["jvp", "vmap", "staged"])
def test_malformed_indices_raise_the_error_that_numpy_raises(key, transform):
    with pytest.raises(Exception) as numpys:
        X[key]
    assert numpys.type in (IndexError, TypeError)
    run = {
        "jvp": lambda: funcad.jvp(lambda v: v[key], (X,), (X,)),
        "vmap": lambda: funcad.vmap(lambda v: v[key])(X[None]),
        "staged": lambda: funcad.make_program(lambda v: v[key])(X),
    }[transform]
    with pytest.raises((numpys.type, ValueError)) as ours:
        run()
    assert issubclass(ours.type, numpys.type)


def test_empty_arrays_are_indexed():
    for x, key in [
        (np.empty((0, 3)), (slice(None), 1)),
        (np.empty((0, 3)), np.array([], int)),
        (np.empty((2, 0)), (np.array([1, 0]),)),
        (np.array(2.5), ()),
        (np.array(2.5), ...),
        (np.array(2.5), None),
    ]:
        value, _ = funcad.jvp(lambda v, key=key: v[key], (x,), (x,))
        assert_same(value, x[key])


@pytest.mark.parametrize(
    "key",
    [
        *(True, False, np.True_, np.array(False), (True, 0), (..., True)),
        *(
            (slice(None), True),
            (True, [0, 2]),
            (0, False),
            (True, True),
            ([0], ..., True),
        ),
    ],
    ids=str,
)
def test_boolean_scalars_add_an_axis_as_in_numpy(key):
    check_reading(X, key)


@pytest.mark.parametrize("wrap", [funcad.vmap, funcad.make_program])
def test_bounds_of_a_slice_are_known_numbers(wrap):
    with pytest.raises(ConcretizationError, match="the use as an index"):
        wrap(lambda n: X[0, 0][: np.max(n)])(np.array([[2, 1]]))


# ------------------------------------------------------------------------------ updates

UFUNCS = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "min": np.minimum,
    "max": np.maximum,
}
UPDATED = [
    *(0, -1, (1, -2, 3), (..., 0), slice(None, None, -2), (slice(1, 3), None, 2), ()),
    *([0, 2], np.array([2, 0, 0]), PAIR, (PAIR, PAIR + 1), (slice(None), [3, 3, 0])),
    *((np.array([0, 0, 0]), slice(None), np.array([1, 1, 4])), (np.array([0, 0]), 1)),
    *((slice(None, None, -1), np.array([0, 0])), (None, np.array([1, 1]), 2)),
    *(MASK, (MASK[:, 0, 0],), (0, MASK[0]), np.array([], int), slice(2, 2)),
    *(
        (slice(None), 1, PAIR % 3),
        np.array(1),
        (np.array([[0], [0]]), np.array([1, 1])),
    ),
]


@pytest.mark.parametrize("key", EVERY, ids=str)
def test_entries_of_another_library_stay_there(key):
    x = backend_double.Array(X)
    value, tangent = funcad.jvp(lambda v: v[key], (x,), (x,))
    assert_same((value.get(), tangent.get()), (np.asarray(X[key]),) * 2)
    _, pullback = funcad.vjp(lambda v: v[key], x)
    assert type(pullback(value)[0]) is backend_double.Array


def numpys_update(how, x, key, values):
    out = x.copy()
    if how == "set":
        out[key] = values
    else:
        UFUNCS[how].at(out, key, values)
    return out


def values_for(key, seed=3):
    shape = X[key].shape
    n = int(np.prod(shape))
    values = (np.random.default_rng(seed).permutation(n) - n / 2.3) / 6.1
    return (values + 0.47 * np.sign(values)).reshape(shape)


@pytest.mark.parametrize("key", UPDATED, ids=str)
@pytest.mark.parametrize("how", ["set", *UFUNCS])
def test_updates_are_those_of_numpy_with_derivatives_in_both_operands(how, key):
    values = values_for(key)

    def update(x, v):
        return getattr(fnp.at(x)[key], how)(v)

    wanted = numpys_update(how, X, key, values)
    assert_same(update(X, values), wanted)
    rng = np.random.default_rng(4)
    t = (normal_like(X, rng), normal_like(values, rng))
    out, tangent = funcad.jvp(update, (X, values), t)
    assert_same(out, wanted)
    (numerical,) = directional_derivative(
        lambda x, v: numpys_update(how, x, key, v), (X, values), t
    )
    assert_close(tangent, numerical)
    _, pullback = funcad.vjp(update, X, values)
    ct = normal_like(wanted, rng)
    np.testing.assert_allclose(pairing(pullback(ct), t), pairing([ct], [tangent]))
    stacked = (np.stack([X, -X, 2 * X], 1), np.stack([values, 2 * values, -values]))
    loop = [numpys_update(how, stacked[0][:, k], key, stacked[1][k]) for k in range(3)]
    assert_same(funcad.vmap(update, in_axes=(1, 0))(*stacked), np.stack(loop))
    assert_same(funcad.make_program(update)(X, values).evaluate([X, values]), [wanted])


@pytest.mark.parametrize("key", UPDATED, ids=str)
@pytest.mark.parametrize("how", ["set", *UFUNCS])
def test_updates_in_another_library_stay_there(how, key):
    values = values_for(key)
    x, v = backend_double.Array(X), backend_double.Array(values)
    wanted = numpys_update(how, X, key, values)
    out, _ = funcad.jvp(lambda x, v: getattr(fnp.at(x)[key], how)(v), (x, v), (x, v))
    assert_same(out.get(), wanted)
    if isinstance(key, int | slice):
        assert_same(getattr(fnp.at(x)[key], how)(v).get(), wanted)
        out = getattr(fnp.at(x)[key], how)(2.0)
        assert_same(out.get(), numpys_update(how, X, key, 2.0))


@pytest.mark.parametrize("how", ["set", *UFUNCS])
@pytest.mark.parametrize("axes", [(0, 0, 0), (None, None, 0), (None, 0, 0)])
def test_positions_of_updates_may_differ_from_example_to_example(how, axes):
    indices = np.array([[0, 2, 2], [1, 1, 1], [-1, 0, 2]])
    x, values = X[:, :, 0], X[:, :, 1]

    def update(x, v, i):
        return getattr(fnp.at(x)[i], how)(v)

    given_x = np.stack([x, -x, 2 * x]) if axes[0] == 0 else x
    given_v = np.stack([values, 2 * values, -values]) if axes[1] == 0 else values
    loop = [
        numpys_update(
            how,
            given_x[k] if axes[0] == 0 else x,
            indices[k],
            given_v[k] if axes[1] == 0 else values,
        )
        for k in range(3)
    ]
    out = funcad.vmap(update, in_axes=axes)(given_x, given_v, indices)
    assert_same(out, np.stack(loop))


@pytest.mark.parametrize("how", ["set", *UFUNCS])
def test_positions_of_updates_may_be_staged(how):
    i = np.array([2, 0, 2])

    def update(x, v, i):
        return getattr(fnp.at(x)[i], how)(v)

    values = values_for(i)
    program = funcad.make_program(update)(X, values, i)
    assert_same(program.evaluate([X, values, i]), [numpys_update(how, X, i, values)])


@pytest.mark.parametrize("how", ["set", *UFUNCS])
def test_values_are_broadcast_to_the_entries_and_keep_the_arrays_dtype(how):
    x32 = X.astype(np.float32)
    for values in (0.5, 2, np.arange(5.0), np.ones((1, 5)), [1.0, 2.0, 3.0, 4.0, 5.0]):
        update = getattr(fnp.at(x32)[[0, 2]], how)
        wanted = numpys_update(how, x32, [0, 2], np.asarray(values, np.float32))
        assert_same(update(values), wanted)
        out, _ = funcad.jvp(
            lambda v, values=values: getattr(fnp.at(v)[[0, 2]], how)(values),
            (x32,),
            (x32,),
        )
        assert_same(out, wanted)


def test_updates_leave_the_array_as_it_was():
    x = X.copy()
    fnp.at(x)[0].set(1.0)
    fnp.at(x)[[0, 0]].add(1.0)
    assert_same(x, X)


def test_updates_of_integers_take_integers_and_refuse_floats():
    x = np.array([1, 2, 3])
    assert_same(fnp.at(x)[[0, 0]].add(5), np.array([11, 2, 3]))
    with pytest.raises(TypeError, match=r"x\.astype\(float64\)"):
        fnp.at(x)[0].set(1.5)


def test_values_that_do_not_fit_raise_numpys_error():
    with pytest.raises(ValueError, match="broadcast"):
        fnp.at(X)[0].set(np.ones(3))
    with pytest.raises(ValueError, match="broadcast"):
        funcad.grad(lambda v: np.sum(fnp.at(v)[0].add(np.ones(3))))(X)


def test_updates_out_of_bounds_raise_numpys_error():
    for how in ("set", "add", "max"):
        with pytest.raises(IndexError, match="out of bounds"):
            getattr(fnp.at(X)[[0, 7]], how)(1.0)


def test_get_reads_entries_of_plain_arrays_at_traced_positions():
    out = funcad.vmap(lambda i: fnp.at(X)[i, ..., 0].get())(np.array([2, 0]))
    assert_same(out, X[[2, 0], :, 0])


def test_a_loop_of_updates_differentiates_to_any_order():
    def powers(x):
        out = np.zeros(4) * x
        for i in range(4):
            out = fnp.at(out)[i].set(x**i)
        return np.sum(out)

    first = funcad.grad(powers)
    assert_close(first(1.5), 1 + 2 * 1.5 + 3 * 1.5**2)
    assert_close(funcad.grad(first)(1.5), 2 + 6 * 1.5)
    assert_close(funcad.grad(funcad.grad(first))(1.5), 6.0)


def test_set_of_repeated_positions_gives_the_derivative_to_the_last_one():
    i = np.array([1, 1, 1])
    gradient = funcad.grad(lambda v: fnp.at(np.zeros(3))[i].set(v)[1])(np.ones(3))
    assert_same(gradient, np.array([0.0, 0.0, 1.0]))


@pytest.mark.parametrize("index", [[0, 2], [1, 1, 0], 2, slice(None), MASK[:, 0, 0]])
def test_powers_and_functions_of_entries_differentiate(index):
    x = np.array([1.3, 0.7, 2.1])
    n = np.size(x[index])
    exponents = np.array([2.0, 0.5, 1.5])[:n]
    exponents = exponents[0] if np.ndim(x[index]) == 0 else exponents
    t = (np.array([0.3, -0.2, 0.5]), 0.1 * exponents)

    def plain_power(x, v):
        out = x.copy()
        np.power.at(out, index, v)
        return out

    def plain_sine(x, v):
        out = x.copy()
        np.sin.at(out, index)
        return out

    for ours, plain in [
        (lambda x, v: fnp.at(x)[index].power(v), plain_power),
        (lambda x, v: fnp.at(x)[index].apply(np.sin) + 0 * np.sum(v), plain_sine),
    ]:
        value, tangent = funcad.jvp(ours, (x, exponents), t)
        assert_close(value, plain(x, exponents), rtol=1e-12)
        (wanted,) = directional_derivative(plain, (x, exponents), t)
        assert_close(tangent, wanted)
        _, pullback = funcad.vjp(ours, x, exponents)
        ct = np.array([0.4, 1.1, -0.6])
        np.testing.assert_allclose(pairing(pullback(ct), t), np.sum(ct * tangent))


def test_entries_that_are_not_updated_have_no_part_in_what_would_be_singular():
    x = np.array([-1.0, 0.0, 4.0])
    half = funcad.grad(lambda x: np.sum(fnp.at(x)[2].power(0.5)))
    assert_close(half(x), np.array([1.0, 1.0, 0.25]))
    root = funcad.grad(lambda x: np.sum(fnp.at(x)[2:].apply(np.sqrt)))
    assert_close(root(x), np.array([1.0, 1.0, 0.25]))
    inverse = funcad.grad(lambda x: np.sum(fnp.at(1 + 0 * x)[:1].divide(x[:1])))
    assert_close(inverse(x), np.array([-1.0, 0.0, 0.0]))


def test_products_with_zeros_at_repeated_positions_have_their_derivatives():
    i = np.array([0, 0, 1, 1, 1])

    def f(x, v):
        return np.sum(fnp.at(x)[i].multiply(v) * np.array([1.0, 10.0, 100.0]))

    x, v = np.array([2.0, 0.0, 5.0]), np.array([0.0, 3.0, 0.0, 0.0, 4.0])
    by_x, by_v = funcad.grad(f, (0, 1))(x, v)
    assert_close(by_x, np.array([0.0, 0.0, 100.0]))
    assert_close(by_v, np.array([6.0, 0.0, 0.0, 0.0, 0.0]))
    by_x, by_v = funcad.grad(f, (0, 1))(x + 1, np.array([0.0, 3.0, 0.0, 2.0, 4.0]))
    assert_close(by_x, np.array([0.0, 0.0, 100.0]))
    assert_close(by_v, np.array([9.0, 0.0, 80.0, 0.0, 0.0]))


def test_sums_at_repeated_positions_give_each_value_its_derivative():
    i = np.array([1, 1, 0])
    for how, sign in (("add", 1.0), ("subtract", -1.0)):

        def f(x, v, how=how):
            return np.sum(getattr(fnp.at(x)[i], how)(v) * np.array([2.0, 3.0, 5.0]))

        by_x, by_v = funcad.grad(f, (0, 1))(np.ones(3), np.ones(3))
        assert_close(by_x, np.array([2.0, 3.0, 5.0]))
        assert_close(by_v, sign * np.array([3.0, 3.0, 2.0]))


def test_extrema_at_repeated_positions_give_the_derivative_to_the_best():
    i = np.array([1, 1, 1])
    x, v = np.array([0.0, 2.0, 0.0]), np.array([1.0, 7.0, 3.0])
    by_x, by_v = funcad.grad(lambda x, v: fnp.at(x)[i].max(v)[1], (0, 1))(x, v)
    assert_close((by_x, by_v), (np.zeros(3), np.array([0.0, 1.0, 0.0])))
    by_x, by_v = funcad.grad(lambda x, v: fnp.at(x)[i].min(v)[1], (0, 1))(x, v)
    assert_close((by_x, by_v), (np.zeros(3), np.array([1.0, 0.0, 0.0])))


def test_updates_that_would_change_the_dtype_are_refused():
    for x in (np.array([1, 2]), np.array([True, False])):
        with pytest.raises(TypeError, match="astype"):
            fnp.at(x)[0].divide(2)
    with pytest.raises(TypeError, match="logical_xor"):
        fnp.at(np.array([True]))[0].subtract(True)
    x = np.array([200, 3], np.uint8)
    wanted = x.copy()
    np.subtract.at(wanted, [0, 0], np.array([150, 60], np.uint8))
    assert_same(fnp.at(x)[[0, 0]].subtract(np.array([150, 60], np.uint8)), wanted)


# ---------------------------------------------------------------- along axes, by choice


@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_put_along_axis_writes_where_take_along_axis_reads(axis):
    x, v = X[:, :, 0], X[:2, :3, 1]
    i = np.array([[0, 2, 1], [-1, 0, 2]])
    if axis is None:
        i, v = np.array([0, 2, 1, -1, 4, 5]), v.ravel()
    elif axis == 0:
        i, v = np.array([[0, 2, 1, -1]]), X[:1, :, 2]
    else:
        i = np.array([[0, 2], [1, 3], [-1, 0]])
        v = X[:, :2, 3]
    wanted = x.copy()
    np.put_along_axis(wanted, i, v, axis)

    def put(x, v):
        return fnp.put_along_axis(x, i, v, axis, inplace=False)

    assert_same(put(x, v), wanted)
    value, tangent = funcad.jvp(put, (x, v), (x, v))
    assert_same((value, tangent), (wanted, wanted))
    by_x, by_v = funcad.grad(lambda x, v: np.sum(put(x, v) ** 2), (0, 1))(x, v)
    assert_close(by_x, np.where(wanted == x, 2 * x, 0.0))
    assert_close(by_v, 2 * v)
    assert_same(funcad.vmap(put)(np.stack([x, -x]), np.stack([v, -v]))[1], -wanted)
    if axis is not None:
        assert_same(np.take_along_axis(put(x, v), i, axis), v)


def test_put_along_axis_writes_into_plain_arrays_and_never_into_traced_ones():
    x, i = np.zeros((2, 3)), np.array([[2], [0]])
    assert fnp.put_along_axis(x, i, 5.0, 1) is None
    assert_same(x, np.array([[0.0, 0.0, 5.0], [5.0, 0.0, 0.0]]))
    for f in (
        lambda v: fnp.put_along_axis(v, i, 1.0, 1),
        lambda v: fnp.put_along_axis(x, i, v[:, :1], 1),
        lambda v: np.put_along_axis(v, i, 1.0, 1),
        lambda v: np.put_along_axis(x, i, v[:, :1], 1),
    ):
        with pytest.raises(
            TypeError, match=r"put_along_axis\(x, i, v, axis, inplace=F"
        ):
            funcad.jvp(f, (x,), (x,))


@pytest.mark.parametrize(
    "write",
    [
        lambda x: np.put(x, [0], 1.0),
        lambda x: np.place(x, x > 0, 1.0),
        lambda x: np.putmask(x, x > 0, 1.0),
        lambda x: np.fill_diagonal(x, 1.0),
        lambda x: x.put([0], 1.0),
        lambda x: x.flat.__setitem__(0, 1.0),
    ],
)
def test_writing_says_which_update_to_use(write):
    with pytest.raises(TypeError, match=r"fnp\.at\("):
        funcad.jvp(lambda x: (write(x), x)[1], (X[0],), (X[0],))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.take(x, np.array([0.5])),
        lambda x: np.take(x, [1j]),
        lambda x: np.take(x, [0], mode="nonsense"),
        lambda x: np.take(x, [99]),
        lambda x: np.take(x, 0, axis=3),
        lambda x: np.take(x[:0], 0, axis=0),
        lambda x: np.take_along_axis(x, np.array([0]), 0),
        lambda x: np.take_along_axis(x, np.zeros((1, 1, 1)), 0),
        lambda x: np.take_along_axis(x, np.full((1, 4, 5), 9), 0),
        lambda x: np.take_along_axis(x, np.zeros((1, 1, 1), int), 3),
        lambda x: np.take_along_axis(x, np.zeros((1, 1), int), None),
        lambda x: np.choose([0, 5], [x[0, 0, :2], 1.0]),
        lambda x: np.choose([0, -1], [x[0, 0, :2], 1.0]),
        lambda x: np.choose([0.5, 0.5], [x[0, 0, :2], 1.0]),
        lambda x: np.choose([0, 1], [x[0, 0, :2], x[0, 0, :3]]),
        lambda x: np.choose([0, 1], [x[0, 0, :2], 1.0], mode="nonsense"),
    ],
)
def test_wrong_calls_raise_an_error_of_the_type_of_numpys(call):
    with pytest.raises(Exception) as numpys:
        call(X)
    with pytest.raises(numpys.type):
        funcad.jvp(call, (X,), (X,))
    with pytest.raises(numpys.type):
        funcad.make_program(call)(X)


def test_choices_may_be_traced_as_may_what_chooses():
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    which = np.array([1, 0, 1])
    by = funcad.grad(lambda v: np.sum(np.choose(which, v) ** 2))(x)
    assert_close(by, 2 * np.array([[0.0, 2.0, 0.0], [4.0, 0.0, 6.0]]))
    for f in (lambda w: w.choose([x[0], x[1]]), lambda w: w.choose(x, mode="wrap")):
        assert_same(funcad.vmap(f)(which[None])[0], f(which))
    rows = np.stack([which, 1 - which])
    assert_same(
        funcad.vmap(lambda w: np.choose(w, [x[0], 7.0]))(rows),
        np.stack([np.choose(w, [x[0], 7.0]) for w in rows]),
    )


def test_the_flat_view_of_a_tracer_is_its_ravel():
    value = funcad.grad(lambda v: v.flat[7] ** 2 + sum(v.flat))(X)
    wanted = np.ones_like(X)
    wanted.flat[7] += 2 * X.flat[7]
    assert_close(value, wanted)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 4), (3, 4)])
def test_masks_without_entries_pick_none(shape):
    x = np.arange(12.0).reshape(3, 4)
    mask = np.zeros(shape, bool)
    out, _ = funcad.jvp(lambda v: v[mask], (x,), (x,))
    assert_same(out, x[mask])
