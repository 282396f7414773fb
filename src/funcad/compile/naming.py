"""Readable names for the variables of a program: the user's own, where they are known.

An input is called as its argument is, and what a line such as ``h = np.tanh(x @ w)``
assigns is called ``h``.
"""

from __future__ import annotations

import ast
import functools
import keyword
import linecache
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from funcad.core.errors import BackwardLine
from funcad.core.program import Equation, Program, Var


def unique(name: str, taken: Iterable[str]) -> str:
    """The name, or the first of name2, name3, ... that is not taken."""
    chosen, k = name, 1
    while chosen in taken:
        k += 1
        chosen = f"{name}{k}" if not name[-1].isdigit() else f"{name}_{k}"
    return chosen


def identifier(text: str) -> str:
    """A text as a name of Python's."""
    name = text if text.isidentifier() else re.sub(r"\W+", "_", text).strip("_")
    if not name or name[0].isdigit():
        name = f"x{name}"
    return (
        f"{name}_" if keyword.iskeyword(name) or keyword.issoftkeyword(name) else name
    )


def names_of_paths(paths: Sequence[Sequence[str | int]]) -> list[str]:
    """A name for each path, of as few of its last parts as tell it from the others.

    Positions belong to the name before them: ``("params", "layers", 0, "w")`` is
    called ``w``, or ``layers0_w`` where there are several.
    """
    split = [_parts(path) for path in paths]
    names: list[str] = []
    for parts in split:
        count = 1
        while count < len(parts) and any(
            other is not parts and other[-count:] == parts[-count:] for other in split
        ):
            count += 1
        names.append(unique(identifier("_".join(parts[-count:])), names))
    return names


def _parts(path: Sequence[str | int]) -> list[str]:
    parts: list[str] = []
    for key in path:
        if isinstance(key, int) and parts:
            parts[-1] += str(key)
        else:
            parts.append(str(key))
    return parts


class Statement(NamedTuple):
    """An assignment ``target = ...`` in the user's code."""

    target: str
    scope: int
    """Where the function begins that it stands in."""
    outermost: str | None
    """The operation whose result is assigned, if it occurs once in the statement."""


def assigned_names(
    program: Program, names: dict[Var, str], reserved: Iterable[str] = ()
) -> dict[Var, str]:
    """Names of variables as the user's lines assign them.

    What a statement assigns is what other statements of the same function use; what
    it computes besides (a slope for the way back) is not used there.  On the way back,
    nothing is assigned.

    Parameters
    ----------
    program : Program
        Its equations know the lines that they come from.
    names : dict of Var to str
        Names that are given already.
    reserved : iterable of str
        Names that mean something else.

    Returns
    -------
    dict of Var to str
        The names given, and those found.
    """
    found = dict(names)
    taken = {*names.values(), *reserved}
    made: dict[Var, tuple[Equation, Statement]] = {}
    chosen: dict[Var, str] = {}
    for equation in program.equations:
        if equation.line is None or type(equation.line) is BackwardLine:
            continue
        filename, number = equation.line
        statement = _statements(filename).get(number)
        for v in equation.inputs:
            if type(v) is not Var or v in found or v not in made:
                continue
            maker, assigned = made[v]
            assert maker.line is not None
            if maker.line[0] != filename or assigned.scope != _scope(filename, number):
                continue
            if statement is not assigned or (
                maker.primitive.name == assigned.outermost
            ):
                chosen.setdefault(v, assigned.target)
        if statement is not None and len(equation.outputs) == 1:
            made[equation.outputs[0]] = equation, statement
    # in the order in which they are computed
    for v in made:
        if v in chosen:
            found[v] = unique(chosen[v], taken)
            taken.add(found[v])
    return found


_OPERATORS = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
    ast.Pow: "power",
    ast.MatMult: "matmul",
    ast.USub: "negative",
}


@functools.lru_cache(maxsize=64)
def _parsed(filename: str) -> tuple[dict[int, Statement], dict[int, int]]:
    """Of each line of a file, the assignment there, and where its function begins."""
    statements: dict[int, Statement] = {}
    scopes: dict[int, int] = {}

    def visit(node: ast.AST, scope: int) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            scope = node.lineno
        if isinstance(node, ast.stmt):
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            scopes.update(dict.fromkeys(lines, scope))
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    found = Statement(name, scope, _outermost(value))
                    statements.update(dict.fromkeys(lines, found))
                case ast.AugAssign(target=ast.Name(id=name), op=op):
                    found = Statement(name, scope, _OPERATORS.get(type(op)))
                    statements.update(dict.fromkeys(lines, found))
        for child in ast.iter_child_nodes(node):
            visit(child, scope)

    try:
        visit(ast.parse("".join(linecache.getlines(filename))), 0)
    except SyntaxError:
        return {}, {}
    return statements, scopes


def _statements(filename: str) -> dict[int, Statement]:
    return _parsed(filename)[0]


def _scope(filename: str, line: int) -> int | None:
    return _parsed(filename)[1].get(line)


def _outermost(value: ast.expr) -> str | None:
    operation = _operation(value)
    count = sum(_operation(node) == operation for node in ast.walk(value))
    return operation if count == 1 else None


def _operation(node: ast.AST) -> str | None:
    match node:
        case ast.BinOp(op=op) | ast.UnaryOp(op=op):
            return _OPERATORS.get(type(op))
        case ast.Call(func=ast.Attribute(attr=name)) | ast.Call(func=ast.Name(id=name)):
            return name
    return None
