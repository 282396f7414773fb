"""Programs in files that hold no pickle and no code.

A file is a zip archive of uncompressed members: ``program.json`` with the structure,
and ``arrays/0.npy``, ``arrays/1.npy``, ... with the constants.  Parameters are of a
closed list of types, each written in one way; primitives are written by name.  A file
that is read is not trusted: nothing is looked up by a name in it but primitives, no
array is made that is larger than the file, and the program is validated before it is
returned.  The user's source lines are not kept: they are files of another place.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
import zipfile
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from funcad.backends import backend_called, backend_of
from funcad.core.errors import ProgramError, ProgramFileError, shortened
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import (
    PYTHON_SCALARS,
    ShapedArray,
    Tracer,
    aval_of,
    primitive_called,
)
from funcad.core.validation import validate

_FORMAT = "funcad program"
_VERSION = 1
_STRUCTURE = "program.json"
_TYPES: dict[str, type] = {t.__name__: t for t in PYTHON_SCALARS}
_DTYPE = re.compile(r"[<>|=][biufc][0-9]{1,2}")
_HEADER = re.compile(
    rb"\{'descr': '([^']{3,4})', 'fortran_order': (True|False), "
    rb"'shape': \(([0-9, ]*)\), \} *\n"
)
_FLOAT0 = np.dtype([("float0", np.void, 0)])
_ENDLESS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def save(program: Program, path: str | os.PathLike[str]) -> None:
    """Write a program to a file; see `Program.save`."""
    writer = _Writer()
    root = writer.program(program)
    structure = {
        "format": _FORMAT,
        "version": _VERSION,
        "programs": writer.programs,
        "root": root,
    }
    with _replacing(os.fspath(path)) as stream:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            # members without a date, so that equal programs make equal files
            text = json.dumps(structure, allow_nan=False)
            archive.writestr(zipfile.ZipInfo(_STRUCTURE), text)
            for i, array in enumerate(writer.arrays):
                member = io.BytesIO()
                np.lib.format.write_array(member, array, (1, 0), allow_pickle=False)
                name = zipfile.ZipInfo(f"arrays/{i}.npy")
                archive.writestr(name, member.getvalue())


def load_program(path: str | os.PathLike[str]) -> Program:
    """Read a program from a file that `Program.save` has written.

    Nothing in the file is run, so it may come from anywhere.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    Program
        Equal to the one that was saved.  It has been validated, and knows no source
        lines.

    Raises
    ------
    ProgramFileError
        If the file is damaged, or holds anything but a valid program.
    OSError
        If it cannot be opened.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import funcad
    >>> program = funcad.make_program(lambda x: np.tanh(x) * 2.0)(1.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "tanh.program")
    ...     program.save(path)
    ...     print(funcad.load_program(path) == program)
    True
    """
    name = os.fspath(path)
    with open(name, "rb") as stream:
        try:
            members = _members(stream)
            return _Reader(members).root()
        except ProgramError as error:
            problem = str(error).partition("\n  at ")[0]
            raise ProgramFileError(f"{name} holds no valid program: {problem}") from (
                error
            )
        except Exception as error:
            raise ProgramFileError(
                f"{name} holds no program that funcad.load_program can read: "
                f"{type(error).__name__}: {error}. A program is written by "
                "program.save(path)."
            ) from error


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[Any]:
    """A file that takes the place of another one when it is complete."""
    partial = f"{path}.{os.getpid()}.{os.urandom(4).hex()}.partial"
    try:
        with open(partial, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial)


# --------------------------------------------------------------------------- writing


class _Writer:
    """Programs and arrays, each written once and referred to by number."""

    def __init__(self) -> None:
        self.programs: list[dict[str, Any]] = []
        self.arrays: list[Any] = []
        self._numbers: dict[int, tuple[int, Any]] = {}

    def program(self, program: Program) -> int:
        """Write a program and give its number; those that it holds come before it."""
        if id(program) in self._numbers:
            return self._numbers[id(program)][0]
        variables: list[Any] = []
        places: dict[Var, int] = {}

        def define(v: Var) -> int:
            places[v] = len(variables)
            weak = v.weak.__name__ if v.weak else None
            variables.append([list(map(int, v.shape)), _dtype_text(v.dtype), weak])
            return places[v]

        def operand(v: Any, where: str) -> Any:
            return {"var": places[v]} if isinstance(v, Var) else self.value(v, where)

        inputs = [define(v) for v in program.inputs]
        equations = []
        for e in program.equations:
            name = e.primitive.name
            equations.append(
                {
                    "primitive": name,
                    "inputs": [operand(v, f"an operand of {name}") for v in e.inputs],
                    "params": {
                        k: self.value(v, f"the parameter {k} of {name}", e)
                        for k, v in e.params.items()
                    },
                    "outputs": [define(v) for v in e.outputs],
                }
            )
        outputs = [operand(v, "an output") for v in program.outputs]
        self.programs.append(
            {
                "variables": variables,
                "inputs": inputs,
                "equations": equations,
                "outputs": outputs,
            }
        )
        number = len(self.programs) - 1
        self._numbers[id(program)] = number, program
        return number

    def value(self, v: Any, where: str, equation: Equation | None = None) -> Any:
        """A parameter or constant in JSON: itself, or an object with one key."""
        kind = type(v)
        if v is None or kind in (bool, int, str):
            return v
        if kind is float:
            return v if math.isfinite(v) else {"float": str(v)}
        if kind is complex:
            return {"complex": [self.value(part, where) for part in (v.real, v.imag)]}
        if v is Ellipsis:
            return {"ellipsis": True}
        if kind is tuple:
            return {"tuple": [self.value(x, where, equation) for x in v]}
        if kind is list:
            return [self.value(x, where, equation) for x in v]
        if kind is dict:
            pairs = [
                [self.value(x, where, equation) for x in pair] for pair in v.items()
            ]
            return {"dict": pairs}
        if kind is slice:
            parts = (v.start, v.stop, v.step)
            return {"slice": [self.value(x, where, equation) for x in parts]}
        if kind is ShapedArray:
            return {"aval": [list(map(int, v.shape)), _dtype_text(v.dtype)]}
        if isinstance(v, Program):
            return {"program": self.program(v)}
        if isinstance(v, np.dtype):
            return {"dtype": _dtype_text(v)}
        if kind is type and v in PYTHON_SCALARS:
            return {"type": v.__name__}
        if kind is type and issubclass(v, np.generic):
            return {"scalar type": _dtype_text(np.dtype(v))}
        if isinstance(v, Tracer):
            raise ProgramError(
                f"save: {where} is a tracer, {aval_of(v)}, of a transform around the "
                "program. Pass that value as an argument of the function."
            )
        if hasattr(v, "dtype") and hasattr(v, "shape"):
            return self.array(v)
        raise ProgramError(
            f"save: {where} is {shortened(v)} of type {kind.__name__}, which a file "
            "cannot hold: files hold numbers, strings, tuples, slices, dtypes, arrays "
            "and programs, and no functions. Use pickle for a file that you alone "
            "read, or funcad.export for one that holds code.",
            equation.line if equation else None,
        )

    def array(self, v: Any) -> Any:
        """Write an array once, and say in which library's memory it was."""
        if id(v) not in self._numbers:
            if not _DTYPE.fullmatch(v.dtype.str):
                _refuse_dtype(v.dtype)
            self._numbers[id(v)] = len(self.arrays), v
            self.arrays.append(np.asarray(backend_of(v).to_host(v)))
        number = self._numbers[id(v)][0]
        if isinstance(v, np.generic):
            return {"scalar": number}
        return {"array": [number, backend_of(v).name]}


