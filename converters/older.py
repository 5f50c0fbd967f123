"""A node in the words of an older opset, or the reason why it has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.defs import OpSchema

from zoo.converters.expand import Body
from zoo.converters.expansions import Builder
from zoo.converters.graph import constant
from zoo.errors import HubError

# ---- operators that mean another thing before a version, under the same signature


def _last_axis(node: ir.Node) -> bool:
    """Softmax on the last axis is the same: say which it is, since the default was another."""
    x = node.inputs[0]
    if x is None or x.shape is None:
        return False
    rank, axis = len(x.shape), node.attributes.get_int("axis", -1)
    node.attributes["axis"] = ir.AttrInt64("axis", rank - 1)
    return axis in (-1, rank - 1)


def _of_pictures(node: ir.Node) -> bool:
    """A GridSample of rank 4: its modes had other words."""
    x, mode = node.inputs[0], node.attributes.get_string("mode", "linear")
    older = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    node.attributes["mode"] = ir.AttrString("mode", older)
    return x is not None and x.shape is not None and len(x.shape) == 4


def _whole_pixels(node: ir.Node) -> bool:
    """A RoiAlign in the older version's coordinates, which it has no attribute for."""
    mode = node.attributes.pop("coordinate_transformation_mode", None)  # type: ignore[arg-type]  # onnx_ir's own type
    return mode is not None and mode.as_string() == "output_half_pixel"


def _alike(node: ir.Node) -> bool:
    """Inputs of one shape need no broadcasting."""
    shapes = {None if v is None or v.shape is None else tuple(v.shape) for v in node.inputs}
    return len(node.inputs) == 1 or (len(shapes) == 1 and None not in shapes)


def _by_truncation(node: ir.Node) -> bool:
    """A Mod of integers, or by truncation."""
    x = node.inputs[0]
    return bool(node.attributes.get_int("fmod", 0)) or (x is not None and x.dtype is not None and x.dtype.is_integer())


def _never(node: ir.Node) -> bool:
    return False


# since which version, what it was before, and whether a node means the same nevertheless
CHANGED: dict[str, tuple[int, str, Callable[[ir.Node], bool]]] = {
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), (13, "all axes from `axis` on were one", _last_axis)),
    **dict.fromkeys(("Max", "Min", "Mean", "Sum"), (8, "inputs had to have one shape", _alike)),
    "Mod": (28, "floating-point numbers wanted fmod=1", _by_truncation),
    "GridSample": (20, "there was none of rank 5", _of_pictures),
    "RoiAlign": (16, "coordinates were half a pixel off", _whole_pixels),
    "Resize": (11, "it had no region, and other coordinates", _never),
    "DFT": (20, "its axis was another by default, and an attribute", _never),
    "Scan": (9, "it had a batch axis of its own", _never),
}


# ---- operators that can do more since a version, in the older one's words


def state_as_tensor(node: ir.Node) -> None:
    """Constant(value_float=1.0) = Constant(value=tensor), which every opset has."""
    tensor = ir.convenience.get_const_tensor(node.outputs[0])
    if tensor is not None and "value" not in node.attributes:
        node.attributes.clear()
        node.attributes["value"] = ir.AttrTensor("value", tensor)


def _part_of_shape(node: ir.Node) -> Body | None:
    """Shape(x) from `start` to `end` = Slice(Shape(x), start, end)."""
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", WHOLE)
    if (start, end) == (0, WHOLE):
        return None
    op = Builder()
    return op.nodes, [op.Slice(op.Shape(node.inputs[0]), op.const([start]), op.const([end]))]


def _pads_of_all_axes(node: ir.Node) -> Body | None:
    """Pad(x, pads of some axes) = Pad(x, pads of all): for the others it takes a zero that is put behind the pads."""
    x, pads, value, axes = (*node.inputs, None, None)[:4]
    chosen = ir.convenience.get_const_tensor(axes) if axes is not None else None
    if x is None or x.shape is None or chosen is None:
        return None
    rank, op = len(x.shape), Builder()
    places = {int(axis) % rank: i for i, axis in enumerate(chosen.numpy())}
    n = len(places)
    begins = [places.get(axis, 2 * n) for axis in range(rank)]
    ends = [places[axis] + n if axis in places else 2 * n for axis in range(rank)]
    full = op.Gather(op.Concat(pads, op.const([0]), axis=0), op.const([*begins, *ends]))
    inputs = [x, full] if value is None else [x, full, value]
    return op.nodes, [op.Pad(*inputs, mode=node.attributes.get_string("mode", "constant"))]


