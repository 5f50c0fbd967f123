"""MXNet's symbols: operator by operator against MXNet itself, the golden files, older versions, and what is refused."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

import zoo
from zoo.converters.graph import PARAMETER, parameters
from zoo.converters.readers import mxnet as reader
from zoo.converters.tensors import mxnet as params
from zoo.errors import BadInput, Malformed, Refused

CORPUS = Path(__file__).parents[4] / "shared" / "golden" / "mxnet"


@pytest.fixture(scope="module")
def mx() -> Any:
    import_module("zoo.converters.writers.mxnet")  # sets what MXNet's import looks for in numpy
    return pytest.importorskip("mxnet")


def run(model: ir.Model, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """ONNX Runtime's outputs; the model passes the checker first."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: feeds[i.name] for i in session.get_inputs()})


Make = Callable[[Any, Any], Any]  # (mx.sym, x) -> symbol
PICTURE = (2, 4, 9, 10)
OPERATORS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "conv": (lambda s, x: s.Convolution(x, num_filter=6, kernel=(3, 3), pad=(1, 0), stride=(2, 1), name="a"), PICTURE),
    "conv groups": (
        lambda s, x: s.Convolution(x, num_filter=8, kernel=(3, 2), dilate=(2, 1), num_group=4, no_bias=True, name="a"),
        PICTURE,
    ),
    "conv1d": (lambda s, x: s.Convolution(x, num_filter=3, kernel=(3,), pad=(2,), name="a"), (2, 4, 9)),
    "conv3d": (lambda s, x: s.Convolution(x, num_filter=3, kernel=(2, 3, 2), name="a"), (2, 3, 5, 6, 4)),
    "deconv": (
        lambda s, x: s.Deconvolution(x, num_filter=6, kernel=(3, 3), stride=(2, 2), pad=(1, 1), adj=(1, 0), name="a"),
        PICTURE,
    ),
    "fully connected": (lambda s, x: s.FullyConnected(x, num_hidden=5, name="a"), (3, 4, 2)),
    "fully connected rows": (lambda s, x: s.FullyConnected(x, num_hidden=5, flatten=False, name="a"), (3, 4, 2)),
    "batch norm": (lambda s, x: s.BatchNorm(x, fix_gamma=False, eps=1e-2, name="a"), PICTURE),
    "batch norm fixed": (lambda s, x: s.BatchNorm(x, name="a"), PICTURE),
    "batch norm last": (
        lambda s, x: s.BatchNorm(s.transpose(x, axes=(0, 2, 3, 1)), axis=3, fix_gamma=False, name="a"),
        PICTURE,
    ),
    "layer norm": (lambda s, x: s.LayerNorm(x + 0, axis=-1, name="a"), (2, 3, 5)),
    "layer norm inner": (lambda s, x: s.LayerNorm(s.transpose(x, axes=(0, 2, 1)), axis=1, name="a"), (2, 3, 5)),
    "instance norm": (lambda s, x: s.InstanceNorm(x, name="a"), PICTURE),
    "group norm": (lambda s, x: s.GroupNorm(x, num_groups=2, name="a"), PICTURE),
    "prelu channels": (lambda s, x: s.LeakyReLU(s.Pooling(x, kernel=(1, 1)), act_type="prelu", name="a"), PICTURE),
    "softrelu": (lambda s, x: s.Activation(x, act_type="softrelu"), (2, 3)),
    "softsign": (lambda s, x: s.Activation(x, act_type="softsign"), (2, 3)),
    "softmax temperature": (lambda s, x: s.softmax(x, axis=0, temperature=2.0), (4, 3)),
    "softmin": (lambda s, x: s.softmin(x), (4, 3)),
    "softmax output 4d": (
        lambda s, x: s.SoftmaxOutput(s.Pooling(x, kernel=(2, 2)), preserve_shape=True, name="s"),
        PICTURE,
    ),
    "pool full": (
        lambda s, x: s.Pooling(x, kernel=(3, 3), stride=(2, 2), pooling_convention="full", pool_type="max"),
        PICTURE,
    ),
    "avg full": (
        lambda s, x: s.Pooling(x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pooling_convention="full", pool_type="avg"),
        PICTURE,
    ),
    "avg full uncounted": (
        lambda s, x: s.Pooling(
            x,
            kernel=(3, 2),
            stride=(2, 2),
            pad=(1, 0),
            pooling_convention="full",
            pool_type="avg",
            count_include_pad=False,
        ),
        PICTURE,
    ),
    "avg padded": (lambda s, x: s.Pooling(x, kernel=(3, 3), pad=(1, 1), pool_type="avg"), PICTURE),
    "sum full": (
        lambda s, x: s.Pooling(x, kernel=(3, 3), stride=(3, 3), pool_type="sum", pooling_convention="full"),
        PICTURE,
    ),
    "lp": (lambda s, x: s.Pooling(x, kernel=(2, 2), pool_type="lp", p_value=3), PICTURE),
    "global sum": (lambda s, x: s.Pooling(x + 0, global_pool=True, kernel=(1, 1), pool_type="max"), PICTURE),
    "pool 1d": (lambda s, x: s.Pooling(x, kernel=(2,), stride=(3,), pooling_convention="full"), (2, 3, 9)),
    "upsample": (lambda s, x: s.UpSampling(x, scale=3, sample_type="nearest"), PICTURE),
    "upsample bilinear": (
        lambda s, x: s.UpSampling(x, scale=2, sample_type="bilinear", num_filter=4, num_args=2, name="a"),
        PICTURE,
    ),
    "resize": (lambda s, x: s.contrib.BilinearResize2D(x, height=5, width=17), PICTURE),
    "adaptive": (
        lambda s, x: s.contrib.AdaptiveAvgPooling2D(s.Convolution(x, num_filter=2, kernel=(1, 1), name="a")),
        PICTURE,
    ),
    "sampler": (
        lambda s, x: s.BilinearSampler(
            x,
            s.GridGenerator(s.FullyConnected(x, num_hidden=6, name="a"), transform_type="affine", target_shape=(5, 7)),
        ),
        PICTURE,
    ),
    "transformer": (
        lambda s, x: s.SpatialTransformer(
            x,
            s.FullyConnected(x, num_hidden=6, name="a"),
            target_shape=(6, 5),
            transform_type="affine",
            sampler_type="bilinear",
        ),
        PICTURE,
    ),
    "anchors": (
        lambda s, x: s.contrib.MultiBoxPrior(x, sizes=(0.3, 0.5), ratios=(1.0, 2.0, 0.5), clip=True),
        PICTURE,
    ),
    "lrn": (lambda s, x: s.LRN(x, nsize=3, alpha=0.1), PICTURE),
    "l2": (lambda s, x: s.L2Normalization(s.Pooling(x, kernel=(2, 2)), mode="instance"), PICTURE),
    "l2 rows": (lambda s, x: s.L2Normalization(s.FullyConnected(x, num_hidden=4, name="a")), (2, 5)),
    "scalars": (lambda s, x: (3 - (x * 2 + 1) / 4) ** 2 + 2 ** (x / 3) + 1 / (x + 9), (2, 3)),
    "compare": (lambda s, x: (x > 0) * 2 + (x <= 0.5) + s.broadcast_not_equal(x, s.abs(x)) + (x == x), (2, 3)),
    "logical": (lambda s, x: s.broadcast_logical_xor(x > 0, x > 0.5) + s.logical_not(x > 0), (2, 3)),
    "modulo": (lambda s, x: (x % 0.7) + s.broadcast_mod(x, s.abs(x) + 0.3), (2, 3)),
    "unary": (
        lambda s, x: s.Group(
            [
                *(
                    getattr(s, name)(x)
                    for name in ("arctan", "arcsinh", "cbrt", "ceil", "cos", "degrees", "erf", "expm1")
                ),
                *(getattr(s, name)(x) for name in ("fix", "round", "rint", "sign", "sinh", "trunc", "square", "relu")),
                *(getattr(s, name)(s.abs(x) + 0.1) for name in ("log", "log2", "log10", "log1p", "rsqrt", "rcbrt")),
                s.smooth_l1(x, scalar=2.0),
                s.softsign(x),
                s.reciprocal(x),
                s.clip(x, -0.5, 0.4),
                s.hard_sigmoid(x),
            ]
        ),
        (2, 3),
    ),
    "reductions": (
        lambda s, x: s.Group(
            [
                s.sum(x, axis=(1, 2)),
                s.sum(x),
                s.mean(x, axis=1, keepdims=True),
                s.max(x, axis=-1),
                s.min(x, axis=0),
                s.norm(x, axis=1),
                s.norm(x, ord=1, axis=(0, 1)),
                s.prod(x, axis=2),
                s.nansum(x, axis=0),
                s.sum(x, axis=1, exclude=True),
            ]
        ),
        (2, 3, 4),
    ),
    "moments": (lambda s, x: s.Group(list(s.moments(x, axes=(0, 2)))), (2, 3, 4)),
    "dots": (
        lambda s, x: s.Group(
            [
                s.dot(s.reshape(x, (3, 8)), s.reshape(x, (3, 8)), transpose_a=True),
                s.batch_dot(s.reshape(x, (2, 3, 4)), s.reshape(x, (2, 3, 4)), transpose_b=True),
                s.linalg_gemm2(s.reshape(x, (2, 3, 4)), s.reshape(x, (2, 4, 3)), alpha=0.5),
                s.dot(s.reshape(x, (2, 3, 4)), s.reshape(x, (4, 6))),
            ]
        ),
        (2, 3, 4),
    ),
    "reshapes": (
        lambda s, x: s.Group(
            [
                s.Reshape(x, shape=(0, -1)),
                s.Reshape(x, shape=(-3, 0)),
                s.Reshape(s.Reshape(x, shape=(0, -4, 3, -1, 0)), shape=(-2,)),
                s.Reshape(s.Reshape(x, shape=(2, 6, 4)), shape=(-4, 1, 2, -2)),
                s.Reshape(s.Reshape(x, shape=(2, 6, 4)), shape=(-1, 0), reverse=True),
                s.reshape_like(x, s.zeros((8, 6))),
            ]
        ),
        (2, 6, 4),
    ),
    "slices": (
        lambda s, x: s.Group(
            [
                s.slice(x, begin=(0, None, 3), end=(None, -1, None), step=(1, 2, -1)),
                s.slice_axis(x, axis=1, begin=-4, end=None),
                s.slice_like(x, s.zeros((1, 2, 2)), axes=(1, -1)),
                s.reverse(x, axis=1),
                *s.split(x, num_outputs=3, axis=1),
                s.Concat(*s.split(x, num_outputs=4, axis=2, squeeze_axis=True), dim=0),
                *s.split_v2(x, (1, 4), axis=1),
                s.SwapAxis(s.slice(x, begin=(0, 0, 0), end=(2, 3, 4)), dim1=0, dim2=2),
            ]
        ),
        (2, 6, 4),
    ),
    "joins": (
        lambda s, x: s.Group(
            [
                s.stack(x, x * 2, axis=1),
                s.concat(x, x, dim=2),
                s.tile(x, reps=(2, 1, 1, 2)) if False else s.tile(s.slice(x, (0, 0, 0), (2, 3, 2)), reps=(2, 1, 1, 2)),
                s.repeat(s.slice(x, (0, 0, 0), (2, 3, 2)), repeats=2, axis=1),
                s.add_n(x, x, x),
                s.squeeze(s.expand_dims(x, axis=1), axis=1),
            ]
        ),
        (2, 3, 2),
    ),
    "broadcasts": (
        lambda s, x: s.Group(
            [
                s.broadcast_to(s.slice(x, (0, 0, 0), (2, 1, 2)), shape=(0, 5, 0)),
                s.broadcast_axis(s.sum(s.reshape(x, (2, 3, 2)), axis=1, keepdims=True), axis=1, size=4),
                s.broadcast_like(s.slice(x, (0, 0, 0), (2, 1, 2)), x),
                s.broadcast_maximum(x, s.zeros((1, 3, 1))),
                s.zeros_like(x) + s.ones_like(x),
                s.where(x > 0, x, -x),
            ]
        ),
        (2, 3, 2),
    ),
    "indices": (
        lambda s, x: s.Group(
            [
                s.take(s.reshape(x, (4, 6)), s.argmax(s.reshape(x, (6, 4)), axis=1)),
                s.argmin(s.reshape(x, (6, 4)), axis=0, keepdims=True),
                s.pick(s.reshape(x, (6, 4)), s.argmax(s.reshape(x, (6, 4)), axis=1)),
                s.one_hot(s.argmax(s.reshape(x, (6, 4)), axis=1), depth=5, on_value=2),
                s.topk(s.reshape(x, (6, 4)), k=2, ret_typ="value"),
                s.topk(s.reshape(x, (6, 4)), k=2, axis=0, is_ascend=True),
                s.topk(s.reshape(x, (6, 4)), k=2, ret_typ="mask"),
                s.sort(s.reshape(x, (6, 4)), axis=0),
                s.argsort(s.reshape(x, (6, 4)), is_ascend=False),
                s.gather_nd(
                    s.reshape(x, (6, 4)), s.argsort(s.reshape(s.slice_axis(x, axis=0, begin=0, end=1), (2, 6)), axis=0)
                ),
            ]
        ),
        (2, 3, 4),
    ),
    "made of nothing": (
        lambda s, x: (
            s.broadcast_add(x, s.reshape(s.arange(0, 3, 0.5), (1, 6)))
            + s.full((2, 6), 3.0)
            + s.contrib.arange_like(x, axis=1, start=1, step=2).reshape((1, 6)).tile((2, 1))
        ),
        (2, 6),
    ),
    "space": (
        lambda s, x: (
            s.depth_to_space(s.space_to_depth(x, block_size=2), block_size=2)
            + s.space_to_depth(s.tile(x, reps=(1, 1, 2, 2)), block_size=2).slice_axis(axis=1, begin=0, end=4)
        ),
        (2, 4, 4, 6),
    ),
    "pads": (
        lambda s, x: s.Group(
            [
                s.pad(x, mode=mode, pad_width=(0, 0, 0, 0, 1, 2, 3, 0), constant_value=2)
                for mode in ("constant", "edge", "reflect")
            ]
        ),
        PICTURE,
    ),
    "sequences": (
        lambda s, x: s.Group(
            [
                s.SequenceLast(s.reshape(x, (4, 3, 2))),
                s.SequenceMask(s.reshape(x, (4, 3, 2)), s.arange(1, 4), use_sequence_length=True, value=-1),
                s.SequenceLast(s.reshape(x, (4, 3, 2)), s.arange(1, 4), use_sequence_length=True),
                s.SequenceReverse(s.reshape(x, (4, 3, 2)), s.arange(1, 4), use_sequence_length=True),
                s.SequenceReverse(s.reshape(x, (4, 3, 2))),
            ]
        ),
        (4, 3, 2),
    ),
    "attention": (
        lambda s, x: s.Group(
            [
                s.contrib.interleaved_matmul_selfatt_qk(x, heads=2),
                s.contrib.interleaved_matmul_selfatt_valatt(
                    x, s.softmax(s.contrib.interleaved_matmul_selfatt_qk(x, heads=2)), heads=2
                ),
                s.contrib.interleaved_matmul_encdec_qk(
                    s.slice_axis(x, axis=2, begin=0, end=12), s.slice_axis(x, axis=2, begin=0, end=24), heads=2
                ),
                s.contrib.div_sqrt_dim(x),
            ]
        ),
        (5, 2, 36),
    ),
    **{
        f"rnn {mode} {layers} {both}": (
            lambda s, x, mode=mode, layers=layers, both=both: s.Group(
                list(
                    s.RNN(
                        x,
                        s.Variable("a_parameters"),
                        s.zeros((layers * (1 + both), 2, 4)),
                        *([s.zeros((layers * (1 + both), 2, 4))] if mode == "lstm" else []),
                        mode=mode,
                        state_size=4,
                        num_layers=layers,
                        bidirectional=both,
                        state_outputs=True,
                        name="a",
                    )
                )
            ),
            (5, 2, 3),
        )
        for mode, layers, both in (
            ("lstm", 1, False),
            ("lstm", 2, True),
            ("gru", 2, False),
            ("gru", 1, True),
            ("rnn_tanh", 1, True),
            ("rnn_relu", 2, False),
        )
    },
}


