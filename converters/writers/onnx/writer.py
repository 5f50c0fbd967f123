"""The bound graph as an ONNX model: what `zoo.load(MODEL, framework="onnx")` gives, and what a session runs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from zoo.converters.graph import PARAMETER
from zoo.converters.writers.onnx.runner import MODEL, SMALL_BYTES, OnnxRunner, open_session, options, plain_options

INLINE_BYTES = 1 << 30  # protobuf ends at 2 GiB; weights above half of that stand in a file beside the model
Tensor = ir.TensorProtocol


def without_counters(model: ir.Model) -> ir.Model:
    """A copy without the counters of layers (`num_batches_tracked`), which no operator reads."""
    copy = model.clone()
    for name, value in list(copy.graph.initializers.items()):
        if value.metadata_props.get(PARAMETER) == "counter":
            del copy.graph.initializers[name]
    return copy


def write(model: ir.Model) -> onnx.ModelProto:
    """The bound model with its weights inside, under the author's names and at the opset that it came with."""
    return ir.to_proto(without_counters(model))


def tensors(native: onnx.ModelProto) -> dict[str, Tensor]:
    """The way back: the initializers by name."""
    return {tensor.name: ir.from_proto(tensor) for tensor in native.graph.initializer}


def weight_bytes(model: ir.Model) -> int:
    """What the initializers take."""
    return sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value is not None)


def save(model: ir.Model, path: Path, *, inline: bool | None = None) -> list[Path]:
    """Write a bound model; large weights go into `<path>.data`. Returns the files written, the model first."""
    model = without_counters(model)
    if inline is None:
        inline = weight_bytes(model) <= INLINE_BYTES
    if inline:
        path.write_bytes(ir.to_proto(model).SerializeToString())
        return [path]
    data = path.with_name(f"{path.name}.data")
    ir.save(model, path, external_data=data.name, size_threshold_bytes=SMALL_BYTES)
    return [path, data]


def session(model: ir.Model, *, device: str = "auto", plain: bool = False) -> OnnxRunner:
    """A Runner of a bound model, at the opset that it came with; `plain` is with nothing optimised: the reference."""
    settings = plain_options() if plain else options()
    if weight_bytes(model) <= INLINE_BYTES:
        return open_session(write(model).SerializeToString(), device=device, settings=settings)
    with tempfile.TemporaryDirectory() as folder:
        return open_session(save(model, Path(folder) / MODEL)[0], device=device, settings=settings)


def runner(native: Any, *, device: str = "auto") -> OnnxRunner:
    """A Runner of a ModelProto."""
    return open_session(native.SerializeToString(), device=device)
