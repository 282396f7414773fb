"""Tensors: what they are made of, how they look, what may be done with them."""

from __future__ import annotations

import copy
import pickle
import warnings
import weakref

import numpy as np
import pytest

import funcad
import funcad.numpy as fnp
from funcad import errors, nn, tape
from funcad.tape import Tensor


def leaf(x, **options):
    return Tensor(x, requires_grad=True, **options)


def gradient(y, x):
    (found,) = tape.grad(y, x)
    return found.numpy()


# ---------------------------------------------------------------------- construction


def test_a_tensor_is_a_copy_so_that_later_writes_into_the_array_do_not_reach_it():
    array = np.array([1.0, 2.0])
    t = leaf(array)
    y = (t * t).sum()
    array[:] = 100.0
    y.backward()
    np.testing.assert_array_equal(t.grad.numpy(), [2.0, 4.0])
    np.testing.assert_array_equal(t.detach().numpy(), [1.0, 2.0])


@pytest.mark.parametrize(
    ("x", "dtype"),
    [
        (1.5, "float64"),
        (2, "int64"),
        (True, "bool"),
        (1j, "complex128"),
        ([[1, 2], [3, 4]], "int64"),
        (np.float32(1), "float32"),
        (np.zeros((2, 0), np.float16), "float16"),
    ],
)
def test_a_tensor_has_the_shape_and_dtype_that_numpy_gives(x, dtype):
    t = Tensor(x)
    assert t.shape == np.shape(x) and t.dtype == dtype
    assert t.ndim == np.ndim(x) and t.size == np.size(x)
    np.testing.assert_array_equal(np.asarray(t), x)


def test_a_dtype_can_be_asked_for():
    t = leaf([1, 2], dtype=np.float32)
    assert t.dtype == np.float32
    assert (t * 2.5).dtype == np.float32


@pytest.mark.parametrize("x", ["text", None, object(), {"a": 1}, [1, "b"]])
def test_what_is_no_array_of_numbers_makes_no_tensor(x):
    with pytest.raises(errors.LeafTypeError, match="makes an array of dtype"):
        Tensor(x)


@pytest.mark.parametrize("x", [1, True, [1, 2], np.arange(3)])
def test_integers_cannot_require_a_gradient(x):
    with pytest.raises(errors.InputDtypeError, match=r"dtype=float\)"):
        leaf(x)
    with pytest.raises(errors.InputDtypeError):
        Tensor(x).requires_grad_()


def test_a_list_of_tensors_is_stacked_and_not_made_a_tensor():
    a, b = leaf(1.0), leaf(2.0)
    with pytest.raises(errors.DerivativeLossError, match=r"np\.stack\(\[t, u\]\)"):
        Tensor([a, b])
    np.testing.assert_array_equal(gradient((np.stack([a, b]) * [3.0, 4.0]).sum(), b), 4)


@pytest.mark.parametrize("transform", [funcad.grad, funcad.vmap, funcad.jit])
def test_no_tensor_is_made_of_what_a_transform_computes_with(transform):
    f = transform(lambda x: np.sum(leaf(x)))
    with pytest.raises(errors.DerivativeLossError, match="outside of the transformed"):
        f(np.ones(3))


def test_a_tensor_of_a_tensor_is_detached():
    assert not Tensor(leaf(1.0)).requires_grad


# ---------------------------------------------------------------------------- values


def test_numpy_gives_a_read_only_view():
    t = Tensor([1.0, 2.0])
    with pytest.raises(ValueError, match="read-only"):
        t.numpy()[0] = 5.0
    assert np.shares_memory(t.numpy(), t.numpy())
    assert isinstance(Tensor(1.0).numpy(), np.ndarray)


def test_numpy_of_a_tensor_that_requires_a_gradient_says_to_detach_it():
    t = leaf([1.0, 2.0])
    for convert in (lambda: t.numpy(), lambda: np.asarray(t), lambda: np.array([t])):
        with pytest.raises(errors.DerivativeLossError, match=r"t\.detach\(\)\.numpy"):
            convert()
    np.testing.assert_array_equal(t.detach().numpy(), [1.0, 2.0])
    np.testing.assert_array_equal(t.array, [1.0, 2.0])


