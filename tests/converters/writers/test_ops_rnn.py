"""Recurrent layers in all their variants, against ONNX Runtime: onnx's own reference ignores most of them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

import zoo

torch = pytest.importorskip("torch")

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
SEQUENCE, BATCH, INPUT, HIDDEN = 5, 3, 4, 6


def model_of(kind, optional=(), constant_lengths=None, dtype=np.float32, outputs=None, **attributes):
    """A layer with seeded weights as initializers, and what it is fed."""
    rng = np.random.default_rng(0)
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    layout = attributes.get("layout", 0)
    rows = GATES[kind] * HIDDEN

    def draw(*shape):
        return (rng.standard_normal(shape) * 0.5).astype(dtype)

    state = (BATCH, directions, HIDDEN) if layout else (directions, BATCH, HIDDEN)
    x = draw(BATCH, SEQUENCE, INPUT) if layout else draw(SEQUENCE, BATCH, INPUT)
    weights = {"W": draw(directions, rows, INPUT), "R": draw(directions, rows, HIDDEN)}
    weights |= {"B": draw(directions, 2 * rows)} if "B" in optional else {}
    weights |= {"P": draw(directions, 3 * HIDDEN)} if "P" in optional else {}
    feeds = {"X": x} | {s: draw(*state) for s in ("initial_h", "initial_c") if s in optional}
    if "sequence_lens" in optional:
        feeds["sequence_lens"] = np.array([5, 1, 3], dtype=np.int32)
    if constant_lengths is not None:
        weights["sequence_lens"] = np.array(constant_lengths, dtype=np.int32)
    names = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"][: 8 if kind == "LSTM" else 6]
    given = [n if n in feeds or n in weights else "" for n in names]
    outputs = outputs or ["Y", "Y_h", "Y_c"][: 3 if kind == "LSTM" else 2]
    node = onnx.helper.make_node(kind, given, outputs, hidden_size=HIDDEN, **attributes)
    graph = onnx.helper.make_graph(
        [node],
        kind,
        [
            onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for n, v in feeds.items()
        ],
        [onnx.ValueInfoProto(name=o) for o in outputs if o],
        [onnx.numpy_helper.from_array(v, n) for n, v in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model), feeds


def expected_of(model, feeds):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


ALL = ("B", "initial_h", "initial_c")
BOTH = {"direction": "bidirectional"}
LSTM_FUNCTIONS = ["HardSigmoid", "LeakyRelu", "Softsign"]
ROWS = [
    ("LSTM", (), {}),
    ("LSTM", ALL, {}),
    ("LSTM", ALL, {"direction": "reverse"}),
    ("LSTM", ALL, BOTH),
    ("LSTM", ("initial_c",), BOTH),
    ("LSTM", (*ALL, "P"), BOTH),
    ("LSTM", (*ALL, "sequence_lens"), {}),
    ("LSTM", (*ALL, "sequence_lens"), {"direction": "reverse"}),
    ("LSTM", (*ALL, "sequence_lens", "P"), BOTH),
    ("LSTM", ALL, {"constant_lengths": [5, 5, 5]}),
    ("LSTM", ALL, {"constant_lengths": [2, 5, 4]}),
    ("LSTM", ALL, {"clip": 0.3}),
    ("LSTM", ALL, {"input_forget": 1}),
    ("LSTM", ALL, {"activations": LSTM_FUNCTIONS, "activation_alpha": [0.3, 0.02], "activation_beta": [0.4]}),
    ("LSTM", ALL, {"activations": ["sigmoid", "Tanh", "relu"] * 2, **BOTH}),
    ("LSTM", ("B",), {"outputs": ["", "", "Y_c"]}),
    ("GRU", (), {}),
    ("GRU", ("B", "initial_h"), {}),
    ("GRU", ("B", "initial_h"), {"linear_before_reset": 1}),
    ("GRU", ("B", "initial_h"), {"linear_before_reset": 1, **BOTH}),
    ("GRU", (), {"linear_before_reset": 1, "direction": "reverse"}),
    ("GRU", ("B", "initial_h"), BOTH),
    ("GRU", ("B", "initial_h", "sequence_lens"), BOTH),
    ("GRU", ("B", "initial_h", "sequence_lens"), {"linear_before_reset": 1}),
    ("GRU", ("B",), {"clip": 0.25}),
    ("GRU", ("B",), {"activations": ["HardSigmoid", "ScaledTanh"], "activation_alpha": [0.3, 0.9],
                     "activation_beta": [0.4, 1.2]}),
    ("RNN", (), {}),
    ("RNN", ("B", "initial_h"), {"activations": ["Relu"]}),
    ("RNN", ("B", "initial_h"), {"activations": ["Tanh", "Tanh"], **BOTH}),
    ("RNN", ("B", "initial_h"), {"activations": ["Relu", "Tanh"], **BOTH}),
    ("RNN", ("B", "initial_h", "sequence_lens"), {"activations": ["Affine"], "activation_alpha": [0.5],
                                                  "activation_beta": [0.1]}),
    ("RNN", ("B",), {"activations": ["Elu"], "clip": 0.4}),
    ("RNN", ("B",), {"activations": ["ThresholdedRelu"], "activation_alpha": [0.2]}),
    ("RNN", ("B",), {"activations": ["Softplus"], "direction": "reverse"}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "optional", "attributes"), ROWS, ids=[f"{n}-{r[0]}" for n, r in enumerate(ROWS)])
def test_a_recurrent_layer_computes_what_onnx_runtime_does(kind, optional, attributes):
    model, feeds = model_of(kind, optional, **attributes)
    got = zoo.runner(model, "torch").run(feeds)
    for name, want in expected_of(model, feeds).items():
        np.testing.assert_allclose(got[name], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_batch_first_is_the_same_turned_around(kind):
    along, feeds = model_of(kind, ALL, direction="bidirectional")
    across, _ = model_of(kind, ALL, direction="bidirectional", layout=1)
    expected = zoo.runner(along, "torch").run(feeds)
    turned = {name: v.swapaxes(0, 1) for name, v in feeds.items()}
    turned = {name: turned[name] for name in [i.name for i in across.graph.input]}
    got = zoo.runner(across, "torch").run(turned)
    np.testing.assert_allclose(got["Y"], expected["Y"].transpose(2, 0, 1, 3), atol=1e-6)
    np.testing.assert_allclose(got["Y_h"], expected["Y_h"].swapaxes(0, 1), atol=1e-6)
