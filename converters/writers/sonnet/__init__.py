"""ONNX graph to a snt.Module: the TensorFlow writer's module, as a tree of Sonnet's."""

from zoo.converters.writers.tensorflow import lowers as lowers
