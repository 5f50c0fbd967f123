"""Keras models in HDF5: real files with Keras' own answers, files built here by hand, and what must be refused."""

from __future__ import annotations

import copy
import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from zoo.converters import tensors
from zoo.converters.graph import MODULES, PATH, all_nodes, parameters
from zoo.converters.readers import keras_config, keras_graph, keras_hdf5, keras_model, keras_weights
from zoo.errors import FileError, Malformed, Refused

h5py = pytest.importorskip("h5py")
CORPUS = Path(__file__).parents[4] / "shared" / "golden"
CASES = {
    "keras_h5_keras224": ("inception_concat", "lenet", "mlp", "multi_io_nested_shared", "resnet_odd_same", "vgg_bn"),
    "keras_h5_tf28": ("activations", "autoencoder_transpose", "depthwise_dilated_convs", "resnet_odd_same")
    + ("transformer_encoder", "vgg_bn", "bilstm_masked_text", "conv1d_conv3d"),
    "keras1_theano": ("lenet_th", "merge_tf", "mlp", "rnn_text"),
    "keras2_theano": ("deconv_cf", "inception_cf", "lenet_cf", "lenet_cl", "lstm_text", "mlp", "vgg_bn_cf"),
    "keras3_legacy_h5": ("activations", "conv1d_conv3d", "multi_io_nested_shared"),
}


