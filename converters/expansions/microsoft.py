"""com.microsoft's products, activations and tensor operators in ONNX's words.

ONNX Runtime's kernels (and its ContribOperators.md) are the definition of every operator of this domain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.expansions import Builder, expands, given, rank
from zoo.errors import HubError

MS = "com.microsoft"
CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


def kept(node: ir.Node, names: Sequence[str]) -> dict[str, Any]:
    """The attributes of these names, as they are."""
    return {name: node.attributes[name] for name in names if name in node.attributes}


def activated(op: Builder, x: ir.Value, name: str, parameters: Sequence[float] = (), axis: int = -1) -> ir.Value:
    """An activation that a fused operator names, with its parameters in ONNX's order (alpha, beta, gamma)."""
    if not name:
        return x
    if name == "Clip":
        return op.Clip(x, *(op.scalar(bound, x) for bound in parameters[:2]))  # type: ignore[no-any-return]
    if name not in ACTIVATIONS:
        raise HubError(f"a fused activation {name!r}; there are {', '.join((*ACTIVATIONS, 'Clip'))}")
    attributes: dict[str, Any] = dict(zip(ACTIVATIONS[name], map(float, parameters), strict=False))
    if name == "Softmax":
        attributes = {"axis": axis}
    return getattr(op, name)(x, **attributes)  # type: ignore[no-any-return]


ACTIVATIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "HardSwish", "Gelu", "Softmax"), ()),
    **dict.fromkeys(("LeakyRelu", "Elu", "ThresholdedRelu"), ("alpha",)),
    "HardSigmoid": ("alpha", "beta"),
    "Selu": ("alpha", "gamma"),
}


def _activation_of(op: Builder, node: ir.Node, y: ir.Value) -> ir.Value:
    """`y` after what a FusedGemm's or FusedMatMulActivation's attributes name."""
    name = node.attributes.get_string("activation", "")
    order = {"Selu": ("alpha", "gamma")}.get(name, ("alpha", "beta"))
    stated = [node.attributes.get(f"activation_{part}") for part in order]
    parameters = [a.as_float() for a in stated if a is not None][: len(ACTIVATIONS.get(name, order))]
    return activated(op, y, name, parameters, node.attributes.get_int("activation_axis", -1))


def _transposed(op: Builder, x: ir.Value | None, matrix: int, batch: int) -> ir.Value | None:
    """A factor of a product: its last two axes exchanged (matrix), its first one taken behind the others (batch)."""
    if not matrix and not batch:
        return x
    axes = list(range(rank(x)))
    if len(axes) < 2:
        return x
    if batch:
        axes = [*axes[1:-1], axes[0], axes[-1]]
    if matrix:
        axes[-2:] = axes[:-3:-1]
    made: ir.Value = op.Transpose(x, perm=axes)
    return made


def _product(op: Builder, node: ir.Node) -> ir.Value:
    get = node.attributes.get_int
    a = _transposed(op, node.inputs[0], get("transA", 0), get("transBatchA", 0))
    b = _transposed(op, node.inputs[1], get("transB", 0), get("transBatchB", 0))
    y: ir.Value = op.MatMul(a, b)
    alpha = node.attributes.get_float("alpha", 1.0)
    return y if alpha == 1.0 else op.Mul(y, op.scalar(alpha, y))  # type: ignore[no-any-return]


@expands("FusedMatMul", MS)
@expands("TransposeMatMul", MS)
@expands("FusedMatMulActivation", MS)
def fused_matmul(op: Builder, node: ir.Node) -> list[ir.Value]:
    """The product alpha * A @ B, each transposed before, and an activation after."""
    return [_activation_of(op, node, _product(op, node))]


