"""Write ``docs/coverage.md``: which functions of NumPy and SciPy funcad can transform.

Every public function is in one of three places: in the tests' table of functions, whose
calls are tried here under each transform; below, among those in which there is nothing
to transform, with the reason; or in the page's list of what is not covered.

    python tests/coverage_page.py      writes the page (or: make coverage)
"""

from __future__ import annotations

import contextlib
import pathlib
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import scipy.linalg
import scipy.special
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import InvalidArgument

import backend_double  # noqa: F401
import funcad
from funcad import tree
from funcad.backends import backend_called
from funcad.core.errors import FuncadError
from functions import ROWS
from functions.table import Row
from properties import placed
from samples.table import DOUBLE, EVERY_DTYPE, Call

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "coverage.md"

MODULES: dict[str, ModuleType] = {
    "numpy": np,
    "numpy.linalg": np.linalg,
    "numpy.fft": np.fft,
    "scipy.special": scipy.special,
    "scipy.linalg": scipy.linalg,
}

NOTHING_TO_TRANSFORM = {
    "numpy": {
        "takes sizes and constants, and no array": """
            arange bartlett blackman broadcast_shapes diag_indices empty eye hamming
            hanning identity indices mask_indices ones tri tril_indices triu_indices
            zeros""",
        "makes an array of what is no array": """
            asanyarray asarray_chkfinite asmatrix bmat from_dlpack frombuffer fromfile
            fromfunction fromiter fromregex fromstring genfromtxt load loadtxt
            require""",
        "writes, prints or formats": """
            array2string array_repr array_str base_repr binary_repr
            format_float_positional format_float_scientific get_printoptions info
            printoptions save savetxt savez savez_compressed set_printoptions""",
        "is about dtypes, memory or NumPy itself": """
            can_cast common_type frompyfunc get_include getbufsize geterr geterrcall
            isdtype isfortran isscalar issubdtype iterable may_share_memory
            min_scalar_type mintypecode nested_iters promote_types setbufsize seterr
            seterrcall shares_memory show_config show_runtime test typename""",
        "is about dates": """
            busday_count busday_offset datetime_as_string datetime_data is_busday
            isnat""",
        "works on the bits of bytes": "packbits unpackbits",
        "writes into its argument, where `fnp.at(x)[i].set(v)` returns a new array": """
            copyto fill_diagonal place put putmask""",
        "is another function under a deprecated name": "row_stack",
    },
    "numpy.fft": {"takes sizes and constants, and no array": "fftfreq rfftfreq"},
}
"""Functions in which there is nothing to transform, by module and reason."""

MODES = ("jvp", "vjp", "vmap", "staged", "CuPy")
MARKS = {True: "yes", False: "no", None: "–"}


def public_functions(module: ModuleType) -> list[str]:
    """Names of a module's public functions, in alphabetical order."""
    return sorted(
        {
            name
            for name in module.__all__
            if callable(getattr(module, name))
            and not isinstance(getattr(module, name), type)
            and not name.startswith("_")
        }
    )


def calls_of(row: Row, dtypes: str, count: int = 3) -> list[Call]:
    """The first calls that a row's strategy draws, the same every time."""
    drawn: list[Call] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(row.calls(dtypes))
    def collect(call: Call) -> None:
        drawn.append(call)

    with contextlib.suppress(InvalidArgument):  # it takes none of these dtypes
        collect()
    return drawn


def succeeds(attempt: Callable[[Call], Any], calls: list[Call]) -> bool | None:
    """Whether a transform goes through every call; None if it applies to none."""
    if not calls:
        return None
    try:
        for call in calls:
            attempt(call)
    except FuncadError:
        return False
    return True


