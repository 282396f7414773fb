"""Loops and branches with wrong arguments: errors that show both sides."""

from __future__ import annotations

import numpy as np
import pytest

import funcad
from funcad import errors, lax

X = np.ones((3, 2))
H = np.zeros(2)


def plain(f):
    return f


RUNS = pytest.mark.parametrize(
    "run", [plain, funcad.jit, funcad.grad], ids=["plain", "jit", "grad"]
)


def refused(call, error, *words):
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, errors.FuncadError) or error in (TypeError,)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    if isinstance(caught.value, errors.FuncadError):
        assert "test_bad_input.py" in str(caught.value)


# ------------------------------------------------------------------------------ carries

BAD_STEPS = {
    "dtype": (
        lambda c, x: ((c + x).astype(np.float32), None),
        errors.CarryError,
        ("carry: float64[2] given, float32[2] returned", "astype"),
    ),
    "shape": (
        lambda c, x: (np.sum(c + x), None),
        errors.CarryError,
        ("carry: float64[2] given, float64[] returned",),
    ),
    "wider": (
        lambda c, x: (c + 1j * x, None),
        errors.CarryError,
        ("carry: float64[2] given, complex128[2] returned",),
    ),
    "number": (
        lambda c, x: (1.0, None),
        errors.CarryError,
        ("carry: float64[2] given, ", "returned"),
    ),
    "structure": (
        lambda c, x: ((c, c), None),
        errors.TreeStructureError,
        ("the carry that scan gives to its function", "a tuple of length 2"),
    ),
    "missing": (
        lambda c, x: (None, x),
        errors.TreeStructureError,
        ("the carry that the function returns",),
    ),
    "no pair": (
        lambda c, x: c + x,
        errors.CarryError,
        ("must return a pair (carry, y)", "Return (carry, None)"),
    ),
    "three": (
        lambda c, x: (c, c, c),
        errors.CarryError,
        ("must return a pair", "a tuple of length 3"),
    ),
    "no array": (
        lambda c, x: ("c", None),
        errors.LeafTypeError,
        ("scan", "str"),
    ),
}


@RUNS
@pytest.mark.parametrize("name", BAD_STEPS)
def test_a_carry_of_another_type(run, name):
    step, error, words = BAD_STEPS[name]
    f = run(lambda h: np.sum(lax.scan(step, h, X)[0]))
    refused(lambda: f(H), error, *words)
    assert issubclass(error, TypeError)


@RUNS
def test_the_leaf_of_a_carry_is_named(run):
    def f(h):
        init = {"a": h, "n": (0, np.zeros(2, int))}
        step = lambda c, _: ({"a": c["a"], "n": (c["n"][0], c["n"][1] * 0.5)}, None)  # noqa: E731
        return np.sum(lax.scan(step, init, length=2)[0]["a"])

    refused(
        lambda: run(f)(H),
        errors.CarryError,
        "carry['n'][1]: int64[2] given, float64[2] returned",
    )


@RUNS
def test_while_loop_with_a_carry_of_another_type(run):
    f = run(lambda h: np.sum(lax.while_loop(lambda c: np.sum(c) < 5, np.sum, h)))
    words = "while_loop", "carry: float64[2] given, float64[] returned"
    refused(lambda: f(H), errors.CarryError, *words)
    f = run(lambda h: np.sum(lax.while_loop(lambda c: True, lambda c: [c], h)))
    refused(lambda: f(H), errors.TreeStructureError, "while_loop")


@RUNS
def test_fori_loop_with_a_carry_of_another_type(run):
    f = run(lambda h: np.sum(lax.fori_loop(0, 3, lambda i, c: c[:1], h)))
    words = "fori_loop", "carry: float64[2] given, float64[1] returned"
    refused(lambda: f(H), errors.CarryError, *words)


def test_outputs_that_differ_from_step_to_step():
    step = lambda c, x: (c + 1, c if c < 2 else (c, c))  # noqa: E731
    refused(lambda: lax.scan(step, 0, X), errors.TreeStructureError, "step 2")
    step = lambda c, x: (c + 1, np.zeros(c))  # noqa: E731
    refused(lambda: lax.scan(step, 0, X), errors.CarryError, "(0,)", "(1,)")


