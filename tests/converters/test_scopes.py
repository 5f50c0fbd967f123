from __future__ import annotations

import json

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from zoo.converters.graph import MODULES, module_path
from zoo.converters.scopes import CLASSES, SCOPES, _joined, adopt


def tree(model: ir.Model) -> dict[str, str]:
    return json.loads(model.metadata_props.get(MODULES, "{}"))


@pytest.mark.parametrize(
    ("path", "part", "joined"),
    [
        ("", "layer1", "layer1"),
        ("layer1", "layer1.0", "layer1.0"),
        ("layer1.0", "conv1", "layer1.0.conv1"),
        ("backbone.features", "features.0.2", "backbone.features.0.2"),
        ("encoder", "layer.0", "encoder.layer.0"),
        ("encoder.layer", "layer.0", "encoder.layer.0"),
    ],
)
def test_a_containers_child_carries_the_containers_name(path, part, joined):
    assert joined == _joined(path, part)


def traced() -> ir.Model:
    """As the older exporter writes nn.Sequential(nn.Linear(4, 3), nn.ReLU()) in a module called `head`."""
    weight, bias = np.arange(12, dtype=np.float32).reshape(4, 3), np.ones(3, dtype=np.float32)
    values = {
        n: ir.Value(name=n, const_value=ir.tensor(a, name=n))
        for n, a in (("onnx::MatMul_9", weight), ("head.0.bias", bias))
    }
    x = ir.Value(name="x", shape=ir.Shape([2, 4]), type=ir.TensorType(ir.DataType.FLOAT))
    product = ir.node("MatMul", [x, values["onnx::MatMul_9"]], name="/head/head.0/MatMul")
    add = ir.node("Add", [values["head.0.bias"], product.outputs[0]], name="/head/head.0/Add")
    relu = ir.node("Relu", add.outputs, name="/head/head.1/Relu")
    for i, node in enumerate((product, add, relu)):
        node.outputs[0].name = f"v{i}"
        node.outputs[0].type, node.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([2, 3])
    graph = ir.Graph(
        [x],
        relu.outputs,
        nodes=[product, add, relu],
        initializers=list(values.values()),
        opset_imports={"": 17},
        name="g",
    )
    return ir.Model(graph, ir_version=8, producer_name="pytorch")


def test_node_names_of_the_older_exporter_become_the_module_tree():
    model = traced()
    adopt(model)
    assert {
        "": "",
        "head": "torch.nn.modules.container.Sequential",
        "head.0": "",
        "head.1": "torch.nn.modules.activation.ReLU",
    } == tree(model)
    assert ["head.0", "head.0", "head.0", "head.1"] == [module_path(node) for node in model.graph]


def test_a_linear_layers_weight_gets_its_name_and_layout_back_and_computes_the_same():
    model = traced()
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    before = ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x})
    adopt(model)
    assert {"head.0.weight": (3, 4), "head.0.bias": (3,)} == {
        n: tuple(v.const_value.shape) for n, v in model.graph.initializers.items()
    }
    np.testing.assert_array_equal(before[0], ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x})[0])


def test_scopes_in_metadata_give_paths_and_classes(graph):
    model = graph("agraph (float[2] x) => (float[2] y) { y = Relu(x) }")
    model.graph[0].metadata_props[SCOPES] = "['', 'act', 'relu_1']"
    model.graph[0].metadata_props[CLASSES] = "['net.Net', 'torch.nn.modules.activation.ReLU', 'aten.relu.default']"
    adopt(model)
    assert {"": "net.Net", "act": "torch.nn.modules.activation.ReLU"} == tree(model)


@pytest.mark.parametrize("text", ["[", "[1, 2", "__import__('os')", "'just text'", "['', 'a']"])
def test_metadata_that_is_no_list_of_scopes_is_left_alone(graph, text):
    model = graph("agraph (float[2] x) => (float[2] y) { y = Relu(x) }")
    model.graph[0].metadata_props[SCOPES] = text
    adopt(model)
    assert {} == tree(model)


def test_a_graph_that_torch_did_not_export_has_no_tree(graph):
    model = graph("agraph (float[2] x) => (float[2] y) { y = Relu(x) }")
    model.graph[0].name = "/a/b/Relu"
    adopt(model)
    assert {} == tree(model)
