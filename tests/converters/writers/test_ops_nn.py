"""Normalisations, activations and losses in torch, in forms beyond the backend suite; and the layers they become."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

import zoo
from zoo.converters.graph import MODULES, PARAMETER, PATH

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
HALVES = [np.float16, ml_dtypes.bfloat16]


def f(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def normalised(x, axes, epsilon=1e-5):
    wide = x.astype(np.float64)
    mean, variance = wide.mean(axes, keepdims=True), wide.var(axes, keepdims=True)
    return (wide - mean) / np.sqrt(variance + epsilon), mean, 1 / np.sqrt(variance + epsilon)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_layer_normalisation_over_any_axes_with_its_statistics(agrees, axis, outputs):
    x = f(2, 3, 4)
    scale, bias = f(*x.shape[axis % 3 :]), f(*x.shape[axis % 3 :])
    agrees("LayerNormalization", {"axis": axis, "epsilon": 1e-3}, [x, scale, bias], outputs=outputs)
    agrees("LayerNormalization", {"axis": axis}, [x, scale], outputs=outputs, free=True)


def test_layer_normalisation_whose_scale_is_broadcast(agrees):
    x, scale, bias = f(2, 3, 4), f(1), f(3, 1)
    expected = [(normalised(x, (1, 2))[0] * scale + bias).astype(np.float32)]
    agrees("LayerNormalization", {"axis": 1}, [x, scale, bias], expected)


@pytest.mark.parametrize("dtype", [*HALVES, np.float64])
def test_the_statistics_are_of_the_stashed_dtype(agrees, dtype):
    x, scale = f(2, 8, dtype=dtype), np.ones(8, dtype=dtype)
    y, mean, deviation = normalised(x, -1)
    expected = [y.astype(dtype), mean.astype(np.float32), deviation.astype(np.float32)]
    got = agrees("LayerNormalization", {}, [x, scale], expected, outputs=3)
    assert ["float32", "float32"] == [v.dtype.name for v in got[1:]]
    bfloat = [y.astype(dtype), mean.astype(ml_dtypes.bfloat16), deviation.astype(ml_dtypes.bfloat16)]
    if dtype != np.float64:
        agrees("LayerNormalization", {"stash_type": 16}, [x, scale], bfloat, outputs=3)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize(("of_x", "of_scale"), [(np.float32,) * 2, (np.float16,) * 2, (np.float16, np.float32)])
def test_rms_normalisation_in_the_dtype_of_its_scale(agrees, axis, of_x, of_scale):
    x, scale = f(2, 3, 8, dtype=of_x), f(*(2, 3, 8)[axis % 3 :], dtype=of_scale)
    wide = x.astype(np.float64)
    rms = np.sqrt((wide**2).mean(tuple(range(axis % 3, 3)), keepdims=True) + 1e-5)
    agrees("RMSNormalization", {"axis": axis}, [x, scale], [(wide / rms * scale).astype(of_scale)])
    agrees("RMSNormalization", {"axis": axis}, [x, scale], [(wide / rms * scale).astype(of_scale)], free=True)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 4, 4), (2, 3, 2, 2, 2)])
def test_batch_normalisation_of_any_rank_in_both_modes(agrees, shape):
    given = [f(*shape), f(3), f(3), f(3), np.abs(f(3)) + 0.5]
    agrees("BatchNormalization", {"epsilon": 1e-3}, given)
    agrees("BatchNormalization", {"training_mode": 1, "momentum": 0.7}, given, outputs=3)
    agrees("BatchNormalization", {"training_mode": 1}, given, outputs=["y0", "", "y2"])


def test_batch_normalisation_of_half_precision_with_wider_statistics(agrees):
    x, scale, bias, mean = f(2, 3, 4, dtype=np.float16), f(3), f(3), f(3)
    variance = np.abs(f(3)) + 0.5
    shape = (1, 3, 1)
    expected = (x - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + 1e-5) * scale.reshape(shape)
    agrees(
        "BatchNormalization",
        {},
        [x, scale, bias, mean, variance],
        [(expected + bias.reshape(shape)).astype(np.float16)],
    )


@pytest.mark.parametrize("shape", [(2, 4, 3), (2, 4, 3, 3), (1, 4, 2, 2, 2)])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_normalisation(agrees, groups, shape):
    x, scale, bias = f(*shape), f(4), f(4)
    grouped = normalised(x.reshape(shape[0], groups, -1), -1)[0].reshape(shape)
    wide = (1, 4) + (1,) * (len(shape) - 2)
    expected = (grouped * scale.reshape(wide) + bias.reshape(wide)).astype(np.float32)
    agrees("GroupNormalization", {"num_groups": groups}, [x, scale, bias], [expected])
    agrees("GroupNormalization", {"num_groups": groups}, [x, scale, bias], [expected], free=True)


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 4, 5), (2, 3, 2, 2, 2), (2, 3, 1, 1), (1, 3, 1)])
def test_instance_normalisation(agrees, shape):
    agrees("InstanceNormalization", {"epsilon": 1e-2}, [f(*shape), f(3), f(3)])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7])
def test_local_response_normalisation_of_odd_and_even_sizes(agrees, size):
    # the reference goes over as many channels as there are samples
    for x in (f(2, 6, 3, 3), f(2, 5, 4), f(1, 4, 2, 2, 2)):
        before, behind = (size - 1) // 2, -(-(size - 1) // 2)
        squares = np.pad(x**2, [(0, 0), (before, behind)] + [(0, 0)] * (x.ndim - 2))
        sums = sum(squares[:, k : k + x.shape[1]] for k in range(size))
        agrees("LRN", {"size": size, "alpha": 0.1, "beta": 0.6, "bias": 2.0}, [x], [x / (2 + 0.1 / size * sums) ** 0.6])
        half = x.astype(np.float16)
        wide = agrees("LRN", {"size": size}, [x], [x / (1 + 1e-4 / size * sums) ** 0.75])
        agrees("LRN", {"size": size}, [half], [wide[0].astype(np.float16)])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("p", [1, 2])
def test_vectors_of_norm_one_and_zeros(agrees, p, dtype):
    x = np.array([[3, 4, 0], [0, 0, 0], [1, -1, 1]], dtype=dtype)
    for axis in (0, 1, -1):
        norm = np.linalg.norm(x.astype(np.float64), p, axis, keepdims=True)
        expected = np.where(norm == 0, 0, x / np.where(norm == 0, 1, norm)).astype(dtype)
        agrees("LpNormalization", {"p": p, "axis": axis}, [x], [expected])


@pytest.mark.parametrize("axes", [None, [0], [1, 2], [-1]])
def test_mean_and_variance_normalisation(agrees, axes):
    x = f(2, 3, 4, 5)
    along = tuple(axes or (0, 2, 3))
    expected = (x - x.mean(along, keepdims=True)) / (x.std(along, keepdims=True) + 1e-9)
    agrees("MeanVarianceNormalization", {} if axes is None else {"axes": axes}, [x], [expected.astype(np.float32)])


@pytest.mark.parametrize(
    ("op", "attributes"),
    [("Celu", {"alpha": 0.7}), ("Selu", {}), ("Selu", {"alpha": 1.5, "gamma": 0.9}), ("Elu", {"alpha": 0.4})]
    + [("ThresholdedRelu", {"alpha": 0.5}), ("ThresholdedRelu", {}), ("Shrink", {"lambd": 0.3, "bias": 0.3})]
    + [("Shrink", {"lambd": 0.3}), ("Shrink", {"lambd": 0.3, "bias": 0.1}), ("Softsign", {}), ("Mish", {})]
    + [("HardSigmoid", {"alpha": 0.3, "beta": 0.4}), ("Swish", {}), ("Swish", {"alpha": 1.7}), ("LeakyRelu", {})]
    + [("Hardmax", {}), ("Hardmax", {"axis": 0}), ("LogSoftmax", {"axis": 1}), ("Softmax", {"axis": -3})],
)
def test_activations(agrees, op, attributes):
    agrees(op, attributes, [f(3, 4, 5)])
    agrees(op, attributes, [f(3, 4, 5)], free=True)


def test_a_gate_lets_through(agrees):
    agrees("SwiGLU", {}, [f(2, 3), f(2, 3)])
    agrees("SwiGLU", {"alpha": 1.4}, [f(2, 3), f(2, 3)])


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.uint32])
def test_integers_shrink_as_the_body_of_the_standard_says(agrees, dtype):
    x = np.array([0, 1, 2, 5, 9], dtype=dtype)
    agrees("Shrink", {"lambd": 1.5, "bias": 1.0}, [x], [np.array([0, 0, 1, 4, 8], dtype=dtype)])


@pytest.mark.parametrize("shape", [(), (1,), (4, 1), (3, 1, 1), (5,), (2, 3, 4, 5)])
def test_slopes_of_every_shape(agrees, shape):
    agrees("PRelu", {}, [f(2, 3, 4, 5), f(*shape)])
    agrees("PRelu", {}, [f(2, 3, 4, 5), [f(*shape)]])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 2, 2), (2, 3, 1, 2, 2)])
@pytest.mark.parametrize("options", [{}, {"ignore_index": 1}, {"ignore_index": -1}, {"ignore_index": -100}])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses(agrees, reduction, shape, options, weighted):
    labels = RNG.integers(0, 3, (shape[0], *shape[2:]))
    if "ignore_index" in options:
        labels.reshape(-1)[0] = options["ignore_index"]
    scores = f(*shape)
    log_prob = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    weight = np.abs(f(3)) + 0.1 if weighted else np.ones(3, dtype=np.float32)
    counts = np.where(labels == options.get("ignore_index"), 0, weight[np.clip(labels, 0, 2)])
    chosen = np.take_along_axis(log_prob, np.clip(labels, 0, 2)[:, None], 1)[:, 0]
    loss = -chosen * counts
    total = {"mean": loss.sum() / counts.sum(), "sum": loss.sum(), "none": loss}[reduction].astype(np.float32)
    given = [weight] if weighted else []
    attributes = {"reduction": reduction, **options}
    agrees("NegativeLogLikelihoodLoss", attributes, [log_prob, labels.astype(np.int32), *given], [total])
    agrees("SoftmaxCrossEntropyLoss", attributes, [scores, labels.astype(np.int32), *given], [total])
    agrees("SoftmaxCrossEntropyLoss", attributes, [scores, labels, *given], [total, log_prob], outputs=2)


def layered(graph, text, cls, arguments=None, path="layer"):
    """The text's model, every node and its parameters the author's module of a class at `path`."""
    model = graph(text)
    for value in list(model.graph.inputs):
        if value.name.startswith(f"{path}_"):  # onnx's text form has no dots in names
            value.name = value.name.replace(f"{path}_", f"{path}.")
            value.metadata_props[PARAMETER] = "parameter"
    for node in model.graph:
        node.metadata_props[PATH] = path
    model.metadata_props[MODULES] = json.dumps({"": "made.up.Model", path: [cls, arguments or {}]})
    return model


def written(model, **tensors):
    from zoo.converters.bind import bind
    from zoo.converters.whole import prepared
    from zoo.converters.writers.torch.writer import lowers, write

    bound = bind(prepared(model, lowers), {name: ir.tensor(array) for name, array in tensors.items()})
    return write(bound)


LAYERS = [
    ("InstanceNorm2d", "InstanceNormalization (x, layer_weight, layer_bias)", "2,3,4,4", "3", True),
    ("GroupNorm", "GroupNormalization <num_groups = 1> (x, layer_weight, layer_bias)", "2,3,4,4", "3", True),
    ("LayerNorm", "LayerNormalization (x, layer_weight, layer_bias)", "2,5,3", "3", True),
    ("RMSNorm", "RMSNormalization (x, layer_weight)", "2,5,3", "3", False),
    ("PReLU", "PRelu (x, slope)", "2,3,4,4", "3", False),
]


@pytest.mark.parametrize(("name", "call", "shape", "size", "has_bias"), LAYERS, ids=[r[0] for r in LAYERS])
def test_the_authors_layer_is_torchs_own_with_his_parameters(graph, name, call, shape, size, has_bias):
    further = f", float[{size}] layer_bias" if has_bias else ""
    slope = (
        "axes = Constant <value_ints = [1, 2]> ()  slope = Unsqueeze (layer_weight, axes)" if name == "PReLU" else ""
    )
    text = (
        f"agraph (float[{shape}] x, float[{size}] layer_weight{further}) => (float[{shape}] y) {{ {slope} y = {call} }}"
    )
    model = layered(graph, text, f"torch.nn.modules.made_up.{name}")
    tensors = {"layer.weight": f(int(size))} | ({"layer.bias": f(int(size))} if has_bias else {})
    module = written(model, **tensors)
    assert type(module.layer) is getattr(torch.nn, name)
    assert sorted(tensors) == sorted(module.state_dict())
    x = torch.from_numpy(f(*map(int, shape.split(","))))
    own = torch.nn.Module.__call__(module.layer, x)
    torch.testing.assert_close(module(x), own)
    module(x).sum().backward()
    assert module.layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("cls", "call"),
    [
        ("activation.CELU", "Celu <alpha = 0.7> (x)"),
        ("activation.SELU", "Selu (x)"),
        ("activation.Softsign", "Softsign (x)"),
    ]
    + [("activation.Threshold", "ThresholdedRelu <alpha = 0.5> (x)"), ("activation.LogSoftmax", "LogSoftmax (x)")]
    + [("activation.Hardshrink", "Shrink <lambd = 0.5> (x)"), ("activation.Mish", "Mish (x)")]
    + [("activation.Softshrink", "Shrink <lambd = 0.5, bias = 0.5> (x)"), ("activation.SiLU", "Swish (x)")]
    + [("normalization.LocalResponseNorm", "LRN <size = 3> (x)")],
)
def test_the_authors_activation_is_torchs_own(graph, cls, call):
    model = layered(graph, f"agraph (float[2,3,4] x) => (float[2,3,4] y) {{ y = {call} }}", f"torch.nn.modules.{cls}")
    module = written(model)
    assert cls.rpartition(".")[2] == type(module.layer).__name__
    assert module(torch.ones(2, 3, 4)).shape == (2, 3, 4)


def test_a_normalisation_over_a_free_size_is_compiled_in_one_graph(operator):
    model, feeds = operator("LayerNormalization", {}, [f(2, 4), f(4), f(4)], outputs=3, free=True)
    module = torch.compile(zoo.load(model, "torch"), fullgraph=True, backend="eager")
    assert 3 == len(module(*(torch.from_numpy(v) for v in feeds.values())))
