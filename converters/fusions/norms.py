"""Normalisation: LayerNormalization, RMSNormalization, GroupNormalization.

    layer   (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * scale + bias     over the last axes
    rms     x / sqrt(mean(x^2) + eps) * scale                                    over the last axes
    group   InstanceNormalization of [N, G, -1], then back to [N, C, ...] and * scale + bias a channel

In half precision the mean is summed in float32, as ONNX's operators do it (stash_type): either the graph does the same
by casts, or the result is closer to what was meant. In float64 ONNX's own definition would lose digits: refused.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from zoo.converters.fusions.rewriting import Fusion, Rule
from zoo.converters.fusions.shapes import Size, is_reshaped_to, made, sizes_of
from zoo.converters.graph import is_parameter

LAYER = """
    d = {x} - ReduceMean({x}, axes)
    y = d / Sqrt(ReduceMean(d ** 2, axes) + EPS)
"""
RMS = "y = {x} / Sqrt(ReduceMean({x} ** 2, axes) + EPS)"
HALF = "c = Cast(x, to=1)\n"  # to float32 for the mean, and back to what it was
TAILS = ("y * scale + bias", "y * scale", "y + bias", "y")
MEAN_APART = """
    m = ReduceMean(x, axes)
    r = {scale} / Sqrt(ReduceMean((x - m) ** 2, axes) + EPS)
    x * r + (bias - m * r)
"""
GROUP = "y = Reshape(InstanceNormalization(Reshape(x, groups), ones, zeros, epsilon=EPS), back)\n"


def _formulas(core: str, tails: tuple[str, ...]) -> list[str]:
    """The norm with what follows it, in one dtype or with casts around the mean."""
    full = ["\n".join((core.format(x="x"), tail)) for tail in tails]
    half = core.format(x="c")
    return full + ["\n".join((HALF, half, tail.replace("y", "Cast(y, to=TO)"))) for tail in tails]


def _last_axes(fusion: Fusion) -> tuple[int, tuple[int, ...]]:
    """The first of the axes that the mean goes over, counted from the end, and their sizes."""
    x, axes = fusion["x"], fusion["axes"].const_value
    shape = sizes_of(x)
    if axes is None or not shape:
        fusion.refuse("the axes of the mean, or the rank, are not known")
    over = sorted(int(a) % len(shape) for a in axes.numpy().reshape(-1))
    if not over or over != list(range(over[0], len(shape))):
        fusion.refuse(f"the mean goes over axes {over} of {len(shape)}, and not over the last ones")
    sizes = shape[over[0] :]
    known = tuple(n for n in sizes if isinstance(n, int))
    if len(known) < len(sizes):
        fusion.refuse("the size of what is normalised is free")
    if x.dtype == ir.DataType.DOUBLE:
        fusion.refuse("ONNX's definition normalises in float32, and this is float64")
    if "TO" in fusion.bound and fusion["TO"] != x.dtype.value:
        fusion.refuse("the result is of another dtype than the input")
    return over[0] - len(shape), known


def _scale(fusion: Fusion, sizes: tuple[int, ...], dtype: ir.DataType) -> ir.Value:
    """The scale, ones where there is none."""
    scale: ir.Value | None = fusion.bound.get("scale")
    if scale is None:
        return fusion.constant(np.ones(sizes, dtype=dtype.numpy()), f"ones_{'x'.join(map(str, sizes))}_{dtype.name}")
    _check_affine(fusion, "scale", sizes, dtype)
    return scale


def _check_affine(fusion: Fusion, name: str, sizes: tuple[int, ...], dtype: ir.DataType) -> None:
    value = fusion[name]
    if sizes_of(value) != sizes or value.dtype != dtype:
        fusion.refuse(f"the {name} is {value.dtype} {sizes_of(value)}, and not {dtype} {sizes}")


def _layer(fusion: Fusion) -> ir.Value:
    x = fusion["x"]
    axis, sizes = _last_axes(fusion)
    if "bias" in fusion.bound:
        _check_affine(fusion, "bias", sizes, x.dtype)
    inputs = [x, _scale(fusion, sizes, x.dtype), *([fusion["bias"]] if "bias" in fusion.bound else [])]
    y: ir.Value = fusion.op.LayerNormalization(*inputs, axis=axis, epsilon=fusion["EPS"])
    return y


def _rms(fusion: Fusion) -> ir.Value:
    x = fusion["x"]
    axis, sizes = _last_axes(fusion)
    y: ir.Value = fusion.op.RMSNormalization(x, _scale(fusion, sizes, x.dtype), axis=axis, epsilon=fusion["EPS"])
    return y


def _group(fusion: Fusion) -> ir.Value:
    """Each group of channels of a sample is one channel of the InstanceNormalization."""
    x = fusion["x"]
    shape = sizes_of(x)
    if len(shape) < 3 or not isinstance(shape[1], int):
        fusion.refuse("the number of channels is not known")
    groups = fusion["groups"].const_value
    target = [] if groups is None else groups.numpy().tolist()
    if not _is_a_sample_in_groups(target, shape):
        fusion.refuse("the input is not reshaped to [N, groups, -1]")
    if not _is_all(fusion["ones"], 1) or not _is_all(fusion["zeros"], 0):
        fusion.refuse("the InstanceNormalization has a scale or bias of its own")
    if (fusion.bound.get("SCALE", 1.0), fusion.bound.get("SHIFT", 0.0)) != (1.0, 0.0):
        fusion.refuse("the scale and bias are one number for all channels")
    if not _gives_back(fusion, x, target[1]):
        fusion.refuse("the result does not have the input's shape")
    affine = [_a_channel(fusion, name, len(shape), shape[1]) for name in ("scale", "bias")]
    y: ir.Value = fusion.op.GroupNormalization(x, *affine, num_groups=target[1], epsilon=fusion["EPS"])
    return y


def _is_a_sample_in_groups(target: list[int], shape: tuple[Size, ...]) -> bool:
    """Whether reshaping [N, C, ...] to `target` gives [N, groups, the rest]."""
    if len(target) != 3 or not isinstance(shape[1], int) or target[1] <= 0 or shape[1] % target[1]:
        return False
    if target[2] == -1:
        return target[0] in (0, shape[0])
    known = [n for n in shape[1:] if isinstance(n, int)]
    return len(known) == len(shape) - 1 and target[2] == math.prod(known) // target[1]


def _is_all(value: ir.Value, number: float) -> bool:
    tensor = None if is_parameter(value) else value.const_value
    return tensor is not None and bool(np.all(tensor.numpy() == number))


def _gives_back(fusion: Fusion, x: ir.Value, groups: int) -> bool:
    """Whether the second Reshape, of [N, groups, ...], gives x's shape."""
    producer = fusion["back"].producer()
    if producer is not None and producer.op_type == "Shape" and producer.inputs[0] is x and not producer.domain:
        return all(producer.attributes.get_int(name, 0) == 0 for name in ("start", "end"))
    target, shape = fusion.sizes_in(fusion["back"]), sizes_of(x)
    return is_reshaped_to(target, (shape[0], groups), shape)


