"""Recurrent layers as torch keeps them: zoo::LSTM, zoo::GRU and zoo::RNN, several ONNX nodes and their weights in one.

torch's exporters write a node a layer, and compute its weights of the module's own by slices and concatenations: ONNX's
gates are in another order (input, output, forget, cell where torch has input, forget, cell, output; update, reset, new
where torch has reset, update, new), and its directions are stacked. Here the way back, for weights that bear torch's names:

    zoo::LSTM(X, H0, C0, weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_ih_l0_reverse, ..., weight_ih_l1, ...)
        -> Y [sequence, batch, directions * hidden], H and C [layers * directions, batch, hidden]

with nn.LSTM's num_layers, bidirectional, bias and batch_first as attributes; nn.RNN's nonlinearity is one more. H0 and C0
are left out where they are zero. The function bodies are made for each of the forms, which `overload` names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir

from zoo.converters.expansions import Builder
from zoo.converters.fold import dims
from zoo.converters.graph import DOMAIN, OPSET, PATH, is_parameter, parameters

# where ONNX's gates stand among torch's
GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
DEFAULTS = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}
FIELDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
Rows = list[tuple[ir.Value, int, int]]  # a matrix as rows of parameters: which, from, to


class Layer(NamedTuple):
    """One ONNX node that is one layer of a torch module."""

    node: ir.Node
    path: str
    index: int
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
            if layer is not None and layer.index == 0:
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
    if not plain or direction == "reverse" or node.attributes.get_int("layout", 0):
        return None
    if node.attributes.get_int("input_forget", 0) or (
        kind == "GRU" and not node.attributes.get_int("linear_before_reset", 0)
    ):
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
    ends = [f"_l{name[2]}", f"_l{name[2]}_reverse"]
    fields = FIELDS if inputs[3] is not None else FIELDS[:2]
    if [v.name for v in weights] != [
        f"{name[1]}.{f}{end}" for end in ends[: len(weights) // len(fields)] for f in fields
    ]:
        return None
    return Layer(node, name[1], int(name[2]), tuple(weights), inputs[3] is not None, str(nonlinearity))


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
    numbers = [
        v.const_value.numpy().tolist() if v is not None and v.const_value is not None else None for v in node.inputs[1:]
    ]
    start, end, axes, steps = [*numbers, *[[0], [1]][len(numbers) - 2 :]]
    whole = (dims(node.inputs[0]) or (None,))[0] if node.inputs[0] is not None else None
    if axes != [0] or steps != [1] or not start or not end or len(start) != 1 or not isinstance(whole, int):
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
    if states is None or any(v is not None and v.is_graph_output() for v in _between(layers)):
        return False
    x, batch_first = first.node.inputs[0], False
    turned = _turned(x)
    if turned is not None and (y is None or (last := _sole_reader(y)) is not None and _turned(last.outputs[0]) is y):
        x, batch_first = turned, True
        y = None if y is None else _only(y).outputs[0]
    form = Form(
        first.node.op_type, len(layers), first.directions, first.bias, batch_first, bool(states), first.nonlinearity
    )
    function = form.function(first.hidden)
    model.functions.setdefault(function.identifier(), function)
    model.opset_imports.setdefault(DOMAIN, 1)
    given = [*states, *[None] * (form.states - len(states))]
    inputs = [x, *given, *(v for layer in layers for v in layer.weights)]
    node = ir.node(
        form.kind, inputs, form.attributes, domain=DOMAIN, overload=function.overload, num_outputs=1 + form.states
    )
    node.name = first.node.name
    if PATH in first.node.metadata_props:
        node.metadata_props[PATH] = first.node.metadata_props[PATH]
    graph.insert_before(first.node, node)
    for i, out in enumerate(node.outputs):
        out.name = f"{first.node.outputs[0].name or first.path}.{form.kind}_{i}"
        out.type = first.node.outputs[0].type
    _replace_states(graph, node, layers)
    if y is not None:
        node.outputs[0].shape = y.shape
        _replace(y, node.outputs[0])
    return True


def _merged(layer: Layer) -> ir.Value | None:
    """The output [sequence, batch, directions * hidden] that the node's [sequence, directions, batch, hidden] becomes."""
    y = layer.node.outputs[0]
    reader = _sole_reader(y)
    if reader is None:
        return None
    out = reader.outputs[0]
    shape = dims(y)
    if shape is None:
        return None
    wanted = (shape[0], shape[2], layer.directions * layer.hidden)
    if layer.directions == 1 and reader.op_type in ("Squeeze", "Reshape") and dims(out) == wanted:
        return out
    if reader.op_type != "Transpose" or list(reader.attributes.get_ints("perm", [])) != [0, 2, 1, 3]:
        return None
    last = _sole_reader(out)
    if last is None or last.op_type not in ("Reshape", "Squeeze", "Flatten") or last.domain:
        return None
    made = last.outputs[0]
    target = last.inputs[1].const_value if len(last.inputs) > 1 and last.inputs[1] is not None else None
    copies = target is not None and target.numpy().tolist() in ([0, 0, -1], [0, 0, wanted[2]])
    return made if dims(made) == wanted or copies else None


