"""Pictures or texts to the graph's own outputs, whatever they are: no softmax, no pooling, no labels.

Of an entry's `output` it takes

    names: [...]    the outputs to keep; all of them where it is absent
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from zoo.converters.runner import Array
from zoo.errors import BadInput, UnknownOutput, did_you_mean
from zoo.tasks.fields import Fields, each, text
from zoo.tasks.processor import Outputs, Parts, Processor, Single
from zoo.tasks.readers import reader
from zoo.tasks.results import Features, Result


def build(
    input: Mapping[str, Any],
    output: Mapping[str, Any],
    *,
    labels: tuple[str, ...] | None,
    files: Mapping[str, Path],
    parts: Parts,
) -> Processor:
    """A Processor whose answers are `Features`. Raises BadInput naming a wrong field."""
    take = (fields := Fields(output, "output")).take
    names = take("names", each(text), None)
    fields.done()
    return Single(reader(input, files), partial(extract, names=names))


def extract(outputs: Outputs, samples: Sequence[Any], *, names: Sequence[str] | None = None) -> list[Result]:
    """Each input's row of every output; the rows of a text's tokens without padding.

    Raises UnknownOutput for a name that the graph doesn't give, BadInput for an output that has no row for each input.
    """
    for name in names or ():
        if name not in outputs:
            raise UnknownOutput(f"the model has no output {name!r}", hint=did_you_mean(name, outputs))
    kept = {name: outputs[name] for name in names or outputs}
    for name, array in kept.items():
        if array.ndim == 0 or array.shape[0] != len(samples):
            raise BadInput(f"output {name!r} of shape {list(array.shape)} has no row for each of {len(samples)} inputs")
    longest = max(len(getattr(sample, "ids", ())) for sample in samples)
    return [
        Features({name: _unpadded(array[row], sample, longest) for name, array in kept.items()})
        for row, sample in enumerate(samples)
    ]


def _unpadded(row: Array, sample: Any, longest: int) -> Array:
    """Without the rows of padding, where the first axis counts tokens: [T, D], T the longest of the batch."""
    ids = getattr(sample, "ids", None)
    return row if ids is None or row.ndim != 2 or row.shape[0] != longest else row[: len(ids)]
