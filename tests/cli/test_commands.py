"""zoo list, search, info, doctor, completion and cache, through the real command."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from zoo import registry
from zoo.entry import plain


def test_list_in_a_pipe_is_fields_with_bare_numbers(zoo):
    rows = {line.split("\t")[0]: line.split("\t") for line in zoo("list").stdout.splitlines()}
    assert [
        "resnet50",
        "image-classification",
        "25557032",
        "102540417",
        "80.858",
        "",
        "",
        "torchvision",
        "ResNet-50",
    ] == rows["resnet50"]
    assert {9} == {len(row) for row in rows.values()}


def test_list_as_json_is_the_whole_entries(zoo):
    found = json.loads(zoo("list", "--task", "ocr", "--json").stdout)
    assert [plain(registry.info("ppocr"))] == found


def test_filters_and_sorting_reach_the_registry(zoo):
    words = ("--task", "image-classification", "--max-params", "30M", "--min-top1", "77", "--sort=-top1")
    names = [line.split("\t")[0] for line in zoo("list", *words).stdout.splitlines()]
    assert ["convnext-tiny", "swin-t", "resnet50", "efficientnet-b0"] == names


def test_a_list_of_nothing_says_so_on_stderr(zoo):
    result = zoo("list", "--max-params", "1")
    assert (0, "", "No model passes these filters.\n") == (result.exit_code, result.stdout, result.stderr)
    assert [] == json.loads(zoo("list", "--max-params", "1", "--json").stdout)


def on_a_terminal(*words: str, columns: int) -> list[str]:
    """The lines that the command writes on a terminal so wide."""
    code = "from zoo.cli.app import main; main()"
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns)}
    process = subprocess.Popen([sys.executable, "-c", code, *words], stdout=theirs, close_fds=True, env=environment)
    os.close(theirs)
    output = b""
    try:
        while chunk := os.read(ours, 4096):
            output += chunk
    except OSError:  # Linux' way to say that the other end has closed
        pass
    assert 0 == process.wait(timeout=60)
    return output.decode().replace("\r\n", "\n").splitlines()


def test_list_on_a_terminal_is_a_table_cut_to_its_width():
    lines = on_a_terminal("list", columns=66)
    assert lines[0].startswith("MODEL ")
    assert {True} == {len(line) <= 66 for line in lines}
    assert any(line.endswith("…") for line in lines)
    assert any("25.6M" in line for line in lines)


def test_search_wants_all_words(zoo):
    names = [line.split("\t")[0] for line in zoo("search", "mobilenet", "timm").stdout.splitlines()]
    assert ["timm/mobilenetv3-large-100"] == names


def test_info_says_who_states_what_and_how_it_is_pinned(zoo):
    card = zoo("info", "vit-b-16").stdout
    assert "CC-BY-NC-4.0 (non-commercial), stated in: https://github.com/facebookresearch/SWAG" in card
    assert "unknown: its publisher states none" in card
    assert "the first 8 hex digits of a SHA-256 (4e70ced5); the first fetch records the whole" in card
    assert "whole SHA-256  sha256:c867db91d3e12c6cbadabb610d73c24a546bf82d8c03a9fea34f43a712ddb0e9" in card
    assert "never fetched and run by Polyzoo" in card
    assert "not pinned" in zoo("info", "timm/resnet50").stdout


def test_info_of_a_model_of_models_names_its_parts(zoo):
    assert "detect: ppocr-v4-det, classify: ppocr-v2-cls, recognise: ppocr-v4-rec" in zoo("info", "ppocr").stdout


def test_info_of_a_variant_shows_that_alone(zoo):
    card = zoo("info", "resnet50:imagenet1k_v1").stdout
    assert "resnet50:imagenet1k-v1" in card
    assert "imagenet1k-v2" not in card


def test_info_says_since_when_a_model_is_gone(zoo, tmp_path, monkeypatch, empty_home):
    files = "{weights: [{path: a, sources: [https://example.org/a]}]}"
    weights = f"{{v1: {{publisher: us, files: {files}, unavailable: 2024-02-01}}}}"
    (tmp_path / "lab.yaml").write_text(f"gone: {{title: A, task: ocr, architecture: a/b, weights: {weights}}}\n")
    monkeypatch.setenv("ZOO_CATALOGS", str(tmp_path))
    assert "unavailable  since 2024-02-01" in zoo("info", "gone").stdout
    assert "(unavailable since 2024-02-01) A" in zoo("search", "gone").stdout


def test_doctor_says_what_is_here_and_what_it_would_enable(zoo, empty_home):
    result = zoo("doctor")
    assert 0 == result.exit_code, result.output
    for word in (
        "onnxruntime",
        "CPUExecutionProvider",
        "torch",
        str(empty_home),
        "writable",
        "built-in",
        "network   on",
    ):
        assert word in result.stdout
    assert {"polyzoo", "frameworks", "devices", "store", "catalogs"} <= json.loads(
        zoo("doctor", "--json").stdout
    ).keys()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ZOO_CATALOGS", "/nowhere/lab.yaml", "/nowhere/lab.yaml: no such file or folder"),
        ("ZOO_HOME", "/proc/nowhere", "the store /proc/nowhere can't be written"),
    ],
)
def test_doctor_says_what_is_wrong_with_exit_code_1(zoo, monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    result = zoo("doctor")
    assert 1 == result.exit_code
    assert words in result.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_the_shell_takes(zoo, shell):
    result = zoo("completion", shell)
    assert 0 == result.exit_code
    assert "_ZOO_COMPLETE" in result.stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("zoo inf", ["info"]),
        ("zoo info resnet", ["resnet50"]),
        ("zoo info resnet50:imagenet1k-v1", ["resnet50:imagenet1k-v1"]),
        ("zoo run minilm-l6 --que", ["--query"]),
        ("zoo cache re", ["remove"]),
    ],
)
def test_a_shell_completes_commands_options_and_names(process, line, expected):
    words = line.split()
    done = process(env={"_ZOO_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)})
    assert expected == [each.partition(",")[2] for each in done.stdout.splitlines()], done.stderr


def test_cache_shows_an_empty_store_without_making_one(zoo, empty_home):
    assert {"blobs": 0, "built": 0, "parts": 0} == json.loads(zoo("cache", "size", "--json").stdout)
    assert [] == json.loads(zoo("cache", "list", "--json").stdout)
    assert f"{empty_home}\n" == zoo("cache", "path").stdout
    assert 0 == zoo("cache", "verify").exit_code
    assert "0 would be deleted\n" == zoo("cache", "prune", "--dry-run").stderr
    assert not empty_home.exists()