def _next(y: ir.Value, before: Layer) -> Layer | None:
    """The layer that reads all that another gives, if it is the next one of the same module."""
    reader = _sole_reader(y)
    if reader is None or reader.op_type != before.node.op_type or reader.inputs[0] is not y:
        return None
    layer = layer_of(reader)
    same = ("path", "bias", "directions", "hidden", "nonlinearity")
    if layer is None or layer.index != before.index + 1 or any(getattr(layer, a) != getattr(before, a) for a in same):
        return None
    return layer


def _between(layers: Sequence[Layer]) -> Iterator[ir.Value]:
    """What the layers but the last hand on, which nobody gets any more."""
    for layer in layers[:-1]:
        yield layer.node.outputs[0]
        merged = _merged(layer)
        if merged is not None:
            yield merged


def _initial(layers: Sequence[Layer]) -> list[ir.Value] | None:
    """The values [layers * directions, batch, hidden] of the first states; none where all are zero, None where unknown."""
    count = 2 if layers[0].node.op_type == "LSTM" else 1
    given = [
        [layer.node.inputs[5 + i] if len(layer.node.inputs) > 5 + i else None for layer in layers] for i in range(count)
    ]
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
        if (
            node is None
            or node.op_type != "Slice"
            or node.domain
            or _bounds(node) != (k * directions, (k + 1) * directions)
        ):
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
            for value in read:
                whole.shape = value.shape
                _replace(value, whole)
        elif joined is not None and joined.op_type == "Concat" and list(joined.inputs) == each:
            whole.shape = joined.outputs[0].shape
            _replace(joined.outputs[0], whole)
        else:
            for k, value in enumerate(each):
                if value in read and value is not None:
                    _cut_out(graph, node, whole, k * layers[0].directions, value)


def _cut_out(graph: ir.Graph, node: ir.Node, whole: ir.Value, start: int, value: ir.Value) -> None:
    op = Builder()
    size = (dims(value) or (1,))[0]
    made = op.Slice(whole, op.const([start]), op.const([start + int(size)]), op.const([0]))
    made.type, made.shape = value.type, value.shape
    for i, new in enumerate(op.nodes):
        new.name = f"{value.name}.{new.op_type}_{i}"
        new.outputs[0].name = new.name
    graph.insert_after(node, op.nodes)
    _replace(value, made)


# ---- the operator's meaning, in ONNX's own


