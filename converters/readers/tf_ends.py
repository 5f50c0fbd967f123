"""Where a graph without a signature begins and ends: its placeholders, and what is computed of them and read by nobody.

A training graph holds more that nobody reads: losses, gradients, savers, summaries. These are told by their operators
and by what they are computed of.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping

from zoo.converters.readers.tf_graph import RESOURCE, STRING, VARIANT, Graph, Node, Ref, Signature
from zoo.converters.readers.tf_nodes import Fault

# operators that end in training, saving, or telling
SERVICE = (
    *("Assign", "Apply", "ResourceApply", "Save", "Restore", "MergeV2", "Assert", "NoOp", "Print", "Queue", "Iterator"),
    *("ScalarSummary", "HistogramSummary", "ImageSummary", "MergeSummary", "TensorSummary", "IsVariableInitialized"),
    *(
        "VarIsInitialized",
        "ScatterUpdate",
        "ScatterAdd",
        "ScatterSub",
        "DestroyResource",
        "FIFOQueue",
        "ReportUninitialized",
    ),
)
# what says something about a tensor rather than computes with it
ASIDES = frozenset(("Shape", "ShapeN", "Size", "Rank", "TensorArrayCloseV3"))
INNER = frozenset(("Enter", "RefEnter", "NextIteration", "Merge", "RefMerge", "Switch", "RefSwitch", "LoopCond"))


def ends(graph: Graph, table: Container[str]) -> Signature:
    """The signature of a graph that states none; outputs are nodes that can be computed by operators of the table.

    Names are as they can stand in any framework and file: `head/Sigmoid` is `head__Sigmoid`, `top:1` is `top_p1`.
    Raises Fault where there is nothing to compute.
    """
    nodes = {name: node for name, node in graph.nodes.items() if not _is_service(node)}
    reached = _reached(nodes)
    checked = [node for node in graph.nodes.values() if node.op == "Assert"]
    readers = {ref.node for name in reached for ref in nodes[name].inputs}
    readers |= {ref.node for node in checked for ref in node.inputs}
    found = [name for name in reached if _is_end(nodes, name) and (name not in readers or _is_named(nodes[name]))]
    if not found:
        raise Fault("a graph of which nothing is computed of an input", is_refusal=False)
    lacks = {name: _lacking(nodes, name, table) for name in found}
    if all(lacks.values()):
        names = sorted({op for ops in lacks.values() for op in ops})
        raise Fault(f"operators {', '.join(names[:10])}")
    outputs = sorted((name for name in found if not lacks[name]), key=lambda name: name in readers)
    needed = _before(nodes, outputs)
    inputs = {_plain(name): Ref(name) for name, node in nodes.items() if _is_input(node) and name in needed}
    tensors = [(name, i) for name in outputs for i in range(OUTPUT_COUNTS.get(nodes[name].op, 1))]
    return Signature(
        inputs, {_plain(name) + f"_p{i}" * (i > 0): Ref(name, "", i) for name, i in tensors}, is_stated=False
    )


OUTPUT_COUNTS = {"TopKV2": 2}
DEFAULT_NAME = re.compile(r"(.*?)(_\d+)?")


def _plain(name: str) -> str:
    return name.replace("/", "__")


def _is_end(nodes: Mapping[str, Node], name: str) -> bool:
    """Whether a node can be an output: not the fork of a condition, a part of a loop or an input."""
    node = nodes[name]
    if node.op in ASIDES | INNER or node.op in ("Placeholder", "PlaceholderV2"):
        return False
    before = nodes.get(node.inputs[0].node) if node.op == "Identity" and node.inputs else None
    return before is None or before.op not in ("Switch", "RefSwitch")


def _is_named(node: Node) -> bool:
    """Whether the author gave a node a name of its own, outside of any scope: TensorFlow's is the operator's."""
    if "/" in node.name or node.op in ("Identity", "Const", "VariableV2", "VarHandleOp"):
        return False
    match = DEFAULT_NAME.fullmatch(node.name)
    plain = (match.group(1) if match else node.name).lower()
    return plain not in FUNCTIONS and plain.replace("_", "") not in node.op.lower()


def _lacking(nodes: Mapping[str, Node], name: str, table: Container[str]) -> set[str]:
    """The operators that an output needs and the table hasn't."""
    needed = {nodes[n].op for n in _before(nodes, [name])}
    return {op for op in needed if op not in OWN and op not in table}


# names that Python's functions give their last node
FUNCTIONS = frozenset(
    (
        *("concat", "conv2d_transpose", "cond", "dropout", "embedding_lookup", "floordiv", "lrn", "moments", "norm"),
        *("stack", "strided_slice", "truediv", "unstack", "zeros", "ones", "while", "lookup", "batch_normalization"),
    )
)
OWN = ("Const", "Placeholder", "PlaceholderV2", "NextIteration", "RefNextIteration")  # which no table has


def _is_service(node: Node) -> bool:
    return node.op.startswith(SERVICE) or node.name.startswith(("gradients/", "save/")) or node.op.endswith("Grad")


def _is_input(node: Node) -> bool:
    if node.op not in ("Placeholder", "PlaceholderV2"):
        return False
    return not node.has("dtype") or node.type("dtype") not in (STRING, RESOURCE, VARIANT)


def _reached(nodes: Mapping[str, Node]) -> list[str]:
    """What is computed of a placeholder, in the order of the file."""
    readers: dict[str, list[str]] = {}
    for node in nodes.values():
        for ref in node.inputs:
            readers.setdefault(ref.node, []).append(node.name)
    found, pending = set(), [name for name, node in nodes.items() if _is_input(node)]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += readers.get(name, []) if nodes[name].op not in ASIDES else []
    return [name for name in nodes if name in found]


def _before(nodes: Mapping[str, Node], names: list[str]) -> set[str]:
    """What nodes need, themselves included."""
    found: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in found and name in nodes:
            found.add(name)
            pending += [ref.node for ref in nodes[name].inputs]
    return found
