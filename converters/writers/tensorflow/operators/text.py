"""ONNX's text operators, and what the operators of other groups do with strings, by tf.strings."""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import tensorflow as tf

from zoo.converters.writers.keras.operators import control_flow as keras_control_flow
from zoo.converters.writers.keras.operators import indexing as keras_indexing
from zoo.converters.writers.keras.operators import sequence
from zoo.converters.writers.keras.operators import tensor as keras_tensor
from zoo.converters.writers.keras.operators.casting import converted
from zoo.converters.writers.keras.operators.sizes import broadcast, rank, sizes
from zoo.converters.writers.tensorflow import lowers
from zoo.converters.writers.tensorflow.operators import control_flow, indexing
from zoo.converters.writers.tensorflow.operators.numerals import as_text

Tensor = Any
assert lowers.of_strings is not None  # what a table that is no such table itself always has
on_strings = lowers.of_strings

# operators that hand their inputs on, or move elements, whatever these are
ANY_TYPE: dict[str, Callable[..., Tensor]] = {
    "Identity": keras_tensor.identity,
    "If": control_flow.if_,
    "Loop": control_flow.loop,
    "Scan": control_flow.scan,
    "SequenceMap": keras_control_flow.sequence_map,
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
    "Shape": keras_tensor.shape,
    "Size": keras_tensor.size,
    "Slice": keras_tensor.slice_,
    "Split": keras_tensor.split,
    "Compress": indexing.compress,
    "Gather": indexing.gather,
}
for _op, _lowering in ANY_TYPE.items():
    on_strings(_op)(_lowering)


def moved(op: str, lowering: Callable[..., Tensor]) -> None:
    """Register an operator that moves elements: it moves their places, and the strings are gathered by them."""

    @on_strings(op)
    def by_places(w: Any, data: Tensor, *inputs: Tensor, **attributes: Any) -> Tensor:
        places = tf.ensure_shape(tf.reshape(tf.range(tf.size(data)), tf.shape(data)), data.shape)
        made = lowering(w, places, *inputs, **attributes)
        return tf.gather(tf.reshape(data, [-1]), made)


MOVED: dict[str, Callable[..., Tensor]] = {
    "Reshape": keras_tensor.reshape,
    "Flatten": keras_tensor.flatten,
    "Transpose": keras_tensor.transpose,
    "Squeeze": keras_tensor.squeeze,
    "Unsqueeze": keras_tensor.unsqueeze,
    "Expand": keras_tensor.expand,
    "Tile": keras_tensor.tile,
    "GatherElements": keras_indexing.gather_elements,
    "GatherND": keras_indexing.gather_nd,
    "ReverseSequence": keras_indexing.reverse_sequence,
}
for _op, _lowering in MOVED.items():
    moved(_op, _lowering)


@on_strings("Constant")
def constant(
    w: Any,
    *,
    sparse_value: Any = None,
    value: Any = None,
    value_float: float | None = None,
    value_floats: Sequence[float] | None = None,
    value_int: int | None = None,
    value_ints: Sequence[int] | None = None,
    value_string: str | None = None,
    value_strings: Sequence[str] | None = None,
) -> Tensor:
    """A constant that is an output of its graph, most often of a branch; every other one is folded."""
    if value is not None:
        return w.machine.held(value)
    return np.array(value_string if value_strings is None else list(value_strings), dtype=object)


@on_strings("Concat")
def concat(w: Any, *inputs: Tensor, axis: int) -> Tensor:
    """Tensors, one behind the other along an axis."""
    return tf.concat(inputs, axis)


@on_strings("ConcatFromSequence")
def concat_from_sequence(w: Any, input_sequence: Tensor, *, axis: int, new_axis: int = 0) -> Tensor:
    """All items, one behind the other along an axis, or stacked along a new one."""
    return (tf.stack if new_axis else tf.concat)(input_sequence, axis)


@on_strings("Where")
def where(w: Any, condition: Tensor, X: Tensor, Y: Tensor) -> Tensor:
    """X where the condition holds, Y elsewhere."""
    return tf.where(condition, X, Y)


@on_strings("Equal")
def equal(w: Any, A: Tensor, B: Tensor) -> Tensor:
    """Whether the strings are the same, broadcast."""
    return tf.equal(A, B)


@on_strings("StringConcat")
def string_concat(w: Any, X: Tensor, Y: Tensor) -> Tensor:
    """X + Y, broadcast."""
    shape = broadcast(sizes(X), sizes(Y))
    return tf.strings.join([tf.broadcast_to(X, shape), tf.broadcast_to(Y, shape)])


@on_strings("StringSplit")
def string_split(w: Any, X: Tensor, *, delimiter: str | None = None, maxsplit: int | None = None) -> Tensor:
    """The parts of each string and their number; consecutive whitespace separates where no delimiter is given."""
    flat = tf.reshape(X, [-1])
    if not delimiter and maxsplit == 0:  # the text behind its first whitespace, if there is any
        flat = tf.strings.regex_replace(flat, r"^\s+", "")
    parts = tf.strings.split(flat, sep=delimiter or None, maxsplit=-1 if maxsplit is None else maxsplit)
    if not delimiter:  # TensorFlow has an empty rest behind the last split
        parts = tf.ragged.boolean_mask(parts, tf.not_equal(parts, ""))
    padded, counts = parts.to_tensor(default_value=""), parts.row_lengths()
    return tf.reshape(padded, [*sizes(X), tf.shape(padded)[1]]), tf.reshape(counts, sizes(X))


