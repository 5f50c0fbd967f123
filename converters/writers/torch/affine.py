"""Affine quantisation as the forward computes it: an integer q stands for (q - zero_point) * scale.

Plain torch, for any device; written into the source of a model that uses it. Scales and zero points are numbers or
tensors. Sums of products of 8-bit integers are made in float64, which holds every one of them exactly and which torch
multiplies on every device but MPS (integers it multiplies on the CPU alone).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from zoo.converters.writers.torch.windows import pad_windows


def spread(scale: torch.Tensor | float, x: torch.Tensor, axis: int, block_size: int) -> torch.Tensor:
    """A scale or zero point in float32, of a shape that goes with x: one number, one along an axis, or one a block."""
    if not isinstance(scale, torch.Tensor):
        return x.new_full((), scale, dtype=torch.float32)  # a tensor: CUDA divides by a number as by its reciprocal
    scale = scale.to(torch.float32)
    if scale.numel() == 1:
        return scale.reshape(())
    if block_size:
        return scale.repeat_interleave(block_size, dim=axis).narrow(axis, 0, x.shape[axis])
    return scale.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])


def quantize(
    x: torch.Tensor,
    scale: torch.Tensor | float,
    zero_point: torch.Tensor | float = 0,
    dtype: torch.dtype = torch.uint8,
    *,
    axis: int = 1,
    block_size: int = 0,
    bits: int = 8,
    precision: torch.dtype = torch.float32,
) -> torch.Tensor:
    """round(x / scale) + zero_point, half to even, as far as integers of `bits` bits go; divided in `precision`."""
    low = -(1 << (bits - 1)) if torch.iinfo(dtype).min < 0 else 0
    steps = torch.round(x.to(precision) / spread(scale, x, axis, block_size).to(precision)).to(torch.float32)
    if isinstance(zero_point, torch.Tensor):
        zero_point = spread(zero_point, x, axis, block_size)
    return (steps + zero_point).clamp(low, low + (1 << bits) - 1).to(dtype)


def dequantize(
    x: torch.Tensor,
    scale: torch.Tensor | float,
    zero_point: torch.Tensor | float = 0,
    dtype: torch.dtype = torch.float32,
    *,
    axis: int = 1,
    block_size: int = 0,
) -> torch.Tensor:
    """(x - zero_point) * scale, in float32, as `dtype`."""
    if isinstance(zero_point, torch.Tensor):
        zero_point = spread(zero_point, x, axis, block_size)
    if isinstance(scale, torch.Tensor):
        scale = spread(scale, x, axis, block_size)
    return ((x.to(torch.float32) - zero_point) * scale).to(dtype)


def fake_quantize(
    x: torch.Tensor,
    scale: torch.Tensor | float,
    zero_point: torch.Tensor | float = 0,
    dtype: torch.dtype = torch.uint8,
    *,
    axis: int = 1,
    block_size: int = 0,
    bits: int = 8,
    precision: torch.dtype = torch.float32,
) -> torch.Tensor:
    """What dequantize gives of what quantize makes of x; the gradient goes straight through, and is 0 out of range."""
    q = quantize(x, scale, zero_point, dtype, axis=axis, block_size=block_size, bits=bits, precision=precision)
    y = dequantize(q, scale, zero_point, x.dtype, axis=axis, block_size=block_size)
    if not (torch.is_grad_enabled() and x.requires_grad):
        return y
    low = -(1 << (bits - 1)) if torch.iinfo(dtype).min < 0 else 0
    least, most = (
        dequantize(torch.full_like(q, end), scale, zero_point, x.dtype, axis=axis, block_size=block_size)
        for end in (low, low + (1 << bits) - 1)
    )
    passed = torch.minimum(torch.maximum(x, least), most)
    return y.detach() + (passed - passed.detach())


def dynamic_quantize(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What x is in uint8, the scale and the zero point: its range, 0 included, is mapped to the whole of uint8's."""
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    width = high - low
    scale = torch.where(width == 0, torch.ones_like(width), width / torch.full_like(width, 255))
    zero_point = torch.round((0 - low / scale).clamp(0, 255))
    y = (torch.round(x / scale) + zero_point).clamp(0, 255)
    return y.to(torch.uint8), scale, zero_point.to(torch.uint8)


