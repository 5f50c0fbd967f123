"""One operator as a model, run in torch and compared with onnx's reference, or with what the test expects."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

import zoo
from zoo.converters.graph import OPSET

Operator = Callable[..., tuple[onnx.ModelProto, dict[str, Any]]]
Agrees = Callable[..., list[Any]]
# float32 sums in another order; half precision rounds in other places
TOLERANCE = {"float16": (4e-3, 1e-3), "bfloat16": (2e-2, 1e-2), "float64": (1e-9, 1e-9)}


@pytest.fixture
def operator() -> Operator:
    """Makes a model of one node, and what it is fed: an array is an input, one in a list a constant, None left out."""

    def make(
        op: str,
        attributes: Mapping[str, Any],
        inputs: Sequence[Any],
        *,
        outputs: int | Sequence[str] = 1,
        domain: str = "",
        opset: int = OPSET,
        free: bool | Container[str] = False,
    ) -> tuple[onnx.ModelProto, dict[str, Any]]:
        names, constants, feeds = [], [], {}
        for n, value in enumerate(inputs):
            names.append("" if value is None else f"x{n}")
            if isinstance(value, list):
                constants.append(onnx.numpy_helper.from_array(np.asarray(value[0]), f"x{n}"))
            elif value is not None:
                feeds[f"x{n}"] = np.asarray(value)
        made = [f"y{n}" for n in range(outputs)] if isinstance(outputs, int) else list(outputs)
        given = [
            onnx.helper.make_tensor_value_info(
                name,
                onnx.helper.np_dtype_to_tensor_dtype(value.dtype),
                [f"{name}_{i}" for i in range(value.ndim)] if free is True or (free and name in free) else value.shape,
            )
            for name, value in feeds.items()
        ]
        node = onnx.helper.make_node(op, names, made, domain=domain, **attributes)
        results = [onnx.ValueInfoProto(name=name) for name in made if name]
        graph = onnx.helper.make_graph([node], op, given, results, constants)
        imports = [onnx.helper.make_opsetid("", opset)] + ([onnx.helper.make_opsetid(domain, 1)] if domain else [])
        model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)
        return onnx.shape_inference.infer_shapes(model, data_prop=True), feeds

    return make


@pytest.fixture
def agrees(operator: Operator) -> Agrees:
    """Runs one operator in torch and compares every output: dtype, shape and numbers. Returns them."""

    def check(
        op: str,
        attributes: Mapping[str, Any],
        inputs: Sequence[Any],
        expected: Sequence[Any] | None = None,
        **options: Any,
    ) -> list[Any]:
        model, feeds = operator(op, attributes, inputs, **options)
        wanted = ReferenceEvaluator(model).run(None, feeds) if expected is None else expected
        got = list(zoo.runner(model, "torch").run(feeds).values())
        assert len(wanted) == len(got)
        for want, have in zip(wanted, got, strict=True):
            want = np.asarray(want)
            assert (want.dtype, want.shape) == (have.dtype, have.shape)
            rtol, atol = TOLERANCE.get(want.dtype.name, (1e-4, 1e-5)) if want.dtype.kind in "fV" else (0, 0)
            wide = np.float64 if want.dtype.kind in "fV" else want.dtype
            np.testing.assert_allclose(have.astype(wide), want.astype(wide), rtol=rtol, atol=atol)
        return got

    return check


@pytest.fixture
def runtimes(operator: Operator) -> Callable[..., list[Any]]:
    """What ONNX Runtime computes, for what onnx's reference gets wrong (groups, padding of two unlike sides)."""

    def run(
        op: str, attributes: Mapping[str, Any], inputs: Sequence[Any], outputs: int = 1, opset: int = 22
    ) -> list[Any]:
        model, feeds = operator(op, attributes, inputs, outputs=outputs, opset=opset)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        made: list[Any] = session.run(None, feeds)
        return made

    return run
