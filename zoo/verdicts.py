"""What verifying found, kept: a model in a framework, under one key of all that the numbers depend on.

Standard library only: `zoo info` shows what is kept, and imports no framework for it.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.entry import ModelEntry
from zoo.errors import StoreError
from zoo.loaders import Model, recipe
from zoo.lock import files_of, model_name
from zoo.store import Store, default_store

FILE, REFERENCE = "verdict.json", "onnx"


@dataclass(frozen=True, slots=True)
class Bisected:
    """Where a framework parts from the reference; `value` is None where it does not.

    `compared` values were compared, up to the first that fails; `max_relative` is the largest difference of all.
    `nodes` compute the value from inputs that agree. `difference` is how far the value is off in the whole model,
    `alone` when only these nodes run, on the reference's inputs (None where they can't be run so); both are relative.
    `saved` holds inputs.npz, expected.npz, got.npz, and the nodes as node.onnx.
    """

    compared: int
    max_relative: float
    value: str | None = None
    nodes: tuple[str, ...] = ()
    module: str = ""
    difference: float | None = None
    alone: float | None = None
    problem: str = ""
    saved: Path | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a framework's outputs differ from the reference's: from the unoptimised graph in ONNX Runtime.

    `max_relative` is the largest difference over the largest magnitude; `top1` the share of rows with the same winner,
    None where outputs are no scores. `problem` says why there are no figures.
    """

    model: str
    framework: str
    version: str
    agrees: bool
    max_absolute: float | None
    max_relative: float | None
    top1: float | None
    tolerance: float | None
    problem: str | None = None
    polyzoo: str = ""
    onnxruntime: str = ""  # the reference's version
    hardware: str = ""
    date: str = ""  # ISO
    bisected: Bisected | None = None


def hardware() -> str:
    """The processor's name and architecture."""
    name = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
            name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return ", ".join(filter(None, (name or platform.processor(), platform.machine())))


def keep(model: Model, verdict: Verdict) -> None:
    """Keep the verdict on an entry's weights. One without figures is not kept, nor where nothing can be written."""
    store = default_store()
    key = _key(model, verdict.framework, store)
    if key is None or verdict.problem is not None:
        return
    facts = asdict(verdict) | {"bisected": None}  # what a bisection saved stands elsewhere, and may be gone
    with suppress(StoreError), store.build(key) as folder:
        (folder / FILE).write_text(json.dumps(facts, indent=1) + "\n")


def kept(model: Model) -> Iterator[Verdict]:
    """What is kept of an entry's weights, in every framework of the table, by the versions that are installed now."""
    from zoo.converters.frameworks import FRAMEWORKS

    store = default_store()
    if not any(next((root / "built").glob("verdict-*"), None) for root in store.roots):
        return
    for framework in FRAMEWORKS.values():
        if not framework.is_installed or (key := _key(model, framework.name, store)) is None:
            continue
        if (folder := store.built(key)) is not None:
            yield Verdict(**json.loads((folder / FILE).read_text()))


def verdicts_of(entry: ModelEntry) -> dict[str, list[Verdict]]:
    """What is kept of each of an entry's weights, by tag."""
    return {w.tag: list(kept(Model(model_name(entry, w), entry, w))) for w in entry.weights.values()}


def _key(model: Model, framework: str, store: Store) -> str | None:
    """The key of a verdict; None for what is not of the registry, and where a file is not stored."""
    from zoo.converters.frameworks import framework as find
    from zoo.keys import key

    if model.entry is None or model.weights is None:
        return None
    name = model_name(model.entry, model.weights)
    paths = [store.stored(file, name) for file in files_of(model.weights)]
    if not all(paths):
        return None
    facts: dict[str, Any] = {
        "framework": [framework, find(framework).version],
        "reference": [REFERENCE, find(REFERENCE).version],
        "digests": sorted(path.name for path in paths if path is not None),
        "recipe": recipe(model),
    }
    return key("verdict", facts)