@expands("FusedGemm", MS)
def fused_gemm(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Gemm and an activation."""
    y = op.Gemm(*node.inputs, **kept(node, ("alpha", "beta", "transA", "transB")))
    return [_activation_of(op, node, y)]


@expands("FusedConv", MS)
@expands("NhwcFusedConv", MS)
@expands("NhwcConv", MS)
def fused_conv(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Conv, the sum with Z, and an activation. Of the Nhwc kinds X, W, Z and Y have their channels last."""
    x, w, z = given(node, 0), given(node, 1), given(node, 3)
    last = node.op_type.startswith("Nhwc")
    if last:
        x, w = first_channels(op, x), first_channels(op, w)
    y = op.Conv(x, w, given(node, 2), **kept(node, CONV))
    if last:
        y = last_channels(op, y, like=node.inputs[0])
    y = y if z is None else op.Add(y, z)
    parameters = node.attributes.get_floats("activation_params", [])
    return [activated(op, y, node.attributes.get_string("activation", ""), parameters)]


def first_channels(op: Builder, x: ir.Value | None, like: ir.Value | None = None) -> ir.Value:
    """[N, ..., C] as [N, C, ...], of the rank of another value where that of x is not known."""
    n = rank(x if like is None else like)
    made: ir.Value = op.Transpose(x, perm=[0, n - 1, *range(1, n - 1)])
    return made


def last_channels(op: Builder, y: ir.Value, like: ir.Value | None) -> ir.Value:
    """[N, C, ...] as [N, ..., C], of the rank of another value."""
    n = rank(like)
    made: ir.Value = op.Transpose(y, perm=[0, *range(2, n), 1])
    return made


@expands("Gelu", MS)
def gelu(op: Builder, node: ir.Node) -> list[ir.Value]:
    """X times the normal distribution function of X."""
    return [op.Gelu(node.inputs[0])]


@expands("BiasGelu", MS)
def bias_gelu(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Gelu(A + B)."""
    return [op.Gelu(op.Add(*node.inputs))]


@expands("FastGelu", MS)
def fast_gelu(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Gelu(X + bias) by tanh."""
    x, bias = node.inputs[0], given(node, 1)
    return [op.Gelu(x if bias is None else op.Add(x, bias), approximate="tanh")]


@expands("QuickGelu", MS)
def quick_gelu(op: Builder, node: ir.Node) -> list[ir.Value]:
    """X * Sigmoid(alpha * X)."""
    return [op.Swish(node.inputs[0], alpha=node.attributes.get_float("alpha", 1.702))]


@expands("BiasSplitGelu", MS)
def bias_split_gelu(op: Builder, node: ir.Node) -> list[ir.Value]:
    """The first half of the last axis of X + bias, times Gelu of the second."""
    left, right = op.Split(op.Add(*node.inputs), axis=-1, num_outputs=2, outputs=2)
    return [op.Mul(left, op.Gelu(right))]


@expands("BiasAdd", MS)
def bias_add(op: Builder, node: ir.Node) -> list[ir.Value]:
    """X + bias + skip."""
    return [op.Add(op.Add(*node.inputs[:2]), node.inputs[2])]


@expands("BiasDropout", MS)
def bias_dropout(op: Builder, node: ir.Node) -> list[ir.Value | None]:
    """Dropout(data + bias) + residual."""
    data, bias, residual = (given(node, i) for i in range(3))
    made = op.Dropout(op.Add(data, bias), given(node, 3), given(node, 4), outputs=2, **kept(node, ("seed",)))
    y, mask = made
    return [y if residual is None else op.Add(y, residual), mask]


@expands("CDist", MS)
def cdist(op: Builder, node: ir.Node) -> list[ir.Value]:
    """The (squared) Euclidean distance [M, K] of each row of A [M, N] from each of B [K, N]."""
    metric = node.attributes.get_string("metric", "sqeuclidean")
    reduce: dict[str, Callable[..., Any]] = {"sqeuclidean": op.ReduceSumSquare, "euclidean": op.ReduceL2}
    if metric not in reduce:
        raise HubError(f"CDist with metric {metric!r}; ONNX Runtime has sqeuclidean and euclidean")
    a, b = (op.Unsqueeze(x, op.const([i])) for x, i in zip(node.inputs, (1, 0), strict=True))
    return [reduce[metric](op.Sub(a, b), op.const([2]), keepdims=0)]


@expands("Trilu", MS)
@expands("GatherND", MS)
def renamed(op: Builder, node: ir.Node) -> list[ir.Value]:
    """ONNX's operator of the same name and meaning."""
    return [getattr(op, node.op_type)(*node.inputs, **dict(node.attributes))]


@expands("ExpandDims", MS)
def expand_dims(op: Builder, node: ir.Node) -> list[ir.Value]:
    """X with a new axis."""
    axis = op.Reshape(op.Cast(node.inputs[1], to=ir.DataType.INT64), op.const([1]))
    return [op.Unsqueeze(node.inputs[0], axis)]


@expands("Range", MS)
def range_(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Numbers from start by delta (or one) to below limit; each may be a scalar or a vector of one."""
    start, limit, delta = (given(node, i) for i in range(3))
    one = op.CastLike(op.const(1), start) if delta is None else op.Reshape(delta, op.const([]))
    return [op.Range(op.Reshape(start, op.const([])), op.Reshape(limit, op.const([])), one)]


@expands("Pad", MS)
def pad(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Pad, of which the amounts may be a matrix of one row, and the value a vector of one."""
    data, pads, value = (given(node, i) for i in range(3))
    fill = None if value is None else op.Reshape(value, op.const([]))
    return [op.Pad(data, op.Reshape(pads, op.const([-1])), fill, mode=node.attributes.get_string("mode", "constant"))]


@expands("Unique", MS)
def unique(op: Builder, node: ir.Node) -> list[ir.Value | None]:
    """The elements of a vector that differ, in the order of appearance; where each of x went; how many there are."""
    values, _, places, counts = op.Unique(node.inputs[0], sorted=0, outputs=4)
    return [values, places, counts]


@expands("GridSample", MS)
def grid_sample(op: Builder, node: ir.Node) -> list[ir.Value]:
    """GridSample, whose modes ONNX calls otherwise since opset 20."""
    mode = node.attributes.get_string("mode", "bilinear")
    names = {"bilinear": "linear", "bicubic": "cubic", "nearest": "nearest"}
    if mode not in names:
        raise HubError(f"GridSample with mode {mode!r}; there are {', '.join(names)}")
    return [op.GridSample(*node.inputs, mode=names[mode], **kept(node, ("align_corners", "padding_mode")))]


@expands("IsAllFinite", MS)
def is_all_finite(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Whether no element of any input is infinite or no number."""
    which: dict[str, Callable[..., Any]] = {"isinf_only": op.IsInf, "isnan_only": op.IsNaN}
    chosen = [f for name, f in which.items() if node.attributes.get_int(name, 0)] or list(which.values())
    bad = [op.Reshape(op.Cast(f(x), to=ir.DataType.INT32), op.const([-1])) for x in node.inputs for f in chosen]
    most = op.ReduceMax(op.Concat(*bad, op.const([0], np.int32), axis=0), op.const([0]), keepdims=0)
    return [op.Equal(most, op.const(0, np.int32))]


@expands("BifurcationDetector", MS)
@expands("GreedySearch", MS)
@expands("BeamSearch", MS)
@expands("WhisperBeamSearch", MS)
@expands("Sampling", MS)
def searches(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Refused: they are programs that call a decoder, not operators of a graph."""
    raise HubError(
        f"{node.op_type} {node.name!r} generates text: it is a program around a decoder, not an operator",
        hint="Convert the decoder that it holds, and generate with the framework's own loop.",
    )
