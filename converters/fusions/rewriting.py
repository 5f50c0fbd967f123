"""A fusion: formulas, and what stands for them afterwards; and how a graph is rewritten by many of them."""

from __future__ import annotations

import os.path
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, NoReturn

import numpy as np
import onnx_ir as ir

from zoo.converters.expand import splice
from zoo.converters.expansions import Builder
from zoo.converters.fold import Sizes, sizes
from zoo.converters.fusions.formulas import Formula, needs, parse, root_ops
from zoo.converters.fusions.matching import Found, find
from zoo.converters.graph import PATH, all_nodes, constant, is_parameter, module_path


class Refused(Exception):
    """A formula stands in the graph, and putting an operator in its place would compute something else."""


class Place:
    """The graph that is rewritten, and what is asked of all of it."""

    def __init__(self, model: ir.Model, graph: ir.Graph) -> None:
        self.model, self.graph = model, graph
        self.shared: dict[tuple[Any, ...], ir.Value] = {}

    @cached_property
    def sizes(self) -> dict[ir.Value, Sizes]:
        """What is known of its shape arithmetic; what a fusion makes is none."""
        return sizes(self.graph)

    def sizes_in(self, value: ir.Value | None) -> tuple[int | str, ...] | None:
        """A vector of integers as numbers and the names of free sizes, None where nothing is known of it."""
        if value is not None and value.const_value is not None:
            return tuple(int(n) for n in value.const_value.numpy().reshape(-1))
        known = None if value is None else self.sizes.get(value)
        return None if known is None else known.items

    @cached_property
    def names(self) -> set[str | None]:
        """The names of all values of the model."""
        values = (*self.model.graph.inputs, *self.model.graph.initializers.values())
        return {v.name for v in values} | {out.name for node in all_nodes(self.model.graph) for out in node.outputs}


class Fusion:
    """One place where a formula was found: what its names stand for, and what is put in its place.

    `op.Gelu(x)` makes a node, `fusion["x"]` is a value and `fusion["EPS"]` a number of the formula.
    """

    def __init__(self, place: Place, found: Found) -> None:
        self.place, self.model, self.bound, self.nodes = place, place.model, found.bound, found.nodes
        self.op = Builder()
        self.constants: list[ir.Value] = []
        self.made_once: list[tuple[Any, ...]] = []

    def __getitem__(self, name: str) -> Any:
        return self.bound[name]

    @property
    def root(self) -> ir.Node:
        """The node whose output is replaced."""
        return self.nodes[0]

    def sizes_in(self, value: ir.Value | None) -> tuple[int | str, ...] | None:
        """A vector of integers, as far as it is known: see Place."""
        return self.place.sizes_in(value)

    def refuse(self, reason: str = "") -> NoReturn:
        """Leave everything as it is, for a reason; without one where the formula says too little of what is meant."""
        raise Refused(reason)

    def constant(self, array: np.ndarray[Any, Any], name: str) -> ir.Value:
        """An initializer; one of the same name and content is shared."""
        graph, unique, n = self.model.graph, name, 0
        while unique in self.place.names:
            have = graph.initializers.get(unique)
            tensor = None if have is None or is_parameter(have) else have.const_value
            if have is not None and tensor is not None and _is_array(tensor, array):
                return have
            unique, n = f"{name}_{n}", n + 1
        self.place.names.add(unique)
        self.constants.append(constant(graph, unique, array))
        return self.constants[-1]

    def once(self, op_type: str, x: ir.Value, *others: ir.Value, **attributes: Any) -> ir.Value:
        """A node right after those that it reads, made once for all fusions that ask for it: of a mask, of an angle."""
        key = (op_type, x, *others, *attributes.items())
        if key in self.place.shared:
            return self.place.shared[key]
        graph, producers = self.place.graph, {v.producer() for v in (x, *others)}
        before = next((n for n in reversed(graph) if n in producers), None) if producers != {None} else None
        stem, n = f"{x.name}.{op_type}", 0
        while (name := f"{stem}_{n}") in self.place.names:
            n += 1
        self.place.names.add(name)
        node = ir.node(op_type, [x, *others], attributes, name=name)
        node.outputs[0].name = name
        if before is None:
            graph.insert_before(graph[0], node)
        else:
            node.metadata_props.update({PATH: before.metadata_props[PATH]} if PATH in before.metadata_props else {})
            graph.insert_after(before, node)
        self.place.shared[key] = node.outputs[0]
        self.made_once.append(key)
        return node.outputs[0]

    def commit(self, result: ir.Value) -> None:
        """Put the nodes that were made in the place of those that were found, at the module that all of these share."""
        graph = self.root.graph
        assert isinstance(graph, ir.Graph)
        path = common_path(self.nodes)
        if path:
            self.root.metadata_props[PATH] = path
        else:
            self.root.metadata_props.pop(PATH, None)
        name, rest = self.root.name, set(self.nodes[1:])
        splice(graph, self.root, self.op.nodes, [result])
        graph.remove(rest, safe=True)
        if name and (last := result.producer()) is not None:
            last.name = name

    def undo(self) -> None:
        """Take back what was made."""
        for node in reversed(self.op.nodes):
            for i in range(len(node.inputs)):
                node.replace_input_with(i, None)
        for key in reversed(self.made_once):
            self.place.graph.remove(producer_of(self.place.shared.pop(key)), safe=True)
        for value in self.constants:
            del self.model.graph.initializers[value.name or ""]
            self.place.names.remove(value.name)


