"""What a change of some sizes does to every value after it: each node is asked again, in order.

Sizes are numbers here: a free one (`batch`) is a prime that no real size is a multiple of, so that what is made of it
can be told (`197*batch`). A node whose inputs change is inferred again by onnx's own shape inference; what a node has
baked in (a Reshape's target) is made anew by its rule, if that can be proven (rules.py). Otherwise Misfit names it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from zoo.converters.graph import PATH, all_nodes, bodies, constant, data_inputs, is_parameter, module_path
from zoo.converters.surgery.axes import Pair, Structures, Underivable
from zoo.converters.surgery.weights import has_marks
from zoo.errors import UsageError

Dims = tuple[int, ...]
Array = np.ndarray[Any, Any]
PRIMES = (10007, 10009, 10037, 10039, 10061, 10067, 10069, 10079, 10091, 10093)  # for free sizes
MAX_KNOWN = 1024  # elements of a value whose numbers are followed: shape arithmetic has a handful
MAX_NESTED = 8  # functions that call functions


Given = list[Dims | None] | None  # what a rule says that a node gives; None: as onnx infers it
Rules = Callable[["Spread", ir.Node], Given]
Adapt = Callable[["Spread", ir.Node, int, Mapping[int, Pair]], bool]


class Misfit(UsageError):
    """A node that can't take the new sizes: which, and why."""


