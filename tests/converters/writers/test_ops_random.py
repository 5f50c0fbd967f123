"""Random operators and dropout in torch: their distributions, their seeds, and when nothing is dropped."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest

import zoo

torch = pytest.importorskip("torch")

TYPES = {np.float32: 1, np.float16: 10, np.float64: 11, ml_dtypes.bfloat16: 16}


def drawn(operator, op, attributes, inputs=(), **options):
    model, feeds = operator(op, attributes, inputs, **options)
    made = zoo.runner(model, "torch").run(feeds)
    return next(iter(made.values())) if len(made) == 1 else list(made.values())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("seed", [{}, {"seed": 3.0}, {"seed": float("nan")}])
def test_uniform_and_normal_numbers_have_their_range_mean_and_deviation(operator, dtype, seed):
    shape = {"shape": [40, 500], "dtype": TYPES[dtype], **seed}
    uniform = drawn(operator, "RandomUniform", {**shape, "low": -2.0, "high": 4.0})
    assert (uniform.dtype, uniform.shape) == (dtype, (40, 500))
    wide = uniform.astype(np.float64)
    assert wide.min() >= -2 and wide.max() <= 4 and abs(wide.mean() - 1) < 0.05
    normal = drawn(operator, "RandomNormal", {**shape, "mean": 3.0, "scale": 0.5}).astype(np.float64)
    assert abs(normal.mean() - 3) < 0.03 and abs(normal.std() - 0.5) < 0.03


@pytest.mark.parametrize("op", ["RandomUniformLike", "RandomNormalLike"])
@pytest.mark.parametrize("seed", [{}, {"seed": 1.0}])
def test_the_shape_may_be_another_tensors(operator, op, seed):
    like = drawn(operator, op, seed, [np.zeros((3, 4), dtype=np.float64)], free=True)
    assert (like.dtype, like.shape) == (np.float64, (3, 4))
    assert np.float32 == drawn(operator, op, {"dtype": 1, **seed}, [np.zeros((3, 4), dtype=np.int32)]).dtype


@pytest.mark.parametrize("op", ["RandomUniform", "RandomNormal"])
def test_one_seed_gives_the_same_numbers_at_every_call_and_another_seed_others(operator, op):
    model, _ = operator(op, {"shape": [5], "seed": 7.0}, [])
    runner = zoo.runner(model, "torch")
    first, second = (runner.run({})["y0"] for _ in range(2))
    assert first.tolist() == second.tolist()
    assert first.tolist() != drawn(operator, op, {"shape": [5], "seed": 8.0}).tolist()


def test_without_a_seed_torchs_own_generator_is_drawn_from(operator):
    module = zoo.load(operator("RandomNormal", {"shape": [5]}, [])[0], "torch")
    torch.manual_seed(0)
    first = module()
    assert first.tolist() != module().tolist()
    torch.manual_seed(0)
    assert first.tolist() == module().tolist()


@pytest.mark.parametrize("seed", [0, 7, 2**31])
def test_seeded_uniform_numbers_are_those_of_onnxs_reference(operator, seed):
    got = drawn(operator, "RandomUniform", {"shape": [3, 4], "dtype": 11, "seed": float(seed)})
    assert np.random.RandomState(seed).uniform(size=(3, 4)).tolist() == got.tolist()  # noqa: NPY002 - what is compared


@pytest.mark.parametrize("seed", [{}, {"seed": 5.0}])
def test_coins_fall_as_often_as_each_probability_says(operator, seed):
    p = np.tile(np.float32([0, 0.2, 0.9, 1]), (4000, 1))
    for dtype in (None, onnx.TensorProto.BOOL, onnx.TensorProto.INT32):
        made = drawn(operator, "Bernoulli", seed | ({} if dtype is None else {"dtype": dtype}), [p])
        np.testing.assert_allclose(made.astype(np.float64).mean(0), [0, 0.2, 0.9, 1], atol=0.03)


@pytest.mark.parametrize("seed", [{}, {"seed": 5.0}])
@pytest.mark.parametrize("dtype", [6, 7])
def test_classes_are_drawn_by_their_log_probabilities(operator, seed, dtype):
    odds = np.log(np.float32([[1, 2, 5], [1e-30, 1, 1]])) + 3  # they need not sum to one
    made = drawn(operator, "Multinomial", {"sample_size": 4000, "dtype": dtype, **seed}, [odds])
    assert ((2, 4000), {6: "int32", 7: "int64"}[dtype]) == (made.shape, made.dtype.name)
    shares = np.stack([(made == k).mean(1) for k in range(3)], 1)
    np.testing.assert_allclose(shares, [[0.125, 0.25, 0.625], [0, 0.5, 0.5]], atol=0.04)


X = np.random.default_rng(0).standard_normal((30, 40)).astype(np.float32) + 9


@pytest.mark.parametrize("ratio", [None, [np.float32(0.4)], np.float32(0.4)])
@pytest.mark.parametrize("training", [None, [np.bool_(False)], np.bool_(False)])
def test_nothing_is_dropped_in_a_graph_for_inference(operator, ratio, training):
    y, mask = drawn(operator, "Dropout", {}, [X, ratio, training], outputs=2)
    assert (y == X).all() and mask.all() and mask.dtype == np.bool_


@pytest.mark.parametrize("ratio", [[np.float32(0.4)], np.float32(0.4), [np.float32(0)], np.float32(1)])
@pytest.mark.parametrize("training", [[np.bool_(True)], np.bool_(True)])
@pytest.mark.parametrize("seed", [{}, {"seed": 3}])
def test_a_graph_for_training_drops_and_says_what(operator, ratio, training, seed):
    p = float(np.asarray(ratio).reshape(-1)[0])
    y, mask = drawn(operator, "Dropout", seed, [X, ratio, training], outputs=2)
    assert abs(mask.mean() - (1 - p)) < 0.06
    np.testing.assert_allclose(y, np.where(mask, X / (1 - p) if p < 1 else 0, 0), rtol=1e-6)


def test_dropout_of_a_graph_for_inference_drops_when_the_module_trains(operator):
    module = zoo.load(operator("Dropout", {}, [X, [np.float32(0.25)]])[0], "torch")
    x = torch.from_numpy(X)
    assert torch.equal(x, module(x))
    dropped = module.train()(x)
    assert 0.15 < (dropped == 0).float().mean() < 0.35
    assert isinstance(next(module.children()), torch.nn.Dropout)
