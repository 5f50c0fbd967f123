"""Constants and shape arithmetic: what can be computed without the inputs is computed once.

f(c1, c2, ...)                    -> constant        every input known
Shape(x)[i], x: [N, 3, ...]       -> constant        the sizes asked for are known
Reshape(x, Concat(Shape(x)[0],…)) -> Reshape(x, [0 or -1, …])   all sizes but one known, or copied from x's own place
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from zoo.converters.expand import splice
from zoo.converters.graph import all_graphs, constant

NOT_FOLDED = {
    *("Constant", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"),
    *("Dropout", "If", "Loop", "Scan", "SequenceMap", "SequenceEmpty", "SequenceConstruct", "Optional"),
    # the evaluator walks over these in Python, and decoding an image makes more of few bytes
    *("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv", "Col2Im", "GridSample", "Resize"),
    *("MaxPool", "AveragePool", "LpPool", "MaxUnpool", "RoiAlign", "MaxRoiPool", "NonMaxSuppression"),
    *("RNN", "GRU", "LSTM", "ImageDecoder"),
}
MAX_ELEMENTS = 1 << 22  # a folded constant larger than this costs more to store than its node costs to run
MAX_TOTAL = 1 << 23  # elements of all constants larger than SMALL; what would exceed it is computed when the model runs
SMALL = 64  # elements: sizes, axes, bounds
PICKS = {"NonZero", "Unique", "Compress"}  # of no known size, and never more than their inputs times their rank


def replace(node: ir.Node, index: int, value: ir.Value) -> None:
    """Let everybody who reads output `index` of `node` read `value`; a graph output keeps its own name and node."""
    ir.convenience.replace_all_uses_with(node.outputs[index], value)


def fold_constants(model: ir.Model) -> bool:
    """Evaluate every node whose inputs are all known, with onnx's reference evaluator; True if anything was."""
    changed = False
    for graph in all_graphs(model.graph):
        changed |= _fold_constants(graph, model.graph, dict(model.opset_imports))
    return changed


def _fold_constants(graph: ir.Graph, root: ir.Graph, opsets: dict[str, int]) -> bool:
    changed, outputs, held = False, set(graph.outputs), _held(root)
    for node in list(graph):
        is_output = bool(outputs.intersection(node.outputs))
        if node.op_type == "Constant" and not node.domain:
            arrays = [_attribute_value(node)]
        elif _foldable(node) and not (is_output and node.op_type == "Identity"):
            size = _result_size(node, opsets)
            if size is None or size > SMALL and (size > MAX_ELEMENTS or held + size > MAX_TOTAL):
                continue
            try:
                arrays = _evaluate(node, opsets)
            except Exception:  # noqa: BLE001 - of the evaluator, which has not every dtype; so the node stays
                continue
            held += size if size > SMALL else 0
        else:
            continue
        names = [out.name or node.op_type for out in node.outputs]
        values = [constant(root, f"{name}_value" * is_output or name, a) for name, a in zip(names, arrays, strict=True)]
        if is_output:  # a graph output is a node's own: an Identity gives the constant
            splice(graph, node, [], values)
        else:
            for i, value in enumerate(values):
                replace(node, i, value)
            graph.remove(node, safe=True)
        changed = True
    return changed


def _foldable(node: ir.Node) -> bool:
    return (
        not node.domain
        and node.op_type not in NOT_FOLDED
        and len(node.inputs) > 0
        and all(v is None or v.const_value is not None for v in node.inputs)
        and not any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values())
    )


def _held(root: ir.Graph) -> int:
    tensors = [value.const_value for value in root.initializers.values() if value.const_value is not None]
    return sum(tensor.size for tensor in tensors if tensor.size > SMALL)


