"""The author's module tree, out of what torch's exporters write into a model file.

torch.onnx.export(dynamo=True) keeps on each node the scopes and classes of its modules; its older, TorchScript-based
exporter names nodes by them: `/layer1/layer1.0/conv1/Conv`, where a container's child carries the container's name.
Parameters are initializers under their state_dict's names in both.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from zoo.converters.graph import MODULES, PATH, all_nodes, module_path

SCOPES, CLASSES = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"


# the inputs that a layer of torch's calls by these names, of the operators that it is exported as
FIELDS: dict[str, tuple[str, ...]] = {
    "Conv": ("", "weight", "bias"),
    "ConvTranspose": ("", "weight", "bias"),
    "Gemm": ("", "weight", "bias"),
    "MatMul": ("", "weight"),
    "BatchNormalization": ("", "weight", "bias", "running_mean", "running_var"),
    "PRelu": ("", "weight"),
}
# the class of a module that is one such node alone, where the exporter does not keep classes
CLASSES_OF = {
    "Relu": "torch.nn.modules.activation.ReLU",
    "Sigmoid": "torch.nn.modules.activation.Sigmoid",
    "Tanh": "torch.nn.modules.activation.Tanh",
    "Gelu": "torch.nn.modules.activation.GELU",
    "HardSwish": "torch.nn.modules.activation.Hardswish",
    "HardSigmoid": "torch.nn.modules.activation.Hardsigmoid",
    "LeakyRelu": "torch.nn.modules.activation.LeakyReLU",
    "Elu": "torch.nn.modules.activation.ELU",
    "Softmax": "torch.nn.modules.activation.Softmax",
}
EMBEDDING = "torch.nn.modules.sparse.Embedding"
SEQUENTIAL = "torch.nn.modules.container.Sequential"
ANONYMOUS = re.compile(r"onnx::\w+_\d+")  # what the older exporter calls a weight that it has computed on


def adopt(model: ir.Model) -> None:
    """Note each node's module path and the module tree, where an exporter of torch's left them and we have none.

    A weight that the exporter renamed (`onnx::MatMul_193`) gets the name that its module gave it (`query.weight`), and
    that of a linear layer its layout [N, K] back. The model is changed in place.
    """
    if MODULES in model.metadata_props:
        return
    _split_shared(model.graph)
    classes = _of_metadata(model) if _has_metadata(model) else _of_names(model)
    paths = list(dict.fromkeys(module_path(node) for node in all_nodes(model.graph) if module_path(node)))
    if not paths:
        return
    _restore_names(model)
    classes = classes or _guessed(model, paths)
    tree = {part: classes.get(part, "") for path in paths for part in (*_parents(path), path)}
    model.metadata_props[MODULES] = json.dumps(tree, separators=(",", ":"))


def _guessed(model: ir.Model, paths: Iterable[str]) -> dict[str, str]:
    """The class of a module that is one activation or embedding alone; a container where children are numbered."""
    nodes: dict[str, list[ir.Node]] = {}
    for node in all_nodes(model.graph):
        nodes.setdefault(module_path(node), []).append(node)
    only = {path: found[0].op_type for path, found in nodes.items() if len(found) == 1}
    classes = {path: CLASSES_OF[op] for path, op in only.items() if op in CLASSES_OF}
    classes |= {path: EMBEDDING for path, found in nodes.items() if all(_looks_up(node, path) for node in found)}
    parts = {part for path in paths for part in (*_parents(path), path) if part}
    children: dict[str, list[str]] = {}
    for part in parts:
        children.setdefault(part.rpartition(".")[0], []).append(part.rpartition(".")[2])
    return classes | {path: SEQUENTIAL for path, names in children.items() if path and all(n.isdigit() for n in names)}


def _looks_up(node: ir.Node, path: str) -> bool:
    """Whether a node takes rows of the matrix that is its module's weight."""
    table = node.inputs[0] if node.op_type == "Gather" else None
    if table is None or table.const_value is None or table.name != f"{path}.weight":
        return False
    return len(table.const_value.shape) == 2 and node.attributes.get_int("axis", 0) == 0


def _split_shared(graph: ir.Graph) -> None:
    """Give each name its own initializer again: the older exporter keeps equal tensors once, behind Identity."""
    for node in list(graph):
        held = node.inputs[0] if node.op_type == "Identity" and not node.domain else None
        out = node.outputs[0]
        if held is None or not held.is_initializer() or held.const_value is None or out.is_graph_output():
            continue
        name, out.name = out.name or "", None
        ir.convenience.replace_all_uses_with(out, _initializer(graph, name, held.const_value))
        graph.remove(node, safe=True)


