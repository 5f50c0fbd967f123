"""zoo verify, and what zoo info shows of it, through the real command."""

from __future__ import annotations

import json

import onnx
import pytest

TEXT = """<ir_version: 8, opset_import: ["": 17]>
    net (float[N, 64] x) => (float[N, 1] score) {
        [root] roots = Sqrt (x)
        score = [greatest] LAST (roots)
    }""".replace("score = [greatest]", "[greatest] score =")


def model_file(folder, last):
    path = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(TEXT.replace("LAST", last)), path)
    return str(path)


@pytest.mark.torch
def test_bisect_names_the_node_says_where_it_is_saved_and_fails(zoo, tmp_path):
    pytest.importorskip("torch")
    path, out = model_file(tmp_path, "ReduceMax <axes: ints = [1]>"), str(tmp_path / "parting")
    result = zoo("verify", path, "--framework", "torch", "--bisect", "--out", out)
    assert 1 == result.exit_code, result.output
    assert f"{path} in torch parts at ReduceMax 'greatest': 'score' differs by inf" in result.stdout
    assert f"inputs.npz, both results and node.onnx: {out}/torch" in result.stdout


def test_bisect_says_when_nothing_parts(zoo, tmp_path):
    result = zoo(
        "verify", model_file(tmp_path, "ReduceSumSquare <axes: ints = [1]>"), "--framework", "onnx", "--bisect"
    )
    assert (0, "") == (result.exit_code, result.stderr)
    assert "in onnx: no node parts; 2 values of the graph differ by 0.0e+00 at most" in result.stdout


def test_a_folder_without_bisect_is_a_mistake(zoo, tmp_path):
    result = zoo("verify", "resnet50", "--out", str(tmp_path))
    assert (2, True) == (result.exit_code, "Add --bisect." in result.stderr)


@pytest.mark.network
def test_info_shows_the_verdict_on_the_card_and_as_json(zoo, zoo_home):
    assert 0 == zoo("verify", "efficientnet-lite0", "--framework", "onnx").exit_code
    card = zoo("info", "efficientnet-lite0").stdout
    assert "agrees: " in card and "(1e-04 is allowed), top-1 the same for 100 %; from ONNX Runtime" in card
    found = json.loads(zoo("info", "efficientnet-lite0", "--json").stdout)["verdicts"]["imagenet-1k"]
    assert True in [verdict["agrees"] for verdict in found if verdict["framework"] == "onnx"]
    assert {"resnet50"} == {json.loads(zoo("info", "resnet50", "--json").stdout)["name"]}
