"""What is true of every primitive, read off the sample table.

Each test runs once for each primitive that it concerns and for each array library, with
calls from ``samples.SAMPLES``.  Its reference implementations run in NumPy.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

import funcad
from funcad.backends import backend_of
from funcad.core.tracing import aval_of, dtype_of, registry, shape_of
from properties import (
    as_tuple,
    assert_close,
    central_difference,
    complex_step,
    direction,
    for_all,
    generators,
    host,
    pairing,
    placed,
)
from samples import SAMPLES
from samples.table import (
    DOUBLE,
    EVERY_DTYPE,
    HERE,
    Call,
    Operand,
    import_every_module,
)

import_every_module()

# the library's own: documentation and other tests may define more of them
PRIMITIVES = dict(registry)
ALL = sorted(SAMPLES)
SMOOTH = [name for name in ALL if SAMPLES[name].smooth]
CONSTANT = [n for n in ALL if SAMPLES[n].inexact and not SAMPLES[n].smooth]
LINEAR = [name for name in ALL if SAMPLES[name].linear(2)]
ANALYTIC = [name for name in ALL if SAMPLES[name].analytic]

# Small numbers of examples, and fewer where only the array's type is new.
SHARES = {"numpy": 0.4, "double": 0.2, "cupy": 0.2}

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


# --------------------------------------------------------------------- the table itself


def test_every_primitive_has_samples():
    missing = sorted(PRIMITIVES.keys() - SAMPLES.keys())
    assert not missing, (
        f"no samples of the primitives {missing}: add a row for each to SAMPLES in "
        "tests/samples/"
    )


def test_every_row_of_the_sample_table_is_of_a_primitive():
    assert not SAMPLES.keys() - PRIMITIVES.keys()


def test_the_table_knows_which_primitives_have_derivatives():
    # a loop of unknown length has forward mode, and a rule that says why not reverse
    registered = {n: p for n, p in PRIMITIVES.items() if n != "while"}
    with_rule = {name for name, p in registered.items() if p.jvp or p.dual}
    assert {name for name in ALL if SAMPLES[name].smooth} == with_rule - NO_FORWARD
    linear = {name for name, p in registered.items() if p.transpose is not None}
    assert set(LINEAR) == linear - NO_FORWARD


# Forward mode through these is an error, so that their tests stand elsewhere:
# transforms/test_custom.py and transforms/test_callback.py.
NO_FORWARD = {"custom_vjp_call", "custom_vjp_tangent", "pure_callback"}


def test_every_primitive_can_be_batched():
    assert not [name for name, p in PRIMITIVES.items() if p.batch is None]


# -------------------------------------------------------------------------- helpers


def calls(name: str, dtypes: str = EVERY_DTYPE) -> st.SearchStrategy[Call]:
    return SAMPLES[name].calls(dtypes)


def share(library: Any) -> float:
    return SHARES[library.name]


def applied(library: Any, name: str, call: Call) -> Callable[..., Any]:
    """The primitive as a function of its operands that returns a tuple."""
    params = {k: library.name if v is HERE else v for k, v in call.params.items()}
    if library is not NUMPY and SAMPLES[name].host_only:
        pytest.skip(f"{library.name} has no {name}")
    through = SAMPLES[name].through or plainly
    return lambda *operands: as_tuple(through(registry[name], *operands, **params))


def plainly(primitive: Any, *operands: Any, **params: Any) -> Any:
    return primitive(*operands, **params)


def reference(name: str, call: Call) -> Callable[..., Any]:
    return lambda *operands: SAMPLES[name].reference(*operands, **call.params)


def held(function: Callable[..., Any], operands: Any, free: Any) -> Callable[..., Any]:
    """A function of the free operands, the others being held where they are."""

    def of_free(*values: Any) -> Any:
        full = list(operands)
        for i, value in zip(free, values, strict=True):
            full[i] = value
        return function(*full)

    return of_free


NUMPY = backend_of()


def differentiable(name: str, call: Call, library: Any = NUMPY) -> list[int]:
    """Operands with respect to which a call is differentiated.

    A Python number and its tangent belong to no library but the host's, so that only
    there all that is computed from them stays in one place.
    """
    return [
        i
        for i, op in enumerate(call.operands)
        if op.is_inexact
        and i in SAMPLES[name].smooth
        and (library is NUMPY or not op.is_number)
    ]


class Point(NamedTuple):
    """A primitive at a point, as a function of the operands to differentiate in."""

    function: Callable[..., Any]
    reference: Callable[..., Any]
    hosts: list[Any]
    primals: list[Any]
    operands: list[Operand]

    def directions(self, rng: Any) -> list[Any]:
        """Tangents of the operands, in the host's memory."""
        return [op.direction(rng) for op in self.operands]


