"""Products of matrices that are normalised where they are computed."""

import contextlib
import functools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcad
from funcad import nn
from funcad.core.tracing import registry
from funcad.primitives import fused_layer_norm, product_parts
from funcad.testing import check_grads, check_vmap

FUNCTIONS = {
    "softmax": (nn.matmul_softmax, nn.softmax),
    "layer_norm": (
        functools.partial(nn.matmul_layer_norm, eps=0.1),
        functools.partial(nn.layer_norm, eps=0.1),
    ),
}
both = pytest.mark.parametrize("name", FUNCTIONS)
dtypes = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])


def pair(name, axis=-1):
    """The fused function and the composition that it stands for."""
    fused_function, rows = FUNCTIONS[name]
    return (
        lambda a, b: fused_function(a, b, axis=axis),
        lambda a, b: rows(np.matmul(a, b), axis=axis),
    )


def scalar(function):
    return lambda *args: np.sum(np.sin(2 * function(*args)))


@st.composite
def products(draw):
    """Two stacks of matrices that fit, and axes of their product."""
    lead = draw(st.lists(st.sampled_from([1, 2, 3]), max_size=2))
    cut = draw(st.integers(0, len(lead)))
    left, right = [lead, lead[cut:]][:: draw(st.sampled_from([1, -1]))]
    left = [draw(st.sampled_from([1, n])) for n in left]
    m = draw(st.sampled_from([1, 2, 5, 40]))
    k, n = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    a, b = rng.normal(size=(*left, m, k)), rng.normal(size=(*right, k, n))
    rank = max(a.ndim, b.ndim)
    axes = draw(st.sets(st.integers(-rank, -1), min_size=1))
    return a, b, tuple(axes)


@contextlib.contextmanager
def in_parts(chunk, block):
    """Bytes that are computed, and normalised, at once."""
    sizes = {"CHUNK": chunk, "SPARE": chunk, "BLOCK": block, "SMALL": block, "LEAST": 0}
    usual = {name: getattr(product_parts, name) for name in sizes}
    vars(product_parts).update(sizes)
    try:
        yield
    finally:
        vars(product_parts).update(usual)


limits = st.sampled_from([(2**20, 2**20), (2**20, 64), (256, 64), (8, 8)])


# ---------------------------------------------------------- the same as the composition


@both
@given(products(), limits)
def test_a_fused_product_is_its_composition_over_any_axes(name, operands, sizes):
    a, b, axis = operands
    function, composition = pair(name, axis)
    with in_parts(*sizes):
        got = function(a, b)
    np.testing.assert_allclose(got, composition(a, b), rtol=1e-10, atol=1e-12)


@both
@given(products(), limits, st.sampled_from([(0,), (1,), (0, 1)]))
def test_gradients_and_their_derivatives_are_those_of_the_composition(
    name, operands, sizes, argnums
):
    a, b, axis = operands
    rng = np.random.default_rng(0)
    tangents = tuple(rng.normal(size=x.shape) for x in (a, b))
    results = []
    for function in pair(name, axis):
        gradient = funcad.grad(scalar(function), argnums)
        with in_parts(*sizes):
            pushed = funcad.jvp(function, (a, b), tangents)[1]
            results.append([pushed, *gradient(a, b)])
            results[-1] += funcad.jvp(gradient, (a, b), tangents)[1]
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-9)


@both
@pytest.mark.parametrize("axis", [-1, 0, (0, 1)])
def test_derivatives_are_right_to_third_order(name, axis):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 2)), rng.normal(size=(2, 2))
    check_grads(pair(name, axis)[0], (a, b), order=3)


def test_scale_and_bias_are_those_of_layer_norm():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 3)), rng.normal(size=(3, 4))
    for axis, shape in ((-1, (4,)), ((-2, -1), (5, 4)), (1, (5,)), ((0, 2), (2, 4))):
        scale, bias = rng.normal(size=(2, *shape))
        for given_ones in ((scale, bias), (scale,), (None, bias)):
            np.testing.assert_allclose(
                nn.matmul_layer_norm(a, b, *given_ones, axis=axis, eps=0.1),
                nn.layer_norm(np.matmul(a, b), *given_ones, axis=axis, eps=0.1),
                rtol=1e-11,
                atol=1e-11,
            )
    function = functools.partial(nn.matmul_layer_norm, axis=(0, 2), eps=0.1)
    check_grads(function, (a, b, scale, bias), order=2)


