"""Which of Keras' layers come out of a graph, what they are called, and how their weights stand there and come back."""

from __future__ import annotations

from collections import Counter

import keras
import numpy as np
import pytest

import zoo
from tests.converters.writers.keras.conftest import TRANSFORMER, parsed
from zoo.converters.writers.keras.saved import Op
from zoo.converters.writers.keras.writer import tensors

NAMES = ["resnet", "mobilenet", "transformer"]
LAYERS = {
    "resnet": {
        "conv1": "Conv2D",
        "bn1": "BatchNormalization",
        "max_pool": "MaxPooling2D",
        "layer1_0_conv1": "Conv2D",
        "layer1_0_bn1": "BatchNormalization",
        "layer1_0_conv2": "Conv2D",
        "layer1_0_bn2": "BatchNormalization",
        "add": "Add",
        "global_average_pool": "GlobalAveragePooling2D",
        "fc": "Dense",
    },
    "mobilenet": {
        "stem": "Conv2D",
        "hard_swish": "Activation",
        "block_depthwise": "DepthwiseConv2D",
        "block_norm": "BatchNormalization",
        "clip": "ReLU",
        "block_squeeze": "Conv2D",
        "mul": "Multiply",
        "average_pool": "AveragePooling2D",
        "dropout": "Dropout",
        "head": "Dense",
    },
    "transformer": {
        "embeddings": "Embedding",
        "norm0": "LayerNormalization",
        "attention": "MultiHeadAttention",
        "norm1": "LayerNormalization",
        "mlp_up": "Dense",
        "gelu": "Activation",
        "mlp_down": "Dense",
        "norm2": "LayerNormalization",
        "reduce_mean": "GlobalAveragePooling1D",
        "head": "Dense",
    },
}


@pytest.fixture(scope="module")
def natives(models):
    return {name: zoo.load(model, framework="keras") for name, model in models.items()}


def as_arrays(made, names):
    made = made if isinstance(made, dict) else dict(zip(names, [made], strict=True))
    return {name: keras.ops.convert_to_numpy(y) for name, y in made.items()}


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_keras_own_under_the_authors_names(natives, name):
    found = {layer.name: type(layer).__name__ for layer in natives[name].layers}
    assert LAYERS[name] == {key: found.get(key) for key in LAYERS[name]}
    assert all(type(natives[name].get_layer(key)).__module__.startswith("keras.") for key in LAYERS[name])


@pytest.mark.parametrize("name", ["resnet", "mobilenet"])
def test_a_convolutional_net_is_nothing_but_keras_layers_with_channels_last(natives, name):
    assert not any(isinstance(layer, Op) for layer in natives[name].layers)
    assert "Permute" not in {type(layer).__name__ for layer in natives[name].layers}
    assert natives[name].input.shape == (None, None, None, 3)


def test_what_is_no_layer_of_keras_runs_as_an_operator_of_its_own(natives):
    ops = {layer.name: [s.op for s in layer.program.steps] for layer in natives["transformer"].layers if is_op(layer)}
    assert {"cast": ["Cast"], "and": ["And"]}.items() <= ops.items()


