"""Tests of funcad.tree against a naive reference that knows each container by hand."""

from __future__ import annotations

import copy
import dataclasses
import enum
import functools
import pickle
import subprocess
import sys
import threading
from collections import OrderedDict, defaultdict, namedtuple
from typing import Any, Generic, NamedTuple, TypeVar

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, example, given

from funcad import tree as ft
from funcad.core import containers as containers_module
from funcad.core.errors import RegistrationError, TreeStructureError

T = TypeVar("T")

Point = namedtuple("Point", ["x", "y"])


class Typed(NamedTuple):
    value: Any


@functools.partial(ft.register_dataclass, meta_fields=["activation"])
@dataclasses.dataclass
class Dense(Generic[T]):
    weight: T
    activation: str
    bias: T | None = None


@ft.register_dataclass
@dataclasses.dataclass(frozen=True)
class Static:
    x: Any
    mode: str = dataclasses.field(default="a", metadata={"static": True})


@ft.register_pytree_node_class
class Pair:
    """A class without names for its children."""

    def __init__(self, a: Any, b: Any, tag: Any = None) -> None:
        self.a, self.b, self.tag = a, b, tag

    def tree_flatten(self) -> tuple[tuple[Any, Any], Any]:
        return (self.a, self.b), self.tag

    @classmethod
    def tree_unflatten(cls, tag: Any, children: Any) -> Pair:
        return cls(*children, tag)


@ft.register_pytree_node_class
class Named:
    """A class that names its children."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def tree_flatten(self) -> tuple[list[Any], None]:
        return [self.inner], None

    def tree_flatten_with_keys(self) -> tuple[list[Any], None]:
        return [(ft.GetAttrKey("inner"), self.inner)], None

    @classmethod
    def tree_unflatten(cls, _: None, children: Any) -> Named:
        return cls(*children)


class Bag:
    """Registered by functions; its number of children varies."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items


ft.register_pytree_node(
    Bag,
    lambda bag: (iter(bag.items), ("bag", len(bag.items))),
    lambda aux, children: Bag(list(children)),
)


@dataclasses.dataclass
class Box:
    """A leaf with something inside."""

    content: Any


class DictSubclass(dict):
    pass


class ListSubclass(list):
    pass


class Color(enum.StrEnum):
    RED = "red"


def type_name(key: Any) -> str:
    return f"{type(key).__module__}.{type(key).__qualname__}"


def in_order(keys: Any) -> list[Any]:
    return sorted(keys, key=lambda key: (isinstance(key, str), key))


def children(x: Any) -> list[Any] | None:
    """The reference: children of a container in their order, None for a leaf."""
    match x:
        case None:
            return []
        case OrderedDict():
            return list(x.values())
        case dict() if type(x) in (dict, defaultdict):
            return [x[key] for key in in_order(x)]
        case tuple() | list() if not isinstance(x, ListSubclass):
            return list(x)
        case Dense():
            return [x.weight, x.bias]
        case Static():
            return [x.x]
        case Pair():
            return [x.a, x.b]
        case Named():
            return [x.inner]
        case Bag():
            return x.items
    return None


def extras(x: Any) -> Any:
    """The reference: what a container's structure has besides its children."""
    match x:
        case OrderedDict():
            return list(x)
        case defaultdict():
            return x.default_factory, in_order(x)
        case dict():
            return in_order(x)
        case Dense():
            return x.activation
        case Static():
            return x.mode
        case Pair():
            return x.tag
    return None


def rebuilt(x: Any, new: list[Any]) -> Any:
    """The reference: a container like `x` with these children."""
    match x:
        case None:
            return None
        case OrderedDict():
            return OrderedDict(zip(x, new))
        case defaultdict():
            return defaultdict(x.default_factory, zip(in_order(x), new))
        case dict():
            return dict(zip(in_order(x), new))
        case Point() | Typed():
            return type(x)(*new)
        case tuple() | list():
            return type(x)(new)
        case Dense():
            return Dense(new[0], x.activation, new[1])
        case Static():
            return Static(new[0], x.mode)
        case Pair():
            return Pair(*new, x.tag)
        case Named():
            return Named(*new)
        case Bag():
            return Bag(new)
    raise AssertionError(x)


def leaves_of(x: Any) -> list[Any]:
    inner = children(x)
    return [x] if inner is None else [leaf for c in inner for leaf in leaves_of(c)]


def mapped(f: Any, x: Any) -> Any:
    inner = children(x)
    return f(x) if inner is None else rebuilt(x, [mapped(f, c) for c in inner])


def same_structure(a: Any, b: Any) -> bool:
    one, other = children(a), children(b)
    if one is None or other is None:
        return one is other
    return (
        type(a) is type(b)
        and extras(a) == extras(b)
        and len(one) == len(other)
        and all(same_structure(c, d) for c, d in zip(one, other))
    )


