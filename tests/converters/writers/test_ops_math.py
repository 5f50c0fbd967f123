"""Arithmetic, reductions, comparisons and bits in torch, in dtypes and forms beyond the backend suite."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import zoo

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
WIDE = [np.uint16, np.uint32, np.uint64]
INTS = [np.int8, np.int16, np.int32, np.int64, np.uint8, *WIDE]
HALVES = [np.float16, ml_dtypes.bfloat16]


def f(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def i(*items):
    return np.array(items, dtype=np.int64)


def ends(dtype, n=40):
    """Numbers of a dtype, its lowest and highest among them."""
    info = np.iinfo(dtype)
    drawn = RNG.integers(info.min, info.max, n, dtype=dtype, endpoint=True)
    drawn[:4] = info.min, info.max, info.max // 2, info.max // 2 + 1
    return RNG.permutation(drawn)


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Max", "Min", "Less", "GreaterOrEqual", "Equal", "BitwiseXor"])
def test_integers_of_every_width_wrap_around_and_compare(agrees, op, dtype):
    agrees(op, {}, [ends(dtype), ends(dtype)])
    agrees(op, {}, [ends(dtype), [ends(dtype)[0]]])
    agrees(op, {}, [[ends(dtype)[0]], ends(dtype)])


@pytest.mark.parametrize("dtype", INTS)
def test_integers_are_divided_towards_zero(agrees, dtype):
    a, b = ends(dtype), ends(dtype)
    b[b == 0] = 3
    quotient = np.array(
        [int(abs(int(x)) // abs(int(y))) * (1 if (x < 0) == (y < 0) else -1) for x, y in zip(a, b, strict=True)]
    )
    agrees("Div", {}, [a, b], [quotient.astype(dtype)])
    divisor = dtype(7)
    expected = np.array([int(abs(int(x)) // 7) * (-1 if x < 0 else 1) for x in a], dtype=dtype)
    agrees("Div", {}, [a, [divisor]], [expected])


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_the_lowest_integer_divided_by_minus_one_wraps_around(agrees, dtype):
    lowest = np.iinfo(dtype).min
    a = np.array([lowest, 6], dtype=dtype)
    agrees("Div", {}, [a, np.array([-1, -1], dtype=dtype)], [np.array([lowest, -6], dtype=dtype)])
    agrees("Div", {}, [a, [dtype(-1)]], [np.array([lowest, -6], dtype=dtype)])


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("fmod", [0, 1])
def test_remainders_of_integers(agrees, fmod, dtype):
    a, b = ends(dtype), ends(dtype)
    b[b == 0] = 5
    agrees("Mod", {"fmod": fmod}, [a, b])
    agrees("Mod", {"fmod": fmod}, [a, [dtype(3)]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("fmod", [0, 1])
def test_remainders_of_floats(agrees, fmod, dtype):
    agrees("Mod", {"fmod": fmod}, [f(3, 4, dtype=dtype) * 5, f(4, dtype=dtype) + 3])
    x = np.array([5, -5, 0, np.inf], dtype=dtype)
    agrees("Mod", {"fmod": fmod}, [x, np.array([np.inf, -np.inf, 2, 2], dtype=dtype)])


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_bits_are_shifted_by_any_amount(agrees, direction, dtype):
    bits = np.iinfo(dtype).bits
    by = np.array([0, 1, bits - 1, bits, min(2 * bits, np.iinfo(dtype).max)], dtype=dtype)
    agrees("BitShift", {"direction": direction}, [ends(dtype, 8)[:, None], by])
    if np.iinfo(dtype).min < 0:
        agrees("BitShift", {"direction": direction}, [ends(dtype, 8), np.full(8, -1, dtype=dtype)])


@pytest.mark.parametrize("dtype", INTS)
def test_bits_are_turned_around(agrees, dtype):
    agrees("BitwiseNot", {}, [ends(dtype)])
    agrees("BitwiseAnd", {}, [ends(dtype), [dtype(5)]])


@pytest.mark.parametrize("dtype", INTS)
def test_signs_and_sizes_of_integers(agrees, dtype):
    x = ends(dtype)
    agrees("Sign", {}, [x])
    agrees("Abs", {}, [x])


@pytest.mark.parametrize(
    ("base", "exponent"),
    [(np.int32, np.float32), (np.int64, np.int32), (np.float32, np.int64), (np.float32, np.uint64)]
    + [(np.float16, np.float32), (np.float32, np.float64), (np.float64, np.float32), (np.int64, np.uint16)],
)
def test_a_power_is_of_the_dtype_of_its_base(agrees, base, exponent):
    x, y = np.array([1, 2, 3, 13], dtype=base), np.array([3, 2, 1, 6], dtype=exponent)
    expected = [np.power(x.astype(np.float64), y.astype(np.float64)).astype(base)]
    if base == np.float16:
        x, expected = x[:3], [expected[0][:3]]
        y = y[:3]
    agrees("Pow", {}, [x, y], expected)
    agrees("Pow", {}, [x, [exponent(2)]], [(x.astype(np.float64) ** 2).astype(base)])
    agrees("Pow", {}, [[base(2)], y], [np.power(2.0, y.astype(np.float64)).astype(base)])


@pytest.mark.parametrize("dtype", [*INTS, np.float16, np.float32, np.float64])
def test_clipping_by_constants_and_by_inputs(agrees, dtype):
    x = ends(dtype) if np.issubdtype(dtype, np.integer) else f(20, dtype=dtype)
    low, high = np.sort(x)[[5, 12]]
    agrees("Clip", {}, [x, [low], [high]])
    agrees("Clip", {}, [x, low, high])
    agrees("Clip", {}, [x, low, [high]])
    agrees("Clip", {}, [x, None, high])
    agrees("Clip", {}, [x, [low]])
    agrees("Clip", {}, [x, [high], [low]], [np.full_like(x, low)])
    agrees("Clip", {}, [x], [x])


def test_extremes_of_many_inputs_and_scalars(agrees):
    agrees("Max", {}, [f(3), [np.float32(0.1)], f(2, 1), [np.float32(-0.2)]])
    agrees("Min", {}, [[np.float32(0.1)], f(2, 3)])
    agrees("Max", {}, [f(3)])
    agrees("Max", {}, [f(3, dtype=np.float16), [np.float16(0.5)]])
    agrees("Min", {}, [np.float32([np.nan, 1]), [np.float32(0)]])
    agrees("Mean", {}, [f(2, 3), f(3), [np.float32(2)]])
    agrees("Sum", {}, [f(3), [np.float32(2)], f(2, 3)])


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(
    "op", ["Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Atanh", "Sign", "Softsign", "Mish", "Softplus"]
)
def test_elementary_functions_in_half_precision(agrees, op, dtype):
    x = (RNG.random(9) * 1.6 - 0.8).astype(dtype)
    wide = agrees(op, {}, [x.astype(np.float32)])
    agrees(op, {}, [x], [wide[0].astype(dtype)])


def test_determinants(agrees):
    x = f(2, 3, 3)
    agrees("Det", {}, [x])
    agrees("Det", {}, [f(0, 0)], [np.float32(1)])
    agrees(
        "Det", {}, [x.astype(np.float16)], [np.linalg.det(x.astype(np.float16).astype(np.float32)).astype(np.float16)]
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2])
def test_infinities_of_the_signs_that_are_asked_for(agrees, dtype):
    x = np.array([1, np.inf, -np.inf, np.nan, 0]).astype(dtype)
    for negative in (0, 1):
        for positive in (0, 1):
            want = np.array([False, bool(positive), bool(negative), False, False])
            agrees("IsInf", {"detect_negative": negative, "detect_positive": positive}, [x], [want])


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [("ij,jk", [(2, 3), (3, 4)]), ("... i j , ... j k -> ... i k", [(5, 2, 3), (5, 3, 4)]), ("bA", [(2, 3)])]
    + [("i,i->", [(3,), (3,)]), ("...ii->...i", [(2, 3, 3)]), ("aB,Bc->ca", [(2, 3), (3, 4)]), (",ij", [(), (2, 3)])]
    + [("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]), ("ij->ji", [(2, 3)]), ("...->...", [(2, 3)])],
)
def test_sums_of_einsteins(agrees, equation, shapes):
    agrees("Einsum", {"equation": equation}, [f(*shape) for shape in shapes])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32, np.uint64])
def test_products_of_integer_matrices(agrees, dtype):
    a, b = ends(dtype, 12).reshape(3, 4), ends(dtype, 8).reshape(4, 2)
    agrees("Einsum", {"equation": "ij,jk->ik"}, [a, b])
    if dtype not in (np.int8, np.uint8):
        agrees("MatMul", {}, [a, b])
        agrees("Gemm", {"transA": 1}, [a.T.copy(), b, a[:, :2].copy()], [a @ b + a[:, :2]])
        agrees("Gemm", {"alpha": 2.0, "beta": 3.0}, [a, b, a[:, :2].copy()], [dtype(2) * (a @ b) + dtype(3) * a[:, :2]])


@pytest.mark.parametrize(
    "attributes", [{}, {"transA": 1}, {"transB": 1}, {"alpha": 0.5}, {"beta": 2.0, "transA": 1, "transB": 1}]
)
@pytest.mark.parametrize("bias", [None, (), (1,), (4,), (1, 4), (3, 1), (3, 4)])
def test_products_of_matrices_with_every_bias(agrees, attributes, bias):
    a = f(5, 3) if attributes.get("transA") else f(3, 5)
    b = f(4, 5) if attributes.get("transB") else f(5, 4)
    agrees("Gemm", attributes, [a, b, None if bias is None else f(*bias)])


@pytest.mark.parametrize(
    "shapes", [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((4, 1, 2, 3), (5, 3, 2)), ((2, 0), (0, 3))]
)
def test_products_of_vectors_and_stacks(agrees, shapes):
    agrees("MatMul", {}, [f(*s) for s in shapes])


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.uint64, np.float32, np.float16, np.float64])
@pytest.mark.parametrize("op", ["CumSum", "CumProd"])
def test_running_sums_and_products(agrees, op, dtype):
    x = (RNG.integers(1, 4, (2, 3, 4))).astype(dtype)
    for attributes in ({}, {"exclusive": 1}, {"reverse": 1}, {"exclusive": 1, "reverse": 1}):
        agrees(op, attributes, [x, [np.int64(-2)]])
        agrees(op, attributes, [x, np.int32(1)])
    agrees(op, {"exclusive": 1}, [np.zeros((2, 0), dtype=dtype), [np.int64(1)]])


def test_a_running_sum_without_the_element_itself_does_not_cancel(agrees):
    agrees("CumSum", {"exclusive": 1}, [np.float32([1e8, 1, np.inf, 2]), [np.int64(0)]])


REDUCED = ["ReduceSum", "ReduceMean", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"]


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.uint64, np.float32, np.float64, np.float16])
@pytest.mark.parametrize("op", REDUCED)
def test_reductions_of_numbers(agrees, op, dtype):
    x = RNG.integers(1, 5, (2, 3, 4)).astype(dtype)
    x = x if np.issubdtype(dtype, np.unsignedinteger) else x - 3
    for axes in (None, [i(1)], [i(-1, 0)], i(2), i(0, -1), [i()], i()):
        for keepdims in (0, 1):
            expected = None
            if op == "ReduceSumSquare":  # whose reference widens integers
                given = axes[0] if isinstance(axes, list) else axes
                along = None if given is None or not given.size else tuple(given)
                expected = [np.sum(x * x, axis=along, keepdims=bool(keepdims), dtype=dtype)]
            agrees(op, {"keepdims": keepdims}, [x, axes], expected)


@pytest.mark.parametrize("op", [*REDUCED, "ReduceLogSum", "ReduceLogSumExp"])
def test_without_axes_only_what_stands_around_the_reduction_is_computed(agrees, op):
    x = np.abs(f(2, 3)) + 1
    agrees(op, {"noop_with_empty_axes": 1}, [x])
    agrees(op, {"noop_with_empty_axes": 1}, [x, [i()]])
    agrees(op, {"noop_with_empty_axes": 1}, [x, i(1)])
    one = np.float32(2.5)
    agrees(op, {"keepdims": 0}, [one], [{"ReduceSumSquare": one * one, "ReduceLogSum": np.log(one)}.get(op, one)])


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceLogSumExp", "ReduceL2"])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions_of_nothing_give_the_neutral_number(agrees, op, keepdims):
    agrees(op, {"keepdims": keepdims}, [f(2, 0, 3), [i(1)]])
    agrees(op, {"keepdims": keepdims}, [f(2, 0, 3), i(-2)])
    agrees(op, {"keepdims": keepdims}, [f(2, 0, 3), [i(2)]])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint32, np.uint64, np.int64, np.bool_])
def test_extremes_of_nothing_are_the_ends_of_the_dtype(agrees, dtype):
    x = np.zeros((2, 0), dtype=dtype)
    low, high = (False, True) if dtype == np.bool_ else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    agrees("ReduceMax", {"keepdims": 0}, [x, [i(1)]], [np.array([low, low], dtype=dtype)])
    agrees("ReduceMin", {"keepdims": 0}, [x, i(1)], [np.array([high, high], dtype=dtype)])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint32, np.uint64, np.int64, np.float16])
def test_extremes_and_where_they_stand(agrees, dtype):
    x = (ends(dtype, 12) if np.issubdtype(dtype, np.integer) else f(12, dtype=dtype)).reshape(3, 4)
    agrees("ReduceMax", {}, [x, [i(1)]])
    agrees("ReduceMin", {"keepdims": 0}, [x])
    agrees("ArgMax", {"axis": 1}, [x])
    agrees("ArgMin", {"axis": -1, "keepdims": 0}, [x])


@pytest.mark.parametrize("last", [0, 1])
def test_the_first_or_last_of_equals_is_chosen(agrees, last):
    x = np.float32([[2, 2, 1], [0, 3, 3]])
    agrees("ArgMax", {"axis": 1, "select_last_index": last}, [x])
    agrees("ArgMin", {"axis": 1, "keepdims": 0, "select_last_index": last}, [x])
    agrees("ArgMax", {"axis": 1, "select_last_index": last}, [x], free=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.uint8, np.uint16, np.uint64])
@pytest.mark.parametrize("largest", [0, 1])
def test_the_first_of_equals_comes_first_in_a_ranking(agrees, largest, dtype):
    x = RNG.integers(0, 4, (3, 40, 2)).astype(dtype)
    agrees("TopK", {"largest": largest, "axis": 1}, [x, [i(7)]], outputs=2)
    agrees("TopK", {"largest": largest, "axis": -2}, [x, i(40)], outputs=2)


def test_a_ranking_tells_the_highest_uint64s_apart(agrees):
    agrees("TopK", {}, [np.array([2**63 + 1, 5, 2**64 - 1, 2**63], dtype=np.uint64), [i(3)]], outputs=2)


def test_scalars_first_and_truth_values(agrees):
    agrees("Sub", {}, [[np.float32(1)], f(3)])
    agrees("Div", {}, [[np.float32(1)], f(3) + 3])
    agrees("Div", {}, [[np.int64(7)], i(2, -2, 3)], [i(3, -3, 2)])
    agrees("Mod", {}, [[np.int64(7)], i(2, -2, 3)])
    agrees("Greater", {}, [[np.float32(0)], f(3)])
    agrees("And", {}, [f(3) > 0, [np.bool_(True)]])
    agrees("Equal", {}, [f(3) > 0, [np.bool_(True)]])
    agrees("Xor", {}, [f(2, 3) > 0, f(3) > 0])


def test_a_size_may_be_compared_and_computed_with(graph):
    model = graph("""
        agraph (float[n] x) => (bool y, int64[1] z) {
            shape = Shape (x)
            zero = Constant <value_int = 0> ()
            three = Constant <value_int = 3> ()
            n = Gather (shape, zero)
            is_long = Greater (n, three)
            y = Not (is_long)
            rest = Mod (n, three)
            axes = Constant <value_ints = [0]> ()
            z = Unsqueeze (rest, axes)
        }
    """)
    import onnx_ir as ir

    runner = zoo.runner(ir.to_proto(model), "torch")
    for n in (2, 5):
        made = runner.run({"x": f(n)})
        assert (n <= 3, [n % 3]) == (bool(made["y"]), made["z"].tolist())


def test_a_dtype_that_torch_only_stores_prints_as_plain_arithmetic(operator):
    model, _ = operator("Add", {}, [ends(np.uint32), ends(np.uint32)])
    code = zoo.load(model, "torch").code
    assert "x0.to(torch.int64)" in code and ".to(torch.uint32)" in code


def test_arithmetic_is_compiled_in_one_graph(operator):
    model, feeds = operator("Div", {}, [i(7, -7), i(2, 2)])
    module = torch.compile(zoo.load(model, "torch"), fullgraph=True, backend="eager")
    assert [3, -3] == module(*(torch.from_numpy(v) for v in feeds.values())).tolist()
