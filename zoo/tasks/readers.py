"""The first half of every Processor: pictures or texts to arrays, by an entry's `input`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.errors import BadInput
from zoo.tasks.processor import Reader


def reader(input: Mapping[str, Any], files: Mapping[str, Path], *, only: str | None = None, **options: Any) -> Reader:
    """A reader of pictures or of texts: `input` has one field, `image` or `text`, which says how.

    `only` is the kind that the task takes. Raises BadInput when `input` has another kind, none, or both.
    """
    kinds = [kind for kind in ("image", "text") if input.get(kind) is not None]
    extra = [name for name in input if name not in ("image", "text")]
    expected = f"`input.{only}`" if only else "`input.image` or `input.text`"
    if extra or len(kinds) != 1 or (only and kinds != [only]):
        have = ", ".join(map(str, input)) or "nothing"
        raise BadInput(f"input: expected {expected}, which says how its author prepares it; it has {have}")
    if kinds == ["image"]:
        from zoo.tasks.image_reader import image_reader

        return image_reader(input["image"], **options)
    from zoo.tasks.text_reader import text_reader

    return text_reader(input["text"], files)
