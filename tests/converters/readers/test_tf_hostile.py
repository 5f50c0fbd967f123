"""Hostile TensorFlow and TFLite files are refused cleanly, within a second of work and little memory."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.converters.tensors.test_hostile import forget_peak, peak_bytes
from tests.hostile import tensorflows, tflites
from zoo.converters import formats
from zoo.errors import FileError

MAX_BYTES = 200 << 20
MAX_SECONDS = 5.0  # of CPU: a flood takes minutes; refusals take under 0.3 by themselves, collecting garbage apart
CASES = [*(("x.tflite", *case) for case in tflites.every()), *(("x.pb", *case) for case in tensorflows.every())]


@pytest.mark.parametrize(("name", "data", "expected"), [(c[0], *c[2:]) for c in CASES], ids=[c[1] for c in CASES])
def test_a_hostile_file_is_refused_at_once(tmp_path: Path, name: str, data: bytes, expected: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    formats.find(path)  # imports what reading takes
    before, start = forget_peak(), time.process_time()
    with pytest.raises(FileError, match=expected) as caught:
        formats.read([path])
    assert time.process_time() - start < MAX_SECONDS
    assert peak_bytes() - before < MAX_BYTES
    assert "\n" not in str(caught.value)


def test_no_framework_is_imported_to_read(tmp_path: Path) -> None:
    import sys

    path = tmp_path / "x.pb"
    path.write_bytes(tensorflows.graph(tensorflows.node("y", "Relu", "x")))
    before = {name for name in ("tensorflow", "keras", "h5py") if name in sys.modules}
    model = formats.read([path])
    assert [value.name for value in model.graph.outputs] == ["y"]
    assert before == {name for name in ("tensorflow", "keras", "h5py") if name in sys.modules}