def identical(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(x is y for x, y in zip(a, b))


LEAVES = st.one_of(
    st.integers(),
    st.floats(),
    st.text(max_size=2),
    st.builds(np.zeros, st.sampled_from([(), (2,), (0, 3)])),
    st.builds(DictSubclass, st.dictionaries(st.text(max_size=1), st.integers())),
    st.builds(ListSubclass, st.lists(st.integers(), max_size=2)),
    st.builds(object),
)
STRINGS = st.sampled_from(["a", "b", "w", "layers"])
KEYS = st.one_of(STRINGS, st.integers(-3, 3))


def addressable(inner: Any) -> Any:
    """Containers whose paths can be written in Python."""
    return st.one_of(
        st.none(),
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(STRINGS, inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3).map(OrderedDict),
        st.dictionaries(KEYS, inner, max_size=3).map(lambda d: defaultdict(list, d)),
        st.builds(Point, inner, inner),
        st.builds(Typed, inner),
        st.builds(Dense, inner, st.sampled_from(["relu", "tanh"]), inner),
        st.builds(Static, inner, st.sampled_from(["a", "b"])),
        st.builds(Named, inner),
    )


def containers(inner: Any) -> Any:
    return st.one_of(
        addressable(inner),
        st.builds(Pair, inner, inner, st.sampled_from([None, "tag", (1, 2)])),
        st.builds(Bag, st.lists(inner, max_size=3)),
    )


TREES = st.recursive(LEAVES, containers, max_leaves=12)
ADDRESSABLE = st.recursive(LEAVES, addressable, max_leaves=12)


# --- flatten, unflatten, map ----------------------------------------------------------


@given(TREES)
@example([])
@example({})
@example(())
@example(None)
@example({"a": {}, "b": [[], ()]})
def test_flatten_gives_the_leaves_in_order_and_unflatten_the_tree_back(tree):
    leaves, treedef = ft.flatten(tree)
    assert identical(leaves, leaves_of(tree))
    assert treedef.num_leaves == len(leaves)
    back = ft.unflatten(treedef, leaves)
    assert same_structure(back, tree)
    assert identical(leaves_of(back), leaves)


@given(TREES)
def test_unflatten_makes_new_containers_and_takes_any_iterable_of_any_objects(tree):
    treedef = ft.structure(tree)
    fresh = [object() for _ in range(treedef.num_leaves)]
    back = ft.unflatten(treedef, iter(fresh))
    assert same_structure(back, mapped(lambda _: object(), tree))
    assert identical(leaves_of(back), fresh)
    if isinstance(tree, (list, dict)) and type(tree) in (list, dict):
        assert back is not tree


@given(TREES)
def test_map_is_leafwise(tree):
    results = ft.map(lambda x: (x, "seen"), tree)
    expected = mapped(lambda x: (x, "seen"), tree)
    assert same_structure(results, expected)
    assert identical(leaves_of(results), leaves_of(expected))


@given(TREES)
def test_map_takes_leaves_of_further_trees_and_whole_subtrees_at_the_first_ones(tree):
    second = mapped(lambda x: [x, {"k": x}], tree)
    third = mapped(lambda x: None, tree)
    found = []
    ft.map(lambda *row: found.append(row), tree, second, third)
    assert identical([x for x, _, _ in found], leaves_of(tree))
    assert all(y[0] is x and y[1]["k"] is x for x, y, _ in found)
    assert all(z is None for _, _, z in found)


@given(TREES)
def test_leaves_structure_reduce_and_all_agree_with_flatten(tree):
    leaves, treedef = ft.flatten(tree)
    assert identical(ft.leaves(tree), leaves)
    assert ft.structure(tree) == treedef
    assert identical(ft.reduce(lambda found, x: [*found, x], tree, []), leaves)
    flags = ft.map(lambda x: isinstance(x, int), tree)
    assert ft.all(flags) is all(isinstance(x, int) for x in leaves)


def test_reduce_without_initializer_begins_with_the_first_leaf():
    assert ft.reduce(lambda a, b: a - b, {"b": 3, "a": 10}) == 7
    with pytest.raises(TypeError):
        ft.reduce(lambda a, b: a, {"a": None})
    assert ft.reduce(lambda a, b: a, {"a": None}, None) is None
    pairs = [(1, 2), (3,)]
    assert ft.reduce(lambda n, x: n + len(x), pairs, 0, lambda x: x in pairs) == 3


def test_a_stop_iteration_from_the_function_is_not_taken_for_the_end_of_the_leaves():
    def stop(*_: Any) -> Any:
        raise StopIteration

    for trees in ([[1, 2]], [[1, 2], [3, 4]]):
        with pytest.raises((StopIteration, RuntimeError)):
            ft.map(stop, *trees)


@given(TREES)
def test_is_leaf_is_asked_from_the_root_down_and_ends_the_walk(tree):
    asked = []
    leaves, treedef = ft.flatten(tree, is_leaf=lambda x: asked.append(x) is not None)
    assert identical(leaves, leaves_of(tree)) and treedef == ft.structure(tree)
    nodes: list[Any] = []

    def visit(x: Any) -> None:
        nodes.append(x)
        for child in children(x) or []:
            visit(child)

    visit(tree)
    assert identical(asked, nodes)
    assert identical(ft.leaves(tree, is_leaf=lambda x: True), [tree])
    assert identical(ft.leaves(tree, is_leaf=lambda x: x is None), _with_nones(tree))


def _with_nones(x: Any) -> list[Any]:
    inner = children(x)
    if x is None or inner is None:
        return [x]
    return [leaf for child in inner for leaf in _with_nones(child)]


def test_is_leaf_reaches_map_reduce_all_and_the_functions_with_paths():
    tree = {"a": (1, 2), "b": [None]}

    def is_pair(x: Any) -> bool:
        return type(x) is tuple

    assert ft.map(sum, {"a": (1, 2)}, is_leaf=is_pair) == {"a": 3}
    assert ft.map(lambda x, y: y, {"a": (1, 2)}, {"a": 5}, is_leaf=is_pair) == {"a": 5}
    assert ft.leaves(tree, is_leaf=is_pair) == [(1, 2)]
    assert ft.structure(tree, is_leaf=is_pair).num_leaves == 1
    assert ft.all([(), 1], is_leaf=is_pair) is False
    path_leaves, treedef = ft.flatten_with_path(tree, is_leaf=is_pair)
    assert path_leaves == [((ft.DictKey("a"),), (1, 2))]
    assert treedef == ft.structure(tree, is_leaf=is_pair)
    assert ft.map_with_path(lambda p, x: len(p), {"a": (1,)}, is_leaf=is_pair) == {
        "a": 1
    }


def test_instances_of_subclasses_are_leaves_unless_they_are_namedtuples():
    class Plain(tuple):
        pass

    class Child(Dense):
        pass

    for leaf in (DictSubclass(a=1), ListSubclass([1]), Plain((1,)), Child(1, "relu")):
        assert identical(ft.leaves([leaf]), [leaf])

    class SubPoint(Point):
        pass

    assert ft.leaves(SubPoint(1, (2, 3))) == [1, 2, 3]
    assert type(ft.map(lambda x: x, SubPoint(1, 2))) is SubPoint


def test_arrays_scalars_strings_functions_and_sets_are_leaves():
    tree = [np.ones(3), np.float32(1), 1j, "text", b"", {1, 2}, range(3), len, True]
    assert identical(ft.leaves(tree), tree)


def test_a_leaf_is_a_tree():
    leaf = object()
    leaves, treedef = ft.flatten(leaf)
    assert identical(leaves, [leaf])
    assert treedef == ft.structure(3) and treedef.num_leaves == 1
    assert treedef.unflatten([5]) == 5
    assert treedef.children() == []


# --- dicts ----------------------------------------------------------------------------


def test_dicts_are_taken_by_sorted_key_and_ordered_dicts_in_their_own_order():
    assert ft.leaves({"b": 1, "a": 2, "c": 3}) == [2, 1, 3]
    assert ft.leaves({10: 1, 9: 2}) == [2, 1]
    assert ft.leaves(defaultdict(list, {"b": 1, "a": 2})) == [2, 1]
    assert ft.leaves(OrderedDict([("b", 1), ("a", 2)])) == [1, 2]
    assert ft.structure({"a": 1, "b": 2}) == ft.structure({"b": 1, "a": 2})
    ordered = OrderedDict([("b", 1), ("a", 2)])
    assert ft.structure(ordered) != ft.structure(OrderedDict(reversed(ordered.items())))


def test_a_defaultdict_keeps_its_factory():
    back = ft.map(lambda x: x + 1, defaultdict(list, {"a": 1}))
    assert type(back) is defaultdict
    assert back["missing"] == [] and back["a"] == 2
    assert ft.structure(defaultdict(list, a=1)) != ft.structure(defaultdict(int, a=1))
    assert ft.structure(defaultdict(list, a=1)) != ft.structure({"a": 1})


@given(st.permutations([1, 2.5, "a", "b", b"x", (1, 2)]))
def test_keys_of_different_types_are_ordered_by_type_name_whatever_their_order(keys):
    tree = {key: repr(key) for key in keys}
    assert ft.leaves(tree) == ["b'x'", "2.5", "1", "'a'", "'b'", "(1, 2)"]
    assert ft.structure(tree) == ft.structure(dict(reversed(tree.items())))


def test_keys_of_one_type_that_cannot_be_sorted_are_an_error_that_shows_the_way_out():
    for tree in (
        {1j: 0, 2j: 0},
        defaultdict(list, {1j: 0, 2j: 0}),
        {1: 0, 1j: 0, 2j: 0},
    ):
        with pytest.raises(TreeStructureError, match="cannot be sorted.*OrderedDict"):
            ft.flatten([tree])
    assert ft.leaves(OrderedDict({2j: 1, 1j: 2})) == [1, 2]


def test_keys_come_back_as_the_objects_they_were_whatever_equal_keys_came_before():
    ft.flatten({"red": 1})
    ft.flatten({1: 1})
    for key in (Color.RED, np.str_("red"), "red", True, 1, 1.0, np.int64(1)):
        (back,) = ft.map(lambda x: x, {key: 0})
        assert type(back) is type(key)


# --- structures -----------------------------------------------------------------------


@given(TREES, TREES, st.booleans())
def test_treedefs_are_equal_exactly_if_the_structures_are(a, b, alike):
    if alike:
        b = mapped(lambda x: object(), a)
    one, other = ft.structure(a), ft.structure(b)
    assert (one == other) is same_structure(a, b)
    assert (one != other) is not same_structure(a, b)
    if one == other:
        assert hash(one) == hash(other)
        assert repr(one) == repr(other)


@given(TREES)
def test_walks_with_and_without_is_leaf_or_paths_give_the_same_structure(tree):
    treedef = ft.structure(tree)
    assert ft.structure(tree, is_leaf=lambda x: False) == treedef
    assert ft.flatten_with_path(tree)[1] == treedef
    assert hash(ft.flatten_with_path(tree)[1]) == hash(treedef)


def test_treedefs_of_different_containers_and_sizes_differ():
    trees = [
        0,
        None,
        (),
        [],
        {},
        (0,),
        [0],
        {"a": 0},
        {"b": 0},
        [0, 0],
        [[0], 0],
        [0, [0]],
        [None],
        [None, 0],
        Point(0, 0),
        (0, 0),
        OrderedDict(a=0),
        defaultdict(list, a=0),
        Dense(0, "relu"),
        Dense(0, "tanh"),
        Dense(0, "relu", 0),
        Static(0),
        Pair(0, 0),
        Pair(0, 0, "tag"),
        Named(0),
        Bag([0]),
    ]
    treedefs = [ft.structure(tree) for tree in trees]
    assert len(set(treedefs)) == len(trees)
    assert ft.structure([0]) != [0]


@given(TREES)
def test_treedefs_pickle_and_copy(tree):
    treedef = ft.structure(tree)
    for copied in (pickle.loads(pickle.dumps(treedef)), copy.deepcopy(treedef)):
        assert copied == treedef
        assert hash(copied) == hash(treedef)
        assert same_structure(copied.unflatten(leaves_of(tree)), tree)


def test_unflattening_a_class_unpickled_without_its_registration_says_so(tmp_path):
    (tmp_path / "shapes_of_test_tree.py").write_text("class Box: pass")
    program = """
import pickle, sys
from funcad import tree
from funcad.core.errors import RegistrationError
from shapes_of_test_tree import Box
if sys.argv[1] == "write":
    tree.register_pytree_node(Box, lambda box: ((1,), None), lambda _, c: Box())
    sys.stdout.buffer.write(pickle.dumps(tree.structure([Box()])))
else:
    try:
        pickle.loads(sys.stdin.buffer.read()).unflatten([0])
    except RegistrationError as error:
        print(error)
"""
    environment = {"PYTHONPATH": ":".join([str(tmp_path), *sys.path])}

    def run(mode: str, piped: bytes = b"") -> bytes:
        return subprocess.run(
            [sys.executable, "-c", program, mode],
            input=piped,
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout

    printed = run("read", run("write")).decode()
    assert printed.startswith("Box is not registered in this process")


def test_treedefs_read_like_the_trees():
    def show(tree: Any) -> str:
        return repr(ft.structure(tree))

    assert show({"a": 1, "b": [2, 3]}) == "PyTreeDef({'a': *, 'b': [*, *]})"
    assert show(1) == "PyTreeDef(*)"
    assert show((1,)) == "PyTreeDef((*,))"
    assert show(((), [], {}, None)) == "PyTreeDef(((), [], {}, None))"
    assert show(Point(1, [2])) == "PyTreeDef(Point(x=*, y=[*]))"
    assert show(OrderedDict(b=1, a=2)) == "PyTreeDef(OrderedDict({'b': *, 'a': *}))"
    assert show(defaultdict(list, a=1)) == "PyTreeDef(defaultdict(list, {'a': *}))"
    assert show(Dense(1, "relu")) == "PyTreeDef(Dense[('relu',)](weight=*, bias=None))"
    assert show(Pair(1, 2)) == "PyTreeDef(Pair(*, *))"
    assert show(Pair(1, 2, "t")) == "PyTreeDef(Pair['t'](*, *))"


def test_treedefs_cannot_be_changed():
    treedef = ft.structure([1])
    for name in ("num_leaves", "other"):
        with pytest.raises(AttributeError):
            setattr(treedef, name, 3)


@given(TREES)
def test_children_are_the_structures_of_the_children(tree):
    inner = children(tree)
    expected = [] if inner is None else [ft.structure(child) for child in inner]
    assert ft.structure(tree).children() == expected


@given(TREES)
def test_flatten_up_to_gives_the_subtrees_at_the_leaves(tree):
    leaves, treedef = ft.flatten(tree)
    subtrees = [{"k": (leaf, None)} for leaf in leaves]
    assert identical(treedef.flatten_up_to(treedef.unflatten(subtrees)), subtrees)
    assert identical(treedef.flatten_up_to(tree), leaves)


def test_trees_are_as_deep_as_a_plain_recursion_allows():
    depth = sys.getrecursionlimit() - 50
    outcomes: list[Any] = []

    def nested(bottom: Any) -> Any:
        for i in range(depth):
            bottom = [bottom, i] if i % 2 else {"down": bottom, "i": i}
        return bottom

    def walk(x: Any) -> int:
        if isinstance(x, dict):
            return sum([walk(x["down"]), 1])
        return 1 + walk(x[0]) if isinstance(x, list) else 1

    def run() -> None:
        try:
            tree = nested(0)
            assert walk(tree) == depth + 1
            leaves, treedef = ft.flatten(tree)
            other = ft.structure(nested(None))
            assert treedef == ft.structure(ft.unflatten(treedef, leaves))
            assert treedef != other
            assert ft.structure(nested([])) != ft.structure(nested([0]))
            assert hash(treedef) != hash(other)
            assert pickle.loads(pickle.dumps(treedef)) == treedef
            assert ft.leaves(ft.map(lambda x, y: x + y, tree, tree)) == [
                2 * leaf for leaf in leaves
            ]
            assert ft.broadcast_prefix(tree, treedef) == leaves
            assert len(repr(treedef)) > depth
            with pytest.raises(TreeStructureError, match=r"None in the second"):
                ft.map(lambda x, y: x, nested(()), nested(None))
            outcomes.append("passed")
        except BaseException as error:
            outcomes.append(error)

    # A thread, because the stack of the test runner is deep already.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert outcomes == ["passed"]


# --- transpose ------------------------------------------------------------------------


@given(TREES, TREES)
def test_transpose_turns_a_tree_of_trees_inside_out(outer, inner):
    outer_treedef, inner_treedef = ft.structure(outer), ft.structure(inner)
    boxed = mapped(lambda x: mapped(lambda y: Box((x, y)), inner), outer)
    turned = ft.transpose(outer_treedef, inner_treedef, boxed)
    expected = mapped(lambda y: mapped(lambda x: Box((x, y)), outer), inner)
    assert same_structure(turned, expected)
    for one, other in zip(leaves_of(turned), leaves_of(expected)):
        assert identical(list(one.content), list(other.content))
    if outer_treedef.num_leaves and inner_treedef.num_leaves:
        back = ft.transpose(inner_treedef, outer_treedef, turned)
        assert identical(leaves_of(back), leaves_of(boxed))


def test_transpose_finds_the_inner_structure_at_the_first_outer_leaf():
    outer = ft.structure([0, 0])
    turned = ft.transpose(outer, None, [{"a": 1, "b": 2}, {"a": 3, "b": 4}])
    assert turned == {"a": [1, 3], "b": [2, 4]}
    with pytest.raises(TreeStructureError, match="Give inner_treedef"):
        ft.transpose(ft.structure([]), None, [])
    assert ft.transpose(ft.structure([]), ft.structure((0, 0)), []) == ([], [])


def test_transpose_of_another_structure_shows_the_path_in_the_composed_tree():
    outer, inner = ft.structure({"p": 0, "q": 0}), ft.structure((0, 0))
    with pytest.raises(TreeStructureError) as caught:
        ft.transpose(outer, inner, {"p": (1, 2), "q": (3, 4, 5)})
    assert (
        "at ['q']: a tuple of length 2 in the composed structure, a tuple of length 3 "
        "in the tree." in str(caught.value)
    )


# --- paths ----------------------------------------------------------------------------


@given(ADDRESSABLE)
def test_a_path_written_in_python_leads_to_its_leaf(tree):
    path_leaves, treedef = ft.flatten_with_path(tree)
    assert identical([leaf for _, leaf in path_leaves], leaves_of(tree))
    assert treedef == ft.structure(tree)
    for path, leaf in path_leaves:
        assert eval("tree" + ft.keystr(path)) is leaf
    assert len({path for path, _ in path_leaves}) == len(path_leaves)


@given(TREES)
def test_map_with_path_gives_each_leaf_its_path(tree):
    boxes = ft.map_with_path(lambda *row: Box(row), tree, tree)
    assert same_structure(boxes, mapped(Box, tree))
    expected = ft.flatten_with_path(tree)[0]
    assert len(expected) == len(leaves_of(boxes))
    for (path, leaf), box in zip(expected, leaves_of(boxes)):
        assert box.content[0] == path
        assert box.content[1] is leaf and box.content[2] is leaf


def test_paths_are_made_of_one_key_for_each_kind_of_container():
    tree = {"layers": [Point(1, 2)], "pair": Pair(3, Named(4))}
    paths = [path for path, _ in ft.flatten_with_path(tree)[0]]
    assert paths == [
        (ft.DictKey("layers"), ft.SequenceKey(0), ft.GetAttrKey("x")),
        (ft.DictKey("layers"), ft.SequenceKey(0), ft.GetAttrKey("y")),
        (ft.DictKey("pair"), ft.FlattenedIndexKey(0)),
        (ft.DictKey("pair"), ft.FlattenedIndexKey(1), ft.GetAttrKey("inner")),
    ]
    assert [ft.keystr(path) for path in paths] == [
        "['layers'][0].x",
        "['layers'][0].y",
        "['pair'][<flat index 0>]",
        "['pair'][<flat index 1>].inner",
    ]
    assert ft.keystr(()) == ""


# --- prefixes -------------------------------------------------------------------------


@given(TREES, st.data())
def test_a_prefix_gives_each_leaf_below_one_of_its_leaves_that_leaf(tree, data):
    expected: list[Any] = []

    def cut(x: Any) -> Any:
        inner = children(x)
        if inner is None or x is None or data.draw(st.booleans()):
            axis = data.draw(st.sampled_from([None, 0, -1]))
            expected.extend([axis] * len(leaves_of(x)))
            return axis
        return rebuilt(x, [cut(child) for child in inner])

    axes = cut(tree)
    for full in (tree, ft.structure(tree)):
        found = ft.broadcast_prefix(axes, full, is_leaf=lambda x: x is None)
        assert found == expected


def test_none_in_a_prefix_is_an_empty_subtree_unless_is_leaf_says_otherwise():
    assert ft.broadcast_prefix((None, 0), (None, [1, 2])) == [0, 0]
    with pytest.raises(TreeStructureError):
        ft.broadcast_prefix((None, 0), (3, [1, 2]))
    axes = ft.broadcast_prefix((None, 0), (3, [1, 2]), is_leaf=lambda x: x is None)
    assert axes == [None, 0, 0]


def test_a_prefix_that_is_none_is_an_error_with_the_path_and_both_sides():
    def fails(axes: Any, arguments: Any, *words: str) -> None:
        for full in (arguments, ft.structure(arguments)):
            with pytest.raises(TreeStructureError) as caught:
                ft.broadcast_prefix(
                    axes, full, lambda x: x is None, "in_axes", "the arguments"
                )
            for word in words:
                assert word in str(caught.value)

    fails(
        (0, {"w": None}),
        (1, {"w": 1, "b": 2}),
        "There must be one leaf in in_axes for each leaf or subtree in the arguments",
        "at [1]: a dict with keys ['w'] in in_axes",
        "a dict with keys ['b', 'w'] in the arguments",
    )
    fails((0, 0), (1, 2, 3), "at the root: a tuple of length 2 in in_axes, a tuple of")
    fails([0, (0, 0)], [1, [2, 3]], "at [1]: a tuple of length 2 in in_axes, a list of")
    with pytest.raises(
        TreeStructureError, match=r"at \[0\]: .* an array of shape \(3,\)"
    ):
        ft.broadcast_prefix([(0, 0)], [np.zeros(3)])


# --- mismatches -----------------------------------------------------------------------


def test_a_mismatch_in_map_shows_the_path_both_sides_and_the_users_line():
    first = {"layers": [1, 2, {"w": 3, "b": 4}]}
    second = {"layers": [1, 2, (3, 4)]}
    with pytest.raises(TreeStructureError) as caught:
        ft.map(lambda x, y: x, first, first, second)
    message = str(caught.value)
    assert (
        "The trees given to map must have the structure of the first one, down to its "
        "leaves; at ['layers'][2]: a dict with keys ['b', 'w'] in the first tree, a "
        "tuple of length 2 in the third tree." in message
    )
    assert f"{__file__}:" in message
    assert "ft.map(lambda x, y: x, first, first, second)" in message
    with pytest.raises(TreeStructureError, match="given to map_with_path must"):
        ft.map_with_path(lambda path, x, y: x, first, second)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (
            [0],
            5,
            "at the root: a list of length 1 in the first tree, a leaf of type int",
        ),
        (
            [0],
            [0, 0],
            "a list of length 1 in the first tree, a list of length 2 in the",
        ),
        ((0, 0), (0,), "a tuple of length 2 in the first tree, a tuple of length 1 in"),
        (
            [[]],
            [None],
            "at [0]: a list of length 0 in the first tree, None in the second",
        ),
        (
            {"a": [0]},
            {"a": np.zeros((2, 3))},
            "an array of shape (2, 3) and dtype float",
        ),
        (
            {"a": 0},
            OrderedDict(a=0),
            "a dict with keys ['a'] in the first tree, an OrderedDict with keys ['a']",
        ),
        ({}, {"a": 0}, "a dict with no keys in the first tree, a dict with keys ['a']"),
        (
            defaultdict(list, a=0),
            defaultdict(int, a=0),
            "a defaultdict of list with keys ['a'] in the first tree, a defaultdict of",
        ),
        (Point(0, [0]), Point(0, (0,)), "at .y: a list of length 1 in the first tree"),
        (
            [Dense(0, "relu")],
            [Dense(0, "tanh")],
            "at [0]: a Dense with auxiliary value ('relu',) in the first tree, a Dense "
            "with auxiliary value ('tanh',) in the second tree",
        ),
        (
            Dense(0, "a"),
            Dense(0, "a", 0),
            "at .bias: None in the first tree, a leaf of",
        ),
        (Pair(0, [0]), Pair(0, 0), "at [<flat index 1>]: a list of length 1 in the"),
        (
            Point(0, 0),
            namedtuple("Point", "x y")(0, 0),
            "a Point in the first tree, a Point of another class in the second tree",
        ),
    ],
)
def test_each_kind_of_mismatch_is_put_in_words(first, second, words):
    with pytest.raises(TreeStructureError) as caught:
        ft.map(lambda x, y: x, first, second)
    assert words in str(caught.value)