def divided(
    x: torch.Tensor,
    scale: torch.Tensor | float,
    zero_point: torch.Tensor | float = 0,
    *,
    axis: int = 1,
    block_size: int = 0,
    precision: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Divide by the scale and add the zero point, unrounded: what a quantised float is rounded from."""
    y = x.to(precision) / spread(scale, x, axis, block_size).to(precision)
    return y + spread(zero_point, x, axis, block_size).to(precision) if isinstance(zero_point, torch.Tensor) else y


def rows(v: torch.Tensor | float, x: torch.Tensor) -> torch.Tensor | float:
    """A number, or a vector of one for each row of a matrix [..., M, K] as [M, 1]; other tensors as they are."""
    if not isinstance(v, torch.Tensor) or v.numel() == 1:
        return v.reshape(()) if isinstance(v, torch.Tensor) else v
    return v.unsqueeze(-1) if v.ndim == 1 and x.ndim > 1 else v


def columns(v: torch.Tensor | float) -> torch.Tensor | float:
    """A number, or a vector of one for each column of a matrix [..., K, N]; other tensors as they are."""
    return v.reshape(()) if isinstance(v, torch.Tensor) and v.numel() == 1 else v


def integers_matmul(
    a: torch.Tensor, b: torch.Tensor, a_zero_point: torch.Tensor | float = 0, b_zero_point: torch.Tensor | float = 0
) -> torch.Tensor:
    """(a - a_zero_point) @ (b - b_zero_point) in float64, exact; the zero point of a row of a, of a column of b."""
    left = a.to(torch.float64) - rows(a_zero_point, a)
    return left @ (b.to(torch.float64) - columns(b_zero_point))


def integers_conv(
    x: torch.Tensor,
    weight: torch.Tensor,
    x_zero_point: torch.Tensor | float = 0,
    weight_zero_point: torch.Tensor | float = 0,
    *,
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]] | str,
    dilation: Sequence[int],
    groups: int = 1,
) -> torch.Tensor:
    """The convolution of x - x_zero_point [N, C, ...] in float64, exact; `padding` as pad_windows takes it.

    weight [M, C / groups, ...] has one zero point, or one for each of its M channels.
    """
    if isinstance(weight_zero_point, torch.Tensor) and weight_zero_point.numel() > 1:
        weight_zero_point = weight_zero_point.reshape([-1] + [1] * (weight.ndim - 1))
    x = pad_windows(x.to(torch.float64) - x_zero_point, weight.shape[2:], stride, dilation, padding)
    weight = weight.to(torch.float64) - weight_zero_point
    conv = (F.conv1d, F.conv2d, F.conv3d)[x.ndim - 3]
    total = conv(x, weight, None, tuple(stride), 0, tuple(dilation), groups)
    return torch.round(total)  # an FFT, should one be chosen, ends near the integer


def product_scale(a: torch.Tensor | float, b: torch.Tensor | float, y: torch.Tensor | float) -> torch.Tensor:
    """What a product of integers of the scales a and b is worth in steps of y: a * b / y in float32."""
    product = torch.as_tensor(a * b, dtype=torch.float32)
    return product / (y.to(torch.float32) if isinstance(y, torch.Tensor) else torch.full_like(product, y))


def requantize(
    total: torch.Tensor,
    scale: torch.Tensor | float,
    zero_point: torch.Tensor | float = 0,
    dtype: torch.dtype = torch.uint8,
) -> torch.Tensor:
    """round(total * scale) + zero_point as an 8-bit integer, half to even."""
    y = torch.round(total * scale) + zero_point
    return y.clamp(torch.iinfo(dtype).min, torch.iinfo(dtype).max).to(dtype)