def point(library: Any, name: str, call: Call, rng: Any, free: Any = None) -> Point:
    """The call at operands drawn at random; ``free`` are those not held."""
    free = differentiable(name, call, library) if free is None else free
    assume(free)
    values = call.draw(rng)
    hosts = [values[i] for i in free]
    return Point(
        held(applied(library, name, call), placed(library, values), free),
        held(reference(name, call), values, free),
        hosts,
        placed(library, hosts),
        [call.operands[i] for i in free],
    )


def cotangents_of(library: Any, outs: Any, rng: Any) -> tuple[Any, ...]:
    return tuple(library.from_host(direction(rng, host(out))) for out in outs)


def stays_here(library: Any, *arrays: Any) -> bool:
    return all(backend_of(x) is library for x in arrays)


def avals(values: Any) -> list[Any]:
    return [aval_of(x) for x in values]


# -------------------------------------------------- values, shapes, staging, batching


@pytest.mark.parametrize("name", ALL)
def test_implementation_agrees_with_the_reference(library, name):
    @for_all(calls(name), generators(), share=share(library))
    def check(call, rng):
        values = call.draw(rng)
        outs = applied(library, name, call)(*placed(library, values))
        wants = as_tuple(reference(name, call)(*values))
        assert len(outs) == len(wants)
        assert stays_here(library, *outs) or all(op.is_number for op in call.operands)
        for out, want in zip(outs, wants, strict=True):
            assert dtype_of(out) == dtype_of(want)
            single = np.finfo(dtype_of(want)).eps if dtype_of(want).kind in "fc" else 0
            assert_close(out, want, rtol=100 * single, atol=100 * single)


@pytest.mark.parametrize("name", [n for n in ALL if SAMPLES[n].host_only])
def test_what_another_library_lacks_is_an_error_that_names_it(library, name):
    if library is NUMPY:
        return

    @for_all(calls(name), generators(), share=0.1)
    def check(call, rng):
        assume(all(0 not in op.shape for op in call.operands))
        operands = placed(library, call.draw(rng))
        through = SAMPLES[name].through or plainly
        with pytest.raises(funcad.errors.UnsupportedFunctionError, match=r"\w+: "):
            through(registry[name], *operands, **call.params)


@pytest.mark.parametrize("name", ALL)
def test_implementation_leaves_its_operands_as_they_were(library, name):
    @for_all(calls(name), generators(), share=0.5 * share(library))
    def check(call, rng):
        values = call.draw(rng)
        operands = placed(library, values)
        before = [host(v).copy() for v in operands]
        applied(library, name, call)(*operands)
        for operand, value in zip(operands, before, strict=True):
            np.testing.assert_array_equal(host(operand), value)


@pytest.mark.parametrize("name", ALL)
def test_shape_rule_foretells_shape_and_dtype(library, name):
    @for_all(calls(name), generators(), share=share(library))
    def check(call, rng):
        operands = placed(library, call.draw(rng))
        function = applied(library, name, call)
        structs = [
            funcad.ShapeDtypeStruct(op.shape, op.dtype)
            for op in call.operands
            if not op.is_number
        ]
        arrays = [i for i, op in enumerate(call.operands) if not op.is_number]
        assume(arrays)
        foretold = funcad.eval_shape(held(function, operands, arrays), *structs)
        assert avals(foretold) == avals(function(*operands))