def saved(folder: Path, symbol: Any, arrays: dict[str, Any], states: dict[str, Any], mx: Any) -> list[Path]:
    mx.model.save_checkpoint(str(folder / "m"), 3, symbol, arrays, states)
    return [folder / "m-symbol.json", folder / "m-0003.params"]


@pytest.mark.mxnet
@pytest.mark.parametrize("name", OPERATORS)
def test_operators_compute_what_mxnet_computes(name: str, tmp_path: Path, mx: Any) -> None:
    make, shape = OPERATORS[name]
    rng = np.random.default_rng(0)
    symbol = make(mx.sym, mx.sym.Variable("data", shape=shape))
    executor = symbol.simple_bind(mx.cpu(), data=shape, grad_req="null")
    for held in (executor.arg_dict, executor.aux_dict):
        for key, array in held.items():
            array[:] = np.abs(rng.normal(size=array.shape)) + 0.1 if "var" in key else rng.normal(size=array.shape)
    expected = [array.asnumpy() for array in executor.forward(is_train=False)]
    weights = {key: array for key, array in executor.arg_dict.items() if key not in ("data", "s_label")}
    paths = saved(tmp_path, symbol, weights, executor.aux_dict, mx)
    model = reader.read(*paths)
    actual = run(model, {"data": executor.arg_dict["data"].asnumpy()})
    assert [tuple(array.shape) for array in expected] == [array.shape for array in actual]
    for one, other in zip(expected, actual, strict=True):
        # both compute in float32, in another order of summation
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the golden corpus is not in ../shared")
@pytest.mark.parametrize("case", sorted(CORPUS.glob("*/")) or [CORPUS], ids=lambda case: case.name)
def test_golden_models_compute_what_mxnet_computed(case: Path) -> None:
    inputs, expected = (dict(np.load(case / f"{part}.npz")) for part in ("inputs", "outputs"))
    runner = zoo.runner([case / "model-symbol.json", case / "model-0000.params"])
    actual = runner.run(inputs)
    assert len(actual) == len(expected)
    for i, (name, array) in enumerate(expected.items()):  # Gluon's blocks have an output without a name
        np.testing.assert_allclose(actual.get(name, list(actual.values())[i]), array, rtol=1e-4, atol=1e-5)


