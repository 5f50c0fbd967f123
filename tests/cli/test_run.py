"""zoo run, pull, inspect, convert, verify, lock and bundle, on small models of our own and on real ones."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SENTENCES = str(ROOT / "zoo" / "samples" / "sentences.txt")


def colours_onnx() -> bytes:
    """Picture [N, 3, H, W] to the probabilities of red, green and blue: a softmax over the mean of each channel."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Mul", ["flat", "sharp"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])
    sharp = numpy_helper.from_array(np.array([10, 10, 10], np.float32), "sharp")
    graph = helper.make_graph(nodes, "colours", [image], [logits], [sharp])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def words_onnx() -> bytes:
    """Token ids [N, T] to states [N, T, 4]: a row of a table each."""
    table = numpy_helper.from_array(np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32), "table")
    ids, mask = (
        helper.make_tensor_value_info(n, TensorProto.INT64, ["n", "t"]) for n in ("input_ids", "attention_mask")
    )
    nodes = [
        helper.make_node("Cast", ["attention_mask"], ["kept"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["kept", "last"], ["column"]),
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Mul", ["rows", "column"], ["states"]),
    ]
    last = numpy_helper.from_array(np.array([2]), "last")
    states = helper.make_tensor_value_info("states", TensorProto.FLOAT, ["n", "t", 4])
    graph = helper.make_graph(nodes, "words", [ids, mask], [states], [table, last])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


TOKENIZER = {
    "version": "1.0",
    "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "Whitespace"},
    "model": {
        "type": "WordLevel",
        "vocab": {"[PAD]": 0, "[UNK]": 1, "bees": 2, "honey": 3, "money": 4, "back": 5},
        "unk_token": "[UNK]",
    },
}


@pytest.fixture
def small(tmp_path, monkeypatch, empty_home) -> Path:
    """A folder with pictures and texts, and a catalog of two small models that counts."""
    files = {
        "colours.onnx": colours_onnx(),
        "words.onnx": words_onnx(),
        "tokenizer.json": json.dumps(TOKENIZER).encode(),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)

    def file(name: str) -> str:
        digest = hashlib.sha256(files[name]).hexdigest()
        return f"[{{path: {name}, digest: 'sha256:{digest}', sources: ['file:{tmp_path / name}']}}]"

    (tmp_path / "lab.yaml").write_text(
        f"""\
colours:
  title: Red, green or blue
  task: image-classification
  weights:
    v1:
      publisher: us
      license: {{weights: MIT}}
      files: {{model: {file("colours.onnx")}}}
      input: {{image: {{size: [8, 8], mode: squash, interpolation: bilinear, mean: [0, 0, 0], std: [1, 1, 1]}}}}
words:
  title: Words
  task: sentence-embedding
  weights:
    v1:
      publisher: us
      files: {{model: {file("words.onnx")}, tokenizer: {file("tokenizer.json")}}}
      input: {{text: {{max_length: 16}}}}
      output: {{pooling: mean, normalize: l2}}
"""
    )
    monkeypatch.setenv("ZOO_CATALOGS", str(tmp_path / "lab.yaml"))
    pictures = tmp_path / "pictures"
    (pictures / "within").mkdir(parents=True)
    for name, colour in (("1-red.png", (255, 0, 0)), ("2-blue.jpg", (0, 0, 255)), ("within/3-green.bmp", (0, 255, 0))):
        Image.new("RGB", (20, 10), colour).save(pictures / name)
    (pictures / "notes.txt").write_text("bees\n\n  money back \n")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_one_picture_gives_one_answer(zoo, small):
    result = zoo("run", "colours", str(small / "pictures" / "1-red.png"), "--top", "1")
    assert (0, "") == (result.exit_code, result.stderr)
    assert result.stdout.startswith("class 0")
    assert 1 == len(result.stdout.splitlines())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("pictures",), [("pictures/1-red.png", 0), ("pictures/2-blue.jpg", 2)]),
        (("pictures/*.png",), [("pictures/1-red.png", 0)]),
        (("pictures/**/*.bmp",), [("pictures/within/3-green.bmp", 1)]),
        (("pictures/2-blue.jpg", "pictures/1-red.png"), [("pictures/2-blue.jpg", 2), ("pictures/1-red.png", 0)]),
    ],
)
def test_folders_and_globs_are_inputs_and_json_is_a_line_each(zoo, small, monkeypatch, words, expected):
    monkeypatch.chdir(small)
    result = zoo("run", "colours", *words, "--json")
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert 0 == result.exit_code, result.stderr
    assert expected == [(answer["input"], answer["scores"][0]["index"]) for answer in answers]


