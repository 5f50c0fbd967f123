"""What readers write nodes with: a value has its type and shape as soon as its node stands, if inference finds them.

Formats that state no shapes (MXNet's symbols, TorchScript) leave an input's rank and dtype to be learned from what is
done with it: the first operator that can't do without it says so by Learned, and the reader begins again, knowing more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from zoo.converters.expansions import Builder
from zoo.converters.graph import MADE_BY, MODULES, PARAMETER, PATH, STORED_OPSET, bodies
from zoo.converters.tensors import Tensor

IR_VERSION = 11
MAX_NODES = 200_000  # of a file of any size
FEW_NODES = 8_000  # of the smallest: no honest one unrolls to more
MAX_KNOWN = 4096  # elements of a constant that inference looks at
MAX_CONSTANT_BYTES = 64 << 20  # of constants that a reader makes up, all together
# What is tried where nothing tells a rank: what convolves says that it is a picture, so sequences and rows are left.
RANKS = (3, 4, 2, 5, 1)
INDEX_RANKS = (2, 1, 3, 4)  # of what picks rows of an embedding: [N, T] most often
MAX_TRIALS = 12
# What has no other need of a rank takes rows [N, I], or ids [N, T], most often: (operator, number of its input).
LIKELY_ROWS = {("MatMul", 0), ("Gather", 1), ("BatchNormalization", 0)}
# Operators whose first input has the rank of their output: what is learned of one is true of the other.
RANK_KEEPERS = frozenset(
    ("Abs", "Cast", "Clip", "Dropout", "Exp", "Identity", "Log", "LogSoftmax", "Neg", "Not", "Pow", "Relu", "Sigmoid")
    + ("Slice", "Softmax", "Sqrt", "Tanh", "Transpose", "Elu", "Gelu", "LeakyRelu", "Pad", "Selu", "HardSigmoid")
)
# What is computed at once of known integers.
FOLDS: dict[str, Callable[..., Any]] = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Neg": np.negative}
FOLDS |= {"Div": np.divide}
# Operators with a function body, of which inference of one node says nothing.
SHAPE_KEEPERS = frozenset(
    ("Celu", "Clip", "Elu", "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish", "LayerNormalization", "LeakyRelu")
    + ("LogSoftmax", "Mish", "PRelu", "RMSNormalization", "Relu", "Selu", "Shrink", "Softmax", "Softplus", "Softsign")
)
# Operators whose output is made of their first input's numbers, in its dtype.
MOVERS = frozenset(
    ("Concat", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice", "Split", "Squeeze", "Tile")
    + ("Transpose", "Unsqueeze")
)


class Fault(Exception):
    """What is wrong with a model; `is_refusal` when it is well-formed and not read."""

    def __init__(self, what: str, *, is_refusal: bool = False) -> None:
        super().__init__(what)
        self.is_refusal = is_refusal


class Learned(Exception):
    """An input's rank or dtype, which the file doesn't state and an operator has told."""

    def __init__(self, name: str, *, rank: int | None = None, dtype: ir.DataType | None = None) -> None:
        super().__init__(name)
        self.name, self.rank, self.dtype = name, rank, dtype


class UnknownRank(Fault):
    """An operator has to know an input's rank, and neither the file nor another operator tells it."""

    def __init__(self, name: str, likely: int | None = None, *, is_needed: bool = True) -> None:
        super().__init__(f"the number of axes of input {name!r} is not stated, and nothing tells it", is_refusal=True)
        self.name, self.likely, self.is_needed = name, likely, is_needed


class Facts:
    """What has been learned of the inputs: ranks and dtypes by name."""

    def __init__(self, ranks: Mapping[str, int] | None = None, dtypes: Mapping[str, ir.DataType] | None = None) -> None:
        self.ranks = dict(ranks or {})
        self.sizes: dict[str, tuple[int, ...]] = {}  # of inputs that can't be of free size
        self.settled: set[str] = set()  # inputs whose rank stays unknown
        self.dtypes = dict(dtypes or {})

    def with_rank(self, name: str, rank: int) -> Facts:
        """The same and one rank more."""
        made = Facts(self.ranks | {name: rank}, self.dtypes)
        made.sizes, made.settled = self.sizes, self.settled
        return made

    def add(self, learned: Learned) -> bool:
        """Note it; False if that was known, so that to begin again would go on without end."""
        is_new = False
        if learned.rank is not None and learned.name not in self.ranks:
            self.ranks[learned.name], is_new = learned.rank, True
        if learned.dtype is not None and learned.name not in self.dtypes:
            self.dtypes[learned.name], is_new = learned.dtype, True
        return is_new


