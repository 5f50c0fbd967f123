"""Heads, stems, sizes and inner outputs of small graphs, checked with onnx's reference evaluator."""

from __future__ import annotations

import json
import math

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from zoo.converters import graph as g
from zoo.converters.bind import bind
from zoo.converters.surgery import apply
from zoo.converters.surgery.axes import Structures, Underivable, reshaped
from zoo.converters.surgery.resample import resample
from zoo.converters.surgery.stem import adapted
from zoo.errors import UnknownOutput, UsageError

RANDOM = np.random.default_rng(0)


@pytest.fixture
def model(graph):
    """A weightless model from text (`__` is a dot): inputs in `weights` are parameters; `paths` those of its nodes."""

    def make(text, weights, paths=(), **metadata):
        made = graph(text)
        for value in made.graph.inputs:
            value.name = value.name.replace("__", ".")
            if value.name in weights:
                value.metadata_props[g.PARAMETER] = "counter" if value.name.endswith("tracked") else "parameter"
        for node, path in zip(made.graph, paths, strict=False):
            node.metadata_props[g.PATH] = path
        made.metadata_props.update(metadata)
        return made

    return make


def filled(weightless):
    """The model with seeded random weights."""
    arrays = {
        name: np.random.default_rng(len(name)).standard_normal([int(d) for d in v.shape]).astype(v.dtype.numpy())
        for name, v in g.parameters(weightless.graph).items()
    }
    return bind(weightless, {name: ir.tensor(a, name=name) for name, a in arrays.items()}), arrays


def run(bound, **feeds):
    proto = ir.to_proto(bound)
    onnx.checker.check_model(proto, full_check=True)
    names = [o.name for o in proto.graph.output]
    return dict(zip(names, ReferenceEvaluator(proto).run(None, feeds), strict=True))


def inner(bound, name, **feeds):
    """A value of a graph, which its own outputs need not show."""
    proto = ir.to_proto(bound)
    proto.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return ReferenceEvaluator(proto).run([name], feeds)[0]


def shape_of(value):
    return [d if isinstance(d, int) else d.value for d in value.shape]


def weight(bound, name):
    return bound.graph.initializers[name].const_value.numpy()


IMAGE = RANDOM.standard_normal((2, 3, 8, 8)).astype(np.float32)

CLASSIFIER = """
net (float[N,3,8,8] x, float[4,3,3,3] stem__weight, float[4] stem__bias, float[5,4] fc__weight, float[5] fc__bias)
  => (float[N,5] logits) {
  a = Conv(x, stem__weight, stem__bias)
  b = Relu(a)
  c = GlobalAveragePool(b)
  d = Flatten(c)
  logits = Gemm<transB = 1>(d, fc__weight, fc__bias)
}"""
CLASSIFIER_WEIGHTS = ("stem.weight", "stem.bias", "fc.weight", "fc.bias")
CLASSIFIER_PATHS = ("stem", "act", "pool", "pool", "fc")


@pytest.fixture
def classifier(model):
    tree = dict.fromkeys(("", "stem", "act", "pool", "fc"), "torch.nn.modules.module.Module")
    return model(CLASSIFIER, CLASSIFIER_WEIGHTS, CLASSIFIER_PATHS, **{g.MODULES: json.dumps(tree), g.HEAD: "fc"})


# ---- heads


def test_a_new_head_is_seeded_as_torch_draws_one_and_all_else_is_the_same_bytes(classifier):
    bound, arrays = filled(classifier)
    changed = apply(bound, num_classes=7)
    made = weight(changed, "fc.weight")
    assert ((7, 4), (7,)) == (made.shape, weight(changed, "fc.bias").shape)
    assert np.array_equal(made, weight(apply(bound, num_classes=7, in_chans=1), "fc.weight"))
    assert np.abs(made).max() <= 1 / math.sqrt(4) and made.std() > 0.1
    for name in ("stem.weight", "stem.bias"):
        assert changed.graph.initializers[name].const_value is bound.graph.initializers[name].const_value
    assert np.array_equal(arrays["fc.weight"], weight(bound, "fc.weight"))  # the published model is left alone
    features = run(apply(bound, num_classes=0), x=IMAGE)["logits"]
    np.testing.assert_allclose(
        run(changed, x=IMAGE)["logits"], features @ made.T + weight(changed, "fc.bias"), rtol=1e-5
    )


