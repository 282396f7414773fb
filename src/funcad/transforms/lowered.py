"""The stages between a function and what runs: program, optimized program, source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from funcad.compile.compiled import Compiled, compiled
from funcad.core import tree
from funcad.core.errors import LoweredCallError
from funcad.core.program import Program
from funcad.core.tracing import ShapedArray, Tracer, dtype_of, shape_of
from funcad.transforms.arguments import argument_name, check_leaves


class Lowered:
    """A function staged for one signature, as ``jit(f).lower(*args)`` gives it.

    Attributes
    ----------
    program : Program
        The function as it was written down; its inputs are the leaves of the
        arguments, after tracers of outer transforms that the function closes over.
    in_tree, out_tree : TreeDef
        Structure of the arguments ``(args, kwargs)`` and of the result.
    name : str
        Name of the function.

    Examples
    --------
    >>> import numpy as np
    >>> import funcad
    >>> lowered = funcad.jit(lambda x: np.sin(x) * 1.0).lower(np.zeros(3))
    >>> print(lowered.program)
    program(a:float64[3]) {
      b:float64[3] = sin a
      c:float64[3] = multiply b 1.0
      return (c)
    }
    """

    def __init__(
        self,
        program: Program,
        in_tree: Any,
        out_tree: Any,
        captured: Sequence[Tracer],
        name: str,
        array_type: type,
    ) -> None:
        self.program = program
        self.in_tree = in_tree
        self.out_tree = out_tree
        self.name = name
        self._captured = captured
        self._array_type = array_type

    @property
    def _compiled(self) -> Compiled:
        return compiled(self.program, self._array_type)

    @property
    def optimized(self) -> Program:
        """The program after all passes."""
        return self._compiled.optimized

    @property
    def source(self) -> str:
        """The Python source that the program was compiled to."""
        return self._compiled.source

    def compile(self) -> Callable[..., Any]:
        """The function of arguments with this signature.

        Returns
        -------
        callable
            Takes arguments with the structure, shapes and dtypes that were lowered and
            raises a ``LoweredCallError`` for others.
        """
        run = self._compiled

        def call_compiled(*args: Any, **kwargs: Any) -> Any:
            leaves, treedef = tree.flatten((args, kwargs))
            if treedef != self.in_tree:
                tree.check_same_structure(
                    self.in_tree, treedef, "what was lowered", "the arguments"
                )
            check_leaves(leaves, treedef, f"compiled {self.name}", name=argument_name)
            self._check(leaves)
            return self.out_tree.unflatten(run(*self._captured, *leaves))

        call_compiled.__name__ = self.name
        return call_compiled

    def _check(self, leaves: Sequence[Any]) -> None:
        variables = self.program.inputs[len(self._captured) :]
        for i, (x, v) in enumerate(zip(leaves, variables)):
            weak = type(x) if v.weak else None
            if (shape_of(x), dtype_of(x), weak) != (v.shape, v.dtype, v.weak):
                paths, _ = tree.flatten_with_path(self.in_tree.unflatten(leaves))
                raise LoweredCallError(
                    f"{self.name} was compiled for {argument_name(paths[i][0])} being "
                    f"{_described(v)} and got {_described(x)}. Call the jitted "
                    "function, which compiles for each signature, or lower it again."
                )

    def cost(self) -> Any:
        """Flops and bytes moved, an equation and in total, after all passes."""
        optimized: Any = self.optimized
        return optimized.cost()

    def memory(self) -> Any:
        """Bytes of arguments, results and what is needed in between."""
        return self._compiled.memory()

    def __repr__(self) -> str:
        return f"<lowered {self.name}: {len(self.program.equations)} equations>"


def _described(x: Any) -> str:
    weak = getattr(x, "weak", None) or (type(x) if not hasattr(x, "dtype") else None)
    if weak:
        return f"a Python {weak.__name__}"
    return str(ShapedArray(shape_of(x), dtype_of(x)))
