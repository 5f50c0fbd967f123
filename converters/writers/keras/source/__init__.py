"""A canonical graph as a folder of plain Keras: model.py, which needs keras and safetensors alone, and its weights.

layers.py      layers that Keras lacks: their code goes into the file
operators.py   ONNX's operators as Keras' layers and keras.ops; tracer.py what they are called
tree.py        the author's modules as layers, channels last
render.py      the classes as lines, file.py all around them, folder.py what is written and how it is tried
"""

from zoo.converters.writers.keras.source.folder import save as save
from zoo.converters.writers.keras.source.operators import lowers as lowers
