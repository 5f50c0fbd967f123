"""Batch normalisation: TensorFlow's own kernel at inference, and the running statistics while the model trains."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from typing import Any

import tensorflow as tf

from zoo.converters.writers.keras.operators import normalization as keras_normalization
from zoo.converters.writers.keras.operators.layouts import along_channels, channel_axis, either
from zoo.converters.writers.keras.operators.normalization import normalised
from zoo.converters.writers.keras.operators.precision import like, wide
from zoo.converters.writers.keras.operators.sizes import rank
from zoo.converters.writers.tensorflow import lowers

Tensor = Any


@either("BatchNormalization", lowers)
def batch_normalization(
    w: Any,
    X: Tensor,
    scale: Tensor,
    B: Tensor,
    input_mean: Tensor,
    input_var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Tensor:
    """(X - mean) / sqrt(var + epsilon) * scale + B, a channel at a time.

    While the model trains, by the mean and variance of the batch, of which the running ones are kept in the variables:
    times 1 - momentum, the variance of all the batch's numbers, as ONNX and Keras have it.
    """
    mean, variance = w.variable(3), w.variable(4)
    if w.training and not training_mode and mean is not None and variance is not None:
        axes = [axis for axis in range(rank(X)) if axis != channel_axis(w, X)]
        x = wide(X)
        y, now, _ = normalised(x, axes, epsilon)
        spread = tf.reduce_mean(tf.square(x - now), axes)
        for kept, new in ((mean, tf.reshape(now, [-1])), (variance, spread)):
            kept.assign(kept * momentum + tf.cast(new, kept.dtype) * (1 - momentum))
        return like(y * along_channels(w, wide(scale), x) + along_channels(w, wide(B), x), X)
    vectors = (scale, B, input_mean, input_var)
    is_plain = rank(X) == 4 and channel_axis(w, X) == 3 and all(v.dtype == tf.float32 for v in (X, *vectors))
    if training_mode or not is_plain:
        return keras_normalization.batch_normalization(
            w, X, *vectors, epsilon=epsilon, momentum=momentum, training_mode=training_mode
        )
    return tf.raw_ops.FusedBatchNormV3(
        x=X, scale=scale, offset=B, mean=input_mean, variance=input_var, epsilon=epsilon, is_training=False
    ).y
