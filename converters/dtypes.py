"""A model in another floating-point dtype: weights, constants, inputs and outputs, as torch's `module.to(dtype)` does.

What the model is mostly of (its weights' dtype) becomes the other. Where ONNX takes an operator's input in no such
dtype (the scales of a Resize), it stays as it was, between casts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.defs import OpSchema
from onnx_ir.passes.common import InlinePass

from zoo.converters.bind import detach
from zoo.converters.expand import inline_functions
from zoo.converters.graph import OPSET, all_graphs, all_nodes, bodies, constant, is_parameter
from zoo.converters.infer import infer_shapes
from zoo.errors import HubError, UsageError, did_you_mean

Tensor = ir.TensorProtocol
DTYPES: Mapping[str, ir.DataType] = {
    "float16": ir.DataType.FLOAT16,
    "bfloat16": ir.DataType.BFLOAT16,
    "float32": ir.DataType.FLOAT,
    "float64": ir.DataType.DOUBLE,
}
# operator -> the attribute that says the dtype of its output, and whether that is float32 where it is left out
SAYS_DTYPE = {
    "Cast": ("to", False),
    "EyeLike": ("dtype", False),
    "RandomNormal": ("dtype", True),
    "RandomUniform": ("dtype", True),
    "RandomNormalLike": ("dtype", False),
    "RandomUniformLike": ("dtype", False),
    "Bernoulli": ("dtype", False),
    "SequenceEmpty": ("dtype", True),
    "BlackmanWindow": ("output_datatype", True),
    "HammingWindow": ("output_datatype", True),
    "HannWindow": ("output_datatype", True),
    "MelWeightMatrix": ("output_datatype", True),
    "DequantizeLinear": ("output_dtype", False),
}


def dtype_of(name: str) -> ir.DataType:
    """The dtype of a name. Raises UsageError."""
    if name not in DTYPES:
        raise UsageError(f"unknown dtype {name!r}", hint=did_you_mean(name, DTYPES) or f"Known: {', '.join(DTYPES)}.")
    return DTYPES[name]


def main_dtype(model: ir.Model) -> ir.DataType:
    """The floating-point dtype that most of the weights are of; where there are none, that most inputs are of."""
    sizes: Counter[ir.DataType] = Counter()
    for value in model.graph.initializers.values():
        if value.const_value is not None and value.const_value.dtype in DTYPES.values():
            sizes[value.const_value.dtype] += value.const_value.size
    if not sizes:
        sizes.update(v.dtype for v in model.graph.inputs if v.dtype is not None and v.dtype in DTYPES.values())
    return sizes.most_common(1)[0][0] if sizes else ir.DataType.FLOAT


def cast(model: ir.Model, name: str) -> ir.Model:
    """A copy of a model with its weights in a dtype; the weights are converted when they are read.

    A parameter that the dtype has no finite number for is an error when it is read (HubError). A constant of the graph
    is brought to the nearest number that the dtype has, zero apart: masks are filled with float32's least, and what is
    added lest something is divided by zero must not become zero. Raises UsageError for an unknown dtype.
    """
    to = dtype_of(name)
    made = model.clone()
    was = main_dtype(made)
    if was == to:
        return made
    inline_functions(made)
    _infer(made)
    casts, kept = _keep(made, was, to)
    for graph in (*all_graphs(made.graph), *(function.graph for function in made.functions.values())):
        for node in graph:
            if node not in casts and not kept.intersection(node.outputs):
                _convert_node(node, was, to)
        for value in _values(graph):
            if value in kept:
                continue
            value.type = _converted(value.type, was, to)
            if value.const_value is not None and value.const_value.dtype == was:
                value.const_value = _lazily(value.const_value, to, strict=is_parameter(value))
    return made


def tensors(given: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Weights in a dtype, the floating-point ones of them; converted when they are read, as `cast` says."""
    to, floats = dtype_of(name), set(DTYPES.values())
    return {key: _lazily(t, to, strict=True) if t.dtype in floats and t.dtype != to else t for key, t in given.items()}


def array(value: Any, name: str) -> Any:
    """An array in a dtype, if it is of one of DTYPES; anything else as it is."""
    is_float = isinstance(value, np.ndarray) and value.dtype in [dtype.numpy() for dtype in DTYPES.values()]
    return value.astype(dtype_of(name).numpy()) if is_float else value


def nearest(given: np.ndarray[Any, Any], to: ir.DataType) -> np.ndarray[Any, Any]:
    """A constant of a graph in a dtype: the nearest numbers that it has, zero apart."""
    return _cast(given, to, strict=False, name="")