def run(model: ir.Model, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """ONNX Runtime's outputs; the model passes the checker first."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    feeds = feeds if set(names) <= set(feeds) else dict(zip(names, feeds.values(), strict=True))
    outputs = session.run(None, {name: feeds[name] for name in names})
    return dict(zip([value.name for value in session.get_outputs()], outputs, strict=True))


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the golden corpus is not in ../shared")
@pytest.mark.parametrize(("form", "case"), [(form, case) for form, cases in CASES.items() for case in cases])
def test_golden_models_compute_what_keras_computed(form: str, case: str) -> None:
    folder = CORPUS / form / case
    inputs, expected = (dict(np.load(folder / f"{part}.npz")) for part in ("inputs", "outputs"))
    actual = run(keras_hdf5.read(folder / "model.h5"), inputs)
    values = [actual[name] for name in expected] if set(expected) <= set(actual) else list(actual.values())
    for value, array in zip(values, expected.values(), strict=True):
        np.testing.assert_allclose(value, array, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the golden corpus is not in ../shared")
def test_kernels_are_the_files_tensors_under_their_names_there() -> None:
    path = CORPUS / "keras_h5_tf28" / "resnet_odd_same" / "model.h5"
    read, stored = parameters(keras_hdf5.read(path).graph), tensors.read(path)
    assert set(stored) == set(read)
    for name, tensor in stored.items():
        assert tensor.tobytes() == read[name].const_value.tobytes()


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the golden corpus is not in ../shared")
@pytest.mark.parametrize(
    ("case", "layer"),
    [
        ("keras_h5_keras224/gru_rnn_mix", "Lambda"),
    ],
)
def test_golden_models_that_are_not_read_are_refused_by_name(case: str, layer: str) -> None:
    with pytest.raises(Refused, match=layer):
        keras_hdf5.read(CORPUS / case / "model.h5")


# -- files built by hand ----------------------------------------------------------------------------------------------


def layer(kind: str, name: str, config: dict[str, Any] | None = None, *inputs: str) -> dict[str, Any]:
    calls = [[[source, 0, 0, {}] for source in inputs]] if inputs else []
    return {"class_name": kind, "name": name, "config": {"name": name} | (config or {}), "inbound_nodes": calls}


def input_(shape: list[int | None], name: str = "x") -> dict[str, Any]:
    return layer("InputLayer", name, {"batch_input_shape": [None, *shape], "dtype": "float32"})


def functional(layers: list[dict[str, Any]], outputs: list[str] | None = None) -> dict[str, Any]:
    ends = outputs or [layers[-1]["name"]]
    inputs = [[entry["name"], 0, 0] for entry in layers if entry["class_name"] == "InputLayer"]
    config = {"name": "m", "layers": layers, "input_layers": inputs, "output_layers": [[e, 0, 0] for e in ends]}
    return {"class_name": "Model", "config": config}


def save(path: Path, config: Any, version: str = "2.2.4", **weights: np.ndarray) -> Path:
    """A model file; `weights` are `layer__field`."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        file.attrs["keras_version"], file.attrs["backend"] = version, "tensorflow"
        group = file.create_group("model_weights")
        for key, array in weights.items():
            name, field = key.split("__")
            group[f"{name}/{name}/{field}:0"] = array.astype(np.float32)
    return path


def test_same_padding_is_odd_at_the_end(tmp_path: Path) -> None:
    kernel = np.arange(1.0, 5.0).reshape(2, 2, 1, 1)
    conv = {"kernel_size": [2, 2], "strides": [2, 2], "padding": "same", "use_bias": False, "activation": "linear"}
    path = save(tmp_path / "x.h5", functional([input_([3, 3, 1]), layer("Conv2D", "c", conv, "x")]), c__kernel=kernel)
    x = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    padded = np.pad(x[0, :, :, 0], ((0, 1), (0, 1)))
    expected = [[(padded[i : i + 2, j : j + 2] * kernel[:, :, 0, 0]).sum() for j in (0, 2)] for i in (0, 2)]
    np.testing.assert_allclose(expected, run(keras_hdf5.read(path), {"x": x})["c"][0, :, :, 0])


def test_a_chain_of_convolutions_has_one_transpose_before_and_one_behind(tmp_path: Path) -> None:
    conv = {"kernel_size": [1, 1], "use_bias": False}
    layers = [
        input_([8, 8, 3]),
        layer("Conv2D", "a", conv, "x"),
        layer("ReLU", "r", {}, "a"),
        layer("Conv2D", "b", conv, "r"),
        layer("Add", "s", {}, "a", "b"),
        layer("MaxPooling2D", "p", {"pool_size": [2, 2]}, "s"),
    ]
    kernel = np.ones((1, 1, 3, 3))
    model = keras_hdf5.read(save(tmp_path / "x.h5", functional(layers), a__kernel=kernel, b__kernel=kernel))
    of_weights = set(parameters(model.graph).values())
    moves = [n for n in all_nodes(model.graph) if n.op_type == "Transpose" and n.inputs[0] not in of_weights]
    assert len(moves) == 2
    assert run(model, {"x": np.ones((2, 8, 8, 3), np.float32)})["p"].shape == (2, 4, 4, 3)


def test_every_node_says_which_layer_it_comes_from(tmp_path: Path) -> None:
    inner = functional([input_([4], "i"), layer("Dense", "d", {"units": 2}, "i")])
    tower = layer("Model", "tower", {}, "x") | {"config": inner["config"]}
    kernel, bias = np.ones((4, 2)), np.zeros(2)
    path = save(tmp_path / "x.h5", functional([input_([4]), tower, layer("ReLU", "r", {}, "tower")]))
    with h5py.File(path, "a") as file:
        file["model_weights/tower/d/kernel:0"], file["model_weights/tower/d/bias:0"] = kernel, bias
    model = keras_hdf5.read(path)
    assert {"tower.d", "r"} == {node.metadata_props[PATH] for node in all_nodes(model.graph)}
    modules = json.loads(model.metadata_props[MODULES])
    assert {"": "keras.Model", "tower.d": "keras.layers.Dense", "r": "keras.layers.ReLU"} == modules


def test_a_sequential_of_the_first_keras_2_has_no_input_layer(tmp_path: Path) -> None:
    dense = {"name": "d", "units": 2, "batch_input_shape": [None, 3], "activation": "relu", "use_bias": True}
    config = {"class_name": "Sequential", "config": [{"class_name": "Dense", "config": dense}]}
    kernel, bias = np.arange(6.0).reshape(3, 2), np.array([-100.0, 1.0])
    model = keras_hdf5.read(save(tmp_path / "x.h5", config, "2.0.5", d__kernel=kernel, d__bias=bias))
    x = np.ones((1, 3), np.float32)
    np.testing.assert_allclose(np.maximum(x @ kernel + bias, 0), run(model, {"d_input": x})["d"])


def test_one_tensor_that_goes_out_twice_and_one_that_only_passes(tmp_path: Path) -> None:
    layers = [input_([2]), layer("ReLU", "r", {}, "x")]
    outputs = run(
        keras_hdf5.read(save(tmp_path / "x.h5", functional(layers, ["r", "x", "r"]))), {"x": -np.ones((1, 2), "f4")}
    )
    assert [0, -1, 0] == [float(value[0, 0]) for value in outputs.values()]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            functional([input_([2]), layer("Lambda", "evil", {"function": ["4wEAAAAA", None, None]}, "x")]),
            "'evil' of class 'Lambda'",
        ),
        (functional([input_([2]), layer("MyLayer", "mine", {}, "x")]), "'mine' of class 'MyLayer'"),
        (functional([input_([2]), layer("TFOpLambda", "tf", {"function": "io.read_file"}, "x")]), "'io.read_file'"),
        (
            functional([input_([2]), layer("Activation", "a", {"activation": "my_function"}, "x")]),
            "activation 'my_function'",
        ),
        (
            functional(
                [input_([2]), layer("Activation", "a", {"activation": {"class_name": "Custom", "config": {}}}, "x")]
            ),
            "activation 'Custom'",
        ),
        ({"class_name": "MyModel", "config": {}}, "a model of class 'MyModel'"),
        (functional([layer("InputLayer", "x", {"dtype": "float32"}), layer("ReLU", "r", {}, "x")]), "no shape"),
        (functional([input_([2]), layer("ReLU", "r", {}, "x") | {"registered_name": "package>Mine"}]), "package>Mine"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_layer_of_the_table_is_refused_by_name(tmp_path: Path, config: Any, expected: str) -> None:
    with pytest.raises(Refused, match=expected):
        keras_hdf5.read(save(tmp_path / "x.h5", config, e__embeddings=np.ones((2, 2))))


LOOP = functional([input_([2]), layer("ReLU", "a", {}, "b"), layer("ReLU", "b", {}, "a")])
DEEP: Any = {"class_name": "Sequential", "config": []}
for _ in range(100):
    DEEP = {"class_name": "Sequential", "config": [DEEP]}


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{",
        "[" * 100_000,
        "null",
        "[]",
        {"class_name": "Model"},
        {"class_name": "Model", "config": {"layers": [1]}},
        {"class_name": "Sequential", "config": []},
        {"class_name": "Sequential", "config": [{"class_name": "Dense", "config": {}}]},
        functional([input_([2]), layer("ReLU", "r", {}, "absent")]),
        functional([input_([2]), layer("ReLU", "r", {}, "x")], ["absent"]),
        functional([input_([2]), layer("ReLU", "x", {}, "x")]),
        functional([input_([-2]), layer("ReLU", "r", {}, "x")]),
        functional([input_([2]), layer("ReLU", "r", {"max_value": "six"}, "x")]),
        functional([input_([2]), layer("Dropout", "r", {}, "x")]),
        functional([input_([2]), layer("Add", "r", {}, "x")]),
        functional([input_([2]), input_([3], "y"), layer("Add", "r", {}, "x", "y")]),
        functional([input_([2]), layer("Reshape", "r", {"target_shape": [0, -5]}, "x")]),
        functional([input_([2]), layer("Permute", "r", {"dims": [7]}, "x")]),
        functional([input_([8, 8, 1]), layer("MaxPooling2D", "r", {"pool_size": [-1, 0]}, "x")]),
        functional([input_([8, 8, 1]), layer("MaxPooling2D", "r", {"pool_size": "big"}, "x")]),
        functional([input_([8, 8, 2]), layer("Conv2D", "c", {}, "x")]),
        functional([input_([8]), layer("Conv2D", "c", {}, "x")]),
        functional([input_([2]), layer("Dense", "d", {}, "x")]),
        LOOP,
        DEEP,
    ],
    ids=lambda value: json.dumps(value)[-60:],
)
def test_an_architecture_that_makes_no_sense_is_an_error(tmp_path: Path, config: Any) -> None:
    path = save(tmp_path / "x.h5", config, c__kernel=np.ones((3, 3, 5, 1)), d__bias=np.ones(1))
    with pytest.raises((Malformed, Refused)):
        keras_hdf5.read(path)