def test_arrays_of_another_library_stay_there():
    import backend_double  # noqa: F401

    library = funcad.backends.backend_called("double")
    t = leaf(library.from_host(np.array([1.0, 2.0])))
    np.sum(np.exp(t) * t).backward()
    assert type(t.grad.array) is type(library.from_host(np.ones(2)))
    with pytest.raises(errors.DeviceError, match="device_put"):
        t.detach().numpy()
    # what could be written into is a copy
    t.array[0] = 7.0
    assert t[0].item() == 1.0
    assert repr(t) == "Tensor([1., 2.], requires_grad=True)"
    with pytest.raises(errors.MixedBackendsError):
        t + np.ones(2)


def test_item_and_tolist_are_plain_values():
    t = leaf([[1.0, 2.0]])
    assert t.item(0, 1) == 2.0 and type(t[0, 0].item()) is float
    assert t.tolist() == [[1.0, 2.0]]
    with pytest.raises(ValueError, match="size 1"):
        t.item()


def test_numbers_of_python_are_made_only_where_no_gradient_is_lost():
    assert (float(Tensor(2.0)), int(Tensor(2)), complex(Tensor(2.0))) == (2.0, 2, 2)
    assert [10, 20][Tensor(1)] == 20
    assert f"{leaf(2.0):.2f}" == "2.00"
    for kind in (float, int, complex):
        with pytest.raises(errors.DerivativeLossError, match=r"t\.item\(\)"):
            kind(leaf(2.0))


def test_python_branches_on_values():
    t = leaf(2.0)
    assert t > 1 and not t < 1 and bool(t)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(leaf([1.0, 2.0]))


@pytest.mark.parametrize(
    ("t", "text"),
    [
        (Tensor([1.0, 2.0]), "Tensor([1., 2.])"),
        (leaf(2.0), "Tensor(2.0, requires_grad=True)"),
        (Tensor(np.float32(2)), "Tensor(2.0, dtype=float32)"),
        (leaf(2.0) * 3, "Tensor(6.0, grad_fn=<multiply>)"),
        (Tensor(True), "Tensor(True)"),
        (leaf([[1.0], [2.0]]), "Tensor([[1.],\n        [2.]], requires_grad=True)"),
    ],
)
def test_a_tensor_shows_its_value_and_where_it_comes_from(t, text):
    assert repr(t) == text


def test_tensors_are_told_apart_by_identity_in_sets_and_dictionaries():
    a, b = leaf(1.0), leaf(1.0)
    assert len({a, b, a}) == 2


# ------------------------------------------------------------------- detached, copied


def test_a_detached_tensor_is_a_constant():
    t = leaf(3.0)
    assert t.detach().grad_fn is None and not t.detach().requires_grad
    assert gradient(t * t.detach(), t) == 3.0
    assert gradient(t * t.data, t) == 3.0


def test_a_copy_of_a_leaf_is_a_leaf_of_its_own():
    t = leaf([1.0, 2.0])
    (t * t).sum().backward()
    for copied in (copy.copy(t), copy.deepcopy(t)):
        assert copied is not t and copied.requires_grad and copied.is_leaf
        np.testing.assert_array_equal(copied.grad.numpy(), t.grad.numpy())
        with tape.no_grad():
            copied += 1
        copied.grad *= 2
    np.testing.assert_array_equal(t.detach().numpy(), [1.0, 2.0])
    np.testing.assert_array_equal(t.grad.numpy(), [2.0, 4.0])
    again = pickle.loads(pickle.dumps(t))
    assert again.requires_grad and again.tolist() == [1.0, 2.0]


def test_two_names_of_a_tensor_are_one_in_a_deep_copy_too():
    t = leaf(1.0)
    first, second = copy.deepcopy([t, t])
    assert first is second is not t


def test_what_was_computed_cannot_be_copied_deeply():
    for do in (copy.deepcopy, pickle.dumps):
        with pytest.raises(errors.TapeError, match=r"t\.detach\(\)"):
            do(leaf(1.0) * 2)


# -------------------------------------------------------------------------- in place


