"""Texts to token arrays [N, T], int64: by the tokenizer.json that belongs to the weights.

Of an entry's `input.text` it takes

    max_length: int    tokens, the special ones included; longer texts are cut, as their publishers do
    pad: "[PAD]"       the token that fills short rows; where it is absent, tokenizer.json's, or its [PAD] or <pad>
    names: {...}       a graph's own names of its inputs: each with input_ids, attention_mask or token_type_ids
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from zoo.converters.runner import TensorSpec
from zoo.errors import BadInput
from zoo.tasks.fields import Fields, one_of, text, whole
from zoo.tasks.processor import Feeds

ARRAYS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True, slots=True)
class TextSample:
    """A text's tokens, special ones included and padding not."""

    text: str
    ids: tuple[int, ...]
    types: tuple[int, ...]
    is_cut: bool  # it had more tokens than the model takes

    @property
    def nbytes(self) -> int:
        """Of its three int64 rows."""
        return 24 * len(self.ids)


@dataclass(frozen=True)
class TextReader:
    """Reads str. `names` are the graph's inputs, each with what it is given."""

    tokenizer: Any
    pad_id: int
    names: Mapping[str, str]
    length: int | None = None

    @property
    def max_batch(self) -> int | None:
        """1 where the graph can't be told which tokens are padding."""
        return None if "attention_mask" in self.names.values() else 1

    def feeding(self, inputs: Sequence[TensorSpec]) -> TextReader:
        """Of the three arrays those that the graph takes; every text of the graph's length, where that is a number."""
        names = [spec.name for spec in inputs]
        fits = {name: self.names[name] for name in names if name in self.names}
        if len(fits) < len(names) or "input_ids" not in fits.values():
            raise BadInput(
                f"a text fills {', '.join(ARRAYS)}, and the graph's inputs are {', '.join(names)}",
                hint="State `input.text.names`, which array each input is given.",
            )
        lengths = {spec.shape[1] for spec in inputs if len(spec.shape) == 2 and isinstance(spec.shape[1], int)}
        if not lengths:
            return replace(self, names=fits)
        length, tokenizer = min(map(int, lengths)), deepcopy(self.tokenizer)
        tokenizer.enable_truncation(min(length, tokenizer.truncation["max_length"]))
        return replace(self, names=fits, length=length, tokenizer=tokenizer)

    def read(self, x: Any) -> TextSample:
        """One text as tokens. Raises BadInput for what is no str, no Unicode, or gives no token."""
        if not isinstance(x, str):
            raise BadInput(f"{type(x).__name__} is no text; give a str")
        try:
            x.encode()
        except UnicodeEncodeError as error:
            raise BadInput(f"{shortened(x)}: half a surrogate pair at character {error.start} is no Unicode") from error
        encoding = self.tokenizer.encode(x)
        if not encoding.ids:
            raise BadInput(f"{shortened(x)}: the tokenizer finds no token in it")
        return TextSample(x, tuple(encoding.ids), tuple(encoding.type_ids), bool(encoding.overflowing))

    def batch(self, samples: Sequence[TextSample]) -> Feeds:
        """int64 [N, T], T the longest; shorter rows end with the padding token, which the mask marks 0."""
        shape = len(samples), self.length or max(len(sample.ids) for sample in samples)
        ids = np.full(shape, self.pad_id, np.int64)
        mask, types = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, sample in enumerate(samples):
            n = len(sample.ids)
            ids[row, :n], types[row, :n], mask[row, :n] = sample.ids, sample.types, 1
        if self.max_batch == 1 and not mask.all():
            raise BadInput("texts of different length can't share a batch: the graph takes no attention mask")
        arrays = dict(zip(ARRAYS, (ids, mask, types), strict=True))
        return {name: arrays[array] for name, array in self.names.items()}


def shortened(x: str) -> str:
    """A text as an error quotes it: its first characters, in ASCII where they are odd."""
    return ascii(x[:40]) + ("..." if len(x) > 40 else "")


def text_reader(given: Mapping[str, Any], files: Mapping[str, Path]) -> TextReader:
    """A reader by an entry's `input.text` and its file of role `tokenizer`. Raises BadInput."""
    take = (fields := Fields(given, "input.text")).take
    max_length = take("max_length", whole())
    pad = take("pad", text, None)
    names = take("names", _names, {name: name for name in ARRAYS})
    fields.done()
    if "tokenizer" not in files:
        raise BadInput("a text model wants a file of role tokenizer, and there is none")
    path = files["tokenizer"]
    tokenizer = _tokenizer(path)
    pad_id = _pad_id(tokenizer, pad, path)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return TextReader(tokenizer, pad_id, names)


def _names(value: Any, place: str) -> dict[str, str]:
    fields = Fields(value, place)
    return {name: fields.take(name, one_of(*ARRAYS)) for name in fields.given}


def _tokenizer(path: Path) -> Any:
    if not path.is_file():
        raise BadInput(f"{path}: no such file")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001  tokenizers raises bare Exception, for whatever is wrong with the file
        raise BadInput(f"{path}: no tokenizer.json: {error}") from error


def _pad_id(tokenizer: Any, pad: str | None, path: Path) -> int:
    if pad is None and tokenizer.padding:
        return int(tokenizer.padding["pad_id"])
    known = {token: tokenizer.token_to_id(token) for token in ([pad] if pad else ["[PAD]", "<pad>"])}
    for index in known.values():
        if index is not None:
            return int(index)
    tokens = " or ".join(map(repr, known))
    raise BadInput(f"{path} has no token {tokens} to fill short rows with", hint="State it as `input.text.pad`.")
