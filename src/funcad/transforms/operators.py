"""Derivative matrices as SciPy's linear operators, which are never written out.

An iterative solver asks of a matrix its products with vectors alone.  Those of a
Jacobian are the linearised function and its transpose; those of a Hessian are the
linearised gradient.  Each operator runs the function once, when it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from funcad.backends import backend_of
from funcad.core import tree
from funcad.core.errors import (
    DerivativeLossError,
    InputDtypeError,
    OutputDtypeError,
)
from funcad.core.tracing import Array, Tracer, aval_of, dtype_of, shape_of
from funcad.flatten import ravel_pytree
from funcad.transforms.arguments import check_leaves, leaf_names, wraps, zero_tangent
from funcad.transforms.batch import vmap
from funcad.transforms.forward import linearize
from funcad.transforms.linear import transpose
from funcad.transforms.reverse import grad_as

__all__ = ["gauss_newton_operator", "hessian_operator", "linear_operator"]


def linear_operator(f: Callable[..., Any], x: Any, holomorphic: bool = False) -> Any:
    """Jacobian of a function at a point, as SciPy's ``LinearOperator``.

    Products cost about as much as the function: those with the Jacobian are the
    linearised function, those with its adjoint the transpose of that, conjugated; and
    several vectors go through at once, by ``vmap``.  The function itself runs once.

    Parameters
    ----------
    f : callable
        Function of one pytree of arrays, whose result is such a pytree.
    x : pytree of arrays
        Where to differentiate; NumPy or CuPy arrays.
    holomorphic : bool, optional
        Whether ``f`` is holomorphic, which complex ``x`` requires.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator, shape (m, n)
        Acts on vectors in the order of :func:`funcad.ravel_pytree`: n is the number of
        entries of ``x``, m that of the result.  For CuPy arrays it is
        ``cupyx.scipy.sparse.linalg.LinearOperator``.  Products are computed in the
        dtypes of ``x`` and of the result, whatever that of the vector is.

    Raises
    ------
    InputDtypeError
        If ``x`` has leaves that are no floats (complex numbers, with ``holomorphic``).
    OutputDtypeError
        If the result has integers in it, or real numbers where ``x`` is complex.
    DerivativeLossError
        If ``x`` is inside of a transform: SciPy takes values.

    See Also
    --------
    funcad.jacobian : the matrix itself.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from scipy.sparse.linalg import svds
    >>> a = funcad.linear_operator(lambda x: np.outer(x, x), np.array([3.0, 4.0]))
    >>> a.shape, a @ np.array([1.0, 0.0])
    ((4, 2), array([6., 4., 4., 0.]))
    >>> (svds(a, k=1, return_singular_vectors=False) ** 2).round(9)  # 4 |x|^2
    array([100.])
    """
    name = "linear_operator"
    wraps(f, name, _FORMS[name])
    vector, unravel = _as_vector(x, holomorphic, name)
    map = _linearize(f, vector, unravel, name)
    domain, codomain = dtype_of(vector), dtype_of(map.value)
    if domain.kind == "c" and codomain.kind != "c":
        raise OutputDtypeError(
            f"{name} with holomorphic=True takes functions with complex results, and "
            f"this one returned {codomain}: as a function of complex numbers it is not "
            "differentiable. Take the real and the imaginary part as two arguments."
        )
    pull = map.pull
    if domain.kind != codomain.kind:

        def pull(ct: Array) -> Array:
            # the cotangent of a real input is the real part of what is wanted
            return map.pull(ct) - 1j * map.pull(1j * ct)

    def adjoint(u: Array) -> Array:
        return np.conj(pull(np.conj(u)))

    return _operator(
        (shape_of(map.value)[0], shape_of(vector)[0]),
        np.result_type(domain, codomain),
        _extended(map.push, domain),
        _extended(adjoint if codomain.kind == "c" else map.pull, codomain),
        vector,
    )


def hessian_operator(f: Callable[..., Any], x: Any) -> Any:
    """Hessian of a scalar function at a point, as SciPy's ``LinearOperator``.

    The gradient is linearised once; a product then costs about as much as a gradient.

    Parameters
    ----------
    f : callable
        Function of one pytree of arrays whose result is a real scalar.
    x : pytree of floating-point arrays
        Where to differentiate; NumPy or CuPy arrays.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator, shape (n, n)
        Symmetric, for vectors in the order of :func:`funcad.ravel_pytree`.  For CuPy
        arrays it is ``cupyx.scipy.sparse.linalg.LinearOperator``.

    Raises
    ------
    NonScalarOutputError
        If the result is not a real scalar.
    InputDtypeError
        If ``x`` has leaves that are no floats.
    DerivativeLossError
        If ``x`` is inside of a transform: SciPy takes values.

    See Also
    --------
    funcad.hessian : the matrix itself.
    funcad.hvp : a single product.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> from scipy.sparse.linalg import eigsh
    >>> h = funcad.hessian_operator(lambda x: np.sum(x**3), np.array([1.0, 2.0, 3.0]))
    >>> h @ np.array([1.0, 0.0, 1.0])
    array([ 6.,  0., 18.])
    >>> float(eigsh(h, k=1, return_eigenvectors=False)[0].round(9))
    18.0

    SciPy's minimisers take it for the matrix:

    >>> from scipy.optimize import minimize
    >>> f = lambda x: np.sum((x - 1) ** 4 + x**2)
    >>> found = minimize(
    ...     f,
    ...     np.zeros(3),
    ...     method="trust-krylov",
    ...     jac=funcad.grad(f),
    ...     hess=lambda x: funcad.hessian_operator(f, x),
    ... )
    >>> found.x.round(3)
    array([0.41, 0.41, 0.41])
    """
    name = "hessian_operator"
    wraps(f, name, _FORMS[name])
    vector, unravel = _as_vector(x, False, name)

    @wraps(f, name)
    def of_vector(v: Array) -> Any:
        return f(unravel(v))

    _, push = linearize(grad_as(of_vector, name), vector)
    return _symmetric(push, vector)


def gauss_newton_operator(
    model: Callable[..., Any], loss: Callable[..., Any], x: Any
) -> Any:
    """Generalised Gauss-Newton matrix of ``loss(model(x))``, as a ``LinearOperator``.

    The Hessian of the loss for the model replaced by its linearisation, J^T H J with
    the Jacobian J of the model and the Hessian H of the loss: without negative
    eigenvalues wherever the loss is convex in what the model returns.  A product is
    forward mode through the model, the loss's Hessian-vector product, and reverse mode
    through the model.

    Parameters
    ----------
    model : callable
        Function of one pytree of arrays, whose result is such a pytree: predictions,
        logits or residuals.
    loss : callable
        Function of that result, whose own result is a real scalar.
    x : pytree of floating-point arrays
        Where to differentiate; NumPy or CuPy arrays.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator, shape (n, n)
        As for :func:`hessian_operator`.

    References
    ----------
    N. N. Schraudolph, *Fast curvature matrix-vector products for second-order gradient
    descent*, Neural Computation 14 (2002).

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> g = funcad.gauss_newton_operator(
    ...     lambda x: x**2, lambda r: 0.5 * np.sum(r**2), np.array([1.0, 2.0])
    ... )
    >>> g @ np.eye(2)
    array([[ 4.,  0.],
           [ 0., 16.]])
    """
    name = "gauss_newton_operator"
    for f in (model, loss):
        wraps(f, name, _FORMS[name])
    vector, unravel = _as_vector(x, False, name)
    map = _linearize(model, vector, unravel, name)
    if dtype_of(map.value).kind == "c":
        raise OutputDtypeError(
            f"{name} takes models whose results are real, and this one returned "
            f"{dtype_of(map.value)}. Return the real and the imaginary part as two "
            "arrays."
        )

    @wraps(loss, name)
    def of_result(v: Array) -> Any:
        return loss(map.unravel(v))

    _, curvature = linearize(grad_as(of_result, name), map.value)
    return _symmetric(lambda v: map.pull(curvature(map.push(v))), vector)


# ------------------------------------------------------------------------- machinery


class _Map(NamedTuple):
    """A function of a vector, at a point, whose result is a vector."""

    value: Array
    unravel: Callable[[Array], Any]
    push: Callable[[Array], Array]
    pull: Callable[[Array], Array]


def _as_vector(
    x: Any, holomorphic: bool, name: str
) -> tuple[Array, Callable[[Array], Any]]:
    leaves, treedef = tree.flatten(x)
    check_leaves(leaves, treedef, name)
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, Tracer):
            raise DerivativeLossError(
                f"{name}: {leaf_names(treedef, leaves)[i]} is a tracer of a transform "
                f"around it ({aval_of(leaf)}), and SciPy computes with values, so that "
                "derivatives would be lost. Make the operator outside of the "
                "transform, or take products with funcad.linearize and funcad.hvp."
            )
        if dtype_of(leaf).kind != ("c" if holomorphic else "f"):
            raise InputDtypeError(
                f"{name}{' with holomorphic=True' * holomorphic} takes "
                f"{'complex' if holomorphic else 'real floating-point'} inputs, and "
                f"{leaf_names(treedef, leaves)[i]} is {aval_of(leaf)}. {_ADVICE[name]}"
            )
    return ravel_pytree(x)


_FORMS = {
    "linear_operator": "linear_operator(f, x)",
    "hessian_operator": "hessian_operator(f, x)",
    "gauss_newton_operator": "gauss_newton_operator(model, loss, x)",
}
_SPLIT = "Take real and imaginary parts as two leaves, and close over integers."
_ADVICE = {
    "linear_operator": "Set holomorphic=True for a holomorphic function of complex "
    "numbers, and close over integers.",
    "hessian_operator": _SPLIT,
    "gauss_newton_operator": _SPLIT,
}


def _linearize(
    f: Callable[..., Any], vector: Array, unravel: Callable[[Array], Any], name: str
) -> _Map:
    unravel_result: Callable[[Array], Any] = unravel

    @wraps(f, name)
    def of_vector(v: Array) -> Array:
        nonlocal unravel_result
        out = f(unravel(v))
        leaves, treedef = tree.flatten(out)
        check_leaves(leaves, treedef, name, "output")
        for i, leaf in enumerate(leaves):
            if dtype_of(leaf).kind not in "fc":
                raise OutputDtypeError(
                    f"{name} takes functions whose results are floats or complex "
                    f"numbers, and {leaf_names(treedef, leaves)[i]} of this one's is "
                    f"{aval_of(leaf)}, which has no derivative. Leave it out."
                )
        raveled, unravel_result = ravel_pytree(out)
        return raveled

    value, f_jvp = linearize(of_vector, vector)

    def pull(ct: Array) -> Array:
        (found,) = transpose(f_jvp.program, [ct])
        return zero_tangent(vector) if found is None else found

    return _Map(value, unravel_result, f_jvp, pull)


def _symmetric(product: Callable[[Array], Array], vector: Array) -> Any:
    (n,) = shape_of(vector)
    apply = _extended(product, dtype_of(vector))
    return _operator((n, n), dtype_of(vector), apply, apply, vector)


def _extended(
    apply: Callable[[Array], Array], dtype: np.dtype[Any]
) -> Callable[[Array], Array]:
    """A product with vectors of one dtype, for vectors of every dtype."""

    def extended(v: Array) -> Array:
        if dtype_of(v).kind == "c" and dtype.kind != "c":
            return extended(v.real) + 1j * extended(v.imag)
        wanted = np.result_type(dtype, dtype_of(v))
        out = apply(v.astype(dtype))
        return out.astype(np.result_type(wanted, dtype_of(out)))

    return extended


def _operator(
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    matvec: Callable[[Array], Array],
    rmatvec: Callable[[Array], Array],
    like: Array,
) -> Any:
    """The operator, of the library of the array ``like``."""
    return backend_of(like).linear_operator(
        shape,
        dtype,
        matvec=lambda v: matvec(np.ravel(v)),
        rmatvec=lambda v: rmatvec(np.ravel(v)),
        matmat=_on_columns(matvec),
        rmatmat=_on_columns(rmatvec),
    )


def _on_columns(apply: Callable[[Array], Array]) -> Callable[[Array], Array]:
    columns = vmap(apply, in_axes=1, out_axes=1)

    def product(vs: Array) -> Array:
        if hasattr(vs, "toarray"):  # a sparse matrix
            vs = vs.toarray()
        if isinstance(vs, np.matrix):
            vs = np.asarray(vs)
        return columns(vs)

    return product
