"""A program as the text of a Python module that needs NumPy alone."""

from __future__ import annotations

import base64
import io
import linecache
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from funcad.backends import backend_of
from funcad.compile.fuse import Step
from funcad.compile.naming import assigned_names, names_of_paths
from funcad.compile.plan import Plan
from funcad.compile.simplify import simplify
from funcad.compile.source import Source, bound, write
from funcad.core import tree
from funcad.core.containers import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey
from funcad.core.errors import BackwardLine, ExportError, format_line
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import ShapedArray, dtype_of, shape_of

_WRITTEN_OUT = 64
"""Entries up to which a constant array is written as a list of numbers."""


class Parameter(NamedTuple):
    """A parameter of the function that is written: its name and its tree."""

    name: str
    treedef: Any
    keyword: bool


def module(
    program: Program,
    parameters: Sequence[Parameter],
    out_tree: Any,
    name: str,
    summary: str,
    exporting: tuple[str, int] | None = None,
) -> str:
    """Source of a module with one function.

    Parameters
    ----------
    program : Program
        Optimized; its inputs are the leaves of the parameters in order.
    parameters : sequence of Parameter
        What the function takes.
    out_tree : TreeDef
        Structure of what it returns.
    name : str
        Of the function.
    summary : str
        One line that says what it computes.
    exporting : tuple of (str, int), optional
        The line that exports, whose text says nothing of what is computed.

    Returns
    -------
    str

    Raises
    ------
    ExportError
        If an equation cannot be written with NumPy, or a result is of a class that
        the module does not know.
    """
    paths = [
        (p.name, path)
        for p in parameters
        for path, _ in tree.flatten_with_path(
            p.treedef.unflatten([0] * p.treedef.num_leaves)
        )[0]
    ]
    inputs = names_of_paths([(name, *map(_key, path)) for name, path in paths])
    named = dict(zip(program.inputs, inputs, strict=True))
    reserved = {"np", name, *(p.name for p in parameters)} | {
        e.primitive.name for e in program.equations
    }
    named = assigned_names(program, named, reserved - set(inputs))
    source = write(
        program,
        *_unplanned(program),
        name,
        named,
        lambda line: "" if line == exporting else _users_text(line),
    )
    unpacking = [
        f"    {variable} = {argument}{tree.keystr(path)}"
        for variable, (argument, path) in zip(inputs, paths)
        if path
    ]
    results = [_result(v, source) for v in program.outputs]
    lines = [
        f"def {name}({_signature(parameters)}):",
        *_docstring(summary, program, paths, out_tree),
        *unpacking,
        *source.text.splitlines()[1:-1],
        f"    return {_literal_tree(out_tree, iter(results))}",
    ]
    constants, functions = dict(source.constants), dict(source.functions)
    bodies = _bodies(source, constants, functions)
    equations = [*program.equations, *(e for p, _ in bodies for e in p.equations)]
    # what has no definition is refused before its parameters are written
    definitions = [_definition(equations, f, functions) for f in functions]
    parts = [
        f'"""{summary}\n\nWritten by funcad.export; it needs NumPy alone.\n"""\n\n'
        + "\n".join(_imports(constants)),
    ]
    if constants:
        parts.append("\n".join([f"{k} = {_array(v)}" for k, v in constants.items()]))
    parts += definitions
    parts += [text for _, text in bodies]
    parts.append("\n".join(lines))
    return "\n\n\n".join(parts) + "\n"


def _bodies(
    source: Source, constants: dict[str, Any], functions: dict[str, Any]
) -> list[tuple[Program, str]]:
    """Functions for the programs among the constants, whose places they take.

    Their own constants and functions are added to those given.
    """
    found = []
    for name, program in source.constants.items():
        if isinstance(program, Program):
            del constants[name]
            program = simplify(program)
            body = write(
                program,
                *_unplanned(program),
                name,
                assigned_names(program, {}, {"np"}),
                _users_text,
                f"{name}_",
            )
            constants.update(body.constants)
            functions.update(body.functions)
            found += _bodies(body, constants, functions)
            found.append((program, body.text.rstrip()))
    return found


def _unplanned(program: Program) -> tuple[list[Step], Plan]:
    """One equation after the other, each into memory of its own."""
    steps = [Step((e,)) for e in program.equations]
    return steps, Plan({}, set(), {}, [[] for _ in steps], 0, 0, 0)


def _key(key: Any) -> str | int:
    match key:
        case DictKey():
            return key.key if isinstance(key.key, (str, int)) else str(key.key)
        case SequenceKey():
            return key.idx
        case GetAttrKey():
            return key.name
        case FlattenedIndexKey():
            raise ExportError(
                "export: an argument is of a registered class that gives its leaves "
                "no names, so that the module could not take it apart. Pass a dict, a "
                "tuple or a list."
            )
    return str(key)


def _signature(parameters: Sequence[Parameter]) -> str:
    texts = []
    starred = False
    for p in parameters:
        if p.keyword and not starred:
            texts.append("*")
            starred = True
        texts.append(p.name if p.treedef.num_leaves else f"{p.name}=None")
    return ", ".join(texts)


