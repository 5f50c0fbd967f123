"""ONNX graph to a pure function over a pytree. `lowers` is the table that this folder's files fill, one an ONNX group."""

from zoo.converters.writers.driver import Lowerings

lowers = Lowerings("jax")
