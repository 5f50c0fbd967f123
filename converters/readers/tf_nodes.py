"""What the readers of TensorFlow's and TFLite's graphs write nodes with: every value has its type and shape at once.

A TensorFlow graph states axes, permutations and sizes as tensors, which other nodes may compute, and ONNX wants most of
them as attributes. So a node of known small inputs is computed here and not written, and of vectors of sizes those
members are known that are (`sizes`), the free ones by their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from zoo.converters.graph import PARAMETER, STORED_OPSET
from zoo.converters.tensors import Tensor

Array = np.ndarray[Any, np.dtype[Any]]
Size = int | str | None  # known, free under a name, unknown
MAX_FOLDED = 1 << 12  # elements of what is computed while reading: sizes, axes, permutations
MAX_NODES = 1_000_000  # what functions and branches that hold each other could make without end
IR_VERSION = 11
FOLDED = frozenset(
    (
        *("Abs", "Add", "And", "ArgMax", "Cast", "Ceil", "Concat", "ConstantOfShape", "CumSum", "Div", "Equal"),
        *("Expand", "Floor", "Gather", "GatherND", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual"),
        *("Max", "Min", "Mod", "Mul", "Neg", "Not", "OneHot", "Or", "Pad", "Pow", "Range", "ReduceMax", "ReduceMin"),
        *("ReduceProd", "ReduceSum", "Reshape", "ScatterND", "Shape", "Size", "Slice", "Split", "Sqrt", "Squeeze"),
        *("Sub", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where", "Xor"),
    )
)


class Fault(Exception):
    """What is wrong with a model; `is_refusal` when it is well-formed and not read."""

    def __init__(self, what: str, *, is_refusal: bool = True) -> None:
        super().__init__(what)
        self.is_refusal = is_refusal


class Nodes:
    """Collects the nodes of a graph, or of a body in it, which shares the initializers of the graph around it."""

    def __init__(self, parent: Nodes | None = None) -> None:
        self.parent = parent
        self.nodes: list[ir.Node] = []
        self.root: Nodes = parent.root if parent else self
        self.initializers: dict[str, ir.Value] = parent.initializers if parent else {}
        self.names: set[str] = parent.names if parent else set()
        self.partial: dict[ir.Value, Array] = parent.partial if parent else {}
        self.firsts: dict[ir.Value, ir.Value] = dict(parent.firsts) if parent else {}
        self.scope: str = parent.scope if parent else ""
        self.count = 0

    # -- values

    def named(self, name: str) -> str:
        """A name that no other value has."""
        unique, n = name, 0
        while unique in self.names:
            n += 1
            unique = f"{name}_{n}"
        self.names.add(unique)
        return unique

    def input(self, name: str, dtype: ir.DataType, shape: Sequence[Size] | None) -> ir.Value:
        """A value that comes from outside: of the graph, or of a body."""
        sizes = None if shape is None else ir.Shape(shape)
        return ir.Value(name=self.named(name), shape=sizes, type=ir.TensorType(dtype))

    def weight(self, name: str, tensor: Tensor, *, kind: str = "") -> ir.Value:
        """A tensor of the file under its author's name, marked as a parameter of that kind if one is given."""
        value = ir.Value(name=self.named(name), shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype))
        value.const_value = tensor
        if kind:
            value.metadata_props[PARAMETER] = kind
        self.initializers[value.name or ""] = value
        return value

    def constant(self, array: Any, name: str = "") -> ir.Value:
        """A small constant; the same numbers are one value."""
        array = np.asarray(array)
        key = name or f"const_{array.dtype.name}_{'x'.join(map(str, array.shape))}_{array.tobytes().hex()}"
        key = key if len(key) <= 64 else self.named(f"const_{len(self.names)}")
        if not name and key in self.initializers:
            return self.initializers[key]
        return self.weight(key, ir.tensor(array, name=key))

    def ints(self, *numbers: int) -> ir.Value:
        """A constant [n] of int64."""
        return self.constant(np.array(numbers, np.int64))

    def number(self, value: float, like: ir.Value | None = None) -> ir.Value:
        """A constant [] of the dtype of `like`, or float32."""
        dtype = np.dtype(np.float32) if like is None or like.dtype is None else like.dtype.numpy()
        return self.constant(np.array(value, dtype))

    # -- what is known

    def known(self, value: ir.Value | None) -> Array | None:
        """The numbers of a constant of no more than MAX_FOLDED elements; of sizes that are all known too."""
        if value is None:
            return None
        if value.const_value is not None:
            return value.const_value.numpy() if value.const_value.size <= MAX_FOLDED else None
        part = self.partial.get(value)
        if part is None or any(type(n) is not int for n in part.reshape(-1)):
            return None
        return part.astype(np.int64)

    def sizes(self, value: ir.Value) -> list[Size] | None:
        """The members of a vector of sizes, each as far as it is known; None where not even their number is."""
        if (known := self.known(value)) is not None:
            return [int(n) for n in known.reshape(-1)] if known.dtype.kind in "iub" else None
        if (part := self.partial.get(value)) is not None:
            return list(part.reshape(-1))
        shape = shape_of(value)
        return [None] * shape[0] if shape is not None and len(shape) == 1 and isinstance(shape[0], int) else None

    # -- nodes

    def op(self, kind: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """A node of one output, or its result where that is known."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: ir.Value | None, **attributes: Any) -> Sequence[ir.Value]:
        """A node of several outputs. Raises Fault where the inputs can't be of such a node."""
        self.root.count += 1
        if self.root.count > MAX_NODES:
            raise Fault(f"more than {MAX_NODES:,} nodes")
        given = {key: value for key, value in attributes.items() if value is not None}
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        base = f"{self.scope}/{kind}" if self.scope else kind
        values = [ir.Value(name=self.named(base)) for _ in range(outputs)]
        node = ir.node(kind, inputs, given, outputs=values, name=values[0].name)
        if (folded := self._folded(node)) is not None:
            for i, value in enumerate(inputs):
                if value is not None:
                    node.replace_input_with(i, None)
            return folded
        self._infer(node)
        self.nodes.append(node)
        if (rule := PARTIAL.get(kind)) is not None and outputs == 1:
            self._know(node, rule)
        return values

    def _folded(self, node: ir.Node) -> list[ir.Value] | None:
        if node.op_type not in FOLDED or not node.inputs:
            return None
        for array in (self.known(v) for v in node.inputs if v is not None):
            if array is None or (array.dtype.kind not in "iub" and array.size > 1):  # weights stay under their names
                return None
        if node.op_type in ("Expand", "ConstantOfShape", "Tile", "Range", "Pad") and self._is_large(node):
            return None
        feeds = {v.name: self._exact(v) for v in node.inputs if v is not None}
        try:
            arrays = ReferenceEvaluator(ir.to_proto(node), opsets={"": STORED_OPSET}).run(None, feeds)
        except Exception:  # noqa: BLE001 - of the evaluator, which has not every dtype; so the node stays
            return None
        if any(not isinstance(a, np.ndarray | np.generic) or np.size(a) > MAX_FOLDED for a in arrays):
            return None
        return [self.constant(array) for array in arrays]

    def _exact(self, value: ir.Value) -> Array:
        array = self.known(value)
        assert array is not None
        return array if value.dtype is None else array.astype(value.dtype.numpy(), copy=False)

    def _is_large(self, node: ir.Node) -> bool:
        """Whether a node of known inputs would make more elements than are kept; nothing is made to find out."""
        first, *rest = [self.known(v) for v in node.inputs if v is not None]
        assert first is not None
        if node.op_type == "ConstantOfShape":
            return prod(max(int(n), 1) for n in first) > MAX_FOLDED
        if node.op_type == "Range" and len(rest) == 2 and rest[0] is not None and rest[1] is not None:
            step = float(rest[1])
            return step == 0 or (float(rest[0]) - float(first)) / step > MAX_FOLDED
        many = [int(n) for n in rest[0].reshape(-1)] if rest and rest[0] is not None else []
        if node.op_type == "Pad":
            return first.size + sum(map(abs, many)) * max(first.size, 1) > MAX_FOLDED
        return first.size * prod(max(n, 1) for n in many) > MAX_FOLDED

    def _infer(self, node: ir.Node) -> None:
        """Types and shapes of the outputs, as ONNX infers them."""
        types, data = {}, {}
        for value in node.inputs:
            if value is None or value.name is None or value.type is None:
                continue
            types[value.name] = type_proto(value)
            if (known := self.known(value)) is not None and known.dtype.kind in "iufb":
                data[value.name] = onnx.numpy_helper.from_array(self._exact(value))
        try:
            inferred = onnx.shape_inference.infer_node_outputs(
                onnx.defs.get_schema(node.op_type, STORED_OPSET),
                ir.to_proto(node),
                types,
                data,
                opset_imports=[onnx.helper.make_opsetid("", STORED_OPSET)],
                ir_version=IR_VERSION,
            )
        except (onnx.shape_inference.InferenceError, ValueError, RuntimeError, TypeError, KeyError) as error:
            what = " ".join(str(error).split())[:200]
            raise Fault(f"{node.op_type} can't be of such inputs: {what}", is_refusal=False) from error
        for value in node.outputs:
            if value.name in inferred:
                value.type = ir.serde.deserialize_type_proto_for_type(inferred[value.name])
                value.shape = ir.serde.deserialize_type_proto_for_shape(inferred[value.name])
        if node.op_type in RESHAPES:
            self._reshape(node)

    def _reshape(self, node: ir.Node) -> None:
        """The output's shape where it is an input, in part known."""
        place = RESHAPES[node.op_type]
        wanted = node.inputs[place]
        sizes = self.sizes(wanted) if wanted is not None else None
        out = node.outputs[0]
        if sizes is None or (out.shape is not None and all(isinstance(n, int) for n in out.shape)):
            return
        source = shape_of(node.inputs[0]) if node.inputs[0] is not None else None
        if node.op_type == "Reshape":
            sizes = _reshaped(source, sizes)
        elif node.op_type == "Expand":
            sizes = _broadcast(source, sizes)
        out.shape = ir.Shape(sizes)

    def _know(self, node: ir.Node, rule: Callable[[Nodes, ir.Node], Array | None]) -> None:
        try:
            made = rule(self, node)
        except (LookupError, ValueError, TypeError):
            made = None
        if made is not None and made.size <= MAX_FOLDED:
            self.partial[node.outputs[0]] = made

    def branching(
        self, kind: str, results: Sequence[ir.Value], *inputs: ir.Value | None, fit: bool = True, **attributes: Any
    ) -> Sequence[ir.Value]:
        """An If or a Loop, whose outputs are of the types, and where they `fit` of the shapes, of `results`."""
        self.root.count += 1
        values = [
            ir.Value(
                name=self.named(f"{self.scope}/{kind}" if self.scope else kind),
                type=r.type,
                shape=r.shape if fit else None,
            )
            for r in results
        ]
        name = values[0].name if values else self.named(kind)
        self.nodes.append(ir.node(kind, inputs, attributes, outputs=values, name=name))
        return values

    # -- graphs

    def body(self, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value], name: str) -> ir.Graph:
        """These nodes as the body of an If, a Loop or a Scan."""
        return ir.Graph(inputs, self.own(outputs, inputs), nodes=self.nodes, name=name)

    def own(self, outputs: Sequence[ir.Value], inputs: Sequence[ir.Value]) -> list[ir.Value]:
        """Outputs that a node of these makes, each once: an Identity for what comes from elsewhere."""
        made = {value for node in self.nodes for value in node.outputs}
        values: list[ir.Value] = []
        for value in outputs:
            if value not in made or value in values:
                source = value
                value = ir.Value(name=self.named(f"{source.name}_out"), shape=source.shape, type=source.type)
                self.nodes.append(ir.node("Identity", [source], outputs=[value], name=value.name))
            values.append(value)
        return values

    def used_initializers(self, outputs: Sequence[ir.Value]) -> list[ir.Value]:
        """The initializers that a node reads or that is an output."""
        return [v for v in self.initializers.values() if v.uses() or v in outputs]


