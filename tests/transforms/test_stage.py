"""``make_program``, ``eval_shape`` and ``ShapeDtypeStruct``."""

import numpy as np
import pytest

import funcad
from differences import assert_close, assert_same
from funcad import tree
from funcad.core.errors import (
    ArgumentError,
    ConcretizationError,
    InputDtypeError,
    LeafTypeError,
)

X = np.array([0.3, -1.2, 2.5])


def network(params, x, scale=2.0):
    h = np.tanh(params["w"] @ x + params["b"][0])
    return {"mean": np.mean(h) * scale, "h": (h, None)}


PARAMS = {"w": np.linspace(-1, 1, 6).reshape(2, 3), "b": [0.5]}


def test_a_program_computes_what_the_function_computes():
    program = funcad.make_program(network)(PARAMS, X)
    leaves = tree.leaves((PARAMS, X))
    assert_close(program.evaluate(leaves), tree.leaves(network(PARAMS, X)))
    other = tree.map(lambda v: v * 2, (PARAMS, X))
    assert_close(program.evaluate(tree.leaves(other)), tree.leaves(network(*other)))


def test_keyword_arguments_are_inputs_too():
    program = funcad.make_program(network)(PARAMS, X, scale=3.0)
    assert len(program.inputs) == 4
    leaves = [*tree.leaves((PARAMS, X)), 5.0]
    assert_close(program.evaluate(leaves), tree.leaves(network(PARAMS, X, 5.0)))


def test_static_arguments_are_constants_and_may_be_anything():
    def f(x, how, n):
        return getattr(np, how)(x) * n if n > 2 else x

    for static in ((1, 2), (-1, -2), [1, 2]):
        program = funcad.make_program(f, static_argnums=static)(X, "sin", 3)
        assert len(program.inputs) == 1
        assert_close(program.evaluate([X]), [3 * np.sin(X)])
    single = funcad.make_program(lambda flag, x: x if flag else -x, static_argnums=0)
    assert_close(single(False, X).evaluate([X]), [-X])


@pytest.mark.parametrize("static", [2, -3, (0, 5)])
def test_a_static_argument_that_is_not_there_is_named(static):
    with pytest.raises(
        funcad.errors.StaticArgumentError, match="called with 2 positional arguments"
    ):
        funcad.make_program(lambda x, y: x, static_argnums=static)(X, X)


@pytest.mark.parametrize("static", ["how", 1.0, ("x",), True, [1, None]])
def test_static_arguments_are_given_by_integers(static):
    with pytest.raises(
        funcad.errors.StaticArgumentError, match="must be an integer or a sequence"
    ):
        funcad.make_program(lambda x, y: x, static_argnums=static)


def test_shapes_stand_in_for_arrays():
    struct = funcad.ShapeDtypeStruct((2, 3), np.float32)
    program, out = funcad.make_program(lambda a, b: a @ b, return_shape=True)(
        struct, X.astype(np.float32)
    )
    assert out == funcad.ShapeDtypeStruct((2,), np.float32)
    assert program.inputs[0].shape == (2, 3)


def test_eval_shape_gives_the_structure_without_computing():
    def f(p, k):
        assert not isinstance(p["w"], np.ndarray)
        return {"y": p["w"] @ k, "n": np.argmax(k), "s": 1.0, "none": None}

    huge = funcad.ShapeDtypeStruct((10**6, 10**6), np.float32)
    vector = funcad.ShapeDtypeStruct((10**6,), np.float64)
    out = funcad.eval_shape(f, {"w": huge}, k=vector)
    assert out == {
        "y": funcad.ShapeDtypeStruct((10**6,), np.float64),
        "n": funcad.ShapeDtypeStruct((), np.intp),
        "s": funcad.ShapeDtypeStruct((), np.float64),
        "none": None,
    }


def test_shape_dtype_struct_says_what_an_array_looks_like():
    struct = funcad.ShapeDtypeStruct([2, 3], "float32")
    assert (struct.shape, struct.ndim, struct.size) == ((2, 3), 2, 6)
    assert struct.dtype == np.float32
    assert struct == funcad.ShapeDtypeStruct((2, 3), np.float32)
    assert struct != funcad.ShapeDtypeStruct((2, 3), np.float64)
    assert len({struct, funcad.ShapeDtypeStruct((2, 3), "f4")}) == 1
    assert repr(struct) == "ShapeDtypeStruct(shape=(2, 3), dtype=float32)"