# What has no definition in terms of NumPy's functions: special functions, functions of
# matrices, what draws random numbers, and what runs the user's own code.
NOT_IN_NUMPY = set(
    """
    airy beta beta_density betainc betainc_shape betaincc betainccinv betaincinv
    betaln boxcox boxcox1p cofactor_change cosdg cotdg custom_vjp_tangent dawsn
    ellipe ellipk erfcinv erfcx erfi erfinv exp1 expi expm expm_change expn fresnel
    gamma gamma_density gammainc gammainc_shape gammaincc gammainccinv gammaincinv
    gammaln gammasgn hyp0f1 hyp1f1 hyp2f1 i0 i0e i1 i1e inv_boxcox inv_boxcox1p iv
    ive j0 j1 jv k0 k0e k1 k1e kn kv kve lambertw log_ndtr loggamma logm logm_change
    move multigammaln ndtri ndtri_exp owens_t polygamma psi pure_callback
    random_draw rgamma riemann_zeta shichi sici sindg solve_sylvester spence sqrtm
    stdtr tandg y0 y1 yn yv zeta
    """.split()
)


@pytest.mark.parametrize("name", ALL)
def test_exported_program_computes_the_same_with_numpy_alone(name):
    # sums of half precision lose too many digits
    @for_all(calls(name, EVERY_DTYPE.replace("e", "")), generators(), share=0.1)
    def check(call, rng):
        # Python's own error functions are of real numbers
        real = name in {"erf", "erfc", "ndtr"}
        assume(not real or not any(map(np.iscomplexobj, call.draw(rng))))
        function, operands = applied(NUMPY, name, call), call.draw(rng)
        if name in NOT_IN_NUMPY:
            with pytest.raises(funcad.errors.ExportError, match="NumPy's functions"):
                funcad.export(function, *operands)
            return
        names: dict[str, Any] = {}
        exec(funcad.export(function, *operands, name="exported"), names)
        outs, wants = names["exported"](*operands), function(*operands)
        for out, want in zip(as_tuple(outs), wants, strict=True):
            assert shape_of(out) == shape_of(want)
            assert np.asarray(out).dtype == np.asarray(want).dtype
            single = 100 * np.finfo(np.float32).eps
            assert_close(out, want, rtol=single, atol=single)


@pytest.mark.parametrize("name", ALL)
def test_staged_program_evaluates_to_the_eager_result(library, name):
    @for_all(calls(name), generators(), share=share(library))
    def check(call, rng):
        function = applied(library, name, call)
        operands = placed(library, call.draw(rng))
        program = funcad.make_program(function)(*operands)
        outs, wants = program.evaluate(operands), function(*operands)
        assert avals(outs) == avals(wants)
        assert stays_here(library, *outs) or all(op.is_number for op in call.operands)
        for out, want in zip(outs, wants, strict=True):
            np.testing.assert_array_equal(host(out), host(want))


@st.composite
def batched_calls(draw: Any, name: str) -> Any:
    """A call, which of its operands to batch, along which axes, and how often."""
    call = draw(calls(name))
    arrays = [i for i, op in enumerate(call.operands) if not op.is_number]
    assume(arrays)
    subsets = itertools.product((True, False), repeat=len(arrays))
    chosen = draw(st.sampled_from([s for s in subsets if any(s)]))
    axes: list[int | None] = [None] * len(call.operands)
    for i, batched in zip(arrays, chosen, strict=True):
        if batched:
            rank = len(call.operands[i].shape)
            axes[i] = draw(st.integers(-rank - 1, rank))
    return call, axes, draw(st.sampled_from((2, 3, 1)))


def examples(call: Call, axes: Any, size: int, rng: Any) -> tuple[Any, list[Any]]:
    """Operands stacked along their batch axes, and the operands of each example."""
    held_values = call.draw(rng)
    rows = [call.draw(rng) for _ in range(size)]
    rows = [
        [h if a is None else v for v, h, a in zip(row, held_values, axes, strict=True)]
        for row in rows
    ]
    stacked = [
        h if a is None else np.stack([row[i] for row in rows], a)
        for i, (h, a) in enumerate(zip(held_values, axes, strict=True))
    ]
    return stacked, rows