def modes_of(row: Row) -> dict[str, bool | None]:
    """What each transform makes of a row's calls."""
    rng = np.random.default_rng(0)
    double = backend_called("double")

    def function(call: Call) -> Callable[..., Any]:
        return lambda *xs: tree.leaves(row.apply(row.ours, *xs, **call.params))

    def of_smooth(call: Call, transform: Callable[..., Any]) -> None:
        values = call.draw(rng)
        free = [i for i in smooth(call) if call.operands[i].is_inexact]

        def of_free(*xs: Any) -> Any:
            full = list(values)
            for i, x in zip(free, xs, strict=True):
                full[i] = x
            return function(call)(*full)

        transform(of_free, [values[i] for i in free])

    def smooth(call: Call) -> list[int]:
        inexact = (i for i, op in enumerate(call.operands) if op.is_inexact)
        return [i for i in inexact if i in row.smooth]

    def pullback(f: Callable[..., Any], xs: Any) -> None:
        outs, f_vjp = funcad.vjp(f, *xs)
        f_vjp([np.zeros(np.shape(y), _tangent_dtype(y)) for y in outs])

    def batched(call: Call) -> None:
        values = [np.asarray(v)[None] for v in call.draw(rng)]
        funcad.vmap(function(call))(*values)

    def staged(call: Call) -> None:
        funcad.make_program(function(call))(*call.draw(rng))

    def elsewhere(call: Call) -> None:
        values = placed(double, [np.asarray(v) for v in call.draw(rng)])
        program = funcad.make_program(function(call))(*values)
        program.evaluate(values)

    derivable = [c for c in calls_of(row, DOUBLE) if smooth(c)]
    arrays = [] if row.concrete else calls_of(row, EVERY_DTYPE)
    return {
        "jvp": succeeds(
            lambda c: of_smooth(c, lambda f, xs: funcad.jvp(f, xs, xs)), derivable
        ),
        "vjp": succeeds(lambda c: of_smooth(c, pullback), derivable),
        "vmap": succeeds(batched, arrays),
        "staged": succeeds(staged, arrays),
        "CuPy": succeeds(elsewhere, arrays),
    }


def _tangent_dtype(y: Any) -> Any:
    dtype = np.result_type(y)
    return dtype if dtype.kind in "fc" else funcad.float0


def page() -> str:
    """The page's text."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return "\n".join(_lines())


def _lines() -> list[str]:
    rows: dict[str, list[Row]] = {}
    for row in ROWS:
        rows.setdefault(row.name, []).append(row)
    # so that a function counts under each of its names
    of_function = {group[0].plain: group for group in rows.values()}
    sections, summary = [], []
    for module_name, module in MODULES.items():
        names = public_functions(module)
        reasons = {
            name: reason
            for reason, group in NOTHING_TO_TRANSFORM.get(module_name, {}).items()
            for name in group.split()
        }
        functions = {n: getattr(module, n) for n in names}
        traced = {n: of_function[f] for n, f in functions.items() if f in of_function}
        missing = [n for n in names if n not in traced and n not in reasons]
        idle = [n for n in names if n in reasons and n not in traced]
        summary.append(
            f"| `{module_name}` | {len(names)} | {len(traced)} | {len(idle)} | "
            f"{len(missing)} |"
        )
        sections += ["", f"## `{module_name}`", "", *_table(traced)]
        for reason in dict.fromkeys(reasons[n] for n in idle):
            group = ", ".join(f"`{n}`" for n in idle if reasons[n] == reason)
            sections += ["", f"Nothing to transform, because it {reason}: {group}."]
        if missing:
            listed = ", ".join(f"`{n}`" for n in missing)
            sections += ["", f"Not covered: {listed}."]
    stats = {
        name.removeprefix("scipy.stats."): group
        for name, group in sorted(rows.items())
        if name.startswith("scipy.stats.")
    }
    sections += ["", "## `scipy.stats`, log-densities and the like", "", *_table(stats)]
    return [*_HEAD, *summary, *sections, ""]


_HEAD = """\
# What can be transformed

Made by `tests/coverage_page.py` from the tests' table of functions, `tests/functions`:
each mark is the outcome of calls drawn from that table. Under jvp and vjp a dash stands
for functions that are constant between their jumps or give integers, under vmap and
staged for those whose result has a form that depends on values. CuPy's column is tried
on the tests' stand-in for CuPy, which has what CuPy has;
`make test ARGS=--backend=cupy` runs the same calls on a GPU.

| module | public functions | traced | nothing to transform | not covered |
| --- | ---: | ---: | ---: | ---: |""".split("\n")


def _table(traced: dict[str, list[Row]]) -> list[str]:
    lines = [
        "| function | " + " | ".join(MODES) + " |",
        "| --- |" + " --- |" * len(MODES),
    ]
    for name, group in traced.items():
        outcomes = [modes_of(row) for row in group]
        marks = []
        for mode in MODES:
            tried = [o[mode] for o in outcomes if o[mode] is not None]
            marks.append(MARKS[all(tried) if tried else None])
        lines.append(f"| `{name}` | " + " | ".join(marks) + " |")
    return lines


def write() -> None:
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    write()
