"""TFLite (LiteRT) files -> the graph with its weights: float, float16, int8, int16 and weights quantised alone.

Quantised tensors stand as they are stored, between a DequantizeLinear before and a QuantizeLinear behind the operator,
which computes in float: what the reference kernels give, to one quantum. Inputs and outputs are the file's own, their
names those of its signature where it has one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from zoo.converters.graph import MADE_BY, STORED_OPSET
from zoo.converters.readers import tflite_operators as operators
from zoo.converters.readers import tflite_recurrent as recurrent
from zoo.converters.readers import tflite_rounding as rounding
from zoo.converters.readers.tf_nodes import IR_VERSION, Fault, Nodes, Size
from zoo.converters.readers.tflite_flatbuffer import Buffer, Table
from zoo.converters.readers.tflite_schema import DTYPES, IDENTIFIER, OPERATORS, OPTIONS, VERSION
from zoo.converters.tensors.mapped import MappedFile, map_file, quoted, tensor
from zoo.errors import Malformed, Refused

EXTENSIONS = (".tflite", ".lite")
TABLE = operators.TABLE | recurrent.TABLE
QUANTISED = (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT4)
MAX_DEPTH = 32
PLACEHOLDER = 127  # of the old field for an operator's number, whose real one is in the newer
ABSENT = -1  # an input that isn't given


@dataclass(slots=True)
class Entry:
    """A tensor of a subgraph: what the file states of it, and its numbers if they stand there."""

    name: str
    dtype: ir.DataType
    shape: list[Size]
    buffer: int
    scales: list[float] = field(default_factory=list)
    zeros: list[int] = field(default_factory=list)
    axis: int = 0
    is_variable: bool = False

    @property
    def is_quantised(self) -> bool:
        """Whether its integers stand for real numbers."""
        return bool(self.scales) and self.dtype in QUANTISED


@dataclass(frozen=True, slots=True)
class Step:
    """An operator of a subgraph: tensors by number."""

    kind: str
    options: dict[str, Any]
    inputs: list[int]
    outputs: list[int]


@dataclass(frozen=True, slots=True)
class Subgraph:
    """Tensors, what goes in and comes out, and operators in the order in which they run."""

    name: str
    tensors: list[Entry]
    inputs: list[int]
    outputs: list[int]
    steps: list[Step]


def sniff(path: Path, head: bytes) -> bool:
    """Does TFLite's identifier stand behind the first offset?"""
    return head[4:8] == IDENTIFIER


def read(path: Path) -> ir.Model:
    """The graph with its weights, lazy. Raises Malformed, and Refused for operators and tensors that aren't read."""
    file = map_file(path)
    try:
        root = Buffer(file).root()
        if root.number(0, "I") != VERSION:
            raise Fault(f"schema version {root.number(0, 'I')}")
        subgraphs = _subgraphs(root)
        return Reader(file, subgraphs, _buffers(file, root)).model(*_signature(root, subgraphs[0]))
    except Fault as fault:
        error = Refused if fault.is_refusal else Malformed
        raise error(path, f"TFLite: {fault}") from fault
    except operators.NONSENSE as error:
        raise Malformed(path, f"TFLite: the graph makes no sense: {str(error)[:200]}") from error


# -- the file's tables ------------------------------------------------------------------------------------------------


def _buffers(file: MappedFile, root: Table) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    found = []
    for entry in root.tables(4):
        offset, size = entry.number(1, "Q"), entry.number(2, "Q")
        found.append(file.slice(offset, size, "a buffer") if offset > 1 else entry.bytes(0))
    return found


def _subgraphs(root: Table) -> list[Subgraph]:
    codes = []
    for code in root.tables(1):
        number = max(code.number(0, "b"), code.number(3, "i"))
        if not 0 <= number < len(OPERATORS):
            raise Fault(f"operator {number}, which this version does not know")
        codes.append(f"CUSTOM {code.text(1)[:80]!r}" if OPERATORS[number] == "CUSTOM" else OPERATORS[number])
    found = [_subgraph(table, codes) for table in root.tables(2)]
    if not found:
        raise Fault("a model without a graph", is_refusal=False)
    return found


