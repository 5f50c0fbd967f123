"""Texts to vectors, and what vectors are for: similarity and ranking.

Of an entry's `output` it takes

    pooling: mean | cls    of token states; a graph that gives one vector a text has pooled already
    normalize: l2          vectors of length 1
    name: the graph's output to use, where it has several

Pooling counts the tokens that are no padding. Normalising twice changes nothing, so the graph may do that too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zoo.converters.runner import Array
from zoo.errors import BadInput
from zoo.tasks.fields import Fields, one_of, text
from zoo.tasks.processor import Outputs, Parts, Processor, Single, chosen, needed, rows
from zoo.tasks.readers import reader
from zoo.tasks.results import Embedding, Ranked, Ranking, Result


def build(
    input: Mapping[str, Any],
    output: Mapping[str, Any],
    *,
    labels: tuple[str, ...] | None,
    files: Mapping[str, Path],
    parts: Parts,
) -> Processor:
    """A Processor whose answers are `Embedding`s. Raises BadInput naming a wrong field."""
    take = (fields := Fields(output, "output")).take
    pooling = take("pooling", one_of("mean", "cls"), None)
    normalize = take("normalize", one_of("l2"), None)
    name = take("name", text, None)
    fields.done()
    answer = partial(embed, pooling=pooling, normalize=normalize, name=name)
    return Single(reader(input, files, only="text"), answer)


def embed(
    outputs: Outputs, samples: Sequence[Any], *, pooling: str | None, normalize: str | None, name: str | None = None
) -> list[Result]:
    """One vector [D] a text, of token states [N, T, D] or of vectors [N, D].

    Raises BadInput when the graph gives token states and nobody says how they are pooled.
    """
    if chosen(outputs, name).ndim == 3:
        vectors = _pooled(rows(outputs, name, len(samples), 3, "token states"), samples, pooling)
    else:
        vectors = rows(outputs, name, len(samples), 2, "vectors")
    return [Embedding(vector) for vector in (unit(vectors) if normalize == "l2" else vectors)]


def _pooled(states: Array, samples: Sequence[Any], pooling: str | None) -> Array:
    if pooling is None:
        raise BadInput("the model gives a vector a token, not one a text", hint="State `output.pooling`: mean or cls.")
    if pooling == "cls":
        return states[:, 0]
    lengths = np.array([len(sample.ids) for sample in needed(samples, "which tokens are padding")])
    mask = (np.arange(states.shape[1]) < lengths[:, None]).astype(np.float32)
    return np.asarray(np.einsum("ntd,nt->nd", states, mask) / lengths[:, None].astype(np.float32))


def unit(vectors: Array) -> Array:
    """Rows [N, D] at length 1; a row of zeros stays one (torch's normalize, whose eps is 1e-12)."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))


def cosines(a: Array, b: Array) -> Array:
    """[N, D] and [M, D] to [N, M], -1 to 1, whatever the lengths of the vectors are."""
    return np.asarray(np.clip(unit(a) @ unit(b).T, -1, 1))


def ranking(query: str, texts: Sequence[str], scores: Array, top_k: int | None = None) -> Ranking:
    """The texts by their scores [M], best first, equals in the order of the question."""
    order = np.argsort(-scores, kind="stable")[:top_k]
    return Ranking(query, tuple(Ranked(texts[i], int(i), float(scores[i])) for i in order))
