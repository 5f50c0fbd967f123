"""ONNX's text operators, and what the operators of other groups do with strings: numpy's, outside of jit.

What only hands values on (If, Loop, sequences) is the same for all values. Anything else that ONNX allows on strings,
and is not here, is refused by name.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.writers import strings
from zoo.converters.writers.jax import control_flow, indexing, lowers, sequence
from zoo.converters.writers.jax import tensor as tensors
from zoo.converters.writers.numbers import tf_idf
from zoo.errors import HubError

Value = Any
assert lowers.of_strings is not None  # what a table that is no such table itself always has
on_strings = lowers.of_strings

# operators that hand their inputs on, or move elements, whatever these are
ANY_TYPE: dict[str, Callable[..., Value]] = {
    "Identity": tensors.identity,
    "Constant": tensors.constant,
    "If": control_flow.if_,
    "Loop": control_flow.loop,
    "Scan": control_flow.scan,
    "SequenceMap": control_flow.sequence_map,
    "SequenceConstruct": sequence.sequence_construct,
    "SequenceEmpty": sequence.sequence_empty,
    "SequenceAt": sequence.at,
    "SequenceInsert": sequence.insert,
    "SequenceErase": sequence.erase,
    "SequenceLength": sequence.length,
    "SplitToSequence": sequence.split_to_sequence,
    "Optional": sequence.optional,
    "OptionalHasElement": sequence.optional_has_element,
    "OptionalGetElement": sequence.optional_get_element,
    "Shape": tensors.shape,
    "Size": tensors.size,
    "Reshape": tensors.reshape,
    "Flatten": tensors.flatten,
    "Transpose": tensors.transpose,
    "Split": tensors.split,
    "Slice": tensors.slice_,
    "Squeeze": tensors.squeeze,
    "Unsqueeze": tensors.unsqueeze,
    "Gather": indexing.gather,
    "GatherElements": indexing.gather_elements,
}
for _op, _lowering in ANY_TYPE.items():
    on_strings(_op)(_lowering)


@on_strings("GatherND")
def gather_nd(w: Any, data: Value, indices: Value, *, batch_dims: int = 0) -> Value:
    """Strings at points: the last axis of indices [..., k] counts the axes that a point names."""
    return np.array(data[indexing.points(indices, batch_dims)], dtype=object)


@on_strings("StringConcat")
def string_concat(w: Any, X: Value, Y: Value) -> Value:
    """X + Y, broadcast."""
    return np.asarray(X + Y, dtype=object)


@on_strings("StringSplit")
def string_split(w: Any, X: Value, *, delimiter: str | None = None, maxsplit: int | None = None) -> Value:
    """The parts of each string and their number; consecutive whitespace separates where no delimiter is given."""
    return strings.split(X, delimiter or "", maxsplit)


@on_strings("StringNormalizer")
def string_normalizer(
    w: Any,
    X: Value,
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    locale: str | None = None,
    stopwords: Sequence[str] | None = None,
) -> Value:
    """Without stopwords, in one case. Python changes case as Unicode says, whatever the locale is."""
    if locale is not None and not re.match(r"en\b|en_|C$|C\.|POSIX$|$", locale):
        raise HubError(f"StringNormalizer with locale {locale!r}: upper and lower case are Unicode's here")
    return strings.normalize(X, case_change_action, bool(is_case_sensitive), list(stopwords or ()))


@on_strings("RegexFullMatch")
def regex_full_match(w: Any, X: Value, *, pattern: str | None = None) -> Value:
    """Whether each string matches as a whole."""
    try:
        return strings.full_match(X, pattern or "")
    except re.error as error:
        raise HubError(f"RegexFullMatch with the pattern {pattern!r}, which Python's re can't read: {error}") from error


@lowers("TfIdfVectorizer")
@on_strings("TfIdfVectorizer")
def tf_idf_vectorizer(
    w: Any,
    X: Value,
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
) -> Value:
    """How often n-grams of a pool occur in each row of X [C] or [N, C]: counts (TF), the weight of what occurs (IDF),
    or the count times the weight (TFIDF).
    """
    tokens, pool = w.concrete(X), list(pool_int64s or ())
    if pool_strings:
        vocabulary = list(dict.fromkeys(pool_strings))
        pool, tokens = strings.ids(np.array(pool_strings, object), vocabulary).tolist(), strings.ids(tokens, vocabulary)
    return tf_idf(
        tokens,
        pool,
        max_gram_length=max_gram_length,
        max_skip_count=max_skip_count,
        min_gram_length=min_gram_length,
        mode=mode,
        ngram_counts=ngram_counts,
        ngram_indexes=ngram_indexes,
        weights=weights,
    )


@on_strings("Cast")
def cast(w: Any, input: Value, *, round_mode: str = "up", saturate: int = 1, to: int) -> Value:  # noqa: A002
    """Numbers from text, or as text."""
    if w.type_in(0) != ir.DataType.STRING:
        return strings.of_numbers(input)
    return input if to == ir.DataType.STRING else strings.to_numbers(input, np.dtype(ir.DataType(to).numpy()))


@on_strings("CastLike")
def cast_like(w: Any, input: Value, target_type: Value, *, round_mode: str = "up", saturate: int = 1) -> Value:  # noqa: A002
    """As Cast, to the dtype of the second input."""
    return cast(w, input, to=w.type_in(1))


@on_strings("Equal")
def equal(w: Any, A: Value, B: Value) -> Value:
    """Whether the strings are the same, broadcast."""
    return np.equal(A, B).astype(bool)


@on_strings("Where")
def where(w: Any, condition: Value, X: Value, Y: Value) -> Value:
    """X where the condition holds, Y elsewhere, broadcast."""
    return np.asarray(np.where(condition, X, Y), dtype=object)


@on_strings("Concat")
def concat(w: Any, *inputs: Value, axis: int) -> Value:
    """Tensors, one behind the other along an axis."""
    return np.concatenate(inputs, axis)


@on_strings("ConcatFromSequence")
def concat_from_sequence(w: Any, input_sequence: Value, *, axis: int, new_axis: int = 0) -> Value:
    """All items, one behind the other along an axis, or along a new one."""
    return (np.stack if new_axis else np.concatenate)(input_sequence, axis)


@on_strings("Expand")
def expand(w: Any, input: Value, shape: Value) -> Value:  # noqa: A002
    """Broadcast with a shape."""
    return np.broadcast_to(input, np.broadcast_shapes(input.shape, tuple(w.ints(shape)))).copy()


@on_strings("Tile")
def tile(w: Any, input: Value, repeats: Value) -> Value:  # noqa: A002
    """Repeated along each axis."""
    return np.tile(input, w.ints(repeats))


@on_strings("Compress")
def compress(w: Any, input: Value, condition: Value, *, axis: int | None = None) -> Value:  # noqa: A002
    """What the condition holds for."""
    return np.compress(condition, input, axis)


@on_strings("Unique")
def unique(w: Any, X: Value, *, axis: int | None = None, sorted: int = 1) -> Value:  # noqa: A002
    """The strings that differ, where each stands first, where each of X went, and how many there are of each."""
    return strings.unique(X, axis, bool(sorted))