JUNK = (
    None,
    True,
    -1,
    0,
    1 << 70,
    1e308,
    "",
    "x",
    "linear",
    [],
    {},
    [[]],
    [None],
    [-1, 2],
    {"class_name": "x"},
    ["x", 0, 0],
)
GOOD = functional(
    [
        input_([6, 6, 2]),
        layer("Conv2D", "c", {"kernel_size": [3, 3], "strides": [2, 2], "padding": "same", "use_bias": False}, "x"),
        layer("BatchNormalization", "b", {"axis": -1, "scale": False, "center": False}, "c"),
        layer("ReLU", "r", {"max_value": 6.0, "negative_slope": 0.1, "threshold": 0.5}, "b"),
        layer("ZeroPadding2D", "z", {"padding": [[1, 2], [0, 1]]}, "r"),
        layer("AveragePooling2D", "p", {"pool_size": [2, 2], "strides": None, "padding": "same"}, "z"),
        layer("Concatenate", "k", {"axis": 3}, "p", "p"),
        layer("Reshape", "s", {"target_shape": [2, -1]}, "k"),
        layer("Softmax", "o", {"axis": -1}, "s"),
    ]
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in [(value, key), *places(value[key])]]


def test_any_field_may_be_junk_and_the_error_is_clean(tmp_path: Path) -> None:
    weights = {"c__kernel": np.ones((3, 3, 2, 4)), "b__moving_mean": np.ones(4), "b__moving_variance": np.ones(4)}
    path = save(tmp_path / "x.h5", GOOD, **weights)
    assert keras_hdf5.read(path).graph.outputs[0].name == "o"
    read, stored = 0, tensors.read(path)
    for at, junk in itertools.product(range(len(places(GOOD))), JUNK):
        config = copy.deepcopy(GOOD)
        container, key = places(config)[at]
        container[key] = junk
        try:
            model = keras_config.model(config)
            origin = keras_graph.Origin((2, 2), "tensorflow")
            keras_graph.build(model, keras_model.TABLE, keras_weights.Named(stored), origin)
            read += 1
        except (keras_config.Fault, *keras_model.NONSENSE):
            pass
    assert read > 0


