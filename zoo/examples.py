"""Seeded inputs for a model: what verifying and converting run both sides on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.errors import ZooError

if TYPE_CHECKING:
    import onnx_ir as ir

    from zoo.converters.runner import Array, TensorSpec
    from zoo.entry import Weights

Outputs = TypeVar("Outputs")
BATCH, LENGTH, SIDE = 2, 16, 224  # of what is free: the first axis, a text's second, a picture's height and width
TRIED = ((BATCH, LENGTH), (1, LENGTH), (BATCH, 512), (1, 512), (1, 16_000))  # the last is a second of speech
SEED = 0


def accepted(
    model: ir.Model, specs: list[TensorSpec], weights: Weights | None, run: Callable[[dict[str, Array]], Outputs]
) -> tuple[dict[str, Array], Outputs]:
    """Feeds that `run` takes, and what it gives: a file says neither how long its sound is nor that its batch is 1.

    Raises what `run` raises of the first, where it takes none.
    """
    first: ZooError | None = None
    for batch, length in TRIED:
        examples = feeds(model, specs, weights, batch=batch, length=length)
        try:
            return examples, run(examples)
        except ZooError as error:
            first = first or error
    assert first is not None
    raise first


def feeds(
    model: ir.Model,
    specs: list[TensorSpec],
    weights: Weights | None = None,
    *,
    batch: int = BATCH,
    length: int = LENGTH,
) -> dict[str, Array]:
    """An array for each input: normal numbers; integers that are indices of what they look up, or 0 and 1.

    Free sizes are `batch`, `length` and, of pictures, what the entry's preprocessing makes, or SIDE.
    """
    import numpy as np

    from zoo.converters.fold import dims
    from zoo.converters.graph import data_inputs

    generator = np.random.default_rng(SEED)
    values = {value.name: value for value in data_inputs(model.graph)}
    size = picture_size(weights.input if weights else {})
    made: dict[str, Array] = {}
    for spec in specs:
        shape = [_size(i, d, batch, length, size, spec) for i, d in enumerate(spec.shape)]
        if spec.dtype == "bool":
            made[spec.name] = np.asarray(generator.random(shape) < 0.5)
        elif spec.dtype.startswith(("int", "uint")):
            bound = min(_bound(values.get(spec.name), dims), 2**7)
            made[spec.name] = np.asarray(generator.integers(0, bound, shape), dtype=spec.dtype)
            if shape:
                made[spec.name][..., :1] = 1 if bound > 1 else 0  # a mask that hides everything has no answer
        else:
            made[spec.name] = np.asarray(generator.standard_normal(shape), dtype=spec.dtype)
    return made


def picture_size(given: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width that an entry's preprocessing makes; a free side as its least."""
    image = given.get("image", {})
    height, width = image.get("size") or (None, None)
    multiple = image.get("multiple", 1)
    least = image.get("min_width")
    return (height or 7 * max(multiple, 32), width or least or 10 * max(multiple, 32)) if image else (SIDE, SIDE)


def _size(i: int, size: int | str, batch: int, length: int, picture: tuple[int, int], spec: TensorSpec) -> int:
    if isinstance(size, int):
        return size
    if i == 0:
        return batch
    if len(spec.shape) == 4:  # NCHW, or NHWC where the channels are the fixed last
        spatial = (1, 2) if isinstance(spec.shape[3], int) and isinstance(spec.shape[1], str) else (2, 3)
        return picture[spatial.index(i)] if i in spatial else 3
    return length


def _bound(value: ir.Value | None, dims: Any) -> int:
    """How many rows the table has that an input is looked up in; 2 where it is looked up in none."""
    if value is None:
        return 2
    tables = [
        use.node.inputs[0]
        for use in value.uses()
        if use.node.op_type == "Gather" and use.idx == 1 and use.node.inputs[0]
    ]
    rows = [shape[0] for table in tables if (shape := dims(table))]
    return min((row for row in rows if isinstance(row, int)), default=2)
