"""The native pair of jax: a pure function that every transformation takes, and params as a pytree."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import optax
import pytest
from jax.test_util import check_grads

import zoo
from tests.converters.writers.jax.conftest import parsed
from zoo.converters.writers.jax.params import flat, merge
from zoo.converters.writers.jax.types import sixty_four_bits
from zoo.converters.writers.jax.writer import JaxModel, tensors
from zoo.errors import BadInput, HubError, UsageError

STATISTICS = ("running_mean", "running_var")


@pytest.fixture
def native(pictures):
    return zoo.load(pictures, framework="jax")


def test_it_is_a_function_and_its_params(native, x, expected):
    apply, params = native
    np.testing.assert_allclose(apply(params, x), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jax.jit(apply)(params, x), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(apply(params, {"x": x}), expected, rtol=1e-5, atol=1e-5)


def test_params_are_nested_by_the_authors_names(native):
    assert set(native.params) == {"stem", "layers", "head"}
    assert set(native.params["stem"]["bn"]) == {"weight", "bias", "running_mean", "running_var"}
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(native.params))


def test_pictures_have_their_channels_first_and_last_on_request(pictures, native, x, expected):
    apply, params = zoo.load(pictures, framework="jax", channels="last")
    np.testing.assert_allclose(apply(params, x.transpose(0, 2, 3, 1)), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(BadInput, match=r"the model wants \['N', 'H', 'W', 3\]"):
        apply(params, x)


def test_kernels_stand_as_xla_wants_them_and_no_step_transposes_one(native, x):
    """A program for one device has the transposes of its pictures, at the edge, and no other."""
    apply, params = native
    assert params["stem"]["conv"]["weight"].shape == (3, 3, 3, 8)
    assert params["layers"]["0"]["depthwise"]["weight"].shape == (3, 3, 1, 8)
    assert params["head"]["weight"].shape == (8, 5)
    program = jax.jit(apply).lower(params, x).compile().as_text()
    moved = [line for line in program.splitlines() if " transpose(" in line]
    assert all("f32[2,12,13,3]" in line for line in moved)


def test_the_way_back_is_bit_for_bit_in_the_authors_order(native, weights):
    back = tensors(native)
    assert list(back) == list(weights)
    assert all(back[name].numpy().tobytes() == array.tobytes() for name, array in weights.items())
    moved = JaxModel(native.apply, jax.tree.map(lambda leaf: leaf + 1, native.params))
    assert tensors(moved)["head.bias"].numpy().tobytes() == (weights["head.bias"] + 1).tobytes()


def test_inputs_that_do_not_fit_are_refused_by_name(native, x):
    apply, params = native
    with pytest.raises(BadInput, match=r"'x' has shape \[3, 12, 13\], the model wants \['N', 3, 'H', 'W'\]"):
        apply(params, x[0])
    with pytest.raises(BadInput, match="inputs y; the model has x"):
        apply(params, {"y": x})
    with pytest.raises(BadInput, match="2 inputs, the model has 1: x"):
        apply(params, (x, x))
    with pytest.raises(BadInput, match=r"params lack 2 of the model's tensors: head\.weight, head\.bias"):
        apply({k: v for k, v in params.items() if k != "head"}, x)


def test_gradients_are_those_of_finite_differences(pictures, x):
    with sixty_four_bits():
        apply, params = zoo.load(pictures, framework="jax", dtype="float64")
        statistics = {"stem": {"bn": {name: params["stem"]["bn"].pop(name) for name in STATISTICS}}}

        def loss(params):
            return jnp.mean(jnp.square(apply(merge(params, statistics), x)))

        check_grads(loss, (params,), order=1, modes=["fwd", "rev"], rtol=1e-5)


def test_every_parameter_has_a_gradient_and_running_statistics_have_none(native, x):
    apply, params = native
    grads = jax.grad(lambda params: jnp.mean(apply(params, x) ** 2))(params)
    assert jax.tree.structure(grads) == jax.tree.structure(params)
    still = {name for name, g in flat(grads).items() if not g.any()}
    assert still == {f"stem.bn.{name}" for name in STATISTICS}


def test_vmap_over_a_further_axis_is_a_loop_over_it(native, x):
    apply, params = native
    several = np.stack([x, x * 2, x - 1])
    made = jax.vmap(apply, in_axes=(None, 0))(params, several)
    np.testing.assert_allclose(made, [apply(params, one) for one in several], rtol=1e-5, atol=1e-5)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf * 0.5]), params)
    made = jax.vmap(apply, in_axes=(0, None))(stacked, x)
    halved = jax.tree.map(lambda leaf: leaf * 0.5, params)
    np.testing.assert_allclose(made, [apply(params, x), apply(halved, x)], rtol=1e-5, atol=1e-5)


SHARDED = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import zoo

assert len(jax.devices()) == 2
apply, params = zoo.load(sys.argv[1], framework="jax")
x = np.random.default_rng(1).normal(size=(4, 3, 12, 13)).astype(np.float32)
mesh = Mesh(np.array(jax.devices()), ("batch",))
whole = jax.jit(apply)(params, x)
shard_map = getattr(jax, "shard_map", None)
mapped = jax.jit(shard_map(apply, mesh=mesh, in_specs=(P(), P("batch")), out_specs=P("batch")))
np.testing.assert_allclose(mapped(params, x), whole, rtol=1e-5, atol=1e-5)

def loss(params, x):  # each device has its part of the batch, and the mean is over all of them
    return jax.lax.pmean(jnp.mean(apply(params, x) ** 2), "batch")

step = jax.jit(shard_map(jax.grad(loss), mesh=mesh, in_specs=(P(), P("batch")), out_specs=P()))
want = jax.grad(lambda params: jnp.mean(apply(params, x) ** 2))(params)
for a, b in zip(jax.tree.leaves(step(params, x)), jax.tree.leaves(want)):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)

spread = jax.device_put(x, NamedSharding(mesh, P("batch")))
made = jax.jit(apply)(params, spread)
assert len(made.sharding.device_set) == 2
np.testing.assert_allclose(made, whole, rtol=1e-5, atol=1e-5)
"""