@given(TREES, TREES)
def test_map_fails_exactly_if_the_first_structure_is_no_prefix_of_the_second(a, b):
    def is_prefix(x: Any, y: Any) -> bool:
        one, other = children(x), children(y)
        if one is None:
            return True
        return (
            other is not None
            and type(x) is type(y)
            and extras(x) == extras(y)
            and len(one) == len(other)
            and all(is_prefix(c, d) for c, d in zip(one, other))
        )

    def both(run: Any) -> None:
        if is_prefix(a, b):
            run()
        else:
            with pytest.raises(TreeStructureError, match=r"; at .*: .* in the first"):
                run()

    both(lambda: ft.map(lambda x, y: x, a, b))
    both(lambda: ft.broadcast_prefix(a, b, what="the first"))


def test_dicts_with_many_keys_are_told_by_the_keys_that_differ():
    first = {f"k{i:02}": 0 for i in range(30)}
    second = {f"k{i:02}": 0 for i in range(1, 31)}
    with pytest.raises(TreeStructureError) as caught:
        ft.map(lambda x, y: x, first, second)
    message = str(caught.value)
    assert "'k09', and 20 more] in the first tree" in message
    assert "Only in the first tree: ['k00']." in message
    assert "Only in the second tree: ['k30']." in message


@given(TREES, TREES)
def test_check_same_structure_takes_trees_and_treedefs_and_needs_equality(a, b):
    treedef = ft.structure(a)
    ft.check_same_structure(treedef, treedef, "the primals", "the tangents")
    ft.check_same_structure(treedef, a, "the primals", "the tangents")
    assume(not same_structure(a, b))
    for got in (b, ft.structure(b)):
        with pytest.raises(TreeStructureError) as caught:
            ft.check_same_structure(treedef, got, "the primals", "the tangents")
        message = str(caught.value)
        assert (
            "The structure of the tangents must be that of the primals; at " in message
        )
        assert " in the primals, " in message and " in the tangents." in message