def type_proto(value: ir.Value) -> onnx.TypeProto:
    """A value's type and shape as ONNX's message."""
    assert value.type is not None
    return ir.serde.serialize_type(value.type) if value.shape is None else _with_shape(value)


def _with_shape(value: ir.Value) -> onnx.TypeProto:
    assert value.type is not None and value.shape is not None
    if not isinstance(value.type, ir.TensorType):
        return ir.serde.serialize_type(value.type)
    sizes = [n if isinstance(n, int) else n.value for n in value.shape]
    return onnx.helper.make_tensor_type_proto(value.type.dtype.value, sizes)


def shape_of(value: ir.Value | None) -> tuple[Size, ...] | None:
    """The sizes of a value: known, free under a name, or None; None where the rank is unknown."""
    if value is None or value.shape is None:
        return None
    return tuple(n if isinstance(n, int) else n.value for n in value.shape)


def rank_of(value: ir.Value, what: str) -> int:
    """How many axes a value has. Raises Fault where that is not known."""
    shape = shape_of(value)
    if shape is None:
        raise Fault(f"{what} of a tensor whose number of axes the file leaves open")
    return len(shape)


def sizes_known(value: ir.Value) -> list[int | None] | None:
    """The sizes of a value, the free ones as None."""
    shape = shape_of(value)
    return None if shape is None else [n if isinstance(n, int) else None for n in shape]


