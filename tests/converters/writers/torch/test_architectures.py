"""Every architecture of the registry: the publisher's module with seeded weights, in his own file, opened by us."""

from __future__ import annotations

import copy
import pickle

import pytest
import yaml

import zoo
from zoo import architectures
from zoo.converters.verify import compare

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

RECIPES = {
    name: recipe
    for name, recipe in yaml.safe_load((architectures.HERE / "recipes.yaml").read_text()).items()
    if not name.startswith("keras/")  # tests/zoo/test_keras_architectures.py
}
LIGHT = [
    "timm/tf_efficientnet_lite0",
    "torchvision/mobilenet_v3_small",
    "torchvision/resnet50",
    "timm/efficientnet_b0",
    "hf/minilm-l6",
]
RENAMED = {
    "LayerNorm2d",
    "BatchNormAct2d",
    "Conv2dSame",
    "DropPath",
    "Under",
    "NonDynamicallyQuantizableLinear",
}  # of timm's and ours: torch's own stand there


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """name -> (publisher's module, example inputs, his file), made once."""
    from zoo.architectures import make

    made, folder = {}, tmp_path_factory.mktemp("published")

    def get(name):
        if name not in made:
            source = make.build(name, RECIPES[name])
            path = folder / f"{name.replace('/', '-')}.pth"
            torch.save(source.module.state_dict(), path)
            made.clear()  # one at a time: they are large
            made[name] = source, path
        return made[name]

    return get


def outputs(module, kwargs):
    with torch.no_grad():
        made = module(**kwargs)
    return list(made.values()) if isinstance(made, dict) else [made]


@pytest.mark.parametrize("name", RECIPES)
def test_numbers_names_and_tree_are_the_publishers(name, published):
    source, path = published(name)
    module = zoo.load(path, framework="torch", architecture=name)
    state, expected = module.state_dict(), source.module.state_dict()
    assert list(expected) == list(state)
    assert all(torch.equal(expected[key], state[key]) for key in expected)
    theirs, ours = dict(source.module.named_modules()), dict(module.named_modules())
    assert list(theirs) == list(ours)
    differ = {type(theirs[p]).__name__ for p in theirs if ours[p]._get_name() != type(theirs[p]).__name__}
    assert differ <= RENAMED
    with torch.no_grad():
        got = module(*source.kwargs.values())
    for want, have in zip(
        outputs(source.module, source.kwargs), got.values() if isinstance(got, dict) else [got], strict=True
    ):
        torch.testing.assert_close(
            have, want, rtol=1e-4, atol=1e-4
        )  # the bound; they are equal to the last bits


@pytest.mark.parametrize("name", LIGHT)
def test_it_agrees_with_onnx_runtime_at_another_batch_and_size(name, published):
    source, path = published(name)
    from zoo.architectures.make import _resized

    feeds = {k: _resized(x, 3, 1, source.free[k]) for k, x in source.kwargs.items()}
    arrays = {k: v.numpy() for k, v in feeds.items()}
    onnx, ours = (zoo.runner(path, framework, architecture=name).run(arrays) for framework in ("onnx", "torch"))
    found = compare(onnx, ours)  # of the largest magnitude: random weights make logits of hundreds
    assert found.agrees, found


@pytest.mark.parametrize("name", LIGHT)
def test_copies_keep_everything(name, published):
    source, path = published(name)
    module = zoo.load(path, framework="torch", architecture=name)
    module.register_forward_hook(lambda m, args, out: None) if name == LIGHT[0] else None
    inputs = tuple(source.kwargs.values())
    want = module(*inputs)
    copies = [copy.deepcopy(module)]
    if name != LIGHT[0]:  # a lambda can't be pickled, with torch's own modules either
        copies.append(pickle.loads(pickle.dumps(module)))
    for one in copies:
        assert list(module.state_dict()) == list(one.state_dict())
        assert [p for p, _ in module.named_modules()] == [p for p, _ in one.named_modules()]
        assert [m._get_name() for m in module.modules()] == [m._get_name() for m in one.modules()]
        torch.testing.assert_close(one(*inputs), want, rtol=0, atol=0)
        parameter, twin = next(module.parameters()), next(one.parameters())
        assert parameter.data_ptr() != twin.data_ptr()


def backward(module, kwargs):
    made = module(*kwargs.values())
    (next(iter(made.values())) if isinstance(made, dict) else made).square().mean().backward()


