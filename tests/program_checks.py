"""What a pass over programs must keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import (
    PYTHON_SCALARS,
    Array,
    Primitive,
    dtype_of,
    registry,
    shape_of,
)

_read = Primitive(
    "read_of_the_tests",
    lambda x: x,
    lambda x: (shape_of(x), dtype_of(x)),
    code=lambda operands, params, out: "what may be written into any array",
    opaque=True,
)
del registry[_read.name]


def as_part(transformation: Callable[[Program], Program], program: Program) -> Program:
    """What a pass makes of a program whose results only other equations see.

    What the caller sees is not replaced by other memory, so at the end of a program
    less is done than elsewhere.
    """
    ends = [
        Equation(_read, [v], {}, (Var(shape_of(v), dtype_of(v)),))
        for v in program.outputs
    ]
    outputs = [e.outputs[0] for e in ends]
    after = transformation(Program(program.inputs, program.equations + ends, outputs))
    read = {e.outputs[0]: e.inputs[0] for e in after.equations if e.primitive is _read}
    return Program(
        after.inputs,
        [e for e in after.equations if e.primitive is not _read],
        [read[v] for v in after.outputs],
    )


def counts(program: Program) -> dict[str, int]:
    """How many equations there are of each primitive."""
    return dict(Counter(e.primitive.name for e in program.equations))


def copied(program: Program) -> Program:
    """Another program of the same equations, to see what has been done to the first."""
    equations = [
        Equation(e.primitive, list(e.inputs), dict(e.params), tuple(e.outputs), e.line)
        for e in program.equations
    ]
    return Program(list(program.inputs), equations, list(program.outputs))


def assert_identical(program: Program, other: Program) -> None:
    """The same equations of the same variables and values."""

    def same(xs: Any, ys: Any) -> bool:
        return len(xs) == len(ys) and all(x is y for x, y in zip(xs, ys, strict=True))

    assert same(program.inputs, other.inputs)
    assert same(program.outputs, other.outputs)
    assert len(program.equations) == len(other.equations)
    for e, f in zip(program.equations, other.equations, strict=True):
        assert e.primitive is f.primitive and e.line == f.line
        assert same(e.inputs, f.inputs) and same(e.outputs, f.outputs)
        assert same(list(e.params), list(f.params))
        assert same(list(e.params.values()), list(f.params.values()))


def assert_well_formed(program: Program) -> None:
    """Every variable is bound once, before it is used."""
    bound = set(program.inputs)
    assert len(bound) == len(program.inputs)
    for equation in program.equations:
        assert all(v in bound for v in equation.inputs if type(v) is Var)
        assert bound.isdisjoint(equation.outputs)
        bound.update(equation.outputs)
    assert all(v in bound for v in program.outputs if type(v) is Var)


def evaluated(program: Program, args: Any) -> list[Array]:
    """Outputs, after a check that every value is what its variable says."""
    env = dict(zip(program.inputs, args, strict=True))
    for primitive, inputs, params, outputs, _ in program.equations:
        values = [env[v] if type(v) is Var else v for v in inputs]
        results = primitive(*values, **params)
        results = results if primitive.multiple else (results,)
        for value, var in zip(results, outputs, strict=True):
            assert shape_of(value) == var.shape, primitive
            assert dtype_of(value) == var.dtype, primitive
            assert _number(value) is var.weak, primitive
            env[var] = value
    return [env[v] if type(v) is Var else v for v in program.outputs]


def _number(x: Any) -> type | None:
    return type(x) if type(x) in PYTHON_SCALARS else None


def assert_same_bits(got: Any, want: Any, zeros: bool = True) -> None:
    """Equal to the last bit, but for the sign of a NaN, and of zeros if so chosen."""
    assert_same_avals(got, want)
    np.testing.assert_array_equal(got, want)
    if zeros and dtype_of(want).kind in "fc":
        for x, y in zip(parts(got), parts(want), strict=True):
            nan = np.isnan(y)
            assert np.array_equal(np.signbit(x) | nan, np.signbit(y) | nan)


def assert_same_avals(got: Any, want: Any) -> None:
    """Shapes, dtypes, and which are Python numbers."""
    assert shape_of(got) == shape_of(want)
    assert dtype_of(got) == dtype_of(want)
    assert _number(got) is _number(want)


def parts(x: Any) -> tuple[Any, Any]:
    """Real and imaginary part."""
    return np.real(x), np.imag(x)
