from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from zoo.converters import formats
from zoo.converters.readers import onnx as reader
from zoo.converters.whole import lowered
from zoo.converters.writers.driver import Lowerings
from zoo.errors import FileError, Malformed, Refused, UnknownFormat


def model(tensor=None):
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [-1, 3])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    weight = tensor or onnx.numpy_helper.from_array(np.arange(3, dtype=np.float32), "w")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", [given], [made], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def external(location, *, dims=(3,), **facts):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **facts}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def written(path, proto):
    path.write_bytes(proto.SerializeToString())
    return path


def test_a_model_is_found_by_its_bytes(tmp_path):
    path = written(tmp_path / "anything.bin", model())
    assert "onnx" == formats.find(path).name
    read = formats.read((path,))
    assert ["w"] == list(read.graph.initializers)
    assert read.graph.inputs[0].shape is not None and not isinstance(read.graph.inputs[0].shape[0], int)


def test_external_data_beside_the_model_is_mapped(tmp_path):
    np.arange(3, dtype=np.float32).tofile(tmp_path / "w.bin")
    path = written(tmp_path / "m.onnx", model(external("w.bin", offset=0, length=12)))
    tensor = reader.read(path).graph.initializers["w"].const_value
    np.testing.assert_array_equal(np.arange(3, dtype=np.float32), tensor.numpy())


def test_weights_that_a_file_keeps_in_nodes_are_its_tensors(tmp_path):
    """As Paddle's exporter writes them: no initializer at all. Numbers of the arithmetic stay where they are."""
    text = """<ir_version: 7, opset_import: ["" : 11]>
    g (float[N, 3] x) => (float[N, 3] y) {
      scale = Constant<value = float[3] {0.5, 2.0, 3.0}>()
      one = Constant<value = float[1] {1.0}>()
      a = Mul(x, scale)
      y = Add(a, one)
    }"""
    read = reader.read(written(tmp_path / "m.onnx", onnx.parser.parse_model(text)))
    assert ["scale"] == list(read.graph.initializers)
    assert ["Constant", "Mul", "Add"] == [node.op_type for node in read.graph]


@pytest.mark.parametrize("opset", [11, 17, 28])
def test_constants_beside_the_model_are_read_where_they_say_how(tmp_path, opset):
    """Shapes, members and a body's constants in a file of their own, at opsets that are lifted and that are not."""
    proto = onnx.parser.parse_model(f"""<ir_version: 6, opset_import: ["" : {opset}]>
    g (float[n, 2, 3] x, bool c) => (float[m, 6] y)
        <int64[2] flat = {{-1, 6}}, int64[2] last = {{1, 0}}, float one = {{1}}> {{
        table = Constant<value = float[2] {{0.5, 2}}>()
        scale = Gather(table, last)
        a = If (c) <
            then_branch = t () => (float[n, 2, 3] u) <float three = {{3}}> {{ u = Mul(x, three) }},
            else_branch = e () => (float[n, 2, 3] v) {{ v = Add(x, one) }}>
        b = Reshape(a, flat)
        d = Gather(scale, last)
        s = ReduceSum<keepdims = 0>(d)
        y = Mul(b, s) }}""")
    path = tmp_path / "m.onnx"
    feeds = {"x": np.arange(12, dtype=np.float32).reshape(2, 2, 3), "c": np.bool_(True)}
    (expected,) = onnx.reference.ReferenceEvaluator(proto).run(None, feeds)
    held = [*proto.graph.initializer, *(n.attribute[0].t for n in proto.graph.node if n.op_type == "Constant")]
    held += [tensor for node in proto.graph.node for a in node.attribute for tensor in a.g.initializer]
    for tensor in held:  # numbers that are no raw bytes are not written beside the model
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
    onnx.save(proto, path, save_as_external_data=True, size_threshold=0, location="m.data", convert_attribute=True)
    assert len(held) == path.read_bytes().count(b"m.data")
    lowers = Lowerings("a framework")
    for op in ("If", "Mul", "Add", "Reshape"):
        lowers(op)(len)
    model = lowered(reader.read(path), lowers)
    made = onnx.reference.ReferenceEvaluator(ir.to_proto(model)).run(None, feeds)[0]
    np.testing.assert_array_equal(expected, made)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../secret", "C:\\secret", "..\\secret", ""])
def test_external_data_elsewhere_is_refused_by_tensor_and_path(tmp_path, location):
    (tmp_path / "secret").write_bytes(b"\0" * 12)
    (tmp_path / "sub").mkdir()
    path = written(tmp_path / "sub" / "m.onnx", model(external(location)))
    with pytest.raises(Refused, match="tensor 'w' keeps its data in"):
        reader.read(path)


def test_a_link_that_leads_outside_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"\0" * 12)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(Refused, match="leads outside"):
        reader.read(written(tmp_path / "sub" / "m.onnx", model(external("w.bin"))))


@pytest.mark.parametrize(
    "facts",
    [{"dims": (4,)}, {"offset": 4}, {"offset": -4}, {"length": 2**62}, {"offset": "x"}, {"dims": (2**40, 2**40)}],
)
def test_sizes_that_the_file_does_not_have_are_named(tmp_path, facts):
    (tmp_path / "w.bin").write_bytes(b"\0" * 12)
    path = written(tmp_path / "m.onnx", model(external("w.bin", **facts)))
    with pytest.raises(Malformed, match="tensor 'w'"):
        reader.read(path)


def test_inline_data_of_another_size_is_named(tmp_path):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**31], raw_data=b"\0" * 12)
    with pytest.raises(Malformed, match=r"tensor 'w' of shape \[2147483648\] has 12 bytes"):
        reader.read(written(tmp_path / "m.onnx", model(tensor)))


def test_what_is_cut_or_changed_is_a_clean_error(tmp_path):
    data = model().SerializeToString()
    path = tmp_path / "m.onnx"
    rng = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(data[: rng.integers(0, len(data))] if rng.random() < 0.3 else data)
        for at in rng.integers(0, max(len(changed), 1), 3):
            if at < len(changed):
                changed[at] = rng.integers(0, 256)
        path.write_bytes(changed)
        try:
            formats.read((path,))
        except FileError:
            continue


@pytest.mark.parametrize("data", [b"", b"hello, I am no model", b"\x08\x09", b"PK\x03\x04" + b"\0" * 40])
def test_what_is_no_model_is_no_model(tmp_path, data):
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises((UnknownFormat, Malformed), match="m.onnx"):
        formats.read((path,))
