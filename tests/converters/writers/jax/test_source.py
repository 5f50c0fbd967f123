"""JAX sources: written, read, run, and compared with ONNX Runtime; what is in them, and what they refuse."""

from __future__ import annotations

import ast
import importlib.util
from types import SimpleNamespace

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest

import zoo
from zoo import architectures
from zoo.converters.bind import bind
from zoo.converters.graph import parameters
from zoo.converters.whole import prepared, specs_of
from zoo.converters.writers.onnx.writer import session
from zoo.errors import UnsupportedOps, UsageError
from zoo.examples import feeds

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

from zoo.converters.writers.jax import source as jax_source  # noqa: E402

READS = {
    "hf/minilm-l6": (
        "def bert_self_attention(params: Params, x: jax.Array, mask: jax.Array) -> jax.Array:",
        'query = linear(params["query"], x)',
        "    for i in range(6):\n",
        'x = bert_layer(params["layer"][str(i)], x, mask, ctx)',
        "attention_mask.astype(jnp.bool)[:, None, None]",
    ),
    "timm/tf_efficientnet_lite0": (
        "*, stride: int = 1, residual: bool = False",
        'x = conv(params["conv_stem"], x, stride=2, padding="SAME")',
        "return jax.nn.relu6(x)",
        "    if residual:\n",
    ),
    "torchvision/resnet50": (
        "def bottleneck(params: Params, x: jax.Array, ctx: Context, *, stride: int = 1) -> jax.Array:",
        'if "downsample" in params:',
        'x = bottleneck(params["layer2"]["0"], x, ctx, stride=2)',
    ),
}
LINES = {"hf/minilm-l6": 210, "timm/tf_efficientnet_lite0": 190, "torchvision/resnet50": 190}


def seeded(name: str) -> tuple[ir.Model, ir.Model]:
    """An architecture with seeded numbers for weights: as the source takes it, and as it is."""
    rng = np.random.default_rng(0)
    tensors = {}
    for key, value in parameters(architectures.load(name).graph).items():
        shape, dtype = [int(d) for d in value.shape], value.dtype.numpy()
        if not np.issubdtype(dtype, np.floating):
            array = np.zeros(shape, dtype)
        elif "var" in key:
            array = 1 + rng.random(shape, dtype)
        else:
            array = 0.05 * rng.standard_normal(shape, dtype)
        tensors[key] = ir.tensor(array, name=key)
    graph = prepared(architectures.load(name), jax_source.lowers)
    used = parameters(graph.graph)
    return bind(graph, {k: t for k, t in tensors.items() if k in used}), bind(architectures.load(name), tensors)


def opened(folder):
    """The file of a folder as a module."""
    spec = importlib.util.spec_from_file_location(f"source_of_{folder.name}", folder / "model.py")
    assert spec is not None and spec.loader is not None
    file = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(file)
    return file


@pytest.fixture(scope="module", params=READS)
def one(request, tmp_path_factory):
    model, whole = seeded(request.param)
    folder = tmp_path_factory.mktemp("source") / request.param.replace("/", "_")
    inputs, outputs = specs_of(model)
    free = {i.name for i in inputs if len(i.shape) == 4 and isinstance(i.shape[-1], str)}
    given = {n: x[..., :64, :64] if n in free else x for n, x in feeds(model, inputs).items()}
    jax_source.save(folder, model, inputs, outputs, given, "A model of nobody's.")
    text = (folder / "model.py").read_text()
    names = [i.name for i in inputs]
    return SimpleNamespace(
        name=request.param, text=text, file=opened(folder), given=given, names=names, whole=whole, folder=folder
    )


def test_numbers_are_onnx_runtimes_and_training_updates_statistics(one):
    apply, params = jax.jit(one.file.apply, static_argnames="train"), one.file.load_params()
    args = [one.given[name] for name in one.names]
    (expected,) = session(one.whole, device="cpu", plain=True).run(one.given).values()
    np.testing.assert_allclose(
        np.asarray(apply(params, *args)), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
    )
    output, updated = apply(params, *args, train=True, rngs=jax.random.key(0))
    assert output.shape == expected.shape
    assert jax.tree.structure(params) == jax.tree.structure(updated)
    changed = jax.tree_util.tree_map_with_path(lambda path, a, b: (path, bool((a != b).any())), params, updated)
    pairs = jax.tree.leaves(changed, is_leaf=lambda x: isinstance(x, tuple) and isinstance(x[-1], bool))
    are_running = {path[-1].key.startswith("running_") for path, has_changed in pairs if has_changed}
    assert are_running <= {True}
    assert bool(are_running) == ("batch_norm" in one.text)