def test_check_same_structure_shows_the_leaf_where_a_container_was_expected():
    expected = ft.structure({"w": [0, (1, 2)]})
    with pytest.raises(TreeStructureError) as caught:
        ft.check_same_structure(expected, {"w": [0, np.float32(1)]}, "the primals", "v")
    assert "at ['w'][1]: a tuple of length 2 in the primals, an array of" in str(
        caught.value
    )
    with pytest.raises(TreeStructureError, match=r"at \['w'\]: .*, a leaf in v\."):
        ft.check_same_structure(expected, ft.structure({"w": 0}), "the primals", "v")


@given(TREES, st.integers(0, 30))
def test_unflatten_with_another_number_of_leaves_names_the_first_missing(tree, count):
    path_leaves, treedef = ft.flatten_with_path(tree)
    assume(count != len(path_leaves))
    with pytest.raises(TreeStructureError) as caught:
        ft.unflatten(treedef, range(count))
    message = str(caught.value)
    leaves = "leaf" if count == 1 else "leaves"
    assert f"given {count} {leaves} and needs {len(path_leaves)}" in message
    if count < len(path_leaves) and not any(isinstance(x, Named) for x in _nodes(tree)):
        where = ft.keystr(path_leaves[count][0]) or "the root"
        assert f", the next for {where}." in message


