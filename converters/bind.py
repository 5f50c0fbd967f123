"""Graph + tensors -> bound graph, by name, in total: nothing is guessed, nothing is left over in silence.

Every parameter of the graph gets exactly one tensor of the file (directly, by renaming, or under a tied name); every
tensor of the file is bound, or the same as one that is (a tie that the file spells out), or a layer's own counter, or
declared `unused` by whoever wrote the entry. A counter that the file lacks is zero, as a new layer's is.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from zoo.converters.graph import PARAMETER, all_nodes, is_parameter, parameters, tied_names
from zoo.errors import BindError, nearest

Tensor = ir.TensorProtocol
SHOWN = 5  # names of each kind that an error lists
WIDENS = {  # conversions that lose nothing
    (ir.DataType.FLOAT16, ir.DataType.FLOAT),
    (ir.DataType.BFLOAT16, ir.DataType.FLOAT),
    (ir.DataType.FLOAT16, ir.DataType.DOUBLE),
    (ir.DataType.BFLOAT16, ir.DataType.DOUBLE),
    (ir.DataType.FLOAT, ir.DataType.DOUBLE),
}
HELD = {  # what a framework without the second type holds it in, one value an element
    (ir.DataType.INT8, ir.DataType.INT4),
    (ir.DataType.INT8, ir.DataType.INT2),
    (ir.DataType.UINT8, ir.DataType.UINT4),
    (ir.DataType.UINT8, ir.DataType.UINT2),
    (ir.DataType.FLOAT8E4M3FN, ir.DataType.FLOAT4E2M1),
    (ir.DataType.FLOAT8E4M3FN, ir.DataType.FLOAT6E2M3),
    (ir.DataType.FLOAT8E4M3FN, ir.DataType.FLOAT6E3M2),
}
QUANTISED = {("DequantizeLinear", 0), ("QLinearConv", 8)}  # inputs that are weights in whatever integers they come
SETTINGS = {"Resize": (1, 2), "Upsample": (1,), "OneHot": (2,)}  # inputs that say how, and are never weights


def bind(
    model: ir.Model,
    tensors: Mapping[str, Tensor],
    *,
    rename: Mapping[str, str] | None = None,
    unused: Sequence[str] = (),
) -> ir.Model:
    """A copy of a weightless model whose parameters are initializers that hold `tensors`, lazy as they came.

    `rename` maps the file's names to the graph's; `unused` are names or patterns (`pooler.dense.*`) of tensors that the
    graph has no use for. A float16 or bfloat16 tensor of a float32 parameter is widened when read, which is exact.

    Raises BindError with what is missing, left over or of another shape or dtype, and the nearest names.
    """
    bound = model.clone()
    wanted = parameters(bound.graph)
    given = {(rename or {}).get(name, name): tensor for name, tensor in tensors.items()}
    if len(given) < len(tensors):
        raise BindError(f"{len(tensors) - len(given)} tensors of the file have the same name after renaming")
    taken: set[str] = set()
    missing, misfits = [], []
    for name, value in wanted.items():
        name_in_file = next((n for n in (name, *tied_names(value)) if n in given), None)
        if name_in_file is None and value.metadata_props[PARAMETER] == "counter":
            _fill(value, ir.tensor(np.zeros(_sizes(value), dtype=_dtype(value).numpy()), name=name))
        elif name_in_file is None:
            missing.append(name)
        elif reason := _misfit(value, given[name_in_file]):
            misfits.append(f"{name}: {reason}")
            taken.add(name_in_file)
        else:
            _fill(value, _as_dtype(given[name_in_file], name, _dtype(value)))
            taken.update(n for n in (name_in_file, *tied_names(value)) if n in given)
    counters = {n: given[n] for n in given if n not in taken and _counts_a_layer(n, wanted)}
    bound_tensors = [given[n] for n in taken]
    left_over = [
        n
        for n in given
        if n not in taken
        and n not in counters
        and not any(fnmatchcase(n, pattern) for pattern in unused)
        and not any(_is_same(given[n], other) for other in bound_tensors)
    ]
    if missing or left_over or misfits:
        raise BindError(_complaint(bound.graph.name or "the graph", missing, left_over, misfits))
    filled = dict.fromkeys(wanted.values())
    inputs = [v for v in bound.graph.inputs if v not in filled]
    bound.graph.inputs.clear()
    bound.graph.inputs.extend(inputs)
    for value in filled:
        bound.graph.register_initializer(value)
    for name, tensor in counters.items():
        counter = ir.Value(name=name, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype))
        counter.const_value, counter.metadata_props[PARAMETER] = tensor, "counter"
        bound.graph.register_initializer(counter)
    return bound


def detach(model: ir.Model, names: Container[str] = ()) -> tuple[ir.Model, dict[str, Tensor]]:
    """The reverse of `bind`, for a model file that holds both: (its weightless graph, its tensors by name).

    A graph that has marked parameters has those. In any other a parameter is what training makes: an initializer of a
    floating or 8-bit dtype with more than one element, or one of any dtype that is dequantised; the statistics of a
    batch normalisation are buffers.
    Other integers, scalars and SETTINGS are the graph's own arithmetic and stay in it as constants.
    """
    weightless = model.clone()
    common.LiftSubgraphInitializersToMainGraphPass()(weightless)  # weights may stand in the bodies of If, Loop and Scan
    marked = bool(parameters(model.graph))
    tensors: dict[str, Tensor] = {}
    for name, value in list(weightless.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None:
            continue
        if name not in names and not (is_parameter(value) if marked else _is_weight(value, tensor)):
            continue
        if any(use.idx in SETTINGS.get(use.node.op_type, ()) for use in value.uses()):
            continue
        tensors[name] = tensor
        value.metadata_props.setdefault(PARAMETER, "buffer" if is_statistic(value) else "parameter")
        value.shape, value.type = ir.Shape(tensor.shape.numpy()), ir.TensorType(tensor.dtype)
        value.const_value = None
        del weightless.graph.initializers[name]
        if value not in weightless.graph.inputs:
            weightless.graph.inputs.append(value)
    _hold_constants(weightless)
    return weightless, tensors


def _hold_constants(model: ir.Model) -> None:
    """What is no weight is in memory and not in a file beside the model: passes read it.

    onnx's version converter keeps of such a file its name alone, and its inference does not look into it.
    """
    ir.external_data.load_to_model(model)
    for node in (*all_nodes(model.graph), *(n for function in model.functions.values() for n in all_nodes(function))):
        for name, attribute in node.attributes.items():
            if attribute.type == ir.AttributeType.TENSOR and isinstance(tensor := attribute.value, ir.ExternalTensor):
                held = ir.Tensor(tensor.numpy().copy(), dtype=tensor.dtype, name=tensor.name)
                node.attributes[name] = ir.AttrTensor(name, held)


def is_statistic(value: ir.Value) -> bool:
    """Whether it is the mean or variance that a batch normalisation keeps, and no gradient is of."""
    return any(use.node.op_type == "BatchNormalization" and use.idx in (3, 4) for use in value.uses())


def _is_weight(value: ir.Value, tensor: Tensor) -> bool:
    if tensor.size <= 1:
        return False
    if tensor.dtype.is_floating_point() or tensor.dtype in (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.BOOL):
        return True
    return any((use.node.op_type, use.idx) in QUANTISED for use in value.uses())


def _counts_a_layer(name: str, wanted: Mapping[str, ir.Value]) -> bool:
    """Whether a tensor is a batch norm's own counter: it stands beside a running mean that the graph has."""
    path, dot, field = name.rpartition(".")
    return field == "num_batches_tracked" and f"{path}{dot}running_mean" in wanted


