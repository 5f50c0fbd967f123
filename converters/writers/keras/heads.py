"""Where attention and the linear layers around it are one layer of Keras': MultiHeadAttention.

    q, k, v = split(Linear(x, Wq, bq)), split(Linear(x2, Wk, bk)), split(Linear(x3, Wv, bv))
    Linear(join(Attention(q, k, v, mask)), Wo, bo)

`split` is Reshape [B, L, H * D] -> [B, L, H, D] and Transpose -> [B, H, L, D], `join` the reverse. Keras scales by the
root of D, and its mask is of truth values. A query that attends no key gets the mean of all values in Keras, and zeros
in ONNX: a text of no tokens at all.
"""

from __future__ import annotations

import math
from collections.abc import Container
from typing import NamedTuple

import onnx_ir as ir

from zoo.converters.fold import dims
from zoo.converters.graph import DOMAIN, is_parameter
from zoo.converters.writers.driver import shortest
from zoo.converters.writers.keras.dtypes import FLOATS, held

SWAPPED = (0, 2, 1, 3)
# what an Attention may say besides; whatever else it says Keras' layer doesn't do
SILENT = {"q_num_heads", "kv_num_heads", "is_causal", "scale", "qk_matmul_output_mode"}
UNSAID = {"softcap": 0.0, "left_window_size": -1, "right_window_size": -1}


class Projection(NamedTuple):
    """A linear layer: its weight, whether that stands as [outputs, inputs], its bias, and the nodes that it is."""

    weight: ir.Value
    is_transposed: bool
    bias: ir.Value | None
    nodes: tuple[ir.Node, ...]


class Heads(NamedTuple):
    """The projections of a multi-head attention by Keras' names, the number of heads and how wide they are."""

    parts: dict[str, Projection]
    number: int
    size: int
    value_size: int
    absorbed: tuple[ir.Node, ...]  # all nodes but the Attention itself


def multi_head(graph: ir.Graph, held_apart: Container[str]) -> dict[ir.Node, Heads]:
    """Every Attention of a graph that is Keras' layer, with what is around it. No layer has tensors held apart."""
    found = {node: _heads(node) for node in graph if node.op_type == "Attention" and not node.domain}
    return {node: heads for node, heads in found.items() if heads is not None and _is_owned(heads, held_apart)}


def _is_owned(heads: Heads, held_apart: Container[str]) -> bool:
    """Whether the layer can have the tensors: of one floating dtype, and trained together."""
    values = [v for part in heads.parts.values() for v in (part.weight, part.bias) if v is not None]
    dtypes = {v.dtype for v in values}
    kinds = {str(v.metadata_props) for v in values}
    dtype = next(iter(dtypes))
    is_float = len(dtypes) == 1 and dtype is not None and held(dtype) in FLOATS
    return is_float and len(kinds) == 1 and not any(v.name in held_apart for v in values)


def _heads(node: ir.Node) -> Heads | None:
    q, k, v = node.inputs[:3]
    rests = [v for v in (*node.inputs[4:], *node.outputs[1:]) if v is not None and (v in node.inputs or v.uses())]
    if q is None or k is None or v is None or rests or not _says_little(node):
        return None
    split = [_split(node, x, name) for x, name in ((q, "q_num_heads"), (k, "kv_num_heads"), (v, "kv_num_heads"))]
    joined = _joined(node, node.outputs[0])
    if joined is None or any(s is None for s in split):
        return None
    (flat, join), found = joined, [s for s in split if s is not None]
    inner = [_made_by(s.flat) for s in found]
    outer = _read_by(flat)
    if outer is None or any(p is None for p in inner) or len({s.number for s in found}) != 1:
        return None
    projections = dict(
        zip(("query", "key", "value", "attention_output"), [*(p for p in inner if p is not None), outer], strict=True)
    )
    (count, size), (_, key_size), (_, value_size) = ((s.number, s.size) for s in found)
    has_bias = {part.bias is not None for part in projections.values()}
    if size != key_size or len(has_bias) != 1 or not _is_scaled(node, size) or not _is_masked(node, k):
        return None
    nodes = [*join, *(n for s in found for n in s.nodes), *(n for p in projections.values() for n in p.nodes)]
    return Heads(projections, count, size, value_size, tuple(nodes))


def _says_little(node: ir.Node) -> bool:
    """Whether no attribute asks for what Keras' layer has not."""
    for name, attr in node.attributes.items():
        if name == "softmax_precision" and attr.as_int() == ir.DataType.FLOAT.value:
            continue
        if name not in SILENT and (name not in UNSAID or attr.value != UNSAID[name]):
            return False
    is_causal = node.attributes.get_int("is_causal", 0)
    return not (is_causal and len(node.inputs) > 3 and node.inputs[3] is not None)


def _is_scaled(node: ir.Node, size: int) -> bool:
    """Whether the scale is Keras', one over the root of a head's size."""
    scale = node.attributes.get_float("scale", 0.0)
    return "scale" not in node.attributes or abs(shortest(scale) * math.sqrt(size) - 1) < 1e-6


