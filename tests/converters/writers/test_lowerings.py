"""Guards of the tables: a lowering's signature is the operator's, and each is of an operator that is there."""

from __future__ import annotations

import inspect
import json

import onnx
import pytest

from zoo.converters.frameworks import FRAMEWORKS
from zoo.converters.graph import OPSET
from zoo.converters.writers.driver import Lowerings, shortest
from zoo.converters.writers.lowered import LISTED, listed

pytestmark = pytest.mark.parity
TABLES = {name: f for name, f in FRAMEWORKS.items() if name != "onnx"}
MANY = onnx.defs.OpSchema.FormalParameterOption.Variadic


def table(framework: str) -> Lowerings:
    if not FRAMEWORKS[framework].is_installed:
        pytest.skip(f"{framework} is not installed")
    return FRAMEWORKS[framework].module("writer").lowers


@pytest.mark.parametrize("framework", TABLES)
def test_parameters_and_defaults_are_the_specifications(framework):
    wrong = {}
    for (domain, op), lowering in table(framework).items():
        if domain:  # only ONNX has a schema
            continue
        schema = onnx.defs.get_schema(op, OPSET, domain)
        parameters = [p for p in inspect.signature(lowering).parameters.values() if not p.name.startswith("_")][1:]
        inputs = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]
        many = [p.name for p in inputs if p.kind == p.VAR_POSITIONAL]
        expected = [i.name for i in schema.inputs]
        # a table of renames has one signature: the names of inputs are then the group's
        named = [p.name for p in inputs] == expected or lowering.__name__ in ("lowered", "_unary", "_lowered")
        if not (named or len(inputs) == len(expected)) or bool(many) != any(i.option == MANY for i in schema.inputs):
            wrong[op] = f"inputs {[p.name for p in inputs]}, the specification has {expected}"
        attributes = {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY}
        for name, attribute in schema.attributes.items():
            if name not in attributes:
                wrong[op] = f"no attribute {name!r}"
            elif attribute.default_value.name and attributes[name] != default(attribute):
                wrong[op] = f"{name}={attributes[name]!r}, the specification says {default(attribute)!r}"
        if unknown := set(attributes) - set(schema.attributes):
            wrong[op] = f"unknown attributes {unknown}"
    assert {} == wrong


@pytest.mark.parametrize("framework", TABLES)
def test_the_list_of_its_operators_is_up_to_date(framework):
    made = json.loads(json.dumps(listed(table(framework))))
    assert json.loads(LISTED.read_text())[framework] == made, "python tools/lowered.py writes it anew"


def default(attribute):
    value = onnx.helper.get_attribute_value(attribute.default_value)
    if isinstance(value, list):
        return tuple(v.decode() if isinstance(v, bytes) else v for v in value)
    if isinstance(value, bytes):
        return value.decode()
    return shortest(value) if isinstance(value, float) else value


def test_a_second_lowering_of_an_operator_is_an_error():
    lowers = Lowerings("a framework")
    lowers("Relu")(lambda w, X: X)
    with pytest.raises(ValueError, match="second lowering"):
        lowers("Relu")(lambda w, X: X)
