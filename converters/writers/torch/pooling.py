"""ONNX's pools as torch's layers, and as functions where the author has no such layer."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from zoo.converters.writers.torch import lowers, windows
from zoo.converters.writers.torch.convolution import Pairs, one, padded, said, windows_of
from zoo.converters.writers.torch.sizes import listed

Value = Any
MAX_POOL = {1: (nn.MaxPool1d, F.max_pool1d), 2: (nn.MaxPool2d, F.max_pool2d), 3: (nn.MaxPool3d, F.max_pool3d)}
AVG_POOL = {1: (nn.AvgPool1d, F.avg_pool1d), 2: (nn.AvgPool2d, F.avg_pool2d), 3: (nn.AvgPool3d, F.avg_pool3d)}
ADAPTIVE = {3: nn.AdaptiveAvgPool1d, 4: nn.AdaptiveAvgPool2d, 5: nn.AdaptiveAvgPool3d}  # by the rank of the tensor
LP_POOL = {1: (nn.LPPool1d, F.lp_pool1d), 2: (nn.LPPool2d, F.lp_pool2d), 3: (nn.LPPool3d, F.lp_pool3d)}
NARROW = {torch.uint8, torch.int8}  # torch pools them on some devices only: every value of theirs is a float


def _pool(w: Any, kind: tuple[type[nn.Module], Any], x: Value, arguments: dict[str, Any]) -> Value:
    y = w.module(kind[0], x, **arguments)
    return w.function(kind[1], x, **said(arguments)) if y is None else y


def _even(padding: Pairs | str | None, kernel: Sequence[int]) -> list[int] | None:
    """The padding as torch's pools take it, the same on both sides and at most half a kernel; None if it isn't."""
    if padding is None or isinstance(padding, str):
        return None
    fits = all(begin == end and 2 * begin <= k for (begin, end), k in zip(padding, kernel, strict=True))
    return [begin for begin, _ in padding] if fits else None


def _ceil(auto_pad: str, ceil_mode: int) -> bool:
    """ceil_mode counts for padding in numbers alone: by the standard's formulas the others come out the same."""
    return bool(ceil_mode) and auto_pad in ("NOTSET", "")


@lowers("MaxPool")
def max_pool(
    w: Any,
    X: Value,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
) -> Value:
    """The largest of each window, and where it stands in the whole tensor; what is padded counts as minus infinity."""
    n, at, ceil = (
        len(kernel_shape),
        windows_of(kernel_shape, auto_pad, pads, strides, dilations),
        _ceil(auto_pad, ceil_mode),
    )
    dtype, sizes = w.dtype_in(0), (w.shape_in(0) or ())[2:]
    x = X.float() if dtype in NARROW else X
    arguments: dict[str, Any] = {"kernel_size": one(at.kernel), "stride": one(at.stride), "padding": 0}
    made = None  # the padding that torch doesn't do itself
    if n in MAX_POOL and (even := _even(at.padding, at.kernel)) is not None:
        arguments["padding"] = one(even)
        if ceil:
            arguments["ceil_mode"] = True
    elif (made := at.fixed(sizes, ceil)) is not None:
        x = padded(w, x, made, value=float("-inf"))
    else:
        made = w.function(windows.window_padding, X.shape[2:], *at, ceil)
        x = w.function(windows.pad_windows, x, *at, ceil, value=float("-inf"))
    if set(at.dilation) != {1}:
        arguments["dilation"] = one(at.dilation)
    has_indices = any(o.uses() or o.is_graph_output() for o in w.node.outputs[1:])
    if n in MAX_POOL and not has_indices:
        y = _pool(w, MAX_POOL[n], x, arguments)
        return y.to(dtype) if dtype in NARROW else y
    if n in MAX_POOL:
        found = w.function(MAX_POOL[n][1], x, **said(arguments), return_indices=True)
    else:
        found = w.function(windows.max_pool, x, at.kernel, at.stride, at.dilation)
    y = found[0].to(dtype) if dtype in NARROW else found[0]
    if not has_indices:
        return y
    known = list(sizes) if all(isinstance(s, int) for s in sizes) and sizes else X.shape[2:]
    return y, w.function(
        windows.flat_indices,
        found[1],
        known,
        *([] if made is None else [made]),
        **({"column_major": True} if storage_order else {}),
    )


