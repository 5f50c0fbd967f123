"""Where attention and the linear layers around it are one layer of Keras': MultiHeadAttention.

    q, k, v = split(Linear(x, Wq, bq)), split(Linear(x2, Wk, bk)), split(Linear(x3, Wv, bv))
    join(Linear(join(Attention(q, k, v, mask)), Wo, bo))

One linear layer may give all three, whose tensors are then parts of the author's. Which nodes split and join the heads
is no matter (movement.py): [B, L, H * D] has to become [B, H, L, D], and the reverse.

Keras scales by the root of D, and its mask is of truth values. A query that attends no key gets the mean of all values
in Keras, and zeros in ONNX: a text of no tokens at all.
"""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir

from zoo.converters.fold import dims
from zoo.converters.graph import DOMAIN, is_parameter
from zoo.converters.writers.driver import shortest
from zoo.converters.writers.keras.dtypes import FLOATS, held
from zoo.converters.writers.keras.movement import FREE, MOVES, moved, numbered, sizes_for

Array = np.ndarray[Any, np.dtype[Any]]
# what an Attention may say besides; whatever else it says Keras' layer doesn't do
SILENT = {"q_num_heads", "kv_num_heads", "is_causal", "scale", "qk_matmul_output_mode"}
UNSAID = {"softcap": 0.0, "left_window_size": -1, "right_window_size": -1}
PARTS = ("query", "key", "value", "attention_output")


class Product(NamedTuple):
    """A linear layer of parameters: its input, weight, whether that stands as [outputs, inputs], bias, and nodes."""

    source: ir.Value
    weight: ir.Value
    is_transposed: bool
    bias: ir.Value | None
    nodes: tuple[ir.Node, ...]

    @property
    def width(self) -> int:
        """The number of its outputs."""
        return int((self.weight.shape or ())[0 if self.is_transposed else 1])  # type: ignore[arg-type]  # of a parameter


class Projection(NamedTuple):
    """The outputs of a linear layer from `start` on, as many as all heads take, and the nodes around it."""

    product: Product
    start: int
    nodes: tuple[ir.Node, ...]
    source: ir.Value  # what the layer is given, [B, L, K]; of the last one what comes of it


class Heads(NamedTuple):
    """The projections of a multi-head attention by Keras' names, the number of heads and how wide they are."""

    parts: dict[str, Projection]
    number: int
    size: int
    value_size: int
    absorbed: frozenset[ir.Node]  # all nodes but the Attention itself


def multi_head(graph: ir.Graph, held_apart: Container[str]) -> dict[ir.Node, Heads]:
    """Every Attention of a graph that is Keras' layer, with what is around it. No layer has tensors held apart."""
    found = {node: _heads(node) for node in graph if node.op_type == "Attention" and not node.domain}
    return {node: heads for node, heads in found.items() if heads is not None and _is_owned(heads, held_apart)}


def _is_owned(heads: Heads, held_apart: Container[str]) -> bool:
    """Whether the layer can have the tensors: of one floating dtype, and trained together."""
    products = [part.product for part in heads.parts.values()]
    values = [v for p in products for v in (p.weight, p.bias) if v is not None]
    dtypes, kinds = {v.dtype for v in values}, {str(v.metadata_props) for v in values}
    dtype = next(iter(dtypes))
    is_float = len(dtypes) == 1 and dtype is not None and held(dtype) in FLOATS
    return is_float and len(kinds) == 1 and not any(v.name in held_apart for v in values)


def _heads(node: ir.Node) -> Heads | None:
    if not _says_little(node):
        return None
    ways = [_inner(node, i) for i in range(3)]
    sizes = [_size(node, i) for i in range(3)]
    if any(way is None for way in ways) or any(size is None for size in sizes):
        return None
    (number, size), key, (_, value_size) = (s for s in sizes if s is not None)
    outer = _outer(node, number, value_size)
    if outer is None or key != (number, size) or sizes[2] != (number, value_size):
        return None
    parts = dict(zip(PARTS, [*(way for way in ways if way is not None), outer], strict=True))
    absorbed = frozenset(n for part in parts.values() for n in part.nodes)
    has_bias = {part.product.bias is not None for part in parts.values()}
    is_whole = _is_whole(absorbed, node, outer.source) and _is_all(parts, number * size, number * value_size)
    if len(has_bias) != 1 or not is_whole or not _is_scaled(node, size) or not _is_masked(node):
        return None
    return Heads(parts, number, size, value_size, absorbed)


