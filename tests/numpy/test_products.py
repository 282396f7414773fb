"""Einsum over many subscripts, and products and solves that are malformed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcad
from differences import assert_close, assert_same, directional_derivative, normal_like

SIZES = {"i": 2, "j": 3, "k": 4, "l": 2, "m": 3, "b": 2, "c": 3}

SUBSCRIPTS = [
    # one operand: transposes, sums, diagonals, traces
    *("i", "ij", "ji", "ij->ji", "ij->", "ij->i", "ij->j", "ijk->kij", "ijk->ik", "->"),
    *("ii", "ii->i", "ii->", "iij->j", "iij->ij", "iji->j", "iiii->i", "iijj->ij"),
    # two: products, outer, inner, stacked, elementwise
    *("i,i", "i,i->i", "i,j", "i,j->ji", "ij,j", "ij,jk", "ij,jk->ki", "ij,kj->ik"),
    *("ij,ij", "ij,ij->i", "ij,ij->ij", "ij,ji->", "bij,bjk->bik", "bij,bkj->bik"),
    *("bij,jk->bik", "ij,bjk->bik", "ijk,jk->i", "ijk,k->ij", "ij,k->ijk", ",ij->ij"),
    *("ij,", "ii,i->i", "ii,ij->j", "iij,jk->ik", "ij,kl->", "ij,kl->il", "bi,bj->bij"),
    *("ibc,jbc->ijbc", "bijc,bkjc->bcik", "ij,i->", "ij,ik->jk", "ijj,jk->ik"),
    # three and more
    *("ij,jk,kl->il", "i,i,i->", "ij,jk,ki", "i,j,k->kji", "bi,bj,bk->bijk"),
    *("ij,ik,il->jkl", "ij,j,i->", "i,ij,j,jk,k->", "ij,jk,kl,lm->im", ",i,->i"),
    # ellipsis
    *("...", "...i", "...i->...", "...ij->...ji", "i...", "i...->...", "...ii->...i"),
    *(
        "...ij,...jk->...ik",
        "...ij,jk->...ik",
        "i...,i...->...",
        "...i,...i",
        "...,...",
    ),
    *("...i,ij->...j", "ij...,j...->i...", "...,i->i...", "...ij,...j", "...ii,...i"),
    *(" i j , j k -> i k ",),
]


def operands_of(subscripts, extra=((5,), ())):
    """Arrays of fixed sizes, with axes of their own for an ellipsis."""
    rng = np.random.default_rng(0)
    arrays = []
    for place, term in enumerate(subscripts.replace(" ", "").split("->")[0].split(",")):
        before, dots, after = term.partition("...")
        shape = [SIZES[c] for c in before]
        shape += list(extra[place % len(extra)]) if dots else []
        shape += [SIZES[c] for c in after]
        arrays.append(rng.normal(size=shape))
    return arrays


def check_einsum(subscripts, arrays):
    """Value, both derivatives, vmap and program of an einsum."""

    def f(*xs):
        return np.einsum(subscripts, *xs)

    wanted = f(*arrays)
    rng = np.random.default_rng(1)
    tangents = [normal_like(x, rng) for x in arrays]
    value, tangent = funcad.jvp(f, arrays, tangents)
    assert np.shape(value) == np.shape(wanted)
    assert_close(value, wanted, rtol=1e-10, atol=1e-11)
    (numerical,) = directional_derivative(f, arrays, tangents)
    assert_close(tangent, numerical, rtol=1e-7, atol=1e-8)
    _, pullback = funcad.vjp(f, *arrays)
    ct = normal_like(wanted, rng)
    # the derivative is linear: the pullback of ct along an operand is an einsum again
    inner = sum(np.sum(p * t) for p, t in zip(pullback(ct), tangents))
    np.testing.assert_allclose(inner, np.sum(ct * tangent), rtol=1e-9, atol=1e-10)
    stacked = [np.stack([x, 2 * x, -x], axis=-1) for x in arrays]
    loop = [f(*[x[..., k] for x in stacked]) for k in range(3)]
    out = funcad.vmap(f, in_axes=-1)(*stacked)
    assert_close(out, np.stack(loop), rtol=1e-10, atol=1e-11)
    (staged,) = funcad.make_program(f)(*arrays).evaluate(arrays)
    assert_close(staged, wanted, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("subscripts", SUBSCRIPTS)
def test_einsum_is_numpys(subscripts):
    check_einsum(subscripts, operands_of(subscripts))


@pytest.mark.parametrize(
    "subscripts", [s for s in SUBSCRIPTS if "..." in s and "," in s]
)
@pytest.mark.parametrize(
    "extra", [((), ()), ((2, 1), (3,)), ((1,), (4, 3)), ((3,), (3,))]
)
def test_axes_under_an_ellipsis_broadcast(subscripts, extra):
    check_einsum(subscripts, operands_of(subscripts, extra))


@pytest.mark.parametrize(
    "subscripts, shapes",
    [
        ("ij,ij->ij", [(1, 3), (2, 3)]),
        ("ij,ij->ij", [(2, 1), (1, 3)]),
        ("ij,jk->ik", [(2, 1), (3, 4)]),
        ("ij,jk->ik", [(2, 3), (1, 4)]),
        ("i,i->", [(1,), (4,)]),
        ("i,i", [(4,), (1,)]),
        ("bij,bjk->bik", [(1, 2, 3), (5, 3, 4)]),
        ("bij,bjk->bik", [(5, 2, 1), (1, 3, 4)]),
        ("ij,ij,ij->", [(1, 3), (2, 1), (2, 3)]),
        ("ij,j->", [(2, 1), (3,)]),
        ("ij,jk,kl->il", [(2, 1), (3, 1), (4, 2)]),
    ],
)
def test_axes_of_size_one_broadcast(subscripts, shapes):
    rng = np.random.default_rng(2)
    check_einsum(subscripts, [rng.normal(size=shape) for shape in shapes])


@st.composite
def random_subscripts(draw):
    letters = "ijkl"
    terms = draw(
        st.lists(st.text(letters, min_size=0, max_size=3), min_size=1, max_size=3)
    )
    used = sorted(set("".join(terms)))
    result = draw(st.permutations(used))[: draw(st.integers(0, len(used)))]
    return ",".join(terms) + draw(st.sampled_from(["", "->" + "".join(result)]))


@given(random_subscripts())
def test_random_subscripts_are_numpys(subscripts):
    check_einsum(subscripts, operands_of(subscripts))


def test_interleaved_form_takes_lists_of_axes():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 3)), rng.normal(size=(3, 4))

    def explicit(a, b):
        return np.einsum(a, [0, 1], b, [1, 2], [2, 0])

    def implicit(a, b):
        return np.einsum(a, [0, 1], b, [1, 2])

    def dotted(a, b):
        return np.einsum(a, [..., 1], b, [1, 30], [30, ...])

    for f in (explicit, implicit, dotted):
        value, _ = funcad.jvp(f, (x, y), (x, y))
        assert_same(value, f(x, y))


def test_einsum_keeps_dtypes_and_promotes():
    x32, ints = np.ones((2, 3), np.float32), np.arange(3)
    z = np.ones(3) * 1j
    for other in (x32[0], ints, z, np.ones(3)):
        value, _ = funcad.jvp(
            lambda v, o=other: np.einsum("ij,j->i", v, o), (x32,), (x32,)
        )
        assert_same(value, np.einsum("ij,j->i", x32, other))
        wanted = funcad.grad(lambda v, o=other: np.einsum("ij,j->", v, o).real)(x32)
        assert wanted.dtype == np.float32


def test_einsum_of_empty_arrays_is_zero_or_empty():
    for subscripts, shapes in [
        ("ij,jk->ik", [(2, 0), (0, 3)]),
        ("ij->j", [(0, 3)]),
        ("ij,jk->ik", [(0, 2), (2, 3)]),
        ("i,i", [(0,), (0,)]),
    ]:
        check_einsum(subscripts, [np.empty(shape) for shape in shapes])


def test_the_path_of_a_long_einsum_is_contracted_in_pairs():
    """A chain of products costs what the products cost, not all indices at once."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(30, 30)) / 6

    def f(x):
        return np.einsum("ab,bc,cd,de,ef,fg,gh->ah", x, x, x, x, x, x, x)

    program = funcad.make_program(f)(x)
    names = [e.primitive.name for e in program.equations]
    assert names.count("matmul") == 6
    assert_close(program.evaluate([x])[0], np.linalg.matrix_power(x, 7), rtol=1e-8)


