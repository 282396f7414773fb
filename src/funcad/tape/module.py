"""Models as objects: parameters are found among the attributes, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from funcad.core.errors import ModuleError
from funcad.core.tracing import aval_of
from funcad.tape.recording import check_flag, no_grad
from funcad.tape.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a `Module` trains.

    Parameters
    ----------
    x : array_like
        Its first value; copied.
    requires_grad : bool, optional
        Whether gradients are recorded, which they are by default.
    dtype : dtype, optional
        Of the parameter; by default that of ``x``.

    Examples
    --------
    >>> from funcad import tape
    >>> tape.Parameter([0.0, 1.0])
    Parameter([0., 1.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, x: Any, requires_grad: bool = True, *, dtype: Any = None):
        super().__init__(x, requires_grad, dtype=dtype)


class Buffer(Tensor):
    """A tensor that belongs to the state of a `Module` and is not trained.

    Parameters
    ----------
    x : array_like
        Its first value; copied.
    dtype : dtype, optional
        Of the buffer; by default that of ``x``.

    Examples
    --------
    >>> from funcad import tape
    >>> mean = tape.Buffer([0.0, 0.0])
    >>> mean *= 0.9
    >>> mean
    Buffer([0., 0.])
    """

    __slots__ = ()

    def __init__(self, x: Any, *, dtype: Any = None):
        super().__init__(x, dtype=dtype)


class Module:
    """A model, or a part of one: parameters, and a function that uses them.

    Subclasses set parameters and other modules as attributes, also in lists, tuples
    and dictionaries, and define ``forward``, which a call of the module calls.  A name
    is the path to an attribute: ``"layers.0.weight"``.

    Attributes
    ----------
    training : bool
        Whether the module is in training mode, as it is at first; `train` and `eval`
        set it, for the modules inside, too.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import tape
    >>> class Affine(tape.Module):
    ...     def __init__(self, n, m):
    ...         self.weight = tape.Parameter(np.ones((n, m)))
    ...         self.bias = tape.Parameter(np.zeros(m))
    ...
    ...     def forward(self, x):
    ...         return x @ self.weight + self.bias
    >>> model = Affine(2, 3)
    >>> [(name, p.shape) for name, p in model.named_parameters()]
    [('weight', (2, 3)), ('bias', (3,))]
    >>> model(np.array([1.0, 2.0])).sum().backward()
    >>> model.bias.grad
    Tensor([1., 1., 1.])
    """

    training: bool = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's function; to be written by subclasses."""
        raise NotImplementedError(
            f"the module {type(self).__name__} has no method forward(self, ...)."
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Itself and the modules inside, each once, with names (its own is "")."""
        for name, found in _walk(self, prefix, set()):
            if isinstance(found, Module):
                yield name, found

    def modules(self) -> Iterator[Module]:
        """Itself and all the modules inside, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """The parameters, also of modules inside, each once, with names."""
        for name, found in _walk(self, prefix, set()):
            if isinstance(found, Parameter):
                yield name, found

    def parameters(self) -> Iterator[Parameter]:
        """The parameters, also of modules inside, each once.

        Returns
        -------
        iterator of Parameter
        """
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Buffer]]:
        """The buffers, also of modules inside, each once, with names."""
        for name, found in _walk(self, prefix, set()):
            if isinstance(found, Buffer):
                yield name, found

    def train(self, mode: bool = True) -> Module:
        """Put this module and those inside in training mode (or, with False, out).

        Returns
        -------
        Module
            Itself.
        """
        check_flag("train", "mode", mode)
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self) -> Module:
        """Put this module and those inside in evaluation mode; returns itself."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Whether the parameters require gradients; returns itself."""
        check_flag("requires_grad_", "requires_grad", requires_grad)
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.zero_grad_()

    def state_dict(self) -> dict[str, Tensor]:
        """Values of parameters and buffers by name, as they are now.

        Returns
        -------
        dict of str to Tensor
            Detached; later updates do not change them.  ``np.savez(path, **{name:
            x.numpy() for name, x in state.items()})`` writes them to a file.

        Examples
        --------
        >>> from funcad import tape
        >>> class Scale(tape.Module):
        ...     def __init__(self):
        ...         self.factor = tape.Parameter(2.0)
        >>> Scale().state_dict()
        {'factor': Tensor(2.0)}
        """
        return {name: x.detach() for name, x in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Set parameters and buffers to the values of a state.

        Parameters
        ----------
        state : mapping of str to array
            As `state_dict` gives it, or as ``np.load`` reads it.
        strict : bool, optional
            Whether the names must be the same; else those that are in both are set.

        Raises
        ------
        ModuleError
            If names are missing or unknown, or a value has another shape or dtype.
            Nothing is set then.
        """
        check_flag("load_state_dict", "strict", strict)
        if not isinstance(state, Mapping):
            raise ModuleError(
                "load_state_dict takes a mapping from names to arrays, as state_dict() "
                f"gives it, and was given a {type(state).__name__}."
            )
        own = self._state()
        missing = [name for name in own if name not in state]
        unknown = [name for name in state if name not in own]
        if strict and (missing or unknown):
            raise ModuleError(
                f"load_state_dict: the state of {type(self).__name__} and the one "
                "given have different names."
                + (f" Missing there: {', '.join(missing)}." if missing else "")
                + (f" Unknown here: {', '.join(map(str, unknown))}." if unknown else "")
                + " Write strict=False to set those that are in both."
            )
        values = {n: _loaded(n, state[n]) for n in own if n in state}
        for name, value in values.items():
            if aval_of(value) != aval_of(own[name]):
                raise ModuleError(
                    f"load_state_dict: {name} is {aval_of(own[name])}, and the value "
                    f"given is {aval_of(value)}; shapes and dtypes must be equal. "
                    "Write value.astype(dtype), or build the module with that shape."
                )
        with no_grad():
            for name, value in values.items():
                own[name].copy_(value)

    def _state(self) -> dict[str, Tensor]:
        # also a second name of a tensor that is shared
        state: dict[str, Tensor] = {}
        for name, found in _walk(self, "", None):
            if isinstance(found, (Parameter, Buffer)):
                if state.setdefault(name, found) is not found:
                    raise ModuleError(
                        f"the state of {type(self).__name__} has two tensors of the "
                        f"name {name}. Use keys without a dot in dictionaries."
                    )
        return state

    def __setattr__(self, name: str, value: Any) -> None:
        before = self.__dict__.get(name)
        if isinstance(before, Buffer) and type(value) is Tensor:
            tensor, value = value, Buffer.__new__(Buffer)
            value._value, value._node = tensor._value, tensor._node
        elif isinstance(before, Parameter) and not _stateful(value):
            raise ModuleError(
                f"{type(self).__name__}.{name} is a parameter, and {_described(value)} "
                f"would take its place and not be trained. Update it "
                f"in place, with no_grad(): self.{name} -= ..., or assign a Parameter."
            )
        elif isinstance(before, Buffer) and not _stateful(value):
            raise ModuleError(
                f"{type(self).__name__}.{name} is a buffer, and {_described(value)} "
                "would take its place and not be part of the state. Assign "
                "tape.Buffer(value)."
            )
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        lines = []
        for name, part in _parts(vars(self)):
            text = repr(part)
            if isinstance(part, Tensor):
                text = f"{type(part).__name__} {aval_of(part)}"
            lines += f"({name}): {text}".splitlines()
        inside = "".join(f"\n  {line}" for line in lines)
        return f"{type(self).__name__}({inside}" + ("\n)" if lines else ")")


def _stateful(value: Any) -> bool:
    """Whether a module finds it again, or it is there to take away what was there."""
    return value is None or isinstance(value, (Parameter, Buffer, Module))


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {aval_of(value)}"
    return f"a value of type {type(value).__name__}"


def _loaded(name: str, value: Any) -> Tensor:
    try:
        return Tensor(value)
    except (TypeError, ValueError) as error:
        raise ModuleError(
            f"load_state_dict: the value of {name} is no array of numbers, but "
            f"{value!r} of type {type(value).__name__}."
        ) from error


def _walk(
    module: Module, name: str, seen: set[int] | None, above: tuple[Module, ...] = ()
) -> Iterator[tuple[str, Any]]:
    """A module, and the modules, parameters and buffers inside, with their names.

    Each is found once; under all of its names, where ``seen`` is ``None``.
    """
    if seen is not None:
        seen.add(id(module))
    yield name, module
    for path, part in _parts(vars(module), name):
        if any(part is m for m in (*above, module)):
            continue
        if seen is not None and id(part) in seen:
            continue
        if isinstance(part, Module):
            yield from _walk(part, path, seen, (*above, module))
        else:
            if seen is not None:
                seen.add(id(part))
            yield path, part


def _parts(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What a value is or holds in its lists and dictionaries, not inside of modules."""
    if isinstance(value, (Module, Parameter, Buffer)):
        yield name, value
        return
    entries: Any = ()
    if isinstance(value, Mapping):
        entries = value.items()
    elif isinstance(value, (list, tuple)):
        entries = enumerate(value)
    for key, entry in entries:
        yield from _parts(entry, f"{name}.{key}" if name else str(key))