def _says_little(node: ir.Node) -> bool:
    """Whether the node asks for nothing that Keras' layer has not."""
    if any(v is None for v in node.inputs[:3]) or any(v is not None for v in node.inputs[4:]):
        return False
    if any(v.uses() or v.is_graph_output() for v in node.outputs[1:]) or node.outputs[0].is_graph_output():
        return False
    for name, attr in node.attributes.items():
        if name == "softmax_precision" and attr.as_int() == ir.DataType.FLOAT.value:
            continue
        if name not in SILENT and (name not in UNSAID or attr.value != UNSAID[name]):
            return False
    has_mask = len(node.inputs) > 3 and node.inputs[3] is not None
    return not (has_mask and node.attributes.get_int("is_causal", 0) != 0)


def _is_scaled(node: ir.Node, size: int) -> bool:
    """Whether the scale is Keras', one over the root of a head's size."""
    scale = node.attributes.get_float("scale", 0.0)
    return "scale" not in node.attributes or abs(shortest(scale) * math.sqrt(size) - 1) < 1e-6


def _is_masked(node: ir.Node) -> bool:
    """Whether the mask, if there is one, is of truth values for every key, [B, H, L, S] or [L, S]."""
    mask, k = node.inputs[3] if len(node.inputs) > 3 else None, node.inputs[1]
    if mask is None or k is None:
        return True
    sizes, keys = dims(mask), dims(k)
    if mask.dtype != ir.DataType.BOOL or mask.is_initializer() or sizes is None or keys is None:
        return False
    return len(sizes) in (2, 4) and sizes[-1] == keys[-2]


def _is_whole(absorbed: frozenset[ir.Node], node: ir.Node, result: ir.Value) -> bool:
    """Whether nobody but the nodes of a layer reads what is inside it."""
    inside = [v for n in (*absorbed, node) for v in n.outputs if v is not result]
    return all(
        not v.is_graph_output() and all(use.node in absorbed or use.node is node for use in v.uses()) for v in inside
    )


def _is_all(parts: dict[str, Projection], width: int, value_width: int) -> bool:
    """Whether each element of the linear layers' tensors is in one projection."""
    taken: dict[ir.Node, list[tuple[int, int]]] = {}
    for name in PARTS[:3]:
        wide = value_width if name == "value" else width
        taken.setdefault(parts[name].product.nodes[0], []).append((parts[name].start, parts[name].start + wide))
    for name in PARTS[:3]:
        ranges = sorted(taken[parts[name].product.nodes[0]])
        bounds = [0, *(end for _, end in ranges)]
        if [start for start, _ in ranges] != bounds[:-1] or bounds[-1] != parts[name].product.width:
            return False
    return True


def _size(node: ir.Node, i: int) -> tuple[int, int] | None:
    """How many heads an Attention's input has, and how wide they are."""
    value = node.inputs[i]
    sizes = dims(value) if value is not None else None
    if sizes is None or len(sizes) not in (3, 4):
        return None
    said = node.attributes.get_int("kv_num_heads" if i else "q_num_heads", 0)
    number, width = sizes[1] if len(sizes) == 4 else said, sizes[-1]
    if not isinstance(number, int) or not isinstance(width, int) or number < 1:
        return None
    return number, width if len(sizes) == 4 else width // number


def _inner(node: ir.Node, i: int) -> Projection | None:
    """The projection that gives the i-th input of an Attention."""
    chain: list[tuple[ir.Node, int]] = []
    value = node.inputs[i]
    while value is not None and (maker := value.producer()) is not None and _moves(maker):
        chain.append((maker, list(maker.outputs).index(value)))
        value = maker.inputs[0]
    product = None if value is None else _made_by(value)
    size = _size(node, i)
    if product is None or size is None:
        return None
    source = product.source
    for before in ([], _turns(source)):
        given = before[0].inputs[0] if before else source
        start = None if given is None else _start(dims(given), product.width, before, chain, size)
        if start is not None and given is not None:
            return Projection(product, start, (*(n for n, _ in chain), *product.nodes, *before), given)
    return None


def _turns(value: ir.Value) -> list[ir.Node]:
    """The Transpose of what a linear layer is given, if it leaves the last axis: the layer may stand before it."""
    node = value.producer()
    if node is None or node.op_type != "Transpose" or node.domain:
        return []
    return [node] if list(node.attributes.get_ints("perm", (0,)))[-1] == 2 else []


def _start(
    shape: tuple[int | str, ...] | None,
    width: int,
    before: list[ir.Node],
    chain: list[tuple[ir.Node, int]],
    size: tuple[int, int],
) -> int | None:
    """Of which output on heads are made that stand as [B, H, L, D] or [B, L, H * D]; None where they stand otherwise.

    `shape` [B, L, K] is that of what the layer is given, `before` and `chain` (the last first) what moves elements.
    """
    if shape is None or len(shape) != 3:
        return None
    free = dict(zip(dict.fromkeys(d for d in shape if isinstance(d, str)), FREE, strict=False))
    start = numbered((*shape[:2], width), free)
    made = start
    for node in before:
        made = _first(moved(node, made, free)) if made is not None else None
    for node, at in reversed(chain):
        outputs = moved(node, made, free) if made is not None else None
        made = outputs[at] if outputs is not None else None
    if start is None or made is None:
        return None
    first, (number, wide) = int(made.flat[0]), size
    heads = start[:, :, first : first + number * wide]
    if heads.shape[2] != number * wide:
        return None
    if made.ndim == 4:
        heads = heads.reshape(*heads.shape[:2], number, wide).transpose(0, 2, 1, 3)
    return first if np.array_equal(made, heads) else None


