"""Operations of the user's own: what is saved, what is checked, what is recorded."""

from __future__ import annotations

import math
import weakref

import numpy as np
import pytest

import funcad
from funcad import errors, tape
from funcad.tape import Function, Tensor


def leaf(x, **options):
    return Tensor(x, requires_grad=True, **options)


class Exp(Function):
    @staticmethod
    def forward(ctx, x):
        # nothing that could be recorded, and a result that is saved
        y = Tensor(np.vectorize(math.exp, otypes=[float])(x.detach().numpy()))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


class Scaled(Function):
    """Several arguments, tensors and others, and several results."""

    seen: list = []

    @staticmethod
    def forward(ctx, x, factor, y, labels):
        ctx.save_for_backward(x, None, y)
        ctx.factor = factor
        Scaled.seen.append(ctx.needs_input_grad)
        return factor * x * y, x + y, np.arange(3)

    @staticmethod
    def backward(ctx, g, h, _):
        x, nothing, y = ctx.saved_tensors
        assert nothing is None
        return ctx.factor * y * g + h, None, ctx.factor * x * g + h, None


def test_backward_is_the_derivative_of_forward():
    x = np.array([0.5, 1.0])
    t = leaf(x)
    y = Exp.apply(t)
    assert repr(y.grad_fn) == "<Exp>"
    np.testing.assert_allclose(y.detach().numpy(), np.exp(x), rtol=1e-15)
    (np.sin(y) * y).sum().backward()
    want = funcad.grad(lambda x: np.sum(np.sin(np.exp(x)) * np.exp(x)))(x)
    np.testing.assert_allclose(t.grad.numpy(), want, rtol=1e-14)


def test_backward_is_differentiated_in_its_turn_through_saved_results_and_arguments():
    t = leaf(0.5)
    y = Exp.apply(t)
    for _ in range(4):
        (y,) = tape.grad(y, t, create_graph=True)
        assert y.item() == pytest.approx(np.exp(0.5), rel=1e-14)
    a, b = leaf(2.0), leaf(3.0)
    product, _, _ = Scaled.apply(a, 5.0, b, "labels")
    (da,) = tape.grad(product, a, create_graph=True)
    assert da.item() == 15.0 and tape.grad(da, b)[0].item() == 5.0


def test_several_results_and_arguments_that_are_no_tensors():
    Scaled.seen.clear()
    a, b = leaf(2.0), Tensor(3.0)
    product, total, numbers = Scaled.apply(a, 5.0, b, ["x"])
    assert Scaled.seen == [(True, False, False, False)]
    assert numbers.tolist() == [0, 1, 2] and not numbers.requires_grad
    assert (product.item(), total.item()) == (30.0, 5.0)
    (product + total).backward(retain_graph=True)
    assert a.grad.item() == 16.0
    # a result without a gradient has a gradient of zero
    assert tape.grad(total, a)[0].item() == 1.0


def test_a_function_is_walked_once_if_it_is_not_retained():
    t = leaf(0.5)
    y = Exp.apply(t)
    kept = weakref.ref(y.grad_fn.record[1])
    y.backward(retain_graph=True)
    y.backward()
    assert kept() is None
    with pytest.raises(errors.TapeError, match="retain_graph=True"):
        y.backward()
    assert t.grad.item() == pytest.approx(2 * np.exp(0.5))


def test_no_record_holds_itself():
    kept = weakref.ref(Exp.apply(leaf(0.5)).grad_fn.record[1])
    assert kept() is None


def test_forward_is_not_recorded_and_nothing_is_without_need():
    class Peek(Function):
        @staticmethod
        def forward(ctx, x):
            assert not tape.is_grad_enabled() and not (x * x).requires_grad
            return x * x

    assert Peek.apply(Tensor(2.0)).grad_fn is None
    with tape.no_grad():
        assert Peek.apply(leaf(2.0)).grad_fn is None
    y = Peek.apply(leaf(2.0))
    with pytest.raises(NotImplementedError, match="static method backward"):
        y.backward()
    with pytest.raises(NotImplementedError, match="static method forward"):
        Function.apply(1.0)


def test_saved_tensors_are_those_of_the_call_whatever_is_done_with_them_later():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return 2 * ctx.saved_tensors[0] * g

    x = leaf(3.0)
    y = Square.apply(x)
    with tape.no_grad():
        x += 100.0
    y.backward()
    assert x.grad.item() == 6.0


def test_an_argument_may_be_the_result():
    class Reverse(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x

        @staticmethod
        def backward(ctx, g):
            assert ctx.saved_tensors[0].item() == 2.0
            return -g

    x = leaf(2.0)
    y = Reverse.apply(x)
    assert y is not x
    y.backward()
    assert x.grad.item() == -1.0


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda g: (g, g), "returned 2 gradients, and forward takes 1"),
        (lambda g: g[None], r"float64\[1\] as the gradient of argument 0.*float64\[\]"),
        (lambda g: g.astype(np.float32), "float32"),
    ],
)
def test_gradients_that_do_not_fit_are_refused(returned, message):
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return returned(g)

    with pytest.raises(errors.CustomRuleError, match=message):
        Wrong.apply(leaf(1.0)).backward()


@pytest.mark.parametrize("result", [None, "text", [1.0], {"a": 1.0}])
def test_results_are_tensors_or_arrays(result):
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return result

    with pytest.raises(errors.CustomRuleError, match=r"Wrong\.forward returned"):
        Wrong.apply(leaf(1.0))


def test_only_tensors_are_saved_for_backward():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x, 3.0)
            return x

    with pytest.raises(TypeError, match="numbered 1 is of type float"):
        Wrong.apply(leaf(1.0))


def test_a_function_inside_of_a_transform_says_what_to_use():
    with pytest.raises(errors.UnsupportedFunctionError, match="custom_vjp"):
        funcad.grad(Exp.apply)(1.0)


def test_a_zero_gradient_may_be_left_out():
    class Constant(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 0

        @staticmethod
        def backward(ctx, g):
            return None

    x = leaf(1.0)
    (Constant.apply(x) + x).backward()
    assert x.grad.item() == 1.0


def test_a_graph_shows_functions_and_cannot_be_run_on_other_values():
    x = leaf(1.0)
    graph = (Exp.apply(x) * x).graph()
    assert "Exp" in str(graph)
    assert "Exp" in str(graph.draw("python"))
    with pytest.raises(errors.TapeError, match="Exp"):
        graph(2.0)
    product, total, _ = Scaled.apply(x, 5.0, x, None)
    assert len((product * total).graph().equations) == 2


@pytest.mark.parametrize(
    "returned",
    [lambda g: [g, 2 * g], lambda g: (g, 2 * g, None), lambda g: [g, 2 * g, None]],
)
def test_gradients_may_be_a_list_and_those_of_defaults_none(returned):
    class Weighted(Function):
        @staticmethod
        def forward(ctx, x, y, factor=2):
            return x + factor * y

        @staticmethod
        def backward(ctx, g):
            return returned(g)

    x, y = leaf(1.0), leaf(1.0)
    Weighted.apply(x, y).backward()
    assert x.grad == 1.0 and y.grad == 2.0