X = np.ones((2, 3))
MALFORMED = [
    (ValueError, lambda x: np.einsum("ij,jk", x, x)),
    (ValueError, lambda x: np.einsum("ijk", x)),
    (ValueError, lambda x: np.einsum("ij->ik", x)),
    (ValueError, lambda x: np.einsum("ij->ii", x)),
    (ValueError, lambda x: np.einsum("ij,ij", x)),
    (ValueError, lambda x: np.einsum("i?", x)),
    (ValueError, lambda x: x @ x),
    (ValueError, lambda x: x @ 2.0),
    (ValueError, lambda x: 2.0 @ x),
    (ValueError, lambda x: np.matmul(x, x)),
    (ValueError, lambda x: np.dot(x, x)),
    (ValueError, lambda x: np.dot(x, np.ones(2))),
    (ValueError, lambda x: np.inner(x, np.ones(2))),
    (ValueError, lambda x: np.vdot(x, np.ones(5))),
    (ValueError, lambda x: np.tensordot(x, x.T)),
    (ValueError, lambda x: np.tensordot(x, x, axes=([0], [1]))),
    (IndexError, lambda x: np.tensordot(x, x, axes=([2], [0]))),
    (np.linalg.LinAlgError, lambda x: np.linalg.solve(x, x)),
    (np.linalg.LinAlgError, lambda x: np.linalg.inv(x)),
    (np.linalg.LinAlgError, lambda x: np.linalg.inv(x[0])),
    (np.linalg.LinAlgError, lambda x: np.linalg.cholesky(x)),
    (np.linalg.LinAlgError, lambda x: np.linalg.slogdet(x)),
    (np.linalg.LinAlgError, lambda x: np.linalg.inv(x[:, :2])),
    (np.linalg.LinAlgError, lambda x: np.linalg.cholesky(-np.eye(2) * x[0, 0])),
    (np.linalg.LinAlgError, lambda x: np.linalg.solve(x[:, :2], x)),
    (ValueError, lambda x: np.linalg.solve(np.eye(3) * x[0, 0], np.ones(2))),
    (ValueError, lambda x: np.linalg.solve(np.eye(3) * x[0, 0], np.ones((2, 2)))),
    (ValueError, lambda x: np.linalg.norm(x, ord="nonsense")),
    (ValueError, lambda x: np.linalg.norm(x, axis=(0, 1, 0))),
    (np.exceptions.AxisError, lambda x: np.linalg.norm(x, axis=2)),
    (ValueError, lambda x: np.vecdot(x, np.ones(2))),
    (ValueError, lambda x: np.vecdot(x, np.ones((2, 1)))),
    (ValueError, lambda x: np.vecdot(x, 1.0)),
    (np.exceptions.AxisError, lambda x: np.vecdot(x, x, axis=2)),
    (ValueError, lambda x: np.linalg.vecdot(x, np.ones(2))),
    (ValueError, lambda x: np.tensordot(x, np.ones(3))),
    (IndexError, lambda x: np.tensordot(x, np.ones(2))),
    (ValueError, lambda x: np.tensordot(x, x, axes=([0, 1], [0]))),
    (ValueError, lambda x: np.einsum("...,...", x)),
    (ValueError, lambda x: np.einsum("i...j.", x)),
    (TypeError, lambda x: np.einsum("ij,kj", x, x, optimize=[(0, 1)])),
    (ValueError, lambda x: np.einsum("ij,kj", x, x, x)),
]
if hasattr(np, "matvec"):
    MALFORMED += [
        (ValueError, lambda x: np.matvec(x, np.ones(2))),
        (ValueError, lambda x: np.matvec(x[0], x[0])),
        (ValueError, lambda x: np.vecmat(x[0], x)),
        (ValueError, lambda x: np.vecmat(x[0], x[0])),
    ]


