"""Every error: its class, what it says, where, and what to write instead."""

import os
import re
from types import SimpleNamespace

import numpy as np
import pytest

import backend_double
import funcad
import funcad.numpy as fnp
from funcad import errors
from funcad.core.errors import (
    BackwardLine,
    FuncadError,
    format_line,
    is_user_file,
    run_at,
    user_line,
)
from funcad.core.tracing import Primitive, registry

X = np.array([1.0, 2.0, 3.0])


def message(run, error, *builtins, line_of=None):
    """What an error says, which names the line of this file on which ``run`` starts."""
    with pytest.raises(error) as caught:
        run()
    for builtin in builtins:
        assert isinstance(caught.value, builtin)
    text, _, where = str(caught.value).rpartition("\n  at ")
    line = (line_of or run).__code__.co_firstlineno
    assert where.startswith(f"{__file__}:{line}: ")
    assert len(where) > len(f"{__file__}:{line}: ")  # the source itself
    assert text.rstrip().endswith((".", "?"))
    return text


# ------------------------------------------------------------------------ the hierarchy


def test_every_error_is_a_funcad_error_and_one_that_python_knows():
    for name in errors.__all__:
        error = getattr(errors, name)
        assert issubclass(error, FuncadError)
        assert error.__doc__
        if error is not FuncadError:
            builtins = (TypeError, ValueError, RuntimeError, NotImplementedError)
            assert issubclass(error, builtins)


