"""Texts to the likeliest labels: sentiment, topic, language.

Of an entry's `output` it takes

    activation: softmax | sigmoid | none    none where the graph ends with one; softmax where it is absent
    top_k: 5                                how many labels an answer has
    name: the graph's output that holds the scores, where it has several
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from zoo.tasks.classify import classify, output_fields
from zoo.tasks.processor import Parts, Processor, Single
from zoo.tasks.readers import reader


def build(
    input: Mapping[str, Any],
    output: Mapping[str, Any],
    *,
    labels: tuple[str, ...] | None,
    files: Mapping[str, Path],
    parts: Parts,
) -> Processor:
    """A Processor whose answers are `Classification`s. Raises BadInput naming a wrong field."""
    answer = partial(classify, labels=labels, **output_fields(output))
    return Single(reader(input, files, only="text"), answer, labels)