def test_shard_map_and_sharded_arrays_compute_the_same_on_two_devices(pictures, tmp_path):
    onnx.save(pictures, tmp_path / "model.onnx")
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", SHARDED, str(tmp_path / "model.onnx")]
    subprocess.run(command, check=True, env=environment, timeout=300)


@pytest.mark.parametrize("dtype, allowed", [("bfloat16", 3e-2), ("float16", 5e-3)])
def test_params_in_half_precision_are_what_it_computes_in(pictures, x, expected, dtype, allowed):
    apply, params = zoo.load(pictures, framework="jax", dtype=dtype)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {dtype}
    assert apply(params, x).dtype == dtype  # a float32 input is brought to it
    program = str(jax.make_jaxpr(apply)(params, x.astype(dtype)))
    assert "conv_general_dilated" in program
    products = [line for line in program.splitlines() if "conv_general_dilated" in line or "dot_general" in line]
    short = {"bfloat16": "bf16", "float16": "f16"}[dtype]
    assert all(f":{short}[" in line for line in products if "=" in line and ":" in line)
    error = np.abs(np.asarray(apply(params, x), np.float32) - expected).max()
    assert error <= allowed * np.abs(expected).max()
    grads = jax.grad(lambda params: apply(params, x).astype(jnp.float32).sum())(params)
    assert {g.dtype.name for g in jax.tree.leaves(grads)} == {dtype}


def test_float64_wants_jaxs_64_bit_mode(pictures):
    with pytest.raises(UsageError, match="jax is not in its 64-bit mode, which float64 takes"):
        zoo.load(pictures, framework="jax", dtype="float64")
    with pytest.raises(UsageError, match="unknown dtype 'int8'"):
        zoo.load(pictures, framework="jax", dtype="int8")


