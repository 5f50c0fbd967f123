"""Operators of ONNX's own whose body in the standard can't be used as it stands."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from zoo.converters.expansions import Builder, Unknown, dtype, expands, loop


@expands("SequenceMap", "")
def sequence_map(op: Builder, node: ir.Node) -> list[ir.Value]:
    """A Loop over the sequences, whose body is the author's: the standard's body has the graph as a parameter."""
    if any(v is None or v.type is None for v in node.inputs):
        raise Unknown
    author = node.attributes["body"].as_graph()
    empty = [op.SequenceEmpty(dtype=dtype(out).value) for out in author.outputs]
    for sequence, out in zip(empty, author.outputs, strict=True):
        sequence.type = ir.SequenceType(ir.TensorType(dtype(out)))

    def step(inner: Builder, i: ir.Value, made: Sequence[ir.Value]) -> list[ir.Value | None]:
        for formal, given in zip(author.inputs, node.inputs, strict=True):
            is_sequence = given is not None and isinstance(given.type, ir.SequenceType)
            actual = inner.SequenceAt(given, i) if is_sequence else inner.Identity(given)
            ir.convenience.replace_all_uses_with(formal, actual, replace_graph_outputs=True)
        outputs, nodes = list(author.outputs), list(author)
        author.outputs.clear()
        author.remove(nodes)
        inner.nodes.extend(nodes)
        return [inner.SequenceInsert(sequence, out) for sequence, out in zip(made, outputs, strict=True)]

    return loop(op, op.SequenceLength(node.inputs[0]), empty, step)
