"""Lines of at most 120 characters, broken as `ruff format` does.

What stands in the last brackets goes below them, on a line if it fits there, else item by item.
"""

from __future__ import annotations

from collections.abc import Iterator

WIDTH = 120
OPEN, CLOSE = "([{", ")]}"
INDEX = 24  # how long an index may be that is not broken


def laid_out(line: str) -> Iterator[str]:
    """The line, or the lines that it is broken into."""
    indent = len(line) - len(line.lstrip(" "))
    text = line[indent:]
    if len(line) <= WIDTH:
        yield line
        return
    if (conditional := _conditional(text)) is not None:
        head, value, condition, other, tail = conditional
        yield from (" " * indent + part for part in _alternatives(head, value, condition, other, tail, indent))
        return
    if (found := _brackets(text)) is None:
        yield line
        return
    start, end = found
    head, inner, tail = text[: start + 1], text[start + 1 : end], text[end:]
    pad, deeper = " " * indent, " " * (indent + 4)
    parts = split(inner, ",")
    yield pad + head
    whole = f"{deeper}{inner}"
    if len(parts) == 1 and _top(inner, " for ") is not None:
        yield from (deeper + part for part in _comprehension(inner, len(deeper)))
    elif len(whole) <= WIDTH and not inner.rstrip().endswith(",") and (len(parts) == 1 or _is_call(head)):
        yield whole
    elif len(parts) == 1 and not head.endswith(("[", "{")) and "=" not in inner.split("(")[0] and not _is_call(head):
        yield from laid_out(whole)
    else:
        for part in parts:
            yield from laid_out(f"{deeper}{part},")
    yield pad + tail


def _conditional(text: str) -> tuple[str, str, str, str, str] | None:
    """(`head = `, value, condition, other, `,`) of `head = value if condition else other`, outside of all brackets."""
    start = 0 if (at := _top(text, " = ")) is None else at + 3
    condition, other = _top(text, " if "), _top(text, " else ")
    if condition is None or other is None:
        return None
    tail = "," if text.endswith(",") else ""
    return text[:start], text[start:condition], text[condition + 1 : other], text[other + 1 :].removesuffix(","), tail


def _alternatives(head: str, value: str, condition: str, other: str, tail: str, indent: int) -> Iterator[str]:
    """The three parts on lines of their own, in brackets where they are no item of a list."""
    deeper = 0 if not head and tail else 4
    if deeper:
        yield f"{head}("
        if indent + 4 + len(whole := f"{value} {condition} {other}") <= WIDTH:
            yield f"    {whole}"
            yield f"){tail}"
            return
    for part in (value, condition, other):
        for line in laid_out(" " * (indent + deeper) + part):
            yield line[indent:] + (tail if part is other and not deeper and line.endswith(part[-1]) else "")
    if deeper:
        yield f"){tail}"


def _is_call(head: str) -> bool:
    return len(head) > 1 and (head[-2].isalnum() or head[-2] in "_])")


def _comprehension(inner: str, indent: int) -> list[str]:
    if indent + len(inner) <= WIDTH:
        return [inner]
    at = _top(inner, " for ")
    if at is None:
        return list(laid_out(" " * indent + inner))
    lines = [line[indent:] for line in laid_out(" " * indent + inner[:at])]
    return [*lines, inner[at + 1 :]]


def _top(text: str, word: str) -> int | None:
    """Where a word stands outside of all brackets."""
    for i, depth in _depths(text):
        if depth == 0 and text.startswith(word, i):
            return i
    return None


def _brackets(text: str) -> tuple[int, int] | None:
    """The last outermost pair of brackets with something in it; of a `def` the first.

    A short index behind other brackets, `f(x, y)[None]`, stays where it is.
    """
    found, opened = None, 0
    for i, depth in _depths(text):
        if text[i] in OPEN and depth == 1:
            opened = i
        if text[i] in CLOSE and depth == 0 and i > opened + 1:
            if found is not None and text[opened] == "[" and text[opened - 1] in CLOSE and i - opened < INDEX:
                continue
            found = opened, i
            if text.startswith("def "):
                return found
    return found


def _depths(text: str) -> Iterator[tuple[int, int]]:
    """Each place outside of strings, with how many brackets are open after it."""
    depth, quote, skip = 0, "", False
    for i, c in enumerate(text):
        if skip:
            skip = False
        elif quote:
            skip = c == "\\"
            quote = "" if c == quote else quote
        elif c in "\"'":
            quote = c
        else:
            depth += (c in OPEN) - (c in CLOSE)
            yield i, depth


def split(text: str, separator: str) -> list[str]:
    """The parts between separators that stand outside of all brackets and strings."""
    places = [i for i, depth in _depths(text) if depth == 0 and text[i] == separator]
    bounds = [-1, *places, len(text)]
    parts = [text[a + 1 : b].strip() for a, b in zip(bounds, bounds[1:], strict=False)]
    return [p for p in parts if p]
