"""Another number of classes: a new head, or none.

The head is the last matrix product or convolution with weights of its own that reaches an output through nodes which
make no scores themselves (a softmax, a pool, a Reshape). Where the architecture names it (graph.HEAD) it must be that
one. Several heads of one width, as DeiT has for its two tokens, are one.

A new head's values are those of a new torch.nn.Linear or Conv2d: uniform within 1 / sqrt(fan in), for the bias too,
from numpy's default generator, seeded by SEED and the tensor's name. So they are the same in every framework, on every
day, and whatever else is changed.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from zoo.converters.graph import HEAD, MODULES, PATH, module_path
from zoo.converters.surgery import rules
from zoo.converters.surgery.axes import Pair
from zoo.converters.surgery.spread import Misfit, Spread
from zoo.converters.surgery.trim import living, trim
from zoo.converters.surgery.weights import Array, Read, read, replace, resized, sizes
from zoo.errors import UsageError

SEED = 0
PRODUCTS = ("Gemm", "MatMul", "Conv", "Linear", "LinearNoBias")
SCORES = ("Softmax", "LogSoftmax", "Sigmoid", "HardSigmoid")  # what makes probabilities of scores
PASSES = (  # what may stand behind a head: its first input passes through
    *(
        "Identity",
        "Cast",
        "Dropout",
        "Relu",
        "Clip",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Gather",
    ),
    *("GlobalAveragePool", "GlobalMaxPool", "AveragePool", "MaxPool", "ReduceMean", "ReduceMax", "Resize", "Upsample"),
    *("Gather", "Slice", "Pad"),
)
SUMS = ("Add", "Mul", "Div", "Sub", "Mean", "Sum")
IDENTITY = "torch.nn.modules.linear.Identity"


class Head(NamedTuple):
    """A node that makes the scores: X [..., K] -> Y [..., N], or a convolution from K to N channels."""

    node: ir.Node
    out: ir.Value  # behind the bias
    weight: Read
    axis: int  # of the weight, whose size is the number of classes
    bias: Read | None

    @property
    def classes(self) -> int:
        """The number of classes."""
        return sizes(self.weight.weight)[self.axis]

    @property
    def path(self) -> str:
        """The author's module."""
        return module_path(self.node) or (self.weight.weight.name or "").rpartition(".")[0]

    def is_in(self, path: str) -> bool:
        """Whether it is the module of that path, or in it."""
        return f"{self.path}.".startswith(f"{path}.") or (self.weight.weight.name or "").startswith(f"{path}.")


def change_classes(model: ir.Model, count: int, *, classes: int | None = None) -> list[str]:
    """Give a model a head for `count` classes, in place; 0 takes the head away and leaves its input: the features.

    `classes` is how many the published model tells apart, where somebody knows. A model that has `count` classes
    already stays as published. Returns the names of the new heads' weights. Raises UsageError where there is no head.
    """
    spread = Spread(model)
    heads = find(spread, classes)
    if count == heads[0].classes:
        return []
    _check_unshared(heads)
    return _remove(spread, heads) if count == 0 else _renew(spread, heads, count)


def find(spread: Spread, classes: int | None = None) -> list[Head]:
    """The heads of a model, all of one width. Raises UsageError that says what its outputs are made by instead."""
    graph, named = spread.graph, spread.model.metadata_props.get(HEAD)
    found: dict[ir.Node, Head] = {}
    instead: list[str] = []
    for output in graph.outputs:
        _search(spread, output, found, instead, set())
    heads = list(found.values())
    if named is not None and not any(head.is_in(named) for head in heads):
        heads = [h for node in graph if (h := _head_of(spread, node)) is not None and h.is_in(named)]
    widths = {head.classes for head in heads}
    if named is not None and len(widths) > 1:
        widths = {head.classes for head in heads if head.is_in(named)}
    if classes is not None and len(widths) > 1:
        widths &= {classes}
    heads = [head for head in heads if head.classes in widths]
    if not heads:
        made = f": {'; '.join(dict.fromkeys(instead))}" if instead else ""
        raise UsageError(
            f"num_classes=: {graph.name!r} has no head that tells classes apart{made}",
            hint="Leave num_classes= out; outputs= gives its features, on which a head can be trained.",
        )
    if len(widths) > 1:
        listed = ", ".join(f"{head.path!r} ({head.classes})" for head in heads)
        raise UsageError(f"num_classes=: {graph.name!r} has heads of several widths: {listed}")
    if classes is not None and widths != {classes}:
        raise UsageError(
            f"num_classes=: the head {heads[0].path!r} of {graph.name!r} has {heads[0].classes} classes, "
            f"and its entry names {classes}"
        )
    return heads


