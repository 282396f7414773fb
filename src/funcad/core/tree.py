"""Pytrees: nested containers seen as a flat list of leaves and a `TreeDef`.

Containers are tuples, lists, dicts (in the order of their sorted keys), OrderedDicts
(in their own order), defaultdicts, namedtuples, ``None`` (which has no leaves) and the
classes that users register.  Everything else is a leaf: arrays, tracers, numbers,
strings, and instances of subclasses of the containers.
"""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from funcad.core.containers import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    SequenceKey,
    leaf_types,
    register_dataclass,
    register_pytree_node,
    register_pytree_node_class,
)
from funcad.core.errors import TreeStructureError, shortened
from funcad.core.nodes import (
    IsLeaf,
    Node,
    Parted,
    Path,
    append_up_to,
    build,
    children_of,
    compose,
    count_leaves,
    count_up_to,
    equal_stepwise,
    flatten_into,
    flatten_where,
    flatten_with_path_into,
    hash_node,
    node_from_steps,
    steps_of,
)
from funcad.core.parting import leaf_count_error, show, structure_error

__all__ = [
    "DictKey",
    "FlattenedIndexKey",
    "GetAttrKey",
    "SequenceKey",
    "TreeDef",
    "all",
    "broadcast_prefix",
    "check_same_structure",
    "flatten",
    "flatten_with_path",
    "keystr",
    "leaves",
    "map",
    "map_with_path",
    "reduce",
    "register_dataclass",
    "register_pytree_node",
    "register_pytree_node_class",
    "structure",
    "transpose",
    "unflatten",
]

_MISSING: Any = object()


# --- flatten, unflatten and map -------------------------------------------------------


def flatten(tree: Any, is_leaf: IsLeaf = None) -> tuple[list[Any], TreeDef]:
    """Leaves of a pytree, and its structure.

    Parameters
    ----------
    tree : pytree
    is_leaf : callable, optional
        ``is_leaf(subtree) -> bool``, asked at every node from the root down; where it
        answers true, the subtree is a leaf, whatever it contains.

    Returns
    -------
    leaves : list
    treedef : TreeDef

    Raises
    ------
    TreeStructureError
        If the keys of a dict have no order: keys of different types are ordered by the
        names of their types, but keys of one type must compare by ``<``.

    Examples
    --------
    >>> import funcad
    >>> funcad.tree.flatten({"w": [1.0, 2.0], "b": (3.0, None)})
    ([3.0, 1.0, 2.0], PyTreeDef({'b': (*, None), 'w': [*, *]}))
    """
    leaves: list[Any] = []
    if is_leaf is not None:
        _check_function(is_leaf, "is_leaf=", "is_leaf=lambda x: x is None")
        return leaves, TreeDef(flatten_where(tree, is_leaf, leaves))
    if type(tree) in leaf_types:
        return [tree], _LEAF
    return leaves, TreeDef(flatten_into(tree, leaves))


def unflatten(treedef: TreeDef, leaves: Iterable[Any]) -> Any:
    """The pytree of this structure with these leaves: the inverse of `flatten`.

    Parameters
    ----------
    treedef : TreeDef
    leaves : iterable
        As many objects as the structure has leaves; they may be of any type.

    Returns
    -------
    pytree
        New containers; dicts in the order of their sorted keys.

    Raises
    ------
    TreeStructureError
        If there are more or fewer leaves than the structure has.

    Examples
    --------
    >>> import funcad
    >>> leaves, treedef = funcad.tree.flatten({"w": 1.0, "b": [2.0]})
    >>> funcad.tree.unflatten(treedef, [10, 20])
    {'b': [10], 'w': 20}
    """
    try:
        return treedef.unflatten(leaves)
    except AttributeError:
        _check_treedef(treedef, "unflatten", "unflatten(treedef, leaves)")
        raise