def _subgraph(table: Table, codes: Sequence[str]) -> Subgraph:
    tensors = [_entry(entry) for entry in table.tables(0)]
    inputs, outputs = table.numbers(1, "i"), table.numbers(2, "i")
    steps = []
    for step in table.tables(3):
        index = step.number(0, "I")
        if index >= len(codes):
            raise Fault(f"operator code {index} of {len(codes)}", is_refusal=False)
        kind, options = codes[index], step.table(4)
        schema = OPTIONS.get(kind, [])
        given = options.fields(schema) if options else {name: default for name, code, default in schema if code}
        steps.append(Step(kind, given, step.numbers(1, "i"), step.numbers(2, "i")))
    for number in (*inputs, *outputs, *(n for s in steps for n in (*s.inputs, *s.outputs) if n != ABSENT)):
        if not 0 <= number < len(tensors):
            raise Fault(f"tensor {number} of {len(tensors)}", is_refusal=False)
    return Subgraph(table.text(4), tensors, inputs, outputs, steps)


def _entry(table: Table) -> Entry:
    name, number = table.text(3), table.number(1, "b")
    if number not in DTYPES:
        raise Fault(f"tensor {quoted(name)} of type {number}, a resource or unknown")
    if table.target(6):
        raise Fault(f"tensor {quoted(name)} is stored sparse")
    shape, signature = table.numbers(0, "i"), table.numbers(7, "i")
    sizes: list[Size] = [None if n < 0 else n for n in (signature if len(signature) == len(shape) else shape)]
    entry = Entry(name, DTYPES[number], sizes, table.number(2, "I"), is_variable=table.number(5, "?"))
    if (quantisation := table.table(4)) is not None:
        entry.scales, entry.zeros = quantisation.numbers(2, "f"), quantisation.numbers(3, "q")
        entry.axis = quantisation.number(6, "i")
        entry.zeros = entry.zeros or [0] * len(entry.scales)
        if len(entry.zeros) != len(entry.scales):
            raise Fault(f"tensor {quoted(name)}: {len(entry.scales)} scales, {len(entry.zeros)} zero points")
    return entry


def _signature(root: Table, main: Subgraph) -> tuple[dict[int, str], dict[int, str]]:
    """The names that the first signature gives the main graph's inputs and outputs: tensor number -> name."""
    for table in root.tables(7):
        if table.number(4, "I") == 0:
            return tuple({m.number(1, "I"): m.text(0) for m in table.tables(i)} for i in (0, 1))  # type: ignore[return-value]
    return {}, {}


# -- the graph --------------------------------------------------------------------------------------------------------


class Scope:
    """The tensors of one run of a subgraph: as stored, and as the real numbers that they stand for."""

    def __init__(self, subgraph: Subgraph) -> None:
        self.subgraph = subgraph
        self.stored: dict[int, ir.Value] = {}
        self.real: dict[int, ir.Value] = {}


