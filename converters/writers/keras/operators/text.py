"""ONNX's text operators that take numbers: strings are no tensors of Keras'."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.converters.writers.keras import ops as lowers
from zoo.converters.writers.numbers import tf_idf

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
    return tf_idf(
        w.concrete(X),
        list(pool_int64s or ()),
        max_gram_length=max_gram_length,
        max_skip_count=max_skip_count,
        min_gram_length=min_gram_length,
        mode=mode,
        ngram_counts=ngram_counts,
        ngram_indexes=ngram_indexes,
        weights=weights,
    )
