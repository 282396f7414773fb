"""``scipy.linalg`` on arrays and tracers."""