def test_a_leaf_that_requires_a_gradient_is_not_updated_while_it_is_recorded():
    t = leaf([1.0, 2.0])
    with pytest.raises(errors.MutationError, match=r"with no_grad\(\):"):
        t += 1
    with pytest.raises(errors.MutationError, match=r"t\.copy_"):
        t.copy_([0.0, 0.0])
    assert t.tolist() == [1.0, 2.0] and t.is_leaf


@pytest.mark.parametrize("make", [Tensor, leaf])
def test_entries_are_not_assigned(make):
    t = make([1.0, 2.0])
    with pytest.raises(errors.MutationError, match=r"fnp\.at\(t\)\[i\]\.set\(v\)"):
        t[0] = 5.0
    with pytest.raises(errors.MutationError):
        t[0] += 5.0
    assert t.tolist() == [1.0, 2.0]
    assert fnp.at(t)[0].set(5.0).tolist() == [5.0, 2.0]


def test_updates_without_recording_keep_the_leaf():
    t = leaf([1.0, 2.0])
    before = t.detach()
    with tape.no_grad():
        t -= 0.5
        t *= np.array([2.0, 4.0])
        t /= 2
        t.sub_(1.0).mul_(2.0).add_(0.5).div_(0.5)
    assert t.tolist() == [-1.0, 9.0]
    assert t.is_leaf and t.requires_grad
    assert before.tolist() == [1.0, 2.0]
    t.data -= 1
    assert t.tolist() == [-2.0, 8.0] and t.is_leaf
    t.data = [0.0, 1.0]
    assert t.tolist() == [0.0, 1.0] and t.requires_grad


def test_an_update_leaves_the_derivatives_of_what_was_computed_before():
    t = leaf(3.0)
    y = t * t
    with tape.no_grad():
        t += 100.0
    y.backward()
    assert t.grad.item() == 6.0


def test_a_sum_may_be_built_up_in_place():
    x = leaf(2.0)
    for total in (0.0, Tensor(0.0), x * 0):
        for k in range(1, 4):
            total += k * x
        assert gradient(total, x) == 6.0


def test_a_value_that_is_copied_brings_its_derivative_along():
    x, t = leaf(2.0), Tensor(0.0)
    y = x * x
    assert y.copy_(3 * x) is y and gradient(y, x) == 3.0
    assert gradient(t.copy_(x * x), x) == 4.0
    assert not y.copy_(5.0).requires_grad and y.item() == 5.0
    with tape.no_grad():
        assert x.copy_(7.0) is x
    assert x.is_leaf and x.item() == 7.0


def test_an_operation_in_place_is_seen_through_every_name_of_the_tensor():
    x = leaf(2.0)
    y = z = x * x
    z *= x
    assert y is z and y.item() == 8.0
    assert gradient(y, x) == 12.0


def test_operations_in_place_keep_shape_and_dtype():
    t = Tensor([1.0, 2.0])
    with pytest.raises(errors.MutationError, match="shape"):
        t += np.ones((3, 2))
    with pytest.raises(errors.MutationError, match="complex128"):
        t *= 1j
    single = Tensor([1.0], dtype=np.float32)
    single += np.ones(1)
    assert single.dtype == np.float32
    for value in ([1.0], [1, 2]):
        with pytest.raises(ValueError, match=r"\.data = .*shapes and dtypes"):
            t.data = value


def test_writable_arrays_that_meet_a_tensor_are_copied():
    buffer, t = np.array([1.0, 2.0]), leaf([3.0, 4.0])
    y = (t * buffer).sum()
    buffer[:] = -1.0
    assert gradient(y, t).tolist() == [1.0, 2.0]
    rows, table = np.array([0, 0]), leaf([5.0, 6.0])
    y = table[rows].sum()
    rows[:] = 1
    assert gradient(y, table).tolist() == [2.0, 0.0]


def test_an_array_is_not_written_into_by_way_of_tensors():
    array = np.zeros(2)
    with pytest.raises(errors.UnsupportedArgumentError):
        array += leaf([1.0, 2.0])
    with pytest.raises((TypeError, ValueError)):
        array[0] = leaf(1.0)
    with pytest.raises(errors.UnsupportedArgumentError):
        np.add(leaf([1.0, 2.0]), 1.0, out=array)
    assert array.tolist() == [0.0, 0.0]


# ------------------------------------------------------------------- what is recorded


