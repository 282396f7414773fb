"""Structures of pytrees in words, and the error that shows where two of them part."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any

from funcad.core.containers import (
    MOST_LISTED,
    GetAttrKey,
    keys_of,
    listed,
    name_of,
)
from funcad.core.errors import TreeStructureError
from funcad.core.nodes import Node, Path, children_of, count_leaves, same_root


def show(node: Node | None) -> str:
    """A structure as it would be written in Python, with * for leaves."""
    if node is None:
        return "*"
    kind, aux, _, _ = node
    shown = []
    for child in children_of(node):
        shown.append(show(child))
    if kind is type(None):
        return "None"
    if kind is list:
        return f"[{', '.join(shown)}]"
    if kind is tuple:
        return f"({', '.join(shown)}{',' * (len(shown) == 1)})"
    keys = keys_of(kind, aux, len(shown))
    if kind in (dict, OrderedDict, defaultdict):
        items = [f"{key.key!r}: {child}" for key, child in zip(keys, shown)]
        entries = f"{{{', '.join(items)}}}"
        if kind is dict:
            return entries
        factory = f"{_callable_name(aux[0])}, " if kind is defaultdict else ""
        return f"{kind.__name__}({factory}{entries})"
    if keys and type(keys[0]) is GetAttrKey:
        shown = [f"{key.name}={child}" for key, child in zip(keys, shown)]
    return f"{name_of(kind)}{_show_aux(aux)}({', '.join(shown)})"


def _show_aux(aux: Any) -> str:
    return "" if aux is None or aux == () else f"[{aux!r}]"


def structure_error(
    demand: str,
    expected: tuple[Node | None, str],
    got: tuple[Node | None, str],
    got_leaves: list[Any] | None,
    prefix: bool = False,
) -> TreeStructureError:
    """The error that shows the path where two structures part, and both sides there.

    With `prefix`, a leaf of the expected structure stands for any subtree.
    """
    (node, what), (got_node, what_got) = expected, got
    parting = _parting(node, got_node, prefix, (), 0)
    if parting is None:  # a class was flattened differently the second time
        return TreeStructureError(
            f"{demand}; {show(node)} in {what}, {show(got_node)} in {what_got}."
        )
    path, node, got_node, index = parting
    side, got_side = _describe(node), _describe(got_node)
    if got_node is None and got_leaves is not None:
        got_side = _describe_leaf(got_leaves[index])
    if side == got_side and node is not None and got_node is not None:
        same_class = node[0] is got_node[0]
        got_side += (
            " with an unequal auxiliary value" if same_class else " of another class"
        )
    message = (
        f"{demand}; at {_written(path)}: {side} in {what}, {got_side} in {what_got}."
    )
    keys, got_keys = _dict_keys(node), _dict_keys(got_node)
    if keys and got_keys and max(len(keys), len(got_keys)) > MOST_LISTED:
        message += _only_in(what, keys, got_keys) + _only_in(what_got, got_keys, keys)
    return TreeStructureError(message)


def _parting(
    node: Node | None, got: Node | None, prefix: bool, path: Path, index: int
) -> tuple[Path, Node | None, Node | None, int] | None:
    """Where two structures part: path, both nodes, and leaves of `got` before it."""
    if node is None:
        return None if prefix or got is None else (path, node, got, index)
    if got is None or not same_root(node, got):
        return path, node, got, index
    children, got_children = children_of(node), children_of(got)
    keys = keys_of(node[0], node[1], len(children))
    for key, child, got_child in zip(keys, children, got_children):
        parting = _parting(child, got_child, prefix, (*path, key), index)
        if parting is not None:
            return parting
        index += count_leaves(got_child)
    return None


def leaf_count_error(node: Node | None, count: int) -> TreeStructureError:
    """The error for `count` leaves given to a structure that has another number."""
    expected = count_leaves(node)
    missing = "" if count > expected else f", the next for {_leaf_path(node, count)}"
    return TreeStructureError(
        f"unflatten was given {count} {'leaf' if count == 1 else 'leaves'} and needs "
        f"{expected}{missing}. Give one for each * of {_cut(show(node), 400)}."
    )


def _leaf_path(node: Node | None, index: int) -> str:
    path: Path = ()
    while node is not None:
        children = children_of(node)
        position = 0
        while index >= count_leaves(children[position]):
            index -= count_leaves(children[position])
            position += 1
        path += (keys_of(node[0], node[1], len(children))[position],)
        node = children[position]
    return _written(path)


def _describe(node: Node | None) -> str:
    """A node in words, without what is below it."""
    if node is None:
        return "a leaf"
    kind, aux, _, _ = node
    count = len(children_of(node))
    if kind is type(None):
        return "None"
    if kind is list or kind is tuple:
        return f"a {kind.__name__} of length {count}"
    article = "an" if name_of(kind)[0] in "AEIOUaeiou" else "a"
    words = f"{article} {name_of(kind)}"
    keys = _dict_keys(node)
    if keys is not None:
        factory = f" of {_callable_name(aux[0])}" if kind is defaultdict else ""
        return f"{words}{factory} with {f'keys {listed(keys)}' if keys else 'no keys'}"
    if aux is None or aux == ():
        return words
    return f"{words} with auxiliary value {_cut(repr(aux), 80)}"


def _describe_leaf(leaf: Any) -> str:
    shape, dtype = getattr(leaf, "shape", None), getattr(leaf, "dtype", None)
    if shape is None or dtype is None:
        return f"a leaf of type {name_of(type(leaf))}"
    return f"an array of shape {shape} and dtype {dtype}"


def _only_in(what: str, keys: list[Any], others: list[Any]) -> str:
    """A sentence on the keys of two dicts, where they are too many to be listed."""
    only = set(keys).difference(others)
    return f" Only in {what}: {listed([k for k in keys if k in only])}." if only else ""


def _dict_keys(node: Node | None) -> list[Any] | None:
    if node is None or node[0] not in (dict, OrderedDict, defaultdict):
        return None
    return [key.key for key in keys_of(node[0], node[1], len(children_of(node)))]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}..."


def _callable_name(factory: Any) -> str:
    return getattr(factory, "__name__", repr(factory))


def _written(path: Path) -> str:
    return "".join([str(key) for key in path]) or "the root"
