"""model.fit of a converted model: the loss falls, statistics and dropout behave as Keras' users expect."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import zoo
from zoo.converters.writers.keras.writer import tensors


def fitted(native, x, y, **options):
    """The loss before and after some steps."""
    keras.utils.set_random_seed(0)
    native.compile(optimizer=keras.optimizers.SGD(0.05), loss=loss_of(native), **options)
    history = native.fit(x, y, epochs=6, batch_size=len(y), verbose=0, shuffle=False).history["loss"]
    return history[0], history[-1]


def loss_of(native):
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return {"logits": crossentropy, "hidden": None} if isinstance(native.output, dict) else crossentropy


@pytest.mark.parametrize("name", ["resnet", "mobilenet", "transformer"])
@pytest.mark.parametrize("how", ["traced", "eager"])
def test_fit_decreases_the_loss(models, feeds, as_keras, name, how):
    native = zoo.load(models[name], framework="keras")
    y = np.array([1, 2])
    target = {"logits": y} if name == "transformer" else y
    if name == "transformer":
        native.compile(optimizer=keras.optimizers.SGD(0.05), loss=loss_of(native), run_eagerly=how == "eager")
        losses = [native.train_on_batch(as_keras(feeds[name]), target) for _ in range(6)]
        first, last = (np.ravel(losses[i])[0] for i in (0, -1))
    else:
        first, last = fitted(native, as_keras(feeds[name]), target, run_eagerly=how == "eager")
    assert last < first


def test_the_first_steps_are_those_of_torch(models, weights, feeds, as_keras):
    """Stochastic gradient descent, frozen statistics: the curves are the same numbers up to rounding."""
    torch = pytest.importorskip("torch", reason="the curve that is compared with is torch's")
    y = np.array([1, 2])
    native = zoo.load(models["resnet"], framework="keras")
    for layer in native.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    native.compile(optimizer=keras.optimizers.SGD(0.05), loss=loss_of(native))
    ours = [native.train_on_batch(as_keras(feeds["resnet"]), y) for _ in range(4)]
    held = {name: torch.from_numpy(array.copy()) for name, array in weights["resnet"].items()}
    trained = [t.requires_grad_() for name, t in held.items() if "bn" not in name]
    theirs = []
    for _ in range(4):
        loss = torch.nn.functional.cross_entropy(
            resnet_in_torch(torch, held, torch.from_numpy(feeds["resnet"]["image"])), torch.from_numpy(y)
        )
        gradients = torch.autograd.grad(loss, trained)
        with torch.no_grad():
            for tensor, gradient in zip(trained, gradients, strict=True):
                tensor -= 0.05 * gradient
        theirs.append(loss.item())
    np.testing.assert_allclose(np.ravel(ours), theirs, rtol=1e-4)


def resnet_in_torch(torch, w, x):
    f = torch.nn.functional

    def norm(x, name):
        mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return f.batch_norm(x, mean, variance, w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-5)

    x = f.relu(norm(f.conv2d(x, w["conv1.weight"], stride=2, padding=3), "bn1"))
    x = before = f.max_pool2d(x, 3, 2, 1)
    x = f.relu(norm(f.conv2d(x, w["layer1.0.conv1.weight"], padding=1), "layer1.0.bn1"))
    x = norm(f.conv2d(x, w["layer1.0.conv2.weight"], padding=1), "layer1.0.bn2")
    return f.linear(f.relu(x + before).mean((2, 3)), w["fc.weight"], w["fc.bias"])


def test_statistics_move_while_it_trains_and_only_where_they_are_not_frozen(models, weights, feeds, as_keras):
    native = zoo.load(models["resnet"], framework="keras")
    native.get_layer("bn1").trainable = False
    fitted(native, as_keras(feeds["resnet"]), np.array([1, 2]))
    now = {name: tensor.numpy() for name, tensor in tensors(native).items()}
    moved = {name for name, array in weights["resnet"].items() if not np.array_equal(now[name], array)}
    assert not {name for name in moved if name.startswith("bn1")}
    assert {"layer1.0.bn1.running_mean", "layer1.0.bn1.running_var", "layer1.0.bn1.weight"} <= moved


def test_statistics_move_as_torchs_do(models, weights, feeds, as_keras):
    """Keras' momentum is what stays, torch's what comes: 0.9 and 0.1; the batch's own variance."""
    native = zoo.load(models["mobilenet"], framework="keras")
    inner = keras.Model(native.input, native.get_layer("block_depthwise").output)
    x = as_keras(feeds["mobilenet"])
    seen = keras.ops.convert_to_numpy(inner(x)).reshape(-1, 8)
    native(x, training=True)
    now, was = tensors(native), weights["mobilenet"]
    for name, of_batch in (("running_mean", seen.mean(0)), ("running_var", seen.var(0))):
        want = was[f"block.norm.{name}"] * 0.9 + of_batch * 0.1
        np.testing.assert_allclose(now[f"block.norm.{name}"].numpy(), want, rtol=1e-4, atol=1e-5)


def test_dropout_drops_only_while_it_trains(models, feeds, as_keras):
    native = zoo.load(models["mobilenet"], framework="keras")
    native.get_layer("block_norm").trainable = False
    x = as_keras(feeds["mobilenet"])

    def spread(**how):
        return np.ptp([keras.ops.convert_to_numpy(native(x, **how)) for _ in range(3)], axis=0).max()

    assert 0 == spread() < spread(training=True)


def test_every_parameter_is_trainable_and_no_statistic_is(models, weights):
    native = zoo.load(models["resnet"], framework="keras")
    running = [name for name in weights["resnet"] if "running" in name]
    assert (len(weights["resnet"]) - len(running), len(running)) == (
        len(native.trainable_weights),
        len(native.non_trainable_weights),
    )


def test_mixed_precision_and_half_precision_are_asked_for(models, feeds, expected, as_keras):
    native = zoo.load(models["resnet"], framework="keras", dtype="bfloat16")
    assert {"bfloat16"} == {keras.backend.standardize_dtype(w.dtype) for w in native.weights}
    x = keras.ops.cast(as_keras(feeds["resnet"]), "bfloat16")
    made = keras.ops.convert_to_numpy(keras.ops.cast(native(x), "float32"))
    want = expected["resnet"]["logits"]
    assert np.abs(made - want).max() < 5e-2 * np.abs(want).max()  # eight bits of mantissa through nine layers