def _is_array(tensor: ir.TensorProtocol, array: np.ndarray[Any, Any]) -> bool:
    return (
        tuple(tensor.shape) == array.shape
        and bool(np.array_equal(tensor.numpy(), array))
        and (tensor.dtype.numpy() == array.dtype)
    )


def producer_of(value: ir.Value) -> ir.Node:
    """The node that gives a value that some node gives."""
    node = value.producer()
    assert node is not None
    return node


After = Callable[[Fusion], ir.Value]


class Rule(NamedTuple):
    """Formulas, and the function that makes what stands for each of them, or refuses with a reason."""

    before: Sequence[str]
    after: After


class Rules:
    """Rules by the operators that their formulas end in; the first that fits is taken."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.by_root: dict[str, list[tuple[Formula, frozenset[str], After]]] = defaultdict(list)
        for rule in rules:
            for text in rule.before:
                formula = parse(text)
                for op_type in root_ops(formula):
                    self.by_root[op_type].append((formula, needs(formula), rule.after))

    def apply(self, model: ir.Model, graph: ir.Graph, refusals: list[str] | None = None) -> bool:
        """Rewrite one graph, from its end to its begin, so that the largest formula is met first; True if any was."""
        there, changed = {node.op_type for node in graph}, False
        active = {
            op_type: [(formula, after) for formula, needed, after in rules if needed <= there]
            for op_type, rules in self.by_root.items()
        }
        place = Place(model, graph)
        for node in reversed(list(graph)):
            if node.graph is graph and not node.domain and active.get(node.op_type):
                changed |= _rewrite(place, node, active[node.op_type], refusals)
        return changed


def _rewrite(place: Place, node: ir.Node, rules: Iterable[tuple[Formula, After]], refusals: list[str] | None) -> bool:
    for formula, after in rules:
        for found in find(formula, node):
            fusion = Fusion(place, found)
            try:
                result = after(fusion)
            except Refused as refused:
                fusion.undo()
                reason = f"{node.op_type} {node.name or node.outputs[0].name!r}: {refused}"
                if refusals is not None and str(refused) and reason not in refusals:
                    refusals.append(reason)
                continue
            fusion.commit(result)
            return True
    return False


def common_path(nodes: Iterable[ir.Node]) -> str:
    """The innermost module that all nodes belong to.

    >>> a, b = (ir.Node("", "Relu", [], metadata_props={PATH: p}) for p in ("layers.0.mlp.fc", "layers.0.mlp.act"))
    >>> common_path([a, b])
    'layers.0.mlp'
    """
    paths = [module_path(node).split(".") for node in nodes]
    return ".".join(os.path.commonprefix(paths))


def to(op_type: str, *names: str, **attributes: Any) -> After:
    """One operator over what the formula's names stand for; an attribute in capitals is a number of the formula."""

    def after(fusion: Fusion) -> ir.Value:
        given = {k: fusion[v] if isinstance(v, str) and v.isupper() else v for k, v in attributes.items()}
        made: ir.Value = getattr(fusion.op, op_type)(*(fusion[n] for n in names), **given)
        return made

    return after
