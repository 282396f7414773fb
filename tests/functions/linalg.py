"""Calls of linear algebra, NumPy's and SciPy's.

Vectors that are determined up to a sign or phase are compared by what does not depend
on it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from functions.table import of_one, row, some
from samples.factorization import Diagonalisable, Hermitian, Rectangular
from samples.linalg import Dominant
from samples.table import (
    NONZERO,
    REAL,
    Call,
    Matrices,
    Operand,
    broadcasting,
    dtypes_of,
    shapes,
)

KINDS = "?bilfdFD"
FLOATS = "fdFD"
REALS = "fd"
SIZES = st.sampled_from((2, 3, 1, 0))
FULL = st.sampled_from((2, 3, 1))
LEADS = shapes(max_rank=1, sizes=(2, 1, 0))
FULL_LEADS = shapes(max_rank=1, sizes=(2, 1))


def square(domain: Any, kinds: str = FLOATS, sizes: Any = SIZES, **params: Any) -> Any:
    """Calls with square matrices; each parameter may be left out."""

    def form(draw: Any) -> Any:
        n = draw(sizes)
        lead = draw(LEADS if sizes is SIZES else FULL_LEADS)
        return (*lead, n, n), some(draw, **params)

    return of_one(form, kinds, domain)


def rectangular(
    kinds: str = FLOATS, domain: Any = None, sizes: Any = SIZES, **params: Any
) -> Any:
    """Calls with matrices that need not be square."""

    def form(draw: Any) -> Any:
        lead = draw(LEADS if sizes is SIZES else FULL_LEADS)
        return (*lead, draw(sizes), draw(sizes)), some(draw, **params)

    return of_one(form, kinds, domain or Rectangular())


def systems(
    vector: bool, domain: Any = None, kinds: str = KINDS, copies: int = 1, **params: Any
) -> Any:
    """Calls with a square matrix and right-hand sides."""

    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        n = draw(SIZES if domain is None else FULL)
        lead = draw(LEADS if domain is None else FULL_LEADS)
        a, b = draw(broadcasting(2, lead))
        right = (n,) if vector else (*b, n, draw(st.sampled_from((2, 1, 0))))
        left = Operand((*a, n, n), draw(dtypes_of(kinds, dtypes)), domain or Matrices())
        kind = left.dtype if domain else draw(dtypes_of(kinds, dtypes))
        return Call((left, Operand(right, kind)), some(draw, **params))

    return calls


def single(calls: Any) -> Any:
    """The same calls without leading axes."""

    @st.composite
    def cut(draw: Any, dtypes: str) -> Call:
        call = draw(calls(dtypes))
        rank = [2, 1 if len(call.operands[-1].shape) == 1 else 2][: len(call.operands)]
        operands = [
            op._replace(shape=op.shape[len(op.shape) - r :])
            for op, r in zip(call.operands, rank, strict=True)
        ]
        return Call(tuple(operands), call.params)

    return cut


def adjoint(x: Any) -> Any:
    return np.conj(np.swapaxes(x, -1, -2))


def weights(s: Any) -> Any:
    """Numbers that tell the vectors of a factorisation apart."""
    return 1 / np.cumsum(np.real(s) * 0 + 1, axis=-1)[..., None, :]


def invariant(through: Any) -> Any:
    """Call a factorisation and keep what does not depend on signs and phases."""
    return lambda f, a, **params: through(*f(a, **params))


def pairs(u: Any, s: Any, vh: Any) -> Any:
    """Singular values, pairs of vectors added with weights, and whole spans."""
    k = s.shape[-1]
    mixed = (u[..., :k] * weights(s)) @ vh[..., :k, :]
    return s, mixed, u[..., :k] @ adjoint(u[..., :k]), u[..., k:] @ adjoint(u[..., k:])


def spectral(w: Any, v: Any) -> Any:
    """Eigenvalues, and projectors on eigenvectors added with weights."""
    return w, (v * weights(w)) @ adjoint(v)


def oblique(w: Any, v: Any) -> Any:
    """The same where eigenvectors need not be orthogonal; complex, as some are."""
    return w + 0j, (v * weights(w)) @ np.linalg.inv(v) + 0j


# ------------------------------------------------------------- NumPy: systems, inverses

for _vector in (True, False):
    row("linalg.solve", systems(_vector))
row("linalg.inv", square(Matrices(), KINDS))
row("linalg.det", square(Matrices(), KINDS))
row("linalg.slogdet", square(Matrices(), KINDS))
row("linalg.cholesky", square(Matrices(positive=True), KINDS, upper=st.booleans()))
row("linalg.pinv", rectangular(rtol=(1e-8, None)), tolerance=1e-11)
row(
    "linalg.pinv",
    square(Hermitian(), rcond=(1e-8,), hermitian=(True, False)),
    tolerance=1e-11,
)


def _least_squares(vector: bool, kinds: str = FLOATS) -> Any:
    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        m, n = draw(FULL), draw(FULL)
        dtype = draw(dtypes_of(kinds, dtypes))
        right = (m,) if vector else (m, draw(st.sampled_from((2, 1))))
        operands = Operand((m, n), dtype, Rectangular()), Operand(right, dtype)
        return Call(operands, {})

    return calls


for _vector in (True, False):
    row(
        "linalg.lstsq",
        _least_squares(_vector),
        apply=lambda f, a, b: f(a, b)[:2],
        tolerance=1e-11,
    )
    row(
        "linalg.lstsq",
        _least_squares(_vector),
        apply=lambda f, a, b: f(a, b)[2:],
        smooth=(0,),
    )


def _tensor_calls(shape: Any, right: Any, **params: Any) -> Any:
    """Tensors that are well conditioned as matrices."""

    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        dtype = draw(dtypes_of(FLOATS, dtypes))
        operands = [Operand(shape, dtype, Unfolded())]
        if right is not None:
            operands.append(Operand(right, dtype))
        return Call(tuple(operands), params)

    return calls


class Unfolded(NamedTuple):
    """Tensors whose entries, in any order, make no singular matrix to speak of."""

    def draw(self, rng: Any, shape: Any, dtype: Any) -> Any:
        n = int(np.sqrt(np.prod(shape)))
        x = Matrices().draw(rng, (n, n), dtype)
        return x.reshape(shape)


row("linalg.tensorinv", _tensor_calls((2, 3, 3, 2), None))
row("linalg.tensorinv", _tensor_calls((6, 3, 2), None, ind=1))
row("linalg.tensorsolve", _tensor_calls((3, 2, 2, 3), (3, 2)))
row("linalg.tensorsolve", _tensor_calls((6, 2, 3), (6,)))
# ---------------------------------------------------------------- NumPy: factorisations

row("linalg.qr", rectangular(mode=("reduced", "r")), apply=lambda f, a, **k: f(a, **k))
row(
    "linalg.qr",
    rectangular(),
    apply=lambda f, a: [x @ adjoint(x) for x in f(a, mode="complete")],
)
row("linalg.svdvals", rectangular())
row("linalg.svd", rectangular(), apply=lambda f, a: f(a, compute_uv=False))
row("linalg.svd", rectangular(full_matrices=(False,)), apply=invariant(pairs))
row(
    "linalg.svd",
    square(Hermitian()),
    apply=lambda f, a: pairs(*f(a, hermitian=True)),
)
row(
    "linalg.svd",
    square(Hermitian()),
    apply=lambda f, a: f(a, compute_uv=False, hermitian=True),
)
row("linalg.eigvalsh", square(Hermitian(), UPLO=("L", "U", "l")))
row("linalg.eigh", square(Hermitian(), UPLO=("L", "U")), apply=invariant(spectral))
row(
    "linalg.eigvals",
    square(Diagonalisable(real=True), REALS, FULL),
    apply=lambda f, a: f(a) + 0j,
    host_only=True,
)
row("linalg.eigvals", square(Diagonalisable(), "FD"), host_only=True)
row(
    "linalg.eig",
    square(Diagonalisable(), FLOATS, FULL),
    apply=invariant(oblique),
    host_only=True,
    tolerance=1e-11,
)

# ------------------------------------------------------------------------ NumPy: norms


def _norm(orders: Any, count: int) -> Any:
    def form(draw: Any) -> Any:
        shape = draw(shapes(count, 3, (2, 3, 1)))
        order = draw(st.permutations(range(-len(shape), 0)))
        axis = tuple(order[:count]) if count == 2 else order[0]
        params = {"axis": axis, "ord": draw(st.sampled_from(orders))}
        return shape, params | some(draw, keepdims=st.booleans())

    return form


VECTOR_ORDERS = (None, 0, 1, 2, 3, 2.5, np.inf, -np.inf, -1, -2, 0.5)
ENTRYWISE_ORDERS = (None, "fro", 1, -1, np.inf, -np.inf)

row("linalg.norm", of_one(_norm(VECTOR_ORDERS, 1), KINDS, NONZERO))
row("linalg.norm", of_one(_norm(ENTRYWISE_ORDERS, 2), KINDS, NONZERO))
row("linalg.norm", of_one(_norm((2, -2, "nuc"), 2), FLOATS, Rectangular()))
row("linalg.norm", of_one(lambda draw: (draw(shapes()), {}), KINDS, NONZERO))
row(
    "linalg.matrix_norm",
    rectangular(ord=(*ENTRYWISE_ORDERS, 2, -2, "nuc"), sizes=FULL, keepdims=(True,)),
)


def _vector_norm(draw: Any) -> Any:
    shape = draw(shapes(1, 3, (2, 3, 1)))
    axes = st.permutations(range(len(shape))).map(lambda p: tuple(p[:2]))
    orders = [ord for ord in VECTOR_ORDERS if ord is not None]
    return shape, some(draw, axis=axes, ord=orders, keepdims=st.booleans())


row("linalg.vector_norm", of_one(_vector_norm, KINDS, NONZERO))
row("linalg.cond", rectangular(sizes=FULL, p=(None, 2, -2)), tolerance=1e-11)
row("linalg.cond", square(Matrices(), sizes=FULL, p=("fro", 1, -1, np.inf, "nuc", -2)))


class Singular(NamedTuple):
    """Matrices, the first of which has a row of zeros."""

    def draw(self, rng: Any, shape: Any, dtype: Any) -> Any:
        x = Matrices().draw(rng, shape, dtype)
        x.reshape(-1, *shape[-2:])[0, 0] = 0
        return x


def _singular(draw: Any) -> Any:
    n = draw(FULL)
    order = st.sampled_from(("fro", 1, -1, np.inf, -np.inf))
    return (*draw(FULL_LEADS), n, n), {"p": draw(order)}


# of integers, as at such floats jvp has nothing finite to return
row("linalg.cond", of_one(_singular, "bil", Singular()), smooth=())
row("linalg.matrix_rank", rectangular(tol=(0.5,)), smooth=())
row("linalg.matrix_rank", rectangular(domain=Dominant(), rtol=(1e-3,)), smooth=())
row("linalg.matrix_rank", square(Hermitian(), hermitian=(True,)), smooth=())
row(
    "linalg.matrix_rank",
    of_one(lambda draw: (draw(shapes(max_rank=1)), {})),
    smooth=(),
)

# --------------------------------------------------------------------- NumPy: products

row(
    "linalg.matrix_power",
    of_one(
        lambda draw: ((2, *(draw(SIZES),) * 2), {"n": draw(st.integers(-2, 5))}),
        FLOATS,
        Matrices(),
    ),
    tolerance=1e-9,
)
row(
    "linalg.matrix_power",
    of_one(lambda draw: ((2, 2), {"n": draw(st.integers(0, 4))}), "bil"),
    smooth=(),
)


@st.composite
def _chains(draw: Any, dtypes: str) -> Call:
    sizes = draw(st.lists(st.sampled_from((2, 3, 1)), min_size=3, max_size=6))
    found = [(m, n) for m, n in zip(sizes[:-1], sizes[1:], strict=True)]
    if draw(st.booleans()):
        found[0] = found[0][1:]
    if draw(st.booleans()):
        found[-1] = found[-1][:1]
    kinds = dtypes_of(KINDS, dtypes)
    return Call(tuple(Operand(shape, draw(kinds)) for shape in found), {})


row("linalg.multi_dot", _chains, apply=lambda f, *arrays: f(list(arrays)))


@st.composite
def _two_vectors(draw: Any, dtypes: str) -> Call:
    kinds = dtypes_of(KINDS[1:] + "e", dtypes)
    return Call(tuple(Operand((draw(SIZES),), draw(kinds)) for _ in range(2)), {})


row("linalg.outer", _two_vectors)


def _cross(sizes: Any, **params: Any) -> Any:
    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        lead = draw(broadcasting(2, draw(shapes(max_rank=2))))
        kinds = dtypes_of("bilfdFD", dtypes)
        operands = [
            Operand((*some_lead, draw(st.sampled_from(sizes))), draw(kinds))
            for some_lead in lead
        ]
        return Call(tuple(operands), params)

    return calls


row("cross", _cross((3,)))
row("linalg.cross", _cross((3,)))


@st.composite
def _cross_axes(draw: Any, dtypes: str) -> Call:
    kinds = dtypes_of("bilfdFD", dtypes)
    operands = Operand((3, 2), draw(kinds)), Operand((2, 3), draw(kinds))
    axis_c = draw(st.sampled_from((0, 1, -1, -2)))
    return Call(operands, {"axisa": 0, "axisb": -1, "axisc": axis_c})


row("cross", _cross_axes)

# ------------------------------------------------------------------------------- SciPy
# What CuPy lacks is refused there; SciPy itself takes stacks, as funcad does.


def _of_many_numbers(calls: Any) -> Any:
    """Without matrices of one number, which SciPy does not divide stacks by."""
    return lambda dtypes: calls(dtypes).filter(lambda c: c.operands[0].shape[-1] != 1)


row(
    "scipy.linalg.solve",
    _of_many_numbers(systems(False, None, FLOATS, transposed=(False,))),
)
row("scipy.linalg.solve", single(systems(True, None, REALS, transposed=(True,))))
row(
    "scipy.linalg.solve",
    single(systems(True, Matrices(positive=True), FLOATS, assume_a=("her", "pos"))),
    smooth=(1,),
)
row("scipy.linalg.inv", square(Matrices(), FLOATS, FULL))
row("scipy.linalg.det", square(Matrices(), FLOATS, FULL))
row(
    "scipy.linalg.pinv",
    rectangular(sizes=FULL, atol=(1e-9,), rtol=(1e-9,)),
    tolerance=1e-11,
    host_only=True,
)
row(
    "scipy.linalg.pinv",
    rectangular(REALS, sizes=FULL),
    apply=lambda f, a: f(a, return_rank=True)[1],
    smooth=(),
)
for _vector in (True, False):
    row(
        "scipy.linalg.lstsq",
        _least_squares(_vector, "dD"),
        apply=lambda f, a, b: f(a, b)[0],
        tolerance=1e-11,
    )
row(
    "scipy.linalg.norm",
    single(rectangular(REALS, sizes=FULL, ord=("fro", 1, np.inf, 2, "nuc"))),
    # SciPy returns some as Python's numbers, which take on any precision
    apply=lambda f, a, **params: f(a, **params) * a.dtype.type(1),
)
for _vector in (True, False):
    row(
        "scipy.linalg.solve_triangular",
        systems(
            _vector,
            Matrices(),
            trans=(0, 1, 2, "T"),
            lower=(True, False),
            unit_diagonal=(True, False),
            kinds=FLOATS,
        )
        if not _vector
        else single(systems(True, Matrices(), FLOATS, lower=(True,))),
    )
row("scipy.linalg.cholesky", square(Matrices(positive=True), sizes=FULL, lower=(True,)))
row(
    "scipy.linalg.cho_factor",
    square(Matrices(positive=True), sizes=FULL, lower=(True,)),
    apply=lambda f, a, **k: np.triu(f(a)[0]) if not k else np.tril(f(a, **k)[0]),
)


def _cho_solve(f: Any, c: Any, b: Any, **params: Any) -> Any:
    return f((c, params.get("lower", False)), b)


row(
    "scipy.linalg.cho_solve",
    single(systems(False, Matrices(), FLOATS, lower=(True,))),
    apply=_cho_solve,
)
row(
    "scipy.linalg.lu",
    rectangular(domain=Dominant(), sizes=FULL, permute_l=(True,)),
)
row(
    "scipy.linalg.lu",
    rectangular(domain=Dominant(), sizes=FULL),
    apply=lambda f, a: f(a, p_indices=True),
)
row("scipy.linalg.lu_factor", rectangular(domain=Dominant(), sizes=FULL))


def _lu_solve(f: Any, lu: Any, b: Any, **params: Any) -> Any:
    """With no rows exchanged: the numbers from zero, where the matrix lives."""
    return f((lu, np.argsort(np.real(lu[0]) * 0)), b, **params)


row(
    "scipy.linalg.lu_solve",
    single(systems(False, Matrices(), FLOATS, trans=(0, 1, 2))),
    apply=_lu_solve,
)
row("scipy.linalg.qr", rectangular(sizes=FULL), apply=lambda f, a: f(a, mode="r"))
row(
    "scipy.linalg.qr", rectangular(sizes=FULL), apply=lambda f, a: f(a, mode="economic")
)
row("scipy.linalg.svd", rectangular(sizes=FULL), apply=invariant(pairs))
row("scipy.linalg.svdvals", rectangular(sizes=FULL))
row(
    "scipy.linalg.eigh",
    square(Hermitian(), sizes=FULL, lower=(True, False)),
    apply=invariant(spectral),
)


@st.composite
def _pencils(draw: Any, dtypes: str) -> Call:
    n, dtype = draw(FULL), draw(dtypes_of(FLOATS, dtypes))
    b = Operand((n, n), dtype, Matrices(positive=True))
    return Call((Operand((n, n), dtype, Hermitian()), b), some(draw, lower=(False,)))


row("scipy.linalg.eigvalsh", square(Hermitian(), sizes=FULL, lower=(True, False)))
row("scipy.linalg.eigvalsh", _pencils, tolerance=1e-11)
row(
    "scipy.linalg.eigh",
    _pencils,
    apply=lambda f, a, b, **k: spectral(*f(a, b, **k)),
    tolerance=1e-11,
)
row("scipy.linalg.eigvals", square(Diagonalisable(), sizes=FULL), host_only=True)
row(
    "scipy.linalg.eig",
    square(Diagonalisable(), sizes=FULL),
    apply=invariant(oblique),
    host_only=True,
    tolerance=1e-11,
)
for _name in ("expm", "sqrtm"):
    row(
        f"scipy.linalg.{_name}",
        square(Diagonalisable(), sizes=FULL),
        host_only=True,
        tolerance=1e-11,
    )
row(
    "scipy.linalg.logm",
    # of float32, SciPy's logarithms have imaginary parts of rounding
    square(Diagonalisable(), "dFD", sizes=FULL),
    host_only=True,
    tolerance=1e-11,
)


@st.composite
def _equations(draw: Any, dtypes: str) -> Call:
    n, k = draw(FULL), draw(FULL)
    dtype = draw(dtypes_of(FLOATS, dtypes))
    a, b = (
        Operand((n, n), dtype, Diagonalisable()),
        Operand((k, k), dtype, Diagonalisable()),
    )
    return Call((a, b, Operand((n, k), dtype)), {})


row("scipy.linalg.solve_sylvester", _equations, host_only=True, tolerance=1e-11)


@st.composite
def _blocks(draw: Any, dtypes: str) -> Call:
    count = draw(st.integers(1, 3))
    sizes = st.sampled_from((2, 1, 3))
    kinds = dtypes_of(KINDS, dtypes)
    found = [
        Operand((draw(sizes), draw(sizes)), draw(kinds), REAL) for _ in range(count)
    ]
    return Call(tuple(found), {})


row("scipy.linalg.block_diag", _blocks)


def _vectors(count: int, kinds: str = "lfdFD") -> Any:
    @st.composite
    def calls(draw: Any, dtypes: str) -> Call:
        found = [
            Operand((draw(FULL),), draw(dtypes_of(kinds, dtypes))) for _ in range(count)
        ]
        return Call(tuple(found), {})

    return calls


row("scipy.linalg.toeplitz", _vectors(1))
row("scipy.linalg.toeplitz", _vectors(2))
row("scipy.linalg.circulant", _vectors(1))
row("scipy.linalg.hankel", _vectors(1))
row("scipy.linalg.hankel", _vectors(2))


@st.composite
def _columns(draw: Any, dtypes: str) -> Call:
    k, kinds = draw(FULL), dtypes_of("ilfdFD", dtypes)
    return Call(tuple(Operand((draw(FULL), k), draw(kinds)) for _ in range(2)), {})


row("scipy.linalg.khatri_rao", _columns, host_only=True)