def with_facts(
    build: Callable[[Facts], ir.Model], facts: Facts | None = None, left: list[int] | None = None
) -> ir.Model:
    """The model that `build` makes once all that it learns of its inputs is known. Raises Fault.

    A rank that an operator needs and nothing tells is the first of those likely with which every operator fits.
    """
    facts, left = facts or Facts(), left or [MAX_TRIALS]
    while True:
        try:
            return build(facts)
        except Learned as learned:
            if not facts.add(learned):
                raise Fault(f"input {learned.name!r} is used in ways that no one tensor fits") from learned
        except UnknownRank as unknown:
            if unknown.name in facts.ranks:
                raise
            return _with_likely_rank(build, facts, unknown, left)


def _with_likely_rank(
    build: Callable[[Facts], ir.Model], facts: Facts, unknown: UnknownRank, left: list[int]
) -> ir.Model:
    """The model with the first rank that fits. Raises the Fault of the likeliest where none does."""
    first: Fault | None = None
    for rank in _ranks(unknown, facts):
        left[0] -= 1
        if left[0] < 0:
            break
        try:
            return with_facts(build, facts.with_rank(unknown.name, rank), left)
        except Fault as fault:
            first = first or fault
    if unknown.is_needed or left[0] < 0:
        raise first or unknown
    facts.settled.add(unknown.name)
    return with_facts(build, facts, left)


def _ranks(unknown: UnknownRank, facts: Facts) -> list[int]:
    """The ranks to try, the likeliest first."""
    ranks = INDEX_RANKS if facts.dtypes.get(unknown.name) == ir.DataType.INT64 else RANKS
    return sorted(ranks, key=lambda rank: rank != unknown.likely)