def test_the_weightless_graph_changes_as_the_bound_one_does(classifier):
    bound, _ = filled(classifier)
    asked = {"num_classes": 7, "in_chans": 1, "input_size": (12, 10), "outputs": ["pool", "fc"]}
    changed, weightless = apply(bound, **asked), apply(classifier, **asked)
    shapes = {name: shape_of(v) for name, v in g.parameters(weightless.graph).items()}
    assert shapes == {name: shape_of(v) for name, v in g.parameters(changed.graph).items()}
    assert [str(v) for v in weightless.graph.outputs] == [str(v) for v in changed.graph.outputs]
    assert ["N", 1, 12, 10] == shape_of(g.data_inputs(weightless.graph)[0])
    assert list(shapes) == list(g.parameters(weightless.graph))


def test_the_count_that_it_has_leaves_the_head_as_published(classifier):
    bound, arrays = filled(classifier)
    assert np.array_equal(arrays["fc.weight"], weight(apply(bound, num_classes=5), "fc.weight"))


def test_without_a_head_the_features_come_out_and_its_tensors_are_gone(classifier):
    bound, _ = filled(classifier)
    changed = apply(bound, num_classes=0)
    assert ["stem.weight", "stem.bias"] == list(g.parameters(changed.graph))
    assert ["N", 4] == shape_of(changed.graph.outputs[0])
    assert "torch.nn.modules.linear.Identity" == g.modules(changed)["fc"][0]
    assert g.HEAD not in changed.metadata_props
    np.testing.assert_array_equal(run(changed, x=IMAGE)["logits"], inner(bound, "d", x=IMAGE))


