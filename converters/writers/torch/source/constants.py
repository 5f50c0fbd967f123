"""Constants as expressions that a person would write: a few numbers, one number throughout, steps of a lattice.

What is none of these stands in constants.safetensors beside the source.
"""

from __future__ import annotations

import torch

from zoo.converters.writers.source.arrays import lattice_of

FEW, SHORT = 16, 72  # numbers that are written out, and how long they may be
LATTICE = '''
def lattice(start, *axes):
    """A row of integers from `start`, growing by `step` along each of the axes (size, step), the last the fastest."""
    made = torch.tensor([start])
    for size, step in axes:
        made = (made[:, None] + step * torch.arange(size)).flatten()
    return made
'''


def expression(tensor: torch.Tensor) -> str | None:
    """Torch code that makes the tensor, bit for bit; None if none is short."""
    flat = tensor.detach().cpu().reshape(-1)
    shape = tuple(int(d) for d in tensor.shape)
    if tensor.is_complex() or tensor.dtype.itemsize == 1 and tensor.is_floating_point():
        return None
    if flat.numel() <= FEW and _is_exact(flat) and len(text := literal(tensor)) <= SHORT:
        return f"torch.tensor({text}{_dtype(tensor)})"
    if flat.numel() and bool((flat == flat[0]).all()) and _is_exact(flat[:1]):
        return f"torch.full({shape}, {literal(flat[0])}{_dtype(tensor)})"
    if tensor.dtype in (torch.int64, torch.int32) and (axes := lattice_of(flat.tolist())) is not None:
        cast = "" if tensor.dtype == torch.int64 else f".to({tensor.dtype})"
        return f"{_lattice(flat[0].item(), axes)}{f'.reshape{shape}' if len(shape) != 1 else ''}{cast}"
    return None


def _lattice(start: int, axes: list[tuple[int, int]]) -> str:
    if len(axes) == 1 and axes[0][1] == 1:
        return f"torch.arange({axes[0][0]})" if start == 0 else f"torch.arange({start}, {start + axes[0][0]})"
    return f"lattice({', '.join(map(str, (start, *axes)))})"


def _is_exact(flat: torch.Tensor) -> bool:
    """Whether the numbers survive being written: a NaN may carry bits, and -0.0 does."""
    return not flat.is_floating_point() or not bool(flat.isnan().any())


def _dtype(tensor: torch.Tensor) -> str:
    default = {torch.int64, torch.bool, torch.float32}
    return "" if tensor.dtype in default and tensor.numel() else f", dtype={tensor.dtype}"


def literal(tensor: torch.Tensor) -> str:
    """The numbers as Python writes them, the shortest of each float32."""

    def one(x: float) -> str:
        if isinstance(x, float):
            if x in (float("inf"), float("-inf")):
                return "-torch.inf" if x < 0 else "torch.inf"
            return shortest(x, tensor.dtype)
        return repr(x)

    def nested(x: object) -> str:
        return f"[{', '.join(map(nested, x))}]" if isinstance(x, list) else one(x)  # type: ignore[arg-type]

    return nested(tensor.detach().cpu().tolist())


def shortest(x: float, dtype: torch.dtype) -> str:
    """The fewest digits that are read as the same number of the dtype."""
    for digits in range(1, 18):
        text = f"{x:.{digits}g}"
        if torch.tensor(float(text), dtype=dtype).item() == x:
            return repr(float(text))
    return repr(x)
