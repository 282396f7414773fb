"""What all tests share: hypothesis profiles and the choice of array library.

``--hypothesis-profile=thorough`` (hypothesis's own option) runs long;
``--backend=cupy`` runs the tests that take the ``backend`` fixture on a GPU.
"""

from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# A loaded machine must not fail a test: no deadlines, and slow generation is no fault.
_UNTIMED = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow],
    "print_blob": True,
}
settings.register_profile("default", max_examples=25, derandomize=False, **_UNTIMED)
settings.register_profile("thorough", max_examples=1000, derandomize=False, **_UNTIMED)
# Hypothesis picks a profile of its own on CI machines; --hypothesis-profile, which is
# read after this file, still has the last word.
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        choices=("numpy", "cupy"),
        default="numpy",
        help="array library for the tests that take the `backend` fixture",
    )


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> ModuleType:
    """The array library chosen by ``--backend``; skips where it cannot run."""
    if request.config.getoption("backend") == "numpy":
        return np
    cupy = pytest.importorskip("cupy", reason="--backend=cupy needs CuPy")
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"--backend=cupy needs a GPU: {error}")
    if count == 0:
        pytest.skip("--backend=cupy needs a GPU, and CUDA finds none")
    return cupy