def test_several_answers_stand_under_the_names_of_their_inputs(zoo, small, monkeypatch):
    monkeypatch.chdir(small)
    lines = zoo("run", "colours", "pictures", "--top", "1").stdout.splitlines()
    assert ["pictures/1-red.png", "pictures/2-blue.jpg"] == lines[::2]
    assert ["  class 0", "  class 2"] == [line[:9] for line in lines[1::2]]


def test_a_picture_comes_from_stdin(zoo, small):
    data = (small / "pictures" / "2-blue.jpg").read_bytes()
    answer = json.loads(zoo("run", "colours", "-", "--json", stdin=data).stdout)
    assert ("-", 2) == (answer["input"], answer["scores"][0]["index"])


def test_one_bad_picture_among_many_is_reported_and_the_others_answered(zoo, small, monkeypatch):
    monkeypatch.chdir(small)
    (small / "pictures" / "1-bad.png").write_bytes(b"no picture")
    result = zoo("run", "colours", "pictures", "--top", "1", "--json")
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert (1, 1) == (result.exit_code, len(result.stderr.splitlines()))
    assert result.stderr.startswith("BadInput: pictures/1-bad.png: not an image")
    assert ["error", "scores", "scores"] == [next(key for key in answer if key != "input") for answer in answers]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("colours", "{0}/empty"), 2, "BadInput: {0}/empty: no picture in this folder."),
        (("colours", "{0}/*.gif"), 2, "BadInput: {0}/*.gif: matches no file"),
        (("colours", "{0}/nothing.png"), 2, "BadInput: {0}/nothing.png: no such file or folder"),
        (("colours", "{0}/pictures/notes.txt"), 2, "BadInput: {0}/pictures/notes.txt: not an image"),
        (("colours", "{0}/pictures/1-red.png", "--query", "x"), 2, "BadInput: --query ranks texts"),
        (("colours", "{0}/pictures/1-red.png", "--save", "x.png"), 2, "BadInput: --save draws boxes on a picture"),
        (
            ("colours", "{0}/pictures/1-red.png", "--framework", "tourch"),
            2,
            "UnknownFramework: unknown framework 'tourch'.",
        ),
        (
            ("colours", "{0}/pictures/1-red.png", "--device", "cuda:7"),
            2,
            "UsageError: device 'cuda:7' is not available",
        ),
        (("colours", "-"), 2, "BadInput: stdin is empty"),
        (("words", "-"), 2, "BadInput: stdin: no text in it"),
        (("words", "word"), 2, "BadInput: word: no such file or folder. A text itself has a blank in it"),
        (("words", "{0}/empty"), 2, "BadInput: {0}/empty: no text file in this folder"),
        (("words", "{0}/colours.onnx"), 2, "BadInput: {0}/colours.onnx: not UTF-8 text"),
        (("words", "two words", "--top", "3"), 2, "BadInput: --top is for what has a best"),
        (("colour", "{0}/pictures/1-red.png"), 2, "UnknownModel: unknown model 'colour'. Did you mean 'colours'?"),
        (("{0}/colours.onnx", "{0}/pictures/1-red.png"), 2, "BadInput: {0}/colours.onnx: a model file does not say"),
    ],
)
def test_what_can_not_be_run_is_one_line_and_an_exit_code(zoo, small, words, code, message):
    result = zoo("run", *(word.format(small) for word in words))
    assert (code, "") == (result.exit_code, result.stdout), result.stderr
    assert result.stderr.startswith(message.format(small)), result.stderr
    assert 1 == len(result.stderr.splitlines())


