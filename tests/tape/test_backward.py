"""Walking backwards: shared values, long chains, memory, hooks, threads, misuse."""

from __future__ import annotations

import gc
import sys
import threading
import time
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import funcad
from funcad import errors, tape
from funcad.tape import Tensor


def leaf(x, **options):
    return Tensor(x, requires_grad=True, **options)


def chain(x, length):
    """A value that is ``length`` operations away, and 1.0 times as large."""
    for _ in range(length // 2):
        x = -x
        x = x * -1.0
    return x


# ---------------------------------------------------------------------- shared values


def test_gradients_add_up_over_all_uses_of_a_tensor():
    x = leaf(3.0)
    (x * x + x * 2 + x).backward()
    assert x.grad.item() == 9.0


def test_a_diamond_is_walked_once_and_each_operation_after_all_that_use_it():
    x = leaf(2.0)
    y = x * x
    seen = []
    y.register_hook(lambda g: seen.append(g.item()))
    (np.exp(y) * 0 + y * y + 3 * y).backward()
    assert seen == [11.0]
    assert x.grad.item() == 44.0


def test_a_tower_of_diamonds_takes_as_many_steps_as_it_has_operations():
    x = y = leaf(1.0)
    for _ in range(60):
        y = (y + y) * 0.5
    y.backward()  # 2**60 paths
    assert x.grad.item() == 1.0


def test_gradients_accumulate_over_calls_until_they_are_forgotten():
    x = leaf([1.0, 2.0])
    for k in range(1, 4):
        (x * x).sum().backward()
        assert x.grad.tolist() == [2.0 * k, 4.0 * k]
    first = x.grad
    x.zero_grad_()
    (3 * x).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    assert first.tolist() == [6.0, 12.0]


def test_a_leaf_itself_can_be_walked_back_from():
    x = leaf(2.0)
    x.backward(5.0)
    x.backward()
    assert x.grad.item() == 6.0


def test_several_results_of_one_operation_each_get_their_gradient():
    a = np.array([[2.0, 1.0], [1.0, 3.0]])
    x = leaf(a)
    values, vectors = np.linalg.eigh(x)
    (values.sum() + vectors[0, 0] * 0.0 + 2 * values[1]).backward()
    want = funcad.grad(lambda a: np.linalg.eigh(a)[0] @ np.array([1.0, 3.0]))(a)
    np.testing.assert_allclose(x.grad.numpy(), want, rtol=1e-14)
    # only one of the two
    assert tape.grad(np.linalg.eigh(x)[1][0, 0], x)[0].shape == (2, 2)


# ------------------------------------------------------------------------ long chains


def test_a_chain_of_fifty_thousand_operations_is_recorded_walked_and_freed():
    x = leaf(1.0)
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(len_of_stack() + 60)
        y = chain(x, 50_000)
        y.backward()
        assert x.grad.item() == 1.0
        z = chain(x, 50_000)
        del y, z  # walked, and not
        gc.collect()
    finally:
        sys.setrecursionlimit(limit)


def len_of_stack():
    frame, length = sys._getframe(), 0
    while frame is not None:
        frame, length = frame.f_back, length + 1
    return length


def test_a_long_chain_is_freed_in_a_thread_with_a_small_stack():
    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=lambda: chain(leaf(1.0), 20_000))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)


def test_time_grows_as_the_number_of_operations_does():
    def seconds(length):
        best = np.inf
        for _ in range(2):
            x = leaf(1.0)
            start = time.process_time()
            chain(x, length).backward()
            best = min(best, time.process_time() - start)
        return best

    seconds(100)
    # ten times as much if it is linear, a hundred times if it is quadratic
    assert seconds(20_000) < 35 * seconds(2_000)


# ----------------------------------------------------------------------------- memory