@both
def test_jit_keeps_the_fusion_and_gives_the_same(name):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6, 3)), rng.normal(size=(3, 4))
    function = pair(name)[0]
    gradient = funcad.grad(scalar(function), (0, 1))
    np.testing.assert_allclose(funcad.jit(function)(a, b), function(a, b), rtol=1e-13)
    compiled = funcad.jit(gradient)
    for got, want in zip(compiled(a, b), gradient(a, b), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
    names = {e.primitive.name for e in funcad.make_program(gradient)(a, b).equations}
    assert "matmul" not in names
    kinds = {"softmax": "softmax", "layer_norm": "standardize"}
    assert {f"matmul_{kinds[name]}", f"matmul_{kinds[name]}_cotangent"} <= names
    assert f"matmul_{kinds[name]}(" in funcad.jit(function).lower(a, b).source


@both
def test_an_exported_module_needs_numpy_alone(name):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6, 3)), rng.normal(size=(3, 4))
    loss = scalar(pair(name)[0])

    def first(a, b):
        return funcad.grad(loss, (0, 1))(a, b)

    def second(a, b):
        return funcad.jvp(first, (a, b), (a, b))[1]

    for function in (first, second):
        module = {}
        exec(funcad.export(function, a, b), module)
        exported = module[function.__name__]
        for got, want in zip(exported(a, b), function(a, b), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)


@both
def test_checkpoint_and_linearize_go_through(name):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 3)), rng.normal(size=(3, 4))
    function = pair(name)[0]
    want = funcad.grad(scalar(function), (0, 1))(a, b)
    again = funcad.grad(funcad.checkpoint(scalar(function)), (0, 1))(a, b)
    for x, y in zip(again, want, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-13)
    _, push = funcad.linearize(function, a, b)
    np.testing.assert_allclose(
        push(a, b), funcad.jvp(function, (a, b), (a, b))[1], rtol=1e-12, atol=1e-14
    )


@both
def test_vmap_is_a_loop_for_values_gradients_and_hessians(name):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 3, 2)), rng.normal(size=(4, 2, 3))
    function = pair(name)[0]

    def gradient(a, b):
        return funcad.grad(scalar(function), (0, 1))(a, b)

    def hessian(a, b):
        return funcad.hessian(scalar(function), (0, 1))(a, b)

    for f in (function, gradient, hessian):
        check_vmap(f, (a, b))
        check_vmap(f, (a[0], b), (None, 0))
        check_vmap(f, (a, b[0]), (0, None))
    pullback = funcad.vjp(function, a[0], b[0])[1]
    check_vmap(pullback, (rng.normal(size=(5, 3, 3)),))


# -------------------------------------------------------------------- dtypes and shapes


@both
@dtypes
def test_results_and_derivatives_keep_the_dtype(name, dtype):
    rng = np.random.default_rng(0)
    a, b = (x.astype(dtype) for x in rng.normal(size=(2, 3, 3)))
    function, composition = pair(name)
    gradient = funcad.grad(scalar(function), (0, 1))
    assert function(a, b).dtype == dtype
    np.testing.assert_allclose(
        function(a, b), composition(a, b), rtol=100 * np.finfo(dtype).eps, atol=1e-3
    )
    assert {g.dtype for g in gradient(a, b)} == {np.dtype(dtype)}
    second = funcad.jvp(gradient, (a, b), (a, b))[1]
    assert {g.dtype for g in second} == {np.dtype(dtype)}


@both
def test_dtypes_mix_as_in_the_composition(name):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 3)), rng.normal(size=(3, 2))
    function, composition = pair(name)
    gradients = [funcad.grad(scalar(f), 1) for f in (function, composition)]
    for left, right in ((a.astype("f"), b), (a.astype(int), b), (a > 0, b.astype("f"))):
        got, want = function(left, right), composition(left, right)
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)
        got, want = (gradient(left, right) for gradient in gradients)
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    whole = np.arange(6).reshape(2, 3), np.arange(6).reshape(3, 2)
    np.testing.assert_array_equal(function(*whole), composition(*whole))