def _is_masked(node: ir.Node, k: ir.Value) -> bool:
    """Whether the mask, if there is one, is of truth values for every key, [B, H, L, S] or [L, S]."""
    mask = node.inputs[3] if len(node.inputs) > 3 else None
    if mask is None:
        return True
    sizes, keys = dims(mask), dims(k)
    if mask.dtype != ir.DataType.BOOL or mask.is_initializer() or sizes is None or keys is None:
        return False
    return len(sizes) in (2, 4) and sizes[-1] == keys[-2 if len(keys) == 4 else 1]


class Split(NamedTuple):
    """Heads [B, H, L, D] that were split of a value [B, L, H * D], and the nodes that did it."""

    flat: ir.Value
    number: int
    size: int
    nodes: tuple[ir.Node, ...]


def _split(node: ir.Node, x: ir.Value, attribute: str) -> Split | None:
    """What the heads of an Attention's input were split of."""
    sizes = dims(x)
    if sizes is None or not _has_one_reader(x):
        return None
    if len(sizes) == 3:
        count = node.attributes.get_int(attribute, 0)
        width = sizes[-1]
        return Split(x, count, width // count, ()) if count and isinstance(width, int) else None
    swap = _producer(x, "Transpose")
    if swap is None or tuple(swap.attributes.get_ints("perm", ())) != SWAPPED:
        return None
    reshape = _producer(swap.inputs[0], "Reshape")
    if reshape is None or reshape.inputs[0] is None or not _has_one_reader(reshape.inputs[0]):
        return None
    flat, parted = dims(reshape.inputs[0]), dims(reshape.outputs[0])
    if flat is None or parted is None or len(flat) != 3 or len(parted) != 4 or flat[:2] != parted[:2]:
        return None
    heads, width = parted[2:]
    if not isinstance(heads, int) or not isinstance(width, int) or not isinstance(flat[2], int):
        return None
    return Split(reshape.inputs[0], heads, width, (swap, reshape))


def _joined(node: ir.Node, y: ir.Value) -> tuple[ir.Value, tuple[ir.Node, ...]] | None:
    """What the heads that an Attention gives are joined to, and the nodes that do it."""
    sizes = dims(y)
    if sizes is None:
        return None
    if len(sizes) == 3:
        return y, ()
    swap = _reader(y, "Transpose")
    if swap is None or tuple(swap.attributes.get_ints("perm", ())) != SWAPPED:
        return None
    reshape = _reader(swap.outputs[0], "Reshape")
    if reshape is None:
        return None
    parted, flat = dims(swap.outputs[0]), dims(reshape.outputs[0])
    is_flat = parted is not None and flat is not None and len(flat) == 3 and flat[:2] == parted[:2]
    return (reshape.outputs[0], (swap, reshape)) if is_flat else None


def _made_by(value: ir.Value) -> Projection | None:
    """The linear layer that gives a value."""
    node = value.producer()
    if node is None:
        return None
    if node.op_type == "Add" and not node.domain:
        for product, bias in (node.inputs, node.inputs[::-1]):
            if _is_vector(bias) and product is not None and _has_one_reader(product):
                made = _made_by(product)
                return made._replace(bias=bias, nodes=(*made.nodes, node)) if made and made.bias is None else None
    return _product(node)


def _read_by(value: ir.Value) -> Projection | None:
    """The linear layer that is all that reads a value."""
    node = _reader(value)
    made = _product(node) if node is not None and node.inputs[0] is value else None
    add = _reader(node.outputs[0], "Add") if node is not None else None
    if made is None or made.bias is not None or add is None:
        return made
    bias = next((v for v in add.inputs if _is_vector(v)), None)
    return made if bias is None else made._replace(bias=bias, nodes=(*made.nodes, add))


def _product(node: ir.Node) -> Projection | None:
    """The linear layer that a node is, of parameters alone."""
    is_linear = node.domain == DOMAIN and node.op_type in ("Linear", "LinearNoBias")
    if not is_linear and (node.domain or node.op_type != "MatMul"):
        return None
    x, weight, *more = node.inputs
    bias = more[0] if more else None
    if x is None or len(dims(x) or ()) != 3 or weight is None:
        return None
    if not is_parameter(weight) or len(weight.shape or ()) != 2:
        return None
    return Projection(weight, is_linear, bias, (node,)) if bias is None or _is_vector(bias) else None


def _is_vector(value: ir.Value | None) -> bool:
    return value is not None and is_parameter(value) and len(value.shape or ()) == 1


def _has_one_reader(value: ir.Value) -> bool:
    return len(list(value.uses())) == 1 and not value.is_graph_output()


def _producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """The node of an operator that gives a value, if one node alone reads that."""
    node = value.producer() if value is not None and _has_one_reader(value) else None
    return node if node is not None and node.op_type == op_type and not node.domain else None


def _reader(value: ir.Value, op_type: str = "") -> ir.Node | None:
    """The node that is all that reads a value, as its first input where it isn't an Add."""
    if not _has_one_reader(value):
        return None
    node = next(iter(value.uses())).node
    return node if op_type in ("", node.op_type) else None