def _nodes(x: Any) -> list[Any]:
    return [x, *(node for child in children(x) or [] for node in _nodes(child))]


def test_errors_of_structure_are_type_and_value_errors_too():
    for kind in (TypeError, ValueError):
        with pytest.raises(kind):
            ft.unflatten(ft.structure([1]), [])
        with pytest.raises(kind):
            ft.register_pytree_node(dict, lambda x: x, lambda x: x)


# --- registration ---------------------------------------------------------------------


def test_registering_twice_is_an_error():
    class Once:
        pass

    def flatten(x: Any) -> Any:
        return (), None

    ft.register_pytree_node(Once, flatten, lambda aux, children: Once())
    for taken in (Once, Dense, dict, list, tuple, type(None), OrderedDict, defaultdict):
        with pytest.raises(RegistrationError) as caught:
            ft.register_pytree_node(taken, flatten, lambda aux, children: None)
        assert f"{taken.__name__} is registered as a pytree node already" in str(
            caught.value
        )
    with pytest.raises(RegistrationError, match="Only a class can be registered"):
        ft.register_pytree_node(Once(), flatten, lambda aux, children: None)


def test_a_class_met_as_a_leaf_may_be_registered_later():
    class Late:
        def __init__(self, x: Any) -> None:
            self.x = x

    late = Late((1, 2))
    assert identical(ft.leaves([late]), [late])
    ft.register_pytree_node(Late, lambda x: ((x.x,), None), lambda _, c: Late(*c))
    assert ft.leaves([late]) == [1, 2]