def test_text_of_a_program_can_be_read():
    def f(x):
        y = np.sin(x)
        return y @ y, X

    text = str(funcad.make_program(f)(X)).splitlines()
    assert text[0] == "program(a:float64[3]) {"
    assert text[1].split() == ["b:float64[3]", "=", "sin", "a"]
    assert text[-2].startswith("  return (") and "<float64[3]>" in text[-2]
    assert text[-1] == "}"


def test_text_names_the_users_line_of_each_equation():
    program = funcad.make_program(lambda x: np.sin(x))(X)
    line = test_text_names_the_users_line_of_each_equation.__code__.co_firstlineno + 1
    assert f"# {__file__}:{line}: program = " in program.pretty(lines=True)


def lines_of(program):
    return {(e.primitive.name, e.line[1]) for e in program.equations}


def test_equations_of_a_derivative_have_the_line_that_they_are_the_derivative_of():
    def f(x):
        y = np.sin(x)
        z = y[:2] * y[1:]
        return np.sum(z) + y @ y

    first = f.__code__.co_firstlineno
    lines = lines_of(funcad.make_program(funcad.grad(f))(X))
    assert {("cos", first + 1), ("multiply", first + 1)} <= lines
    assert {line for _, line in lines} == {first + 1, first + 2, first + 3}
    # of the sums of cotangents, too
    assert ("add", first + 3) in lines or ("add", first + 2) in lines


def test_equations_of_a_program_that_is_run_again_keep_their_lines():
    def f(x):
        y = np.tanh(x)
        return np.sum(y * 2)

    program = funcad.make_program(f)(X)

    def again(x):
        return program.evaluate([x])[0]

    first = f.__code__.co_firstlineno
    assert lines_of(funcad.make_program(again)(X)) == lines_of(program)
    for transformed in (funcad.grad(again), funcad.grad(funcad.jit(f))):
        derived = funcad.make_program(transformed)(X)
        inner = [e.params.get("program", derived) for e in derived.equations]
        lines = {line for p in inner for _, line in lines_of(p)}
        assert lines == {first + 1, first + 2}


def test_linear_programs_have_lines_where_a_transform_wants_them():
    programs = []

    def f(x):
        _, f_jvp = funcad.linearize(np.sin, x)
        programs.append(f_jvp.program)
        return f_jvp(x)

    line = f.__code__.co_firstlineno + 1
    f(X)
    funcad.vmap(f)(X)
    funcad.make_program(f)(X)
    funcad.make_program(funcad.vmap(f))(X)
    plain, mapped, staged, mapped_and_staged = programs
    assert {e.line for e in plain.equations + mapped.equations} == {None}
    for program in (staged, mapped_and_staged):
        assert {place for _, place in lines_of(program)} == {line}


def test_names_of_many_variables_do_not_repeat():
    def f(x):
        for _ in range(800):
            x = x + 1.0
        return x

    text = str(funcad.make_program(f)(X))
    names = [row.split(":")[0].strip() for row in text.splitlines()[1:-2]]
    assert len(set(names)) == 800


def test_constants_are_listed_once():
    program = funcad.make_program(lambda x: x * X + X)(X)
    assert [c is X for c in program.constants] == [True]


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: funcad.grad(lambda x: np.sum(f(x))),
        lambda f: lambda x: funcad.jvp(f, (x,), (x,)),
        lambda f: funcad.vmap(f),
        lambda f: funcad.jacrev(f),
        lambda f: lambda x: funcad.vjp(f, x)[1](x),
        lambda f: funcad.hessian(lambda x: np.sum(f(x) ** 2)),
        lambda f: lambda x: funcad.linearize(f, x)[1](x),
    ],
)
def test_every_transform_can_be_staged(transform):
    def f(x):
        return np.sin(x) * x

    g = transform(f)
    program = funcad.make_program(g)(X)
    for x in (X, X + 1):
        assert_close(program.evaluate([x]), tree.leaves(g(x)))


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: funcad.grad(lambda x: np.sum(f(x))),
        lambda f: lambda x: funcad.jvp(f, (x,), (x,)),
        lambda f: funcad.vmap(f),
        lambda f: funcad.jacrev(f),
        lambda f: lambda x: funcad.make_program(f)(x).evaluate([x]),
    ],
)
def test_a_program_goes_through_every_transform(transform):
    def f(x):
        return np.sin(x) * 2.0

    programs = {np.shape(x): funcad.make_program(f)(x) for x in (X, 0.5)}

    def run(x):
        return programs[np.shape(x)].evaluate([x])[0]

    assert_close(transform(run)(X), transform(f)(X))


def test_a_staged_gradient_stages_again_to_the_same_program():
    first = funcad.make_program(funcad.grad(lambda x: np.sum(np.sin(x))))(X)
    second = funcad.make_program(lambda x: first.evaluate([x])[0])(X)
    assert str(first) == str(second)


