"""The bound graph as an ONNX model: what `zoo.load(MODEL, framework="onnx")` gives."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from zoo.converters.graph import PARAMETER


def without_counters(model: ir.Model) -> ir.Model:
    """A copy without the counters of layers (`num_batches_tracked`), which no operator reads."""
    copy = model.clone()
    for name, value in list(copy.graph.initializers.items()):
        if value.metadata_props.get(PARAMETER) == "counter":
            del copy.graph.initializers[name]
    for value in [v for v in copy.graph.inputs if v.metadata_props.get(PARAMETER) == "counter"]:
        copy.graph.inputs.remove(value)
    return copy


def proto(model: ir.Model) -> onnx.ModelProto:
    """The bound model with its weights inside, under the author's names and at the opset that it came with."""
    return ir.to_proto(without_counters(model))
