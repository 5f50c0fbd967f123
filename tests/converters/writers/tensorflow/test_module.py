"""The native object of TensorFlow: its variables, its call in both modes, and how it trains."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.converters.writers.keras.parameters import unseen
from zoo.converters.writers.tensorflow.writer import tensors
from zoo.errors import BadInput, UsageError


@pytest.fixture
def module(pictures):
    return zoo.load(pictures, framework="tensorflow")


@pytest.fixture
def last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def test_pictures_have_their_channels_last_and_first_on_request(pictures, module, x, last):
    expected = zoo.runner(pictures, "onnx").run({"x": x})["logits"]
    first = zoo.load(pictures, framework="tensorflow", channels="first")
    for made in (module(last), first(x), zoo.runner(pictures, "tensorflow").run({"x": x})["logits"]):
        np.testing.assert_allclose(np.asarray(made), expected, rtol=1e-5, atol=1e-5)


def test_variables_bear_the_authors_names_in_his_order(module, weights):
    assert [v.name for v in module.variables] == [f"{name}:0" for name in weights]
    running = [v.name for v in module.non_trainable_variables]
    assert running == ["stem.bn.running_mean:0", "stem.bn.running_var:0"]
    assert {v.name for v in module.trainable_variables} == {v.name for v in module.variables} - set(running)


def test_kernels_stand_as_tensorflow_wants_them_and_come_back_bit_for_bit(module, weights):
    assert module.stem.conv.weight.shape == (3, 3, 3, 8)
    assert getattr(module.layers, "0").depthwise.weight.shape == (3, 3, 8, 1)
    back = tensors(module)
    assert list(back) == list(weights)
    assert all(back[name].numpy().tobytes() == array.tobytes() for name, array in weights.items())


def test_one_graph_computes_every_batch_and_size(module, last):
    assert [module(last[:n]).shape[0] for n in (1, 2)] == [1, 2]
    assert module(x=last[:, :8]).shape == (2, 5)
    assert module.__call__.experimental_get_tracing_count() == 1


def test_eager_computes_the_same(module, last):
    np.testing.assert_allclose(module.eager(last), module(last), rtol=1e-5, atol=1e-6)
    tf.config.run_functions_eagerly(True)
    try:
        np.testing.assert_allclose(module(last), module.eager(last), rtol=1e-6)
    finally:
        tf.config.run_functions_eagerly(False)


def test_an_input_of_another_dtype_is_refused_by_name(module, last):
    with pytest.raises(BadInput, match="'x' is of float64, the model wants float32"):
        module(last.astype(np.float64))


def test_training_keeps_the_statistics_of_the_batch_and_inference_keeps_none(module, weights, last):
    module(last)
    assert module.stem.bn.running_mean.numpy().tobytes() == weights["stem.bn.running_mean"].tobytes()
    module(last, training=True)
    made = tf.nn.conv2d(last, module.stem.conv.weight, 2, [[0, 0], [1, 1], [1, 1], [0, 0]])
    mean, variance = tf.nn.moments(made, [0, 1, 2])
    for name, now in (("running_mean", mean), ("running_var", variance)):
        expected = weights[f"stem.bn.{name}"] * 0.9 + now * 0.1
        np.testing.assert_allclose(getattr(module.stem.bn, name), expected, rtol=1e-5, atol=1e-6)


def test_dropout_drops_while_it_trains(module, last):
    assert np.ptp([module(last).numpy() for _ in range(2)], 0).max() == 0
    assert np.ptp([module(last, training=True).numpy() for _ in range(2)], 0).max() > 0


@pytest.mark.parametrize("mode", ["graph", "eager"])
def test_gradients_are_torchs(module, weights, x, last, mode):
    torch = pytest.importorskip("torch", reason="the gradients that are compared with are torch's")
    theirs = {name: torch.from_numpy(array).requires_grad_() for name, array in weights.items()}
    (torch_forward(torch, theirs, torch.from_numpy(x)) ** 2).sum().backward()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum((module if mode == "graph" else module.eager)(last) ** 2)
    ours = zip(module.trainable_variables, tape.gradient(loss, module.trainable_variables), strict=True)
    for variable, gradient in ours:
        one = next(held for held in module.source.held.values() if f"{held.name}:0" == variable.name)
        want = theirs[one.name].grad.numpy()
        have = unseen(gradient.numpy(), one.shape, one.views)
        np.testing.assert_allclose(have, want, rtol=1e-3, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("mode", ["graph", "eager"])
def test_gradients_of_a_kernel_that_steps_over_few_channels_are_safe(mode):
    """TensorFlow 2.21 with oneDNN writes beyond the gradient there, and the process ends."""
    from tests.converters.writers.tensorflow.conftest import parsed

    kernel = np.random.default_rng(0).normal(size=(16, 8, 1, 1)).astype(np.float32)
    graph = "agraph (float[N, 8, H, W] x) => (float[N, 16, P, Q] y) { y = Conv <strides = [2, 2]> (x, kernel) }"
    module = zoo.load(parsed(graph, {"kernel": kernel}), framework="tensorflow")
    x = np.random.default_rng(1).normal(size=(4, 60, 60, 8)).astype(np.float32)
    for _ in range(5):
        with tf.GradientTape() as tape:
            y = (module if mode == "graph" else module.eager)(x)
        (gradient,) = tape.gradient(y, module.trainable_variables)
    np.testing.assert_allclose(y, np.einsum("nhwc,mc->nhwm", x[:, ::2, ::2], kernel[:, :, 0, 0]), rtol=1e-4, atol=1e-4)
    want = np.broadcast_to(x[:, ::2, ::2].sum((0, 1, 2))[:, None], (8, 16))
    np.testing.assert_allclose(gradient[0, 0], want, rtol=1e-4, atol=1e-3)


def torch_forward(torch, w, x):
    """The picture model in torch's words."""
    f = torch.nn.functional
    x = f.conv2d(x, w["stem.conv.weight"], stride=2, padding=1)
    mean, variance = w["stem.bn.running_mean"].detach(), w["stem.bn.running_var"].detach()
    x = f.relu(f.batch_norm(x, mean, variance, w["stem.bn.weight"], w["stem.bn.bias"], eps=1e-3))
    x = f.max_pool2d(x, 3, 2, 1)
    x = f.conv2d(x, w["layers.0.depthwise.weight"], w["layers.0.depthwise.bias"], padding=1, groups=8)
    return f.linear(x.mean((2, 3)), w["head.weight"], w["head.bias"])


