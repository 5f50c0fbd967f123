"""What ONNX's operators are called where numpy's words are known: jax.numpy and keras.ops have most of them alike.

Each group fills `lowers`; a framework's own table falls back on it. What differs is asked of the tracer:
`f` calls what numpy has, `neural` what jax.nn or keras.ops has for networks, `ours` a function of the framework's own
folder, whose source goes into the file.
"""

from zoo.converters.writers.driver import Lowerings

lowers = Lowerings("source")
