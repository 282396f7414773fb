"""Programs that show what funcad is for; each runs with ``python -m``."""
