"""What neural networks are written with: pure functions of arrays, no layers' classes.

Names, argument order and defaults are those of ``jax.nn`` where it has the function.
All keep the dtype of floats, take NumPy and CuPy arrays and the tracers of every
transform, and are stable for large inputs, in value and in derivatives of any order.

========================  ===========================================================
activations               `relu`, `leaky_relu`, `elu`, `gelu`, `silu` (`swish`),
                          `sigmoid`, `softplus`, `softmax`, `log_softmax`, `logsumexp`
normalization             `layer_norm`, `rms_norm`
products                  `matmul_layer_norm`, `matmul_softmax`: fused
layers                    `linear`, `embedding`, `one_hot`, `dropout`
attention                 `dot_product_attention`
convolution               `conv`, `conv_transpose`
pooling                   `max_pool`, `average_pool`
losses                    `softmax_cross_entropy`,
                          `softmax_cross_entropy_with_integer_labels`
`initializers`            ``glorot_normal``, ``he_normal``, ``variance_scaling``, ...
========================  ===========================================================

>>> import numpy as np
>>> import funcad
>>> from funcad import nn
>>> x, labels = np.eye(3), np.array([0, 1, 1])
>>> def loss(weight):
...     logits = nn.linear(nn.gelu(x), weight)
...     return np.mean(nn.softmax_cross_entropy(logits, labels))
>>> funcad.grad(loss)(np.zeros((3, 2))).round(3)
array([[-0.14,  0.14],
       [ 0.14, -0.14],
       [ 0.14, -0.14]])
"""

from funcad.nn import initializers
from funcad.nn.activations import (
    elu,
    gelu,
    leaky_relu,
    log_softmax,
    logsumexp,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    swish,
)
from funcad.nn.attention import dot_product_attention
from funcad.nn.convolution import conv, conv_transpose
from funcad.nn.fused import matmul_layer_norm, matmul_softmax
from funcad.nn.layers import dropout, embedding, linear, one_hot
from funcad.nn.losses import (
    softmax_cross_entropy,
    softmax_cross_entropy_with_integer_labels,
)
from funcad.nn.normalization import layer_norm, rms_norm
from funcad.nn.pooling import average_pool, max_pool

__all__ = [
    "average_pool",
    "conv",
    "conv_transpose",
    "dot_product_attention",
    "dropout",
    "elu",
    "embedding",
    "gelu",
    "initializers",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsumexp",
    "matmul_layer_norm",
    "matmul_softmax",
    "max_pool",
    "one_hot",
    "relu",
    "rms_norm",
    "sigmoid",
    "silu",
    "softmax",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "softplus",
    "swish",
]