class Spread:
    """Sizes before and after a change, of every value: measured when it is made, changed by `run`."""

    def __init__(self, model: ir.Model) -> None:
        self.model, self.graph = model, model.graph
        self.before: dict[ir.Value, Dims | None] = {}
        self.after: dict[ir.Value, Dims | None] = {}
        self.known_before: dict[ir.Value, Array] = {}
        self.known_after: dict[ir.Value, Array] = {}
        self.structures = Structures()
        self.is_marked = has_marks(model.graph)
        self.names = _free_sizes(model.graph)
        self._visited: set[ir.Node] = set()
        self._taken: set[str] = set()
        self._given: frozenset[ir.Value] = frozenset()
        self._rules: Rules | None = None
        self._adapt: Adapt = lambda spread, node, i, axes: False
        for value in (*self.graph.inputs, *self.graph.initializers.values()):
            self._enter(value)
        for node in self.graph:
            self._measure(node)
        self.after.update(self.before)
        self.known_after.update(self.known_before)

    def run(self, changed: Mapping[ir.Value, Sequence[int]], rules: Rules | None, adapt: Adapt) -> None:
        """Let values have the sizes `changed`, and carry that through the graph after them. Raises Misfit.

        `rules` make anew what nodes have baked in; None where the changed sizes were free, so that the graph says
        itself what it makes of any. `adapt(spread, node, i, axes)` is asked for an operand that still has its sizes of
        before on `axes`, where the others have those after; it changes the weight behind it, or returns False.
        """
        self._rules, self._adapt, self._given = rules, adapt, frozenset(changed)
        for value, dims in changed.items():
            self.after[value] = tuple(dims)
            self.known_after.pop(value, None)
        for node in list(self.graph):
            self.visit(node)
        self._note()

    def visit(self, node: ir.Node) -> None:
        """Fill in what a node gives after. A node may be visited again once a weight was adapted."""
        if self._given.isdisjoint(node.outputs):
            self._visit(node)
        self._visited.add(node)

    def _visit(self, node: ir.Node) -> None:
        read = [v for v in node.inputs if v is not None]
        if graphs := list(bodies(node)):
            read += [v for body in graphs for inner in all_nodes(body) for v in inner.inputs if v in self.after]
        changed = [v for v in read if v is not None and self.is_changed(v)]
        if not changed:
            for out in node.outputs:
                self.after[out] = self.before.get(out)
                self.known_after.pop(out, None)
                if out in self.known_before:
                    self.known_after[out] = self.known_before[out]
            return
        found: Sequence[Dims | None] = [None] * len(node.outputs)
        try:
            if graphs and self._rules is not None:
                raise Underivable(f"it has bodies, and those are not followed when {changed[0].name!r} changes")
            if not graphs:
                given = self._rules(self, node) if self._rules is not None else None
                found = given if given is not None else self.infer(node, self.after, self.known_after)
        except Underivable as reason:
            raise self.misfit(node, str(reason)) from None
        for out, dims in zip(node.outputs, found, strict=False):
            if self._rules is not None and dims is None and out.name:
                raise self.misfit(node, "what it gives then can't be inferred")
            if dims is not None and any(d < 1 for d in dims):
                raise self.misfit(node, f"nothing would be left of the picture: {self.shown(dims)}")
            self.after[out] = dims
        self._follow(node, self.known_after, self.after)

    # ---- what rules ask

    def pairs(self, value: ir.Value) -> list[Pair]:
        """The axes of a value before and after. Raises Underivable where they aren't known."""
        before, after = self.before.get(value), self.after.get(value)
        if before is None or after is None or len(before) != len(after):
            raise Underivable(f"the shape of {value.name!r} is not known")
        return list(zip(before, after, strict=True))

    def is_changed(self, value: ir.Value) -> bool:
        """Whether a value has another shape now, or other numbers."""
        if self.before.get(value) != self.after.get(value):
            return True
        before, after = self.known_before.get(value), self.known_after.get(value)
        return (before is None) != (after is None) or (before is not None and not np.array_equal(before, after))  # type: ignore[arg-type]

    def changed_axes(self, value: ir.Value) -> dict[int, Pair]:
        """The axes whose size changes. Raises Underivable where the shape isn't known."""
        return {i: pair for i, pair in enumerate(self.pairs(value)) if pair[0] != pair[1]}

    def known(self, value: ir.Value | None) -> list[int] | None:
        """The numbers of a small constant or of shape arithmetic, as they were before."""
        array = self.known_before.get(value) if value is not None else None
        return None if array is None else [int(i) for i in array.reshape(-1)]

    def numbers_after(self, value: ir.Value | None) -> list[int] | None:
        """The numbers of a small constant or of shape arithmetic, as they are after."""
        array = self.known_after.get(value) if value is not None else None
        return None if array is None else [int(i) for i in array.reshape(-1)]

    def set_input(self, node: ir.Node, i: int, numbers: Sequence[int]) -> None:
        """Let a node read other numbers; free sizes among them are those that stood there. Raises Underivable."""
        old, have = node.inputs[i], self.numbers_after(node.inputs[i])
        name = self._unique(f"{node.outputs[0].name}_sizes")
        dtype = old.dtype.numpy() if old is not None and old.dtype is not None else np.int64
        free = [k for k, n in enumerate(numbers) if any(n % prime == 0 for prime in self.names.values()) and n]
        if free and (have is None or len(have) != len(numbers) or any(have[k] != numbers[k] for k in free)):
            raise Underivable("one of the sizes that it reads is free, and can't be told")
        if not free:
            value = constant(self.graph, name, np.array(numbers, dtype))
        else:
            value = self._pieced(node, old, np.array(numbers, dtype), free, name)
        node.replace_input_with(i, value)
        self.before[value] = self.after[value] = (len(numbers),)
        self.known_before[value] = self.known_after[value] = np.array(numbers, dtype)

    def _pieced(self, node: ir.Node, old: ir.Value | None, numbers: Array, free: Sequence[int], name: str) -> ir.Value:
        """A vector before `node`: of constants, and at the places `free` of what stood in `old`."""
        pieces: list[ir.Value] = []
        made: list[ir.Node] = []
        for k in range(len(numbers)):
            if k in free:
                place = constant(self.graph, f"{name}_place", np.array([k], np.int64))
                made.append(ir.node("Gather", [old, place], attributes={"axis": 0}))
                pieces.append(made[-1].outputs[0])
            else:
                pieces.append(constant(self.graph, f"{name}_part", numbers[k : k + 1]))
        made.append(ir.node("Concat", pieces, attributes={"axis": 0}))
        for k, new in enumerate(made):
            new.metadata_props.update({PATH: path} if (path := module_path(node)) else {})
            new.name = new.outputs[0].name = name if new is made[-1] else f"{name}_{k}"
            new.outputs[0].type = ir.TensorType(ir.DataType.from_numpy(numbers.dtype))
            new.outputs[0].shape = ir.Shape([len(numbers) if new is made[-1] else 1])
        self.graph.insert_before(node, made)
        return made[-1].outputs[0]

    def set_after(self, value: ir.Value, dims: Sequence[int]) -> None:
        """A value has this shape now; its numbers are no longer known."""
        self.after[value] = tuple(dims)
        self.known_before.pop(value, None)
        self.known_after.pop(value, None)

    def is_visited(self, nodes: Sequence[ir.Node]) -> bool:
        """Whether one of the nodes has been asked already."""
        return any(node in self._visited for node in nodes)

    def _unique(self, name: str) -> str:
        """A name that nothing of the graph has."""
        if not self._taken:
            self._taken |= {v.name for v in self.before if v.name}
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def adapted(self, node: ir.Node, i: int, axes: Mapping[int, Pair]) -> None:
        """Have the weight behind an operand changed to these sizes. Raises Underivable where that can't be."""
        value = node.inputs[i]
        assert value is not None
        if not self._adapt(self, node, i, axes):
            sizes = ", ".join(f"{before} would have to be {after}" for before, after in axes.values())
            raise Underivable(f"{value.name!r} is {self.shown(self.before[value] or ())}: {sizes}")

    def changed_weight(self, weight: ir.Value, shape: Sequence[int], nodes: Sequence[ir.Node]) -> None:
        """A weight has another shape now: the nodes that lay it out are visited again."""
        for node in nodes:
            self._visited.discard(node)
        if late := [use.node for use in weight.uses() if use.node in self._visited]:
            raise self.misfit(late[0], f"it reads {weight.name!r} too, at the size that it has")
        self.set_after(weight, shape)
        for node in nodes:
            self.visit(node)

    def shown(self, dims: Sequence[int]) -> str:
        """A shape as errors write it."""
        return f"[{', '.join(str(self._stated(d)) for d in dims)}]"

    def misfit(self, node: ir.Node, why: str) -> Misfit:
        """The error that names a node, its module and the reason."""
        path = module_path(node)
        where = f" in {path!r}" if path else ""
        name = node.name or (node.outputs[0].name if node.outputs else "")
        why = re.sub(r"\d{5,}", lambda number: str(self._stated(int(number[0]))), why)  # a free size by its name
        return Misfit(f"{node.op_type} {name!r}{where}: {why}")

    # ---- sizes

    def declared(self, value: ir.Value) -> Dims | None:
        """The shape that the graph states, as numbers; None where a size is neither a number nor a known name."""
        if value.shape is None:
            tensor = value.const_value
            return None if tensor is None else tuple(int(d) for d in tensor.shape.numpy())
        dims = [d if isinstance(d, int) else self.names.get(_name_of(value, i)) for i, d in enumerate(value.shape)]
        return None if any(d is None for d in dims) else tuple(d for d in dims if d is not None)

    def infer(
        self, node: ir.Node, dims: Mapping[ir.Value, Dims | None], known: Mapping[ir.Value, Array], depth: int = 0
    ) -> list[Dims | None]:
        """What onnx's shape inference says that a node gives. Raises Underivable with its reason."""
        function = self.model.functions.get(node.op_identifier())
        if function is not None:
            return self._infer_function(node, function, dims, known, depth)
        version = self.model.opset_imports.get(node.domain, 1)
        if not onnx.defs.has(node.op_type, node.domain):
            raise Underivable(f"nothing is known here of what {node.domain}::{node.op_type} makes of other sizes")
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
        proto = ir.serde.serialize_node(node)
        for i, value in enumerate(node.inputs):  # names as inference wants them: none empty, none twice by chance
            proto.input[i] = "" if value is None else f"i{i}"
        types = {f"i{i}": _type(v, dims.get(v)) for i, v in enumerate(node.inputs) if v is not None}
        data = {
            f"i{i}": onnx.numpy_helper.from_array(known[v])
            for i, v in enumerate(node.inputs)
            if v is not None and v in known and known[v].dtype != object
        }
        imports = [onnx.helper.make_opsetid(d, v) for d, v in self.model.opset_imports.items()]
        try:
            found = onnx.shape_inference.infer_node_outputs(schema, proto, types, data, opset_imports=imports)
        except onnx.shape_inference.InferenceError as error:
            raise Underivable(_reason(error)) from error
        for out in node.outputs:
            kind = found.get(out.name or "")
            if out.type is None and kind is not None and kind.HasField("tensor_type"):
                out.type = ir.TensorType(ir.DataType(kind.tensor_type.elem_type))
        return [_dims(found.get(out.name or "")) for out in node.outputs]

    def _infer_function(
        self,
        node: ir.Node,
        function: ir.Function,
        dims: Mapping[ir.Value, Dims | None],
        known: Mapping[ir.Value, Array],
        depth: int,
    ) -> list[Dims | None]:
        """Through the body, which has no weights and may have nothing baked in."""
        if depth > MAX_NESTED:
            raise Underivable(f"{node.op_type} is made of too many functions in functions")
        inner: dict[ir.Value, Dims | None] = {}
        numbers: dict[ir.Value, Array] = {}
        for value, operand in zip(function.inputs, node.inputs, strict=False):
            if operand is not None:
                value.type = value.type or operand.type
                inner[value] = dims.get(operand)
                if operand in known:
                    numbers[value] = known[operand]
        for step in function:
            inner.update(zip(step.outputs, self.infer(step, inner, numbers, depth + 1), strict=True))
            self._follow(step, numbers, inner)
        return [inner.get(out) for out in function.outputs]

    def _enter(self, value: ir.Value) -> None:
        """An input, a weight or a constant."""
        self.before[value] = self.declared(value)
        tensor = value.const_value
        is_constant = tensor is not None and not value.is_graph_input() and not is_parameter(value)
        if tensor is not None and is_constant and tensor.size <= MAX_KNOWN:
            self.known_before[value] = tensor.numpy()

    def _measure(self, node: ir.Node) -> None:
        stated = [self.declared(out) for out in node.outputs]
        pairs = zip(node.outputs, stated, strict=True)
        is_known = all(not out.name or (dims is not None and out.dtype is not None) for out, dims in pairs)
        if not is_known and not list(bodies(node)):
            try:
                found = self.infer(node, self.before, self.known_before)
                stated = [s if s is not None else f for s, f in zip(stated, found, strict=True)]
            except Underivable:
                pass  # unknown it stays, which matters only where it would change
        self.before.update(zip(node.outputs, stated, strict=True))
        self._follow(node, self.known_before, self.before)

    def _follow(self, node: ir.Node, known: dict[ir.Value, Array], dims: Mapping[ir.Value, Dims | None]) -> None:
        """Compute what a node gives of known numbers: shape arithmetic."""
        for out in node.outputs:
            known.pop(out, None)
        if node.op_type in ("Shape", "Size") and not node.domain and node.inputs[0] is not None:
            shape = dims.get(node.inputs[0])
            if shape is not None:
                part = shape[slice(node.attributes.get_int("start", 0), node.attributes.get_int("end", len(shape)))]
                found = np.array(part if node.op_type == "Shape" else math.prod(shape), np.int64)
                known[node.outputs[0]] = found
            return
        operands = [v for v in node.inputs if v is not None]
        if node.domain or any(v not in known for v in operands) or (not operands and node.op_type != "Constant"):
            return
        if any(math.prod(dims.get(out) or (1,)) > MAX_KNOWN for out in node.outputs) or _is_random(node):
            return
        feeds = {v.name: known[v] for v in operands}
        try:
            evaluator = ReferenceEvaluator(ir.serde.serialize_node(node), opsets=dict(self.model.opset_imports))
            arrays = evaluator.run(None, feeds)
        except Exception:  # noqa: BLE001 - the evaluator's errors have no class; then nothing is known
            return
        for out, array in zip(node.outputs, arrays, strict=False):
            if isinstance(array, (np.ndarray, np.generic)) and np.asarray(array).size <= MAX_KNOWN:
                known[out] = np.asarray(array)

    def state(self, value: ir.Value) -> None:
        """Write to a value its shape, where the graph states none."""
        dims = self.before.get(value)
        if value.shape is None and dims is not None:
            value.shape = ir.Shape([self._stated(d) for d in dims])

    def _stated(self, size: int) -> int | ir.SymbolicDim:
        """A number as the graph states it: `batch`, `64*batch`, or itself."""
        found, rest = [], size
        for name, prime in self.names.items():
            while rest and rest % prime == 0:
                rest //= prime
                found.append(name)
        if any(name.startswith("?") for name in found):
            return ir.SymbolicDim(None)
        return ir.SymbolicDim("*".join([str(rest)] * (rest != 1) + found)) if found else size

    def _note(self) -> None:
        """Write the new shapes to the graph, free sizes by their names again."""
        for value, after in self.after.items():
            before = self.before.get(value)
            if after == before:
                continue
            old = list(value.shape) if value.shape is not None and after is not None else []
            if after is None:
                value.shape = None
            elif before is None or len(old) != len(after) or len(before) != len(after):
                value.shape = ir.Shape([self._stated(d) for d in after])
            else:
                sizes = zip(old, before, after, strict=True)
                value.shape = ir.Shape([o if b == a else self._stated(a) for o, b, a in sizes])


