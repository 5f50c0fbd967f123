"""zoo.verify over real files: verdicts, where they are kept, and which node is named when frameworks truly differ."""

from __future__ import annotations

import platform
from dataclasses import replace

import numpy as np
import onnx
import pytest

import zoo
from zoo.converters import arrays
from zoo.loaders import resolve
from zoo.verdicts import Verdict, hardware, keep, kept, verdicts_of

# The root of a negative number is no number; torch's maximum of a row with one is none either, ONNX Runtime's skips it.
MAXIMUM = """<ir_version: 8, opset_import: ["": 17]>
    roots (float[N, 64] file) => (float[N, 1] score) {
        doubled = Add (file, file)
        [root] roots = Sqrt (doubled)
        [greatest] largest = ReduceMax <axes: ints = [1]> (roots)
        score = Mul (largest, largest)
    }"""
AGREES = """<ir_version: 8, opset_import: ["": 17]>
    sums (float[N, 8] file) => (float[N, 8] y, int64[2] size) {
        doubled = Add (file, file)
        y = Softmax (doubled)
        size = Shape (y)
    }"""


def model_file(folder, text):
    path = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    return path


@pytest.mark.torch
def test_the_node_where_frameworks_truly_differ_is_named_and_saved_with_its_inputs(tmp_path):
    pytest.importorskip("torch")
    path = model_file(tmp_path, MAXIMUM)
    (verdict,) = zoo.verify(path, ["torch"], bisect=True, out=tmp_path / "parting")
    found = verdict.bisected
    assert (False, "largest", ("ReduceMax 'greatest'",)) == (verdict.agrees, found.value, found.nodes)
    assert (tmp_path / "parting" / "torch", float("inf")) == (found.saved, found.alone)
    given, expected, got = (arrays.load(found.saved / f"{name}.npz") for name in ("inputs", "expected", "got"))
    assert ["roots"] == list(given)
    assert np.isfinite(expected["largest"]).any() and np.isnan(got["largest"]).all()
    again = zoo.runner(found.saved / "node.onnx").run(given)["largest"]
    np.testing.assert_array_equal(np.isnan(expected["largest"]), np.isnan(again))


@pytest.mark.torch
def test_without_a_folder_the_node_is_saved_in_the_store(tmp_path, empty_home):
    pytest.importorskip("torch")
    (verdict,) = zoo.verify(model_file(tmp_path, MAXIMUM), ["torch"], bisect=True)
    assert (empty_home / "built") == verdict.bisected.saved.parent
    names = {path.name for path in verdict.bisected.saved.iterdir()}
    assert {"inputs.npz", "expected.npz", "got.npz", "node.onnx"} == names


def test_where_all_agree_no_node_parts_and_nothing_is_saved(tmp_path):
    (verdict,) = zoo.verify(model_file(tmp_path, AGREES), ["onnx"], bisect=True, out=tmp_path / "parting")
    assert verdict.agrees
    assert (3, None, None) == (verdict.bisected.compared, verdict.bisected.value, verdict.bisected.saved)
    assert not (tmp_path / "parting").exists()


@pytest.mark.torch
def test_a_framework_that_lacks_an_operator_says_so_and_the_reference_is_verified(tmp_path):
    pytest.importorskip("torch")
    path = model_file(
        tmp_path,
        """<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        hash (int32[N, 8] x) => (uint32[N, 8] y) { y = com.microsoft.MurmurHash3 <positive = 1> (x) }""",
    )
    verdicts = {verdict.framework: verdict for verdict in zoo.verify(path)}
    assert verdicts["onnx"].agrees
    assert not verdicts["torch"].agrees and "MurmurHash3" in verdicts["torch"].problem


def test_a_verdict_says_by_what_and_where_it_was_measured(tmp_path):
    (verdict,) = zoo.verify(model_file(tmp_path, AGREES), ["onnx"])
    assert (zoo.__version__, verdict.version) == (verdict.polyzoo, verdict.onnxruntime)
    assert hardware() == verdict.hardware and verdict.hardware.endswith(platform.machine())
    assert 10 == len(verdict.date)


FOUND = Verdict("efficientnet-lite0:imagenet-1k", "onnx", "1.0", True, 3e-6, 4e-7, 1.0, 1e-4, date="2026-11-24")


@pytest.mark.network
def test_a_verdict_is_kept_for_just_these_versions_and_shown(zoo_home):
    zoo.pull("efficientnet-lite0")
    zoo.verify("efficientnet-lite0", ["onnx"])
    (verdict,) = (v for v in kept(resolve("efficientnet-lite0")) if v.framework == "onnx")
    assert verdict.agrees and verdict.max_relative < 1e-4
    assert verdict in verdicts_of(zoo.info("efficientnet-lite0"))["imagenet-1k"]


@pytest.mark.network
def test_a_changed_model_s_verdict_is_not_kept_as_the_published_one_s(zoo_home, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_SHARED", str(zoo_home))
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    before = list(kept(resolve("efficientnet-lite0")))
    zoo.verify("efficientnet-lite0", ["onnx"], num_classes=3)
    assert before == list(kept(resolve("efficientnet-lite0")))


def test_what_has_no_figures_or_is_of_no_entry_is_not_kept(empty_home, tmp_path):
    keep(resolve("efficientnet-lite0"), replace(FOUND, problem="it crashed"))
    keep(resolve(model_file(tmp_path, AGREES)), FOUND)
    keep(resolve("efficientnet-lite0"), FOUND)  # whose weights are not stored
    assert [] == list(kept(resolve("efficientnet-lite0")))
    assert not (empty_home / "built").exists()
    assert {"imagenet-1k": []} == verdicts_of(zoo.info("efficientnet-lite0"))
