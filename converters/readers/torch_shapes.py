"""aten's operators that move numbers: shapes, views, joins, indices, sorting, and tensors made of nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.readers.scribe import Fault, Scribe
from zoo.converters.readers.torch_aten import (
    DTYPES,
    FLOATS,
    NUMBERS,
    TABLE,
    Sym,
    axes_of,
    axis_of,
    dtype_of,
    entry,
    lowers,
    own,
    promoted,
    scalar,
    size,
    vector,
)
from zoo.converters.readers.torch_math import arithmetic, is_known, is_number

FAR = 2**62
MAX_PARTS = 10_000


# ---- facts of a tensor


@lowers("size", "sym_size")
def size_(op: Scribe, self: ir.Value, dim: Any = None) -> Any:
    """One size, or all as a list."""
    return [size(op, self, i) for i in range(op.rank(self))] if dim is None else size(op, self, dim)


@lowers("shape", "_shape_as_tensor")
def shape(op: Scribe, self: ir.Value) -> Any:
    """All sizes, as a list."""
    return [size(op, self, i) for i in range(op.rank(self))]


@lowers("dim", "ndim", "ndimension")
def dim_(op: Scribe, self: ir.Value) -> Any:
    """How many axes."""
    return op.rank(self)


@lowers("numel", "sym_numel")
def numel(op: Scribe, self: ir.Value) -> Any:
    """How many elements."""
    sizes = op.sizes_of(self) if self.shape is not None else [None]
    return math.prod(n for n in sizes if n is not None) if None not in sizes else Sym(op.Size(self), "int")


@lowers("is_floating_point")
def is_floating_point(op: Scribe, self: ir.Value) -> Any:
    """Whether its dtype is a float's."""
    return own(self) in FLOATS


OTHERS: tuple[str, ...] = (
    "complex",
    "cuda",
    "sparse",
    "quantized",
    "mkldnn",
    "conj",
    "neg",
    "nested",
    "meta",
    "xla",
    "xpu",
    "mps",
    "hpu",
)
OTHERS += ("vulkan", "ipu", "ort", "inference", "leaf", "sparse_csr")


@lowers("requires_grad", *(f"is_{name}" for name in OTHERS))
def is_complex(op: Scribe, self: ir.Value) -> Any:
    """Nothing that is read here is."""
    return False


@lowers("is_contiguous")
def is_contiguous(op: Scribe, self: ir.Value) -> Any:
    """As every tensor of a graph."""
    return True


@lowers("dtype")
def dtype(op: Scribe, self: ir.Value) -> Any:
    """Its dtype's number."""
    return NUMBERS[own(self)]


@lowers("item", "_local_scalar_dense")
def item(op: Scribe, self: ir.Value) -> Any:
    """The one number in it."""
    known = op.known(self)
    if known is not None:
        return known.reshape(-1)[0].item()
    kind = "float" if own(self) in FLOATS else "bool" if own(self) == ir.DataType.BOOL else "int"
    return Sym(op.Reshape(self, op.const(np.array([], np.int64))), kind)


# ---- shapes


def reshaped(op: Scribe, x: ir.Value, sizes: Sequence[Any]) -> ir.Value:
    """To sizes: the only unknown one is left to be inferred, since other frameworks and passes know that form."""
    entries = [entry(op, n) for n in sizes]
    unknown = [i for i, n in enumerate(entries) if not isinstance(n, int)]
    if len(unknown) == 1 and all(not isinstance(n, int) or n > 0 for n in entries):
        entries[unknown[0]] = -1
    made = op.vector(entries)
    # a size of 0 copies in ONNX's own way of counting, and is 0 in torch
    return op.Reshape(x, made, allowzero=1 if any(n == 0 for n in entries if isinstance(n, int)) else None)  # type: ignore[no-any-return]


@lowers("view", "reshape", "_unsafe_view", "view_copy", "_reshape_alias", "_reshape_copy", is_view=True)
def view(op: Scribe, self: ir.Value, size: Any = None, shape: Any = None, dtype: Any = None, stride: Any = None) -> Any:
    """To sizes, one of which may be -1."""
    sizes = shape if size is None else size
    if not isinstance(sizes, list | tuple):
        raise Fault("a view of the bytes in another dtype", is_refusal=True)
    return reshaped(op, self, sizes)


@lowers("view_as", "reshape_as", is_view=True)
def view_as(op: Scribe, self: ir.Value, other: ir.Value) -> Any:
    """To the sizes of another tensor."""
    return op.Reshape(self, op.Shape(other))


