"""A part of a graph as plain data: what an `Op` (saved.py) keeps in its config, and what machine.py runs.

A program has the form of ONNX's graph, with names for values. It goes to JSON and back without loss.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import onnx_ir as ir

from zoo.converters.writers.driver import Body, plain

Array = np.ndarray[Any, np.dtype[Any]]


class Spec(NamedTuple):
    """What is known of a value: ONNX's name of its dtype ("" if unknown), its sizes (None is free), and its kind."""

    dtype: str
    shape: tuple[int | None, ...] | None
    kind: str = "tensor"  # or sequence, or optional


@dataclass(frozen=True, slots=True)
class Step:
    """One node: the names of its inputs and outputs ("" is left out), its attributes as plain values."""

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Program:
    """Nodes in order, the names of what they are given and give, and the constants among what they read."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    specs: Mapping[str, Spec]
    constants: Mapping[str, Array] = field(default_factory=dict)


class Names(dict[ir.Value, str]):
    """A name for each value, the graph's own where no other value has it."""

    def __init__(self) -> None:
        super().__init__()
        self._taken: set[str] = set()

    def __missing__(self, value: ir.Value) -> str:
        base = value.name or "value"
        name, n = base, 0
        while name in self._taken:
            n += 1
            name = f"{base}_{n}"
        self._taken.add(name)
        self[value] = name
        return name


def program_of(
    nodes: Iterable[ir.Node],
    inputs: Sequence[ir.Value],
    outputs: Sequence[ir.Value],
    names: Names,
    constants: Mapping[str, Array] | None = None,
) -> Program:
    """Nodes as a program. `inputs` are what the caller gives, those that the bodies of nodes read included."""
    steps = tuple(_step(node, names) for node in nodes)
    values = [*inputs, *outputs]
    specs = {names[value]: spec_of(value) for value in values}
    for node in nodes:
        specs |= {names[v]: spec_of(v) for v in (*node.inputs, *node.outputs) if v is not None}
    return Program(tuple(names[v] for v in inputs), tuple(names[v] for v in outputs), steps, specs, constants or {})


def _step(node: ir.Node, names: Names) -> Step:
    inputs = tuple("" if v is None else names[v] for v in node.inputs)
    outputs = tuple(names[v] for v in node.outputs)
    attributes = {name: _value(plain(attr, {}), names) for name, attr in node.attributes.items()}
    return Step(node.op_type, node.domain, node.name or node.op_type, inputs, outputs, attributes)


def _value(value: Any, names: Names) -> Any:
    if isinstance(value, Body):
        graph = value.graph
        held = {names[v]: _array(v.const_value) for v in graph.initializers.values() if v.const_value is not None}
        return program_of(list(graph), list(graph.inputs), list(graph.outputs), names, held)
    if isinstance(value, ir.TensorProtocol):
        return _array(value)
    return list(value) if isinstance(value, (list, tuple)) else value


def _array(tensor: ir.TensorProtocol) -> Array:
    return np.asarray(tensor.numpy())


def spec_of(value: ir.Value) -> Spec:
    """What the graph knows of a value."""
    kind = value.type
    name = "optional" if isinstance(kind, ir.OptionalType) else "tensor"
    name = "sequence" if isinstance(kind, ir.SequenceType) else name
    shape = None
    if value.shape is not None and name == "tensor":
        shape = tuple(d if isinstance(d, int) else None for d in value.shape)
    return Spec(value.dtype.name if value.dtype is not None else "", shape, name)


# ---- JSON


def encode(program: Program) -> dict[str, Any]:
    """The program as what JSON has."""
    return {
        "inputs": list(program.inputs),
        "outputs": list(program.outputs),
        "steps": [
            {
                "op": step.op,
                "domain": step.domain,
                "name": step.name,
                "inputs": list(step.inputs),
                "outputs": list(step.outputs),
                "attributes": {name: _encoded(value) for name, value in step.attributes.items()},
            }
            for step in program.steps
        ],
        "specs": {
            name: [spec.dtype, None if spec.shape is None else list(spec.shape), spec.kind]
            for name, spec in program.specs.items()
        },
        "constants": {name: encode_array(array) for name, array in program.constants.items()},
    }


def decode(data: Mapping[str, Any]) -> Program:
    """The program that `encode` was given."""
    return Program(
        tuple(data["inputs"]),
        tuple(data["outputs"]),
        tuple(
            Step(
                step["op"],
                step["domain"],
                step["name"],
                tuple(step["inputs"]),
                tuple(step["outputs"]),
                {name: _decoded(value) for name, value in step["attributes"].items()},
            )
            for step in data["steps"]
        ),
        {
            name: Spec(dtype, None if shape is None else tuple(shape), kind)
            for name, (dtype, shape, kind) in data["specs"].items()
        },
        {name: decode_array(array) for name, array in data["constants"].items()},
    )


def encode_array(array: Array) -> dict[str, Any]:
    """An array: its dtype by name, its shape, its bytes."""
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": data}


def decode_array(data: Mapping[str, Any]) -> Array:
    """The array that `encode_array` was given; it owns its memory."""
    name = data["dtype"]
    dtype = np.dtype(getattr(ml_dtypes, name)) if hasattr(ml_dtypes, name) else np.dtype(name)
    return np.frombuffer(base64.b64decode(data["data"]), dtype=dtype).reshape(data["shape"]).copy()


def _encoded(value: Any) -> Any:
    if isinstance(value, Program):
        return {"program": encode(value)}
    if isinstance(value, np.ndarray):
        return {"array": encode_array(value)}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, list):
        return [_encoded(item) for item in value]
    if isinstance(value, (ir.TypeProtocol, ir.TypeAndShape)):
        return None  # of an Optional that holds nothing: its value says as much
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if "program" in value:
        return decode(value["program"])
    return decode_array(value["array"]) if "array" in value else base64.b64decode(value["bytes"])