def test_a_namedtuple_may_be_registered_as_something_else():
    Swapped = namedtuple("Swapped", "a b")
    assert ft.leaves(Swapped(1, 2)) == [1, 2]
    ft.register_pytree_node(
        Swapped, lambda x: ((x.b, x.a), None), lambda _, c: Swapped(c[1], c[0])
    )
    assert ft.leaves(Swapped(1, 2)) == [2, 1]
    assert ft.map(lambda x: x, Swapped(1, 2)) == Swapped(1, 2)


def test_of_threads_that_register_one_class_exactly_one_succeeds():
    class Contested:
        def __init__(self, x: Any) -> None:
            self.x = x

    outcomes: list[str] = []
    start = threading.Barrier(8)

    def run() -> None:
        start.wait()
        for _ in range(50):
            ft.leaves([Contested(1)])
        try:
            ft.register_pytree_node(
                Contested, lambda x: ((x.x,), None), lambda _, c: Contested(*c)
            )
            outcomes.append("registered")
        except RegistrationError:
            outcomes.append("refused")
        for _ in range(50):
            assert ft.leaves([Contested(1)]) == [1]
        outcomes.append("flattened")

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["flattened"] * 8 + ["refused"] * 7 + ["registered"]


def test_a_class_registered_while_it_is_met_as_a_leaf_is_no_leaf(monkeypatch):
    class Meanwhile:
        pass

    is_namedtuple = containers_module._is_namedtuple

    def register_first(kind: type) -> bool:
        # Stands for another thread, between the look-up and the remembering.
        if kind is Meanwhile and kind not in containers_module._registry:
            ft.register_pytree_node(kind, lambda x: ((1, 2), None), lambda _, c: None)
        return is_namedtuple(kind)

    monkeypatch.setattr(containers_module, "_is_namedtuple", register_first)
    assert ft.leaves([Meanwhile()]) == [1, 2]
    assert ft.leaves([Meanwhile()]) == [1, 2]


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: {"a": x}, lambda x: x])
def test_a_structure_does_not_depend_on_the_leaf_types_met_before(wrap):
    leaf = type("Unmet", (), {})()
    before = ft.structure(wrap(leaf))
    assert before == ft.structure(wrap(leaf)) == ft.structure(wrap(0))