@lowers("flatten", is_view=True)
def flatten(op: Scribe, self: ir.Value, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Axes start_dim to end_dim as one."""
    if start_dim == 1 and end_dim == -1 and (self.shape is None or len(self.shape) > 1):
        return op.Flatten(self, axis=1)
    if self.shape is None and start_dim >= 0:  # its rank needn't be known for that
        parts = [op.Shape(self, end=start_dim)] if start_dim else []
        parts += [op.const([-1])] + ([op.Shape(self, start=end_dim + 1)] if end_dim != -1 else [])
        return op.Reshape(self, op.Concat(*parts, axis=0) if len(parts) > 1 else parts[0])
    start, end = axis_of(op, self, start_dim), axis_of(op, self, end_dim)
    sizes = [size(op, self, i) for i in range(op.rank(self))]
    if not sizes or start == end:
        return op.Identity(self) if sizes else op.reshape(self, [1])
    joined = sizes[start : end + 1]
    middle = math.prod(n for n in joined if isinstance(n, int)) if all(isinstance(n, int) for n in joined) else -1
    rest = [*sizes[:start], middle, *sizes[end + 1 :]]
    return reshaped(op, self, rest)


@lowers("unflatten", is_view=True)
def unflatten(op: Scribe, self: ir.Value, dim: int, sizes: Any) -> Any:
    """One axis as several."""
    axis = axis_of(op, self, dim)
    before = [size(op, self, i) for i in range(axis)]
    after = [size(op, self, i) for i in range(axis + 1, op.rank(self))]
    return reshaped(op, self, [*before, *sizes, *after])


@lowers("transpose", "swapaxes", "swapdims", "transpose_copy", is_view=True)
def transpose(op: Scribe, self: ir.Value, dim0: int, dim1: int) -> Any:
    """Two axes change places."""
    perm = list(range(op.rank(self)))
    a, b = axis_of(op, self, dim0), axis_of(op, self, dim1)
    if not perm:
        return op.Identity(self)
    perm[a], perm[b] = perm[b], perm[a]
    return op.Transpose(self, perm=perm)


@lowers("t", "t_copy", "numpy_T", "matrix_H", "mT", "adjoint", is_view=True)
def t(op: Scribe, self: ir.Value) -> Any:
    """The last two axes change places."""
    rank = op.rank(self)
    return op.Transpose(self, perm=[*range(rank - 2), rank - 1, rank - 2]) if rank > 1 else op.Identity(self)


@lowers("permute", "permute_copy", is_view=True)
def permute(op: Scribe, self: ir.Value, dims: list[int]) -> Any:
    """Axes in another order."""
    op.learn(self, len(dims))
    return op.Transpose(self, perm=[axis_of(op, self, axis) for axis in dims])


@lowers("movedim", "moveaxis", is_view=True)
def movedim(op: Scribe, self: ir.Value, source: Any, destination: Any) -> Any:
    """Axes to other places; the rest keep their order."""
    sources, places = axes_of(op, self, source), axes_of(op, self, destination)
    perm = [-1] * op.rank(self)
    for axis, place in zip(sources, places, strict=True):
        perm[place] = axis
    rest = iter(axis for axis in range(len(perm)) if axis not in sources)
    return op.Transpose(self, perm=[axis if axis >= 0 else next(rest) for axis in perm])


@lowers("unsqueeze", "unsqueeze_copy", is_view=True)
def unsqueeze(op: Scribe, self: ir.Value, dim: int) -> Any:
    """One more axis."""
    return op.Unsqueeze(self, op.const([dim]))


@lowers("squeeze", "squeeze_copy", is_view=True)
def squeeze(op: Scribe, self: ir.Value, dim: Any = None) -> Any:
    """Without axes of size 1: those named that are, or all."""
    if dim is None and self.shape is None:
        return op.Squeeze(self)
    sizes = op.sizes_of(self)
    if dim is None:
        axes = [i for i, n in enumerate(sizes) if n == 1]
    else:
        axes = [i for i in axes_of(op, self, dim if isinstance(dim, int) else list(dim)) if sizes[i] in (1, None)]
        axes = [i for i in axes if sizes[i] == 1] or ([] if any(sizes[i] is not None for i in axes) else axes)
    return op.Squeeze(self, op.const(axes)) if axes and sizes else op.Identity(self)


@lowers("expand", "broadcast_to", "expand_copy", is_view=True)
def expand(op: Scribe, self: ir.Value, size: Any, implicit: bool = False) -> Any:
    """To sizes of which -1 keeps."""
    return op.Expand(self, vector(op, [1 if is_known(n) and n == -1 else n for n in size]))


@lowers("expand_as", is_view=True)
def expand_as(op: Scribe, self: ir.Value, other: ir.Value) -> Any:
    """To the sizes of another tensor."""
    return op.Expand(self, op.Shape(other))


@lowers("broadcast_tensors")
def broadcast_tensors(op: Scribe, tensors: list[ir.Value]) -> Any:
    """All to one shape."""
    zero = op.Sum(*(op.Mul(op.cast(x, ir.DataType.FLOAT), op.const(0.0, np.float32)) for x in tensors))
    return [op.Expand(x, op.Shape(zero)) for x in tensors]


@lowers("repeat", "tile")
def repeat(op: Scribe, self: ir.Value, repeats: Any = None, dims: Any = None) -> Any:
    """So many times along each axis, of which there may be more than before."""
    times = list(repeats if repeats is not None else dims)
    rank = op.rank(self)
    if len(times) > rank:
        self = op.Unsqueeze(self, op.const(list(range(len(times) - rank))))
    return op.Tile(self, vector(op, [1] * (rank - len(times)) + times))


@lowers("repeat_interleave")
def repeat_interleave(op: Scribe, self: ir.Value, repeats: Any, dim: Any = None, output_size: Any = None) -> Any:
    """Each element so many times."""
    if isinstance(repeats, ir.Value):
        raise Fault("repeats that differ", is_refusal=True)
    if dim is None:
        self, dim = op.Reshape(self, op.const([-1])), 0
    rank, axis = op.rank(self), axis_of(op, self, dim)
    tiled = op.Tile(
        op.Unsqueeze(self, op.const([axis + 1])), vector(op, [1] * (axis + 1) + [repeats] + [1] * (rank - axis - 1))
    )
    sizes = [size(op, self, i) for i in range(rank)]
    return reshaped(op, tiled, [*sizes[:axis], -1, *sizes[axis + 1 :]])


@lowers("detach", "alias", is_view=True)
def detach(op: Scribe, self: ir.Value) -> Any:
    """The tensor itself."""
    return op.Identity(self)


@lowers("as_strided")
def as_strided(op: Scribe, self: ir.Value, size: Any, stride: Any, storage_offset: Any = None) -> Any:
    """Elements of a contiguous tensor by their places."""
    if not is_known(*size, *stride) or math.prod(size) > 1 << 22:
        raise Fault("strides that are not known", is_refusal=True)
    places = np.full([1] * len(size), storage_offset or 0, np.int64)
    for axis, (n, step) in enumerate(zip(size, stride, strict=True)):
        places = places + (np.arange(n) * step).reshape([-1 if i == axis else 1 for i in range(len(size))])
    return op.Gather(op.Reshape(self, op.const([-1])), op.const(places), axis=0)


@lowers("pixel_shuffle")
def pixel_shuffle(op: Scribe, self: ir.Value, upscale_factor: int) -> Any:
    """Channels to blocks of pixels."""
    op.learn(self, 4)
    return op.DepthToSpace(self, blocksize=upscale_factor, mode="CRD")


@lowers("pixel_unshuffle")
def pixel_unshuffle(op: Scribe, self: ir.Value, downscale_factor: int) -> Any:
    """Blocks of pixels to channels, each channel's together."""
    op.learn(self, 4)
    n = downscale_factor
    sizes = [size(op, self, i) for i in range(4)]
    high, wide = (TABLE["floor_divide"](op, length, n) for length in sizes[2:])
    apart = reshaped(op, self, [sizes[0], sizes[1], high, n, wide, n])
    turned = op.Transpose(apart, perm=[0, 1, 3, 5, 2, 4])
    return reshaped(op, turned, [sizes[0], arithmetic(op, "Mul", sizes[1], n * n), high, wide])


@lowers("channel_shuffle")
def channel_shuffle(op: Scribe, self: ir.Value, groups: int) -> Any:
    """Channels of groups interleaved."""
    rank = op.rank(self, 4)
    sizes = [size(op, self, i) for i in range(rank)]
    apart = reshaped(op, self, [sizes[0], groups, TABLE["floor_divide"](op, sizes[1], groups), *sizes[2:]])
    turned = op.Transpose(apart, perm=[0, 2, 1, *range(3, rank + 1)])
    return reshaped(op, turned, sizes)


# ---- parts and joins


def sliced(op: Scribe, x: ir.Value, axis: int, start: Any, end: Any, step: int = 1) -> ir.Value:
    """From start to end along an axis."""
    bounds = [vector(op, [bound]) for bound in (start, end)]
    return op.Slice(x, *bounds, op.const([axis]), op.const([step]) if step != 1 else None)  # type: ignore[no-any-return]


@lowers("slice", "slice_copy", is_view=True)
def slice_(op: Scribe, self: Any, dim: int = 0, start: Any = None, end: Any = None, step: Any = 1) -> Any:
    """From start to end along an axis; of lists and text as well, whose first number is no axis."""
    if isinstance(self, list | str | tuple):
        bounds = [dim, start, 1 if end is None else end]  # (start, end, step)
        if not all(bound is None or is_known(bound) for bound in bounds):
            raise Fault("a part of a list between bounds that are not known", is_refusal=True)
        return self[bounds[0] : bounds[1] : bounds[2]]
    first, last = (0 if start is None else start), (FAR if end is None else end)
    if is_known(first, last, step) and first == 0 and last >= FAR and step == 1:
        return op.Identity(self)
    return sliced(op, self, dim, first, last, step or 1)


@lowers("narrow", "narrow_copy", is_view=True)
def narrow(op: Scribe, self: ir.Value, dim: int, start: Any, length: Any) -> Any:
    """So many from start on."""
    return sliced(op, self, axis_of(op, self, dim), start, arithmetic(op, "Add", start, length))


@lowers("select", "select_copy", is_view=True)
def select(op: Scribe, self: Any, dim: Any, index: Any = None) -> Any:
    """One place along an axis, which falls away; of a list one member."""
    if isinstance(self, list | tuple):
        return self[dim]
    return op.Gather(self, scalar(op, index, ir.DataType.INT64), axis=dim)


def _sizes_along(op: Scribe, x: ir.Value, axis: int) -> int:
    known = size(op, x, axis)
    if not isinstance(known, int):
        raise Fault(f"a split of an axis of free size, axis {axis}", is_refusal=True)
    return known


def split_at(op: Scribe, x: ir.Value, axis: int, sizes: Sequence[int]) -> list[ir.Value]:
    """Parts of the given sizes."""
    if len(sizes) > MAX_PARTS:
        raise Fault(f"{len(sizes):,} parts", is_refusal=True)
    made = op.Split(x, op.const(list(sizes)), axis=axis, outputs=len(sizes)) if len(sizes) > 1 else op.Identity(x)
    return list(made) if isinstance(made, tuple) else [made]


@lowers("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "split_copy", is_view=True)
def split(op: Scribe, self: ir.Value, split_size: Any = None, dim: int = 0, split_sizes: Any = None) -> Any:
    """Parts of one size, the last of which may be smaller, or of the sizes given."""
    sizes = split_size if split_sizes is None else split_sizes
    axis = axis_of(op, self, dim)
    if isinstance(sizes, list | tuple):
        if is_known(*sizes):
            return split_at(op, self, axis, sizes)
        parts = (
            op.Split(self, vector(op, sizes), axis=axis, outputs=len(sizes)) if len(sizes) > 1 else op.Identity(self)
        )
        known = [None if i == axis else n for i, n in enumerate(op.sizes_of(self))]
        for part in parts if isinstance(parts, tuple) else (parts,):
            op.state(part, known)
        return list(parts) if isinstance(parts, tuple) else [parts]
    if op.sizes_of(self)[axis] is None and op.parts and is_known(sizes):
        return [sliced(op, self, axis, i * sizes, (i + 1) * sizes) for i in range(op.parts)]
    whole = _sizes_along(op, self, axis)
    return split_at(op, self, axis, [min(sizes, whole - at) for at in range(0, whole, max(sizes, 1))])


@lowers("chunk", "unsafe_chunk", is_view=True)
def chunk(op: Scribe, self: ir.Value, chunks: int, dim: int = 0) -> Any:
    """Into so many parts, of which the last may be smaller or missing."""
    axis = axis_of(op, self, dim)
    whole = size(op, self, axis)
    if not isinstance(whole, int):
        if not 1 <= chunks <= MAX_PARTS:
            raise Fault(f"{chunks:,} parts", is_refusal=True)
        return (
            list(op.Split(self, axis=axis, num_outputs=chunks, outputs=chunks)) if chunks > 1 else [op.Identity(self)]
        )
    step = -(-whole // chunks) if whole else 1
    return split_at(op, self, axis, [min(step, whole - at) for at in range(0, whole, step)])


@lowers("tensor_split", is_view=True)
def tensor_split(op: Scribe, self: ir.Value, sections: Any = None, dim: int = 0, indices: Any = None) -> Any:
    """Into parts as even as can be, or at places."""
    axis = axis_of(op, self, dim)
    whole = _sizes_along(op, self, axis)
    cut = sections if indices is None else indices
    if isinstance(cut, int):
        return split_at(op, self, axis, [whole // cut + (i < whole % cut) for i in range(cut)])
    places = [0, *(min(n % whole if n < 0 else n, whole) for n in cut), whole]
    return split_at(op, self, axis, [b - a for a, b in zip(places, places[1:], strict=False)])


@lowers("unbind", "unbind_copy", is_view=True)
def unbind(op: Scribe, self: ir.Value, dim: int = 0) -> Any:
    """Each place along an axis."""
    axis = axis_of(op, self, dim)
    if op.sizes_of(self)[axis] is None and op.parts:
        return [op.Gather(self, op.const(i), axis=axis) for i in range(op.parts)]
    return [op.Squeeze(part, op.const([axis])) for part in split_at(op, self, axis, [1] * _sizes_along(op, self, axis))]


@lowers("cat", "concat", "concatenate")
def cat(op: Scribe, tensors: list[ir.Value], dim: int = 0) -> Any:
    """One behind the other; tensors [0] are left out, as torch does."""
    kept = [x for x in tensors if not (x.shape is not None and list(op.sizes_of(x)) == [0])] or tensors[:1]
    if not kept:
        raise Fault("nothing to join")
    same = promoted(op, *kept)
    return op.Concat(*same, axis=dim) if len(same) > 1 else op.Identity(same[0])


@lowers("stack")
def stack(op: Scribe, tensors: list[ir.Value], dim: int = 0) -> Any:
    """Along a new axis."""
    return op.Concat(*(op.Unsqueeze(x, op.const([dim])) for x in promoted(op, *tensors)), axis=dim)


@lowers("hstack")
def hstack(op: Scribe, tensors: list[ir.Value]) -> Any:
    """Along the second axis, vectors along their only one."""
    return cat(op, tensors, 0 if op.rank(tensors[0]) == 1 else 1)


@lowers("vstack")
def vstack(op: Scribe, tensors: list[ir.Value]) -> Any:
    """As rows."""
    return cat(op, [op.Unsqueeze(x, op.const([0])) if op.rank(x) == 1 else x for x in tensors], 0)


@lowers("flip")
def flip(op: Scribe, self: ir.Value, dims: list[int]) -> Any:
    """Axes from their ends."""
    n = len(dims)
    return op.Slice(self, op.const([-1] * n), op.const([-FAR] * n), op.const(list(dims)), op.const([-1] * n))


@lowers("roll")
def roll(op: Scribe, self: ir.Value, shifts: Any, dims: Any = None) -> Any:
    """Places move on, and those that fall out come in again."""
    shifts = [shifts] if is_number(shifts) else list(shifts)
    axes = [dims] if isinstance(dims, int) else list(dims or [])
    x = self if axes else op.Reshape(self, op.const([-1]))
    for axis, shift in zip(axes or [0], shifts, strict=True):
        back = TABLE["neg"](op, shift)
        x = op.Concat(sliced(op, x, axis, back, FAR), sliced(op, x, axis, 0, back), axis=axis)
    return x if axes else op.Reshape(x, op.Shape(self))


@lowers("rot90")
def rot90(op: Scribe, self: ir.Value, k: int = 1, dims: Any = (0, 1)) -> Any:
    """Turned by right angles."""
    a, b = axes_of(op, self, list(dims))
    x = self
    for _ in range(k % 4):
        x = flip(op, transpose(op, x, a, b), [a])
    return x


@lowers("diagonal", "diagonal_copy")
def diagonal(op: Scribe, self: ir.Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The diagonal of two axes of known sizes, as the last axis."""
    a, b = axis_of(op, self, dim1), axis_of(op, self, dim2)
    rows, columns = _sizes_along(op, self, a), _sizes_along(op, self, b)
    last = op.Transpose(self, perm=[*(i for i in range(op.rank(self)) if i not in (a, b)), a, b])
    sizes = [size(op, last, i) for i in range(op.rank(last) - 2)]
    flat = reshaped(op, last, [*sizes, rows * columns])
    steps = range(max(0, -offset), min(rows, columns - offset))
    return op.Gather(flat, op.const([i * columns + i + offset for i in steps]), axis=len(sizes))


@lowers("meshgrid")
def meshgrid(op: Scribe, tensors: list[ir.Value], indexing: str = "ij") -> Any:
    """Each tensor along an axis of its own, over all others."""
    n = len(tensors)
    order = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else list(range(n))
    whole = op.Concat(*(op.Reshape(op.Size(tensors[i]), op.const([1])) for i in order), axis=0)
    return [
        op.Expand(op.reshape(x, [-1 if axis == order.index(i) else 1 for axis in range(n)]), whole)
        for i, x in enumerate(tensors)
    ]


# ---- indices


def places(op: Scribe, index: ir.Value) -> ir.Value:
    """An index as int64; an input that is one is told to be."""
    if index.dtype not in (ir.DataType.INT64, ir.DataType.INT32):
        op.learn_dtype(index, ir.DataType.INT64)
    return index if index.dtype == ir.DataType.INT32 else op.cast(index, ir.DataType.INT64)


def truths(op: Scribe, mask: ir.Value) -> ir.Value:
    """A mask as truths; an input that is one is told to be."""
    op.learn_dtype(mask, ir.DataType.BOOL)
    return op.cast(mask, ir.DataType.BOOL)


@lowers("index_select")
def index_select(op: Scribe, self: ir.Value, dim: int, index: ir.Value) -> Any:
    """Places along an axis."""
    return op.Gather(self, op.Reshape(places(op, index), op.const([-1])), axis=dim)


@lowers("gather")
def gather(op: Scribe, self: ir.Value, dim: int, index: ir.Value, sparse_grad: bool = False) -> Any:
    """One place along an axis for each place of the index."""
    return op.GatherElements(self, places(op, index), axis=dim)


@lowers("take_along_dim")
def take_along_dim(op: Scribe, self: ir.Value, indices: ir.Value, dim: Any = None) -> Any:
    """The same; of the flattened tensor where no axis is named."""
    if dim is None:
        return op.GatherElements(op.Reshape(self, op.const([-1])), op.Reshape(indices, op.const([-1])), axis=0)
    return op.GatherElements(self, indices, axis=dim)


@lowers("take")
def take(op: Scribe, self: ir.Value, index: ir.Value) -> Any:
    """Elements of the flattened tensor."""
    return op.Gather(op.Reshape(self, op.const([-1])), index, axis=0)


@lowers("index", "_unsafe_index")
def index(op: Scribe, self: ir.Value, indices: list[Any]) -> Any:
    """self[i, :, j, ...]: tensors of places or of truths for some axes, None for the others."""
    if any(i is not None and own(i) == ir.DataType.BOOL for i in indices):
        return _masked(op, self, indices)
    named = [axis for axis, i in enumerate(indices) if i is not None]
    if not named:
        return op.Identity(self)
    places = [op.cast(indices[axis], ir.DataType.INT64) for axis in named]
    if len(named) == 1:
        return op.Gather(self, places[0], axis=named[0])
    rank, wide = op.rank(self), max(op.rank(i) for i in places)
    rest = [axis for axis in range(rank) if axis not in named]
    turned = op.Transpose(self, perm=[*named, *rest]) if named != list(range(len(named))) else self
    made = op.GatherND(turned, op.Concat(*_stacked(op, self, places, named), axis=-1))
    if named == list(range(named[0], named[-1] + 1)) and named[0] > 0:  # the result's axes stand where the indices did
        before = named[0]
        order = [*range(wide, wide + before), *range(wide), *range(wide + before, wide + len(rest))]
        made = op.Transpose(made, perm=order)
    return made


def _stacked(op: Scribe, x: ir.Value, places: list[ir.Value], axes: list[int]) -> list[ir.Value]:
    """The indices [..., 1] of one shape, counted from the front."""
    zero = op.Sum(*(op.cast(op.Mul(i, op.const(0)), ir.DataType.FLOAT) for i in places))
    whole = op.Shape(zero)
    found = []
    for i, axis in zip(places, axes, strict=True):
        turned = op.Where(op.Less(i, op.const(0)), op.Add(i, op.size(x, axis)), i)
        found.append(op.Unsqueeze(op.Expand(turned, whole), op.const([-1])))
    return found


def _masked(op: Scribe, x: ir.Value, indices: list[Any]) -> ir.Value:
    if len([i for i in indices if i is not None]) != 1 or indices[0] is None:
        raise Fault("truths among other indices", is_refusal=True)
    places = op.Transpose(op.NonZero(indices[0]), perm=[1, 0])
    return op.GatherND(x, places)  # type: ignore[no-any-return]


@lowers("masked_select")
def masked_select(op: Scribe, self: ir.Value, mask: ir.Value) -> Any:
    """The elements where the mask is true, in one row."""
    whole = op.Shape(
        op.Or(op.Not(mask), op.cast(op.Expand(op.const(False, np.bool_), op.Shape(self)), ir.DataType.BOOL))
    )
    flat, chosen = (op.Reshape(op.Expand(x, whole), op.const([-1])) for x in (self, mask))
    return op.Compress(flat, chosen, axis=0)


@lowers("index_put", "_index_put_impl", "_unsafe_index_put")
def index_put(
    op: Scribe, self: ir.Value, indices: list[Any], values: ir.Value, accumulate: bool = False, unsafe: bool = False
) -> Any:
    """self[i, j] = values, or += them."""
    values = op.cast(values, own(self))
    truths = [i for i in indices if i is not None and own(i) == ir.DataType.BOOL]
    if len(truths) == 1 and len(indices) == 1 and op.rank(values) == 0 and not accumulate:
        mask = truths[0]
        missing = op.rank(self) - op.rank(mask)
        wide = op.Unsqueeze(mask, op.const([-1 - i for i in range(missing)])) if missing else mask
        return op.Where(wide, values, self)
    if truths:
        raise Fault("a tensor set where truths are among other indices", is_refusal=True)
    named = [axis for axis, i in enumerate(indices) if i is not None]
    if named != list(range(named[0], named[-1] + 1)):
        raise Fault("a tensor set by indices of axes that are apart", is_refusal=True)
    rank, begin, end = op.rank(self), named[0], named[-1] + 1
    found = [op.cast(indices[axis], ir.DataType.INT64) for axis in named]
    stacked = op.Concat(*_stacked(op, self, found, named), axis=-1)
    wide = op.rank(stacked) - 1
    parts = [op.Shape(self, end=begin)] if begin else []
    parts += [op.Shape(stacked, end=-1)] + ([op.Shape(self, start=end)] if end < rank else [])
    given = op.Expand(values, op.Concat(*parts, axis=0) if len(parts) > 1 else parts[0])
    reduction = "add" if accumulate else None
    if not begin:
        return op.ScatterND(self, stacked, given, reduction=reduction)
    perm = [*named, *range(begin), *range(end, rank)]
    order = [*range(begin, begin + wide), *range(begin), *range(begin + wide, rank - len(named) + wide)]
    moved = op.ScatterND(op.Transpose(self, perm=perm), stacked, op.Transpose(given, perm=order), reduction=reduction)
    return op.Transpose(moved, perm=[perm.index(i) for i in range(rank)])


@lowers("masked_fill")
def masked_fill(op: Scribe, self: ir.Value, mask: ir.Value, value: Any) -> Any:
    """A value where the mask is true."""
    return op.Where(truths(op, mask), scalar(op, value, own(self)), self)


@lowers("masked_scatter")
def masked_scatter(op: Scribe, self: ir.Value, mask: ir.Value, source: ir.Value) -> Any:
    """The source's elements in their order where the mask is true."""
    wide = op.Expand(mask, op.Shape(self))
    places = op.Transpose(op.NonZero(wide), perm=[1, 0])
    count = op.Shape(places, end=1)
    return op.ScatterND(self, places, op.Slice(op.Reshape(source, op.const([-1])), op.const([0]), count))


@lowers("where")
def where(op: Scribe, condition: ir.Value, self: Any = None, other: Any = None) -> Any:
    """One or the other; of the condition alone its true places."""
    if self is None:
        return list(unbind(op, op.NonZero(condition), 0)) if op.rank(condition) == 1 else _true_places(op, condition)
    a, b = promoted(op, self, other)
    return op.Where(truths(op, condition), a, b)


def _true_places(op: Scribe, condition: ir.Value) -> list[ir.Value]:
    found = op.NonZero(condition)
    return [op.Gather(found, op.const(i), axis=0) for i in range(op.rank(condition))]


@lowers("nonzero", "argwhere")
def nonzero(op: Scribe, self: ir.Value) -> Any:
    """The places that are not 0, a row each."""
    return op.Transpose(op.NonZero(self), perm=[1, 0])


REDUCTIONS = {"add": "add", "multiply": "mul", "sum": "add", "prod": "mul", "amax": "max", "amin": "min"}


@lowers("scatter", "scatter_reduce")
def scatter(
    op: Scribe, self: ir.Value, dim: int, index: ir.Value, src: Any = None, reduce: str | None = None,
    value: Any = None, include_self: bool = True,
) -> Any:  # fmt: skip
    """Values at places along an axis."""
    given = src if value is None else value
    if not isinstance(given, ir.Value):
        given = op.Expand(scalar(op, given, own(self)), op.Shape(index))
    if not include_self or (reduce is not None and reduce not in REDUCTIONS):
        raise Fault(f"scatter_reduce {reduce!r} without self", is_refusal=True)
    updates = op.Slice(given, op.const([0] * op.rank(index)), op.Shape(index))
    return op.ScatterElements(self, index, updates, axis=dim, reduction=REDUCTIONS[reduce] if reduce else None)


@lowers("index_add")
def index_add(op: Scribe, self: ir.Value, dim: int, index: ir.Value, source: ir.Value, alpha: Any = 1) -> Any:
    """Slices added at places along an axis."""
    given = TABLE["mul"](op, source, alpha) if alpha != 1 else source
    return index_put(op, self, [None] * axis_of(op, self, dim) + [index], given, accumulate=True)


@lowers("scatter_add")
def scatter_add(op: Scribe, self: ir.Value, dim: int, index: ir.Value, src: Any = None) -> Any:
    """Values added at places along an axis."""
    return scatter(op, self, dim, index, src, "add")


@lowers("index_fill")
def index_fill(op: Scribe, self: ir.Value, dim: int, index: ir.Value, value: Any) -> Any:
    """A value at places along an axis."""
    places = [None] * axis_of(op, self, dim) + [index]
    return index_put(op, self, places, scalar(op, value, own(self)))


@lowers("index_copy")
def index_copy(op: Scribe, self: ir.Value, dim: int, index: ir.Value, source: ir.Value) -> Any:
    """Slices at places along an axis."""
    return index_put(op, self, [None] * axis_of(op, self, dim) + [index], source)


@lowers("slice_scatter")
def slice_scatter(
    op: Scribe, self: ir.Value, src: ir.Value, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Any:
    """The tensor with a part replaced."""
    axis = axis_of(op, self, dim)
    whole = op.Range(op.const(0), op.Squeeze(op.size(self, axis), op.const([0])), op.const(1))
    places = sliced(op, whole, 0, 0 if start is None else start, FAR if end is None else end, step)
    return index_put(op, self, [None] * axis + [places], src)


@lowers("select_scatter")
def select_scatter(op: Scribe, self: ir.Value, src: ir.Value, dim: int, index: Any) -> Any:
    """The tensor with one place along an axis replaced."""
    axis = axis_of(op, self, dim)
    return index_put(op, self, [None] * axis + [vector(op, [index])], op.Unsqueeze(src, op.const([axis])))


@lowers("copy")
def copy(op: Scribe, self: ir.Value, src: Any, non_blocking: bool = False) -> Any:
    """What copy_ puts into it."""
    value = src if isinstance(src, ir.Value) else scalar(op, src)
    return op.Expand(op.cast(value, own(self)), op.Shape(self))


@lowers("one_hot")
def one_hot(op: Scribe, self: ir.Value, num_classes: int = -1) -> Any:
    """A row of so many numbers for each place, one of which is 1."""
    if not isinstance(num_classes, int) or not 0 < num_classes < 1 << 20:
        raise Fault("one_hot without the number of classes", is_refusal=True)
    places = op.Equal(op.Unsqueeze(self, op.const([-1])), op.const(list(range(num_classes))))
    return op.cast(places, ir.DataType.INT64)


@lowers("bucketize", "searchsorted")
def bucketize(op: Scribe, self: ir.Value, boundaries: ir.Value, out_int32: bool = False, right: bool = False) -> Any:
    """How many boundaries are below each."""
    lower = op.Unsqueeze(self, op.const([-1]))
    found = op.GreaterOrEqual(lower, boundaries) if right else op.Greater(lower, boundaries)
    return op.ReduceSum(op.cast(found, ir.DataType.INT64), op.const([-1]), keepdims=0)


# ---- sorting


@lowers("topk")
def topk(op: Scribe, self: ir.Value, k: Any, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:  # noqa: A002
    """The k largest or smallest with their places."""
    return op.TopK(self, vector(op, [k]), axis=dim, largest=int(largest), sorted=int(sorted), outputs=2)


@lowers("sort", "msort")
def sort(op: Scribe, self: ir.Value, dim: Any = -1, descending: Any = False, stable: Any = None) -> Any:
    """Along an axis, with the places."""
    if isinstance(dim, bool):
        dim, descending = -1, dim
    return op.TopK(self, op.size(self, dim), axis=dim, largest=int(descending), outputs=2)


@lowers("argsort")
def argsort(op: Scribe, self: ir.Value, dim: int = -1, descending: bool = False, stable: Any = None) -> Any:
    """The places that sort it."""
    return sort(op, self, dim, descending)[1]


# ---- made of nothing


def filled(op: Scribe, sizes: Any, value: Any, dtype: ir.DataType) -> ir.Value:
    """A value in a shape."""
    if is_known(value, *sizes):
        content = ir.tensor(np.array([value]).astype(dtype.numpy()))
        return op.ConstantOfShape(vector(op, sizes), value=content)  # type: ignore[no-any-return]
    return op.Expand(scalar(op, value, dtype), vector(op, sizes))  # type: ignore[no-any-return]


def _dtype(number: Any, default: ir.DataType = ir.DataType.FLOAT) -> ir.DataType:
    return default if number is None else dtype_of(number)


@lowers("zeros", "empty")
def zeros(op: Scribe, size: Any, dtype: Any = None) -> Any:
    """Zeros; a tensor that nothing was written into yet is one too."""
    return filled(op, size, 0, _dtype(dtype))


@lowers("ones")
def ones(op: Scribe, size: Any, dtype: Any = None) -> Any:
    """Ones."""
    return filled(op, size, 1, _dtype(dtype))


@lowers("full")
def full(op: Scribe, size: Any, fill_value: Any, dtype: Any = None) -> Any:
    """A value in a shape."""
    value = fill_value
    if isinstance(value, ir.Value):
        return op.Expand(value if dtype is None else op.cast(value, dtype_of(dtype)), vector(op, size))
    return filled(op, size, value, _dtype(dtype, own(scalar(op, value))))


def _like(op: Scribe, x: ir.Value, value: Any, dtype: Any) -> ir.Value:
    return op.Expand(scalar(op, value, _dtype(dtype, own(x))), op.Shape(x))  # type: ignore[no-any-return]


@lowers("zeros_like", "empty_like")
def zeros_like(op: Scribe, self: ir.Value, dtype: Any = None) -> Any:
    """Zeros in its shape."""
    return _like(op, self, 0, dtype)


@lowers("ones_like")
def ones_like(op: Scribe, self: ir.Value, dtype: Any = None) -> Any:
    """Ones in its shape."""
    return _like(op, self, 1, dtype)


@lowers("full_like")
def full_like(op: Scribe, self: ir.Value, fill_value: Any, dtype: Any = None) -> Any:
    """A value in its shape."""
    return _like(op, self, fill_value, dtype)


@lowers("fill")
def fill(op: Scribe, self: ir.Value, value: Any) -> Any:
    """What fill_ puts into it."""
    return _like(op, self, value, None)


@lowers("zero")
def zero(op: Scribe, self: ir.Value) -> Any:
    """What zero_ puts into it."""
    return _like(op, self, 0, None)


@lowers("new_zeros", "new_empty", "new_empty_strided")
def new_zeros(op: Scribe, self: ir.Value, size: Any, dtype: Any = None, stride: Any = None) -> Any:
    """Zeros of its dtype."""
    return filled(op, size, 0, _dtype(dtype, own(self)))


@lowers("new_ones")
def new_ones(op: Scribe, self: ir.Value, size: Any, dtype: Any = None) -> Any:
    """Ones of its dtype."""
    return filled(op, size, 1, _dtype(dtype, own(self)))


@lowers("new_full")
def new_full(op: Scribe, self: ir.Value, size: Any, fill_value: Any, dtype: Any = None) -> Any:
    """A value of its dtype."""
    return filled(op, size, fill_value, _dtype(dtype, own(self)))


@lowers("eye")
def eye(op: Scribe, n: int, m: int | None = None, dtype: Any = None) -> Any:
    """Ones on the diagonal."""
    rows, columns = n, n if m is None else m
    if not is_known(rows, columns) or not 0 <= rows * columns <= 1 << 22:
        raise Fault(f"a diagonal of {rows} by {columns}", is_refusal=True)
    return op.const(np.eye(rows, columns), _dtype(dtype).numpy())


@lowers("arange", "range")
def arange(op: Scribe, start: Any = None, end: Any = None, step: Any = 1, dtype: Any = None) -> Any:
    """From start to below end; one number is the end."""
    first, last = (0, start) if end is None else (0 if start is None else start, end)
    is_float = any(isinstance(v, float) or (isinstance(v, Sym) and v.kind == "float") for v in (first, last, step))
    kind = _dtype(dtype, ir.DataType.FLOAT if is_float else ir.DataType.INT64)
    if is_known(first, last, step):
        if step == 0 or abs((last - first) / step) > 1 << 22:
            raise Fault(f"a range from {first} to {last} by {step}")
        return op.const(np.arange(first, last, step), kind.numpy())
    if kind in (ir.DataType.INT32, ir.DataType.INT64, ir.DataType.FLOAT, ir.DataType.DOUBLE):
        return op.Range(*(scalar(op, v, kind) for v in (first, last, step)))
    return op.cast(op.Range(*(scalar(op, v, ir.DataType.FLOAT) for v in (first, last, step))), kind)


def _corner(op: Scribe, row: int, col: int, offset: int, dtype: Any, *, upper: bool) -> ir.Value:
    if not is_known(row, col) or not 0 <= row * col <= 1 << 22:
        raise Fault(f"the places of a triangle of {row} by {col}", is_refusal=True)
    found = np.triu_indices(row, offset, col) if upper else np.tril_indices(row, offset, col)
    return op.const(np.stack(found), _dtype(dtype, ir.DataType.INT64).numpy())


@lowers("tril_indices")
def tril_indices(op: Scribe, row: int, col: int, offset: int = 0, dtype: Any = None) -> Any:
    """The places below a diagonal: rows and columns."""
    return _corner(op, row, col, offset, dtype, upper=False)


@lowers("triu_indices")
def triu_indices(op: Scribe, row: int, col: int, offset: int = 0, dtype: Any = None) -> Any:
    """The places above a diagonal: rows and columns."""
    return _corner(op, row, col, offset, dtype, upper=True)


@lowers("linspace")
def linspace(op: Scribe, start: Any, end: Any, steps: Any, dtype: Any = None) -> Any:
    """So many numbers from start to end, both included."""
    kind = _dtype(dtype)
    if is_known(start, end, steps) and 0 <= steps <= 1 << 22:
        return op.const(np.linspace(start, end, steps), kind.numpy())
    places = op.cast(op.Range(op.const(0), scalar(op, steps, ir.DataType.INT64), op.const(1)), kind)
    a, b, n = (scalar(op, v, kind) for v in (start, end, steps))
    return op.Add(a, op.Mul(places, op.Div(op.Sub(b, a), op.Sub(n, op.scalar(1, n)))))


@lowers("scalar_tensor")
def scalar_tensor(op: Scribe, s: Any, dtype: Any = None) -> Any:
    """A number as a tensor, a float unless another dtype is named."""
    return scalar(op, s, _dtype(dtype))


@lowers("tensor", "as_tensor", "NumToTensor")
def tensor(op: Scribe, data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """Numbers, in lists or not, as a tensor."""
    if isinstance(data, ir.Value):
        return data if dtype is None else op.cast(data, dtype_of(dtype))
    if isinstance(data, Sym):
        return scalar(op, data, None if dtype is None else dtype_of(dtype))
    if isinstance(data, list | tuple) and data and not all(is_known(part) for part in data):
        parts = [tensor(op, part, dtype) for part in data]
        return op.Concat(*(op.Unsqueeze(part, op.const([0])) for part in parts), axis=0)
    array = np.asarray(data)
    default = {"f": ir.DataType.FLOAT, "b": ir.DataType.BOOL}.get(array.dtype.kind, ir.DataType.INT64)
    return op.const(array, (_dtype(dtype, default) if array.size else _dtype(dtype)).numpy())


# ---- dtypes


@lowers("to", "type_as", "_to_copy", "type", "to_dtype")
def to(op: Scribe, self: Any, *args: Any, dtype: Any = None, copy: Any = False, other: Any = None, layout: Any = None,
       device: Any = None, memory_format: Any = None, non_blocking: Any = False,
       pin_memory: Any = None) -> Any:  # fmt: skip
    """In another dtype: by its number, by another tensor, or the same where only a device is named."""
    found = dtype if dtype is not None else other
    for arg in args:  # to(dtype), to(device, dtype), to(other): whichever is a dtype's number or a tensor
        if found is None and (isinstance(arg, ir.Value) or (type(arg) is int and arg in DTYPES)):
            found = arg
    if isinstance(found, ir.Value):
        return op.cast(self, own(found))
    return self if found is None else op.cast(self, dtype_of(found))


CASTS = {
    "float": 6,
    "double": 7,
    "half": 5,
    "bfloat16": 15,
    "int": 3,
    "long": 4,
    "bool": 11,
    "byte": 0,
    "char": 1,
    "short": 2,
}


def _cast(number: int) -> Any:
    def emit(op: Scribe, self: ir.Value, *_: Any) -> Any:
        return op.cast(self, DTYPES[number])

    return emit


TABLE.update({name: _cast(number) for name, number in CASTS.items()})
TABLE.update({f"_cast_{name.capitalize()}": _cast(number) for name, number in CASTS.items()})


@lowers("_assert_tensor_metadata", "_assert_async", "_assert_scalar", "sym_constrain_range", "_functional_assert_async",
        "sym_constrain_range_for_size", "warn", "format", "_backward_hook")  # fmt: skip
def nothing(op: Scribe, *_: Any, **__: Any) -> Any:
    """What only checks or says something."""
    return None


@lowers(
    "rand", "randn", "randint", "rand_like", "randn_like", "bernoulli", "multinomial", "normal", "randperm", "uniform"
)
def random(op: Scribe, *_: Any, **__: Any) -> Any:
    """Numbers that differ each time have no one answer."""
    raise Fault("random numbers", is_refusal=True)