def test_params_are_the_authors_tensors_by_his_names(one):
    names = [n for n, v in parameters(one.whole.graph).items() if v.dtype.is_floating_point()]
    found = []
    for path, _ in jax.tree_util.tree_flatten_with_path(one.file.load_params())[0]:
        found.append(".".join(part.key for part in path))
    assert sorted(names) == sorted(found)


def test_the_file_reads_as_a_person_writes(one):
    for words in READS[one.name]:
        assert words in one.text
    assert len(one.text.splitlines()) <= LINES[one.name]
    assert max(map(len, one.text.splitlines())) <= 120
    names = [n.name for n in ast.parse(one.text).body if isinstance(n, ast.FunctionDef)]
    assert len(set(names)) == len(names)
    assert "zoo" not in one.text and "onnx" not in one.text


# ---- graphs without a tree, and single operators


def proto(text: str, **tensors: np.ndarray) -> onnx.ModelProto:
    graph = onnx.parser.parse_graph(text)
    graph.initializer.extend(onnx.numpy_helper.from_array(t, n) for n, t in tensors.items())
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


def random(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


X = "float[2,4,8,8] x"
BODIES = {
    "Conv": (f"({X}) => (float[2,6,4,4] y) {{ y = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w, b) }}", (6, 4, 3, 3)),
    "grouped Conv": (f"({X}) => (float[2,4,8,8] y) {{ y = Conv<group=2, pads=[1,0,1,2]>(x, w) }}", (4, 2, 3, 3)),
    "depthwise Conv": (f"({X}) => (float[2,8,6,6] y) {{ y = Conv<group=4>(x, w) }}", (8, 1, 3, 3)),
    "ConvTranspose": (
        f"({X}) => (float[2,6,16,16] y)"
        " { y = ConvTranspose<group=2, strides=[2,2], pads=[1,1,1,1], output_padding=[1,1]>(x, w) }",
        (4, 3, 3, 3),
    ),
    "MaxPool": (
        f"({X}) => (float[2,4,5,5] y) {{ y = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,2,2]>(x) }}",
        (),
    ),
    "AveragePool": (f"({X}) => (float[2,4,8,8] y) {{ y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(x) }}", ()),
    "pooled whole": (
        f"({X}) => (float[2,4,1,1] y) {{ a = GlobalMaxPool(x) b = GlobalAveragePool(x) y = Add(a, b) }}",
        (),
    ),
    "shapes": (
        f"({X}) => (float[2,8,32] y) {{ s = Shape(x) h = Gather(s, two) n = Concat<axis=0>(minus, h, back)"
        " t = Transpose<perm=[0,2,3,1]>(x) y = Reshape(t, n) }",
        (),
    ),
    "parts": (
        f"({X}) => (float[2,4,8,8] y) {{ a, b = Split<axis=1, num_outputs=2>(x) c = Slice(b, begin, end, axes)"
        " d = Pad(c, pads) y = Concat<axis=1>(a, d) }",
        (),
    ),
    "Softmax": (f"({X}) => (float[2,4,8,8] y) {{ s = Softmax<axis=1>(x) l = LogSoftmax(x) y = Sub(s, l) }}", ()),
    "activations": (
        f"({X}) => (float[2,4,8,8] y) {{ a = LeakyRelu<alpha=0.2>(x) b = Elu(a) c = HardSwish(b) d = Mish(c)"
        " e = HardSigmoid(d) f = Selu(e) g = Softplus(f) h = ThresholdedRelu(g) y = Erf(h) }",
        (),
    ),
    "reductions": (
        f"({X}) => (float[2,1,8,8] y) {{ a = ReduceL2(x, axis) b = ReduceLogSumExp(x, axis) c = ReduceMax(x, axis)"
        " d = Add(a, b) y = Mul(c, d) }",
        (),
    ),
    "places": (
        f"({X}) => (float[2,4,8,2] y, int64[2,8,8] i) {{ y, n = TopK(x, k) i = ArgMax<axis=1, keepdims=0>(x) }}",
        (),
    ),
    "GroupNorm": (f"({X}) => (float[2,4,8,8] y) {{ i = InstanceNormalization(x, v, v) y = LRN<size=3>(i) }}", ()),
    "Resize": (
        f'({X}) => (float[2,4,16,16] y) {{ y = Resize<mode="linear", coordinate_transformation_mode="half_pixel">'
        "(x, , scales) }",
        (),
    ),
    "logic": (
        f"({X}) => (float[2,4,8,8] y) {{ a = Greater(x, zero) b = IsNaN(x) c = Not(b) d = And(a, c) "
        " y = Where(d, x, zero) }",
        (),
    ),
    "DepthToSpace": (f"({X}) => (float[2,1,16,16] y) {{ y = DepthToSpace<blocksize=2>(x) }}", ()),
    "Clip": (f"({X}) => (float[2,4,8,8] y) {{ a = Clip(x, zero) y = CumSum(a, one) }}", ()),
}
INTEGERS = {
    "two": [2],
    "minus": [-1],
    "back": [32],
    "begin": [1],
    "end": [7],
    "axes": [2],
    "axis": [1],
    "k": [2],
    "pads": [0, 0, 1, 0, 0, 0, 1, 0],
}
FLOATS = {"scales": [1, 1, 2, 2], "zero": 0.0, "v": [0.5, 1.0, 1.5, 2.0]}


def model_of(name: str) -> onnx.ModelProto:
    """A graph of the table, with what it reads of the constants and weights."""
    body, shape = BODIES[name]
    held: dict[str, np.ndarray] = {k: np.array(v, np.int64) for k, v in INTEGERS.items()}
    held |= {k: np.array(v, np.float32) for k, v in FLOATS.items()} | {"one": np.array(1, np.int64)}
    if shape:
        held |= {"w": random(*shape), "b": random(shape[0])}
    words = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    return proto(f"g {body}", **{k: v for k, v in held.items() if k in words})


@pytest.mark.parametrize("name", BODIES)
def test_operators_compute_what_onnx_runtime_does(name, tmp_path):
    from zoo.converters.whole import lowered

    whole = ir.from_proto(model_of(name))
    model = lowered(whole, jax_source.lowers)
    inputs, outputs = specs_of(model)
    given = feeds(model, inputs)
    jax_source.save(tmp_path / "made", model, inputs, outputs, given, "A model.")
    file = opened(tmp_path / "made")
    made = file.apply(file.load_params(), *given.values())
    got = list(made.values()) if isinstance(made, dict) else [made]
    for mine, theirs in zip(got, session(whole, device="cpu", plain=True).run(given).values(), strict=True):
        np.testing.assert_allclose(np.asarray(mine), theirs, rtol=1e-4, atol=1e-5)


def test_a_model_file_is_written_and_checked_in_a_process_of_its_own(tmp_path):
    made = zoo.convert(model_of("Conv"), "jax-source", tmp_path / "made")
    assert made.agreement is not None and made.agreement.agrees
    assert {"model.py", "model.safetensors"} == {path.name for path in made.path.iterdir()}


def test_gradients_go_through_a_source(tmp_path):
    made = zoo.convert(model_of("Conv"), "jax-source", tmp_path / "made", check=False)
    file = opened(made.path)
    grads = jax.grad(lambda p: jnp.sum(file.apply(p, jnp.ones((2, 4, 8, 8))) ** 2))(file.load_params())
    assert {"w", "b"} == set(grads) and all(bool(jnp.abs(g).sum() > 0) for g in grads.values())


def test_all_that_can_not_be_written_is_named_at_once(tmp_path):
    model = proto(
        "g (float[2,4] x) => (float[2,4] y, float[2,4] z) { a = NonZero(x) b = Cast<to=1>(a) c = ReduceSum(b)"
        " r = Add(x, c) y = Mod<fmod=1>(r, x) z = CumSum<exclusive=1>(x, axis) }",
        axis=np.array(1, np.int64),
    )
    with pytest.raises(UnsupportedOps, match="NonZero"):
        zoo.convert(model, "jax-source", tmp_path / "made")
    model.graph.node.remove(model.graph.node[0])
    model.graph.node[0].input[0] = "x"
    with pytest.raises(UnsupportedOps) as caught:
        zoo.convert(model, "jax-source", tmp_path / "made")
    assert "Mod" in str(caught.value) and "CumSum" in str(caught.value)
    assert [] == list(tmp_path.iterdir())


def test_a_dtype_is_nothing_to_ask_of_a_source(tmp_path):
    with pytest.raises(UsageError, match="dtype"):
        zoo.convert(model_of("Conv"), "jax-source", tmp_path / "made", dtype="float16")
