"""What all tests share: hypothesis profiles and the choice of array library.

``--hypothesis-profile=thorough`` (hypothesis's own option) runs long;
``--backend=cupy`` runs the tests that take the ``backend`` or ``library`` fixture on a
GPU, ``--backend=double`` on the arrays of ``backend_double``, which stand in for one.
"""

from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# A loaded machine must not fail a test: no deadlines, and slow generation is no fault.
_UNTIMED = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow],
    "print_blob": True,
}
# The same examples every time, so that a change is judged by what it changed; new ones
# are what the thorough profile is for.
settings.register_profile("default", max_examples=25, derandomize=True, **_UNTIMED)
settings.register_profile("thorough", max_examples=1000, derandomize=False, **_UNTIMED)
# Hypothesis picks a profile of its own on CI machines; --hypothesis-profile, which is
# read after this file, still has the last word.
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        choices=("numpy", "double", "cupy"),
        help="array library for the tests that take the `backend` fixture (numpy, if "
        "not given) or the `library` fixture (numpy and then the double)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "library" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("backend")
        libraries = [chosen] if chosen else ["numpy", "double"]
        metafunc.parametrize("library", libraries, indirect=True, scope="session")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> ModuleType:
    """The array library chosen by ``--backend``; skips where it cannot run."""
    return _available(request.config.getoption("backend") or "numpy").namespace


@pytest.fixture(scope="session")
def library(request: pytest.FixtureRequest) -> Any:
    """A funcad backend: the chosen one, or each that runs without a GPU in turn."""
    return _available(request.param)


def _available(name: str) -> Any:
    from funcad.backends import backend_called

    if name == "cupy":
        _require_gpu()
    if name == "double":
        import backend_double  # noqa: F401
    return backend_called(name)


def _require_gpu() -> None:
    cupy = pytest.importorskip("cupy", reason="--backend=cupy needs CuPy")
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"--backend=cupy needs a GPU: {error}")
    if count == 0:
        pytest.skip("--backend=cupy needs a GPU, and CUDA finds none")
