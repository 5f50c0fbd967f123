"""ai.onnx.preview.training::Gradient, against gradients that are known."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest

import zoo
from zoo.errors import HubError

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

HEADER = '<ir_version: 10, opset_import: ["" : 20, "ai.onnx.preview.training" : 1]>\n'
OF = "ai.onnx.preview.training.Gradient"
A, B = np.float32([[1, 2], [3, 4]]), np.float32([[5, 6], [7, 8]])


def run(text, **feeds):
    return zoo.runner(onnx.parser.parse_model(HEADER + text), "torch", device="cpu").run(feeds)


def test_what_nobody_else_reads_is_differentiated():
    made = run(f'g (float[2,2] a, float[2,2] b) => (float[2,2] p, float[2,2] q) {{'
               f' c = Mul(a, b)  d = Mul(c, a)  p, q = {OF}<xs = ["a", "b"], y = "d">(a, b) }}', a=A, b=B)  # fmt: skip
    np.testing.assert_allclose(made["p"], 2 * A * B)
    np.testing.assert_allclose(made["q"], A * A)


def test_it_is_taken_where_it_is_asked_for_and_by_what_is_computed_as_well():
    made = run(f'g (float[2,2] a, float[2,2] b) => (float[2,2] y, float[2,2] p) {{ c = Mul(a, a)'
               f' y = Mul(c, b)  p = {OF}<xs = ["c"], zs = ["b"], y = "y">(b, a) }}', a=A, b=B)  # fmt: skip
    np.testing.assert_allclose(made["y"], A * A * B)
    np.testing.assert_allclose(made["p"], A)


def test_what_is_not_read_has_the_gradient_zero_and_what_is_captured_none():
    made = run(f'g (float[2,2] a, float[2,2] b) => (float[2,2] p, float[2,2] q) {{'
               f' w = Constant<value_float = 3.0>()  c = Mul(a, w)  d = Sin(c)'
               f' p, q = {OF}<xs = ["a", "b"], y = "d">(a, b) }}', a=A, b=B)  # fmt: skip
    np.testing.assert_allclose(made["p"], 3 * np.cos(3 * A), rtol=1e-6)
    assert not made["q"].any()


def test_a_gradient_of_a_gradient():
    made = run(f'g (float[2,2] a) => (float[2,2] q) {{'
               f' c = Mul(a, a)  d = Mul(c, a)  p = {OF}<xs = ["a"], y = "d">(a)'
               f' q = {OF}<xs = ["a"], y = "p">(a) }}', a=A)  # fmt: skip
    np.testing.assert_allclose(made["q"], 6 * A)


def test_a_name_that_the_graph_lacks_is_an_error():
    with pytest.raises(HubError, match=r"Gradient .* there is no value 'z' in its graph"):
        run(f'g (float[2,2] a) => (float[2,2] p) {{ c = Mul(a, a)  p = {OF}<xs = ["a"], y = "z">(a) }}', a=A)
