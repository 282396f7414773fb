"""The table of functions: legal calls of every NumPy and SciPy function that is traced.

Where ``samples`` describes primitives, this table describes what users call: NumPy's
own function on plain arrays says what the result is, and the tests of
``numpy/test_every_function.py`` hold every transform of it against that.  Each area has
a module of rows, found here by itself; what rows are made of is in ``functions.table``.
"""

import importlib
import pkgutil

from functions.table import ROWS

__all__ = ["ROWS"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"functions.{_module.name}")
