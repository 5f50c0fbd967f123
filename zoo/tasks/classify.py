"""A row of class scores to the likeliest labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from zoo.converters.runner import Array
from zoo.errors import HubError
from zoo.tasks.fields import Fields, one_of, text, whole
from zoo.tasks.labels import fitting
from zoo.tasks.processor import Outputs, rows
from zoo.tasks.results import Classification, Result, Score

TOP_K = 5


def output_fields(output: Mapping[str, Any]) -> dict[str, Any]:
    """An entry's `output`, checked, as the arguments of `classify`."""
    take = (fields := Fields(output, "output")).take
    checked = {
        "activation": take("activation", one_of("softmax", "sigmoid", "none"), "softmax"),
        "top_k": take("top_k", whole(), TOP_K),
        "name": take("name", text, None),
    }
    fields.done()
    return checked


def classify(
    outputs: Outputs,
    samples: Sequence[Any],
    *,
    labels: Sequence[str] | None,
    activation: str = "softmax",
    top_k: int = TOP_K,
    name: str | None = None,
) -> list[Result]:
    """The `top_k` labels of each row of [N, K], best first, equals by index.

    `activation` makes scores of what the graph gives: "none" where it ends with a softmax already. Raises BadInput when
    there are more or fewer labels than outputs, HubError when a score is not a number.
    """
    whole()(top_k, "top_k")
    scores = ACTIVATIONS[activation](rows(outputs, name, len(samples), 2, "class scores"))
    named = fitting(labels, scores.shape[1])
    if not np.isfinite(scores).all():
        raise HubError("the model gave scores that are no numbers (NaN or infinite)")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return [
        Classification(tuple(Score(named[i], int(i), float(row[i])) for i in order))
        for row, order in zip(scores, best, strict=True)
    ]


def softmax(logits: Array) -> Array:
    """Along the last axis, in float64, where the difference of two float32 is always finite.

    >>> softmax(np.array([[0.0, 0.0]], np.float32))
    array([[0.5, 0.5]])
    """
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def sigmoid(logits: Array) -> Array:
    """Each on its own: the labels of one input don't exclude each other. In a form that overflows nowhere."""
    small = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits >= 0, 1, small) / (1 + small))


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "none": lambda scores: scores,
}
