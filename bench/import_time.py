"""How long ``import funcad`` takes beside ``import numpy``; goal: at most 1.6 times.

Each import is timed in a fresh interpreter, from warm bytecode and a warm disk, the
interpreter's own start left out; the two take turns, and the medians are compared.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from _machine import describe_machine

GOAL = 1.6

SCRIPT = """
import time
start = time.perf_counter()
import {package}
print(time.perf_counter() - start)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--out", type=pathlib.Path, help="write the table to this file")
    arguments = parser.parse_args()

    machine = describe_machine("numpy")
    packages = ("numpy", "funcad")
    taken: dict[str, list[float]] = {package: [] for package in packages}
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(2):  # writes the bytecode, then reads it once
            for package in packages:
                seconds_to_import(package, cache)
        for _ in range(arguments.repeats):
            for package in packages:
                taken[package].append(seconds_to_import(package, cache))

    numpy, funcad = (statistics.median(taken[package]) for package in packages)
    verdict = "pass" if funcad <= GOAL * numpy else "FAIL"
    report = "\n".join(
        [
            "# Import time",
            "",
            machine,
            f"- medians of {arguments.repeats} interleaved fresh interpreters",
            "",
            "| | ms |",
            "| --- | ---: |",
            f"| `import numpy` | {numpy * 1e3:.1f} |",
            f"| `import funcad` (which imports NumPy) | {funcad * 1e3:.1f} |",
            "",
            f"Ratio {funcad / numpy:.2f}, goal at most {GOAL}: {verdict}.",
        ]
    )
    print(report)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(report + "\n")
    return 0


def seconds_to_import(package: str, cache: str) -> float:
    # A user's bytecode is cached, so it is here, whatever the calling shell says.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(package=package)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(run.stdout)


if __name__ == "__main__":
    sys.exit(main())
