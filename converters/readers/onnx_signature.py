"""A node against what its operator takes: how many inputs and outputs, which attributes, what the graphs in it take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import onnx
from onnx import AttributeProto, GraphProto, NodeProto

from zoo.errors import ZooError

Option = onnx.defs.OpSchema.FormalParameterOption
NEWEST = 2**31 - 1  # onnx counts opsets in 32 bits
BODIED = {"If", "Loop", "Scan", "SequenceMap"}
KINDS = {number: name for name, number in AttributeProto.AttributeType.items()}


class Signature(NamedTuple):
    """What the schema of an operator says, read once."""

    inputs: tuple[int, int]
    outputs: tuple[int, int]
    needed: tuple[int, ...]  # inputs that may not be left out
    attributes: dict[str, int]  # name -> AttributeProto's type
    required: tuple[str, ...]


@lru_cache(maxsize=4096)
def _signature(op: str, version: int, domain: str) -> Signature | None:
    try:
        schema = onnx.defs.get_schema(op, min(version, NEWEST), domain)
    except onnx.defs.SchemaError:
        return None
    return Signature(
        (schema.min_input, schema.max_input),
        (schema.min_output, schema.max_output),
        tuple(i for i, value in enumerate(schema.inputs) if value.option == Option.Single),
        {name: attribute.type.value for name, attribute in schema.attributes.items()},
        tuple(name for name, attribute in schema.attributes.items() if attribute.required),
    )


def check_signature(
    node: NodeProto, inputs: list[str], outputs: list[str], opset: int | None, malformed: Callable[[str], ZooError]
) -> None:
    """Raise what `malformed` makes, unless the node fits its operator; one that onnx doesn't know fits always.

    `inputs` and `outputs` are the node's, read once.
    """
    domain = "" if node.domain == "ai.onnx" else node.domain
    if not node.op_type:
        raise malformed("it has no operator")
    if opset is None and domain == "":
        raise malformed("the model names no opset of the domain 'ai.onnx', which its operator is of")
    signature = None if opset is None else _signature(node.op_type, opset, domain)
    if signature is None:
        return
    given = _without_trailing(inputs[:])
    least, most = signature.inputs
    missing = [i for i in signature.needed if i >= len(given) or not given[i]]
    if not least <= len(given) <= most or missing:
        wanted = f"{least}" if least == most else f"{least} or more" if most >= NEWEST else f"{least} to {most}"
        what = f"input {missing[0]} is left out" if missing and len(given) <= most else f"it has {len(given)} inputs"
        raise malformed(f"{what}; {node.op_type} takes {wanted} at opset {opset}")
    least, most = signature.outputs
    if not least <= len(outputs) <= most:
        raise malformed(f"it has {len(outputs)} outputs; {node.op_type} gives {least} to {most} at opset {opset}")
    _check_attributes(node, signature, opset, malformed)
    if not domain and node.op_type in BODIED:
        _check_bodies(node, opset or 0, malformed)
    if not domain and node.op_type == "Split":
        parts = next((a.i for a in node.attribute if a.name == "num_outputs"), len(outputs))
        if parts != len(outputs):
            raise malformed(f"its attribute 'num_outputs' is {parts}, and it has {len(outputs)} outputs")


def _without_trailing(names: list[str]) -> list[str]:
    while names and not names[-1]:
        names.pop()
    return names


def _check_attributes(
    node: NodeProto, signature: Signature, opset: int | None, malformed: Callable[[str], ZooError]
) -> None:
    for attribute in node.attribute:
        kind = signature.attributes.get(attribute.name)
        if kind is None:
            raise malformed(f"{node.op_type} has no attribute {attribute.name!r} at opset {opset}")
        if attribute.type != kind:
            is_, be = KINDS.get(attribute.type, "?"), KINDS.get(kind, "?")
            raise malformed(f"its attribute {attribute.name!r} is {is_}; {node.op_type} takes {be}")
    names = {attribute.name for attribute in node.attribute}
    if absent := [name for name in signature.required if name not in names]:
        raise malformed(f"{node.op_type} wants an attribute {absent[0]!r}")


def nodes_graphs(node: NodeProto) -> Iterator[tuple[str, GraphProto]]:
    """The graphs that a node holds, with the names of their attributes."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.name, attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            for graph in attribute.graphs:
                yield attribute.name, graph


def _check_bodies(node: NodeProto, opset: int, malformed: Callable[[str], ZooError]) -> None:
    """The graphs of If, Loop, Scan and SequenceMap take and give as many values as the node hands them and gives."""
    outputs = len(node.output)
    takes = {
        "If": 0,
        "Loop": max(len(node.input), 2),
        "Scan": len(node.input) - (opset < 9),  # the lengths of sequences came first then
        "SequenceMap": len(node.input),
    }
    for name, graph in nodes_graphs(node):
        least = outputs + (node.op_type == "Loop")
        if len(graph.input) != takes[node.op_type] or len(graph.output) < least:
            raise malformed(
                f"{name!r} takes {len(graph.input)} values and gives {len(graph.output)}; "
                f"it has to take {takes[node.op_type]} and give {least}"
            )
    if node.op_type == "Scan":
        scanned = next((a.i for a in node.attribute if a.name == "num_scan_inputs"), 0)
        if not 1 <= scanned <= takes["Scan"]:
            raise malformed(f"num_scan_inputs is {scanned}, and it has {takes['Scan']} inputs to scan")
