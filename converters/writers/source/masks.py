"""Masks as a person writes them, where an exporter left gathers at places that are counted through."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

PASSES_ON = {"Unsqueeze", "Expand"}


def simplify_masks(model: ir.Model) -> None:
    """Two rewrites, in place.

    GatherND(x, [[0..n) along one axis, [0..m) along a later one]) = x [n, m] with axes of size one (`_unsqueezed`).
    Attention(mask = And(a, m)) = Attention(mask = m), where a is places >= 0, which holds everywhere (`_always`): the
    mask broadcasts either way.
    """
    for node in list(model.graph):
        if node.op_type == "GatherND" and not node.domain:
            _unsqueezed(model.graph, node)
        if node.op_type == "Attention" and not node.domain and len(node.inputs) > 3 and node.inputs[3] is not None:
            _always(node, node.inputs[3])


def _unsqueezed(graph: ir.Graph, node: ir.Node) -> None:
    data, indices = node.inputs
    join = indices.producer() if indices is not None else None
    out = node.outputs[0]
    if join is None or join.op_type != "Concat" or data is None or data.shape is None or out.shape is None:
        return
    axes = [i for i, n in enumerate(out.shape) if n != 1]
    sizes = [out.shape[i] for i in axes]
    if len(axes) != len(data.shape) or sizes != list(data.shape) or len(join.inputs) != len(axes):
        return
    if not all(_counts(v, out.shape, axis) for v, axis in zip(join.inputs, axes, strict=True)):
        return
    added = [i for i in range(len(out.shape)) if i not in axes]
    held = ir.Value(
        name=f"{out.name}_axes",
        shape=ir.Shape([len(added)]),
        type=ir.TensorType(ir.DataType.INT64),
        const_value=ir.tensor(np.array(added, np.int64), name=f"{out.name}_axes"),
    )
    graph.register_initializer(held)
    made = ir.node("Unsqueeze", [data, held], metadata_props=dict(node.metadata_props))
    made.outputs[0].name, made.outputs[0].shape, made.outputs[0].type = f"{out.name}_axed", out.shape, out.type
    graph.insert_before(node, made)
    ir.convenience.replace_all_uses_with(out, made.outputs[0])


def _counts(value: ir.Value | None, out: ir.Shape, axis: int) -> bool:
    """Whether a coordinate [..., 1] is the place along one axis of the result of shape `out`, 0 and up."""
    varying: list[int] | None = None  # along which axes the innermost value of the result's rank has places
    while value is not None and (node := value.producer()) is not None and node.op_type in PASSES_ON:
        value = node.inputs[0]
        if value is not None and value.shape is not None and len(value.shape) == len(out):
            varying = [i for i, n in enumerate(value.shape) if n != 1]
    node = value.producer() if value is not None else None
    if node is None or node.op_type != "Range" or value is None or value.shape is None or varying != [axis]:
        return False
    return value.shape[0] == out[axis] and _is(node.inputs[0], 0) and _is(node.inputs[2], 1)


def _is(value: ir.Value | None, number: int) -> bool:
    return value is not None and value.const_value is not None and bool(np.all(value.const_value.numpy() == number))


def _always(attention: ir.Node, mask: ir.Value) -> None:
    both = mask.producer()
    if both is None or both.op_type != "And":
        return
    for i, value in enumerate(both.inputs):
        compared = value.producer() if value is not None else None
        if compared is None or compared.op_type != "GreaterOrEqual" or not _is(compared.inputs[1], 0):
            continue
        base = compared.inputs[0]
        while base is not None and (node := base.producer()) is not None and node.op_type in PASSES_ON:
            base = node.inputs[0]
        counted = base.producer() if base is not None else None
        if (
            counted is not None
            and counted.op_type == "Range"
            and _is(counted.inputs[0], 0)
            and _is(counted.inputs[2], 1)
        ):
            attention.replace_input_with(3, both.inputs[1 - i])
            return
