"""What tests of layouts share: to run a graph, and to run it again in another layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from zoo.converters.layout import channels_last, layouts

Feeds = Mapping[str, Any]
Run = Callable[[ir.Model, Feeds], dict[str, Any]]


@pytest.fixture(scope="session")
def run() -> Run:
    """The outputs of a model by name, by onnx's reference evaluator."""
    return evaluated


@pytest.fixture(scope="session")
def compares() -> Callable[..., Any]:
    """Bring a model to channels last and compare: the same numbers, valid, and the second time nothing to do."""
    return compared


def evaluated(model: ir.Model, feeds: Feeds) -> dict[str, Any]:
    """The outputs of a model by name. Bodies are inlined: the evaluator takes all overloads of a function for one."""
    proto = onnx.inliner.inline_local_functions(ir.to_proto(model))
    names = [output.name for output in proto.graph.output]
    return dict(zip(names, ReferenceEvaluator(proto).run(None, dict(feeds)), strict=True))


def data(model: ir.Model) -> bytes:
    """A model as bytes."""
    return bytes(ir.to_proto(model).SerializeToString(deterministic=True))


def same(expected: Feeds, got: Feeds, perms: Mapping[str, tuple[int, ...]]) -> None:
    """The same outputs, but for the order in which sums are made."""
    assert expected.keys() == got.keys()
    for name, want in expected.items():
        have = got[name]
        if name in perms:
            have = np.transpose(have, np.argsort(perms[name]))
        assert np.asarray(want).dtype == np.asarray(have).dtype
        np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-5)


def compared(model: ir.Model, feeds: Feeds, **choice: Any) -> Any:
    """Bring a model to channels last, and compare; the report."""
    expected = evaluated(model, feeds)
    report = channels_last(model, lambda node: True, **choice)
    once, found = data(model), layouts(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    fed = {name: np.transpose(x, found.inputs[name]) if name in found.inputs else x for name, x in feeds.items()}
    got = evaluated(model, fed)
    same(expected, got, found.outputs)
    for output in model.graph.outputs:
        noted = [d if isinstance(d, int) else None for d in output.shape] if output.shape is not None else None
        assert noted is None or all(n in (None, d) for n, d in zip(noted, np.shape(got[output.name]), strict=True))
    assert channels_last(model, lambda node: True, **choice).after == report.after
    assert once == data(model)
    return report