def _search(
    spread: Spread, value: ir.Value, found: dict[ir.Node, Head], instead: list[str], seen: set[ir.Value]
) -> None:
    """Go back from an output to the heads that make it; `instead` gets what else makes it."""
    if value in seen:
        return
    seen.add(value)
    node = value.producer()
    if node is None:
        instead.append(f"{value.name!r} is an input")
        return
    head = _head_of(spread, node)
    if head is not None:
        found[head.node] = head
    elif not node.domain and node.op_type in (*PASSES, *SCORES) and node.inputs[0] is not None:
        _search(spread, node.inputs[0], found, instead, seen)
    elif not node.domain and node.op_type in SUMS and (operands := _operands(spread, node)):
        for operand in operands:
            _search(spread, operand, found, instead, seen)
    else:
        path = module_path(node)
        instead.append(f"{node.op_type}{f' in {path!r}' if path else ''} makes {_named(spread, value)}")


def _named(spread: Spread, value: ir.Value) -> str:
    """A value as an error names it: the output that it is, or becomes."""
    return repr(value.name) if value in spread.graph.outputs else "an output"


def _operands(spread: Spread, node: ir.Node) -> list[ir.Value]:
    """What a sum or a product is made of, without scalars that scale it; empty where a weight takes part."""
    operands = [v for v in node.inputs if v is not None]
    computed = [v for v in operands if not _is_scalar(v)]
    return [] if any(read(v, spread.before, spread.is_marked) for v in computed) else computed


def _is_scalar(value: ir.Value) -> bool:
    return value.const_value is not None and value.const_value.size == 1


def _head_of(spread: Spread, node: ir.Node) -> Head | None:
    """The node as a head: a product with a weight, or the sum of one and its bias. Raises Misfit if it is quantised."""
    if node.op_type == "Add" and not node.domain:
        for operand, other in (node.inputs, node.inputs[::-1]):
            product = operand.producer() if operand is not None else None
            if product is None or other is None or product.op_type not in ("MatMul", "Conv", "LinearNoBias"):
                continue
            head, bias = _head_of(spread, product), read(other, spread.before, spread.is_marked)
            if head is not None and head.bias is None and bias is not None and len(product.outputs[0].uses()) == 1:
                return head._replace(out=node.outputs[0], bias=bias) if _is_vector(bias, head.classes) else None
        return None
    if node.op_type not in PRODUCTS or node.domain not in ("", "zoo") or node.inputs[1] is None:
        return None
    if node.op_type == "Conv" and node.attributes.get_int("group", 1) != 1:
        return None
    operand = node.inputs[1]
    weight = read(operand, spread.before, spread.is_marked)
    if weight is None:
        if (maker := operand.producer()) is not None and maker.op_type == "DequantizeLinear":
            raise spread.misfit(node, "it would be the head, and its weight is quantised")
        return None
    by_rows = node.op_type in ("Conv", "Linear", "LinearNoBias") or bool(node.attributes.get_int("transB", 0))
    axis = weight.axes[0 if by_rows else len(weight.axes) - 1]
    third = node.inputs[2] if len(node.inputs) > 2 else None
    bias = read(third, spread.before, spread.is_marked) if third is not None else None
    if axis is None or len(weight.axes) < 2 or (third is not None and bias is None and not _is_scalar(third)):
        return None
    return Head(node, node.outputs[0], weight, axis, bias)


def _is_vector(bias: Read, classes: int) -> bool:
    return [d for d in sizes(bias.weight) if d != 1] == [classes] or (classes == 1 and set(sizes(bias.weight)) == {1})


def _check_unshared(heads: Sequence[Head]) -> None:
    """Raise UsageError where something else reads a head's weight: a language model's embedding is its head, too."""
    ours = {node for head in heads for r in (head.weight, head.bias) if r is not None for node in r.nodes}
    ours |= {head.node for head in heads} | {p for head in heads if (p := head.out.producer()) is not None}
    for head in heads:
        for one in (head.weight, head.bias):
            other = next((use.node for use in one.weight.uses() if use.node not in ours), None) if one else None
            if one is not None and other is not None:
                raise UsageError(
                    f"num_classes=: {one.weight.name!r}, the weight of the head {head.path!r}, is read by "
                    f"{other.op_type} in {module_path(other)!r} too, and would change there as well"
                )