def test_programs_that_make_classes_all_the_time_do_not_fill_the_memory():
    for _ in range(5000):
        leaf = type("Leaf", (), {})()
        assert identical(ft.leaves([leaf]), [leaf])
    assert len(containers_module.leaf_types) <= 4096


def test_flatten_functions_that_return_no_pair_are_named():
    class Odd:
        pass

    ft.register_pytree_node(
        Odd, lambda x: [(1, 2), None], lambda _, c: None, lambda x: None
    )
    with pytest.raises(RegistrationError, match="flatten Odd returned a list"):
        ft.flatten([Odd()])
    with pytest.raises(RegistrationError, match="flatten Odd returned a NoneType"):
        ft.flatten_with_path([Odd()])


def test_exceptions_of_flatten_functions_reach_the_user():
    class Broken:
        pass

    def flatten(x: Any) -> Any:
        raise KeyError("mine")

    ft.register_pytree_node(Broken, flatten, lambda _, c: None)
    with pytest.raises(KeyError, match="mine"):
        ft.map(lambda x: x, [Broken()])


def test_the_class_decorator_needs_both_methods():
    class Half:
        def tree_flatten(self) -> Any:
            return (), None

    with pytest.raises(RegistrationError, match="Half has no method tree_unflatten"):
        ft.register_pytree_node_class(Half)