@pytest.mark.parametrize("name", ALL)
def test_vmap_agrees_with_a_loop(library, name):
    @for_all(batched_calls(name), generators(), st.integers(0, 9), share=share(library))
    def check(batched, rng, out_axis):
        call, axes, size = batched
        stacked, rows = examples(call, axes, size, rng)
        function = applied(library, name, call)
        wants = [function(*placed(library, row)) for row in rows]
        ranks = [len(shape_of(w)) + 1 for w in wants[0]]
        outs_axes = tuple(out_axis % rank for rank in ranks)
        outs = funcad.vmap(function, tuple(axes), outs_axes)(*placed(library, stacked))
        assert stays_here(library, *outs)
        for i, (out, axis) in enumerate(zip(outs, outs_axes, strict=True)):
            want = np.stack([host(w[i]) for w in wants], axis)
            assert dtype_of(out) == want.dtype
            tolerance = precision(want, *stacked)
            assert_close(out, want, rtol=tolerance, atol=tolerance)


def precision(want: Any, *operands: Any) -> float:
    """Tolerance of results that differ in the order of summation alone.

    A result is as good as the least precise of the operands that it is computed from.
    """
    kinds = [dtype_of(x) for x in (want, *operands)]
    eps = [np.finfo(kind).eps for kind in kinds if kind.kind in "fc"]
    return 100 * max(eps) if want.dtype.kind in "fc" else 0


@pytest.mark.parametrize("name", ALL)
def test_nested_vmaps_agree_with_nested_loops(library, name):
    @for_all(calls(name), generators(), share=0.5 * share(library))
    def check(call, rng):
        arrays = [i for i, op in enumerate(call.operands) if not op.is_number]
        assume(arrays)
        function = applied(library, name, call)
        inner = [0 if i == arrays[0] else None for i in range(len(call.operands))]
        outer = [1 if i == arrays[0] else None for i in range(len(call.operands))]
        outer[arrays[-1]] = 1 if len(arrays) == 1 else 0
        # the first operand is mapped twice, the last one only by the outer vmap
        values = call.draw(rng)
        grid = [[call.draw(rng)[arrays[0]] for _ in range(3)] for _ in range(2)]
        last = [call.draw(rng)[arrays[-1]] for _ in range(3)]
        stacked = list(values)
        if len(arrays) > 1:
            stacked[arrays[-1]] = np.stack(last)
        stacked[arrays[0]] = np.stack([np.stack(row) for row in grid])
        twice = funcad.vmap(funcad.vmap(function, tuple(inner)), tuple(outer))
        outs = twice(*placed(library, stacked))
        for k, j in itertools.product(range(3), range(2)):
            row = list(values)
            if len(arrays) > 1:
                row[arrays[-1]] = last[k]
            row[arrays[0]] = grid[j][k]
            wants = function(*placed(library, row))
            for out, want in zip(outs, wants, strict=True):
                want = host(want)
                assert_close(
                    host(out)[k, j],
                    want,
                    precision(want, *stacked),
                    precision(want, *stacked),
                )


@pytest.mark.parametrize("name", ALL)
def test_vmap_over_no_examples_gives_the_shape_of_none(library, name):
    @for_all(batched_calls(name), generators(), share=0.25 * share(library))
    def check(batched, rng):
        call, axes, _ = batched
        stacked, rows = examples(call, axes, 1, rng)
        function = applied(library, name, call)
        wants = function(*placed(library, rows[0]))
        empty = [
            v if a is None else np.take(v, [], axis=a)
            for v, a in zip(stacked, axes, strict=True)
        ]
        outs = funcad.vmap(function, tuple(axes))(*placed(library, empty))
        for out, want in zip(outs, wants, strict=True):
            assert shape_of(out) == (0, *shape_of(want))
            assert dtype_of(out) == dtype_of(want)


# -------------------------------------------------------------------- first derivatives


def smooth_calls(name: str) -> st.SearchStrategy[Call]:
    """Calls in double precision with an operand to differentiate."""
    return calls(name, DOUBLE).filter(lambda call: differentiable(name, call))


@pytest.mark.parametrize("name", SMOOTH)
def test_jvp_agrees_with_finite_differences(library, name):
    @for_all(smooth_calls(name), generators(), share=share(library))
    def check(call, rng):
        at = point(library, name, call, rng)
        tangents = at.directions(rng)
        outs, got = funcad.jvp(at.function, at.primals, placed(library, tangents))
        want = central_difference(at.reference, at.hosts, tangents)
        assert avals(got) == avals(outs)
        assert stays_here(library, *got)
        for g, w in zip(got, want, strict=True):
            assert_close(g, w)