def _dtype_text(dtype: np.dtype[Any]) -> str:
    if dtype == _FLOAT0:
        return "float0"
    if not _DTYPE.fullmatch(dtype.str):
        _refuse_dtype(dtype)
    return dtype.str


def _refuse_dtype(dtype: np.dtype[Any]) -> NoReturn:
    raise ProgramError(
        f"save: a file cannot hold values of dtype {dtype}, only booleans, integers, "
        "floats and complex numbers."
    )


# --------------------------------------------------------------------------- reading


def _members(stream: Any) -> dict[str, bytes]:
    """Contents of the archive by name, which together are no larger than the file."""
    size = stream.seek(0, os.SEEK_END)
    with zipfile.ZipFile(stream) as archive:
        found = archive.infolist()
        if len({m.filename for m in found}) < len(found):
            _refuse("two of its members have one name")
        for m in found:
            if m.compress_type != zipfile.ZIP_STORED or m.file_size != m.compress_size:
                _refuse(f"its member {m.filename!r} is compressed")
        if sum(m.file_size for m in found) > size:
            _refuse("its members are said to be larger than the file")
        return {m.filename: archive.read(m) for m in found}


def _refuse(problem: str) -> NoReturn:
    raise ProgramError(problem)


class _Reader:
    """The program in the members of an archive, every one of which may be a lie."""

    def __init__(self, members: dict[str, bytes]) -> None:
        if _STRUCTURE not in members:
            _refuse(f"there is no {_STRUCTURE} in it")
        structure = json.loads(
            members.pop(_STRUCTURE).decode("utf-8"), parse_constant=_refuse
        )
        self.structure = _fields(structure, "format", "version", "programs", "root")
        if self.structure["format"] != _FORMAT:
            _refuse(f"its format is not {_FORMAT!r}")
        if self.structure["version"] != _VERSION:
            _refuse(
                f"it is of version {self.structure['version']!r}, and this funcad "
                f"reads version {_VERSION}"
            )
        self.arrays = [
            _array(members.pop(f"arrays/{i}.npy", b"")) for i in range(len(members))
        ]
        self.on_device: dict[tuple[int, str], Any] = {}
        self.programs: list[Program] = []
        for described in _list(self.structure["programs"]):
            self.programs.append(self.program(described))

    def root(self) -> Program:
        """The program that was saved, once it has been validated."""
        program = self.programs[_number(self.structure["root"], self.programs)]
        validate(program)
        return program

    def program(self, described: Any) -> Program:
        found = _fields(described, "variables", "inputs", "equations", "outputs")
        variables = [self.variable(v) for v in _list(found["variables"])]

        def var(number: Any) -> Var:
            return variables[_number(number, variables)]

        def operand(v: Any) -> Any:
            if isinstance(v, dict) and v.keys() == {"var"}:
                return var(v["var"])
            return self.value(v)

        equations = []
        for each in _list(found["equations"]):
            e = _fields(each, "primitive", "inputs", "params", "outputs")
            if not isinstance(e["primitive"], str) or not isinstance(e["params"], dict):
                _refuse("an equation has no primitive or no parameters")
            equations.append(
                Equation(
                    primitive_called(e["primitive"]),
                    [operand(v) for v in _list(e["inputs"])],
                    {k: self.value(v) for k, v in e["params"].items()},
                    tuple([var(n) for n in _list(e["outputs"])]),
                )
            )
        return Program(
            [var(n) for n in _list(found["inputs"])],
            equations,
            [operand(v) for v in _list(found["outputs"])],
        )

    def variable(self, described: Any) -> Var:
        shape, dtype, weak = _list(described, 3)
        if weak is not None and weak not in _TYPES:
            _refuse(f"{weak!r} is no type of Python numbers")
        return Var(_shape(shape), _dtype(dtype), _TYPES[weak] if weak else None)

    def value(self, v: Any) -> Any:
        """What a parameter or constant stands for."""
        if v is None or type(v) in (bool, int, float, str):
            return v
        if isinstance(v, list):
            return [self.value(x) for x in v]
        if not isinstance(v, dict) or len(v) != 1:
            _refuse(f"{shortened(v)} stands for no value")
        ((kind, held),) = v.items()
        if kind == "float" and isinstance(held, str) and held in _ENDLESS:
            return _ENDLESS[held]
        if kind == "complex":
            real, imag = (self.value(x) for x in _list(held, 2))
            if type(real) is not float or type(imag) is not float:
                _refuse("the parts of a complex number are no floats")
            return complex(real, imag)
        if kind == "ellipsis":
            return Ellipsis
        if kind == "tuple":
            return tuple([self.value(x) for x in _list(held)])
        if kind == "dict":
            pairs = [_list(pair, 2) for pair in _list(held)]
            return {self.value(k): self.value(x) for k, x in pairs}
        if kind == "slice":
            return slice(*[self.value(x) for x in _list(held, 3)])
        if kind == "aval":
            shape, dtype = _list(held, 2)
            return ShapedArray(_shape(shape), _dtype(dtype))
        if kind == "program":
            # only those that came before: no program holds itself
            return self.programs[_number(held, self.programs)]
        if kind == "dtype":
            return _dtype(held)
        if kind == "type" and isinstance(held, str) and held in _TYPES:
            return _TYPES[held]
        if kind == "scalar type":
            return _dtype(held).type
        if kind == "scalar":
            scalar = self.arrays[_number(held, self.arrays)]
            return scalar[()] if scalar.shape == () else _refuse("a scalar has axes")
        if kind == "array":
            number, library = _list(held, 2)
            return self.array(_number(number, self.arrays), library)
        _refuse(f"{shortened(v)} stands for no value")

    def array(self, number: int, library: Any) -> Any:
        array = self.arrays[number]
        if library == "numpy":
            return array
        if not isinstance(library, str):
            _refuse("an array is of no library")
        if (number, library) not in self.on_device:
            moved = backend_called(library).from_host(array)
            self.on_device[number, library] = moved
        return self.on_device[number, library]


