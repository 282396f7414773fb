"""Containers of pytrees: which they are, and how one level is taken apart and rebuilt.

The exact type decides, so that finding it out costs one look-up: an instance of a
subclass of a container is a leaf, unless it is a namedtuple or its class is registered
itself.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from funcad.core.errors import RegistrationError, TreeStructureError

_C = TypeVar("_C", bound=type)

# --- registration ---------------------------------------------------------------------


def register_pytree_node(
    nodetype: _C,
    flatten_func: Callable[[Any], tuple[Iterable[Any], Any]],
    unflatten_func: Callable[[Any, tuple[Any, ...]], Any],
    flatten_with_keys_func: Callable[[Any], tuple[Iterable[tuple[Any, Any]], Any]]
    | None = None,
) -> None:
    """Make a class a container of pytrees; its subclasses stay leaves.

    Parameters
    ----------
    nodetype : type
    flatten_func : callable
        ``flatten_func(obj) -> (children, aux)``: the children in a fixed order, and
        what else ``unflatten_func`` needs, which is compared with ``==`` and hashed as
        a part of the structure.
    unflatten_func : callable
        ``unflatten_func(aux, children) -> obj``. It must take children of any type:
        tracers, ``None``, other containers.
    flatten_with_keys_func : callable, optional
        ``flatten_with_keys_func(obj) -> (pairs of (key, child), aux)``, for paths.

    Raises
    ------
    RegistrationError
        If the class is registered already.

    Examples
    --------
    >>> import funcad
    >>> class Interval:
    ...     def __init__(self, low, high):
    ...         self.low, self.high = low, high
    >>> funcad.tree.register_pytree_node(
    ...     Interval,
    ...     lambda interval: ((interval.low, interval.high), None),
    ...     lambda _, children: Interval(*children),
    ... )
    >>> funcad.tree.map(lambda x: 2 * x, Interval(1, 2)).high
    4
    """
    for name, f in (("flatten_func", flatten_func), ("unflatten_func", unflatten_func)):
        if not callable(f):
            raise RegistrationError(
                f"register_pytree_node: {name} of {name_of(nodetype)} is a function, "
                f"not {f!r} of type {type(f).__name__}."
            )
    _register(
        nodetype,
        _Registration(flatten_func, unflatten_func, None, flatten_with_keys_func),
    )


def register_pytree_node_class(cls: _C) -> _C:
    """Class decorator: a container of pytrees by its own methods.

    Parameters
    ----------
    cls : type
        Has ``tree_flatten(self) -> (children, aux)`` and the classmethod
        ``tree_unflatten(cls, aux, children) -> obj``; may have
        ``tree_flatten_with_keys(self) -> (pairs of (key, child), aux)``.

    Returns
    -------
    type
        The class itself.

    Raises
    ------
    RegistrationError
        If a method is missing, or the class is registered already.

    Examples
    --------
    >>> import funcad
    >>> @funcad.tree.register_pytree_node_class
    ... class Scaled:
    ...     def __init__(self, x, scale):
    ...         self.x, self.scale = x, scale
    ...     def tree_flatten(self):
    ...         return (self.x,), self.scale
    ...     @classmethod
    ...     def tree_unflatten(cls, scale, children):
    ...         return cls(*children, scale)
    >>> funcad.tree.structure(Scaled(1.0, "log"))
    PyTreeDef(Scaled['log'](*))
    """
    for name in ("tree_flatten", "tree_unflatten"):
        if not hasattr(cls, name):
            raise RegistrationError(
                f"{name_of(cls)} has no method {name}, which "
                "register_pytree_node_class needs. Write it, or use "
                "register_pytree_node with functions."
            )
    methods: Any = cls
    register_pytree_node(
        cls,
        methods.tree_flatten,
        methods.tree_unflatten,
        getattr(cls, "tree_flatten_with_keys", None),
    )
    return cls


def register_dataclass(
    nodetype: _C,
    data_fields: Sequence[str] | None = None,
    meta_fields: Sequence[str] | None = None,
    drop_fields: Sequence[str] = (),
) -> _C:
    """Make a dataclass a container of pytrees; usable as a decorator.

    Parameters
    ----------
    nodetype : type
        A dataclass. Any other class will do that takes its fields as keyword arguments
        and has them as attributes, if both sequences of fields are given.
    data_fields : sequence of str, optional
        Fields that are children, in this order.
    meta_fields : sequence of str, optional
        Fields that are part of the structure: hashable, compared with ``==``.
        If only one of the two is given, the other has the remaining fields; if neither,
        the meta fields are those with ``field(metadata={"static": True})``.
    drop_fields : sequence of str, optional
        Fields with defaults that unflattening does not restore.

    Returns
    -------
    type
        The class itself.

    Raises
    ------
    RegistrationError
        If the fields named are not the fields that ``__init__`` takes, each in one
        place, or the class is registered already.

    Examples
    --------
    >>> import dataclasses, functools, funcad
    >>> @functools.partial(funcad.tree.register_dataclass, meta_fields=["activation"])
    ... @dataclasses.dataclass
    ... class Dense:
    ...     weight: object
    ...     bias: object
    ...     activation: str = "relu"
    >>> funcad.tree.map(lambda x: x + 1, Dense(1, 2))
    Dense(weight=2, bias=3, activation='relu')
    """
    if dataclasses.is_dataclass(nodetype):
        fields = {f.name: f for f in dataclasses.fields(nodetype) if f.init}
        if data_fields is None and meta_fields is None:
            meta_fields = [n for n, f in fields.items() if f.metadata.get("static")]
        if meta_fields is None:
            meta_fields = [n for n in fields if n not in {*data_fields, *drop_fields}]  # type: ignore[misc]
        if data_fields is None:
            data_fields = [n for n in fields if n not in {*meta_fields, *drop_fields}]
        named = [*data_fields, *meta_fields, *drop_fields]
        if sorted(named) != sorted(fields):
            raise RegistrationError(
                f"register_dataclass({name_of(nodetype)}) was given data fields "
                f"{list(data_fields)}, meta fields {list(meta_fields)} and fields to "
                f"drop {list(drop_fields)}, but __init__ takes {list(fields)}. Name "
                "each of these once, and nothing else."
            )
    elif data_fields is None or meta_fields is None:
        raise RegistrationError(
            f"{name_of(nodetype)} is not a dataclass. Put @dataclasses.dataclass below "
            "register_dataclass, or give both data_fields and meta_fields."
        )
    data, meta = tuple(data_fields), tuple(meta_fields)
    keys = [GetAttrKey(name) for name in data]

    def flatten_fields(obj: Any) -> tuple[list[Any], tuple[Any, ...]]:
        return [getattr(obj, n) for n in data], tuple([getattr(obj, n) for n in meta])

    def unflatten_fields(aux: tuple[Any, ...], children: tuple[Any, ...]) -> Any:
        return nodetype(**dict(zip(data, children)), **dict(zip(meta, aux)))

    _register(
        nodetype,
        _Registration(flatten_fields, unflatten_fields, lambda aux: keys, None),
    )
    return nodetype


class _Registration(NamedTuple):
    flatten: Callable[[Any], tuple[Iterable[Any], Any]]
    unflatten: Callable[[Any, tuple[Any, ...]], Any]
    keys: Callable[[Any], Iterable[Any]] | None
    """Keys of the children from the auxiliary value, where that is enough."""
    flatten_with_keys: Callable[[Any], tuple[Iterable[tuple[Any, Any]], Any]] | None


# Read without the lock, written under it.
_registry: dict[type, _Registration] = {}
_lock = threading.Lock()

_BUILT_IN = (dict, list, tuple, type(None))

# Types that were met as leaves, so that the next leaf costs one look-up. Programs that
# make classes all the time must not fill the memory with them.
leaf_types: set[type] = set()
_MOST_LEAF_TYPES = 4096


def _register(cls: type, registration: _Registration) -> None:
    if not isinstance(cls, type):
        raise RegistrationError(
            f"Only a class can be registered as a pytree node, not {cls!r}."
        )
    with _lock:
        if cls in _registry or cls in _BUILT_IN:
            raise RegistrationError(
                f"{name_of(cls)} is registered as a pytree node already. Register a "
                "class once, next to its definition."
            )
        _registry[cls] = registration
        leaf_types.discard(cls)


def _is_namedtuple(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


# --- keys: the steps of a path --------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class SequenceKey:
    """Step of a path into a tuple or list."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"


