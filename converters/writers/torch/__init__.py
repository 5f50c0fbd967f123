"""ONNX graph to a native torch.nn.Module. `lowers` is the table that this folder's files fill, one an ONNX group."""

from zoo.converters.writers.driver import Lowerings

lowers = Lowerings("torch")
