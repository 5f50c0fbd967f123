"""A native module as a folder of plain PyTorch: model.py, which needs torch and safetensors alone, and its weights.

tree.py        the module as instances of classes: fields as terms (terms.py, layers.py), forwards as steps (steps.py)
classes.py     instances of one name as one class, what differs between them as its parameters (parameters.py)
forward.py     a forward as lines (expressions.py), file.py the classes and all around them, layout.py lines of 120
constants.py   what is no parameter: an expression, or a tensor in constants.safetensors
embed.py       the sources of our own modules and functions that the model uses
"""

from zoo.converters.writers.torch.source.folder import run as run
from zoo.converters.writers.torch.source.folder import save as save
