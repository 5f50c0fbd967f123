"""A graph in another dtype: every value of it is in that dtype, and ONNX Runtime gives the same numbers within it."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from zoo.converters import dtypes
from zoo.converters.dtypes import array, cast, computed_in_float32, dtype_of, main_dtype
from zoo.converters.graph import PARAMETER
from zoo.converters.opsets import check
from zoo.converters.verify import compare
from zoo.converters.writers.onnx.writer import session
from zoo.errors import HubError, UsageError

X = np.random.default_rng(0).standard_normal((2, 3, 8, 6)).astype(np.float32)
BODIES = {
    "weights": "y = MatMul (x, w)",
    "a constant of each kind": """a = Constant <value_float = 2.5> ()  b = Constant <value_floats = [0.5]> ()
        c = Constant <value = float {0.25}> ()  s = Shape (x)  d = ConstantOfShape (s)
        e = Add (x, a)  f = Mul (e, b)  g = Sub (f, c)  y = Add (g, d)""",
    "a cast to the old dtype": "s = Shape (x)  f = Cast <to = 1> (s)  n = ReduceSum <keepdims = 0> (f)  y = Div (x, n)",
    "scales that are float32 always": """n = Constant <value = float[0] {}> ()
        k = Constant <value = float[4] {1, 1, 1.7777778, 1.3333334}> ()  y = Resize <mode = "linear"> (x, n, k)""",
    "an operator without the dtype": """a = Constant <value_float = 1.5> ()  b = Constant <value_float = 7.5> ()
        d = Constant <value_float = 1.0> ()  r = Range (a, b, d)  y = Mul (x, r)""",
    "quantised": """k = Constant <value = float {0.05}> ()  z = Constant <value = uint8 {128}> ()
        q = QuantizeLinear (x, k, z)  y = DequantizeLinear (q, k, z)""",
    "a branch": """n = ReduceMax <keepdims = 0> (x)  z = Constant <value_float = 0.5> ()  p = Greater (n, z)
        y = If (p) <then_branch = t () => (float[N, 3, 8, 6] a) { h = Constant <value_float = 0.5> ()  a = Mul (x, h) },
                    else_branch = e () => (float[N, 3, 8, 6] n2) { n2 = Neg (x) }>""",
    "a mask of float32's least": """m = Constant <value = float[6] {0, 0, -3.4028235e38, 0, 0, -3.4028235e38}> ()
        a = Add (x, m)  y = Softmax (a)""",
    "a number against division by zero": """t = Constant <value = float {1e-12}> ()  z = Sub (x, x)  a = Abs (z)
        b = Add (a, t)  y = Div (z, b)""",
}


def net(body, opset=17):
    model = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["": {opset}]>
        net (float[N, 3, 8, 6] x) => (float[A] y) {{ {body} }}""")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    if "(x, w)" in body:
        w = np.random.default_rng(1).standard_normal((6, 4)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
    return ir.from_proto(model)


def run(model, x):
    return session(model, device="cpu", plain=True).run({"x": x})["y"]


@pytest.mark.parametrize("what", BODIES)
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float64"])
def test_the_numbers_are_the_same_within_the_dtype(what, name):
    made = cast(net(BODIES[what]), name)
    check(made)
    runs = made if name == "float16" else computed_in_float32(made, dtype_of(name))
    given = array(X, name)
    got = run(runs, given)
    assert dtype_of(name).numpy() == got.dtype
    expected = run(net(BODIES[what]), given.astype(np.float32))
    found = compare({"y": expected}, {"y": got}, dtype="float32" if name == "float64" else name)
    assert found.agrees, found


def test_scales_keep_their_digits():
    made = cast(net(BODIES["scales that are float32 always"]), "bfloat16")
    resize = next(node for node in made.graph if node.op_type == "Resize")
    np.testing.assert_array_equal(
        np.array([1, 1, 1.7777778, 1.3333334], np.float32), ir.convenience.get_const_tensor(resize.inputs[2]).numpy()
    )


def test_inputs_outputs_and_weights_are_of_the_dtype_and_the_model_stays():
    model = net(BODIES["weights"])
    made = cast(model, "float16")
    values = [*made.graph.inputs, *made.graph.outputs, *made.graph.initializers.values()]
    assert {ir.DataType.FLOAT16} == {value.dtype for value in values}
    np.testing.assert_array_equal(
        model.graph.initializers["w"].const_value.numpy().astype(np.float16),
        made.graph.initializers["w"].const_value.numpy(),
    )
    assert ir.DataType.FLOAT == model.graph.initializers["w"].dtype


def test_a_model_of_half_precision_is_widened():
    half = cast(net(BODIES["weights"]), "float16")
    assert ir.DataType.FLOAT16 == main_dtype(half)
    wide = cast(half, "float32")
    assert ir.DataType.FLOAT == wide.graph.inputs[0].dtype
    assert np.float32 == run(wide, X).dtype


def test_a_weight_that_the_dtype_can_not_hold_is_refused_by_name_and_bfloat16_holds_it():
    model = net(BODIES["weights"])
    weight = model.graph.initializers["w"]
    weight.const_value = ir.tensor(np.full((6, 4), 1e5, np.float32), name="w")
    weight.metadata_props[PARAMETER] = "parameter"
    made = cast(model, "float16")  # nothing is read yet
    with pytest.raises(HubError, match="tensor 'w' has 24 numbers that float16 can't hold, up to 100000"):
        made.graph.initializers["w"].const_value.numpy()
    assert np.isfinite(cast(model, "bfloat16").graph.initializers["w"].const_value.numpy().astype(np.float32)).all()


def test_weights_alone_change_their_floats_and_nothing_else():
    given = {
        "w": ir.tensor(np.ones(3, np.float32)),
        "n": ir.tensor(np.array(7)),
        "h": ir.tensor(np.ones(2, np.float64)),
    }
    made = dtypes.tensors(given, "bfloat16")
    assert made["n"] is given["n"]
    assert [ml_dtypes.bfloat16] * 2 == [made[name].numpy().dtype for name in "wh"]


def test_an_unknown_dtype_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="Did you mean.*'float16'"):
        cast(net(BODIES["weights"]), "float17")