def _fields(described: Any, *names: str) -> dict[str, Any]:
    if not isinstance(described, dict) or described.keys() != set(names):
        _refuse(f"an object in it has not just the fields {', '.join(names)}")
    return described


def _list(described: Any, length: int | None = None) -> list[Any]:
    if not isinstance(described, list) or length not in (None, len(described)):
        _refuse(f"{shortened(described)} stands where a list should")
    return described


def _number(n: Any, of: list[Any]) -> int:
    if type(n) is not int or not 0 <= n < len(of):
        _refuse(f"it refers to number {shortened(n)} of {len(of)}")
    return n


def _shape(described: Any) -> tuple[int, ...]:
    shape = tuple(_list(described))
    if not all(type(n) is int and 0 <= n < 2**63 for n in shape) or len(shape) > 64:
        _refuse(f"{shortened(described)} is no shape")
    return shape


def _dtype(described: Any) -> np.dtype[Any]:
    if described == "float0":
        return _FLOAT0
    if not isinstance(described, str) or not _DTYPE.fullmatch(described):
        _refuse(f"{shortened(described)} is no dtype")
    return np.dtype(described)


def _array(member: bytes) -> Any:
    """An array from a member in NumPy's format, all of which must be there."""
    start = 10 + int.from_bytes(member[8:10], "little")
    header = _HEADER.fullmatch(member[10:start])
    if not member.startswith(b"\x93NUMPY\x01\x00") or not header:
        _refuse("one of its arrays is missing, or not in version 1.0 of NumPy's format")
    descr, by_columns, sizes = (part.decode("ascii") for part in header.groups())
    dtype = _dtype(descr)
    shape = _shape([int(n) for n in sizes.replace(",", " ").split()])
    if math.prod(shape) * dtype.itemsize != len(member) - start:
        _refuse(
            f"an array is said to be {ShapedArray(shape, dtype)} and has "
            f"{len(member) - start} bytes"
        )
    flat = np.frombuffer(bytearray(member[start:]), dtype)
    return flat.reshape(shape, order="F" if by_columns == "True" else "C")
