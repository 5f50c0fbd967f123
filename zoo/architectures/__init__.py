"""Weightless graphs and rename tables: data, and make.py, which makes them.

An architecture stands here, or in the store's architectures/ where `zoo unbundle` put it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import Malformed, UnknownModel
from zoo.home import home

if TYPE_CHECKING:
    import onnx_ir as ir

HERE = Path(__file__).parent


def _folders() -> tuple[Path, Path]:
    return HERE, home() / "architectures"


def path_of(name: str) -> Path:
    """The file of an architecture (`timm/resnet50`). Raises UnknownModel with the nearest names."""
    for folder in _folders():
        path = folder / f"{name}.onnx.gz"
        if folder in path.resolve().parents and path.is_file():
            return path
    raise UnknownModel(name, names(), what="architecture")


def names() -> Iterator[str]:
    """Every architecture that is here."""
    for folder in _folders():
        for path in sorted(folder.glob("**/*.onnx.gz")):
            yield path.relative_to(folder).as_posix().removesuffix(".onnx.gz")


def is_known(name: str) -> bool:
    """Whether there is an architecture of that name."""
    return name in set(names())


def load(name: str) -> ir.Model:
    """The weightless graph of a name. Raises UnknownModel or Malformed."""
    from zoo.converters import graph

    return graph.load(path_of(name))


def rename_path(table: str) -> Path:
    """The file of a rename table. Raises UnknownModel."""
    for folder in _folders():
        path = folder / "renames" / f"{table}.tsv"
        if path.is_file():
            return path
    known = [p.stem for folder in _folders() for p in (folder / "renames").glob("*.tsv")]
    raise UnknownModel(table, known, what="rename table")


def renamed(table: str, published: Iterable[str]) -> dict[str, str]:
    """The architecture's name of each published name that the table renames.

    A table has a row a rule: the published name, a tab, the architecture's; `*` stands for anything and is copied. The
    first row that matches counts.

    >>> renamed("efficientnet-lite0", ["_blocks.1._expand_conv.weight", "conv_stem.weight"])
    {'_blocks.1._expand_conv.weight': 'blocks.1.0.conv_pw.weight'}
    """
    path = rename_path(table)
    rules = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line and not line.startswith("#"):
            theirs, tab, ours = line.partition("\t")
            if not tab or theirs.count("*") != ours.count("*"):
                raise Malformed(path, f"line {number}: expected a name, a tab and a name with as many *")
            rules.append((re.compile("(.+)".join(map(re.escape, theirs.split("*")))), ours.split("*")))
    found = {}
    for name in published:
        for pattern, parts in rules:
            if match := pattern.fullmatch(name):
                pieces = [piece for pair in zip(parts, [*match.groups(), ""], strict=True) for piece in pair]
                found[name] = "".join(pieces)
                break
    return found