@pytest.mark.parametrize("name", ANALYTIC)
def test_jvp_agrees_with_the_complex_step(name):
    @for_all(calls(name, "d"), generators(), share=0.4)
    def check(call, rng):
        assume(not any(op.dtype is complex for op in call.operands))
        at = point(NUMPY, name, call, rng)
        tangents = at.directions(rng)
        got = funcad.jvp(at.function, at.primals, tangents)[1]
        want = complex_step(at.reference, at.hosts, tangents)
        for g, w in zip(got, want, strict=True):
            assert_close(g, w, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_pullback_is_the_transpose_of_the_derivative(library, name):
    @for_all(smooth_calls(name), generators(), share=share(library))
    def check(call, rng):
        at = point(library, name, call, rng)
        tangents = placed(library, at.directions(rng))
        outs, pushed = funcad.jvp(at.function, at.primals, tangents)
        values, f_vjp = funcad.vjp(at.function, *at.primals)
        assert avals(values) == avals(outs)
        cotangents = cotangents_of(library, outs, rng)
        pulled = f_vjp(cotangents)
        assert avals(pulled) == avals(at.primals)
        assert stays_here(library, *pulled)
        assert np.isclose(
            pairing(cotangents, pushed), pairing(pulled, tangents), rtol=1e-9, atol=1e-9
        )
        _, f_jvp = funcad.linearize(at.function, *at.primals)
        for got, want in zip(f_jvp(*tangents), pushed, strict=True):
            assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", LINEAR)
def test_linear_transpose_satisfies_the_dot_product_identity(library, name):
    @for_all(calls(name, DOUBLE), generators(), st.data(), share=share(library))
    def check(call, rng, data):
        group = data.draw(st.sampled_from(SAMPLES[name].linear(len(call.operands))))
        free = [i for i in group if call.operands[i].is_inexact]
        assume(free)
        values = call.draw(rng)
        for i in group:
            if i not in free:
                # a constant term would make the function affine
                values[i] = values[i] * 0
        function = held(applied(library, name, call), placed(library, values), free)
        xs = placed(library, [values[i] for i in free])
        ys = function(*xs)
        cotangents = cotangents_of(library, ys, rng)
        back = funcad.linear_transpose(function, *xs)(cotangents)
        assert avals(back) == avals(xs)
        assert stays_here(library, *back)
        assert np.isclose(
            pairing(cotangents, ys), pairing(back, xs), rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_keep_the_dtypes_of_what_they_belong_to(library, name):
    @for_all(calls(name), generators(), share=share(library))
    def check(call, rng):
        at = point(library, name, call, rng)
        tangents = placed(library, at.directions(rng))
        outs, pushed = funcad.jvp(at.function, at.primals, tangents)
        assume(all(dtype_of(out).kind in "fc" for out in outs))
        assert avals(pushed) == avals(outs)
        values, f_vjp = funcad.vjp(at.function, *at.primals)
        assert avals(values) == avals(outs)
        cotangents = cotangents_of(library, outs, rng)
        pulled = f_vjp(cotangents)
        assert avals(pulled) == avals(at.primals)
        eps = max(float(np.finfo(dtype_of(x)).eps) for x in (*at.primals, *outs))
        scale = 1 + sum(np.abs(host(t)).sum() for t in (*pushed, *pulled))
        assert np.isclose(
            pairing(cotangents, pushed),
            pairing(pulled, tangents),
            atol=200 * eps * scale,
        )


# Zero is what these two are taken to have, whatever their graphs say.
DETACHED = {"stop_gradient", "nextafter"}


@pytest.mark.parametrize("name", sorted(set(CONSTANT) - DETACHED))
def test_primitives_without_derivative_are_constant_between_their_jumps(name):
    @for_all(calls(name, DOUBLE), generators(), share=0.5)
    def check(call, rng):
        free = [i for i, op in enumerate(call.operands) if op.is_inexact]
        at = point(NUMPY, name, call, rng, free)
        steps = [1e-5 * t for t in at.directions(rng)]
        above = at.reference(*[x + h for x, h in zip(at.hosts, steps, strict=True)])
        below = at.reference(*[x - h for x, h in zip(at.hosts, steps, strict=True)])
        np.testing.assert_array_equal(above, below)


@pytest.mark.parametrize("name", CONSTANT)
def test_primitives_without_derivative_have_zero_tangents(library, name):
    @for_all(calls(name), generators(), share=0.5 * share(library))
    def check(call, rng):
        free = [i for i, op in enumerate(call.operands) if op.is_inexact]
        at = point(library, name, call, rng, free)
        tangents = placed(library, at.directions(rng))
        ((out,), (tangent,)) = funcad.jvp(at.function, at.primals, tangents)
        assert shape_of(tangent) == shape_of(out)
        if dtype_of(out).kind in "fc":
            assert dtype_of(tangent) == dtype_of(out)
            assert not host(tangent).any()
        else:
            assert dtype_of(tangent) == funcad.float0


# ------------------------------------------------------------------- second derivatives


def scalar_of(library: Any, at: Point, rng: Any) -> Callable[..., Any]:
    """A real scalar function: the results weighted and added up."""
    weights = cotangents_of(library, at.function(*at.primals), rng)

    def scalar(*values: Any) -> Any:
        results = zip(weights, at.function(*values), strict=True)
        return sum(np.sum(np.real(w * y)) for w, y in results)

    return scalar


def along(tangents: Any, gradient: Any) -> Any:
    """Derivative along a direction, from a gradient."""
    pairs = zip(gradient, tangents, strict=True)
    return sum(np.sum(np.real(g * t)) for g, t in pairs)


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivatives_agree_with_differences_of_the_gradient(library, name):
    @for_all(smooth_calls(name), generators(), share=0.5 * share(library))
    def check(call, rng):
        at = point(library, name, call, rng)
        scalar = scalar_of(library, at, rng)
        everything = tuple(range(len(at.primals)))
        gradient = funcad.grad(scalar, everything)
        directions = at.directions(rng)
        tangents = placed(library, directions)

        def directional(*xs):
            return funcad.jvp(scalar, xs, tangents)[1]

        forward_over_reverse = funcad.jvp(gradient, at.primals, tangents)[1]
        differences = central_difference(
            lambda *xs: gradient(*placed(library, xs)), at.hosts, directions
        )
        for got, want in zip(forward_over_reverse, differences, strict=True):
            assert_close(got, want)

        reverse_over_forward = funcad.grad(directional, everything)(*at.primals)
        reverse_over_reverse = funcad.grad(
            lambda *xs: along(tangents, gradient(*xs)), everything
        )(*at.primals)
        for other in (reverse_over_forward, reverse_over_reverse):
            for got, want in zip(other, forward_over_reverse, strict=True):
                assert_close(got, want, rtol=1e-7, atol=1e-7)

        others = placed(library, at.directions(rng))
        forward_over_forward = funcad.jvp(directional, at.primals, others)[1]
        want = pairing(forward_over_reverse, others)
        assert np.isclose(float(forward_over_forward), want, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_can_be_batched_and_staged(library, name):
    @for_all(smooth_calls(name), generators(), share=0.5 * share(library))
    def check(call, rng):
        free = [i for i in differentiable(name, call) if not call.operands[i].is_number]
        at = point(library, name, call, rng, free)
        rows = [[op.draw(rng) for op in at.operands] for _ in range(2)]
        scalar = scalar_of(library, at, rng)
        gradient = funcad.grad(scalar, argnums=tuple(range(len(free))))
        stacked = placed(
            library, [np.stack(column) for column in zip(*rows, strict=True)]
        )
        batched = funcad.vmap(gradient)(*stacked)
        loop = [gradient(*placed(library, row)) for row in rows]
        assert stays_here(library, *batched)
        for i, got in enumerate(batched):
            assert_close(got, np.stack([host(g[i]) for g in loop]), 1e-9, 1e-9)
        first_row = placed(library, rows[0])
        program = funcad.make_program(gradient)(*first_row)
        for got, want in zip(program.evaluate(first_row), loop[0], strict=True):
            assert aval_of(got) == aval_of(want)
            assert_close(got, want, 1e-9, 1e-9)