def _has_metadata(model: ir.Model) -> bool:
    return any(SCOPES in node.metadata_props for node in model.graph)


def _restore_names(model: ir.Model) -> None:
    """Give weights that the exporter renamed the names of their modules."""
    graph = model.graph
    for node in list(graph):
        path, fields = node.metadata_props.get(PATH, ""), FIELDS.get(node.op_type, ())
        for i, (value, field) in enumerate(zip(node.inputs, fields, strict=False)):
            name = f"{path}.{field}"
            if value is None or value.const_value is None or not field or not path or name in graph.initializers:
                continue
            if not value.is_initializer() or not ANONYMOUS.fullmatch(value.name or ""):
                continue
            if node.op_type == "Gemm" and field == "weight" and not node.attributes.get_int("transB", 0):
                continue
            is_product = node.op_type == "MatMul"
            if is_product and len(value.const_value.shape) != 2:
                continue
            restored = _initializer(graph, name, _transposed(value.const_value) if is_product else value.const_value)
            if is_product:  # W [K, N] was a linear layer's weight [N, K] before the exporter folded its transpose
                transpose = ir.node("Transpose", [restored], attributes={"perm": [1, 0]})
                transpose.metadata_props[PATH] = path
                transpose.outputs[0].name = f"{name}.transposed"
                graph.insert_before(node, transpose)
                restored = transpose.outputs[0]
            node.replace_input_with(i, restored)
            if not value.uses() and not value.is_graph_output():
                graph.initializers.pop(value.name or "")


def _initializer(graph: ir.Graph, name: str, tensor: ir.TensorProtocol) -> ir.Value:
    shape = ir.Shape(tensor.shape.numpy())
    value = ir.Value(name=name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def _transposed(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    shape = ir.Shape(list(tensor.shape.numpy())[::-1])
    return ir.LazyTensor(lambda: ir.tensor(np.ascontiguousarray(tensor.numpy().T)), dtype=tensor.dtype, shape=shape)


def path_of(node: ir.Node) -> tuple[str, dict[str, str]]:
    """The path of the module that computes a node, and the classes of it and of those around it, from its metadata."""
    scopes, classes = (_listed(node.metadata_props.get(key, "")) for key in (SCOPES, CLASSES))
    if len(scopes) < 2 or scopes[0] != "" or len(scopes) != len(classes):
        return "", {}
    return scopes[-2], dict(zip(scopes[:-1], classes[:-1], strict=True))


def _listed(text: str) -> list[str]:
    try:
        found = ast.literal_eval(text) if text else []
    except (ValueError, SyntaxError):
        return []
    return [str(item) for item in found] if isinstance(found, list) else []


def _of_metadata(model: ir.Model) -> dict[str, str]:
    """Note each node's path; the class of every module."""
    classes: dict[str, str] = {}
    for node in all_nodes(model.graph):
        path, around = path_of(node)
        classes |= {p: c for p, c in around.items() if p not in classes}
        _note(node, path)
    return classes


def _of_names(model: ir.Model) -> dict[str, str]:
    """Note each node's path from its name, where names of initializers bear them out; classes are not kept there."""
    if model.producer_name == "pytorch" and any("." in name for name in model.graph.initializers):
        for node in all_nodes(model.graph):
            path = ""
            for part in (node.name or "").split("/")[1:-1]:
                path = _joined(path, part)
            _note(node, path)
    return {}


def _note(node: ir.Node, path: str) -> None:
    """Keep a node's path: its parameters' own, where it reads some, as a module called twice has two names of scope."""
    names = [v.name for v in node.inputs if v is not None and v.name and v.is_initializer() and "." in v.name]
    owners = {name.rpartition(".")[0] for name in names}
    path = next(iter(owners)) if len(owners) == 1 else path
    if path:
        node.metadata_props.setdefault(PATH, path)


def _joined(path: str, part: str) -> str:
    """The path of a scope inside another: `layer1` and `layer1.0` are `layer1.0`.

    >>> _joined("backbone.features", "features.0.2")
    'backbone.features.0.2'
    """
    steps = part.split(".")
    for n in range(len(steps) - 1, 0, -1):
        head = ".".join(steps[:n])
        if path == head or path.endswith(f".{head}"):
            return f"{path}.{'.'.join(steps[n:])}"
    return f"{path}.{part}" if path else part


def _parents(path: str) -> Iterable[str]:
    parts = path.split(".")
    return ["", *(".".join(parts[:n]) for n in range(1, len(parts)))]
