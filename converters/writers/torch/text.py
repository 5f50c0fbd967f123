"""ONNX's text operators, and what the operators of other groups do with strings.

A tensor of strings is numpy's array of objects here, from the module's inputs to its outputs (strings.py). What only
hands values on (If, Loop, sequences) is the same for all values. Anything else that ONNX allows on strings, and is
not here, is refused by name.
"""

# ruff: noqa: N803 - the names are the specification's

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir

from zoo.converters.writers.torch import control_flow, lowers, sequence, strings
from zoo.converters.writers.torch import tensor as tensors
from zoo.converters.writers.torch.sizes import Sizes
from zoo.converters.writers.torch.tfidf import TfIdf
from zoo.errors import HubError

Value = Any
assert lowers.of_strings is not None  # what a table that is no such table itself always has
on_strings = lowers.of_strings

# operators that hand their inputs on, whatever these are
ANY_TYPE: dict[str, Callable[..., Value]] = {
    "Identity": tensors.identity,
    "Constant": control_flow.constant,
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
    "Optional": sequence.optional,
    "OptionalHasElement": sequence.optional_has_element,
    "OptionalGetElement": sequence.optional_get_element,
    "Shape": tensors.shape,
    "Reshape": tensors.reshape,
}
for _op, _lowering in ANY_TYPE.items():
    on_strings(_op)(_lowering)


@on_strings("StringConcat")
def string_concat(w: Any, X: Value, Y: Value) -> Value:
    """X + Y, broadcast."""
    return w.function(strings.string_concat, X, Y)


@on_strings("StringSplit")
def string_split(w: Any, X: Value, *, delimiter: str | None = None, maxsplit: int | None = None) -> Value:
    """The parts of each string and their number; consecutive whitespace separates where no delimiter is given."""
    made = w.function(strings.string_split, X, delimiter or "", maxsplit, w.device())
    return made[0], made[1]


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
    return w.function(strings.string_normalize, X, case_change_action, bool(is_case_sensitive), list(stopwords or ()))


@on_strings("RegexFullMatch")
def regex_full_match(w: Any, X: Value, *, pattern: str | None = None) -> Value:
    """Whether each string matches as a whole."""
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise HubError(f"RegexFullMatch with the pattern {pattern!r}, which Python's re can't read: {error}") from error
    return w.function(strings.regex_full_match, X, pattern or "", w.device())


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
    """How often n-grams of a pool occur in each row of X [C] or [N, C], by weight."""
    ids = X
    pool: list[int] = list(pool_int64s or ())
    if pool_strings:
        vocabulary = list(dict.fromkeys(pool_strings))
        place = {word: i for i, word in enumerate(vocabulary)}
        pool = [place[word] for word in pool_strings]
        ids = w.function(strings.string_ids, X, vocabulary, w.device())
    starts = [*ngram_counts, len(pool)]
    grams = [
        tuple(pool[at : at + n])
        for n, (start, end) in enumerate(zip(starts[:-1], starts[1:], strict=True), 1)
        for at in range(start, end, n)
    ]
    lengths = range(min_gram_length, max_gram_length + 1)
    module = TfIdf(grams, ngram_indexes, lengths, max_skip_count, mode, weights)
    return w.call_held(module, ids)


@on_strings("Cast")
def cast(w: Any, input: Value, *, round_mode: str = "up", saturate: int = 1, to: int) -> Value:  # noqa: A002
    """Numbers from text, or as text."""
    if w.value(0).dtype == ir.DataType.STRING:
        if to == ir.DataType.STRING:
            return input
        return w.function(strings.from_strings, input, w.dtype_of(ir.DataType(to)), w.device())
    return w.function(strings.to_strings, w.tensor_of(input))


@on_strings("CastLike")
def cast_like(
    w: Any,
    input: Value,  # noqa: A002
    target_type: Value,
    *,
    round_mode: str = "up",
    saturate: int = 1,
) -> Value:
    """As Cast, to the dtype of the second input."""
    return cast(w, input, to=w.value(1).dtype)


@on_strings("Equal")
def equal(w: Any, A: Value, B: Value) -> Value:
    """Whether the strings are the same, broadcast."""
    return w.function(strings.string_equal, A, B, w.device())


@on_strings("Where")
def where(w: Any, condition: Value, X: Value, Y: Value) -> Value:
    """X where the condition holds, Y elsewhere, broadcast."""
    return w.function(strings.string_where, w.tensor_of(condition), X, Y)


@on_strings("Gather")
def gather(w: Any, data: Value, indices: Value, *, axis: int = 0) -> Value:
    """data[..., indices, ...] along an axis."""
    known = w.known(indices)
    return w.function(strings.string_take, data, w.tensor_of(indices) if known is None else known.tolist(), axis)


@on_strings("GatherElements")
def gather_elements(w: Any, data: Value, indices: Value, *, axis: int = 0) -> Value:
    """One string for each of indices, along an axis."""
    return w.function(strings.string_take_along, data, w.tensor_of(indices), axis)


@on_strings("GatherND")
def gather_nd(w: Any, data: Value, indices: Value, *, batch_dims: int = 0) -> Value:
    """Strings at points."""
    return w.function(strings.string_points, data, w.tensor_of(indices), batch_dims)


