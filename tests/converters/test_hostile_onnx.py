"""ONNX models made to harm or made wrongly: each is one clean error that names its place, and costs little.

Both ways in are tried, a file and a message in memory. What is odd and allowed works. Mutations of good models come in
between: whatever comes of them is a module or a clean error.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper

import zoo
from tests.converters.tensors.test_fuzz import mutated  # noqa: F401 - the fuzzed process asks for it
from tests.converters.tensors.test_hostile import forget_peak, peak_bytes
from tests.hostile import onnx_models
from zoo.converters import formats
from zoo.errors import FileError, Malformed, ZooError

pytest.importorskip("torch")

MAX_SECONDS = 20.0  # of the process; a few tenths on a machine of one's own
MAX_BYTES = 400 << 20
CASES, HARMLESS = onnx_models.every(), list(onnx_models.harmless())
FEW, MANY = 60, 3_000


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """torch and all of ours is imported, so that a case is measured alone."""
    zoo.load(onnx_models.relu(), "torch")


def loaded(source: Path | ModelProto) -> object:
    """The module of a model, in bounded time and memory."""
    before, start = forget_peak(), time.process_time()
    try:
        return zoo.load(source, "torch")
    finally:
        assert time.process_time() - start < MAX_SECONDS
        assert peak_bytes() - before < MAX_BYTES


@pytest.mark.parametrize(("model", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_wrong_is_one_error_that_names_its_place(tmp_path: Path, model: ModelProto, expected: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    for source in (path, model):
        with pytest.raises(ZooError) as caught:
            loaded(source)
        message = str(caught.value)
        assert re.search(expected, message), message
        assert len(message) < 1_500
        if isinstance(caught.value, FileError):
            assert "\n" not in message
            assert (path.name if source is path else "given ModelProto") in message
    if isinstance(caught.value, Malformed):
        with pytest.raises(Malformed, match=expected):
            zoo.inspect(path)
    assert "ZOO_INJECTED" not in os.environ


@pytest.mark.parametrize("model", [case[1] for case in HARMLESS], ids=[case[0] for case in HARMLESS])
def test_what_is_odd_and_allowed_is_converted_at_little_cost(tmp_path: Path, model: ModelProto) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    for source in (path, model):
        loaded(source)
    assert "ZOO_INJECTED" not in os.environ


@pytest.mark.parametrize("model", [case[1] for case in onnx_models.names()], ids=["parameters", "inputs"])
def test_odd_names_come_back_as_they_were(model: ModelProto) -> None:
    from zoo.converters.frameworks import FRAMEWORKS

    runner = zoo.runner(model, "torch", device="cpu")
    feeds = {i.name: np.ones((2, 3), np.float32) for i in model.graph.input}
    assert list(feeds) == [spec.name for spec in runner.inputs]
    (expected,) = onnx.reference.ReferenceEvaluator(model).run(None, feeds)
    np.testing.assert_allclose(runner.run(feeds)[model.graph.output[0].name], expected)
    back = FRAMEWORKS["torch"].module("writer").tensors(zoo.load(model, "torch"))
    assert {t.name for t in model.graph.initializer} == set(back)
    for held in model.graph.initializer:
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(held), back[held.name].numpy())
    assert "ZOO_INJECTED" not in os.environ


def test_names_that_are_no_text_are_an_error(tmp_path: Path) -> None:
    data = onnx_models.relu().SerializeToString()
    for name in (b"Relu", b"\x01x", b"\x01n"):
        path = tmp_path / "m.onnx"
        path.write_bytes(data.replace(name, name[:-1] + b"\xff"))
        with pytest.raises(FileError, match="no text|m.onnx"):
            zoo.load(path, "torch")


def test_a_model_that_fails_as_it_runs_is_a_clean_error() -> None:
    wrong = onnx_models.odd("Reshape", np.int64([7]), shape=["n", "m"])
    with pytest.raises(ZooError, match="torch failed"):
        zoo.runner(wrong, "torch", device="cpu").run({"x": np.ones((1, 3), np.float32)})


def test_the_command_shows_one_line_and_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(CASES[0][1].SerializeToString())
    command = [sys.executable, "-c", "from zoo.cli.app import main; main()", "inspect", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 2 == done.returncode, done.stderr
    assert "circle" in done.stderr and "Traceback" not in done.stderr


def good() -> list[ModelProto]:
    """Small models with something of everything: weights, functions, bodies, shape arithmetic, constants."""
    text = """<ir_version: 10, opset_import: ["" : 21, "f" : 1]>
    g (float[n, 3, 8, 8] x) => (float[n, m] y) <int64[2] half = {0, 1}, int64[1] end = {2}, float[1] one = {1.0}> {
        a = Conv<pads = [1, 1, 1, 1]>(x, w)
        b = f.Act(a)
        s = Shape(b)
        first = Gather(s, half)
        flat = Constant<value = int64[1] {-1}>()
        t = Slice(s, end, flat)
        shape = Concat<axis = 0>(first, flat)
        r = Reshape(b, shape)
        u = Transpose<perm = [0, 2, 1]>(r)
        q = ReduceMean<keepdims = 0>(u, flat)
        y = Mul(q, one) }
    <domain: "f", opset_import: ["" : 21]> Act (v) => (w) { z = Sigmoid(v)  w = Mul(v, z) }"""
    plain = onnx.parser.parse_model(text)
    weight = onnx.numpy_helper.from_array(np.linspace(-1, 1, 54, dtype=np.float32).reshape(2, 3, 3, 3), "w")
    plain.graph.initializer.append(weight)
    looped = next(model for name, model in HARMLESS if name == "a loop without end")
    quantised = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 21]>
    g (float[n, 4] x) => (float[n, 4] y) <float s = {0.5}, uint8 z = {3}> {
        a = QuantizeLinear(x, s, z)  b = DequantizeLinear(a, s, z)  c = Cast<to = 10>(b)  y = CastLike(c, x) }""")
    return [plain, looped, quantised]