# ------------------------------------------------------------------ lengths and numbers


@RUNS
@pytest.mark.parametrize(
    ("xs", "kwargs", "words"),
    [
        ((X, X[:2]), {}, ("xs[0]: 3 (shape (3, 2))", "xs[1]: 2 (shape (2, 2))")),
        (X, {"length": 4}, ("xs: 3", "length: 4")),
        (X, {"length": -1}, ("length must not be negative, and is -1",)),
        ({"a": 1.0}, {}, ("xs['a'] is a scalar, a Python float",)),
        (None, {}, ("does not know how many steps", "length=")),
        (X, {"unroll": 0}, ("unroll must be at least 1, not 0",)),
    ],
)
def test_lengths_that_disagree(run, xs, kwargs, words):
    f = run(lambda h: np.sum(lax.scan(lambda c, x: (c, None), h, xs, **kwargs)[0]))
    refused(lambda: f(H), errors.ArgumentError, "scan", *words)
    assert issubclass(errors.ArgumentError, ValueError)


@pytest.mark.parametrize("kwargs", [{"length": 2.5}, {"length": True}, {"unroll": "x"}])
def test_lengths_that_are_no_integers(kwargs):
    (name,) = kwargs
    with pytest.raises(TypeError, match=f"scan: {name} must be an integer"):
        lax.scan(lambda c, x: (c, None), H, **({"length": 2} | kwargs))


def test_a_length_that_is_traced():
    f = funcad.jit(lambda n: lax.scan(lambda c, x: (c, None), H, length=n)[0])
    with pytest.raises(
        TypeError, match="length must be an integer, not a traced value"
    ):
        f(3)


def test_functions_that_are_none():
    cases = [
        (lambda: lax.scan(H, H, X), "scan: its first argument"),
        (lambda: lax.map(None, X), "map: its first argument"),
        (lambda: lax.fori_loop(0, 3, H, H), "fori_loop: body_fun"),
        (lambda: lax.while_loop(True, lambda c: c, H), "while_loop: cond_fun"),
        (lambda: lax.while_loop(lambda c: True, H, H), "while_loop: body_fun"),
        (lambda: lax.cond(True, 1.0, lambda: 1.0), "cond: true_fun"),
        (lambda: lax.cond(True, lambda: 1.0, 1.0), "cond: false_fun"),
        (lambda: lax.switch(0, [abs, 1.0], 1), "switch: branch 1"),
    ]
    for f, words in cases:
        with pytest.raises(TypeError, match=f"{words} must be a function"):
            f()
    with pytest.raises(TypeError, match="branches must be a sequence"):
        lax.switch(0, abs, 1)


def test_map_with_a_batch_size_that_is_none():
    refused(
        lambda: lax.map(abs, X, batch_size=0), errors.ArgumentError, "at least 1, not 0"
    )
    with pytest.raises(TypeError, match="batch_size must be an integer"):
        lax.map(abs, X, batch_size=1.5)


@pytest.mark.parametrize("bound", [1.5, "3", np.array([1, 2]), True, np.float64(2)])
def test_bounds_that_are_no_integers(bound):
    for bounds in ((bound, 3), (0, bound)):
        with pytest.raises(TypeError, match="fori_loop: .*er must be one integer"):
            lax.fori_loop(*bounds, lambda i, c: c, 0.0)


def test_leaves_that_are_no_arrays():
    step = lambda c, x: (c, None)  # noqa: E731
    refused(
        lambda: lax.scan(step, {"a": "b"}, X), errors.LeafTypeError, "scan", "['a']"
    )
    refused(lambda: lax.scan(step, H, [X, "b"]), errors.LeafTypeError, "xs", "[1]")
    refused(
        lambda: lax.while_loop(lambda c: False, abs, object()),
        errors.LeafTypeError,
        "while_loop",
        "object",
    )
    f = funcad.jit(lambda p, x: lax.cond(p, lambda x, s: x, lambda x, s: x, x, "s"))
    refused(lambda: f(True, 1.0), errors.LeafTypeError, "cond", "str")