def test_what_depends_on_no_gradient_is_not_recorded():
    t = Tensor(2.0)
    assert (t * t).grad_fn is None
    x = leaf(2.0)
    for constant in (x > 1, np.argmax(x), np.sign(x).astype(int), x.detach() * 2):
        assert not constant.requires_grad and constant.is_leaf
    assert not np.floor(x).requires_grad
    assert not funcad.stop_gradient(x).requires_grad


def test_nothing_is_recorded_without_recording():
    x = leaf(2.0)
    with tape.no_grad():
        assert not (x * x).requires_grad
        assert not tape.is_grad_enabled()
        with tape.enable_grad():
            assert (x * x).requires_grad
        assert not tape.is_grad_enabled()
    assert tape.is_grad_enabled()

    @tape.no_grad()
    def f():
        return x * x

    assert not f().requires_grad
    with pytest.raises(ZeroDivisionError), tape.no_grad():
        raise ZeroDivisionError
    assert tape.is_grad_enabled()


def test_a_leaf_can_begin_and_cease_to_require_a_gradient():
    t = Tensor(2.0)
    assert t.requires_grad_() is t and t.requires_grad and t.is_leaf
    t.requires_grad = False
    assert not (t * t).requires_grad
    with pytest.raises(errors.TapeError, match=r"t = t\.detach\(\)"):
        (leaf(2.0) * 2).requires_grad = False


def test_the_gradient_can_be_set_and_forgotten():
    t = leaf([1.0, 2.0])
    assert t.grad is None
    t.grad = np.array([1.0, 1.0])
    t.sum().backward()
    assert t.grad.tolist() == [2.0, 2.0]
    t.zero_grad_()
    assert t.grad is None
    for wrong in ([1.0], [1, 2]):
        with pytest.raises(errors.TangentMismatchError):
            t.grad = wrong
    with pytest.raises(errors.TapeError, match="does not require a gradient"):
        Tensor(1.0).grad = 1.0
    Tensor(1.0).zero_grad_()


def test_reading_the_gradient_of_a_value_on_the_way_warns_that_it_is_not_kept():
    y = leaf(2.0) * 3
    with pytest.warns(UserWarning, match="retain_grad"):
        assert y.grad is None
    y.retain_grad()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert y.grad is None
        (y * y).backward()
        assert y.grad.item() == 12.0


# -------------------------------------------------------------- functions and methods


@pytest.mark.parametrize(
    ("method", "function"),
    [
        (lambda t: t.exp(), np.exp),
        (lambda t: t.log(), np.log),
        (lambda t: t.sqrt(), np.sqrt),
        (lambda t: t.tanh(), np.tanh),
        (lambda t: t.sin(), np.sin),
        (lambda t: t.square(), np.square),
        (lambda t: t.pow(3), lambda x: x**3),
        (lambda t: t.matmul(t.T), lambda x: x @ x.T),
        (lambda t: t.relu(), nn.relu),
        (lambda t: t.sigmoid(), nn.sigmoid),
        (lambda t: t.softmax(axis=0), lambda x: nn.softmax(x, axis=0)),
        (lambda t: t.log_softmax(), nn.log_softmax),
        (lambda t: t.abs(), np.abs),
        (lambda t: t.maximum(1.0), lambda x: np.maximum(x, 1.0)),
        (lambda t: t.reshape(-1)[1:], lambda x: x.reshape(-1)[1:]),
        (lambda t: t.sum(dim=1, keepdim=True), lambda x: x.sum(1, keepdims=True)),
        (lambda t: t.mean(dim=0), lambda x: x.mean(0)),
        (lambda t: t.softmax(dim=0), lambda x: nn.softmax(x, axis=0)),
        (lambda t: t.logsumexp(dim=1), lambda x: nn.logsumexp(x, axis=1)),
        (
            lambda t: t.view(-1)[:3].view(3, 1),
            lambda x: x.reshape(-1)[:3].reshape(3, 1),
        ),
        (lambda t: t.permute(1, 0).unsqueeze(1), lambda x: x.T[:, None]),
        (lambda t: 2 - t / 3, lambda x: 2 - x / 3),
        (lambda t: t.sum(axis=1, keepdims=True), lambda x: x.sum(1, keepdims=True)),
    ],
)
def test_methods_are_the_functions_of_the_same_name(method, function):
    x = np.array([[1.5, 0.5], [2.0, 0.25]])
    t = leaf(x)
    y = method(t)
    np.testing.assert_allclose(y.detach().numpy(), np.asarray(function(x)), rtol=1e-15)
    want = funcad.grad(lambda x: np.sum(np.sin(function(x))))(x)
    np.testing.assert_allclose(gradient(np.sum(np.sin(y)), t), want, rtol=1e-13)


