"""Torch sources: written, read, run in a process of their own, and compared with the native module."""

from __future__ import annotations

import ast
import copy
import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import zoo
from zoo import architectures
from zoo.converters.bind import bind
from zoo.converters.formats import TARGETS
from zoo.converters.graph import PARAMETER, TIED, parameters
from zoo.converters.save import Staged, checked
from zoo.errors import BadInput, Disagreement, HubError, UsageError
from zoo.examples import feeds

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from zoo.converters.whole import prepared, specs_of  # noqa: E402
from zoo.converters.writers.source.arrays import lattice_of  # noqa: E402
from zoo.converters.writers.source.embed import Embedded  # noqa: E402
from zoo.converters.writers.source.layout import laid_out  # noqa: E402
from zoo.converters.writers.source.steps import Step, align  # noqa: E402
from zoo.converters.writers.torch import source as torch_source  # noqa: E402
from zoo.converters.writers.torch import writer  # noqa: E402
from zoo.converters.writers.torch.runner import from_numpy  # noqa: E402
from zoo.converters.writers.torch.source.constants import expression  # noqa: E402
from zoo.converters.writers.torch.source.expressions import Writer  # noqa: E402
from zoo.converters.writers.torch.source.layers import constructor  # noqa: E402

QUICK = ("torchvision/resnet50", "timm/efficientnet_b0", "torchvision/swin_t", "hf/minilm-l6")
ALL = sorted(set(architectures.names()))
LINES = {"torchvision/resnet50": 130, "timm/efficientnet_b0": 220, "torchvision/swin_t": 340, "hf/minilm-l6": 230}

READS = {
    "torchvision/resnet50": (
        "in_channels: int, channels: int, stride: int = 1, downsample: bool = False",
        "self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)",
        "Bottleneck(256, 128, stride=2, downsample=True), *(Bottleneck(512, 128) for _ in range(3))",
        "if self.downsample is not None:",
    ),
    "timm/efficientnet_b0": ("padding=kernel_size // 2", "if self.residual:", "class BatchNormAct2d(nn.BatchNorm2d):"),
    "torchvision/swin_t": (
        "class MLP(nn.Sequential):",
        "class StochasticDepth(nn.Module):",
    ),
    "hf/minilm-l6": (
        "self.layer = nn.ModuleList(BertLayer() for _ in range(6))",
        "for layer in self.layer:",
        "F.scaled_dot_product_attention(query, key, value, attn_mask=mask",
    ),
}


def seeded(name: str) -> ir.Model:
    """An architecture with seeded numbers for weights, ready to be written."""
    graph, rng = prepared(architectures.load(name), writer.lowers), np.random.default_rng(0)
    tensors = {}
    for key, value in parameters(graph.graph).items():
        shape, dtype = [int(d) for d in value.shape], value.dtype.numpy()
        if not np.issubdtype(dtype, np.floating):
            array = np.zeros(shape, dtype)
        elif "var" in key:
            array = 1 + rng.random(shape, dtype)
        else:
            array = 0.05 * rng.standard_normal(shape, dtype)
        tensors[key] = ir.tensor(array, name=key)
    return bind(graph, tensors)


def written(model: ir.Model, folder, about: str = "A model of nobody's.") -> SimpleNamespace:
    """The native module, the text of its source, and the module that the source makes."""
    native = writer.write(model)
    inputs, _ = specs_of(model)
    free = {i.name for i in inputs if len(i.shape) == 4 and isinstance(i.shape[-1], str)}
    given = {name: array[..., :64, :64] if name in free else array for name, array in feeds(model, inputs).items()}
    torch_source.save(native, folder, model, inputs, given, about)
    text = (folder / "model.py").read_text()
    spec = importlib.util.spec_from_file_location(f"source_of_{folder.name}", folder / "model.py")
    assert spec is not None and spec.loader is not None
    file = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(file)
    args = tuple(from_numpy(given[i.name]) for i in inputs)
    return SimpleNamespace(native=native, text=text, made=file.create_model(), args=args, file=file, given=given)


