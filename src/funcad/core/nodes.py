"""Structures of pytrees as plain nested tuples, and the walks that make and use them.

A node is ``(kind, aux, children, count)``: the type of the container, what else belongs
to the structure (the keys of a dict, the auxiliary value of a registered class), the
nodes of the children, and the number of leaves below.  The node of a leaf is ``None``,
and ``children`` is ``None`` where all children are leaves.  Plain tuples are made,
hashed and compared faster than any object of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeAlias

from funcad.core.containers import (
    leaf_types,
    name_of,
    put_together,
    sorted_keys,
    take_apart,
    take_apart_other,
    take_apart_with_keys,
)
from funcad.core.errors import TreeStructureError

Node: TypeAlias = "tuple[type, Any, tuple[Node | None, ...] | None, int]"
Path: TypeAlias = "tuple[Any, ...]"
IsLeaf: TypeAlias = "Callable[[Any], bool] | None"


def make_node(kind: type, aux: Any, children: Sequence[Node | None]) -> Node:
    """The node of a container whose children have these nodes."""
    count = 0
    all_leaves = True
    for child in children:
        count += count_leaves(child)
        all_leaves = all_leaves and child is None
    return kind, aux, None if all_leaves else tuple(children), count


def count_leaves(node: Node | None) -> int:
    """Number of leaves of a structure."""
    return 1 if node is None else node[3]


def children_of(node: Node) -> tuple[Node | None, ...]:
    """Nodes of the children, leaves written out."""
    _, _, children, count = node
    return (None,) * count if children is None else children


_NONE: Node = (type(None), None, None, 0)


def flatten_into(x: Any, leaves: list[Any]) -> Node | None:
    """Append the leaves of `x`; the hot loop, in which a leaf costs no call."""
    kind = type(x)
    children: list[Node | None] = []
    all_leaves = True
    start = len(leaves)
    if kind is dict:
        try:
            aux = sorted(x)
        except TypeError:
            aux = sorted_keys(x)
        for key in aux:
            child = x[key]
            if type(child) in leaf_types:
                leaves.append(child)
                children.append(None)
            else:
                node = flatten_into(child, leaves)
                children.append(node)
                if node is not None:
                    all_leaves = False
        aux = tuple(aux)  # type: ignore[assignment]
    else:
        if kind is list or kind is tuple:
            aux, values = None, x
        elif x is None:
            return _NONE
        else:
            parts = take_apart_other(x, kind)
            if parts is None:
                leaves.append(x)
                return None
            _, aux, values = parts
        for child in values:
            if type(child) in leaf_types:
                leaves.append(child)
                children.append(None)
            else:
                node = flatten_into(child, leaves)
                children.append(node)
                if node is not None:
                    all_leaves = False
    return kind, aux, None if all_leaves else tuple(children), len(leaves) - start


def flatten_where(
    x: Any, is_leaf: Callable[[Any], bool], leaves: list[Any]
) -> Node | None:
    """As `flatten_into`, where `is_leaf` may end the walk early."""
    parts = None if is_leaf(x) else take_apart(x)
    if parts is None:
        leaves.append(x)
        return None
    kind, aux, values = parts
    children = []
    for child in values:
        children.append(flatten_where(child, is_leaf, leaves))
    return make_node(kind, aux, children)


def flatten_with_path_into(
    x: Any, is_leaf: IsLeaf, path: Path, found: list[tuple[Path, Any]]
) -> Node | None:
    """As `flatten_where`, appending the path with each leaf."""
    at_leaf = is_leaf is not None and is_leaf(x)
    parts = None if at_leaf else take_apart_with_keys(x)
    if parts is None:
        found.append((path, x))
        return None
    kind, aux, values, keys = parts
    children = []
    for key, child in zip(keys, values):
        children.append(flatten_with_path_into(child, is_leaf, (*path, key), found))
    return make_node(kind, aux, children)


def build(node: Node | None, leaves: Iterator[Any]) -> Any:
    """The pytree of this structure with the next leaves."""
    if node is None:
        return next(leaves)
    kind, aux, children, count = node
    if children is None:
        if kind is dict:
            # The keys come first: at their end zip must not have taken another leaf.
            return dict(zip(aux, leaves))
        return put_together(kind, aux, islice(leaves, count))
    values = []
    for child in children:
        values.append(next(leaves) if child is None else build(child, leaves))
    return put_together(kind, aux, values)


def compose(node: Node | None, inner: Node | None) -> Node | None:
    """The structure of `node` with `inner` at each of its leaves."""
    if node is None:
        return inner
    kind, aux, _, _ = node
    children = []
    for child in children_of(node):
        children.append(compose(child, inner))
    return make_node(kind, aux, children)


class Parted(Exception):
    """Two structures differ; who catches it says where."""


def append_up_to(node: Node | None, x: Any, found: list[Any]) -> None:
    """Append the subtrees of `x` at the leaves of `node`, or raise Parted."""
    if node is None:
        found.append(x)
        return
    kind, aux, children, count = node
    x_kind, values = type(x), x
    if x_kind is not kind:
        raise Parted
    if kind is dict:
        if len(x) != len(aux):
            raise Parted
        try:
            values = [*map(x.__getitem__, aux)]
        except KeyError:
            raise Parted from None
    elif kind is not list and kind is not tuple:
        parts = take_apart(x)
        if parts is None or not _same_aux(kind, aux, parts[1]):
            raise Parted
        values = parts[2]
    if len(values) != (count if children is None else len(children)):
        raise Parted
    if children is None:
        found += values
        return
    for child, value in zip(children, values):
        if child is None:
            found.append(value)
        else:
            append_up_to(child, value, found)


def count_up_to(prefix: Node | None, full: Node | None, counts: list[int]) -> None:
    """Append how many leaves are below each leaf of the prefix, or raise Parted."""
    if prefix is None:
        counts.append(count_leaves(full))
        return
    if full is None or not same_root(prefix, full):
        raise Parted
    for child, full_child in zip(children_of(prefix), children_of(full)):
        count_up_to(child, full_child, counts)


def same_root(a: Node, b: Node) -> bool:
    """Whether two nodes are alike, whatever is below them."""
    return (
        a[0] is b[0]
        and len(children_of(a)) == len(children_of(b))
        and _same_aux(a[0], a[1], b[1])
    )


def _same_aux(kind: type, a: Any, b: Any) -> bool:
    try:
        return a is b or bool(a == b)
    except ValueError as error:
        raise TreeStructureError(
            f"Two structures with a {name_of(kind)} cannot be compared, because == of "
            f"its auxiliary values (meta fields) gave no answer: {error} Put arrays "
            "among the children (data fields)."
        ) from error


# --- step by step, without recursion --------------------------------------------------


def steps_of(node: Node | None) -> Iterator[tuple[type, Any, int] | None]:
    """Kind, auxiliary value and number of children of each node, parents first."""
    pending = [node]
    while pending:
        node = pending.pop()
        if node is None:
            yield None
        else:
            children = children_of(node)
            yield node[0], node[1], len(children)
            pending.extend(reversed(children))


def node_from_steps(steps: Sequence[tuple[type, Any, int] | None]) -> Node | None:
    """The structure that `steps_of` took apart."""
    pending: list[Node | None] = []
    for step in reversed(steps):
        if step is None:
            pending.append(None)
        else:
            kind, aux, count = step
            pending.append(make_node(kind, aux, [pending.pop() for _ in range(count)]))
    return pending.pop()


def equal_stepwise(a: Node | None, b: Node | None) -> bool:
    """Equality of structures too deep for C, or whose ``==`` needs an explanation."""
    for one, other in zip(steps_of(a), steps_of(b)):
        if one is None or other is None:
            if one is not other:
                return False
        elif one[0] is not other[0] or one[2] != other[2]:
            return False
        elif not _same_aux(one[0], one[1], other[1]):
            return False
    return True


def hash_node(node: Node | None) -> int:
    """Hash of a structure, or an error that names what in it has none."""
    try:
        return hash(node)
    except TypeError:
        pass
    for step in steps_of(node):
        if step is not None:
            try:
                hash(step[1])
            except TypeError as error:
                raise TreeStructureError(
                    f"The structure of a tree with a {name_of(step[0])} cannot be "
                    "hashed, because its auxiliary value (meta fields) cannot: "
                    f"{error}. Use hashable values, such as a tuple instead of a list, "
                    "and put arrays among the children (data fields)."
                ) from error
    raise AssertionError("a node is hashable if its auxiliary values are")
