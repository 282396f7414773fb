"""A stand-in for CuPy on a machine without a GPU: arrays that stay on their side.

An :class:`Array` holds its entries in host memory and behaves as ``cupy.ndarray`` does
where that differs from NumPy: it refuses to become a NumPy array, refuses operations
with NumPy arrays (NumPy's scalars and Python's numbers are welcome), and gives 0-d
arrays where NumPy gives scalars.  What CuPy lacks is missing here too: broadcasting in
``linalg.solve``, ``maximum.accumulate``, sorting algorithms by name.  The tests run
the sample table on such arrays to find mistakes that would otherwise need a GPU.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.linalg
import scipy.special

from funcad.backends import Backend, backend_of, register_backend

_SCALARS = (bool, int, float, complex, np.generic)


class Array(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of another library than NumPy."""

    __slots__ = ("_host",)
    __array_priority__ = 100

    def __init__(self, host: Any) -> None:
        self._host = np.asarray(host)

    # ---------------------------------------------------------- what is refused

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any):
        out = kwargs.pop("out", ())
        if any(not _is_known(x) for x in (*inputs, *out)):
            return NotImplemented
        if method in ("reduce", "accumulate") and ufunc not in (np.add, np.multiply):
            raise NotImplementedError(f"`{ufunc.__name__}.{method}` is not supported")
        if method not in ("__call__", "reduce", "accumulate"):
            return NotImplemented
        result = getattr(ufunc, method)(*map(_unwrap, inputs), **kwargs)
        if not out:
            return _wrap(result)
        (target,) = out
        np.copyto(_unwrap(target), result, casting="same_kind")
        return target

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any):
        if not all(issubclass(t, (Array, np.ndarray)) for t in types):
            return NotImplemented
        module = linalg if function.__module__ == "numpy.linalg" else namespace
        ours = getattr(module, function.__name__, None)
        return NotImplemented if ours is None else ours(*args, **kwargs)

    # ------------------------------------------------------------- attributes

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    real = property(lambda self: Array(self._host.real))
    imag = property(lambda self: Array(self._host.imag))
    T = property(lambda self: Array(self._host.T))

    def get(self) -> np.ndarray:
        """A copy in the host's memory."""
        return self._host.copy()

    # ---------------------------------------------------------------- indexing

    def __getitem__(self, key: Any) -> Array:
        return Array(self._host[_index(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._host[_index(key)] = _unwrap(value)

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Any:
        return map(Array, self._host)

    def __repr__(self) -> str:
        return repr(self._host)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self._host)

    def __int__(self) -> int:
        return int(self._host)

    __index__ = __int__

    def __float__(self) -> float:
        return float(self._host)

    def __complex__(self) -> complex:
        return complex(self._host)

    def sort(self, axis: int = -1, kind: Any = None) -> None:
        self._host.sort(axis=axis, kind=_stable(kind))

    def argsort(self, axis: int = -1, kind: Any = None) -> Array:
        return Array(self._host.argsort(axis=axis, kind=_stable(kind)))


def _is_known(x: Any) -> bool:
    """Whether CuPy would take up this operand, if only to refuse it."""
    # the same question, asked the same way, decides it in cupy.ndarray.__array_ufunc__
    return isinstance(x, (Array, np.ndarray, *_SCALARS)) or hasattr(
        x, "__cuda_array_interface__"
    )


def _unwrap(x: Any) -> Any:
    if isinstance(x, Array):
        return x._host
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    if isinstance(x, (list, tuple)):
        return type(x)(map(_unwrap, x))
    return x


def _wrap(x: Any) -> Any:
    if isinstance(x, (np.ndarray, np.generic)):
        return Array(x)
    return tuple(map(_wrap, x)) if isinstance(x, (list, tuple)) else x


def _index(key: Any) -> Any:
    # CuPy copies NumPy's index arrays to the device; funcad must not rely on it
    return _unwrap(key) if isinstance(key, tuple) else _unwrap((key,))


def _stable(kind: Any) -> str:
    if kind not in (None, "stable"):
        raise ValueError(f"unsupported sort algorithm {kind!r}")
    return "stable"


def _forwarded(function: Any) -> Any:
    def forward(*args: Any, **kwargs: Any) -> Any:
        kwargs = {k: _unwrap(v) for k, v in kwargs.items()}
        return _wrap(function(*map(_unwrap, args), **kwargs))

    forward.__name__ = function.__name__
    return forward


def _method(name: str) -> Any:
    def method(self: Array, *args: Any, **kwargs: Any) -> Any:
        return _wrap(getattr(self._host, name)(*map(_unwrap, args), **kwargs))

    return method


for _name in (
    *("all", "any", "argmax", "argmin", "astype", "clip", "conj", "conjugate", "copy"),
    *("cumprod", "cumsum", "diagonal", "dot", "flatten", "item", "max", "mean", "min"),
    *("nonzero", "prod", "ravel", "repeat", "reshape", "round", "searchsorted", "std"),
    *("squeeze", "sum", "swapaxes", "take", "tolist", "trace", "transpose", "var"),
):
    setattr(Array, _name, _method(_name))


# ------------------------------------------------------------------------- functions

_CREATION = (
    *("arange", "array", "asarray", "empty", "eye", "full", "identity", "linspace"),
    *("ones", "tri", "zeros"),
)
_FUNCTIONS = (
    *(
        "all",
        "any",
        "append",
        "argmax",
        "argmin",
        "argpartition",
        "array_equal",
        "ascontiguousarray",
        "around",
        "atleast_1d",
    ),
    *("atleast_2d", "atleast_3d", "average", "bincount", "broadcast_arrays"),
    *("broadcast_to", "clip", "column_stack", "concatenate", "convolve", "copy"),
    *("count_nonzero", "sinc"),
    *("cumprod", "cumsum", "diag", "diagonal", "diff", "dot", "dstack", "einsum"),
    *("empty_like", "expand_dims", "flip", "fliplr", "flipud", "full_like", "hstack"),
    *("imag", "inner", "isclose", "isscalar", "kron", "max", "mean", "median", "min"),
    *("moveaxis", "nan_to_num", "ndim", "nonzero", "ones_like", "outer", "pad", "prod"),
    *("ptp", "ravel", "ravel_multi_index", "real", "repeat", "reshape", "result_type"),
    *("roll", "rollaxis", "round", "searchsorted", "shape", "size", "split", "squeeze"),
    *("stack", "std", "sum", "swapaxes", "take", "take_along_axis", "tensordot"),
    *("tile", "trace", "transpose", "tril", "triu", "unique", "var", "vdot", "vstack"),
    *("where", "zeros_like"),
)
_UFUNCS = [name for name in dir(np) if isinstance(getattr(np, name), np.ufunc)]
_CONSTANTS = {
    name: getattr(np, name)
    for name in dir(np)
    if isinstance(getattr(np, name), (type, float))
}


def _to_device(function: Any) -> Any:
    """``array`` and ``asarray``, the explicit way from the host."""
    return lambda x, *args, **kwargs: Array(
        function(x._host if isinstance(x, Array) else x, *args, **kwargs)
    )


def _sort(a: Array, axis: int = -1, kind: Any = None) -> Array:
    return Array(np.sort(_unwrap(a), axis=axis, kind=_stable(kind)))


def _argsort(a: Array, axis: int = -1, kind: Any = None) -> Array:
    return a.argsort(axis=axis, kind=kind)


def _solve(a: Array, b: Array) -> Array:
    a, b = _unwrap(a), _unwrap(b)
    if b.ndim > 1 and a.shape[:-1] != b.shape[:-1]:
        raise ValueError(
            "a must have (..., M, M) shape and b must have (..., M, K) for "
            "multidimensional b"
        )
    return Array(np.linalg.solve(a, b))


linalg = SimpleNamespace(
    solve=_solve,
    **{
        name: _forwarded(getattr(np.linalg, name))
        for name in ("cholesky", "det", "eigh", "inv", "norm", "qr", "slogdet", "svd")
    },
)

fft = SimpleNamespace(
    **{
        name: _forwarded(getattr(np.fft, name))
        for name in ("fftn", "ifftn", "irfft", "rfft")
    }
)


def _as_strided(x: Array, shape: Any, strides: Any) -> Array:
    return Array(np.lib.stride_tricks.as_strided(_unwrap(x), shape, strides))


namespace = SimpleNamespace(
    **_CONSTANTS,
    **{name: _forwarded(getattr(np, name)) for name in _UFUNCS},
    **{name: _forwarded(getattr(np, name)) for name in _CREATION},
    **{name: _forwarded(getattr(np, name)) for name in _FUNCTIONS},
)
vars(namespace).update(
    ndarray=Array,
    array=_to_device(np.array),
    asarray=_to_device(np.asarray),
    sort=_sort,
    argsort=_argsort,
    linalg=linalg,
    fft=fft,
    lib=SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=_as_strided)),
    asnumpy=Array.get,
)