def _is_same(tensor: Tensor, other: Tensor) -> bool:
    """Whether two tensors of a file are one under two names: a tie that the file itself spells out."""
    if tensor.dtype != other.dtype or tuple(tensor.shape) != tuple(other.shape) or tensor.size <= 1:
        return False
    return tensor.numpy().tobytes() == other.numpy().tobytes()


def _sizes(value: ir.Value) -> tuple[int, ...]:
    return tuple(int(d) for d in value.shape or ())  # type: ignore[arg-type]


def _dtype(value: ir.Value) -> ir.DataType:
    return value.dtype or ir.DataType.FLOAT


def _misfit(value: ir.Value, tensor: Tensor) -> str:
    have, want = tuple(tensor.shape), _sizes(value)
    if tuple(have) != want:
        return f"shape {list(have)} in the file, {list(want)} in the graph"
    if tensor.dtype != _dtype(value) and (tensor.dtype, _dtype(value)) not in WIDENS | HELD:
        return f"dtype {tensor.dtype.name} in the file, {_dtype(value).name} in the graph"
    return ""


def _as_dtype(tensor: Tensor, name: str, dtype: ir.DataType) -> Tensor:
    if tensor.dtype == dtype:
        return tensor

    def converted() -> Tensor:
        array = tensor.numpy()
        made = array.astype(dtype.numpy())
        if (tensor.dtype, dtype) in HELD and not np.array_equal(made.astype(array.dtype), array):
            raise BindError(f"{name} is {dtype.name} in the graph, and the file has values that this dtype lacks")
        return ir.tensor(made)

    return ir.LazyTensor(
        converted,
        dtype=dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=name,
    )


def _fill(value: ir.Value, tensor: Tensor) -> None:
    value.const_value = tensor


def _complaint(graph: str, missing: list[str], left_over: list[str], misfits: list[str]) -> str:
    lines = [f"the weights do not fit {graph}"]
    lines += _listed("missing in the file", missing, near=left_over)
    lines += _listed("left over in the file", left_over, near=())
    lines += _listed("of another shape or dtype", misfits, near=())
    return "\n  ".join(lines)


def _listed(what: str, names: Sequence[str], near: Iterable[str]) -> list[str]:
    if not names:
        return []
    rows = []
    for name in names[:SHOWN]:
        close = nearest(name, near, 2)
        rows.append(f"  {name}" + (f" (the file has {', '.join(close)})" if close else ""))
    if len(names) > SHOWN:
        rows.append(f"  ... and {len(names) - SHOWN:,} more")
    return [f"{len(names):,} {what}:", *rows]