@on_strings("StringNormalizer")
def string_normalizer(
    w: Any,
    X: Tensor,
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    locale: str | None = None,
    stopwords: Sequence[str] | None = None,
) -> Tensor:
    """Strings [C] or [1, C] without stopwords, in one case; a single empty string where none is left."""
    if locale is not None and not re.match(r"en\b|en_|C$|C\.|POSIX$|$", locale):
        raise w.refused(f"locale {locale!r}: upper and lower case are Unicode's here")
    flat = tf.reshape(X, [-1])
    if stopwords:
        known = list(stopwords) if is_case_sensitive else [word.lower() for word in stopwords]
        have = flat if is_case_sensitive else tf.strings.lower(flat, encoding="utf-8")
        flat = tf.boolean_mask(flat, tf.reduce_all(tf.not_equal(have[:, None], tf.constant(known)[None]), 1))
    change = {"LOWER": tf.strings.lower, "UPPER": tf.strings.upper}.get(case_change_action)
    flat = flat if change is None else change(flat, encoding="utf-8")
    flat = tf.concat([flat, tf.fill([tf.cast(tf.equal(tf.size(flat), 0), tf.int32)], "")], 0)
    return flat if rank(X) == 1 else flat[None]


@on_strings("RegexFullMatch")
def regex_full_match(w: Any, X: Tensor, *, pattern: str | None = None) -> Tensor:
    """Whether each string matches as a whole; the pattern is RE2's, as TensorFlow's is."""
    return tf.strings.regex_full_match(X, pattern or "")


@on_strings("Cast")
def cast(w: Any, input: Tensor, *, round_mode: str = "up", saturate: int = 1, to: int) -> Tensor:  # noqa: A002
    """Numbers from text, or as text."""
    target = ir.DataType(to)
    if w.type_in(0) != ir.DataType.STRING:
        return as_text(input)
    if target == ir.DataType.STRING:
        return input
    trimmed = tf.strings.strip(input)
    if target.is_floating_point():
        wide = tf.float64 if target == ir.DataType.DOUBLE else tf.float32
        return converted(tf.strings.to_number(trimmed, wide), target)
    is_whole = tf.strings.regex_full_match(trimmed, r"[+-]?\d+")
    whole = tf.strings.to_number(tf.where(is_whole, trimmed, "0"), tf.int64)
    rest = tf.strings.to_number(tf.where(is_whole, "0", trimmed), tf.float64)
    return converted(tf.where(is_whole, whole, tf.cast(rest, tf.int64)), target)


@on_strings("CastLike")
def cast_like(w: Any, input: Tensor, target_type: Tensor, *, round_mode: str = "up", saturate: int = 1) -> Tensor:  # noqa: A002
    """As Cast, to the dtype of the second input."""
    return cast(w, input, to=w.type_in(1))


@lowers("TfIdfVectorizer")
@on_strings("TfIdfVectorizer")
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
    pool = list(pool_strings or pool_int64s or ())
    starts = [*ngram_counts, len(pool)]
    grams = [
        [pool[at : at + n] for at in range(start, end, n)]
        for n, (start, end) in enumerate(zip(starts[:-1], starts[1:], strict=True), 1)
    ]
    total = sum(map(len, grams))
    if total != len(ngram_indexes) or (weights and len(weights) != total):
        raise w.refused(f"{total} n-grams, {len(ngram_indexes)} indexes and {len(weights or pool)} weights")
    tokens = X if rank(X) == 2 else X[None]
    tokens = tokens if tokens.dtype == tf.string else tf.cast(tokens, tf.int64)
    counts = [
        _counts(tokens, rows, max_skip_count, counted=min_gram_length <= n <= max_gram_length)
        for n, rows in enumerate(grams, 1)
    ]
    found = tf.concat(counts, 1)
    if mode == "IDF":
        found = tf.cast(found > 0, tf.float32)
    found = found * tf.constant(weights or [1.0] * total) if mode != "TF" else found
    size = max(ngram_indexes, default=-1) + 1
    made = tf.transpose(
        tf.scatter_nd(tf.constant(ngram_indexes)[:, None], tf.transpose(found), [size, tf.shape(found)[0]])
    )
    return made if rank(X) == 2 else made[0]


def _counts(tokens: Tensor, grams: Sequence[Sequence[Any]], max_skip: int, *, counted: bool) -> Tensor:
    """How often each n-gram of one length occurs in rows of tokens [N, C], up to `max_skip` tokens between two."""
    found = tf.zeros([tf.shape(tokens)[0], len(grams)])
    if not counted or not grams:
        return found
    n, wanted = len(grams[0]), tf.constant(grams, dtype=tokens.dtype)
    for gap in range(1, max_skip + 2 if n > 1 else 2):
        count = tf.maximum(tf.shape(tokens)[1] - (n - 1) * gap, 0)
        parts = [tokens[:, i * gap : i * gap + count] for i in range(n)]
        same = [tf.equal(part[..., None], wanted[:, i]) for i, part in enumerate(parts)]
        found += tf.reduce_sum(tf.cast(tf.reduce_all(tf.stack(same), 0), tf.float32), 1)
    return found