def test_optax_trains_the_params(native, x):
    apply, params = native
    labels, optimizer = jnp.array([1, 3]), optax.adam(1e-2)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, key):
        def loss(params):
            logits, updates = apply(params, x, train=True, rngs=key)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), updates

        (value, updates), grads = jax.value_and_grad(loss, has_aux=True)(params)
        changes, state = optimizer.update(grads, state, params)
        return merge(optax.apply_updates(params, changes), updates), state, value

    losses = []
    for i in range(30):
        params, state, value = step(params, state, jax.random.key(i))
        losses.append(float(value))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 2
    assert jax.tree.structure(params) == jax.tree.structure(native.params)


def test_training_gives_the_statistics_of_the_batch_and_changes_nothing(native, weights, x):
    apply, params = native
    _, updates = apply(params, x, train=True, rngs=jax.random.key(0))
    assert set(updates) == {"stem"} and set(updates["stem"]["bn"]) == {"running_mean", "running_var"}
    made = jax.lax.conv_general_dilated(x, weights["stem.conv.weight"], (2, 2), ((1, 1), (1, 1)))
    count = made.size / 8
    for name, now in (
        ("running_mean", made.mean((0, 2, 3))),
        ("running_var", made.var((0, 2, 3)) * count / (count - 1)),
    ):
        want = weights[f"stem.bn.{name}"] * 0.9 + now * 0.1
        np.testing.assert_allclose(updates["stem"]["bn"][name], want, rtol=1e-5, atol=1e-6)
    assert params["stem"]["bn"]["running_mean"].tobytes() == weights["stem.bn.running_mean"].tobytes()


def test_a_matrix_that_is_looked_up_too_stands_as_its_author_has_it():
    text = """agraph (int64[N, T] ids) => (float[N, T, 7] logits) {
      x = Gather ("wte.weight", ids)
      turned = Transpose ("wte.weight")
      logits = MatMul (x, turned)
    }"""
    matrix = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    apply, params = zoo.load(parsed(text, {"wte.weight": matrix}), framework="jax")
    assert params["wte"]["weight"].shape == (7, 4)
    ids = np.array([[1, 6, 0]])
    np.testing.assert_allclose(jax.jit(apply)(params, ids), matrix[ids] @ matrix.T, rtol=1e-5, atol=1e-6)


def test_dropout_drops_by_the_key_alone(native, x):
    apply, params = native

    def trained(seed):
        return np.asarray(apply(params, x, train=True, rngs=jax.random.key(seed))[0])

    np.testing.assert_array_equal(trained(0), trained(0))
    assert np.abs(trained(0) - trained(1)).max() > 0
    with pytest.raises(BadInput, match="takes rngs, a key"):
        apply(params, x, train=True)


def test_each_dropout_of_a_model_draws_for_itself(x):
    model = parsed("agraph (float[N] x) => (float[N] y, float[N] z) { y = Dropout (x) z = Dropout (x) }")
    apply, params = zoo.load(model, framework="jax")
    made, _ = apply(params, np.ones(64, np.float32), train=True, rngs=jax.random.key(0))
    assert bool((made["y"] != made["z"]).any())
    assert set(np.unique(made["y"])) == {0.0, 2.0}


def test_the_pair_is_copied_and_pickled(native, weights, x):
    want = native.apply(native.params, x)
    for apply, params in (copy.deepcopy(native), pickle.loads(pickle.dumps(native))):
        np.testing.assert_array_equal(apply(params, x), want)
        back = tensors(JaxModel(apply, params))
        assert list(back) == list(weights)
        assert all(back[name].numpy().tobytes() == array.tobytes() for name, array in weights.items())


def test_a_pickled_function_holds_no_params(native, weights):
    apply = pickle.loads(pickle.dumps(native.apply))
    with pytest.raises(HubError, match="'stem.conv.weight' is one of the params, and not kept by the function"):
        apply.held[0].const_value.numpy()