def test_texts_come_from_files_from_stdin_and_from_the_command_line(zoo, small):
    notes = str(small / "pictures" / "notes.txt")
    answers = [json.loads(line) for line in zoo("run", "words", notes, "honey bees", "--json").stdout.splitlines()]
    assert ["bees", "money back", "honey bees"] == [answer["input"] for answer in answers]
    answers = [
        json.loads(line) for line in zoo("run", "words", "-", "--json", stdin="bees\nhoney\n").stdout.splitlines()
    ]
    assert [("bees", 4), ("honey", 4)] == [(answer["input"], len(answer["embedding"])) for answer in answers]


def test_a_query_ranks_the_texts(zoo, small):
    notes = str(small / "pictures" / "notes.txt")
    ranked = json.loads(zoo("run", "words", "--query", "back money", notes, "--json").stdout)
    assert ("back money", ["money back", "bees"]) == (ranked["query"], [each["text"] for each in ranked["ranked"]])
    assert ["1.000  money back"] == [
        s.strip() for s in zoo("run", "words", "--query", "money back", notes, "--top", "1").stdout.splitlines()
    ]


def test_pull_says_the_licence_and_the_paths(zoo, small):
    result = zoo("pull", "colours")
    assert "colours:v1  licence: MIT, publisher: us\n" == result.stderr
    assert (small / "colours.onnx").read_bytes() == Path(result.stdout.strip()).read_bytes()
    assert "none stated by its publisher" in zoo("pull", "words").stderr


def test_the_store_is_looked_after(zoo, small, empty_home):
    zoo("pull", "colours", "words")
    stored = {each["name"]: each for each in json.loads(zoo("cache", "list", "--json").stdout)}
    assert {"colours:v1", "words:v1"} == stored.keys()
    assert "(stored)" in zoo("info", "colours").stdout
    assert 0 == zoo("cache", "verify").exit_code
    blob = Path(zoo("pull", "colours").stdout.strip())
    blob.chmod(0o600)
    blob.write_bytes(blob.read_bytes()[:-1] + b"\0")
    damaged = zoo("cache", "verify")
    assert (1, True) == (damaged.exit_code, str(blob) in damaged.stdout)
    assert 0 == zoo("cache", "remove", "colours").exit_code
    assert not blob.exists()
    assert "(not fetched yet)" in zoo("info", "colours").stdout
    assert ["words:v1"] == [each["name"] for each in json.loads(zoo("cache", "list", "--json").stdout)]


def test_a_project_is_held_to_its_lock(zoo, small, monkeypatch):
    (small / "project").mkdir()
    monkeypatch.chdir(small / "project")
    assert f"{small}/project/zoo.lock\n" == zoo("lock", "colours", "words").stdout
    assert {"colours:v1", "words:v1"} == json.loads(Path("zoo.lock").read_text())["models"].keys()
    (small / "colours.onnx").write_bytes(b"another file")
    text = (small / "lab.yaml").read_text()
    digest = hashlib.sha256(colours_onnx()).hexdigest()
    (small / "lab.yaml").write_text(text.replace(digest, hashlib.sha256(b"another file").hexdigest()))
    result = zoo("pull", "colours")
    assert 1 == result.exit_code
    assert "DigestMismatch: colours:v1: " in result.stderr


def test_a_bundle_brings_models_to_a_machine_without_network_or_catalog(zoo, small, tmp_path, monkeypatch):
    kit = str(tmp_path / "kit.tar")
    assert 0 == zoo("bundle", "words", "colours", "-o", kit).exit_code
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.delenv("ZOO_CATALOGS")
    assert "words:v1\ncolours:v1\n" == zoo("unbundle", kit).stdout
    (small / "words.onnx").unlink()
    assert 0 == zoo("run", "words", "money back").exit_code
    assert "1.000  money back" in zoo("run", "words", "--query", "back money", "money back").stdout


