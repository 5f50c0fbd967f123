"""zoo.inspect: what a file is, without running anything of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import BadInput, UnknownFormat

if TYPE_CHECKING:
    from zoo.converters.runner import TensorSpec as TensorSpec

SHOWN = 1000  # tensors that a report lists


@dataclass(frozen=True, slots=True)
class TensorRow:
    """A tensor of a weights file."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FileReport:
    """What a file is. A model has inputs, outputs and operators; a file of weights has tensors."""

    path: Path
    format: str
    holds: str  # "model" or "weights"
    size_bytes: int
    parameters: int  # numbers in all weights
    opset: int | None = None
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    operators: dict[str, int] = field(default_factory=dict)
    frameworks: dict[str, str] = field(default_factory=dict)  # name -> "yes", or what it lacks
    tensors: tuple[TensorRow, ...] = ()


def inspect(path: str | PathLike[str]) -> FileReport:
    """What a model or weights file is: found by its bytes, nothing executed.

    Raises BadInput, UnknownFormat, Malformed or Refused.
    """
    from zoo.converters import formats, tensors

    file = Path(fspath(path)).expanduser()
    if not file.exists():
        raise BadInput(f"{file}: no such file or folder")
    if file.is_dir():
        return _model(file)
    try:
        container = tensors.container_of(file)
    except UnknownFormat:
        return _model(file)
    if any(f.sniff(file, formats.head_of(file)) for f in formats.MODELS[:-1]):
        return _model(file)
    found = container.read(file)
    rows = tuple(TensorRow(n, str(t.dtype.numpy()), tuple(t.shape.numpy())) for n, t in found.items())
    size_bytes, parameters = file.stat().st_size, sum(t.size for t in found.values())
    return FileReport(file, container.NAME, "weights", size_bytes, parameters, tensors=rows[:SHOWN])


def _model(file: Path) -> FileReport:
    from zoo.converters import formats
    from zoo.converters.graph import all_nodes
    from zoo.converters.whole import specs_of

    format_ = formats.find(file)
    model = format_.read(file)
    inputs, outputs = specs_of(model)
    operators = Counter(f"{n.domain}::{n.op_type}" if n.domain else n.op_type for n in all_nodes(model.graph))
    values = [v.const_value for v in model.graph.initializers.values() if v.const_value is not None]
    return FileReport(
        file,
        format_.name,
        "model",
        _size_bytes(file),
        sum(v.size for v in values),
        model.opset_imports.get(""),
        tuple(inputs),
        tuple(outputs),
        dict(operators.most_common()),
        dict(_frameworks(model)),
    )


def _size_bytes(path: Path) -> int:
    """Of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _frameworks(model: Any) -> Iterator[tuple[str, str]]:
    """Each framework, installed or not, and whether it has what the model's operators come to; none is imported."""
    from zoo.converters.bind import detach
    from zoo.converters.canonical import canonical
    from zoo.converters.frameworks import FRAMEWORKS
    from zoo.converters.fuse import fuse
    from zoo.converters.whole import specialised
    from zoo.converters.writers.lowered import table
    from zoo.errors import UnsupportedOps, ZooError

    yield "onnx", "yes"
    try:
        graph = fuse(canonical(detach(model)[0]))
    except ZooError as error:
        yield "others", error.message
        return
    for name in FRAMEWORKS:
        if name == "onnx":
            continue
        try:
            specialised(graph.clone(), table(name))
            yield name, "yes"
        except UnsupportedOps as error:
            missing = [line.split()[0] for line in error.message.splitlines()[1:] if line.strip()]
            yield name, f"lacks {', '.join(missing)}"
