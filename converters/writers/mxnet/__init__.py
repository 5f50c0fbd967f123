"""ONNX graph to a symbol with its arrays. `lowers` is the table that this folder fills, one file an ONNX group.

MXNet 1.9.1 is the last of its line, and was written against numpy before 1.24: at its import it reads names that numpy
has since dropped. They are Python's own types, which numpy's names stood for, and are put back here before MXNet is
imported (frameworks.py imports a framework's folder first); where numpy has them still, nothing is done.
"""

import numpy as np

from zoo.converters.writers.driver import Lowerings

DROPPED = {"bool": bool, "int": int, "float": float, "object": object}  # what numpy's documentation says they were

for _name, _type in DROPPED.items():
    if _name not in vars(np):
        setattr(np, _name, _type)

lowers = Lowerings("mxnet")