def _infer(model: ir.Model) -> None:
    """Note types and shapes on a model with weights: inference looks at a copy without them."""
    weightless, _ = detach(model)
    infer_shapes(weightless)
    for node, known in zip(all_nodes(model.graph), all_nodes(weightless.graph), strict=True):
        for value, inferred in zip(node.outputs, known.outputs, strict=True):
            value.type, value.shape = inferred.type, inferred.shape


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    yield from (out for node in graph for out in node.outputs)


def _converted(given: ir.TypeProtocol | None, was: ir.DataType, to: ir.DataType) -> ir.TypeProtocol | None:
    if isinstance(given, (ir.SequenceType, ir.OptionalType)):
        inner = _converted(given.elem_type, was, to)
        return type(given)(inner) if inner is not None else given
    return ir.TensorType(to) if isinstance(given, ir.TensorType) and given.dtype == was else given


def _lazily(tensor: Tensor, to: ir.DataType, *, strict: bool) -> Tensor:
    """A tensor in another dtype, converted when it is read; `strict` is for weights, whose numbers are not changed."""

    def read() -> Tensor:
        return ir.tensor(_cast(tensor.numpy(), to, strict=strict, name=tensor.name or ""), dtype=to)

    return ir.LazyTensor(read, dtype=to, shape=ir.Shape(tensor.shape.numpy()), name=tensor.name)


def _cast(given: np.ndarray[Any, Any], to: ir.DataType, *, strict: bool, name: str) -> np.ndarray[Any, Any]:
    with np.errstate(all="ignore"):
        made: np.ndarray[Any, Any] = given.astype(to.numpy())
        wide = made.astype(np.float64)
    beyond = np.isfinite(given.astype(np.float64)) & ~np.isfinite(wide)
    if strict and beyond.any():
        worst = float(np.abs(given.astype(np.float64)[beyond]).max())
        raise HubError(
            f"tensor {name!r} has {int(beyond.sum()):,} numbers that {to.numpy().name} can't hold, up to {worst:g}",
            hint="bfloat16 has float32's range.",
        )
    if strict:
        return made
    lost = (wide == 0) & (given != 0)
    if not beyond.any() and not lost.any():
        return made
    import ml_dtypes

    limits = ml_dtypes.finfo(to.numpy())
    sign = np.sign(given.astype(np.float64))
    wide = np.where(beyond, sign * float(limits.max), np.where(lost, sign * float(limits.smallest_subnormal), wide))
    return wide.astype(to.numpy())


# ---- nodes


def _convert_node(node: ir.Node, was: ir.DataType, to: ir.DataType) -> None:
    """What a node itself says of dtypes: constants, and attributes that name one."""
    for name, attribute in list(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == was:
            node.attributes[name] = ir.AttrTensor(name, _now(attribute.as_tensor(), to))
    if node.domain not in ("", "ai.onnx"):
        return
    if node.op_type == "Constant" and was == ir.DataType.FLOAT:
        for name in ("value_float", "value_floats"):
            if name in node.attributes:
                tensor = ir.tensor(np.asarray(node.attributes.pop(name).value, dtype=np.float32))
                node.attributes["value"] = ir.AttrTensor("value", _now(tensor, to))
    if node.op_type == "ConstantOfShape" and was == ir.DataType.FLOAT and "value" not in node.attributes:
        node.attributes["value"] = ir.AttrTensor("value", _now(ir.tensor(np.zeros(1, np.float32)), to))
    name, is_float = SAYS_DTYPE.get(node.op_type, ("", False))
    stated = node.attributes.get_int(name, ir.DataType.FLOAT.value if is_float else 0) if name else 0
    if name and stated == was.value:
        node.attributes[name] = ir.AttrInt64(name, to.value)


def _now(tensor: Tensor, to: ir.DataType) -> Tensor:
    return ir.tensor(_cast(tensor.numpy(), to, strict=False, name=tensor.name or ""), dtype=to, name=tensor.name)


def _keep(model: ir.Model, was: ir.DataType, to: ir.DataType) -> tuple[set[ir.Node], set[ir.Value]]:
    """Put casts around what operators take and give in no dtype but the old: the new nodes, and the values that stay.

    Constants that only such inputs read stay as they are, others are copied.
    """
    opset = model.opset_imports.get("", OPSET)
    casts, kept = set[ir.Node](), set[ir.Value]()
    for graph in all_graphs(model.graph):
        for node in list(graph):
            refused = _refused(node, opset, was, to)
            for i in refused[0]:
                value = node.inputs[i]
                assert value is not None  # what is left out is not refused
                tensor = ir.convenience.get_const_tensor(value)
                if tensor is None:
                    casts.add(_cast_before(node, i, was))
                else:
                    copy = constant(model.graph, f"{value.name}_{was.numpy().name}", tensor.numpy())
                    node.replace_input_with(i, copy)
                kept |= {v for v in node.inputs[i : i + 1] if v is not None}
            for i in refused[1]:
                kept.add(node.outputs[i])
                casts.add(_cast_after(node, i, to))
    return casts, kept


def _refused(node: ir.Node, opset: int, was: ir.DataType, to: ir.DataType) -> tuple[list[int], list[int]]:
    """The inputs and the outputs that the operator has in the old dtype, and not in the new."""
    if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type, opset) or any(bodies(node)):
        return [], []  # a body has its inputs' dtypes: it is changed as a whole
    schema = onnx.defs.get_schema(node.op_type, opset)
    allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}

    def refuses(formals: Sequence[OpSchema.FormalParameter], i: int) -> bool:
        kind = formals[min(i, len(formals) - 1)].type_str
        types = allowed.get(kind, {kind})
        return _spelled(to) not in types and _spelled(was) in types

    return (
        [i for i, v in enumerate(node.inputs) if _is_tensor(v, was) and refuses(schema.inputs, i)],
        [i for i, v in enumerate(node.outputs) if v.name and _is_tensor(v, was) and refuses(schema.outputs, i)],
    )


