"""What every function of `funcad.nn` says about arguments that it cannot take."""

from __future__ import annotations

import numpy as np
import pytest

from funcad import nn, random
from funcad.errors import ArgumentError, LeafTypeError

KEY = random.key(0)
x, square, image = np.ones(3), np.eye(3), np.ones((1, 1, 3, 3))
heads = np.ones((2, 1, 2))
labels = np.array([0, 1, 2])

ARRAYS = {
    # what takes an array: its name and that of the argument
    "relu x": nn.relu,
    "leaky_relu x": nn.leaky_relu,
    "leaky_relu negative_slope": lambda v: nn.leaky_relu(x, v),
    "elu x": nn.elu,
    "elu alpha": lambda v: nn.elu(x, v),
    "gelu x": nn.gelu,
    "silu x": nn.silu,
    "sigmoid x": nn.sigmoid,
    "softplus x": nn.softplus,
    "softmax x": nn.softmax,
    "log_softmax x": nn.log_softmax,
    "logsumexp a": nn.logsumexp,
    "layer_norm x": nn.layer_norm,
    "layer_norm scale": lambda v: nn.layer_norm(x, v),
    "rms_norm x": nn.rms_norm,
    "matmul_layer_norm a": lambda v: nn.matmul_layer_norm(v, square),
    "matmul_softmax b": lambda v: nn.matmul_softmax(square, v),
    "linear x": lambda v: nn.linear(v, square),
    "linear weight": lambda v: nn.linear(x, v),
    "linear bias": lambda v: nn.linear(x, square, v),
    "embedding table": lambda v: nn.embedding(v, labels),
    "embedding ids": lambda v: nn.embedding(square, v),
    "one_hot x": lambda v: nn.one_hot(v, 3),
    "dropout x": lambda v: nn.dropout(KEY, v, 0.5),
    "dot_product_attention key": lambda v: nn.dot_product_attention(heads, v, heads),
    "dot_product_attention mask": lambda v: nn.dot_product_attention(
        heads, heads, heads, mask=v
    ),
    "conv x": lambda v: nn.conv(v, image),
    "conv kernel": lambda v: nn.conv(image, v),
    "conv bias": lambda v: nn.conv(image, image, bias=v),
    "conv_transpose kernel": lambda v: nn.conv_transpose(image, v),
    "max_pool x": lambda v: nn.max_pool(v, 2),
    "average_pool x": lambda v: nn.average_pool(v, 2),
    "softmax_cross_entropy logits": lambda v: nn.softmax_cross_entropy(v, labels),
    "softmax_cross_entropy_with_integer_labels labels": lambda v: (
        nn.softmax_cross_entropy_with_integer_labels(square, v)
    ),
}
OPTIONAL = {
    "layer_norm scale",
    "linear bias",
    "conv bias",
    "dot_product_attention mask",
}
BOOLEANS = {
    "gelu: approximate": lambda b: nn.gelu(x, approximate=b),
    "dropout: deterministic": lambda b: nn.dropout(KEY, x, 0.5, deterministic=b),
    "dot_product_attention: is_causal": lambda b: nn.dot_product_attention(
        heads, heads, heads, is_causal=b
    ),
    "average_pool: count_include_pad": lambda b: nn.average_pool(
        image, 2, count_include_pad=b
    ),
    "logsumexp: keepdims": lambda b: nn.logsumexp(x, keepdims=b),
}


@pytest.mark.parametrize("given", [[1.0, 2.0], None, "a", np.array(["a"])])
@pytest.mark.parametrize("case", ARRAYS)
def test_what_is_no_array_is_refused_by_function_and_argument(case, given):
    name, what = case.split()
    if given is None and case in OPTIONAL:
        given = "a"
    with pytest.raises(LeafTypeError) as caught:
        ARRAYS[case](given)
    message = str(caught.value)
    assert message.startswith((f"{name}: {what} is ", f"{name}: {what} has dtype <U1"))
    if isinstance(given, list):
        assert "[1.0, 2.0] of type list and no array. Write np.array(...)" in message


@pytest.mark.parametrize("case", BOOLEANS)
def test_what_is_no_boolean_is_refused_by_function_and_argument(case):
    for wrong in ("no", "none", None, 0, np.ones(2, bool)):
        with pytest.raises(ArgumentError, match=f"{case} must be True or False"):
            BOOLEANS[case](wrong)
    for given in (False, True):
        expected = BOOLEANS[case](given)
        for same in (np.bool_(given), np.array(given)):
            np.testing.assert_array_equal(BOOLEANS[case](same), expected)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_a_mask_is_boolean_and_has_no_other_shape(name):
    function = getattr(nn, name)
    with pytest.raises(LeafTypeError, match=f"{name}: where is 'a' of type str"):
        function(x, where="a")
    with pytest.raises(ArgumentError, match=f"{name}: where has dtype float64"):
        function(x, where=x)
    for shape in ((2, 3), (4,)):
        with pytest.raises(ArgumentError, match="which does not broadcast to"):
            function(x, where=np.ones(shape, bool))
    np.testing.assert_array_equal(function(square, where=x > 0), function(square))


@pytest.mark.parametrize("scale", [np.nan, "a", [1.0]])
def test_a_scale_of_attention_that_is_no_number_is_refused(scale):
    with pytest.raises(
        (ArgumentError, LeafTypeError), match="dot_product_attention: scale"
    ):
        nn.dot_product_attention(heads, heads, heads, scale=scale)


def test_a_scale_of_attention_may_be_an_array_of_one_for_each_head():
    np.testing.assert_allclose(
        nn.dot_product_attention(heads, heads, heads, scale=np.full((1, 1), 2**-0.5)),
        nn.dot_product_attention(heads, heads, heads),
    )
