"""Control flow that every transform goes through: loops and branches on values.

Names, arguments and meaning are those of ``jax.lax``.

====================  =================================================================
`scan`                a loop along arrays, with a carry and stacked outputs
`map`                 the same without a carry
`fori_loop`           a loop over integers
`while_loop`          a loop that ends when a condition says so
`associative_scan`    partial results of an associative function, in log2(n) rounds
`cond`, `switch`      one of two or more functions
====================  =================================================================

Given arrays they are Python's loops and branches, which a debugger steps through; given
tracers they are one equation, however long the loop.

>>> import numpy as np
>>> import funcad
>>> from funcad import lax
>>> def trajectory(rate, x):
...     step = lambda x, _: (x + 0.1 * rate * x * (1 - x), x)
...     return lax.scan(step, x, length=50)
>>> program = funcad.make_program(lambda x: trajectory(2.0, x))(0.1)
>>> [equation.primitive for equation in program.equations]
[scan]
>>> float(funcad.grad(lambda rate: trajectory(rate, 0.1)[0])(2.0).round(4))
0.0013
"""

from funcad.lax.associative import associative_scan
from funcad.lax.branches import cond, switch
from funcad.lax.loops import fori_loop, map, scan, while_loop

__all__ = [
    "associative_scan",
    "cond",
    "fori_loop",
    "map",
    "scan",
    "switch",
    "while_loop",
]
