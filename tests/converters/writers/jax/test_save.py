"""StableHLO: a program with its weights, which a process without zoo runs at any batch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
from jax import export

import zoo
from tests.converters.writers.jax.conftest import parsed
from zoo.errors import UsageError

ALONE = """
import sys
import numpy as np
from jax import export
from pathlib import Path

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "zoo":
            raise ImportError(f"{name} is not to be imported here")

sys.meta_path.insert(0, Refused())
path, given = sys.argv[1:]
exported = export.deserialize(bytearray(Path(path).read_bytes()))
x = np.load(given)
np.save(given, exported.call(x))
assert exported.call(x[:1]).shape[0] == 1
assert set(exported.platforms) == {"cpu", "cuda", "rocm", "tpu"}
assert "zoo" not in sys.modules
"""


@pytest.fixture
def file(pictures, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(pictures, path)
    return path


def test_a_program_runs_where_zoo_can_not_be_imported(file, x, expected, tmp_path):
    made = zoo.convert(file, "stablehlo", tmp_path / "model.stablehlo")
    assert made.agreement.agrees
    assert made.checked == "jax.export.deserialize and ONNX Runtime"
    np.save(tmp_path / "x.npy", x)
    command = [sys.executable, "-c", ALONE, str(tmp_path / "model.stablehlo"), str(tmp_path / "x.npy")]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=300)
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), expected, rtol=1e-5, atol=1e-5)


def test_every_free_size_of_a_program_is_free(file, x, tmp_path):
    zoo.convert(file, "stablehlo", tmp_path / "model.stablehlo", check=False)
    program = export.deserialize(bytearray((tmp_path / "model.stablehlo").read_bytes()))
    assert [str(d) for d in program.in_avals[0].shape] == ["N", "3", "H", "W"]
    runner = zoo.runner(file, "onnx")
    for n, height, width in ((1, 9, 9), (3, 20, 11)):
        feeds = np.random.default_rng(0).normal(size=(n, 3, height, width)).astype(np.float32)
        want = runner.run({"x": feeds})["logits"]
        np.testing.assert_allclose(program.call(feeds), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_program_of_half_precision_agrees_by_its_own_bound(file, tmp_path, dtype):
    made = zoo.convert(file, "stablehlo", tmp_path / "model.stablehlo", dtype=dtype)
    assert made.agreement.agrees
    program = export.deserialize(bytearray((tmp_path / "model.stablehlo").read_bytes()))
    assert program.out_avals[0].dtype == dtype


def test_shapes_that_are_computed_of_free_sizes_stay_free(tmp_path):
    """Heads are split as exporters write it: Shape, Gather, Concat, Reshape."""
    model = parsed(
        """agraph (float[N, T, 8] x) => (float[N, T, 8] y) {
          s = Shape (x)
          zero = Constant <value = int64 {0}> ()
          one = Constant <value = int64 {1}> ()
          axes = Constant <value = int64[1] {0}> ()
          a = Gather (s, zero)
          b = Gather (s, one)
          a1 = Unsqueeze (a, axes)
          b1 = Unsqueeze (b, axes)
          h = Constant <value = int64[2] {2, 4}> ()
          heads = Concat <axis = 0> (a1, b1, h)
          r = Reshape (x, heads)
          q = Transpose <perm = [0, 2, 1, 3]> (r)
          k = Transpose <perm = [0, 2, 3, 1]> (r)
          m = MatMul (q, k)
          p = Softmax (m)
          o = MatMul (p, q)
          t = Transpose <perm = [0, 2, 1, 3]> (o)
          e = Constant <value = int64[1] {8}> ()
          flat = Concat <axis = 0> (a1, b1, e)
          y = Reshape (t, flat)
        }"""
    )
    onnx.save(model, tmp_path / "model.onnx")
    zoo.convert(tmp_path / "model.onnx", "stablehlo", tmp_path / "model.stablehlo")
    program = export.deserialize(bytearray((tmp_path / "model.stablehlo").read_bytes()))
    assert [str(d) for d in program.in_avals[0].shape] == ["N", "T", "8"]
    for shape in ((1, 3, 8), (4, 7, 8)):
        feeds = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        want = zoo.runner(model, "onnx").run({"x": feeds})["y"]
        np.testing.assert_allclose(program.call(feeds), want, rtol=1e-5, atol=1e-5)


def test_a_table_of_places_bounds_a_free_size(tmp_path):
    """Position embeddings: as many of 16 rows as the sequence is long."""
    model = parsed(
        """agraph (float[N, T, 4] x) => (float[N, T, 4] y) {
          s = Shape <start = 1, end = 2> (x)
          zero = Constant <value = int64[1] {0}> ()
          places = Slice (table, zero, s, zero)
          y = Add (x, places)
        }""",
        {"table": np.arange(64, dtype=np.float32).reshape(16, 4)},
    )
    onnx.save(model, tmp_path / "model.onnx")
    made = zoo.convert(tmp_path / "model.onnx", "stablehlo", tmp_path / "model.stablehlo")
    assert made.checked == "jax.export.deserialize and ONNX Runtime"
    program = export.deserialize(bytearray((tmp_path / "model.stablehlo").read_bytes()))
    assert [str(d) for d in program.in_avals[0].shape] == ["N", "T", "4"]
    assert program.call(np.zeros((2, 9, 4), np.float32))[1, 8].tolist() == [32, 33, 34, 35]
    with pytest.raises(ValueError, match="refining shapes"):
        program.call(np.zeros((2, 17, 4), np.float32))


def test_a_size_that_can_not_be_free_is_named(tmp_path):
    """Every other pixel of a picture of free height: an image is resized to a size that is known when jax traces."""
    model = parsed(
        """agraph (float[N, 3, H, 8] x) => (float[N, 3, P, 4] y) {
          scales = Constant <value = float[4] {1, 1, 0.5, 0.5}> ()
          none = Constant <value = float[0] {}> ()
          y = Resize <mode = "linear"> (x, none, scales)
        }"""
    )
    onnx.save(model, tmp_path / "model.onnx")
    made = zoo.convert(tmp_path / "model.onnx", "stablehlo", tmp_path / "model.stablehlo")
    assert made.checked.startswith("jax.export.deserialize and ONNX Runtime, for H = ")
    program = export.deserialize(bytearray((tmp_path / "model.stablehlo").read_bytes()))
    assert str(program.in_avals[0].shape[0]) == "N"


def test_strings_are_refused(tmp_path):
    model = parsed("agraph (string[N] x) => (string[N] y) { y = StringConcat (x, x) }")
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="StableHLO has no strings, sequences and optionals"):
        zoo.convert(tmp_path / "model.onnx", "stablehlo", tmp_path / "model.stablehlo")
