"""From one opset to another, by onnx's own version converter, with what it drops carried across.

The converter drops node metadata and model-local functions. onnxscript's keeps metadata, and knows opsets 18 to 25.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from zoo.converters.graph import DOMAIN, OPSET, PATH, all_nodes
from zoo.errors import HubError


def lift(model: ir.Model) -> ir.Model:
    """The same model at OPSET, by onnx's own version converter.

    The converter drops node metadata and model-local functions: both are carried across, the first by value names.
    """
    version = model.opset_imports.get("", OPSET)
    if version > OPSET:
        raise HubError(
            f"the graph {model.graph.name!r} has opset {version}; this version of polyzoo reads up to {OPSET}",
            hint="Export it with an older opset, or upgrade polyzoo.",
        )
    for function in model.functions.values():
        if function.domain == DOMAIN:  # our own bodies are written in operators that mean the same in every opset
            function.opset_imports[""] = OPSET
    if version == OPSET:
        return model
    lifted = convert_version(model, OPSET)
    lifted.functions.update(model.functions)
    return lifted


def convert_version(model: ir.Model, version: int) -> ir.Model:
    """The model at another opset, its paths, marks and metadata carried across. Raises HubError with the reason."""
    have = model.opset_imports.get("", 0)
    if have < 9 <= version and any(node.op_type == "Scan" and not node.domain for node in all_nodes(model.graph)):
        # onnx's adapter drops the batch axis from the graph's own inputs, which is right for a batch of one only
        raise HubError(
            f"the graph {model.graph.name!r} has a Scan of opset {have}, which has a batch axis; newer ones have none",
            hint="Convert the model to opset 9 or newer where it was made.",
        )
    try:
        converted: ir.Model = ir.from_proto(onnx.version_converter.convert_version(ir.to_proto(model), version))
    except Exception as error:
        raise HubError(
            f"the graph {model.graph.name!r} can't be converted from opset {have} to {version}: {error}"
        ) from error
    paths = {out.name: node.metadata_props for node in all_nodes(model.graph) for out in node.outputs}
    for node in all_nodes(converted.graph):
        for out in node.outputs:
            if PATH in paths.get(out.name, {}):
                node.metadata_props[PATH] = paths[out.name][PATH]
    marks = {v.name: v.metadata_props for v in (*model.graph.inputs, *model.graph.initializers.values())}
    for value in (*converted.graph.inputs, *converted.graph.initializers.values()):
        value.metadata_props.update(marks.get(value.name, {}))
    converted.metadata_props.update(model.metadata_props)
    for domain, number in model.opset_imports.items():
        converted.opset_imports.setdefault(domain, number)
    return converted