def _renew(spread: Spread, heads: Sequence[Head], count: int) -> list[str]:
    changed: dict[ir.Value, tuple[int, ...]] = {}
    for head in heads:
        changed[head.weight.weight] = resized(sizes(head.weight.weight), {head.axis: count})
        if head.bias is not None and head.bias.weight not in changed:
            shape = sizes(head.bias.weight)
            place = next((i for i, d in enumerate(shape) if d != 1), len(shape) - 1)
            changed[head.bias.weight] = resized(shape, {place: count})
    spread.run(changed, rules.apply, _never)
    for head in heads:
        shape = sizes(head.weight.weight) if head.weight.weight not in changed else changed[head.weight.weight]
        fan_in = math.prod(shape) // count
        for one, axis in ((head.weight, head.axis), (head.bias, None)):
            if one is not None and one.weight in changed:
                _draw(one.weight, changed.pop(one.weight), axis, fan_in)
    return [head.weight.weight.name or "" for head in heads]


def _draw(weight: ir.Value, shape: tuple[int, ...], axis: int | None, fan_in: int) -> None:
    """New values, as torch.nn.Linear draws them: rows first, whatever the layout."""
    name = weight.name or ""

    def made(published: Array) -> Array:
        generator = np.random.default_rng([SEED, zlib.crc32(name.encode())])
        rows = (shape[axis], *(d for i, d in enumerate(shape) if i != axis)) if axis is not None else shape
        drawn = generator.uniform(-1, 1, rows) / math.sqrt(fan_in)
        return np.moveaxis(drawn, 0, axis or 0).astype(published.dtype)

    replace(weight, shape, made)


def _never(spread: Spread, node: ir.Node, i: int, axes: Mapping[int, Pair]) -> bool:
    return False


def _remove(spread: Spread, heads: Sequence[Head]) -> list[str]:
    """Let the head's input stand where its scores stood; what makes probabilities of them goes too."""
    model, graph = spread.model, spread.graph
    was = living(model)
    given = {}
    for head in heads:
        features = head.node.inputs[0]
        shape = sizes(head.weight.weight)
        if head.node.op_type == "Conv" and math.prod(shape[2:]) != 1:
            raise spread.misfit(
                head.node, f"its window is {list(shape[2:])}, so that what it reads are not its features"
            )
        before = spread.before.get(features) if features is not None else None
        if features is None or before is None:
            raise spread.misfit(head.node, "the shape of what it reads is not known")
        given[head.out] = before
    spread.run(given, rules.apply, _never)
    for head in heads:
        last = head.out.producer()
        assert last is not None
        _pass_through(graph, last, head.node.inputs[0], head.path)
    for node in _scoring(graph, heads):
        _pass_through(graph, node, node.inputs[0], module_path(node))
    _make_identity(model, {(head.weight.weight.name or "").rpartition(".")[0] or head.path for head in heads})
    trim(model, was)
    model.metadata_props.pop(HEAD, None)
    return []


def _scoring(graph: ir.Graph, heads: Sequence[Head]) -> list[ir.Node]:
    """What makes probabilities between the heads and the outputs."""
    paths = {head.path for head in heads}
    reached = {
        out for node in graph if node.op_type == "Identity" and module_path(node) in paths for out in node.outputs
    }
    found = []
    for node in graph:
        if any(v in reached for v in node.inputs):
            reached.update(node.outputs)
            if node.op_type in SCORES and not node.domain:
                found.append(node)
    return found


def _pass_through(graph: ir.Graph, node: ir.Node, value: ir.Value | None, path: str) -> None:
    """An Identity of `value` in the place of `node`, under the names that node and output had."""
    old = node.outputs[0]
    new = ir.Node("", "Identity", [value], num_outputs=1, name=node.name, metadata_props={PATH: path} if path else {})
    new.outputs[0].shape, new.outputs[0].type = old.shape, old.type
    graph.insert_before(node, new)
    ir.convenience.replace_all_uses_with(old, new.outputs[0], replace_graph_outputs=True)
    new.outputs[0].name, old.name = old.name, None
    graph.remove(node, safe=True)


def _make_identity(model: ir.Model, paths: set[str]) -> None:
    """In the author's tree an Identity stands where a head stood, as timm puts one there."""
    tree = json.loads(model.metadata_props.get(MODULES, "{}"))
    if tree:
        tree |= {path: IDENTITY for path in paths if path in tree}
        model.metadata_props[MODULES] = json.dumps(tree, separators=(",", ":"))


__all__ = ["Head", "Misfit", "change_classes", "find"]