def map(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf = None) -> Any:
    """The pytree of ``f(leaf, *leaves_of_rest)`` for the leaves of ``tree``.

    Parameters
    ----------
    f : callable
    tree : pytree
        Its structure is the structure of the result.
    *rest : pytrees
        Each has the structure of ``tree``, or has it as a prefix: where ``tree`` has a
        leaf, ``f`` is given the whole subtree found there.
    is_leaf : callable, optional
        As for `flatten`; applied to ``tree``.

    Returns
    -------
    pytree

    Raises
    ------
    TreeStructureError
        If the structure of ``tree`` is no prefix of that of another tree.

    Examples
    --------
    >>> import funcad
    >>> funcad.tree.map(lambda x, y: x + y, {"a": 1, "b": (2,)}, {"a": 10, "b": (20,)})
    {'a': 11, 'b': (22,)}
    """
    _check_function(f, "map", "map(f, tree)")
    leaves, treedef = flatten(tree, is_leaf)
    # A comprehension, because map() and zip() would take a StopIteration out of f for
    # the end of the leaves.
    if rest:
        columns = _columns("map", treedef, rest)
        results = [f(*row) for row in zip(leaves, *columns)]
    else:
        results = [f(leaf) for leaf in leaves]
    return build(treedef._node, iter(results))


def leaves(tree: Any, is_leaf: IsLeaf = None) -> list[Any]:
    """Leaves of a pytree, in the order of `flatten`.

    Examples
    --------
    >>> import funcad
    >>> funcad.tree.leaves({"w": [1, 2], "b": None, "a": 3})
    [3, 1, 2]
    """
    return flatten(tree, is_leaf)[0]


def structure(tree: Any, is_leaf: IsLeaf = None) -> TreeDef:
    """Structure of a pytree.

    Examples
    --------
    >>> import funcad
    >>> funcad.tree.structure({"w": [1, 2], "b": None})
    PyTreeDef({'b': None, 'w': [*, *]})
    """
    return flatten(tree, is_leaf)[1]


def reduce(
    function: Callable[[Any, Any], Any],
    tree: Any,
    initializer: Any = _MISSING,
    is_leaf: IsLeaf = None,
) -> Any:
    """``functools.reduce`` over the leaves of a pytree.

    Parameters
    ----------
    function : callable
        ``function(accumulated, leaf)``.
    tree : pytree
    initializer : optional
        What to begin with; without it, the first leaf, and then a tree without leaves
        is a TypeError.
    is_leaf : callable, optional
        As for `flatten`.

    Examples
    --------
    >>> import funcad
    >>> funcad.tree.reduce(lambda total, x: total + x, {"a": 1, "b": (2, 3)}, 10)
    16
    """
    _check_function(function, "reduce", "reduce(function, tree)")
    if initializer is _MISSING:
        return functools.reduce(function, leaves(tree, is_leaf))
    return functools.reduce(function, leaves(tree, is_leaf), initializer)


def all(tree: Any, *, is_leaf: IsLeaf = None) -> bool:
    """Whether every leaf of a pytree is true; a tree without leaves is.

    Examples
    --------
    >>> import funcad
    >>> funcad.tree.all({"a": True, "b": (True, False)})
    False
    """
    return builtins.all(leaves(tree, is_leaf))