@pytest.mark.parametrize(
    "f, purpose",
    [
        (lambda x: x if x[0] > 0 else -x, "the truth value"),
        (lambda x: float(x[0]), r"float\(\)"),
        (lambda x: int(x[0]), r"int\(\)"),
        (lambda x: range(np.argmax(x)), "the use as an index"),
        (lambda x: X[np.argmax(x)], "np.asarray"),
        (lambda x: np.asarray(x), "np.asarray"),
        (lambda x: x.tolist(), r"tolist\(\)"),
        (lambda x: 0.5 in x, "the truth value"),
    ],
)
def test_what_needs_a_value_names_the_line_and_the_replacement(f, purpose):
    for run in (lambda: funcad.make_program(f)(X), lambda: funcad.eval_shape(f, X)):
        with pytest.raises(ConcretizationError, match=purpose) as caught:
            run()
        text = str(caught.value)
        assert "of a staged value" in text
        assert "np.where(condition, a, b)" in text
        line = f.__code__.co_firstlineno
        assert f"{__file__}:{line}: (lambda x:" in text


def test_leaves_that_are_no_arrays_are_named_by_argument_and_path():
    with pytest.raises(
        LeafTypeError, match=r"the leaf args\[1\]\['k'\] .* is of type str"
    ):
        funcad.make_program(lambda n, p: p, static_argnums=0)(3, {"k": "text"})
    with pytest.raises(LeafTypeError, match=r"kwargs\['how'\]"):
        funcad.make_program(lambda x, how: x)(X, how="fast")


def test_programs_evaluate_with_the_number_of_inputs_they_have():
    with pytest.raises(
        ValueError, match="one for each input of the program, of which there are 1"
    ):
        funcad.make_program(np.sin)(X).evaluate([X, X])


def test_dtypes_of_programs_are_those_of_the_values():
    for x in (X.astype(np.float32), X.astype(np.complex64), np.arange(3), X > 0):

        def f(v):
            return v * 2, v + 1.5, np.sum(v), v * np.float32(2), np.mean(v)

        shapes = funcad.eval_shape(f, x)
        for struct, wanted in zip(shapes, f(x), strict=True):
            assert struct.dtype == wanted.dtype
        assert_same(funcad.make_program(f)(x).evaluate([x]), list(f(x)))


# ------------------------------------------------------------------------ weak numbers


@pytest.mark.parametrize("number", [True, 2, 2.5, 1 + 2j])
@pytest.mark.parametrize("dtype", ["?", "i4", "f2", "f4", "f8", "c8"])
def test_python_numbers_stay_weak_when_staged(number, dtype):
    x = np.ones(3, dtype)

    def f(s, x):
        doubled = s * 2
        return s, doubled, x * s, x + doubled, np.exp(s) * x, np.where(x > 0, s, x)

    program = funcad.make_program(f)(number, x)
    wants = f(number, x)
    for v, got, want in zip(
        program.outputs, program.evaluate([number, x]), wants, strict=True
    ):
        if type(want) in (bool, int, float, complex):
            assert v.weak is type(want)
            assert (type(got), got) == (type(want), want)
        else:
            assert v.weak is None
            assert v.dtype == got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)


def test_the_tangent_of_a_number_is_of_its_own_dtype_whatever_it_meets():
    x = np.ones(3, np.float32)
    program = funcad.make_program(funcad.grad(lambda s: np.sum(x * s * s)))(2.0)
    (gradient,) = program.evaluate([2.0])
    want = funcad.grad(lambda s: np.sum(x * s * s))(2.0)
    assert program.outputs[0].dtype == gradient.dtype == want.dtype
    assert gradient == want


@pytest.mark.parametrize("shape", [(-1,), (2.5,), ("a",), np.ones(2), 3, None])
def test_the_shape_of_a_struct_must_be_one(shape):
    with pytest.raises(ArgumentError, match="ShapeDtypeStruct: shape must be a tuple"):
        funcad.ShapeDtypeStruct(shape, float)


@pytest.mark.parametrize("dtype", [None, str, object, "nope", "M8[s]"])
def test_the_dtype_of_a_struct_must_be_that_of_numbers(dtype):
    with pytest.raises(InputDtypeError, match="ShapeDtypeStruct: dtype must be"):
        funcad.ShapeDtypeStruct((3,), dtype)


def test_a_struct_takes_sequences_of_numpy_integers():
    struct = funcad.ShapeDtypeStruct(np.array([2, 3]), funcad.float0)
    assert struct == funcad.ShapeDtypeStruct((2, 3), funcad.float0)