def test_every_error_is_public():
    from funcad.core import errors as core

    defined = {
        name
        for name, value in vars(core).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert defined == set(errors.__all__)


# ----------------------------------------------------------------------- the users line


def test_the_line_is_the_innermost_one_of_the_user():
    def helper(x):
        return np.unique(x)

    line = helper.__code__.co_firstlineno + 1
    with pytest.raises(FuncadError) as caught:
        funcad.vmap(funcad.grad(lambda x: np.sum(helper(x))))(X[None])
    assert str(caught.value).endswith(f"\n  at {__file__}:{line}: return np.unique(x)")


def test_code_without_a_file_is_named_by_number_alone():
    scope = {"np": np, "funcad": funcad, "X": X}
    with pytest.raises(FuncadError, match=r"\n  at <string>:2$"):
        exec("\nfuncad.grad(lambda x: x)(X)", scope)


def test_frames_of_funcad_and_of_array_libraries_are_not_the_users():
    from funcad.core import tracing

    assert is_user_file(__file__)
    assert not is_user_file(tracing.__file__)
    assert not is_user_file(np.linalg.__file__)
    assert is_user_file(funcad.__file__.replace("__init__", "examples/char"))
    assert user_line() == (__file__, user_line.__call__()[1])


def test_what_runs_for_an_equation_stands_at_the_equation_s_line():
    assert run_at(("theirs.py", 7), user_line) == ("theirs.py", 7)
    assert run_at(("theirs.py", 7), lambda: user_line())[0] == __file__
    with pytest.raises(FuncadError, match=r"\n  at theirs.py:7$"):
        run_at(("theirs.py", 7), funcad.grad(np.sin), X)


def test_the_line_of_an_equation_says_whether_its_transpose_runs():
    line = BackwardLine(("theirs.py", 7))
    assert type(run_at(line, user_line)) is BackwardLine
    assert type(run_at(tuple(line), user_line)) is tuple
    assert run_at(line, run_at, ("others.py", 8), user_line) == ("others.py", 8)


def test_a_line_may_be_given_instead():
    error = FuncadError("It went wrong.", ("nowhere.py", 7))
    assert str(error) == "It went wrong.\n  at nowhere.py:7"
    assert format_line(None) == ""


# ------------------------------------------------------------------- outputs and inputs


def test_gradient_of_an_array():
    def squares(x):
        return x**2

    text = message(
        lambda: funcad.grad(squares)(X), errors.NonScalarOutputError, TypeError
    )
    assert "squares returned an array float64[3]" in text
    for advice in ("np.sum or np.mean", "funcad.jacrev", "funcad.vjp", "has_aux=True"):
        assert advice in text


@pytest.mark.parametrize(
    "f, said",
    [
        (lambda x: (x[0], x[1]), r"<lambda> returned PyTreeDef\(\(\*, \*\)\)"),
        (lambda x: {"loss": x[0]}, r"returned PyTreeDef\(\{'loss': \*\}\)"),
        (lambda x: None, "returned None. Is a return statement missing"),
        (lambda x: 3, "returned int64.*Integers and booleans have no derivative"),
        (lambda x: np.sum(x) > 0, "returned bool"),
        (
            lambda x: x[0] * 1j,
            r"returned complex128\[\]. Take np.real.*holomorphic=True",
        ),
    ],
)
def test_gradient_of_what_is_no_real_scalar(f, said):
    for transform in (funcad.grad, funcad.value_and_grad):
        text = message(
            lambda t=transform: t(f)(X), errors.NonScalarOutputError, TypeError
        )
        assert re.search(said, text)


def test_gradient_with_respect_to_integers_and_booleans():
    text = message(
        lambda: funcad.grad(lambda n: n * 2.0)(3), errors.InputDtypeError, TypeError
    )
    assert "the value is int64[]" in text
    assert "Pass a float (3.0)" in text
    assert "allow_int=True" in text
    text = message(
        lambda: funcad.grad(lambda p: 1.0)({"a": X, "b": [X > 0]}),
        errors.InputDtypeError,
    )
    assert "['b'][0] is bool[3]" in text
    assert "x.astype(float)" in text
    text = message(lambda: funcad.jacfwd(np.sin)(3), errors.InputDtypeError)
    assert "jacfwd takes real floating-point inputs" in text
    assert "int64[]" in text


TRANSFORMS_OF_TREES = {
    "grad": lambda f, p: funcad.grad(f)(p),
    "value_and_grad": lambda f, p: funcad.value_and_grad(f)(p),
    "jvp": lambda f, p: funcad.jvp(f, (p,), (p,)),
    "linearize": lambda f, p: funcad.linearize(f, p),
    "vjp": lambda f, p: funcad.vjp(f, p),
    "vmap": lambda f, p: funcad.vmap(f)(p),
    "jacfwd": lambda f, p: funcad.jacfwd(f)(p),
    "jacrev": lambda f, p: funcad.jacrev(f)(p),
    "make_program": lambda f, p: funcad.make_program(f)(p),
    "linear_transpose": lambda f, p: funcad.linear_transpose(f, p),
}


@pytest.mark.parametrize("name", TRANSFORMS_OF_TREES)
@pytest.mark.parametrize(
    "leaf, kind",
    [
        ("text", r"str \('text'\)"),
        (np.array(["a"]), "ndarray and dtype <U1"),
        (np.array([None]), "ndarray and dtype object"),
        (object, "type"),
        ({1, 2}, "set"),
    ],
)
def test_leaves_that_are_no_arrays(name, leaf, kind):
    run = TRANSFORMS_OF_TREES[name]
    text = message(
        lambda: run(lambda p: X[0], {"a": X, "b": [X, leaf]}),
        *(errors.LeafTypeError, TypeError),
        line_of=run,
    )
    assert "['b'][1] of its input is of type" in text
    assert re.search(f"is of type {kind}", text)
    assert "Keep it out of the pytree" in text
    text = message(
        lambda: run(lambda p: {"out": (leaf,)}, X), errors.LeafTypeError, line_of=run
    )
    assert "['out'][0] of its output is of type" in text
    assert "has_aux=True" in text


# ----------------------------------------------------------------- tangents, cotangents


def test_tangents_of_another_structure():
    text = message(
        lambda: funcad.jvp(lambda p: p, ({"a": X, "b": X},), ({"a": X},)),
        *(errors.TreeStructureError, TypeError, ValueError),
    )
    assert "tangents must be that of the values of jvp; at [0]" in text
    assert "['a', 'b']" in text
    text = message(
        lambda: funcad.vjp(lambda x: (x, x), X)[1](X), errors.TreeStructureError
    )
    assert "a tuple of length 2" in text
    assert "an array of shape (3,) and dtype float64 in its cotangent" in text
    text = message(
        lambda: funcad.linearize(np.sin, X)[1](X, X), errors.TreeStructureError
    )
    assert "tangents" in text


@pytest.mark.parametrize(
    "wrong, shown",
    [
        (X[:2], "float64[2]"),
        (X[None], "float64[1,3]"),
        (X.astype(np.float32), "float32[3]"),
        (X + 0j, "complex128[3]"),
        (np.array([1, 2, 3]), "int64[3]"),
    ],
)
def test_tangents_and_cotangents_of_another_shape_or_dtype(wrong, shown):
    runs = {
        "tangent": lambda: funcad.jvp(lambda p: p, ({"a": X},), ({"a": wrong},)),
        "cotangent": lambda: funcad.vjp(lambda x: {"a": x}, X)[1]({"a": wrong}),
    }
    for what, run in runs.items():
        text = message(run, errors.TangentMismatchError, TypeError, ValueError)
        assert f"the {what} of " in text
        assert f"['a'] is {shown} and the value is float64[3]" in text
        assert f"Write {what}.astype(value.dtype) or reshape it" in text


def test_tangents_of_integers():
    text = message(
        lambda: funcad.jvp(lambda n: n, (np.arange(3),), (X,)),
        errors.TangentMismatchError,
    )
    assert (
        "int64[3], which has no tangent but zero, and its tangent is float64[3]" in text
    )
    assert "np.zeros(shape, funcad.float0)" in text


# --------------------------------------------------------------------------------- vmap


def test_sizes_that_differ_under_vmap():
    text = message(
        lambda: funcad.vmap(lambda p, y: y)(
            {"w": [X, np.ones((2, 5))]}, np.ones((3, 1))
        ),
        *(errors.BatchSizeError, ValueError),
    )
    for row in (
        "args[0]['w'][0]: 3 (axis 0 of shape (3,))",
        "args[0]['w'][1]: 2 (axis 0 of shape (2, 5))",
        "args[1]: 3 (axis 0 of shape (3, 1))",
    ):
        assert row in text
    assert "in_axes with None" in text


# ------------------------------------------------------------ values that are not there


@pytest.mark.parametrize(
    "f, said",
    [
        (lambda x: float(x[0]), r"float\(\)"),
        (lambda x: x[0] if x[0] > 0 else 0.0, "truth value"),
        (lambda x: np.asarray(x), "np.asarray"),
        (lambda x: X[np.argmax(x)], "np.asarray"),
        (lambda x: [1, 2, 3][np.argmax(x)], "the use as an index"),
    ],
)
def test_values_that_are_not_known(f, said):
    for transform, what in (
        (lambda f, x: funcad.vmap(f)(x[None]), "inside vmap"),
        (lambda f, x: funcad.make_program(f)(x), "of a staged value"),
        (lambda f, x: funcad.eval_shape(f, x), "of a staged value"),
        (
            lambda f, x: funcad.grad(lambda v: funcad.vmap(f)(v[None])[0])(x),
            "inside vmap",
        ),
    ):
        with pytest.raises(errors.ConcretizationError) as caught:
            transform(f, X)
        assert isinstance(caught.value, TypeError)
        text = str(caught.value)
        assert re.search(said, text)
        assert what in text
        for advice in (
            "np.where(condition, a, b)",
            "fnp.take(a, i)",
            "fnp.array([x, y])",
        ):
            assert advice in text
        assert f"{__file__}:{f.__code__.co_firstlineno}: (lambda x: " in text


def test_indexing_by_a_traced_mask():
    text = message(
        lambda: funcad.vmap(lambda x: x[x > 0])(X[None]), errors.ConcretizationError
    )
    assert "traced boolean mask, bool[3]" in text
    assert "np.where(mask, x, 0)" in text


def test_values_in_linear_transpose():
    text = message(
        lambda: funcad.linear_transpose(lambda x: x if x[0] else x, X),
        *(errors.ConcretizationError, TypeError),
    )
    assert "truth value" in text
    assert "funcad.vjp" in text


@pytest.mark.parametrize(
    "f",
    [lambda x: np.asarray(x), lambda x: np.array([x[0]]), lambda x: np.full(2, x[0])],
)
def test_conversion_to_plain_arrays(f):
    with pytest.raises(errors.DerivativeLossError) as caught:
        funcad.grad(f)(X)
    assert isinstance(caught.value, TypeError)
    text = str(caught.value)
    assert "float64[" in text
    for advice in ("np.stack([x, y])", "fnp.array", "funcad.stop_gradient(x)"):
        assert advice in text
    assert f"{__file__}:{f.__code__.co_firstlineno}: " in text


def test_conversion_to_plain_numbers():
    text = message(
        lambda: funcad.grad(lambda x: float(x) * x)(2.0), errors.DerivativeLossError
    )
    assert "float() of a traced array, float64[]" in text
    for advice in ("np.sin(x)", "fnp.at(a)[i].set(x)", "x.item()"):
        assert advice in text


# ----------------------------------------------------------------------------- mutation


def test_writing_into_a_tracer():
    def write(x):
        x[0] = 1.0
        return x

    def add(x):
        x[0] += 1.0
        return x

    for f, transform in [
        (write, funcad.grad),
        (add, funcad.vmap),
        (write, funcad.make_program),
    ]:
        with pytest.raises(errors.MutationError) as caught:
            transform(f)(X[None] if transform is funcad.vmap else X)
        assert isinstance(caught.value, TypeError)
        text = str(caught.value)
        assert "float64[3], cannot be written into" in text
        assert "x = fnp.at(x)[i].set(v)" in text
        line = f.__code__.co_firstlineno + 1
        assert f"{__file__}:{line}: x[0] " in text


def test_writing_a_tracer_into_a_plain_array():
    def f(x):
        out = np.zeros(3)
        out += x
        return out

    with pytest.raises(
        errors.UnsupportedArgumentError, match=r"out\+?=.*not written into"
    ):
        funcad.grad(f)(X)


def test_binding_a_new_value_to_the_name_is_fine():
    def f(x):
        x += 1.0
        x *= 2.0
        return np.sum(x)

    x = X.copy()
    np.testing.assert_array_equal(funcad.grad(f)(x), np.full(3, 2.0))
    np.testing.assert_array_equal(x, X)


# ---------------------------------------------------------------------- escaped tracers


def test_a_tracer_used_after_its_transform():
    kept = []
    funcad.grad(lambda x: (kept.append(x), np.sum(x))[1])(X)
    text = message(lambda: kept[0] * 2.0, errors.EscapedTracerError, RuntimeError)
    assert "multiply" in text
    assert "has already returned" in text
    assert "Return the value from the transformed function instead" in text
    assert "x.item()" in text


# ------------------------------------------------------------------ rules and functions


@pytest.fixture
def bare():
    """A primitive of which nothing but the implementation is known."""
    primitive = Primitive("bare", lambda x: x + 1, lambda x: (x.shape, x.dtype))
    yield primitive
    del registry["bare"]


def test_a_primitive_without_a_batch_rule(bare):
    text = message(
        lambda: funcad.vmap(lambda x: bare(x))(X),
        errors.MissingRuleError,
        NotImplementedError,
    )
    assert "bare has no batch rule, so vmap cannot go through it" in text
    assert "funcad.stop_gradient" in text


def test_a_primitive_without_a_transpose_rule(bare):
    bare.jvp = lambda ans, primals, tangents, params: bare(*tangents)
    text = message(
        lambda: funcad.grad(lambda x: np.sum(bare(x)))(X),
        errors.MissingRuleError,
        line_of=bare.jvp,
    )
    assert "bare has no transpose rule" in text
    assert "Give the primitive a transpose rule" in text


@pytest.mark.parametrize(
    "f, said",
    [
        (
            lambda x: np.packbits(x),
            r"^np\.packbits cannot be traced.*dir\(funcad\.numpy\)",
        ),
        (lambda x: np.less.reduce(x), r"^np\.less\.reduce cannot be traced"),
        (lambda x: np.put(x, 0, 1.0), r"fnp\.at\(x\)\[i\]\.set\(v\)"),
        (lambda x: np.full_like(X, x), r"np\.broadcast_to\(value, shape\)"),
        (lambda x: np.frompyfunc(abs, 1, 1)(x), r"^the ufunc abs.*cannot be traced"),
    ],
)
def test_numpy_functions_that_cannot_be_traced(f, said):
    with pytest.raises(errors.UnsupportedFunctionError) as caught:
        funcad.grad(f)(X)
    assert isinstance(caught.value, TypeError)
    assert re.search(said, str(caught.value))
    assert f"{__file__}:{f.__code__.co_firstlineno}: " in str(caught.value)


def test_arguments_that_cannot_be_honoured():
    text = message(
        lambda: funcad.grad(lambda x: np.sum(x, out=np.empty(())))(X),
        *(errors.UnsupportedArgumentError, TypeError),
    )
    assert "np.sum of a traced array does not take out=" in text
    assert "Use the value that it returns" in text
    text = message(
        lambda: funcad.grad(lambda x: np.log(x, where=x > 0))(X),
        errors.UnsupportedArgumentError,
    )
    assert "np.log of a traced array does not take where=" in text
    assert "np.where(condition, f(x), otherwise)" in text


def test_operands_that_are_no_arrays():
    text = message(
        lambda: funcad.grad(lambda x: np.add(x, "text"))(X),
        errors.LeafTypeError,
        TypeError,
    )
    assert "an operand of type str ('text')" in text


# ------------------------------------------------------------------------ two libraries


def test_arrays_of_two_libraries_in_one_operation():
    other = backend_double.Array(X)
    for f in (
        lambda x: x * other,
        lambda x: np.where(x > 0, x, other),
        lambda x: np.concatenate([x, other]),
        lambda x: np.stack([x[0] * 1.0, x[1]]) @ other[:2],
    ):
        with pytest.raises(errors.MixedBackendsError) as caught:
            funcad.grad(lambda x, f=f: np.sum(f(x)))(X)
        assert isinstance(caught.value, TypeError)
        text = str(caught.value)
        assert "numpy float64[" in text
        assert f"{funcad.backends.backend_of(other).name} float64[" in text
        assert 'funcad.device_put(x, "gpu")' in text
        assert f"{__file__}:{f.__code__.co_firstlineno}: lambda x: " in text


def test_arrays_of_one_library_and_numpys_scalars_meet():
    other = backend_double.Array(X)
    gradient = funcad.grad(lambda x: np.sum(x * np.float64(2.0) * other))(other)
    np.testing.assert_array_equal(gradient.get(), 2 * X)


# --------------------------------------------------------------------------------- CuPy


def test_cupys_functions_arrive_by_its_own_hook():
    """CuPy calls this with its kernel and arguments, where it finds a tracer."""

    def f(x):
        sine = SimpleNamespace(name="cupy_sin")
        power = SimpleNamespace(name="cupy_power")
        hook = type(x).__cupy_override_elementwise_kernel__
        return np.sum(hook(x, power, hook(x, sine, x), 2))

    np.testing.assert_allclose(funcad.grad(f)(X), 2 * np.sin(X) * np.cos(X))
    np.testing.assert_allclose(funcad.vmap(f)(X[None]), [np.sum(np.sin(X) ** 2)])


def test_cupys_kernels_that_numpy_does_not_have_are_refused_by_name():
    def f(x):
        return x.__cupy_override_elementwise_kernel__(
            SimpleNamespace(name="my_kernel"), x
        )

    with pytest.raises(
        errors.UnsupportedFunctionError, match=r"^cupy\.my_kernel cannot"
    ):
        funcad.grad(f)(X)


def test_cupys_other_functions_say_which_numpy_function_to_call():
    scope = {"__name__": "cupy._core.core"}
    place = os.path.join(os.sep, "site-packages", "cupy", "_core", "core.py")
    source = "def asarray(x):\n    return x.__cuda_array_interface__"
    exec(compile(source, place, "exec"), scope)
    text = message(
        lambda: funcad.grad(lambda x: scope["asarray"](x))(X),
        *(errors.DerivativeLossError, TypeError),
    )
    assert "np.sum(x) instead of cupy.sum(x)" in text
    assert not hasattr(fnp.at, "__cuda_array_interface__")
    funcad.grad(
        lambda x: np.sum(x) if not hasattr(x, "__cuda_array_interface__") else x
    )(X)
