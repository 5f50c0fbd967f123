"""A part of ONNX's backend suite in Keras, as docs/conformance/keras.txt lists what passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
OPERATORS = ("attention", "cast", "conv", "dropout", "gemm", "layernormalization", "resize", "softmax")


def test_what_passed_passes():
    command = [sys.executable, "tools/conformance.py", "--framework", "keras", "--jobs", "1", "--held", "--every", "12"]
    command += ["--operators", *OPERATORS]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False)
    assert 0 == done.returncode, done.stderr