@lowers("AveragePool")
def average_pool(
    w: Any,
    X: Value,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """The mean of each window, with or without what is padded."""
    n, at, ceil = (
        len(kernel_shape),
        windows_of(kernel_shape, auto_pad, pads, strides, dilations),
        _ceil(auto_pad, ceil_mode),
    )
    padding = at.fixed((w.shape_in(0) or ())[2:])
    even = _even(padding, at.kernel)
    if n in AVG_POOL and set(at.dilation) == {1} and (even or (padding and count_include_pad and not ceil)):
        x, begins = (X, even) if even else (padded(w, X, padding or []), [0] * n)
        arguments = {"kernel_size": one(at.kernel), "stride": one(at.stride), "padding": one(begins)}
        if any(begins):
            arguments["count_include_pad"] = bool(count_include_pad)
        if ceil:
            arguments["ceil_mode"] = True
        return _pool(w, AVG_POOL[n], x, arguments)
    options = {"ceil_mode": True} if ceil else {}
    if count_include_pad:
        options["count_include_pad"] = True
    return w.function(windows.average_pool, X, *at, **options)


@lowers("LpPool")
def lp_pool(
    w: Any,
    X: Value,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    p: int = 2,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """The p-norm of each window. torch's own takes no absolute values, and in ceil_mode scales up what is cut short."""
    n, at, ceil = (
        len(kernel_shape),
        windows_of(kernel_shape, auto_pad, pads, strides, dilations),
        _ceil(auto_pad, ceil_mode),
    )
    padding = at.fixed((w.shape_in(0) or ())[2:], ceil)
    x = (
        w.function(windows.pad_windows, X, *at, ceil)
        if padding is None
        else padded(w, X, padding)
        if any(map(any, padding))
        else X
    )
    if n in LP_POOL and set(at.dilation) == {1} and p % 2 == 0:
        return _pool(w, LP_POOL[n], x, {"norm_type": p, "kernel_size": one(at.kernel), "stride": one(at.stride)})
    return torch.linalg.vector_norm(w.function(windows.windows, x, at.kernel, at.stride, at.dilation), p, -1)


@lowers("GlobalAveragePool")
def global_average_pool(w: Any, X: Value) -> Value:
    """The mean over all spatial axes, which stay as 1."""
    y = adaptive_average_pool(w, X, range(2, w.rank_in(0)))
    return _global(w, X, torch.mean) if y is None else y


def adaptive_average_pool(w: Any, x: Value, axes: Sequence[int]) -> Value | None:
    """nn.AdaptiveAvgPool2d and its kin, where the author has one and the mean is over all spatial axes, which stay."""
    rank = w.rank_in(0)
    if rank not in ADAPTIVE or not all(isinstance(a, int) for a in axes):
        return None
    if sorted(a % rank for a in axes) != list(range(2, rank)):
        return None
    return w.module(ADAPTIVE[rank], x, output_size=1 if rank == 3 else (1,) * (rank - 2))


@lowers("GlobalMaxPool")
def global_max_pool(w: Any, X: Value) -> Value:
    """The largest over all spatial axes, which stay as 1."""
    return _global(w, X, torch.amax)


@lowers("GlobalLpPool")
def global_lp_pool(w: Any, X: Value, *, p: int = 2) -> Value:
    """The p-norm over all spatial axes, which stay as 1."""
    return _global(w, X, lambda x, dim, keepdim: torch.linalg.vector_norm(x, p, dim, keepdim))


def _global(w: Any, x: Value, f: Any) -> Value:
    """`f` over all axes but the first two; of no axes at all each element is what `f` gives of it alone."""
    rank = w.rank_in(0)
    if rank == 2:
        return f(x.unsqueeze(2), (2,), keepdim=False)
    return f(x, tuple(range(2, rank)), keepdim=True)


@lowers("MaxUnpool")
def max_unpool(
    w: Any,
    X: Value,
    I: Value,  # noqa: E741
    output_shape: Value = None,
    *,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Value:
    """Each maximum back in its place, which counts in the whole tensor; zeros elsewhere.

    The places count in the tensor that kernel, strides and pads make; a larger `output_shape` has zeros behind it.
    """
    padding = list(pads or [0] * 2 * len(kernel_shape))
    known = w.shape_in(0) or (None,) * (len(kernel_shape) + 2)
    sizes = [
        ((d if isinstance(d, int) else X.shape[i + 2]) - 1) * s + k - padding[i] - padding[i + len(kernel_shape)]
        for i, (d, s, k) in enumerate(zip(known[2:], strides or [1] * len(kernel_shape), kernel_shape, strict=True))
    ]
    wanted = [] if output_shape is None else [listed(w, output_shape)[2:]]
    return w.function(windows.max_unpool, X, I, sizes, *wanted)
