"""funcad, autograd, PyTorch and JAX without jit behind one small interface.

Each library is used as its own documentation would have it used; nothing is compiled.
A library that is not installed is left out.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import models
from models import Tree, leaves, map_leaves


class Library(NamedTuple):
    """What the benchmarks ask of a library; functions are of trees of its arrays."""

    name: str
    xp: Any
    """Its namespace of NumPy's functions."""
    asarray: Callable[[np.ndarray], Any]
    """Its array with these values."""
    value_and_grad: Callable[[Callable[[Tree], Any]], Callable[[Tree], Any]]
    """``value_and_grad(f)(x)``, a scalar and a tree like `x`."""
    hvp: Callable[[Callable[[Tree], Any]], Callable[[Tree, Tree], Tree]]
    """``hvp(f)(x, v)``, the Hessian of `f` at `x` times `v`."""
    per_example_grad: Callable[[Callable[..., Any]], Callable[..., Tree]]
    """``per_example_grad(f)(x, *batch)``: gradients of ``f(x, *example)``, stacked."""
    transformer_loss: Callable[[Tree, models.Batch, int], Any]
    """``transformer_loss(params, batch, heads)``."""


def installed() -> tuple[dict[str, Library], dict[str, str]]:
    """Libraries by name, and for each absent one the reason."""
    found, absent = {}, {}
    for name, make in MAKERS.items():
        try:
            found[name] = make()
        except (ImportError, AttributeError) as error:
            absent[name] = str(error)
    return found, absent


def _funcad() -> Library:
    import funcad

    def hvp(f: Callable[[Tree], Any]) -> Callable[[Tree, Tree], Tree]:
        return lambda x, v: funcad.hvp(f, (x,), (v,))

    def per_example_grad(f: Callable[..., Any]) -> Callable[..., Tree]:
        return lambda x, *batch: funcad.vmap(
            funcad.grad(f), in_axes=(None, *(0 for _ in batch))
        )(x, *batch)

    return Library(
        name="funcad",
        xp=np,
        asarray=np.asarray,
        value_and_grad=funcad.value_and_grad,
        hvp=hvp,
        per_example_grad=per_example_grad,
        transformer_loss=functools.partial(models.transformer_loss, np),
    )


def _autograd_as_installed() -> Library:
    import autograd
    import autograd.numpy as anp

    def hvp(f: Callable[[Tree], Any]) -> Callable[[Tree, Tree], Tree]:
        return lambda x, v: autograd.make_hvp(f)(x)[0](v)

    def per_example_grad(f: Callable[..., Any]) -> Callable[..., Tree]:
        gradient = autograd.grad(f)

        def loop(x: Tree, *batch: Any) -> Tree:
            rows = [leaves(gradient(x, *example)) for example in zip(*batch)]
            columns = iter([np.stack(column) for column in zip(*rows)])
            return map_leaves(lambda _: next(columns), x)

        return loop

    return Library(
        name="autograd, as installed",
        xp=anp,
        asarray=np.asarray,
        value_and_grad=autograd.value_and_grad,
        hvp=hvp,
        per_example_grad=per_example_grad,
        transformer_loss=functools.partial(models.transformer_loss, anp),
    )


def _autograd() -> Library:
    """autograd kept in float32.

    Its gradients of mean and max divide by integer counts, which NumPy 2 promotes to
    float64, and with them the rest of the backward pass. To be compared at what it
    can do, it is given a mean and a max whose gradients keep the dtype.
    """
    import autograd.numpy as anp
    from autograd.extend import defvjp, primitive

    def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        count = x.size if axis is None else x.shape[axis]
        return anp.sum(x, axis=axis, keepdims=keepdims) * (1 / count)

    max_ = primitive(np.max)

    def max_vjp(ans: Any, x: Any, axis: Any, keepdims: bool) -> Callable[[Any], Any]:
        assert keepdims
        largest = anp.equal(x, ans)
        ties = np.sum(largest, axis=axis, keepdims=True, dtype=x.dtype)
        return lambda g: g * (largest / ties)

    defvjp(max_, max_vjp)

    xp = types.SimpleNamespace(**(vars(anp) | {"mean": mean, "max": max_}))
    return _autograd_as_installed()._replace(
        name="autograd",
        xp=xp,
        transformer_loss=functools.partial(models.transformer_loss, xp),
    )


def _torch() -> Library:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def value_and_grad(f: Callable[[Tree], Any]) -> Callable[[Tree], Any]:
        def run(x: Tree) -> Any:
            x = map_leaves(lambda leaf: leaf.detach().requires_grad_(), x)
            value = f(x)
            gradients = iter(torch.autograd.grad(value, leaves(x)))
            return value.detach(), map_leaves(lambda _: next(gradients), x)

        return run

    def hvp(f: Callable[[Tree], Any]) -> Callable[[Tree, Tree], Tree]:
        def run(x: Tree, v: Tree) -> Tree:
            x = map_leaves(lambda leaf: leaf.detach().requires_grad_(), x)
            # Its fused attention has no second derivative.
            with sdpa_kernel(SDPBackend.MATH):
                gradients = torch.autograd.grad(f(x), leaves(x), create_graph=True)
                products = torch.autograd.grad(gradients, leaves(x), leaves(v))
            products = iter(products)
            return map_leaves(lambda _: next(products), x)

        return run

    def per_example_grad(f: Callable[..., Any]) -> Callable[..., Tree]:
        return lambda x, *batch: torch.func.vmap(
            torch.func.grad(f), in_dims=(None, *(0 for _ in batch))
        )(x, *batch)

    return Library(
        name="PyTorch",
        xp=torch,
        asarray=torch.tensor,
        value_and_grad=value_and_grad,
        hvp=hvp,
        per_example_grad=per_example_grad,
        transformer_loss=models.torch_transformer_loss,
    )


def _jax() -> Library:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    # JAX returns before it has computed, so each function waits for its result.
    def value_and_grad(f: Callable[[Tree], Any]) -> Callable[[Tree], Any]:
        return lambda x: jax.block_until_ready(jax.value_and_grad(f)(x))

    def hvp(f: Callable[[Tree], Any]) -> Callable[[Tree, Tree], Tree]:
        return lambda x, v: jax.block_until_ready(jax.jvp(jax.grad(f), (x,), (v,))[1])

    def per_example_grad(f: Callable[..., Any]) -> Callable[..., Tree]:
        return lambda x, *batch: jax.block_until_ready(
            jax.vmap(jax.grad(f), in_axes=(None, *(0 for _ in batch)))(x, *batch)
        )

    return Library(
        name="JAX, no jit",
        xp=jnp,
        asarray=jnp.asarray,
        value_and_grad=value_and_grad,
        hvp=hvp,
        per_example_grad=per_example_grad,
        transformer_loss=functools.partial(models.transformer_loss, jnp),
    )


MAKERS: dict[str, Callable[[], Library]] = {
    "funcad": _funcad,
    "autograd": _autograd,
    "autograd, as installed": _autograd_as_installed,
    "PyTorch": _torch,
    "JAX, no jit": _jax,
}