def transpose(
    outer_treedef: TreeDef, inner_treedef: TreeDef | None, pytree_to_transpose: Any
) -> Any:
    """Turn a tree of trees inside out.

    Parameters
    ----------
    outer_treedef : TreeDef
        The structure that is outside now, and will be inside.
    inner_treedef : TreeDef or None
        The structure that is at each leaf of the outer one; ``None``: that which is at
        the first.
    pytree_to_transpose : pytree
        Of the composed structure.

    Returns
    -------
    pytree
        Of the inner structure, with the outer one at each of its leaves.

    Raises
    ------
    TreeStructureError
        If the tree is not of the composed structure.

    Examples
    --------
    >>> import funcad
    >>> pairs = {"a": (1, 2), "b": (3, 4)}
    >>> outer = funcad.tree.structure({"a": 0, "b": 0})
    >>> funcad.tree.transpose(outer, funcad.tree.structure((0, 0)), pairs)
    ({'a': 1, 'b': 3}, {'a': 2, 'b': 4})
    """
    form = "transpose(outer_treedef, inner_treedef, tree)"
    _check_treedef(outer_treedef, "transpose", form)
    if inner_treedef is not None:
        _check_treedef(inner_treedef, "transpose", form)
    if inner_treedef is None:
        subtrees = outer_treedef.flatten_up_to(pytree_to_transpose)
        if not subtrees:
            raise TreeStructureError(
                "The outer structure given to transpose has no leaves, at which the "
                "inner one could be seen. Give inner_treedef."
            )
        inner_treedef = structure(subtrees[0])
    leaves, treedef = flatten(pytree_to_transpose)
    composed = TreeDef(compose(outer_treedef._node, inner_treedef._node))
    if treedef != composed:
        raise structure_error(
            "transpose was given a tree that is not the outer structure with the inner "
            "one at each of its leaves",
            (composed._node, "the composed structure"),
            (treedef._node, "the tree"),
            leaves,
        )
    width = inner_treedef.num_leaves
    columns = [leaves[column::width] for column in range(width)]
    return inner_treedef.unflatten([outer_treedef.unflatten(c) for c in columns])


# --- paths ----------------------------------------------------------------------------


def flatten_with_path(
    tree: Any, is_leaf: IsLeaf = None
) -> tuple[list[tuple[Path, Any]], TreeDef]:
    """Paths and leaves of a pytree, and its structure.

    Parameters
    ----------
    tree : pytree
    is_leaf : callable, optional
        As for `flatten`.

    Returns
    -------
    path_leaves : list of (path, leaf)
        A path is a tuple of `DictKey`, `SequenceKey`, `GetAttrKey`,
        `FlattenedIndexKey` or of what a registered class gives.
    treedef : TreeDef

    Examples
    --------
    >>> import funcad
    >>> path_leaves, treedef = funcad.tree.flatten_with_path({"layers": [1.0, 2.0]})
    >>> [(funcad.tree.keystr(path), leaf) for path, leaf in path_leaves]
    [("['layers'][0]", 1.0), ("['layers'][1]", 2.0)]
    """
    found: list[tuple[Path, Any]] = []
    if is_leaf is not None:
        _check_function(is_leaf, "is_leaf=", "is_leaf=lambda x: x is None")
    return found, TreeDef(flatten_with_path_into(tree, is_leaf, (), found))


def map_with_path(
    f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf = None
) -> Any:
    """The pytree of ``f(path, leaf, *leaves_of_rest)`` for the leaves of ``tree``.

    Parameters
    ----------
    f : callable
    tree : pytree
    *rest : pytrees
        As for `map`.
    is_leaf : callable, optional
        As for `flatten`; applied to ``tree``.

    Returns
    -------
    pytree

    Raises
    ------
    TreeStructureError
        If the structure of ``tree`` is no prefix of that of another tree.

    Examples
    --------
    >>> import funcad
    >>> tree = {"w": 1.0, "b": [2.0]}
    >>> funcad.tree.map_with_path(lambda path, x: funcad.tree.keystr(path), tree)
    {'b': ["['b'][0]"], 'w': "['w']"}
    """
    _check_function(f, "map_with_path", "map_with_path(f, tree)")
    path_leaves, treedef = flatten_with_path(tree, is_leaf)
    columns = _columns("map_with_path", treedef, rest)
    results = [
        f(*pair, *row[1:]) for pair, *row in zip(path_leaves, path_leaves, *columns)
    ]
    return build(treedef._node, iter(results))


def keystr(path: Path) -> str:
    """A path as it would be written in Python.

    Examples
    --------
    >>> from funcad.tree import DictKey, GetAttrKey, SequenceKey, keystr
    >>> keystr((DictKey("layers"), SequenceKey(0), GetAttrKey("weight")))
    "['layers'][0].weight"
    """
    return "".join([str(key) for key in path])