def _reshaped(source: tuple[Size, ...] | None, sizes: Sequence[Size]) -> list[Size]:
    out: list[Size] = list(sizes)
    for i, n in enumerate(out):
        if n == 0:
            out[i] = source[i] if source is not None and i < len(source) else None
    if -1 in out:
        at, rest = out.index(-1), None
        others = [n for i, n in enumerate(out) if i != at]
        left: list[Size] = list(source) if source is not None else [None]
        for n in list(others):  # what stands on both sides cancels
            if isinstance(n, str) and n in left:
                left.remove(n)
                others.remove(n)
        if all(isinstance(n, int) for n in (*left, *others)):
            known = prod(n for n in others if isinstance(n, int))
            rest = prod(n for n in left if isinstance(n, int)) // known if known else None
        elif len(left) == 1 and not others:
            out[at] = left[0]
            return out
        out[at] = rest
    return [None if isinstance(n, int) and n < 0 else n for n in out]


def _broadcast(source: tuple[Size, ...] | None, wanted: Sequence[Size]) -> list[Size]:
    if source is None:
        return [None] * len(wanted)
    count = max(len(source), len(wanted))
    rows: list[list[Size]] = []
    for shape in (source, tuple(wanted)):
        ones: list[Size] = [1] * (count - len(shape))
        rows.append([*ones, *shape])
    return [b if a == 1 else a if b in (1, a) or isinstance(a, int) else b for a, b in zip(*rows, strict=True)]