CONV = {"kernel": "(3L, 3L)", "num_filter": "2", "pad": "[1,1]", "no_bias": "True"}
EDGES = [[0, 0, 0], [1, 0, 0]]


def written(
    folder: Path, nodes: list[dict[str, Any]], heads: list[Any], arrays: bytes | None = None, **more: Any
) -> Path:
    path = folder / "net-symbol.json"
    path.write_text(json.dumps({"nodes": nodes, "arg_nodes": [0], "heads": heads} | more))
    (folder / "net-0001.params").write_bytes(ARRAYS if arrays is None else arrays)
    return path


def array_bytes(array: np.ndarray, version: int) -> bytes:
    """An array as that version of MXNet saved it."""
    flag, sizes = params.FLAGS.index(array.dtype.name), array.shape
    head = {
        0: struct.pack(f"<I{len(sizes)}I", len(sizes), *sizes),
        1: struct.pack(f"<2I{len(sizes)}q", 0xF993FAC8, len(sizes), *sizes),
        2: struct.pack(f"<IiI{len(sizes)}q", 0xF993FAC9, 0, len(sizes), *sizes),
        3: struct.pack(f"<Iii{len(sizes)}q", 0xF993FACA, 0, len(sizes), *sizes),
    }[version]
    return head + struct.pack("<3i", 1, 0, flag) + array.tobytes()