# --- dataclasses ----------------------------------------------------------------------


def test_data_fields_are_children_and_meta_fields_structure():
    dense = Dense(weight=np.ones(2), activation="relu", bias=[1, 2])
    leaves, treedef = ft.flatten(dense)
    assert identical(leaves, [dense.weight, *dense.bias])
    doubled = ft.map(lambda x: 2 * x, dense)
    assert type(doubled) is Dense
    assert doubled.activation == "relu" and doubled.bias == [2, 4]
    assert treedef != ft.structure(Dense(np.ones(2), "tanh", [1, 2]))
    assert treedef == ft.structure(Dense[int](1, "relu", [1, 2]))


def test_static_metadata_marks_meta_fields():
    assert ft.leaves(Static(1, "b")) == [1]
    assert ft.map(lambda x: x + 1, Static(1, "b")) == Static(2, "b")


def test_fields_may_be_given_in_any_order_dropped_or_left_to_the_remaining_ones():
    @functools.partial(ft.register_dataclass, data_fields=["b", "a"])
    @dataclasses.dataclass
    class Reversed:
        a: Any
        b: Any
        name: str = "n"
        counted: int = dataclasses.field(default=7, init=False)

    assert ft.leaves(Reversed(1, 2)) == [2, 1]
    assert ft.map(lambda x: 10 * x, Reversed(1, 2, "m")) == Reversed(10, 20, "m")

    @functools.partial(ft.register_dataclass, drop_fields=["cache"])
    @dataclasses.dataclass
    class Cached:
        x: Any
        cache: Any = "empty"

    assert ft.map(lambda x: x, Cached(1, "full")) == Cached(1, "empty")


def test_other_classes_may_be_registered_by_their_fields():
    class Plain:
        def __init__(self, *, x: Any, name: str) -> None:
            self.x, self.name = x, name

    ft.register_dataclass(Plain, ["x"], ["name"])
    back = ft.map(lambda x: x + 1, Plain(x=1, name="n"))
    assert (back.x, back.name) == (2, "n")


def test_fields_that_are_not_those_of_init_are_an_error_that_lists_them():
    @dataclasses.dataclass
    class Fields:
        a: Any
        b: Any

    for data, meta in ((["a"], []), (["a", "b"], ["b"]), (["a", "b", "c"], [])):
        with pytest.raises(RegistrationError) as caught:
            ft.register_dataclass(Fields, data, meta)
        assert f"data fields {data}, meta fields {meta}" in str(caught.value)
        assert "but __init__ takes ['a', 'b']" in str(caught.value)

    class NoDataclass:
        pass

    with pytest.raises(RegistrationError, match="NoDataclass is not a dataclass"):
        ft.register_dataclass(NoDataclass, data_fields=["a"])


def test_meta_fields_that_cannot_be_hashed_or_compared_are_explained():
    treedef = ft.structure([Pair(0, 0, ["list"])])
    with pytest.raises(
        TreeStructureError, match="with a Pair cannot be hashed"
    ) as caught:
        hash(treedef)
    assert "such as a tuple instead of a list" in str(caught.value)
    arrays = [Pair(0, 0, np.arange(3)), Pair(0, 0, np.arange(3))]
    with pytest.raises(TreeStructureError, match="with a Pair cannot be compared"):
        assert ft.structure(arrays[0]) == ft.structure(arrays[1])
    with pytest.raises(TreeStructureError, match="Put arrays among the children"):
        ft.map(lambda x, y: x, *arrays)
    assert ft.structure(arrays[0]) == ft.structure(arrays[0])


def test_a_node_is_registered_with_functions():
    class Box:
        pass

    with pytest.raises(RegistrationError, match="flatten_func of Box"):
        ft.register_pytree_node(Box, None, None)
    with pytest.raises(RegistrationError, match="unflatten_func of Box"):
        ft.register_pytree_node(Box, lambda box: ((), None), None)


TREEDEF = ft.structure([0, 0])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ft.unflatten([1, 2], TREEDEF), r"Write unflatten\(treedef, leaves\)"),
        (lambda: ft.unflatten(TREEDEF, None), "unflatten takes the leaves as a list"),
        (lambda: ft.map([1], np.sin), r"Write map\(f, tree\)"),
        (lambda: ft.map_with_path([1], np.sin), r"Write map_with_path\(f, tree\)"),
        (lambda: ft.map(np.sin, [1], is_leaf=3), "is_leaf= takes a function"),
        (lambda: ft.flatten_with_path([1], 3), "is_leaf= takes a function"),
        (lambda: ft.transpose([1], [2], [3]), r"Write transpose\(outer_treedef"),
        (lambda: ft.transpose(TREEDEF, [2], [3]), r"Write transpose\(outer_treedef"),
        (lambda: ft.check_same_structure([1], [1], "a", "b"), "takes a structure"),
        (lambda: ft.reduce([1, 2], np.add), r"Write reduce\(function, tree\)"),
    ],
)
def test_arguments_in_the_wrong_order_are_refused_by_name(call, said):
    with pytest.raises(TypeError, match=said):
        call()
