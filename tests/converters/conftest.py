"""Graphs from text, and one comparison: onnx's reference evaluator before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

Graph = Callable[[str], ir.Model]
Same = Callable[[ir.Model, ir.Model, Mapping[str, Any]], None]


@pytest.fixture
def graph() -> Graph:
    """A model from onnx's text form; the opset is the canonical one unless the text starts with a header."""

    def parse(text: str) -> ir.Model:
        header = "" if text.lstrip().startswith("<") else '<ir_version: 10, opset_import: ["" : 28, "zoo" : 1]>\n'
        return ir.from_proto(onnx.parser.parse_model(header + text))

    return parse


@pytest.fixture
def same() -> Same:
    """Both models give the same outputs, to the last bit but for the order of sums (1e-6)."""

    def check(before: ir.Model, after: ir.Model, feeds: Mapping[str, Any]) -> None:
        expected, got = (ReferenceEvaluator(ir.to_proto(m)).run(None, dict(feeds)) for m in (before, after))
        for a, b in zip(expected, got, strict=True):
            assert np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)

    return check