def _is_tensor(value: ir.Value | None, dtype: ir.DataType) -> bool:
    """Whether a value is a tensor of a dtype, and no sequence of such."""
    return value is not None and isinstance(value.type, ir.TensorType) and value.type.dtype == dtype


def _spelled(dtype: ir.DataType) -> str:
    return f"tensor({dtype.name.lower()})"


def _cast_before(node: ir.Node, i: int, dtype: ir.DataType) -> ir.Node:
    """Give a node its i-th input in a dtype."""
    value, graph = node.inputs[i], node.graph
    assert value is not None and graph is not None
    reader = next((out.name for out in node.outputs if out.name), node.name)
    new = _cast_node(value, dtype, f"{reader}.input_{i}_{dtype.numpy().name}")
    graph.insert_before(node, new)
    node.replace_input_with(i, new.outputs[0])
    return new


def _cast_after(node: ir.Node, i: int, dtype: ir.DataType) -> ir.Node:
    """Let the readers of a node's i-th output have it in a dtype, under the same name."""
    value, graph = node.outputs[i], node.graph
    assert graph is not None
    new = _cast_node(value, dtype, f"{value.name}.as_computed")
    graph.insert_after(node, new)
    result = new.outputs[0]
    for use in [use for use in value.uses() if use.node is not new]:
        use.node.replace_input_with(use.idx, result)
    for j, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[j] = result
    result.name, value.name = value.name, result.name
    return new


def _cast_node(value: ir.Value, dtype: ir.DataType, name: str) -> ir.Node:
    node = ir.node("Cast", [value], {"to": dtype.value}, name=name)
    node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = name, ir.TensorType(dtype), value.shape
    return node


# ---- a dtype that a runtime has no kernels for

AS_THEY_ARE = {"Cast", "CastLike", "Constant", "ConstantOfShape"}


def computed_in_float32(model: ir.Model, dtype: ir.DataType) -> ir.Model:
    """A copy in which every node computes in float32 and gives its results in `dtype`, as hardware does that has it.

    For a runtime without kernels for the dtype. Functions are inlined, so that their nodes do the same.
    """
    made = model.clone()
    InlinePass()(made)
    _infer(made)
    for graph in all_graphs(made.graph):
        for node in list(graph):
            if (node.op_type in AS_THEY_ARE and not node.domain) or any(bodies(node)) or _has_sequence(node):
                continue
            for i, value in enumerate(node.inputs):
                if _is_tensor(value, dtype):
                    _cast_before(node, i, ir.DataType.FLOAT)
            for i, out in enumerate(node.outputs):
                if out.name and _is_tensor(out, dtype):
                    _cast_after(node, i, dtype)
                    out.type = ir.TensorType(ir.DataType.FLOAT)
    return made


def _has_sequence(node: ir.Node) -> bool:
    """Whether a node only moves values about: it takes or gives a sequence or an optional."""
    values = (*node.inputs, *node.outputs)
    return any(v is not None and isinstance(v.type, (ir.SequenceType, ir.OptionalType)) for v in values)