def _users_text(line: tuple[str, int]) -> str:
    """The user's line, without the place of the file on a machine."""
    text = linecache.getline(*line).strip()
    if text and type(line) is BackwardLine:
        return f"back through {text}"
    return text or format_line((line[0].rpartition("/")[2], line[1]))


# --------------------------------------------------------------------------- docstring


def _docstring(
    summary: str, program: Program, paths: Sequence[Any], out_tree: Any
) -> list[str]:
    given = [
        f"{name}{tree.keystr(path)} : {_type(v)}"
        for (name, path), v in zip(paths, program.inputs)
    ]
    found, _ = tree.flatten_with_path(out_tree.unflatten(program.outputs))
    returned = [
        f"{tree.keystr(path)} : {_type(v)}" if path else _type(v) for path, v in found
    ]
    return [
        f'    """{summary}',
        "",
        "    Parameters",
        "    ----------",
        *(f"    {row}" for row in given or ["none"]),
        "",
        "    Returns",
        "    -------",
        *(f"    {row}" for row in returned or ["None"]),
        '    """',
    ]


def _type(v: Any) -> str:
    weak = getattr(v, "weak", None)
    return weak.__name__ if weak else str(ShapedArray(shape_of(v), dtype_of(v)))


# ------------------------------------------------------------------------------ results


def _result(v: Any, source: Source) -> str:
    if type(v) is Var:
        return source.names[v]
    for name, constant in source.constants.items():
        if constant is v:
            return f"{name}.copy()" if shape_of(v) else name
    return repr(v)


def _literal_tree(treedef: Any, results: Any) -> str:
    """The expression that builds a tree of these expressions."""
    node = treedef._node
    if node is None:
        return next(results)  # type: ignore[no-any-return]
    kind, aux, _, _ = node
    parts = [_literal_tree(child, results) for child in treedef.children()]
    if kind is type(None):
        return "None"
    if kind is dict:
        return "{" + ", ".join(f"{k!r}: {p}" for k, p in zip(aux, parts)) + "}"
    if kind is list:
        return f"[{', '.join(parts)}]"
    if issubclass(kind, tuple):
        return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
    raise ExportError(
        f"export: the function returns a {kind.__name__}, a class that a module of "
        "NumPy alone does not know. Return a dict, a tuple or a list."
    )


# ---------------------------------------------------------- constants and definitions


def _imports(constants: Mapping[str, Any]) -> list[str]:
    if any(not _is_short(v) for v in constants.values()):
        return ["import base64", "import io", "import zlib", "", "import numpy as np"]
    return ["import numpy as np"]


def _is_short(value: Any) -> bool:
    return not hasattr(value, "dtype") or (
        value.size <= _WRITTEN_OUT and value.dtype.isnative
    )


def _array(value: Any) -> str:
    """An expression for a constant: exactly this value, with its dtype."""
    if not hasattr(value, "dtype"):
        return _number(value)
    host = backend_of(value).to_host(value)
    kind = f"np.{host.dtype.name}"
    if isinstance(host, np.generic):
        return f"{kind}({_number(host.item())})"
    if host.size and host.tobytes() == host.flat[0].tobytes() * host.size:
        return f"np.full({host.shape}, {_number(host.flat[0].item())}, {kind})"
    if host.size == 0:
        return f"np.empty({host.shape}, {kind})"
    if _is_short(host):
        return f"np.array({_numbers(host.tolist())}, {kind})"
    file = io.BytesIO()
    np.save(file, host, allow_pickle=False)
    text = base64.b85encode(zlib.compress(file.getvalue(), 9)).decode("ascii")
    rows = "\n".join([f"    {text[i : i + 76]!r}" for i in range(0, len(text), 76)])
    return f"np.load(io.BytesIO(zlib.decompress(base64.b85decode(\n{rows}\n))))"


def _numbers(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_numbers, value))}]"
    return _number(value)


def _number(value: Any) -> str:
    if isinstance(value, complex):
        return f"complex({_number(value.real)}, {_number(value.imag)})"
    if isinstance(value, float) and not np.isfinite(value):
        return f"float({str(value)!r})"
    return repr(value)


def _definition(
    equations: Sequence[Equation], function: str, functions: Mapping[str, Any]
) -> str:
    for e in equations:
        # a name that means another thing already has a number at its end
        if function.rstrip("0123456789_") != e.primitive.name.rstrip("0123456789_"):
            continue
        if e.primitive.definition is not None:
            if function in (e.primitive.name, f"{e.primitive.name}_"):
                return e.primitive.definition.strip()
            # calls with numbers and without are of two functions of one definition
            first = function.rstrip("0123456789")
            if functions.get(first) in (e.primitive.impl, bound(e.primitive)):
                return f"{function} = {first}"
        where = format_line(e.line)
        raise ExportError(
            f"export: {e.primitive.name} is not one of NumPy's functions and has no "
            "definition in terms of them, so the module would need more than NumPy"
            + (f". It comes from {where}" if where else "")
            + ". Leave that part out of what is exported, or save the program: "
            "jit(f).lower(*args).program.save(path)."
        )
    raise AssertionError(function)
