"""Samples of every primitive: calls that are legal, and what they should give.

For each primitive the table holds strategies for its operands and parameters, with 0-d,
empty and broadcast operands among them; an independent reference in NumPy; and what is
known of it: the operands it can be differentiated in, those in which it is linear, and
whether it is analytic.  The tests of ``primitives/test_every_primitive.py`` are read
off this table, so a new primitive needs a row here and no test of its own.

A :class:`Call` describes operands and does not hold them: their values are drawn from
a random generator as often as a test wants (one set for a plain call, several for the
examples of a ``vmap``).  Values keep away from kinks and singularities.

Each family of primitives has a module of rows, which is found here by itself; what rows
are made of is in ``samples.table``.
"""

import importlib
import pkgutil

from samples.table import SAMPLES

__all__ = ["SAMPLES"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"samples.{_module.name}")
