"""ONNX's text operators that take numbers: strings are no tensors of Keras'."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.converters.writers import strings
from zoo.converters.writers.keras import ops as lowers

Tensor = Any


@lowers("TfIdfVectorizer")
def tf_idf_vectorizer(
    w: Any,
    X: Tensor,
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: Sequence[int],
    ngram_indexes: Sequence[int],
    pool_int64s: Sequence[int] | None = None,
    pool_strings: Sequence[str] | None = None,
    weights: Sequence[float] | None = None,
) -> Tensor:
    """How often n-grams of a pool occur in each row of X [C] or [N, C]: counts (TF), the weight of what occurs (IDF),
    or the count times the weight (TFIDF).
    """
    if mode not in ("TF", "IDF", "TFIDF"):
        raise w.refused(f"unknown mode {mode!r}")
    tokens, pool = w.concrete(X), list(pool_int64s or ())
    starts = [*ngram_counts, len(pool)]
    grams = [
        tuple(pool[at : at + n])
        for n, (start, end) in enumerate(zip(starts[:-1], starts[1:], strict=True), 1)
        for at in range(start, end, n)
    ]
    if len(grams) != len(ngram_indexes) or (weights and len(weights) != len(grams)):
        raise w.refused(f"{len(grams)} n-grams, {len(ngram_indexes)} indexes and {len(weights or grams)} weights")
    lengths = range(min_gram_length, max_gram_length + 1)
    made = strings.n_gram_counts(np.atleast_2d(tokens), grams, ngram_indexes, lengths, max_skip_count)
    if mode != "TF":
        weight = np.ones(made.shape[1], np.float32)
        weight[list(ngram_indexes)] = weights or 1
        made = (made if mode == "TFIDF" else (made > 0).astype(np.float32)) * weight
    return made if tokens.ndim == 2 else made[0]
