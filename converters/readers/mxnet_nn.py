"""MXNet's layers: convolution, pooling, normalisation, activations, and the heads that compute a loss when trained.

Data are [N, C, spatial], unless `layout` says that the channels are last; then the weights are [O, spatial, I].
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers.mxnet_graph import lowers
from zoo.converters.readers.mxnet_symbol import Params
from zoo.converters.readers.scribe import Fault, Scribe

ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softrelu": "Softplus", "softsign": "Softsign"}
ACTIVATIONS |= {"mish": "Mish"}
LAST = ("NWC", "NHWC", "NDHWC")


def _first(op: Scribe, p: Params, x: ir.Value, spatial: int) -> ir.Value:
    """Data with their channels second, whatever the layout."""
    op.learn(x, spatial + 2)
    return op.Transpose(x, perm=[0, spatial + 1, *range(1, spatial + 1)]) if p.text("layout") in LAST else x


def _back(op: Scribe, p: Params, y: ir.Value, spatial: int) -> ir.Value:
    return op.Transpose(y, perm=[0, *range(2, spatial + 2), 1]) if p.text("layout") in LAST else y


def _per_axis(p: Params, name: str, spatial: int, default: int) -> tuple[int, ...]:
    numbers = p.ints(name) or (default,) * spatial
    if len(numbers) != spatial:
        raise Fault(f"{name}={numbers} for {spatial} spatial axes")
    return numbers


def _kernel(op: Scribe, p: Params, weight: ir.Value) -> tuple[int, ...]:
    kernel = p.ints("kernel")
    if weight.shape is not None and len(weight.shape) != len(kernel) + 2:
        raise Fault(f"a kernel {kernel} and a weight of {len(weight.shape)} axes")
    return kernel


@lowers("Convolution", "Convolution_v1")
def convolution(op: Scribe, p: Params, x: ir.Value, weight: ir.Value, bias: ir.Value | None = None) -> Any:
    """The weight is [O, I / groups, kernel]."""
    kernel = _kernel(op, p, weight)
    n = len(kernel)
    if p.text("layout") in LAST:
        weight = op.Transpose(weight, perm=[0, n + 1, *range(1, n + 1)])
    pad = _per_axis(p, "pad", n, 0)
    made = op.Conv(
        _first(op, p, x, n),
        weight,
        None if p.flag("no_bias") else bias,
        kernel_shape=kernel,
        strides=_per_axis(p, "stride", n, 1),
        dilations=_per_axis(p, "dilate", n, 1),
        pads=[*pad, *pad],
        group=p.integer("num_group", 1),
    )
    return _back(op, p, made, n)


@lowers("Deconvolution")
def deconvolution(op: Scribe, p: Params, x: ir.Value, weight: ir.Value, bias: ir.Value | None = None) -> Any:
    """The weight is [I, O / groups, kernel]; `target_shape` is met by padding, the larger half of it before."""
    kernel = _kernel(op, p, weight)
    n = len(kernel)
    if p.text("layout") in LAST:
        weight = op.Transpose(weight, perm=[0, n + 1, *range(1, n + 1)])
    x = _first(op, p, x, n)
    stride, dilate = _per_axis(p, "stride", n, 1), _per_axis(p, "dilate", n, 1)
    target = p.ints("target_shape")
    pad = (0,) * n if any(target) else _per_axis(p, "pad", n, 0)
    made = op.ConvTranspose(
        x,
        weight,
        None if p.flag("no_bias", True) else bias,
        kernel_shape=kernel,
        strides=stride,
        dilations=dilate,
        pads=[*pad, *pad],
        output_padding=None if any(target) else _per_axis(p, "adj", n, 0),
        group=p.integer("num_group", 1),
    )
    if any(target):
        whole = op.Shape(made, start=2)
        cut = op.Sub(whole, op.const(list(_per_axis(p, "target_shape", n, 0))))
        begin = op.Div(op.Add(cut, op.const([1] * n)), op.const([2] * n))
        end = op.Add(begin, op.const(list(target)))
        made = op.Slice(made, begin, end, op.const(list(range(2, n + 2))))
        op.state(made, [None, None, *target])
    return _back(op, p, made, n)


@lowers("FullyConnected")
def fully_connected(op: Scribe, p: Params, x: ir.Value, weight: ir.Value, bias: ir.Value | None = None) -> Any:
    """The weight is [O, I]; the data are flattened to [N, I] unless `flatten` is false.

    An input of which nothing else is known is taken to be [N, I].
    """
    bias = None if p.flag("no_bias") else bias
    if p.flag("flatten", True):
        if op.is_input(x):
            op.learn(x, 2)
        flat = x if x.shape is not None and len(x.shape) == 2 else op.Flatten(x, axis=1)
        return op.Gemm(flat, weight, bias, transB=1)
    made = op.MatMul(x, op.Transpose(weight, perm=[1, 0]))
    return made if bias is None else op.Add(made, bias)


@lowers("BatchNorm", "BatchNorm_v1", "CuDNNBatchNorm", "_contrib_SyncBatchNorm", "_contrib_BatchNormWithReLU")
def batch_norm(op: Scribe, p: Params, x: ir.Value, *params: ir.Value) -> Any:
    """params: gamma (which is 1 where `fix_gamma`, whatever the file holds), beta, moving mean and variance [C]."""
    gamma, beta, mean, variance = params
    if p.flag("fix_gamma", True):
        gamma = op.const(np.ones([n or 1 for n in op.sizes_of(gamma)]), np.float32)
    axis = p.integer("axis", 1)
    rank = len(x.shape) if x.shape is not None else None
    turned = None
    if axis != 1 and not (rank is not None and axis % rank == 1):
        rank = op.rank(x)
        turned = [i for i in range(rank) if i != axis % rank]
        turned.insert(1, axis % rank)
        x = op.Transpose(x, perm=turned)
    made = op.BatchNormalization(x, gamma, beta, mean, variance, epsilon=p.number("eps", 1e-3))
    if turned is not None:
        made = op.Transpose(made, perm=[turned.index(i) for i in range(len(turned))])
    if p.node.op == "_contrib_BatchNormWithReLU":
        made = op.Relu(made)
    return (made, mean, variance) if p.flag("output_mean_var") else made


@lowers("InstanceNorm")
def instance_norm(op: Scribe, p: Params, x: ir.Value, gamma: ir.Value, beta: ir.Value) -> Any:
    """Each channel of each sample by its own statistics."""
    return op.InstanceNormalization(x, gamma, beta, epsilon=p.number("eps", 1e-3))


@lowers("LayerNorm")
def layer_norm(op: Scribe, p: Params, x: ir.Value, gamma: ir.Value, beta: ir.Value) -> Any:
    """Over one axis."""
    axis, eps = p.integer("axis", -1), p.number("eps", 1e-5)
    if axis != -1 and axis != op.rank(x) - 1:
        rank = op.rank(x)
        last = [i for i in range(rank) if i != axis % rank] + [axis % rank]
        made = op.LayerNormalization(op.Transpose(x, perm=last), gamma, beta, axis=-1, epsilon=eps)
        return op.Transpose(made, perm=[last.index(i) for i in range(rank)])
    return op.LayerNormalization(x, gamma, beta, axis=-1, epsilon=eps)


@lowers("GroupNorm")
def group_norm(op: Scribe, p: Params, x: ir.Value, gamma: ir.Value, beta: ir.Value) -> Any:
    """[N, C, ...] in groups of channels; gamma and beta are [groups], and of later versions [C]."""
    groups, eps = p.integer("num_groups", 1), p.number("eps", 1e-5)
    if op.sizes_of(gamma) != [groups]:
        return op.GroupNormalization(x, gamma, beta, num_groups=groups, epsilon=eps)
    grouped = op.reshape(x, [0, groups, -1])
    return op.Reshape(op.InstanceNormalization(grouped, gamma, beta, epsilon=eps), op.Shape(x))


@lowers("LRN")
def lrn(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Across channels; alpha is divided by the number of channels looked at, as ONNX does it."""
    beta, bias = p.number("beta", 0.75), p.number("knorm", 2.0)
    return op.LRN(x, alpha=p.number("alpha", 1e-4), beta=beta, bias=bias, size=p.integer("nsize"))