# --- what the transforms ask ----------------------------------------------------------


def broadcast_prefix(
    prefix_tree: Any,
    full_tree: Any,
    is_leaf: IsLeaf = None,
    what: str = "the prefix tree",
    what_full: str = "the full tree",
) -> list[Any]:
    """One leaf of the prefix for every leaf of the full tree.

    Parameters
    ----------
    prefix_tree : pytree
        Has the containers of the full tree from the root down to its own leaves, each
        of which stands for all leaves of the subtree in its place.
    full_tree : pytree or TreeDef
    is_leaf : callable, optional
        As for `flatten`; applied to ``prefix_tree``. With ``lambda x: x is None``, as
        ``vmap`` has it for its axes, ``None`` is a leaf.
    what, what_full : str
        What the error calls the two trees.

    Returns
    -------
    list
        As long as the full tree has leaves.

    Raises
    ------
    TreeStructureError
        If the prefix is none.

    Examples
    --------
    >>> from funcad.tree import broadcast_prefix
    >>> arguments = ({"w": 1.0, "b": 2.0}, [3.0, 4.0])
    >>> broadcast_prefix((None, 0), arguments, is_leaf=lambda x: x is None)
    [None, None, 0, 0]
    """
    full = full_tree if type(full_tree) is TreeDef else structure(full_tree)
    found, prefix = flatten(prefix_tree, is_leaf)
    counts: list[int] = []
    try:
        count_up_to(prefix._node, full._node, counts)
    except Parted:
        raise structure_error(
            f"There must be one leaf in {what} for each leaf or subtree in {what_full}",
            (prefix._node, what),
            (full._node, what_full),
            leaves(full_tree) if full is not full_tree else None,
            prefix=True,
        ) from None
    return [leaf for leaf, count in zip(found, counts) for _ in range(count)]


def check_same_structure(
    expected: TreeDef, got: Any, what_expected: str, what_got: str
) -> None:
    """Raise an error if a tree has not the expected structure.

    Parameters
    ----------
    expected : TreeDef
    got : pytree or TreeDef
    what_expected, what_got : str
        What the error calls the two, such as ``"the primals"`` and ``"the tangents"``.

    Raises
    ------
    TreeStructureError
        With the path where the two part, and what each has there.

    Examples
    --------
    >>> from funcad.tree import check_same_structure, structure
    >>> expected = structure({"w": 1.0})
    >>> check_same_structure(expected, {"w": [1.0]}, "the primals", "the tangents")
    Traceback (most recent call last):
        ...
    funcad.core.errors.TreeStructureError: The structure of the tangents must be that of
    the primals; at ['w']: a leaf in the primals, a list of length 1 in the tangents.
    ...
    """
    treedef = got if type(got) is TreeDef else structure(got)
    if treedef != expected:
        form = "check_same_structure(treedef, tree, what_expected, what_got)"
        _check_treedef(expected, "check_same_structure", form)
        raise structure_error(
            f"The structure of {what_got} must be that of {what_expected}",
            (expected._node, what_expected),
            (treedef._node, what_got),
            leaves(got) if treedef is not got else None,
        )


# --- structures -----------------------------------------------------------------------