def test_training_lowers_the_loss(module, last):
    def loss():
        return tf.reduce_mean(
            tf.keras.losses.sparse_categorical_crossentropy(tf.constant([1, 3]), module(last), from_logits=True)
        )

    optimizer, before = tf.keras.optimizers.SGD(0.05), float(loss())
    for _ in range(10):
        with tf.GradientTape() as tape:
            value = loss()
        optimizer.apply_gradients(
            zip(tape.gradient(value, module.trainable_variables), module.trainable_variables, strict=True)
        )
    assert float(loss()) < before / 2


def test_a_dtype_is_that_of_weights_inputs_and_outputs(pictures, last):
    half = zoo.load(pictures, framework="tensorflow", dtype="float16")
    assert {v.dtype for v in half.variables} == {tf.float16}
    assert half(last.astype(np.float16)).dtype == tf.float16


def test_what_is_no_graph_computes_step_by_step_and_says_why(tmp_path):
    from tests.converters.writers.tensorflow.conftest import parsed

    model = parsed("agraph (seq(float[N]) s, int64 i) => (float[N] y) { y = SequenceAt (s, i) }")
    module = zoo.load(model, framework="tensorflow")
    assert "'s' is a sequence" in module.why_eager
    assert module([np.ones(2, np.float32), np.zeros(3, np.float32)], np.int64(1)).shape == (3,)
    with pytest.raises(UsageError, match="can't be traced: 's' is a sequence"):
        module.specs()
