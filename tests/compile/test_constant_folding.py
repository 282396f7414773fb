"""Constant folding: what is computed beforehand, and what is left to the run."""

import warnings

import numpy as np
import pytest

import funcad
from funcad.compile.constant_folding import GROWTH, fold_constants
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import Primitive, registry
from program_checks import assert_same_bits, counts, evaluated

FLOAT = np.dtype(float)
X = np.array([0.3, -1.2, 2.5])


def var(*shape, dtype=FLOAT, weak=None):
    return Var(shape, np.dtype(dtype), weak)


def equation(name, *inputs, out, **params):
    return Equation(registry[name], list(inputs), params, (out,))


def after_a_constant(name, *inputs, out, **params):
    """``x + name(*inputs)`` of constant inputs."""
    x, total = var(*out.shape, dtype=out.dtype), var(*out.shape, dtype=out.dtype)
    return Program(
        [x],
        [
            equation(name, *inputs, out=out, **params),
            equation("add", x, out, out=total),
        ],
        [total],
    )


def test_what_depends_on_constants_alone_is_computed_once():
    a, b, c, x, y = var(3), var(3), var(), var(), var()
    program = Program(
        [x],
        [
            equation("sin", X, out=a),
            equation("multiply", a, X, out=b),
            equation("reduce_sum", b, out=c, axis=(0,), keepdims=False),
            equation("add", x, c, out=y),
        ],
        [y, c],
    )
    folded = fold_constants(program)
    assert counts(folded) == {"add": 1}
    for got, want in zip(folded.evaluate([2.0]), program.evaluate([2.0]), strict=True):
        assert_same_bits(got, want)


def test_several_results_are_folded_together():
    left, right, x, y = var(1), var(2), var(2), var(2)
    params = {"sizes": (1, 2), "axis": 0}
    program = Program(
        [x],
        [
            Equation(registry["split"], [X], params, (left, right)),
            equation("add", x, right, out=y),
        ],
        [y],
    )
    assert counts(fold_constants(program)) == {"add": 1}


def test_a_number_broadcast_to_an_image_is_left_to_the_run():
    size = GROWTH // FLOAT.itemsize
    large = after_a_constant("broadcast_to", X[0], shape=(size + 2,), out=var(size + 2))
    assert fold_constants(large) is large
    small = after_a_constant("broadcast_to", X[0], shape=(size,), out=var(size))
    assert counts(fold_constants(small)) == {"add": 1}


def test_large_constants_are_folded_where_the_result_is_no_larger():
    image = np.ones((100, 1000))
    program = after_a_constant("sin", image, out=var(100, 1000))
    assert counts(fold_constants(program)) == {"add": 1}


def test_errors_are_left_to_the_run():
    program = after_a_constant("inv", np.zeros((2, 2)), out=var(2, 2))
    folded = fold_constants(program)
    assert folded is program
    with pytest.raises(np.linalg.LinAlgError):
        folded.evaluate([np.zeros((2, 2))])


def test_warnings_are_left_to_the_run():
    program = after_a_constant("divide", X, np.zeros(3), out=var(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folded = fold_constants(program)
    assert folded is program
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        folded.evaluate([X])


def test_underflow_and_nan_are_no_obstacle():
    nan = np.array([np.nan, 1e-300, 1.0])
    program = after_a_constant("multiply", nan, nan, out=var(3))
    folded = fold_constants(program)
    assert counts(folded) == {"add": 1}
    assert_same_bits(folded.evaluate([X])[0], program.evaluate([X])[0])


def test_numbers_of_python_stay_numbers():
    x, n, y = var(3, dtype="f"), var(weak=float), var(3, dtype="f")
    program = Program(
        [x],
        [equation("multiply", 0.1, 3, out=n), equation("multiply", x, n, out=y)],
        [y, n],
    )
    folded = fold_constants(program)
    assert type(folded.outputs[1]) is float
    out = evaluated(folded, [X.astype("f")])[0]
    assert out.dtype == np.float32
    assert_same_bits(out, program.evaluate([X.astype("f")])[0])


def test_a_result_that_is_not_what_the_program_says_is_not_put_in_its_place():
    # the sum of these numbers is a Python int; the program says it is an array's
    program = after_a_constant("add", 1, 2, out=var(dtype=np.int64))
    assert fold_constants(program) is program


def test_tracers_are_no_constants():
    def f(x):
        inner = funcad.make_program(lambda y: y * np.sin(x))(X)
        seen.append(counts(fold_constants(inner)))
        return inner.evaluate([X])[0]

    seen = []
    funcad.make_program(f)(X)
    a, y, z = var(3), var(3), var(3)

    def g(x):
        program = Program(
            [y],
            [equation("sin", x, out=a), equation("multiply", y, a, out=z)],
            [z],
        )
        seen.append(counts(fold_constants(program)))
        return x

    funcad.grad(lambda x: np.sum(g(x)))(X)
    assert seen == [{"multiply": 1}, {"sin": 1, "multiply": 1}]


def test_opaque_primitives_are_not_called_beforehand():
    calls = []
    primitive = Primitive(
        "callback_of_the_tests",
        lambda x: (calls.append(x), x)[1],
        lambda x: (x.shape, x.dtype),
        opaque=True,
    )
    try:
        out, x, y = var(3), var(3), var(3)
        program = Program(
            [x],
            [
                Equation(primitive, [X], {}, (out,)),
                equation("add", x, out, out=y),
            ],
            [y],
        )
        assert fold_constants(program) is program
        assert not calls
        program.evaluate([X])
        assert len(calls) == 1
    finally:
        del registry[primitive.name]


def test_the_caller_gets_no_constant_of_the_program():
    a, b, c, x = var(3), var(3), var(1, 3), var()
    program = Program(
        [x],
        [
            equation("sin", X, out=a),
            equation("cos", a, out=b),
            equation("reshape", b, out=c, shape=(1, 3)),
        ],
        [c],
    )
    folded = fold_constants(program)
    assert counts(folded) == {"cos": 1, "reshape": 1}
    first, second = folded.evaluate([0.0]) + folded.evaluate([0.0])
    assert not np.shares_memory(first, second)


def test_arrays_of_every_library_are_folded_where_they_are(library):
    x = library.from_host(X)
    program = after_a_constant("sin", x, out=var(3))
    folded = fold_constants(program)
    assert counts(folded) == {"add": 1}
    assert type(folded.equations[0].inputs[1]) is type(x)


def test_a_program_without_constants_is_returned_itself():
    program = funcad.make_program(lambda x: np.sin(x) * 2)(X)
    assert fold_constants(program) is program