def _result_size(node: ir.Node, opsets: dict[str, int]) -> int | None:
    """How many elements will come of a node with known inputs, before any is made; None where that is not known."""
    tensors = {v.name or "": v.const_value for v in node.inputs if v is not None and v.const_value is not None}
    types = {n: onnx.helper.make_tensor_type_proto(t.dtype.value, t.shape.numpy()) for n, t in tensors.items()}
    data = {
        n: onnx.TensorProto(data_type=t.dtype.value, dims=t.shape.numpy(), raw_data=t.tobytes())
        for n, t in tensors.items()
        if t.size <= SMALL and t.dtype != ir.DataType.STRING
    }
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets[""])
        inferred = onnx.shape_inference.infer_node_outputs(
            schema, ir.to_proto(node), types, data, opset_imports=imports, ir_version=onnx.IR_VERSION
        )
    except (KeyError, onnx.defs.SchemaError, onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return None
    known = sum(tensor.size * max(len(tensor.shape), 1) for tensor in tensors.values())
    total = 0
    for out in node.outputs:
        kind = inferred.get(out.name)
        sizes = None if kind is None or not kind.tensor_type.HasField("shape") else kind.tensor_type.shape.dim
        if sizes is not None and all(size.HasField("dim_value") for size in sizes):
            total += math.prod(size.dim_value for size in sizes)
        elif node.op_type in PICKS:
            total += known
        elif out.name:
            return None
    return total


def _evaluate(node: ir.Node, opsets: dict[str, int]) -> list[Any]:
    proto = ir.to_proto(node)
    feeds = {v.name: v.const_value.numpy() for v in node.inputs if v is not None and v.const_value is not None}
    result: list[Any] = ReferenceEvaluator(proto, opsets=opsets).run(None, feeds)
    return result


def _attribute_value(node: ir.Node) -> Any:
    (name, attr) = next(iter(node.attributes.items()))
    if name == "value":
        return attr.as_tensor()
    if name.startswith("value_string"):
        return np.array(attr.value, dtype=object)
    return np.array(attr.value, dtype=np.float32 if "float" in name else np.int64)


class Sizes(NamedTuple):
    """An integer scalar or vector of which some members are known; a str stands for one unknown number."""

    items: tuple[int | str, ...]
    rank: int

    @property
    def array(self) -> np.ndarray[Any, np.dtype[np.int64]] | None:
        """The numbers, if all are known."""
        if any(isinstance(i, str) or not -(1 << 63) <= i < 1 << 63 for i in self.items):
            return None
        return np.array(self.items if self.rank else self.items[0], dtype=np.int64)


def dims(value: ir.Value) -> tuple[int | str, ...] | None:
    """The shape of a value, a free size by its name; None if the rank is unknown."""
    if value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else d.value or f"?{value.name}.{i}" for i, d in enumerate(value.shape))


def sizes(graph: ir.Graph) -> dict[ir.Value, Sizes]:
    """What is known of the small integer vectors that shape arithmetic is made of (at most 16 members each)."""
    known: dict[ir.Value, Sizes] = {}
    for node in graph:
        rule = RULES.get(node.op_type) if not node.domain else None
        args = [None if v is None else known.get(v) or _of_constant(v) for v in node.inputs]
        found = rule(node, args) if rule else None
        if found is None:
            found = _unknown(node.outputs[0]) if len(node.outputs) == 1 else None
        if found is not None:
            known[node.outputs[0]] = found
    return known


def _of_constant(value: ir.Value) -> Sizes | None:
    tensor = value.const_value
    if tensor is None or len(tensor.shape) > 1 or tensor.size > 16 or not tensor.dtype.is_integer():
        return None
    return Sizes(tuple(int(i) for i in tensor.numpy().reshape(-1)), len(tensor.shape))


def _unknown(value: ir.Value) -> Sizes | None:
    if value.dtype != ir.DataType.INT64 or value.shape is None or len(value.shape) > 1:
        return None
    n = 1 if len(value.shape) == 0 else value.shape[0]
    if not isinstance(n, int) or n > 16:
        return None
    return Sizes(tuple(f"?{value.name}.{i}" for i in range(n)), len(value.shape))


def _shape(node: ir.Node, args: Sequence[Sizes | None]) -> Sizes | None:
    x = node.inputs[0]
    shape = dims(x) if x is not None else None
    if shape is None:
        return None
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", len(shape))
    return Sizes(shape[slice(start, end)], 1)


def _size(node: ir.Node, args: Sequence[Sizes | None]) -> Sizes | None:
    shape = dims(node.inputs[0]) if node.inputs[0] is not None else None
    known = [d for d in shape or () if isinstance(d, int)]
    return None if shape is None or len(known) < len(shape) else Sizes((math.prod(known),), 0)


def _gather(node: ir.Node, args: Sequence[Sizes | None]) -> Sizes | None:
    data, indices = args
    if data is None or indices is None or data.rank != 1 or (at := indices.array) is None:
        return None
    if any(not -len(data.items) <= i < len(data.items) for i in at.reshape(-1)):
        return None
    return Sizes(tuple(data.items[int(i)] for i in at.reshape(-1)), indices.rank)


def _slice(node: ir.Node, args: Sequence[Sizes | None]) -> Sizes | None:
    arrays = [None if a is None else a.array for a in args[1:]]
    if args[0] is None or args[0].rank != 1 or any(a is None or a.size != 1 for a in arrays):
        return None
    start, end, *rest = (int(a.reshape(-1)[0]) for a in arrays if a is not None)
    step = rest[1] if len(rest) > 1 else 1  # between them the axis, which can only be 0
    return Sizes(args[0].items[start:end:step], 1)


def _concat(node: ir.Node, args: Sequence[Sizes | None]) -> Sizes | None:
    if any(a is None or a.rank != 1 for a in args):
        return None
    return Sizes(tuple(i for a in args if a is not None for i in a.items), 1)


def _reranked(node: ir.Node, args: Sequence[Sizes | None]) -> Sizes | None:
    rank = None if node.outputs[0].shape is None else len(node.outputs[0].shape)
    if args[0] is None or rank is None or rank > 1 or (rank == 0 and len(args[0].items) != 1):
        return None
    return Sizes(args[0].items, rank)


