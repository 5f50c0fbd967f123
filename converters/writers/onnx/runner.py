"""ONNX Runtime as a Runner.

Imports numpy and ONNX Runtime alone: `zoo run` of something already built comes through here.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from zoo.converters.runner import Array, TensorSpec, misfit
from zoo.errors import BadInput, HubError, UsageError

# device -> execution provider
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "mps": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
AUTO = (
    "cuda",
    "rocm",
    "directml",
    "cpu",
)  # the first that this ONNX Runtime has; it compiles nothing, so it starts at once
# ONNX Runtime's names that are not numpy's and ml_dtypes'
DTYPES = {
    "float": "float32",
    "double": "float64",
    "string": "str",
    "float8e4m3fn": "float8_e4m3fn",
    "float8e4m3fnuz": "float8_e4m3fnuz",
    "float8e5m2": "float8_e5m2",
    "float8e5m2fnuz": "float8_e5m2fnuz",
}
# what numpy lacks, by ONNX's number of it: such arrays go in and out as bytes
NARROW = {"bfloat16": 16, "float8_e4m3fn": 17, "float8_e4m3fnuz": 18, "float8_e5m2": 19, "float8_e5m2fnuz": 20}
MODEL, DATA = "model.onnx", "weights.bin"
SMALL_BYTES = 1024  # initializers below this stay in the model file
ERROR = 3  # ONNX Runtime's severity: what it warns of in an optimised graph is its own doing


class OnnxRunner:
    """A session of ONNX Runtime that speaks the graph's names."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.session = session
        self.inputs: Sequence[TensorSpec] = [_spec(i) for i in session.get_inputs()]
        self.outputs: Sequence[TensorSpec] = [_spec(o) for o in session.get_outputs()]
        self._names = [o.name for o in self.outputs]
        self._narrow = {spec.name: spec.dtype for spec in (*self.inputs, *self.outputs) if spec.dtype in NARROW}

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the model file says of itself, by its own keys."""
        found: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
        return found

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One pass. Raises BadInput naming the input when a name, dtype or shape doesn't fit."""
        try:
            values = self._run_as_bytes(feeds) if self._narrow else self.session.run(self._names, dict(feeds))
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions have no common class
            check(self.inputs, feeds)
            raise HubError(f"ONNX Runtime failed: {error}") from error
        return dict(zip(self._names, values, strict=True))

    def _run_as_bytes(self, feeds: Mapping[str, Array]) -> list[Any]:
        check(self.inputs, feeds)
        given = {name: _ort_value(array, self._narrow.get(name)) for name, array in feeds.items()}
        made = self.session.run_with_ort_values(self._names, given)
        return [_array(value, self._narrow.get(name)) for name, value in zip(self._names, made, strict=True)]


def _ort_value(array: Any, narrow: str | None) -> ort.OrtValue:
    """An array as ONNX Runtime takes it, which keeps the array's memory."""
    if narrow is None:
        return ort.OrtValue.ortvalue_from_numpy(array)
    integers = np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(integers, NARROW[narrow])


def _array(value: ort.OrtValue, narrow: str | None) -> Any:
    """A copy of what ONNX Runtime made, on the processor: `run_with_ort_values` brings outputs there."""
    if narrow is None:
        return value.numpy()
    import ctypes

    import ml_dtypes

    dtype = np.dtype(getattr(ml_dtypes, narrow))
    shape = value.shape()
    data = ctypes.string_at(value.data_ptr(), math.prod(shape) * dtype.itemsize)
    return np.frombuffer(bytearray(data), dtype=dtype).reshape(shape)


def check(inputs: Sequence[TensorSpec], feeds: Mapping[str, Any]) -> None:
    """Raise BadInput when feeds don't fit the inputs: names, dtypes, ranks and fixed sizes."""
    wanted = {spec.name: spec for spec in inputs}
    if unknown := [name for name in feeds if name not in wanted]:
        raise BadInput(f"the model has no input {unknown[0]!r}", hint=f"Its inputs: {', '.join(wanted)}.")
    for name, spec in wanted.items():
        if name not in feeds:
            raise BadInput(f"input {name!r} is missing", hint=f"The model wants {', '.join(wanted)}.")
        if reason := misfit(spec, feeds[name]):
            raise BadInput(f"input {name!r} {reason}")