def list_bytes(arrays: dict[str, bytes]) -> bytes:
    names = b"".join(struct.pack("<Q", len(name)) + name.encode() for name in arrays)
    count = struct.pack("<Q", len(arrays))
    return struct.pack("<2Q", 0x112, 0) + count + b"".join(arrays.values()) + count + names


WEIGHT = np.random.default_rng(1).normal(size=(2, 3, 3, 3)).astype(np.float32)
GAMMA = np.array([0.5, 2.0], np.float32)
ARRAYS = list_bytes(
    {"arg:conv_weight": array_bytes(WEIGHT, 2)}
    | {f"arg:bn_{name}": array_bytes(GAMMA, 2) for name in ("gamma", "beta")}
    | {f"aux:bn_moving_{name}": array_bytes(GAMMA, 2) for name in ("mean", "var")}
)


@pytest.mark.parametrize("version", range(4))
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "int32", "int8", "int64"])
def test_arrays_of_every_version_are_read(version: int, dtype: str, tmp_path: Path) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    (tmp_path / "x.params").write_bytes(list_bytes({"arg:w": array_bytes(array, version)}))
    (tensor,) = zoo.weights(tmp_path / "x.params").values()
    assert tensor.name == "w"
    np.testing.assert_array_equal(np.asarray(tensor), array)