class Reader:
    """From the file's subgraphs to a graph. `weights` are shared by the bodies of loops."""

    def __init__(self, file: MappedFile, subgraphs: Sequence[Subgraph], buffers: Sequence[Any]) -> None:
        self.file, self.subgraphs, self.buffers = file, subgraphs, buffers
        self.weights: dict[tuple[int, ir.DataType, tuple[Size, ...]], ir.Value] = {}
        self.depth = 0

    def model(self, input_names: dict[int, str], output_names: dict[int, str]) -> ir.Model:
        """The main subgraph as a model."""
        b, main = Nodes(), self.subgraphs[0]
        inputs = []
        for number in main.inputs:
            entry = main.tensors[number]
            name = input_names.get(number) or entry.name or f"input_{number}"
            sizes: list[Size] = [f"{name}_{i}" if n is None else n for i, n in enumerate(entry.shape)]
            if sizes and entry.shape[0] is None:
                sizes[0] = "N"
            inputs.append(b.input(name, entry.dtype, sizes))
        outputs = b.own(self.run(b, 0, inputs), inputs)
        for number, value in zip(main.outputs, outputs, strict=True):
            b.names.discard(value.name or "")
            value.name = b.named(output_names.get(number) or main.tensors[number].name or f"output_{number}")
        graph = ir.Graph(
            inputs,
            outputs,
            nodes=b.nodes,
            initializers=b.used_initializers(outputs),
            opset_imports={"": STORED_OPSET},
            name=main.name or "main",
        )
        props = {MADE_BY: json.dumps({"format": "tflite"})}
        return ir.Model(graph, ir_version=IR_VERSION, producer_name="polyzoo", metadata_props=props)

    def run(self, b: Nodes, number: int, inputs: Sequence[ir.Value]) -> list[ir.Value]:
        """The outputs of a subgraph, as stored."""
        if not 0 <= number < len(self.subgraphs):
            raise Fault(f"subgraph {number} of {len(self.subgraphs)}", is_refusal=False)
        subgraph = self.subgraphs[number]
        if self.depth >= MAX_DEPTH:
            raise Fault("subgraphs that call each other without end")
        if len(inputs) != len(subgraph.inputs):
            raise Fault(f"{len(inputs)} inputs for the {len(subgraph.inputs)} of a subgraph", is_refusal=False)
        self.depth += 1
        scope = Scope(subgraph)
        scope.stored.update(zip(subgraph.inputs, inputs, strict=True))
        for step in subgraph.steps:
            self._step(b, scope, step)
        self.depth -= 1
        return [self.stored(b, scope, n) for n in subgraph.outputs]

    def _step(self, b: Nodes, scope: Scope, step: Step) -> None:
        emit = TABLE.get(step.kind)
        if emit is None:
            raise Fault(f"operator {step.kind}")
        entries = scope.subgraph.tensors
        b.scope = entries[step.outputs[0]].name if step.outputs else step.kind
        call = operators.Call(b, self, scope, step)
        made = emit(call)
        if len(made) < len([n for n in step.outputs if n != ABSENT]):
            raise Fault(f"operator {step.kind} with {len(step.outputs)} outputs", is_refusal=False)
        for number, value in zip(step.outputs, made, strict=False):
            scope.real.pop(number, None)
            scope.stored[number] = self._as_stored(call, entries[number], value)
            self._state(entries[number], scope.stored[number])

    def _as_stored(self, call: operators.Call, entry: Entry, value: ir.Value) -> ir.Value:
        """A result in the dtype of its tensor: quantised where it is, rounded as the operator's kernel rounds."""
        b, kind = call.b, call.step.kind
        if entry.is_quantised and value.dtype == ir.DataType.FLOAT:
            if (ratio := call.ratio(entry)) is not None:
                value = rounding.shifted(b, value, entry.scales[0], ratio)
            elif kind in rounding.AWAY and len(entry.scales) == 1:
                value = rounding.once(b, value, entry.scales[0])
            return b.op("QuantizeLinear", value, *self._scales(b, entry), axis=self._axis(entry))
        if value.dtype is not None and value.dtype != entry.dtype:
            raise Fault(f"{kind} gives {value.dtype.name} where the file has {entry.dtype.name}", is_refusal=False)
        return value

    @staticmethod
    def _state(entry: Entry, value: ir.Value) -> None:
        """The file's shape, where what is inferred says less."""
        if value.shape is None and all(isinstance(n, int) for n in entry.shape) and entry.shape:
            value.shape = ir.Shape(entry.shape)

    def stored(self, b: Nodes, scope: Scope, number: int) -> ir.Value:
        """A tensor as it is stored: computed before, or from the file."""
        if number not in scope.stored:
            entry = scope.subgraph.tensors[number]
            scope.stored[number] = self._weight(b, entry)
        return scope.stored[number]

    def real(self, b: Nodes, scope: Scope, number: int) -> ir.Value:
        """A tensor as the real numbers that it stands for, or as it is if it isn't quantised."""
        entry = scope.subgraph.tensors[number]
        value = self.stored(b, scope, number)
        if not entry.is_quantised:
            return value
        if number not in scope.real:
            scope.real[number] = b.op("DequantizeLinear", value, *self._scales(b, entry), axis=self._axis(entry))
        return scope.real[number]

    @staticmethod
    def _axis(entry: Entry) -> int | None:
        return entry.axis if len(entry.scales) > 1 else None

    @staticmethod
    def _scales(b: Nodes, entry: Entry) -> tuple[ir.Value, ir.Value]:
        if any(not 0 < s < float("inf") for s in entry.scales):
            raise Fault(f"tensor {quoted(entry.name)} has the scale {min(entry.scales)}", is_refusal=False)
        if len(entry.scales) > 1 and (
            not 0 <= entry.axis < len(entry.shape) or entry.shape[entry.axis] != len(entry.scales)
        ):
            raise Fault(
                f"tensor {quoted(entry.name)}: {len(entry.scales)} scales along axis {entry.axis}", is_refusal=False
            )
        info = np.iinfo(entry.dtype.numpy()) if entry.dtype != ir.DataType.INT4 else ml_dtypes.iinfo("int4")
        if any(not info.min <= z <= info.max for z in entry.zeros):
            raise Fault(f"tensor {quoted(entry.name)} has a zero point outside its dtype", is_refusal=False)
        is_one = len(entry.scales) == 1
        scales, zeros = np.array(entry.scales, np.float32), np.array(entry.zeros).astype(entry.dtype.numpy())
        return b.constant(scales[0] if is_one else scales), b.constant(zeros[0] if is_one else zeros)

    def _weight(self, b: Nodes, entry: Entry) -> ir.Value:
        key = entry.buffer, entry.dtype, tuple(entry.shape)
        if key in self.weights:
            return self.weights[key]
        if entry.is_variable:
            if not all(isinstance(n, int) for n in entry.shape):
                raise Fault(f"variable {quoted(entry.name)} of a free size")
            zero = ir.tensor(np.zeros(1, entry.dtype.numpy()))
            return b.op("ConstantOfShape", b.ints(*(int(n) for n in entry.shape)), value=zero)  # type: ignore[arg-type]
        if entry.buffer >= len(self.buffers):
            raise Fault(
                f"tensor {quoted(entry.name)} in buffer {entry.buffer} of {len(self.buffers)}", is_refusal=False
            )
        data, shape = self.buffers[entry.buffer], [int(n or 0) for n in entry.shape]  # type: ignore[arg-type]
        if entry.dtype == ir.DataType.STRING:
            raise Fault(f"tensor {quoted(entry.name)} holds strings")
        if data.size == 0 and prod(shape) > 0:
            raise Fault(f"tensor {quoted(entry.name)} is read before anything writes it", is_refusal=False)
        name = entry.name or f"tensor_{entry.buffer}"
        made = self._packed(name, data, shape) if entry.dtype == ir.DataType.INT4 else None
        if made is None:
            made = tensor(self.file.path, name, data, data.size, entry.dtype.numpy(), shape)
        elements = prod(shape)
        if elements <= 64 and entry.dtype.is_integer() and not entry.is_quantised:
            value = b.constant(np.array(made.numpy()), name if name not in b.names else "")
        else:
            value = b.weight(name, made)
        self.weights[key] = value
        return value

    def _packed(self, name: str, data: Any, shape: Sequence[int]) -> ir.TensorProtocol:
        """Two numbers a byte, the first in the low half: ONNX's own way."""
        if data.size != (prod(shape) + 1) // 2:
            raise Fault(f"tensor {quoted(name)} of shape {shape} has {data.size:,} bytes", is_refusal=False)
        return ir.PackedTensor(np.array(data), ir.DataType.INT4, shape=ir.Shape(shape), name=name)
