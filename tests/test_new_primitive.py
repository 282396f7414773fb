"""The how-to page on primitives: its code runs, and its primitive passes every test."""

import re
from pathlib import Path

import numpy as np
import pytest

import funcad
from funcad import errors, testing
from funcad.core.tracing import registry
from funcad.extend import Primitive, bind, elementwise, linear, primitives

PAGE = Path(__file__).parents[1] / "docs" / "new_primitive.md"


@pytest.fixture
def defined():
    """Forget the primitives and samples that a test defines."""
    from samples import SAMPLES

    before, rows = dict(registry), dict(SAMPLES)
    yield
    for known, kept in ((registry, before), (SAMPLES, rows)):
        known.clear()
        known.update(kept)


def blocks():
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def page(defined):
    names = {"__name__": "page"}
    for code in blocks():
        exec(compile(code, str(PAGE), "exec"), names)
    return names


def test_a_primitive_and_its_row_take_less_than_thirty_lines(page):
    codes = [c for c in blocks() if '"leaky_sum"' in c]
    assert len(codes) == 2
    lines = [line for code in codes for line in code.splitlines() if line.strip()]
    assert len(lines) < 30


@pytest.mark.parametrize(
    "test",
    [
        "implementation_agrees_with_the_reference",
        "implementation_leaves_its_operands_as_they_were",
        "shape_rule_foretells_shape_and_dtype",
        "staged_program_evaluates_to_the_eager_result",
        "vmap_agrees_with_a_loop",
        "nested_vmaps_agree_with_nested_loops",
        "jvp_agrees_with_finite_differences",
        "linear_transpose_satisfies_the_dot_product_identity",
        "second_derivatives_agree_with_differences_of_the_gradient",
        "gradients_can_be_batched_and_staged",
    ],
)
def test_the_tests_of_all_primitives_hold_for_the_one_of_the_page(page, library, test):
    from primitives import test_every_primitive

    getattr(test_every_primitive, f"test_{test}")(library, "leaky_sum")


# ------------------------------------------------------------------------ registration


def test_a_second_primitive_of_the_same_name_is_refused(defined):
    sine = primitives["sin"]
    with pytest.raises(errors.RegistrationError, match="primitive sin already"):
        elementwise("sin", lambda x: x)
    assert primitives["sin"] is sine


def test_a_definition_that_is_run_again_replaces_the_first(defined):
    def define():
        return elementwise("twice_defined", lambda x: x, lambda ans, x: 1)

    first, second = define(), define()
    assert primitives["twice_defined"] is second is not first


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        (lambda: Primitive("a b", np.sin, None), "identifier"),
        (lambda: Primitive(3, np.sin, None), "identifier"),
        (lambda: Primitive("new", 3, None), "impl of the primitive new"),
        (lambda: Primitive("new", None, None), "impl of the primitive new"),
        (lambda: Primitive("new", np.sin, None, jvp=3), "jvp of the primitive new"),
        (lambda: Primitive("new", np.sin, "shape"), "abstract of the primitive new"),
        (lambda: Primitive("new", np.sin, None, batch=[]), "batch of the primitive"),
        (lambda: elementwise("new", np.sin, 3), "new was given 1: .3,."),
        (lambda: elementwise("new", np.sin, None, None, None), "jvp=sum_of_jvps"),
    ],
)
def test_rules_that_are_no_functions_are_refused(defined, attempt, said):
    with pytest.raises(errors.RegistrationError, match=said):
        attempt()
    assert "new" not in primitives


@pytest.mark.parametrize(
    ("function", "partials"),
    [
        (np.sin, [lambda ans, x: x, lambda ans, x: x]),
        (np.multiply, [lambda ans, x: x]),
        (lambda x: x, [lambda x: x]),
        (lambda x, y: x, [lambda ans, x, y: x, lambda ans, y: y]),
    ],
)
def test_partials_that_do_not_fit_the_number_of_operands_are_refused(
    defined, function, partials
):
    with pytest.raises(errors.RegistrationError, match="new was given.*cannot be call"):
        elementwise("new", function, *partials)
    assert "new" not in primitives


def test_none_for_the_only_partial_is_a_derivative_of_zero(defined):
    new = elementwise("new", np.sign, None)
    assert funcad.grad(new)(2.0) == 0.0
    assert funcad.jvp(new, (2.0,), (1.0,)) == (1.0, 0.0)
    testing.check_primitive(new, (X,))


@pytest.mark.parametrize(
    ("abstract", "said"),
    [
        (None, "new has no shape rule"),
        (lambda x: None, "abstract of new .*returned None"),
        (lambda x: 3, "abstract of new .*returned 3"),
    ],
)
def test_a_shape_rule_that_says_nothing_is_named(defined, abstract, said):
    new = Primitive("new", np.sin, abstract)
    with pytest.raises(errors.FuncadError, match=said):
        funcad.jit(new)(1.0)