def test_memory_is_given_back_on_the_way_and_the_result_stays():
    x = leaf(np.ones(100_000))
    size = x.nbytes

    def loss():
        y = x
        for _ in range(10):
            y = np.sin(y)
        return y.sum()

    loss().backward()
    x.zero_grad_()
    gc.collect()
    tracemalloc.start()
    try:
        start = tracemalloc.get_traced_memory()[0]
        y = loss()
        recorded = tracemalloc.get_traced_memory()[0] - start
        tracemalloc.reset_peak()
        y.backward()
        after, peak = (m - start for m in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    assert 10 * size <= recorded < 11 * size
    # the gradient alone is left, though y is still there
    assert y.item() and size <= after < 1.5 * size
    # and no more than a few arrays were there at once besides what was recorded
    assert peak < recorded + 5 * size


def test_what_is_recorded_is_freed_with_the_last_tensor_that_needs_it():
    x = leaf(np.ones(3))
    y = np.exp(x) * 2
    kept = weakref.ref(y._node.record[1][0])
    assert kept() is not None
    del y
    assert kept() is None  # by counting references, without the collector


def test_retained_graphs_are_kept():
    x = leaf(2.0)
    y = np.exp(x * x)
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    assert x.grad.item() == pytest.approx(8 * np.exp(4))
    y.backward()
    with pytest.raises(errors.TapeError, match="retain_graph=True"):
        y.backward()
    assert x.grad.item() == pytest.approx(12 * np.exp(4))
    assert repr(y) == f"Tensor({y.item()}, grad_fn=<freed>)"


def test_a_second_walk_through_a_shared_part_is_refused_before_anything_is_added():
    x = leaf(2.0)
    shared = x * x
    a, b = shared * 2, shared * 3
    a.backward()
    with pytest.raises(errors.TapeError, match=r"walked back already"):
        b.backward()
    assert x.grad.item() == 8.0
    # what does not lead through that part can be asked for
    w = leaf(1.0)
    c = x * x * w
    (2 * c.detach() * w).backward()
    assert w.grad.item() == 8.0


@pytest.mark.parametrize("f", [funcad.jit(np.sin), funcad.checkpoint(np.sin)])
def test_transformed_functions_can_be_walked_through_again_if_retained(f):
    x = leaf([1.0, 2.0])
    y = np.sum(f(x))
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.cos([1.0, 2.0]))
    with pytest.raises(errors.TapeError):
        y.backward()


# -------------------------------------------------------------------- what is computed


def test_a_gradient_may_be_given():
    x, g = leaf([1.0, 2.0]), np.array([1.0, 10.0])
    y = x * x
    y.backward(g, retain_graph=True)
    assert x.grad.tolist() == [2.0, 40.0]
    y.backward(Tensor(g), retain_graph=True)
    assert x.grad.tolist() == [4.0, 80.0]
    x.backward(g)
    g[:] = 0.0
    assert x.grad.tolist() == [5.0, 90.0]
    x.zero_grad_()
    (x * x).backward([1.0, 10.0])
    assert x.grad.tolist() == [2.0, 40.0]
    (x * x[0]).sum().backward(gradient=3)
    assert x.grad.tolist() == [14.0, 43.0]
    assert tape.grad(x * x, x, [g + 1.0])[0].tolist() == [2.0, 4.0]


def test_one_is_meant_for_arrays_of_one_entry():
    x = leaf([[2.0]])
    (x * x).backward()
    assert x.grad.tolist() == [[4.0]]


def test_only_some_leaves_may_be_asked_for():
    x, w = leaf(2.0), leaf(3.0)
    y = x * w
    y.backward(inputs=[w])
    assert x.grad is None and w.grad.item() == 2.0
    assert not hook_calls(
        lambda y: y.backward(inputs=[w]), x, funcad.jit(np.multiply), w
    )
    h = x * x
    (h * w).backward(inputs=h)
    with pytest.warns(UserWarning):
        assert h.grad.item() == 3.0


def hook_calls(walk, x, f, w):
    """What a hook of a value sees that is not asked for."""
    seen, h = [], x * x
    h.register_hook(seen.append)
    walk(f(h, w))
    return seen


def test_grad_returns_and_does_not_accumulate():
    x, w = leaf(2.0), leaf(3.0)
    h = x * w
    y = h * h
    dx, dh = tape.grad(y, [x, h], retain_graph=True)
    assert (dx.item(), dh.item()) == (36.0, 12.0)
    assert x.grad is None and not dx.requires_grad
    assert [g.item() for g in tape.grad([y, h], (w,), [1.0, None])] == [26.0]


def test_grad_says_which_input_is_not_used():
    x, w = leaf(2.0), leaf(3.0)
    with pytest.raises(errors.TapeError, match=r"inputs\[1\].*allow_unused=True"):
        tape.grad(x * x, [x, w])
    assert tape.grad(x * x, [w], allow_unused=True) == (None,)


def test_derivatives_of_every_order():
    x = leaf(1.3)
    y = np.sin(x) * np.exp(x)
    f = lambda x: np.sin(x) * np.exp(x)  # noqa: E731
    for _ in range(5):
        f = funcad.grad(f)
        (y,) = tape.grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(f(1.3), rel=1e-12)
        assert y.requires_grad