def test_sizes_and_positions_have_pytorchs_names_too():
    t = Tensor([[1.0, 3.0, 2.0]])
    assert (t.dim(), t.numel()) == (2, 3)
    assert t.argmax(dim=1).tolist() == [1]
    with pytest.raises(errors.UnsupportedFunctionError, match="bytes"):
        t.view(np.int64)


def test_arrays_on_either_side_make_tensors():
    x, t = np.array([1.0, 2.0]), leaf([3.0, 4.0])
    for y in (x + t, t + x, x @ t, np.dot(x, t), x * t, np.multiply(x, t), [1, 2] * t):
        assert isinstance(y, Tensor) and y.requires_grad
    assert [v.item() for v in t] == [3.0, 4.0] and len(t) == 2


# ----------------------------------------------------------------------- transforms

X, W = np.array([0.5, -1.0, 2.0]), np.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    "f",
    [
        funcad.jit(lambda w, x: np.sum(np.sin(w) * x)),
        funcad.checkpoint(lambda w, x: np.sum(np.sin(w) * x)),
        lambda w, x: funcad.jit(lambda x: np.sum(np.sin(w) * x))(x),
        lambda w, x: funcad.vmap(lambda a, b: np.sin(a) * b)(w, x).sum(),
        lambda w, x: funcad.vmap(lambda b: np.sum(np.sin(w)) * b)(x)[1],
        lambda w, x: funcad.lax.scan(lambda c, a: (c * np.sin(a), c), 1.0, w)[0],
        lambda w, x: funcad.lax.cond(x[0] > 0, np.sum, np.prod, w * w),
        lambda w, x: funcad.grad(lambda x: np.sum(w**3 * x**2))(x)[0],
        lambda w, x: np.sum(funcad.grad(lambda w: np.sum(w**3 * x))(w) * x),
        lambda w, x: funcad.jvp(lambda w: np.sum(w**3), (w,), (x,))[1],
        lambda w, x: np.sum(funcad.hvp(lambda w: np.sum(w**4), (w,), (x,))),
        lambda w, x: np.sum(funcad.jacrev(np.sin)(w) @ x),
        lambda w, x: np.sum(funcad.linearize(lambda w: w**3, w)[1](x)),
    ],
)
def test_what_transformed_functions_compute_of_tensors_is_recorded(f):
    t = leaf(W)
    want, second = funcad.grad(f)(W, X), funcad.hvp(lambda w: f(w, X), (W,), (X,))
    (first,) = tape.grad(f(t, X), t, create_graph=True)
    np.testing.assert_allclose(first.detach().numpy(), want, rtol=1e-12)
    got = tape.grad(first @ X, t)[0].numpy() if first.requires_grad else 0 * second
    np.testing.assert_allclose(got, second, rtol=1e-10, atol=1e-12)


def test_custom_rules_hold_for_tensors_and_python_branches_in_them_run():
    @funcad.custom_vjp
    def f(x):
        return x**3 if np.all(x > 0) else x

    f.defvjp(lambda x: (f(x), x), lambda x, ct: (10 * x * ct,))
    g = funcad.custom_jvp(lambda x: x**3 if x[0] > 0 else x)
    g.defjvp(lambda xs, ts: (g(*xs), 10 * xs[0] * ts[0]))
    for function in (f, g):
        t = leaf(W)
        (first,) = tape.grad(np.sum(function(t)), t, create_graph=True)
        assert first.tolist() == [10.0, 20.0, 30.0]
        assert tape.grad(first.sum(), t)[0].tolist() == [10.0] * 3
        assert not function(Tensor(W)).requires_grad


