"""ONNX graph to a pure function over a pytree. `lowers` is the table that this folder fills, one file an ONNX group."""

from zoo.converters.writers.driver import Lowerings

lowers = Lowerings("jax")