class Scribe(Builder):
    """Adds nodes, named after the author's module at `path`: `op.Add(a, b)` is one node and gives its output.

    `op.within()` is a scribe for the body of an If or Loop, which shares names and limits.
    What a file's program may grow to is bounded by its own `size_bytes`.
    """

    def __init__(self, parent: Scribe | None = None, size_bytes: int = MAX_NODES) -> None:
        super().__init__()
        self.limit: int = parent.limit if parent else min(FEW_NODES + size_bytes, MAX_NODES)
        self.path: str = parent.path if parent else ""
        self.parts: int | None = None  # how many results are asked for, where the program says so
        self.inputs: dict[str, ir.Value] = parent.inputs if parent else {}
        self.initializers: dict[str, ir.Value] = parent.initializers if parent else {}
        self.names: set[str] = parent.names if parent else set()
        self.types: dict[ir.Value, onnx.TypeProto] = parent.types if parent else {}
        self.known_arrays: dict[ir.Value, np.ndarray[Any, Any]] = parent.known_arrays if parent else {}
        self.spent: list[int] = parent.spent if parent else [0, 0]  # nodes, bytes of constants

    def within(self) -> Scribe:
        """A scribe of a body inside what this one writes."""
        return Scribe(self)

    def __getattr__(self, op_type: str) -> Callable[..., Any]:
        if not op_type[:1].isupper():
            raise AttributeError(op_type)

        def add(*inputs: ir.Value | None, outputs: int = 1, **attributes: Any) -> Any:
            if (folded := self._folded(op_type, inputs, attributes)) is not None:
                return folded
            given = {name: value for name, value in attributes.items() if value is not None}
            args = list(inputs)
            while args and args[-1] is None:
                args.pop()
            node = ir.node(op_type, args, given, num_outputs=outputs, name=self.unique(f"{self.path}/{op_type}"))
            if self.path:
                node.metadata_props[PATH] = self.path
            self._count(1, 0)
            for i, value in enumerate(node.outputs):
                value.name = self.unique(f"{node.name}:{i}" if outputs > 1 else f"{node.name}:out")
            self.nodes.append(node)
            self._infer(node)
            return node.outputs[0] if outputs == 1 else tuple(node.outputs)

        return add

    def _folded(
        self, op_type: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, Any]
    ) -> ir.Value | None:
        """Arithmetic of a few known integers, computed: traces do it with sizes, which others then take for sizes."""
        arrays = [self.known(value) for value in inputs] if op_type in FOLDS or op_type == "Cast" else []
        found = [array for array in arrays if array is not None and array.size <= 8 and array.dtype.kind == "i"]
        if not found or len(found) != len(inputs):
            return None
        if op_type == "Cast":
            to = ir.DataType(attributes["to"]).numpy()
            return self.const(found[0], to) if to.kind == "i" else None
        if op_type == "Div":
            return None if not found[1].all() else self.const(np.trunc(found[0] / found[1]), found[0].dtype)
        return self.const(FOLDS[op_type](*found), found[0].dtype)

    def _count(self, nodes: int, size_bytes: int) -> None:
        self.spent[0] += nodes
        self.spent[1] += size_bytes
        if self.spent[0] > self.limit:
            raise Fault(f"more than {self.limit:,} operators", is_refusal=True)
        if self.spent[1] > MAX_CONSTANT_BYTES:
            raise Fault(f"constants of more than {MAX_CONSTANT_BYTES >> 20} MB", is_refusal=True)

    def unique(self, name: str) -> str:
        """The name, with a number behind it if it is taken."""
        name = name.lstrip("/") or "value"
        made, n = name, 0
        while made in self.names:
            n += 1
            made = f"{name}_{n}" if n < 8 else f"{name}_{len(self.names) + n}"
        self.names.add(made)
        return made

    def rename(self, value: ir.Value, name: str) -> None:
        """Give a value the author's name for it, if no other has it."""
        if name not in self.names and not value.is_graph_input() and value.producer() is not None:
            self.names.add(name)
            value.name = name

    # ---- values

    def const(self, array: Any, dtype: Any = np.int64) -> ir.Value:
        """A constant: a number, a list or an array."""
        made = np.asarray(array, dtype=dtype)
        self._count(0, made.nbytes)
        value: ir.Value = self.Constant(value=ir.tensor(made))
        self.known_arrays[value] = made
        return value

    def scalar(self, number: Any, like: ir.Value | None) -> ir.Value:
        """A number in the dtype of another value."""
        if like is not None and like.dtype is not None:
            return self.const(number, like.dtype.numpy())
        return super().scalar(number, like)

    def input(self, name: str, dtype: ir.DataType, shape: Sequence[int | str | None] | None) -> ir.Value:
        """A graph input; a shape of None is an unknown one."""
        value = ir.Value(name=name, type=ir.TensorType(dtype), shape=None if shape is None else ir.Shape(list(shape)))
        self.names.add(name)
        self.inputs[name] = value
        self.note(value)
        return value

    def parameter(self, name: str, tensor: Tensor, kind: str | None = "parameter") -> ir.Value:
        """An initializer under the author's name; `kind` is one of graph.KINDS, None for a constant."""
        if name not in self.initializers:
            shape = ir.Shape([int(n) for n in tensor.shape.numpy()])
            value = ir.Value(name=name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
            if kind:
                value.metadata_props[PARAMETER] = kind
            self.names.add(name)
            self.initializers[name] = value
            self.note(value)
        return self.initializers[name]

    def note(self, value: ir.Value) -> None:
        """Let inference know a value's type and shape."""
        if value.dtype is not None:
            shape = None if value.shape is None else [d if isinstance(d, int) else d.value for d in value.shape]
            self.types[value] = onnx.helper.make_tensor_type_proto(int(value.dtype), shape)

    def state(
        self, value: ir.Value, shape: Sequence[int | str | None] | None, dtype: ir.DataType | None = None
    ) -> None:
        """Say of a value what inference didn't find and the file states."""
        if dtype is not None and value.dtype is None:
            value.dtype = dtype
        if shape is not None and (value.shape is None or len(value.shape) == len(shape)):
            found = [None] * len(shape) if value.shape is None else list(value.shape)
            value.shape = ir.Shape([f if isinstance(f, int) else s for f, s in zip(found, shape, strict=True)])
        self.note(value)

    def known(self, value: ir.Value | None) -> np.ndarray[Any, Any] | None:
        """A value's numbers where it is a constant of the graph or a small weight."""
        if value is None:
            return None
        if value in self.known_arrays:
            return self.known_arrays[value]
        held = value.const_value
        if held is not None and held.size <= MAX_KNOWN and held.dtype in (ir.DataType.INT64, ir.DataType.INT32):
            return held.numpy()
        return None

    def rank(self, value: ir.Value, guess: int | None = None, *, likely: int | None = None) -> int:
        """How many axes a value has. Raises Learned where `guess` tells it of an input, else Fault.

        `likely` is only the first that is tried.
        """
        if value.shape is not None:
            return len(value.shape)
        if guess is not None:
            self.learn(value, guess)
            return guess
        self._blame(value, likely)
        raise Fault(f"the number of axes of {value.name!r} is not known", is_refusal=True)

    def learn(self, value: ir.Value, rank: int) -> None:
        """Note that a value has so many axes: Learned if that comes down to an input's, else taken for true."""
        if value.shape is None:
            if (source := self._source(value)) is not None:
                raise Learned(source.name or "", rank=rank)
            self._blame(value)
            self.state(value, [None] * rank)

    def _blame(self, value: ir.Value, likely: int | None = None) -> None:
        """Raise UnknownRank for an input of unknown rank that a value comes from, if there is one."""
        seen, pending = {value}, [value]
        while pending:
            value = pending.pop()
            if self.is_input(value) and value.shape is None:
                raise UnknownRank(value.name or "", likely)
            node = value.producer()
            for other in node.inputs if node is not None else ():
                if other is not None and other not in seen:
                    seen.add(other)
                    pending.append(other)

    def is_input(self, value: ir.Value) -> bool:
        """Whether it is what the user gives."""
        return value.name in self.inputs and self.inputs[value.name] is value

    def learn_dtype(self, value: ir.Value, dtype: ir.DataType) -> None:
        """Note an input's dtype, where an operator is given the input itself, or its numbers in another shape."""
        for _ in range(64):
            if self.is_input(value):
                if value.dtype != dtype:
                    raise Learned(value.name or "", dtype=dtype)
                return
            node = value.producer()
            if node is None or node.op_type not in MOVERS or node.inputs[0] is None:
                return
            value = node.inputs[0]

    def _source(self, value: ir.Value) -> ir.Value | None:
        """The input of unknown rank whose rank a value has, if it is one."""
        for _ in range(64):
            if self.is_input(value):
                return value
            node = value.producer()
            if node is None:
                return None
            unknown = [v for v in node.inputs if v is not None and v.shape is None]
            if node.op_type in ("Add", "Sub", "Mul", "Div") and unknown:
                value = unknown[0]
            elif node.op_type in RANK_KEEPERS and node.inputs[0] is not None:
                value = node.inputs[0]
            else:
                return None
        return None

    def sizes_of(self, value: ir.Value) -> list[int | None]:
        """A value's sizes, None where one is free. Raises as `rank` does."""
        self.rank(value)
        return [d if isinstance(d, int) else None for d in value.shape or ()]

    def size(self, value: ir.Value, axis: int) -> ir.Value:
        """One size of a value, as a tensor [1]."""
        if value.shape is not None:
            known = value.shape[axis]
            if isinstance(known, int):
                return self.const([known])
        return self.Shape(value, start=axis, end=axis + 1 if axis != -1 else None)  # type: ignore[no-any-return]

    def vector(self, entries: Sequence[int | ir.Value]) -> ir.Value:
        """A shape or the like out of numbers and of tensors [1]."""
        if all(isinstance(entry, int) for entry in entries):
            return self.const(list(entries))
        parts = [self.const([entry]) if isinstance(entry, int) else entry for entry in entries]
        return parts[0] if len(parts) == 1 else self.Concat(*parts, axis=0)  # type: ignore[no-any-return]

    def reshape(self, value: ir.Value, entries: Sequence[int | ir.Value]) -> ir.Value:
        """Reshape to sizes: numbers, of which one may be -1 and 0 copies, and tensors [1]."""
        return self.Reshape(value, self.vector(entries))  # type: ignore[no-any-return]

    def cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """The value in a dtype; itself where it has it."""
        return value if value.dtype == dtype else self.Cast(value, to=int(dtype))  # type: ignore[no-any-return]

    def _infer(self, node: ir.Node) -> None:
        """Note the types of a node's outputs, by onnx's own inference."""
        if node.op_type in ("If", "Loop", "Scan"):
            return
        given = {v.name or "": self.types[v] for v in node.inputs if v is not None and v in self.types}
        data = {}
        for value in node.inputs:
            array = self.known(value)
            if value is not None and array is not None and array.size <= MAX_KNOWN:
                data[value.name or ""] = onnx.numpy_helper.from_array(array, value.name)
        schema = onnx.defs.get_schema(node.op_type, STORED_OPSET)
        try:
            found = onnx.shape_inference.infer_node_outputs(
                schema,
                ir.to_proto(node),
                given,
                data,
                opset_imports=[onnx.helper.make_opsetid("", STORED_OPSET)],
                ir_version=IR_VERSION,
            )
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError) as error:
            where = f" of {self.path!r}" if self.path else ""
            reason = str(error).strip().splitlines()[-1][:160]
            raise Fault(f"{node.op_type}{where} gets what doesn't fit: {reason}") from error
        for value in node.outputs:
            kind = found.get(value.name or "")
            if kind is not None and kind.WhichOneof("value") == "tensor_type" and kind.tensor_type.elem_type:
                self.types[value] = kind
                value.dtype = ir.DataType(kind.tensor_type.elem_type)
                if kind.tensor_type.HasField("shape"):
                    dims = kind.tensor_type.shape.dim
                    value.shape = ir.Shape(
                        [d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in dims]
                    )
        first, made = node.inputs[0] if node.inputs else None, node.outputs[0]
        if node.op_type in SHAPE_KEEPERS and first is not None and first.dtype is not None and made.shape is None:
            made.dtype, made.shape = first.dtype, first.shape
            self.note(made)


