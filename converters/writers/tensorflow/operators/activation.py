"""Activations by kernels of TensorFlow's that TensorFlow.js has too."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from zoo.converters.writers.keras.operators import math as keras_math
from zoo.converters.writers.tensorflow import lowers

Tensor = Any


@lowers("Clip")
def clip(w: Any, input: Tensor, min: Tensor = None, max: Tensor = None) -> Tensor:  # noqa: A002
    """Between the bounds; from 0 upwards, or up to 6, by a kernel of its own."""
    low, high = (None if bound is None else w.known(bound) for bound in (min, max))
    if input.dtype.is_floating and low is not None and low.item() == 0:
        if max is None:
            return tf.nn.relu(input)
        if high is not None and high.item() == 6:
            return tf.nn.relu6(input)
    return keras_math.clip(w, input, min, max)


@lowers("Gelu")
def gelu(w: Any, X: Tensor, *, approximate: str = "none") -> Tensor:
    """X times the normal distribution function of X, exact or by tanh.

    tf.nn.gelu has erfc for the exact one, which TensorFlow.js lacks.
    """
    if approximate == "tanh":
        return tf.nn.gelu(X, approximate=True)
    return 0.5 * X * (1.0 + tf.math.erf(X * math.sqrt(0.5)))