def test_a_custom_rule_does_not_bypass_a_tensor_that_its_function_closes_over():
    t = leaf(2.0)
    f = funcad.custom_vjp(lambda x: x * t)
    f.defvjp(lambda x: (f(x), None), lambda _, ct: (ct,))
    for x in (1.0, Tensor(1.0), leaf(1.0)):
        with pytest.raises(errors.CustomRuleError, match="closes over"):
            f(x)


def test_a_function_of_tensors_can_be_staged_when_they_are_constants():
    t = leaf(W)
    program = funcad.make_program(lambda x: np.sum(x * t))(X)
    (y,) = program(X)
    assert gradient(y, t).tolist() == X.tolist()


def test_tensors_are_leaves_of_pytrees():
    t = leaf(1.0)
    doubled = funcad.tree.map(lambda x: 2 * x, {"a": [t], "b": 3.0})
    assert gradient(doubled["a"][0], t) == 2.0


def test_formats_of_numbers_are_for_numbers():
    assert f"{leaf(1.25):.1f} {Tensor([1.0])}" == "1.2 Tensor([1.])"
    with pytest.raises(TypeError, match=r"'.1f' is for numbers.*float64\[1\]"):
        f"{leaf([1.25]):.1f}"


# ------------------------------------------------------------ names that PyTorch adds

CUBE = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda t: t.transpose(1, 2), CUBE.swapaxes(1, 2)),
        (lambda t: t.transpose(-1, 0), CUBE.swapaxes(-1, 0)),
        (lambda t: t.transpose(dim0=0, dim1=1), CUBE.swapaxes(0, 1)),
        (lambda t: t.transpose((1, 0, 2)), CUBE.transpose(1, 0, 2)),
        (lambda t: t.transpose(1, 0, 2), CUBE.transpose(1, 0, 2)),
        (lambda t: t.transpose(), CUBE.T),
        (lambda t: t[0].transpose(0, 1), CUBE[0].T),
        (lambda t: t[0].t(), CUBE[0].T),
        (lambda t: t.permute((2, 0, 1)), CUBE.transpose(2, 0, 1)),
        (lambda t: t.permute(-1, 0, 1), CUBE.transpose(2, 0, 1)),
        (lambda t: t.flatten(), CUBE.reshape(-1)),
        (lambda t: t.flatten(1), CUBE.reshape(2, -1)),
        (lambda t: t.flatten(0, -2), CUBE.reshape(6, 4)),
        (lambda t: t.flatten(order="F"), CUBE.flatten("F")),
        (lambda t: t[0, 0, 0].flatten(), CUBE[0, 0, :1]),
        (lambda t: t[:, :1].expand(5, -1, 3, 4), np.tile(CUBE[:, :1], (5, 1, 3, 1))),
        (lambda t: t[:, :1].expand((2, 3, -1)), np.tile(CUBE[:, :1], (1, 3, 1))),
        (lambda t: t.unsqueeze(dim=-2), CUBE[:, :, None]),
        (lambda t: t[:1].squeeze(dim=0), CUBE[0]),
        (lambda t: t.sum(1, True), CUBE.sum(1, keepdims=True)),
        (lambda t: t.mean((0, 2), True), CUBE.mean((0, 2), keepdims=True)),
        (lambda t: t.clamp(min=2.5, max=7.5), CUBE.clip(2.5, 7.5)),
        (lambda t: t.clamp(max=7.5), CUBE.clip(None, 7.5)),
        (lambda t: t.add(1).sub(2).mul(3).div(4).neg(), -(CUBE - 1) * 3 / 4),
        (
            lambda t: t.transpose(0, 1).contiguous().view(-1),
            CUBE.swapaxes(0, 1).ravel(),
        ),
    ],
)
def test_methods_have_pytorchs_meaning_and_a_gradient(f, expected):
    t = leaf(CUBE)
    y = f(t)
    np.testing.assert_array_equal(y.detach().numpy(), expected)
    weight = np.random.default_rng(0).normal(size=y.shape)
    v = np.random.default_rng(1).normal(size=CUBE.shape)
    h = 1e-3  # these functions are piecewise linear
    change = f(Tensor(CUBE + h * v)) - f(Tensor(CUBE))
    np.testing.assert_allclose(
        np.vdot(gradient((y * weight).sum(), t), v),
        np.vdot(weight, change.numpy()) / h,
        rtol=1e-9,
    )