def finish(
    op: Scribe,
    outputs: Mapping[str, ir.Value],
    *,
    name: str,
    modules: Mapping[str, Any],
    made_by: Mapping[str, Any],
    facts: Facts,
) -> ir.Model:
    """The model of what a scribe wrote: outputs under their names, without the inputs that nothing reads.

    Raises UnknownRank for an input of unknown rank whose use makes one likely: most frameworks can't do without it.
    """
    made: list[ir.Value] = []
    for wanted, value in outputs.items():
        if value.producer() is None or value in made:
            value = op.Identity(value)
        if value.name != wanted:
            value.name = wanted if wanted not in op.names else op.unique(wanted)
            op.names.add(value.name)
        made.append(value)
    nodes, read = _live(op.nodes, made)
    given = [value for value in op.inputs.values() if value in read]
    for value in given:
        kinds = {(use.node.op_type, use.idx) for use in value.uses()}
        if value.shape is None and kinds & LIKELY_ROWS and value.name not in facts.settled:
            raise UnknownRank(value.name or "", 2, is_needed=False)
    graph = ir.Graph(
        given,
        made,
        nodes=nodes,
        initializers=[v for v in op.initializers.values() if v in read or PARAMETER in v.metadata_props],
        opset_imports={"": STORED_OPSET},
        name=name,
    )
    props = {MODULES: json.dumps(dict(modules)), MADE_BY: json.dumps(dict(made_by))}
    return ir.Model(graph, ir_version=IR_VERSION, producer_name="polyzoo", metadata_props=props)


def _live(nodes: Sequence[ir.Node], outputs: Iterable[ir.Value]) -> tuple[list[ir.Node], set[ir.Value]]:
    """The nodes that the outputs come from, and every value that these read."""
    read, live = set(outputs), []
    for node in reversed(nodes):
        if read.intersection(node.outputs):
            live.append(node)
            read |= _reads(node)
    return live[::-1], read


def _reads(node: ir.Node) -> set[ir.Value]:
    """What a node reads, in its bodies as well."""
    found = {value for value in node.inputs if value is not None}
    for body in bodies(node):
        for inner in body:
            found |= _reads(inner)
    return found
