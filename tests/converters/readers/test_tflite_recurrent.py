"""TFLite's fused recurrent operators, in files made here by TFLite's own schema, against TFLite's reference kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from zoo.converters.readers import tflite

tensorflow = pytest.importorskip("tensorflow")
flatbuffers = pytest.importorskip("flatbuffers")
pytestmark = pytest.mark.tensorflow
N, T, I, U, P = 2, 5, 3, 4, 6  # batch, steps, width, units, projected
VARIANTS: list[dict[str, Any]] = [
    *({}, {"clip": 0.3}, {"peepholes": True}, {"projected": True}, {"coupled": True}, {"norms": True}),
    *({"major": True}, {"peepholes": True, "projected": True, "coupled": True, "norms": True, "clip": 0.5}),
]


class File:
    """A file of one operator: tensors are added in the order of its inputs."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.rng = np.random.default_rng(0)
        self.tensors: list[tuple[tuple[int, ...], np.ndarray[Any, Any] | None, bool]] = [(shape, None, False)]
        self.inputs = [0]

    def weight(self, *shape: int, given: bool = True) -> None:
        if given:
            self.tensors.append((shape, self.rng.normal(size=shape).astype(np.float32) * 0.5, False))
        self.inputs.append(len(self.tensors) - 1 if given else -1)

    def state(self, *shape: int) -> None:
        self.tensors.append((shape, None, True))
        self.inputs.append(len(self.tensors) - 1)

    def save(self, path: Path, kind: str, options: Any, out: tuple[int, ...]) -> None:
        from tensorflow.lite.python import schema_py_generated as schema

        self.tensors.append((out, None, False))
        model, graph, code, step = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT(), schema.OperatorT()
        number = getattr(schema.BuiltinOperator, kind)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
        model.version, model.operatorCodes, model.buffers = 3, [code], [schema.BufferT()]
        graph.tensors = []
        for i, (shape, data, is_state) in enumerate(self.tensors):
            tensor, buffer = schema.TensorT(), schema.BufferT()
            tensor.name, tensor.shape, tensor.isVariable = f"t{i}".encode(), list(shape), is_state
            if data is not None:
                buffer.data = np.frombuffer(data.tobytes(), np.uint8)
                model.buffers.append(buffer)
                tensor.buffer = len(model.buffers) - 1
            graph.tensors.append(tensor)
        step.inputs, step.outputs = self.inputs, [len(self.tensors) - 1]
        step.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
        step.builtinOptions = options
        graph.operators, graph.inputs, graph.outputs = [step], [0], step.outputs
        model.subgraphs = [graph]
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))


def agrees(path: Path, shape: tuple[int, ...]) -> None:
    """ONNX Runtime computes of the file's graph what TFLite's reference kernels compute of the file."""
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    kernels = tensorflow.lite.experimental.OpResolverType.BUILTIN_REF
    lite = tensorflow.lite.Interpreter(str(path), experimental_op_resolver_type=kernels)
    lite.allocate_tensors()
    lite.reset_all_variables()
    lite.set_tensor(lite.get_input_details()[0]["index"], x)
    lite.invoke()
    session = onnxruntime.InferenceSession(ir.to_proto(tflite.read(path)).SerializeToString())
    (actual,) = session.run(None, {"t0": x})
    np.testing.assert_allclose(actual, lite.get_tensor(lite.get_output_details()[0]["index"]), rtol=1e-5, atol=1e-6)


def direction(file: File, *, peepholes: bool, projected: bool, coupled: bool) -> None:
    """The weights of one direction of an LSTM."""
    width = P if projected else U
    for sizes in ((U, I), (U, width)):
        for gate in "ifco":
            file.weight(*sizes, given=not (coupled and gate == "i"))
    for gate in "ifo":
        file.weight(U, given=peepholes and not (coupled and gate == "i"))
    for gate in "ifco":
        file.weight(U, given=not (coupled and gate == "i"))
    file.weight(P, U, given=projected)
    file.weight(P, given=projected)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: "-".join(v) or "plain")
def test_an_lstm_computes_what_tflite_computes(tmp_path: Path, variant: dict[str, Any]) -> None:
    from tensorflow.lite.python.schema_py_generated import UnidirectionalSequenceLSTMOptionsT

    is_major, coupled, projected = (bool(variant.get(key)) for key in ("major", "coupled", "projected"))
    shape, width = ((T, N, I) if is_major else (N, T, I)), P if projected else U
    file = File(shape)
    direction(file, peepholes=bool(variant.get("peepholes")), projected=projected, coupled=coupled)
    file.state(N, width)
    file.state(N, U)
    if variant.get("norms"):
        for gate in "ifco":
            file.weight(U, given=not (coupled and gate == "i"))
    options = UnidirectionalSequenceLSTMOptionsT()
    options.fusedActivationFunction, options.cellClip, options.timeMajor = 4, variant.get("clip", 0.0), is_major
    file.save(tmp_path / "x.tflite", "UNIDIRECTIONAL_SEQUENCE_LSTM", options, (*shape[:2], width))
    agrees(tmp_path / "x.tflite", shape)


def test_a_plain_recurrent_layer_computes_what_tflite_computes(tmp_path: Path) -> None:
    from tensorflow.lite.python.schema_py_generated import SequenceRNNOptionsT

    file, options = File((N, T, I)), SequenceRNNOptionsT()
    for sizes in ((U, I), (U, U), (U,)):
        file.weight(*sizes)
    file.state(N, U)
    options.fusedActivationFunction, options.timeMajor = 1, False
    file.save(tmp_path / "x.tflite", "UNIDIRECTIONAL_SEQUENCE_RNN", options, (N, T, U))
    agrees(tmp_path / "x.tflite", (N, T, I))


def test_an_lstm_of_both_directions_computes_what_tflite_computes(tmp_path: Path) -> None:
    from tensorflow.lite.python.schema_py_generated import BidirectionalSequenceLSTMOptionsT

    # of one sequence: for a second one TFLite's own kernel gives other numbers from run to run
    file, options = File((1, T, I)), BidirectionalSequenceLSTMOptionsT()
    for _ in range(2):
        direction(file, peepholes=False, projected=False, coupled=False)
    for _ in range(4):
        file.state(1, U)
    file.inputs += [-1] * 9
    options.fusedActivationFunction, options.mergeOutputs, options.timeMajor = 4, True, False
    file.save(tmp_path / "x.tflite", "BIDIRECTIONAL_SEQUENCE_LSTM", options, (1, T, 2 * U))
    agrees(tmp_path / "x.tflite", (1, T, I))
