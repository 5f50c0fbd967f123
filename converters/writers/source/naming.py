"""Names: unique ones, and words out of paths."""

from __future__ import annotations

import keyword
import re
from collections.abc import Container

import onnx


def camel(name: str) -> str:
    """`patch_embed` as `PatchEmbed`."""
    words = [w for w in re.split(r"\W|_", name) if w]
    made = "".join(w[0].upper() + w[1:] for w in words)
    return made if made.isidentifier() else f"Module{made}"


OPERATORS = {schema.name.lower() for schema in onnx.defs.get_all_schemas()}


def is_generic(name: str) -> bool:
    """Whether an exporter made the name up: `val_12`, or an operator and a number."""
    word = re.sub(r"_?\d*_*$", "", name).strip("_").lower()
    return word in OPERATORS or re.fullmatch(r"(val|const\w*|indices|tensor|t|onnx\w*|p2o\w*|node)?", word) is not None


def unique(name: str, taken: Container[str]) -> str:
    """The name, with a number if it is taken."""
    made, n = name, 1
    while made in taken:
        n += 1
        made = f"{name}_{n}"
    return made


def stem(name: str) -> str:
    """`layers.0.conv1` as `conv`: the word of a path that says most."""
    parts = [p for p in re.split(r"\W", name) if p and not p.isdigit()]
    word = re.sub(r"_?\d+$", "", parts[-1]) if parts else "out"
    word = word.strip("_") or "out"
    return word if word.isidentifier() and not keyword.iskeyword(word) and word != "self" else "out"
