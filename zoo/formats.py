"""The file formats that are known, and the operators that frameworks have: what `zoo formats` shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.converters.formats import FormatRow as FormatRow


def formats() -> list[FormatRow]:
    """Every format that is read or written, models first."""
    from zoo.converters.formats import rows

    return list(rows())


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """An operator, and how a framework has it: a lowering of its own, in other operators' words, or not at all."""

    operator: str
    how: str  # "own", "expanded" or "no"


def operators(framework: str) -> list[OperatorRow]:
    """Every operator of the standard at our opset, and what we know of other domains, in a framework; none is imported.

    Raises UnknownFramework, and UsageError for ONNX Runtime.
    """
    import onnx

    from zoo.converters.expand import EXPANSIONS
    from zoo.converters.frameworks import framework as find
    from zoo.converters.writers.lowered import listed_names
    from zoo.errors import UsageError

    if find(framework).name == "onnx":
        raise UsageError("ONNX Runtime takes a model as it is: its operators are those of its release")
    own = set(listed_names(framework))
    schemas = {s.name: s for s in onnx.defs.get_all_schemas() if not s.domain and not s.deprecated}
    bodies = {name for name, schema in schemas.items() if schema.has_function or schema.has_context_dependent_function}
    expanded = bodies | {f"{domain}::{op}" if domain else op for domain, op in EXPANSIONS}
    names = sorted({*schemas, *own, *expanded}, key=lambda name: ("::" in name, name))
    return [OperatorRow(name, "own" if name in own else "expanded" if name in expanded else "no") for name in names]