def _a_channel(fusion: Fusion, name: str, rank: int, channels: int) -> ir.Value:
    """What [C, 1, ...] was unsqueezed from, [C]; or that, reshaped to [C]; ones or zeros where there is none."""
    dtype = fusion["x"].dtype
    value: ir.Value | None = fusion.bound.get(name)
    if value is None or _is_all(value, 1 if name == "scale" else 0):
        fill = np.ones if name == "scale" else np.zeros
        return fusion.constant(fill(channels, dtype=dtype.numpy()), f"{fill.__name__}_{channels}_{dtype.name}")
    shape, producer = sizes_of(value), value.producer()
    wanted = (channels, *(1,) * (rank - 2))
    if shape not in (wanted, (1, *wanted)) or value.dtype != dtype:
        fusion.refuse(f"the {name} is {value.dtype} {shape}, and not one number a channel")
    if producer is not None and producer.op_type in ("Unsqueeze", "Reshape") and not producer.domain:
        under = producer.inputs[0]
        if under is not None and sizes_of(under) == (channels,):
            return under
    target = fusion.constant(np.array([channels], dtype=np.int64), f"shape_{channels}")
    return made(fusion.op.Reshape(value, target), value, [channels])


RULES = (
    Rule(_formulas(LAYER, TAILS) + [MEAN_APART.format(scale=scale) for scale in ("scale", "1")], _layer),
    Rule(_formulas(RMS, ("y * scale", "y")), _rms),
    Rule([GROUP + tail for tail in ("y * SCALE + SHIFT", *TAILS)], _group),
)