def _free_sizes(graph: ir.Graph) -> dict[str, int]:
    """A prime for each free size of the inputs."""
    names: list[str] = []
    for value in data_inputs(graph):
        for i, size in enumerate(value.shape or ()):
            if not isinstance(size, int) and (name := _name_of(value, i)) not in names:
                names.append(name)
    if len(names) > len(PRIMES):
        raise Misfit(f"the graph {graph.name!r} has {len(names)} free sizes, more than can be followed")
    return dict(zip(names, PRIMES, strict=False))


def _name_of(value: ir.Value, i: int) -> str:
    size = value.shape[i] if value.shape is not None else None
    return (size.value if isinstance(size, ir.SymbolicDim) else None) or f"?{value.name}.{i}"


def _type(value: ir.Value, dims: Dims | None) -> onnx.TypeProto:
    tensor = value.const_value
    dtype = value.dtype or (tensor.dtype if tensor is not None else ir.DataType.FLOAT)
    return onnx.helper.make_tensor_type_proto(dtype.value, dims)


def _dims(proto: onnx.TypeProto | None) -> Dims | None:
    if proto is None or not proto.HasField("tensor_type") or not proto.tensor_type.HasField("shape"):
        return None
    sizes = proto.tensor_type.shape.dim
    return tuple(d.dim_value for d in sizes) if all(d.HasField("dim_value") for d in sizes) else None


def _is_random(node: ir.Node) -> bool:
    return node.op_type.startswith("Random") or node.op_type in ("Bernoulli", "Multinomial", "Dropout")


def _reason(error: Exception) -> str:
    """The last sentence of an inference error, without its node and its place in onnx's code."""
    text = " ".join(str(error).split())
    return text.rpartition("] ")[2] or text


def at(node: ir.Node, i: int) -> ir.Value | None:
    """An input of a node; None where it is left out."""
    return node.inputs[i] if i < len(node.inputs) else None


def must(node: ir.Node, i: int) -> ir.Value:
    """An input of a node. Raises Underivable where it is left out."""
    value = at(node, i)
    if value is None:
        raise Underivable(f"its input {i} is missing")
    return value
