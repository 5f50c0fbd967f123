"""Where in a graph a formula (formulas.py) stands: what its names stand for, and the nodes that compute it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir

from zoo.converters.fusions.formulas import PRODUCTS, Formula, Name, Number, Operator, Part, Product
from zoo.converters.graph import OPSET, is_parameter

COMMUTATIVE = frozenset({"Add", "Max", "Min", "And", "Or", "Equal"})
FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE})
# how far a constant may be from the formula's: exporters round to the dtype, and people write seven digits
TOLERANCE = {ir.DataType.FLOAT16: 1e-3, ir.DataType.BFLOAT16: 8e-3, ir.DataType.DOUBLE: 1e-7}
MAX_NODES = 16  # of one product: those of formulas have at most eight
MAX_EXPONENT = 16.0  # and those of formulas are at most three
MAX_COMPARED = 4096  # elements of two constants that are compared


class Found(NamedTuple):
    """One way in which a formula stands in a graph; `nodes` begins with the one that gives the result."""

    bound: Mapping[str, Any]
    nodes: tuple[ir.Node, ...]


def find(formula: Formula, root: ir.Node) -> Iterator[Found]:
    """Every way in which `root` is the last node of a formula, and nobody else reads what is computed on the way."""
    for found in _match(formula, root.outputs[0], Found({}, ()), root.graph):
        if found.nodes[:1] == (root,) and _is_closed(found.nodes):
            yield found


def scalar(value: ir.Value | None) -> tuple[float, float] | None:
    """A constant scalar as (number, relative error that its dtype allows), or None."""
    tensor = None if value is None or is_parameter(value) else value.const_value
    if tensor is None or tensor.size != 1 or not (tensor.dtype in FLOATS or tensor.dtype.is_integer()):
        return None
    return float(tensor.numpy().astype(np.float64).item()), TOLERANCE.get(tensor.dtype, 2e-6)


def is_close(a: float, b: float, tolerance: float = 2e-6) -> bool:
    """Whether two numbers are one but for rounding."""
    return a == b or math.isclose(a, b, rel_tol=tolerance)


class Powers(NamedTuple):
    """A product as a number times powers of values, and the nodes that compute it, the last one first."""

    number: float
    powers: tuple[tuple[ir.Value, float], ...]
    nodes: tuple[ir.Node, ...]
    tolerance: float


def powers_of(value: ir.Value, graph: ir.Graph | None) -> Powers:
    """A value as a product, as far down as nobody else reads the factors. What is no product is its own power."""
    number, tolerance, found, nodes = 1.0, 0.0, dict[ir.Value, float](), list[ir.Node]()
    todo = [(value, 1.0)]
    while todo:
        factor, exponent = todo.pop()
        node = factor.producer()
        opened = None
        if node is not None and node.graph is graph and (factor is value or len(factor.uses()) == 1):
            opened = _factors(node, exponent) if len(nodes) < MAX_NODES else None
        if node is None or opened is None or (factor is not value and factor.is_graph_output()):
            found[factor] = found.get(factor, 0.0) + exponent
            continue
        by, error, inner = opened
        nodes.append(node)
        todo.extend(reversed(inner))
        number, tolerance = number * by, tolerance + error
    return Powers(number, tuple((v, e) for v, e in found.items() if e), tuple(nodes), tolerance)


def _factors(node: ir.Node, exponent: float) -> tuple[float, float, list[tuple[ir.Value, float]]] | None:
    """A node of a product, to a power, as (number, its relative error, factors and their exponents)."""
    if node.op_type not in PRODUCTS or node.domain or node.outputs[0].dtype not in FLOATS or None in node.inputs:
        return None
    x, *rest = (v for v in node.inputs if v is not None)
    if node.op_type == "Neg":
        return (-1.0) ** exponent if exponent == int(exponent) else math.nan, 0.0, [(x, exponent)]
    if exponent != int(exponent):  # the root of a product need not be the product of the roots
        return None
    if node.op_type == "Sqrt":
        return 1.0, 0.0, [(x, exponent / 2)]
    if node.op_type == "Reciprocal":
        return 1.0, 0.0, [(x, -exponent)]
    y = rest[0]
    if node.op_type == "Pow":
        by = _number_beside(y, x)
        return (1.0, 0.0, [(x, exponent * by[0])]) if by is not None and abs(by[0]) <= MAX_EXPONENT else None
    sign = -1.0 if node.op_type == "Div" else 1.0
    for constant, other, power, other_power in ((y, x, sign, 1.0), (x, y, 1.0, sign)):
        known = _number_beside(constant, other)
        number = math.nan if known is None else _power(known[0], power * exponent)
        if known is not None and math.isfinite(number):
            return number, known[1], [(other, other_power * exponent)]
    return 1.0, 0.0, [(x, exponent), (y, sign * exponent)]


def _power(number: float, exponent: float) -> float:
    """A number to a whole power; NaN where there is none that a float holds."""
    try:
        return math.pow(number, exponent)
    except (OverflowError, ValueError):
        return math.nan


def _number_beside(value: ir.Value, other: ir.Value) -> tuple[float, float] | None:
    """A constant scalar that does not change the rank of what it is combined with."""
    rank = 0 if value.shape is None else len(value.shape)
    if rank and (other.shape is None or len(other.shape) < rank):
        return None
    return scalar(value)


def _match(formula: Formula, value: ir.Value | None, found: Found, graph: ir.Graph | None) -> Iterator[Found]:
    if value is None:
        return
    if isinstance(formula, Name):
        yield from _bind(formula.name, value, found)
    elif isinstance(formula, Number):
        if (known := scalar(value)) is not None:
            yield from _number(formula.value, known[0], known[1], found)
    elif isinstance(formula, Part):
        if found.bound.get(formula.name) is value:
            yield found
            return
        for inner in _match(formula.formula, value, found, graph):
            yield Found({**inner.bound, formula.name: value}, inner.nodes)
    elif isinstance(formula, Product):
        yield from _product(formula, value, found, graph)
    else:
        yield from _operator(formula, value, found, graph)


def _bind(name: str, thing: Any, found: Found) -> Iterator[Found]:
    if name not in found.bound:
        yield Found({**found.bound, name: thing}, found.nodes)
    elif _is_same(found.bound[name], thing):
        yield found


def _is_same(a: Any, b: Any) -> bool:
    """One value, or two constants of the same content; two numbers that are close."""
    if a is b:
        return True
    if isinstance(a, float) and isinstance(b, float):
        return is_close(a, b)
    if not (isinstance(a, ir.Value) and isinstance(b, ir.Value)) or is_parameter(a) or is_parameter(b):
        return bool(a == b)
    x, y = a.const_value, b.const_value
    if x is None or y is None or x.dtype != y.dtype or x.shape != y.shape or x.size > MAX_COMPARED:
        return False
    return x.numpy().tobytes() == y.numpy().tobytes()


def _number(expected: float | str, number: float, tolerance: float, found: Found) -> Iterator[Found]:
    if isinstance(expected, str):
        yield from _bind(expected, number, found)
    elif is_close(expected, number, tolerance):
        yield found


def _operator(formula: Operator, value: ir.Value, found: Found, graph: ir.Graph | None) -> Iterator[Found]:
    node = value.producer()
    if node is None or node.op_type != formula.op_type or node.domain or node.graph is not graph or value.index() != 0:
        return
    inputs = list(node.inputs)
    while inputs and inputs[-1] is None:
        inputs.pop()
    if len(inputs) != len(formula.inputs):
        return
    bound = _attributes(formula, node, found.bound)
    if bound is None:
        return
    start = Found(bound, (*found.nodes, node))
    orders = [formula.inputs]
    if node.op_type in COMMUTATIVE and len(inputs) == 2:
        orders.append(formula.inputs[::-1])
    for order in orders:
        if all(_keeps_rank(f, v, inputs) for f, v in zip(order, inputs, strict=True)):
            yield from _all(order, inputs, start, graph)


def _keeps_rank(formula: Formula, value: ir.Value | None, inputs: list[ir.Value | None]) -> bool:
    """A number stands for a scalar that broadcasts to another input without changing its rank."""
    if not isinstance(formula, Number) or value is None or not value.shape:
        return True
    rank = len(value.shape)
    return any(v is not value and v is not None and v.shape is not None and len(v.shape) >= rank for v in inputs)


def _all(
    formulas: tuple[Formula, ...], values: list[ir.Value | None], found: Found, graph: ir.Graph | None
) -> Iterator[Found]:
    if not formulas:
        yield found
        return
    for inner in _match(formulas[0], values[0], found, graph):
        yield from _all(formulas[1:], values[1:], inner, graph)


def _attributes(formula: Operator, node: ir.Node, bound: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What is bound once the attributes agree: with the formula's, and with the defaults where it names none."""
    defaults, wanted = _defaults(node.op_type), dict(formula.attributes)
    if not set(node.attributes) | set(wanted) <= set(defaults):
        return None
    for name in {*node.attributes, *wanted}:
        have = plain(node.attributes[name]) if name in node.attributes else defaults[name]
        want = wanted.get(name, defaults[name])
        if isinstance(want, str) and want.isupper():
            agreed = next(_bind(want, have, Found(bound, ())), None)
            if agreed is None:
                return None
            bound = agreed.bound
        elif not (is_close(have, want) if isinstance(have, float) and isinstance(want, float) else have == want):
            return None
    return bound