HEADS = {
    "columns": ("float[4,5] w, float[5] b", "z = Gemm(h, w, b)\n y = Softmax(z)", {"w": (4, 9), "b": (9,)}),
    "product and sum": ("float[4,5] w, float[1,5] b", "z = MatMul(h, w)\n y = Add(b, z)", {"w": (4, 9), "b": (1, 9)}),
    "transposed": ("float[5,4] w", "t = Transpose<perm = [1, 0]>(w)\n y = MatMul(h, t)", {"w": (9, 4)}),
    "two tokens": (
        "float[5,4] w, float[5,4] v",
        "a = Gemm<transB = 1>(h, w)\n c = Gemm<transB = 1>(h, v)\n s = Add(a, c)\n"
        "two = Constant<value_float = 2.0>()\n y = Div(s, two)",
        {"w": (9, 4), "v": (9, 4)},
    ),
    "convolution": (
        "float[5,4,1,1] w, float[5] b",
        "sh = Constant<value_ints = [-1, 4, 1, 1]>()\n i = Reshape(h, sh)\n c = Conv(i, w, b)\n r = Relu(c)\n"
        "p = GlobalAveragePool(r)\n t = Constant<value_ints = [-1, 5]>()\n y = Reshape(p, t)",
        {"w": (9, 4, 1, 1), "b": (9,)},
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_of_every_make_are_found_and_all_after_them_follows(name, model):
    weights, nodes, shapes = HEADS[name]
    text = f"net (float[N,4] x, {weights}) => (float[N,5] y) {{ h = Relu(x)\n {nodes} }}"
    bound, _ = filled(model(text, shapes))
    changed = apply(bound, num_classes=9)
    assert shapes == {key: weight(changed, key).shape for key in shapes}
    x = RANDOM.standard_normal((3, 4)).astype(np.float32)
    assert (3, 9) == run(changed, x=x)["y"].shape
    features = run(apply(bound, num_classes=0), x=x)["y"]
    expected = np.maximum(x, 0)
    np.testing.assert_allclose(features, expected, rtol=1e-6)


def test_a_head_computes_the_same_whatever_its_layout(model):
    rows = filled(model("n (float[N,4] x, float[5,4] w) => (float[N,5] y) { y = Gemm<transB = 1>(x, w) }", ("w",)))[0]
    columns = filled(model("n (float[N,4] x, float[4,5] w) => (float[N,5] y) { y = MatMul(x, w) }", ("w",)))[0]
    a, b = (weight(apply(m, num_classes=3), "w") for m in (rows, columns))
    assert np.array_equal(a, b.T)


NO_HEAD = {
    "a norm": (
        "float[4] s, float[4] b",
        "y = LayerNormalization(h, s, b)",
        {},
        "has no head that tells classes apart: LayerNormalization makes 'y'",
    ),
    "a tied weight": (
        "float[5,4] w",
        "i = Constant<value_ints = [0, 1, 2, 3]>()\n e = Gather(w, i)\n k = MatMul(h, e)\n"
        "t = Transpose<perm = [1, 0]>(w)\n y = MatMul(k, t)",
        {},
        "'w', the weight of the head '', is read by Gather",
    ),
    "another count than the entry's": ("float[5,4] w", "y = Gemm<transB = 1>(h, w)", {"classes": 1000}, "names 1000"),
}


@pytest.mark.parametrize("name", NO_HEAD)
def test_what_is_no_head_is_refused_with_what_it_is(name, model):
    weights, nodes, settings, words = NO_HEAD[name]
    text = f"net (float[N,4] x, {weights}) => (float[N,M] y) {{ h = Relu(x)\n {nodes} }}"
    marked = [w.split(" ")[-1] for w in weights.split(", ")]
    with pytest.raises(UsageError, match=words):
        apply(model(text, marked), num_classes=3, **settings)


def test_heads_of_two_widths_are_told_apart_by_the_entry_alone(model):
    text = """net (float[N,4] x, float[5,4] a__w, float[2,4] b__w) => (float[N,5] y, float[N,2] z) {
      y = Gemm<transB = 1>(x, a__w)
      z = Gemm<transB = 1>(x, b__w) }"""
    made = model(text, ("a.w", "b.w"), ("a", "b"))
    with pytest.raises(UsageError, match=r"heads of several widths: 'a' \(5\), 'b' \(2\)"):
        apply(made, num_classes=3)
    changed = apply(made, num_classes=3, classes=5)
    assert [[3, 4], [2, 4]] == [shape_of(v) for v in g.parameters(changed.graph).values()]


def test_a_quantised_head_is_refused_by_name(model):
    text = """net (float[N,4] x) => (float[N,5] y) <int8[4,5] q = {1}, float s = {0.5}> {
      w = DequantizeLinear(q, s)
      y = MatMul(x, w) }""".replace("q = {1}", "q = {" + ",".join(["1"] * 20) + "}")
    with pytest.raises(UsageError, match="MatMul .* its weight is quantised"):
        apply(model(text, ()), num_classes=3)


# ---- stems


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_stem_weights_are_summed_or_repeated_as_timm_does(channels):
    timm = pytest.importorskip("timm")
    torch = pytest.importorskip("torch")
    published = RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32)
    expected = timm.models.adapt_input_conv(channels, torch.from_numpy(published)).numpy()
    np.testing.assert_allclose(adapted(published, 1, channels), expected, rtol=1e-6, atol=1e-7)


def test_a_grey_picture_gives_what_it_gives_in_colour(classifier):
    bound, _ = filled(classifier)
    grey = IMAGE[:, :1]
    expected = run(bound, x=np.repeat(grey, 3, axis=1))["logits"]
    np.testing.assert_allclose(run(apply(bound, in_chans=1), x=grey)["logits"], expected, rtol=1e-4, atol=1e-5)


def test_channels_last_and_a_transposed_kernel(model):
    text = """net (float[N,8,8,3] x, float[3,3,3,4] k) => (float[N,4,6,6] y) {
      t = Transpose<perm = [0, 3, 1, 2]>(x)
      w = Transpose<perm = [3, 2, 0, 1]>(k)
      y = Conv(t, w) }"""
    bound, _ = filled(model(text, ("k",)))
    changed = apply(bound, in_chans=1)
    assert (3, 3, 1, 4) == weight(changed, "k").shape
    grey = IMAGE[:, :1].transpose(0, 2, 3, 1)
    expected = run(bound, x=np.repeat(grey, 3, axis=3))["y"]
    np.testing.assert_allclose(run(changed, x=grey)["y"], expected, rtol=1e-4, atol=1e-5)


PATCHES = """net (float[N,3,8,8] x, float[48,6] w) => (float[N,4,6] y) {
  s = Constant<value_ints = [-1, 3, 2, 4, 2, 4]>()
  a = Reshape(x, s)
  b = Transpose<perm = [0, 2, 4, 1, 3, 5]>(a)
  t = Constant<value_ints = [-1, 4, 48]>()
  c = Reshape(b, t)
  y = MatMul(c, w)
}"""


def test_patches_by_a_linear_layer_are_adapted_where_the_channels_stand(model):
    bound, _ = filled(model(PATCHES, ("w",)))
    changed = apply(bound, in_chans=1)
    assert (16, 6) == weight(changed, "w").shape
    grey = IMAGE[:, :1]
    expected = run(bound, x=np.repeat(grey, 3, axis=1))["y"]
    np.testing.assert_allclose(run(changed, x=grey)["y"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ("i = Constant<value_ints = [0]>()\n r = Gather<axis = 1>(x, i)\n y = Conv(r, w)", "Gather .*takes place 0"),
        (
            "m = Constant<value = float[3,1,1] {1, 2, 3}>()\n r = Sub(x, m)\n y = Conv(r, w)",
            "Sub .*3 would have to be 4",
        ),
        ("y = Conv<group = 3>(x, w)", "Conv .*for 3 channels in 3 groups"),
    ],
)
def test_channels_that_are_read_otherwise_are_refused_by_node(nodes, words, model):
    shape = "3,1,3,3" if "group" in nodes else "4,1,3,3" if "Gather" in nodes else "4,3,3,3"
    text = f"net (float[N,3,8,8] x, float[{shape}] w) => (float[N,M,6,6] y) {{ {nodes} }}"
    with pytest.raises(UsageError, match=rf"in_chans=4: 'net' is made for 3 channels, and they are fixed in {words}"):
        apply(model(text, ("w",)), in_chans=4)


def test_a_model_of_texts_has_no_channels_and_no_size(model):
    text = "net (int64[N,L] ids, float[9,4] w) => (float[N,L,4] y) { y = Gather(w, ids) }"
    for asked in ({"in_chans": 1}, {"input_size": (8, 8)}):
        with pytest.raises(UsageError, match=r"is for a model that takes one picture, and 'net' takes 'ids' \[N,L\]"):
            apply(model(text, ("w",)), **asked)


# ---- sizes


def vit(side, width=None):
    """A tiny vision transformer, exported at a fixed size: class token, positions, one attention, a head."""
    h, w = side // 4, (width or side) // 4
    n = h * w
    return f"""vit (float[N,3,{side},{width or side}] x, float[6,3,4,4] proj, float[1,1,6] cls, float[1,{n + 1},6] pos,
         float[6,18] qkv, float[5,6] head) => (float[N,5] y) {{
      a = Conv<strides = [4, 4]>(x, proj)
      s1 = Constant<value_ints = [-1, 6, {n}]>()
      b = Reshape(a, s1)
      c = Transpose<perm = [0, 2, 1]>(b)
      sh = Shape<start = 0, end = 1>(x)
      one = Constant<value_ints = [1, 1]>()
      e = Concat<axis = 0>(sh, one)
      t = Expand(cls, e)
      d = Concat<axis = 1>(t, c)
      f = Add(d, pos)
      q = MatMul(f, qkv)
      s2 = Constant<value_ints = [-1, {n + 1}, 3, 2, 3]>()
      r = Reshape(q, s2)
      u = Transpose<perm = [2, 0, 3, 1, 4]>(r)
      three = Constant<value_ints = [1, 1, 1]>()
      p0, p1, p2 = Split<axis = 0>(u, three)
      ax = Constant<value_ints = [0]>()
      q0 = Squeeze(p0, ax)
      k0 = Squeeze(p1, ax)
      v0 = Squeeze(p2, ax)
      kt = Transpose<perm = [0, 1, 3, 2]>(k0)
      m = MatMul(q0, kt)
      sm = Softmax(m)
      o = MatMul(sm, v0)
      ot = Transpose<perm = [0, 2, 1, 3]>(o)
      s3 = Constant<value_ints = [-1, {n + 1}, 6]>()
      z = Reshape(ot, s3)
      first = Constant<value_int = 0>()
      g = Gather<axis = 1>(z, first)
      y = Gemm<transB = 1>(g, head)
    }}"""


VIT_WEIGHTS = ("proj", "cls", "pos", "qkv", "head")


@pytest.mark.parametrize("size", [(24, 24), (8, 20), (12, 12)])
def test_a_transformer_at_another_size_is_the_one_exported_at_that_size(size, model):
    bound, arrays = filled(model(vit(16), VIT_WEIGHTS))
    changed = apply(bound, input_size=size)
    grid = resample(arrays["pos"][0, 1:].reshape(4, 4, 6), size[0] // 4, size[1] // 4).reshape(1, -1, 6)
    arrays["pos"] = np.concatenate([arrays["pos"][:, :1], grid], axis=1)
    assert np.array_equal(arrays["pos"], weight(changed, "pos"))
    again = bind(model(vit(*size), VIT_WEIGHTS), {k: ir.tensor(v, name=k) for k, v in arrays.items()})
    x = RANDOM.standard_normal((2, 3, *size)).astype(np.float32)
    np.testing.assert_array_equal(run(changed, x=x)["y"], run(again, x=x)["y"])
    for name in VIT_WEIGHTS:
        if name != "pos":
            assert changed.graph.initializers[name].const_value is bound.graph.initializers[name].const_value


def test_positions_are_resampled_as_torch_and_timm_do_it():
    torch = pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    published = RANDOM.standard_normal((1, 1 + 14 * 14, 8)).astype(np.float32)
    for size in ((24, 24), (7, 7), (10, 31)):
        expected = timm.layers.resample_abs_pos_embed(torch.from_numpy(published), list(size), num_prefix_tokens=1)
        grid = resample(published[0, 1:].reshape(14, 14, 8), *size).reshape(1, -1, 8)
        np.testing.assert_allclose(grid, expected[:, 1:].numpy(), rtol=1e-4, atol=1e-5)


def test_positions_that_are_looked_up_by_constant_ids_follow(model):
    text = """net (float[N,4,4,4] x, float[16,4] table) => (float[N,16,4] y) {
      s = Constant<value_ints = [-1, 4, 16]>()
      a = Reshape(x, s)
      b = Transpose<perm = [0, 2, 1]>(a)
      ids = Constant<value = int64[1,16] {0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}>()
      p = Gather(table, ids)
      y = Add(b, p) }"""
    lifted = model(text, ("table",))
    from onnx_ir.passes import common

    common.LiftConstantsToInitializersPass(lift_all_constants=True)(lifted)
    bound, _ = filled(lifted)
    changed = apply(bound, input_size=(6, 6))
    assert (36, 4) == weight(changed, "table").shape
    assert (2, 36, 4) == run(changed, x=np.ones((2, 4, 6, 6), np.float32))["y"].shape


MASKED = """net (float[N,3,4,4] x) => (float[N,16,16] y) {
  s = Constant<value_ints = [-1, 3, 16]>()
  a = Reshape(x, s)
  t = Transpose<perm = [0, 2, 1]>(a)
  m = MatMul(t, a)
  all = Constant<value = bool[1,16,1] {VALUES}>()
  n = Shape<start = 0, end = 1>(x)
  sizes = Constant<value_ints = [16, 16]>()
  e = Concat<axis = 0>(n, sizes)
  b = Expand(all, e)
  zero = Constant<value_float = 0.0>()
  low = Constant<value_float = -9.0>()
  mask = Where(b, zero, low)
  y = Add(m, mask)
}"""


def test_a_mask_that_is_the_same_at_every_place_is_stretched(model):
    made = model(MASKED.replace("VALUES", ",".join("1" * 16)), ())
    changed = apply(made, input_size=(6, 6))
    assert ["N", 36, 36] == shape_of(changed.graph.outputs[0])
    x = RANDOM.standard_normal((2, 3, 6, 6)).astype(np.float32)
    tokens = x.reshape(2, 3, 36)
    np.testing.assert_allclose(run(changed, x=x)["y"], tokens.transpose(0, 2, 1) @ tokens, rtol=1e-5, atol=1e-5)


def test_a_mask_that_hides_a_place_is_refused(model):
    with pytest.raises(UsageError, match=r"Add .*'mask' is \[N, 16, 16\]: 16 would have to be 36"):
        apply(model(MASKED.replace("VALUES", ",".join("0" + "1" * 15)), ()), input_size=(6, 6))


def test_one_mean_for_all_channels_is_one_for_any_number(model):
    text = """net (float[N,3,4,4] x, float[2,3,1,1] w) => (float[N,2,4,4] y) {
      half = Constant<value = float[1,3,1,1] {0.5, 0.5, 0.5}>()
      a = Sub(x, half)
      y = Conv(a, w) }"""
    bound, _ = filled(model(text, ("w",)))
    grey = IMAGE[:, :1, :4, :4]
    expected = run(bound, x=np.repeat(grey, 3, axis=1))["y"]
    np.testing.assert_allclose(run(apply(bound, in_chans=1), x=grey)["y"], expected, rtol=1e-4, atol=1e-5)


FIXED = {
    "a mixer": (
        "float[16,16] w",
        "s = Constant<value_ints = [-1, 3, 16]>()\n a = Reshape(x, s)\n y = MatMul(a, w)",
        "MatMul .*'w' is .16, 16.: 16 would have to be 36",
    ),
    "windows": (
        "float[1] w",
        "s = Constant<value_ints = [-1, 3, 2, 2, 2, 2]>()\n y = Reshape(x, s)",
        "Reshape .*splits an axis of 4, which becomes 6, at 2 of 4",
    ),
    "one window": (
        "float[1] w",
        "s = Constant<value_ints = [-1, 3, 1, 4, 1, 4]>()\n y = Reshape(x, s)",
        "Reshape .*one window of the whole picture",
    ),
    "a pool over all": ("float[1] w", "y = AveragePool<kernel_shape = [4, 4]>(x)", "AveragePool .*the whole picture"),
    "a flattened picture": ("float[48,5] w", "a = Flatten(x)\n y = MatMul(a, w)", "MatMul .*48 would have to be 108"),
    "sizes of a resize": (
        "float[1] w",
        's = Constant<value_ints = [1, 3, 8, 8]>()\n y = Resize<mode = "nearest">(x, , , s)',
        "Resize .*resizes an axis of 4 to 8",
    ),
    "a mask": (
        "float[1] w",
        "m = Constant<value = bool[1,4] {1,0,1,0}>()\n y = Where(m, x, w)",
        "Where .*4 would have to",
    ),
    "a scaling of places": ("float[3,4,4] w", "y = Mul(x, w)", "Mul .*'w' is"),
    "an operator that nobody thought about": (
        "float[1] w",
        "y = Trilu(x)",
        "Trilu .*no rule is known here",
    ),
}


@pytest.mark.parametrize("name", FIXED)
def test_what_a_size_has_decided_for_good_is_refused_by_node(name, model):
    weights, nodes, words = FIXED[name]
    batch = 1 if "resize" in name else "N"
    text = f"net (float[{batch},3,4,4] x, {weights}) => (float[A,B] y) {{ {nodes} }}"
    with pytest.raises(UsageError, match=rf"input_size=6x6: 'net' is made for 4 x 4 and has that baked into {words}"):
        apply(model(text, ("w",)), input_size=(6, 6))


@pytest.mark.parametrize(
    ("cls", "words"), [("timm.layers.conv2d_same.Conv2dSame", ""), ("Conv2d", "TensorFlow's `same`")]
)
def test_padding_as_tensorflow_has_it_follows_where_the_author_says_so(cls, words, model):
    text = """net (float[N,1,8,8] x, float[2,1,3,3] w) => (float[N,2,4,4] y) {
      p = Constant<value_ints = [0, 0, 0, 0, 0, 0, 1, 1]>()
      a = Pad(x, p)
      y = Conv<strides = [2, 2]>(a, w) }"""
    made = model(text, ("w",), ("stem", "stem", "stem"), **{g.MODULES: json.dumps({"": "Net", "stem": cls})})
    if words:
        assert shape_of(apply(made, input_size=(10, 12)).graph.outputs[0]) == ["N", 2, 5, 6]  # the padding is the same
        with pytest.raises(UsageError, match=words):
            apply(made, input_size=(9, 9))
        return
    bound, _ = filled(made)
    assert (2, 2, 5, 5) == run(apply(bound, input_size=(9, 9)), x=np.ones((2, 1, 9, 9), np.float32))["y"].shape


def test_a_free_size_is_fixed_and_what_is_made_of_it_too(model):
    text = """net (float[N,3,H,W] x, float[4,3,3,3] w) => (float[N,4,A] y) {
      a = Conv(x, w)
      s = Constant<value_ints = [0, 0, -1]>()
      y = Reshape(a, s) }"""
    changed = apply(model(text, ("w",)), input_size=(10, 12))
    assert ["N", 3, 10, 12] == shape_of(changed.graph.inputs[0])
    assert ["N", 4, 80] == shape_of(changed.graph.outputs[0])


def test_free_sizes_keep_their_names_in_what_is_made_of_them(model):
    text = """net (float[N,3,4,4] x) => (float[M,3] y) {
      s = Constant<value_ints = [-1, 3]>()
      t = Transpose<perm = [0, 2, 3, 1]>(x)
      y = Reshape(t, s) }"""
    assert ["36*N", 3] == shape_of(apply(model(text, ()), input_size=(6, 6)).graph.outputs[0])


def test_a_picture_too_small_is_refused(classifier):
    with pytest.raises(UsageError, match="Conv .*nothing would be left of the picture"):
        apply(classifier, input_size=(2, 2))


def test_as_many_positions_in_another_grid_are_refused(model):
    with pytest.raises(UsageError, match="give 16 as before"):
        apply(model(vit(16), VIT_WEIGHTS), input_size=(8, 32))


# ---- axes


@pytest.mark.parametrize(
    ("x", "y", "made"),
    [
        ([(2, 2), (6, 6), (4, 6), (4, 8)], [2, 6, 16], [(2, 2), (6, 6), (16, 48)]),
        ([(2, 2), (4, 6), (6, 6)], [2, 4, 2, 3], [(2, 2), (4, 6), (2, 2), (3, 3)]),
        ([(2, 2), (4, 6)], [2, 1, 4, 1], [(2, 2), (1, 1), (4, 6), (1, 1)]),
        ([(4, 6), (3, 3)], [12], [(12, 18)]),
    ],
)
def test_axes_are_merged_and_split(x, y, made):
    assert made == reshaped(x, y, Structures())


def test_a_merged_axis_is_split_where_it_was_merged_and_nowhere_else():
    structures = Structures()
    (_, merged) = reshaped([(2, 2), (4, 6), (4, 8)], [2, 16], structures)
    assert [(2, 2), (4, 6), (4, 8)] == reshaped([(2, 2), merged], [2, 4, 4], structures)
    with pytest.raises(Underivable, match="splits an axis"):
        reshaped([(2, 2), merged], [2, 8, 2], structures)


def test_what_is_joined_keeps_its_fixed_ends():
    structures = Structures()
    axis = structures.joined([(1, 1), (2, 2), (16, 36)])
    assert ((19, 39), (3, 0)) == (axis, structures.fixed_ends(axis))


# ---- outputs


@pytest.fixture
def deep(model):
    text = """deep (float[N,4] x, float[4,4] block__a__weight, float[4] block__bn__running_mean,
          int64 block__bn__num_batches_tracked, float[4,4] head__weight, float[4] mask) => (float[N,4] y) {
      a = MatMul(x, block__a__weight)
      b = Sub(a, block__bn__running_mean)
      c = Relu(b)
      d = Relu(c)
      e = Tanh(d)
      y = MatMul(e, head__weight)
    }"""
    paths = ("block.a", "block.bn", "block.act", "block.act", "", "head")
    names = ("block.a.weight", "block.bn.running_mean", "block.bn.num_batches_tracked", "head.weight", "mask")
    tree = ("", "block", "block.a", "block.bn", "block.act", "block.none", "head", "head.none")
    return model(text, names, paths, **{g.MODULES: json.dumps(dict.fromkeys(tree, "M")), g.HEAD: "head"})


def test_an_inner_output_goes_by_its_modules_path_and_the_rest_is_cut_away(deep):
    bound, _ = filled(deep)
    changed = apply(bound, outputs=["block"])
    assert ["block"] == [v.name for v in changed.graph.outputs]
    expected = ["block.a.weight", "block.bn.running_mean", "block.bn.num_batches_tracked", "mask"]
    assert expected == list(g.parameters(changed.graph))
    assert ["", "block", "block.a", "block.bn", "block.act", "block.none"] == list(g.modules(changed))
    assert g.HEAD not in changed.metadata_props
    x = RANDOM.standard_normal((2, 4)).astype(np.float32)
    np.testing.assert_array_equal(run(changed, x=x)["block"], inner(bound, "d", x=x))


def test_a_counter_goes_with_its_module(deep):
    assert ["block.a.weight", "mask"] == list(g.parameters(apply(deep, outputs=["block.a"]).graph))


def test_a_module_that_is_called_twice_has_two_outputs(deep):
    made = apply(deep, outputs=["block.act", "block.a"])
    assert ["block.act", "block.a"] == [
        v.name for v in made.graph.outputs
    ]  # the first call is read by the second alone
    bound, _ = filled(deep)
    changed = apply(bound, outputs=["block.bn", "y", "e", "head", "block.act"])
    assert ["block.bn", "y", "e", "head", "block.act"] == list(run(changed, x=np.ones((1, 4), np.float32)))


def test_several_outputs_of_a_module_are_numbered_and_can_be_asked_for(model):
    text = """net (float[N,4] x) => (float[N,4] y) {
      a, b = Split<axis = 1, num_outputs = 2>(x)
      c = Tanh(b)
      y = Concat<axis = 1>(c, a) }"""
    made = model(text, (), ("cut", "act", ""))
    assert ["cut", "cut:1"] == [v.name for v in apply(made, outputs=["cut"]).graph.outputs]
    x = np.arange(4, dtype=np.float32)[None]
    assert [[2.0, 3.0]] == run(apply(made, outputs=["cut:1"]), x=x)["cut:1"].tolist()


def test_a_name_that_another_value_has_is_given_up_by_that_value(model):
    text = """net (float[N,4] x) => (float[N,4] y) {
      act = Relu(x)
      other = Tanh(act)
      y = Sigmoid(other) }"""
    bound = model(text, (), ("first", "act", "last"))
    x = np.array([[1.0, -1, 2, 0]], np.float32)
    got = run(apply(bound, outputs=["act", "first"]), x=x)
    np.testing.assert_allclose(got["act"], np.tanh(np.maximum(x, 0)), rtol=1e-6)
    np.testing.assert_allclose(got["first"], np.maximum(x, 0))


def test_an_unknown_output_answers_with_the_nearest(deep):
    with pytest.raises(
        UnknownOutput, match="no module, output or value 'block.ac'.*Did you mean 'block.act', 'block.a'"
    ):
        apply(deep, outputs=["block.ac"])
    with pytest.raises(UnknownOutput, match="no module, output or value 'block.act:7'"):
        apply(deep, outputs=["block.act:7"])


def test_a_new_head_that_is_cut_away_is_an_error(classifier):
    with pytest.raises(UsageError, match="num_classes=7 makes a new head, 'fc.weight', which outputs="):
        apply(classifier, num_classes=7, outputs=["pool"])


def test_no_weight_is_read_before_it_is_asked_for(classifier):
    def never():
        raise AssertionError("a weight was read")

    wanted = g.parameters(classifier.graph)
    tensors = {
        name: ir.LazyTensor(never, dtype=v.dtype, shape=ir.Shape([int(d) for d in v.shape]), name=name)
        for name, v in wanted.items()
    }
    changed = apply(bind(classifier, tensors), num_classes=3, in_chans=1, input_size=(16, 16), outputs=["fc"])
    assert (4, 1, 3, 3) == tuple(changed.graph.initializers["stem.weight"].const_value.shape)
    with pytest.raises(AssertionError, match="a weight was read"):
        weight(changed, "stem.weight")


# ---- model files, which mark no parameters


def test_a_model_file_of_another_opset_is_changed_at_its_own(graph):
    text = """<ir_version: 7, opset_import: ["" : 11]> net (float[N,3,8,8] x) => (float[N,5] y)
      <float[4,3,3,3] w = {W}, float[4,5] k = {K}, float[5] b = {1, 2, 3, 4, 5}> {
      a = Conv(x, w)
      c = GlobalAveragePool(a)
      s = Constant<value = int64[2] {-1, 4}>()
      d = Reshape(c, s)
      e = MatMul(d, k)
      y = Add(e, b)
    }"""
    numbers = [", ".join(f"{v:.3f}" for v in RANDOM.standard_normal(n)) for n in (108, 20)]
    made = graph(text.replace("{W}", f"{{{numbers[0]}}}").replace("{K}", f"{{{numbers[1]}}}"))
    changed = apply(made, num_classes=2, in_chans=1, input_size=(12, 12))
    assert 11 == changed.opset_imports[""]
    assert (2, 2) == run(changed, x=np.ones((2, 1, 12, 12), np.float32))["y"].shape