class Form(NamedTuple):
    """What the function body depends on, but for the size of the state."""

    kind: str
    layers: int
    directions: int
    bias: bool
    batch_first: bool
    has_state: bool
    nonlinearity: str

    @property
    def states(self) -> int:
        """How many there are: an LSTM has its cell besides."""
        return 2 if self.kind == "LSTM" else 1

    @property
    def attributes(self) -> dict[str, Any]:
        """As torch's module is made with them."""
        made: dict[str, Any] = {
            "num_layers": self.layers,
            "bidirectional": int(self.directions == 2),
            "bias": int(self.bias),
            "batch_first": int(self.batch_first),
        }
        return made | ({"nonlinearity": self.nonlinearity} if self.kind == "RNN" else {})

    def function(self, hidden: int) -> ir.Function:
        """The function of this form."""
        op = Builder()
        x = ir.Value(name="X")
        states = [ir.Value(name=name) for name in ("H0", "C0")[: self.states]]
        ends = [f"_l{k}{'_reverse' * d}" for k in range(self.layers) for d in range(self.directions)]
        fields = FIELDS if self.bias else FIELDS[:2]
        weights = [ir.Value(name=f"{field}{end}") for end in ends for field in fields]
        y, last = self._body(op, x, states, weights, hidden)
        body = ir.Graph([x, *states, *weights], [y, *last], nodes=op.nodes, opset_imports={"": OPSET}, name=self.kind)
        for i, value in enumerate(v for node in op.nodes for v in node.outputs):
            value.name = f"v{i}"
        types = [
            (name, ir.AttributeType.STRING if name == "nonlinearity" else ir.AttributeType.INT)
            for name in self.attributes
        ]
        parts = (self.layers, self.directions, *map(int, self[3:6]), hidden, self.nonlinearity)
        return ir.Function(
            DOMAIN,
            self.kind,
            "_".join(map(str, parts)),
            graph=body,
            attributes=[ir.Attr(name, kind, None) for name, kind in types],
        )

    def _body(
        self, op: Builder, x: ir.Value, states: Sequence[ir.Value], weights: Sequence[ir.Value], hidden: int
    ) -> tuple[ir.Value, list[ir.Value]]:
        direction = "bidirectional" if self.directions == 2 else "forward"
        options: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
        options |= {"linear_before_reset": 1} if self.kind == "GRU" else {}
        options |= {"activations": [self.nonlinearity.capitalize()] * self.directions} if self.kind == "RNN" else {}
        last: list[list[ir.Value]] = [[] for _ in states]
        each = 4 if self.bias else 2
        y = op.Transpose(x, perm=[1, 0, 2]) if self.batch_first else x
        for k in range(self.layers):
            stacks: list[list[ir.Value]] = [[], [], []]
            for d in range(self.directions):
                at = (k * self.directions + d) * each
                ordered = [self._in_onnxs_order(op, value) for value in weights[at : at + each]]
                joined = ordered if not self.bias else [*ordered[:2], op.Concat(*ordered[2:], axis=0)]
                for stack, value in zip(stacks, joined, strict=False):
                    stack.append(op.Unsqueeze(value, op.const([0])))
            given = [op.Concat(*stack, axis=0) if stack else None for stack in stacks]
            first = [k * self.directions, (k + 1) * self.directions]
            begin = [
                op.Slice(s, op.const(first[:1]), op.const(first[1:]), op.const([0])) if self.has_state else None
                for s in states
            ]
            made = getattr(op, self.kind)(y, *given, None, *begin, outputs=1 + self.states, **options)
            y = op.Reshape(op.Transpose(made[0], perm=[0, 2, 1, 3]), op.const([0, 0, -1]))
            for values, value in zip(last, made[1:], strict=True):
                values.append(value)
        whole = [op.Concat(*values, axis=0) for values in last]
        return op.Transpose(y, perm=[1, 0, 2]) if self.batch_first else op.Identity(y), whole

    def _in_onnxs_order(self, op: Builder, value: ir.Value) -> ir.Value:
        gates = GATES[self.kind]
        if len(gates) == 1:
            return value
        parts = op.Split(value, outputs=len(gates), num_outputs=len(gates), axis=0)
        made: ir.Value = op.Concat(*(parts[g] for g in gates), axis=0)
        return made
