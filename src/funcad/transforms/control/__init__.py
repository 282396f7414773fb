"""Control flow as primitives, whose parameters hold the programs that they run.

``scan`` and ``while`` repeat a program, ``cond`` chooses one of several.  Their rules
are made of the programs' derived forms (:mod:`funcad.transforms.derived`), so that the
derivative of a loop is a loop, as are its transpose and its batched form.
"""