# What cupyx.scipy.special and cupyx.scipy.linalg have of what funcad calls.
_SPECIAL = (
    *("bdtr", "beta", "betainc", "betaln", "digamma", "entr", "erf", "erfc", "erfcinv"),
    *("erfcx", "erfinv", "exp1", "exp10", "exp2", "expi", "expit", "expm1", "expn"),
    *("exprel", "gamma", "gammainc", "gammaincc", "gammaincinv", "gammaln", "huber"),
    *("i0", "i0e", "i1", "i1e", "j0", "j1", "k0", "k0e", "k1", "k1e", "kl_div"),
    *("log1p", "log_expit", "log_ndtr", "log_softmax", "loggamma", "logit"),
    *("logsumexp", "ndtr", "ndtri", "poch", "polygamma", "pseudo_huber", "psi"),
    *("rel_entr", "sinc", "softmax", "xlog1py", "xlogy", "y0", "y1", "yn", "zeta"),
    *("betaincinv", "cosm1", "ellipj", "ellipk", "lpmv", "rgamma", "sph_harm"),
    *("boxcox", "boxcox1p", "inv_boxcox", "inv_boxcox1p", "cosdg", "sindg", "tandg"),
    *("cotdg", "gammasgn", "gammainccinv", "multigammaln", "cbrt", "radian"),
)
_LINALG = (
    *("block_diag", "circulant", "hankel", "lu", "lu_factor", "lu_solve"),
    *("solve_triangular", "toeplitz"),
)