@dataclasses.dataclass(frozen=True, slots=True)
class DictKey:
    """Step of a path into a dict."""

    key: Hashable

    def __str__(self) -> str:
        return f"[{self.key!r}]"


@dataclasses.dataclass(frozen=True, slots=True)
class GetAttrKey:
    """Step of a path into a namedtuple or dataclass."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class FlattenedIndexKey:
    """Step of a path into a registered class that gives its children no names."""

    key: int

    def __str__(self) -> str:
        return f"[<flat index {self.key}>]"


# --- one level ------------------------------------------------------------------------


def take_apart(x: Any) -> tuple[type, Any, Sequence[Any]] | None:
    """Kind, auxiliary value and children of a container; nothing for a leaf."""
    kind = type(x)
    if kind in leaf_types:
        return None
    if kind is dict:
        keys = tuple(sorted_keys(x))
        return kind, keys, [x[key] for key in keys]
    if kind is list or kind is tuple:
        return kind, None, x
    if x is None:
        return kind, None, ()
    return take_apart_other(x, kind)


def take_apart_other(x: Any, kind: type) -> tuple[type, Any, Sequence[Any]] | None:
    """`take_apart` where the type is not built in; remembers the types of leaves."""
    registration = _registry.get(kind)
    if registration is None:
        if _is_namedtuple(kind):
            return kind, None, x
        with _lock:
            registration = _registry.get(kind)  # registered meanwhile, in a thread?
            if registration is None:
                if len(leaf_types) >= _MOST_LEAF_TYPES:
                    leaf_types.clear()
                leaf_types.add(kind)
                return None
    children, aux = _pair(registration.flatten(x), kind, "children")
    return kind, aux, list(children)


def take_apart_with_keys(
    x: Any,
) -> tuple[type, Any, Sequence[Any], Sequence[Any]] | None:
    """As `take_apart`, with a key for each child."""
    registration = _registry.get(type(x))
    if registration is not None and registration.flatten_with_keys is not None:
        kind = type(x)
        pairs, aux = _pair(
            registration.flatten_with_keys(x), kind, "pairs (key, child)"
        )
        pairs = list(pairs)
        return kind, aux, [child for _, child in pairs], [key for key, _ in pairs]
    parts = take_apart(x)
    return parts and (*parts, keys_of(parts[0], parts[1], len(parts[2])))


def _pair(returned: Any, kind: type, children: str) -> tuple[Iterable[Any], Any]:
    if type(returned) is tuple and len(returned) == 2:
        return returned
    raise RegistrationError(
        f"The function registered to flatten {name_of(kind)} returned a "
        f"{type(returned).__name__}. It must return a tuple of two: the {children}, "
        "and the auxiliary value."
    )


def keys_of(kind: type, aux: Any, count: int) -> Sequence[Any]:
    """Keys of a node's children, as far as its structure tells them."""
    if kind is dict:
        return [DictKey(key) for key in aux]
    if kind is list or kind is tuple:
        return [SequenceKey(i) for i in range(count)]
    registration = _registry.get(kind)
    if registration is not None and registration.keys is not None:
        return list(registration.keys(aux))
    if registration is None and _is_namedtuple(kind):
        return [GetAttrKey(name) for name in kind._fields]  # type: ignore[attr-defined]
    return [FlattenedIndexKey(i) for i in range(count)]