def test_softmax_of_a_complex_product_is_analytic():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 3)) + 1j * rng.normal(size=(2, 3, 3))
    function, composition = pair("softmax")
    np.testing.assert_allclose(function(a, b), composition(a, b), rtol=1e-12)
    np.testing.assert_allclose(
        funcad.jvp(function, (a, b), (b, a))[1],
        funcad.jvp(composition, (a, b), (b, a))[1],
        rtol=1e-11,
    )


@both
def test_stacks_without_entries_and_sums_over_nothing(name):
    function, composition = pair(name)
    for left, right in (((0, 3), (3, 2)), ((4, 0), (0, 2)), ((0, 4, 3), (3, 2))):
        a, b = np.zeros(left), np.zeros(right)
        want = composition(a, b)
        np.testing.assert_array_equal(function(a, b), want)
        slopes = funcad.grad(scalar(function), (0, 1))(a, b)
        assert [x.shape for x in slopes] == [left, right]
        assert not any(x.any() for x in slopes)


@both
def test_vectors_are_taken_as_matmul_takes_them(name):
    function, composition = pair(name)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 3)), rng.normal(size=3)
    np.testing.assert_array_equal(function(a, b), composition(a, b))
    np.testing.assert_array_equal(function(b, a.T), composition(b, a.T))


@both
def test_operands_in_any_layout(name):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 40)).T, rng.normal(size=(4, 6))[:, ::2].T
    function, composition = pair(name)
    with in_parts(256, 64):
        np.testing.assert_allclose(function(a, b), composition(a, b), rtol=1e-12)
        got = funcad.grad(scalar(function), (0, 1))(a, b)
    want = funcad.grad(scalar(composition), (0, 1))(a, b)
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


# ------------------------------------------------ layer norm by changes of the operands
#
# Where rows of the product are long beside those of the left operand.


def normalised(a, b, eps):
    """Layer norm of a product and its pullback, in double precision, by formulas."""
    a, b = a.astype(float), b.astype(float)
    x = a @ b
    x -= x.mean(axis=1, keepdims=True)
    r = 1 / np.sqrt((x * x).mean(axis=1, keepdims=True) + eps)
    y = x * r

    def pullback(ct):
        along = (y * ct).mean(axis=1, keepdims=True)
        c = r * (ct - ct.mean(axis=1, keepdims=True) - y * along)
        return c @ b.T, a.T @ c

    return y, pullback


def long_rows(dtype, of_a=1.0, of_b=1.0, k=3):
    rng = np.random.default_rng(0)
    a, b = of_a * rng.normal(size=(64, k)), of_b * (3 + rng.normal(size=(k, 40)))
    return a.astype(dtype), b.astype(dtype), rng.normal(size=(64, 40)).astype(dtype)


def agree_with_formulas(a, b, ct, eps, close):
    got, pullback = funcad.vjp(lambda a, b: nn.matmul_layer_norm(a, b, eps=eps), a, b)
    want, exact = normalised(a, b, eps)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, want, rtol=close, atol=close)
    for x, y in zip(pullback(ct), exact(ct.astype(float)), strict=True):
        assert x.dtype == ct.dtype
        assert np.isfinite(x).all()
        np.testing.assert_allclose(x, y, rtol=close, atol=close * np.abs(y).max())


@pytest.mark.parametrize("eps", [1e-30, 1e-5, 0.1])
@pytest.mark.parametrize("dtype, close", [(np.float32, 1e-5), (np.float64, 1e-13)])
@pytest.mark.parametrize(
    "of_a, of_b", [(1, 1), (1e6, 1e-5), (1e-3, 1e3), (1e17, 1e-22)]
)
def test_layer_norm_of_long_rows_keeps_its_digits(of_a, of_b, dtype, close, eps):
    with in_parts(256, 64), np.errstate(all="raise", under="ignore"):
        agree_with_formulas(*long_rows(dtype, of_a, of_b), eps, close)