def _same(node: ir.Node, args: Sequence[Sizes | None]) -> Sizes | None:
    return args[0] if node.outputs[0].dtype is not None and node.outputs[0].dtype.is_integer() else None


def _arithmetic(f: Callable[[int, int], int], neutral: int | None) -> Callable[..., Sizes | None]:
    def rule(node: ir.Node, args: Sequence[Sizes | None]) -> Sizes | None:
        a, b = args[0], args[1]
        if a is None or b is None or (len(a.items) != len(b.items) and 1 not in (len(a.items), len(b.items))):
            return None
        if not a.items or not b.items:
            return None
        n = max(len(a.items), len(b.items))
        pairs = zip(a.items * (n // len(a.items)), b.items * (n // len(b.items)), strict=True)
        out: list[int | str] = []
        for i, (x, y) in enumerate(pairs):
            if isinstance(x, int) and isinstance(y, int):
                out.append(f(x, y))
            elif y == neutral:
                out.append(x)
            elif x == neutral and f in (_add, math.prod, _mul):
                out.append(y)
            else:
                out.append(f"?{node.outputs[0].name}.{i}")
        return Sizes(tuple(out), max(a.rank, b.rank))

    return rule


def _add(x: int, y: int) -> int:
    return x + y


def _mul(x: int, y: int) -> int:
    return x * y


def _div(x: int, y: int) -> int:
    return (abs(x) // abs(y)) * (-1 if (x < 0) != (y < 0) else 1) if y else 0  # ONNX divides integers towards zero


RULES: dict[str, Callable[[ir.Node, Sequence[Sizes | None]], Sizes | None]] = {
    "Shape": _shape,
    "Size": _size,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Squeeze": _reranked,
    "Unsqueeze": _reranked,
    "Reshape": _reranked,
    "Identity": _same,
    "Cast": _same,
    "Add": _arithmetic(_add, 0),
    "Sub": _arithmetic(lambda x, y: x - y, 0),
    "Mul": _arithmetic(_mul, 1),
    "Div": _arithmetic(_div, 1),
}


def fold_shapes(model: ir.Model) -> bool:
    """Known sizes become constants, a Reshape's computed shape one with 0 and -1, an Expand's with 1; True if so."""
    changed = False
    for graph in all_graphs(model.graph):
        changed |= _fold_shapes(graph, model.graph)
    return changed


def _fold_shapes(graph: ir.Graph, root: ir.Graph) -> bool:
    changed, known, outputs = False, sizes(graph), set(graph.outputs)
    for node in list(graph):
        value = node.outputs[0]
        if value in known and value not in outputs and value.uses() and (array := known[value].array) is not None:
            dtype = value.dtype.numpy() if value.dtype is not None else np.int64
            replace(node, 0, constant(root, value.name or "size", array.astype(dtype)))
            changed = True
        elif node.op_type == "Reshape" and not node.domain and (target := _target(node, known)) is not None:
            node.replace_input_with(1, constant(root, f"{value.name}_shape", np.array(target, dtype=np.int64)))
            node.attributes["allowzero"] = ir.AttrInt64("allowzero", 0)
            changed = True
        elif node.op_type == "Expand" and not node.domain and (target := _expansion(node, known)) is not None:
            node.replace_input_with(1, constant(root, f"{value.name}_shape", np.array(target, dtype=np.int64)))
            changed = True
    return changed


def _expansion(node: ir.Node, known: dict[ir.Value, Sizes]) -> list[int] | None:
    """An Expand's shape with 1, which leaves an axis as it is, in the place of the free sizes that the axis has."""
    x, shape = node.inputs
    have = None if x is None else dims(x)
    if have is None or shape is None or shape.const_value is not None or shape not in known:
        return None
    wanted = known[shape].items
    before = (*[1] * (len(wanted) - len(have)), *have)
    skipped = len(before) - len(wanted)
    target = [w if isinstance(w, int) else 1 if w == before[skipped + i] else None for i, w in enumerate(wanted)]
    return [t for t in target if t is not None] if None not in target else None


def _target(node: ir.Node, known: dict[ir.Value, Sizes]) -> list[int] | None:
    x, shape = node.inputs
    if x is None or shape is None or shape.const_value is not None or shape not in known:
        return None
    wanted, have = known[shape].items, dims(x) or ()
    target = [
        0 if isinstance(w, str) and i < len(have) and have[i] == w else -1 if isinstance(w, str) else w
        for i, w in enumerate(wanted)
    ]
    # a literal 0 would now mean "copy"; two unknown sizes can't be told apart
    if target.count(-1) > 1 or any(w == 0 for w in wanted if isinstance(w, int)):
        return None
    if target.count(-1) == 0 and target.count(0) == 1:  # -1 reads better than 0 and means the same
        target[target.index(0)] = -1
    return target