class _Forwarding:
    """Some of a module's functions, on these arrays; the others are missing."""

    def __init__(self, module: Any, names: Any) -> None:
        self._module = module
        self._names = frozenset(names)

    def __getattr__(self, name: str) -> Any:
        if name not in self._names:
            raise AttributeError(f"{self._module.__name__} of the double has no {name}")
        return _forwarded(getattr(self._module, name))


class LinearOperator:
    """``cupyx.scipy.sparse.linalg.LinearOperator``, as far as products go."""

    def __init__(
        self, shape, matvec, rmatvec=None, matmat=None, dtype=None, rmatmat=None
    ):
        self.shape, self.dtype = shape, dtype
        self._matvec, self._rmatvec = matvec, rmatvec
        self._matmat, self._rmatmat = matmat, rmatmat

    def matvec(self, x: Array) -> Array:
        assert x.shape in ((self.shape[1],), (self.shape[1], 1))
        return self._matvec(x).reshape(self.shape[0], *x.shape[1:])

    def rmatvec(self, x: Array) -> Array:
        assert x.shape in ((self.shape[0],), (self.shape[0], 1))
        return self._rmatvec(x).reshape(self.shape[1], *x.shape[1:])

    def matmat(self, x: Array) -> Array:
        return self._matmat(x)

    def rmatmat(self, x: Array) -> Array:
        return self._rmatmat(x)

    def __matmul__(self, x: Array) -> Array:
        return self.matmat(x) if x.ndim == 2 else self.matvec(x)


def _cg(a, b, x0=None, tol=1e-5, maxiter=None, M=None, callback=None, atol=None):
    """Conjugate gradients, with CuPy's arguments; the first product is with zero."""
    assert x0 is None and M is None and isinstance(b, Array)
    x = namespace.zeros(b.shape, b.dtype)
    atol = max(atol or 0.0, tol * float(linalg.norm(b)))
    r = b - a.matvec(x)
    p = r
    for _ in range(maxiter or 10 * len(b)):
        q = a.matvec(p)
        alpha = (r @ r) / (p @ q)
        x, following = x + alpha * p, r - alpha * q
        if callback is not None:
            callback(x)
        p, r = following + (following @ following) / (r @ r) * p, following
        if float(linalg.norm(r)) <= atol:
            return x, 0
    return x, maxiter


class DoubleBackend(Backend):
    """What funcad asks of an array library, for these arrays."""

    name = "double"
    namespace = namespace
    special = _Forwarding(scipy.special, _SPECIAL)
    linalg = _Forwarding(scipy.linalg, _LINALG)
    sparse_linalg = SimpleNamespace(LinearOperator=LinearOperator, cg=_cg)

    def from_host(self, x: Any) -> Any:
        return Array(np.array(x))

    def to_host(self, x: Any) -> Any:
        return x.get()

    def add_at(self, x: Any, index: tuple[Any, ...], updates: Any) -> None:
        np.add.at(_unwrap(x), _unwrap(index), _unwrap(updates))

    def solve_triangular(self, a: Any, b: Any, lower: bool) -> Any:
        triangle = np.tril if lower else np.triu
        return Array(np.linalg.solve(triangle(_unwrap(a)), _unwrap(b)))

    def lu_factor(self, a: Any) -> tuple[Any, Any]:
        return _wrap(backend_of().lu_factor(_unwrap(a)))

    def lu_solve(self, lu: Any, pivots: Any, b: Any, transposed: bool) -> Any:
        return _wrap(backend_of().lu_solve(*map(_unwrap, (lu, pivots, b)), transposed))


register_backend(Array, DoubleBackend())
