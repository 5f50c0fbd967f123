"""A canonical graph as a folder of plain JAX: model.py, which needs jax, numpy and safetensors alone, and its weights.

layers.py      the layers: their code goes into the file
operators.py   ONNX's operators as calls of these, of jax.numpy's and of jax.nn's
tree.py        the author's modules as functions of their params
render.py      the functions as lines, file.py all around them, folder.py what is written and how it is tried
"""

from zoo.converters.writers.jax.source.folder import save as save
from zoo.converters.writers.jax.source.operators import lowers as lowers
