"""``scipy.special`` on arrays and tracers."""
