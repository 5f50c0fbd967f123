"""framework="gluon": a HybridBlock that hybridizes, trains, exports and saves, in the author's module tree."""

from __future__ import annotations

import numpy as np
import pytest

import zoo
from zoo.converters.frameworks import framework
from zoo.errors import BadInput, HubError

from .conftest import parsed

writer = framework("gluon").module("writer")
import mxnet as mx  # noqa: E402 - its shims are set by the folder of the writer
from mxnet import autograd, gluon  # noqa: E402

pytestmark = pytest.mark.gluon


@pytest.mark.parametrize("hybrid", [False, True])
def test_the_block_computes_what_onnx_runtime_does(pictures, x, expected, hybrid):
    net = zoo.load(pictures, framework="gluon")
    net.hybridize(hybrid)
    np.testing.assert_allclose(net(mx.nd.array(x)).asnumpy(), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(net(x=mx.nd.array(x[:1])).asnumpy(), expected[:1], rtol=1e-5, atol=1e-5)
    with pytest.raises(BadInput, match="2 inputs, the model has 1: x"):
        net(mx.nd.array(x), mx.nd.array(x))


def test_children_are_the_authors_modules_and_parameters_bear_his_names(pictures, weights):
    net = zoo.load(pictures, framework="gluon")
    assert list(net.collect_params()) == list(weights)
    assert net["layers"][0]["depthwise"]._reg_params["weight"] is net.collect_params()["layers.0.depthwise.weight"]
    trained = {name for name, parameter in net.collect_params().items() if parameter.grad_req == "write"}
    assert set(weights) - {"stem.bn.running_mean", "stem.bn.running_var"} == trained


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_training_step_changes_parameters_and_running_statistics(pictures, x, weights, hybrid):
    net = zoo.load(pictures, framework="gluon")
    net.hybridize(hybrid)
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 1e-2})
    loss_of, labels = gluon.loss.SoftmaxCrossEntropyLoss(), mx.nd.array([1, 2])
    losses = []
    for _ in range(4):
        with autograd.record():
            loss = loss_of(net(mx.nd.array(x)), labels)
        loss.backward()
        trainer.step(2)
        losses.append(float(loss.mean().asscalar()))
    back = writer.tensors(net)
    assert all(np.isfinite(losses))
    assert set(weights) == {name for name, array in weights.items() if not np.array_equal(back[name].numpy(), array)}


def test_export_and_save_parameters_are_opened_by_gluon(pictures, x, expected, tmp_path):
    net = zoo.load(pictures, framework="gluon")
    net.hybridize()
    net(mx.nd.array(x))
    net.export(str(tmp_path / "net"))
    net.save_parameters(str(tmp_path / "net.params"))
    names = str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params")
    opened = gluon.SymbolBlock.imports(*names)
    np.testing.assert_allclose(opened(mx.nd.array(x)).asnumpy(), expected, rtol=1e-5, atol=1e-5)
    again = zoo.load(parsed_without_numbers(pictures), framework="gluon")
    again.load_parameters(str(tmp_path / "net.params"))
    np.testing.assert_allclose(again(mx.nd.array(x)).asnumpy(), expected, rtol=1e-5, atol=1e-5)


def parsed_without_numbers(pictures):
    model = type(pictures).FromString(pictures.SerializeToString())
    for tensor in model.graph.initializer:
        tensor.CopyFrom(mx_zeros(tensor))
    return model


def mx_zeros(tensor):
    import onnx

    array = onnx.numpy_helper.to_array(tensor)
    return onnx.numpy_helper.from_array(np.zeros_like(array), tensor.name)


def test_the_way_back_is_bit_equal(pictures, weights):
    back = writer.tensors(zoo.load(pictures, framework="gluon"))
    assert {name: array.tobytes() for name, array in weights.items()} == {
        name: tensor.numpy().tobytes() for name, tensor in back.items()
    }


def test_several_outputs_are_a_dict_by_the_authors_names():
    net = zoo.load(parsed("agraph (float[2] x) => (float[2] a, float[2] b) { a = Neg (x)  b = Abs (x) }"), "gluon")
    made = net(mx.nd.array([1, -2]))
    assert {"a": [-1, 2], "b": [1, 2]} == {name: value.asnumpy().tolist() for name, value in made.items()}


def test_a_block_whose_shapes_depend_on_numbers_runs_until_it_is_hybridized():
    graph = """agraph (float[N] x) => (float[M] y) { zero = Constant <value = float {0.0}> ()
      keeps = Greater (x, zero)  y = Compress (x, keeps) }"""
    net = zoo.load(parsed(graph), framework="gluon")
    assert [1, 3] == net(mx.nd.array([1, -2, 3])).asnumpy().tolist()
    net.hybridize()
    with pytest.raises(HubError, match="Compress .* has to be known"):
        net(mx.nd.array([1, -2, 3]))
