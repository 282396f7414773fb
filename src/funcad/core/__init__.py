"""What every transform stands on: tracers, ``bind``, programs, trees, errors."""