@pytest.mark.parametrize(
    ("misuse", "error", "message"),
    [
        (lambda t: t.t(), ValueError, r"float64\[2,3,4\].*t\.transpose"),
        (lambda t: t.transpose(0, 3), ValueError, "axis 3 is out of bounds"),
        (lambda t: t.flatten(2, 1), ValueError, "start_dim=2 comes after end_dim=1"),
        (lambda t: t.flatten(3), ValueError, "axis 3 is out of bounds"),
        (lambda t: t.expand(3, 4), ValueError, "broadcast"),
        (lambda t: t.sum(dim=0, axis=1), TypeError, "dim= or axis=.*given both"),
        (lambda t: t.zero_(), errors.MutationError, "is a leaf that requires"),
    ],
)
def test_methods_say_what_does_not_fit(misuse, error, message):
    with pytest.raises(error, match=message):
        misuse(leaf(CUBE))


def test_gradients_can_be_filled_with_zeros_in_place():
    t = leaf([1.0, 2.0])
    (t * t).sum().backward()
    t.grad.zero_()
    (t * t).sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), [2.0, 4.0])
    assert Tensor([1, 2]).fill_(7).tolist() == [7, 7]


# ----------------------------------------------------- .data, and leaves that freeze


def test_an_update_of_data_in_place_reaches_the_tensor():
    t = leaf([1.0, 2.0])
    y = (t * t).sum()
    t.data.add_(1.0).mul_(2.0)
    assert t.tolist() == [4.0, 6.0] and t.requires_grad and t.is_leaf
    t.data.copy_([7.0, 8.0])
    t.data -= 1.0
    assert t.tolist() == [6.0, 7.0]
    y.backward()
    assert t.grad.tolist() == [2.0, 4.0]


def test_data_that_is_kept_keeps_no_graph():
    y = (leaf(2.0) * 3).exp()
    value, record = y.data, weakref.ref(y)
    del y
    assert record() is None
    value += 1.0
    assert value.item() == np.exp(6.0) + 1.0


def test_an_old_data_is_not_updated_any_more():
    t = leaf([1.0, 2.0])
    old = t.data
    t.data -= 1.0
    with pytest.raises(errors.MutationError, match=r"Write t\.data anew"):
        old.add_(1.0)
    assert t.tolist() == [0.0, 1.0] and old.tolist() == [1.0, 2.0]


def test_a_leaf_that_is_frozen_for_a_while_is_the_same_leaf_afterwards():
    t = leaf(2.0)
    y = t * t
    (3 * t).backward()
    t.requires_grad = False
    assert not (t * t).requires_grad
    y.backward(retain_graph=True)
    assert t.grad == 3.0
    t.requires_grad = True
    y.backward()
    assert t.grad == 7.0
    t.requires_grad = False
    t.zero_grad_()
    assert t.grad is None and t.requires_grad_().grad is None


# ------------------------------------------------------------------------- recording


def test_recording_is_switched_by_decorators_too():
    @tape.no_grad
    def plain(x):
        return (x * x).requires_grad

    @tape.no_grad()
    def called(x):
        return (x * x).requires_grad, recorded(x)

    @tape.enable_grad
    def recorded(x):
        return (x * x).requires_grad

    assert plain.__name__ == "plain"
    assert plain(leaf(1.0)) is False
    assert called(leaf(1.0)) == (False, True)
    assert tape.is_grad_enabled()


def test_a_block_without_recording_can_be_entered_again():
    block = tape.no_grad()
    with block:
        with block:
            assert not tape.is_grad_enabled()
        assert not tape.is_grad_enabled()
    assert tape.is_grad_enabled()


def test_what_runs_after_its_call_cannot_be_decorated():
    def generator():
        yield

    async def asynchronous():
        pass

    for function in generator, asynchronous:
        with pytest.raises(errors.UnsupportedFunctionError, match="inside of it"):
            tape.no_grad()(function)
    with pytest.raises(TypeError, match=r"not 3.*with no_grad\(\)"):
        tape.no_grad(3)