@pytest.fixture(scope="module", params=QUICK)
def one(request, tmp_path_factory):
    found = written(seeded(request.param), tmp_path_factory.mktemp("source") / request.param.replace("/", "_"))
    return SimpleNamespace(**vars(found), name=request.param)


def outputs(module, args):
    with torch.no_grad():
        made = module(*args)
    return list(made.values()) if isinstance(made, dict) else [made]


def assert_same(one):
    state, expected = one.made.state_dict(), one.native.state_dict()
    assert list(expected) == list(state)
    assert all(torch.equal(expected[key], state[key]) for key in expected)
    assert [n for n, _ in one.native.named_modules()] == [n for n, _ in one.made.named_modules()]
    assert [n for n, _ in one.native.named_parameters()] == [n for n, _ in one.made.named_parameters()]
    for want, have in zip(outputs(one.native, one.args), outputs(one.made, one.args), strict=True):
        torch.testing.assert_close(have, want, rtol=0, atol=0, equal_nan=True)


def test_numbers_names_and_tree_are_the_native_modules(one):
    assert_same(one)


def test_it_is_as_short_as_a_persons_and_written_in_whole_classes(one):
    assert len(one.text.splitlines()) < LINES[one.name]
    classes = [node for node in ast.parse(one.text).body if isinstance(node, ast.ClassDef)]
    assert len(classes) == len({node.name for node in classes})
    assert [] == [line for line in one.text.splitlines() if len(line) > 120]
    assert "zoo" not in {word.partition(".")[0] for word in one.text.split()} - {"(`zoo"}


def test_it_is_formatted_and_has_nothing_that_is_not_used(one, tmp_path):
    pytest.importorskip("ruff")
    path = tmp_path / "model.py"
    path.write_text(one.text)
    ruff = [sys.executable, "-m", "ruff"]
    for words in (["format", "--isolated", "--diff"], ["check", "--isolated", "--select", "E,F,W,I,B"]):
        done = subprocess.run(
            [*ruff, *words, "--line-length", "120", str(path)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_gradients_are_the_native_modules(one):
    losses = []
    for module in (one.native, one.made):
        twin = copy.deepcopy(module).train()
        torch.manual_seed(0)
        made = twin(*one.args)
        (next(iter(made.values())) if isinstance(made, dict) else made).square().mean().backward()
        losses.append({n: p.grad for n, p in twin.named_parameters() if p.grad is not None})
    assert list(losses[0]) == list(losses[1])
    for name, gradient in losses[0].items():
        torch.testing.assert_close(
            losses[1][name], gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max()) + 1e-12
        )


def test_it_reads_as_what_an_engineer_would_commit(one):
    assert [] == [phrase for phrase in READS[one.name] if phrase not in one.text]


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_every_architecture_in_a_process_of_its_own(name, tmp_path):
    model = seeded(name)
    found = written(model, tmp_path / "made")
    assert_same(found)
    got = torch_source.run(tmp_path / "made", specs_of(model)[0], found.given, found.native)
    for want, have in zip(outputs(found.native, found.args), got, strict=True):
        torch.testing.assert_close(from_numpy(have), want, rtol=1e-5, atol=1e-5)


# ---- graphs without an author's tree


def proto(text: str, **tensors) -> onnx.ModelProto:
    made = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]>\n{text}')
    made.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in tensors.items())
    return made


