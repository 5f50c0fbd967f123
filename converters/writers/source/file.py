"""What is alike in the text of every model.py: its head, its imports, and the inputs that it is tried with."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Mapping, Sequence, Set

from zoo.converters.runner import TensorSpec

CONSTANTS = "constants.safetensors"


def head(about: str, usage: str, inputs: Sequence[TensorSpec], files: str) -> str:
    """The docstring of the file: whose model it is, how it is used, what it takes, and which files stand beside it."""
    shapes = "\n".join(f"    {s.name}: {s.dtype} [{', '.join(map(str, s.shape))}]" for s in inputs)
    text = "\n\n".join([about, textwrap.indent(usage.strip(), "    "), shapes, "\n".join(textwrap.wrap(files, 118))])
    text = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'"""{text}\n"""'


def imports(wanted: Set[str], words: Mapping[str, str], body: str) -> list[str]:
    """The imports in three parts: the future, the standard library, the others; of `words` those that the body has."""
    found = set(wanted) | {line for word, line in words.items() if re.search(rf"\b{re.escape(word)}", body)}
    found.discard("from __future__ import annotations")
    standard = sorted((line for line in found if _package(line) in sys.stdlib_module_names), key=_order)
    others = sorted(found - set(standard), key=_order)
    return ["from __future__ import annotations", "\n".join(standard), "\n".join(others)]


def _package(line: str) -> str:
    return line.split()[1].partition(".")[0]


def _order(line: str) -> tuple[bool, str]:
    return line.startswith("from"), line.split()[1]