def _spec(value: Any) -> TensorSpec:
    dtype = re.sub(r"tensor\((\w+)\)", lambda found: DTYPES.get(found[1], found[1]), value.type)
    shape = tuple(
        d if isinstance(d, int) and d >= 0 else str(d or f"{value.name}_{i}") for i, d in enumerate(value.shape)
    )
    return TensorSpec(value.name, dtype, shape)


def providers(device: str) -> list[Any]:
    """ONNX Runtime's providers for a device: `cpu`, `cuda`, `cuda:1`, ..., or `auto`, the fastest that is here.

    Raises UsageError when this ONNX Runtime has no provider for the device; only `auto` falls back.
    """
    here = ort.get_available_providers()
    if device == "auto":
        device = next(d for d in AUTO if PROVIDERS[d] in here)
    kind, _, index = device.partition(":")
    if kind not in PROVIDERS or (index and not index.isdigit()):
        raise UsageError(f"unknown device {device!r}", hint=f"Known: auto, {', '.join(PROVIDERS)}, and cuda:1.")
    provider = PROVIDERS[kind]
    if provider not in here:
        raise UsageError(
            f"device {device!r} is not available: this ONNX Runtime {ort.__version__} has no {provider}",
            hint=f"It has {', '.join(here)}. `zoo doctor` says what each would need.",
        )
    return [(provider, {"device_id": index}) if index else provider]


def version() -> str:
    """ONNX Runtime's own."""
    return str(ort.__version__)


def is_cpu(device: str) -> bool:
    """Whether a device means the processor here."""
    return providers(device) == ["CPUExecutionProvider"]


def options(threads: int | None = None) -> ort.SessionOptions:
    """Session options: threads for one operator, by default as many as there are cores."""
    made = ort.SessionOptions()
    made.log_severity_level = ERROR
    # Without it int8 is rewritten as uint8 on x86, and ONNX Runtime 1.32 then refuses its own QuantizeLinear, whose
    # output_dtype still says int8; with it the kernels for int8 run, which are as fast.
    made.add_session_config_entry("session.qdqisint8allowed", "1")
    if threads is None and os.environ.get("OMP_NUM_THREADS", "").isdigit():
        threads = int(os.environ["OMP_NUM_THREADS"])
    if threads:
        made.intra_op_num_threads = threads
    return made


def plain_options(threads: int | None = None) -> ort.SessionOptions:
    """The same, for a graph that is run as it stands."""
    made = options(threads)
    made.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return made


def open_session(
    source: Path | bytes, *, device: str = "auto", settings: ort.SessionOptions | None = None
) -> OnnxRunner:
    """A Runner, on a device, of a model file (external data beside it) or a serialised model; or an error with why."""
    wanted = providers(device)
    settings = settings or options()
    try:
        session = ort.InferenceSession(os.fspath(source) if isinstance(source, Path) else source, settings, wanted)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions have no common class
        raise HubError(f"ONNX Runtime can't open the model: {_one_line(error)}") from error
    first = wanted[0] if isinstance(wanted[0], str) else wanted[0][0]
    if device != "auto" and first not in session.get_providers():
        raise UsageError(f"device {device!r} is not available: {first} could not start", hint="`zoo doctor` says why.")
    return OnnxRunner(session)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def optimise(source: Path, folder: Path) -> None:
    """Write the graph as ONNX Runtime optimises it for this processor: MODEL, and its weights in DATA beside it.

    Opening that with `open_built` costs no optimisation, and its weights are mapped, not read.
    """
    settings = options()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.optimized_model_filepath = str(folder / MODEL)
    settings.add_session_config_entry("session.optimized_model_external_initializers_file_name", DATA)
    settings.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", str(SMALL_BYTES)
    )
    open_session(source, device="cpu", settings=settings)


def open_plain(path: Path) -> OnnxRunner:
    """A Runner of a model file as it stands, on the processor, with nothing optimised: the reference."""
    return open_session(path, device="cpu", settings=plain_options())


def open_built(folder: Path, *, device: str = "auto", threads: int | None = None) -> OnnxRunner:
    """A Runner of what `optimise` wrote."""
    return open_session(folder / MODEL, device=device, settings=plain_options(threads))
