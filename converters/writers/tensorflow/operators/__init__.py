"""The table `lowers`: what TensorFlow computes in other words than keras.ops, a file a group."""

from zoo.converters.writers.keras import operators  # noqa: F401 - fills the table that this one falls back on
from zoo.converters.writers.tensorflow.operators import (  # noqa: F401 - each fills the table
    activation,
    control_flow,
    convolution,
    indexing,
    linear,
    normalization,
    pooling,
    resize,
    shaping,
    text,
)