def test_gradients_are_recorded_by_backward_too():
    x = leaf(2.0)
    (x**3).backward(create_graph=True)
    assert x.grad.requires_grad
    first = x.grad
    x.zero_grad_()
    first.backward()
    assert x.grad.item() == 12.0
    y = x**3
    with tape.no_grad():
        (g,) = tape.grad(y, x, create_graph=True)
    assert g.requires_grad


def test_a_gradient_penalty_trains_through_the_gradient():
    w, x = np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([0.3, 0.7])

    def penalty(w):
        return np.sum(funcad.grad(lambda x: np.sum(np.tanh(x @ w)))(x) ** 2)

    t, point = leaf(w), leaf(x)
    (slope,) = tape.grad(np.sum(np.tanh(point @ t)), point, create_graph=True)
    np.sum(slope**2).backward()
    np.testing.assert_allclose(t.grad.numpy(), funcad.grad(penalty)(w), rtol=1e-12)


def test_complex_gradients_are_those_of_grad():
    z = 1.5 - 0.5j
    t = leaf(z)
    y = np.abs(t * t)
    y.backward()
    assert t.grad.item() == pytest.approx(funcad.grad(lambda z: np.abs(z * z))(z))


# ------------------------------------------------------------------------------ hooks


def test_a_hook_sees_the_whole_gradient_and_may_replace_it():
    x = leaf([1.0, 2.0])
    seen = []
    x.register_hook(lambda g: seen.append(g.tolist()))
    handle = x.register_hook(lambda g: 10 * g)
    y = x * x
    y.register_hook(lambda g: np.clip(g, 0.0, 0.5))
    (y + y).sum().backward()
    assert seen == [[1.0, 2.0]]
    assert x.grad.tolist() == [10.0, 20.0]
    handle.remove()
    handle.remove()
    (3 * x).sum().backward()
    assert x.grad.tolist() == [13.0, 23.0]


def test_a_hook_may_return_a_number_or_a_list():
    x, y = leaf(2.0), leaf([1.0, 2.0])
    x.register_hook(lambda g: 7)
    y.register_hook(lambda g: [5.0, 6.0])
    (x * x * y * y).sum().backward()
    assert x.grad.item() == 7.0 and y.grad.tolist() == [5.0, 6.0]


def test_hooks_see_what_grad_returns_and_are_recorded_with_it():
    x = leaf(2.0)
    x.register_hook(lambda g: g * x)
    (g,) = tape.grad(x**3, x, create_graph=True)
    assert g.item() == 24.0  # 3 x**3
    assert tape.grad(g, x)[0].item() == 72.0  # (9 x**2) x


def test_a_hook_that_changes_shape_or_dtype_is_refused():
    for hook in (lambda g: g[None], lambda g: g.astype(np.float32), lambda g: [1, g]):
        x = leaf(2.0)
        x.register_hook(hook)
        with pytest.raises((errors.TangentMismatchError, TypeError)):
            (x * x).backward()
    with pytest.raises(TypeError, match="takes a function"):
        x.register_hook(3)
    with pytest.raises(errors.TapeError, match="requires_grad=True"):
        Tensor(1.0).register_hook(print)
    with pytest.raises(errors.TapeError, match="requires_grad=True"):
        Tensor(1.0).retain_grad()


# ---------------------------------------------------------------------------- misuse


def test_what_is_no_scalar_needs_a_gradient():
    y = leaf([1.0, 2.0]) * 2
    with pytest.raises(errors.TapeError, match=r"float64\[2\].*y\.sum\(\).*gradient="):
        y.backward()
    with pytest.raises(errors.TapeError, match=r"grad_outputs="):
        tape.grad(y, leaf(1.0))
    with pytest.raises(errors.TapeError, match="complex128"):
        (leaf(1j) * 2).backward()


@pytest.mark.parametrize("g", [np.ones(3), np.ones((1, 2)), np.ones(2, "f"), [1, 2]])
def test_a_gradient_of_another_shape_or_dtype_is_refused(g):
    y = leaf([1.0, 2.0]) * 2
    with pytest.raises((errors.TangentMismatchError, TypeError), match="gradient"):
        y.backward(np.asarray(g))
    with pytest.raises(errors.TangentMismatchError, match="2 gradients|1 outputs"):
        tape.grad([y], [y], [1.0, 2.0])


