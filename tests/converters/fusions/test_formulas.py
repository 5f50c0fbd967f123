from __future__ import annotations

import pytest

from zoo.converters.fusions.formulas import Name, Number, Operator, Part, Product, needs, parse, root_ops


@pytest.mark.parametrize("text", ["x * y / 2", "y * (x / 2)", "0.5 * x * y", "x / (2 / y)", "(y * x) / sqrt(4)"])
def test_a_product_is_a_number_times_powers_in_any_order(text):
    product = parse(text)
    assert isinstance(product, Product)
    assert (0.5, {(Name("x"), 1.0), (Name("y"), 1.0)}) == (product.number, set(product.powers))


def test_what_is_divided_rooted_and_squared_is_a_power():
    assert (
        Product(1.0, None, ((Name("x"), 1.0), (Operator("Add", (Name("v"), Number("EPS"))), -0.5)))
        == parse("x / Sqrt(v + EPS)")
        == parse("x * (v + EPS) ** -0.5")
    )


def test_capitals_stand_for_any_number():
    assert Product(1.0, ("SCALE", 1.0), ((Name("x"), 1.0),)) == parse("SCALE * x")
    assert Operator("Softmax", (Name("x"),), (("axis", "AXIS"),)) == parse("Softmax(x, axis=AXIS)")


def test_a_part_that_stands_once_is_no_part_and_one_that_stands_twice_is_shared():
    assert Operator("Relu", (Operator("Add", (Name("x"), Number(1.0))),)) == parse("d = x + 1\nRelu(d)")
    part = Part("d", Operator("Sub", (Name("x"), Name("m"))))
    assert Operator("Max", (part, Operator("Abs", (part,)))) == parse("d = x - m\nMax(d, Abs(d))")


def test_what_a_graph_must_have_for_a_formula_to_be_looked_for():
    formula = parse("0.5 * x * (1 + Erf(x / sqrt(2)))")
    assert {"Mul", "Div"} == root_ops(formula)
    assert {"Add", "Erf"} == needs(formula)


@pytest.mark.parametrize("text", ["x if y else z", "x[0]", "lambda: x"])
def test_what_is_no_formula_is_refused(text):
    with pytest.raises(ValueError, match="no formula"):
        parse(text)
