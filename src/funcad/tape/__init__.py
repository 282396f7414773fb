"""An imperative tape: tensors that remember how they were computed.

A thin face over the same primitives, for those who think of derivatives as PyTorch
does: `Tensor` records what is done with it, ``backward()`` walks the record backwards,
and ``.grad`` holds what has come in.  There are no rules of derivatives here: walking
back over an operation linearises its primitive and transposes that, as
`funcad.grad` does.

===========================  ========================================================
values                       `Tensor`, `Parameter`, `Buffer`
gradients                    ``Tensor.backward``, `grad`
what is recorded             `no_grad`, `enable_grad`, `is_grad_enabled`
operations of your own       `Function`, `Context`
models                       `Module`
===========================  ========================================================

>>> import numpy as np
>>> from funcad import tape
>>> w = tape.Tensor([1.0, -1.0], requires_grad=True)
>>> x = np.arange(6.0).reshape(3, 2)
>>> loss = np.sum(np.tanh(x @ w) ** 2)
>>> loss.backward()
>>> w.grad
Tensor([-3.83820005, -5.75730008])

Operators, methods, indexing, NumPy's functions and those of `funcad.nn` take tensors
and arrays alike, and so do the transforms: ``funcad.vmap(f)(tensor)`` is recorded like
any other operation.
"""

from funcad.tape.backward import grad
from funcad.tape.function import Context, Function
from funcad.tape.module import Buffer, Module, Parameter
from funcad.tape.recording import enable_grad, is_grad_enabled, no_grad
from funcad.tape.tensor import Tensor

__all__ = [
    "Buffer",
    "Context",
    "Function",
    "Module",
    "Parameter",
    "Tensor",
    "enable_grad",
    "grad",
    "is_grad_enabled",
    "no_grad",
]