class TreeDef:
    """Structure of a pytree, as `flatten` and `structure` give it.

    Immutable; equal for equal structures, registered classes' auxiliary values
    included; hashable if those are; pickles if those do.

    Attributes
    ----------
    num_leaves : int

    Examples
    --------
    >>> import funcad
    >>> treedef = funcad.tree.structure({"b": (1, None), "a": [2, 3]})
    >>> treedef
    PyTreeDef({'a': [*, *], 'b': (*, None)})
    >>> treedef.num_leaves
    3
    """

    __slots__ = ("_hash", "_node")
    _hash: int
    _node: Node | None

    def __init__(self, node: Node | None) -> None:
        self._node = node

    @property
    def num_leaves(self) -> int:
        return count_leaves(self._node)

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """The pytree of this structure with these leaves; see `unflatten`."""
        if type(leaves) is not list:
            leaves = _listed(leaves)
        if len(leaves) != self.num_leaves:
            raise leaf_count_error(self._node, len(leaves))
        return build(self._node, iter(leaves))

    def flatten_up_to(self, tree: Any) -> list[Any]:
        """Subtrees of ``tree`` that stand where this structure has leaves.

        Raises
        ------
        TreeStructureError
            If this structure is no prefix of the tree's.

        Examples
        --------
        >>> import funcad
        >>> treedef = funcad.tree.structure({"a": 0, "b": 0})
        >>> treedef.flatten_up_to({"a": 1, "b": [2, (3, 4)]})
        [1, [2, (3, 4)]]
        """
        return _flatten_up_to(
            self._node,
            tree,
            "A tree must have the structure of the treedef, down to its leaves",
            "the treedef",
            "the tree",
        )

    def children(self) -> list[TreeDef]:
        """Structures of the root's children; none for a leaf."""
        if self._node is None:
            return []
        return [TreeDef(child) for child in children_of(self._node)]

    def __eq__(self, other: object) -> bool:
        if type(other) is not TreeDef:
            return NotImplemented
        try:
            return self._node == other._node
        except (RecursionError, ValueError):
            return equal_stepwise(self._node, other._node)

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            self._hash = hash_node(self._node)
            return self._hash

    def __repr__(self) -> str:
        return f"PyTreeDef({show(self._node)})"

    def __reduce__(self) -> tuple[Any, ...]:
        # In a flat form, so that deep structures pickle too.
        return _from_steps, (list(steps_of(self._node)),)


def _from_steps(steps: Sequence[tuple[type, Any, int] | None]) -> TreeDef:
    return TreeDef(node_from_steps(steps))


_LEAF = TreeDef(None)


def _listed(leaves: Any) -> list[Any]:
    if not isinstance(leaves, Iterable):
        raise TreeStructureError(
            "unflatten takes the leaves as a list, and was given "
            f"{_spoken(leaves)}. Write unflatten(treedef, [leaf, ...])."
        )
    return list(leaves)


def _check_treedef(treedef: Any, caller: str, form: str) -> None:
    if type(treedef) is not TreeDef:
        raise TreeStructureError(
            f"{caller} takes a structure and was given {_spoken(treedef)}. Write "
            f"{form} with the structure that funcad.tree.structure(tree) gives."
        )


def _check_function(f: Any, caller: str, form: str) -> None:
    if not callable(f):
        raise TypeError(
            f"{caller} takes a function and was given {_spoken(f)}. Write {form}."
        )


def _spoken(x: Any) -> str:
    return f"{shortened(x)} of type {type(x).__name__}"


def _flatten_up_to(
    node: Node | None, tree: Any, demand: str, what: str, what_got: str
) -> list[Any]:
    """Subtrees of `tree` at the leaves of `node`, or an error that says all this."""
    found: list[Any] = []
    try:
        append_up_to(node, tree, found)
    except Parted:
        got_leaves, got = flatten(tree)
        raise structure_error(
            demand, (node, what), (got._node, what_got), got_leaves, prefix=True
        ) from None
    return found


def _columns(caller: str, treedef: TreeDef, rest: tuple[Any, ...]) -> list[list[Any]]:
    """Leaves of each further tree of `map`, or subtrees in their place."""
    return [
        _flatten_up_to(
            treedef._node,
            tree,
            f"The trees given to {caller} must have the structure of the first one, "
            "down to its leaves",
            "the first tree",
            f"the {_ordinal(index)} tree",
        )
        for index, tree in enumerate(rest, 2)
    ]


def _ordinal(number: int) -> str:
    words = ("first", "second", "third", "fourth", "fifth")
    return words[number - 1] if number <= len(words) else f"{number}th"
