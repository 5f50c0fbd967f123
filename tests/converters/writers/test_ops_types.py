"""Every dtype of ONNX through torch and back: held, cast, reinterpreted, against onnx's reference and numpy."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

import zoo
from zoo.converters.graph import OPSET
from zoo.errors import BindError, HubError, Malformed

torch = pytest.importorskip("torch")

from zoo.converters.writers.torch.types import HELD, to_array, to_tensor  # noqa: E402 - needs torch

Type = ir.DataType
REAL = [t for t in HELD if t not in (Type.COMPLEX64, Type.COMPLEX128)]
FLOATS = [t for t in REAL if t.is_floating_point()]
BY_NAME = {"argvalues": REAL, "ids": [t.name for t in REAL]}


def bits(array):
    """The array's bytes as unsigned integers: NaNs and signs of zero count."""
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def every_value(dtype):
    """Every value of a type of at most 8 bits, and what is at the edges of another one."""
    if dtype.bitwidth <= 8 and dtype != Type.BOOL:
        codes = np.arange(1 << dtype.bitwidth).astype(np.uint8)
        if dtype.is_integer():
            return np.array(
                [c - (dtype.is_signed() and c >> (dtype.bitwidth - 1)) * (1 << dtype.bitwidth) for c in codes.tolist()]
            ).astype(dtype.numpy())
        return codes.view(dtype.numpy())
    if dtype.is_integer():
        info = np.iinfo(dtype.numpy())
        return np.array([info.min, info.max, 0, 1, 2, 7, 8, 100, 127, 128, 200, 255], dtype=dtype.numpy())
    if dtype == Type.BOOL:
        return np.array([True, False])
    return edges(dtype)


def edges(dtype):
    numbers = [0.0, -0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.5, 3.5, 5, 6, 7, 7.3, -0.3, -1.2, -2.5, -7, 100]
    numbers += [
        448,
        464,
        465,
        480,
        -464,
        -465,
        240,
        247.9,
        248,
        57344,
        61439,
        61440,
        61441,
        1e-7,
        1e6,
        -1e6,
        2**-9,
        3 * 2**-11,
    ]
    with np.errstate(over="ignore"):
        return np.array(numbers, dtype=dtype.numpy())


def within(x, target):
    """Those of x that the specification says something of: an integer that they are in range of, no NaN there."""
    wide = x.astype(np.float64)
    if target.is_integer():
        info = ml_dtypes.iinfo(target.numpy())
        kept = np.isfinite(wide) & (wide > float(info.min) - 1) & (wide < float(info.max) + 1)
        return x[kept] if not Type.from_numpy(x.dtype).is_integer() else x
    if target == Type.FLOAT8E8M0:
        return x[(wide >= 2**-126) & np.isfinite(wide)]
    if target in (Type.FLOAT4E2M1, Type.FLOAT6E2M3, Type.FLOAT6E3M2):
        return x[~np.isnan(wide)]
    return x


def model_of(nodes, inputs, outputs):
    given = [helper.make_tensor_value_info(k, t.value, s) for k, (t, s) in inputs.items()]
    made = [helper.make_tensor_value_info(k, t.value, None) for k, t in outputs.items()]
    graph = helper.make_graph(nodes, "g", given, made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=13)
    return onnx.shape_inference.infer_shapes(model)


def cast(source, target, x, **attributes):
    node = helper.make_node("Cast", ["x"], ["y"], to=target.value, **attributes)
    model = model_of([node], {"x": (source, ["n"])}, {"y": target})
    return model, zoo.runner(model, "torch").run({"x": x})["y"]


@pytest.mark.parametrize("dtype", [t for t in REAL if t.bitwidth != 6], ids=lambda t: t.name)  # no Identity of 6 bits
def test_a_dtype_goes_through_torch_and_comes_back_as_it_was(dtype):
    x = every_value(dtype)
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Transpose", ["x"], ["z"])]
    runner = zoo.runner(model_of(nodes, {"x": (dtype, ["n"])}, {"y": dtype, "z": dtype}), "torch")
    for got in runner.run({"x": x}).values():
        assert x.dtype == got.dtype
        np.testing.assert_array_equal(bits(x), bits(got))


@pytest.mark.parametrize("dtype", HELD, ids=[t.name for t in HELD])
def test_a_constant_of_a_dtype_is_the_same_tensor(dtype):
    x = every_value(dtype) if dtype in REAL else np.array([1 + 2j, -3j], dtype=dtype.numpy())
    for array in (x, x[:1].reshape(()), x[::2], x[None, ::-1]):
        got = to_array(to_tensor(array.copy()), array.dtype.name)
        assert (array.dtype, array.shape) == (got.dtype, got.shape)
        assert array.tobytes() == got.tobytes()


def test_an_array_of_another_byte_order_is_the_same_numbers():
    assert [1.0, 2.0] == to_tensor(np.array([1, 2], dtype=">f4")).tolist()