def is_op(layer):
    return isinstance(layer, Op)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_of_onnx_runtime(natives, feeds, expected, as_keras, name):
    made = as_arrays(natives[name](as_keras(feeds[name])), expected[name])
    for key, want in expected[name].items():
        np.testing.assert_allclose(made[key], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_other_batch_and_size_goes_in(natives, models, name):
    rng = np.random.default_rng(2)
    if name == "transformer":
        feeds = {"ids": rng.integers(0, 30, size=(3, 5)), "mask": np.ones((3, 5), np.int64)}
        given = list(feeds.values())
    else:
        feeds = {"image": rng.normal(size=(3, 3, 44, 52)).astype(np.float32)}
        given = feeds["image"].transpose(0, 2, 3, 1)
    want = zoo.runner(models[name], "onnx").run(feeds)
    for key, y in as_arrays(natives[name].predict(given, verbose=0), want).items():
        np.testing.assert_allclose(y, want[key], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_way_back_is_bit_equal_in_the_authors_order(natives, weights, name):
    back = tensors(natives[name])
    assert list(weights[name]) == list(back)
    assert all(back[key].numpy().tobytes() == array.tobytes() for key, array in weights[name].items())


def test_what_was_trained_in_keras_goes_back_under_the_authors_names(models, weights):
    native = zoo.load(models["resnet"], framework="keras")
    native.get_layer("fc").kernel.assign_add(np.ones((8, 5), np.float32))
    np.testing.assert_array_equal(tensors(native)["fc.weight"].numpy(), weights["resnet"]["fc.weight"] + 1)


def test_attention_has_a_kernel_for_each_head(natives, weights):
    attention = natives["transformer"].get_layer("attention")
    want = weights["transformer"]["attention.query.weight"].T.reshape(16, 4, 4)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(attention.query_dense.kernel), want)
    assert (4, 4, 16) == attention.output_dense.kernel.shape


def test_channels_first_is_a_choice(models, feeds, expected):
    native = zoo.load(models["resnet"], framework="keras", channels="first")
    assert (None, 3, None, None) == native.input.shape
    made = keras.ops.convert_to_numpy(native(feeds["resnet"]["image"]))
    np.testing.assert_allclose(made, expected["resnet"]["logits"], rtol=1e-5, atol=1e-5)


def test_padding_that_is_same_for_a_size_that_is_known_is_the_layers_own():
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    text = """same (float[N, 3, 8, 8] x) => (float[N, 4, 2, 2] y) {
      a = Conv <pads = [0, 0, 1, 1], strides = [2, 2]> (x, "conv.weight")
      y = MaxPool <kernel_shape = [3, 3], pads = [0, 0, 1, 1], strides = [2, 2]> (a)
    }"""
    model = parsed(text, {"conv.weight": weight})
    native = zoo.load(model, framework="keras")
    assert ["InputLayer", "Conv2D", "MaxPooling2D"] == [type(layer).__name__ for layer in native.layers]
    x = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32)
    want = zoo.runner(model, "onnx").run({"x": x})["y"]
    made = keras.ops.convert_to_numpy(native(x.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(made, want, rtol=1e-5, atol=1e-5)


def test_a_table_that_is_also_the_last_layer_is_one_weight():
    table = np.random.default_rng(0).normal(size=(11, 6)).astype(np.float32)
    text = """tied (int64[N, L] ids) => (float[N, L, 11] logits) {
      x = Gather ("wte.weight", ids)
      h = Relu (x)
      t = Transpose <perm = [1, 0]> ("wte.weight")
      logits = MatMul (h, t)
    }"""
    model = parsed(text, {"wte.weight": table})
    native = zoo.load(model, framework="keras")
    assert 1 == len(native.weights)
    assert "ReversibleEmbedding" == type(native.get_layer("wte")).__name__
    ids = np.array([[1, 2, 10]])
    want = zoo.runner(model, "onnx").run({"ids": ids})["logits"]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(native(ids)), want, rtol=1e-5, atol=1e-6)
    assert tensors(native)["wte.weight"].numpy().tobytes() == table.tobytes()


def test_a_layer_that_is_called_twice_is_one_layer():
    rng = np.random.default_rng(0)
    weights = {"fc.weight": rng.normal(size=(4, 4)), "fc.bias": rng.normal(size=4)}
    weights = {name: array.astype(np.float32) for name, array in weights.items()}
    text = """twice (float[N, 4] x) => (float[N, 4] y) {
      a = Gemm <transB = 1> (x, "fc.weight", "fc.bias")
      b = Relu (a)
      y = Gemm <transB = 1> (b, "fc.weight", "fc.bias")
    }"""
    native = zoo.load(parsed(text, weights), framework="keras")
    assert Counter({"Dense": 1, "ReLU": 1, "InputLayer": 1}) == Counter(type(layer).__name__ for layer in native.layers)


# an attention that Keras' layer is not: what differs -> the text's part and what takes its place
OTHER = {
    "a scale of its own": ("Attention (q", "Attention <scale = 0.3> (q"),
    "capped scores": ("Attention (q", "Attention <softcap = 2.0> (q"),
    "a causal mask beside another": ("Attention (q", "Attention <is_causal = 1> (q"),
    "a mask that is added": ("every)\n", "added)\n"),
    "a projection without a bias": ('k1 = Add (k0, "attention.key.bias")', "k1 = Identity (k0)"),
    "heads that are read elsewhere": ("r = Add (x, o)", "r0 = Add (x, o)\n  r = Add (r0, q1)"),
}


@pytest.mark.parametrize("why", OTHER)
def test_an_attention_that_keras_layer_is_not_has_layers_for_its_projections(weights, feeds, why):
    was, becomes = OTHER[why]
    added = "every = And (token, seen)\n  as_float = Cast <to = 1> (every)\n  added = Sub (as_float, one)"
    text = TRANSFORMER.replace(was, becomes).replace("every = And (token, seen)", added)
    text = text.replace("int64 zero = {0}>", "int64 zero = {0}, float one = {1.0}>")
    held = {
        key: array for key, array in weights["transformer"].items() if "Identity" not in becomes or "key.b" not in key
    }
    model = parsed(text, held)
    native = zoo.load(model, framework="keras")
    found = {layer.name: type(layer).__name__ for layer in native.layers}
    assert ("Dense", "Dense") == (found["attention_query"], found["attention_output"])
    want = zoo.runner(model, "onnx").run(feeds["transformer"])
    for key, y in zoo.runner(model, "keras").run(feeds["transformer"]).items():
        np.testing.assert_allclose(y, want[key], rtol=1e-5, atol=1e-5)


# one linear layer for all three, as timm writes it, and as torch's nn.MultiheadAttention is exported
FUSED = """fused (float[N, 5, 16] x) => (float[N, 5, 16] y)
<int64[5] split = {-1, 5, 3, 4, 4}, int64[3] join = {-1, 5, 16}, int64[1] first = {0}> {
  a = Transpose <perm = [1, 0]> ("attn.qkv.weight")
  b = MatMul (x, a)
  c = Add (b, "attn.qkv.bias")
  d = Reshape (c, split)
  e = Transpose <perm = [2, 0, 3, 1, 4]> (d)
  q0, k0, v0 = Split <axis = 0, num_outputs = 3> (e)
  q = Squeeze (q0, first)
  k = Squeeze (k0, first)
  v = Squeeze (v0, first)
  f = Attention (q, k, v)
  g = Transpose <perm = [0, 2, 1, 3]> (f)
  h = Reshape (g, join)
  i = Transpose <perm = [1, 0]> ("attn.proj.weight")
  j = MatMul (h, i)
  y = Add (j, "attn.proj.bias")
}"""
PACKED = """packed (float[N, 5, 16] x) => (float[N, 5, 16] y)
<int64[4] split = {5, -1, 3, 16}, int64[1] first = {0}, int64[1] inner = {-2}, int64 zero = {0}, int64 one = {1},
 int64 two = {2}, int64[3] rows = {5, -1, 4}, int64[4] heads = {-1, 4, 5, 4}, int64[2] flat = {-1, 16},
 int64[3] back = {5, -1, 16}> {
  t = Transpose <perm = [1, 0, 2]> (x)
  a = Transpose <perm = [1, 0]> ("attn.qkv.weight")
  b = MatMul (t, a)
  c = Add (b, "attn.qkv.bias")
  d0 = Reshape (c, split)
  d1 = Unsqueeze (d0, first)
  d2 = Transpose <perm = [3, 1, 2, 0, 4]> (d1)
  d = Squeeze (d2, inner)
  q0 = Gather <axis = 0> (d, zero)
  k0 = Gather <axis = 0> (d, one)
  v0 = Gather <axis = 0> (d, two)
  q1 = Reshape (q0, rows)
  k1 = Reshape (k0, rows)
  v1 = Reshape (v0, rows)
  q2 = Transpose <perm = [1, 0, 2]> (q1)
  k2 = Transpose <perm = [1, 0, 2]> (k1)
  v2 = Transpose <perm = [1, 0, 2]> (v1)
  q = Reshape (q2, heads)
  k = Reshape (k2, heads)
  v = Reshape (v2, heads)
  f = Attention (q, k, v)
  g = Transpose <perm = [2, 0, 1, 3]> (f)
  h = Reshape (g, flat)
  j = Gemm <transB = 1> (h, "attn.proj.weight", "attn.proj.bias")
  m = Reshape (j, back)
  y = Transpose <perm = [1, 0, 2]> (m)
}"""


@pytest.mark.parametrize("text", [FUSED, PACKED], ids=["fused", "packed"])
def test_one_projection_for_all_three_is_taken_apart_and_comes_back_whole(text, tmp_path):
    rng = np.random.default_rng(0)
    shapes = {
        "attn.qkv.weight": (48, 16),
        "attn.qkv.bias": (48,),
        "attn.proj.weight": (16, 16),
        "attn.proj.bias": (16,),
    }
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    model, x = parsed(text, weights), rng.normal(size=(3, 5, 16)).astype(np.float32)
    native = zoo.load(model, framework="keras")
    assert ["InputLayer", "MultiHeadAttention"] == [type(layer).__name__ for layer in native.layers]
    want = zoo.runner(model, "onnx").run({"x": x})["y"]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(native(x)), want, rtol=1e-4, atol=1e-5)
    native.save(tmp_path / "model.keras")
    for made in (native, keras.saving.load_model(tmp_path / "model.keras")):
        back = tensors(made)
        assert list(weights) == list(back)
        assert all(back[name].numpy().tobytes() == array.tobytes() for name, array in weights.items())