def random(*shape: int, dtype=np.float32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


FLAT = {
    "identity": proto("g (float[2,3] x) => (float[2,3] y) { y = Identity(x) }"),
    "two of one": proto("g (float[2,3] x) => (float[2,3] y, float[2,3] z) { y = Relu(x) z = Identity(y) }"),
    "infinite": proto(
        "g (float[2,3] x) => (float[2,3] y) { c = Constant<value = float[3] {inf, -inf, -0.0}>() y = Min(x, c) }"
    ),
    "keywords": proto(
        "g (float[2,3] class, float[2,3] torch) => (float[2,3] def, float[2,3] nn)"
        " { def = Add(class, torch) nn = Relu(def) }"
    ),
    "half": proto(
        "g (float16[2,3,8,8] x) => (float16[2,4,8,8] y) { y = Conv<pads=[1,1,1,1]>(x, w) }",
        w=random(4, 3, 3, 3, dtype=np.float16),
    ),
    "loop": proto(
        "g (float[2] x) => (float[2] y, float[N,2] s) { n = Constant<value_int=3>() y, s = Loop(n, , x) <body = b"
        " (int64 i, bool c, float[2] v) => (bool o, float[2] w, float[2] t)"
        " { o = Identity(c) w = Add(v, x) t = Mul(w, w) }> }"
    ),
    "free sizes": proto(
        "g (float[N,3,M] x) => (float[K,3] y) { t = Transpose<perm=[0,2,1]>(x) k = Constant<value=int64[2]{-1,3}>()"
        " y = Reshape(t, k) }"
    ),
}


@pytest.mark.parametrize("name", FLAT)
def test_a_graph_without_a_tree_is_written_and_checked(name, tmp_path):
    made = zoo.convert(FLAT[name], "torch-source", tmp_path / "made")
    assert made.agreement is not None and made.agreement.agrees
    assert ["made"] == [path.name for path in tmp_path.iterdir()]
    assert TARGETS["torch-source"].files[:2] == tuple(sorted(p.name for p in made.path.iterdir()))[-2:]


@pytest.mark.parametrize(
    "name", ["a/b:0", 'x"); raise SystemExit("\\', "lambda", "0", "line\nbreak", "self", "'", '"\'\\"']
)
def test_what_stands_in_names_is_no_code(name):
    module = nn.Module()
    module.register_parameter(name, nn.Parameter(torch.zeros(1)))
    text = Writer(module, lambda step: None, str).step(Step("get_attr", name))[0]
    read = eval(text, {"self": module})  # noqa: S307 - it has to be nothing but the reading of an attribute
    assert read is module.get_parameter(name)


def test_the_head_of_the_file_can_hold_any_text(graph, tmp_path):
    found = written(
        graph("g (float[2] x) => (float[2] y) { y = Relu(x) }"), tmp_path / "made", 'A """quoted\\ model"""'
    )
    assert found.file.__doc__.startswith('A """quoted\\ model"""')


def test_modules_of_ours_come_with_their_source(tmp_path):
    made = zoo.convert(FLAT["loop"], "torch-source", tmp_path / "made")
    text = (made.path / "model.py").read_text()
    assert "class Loop(nn.Module):" in text and "self.loop = Loop(Body(), 1, ((torch.float32, (2,)),))" in text


def test_what_does_not_agree_is_not_written(tmp_path):
    model = proto("g (float[2,3] x) => (float[2,3] y) { r = RandomNormalLike(x) y = Add(x, r) }")
    with pytest.raises((Disagreement, HubError)):
        zoo.convert(model, "torch-source", tmp_path / "made")
    assert [] == list(tmp_path.iterdir())


def test_tied_parameters_are_one(graph, tmp_path):
    model = graph("g (float[2,3] x, float[3] b) => (float[2,3] y) { a = Mul(x, b) y = Add(a, b) }")
    value = ir.Value(name="a.weight", shape=ir.Shape([3]), type=ir.TensorType(ir.DataType.FLOAT))
    value.const_value = ir.tensor(random(3), name="a.weight")
    value.metadata_props.update({PARAMETER: "parameter", TIED: '["b.weight"]'})
    model.graph.initializers["a.weight"] = value
    for node in model.graph:
        for i, read in enumerate(node.inputs):
            if read is not None and read.name == "b":
                node.replace_input_with(i, value)
    model.graph.inputs.pop()
    found = written(model, tmp_path / "made")
    assert_same(found)
    assert found.made.get_parameter("a.weight") is found.made.get_parameter("b.weight")


# ---- the folder


def folder_with(path, **files):
    path.mkdir()
    for name, text in files.items():
        (path / name.replace("_", ".")).write_text(text)
    return path


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"notes_txt": "mine"}, "holds other files"),
        ({"model_py": "class Mine: ..."}, "was not written by polyzoo"),
        ({"model_safetensors": ""}, "was not written by polyzoo"),
    ],
)
def test_a_folder_of_somebody_elses_is_left_alone(tmp_path, files, words):
    place = folder_with(tmp_path / "mine", **files)
    with pytest.raises(BadInput, match=words):
        checked("torch-source", place)
    assert set(files) == {path.name.replace(".", "_") for path in place.iterdir()}