@pytest.mark.parametrize("number", range(len(MALFORMED)))
def test_malformed_products_raise_the_error_that_numpy_raises(number):
    error, f = MALFORMED[number]
    with pytest.raises(error):
        f(X)
    with pytest.raises(error):
        funcad.linearize(f, X)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.matmul(x, x.T, axes=[(0, 1), (0, 1), (0, 1)]),
        lambda x: np.vecdot(x, x, axes=[(0,), (0,), ()]),
    ],
)
def test_axes_of_a_product_are_refused_by_name(call):
    call(X)
    with pytest.raises(TypeError, match="does not take axes="):
        funcad.linearize(call, X)


def test_the_order_of_an_einsum_may_be_given():
    rng = np.random.default_rng(5)
    x, y, z = rng.normal(size=(2, 3)), rng.normal(size=(3, 4)), rng.normal(size=4)
    given = ["einsum_path", (1, 2), (0, 1)]
    for optimize in (given, "optimal", ("greedy", 1000), True, False):

        def f(v, optimize=optimize):
            return np.einsum("ij,jk,k->i", v, y, z, optimize=optimize)

        value, _ = funcad.jvp(f, (x,), (x,))
        assert_close(value, f(x), rtol=1e-12)
    program = funcad.make_program(
        lambda v: np.einsum("ij,jk,k->i", v, y, z, optimize=given)
    )(x)
    products = [e for e in program.equations if e.primitive.name == "matmul"]
    assert len(products[0].inputs[0].shape) == 2


