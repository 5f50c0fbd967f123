"""The native module of Flax: nnx variables in the author's tree, which nnx's own tools take."""

from __future__ import annotations

import copy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import zoo
from tests.converters.writers.jax.conftest import parsed
from zoo.errors import BadInput

nnx = pytest.importorskip("flax.nnx", reason="the extra polyzoo[flax] is not installed")


@pytest.fixture
def model(pictures):
    return zoo.load(pictures, framework="flax")


def names(state):
    return {".".join(path) for path, _ in nnx.to_flat_state(state)}


def test_it_is_a_module_with_the_authors_names(model, weights, x, expected):
    assert isinstance(model, nnx.Module)
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model(x=x), expected, rtol=1e-5, atol=1e-5)
    assert names(nnx.state(model)) == set(weights)
    assert names(nnx.state(model, nnx.BatchStat)) == {"stem.bn.running_mean", "stem.bn.running_var"}
    assert names(nnx.state(model, nnx.Param)) == set(weights) - {"stem.bn.running_mean", "stem.bn.running_var"}
    assert model.stem.conv.weight.shape == (3, 3, 3, 8)  # as nnx.Conv's kernel


def test_the_way_back_is_bit_for_bit(model, weights):
    from zoo.converters.writers.jax.flax.writer import tensors

    back = tensors(model)
    assert list(back) == list(weights)
    assert all(back[name].numpy().tobytes() == array.tobytes() for name, array in weights.items())


def test_it_is_split_and_merged_and_jitted(model, x, expected):
    graph, state = nnx.split(model)
    halved = nnx.merge(graph, jax.tree.map(lambda leaf: leaf / 2, state))
    np.testing.assert_allclose(nnx.merge(graph, state)(x), expected, rtol=1e-5, atol=1e-5)
    assert np.abs(np.asarray(halved(x)) - expected).max() > 1e-3
    np.testing.assert_allclose(nnx.jit(lambda model, x: model(x))(model, x), expected, rtol=1e-5, atol=1e-5)
    nnx.update(model, nnx.state(halved))
    np.testing.assert_allclose(model(x), halved(x), rtol=1e-6)


def test_copies_share_nothing(model, x, expected):
    for other in (copy.deepcopy(model), nnx.clone(model)):
        nnx.update(other, jax.tree.map(jnp.zeros_like, nnx.state(other)))
        assert not np.asarray(other(x)).any()
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-5)


def test_train_and_eval_switch_dropout_and_statistics(model, weights, x, expected):
    model.train()
    made = [np.asarray(model(x, rngs=nnx.Rngs(seed))) for seed in (0, 1)]
    assert np.abs(made[0] - made[1]).max() > 0
    assert model.stem.bn.running_mean[...].tobytes() != weights["stem.bn.running_mean"].tobytes()
    with pytest.raises(BadInput, match="takes rngs, a key"):
        model(x)
    model.eval()
    kept = model.stem.bn.running_mean[...].tobytes()
    np.testing.assert_array_equal(model(x), model(x))
    assert model.stem.bn.running_mean[...].tobytes() == kept


def test_its_optimizer_trains_it(model, x):
    labels = jnp.array([1, 3])
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)
    model.train()

    @nnx.jit
    def step(model, optimizer, key):
        def loss(model):
            return optax.softmax_cross_entropy_with_integer_labels(model(x, rngs=key), labels).mean()

        value, grads = nnx.value_and_grad(loss)(model)
        optimizer.update(model, grads)
        return value

    rngs = nnx.Rngs(0)
    before = model.stem.bn.running_var[...].tobytes()
    losses = [float(step(model, optimizer, rngs())) for _ in range(30)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 2
    assert model.stem.bn.running_var[...].tobytes() != before


def test_names_that_a_module_has_itself_get_a_line_behind():
    model = parsed(
        'agraph (float[N, 2] x) => (float[N, 2] y) { a = Add (x, "train.eval") y = Mul (a, params) }',
        {"train.eval": np.ones(2, np.float32), "params": np.full(2, 3, np.float32)},
    )
    made = zoo.load(model, framework="flax")
    np.testing.assert_array_equal(made(np.zeros((1, 2), np.float32)), [[3, 3]])
    assert made.train_.eval_[...].tolist() == [1, 1]
    assert callable(made.train)


def test_inputs_are_refused_by_name(model, x):
    with pytest.raises(BadInput, match="inputs y; the model has x"):
        model(y=x)
    with pytest.raises(BadInput, match="in order, or all of them by name"):
        model(x, x=x)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_dtype_is_that_of_its_variables(pictures, x, dtype):
    half = zoo.load(pictures, framework="flax", dtype=dtype)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(nnx.state(half))} == {dtype}
    assert half(x).dtype == dtype


def test_a_runner_of_it_is_one_of_jaxs(pictures, x, expected):
    np.testing.assert_allclose(zoo.runner(pictures, "flax").run({"x": x})["logits"], expected, rtol=1e-5, atol=1e-5)
