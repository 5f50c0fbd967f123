"""Surgery: a model with another head, stem, picture size or with inner outputs; graph to graph, hence the same in every
framework. Weightless and bound graphs are changed alike, and all that is not asked for stays bit for bit as published.

    apply(model, num_classes=10)            head.py      a new head, seeded; 0: none
    apply(model, in_chans=1)                stem.py      stem weights summed or repeated
    apply(model, outputs=["layer3"])        outputs.py   inner outputs by module path, the rest cut away
    apply(model, input_size=(384, 384))     size.py      position embeddings resampled, sizes made anew

Underneath, spread.py asks each node what other sizes mean to it, and rules.py knows.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes import common

from zoo.converters.expand import inline_functions
from zoo.converters.scopes import adopt
from zoo.converters.surgery.head import change_classes
from zoo.converters.surgery.outputs import change_outputs
from zoo.converters.surgery.size import change_size
from zoo.converters.surgery.stem import change_channels
from zoo.converters.surgery.trim import parts
from zoo.errors import UsageError


def apply(
    model: ir.Model,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
    input_size: tuple[int, int] | None = None,
    outputs: Sequence[str] | None = None,
    classes: int | None = None,
) -> ir.Model:
    """A copy of a model, weightless or bound, with what is asked for changed; None leaves as it is.

    `input_size` is (height, width); `classes` is how many classes the published head has, where an entry says so.
    Weights that change are computed when they are asked for.

    Raises UsageError that names what can't be changed and why, and UnknownOutput with the nearest names.
    """
    changed = model.clone()
    inline_functions(changed)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(changed)
    adopt(changed)
    made = change_classes(changed, num_classes, classes=classes) if num_classes is not None else []
    if in_chans is not None:
        change_channels(changed, in_chans)
    if outputs is not None:
        change_outputs(changed, outputs)
    if gone := [name for name in made if name not in parts(changed.graph)]:
        raise UsageError(
            f"num_classes={num_classes} makes a new head, {gone[0]!r}, which outputs={list(outputs or ())} leaves out"
        )
    if input_size is not None:
        change_size(changed, input_size)
    return changed
