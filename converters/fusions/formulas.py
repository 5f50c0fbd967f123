"""Patterns written as formulas, in Python's syntax and ONNX's names: what a graph has to compute to be fused.

    0.5 * x * (1 + Erf(x / 1.4142135623730951))

    + - * / **          Add, Sub, Mul, Div, Pow; Sqrt, Neg and Reciprocal belong to products as well
    Erf(x)              an operator over its inputs; keywords are attributes, those not named have their defaults
    0.5                 a constant scalar, as exactly as its dtype holds it
    x, mask             lower case: any value, the same wherever the name stands
    EPS, AXIS           capitals: any constant scalar or attribute, as a plain number
    d = x - m           a line of its own: a part that is named, matched wherever the name stands

A product is a number times powers, whatever the order in which an exporter multiplies and divides: `x * 0.5 * y`,
`(y * x) / 2` and `0.5 * (x * y)` are one formula. The two sides of a sum may stand in either order.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

BINARY = {ast.Add: "Add", ast.Sub: "Sub"}
PRODUCTS = frozenset({"Mul", "Div", "Pow", "Sqrt", "Reciprocal", "Neg"})


@dataclass(frozen=True)
class Name:
    """Any value; the same one wherever the name stands."""

    name: str


@dataclass(frozen=True)
class Number:
    """A constant scalar: a known one, or any (by its name in capitals)."""

    value: float | str


@dataclass(frozen=True)
class Operator:
    """An operator over its inputs; an attribute in capitals is any number."""

    op_type: str
    inputs: tuple[Formula, ...]
    attributes: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True)
class Product:
    """A number (known, and times or by any number if one is named) times powers of formulas."""

    number: float
    any_number: tuple[str, float] | None
    powers: tuple[tuple[Formula, float], ...]


@dataclass(frozen=True)
class Part:
    """A named formula that stands more than once."""

    name: str
    formula: Formula


Formula: TypeAlias = Name | Number | Operator | Product | Part


@lru_cache(maxsize=1024)
def parse(text: str) -> Formula:
    """The formula that a text ends in, with the parts that the lines before it name.

    >>> parse("x / (2 * y)")
    Product(number=0.5, any_number=None, powers=((Name(name='x'), 1.0), (Name(name='y'), -1.0)))
    """
    *named, last = ast.parse("\n".join(line.strip() for line in text.strip().splitlines())).body
    parts: dict[str, ast.expr] = {}
    for line in named:
        assert isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name), text
        parts[line.targets[0].id] = line.value
    assert isinstance(last, ast.Expr), text
    trees = (*parts.values(), last.value)
    used = Counter(n.id for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Name))
    return _formula(last.value, parts, used)


def root_ops(formula: Formula) -> frozenset[str]:
    """The operators that the last node of what a formula matches can have."""
    if isinstance(formula, Part):
        return root_ops(formula.formula)
    if isinstance(formula, Product):
        return frozenset({"Mul", "Div"})
    return frozenset({formula.op_type}) if isinstance(formula, Operator) else frozenset()


def needs(formula: Formula) -> frozenset[str]:
    """The operators without which a graph has nothing that the formula matches; arithmetic apart."""
    if isinstance(formula, Part):
        return needs(formula.formula)
    if isinstance(formula, Product):
        return frozenset().union(*(needs(f) for f, _ in formula.powers))
    if isinstance(formula, Operator):
        return frozenset({formula.op_type}).union(*(needs(f) for f in formula.inputs))
    return frozenset()


def _formula(tree: ast.expr, parts: dict[str, ast.expr], used: Counter[str]) -> Formula:
    if (number := _known(tree)) is not None:
        return Number(number)
    match tree:
        case ast.Name(id=name) if name in parts:
            inner = _formula(parts[name], parts, used)
            return Part(name, inner) if used[name] > 1 else inner
        case ast.Name(id=name):
            return Number(name) if name.isupper() else Name(name)
        case ast.BinOp(op=ast.Mult() | ast.Div() | ast.Pow()) | ast.UnaryOp(op=ast.USub()):
            return _product(tree, parts, used)
        case ast.Call(func=ast.Name(id=op)) if op in PRODUCTS:
            return _product(tree, parts, used)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            return Operator(BINARY[type(op)], (_formula(left, parts, used), _formula(right, parts, used)))
        case ast.Call(func=ast.Name(id=op), args=args, keywords=keywords):
            attributes = tuple((k.arg or "", _attribute(k.value)) for k in keywords)
            return Operator(op, tuple(_formula(a, parts, used) for a in args), attributes)
    raise ValueError(f"no formula: {ast.unparse(tree)}")


def _product(tree: ast.expr, parts: dict[str, ast.expr], used: Counter[str]) -> Product:
    number, powers = 1.0, dict[Formula, float]()
    any_number: tuple[str, float] | None = None

    def multiply(tree: ast.expr, exponent: float) -> None:
        nonlocal number, any_number
        if (known := _known(tree)) is not None:
            number *= known**exponent
            return
        match tree:
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                multiply(left, exponent)
                multiply(right, exponent)
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                multiply(left, exponent)
                multiply(right, -exponent)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                by = _known(right)
                assert by is not None, ast.unparse(tree)
                multiply(left, exponent * by)
            case ast.Call(func=ast.Name(id="Sqrt"), args=[under]):
                add(under, exponent / 2)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                number *= -1
                multiply(operand, exponent)
            case ast.Name(id=name) if name.isupper():
                assert any_number is None, ast.unparse(tree)
                any_number = name, exponent
            case ast.Name(id=name) if name in parts and used[name] == 1:
                multiply(parts[name], exponent)
            case _:
                add(tree, exponent)

    def add(tree: ast.expr, exponent: float) -> None:
        formula = _formula(tree, parts, used)
        powers[formula] = powers.get(formula, 0.0) + exponent

    multiply(tree, 1.0)
    return Product(number, any_number, tuple(powers.items()))


def _known(tree: ast.expr) -> float | None:
    """The value of a number, or of arithmetic over numbers."""
    match tree:
        case ast.Constant(value=bool()):
            return None
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.UnaryOp(op=ast.USub(), operand=operand) if (value := _known(operand)) is not None:
            return -value
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            a, b = _known(left), _known(right)
            return None if a is None or b is None else a / b
        case ast.Call(func=ast.Name(id="sqrt"), args=[under]) if (value := _known(under)) is not None:
            return math.sqrt(value)
        case ast.Name(id="pi"):
            return math.pi
    return None


def _attribute(tree: ast.expr) -> object:
    return tree.id if isinstance(tree, ast.Name) else ast.literal_eval(tree)