def test_a_gradient_that_is_kept_is_that_of_the_value_after_an_update_in_place():
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    y += 1
    (y * y).backward()
    assert y.grad == 14.0 and x.grad == 42.0
    y.copy_(1.0)
    assert y.is_leaf and not y.requires_grad


# -------------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize("name", ["add_", "sub_", "mul_", "div_"])
@pytest.mark.parametrize("other", ["a", None])
def test_what_is_no_operand_is_refused_in_place(name, other):
    t = Tensor([1.0, 2.0])
    with pytest.raises(errors.LeafTypeError, match=f"of type {type(other).__name__}"):
        getattr(t, name)(other)


@pytest.mark.parametrize("name", ["max", "min", "std", "var"])
def test_methods_that_are_numpys_say_what_to_write_for_a_dim(name):
    t = Tensor([[1.0, 2.0], [3.0, 5.0]])
    with pytest.raises(TypeError, match=rf"Write t\.{name}\(axis=0"):
        getattr(t, name)(dim=0)
    with pytest.raises(TypeError, match=rf"^{name}\(\) "):
        getattr(t, name)(axis=0, colour=1)


def test_methods_are_called_by_their_names_where_arguments_do_not_fit():
    t = Tensor([[2.0, 1.0]])
    for attempt, name in [
        (lambda: t.unsqueeze(), "unsqueeze"),
        (lambda: t.dim(3), "dim"),
        (lambda: t.clamp(1, 2, 3), "clamp"),
        (lambda: t.permute(0, 1, order=2), "permute"),
    ]:
        with pytest.raises(TypeError, match=rf"^{name}\(\) "):
            attempt()
    assert t.argsort(dim=1).tolist() == [[1, 0]]


def _set(name):
    setattr(leaf([1.0, 2.0]), name, "a")


def _with_hook():
    x = leaf(1.0)
    x.register_hook(lambda g: "a")
    (x * x).backward()


class _ReturnsText(tape.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return "a"


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        (lambda: (leaf(1.0) * 2).backward("a"), "backward: the gradient of the tensor"),
        (lambda: _set("grad"), r"\.grad = \.\.\.: the value"),
        (lambda: _set("data"), r"\.data = \.\.\.: the value"),
        (lambda: Tensor(1.0).copy_("a"), r"t\.copy_\(u\): u"),
        (_with_hook, "backward: the result of a hook"),
        (lambda: _ReturnsText.apply(leaf(1.0)).backward(), r"_ReturnsText\.backward"),
        (lambda: tape.grad(*[leaf(1.0)] * 2, "a"), r"grad: the gradient of outputs"),
        (lambda: Tensor("a"), r"Tensor\(x\): x"),
        (lambda: tape.Parameter("a"), r"Parameter\(x\): x"),
    ],
)
def test_what_is_no_tensor_is_called_what_the_user_calls_it(attempt, said):
    with pytest.raises(errors.LeafTypeError, match=f"^{said}.* is 'a' of type str"):
        attempt()


@pytest.mark.parametrize("flag", ["no", 1, None])
@pytest.mark.parametrize(
    ("attempt", "name"),
    [
        (lambda flag: Tensor(1.0, requires_grad=flag), "requires_grad"),
        (lambda flag: Tensor(1.0).requires_grad_(flag), "requires_grad"),
        (lambda flag: tape.Parameter(1.0, flag), "requires_grad"),
        (lambda flag: tape.Module().train(flag), "mode"),
        (lambda flag: tape.Module().requires_grad_(flag), "requires_grad"),
        (lambda flag: tape.Module().load_state_dict({}, flag), "strict"),
        (lambda flag: leaf(1.0).backward(create_graph=flag), "create_graph"),
        (lambda flag: tape.grad(*[leaf(1.0)] * 2, allow_unused=flag), "allow_unused"),
    ],
)
def test_what_is_neither_true_nor_false_is_no_flag(attempt, name, flag):
    with pytest.raises(TypeError, match=f"{name} is True or False, and {flag!r} of"):
        attempt(flag)
    for flag in True, np.bool_(False):
        attempt(flag)


def test_whether_a_graph_is_retained_is_true_false_or_left_open():
    with pytest.raises(TypeError, match="retain_graph is True or False, and 'no'"):
        leaf(1.0).backward(retain_graph="no")
    leaf(1.0).backward(retain_graph=None)
