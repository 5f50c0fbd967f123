"""num_classes, in_chans, input_size and outputs on real architectures, beside the publishers' own."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
import yaml

import zoo
from zoo import architectures, loaders
from zoo.changes import Surgery, checked, prepared_for
from zoo.errors import UnknownOutput, UsageError

PHOTO = str(files("zoo") / "samples" / "coffee.jpg")
RECIPES = yaml.safe_load((architectures.HERE / "recipes.yaml").read_text())
PICTURES = [name for name, recipe in RECIPES.items() if "size" in recipe and not name.startswith("keras/")]
BAKED = ("torchvision/swin_t", "timm/swin_tiny_patch4_window7_224")


@pytest.fixture(scope="module")
def lite0(zoo_home):
    return zoo.pull("efficientnet-lite0")[0]


# ---- what is asked for


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_clases": 3}, "unknown change 'num_clases'"),
        ({"num_classes": -1}, "num_classes=-1: expected a whole number from 0"),
        ({"num_classes": True}, "num_classes=True: expected a whole number"),
        ({"num_classes": 2.5}, "num_classes=2.5: expected a whole number"),
        ({"in_chans": 0}, "in_chans=0: expected a whole number from 1"),
        ({"input_size": "384"}, "input_size='384': expected a whole number"),
        ({"input_size": (1, 2, 3)}, "expected one number, or height and width"),
        ({"input_size": (224, 0)}, "input_size=0: expected a whole number from 1"),
        ({"outputs": "layer3"}, "outputs='layer3': expected a list of names.*outputs=.'layer3'."),
        ({"outputs": []}, "expected a list of names"),
        ({"outputs": ["a", 3]}, "expected a list of names"),
        ({"outputs": ["a", "a"]}, "'a' stands there twice"),
    ],
)
def test_changes_that_cannot_be_are_said_in_words(changes, words):
    with pytest.raises(UsageError, match=words):
        checked(changes)


def test_numpys_numbers_are_numbers():
    assert Surgery(num_classes=3, input_size=(8, 9)) == checked({"num_classes": np.int64(3), "input_size": [8, 9]})


@pytest.mark.parametrize(
    ("name", "changes", "error", "words"),
    [
        ("swin-t", {"input_size": 256}, UsageError, "made for 224 x 224 and has that baked into Reshape"),
        ("resnet50", {"outputs": ["layer33"]}, UnknownOutput, "no module, output or value 'layer33'.*'layer3'"),
        ("resnet50", {"num_classes": 3, "outputs": ["layer3"]}, UsageError, "makes a new head, 'fc.weight'"),
        ("resnet50", {"input_size": 4, "in_chans": 2, "outputs": ["fc.0"]}, UnknownOutput, "value 'fc.0'"),
        ("minilm-l6", {"num_classes": 3}, UsageError, "is for sentence-embedding, which tells no classes apart"),
        ("minilm-l6", {"input_size": 64}, UsageError, "is for a model that takes one picture"),
        ("ppocr", {"input_size": 64}, UsageError, "input_size: 'ppocr' is made of other models"),
    ],
)
@pytest.mark.parametrize("verb", ["load", "runner", "predictor"])
def test_it_fails_before_a_byte_is_fetched(verb, name, changes, error, words, empty_home, monkeypatch):
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    ask = getattr(zoo, verb)
    with pytest.raises(error, match=words):
        ask(name, "onnx", **changes)
    assert not (empty_home / "blobs").exists()


# ---- through the verbs


def test_a_new_head_has_no_labels_and_a_new_size_the_same_answer(lite0):
    answer = zoo.predictor("efficientnet-lite0", num_classes=4)(PHOTO)
    assert str(answer).splitlines()[0].startswith("class ")
    assert "espresso" in str(zoo.predictor("efficientnet-lite0", input_size=260)(PHOTO)).splitlines()[0]
    assert "espresso" in str(zoo.predictor("efficientnet-lite0", num_classes=1000)(PHOTO)).splitlines()[0]


def test_without_a_head_and_with_inner_outputs_answers_are_features(lite0):
    features = zoo.predictor("efficientnet-lite0", num_classes=0)(PHOTO)
    assert ["(1280,)"] == [str(array.shape) for array in features.outputs.values()]
    inner = zoo.predictor("efficientnet-lite0", outputs=["blocks.2", "classifier"])(PHOTO)
    assert {"blocks.2": (40, 28, 28), "classifier": (1000,)} == {k: v.shape for k, v in inner.outputs.items()}


def test_each_change_is_built_under_a_key_of_its_own(lite0):
    asked = ({}, {"num_classes": 3}, {"num_classes": 4}, {"in_chans": 1}, {"input_size": 96}, {"outputs": ["blocks.1"]})
    folders = {loaders._built(loaders.resolve("efficientnet-lite0", **changes)) for changes in asked}
    assert len(asked) == len(folders)


def test_verify_runs_the_changed_model_in_the_other_framework(lite0):
    asked = {"num_classes": 3, "in_chans": 4, "input_size": (96, 128), "outputs": ["blocks.2", "classifier"]}
    (verdict,) = zoo.verify("efficientnet-lite0", ["torch"], **asked)
    assert verdict.agrees, verdict


def test_convert_writes_the_changed_model(lite0, tmp_path):
    made = zoo.convert(
        "efficientnet-lite0", "onnx", tmp_path / "a.onnx", num_classes=3, in_chans=1, input_size=(96, 128)
    )
    runner = zoo.runner(made.path)
    assert [("batch", 1, 96, 128)] == [spec.shape for spec in runner.inputs]
    assert [("batch", 3)] == [spec.shape for spec in runner.outputs]


def test_a_model_file_is_changed_too(lite0, tmp_path):
    path = zoo.convert("efficientnet-lite0", "onnx", tmp_path / "a.onnx").path
    runner = zoo.runner(path, num_classes=7)
    assert [("batch", 7)] == [spec.shape for spec in runner.outputs]


# ---- preprocessing


@pytest.mark.parametrize(
    ("image", "size", "expected"),
    [
        ({"size": [224, 224], "resize": 256}, (448, 448), {"size": [448, 448], "resize": 512}),
        ({"size": [224, 224], "resize": 232}, (384, 384), {"size": [384, 384], "resize": 397}),
        ({"size": [224, 224], "resize": 256}, (224, 448), {"size": [224, 448], "resize": 512}),
        ({"size": [224, 224], "crop": 0.875}, (288, 288), {"size": [288, 288], "crop": 0.875}),
        ({"size": [224, 224], "crop": 0.875, "resize": 256}, (288, 288), {"size": [288, 288], "crop": 0.875}),
        ({"size": [64, 64], "resize": [64, 64]}, (32, 128), {"size": [32, 128], "resize": [32, 128]}),
        ({"size": [48, None], "mode": "line"}, (48, 320), {"size": [48, 320], "mode": "line"}),
    ],
)
def test_resizing_follows_the_size(image, size, expected):
    assert expected == prepared_for({"input": {"image": image}}, Surgery(input_size=size))["input"]["image"]


def test_preprocessing_is_refused_where_the_publishers_can_not_make_it(lite0):
    with pytest.raises(UsageError, match="in_chans=1: the publisher's preprocessing is of 3 channels.*zoo.runner"):
        zoo.processor("efficientnet-lite0", in_chans=1)
    with pytest.raises(UsageError, match="gives each picture a size of its own"):
        prepared_for({"input": {"image": {"mode": "free"}}}, Surgery(input_size=(64, 64)))


# ---- beside the publishers' own


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """name -> (publisher's module with seeded weights, his file), the last one kept."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from zoo.architectures import make

    made, folder = {}, tmp_path_factory.mktemp("published")

    def get(name):
        if name not in made:
            source, path = make.build(name, RECIPES[name]), folder / "weights.pth"
            torch.save(source.module.state_dict(), path)
            made.clear()
            made[name] = source.module, path
        return made[name]

    return get


def theirs(name, ours, **settings):
    """The publisher's own module with these settings and our weights, key for key."""
    publisher, model = name.split("/")
    if publisher == "timm":
        made = pytest.importorskip("timm").create_model(model, **settings)
    else:
        made = pytest.importorskip("torchvision").models.get_model(model, weights=None, **settings)
    made.load_state_dict(ours.state_dict(), strict=True)
    assert [path for path, _ in made.named_modules()] == [path for path, _ in ours.named_modules()]
    return made.eval()


def compare(ours, expected, x):
    import torch

    with torch.no_grad():
        got, want = ours(x), expected(x)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4 * float(want.abs().max()))