@pytest.mark.parametrize("wrt", [(0,), (0, 1)])
def test_long_rows_are_normalised_in_the_operands(wrt, monkeypatch):
    a, b, ct = long_rows(float)

    def refuse(*args):
        raise AssertionError("a pass over the product")

    for name in ("_scale", "_centre_and_scale", "_write_unscaled"):
        monkeypatch.setattr(fused_layer_norm, name, refuse)
    with in_parts(256, 64):
        y, r = registry["matmul_standardize"](a, b, axis=(1,), eps=1e-5)
        cotangent = registry["matmul_standardize_cotangent"]
        got = cotangent(ct, 0 * r, a, b, y, r, axis=(1,), wrt=wrt)
    want = normalised(a, b, 1e-5)[1](ct)
    for i, x in zip(wrt, got, strict=True):
        np.testing.assert_allclose(x, want[i], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("eps", [1e-5, 1e-30])
def test_rows_that_nearly_cancel_are_added_up_themselves(eps):
    # of some rows the sums of squares by the Gram matrix have no right digit
    a, b, ct = long_rows(np.float32, k=2)
    b[1] = b[0] + np.float32(1e-3) * ct[0]
    a[::2] = [[1, -1]] + np.float32(1e-4) * a[::2]
    with in_parts(256, 64):
        got, pullback = funcad.vjp(lambda a: nn.matmul_layer_norm(a, b, eps=eps), a)
    composed, usual = funcad.vjp(lambda a: nn.layer_norm(a @ b, eps=eps), a)
    want, exact = normalised(a, b, eps)
    for x, y, z in (
        (got, composed, want),
        (pullback(ct)[0], usual(ct)[0], exact(ct)[0]),
    ):
        close = 2 * np.abs(y - z).max() + 1e-5 * np.abs(z).max()
        assert np.abs(x - z).max() < close


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_an_infinite_entry_spoils_its_row_alone(value):
    a, b, _ = long_rows(np.float32)
    a[5] = value
    with in_parts(256, 64), np.errstate(invalid="ignore"):
        got = nn.matmul_layer_norm(a, b)
    assert np.isnan(got[5]).all()
    want = normalised(a[6:], b, 1e-5)[0]
    np.testing.assert_allclose(got[6:], want, rtol=1e-5, atol=1e-5)


# -------------------------------------------------------------------- extreme numbers


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e10, 1e3, 1e-10, 0])
def test_softmax_is_stable_where_only_some_blocks_are_large(dtype, size):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 2)).astype(dtype), rng.normal(size=(2, 4)).astype(dtype)
    a[20:] *= dtype(size)
    ct = rng.normal(size=(30, 4)).astype(dtype)
    function, composition = pair("softmax")
    with np.errstate(all="raise", under="ignore"), in_parts(256, 64):
        got, pullback = funcad.vjp(function, a, b)
        slopes = pullback(ct)
    want, composed = funcad.vjp(composition, a, b)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    for x, y in zip(slopes, composed(ct), strict=True):
        assert np.isfinite(x).all()
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5 * max(np.abs(y).max(), 1))


@pytest.mark.parametrize("size", [30, 45, 60, 80, 89, -45, -80, -100])
def test_softmax_of_any_exponents_gives_no_warning(size):
    rng = np.random.default_rng(0)
    a = np.full((40, 1), size, np.float32)
    b = (1 + rng.random((1, 5)) / 10).astype(np.float32)
    with np.errstate(all="raise", under="ignore"), in_parts(256, 64):
        got = nn.matmul_softmax(a, b)
    want = nn.softmax(np.matmul(a.astype(float), b.astype(float)))
    np.testing.assert_allclose(got, want, rtol=3e-5)


def test_softmax_far_below_zero_keeps_its_digits():
    a, b = np.full((2, 1), -1e3, np.float32), np.array([[1, 1.001, 2]], np.float32)
    np.testing.assert_allclose(
        nn.matmul_softmax(a, b), nn.softmax(np.matmul(a, b)), rtol=1e-5
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e10, 1e-10, 0])
def test_layer_norm_is_stable_for_large_small_and_constant_rows(dtype, size):
    rng = np.random.default_rng(0)
    a = (size * rng.normal(size=(24, 2))).astype(dtype)
    ct = rng.normal(size=(24, 5)).astype(dtype)
    for b in (rng.normal(size=(2, 5)), np.full((2, 5), 3.0)):
        b = b.astype(dtype)
        with np.errstate(all="raise", under="ignore"):
            got, pullback = funcad.vjp(nn.matmul_layer_norm, a, b)
            slopes = pullback(ct)
        if b.std() == 0:
            # the composition makes noise of these rows, by rounding
            assert not got.any()
            assert all(np.isfinite(x).all() for x in slopes)
            continue
        wide = a.astype(float), b.astype(float)
        want, composed = funcad.vjp(lambda a, b: nn.layer_norm(a @ b), *wide)
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=1e-5)
        for x, y in zip(slopes, composed(ct.astype(float)), strict=True):
            assert np.isfinite(x).all()
            close = 1e-4 * np.abs(y).max() + 1e-5
            np.testing.assert_allclose(x, y, rtol=1e-3, atol=close)