@pytest.mark.mxnet
def test_what_mxnet_saves_is_what_is_read(tmp_path: Path, mx: Any) -> None:
    arrays = {
        "a": mx.nd.array([[1, 2.5]]),
        "arg:b": mx.nd.arange(5, dtype="int32"),
        "c.weight": mx.nd.ones((2,), dtype="float16"),
    }
    mx.nd.save(str(tmp_path / "x"), arrays)
    mx.nd.save(str(tmp_path / "y"), list(arrays.values()))
    for file, names in (("x", ["a", "b", "c.weight"]), ("y", ["0", "1", "2"])):
        read = zoo.weights(tmp_path / file)
        assert sorted(read) == names
        for name, array in zip(names, arrays.values(), strict=True):
            np.testing.assert_array_equal(np.asarray(read[name]), array.asnumpy())


def test_the_rank_of_an_input_is_found_behind_what_keeps_it(tmp_path: Path) -> None:
    names = ("data", "bn_gamma", "bn_beta", "bn_moving_mean", "bn_moving_var", "conv_weight")
    nodes: list[dict[str, Any]] = [{"op": "null", "name": name, "inputs": []} for name in names]
    nodes.append({"op": "BatchNorm", "name": "bn", "inputs": [[i, 0, 0] for i in range(5)]})
    nodes.append({"op": "Convolution", "name": "conv", "attrs": CONV, "inputs": [[6, 0, 0], [5, 0, 0]]})
    weight = WEIGHT[:, :2].copy()
    arrays = {f"arg:bn_{name}": array_bytes(GAMMA, 2) for name in ("gamma", "beta", "moving_mean", "moving_var")}
    arrays["arg:conv_weight"] = array_bytes(weight, 2)
    model = reader.read(written(tmp_path, nodes, [[7, 0, 0]], list_bytes(arrays)))
    assert [len(value.shape or ()) for value in model.graph.inputs] == [4]


