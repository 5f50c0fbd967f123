"""What stands after `zoo run MODEL`: files, folders, globs, `-` and texts, as inputs with names."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from zoo.errors import BadInput

PICTURES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".gif",
        ".webp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".tga",
    )
    + (".jp2", ".avif", ".heic", ".ico")
)
TEXTS = frozenset((".txt", ".text", ".md"))


class Input(NamedTuple):
    """One input: what an answer calls it, and what the model is given: a path, bytes or a text."""

    name: str
    value: Any


def pictures(words: Sequence[str]) -> list[Input]:
    """Each picture that the words name; `-` is one on stdin. Raises BadInput for what names none."""
    return [each for word in words for each in _pictures(word)]


def _pictures(word: str) -> Iterator[Input]:
    if word == "-":
        content = sys.stdin.buffer.read()
        if not content:
            raise BadInput("stdin is empty; a picture was expected there")
        yield Input("-", content)
        return
    for path in files(word, PICTURES, "picture"):
        yield Input(str(path), path)


def texts(words: Sequence[str]) -> Iterator[Input]:
    """Each text that the words name: a line that is not blank of a file or of stdin (`-`), or a word that has blanks.

    Files are looked for at once, and read while the texts are used. Raises BadInput for what names none.
    """
    sources = [found for word in words for found in _text_sources(word)]
    return (text for source in sources for text in (_lines(source) if isinstance(source, Path) else [source]))


def _text_sources(word: str) -> list[Path | Input]:
    if word == "-":
        return [Path("-")]
    if re.search(r"\s", word.strip()) and not os.path.exists(word):
        return [Input(word, word)]
    return list(
        files(
            word, TEXTS, "text file", hint="A text itself has a blank in it; of one word: echo WORD | zoo run MODEL -"
        )
    )


def _lines(path: Path) -> Iterator[Input]:
    is_empty = True
    for line in _decoded(path):
        if text := line.strip():
            is_empty = False
            yield Input(text, text)
    if is_empty:
        raise BadInput(f"{'stdin' if str(path) == '-' else path}: no text in it")


def _decoded(path: Path) -> Iterator[str]:
    is_stdin = str(path) == "-"
    try:
        with nullcontext(sys.stdin.buffer) if is_stdin else path.open("rb") as file:
            for number, line in enumerate(file):
                yield line.decode("utf-8" if number else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{'stdin' if is_stdin else path}: not UTF-8 text ({error.reason})") from error
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from error


def files(word: str, suffixes: frozenset[str], what: str, *, hint: str = "") -> list[Path]:
    """The file of that name, the files of a folder that end so, or those that match a glob (`**` goes into folders).

    Raises BadInput when there is none, saying what was looked for.
    """
    path = Path(word).expanduser()
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.suffix.lower() in suffixes and each.is_file())
        if not found:
            raise BadInput(
                f"{word}: no {what} in this folder",
                hint=f"Looked for {', '.join(sorted(suffixes))}; not in folders within it.",
            )
        return found
    if path.exists() or not glob.has_magic(word):
        if not path.exists():
            raise BadInput(f"{word}: no such file or folder", hint=hint)
        return [path]
    matched = sorted(Path(each) for each in glob.glob(str(path), recursive=True))
    found = [each for each in matched if each.is_file()]
    if not found:
        raise BadInput(f"{word}: matches no file")
    return found