@on_strings("Concat")
def concat(w: Any, *inputs: Value, axis: int) -> Value:
    """Arrays, one behind the other along an axis."""
    return w.function(strings.string_join, list(inputs), axis)


@on_strings("ConcatFromSequence")
def concat_from_sequence(w: Any, input_sequence: Value, *, axis: int, new_axis: int = 0) -> Value:
    """All items, one behind the other along an axis, or along a new one."""
    return w.function(strings.string_stack if new_axis else strings.string_join, input_sequence, axis)


@on_strings("Split")
def split(w: Any, input: Value, split: Value = None, *, axis: int = 0, num_outputs: int | None = None) -> Value:  # noqa: A002
    """Parts along an axis: of given sizes, or as many as there are outputs, the last one smaller if need be."""
    n = len(w.node.outputs)
    if split is not None:
        sizes = w.ints(split)
    else:
        length = w.shape_in(0)[axis]
        if not isinstance(length, int):
            raise HubError("Split of strings into equal parts of a free size")
        step = -(-length // (num_outputs or n))
        sizes = [min(step, length - start) for start in range(0, length, step)]
    parts = w.function(strings.string_split_axis, input, sizes, axis)
    return tuple(parts[i] for i in range(n))


@on_strings("SplitToSequence")
def split_to_sequence(w: Any, input: Value, split: Value = None, *, axis: int = 0, keepdims: int = 1) -> Value:  # noqa: A002
    """Parts of given sizes along an axis."""
    length = (w.shape_in(0) or (None,))[axis]
    sizes = 1 if split is None else sequence.split_sizes(w, split)
    if isinstance(sizes, int):
        if not isinstance(length, int):
            raise HubError("SplitToSequence of strings into equal parts of a free size")
        sizes = [min(sizes, length - start) for start in range(0, length, sizes)]
    parts = w.function(strings.string_split_axis, input, sizes, axis)
    if split is not None or keepdims:
        return parts
    return w.function(sequence.sequence, *(parts[i].squeeze(axis) for i in range(len(sizes))))


@on_strings("Slice")
def slice_(w: Any, data: Value, starts: Value, ends: Value, axes: Value = None, steps: Value = None) -> Value:
    """data[start:end:step] along the named axes."""
    begin, end = w.ints(starts), w.ints(ends)
    rank = w.rank_in(0)
    along = [a % rank for a in w.ints(axes)] if axes is not None else list(range(len(begin)))
    step = w.ints(steps) if steps is not None else [1] * len(begin)
    index = [slice(None)] * rank
    for axis, b, e, s in zip(along, begin, end, step, strict=True):
        last = None if isinstance(s, int) and s < 0 and isinstance(e, int) and e < -(2**31) else e
        index[axis] = slice(b, last, s)
    return data[tuple(index)]


@on_strings("Transpose")
def transpose(w: Any, data: Value, *, perm: Sequence[int] | None = None) -> Value:
    """Axes in another order; reversed without one."""
    return data.transpose(*perm) if perm is not None else data.transpose()


@on_strings("Flatten")
def flatten(w: Any, input: Value, *, axis: int = 1) -> Value:  # noqa: A002
    """Axes before and from `axis` on as one each."""
    rank = w.rank_in(0)
    shape = [input.shape[i] for i in range(rank)]
    rows = 1
    for size in shape[: axis % rank if axis < 0 else axis]:
        rows = rows * size
    return input.reshape(rows, -1)


@on_strings("Expand")
def expand(w: Any, input: Value, shape: Value) -> Value:  # noqa: A002
    """Broadcast with a shape."""
    return w.function(strings.string_expand, input, w.ints(shape))


@on_strings("Squeeze")
def squeeze(w: Any, data: Value, axes: Value = None) -> Value:
    """Without axes of size one."""
    return w.function(strings.string_squeeze, data, None if axes is None else w.ints(axes))


@on_strings("Unsqueeze")
def unsqueeze(w: Any, data: Value, axes: Value) -> Value:
    """With new axes of size one."""
    return w.function(strings.string_unsqueeze, data, w.ints(axes))


@on_strings("Tile")
def tile(w: Any, input: Value, repeats: Value) -> Value:  # noqa: A002
    """Repeated along each axis."""
    return w.function(strings.string_tile, input, w.ints(repeats))


@on_strings("Size")
def size(w: Any, data: Value) -> Value:
    """The number of strings."""
    return Sizes((data.size,), 0)


@on_strings("Compress")
def compress(w: Any, input: Value, condition: Value, *, axis: int | None = None) -> Value:  # noqa: A002
    """What the condition holds for."""
    return w.function(strings.string_compress, input, w.tensor_of(condition), axis)


@on_strings("Unique")
def unique(w: Any, X: Value, *, axis: int | None = None, sorted: int = 1) -> Value:  # noqa: A002
    """The strings that differ, where each stands first, where each of X went, and how many there are of each."""
    made = w.function(strings.string_unique, X, axis, bool(sorted), w.device())
    return tuple(made[i] for i in range(4))