@pytest.mark.parametrize("make", ["file", "parent", "here"])
def test_what_is_no_place_for_a_folder_is_refused(tmp_path, monkeypatch, make):
    if make == "file":
        (place := tmp_path / "a").write_text("")
    elif make == "parent":
        place = tmp_path / "nowhere" / "a"
    else:
        (place := tmp_path / "a").mkdir()
        monkeypatch.chdir(place)
    with pytest.raises(BadInput):
        checked("torch-source", place)


def test_a_folder_takes_the_place_of_an_older_one_whole(tmp_path):
    old = folder_with(tmp_path / "a", model_py='"""Written by polyzoo"""', constants_safetensors="old")
    assert old == checked("torch-source", old)
    with Staged(old) as staged:
        staged.mkdir()
        (staged / "model.py").write_text("new")
    assert {"model.py": "new"} == {path.name: path.read_text() for path in old.iterdir()}
    assert ["a"] == [path.name for path in tmp_path.iterdir()]
    with pytest.raises(RuntimeError), Staged(old) as staged:
        staged.mkdir()
        raise RuntimeError
    assert ["model.py"] == [path.name for path in old.iterdir()]
    assert ["a"] == [path.name for path in tmp_path.iterdir()]


def test_an_opset_is_nothing_to_ask_of_a_source(tmp_path):
    with pytest.raises(UsageError, match="opset"):
        zoo.convert(FLAT["identity"], "torch-source", tmp_path / "a", opset=17)


# ---- the parts


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (torch.tensor([0.1, -0.0, 3.0]), "torch.tensor([0.1, -0.0, 3.0])"),
        (torch.tensor([True, False]), "torch.tensor([True, False])"),
        (torch.tensor(5, dtype=torch.int32), "torch.tensor(5, dtype=torch.int32)"),
        (torch.tensor([torch.inf, -torch.inf]), "torch.tensor([torch.inf, -torch.inf])"),
        (torch.zeros(2, 50, dtype=torch.float16), "torch.full((2, 50), 0.0, dtype=torch.float16)"),
        (torch.arange(512)[None], "torch.arange(512).reshape(1, 512)"),
        (torch.arange(7, 40), "torch.arange(7, 40)"),
        (torch.randn(64), None),
        (torch.full((1,), torch.nan), None),
    ],
)
def test_a_constant_is_an_expression_where_one_is_short(tensor, text):
    assert text == expression(tensor)
    if text is not None:
        made = eval(text)  # noqa: S307 - our own text
        assert made.dtype == tensor.dtype and made.shape == tensor.shape
        assert made.numpy().tobytes() == tensor.numpy().tobytes()