def test_layer_norm_of_constant_rows_in_half_precision_has_no_infinite_slope():
    # one over the deviation is 316 there, and its square is no half-precision number
    a, b = np.ones((2, 3), np.float16), np.ones((3, 4), np.float16)

    def loss(a, b):
        return np.sum(nn.matmul_layer_norm(a, b) ** 2)

    with np.errstate(all="raise", under="ignore"):
        gradient = funcad.grad(loss, (0, 1))
        slopes = gradient(a, b)
        second = funcad.jvp(gradient, (a, b), (a, b))[1]
    for x in (*slopes, *second):
        np.testing.assert_array_equal(x, 0)


# ------------------------------------------------------------------------------- memory


def peak(function, *args):
    """Most bytes held at once above what there was, the result included."""
    tracemalloc.start()
    try:
        result = function(*args)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    del result
    return most


@both
@pytest.mark.parametrize("shape", [(16384, 16, 128), (4, 4096, 16, 128)])
def test_nothing_of_the_size_of_the_product_is_held_beside_the_result(name, shape):
    *lead, m, k, n = shape
    rng = np.random.default_rng(0)
    a = rng.normal(size=(*lead, m, k)).astype(np.float32)
    b = rng.normal(size=(*lead, k, n)).astype(np.float32)
    function, composition = pair(name)
    product = 4 * n * a.size // k
    assert peak(function, a, b) < 1.15 * product
    assert peak(composition, a, b) > 1.95 * product
    value, pullback = funcad.vjp(function, a, b)
    ct = np.ones_like(value)
    slopes = a.nbytes + b.nbytes
    assert peak(pullback, ct) < slopes + 0.5 * product
    assert peak(funcad.vjp(composition, a, b)[1], ct) > slopes / 2 + product


# ---------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("function", [nn.matmul_softmax, nn.matmul_layer_norm])
def test_what_does_not_fit_is_an_error_that_names_the_function_and_shapes(function):
    name = function.__name__
    with pytest.raises(ValueError, match=rf"{name}: shapes \(2, 3\) and \(2, 3\)"):
        function(np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match=rf"{name}.*\(2,\) and \(3,\)"):
        function(np.ones((2, 2, 3)), np.ones((3, 3, 3)))
    with pytest.raises(ValueError, match=rf"{name} over axis 1 .* \(2, 0\)"):
        function(np.ones((2, 3)), np.ones((3, 0)), axis=1)
    with pytest.raises(ValueError, match="out of bounds"):
        function(np.ones((2, 3)), np.ones((3, 2)), axis=2)
    with pytest.raises(ValueError, match="scalar|0-d|dimension"):
        function(2.0, np.ones((3, 2)))


def test_a_scale_that_does_not_fit_is_an_error_that_names_the_shape_to_give():
    a, b = np.ones((2, 3)), np.ones((3, 4))
    message = r"matmul_layer_norm: its scale has shape \(3,\).*shape \(4,\)"
    with pytest.raises(ValueError, match=message):
        nn.matmul_layer_norm(a, b, np.ones(3))
    with pytest.raises(ValueError, match=r"its bias has shape \(2, 4\)"):
        nn.matmul_layer_norm(a, b, None, np.ones((2, 4)))


def test_the_tangent_is_linear_in_tangents_only():
    a, b = np.ones((2, 3)), np.ones((3, 4))
    (s,) = registry["matmul_softmax"](a, b, axis=(1,))
    tangent = registry["matmul_softmax_tangent"]

    def of_operand(b):
        return tangent(a, a, b, s, axis=(1,), wrt=(0,))

    with pytest.raises(funcad.errors.NonlinearError, match="the first 1 operands"):
        funcad.linear_transpose(of_operand, b)((s,))
