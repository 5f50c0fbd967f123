"""A source run in a process that knows nothing of us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from zoo.converters.runner import Array, TensorSpec
from zoo.errors import Disagreement

MODEL, WEIGHTS = "model.py", "model.safetensors"
TIMEOUT_S = 900
NOTHING = "Nothing was written."
OURS = ("zoo", "onnx", "onnx_ir", "onnxruntime")  # what a source must not import


def fresh(
    script: str, folder: Path, place: str, environment: Mapping[str, str] | None = None, words: Sequence[str] = ()
) -> dict[str, Any]:
    """What `script` reports as JSON on its last line, run in a fresh process; argv is the folder, `place`, and words.

    Raises Disagreement when the process fails, or when what it reports as `modules` are of those that only we have.
    """
    command = [sys.executable, "-I", "-B", "-W", "ignore", "-c", script, str(folder.resolve()), place, *words]
    given = {**os.environ, **(environment or {})}
    try:
        done = subprocess.run(
            command, cwd=place, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=given
        )
    except subprocess.TimeoutExpired as error:
        raise Disagreement(f"{MODEL} was not done after {TIMEOUT_S} s", hint=NOTHING) from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise Disagreement(f"{MODEL} does not run in a fresh process: {said}", hint=NOTHING)
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if foreign := sorted(set(report["modules"]) & set(OURS)):
        raise Disagreement(f"{MODEL} imports {', '.join(foreign)}", hint=NOTHING)
    return report


def outputs_of(
    script: str,
    folder: Path,
    inputs: Sequence[TensorSpec],
    feeds: Mapping[str, Array],
    environment: Mapping[str, str] | None = None,
    words: Sequence[str] = (),
) -> tuple[list[Array], dict[str, Any]]:
    """The outputs of the folder's model in a fresh process, in order, and what it reports.

    The script reads inputs.npz, whose arrays are numbered in order, and writes outputs.npz alike.
    """
    with TemporaryDirectory() as place:
        np.savez(Path(place) / "inputs.npz", **{f"{i:04}": feeds[spec.name] for i, spec in enumerate(inputs)})
        report = fresh(script, folder, place, environment, words)
        with np.load(Path(place) / "outputs.npz", allow_pickle=False) as made:
            return [made[name] for name in sorted(made)], report