def check_head(name, path):
    import torch

    torch.manual_seed(0)
    x = torch.randn(2, 3, RECIPES[name]["size"], RECIPES[name]["size"])
    ours = zoo.load(path, "torch", architecture=name, num_classes=10)
    compare(ours, theirs(name, ours, num_classes=10), x)
    if name.startswith("timm/"):
        ours = zoo.load(path, "torch", architecture=name, num_classes=0)
        compare(ours, theirs(name, ours, num_classes=0), x)


def check_stem(name, module, path):
    import torch

    for channels in (1, 5):
        ours = zoo.load(path, "torch", architecture=name, in_chans=channels)
        x = torch.randn(2, channels, RECIPES[name]["size"], RECIPES[name]["size"])
        if name.startswith("timm/"):
            import timm

            (stem,) = [
                key for key, tensor in ours.state_dict().items() if tensor.shape != module.state_dict()[key].shape
            ]
            expected = timm.models.adapt_input_conv(channels, module.state_dict()[stem])
            torch.testing.assert_close(ours.state_dict()[stem], expected, rtol=1e-6, atol=1e-7)
            compare(ours, theirs(name, ours, in_chans=channels), x)
        grey = x[:, :1]
        if channels == 1:  # what the published model gives of the same picture in colour
            compare(lambda y, ours=ours: ours(y[:, :1]), module, grey.expand(-1, 3, -1, -1))


