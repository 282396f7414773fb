"""Errors of the constructors' rules."""

from __future__ import annotations

import numpy as np
import pytest

import funcad
from funcad.core.errors import NonlinearError


def test_transposing_a_product_of_the_input_with_itself_names_the_way_out():
    with pytest.raises(NonlinearError, match="multiply.*not linear.*Use funcad.vjp"):
        funcad.linear_transpose(lambda x: x * x, 1.0)(1.0)


def test_transposing_a_divisor_names_the_operand():
    with pytest.raises(NonlinearError, match="divide is not linear in operand 1"):
        funcad.linear_transpose(lambda x: 1 / x, 1.0)(1.0)


def test_a_matrix_squared_is_not_linear():
    with pytest.raises(NonlinearError, match="matmul"):
        funcad.linear_transpose(lambda x: x @ x, np.eye(2))(np.eye(2))