@pytest.mark.parametrize("key", ["attrs", "attr", "param"])
def test_parameters_are_read_wherever_a_version_wrote_them(key: str, tmp_path: Path) -> None:
    nodes = [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "null", "name": "conv_weight", "inputs": []},
        {
            "op": "Convolution",
            "name": "conv",
            key: CONV,
            "inputs": [edge[:2] for edge in EDGES],
            "backward_source_id": -1,
        },
    ]
    model = reader.read(written(tmp_path, nodes, [[2, 0]]))
    x = np.random.default_rng(0).normal(size=(1, 3, 5, 6)).astype(np.float32)
    assert run(model, {"data": x})[0].shape == (1, 2, 5, 6)
    assert [value.name for value in model.graph.outputs] == ["conv_output"]


def test_states_that_version_08_left_out_are_the_files(tmp_path: Path) -> None:
    nodes: list[dict[str, Any]] = [
        {"op": "null", "name": name, "inputs": []} for name in ("data", "bn_gamma", "bn_beta")
    ]
    nodes[0]["attr"] = {"__shape__": "(1, 2, 3, 3)"}
    nodes.append({"op": "BatchNorm", "name": "bn", "param": {"eps": "0.5"}, "inputs": [[0, 0], [1, 0], [2, 0]]})
    model = reader.read(written(tmp_path, nodes, [[3, 0]]))
    kinds = {name: value.metadata_props[PARAMETER] for name, value in parameters(model.graph).items()}
    assert kinds == {
        "bn_gamma": "parameter", "bn_beta": "parameter", "bn_moving_mean": "buffer", "bn_moving_var": "buffer"
    }  # fmt: skip
    x = np.ones((1, 2, 3, 3), np.float32)
    expected = (1 - GAMMA) / np.sqrt(GAMMA + 0.5) + GAMMA  # the factor counts as 1
    np.testing.assert_allclose(run(model, {"data": x})[0][0, :, 0, 0], expected, rtol=1e-6)


