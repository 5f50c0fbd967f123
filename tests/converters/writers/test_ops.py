"""Rows: an operator with attributes and inputs, over every installed framework, against onnx's reference evaluator."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

import zoo
from zoo.converters.frameworks import FRAMEWORKS
from zoo.converters.graph import OPSET
from zoo.errors import UnsupportedOps

pytestmark = pytest.mark.parity
RNG = np.random.default_rng(0)


def f(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def i(*items):
    return np.array(items, dtype=np.int64)


FRAMEWORK = [name for name in FRAMEWORKS if name != "onnx"]
ROWS = [  # op, attributes, inputs; an input in a list is a constant of the graph
    ("Gemm", {}, [f(2, 3), f(3, 4)]),
    ("Gemm", {"transB": 1}, [f(2, 3), f(4, 3), f(4)]),
    ("Gemm", {"transB": 1}, [f(2, 3), f(4, 3), f(2, 4)]),
    ("Gemm", {"alpha": 0.5, "beta": 2.0, "transA": 1}, [f(3, 2), f(3, 4), f(1)]),
    ("MatMul", {}, [f(2, 3, 4), f(4, 5)]),
    ("Add", {}, [f(2, 3), f(3)]),
    ("Sub", {}, [f(2, 3), f(1)]),
    ("Div", {}, [i(7, -7, 7, -7), i(2, 2, -2, -2)]),
    ("Mod", {}, [i(7, -7, 7, -7), i(2, 2, -2, -2)]),
    ("Mod", {"fmod": 1}, [f(4), np.abs(f(4)) + 0.5]),
    ("Pow", {}, [np.abs(f(3)), f(3)]),
    ("Max", {}, [f(3), f(2, 3), f(1)]),
    ("Clip", {}, [f(5), [np.float32(-0.5)], [np.float32(0.5)]]),
    ("Clip", {}, [f(5), None, [np.float32(0.1)]]),
    *(
        (op, {}, [f(2, 5)])
        for op in ("Relu", "Sigmoid", "Tanh", "Erf", "Abs", "Neg", "Floor", "Ceil", "Round", "HardSwish")
    ),
    *((op, {}, [f(2, 5)]) for op in ("Exp", "Softplus", "Mish", "Gelu", "LeakyRelu", "Elu", "HardSigmoid", "Softmax")),
    ("Gelu", {"approximate": "tanh"}, [f(9)]),
    ("HardSigmoid", {"alpha": 1 / 6}, [f(9)]),
    ("PRelu", {}, [f(2, 3, 4), f(3, 1)]),
    ("Softmax", {"axis": 1}, [f(2, 3, 4)]),
    ("LogSoftmax", {"axis": 0}, [f(2, 3)]),
    ("CumSum", {"exclusive": 1, "reverse": 1}, [f(2, 3), [np.int64(1)]]),
    ("Einsum", {"equation": "bij, bjk -> bik"}, [f(2, 3, 4), f(2, 4, 5)]),
    ("Conv", {}, [f(2, 4, 7, 7), f(6, 4, 3, 3), f(6)]),
    (
        "Conv",
        {"group": 2, "strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [1, 2]},
        [f(2, 4, 9, 9), f(6, 2, 3, 3)],
    ),
    ("Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, [f(1, 3, 7, 8), f(5, 3, 3, 3)]),
    ("Conv", {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, [f(1, 3, 7, 8), f(5, 3, 4, 4)]),
    ("Conv", {"pads": [1, 1]}, [f(2, 3, 9), f(4, 3, 3)]),
    ("Conv", {"pads": [1] * 6}, [f(1, 2, 4, 4, 4), f(3, 2, 3, 3, 3)]),
    (
        "ConvTranspose",
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
        [f(1, 3, 4, 4), f(3, 5, 3, 3), f(5)],
    ),
    ("ConvTranspose", {"strides": [2, 2], "pads": [0, 0, 1, 1]}, [f(1, 3, 4, 4), f(3, 5, 3, 3)]),
    ("BatchNormalization", {"epsilon": 1e-3}, [f(2, 3, 4, 4), f(3), f(3), f(3), np.abs(f(3)) + 0.5]),
    ("LayerNormalization", {"epsilon": 1e-3}, [f(2, 3, 4), f(4), f(4)]),
    ("LayerNormalization", {"axis": 1}, [f(2, 3, 4), f(3, 4)]),
    ("GroupNormalization", {"num_groups": 2}, [f(2, 4, 3, 3), f(4), f(4)]),
    ("InstanceNormalization", {}, [f(2, 3, 4, 4), f(3), f(3)]),
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, [f(2, 3, 8, 8)]),
    ("MaxPool", {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1], "strides": [2, 2]}, [f(2, 3, 7, 7)]),
    ("MaxPool", {"kernel_shape": [3], "dilations": [2]}, [f(2, 3, 9)]),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, [f(2, 3, 8, 8)]),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, [f(2, 3, 8, 8)]),
    ("AveragePool", {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1], "count_include_pad": 1}, [f(2, 3, 7, 7)]),
    ("GlobalAveragePool", {}, [f(2, 3, 4, 5)]),
    ("GlobalMaxPool", {}, [f(2, 3, 4, 5)]),
    ("Flatten", {"axis": 2}, [f(2, 3, 4, 5)]),
    ("Flatten", {"axis": 0}, [f(2, 3)]),
    ("Attention", {}, [f(2, 3, 4, 8), f(2, 3, 5, 8), f(2, 3, 5, 8)]),
    ("Attention", {"scale": 0.3}, [f(2, 3, 4, 8), f(2, 3, 5, 8), f(2, 3, 5, 8), f(4, 5)]),
    ("Attention", {"is_causal": 1}, [f(2, 3, 4, 8), f(2, 3, 4, 8), f(2, 3, 4, 8)]),
    ("Attention", {"q_num_heads": 3, "kv_num_heads": 3}, [f(2, 4, 24), f(2, 5, 24), f(2, 5, 24)]),
    ("Reshape", {}, [f(2, 3, 4), [i(0, -1)]]),
    ("Reshape", {}, [f(2, 3, 4), [i(-1, 12)]]),
    ("Transpose", {"perm": [0, 2, 1]}, [f(2, 3, 4)]),
    ("Transpose", {}, [f(2, 3, 4)]),
    ("Concat", {"axis": -1}, [f(2, 3), f(2, 1)]),
    ("Split", {"axis": 1, "num_outputs": 2}, [f(2, 5)]),
    ("Split", {"axis": 0}, [f(5, 2), [i(1, 4)]]),
    ("Slice", {}, [f(5, 6), [i(1, -4)], [i(4, -1)], [i(0, 1)], [i(1, 2)]]),
    ("Slice", {}, [f(5, 6), [i(-1)], [i(-(2**62))], [i(0)], [i(-2)]]),
    ("Slice", {}, [f(5, 6), [i(3)], [i(0)], [i(1)], [i(-1)]]),
    ("Squeeze", {}, [f(2, 1, 3, 1), [i(1, -1)]]),
    ("Unsqueeze", {}, [f(2, 3), [i(0, -1)]]),
    ("Expand", {}, [f(3, 1), [i(2, 1, 4)]]),
    ("Expand", {}, [f(3, 4), [i(1)]]),
    ("Tile", {}, [f(2, 3), [i(2, 1)]]),
    ("Gather", {"axis": 1}, [f(3, 4), i(0, -1)]),
    ("Gather", {"axis": 1}, [f(3, 4), [i(3, -2)]]),
    ("Gather", {}, [f(3, 4), [np.int64(-1)]]),
    ("GatherElements", {"axis": 1}, [f(2, 3), np.array([[0, -1], [2, 1]])]),
    ("GatherND", {}, [f(3, 4), np.array([[0, 1], [2, 3]])]),
    ("ScatterND", {}, [f(4), np.array([[1], [3]]), f(2)]),
    ("Where", {}, [f(2, 3) > 0, f(2, 3), f(3)]),
    ("Where", {}, [f(2, 3) > 0, f(2, 3), [np.float32(-1e9)]]),
    ("Pad", {}, [f(2, 3), [i(0, 1, 2, 0)], [np.float32(7)]]),
    ("Pad", {"mode": "reflect"}, [f(1, 2, 4, 4), [i(0, 0, 1, 2, 0, 0, 1, 0)]]),
    ("Resize", {"mode": "linear"}, [f(1, 2, 4, 4), None, None, [i(1, 2, 8, 6)]]),
    (
        "Resize",
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        [f(1, 2, 4, 4), None, [np.float32([1, 1, 2, 2])]],
    ),
    ("DepthToSpace", {"blocksize": 2}, [f(1, 8, 2, 3)]),
    ("DepthToSpace", {"blocksize": 2, "mode": "CRD"}, [f(1, 8, 2, 3)]),
    ("Trilu", {"upper": 0}, [f(4, 4), [np.int64(-1)]]),
    ("Range", {}, [np.int64(2), np.int64(11), np.int64(3)]),
    ("Cast", {"to": 7}, [f(5) * 3]),
    ("IsNaN", {}, [np.float32([1, np.nan])]),
    ("ReduceMean", {"keepdims": 0}, [f(2, 3, 4), [i(-1, 0)]]),
    ("ReduceSum", {}, [f(2, 3)]),
    ("ReduceMax", {"keepdims": 0}, [f(2, 3, 4), [i(1)]]),
    ("ReduceL2", {}, [f(2, 3, 4), [i(1)]]),
    ("ArgMax", {"axis": 1, "keepdims": 0}, [f(2, 5)]),
    ("ArgMax", {"select_last_index": 1}, [np.float32([1, 3, 3])]),
    ("TopK", {}, [f(2, 6), [i(3)]]),
    *((op, {}, [f(3, 4), f(4)]) for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    *((op, {}, [f(3) > 0, f(3) > 0]) for op in ("And", "Or", "Xor")),
    ("Not", {}, [f(3) > 0]),
    ("Dropout", {}, [f(3, 4), [np.float32(0.3)]]),
]


def model_of(op, attributes, inputs):
    names, initializers, feeds = [], [], {}
    for n, value in enumerate(inputs):
        names.append("" if value is None else f"x{n}")
        if isinstance(value, list):
            initializers.append(onnx.numpy_helper.from_array(np.asarray(value[0]), f"x{n}"))
        elif value is not None:
            feeds[f"x{n}"] = np.asarray(value)
    schema = onnx.defs.get_schema(op, OPSET)
    count = attributes.get("num_outputs") or (len(inputs[1][0]) if op == "Split" else 2 if op == "TopK" else 1)
    outs = [f"y{n}" for n in range(count)]
    node = onnx.helper.make_node(op, names, outs, **attributes)
    given = [
        onnx.helper.make_tensor_value_info(k, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in feeds.items()
    ]
    graph = onnx.helper.make_graph([node], op, given, [onnx.ValueInfoProto(name=o) for o in outs], initializers)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)
    assert schema.name == op
    return onnx.shape_inference.infer_shapes(model), feeds


@pytest.mark.parametrize("framework", FRAMEWORK)
@pytest.mark.parametrize(("op", "attributes", "inputs"), ROWS, ids=[f"{n}-{row[0]}" for n, row in enumerate(ROWS)])
def test_an_operator_computes_what_the_specification_says(framework, op, attributes, inputs):
    pytest.importorskip(FRAMEWORKS[framework].package)
    model, feeds = model_of(op, attributes, inputs)
    expected = ReferenceEvaluator(model).run(None, feeds)
    runner = zoo.runner(model, framework)
    got = runner.run(feeds)
    for want, name in zip(expected, [o.name for o in runner.outputs], strict=True):
        assert np.asarray(want).dtype == got[name].dtype
        np.testing.assert_allclose(got[name], want, rtol=1e-4, atol=1e-5)  # float32 sums in another order


@pytest.mark.parametrize("framework", FRAMEWORK)
def test_every_operator_without_a_lowering_is_listed_before_any_work(framework):
    pytest.importorskip(FRAMEWORKS[framework].package)
    text = """<ir_version: 10, opset_import: ["" : 23, "made.up" : 1]>
    agraph (float[2] x) => (float[2] z) { a = made.up.Whirl(x) b = made.up.Whirl(a) z = made.up.Twist(b) }"""
    with pytest.raises(
        UnsupportedOps, match=r"(?s)3 nodes .*made.up::Whirl +x2.*made.up::Twist +x1.*Nothing was written"
    ):
        zoo.load(onnx.parser.parse_model(text), framework)


def test_an_attribute_is_the_number_that_was_written():
    from zoo.converters.writers.driver import plain

    assert 0.001 == plain(ir.AttrFloat32("epsilon", float(np.float32(0.001))), {})