def test_inspect_says_what_a_file_is(zoo, small):
    report = zoo("inspect", str(small / "colours.onnx")).stdout
    for words in ("onnx, model", "image  float32 [n, 3, 8, 8]", "logits  float32 [n, 3]", "GlobalAveragePool x1", "17"):
        assert words in report
    assert "keras: yes" in report
    assert "onnx" == json.loads(zoo("inspect", str(small / "colours.onnx"), "--json").stdout)["format"]
    bad = zoo("inspect", str(small / "pictures" / "notes.txt"))
    assert (2, True) == (bad.exit_code, bad.stderr.startswith("UnknownFormat: "))


def test_formats_says_how_a_framework_has_each_operator(zoo):
    rows = dict(line.split() for line in zoo("formats", "--ops", "torch").stdout.splitlines()[1:])
    assert ("own", "expanded", "own") == (rows["Conv"], rows["com.microsoft::FusedMatMul"], rows["zoo::Linear"])
    assert {*rows.values()} <= {"own", "expanded", "no"}
    unknown = zoo("formats", "--ops", "tourch")
    assert (2, True) == (unknown.exit_code, unknown.stderr.startswith("UnknownFramework: "))


def test_convert_writes_a_checked_file(zoo, small):
    out = small / "out.onnx"
    result = zoo("convert", "colours", "--to", "onnx", "-o", str(out), "--json")
    made = json.loads(result.stdout)
    assert (str(out), True) == (made["path"], made["agreement"]["agrees"])
    onnx.checker.check_model(onnx.load(out))
    assert "checked: " in zoo("convert", "words", "--to", "onnx", "-o", str(out)).stdout


def test_convert_of_what_can_not_be_leaves_nothing(zoo, small):
    for words in (
        ("colours", "--to", "tourch"),
        ("colours", "--to", "onnx", "--dtype", "float99"),
        ("colour", "--to", "onnx"),
    ):
        assert 2 == zoo("convert", *words, "-o", str(small / "out" / "x.onnx")).exit_code
    assert not (small / "out").exists() or [] == list((small / "out").iterdir())


def test_verify_compares_the_frameworks(zoo, small):
    result = zoo("verify", "colours", "--framework", "onnx", "--json")
    (verdict,) = json.loads(result.stdout)
    assert (0, "onnx", True) == (result.exit_code, verdict["framework"], verdict["agrees"])
    assert "agrees" in zoo("verify", "colours", "--framework", "onnx").stdout


def test_what_is_fetched_runs_offline(zoo, small, monkeypatch):
    zoo("pull", "colours")
    (small / "colours.onnx").unlink()
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    assert 0 == zoo("run", "colours", str(small / "pictures" / "1-red.png")).exit_code


@pytest.mark.network
def test_a_photograph_is_named_and_sentences_are_ranked(zoo, zoo_home):
    ranked = json.loads(zoo("run", "minilm-l6", "--query", "how do I get my money back", SENTENCES, "--json").stdout)
    assert "You can ask for a refund within thirty days of your purchase." == ranked["ranked"][0]["text"]
    again = json.loads(
        zoo("run", "paraphrase-minilm-l3", "--query", "how do I get my money back", SENTENCES, "--json").stdout
    )
    assert ranked["ranked"][0]["text"] == again["ranked"][0]["text"]


@pytest.mark.network
def test_text_in_a_picture_is_read_and_its_boxes_are_drawn(zoo, zoo_home, tmp_path):
    from PIL import ImageDraw, ImageFont

    page = Image.new("RGB", (640, 200), "white")
    ImageDraw.Draw(page).text((40, 60), "Invoice 2048", fill="black", font=ImageFont.load_default(64))
    page.save(tmp_path / "page.png")
    result = zoo("run", "ppocr", str(tmp_path / "page.png"), "--save", str(tmp_path / "boxes.png"), "--json")
    assert "Invoice 2048" == json.loads(result.stdout)["text"]
    with Image.open(tmp_path / "boxes.png") as drawn:
        assert drawn.size == page.size
        assert np.asarray(drawn.convert("RGB")).tobytes() != np.asarray(page).tobytes()


def test_a_terminal_that_is_gone_is_no_error(small):
    code = "from zoo.cli.app import main; main()"
    line = f"{sys.executable} -c '{code}' run colours {small}/pictures | head -n 1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, env=os.environ, check=False)
    assert "" == done.stderr
    assert 1 == len(done.stdout.splitlines())
