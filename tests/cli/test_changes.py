"""The options that change a model, through the real command."""

from __future__ import annotations

import pytest

CONVERT = ("convert", "efficientnet-lite0", "--to", "onnx", "-o")


def test_a_changed_model_is_written(zoo, tmp_path, zoo_home):
    out = tmp_path / "a.onnx"
    result = zoo(*CONVERT, str(out), "--num-classes", "3", "--in-chans", "1", "--input-size", "96x128")
    assert (0, "") == (result.exit_code, result.stderr)
    report = zoo("inspect", str(out), "--json").stdout
    assert '"shape": ["batch", 1, 96, 128]' in report
    assert '"shape": ["batch", 3]' in report


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--input-size", "12y"), "expected 384 or 256x320 (height x width), got '12y'"),
        (("--num-classes", "-3"), "-3 is not in the range x>=0"),
        (("--input-size", "0"), "input_size=0: expected a whole number from 1"),
        (("--outputs", "block.2"), "no module, output or value 'block.2'. Did you mean 'blocks.2'"),
        (("--outputs", "blocks.2", "--outputs", "blocks.2"), "'blocks.2' stands there twice"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(words, said, zoo, tmp_path, zoo_home):
    result = zoo(*CONVERT, str(tmp_path / "a.onnx"), *words)
    assert (2, "") == (result.exit_code, result.stdout)
    assert said in result.stderr
    assert not (tmp_path / "a.onnx").exists()


def test_running_without_a_head_gives_features_which_have_no_best(zoo, zoo_home):
    from importlib.resources import files

    photo = str(files("zoo") / "samples" / "coffee.jpg")
    assert "float32 [1280]" in zoo("run", "efficientnet-lite0", photo, "--num-classes", "0").stdout
    result = zoo("run", "efficientnet-lite0", photo, "--num-classes", "0", "--top", "3")
    assert (2, "") == (result.exit_code, result.stdout)
    assert "--top is for what has a best" in result.stderr