def test_heads_that_stand_otherwise_are_no_layer_of_keras(weights, feeds):
    text = TRANSFORMER.replace("q = Transpose <perm = [0, 2, 1, 3]> (q2)", "q = Transpose <perm = [0, 3, 1, 2]> (q2)")
    model = parsed(text, weights["transformer"])
    assert "MultiHeadAttention" not in {type(x).__name__ for x in zoo.load(model, framework="keras").layers}
    want = zoo.runner(model, "onnx").run(feeds["transformer"])["hidden"]
    made = zoo.runner(model, "keras").run(feeds["transformer"])["hidden"]
    np.testing.assert_allclose(made, want, rtol=1e-5, atol=1e-5)


def test_causal_attention_is_keras_layer_as_well(weights, feeds):
    text = TRANSFORMER.replace("Attention (q, k, v, every)", "Attention <is_causal = 1> (q, k, v)")
    text = text.replace(", int64[N, L] mask)", ")").replace(
        "shown = Cast <to = 9> (mask)", "shown = Cast <to = 9> (ids)"
    )
    model = parsed(text, weights["transformer"])
    native = zoo.load(model, framework="keras")
    assert "MultiHeadAttention" == type(native.get_layer("attention")).__name__
    ids = {"ids": feeds["transformer"]["ids"]}
    want = zoo.runner(model, "onnx").run(ids)["hidden"]
    np.testing.assert_allclose(zoo.runner(model, "keras").run(ids)["hidden"], want, rtol=1e-5, atol=1e-5)
