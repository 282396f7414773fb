"""Programs in files: what is written is read again, what is no program is refused."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

import funcad
from funcad.core.program import Equation, Program, Var
from funcad.core.tracing import registry
from funcad.errors import ProgramError, ProgramFileError
from properties import for_all, generators, host
from random_programs import programs
from samples import SAMPLES
from samples.table import import_every_module

import_every_module()

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

X = np.array([0.3, -1.2, 2.5])
FLOAT = np.dtype(float)


def staged(f, *args):
    return funcad.make_program(f)(*args)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.program"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("programs") / "some.program"


def again(program, path):
    program.save(path)
    return funcad.load_program(path)


# ------------------------------------------------------------------------- round trips


def test_programs_are_read_as_they_were_written(place):
    @for_all(programs(), generators(), share=2)
    def check(program, rng):
        inputs = program.draw(rng)
        for f in (program, funcad.grad(program), funcad.jit(funcad.grad(program))):
            written = staged(f, *inputs)
            read = again(written, place)
            assert read == written and hash(read) == hash(written)
            np.testing.assert_array_equal(read(*inputs)[0], written(*inputs)[0])


def test_linear_programs_are_read_with_their_residuals(place):
    @for_all(programs(), generators(), share=1)
    def check(program, rng):
        inputs = program.draw(rng)
        written = funcad.linearize(program, *inputs)[1].program
        read = again(written, place)
        assert read == written
        read.validate(linear=True)


# Functions of the user's own are no data.
WITH_FUNCTIONS = {
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_tangent", "custom_vmap_call"),
    "pure_callback",
}


@pytest.mark.parametrize("name", sorted(WITH_FUNCTIONS))
def test_a_program_that_holds_a_function_is_refused_and_leaves_no_file(name, path):
    @for_all(SAMPLES[name].calls("?bilefdFD"), generators(), share=0.15)
    def check(call, rng):
        through = SAMPLES[name].through or (lambda p, *o, **k: p(*o, **k))
        written = staged(
            lambda *operands: through(registry[name], *operands, **call.params),
            *call.draw(rng),
        )
        with pytest.raises(ProgramError, match="no functions"):
            again(written, path)
        assert not list(path.parent.iterdir())


@pytest.mark.parametrize("name", sorted(SAMPLES.keys() - WITH_FUNCTIONS))
def test_parameters_of_every_primitive_are_read_as_they_were_written(name, place):
    primitive = registry[name]

    @for_all(SAMPLES[name].calls("?bilefdFD"), generators(), share=0.15)
    def check(call, rng):
        params = {
            k: "numpy" if k in ("target", "source") else v
            for k, v in call.params.items()
        }
        values = call.draw(rng)
        assume(any(hasattr(v, "dtype") for v in values))

        def function(*operands):
            through = SAMPLES[name].through or (lambda p, *o, **k: p(*o, **k))
            return through(primitive, *operands, **params)

        written = staged(function, *values)
        read = again(written, place)
        assert read == written
        if name not in ("lu_factor",):  # its pivots are arbitrary where rows are equal
            for got, want in zip(
                read.evaluate(values), written.evaluate(values), strict=True
            ):
                np.testing.assert_array_equal(host(got), host(want))


def test_every_kind_of_parameter_and_constant_survives(path):
    inner = staged(np.sin, X)
    params = {
        "none": None,
        "numbers": (True, -3, 10**30, 2.5, float("inf"), float("-inf"), -0.0, 1 - 2j),
        "nan": float("nan"),
        "endless": complex(float("nan"), float("-inf")),
        "text": 'line\n"quoted" \u00e9 \U0001f600 \ud800',
        "tuples": ((), (1,), ((2, 3), [4, [5]])),
        "slices": (slice(None), slice(1, None, -2), Ellipsis, np.newaxis),
        "dtypes": (np.dtype("f4"), np.dtype(">i2"), np.dtype(bool), funcad.float0),
        "types": (bool, int, float, complex, np.float32, np.int8),
        "aval": funcad.core.tracing.ShapedArray((2, 3), FLOAT),
        "dict": {"a": 1, 2: (None,), (3, "b"): inner},
        "program": inner,
        "programs": (inner, inner),
        "arrays": (X, np.float32(2), np.array(3), np.zeros((0, 2)), np.eye(3).T),
        "big": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "ends": X.astype(">f8"),
        "half": X.astype("f2"),
        "complex": X * 1j,
        "flags": X > 0,
        "bytes": np.array([255], np.uint8),
    }
    free = registry["jit_call"]
    x, y = Var((3,), FLOAT), Var((3,), FLOAT)
    equation = Equation(free, [x], {"program": inner, "name": params}, (y,))
    program = Program([x], [equation], [y, None, 2, 1.5, np.float32(1), X])
    read = again(program, path)
    assert read == program
    found = read.equations[0].params["name"]
    assert found["programs"][0] is found["programs"][1] is found["program"]
    assert found["arrays"][0] is read.outputs[-1]
    assert found["big"].flags.f_contiguous and found["ends"].dtype.str == ">f8"
    assert all(array.flags.writeable for array in read.constants)
    assert str(found["numbers"]) == str(params["numbers"])


def test_arrays_go_back_to_the_library_that_they_came_from(library, path):
    x = library.from_host(X)
    program = staged(lambda v: v * x, x)
    read = again(program, path)
    assert type(read.constants[0]) is type(x)
    assert read == program


def test_the_same_program_makes_the_same_file(path):
    program = staged(lambda x: np.tanh(x) * X, X)
    program.save(path)
    first = path.read_bytes()
    program.save(path)
    assert path.read_bytes() == first


def test_files_can_be_read_by_the_class_and_by_any_kind_of_path(path):
    program = staged(np.sin, X)
    program.save(str(path))
    assert Program.load(path) == funcad.load_program(str(path)) == program


def test_lines_of_the_user_are_not_kept(path):
    program = staged(np.sin, X)
    assert program.equations[0].line
    assert again(program, path).equations[0].line is None


def test_a_file_tells_what_it_holds_to_other_programs(path):
    staged(lambda x: x * X, X).save(path)
    with zipfile.ZipFile(path) as archive:
        structure = json.loads(archive.read("program.json"))
        array = np.load(io.BytesIO(archive.read("arrays/0.npy")), allow_pickle=False)
    assert (structure["format"], structure["version"]) == ("funcad program", 1)
    np.testing.assert_array_equal(array, X)


# ---------------------------------------------------------------- what cannot be saved


def with_param(value):
    x, y = Var((3,), FLOAT), Var((3,), FLOAT)
    line = (__file__, 1)
    return Program([x], [Equation(registry["sin"], [x], {"p": value}, (y,), line)], [y])


@pytest.mark.parametrize(
    "value", [np.sin, lambda x: x, object(), {1, 2}, b"bytes", range(3), (1, [np.sin])]
)
def test_a_parameter_that_a_file_cannot_hold_is_named(value, path):
    with pytest.raises(ProgramError, match="the parameter p of sin is .* of type") as e:
        with_param(value).save(path)
    assert f"{__file__}:1: " in str(e.value) and "no functions" in str(e.value)
    assert not os.listdir(path.parent)


@pytest.mark.parametrize("dtype", ["O", "U3", "S3", "M8[s]", "V4", [("a", "f8")]])
def test_arrays_of_other_things_than_numbers_cannot_be_saved(dtype, path):
    with pytest.raises(ProgramError, match="a file cannot hold values of dtype"):
        with_param(np.zeros(2, dtype)).save(path)


def test_a_captured_tracer_cannot_be_saved(path):
    def f(x):
        with pytest.raises(ProgramError, match="an operand of multiply is a tracer"):
            staged(lambda y: y * x, 2.0).save(path)
        return x

    funcad.grad(f)(1.0)


def test_a_file_is_replaced_when_the_new_one_is_complete(path, monkeypatch):
    program = staged(np.sin, X)
    program.save(path)

    def fail(*args, **kwargs):
        raise OSError("no space left on device")

    other = staged(lambda x: x * X, X)
    monkeypatch.setattr(np.lib.format, "write_array", fail)
    with pytest.raises(OSError, match="no space"):
        other.save(path)
    assert os.listdir(path.parent) == [path.name]
    assert funcad.load_program(path) == program


def test_a_folder_that_is_not_there_is_an_error_of_the_system(path):
    with pytest.raises(FileNotFoundError):
        staged(np.sin, X).save(path.parent / "none" / "some.program")
    with pytest.raises(FileNotFoundError):
        funcad.load_program(path)


# ----------------------------------------------------------- damaged and hostile files


def refused(path, message="program"):
    with pytest.raises(ProgramFileError, match=message) as caught:
        funcad.load_program(path)
    assert str(path) in str(caught.value)


PROGRAM = staged(
    funcad.jit(lambda x: np.sum(np.tanh(x) * X)[None] + np.float32(2) * x[::2]), X
)


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    path = tmp_path_factory.mktemp("intact") / "some.program"
    PROGRAM.save(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x80\x04.", b"PK\x05\x06" + bytes(18), bytes(1000)]
)
def test_files_of_another_kind_are_refused(content, path):
    path.write_bytes(content)
    refused(path)


def test_every_truncated_file_is_refused(intact, path):
    for length in range(0, len(intact), 7):
        path.write_bytes(intact[:length])
        refused(path)


def test_a_file_with_a_wrong_byte_is_refused_or_none_the_worse(intact, place):
    @for_all(st.integers(0, len(intact) - 1), st.integers(1, 255), share=12)
    def check(i, change):
        damaged = bytearray(intact)
        damaged[i] ^= change
        place.write_bytes(damaged)
        try:
            read = funcad.load_program(place)
        except ProgramFileError:
            return
        assert read == PROGRAM  # a date, or another thing that nobody reads


def rewritten(path, edit=lambda structure: None, arrays=None, compression=0):
    """A file with its structure edited and its arrays replaced; checksums are right."""
    PROGRAM.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    structure = json.loads(members.pop("program.json"))
    structure = edit(structure) or structure
    members |= arrays or {}
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("program.json", json.dumps(structure))
        for name, content in members.items():
            archive.writestr(name, content)


def test_the_edits_below_are_edits_of_a_file_that_is_read(path):
    rewritten(path)
    assert funcad.load_program(path) == PROGRAM


def places(node, path=()):
    """Paths of all values in a JSON document."""
    yield path
    if isinstance(node, dict):
        for key in node:
            yield from places(node[key], (*path, key))
    if isinstance(node, list):
        for i, child in enumerate(node):
            yield from places(child, (*path, i))


WRONG = [
    *(None, True, -1, 0, 1, 10**6, 10**40, 2.5, "", "text", "program", [], [[]], {}),
    *({"var": 10**9}, {"var": -1}, {"array": [10**9, "numpy"]}, {"array": [0, "os"]}),
    *(
        {"program": 0},
        {"program": 1},
        {"program": -1},
        {"type": "os"},
        {"type": "type"},
    ),
    *({"dtype": "O"}, {"dtype": "<f8"}, {"dtype": "<f3"}, {"scalar": 0}, {"eval": "1"}),
    *(
        {"float": "1e999"},
        {"complex": [1, 2]},
        {"slice": [1]},
        {"tuple": 3},
        {"dict": 1},
    ),
    *(
        {"dict": [[[], 1]]},
        {"tuple": [{"tuple": [{"ellipsis": True}]}]},
        {"py/object": "os.system"},
    ),
    *({"aval": [[1], "<f8"]}, {"scalar type": "O"}, {"function": "os.system"}),
]


def test_a_file_that_was_tampered_with_is_refused_or_holds_a_valid_program(place):
    @for_all(st.data(), st.sampled_from(WRONG), share=12)
    def check(data, wrong):
        def edit(structure):
            *path, last = data.draw(
                st.sampled_from([p for p in places(structure) if p])
            )
            node = structure
            for key in path:
                node = node[key]
            node[last] = wrong

        rewritten(place, edit)
        try:
            funcad.load_program(place).validate()
        except ProgramFileError as error:
            assert str(place) in str(error)


def test_a_field_less_or_more_is_refused(path):
    def without(keys):
        def edit(structure):
            node = structure
            for key in keys[:-1]:
                node = node[key]
            del node[keys[-1]]

        return edit

    inner = ("programs", 0)
    for keys in (
        *(("format",), ("version",), ("programs",), ("root",), (*inner, "inputs")),
        *((*inner, "variables"), (*inner, "equations"), (*inner, "outputs")),
        *((*inner, "equations", 0, key) for key in ("primitive", "inputs", "params")),
        *((*inner, "variables", 0), (*inner, "equations", 0), (*inner, "inputs", 0)),
    ):
        rewritten(path, without(keys))
        refused(path)
    rewritten(path, lambda s: {**s, "__reduce__": "os.system"})
    refused(path, "has not just the fields")


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda s: {**s, "format": "pickle"}, "its format is not 'funcad program'"),
        (
            lambda s: {**s, "version": 2},
            "of version 2, and this funcad reads version 1",
        ),
        (lambda s: [s], "has not just the fields"),
        (lambda s: {**s, "root": 99}, "refers to number 99 of 2"),
        (lambda s: {**s, "root": True}, "refers to number True"),
        (
            lambda s: s["programs"][0]["equations"][0].update(primitive="os.system"),
            "no primitive called 'os.system'",
        ),
        (
            lambda s: s["programs"][0]["equations"][0].update(primitive=["tanh"]),
            "an equation has no primitive",
        ),
        (
            lambda s: s["programs"][0]["equations"][0].update(inputs=[]),
            "tanh does not take no operands",
        ),
        (
            lambda s: s["programs"][0]["variables"][0].__setitem__(0, [4]),
            "declared float64|does not take|says",
        ),
        (
            lambda s: s["programs"][0]["variables"][0].__setitem__(1, "|O8"),
            "'|O8' is no dtype",
        ),
        (
            lambda s: s["programs"][0]["variables"][0].__setitem__(2, "object"),
            "'object' is no type of Python numbers",
        ),
        (
            lambda s: s["programs"][0]["variables"][0].__setitem__(0, [-1]),
            "is no shape",
        ),
        (
            lambda s: s["programs"][0]["variables"][0].__setitem__(0, [2**70]),
            "is no shape",
        ),
        (
            lambda s: s["programs"][1]["equations"][0]["params"].update(
                program={"program": 1}
            ),
            "refers to number 1 of 1",
        ),
    ],
)
def test_each_lie_has_its_message(edit, message, path):
    def once(structure):
        made = edit(structure)
        return made if isinstance(made, (dict, list)) else None

    rewritten(path, once)
    refused(path, message)


HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (%s,), }"


def npy(header, content=b""):
    header = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


@pytest.mark.parametrize(
    "member, message",
    [
        (
            npy(
                "{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }"
            ),
            "is said to be .* and has 0 bytes",
        ),
        (
            npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", bytes(16)),
            "has 16 bytes",
        ),
        (
            npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", bytes(32)),
            "has 32 bytes",
        ),
        (
            npy(
                "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
                b"cos\nsystem\n",
            ),
            "not in version 1.0|no dtype",
        ),
        (
            npy(
                "{'descr': '|O8', 'fortran_order': False, 'shape': (1,), }",
                b"cos\nsystem\n",
            ),
            "no dtype",
        ),
        (
            npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-3,), }"),
            "version 1.0",
        ),
        (
            npy("{'descr': '<f8', 'shape': __import__('os').system('true'), }"),
            "version",
        ),
        (npy("(" * 4000), "version 1.0"),
        (
            npy(
                "{'descr': '<f8', 'fortran_order': False, 'shape': (9"
                + 19 * "9"
                + ",), }"
            ),
            "is no shape",
        ),
        (b"", "missing"),
        (b"\x93NUMPY", "missing"),
        (b"\x80\x04cos\nsystem\n", "missing"),
    ],
)
def test_arrays_that_lie_are_refused_before_there_are_arrays(member, message, path):
    rewritten(path, arrays={"arrays/0.npy": member})
    refused(path, message)


def test_compressed_members_are_refused_unread(path):
    bomb = bytes(50_000_000)
    rewritten(path, arrays={"arrays/9.npy": bomb}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**6
    refused(path, "is compressed")


def test_members_that_overlap_are_refused_unread(path):
    rewritten(path)
    content = bytearray(path.read_bytes())
    # the directory is told that every member is as large as the file
    for found in re.finditer(b"PK\x01\x02", bytes(content)):
        size = struct.pack("<I", len(content))
        content[found.start() + 20 : found.start() + 28] = size + size
    path.write_bytes(content)
    refused(path, "larger than the file")


def test_two_members_of_one_name_are_refused(path):
    rewritten(path)
    with pytest.warns(UserWarning, match="Duplicate"):
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("program.json", "{}")
    refused(path, "two of its members have one name")


def test_members_that_do_not_belong_are_refused(path):
    for name in ("../../evil.py", "evil.pkl", "/etc/passwd"):
        rewritten(path, arrays={name: b"cos\nsystem\n"})
        refused(path)
    assert os.listdir(path.parent) == [path.name]


def test_documents_that_are_nested_without_end_are_refused(path):
    for opening in ("[", '{"tuple":'):
        deep = opening * 100_000
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("program.json", deep)
        refused(path)

    def edit(structure):
        node = []
        for _ in range(250):
            node = {"tuple": [node]}
        for _ in range(250):
            node = [node]
        structure["programs"][0]["equations"][0]["params"]["axis"] = node

    rewritten(path, edit)
    refused(path)


def test_numbers_that_json_does_not_have_are_refused(path):
    PROGRAM.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    text = members.pop("program.json").decode()
    for number in ("NaN", "Infinity", "1" * 10_000):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("program.json", text.replace("1", number, 1))
            for name, content in members.items():
                archive.writestr(name, content)
        refused(path)


def test_programs_that_hold_one_another_many_times_are_read_in_no_time(path):
    x, y = Var((3,), FLOAT), Var((3,), FLOAT)
    level = Program([x], [Equation(registry["sin"], [x], {}, (y,))], [y])
    for _ in range(80):
        x, y, z = (Var((3,), FLOAT) for _ in range(3))
        params = {"program": level, "name": "f"}
        equations = [
            Equation(registry["jit_call"], [x], params, (y,)),
            Equation(registry["jit_call"], [y], params, (z,)),
        ]
        level = Program([x], equations, [z])
    assert again(level, path) == level


def test_a_primitive_that_needs_a_function_is_not_given_a_text_for_it(path):
    def edit(structure):
        structure["programs"][0]["equations"][0]["params"]["callback"] = "os.system"

    rewritten(path, edit)
    refused(path, "tanh does not take")


def test_nothing_is_imported_or_opened_by_a_name_in_a_file(path, monkeypatch):
    imported = []
    monkeypatch.setattr(
        "importlib.import_module", lambda name: imported.append(name) or funcad
    )
    evil = "antigravity"
    rewritten(path, lambda s: s["programs"][0]["equations"][0].update(primitive=evil))
    with pytest.raises(ProgramFileError):
        funcad.load_program(path)
    assert not any(evil in name for name in imported)