@pytest.mark.parametrize("source", **BY_NAME)
def test_a_cast_to_every_other_dtype_is_the_specifications(source):
    targets = [t for t in REAL if t != source]
    feeds = {t.name: within(every_value(source), t) for t in targets}
    nodes = [helper.make_node("Cast", [t.name], [f"y_{t.name}"], to=t.value) for t in targets]
    inputs = {name: (source, [len(x)]) for name, x in feeds.items()}
    model = model_of(nodes, inputs, {f"y_{t.name}": t for t in targets})
    made = zoo.runner(model, "torch").run(feeds)
    for target in targets:
        expected, got = reference(feeds[target.name], source, target), made[f"y_{target.name}"]
        assert target.numpy() == got.dtype
        if target.is_floating_point():  # the bits of a NaN are nobody's
            nan = np.isnan(expected.astype(np.float32))
            np.testing.assert_array_equal(nan, np.isnan(got.astype(np.float32)))
            expected, got = expected[~nan], got[~nan]
        np.testing.assert_array_equal(bits(expected), bits(got), err_msg=target.name)


def reference(x, source, target):
    """What onnx's reference gives; it can't cast from one narrow type to another, and takes a wider one on the way."""
    if source.bitwidth < 8 or source == Type.FLOAT8E8M0:
        source, x = (Type.INT32, x.astype(np.int32)) if source.is_integer() else (Type.FLOAT, x.astype(np.float32))
    if target.is_integer() and target.bitwidth < 8 and source.is_floating_point():
        source, x = Type.INT32, x.astype(np.float32).astype(np.int32)
    with np.errstate(over="ignore"):
        return ReferenceEvaluator(helper.make_node("Cast", ["x"], ["y"], to=target.value)).run(None, {"x": x})[0]


@pytest.mark.parametrize("target", [t for t in REAL if t.name.startswith("FLOAT8")], ids=lambda t: t.name)
@pytest.mark.parametrize("source", [Type.FLOAT, Type.FLOAT16, Type.BFLOAT16, Type.DOUBLE], ids=lambda t: t.name)
def test_a_cast_without_saturation_is_the_specifications(source, target):
    x = np.append(edges(source), np.array([np.nan, np.inf, -np.inf], dtype=source.numpy()))
    model, got = cast(source, target, within(x, target), saturate=0)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": within(x, target)})
    np.testing.assert_array_equal(expected.astype(np.float32), got.astype(np.float32))


# ONNX's Cast, the table of special values: saturate + up, and non-saturate + nearest
E8M0 = [(0.0, 0, 255), (np.nan, 255, 255), (np.inf, 254, 255), (3e38, 254, 255), (1e-45, 0, 255), (2.0**-127, 0, 0)]
E8M0 += [(2.0**-127 * 1.25, 1, 1), (2.0**-126, 1, 1), (1.0, 127, 127), (1.25, 128, 127), (1.5, 128, 128)]


@pytest.mark.parametrize(("number", "up", "nearest"), E8M0)
def test_powers_of_two_are_rounded_as_the_table_says(number, up, nearest):
    x = np.float32([number])
    assert [up] == bits(cast(Type.FLOAT, Type.FLOAT8E8M0, x)[1]).tolist()
    assert [nearest] == bits(cast(Type.FLOAT, Type.FLOAT8E8M0, x, saturate=0, round_mode="nearest")[1]).tolist()


def test_a_round_mode_that_onnx_lacks_is_refused_by_name():
    with pytest.raises(HubError, match="round_mode 'sideways'"):
        cast(Type.FLOAT, Type.FLOAT8E8M0, np.float32([1]), round_mode="sideways")


PAIRS = [(a, b) for a in REAL for b in REAL if a.bitwidth == b.bitwidth != 6 and Type.BOOL not in (a, b)]


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=[f"{a.name}-{b.name}" for a, b in PAIRS])
def test_bits_are_reinterpreted_and_no_bit_changes(source, target):
    x = every_value(source)
    node = helper.make_node("BitCast", ["x"], ["y"], to=target.value)
    model = model_of([node], {"x": (source, ["n"])}, {"y": target})
    got = zoo.runner(model, "torch").run({"x": x})["y"]
    assert target.numpy() == got.dtype
    mask = (1 << source.bitwidth) - 1
    np.testing.assert_array_equal(bits(x) & mask, bits(got) & mask)


def test_bits_of_another_width_are_refused():
    node = helper.make_node("BitCast", ["x"], ["y"], to=Type.INT64.value)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", 1, [2])], [helper.make_tensor_value_info("y", 7, [2])]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    with pytest.raises(Malformed, match="input type has 32 bits and output type has 64"):
        zoo.load(model, "torch")


def test_a_tensor_that_torch_holds_wider_fills_a_narrow_parameter_and_is_checked():
    from zoo.converters.bind import bind
    from zoo.converters.graph import PARAMETER

    nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["y"])]
    model = ir.from_proto(model_of(nodes, {"w": (Type.INT4, [2]), "s": (Type.FLOAT, [])}, {"y": Type.FLOAT}))
    model.graph.inputs[0].metadata_props[PARAMETER] = "parameter"
    filled = bind(model, {"w": ir.tensor(np.int8([-8, 7]))}).graph.initializers["w"].const_value
    assert (Type.INT4, [-8, 7]) == (filled.dtype, filled.numpy().astype(int).tolist())
    wide = bind(model, {"w": ir.tensor(np.int8([-9, 7]))}).graph.initializers["w"].const_value
    with pytest.raises(BindError, match="w is INT4"):
        wide.numpy()