def test_a_prefix_that_gluon_took_off_is_put_back(tmp_path: Path) -> None:
    nodes = [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "null", "name": "net0_conv_weight", "inputs": []},
        {"op": "Convolution", "name": "net0_conv", "attrs": CONV, "inputs": EDGES},
    ]
    path = written(tmp_path, nodes, [[2, 0, 0]], list_bytes({"conv_weight": array_bytes(WEIGHT, 2)}))
    assert list(parameters(reader.read(path).graph)) == ["net0_conv_weight"]


def test_names_by_blocks_are_refused_since_only_code_tells_them(tmp_path: Path) -> None:
    nodes = [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "null", "name": "net0_conv_weight", "inputs": []},
        {"op": "Convolution", "name": "net0_conv", "attrs": CONV, "inputs": EDGES},
    ]
    path = written(tmp_path, nodes, [[2, 0, 0]], list_bytes({"0.weight": array_bytes(WEIGHT, 2)}))
    with pytest.raises(Malformed, match=r"'0.weight' is none of data, net0_conv_weight.*export"):
        reader.read(path)


def test_a_symbol_without_arrays_says_what_to_give(tmp_path: Path) -> None:
    path = written(tmp_path, [{"op": "null", "name": "data", "inputs": []}], [[0, 0, 0]])
    (tmp_path / "net-0001.params").unlink()
    with pytest.raises(BadInput, match=r"no file net-\*.params is beside it.*Give both"):
        reader.read(path)


@pytest.mark.mxnet
def test_a_sparse_array_is_refused_by_name(tmp_path: Path, mx: Any) -> None:
    mx.nd.save(str(tmp_path / "x.params"), {"w": mx.nd.ones((3, 2)).tostype("row_sparse")})
    with pytest.raises(Refused, match=r"array 0 is sparse \(row_sparse\).*tostype"):
        zoo.weights(tmp_path / "x.params")


def test_an_unknown_operator_is_refused_by_name(tmp_path: Path) -> None:
    nodes = [{"op": "null", "name": "conv_weight", "inputs": []}, {"op": "Custom", "name": "c", "inputs": [[0, 0, 0]]}]
    with pytest.raises(Refused, match="operators that are not known: Custom"):
        reader.read(written(tmp_path, nodes, [[1, 0, 0]]))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (ARRAYS[:20], "the file ends at"),
        (ARRAYS[:100], "should have"),
        (struct.pack("<3Q", 0x112, 0, 1 << 60), "are announced"),
        (
            struct.pack("<3QI", 0x112, 0, 1, 0xF993FAC8) + struct.pack("<I2q3i", 2, 1 << 40, 1 << 40, 1, 0, 0),
            "should have",
        ),
        (struct.pack("<3QI", 0x112, 0, 1, 40) + bytes(400), "40 axes"),
        (
            list_bytes({"w": array_bytes(GAMMA, 1)})[:48] + struct.pack("<i", 77) + bytes(40),
            "type number 77",
        ),
        (list_bytes({"w": array_bytes(GAMMA, 2)})[:-9] + struct.pack("<Q", 1 << 50) + b"w", "a name of"),
    ],
)
def test_arrays_that_lie_are_refused(data: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "x.params").write_bytes(data)
    with pytest.raises((Malformed, Refused), match=what):
        zoo.weights(tmp_path / "x.params")