def test_einsum_path_of_tracers_is_that_of_their_shapes():
    x = np.ones((2, 3))
    seen = []

    def f(v):
        seen.append(np.einsum_path("ij,jk,kl->il", v, v.T, v, optimize="optimal"))
        return v

    funcad.linearize(f, x)
    assert seen == [np.einsum_path("ij,jk,kl->il", x, x.T, x, optimize="optimal")]


def test_products_of_small_integers_stay_small_and_of_booleans_are_booleans():
    for x in (np.array([100, 100], np.int8), np.array([True, True])):
        for f in (np.vecdot, np.dot, np.vdot, np.inner, np.kron):
            assert_same(funcad.vmap(lambda v, f=f: f(v, v))(x[None])[0], f(x, x))
        for subscripts in ("i,i", "i->", "i,j->"):
            operands = [x] * (1 + subscripts.count(","))
            wanted = np.einsum(subscripts, *operands)
            program = funcad.make_program(lambda *v, s=subscripts: np.einsum(s, *v))(
                *operands
            )
            assert_same(program.evaluate(operands), [wanted])


def test_norm_at_the_origin_has_derivative_zero():
    assert_same(funcad.grad(np.linalg.norm)(np.zeros(3)), np.zeros(3))
    assert_same(
        funcad.grad(lambda x: np.linalg.norm(x, axis=0)[0])(np.zeros((2, 2)))[0],
        np.zeros(2),
    )


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.complex64, np.int32])
@pytest.mark.parametrize("number", [2, 2.5, 1j])
@pytest.mark.parametrize("function", [np.dot, lambda x, y: np.linspace(x, y, 4)])
def test_numbers_have_the_dtype_that_numpy_gives_them(function, kind, number):
    x = np.arange(1, 4).astype(kind)
    for args in ((x, number), (number, x), (x[1], number)):
        want = function(*args)
        got = funcad.jit(function)(*args)
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-2)