def _outer(node: ir.Node, number: int, size: int) -> Projection | None:
    """The projection of what an Attention gives, and what brings it to [B, L, outputs]."""
    value, nodes = node.outputs[0], list[ir.Node]()
    sizes = dims(value)
    free = sizes_for(value)
    made = None if sizes is None or free is None else numbered(sizes, free)
    if made is None or free is None:
        return None
    rows = made.transpose(0, 2, 1, 3).reshape(-1, number * size) if made.ndim == 4 else made.reshape(-1, number * size)
    batch, length = (made.shape[0], made.shape[2 if made.ndim == 4 else 1])
    while (reader := _reader(value)) is not None and _moves(reader) and reader.inputs[0] is value:
        outputs = moved(reader, made, free)
        if outputs is None:
            return None
        made, value, nodes = outputs[0], reader.outputs[0], [*nodes, reader]
    product = _read_by(value)
    if product is None or made.shape[-1] != number * size:
        return None
    order = np.argsort(rows[:, 0], kind="stable")
    at = order[np.searchsorted(rows[order, 0], made.reshape(-1, number * size)[:, 0]).clip(0, len(order) - 1)]
    if not np.array_equal(rows[at], made.reshape(-1, number * size)):
        return None
    whole = numbered((batch, length, product.width), {})
    if whole is None:
        return None
    made = whole.reshape(-1, product.width)[at].reshape(*made.shape[:-1], product.width)
    value, nodes = product.nodes[-1].outputs[0], [*nodes, *product.nodes]
    while not np.array_equal(made, whole):
        reader = _reader(value)
        outputs = moved(reader, made, free) if reader is not None and reader.inputs[0] is value else None
        if reader is None or outputs is None or len(outputs) != 1:
            return None
        made, value, nodes = outputs[0], reader.outputs[0], [*nodes, reader]
    return Projection(product, 0, tuple(nodes), value)


def _first(arrays: list[Array] | None) -> Array | None:
    return arrays[0] if arrays else None


def _moves(node: ir.Node) -> bool:
    """Whether a node moves elements, and it is not an author's table that is looked up."""
    return not node.domain and node.op_type in MOVES and node.inputs[0] is not None and not is_parameter(node.inputs[0])


def _made_by(value: ir.Value) -> Product | None:
    """The linear layer that gives a value [.., .., N]."""
    node = value.producer()
    if node is None:
        return None
    if node.op_type == "Add" and not node.domain:
        for product, bias in (node.inputs, node.inputs[::-1]):
            if _is_vector(bias) and product is not None:
                made = _made_by(product)
                return made._replace(bias=bias, nodes=(*made.nodes, node)) if made and made.bias is None else None
    return _product(node)


def _read_by(value: ir.Value) -> Product | None:
    """The linear layer that is all that reads a value."""
    node = _reader(value)
    made = _product(node) if node is not None and node.inputs[0] is value else None
    add = _reader(node.outputs[0]) if node is not None else None
    if made is None or made.bias is not None or add is None or add.op_type != "Add" or add.domain:
        return made
    bias = next((v for v in add.inputs if _is_vector(v)), None)
    return made if bias is None else made._replace(bias=bias, nodes=(*made.nodes, add))


def _product(node: ir.Node) -> Product | None:
    """The linear layer that a node is, of parameters alone."""
    x, weight = (*node.inputs, None, None)[:2]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if x is None or weight is None or not is_parameter(weight) or len(weight.shape or ()) != 2:
        return None
    if bias is not None and not _is_vector(bias):
        return None
    if node.domain == DOMAIN and node.op_type in ("Linear", "LinearNoBias"):
        return Product(x, weight, True, bias, (node,))
    if node.domain or node.op_type not in ("MatMul", "Gemm"):
        return None
    said = {name: attr.value for name, attr in node.attributes.items()}
    is_transposed = bool(said.pop("transB", 0))
    is_plain = said.pop("alpha", 1.0) == said.pop("beta", 1.0) == 1.0 and not said.pop("transA", 0)
    return Product(x, weight, is_transposed, bias, (node,)) if is_plain else None


def _is_vector(value: ir.Value | None) -> bool:
    return value is not None and is_parameter(value) and len(value.shape or ()) == 1


def _reader(value: ir.Value) -> ir.Node | None:
    """The node that is all that reads a value."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None