def _on_the_last_axis(node: ir.Node) -> Body | None:
    """Softmax(x) on an axis = its turn to the last place and back, around Softmax on the last."""
    x, axis = node.inputs[0], node.attributes.get_int("axis", -1)
    if x is None or x.shape is None or axis % len(x.shape) == len(x.shape) - 1:
        return None
    order, last = list(range(len(x.shape))), len(x.shape) - 1
    order[axis], order[last] = order[last], order[axis]
    op = Builder()
    turned = op.Transpose(x, perm=order)
    turned.shape = ir.Shape([x.shape[i] for i in order])
    return op.nodes, [op.Transpose(getattr(op, node.op_type)(turned, axis=last), perm=order)]


def _with_empty_inputs(node: ir.Node) -> Body | None:
    """Resize(x, , , sizes) = Resize(x, [], [], sizes): before 13 nothing could be left out."""
    graph = node.graph
    for i in (1, 2):
        if isinstance(graph, ir.Graph) and len(node.inputs) > i and node.inputs[i] is None:
            empty = constant(graph, f"{node.outputs[0].name}.left_out_{i}", np.zeros(0, np.float32))
            node.replace_input_with(i, empty)
    return None


WHOLE = 2**63 - 1  # as an end: that of what is sliced
REWRITTEN: dict[str, tuple[int, Callable[[ir.Node], Body | None]]] = {
    "Shape": (15, _part_of_shape),
    "Pad": (18, _pads_of_all_axes),
    "Resize": (13, _with_empty_inputs),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), (13, _on_the_last_axis)),
}


# ---- a node in the words of its older version


OLDER_NAMES = {"constant_value": "value"}  # of what became an input, and is not called as the attribute was


def take_down(node: ir.Node, have: int, opset: int) -> bool:
    """Put a node in the words of its older version, if that has them; False leaves it to onnx's converter.

    1. Inputs that the older version lacks are constants, and attributes of the same name there.
    2. Attributes that it lacks state what is the default.

    Raises HubError where the older version means another thing (CHANGED), which the converter does not notice.
    """
    new, old = (onnx.defs.get_schema(node.op_type, version) for version in (have, opset))
    version, before, means_the_same = CHANGED.get(node.op_type, (0, "", _never))
    if old.since_version < version <= new.since_version and not means_the_same(node):
        name = node.name or node.outputs[0].name
        raise HubError(f"{node.op_type} {name!r} can't be written at opset {opset}: before opset {version}, {before}")
    if new.since_version == old.since_version:
        return True
    given = _as_attributes(node, new, old)
    stated = {name: attribute for name, attribute in node.attributes.items() if name not in old.attributes}
    if given is None or len(node.outputs) > old.max_output:
        return False
    if any(not _is_default(attribute, new.attributes.get(name)) for name, attribute in stated.items()):
        return False
    for name in stated:
        del node.attributes[name]
    for name, attribute in _defaults(node, new, old).items():
        node.attributes[name] = attribute
    if given:
        node.resize_inputs(old.max_input)
        node.attributes.update(given)
    return all(name in node.attributes for name, a in old.attributes.items() if a.required)


def _as_attributes(node: ir.Node, new: OpSchema, old: OpSchema) -> dict[str, ir.Attr] | None:
    """The inputs that the older version takes as attributes; None where one is no constant or has no such attribute."""
    found: dict[str, ir.Attr] = {}
    names = {name.lower(): name for name in old.attributes}
    for i, value in enumerate(node.inputs[old.max_input :], old.max_input):
        if value is None:
            continue
        tensor = ir.convenience.get_const_tensor(value)
        name = names.get(OLDER_NAMES.get(new.inputs[i].name, new.inputs[i].name).lower())
        if tensor is None or name is None:
            return None
        found[name] = _attribute(name, tensor.numpy(), old.attributes[name].type)
    return found


def _attribute(name: str, array: Any, kind: OpSchema.AttrType) -> ir.Attr:
    as_list = kind in (OpSchema.AttrType.INTS, OpSchema.AttrType.FLOATS)
    number = int if kind in (OpSchema.AttrType.INT, OpSchema.AttrType.INTS) else float
    values = [number(item) for item in array.reshape(-1)]
    return ir.convenience.convert_attribute(name, values if as_list else values[0])


def _is_default(attribute: ir.Attr, schema: OpSchema.Attribute | None) -> bool:
    return schema is not None and ir.to_proto(attribute).SerializeToString() == schema.default_value.SerializeToString()


def _defaults(node: ir.Node, new: OpSchema, old: OpSchema) -> dict[str, ir.Attr]:
    """The defaults of today that the older version has otherwise."""
    return {
        name: ir.from_proto(attribute.default_value)
        for name, attribute in new.attributes.items()
        if name in old.attributes
        and name not in node.attributes
        and attribute.default_value.name
        and attribute.default_value != old.attributes[name].default_value
    }