def plain(attr: ir.Attr) -> Any:
    """An attribute as a number, a string or a tuple; None for tensors, graphs and references."""
    if attr.is_ref() or attr.type in (ir.AttributeType.TENSOR, ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
        return None
    return tuple(attr.value) if isinstance(attr.value, (list, tuple)) else attr.value


@cache
def _defaults(op_type: str) -> Mapping[str, Any]:
    """Every attribute of an operator with its default, None where it has none."""
    if not onnx.defs.has(op_type):
        return {}
    schema = onnx.defs.get_schema(op_type, OPSET)
    return {
        name: plain(ir.from_proto(attribute.default_value)) if attribute.default_value.name else None
        for name, attribute in schema.attributes.items()
    }


def _product(formula: Product, value: ir.Value, found: Found, graph: ir.Graph | None) -> Iterator[Found]:
    product = powers_of(value, graph)
    ways = [product]
    if formula.any_number and [e for _, e in formula.powers] == [1.0] and product.nodes:  # once x is any number times x
        ways.append(Powers(1.0, ((value, 1.0),), (), 0.0))
    for way in ways:
        if len(way.powers) != len(formula.powers):
            continue
        start = Found(found.bound, found.nodes + way.nodes)
        number = way.number / formula.number
        if formula.any_number:
            name, exponent = formula.any_number
            starts = _number(name, number if exponent == 1 else _power(number, exponent), way.tolerance, start)
        else:
            starts = _number(1.0, number, way.tolerance, start)
        for begun in starts:
            yield from _powers(formula.powers, way.powers, begun, graph)


def _powers(
    formulas: tuple[tuple[Formula, float], ...],
    powers: tuple[tuple[ir.Value, float], ...],
    found: Found,
    graph: ir.Graph | None,
) -> Iterator[Found]:
    """The powers of a formula met by those of a graph, in any order."""
    if not formulas:
        yield found
        return
    (formula, exponent), *rest = formulas
    for i, (value, have) in enumerate(powers):
        if have == exponent:
            for inner in _match(formula, value, found, graph):
                yield from _powers(tuple(rest), powers[:i] + powers[i + 1 :], inner, graph)


def _is_closed(nodes: tuple[ir.Node, ...]) -> bool:
    """Nothing but the first node's first output is read by other nodes, in this graph or a body, or is a result."""
    inside = set(nodes)
    for i, node in enumerate(nodes):
        for out in node.outputs[1 if i == 0 else 0 :]:
            if out.is_graph_output() or any(use.node not in inside for use in out.uses()):
                return False
    return True
