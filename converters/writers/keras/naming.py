"""What layers are called: by the author's module, `layer1.0.conv1` as `layer1_0_conv1`, else by what they do."""

from __future__ import annotations

import re
from collections.abc import Iterable

import onnx_ir as ir

from zoo.converters.graph import module_path, modules


def snake(name: str) -> str:
    """A class's name as a variable's.

    >>> snake("GlobalAveragePool"), snake("LRN"), snake("PRelu")
    ('global_average_pool', 'lrn', 'p_relu')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def identifier(name: str) -> str:
    """A name that a file format takes as that of a layer."""
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")


class LayerNames:
    """Gives each layer a name that no other has."""

    def __init__(self, model: ir.Model, taken: Iterable[str] = ()) -> None:
        paths = modules(model)
        parents = {path[:i] for path in paths for i, c in enumerate(path) if c == "."} | {""}
        self.leaves = set(paths) - parents
        self.taken = set(taken)

    def of_node(self, node: ir.Node, part: str = "") -> str:
        """The path of the author's module that a node is the whole of; what it does in a larger one."""
        path = module_path(node)
        name = path if path in self.leaves else f"{path}.{snake(node.op_type)}"
        return self.unique(f"{name}.{part}" if part else name)

    def unique(self, name: str) -> str:
        """The name, with a number behind it where another layer has it."""
        base = unique = identifier(name) or "layer"
        n = 0
        while unique in self.taken:
            n += 1
            unique = f"{base}_{n}"
        self.taken.add(unique)
        return unique