# Operators whose output has the shape that one of their inputs states, and which.
RESHAPES: Mapping[str, int] = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0}


# -- sizes, in part known: arrays of Size -----------------------------------------------------------------------------


def _part(b: Nodes, value: ir.Value | None) -> Array:
    if value is not None and value in b.partial:
        return b.partial[value]
    known = b.known(value)
    if known is None or known.dtype.kind not in "iub":
        raise ValueError("not known")
    made = np.empty(known.shape, object)
    made[...] = known.astype(object)
    return made


def _ints(b: Nodes, value: ir.Value | None) -> list[int]:
    known = b.known(value)
    if known is None:
        raise ValueError("not known")
    return [int(n) for n in known.reshape(-1)]


def _shape(b: Nodes, node: ir.Node) -> Array | None:
    shape = shape_of(node.inputs[0])
    if shape is None:
        return None
    start, end = (node.attributes[k].as_int() if k in node.attributes else None for k in ("start", "end"))
    return np.array([*shape], object)[start:end]


def _gather(b: Nodes, node: ir.Node) -> Array | None:
    data, index = _part(b, node.inputs[0]), b.known(node.inputs[1])
    return None if index is None or data.ndim != 1 else _object(data[index.astype(np.int64)])


def _slice(b: Nodes, node: ir.Node) -> Array | None:
    data = _part(b, node.inputs[0])
    starts, ends = (_ints(b, node.inputs[i]) for i in (1, 2))
    steps = _ints(b, node.inputs[4]) if len(node.inputs) > 4 else [1]
    return data[starts[0] : ends[0] : steps[0]] if data.ndim == 1 and len(starts) == 1 else None


def _concat(b: Nodes, node: ir.Node) -> Array | None:
    parts = [_part(b, v) if v in b.partial or b.known(v) is not None else _unknown(v) for v in node.inputs]
    return np.concatenate(parts) if all(p.ndim == 1 for p in parts) else None


def _unknown(value: ir.Value | None) -> Array:
    shape = shape_of(value)
    if shape is None or len(shape) != 1 or not isinstance(shape[0], int) or shape[0] > MAX_FOLDED:
        raise ValueError("not known")
    return np.array([None] * shape[0], object)


def _object(value: Any) -> Array:
    if isinstance(value, np.ndarray):
        return value
    made = np.empty((), object)
    made[()] = value
    return made


def _arithmetic(count: Callable[[int, int], int | None]) -> Callable[[Nodes, ir.Node], Array | None]:
    def rule(b: Nodes, node: ir.Node) -> Array | None:
        left, right = np.broadcast_arrays(_part(b, node.inputs[0]), _part(b, node.inputs[1]))
        made = np.empty(left.shape, object)
        pairs = zip(left.reshape(-1), right.reshape(-1), strict=True)
        made.reshape(-1)[:] = [count(x, y) if type(x) is int and type(y) is int else None for x, y in pairs]
        return made

    return rule


PARTIAL: Mapping[str, Callable[[Nodes, ir.Node], Array | None]] = {
    "Shape": _shape,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Identity": lambda b, node: _part(b, node.inputs[0]),
    "Cast": lambda b, node: _part(b, node.inputs[0]) if node.attributes["to"].as_int() in (6, 7) else None,
    "Unsqueeze": lambda b, node: _object(_part(b, node.inputs[0])).reshape(-1),
    "Squeeze": lambda b, node: _part(b, node.inputs[0]).reshape(()),
    "Reshape": lambda b, node: _part(b, node.inputs[0]).reshape(_ints(b, node.inputs[1])),
    "Add": _arithmetic(lambda x, y: x + y),
    "Sub": _arithmetic(lambda x, y: x - y),
    "Mul": _arithmetic(lambda x, y: x * y),
    "Div": _arithmetic(lambda x, y: x // y if y > 0 else None),
}
