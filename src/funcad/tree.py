"""Pytrees: functions on nested tuples, lists, dicts and registered classes of arrays.

The names and meanings are those of ``jax.tree``. Dicts are taken in the order of their
sorted keys, and ``None`` is a container without leaves.

>>> import numpy as np
>>> import funcad
>>> params = {"w": np.ones((2, 3)), "b": [np.zeros(3), None]}
>>> leaves, treedef = funcad.tree.flatten(params)
>>> [leaf.shape for leaf in leaves]
[(3,), (2, 3)]
>>> treedef
PyTreeDef({'b': [*, None], 'w': *})
>>> funcad.tree.map(np.shape, params)
{'b': [(3,), None], 'w': (2, 3)}
"""

from funcad.core.tree import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    SequenceKey,
    TreeDef,
    all,
    broadcast_prefix,
    check_same_structure,
    flatten,
    flatten_with_path,
    keystr,
    leaves,
    map,
    map_with_path,
    reduce,
    register_dataclass,
    register_pytree_node,
    register_pytree_node_class,
    structure,
    transpose,
    unflatten,
)

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