def test_a_primitive_whose_results_are_integers_can_be_checked():
    testing.check_primitive(primitives["convert"], (X,), {"dtype": np.dtype(int)})


def test_the_name_of_a_primitive_is_not_taken_for_it():
    for attempt in (
        lambda: testing.check_primitive("sin", (X,)),
        lambda: bind("sin", (X,), {}),
    ):
        with pytest.raises(TypeError, match=r"'sin' of type str.*extend\.primitives"):
            attempt()


# --------------------------------------------------------------------- check_primitive

X = np.array([[1.0, 0.5], [2.0, 0.25]])


@pytest.mark.parametrize(
    ("name", "args", "params"),
    [
        ("sin", (X,), {}),
        ("sign", (X,), {}),
        ("multiply", (X, X[0]), {}),
        ("multiply", (X, 2.0), {}),
        ("multiply", (X.astype(np.float32), X[0].astype(np.float32)), {}),
        ("matmul", (X, X + 1j), {}),
        ("transpose", (X,), {"axes": (1, 0)}),
        ("reduce_sum", (X,), {"axis": (0,), "keepdims": False}),
        ("split", (X,), {"sizes": (1, 1), "axis": 0}),
    ],
)
def test_rules_that_are_right_pass(name, args, params):
    testing.check_primitive(primitives[name], args, params)


def scaled(**wrong):
    """x -> 3 x as a linear primitive, with some rules replaced."""
    rules = {
        "impl": lambda x: 3.0 * x,
        "abstract": lambda x: (x.shape, x.dtype),
        "transpose": lambda ct, x: 3.0 * ct,
        "batch": lambda values, axes: (3.0 * values[0], axes[0]),
        **wrong,
    }
    return linear("scaled", rules.pop("impl"), rules.pop("abstract"), **rules)


def with_jvp(jvp):
    primitive = scaled()
    primitive.jvp = jvp
    return primitive


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: scaled(abstract=lambda x: (x.shape[1:], x.dtype)), "abstract rule"),
        (lambda: scaled(abstract=lambda x: (x.shape, np.dtype("f"))), "abstract rule"),
        (lambda: scaled(abstract=lambda x: x.shape[0]), "abstract rule"),
        (lambda: scaled(transpose=lambda ct, x: 2.0 * ct), "transpose rule"),
        (lambda: scaled(transpose=lambda ct, x: ct[:1]), "transpose rule"),
        (lambda: scaled(batch=lambda v, a: (2.0 * v[0], a[0])), "batch rule"),
        (lambda: scaled(batch=lambda v, a: (3.0 * v[0], 0)), "batch rule"),
        (lambda: scaled(batch=lambda v, a: 3.0 * v[0]), "batch rule"),
        (lambda: with_jvp(lambda ans, xs, ts, params: ts[0]), "jvp rule"),
        (lambda: with_jvp(lambda ans, xs, ts, params: 3.0 * ts[0][:1]), "jvp rule"),
        (lambda: with_jvp(lambda ans, xs, ts, params: ts[0] * 3j), "jvp rule"),
        (lambda: with_jvp(lambda ans, xs, ts, params: {}["no"]), "jvp rule"),
        (lambda: with_jvp(None), ""),
    ],
)
def test_the_rule_that_is_wrong_is_named(defined, make, said):
    primitive = make()
    if not said:
        testing.check_primitive(primitive, (X,))
        return
    with pytest.raises(AssertionError, match=f"the {said} of scaled: "):
        testing.check_primitive(primitive, (X,))


def test_functions_of_entries_that_are_no_ufuncs_are_compiled(defined):
    softsign = elementwise(
        "softsign", lambda x: x / (1 + abs(x)), lambda ans, x: 1 / (1 + abs(x)) ** 2
    )

    def loss(x):
        return np.sum(np.tanh(softsign(2 * x)) ** 2)

    x = np.linspace(-2, 2, 100_000)
    for f in (loss, funcad.grad(loss)):
        np.testing.assert_allclose(funcad.jit(f)(x), f(x), rtol=1e-12, atol=1e-15)


def test_several_results_are_counted(defined):
    both = Primitive(
        "both",
        lambda x: (x, 2.0 * x),
        lambda x: [(x.shape, x.dtype)] * 2,
        jvp=lambda ans, primals, tangents, params: [tangents[0]],
        batch=lambda values, axes: (both(values[0]), axes * 2),
        multiple=True,
    )
    with pytest.raises(AssertionError, match="1 tangents for 2 results"):
        testing.check_primitive(both, (X,))
    both.jvp = lambda ans, primals, tangents, params: [tangents[0], 2.0 * tangents[0]]
    testing.check_primitive(both, (X,))
    both.impl = lambda x: x
    with pytest.raises(AssertionError, match="multiple=True"):
        testing.check_primitive(both, (X,))


def test_extend_is_imported_on_demand():
    assert funcad.extend.Primitive is Primitive
