"""Forward mode: the Dual trace, whose tracers pair a primal with its tangent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from funcad.core.tracing import (
    PYTHON_SCALARS,
    Array,
    Params,
    Primitive,
    Trace,
    Tracer,
    bind,
    dtype_of,
    shape_of,
)


class Dual(Tracer):
    """A primal and its tangent."""

    __slots__ = ("primal", "tangent")

    def __init__(self, trace: Trace, primal: Array, tangent: Array) -> None:
        self._trace = trace
        self.primal = primal
        self.tangent = tangent

    @property
    def shape(self) -> tuple[int, ...]:
        return shape_of(self.primal)

    @property
    def dtype(self) -> Any:
        return dtype_of(self.primal)

    @property
    def weak(self) -> type | None:  # type: ignore[override]
        primal = self.primal
        if type(primal) in PYTHON_SCALARS:
            return type(primal)
        return getattr(primal, "weak", None)

    @property
    def array_type(self) -> type:
        return getattr(self.primal, "array_type", type(self.primal))

    @property
    def keeps_lines(self) -> bool:
        return getattr(self.primal, "keeps_lines", False)

    def concrete(self, purpose: str) -> Array:
        primal = self.primal
        return primal.concrete(purpose) if isinstance(primal, Tracer) else primal


class DualTrace(Trace):
    """Carries tangents along: every operation on primals, then its JVP rule."""

    __slots__ = ()
    computes_at_once = True

    def process(
        self, primitive: Primitive, args: Sequence[Array], params: Params
    ) -> Any:
        primals = []
        tangents: list[Array | None] = []
        for arg in args:
            if type(arg) is Dual and arg._trace is self:
                primals.append(arg.primal)
                tangents.append(arg.tangent)
            else:
                primals.append(arg)
                tangents.append(None)
        jvp = primitive.jvp
        if jvp is None:
            if primitive.dual is None:
                return bind(primitive, primals, params)
            return self._pack(primitive, *primitive.dual(primals, tangents, params))
        ans = bind(primitive, primals, params)
        tangent = jvp(ans, primals, tangents, params)
        if tangent is None or primitive.multiple:
            return self._pack(primitive, ans, tangent)
        return Dual(self, ans, tangent)

    def _pack(self, primitive: Primitive, ans: Any, tangent: Any) -> Any:
        """Results with their tangents, any of which may be ``None`` for zero."""
        if tangent is None:
            return ans
        if primitive.multiple:
            return tuple(
                a if t is None else Dual(self, a, t)
                for a, t in zip(ans, tangent, strict=True)
            )
        return Dual(self, ans, tangent)

    def unpack(self, x: Any) -> tuple[Array, Array | None]:
        """Primal and tangent (``None`` for zero) of a result of the traced function."""
        if type(x) is Dual and x._trace is self:
            return x.primal, x.tangent
        return x, None