def test_only_files_with_an_architecture_are_models(tmp_path: Path) -> None:
    model = save(tmp_path / "x.h5", functional([input_([2]), layer("ReLU", "r", {}, "x")]))
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["w"] = np.ones(2)
    (tmp_path / "broken.h5").write_bytes(model.read_bytes()[:100])
    (tmp_path / "other").write_bytes(b"PK\3\4")
    assert [True, False, False, False] == [
        keras_hdf5.sniff(path, path.read_bytes()[:4096])
        for path in (model, *(tmp_path / name for name in ("weights.h5", "broken.h5", "other")))
    ]
    for name in ("weights.h5", "broken.h5", "other"):
        with pytest.raises(FileError):
            keras_hdf5.read(tmp_path / name)


# -- against the installed Keras --------------------------------------------------------------------------------------

LAYERS: list[tuple[str, dict[str, Any], list[tuple[int, ...]]]] = [
    ("Dense", {"units": 3, "activation": "gelu"}, [(4,)]),
    ("Dense", {"units": 3, "use_bias": False}, [(5, 4)]),
    *(
        ("Activation", {"activation": name}, [(3, 4)])
        for name in (
            *("relu", "relu6", "sigmoid", "tanh", "softplus", "softsign", "elu", "selu", "exponential", "gelu", "silu"),
            *("mish", "leaky_relu", "hard_silu", "celu", "hard_sigmoid", "softmax", "log_softmax", "linear"),
        )
    ),
    ("ReLU", {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.5}, [(6,)]),
    ("ReLU", {"negative_slope": 0.1}, [(6,)]),
    ("LeakyReLU", {"negative_slope": 0.2}, [(6,)]),
    ("ELU", {"alpha": 0.5}, [(6,)]),
    ("PReLU", {"shared_axes": [1, 2], "alpha_initializer": "random_normal"}, [(4, 5, 3)]),
    ("Softmax", {"axis": 1}, [(4, 3)]),
    ("Conv1D", {"filters": 4, "kernel_size": 3, "padding": "causal", "dilation_rate": 2}, [(9, 2)]),
    ("Conv1D", {"filters": 4, "kernel_size": 4, "padding": "same", "strides": 3}, [(10, 2)]),
    ("Conv2D", {"filters": 4, "kernel_size": (3, 2), "strides": 2, "padding": "same", "groups": 2}, [(8, 7, 4)]),
    ("Conv2D", {"filters": 4, "kernel_size": 4, "padding": "same"}, [(None, None, 3)]),
    ("Conv2D", {"filters": 4, "kernel_size": 3, "padding": "same", "strides": 2}, [(None, None, 3)]),
    ("Conv2D", {"filters": 4, "kernel_size": 3, "dilation_rate": 2, "activation": "softmax"}, [(9, 9, 3)]),
    ("Conv3D", {"filters": 2, "kernel_size": 2, "strides": (2, 1, 2), "padding": "same"}, [(5, 4, 6, 2)]),
    ("DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 2, "padding": "same"}, [(6, 5, 3)]),
    ("DepthwiseConv1D", {"kernel_size": 3, "depth_multiplier": 2, "strides": 2}, [(9, 3)]),
    (
        "SeparableConv2D",
        {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "same", "depth_multiplier": 2},
        [(7, 6, 3)],
    ),
    ("SeparableConv1D", {"filters": 5, "kernel_size": 3, "activation": "relu"}, [(7, 3)]),
    *(
        ("Conv2DTranspose", {"filters": 2, "kernel_size": k, "strides": s, "padding": p}, [(5, 4, 3)])
        for k in (1, 2, 3, 4, 5)
        for s in (1, 2, 3)
        for p in ("same", "valid")
    ),
    (
        "Conv2DTranspose",
        {"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same", "output_padding": 1},
        [(5, 4, 3)],
    ),
    (
        "Conv2DTranspose",
        {"filters": 2, "kernel_size": 4, "strides": 3, "padding": "valid", "output_padding": 2},
        [(5, 4, 3)],
    ),
    ("Conv1DTranspose", {"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same"}, [(5, 3)]),
    ("MaxPooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}, [(8, 7, 2)]),
    ("MaxPooling1D", {"pool_size": 2}, [(7, 2)]),
    ("AveragePooling2D", {"pool_size": (3, 2), "strides": 1, "padding": "same"}, [(6, 5, 2)]),
    ("AveragePooling3D", {"pool_size": 2}, [(5, 4, 6, 2)]),
    ("GlobalAveragePooling2D", {"keepdims": True}, [(6, 5, 2)]),
    ("GlobalMaxPooling1D", {}, [(6, 2)]),
    ("BatchNormalization", {"epsilon": 0.01, "scale": False}, [(5, 4, 3)]),
    ("BatchNormalization", {"axis": 1, "center": False}, [(3, 4)]),
    ("BatchNormalization", {}, [(3,)]),
    ("LayerNormalization", {"axis": [1, 2], "epsilon": 1e-4}, [(3, 4)]),
    ("LayerNormalization", {"scale": False}, [(3, 4)]),
    ("Embedding", {"input_dim": 7, "output_dim": 3}, [(5,)]),
    ("Flatten", {}, [(3, 4, 2)]),
    ("Flatten", {"data_format": "channels_first"}, [(3, 4, 2)]),
    ("Reshape", {"target_shape": (4, -1, 2)}, [(3, 8)]),
    ("Permute", {"dims": (3, 1, 2)}, [(3, 4, 2)]),
    ("RepeatVector", {"n": 3}, [(4,)]),
    ("ZeroPadding2D", {"padding": ((1, 2), (0, 3))}, [(4, 5, 2)]),
    ("ZeroPadding1D", {"padding": (1, 2)}, [(4, 2)]),
    ("ZeroPadding3D", {"padding": 1}, [(3, 3, 3, 2)]),
    ("Cropping2D", {"cropping": ((1, 0), (0, 2))}, [(4, 5, 2)]),
    ("UpSampling2D", {"size": (2, 3)}, [(4, 5, 2)]),
    ("UpSampling2D", {"size": 2, "interpolation": "bilinear"}, [(4, 5, 2)]),
    ("UpSampling1D", {"size": 3}, [(4, 2)]),
    *((kind, {}, [(3, 4), (3, 4)]) for kind in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")),
    ("Add", {}, [(4, 5, 3), (1, 1, 3), (4, 5, 1)]),
    ("Multiply", {}, [(4, 5, 3), (1, 3)]),
    ("Concatenate", {"axis": 1}, [(3, 4), (2, 4)]),
    ("Concatenate", {}, [(3, 4), (3, 2)]),
    ("Dot", {"axes": 1, "normalize": True}, [(4,), (4,)]),
    ("Dot", {"axes": (2, 1)}, [(3, 4), (4, 2)]),
    ("Dot", {"axes": (1, 2)}, [(3, 4), (5, 3)]),
    ("Dot", {"axes": (1, 1)}, [(4,), (4, 3)]),
    ("Attention", {"use_scale": True}, [(4, 3), (5, 3)]),
    ("Attention", {}, [(4, 3), (5, 2), (5, 3)]),
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3, "value_dim": 4, "output_shape": 5}, [(4, 6), (5, 7)]),
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3, "use_bias": False}, [(4, 6), (5, 7), (5, 8)]),
    ("Dropout", {"rate": 0.5}, [(4, 3)]),
    ("GaussianNoise", {"stddev": 0.5}, [(4, 3)]),
]


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    pytest.importorskip("tensorflow")
    return pytest.importorskip("keras")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "config", "shapes"), LAYERS, ids=lambda value: str(value)[:60])
