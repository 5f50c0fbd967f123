"""The native module as its user sees it: `print(model)`, `model.code`, and what a forward keeps in memory."""

from __future__ import annotations

import subprocess
import sys
import weakref

import numpy as np
import onnx
import pytest

import zoo

torch = pytest.importorskip("torch")


def chain(steps: int):
    names = ["x", *(f"h{n}" for n in range(steps - 1)), "y"]
    nodes = "".join(f"{b} = Sin({a}) " for a, b in zip(names, names[1:], strict=False))
    text = f'<ir_version: 10, opset_import: ["" : 28]> agraph (float[N, 8] x) => (float[N, 8] y) {{ {nodes} }}'
    return zoo.load(onnx.parser.parse_model(text), "torch")


def test_the_code_reads_like_a_person_s_and_the_module_prints_as_torch_s_own():
    module = chain(3)
    assert "= None" not in module.code
    assert module.code.startswith("def forward(self, x):\n    ")
    assert repr(module) == str(module)


def test_a_forward_lets_go_of_what_nobody_reads_any_more():
    module, alive = chain(20), []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            made = function(*args, **(kwargs or {}))
            alive.append(weakref.ref(made.untyped_storage()))
            most.append(sum(ref() is not None for ref in alive))
            return made

    most: list[int] = []
    x = torch.ones(2, 8)
    with torch.no_grad(), Watch():
        module(x)
    assert 20 == len(alive)
    assert max(most) <= 3


def test_a_helper_s_name_is_not_hidden_by_a_variable():
    text = """<ir_version: 10, opset_import: ["" : 28]> agraph (float[N, 2, H, W] x) => (float[N, 2, P, Q] y)
    <float[4] scales = {1, 1, 2, 1.5}> { r = Resize<mode = "cubic", cubic_coeff_a = -0.5>(x, , scales) s = Sin(r)
    y = Mul(r, s) }"""
    code = zoo.load(onnx.parser.parse_model(text), "torch").code
    assert "resize = resize(" not in code
    assert "= resize(x, [2, 3], scales=[2.0, 1.5]" in code


def test_the_compiler_is_not_imported_before_somebody_compiles(tmp_path):
    node = onnx.helper.make_node("Gather", ["table.weight", "x"], ["y"], name="/table/Gather")
    x, y = (onnx.helper.make_tensor_value_info(n, t, s) for n, t, s in (("x", 7, ["n"]), ("y", 1, ["n", 3])))
    table = onnx.numpy_helper.from_array(np.ones((4, 3), np.float32), "table.weight")
    graph = onnx.helper.make_graph([node], "g", [x], [y], [table])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, producer_name="pytorch"), tmp_path / "m.onnx")
    code = "import sys, zoo; print(zoo.load(sys.argv[1], 'torch'), 'torch._dynamo' in sys.modules)"
    command = [sys.executable, "-c", code, str(tmp_path / "m.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    assert "Embedding(4, 3)" in done.stdout and done.stdout.endswith("False\n"), done.stdout


def test_a_bias_that_the_author_has_and_the_graph_does_not_add_is_not_added():
    """As torch exports Swin v2, whose keys have no bias: the layer's own is changed before it is added."""
    x, y = (onnx.helper.make_tensor_value_info(n, 1, ["n", s]) for n, s in (("x", 3), ("y", 2)))
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    held = {"fc.weight": weight, "fc.bias": np.float32([1, 2]), "keep": np.float32([0, 1])}
    nodes = [
        onnx.helper.make_node("Transpose", ["fc.weight"], ["t"], name="/fc/Transpose", perm=[1, 0]),
        onnx.helper.make_node("MatMul", ["x", "t"], ["p"], name="/fc/MatMul"),
        onnx.helper.make_node("Mul", ["fc.bias", "keep"], ["b"], name="/Mul"),
        onnx.helper.make_node("Add", ["p", "b"], ["y"], name="/Add"),
    ]
    tensors = [onnx.numpy_helper.from_array(a, n) for n, a in held.items()]
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], tensors)
    opset = [onnx.helper.make_opsetid("", 20)]
    module = zoo.load(
        onnx.helper.make_model(graph, opset_imports=opset, ir_version=9, producer_name="pytorch"), "torch"
    )
    given = np.float32([[1, 0, 2], [3, 1, 1]])
    with torch.no_grad():
        np.testing.assert_array_equal(given @ weight.T + [0, 2], module(torch.from_numpy(given)).numpy())