# ------------------------------------------------------------------------- predicates

BAD_PREDICATES = {
    "vector": (np.ones(3, bool), ("bool[3]", "np.any or np.all")),
    "float": (np.float64(1.0), ("float64[]", "Compare it")),
    "number": (1, ("a Python int", "Compare it")),
    "none": (None, ("NoneType",)),
    "list": ([True], ("list",)),
    "text": ("yes", ("str",)),
}


@pytest.mark.parametrize("name", BAD_PREDICATES)
def test_a_predicate_that_is_no_boolean(name):
    pred, words = BAD_PREDICATES[name]
    refused(
        lambda: lax.cond(pred, np.sin, np.cos, 1.0),
        errors.BranchError,
        "cond: the predicate must be one boolean",
        *words,
    )
    refused(
        lambda: lax.while_loop(lambda c: pred, np.sin, 1.0),
        errors.BranchError,
        "while_loop: the result of cond_fun must be one boolean",
        *words,
    )
    assert issubclass(errors.BranchError, TypeError)


def test_a_staged_predicate_that_is_no_boolean():
    for x, word in ((np.ones(3, bool), "bool[3]"), (1.0, "float"), (X, "float64[3,2]")):
        f = funcad.jit(lambda x: lax.cond(x, np.sin, np.cos, 1.0))
        refused(lambda f=f, x=x: f(x), errors.BranchError, "one boolean", word)
        f = funcad.jit(lambda x: lax.while_loop(lambda c: c, lambda c: c, x))
        refused(lambda f=f, x=x: f(x), errors.BranchError, "cond_fun", word)


@pytest.mark.parametrize("index", [1.0, True, np.array([0, 1]), "a", None, [0]])
def test_an_index_that_is_no_integer(index):
    refused(
        lambda: lax.switch(index, [np.sin, np.cos], 1.0),
        errors.BranchError,
        "switch: the index must be one integer",
    )


def test_no_branches():
    refused(lambda: lax.switch(0, []), errors.ArgumentError, "at least one branch")


# --------------------------------------------------------------------------- branches


@pytest.mark.parametrize(
    ("one", "other", "error", "words"),
    [
        (
            lambda x: x,
            lambda x: x[:1],
            errors.BranchError,
            ("result: float64[1] from false_fun, float64[2] from true_fun",),
        ),
        (
            lambda x: {"a": x, "b": x},
            lambda x: {"a": x, "b": x > 0},
            errors.BranchError,
            ("result['b']: bool[2] from false_fun, float64[2] from true_fun", "astype"),
        ),
        (
            lambda x: x.astype(np.float32),
            lambda x: x,
            errors.BranchError,
            ("float64[2] from false_fun, float32[2] from true_fun",),
        ),
        (
            lambda x: (x, x),
            lambda x: x,
            errors.TreeStructureError,
            ("false_fun", "true_fun", "a tuple of length 2"),
        ),
        (
            lambda x: None,
            lambda x: x,
            errors.TreeStructureError,
            ("false_fun", "true_fun"),
        ),
        (lambda x: "a", lambda x: x, errors.LeafTypeError, ("cond", "str")),
    ],
)
def test_branches_that_disagree(one, other, error, words):
    f = lambda p, x: lax.cond(p, one, other, x)  # noqa: E731
    refused(lambda: funcad.jit(f)(True, H), error, *words)
    refused(lambda: funcad.vmap(f, (0, None))(np.ones(2, bool), H), error, *words)
    assert issubclass(error, TypeError)


def test_branches_of_switch_that_disagree():
    functions = [np.sin, np.cos, np.sum]
    f = funcad.jit(lambda i, x: lax.switch(i, functions, x))
    words = "from branch 0", "float64[] from branch 2"
    refused(lambda: f(0, H), errors.BranchError, "switch", *words)


def test_branches_that_take_other_arguments():
    with pytest.raises(TypeError, match="argument"):
        funcad.jit(lambda p, x: lax.cond(p, lambda: x, lambda x: x, x))(True, 1.0)
