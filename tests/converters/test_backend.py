"""The Backend interface over every framework that is here, and the cases of ONNX's suite that it has passed before."""

from __future__ import annotations

import subprocess
import sys
import unittest
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from zoo.converters import backend as module
from zoo.converters.backend import backend
from zoo.converters.frameworks import FRAMEWORKS
from zoo.errors import BadInput, UnknownFramework, UnsupportedOps, UsageError

pytestmark = pytest.mark.parity
ROOT = Path(__file__).resolve().parents[2]
INSTALLED = [f.name for f in FRAMEWORKS.values() if f.is_installed]
MODEL = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
    g (float[N, 2] x, float[2] y) => (float[N, 2] sum, float[N, 2] product) { sum = Add(x, y)  product = Mul(x, y) }""")
X, Y = np.array([[1, 2], [3, 4]], np.float32), np.array([10, 20], np.float32)


@pytest.mark.parametrize("framework", INSTALLED)
@pytest.mark.parametrize("inputs", [[X, Y], (onnx.numpy_helper.from_array(X), Y), {"y": Y, "x": X}])
def test_a_prepared_model_takes_inputs_in_order_or_by_name_and_gives_outputs_both_ways(framework, inputs):
    prepared = backend(framework).prepare(MODEL)
    outputs = prepared.run(inputs)
    assert 2 == len(outputs)
    np.testing.assert_array_equal(X + Y, outputs.sum)
    np.testing.assert_array_equal(X * Y, outputs["product"])
    np.testing.assert_array_equal(outputs[1], outputs["product"])
    assert np.float32 == outputs[0].dtype


@pytest.mark.parametrize("framework", INSTALLED)
def test_a_single_input_needs_no_list(framework):
    relu = helper.make_node("Relu", ["x"], ["y"])
    (got,) = backend(framework).run_node(relu, -X, opset_version=17)
    np.testing.assert_array_equal(np.zeros_like(X), got)


@pytest.mark.parametrize("framework", INSTALLED)
def test_inputs_that_do_not_fit_are_refused_by_name_and_number(framework):
    prepared = backend(framework).prepare(MODEL)
    with pytest.raises(BadInput, match="1 inputs, the model wants 2: x, y"):
        prepared.run([X])
    with pytest.raises(BadInput, match="'z'"):
        prepared.run({"x": X, "z": Y})
    with pytest.raises(BadInput, match="input 'x' is float64"):
        prepared.run([X.astype(np.float64), Y])
    with pytest.raises(UsageError, match="no option 'verbose'"):
        prepared.run([X, Y], verbose=True)


@pytest.mark.parametrize("framework", INSTALLED)
def test_one_node_runs_with_its_types_from_the_arrays(framework):
    split = helper.make_node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2)
    outputs = backend(framework).run_node(split, [X], opset_version=18)
    np.testing.assert_array_equal(X[:, 1:], outputs.b)
    both = helper.make_node("Add", ["x", "x"], ["y"])
    info = [(np.dtype(np.float32), (2, 2))]
    np.testing.assert_array_equal(2 * X, backend(framework).run_node(both, [X], outputs_info=info, opset_version=14).y)
    with pytest.raises(BadInput, match="2 values for Add, whose inputs are x"):
        backend(framework).run_node(both, [X, X], opset_version=14)


def test_a_node_takes_a_sequence_and_refuses_what_has_no_type():
    at = helper.make_node("SequenceAt", ["s", "i"], ["y"])
    (got,) = backend("onnx").run_node(at, [[X, 2 * X], np.array(1)], opset_version=17)
    np.testing.assert_array_equal(2 * X, got)
    with pytest.raises(BadInput, match="input 's' says nothing of its type"):
        backend("onnx").run_node(at, [[], np.array(1)], opset_version=17)


@pytest.mark.parametrize("framework", INSTALLED)
def test_devices_are_written_as_onnx_writes_them(framework):
    found = backend(framework)
    assert found.supports_device("CPU")
    assert not found.supports_device("TPU")
    assert not found.supports_device("CUDA:99999")
    with pytest.raises(UsageError, match="device"):
        found.prepare(MODEL, "TPU")


@pytest.mark.torch
def test_a_model_is_compatible_when_it_can_be_prepared():
    nobody = helper.make_node("Nobody", ["x"], ["y"], domain="org.example")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("org.example", 1)]
    graph = helper.make_graph([nobody], "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    assert backend("torch").is_compatible(MODEL)
    assert not backend("torch").is_compatible(model)
    with pytest.raises(UnsupportedOps, match="org.example::Nobody"):
        backend("torch").prepare(model)


@pytest.mark.parametrize("framework", INSTALLED)
def test_what_is_no_onnx_model_is_refused_by_onnx(framework):
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    model.graph.node[0].input[0] = "nowhere"
    assert not backend(framework).is_compatible(model)
    with pytest.raises(onnx.checker.ValidationError, match="nowhere"):
        backend(framework).prepare(model)


def test_the_module_itself_is_a_backend():
    assert module.is_compatible(MODEL) and module.supports_device("CPU")
    np.testing.assert_array_equal(X + Y, module.run_model(MODEL, [X, Y]).sum)
    with pytest.raises(UnknownFramework, match="'nosuch'"):
        backend("nosuch")
    assert backend("onnx") is backend("onnx")


# ---- the suite


def conformance(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/conformance.py", "--jobs", "1", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800)


@pytest.mark.torch
def test_a_sample_of_the_cases_that_passed_before_passes_still():
    done = conformance("--held", "--every", "4", "--operators", "gemm", "softmax", "slice", "conv", "cast", "reshape")
    assert 0 == done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.torch
def test_every_case_that_passed_before_passes_still():
    done = conformance("--held")
    assert 0 == done.returncode, done.stderr


def test_a_case_that_passed_before_and_does_not_any_more_is_named_and_nothing_is_written(tmp_path):
    listed = "node/test_gemm_all_attributes\nsimple/test_gradient_of_add\n"  # ONNX Runtime has no Gradient
    (tmp_path / "onnx.txt").write_text(listed)
    words = ("--framework", "onnx", "--docs", str(tmp_path), "--groups", "simple", "--only", "gradient")
    done = conformance(*words)
    assert 1 == done.returncode
    assert done.stderr.startswith("simple/test_gradient_of_add passed before: HubError: ONNX Runtime can't open")
    assert [("onnx.txt", listed)] == [(path.name, path.read_text()) for path in tmp_path.iterdir()]


@pytest.mark.slow
@pytest.mark.torch
def test_the_suites_own_runner_takes_the_backend():
    from onnx.backend.test import BackendTest

    tests = BackendTest(backend("torch"), __name__).include("test_(gemm|relu|concat)_").test_cases
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(tests["OnnxBackendNodeModelTest"])
    result = unittest.TestResult()
    suite.run(result)
    assert ([], []) == (result.failures, result.errors)
    assert result.testsRun - len(result.skipped) > 20