def put_together(kind: type, aux: Any, children: Iterable[Any]) -> Any:
    """The container that `take_apart` took apart."""
    if kind is dict:
        return dict(zip(aux, children))
    if kind is list or kind is tuple:
        return kind(children)
    registration = _registry.get(kind)
    if registration is not None:
        return registration.unflatten(aux, tuple(children))
    if kind is type(None):
        return None
    if _is_namedtuple(kind):
        return kind(*children)
    raise RegistrationError(
        f"{name_of(kind)} is not registered in this process, into which the structure "
        "was unpickled. Import what registers it."
    )


def sorted_keys(x: dict[Any, Any]) -> list[Any]:
    """Keys ordered by ``<``, or else by the names of their types and then by ``<``."""
    try:
        return sorted(x)
    except TypeError:
        pass
    try:
        return sorted(x, key=lambda key: (_full_name(type(key)), key))
    except TypeError as error:
        raise TreeStructureError(
            f"A dict with keys {listed(list(x))} has no order of its leaves, because "
            f"its keys cannot be sorted: {error}. Use keys that compare by <, such as "
            "strings, or an OrderedDict, whose own order is taken."
        ) from None


# --- words ----------------------------------------------------------------------------


def name_of(cls: type) -> str:
    """What messages call a class."""
    return getattr(cls, "__name__", repr(cls))


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


MOST_LISTED = 10


def listed(keys: list[Any]) -> str:
    """The keys as a list in words, not more of them than one can read."""
    shown = ", ".join([repr(key) for key in keys[:MOST_LISTED]])
    more = len(keys) - MOST_LISTED
    return f"[{shown}, and {more} more]" if more > 0 else f"[{shown}]"


# --- containers of the standard library -----------------------------------------------


_register(
    OrderedDict,
    _Registration(
        flatten=lambda x: (x.values(), tuple(x)),
        unflatten=lambda keys, children: OrderedDict(zip(keys, children)),
        keys=lambda keys: [DictKey(key) for key in keys],
        flatten_with_keys=None,
    ),
)


def _flatten_defaultdict(x: defaultdict[Any, Any]) -> tuple[list[Any], Any]:
    keys = tuple(sorted_keys(x))
    return [x[key] for key in keys], (x.default_factory, keys)


_register(
    defaultdict,
    _Registration(
        flatten=_flatten_defaultdict,
        unflatten=lambda aux, children: defaultdict(aux[0], zip(aux[1], children)),
        keys=lambda aux: [DictKey(key) for key in aux[1]],
        flatten_with_keys=None,
    ),
)
