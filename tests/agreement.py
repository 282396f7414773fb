"""When results of tracers count as those of the plain call."""

from typing import Any

import numpy as np

from differences import assert_same
from funcad.core.tracing import dtype_of
from functions.table import Row
from properties import host


def same(row: Row, outs: Any, wants: Any, operands: Any = ()) -> None:
    """Shapes, dtypes and values are those of the plain call."""
    assert len(outs) == len(wants)
    for out, want in zip(outs, wants, strict=True):
        # a result is as good as the least precise operand that it comes from
        kinds = [dtype_of(x) for x in (want, *operands)]
        eps = [float(np.finfo(k).eps) for k in kinds if k.kind in "fc"]
        rough = max(eps, default=0) > 1e-10
        assert_same(host(out), host(want), 100 * max(eps) if rough else row.tolerance)
