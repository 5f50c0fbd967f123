"""ONNX's Resize: F.interpolate where it computes the same, resampling.resize elsewhere."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from zoo.converters.writers.torch import lowers, resampling
from zoo.converters.writers.torch.convolution import one
from zoo.converters.writers.torch.sizes import is_left_out, is_size_of, listed
from zoo.errors import HubError

Value = Any
LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}
HALF_PIXEL = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")
ANY, EXACT, WHOLE = "any", "exact", "whole"  # the scales at which F.interpolate computes the same


@lowers("Resize")
def resize(
    w: Any,
    X: Value,
    roi: Value = None,
    scales: Value = None,
    sizes: Value = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Value:
    """An image of another size, by sizes or by scales of all axes or of some.

    "pytorch_half_pixel" is F.interpolate's own save for an output of one pixel, which is seen where the size is known.
    """
    rank, dtype = w.rank_in(0), w.dtype_in(0)
    if mode != "nearest" and (dtype == torch.bool or dtype.is_complex):
        raise HubError(f"Resize by {mode} of {dtype} has no meaning in ONNX")
    along = [a % rank for a in axes] if axes is not None else list(range(rank))
    by_size = not is_left_out(w, 3, sizes)
    wanted = listed(w, sizes if by_size else scales)
    if isinstance(wanted, list) and len(wanted) != len(along):
        raise HubError(f"Resize of {len(along)} axes by {len(wanted)} {'sizes' if by_size else 'scales'}")
    is_crop = coordinate_transformation_mode == "tf_crop_and_resize"
    stretches = keep_aspect_ratio_policy == "stretch" or not by_size
    if isinstance(wanted, list) and stretches and not is_crop:
        dims = w.shape_in(0)
        change = {a: n for a, n in zip(along, wanted, strict=True) if not _keeps(n, dims[a], a, by_size)}
        rule = _rule(
            mode, coordinate_transformation_mode, nearest_mode, rank, antialias, exclude_outside, cubic_coeff_a
        )
        if rule is not None and _fits(rule[1], dtype, change, dims, by_size, coordinate_transformation_mode):
            spatial = [change.get(a, _kept(X, dims[a], a) if by_size else 1.0) for a in range(2, rank)]
            return _interpolate(
                w,
                X,
                rule[0],
                {"size" if by_size else "scale_factor": one(spatial)},
                coordinate_transformation_mode,
                antialias,
            )
        along, wanted = list(change), list(change.values())
    options = {
        "mode": (mode, "nearest"),
        "coordinates": (coordinate_transformation_mode, "half_pixel"),
        "rounding": (nearest_mode, "round_prefer_floor") if mode == "nearest" else (0, 0),
        "aspect_ratio": (keep_aspect_ratio_policy, "stretch"),
        "antialias": (bool(antialias), False),
        "exclude_outside": (bool(exclude_outside), False),
        "cubic_coeff_a": (cubic_coeff_a, -0.75),
        "extrapolation_value": (extrapolation_value, 0.0),
    }
    given = {name: value for name, (value, default) in options.items() if value != default}
    if is_crop:
        given["region"] = listed(w, roi)
    return (
        w.function(resampling.resize, X, along, **{"sizes" if by_size else "scales": wanted}, **given) if along else X
    )


def _keeps(number: Any, dim: Any, axis: int, by_size: bool) -> bool:
    """Whether a size or scale leaves its axis as it is."""
    if not by_size:
        return bool(number == 1)
    return number == dim if isinstance(number, int) else is_size_of(number, axis)


def _kept(x: Value, dim: Any, axis: int) -> Any:
    return dim if isinstance(dim, int) else x.shape[axis]


def _rule(
    mode: str, coordinates: str, rounding: str, rank: int, antialias: int, exclude_outside: int, cubic_coeff_a: float
) -> tuple[str, str] | None:
    """F.interpolate's name of a mode, and the scales at which it is the same; None where it has no such mode.

    At whole scales half-pixel coordinates, rounded, are the asymmetric ones, cut off. torch's antialias leaves out
    what lies outside, and its antialiased cubic has a = -0.5.
    """
    half_pixel = coordinates in HALF_PIXEL
    scales = EXACT if coordinates in ("align_corners", "half_pixel_symmetric") else ANY
    if rank not in LINEAR:
        return None
    if mode == "nearest":
        if coordinates == "asymmetric" and rounding == "floor":
            return "nearest", ANY
        if half_pixel and rounding == "round_prefer_ceil":
            return "nearest-exact", scales
        return ("nearest", WHOLE) if half_pixel and rounding == "round_prefer_floor" else None
    if not half_pixel and (coordinates != "align_corners" or antialias):
        return None
    if antialias and not (rank == 4 and exclude_outside):
        return None
    if mode == "linear":
        return LINEAR[rank], scales
    is_torchs = cubic_coeff_a == (-0.5 if antialias else -0.75) and bool(exclude_outside) == bool(antialias)
    return ("bicubic", scales) if rank == 4 and is_torchs else None


def _fits(
    scales: str, dtype: torch.dtype, change: dict[int, Any], dims: Sequence[Any], by_size: bool, coordinates: str
) -> bool:
    """Whether F.interpolate takes the dtype and the axes, and computes the same at these sizes or scales."""
    if not dtype.is_floating_point or dtype.itemsize == 1 or any(axis < 2 for axis in change):
        return False
    known = {a: n / dims[a] if by_size else n for a, n in change.items() if not by_size or _is_known(n, dims[a])}
    if coordinates == "pytorch_half_pixel" and any(_is_known(dims[a]) and dims[a] * s == 1 for a, s in known.items()):
        return False
    if scales == WHOLE:
        return len(known) == len(change) and all(float(s).is_integer() for s in known.values())
    if scales == EXACT and not by_size:
        return all(float(s * (dims[a] if _is_known(dims[a]) else 1)).is_integer() for a, s in known.items())
    return True


def _is_known(*sizes: Any) -> bool:
    return all(isinstance(size, int) and size > 0 for size in sizes)


def _interpolate(w: Any, x: Value, name: str, size: dict[str, Any], coordinates: str, antialias: int) -> Value:
    options: dict[str, Any] = {**size, "mode": name}
    if not name.startswith("nearest"):
        options["align_corners"] = coordinates == "align_corners"
    if antialias:
        return w.function(F.interpolate, x, **options, antialias=True)
    y = w.module(nn.Upsample, x, **options) if all(isinstance(n, (int, float, tuple)) for n in size.values()) else None
    return w.function(F.interpolate, x, **options) if y is None else y