def test_a_table_of_relative_places_is_a_lattice():
    grid = np.stack(np.meshgrid(np.arange(7), np.arange(7), indexing="ij")).reshape(2, -1)
    offsets = grid[:, :, None] - grid[:, None, :] + 6
    assert [(7, 13), (7, 1), (7, -13), (7, -1)] == lattice_of((offsets[0] * 13 + offsets[1]).reshape(-1).tolist())
    assert lattice_of([0, 1, 3]) is None
    assert lattice_of([3, 1, 4, 1, 5, 9, 2, 6]) is None


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.Conv2d(3, 8, 3, padding=1, bias=False), {"kernel_size": 3, "padding": 1, "bias": False, "stride": 1}),
        (nn.Conv2d(3, 8, (3, 5)), {"kernel_size": (3, 5), "bias": True}),
        (nn.LSTM(3, 4, num_layers=2, batch_first=True), {"input_size": 3, "num_layers": 2, "batch_first": True}),
        (nn.RNN(3, 4, nonlinearity="relu"), {"nonlinearity": "relu", "hidden_size": 4}),
        (nn.LayerNorm(7, eps=1e-6), {"normalized_shape": 7, "eps": 1e-6}),
        (nn.BatchNorm2d(5, affine=False), {"num_features": 5, "affine": False}),
        (nn.Linear(2, 3, dtype=torch.float16), {"in_features": 2, "dtype": torch.float16}),
        (nn.Tanh(), {}),
    ],
)
def test_a_layer_is_the_call_that_makes_it(layer, text):
    arguments = dict(constructor(layer, lambda m: None).arguments)
    assert text == {name: arguments[name] for name in text}


def test_a_layer_that_its_attributes_do_not_make_again_is_refused():
    layer = nn.Conv2d(3, 8, 3)
    layer.weight = nn.Parameter(torch.zeros(8, 3, 5, 5))
    with pytest.raises(HubError, match="can't be made again"):
        constructor(layer, lambda m: None)

    class Theirs(nn.Linear):
        pass

    with pytest.raises(HubError, match="can't be written as torch source"):
        constructor(Theirs(2, 2), lambda m: None)


def test_a_helper_that_needs_more_than_torch_is_refused():
    from zoo.converters.writers.torch.runner import to_numpy

    with pytest.raises(HubError, match="which a torch source must not depend on|has no literal"):
        Embedded(frozenset({"torch"}), frozenset({"nn"})).add(to_numpy)


def chain(*targets: str) -> list[Step]:
    steps = [Step("placeholder", "x")]
    for target in targets:
        steps.append(Step("call_module", target, (steps[-1],)))
    return [*steps, Step("output", "output", (steps[-1],))]


def test_a_forward_with_steps_left_out_is_a_case_of_the_whole():
    large, small = chain("a", "b", "c", "d"), chain("a", "d")
    found = align(large, small)
    assert found is not None
    assert ["b", "c"] == [s.target for s in large if s not in found.matched]
    assert align(large, chain("d", "a")) is None
    assert align(small, large) is None


def test_a_comparison_that_grows_without_bound_is_given_up():
    def braid(n: int, last: str) -> list[Step]:
        steps = [Step("placeholder", "x")]
        for i in range(n):
            steps.append(Step("call_function", max, (steps[-1], steps[max(0, i - 1)])))
        steps.append(Step("call_module", last, (steps[-1],)))
        return [*steps, Step("output", "output", (steps[-1],))]

    assert align(braid(60, "a"), braid(40, "b")) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x = f(a)", ["x = f(a)"]),
        (f"x = f({'a' * 60}, {'b' * 60})", ["x = f(", f"    {'a' * 60},", f"    {'b' * 60},", ")"]),
        (f"x = f({'a' * 56}, {'b' * 57})", ["x = f(", f"    {'a' * 56}, {'b' * 57}", ")"]),
        (f"x = ({'a' * 55}, {'b' * 60})", ["x = (", f"    {'a' * 55},", f"    {'b' * 60},", ")"]),
        (f"value = {'a' * 64} if {'b' * 41} else c", ["value = (", f"    {'a' * 64} if {'b' * 41} else c", ")"]),
    ],
)
def test_long_lines_are_broken_as_the_formatter_does(line, expected):
    assert expected == list(laid_out(line))
