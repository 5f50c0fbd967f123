"""From one opset to another, by onnx's own version converter, with what it drops carried across.

The converter drops node metadata and model-local functions. onnxscript's keeps metadata, and knows opsets 18 to 25.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from zoo.converters.graph import DOMAIN, OPSET, PATH, all_nodes, without_maps
from zoo.converters.infer import infer_shapes
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
    if version < SLOPE_BROADCASTS:
        _shape_slopes(model)
    held = _hold_scans(model) if version < SCAN_WITHOUT_BATCH else {}
    lifted = convert_version(model, OPSET)
    lifted.functions.update(model.functions)
    _release_scans(lifted, held)
    return lifted


# the opsets from which on: PRelu's slope broadcasts as everything does, and was a number for each channel before;
# Scan has no batch axis, which onnx's converter drops, and with it the batch
SLOPE_BROADCASTS, SCAN_WITHOUT_BATCH = 7, 9


def _shape_slopes(model: ir.Model) -> None:
    """PRelu(x, slope [C]) of opset 6 -> PRelu(x, slope [C, 1, ...]), which the converter leaves out."""
    nodes = [n for n in all_nodes(model.graph) if n.op_type == "PRelu" and not n.domain and len(n.inputs) > 1]
    if nodes:
        infer_shapes(model)
    for node in nodes:
        x, slope = node.inputs[:2]
        rank = None if x is None or x.shape is None else len(x.shape)
        if slope is None or slope.shape is None or len(slope.shape) != 1 or slope.shape[0] == 1 or rank == 2:
            continue
        if rank is None or node.graph is None:
            raise HubError(f"PRelu {node.name!r} of opset 6: the rank of its input is not known")
        shaped = ir.node("Unsqueeze", [slope], {"axes": list(range(1, rank - 1))})
        shaped.outputs[0].name = f"{node.outputs[0].name}.slope"
        shaped.metadata_props.update(node.metadata_props)
        node.graph.insert_before(node, shaped)
        node.replace_input_with(1, shaped.outputs[0])


def _hold_scans(model: ir.Model) -> dict[str, dict[str, ir.Attr]]:
    """Let each Scan of opset 8 be called Loop, whose body the converter takes as it is; by name what it was."""
    held: dict[str, dict[str, ir.Attr]] = {}
    for node in list(all_nodes(model.graph)):
        if node.op_type != "Scan" or node.domain:
            continue
        if node.inputs[0] is not None:
            raise HubError(f"Scan {node.name!r} of opset 8 with lengths of its sequences")
        node.op_type, node.name = "Loop", f"zoo.scan.{len(held)}"
        held[node.name] = {name: a for name, a in node.attributes.items() if name != "body"}
        for name in held[node.name]:
            del node.attributes[name]
    return held


def _release_scans(model: ir.Model, held: dict[str, dict[str, ir.Attr]]) -> None:
    """Scan(states [B, ...], inputs [B, T, ...]) of opset 8 -> Scan over the batch of a Scan over each sequence."""
    for node in [node for node in all_nodes(model.graph) if node.name in held]:
        was, given = held[node.name or ""], list(node.inputs[1:])
        one = [ir.Value(name=f"{node.name}.{i}") for i in range(len(given))]
        attributes = [node.attributes["body"], was["num_scan_inputs"]]
        if "directions" in was:
            attributes.append(ir.AttrInt64s("scan_input_directions", was["directions"].as_ints()))
        inner = ir.Node("", "Scan", one, attributes, num_outputs=len(node.outputs), name=f"{node.name}.each")
        for i, out in enumerate(inner.outputs):
            out.name = f"{node.name}.out.{i}"
        body = ir.Graph(one, inner.outputs, nodes=[inner], name=f"{node.name}.batch")
        node.op_type = "Scan"
        node.attributes["num_scan_inputs"] = ir.AttrInt64("num_scan_inputs", len(given))
        node.attributes["body"] = ir.AttrGraph("body", body)
        node.resize_inputs(len(given))
        for i, value in enumerate(given):
            node.replace_input_with(i, value)


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
        proto = onnx.version_converter.convert_version(ir.to_proto(model), version)
        converted: ir.Model = ir.from_proto(without_maps(proto))
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