@pytest.mark.parametrize("name", LIGHT)
def test_gradients_are_the_publishers(name, published):
    source, path = published(name)
    ours, theirs = zoo.load(path, framework="torch", architecture=name), copy.deepcopy(source.module)
    backward(ours, source.kwargs)
    made = theirs(**source.kwargs)
    (next(iter(made.values())) if isinstance(made, dict) else made).square().mean().backward()
    expected = {key: p.grad for key, p in theirs.named_parameters()}
    for key, parameter in ours.named_parameters():
        if expected[key] is not None:
            scale = float(expected[key].abs().max())
            torch.testing.assert_close(parameter.grad, expected[key], rtol=1e-3, atol=1e-4 * scale + 1e-12)


@pytest.mark.parametrize("name", LIGHT)
def test_a_training_step_moves_weights_and_counters_and_the_way_back_has_them(name, published):
    source, path = published(name)
    module = zoo.load(path, framework="torch", architecture=name).train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    optimiser = torch.optim.AdamW(module.parameters(), lr=0.01)
    backward(module, source.kwargs)
    optimiser.step()
    after = module.state_dict()
    assert [] == [k for k, p in module.named_parameters() if p.grad is not None and torch.equal(before[k], after[k])]
    counters = [k for k in before if k.endswith("num_batches_tracked")]
    assert [] == [k for k in counters if after[k] != before[k] + 1]
    from zoo.converters.writers.torch import writer

    back = writer.tensors(module)
    assert list(after) == list(back)
    assert all(torch.equal(torch.from_numpy(back[k].numpy().copy()), after[k]) for k in after)


def test_training_does_not_write_to_the_file_that_is_mapped(published):
    source, path = published(LIGHT[0])
    bytes_before = path.read_bytes()
    module = zoo.load(path, framework="torch", architecture=LIGHT[0])
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    assert bytes_before == path.read_bytes()


@pytest.mark.parametrize("name", LIGHT)
def test_torch_export_and_fullgraph_compile_take_it(name, published):
    source, path = published(name)
    module = zoo.load(path, framework="torch", architecture=name)
    inputs = tuple(source.kwargs.values())
    with torch.no_grad():
        want = module(*inputs)
        batch = tuple({0: torch.export.Dim.AUTO} for _ in inputs)
        exported = torch.export.export(module, inputs, dynamic_shapes=batch).module()(*inputs)
        compiled = torch.compile(copy.deepcopy(module), fullgraph=True, backend="eager")(*inputs)
    torch.testing.assert_close(exported, want, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(compiled, want, rtol=0, atol=0)


def test_the_forward_reads_like_a_persons(published):
    _, path = published("torchvision/resnet50")
    module = zoo.load(path, framework="torch", architecture="torchvision/resnet50")
    assert "self.layer1(" in module.code
    assert "self.conv1(" in module.layer1[0].code
    assert isinstance(module.layer1, torch.nn.Sequential)
    assert "ResNet(" == repr(module).splitlines()[0]
    assert 20 > len(module.code.strip().splitlines())


def test_hooks_of_inner_modules_fire(published):
    source, path = published("torchvision/resnet50")
    module = zoo.load(path, framework="torch", architecture="torchvision/resnet50")
    seen = []
    module.layer4.register_forward_hook(lambda m, args, out: seen.append(tuple(out.shape)))
    module(*source.kwargs.values())
    assert [(2, 2048, 7, 7)] == seen


def test_dropout_and_stochastic_depth_survive(published):
    source, path = published("torchvision/mobilenet_v3_small")
    module = zoo.load(path, framework="torch", architecture="torchvision/mobilenet_v3_small").train()
    assert [0.2] == [m.p for m in module.modules() if isinstance(m, torch.nn.Dropout)]
    x = source.kwargs["x"]
    assert not torch.equal(module(x), module(x))


def test_a_copy_of_a_parameter_that_is_changed_in_place_reads_the_parameter():
    """torch exports the copy as a constant: torchvision's Swin v2 zeroes the middle of its qkv.bias."""
    from zoo.architectures import make
    from zoo.converters.canonical import canonical

    class Changed(torch.nn.Linear):
        def forward(self, x):
            bias = self.bias.clone()
            bias[1:3].zero_()
            return torch.nn.functional.linear(x, self.weight, bias)

    torch.manual_seed(0)
    source = make.settled(make.Source(Changed(3, 4), {"x": torch.randn(2, 3)}, {"x": {0: "batch"}}, ["y"], "torch"))
    graph = canonical(make.weightless(make.export(source), source, "made/changed"))
    assert ["bias", "weight", "x"] == sorted(value.name for value in graph.graph.inputs if value.uses())
