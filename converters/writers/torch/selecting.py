"""Elements that are picked and put by place, where torch has no one call for it: plain torch functions."""

from __future__ import annotations

import math

import torch


def non_negative(indices: torch.Tensor, length: int) -> torch.Tensor:
    """Places as torch.gather and torch.scatter take them: int64, those counted from the end from the start."""
    indices = indices.to(torch.int64)
    return torch.where(indices < 0, indices + length, indices)


def gather_points(x: torch.Tensor, indices: torch.Tensor, batch_dims: int = 0) -> torch.Tensor:
    """Read x at points, one batch at a time: indices [*batch, ..., k] name the first k axes behind the batch's."""
    batch = indices.shape[:batch_dims]
    images = x.flatten(0, batch_dims - 1) if batch_dims else x[None]
    points = indices.flatten(0, batch_dims - 1) if batch_dims else indices[None]
    which = torch.arange(len(points), device=x.device).view(-1, *[1] * (points.dim() - 2)).expand(points.shape[:-1])
    read = images[(which, *points.unbind(-1))]
    return read.unflatten(0, batch) if batch_dims else read[0]


def scatter_points(x: torch.Tensor, indices: torch.Tensor, updates: torch.Tensor, reduce: str) -> torch.Tensor:
    """Combine updates into x at points, indices [..., k]; `reduce` is one of torch.scatter_reduce's."""
    depth = indices.shape[-1]
    rows = x.reshape(math.prod(x.shape[:depth]), math.prod(x.shape[depth:]))
    place = indices.new_zeros(indices.shape[:-1])
    for size, along in zip(x.shape[:depth], indices.unbind(-1), strict=True):
        place = place * size + torch.where(along < 0, along + size, along)
    updates = updates.reshape(place.numel(), rows.shape[1])
    return rows.scatter_reduce(0, place.reshape(-1, 1).expand_as(updates), updates, reduce).view_as(x)


def reverse_sequence(x: torch.Tensor, lengths: torch.Tensor, batch_axis: int, time_axis: int) -> torch.Tensor:
    """Of each member of a batch, the first lengths[i] steps backwards and the others as they are."""
    step, lengths = torch.arange(x.shape[time_axis], device=x.device), lengths[:, None]
    places = torch.where(step < lengths, lengths - 1 - step, step)
    places = places.t() if time_axis < batch_axis else places
    places = places.view([n if axis in (batch_axis, time_axis) else 1 for axis, n in enumerate(x.shape)])
    return torch.gather(x, time_axis, places.expand_as(x))


def unique(
    x: torch.Tensor, dim: int | None = None, sort: bool = True
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The elements that differ, or slices along `dim`, in order or as they come; where each
    stands first; which of them each element is; how often each is there.
    """
    found, inverse, counts = torch.unique(x, dim=dim, return_inverse=True, return_counts=True)
    inverse = inverse.flatten()
    first = torch.full_like(counts, len(inverse))
    first = first.scatter_reduce(0, inverse, torch.arange(len(inverse), device=x.device), "amin")
    if not sort:
        order = first.argsort()
        found, first, counts = found.index_select(dim or 0, order), first[order], counts[order]
        inverse = order.argsort()[inverse]
    return found, first, inverse, counts


def tensor_scatter(
    x: torch.Tensor, update: torch.Tensor, begin: torch.Tensor | None, axis: int, circular: bool = False
) -> torch.Tensor:
    """Write an update into x [batch, ...] along an axis, for each member of the batch from begin[i] on."""
    places = torch.arange(update.shape[axis], device=x.device)[None]
    if begin is not None:
        places = places + begin[:, None]
    if circular:
        places = places % x.shape[axis]
    places = places.view([-1 if i == 0 else update.shape[i] if i == axis else 1 for i in range(x.dim())])
    return torch.scatter(x, axis, places.expand_as(update), update)
