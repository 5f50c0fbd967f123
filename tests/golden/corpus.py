"""The golden corpus: where it is, its cases, and whether a case computes what its framework computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import zoo

CORPUS = Path(__file__).parents[3] / "shared" / "golden"
RTOL = 1e-4  # of the largest number: float32 sums in another order
QUANTUM_RTOL = 2e-2  # a quantum of int8 is 1 / 128 of it, and two may meet


def cases(*formats: str, kind: str = "model") -> list[Path]:
    """The folders of the cases of formats that begin so."""
    found = [p.parent for p in sorted(CORPUS.glob("*/*/meta.json")) if p.parent.parent.name.startswith(formats)]
    return [case for case in found if json.loads((case / "meta.json").read_text()).get("kind") == kind] or [CORPUS]


def opened(case: Path) -> Any:
    """What is given to zoo: a path, or the paths that belong together."""
    names = json.loads((case / "meta.json").read_text())["open"]
    return case / names if isinstance(names, str) else [case / name for name in names]


def check(case: Path, **changes: Any) -> None:
    """Read a case and compare its outputs with the framework's own."""
    inputs, expected = (dict(np.load(case / f"{part}.npz", allow_pickle=False)) for part in ("inputs", "outputs"))
    runner = zoo.runner(opened(case), **changes)
    names = [spec.name for spec in runner.inputs]
    feeds = inputs if set(names) <= set(inputs) else dict(zip(names, inputs.values(), strict=True))
    actual = runner.run({name: feeds[name] for name in names})
    values = [actual[name] for name in expected] if set(expected) <= set(actual) else list(actual.values())
    rtol = QUANTUM_RTOL if "int8" in case.parent.name else RTOL
    for value, array in zip(values[: len(expected)], expected.values(), strict=True):
        assert value.shape == array.shape
        scale = max(float(np.abs(array.astype(np.float64)).max()), 1e-6)
        np.testing.assert_allclose(value.astype(np.float64), array.astype(np.float64), rtol=0, atol=rtol * scale)
