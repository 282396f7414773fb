"""Cross-entropy of softmax, an entry for each example: take the mean for a loss."""

from __future__ import annotations

import numpy as np

from funcad.backends import namespace
from funcad.core.tracing import Array, Tracer, dtype_of, shape_of
from funcad.nn.activations import logsumexp
from funcad.numpy.checks import check_array


def softmax_cross_entropy(logits: Array, labels: Array) -> Array:
    """Cross-entropy of ``softmax(logits)``, from class numbers or probabilities.

    Parameters
    ----------
    logits : array, shape (..., n)
    labels : array, shape (...) of int, or shape (..., n) of float
        Classes, from 0 to n - 1; or one-hot vectors, or other probabilities of the
        classes.

    Returns
    -------
    array, shape (...)
        ``-sum(labels * log_softmax(logits))`` over the last axis, where a product with
        a label of zero is zero also if the logit is minus infinity.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a class is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> logits = np.array([[0.0, 0.0], [1e4, 0.0]])
    >>> nn.softmax_cross_entropy(logits, np.array([0, 1]))
    array([6.93147181e-01, 1.00000000e+04])
    >>> nn.softmax_cross_entropy(logits, np.array([[1.0, 0.0], [0.0, 1.0]]))
    array([6.93147181e-01, 1.00000000e+04])
    """
    check_array("softmax_cross_entropy", "logits", logits)
    check_array("softmax_cross_entropy", "labels", labels)
    if dtype_of(labels).kind in "iu" and shape_of(labels) != shape_of(logits):
        return softmax_cross_entropy_with_integer_labels(logits, labels)
    if shape_of(labels) != shape_of(logits) or not shape_of(logits):
        raise ValueError(
            f"softmax_cross_entropy: logits of shape {shape_of(logits)} and labels of "
            f"shape {shape_of(labels)} and dtype {dtype_of(labels)}. One-hot labels "
            "have the shape of the logits, (..., n); integer labels the shape without "
            "the last axis, (...)."
        )
    if dtype_of(labels).kind in "biu":
        labels = labels.astype(dtype_of(logits))
    chosen = labels * np.where(labels == 0, 0, logits)
    total = logsumexp(logits, axis=-1)
    return np.sum(labels, axis=-1) * total - np.sum(chosen, axis=-1)


def softmax_cross_entropy_with_integer_labels(logits: Array, labels: Array) -> Array:
    """Cross-entropy of ``softmax(logits)``, from class numbers.

    Parameters
    ----------
    logits : array, shape (..., n)
    labels : array of int, shape (...)
        From 0 to n - 1.

    Returns
    -------
    array, shape (...)
        Minus the logarithm of the probability of the label.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a label is out of range.  Labels that are traced
        (by ``vmap``) or in a GPU's memory are not looked at; one out of range has
        probability one then.

    Examples
    --------
    >>> import numpy as np
    >>> from funcad import nn
    >>> logits = np.log([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    >>> np.exp(-nn.softmax_cross_entropy_with_integer_labels(logits, np.array([0, 2])))
    array([0.5, 0.8])
    """
    name = "softmax_cross_entropy_with_integer_labels"
    check_array(name, "logits", logits)
    check_array(name, "labels", labels)
    shape = shape_of(logits)
    if dtype_of(labels).kind not in "iu" or not shape or shape_of(labels) != shape[:-1]:
        raise ValueError(
            f"{name}: logits of shape {shape} need integer labels of shape "
            f"{shape[:-1]}, and these have shape {shape_of(labels)} and dtype "
            f"{dtype_of(labels)}. For one-hot labels call softmax_cross_entropy."
        )
    if not isinstance(labels, Tracer) and namespace(labels, logits) is np:
        wrong = (labels < 0) | (labels >= shape[-1])
        if np.any(wrong):
            raise ValueError(
                f"{name}: a label is {np.extract(wrong, labels)[0]}, and logits of "
                f"shape {shape} have the classes 0 to {shape[-1] - 1}."
            )
    classes = namespace(logits).arange(shape[-1])
    at_label = np.expand_dims(labels, -1) == classes
    chosen = np.sum(np.where(at_label, logits, 0), axis=-1)
    return logsumexp(logits, axis=-1) - chosen
