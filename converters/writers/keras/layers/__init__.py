"""What is a layer of Keras' own: each file an ONNX group, which fills the table `lowers`.

A lowering gives None where the operator is no such layer with these arguments; the writer then makes an `Op` of it.
"""

from zoo.converters.writers.keras.layers import (  # noqa: F401 - each fills `lowers`
    activation,
    arithmetic,
    attention,
    convolution,
    linear,
    normalization,
    pooling,
    regularization,
    resize,
    shaping,
)
