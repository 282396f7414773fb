"""What ``import funcad`` may pull in over ``import numpy``."""

import subprocess
import sys

import pytest

# Modules of funcad itself and of the standard library that NumPy does not load already.
MOST_MODULES = 60

LISTING = """
import sys
import numpy
before = set(sys.modules)
import funcad
print(*sorted(set(sys.modules) - before), sep="\\n")
"""


@pytest.fixture(scope="module")
def pulled_in() -> list[str]:
    run = subprocess.run(
        [sys.executable, "-c", LISTING], capture_output=True, text=True, check=True
    )
    return run.stdout.split()


def test_importing_funcad_loads_no_other_package_than_numpy(pulled_in):
    own = {"funcad", "numpy", *sys.stdlib_module_names}
    foreign = {name.partition(".")[0] for name in pulled_in} - own
    assert foreign == set()


def test_importing_funcad_loads_funcad(pulled_in):
    assert "funcad" in pulled_in


def test_importing_funcad_adds_few_modules_to_numpy(pulled_in):
    assert len(pulled_in) <= MOST_MODULES, "\n".join(pulled_in)


@pytest.mark.parametrize("package", ["scipy", "matplotlib", "cupy", "tqdm"])
def test_importing_funcad_leaves_heavy_packages_for_later(pulled_in, package):
    assert not [n for n in pulled_in if n == package or n.startswith(package + ".")]
