"""Shapes and indices in torch: every dtype, known and computed arguments, free sizes, nothing at all."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest

import zoo
from zoo.errors import HubError

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
DTYPES = [np.float32, np.float16, np.float64, np.int8, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
DTYPES += [np.bool_, np.complex64, ml_dtypes.bfloat16]
FREE = pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
COMPUTED = pytest.mark.parametrize("given", [lambda x: [x], lambda x: x], ids=["constant", "computed"])
MOST, LEAST = 2**63 - 1, -(2**63)


def f(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def i(*items):
    return np.array(items, dtype=np.int64)


def drawn(dtype, *shape):
    return RNG.integers(0, 2 if dtype == np.bool_ else 100, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_elements_of_every_dtype_are_moved(agrees, dtype):
    x = drawn(dtype, 3, 4)
    holds = RNG.random((3, 4)) > 0.5
    agrees("Where", {}, [holds, x, drawn(dtype, 4)])
    agrees("Where", {}, [holds, [drawn(dtype)], x])
    agrees("Where", {}, [holds, [drawn(dtype)], [drawn(dtype)]])
    agrees("Transpose", {}, [x])
    agrees("Tile", {}, [x, i(2, 1)])
    agrees("Slice", {}, [x, i(3, -1), i(-100, -100), i(0, 1), i(-1, -2)])
    agrees("Concat", {"axis": -1}, [x, x])
    agrees("Pad", {}, [x, i(0, 1, 2, 0)])
    agrees("Split", {}, [x, i(1, 2)], outputs=2)
    if dtype != np.complex64:
        agrees("EyeLike", {"k": 1}, [x], [np.eye(3, 4, 1).astype(dtype)])
        agrees("EyeLike", {}, [x], [np.eye(3, 4).astype(dtype)])
    for mode in ("reflect", "edge", "wrap"):
        agrees("Pad", {"mode": mode}, [drawn(dtype, 1, 2, 4, 4), i(0, 0, 1, 2, 0, 0, 1, 0)])


@pytest.mark.parametrize("dtype", DTYPES)
def test_elements_of_every_dtype_are_picked_and_put(agrees, dtype):
    x = drawn(dtype, 3, 4)
    for at in (np.array([[0, -1], [2, 1]]), [np.array([[0, -1], [2, 1]])]):
        agrees("Gather", {"axis": 1}, [x, at])
        agrees("GatherElements", {"axis": 1}, [drawn(dtype, 2, 3), at])
        agrees("GatherND", {}, [x, at])
        agrees("ScatterElements", {"axis": 1}, [drawn(dtype, 2, 3), at, drawn(dtype, 2, 2)])
    agrees("ScatterND", {}, [x, i(0, -1).reshape(2, 1), drawn(dtype, 2, 4)])
    agrees("Trilu", {"upper": 0}, [x, np.int64(-1)], [np.tril(x, -1)])
    agrees("NonZero", {}, [x])
    agrees("Compress", {"axis": 1}, [x, np.array([True, False, True])])
    agrees("Compress", {}, [x, [np.array([True, False, True])]])
    agrees("ReverseSequence", {"batch_axis": 0, "time_axis": 1}, [x, i(1, 2, 4)])
    for mode in ("linear", "circular"):
        agrees("TensorScatter", {"mode": mode, "axis": 1}, [drawn(dtype, 2, 5, 3), drawn(dtype, 2, 2, 3), i(1, 3)])
    off, on = values = drawn(dtype, 2)
    expected = np.stack([np.where(np.arange(3) == k, on, off) for k in (1, 2, 99)]).astype(dtype)
    agrees("OneHot", {}, [i(1, -1, 5), np.int64(3), values], [expected])
    if dtype != np.complex64:
        agrees("Unique", {}, [drawn(dtype, 10)], outputs=4)


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
def test_elements_of_eight_bits_are_moved(agrees, dtype):
    x = drawn(dtype, 4, 4)
    agrees("Transpose", {}, [x])
    agrees("Reshape", {}, [x, i(2, -1)])
    agrees("Squeeze", {}, [x[None]])
    agrees("ConstantOfShape", {"value": onnx.numpy_helper.from_array(drawn(dtype, 1))}, [i(2, 3)])


@pytest.mark.parametrize("reduction", ["add", "mul", "max", "min"])
@pytest.mark.parametrize("dtype", [d for d in DTYPES if d not in (np.bool_, np.complex64)])
def test_updates_of_every_dtype_are_combined(agrees, dtype, reduction):
    x = drawn(dtype, 3, 4)
    places = np.array([[0, -1, 0, 0], [0, 1, 2, 0]])
    agrees("ScatterElements", {"reduction": reduction}, [x, places, drawn(dtype, 2, 4)])
    agrees("ScatterND", {"reduction": reduction}, [x, np.array([[0, 1], [-1, 2], [0, 1]]), drawn(dtype, 3)])
    agrees("ScatterND", {"reduction": reduction}, [x, np.zeros((0, 1), np.int64), drawn(dtype, 0, 4)], [x])


@FREE
@COMPUTED
@pytest.mark.parametrize(
    ("shape", "target"),
    [((2, 3, 4), (0, -1)), ((2, 3, 4), (24,)), ((1,), ()), ((2, 3, 4), (2, 0, 4, 1)), ((2, 0, 3), (0, 0, 6))],
)
def test_reshape_copies_where_the_shape_has_a_zero(agrees, shape, target, given, free):
    agrees("Reshape", {}, [f(*shape), given(np.array(target, np.int64))], free=free)


@FREE
@COMPUTED
def test_reshape_takes_a_zero_for_what_it_is(agrees, given, free):
    agrees("Reshape", {"allowzero": 1}, [f(2, 0, 3), given(i(3, 0))], free=free)


@FREE
@COMPUTED
@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ((1, -4), (4, -1), (0, 1), (1, 2)),
        ((-1,), (-(2**62),), (0,), (-2,)),
        ((3,), (0,), (1,), (-1,)),
        ((0,), (10**9,), (-1,), (3,)),
        ((2,), (1,), (0,), (1,)),
        ((-1,), (-7,), (1,), (-1,)),
        ((4,), (-5,), (0,), (-3,)),
        ((100,), (-100,), (0,), (-1,)),
        ((0,), (5,), (0,), (-1,)),
        ((MOST,), (LEAST,), (0,), (-1,)),
        ((LEAST,), (MOST,), (0,), (1,)),
    ],
)
def test_slices_go_both_ways(agrees, starts, ends, axes, steps, given, free):
    agrees("Slice", {}, [f(5, 6), *(given(i(*n)) for n in (starts, ends, axes, steps))], free=free)


@FREE
@COMPUTED
def test_slices_name_axes_or_none(agrees, given, free):
    agrees("Slice", {}, [f(5, 6), given(i(1, 2)), given(i(3, 4))], free=free)
    agrees("Slice", {}, [f(5, 6), given(i(1)), given(i(3)), given(i(-1))], free=free)
    agrees("Slice", {}, [f(0, 6), given(i(-1)), given(i(-100)), given(i(0)), given(i(-1))], free=free)


@FREE
@COMPUTED
def test_axes_of_size_one_come_and_go(agrees, given, free):
    agrees("Squeeze", {}, [f(2, 1, 3, 1), given(i(1, -1))], free=free)
    agrees("Squeeze", {}, [f(1, 1)], free=free)
    agrees("Unsqueeze", {}, [f(2, 3), given(i(-1, 0))], free=free)
    agrees("Unsqueeze", {}, [np.float32(3), given(i(0, 1))], free=free)


@FREE
@COMPUTED
@pytest.mark.parametrize(
    ("shape", "target"), [((3, 1), (2, 1, 4)), ((3, 4), (1,)), ((3, 1), (3, 4)), ((), (2, 3)), ((1, 3), (0, 3))]
)
def test_expand_broadcasts_both_ways(agrees, shape, target, given, free):
    agrees("Expand", {}, [f(*shape), given(i(*target))], free=free)


@FREE
@COMPUTED
def test_tile_constant_of_shape_and_split_take_what_is_computed(agrees, given, free):
    agrees("Tile", {}, [f(2, 3), given(i(2, 0))], free=free)
    agrees("Tile", {}, [np.float32(2), given(np.zeros(0, np.int64))], free=free)
    agrees("ConstantOfShape", {}, [given(i(2, 0, 3))], free=free)
    agrees("ConstantOfShape", {}, [given(np.zeros(0, np.int64))], free=free)
    agrees("Split", {"axis": 1}, [f(2, 5), given(i(1, 0, 4))], outputs=3, free=free)


@FREE
@pytest.mark.parametrize(("length", "parts"), [(5, 2), (4, 3), (5, 4), (6, 3), (2, 4)])
def test_parts_that_are_left_over_are_smaller_or_empty(agrees, length, parts, free):
    x = f(2, length)
    step = -(-length // parts)
    expected = [x[:, n * step : (n + 1) * step] for n in range(parts)]
    agrees("Split", {"axis": -1, "num_outputs": parts}, [x], expected, outputs=parts, free=free)


@FREE
@COMPUTED
@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
@pytest.mark.parametrize(
    ("shape", "pads", "axes"),
    [
        ((4,), (2, 3), None),
        ((3, 4), (1, 2, 0, 3), None),
        ((1, 2, 4, 4), (0, 0, 1, 2, 0, 0, 1, 3), None),
        ((2, 3, 4, 5, 6), (0, 0, 0, 1, 2, 0, 0, 1, 0, 3), None),
        ((4, 5), (2, 1), (-1,)),
        ((2, 3, 4), (1, 1, 1, 1), (0, 2)),
        ((1, 3), (2, 2), (0,)),
    ],
)
def test_borders_of_any_axes(agrees, mode, shape, pads, axes, given, free):
    inputs = [f(*shape), given(i(*pads)), None, *([] if axes is None else [given(i(*axes))])]
    agrees("Pad", {"mode": mode}, inputs, free=free)


@pytest.mark.parametrize("mode", ["reflect", "wrap"])
def test_borders_wider_than_the_image_go_round_again(agrees, mode):
    agrees("Pad", {"mode": mode}, [f(4, 5), i(7, 9), None, i(1)])
    agrees("Pad", {"mode": mode}, [f(4, 5), [i(7, 9)], None, [i(1)]])


@FREE
@COMPUTED
def test_padding_with_a_number_cuts_where_it_is_negative(agrees, given, free):
    x = f(2, 3)
    agrees("Pad", {}, [x, given(i(0, 1, 2, 0)), given(np.float32(7))], free=free)
    agrees("Pad", {}, [x, given(i(0, -1, 2, -1))], [np.pad(x, ((0, 2), (0, 0)))[:, 1:2]], free=free)
    agrees("Pad", {}, [x, given(i(1, 0)), None, given(i(-1))], [np.pad(x, ((0, 0), (1, 0)))], free=free)


@FREE
@COMPUTED
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.float32, np.float64])
def test_ranges_run_both_ways_or_not_at_all(agrees, dtype, given, free):
    for bounds in ((2, 11, 3), (5, 0, -2), (5, 0, 2)):
        agrees("Range", {}, [given(dtype(b)) for b in bounds], free=free)


def test_a_range_in_half_precision_is_computed_in_single(agrees):
    agrees("Range", {}, [np.float16(0), np.float16(1), np.float16(0.1)])


@FREE
@COMPUTED
def test_points_name_some_axes_of_each_batch(agrees, given, free):
    agrees("GatherND", {"batch_dims": 1}, [f(2, 3, 4), given(np.array([[1], [0]]))], free=free)
    agrees("GatherND", {"batch_dims": 2}, [f(2, 3, 4, 5), given(RNG.integers(0, 4, (2, 3, 6, 1)))], free=free)
    agrees("GatherND", {"batch_dims": 1}, [f(2, 3, 4, 5), given(RNG.integers(-3, 3, (2, 6, 2)))], free=free)
    x = f(2, 3)
    agrees("GatherND", {}, [x, given(np.zeros((5, 0), np.int64))], [np.broadcast_to(x, (5, 2, 3))], free=free)


@FREE
@COMPUTED
def test_indices_of_every_form(agrees, given, free):
    agrees("Gather", {}, [f(3, 4), given(np.int64(-1))], free=free)
    agrees("Gather", {"axis": -1}, [f(3, 4), given(np.array([[0, -1]], np.int32))], free=free)
    agrees("Gather", {}, [f(3, 4), given(np.zeros((0, 2), np.int64))], free=free)
    agrees("ScatterElements", {"axis": -1}, [f(3, 4), given(np.array([[0, -1]], np.int32)), f(1, 2)], free=free)
    agrees("Compress", {"axis": -1}, [f(3, 4), given(np.array([True, False, True, True]))], free=free)


@FREE
@COMPUTED
def test_triangles_from_any_diagonal(agrees, given, free):
    agrees("Trilu", {}, [f(3, 4), given(np.int64(-3))], free=free)
    agrees("Trilu", {"upper": 0}, [f(2, 3, 4), given(np.int64(9))], free=free)
    agrees("Trilu", {}, [f(0, 4), given(np.int64(1))], free=free)


@FREE
@pytest.mark.parametrize("sort", [0, 1])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_unique_says_where_and_how_often(agrees, axis, sort, free):
    x = RNG.integers(0, 2, (4, 5)).astype(np.float32)
    kept, first, inverse, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True, axis=axis)
    order = np.arange(len(first)) if sort else np.argsort(first)
    inverse = np.argsort(order)[inverse.reshape(-1)]
    expected = [kept.take(order, axis or 0), first[order], inverse, counts[order]]
    attributes = {"sorted": sort} if axis is None else {"sorted": sort, "axis": axis}
    agrees("Unique", attributes, [x], expected, outputs=4, free=free)


@FREE
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
def test_a_matrix_of_nothing_is_flat_as_well(agrees, axis, free):
    for shape in ((2, 3, 4), (0, 3, 4), (2, 0, 4)):
        rows = int(np.prod(shape[: axis % 3 if axis < 0 else axis]))
        x = f(*shape)
        columns = x.size // rows if rows else int(np.prod(shape[axis:]))
        agrees("Flatten", {"axis": axis}, [x], [x.reshape(rows, columns)], free=free)


@FREE
def test_sizes_are_those_of_the_tensor(agrees, free):
    for shape in ((), (3,), (2, 3, 4, 5)):
        agrees("Shape", {}, [f(*shape)], free=free)
        agrees("Size", {}, [f(*shape)], free=free)
        agrees("Transpose", {}, [f(*shape)], free=free)
    agrees("Shape", {"start": -2, "end": -1}, [f(2, 3, 4)], free=free)


def of_text(text):
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 28]>\n{text}')


@pytest.mark.parametrize(("size", "expected"), [(7, [-1, 2, 7, 6, 1, 7]), (2, [-1, 2, 2, 1, -3, 2])])
def test_arithmetic_on_sizes_is_onnx_s(size, expected):
    model = of_text(
        """agraph (float[N, 3] x) => (int64[6] y)
        <int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] three = {3}, int64[1] five = {5},
         int64[1] less = {-1}> {
        s = Shape(x) n = Gather(s, zero)
        a = Equal(n, less) b = Where(a, one, less) c = Min(two, n) d = Max(n, two) e = Sub(n, one)
        g = Sub(n, five) h = Div(g, two) k = Add(h, h) l = Mod(n, three) m = ReduceProd(n)
        q = Where(a, k, g) r = Sub(q, h) y = Concat<axis = 0>(b, c, d, e, r, m) }"""
    )
    half = int((size - 5) / 2)  # towards zero
    expected[4] = size - 5 - half
    got = zoo.runner(model, "torch").run({"x": np.zeros((size, 3), np.float32)})
    assert expected == got["y"].tolist()


def test_a_shape_in_int32_stays_in_int32():
    model = of_text(
        """agraph (float[N, M] x, int32[K] z) => (int32[L] y) {
        s = Shape(x) t = Cast<to = 6>(s) y = Concat<axis = 0>(t, z) }"""
    )
    got = zoo.runner(model, "torch").run({"x": f(2, 3), "z": np.array([9], np.int32)})
    assert ("int32", [2, 3, 9]) == (got["y"].dtype.name, got["y"].tolist())


def test_sizes_stay_python_s_and_the_forward_reads_so():
    model = of_text(
        """agraph (float[N, 4, H, W] x) => (float[N, P, 4] y) <int64[1] zero = {0}, int64[2] tail = {-1, 4}> {
        s = Shape(x) n = Gather(s, zero) t = Concat<axis = 0>(n, tail)
        p = Transpose<perm = [0, 2, 3, 1]>(x) y = Reshape(p, t) }"""
    )
    module = zoo.load(model, "torch")
    assert "return x.reshape(x.shape[0], -1, 4)" in module.code
    assert "tensor(" not in module.code
    compiled = torch.compile(module, fullgraph=True, backend="eager", dynamic=True)
    assert (2, 30, 4) == tuple(compiled(torch.zeros(2, 4, 5, 6)).shape)


@pytest.mark.parametrize(
    ("op", "attributes", "inputs", "outputs"),
    [
        ("GatherND", {"batch_dims": 1}, [f(2, 3, 4), i(0, 2).reshape(2, 1)], 1),
        ("ScatterND", {"reduction": "max"}, [f(4, 5), i(0, 2).reshape(2, 1), f(2, 5)], 1),
        ("ScatterElements", {}, [f(4, 5), i(0, 2).reshape(1, 2), f(1, 2)], 1),
        ("ReverseSequence", {}, [f(4, 3), i(1, 2, 4)], 1),
        ("OneHot", {}, [i(1, 2), [np.int64(3)], f(2)], 1),
        ("TensorScatter", {}, [f(2, 5, 3), f(2, 2, 3), i(1, 3)], 1),
        ("Slice", {}, [f(5, 6), [i(3)], [i(0)], [i(1)], [i(-1)]], 1),
        ("Pad", {"mode": "reflect"}, [f(3, 4), [i(1, 2, 0, 3)]], 1),
        ("Split", {"axis": 1, "num_outputs": 2}, [f(2, 5)], 2),
    ],
)
def test_free_sizes_compile_without_a_break(operator, op, attributes, inputs, outputs):
    model, feeds = operator(op, attributes, inputs, outputs=outputs, free=True)
    module = zoo.load(model, "torch")
    given = [torch.from_numpy(x) for x in feeds.values()]
    torch._dynamo.reset()
    got = torch.compile(module, fullgraph=True, backend="eager", dynamic=True)(*given)
    torch.testing.assert_close(got, module(*given))


def test_a_combination_that_torch_lacks_is_refused_by_name(operator):
    x = np.array([True, False])
    model, _ = operator("ScatterElements", {"reduction": "max"}, [x, i(0), np.array([True])])
    with pytest.raises(HubError, match="ScatterElements with reduction 'max' of torch.bool"):
        zoo.load(model, "torch")
