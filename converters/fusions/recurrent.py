"""A torch module's recurrent layers, several ONNX nodes and their weights, as one node (recurrent_form.py).

torch's exporters write a node a layer, and compute its weights of the module's own by slices and concatenations: ONNX's
gates are in another order than torch's, and its directions are stacked. Here the way back. It is taken only where every
weight bears the name that torch's module gives it, and all its rows stand where ONNX's order wants them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from zoo.converters.expansions import Builder
from zoo.converters.fold import dims
from zoo.converters.fusions.recurrent_form import FIELDS, GATES, Form
from zoo.converters.graph import DOMAIN, PATH, is_parameter, parameters

DEFAULTS = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}
Rows = list[tuple[ir.Value, int, int]]  # a matrix as rows of parameters: which, from, to


class Layer(NamedTuple):
    """One ONNX node that is one layer of a torch module."""

    node: ir.Node
    path: str
    number: int
    weights: tuple[ir.Value, ...]  # in torch's order
    bias: bool
    nonlinearity: str

    @property
    def directions(self) -> int:
        """One or two."""
        return len(self.weights) // (4 if self.bias else 2)

    @property
    def hidden(self) -> int:
        """The size of the state."""
        return int((self.weights[1].shape or (0, 0))[1])  # type: ignore[arg-type]


def fuse_recurrent(model: ir.Model, graph: ir.Graph) -> bool:
    """Put one node in the place of all that a torch module was exported as; True if any was."""
    changed = False
    for node in list(graph):
        if node.graph is graph and node.op_type in GATES and not node.domain:
            layer = layer_of(node)
            if layer is not None and layer.number == 0:
                changed |= _fuse(model, graph, layer)
    return changed


# ---- one layer


def layer_of(node: ir.Node) -> Layer | None:
    """The layer of a torch module that a node is, None unless its weights are proved to be one's."""
    kind = node.op_type
    inputs = [*node.inputs, *[None] * (8 - len(node.inputs))]
    nonlinearity = _nonlinearity(node)
    direction = node.attributes.get_string("direction", "forward")
    plain = inputs[4] is None and inputs[7] is None and "clip" not in node.attributes and nonlinearity is not None
    if not plain or direction == "reverse" or node.attributes.get_int("layout", 0) != 0:
        return None
    resets_late = node.attributes.get_int("linear_before_reset", 0)
    if node.attributes.get_int("input_forget", 0) or (kind == "GRU" and not resets_late):
        return None
    stacks = [_stacked(value) for value in inputs[1:4] if value is not None]
    if any(stack is None or len(stack) != len(stacks[0] or ()) for stack in stacks):
        return None
    weights: list[ir.Value] = []
    for rows in zip(*(stack for stack in stacks if stack), strict=True):
        found = _of_direction(kind, rows)
        if found is None:
            return None
        weights += found
    name = re.fullmatch(r"(.+)\.weight_ih_l(\d+)", weights[0].name or "") if weights else None
    if name is None:
        return None
    fields = FIELDS if inputs[3] is not None else FIELDS[:2]
    ends = [f"_l{name[2]}", f"_l{name[2]}_reverse"][: len(weights) // len(fields)]
    if [v.name for v in weights] != [f"{name[1]}.{field}{end}" for end in ends for field in fields]:
        return None
    return Layer(node, name[1], int(name[2]), tuple(weights), len(fields) == 4, str(nonlinearity))


def _nonlinearity(node: ir.Node) -> str | None:
    """Tanh or relu where the activations are torch's, None where they are others."""
    names = tuple(name.lower() for name in node.attributes.get_strings("activations", []))
    count = 2 if node.attributes.get_string("direction", "forward") == "bidirectional" else 1
    usual = DEFAULTS[node.op_type] * count
    if node.op_type == "RNN" and names[:count] == ("relu",) * count:
        return "relu"
    return "tanh" if not names or names[: len(usual)] == usual else None


def _stacked(value: ir.Value) -> list[Rows] | None:
    """A value [directions, ...] as the rows of each direction."""
    node = value.producer()
    if node is None or node.domain:
        return None
    x = node.inputs[0]
    if node.op_type == "Concat" and node.attributes.get_int("axis", 0) == 0:
        parts = [_stacked(v) for v in node.inputs if v is not None]
        return None if any(p is None for p in parts) else [rows for p in parts if p for rows in p]
    if node.op_type in ("Unsqueeze", "Reshape") and x is not None and dims(value) == (1, *(dims(x) or ("?",))):
        rows = _rows(x)
        return None if rows is None else [rows]
    return None


def _rows(value: ir.Value | None) -> Rows | None:
    """A matrix or vector as runs of the rows of parameters, neighbouring ones joined."""
    if value is None or value.shape is None:
        return None
    if is_parameter(value):
        size = value.shape[0]
        return [(value, 0, size)] if isinstance(size, int) else None
    node = value.producer()
    if node is None or node.domain:
        return None
    if node.op_type == "Concat" and node.attributes.get_int("axis", 0) == 0:
        parts = [_rows(v) for v in node.inputs]
        return None if any(p is None for p in parts) else _joined([run for p in parts if p for run in p])
    if node.op_type == "Slice" and (inner := _rows(node.inputs[0])) is not None:
        bounds = _bounds(node)
        return None if bounds is None else _cut(inner, *bounds)
    return None


def _bounds(node: ir.Node) -> tuple[int, int] | None:
    """From where to where a Slice along the first axis goes."""
    tensors = [None if v is None else v.const_value for v in node.inputs[1:]]
    tensors += [None] * (4 - len(tensors))
    start, end, axes, steps = [[] if t is None else t.numpy().tolist() for t in tensors]
    whole = (dims(node.inputs[0]) or (None,))[0] if node.inputs[0] is not None else None
    if axes not in ([], [0]) or steps not in ([], [1]) or len(start) != 1 or not end or not isinstance(whole, int):
        return None
    begin, stop, _ = slice(start[0], end[0]).indices(whole)
    return begin, stop


def _cut(rows: Rows, begin: int, stop: int) -> Rows:
    made: Rows = []
    at = 0
    for value, first, last in rows:
        size = last - first
        low, high = max(begin - at, 0), min(stop - at, size)
        if low < high:
            made.append((value, first + low, first + high))
        at += size
    return made


def _joined(rows: Rows) -> Rows:
    made: Rows = []
    for run in rows:
        if made and made[-1][0] is run[0] and made[-1][2] == run[1]:
            made[-1] = (run[0], made[-1][1], run[2])
        else:
            made.append(run)
    return made


def _of_direction(kind: str, rows: Sequence[Rows]) -> list[ir.Value] | None:
    """The parameters of which W, R and B of one direction are the rows, in ONNX's order of gates."""
    found = [rows[0][0][0], rows[1][0][0]] + ([rows[2][0][0], rows[2][-1][0]] if len(rows) > 2 else [])
    sizes = [v.shape[0] if v.shape is not None else None for v in found]
    if len(set(sizes)) != 1 or not isinstance(sizes[0], int) or sizes[0] % len(GATES[kind]):
        return None
    hidden = sizes[0] // len(GATES[kind])
    expected = [_joined([(v, g * hidden, (g + 1) * hidden) for g in GATES[kind]]) for v in found]
    wanted = [*expected[:2], *([_joined(expected[2] + expected[3])] if len(rows) > 2 else [])]
    return found if list(rows) == wanted else None


# ---- all layers of a module


def _fuse(model: ir.Model, graph: ir.Graph, first: Layer) -> bool:
    layers, y = [first], _merged(first)
    while y is not None and (following := _next(y, layers[-1])) is not None:
        layers.append(following)
        y = _merged(following)
    if y is None and layers[-1].node.outputs[0].uses():
        return False
    if f"{first.path}.weight_ih_l{len(layers)}" in parameters(model.graph):
        return False
    states = _initial(layers)
    if states is None:
        return False
    x, batch_first = first.node.inputs[0], False
    turned = _turned(x)
    if turned is not None and (y is None or (last := _sole_reader(y)) is not None and _turned(last.outputs[0]) is y):
        x, batch_first = turned, True
        y = None if y is None else _only(y).outputs[0]
    kind, nonlinearity = first.node.op_type, first.nonlinearity
    form = Form(kind, len(layers), first.directions, first.bias, batch_first, bool(states), nonlinearity)
    function = form.function(first.hidden)
    model.functions.setdefault(function.identifier(), function)
    model.opset_imports.setdefault(DOMAIN, 1)
    inputs = [x, *states, *[None] * (form.states - len(states)), *(v for layer in layers for v in layer.weights)]
    node = ir.node(
        kind, inputs, form.attributes, domain=DOMAIN, overload=function.overload, num_outputs=1 + form.states
    )
    node.name = first.node.name
    if PATH in first.node.metadata_props:
        node.metadata_props[PATH] = first.node.metadata_props[PATH]
    graph.insert_before(first.node, node)
    for i, out in enumerate(node.outputs):
        out.name = f"{first.node.outputs[0].name or first.path}.{kind}_{i}"
        out.type = first.node.outputs[0].type
    _replace_states(graph, node, layers)
    if y is not None:
        node.outputs[0].shape = y.shape
        _replace(y, node.outputs[0])
    return True


def _merged(layer: Layer) -> ir.Value | None:
    """The [sequence, batch, directions * hidden] that the node's [sequence, directions, batch, hidden] becomes."""
    y = layer.node.outputs[0]
    reader, shape = _sole_reader(y), dims(y)
    if reader is None or reader.domain or shape is None:
        return None
    out = reader.outputs[0]
    wanted = (shape[0], shape[2], layer.directions * layer.hidden)
    if layer.directions == 1 and reader.op_type in ("Squeeze", "Reshape") and dims(out) == wanted:
        return out
    if reader.op_type != "Transpose" or list(reader.attributes.get_ints("perm", [])) != [0, 2, 1, 3]:
        return None
    last = _sole_reader(out)
    if last is None or last.op_type not in ("Reshape", "Squeeze") or last.domain:
        return None
    made = last.outputs[0]
    target = last.inputs[1].const_value if len(last.inputs) > 1 and last.inputs[1] is not None else None
    copies = target is not None and target.numpy().tolist() in ([0, 0, -1], [0, 0, wanted[2]])
    return made if dims(made) == wanted or (copies and last.op_type == "Reshape") else None


def _next(y: ir.Value, before: Layer) -> Layer | None:
    """The layer that reads all that another gives, if it is the next one of the same module."""
    reader = _sole_reader(y)
    if reader is None or reader.op_type != before.node.op_type or reader.inputs[0] is not y:
        return None
    layer = layer_of(reader)
    same = ("path", "bias", "directions", "hidden", "nonlinearity")
    if layer is None or layer.number != before.number + 1 or any(getattr(layer, a) != getattr(before, a) for a in same):
        return None
    return layer


def _initial(layers: Sequence[Layer]) -> list[ir.Value] | None:
    """The first states [layers * directions, batch, hidden]; an empty list where all are zero, None where unknown."""
    count = 2 if layers[0].node.op_type == "LSTM" else 1
    given = [[(*layer.node.inputs, *[None] * 8)[5 + i] for layer in layers] for i in range(count)]
    if all(_is_zero(value) for values in given for value in values):
        return []
    found = [_whole(values, layers[0].directions) for values in given]
    return None if any(value is None for value in found) else [value for value in found if value is not None]


def _whole(values: Sequence[ir.Value | None], directions: int) -> ir.Value | None:
    """The value whose slices along the first axis are the states of the layers."""
    if len(values) == 1:
        return values[0]
    sources = []
    for k, value in enumerate(values):
        node = None if value is None else value.producer()
        if node is None or node.op_type != "Slice" or node.domain:
            return None
        if _bounds(node) != (k * directions, (k + 1) * directions):
            return None
        sources.append(node.inputs[0])
    source = sources[0]
    shape = None if source is None else dims(source)
    return source if shape and shape[0] == len(values) * directions and len(set(sources)) == 1 else None


def _is_zero(value: ir.Value | None) -> bool:
    """Whether a state is known to be zero everywhere, or is left out, which means the same."""
    while value is not None:
        if value.const_value is not None:
            return not is_parameter(value) and not np.any(value.const_value.numpy())
        node = value.producer()
        if node is None or node.domain:
            return False
        if node.op_type == "ConstantOfShape":
            fill = node.attributes.get("value")
            return fill is None or not np.any(fill.as_tensor().numpy())
        if node.op_type not in ("Expand", "Slice", "Reshape", "Unsqueeze", "Squeeze", "Transpose", "Gather", "Tile"):
            return False
        value = node.inputs[0]
    return True


def _turned(value: ir.Value | None) -> ir.Value | None:
    """What a value is with sequence and batch the other way round."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "Transpose" or list(node.attributes.get_ints("perm", [])) != [1, 0, 2]:
        return None
    return node.inputs[0]


def _sole_reader(value: ir.Value) -> ir.Node | None:
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def _only(value: ir.Value) -> ir.Node:
    return next(iter(value.uses())).node


def _replace(old: ir.Value, new: ir.Value) -> None:
    """`new` is read wherever `old` was, as a graph's output too, under the same name."""
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    new.name, old.name = old.name, None


def _replace_states(graph: ir.Graph, node: ir.Node, layers: Sequence[Layer]) -> None:
    """The last states: each layer's as a slice of all, or all of them where they were put together."""
    for i, whole in enumerate(node.outputs[1:], start=1):
        each = [layer.node.outputs[i] if i < len(layer.node.outputs) else None for layer in layers]
        read = [v for v in each if v is not None and (v.uses() or v.is_graph_output())]
        joined = _sole_reader(read[0]) if read else None
        if len(layers) == 1:
            for only in read:
                whole.shape = only.shape
                _replace(only, whole)
        elif joined is not None and _stacks(joined, each):
            whole.shape = joined.outputs[0].shape
            _replace(joined.outputs[0], whole)
        else:
            size = layers[0].directions
            for k, value in enumerate(each):
                if value in read and value is not None:
                    _cut_out(graph, node, whole, k * size, size, value)


def _stacks(node: ir.Node, values: Sequence[ir.Value | None]) -> bool:
    """Whether a node puts just these behind one another, along the first axis."""
    is_first = node.op_type == "Concat" and node.attributes.get_int("axis", 0) in (0, -3)
    return is_first and not node.domain and list(node.inputs) == list(values)


def _cut_out(graph: ir.Graph, node: ir.Node, whole: ir.Value, start: int, size: int, value: ir.Value) -> None:
    op = Builder()
    made = op.Slice(whole, op.const([start]), op.const([start + size]), op.const([0]))
    made.type, made.shape = value.type, value.shape
    for i, new in enumerate(op.nodes):
        new.name = f"{value.name}.{new.op_type}_{i}"
        new.outputs[0].name = new.name
    graph.insert_after(node, op.nodes)
    _replace(value, made)
