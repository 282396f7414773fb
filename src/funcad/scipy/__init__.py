"""SciPy's special functions, linear algebra and log-densities, on tracers too."""

from funcad.scipy import linalg, special, stats

__all__ = ["linalg", "special", "stats"]