def test_what_requires_no_gradient_cannot_be_walked_back():
    x = leaf(1.0)
    with tape.no_grad():
        unrecorded = x * x
    for y in (Tensor(1.0), x.detach(), unrecorded, np.floor(x)):
        with pytest.raises(errors.TapeError, match="does not require a gradient"):
            y.backward()
    with pytest.raises(errors.TapeError, match=r"inputs\[0\]"):
        tape.grad(x * x, Tensor(1.0))
    for wrong in (1.0, np.ones(2)):
        with pytest.raises(errors.TapeError, match="not a Tensor|sequence of them"):
            tape.grad(wrong, x)
        with pytest.raises(errors.TapeError, match="not a Tensor|sequence of them"):
            tape.grad(x * x, [wrong])
        with pytest.raises(errors.TapeError, match="not a Tensor|sequence of them"):
            (x * x).backward(inputs=wrong)


def test_errors_name_the_line_of_the_user():
    with pytest.raises(
        errors.TapeError, match=r"test_backward\.py:\d+: .*backward\(\)"
    ):
        Tensor(1.0).backward()


# ----------------------------------------------------------------------------- graphs


def test_a_graph_is_a_program_of_its_leaves():
    w, b, x = leaf([1.0, 2.0]), leaf(0.5), np.array([3.0, 4.0])
    y = np.tanh(x @ w + b)
    graph = y.graph()
    assert [v.shape for v in graph.inputs] == [(2,), ()]
    assert [e.primitive.name for e in graph.equations][-2:] == ["add", "tanh"]
    graph.validate()
    assert graph(np.zeros(2), 0.5)[0] == np.tanh(0.5)
    assert "tanh" in str(y.graph().draw("python"))
    values, _ = np.linalg.eigh(leaf(np.eye(2)))
    assert values.sum().graph()(np.diag([1.0, 4.0]))[0] == 5.0


def test_a_leaf_and_a_freed_value_have_no_graph():
    x = leaf(2.0)
    for y in (x, Tensor(1.0)):
        with pytest.raises(errors.TapeError, match="is a leaf"):
            y.graph()
    y = x * x
    y.backward()
    with pytest.raises(errors.TapeError, match="freed"):
        y.graph()


# ---------------------------------------------------------------------------- threads


def test_recording_is_switched_for_one_thread_alone():
    x, inside, done = leaf(2.0), threading.Event(), threading.Event()
    found = []

    def other():
        with tape.no_grad():
            inside.set()
            done.wait(5)
            found.append((x * x).requires_grad)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(5)
    assert tape.is_grad_enabled() and (x * x).requires_grad
    done.set()
    thread.join()
    assert found == [False]
    with tape.no_grad(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(tape.is_grad_enabled).result()


def test_threads_add_to_the_gradients_of_leaves_that_they_share():
    w = leaf(np.ones(50))
    shared = np.exp(w)
    interval = sys.getswitchinterval()

    def work(k):
        for _ in range(50):
            (w * float(k)).sum().backward()
            # a part that they share, too
            shared.sum().backward(retain_graph=True)

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(1, 5)))
    finally:
        sys.setswitchinterval(interval)
    np.testing.assert_allclose(w.grad.numpy(), 50 * 10 + 200 * np.e)


def test_one_of_two_walks_over_the_same_record_gets_it():
    outcomes = []

    def walk(y):
        try:
            y.backward()
        except errors.TapeError:
            outcomes.append("refused")
        else:
            outcomes.append("walked")

    x = leaf(1.0)
    for _ in range(5):
        y = chain(x, 200)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(walk, [y, y]))
    assert len(outcomes) == 10 and "walked" in outcomes


def test_hooks_are_taken_away_while_others_come_and_go():
    x, calls = leaf(1.0), []
    x.register_hook(lambda g: calls.append("first"))
    second = x.register_hook(lambda g: (calls.append("second"), second.remove())[1])
    x.backward()
    x.register_hook(lambda g: calls.append("third"))
    second.remove()
    x.backward()
    assert calls == ["first", "second", "first", "third"]


def test_the_gradient_of_a_single_output_needs_no_list():
    x = leaf([1.0, 2.0])
    for outputs in (x * x, [x * x]):
        (g,) = tape.grad(outputs, [x], grad_outputs=np.array([1.0, 3.0]))
        np.testing.assert_array_equal(g.numpy(), [2.0, 12.0])
    with pytest.raises(errors.TangentMismatchError, match="2 outputs and 1 gradients"):
        tape.grad([x * x, x], x, grad_outputs=np.array([1.0, 3.0]))