def test_every_layer_computes_what_the_installed_keras_computes(
    keras: Any, tmp_path: Path, kind: str, config: dict[str, Any], shapes: list[tuple[int, ...]]
) -> None:
    rng = np.random.default_rng(0)
    dtype = "int32" if kind == "Embedding" else "float32"
    inputs = [keras.Input(shape, dtype=dtype) for shape in shapes]
    made = getattr(keras.layers, kind)(**config)
    output = made(*inputs) if kind == "MultiHeadAttention" else made(inputs if len(inputs) > 1 else inputs[0])
    model = keras.Model(inputs, output)
    model.set_weights(
        [
            rng.uniform(0.5, 1.5, w.shape) * rng.choice([-1, 1], w.shape)
            if "var" not in w.path
            else rng.uniform(0.5, 1.5, w.shape)
            for w in model.weights
        ]
    )
    model.save(tmp_path / "x.h5")
    arrays = [rng.standard_normal((2, *(n or 7 for n in shape))).astype(np.float32) for shape in shapes]
    arrays = [rng.integers(0, 7, array.shape).astype(np.int32) for array in arrays] if kind == "Embedding" else arrays
    expected = np.asarray(model(arrays if len(arrays) > 1 else arrays[0], training=False))
    (actual,) = run(keras_hdf5.read(tmp_path / "x.h5"), {f"x{i}": array for i, array in enumerate(arrays)}).values()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
