"""Families of models with channels last: none of their pictures is transposed inside, and the numbers are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx.inliner
import onnx_ir as ir
import pytest

import zoo.architectures
from zoo.converters import graph as g
from zoo.converters.bind import bind
from zoo.converters.canonical import canonical
from zoo.converters.fuse import fuse
from zoo.converters.layout import channels_last, layouts
from zoo.converters.opsets import at_opset
from zoo.converters.writers.onnx.writer import session

STORED = Path(zoo.architectures.__file__).parent
LAST = (0, 2, 3, 1)
SIZE = 32  # of pictures, where the architecture leaves it free
FAMILIES = {  # stored graph -> how many Transposes it has, and how many are left
    "torchvision/resnet50": (0, 0),
    "timm/resnet50": (0, 0),
    "keras/resnet50": (1, 0),  # its own: from the channels last that it is fed
    "torchvision/mobilenet_v3_small": (0, 0),
    "timm/mobilenetv3_large_100": (0, 0),
    "torchvision/efficientnet_b0": (0, 0),
    "timm/tf_efficientnet_lite0": (0, 0),
    "torchvision/convnext_tiny": (46, 0),
    "timm/convnext_tiny": (46, 0),
    "torchvision/vit_b_16": (85, 84),  # attention's own: all but that of the patches
    "torchvision/swin_t": (55, 50),  # of windows and heads: all but those around convolutions
}


def stored(name: str) -> ir.Model:
    return fuse(canonical(g.load(STORED / f"{name}.onnx.gz")))


def drawn(model: ir.Model) -> dict[str, Any]:
    """What a weightless model is fed, its weights such that values neither vanish nor grow."""
    random, made = np.random.default_rng(0), {}
    for value in model.graph.inputs:
        free = 2 if len(value.shape) < 3 else SIZE
        shape = [d if isinstance(d, int) else free if i else 2 for i, d in enumerate(value.shape)]
        array = random.standard_normal(shape) / np.sqrt(max(np.prod(shape[1:]), 1) if g.is_parameter(value) else 1)
        if g.is_parameter(value) and len(shape) == 1:
            array = 1 + 0.1 * random.random(shape)
        made[value.name] = array.astype(value.dtype.numpy())
    return made


def run(model: ir.Model, feeds: dict[str, Any]) -> list[Any]:
    """By ONNX Runtime, at the newest opset that it has kernels for; the bodies of forms inlined."""
    inlined = ir.from_proto(onnx.inliner.inline_local_functions(ir.to_proto(model)))
    bound = bind(inlined, {name: ir.tensor(feeds[name]) for name in g.parameters(model.graph)})
    runner = session(at_opset(bound, g.STORED_OPSET))
    made = runner.run({value.name: feeds[value.name] for value in g.data_inputs(model.graph)})
    return [made[value.name] for value in model.graph.outputs]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_familys_pictures_are_not_transposed_inside(name):
    model = stored(name)
    report = channels_last(model, lambda node: True)
    assert FAMILIES[name] == (len(report.before), len(report.after))
    assert not [left for left in report.after if not left.reason.startswith("the graph's own")]
    assert {LAST} == {*layouts(model).inputs.values()} or name.startswith("keras/")
    layers = [node for node in model.graph if node.op_type in ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool")]
    assert {g.CHANNELS_LAST} == {node.domain for node in layers}


@pytest.mark.parametrize(
    "name", ["torchvision/mobilenet_v3_small", "timm/tf_efficientnet_lite0", "torchvision/resnet50"]
)
def test_a_familys_numbers_are_the_same(name):
    model = stored(name)
    feeds = drawn(model)
    expected = run(model, feeds)
    channels_last(model, lambda node: True)
    turned = layouts(model)
    fed = {n: np.transpose(x, turned.inputs[n]) if n in turned.inputs else x for n, x in feeds.items()}
    for want, have in zip(expected, run(model, fed), strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


def block(x: str, y: str, c: int) -> str:
    """Two convolutions with batch norm, as U-Nets have them; weights by their number of channels."""
    return f"""{y}_1 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> ({x}, w_{y}1)
    {y}_2 = BatchNormalization ({y}_1, s_{c}, s_{c}, s_{c}, s_{c})
    {y}_3 = Relu({y}_2) {y}_4 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> ({y}_3, w_{y}2) {y} = Relu({y}_4)"""


UNET = f"""agraph (float[n, 3, 16, 16] x, float[4, 3, 3, 3] w_a1, float[4, 4, 3, 3] w_a2,
    float[8, 4, 3, 3] w_b1, float[8, 8, 3, 3] w_b2, float[8, 4, 2, 2] w_u, float[4, 8, 3, 3] w_c1,
    float[4, 4, 3, 3] w_c2, float[4, 12, 3, 3] w_d1, float[4, 4, 3, 3] w_d2,
    float[4] s_4, float[8] s_8, float[2, 4, 1, 1] w_m)
    => (float[n, 2, 16, 16] masks, int64[n, 16, 16] classes) <float[4] scale = {{1, 1, 2, 2}}> {{
    {block("x", "a", 4)}
    p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)
    {block("p", "b", 8)}
    u = ConvTranspose <kernel_shape = [2, 2], strides = [2, 2]> (b, w_u)
    j = Concat <axis = 1> (u, a)
    {block("j", "c", 4)}
    r = Resize <mode = "linear"> (b, , scale)
    k = Concat <axis = 1> (r, c)
    {block("k", "d", 4)}
    masks = Conv (d, w_m)
    chances = Softmax <axis = 1> (masks)
    classes = ArgMax <axis = 1, keepdims = 0> (chances)
}}"""


def ssd() -> str:
    """Three maps, each with two heads; boxes and scores of all places in one tensor each."""
    names = [f"float[{c}, 4, 3, 3] w_{kind}{i}" for i in range(3) for kind, c in (("box", 8), ("class", 6))]
    body = ["m0 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w_x)"]
    for i in range(3):
        if i:
            body.append(f"m{i} = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (m{i - 1})")
        for kind in ("box", "class"):
            v = f"{kind}{i}"
            body.append(f"""{v}_1 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (m{i}, w_{v})
                {v}_2 = Reshape({v}_1, {kind}_to{i}) {v}_3 = Transpose <perm = [0, 3, 4, 1, 2]> ({v}_2)
                {v}_4 = Reshape({v}_3, {kind}_flat)""")
    body += [f"{kind} = Concat <axis = 1> ({kind}0_4, {kind}1_4, {kind}2_4)" for kind in ("box", "class")]
    constants = [
        f"int64[5] {kind}_to{i} = {{0, 2, {k}, {s}, {s}}}"
        for i, s in enumerate((8, 4, 2))
        for kind, k in (("box", 4), ("class", 3))
    ]
    constants += ["int64[3] box_flat = {0, -1, 4}", "int64[3] class_flat = {0, -1, 3}"]
    return f"""agraph (float[n, 3, 8, 8] x, float[4, 3, 3, 3] w_x, {", ".join(names)})
        => (float[n, 168, 4] box, float[n, 168, 3] scores)
        <{", ".join(constants)}> {{ {" ".join(body)} scores = Softmax <axis = 2> (class) }}"""


@pytest.mark.parametrize(("text", "outputs"), [(UNET, {"masks": LAST}), (ssd(), {})], ids=["U-Net", "SSD"])
def test_branches_that_meet_again_are_not_transposed(graph, compares, text, outputs):
    model = graph(text)
    for value in model.graph.inputs[1:]:
        value.metadata_props[g.PARAMETER] = "parameter"
    model = canonical(model)
    report = compares(model, drawn(model))
    assert () == report.after
    assert "Transpose" not in [node.op_type for node in model.graph]
    assert ({"x": LAST}, outputs) == layouts(model)


def test_a_thousand_layers_in_a_row_need_none(graph):
    steps = (f"c{i + 1} = Conv (c{i}, w) a{i + 1} = Relu(c{i + 1}) b{i + 1} = Add(a{i + 1}, c{i})" for i in range(400))
    model = graph(f"""agraph (float[1, 4, 8, 8] x, float[4, 4, 1, 1] w) => (float[1, 4, 8, 8] y) {{
        c0 = Relu(x) {" ".join(steps)} y = Sum({", ".join(f"b{i + 1}" for i in range(400))}) }}""")
    model.graph.inputs[1].metadata_props[g.PARAMETER] = "parameter"
    assert () == channels_last(canonical(model), lambda node: True).after
