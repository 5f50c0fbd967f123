"""The index of weights in several files, as transformers writes it: which tensor is in which file beside it.

The form:

    {"metadata": {"total_size": 123}, "weight_map": {"a.weight": "model-00001-of-00002.safetensors", ...}}
"""

from __future__ import annotations

import json
from pathlib import Path

from zoo.converters.tensors.mapped import Tensor, quoted
from zoo.errors import BadInput, Malformed, Refused

NAME = "sharded"
EXTENSIONS = (".safetensors.index.json", ".bin.index.json")
MAX_BYTES = 16 << 20
MAX_SHARDS = 10_000


def sniff(head: bytes) -> bool:
    """Is it JSON with a weight_map?"""
    return head.lstrip()[:1] == b"{" and b'"weight_map"' in head


def read(path: Path) -> dict[str, Tensor]:
    """The tensors that the index names, each from its file. A file that it names must stand in its folder.

    Raises Malformed when a tensor is not where the index says or a file holds one that it doesn't name, Refused when a
    file's name leaves the folder, BadInput when a file is not there.
    """
    from zoo.converters.tensors import read as read_container  # noqa: PLC0415 - the table of containers has this one too

    places = _weight_map(path)
    shards = sorted(set(places.values()))
    if len(shards) > MAX_SHARDS:
        raise Refused(path, f"{len(shards):,} files")
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        inside = read_container(path.parent / shard)
        if stray := [name for name in inside if places.get(name) != shard]:
            raise Malformed(path, f"{quoted(shard)} holds {quoted(stray[0])}, which the index doesn't put there")
        tensors |= inside
    if absent := [name for name in places if name not in tensors]:
        raise Malformed(path, f"{quoted(absent[0])} is not in {quoted(places[absent[0]])}")
    return {name: tensors[name] for name in places}


def _weight_map(path: Path) -> dict[str, str]:
    if path.stat().st_size > MAX_BYTES:
        raise Refused(path, f"an index of {path.stat().st_size:,} bytes")
    try:
        index = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Malformed(path, f"no JSON: {str(error)[:200]}") from error
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not all(isinstance(place, str) for place in places.values()):
        raise Malformed(path, "weight_map is no table of tensors to files")
    for place in places.values():
        if place in ("", "..") or Path(place).name != place or "\\" in place or place.endswith(".json"):
            raise Refused(path, f"file {quoted(place)}: not a file of weights in the same folder")
        if not (path.parent / place).is_file():
            raise BadInput(f"{path}: {quoted(place)}, which it names, is not in its folder")
    return places