def changed(model: ModelProto, rng: np.random.Generator) -> ModelProto:
    """A good model with one to three of its fields changed: names, attributes, sizes, dtypes, nodes."""
    made = ModelProto()
    made.CopyFrom(model)
    g = made.graph
    for _ in range(rng.integers(1, 4)):
        at = g.node[rng.integers(len(g.node))]
        names = [v.name for v in (*g.input, *g.initializer)] + [o for n in g.node for o in n.output] + ["", "nowhere"]
        match rng.integers(9):
            case 0 if at.input:
                at.input[int(rng.integers(len(at.input)))] = str(rng.choice(names))
            case 1:
                at.output[0] = str(rng.choice(names))
            case 2:
                at.op_type = str(rng.choice([n.op_type for n in g.node] + ["Add", "Expand", "Loop", "Pad", "Gather"]))
            case 3 if at.attribute:
                attribute = at.attribute[int(rng.integers(len(at.attribute)))]
                attribute.CopyFrom(helper.make_attribute(attribute.name, wild(rng)))
            case 4 if g.initializer:
                tensor = g.initializer[int(rng.integers(len(g.initializer)))]
                size = int(rng.choice(SIZES))
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(int(rng.integers(4)), size), tensor.name))
            case 5:
                shape = g.input[0].type.tensor_type.shape
                shape.dim[int(rng.integers(len(shape.dim)))].dim_value = int(rng.choice(SIZES))
            case 6:
                g.input[0].type.tensor_type.elem_type = int(rng.integers(30))
            case 7:
                del at.input[int(rng.integers(len(at.input) + 1)) :]
            case _:
                g.node.insert(int(rng.integers(len(g.node))), at)
    return made


SIZES = (-(2**63), -(2**31), -1, 0, 1, 2, 7, 2**31, 2**40, 2**62, 2**63 - 1)


def wild(rng: np.random.Generator) -> object:
    """A value of an attribute."""
    numbers = [int(size) for size in rng.choice(SIZES, int(rng.integers(1, 5)))]
    return [numbers[0], numbers, 0.5, [0.5, float("nan")], "reflect", np.float64(1e300).item()][rng.integers(6)]


def survive(path: Path, data: bytes) -> bool:
    """Open a file and make a module of it; False for a clean error. Anything else is raised."""
    path.write_bytes(data)
    try:
        formats.read((path,))
        zoo.load(path, "torch")
    except ZooError as error:
        assert len(str(error)) < 2_000
        return False
    return True


FUZZ = """
    import faulthandler, sys, warnings
    import numpy as np
    from pathlib import Path
    from tests.converters import test_hostile_onnx as tests
    faulthandler.dump_traceback_later(120, exit=True)
    warnings.simplefilter("ignore")
    path, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    good, survived = tests.good(), 0
    assert all(tests.survive(path, model.SerializeToString()) for model in good)
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        model = good[seed % len(good)]
        whole = seed % 2
        data = tests.changed(model, rng).SerializeToString() if whole else tests.mutated(model.SerializeToString(), rng)
        try:
            faulthandler.dump_traceback_later(60, exit=True)
            survived += tests.survive(path, data)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    print(survived)
"""


def fuzz(tmp_path: Path, first: int, count: int) -> None:
    """In a process of its own, since onnx's C++ is in it: a crash is then a failure, and not the end of the tests."""
    command = [sys.executable, "-c", textwrap.dedent(FUZZ), str(tmp_path / "m.onnx"), str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert 0 == done.returncode, done.stderr[-3_000:]
    assert 0 < int(done.stdout.split()[-1]) < count


def test_a_changed_model_is_a_module_or_a_clean_error(tmp_path: Path) -> None:
    fuzz(tmp_path, 0, FEW)


@pytest.mark.slow
def test_thousands_of_changed_models_are_modules_or_clean_errors(tmp_path: Path) -> None:
    fuzz(tmp_path, FEW, MANY)
