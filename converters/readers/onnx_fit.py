"""Whether dtypes and shapes go with the operators that they are given to: axes, permutations, sizes that are not equal.

onnx's own inference says so, over a copy without weights and without the shapes that the exporter noted, which may be
wrong and are read by nobody.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from math import prod
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto

from zoo.errors import Malformed

MAX_ELEMENTS = 1 << 40  # of one value: float32 would be 4 TiB
SHOWN = 8  # sizes of a shape in an error
SMALL = 128  # elements of an initializer that may say how: an axis, a shape, a number of repeats
MISJUDGED = {"RMSNormalization"}  # onnx infers its Y with the dtype of X; the specification gives it the scale's
KIND = re.compile(r"^\[\w+\] ")
ERROR = re.compile(r"^(?:\[\w+\] )?(?:Inference error\(s\): )?\(op_type:(\w+)(?:, node name: ([^)]*))?\): (.*)$", re.M)


def check_fit(model: ModelProto, file: Path | str, hint: str) -> None:
    """Raise Malformed for the first node whose inputs do not fit its operator.

    Nodes stand in an order in which they can be computed. Operators that onnx infers by a body, and those of other
    domains, are not judged.
    """
    inferred = ModelProto()
    try:
        inferred = onnx.shape_inference.infer_shapes(_without_weights(model), True, True, False)  # noqa: FBT003
    except onnx.shape_inference.InferenceError as error:
        opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
        for op, name, reason in ERROR.findall(str(error)):
            if (
                op not in MISJUDGED
                and onnx.defs.has(op, opset)
                and onnx.defs.get_schema(op, opset).has_type_and_shape_inference_function
            ):
                node = f"node {name!r} ({op})" if name else f"a node {op}"
                what = KIND.sub("", " ".join(reason.split()))
                raise Malformed(file, f"graph {model.graph.name!r}: {node}: {what}", hint=hint) from error
    except MemoryError as error:
        what = "what its nodes would give is more than memory holds"
        raise Malformed(file, f"graph {model.graph.name!r}: {what}", hint=hint) from error
    except (onnx.checker.ValidationError, ValueError, RuntimeError):
        pass  # what this inference can't look at as a whole, as the operators of some domains
    for value in inferred.graph.value_info:
        shape = [size.dim_value for size in value.type.tensor_type.shape.dim if size.HasField("dim_value")]
        if prod(shape) > MAX_ELEMENTS:
            what = f"{value.name!r} would have the shape {too_large(shape)}"
            raise Malformed(file, f"graph {model.graph.name!r}: {what}", hint=hint)


def too_large(shape: Sequence[int | str]) -> str:
    """A shape whose numbers are more elements than memory holds, in words; the first of its sizes if they are many."""
    shown = str(list(shape)) if len(shape) <= SHOWN else f"[{', '.join(map(str, shape[:SHOWN]))}, ...]"
    return f"{shown}: no memory holds {rounded(prod(n for n in shape if isinstance(n, int) and n))} elements"


def rounded(number: int) -> str:
    """Any integer with two digits and a power of ten; a float ends at 1e308.

    >>> rounded(10**400)
    '1.0e+400'
    """
    return f"{Decimal(number):.1e}"


def _without_weights(model: ModelProto) -> ModelProto:
    light = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    light.graph.name = model.graph.name
    light.graph.input.extend(model.graph.input)
    light.graph.node.extend(model.graph.node)
    light.graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in model.graph.output)
    given = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= SMALL and tensor.data_location != onnx.TensorProto.EXTERNAL:
            light.graph.initializer.append(tensor)
        elif tensor.name not in given:
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            light.graph.input.append(value)
    for node in light.graph.node:
        for attribute in node.attribute:
            for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                _forget(body)
    return light


def _forget(graph: GraphProto) -> None:
    """Drop the shapes that were noted within a body, and in those within it."""
    del graph.value_info[:]
    for value in graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    for node in graph.node:
        for attribute in node.attribute:
            for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                _forget(body)