@lowers("L2Normalization")
def l2_normalization(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Over the root of the sum of squares plus eps: of a sample, of its channels, or of its places."""
    mode = p.text("mode", "instance")
    axes = [1] if mode == "channel" else list(range(2 if mode == "spatial" else 1, op.rank(x)))
    total = op.ReduceSum(op.Mul(x, x), op.const(axes), keepdims=1)
    return op.Div(x, op.Sqrt(op.Add(total, op.scalar(p.number("eps", 1e-10), x))))


@lowers("Activation")
def activation(op: Scribe, p: Params, x: ir.Value) -> Any:
    """One of ACTIVATIONS."""
    kind = p.text("act_type")
    if kind == "log_sigmoid":
        return op.Neg(op.Softplus(op.Neg(x)))
    if kind not in ACTIVATIONS:
        raise Fault(f"the activation {kind[:40]!r}", is_refusal=True)
    return getattr(op, ACTIVATIONS[kind])(x)


@lowers("LeakyReLU")
def leaky_relu(op: Scribe, p: Params, x: ir.Value, gamma: ir.Value | None = None) -> Any:
    """Leaky, PReLU (a slope for all or for each channel), ELU, SELU, GELU, RReLU by the mean of its bounds."""
    kind, slope = p.text("act_type", "leaky"), p.number("slope", 0.25)
    if kind == "prelu":
        if gamma is None:
            raise Fault("prelu without its slopes")
        sizes = op.sizes_of(gamma)
        if sizes != [1] and sizes != [] and op.rank(x) > 2:
            gamma = op.reshape(gamma, [-1] + [1] * (op.rank(x) - 2))
        return op.PRelu(x, gamma)
    if kind == "rrelu":
        slope = (p.number("lower_bound", 0.125) + p.number("upper_bound", 0.334)) / 2
    if kind in ("leaky", "rrelu"):
        return op.LeakyRelu(x, alpha=slope)
    if kind == "elu":
        return op.Elu(x, alpha=slope)
    if kind in ("selu", "gelu"):
        return op.Selu(x) if kind == "selu" else op.Gelu(x)
    raise Fault(f"the activation {kind[:40]!r}", is_refusal=True)


@lowers("softmax", "log_softmax", "softmin")
def softmax(op: Scribe, p: Params, x: ir.Value, length: ir.Value | None = None) -> Any:
    """Over one axis; with `use_length` over the first so many, the others being 0."""
    axis = p.integer("axis", -1)
    temperature = p.number("temperature", 1.0)
    x = op.Neg(x) if p.node.op == "softmin" else x
    x = x if temperature == 1 else op.Div(x, op.scalar(temperature, x))
    mask = None
    if length is not None and p.flag("use_length"):
        rank = op.rank(x)
        places = op.Range(op.const(0), op.Squeeze(op.size(x, axis)), op.const(1))
        places = op.reshape(places, [-1 if i == axis % rank else 1 for i in range(rank)])
        mask = op.Less(places, op.Unsqueeze(op.cast(length, ir.DataType.INT64), op.const([axis % rank])))
        x = op.Where(mask, x, op.scalar(-1e30, x))
    made = op.LogSoftmax(x, axis=axis) if p.node.op == "log_softmax" else op.Softmax(x, axis=axis)
    made = made if mask is None else op.Where(mask, made, op.scalar(0, made))
    dtype = p.text("dtype", "None")
    return made if dtype == "None" else op.cast(made, ir.DataType.from_numpy(np.dtype(dtype)))


def _over_all(op: Scribe, x: ir.Value) -> ir.Value:
    """Softmax over everything of a sample."""
    if x.shape is not None and len(x.shape) == 2:
        return op.Softmax(x, axis=1)  # type: ignore[no-any-return]
    made = op.Softmax(op.Flatten(x, axis=1), axis=1)
    return op.Reshape(made, op.Shape(x))  # type: ignore[no-any-return]


@lowers("SoftmaxActivation")
def softmax_activation(op: Scribe, p: Params, x: ir.Value) -> Any:
    """Over the channels, or over everything of a sample."""
    return op.Softmax(x, axis=1) if p.text("mode", "instance") == "channel" else _over_all(op, x)


@lowers("SoftmaxOutput", "Softmax")
def softmax_output(op: Scribe, p: Params, x: ir.Value, label: ir.Value | None = None) -> Any:
    """The head of a classifier; the label counts in training alone."""
    if p.flag("multi_output"):
        return op.Softmax(x, axis=1)
    return op.Softmax(x, axis=-1) if p.flag("preserve_shape") else _over_all(op, x)


@lowers("LogisticRegressionOutput")
def logistic_output(op: Scribe, p: Params, x: ir.Value, label: ir.Value | None = None) -> Any:
    """A sigmoid; the label counts in training alone."""
    return op.Sigmoid(x)


@lowers("LinearRegressionOutput", "MAERegressionOutput", "SVMOutput")
def linear_output(op: Scribe, p: Params, x: ir.Value, label: ir.Value | None = None) -> Any:
    """The data; the label counts in training alone."""
    return op.Identity(x)


@lowers("softmax_cross_entropy")
def softmax_cross_entropy(op: Scribe, p: Params, x: ir.Value, label: ir.Value) -> Any:
    """The sum over the batch, [1]."""
    loss = op.SoftmaxCrossEntropyLoss(x, op.cast(label, ir.DataType.INT64), reduction="sum")
    return op.Reshape(loss, op.const([1]))


@lowers("Dropout")
def dropout(op: Scribe, p: Params, x: ir.Value) -> Any:
    """The data, where it is not trained."""
    if p.text("mode", "training") == "always":
        raise Fault("dropout at inference (mode='always'), whose answers are random", is_refusal=True)
    return op.Dropout(x, op.const(p.number("p", 0.5), np.float32))


@lowers("Pooling", "Pooling_v1")
def pooling(op: Scribe, p: Params, x: ir.Value) -> Any:
    """max, avg, sum or lp, of a window or of everything; a window may reach beyond the end (`full`)."""
    kind = {"0": "max", "1": "avg", "2": "sum", "3": "lp"}.get(p.text("pool_type", "max"), p.text("pool_type", "max"))
    if kind not in ("max", "avg", "sum", "lp"):
        raise Fault(f"pooling of type {kind[:40]!r}", is_refusal=True)
    if p.flag("global_pool"):
        return _global_pooling(op, p, x, kind)
    kernel = p.ints("kernel")
    n = len(kernel)
    stride, pad = _per_axis(p, "stride", n, 1), _per_axis(p, "pad", n, 0)
    convention = p.text("pooling_convention", "valid")
    if convention not in ("valid", "full", "same"):
        raise Fault(f"the pooling convention {convention[:40]!r}", is_refusal=True)
    # what the last window may need beyond the padding, so that sizes are rounded up
    extra = {"valid": (0,) * n, "full": tuple(s - 1 for s in stride), "same": tuple(k - 1 for k in kernel)}[convention]
    made = _pooled(op, p, _first(op, p, x, n), kind, kernel, stride, pad, extra)
    return _back(op, p, made, n)


def _pooled(
    op: Scribe,
    p: Params,
    x: ir.Value,
    kind: str,
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    extra: Sequence[int],
) -> ir.Value:
    """Padding is counted by an average (unless `count_include_pad` is false), what is beyond it is not."""
    end = [a + b for a, b in zip(pad, extra, strict=True)]
    window: dict[str, Any] = {"kernel_shape": kernel, "strides": stride}
    fits = all(max(a, b) < k for a, b, k in zip(pad, end, kernel, strict=True))  # what runtimes ask of pads
    if kind == "max":
        if not fits:
            x, pad, end = _padded(op, x, pad, end, -np.inf), [0] * len(kernel), [0] * len(kernel)
        return op.MaxPool(x, **window, pads=[*pad, *end])  # type: ignore[no-any-return]
    if kind == "avg":
        if not p.flag("count_include_pad", True):
            return op.AveragePool(x, **window, pads=[*pad, *end], count_include_pad=0)  # type: ignore[no-any-return]
        if any(extra):
            x, zeros = _padded(op, x, pad, pad, 0.0), [0] * len(kernel)
            return op.AveragePool(x, **window, pads=[*zeros, *extra], count_include_pad=0)  # type: ignore[no-any-return]
        return op.AveragePool(x, **window, pads=[*pad, *pad], count_include_pad=1)  # type: ignore[no-any-return]
    power = p.integer("p_value", 2) if kind == "lp" else 1
    x = _padded(op, _raised(op, x, power), pad, end, 0.0)
    return _root(op, op.Mul(op.AveragePool(x, **window), op.scalar(prod(kernel), x)), power)


def _raised(op: Scribe, x: ir.Value, power: int) -> ir.Value:
    """To the power of 1, 2 or 3; the third keeps its sign, and so does its root."""
    if power not in (1, 2, 3):
        raise Fault(f"pooling with p_value={power}")
    return x if power == 1 else op.Pow(x, op.scalar(power, x))  # type: ignore[no-any-return]


def _root(op: Scribe, x: ir.Value, power: int) -> ir.Value:
    if power == 1:
        return x
    root = op.Pow(op.Abs(x), op.scalar(1 / power, x))
    return root if power == 2 else op.Mul(op.Sign(x), root)  # type: ignore[no-any-return]


def _padded(op: Scribe, x: ir.Value, begin: Sequence[int], end: Sequence[int], value: float) -> ir.Value:
    if not any(begin) and not any(end):
        return x
    return op.Pad(x, op.const([0, 0, *begin, 0, 0, *end]), op.scalar(value, x))  # type: ignore[no-any-return]


def _global_pooling(op: Scribe, p: Params, x: ir.Value, kind: str) -> ir.Value:
    if p.text("layout") in LAST:
        n = len(p.text("layout")) - 2
        return _back(op, p, _global(op, p, _first(op, p, x, n), kind), n)
    return _global(op, p, x, kind)


def _global(op: Scribe, p: Params, x: ir.Value, kind: str) -> ir.Value:
    if kind in ("sum", "lp"):
        power = p.integer("p_value", 2) if kind == "lp" else 1
        axes = op.const(list(range(2, op.rank(x))))
        return _root(op, op.ReduceSum(_raised(op, x, power), axes, keepdims=1), power)
    return op.GlobalMaxPool(x) if kind == "max" else op.GlobalAveragePool(x)  # type: ignore[no-any-return]


@lowers("Embedding", "_contrib_SparseEmbedding")
def embedding(op: Scribe, p: Params, ids: ir.Value, weight: ir.Value) -> Any:
    """Rows of weight [V, D]; ids come in any dtype."""
    return op.Gather(weight, op.cast(ids, ir.DataType.INT64), axis=0)


@lowers("UpSampling")
def upsampling(op: Scribe, p: Params, *xs: ir.Value) -> Any:
    """Nearest: each input to the size of the first times `scale`. Bilinear: a transposed convolution by its weight."""
    scale = p.integer("scale", 1)
    if p.text("sample_type", "nearest") == "bilinear":
        return _bilinear_by_weight(op, p, xs, scale)
    for x in xs:
        op.learn(x, 4)
    scales = op.const([1, 1, scale, scale], np.float32)
    nearest: dict[str, Any] = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    nearest["nearest_mode"] = "floor"
    made = [op.Resize(xs[0], None, scales, **nearest)]
    for x in xs[1:]:
        size = op.Concat(op.Shape(x, end=2), op.Shape(made[0], start=2), axis=0)
        made.append(op.Resize(x, None, None, size, **nearest))
    if len(made) == 1:
        return made[0]
    return op.Sum(*made) if p.text("multi_input_mode", "concat") == "sum" else op.Concat(*made, axis=1)


def _bilinear_by_weight(op: Scribe, p: Params, xs: Sequence[ir.Value], scale: int) -> ir.Value:
    if len(xs) != 2:
        raise Fault(f"bilinear UpSampling of {len(xs)} inputs")
    kernel, pad = 2 * scale - scale % 2, scale // 2
    op.learn(xs[0], 4)
    group = op.sizes_of(xs[1])[0]
    return op.ConvTranspose(  # type: ignore[no-any-return]
        xs[0], xs[1], kernel_shape=[kernel] * 2, strides=[scale] * 2, pads=[pad] * 4, group=group
    )