def check_untouched(name, module, path):
    import torch

    ours = zoo.load(path, "torch", architecture=name, num_classes=10, in_chans=1).state_dict()
    expected = module.state_dict()
    assert list(expected) == list(ours)
    same = [key for key in expected if expected[key].shape == ours[key].shape]
    assert len(expected) - 3 <= len(same)
    assert all(torch.equal(expected[key], ours[key]) for key in same)


def check_outputs(name, module, path):
    import torch

    x = torch.randn(2, 3, RECIPES[name]["size"], RECIPES[name]["size"])
    ours = zoo.load(path, "torch", architecture=name)
    candidates = [p for p, m in ours.named_modules() if p and p.count(".") < 2 and isinstance(m, torch.fx.GraphModule)]
    asked = candidates[:: max(1, len(candidates) // 4)]
    seen = {}
    hooks = [
        module.get_submodule(p).register_forward_hook(lambda m, args, out, p=p: seen.setdefault(p, out)) for p in asked
    ]
    with torch.no_grad():
        module(x)
    for hook in hooks:
        hook.remove()
    runner = zoo.runner(path, architecture=name, outputs=asked)
    got = runner.run({runner.inputs[0].name: x.numpy()})
    assert asked == list(got)
    for p in asked:
        torch.testing.assert_close(torch.from_numpy(got[p]), seen[p], rtol=1e-3, atol=1e-4 * float(seen[p].abs().max()))
    inner = zoo.load(path, "torch", architecture=name, outputs=[asked[0]])
    with torch.no_grad():
        compare(inner, lambda y: seen[asked[0]], x)
    assert set(inner.state_dict()) < set(module.state_dict())


def check_size(name, path):
    import torch

    size = RECIPES[name]["size"]
    for asked in (size + 64, (size - 32, size + 96)):
        if name in BAKED:
            with pytest.raises(UsageError, match="has that baked into Reshape"):
                zoo.runner(path, architecture=name, input_size=asked)
            continue
        hw = (asked, asked) if isinstance(asked, int) else asked
        ours = zoo.load(path, "torch", architecture=name, input_size=asked)
        x = torch.randn(2, 3, *hw)
        side = {"img_size": hw} if name.startswith("timm/vit") else {"image_size": hw[0]} if "vit" in name else {}
        if hw[0] == hw[1] or "image_size" not in side:  # torchvision's transformer takes squares alone
            compare(ours, theirs(name, ours, **side), x)
        runner = zoo.runner(path, architecture=name, input_size=asked)
        assert hw == runner.inputs[0].shape[2:]
        got = torch.from_numpy(runner.run({runner.inputs[0].name: x.numpy()})["logits"])
        compare(ours, lambda y, got=got: got, x)


def test_a_small_architecture_is_what_timm_makes_of_it(published):
    module, path = published("timm/tf_efficientnet_lite0")
    check_head("timm/tf_efficientnet_lite0", path)
    check_stem("timm/tf_efficientnet_lite0", module, path)


def test_inner_outputs_are_what_hooks_on_the_publishers_modules_see(published):
    module, path = published("torchvision/mobilenet_v3_small")
    check_outputs("torchvision/mobilenet_v3_small", module, path)


def test_tensorflows_padding_follows_the_size_as_timms_own_does(published):
    _, path = published("timm/tf_efficientnet_lite0")
    check_size("timm/tf_efficientnet_lite0", path)


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_every_architecture_is_what_its_publisher_makes_of_it(name, published):
    module, path = published(name)
    check_head(name, path)
    check_stem(name, module, path)
    check_untouched(name, module, path)
    check_outputs(name, module, path)
    check_size(name, path)
