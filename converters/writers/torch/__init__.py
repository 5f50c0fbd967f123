"""ONNX graph to a native torch.nn.Module. `lowers` is the table that the files of this folder fill, one an ONNX group."""

from zoo.converters.writers.driver import Lowerings

lowers = Lowerings("torch")
